//! The copy of a whole state that one server sends another: a stream of rows, not of database pages.
//!
//! The design has a copy of the database made with SQLite's backup and put in place by rename. Sending
//! the rows instead is smaller (no log, indexes or free pages), leaves the receiver's file in place, so that
//! its readers stay valid and installing is one transaction that rolls back whole; it needs no space for a
//! second database, can be read by a server whose schema is a version apart, and is the same for the
//! memory twin, so the simulation exercises it.
//!
//! ```text
//! stream  = "SNSNAP" version:u16  record*
//! record  = length:u32  crc:u32  body              length of the body; all numbers little-endian
//! body    = 1 head                                  postcard of SnapshotHead
//!         | 2 key-length:u32 key value              a row of state
//!         | 3 room seq index created_at_ms:u64      an event
//!             author-length:u32 author json
//!         | 4 totals                                postcard; the last record
//! ```
//! A record's CRC covers the CRC of the record before it and then its body, so that a record that is
//! missing, doubled or in another's place is noticed as surely as a flipped bit.

use std::{
    io::{self, Read},
    ops::Deref,
};

use super::{
    bounds::{Totals, stored},
    checksum,
    read::check_state,
    record::{AppliedRecord, check_event, doubt, exact, name},
    tables::{RawEvent, Tables, TablesMut},
};
use crate::{
    chat::rows,
    planted::{Bug, planted},
    protocol::peer::SnapshotHead,
    replica::storage::{Cluster, StorageError},
};

const MAGIC: &[u8; 6] = b"SNSNAP";
/// The version of the format; another is refused.
pub const SNAPSHOT_VERSION: u16 = 1;
/// Larger records are refused before memory is taken for them.
const RECORD_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Rows are read from the database until so many bytes wait to be sent.
const CHUNK_BYTES: usize = 64 * 1024;

const HEAD: u8 = 1;
const STATE: u8 = 2;
const EVENT: u8 = 3;
const END: u8 = 4;

/// What a snapshot of these tables is. Its `term` is 0: only the sender knows it.
pub(super) fn head(tables: &(impl Tables + ?Sized)) -> Result<SnapshotHead, StorageError> {
    let cluster: Option<Cluster> = stored(tables, name::CLUSTER)?;
    let cluster = cluster.ok_or_else(|| {
        StorageError::Failed("a snapshot was asked for before there is a cluster to have one".to_owned())
    })?;
    let applied: AppliedRecord = stored(tables, name::APPLIED)?.unwrap_or_default();
    let (index, index_term, conf) = applied;
    Ok(SnapshotHead { cluster_id: cluster.cluster_id, term: 0, index, index_term, conf })
}

/// Gives the bytes of a snapshot, reading rows as they are asked for.
///
/// `source` must not change meanwhile: it is a read transaction, or an image of the twin.
pub(super) struct Export<S> {
    source: S,
    head: SnapshotHead,
    expected: Totals,
    stage: Stage,
    out: Records,
    /// How much of `out` was given away.
    given: usize,
    /// What was read, to be compared with `expected`.
    read: Totals,
    /// What was sent; the same, but for a planted bug.
    sent: Totals,
}

/// What comes next.
enum Stage {
    Head,
    State { above: Option<Vec<u8>> },
    Events { above: (u64, u64) },
    End,
    Done,
    Broken(StorageError),
}

impl<S> Export<S>
where
    S: Deref,
    S::Target: Tables,
{
    pub fn new(source: S) -> Result<Self, StorageError> {
        let head = head(&*source)?;
        let expected = stored(&*source, name::TOTALS)?.unwrap_or_default();
        Ok(Export {
            source,
            head,
            expected,
            stage: Stage::Head,
            out: Records::default(),
            given: 0,
            read: Totals::default(),
            sent: Totals::default(),
        })
    }

    pub fn head(&self) -> &SnapshotHead {
        &self.head
    }

    /// Puts more records into `out`, at least one unless everything was said.
    fn advance(&mut self) -> Result<(), StorageError> {
        self.stage = match &self.stage {
            Stage::Head => {
                self.out.bytes.extend(MAGIC);
                self.out.bytes.extend(SNAPSHOT_VERSION.to_le_bytes());
                let head = postcard::to_stdvec(&self.head).expect("plain data always encodes");
                self.out.push(HEAD, &[&head]);
                Stage::State { above: None }
            }
            Stage::State { above } => {
                let (out, read, sent) = (&mut self.out, &mut self.read, &mut self.sent);
                let mut next = None;
                self.source.state(above.as_deref(), &mut |key, value, crc| {
                    check_state(key, value, crc)?;
                    read.state.put(crc, None);
                    if !dropped(key) {
                        sent.state.put(crc, None);
                        out.push(STATE, &[&len32(key), key, value]);
                    }
                    if out.bytes.len() >= CHUNK_BYTES {
                        next = Some(key.to_vec());
                    }
                    Ok(next.is_none())
                })?;
                match next {
                    Some(key) => Stage::State { above: Some(key) },
                    None => Stage::Events { above: (0, 0) },
                }
            }
            Stage::Events { above } => {
                let (out, read, sent) = (&mut self.out, &mut self.read, &mut self.sent);
                let mut next = None;
                self.source.all_events(*above, &mut |event| {
                    check_event(&event)?;
                    read.events.put(event.crc, None);
                    sent.events.put(event.crc, None);
                    push_event(out, &event);
                    if out.bytes.len() >= CHUNK_BYTES {
                        next = Some((event.room, event.seq));
                    }
                    Ok(next.is_none())
                })?;
                next.map_or(Stage::End, |above| Stage::Events { above })
            }
            Stage::End => {
                self.expected.state.check(&self.read.state, "rows of state")?;
                self.expected.events.check(&self.read.events, "events")?;
                let totals = postcard::to_stdvec(&self.sent).expect("plain data always encodes");
                self.out.push(END, &[&totals]);
                Stage::Done
            }
            Stage::Done => Stage::Done,
            Stage::Broken(error) => return Err(error.clone()),
        };
        Ok(())
    }
}

impl<S> Read for Export<S>
where
    S: Deref,
    S::Target: Tables,
{
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.given == self.out.bytes.len() && !matches!(self.stage, Stage::Done) {
            self.out.bytes.clear();
            self.given = 0;
            if let Err(error) = self.advance() {
                self.out.bytes.clear();
                self.stage = Stage::Broken(error.clone());
                return Err(io::Error::other(error));
            }
        }
        let count = into.len().min(self.out.bytes.len() - self.given);
        into[..count].copy_from_slice(&self.out.bytes[self.given..][..count]);
        self.given += count;
        Ok(count)
    }
}

/// Bugs on purpose: rows that a snapshot forgets.
fn dropped(key: &[u8]) -> bool {
    (planted(Bug::SnapshotDropsDedup) && key.first() == Some(&rows::SENT))
        || (planted(Bug::SnapshotDropsClock) && key.first() == Some(&rows::CLOCK))
}

fn push_event(out: &mut Records, event: &RawEvent<'_>) {
    let numbers = [event.room, event.seq, event.index, event.created_at_ms].map(u64::to_le_bytes);
    out.push(EVENT, &[numbers.as_flattened(), &len32(event.author), event.author, event.json]);
}

fn len32(bytes: &[u8]) -> [u8; 4] {
    u32::try_from(bytes.len()).expect("keys and names are a few bytes").to_le_bytes()
}

/// Records as they are written.
#[derive(Default)]
struct Records {
    bytes: Vec<u8>,
    crc: u32,
}

impl Records {
    fn push(&mut self, kind: u8, parts: &[&[u8]]) {
        let length: usize = 1 + parts.iter().map(|part| part.len()).sum::<usize>();
        let length = u32::try_from(length).expect("a row is far below 4 GiB");
        self.bytes.extend(length.to_le_bytes());
        let crc_at = self.bytes.len();
        self.bytes.extend([0; 4]);
        self.bytes.push(kind);
        for part in parts {
            self.bytes.extend(*part);
        }
        self.crc = chained(self.crc, &self.bytes[crc_at + 4..]);
        self.bytes[crc_at..crc_at + 4].copy_from_slice(&self.crc.to_le_bytes());
    }
}

fn chained(before: u32, body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&before.to_le_bytes());
    hasher.update(body);
    hasher.finalize()
}

/// Writes the rows of a snapshot into empty tables and returns their totals. Anything that is not as the
/// sender wrote it, or that is not the snapshot which `head` announced, is `Doubtful`.
pub(super) fn import<T: TablesMut>(
    tables: &mut T,
    head: &SnapshotHead,
    content: &mut dyn Read,
) -> Result<Totals, StorageError> {
    let mut records = Incoming::begin(content)?;
    match records.next()? {
        (HEAD, body) => check_head(head, body)?,
        (kind, _) => return Err(doubt(format!("the snapshot begins with a record of kind {kind}"))),
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
                let replaced = tables.put_event(event)?;
                totals.events.put(event.crc, replaced);
            }
            (END, body) => {
                let sent: Totals = exact(body).map_err(|_| malformed("end"))?;
                sent.state.check(&totals.state, "rows of the snapshot")?;
                sent.events.check(&totals.events, "events of the snapshot")?;
                records.end()?;
                return Ok(totals);
            }
            (kind, _) => return Err(doubt(format!("the snapshot has a record of unknown kind {kind}"))),
        }
    }
}

/// The sender's term is said beside the snapshot and not in it.
fn check_head(announced: &SnapshotHead, body: &[u8]) -> Result<(), StorageError> {
    let found: SnapshotHead = exact(body).map_err(|_| malformed("head"))?;
    if (SnapshotHead { term: announced.term, ..found }) == *announced {
        return Ok(());
    }
    Err(doubt(format!("a snapshot up to entry {} was announced, and another one came", announced.index)))
}

/// Records as they are read.
struct Incoming<'a> {
    content: &'a mut dyn Read,
    crc: u32,
    body: Vec<u8>,
}

impl<'a> Incoming<'a> {
    fn begin(content: &'a mut dyn Read) -> Result<Self, StorageError> {
        let mut incoming = Incoming { content, crc: 0, body: Vec::new() };
        let magic: [u8; 6] = incoming.array()?;
        if magic != *MAGIC {
            return Err(doubt("what came as a snapshot is none"));
        }
        let version = u16::from_le_bytes(incoming.array()?);
        if version != SNAPSHOT_VERSION {
            return Err(doubt(format!(
                "the snapshot has format {version}; this program reads {SNAPSHOT_VERSION}"
            )));
        }
        Ok(incoming)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], StorageError> {
        let mut bytes = [0; N];
        self.content.read_exact(&mut bytes).map_err(unreadable)?;
        Ok(bytes)
    }

    /// The next record: its kind and the rest of its body.
    fn next(&mut self) -> Result<(u8, &[u8]), StorageError> {
        let length = u32::from_le_bytes(self.array()?) as usize;
        if !(1..=RECORD_BYTES_MAX).contains(&length) {
            return Err(doubt(format!("the snapshot has a record of {length} bytes")));
        }
        let crc = u32::from_le_bytes(self.array()?);
        self.body.resize(length, 0);
        self.content.read_exact(&mut self.body).map_err(unreadable)?;
        self.crc = chained(self.crc, &self.body);
        if self.crc != crc {
            return Err(doubt("a record of the snapshot fails its checksum"));
        }
        Ok((self.body[0], &self.body[1..]))
    }

    /// Nothing may follow the last record.
    fn end(&mut self) -> Result<(), StorageError> {
        match self.content.read(&mut [0]) {
            Ok(0) => Ok(()),
            Ok(_) => Err(doubt("the snapshot goes on after its end")),
            Err(error) => Err(unreadable(error)),
        }
    }
}

fn split_state(body: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = body.split_first_chunk::<4>()?;
    rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)
}

fn split_event(body: &[u8]) -> Option<RawEvent<'_>> {
    let (numbers, rest) = body.split_first_chunk::<32>()?;
    let mut numbers = numbers.as_chunks::<8>().0.iter().map(|bytes| u64::from_le_bytes(*bytes));
    let (room, seq, index, created_at_ms) =
        (numbers.next()?, numbers.next()?, numbers.next()?, numbers.next()?);
    let (author, json) = split_state(rest)?;
    Some(RawEvent { room, seq, index, created_at_ms, author, json, crc: 0 })
}

/// The database has not been touched by this: whatever goes wrong with the content is the content's.
fn unreadable(error: io::Error) -> StorageError {
    doubt(format!("the snapshot cannot be read to its end: {error}"))
}

fn malformed(what: &str) -> StorageError {
    doubt(format!("the snapshot has a {what} that does not decode"))
}
