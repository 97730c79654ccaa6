//! Users.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    account::{Account, Sessions},
    dedup::Sent,
};
use crate::{protocol::name::UserName, replica::storage::RoomId};

/// A user's number: the log index of the first entry that spoke of them, or the next free number above it
/// where that entry spoke of several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct UserId(pub u64);

/// Mentions that are counted one by one; more are not worth a longer row.
pub const MENTIONS_MAX: usize = 100;

/// How far a user has read in a room that they are a member of.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Reading {
    /// The last event that they have marked as read, or the one with which they joined.
    pub last_read: u64,
    /// The newest messages after that which name them, at most [`MENTIONS_MAX`], in order.
    pub mentions: Vec<u64>,
    /// The event with which they joined; 0 where the first version let them in.
    pub since: u64,
}

impl Reading {
    /// Notes that everything up to `seq` is read; whether that is news. Reading never goes back.
    pub fn mark(&mut self, seq: u64) -> bool {
        let is_news = seq > self.last_read;
        if is_news {
            self.last_read = seq;
            self.mentions.retain(|mention| *mention > seq);
        }
        is_news
    }

    /// Notes a message that names the user.
    pub fn mention(&mut self, seq: u64) {
        if self.mentions.len() == MENTIONS_MAX {
            self.mentions.remove(0);
        }
        self.mentions.push(seq);
    }

    /// Notes that a message does not name the user any more; whether that is news.
    pub fn no_mention(&mut self, seq: u64) -> bool {
        let place = self.mentions.iter().position(|mention| *mention == seq);
        place.map(|place| self.mentions.remove(place)).is_some()
    }
}

/// A user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The name, in the case of its first use.
    pub name: UserName,
    /// Who may use it.
    pub account: Account,
    /// The sessions of the account.
    pub sessions: Sessions,
    /// Rooms they created.
    pub rooms_created: u64,
    /// Rooms they are a member of, and how far they have read in each.
    pub rooms: BTreeMap<RoomId, Reading>,
    /// Bytes of the files that they have uploaded or begun to.
    pub file_bytes: u64,
    /// Their last messages.
    pub(super) sent: Sent,
}

impl User {
    /// A user who has done nothing yet.
    pub(super) fn new(name: UserName) -> Self {
        User {
            name,
            account: Account::default(),
            sessions: Sessions::default(),
            rooms_created: 0,
            rooms: BTreeMap::new(),
            file_bytes: 0,
            sent: Sent::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_never_goes_back_and_counts_mentions() {
        let mut reading = Reading::default();
        for seq in 1..=MENTIONS_MAX as u64 + 5 {
            reading.mention(seq);
        }
        assert_eq!((reading.mentions.len(), reading.mentions[0]), (MENTIONS_MAX, 6));
        assert!(reading.mark(100) && !reading.mark(100) && !reading.mark(7));
        assert_eq!(reading.mentions, [101, 102, 103, 104, 105]);
        assert!(reading.no_mention(103) && !reading.no_mention(103));
        assert_eq!(reading.mentions, [101, 102, 104, 105]);
    }
}
