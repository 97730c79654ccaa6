//! An account is closed: its user gives it up, or an administrator deletes it.

use serde::{Deserialize, Serialize};

use super::{
    super::{
        access::Context,
        account::no_account,
        draft::{Asked, Draft, Write},
        effects::{Effects, SessionFilter},
        entities::{
            account::{Account, Holder},
            audit::Audited,
            user_id::UserId,
        },
        operation::{Checked, Operation},
        reply::Reply,
        rights::ClusterPermission,
        secret::Secret,
        state::State,
    },
    session::own_session,
};
use crate::{
    disk::RoomId,
    protocol::{audit::Action, name::UserName, refusal::Refusal, request},
};

pub use crate::protocol::request::DeleteAccount;

/// Give the own account up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloseAccount {
    /// The password that was checked is the one that was set by this log entry.
    pub password_rev: u64,
}

impl Write for request::CloseAccount {
    type Becomes = CloseAccount;

    fn needs(&self) -> ClusterPermission {
        ClusterPermission::KeepAccount
    }

    fn draft(self, asked: &Asked<'_>) -> Result<Draft<Self::Becomes>, Refusal> {
        let (verifier, password_rev) = asked.own_password();
        let secret = Secret::Own { password: self.password, verifier, new: None };
        Ok(Draft::with(CloseAccount { password_rev }, secret))
    }
}

impl Operation for CloseAccount {
    type Plan = UserId;

    fn permission(&self) -> ClusterPermission {
        ClusterPermission::KeepAccount
    }

    fn ends_trust(&self) -> bool {
        true
    }

    fn check(&self, state: &State, context: &Context<'_>) -> Result<Checked<UserId>, Refusal> {
        state.check_password_rev(context, self.password_rev)?;
        let (id, _) = own_session(context)?;
        Ok(Checked::Change(id))
    }

    fn apply(&self, id: UserId, state: &mut State, _: &UserName, effects: &mut Effects) -> Reply {
        state.close_account(effects, id);
        state.account_reply(id)
    }
}

impl Operation for DeleteAccount {
    type Plan = ();

    fn audited(&self, _: &State, _: &Context<'_>) -> Option<Audited> {
        Some(Audited::of(Action::DeleteAccount).to(&self.username))
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

    fn check(&self, state: &State, context: &Context<'_>) -> Result<Checked<()>, Refusal> {
        context.must_be_another(&self.username)?;
        if !state.user(&self.username.key()).is_some_and(|user| user.account.is_registered()) {
            return Err(no_account(&self.username));
        }
        Ok(Checked::Change(()))
    }

    fn apply(&self, (): (), state: &mut State, _: &UserName, effects: &mut Effects) -> Reply {
        let id = state.user_or_new(effects, &self.username);
        state.close_account(effects, id);
        state.account_reply(id)
    }
}

impl State {
    /// The name stays with its messages, but no user has it any more. Its bots are closed with it.
    fn close_account(&mut self, effects: &mut Effects, id: UserId) {
        for bot in self.end_hooks(effects, id) {
            self.close(effects, bot);
        }
        self.close(effects, id);
    }

    fn close(&mut self, effects: &mut Effects, id: UserId) {
        let rooms: Vec<RoomId> = self.user_mut(id).rooms.keys().copied().collect();
        for room in rooms {
            // A direct conversation is not left; the other user keeps it.
            if self.room_mut(room).name.direct_pair().is_none() {
                self.leave(effects, id, room);
            }
        }
        let user = self.user_mut(id);
        user.account = Account { holder: Holder::Closed, ..Account::default() };
        self.account_changed(effects, id);
        self.end_sessions(effects, id, SessionFilter::All, "the account was closed");
    }
}
