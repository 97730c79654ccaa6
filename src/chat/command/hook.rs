//! Webhooks: made, removed, and posted by.

use serde::{Deserialize, Serialize};

use super::{
    super::{
        access::{Context, banned_from_cluster},
        draft::{Asked, Draft, Write},
        effects::Effects,
        entities::{audit::Audited, hook::Hook, room::Role, user_id::UserId},
        operation::{Checked, Operation},
        reply::Reply,
        rights::{ClusterPermission, Permission, RoomRole},
        rows,
        secret::{Made, Secret},
        state::State,
    },
    say::{Digests, Sending},
};
use crate::{
    disk::RoomId,
    protocol::{
        audit::Action,
        credential::TokenHash,
        event::Message,
        name::{RoomName, UserName},
        refusal::{Code, Refusal},
        request,
    },
};

/// Webhooks that one room may have.
const HOOKS_PER_ROOM: usize = 50;
/// If a tool sends the same text again within this time, it has missed the answer; later it is a new message.
const REPEAT_MS: u64 = 60_000;

/// Make a web address at which tools post into a room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateHook {
    pub room: RoomName,
    /// The bot that is the author of its messages.
    pub username: UserName,
    pub token: TokenHash,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteHook {
    pub room: RoomName,
    pub token: TokenHash,
}

/// Post by a webhook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookPost {
    pub token: TokenHash,
    pub body: String,
    /// (bot, `client_msg_id`) has one place for ever.
    pub client_msg_id: String,
    /// What the tool calls itself.
    pub display_name: Option<String>,
    /// A digest of what the tool sent: at most one message a minute has the same `repeat_id`, whatever its
    /// `client_msg_id`.
    pub repeat_id: Option<String>,
    /// Whether it is a further piece of the message before.
    pub goes_on: bool,
}

/// A webhook's message: its author, its room, and the digests by which a repeat is recognised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    bot: UserId,
    room: RoomId,
    digests: Digests,
}

impl Write for request::CreateHook {
    type Becomes = CreateHook;

    fn draft(self, _: &Asked<'_>) -> Result<Draft<Self::Becomes>, Refusal> {
        let request::CreateHook { room, username } = self;
        Ok(Draft::with(CreateHook { room, username, token: TokenHash::undrawn() }, Secret::Draw))
    }
}

impl Write for request::DeleteHook {
    type Becomes = DeleteHook;

    fn draft(self, asked: &Asked<'_>) -> Result<Draft<Self::Becomes>, Refusal> {
        let request::DeleteHook { room, hook_id } = self;
        let token = asked.state.hook_of_id(hook_id);
        let no_hook = || Refusal::new(Code::NotFound, format!("{room} has no webhook of that id"));
        let token = token.ok_or_else(no_hook)?;
        Ok(DeleteHook { room, token }.into())
    }
}

impl Write for request::HookPost {
    type Becomes = HookPost;

    fn needs(&self) -> ClusterPermission {
        ClusterPermission::PostByHook
    }

    fn draft(self, asked: &Asked<'_>) -> Result<Draft<Self::Becomes>, Refusal> {
        let request::HookPost { token, body, display_name, client_msg_id, repeat_id, goes_on } = self;
        // A message with a `client_msg_id` needs no `repeat_id`.
        let repeat_id = repeat_id.filter(|_| client_msg_id.is_none()).map(String::from);
        let client_msg_id = client_msg_id.map_or_else(|| asked.own_msg_id(), String::from);
        let display_name = display_name.map(String::from);
        let (token, body) = (token.hash(), body.into());
        Ok(HookPost { token, body, client_msg_id, display_name, repeat_id, goes_on }.into())
    }
}

impl Operation for CreateHook {
    type Plan = RoomId;

    fn audited(&self, state: &State, context: &Context<'_>) -> Option<Audited> {
        Some(Audited::inside(Action::CreateHook, state, context, &self.room).to(&self.username))
    }

    fn makes_bot(&self) -> Option<&UserName> {
        Some(&self.username)
    }

    fn complete(&mut self, made: Made) {
        if let Made::TokenHash(token) = made {
            self.token = token;
        }
    }

    fn check(&self, state: &State, context: &Context<'_>) -> Result<Checked<RoomId>, Refusal> {
        let (id, room) = state.may(context, Permission::Hook, &self.room)?;
        state.may_name_bot(context, &self.username)?;
        // The bot becomes a member, so it must not be banned.
        let bot = state.user_id(&self.username.key());
        if state.access(room, bot, context.now_ms).role == RoomRole::Banned {
            let reason = format!("{} is banned from {}; unban them first", self.username, room.name);
            return Err(Refusal::new(Code::Forbidden, reason));
        }
        if state.hooks.values().filter(|hook| hook.room == id).count() >= HOOKS_PER_ROOM {
            let reason = format!("{} has as many webhooks as a room may have", room.name);
            return Err(Refusal::new(Code::Forbidden, reason));
        }
        Ok(Checked::Change(id))
    }

    /// A webhook speaks as a bot of its own, which becomes a member like any other user.
    fn apply(&self, room: RoomId, state: &mut State, user: &UserName, effects: &mut Effects) -> Reply {
        let made_by = state.user_or_new(effects, user);
        let bot = state.make_bot(effects, made_by, &self.username);
        if !state.room_mut(room).members.contains_key(&bot) {
            state.enter(effects, bot, room, Role::Member);
        }
        let hook = Hook { room, user: bot, made_by };
        effects.rows.push(rows::hook(self.token, Some(&hook)));
        state.hooks.insert(self.token, hook);
        state.placed_now(room)
    }
}

impl Operation for DeleteHook {
    type Plan = RoomId;

    fn audited(&self, state: &State, context: &Context<'_>) -> Option<Audited> {
        Some(Audited::inside(Action::DeleteHook, state, context, &self.room))
    }

    fn check(&self, state: &State, context: &Context<'_>) -> Result<Checked<RoomId>, Refusal> {
        let (id, room) = state.may(context, Permission::Hook, &self.room)?;
        if state.hooks.get(&self.token).is_none_or(|hook| hook.room != id) {
            return Err(Refusal::new(Code::NotFound, format!("{} has no such webhook", room.name)));
        }
        Ok(Checked::Change(id))
    }

    fn apply(&self, room: RoomId, state: &mut State, _: &UserName, effects: &mut Effects) -> Reply {
        state.hooks.remove(&self.token);
        effects.rows.push(rows::hook(self.token, None));
        state.placed_now(room)
    }
}

impl Operation for HookPost {
    type Plan = Plan;

    fn permission(&self) -> ClusterPermission {
        ClusterPermission::PostByHook
    }

    /// The bot of the webhook has to be a member like any other user who says something.
    fn check(&self, state: &State, context: &Context<'_>) -> Result<Checked<Plan>, Refusal> {
        let unknown = || Refusal::new(Code::NotFound, "there is no such webhook");
        let hook = state.hooks.get(&self.token).ok_or_else(unknown)?;
        let room = state.room_by_id(hook.room).ok_or_else(unknown)?;
        let bot = state.users.get(&hook.user).ok_or_else(unknown)?;
        if bot.account.is_banned(context.now_ms) {
            return Err(banned_from_cluster(&bot.name));
        }
        let context = &Context { user: &bot.name, id: Some(hook.user), ..*context };
        let HookPost { body, .. } = self;
        let known_by = self.repeat_id.as_ref().unwrap_or(&self.client_msg_id);
        let sent = Sending::new(&room.name, known_by, body, None, None);
        let before = match self.repeat_id {
            Some(_) => state.sent_lately(context, &sent, REPEAT_MS),
            None => state.sent_before(context.id, &sent, context.now_ms)?,
        };
        if let Some(reply) = before {
            return Ok(Checked::Unchanged(reply));
        }
        let (id, room) = state.may(context, Permission::Say, &room.name)?;
        if !self.goes_on {
            state.check_pace(context, room)?;
        }
        Ok(Checked::Change(Plan { bot: hook.user, room: id, digests: sent.digests }))
    }

    fn apply(
        &self,
        Plan { bot, room, digests }: Plan,
        state: &mut State,
        _: &UserName,
        effects: &mut Effects,
    ) -> Reply {
        let message = Message {
            body: self.body.clone(),
            client_msg_id: self.client_msg_id.clone(),
            display_name: self.display_name.clone(),
            ..Message::default()
        };
        state.say(effects, bot, room, digests, message)
    }
}
