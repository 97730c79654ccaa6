//! The times of tokens whose connections stay open: they are looked at from time to time, and not only at logins.
//!
//! An open connection is use: what is old of it is noted in the log, so that a device that was connected for a
//! month is let in the next time. And a session that has ended by its time ends its connections, like one that
//! the log has ended.
//!
//! **Pace.** A tick looks at a bounded number of connections and proposes for a few at most; a round over all of
//! them begins once a minute. **Clocks.** While the clock is not believed (`replica/retention.rs`), nothing is
//! done by it: one that jumps by a year is no reason to cut everybody off.

use crate::{
    chat::{Action, Proposal, Standing},
    protocol::{credential::TokenHash, name::UserName},
};

use super::{
    io::{ConnId, Now},
    replica::Replica,
    storage::Storage,
};

/// Connections that a tick looks at.
const CONNS_A_TICK: usize = 64;
/// Uses that a tick proposes to note.
const TOUCHES_A_TICK: usize = 8;
/// With so many proposals on their way there is more urgent work.
const BUSY_PROPOSALS: usize = 1_024;
/// Time between the beginnings of two rounds.
const ROUND_MS: u64 = 60_000;

/// How far a round has come.
#[derive(Debug, Default)]
pub struct Round {
    begun_ms: u64,
    /// The next connection; `None` between two rounds.
    from: Option<ConnId>,
}

/// A connection's session, where something is to be done about it.
enum Due {
    Touch(UserName, TokenHash),
    End(ConnId),
}

impl<S: Storage> Replica<S> {
    /// Looks at the next connections.
    pub(super) fn look_at_tokens(&mut self, now: Now) {
        if self.round.from.is_none() && now.mono_ms >= self.round.begun_ms.saturating_add(ROUND_MS) {
            self.round = Round { begun_ms: now.mono_ms, from: Some(ConnId(0)) };
        }
        let Some(from) = self.round.from.filter(|_| self.retention.believes_clock(now)) else { return };
        let mut due = Vec::new();
        let mut touches = 0;
        let mut next = None;
        for (place, (conn, session)) in self.sessions.from(from).enumerate() {
            if place == CONNS_A_TICK || touches == TOUCHES_A_TICK {
                next = Some(conn);
                break;
            }
            let (Some(user), Standing::Session(token)) = (&session.user, session.standing) else { continue };
            let known = self.state.user(&user.key()).and_then(|user| user.sessions.get(&token));
            let Some(known) = known.filter(|_| !session.closing) else { continue };
            if !known.lasts(now.wall_ms, self.config.auth.token_idle_ms()) {
                due.push(Due::End(conn));
            } else if known.is_stale(now.wall_ms) {
                touches += 1;
                due.push(Due::Touch(user.clone(), token));
            }
        }
        self.round.from = next;
        for due in due {
            match due {
                Due::End(conn) => self.end_session(now, conn, "the session has expired; log in again"),
                Due::Touch(user, token) => self.touch(now, user, token),
            }
        }
    }

    /// Proposes to note that a session is in use. Nobody waits for it.
    pub(super) fn touch(&mut self, now: Now, user: UserName, token: TokenHash) {
        if self.proposals.len() < self.config.limits.pending_proposals.min(BUSY_PROPOSALS) {
            let standing = Standing::Session(token);
            let touch = Proposal { user, standing, lamport_timestamp: 0, action: Action::Touch };
            self.proposals.push_own(now.mono_ms, &touch);
        }
    }
}
