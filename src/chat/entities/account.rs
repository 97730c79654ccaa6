//! Accounts: a guest, a person with an account, a program; and their sessions.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{until::Until, user_id::UserId};
use crate::protocol::credential::{TokenHash, Verifier};

/// Sessions of one account; a login over this ends the session that was used longest ago.
pub const SESSIONS_MAX: usize = 50;
/// How much of a session's idle time may pass before its use is noted in the log. Noting each use would
/// make every login a write.
pub const TOUCH_MS: u64 = 3_600_000;

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
}
