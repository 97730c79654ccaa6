//! The tables of a server's disk, as a trait that SQLite and the memory twin both answer.
//!
//! Values and checksums pass through here as they are kept. The reader has to check them; only `read` and
//! `snapshot` read through this trait.

use std::borrow::Cow;

use crate::disk::StorageError;

/// An event as it is kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct RawEvent<'a> {
    pub room: u64,
    pub seq: u64,
    pub index: u64,
    pub created_at_ms: u64,
    /// The newest time of the room's events up to this one. Unlike `created_at_ms` it never falls back.
    pub newest_ms: u64,
    pub author: &'a [u8],
    pub json: &'a [u8],
    pub crc: u32,
}

/// Which events of which room, and from which end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub room: u64,
    pub after: u64,
    pub before: u64,
    pub ascending: bool,
}

impl Span {
    /// The one event of a room at this place.
    pub fn of(room: u64, seq: u64) -> Span {
        // There is no event 0, and no `after` would give it.
        Span { room, after: seq.wrapping_sub(1), before: seq.saturating_add(1), ascending: true }
    }
}

/// A piece of a file as it is kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct RawChunk<'a> {
    pub file: [u8; 16],
    pub number: u32,
    pub bytes: &'a [u8],
    pub crc: u32,
}

/// A message as searches know it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RawText<'a> {
    /// Its place among all messages: newer ones have greater numbers.
    pub lamport: u64,
    pub room: u64,
    pub seq: u64,
    pub created_at_ms: u64,
    pub author: &'a [u8],
    pub text: Cow<'a, str>,
}

/// Whether a walk over a table goes on.
pub(super) type GoOn = Result<bool, StorageError>;
/// Takes one row after the other: key, value, checksum.
pub(super) type TakeRow<'a> = &'a mut dyn FnMut(&[u8], &[u8], u32) -> GoOn;

/// Reading. Every walk goes in the order of keys, and ends when `take` says so.
pub(super) trait Tables {
    /// All named values: name, value, checksum.
    fn metas(&self, take: &mut dyn FnMut(&str, &[u8], u32) -> GoOn) -> Result<(), StorageError>;
    fn meta(&self, name: &str) -> Result<Option<(Vec<u8>, u32)>, StorageError>;
    /// State rows above a key, or all: key, value, checksum.
    fn state(&self, above: Option<&[u8]>, take: TakeRow<'_>) -> Result<(), StorageError>;
    /// One state row: its value and checksum.
    fn state_row(&self, key: &[u8]) -> Result<Option<(Vec<u8>, u32)>, StorageError>;
    fn events(&self, span: Span, take: &mut dyn FnMut(RawEvent<'_>) -> GoOn) -> Result<(), StorageError>;
    /// Events of all rooms above (room, seq).
    fn all_events(
        &self,
        above: (u64, u64),
        take: &mut dyn FnMut(RawEvent<'_>) -> GoOn,
    ) -> Result<(), StorageError>;
    /// One piece of a file: its bytes and checksum.
    fn chunk(&self, file: [u8; 16], number: u32) -> Result<Option<(Vec<u8>, u32)>, StorageError>;
    /// Pieces of all files above (file, number), or all.
    fn chunks(
        &self,
        above: Option<([u8; 16], u32)>,
        take: &mut dyn FnMut(RawChunk<'_>) -> GoOn,
    ) -> Result<(), StorageError>;
    /// The seq below which the events of a room are removed, with its checksum.
    fn floor(&self, room: u64) -> Result<Option<(u64, u32)>, StorageError>;
    /// All of these: room, seq, checksum.
    fn floors(&self, take: &mut dyn FnMut(u64, u64, u32) -> GoOn) -> Result<(), StorageError>;
    /// The checksum of the note that a file is removed, if it is.
    fn doomed(&self, file: [u8; 16]) -> Result<Option<u32>, StorageError>;
    /// All of these: file, checksum.
    fn all_doomed(&self, take: &mut dyn FnMut([u8; 16], u32) -> GoOn) -> Result<(), StorageError>;
}

/// Writing, always inside a transaction of the caller's.
///
/// Methods that replace or remove a row return the checksum of the old one, for the totals.
pub(super) trait TablesMut: Tables {
    /// Stores a named value.
    fn put_meta(&mut self, name: &str, value: &[u8], crc: u32) -> Result<(), StorageError>;
    /// Stores a state row.
    fn put_state(&mut self, key: &[u8], value: &[u8], crc: u32) -> Result<Option<u32>, StorageError>;
    /// Removes a state row.
    fn remove_state(&mut self, key: &[u8]) -> Result<Option<u32>, StorageError>;
    /// Stores an event if there is none with its room and seq; returns whether there was none.
    fn insert_event(&mut self, event: RawEvent<'_>) -> Result<bool, StorageError>;
    /// Replaces the event with its room and seq.
    fn replace_event(&mut self, event: RawEvent<'_>) -> Result<(), StorageError>;
    /// Removes an event that is there.
    fn remove_event(&mut self, room: u64, seq: u64) -> Result<(), StorageError>;
    /// Lets messages be found. The caller has removed the texts that they replace.
    fn put_texts(&mut self, texts: &[RawText<'_>]) -> Result<(), StorageError>;
    /// Lets a message be found no more. It must be given exactly as it was put.
    fn remove_text(&mut self, text: &RawText<'_>) -> Result<(), StorageError>;
    /// Stores a piece of a file.
    fn put_chunk(&mut self, chunk: RawChunk<'_>) -> Result<Option<u32>, StorageError>;
    /// Removes the first `most` pieces of a file, or all. Returns the checksums of those that are gone.
    fn remove_chunks(&mut self, file: [u8; 16], most: usize) -> Result<Vec<u32>, StorageError>;
    /// Notes that the events of a room below a seq are removed.
    fn put_floor(&mut self, room: u64, below: u64, crc: u32) -> Result<Option<u32>, StorageError>;
    fn remove_floor(&mut self, room: u64) -> Result<Option<u32>, StorageError>;
    /// Notes that a file is removed.
    fn put_doomed(&mut self, file: [u8; 16], crc: u32) -> Result<Option<u32>, StorageError>;
    fn remove_doomed(&mut self, file: [u8; 16]) -> Result<Option<u32>, StorageError>;
    /// Empties state, events, texts, files and notes of removals; named values stay.
    fn clear(&mut self) -> Result<(), StorageError>;
}
