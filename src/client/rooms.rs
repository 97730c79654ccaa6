//! The rooms that the user wants to be in, and how far each has been shown.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;
use thiserror::Error;

use crate::protocol::{Event, JoinAnswer, RoomId, RoomKey, RoomName, credential::Password, object::Text};

use super::renamed::Renamed;

/// The state of a room on this connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Nothing was asked on this connection yet.
    Absent,
    /// `create_join` is on its way. Pushes are dropped: the answer covers them.
    Joining,
    /// Followed: events come as pushes.
    Live,
    /// `leave` is on its way.
    Leaving,
}

/// A room that the user joined or is about to leave.
#[derive(Debug, Clone)]
pub struct Room {
    /// The name, in the case it was created with once a server has told.
    pub name: RoomName,
    /// Its number, once a server has told: then servers go by that and not by the name.
    pub id: Option<RoomId>,
    /// Whether the user wants to be in it; else it is left once its messages are acknowledged.
    pub wanted: bool,
    /// Its state on this connection.
    pub phase: Phase,
    /// The `seq` of the last event that was shown: what follows must be this plus one.
    pub cursor: Option<u64>,
    /// How many of the last events to show when it is first joined.
    pub history: usize,
    /// Joins in a row that were needed because of a gap, without one event in between.
    pub gaps: u32,
    /// If it is created: whether it is to be private. Only until it is joined.
    pub private: bool,
    /// Its password, or that of the room to create. Only until it is joined.
    pub password: Option<Password>,
    /// The last event that the servers were told to be read.
    pub read: u64,
    /// The newest event when a server told the name: what renamed the room before is in that already.
    pub named_at: u64,
}

/// How an event fits behind those that were shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    Next,
    /// It was shown before.
    Repeat,
    /// At least one is missing in between.
    Gap,
}

impl Room {
    /// How `seq` fits; if it is the next one, the cursor moves on.
    pub fn place(&mut self, seq: u64) -> Fit {
        match self.cursor {
            Some(cursor) if seq <= cursor => Fit::Repeat,
            Some(cursor) if seq > cursor + 1 => Fit::Gap,
            _ => {
                self.cursor = Some(seq);
                Fit::Next
            }
        }
    }
}

#[derive(Debug, Default)]
pub struct Rooms {
    rooms: BTreeMap<RoomKey, Room>,
    /// Names that rooms had, with those that they got. What the user says under an old name, not knowing of
    /// the new one yet, is for that room.
    former: BTreeMap<RoomKey, RoomKey>,
}

impl Rooms {
    /// The room `name`, which the user wants to be in from now on.
    pub fn want(&mut self, name: &RoomName, history: usize) -> &mut Room {
        let room = self.rooms.entry(name.key()).or_insert_with(|| Room {
            name: name.clone(),
            id: None,
            wanted: true,
            phase: Phase::Absent,
            cursor: None,
            history,
            gaps: 0,
            private: false,
            password: None,
            read: 0,
            named_at: 0,
        });
        room.wanted = true;
        room
    }

    /// The room under `key`.
    pub fn get(&self, key: &RoomKey) -> Option<&Room> {
        self.rooms.get(key)
    }

    /// The room under `key`, to be changed.
    pub fn get_mut(&mut self, key: &RoomKey) -> Option<&mut Room> {
        self.rooms.get_mut(key)
    }

    /// The room under `key` has another name from now on. `None` if it has it already: history shows the
    /// event of a renaming under the name that came of it.
    pub fn rename(&mut self, key: &RoomKey, name: &RoomName) -> Option<Renamed> {
        let room = self.rooms.get(key).filter(|room| room.name != *name)?;
        let other = self.rooms.get(&name.key()).filter(|_| *key != name.key());
        // One without a number was asked for by this name, and so is this room.
        let swaps = other.is_some_and(|other| other.id.is_some() && other.id != room.id);
        let wanted = room.wanted || (!swaps && other.is_some_and(|other| other.wanted));
        let renamed = Renamed { from: room.name.clone(), to: name.clone(), swaps };
        renamed.move_in(&mut self.rooms);
        if let Some(room) = self.rooms.get_mut(&name.key()) {
            (room.name, room.wanted) = (name.clone(), wanted);
        }
        if let Some(other) = self.rooms.get_mut(key).filter(|_| swaps) {
            other.name = renamed.from.clone();
        }
        self.former.remove(&name.key());
        if !swaps && *key != name.key() {
            self.former.insert(key.clone(), name.key());
        }
        Some(renamed)
    }

    /// The name of the room that the user knows as `name`, who may not have been told of a new one yet.
    pub fn present(&self, name: &RoomName) -> RoomName {
        let mut key = name.key();
        // Names may go round in a circle.
        for _ in 0..=self.former.len() {
            match self.rooms.get(&key) {
                Some(room) => return room.name.clone(),
                None => match self.former.get(&key) {
                    Some(later) => key = later.clone(),
                    None => break,
                },
            }
        }
        name.clone()
    }

    /// The user means the room that is called so now.
    pub fn means(&mut self, name: &RoomName) {
        self.former.remove(&name.key());
    }

    pub fn remove(&mut self, key: &RoomKey) -> Option<Room> {
        self.rooms.remove(key)
    }

    /// All rooms, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&RoomKey, &Room)> {
        self.rooms.iter()
    }

    /// Known places are no longer valid: every room is joined anew, from its newest events on.
    pub fn begin_afresh(&mut self) {
        for room in self.rooms.values_mut() {
            (room.phase, room.cursor, room.gaps, room.read) = (Phase::Absent, None, 0, 0);
        }
    }

    /// The connection is gone: every room has to be joined again.
    pub fn connection_lost(&mut self) {
        for room in self.rooms.values_mut() {
            room.phase = Phase::Absent;
        }
    }
}

/// An event as it came: readable, or at least known by its place.
///
/// A newer server may have kinds of events that this client does not know. They still take a place; a client
/// that did not count them would see a gap for ever.
#[derive(Debug, Clone, PartialEq)]
pub enum Arrival {
    Event(Box<Event>),
    /// Something that has a place in a room but cannot be read.
    Unreadable {
        room: RoomName,
        seq: u64,
        /// What could not be read.
        reason: String,
    },
}

/// An event of which not even the place can be read.
#[derive(Debug, Error)]
#[error("an event: {0}")]
pub struct NoEvent(#[source] serde_json::Error);

impl Arrival {
    /// Reads an event, pushed or out of an answer.
    ///
    /// # Errors
    /// Not even its place can be read.
    pub fn read(event: &RawValue) -> Result<Arrival, NoEvent> {
        match (serde_json::from_str::<Event>(event.get()), place(event)) {
            (Ok(event), _) => Ok(Arrival::Event(Box::new(event))),
            (Err(error), Some((room, seq))) => {
                Ok(Arrival::Unreadable { room, seq, reason: error.to_string() })
            }
            (Err(error), None) => Err(NoEvent(error)),
        }
    }

    pub fn place(&self) -> (&RoomName, u64) {
        match self {
            Arrival::Event(event) => (&event.room, event.seq),
            Arrival::Unreadable { room, seq, .. } => (room, *seq),
        }
    }
}

fn place(event: &RawValue) -> Option<(RoomName, u64)> {
    #[derive(Deserialize)]
    struct Place {
        room: RoomName,
        seq: u64,
    }
    let Place { room, seq } = Place::deserialize(Text(event)).ok()?;
    Some((room, seq))
}

/// The events of the answer to a `create_join`, oldest first.
///
/// # Errors
/// The place of one of them cannot be read.
pub fn arrivals(answer: &JoinAnswer) -> Result<Vec<Arrival>, NoEvent> {
    answer.events.iter().map(|event| Arrival::read(event)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_next_event_moves_the_cursor() {
        let mut rooms = Rooms::default();
        let room = rooms.want(&RoomName::new("Lobby").unwrap(), 50);
        assert_eq!(room.place(7), Fit::Next, "the first sets the cursor");
        assert_eq!(room.place(7), Fit::Repeat);
        assert_eq!(room.place(9), Fit::Gap);
        assert_eq!(room.cursor, Some(7));
        assert_eq!(room.place(8), Fit::Next);
        assert!(rooms.get(&RoomName::new("LOBBY").unwrap().key()).is_some());
    }

    #[test]
    fn an_unknown_kind_of_event_still_has_its_place() {
        let event =
            r#"{"room":"lobby","seq":4,"kind":"painted","author":"a","lamport_timestamp":1,"created_at":1}"#;
        let event: &RawValue = serde_json::from_str(event).unwrap();
        assert!(matches!(Arrival::read(event), Ok(Arrival::Unreadable { seq: 4, .. })));
        let event: &RawValue = serde_json::from_str(r#"{"kind":"painted"}"#).unwrap();
        assert!(Arrival::read(event).is_err());
    }
}
