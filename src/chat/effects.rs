//! The effects of a log entry outside the state: events, rows, and what connections have to know.

use std::sync::Arc;

use serde_json::value::{RawValue, to_raw_value};

use super::{
    dirty::DirtyRow,
    entities::{until::Until, user_id::UserId},
};
use crate::{
    disk::{ChunkRow, EventRow, RoomId, Row},
    protocol::{
        credential::TokenHash,
        event::Event,
        file::FileId,
        name::{RoomName, UserKey, UserName},
    },
};

/// The effects of one entry of the log.
#[derive(Debug, Clone, Default)]
pub struct Effects {
    /// The index of the entry.
    pub index: u64,
    /// When it was proposed, milliseconds since the Unix epoch.
    pub created_at_ms: u64,
    /// What happened in rooms, in order.
    pub events: Vec<Published>,
    /// Events of earlier entries, in their new form.
    pub rewritten: Vec<EventRow>,
    /// The rows that changed, in order: if two have the same key, the later counts.
    pub rows: Vec<Row>,
    /// More rows that changed, which are made when they are written, after those of `rows`.
    pub dirty: Vec<DirtyRow>,
    /// Memberships that began or ended.
    pub membership: Vec<MemberChange>,
    /// Invitations that were made or taken back.
    pub invitations: Vec<Invitation>,
    /// Sessions that ended.
    pub ended: Vec<Ended>,
    /// Pieces of files to keep.
    pub chunks: Vec<ChunkRow>,
    /// Files that are gone.
    pub removed_files: Vec<FileId>,
    /// Rooms that forgot their events before this one.
    pub expired: Vec<(RoomId, u64)>,
    /// Members who have read further.
    pub read: Vec<ReadUpTo>,
    /// Rooms that are gone.
    pub deleted: Vec<DeletedRoom>,
}

/// An event, for history and for the connections that follow the room.
#[derive(Debug, Clone)]
pub struct Published {
    /// The number of the room.
    pub room: RoomId,
    /// The log entry that made the event.
    pub index: u64,
    pub event: Arc<Event>,
    /// Its JSON, as it is stored and sent.
    pub json: Arc<RawValue>,
}

impl Published {
    /// The event as it is stored.
    pub fn row(&self) -> EventRow {
        EventRow {
            room: self.room,
            seq: self.event.seq,
            index: self.index,
            created_at_ms: self.event.created_at,
            author: self.event.author.key(),
            json: Arc::clone(&self.json),
        }
    }
}

/// A user became a member of a room or stopped being one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberChange {
    pub user: UserKey,
    /// The number of the room.
    pub room: RoomId,
    /// Whether they are a member now.
    pub joined: bool,
}

/// A user was invited to a room, or is not any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invitation {
    /// The user who is invited.
    pub user: UserKey,
    /// The room that they are invited to.
    pub room: RoomName,
    /// It stays though the room gets another name.
    pub room_id: RoomId,
    /// The user who sent the invitation or took it back.
    pub by: UserName,
    /// Whether they are invited now.
    pub invited: bool,
}

/// A member has read a room up to some event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadUpTo {
    pub user: UserId,
    pub room: RoomId,
    /// The last event that is read.
    pub seq: u64,
}

/// A room is gone, with everything in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeletedRoom {
    /// The name that it had.
    pub room: RoomName,
    /// The number that it had.
    pub room_id: RoomId,
    /// The user who deleted it.
    pub by: UserName,
    /// The users who belonged to it.
    pub members: Vec<UserKey>,
}

/// Sessions of a user have ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    pub user: UserKey,
    pub which: SessionFilter,
    /// Why, in one sentence.
    pub reason: &'static str,
}

/// Which sessions of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionFilter {
    /// All, those of guests too.
    All,
    /// That of this token.
    One(TokenHash),
    /// All but that of this token.
    AllBut(TokenHash),
    /// Those that came as a guest.
    Guests,
}

impl Effects {
    /// Of the entry at `index`: nothing yet.
    pub(super) fn of(index: u64, created_at_ms: u64) -> Effects {
        Effects { index, created_at_ms, ..Effects::default() }
    }

    /// Replaces a stored event by its new form. The log entry that made it is not known any more, so it is
    /// stored under the one that changed it.
    pub(super) fn rewrite(&mut self, room: RoomId, event: &Event) {
        self.rewritten.push(EventRow {
            room,
            seq: event.seq,
            index: self.index,
            created_at_ms: event.created_at,
            author: event.author.key(),
            json: json(event),
        });
    }

    /// The end of what begins with this entry and lasts for `seconds`, or until it is ended.
    pub(super) fn until(&self, seconds: Option<u32>) -> Until {
        Until::after(self.created_at_ms, seconds)
    }
}

/// An event as it is stored and sent.
pub(super) fn json(event: &Event) -> Arc<RawValue> {
    to_raw_value(event).expect("strings and numbers always encode").into()
}
