//! What is said to clients, as values. A server's replica makes them. Each dialect writes a value in its own
//! way, once for all clients of that dialect that get it.

use std::sync::{Arc, OnceLock};

use serde_json::value::RawValue;

use super::{
    answer::{Answer, Push, Signature},
    envelope::AnswerTo,
    event::{Event, in_room},
    name::{RoomName, UserName},
    refusal::Refusal,
};

/// About how many bytes a line takes beside its `data`.
const ENVELOPE_BYTES: usize = 128;

/// Something said to a client, or to many.
#[derive(Debug)]
pub struct Said {
    content: Content,
    bytes: usize,
    line: OnceLock<Arc<[u8]>>,
}

#[derive(Debug)]
pub enum Content {
    /// An answer to a request.
    Answer {
        to: AnswerTo,
        answer: Answer,
        /// The server and its clocks.
        by: Signature,
    },
    /// A push that belongs to no room.
    Push {
        push: Push,
        /// The server and its clocks.
        by: Signature,
    },
    /// Something that happened in a room.
    Event(Pushed),
}

/// An event on its way to the followers of its room: its JSON as it is stored, and its envelope.
#[derive(Debug, Clone)]
pub struct Pushed {
    pub is_message: bool,
    /// The user who did it.
    pub author: UserName,
    pub lamport_timestamp: u64,
    /// The event's own, milliseconds since the Unix epoch.
    pub created_at: u64,
    pub json: Arc<RawValue>,
}

impl Said {
    pub fn answer(to: AnswerTo, answer: impl Into<Answer>, by: Signature) -> Arc<Said> {
        let answer = answer.into();
        let bytes = answer.weight() + to.msg_type.len();
        Said::of(bytes, Content::Answer { to, answer, by })
    }

    pub fn nack(to: AnswerTo, refusal: Refusal, by: Signature) -> Arc<Said> {
        Said::answer(to, refusal, by)
    }

    pub fn push(push: impl Into<Push>, by: Signature) -> Arc<Said> {
        let push = push.into();
        Said::of(push.weight(), Content::Push { push, by })
    }

    /// An event, whose stored JSON is `json`.
    pub fn event(event: &Event, json: Arc<RawValue>) -> Arc<Said> {
        Said::stored(Pushed {
            is_message: event.is_message(),
            author: event.author.clone(),
            lamport_timestamp: event.lamport_timestamp,
            created_at: event.created_at,
            json,
        })
    }

    /// An event as it is stored.
    pub fn stored(event: Pushed) -> Arc<Said> {
        Said::of(event.json.get().len() + event.author.as_str().len(), Content::Event(event))
    }

    /// The same event under another name of its room.
    pub fn in_room(said: &Arc<Said>, room: &RoomName) -> Arc<Said> {
        match &said.content {
            Content::Event(event) => {
                let json = in_room(&event.json, room);
                if json.get() == event.json.get() {
                    return Arc::clone(said);
                }
                Said::stored(Pushed { json: json.into(), ..event.clone() })
            }
            Content::Answer { .. } | Content::Push { .. } => Arc::clone(said),
        }
    }

    fn of(data_bytes: usize, content: Content) -> Arc<Said> {
        Arc::new(Said { content, bytes: ENVELOPE_BYTES + data_bytes, line: OnceLock::new() })
    }

    pub fn content(&self) -> &Content {
        &self.content
    }

    /// The answer and what it answers; `None` of a push.
    pub fn into_answer(self: Arc<Said>) -> Option<(AnswerTo, Answer)> {
        match Arc::try_unwrap(self) {
            Ok(Said { content: Content::Answer { to, answer, .. }, .. }) => Some((to, answer)),
            Err(said) => match &said.content {
                Content::Answer { to, answer, .. } => Some((to.clone(), answer.clone())),
                Content::Push { .. } | Content::Event(_) => None,
            },
            Ok(_) => None,
        }
    }

    /// About how many bytes it has when it is written out. A connection's outbox counts it, so that nothing
    /// is written out for a client that never gets to read it.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Its line: `write` makes it at the first call, for all clients that get it.
    pub fn line(&self, write: impl FnOnce(&Content) -> Vec<u8>) -> Arc<[u8]> {
        self.line.get_or_init(|| write(&self.content).into()).clone()
    }
}
