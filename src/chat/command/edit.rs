//! An author gives a message another text.

use serde::{Deserialize, Serialize};

use super::super::{
    access::Context,
    draft::{Asked, Draft, Write},
    effects::Effects,
    message::StoredMessage,
    operation::{Checked, Operation},
    reply::Reply,
    rights::Permission,
    state::State,
};
use crate::protocol::{
    event::EventKind,
    name::{RoomName, UserName},
    refusal::{Code, Refusal},
    request,
};

/// Give an own message another text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edit {
    pub room: RoomName,
    pub seq: u64,
    pub body: String,
}

impl Write for request::Edit {
    type Becomes = Edit;

    fn draft(self, _: &Asked<'_>) -> Result<Draft<Self::Becomes>, Refusal> {
        let request::Edit { room, seq, body } = self;
        Ok(Edit { room, seq: seq.get(), body: body.into() }.into())
    }
}

impl Operation for Edit {
    type Plan = StoredMessage;

    fn target(&self) -> Option<(&RoomName, u64)> {
        Some((&self.room, self.seq))
    }

    fn check(&self, state: &State, context: &Context<'_>) -> Result<Checked<StoredMessage>, Refusal> {
        let (room, found) = state.may(context, Permission::Edit, &self.room)?;
        let (target, message) = context.evidence.living_message(&self.room)?;
        if target.author.key() != context.user.key() {
            let reason = format!("{} is {}'s message; only they can edit it", target.seq, target.author);
            return Err(Refusal::new(Code::Forbidden, reason));
        }
        state.must_not_be_blocked(context, &found.name)?;
        if message.body == self.body {
            return Ok(Checked::already(&found.name, message.edited.unwrap_or(target.seq)));
        }
        Ok(Checked::Change(StoredMessage::of(context, room, target)))
    }

    fn apply(&self, plan: StoredMessage, state: &mut State, user: &UserName, effects: &mut Effects) -> Reply {
        let StoredMessage { room, ref target, .. } = plan;
        let user = state.user_or_new(effects, user);
        let kind = EventKind::Edited { target: target.seq, body: Some(self.body.clone()) };
        let event = state.publish(effects, room, user, kind);
        let mentions = state.mentioned(effects.created_at_ms, room, user, &self.body);
        state.note_edit(effects, room, target.seq, &mentions);
        effects.replace_text(&plan, |message| {
            message.body.clone_from(&self.body);
            message.mentions = mentions;
            message.edited = Some(event.seq);
        });
        Reply::placed(&event)
    }
}
