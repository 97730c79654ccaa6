//! Reads that must first know that this server is up to date (Raft, section 8, "read-only").
//!
//! All that wait share one question to the leader; it is repeated, because the library drops it in
//! silence before a new leader has committed in its own term.

use crate::protocol::{
    Request,
    answer::Asked,
    limits::COMMIT_TIMEOUT_MS,
    refusal::{Code, Refusal},
};

use super::io::ConnId;

/// After this time a question is asked again.
const REPEAT_MS: u64 = 100;

/// Reads that may wait for the leader's answer.
const WAITING_MAX: usize = 16_384;

/// A read that waits.
#[derive(Debug)]
pub struct Waiting {
    /// The connection that asked.
    pub conn: ConnId,
    /// Its request.
    pub asked: Asked,
    /// What it asked.
    pub request: Request,
    since_ms: u64,
}

/// The reads that wait, in the order in which they get further.
#[derive(Debug, Default)]
pub struct Reads {
    /// Came after the last question was asked.
    new: Vec<Waiting>,
    /// Covered by the question under way.
    asked: Vec<Waiting>,
    question: u64,
    asked_ms: u64,
    /// Answered by an index that is not yet applied.
    known: Vec<(u64, Vec<Waiting>)>,
}

impl Reads {
    /// A read that must wait; refused where too many wait already.
    pub fn push(&mut self, now_ms: u64, conn: ConnId, asked: Asked, request: Request) -> Result<(), Refusal> {
        if self.new.len() + self.asked.len() >= WAITING_MAX {
            let reason = "too many reads wait for a majority of the servers";
            return Err(Refusal::new(Code::Overloaded, reason).retry_after(REPEAT_MS));
        }
        self.new.push(Waiting { conn, asked, request, since_ms: now_ms });
        Ok(())
    }

    /// The question to ask now, if any.
    pub fn question(&mut self, now_ms: u64) -> Option<u64> {
        if self.asked.is_empty() {
            if self.new.is_empty() {
                return None;
            }
            self.asked = std::mem::take(&mut self.new);
        } else if now_ms.saturating_sub(self.asked_ms) < REPEAT_MS {
            return None;
        } else {
            // A new question covers those that came meanwhile as well.
            self.asked.append(&mut self.new);
        }
        self.question += 1;
        self.asked_ms = now_ms;
        Some(self.question)
    }

    /// The leader's answer.
    pub fn answered(&mut self, question: u64, index: u64) {
        if question == self.question && !self.asked.is_empty() {
            self.known.push((index, std::mem::take(&mut self.asked)));
        }
    }

    /// The reads that may be answered, now that everything up to `applied` is applied.
    pub fn ready(&mut self, applied: u64) -> Vec<Waiting> {
        let (ready, rest) =
            std::mem::take(&mut self.known).into_iter().partition(|(index, _)| *index <= applied);
        self.known = rest;
        let ready: Vec<(u64, Vec<Waiting>)> = ready;
        ready.into_iter().flat_map(|(_, waiting)| waiting).collect()
    }

    /// The reads that have waited too long.
    pub fn time_out(&mut self, now_ms: u64) -> Vec<Waiting> {
        let mut late = Vec::new();
        let is_late = |waiting: &mut Waiting| now_ms.saturating_sub(waiting.since_ms) >= COMMIT_TIMEOUT_MS;
        late.extend(self.new.extract_if(.., is_late));
        late.extend(self.asked.extract_if(.., is_late));
        for (_, known) in &mut self.known {
            late.extend(known.extract_if(.., is_late));
        }
        late
    }
}
