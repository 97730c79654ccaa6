//! A snapshot read, record by record, into tables. If it cannot be used, the caller rolls them back.

use std::io::{self, Read};

use super::{CHUNK, END, EVENT, HEAD, MAGIC, SNAPSHOT_VERSION, STATE, chained};
use crate::{
    disk::InstallError,
    protocol::{peer::SnapshotHead, text::counted},
    storage::{
        checksum, event,
        record::exact,
        tables::{RawChunk, RawEvent, TablesMut},
        totals::Totals,
    },
};

/// Larger records are refused before memory is taken for them.
const RECORD_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Writes the rows of a snapshot into empty tables and returns their totals. Anything that is not as the
/// sender wrote it, or that is not the snapshot which `head` announced, is `Unreadable`.
pub fn import<T: TablesMut>(
    tables: &mut T,
    head: &SnapshotHead,
    content: &mut dyn Read,
) -> Result<Totals, InstallError> {
    let mut records = Incoming::begin(content)?;
    match records.next()? {
        (HEAD, body) => check_head(head, body)?,
        (kind, _) => return Err(unreadable(format!("the snapshot begins with a record of kind {kind}"))),
    }
    let mut totals = Totals::default();
    loop {
        match records.next()? {
            (STATE, body) => {
                let (key, value) = split_state(body).ok_or_else(|| malformed("row of state"))?;
                let crc = checksum::state(key, value);
                let replaced = tables.put_state(key, value, crc)?;
                totals.state.put(crc, replaced);
            }
            (EVENT, body) => {
                let mut event = split_event(body).ok_or_else(|| malformed("event"))?;
                event.crc = checksum::event(&event);
                if !event::insert(tables, event)? {
                    return Err(unreadable("the snapshot has an event twice"));
                }
                totals.events.put(event.crc, None);
            }
            (CHUNK, body) => {
                let mut chunk = split_chunk(body).ok_or_else(|| malformed("piece of a file"))?;
                chunk.crc = checksum::chunk(&chunk);
                let replaced = tables.put_chunk(chunk)?;
                totals.chunks.put(chunk.crc, replaced);
            }
            (END, body) => {
                let sent: Totals = exact(body).map_err(|_| malformed("end"))?;
                if sent != totals {
                    return Err(unreadable("the snapshot has other rows than were put into it"));
                }
                records.end()?;
                return Ok(totals);
            }
            (kind, _) => return Err(unreadable(format!("the snapshot has a record of unknown kind {kind}"))),
        }
    }
}

/// The sender's term and rules are announced, but not in the snapshot itself.
pub(super) fn check_head(announced: &SnapshotHead, body: &[u8]) -> Result<(), InstallError> {
    let found: SnapshotHead = exact(body).map_err(|_| malformed("head"))?;
    if (SnapshotHead { term: announced.term, rules: announced.rules, ..found }) == *announced {
        return Ok(());
    }
    Err(unreadable(format!("a snapshot up to entry {} was announced, and another one came", announced.index)))
}

/// Records as they are read.
pub(super) struct Incoming<'a> {
    content: &'a mut dyn Read,
    crc: u32,
    body: Vec<u8>,
}

impl<'a> Incoming<'a> {
    pub fn begin(content: &'a mut dyn Read) -> Result<Self, InstallError> {
        let mut incoming = Incoming { content, crc: 0, body: Vec::new() };
        let magic: [u8; 6] = incoming.array()?;
        if magic != *MAGIC {
            return Err(unreadable("what came as a snapshot is none"));
        }
        let version = u16::from_le_bytes(incoming.array()?);
        if version != SNAPSHOT_VERSION {
            return Err(unreadable(format!(
                "the snapshot has format {version}; this program reads {SNAPSHOT_VERSION}"
            )));
        }
        Ok(incoming)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], InstallError> {
        let mut bytes = [0; N];
        self.content.read_exact(&mut bytes).map_err(cut_short)?;
        Ok(bytes)
    }

    /// The next record: its kind and the rest of its body.
    pub fn next(&mut self) -> Result<(u8, &[u8]), InstallError> {
        let length = u32::from_le_bytes(self.array()?) as usize;
        if !(1..=RECORD_BYTES_MAX).contains(&length) {
            return Err(unreadable(format!(
                "the snapshot has a record of {}",
                counted(length as u64, "byte")
            )));
        }
        let crc = u32::from_le_bytes(self.array()?);
        self.body.resize(length, 0);
        self.content.read_exact(&mut self.body).map_err(cut_short)?;
        self.crc = chained(self.crc, &self.body);
        if self.crc != crc {
            return Err(unreadable("a record of the snapshot fails its checksum"));
        }
        Ok((self.body[0], &self.body[1..]))
    }

    /// Nothing may follow the last record.
    pub fn end(&mut self) -> Result<(), InstallError> {
        match self.content.read(&mut [0]) {
            Ok(0) => Ok(()),
            Ok(_) => Err(unreadable("the snapshot goes on after its end")),
            Err(error) => Err(cut_short(error)),
        }
    }
}

pub(super) fn split_state(body: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = body.split_first_chunk::<4>()?;
    rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)
}

pub(super) fn split_event(body: &[u8]) -> Option<RawEvent<'_>> {
    let (numbers, rest) = body.split_first_chunk::<40>()?;
    let mut numbers = numbers.as_chunks::<8>().0.iter().map(|bytes| u64::from_le_bytes(*bytes));
    let (room, seq, index) = (numbers.next()?, numbers.next()?, numbers.next()?);
    let (created_at_ms, newest_ms) = (numbers.next()?, numbers.next()?);
    let (author, json) = split_state(rest)?;
    let is_text = std::str::from_utf8(author).is_ok() && std::str::from_utf8(json).is_ok();
    is_text.then_some(RawEvent { room, seq, index, created_at_ms, newest_ms, author, json, crc: 0 })
}

pub(super) fn split_chunk(body: &[u8]) -> Option<RawChunk<'_>> {
    let (file, rest) = body.split_first_chunk::<16>()?;
    let (number, bytes) = rest.split_first_chunk::<4>()?;
    Some(RawChunk { file: *file, number: u32::from_le_bytes(*number), bytes, crc: 0 })
}

/// The error for content that cannot be read, which is no error of the disk.
fn cut_short(error: io::Error) -> InstallError {
    unreadable(format!("the snapshot cannot be read to its end: {error}"))
}

pub(super) fn malformed(what: &str) -> InstallError {
    unreadable(format!("the snapshot has a {what} that does not decode"))
}

pub(super) fn unreadable(why: impl Into<String>) -> InstallError {
    InstallError::Unreadable(why.into())
}
