//! Who may use a name, and how accounts and their sessions change.

use super::{
    access::{Context, banned_from_cluster, must_not_be_reserved},
    effects::{Effects, Ended, SessionFilter},
    entities::{
        account::{Account, Holder, Session},
        user::User,
        user_id::UserId,
    },
    reply::Reply,
    rows,
    state::State,
};
use crate::protocol::{
    credential::{TokenHash, wrong_password},
    name::UserName,
    refusal::{Code, Refusal},
};

impl State {
    /// Whether an account of that name may be made. A name that was ever registered stays taken, even after
    /// its account was closed.
    pub(super) fn must_be_free(&self, name: &UserName) -> Result<(), Refusal> {
        must_not_be_reserved(name)?;
        match self.user(&name.key()) {
            Some(user) if user.account.is_registered() => {
                Err(Refusal::new(Code::NameTaken, format!("the name {} is registered", user.name)))
            }
            _ => Ok(()),
        }
    }

    /// Whether a user may begin to use the name, as a guest or with a new account.
    pub fn may_begin_as(&self, name: &UserName, now_ms: u64) -> Result<(), Refusal> {
        self.must_be_free(name)?;
        match self.user(&name.key()) {
            Some(user) if user.account.is_banned(now_ms) => Err(banned_from_cluster(&user.name)),
            _ => Ok(()),
        }
    }

    /// Whether a guest goes by the name for the first time.
    pub fn is_new_guest(&self, name: &UserName) -> bool {
        !self.is_known(name, false)
    }

    /// Whether a user has ever used the name, here or in the cluster that an import came from. A client that
    /// only asked something without a login is not known here; `is_here` says that the server that took the
    /// request knows it.
    pub(super) fn is_known(&self, name: &UserName, is_here: bool) -> bool {
        is_here || self.user(&name.key()).is_some_and(|user| user.is_used)
    }

    /// The user of that name, who is added if this is the first entry that names them.
    pub(super) fn user_or_new(&mut self, effects: &mut Effects, name: &UserName) -> UserId {
        if let Some(id) = self.user_ids.get(&name.key()) {
            return *id;
        }
        let next = self.users.last_key_value().map_or(0, |(UserId(newest), _)| newest + 1);
        let id = UserId(effects.index.max(next));
        let user = User::new(name.clone());
        effects.rows.push(rows::user(id, &user));
        self.user_ids.insert(name.key(), id);
        self.users.insert(id, user);
        id
    }

    pub(super) fn name_is_used(&mut self, effects: &mut Effects, id: UserId) {
        let user = self.user_mut(id);
        if !user.is_used {
            user.is_used = true;
            effects.rows.push(rows::user(id, user));
        }
    }

    /// Spells a name as it is registered. A guest has no claim to the spelling of the first use. What was
    /// said under the old one stays as it is.
    pub(super) fn spell(&mut self, effects: &mut Effects, id: UserId, name: &UserName) {
        let user = self.user_mut(id);
        if user.name != *name {
            user.name = name.clone();
            effects.rows.push(rows::user(id, user));
        }
    }

    /// Refuses a user whose account was closed: they cannot be let in.
    pub(super) fn must_be_open(&self, user: &UserName) -> Result<(), Refusal> {
        match self.user(&user.key()) {
            Some(user) if user.account.holder == Holder::Closed => Err(no_user(&user.name)),
            _ => Ok(()),
        }
    }

    /// Whether a password opens the account of that name.
    pub(super) fn has_password(&self, name: &UserName) -> bool {
        self.user(&name.key()).is_some_and(|user| user.account.verifier().is_some())
    }

    /// The account of the user, whose password was checked: the one that this log entry set.
    pub(super) fn check_password_rev(
        &self,
        context: &Context<'_>,
        password_rev: u64,
    ) -> Result<(UserId, &Account), Refusal> {
        let id = context.id.ok_or_else(wrong_password)?;
        let account = &self.users.get(&id).ok_or_else(wrong_password)?.account;
        // An account that no password opens, such as a bot's, has none to check.
        if account.verifier().is_none() || account.password_rev != password_rev {
            return Err(wrong_password());
        }
        Ok((id, account))
    }

    pub(super) fn begin_session(
        &mut self,
        effects: &mut Effects,
        id: UserId,
        token: TokenHash,
        session: Session,
    ) {
        effects.rows.push(rows::session(id, token, Some(&session)));
        self.user_mut(id).sessions.insert(token, session);
        self.tokens.insert(token, id);
    }

    /// Ends sessions. A bot's token is the only way to be it, so it ends only with its account or for a ban
    /// of the whole user.
    pub(super) fn end_sessions(
        &mut self,
        effects: &mut Effects,
        id: UserId,
        which: SessionFilter,
        reason: &'static str,
    ) {
        let ends = |token: &TokenHash| match which {
            SessionFilter::All => true,
            SessionFilter::One(one) => *token == one,
            SessionFilter::AllBut(one) => *token != one,
            SessionFilter::Guests => false,
        };
        let user = self.user_mut(id);
        let key = user.name.key();
        let ended: Vec<TokenHash> = user.sessions.keys().copied().filter(ends).collect();
        for token in &ended {
            self.user_mut(id).sessions.remove(token);
            self.tokens.remove(token);
            effects.rows.push(rows::session(id, *token, None));
        }
        effects.ended.push(Ended { user: key, which, reason });
    }

    pub(super) fn account_changed(&mut self, effects: &mut Effects, id: UserId) {
        effects.rows.push(rows::account(id, &self.user_mut(id).account));
    }

    pub(super) fn account_reply(&self, id: UserId) -> Reply {
        Reply::Account { username: self.user_name(id) }
    }
}

/// The refusal of a user who is unknown or gone.
pub(super) fn no_user(name: &UserName) -> Refusal {
    Refusal::new(Code::NotFound, format!("there is no user {name}"))
}

/// The refusal of an account that does not exist.
pub(super) fn no_account(username: &UserName) -> Refusal {
    Refusal::new(Code::NotFound, format!("there is no account {username}"))
}
