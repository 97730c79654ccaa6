//! What becomes of a room's newest messages: one is added, edited, deleted or forgotten, and what of them is
//! unread. [`RecentMessages`](super::entities::recent) holds them.

use super::{
    dirty::DirtyRow,
    effects::Effects,
    entities::{
        recent::{Named, Unread, slot_of},
        room::Room,
        user_id::UserId,
    },
    rows,
    state::State,
};
use crate::{
    disk::RoomId,
    protocol::{
        event::{Event, EventKind},
        mentions::is_group,
        name::UserName,
    },
};

/// The row that holds the messages of a block has changed.
fn note_block(effects: &mut Effects, id: RoomId, room: &Room, block: u64) {
    if block == room.recent.open_block() {
        effects.dirty.push(DirtyRow::LastSeq(id));
    } else {
        effects.rows.push(rows::recent(id, slot_of(block), &room.recent.messages_of(block)));
    }
}

/// The room forgets its messages before `before_seq`.
pub(super) fn forget_recent(effects: &mut Effects, id: RoomId, room: &mut Room, before_seq: u64) {
    for block in room.recent.forget(before_seq) {
        note_block(effects, id, room, block);
    }
}

impl State {
    /// Notes a message of the room, its newest event.
    pub(super) fn note_message(&mut self, effects: &mut Effects, id: RoomId, author: UserId, event: &Event) {
        let EventKind::Message(message) = &event.kind else { return };
        let named = self.named(&message.mentions);
        let room = self.room_mut(id);
        if let Some(block) = room.recent.add(event.seq, author, named, message.deleted.is_some()) {
            note_block(effects, id, room, block);
        }
    }

    /// The message at `seq` names other members from now on.
    pub(super) fn note_edit(&mut self, effects: &mut Effects, id: RoomId, seq: u64, mentions: &[UserName]) {
        let named = self.named(mentions);
        let room = self.room_mut(id);
        if let Some(block) = room.recent.rename(seq, named) {
            note_block(effects, id, room, block);
        }
    }

    /// The message at `seq` is deleted.
    pub(super) fn note_deletion(&mut self, effects: &mut Effects, id: RoomId, seq: u64) {
        let room = self.room_mut(id);
        if let Some(block) = room.recent.remove(seq) {
            note_block(effects, id, room, block);
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
