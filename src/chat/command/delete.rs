//! A message is deleted, by its author or by a user who keeps order in the room.

use serde::{Deserialize, Serialize};

use super::super::{
    access::Context,
    draft::{Asked, Draft, Write},
    effects::Effects,
    entities::audit::Audited,
    message::StoredMessage,
    operation::{Checked, Operation},
    reply::Reply,
    rights::Permission,
    state::State,
};
use crate::protocol::{
    audit::Action,
    event::{EventKind, Message},
    name::{RoomName, UserName},
    refusal::Refusal,
    request,
};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delete {
    pub room: RoomName,
    pub seq: u64,
}

impl Write for request::Delete {
    type Becomes = Delete;

    fn draft(self, _: &Asked<'_>) -> Result<Draft<Self::Becomes>, Refusal> {
        let request::Delete { room, seq } = self;
        Ok(Delete { room, seq: seq.get() }.into())
    }
}

impl Operation for Delete {
    type Plan = StoredMessage;

    fn audited(&self, state: &State, context: &Context<'_>) -> Option<Audited> {
        let (target, _) = context.evidence.message(&self.room).ok()?;
        let is_own = target.author.key() == context.user.key();
        let audited = || Audited::inside(Action::Delete, state, context, &self.room).to(&target.author);
        (!is_own).then(|| audited().with(format!("#{}", self.seq)))
    }

    fn target(&self) -> Option<(&RoomName, u64)> {
        Some((&self.room, self.seq))
    }

    fn check(&self, state: &State, context: &Context<'_>) -> Result<Checked<StoredMessage>, Refusal> {
        // First whether the user may see the room at all: else the refusal would show what is in it.
        state.may(context, Permission::See, &self.room)?;
        let (target, message) = context.evidence.message(&self.room)?;
        let is_own = target.author.key() == context.user.key();
        let permission = if is_own { Permission::DeleteOwn } else { Permission::DeleteOthers };
        let (room, found) = state.may(context, permission, &self.room)?;
        if let Some(seq) = message.deleted {
            return Ok(Checked::already(&found.name, seq));
        }
        Ok(Checked::Change(StoredMessage::of(context, room, target)))
    }

    fn apply(&self, plan: StoredMessage, state: &mut State, user: &UserName, effects: &mut Effects) -> Reply {
        let StoredMessage { room, ref target, .. } = plan;
        let user = state.user_or_new(effects, user);
        let event = state.publish(effects, room, user, EventKind::Deleted { target: target.seq });
        state.note_deletion(effects, room, target.seq);
        let file = match &target.kind {
            EventKind::Message(message) => message.file.as_ref().map(|file| file.file_id),
            _ => None,
        };
        effects.replace_text(&plan, |message| {
            *message = Message {
                client_msg_id: std::mem::take(&mut message.client_msg_id),
                reply_to: message.reply_to,
                deleted: Some(event.seq),
                ..Message::default()
            };
        });
        if let Some(file) = file {
            state.hide_file(effects, file, room, |seq| seq == target.seq);
        }
        Reply::placed(&event)
    }
}
