//! A user is banned from the whole cluster, or let in again.

use serde::{Deserialize, Serialize};

use super::super::{
    access::Context,
    account::no_account,
    effects::{Effects, SessionFilter},
    entities::{audit::Audited, until::Until},
    operation::{Checked, Operation},
    reply::Reply,
    rights::ClusterPermission,
    state::State,
};
use crate::protocol::{audit::Action, name::UserName, refusal::Refusal};

/// Keep a user out of the cluster. Any name can be banned, a guest's and one that was never used included.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterBan {
    pub username: UserName,
    /// For how long; `None` until they are unbanned.
    pub seconds: Option<u32>,
}

/// Let a user in again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterUnban {
    pub username: UserName,
}

impl Operation for ClusterBan {
    type Plan = ();

    fn audited(&self, _: &State, _: &Context<'_>) -> Option<Audited> {
        Some(Audited::of(Action::Ban).to(&self.username).lasting(self.seconds))
    }

    fn permission(&self) -> ClusterPermission {
        ClusterPermission::Administer
    }

    fn names(&self) -> Vec<UserName> {
        vec![self.username.clone()]
    }

    fn ends_trust(&self) -> bool {
        true
    }

    fn check(&self, _: &State, context: &Context<'_>) -> Result<Checked<()>, Refusal> {
        context.must_be_another(&self.username)?;
        Ok(Checked::Change(()))
    }

    fn apply(&self, (): (), state: &mut State, _: &UserName, effects: &mut Effects) -> Reply {
        let id = state.user_or_new(effects, &self.username);
        let until = Until::after(effects.created_at_ms, self.seconds);
        state.user_mut(id).account.banned = Some(until);
        state.account_changed(effects, id);
        state.end_sessions(effects, id, SessionFilter::All, "banned from this cluster");
        // A user who is let in again gives their bots new tokens.
        for bot in state.end_hooks(effects, id) {
            let reason = "whoever made this bot is banned from this cluster";
            state.end_sessions(effects, bot, SessionFilter::All, reason);
        }
        state.account_reply(id)
    }
}

impl Operation for ClusterUnban {
    type Plan = ();

    fn audited(&self, _: &State, _: &Context<'_>) -> Option<Audited> {
        Some(Audited::of(Action::Unban).to(&self.username))
    }

    fn permission(&self) -> ClusterPermission {
        ClusterPermission::Administer
    }

    fn names(&self) -> Vec<UserName> {
        vec![self.username.clone()]
    }

    fn check(&self, state: &State, _: &Context<'_>) -> Result<Checked<()>, Refusal> {
        if state.user(&self.username.key()).is_none() {
            return Err(no_account(&self.username));
        }
        Ok(Checked::Change(()))
    }

    fn apply(&self, (): (), state: &mut State, _: &UserName, effects: &mut Effects) -> Reply {
        let id = state.user_or_new(effects, &self.username);
        state.user_mut(id).account.banned = None;
        state.account_changed(effects, id);
        state.account_reply(id)
    }
}
