//! What a session has seen: what was asked under which tag, names for the Tab key, places of messages.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use crate::{
    client::update::{Reply, Update},
    protocol::{EventKind, RoomKey, RoomName, UserName},
};

/// Names of a kind that are remembered. Full: further ones are not completed.
const NAMES_MAX: usize = 10_000;

#[derive(Debug, Default)]
struct Inner {
    /// What was asked, by its tag, as it was typed.
    asked: BTreeMap<u64, String>,
    rooms: BTreeMap<RoomKey, String>,
    users: BTreeMap<String, String>,
    /// The last own message, by room.
    own: BTreeMap<RoomKey, u64>,
    /// The last event that came, by room.
    last: BTreeMap<RoomKey, u64>,
    /// Rooms that the user was refused or sent out of.
    gone: Vec<RoomName>,
}

/// What a session has seen. Shared by the threads that type and that show.
#[derive(Debug, Default)]
pub struct Notes(Mutex<Inner>);

impl Notes {
    /// Something was asked under `tag`.
    pub fn asked(&self, tag: u64, what: &str) {
        self.0.lock().asked.insert(tag, what.to_owned());
    }

    /// What was asked under `tag`; it is answered.
    pub fn answered(&self, tag: u64) -> String {
        self.0.lock().asked.remove(&tag).unwrap_or_default()
    }

    /// The user's last message in a room.
    pub fn own(&self, room: &RoomName) -> Option<u64> {
        self.0.lock().own.get(&room.key()).copied()
    }

    /// The last event of a room that came.
    pub fn last(&self, room: &RoomName) -> Option<u64> {
        self.0.lock().last.get(&room.key()).copied()
    }

    /// The rooms that the user is not in after all, since the last call.
    pub fn take_gone(&self) -> Vec<RoomName> {
        std::mem::take(&mut self.0.lock().gone)
    }

    /// The user tries to be in `room`, whatever was before.
    pub fn is_coming(&self, room: &RoomName) {
        self.0.lock().gone.retain(|gone| gone.key() != room.key());
    }

    /// The rooms that were seen.
    pub fn rooms(&self) -> Vec<String> {
        self.0.lock().rooms.values().cloned().collect()
    }

    /// The users that were seen.
    pub fn users(&self) -> Vec<String> {
        self.0.lock().users.values().cloned().collect()
    }

    /// Takes note of what an update tells.
    pub fn note(&self, update: &Update) {
        let mut inner = self.0.lock();
        match update {
            Update::Joined { room, last_seq, .. } => {
                inner.room(room);
                inner.last.insert(room.key(), *last_seq);
            }
            Update::RoomRefused { room, .. } => inner.gone.push(room.clone()),
            Update::Event { event, .. } => {
                inner.user(&event.author);
                inner.last.insert(event.room.key(), event.seq);
                match &event.kind {
                    EventKind::Invited { username }
                    | EventKind::Uninvited { username }
                    | EventKind::Role { username, .. } => inner.user(username),
                    _ => {}
                }
            }
            Update::Acked { message, seq, .. } => {
                let own = inner.own.entry(message.room.key()).or_default();
                *own = (*own).max(*seq);
            }
            Update::Presence { username, .. } => inner.user(username),
            Update::Invitation { by, .. } => inner.user(by),
            Update::Answered { reply: Reply::Rooms { rooms, .. }, .. } => {
                rooms.iter().for_each(|room| inner.room(&room.room));
            }
            Update::Answered { reply: Reply::Members { members, .. }, .. } => {
                members.iter().for_each(|member| inner.user(&member.username));
            }
            _ => {}
        }
    }
}

impl Inner {
    fn room(&mut self, room: &RoomName) {
        if self.rooms.len() < NAMES_MAX {
            self.rooms.insert(room.key(), room.to_string());
        }
    }

    fn user(&mut self, user: &UserName) {
        if self.users.len() < NAMES_MAX {
            self.users.insert(user.key().to_string(), user.to_string());
        }
    }
}
