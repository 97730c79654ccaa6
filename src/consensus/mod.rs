//! The only interface to the consensus library (`raft` 0.7). No file outside this folder names it.
//!
//! [`Consensus`] proposes, commits and applies in our own types. It keeps the library's rules (see its
//! "Processing the Ready State") and ours:
//!
//! - Nothing of the library's protobuf is ever parsed from bytes: peers send `RaftMessage`, the disk holds
//!   `LogEntry`. A `MsgPropose` from a peer is refused, since the library would parse configuration
//!   changes in it. What a configuration change says travels in the entry's context in our encoding; the
//!   library's own bytes for it are carried along unread (`LogEntry::opaque`). So RUSTSEC-2024-0437
//!   (unbounded recursion in `protobuf`'s parser) is out of reach.
//! - A snapshot message carries no data: the caller moves the bytes and hands them over complete.
//! - The applied index is the one the database holds, so applying is exactly once across a restart.
//!
//! | file | concept |
//! |---|---|
//! | this one | the interface of consensus, and how the library is set up |
//! | `turn` | one round of it: what is to be sent, written and applied |
//! | `log` | the log as the library reads it |
//! | `conf_change` | a step by which the servers that count change |
//! | `convert` | our types and the library's |

mod conf_change;
mod convert;
mod log;
mod turn;

#[cfg(test)]
mod tests;

use std::io::Read;

use raft::{
    Config, INVALID_ID, ProgressState, RawNode, ReadOnlyOption, SnapshotStatus, StateRole, eraftpb as pb,
};

use crate::{
    config::{ReplicaConfig, Timing},
    disk::{Applied, Batch, Loaded, Storage, StorageError},
    protocol::{
        peer::{ConfState, LogMark, NodeId, RaftMessage, SnapshotHead},
        status::Cause,
    },
};

use self::{
    convert::{conf_change, from_conf, snapshot_of, to_library},
    log::Log,
};

pub use self::{
    conf_change::ConfChange,
    convert::{APPEND, APPEND_RESPONSE, VOTE_RESPONSE},
    turn::{Effects, Turn},
};

/// Most bytes of entries in one message to a peer, unless one entry has more. The peer answers a message when
/// it has all of it, and a leader that hears nothing for an election timeout (a quarter of a second) ends: so
/// one message must pass in less, also over a link of ten megabits a second or to a machine that is busy.
const MESSAGE_BYTES: u64 = 128 * 1024;
/// Messages with entries that may be under way to one peer.
const INFLIGHT_MESSAGES: usize = 256;
/// Bytes of entries that may wait for their commit before the library refuses more.
const UNCOMMITTED_BYTES: u64 = 64 * 1024 * 1024;
/// Bytes of committed entries that are handed out for applying at once, which is in one transaction.
///
/// Less would not make the replica's rounds shorter: a turn goes on until nothing is ready, so the same
/// entries would be applied in the same round, with a sync for each part.
const COMMITTED_BYTES: u64 = 8 * 1024 * 1024;

/// What a server is in consensus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RaftRole {
    /// It leads in its term.
    Leader,
    /// It follows, or waits for a leader to follow.
    Follower,
    /// It asks for votes, or asks in a pre-vote whether it would get them.
    Candidate,
}

/// Why a proposal was not taken. It may be tried again later: nothing was proposed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dropped;

/// One server's part in consensus, together with its storage.
pub struct Consensus<S: Storage> {
    raw: RawNode<Log<S>>,
    /// The servers that count, as of the last applied entry.
    conf: ConfState,
    /// This incarnation and its run, the prefix of each question to the leader. The library tells questions
    /// apart by their bytes alone, and drops one that looks like another server's.
    asker: [u8; 16],
    /// Why this server last asked for votes.
    cause: Cause,
    /// A complete snapshot that the library knows of and has not yet decided about.
    arrived: Option<(SnapshotHead, Box<dyn Read + Send>)>,
    /// Whether a turn is under way, and how far the state was applied since it began.
    in_turn: bool,
    applied_in_turn: Option<u64>,
}

impl<S: Storage> Consensus<S> {
    /// Starts from what the disk holds. A server that belongs to no cluster yet has an empty configuration:
    /// it never campaigns and nothing commits.
    pub fn open(config: &ReplicaConfig, storage: S, loaded: &Loaded) -> Result<Self, StorageError> {
        let id = loaded.identity.node_id;
        let conf = loaded.applied.conf.clone();
        let mut asker = [0; 16];
        asker[..8].copy_from_slice(&id.0.to_be_bytes());
        asker[8..].copy_from_slice(&loaded.identity.boot.to_be_bytes());
        Ok(Consensus {
            raw: start(config, storage, loaded)?,
            conf,
            asker,
            cause: Cause::Timeout,
            arrived: None,
            in_turn: false,
            applied_in_turn: None,
        })
    }

    /// Starts anew from what the disk holds, as a restart of the process would, after the disk was given
    /// something that the library does not know.
    ///
    /// # Errors
    /// The disk could not be read. The caller's loop ends with that.
    pub fn reopen(&mut self, config: &ReplicaConfig) -> Result<Loaded, StorageError> {
        let loaded = self.storage().load()?;
        let storage = self.raw.mut_store().take_db();
        *self = Consensus::open(config, storage, &loaded)?;
        Ok(loaded)
    }

    /// Makes this server one of the cluster that `batch` names, synced, and starts anew as its member.
    ///
    /// # Errors
    /// The batch could not be written or what it made could not be read. The caller's loop ends with that.
    pub fn found(&mut self, config: &ReplicaConfig, batch: Batch) -> Result<Loaded, StorageError> {
        self.raw.mut_store().db_mut().commit(batch)?;
        self.reopen(config)
    }

    /// One tick of the library's clock.
    pub fn tick(&mut self) {
        let before = self.raft_role();
        self.raw.tick();
        if before == RaftRole::Follower && self.raft_role() != before {
            self.cause = Cause::Timeout;
        }
    }

    /// Why this server last asked for votes. It is not known here whether there was a leader before.
    pub fn cause(&self) -> Cause {
        self.cause
    }

    /// Asks for votes, unless `term`, in which this was decided, is over. If the leader is certainly dead,
    /// its lease is not waited out: this uses the library's forced campaign (that of a leadership transfer),
    /// which keeps the rule that an older log loses.
    pub fn campaign(&mut self, term: u64, leader_is_dead: bool) {
        if self.raft_role() == RaftRole::Leader || !self.is_voter() || self.raw.raft.term != term {
            return;
        }
        self.cause = if leader_is_dead { Cause::LeaderDied } else { Cause::LeaderSilent };
        if !leader_is_dead {
            // A refusal only means that this server cannot be elected (not promotable).
            let _ = self.raw.campaign();
            return;
        }
        // Only a follower obeys `MsgTimeoutNow`.
        let term = self.raw.raft.term;
        self.raw.raft.become_follower(term, INVALID_ID);
        let mut message = pb::Message::default();
        message.set_msg_type(pb::MessageType::MsgTimeoutNow);
        message.from = self.raw.raft.id;
        let _ = self.raw.raft.step(message);
    }

    /// Proposes commands, all in one message to each peer.
    pub fn propose(&mut self, commands: Vec<Vec<u8>>) -> Result<(), Dropped> {
        let entry = |data: Vec<u8>| pb::Entry { data: data.into(), ..pb::Entry::default() };
        let mut message = pb::Message { from: self.raw.raft.id, ..pb::Message::default() };
        message.set_msg_type(pb::MessageType::MsgPropose);
        message.set_entries(commands.into_iter().map(entry).collect::<Vec<_>>().into());
        self.raw.raft.step(message).map_err(|_| Dropped)
    }

    /// Proposes a change of the servers that count; `data` is kept in the entry for `apply_configure`.
    pub fn propose_configure(&mut self, steps: &[ConfChange], data: Vec<u8>) -> Result<(), Dropped> {
        if self.raw.raft.has_pending_conf() {
            return Err(Dropped);
        }
        self.raw.propose_conf_change(data, conf_change(steps)).map_err(|_| Dropped)
    }

    /// Applies a committed change of the servers that count; no steps end a joint configuration.
    pub fn apply_configure(&mut self, steps: &[ConfChange]) -> Result<(), StorageError> {
        let conf = self.raw.apply_conf_change(&conf_change(steps)).map_err(|error| {
            StorageError::Doubtful(format!("a committed configuration does not apply: {error}"))
        })?;
        self.conf = from_conf(&conf);
        self.raw.mut_store().conf = self.conf.clone();
        Ok(())
    }

    /// Takes a message of a peer that has proved who it is.
    pub fn step(&mut self, message: RaftMessage) {
        if let Some(message) = to_library(message) {
            self.raw.mut_store().leads = self.raft_role() == RaftRole::Leader;
            if message.get_msg_type() == pb::MessageType::MsgTimeoutNow {
                self.cause = Cause::Handover;
            }
            // An error means that the message is useless now; the sender repeats it if it matters.
            let _ = self.raw.step(message);
        }
    }

    /// A snapshot has arrived from `from`. Whether it is used is seen in the next turn.
    pub fn offer_snapshot(&mut self, from: NodeId, head: SnapshotHead, content: Box<dyn Read + Send>) {
        if self.arrived.is_some() {
            // One is about to be installed.
            return;
        }
        let mut message = pb::Message::default();
        message.set_msg_type(pb::MessageType::MsgSnapshot);
        message.from = from.0;
        message.to = self.raw.raft.id;
        message.term = head.term;
        message.set_snapshot(snapshot_of(head.index, head.index_term, &head.conf));
        self.arrived = Some((head, content));
        let _ = self.raw.step(message);
        if self.raw.raft.raft_log.unstable_snapshot().is_none() {
            self.arrived = None;
        }
    }

    /// Tells how the sending of a snapshot ended.
    pub fn snapshot_sent(&mut self, to: NodeId, ok: bool) {
        self.raw.report_snapshot(to.0, if ok { SnapshotStatus::Finish } else { SnapshotStatus::Failure });
    }

    /// The link to a peer is gone: what was under way to it may be lost.
    pub fn unreachable(&mut self, peer: NodeId) {
        self.raw.report_unreachable(peer.0);
    }

    /// Asks which index a read must wait for to see everything committed before now. The answer comes
    /// in `Effects::reads` or never: the caller repeats, each time with a number that is new in this run.
    pub fn read_index(&mut self, question: u64) {
        self.raw.read_index([&self.asker[..], &question.to_be_bytes()].concat());
    }

    /// Asks for leadership to pass to `to`.
    pub fn transfer(&mut self, to: NodeId) {
        self.raw.transfer_leader(to.0);
    }

    /// Whether a transfer of leadership is under way; proposals are refused meanwhile.
    pub fn is_transferring(&self) -> bool {
        self.raw.raft.lead_transferee.is_some()
    }

    pub fn raft_role(&self) -> RaftRole {
        match self.raw.raft.state {
            StateRole::Leader => RaftRole::Leader,
            StateRole::Follower => RaftRole::Follower,
            StateRole::Candidate | StateRole::PreCandidate => RaftRole::Candidate,
        }
    }

    /// Whether this server votes and can be elected.
    pub fn is_voter(&self) -> bool {
        self.raw.raft.promotable()
    }

    /// The newest term promised.
    pub fn term(&self) -> u64 {
        self.raw.raft.term
    }

    /// Who leads in this term, if that is known.
    pub fn leader(&self) -> Option<NodeId> {
        match self.raw.raft.leader_id {
            INVALID_ID => None,
            id => Some(NodeId(id)),
        }
    }

    /// The last entry of the log that is synced here.
    pub fn synced(&self) -> LogMark {
        self.raw.store().last()
    }

    /// The last entry of the log, synced or not: votes compare other logs with it.
    pub fn last(&self) -> LogMark {
        let log = &self.raw.raft.raft_log;
        LogMark { last_log_term: log.last_term(), last_log_index: log.last_index() }
    }

    /// The index of that entry.
    pub fn last_index(&self) -> u64 {
        self.raw.raft.raft_log.last_index()
    }

    /// The last entry known to be committed.
    pub fn commit_index(&self) -> u64 {
        self.raw.raft.raft_log.committed
    }

    /// Whether this leader has applied everything up to an entry of its own term: then its state
    /// contains all that was ever acknowledged.
    pub fn has_applied_own_term(&self) -> bool {
        self.raft_role() == RaftRole::Leader && self.has_applied_entry_of_term()
    }

    /// Whether an entry of the present term is applied here.
    pub fn has_applied_entry_of_term(&self) -> bool {
        self.raw.raft.apply_to_current_term()
    }

    /// The servers that count, as of the last applied entry.
    pub fn conf(&self) -> &ConfState {
        &self.conf
    }

    /// Whether a change of the servers that count is under way.
    pub fn is_reconfiguring(&self) -> bool {
        self.raw.raft.has_pending_conf() || !self.conf.voters_outgoing.is_empty()
    }

    /// How far a peer's log is known to match; only a leader knows.
    pub fn match_index(&self, peer: NodeId) -> Option<u64> {
        (self.raft_role() == RaftRole::Leader)
            .then(|| self.raw.raft.prs().get(peer.0).map(|progress| progress.matched))?
    }

    /// Whether entries flow to a peer without hindrance; only a leader knows.
    pub fn is_replicating(&self, peer: NodeId) -> bool {
        self.raft_role() == RaftRole::Leader
            && self
                .raw
                .raft
                .prs()
                .get(peer.0)
                // Not `recent_active`: the library clears it at each check of its quorum, to be set again.
                .is_some_and(|progress| progress.state == ProgressState::Replicate)
    }

    /// The last entry that a peer's log has when everything under way to it has arrived: later entries must
    /// not be cut from this log. Only a leader knows.
    pub fn reaches(&self, peer: NodeId) -> Option<u64> {
        let progress = self.raw.raft.prs().get(peer.0).filter(|_| self.raft_role() == RaftRole::Leader)?;
        Some(match progress.state {
            ProgressState::Snapshot => progress.pending_snapshot,
            // After a snapshot was sent, the end of the snapshot. It may not be installed yet.
            ProgressState::Probe => progress.next_idx - 1,
            ProgressState::Replicate => progress.matched,
        })
    }

    /// The term of an entry, if it is still known.
    pub fn term_of(&self, index: u64) -> Option<u64> {
        self.raw.raft.raft_log.term(index).ok().filter(|_| index <= self.last_index())
    }

    /// The entry before the first one that the log keeps.
    pub fn truncated(&self) -> LogMark {
        self.raw.store().truncated
    }

    /// How far the state on the disk goes.
    pub fn stored_applied(&self) -> &Applied {
        &self.raw.store().applied
    }

    pub fn storage(&self) -> &S {
        self.raw.store().db()
    }

    /// Whether something of the state is still to be written.
    pub fn is_saving(&self) -> bool {
        self.storage().is_saving()
    }

    /// Damage that stops nothing, if it was found since the last call: the state cannot be written for the
    /// moment, or entries for a peer cannot be read.
    pub fn take_damage(&mut self) -> Option<StorageError> {
        self.raw.store().damage.take()
    }

    /// The storage, to be set up.
    pub fn storage_mut(&mut self) -> &mut S {
        self.raw.mut_store().db_mut()
    }

    /// Lets the disk wipe what is removed; see [`Storage::wipe_if_idle`].
    pub fn wipe_if_idle(&mut self) -> Result<(), StorageError> {
        self.raw.mut_store().db_mut().wipe_if_idle()
    }

    /// Gives the storage back; consensus ends.
    pub fn into_storage(mut self) -> S {
        self.raw.mut_store().take_db()
    }
}

fn start<S: Storage>(
    config: &ReplicaConfig,
    storage: S,
    loaded: &Loaded,
) -> Result<RawNode<Log<S>>, StorageError> {
    let settings = library_config(config, loaded.identity.node_id, loaded.applied.index);
    RawNode::new(&settings, Log::new(storage, loaded), &silent())
        .map_err(|error| StorageError::Doubtful(format!("the consensus state does not start: {error}")))
}

fn library_config(config: &ReplicaConfig, id: NodeId, applied: u64) -> Config {
    let Timing { election_ticks, heartbeat_ticks, fallback_ticks, fallback_step_ticks, .. } = config.timing;
    let fallback = fallback_ticks + fallback_step_ticks * config.servers_above();
    Config {
        id: id.0,
        election_tick: election_ticks,
        heartbeat_tick: heartbeat_ticks,
        applied,
        max_size_per_msg: MESSAGE_BYTES,
        max_inflight_msgs: INFLIGHT_MESSAGES,
        check_quorum: true,
        pre_vote: true,
        min_election_tick: fallback,
        // One more than the least: this takes the library's randomness away.
        max_election_tick: fallback + 1,
        read_only_option: ReadOnlyOption::Safe,
        skip_bcast_commit: false,
        // The library merges entries into an empty append that is still unsent, whatever place that one
        // names: after a lost link a follower then confirms entries it does not hold (simulation, seed 594).
        batch_append: false,
        // With a priority two of three living servers can be left without a leader for ever.
        priority: 0,
        max_uncommitted_size: UNCOMMITTED_BYTES,
        max_committed_size_per_ready: COMMITTED_BYTES,
    }
}

fn silent() -> slog::Logger {
    slog::Logger::root(slog::Discard, slog::o!())
}
