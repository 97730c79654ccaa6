//! Requests that wait until this server is known to be up to date (Raft, section 8, "read-only"): reads, and
//! requests whose first step may already end in a refusal.
//!
//! All that wait share one question to the leader. It is repeated, because the library drops it silently
//! until a new leader has committed in its own term; at once, if a question has better prospects now.

use std::collections::VecDeque;

use crate::{
    fanout::ConnId,
    protocol::{
        envelope::{AnswerTo, Claims},
        limits::COMMIT_TIMEOUT_MS,
        peer::NodeId,
        refusal::{Code, Refusal},
        request::Request,
    },
};

/// After this time a question is asked again.
const REPEAT_MS: u64 = 100;

/// Reads that may wait.
const WAITING_MAX: usize = 16_384;
/// What they may hold together, in bytes of memory.
const WAITING_BYTES: usize = 16 * 1024 * 1024;
/// The most that names, passwords and tokens of a request take, in bytes.
const NAMES_BYTES: usize = 1_024;

/// How much is known when a request is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// What this server has applied.
    Here,
    /// Everything that was acknowledged on any server before the request came.
    Everywhere,
}

#[derive(Debug)]
pub struct Waiting {
    /// The connection that asked.
    pub conn: ConnId,
    pub to: AnswerTo,
    pub request: Request,
    pub claims: Claims,
    since_ms: u64,
}

impl Waiting {
    pub fn new(now_ms: u64, conn: ConnId, to: AnswerTo, request: Request, claims: Claims) -> Waiting {
        Waiting { conn, to, request, claims, since_ms: now_ms }
    }

    /// What it holds, in bytes of memory. Only a `ping` holds everything that was sent.
    fn weight(&self) -> usize {
        let data = match &self.request {
            Request::Ping(ping) => ping.bytes(),
            Request::Search(search) => NAMES_BYTES + search.query.as_str().len(),
            _ => NAMES_BYTES,
        };
        size_of::<Waiting>() + data
    }
}

/// What the answer to a question hangs on: if this changes, one that was dropped may be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Prospect {
    pub term: u64,
    pub leader: Option<NodeId>,
    /// Whether an entry of this term is applied here: then the leader has committed one.
    pub has_own_entry: bool,
}

#[derive(Debug, Default)]
pub struct Reads {
    /// Came after the last question was asked.
    new: Vec<Waiting>,
    /// Covered by the question under way.
    asked: Vec<Waiting>,
    question: u64,
    asked_ms: u64,
    prospect: Prospect,
    /// Answered by an index that may not be applied yet.
    known: Vec<(u64, VecDeque<Waiting>)>,
    /// How many wait, and what they hold.
    count: usize,
    bytes: usize,
}

impl Reads {
    /// A read that must wait; refused if too many wait already.
    pub fn push(&mut self, waiting: Waiting) -> Result<(), Refusal> {
        if self.count >= WAITING_MAX || self.bytes + waiting.weight() > WAITING_BYTES {
            let reason = "too many reads wait for a majority of the servers";
            return Err(Refusal::new(Code::Overloaded, reason).retry_after(REPEAT_MS));
        }
        self.count += 1;
        self.bytes += waiting.weight();
        self.new.push(waiting);
        Ok(())
    }

    /// The question to ask now, if any.
    pub fn question(&mut self, now_ms: u64, prospect: Prospect) -> Option<u64> {
        if self.asked.is_empty() {
            if self.new.is_empty() {
                return None;
            }
            self.asked = std::mem::take(&mut self.new);
        } else if now_ms.saturating_sub(self.asked_ms) < REPEAT_MS && prospect == self.prospect {
            return None;
        } else {
            // A new question covers those that came meanwhile as well.
            self.asked.append(&mut self.new);
        }
        self.question += 1;
        self.asked_ms = now_ms;
        self.prospect = prospect;
        Some(self.question)
    }

    pub fn answered(&mut self, question: u64, index: u64) {
        if question == self.question && !self.asked.is_empty() {
            self.known.push((index, std::mem::take(&mut self.asked).into()));
        }
    }

    /// The next read that may be answered, now that everything up to `applied` is applied.
    pub fn next_ready(&mut self, applied: u64) -> Option<Waiting> {
        self.known.retain(|(_, waiting)| !waiting.is_empty());
        let (_, ready) = self.known.iter_mut().find(|(index, _)| *index <= applied)?;
        let next = ready.pop_front()?;
        self.no_longer_waits(&next);
        Some(next)
    }

    fn no_longer_waits(&mut self, waiting: &Waiting) {
        self.count -= 1;
        self.bytes -= waiting.weight();
    }

    /// The reads that have waited too long.
    pub fn time_out(&mut self, now_ms: u64) -> Vec<Waiting> {
        let mut late = Vec::new();
        let is_late = |waiting: &mut Waiting| now_ms.saturating_sub(waiting.since_ms) >= COMMIT_TIMEOUT_MS;
        late.extend(self.new.extract_if(.., is_late));
        late.extend(self.asked.extract_if(.., is_late));
        for (_, known) in &mut self.known {
            // They came in this order.
            while let Some(waiting) = known.pop_front_if(is_late) {
                late.push(waiting);
            }
        }
        late.iter().for_each(|waiting| self.no_longer_waits(waiting));
        late
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ping(text: &str) -> Request {
        let data = serde_json::json!({ "text": text }).to_string();
        let raw: &serde_json::value::RawValue = serde_json::from_str(&data).unwrap();
        Request::read("ping", crate::protocol::object::Text(raw)).unwrap().unwrap()
    }

    #[test]
    fn an_answer_is_for_the_newest_question_only() {
        let mut reads = Reads::default();
        let waiting = || Waiting::new(0, ConnId(1), AnswerTo::default(), ping(""), Claims::default());
        let push = |reads: &mut Reads| reads.push(waiting()).unwrap();
        push(&mut reads);
        let prospect = Prospect::default();
        let older = reads.question(0, prospect).unwrap();
        push(&mut reads);
        assert_eq!(reads.question(REPEAT_MS - 1, prospect), None, "not before it is repeated");
        let newer = reads.question(REPEAT_MS, prospect).unwrap();
        // The older answer may be from before something that was acknowledged when the second read came.
        reads.answered(older, 7);
        assert!(reads.next_ready(u64::MAX).is_none());
        reads.answered(newer, 8);
        assert!(reads.next_ready(7).is_none());
        assert!(reads.next_ready(8).is_some() && reads.next_ready(8).is_some());
    }

    #[test]
    fn an_answer_is_for_what_came_before_its_question_only() {
        let mut reads = Reads::default();
        let push = |reads: &mut Reads, conn| {
            reads
                .push(Waiting::new(0, ConnId(conn), AnswerTo::default(), ping(""), Claims::default()))
                .unwrap();
        };
        push(&mut reads, 1);
        let first = reads.question(0, Prospect::default()).unwrap();
        push(&mut reads, 2);
        reads.answered(first, 7);
        assert_eq!(reads.next_ready(7).map(|waiting| waiting.conn), Some(ConnId(1)));
        assert!(reads.next_ready(7).is_none());
        let second = reads.question(1, Prospect::default()).unwrap();
        reads.answered(first, 7);
        assert!(reads.next_ready(7).is_none(), "an answer that comes twice");
        reads.answered(second, 7);
        assert_eq!(reads.next_ready(7).map(|waiting| waiting.conn), Some(ConnId(2)));
    }

    #[test]
    fn a_question_is_repeated_at_once_when_it_can_be_answered_now() {
        let mut reads = Reads::default();
        reads.push(Waiting::new(0, ConnId(1), AnswerTo::default(), ping(""), Claims::default())).unwrap();
        let nobody = Prospect { term: 1, ..Prospect::default() };
        reads.question(0, nobody).unwrap();
        assert_eq!(reads.question(0, nobody), None);
        let elected = Prospect { term: 2, leader: Some(NodeId(3)), has_own_entry: false };
        reads.question(0, elected).unwrap();
        let ready = Prospect { has_own_entry: true, ..elected };
        let question = reads.question(0, ready).unwrap();
        assert_eq!(reads.question(0, ready), None);
        reads.answered(question, 7);
        assert!(reads.next_ready(7).is_some());
    }

    #[test]
    fn reads_that_wait_are_bounded_by_what_they_hold_until_they_are_answered() {
        let mut reads = Reads::default();
        let large = "x".repeat(WAITING_BYTES / 4);
        let waiting = || Waiting::new(0, ConnId(1), AnswerTo::default(), ping(&large), Claims::default());
        let push = |reads: &mut Reads| reads.push(waiting());
        for _ in 0..3 {
            push(&mut reads).unwrap();
        }
        let question = reads.question(0, Prospect::default()).unwrap();
        reads.answered(question, 7);
        assert_eq!(push(&mut reads).unwrap_err().code, Code::Overloaded, "they are known, and still here");
        assert!(reads.next_ready(6).is_none());
        reads.next_ready(7).unwrap();
        push(&mut reads).unwrap();
        assert_eq!(reads.time_out(COMMIT_TIMEOUT_MS).len(), 3);
        assert_eq!((reads.count, reads.bytes), (0, 0));
    }
}
