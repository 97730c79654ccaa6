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

use serde::{Deserialize, Serialize};

use super::{effects::Effects, room::Room, rows, state::State, user::UserId};
use crate::{
    disk::{RoomId, Row},
    protocol::{
        event::{Event, EventKind},
        mentions::is_group,
        name::UserName,
    },
};

/// Messages of a room that are looked at for what is unread.
pub const COUNTED_MAX: u64 = 1_000;

/// A message that may be unread.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Recent {
    pub seq: u64,
    /// How many messages the room had with it.
    pub number: u64,
    pub author: UserId,
    /// `None` if it names no member.
    pub named: Option<Box<Named>>,
}

/// Whom a message names.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Named {
    users: Vec<UserId>,
    /// All members of the room.
    all: bool,
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

impl Room {
    /// The unread messages of `user`, who has read up to `last_read`.
    pub(super) fn unread(&self, user: UserId, last_read: u64) -> Unread {
        let read = last_read.max(self.first_seq().saturating_sub(1));
        let newer = self.recent.iter().rev().take_while(|message| message.seq > read);
        newer.filter(|message| message.author != user).fold(Unread::default(), |unread, message| Unread {
            messages: unread.messages + 1,
            first: Some(message.seq),
            mentions: unread.mentions + u64::from(message.names(user)),
        })
    }

    /// The block that the next message will be in.
    fn open_block(&self) -> u64 {
        block_of(self.messages + 1)
    }

    /// What the row of the newest event holds: the messages of the block that is not complete.
    pub(super) fn open_messages(&self) -> Vec<&Recent> {
        self.messages_of(self.open_block())
    }

    fn messages_of(&self, block: u64) -> Vec<&Recent> {
        let begin = self.recent.partition_point(|message| block_of(message.number) < block);
        self.recent.range(begin..).take_while(|message| block_of(message.number) == block).collect()
    }

    /// The row that holds the messages of a block.
    fn row_of(&self, id: RoomId, block: u64) -> Row {
        if block == self.open_block() {
            rows::last_seq(id, self)
        } else {
            rows::recent(id, block % SLOTS, &self.messages_of(block))
        }
    }

    /// The last number that is not counted any more.
    fn uncounted(&self) -> u64 {
        self.messages.saturating_sub(COUNTED_MAX)
    }

    /// Takes over stored messages; blocks come in any order, after the number of messages. A block may also
    /// hold messages that are too old to be counted.
    pub(super) fn load_recent(&mut self, messages: Vec<Recent>) {
        let uncounted = self.uncounted();
        for message in messages.into_iter().filter(|message| message.number > uncounted) {
            let place = self.recent.partition_point(|other| other.seq < message.seq);
            self.recent.insert(place, message);
        }
    }

    /// Forgets the messages before `before_seq`.
    pub(super) fn forget_recent(&mut self, effects: &mut Effects, id: RoomId, before_seq: u64) {
        while self.recent.pop_front_if(|message| message.seq < before_seq).is_some() {}
        let oldest = self.recent.front().map_or(self.open_block(), |oldest| block_of(oldest.number));
        // Also blocks in which all messages are too old: their rows stay until others replace them.
        for block in block_of(self.uncounted() + 1)..=oldest {
            effects.rows.push(self.row_of(id, block));
        }
    }
}

impl State {
    /// Notes a message of the room, its newest event.
    pub(super) fn note_message(&mut self, effects: &mut Effects, id: RoomId, author: UserId, event: &Event) {
        let EventKind::Message(message) = &event.kind else { return };
        let named = self.named(&message.mentions);
        let room = self.room_mut(id);
        room.messages += 1;
        let number = room.messages;
        if message.deleted.is_none() {
            room.recent.push_back(Recent { seq: event.seq, number, author, named });
        }
        let uncounted = room.uncounted();
        while room.recent.pop_front_if(|message| message.number <= uncounted).is_some() {}
        if block_of(number) != room.open_block() {
            effects.rows.push(room.row_of(id, block_of(number)));
        }
    }

    /// The message at `seq` names other members from now on.
    pub(super) fn note_edit(&mut self, effects: &mut Effects, id: RoomId, seq: u64, mentions: &[UserName]) {
        let named = self.named(mentions);
        let room = self.room_mut(id);
        let Ok(place) = room.recent.binary_search_by_key(&seq, |message| message.seq) else { return };
        if let Some(message) = room.recent.get_mut(place).filter(|message| message.named != named) {
            message.named = named;
            let block = block_of(message.number);
            effects.rows.push(room.row_of(id, block));
        }
    }

    /// The message at `seq` is deleted.
    pub(super) fn note_deletion(&mut self, effects: &mut Effects, id: RoomId, seq: u64) {
        let room = self.room_mut(id);
        let Ok(place) = room.recent.binary_search_by_key(&seq, |message| message.seq) else { return };
        if let Some(message) = room.recent.remove(place) {
            effects.rows.push(room.row_of(id, block_of(message.number)));
        }
    }

    fn named(&self, mentions: &[UserName]) -> Option<Box<Named>> {
        let mut named = Named::default();
        for name in mentions {
            if is_group(name.as_str()) {
                named.all = true;
            } else {
                named.users.extend(self.user_id(&name.key()));
            }
        }
        (named != Named::default()).then(|| Box::new(named))
    }

    /// The unread messages of a user in a room that they belong to.
    pub fn unread(&self, user: UserId, room: RoomId) -> Unread {
        let reading = self.users.get(&user).and_then(|user| user.rooms.get(&room));
        match (self.room_by_id(room), reading) {
            (Some(room), Some(reading)) => room.unread(user, reading.last_read),
            _ => Unread::default(),
        }
    }
}
