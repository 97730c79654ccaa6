//! One server as a member of its cluster: consensus with the log, the links to the peers, and whose data is
//! accepted.
//!
//! The node knows nothing of clients and of what an entry means. It adds to the outputs that it is handed,
//! and returns committed entries.
//!
//! | file | concept |
//! |---|---|
//! | this one | what the node owns and says of itself |
//! | `damage`, `mending` | what is damaged; what becomes of a server whose data is damaged in places |
//! | `forming` | how servers become a cluster, and how one that lost its data gets back in |
//! | `handover`, `successor` | who leads in the end; how long a leader waits before it hands over |
//! | `link`, `links` | what is known of a peer by its link; what comes over it |
//! | `members` | which node belongs to which server, as the log has it |
//! | `programs` | what the programs of the servers know |
//! | `room` | a server whose disk is almost full |
//! | `servers` | which servers the cluster has, and what a change of them would do |
//! | `trust` | the memory that catches a server which lost or rolled back its data |

mod damage;
mod forming;
mod handover;
mod link;
mod links;
mod members;
mod mending;
mod programs;
mod room;
mod servers;
mod successor;
mod trust;

use std::{collections::BTreeMap, io::Read, ops::Range, sync::Arc};

use crate::{
    config::{ReplicaConfig, ServerEntry},
    consensus::{ConfChange, Consensus, RaftRole},
    disk::{Applied, Batch, Identity, Loaded, Row, Storage, StorageError},
    election::membership::View,
    protocol::{
        name::ServerId,
        peer::{ConfState, DataMark, LogEntry, NodeId, PeerMessage, SnapshotHead},
        rules::RulesVersion,
        status::{Role, Scrub},
    },
};

pub use self::servers::Heard;
use self::{damage::Damage, link::Link, members::Members, successor::Handover, trust::Trust};
use super::{
    io::{Now, Output},
    outputs::Outputs,
};

/// While linked peers catch up, the log may grow to so many times `keep_entries`.
const HELD_FOR_PEERS: u64 = 20;
/// How long changed memories of other servers may wait for a sync that has to be made anyway.
const REMEMBER_MS: u64 = 20;
/// How often the disk is asked to wipe what is removed. A slice takes it some milliseconds.
const WIPE_MS: u64 = 50;
/// How long a server that could not use a snapshot waits before it lets another one come.
const SNAPSHOT_PAUSE_MS: u64 = 5_000;

/// This server as a member of its cluster.
pub struct Node<S: Storage> {
    config: Arc<ReplicaConfig>,
    /// What the data folder says of itself; the cluster is missing until the first meeting.
    pub identity: Identity,
    /// The log, the vote, and the library behind them.
    pub consensus: Consensus<S>,
    members: Members,
    trust: Trust,
    links: BTreeMap<ServerId, Link>,
    handover: Handover,
    /// The failure detector's beliefs about the others.
    pub view: View,
    /// When the peers are shown this server's data next.
    next_hello_ms: u64,
    /// When what is remembered of other servers was last stored.
    remembered_ms: u64,
    next_wipe_ms: u64,
    /// Until when the leader's entries are ignored, see [`Node::go_on_without`].
    no_entries_until_ms: u64,
    quarantined: bool,
    /// Why this server is in no cluster yet, if it was told that it has to be added.
    waits: Option<String>,
    damage: Damage,
    pub scrub: Scrub,
    /// Whether there is room on the disk.
    has_room: bool,
    /// An error of the disk that came up outside a turn; the next turn ends with it.
    broken: Option<StorageError>,
}

impl<S: Storage> Node<S> {
    /// Starts from what the disk holds.
    pub fn open(
        config: Arc<ReplicaConfig>,
        storage: S,
        loaded: &Loaded,
        now: Now,
    ) -> Result<Self, StorageError> {
        Ok(Node {
            consensus: Consensus::open(&config, storage, loaded)?,
            members: Members::of(loaded)?,
            trust: Trust::new(config.servers.voting().count(), loaded.peer_marks.clone()),
            identity: loaded.identity.clone(),
            links: BTreeMap::new(),
            handover: Handover::default(),
            view: View::default(),
            next_hello_ms: 0,
            remembered_ms: now.mono_ms,
            next_wipe_ms: now.mono_ms,
            no_entries_until_ms: now.mono_ms,
            quarantined: false,
            waits: None,
            damage: Damage::default(),
            scrub: Scrub::default(),
            has_room: true,
            broken: None,
            config,
        })
    }

    /// One tick of consensus and of what the node watches over.
    pub fn tick(&mut self, now: Now, outputs: &mut Outputs) {
        if self.trust.is_cleared() {
            self.consensus.tick();
        }
        self.meet(now, outputs);
        self.reconfigure();
        self.mend(now, outputs);
    }

    /// Takes over the settings of a reload.
    pub fn use_config(&mut self, config: Arc<ReplicaConfig>) {
        self.config = config;
    }

    /// The election asks this server to try to lead, see [`Consensus::campaign`].
    pub fn campaign(&mut self, term: u64, leader_is_dead: bool) {
        if self.trust.is_cleared() {
            self.consensus.campaign(term, leader_is_dead);
        }
    }

    /// Takes in the failure detector's beliefs about the others.
    pub fn on_view(&mut self, view: View) {
        for (peer, peer_view) in &view.peers {
            if let Some(mark) = &peer_view.data {
                self.trust.heard(peer, mark);
            }
        }
        self.view = view;
    }

    /// A snapshot has come in whole from `from`.
    pub fn on_snapshot(&mut self, from: &ServerId, head: SnapshotHead, content: Box<dyn Read + Send>) {
        let is_ours = self.identity.cluster.as_ref().is_some_and(|mine| mine.cluster_id == head.cluster_id);
        let is_ours = is_ours && self.has_room;
        if is_ours && let Err(error) = self.config.rules.read(head.rules) {
            return self.broke(StorageError::Failed(format!("the snapshot of {from} {error}")));
        }
        // A new server only knows the founders; its leader may be none of them.
        if let Some(node) = self.trust.shown_by(from).filter(|_| is_ours) {
            self.consensus.offer_snapshot(node, head, content);
        }
    }

    /// The sending of a snapshot to `to` has ended. If it is complete, all data could be read.
    pub fn on_snapshot_sent(&mut self, to: &ServerId, ok: bool) {
        if ok {
            self.damage = Damage::default();
        }
        let conf = self.consensus.conf();
        let nodes: Vec<NodeId> = [&conf.learners[..], &conf.voters].concat();
        for node in self.members.of_server(to, &nodes) {
            self.consensus.snapshot_sent(node, ok);
        }
    }

    /// Asks for a snapshot to be sent to `node`, or tells consensus that it cannot be.
    pub fn send_snapshot(&mut self, now: Now, node: NodeId, rules: RulesVersion, outputs: &mut Outputs) {
        if self.damage.hinders_snapshots(now) {
            return self.consensus.snapshot_sent(node, false);
        }
        match self.members.server_of(node).filter(|server| self.links.contains_key(*server)) {
            Some(to) => {
                let term = self.consensus.term();
                outputs.push(Output::SendSnapshot { to: to.clone(), term, rules });
            }
            None => self.consensus.snapshot_sent(node, false),
        }
    }

    /// Goes on with the data on the disk, because a snapshot could not be used. Refusing the entries after it
    /// makes its sender send another. For a while they are not even refused: sending the whole state again
    /// and again would only burden the leader.
    pub fn go_on_without(
        &mut self,
        now: Now,
        reason: String,
        outputs: &mut Outputs,
    ) -> Result<(), StorageError> {
        self.consensus.reopen(&self.config)?;
        self.no_entries_until_ms = now.mono_ms + SNAPSHOT_PAUSE_MS;
        outputs.push(Output::SnapshotUnreadable { reason });
        Ok(())
    }

    /// Reads the disk again after a snapshot has replaced everything.
    pub fn reload(&mut self) -> Result<Loaded, StorageError> {
        let loaded = self.consensus.storage().load()?;
        self.members = Members::of(&loaded)?;
        self.consensus.applied(loaded.applied.index);
        Ok(loaded)
    }

    /// Applies a committed change of the servers that count, if the directory that it follows is still that
    /// of the log, `version`. Gives the rows that say so, and the nodes that count no more.
    pub fn apply_configure(
        &mut self,
        entry: &LogEntry,
        version: u64,
    ) -> Result<(Vec<Row>, Vec<NodeId>), StorageError> {
        let configure = members::Configure::decode(&entry.data).map_err(|error| {
            StorageError::Failed(format!(
                "entry {} cannot be applied: the configuration {error}",
                entry.index
            ))
        })?;
        let ends_change = entry.data.is_empty();
        if !ends_change && configure.follows != version {
            return Ok(Default::default());
        }
        self.consensus.apply_configure(&configure.steps)?;
        let removed = configure.steps.iter().filter_map(ConfChange::removed).collect::<Vec<_>>();
        Ok((self.members.apply(&configure), removed))
    }

    /// Notes that everything up to this entry is applied; returns the mark to store.
    pub fn applied(&mut self, index: u64, term: u64) -> Applied {
        self.consensus.applied(index);
        Applied { index, term, conf: self.consensus.conf().clone() }
    }

    /// How far the log may be cut, if it is time to. The state on the disk contains the log up to `stored`.
    ///
    /// The entries that a linked peer needs next stay, up to a limit. Otherwise a peer that installs a
    /// snapshot under load would find the entries after it gone, get the next snapshot, and never catch up.
    pub fn cut(&self, stored: u64) -> Option<u64> {
        let truncated = self.consensus.truncated().last_log_index;
        let conf = self.consensus.conf();
        let nodes = self.links.keys().filter_map(|peer| self.members.node_of(peer, conf));
        let reached = nodes.filter_map(|node| self.consensus.reaches(node));
        cut_of(truncated..stored, self.config.keep_entries, reached)
    }

    /// Whether what is remembered of other servers has waited long enough to be stored.
    pub fn must_remember(&self, now: Now) -> bool {
        self.trust.has_changed() && now.mono_ms >= self.remembered_ms + REMEMBER_MS
    }

    /// Adds what has changed in what is remembered of other servers to what is about to be written.
    pub fn remember(&mut self, now: Now, batch: &mut Batch) {
        batch.peer_marks = self.trust.take_changed();
        self.remembered_ms = now.mono_ms;
    }

    /// Lets the disk wipe what is removed, if no commits do it meanwhile.
    pub fn wipe(&mut self, now: Now) {
        if now.mono_ms < self.next_wipe_ms {
            return;
        }
        self.next_wipe_ms = now.mono_ms + WIPE_MS;
        if let Err(error) = self.consensus.wipe_if_idle() {
            self.broke(error);
        }
    }

    /// Notes an error of the disk outside a turn: the next turn ends with it.
    pub fn broke(&mut self, error: StorageError) {
        self.broken.get_or_insert(error);
    }

    /// Notes that something could not be read: the next tick sees to damage, and if the disk has failed the
    /// next turn ends with that.
    pub fn unreadable(&mut self, error: StorageError) {
        match error {
            StorageError::Failed(_) => self.broke(error),
            StorageError::Damaged(_) | StorageError::Doubtful(_) => self.damage.note(error),
        }
    }

    /// The error that ends the turn, if there is one.
    pub fn take_broken(&mut self) -> Option<StorageError> {
        self.broken.take()
    }

    /// Takes this server out of the cluster: it must be rebuilt from the others. Reported once.
    pub fn quarantine(&mut self, reason: String, outputs: &mut Outputs) {
        if !self.quarantined {
            self.quarantined = true;
            outputs.push(Output::Quarantine { reason });
        }
    }

    pub fn is_quarantined(&self) -> bool {
        self.quarantined
    }

    /// What a peer is told first.
    fn hello(&self) -> PeerMessage {
        PeerMessage::Hello { data: self.data_mark(), rules: self.config.rules }
    }

    /// The mark of this server's data, for heartbeats and links.
    pub fn data_mark(&self) -> DataMark {
        DataMark {
            cluster_id: self.identity.cluster.as_ref().map(|cluster| cluster.cluster_id),
            node_id: self.identity.node_id,
            boot: self.identity.boot,
            term: self.consensus.term(),
            log: self.consensus.synced(),
        }
    }

    /// What this server is in its cluster.
    pub fn role(&self) -> Role {
        if self.identity.cluster.is_none() {
            return Role::Forming;
        }
        match self.consensus.raft_role() {
            RaftRole::Leader => Role::Leader,
            _ if !self.consensus.is_voter() => Role::Learner,
            RaftRole::Candidate => Role::Candidate,
            RaftRole::Follower => Role::Follower,
        }
    }

    /// Who leads, if that is known.
    pub fn leader(&self) -> Option<&ServerId> {
        self.server_of(self.consensus.leader()?)
    }

    /// Whether others have vouched for this server's data, so that it takes part in consensus.
    pub fn is_cleared(&self) -> bool {
        self.trust.is_cleared()
    }

    /// Whether this server may take part in elections.
    pub fn may_vote(&self) -> bool {
        self.trust.is_cleared() && self.consensus.is_voter() && !self.damage.lasts() && self.has_room
    }

    /// Whether a server is believed alive; this one is.
    pub fn is_alive(&self, server: &ServerId) -> bool {
        *server == self.config.server_id || self.view.peers.get(server).is_some_and(|peer| peer.alive)
    }

    /// Whether the link to a peer stands.
    pub fn is_linked(&self, peer: &ServerId) -> bool {
        self.links.contains_key(peer)
    }

    /// Whether the peer at the other end of a link has shown itself as `node`.
    pub fn accepts(&self, from: &ServerId, node: NodeId) -> bool {
        self.trust.accepts(from, node)
    }

    /// Why a linked peer does not belong to this server's cluster.
    pub fn complaint(&self) -> Option<&str> {
        self.links.values().find_map(|link| link.complaint.as_deref())
    }

    /// How far a configured server's log is known to match; only a leader knows.
    pub fn match_index(&self, server: &ServerId) -> Option<u64> {
        self.consensus.match_index(self.members.node_of(server, self.consensus.conf())?)
    }

    /// The server of a node, as the log names it or else as it has shown itself. A server that joins knows
    /// only the founders' names until it has caught up.
    pub fn server_of(&self, node: NodeId) -> Option<&ServerId> {
        self.members.server_of(node).or_else(|| self.trust.showing(node))
    }

    /// Whether this server counts in the cluster, be it as a learner.
    fn is_in(&self, conf: &ConfState) -> bool {
        let me = self.identity.node_id;
        [&conf.voters, &conf.learners, &conf.voters_outgoing].iter().any(|nodes| nodes.contains(&me))
    }

    /// The servers but this one.
    fn others(&self) -> impl Iterator<Item = &ServerEntry> {
        self.config.servers.iter().filter(|server| server.server_id != self.config.server_id)
    }

    /// Hands a message to the link of a peer, if it stands; else it is dropped.
    pub fn send(&self, to: ServerId, message: PeerMessage, outputs: &mut Outputs) {
        if self.links.contains_key(&to) {
            outputs.push(Output::Peer { to, message });
        }
    }

    /// Hands a message to all links that stand.
    pub fn tell_peers(&self, message: &PeerMessage, outputs: &mut Outputs) {
        let all = self.links.keys().map(|to| Output::Peer { to: to.clone(), message: message.clone() });
        outputs.extend(all);
    }
}

/// Where to cut a log that begins behind `log.start` and is in the stored state up to `log.end`: at least
/// `keep` entries stay. `reached`: how far the linked peers have it.
fn cut_of(log: Range<u64>, keep: u64, reached: impl Iterator<Item = u64>) -> Option<u64> {
    let length = log.end.saturating_sub(log.start);
    if length <= 2 * keep {
        return None;
    }
    let mut to = log.end - keep;
    if length <= HELD_FOR_PEERS * keep {
        to = reached.fold(to, u64::min);
    }
    (to > log.start).then_some(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_linked_peer_needs_next_stays_in_the_log_up_to_a_limit() {
        let cut = |log, reached: &[u64]| cut_of(log, 10, reached.iter().copied());
        assert_eq!(cut(100..120, &[]), None, "it is not cut again and again");
        assert_eq!(cut(100..121, &[]), Some(111));
        assert_eq!(cut(100..121, &[121, 119]), Some(111), "some stay though no peer needs them");
        assert_eq!(cut(100..121, &[121, 105]), Some(105));
        assert_eq!(cut(100..300, &[100, 300]), None, "one peer needs all of it");
        assert_eq!(cut(100..301, &[100, 300]), Some(291), "it can have a snapshot");
    }
}
