//! A name gets an account.

use serde::{Deserialize, Serialize};

use super::super::{
    access::Context,
    authority::Authority,
    draft::{Asked, Draft, Write},
    effects::{Effects, SessionFilter},
    entities::{account::Holder, audit::Audited},
    operation::{Checked, Operation},
    reply::Reply,
    rights::ClusterPermission,
    secret::{Made, Secret},
    state::State,
};
use crate::protocol::{audit::Action, credential::Verifier, name::UserName, refusal::Refusal, request};

/// Register an account for the name that asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Register {
    /// What checks its password.
    pub password: Box<Verifier>,
    /// Whether it administers the cluster; only an operator may make such an account.
    pub admin: bool,
}

/// The permission to make an account, of an administrator or not.
fn needs(admin: bool) -> ClusterPermission {
    if admin { ClusterPermission::RegisterAdministrator } else { ClusterPermission::Register }
}

impl Write for request::Register {
    type Becomes = Register;

    fn needs(&self) -> ClusterPermission {
        needs(self.admin)
    }

    fn draft(self, _: &Asked<'_>) -> Result<Draft<Self::Becomes>, Refusal> {
        let request::Register { username, password, admin } = self;
        let command = Register { password: Verifier::unmade(), admin };
        Ok(Draft { named: Some(username), ..Draft::with(command, Secret::Set(password.into())) })
    }
}

impl Operation for Register {
    type Plan = ();

    fn audited(&self, _: &State, context: &Context<'_>) -> Option<Audited> {
        if context.authority != Authority::Operator {
            return None;
        }
        let audited = Audited::of(Action::Register).to(context.user);
        Some(if self.admin { audited.with("administrator") } else { audited })
    }

    fn permission(&self) -> ClusterPermission {
        needs(self.admin)
    }

    fn complete(&mut self, made: Made) {
        if let Made::Verifier(password) = made {
            self.password = password;
        }
    }

    fn check(&self, state: &State, context: &Context<'_>) -> Result<Checked<()>, Refusal> {
        state.may_begin_as(context.user, context.now_ms).map(Checked::Change)
    }

    fn apply(&self, (): (), state: &mut State, user: &UserName, effects: &mut Effects) -> Reply {
        let id = state.user_or_new(effects, user);
        state.spell(effects, id, user);
        let account = &mut state.user_mut(id).account;
        account.holder = Holder::Person(self.password.clone());
        account.password_rev = effects.index;
        account.admin = self.admin;
        state.account_changed(effects, id);
        state.end_sessions(effects, id, SessionFilter::Guests, "the name has been registered");
        state.account_reply(id)
    }
}
