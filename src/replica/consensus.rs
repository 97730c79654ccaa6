//! The one door to the consensus library (`raft` 0.7). No other file names it.
//!
//! [`Consensus`] speaks of proposing, committing and applying in our own types. It keeps the library's
//! rules (persist, send, apply, advance: see the library's "Processing the Ready State") and ours:
//!
//! - Nothing of the library's protobuf is ever parsed from bytes: peers send `RaftMessage`, the disk holds
//!   `LogEntry`. A `MsgPropose` from a peer is refused, since the library would parse configuration
//!   changes in it. What a configuration change says travels in the entry's context in our encoding; the
//!   library's own bytes for it are carried along unread (`LogEntry::opaque`). So RUSTSEC-2024-0437
//!   (unbounded recursion in `protobuf`'s parser) is out of reach.
//! - A snapshot message carries no data: the caller moves the bytes and hands them over complete.
//! - The applied index is the one the database holds, so applying is exactly once across a restart.

use std::{cell::RefCell, collections::VecDeque, io::Read};

use raft::{
    Config, GetEntriesContext, INVALID_ID, ProgressState, RawNode, ReadOnlyOption, Ready, SnapshotStatus,
    StateRole, eraftpb as pb,
};

use crate::{
    planted::{Bug, planted},
    protocol::peer::{ConfState, LogEntry, LogEntryKind, LogMark, NodeId, RaftMessage, SnapshotHead},
};

use super::{
    config::{ReplicaConfig, Timing},
    members::ConfStep,
    storage::{Applied, Batch, HardState, Loaded, Storage, StorageError, TAIL_ENTRIES},
};

/// Most bytes of entries in one message to a peer.
const MESSAGE_BYTES: u64 = 1024 * 1024;
/// Messages with entries that may be under way to one peer.
const INFLIGHT_MESSAGES: usize = 256;
/// Bytes of entries that may wait for their commit before the library refuses more.
const UNCOMMITTED_BYTES: u64 = 64 * 1024 * 1024;
/// Bytes of committed entries that are handed out for applying at once.
const COMMITTED_BYTES: u64 = 8 * 1024 * 1024;

/// What a server is in consensus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// It leads in its term.
    Leader,
    /// It follows, or waits for somebody to follow.
    Follower,
    /// It asks for votes, or asks whether asking would help.
    Candidate,
}

/// Why a proposal was not taken. It may be tried again later: nothing was proposed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dropped;

/// What one turn of the library gave, before its part of the disk write.
#[derive(Debug, Default)]
pub struct Effects {
    /// To be sent to peers.
    pub messages: Vec<RaftMessage>,
    /// Peers (by incarnation) that need a snapshot.
    pub snapshots_to: Vec<NodeId>,
    /// Entries that are committed and are to be applied now, in order.
    pub committed: Vec<LogEntry>,
    /// Answers to `read_index`: the context given there and the index that must be applied first.
    pub reads: Vec<(u64, u64)>,
}

/// A turn under way: between [`Consensus::begin`] and [`Consensus::finish`].
pub struct Turn(Ready);

/// One server's part in consensus, together with its storage.
pub struct Consensus<S: Storage> {
    raw: RawNode<Log<S>>,
    /// The servers that count, as of the last applied entry.
    conf: ConfState,
    /// A complete snapshot that the library was told of and has not yet decided about.
    arrived: Option<(SnapshotHead, Box<dyn Read + Send>)>,
    /// Whether a turn is under way, and how far the state was applied since it began.
    in_turn: bool,
    applied_in_turn: Option<u64>,
    /// Only with `Bug::AckBeforeSync`: batches that were called synced and are not.
    unsynced: Vec<Batch>,
}

impl<S: Storage> Consensus<S> {
    /// Starts from what the disk holds.
    pub fn open(config: &ReplicaConfig, storage: S, loaded: &Loaded) -> Result<Self, StorageError> {
        let id = loaded.identity.node_id;
        let conf = loaded.applied.conf.clone();
        let log = Log::new(storage, loaded);
        let raw = RawNode::new(&library_config(config, id, loaded.applied.index), log, &silent()).map_err(
            |error| StorageError::Doubtful(format!("the consensus state does not start: {error}")),
        )?;
        Ok(Consensus {
            raw,
            conf,
            arrived: None,
            in_turn: false,
            applied_in_turn: None,
            unsynced: Vec::new(),
        })
    }

    /// One tick of the library's clock.
    pub fn tick(&mut self) {
        self.raw.tick();
    }

    /// Asks for votes. Where the leader is dead for certain, its lease is not waited out: the library's
    /// forced campaign (the one of a leadership transfer), which keeps the rule that an older log loses.
    pub fn campaign(&mut self, leader_is_dead: bool) {
        if self.part() == Part::Leader {
            return;
        }
        if !leader_is_dead {
            // A refusal only says that there is nothing to do (not promotable).
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
    pub fn propose_configure(&mut self, steps: &[ConfStep], data: Vec<u8>) -> Result<(), Dropped> {
        if self.raw.raft.has_pending_conf() {
            return Err(Dropped);
        }
        self.raw.propose_conf_change(data, conf_change(steps)).map_err(|_| Dropped)
    }

    /// Applies a committed change of the servers that count; no steps end a joint configuration.
    pub fn apply_configure(&mut self, steps: &[ConfStep]) -> Result<(), StorageError> {
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
            // An error means that the message is of no use now; the sender repeats what matters.
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
    /// in `Effects::reads` or never: the caller repeats.
    pub fn read_index(&mut self, context: u64) {
        self.raw.read_index(context.to_be_bytes().to_vec());
    }

    /// Asks for leadership to pass to `to`.
    pub fn transfer(&mut self, to: NodeId) {
        self.raw.transfer_leader(to.0);
    }

    /// Whether a transfer of leadership is under way; proposals are refused meanwhile.
    pub fn is_transferring(&self) -> bool {
        self.raw.raft.lead_transferee.is_some()
    }

    /// Begins a turn where there is something to do.
    pub fn begin(&mut self) -> Option<(Turn, Effects)> {
        if !self.raw.has_ready() {
            return None;
        }
        let mut ready = self.raw.ready();
        self.in_turn = true;
        let mut effects = Effects::default();
        effects.take_messages(ready.take_messages());
        effects.committed = ready.take_committed_entries().into_iter().map(from_entry).collect();
        effects.reads = ready
            .take_read_states()
            .into_iter()
            .filter_map(|read| Some((u64::from_be_bytes(read.request_ctx.try_into().ok()?), read.index)))
            .collect();
        Some((Turn(ready), effects))
    }

    /// Whether this turn installs a snapshot: the state must be loaded anew after `finish`.
    pub fn installs(&self, turn: &Turn) -> bool {
        !turn.0.snapshot().is_empty()
    }

    /// Makes this turn's part and `batch` durable in one transaction, then ends the turn.
    pub fn finish(&mut self, turn: Turn, mut batch: Batch) -> Result<Effects, StorageError> {
        let Turn(mut ready) = turn;
        let hard_state = ready.hs().map(from_hard_state);
        if !ready.snapshot().is_empty() {
            self.install(hard_state)?;
        } else {
            if ready.must_sync() || !batch.is_empty() {
                batch.entries = ready.take_entries().into_iter().map(from_entry).collect();
                batch.hard_state = hard_state;
                self.write(batch)?;
            } else if let Some(hard_state) = hard_state {
                // Only the commit index moved. It may lag on the disk, so it waits for the next write.
                self.raw.mut_store().hard_state = hard_state;
            }
        }
        let mut effects = Effects::default();
        effects.take_messages(ready.take_persisted_messages());
        let mut light = self.raw.advance_append(ready);
        self.in_turn = false;
        if let Some(index) = self.applied_in_turn.take() {
            self.raw.advance_apply_to(index);
        }
        effects.take_messages(light.take_messages());
        effects.committed = light.take_committed_entries().into_iter().map(from_entry).collect();
        if let Some(commit) = light.commit_index() {
            self.raw.mut_store().hard_state.commit = commit;
        }
        self.check()?;
        Ok(effects)
    }

    /// Makes `batch`, which the library has no part in, durable.
    pub fn write(&mut self, mut batch: Batch) -> Result<(), StorageError> {
        let store = self.raw.mut_store();
        let mut hard_state = batch.hard_state.take().unwrap_or(store.hard_state);
        if let Some(applied) = &batch.applied {
            hard_state.commit = hard_state.commit.max(applied.index);
        }
        if hard_state != store.stored_hard_state {
            batch.hard_state = Some(hard_state);
        }
        store.hard_state = hard_state;
        if batch.is_empty() {
            return Ok(());
        }
        if planted(Bug::ForgetVote)
            && let Some(hard_state) = &mut batch.hard_state
        {
            hard_state.vote = None;
        }
        if planted(Bug::AppliedIndexLost) && batch.applied.is_some() {
            batch.applied = Some(store.applied.clone());
        }
        if planted(Bug::AckBeforeSync) {
            self.raw.mut_store().remember(&batch);
            self.unsynced.push(batch);
            if self.unsynced.len() >= 16 {
                for batch in self.unsynced.drain(..) {
                    self.raw.mut_store().db.commit(&batch)?;
                }
            }
            return Ok(());
        }
        let store = self.raw.mut_store();
        store.db.commit(&batch)?;
        store.stored_hard_state = hard_state;
        store.remember(&batch);
        Ok(())
    }

    fn install(&mut self, hard_state: Option<HardState>) -> Result<(), StorageError> {
        let (head, mut content) = self
            .arrived
            .take()
            .expect("the library accepts only a snapshot that was offered with its content");
        let store = self.raw.mut_store();
        let mut hard_state = hard_state.unwrap_or(store.hard_state);
        hard_state.commit = hard_state.commit.max(head.index);
        store.db.install(&head, hard_state, content.as_mut())?;
        store.hard_state = hard_state;
        store.stored_hard_state = hard_state;
        store.restart_at(&head);
        self.conf = head.conf;
        Ok(())
    }

    /// Tells the library how far the state is applied; within a turn, at its end. The library answers
    /// with an entry of its own where that ends a change of configuration, and the entries of a turn under
    /// way must not grow.
    pub fn applied(&mut self, index: u64) {
        if self.in_turn {
            self.applied_in_turn = Some(index);
        } else {
            self.raw.advance_apply_to(index);
        }
    }

    /// An error of the disk that came up while the library was reading the log.
    fn check(&self) -> Result<(), StorageError> {
        match self.raw.store().failure.borrow_mut().take() {
            None => Ok(()),
            Some(error) => Err(error),
        }
    }

    /// What this server is.
    pub fn part(&self) -> Part {
        match self.raw.raft.state {
            StateRole::Leader => Part::Leader,
            StateRole::Follower => Part::Follower,
            StateRole::Candidate | StateRole::PreCandidate => Part::Candidate,
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

    /// Who leads in this term, where that is known.
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

    /// The last entry of the log, synced or not: what a vote judges other logs by.
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
        self.part() == Part::Leader && self.raw.raft.apply_to_current_term()
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
        (self.part() == Part::Leader)
            .then(|| self.raw.raft.prs().get(peer.0).map(|progress| progress.matched))?
    }

    /// Whether entries flow to a peer without hindrance; only a leader knows.
    pub fn is_replicating(&self, peer: NodeId) -> bool {
        self.part() == Part::Leader
            && self
                .raw
                .raft
                .prs()
                .get(peer.0)
                // Not `recent_active`: the library clears it at each check of its quorum, to be set again.
                .is_some_and(|progress| progress.state == ProgressState::Replicate)
    }

    /// The entry that a peer's log reaches as soon as what is under way to it has arrived: what comes after
    /// must not be cut from this log. Only a leader knows.
    pub fn reaches(&self, peer: NodeId) -> Option<u64> {
        let progress = self.raw.raft.prs().get(peer.0).filter(|_| self.part() == Part::Leader)?;
        Some(match progress.state {
            ProgressState::Snapshot => progress.pending_snapshot,
            // After a snapshot was sent: the snapshot's end. It may not be installed yet.
            ProgressState::Probe => progress.next_idx - 1,
            ProgressState::Replicate => progress.matched,
        })
    }

    /// The term of an entry, where it is still known.
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

    /// The storage.
    pub fn storage(&self) -> &S {
        &self.raw.store().db
    }

    /// Gives the storage back; consensus ends.
    pub fn into_storage(self) -> S {
        self.raw.raft.r.raft_log.store.db
    }
}

impl Effects {
    fn take_messages(&mut self, messages: Vec<pb::Message>) {
        for message in messages {
            if message.get_msg_type() == pb::MessageType::MsgSnapshot {
                self.snapshots_to.push(NodeId(message.to));
            } else {
                self.messages.push(from_library(message));
            }
        }
    }
}

/// The log as the library reads it: its tail in memory, the rest on the disk.
struct Log<S> {
    db: S,
    hard_state: HardState,
    stored_hard_state: HardState,
    conf: ConfState,
    truncated: LogMark,
    applied: Applied,
    /// The last entries, without a hole, up to the last one. The first one's index is above
    /// `truncated` but not always the next.
    tail: VecDeque<pb::Entry>,
    /// The library cannot be told that a disk failed, so the failure waits here.
    failure: RefCell<Option<StorageError>>,
}

impl<S: Storage> Log<S> {
    fn new(db: S, loaded: &Loaded) -> Self {
        Log {
            db,
            hard_state: loaded.hard_state,
            stored_hard_state: loaded.hard_state,
            conf: loaded.applied.conf.clone(),
            truncated: loaded.truncated,
            applied: loaded.applied.clone(),
            tail: loaded.tail.iter().cloned().map(to_entry).collect(),
            failure: RefCell::new(None),
        }
    }

    fn last(&self) -> LogMark {
        match self.tail.back() {
            Some(entry) => LogMark { last_log_term: entry.term, last_log_index: entry.index },
            None => self.truncated,
        }
    }

    fn tail_start(&self) -> u64 {
        self.tail.front().map_or(self.truncated.last_log_index + 1, |entry| entry.index)
    }

    /// Follows what `batch` has made of the log on the disk.
    fn remember(&mut self, batch: &Batch) {
        if let Some(first) = batch.entries.first() {
            while self.tail.back().is_some_and(|entry| entry.index >= first.index) {
                self.tail.pop_back();
            }
            self.tail.extend(batch.entries.iter().cloned().map(to_entry));
            while self.tail.len() > TAIL_ENTRIES {
                self.tail.pop_front();
            }
        }
        if let Some(applied) = &batch.applied {
            self.applied = applied.clone();
        }
        if let Some(index) = batch.compact_to
            && let Ok(term) = raft::Storage::term(self, index)
        {
            self.truncated = LogMark { last_log_term: term, last_log_index: index };
            while self.tail.front().is_some_and(|entry| entry.index <= index) {
                self.tail.pop_front();
            }
        }
    }

    /// Follows a snapshot that replaced everything.
    fn restart_at(&mut self, head: &SnapshotHead) {
        self.tail.clear();
        self.truncated = LogMark { last_log_term: head.index_term, last_log_index: head.index };
        self.applied = Applied { index: head.index, term: head.index_term, conf: head.conf.clone() };
        self.conf = head.conf.clone();
    }

    fn note(&self, error: StorageError) -> raft::Error {
        self.failure.borrow_mut().get_or_insert(error);
        raft::Error::Store(raft::StorageError::Unavailable)
    }
}

impl<S: Storage> raft::Storage for Log<S> {
    fn initial_state(&self) -> raft::Result<raft::RaftState> {
        Ok(raft::RaftState { hard_state: to_hard_state(&self.hard_state), conf_state: to_conf(&self.conf) })
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> raft::Result<Vec<pb::Entry>> {
        if low <= self.truncated.last_log_index {
            return Err(raft::Error::Store(raft::StorageError::Compacted));
        }
        let max_size = max_size.into().unwrap_or(u64::MAX);
        let start = self.tail_start();
        if low < start {
            let high = high.min(start);
            let entries = self.db.entries(low, high, max_size).map_err(|error| self.note(error))?;
            return Ok(entries.into_iter().map(to_entry).collect());
        }
        let mut bytes = 0;
        Ok(self
            .tail
            .range((low - start) as usize..(high - start) as usize)
            .take_while(|entry| {
                let first = bytes == 0;
                bytes += (entry.data.len() + entry.context.len() + 32) as u64;
                first || bytes <= max_size
            })
            .cloned()
            .collect())
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        if index == self.truncated.last_log_index {
            return Ok(self.truncated.last_log_term);
        }
        if index < self.truncated.last_log_index {
            return Err(raft::Error::Store(raft::StorageError::Compacted));
        }
        let start = self.tail_start();
        if index >= start {
            return match self.tail.get((index - start) as usize) {
                Some(entry) => Ok(entry.term),
                None => Err(raft::Error::Store(raft::StorageError::Unavailable)),
            };
        }
        let entries = self.db.entries(index, index + 1, u64::MAX).map_err(|error| self.note(error))?;
        entries.first().map(|entry| entry.term).ok_or(raft::Error::Store(raft::StorageError::Unavailable))
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.truncated.last_log_index + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last().last_log_index)
    }

    fn snapshot(&self, request_index: u64, to: u64) -> raft::Result<pb::Snapshot> {
        let conf = &self.applied.conf;
        let knows_receiver = conf.voters.iter().chain(&conf.learners).any(|node| node.0 == to);
        if self.applied.index < request_index || self.applied.index == 0 || !knows_receiver {
            return Err(raft::Error::Store(raft::StorageError::SnapshotTemporarilyUnavailable));
        }
        Ok(snapshot_of(self.applied.index, self.applied.term, conf))
    }
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

fn snapshot_of(index: u64, term: u64, conf: &ConfState) -> pb::Snapshot {
    let mut snapshot = pb::Snapshot::default();
    let metadata = snapshot.mut_metadata();
    metadata.index = index;
    metadata.term = term;
    metadata.set_conf_state(to_conf(conf));
    snapshot
}

fn conf_change(steps: &[ConfStep]) -> pb::ConfChangeV2 {
    let mut change = pb::ConfChangeV2::default();
    let changes: Vec<pb::ConfChangeSingle> = steps
        .iter()
        .map(|step| {
            let (kind, node) = match *step {
                ConfStep::AddVoter(node) => (pb::ConfChangeType::AddNode, node),
                ConfStep::AddLearner(node) => (pb::ConfChangeType::AddLearnerNode, node),
                ConfStep::Remove(node) => (pb::ConfChangeType::RemoveNode, node),
            };
            let mut single = pb::ConfChangeSingle::default();
            single.set_change_type(kind);
            single.node_id = node.0;
            single
        })
        .collect();
    change.set_changes(changes.into());
    change
}

fn ids(nodes: &[u64]) -> Vec<NodeId> {
    let mut nodes: Vec<NodeId> = nodes.iter().copied().map(NodeId).collect();
    // The library keeps them in hash order, which is not the same on every server.
    nodes.sort();
    nodes
}

fn from_conf(conf: &pb::ConfState) -> ConfState {
    ConfState {
        voters: ids(&conf.voters),
        learners: ids(&conf.learners),
        voters_outgoing: ids(&conf.voters_outgoing),
        learners_next: ids(&conf.learners_next),
        auto_leave: conf.auto_leave,
    }
}

fn to_conf(conf: &ConfState) -> pb::ConfState {
    let raw = |nodes: &[NodeId]| nodes.iter().map(|node| node.0).collect::<Vec<u64>>();
    let mut library = pb::ConfState::default();
    library.set_voters(raw(&conf.voters));
    library.set_learners(raw(&conf.learners));
    library.set_voters_outgoing(raw(&conf.voters_outgoing));
    library.set_learners_next(raw(&conf.learners_next));
    library.auto_leave = conf.auto_leave;
    library
}

fn from_hard_state(state: &pb::HardState) -> HardState {
    HardState {
        term: state.term,
        vote: (state.vote != INVALID_ID).then_some(NodeId(state.vote)),
        commit: state.commit,
    }
}

fn to_hard_state(state: &HardState) -> pb::HardState {
    pb::HardState {
        term: state.term,
        vote: state.vote.map_or(INVALID_ID, |node| node.0),
        commit: state.commit,
        ..pb::HardState::default()
    }
}

fn from_entry(entry: pb::Entry) -> LogEntry {
    match entry.get_entry_type() {
        pb::EntryType::EntryNormal => LogEntry {
            term: entry.term,
            index: entry.index,
            kind: LogEntryKind::Command,
            data: entry.data.into(),
            opaque: Vec::new(),
        },
        pb::EntryType::EntryConfChange | pb::EntryType::EntryConfChangeV2 => LogEntry {
            term: entry.term,
            index: entry.index,
            kind: LogEntryKind::Configure,
            data: entry.context.into(),
            opaque: entry.data.into(),
        },
    }
}

fn to_entry(entry: LogEntry) -> pb::Entry {
    let mut library = pb::Entry { term: entry.term, index: entry.index, ..pb::Entry::default() };
    match entry.kind {
        LogEntryKind::Command => {
            library.set_entry_type(pb::EntryType::EntryNormal);
            library.data = entry.data.into();
        }
        LogEntryKind::Configure => {
            library.set_entry_type(pb::EntryType::EntryConfChangeV2);
            library.context = entry.data.into();
            library.data = entry.opaque.into();
        }
    }
    library
}

/// The kinds of message that peers may send, by their number in `RaftMessage::kind`.
///
/// Left out on purpose: `MsgPropose` (the library would parse what is in it; commands travel as
/// `PeerMessage::Forward`), `MsgSnapshot` (made by `offer_snapshot`), and the local ones.
const KINDS: [(u8, pb::MessageType); 12] = [
    (1, pb::MessageType::MsgAppend),
    (2, pb::MessageType::MsgAppendResponse),
    (3, pb::MessageType::MsgRequestVote),
    (4, pb::MessageType::MsgRequestVoteResponse),
    (5, pb::MessageType::MsgHeartbeat),
    (6, pb::MessageType::MsgHeartbeatResponse),
    (7, pb::MessageType::MsgTransferLeader),
    (8, pb::MessageType::MsgTimeoutNow),
    (9, pb::MessageType::MsgReadIndex),
    (10, pb::MessageType::MsgReadIndexResp),
    (11, pb::MessageType::MsgRequestPreVote),
    (12, pb::MessageType::MsgRequestPreVoteResponse),
];

/// The number of `MsgAppendResponse` in `RaftMessage::kind`: the acknowledgement of synced entries.
pub const APPEND_RESPONSE: u8 = 2;

fn from_library(mut message: pb::Message) -> RaftMessage {
    let kind = message.get_msg_type();
    RaftMessage {
        kind: KINDS.iter().find(|(_, other)| *other == kind).map_or(0, |(number, _)| *number),
        to: NodeId(message.to),
        from: NodeId(message.from),
        term: message.term,
        log_term: message.log_term,
        index: message.index,
        entries: message.take_entries().into_iter().map(from_entry).collect(),
        commit: message.commit,
        commit_term: message.commit_term,
        reject: message.reject,
        reject_hint: message.reject_hint,
        request_snapshot: message.request_snapshot,
        context: message.context.into(),
    }
}

fn to_library(message: RaftMessage) -> Option<pb::Message> {
    let &(_, kind) = KINDS.iter().find(|(number, _)| *number == message.kind)?;
    if message
        .entries
        .first()
        .is_some_and(|first| kind == pb::MessageType::MsgAppend && first.index != message.index + 1)
    {
        // Entries that do not follow the place they are said to follow: never confirmed, sent again.
        return None;
    }
    let mut library = pb::Message::default();
    library.set_msg_type(kind);
    library.to = message.to.0;
    library.from = message.from.0;
    library.term = message.term;
    library.log_term = message.log_term;
    library.index = message.index;
    library.set_entries(message.entries.into_iter().map(to_entry).collect::<Vec<_>>().into());
    library.commit = message.commit;
    library.commit_term = message.commit_term;
    library.reject = message.reject;
    library.reject_hint = message.reject_hint;
    library.request_snapshot = message.request_snapshot;
    library.context = message.context.into();
    Some(library)
}
