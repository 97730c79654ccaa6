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
        answer::{Push, Signature},
        name::ServerId,
        peer::{DataMark, LogMark, NodeId, PeerMessage, RaftMessage},
        status::{PeerStatus, Role, ServerInfo, ServerList, Status},
    },
};

use super::{
    config::ReplicaConfig,
    consensus::{APPEND_RESPONSE, Consensus, Effects, Part},
    election::Standing,
    fanout::Fan,
    handover::Handover,
    io::{ConnId, Input, Now, Output, Query},
    leading::{Forwarded, Leading},
    members::Members,
    membership::View,
    presence::Presence,
    proposals::Proposals,
    reads::Reads,
    session::{Session, Sessions},
    storage::{Batch, Identity, Loaded, Storage, StorageError},
    trust::Trust,
};

/// How long rows of applied entries may wait for a transaction to travel in.
const FLUSH_MS: u64 = 20;
/// How long changes of what is remembered of other servers may wait.
const REMEMBER_MS: u64 = 1_000;
/// How long a stop waits for the handover and for answers that are still due.
const STOP_MS: u64 = 1_500;

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
    /// Since when it waits.
    pub since_ms: Option<u64>,
}

/// A standing link to a peer.
#[derive(Default)]
pub(super) struct Link {
    /// What the peer's data is, as it showed on this link.
    pub mark: Option<DataMark>,
    /// Whether the peer has answered this server's `Hello` on this link.
    pub welcomed: bool,
}

/// A stop under way.
struct Stopping {
    deadline_ms: u64,
    done: bool,
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
    /// Queries that must see entries up to an index that is not yet on the disk.
    pub(super) queries: Vec<(u64, Query)>,
    pub(super) outputs: Vec<Output>,
    pub(super) next_hello_ms: u64,
    announced: Option<ServerList>,
    remembered_ms: u64,
    started_ms: u64,
    stopping: Option<Stopping>,
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
            queries: Vec::new(),
            outputs: Vec::new(),
            next_hello_ms: 0,
            announced: None,
            remembered_ms: now.mono_ms,
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
            Input::Opened { conn } => {
                self.sessions.open(conn, Session::new(now.mono_ms, &self.config.limits));
                self.fan(Fan::Open { conn });
                if self.stopping.is_some() {
                    self.close(conn);
                }
            }
            Input::Line { conn, line } => self.on_line(now, conn, line),
            Input::Closed { conn } => self.on_closed(conn),
            Input::PeerUp(peer) => self.on_peer_up(peer),
            Input::PeerDown(peer) => self.on_peer_down(&peer),
            Input::Peer { from, message } => self.on_peer(now, from, message),
            Input::Campaign { leader_is_dead } => {
                if self.trust.is_cleared()
                    && let Core::Formed(consensus) = &mut self.core
                {
                    consensus.campaign(leader_is_dead);
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
                if let Some(node) = self.members.node_of(&from, &head.conf)
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
            && let Some((turn, effects)) = consensus.begin()
        {
            let installs = consensus.installs(&turn);
            self.carry_out(now, effects)?;
            let batch = self.take_unsaved();
            let Core::Formed(consensus) = &mut self.core else { break };
            let effects = consensus.finish(turn, batch)?;
            if installs {
                self.reload(now)?;
            }
            self.release_queries();
            self.carry_out(now, effects)?;
            self.drive(now);
        }
        let is_due = self.unsaved.since_ms.is_some_and(|since_ms| now.mono_ms >= since_ms + FLUSH_MS);
        let remember = self.trust.has_changed() && now.mono_ms >= self.remembered_ms + REMEMBER_MS;
        if is_due || remember || !self.queries.is_empty() {
            self.flush(now, remember)?;
        }
        self.announce(now);
        self.finish_stop(now);
        Ok(())
    }

    /// What is to be done, in order.
    pub fn drain_outputs(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.outputs)
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
        for (conn, rooms) in self.sessions.due(now.mono_ms) {
            self.follow(conn, rooms);
        }
        if let Some(change) = self.presence.take_change() {
            self.tell_peers(&change);
        }
        self.fan(Fan::Tick);
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
            while let Some(command) = leading.next() {
                if consensus.propose(command).is_err() {
                    break;
                }
                leading.proposed();
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

    /// Loads the state anew after a snapshot has replaced it. What clients of this server follow has
    /// jumped, so they are closed: they resume elsewhere or here, without a gap.
    fn reload(&mut self, now: Now) -> Result<(), StorageError> {
        let Core::Formed(consensus) = &mut self.core else { return Ok(()) };
        let loaded = consensus.storage().load()?;
        (self.state, self.members) = load_state(&loaded)?;
        consensus.applied(loaded.applied.index);
        self.unsaved = Unsaved::default();
        self.queries.clear();
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
        self.unsaved.since_ms = None;
        let mut batch = std::mem::take(&mut self.unsaved.batch);
        if let (Some(applied), Core::Formed(consensus)) = (&batch.applied, &self.core) {
            let keep = self.config.keep_entries;
            // What was written last time is certainly in the state on the disk.
            let stored = consensus.stored_applied().index;
            if stored.saturating_sub(consensus.truncated().last_log_index) > 2 * keep
                && applied.index > stored
            {
                batch.compact_to = Some(stored - keep);
            }
        }
        batch
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
        self.release_queries();
        Ok(())
    }

    fn release_queries(&mut self) {
        let Core::Formed(consensus) = &self.core else { return };
        let stored = consensus.stored_applied().index;
        let ready = self.queries.extract_if(.., |(index, _)| *index <= stored).map(|(_, query)| query);
        self.outputs.extend(ready.map(Output::Query));
    }

    fn on_peer_up(&mut self, peer: ServerId) {
        self.links.insert(peer.clone(), Link::default());
        let hello = PeerMessage::Hello(self.data_mark());
        self.send(peer.clone(), hello);
        let presence = self.presence.whole();
        self.send(peer, presence);
    }

    fn on_peer_down(&mut self, peer: &ServerId) {
        self.links.remove(peer);
        self.trust.unlinked(peer);
        self.presence.unlinked(peer);
        if let Core::Formed(consensus) = &mut self.core
            && let Some(node) = self.members.node_of(peer, consensus.conf())
        {
            if consensus.leader() == Some(node) {
                self.proposals.link_lost();
            }
            consensus.unreachable(node);
        }
    }

    fn on_peer(&mut self, now: Now, from: ServerId, message: PeerMessage) {
        match message {
            PeerMessage::Hello(mark) => self.on_hello(now, from, mark),
            PeerMessage::Doubt { node_id, reason } => {
                if node_id == self.identity.node_id {
                    self.quarantine(format!("{from} has seen data of this server that is gone: {reason}"));
                }
            }
            PeerMessage::Welcome { cluster_id, founders } => self.on_welcome(&from, cluster_id, founders),
            PeerMessage::Join { server_id, node_id } => self.on_join(&from, server_id, node_id),
            PeerMessage::Presence { whole, online, offline } => {
                self.presence.heard(&from, whole, online, &offline)
            }
            PeerMessage::Raft(message) => self.on_raft(&from, *message),
            PeerMessage::Forward { node_id, boot, first_seq, commands } => {
                if self.trust.accepts(&from, node_id)
                    && let Some(leading) = &mut self.leading
                {
                    leading.accept(
                        Forwarded { node_id, boot, first_seq, commands },
                        &self.state,
                        now.wall_ms,
                    );
                }
            }
            // The bytes of snapshots are moved by the caller, which says `SnapshotReceived`.
            PeerMessage::SnapshotBegin(_)
            | PeerMessage::SnapshotChunk { .. }
            | PeerMessage::SnapshotEnd { .. }
            | PeerMessage::SnapshotFailed => {}
        }
    }

    fn on_raft(&mut self, from: &ServerId, message: RaftMessage) {
        let known = self.trust.accepts(from, message.from) && message.to == self.identity.node_id;
        let Core::Formed(consensus) = &mut self.core else { return };
        if !known || !self.trust.is_cleared() {
            return;
        }
        if message.kind == APPEND_RESPONSE
            && !message.reject
            && let Some(last_log_term) = consensus.term_of(message.index)
        {
            let log = LogMark { last_log_term, last_log_index: message.index };
            self.trust.acknowledged(from, message.term, log);
        }
        consensus.step(message);
    }

    pub(super) fn quarantine(&mut self, reason: String) {
        if !self.quarantined {
            self.quarantined = true;
            self.outputs.push(Output::Quarantine { reason });
        }
    }

    /// Says who leads and who lives, where that has changed.
    fn announce(&mut self, now: Now) {
        let mut list = self.server_list();
        for server in &mut list.servers {
            // How many clients each has changes all the time; that alone is no news.
            server.clients = 0;
        }
        list.term = 0;
        if self.announced.as_ref() == Some(&list) {
            return;
        }
        self.announced = Some(list);
        let line = Push::ServerList(self.server_list()).line(None, &self.signature(now));
        self.fan(Fan::SayAll { line: line.into() });
    }

    fn stop(&mut self, now: Now) {
        if self.stopping.is_some() {
            return;
        }
        self.stopping = Some(Stopping { deadline_ms: now.mono_ms + STOP_MS, done: false });
        if let Some(successor) = self.best_successor()
            && let Core::Formed(consensus) = &mut self.core
        {
            consensus.transfer(successor);
        }
        let push = self.redirect_push("this server is shutting down");
        let by = self.signature(now);
        for conn in self.sessions.conns() {
            if let Some(push) = &push {
                self.fan(Fan::Say { conn, line: push.line(None, &by).into() });
            }
            if self.sessions.get_mut(conn).is_some_and(|session| !session.has_writes()) {
                self.close(conn);
            }
        }
    }

    fn finish_stop(&mut self, now: Now) {
        let Some(stopping) = &self.stopping else { return };
        let waits = self.leading.is_some() && self.best_successor().is_some() || self.sessions.have_writes();
        if stopping.done || (waits && now.mono_ms < stopping.deadline_ms) {
            return;
        }
        for conn in self.sessions.conns() {
            self.close(conn);
        }
        self.stopping = Some(Stopping { deadline_ms: now.mono_ms, done: true });
        self.outputs.push(Output::Stopped);
    }

    /// Whether a stop is under way.
    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.is_some()
    }

    pub(super) fn fan(&mut self, fan: Fan) {
        self.outputs.push(Output::Fan(fan));
    }

    pub(super) fn send(&mut self, to: ServerId, message: PeerMessage) {
        if self.links.contains_key(&to) {
            self.outputs.push(Output::Peer { to, message });
        }
    }

    pub(super) fn tell_peers(&mut self, message: &PeerMessage) {
        for peer in self.links.keys().cloned().collect::<Vec<_>>() {
            self.send(peer, message.clone());
        }
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

    /// What this server's data is, for heartbeats and links.
    pub fn data_mark(&self) -> DataMark {
        let (term, log) = match &self.core {
            Core::Formed(consensus) => (consensus.term(), consensus.synced()),
            Core::Unformed(_) | Core::Changing => (0, LogMark::default()),
        };
        DataMark {
            cluster_id: self.identity.cluster.as_ref().map(|cluster| cluster.cluster_id),
            node_id: self.identity.node_id,
            boot: self.identity.boot,
            term,
            log,
        }
    }

    /// What this server is.
    pub fn role(&self) -> Role {
        match &self.core {
            Core::Unformed(_) | Core::Changing => Role::Forming,
            Core::Formed(consensus) => match consensus.part() {
                Part::Leader => Role::Leader,
                _ if !consensus.is_voter() => Role::Learner,
                Part::Candidate => Role::Candidate,
                Part::Follower => Role::Follower,
            },
        }
    }

    /// The term of consensus.
    pub fn term(&self) -> u64 {
        self.data_mark().term
    }

    /// Who leads, where that is known.
    pub fn leader(&self) -> Option<ServerId> {
        let Core::Formed(consensus) = &self.core else { return None };
        self.server_of(consensus.leader()?).cloned()
    }

    /// The server of an incarnation: as the log names it, or else as it has shown itself. A server that
    /// joins knows only the founders' names until it has caught up.
    fn server_of(&self, node: NodeId) -> Option<&ServerId> {
        self.members.server_of(node).or_else(|| self.trust.showing(node))
    }

    /// Whether this server may take part in elections.
    pub fn may_vote(&self) -> bool {
        self.trust.is_cleared() && matches!(&self.core, Core::Formed(consensus) if consensus.is_voter())
    }

    /// What the election needs to know of this server.
    pub fn standing(&self) -> Standing {
        Standing {
            data: self.data_mark(),
            leads: self.role() == Role::Leader,
            leader: self.leader().filter(|leader| *leader != self.config.server_id),
            votes: self.may_vote(),
        }
    }

    /// How many client connections there are.
    pub fn clients(&self) -> u64 {
        self.sessions.len() as u64
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

    /// The servers of the cluster, as this one sees them.
    pub fn server_list(&self) -> ServerList {
        let leader_id = self.leader();
        let servers = self
            .config
            .servers
            .iter()
            .map(|server| {
                let me = server.server_id == self.config.server_id;
                let peer = self.view.peers.get(&server.server_id);
                ServerInfo {
                    server_id: server.server_id.clone(),
                    host: server.host.clone(),
                    tcp_port: server.port,
                    ring_position: server.ring_position,
                    alive: me || peer.is_some_and(|peer| peer.alive),
                    is_leader: leader_id.as_ref() == Some(&server.server_id),
                    clients: if me { self.clients() } else { peer.map_or(0, |peer| peer.clients) },
                }
            })
            .collect();
        ServerList { servers, leader_id, term: self.term() }
    }

    /// The whole status.
    pub fn status(&self, now: Now) -> Status {
        let (last_index, commit_index) = match &self.core {
            Core::Formed(consensus) => (consensus.last_index(), consensus.commit_index()),
            Core::Unformed(_) | Core::Changing => (0, 0),
        };
        let me = self.config.server(&self.config.server_id);
        let port = me.map_or(0, |server| server.port);
        Status {
            server_id: self.config.server_id.clone(),
            role: self.role(),
            leader_id: self.leader(),
            term: self.term(),
            ring_position: self.config.ring_position(),
            last_index,
            commit_index,
            applied_index: self.applied_index(),
            uptime: now.mono_ms.saturating_sub(self.started_ms) as f64 / 1000.0,
            clients: self.clients(),
            messages: self.state.messages(),
            tcp_port: port,
            udp_port: port.saturating_add(20),
            peers: self.peer_statuses(now),
            note: self.note(),
            version: env!("CARGO_PKG_VERSION").into(),
        }
    }

    fn peer_statuses(&self, now: Now) -> Vec<PeerStatus> {
        let others = self.config.servers.iter().filter(|server| server.server_id != self.config.server_id);
        others
            .map(|server| {
                let view = self.view.peers.get(&server.server_id);
                let match_index = match &self.core {
                    Core::Formed(consensus) => self
                        .members
                        .node_of(&server.server_id, consensus.conf())
                        .and_then(|node| consensus.match_index(node)),
                    Core::Unformed(_) | Core::Changing => None,
                };
                PeerStatus {
                    server_id: server.server_id.clone(),
                    alive: view.is_some_and(|view| view.alive),
                    last_heartbeat_age_ms: view
                        .and_then(|view| view.last_heartbeat_ms)
                        .map(|heard_ms| now.mono_ms.saturating_sub(heard_ms)),
                    match_index,
                }
            })
            .collect()
    }

    /// What this server waits for, in words.
    fn note(&self) -> String {
        match self.role() {
            Role::Forming => {
                let missing: BTreeSet<&str> = self
                    .config
                    .servers
                    .iter()
                    .filter(|server| server.server_id != self.config.server_id)
                    .filter(|server| !self.links.contains_key(&server.server_id))
                    .map(|server| server.server_id.as_str())
                    .collect();
                if missing.is_empty() {
                    return "meeting the other servers for the first time".into();
                }
                let missing: Vec<&str> = missing.into_iter().collect();
                format!(
                    "a new cluster begins once all its servers have met; not yet here: {}",
                    missing.join(", ")
                )
            }
            Role::Learner => "being rebuilt from the other servers; does not vote yet".into(),
            _ if !self.trust.is_cleared() => {
                "waiting until another server has vouched for this one's data".into()
            }
            _ => String::new(),
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
