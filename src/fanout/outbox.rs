//! The messages that wait to be written to one connection.

use std::{collections::VecDeque, sync::Arc};

use crate::protocol::said::Said;

/// The messages to be written, in order, and about how long they are together.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    queue: VecDeque<Arc<Said>>,
    bytes: usize,
}

impl Outbox {
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// This outbox's share of the memory of its messages.
    pub fn share(&self) -> usize {
        self.queue.iter().map(|said| said.bytes() / Arc::strong_count(said)).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub fn push(&mut self, said: Arc<Said>) {
        self.bytes += said.bytes();
        self.queue.push_back(said);
    }

    /// The first messages that fit into `max_bytes`, but at least one.
    pub fn take(&mut self, max_bytes: usize) -> Vec<Arc<Said>> {
        let mut taken = Vec::new();
        let mut bytes = 0;
        while let Some(said) = self.queue.pop_front() {
            if !taken.is_empty() && bytes + said.bytes() > max_bytes {
                self.queue.push_front(said);
                break;
            }
            bytes += said.bytes();
            taken.push(said);
        }
        self.bytes -= bytes;
        taken
    }
}
