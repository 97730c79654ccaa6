//! A room gets another topic.

use serde::{Deserialize, Serialize};

use super::super::{
    access::Context,
    draft::{Asked, Draft, Write},
    effects::Effects,
    entities::audit::Audited,
    operation::{Checked, Operation},
    reply::Reply,
    rights::Permission,
    rows,
    state::State,
};
use crate::{
    disk::RoomId,
    protocol::{
        audit::Action,
        event::EventKind,
        name::{RoomName, UserName},
        refusal::Refusal,
        request,
    },
};

/// Set the topic of a room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topic {
    pub room: RoomName,
    /// The text; empty for none.
    pub topic: String,
}

impl Write for request::SetTopic {
    type Becomes = Topic;

    fn draft(self, _: &Asked<'_>) -> Result<Draft<Self::Becomes>, Refusal> {
        let request::SetTopic { room, topic } = self;
        Ok(Topic { room, topic: topic.into() }.into())
    }
}

impl Operation for Topic {
    type Plan = RoomId;

    fn audited(&self, state: &State, context: &Context<'_>) -> Option<Audited> {
        Some(Audited::inside(Action::Topic, state, context, &self.room))
    }

    fn check(&self, state: &State, context: &Context<'_>) -> Result<Checked<RoomId>, Refusal> {
        let (id, room) = state.may(context, Permission::Topic, &self.room)?;
        if room.topic == self.topic {
            return Ok(Checked::already(&room.name, room.last_seq));
        }
        Ok(Checked::Change(id))
    }

    fn apply(&self, room: RoomId, state: &mut State, user: &UserName, effects: &mut Effects) -> Reply {
        let author = state.user_or_new(effects, user);
        state.room_mut(room).topic.clone_from(&self.topic);
        effects.rows.push(rows::room(room, state.room_mut(room)));
        state.publish_reply(effects, room, author, EventKind::Topic { topic: self.topic.clone() })
    }
}
