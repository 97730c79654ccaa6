//! An author gives a message another text.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::super::{
    access::Context,
    draft::{Asked, Draft, Write},
    effects::Effects,
    operation::{Checked, Operation},
    reply::Reply,
    rights::Permission,
    state::State,
};
use crate::{
    disk::RoomId,
    protocol::{
        event::{Event, EventKind},
        name::{RoomName, UserName},
        refusal::{Code, Refusal},
        request,
    },
};

/// Give an own message another text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edit {
    pub room: RoomName,
    pub seq: u64,
    pub body: String,
}

/// The message, and the edit that is its newest until now.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    room: RoomId,
    target: Arc<Event>,
    last_edit: Option<Arc<Event>>,
}

impl Write for request::Edit {
    type Becomes = Edit;

    fn draft(self, _: &Asked<'_>) -> Result<Draft<Self::Becomes>, Refusal> {
        let request::Edit { room, seq, body } = self;
        Ok(Edit { room, seq: seq.get(), body: body.into() }.into())
    }
}

impl Operation for Edit {
    type Plan = Plan;

    fn target(&self) -> Option<(&RoomName, u64)> {
        Some((&self.room, self.seq))
    }

    fn check(&self, state: &State, context: &Context<'_>) -> Result<Checked<Plan>, Refusal> {
        let (room, found) = state.may(context, Permission::Edit, &self.room)?;
        let (target, message) = context.evidence.living_message(&self.room)?;
        if target.author.key() != context.user.key() {
            let reason = format!("{} is {}'s message; only they can edit it", target.seq, target.author);
            return Err(Refusal::new(Code::Forbidden, reason));
        }
        state.must_not_be_blocked(context, &self.room)?;
        if message.body == self.body {
            return Ok(Checked::already(&found.name, message.edited.unwrap_or(target.seq)));
        }
        let last_edit = context.evidence.last_edit.clone();
        Ok(Checked::Change(Plan { room, target: Arc::clone(target), last_edit }))
    }

    fn apply(
        &self,
        Plan { room, target, last_edit }: Plan,
        state: &mut State,
        user: &UserName,
        effects: &mut Effects,
    ) -> Reply {
        let user = state.user_or_new(effects, user);
        let kind = EventKind::Edited { target: target.seq, body: Some(self.body.clone()) };
        let event = state.publish(effects, room, user, kind);
        let mentions = state.mentioned(effects.created_at_ms, room, user, &self.body);
        state.note_edit(effects, room, target.seq, &mentions);
        effects.change_message(room, &target, |message| {
            message.body.clone_from(&self.body);
            message.mentions = mentions;
            message.edited = Some(event.seq);
        });
        effects.empty_edit(room, last_edit.as_deref());
        Reply::placed(&event)
    }
}
