//! An account becomes an administrator's, or stops being one.

use super::super::{
    access::Context,
    account::no_account,
    effects::Effects,
    entities::audit::Audited,
    operation::{Checked, Operation},
    reply::Reply,
    rights::ClusterPermission,
    state::State,
};
use crate::protocol::{audit::Action, name::UserName, refusal::Refusal};

pub use crate::protocol::request::SetAdmin;

impl Operation for SetAdmin {
    type Plan = ();

    fn audited(&self, _: &State, _: &Context<'_>) -> Option<Audited> {
        let detail = if self.admin { "administrator" } else { "no administrator" };
        Some(Audited::of(Action::SetAdmin).to(&self.username).with(detail))
    }

    fn permission(&self) -> ClusterPermission {
        ClusterPermission::Administer
    }

    fn names(&self) -> Vec<UserName> {
        vec![self.username.clone()]
    }

    fn check(&self, state: &State, _: &Context<'_>) -> Result<Checked<()>, Refusal> {
        if !state.has_password(&self.username) {
            return Err(no_account(&self.username));
        }
        Ok(Checked::Change(()))
    }

    fn apply(&self, (): (), state: &mut State, _: &UserName, effects: &mut Effects) -> Reply {
        let id = state.user_or_new(effects, &self.username);
        state.user_mut(id).account.admin = self.admin;
        state.account_changed(effects, id);
        state.account_reply(id)
    }
}
