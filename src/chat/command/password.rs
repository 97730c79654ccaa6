//! An account gets another password: its user changes it, or an administrator sets it.

use serde::{Deserialize, Serialize};

use super::{
    super::{
        access::Context,
        account::no_account,
        draft::{Asked, Draft, Write},
        effects::{Effects, SessionFilter},
        entities::{
            account::{Holder, Session},
            audit::Audited,
            user_id::UserId,
        },
        operation::{Checked, Operation},
        reply::Reply,
        rights::ClusterPermission,
        secret::{Made, Secret},
        state::State,
    },
    session::own_session,
};
use crate::protocol::{
    audit::Action,
    credential::{TokenHash, Verifier},
    name::UserName,
    refusal::Refusal,
    request,
};

/// Give the own account another password; its sessions end, and the one that asks goes on under another
/// token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangePassword {
    /// The old password that was checked is the one that was set by this log entry.
    pub password_rev: u64,
    /// What checks the new one.
    pub password: Box<Verifier>,
    /// The token of the new session.
    pub token: TokenHash,
    /// When that session ends at the latest, milliseconds since the Unix epoch.
    pub expires_ms: u64,
}

/// Give a user's account another password; its sessions end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetPassword {
    pub username: UserName,
    /// What checks the new password.
    pub password: Box<Verifier>,
}

impl Write for request::ChangePassword {
    type Becomes = ChangePassword;

    fn needs(&self) -> ClusterPermission {
        ClusterPermission::KeepAccount
    }

    fn draft(self, asked: &Asked<'_>) -> Result<Draft<Self::Becomes>, Refusal> {
        let request::ChangePassword { old: password, new } = self;
        let (verifier, password_rev) = asked.own_password();
        let secret = Secret::Own { password, verifier, new: Some(new.into()) };
        let (password, token) = (Verifier::unmade(), TokenHash::undrawn());
        Ok(Draft::with(ChangePassword { password_rev, password, token, expires_ms: 0 }, secret))
    }
}

impl Write for request::SetPassword {
    type Becomes = SetPassword;

    fn needs(&self) -> ClusterPermission {
        ClusterPermission::Administer
    }

    fn draft(self, _: &Asked<'_>) -> Result<Draft<Self::Becomes>, Refusal> {
        let request::SetPassword { username, password } = self;
        Ok(Draft::with(SetPassword { username, password: Verifier::unmade() }, Secret::Set(password.into())))
    }
}

impl Operation for ChangePassword {
    type Plan = UserId;

    fn complete(&mut self, made: Made) {
        match made {
            Made::Verifier(password) => self.password = password,
            Made::Session(token, expires_ms) => (self.token, self.expires_ms) = (token, expires_ms),
            Made::Entry(_) | Made::TokenHash(_) => {}
        }
    }

    fn permission(&self) -> ClusterPermission {
        ClusterPermission::KeepAccount
    }

    fn ends_trust(&self) -> bool {
        true
    }

    fn check(&self, state: &State, context: &Context<'_>) -> Result<Checked<Self::Plan>, Refusal> {
        state.check_password_rev(context, self.password_rev)?;
        own_session(context).map(|(id, _)| Checked::Change(id))
    }

    fn apply(&self, id: UserId, state: &mut State, _: &UserName, effects: &mut Effects) -> Reply {
        let session = Session { used_ms: effects.created_at_ms, expires_ms: Some(self.expires_ms) };
        state.begin_session(effects, id, self.token, session);
        state.change_password(effects, id, &self.password, SessionFilter::AllBut(self.token));
        state.account_reply(id)
    }
}

impl Operation for SetPassword {
    type Plan = ();

    fn audited(&self, _: &State, _: &Context<'_>) -> Option<Audited> {
        Some(Audited::of(Action::SetPassword).to(&self.username))
    }

    fn complete(&mut self, made: Made) {
        if let Made::Verifier(password) = made {
            self.password = password;
        }
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

    fn check(&self, state: &State, _: &Context<'_>) -> Result<Checked<()>, Refusal> {
        if !state.has_password(&self.username) {
            return Err(no_account(&self.username));
        }
        Ok(Checked::Change(()))
    }

    fn apply(&self, (): (), state: &mut State, _: &UserName, effects: &mut Effects) -> Reply {
        let id = state.user_or_new(effects, &self.username);
        state.change_password(effects, id, &self.password, SessionFilter::All);
        state.account_reply(id)
    }
}

impl State {
    fn change_password(
        &mut self,
        effects: &mut Effects,
        id: UserId,
        password: &Verifier,
        ends: SessionFilter,
    ) {
        let account = &mut self.user_mut(id).account;
        account.holder = Holder::Person(Box::new(password.clone()));
        account.password_rev = effects.index;
        self.account_changed(effects, id);
        self.end_sessions(effects, id, ends, "the password was changed");
    }
}
