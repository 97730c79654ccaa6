//! A user is a guest for the first time.

use serde::{Deserialize, Serialize};

use super::super::{
    access::Context,
    effects::Effects,
    operation::{Checked, Operation},
    reply::Reply,
    rights::ClusterPermission,
    state::State,
};
use crate::protocol::{name::UserName, refusal::Refusal};

/// The first login of a guest of this name: from now on others can write to it. The login is acknowledged
/// after that, so no server refuses a message to a guest who is online.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestLogin;

impl Operation for GuestLogin {
    type Plan = ();

    fn permission(&self) -> ClusterPermission {
        ClusterPermission::LogIn
    }

    fn check(&self, state: &State, context: &Context<'_>) -> Result<Checked<()>, Refusal> {
        state.may_begin_as(context.user, context.now_ms).map(Checked::Change)
    }

    fn apply(&self, (): (), state: &mut State, user: &UserName, effects: &mut Effects) -> Reply {
        let id = state.user_or_new(effects, user);
        state.account_reply(id)
    }
}
