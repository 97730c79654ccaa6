//! What is applied and not yet written: it travels in the next transaction.

use std::collections::BTreeMap;

use crate::disk::{Batch, EventRow, RoomId, Storage, StorageError};

/// State that is applied but not yet on the disk.
#[derive(Default)]
pub struct Unsaved {
    /// What the next transaction writes of it.
    pub batch: Batch,
    /// Where each event's newest form stands in the batch.
    pub events: BTreeMap<(RoomId, u64), usize>,
    /// Since when it waits.
    pub since_ms: Option<u64>,
}

impl Unsaved {
    /// More events for the batch.
    pub fn extend(&mut self, events: impl IntoIterator<Item = EventRow>) {
        for event in events {
            self.events.insert((event.room, event.seq), self.batch.events.len());
            self.batch.events.push(event);
        }
    }

    /// An event as it is after everything that is applied: from the batch, or else from the disk.
    pub fn event(
        &self,
        storage: &impl Storage,
        room: RoomId,
        seq: u64,
    ) -> Result<Option<EventRow>, StorageError> {
        match self.events.get(&(room, seq)) {
            Some(place) => Ok(self.batch.events.get(*place).cloned()),
            None => storage.event(room, seq),
        }
    }
}
