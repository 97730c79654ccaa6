//! A user is invited to a room, or the invitation is taken back.

use serde::{Deserialize, Serialize};

use super::super::{
    access::Context,
    draft::{Asked, Draft, Write},
    effects::{Effects, Invitation},
    entities::{room::full, user_id::UserId},
    operation::{Checked, Operation},
    reply::Reply,
    rights::{Permission, RoomRole},
    rows,
    state::State,
};
use crate::{
    disk::RoomId,
    protocol::{
        event::EventKind,
        name::{RoomName, UserName},
        refusal::{Code, Refusal},
        request,
    },
};

pub use crate::protocol::request::Uninvite;

/// Invitations that may be open in one room.
const INVITED_MAX: usize = 1_000;
/// How many of them may be from one member who does not keep order there.
pub(crate) const INVITED_BY_ONE_MAX: usize = 50;

/// Let a user into a private room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invite {
    pub room: RoomName,
    pub username: UserName,
    /// Whether they were online when they were invited.
    pub is_here: bool,
}

impl Write for request::Invite {
    type Becomes = Invite;

    fn draft(self, asked: &Asked<'_>) -> Result<Draft<Self::Becomes>, Refusal> {
        let request::Invite { room, username } = self;
        let is_here = (asked.is_online)(&username);
        Ok(Invite { room, username, is_here }.into())
    }
}

impl Operation for Invite {
    type Plan = RoomId;

    fn names(&self) -> Vec<UserName> {
        vec![self.username.clone()]
    }

    fn check(&self, state: &State, context: &Context<'_>) -> Result<Checked<RoomId>, Refusal> {
        let target = state.target_in(context, Permission::Invite, &self.room, &self.username)?;
        let room = target.room;
        if target.role == RoomRole::Banned {
            let reason = format!("{} is banned from {}; unban them first", self.username, room.name);
            return Err(Refusal::new(Code::Forbidden, reason));
        }
        state.must_be_open(&self.username)?;
        state.may_name(&self.names())?;
        if target.is_member || target.role == RoomRole::Invited {
            let (room, seq, is_known) =
                (room.name.clone(), room.last_seq, state.is_known(&self.username, self.is_here));
            return Ok(Checked::Unchanged(Reply::Invited { room, seq, duplicate: true, is_known }));
        }
        if room.invited.len() >= INVITED_MAX {
            return Err(full("invitations", room));
        }
        let keeps_order = target.actor.allows(Permission::Kick);
        let mine = || room.invited.values().filter(|by| Some(**by) == context.id).count();
        if !keeps_order && mine() >= INVITED_BY_ONE_MAX {
            let reason =
                format!("{INVITED_BY_ONE_MAX} of those invited to {} wait for an answer to you", room.name);
            return Err(Refusal::new(Code::Forbidden, reason));
        }
        Ok(Checked::Change(target.room_id))
    }

    fn apply(&self, room: RoomId, state: &mut State, user: &UserName, effects: &mut Effects) -> Reply {
        let is_known = state.is_known(&self.username, self.is_here);
        let (by, invited, username) = state.actor_and_target(effects, user, &self.username);
        state.room_mut(room).invited.insert(invited, by);
        effects.rows.push(rows::invited(room, invited, Some(by)));
        state.tell_of_invitation(effects, room, invited, by, true);
        let event = state.publish(effects, room, by, EventKind::Invited { username });
        Reply::Invited { room: event.room.clone(), seq: event.seq, duplicate: false, is_known }
    }
}

impl Operation for Uninvite {
    type Plan = RoomId;

    fn names(&self) -> Vec<UserName> {
        vec![self.username.clone()]
    }

    fn check(&self, state: &State, context: &Context<'_>) -> Result<Checked<RoomId>, Refusal> {
        let target = state.target_in(context, Permission::Invite, &self.room, &self.username)?;
        let room = target.room;
        let Some(by) = target.id.and_then(|id| room.invited.get(&id)) else {
            return Ok(Checked::already(&room.name, room.last_seq));
        };
        if Some(*by) != context.id && !target.actor.allows(Permission::Kick) {
            let reason =
                format!("it was not {} who has invited {} to {}", context.user, self.username, room.name);
            return Err(Refusal::new(Code::Forbidden, reason));
        }
        Ok(Checked::Change(target.room_id))
    }

    fn apply(&self, room: RoomId, state: &mut State, user: &UserName, effects: &mut Effects) -> Reply {
        let (by, invited, username) = state.actor_and_target(effects, user, &self.username);
        state.room_mut(room).invited.remove(&invited);
        effects.rows.push(rows::invited(room, invited, None));
        state.tell_of_invitation(effects, room, invited, by, false);
        state.publish_reply(effects, room, by, EventKind::Uninvited { username })
    }
}

impl State {
    fn tell_of_invitation(
        &mut self,
        effects: &mut Effects,
        room: RoomId,
        user: UserId,
        by: UserId,
        invited: bool,
    ) {
        let (room_id, room) = (room, self.room_mut(room).name.clone());
        let (user, by) = (self.user_name(user).key(), self.user_name(by));
        effects.invitations.push(Invitation { user, room, room_id, by, invited });
    }
}
