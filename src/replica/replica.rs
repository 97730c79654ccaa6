//! One server's brain: everything that happens comes in through [`Replica::handle`], everything that is
//! to be done goes out through [`Replica::drain_outputs`], and [`Replica::turn`] is the only place where
//! the disk is written and consensus moves.
//!
//! The caller's loop: `handle` what has come in, as much as there is; `turn` once; drain the outputs and
//! carry them out in order. A storage error ends the loop: `Failed` ends the process, `Doubtful` puts the
//! server in quarantine.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    chat::State,
    protocol::{
        answer::Signature,
        limits::RESERVED_MS,
        name::ServerId,
        peer::{NodeId, PeerMessage},
    },
};

use super::{
    config::ReplicaConfig,
    consensus::{Consensus, Effects, Part},
    fanout::Fan,
    handover::Handover,
    io::{ConnId, Input, Look, Now, Output},
    jobs::Jobs,
    leading::{Forwarded, Leading},
    links::Link,
    members::Members,
    membership::View,
    presence::Presence,
    proposals::Proposals,
    rates::Rates,
    reads::Reads,
    retention::Retention,
    session::{Session, Sessions},
    stopping::Stopping,
    storage::{Batch, EventRow, Identity, Loaded, RoomId, Storage, StorageError},
    throttle::Throttle,
    tokens::Round,
    trust::Trust,
};

/// How long rows of applied entries may wait for a transaction to travel in.
const FLUSH_MS: u64 = 20;
/// While linked peers are being brought up to date the log may grow to so many times `keep_entries`.
const HELD_FOR_PEERS: u64 = 20;
/// Bytes of answers, and of what it costs to make them, after which a round takes in nothing more: what waits
/// behind it must not wait for long.
const ROUND_BYTES: usize = 4 * 1024 * 1024;
/// How long changes of what is remembered of other servers may wait.
const REMEMBER_MS: u64 = 1_000;
/// How often the disk is asked to wipe what is removed. A slice takes it some milliseconds.
const WIPE_MS: u64 = 50;
/// How long a server waits that could not use a snapshot, before it lets another one come.
const SNAPSHOT_PAUSE_MS: u64 = 5_000;

/// Consensus, once there is a cluster; until then only the disk.
pub(super) enum Core<S: Storage> {
    Unformed(S),
    Formed(Box<Consensus<S>>),
    /// Only while one becomes the other.
    Changing,
}

/// State that is applied but not yet on the disk.
#[derive(Default)]
pub(super) struct Unsaved {
    pub batch: Batch,
    /// Where each event's newest form stands in the batch.
    pub events: BTreeMap<(RoomId, u64), usize>,
    /// Since when it waits.
    pub since_ms: Option<u64>,
}

impl Unsaved {
    /// More events for the batch.
    pub fn extend(&mut self, events: impl IntoIterator<Item = EventRow>) {
        for event in events {
            self.events.insert((event.room, event.seq), self.batch.events.len());
            self.batch.events.push(event);
        }
    }

    /// The event of this place, where it is in the batch.
    pub fn event(&self, room: RoomId, seq: u64) -> Option<&EventRow> {
        self.batch.events.get(*self.events.get(&(room, seq))?)
    }
}

/// One server's brain.
pub struct Replica<S: Storage> {
    pub(super) config: ReplicaConfig,
    pub(super) identity: Identity,
    pub(super) core: Core<S>,
    pub(super) state: State,
    pub(super) members: Members,
    pub(super) trust: Trust,
    pub(super) sessions: Sessions,
    pub(super) presence: Presence,
    pub(super) proposals: Proposals,
    pub(super) leading: Option<Leading>,
    pub(super) reads: Reads,
    pub(super) handover: Handover,
    pub(super) view: View,
    /// The peers whose links stand.
    pub(super) links: BTreeMap<ServerId, Link>,
    pub(super) unsaved: Unsaved,
    /// Looks into the database that must see entries up to an index that is not yet on the disk.
    pub(super) looks: Vec<(u64, Look)>,
    pub(super) jobs: Jobs,
    pub(super) throttle: Throttle,
    pub(super) rates: Rates,
    pub(super) retention: Retention,
    pub(super) round: Round,
    /// Connections in places kept for operators and administrators that have not proven to be one, and
    /// until when they may.
    pub(super) reserved: BTreeMap<ConnId, u64>,
    pub(super) outputs: Vec<Output>,
    /// What the answers since the outputs were last drained cost, in bytes.
    pub(super) spent_bytes: usize,
    /// What lines that wait for their connections hold, in bytes of memory.
    pub(super) held_bytes: usize,
    /// Connections of which more lines waited than one round may take.
    pub(super) held_up: BTreeSet<ConnId>,
    pub(super) next_hello_ms: u64,
    /// Who led and who lived when the clients were last told.
    pub(super) announced: Option<(Option<ServerId>, Vec<bool>)>,
    remembered_ms: u64,
    next_wipe_ms: u64,
    /// Until when the leader's entries are passed over, see `go_on_without`.
    pub(super) no_entries_until_ms: u64,
    pub(super) started_ms: u64,
    pub(super) stopping: Option<Stopping>,
    quarantined: bool,
    /// An error of the disk that came up outside a turn; the next turn ends with it.
    pub(super) broken: Option<StorageError>,
}

impl<S: Storage> Replica<S> {
    /// Starts from what the disk holds.
    pub fn open(config: ReplicaConfig, storage: S, now: Now) -> Result<Self, StorageError> {
        let loaded = storage.load()?;
        let (state, members) = load_state(&loaded)?;
        let core = match &loaded.identity.cluster {
            None => Core::Unformed(storage),
            Some(_) => Core::Formed(Box::new(Consensus::open(&config, storage, &loaded)?)),
        };
        let trust = Trust::new(config.servers.len(), loaded.peer_marks);
        Ok(Replica {
            identity: loaded.identity,
            core,
            state,
            members,
            trust,
            sessions: Sessions::default(),
            presence: Presence::default(),
            proposals: Proposals::default(),
            leading: None,
            reads: Reads::default(),
            handover: Handover::default(),
            view: View::default(),
            links: BTreeMap::new(),
            unsaved: Unsaved::default(),
            looks: Vec::new(),
            jobs: Jobs::default(),
            throttle: Throttle::default(),
            rates: Rates::default(),
            retention: Retention::default(),
            round: Round::default(),
            reserved: BTreeMap::new(),
            outputs: Vec::new(),
            spent_bytes: 0,
            held_bytes: 0,
            held_up: BTreeSet::new(),
            next_hello_ms: 0,
            announced: None,
            remembered_ms: now.mono_ms,
            next_wipe_ms: now.mono_ms,
            no_entries_until_ms: now.mono_ms,
            started_ms: now.mono_ms,
            stopping: None,
            quarantined: false,
            broken: None,
            config,
        })
    }

    /// Takes in something that happened.
    pub fn handle(&mut self, now: Now, input: Input) {
        match input {
            Input::Tick => self.tick(now),
            Input::Opened { conn, addr, reserved } => {
                self.sessions.open(conn, Session::new(addr));
                if reserved {
                    self.reserved.insert(conn, now.mono_ms.saturating_add(RESERVED_MS));
                }
                self.fan(Fan::Open { conn });
                if self.stopping.is_some() {
                    self.close(conn);
                }
            }
            Input::Line { conn, line, bytes } => self.on_line(now, conn, line, bytes),
            Input::Closed { conn } => self.on_closed(now, conn),
            Input::PeerUp(peer) => self.on_peer_up(peer),
            Input::PeerDown(peer) => self.on_peer_down(now, &peer),
            Input::Peer { from, message } => self.on_peer(now, from, message),
            Input::Campaign { term, leader_is_dead } => {
                if self.trust.is_cleared()
                    && let Core::Formed(consensus) = &mut self.core
                {
                    consensus.campaign(term, leader_is_dead);
                }
            }
            Input::View(view) => {
                for (peer, peer_view) in &view.peers {
                    if let Some(mark) = &peer_view.data {
                        self.trust.heard(peer, mark);
                    }
                }
                self.view = view;
            }
            Input::SnapshotReceived { from, head, content } => {
                // A server that begins anew knows the founders only; its leader may be none of them.
                if let Some(node) = self.trust.shown_by(&from)
                    && self
                        .identity
                        .cluster
                        .as_ref()
                        .is_some_and(|cluster| cluster.cluster_id == head.cluster_id)
                    && let Core::Formed(consensus) = &mut self.core
                {
                    consensus.offer_snapshot(node, head, content);
                }
            }
            Input::SnapshotSent { to, ok } => {
                if let Core::Formed(consensus) = &mut self.core {
                    let conf = consensus.conf().clone();
                    let nodes: Vec<NodeId> = [conf.learners, conf.voters].concat();
                    for node in self.members.of_server(&to, &nodes) {
                        consensus.snapshot_sent(node, ok);
                    }
                }
            }
            Input::Credential { conn, done } => self.on_credential(now, conn, done),
            Input::Stop => self.stop(now),
        }
    }

    /// Moves consensus, writes the disk, applies what is committed, and answers.
    pub fn turn(&mut self, now: Now) -> Result<(), StorageError> {
        if self.quarantined {
            return Ok(());
        }
        if let Some(error) = self.broken.take() {
            return Err(error);
        }
        self.drive(now);
        while let Core::Formed(consensus) = &mut self.core
            && let Some((turn, effects)) = consensus.begin()?
        {
            let installs = consensus.installs(&turn);
            self.carry_out(now, effects)?;
            let batch = self.take_unsaved();
            let Core::Formed(consensus) = &mut self.core else { break };
            let effects = consensus.finish(turn, batch)?;
            if let Some(reason) = effects.unreadable {
                self.go_on_without(now, reason)?;
                continue;
            }
            if installs {
                self.reload(now)?;
            }
            self.release_looks();
            self.carry_out(now, effects)?;
            self.drive(now);
        }
        let is_due = self.unsaved.since_ms.is_some_and(|since_ms| now.mono_ms >= since_ms + FLUSH_MS);
        let remember = self.trust.has_changed() && now.mono_ms >= self.remembered_ms + REMEMBER_MS;
        if is_due || remember || !self.looks.is_empty() {
            self.flush(now, remember)?;
        }
        self.announce(now);
        self.finish_stop(now);
        Ok(())
    }

    /// What is to be done, in order.
    pub fn drain_outputs(&mut self) -> Vec<Output> {
        self.spent_bytes = 0;
        std::mem::take(&mut self.outputs)
    }

    /// Whether what clients asked for since the outputs were last drained is enough for one round: what more of
    /// them has come should wait for the next.
    pub fn has_said_enough(&self) -> bool {
        self.spent_bytes >= ROUND_BYTES
    }

    fn tick(&mut self, now: Now) {
        if self.trust.is_cleared()
            && let Core::Formed(consensus) = &mut self.core
        {
            consensus.tick();
        }
        self.meet(now);
        self.reconfigure();
        self.consider_handover(now);
        self.time_out(now);
        // What the last round had no room for.
        self.answer_reads(now);
        for conn in std::mem::take(&mut self.held_up) {
            self.take_held(now, conn);
        }
        self.end_unproven(now);
        self.forget_old_events(now);
        self.look_at_tokens(now);
        self.wipe(now);
        for (conn, rooms) in self.sessions.due(now.mono_ms) {
            self.follow(conn, rooms);
        }
        if let Some(change) = self.presence.take_change() {
            self.tell_peers(&change);
        }
        self.show_presence(now);
        self.fan(Fan::Tick);
    }

    /// Lets the disk wipe what is removed where no commits do it by the way.
    fn wipe(&mut self, now: Now) {
        if now.mono_ms < self.next_wipe_ms {
            return;
        }
        self.next_wipe_ms = now.mono_ms + WIPE_MS;
        let wiped = match &mut self.core {
            Core::Formed(consensus) => consensus.wipe_if_idle(),
            Core::Unformed(_) | Core::Changing => Ok(()),
        };
        if let Err(error) = wiped {
            self.broken = Some(error);
        }
    }

    /// Moves what waits for the leader, or for being the leader.
    fn drive(&mut self, now: Now) {
        let Core::Formed(consensus) = &mut self.core else { return };
        let term = consensus.term();
        if consensus.part() == Part::Leader {
            if self.leading.as_ref().is_none_or(|leading| leading.term != term) {
                self.leading = Some(Leading::new(term));
            }
        } else if self.leading.take().is_some() {
            self.handover.stepped_down();
        }
        if let Some(leader) = consensus.leader() {
            self.pass_on(now, leader, term);
        }
        let Core::Formed(consensus) = &mut self.core else { return };
        if let Some(leading) = &mut self.leading {
            if consensus.has_applied_own_term() {
                leading.knows_log(&self.state, now.wall_ms);
            }
            while let Some(commands) = leading.next() {
                let count = commands.len();
                if consensus.propose(commands).is_err() {
                    break;
                }
                leading.proposed(count);
            }
        }
        if let Some(question) = self.reads.question(now.mono_ms) {
            consensus.read_index(question);
        }
    }

    /// Passes this server's proposals on to the leader, which may be itself.
    fn pass_on(&mut self, now: Now, leader: NodeId, term: u64) {
        self.proposals.resend_if_silent(now.mono_ms);
        let here = leader == self.identity.node_id;
        let leader_server = self.server_of(leader).cloned();
        if !here && leader_server.as_ref().is_none_or(|server| !self.links.contains_key(server)) {
            return;
        }
        let (node_id, boot) = (self.identity.node_id, self.identity.boot);
        while let Some((first_seq, commands)) = self.proposals.take_unsent(now.mono_ms, leader, term) {
            if let Some(leading) = self.leading.as_mut().filter(|_| here) {
                leading.accept(Forwarded { node_id, boot, first_seq, commands }, &self.state, now.wall_ms);
            } else if let Some(to) = leader_server.clone() {
                self.send(to, PeerMessage::Forward { node_id, boot, first_seq, commands });
            }
        }
    }

    fn carry_out(&mut self, now: Now, effects: Effects) -> Result<(), StorageError> {
        for message in effects.messages {
            if let Some(to) = self.server_of(message.to).cloned() {
                self.send(to, PeerMessage::Raft(Box::new(message)));
            }
        }
        for node in effects.snapshots_to {
            self.send_snapshot(node);
        }
        for (question, index) in effects.reads {
            self.reads.answered(question, index);
        }
        self.apply(now, effects.committed)?;
        self.answer_reads(now);
        Ok(())
    }

    fn send_snapshot(&mut self, node: NodeId) {
        let Core::Formed(consensus) = &mut self.core else { return };
        let term = consensus.term();
        match self.members.server_of(node).filter(|server| self.links.contains_key(*server)) {
            Some(to) => self.outputs.push(Output::SendSnapshot { to: to.clone(), term }),
            None => consensus.snapshot_sent(node, false),
        }
    }

    /// Goes on with what is on the disk, where a snapshot could not be used. Its sender is asked for another by
    /// refusing the entries that follow it; for a while they are not even refused, because sending all of a
    /// state again at once, and again, would only burden the leader.
    fn go_on_without(&mut self, now: Now, reason: String) -> Result<(), StorageError> {
        if let Core::Formed(consensus) = std::mem::replace(&mut self.core, Core::Changing) {
            let storage = consensus.into_storage();
            let loaded = storage.load()?;
            self.core = Core::Formed(Box::new(Consensus::open(&self.config, storage, &loaded)?));
        }
        self.no_entries_until_ms = now.mono_ms + SNAPSHOT_PAUSE_MS;
        self.outputs.push(Output::SnapshotUnreadable { reason });
        self.release_looks();
        Ok(())
    }

    /// Loads the state anew after a snapshot has replaced it. What clients of this server follow has
    /// jumped, so they are closed: they resume elsewhere or here, without a gap.
    fn reload(&mut self, now: Now) -> Result<(), StorageError> {
        let Core::Formed(consensus) = &mut self.core else { return Ok(()) };
        let loaded = consensus.storage().load()?;
        (self.state, self.members) = load_state(&loaded)?;
        consensus.applied(loaded.applied.index);
        self.unsaved = Unsaved::default();
        self.looks.clear();
        for conn in self.sessions.conns() {
            self.close(conn);
        }
        if let crate::chat::Progress::Applied(seq) =
            self.state.progress(self.identity.node_id, self.identity.boot)
        {
            // Their outcomes are in the snapshot, but the answers are not; their clients ask again.
            self.proposals.decided_up_to(now.mono_ms, seq);
        }
        Ok(())
    }

    /// What is applied but not yet on the disk, for the next transaction; with it, how far the log may
    /// be cut.
    fn take_unsaved(&mut self) -> Batch {
        let mut batch = std::mem::take(&mut self.unsaved).batch;
        if let (Some(applied), Core::Formed(consensus)) = (&batch.applied, &self.core) {
            // What was written last time is certainly in the state on the disk.
            let stored = consensus.stored_applied().index;
            if applied.index > stored {
                batch.compact_to = self.cut(consensus, stored);
            }
        }
        batch
    }

    /// How far the log may be cut, where it is time to, when the state on the disk contains it up to
    /// `stored`.
    ///
    /// What a linked peer needs next stays, within a bound. Else a peer that installs a snapshot under load
    /// would find the entries after it gone, get the next snapshot, and never catch up.
    fn cut(&self, consensus: &Consensus<S>, stored: u64) -> Option<u64> {
        let keep = self.config.keep_entries;
        let truncated = consensus.truncated().last_log_index;
        let length = stored.saturating_sub(truncated);
        if length <= 2 * keep {
            return None;
        }
        let mut to = stored - keep;
        if length <= HELD_FOR_PEERS * keep {
            let nodes = self.links.keys().filter_map(|peer| self.members.node_of(peer, consensus.conf()));
            to = nodes.filter_map(|node| consensus.reaches(node)).fold(to, u64::min);
        }
        (to > truncated).then_some(to)
    }

    fn flush(&mut self, now: Now, remember: bool) -> Result<(), StorageError> {
        let mut batch = self.take_unsaved();
        if remember {
            batch.peer_marks = self.trust.take_changed();
            self.remembered_ms = now.mono_ms;
        }
        match &mut self.core {
            Core::Formed(consensus) => consensus.write(batch)?,
            Core::Unformed(storage) => storage.commit(&batch)?,
            Core::Changing => {}
        }
        self.release_looks();
        Ok(())
    }

    fn release_looks(&mut self) {
        let Core::Formed(consensus) = &self.core else { return };
        let stored = consensus.stored_applied().index;
        let ready = self.looks.extract_if(.., |(index, _)| *index <= stored).map(|(_, look)| look);
        self.outputs.extend(ready.map(Output::Look));
    }

    pub(super) fn quarantine(&mut self, reason: String) {
        if !self.quarantined {
            self.quarantined = true;
            self.outputs.push(Output::Quarantine { reason });
        }
    }

    pub(super) fn fan(&mut self, fan: Fan) {
        if let Fan::Say { line, .. } | Fan::Answer { line, .. } = &fan {
            self.spent_bytes += line.len();
        }
        self.outputs.push(Output::Fan(fan));
    }

    /// Ends a connection after what was said to it.
    pub(super) fn close(&mut self, conn: ConnId) {
        if let Some(session) = self.sessions.get_mut(conn)
            && !session.closing
        {
            session.closing = true;
            self.fan(Fan::Close { conn });
        }
    }

    pub(super) fn signature(&self, now: Now) -> Signature {
        Signature {
            server_id: self.config.server_id.clone(),
            lamport_timestamp: self.state.lamport(),
            now_ms: now.wall_ms,
        }
    }

    /// The chat state, for tests and checks.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The storage, for tests and checks.
    pub fn storage(&self) -> &S {
        match &self.core {
            Core::Unformed(storage) => storage,
            Core::Formed(consensus) => consensus.storage(),
            Core::Changing => unreachable!("a change of the core ends within the call that began it"),
        }
    }

    /// Gives the storage back, to start anew with it.
    pub fn into_storage(self) -> S {
        match self.core {
            Core::Unformed(storage) => storage,
            Core::Formed(consensus) => consensus.into_storage(),
            Core::Changing => unreachable!("a change of the core ends within the call that began it"),
        }
    }

    pub(super) fn applied_index(&self) -> u64 {
        match (&self.unsaved.batch.applied, &self.core) {
            (Some(applied), _) => applied.index,
            (None, Core::Formed(consensus)) => consensus.stored_applied().index,
            (None, _) => 0,
        }
    }
}

pub(super) fn load_state(loaded: &Loaded) -> Result<(State, Members), StorageError> {
    let founders = loaded.identity.cluster.as_ref().map_or(&[][..], |cluster| &cluster.founders);
    let members = Members::load(founders, &loaded.rows).map_err(StorageError::Doubtful)?;
    let chat = loaded.rows.iter().filter(|(key, _)| key.first().is_some_and(|&tag| tag >= 16)).cloned();
    let state = State::load(chat).map_err(StorageError::Doubtful)?;
    Ok((state, members))
}
