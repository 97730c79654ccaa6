//! Bots: a user makes an account for a program.

use serde::{Deserialize, Serialize};

use super::super::{
    access::Context,
    draft::{Asked, Draft, Write},
    effects::{Effects, SessionFilter},
    entities::{
        account::{Holder, Session},
        user::User,
        user_id::UserId,
    },
    operation::{Checked, Operation},
    reply::Reply,
    rights::ClusterPermission,
    secret::{Made, Secret},
    state::State,
};
use crate::protocol::{
    credential::TokenHash,
    name::UserName,
    refusal::{Code, Refusal},
    request,
};

/// Bots that one user may have made, those of webhooks included.
pub(crate) const BOTS_MAX: usize = 100;

/// Make a bot, or give an own one another token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateBot {
    pub username: UserName,
    /// The token by which it logs in.
    pub token: TokenHash,
}

impl Write for request::CreateBot {
    type Becomes = CreateBot;

    fn needs(&self) -> ClusterPermission {
        ClusterPermission::MakeBot
    }

    fn draft(self, _: &Asked<'_>) -> Result<Draft<Self::Becomes>, Refusal> {
        Ok(Draft::with(CreateBot { username: self.username, token: TokenHash::undrawn() }, Secret::Draw))
    }
}

impl Operation for CreateBot {
    type Plan = ();

    fn permission(&self) -> ClusterPermission {
        ClusterPermission::MakeBot
    }

    fn makes_bot(&self) -> Option<&UserName> {
        Some(&self.username)
    }

    fn complete(&mut self, made: Made) {
        if let Made::TokenHash(token) = made {
            self.token = token;
        }
    }

    fn check(&self, state: &State, context: &Context<'_>) -> Result<Checked<()>, Refusal> {
        state.may_name_bot(context, &self.username)?;
        Ok(Checked::Change(()))
    }

    fn apply(&self, (): (), state: &mut State, user: &UserName, effects: &mut Effects) -> Reply {
        let made_by = state.user_or_new(effects, user);
        let id = state.make_bot(effects, made_by, &self.username);
        if !state.user_mut(id).sessions.is_empty() {
            // A lost token must not go on opening anything.
            state.end_sessions(effects, id, SessionFilter::All, "the bot was given another token");
        }
        let session = Session { used_ms: effects.created_at_ms, expires_ms: None };
        state.begin_session(effects, id, self.token, session);
        state.account_reply(id)
    }
}

impl State {
    /// Whether the user may have a bot of this name: one that they have made, or a new one.
    pub(super) fn may_name_bot(&self, context: &Context<'_>, username: &UserName) -> Result<(), Refusal> {
        let is_own = |user: &User| match user.account.holder {
            Holder::Bot { made_by } => Some(made_by) == context.id,
            _ => false,
        };
        if self.user(&username.key()).is_some_and(is_own) {
            return Ok(());
        }
        self.must_be_free(username)?;
        self.must_not_be_used(username)?;
        if self.users.values().filter(|user| is_own(user)).count() >= BOTS_MAX {
            let reason = format!("{} has made {BOTS_MAX} bots; no more are allowed", context.user);
            return Err(Refusal::new(Code::Forbidden, reason));
        }
        Ok(())
    }

    /// A bot must not take over what a guest of its name has.
    fn must_not_be_used(&self, name: &UserName) -> Result<(), Refusal> {
        match self.user(&name.key()) {
            Some(User { name, rooms, .. }) if !rooms.is_empty() => {
                Err(Refusal::new(Code::NameTaken, format!("the name {name} is in use by a guest")))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn make_bot(&mut self, effects: &mut Effects, made_by: UserId, username: &UserName) -> UserId {
        let id = self.user_or_new(effects, username);
        if !self.user_mut(id).account.is_registered() {
            self.spell(effects, id, username);
        }
        self.user_mut(id).account.holder = Holder::Bot { made_by };
        self.name_is_used(effects, id);
        self.account_changed(effects, id);
        self.end_sessions(effects, id, SessionFilter::Guests, "the name is a bot's");
        id
    }
}
