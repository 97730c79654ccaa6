//! A room that somebody follows.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use super::super::io::ConnId;

/// Most recent events kept of a room.
pub(super) const RECENT_EVENTS: usize = 256;
/// Most bytes of recent events kept of a room, but at least one event.
pub(super) const RECENT_BYTES: usize = 256 * 1024;

/// Where a connection stands in a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cursor {
    /// The answer to the join of this log entry is not written yet.
    Joining(u64),
    /// The next event it needs. It has got the answer to a join, or an event.
    At(u64),
    /// The next event it is to get. It has got nothing of the room yet, so where that event is forgotten
    /// before it was sent, the first one that is kept is as good a beginning.
    From(u64),
}

impl Cursor {
    /// The next event, once the beginning is known.
    pub fn next(self) -> Option<u64> {
        match self {
            Cursor::Joining(_) => None,
            Cursor::At(next) | Cursor::From(next) => Some(next),
        }
    }
}

/// A room: who follows it from where, and its most recent events.
#[derive(Debug)]
pub(super) struct Followed {
    /// The newest event that is known of.
    pub last_seq: u64,
    pub followers: BTreeMap<ConnId, Cursor>,
    /// The lines of the events up to `last_seq`, without a hole; full means that the oldest goes.
    recent: VecDeque<Arc<[u8]>>,
    recent_bytes: usize,
}

impl Followed {
    pub fn new(last_seq: u64) -> Self {
        Followed { last_seq, followers: BTreeMap::new(), recent: VecDeque::new(), recent_bytes: 0 }
    }

    /// The line of the next event.
    pub fn push(&mut self, line: Arc<[u8]>) {
        self.last_seq += 1;
        self.recent_bytes += line.len();
        self.recent.push_back(line);
        self.shorten();
    }

    /// The line of a recent event is now another one.
    pub fn rewrite(&mut self, seq: u64, line: Arc<[u8]>) {
        let Some(place) = self.place(seq) else { return };
        if let Some(old) = self.recent.get_mut(place) {
            self.recent_bytes = self.recent_bytes - old.len() + line.len();
            *old = line;
        }
        self.shorten();
    }

    fn shorten(&mut self) {
        while self.recent.len() > RECENT_EVENTS || (self.recent_bytes > RECENT_BYTES && self.recent.len() > 1)
        {
            self.recent_bytes -= self.recent.pop_front().map_or(0, |line| line.len());
        }
    }

    /// There are events up to `last_seq`, whose lines are not known.
    pub fn advance(&mut self, last_seq: u64) {
        self.last_seq = last_seq;
        self.recent.clear();
        self.recent_bytes = 0;
    }

    /// The line of event `seq`, where it is recent.
    pub fn recent(&self, seq: u64) -> Option<&Arc<[u8]>> {
        self.recent.get(self.place(seq)?)
    }

    fn place(&self, seq: u64) -> Option<usize> {
        let newer = usize::try_from(self.last_seq.checked_sub(seq)?).ok()?;
        self.recent.len().checked_sub(newer + 1)
    }
}
