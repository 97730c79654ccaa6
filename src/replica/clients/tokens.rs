//! The times of tokens whose connections stay open: they are checked from time to time, not only at logins.
//!
//! An open connection counts as use of its token. The log is told of it now and then, so that a device that
//! was connected for a month is let in the next time. And if a session's time is over its connections end, as
//! if the log had ended it.
//!
//! **Pace.** A tick looks at a bounded number of connections and makes few proposals; a round over all
//! connections begins once a minute. **Clocks.** While the clock is not believed (`replica/clocks.rs`),
//! nothing is done by it: a clock that jumps by a year must not cut all users off.

use crate::{
    chat::{Authority, Proposal, command::Touch},
    fanout::ConnId,
    protocol::{credential::TokenHash, name::UserName},
};

use super::{connection::Connections, env::Env};

/// Connections that a tick looks at.
const CONNS_A_TICK: usize = 64;
/// Most uses of tokens that a tick proposes to note.
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

/// What is to be done about a connection's session.
pub enum TokenTask {
    Touch(UserName, TokenHash),
    End(ConnId),
}

impl Round {
    /// Looks at the next connections.
    pub fn look(&mut self, env: &Env<'_>, connections: &Connections, trusts_clock: bool) -> Vec<TokenTask> {
        if self.from.is_none() && env.now.mono_ms >= self.begun_ms.saturating_add(ROUND_MS) {
            *self = Round { begun_ms: env.now.mono_ms, from: Some(ConnId(0)) };
        }
        let mut due = Vec::new();
        let Some(from) = self.from.filter(|_| trusts_clock) else { return due };
        let mut touches = 0;
        let mut next = None;
        for (place, (conn, connection)) in connections.from(from).enumerate() {
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
        self.from = next;
        due
    }
}

/// Proposes to note that a session is in use. No connection waits for it.
pub fn touch(env: &mut Env<'_>, user: UserName, token: TokenHash) {
    if env.proposals.len() < env.config.limits.pending_proposals.min(BUSY_PROPOSALS) {
        let authority = Authority::Session(token);
        let touch = Proposal { user, authority, lamport_timestamp: 0, command: Touch.into(), room: None };
        env.proposals.push_own(env.now.mono_ms, &touch);
    }
}
