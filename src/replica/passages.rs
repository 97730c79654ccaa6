//! The way of a request through the cluster, for the logs of its servers.
//!
//! A request that changes something is one proposal, and a proposal has a number that no other has: its
//! [`Origin`]. Every server knows it, so what each one logs of a request bears the same id, and nothing more
//! is sent for it.

use crate::{chat::Origin, fanout::ConnId};

use super::counts::Outcome;

/// What happened to a request on this server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Passage {
    /// Which request.
    pub request: Origin,
    pub step: Step,
}

/// How far it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// It came from a client of this server. The operation, without what is in it.
    Taken { conn: ConnId, operation: &'static str },
    /// This server leads and has put it into the log.
    Proposed,
    /// A majority has it, and it was carried out here, as every server does.
    Applied { index: u64, outcome: Outcome },
}

/// The passages of requests, as long as they are asked for.
#[derive(Debug, Default)]
pub struct Passages {
    pub are_kept: bool,
    kept: Vec<Passage>,
}

impl Passages {
    pub fn keep(&mut self, request: Origin, step: Step) {
        if self.are_kept {
            self.kept.push(Passage { request, step });
        }
    }

    pub fn take(&mut self) -> Vec<Passage> {
        std::mem::take(&mut self.kept)
    }
}
