//! A member is muted in a room, or may write again.

use serde::{Deserialize, Serialize};

use super::{
    super::{
        access::Context,
        draft::{Asked, Draft, Write},
        effects::Effects,
        entities::{audit::Audited, room::Role},
        operation::{Checked, Operation},
        reply::Reply,
        rights::Permission,
        rows,
        state::State,
    },
    target::restrict,
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

pub use crate::protocol::request::Unmute;

/// Users who may be muted in one room, those who have left it included.
const MUTED_MAX: usize = 10_000;

/// Let a member read but not write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mute {
    pub room: RoomName,
    pub username: UserName,
    /// For how long; `None` until they are unmuted.
    pub seconds: Option<u32>,
}

impl Write for request::Mute {
    type Becomes = Mute;

    fn draft(self, _: &Asked<'_>) -> Result<Draft<Self::Becomes>, Refusal> {
        let request::Mute { room, username, seconds } = self;
        Ok(Mute { room, username, seconds: seconds.map(u32::from) }.into())
    }
}

impl Operation for Mute {
    type Plan = RoomId;

    fn audited(&self, state: &State, context: &Context<'_>) -> Option<Audited> {
        Some(
            Audited::inside(Action::Mute, state, context, &self.room)
                .to(&self.username)
                .lasting(self.seconds),
        )
    }

    fn names(&self) -> Vec<UserName> {
        vec![self.username.clone()]
    }

    fn check(&self, state: &State, context: &Context<'_>) -> Result<Checked<RoomId>, Refusal> {
        let target = state.target_in(context, Permission::Mute, &self.room, &self.username)?;
        target.must_be_member()?;
        target.must_be_outranked()?;
        target.restricted(&target.room.muted, self.seconds, context.now_ms, (MUTED_MAX, "mutes"))
    }

    fn apply(&self, id: RoomId, state: &mut State, user: &UserName, effects: &mut Effects) -> Reply {
        let (author, muted, username) = state.actor_and_target(effects, user, &self.username);
        // A muted member keeps no order.
        state.give_role(effects, id, muted, Role::Member);
        let until = effects.until(self.seconds);
        let list = &mut state.room_mut(id).muted;
        restrict(list, muted, until, effects, |user, until| rows::muted(id, user, until));
        let kind = EventKind::Muted { username, seconds: self.seconds };
        state.publish_reply(effects, id, author, kind)
    }
}

impl Operation for Unmute {
    type Plan = RoomId;

    fn audited(&self, state: &State, context: &Context<'_>) -> Option<Audited> {
        Some(Audited::inside(Action::Unmute, state, context, &self.room).to(&self.username))
    }

    fn names(&self) -> Vec<UserName> {
        vec![self.username.clone()]
    }

    fn check(&self, state: &State, context: &Context<'_>) -> Result<Checked<RoomId>, Refusal> {
        let target = state.target_in(context, Permission::Mute, &self.room, &self.username)?;
        target.must_be_member()?;
        Ok(target.set_free(&target.room.muted))
    }

    fn apply(&self, room: RoomId, state: &mut State, user: &UserName, effects: &mut Effects) -> Reply {
        let (author, unmuted, username) = state.actor_and_target(effects, user, &self.username);
        state.unmute(effects, room, unmuted);
        state.publish_reply(effects, room, author, EventKind::Unmuted { username })
    }
}
