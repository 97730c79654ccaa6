//! A room gets its next event.

use std::sync::Arc;

use super::{
    dirty::DirtyRow,
    effects::{Effects, Published, json},
    entities::user_id::UserId,
    reply::Reply,
    rows,
    state::State,
};
use crate::{
    disk::RoomId,
    protocol::event::{Event, EventKind},
};

impl State {
    /// Gives the room its next event.
    pub(super) fn publish(
        &mut self,
        effects: &mut Effects,
        room: RoomId,
        author: UserId,
        kind: EventKind,
    ) -> Arc<Event> {
        let created_at = effects.created_at_ms;
        self.publish_of(effects, room, author, created_at, kind)
    }

    /// Gives the room its next event, with a time of its own.
    pub(super) fn publish_of(
        &mut self,
        effects: &mut Effects,
        room_id: RoomId,
        author: UserId,
        created_at: u64,
        kind: EventKind,
    ) -> Arc<Event> {
        let lamport_timestamp = self.clock.next();
        let (author_id, author) = (author, self.user_name(author));
        let room = self.room_mut(room_id);
        room.last_seq += 1;
        let event = Arc::new(Event {
            room: room.name.clone(),
            seq: room.last_seq,
            author,
            lamport_timestamp,
            created_at,
            kind,
        });
        if room.note_pin(&event) {
            effects.rows.push(rows::settings(room_id, &room.settings));
        }
        self.note_message(effects, room_id, author_id, &event);
        effects.dirty.push(DirtyRow::LastSeq(room_id));
        let json = json(&event);
        let published = Published { room: room_id, index: effects.index, event: Arc::clone(&event), json };
        effects.events.push(published);
        event
    }

    /// Gives the room its next event, which is the answer.
    pub(super) fn publish_reply(
        &mut self,
        effects: &mut Effects,
        room: RoomId,
        author: UserId,
        kind: EventKind,
    ) -> Reply {
        Reply::placed(&self.publish(effects, room, author, kind))
    }

    /// The answer to what changed a room without an event: its newest one.
    pub(super) fn placed_now(&mut self, room: RoomId) -> Reply {
        let room = self.room_mut(room);
        Reply::Placed { room: room.name.clone(), seq: room.last_seq, duplicate: false }
    }
}
