//! The outputs of a round, as they are collected.

use crate::{
    fanout::Instruction,
    protocol::{name::ServerId, peer::PeerMessage},
};

use super::io::Output;

/// Bytes of answers, and their cost, after which a round takes nothing more in, so that other inputs need not
/// wait long.
const ROUND_BYTES: usize = 4 * 1024 * 1024;

/// The outputs, in order, and their cost so far.
///
/// Clients are told only of what is committed, so that may be sent at once. A message to a peer may promise
/// something that is not written yet, so it waits for the next sync.
#[derive(Debug, Default)]
pub struct Outputs {
    released: Vec<Output>,
    /// Messages to peers.
    waiting: Vec<Output>,
    spent_bytes: usize,
}

impl Outputs {
    pub fn push(&mut self, output: Output) {
        if let Output::FanOut(Instruction::Say { said, .. } | Instruction::Answer { said, .. }) = &output {
            self.spent_bytes += said.bytes();
        }
        let waits = matches!(output, Output::Peer { .. });
        let queue = if waits { &mut self.waiting } else { &mut self.released };
        queue.push(output);
    }

    /// A message to a peer that promises nothing: it waits only for earlier messages to that peer.
    pub fn push_at_once(&mut self, to: ServerId, message: PeerMessage) {
        let is_to_peer = |output: &Output| matches!(output, Output::Peer { to: peer, .. } if *peer == to);
        let is_behind = self.waiting.iter().any(is_to_peer);
        let queue = if is_behind { &mut self.waiting } else { &mut self.released };
        queue.push(Output::Peer { to, message });
    }

    /// Releases all messages: everything that was handled so far is synced, or needs no sync.
    pub fn release(&mut self) {
        self.released.append(&mut self.waiting);
    }

    pub fn are_released(&self) -> bool {
        !self.released.is_empty()
    }

    pub fn fan_out(&mut self, instruction: Instruction) {
        self.push(Output::FanOut(instruction));
    }

    /// Counts what it costs to make an answer, in bytes.
    pub fn spend(&mut self, bytes: usize) {
        self.spent_bytes += bytes;
    }

    /// Whether the answers since the last drain are enough for one round.
    pub fn are_enough(&self) -> bool {
        self.spent_bytes >= ROUND_BYTES
    }

    /// Takes out the outputs that may be carried out now.
    pub fn drain(&mut self) -> Vec<Output> {
        self.spent_bytes = 0;
        std::mem::take(&mut self.released)
    }
}

impl Extend<Output> for Outputs {
    fn extend<I: IntoIterator<Item = Output>>(&mut self, outputs: I) {
        outputs.into_iter().for_each(|output| self.push(output));
    }
}
