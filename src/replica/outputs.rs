//! What is to be done, as it comes together in a round.

use crate::fanout::Instruction;

use super::io::Output;

/// Bytes of answers, and of what it costs to make them, after which a round takes in nothing more: what waits
/// behind it must not wait for long.
const ROUND_BYTES: usize = 4 * 1024 * 1024;

/// What is to be done, in order, and what it has cost so far.
#[derive(Debug, Default)]
pub struct Outputs {
    outputs: Vec<Output>,
    spent_bytes: usize,
}

impl Outputs {
    /// One more.
    pub fn push(&mut self, output: Output) {
        if let Output::FanOut(Instruction::Say { said, .. } | Instruction::Answer { said, .. }) = &output {
            self.spent_bytes += said.bytes();
        }
        self.outputs.push(output);
    }

    /// For the fan-out.
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

    /// Takes all of them out.
    pub fn drain(&mut self) -> Vec<Output> {
        self.spent_bytes = 0;
        std::mem::take(&mut self.outputs)
    }
}

impl Extend<Output> for Outputs {
    fn extend<I: IntoIterator<Item = Output>>(&mut self, outputs: I) {
        outputs.into_iter().for_each(|output| self.push(output));
    }
}
