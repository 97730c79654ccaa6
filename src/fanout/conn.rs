//! One connection, as the fan-out sees it.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use super::{instruction::Join, outbox::Outbox};
use crate::{disk::RoomId, protocol::said::Said};

/// The size that an unanswered join counts as in a connection's outbox, in bytes.
const JOIN_BYTES: usize = 1024;

#[derive(Debug, Default)]
pub(super) struct Conn {
    pub outbox: Outbox,
    /// Answers to writes that wait for a join. They count against the outbox.
    pub waiting: VecDeque<Waiting>,
    pub waiting_bytes: usize,
    /// The rooms that have a cursor for it.
    pub rooms: BTreeSet<RoomId>,
    /// The rooms in which its cursor is behind, and what is being done about it.
    pub lagging: BTreeMap<RoomId, Lag>,
    /// The page that was asked for and has not come. One at a time, so that pages cannot fill the outbox.
    pub page: Option<AskedPage>,
    /// The room of the last page, so that the next one goes to the next room.
    pub page_room: Option<RoomId>,
    /// Nothing more is queued.
    pub is_closing: bool,
}

/// An answer whose turn has not come.
#[derive(Debug)]
pub(super) enum Waiting {
    /// It waits for what is before it.
    Ready(Ready),
    /// It waits for its events. `is_refused`: no query thread could look for them, so they are asked for
    /// again.
    Join { join: Box<Join>, is_refused: bool },
}

/// An answer that can be written.
#[derive(Debug)]
pub(super) struct Ready {
    pub said: Arc<Said>,
    /// Set if it answers a join.
    pub begin: Option<Begin>,
}

/// What begins when the answer to a join is written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Begin {
    pub room: RoomId,
    /// The log entry of the join.
    pub index: u64,
    /// The first event that is not in the answer.
    pub next: u64,
}

/// What is done about a cursor that is behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lag {
    /// It catches up as soon as the outbox allows.
    Wants,
    /// The database had nothing yet: it asks again on the next tick.
    Rests,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct AskedPage {
    pub room: RoomId,
    /// The event it begins with.
    pub first: u64,
    /// Whether the connection has nothing of the room yet, so that it may begin with a later one.
    pub may_skip: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Queued {
    /// It is queued, and the only one.
    First,
    /// It is queued after others.
    Behind,
    /// The outbox is full: it is not queued, and the connection is to be cut.
    Full,
}

impl Conn {
    /// Queues something. An empty outbox takes even what is longer than its limit.
    pub fn queue(&mut self, said: Arc<Said>, limit: usize) -> Queued {
        let is_first = self.outbox.is_empty();
        if !is_first && self.pending_bytes() + said.bytes() > limit {
            return Queued::Full;
        }
        self.outbox.push(said);
        if is_first { Queued::First } else { Queued::Behind }
    }

    /// Puts an answer at the end of those that wait; returns whether it fits.
    pub fn wait(&mut self, waiting: Waiting, limit: usize) -> bool {
        self.waiting_bytes += waiting.bytes();
        self.waiting.push_back(waiting);
        self.pending_bytes() <= limit
    }

    /// The next answer whose turn has come.
    pub fn next_answer(&mut self) -> Option<Ready> {
        let waiting = self.waiting.pop_front()?;
        let bytes = waiting.bytes();
        match waiting {
            Waiting::Ready(ready) => {
                self.waiting_bytes -= bytes;
                Some(ready)
            }
            Waiting::Join { .. } => {
                self.waiting.push_front(waiting);
                None
            }
        }
    }

    /// The join of this log entry, if it waits for its events, with its place among the waiting.
    pub fn unanswered_mut(&mut self, index: u64) -> Option<(usize, &mut Join)> {
        self.waiting.iter_mut().enumerate().find_map(|(place, waiting)| match waiting {
            Waiting::Join { join, .. } if join.index == index => Some((place, &mut **join)),
            Waiting::Join { .. } | Waiting::Ready(_) => None,
        })
    }

    /// Notes that no query thread could look for the events of the join of this log entry.
    pub fn note_refused(&mut self, index: u64) {
        for waiting in &mut self.waiting {
            if let Waiting::Join { join, is_refused } = waiting {
                *is_refused |= join.index == index;
            }
        }
    }

    /// The joins of which that was noted since the last call.
    pub fn take_refused(&mut self) -> Vec<&Join> {
        let taken = self.waiting.iter_mut().filter_map(|waiting| match waiting {
            Waiting::Join { join, is_refused } => std::mem::take(is_refused).then_some(&**join),
            Waiting::Ready(_) => None,
        });
        taken.collect()
    }

    /// The log entry of the last join of `room` whose answer is not written yet.
    pub fn joining(&self, room: RoomId) -> Option<u64> {
        self.waiting.iter().rev().find_map(|waiting| match waiting {
            Waiting::Join { join, .. } if join.room == room => Some(join.index),
            Waiting::Ready(Ready { begin: Some(begin), .. }) if begin.room == room => Some(begin.index),
            Waiting::Join { .. } | Waiting::Ready(_) => None,
        })
    }

    /// Replaces a join that waited by its answer.
    pub fn make_ready(&mut self, place: usize, ready: Ready) {
        if let Some(waiting) = self.waiting.get_mut(place) {
            self.waiting_bytes -= waiting.bytes();
            *waiting = Waiting::Ready(ready);
            self.waiting_bytes += waiting.bytes();
        }
    }

    /// How much waits for it, in bytes.
    pub fn pending_bytes(&self) -> usize {
        self.outbox.bytes() + self.waiting_bytes
    }

    /// Its share of the memory that waits for it, in bytes.
    pub fn share(&self) -> usize {
        let waiting = self.waiting.iter().map(|waiting| match waiting {
            Waiting::Ready(ready) => ready.said.bytes() / Arc::strong_count(&ready.said),
            Waiting::Join { .. } => JOIN_BYTES,
        });
        self.outbox.share() + waiting.sum::<usize>()
    }

    /// Whether it is closing and everything has been taken.
    pub fn is_finished(&self) -> bool {
        self.is_closing && self.waiting.is_empty() && self.outbox.is_empty()
    }
}

impl Waiting {
    fn bytes(&self) -> usize {
        match self {
            Waiting::Ready(ready) => ready.said.bytes(),
            Waiting::Join { .. } => JOIN_BYTES,
        }
    }
}
