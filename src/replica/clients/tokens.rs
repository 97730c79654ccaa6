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
    chat::{Authority, Proposal, command::Touch},
    fanout::ConnId,
    protocol::{credential::TokenHash, name::UserName},
};

use super::{Clients, Env};

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
enum TokenTask {
    Touch(UserName, TokenHash),
    End(ConnId),
}

impl Clients {
    /// Looks at the next connections.
    pub(super) fn look_at_tokens(&mut self, env: &mut Env<'_>, trusts_clock: bool) {
        if self.round.from.is_none() && env.now.mono_ms >= self.round.begun_ms.saturating_add(ROUND_MS) {
            self.round = Round { begun_ms: env.now.mono_ms, from: Some(ConnId(0)) };
        }
        let Some(from) = self.round.from.filter(|_| trusts_clock) else { return };
        let mut due = Vec::new();
        let mut touches = 0;
        let mut next = None;
        for (place, (conn, connection)) in self.connections.from(from).enumerate() {
            if place == CONNS_A_TICK || touches == TOUCHES_A_TICK {
                next = Some(conn);
                break;
            }
            let (Some(user), Authority::Session(token)) = (&connection.user, connection.authority) else {
                continue;
            };
            let known = env.state.user(&user.key()).and_then(|user| user.sessions.get(&token));
            let Some(known) = known.filter(|_| !connection.closing) else { continue };
            if !known.lasts(env.now.wall_ms, env.config.auth.token_idle_ms()) {
                due.push(TokenTask::End(conn));
            } else if known.is_stale(env.now.wall_ms) {
                touches += 1;
                due.push(TokenTask::Touch(user.clone(), token));
            }
        }
        self.round.from = next;
        for due in due {
            match due {
                TokenTask::End(conn) => self.end_session(env, conn, "the session has expired; log in again"),
                TokenTask::Touch(user, token) => self.touch(env, user, token),
            }
        }
    }

    /// Proposes to note that a session is in use. Nobody waits for it.
    pub(super) fn touch(&self, env: &mut Env<'_>, user: UserName, token: TokenHash) {
        if env.proposals.len() < env.config.limits.pending_proposals.min(BUSY_PROPOSALS) {
            let authority = Authority::Session(token);
            let touch = Proposal { user, authority, lamport_timestamp: 0, command: Touch.into() };
            env.proposals.push_own(env.now.mono_ms, &touch);
        }
    }
}
