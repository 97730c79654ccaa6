//! The rooms a user wants to be in, and how far each has been shown.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::protocol::{Event, RoomKey, RoomName, ServerMessage, envelope::Envelope, server_message::Content};

use super::login::Secret;

/// What stands between a room and its being followed on this connection.
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
    /// Whether the user wants to be in it; otherwise it is left once its messages are through.
    pub wanted: bool,
    /// Where it stands on this connection.
    pub phase: Phase,
    /// The `seq` of the last event that was shown: what follows must be this plus one.
    pub cursor: Option<u64>,
    /// How many of the last events to show when it is first joined.
    pub history: usize,
    /// Joins in a row that were needed because of a gap, without one event in between.
    pub gaps: u32,
    /// Where it is created: whether it is to be private. Only until it is joined.
    pub private: bool,
    /// What opens it, or will open it where it is created. Only until it is joined.
    pub password: Option<Secret>,
    /// The last event that the servers were told to be read.
    pub read: u64,
}

/// How an event fits behind those that were shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// It is the next one.
    Next,
    /// It was shown before.
    Repeat,
    /// At least one is missing in between.
    Gap,
}

impl Room {
    /// Where `seq` belongs; the cursor moves on where it is the next.
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

/// The rooms of one user.
#[derive(Debug, Default)]
pub struct Rooms(BTreeMap<RoomKey, Room>);

impl Rooms {
    /// The room `name`, which the user wants to be in from now on.
    pub fn want(&mut self, name: &RoomName, history: usize) -> &mut Room {
        let room = self.0.entry(name.key()).or_insert_with(|| Room {
            name: name.clone(),
            wanted: true,
            phase: Phase::Absent,
            cursor: None,
            history,
            gaps: 0,
            private: false,
            password: None,
            read: 0,
        });
        room.wanted = true;
        room
    }

    /// The room under `key`.
    pub fn get(&self, key: &RoomKey) -> Option<&Room> {
        self.0.get(key)
    }

    /// The room under `key`, to be changed.
    pub fn get_mut(&mut self, key: &RoomKey) -> Option<&mut Room> {
        self.0.get_mut(key)
    }

    /// Forgets a room.
    pub fn remove(&mut self, key: &RoomKey) -> Option<Room> {
        self.0.remove(key)
    }

    /// All rooms, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&RoomKey, &Room)> {
        self.0.iter()
    }

    /// The connection is gone: every room has to be joined again.
    pub fn connection_lost(&mut self) {
        for room in self.0.values_mut() {
            room.phase = Phase::Absent;
        }
    }
}

/// An event as it came: readable, or at least known by its place.
///
/// A newer server may have kinds of events that this client does not know. They still take a place, and a
/// client that did not count them would see a gap for ever.
#[derive(Debug, Clone, PartialEq)]
pub enum Arrival {
    /// An event.
    Event(Box<Event>),
    /// Something that has a place in a room but cannot be read.
    Unreadable {
        /// The room.
        room: RoomName,
        /// Its place.
        seq: u64,
        /// What could not be read.
        reason: String,
    },
}

impl Arrival {
    /// Reads an event out of an answer; the error is a sentence.
    pub fn read(value: Value) -> Result<Arrival, String> {
        let place = place(value.as_object());
        match (serde_json::from_value::<Event>(value), place) {
            (Ok(event), _) => Ok(Arrival::Event(Box::new(event))),
            (Err(error), Some((room, seq))) => {
                Ok(Arrival::Unreadable { room, seq, reason: error.to_string() })
            }
            (Err(error), None) => Err(format!("an event: {error}")),
        }
    }

    /// Reads what could be a pushed event that [`ServerMessage::parse`] refused with `reason`.
    pub fn salvage(line: &[u8], reason: &str) -> Option<Arrival> {
        let envelope = Envelope::parse(line).ok()?;
        if envelope.request_id.is_some() || !matches!(envelope.msg_type.as_str(), "chat" | "room_event") {
            return None;
        }
        let (room, seq) = place(Some(&envelope.data))?;
        Some(Arrival::Unreadable { room, seq, reason: reason.to_owned() })
    }

    /// The room and the place in it.
    pub fn place(&self) -> (&RoomName, u64) {
        match self {
            Arrival::Event(event) => (&event.room, event.seq),
            Arrival::Unreadable { room, seq, .. } => (room, *seq),
        }
    }
}

fn place(data: Option<&Map<String, Value>>) -> Option<(RoomName, u64)> {
    let data = data?;
    let room = RoomName::new(data.get("room")?.as_str()?)?;
    Some((room, data.get("seq")?.as_u64()?))
}

/// The answer to a `create_join`, with its events taken apart.
#[derive(Debug)]
pub struct Joined {
    /// The room, in the case it was created with.
    pub room: RoomName,
    /// Whether this request created it.
    pub created: bool,
    /// Its topic, empty where none was set.
    pub topic: String,
    /// What the user is in it.
    pub role: String,
    /// The first event that the room still has; 0 where the server does not say.
    pub first_seq: u64,
    /// The newest event.
    pub last_seq: u64,
    /// The events asked for, oldest first.
    pub events: Vec<Arrival>,
}

impl Joined {
    /// Reads the `data` of the ack; the error is a sentence.
    pub fn read(mut data: Map<String, Value>) -> Result<Joined, String> {
        let events = match data.remove("events") {
            Some(Value::Array(events)) => events.into_iter().map(Arrival::read).collect::<Result<_, _>>()?,
            _ => vec![],
        };
        let text = |field: &str| data.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        Ok(Joined {
            room: RoomName::new(&text("room")).ok_or("the answer to create_join names no room")?,
            created: data.get("created").and_then(Value::as_bool).unwrap_or(false),
            topic: text("topic"),
            role: text("role"),
            first_seq: data.get("first_seq").and_then(Value::as_u64).unwrap_or(0),
            last_seq: data
                .get("last_seq")
                .and_then(Value::as_u64)
                .ok_or("the answer to create_join has no last_seq")?,
            events,
        })
    }
}

/// The event that `message` pushes, if it pushes one.
pub fn pushed(message: &mut ServerMessage) -> Option<Arrival> {
    if message.request_id.is_some() {
        return None;
    }
    let nothing = Content::Other { msg_type: String::new(), data: Map::new() };
    match std::mem::replace(&mut message.content, nothing) {
        Content::Event(event) => Some(Arrival::Event(event)),
        other => {
            message.content = other;
            None
        }
    }
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
        let line = br#"{"msg_type":"room_event","sender_id":"a","data":{"room":"lobby","seq":4,"kind":"painted","author":"a","lamport_timestamp":1,"created_at":1}}"#;
        let reason = ServerMessage::parse(line).unwrap_err();
        let arrival = Arrival::salvage(line, &reason).unwrap();
        assert_eq!(arrival.place().1, 4);
        let value = serde_json::json!({"room": "lobby", "seq": 5, "kind": "painted"});
        assert!(matches!(Arrival::read(value), Ok(Arrival::Unreadable { seq: 5, .. })));
    }
}
