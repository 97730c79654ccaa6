//! Events: what happened in a room, in the order of their `seq`, the same on every server for ever.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{
    file::FileInfo,
    name::{RoomName, UserName},
};

/// The `kind` of an event that is a message.
pub const MESSAGE: &str = "message";

/// One change in a room. Clients are sent the same JSON form that the database keeps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// The room it happened in.
    pub room: RoomName,
    /// Its place in the room: 1, 2, 3, … without holes.
    pub seq: u64,
    pub author: UserName,
    /// Strictly increasing along the replicated log, over all rooms.
    pub lamport_timestamp: u64,
    /// The leader's wall clock when it was proposed.
    #[serde(with = "seconds")]
    pub created_at: u64,
    #[serde(flatten)]
    pub kind: EventKind,
}

impl Event {
    /// Whether it is a message, which is pushed as `chat`; all else is a `room_event`.
    pub fn is_message(&self) -> bool {
        matches!(self.kind, EventKind::Message(_))
    }

    /// The `msg_type` under which this event is pushed.
    pub fn msg_type(&self) -> &'static str {
        if self.is_message() { "chat" } else { "room_event" }
    }
}

/// A message as history shows it. Edits, deletion and reactions are kept with it, so a page of history tells
/// what the message is now. Its place, author and time never change.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Message {
    /// The text; empty once it is deleted.
    pub body: String,
    /// The sender's own id for this message: (author, `client_msg_id`) has one place for ever.
    pub client_msg_id: String,
    /// The `seq` of the message it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<u64>,
    /// The members whom it names with `@name`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mentions: Vec<UserName>,
    /// The file that it shows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<FileInfo>,
    /// What a webhook calls its sender.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// The `seq` of the newest `edited` event of this message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edited: Option<u64>,
    /// The `seq` of the `deleted` event of this message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted: Option<u64>,
    /// Who reacted to it, by emoji.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub reactions: BTreeMap<String, Vec<UserName>>,
}

/// What happened. In JSON, `kind` has the variant's name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[expect(clippy::large_enum_variant, reason = "nearly all events are messages")]
pub enum EventKind {
    Message(Message),
    /// The author became a member.
    Joined,
    /// The author is no longer a member.
    Left,
    /// The author gave one of their messages another text.
    Edited {
        target: u64,
        /// The new text; `None` once there is a newer one, or none at all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        body: Option<String>,
    },
    /// A message was deleted.
    Deleted {
        target: u64,
    },
    /// The author reacted to a message.
    Reaction {
        target: u64,
        emoji: String,
        /// Whether the reaction is taken back.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        remove: bool,
    },
    /// A message was pinned.
    Pinned {
        target: u64,
    },
    /// A message is not pinned any more.
    Unpinned {
        target: u64,
    },
    /// The room has another name. The pushed event still carries the old name as its room.
    Renamed {
        name: RoomName,
        /// The name until then.
        old_name: RoomName,
    },
    /// The room has another topic.
    Topic {
        topic: String,
    },
    Invited {
        username: UserName,
    },
    /// An invitation was taken back.
    Uninvited {
        username: UserName,
    },
    /// A user's membership was ended by another user.
    Kicked {
        username: UserName,
    },
    /// A user was banned from the room.
    Banned {
        username: UserName,
        /// For how long; without it until they are unbanned.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seconds: Option<u32>,
    },
    /// A user is no longer banned.
    Unbanned {
        username: UserName,
    },
    /// A user may read but not write.
    Muted {
        username: UserName,
        /// For how long; without it until they are unmuted.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seconds: Option<u32>,
    },
    /// A muted user may write again.
    Unmuted {
        username: UserName,
    },
    /// A user has another role in the room.
    Role {
        username: UserName,
        role: String,
    },
    /// The room's settings changed.
    Settings {
        private: bool,
        archived: bool,
        /// The least time between two messages of one member, seconds.
        slow_s: u32,
        /// Whether it is entered with a password.
        password: bool,
        /// Days that events are kept.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        keep_days: Option<u32>,
        /// How many events are kept.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        keep_events: Option<u64>,
    },
}

/// The stored JSON of an event, with the name that its room has now. A stored event has the name that the
/// room had then.
pub fn in_room(json: &RawValue, room: &RoomName) -> Box<RawValue> {
    let text = json.get();
    // The room is written first, and its name needs no escapes.
    let rest = text.strip_prefix(ROOM_FIELD).and_then(|rest| rest.split_once('"'));
    match rest {
        Some((name, rest)) if name != room.as_str() => {
            let renamed = format!("{ROOM_FIELD}{room}\"{rest}");
            RawValue::from_string(renamed).expect("one name in the place of another leaves it JSON")
        }
        _ => json.to_owned(),
    }
}

/// The beginning of the JSON of every event.
const ROOM_FIELD: &str = r#"{"room":""#;

/// Milliseconds since the Unix epoch, written as seconds with a fraction.
pub mod seconds {
    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes milliseconds as a number of seconds.
    pub fn serialize<S: Serializer>(at_ms: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(*at_ms as f64 / 1000.0)
    }

    /// Reads a number of seconds as milliseconds.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        Ok((f64::deserialize(deserializer)? * 1000.0).round() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_json_round_trips() {
        let event = Event {
            room: RoomName::new("lobby").unwrap(),
            seq: 7,
            author: UserName::new("alice").unwrap(),
            lamport_timestamp: 12,
            created_at: 1_763_677_200_123,
            kind: EventKind::Message(Message {
                body: "hi \u{1b}".into(),
                client_msg_id: "c1".into(),
                ..Message::default()
            }),
        };
        let json = serde_json::to_string(&event).unwrap();
        assert!(json.contains(r#""kind":"message""#) && json.contains("1763677200.123"), "{json}");
        assert_eq!(serde_json::from_str::<Event>(&json).unwrap(), event);
        let (json, den) = (RawValue::from_string(json).unwrap(), RoomName::new("den").unwrap());
        assert_eq!(in_room(&json, &event.room).get(), json.get());
        let renamed = serde_json::from_str::<Event>(in_room(&json, &den).get()).unwrap();
        assert_eq!(renamed, Event { room: den, ..event });
    }
}
