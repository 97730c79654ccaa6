//! Data read and checked, for both kinds of disk.

use std::collections::VecDeque;

use super::{
    checksum,
    log_files::Log,
    record::{
        AppliedRecord, HardStateRecord, IdentityRecord, IndexRecord, check_chunk, check_event, decode_event,
        doubt, mark, name, read_meta, stored,
    },
    sweep,
    tables::{RawChunk, Span, Tables},
    totals::{Total, Totals},
};
use crate::{
    disk::{
        Applied, Batch, Cluster, DamagedRow, EventRange, EventRow, FileId, Identity, Loaded, RoomId,
        StorageError, fits_tail,
    },
    protocol::peer::{LogEntry, LogMark, RowKey},
};

/// Reads and checks everything a start needs: each checksum, that the log is dense and its terms do not
/// fall, that the state ends within the log, and that no row of state is gone.
pub(super) fn load(tables: &impl Tables, log: &Log) -> Result<Loaded, StorageError> {
    let named = Named::read(tables)?;
    let (tail, last, applied_term) = read_log(log, named.truncated, named.applied.index)?;
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
    let mut hard_state = log.hard_state();
    hard_state.commit = hard_state.commit.clamp(applied.index, last.last_log_index);
    Ok(Loaded {
        identity: named.identity,
        hard_state,
        applied,
        truncated: named.truncated,
        tail,
        last,
        rows: read_state(tables, &named.totals.state)?,
        peer_marks: log.marks().map(|(server, mark)| (server.clone(), mark.clone())).collect(),
    })
}

/// What is stored under a name.
struct Named {
    identity: Identity,
    applied: Applied,
    truncated: LogMark,
    totals: Totals,
}

impl Named {
    fn read(tables: &impl Tables) -> Result<Named, StorageError> {
        let mut identity: Option<IdentityRecord> = None;
        let mut boot: u64 = 0;
        let mut cluster: Option<Cluster> = None;
        let mut applied = AppliedRecord::default();
        let mut truncated = LogMark::default();
        let mut totals = Totals::default();
        tables.metas(&mut |key, value, crc| {
            match key {
                name::IDENTITY => identity = Some(read_meta(key, value, crc)?),
                name::SCHEMA => drop(read_meta::<i32>(key, value, crc)?),
                name::BOOT => boot = read_meta(key, value, crc)?,
                name::CLUSTER => cluster = Some(read_meta(key, value, crc)?),
                name::HARD_STATE => drop(read_meta::<HardStateRecord>(key, value, crc)?),
                name::GENERATION | name::WRITTEN => drop(read_meta::<u64>(key, value, crc)?),
                name::APPLIED => applied = read_meta(key, value, crc)?,
                name::TRUNCATED => truncated = read_meta(key, value, crc)?,
                name::TOTALS => totals = read_meta(key, value, crc)?,
                name::SWEEP => drop(read_meta::<Total>(key, value, crc)?),
                name::INDEX => drop(read_meta::<IndexRecord>(key, value, crc)?),
                _ => return Err(doubt(format!("there is a stored {key:?} that nobody wrote"))),
            }
            Ok(true)
        })?;
        let (server_id, node_id) = identity.ok_or_else(|| doubt("the data does not say whose it is"))?;
        let (index, applied_term, conf) = applied;
        Ok(Named {
            identity: Identity { server_id, node_id, boot, cluster },
            applied: Applied { index, term: applied_term, conf },
            truncated,
            totals,
        })
    }
}

/// Walks the whole log. Returns its tail, its end, and the term of the entry `applied`.
fn read_log(
    log: &Log,
    truncated: LogMark,
    applied: u64,
) -> Result<(Vec<LogEntry>, LogMark, Option<u64>), StorageError> {
    let mut tail: VecDeque<LogEntry> = VecDeque::new();
    let mut tail_bytes = 0;
    let mut last = truncated;
    let mut applied_term = (applied == truncated.last_log_index).then_some(truncated.last_log_term);
    let mut sound = Ok(());
    log.walk(truncated.last_log_index + 1, &mut |entry| {
        sound = follows(last, &entry);
        if sound.is_err() {
            return false;
        }
        last = mark(&entry);
        if entry.index == applied {
            applied_term = Some(entry.term);
        }
        tail_bytes += entry.size();
        tail.push_back(entry);
        while !fits_tail(tail.len(), tail_bytes) {
            tail_bytes -= tail.pop_front().map_or(0, |entry| entry.size());
        }
        true
    })?;
    sound?;
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
    Err(StorageError::Damaged(DamagedRow { key: RowKey::State(key.to_vec()), crc }))
}

/// Reads `low..high` of a log of which nothing is needed up to `truncated`.
pub(super) fn entries(
    log: &Log,
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
    log.entries(low, high, max_bytes)
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

/// The newest form of an event among batches that are not written yet, given oldest first.
pub(super) fn newest_event<'a>(
    batches: impl DoubleEndedIterator<Item = &'a Batch>,
    room: RoomId,
    seq: u64,
) -> Option<&'a EventRow> {
    let is_it = |event: &&EventRow| (event.room, event.seq) == (room, seq);
    batches.rev().find_map(|batch| batch.events.iter().rev().find(is_it))
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

/// Finds the first event that is not older than `at_ms`, as `Reader::first_since` promises: by bisection. The
/// newest time up to an event never falls back.
pub(super) fn first_since(
    tables: &impl Tables,
    room: RoomId,
    at_ms: u64,
) -> Result<Option<u64>, StorageError> {
    let one = |span: Span| -> Result<Option<(u64, u64)>, StorageError> {
        let mut found = None;
        tables.events(span, &mut |raw| {
            check_event(&raw)?;
            found = Some((raw.seq, raw.newest_ms));
            Ok(false)
        })?;
        Ok(found)
    };
    let after = sweep::floor(tables, room.0)?.saturating_sub(1);
    let all = Span { room: room.0, after, before: u64::MAX, ascending: true };
    let (Some((first, _)), Some((last, newest_ms))) = (one(all)?, one(Span { ascending: false, ..all })?)
    else {
        return Ok(None);
    };
    if newest_ms < at_ms {
        return Ok(None);
    }
    // `low` is below the result or the result itself, `high` is no older than `at_ms`.
    let (mut low, mut high) = (first, last);
    while low < high {
        let middle = low + (high - low) / 2;
        let found = one(Span::of(room.0, middle))?;
        let (_, newest_ms) = found.ok_or_else(|| doubt("an event went away while it was read"))?;
        if newest_ms < at_ms {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(Some(low))
}
