//! A member is removed from a room.

use super::super::{
    access::Context,
    effects::Effects,
    entities::audit::Audited,
    operation::{Checked, Operation},
    reply::Reply,
    rights::Permission,
    state::State,
};
use crate::{
    disk::RoomId,
    protocol::{audit::Action, event::EventKind, name::UserName, refusal::Refusal},
};

pub use crate::protocol::request::Kick;

impl Operation for Kick {
    type Plan = RoomId;

    fn audited(&self, state: &State, context: &Context<'_>) -> Option<Audited> {
        Some(Audited::inside(Action::Kick, state, context, &self.room).to(&self.username))
    }

    fn names(&self) -> Vec<UserName> {
        vec![self.username.clone()]
    }

    fn check(&self, state: &State, context: &Context<'_>) -> Result<Checked<RoomId>, Refusal> {
        let target = state.target_in(context, Permission::Kick, &self.room, &self.username)?;
        target.must_be_member()?;
        target.must_be_outranked()?;
        Ok(Checked::Change(target.room_id))
    }

    fn apply(&self, room: RoomId, state: &mut State, user: &UserName, effects: &mut Effects) -> Reply {
        let (author, kicked, username) = state.actor_and_target(effects, user, &self.username);
        let reply = state.publish_reply(effects, room, author, EventKind::Kicked { username });
        state.end_membership(effects, kicked, room);
        state.send_bots_out(effects, room, author, kicked);
        reply
    }
}
