//! What waits to be written to one connection.

use std::{collections::VecDeque, sync::Arc};

/// Lines in the order of writing, and how long they are together.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    lines: VecDeque<Arc<[u8]>>,
    bytes: usize,
}

impl Outbox {
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// What of the memory that the lines take is this outbox's own.
    pub fn share(&self) -> usize {
        self.lines.iter().map(|line| line.len() / Arc::strong_count(line)).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    pub fn push(&mut self, line: Arc<[u8]>) {
        self.bytes += line.len();
        self.lines.push_back(line);
    }

    /// The first lines that fit into `max_bytes`, but at least one.
    pub fn take(&mut self, max_bytes: usize) -> Vec<Arc<[u8]>> {
        let mut taken = Vec::new();
        let mut bytes = 0;
        while let Some(line) = self.lines.pop_front() {
            if !taken.is_empty() && bytes + line.len() > max_bytes {
                self.lines.push_front(line);
                break;
            }
            bytes += line.len();
            taken.push(line);
        }
        self.bytes -= bytes;
        taken
    }
}
