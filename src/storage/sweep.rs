//! Rows that are removed at once and wiped bit by bit: old events of rooms, and files.
//!
//! A room whose retention was just set may lose a million events, a file may have thousands of pieces, and
//! the replica has to go on. So a batch only notes what is removed. From then on no reader and no snapshot
//! has it, and each commit wipes a slice of it.
//!
//! ```text
//! floor (room, below)   everything of this room below a seq
//! doomed (file)         everything of this file
//! ```
//!
//! A note stays until the last row that it is about is wiped. There may be as many as there are files, so a
//! read of one event or piece reads only the one note about it. Their count and sum are stored as well: a
//! lost note would bring back what was deleted.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    checksum,
    record::{check_event, doubt, name, put_meta, raw_text, stored},
    tables::{RawEvent, Span, Tables, TablesMut},
    totals::{Total, Totals},
};
use crate::disk::{Batch, FileId, StorageError};

/// Events that one commit wipes at most. For each word a page of the index is found and written: up to a
/// millisecond for a message.
const EVENTS_SLICE: usize = 16;
/// Pieces of files that one commit wipes at most.
const CHUNKS_SLICE: usize = 32;

/// The first seq of the room that is not removed.
pub(super) fn floor(tables: &(impl Tables + ?Sized), room: u64) -> Result<u64, StorageError> {
    match tables.floor(room)? {
        Some((below, crc)) => check_floor(room, below, crc).map(|()| below),
        None => Ok(0),
    }
}

/// Whether the file is removed.
pub(super) fn is_doomed(tables: &(impl Tables + ?Sized), file: [u8; 16]) -> Result<bool, StorageError> {
    match tables.doomed(file)? {
        Some(crc) => check_doomed(file, crc).map(|()| true),
        None => Ok(false),
    }
}

fn check_floor(room: u64, below: u64, crc: u32) -> Result<(), StorageError> {
    if checksum::floor(room, below) == crc {
        return Ok(());
    }
    Err(doubt(format!("the note of what is removed of room {room} fails its checksum")))
}

fn check_doomed(file: [u8; 16], crc: u32) -> Result<(), StorageError> {
    if checksum::doomed(file) == crc {
        return Ok(());
    }
    Err(doubt(format!("the note that file {} is removed fails its checksum", FileId(file))))
}

/// All notes, for reading all events and files.
#[derive(Debug, Default)]
pub(super) struct Removed {
    floors: BTreeMap<u64, u64>,
    files: BTreeSet<[u8; 16]>,
}

impl Removed {
    /// Reads and checks them.
    pub fn read(tables: &(impl Tables + ?Sized)) -> Result<Removed, StorageError> {
        let mut removed = Removed::default();
        let mut counted = Total::default();
        tables.floors(&mut |room, below, crc| {
            check_floor(room, below, crc)?;
            counted.put(crc, None);
            removed.floors.insert(room, below);
            Ok(true)
        })?;
        tables.all_doomed(&mut |file, crc| {
            check_doomed(file, crc)?;
            counted.put(crc, None);
            removed.files.insert(file);
            Ok(true)
        })?;
        let noted: Total = stored(tables, name::SWEEP)?.unwrap_or_default();
        noted.check(&counted, "notes of what is removed")?;
        Ok(removed)
    }

    /// The first seq of the room that is not removed.
    pub fn floor(&self, room: u64) -> u64 {
        self.floors.get(&room).copied().unwrap_or(0)
    }

    /// Whether the file is removed.
    pub fn dooms(&self, file: [u8; 16]) -> bool {
        self.files.contains(&file)
    }
}

/// What the writer keeps of the notes in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Sweep {
    /// Count and sum of the notes.
    noted: Total,
    /// About how many events are removed and not wiped yet.
    events: u64,
}

impl Sweep {
    /// Reads and checks what is noted.
    pub fn read(tables: &(impl Tables + ?Sized)) -> Result<Sweep, StorageError> {
        let removed = Removed::read(tables)?;
        let mut sweep = Sweep { noted: stored(tables, name::SWEEP)?.unwrap_or_default(), events: 0 };
        for (room, below) in &removed.floors {
            sweep.events += events_between(tables, *room, 0, *below)?;
        }
        Ok(sweep)
    }

    /// Stores the count and sum of the notes.
    pub fn store(&self, tables: &mut impl TablesMut) -> Result<(), StorageError> {
        put_meta(tables, name::SWEEP, &self.noted)
    }

    /// Whether there is something to wipe.
    pub fn is_pending(&self) -> bool {
        self.noted.rows > 0
    }

    /// About how many events are to be wiped.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// Notes what `batch` removes.
    pub fn add<T: TablesMut>(&mut self, tables: &mut T, batch: &Batch) -> Result<(), StorageError> {
        let before = self.noted;
        for (room, below) in &batch.expired {
            let old = floor(tables, room.0)?;
            if *below > old {
                self.events += events_between(tables, room.0, old, *below)?;
                self.put_floor(tables, room.0, *below)?;
            }
        }
        for file in &batch.removed_files {
            self.put_doomed(tables, file.0)?;
        }
        if self.noted != before { self.store(tables) } else { Ok(()) }
    }

    /// Notes what is removed of a room.
    fn put_floor(&mut self, tables: &mut impl TablesMut, room: u64, below: u64) -> Result<(), StorageError> {
        let crc = checksum::floor(room, below);
        let replaced = tables.put_floor(room, below, crc)?;
        self.noted.put(crc, replaced);
        Ok(())
    }

    /// Notes that a file is removed.
    fn put_doomed(&mut self, tables: &mut impl TablesMut, file: [u8; 16]) -> Result<(), StorageError> {
        let crc = checksum::doomed(file);
        let replaced = tables.put_doomed(file, crc)?;
        self.noted.put(crc, replaced);
        Ok(())
    }

    /// Wipes as much as one commit may. Returns whether it wiped anything.
    pub fn slice<T: TablesMut>(&mut self, tables: &mut T, totals: &mut Totals) -> Result<bool, StorageError> {
        if !self.is_pending() {
            return Ok(false);
        }
        let before = self.noted;
        let mut most = EVENTS_SLICE;
        while let Some((room, below)) = first_floor(tables)? {
            let wiped = wipe_events(tables, totals, (room, below), most)?;
            self.events = self.events.saturating_sub(wiped as u64);
            most -= wiped;
            if most == 0 {
                break;
            }
            self.noted.remove(tables.remove_floor(room)?);
        }
        let mut most = CHUNKS_SLICE;
        while let Some(file) = first_doomed(tables)? {
            let wiped = tables.remove_chunks(file, most)?;
            wiped.iter().for_each(|crc| totals.chunks.remove(Some(*crc)));
            most -= wiped.len();
            if most == 0 {
                break;
            }
            self.noted.remove(tables.remove_doomed(file)?);
        }
        if self.noted != before {
            self.store(tables)?;
        }
        if !self.is_pending() {
            self.events = 0;
        }
        Ok(true)
    }
}

fn first_floor(tables: &impl Tables) -> Result<Option<(u64, u64)>, StorageError> {
    let mut first = None;
    tables.floors(&mut |room, below, crc| {
        check_floor(room, below, crc)?;
        first = Some((room, below));
        Ok(false)
    })?;
    Ok(first)
}

fn first_doomed(tables: &impl Tables) -> Result<Option<[u8; 16]>, StorageError> {
    let mut first = None;
    tables.all_doomed(&mut |file, crc| {
        check_doomed(file, crc)?;
        first = Some(file);
        Ok(false)
    })?;
    Ok(first)
}

/// How many events of a room there are from one seq to below another. A room's events have no holes.
fn events_between(
    tables: &(impl Tables + ?Sized),
    room: u64,
    first: u64,
    below: u64,
) -> Result<u64, StorageError> {
    let mut count = 0;
    let span = Span { room, after: first.saturating_sub(1), before: below, ascending: true };
    tables.events(span, &mut |raw| {
        count = below - raw.seq;
        Ok(false)
    })?;
    Ok(count)
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
        let (seq, created_at_ms, crc) = (*seq, *created_at_ms, *crc);
        // Of these, searches know only the place, the time and the text.
        let raw = RawEvent { room, seq, index: 0, created_at_ms, newest_ms: 0, author, json, crc };
        if let Some(text) = raw_text(&raw) {
            tables.remove_text(&text)?;
        }
        tables.remove_event(room, seq)?;
        totals.events.remove(Some(crc));
    }
    Ok(found.len())
}
