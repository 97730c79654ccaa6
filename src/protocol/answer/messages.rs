//! Answers to requests about messages.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::protocol::{
    event::{Event, EventKind},
    name::{RoomName, UserName},
    status::Progress,
};

/// About how many bytes a hit takes beside its texts.
const HIT_BYTES: usize = 256;

/// The answer to a `chat`: the place of the message, which never changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentAnswer {
    /// The sender's name for the message.
    pub client_msg_id: String,
    pub room: RoomName,
    /// Its place in the room.
    pub seq: u64,
    /// The Lamport timestamp it was given.
    #[serde(default)]
    pub lamport_timestamp: u64,
    /// Whether it had that place already.
    #[serde(default)]
    pub duplicate: bool,
}

/// The answer to `history`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HistoryPage {
    /// The room, in the case it was created with.
    pub room: RoomName,
    /// The events, oldest first, each as the database keeps it.
    pub events: Vec<Box<RawValue>>,
    /// The first event that the room still has.
    #[serde(default)]
    pub first_seq: u64,
    /// The newest event of the room.
    #[serde(default)]
    pub last_seq: u64,
    /// Whether there are more in the direction asked for.
    #[serde(default)]
    pub more: bool,
    /// Whether this server has lost the majority, so that newer events may exist elsewhere.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stale: bool,
}

/// The answer to `search`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SearchPage {
    /// Set if the search took too long and was ended: it goes on with this as `before`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<u64>,
    /// The messages, newest first.
    pub hits: Vec<Hit>,
    /// Whether it was ended so.
    #[serde(default)]
    pub more: bool,
    /// Set while the index is made anew: the search did not see what is not in it yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub indexing: Option<Progress>,
    /// Whether this server has lost the majority, so that newer messages may exist elsewhere.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stale: bool,
}

/// What a search found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hit {
    /// The message, with its room, as history shows it.
    #[serde(flatten)]
    pub event: Event,
    /// A piece of its text around what was looked for.
    pub snippet: String,
}

impl Hit {
    /// About how many bytes it takes when it is written out.
    pub(super) fn weight(&self) -> usize {
        let EventKind::Message(message) = &self.event.kind else { return HIT_BYTES + self.snippet.len() };
        let names = |names: &[UserName]| names.iter().map(|name| name.as_str().len() + 3).sum::<usize>();
        let reactions = message.reactions.iter().map(|(emoji, users)| emoji.len() + 8 + names(users));
        HIT_BYTES
            + self.snippet.len()
            + message.body.len()
            + names(&message.mentions)
            + reactions.sum::<usize>()
    }
}
