//! The events of a room's history that a command is checked against.
//!
//! The state keeps no messages. To apply an entry, or to check it beforehand, the caller looks up the events
//! that [`State::target_of`](super::State::target_of) and [`Evidence::newest_edit`] name, and passes them in.
//! History is replicated like the state, so every server passes in the same.

use std::sync::Arc;

use crate::protocol::{
    event::{Event, EventKind, Message},
    name::RoomName,
    refusal::{Code, Refusal},
};

/// Events of a room's history, as they are stored when a command is checked.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    /// The event that the command is about.
    pub target: Option<Arc<Event>>,
    /// The newest edit of that message.
    pub last_edit: Option<Arc<Event>>,
}

impl Evidence {
    /// The edit that has to be looked up once the target is known.
    pub fn newest_edit(&self) -> Option<u64> {
        message_of(self.target.as_ref()?)?.edited
    }

    /// The target, which has to be a message of `room`, deleted or not.
    pub(super) fn message(&self, room: &RoomName) -> Result<(&Arc<Event>, &Message), Refusal> {
        let target = self.target.as_ref().ok_or_else(|| {
            Refusal::new(Code::NotFound, format!("{room} has no such event, or not any more"))
        })?;
        let message = message_of(target).ok_or_else(|| {
            Refusal::bad_request(format!("event {} of {} is not a message", target.seq, target.room))
        })?;
        Ok((target, message))
    }

    /// The target, which has to be a message of `room` that still has its text.
    pub(super) fn living_message(&self, room: &RoomName) -> Result<(&Arc<Event>, &Message), Refusal> {
        let (target, message) = self.message(room)?;
        if message.deleted.is_some() {
            let reason = format!("message {} of {room} was deleted", target.seq);
            return Err(Refusal::new(Code::NotFound, reason));
        }
        Ok((target, message))
    }
}

fn message_of(event: &Event) -> Option<&Message> {
    match &event.kind {
        EventKind::Message(message) => Some(message),
        _ => None,
    }
}
