//! Bans of a user from a room, and their end.

use serde::{Deserialize, Serialize};

use super::{
    super::{
        access::Context,
        draft::{Asked, Draft, OneOf, Write},
        effects::Effects,
        entities::audit::Audited,
        operation::{Checked, Operation},
        reply::Reply,
        rights::{ClusterPermission, Permission},
        rows,
        state::State,
    },
    cluster_ban::{ClusterBan, ClusterUnban},
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

/// Users who may be banned from one room.
const BANNED_MAX: usize = 10_000;

/// End a membership and keep the user out; also one who is not a member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ban {
    pub room: RoomName,
    pub username: UserName,
    /// For how long; `None` until they are unbanned.
    pub seconds: Option<u32>,
}

/// Let a banned user in again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unban {
    pub room: RoomName,
    pub username: UserName,
}

/// What a ban needs in the cluster: only an administrator bans from the whole cluster.
fn needs(room: Option<&RoomName>) -> ClusterPermission {
    if room.is_some() { ClusterPermission::UseRooms } else { ClusterPermission::Administer }
}

impl Write for request::Ban {
    type Becomes = OneOf<Ban, ClusterBan>;

    fn needs(&self) -> ClusterPermission {
        needs(self.room.as_ref())
    }

    fn draft(self, _: &Asked<'_>) -> Result<Draft<Self::Becomes>, Refusal> {
        let request::Ban { room, username, seconds } = self;
        let seconds = seconds.map(u32::from);
        Ok(match room {
            Some(room) => OneOf::First(Ban { room, username, seconds }),
            None => OneOf::Second(ClusterBan { username, seconds }),
        }
        .into())
    }
}

impl Write for request::Unban {
    type Becomes = OneOf<Unban, ClusterUnban>;

    fn needs(&self) -> ClusterPermission {
        needs(self.room.as_ref())
    }

    fn draft(self, _: &Asked<'_>) -> Result<Draft<Self::Becomes>, Refusal> {
        let request::Unban { room, username } = self;
        Ok(match room {
            Some(room) => OneOf::First(Unban { room, username }),
            None => OneOf::Second(ClusterUnban { username }),
        }
        .into())
    }
}

impl Operation for Ban {
    type Plan = RoomId;

    fn audited(&self, state: &State, context: &Context<'_>) -> Option<Audited> {
        Some(
            Audited::inside(Action::Ban, state, context, &self.room).to(&self.username).lasting(self.seconds),
        )
    }

    fn names(&self) -> Vec<UserName> {
        vec![self.username.clone()]
    }

    fn check(&self, state: &State, context: &Context<'_>) -> Result<Checked<RoomId>, Refusal> {
        let target = state.target_in(context, Permission::Ban, &self.room, &self.username)?;
        state.may_name(&self.names())?;
        target.must_be_outranked()?;
        target.restricted(&target.room.banned, self.seconds, context.now_ms, (BANNED_MAX, "bans"))
    }

    fn apply(&self, id: RoomId, state: &mut State, user: &UserName, effects: &mut Effects) -> Reply {
        let (author, banned, username) = state.actor_and_target(effects, user, &self.username);
        let until = effects.until(self.seconds);
        let room = state.room_mut(id);
        restrict(&mut room.banned, banned, until, effects, |user, until| rows::banned(id, user, until));
        if room.invited.remove(&banned).is_some() {
            effects.rows.push(rows::invited(id, banned, None));
        }
        let is_member = room.members.contains_key(&banned);
        let kind = EventKind::Banned { username, seconds: self.seconds };
        let reply = state.publish_reply(effects, id, author, kind);
        if is_member {
            state.end_membership(effects, banned, id);
        }
        state.send_bots_out(effects, id, author, banned);
        reply
    }
}

impl Operation for Unban {
    type Plan = RoomId;

    fn audited(&self, state: &State, context: &Context<'_>) -> Option<Audited> {
        Some(Audited::inside(Action::Unban, state, context, &self.room).to(&self.username))
    }

    fn names(&self) -> Vec<UserName> {
        vec![self.username.clone()]
    }

    fn check(&self, state: &State, context: &Context<'_>) -> Result<Checked<RoomId>, Refusal> {
        let target = state.target_in(context, Permission::Ban, &self.room, &self.username)?;
        Ok(target.set_free(&target.room.banned))
    }

    fn apply(&self, room: RoomId, state: &mut State, user: &UserName, effects: &mut Effects) -> Reply {
        let (author, unbanned, username) = state.actor_and_target(effects, user, &self.username);
        effects.rows.push(rows::banned(room, unbanned, None));
        state.room_mut(room).banned.remove(&unbanned);
        state.publish_reply(effects, room, author, EventKind::Unbanned { username })
    }
}
