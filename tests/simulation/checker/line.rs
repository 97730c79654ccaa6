//! Lines of the protocol, read with nothing but a JSON parser.

use serde_json::{Map, Value};

use super::{Point, Violation};

/// A line, from a client or a server.
pub struct Line {
    pub msg_type: String,
    pub sender_id: Option<String>,
    /// As JSON text, so that `7` and `"7"` differ.
    pub request_id: Option<String>,
    /// The type of the request that is answered.
    pub answers: Option<String>,
    pub data: Map<String, Value>,
}

impl Line {
    /// Reads a line of a server, which must be well-formed.
    pub fn read(line: &[u8]) -> Result<Line, Violation> {
        Line::of(line).ok_or_else(|| {
            let shown = String::from_utf8_lossy(&line[..line.len().min(200)]);
            Violation::new(Point::Confined, format!("a server sent what is not a line: {shown}"))
        })
    }

    /// Reads a line that may be anything.
    pub fn of(line: &[u8]) -> Option<Line> {
        let Ok(Value::Object(mut fields)) = serde_json::from_slice(line) else { return None };
        let text = |value: Option<Value>| value.and_then(|value| value.as_str().map(str::to_owned));
        let data = match fields.remove("data") {
            Some(Value::Object(data)) => data,
            _ => Map::new(),
        };
        Some(Line {
            msg_type: text(fields.remove("msg_type"))?,
            sender_id: text(fields.remove("sender_id")),
            request_id: fields.remove("request_id").filter(|id| !id.is_null()).map(|id| id.to_string()),
            answers: data.get("for").and_then(Value::as_str).map(str::to_owned),
            data,
        })
    }

    pub fn text(&self, field: &str) -> Option<&str> {
        self.data.get(field).and_then(Value::as_str)
    }

    pub fn number(&self, field: &str) -> Option<u64> {
        self.data.get(field).and_then(Value::as_u64)
    }

    pub fn flag(&self, field: &str) -> bool {
        self.data.get(field).and_then(Value::as_bool).unwrap_or(false)
    }

    /// The room it names, folded for comparison.
    pub fn room(&self) -> Option<String> {
        self.text("room").map(str::to_ascii_lowercase)
    }

    /// Whether it is about a room alone, so that nothing else could be missing.
    pub fn names_room_only(&self) -> bool {
        let is_about_room =
            matches!(self.msg_type.as_str(), "chat" | "create_join" | "history" | "members" | "pins");
        let others = ["reply_to", "file_id", "to"];
        is_about_room
            && self.text("room").is_some()
            && others.iter().all(|field| !self.data.contains_key(*field))
    }

    /// Whether the room that it names may be gone or hidden afterwards.
    pub fn may_end_room(&self) -> bool {
        matches!(self.msg_type.as_str(), "delete_room" | "rename_room" | "room_settings" | "import_room")
    }

    /// The direct conversation of `user` with the user in `to`.
    pub fn direct(&self, user: &str) -> Option<String> {
        let with = self.text("to")?.to_ascii_lowercase();
        let (one, other) = if *user <= *with { (user, &*with) } else { (&*with, user) };
        Some(format!("@{one},{other}"))
    }
}

/// The fields of an event that the model knows.
#[derive(Debug, Clone)]
pub struct EventFields {
    pub room: String,
    pub seq: u64,
    pub lamport: u64,
    pub author: String,
    pub message: Option<Message>,
    pub kind: String,
    /// The user whose membership it ended, if it ended one.
    pub gone: Option<String>,
}

/// The content of a `message` event.
#[derive(Debug, Clone)]
pub struct Message {
    pub client_msg_id: String,
    pub body: String,
}

/// Whether two forms of one event may both be shown: its author may give a message another text, it may be
/// deleted, and there may be reactions to it. All else stays the same for ever.
pub fn is_same_event(one: &Value, other: &Value) -> bool {
    let changes = |event: &Value| (event.get("edited").cloned(), event.get("deleted").cloned());
    let was_changed = changes(one) != changes(other);
    let plain = |event: &Value| {
        let mut event = event.clone();
        if let Some(fields) = event.as_object_mut() {
            let is_edit = fields.get("kind").and_then(Value::as_str) == Some("edited");
            fields.remove("reactions");
            if was_changed || is_edit {
                for field in ["body", "edited", "deleted", "mentions", "file", "display_name"] {
                    fields.remove(field);
                }
            }
        }
        event
    };
    plain(one) == plain(other)
}

/// Takes an event apart.
pub fn event_of(value: &Value) -> Result<EventFields, Violation> {
    let text = |field: &str| value.get(field).and_then(Value::as_str).map(str::to_owned);
    let number = |field: &str| value.get(field).and_then(Value::as_u64);
    let event = || {
        let kind = text("kind")?;
        let message = match kind.as_str() {
            "message" => Some(Message { client_msg_id: text("client_msg_id")?, body: text("body")? }),
            _ => None,
        };
        Some(EventFields {
            room: text("room")?.to_ascii_lowercase(),
            seq: number("seq")?,
            lamport: number("lamport_timestamp")?,
            author: text("author")?.to_ascii_lowercase(),
            gone: match kind.as_str() {
                "left" => text("author"),
                "kicked" | "banned" => text("username"),
                _ => None,
            }
            .map(|name| name.to_ascii_lowercase()),
            message,
            kind,
        })
    };
    event().ok_or_else(|| Violation::new(Point::Confined, format!("not an event: {value}")))
}
