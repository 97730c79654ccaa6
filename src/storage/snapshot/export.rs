//! A snapshot written, row by row as its bytes are read.

use std::{
    io::{self, Read},
    ops::Deref,
};

use super::{CHUNK, END, EVENT, HEAD, MAGIC, SNAPSHOT_VERSION, STATE, chained};
use crate::{
    disk::{Cluster, StorageError},
    protocol::{peer::SnapshotHead, rules::RulesVersion},
    storage::{
        read::check_state,
        record::{AppliedRecord, check_chunk, check_event, name, stored},
        sweep::Removed,
        tables::{RawChunk, RawEvent, Tables},
        totals::Totals,
    },
};

/// Rows are read from the tables until so many bytes wait to be sent.
const CHUNK_BYTES: usize = 64 * 1024;

/// The head of a snapshot of these tables. Its `term` is 0 and its `rules` are the first: only the sender
/// knows them.
fn head(tables: &(impl Tables + ?Sized)) -> Result<SnapshotHead, StorageError> {
    let cluster: Option<Cluster> = stored(tables, name::CLUSTER)?;
    let cluster = cluster.ok_or_else(|| {
        StorageError::Failed("a snapshot was asked for before there is a cluster to have one".to_owned())
    })?;
    let applied: AppliedRecord = stored(tables, name::APPLIED)?.unwrap_or_default();
    let (index, index_term, conf) = applied;
    Ok(SnapshotHead {
        cluster_id: cluster.cluster_id,
        term: 0,
        index,
        index_term,
        conf,
        rules: RulesVersion::FIRST,
    })
}

/// Gives the bytes of a snapshot; rows are read as they are needed.
///
/// `source` must not change meanwhile: it is a read transaction, or an image of the twin.
pub struct Export<S> {
    source: S,
    head: SnapshotHead,
    expected: Totals,
    /// Rows that are removed and not wiped yet. They are not sent.
    removed: Removed,
    stage: Stage,
    out: Records,
    /// How much of `out` was given away.
    given: usize,
    /// The totals of what was read, to be compared with `expected`.
    read: Totals,
    /// The totals of what was sent; the same, except for removed rows.
    sent: Totals,
}

enum Stage {
    Head,
    State { above: Option<Vec<u8>> },
    Events { above: (u64, u64) },
    Chunks { above: Option<([u8; 16], u32)> },
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
        let removed = Removed::read(&*source)?;
        Ok(Export {
            source,
            head,
            expected,
            removed,
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

    /// Puts more records into `out`, at least one until all are there.
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
                    sent.state.put(crc, None);
                    out.push(STATE, &[&len32(key), key, value]);
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
                let removed = &self.removed;
                let mut next = None;
                self.source.all_events(*above, &mut |event| {
                    check_event(&event)?;
                    read.events.put(event.crc, None);
                    if event.seq >= removed.floor(event.room) {
                        sent.events.put(event.crc, None);
                        push_event(out, &event);
                    }
                    if out.bytes.len() >= CHUNK_BYTES {
                        next = Some((event.room, event.seq));
                    }
                    Ok(next.is_none())
                })?;
                next.map_or(Stage::Chunks { above: None }, |above| Stage::Events { above })
            }
            Stage::Chunks { above } => {
                let (out, read, sent) = (&mut self.out, &mut self.read, &mut self.sent);
                let removed = &self.removed;
                let mut next = None;
                self.source.chunks(*above, &mut |chunk| {
                    check_chunk(&chunk)?;
                    read.chunks.put(chunk.crc, None);
                    if !removed.dooms(chunk.file) {
                        sent.chunks.put(chunk.crc, None);
                        push_chunk(out, &chunk);
                    }
                    if out.bytes.len() >= CHUNK_BYTES {
                        next = Some((chunk.file, chunk.number));
                    }
                    Ok(next.is_none())
                })?;
                next.map_or(Stage::End, |above| Stage::Chunks { above: Some(above) })
            }
            Stage::End => {
                self.expected.state.check(&self.read.state, "rows of state")?;
                self.expected.events.check(&self.read.events, "events")?;
                self.expected.chunks.check(&self.read.chunks, "pieces of files")?;
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

fn push_event(out: &mut Records, event: &RawEvent<'_>) {
    let RawEvent { room, seq, index, created_at_ms, newest_ms, .. } = *event;
    let numbers = [room, seq, index, created_at_ms, newest_ms].map(u64::to_le_bytes);
    out.push(EVENT, &[numbers.as_flattened(), &len32(event.author), event.author, event.json]);
}

fn push_chunk(out: &mut Records, chunk: &RawChunk<'_>) {
    out.push(CHUNK, &[&chunk.file, &chunk.number.to_le_bytes(), chunk.bytes]);
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
