//! What an export takes out of a cluster and an import puts into another: rooms and their events.
//!
//! `docs/EXPORT.md` describes the file that `syncnet-admin` makes of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _, ser::Error as _};
use serde_json::value::RawValue;

use super::{
    checked::Topic,
    emoji,
    event::{EventKind, Message},
    mentions::mentioned,
    moderation::{Retention, Role},
    name::{RoomName, UserName},
};

/// A time after all events: behind the year 9999, in seconds since the Unix epoch.
const TIME_END_S: f64 = super::limits::TIME_END_S;

/// A room without its name and its events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomInfo {
    pub private: bool,
    /// Its topic, empty if none was set. It is checked when it is read.
    #[serde(default, deserialize_with = "topic")]
    pub topic: String,
    #[serde(default)]
    pub archived: bool,
    /// The least time between two messages of one member, seconds.
    #[serde(default)]
    pub slow_s: u32,
    /// Days that events are kept.
    #[serde(default)]
    pub keep_days: Option<u32>,
    /// How many events are kept.
    #[serde(default)]
    pub keep_events: Option<u64>,
    /// The members and their roles.
    #[serde(default)]
    pub members: Vec<RoomMember>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomMember {
    pub username: UserName,
    #[serde(with = "role_word")]
    pub role: Role,
}

fn topic<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Topic::deserialize(deserializer).map(String::from)
}

/// A role by its word, as JSON has it.
mod role_word {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use super::Role;

    pub fn serialize<S: Serializer>(role: &Role, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(role.as_str())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Role, D::Error> {
        let word = String::deserialize(deserializer)?;
        Role::parse(&word).ok_or_else(|| D::Error::custom("must be owner, moderator or member"))
    }
}

/// The answer to `export`: a room, and a page of its events.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ExportPage {
    /// The room, in the case it was created with.
    pub room: RoomName,
    /// Its settings. The members are there on the first page only.
    pub info: RoomInfo,
    /// The first event that the room still has.
    pub first_seq: u64,
    pub last_seq: u64,
    /// The events, oldest first, each as the database keeps it.
    pub events: Vec<Box<RawValue>>,
    /// Whether there are newer ones.
    pub more: bool,
}

/// The settings of an imported room, as the log carries them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportedRoom {
    pub private: bool,
    pub topic: String,
    pub archived: bool,
    /// The least time between two messages of one member, seconds.
    pub slow_s: u32,
    /// How long events are kept.
    pub retention: Retention,
    /// Who is to be a member, and in which role. Present members stay.
    pub members: Vec<(UserName, Role)>,
}

impl From<RoomInfo> for ImportedRoom {
    fn from(info: RoomInfo) -> ImportedRoom {
        let RoomInfo { private, topic, archived, slow_s, keep_days, keep_events, members } = info;
        ImportedRoom {
            private,
            topic,
            archived,
            slow_s,
            retention: Retention::new(keep_days, keep_events),
            members: members.into_iter().map(|member| (member.username, member.role)).collect(),
        }
    }
}

/// An event of another time or cluster, as the log carries it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imported {
    pub author: UserName,
    /// When, milliseconds since the Unix epoch.
    pub created_at: u64,
    /// What happened: the JSON of an [`EventKind`], since the log's encoding cannot carry one.
    pub kind: String,
}

impl Imported {
    /// What happened.
    pub fn event_kind(&self) -> Result<EventKind, serde_json::Error> {
        serde_json::from_str(&self.kind)
    }

    /// A message of which only the text is known.
    pub fn message(author: UserName, created_at: u64, body: String) -> Imported {
        Imported::new(author, created_at, &EventKind::Message(Message { body, ..Message::default() }))
    }

    fn new(author: UserName, created_at: u64, kind: &EventKind) -> Imported {
        let kind = serde_json::to_string(kind).expect("strings and numbers always encode");
        Imported { author, created_at, kind }
    }
}

/// An event that is imported, as JSON has it: as `export` gives it, or with `author`, `created_at` and `body`
/// alone.
#[derive(Debug, Clone, PartialEq)]
pub struct ImportEvent {
    pub event: Imported,
    /// Its place, if it says one.
    pub seq: Option<u64>,
}

impl<'de> Deserialize<'de> for ImportEvent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ImportEvent, D::Error> {
        // Read by way of `Value`, so that the last of several equal keys counts.
        let mut value = serde_json::Value::deserialize(deserializer)?;
        // Other programs know of a message only what it says.
        if let Some(event) = value.as_object_mut().filter(|event| event.contains_key("body")) {
            event.entry("kind").or_insert_with(|| "message".into());
            if event["kind"] == "message" {
                event.entry("client_msg_id").or_insert_with(|| "".into());
            }
        }
        let wire: Wire = serde_json::from_value(value)
            .map_err(|error| D::Error::custom(format!("hold one that cannot be read: {error}")))?;
        let Wire { author, created_at, seq, kind } = wire;
        if !(0.0..TIME_END_S).contains(&created_at) {
            return Err(D::Error::custom("hold one of which created_at is no number of seconds since 1970"));
        }
        let kind = match kind {
            Kind::Known(kind) => *kind,
            Kind::Unknown { kind } => {
                let reason =
                    format!("hold one of the kind {kind}, which has not these fields or is not known");
                return Err(D::Error::custom(reason));
            }
        };
        let kind = in_its_form(kind);
        let event = Imported::new(author, (created_at * 1000.0).round() as u64, &kind);
        Ok(ImportEvent { event, seq })
    }
}

/// What happened as a server would have stored it: reactions in their one form, each user once under each,
/// and of the mentions those that the text has.
fn in_its_form(kind: EventKind) -> EventKind {
    match kind {
        EventKind::Message(mut message) => {
            let mut reactions: BTreeMap<String, Vec<UserName>> = BTreeMap::new();
            for (emoji, users) in std::mem::take(&mut message.reactions) {
                let all = reactions.entry(folded(emoji)).or_default();
                for user in users {
                    if !all.iter().any(|other| other.key() == user.key()) {
                        all.push(user);
                    }
                }
            }
            message.reactions = reactions;
            let is_named = |name: &UserName| {
                !mentioned(&message.body, |word| word.eq_ignore_ascii_case(name.as_str())).is_empty()
            };
            message.mentions.retain(|name| message.deleted.is_some() || is_named(name));
            EventKind::Message(message)
        }
        EventKind::Reaction { target, emoji, remove } => {
            EventKind::Reaction { target, emoji: folded(emoji), remove }
        }
        kind => kind,
    }
}

/// The one form of an emoji. What shows nothing stays as it was written, so that its refusal says that.
fn folded(emoji: String) -> String {
    let folded = emoji::fold(&emoji);
    if folded.is_empty() { emoji } else { folded }
}

impl Serialize for ImportEvent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Written<'a> {
            author: &'a UserName,
            #[serde(with = "super::event::seconds")]
            created_at: u64,
            #[serde(skip_serializing_if = "Option::is_none")]
            seq: Option<u64>,
            #[serde(flatten)]
            kind: serde_json::Map<String, serde_json::Value>,
        }
        let Imported { author, created_at, kind } = &self.event;
        let kind = serde_json::from_str(kind).map_err(S::Error::custom)?;
        Written { author, created_at: *created_at, seq: self.seq, kind }.serialize(serializer)
    }
}

#[derive(Deserialize)]
#[serde(expecting = "an event")]
struct Wire {
    author: UserName,
    created_at: f64,
    #[serde(default)]
    seq: Option<u64>,
    #[serde(flatten)]
    kind: Kind,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Kind {
    Known(Box<EventKind>),
    Unknown {
        #[serde(default)]
        kind: serde_json::Value,
    },
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::protocol::limits::TOPIC_BYTES;

    fn read(value: serde_json::Value) -> Result<(Imported, Option<u64>), String> {
        let read = serde_json::from_value::<ImportEvent>(value).map_err(|error| error.to_string())?;
        // Writing it gives the same event.
        let again = serde_json::to_value(&read).expect("an event");
        assert_eq!(serde_json::from_value::<ImportEvent>(again).expect("an event"), read);
        Ok((read.event, read.seq))
    }

    #[test]
    fn events_are_read_as_they_are_stored_and_with_a_text_alone() {
        let stored = json!({
            "room": "lobby", "seq": 7, "author": "alice", "lamport_timestamp": 12, "created_at": 1_763_677_200.123,
            "kind": "message", "body": "hi", "client_msg_id": "c1", "reactions": {"+1": ["bob"]}, "edited": 9,
        });
        let (imported, seq) = read(stored).unwrap();
        assert_eq!((seq, imported.created_at), (Some(7), 1_763_677_200_123));
        let EventKind::Message(message) = imported.event_kind().unwrap() else { panic!("a message") };
        assert_eq!((message.body.as_str(), message.edited, message.reactions.len()), ("hi", Some(9), 1));
        let (joined, _) = read(json!({"author": "a", "created_at": 5, "kind": "joined"})).unwrap();
        assert_eq!(joined.event_kind().unwrap(), EventKind::Joined);
        let (plain, seq) = read(json!({"author": "a", "created_at": 5, "body": "x"})).unwrap();
        let message = read(json!({"author": "a", "created_at": 5, "kind": "message", "body": "x"})).unwrap();
        assert_eq!(message, (plain.clone(), seq));
        assert_eq!((plain, seq), (Imported::message(UserName::new("a").unwrap(), 5_000, "x".into()), None));
    }

    #[test]
    fn what_users_see_of_a_message_is_brought_into_its_form() {
        let (imported, _) = read(json!({
            "author": "a", "created_at": 5, "body": "hi @bob.", "mentions": ["bob", "carol"],
            "reactions": {"❤": ["zed"], "❤\u{fe0f}": ["ZED", "yan"]},
        }))
        .unwrap();
        let EventKind::Message(message) = imported.event_kind().unwrap() else { panic!("a message") };
        let users: Vec<_> = message.reactions["❤\u{fe0f}"].iter().map(UserName::as_str).collect();
        assert_eq!((message.reactions.len(), users), (1, vec!["zed", "yan"]));
        assert_eq!(message.mentions.iter().map(UserName::as_str).collect::<Vec<_>>(), ["bob"]);
    }

    #[test]
    fn what_is_no_event_is_refused() {
        for value in [
            json!(7),
            json!({"author": "a b", "created_at": 5, "body": "x"}),
            json!({"author": "a", "created_at": -1, "body": "x"}),
            json!({"author": "a", "created_at": 1e300, "body": "x"}),
            json!({"author": "a", "created_at": 5}),
            json!({"author": "a", "created_at": 5, "body": 7}),
            json!({"author": "a", "created_at": 5, "kind": "dance", "body": "x"}),
            json!({"author": "a", "created_at": 5, "kind": "topic"}),
        ] {
            read(value.clone()).expect_err(&value.to_string());
        }
    }

    #[test]
    fn a_room_is_checked() {
        let good = json!({"private": true, "members": [{"username": "a", "role": "owner"}]});
        let info: RoomInfo = serde_json::from_value(good.clone()).unwrap();
        assert_eq!(ImportedRoom::from(info).members.len(), 1);
        for (field, value) in [
            ("topic", json!("\u{1b}")),
            ("topic", json!("x".repeat(TOPIC_BYTES + 1))),
            ("keep_days", json!(-1)),
            ("members", json!([{"username": "a", "role": "muted"}])),
        ] {
            let mut bad = good.clone();
            bad[field] = value;
            serde_json::from_value::<RoomInfo>(bad).expect_err(field);
        }
        // 0 is no limit, here as in `room_settings`.
        let info = json!({"private": true, "keep_days": 0, "keep_events": 0});
        let info: RoomInfo = serde_json::from_value(info).unwrap();
        assert_eq!(ImportedRoom::from(info).retention, Retention::default());
    }
}
