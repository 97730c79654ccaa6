//! One server's logic: inputs go in through [`Replica::handle`], outputs come out through
//! [`Replica::drain_outputs`], and only [`Replica::turn`] writes to the disk and moves consensus.
//!
//! The caller's loop: `handle` all inputs that have come; `turn`; drain the outputs and carry them out in
//! order; `turn` and drain again as long as it says so. So everything that need not wait for the disk is sent
//! before the sync: a leader's entries are on their way while it syncs them itself. A storage error ends the
//! loop: `Failed` ends the process, `Doubtful` puts the server in quarantine.

use std::{collections::VecDeque, sync::Arc};

use crate::{
    chat::{Origin, State},
    config::ReplicaConfig,
    consensus::{Effects, RaftRole, Turn},
    disk::{Batch, Loaded, Storage, StorageError},
    election::Standing,
    protocol::{
        directory::Directory,
        name::ServerId,
        peer::LogEntry,
        rules::KnownRules,
        status::{Role, ServerList, Status},
    },
};

use super::{
    announced::Announced,
    clients::{Clients, Env, MoveReason, Prospect},
    clocks::{Clocks, agreed_ms},
    counts::Counts,
    describing::{self, Described},
    io::{Input, Now, Output},
    leading::Leading,
    node::Node,
    outputs::Outputs,
    passages::{Passage, Passages, Step},
    proposals::Proposals,
    retention::{Retention, RetentionContext},
    server_parts::ServerParts,
    stop_state::StopState,
    unsaved::Unsaved,
};

/// How often a server that should have no clients sends those elsewhere that have come.
const MOVE_MS: u64 = 1_000;

/// How far a turn has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum TurnState {
    /// The disk is next. First drain the outputs, then continue the turn.
    WillSync,
    /// Nothing more is to be done until the next input.
    Done,
}

pub struct Replica<S: Storage> {
    pub(super) config: Arc<ReplicaConfig>,
    pub(super) node: Node<S>,
    pub(super) state: State,
    pub(super) clients: Clients,
    pub(super) proposals: Proposals,
    pub(super) leading: Option<Leading>,
    pub(super) unsaved: Unsaved,
    /// Committed entries that wait for the repair of a damaged row.
    pub(super) unapplied: VecDeque<LogEntry>,
    retention: Retention,
    /// The number of the last proposal of newer rules.
    pub(super) raising: Option<u64>,
    clocks: Clocks,
    pub(super) outputs: Outputs,
    /// Consensus waits for this part of a turn to be written.
    under_way: Option<Turn>,
    pub(super) counts: Counts,
    pub(super) passages: Passages,
    pub(super) announced: Option<Announced>,
    started_ms: u64,
    /// When clients are sent elsewhere next, if this server should have none.
    next_move_ms: u64,
    pub(super) stopping: Option<StopState>,
}

impl<S: Storage> Replica<S> {
    /// Starts from what the disk holds. The servers are those of its log, if that has any.
    pub fn open(config: ReplicaConfig, storage: S, now: Now) -> Result<Self, StorageError> {
        let loaded = storage.load()?;
        let state = load_state(&loaded, config.rules)?;
        let known = config.servers.version;
        let servers = state.servers().filter(|servers| servers.version > known).cloned();
        let servers = servers.unwrap_or_else(|| config.servers.clone());
        let config = Arc::new(ReplicaConfig { servers, ..config });
        let mut replica = Replica {
            node: Node::open(Arc::clone(&config), storage, &loaded, now)?,
            state,
            clients: Clients::default(),
            proposals: Proposals::default(),
            leading: None,
            unsaved: Unsaved::default(),
            unapplied: VecDeque::new(),
            retention: Retention::default(),
            raising: None,
            clocks: Clocks::default(),
            outputs: Outputs::default(),
            under_way: None,
            counts: Counts::default(),
            passages: Passages::default(),
            announced: None,
            started_ms: now.mono_ms,
            next_move_ms: now.mono_ms,
            stopping: None,
            config,
        };
        if replica.config.servers.entry(&replica.config.server_id).is_none() {
            replica.node.remove("its log says so", &mut replica.outputs);
        }
        Ok(replica)
    }

    /// Takes in an input. Not to be called in the middle of a turn.
    pub fn handle(&mut self, now: Now, input: Input) {
        debug_assert!(self.under_way.is_none(), "a turn is under way");
        match input {
            Input::Tick => self.tick(now),
            Input::Opened { conn, addr, reserved } => {
                let is_stopping = self.stopping.is_some();
                self.with_clients(now, |clients, env| clients.open(env, conn, addr, reserved, is_stopping));
            }
            Input::Request { conn, head, request, bytes } => {
                self.with_clients(now, |clients, env| clients.on_request(env, conn, (head, request), bytes));
            }
            Input::Credential { conn, done } => {
                self.with_clients(now, |clients, env| clients.on_credential(env, conn, done));
            }
            Input::Closed { conn } => self.with_clients(now, |clients, env| clients.closed(env, conn)),
            Input::PeerUp(peer) => {
                self.node.on_peer_up(peer.clone(), &mut self.outputs);
                let presence = self.clients.presence();
                self.node.send(peer, presence, &mut self.outputs);
            }
            Input::PeerDown(peer) => {
                self.clients.on_peer_down(now, &peer);
                if self.node.on_peer_down(&peer) {
                    self.proposals.link_lost();
                }
            }
            Input::Peer { from, message } => self.on_peer(now, from, message),
            Input::Campaign { term, leader_is_dead } => self.node.campaign(term, leader_is_dead),
            Input::View(view) => self.node.on_view(view),
            Input::SnapshotReceived { from, head, content } => self.node.on_snapshot(&from, head, content),
            Input::SnapshotSent { to, ok } => self.node.on_snapshot_sent(&to, ok),
            Input::Room { is_there } => self.node.on_room(is_there),
            Input::Damage { reason, row } => self.node.on_damage(now, reason, row, &mut self.outputs),
            Input::Scrubbed(progress) => self.node.scrub.progress = progress,
            Input::Reconfigured(config) => {
                self.config = Arc::new(self.config.adjusted(&config));
                self.node.use_config(Arc::clone(&self.config));
            }
            Input::Stop => self.stop(now),
        }
    }

    /// Moves consensus, writes to the disk, applies committed entries, and answers. To be called, with the
    /// outputs drained each time, until it is [`TurnState::Done`].
    pub fn turn(&mut self, now: Now) -> Result<TurnState, StorageError> {
        if let Some(turn) = self.under_way.take() {
            self.finish(now, turn)?;
        } else if self.node.is_quarantined() {
            self.outputs.release();
            return Ok(TurnState::Done);
        }
        if let Some(error) = self.node.take_broken() {
            return Err(error);
        }
        self.node.consensus.follow_saved()?;
        self.apply(now, Vec::new())?;
        self.drive(now);
        while let Some((turn, mut effects)) = self.node.consensus.begin()? {
            for (to, message) in self.addressed(std::mem::take(&mut effects.messages)) {
                self.outputs.push_at_once(to, message);
            }
            self.carry_out(now, effects)?;
            let writes = turn.must_sync() || self.must_save(now);
            if writes && self.outputs.are_released() {
                self.under_way = Some(turn);
                return Ok(TurnState::WillSync);
            }
            self.finish(now, turn)?;
            self.drive(now);
        }
        self.outputs.release();
        let remember = self.node.must_remember(now);
        if remember || self.must_save(now) {
            if self.outputs.are_released() {
                return Ok(TurnState::WillSync);
            }
            self.flush(now, remember)?;
        }
        self.release_queries();
        self.announce(now);
        self.finish_stop(now)?;
        self.outputs.release();
        Ok(TurnState::Done)
    }

    /// Writes consensus's part of the turn, and does what waited for that.
    fn finish(&mut self, now: Now, turn: Turn) -> Result<(), StorageError> {
        let installs = self.node.consensus.installs(&turn);
        // If the snapshot cannot be used, this server goes on from what is written.
        let saves = installs || self.must_save(now);
        let mut batch = if saves { self.take_unsaved() } else { Batch::default() };
        if turn.must_sync() && !installs {
            // It costs no sync of its own, and a term that begins with the others' votes begins with it.
            self.node.remember(now, &mut batch);
        }
        let effects = self.node.consensus.finish(turn, batch)?;
        if let Some(reason) = effects.unreadable {
            // Consensus begins anew behind what is applied, and gives them again.
            self.unapplied.clear();
            self.node.go_on_without(now, reason, &mut self.outputs)?;
            self.release_queries();
            self.outputs.release();
            return Ok(());
        }
        if installs {
            self.restart_from_snapshot(now)?;
        }
        self.release_queries();
        self.carry_out(now, effects)?;
        self.outputs.release();
        Ok(())
    }

    /// The outputs since the last call, in order.
    pub fn drain_outputs(&mut self) -> Vec<Output> {
        self.outputs.drain()
    }

    pub fn take_counts(&mut self) -> Counts {
        let proposals = self.proposals.take_pushed();
        Counts { proposals, ..std::mem::take(&mut self.counts) }
    }

    /// Keeps the passages of requests from now on, or keeps none.
    pub fn follow_requests(&mut self, follow: bool) {
        if follow && !self.passages.are_kept {
            // Of those that came before nothing is told.
            self.proposals.take_new();
        }
        self.passages.are_kept = follow;
    }

    /// The passages of requests since this was last called, in order.
    pub fn take_passages(&mut self) -> Vec<Passage> {
        self.passages.take()
    }

    /// Whether the answers since the last drain are enough for one round: further requests should wait for
    /// the next.
    pub fn has_said_enough(&self) -> bool {
        self.outputs.are_enough()
    }

    fn tick(&mut self, now: Now) {
        self.node.tick(now, &mut self.outputs);
        if self.stopping.is_none() {
            let lead = self.state.lead(agreed_ms(now, &self.node.view)).map(|lead| &lead.server_id);
            self.counts.handovers += u64::from(self.node.consider_handover(now, lead));
        }
        self.clocks.watch(now, &self.node.view);
        let trusts_clock = self.clocks.are_believed(now, &self.node.view);
        self.forget_old_events(now, trusts_clock);
        self.raise_rules(now);
        self.node.wipe(now);
        self.with_clients(now, |clients, env| clients.tick(env, trusts_clock));
        let servers = &self.config.servers;
        let waits = self.node.waits().is_some();
        let keeps_up = !self.node.falls_behind() && !waits;
        let has_clients = servers.is_for_clients(&self.config.server_id) && keeps_up;
        if !has_clients && self.stopping.is_none() && now.mono_ms >= self.next_move_ms {
            self.next_move_ms = now.mono_ms + MOVE_MS;
            let reason = if waits { MoveReason::NotAdded } else { MoveReason::NotForClients };
            self.with_clients(now, |clients, env| clients.move_away(env, reason));
        }
    }

    /// Calls the clients' part with what it needs of the others.
    pub(super) fn with_clients<T>(
        &mut self,
        now: Now,
        work: impl FnOnce(&mut Clients, &mut Env<'_>) -> T,
    ) -> T {
        let Replica { config, node, state, clients, proposals, unsaved, outputs, .. } = self;
        let started_ms = self.started_ms;
        let mut server = ServerParts { config, node, state, unsaved, started_ms };
        work(clients, &mut Env { now, config, state, proposals, server: &mut server, outputs })
    }

    /// Whether this server leads, knows what was committed before, and has time for what a leader does by
    /// itself.
    pub(super) fn may_propose(&self) -> bool {
        self.leading.as_ref().is_some_and(Leading::is_ready) && self.stopping.is_none()
    }

    /// Proposes what is to be forgotten next, if this server leads and has time for it.
    fn forget_old_events(&mut self, now: Now, clock_is_good: bool) {
        let storage = self.node.consensus.storage();
        if !self.may_propose() || !self.retention.is_due(now, &self.proposals, storage.unwiped()) {
            return;
        }
        let created_at_ms =
            |room, seq| Ok(self.unsaved.event(storage, room, seq)?.map(|event| event.created_at_ms));
        let first_since = |room, at_ms| self.unsaved.first_since(storage, room, at_ms);
        let context = RetentionContext {
            now,
            clock_is_good,
            state: &self.state,
            created_at_ms: &created_at_ms,
            first_since: &first_since,
        };
        if let Err(error) = self.retention.step(&context, &mut self.proposals) {
            self.node.unreadable(error);
        }
    }

    /// Passes on what waits for a leader, or for this server to lead.
    fn drive(&mut self, now: Now) {
        let term = self.node.consensus.term();
        if self.node.consensus.raft_role() == RaftRole::Leader {
            if self.leading.as_ref().is_none_or(|leading| leading.term != term) {
                self.leading = Some(Leading::new(term, self.config.rules));
            }
        } else if self.leading.take().is_some() {
            self.node.stepped_down();
        }
        if self.passages.are_kept {
            let (node_id, boot) = (self.node.identity.node_id, self.node.identity.boot);
            for (seq, conn, operation) in self.proposals.take_new() {
                self.passages.keep(Origin { node_id, boot, seq }, Step::Taken { conn, operation });
            }
        }
        if let Some(leader) = self.node.consensus.leader() {
            self.pass_on(now, leader, term);
        }
        if let Some(leading) = &mut self.leading {
            if self.node.consensus.has_applied_own_term() {
                leading.knows_log(&self.state, agreed_ms(now, &self.node.view));
            }
            while let Some(commands) = leading.next() {
                let count = commands.len();
                if self.node.consensus.propose(commands).is_err() {
                    break;
                }
                for request in leading.proposed(count) {
                    self.passages.keep(request, Step::Proposed);
                }
            }
        }
        let consensus = &self.node.consensus;
        let (leader, has_own_entry) = (consensus.leader(), consensus.has_applied_entry_of_term());
        if let Some(question) = self.clients.question(now, Prospect { term, leader, has_own_entry }) {
            self.node.consensus.read_index(question);
        }
    }

    fn carry_out(&mut self, now: Now, effects: Effects) -> Result<(), StorageError> {
        for (to, message) in self.addressed(effects.messages) {
            self.outputs.push(Output::Peer { to, message });
        }
        for node in effects.snapshots_to {
            self.node.send_snapshot(now, node, self.state.rules(), &mut self.outputs);
        }
        for (question, index) in effects.reads {
            self.clients.question_answered(question, index);
        }
        self.apply(now, effects.committed)?;
        self.with_clients(now, Clients::answer_reads);
        Ok(())
    }

    /// Loads the state anew after a snapshot has replaced it. The rooms that clients of this server follow
    /// have jumped, so their connections are closed: they resume elsewhere or here, without a gap.
    fn restart_from_snapshot(&mut self, now: Now) -> Result<(), StorageError> {
        let loaded = self.node.reload()?;
        self.state = load_state(&loaded, self.config.rules)?;
        self.unsaved = Unsaved::default();
        self.unapplied.clear();
        self.clients.restart(&mut self.outputs);
        self.follow_log();
        if let crate::chat::Progress::Applied(seq) =
            self.state.progress(self.node.identity.node_id, self.node.identity.boot)
        {
            // Their outcomes are in the snapshot, but not the answers; their clients send them again.
            self.proposals.decided_up_to(now.mono_ms, seq);
        }
        Ok(())
    }

    /// Whether applied rows have to be written now: there are enough, or a query needs them. While others are
    /// being written they wait, so that each transaction is large. A query does not hurry a disk that may not
    /// be able to write them at all.
    fn must_save(&self, now: Now) -> bool {
        if self.node.consensus.is_saving() {
            let is_in_doubt = self.node.has_lasting_damage();
            return if is_in_doubt { self.unsaved.are_too_many() } else { self.unsaved.cannot_wait() };
        }
        self.unsaved.is_due(now) || (self.clients.have_queries() && !self.unsaved.is_empty())
    }

    /// The applied rows that are not yet on the disk, for the next transaction, and how far the log may be
    /// cut.
    fn take_unsaved(&mut self) -> Batch {
        let mut batch = self.unsaved.take(&self.state);
        if let Some(applied) = &batch.applied {
            // The state on the disk certainly contains what was written last time.
            let stored = self.node.consensus.stored_applied().index;
            if applied.index > stored {
                batch.compact_to = self.node.cut(stored);
            }
        }
        batch
    }

    pub(super) fn flush(&mut self, now: Now, remember: bool) -> Result<(), StorageError> {
        let mut batch = self.take_unsaved();
        if remember {
            self.node.remember(now, &mut batch);
        }
        self.node.consensus.write(batch)
    }

    fn release_queries(&mut self) {
        let stored = self.node.consensus.stored_applied().index;
        self.clients.release_queries(stored, &mut self.outputs);
    }

    /// The servers of the cluster, as the log has them or, before it was changed, the configuration.
    pub fn servers(&self) -> &Directory {
        &self.config.servers
    }

    /// This server as a member of its cluster.
    pub fn node(&self) -> &Node<S> {
        &self.node
    }

    pub fn role(&self) -> Role {
        self.node.role()
    }

    /// Who leads, if that is known.
    pub fn leader(&self) -> Option<ServerId> {
        self.node.leader().cloned()
    }

    /// What the election needs to know of this server.
    pub fn standing(&self) -> Standing {
        describing::standing(&self.config, &self.node)
    }

    /// How many client connections are logged in.
    pub fn clients(&self) -> u64 {
        self.clients.count()
    }

    /// The servers of the cluster, as this one sees them.
    pub fn server_list(&self) -> ServerList {
        self.described().server_list()
    }

    pub fn status(&self, now: Now) -> Status {
        self.described().status(now)
    }

    fn described(&self) -> Described<'_, S> {
        let Replica { config, node, state, unsaved, started_ms, .. } = self;
        Described { config, node, state, unsaved, clients: self.clients(), started_ms: *started_ms }
    }

    /// The chat state, for tests and checks.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The storage, for tests and checks.
    pub fn storage(&self) -> &S {
        self.node.consensus.storage()
    }

    /// The storage, to be set up.
    pub fn storage_mut(&mut self) -> &mut S {
        self.node.consensus.storage_mut()
    }

    /// Gives the storage back, to start anew with it.
    pub fn into_storage(self) -> S {
        self.node.consensus.into_storage()
    }
}

fn load_state(loaded: &Loaded, known: KnownRules) -> Result<State, StorageError> {
    let chat = loaded.rows.iter().filter(|(key, _)| key.first().is_some_and(|&tag| tag >= 16)).cloned();
    let state = State::load(chat).map_err(|error| StorageError::Doubtful(error.to_string()))?;
    known.go_on(state.rules()).map_err(|error| StorageError::Failed(format!("the data {error}")))?;
    Ok(state)
}
