//! What is to be done, as it comes together in a round.

use crate::{
    fanout::Instruction,
    protocol::{name::ServerId, peer::PeerMessage},
};

use super::io::Output;

/// Bytes of answers, and of what it costs to make them, after which a round takes in nothing more: what waits
/// behind it must not wait for long.
const ROUND_BYTES: usize = 4 * 1024 * 1024;

/// What is to be done, in order, and what it has cost so far.
///
/// Clients hear only of what is committed, so that may be said at once. What a peer is told may promise something
/// that is not written yet, so it waits for the next sync.
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

    /// A message to a peer that promises nothing: it waits only for what was said to that peer before it.
    pub fn push_at_once(&mut self, to: ServerId, message: PeerMessage) {
        let is_to_peer = |output: &Output| matches!(output, Output::Peer { to: peer, .. } if *peer == to);
        let is_behind = self.waiting.iter().any(is_to_peer);
        let queue = if is_behind { &mut self.waiting } else { &mut self.released };
        queue.push(Output::Peer { to, message });
    }

    /// Everything that was handled so far is synced, or nothing of it had to be.
    pub fn release(&mut self) {
        self.released.append(&mut self.waiting);
    }

    /// Whether something may be done now.
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

    /// Whether what clients asked for since the last drain is enough for one round.
    pub fn are_enough(&self) -> bool {
        self.spent_bytes >= ROUND_BYTES
    }

    /// Takes out what may be done now.
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
