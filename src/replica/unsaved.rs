//! Rows that are applied and not yet written. They can be made anew from the log, so they wait until there
//! are many: many rows in one transaction cost far less than each in its own, and no answer waits for them.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use super::io::Now;
use crate::{
    chat::{DirtyRow, Effects, State},
    disk::{Applied, Batch, EventRow, RoomId, Row, Storage, StorageError, collect_events, lowest_since},
};

/// How long rows may wait. After a power cut the entries of that time are applied again. The longer they
/// wait, the fewer pages are written twice; a query that needs them does not wait for it.
const WAIT_MS: u64 = 500;
/// Rows that are enough for one transaction: a read that needs one of them waits until all are written.
const ENOUGH_ROWS: usize = 16_384;
/// Bytes of events and files that are enough for one transaction.
const ENOUGH_BYTES: usize = 4 * 1024 * 1024;
/// While others are being written, rows wait for these until there are so many times as many as are enough.
const HELD_BACK: usize = 4;

/// State that is applied but not yet on the disk.
#[derive(Default)]
pub struct Unsaved {
    batch: Batch,
    /// The rows that are made when the batch is taken.
    dirty: BTreeSet<DirtyRow>,
    /// The place of each event's newest form in the batch.
    events: BTreeMap<(RoomId, u64), usize>,
    /// Bytes of events and files in the batch.
    bytes: usize,
    /// How far the state goes, with what was taken to be written.
    applied_index: Option<u64>,
    /// Since when it waits.
    since_ms: Option<u64>,
    /// Whether it must not wait.
    is_urgent: bool,
    /// Whether it must not even wait for others that are being written.
    is_needed: bool,
}

impl Unsaved {
    /// More rows of state.
    pub fn add_rows(&mut self, rows: impl IntoIterator<Item = Row>) {
        self.batch.rows.extend(rows);
    }

    /// Adds the changes of a command, except its events.
    pub fn add(&mut self, effects: &mut Effects) {
        // The leader forgets no more than its disk can wipe, and the disk can only wipe what it was told.
        self.is_urgent |= !effects.expired.is_empty() || !effects.removed_files.is_empty();
        self.bytes += effects.chunks.iter().map(|chunk| chunk.bytes.len()).sum::<usize>();
        self.batch.rows.append(&mut effects.rows);
        self.dirty.extend(effects.dirty.drain(..));
        self.batch.chunks.append(&mut effects.chunks);
        self.batch.removed_files.append(&mut effects.removed_files);
        self.batch.expired.append(&mut effects.expired);
    }

    pub fn add_events(&mut self, events: impl IntoIterator<Item = EventRow>) {
        for event in events {
            self.bytes += event.json.get().len();
            self.events.insert((event.room, event.seq), self.batch.events.len());
            self.batch.events.push(event);
        }
    }

    /// Notes how far the added rows bring the state.
    pub fn applied(&mut self, now: Now, applied: Applied) {
        self.applied_index = Some(applied.index);
        self.batch.applied = Some(applied);
        self.since_ms.get_or_insert(now.mono_ms);
    }

    /// How far the state goes, if anything was ever applied here.
    pub fn applied_index(&self) -> Option<u64> {
        self.applied_index
    }

    /// Whether there is nothing to be written.
    pub fn is_empty(&self) -> bool {
        self.since_ms.is_none()
    }

    /// Lets the rows be written with the next transaction, behind those that are being written.
    pub fn hurry(&mut self) {
        self.is_urgent = true;
        self.is_needed = true;
    }

    /// Whether it is time to write them.
    pub fn is_due(&self, now: Now) -> bool {
        let Some(since_ms) = self.since_ms else { return false };
        self.is_urgent || now.mono_ms >= since_ms + WAIT_MS || self.are_times_enough(1)
    }

    /// Whether they must not wait any longer for others that are being written.
    pub fn cannot_wait(&self) -> bool {
        self.is_needed || self.are_too_many()
    }

    /// Whether there are more than should be kept in memory.
    pub fn are_too_many(&self) -> bool {
        self.are_times_enough(HELD_BACK)
    }

    fn are_times_enough(&self, times: usize) -> bool {
        self.batch.rows.len() + self.dirty.len() + self.batch.events.len() >= times * ENOUGH_ROWS
            || self.bytes >= times * ENOUGH_BYTES
    }

    /// Takes them, to be written. `state` is what was applied has made.
    pub fn take(&mut self, state: &State) -> Batch {
        let Unsaved { mut batch, dirty, applied_index, .. } = std::mem::take(self);
        self.applied_index = applied_index;
        batch.rows.extend(dirty.into_iter().filter_map(|dirty| state.row_of(dirty)));
        batch
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

    /// The events of a room at these places that are not written yet, each in its newest form, by seq.
    pub fn unwritten(&self, storage: &impl Storage, room: RoomId, seqs: Range<u64>) -> Vec<EventRow> {
        let places = self.events.range((room, seqs.start)..(room, seqs.end)).map(|(_, place)| *place);
        let newer = places.filter_map(|place| self.batch.events.get(place));
        let mut events = storage.unwritten(room, seqs.clone());
        collect_events(&mut events, newer, room, &seqs);
        events.into_values().collect()
    }

    /// The first event of a room that was made at `at_ms` or later, after everything that is applied.
    pub fn first_since(
        &self,
        storage: &impl Storage,
        room: RoomId,
        at_ms: u64,
    ) -> Result<Option<u64>, StorageError> {
        let kept = storage.first_since(room, at_ms)?;
        Ok(kept.or_else(|| lowest_since(&self.batch.events, room, at_ms)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGIN: Now = Now { mono_ms: 1_000, wall_ms: 0 };
    const NEXT: Now = Now { mono_ms: 1_001, wall_ms: 0 };

    fn one() -> Unsaved {
        let mut unsaved = Unsaved::default();
        unsaved.applied(BEGIN, Applied::default());
        unsaved
    }

    #[test]
    fn it_waits_for_time_to_pass_or_for_more() {
        assert!(!Unsaved::default().is_due(Now { mono_ms: u64::MAX, wall_ms: 0 }), "there is nothing");
        let mut unsaved = one();
        assert!(!unsaved.is_due(NEXT));
        assert!(unsaved.is_due(Now { mono_ms: BEGIN.mono_ms + WAIT_MS, wall_ms: 0 }));
        assert_eq!(unsaved.take(&State::default()).applied, Some(Applied::default()));
        assert!(!unsaved.is_due(Now { mono_ms: BEGIN.mono_ms + WAIT_MS, wall_ms: 0 }));

        let mut unsaved = one();
        unsaved.add_rows((0..ENOUGH_ROWS).map(|_| Row { key: vec![], value: None }));
        assert!(unsaved.is_due(NEXT));

        let mut unsaved = one();
        unsaved.hurry();
        assert!(unsaved.is_due(NEXT));
    }
}
