//! One turn of the library: what is to be sent, written and applied. Everything is written in one
//! transaction.
//!
//! A leader's messages may leave before the turn is written (Raft thesis, section 10.2.1): the peers sync its
//! entries while it does so itself. It counts its own copy only when [`Consensus::finish`] has returned.
//! Messages of other servers promise something, a vote or synced entries, so they wait for the sync.

use raft::{Ready, eraftpb as pb};

use super::{
    Consensus,
    convert::{from_entry, from_hard_state, from_library},
};
use crate::{
    disk::{Batch, HardState, InstallError, Storage, StorageError},
    protocol::peer::{LogEntry, NodeId, RaftMessage},
};

/// The results of one turn, before its part of the disk write.
#[derive(Debug, Default)]
pub struct Effects {
    /// To be sent to peers: those of [`Consensus::begin`] may go before the turn is written.
    pub messages: Vec<RaftMessage>,
    /// Peers (by incarnation) that need a snapshot.
    pub snapshots_to: Vec<NodeId>,
    /// Entries that are committed and are to be applied now, in order.
    pub committed: Vec<LogEntry>,
    /// Answers to `read_index`: the question's number and the index that must be applied first.
    pub reads: Vec<(u64, u64)>,
    /// Why the snapshot of this turn could not be used. The library takes it for installed: consensus has to
    /// be opened anew on what the disk holds.
    pub unreadable: Option<String>,
}

/// A turn under way: between [`Consensus::begin`] and [`Consensus::finish`].
pub struct Turn {
    ready: Ready,
    /// A leader's messages that must wait for the write.
    held: Vec<pb::Message>,
}

impl Turn {
    /// Whether consensus has something to be synced before the turn can end.
    pub fn must_sync(&self) -> bool {
        self.ready.must_sync()
    }
}

impl<S: Storage> Consensus<S> {
    /// Begins a turn, if there is something to do.
    ///
    /// # Errors
    /// The log could not be read, now or since the last turn. No message that the library made after that has
    /// left.
    pub fn begin(&mut self) -> Result<Option<(Turn, Effects)>, StorageError> {
        self.check()?;
        if !self.raw.has_ready() {
            return Ok(None);
        }
        let mut ready = self.raw.ready();
        self.check()?;
        self.in_turn = true;
        let mut effects = Effects::default();
        // A term that is new in this turn could be used by another leader after a power cut. The only voter
        // of a cluster leads without a vote of others, so nothing else holds its messages back.
        let mut held = ready.take_messages();
        if !self.promises(&ready) {
            effects.take_messages(std::mem::take(&mut held));
        }
        effects.committed = ready.take_committed_entries().into_iter().map(from_entry).collect();
        effects.reads = ready
            .take_read_states()
            .into_iter()
            .filter_map(|read| {
                // A late answer to an earlier run's question must not count for this run's.
                let question = read.request_ctx.strip_prefix(&self.asker[..])?;
                Some((u64::from_be_bytes(question.try_into().ok()?), read.index))
            })
            .collect();
        Ok(Some((Turn { ready, held }, effects)))
    }

    /// Whether this turn has a term or a vote to be written.
    fn promises(&self, ready: &Ready) -> bool {
        let stored = &self.raw.store().stored_hard_state;
        ready.hs().map(from_hard_state).is_some_and(|new| (new.term, new.vote) != (stored.term, stored.vote))
    }

    /// Whether this turn installs a snapshot: the state must be loaded anew after `finish`.
    pub fn installs(&self, turn: &Turn) -> bool {
        !turn.ready.snapshot().is_empty()
    }

    /// Makes this turn's part and `batch` durable in one transaction, then ends the turn.
    pub fn finish(&mut self, turn: Turn, mut batch: Batch) -> Result<Effects, StorageError> {
        let Turn { mut ready, held } = turn;
        let hard_state = ready.hs().map(from_hard_state);
        if !ready.snapshot().is_empty() {
            match self.install(hard_state) {
                // It has replaced the state that the batch belongs to.
                Ok(()) => batch = Batch::default(),
                Err(InstallError::Storage(error)) => return Err(error),
                Err(InstallError::Unreadable(why)) => {
                    // No message of this turn has left. What was applied before it stays.
                    self.write(batch)?;
                    return Ok(Effects { unreadable: Some(why), ..Effects::default() });
                }
            }
        }
        // Entries can come in the same turn as a snapshot and follow it.
        if ready.must_sync() || !batch.is_empty() {
            batch.entries = ready.take_entries().into_iter().map(from_entry).collect();
            batch.hard_state = hard_state;
            self.write(batch)?;
        } else if let Some(hard_state) = hard_state {
            // Only the commit index moved. It may lag on the disk, so it waits for the next write.
            self.raw.mut_store().hard_state = hard_state;
        }
        let mut effects = Effects::default();
        effects.take_messages(held);
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

    /// Makes `batch` durable, in which the library has no part.
    pub fn write(&mut self, mut batch: Batch) -> Result<(), StorageError> {
        let store = self.raw.mut_store();
        let mut hard_state = batch.hard_state.take().unwrap_or(store.hard_state);
        if let Some(applied) = &batch.applied {
            hard_state.commit = hard_state.commit.max(applied.index);
        }
        // The commit index is a hint, which a restart learns anew. So it is written with entries, and no
        // write is for its sake.
        let stored = store.stored_hard_state;
        let is_vote = (hard_state.term, hard_state.vote) != (stored.term, stored.vote);
        if is_vote || (hard_state != stored && !batch.entries.is_empty()) {
            batch.hard_state = Some(hard_state);
        }
        store.hard_state = hard_state;
        if batch.is_empty() {
            return Ok(());
        }
        store.stored_hard_state = batch.hard_state.unwrap_or(stored);
        // If it is not written, nothing of this is used any more.
        store.remember(&batch.entries);
        store.db_mut().commit(batch)?;
        self.follow_saved()
    }

    /// Takes notice of what was written of the state since this was last called.
    pub fn follow_saved(&mut self) -> Result<(), StorageError> {
        let store = self.raw.mut_store();
        let saved = store.db_mut().saved()?;
        store.follow(saved);
        Ok(())
    }

    pub(super) fn install(&mut self, hard_state: Option<HardState>) -> Result<(), InstallError> {
        let (head, mut content) = self
            .arrived
            .take()
            .expect("the library accepts only a snapshot that was offered with its content");
        let store = self.raw.mut_store();
        // Entries that follow it may be committed already, but are not written yet.
        let hard_state = HardState { commit: head.index, ..hard_state.unwrap_or(store.hard_state) };
        store.db_mut().install(&head, hard_state, content.as_mut())?;
        store.hard_state = hard_state;
        store.stored_hard_state = hard_state;
        store.restart_at(&head);
        self.conf = head.conf;
        Ok(())
    }

    /// Tells the library how far the state is applied; within a turn, at its end. If that ends a change of
    /// configuration the library adds an entry of its own, and the entries of a turn under way must not grow.
    pub fn applied(&mut self, index: u64) {
        if self.in_turn {
            self.applied_in_turn = Some(index);
        } else {
            self.raw.advance_apply_to(index);
        }
    }

    /// An error of the disk that came up while the library was reading the log.
    pub(super) fn check(&self) -> Result<(), StorageError> {
        match self.raw.store().failure.borrow_mut().take() {
            None => Ok(()),
            Some(error) => Err(error),
        }
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
