//! Events: what happened in a room, in the order of their `seq`, the same on every server for ever.

use serde::{Deserialize, Serialize};

use super::name::{RoomName, UserName};

/// One change in a room. Its JSON form is at once what clients are sent and what the database keeps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// The room it happened in.
    pub room: RoomName,
    /// Its place in the room: 1, 2, 3, … without holes.
    pub seq: u64,
    /// Who did it.
    pub author: UserName,
    /// Strictly increasing along the replicated log, over all rooms.
    pub lamport_timestamp: u64,
    /// The leader's wall clock when it was proposed.
    #[serde(with = "seconds")]
    pub created_at: u64,
    /// What happened.
    #[serde(flatten)]
    pub kind: EventKind,
}

impl Event {
    /// The `msg_type` under which this event is pushed.
    pub fn msg_type(&self) -> &'static str {
        match self.kind {
            EventKind::Message { .. } => "chat",
            EventKind::Joined | EventKind::Left => "room_event",
        }
    }
}

/// What happened. The wire form carries the variant's name in `kind`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum EventKind {
    /// Somebody said something.
    Message {
        /// The text.
        body: String,
        /// The sender's own name for this message: (author, `client_msg_id`) has one place for ever.
        client_msg_id: String,
        /// The `seq` of the message it answers.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reply_to: Option<u64>,
    },
    /// The author became a member.
    Joined,
    /// The author is no longer a member.
    Left,
}

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
            kind: EventKind::Message { body: "hi \u{1b}".into(), client_msg_id: "c1".into(), reply_to: None },
        };
        let json = serde_json::to_string(&event).unwrap();
        assert!(json.contains(r#""kind":"message""#) && json.contains("1763677200.123"), "{json}");
        assert_eq!(serde_json::from_str::<Event>(&json).unwrap(), event);
    }
}
