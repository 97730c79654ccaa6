//! A session of an account begins, is used, ends.

use serde::{Deserialize, Serialize};

use super::super::{
    access::{Context, banned_from_cluster, reserved},
    authority::Authority,
    effects::{Effects, SessionFilter},
    entities::{
        account::{Holder, SESSIONS_MAX, Session, oldest},
        user_id::UserId,
    },
    operation::{Checked, Operation},
    reply::Reply,
    rights::{ClusterPermission, ClusterRole},
    rows,
    state::State,
};
use crate::protocol::{
    credential::{TokenHash, Verifier},
    name::UserName,
    refusal::{Code, Refusal},
};

pub use crate::protocol::request::Logout;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Login {
    /// The password that was checked is the one that was set by this log entry.
    pub password_rev: u64,
    pub token: TokenHash,
    /// When the session ends at the latest, milliseconds since the Unix epoch.
    pub expires_ms: u64,
    /// The same password, hashed with today's parameters.
    pub rehashed: Option<Box<Verifier>>,
}

/// Note that the session is in use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Touch;

impl Operation for Login {
    type Plan = UserId;

    fn permission(&self) -> ClusterPermission {
        ClusterPermission::LogIn
    }

    fn check(&self, state: &State, context: &Context<'_>) -> Result<Checked<UserId>, Refusal> {
        let (id, account) = state.check_password_rev(context, self.password_rev)?;
        if account.is_banned(context.now_ms) {
            return Err(banned_from_cluster(context.user));
        }
        Ok(Checked::Change(id))
    }

    fn apply(&self, id: UserId, state: &mut State, _: &UserName, effects: &mut Effects) -> Reply {
        if let Some(rehashed) = &self.rehashed {
            // It is the same password, so `password_rev` stays: a user who was just checked against the old
            // verifier is not refused.
            state.user_mut(id).account.holder = Holder::Person(rehashed.clone());
            state.account_changed(effects, id);
        }
        let sessions = &state.user_mut(id).sessions;
        if sessions.len() >= SESSIONS_MAX
            && let Some(oldest) = oldest(sessions)
        {
            let reason = "there were too many sessions of this account";
            state.end_sessions(effects, id, SessionFilter::One(oldest), reason);
        }
        let session = Session { used_ms: effects.created_at_ms, expires_ms: Some(self.expires_ms) };
        state.begin_session(effects, id, self.token, session);
        state.account_reply(id)
    }
}

impl Operation for Touch {
    type Plan = (UserId, TokenHash);

    fn permission(&self) -> ClusterPermission {
        ClusterPermission::KeepAccount
    }

    fn check(&self, _: &State, context: &Context<'_>) -> Result<Checked<Self::Plan>, Refusal> {
        own_session(context).map(Checked::Change)
    }

    fn apply(
        &self,
        (id, token): Self::Plan,
        state: &mut State,
        _: &UserName,
        effects: &mut Effects,
    ) -> Reply {
        if let Some(session) = state.user_mut(id).sessions.get_mut(&token) {
            session.used_ms = session.used_ms.max(effects.created_at_ms);
            effects.rows.push(rows::session(id, token, Some(session)));
        }
        state.account_reply(id)
    }
}

impl Operation for Logout {
    type Plan = (UserId, TokenHash);

    fn permission(&self) -> ClusterPermission {
        ClusterPermission::KeepAccount
    }

    fn check(&self, _: &State, context: &Context<'_>) -> Result<Checked<Self::Plan>, Refusal> {
        own_session(context).map(Checked::Change)
    }

    fn apply(
        &self,
        (id, token): Self::Plan,
        state: &mut State,
        _: &UserName,
        effects: &mut Effects,
    ) -> Reply {
        let which = if self.everywhere { SessionFilter::All } else { SessionFilter::One(token) };
        state.end_sessions(effects, id, which, "logged out");
        state.account_reply(id)
    }
}

/// The session by which the user acts.
pub(super) fn own_session(context: &Context<'_>) -> Result<(UserId, TokenHash), Refusal> {
    match (context.id, context.authority) {
        (Some(user), Authority::Session(token)) => Ok((user, token)),
        _ => {
            let reason = reserved(ClusterPermission::KeepAccount, ClusterRole::Guest);
            Err(Refusal::new(Code::Forbidden, reason))
        }
    }
}
