//! Accounts: a guest, a person with an account, a program; and their sessions.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    access::{Context, banned_from_cluster},
    command::Reply,
    effects::{Effects, Ended, SessionFilter},
    rows,
    state::State,
    user::UserId,
};
use crate::protocol::{
    credential::{TokenHash, Verifier, wrong_password},
    name::UserName,
    refusal::{Code, Refusal},
};

/// Sessions of one account; a login over this ends the session that was used longest ago.
pub const SESSIONS_MAX: usize = 50;
/// How much of a session's idle time may pass before its use is noted in the log. Noting each use would
/// make every login a write.
pub const TOUCH_MS: u64 = 3_600_000;

/// The end of something, such as a ban.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Until {
    /// Until a user ends it.
    Ended,
    /// Until this time of the cluster's log, milliseconds since the Unix epoch.
    Ms(u64),
}

impl Until {
    /// The end of what begins at `now_ms` and lasts for `seconds`; `None`: until it is ended.
    pub fn after(now_ms: u64, seconds: Option<u32>) -> Until {
        seconds.map_or(Until::Ended, |seconds| Until::Ms(now_ms.saturating_add(u64::from(seconds) * 1000)))
    }

    pub fn lasts(self, now_ms: u64) -> bool {
        match self {
            Until::Ended => true,
            Until::Ms(end_ms) => now_ms < end_ms,
        }
    }
}

/// Who may use a name, and how they prove it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Holder {
    /// Not registered: any guest may use it.
    #[default]
    Guest,
    /// A person, by this password.
    Person(Box<Verifier>),
    /// A program, by the token that it was made with.
    Bot { made_by: UserId },
    /// No user any more: the account was closed. The name stays, with its messages.
    Closed,
}

/// An account. Every user has one; a guest's is empty.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Account {
    /// Who may use the name.
    pub holder: Holder,
    /// The log entry that set the password.
    pub password_rev: u64,
    /// Whether they administer the cluster.
    pub admin: bool,
    /// Until when they are banned from it.
    pub banned: Option<Until>,
}

impl Account {
    /// Whether the name is or was registered, by a person or a program.
    pub fn is_registered(&self) -> bool {
        self.holder != Holder::Guest
    }

    /// Whether the user is banned at `now_ms`.
    pub fn is_banned(&self, now_ms: u64) -> bool {
        self.banned.is_some_and(|until| until.lasts(now_ms))
    }

    /// What checks the password; `None` if no password opens the account.
    pub fn verifier(&self) -> Option<&Verifier> {
        match &self.holder {
            Holder::Person(verifier) => Some(verifier),
            _ => None,
        }
    }
}

/// A session, by the hash of its token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// When it was last noted to be in use.
    pub used_ms: u64,
    /// When it ends at the latest; `None` for that of a bot.
    pub expires_ms: Option<u64>,
}

impl Session {
    /// Whether its use is to be noted again at `now_ms`. A bot's has no end that this would put off.
    pub fn is_stale(&self, now_ms: u64) -> bool {
        self.expires_ms.is_some() && now_ms >= self.used_ms.saturating_add(TOUCH_MS)
    }

    /// Whether it is still valid at `now_ms`, if a session may be idle for `idle_ms`.
    pub fn lasts(&self, now_ms: u64, idle_ms: u64) -> bool {
        self.expires_ms
            .is_none_or(|expires_ms| now_ms < expires_ms && now_ms < self.used_ms.saturating_add(idle_ms))
    }
}

/// The sessions of one account.
pub type Sessions = BTreeMap<TokenHash, Session>;

/// The session to end if there are too many: the one that was used longest ago. Bots keep theirs.
pub fn oldest(sessions: &Sessions) -> Option<TokenHash> {
    let ending = sessions.iter().filter(|(_, session)| session.expires_ms.is_some());
    ending.min_by_key(|(token, session)| (session.used_ms, **token)).map(|(token, _)| *token)
}

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

/// No user and no webhook may have a reserved name.
pub(crate) fn must_not_be_reserved(name: &UserName) -> Result<(), Refusal> {
    if name.is_reserved() {
        return Err(Refusal::bad_request(format!("username: {name} is reserved; choose another name")));
    }
    Ok(())
}

/// The refusal of a user who is unknown or gone.
pub(super) fn no_user(name: &UserName) -> Refusal {
    Refusal::new(Code::NotFound, format!("there is no user {name}"))
}

/// The refusal of an account that does not exist.
pub(super) fn no_account(username: &UserName) -> Refusal {
    Refusal::new(Code::NotFound, format!("there is no account {username}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_ends_when_it_is_old_or_idle() {
        let session = Session { used_ms: 1_000, expires_ms: Some(10_000) };
        assert!(session.lasts(1_999, 1_000) && !session.lasts(2_000, 1_000));
        assert!(session.lasts(9_999, 90_000) && !session.lasts(10_000, 90_000));
        assert!(Session { used_ms: 0, expires_ms: None }.lasts(u64::MAX, 1));
    }

    #[test]
    fn what_has_no_end_is_ended_by_somebody() {
        assert!(Until::after(5, None).lasts(u64::MAX));
        assert!(Until::after(5, Some(2)).lasts(2_004) && !Until::after(5, Some(2)).lasts(2_005));
    }
}
