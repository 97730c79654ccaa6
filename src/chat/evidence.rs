//! What of a room's history a command needs to be decided.
//!
//! The state keeps no messages. Whoever applies a command (or asks beforehand whether it would be allowed)
//! looks up the events that [`State::wanted`] and [`Evidence::wanted`] name, and hands them in. History is
//! replicated like the state, so every server hands in the same.

use std::sync::Arc;

use super::{Action, state::State};
use crate::{
    protocol::event::{Event, EventKind, Message},
    replica::storage::RoomId,
};

/// Events of a room's history, as they are stored when a command is decided.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    /// The message that the command is about.
    pub target: Option<Arc<Event>>,
    /// The newest edit of that message.
    pub last_edit: Option<Arc<Event>>,
}

impl Evidence {
    /// The edit that has to be looked up once the target is known.
    pub fn wanted(&self) -> Option<u64> {
        self.message()?.edited
    }

    /// The target, where it is a message.
    pub fn message(&self) -> Option<&Message> {
        match &self.target.as_ref()?.kind {
            EventKind::Message(message) => Some(message),
            _ => None,
        }
    }
}

impl State {
    /// The event that has to be looked up before `action` can be decided.
    pub fn wanted(&self, action: &Action) -> Option<(RoomId, u64)> {
        let (Action::Edit { room, seq, .. } | Action::Delete { room, seq } | Action::React { room, seq, .. }) =
            action
        else {
            return None;
        };
        Some((self.room_id(&room.key())?, *seq))
    }
}
