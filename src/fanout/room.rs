//! A room that connections follow.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use super::ConnId;
use crate::protocol::{name::RoomName, said::Said};

/// Most recent events kept of a room.
pub(super) const RECENT_EVENTS: usize = 256;
/// Most bytes of recent events kept of a room, but at least one event.
pub(super) const RECENT_BYTES: usize = 256 * 1024;

/// The cursor of a connection in a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cursor {
    /// The answer to the join of this log entry is not written yet.
    Joining(u64),
    /// The next event it needs. It has got the answer to a join, or an event.
    At(u64),
    /// The next event it is to get. It has got nothing of the room yet, so if that event is forgotten before
    /// it was sent, it may begin with the first one that is kept.
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

/// Names that are remembered of a room that its followers know by several.
const NAMES_MAX: usize = 16;

/// A connection in a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Follower {
    pub cursor: Cursor,
    /// The room's newest event when it began to follow. Events up to this one are shown under the name that
    /// the room had then, later ones under their own names.
    pub known: u64,
}

/// A room: the cursors of its followers, and its most recent events.
#[derive(Debug)]
pub(super) struct Followed {
    /// The newest event that is known of.
    pub last_seq: u64,
    pub followers: BTreeMap<ConnId, Follower>,
    /// The names by which followers know it, each with the newest event of when the first of them came.
    names: VecDeque<(u64, RoomName)>,
    /// The newest events, up to `last_seq`, without a gap; if it is full the oldest goes.
    recent: VecDeque<Arc<Said>>,
    recent_bytes: usize,
}

impl Followed {
    pub fn new(last_seq: u64) -> Self {
        let (followers, names, recent) = (BTreeMap::new(), VecDeque::new(), VecDeque::new());
        Followed { last_seq, followers, names, recent, recent_bytes: 0 }
    }

    /// Notes the room's present name for a new follower.
    pub fn is_named(&mut self, last_seq: u64, name: RoomName) {
        if self.names.back().is_none_or(|(_, newest)| *newest != name) {
            self.names.push_back((last_seq, name));
        }
        if self.names.len() > NAMES_MAX {
            self.names.pop_front();
        }
    }

    /// The name under which a follower who knows the room up to event `known` is shown event `seq`; `None`
    /// for the one that the event has.
    pub fn name_for(&self, known: u64, seq: u64) -> Option<&RoomName> {
        let mut names = self.names.iter().rev().filter(|(from, _)| *from <= known);
        names.next().map(|(_, name)| name).filter(|_| seq <= known)
    }

    /// The next event.
    pub fn push(&mut self, said: Arc<Said>) {
        self.last_seq += 1;
        self.recent_bytes += said.bytes();
        self.recent.push_back(said);
        self.shorten();
    }

    /// A recent event is now another one.
    pub fn rewrite(&mut self, seq: u64, said: Arc<Said>) {
        let Some(place) = self.place(seq) else { return };
        if let Some(old) = self.recent.get_mut(place) {
            self.recent_bytes = self.recent_bytes - old.bytes() + said.bytes();
            *old = said;
        }
        self.shorten();
    }

    fn shorten(&mut self) {
        while self.recent.len() > RECENT_EVENTS || (self.recent_bytes > RECENT_BYTES && self.recent.len() > 1)
        {
            self.recent_bytes -= self.recent.pop_front().map_or(0, |said| said.bytes());
        }
    }

    /// Notes that there are events up to `last_seq` that are not in memory.
    pub fn advance(&mut self, last_seq: u64) {
        self.last_seq = last_seq;
        self.recent.clear();
        self.recent_bytes = 0;
    }

    /// Event `seq`, if it is recent.
    pub fn recent(&self, seq: u64) -> Option<&Arc<Said>> {
        self.recent.get(self.place(seq)?)
    }

    fn place(&self, seq: u64) -> Option<usize> {
        let newer = usize::try_from(self.last_seq.checked_sub(seq)?).ok()?;
        self.recent.len().checked_sub(newer + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_before_a_follower_came_has_the_name_by_which_it_knows_the_room() {
        let name = |text: &str| RoomName::new(text).unwrap();
        let mut followed = Followed::new(10);
        // One came to event 10, the next to event 100, after the room was renamed.
        followed.is_named(10, name("old"));
        followed.is_named(60, name("old"));
        followed.is_named(100, name("new"));
        assert_eq!(followed.name_for(10, 7), Some(&name("old")));
        assert_eq!(followed.name_for(10, 11), None, "it sees how the name changes");
        assert_eq!(followed.name_for(100, 7), Some(&name("new")));
        assert_eq!(followed.name_for(100, 101), None);
        for seq in 101..200 {
            followed.is_named(seq, name(&format!("room{seq}")));
        }
        assert_eq!(followed.names.len(), NAMES_MAX);
    }
}
