//! A member gets another role in a room.

use serde::{Deserialize, Serialize};

use super::{
    super::{
        access::Context,
        draft::{Asked, Draft, OneOf, Write},
        effects::Effects,
        entities::{audit::Audited, room::Role},
        operation::{Checked, Operation},
        reply::Reply,
        rights::Permission,
        state::State,
    },
    Mute,
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

/// Give a member another role. Making a member the owner hands the room over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetRole {
    pub room: RoomName,
    pub username: UserName,
    /// Their role from then on.
    pub role: Role,
}

impl Write for request::SetRole {
    type Becomes = OneOf<SetRole, Mute>;

    fn draft(self, _: &Asked<'_>) -> Result<Draft<Self::Becomes>, Refusal> {
        let request::SetRole { room, username, role } = self;
        Ok(match role.role() {
            Some(role) => OneOf::First(SetRole { room, username, role }),
            None => OneOf::Second(Mute { room, username, seconds: None }),
        }
        .into())
    }
}

impl Operation for SetRole {
    type Plan = RoomId;

    fn audited(&self, state: &State, context: &Context<'_>) -> Option<Audited> {
        Some(
            Audited::inside(Action::SetRole, state, context, &self.room)
                .to(&self.username)
                .with(self.role.as_str()),
        )
    }

    fn names(&self) -> Vec<UserName> {
        vec![self.username.clone()]
    }

    fn check(&self, state: &State, context: &Context<'_>) -> Result<Checked<RoomId>, Refusal> {
        let target = state.target_in(context, Permission::SetRole, &self.room, &self.username)?;
        target.must_be_member()?;
        let role = target.id.and_then(|id| target.room.members.get(&id));
        // A muted member gets the role that they have, and may write again.
        let is_muted = |id| role == Some(&Role::Member) && target.room.is_muted(id, context.now_ms);
        if role == Some(&self.role) && !target.id.is_some_and(is_muted) {
            return Ok(Checked::already(&target.room.name, target.room.last_seq));
        }
        // An owner loses the role only by making another member the owner.
        target.must_be_outranked()?;
        Ok(Checked::Change(target.room_id))
    }

    fn apply(&self, room: RoomId, state: &mut State, user: &UserName, effects: &mut Effects) -> Reply {
        let (author, member, username) = state.actor_and_target(effects, user, &self.username);
        if self.role == Role::Owner {
            state.retire_owners(effects, room);
        }
        state.give_role(effects, room, member, self.role);
        state.unmute(effects, room, member);
        let kind = EventKind::Role { username, role: self.role.as_str().into() };
        state.publish_reply(effects, room, author, kind)
    }
}
