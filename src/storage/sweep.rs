//! What is removed at once and wiped bit by bit: old events of rooms, and files.
//!
//! A room whose retention was just set may lose a million events, a file may have thousands of pieces, and
//! the replica has to go on. So a batch only notes what is gone; from then on no reader sees it and no snapshot
//! has it, and each commit wipes a slice of it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{
    bounds::{Totals, stored},
    record::{check_event, name, put_meta, raw_text},
    tables::{RawEvent, Span, Tables, TablesMut},
};
use crate::replica::storage::{Batch, StorageError};

/// Events that one commit wipes at most. Each word of each is taken out of a page of the index that is found and
/// written for it alone: up to a millisecond for a message.
const EVENTS_SLICE: usize = 16;
/// Pieces of files that one commit wipes at most.
const CHUNKS_SLICE: usize = 32;

/// What is removed and not wiped yet.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Sweep {
    /// Of these rooms everything below a seq.
    floors: BTreeMap<u64, u64>,
    /// These files.
    files: BTreeSet<[u8; 16]>,
}

impl Sweep {
    pub fn read(tables: &(impl Tables + ?Sized)) -> Result<Sweep, StorageError> {
        Ok(stored(tables, name::SWEEP)?.unwrap_or_default())
    }

    /// The first seq of the room that is not removed, as far as is known here.
    pub fn floor(&self, room: u64) -> u64 {
        self.floors.get(&room).copied().unwrap_or(0)
    }

    /// Whether the file is removed, as far as is known here.
    pub fn dooms(&self, file: [u8; 16]) -> bool {
        self.files.contains(&file)
    }

    /// Takes note of what `batch` removes.
    pub fn add(&mut self, tables: &mut impl TablesMut, batch: &Batch) -> Result<(), StorageError> {
        if batch.expired.is_empty() && batch.removed_files.is_empty() {
            return Ok(());
        }
        for (room, below) in &batch.expired {
            let floor = self.floors.entry(room.0).or_default();
            *floor = below.max(floor).to_owned();
        }
        self.files.extend(batch.removed_files.iter().map(|file| file.0));
        put_meta(tables, name::SWEEP, self)
    }

    /// Wipes as much as one commit may. Returns whether it wiped anything.
    pub fn slice<T: TablesMut>(&mut self, tables: &mut T, totals: &mut Totals) -> Result<bool, StorageError> {
        let before = (self.floors.len(), self.files.len());
        let mut most = EVENTS_SLICE;
        while let Some((&room, &floor)) = self.floors.first_key_value() {
            let wiped = wipe_events(tables, totals, (room, floor), most)?;
            most -= wiped;
            if most == 0 {
                break;
            }
            self.floors.pop_first();
        }
        let mut most = CHUNKS_SLICE;
        while let Some(&file) = self.files.first() {
            let wiped = tables.remove_chunks(file, most)?;
            wiped.iter().for_each(|crc| totals.chunks.remove(Some(*crc)));
            most -= wiped.len();
            if most == 0 {
                break;
            }
            self.files.pop_first();
        }
        if before != (self.floors.len(), self.files.len()) {
            put_meta(tables, name::SWEEP, self)?;
        }
        Ok(before != (0, 0))
    }
}

/// Wipes up to `most` events of `room` below `floor`; returns how many.
fn wipe_events<T: TablesMut>(
    tables: &mut T,
    totals: &mut Totals,
    (room, floor): (u64, u64),
    most: usize,
) -> Result<usize, StorageError> {
    let mut found = Vec::new();
    tables.events(Span { room, after: 0, before: floor, ascending: true }, &mut |raw| {
        check_event(&raw)?;
        found.push((raw.seq, raw.created_at_ms, raw.author.to_vec(), raw.json.to_vec(), raw.crc));
        Ok(found.len() < most)
    })?;
    for (seq, created_at_ms, author, json, crc) in &found {
        let raw =
            RawEvent { room, seq: *seq, index: 0, created_at_ms: *created_at_ms, author, json, crc: *crc };
        if let Some(text) = raw_text(&raw) {
            tables.remove_text(&text)?;
        }
        tables.remove_event(room, *seq)?;
        totals.events.remove(Some(*crc));
    }
    Ok(found.len())
}
