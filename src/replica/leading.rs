//! What only a leader holds: proposals of all servers on their way into the log.
//!
//! The proposals of each server enter without a hole and without a repeat. What the log already holds is
//! known from the applied state, so a new leader first waits until it has applied an entry of its own
//! term; what is passed on to it until then is kept.

use std::collections::{BTreeMap, VecDeque};

use crate::{
    chat::{
        Progress, State,
        command::{Command, Origin, Proposal, decode, encode},
    },
    planted::{Bug, planted},
    protocol::peer::NodeId,
};

/// Messages of proposals that are kept until the leader knows its log. Full: dropped, the sender repeats.
const EARLY_MESSAGES: usize = 4_096;

/// Commands that are proposed together at most. Each body is bounded, so this bounds a message to a peer.
const TOGETHER: usize = 256;

/// Proposals that were passed on by one server.
#[derive(Debug)]
pub struct Forwarded {
    /// The server's incarnation.
    pub node_id: NodeId,
    /// Its run.
    pub boot: u64,
    /// The number of the first.
    pub first_seq: u64,
    /// The encoded proposals, numbered without a hole.
    pub commands: Vec<Vec<u8>>,
}

/// A leader's queue for one term.
#[derive(Debug)]
pub struct Leading {
    /// The term.
    pub term: u64,
    knows_log: bool,
    early: VecDeque<Forwarded>,
    /// Up to where each server's proposals were taken: (run, number).
    accepted: BTreeMap<NodeId, (u64, u64)>,
    waiting: VecDeque<Command>,
}

impl Leading {
    /// A leader's beginning.
    pub fn new(term: u64) -> Self {
        Leading {
            term,
            knows_log: false,
            early: VecDeque::new(),
            accepted: BTreeMap::new(),
            waiting: VecDeque::new(),
        }
    }

    /// The state contains everything that was ever acknowledged, from now on.
    pub fn knows_log(&mut self, state: &State, wall_ms: u64) {
        if !self.knows_log {
            self.knows_log = true;
            for forwarded in std::mem::take(&mut self.early) {
                self.accept(forwarded, state, wall_ms);
            }
        }
    }

    /// Whether the log's whole past is applied here.
    pub fn is_ready(&self) -> bool {
        self.knows_log
    }

    /// Takes what continues the server's proposals; leaves out repeats, and everything behind a hole.
    pub fn accept(&mut self, forwarded: Forwarded, state: &State, wall_ms: u64) {
        if !self.knows_log {
            if self.early.len() < EARLY_MESSAGES {
                self.early.push_back(forwarded);
            }
            return;
        }
        let Forwarded { node_id, boot, first_seq, commands } = forwarded;
        let accepted = match self.accepted.get(&node_id) {
            Some(&(known, seq)) if known == boot => seq,
            Some(&(known, _)) if known > boot => return,
            _ => match state.progress(node_id, boot) {
                Progress::Applied(seq) => seq,
                Progress::Superseded => return,
            },
        };
        let mut last = accepted;
        for (seq, bytes) in (first_seq..).zip(commands) {
            if seq <= last && !planted(Bug::OriginRepeatAccepted) {
                continue;
            }
            if seq > last + 1 && !planted(Bug::OriginGapAccepted) {
                break;
            }
            // What does not decode here would stop every server later: it never enters the log.
            let Ok(proposal) = decode::<Proposal>(&bytes) else { break };
            let origin = Origin { node_id, boot, seq };
            self.waiting.push_back(Command { origin, created_at_ms: wall_ms, proposal });
            last = last.max(seq);
        }
        self.accepted.insert(node_id, (boot, last));
    }

    /// The next commands for the log, encoded: as many as are proposed together.
    pub fn next(&self) -> Option<Vec<Vec<u8>>> {
        let commands: Vec<Vec<u8>> = self.waiting.iter().take(TOGETHER).map(encode).collect();
        (!commands.is_empty()).then_some(commands)
    }

    /// So many of the next commands were proposed.
    pub fn proposed(&mut self, count: usize) {
        self.waiting.drain(..count);
    }
}
