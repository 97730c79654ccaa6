//! What a user is to the cluster: a guest, a person with an account, a program; and their sessions.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::user::UserId;
use crate::protocol::credential::{TokenHash, Verifier};

/// Sessions of one account; a login over this ends the session that was used longest ago.
pub const SESSIONS_MAX: usize = 50;
/// Bots that one user may have made, those of webhooks included.
pub const BOTS_MAX: usize = 100;
/// How much of a session's idle time may pass before its use is noted in the log. Noting each use would
/// make every login a write.
pub const TOUCH_MS: u64 = 3_600_000;

/// How long something lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Until {
    /// Until somebody ends it.
    Ended,
    /// Until this time of the cluster's log, milliseconds since the Unix epoch.
    Ms(u64),
}

impl Until {
    /// What begins at `now_ms` and lasts for `seconds`, or until it is ended.
    pub fn after(now_ms: u64, seconds: Option<u32>) -> Until {
        seconds.map_or(Until::Ended, |seconds| Until::Ms(now_ms.saturating_add(u64::from(seconds) * 1000)))
    }

    /// Whether it still lasts.
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
    /// Nobody has registered it: whoever uses it.
    #[default]
    Guest,
    /// A person, by this password.
    Person(Box<Verifier>),
    /// A program, by the token that it was made with.
    Bot {
        /// Who made it.
        made_by: UserId,
    },
    /// Nobody any more: the account was closed, and the name stays with what it has said.
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
    /// Whether they are shut out of it.
    pub banned: Option<Until>,
}

impl Account {
    /// Whether the name is registered, by whomever, or was.
    pub fn is_registered(&self) -> bool {
        self.holder != Holder::Guest
    }

    /// Whether the user is shut out.
    pub fn is_banned(&self, now_ms: u64) -> bool {
        self.banned.is_some_and(|until| until.lasts(now_ms))
    }

    /// What checks the password; `None` where no password opens the account.
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

    /// Whether it still counts at `now_ms`, where one may lie idle for `idle_ms`.
    pub fn lasts(&self, now_ms: u64, idle_ms: u64) -> bool {
        self.expires_ms
            .is_none_or(|expires_ms| now_ms < expires_ms && now_ms < self.used_ms.saturating_add(idle_ms))
    }
}

/// The sessions of one account.
pub type Sessions = BTreeMap<TokenHash, Session>;

/// The session to end where there are too many: the one that was used longest ago. Bots keep theirs.
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

    #[test]
    fn what_has_no_end_is_ended_by_somebody() {
        assert!(Until::after(5, None).lasts(u64::MAX));
        assert!(Until::after(5, Some(2)).lasts(2_004) && !Until::after(5, Some(2)).lasts(2_005));
    }
}
