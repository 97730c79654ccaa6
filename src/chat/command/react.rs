//! A member reacts to a message.

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
        emoji,
        event::{Event, EventKind},
        limits::{EMOJI_PER_MESSAGE, REACTIONS_PER_MESSAGE},
        name::{RoomName, UserName},
        refusal::{Code, Refusal},
        request,
    },
};

/// React to a message, or take a reaction back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct React {
    pub room: RoomName,
    pub seq: u64,
    /// The reaction, in its one form.
    pub emoji: String,
    /// Whether to take it back.
    pub remove: bool,
}

impl Write for request::React {
    type Becomes = React;

    fn draft(self, _: &Asked<'_>) -> Result<Draft<Self::Becomes>, Refusal> {
        let request::React { room, seq, emoji, remove } = self;
        Ok(React { room, seq: seq.get(), emoji: emoji::fold(emoji.as_str()), remove }.into())
    }
}

impl Operation for React {
    type Plan = (RoomId, Arc<Event>);

    fn target(&self) -> Option<(&RoomName, u64)> {
        Some((&self.room, self.seq))
    }

    fn check(&self, state: &State, context: &Context<'_>) -> Result<Checked<Self::Plan>, Refusal> {
        let (room, found) = state.may(context, Permission::React, &self.room)?;
        if !self.remove {
            state.must_not_be_blocked(context, &found.name)?;
        }
        let (target, message) = context.evidence.living_message(&self.room)?;
        let reactions = &message.reactions;
        let has = reactions.get(&self.emoji).is_some_and(|users| has_name(users, context.user));
        if has != self.remove {
            return Ok(Checked::already(&found.name, found.last_seq));
        }
        let is_full = !self.remove
            && ((reactions.len() >= EMOJI_PER_MESSAGE && !reactions.contains_key(&self.emoji))
                || reactions.values().map(Vec::len).sum::<usize>() >= REACTIONS_PER_MESSAGE);
        if is_full {
            return Err(Refusal::new(Code::Forbidden, "the message has as many reactions as one may have"));
        }
        Ok(Checked::Change((room, Arc::clone(target))))
    }

    fn apply(
        &self,
        (room, target): Self::Plan,
        state: &mut State,
        user: &UserName,
        effects: &mut Effects,
    ) -> Reply {
        let id = state.user_or_new(effects, user);
        let name = state.user_name(id);
        let kind = EventKind::Reaction { target: target.seq, emoji: self.emoji.clone(), remove: self.remove };
        let event = state.publish(effects, room, id, kind);
        effects.change_message(room, &target, |message| {
            let users = message.reactions.entry(self.emoji.clone()).or_default();
            if self.remove {
                users.retain(|other| other.key() != name.key());
            } else if !has_name(users, &name) {
                users.push(name);
            }
            message.reactions.retain(|_, users| !users.is_empty());
        });
        Reply::placed(&event)
    }
}

fn has_name(names: &[UserName], name: &UserName) -> bool {
    names.iter().any(|other| other.key() == name.key())
}
