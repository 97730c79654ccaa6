//! A member leaves a room.

use super::super::{
    access::Context,
    effects::Effects,
    operation::{Checked, Operation},
    reply::Reply,
    rights::Permission,
    state::State,
};
use crate::{
    disk::RoomId,
    protocol::{name::UserName, refusal::Refusal},
};

pub use crate::protocol::request::Leave;

impl Operation for Leave {
    type Plan = RoomId;

    fn check(&self, state: &State, context: &Context<'_>) -> Result<Checked<RoomId>, Refusal> {
        let (room, _) = state.may(context, Permission::Leave, &self.room)?;
        Ok(Checked::Change(room))
    }

    fn apply(&self, room: RoomId, state: &mut State, user: &UserName, effects: &mut Effects) -> Reply {
        let user = state.user_or_new(effects, user);
        state.leave(effects, user, room)
    }
}
