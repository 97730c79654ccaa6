//! Data read and checked, for both kinds of disk.

use std::collections::VecDeque;

use super::{
    bounds::{Total, Totals, mark, stored},
    checksum,
    indexing::IndexRecord,
    record::{
        AppliedRecord, HardStateRecord, IdentityRecord, check_chunk, check_event, decode_entry, decode_event,
        doubt, name, read_meta,
    },
    sweep,
    tables::{RawChunk, Span, Tables},
};
use crate::{
    disk::{
        Applied, Cluster, EventRange, EventRow, FileId, HardState, Identity, Loaded, RoomId, StorageError,
        fits_tail,
    },
    protocol::{
        name::ServerId,
        peer::{DataMark, LogEntry, LogMark},
    },
};

/// Reads and checks everything a start needs: each checksum, that the log is dense and its terms do not
/// fall, that the state ends within the log, and that no row of state is gone.
pub(super) fn load(tables: &impl Tables) -> Result<Loaded, StorageError> {
    let named = Named::read(tables)?;
    let (tail, last, applied_term) = read_log(tables, named.truncated, named.applied.index)?;
    if last != named.last {
        return Err(doubt(format!(
            "the log ends with entry {} of term {}, and was written up to entry {} of term {}",
            last.last_log_index, last.last_log_term, named.last.last_log_index, named.last.last_log_term
        )));
    }
    let applied = named.applied;
    if !(named.truncated.last_log_index..=last.last_log_index).contains(&applied.index) {
        return Err(doubt(format!(
            "the state goes to entry {} and the log from {} to {}",
            applied.index, named.truncated.last_log_index, last.last_log_index
        )));
    }
    if applied_term != Some(applied.term) {
        return Err(doubt(format!(
            "the state ends with entry {} of term {}, and the log has it in another term",
            applied.index, applied.term
        )));
    }
    let mut hard_state = named.hard_state;
    hard_state.commit = hard_state.commit.clamp(applied.index, last.last_log_index);
    Ok(Loaded {
        identity: named.identity,
        hard_state,
        applied,
        truncated: named.truncated,
        tail,
        last,
        rows: read_state(tables, &named.totals.state)?,
        peer_marks: named.peer_marks,
    })
}

/// What is stored under a name.
struct Named {
    identity: Identity,
    hard_state: HardState,
    applied: Applied,
    truncated: LogMark,
    last: LogMark,
    totals: Totals,
    peer_marks: Vec<(ServerId, DataMark)>,
}

impl Named {
    fn read(tables: &impl Tables) -> Result<Named, StorageError> {
        let mut identity: Option<IdentityRecord> = None;
        let mut boot: u64 = 0;
        let mut cluster: Option<Cluster> = None;
        let mut hard_state: HardStateRecord = (0, None, 0);
        let mut applied = AppliedRecord::default();
        let mut truncated = LogMark::default();
        let mut last = LogMark::default();
        let mut totals = Totals::default();
        let mut peer_marks = Vec::new();
        tables.metas(&mut |key, value, crc| {
            match key {
                name::IDENTITY => identity = Some(read_meta(key, value, crc)?),
                name::SCHEMA => drop(read_meta::<i32>(key, value, crc)?),
                name::BOOT => boot = read_meta(key, value, crc)?,
                name::CLUSTER => cluster = Some(read_meta(key, value, crc)?),
                name::HARD_STATE => hard_state = read_meta(key, value, crc)?,
                name::APPLIED => applied = read_meta(key, value, crc)?,
                name::TRUNCATED => truncated = read_meta(key, value, crc)?,
                name::LAST => last = read_meta(key, value, crc)?,
                name::TOTALS => totals = read_meta(key, value, crc)?,
                name::SWEEP => drop(read_meta::<Total>(key, value, crc)?),
                name::INDEX => drop(read_meta::<IndexRecord>(key, value, crc)?),
                _ => {
                    let id = key.strip_prefix(name::PEER).and_then(ServerId::new);
                    let id =
                        id.ok_or_else(|| doubt(format!("there is a stored {key:?} that no server wrote")))?;
                    peer_marks.push((id, read_meta(key, value, crc)?));
                }
            }
            Ok(true)
        })?;
        let (server_id, node_id) = identity.ok_or_else(|| doubt("the data does not say whose it is"))?;
        let (term, vote, commit) = hard_state;
        let (index, applied_term, conf) = applied;
        Ok(Named {
            identity: Identity { server_id, node_id, boot, cluster },
            hard_state: HardState { term, vote, commit },
            applied: Applied { index, term: applied_term, conf },
            truncated,
            last,
            totals,
            peer_marks,
        })
    }
}

/// Walks the whole log. Returns its tail, its end, and the term of the entry `applied`.
fn read_log(
    tables: &impl Tables,
    truncated: LogMark,
    applied: u64,
) -> Result<(Vec<LogEntry>, LogMark, Option<u64>), StorageError> {
    let mut tail: VecDeque<LogEntry> = VecDeque::new();
    let mut tail_bytes = 0;
    let mut last = truncated;
    let mut applied_term = (applied == truncated.last_log_index).then_some(truncated.last_log_term);
    tables.log(0, &mut |index, value, crc| {
        let entry = decode_entry(index, value, crc)?;
        follows(last, &entry)?;
        last = mark(&entry);
        if index == applied {
            applied_term = Some(entry.term);
        }
        tail_bytes += entry.size();
        tail.push_back(entry);
        while !fits_tail(tail.len(), tail_bytes) {
            tail_bytes -= tail.pop_front().map_or(0, |entry| entry.size());
        }
        Ok(true)
    })?;
    Ok((tail.into(), last, applied_term))
}

fn follows(before: LogMark, entry: &LogEntry) -> Result<(), StorageError> {
    if entry.index != before.last_log_index + 1 {
        return Err(doubt(format!(
            "the log goes from entry {} straight to {}",
            before.last_log_index, entry.index
        )));
    }
    if entry.term < before.last_log_term {
        return Err(doubt(format!(
            "log entry {} is of term {} and the one before of term {}",
            entry.index, entry.term, before.last_log_term
        )));
    }
    Ok(())
}

type StateRows = Vec<(Vec<u8>, Vec<u8>)>;

fn read_state(tables: &impl Tables, expected: &Total) -> Result<StateRows, StorageError> {
    let mut rows = Vec::new();
    let mut counted = Total::default();
    tables.state(None, &mut |key, value, crc| {
        check_state(key, value, crc)?;
        counted.put(crc, None);
        rows.push((key.to_vec(), value.to_vec()));
        Ok(true)
    })?;
    expected.check(&counted, "rows of state")?;
    Ok(rows)
}

/// Walks all events and files and checks them and their totals. That takes the longer the more events there
/// are, so `load` leaves it out.
pub(super) fn check_history(tables: &impl Tables) -> Result<(), StorageError> {
    let totals: Totals = stored(tables, name::TOTALS)?.unwrap_or_default();
    let mut counted = Total::default();
    tables.all_events((0, 0), &mut |event| {
        check_event(&event)?;
        counted.put(event.crc, None);
        Ok(true)
    })?;
    totals.events.check(&counted, "events")?;
    let mut counted = Total::default();
    tables.chunks(None, &mut |chunk| {
        check_chunk(&chunk)?;
        counted.put(chunk.crc, None);
        Ok(true)
    })?;
    totals.chunks.check(&counted, "pieces of files")
}

pub(super) fn check_state(key: &[u8], value: &[u8], crc: u32) -> Result<(), StorageError> {
    if checksum::state(key, value) == crc {
        return Ok(());
    }
    let shown: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    Err(doubt(format!("the state row with key {shown} fails its checksum")))
}

/// Reads `low..high` of a log that goes from `truncated` to `last`.
pub(super) fn entries(
    tables: &impl Tables,
    truncated: LogMark,
    (low, high): (u64, u64),
    max_bytes: u64,
) -> Result<Vec<LogEntry>, StorageError> {
    if low <= truncated.last_log_index {
        return Err(StorageError::Failed(format!(
            "entries from {low} on were asked for, but the log was cut at {}",
            truncated.last_log_index
        )));
    }
    let mut found: Vec<LogEntry> = Vec::new();
    let mut bytes = 0;
    tables.log(low, &mut |index, value, crc| {
        if index >= high {
            return Ok(false);
        }
        let expected = low + found.len() as u64;
        if index != expected {
            return Err(doubt(format!("log entry {expected} is missing")));
        }
        let entry = decode_entry(index, value, crc)?;
        bytes += entry.data.len() as u64;
        if bytes > max_bytes && !found.is_empty() {
            return Ok(false);
        }
        found.push(entry);
        Ok(true)
    })?;
    Ok(found)
}

/// Reads events of a room, as `Reader::events` promises them.
pub(super) fn events(
    tables: &impl Tables,
    room: RoomId,
    range: &EventRange,
) -> Result<Vec<EventRow>, StorageError> {
    let mut found: Vec<EventRow> = Vec::new();
    let mut bytes = 0_usize;
    if range.limit == 0 {
        return Ok(found);
    }
    let after = range.after.max(sweep::floor(tables, room.0)?.saturating_sub(1));
    let span = Span { room: room.0, after, before: range.before, ascending: range.oldest_first };
    tables.events(span, &mut |raw| {
        let event = decode_event(&raw)?;
        if let Some(before) = found.last()
            && before.seq.abs_diff(event.seq) != 1
        {
            return Err(doubt(format!(
                "room {} has no event between {} and {}",
                room.0, before.seq, event.seq
            )));
        }
        bytes += event.json.get().len();
        if bytes > range.max_bytes && !found.is_empty() {
            return Ok(false);
        }
        found.push(event);
        Ok(found.len() < range.limit)
    })?;
    if !range.oldest_first {
        found.reverse();
    }
    Ok(found)
}

pub(super) fn event(tables: &impl Tables, room: RoomId, seq: u64) -> Result<Option<EventRow>, StorageError> {
    let range = EventRange {
        after: seq.wrapping_sub(1),
        before: seq.saturating_add(1),
        oldest_first: true,
        limit: 1,
        max_bytes: 0,
    };
    // There is no event 0, and no `after` would give it.
    Ok(events(tables, room, &range)?.pop())
}

/// Reads a piece of a file.
pub(super) fn chunk(
    tables: &impl Tables,
    file: FileId,
    number: u32,
) -> Result<Option<Vec<u8>>, StorageError> {
    let Some((bytes, crc)) = tables.chunk(file.0, number)? else { return Ok(None) };
    check_chunk(&RawChunk { file: file.0, number, bytes: &bytes, crc })?;
    Ok((!sweep::is_doomed(tables, file.0)?).then_some(bytes))
}

/// Finds the first event that is not older than `at_ms`, as `Reader::first_since` promises.
pub(super) fn first_since(
    tables: &impl Tables,
    room: RoomId,
    at_ms: u64,
) -> Result<Option<u64>, StorageError> {
    let one = |after, oldest_first| -> Result<Option<EventRow>, StorageError> {
        let range = EventRange { after, before: u64::MAX, oldest_first, limit: 1, max_bytes: 0 };
        Ok(events(tables, room, &range)?.pop())
    };
    let (Some(first), Some(last)) = (one(0, true)?, one(0, false)?) else { return Ok(None) };
    if last.created_at_ms < at_ms {
        return Ok(None);
    }
    // `low` is below the result or the result itself, `high` is no older than `at_ms`.
    let (mut low, mut high) = (first.seq, last.seq);
    while low < high {
        let middle = low + (high - low) / 2;
        let found = one(middle - 1, true)?.ok_or_else(|| doubt("an event went away while it was read"))?;
        if found.created_at_ms < at_ms {
            low = found.seq + 1;
        } else {
            high = middle;
        }
    }
    Ok(Some(low))
}
