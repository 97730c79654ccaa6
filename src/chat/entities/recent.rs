//! A room's newest messages, for counting what is unread: who said them, and whom they name.
//!
//! How far a member has read is a place in the room; what is unread is counted when they ask. So a message
//! changes no rows of its readers, however many there are. Deleted messages are taken out; an edit changes
//! whom a message names.
//!
//! **Blocks.** A row for each message would be one more row to write with each message. So twenty messages in
//! a row share one row, written once they are complete. Until then they are in the row of the room's newest
//! event, which every message writes anyway. The row of a new block replaces that of the block that has just
//! become too old.
//!
//! **What is counted** are the newest [`COUNTED_MAX`] messages of a room, deleted ones included. Of older
//! ones neither author nor readers are known: a member who is further behind is told of [`COUNTED_MAX`]
//! unread messages at most.

use std::{collections::VecDeque, ops::RangeInclusive};

use serde::{Deserialize, Serialize};

use super::user_id::UserId;

/// Messages of a room that are looked at for what is unread.
pub const COUNTED_MAX: u64 = 1_000;

/// A message that may be unread.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::chat) struct Recent {
    pub seq: u64,
    /// How many messages the room had with it.
    pub number: u64,
    pub author: UserId,
    /// `None` if it names no member.
    pub named: Option<Box<Named>>,
}

/// Whom a message names.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(in crate::chat) struct Named {
    pub users: Vec<UserId>,
    /// All members of the room.
    pub all: bool,
}

/// Messages of a row. Divides [`COUNTED_MAX`], so that a complete block comes just when another one is not
/// counted any more.
const BLOCK: u64 = 20;
/// Rows of a room.
const SLOTS: u64 = COUNTED_MAX / BLOCK;

/// Which block the message of that number is in, counted from the room's first message.
fn block_of(number: u64) -> u64 {
    number / BLOCK
}

impl Recent {
    fn names(&self, user: UserId) -> bool {
        self.named.as_ref().is_some_and(|named| named.all || named.users.contains(&user))
    }
}

/// The unread messages of a room, for one member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Unread {
    /// Messages of others that are not deleted.
    pub messages: u64,
    /// The first of them.
    pub first: Option<u64>,
    /// How many of them name the member.
    pub mentions: u64,
}

/// The newest messages of a room.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::chat) struct RecentMessages {
    /// How many messages the room has had.
    pub count: u64,
    /// Those that are counted and not deleted, in order.
    messages: VecDeque<Recent>,
}

impl RecentMessages {
    /// The unread messages of `user`, who has read everything up to `read`.
    pub fn unread(&self, user: UserId, read: u64) -> Unread {
        let newer = self.messages.iter().rev().take_while(|message| message.seq > read);
        newer.filter(|message| message.author != user).fold(Unread::default(), |unread, message| Unread {
            messages: unread.messages + 1,
            first: Some(message.seq),
            mentions: unread.mentions + u64::from(message.names(user)),
        })
    }

    /// The block that the next message will be in.
    pub fn open_block(&self) -> u64 {
        block_of(self.count + 1)
    }

    /// What the row of the newest event holds: the messages of the block that is not complete.
    pub fn open_messages(&self) -> Vec<&Recent> {
        self.messages_of(self.open_block())
    }

    pub fn messages_of(&self, block: u64) -> Vec<&Recent> {
        let begin = self.messages.partition_point(|message| block_of(message.number) < block);
        self.messages.range(begin..).take_while(|message| block_of(message.number) == block).collect()
    }

    /// The last number that is not counted any more.
    fn uncounted(&self) -> u64 {
        self.count.saturating_sub(COUNTED_MAX)
    }

    /// Takes over stored messages; blocks come in any order, after the number of messages. A block may also
    /// hold messages that are too old to be counted.
    pub fn load(&mut self, messages: Vec<Recent>) {
        let uncounted = self.uncounted();
        for message in messages.into_iter().filter(|message| message.number > uncounted) {
            let place = self.messages.partition_point(|other| other.seq < message.seq);
            self.messages.insert(place, message);
        }
    }

    /// Counts the room's newest message, which may be deleted already if it was imported. Gives the block
    /// that is complete with it, if one is.
    pub fn add(
        &mut self,
        seq: u64,
        author: UserId,
        named: Option<Box<Named>>,
        is_deleted: bool,
    ) -> Option<u64> {
        self.count += 1;
        let number = self.count;
        if !is_deleted {
            self.messages.push_back(Recent { seq, number, author, named });
        }
        let uncounted = self.uncounted();
        while self.messages.pop_front_if(|message| message.number <= uncounted).is_some() {}
        (block_of(number) != self.open_block()).then(|| block_of(number))
    }

    /// The message at `seq` names others from now on. Gives its block if that changes something.
    pub fn rename(&mut self, seq: u64, named: Option<Box<Named>>) -> Option<u64> {
        let message = self.place_of(seq).and_then(|place| self.messages.get_mut(place))?;
        (message.named != named).then(|| {
            message.named = named;
            block_of(message.number)
        })
    }

    /// Takes out the message at `seq`. Gives its block if it was there.
    pub fn remove(&mut self, seq: u64) -> Option<u64> {
        let message = self.place_of(seq).and_then(|place| self.messages.remove(place))?;
        Some(block_of(message.number))
    }

    fn place_of(&self, seq: u64) -> Option<usize> {
        self.messages.binary_search_by_key(&seq, |message| message.seq).ok()
    }

    /// Forgets the messages before `before_seq`. Gives the blocks that change, also those in which all
    /// messages are too old: their rows stay until others replace them.
    pub fn forget(&mut self, before_seq: u64) -> RangeInclusive<u64> {
        while self.messages.pop_front_if(|message| message.seq < before_seq).is_some() {}
        let oldest = self.messages.front().map_or(self.open_block(), |oldest| block_of(oldest.number));
        block_of(self.uncounted() + 1)..=oldest
    }
}

/// Which of a room's rows holds a block.
pub(in crate::chat) fn slot_of(block: u64) -> u64 {
    block % SLOTS
}
