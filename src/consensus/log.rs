//! The storage adapter: the log as the library reads it, from memory and from the disk.

use std::{cell::RefCell, collections::VecDeque};

use raft::{GetEntriesContext, eraftpb as pb};

use super::convert::{snapshot_of, to_conf, to_entry, to_hard_state};
use crate::{
    disk::{Applied, HardState, Loaded, Saved, Storage, StorageError, fits_tail},
    protocol::peer::{ConfState, LogEntry, LogMark, SnapshotHead},
};

/// The log as the library reads it: its tail in memory, the rest on the disk.
pub(super) struct Log<S> {
    /// Only taken while consensus is opened anew, see `Consensus::reopen`.
    db: Option<S>,
    pub(super) hard_state: HardState,
    pub(super) stored_hard_state: HardState,
    pub(super) conf: ConfState,
    pub(super) truncated: LogMark,
    pub(super) applied: Applied,
    /// The last entries, without a hole, up to the last one. The first one's index is above
    /// `truncated` but not always the next.
    tail: VecDeque<pb::Entry>,
    /// What is in them, in bytes.
    pub(super) tail_bytes: usize,
    /// The library cannot be told that a disk failed, so the failure waits here. The library gets anything
    /// instead that does not make it panic: the failure is checked before any of its results are used.
    pub(super) failure: RefCell<Option<StorageError>>,
    /// Whether this server leads. If it does, entries and terms that are damaged and not in memory are only
    /// wanted by peers, which can get a snapshot in their place: to the library they seem cut off. A follower
    /// has no such way out.
    pub(super) leads: bool,
    /// Damage that stops nothing, since it was last asked for: the state cannot be written for the moment, or
    /// entries for a peer cannot be read.
    pub(super) damage: RefCell<Option<StorageError>>,
}

impl<S: Storage> Log<S> {
    pub(super) fn new(db: S, loaded: &Loaded) -> Self {
        Log {
            db: Some(db),
            hard_state: loaded.hard_state,
            stored_hard_state: loaded.hard_state,
            conf: loaded.applied.conf.clone(),
            truncated: loaded.truncated,
            applied: loaded.applied.clone(),
            tail: loaded.tail.iter().cloned().map(to_entry).collect(),
            tail_bytes: loaded.tail.iter().map(LogEntry::size).sum(),
            failure: RefCell::new(None),
            leads: false,
            damage: RefCell::new(None),
        }
    }

    pub(super) fn db(&self) -> &S {
        self.db.as_ref().expect("the storage is only taken within one call")
    }

    pub(super) fn db_mut(&mut self) -> &mut S {
        self.db.as_mut().expect("the storage is only taken within one call")
    }

    pub(super) fn take_db(&mut self) -> S {
        self.db.take().expect("the storage is only taken within one call")
    }

    pub(super) fn last(&self) -> LogMark {
        match self.tail.back() {
            Some(entry) => LogMark { last_log_term: entry.term, last_log_index: entry.index },
            None => self.truncated,
        }
    }

    fn tail_start(&self) -> u64 {
        self.tail.front().map_or(self.truncated.last_log_index + 1, |entry| entry.index)
    }

    /// Follows what these entries make of the log on the disk.
    pub(super) fn remember(&mut self, entries: &[LogEntry]) {
        let Some(first) = entries.first() else { return };
        while let Some(entry) = self.tail.pop_back_if(|entry| entry.index >= first.index) {
            self.tail_bytes -= size(&entry);
        }
        self.tail.extend(entries.iter().cloned().map(to_entry));
        self.tail_bytes += entries.iter().map(LogEntry::size).sum::<usize>();
        while !fits_tail(self.tail.len(), self.tail_bytes) {
            self.tail_bytes -= self.tail.pop_front().map_or(0, |entry| size(&entry));
        }
    }

    /// Follows what has become of the state on the disk, and of the log with it.
    pub(super) fn follow(&mut self, saved: Saved) {
        if let Some(applied) = saved.applied {
            self.applied = applied;
        }
        if let Some(truncated) = saved.truncated {
            self.cut(truncated);
        }
        if let Some(damage) = saved.damage {
            self.damage.replace(Some(damage));
        }
    }

    fn cut(&mut self, at: LogMark) {
        self.truncated = at;
        while let Some(entry) = self.tail.pop_front_if(|entry| entry.index <= at.last_log_index) {
            self.tail_bytes -= size(&entry);
        }
    }

    /// Follows a snapshot that replaced everything.
    pub(super) fn restart_at(&mut self, head: &SnapshotHead) {
        self.tail.clear();
        self.tail_bytes = 0;
        self.truncated = LogMark { last_log_term: head.index_term, last_log_index: head.index };
        self.applied = Applied { index: head.index, term: head.index_term, conf: head.conf.clone() };
        self.conf = head.conf.clone();
    }

    /// Whether what cannot be read is damaged and only wanted by peers. Notes it.
    fn can_do_without(&self, error: &StorageError) -> bool {
        let can = self.leads && error.doubt().is_some();
        if can {
            self.damage.replace(Some(error.clone()));
        }
        can
    }

    fn note(&self, error: StorageError) {
        self.failure.borrow_mut().get_or_insert(error);
    }
}

/// As [`LogEntry::size`].
fn size(entry: &pb::Entry) -> usize {
    entry.data.len() + entry.context.len()
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
        context: GetEntriesContext,
    ) -> raft::Result<Vec<pb::Entry>> {
        if low <= self.truncated.last_log_index {
            return Err(raft::Error::Store(raft::StorageError::Compacted));
        }
        let max_size = max_size.into().unwrap_or(u64::MAX);
        let start = self.tail_start();
        if low < start {
            let high = high.min(start);
            return match self.db().entries(low, high, max_size) {
                Ok(entries) => Ok(entries.into_iter().map(to_entry).collect()),
                Err(error) if context.can_async() && self.can_do_without(&error) => {
                    Err(raft::Error::Store(raft::StorageError::Compacted))
                }
                Err(error) => {
                    self.note(error);
                    // If the library can wait for entries it does without them. In other contexts it panics
                    // on any error, and an empty list means that no entries are to be applied.
                    if context.can_async() {
                        return Err(raft::Error::Store(raft::StorageError::LogTemporarilyUnavailable));
                    }
                    Ok(Vec::new())
                }
            };
        }
        let mut bytes = 0;
        Ok(self
            .tail
            .range((low - start) as usize..(high - start) as usize)
            .take_while(|entry| {
                let first = bytes == 0;
                bytes += (size(entry) + 32) as u64;
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
        match self.db().entries(index, index + 1, u64::MAX) {
            Ok(entries) => entries
                .first()
                .map(|entry| entry.term)
                .ok_or(raft::Error::Store(raft::StorageError::Unavailable)),
            Err(error) if self.can_do_without(&error) => {
                Err(raft::Error::Store(raft::StorageError::Compacted))
            }
            Err(error) => {
                self.note(error);
                // The term of no entry.
                Ok(0)
            }
        }
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
