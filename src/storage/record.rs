//! How values are written: log entries, events, and the few things that have a name.

use std::sync::Arc;

use serde::{Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;

use super::{
    checksum,
    tables::{RawChunk, RawEvent, RawText, Tables, TablesMut},
};
use crate::{
    disk::{Applied, ChunkRow, DamagedRow, EventRow, FileId, HardState, RoomId, StorageError},
    protocol::{
        name::{ServerId, UserKey},
        peer::{ConfState, LogEntry, LogEntryKind, LogMark, NodeId, RowKey},
        search::searchable,
    },
};

pub(super) use crate::protocol::binary::decode as exact;

/// Names of the named values.
pub(super) mod name {
    /// The version of the tables. SQLite's header says it too, and has no checksum.
    pub const SCHEMA: &str = "schema";
    /// Server id and incarnation.
    pub const IDENTITY: &str = "identity";
    /// How often the folder was opened.
    pub const BOOT: &str = "boot";
    pub const CLUSTER: &str = "cluster";
    /// Term, vote, commit, as of when the log was last begun anew.
    pub const HARD_STATE: &str = "hard_state";
    /// How often the log was begun anew.
    pub const GENERATION: &str = "generation";
    /// How many transactions were written.
    pub const WRITTEN: &str = "written";
    /// How far the state goes.
    pub const APPLIED: &str = "applied";
    /// The entry before the first one of the log that is still needed.
    pub const TRUNCATED: &str = "truncated";
    /// Count and sum of state rows, events and pieces of files.
    pub const TOTALS: &str = "totals";
    /// Count and sum of the notes of what is removed and not wiped yet.
    pub const SWEEP: &str = "sweep";
    /// How far the index of searches is made, and by which version of the terms.
    pub const INDEX: &str = "index";
}

/// The part of `Identity` that never changes, as it is stored.
pub(super) type IdentityRecord = (ServerId, NodeId);
/// The stored form of `HardState`.
pub(super) type HardStateRecord = (u64, Option<NodeId>, u64);
/// The stored form of `Applied`.
pub(super) type AppliedRecord = (u64, u64, ConfState);

/// The stored progress of the index of searches: version, events done, and where to go on.
pub(super) type IndexRecord = (u32, u64, Option<(u64, u64)>);

pub(super) fn hard_state(state: HardState) -> HardStateRecord {
    (state.term, state.vote, state.commit)
}

pub(super) fn applied(applied: &Applied) -> (u64, u64, &ConfState) {
    (applied.index, applied.term, &applied.conf)
}

pub(super) fn mark(entry: &LogEntry) -> LogMark {
    LogMark { last_log_term: entry.term, last_log_index: entry.index }
}

/// Stores a named value with its checksum.
pub(super) fn put_meta<T: TablesMut + ?Sized>(
    tables: &mut T,
    name: &str,
    value: &impl Serialize,
) -> Result<(), StorageError> {
    let value = postcard::to_stdvec(value).expect("plain data always encodes");
    tables.put_meta(name, &value, checksum::meta(name, &value))
}

/// A named value, checked; `None` if it was never stored.
pub(super) fn stored<V: DeserializeOwned>(
    tables: &(impl Tables + ?Sized),
    name: &str,
) -> Result<Option<V>, StorageError> {
    match tables.meta(name)? {
        Some((value, crc)) => read_meta(name, &value, crc).map(Some),
        None => Ok(None),
    }
}

/// Checks and reads a named value.
pub(super) fn read_meta<V: DeserializeOwned>(name: &str, value: &[u8], crc: u32) -> Result<V, StorageError> {
    if checksum::meta(name, value) != crc {
        return Err(doubt(format!("the stored {name} fails its checksum")));
    }
    exact(value).map_err(|error| doubt(format!("the stored {name} {error}")))
}

/// Bytes of a log entry's value before its two parts that have no fixed length.
const ENTRY_HEAD_BYTES: usize = 13;

/// How long a log entry's value is.
pub(super) fn entry_bytes(entry: &LogEntry) -> usize {
    ENTRY_HEAD_BYTES + entry.opaque.len() + entry.data.len()
}

/// Adds a log entry's value; its index is said elsewhere. Fixed fields first, so that the term can be read
/// without the rest: term (8 bytes, little-endian), kind (1), length of `opaque` (4), `opaque`, `data`.
pub(super) fn encode_entry(entry: &LogEntry, into: &mut Vec<u8>) {
    into.extend(entry.term.to_le_bytes());
    into.push(match entry.kind {
        LogEntryKind::Command => 0,
        LogEntryKind::Configure => 1,
    });
    let opaque = u32::try_from(entry.opaque.len()).expect("the consensus library's context is a few bytes");
    into.extend(opaque.to_le_bytes());
    into.extend(&entry.opaque);
    into.extend(&entry.data);
}

/// Reads a log entry's value; `None` where it is none.
pub(super) fn split_entry(index: u64, value: &[u8]) -> Option<LogEntry> {
    let (term, rest) = value.split_first_chunk::<8>()?;
    let (kind, rest) = rest.split_first()?;
    let (opaque_len, rest) = rest.split_first_chunk::<4>()?;
    let opaque_len = usize::try_from(u32::from_le_bytes(*opaque_len)).ok()?;
    let (opaque, data) = rest.split_at_checked(opaque_len)?;
    let kind = match kind {
        0 => LogEntryKind::Command,
        1 => LogEntryKind::Configure,
        _ => return None,
    };
    let term = u64::from_le_bytes(*term);
    Some(LogEntry { term, index, kind, data: data.to_vec(), opaque: opaque.to_vec() })
}

/// An event as it is kept, with its checksum. `newest_ms` is the newest time in its room before it.
pub(super) fn raw_event(event: &EventRow, newest_ms: u64) -> RawEvent<'_> {
    let mut raw = RawEvent {
        room: event.room.0,
        seq: event.seq,
        index: event.index,
        created_at_ms: event.created_at_ms,
        newest_ms: newest_ms.max(event.created_at_ms),
        author: event.author.as_str().as_bytes(),
        json: event.json.get().as_bytes(),
        crc: 0,
    };
    raw.crc = checksum::event(&raw);
    raw
}

pub(super) fn check_event(raw: &RawEvent<'_>) -> Result<(), StorageError> {
    if checksum::event(raw) == raw.crc {
        Ok(())
    } else {
        let key = RowKey::Event { room: raw.room, seq: raw.seq };
        Err(StorageError::Damaged(DamagedRow { key, crc: raw.crc }))
    }
}

/// Checks and reads an event.
pub(super) fn decode_event(raw: &RawEvent<'_>) -> Result<EventRow, StorageError> {
    check_event(raw)?;
    let odd =
        |part| doubt(format!("event {} of room {} has a {part} that does not decode", raw.seq, raw.room));
    let author =
        std::str::from_utf8(raw.author).ok().and_then(|text| UserKey::try_from(text.to_owned()).ok());
    let json =
        std::str::from_utf8(raw.json).ok().and_then(|text| RawValue::from_string(text.to_owned()).ok());
    Ok(EventRow {
        room: RoomId(raw.room),
        seq: raw.seq,
        index: raw.index,
        created_at_ms: raw.created_at_ms,
        author: author.ok_or_else(|| odd("author"))?,
        json: Arc::from(json.ok_or_else(|| odd("body"))?),
    })
}

/// The part of an event that searches can find; `None` if there is none.
pub(super) fn raw_text<'a>(raw: &RawEvent<'a>) -> Option<RawText<'a>> {
    let (lamport, text) = searchable(std::str::from_utf8(raw.json).ok()?)?;
    Some(RawText {
        lamport,
        room: raw.room,
        seq: raw.seq,
        created_at_ms: raw.created_at_ms,
        author: raw.author,
        text,
    })
}

/// A piece of a file as it is kept, with its checksum.
pub(super) fn raw_chunk(chunk: &ChunkRow) -> RawChunk<'_> {
    let mut raw = RawChunk { file: chunk.file.0, number: chunk.number, bytes: &chunk.bytes, crc: 0 };
    raw.crc = checksum::chunk(&raw);
    raw
}

/// Checks a piece of a file.
pub(super) fn check_chunk(raw: &RawChunk<'_>) -> Result<(), StorageError> {
    if checksum::chunk(raw) == raw.crc {
        Ok(())
    } else {
        let key = RowKey::Chunk { file: FileId(raw.file), number: raw.number };
        Err(StorageError::Damaged(DamagedRow { key, crc: raw.crc }))
    }
}

/// The error that what was read is not what was written.
pub(super) fn doubt(what: impl Into<String>) -> StorageError {
    StorageError::Doubtful(what.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_round_trip() {
        let mut value = Vec::new();
        for (kind, data, opaque) in [
            (LogEntryKind::Command, vec![], vec![]),
            (LogEntryKind::Command, vec![1, 2, 3], vec![]),
            (LogEntryKind::Configure, vec![9], vec![7; 20]),
        ] {
            let entry = LogEntry { term: 3, index: 8, kind, data, opaque };
            value.clear();
            encode_entry(&entry, &mut value);
            assert_eq!(value.len(), entry_bytes(&entry));
            assert_eq!(split_entry(8, &value), Some(entry));
        }
        for cut in 0..ENTRY_HEAD_BYTES {
            assert!(split_entry(8, &value[..cut]).is_none());
        }
    }
}
