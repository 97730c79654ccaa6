//! The user of a room who is the target of a command there.

use std::collections::BTreeMap;

use super::super::{
    access::Context,
    effects::Effects,
    entities::{
        room::{Room, full, is_full, over},
        until::Until,
        user_id::UserId,
    },
    operation::Checked,
    rights::{Access, Permission, RoomRole},
    state::State,
};
use crate::{
    disk::{RoomId, Row},
    protocol::{
        name::{RoomName, UserName},
        refusal::{Code, Refusal},
    },
};

/// The target of a command, and what the room knows of them.
pub(super) struct Target<'s> {
    /// The number of the room.
    pub room_id: RoomId,
    pub room: &'s Room,
    /// The user's number; `None` for a name that the state does not know yet.
    pub id: Option<UserId>,
    pub role: RoomRole,
    pub is_member: bool,
    /// The rights of the user who acts.
    pub actor: Access,
    name: &'s UserName,
    actor_name: &'s UserName,
}

impl Target<'_> {
    pub fn must_be_member(&self) -> Result<(), Refusal> {
        if self.is_member {
            return Ok(());
        }
        let reason = format!("{} is not a member of {}", self.name, self.room.name);
        Err(Refusal::new(Code::NotFound, reason))
    }

    /// The user must be below the one who acts, and another user.
    pub fn must_be_outranked(&self) -> Result<(), Refusal> {
        let is_self = self.name.key() == self.actor_name.key();
        if !is_self && self.actor.outranks(self.role) {
            return Ok(());
        }
        let reason = format!("{} has no right over {} in {}", self.actor_name, self.name, self.room.name);
        Err(Refusal::new(Code::Forbidden, reason))
    }
}

/// The banned or the muted users of a room, each until some time.
pub(super) type Restricted = BTreeMap<UserId, Until>;

impl Target<'_> {
    /// The check of restricting the user until then: a room may have `most` of these `restrictions`.
    pub fn restricted(
        &self,
        list: &Restricted,
        seconds: Option<u32>,
        now_ms: u64,
        (most, restrictions): (usize, &str),
    ) -> Result<Checked<RoomId>, Refusal> {
        if is_full(list, self.id, now_ms, most) {
            return Err(full(restrictions, self.room));
        }
        let until = self.id.and_then(|id| list.get(&id));
        if seconds.is_none() && until == Some(&Until::Ended) {
            return Ok(Checked::already(&self.room.name, self.room.last_seq));
        }
        Ok(Checked::Change(self.room_id))
    }

    /// The check of ending the restriction.
    pub fn set_free(&self, list: &Restricted) -> Checked<RoomId> {
        if self.id.is_some_and(|id| list.contains_key(&id)) {
            return Checked::Change(self.room_id);
        }
        Checked::already(&self.room.name, self.room.last_seq)
    }
}

/// Restricts a user until then, and forgets those whose time is over. `row` makes the row of one.
pub(super) fn restrict(
    list: &mut Restricted,
    user: UserId,
    until: Until,
    effects: &mut Effects,
    row: impl Fn(UserId, Option<Until>) -> Row,
) {
    for other in over(list, effects.created_at_ms).filter(|other| *other != user) {
        list.remove(&other);
        effects.rows.push(row(other, None));
    }
    if list.insert(user, until) != Some(until) {
        effects.rows.push(row(user, Some(until)));
    }
}

impl State {
    /// The user `name` in a room in which the user who asks has `permission`.
    pub(super) fn target_in<'s>(
        &'s self,
        context: &Context<'s>,
        permission: Permission,
        room: &RoomName,
        name: &'s UserName,
    ) -> Result<Target<'s>, Refusal> {
        let (room_id, room) = self.may(context, permission, room)?;
        let id = self.user_id(&name.key());
        Ok(Target {
            room_id,
            room,
            id,
            role: self.access(room, id, context.now_ms).role,
            is_member: id.is_some_and(|id| room.members.contains_key(&id)),
            actor: self.access(room, context.id, context.now_ms),
            name,
            actor_name: context.user,
        })
    }

    /// The numbers of the user who acts and of the target, and the target's name in the case of its first
    /// use.
    pub(super) fn actor_and_target(
        &mut self,
        effects: &mut Effects,
        user: &UserName,
        target: &UserName,
    ) -> (UserId, UserId, UserName) {
        let actor = self.user_or_new(effects, user);
        let target = self.user_or_new(effects, target);
        (actor, target, self.user_name(target))
    }
}
