//! Counts of what has happened in a replica. The server takes them after each turn, for the metrics.

use std::collections::BTreeMap;

use super::proposals::Pending;
use crate::{chat::Reply, protocol::refusal::Refusal};

/// The outcome of a command of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// It was carried out.
    Done,
    /// A client had sent it before, under the same id.
    Repeated,
    /// The state did not allow it.
    Refused,
    /// It did nothing: its server had sent it twice, or had given it up.
    Skipped,
}

impl Outcome {
    pub const ALL: [Outcome; 4] = [Outcome::Done, Outcome::Repeated, Outcome::Refused, Outcome::Skipped];

    pub fn word(self) -> &'static str {
        match self {
            Outcome::Done => "done",
            Outcome::Repeated => "repeated",
            Outcome::Refused => "refused",
            Outcome::Skipped => "skipped",
        }
    }

    fn of(decision: Option<&Result<Reply, Refusal>>) -> Outcome {
        match decision {
            None | Some(Ok(Reply::Nothing)) => Outcome::Skipped,
            Some(Err(_)) => Outcome::Refused,
            Some(Ok(Reply::Sent(sent))) if sent.duplicate => Outcome::Repeated,
            Some(Ok(Reply::Placed { duplicate: true, .. })) => Outcome::Repeated,
            Some(Ok(_)) => Outcome::Done,
        }
    }
}

/// The counts since they were last taken.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Commands that this server put on their way to the log.
    pub proposals: u64,
    /// Commands that it has applied.
    pub applied: BTreeMap<Outcome, u64>,
    /// For each command of this server's clients that was applied: since when it had waited, on the monotonic
    /// clock in milliseconds.
    pub decided_since_ms: Vec<u64>,
    /// Times that it asked another server to lead.
    pub handovers: u64,
}

impl Counts {
    /// Counts a command that was applied, and returns its outcome.
    pub(super) fn applied(&mut self, decision: Option<&Result<Reply, Refusal>>) -> Outcome {
        let outcome = Outcome::of(decision);
        *self.applied.entry(outcome).or_default() += 1;
        outcome
    }

    /// A command that a client of this server waits for was applied.
    pub(super) fn decided(&mut self, pending: &Pending) {
        if pending.conn.is_some() {
            self.decided_since_ms.push(pending.since_ms);
        }
    }
}
