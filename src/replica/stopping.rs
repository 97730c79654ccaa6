//! An orderly end: hand over, send the clients elsewhere, answer what is still due.

use super::{
    fanout::Fan,
    io::{Now, Output},
    replica::{Core, Replica},
    storage::Storage,
};

/// How long a stop waits for the handover and for answers that are still due.
const STOP_MS: u64 = 1_500;

/// A stop under way.
pub(super) struct Stopping {
    deadline_ms: u64,
    done: bool,
}

impl<S: Storage> Replica<S> {
    pub(super) fn stop(&mut self, now: Now) {
        if self.stopping.is_some() {
            return;
        }
        self.stopping = Some(Stopping { deadline_ms: now.mono_ms + STOP_MS, done: false });
        if let Some(successor) = self.best_successor()
            && let Core::Formed(consensus) = &mut self.core
        {
            consensus.transfer(successor);
        }
        let push = self.redirect_push("this server is shutting down");
        let by = self.signature(now);
        for conn in self.sessions.conns() {
            if let Some(push) = &push {
                self.fan(Fan::Say { conn, line: push.line(None, &by).into() });
            }
            if self.sessions.get_mut(conn).is_some_and(|session| !session.has_writes()) {
                self.close(conn);
            }
        }
    }

    pub(super) fn finish_stop(&mut self, now: Now) {
        let Some(stopping) = &self.stopping else { return };
        let waits = self.leading.is_some() && self.best_successor().is_some() || self.sessions.have_writes();
        if stopping.done || (waits && now.mono_ms < stopping.deadline_ms) {
            return;
        }
        for conn in self.sessions.conns() {
            self.close(conn);
        }
        self.stopping = Some(Stopping { deadline_ms: now.mono_ms, done: true });
        self.outputs.push(Output::Stopped);
    }

    /// Whether a stop is under way.
    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.is_some()
    }
}
