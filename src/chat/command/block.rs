//! A user blocks direct messages of another user, or ends that.

use super::super::{
    access::Context,
    account::no_user,
    effects::Effects,
    entities::{user::BLOCKED_MAX, user_id::UserId},
    operation::{Checked, Operation},
    reply::Reply,
    rows,
    state::State,
};
use crate::protocol::{
    name::{RoomName, UserKey, UserName},
    refusal::{Code, Refusal},
};

pub use crate::protocol::request::{Block, Unblock};

impl Operation for Block {
    type Plan = UserId;

    fn check(&self, state: &State, context: &Context<'_>) -> Result<Checked<UserId>, Refusal> {
        if self.username.key() == context.user.key() {
            return Err(Refusal::bad_request("username must be another user's"));
        }
        let other = state.known_user(&self.username)?;
        let blocked = context.id.and_then(|id| state.users.get(&id)).map(|user| &user.blocked);
        if blocked.is_some_and(|blocked| blocked.contains(&other)) {
            return Ok(Checked::Unchanged(state.account_reply(other)));
        }
        if blocked.is_some_and(|blocked| blocked.len() >= BLOCKED_MAX) {
            let reason = format!("you block {BLOCKED_MAX} users; unblock one first");
            return Err(Refusal::new(Code::Forbidden, reason));
        }
        Ok(Checked::Change(other))
    }

    fn apply(&self, other: UserId, state: &mut State, user: &UserName, effects: &mut Effects) -> Reply {
        let user = state.user_or_new(effects, user);
        state.user_mut(user).blocked.insert(other);
        effects.rows.push(rows::blocked(user, other, true));
        state.account_reply(other)
    }
}

impl Operation for Unblock {
    type Plan = UserId;

    fn check(&self, state: &State, context: &Context<'_>) -> Result<Checked<UserId>, Refusal> {
        let other = state.known_user(&self.username)?;
        let user = context.id.and_then(|id| state.users.get(&id));
        if user.is_some_and(|user| user.blocked.contains(&other)) {
            return Ok(Checked::Change(other));
        }
        Ok(Checked::Unchanged(state.account_reply(other)))
    }

    fn apply(&self, other: UserId, state: &mut State, user: &UserName, effects: &mut Effects) -> Reply {
        let user = state.user_or_new(effects, user);
        state.user_mut(user).blocked.remove(&other);
        effects.rows.push(rows::blocked(user, other, false));
        state.account_reply(other)
    }
}

impl State {
    fn known_user(&self, name: &UserName) -> Result<UserId, Refusal> {
        self.user_id(&name.key()).ok_or_else(|| no_user(name))
    }

    /// Whether what the user says in `room` reaches the other one, if it is a direct conversation of theirs.
    pub(super) fn must_not_be_blocked(&self, context: &Context<'_>, room: &RoomName) -> Result<(), Refusal> {
        let Some(other) = self.blocked_by(&context.user.key(), context.id, room) else { return Ok(()) };
        let reason = format!("{other} takes no direct messages from you");
        Err(Refusal::new(Code::Forbidden, reason))
    }

    /// The other one of a direct conversation, if they block the user, or the person who made that bot.
    pub(in super::super) fn blocked_by(
        &self,
        user: &UserKey,
        id: Option<UserId>,
        room: &RoomName,
    ) -> Option<UserName> {
        let id = id?;
        let (one, other) = room.direct_pair()?;
        let other = if one.key() == *user { other } else { one };
        let blocked = &self.user(&other.key())?.blocked;
        (blocked.contains(&id) || blocked.contains(&self.person_of(id))).then_some(other)
    }
}
