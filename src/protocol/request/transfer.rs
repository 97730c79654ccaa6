//! Requests that take rooms out of a cluster and into another.

use serde::{Deserialize, Serialize};

use crate::protocol::{
    checked::{Emoji, Limit, Seq, Topic},
    event::EventKind,
    export::{ImportEvent, RoomInfo},
    limits::{HISTORY_MAX, IMPORT_MAX, LIST_MAX, Limits},
    name::RoomName,
    refusal::Refusal,
    text::{counted, is_visible},
};

/// Appends events of another time or cluster to a room. The room must end just before the first of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Import {
    /// The room, which is created if it does not exist.
    pub room: RoomName,
    /// The `seq` that the first of the events is to have.
    pub first_seq: Seq,
    /// 1 to [`IMPORT_MAX`] events, in order and without a hole.
    pub events: Vec<ImportEvent>,
}

impl Import {
    pub(super) fn check(&self, limits: &Limits) -> Result<(), Refusal> {
        if self.events.is_empty() || self.events.len() > IMPORT_MAX {
            return Err(Refusal::bad_request(format!("events must be 1 to {IMPORT_MAX}")));
        }
        let wrong = |reason: String| Refusal::bad_request(format!("events: {reason}"));
        for (event, expected) in self.events.iter().zip(self.first_seq.get()..) {
            if let Some(seq) = event.seq.filter(|seq| *seq != expected) {
                return Err(wrong(format!("seq must be {expected} where {seq} stands")));
            }
            let kind = event.event.event_kind();
            let seen = match &kind {
                Ok(EventKind::Reaction { emoji, .. }) => Emoji::new(emoji.as_str()).map(drop),
                Ok(EventKind::Topic { topic }) => Topic::new(topic.as_str()).map(drop),
                Ok(EventKind::Message(message)) => {
                    message.reactions.keys().try_for_each(|emoji| Emoji::new(emoji.as_str()).map(drop))
                }
                _ => Ok(()),
            };
            seen.map_err(|invalid| invalid.of("events: a reaction or topic"))?;
            let (body, may_be_empty) = match &kind {
                Ok(EventKind::Message(message)) => {
                    (message.body.as_str(), message.deleted.is_some() || message.file.is_some())
                }
                Ok(EventKind::Edited { body: Some(body), .. }) => (body.as_str(), false),
                _ => continue,
            };
            if body.len() > limits.body_bytes || body.contains('\0') {
                return Err(wrong(format!(
                    "a body has at most {} and no NUL",
                    counted(limits.body_bytes as u64, "byte")
                )));
            }
            if !may_be_empty && !is_visible(body) {
                return Err(wrong("a body shows nothing".into()));
            }
        }
        Ok(())
    }
}

/// Gives a room the settings and members that it had at another time or in another cluster; not its events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ImportRoom {
    /// The room, which is created if it does not exist.
    pub room: RoomName,
    pub info: Box<RoomInfo>,
}

/// Reads any room, as an operator, or any public one, as an administrator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Export {
    pub room: RoomName,
    /// Events above this `seq`; from the beginning if it is left out.
    #[serde(default)]
    pub after: Seq,
    /// [`HISTORY_MAX`] if it is left out.
    pub limit: Option<Limit<{ HISTORY_MAX as u64 }>>,
}

impl Export {
    /// How many events are asked for.
    pub fn limit(&self) -> usize {
        self.limit.map_or(HISTORY_MAX, |limit| limit.get() as usize)
    }
}

/// Lists the rooms that `export` gives.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExportRooms {
    /// Those whose folded names come after this.
    pub after: Option<RoomName>,
    /// [`HISTORY_MAX`] if it is left out.
    pub limit: Option<Limit<{ LIST_MAX as u64 }>>,
}

impl ExportRooms {
    /// How many are asked for.
    pub fn limit(&self) -> usize {
        self.limit.map_or(HISTORY_MAX, |limit| limit.get() as usize)
    }
}
