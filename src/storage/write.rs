//! A batch or a snapshot written, for both kinds of disk, inside a transaction of the caller's.

use std::{collections::BTreeMap, error::Error, io::Read};

use super::{
    bounds::Bounds,
    checksum, event,
    log_files::Beside,
    record::{self, doubt, name, put_meta, raw_chunk, raw_event, raw_text, stored},
    snapshot,
    sweep::Sweep,
    tables::{Tables, TablesMut},
    totals::Totals,
};
use crate::{
    disk::{Batch, ChunkRow, Cluster, EventRow, HardState, InstallError, RoomId, Row, StorageError},
    protocol::{
        name::ServerId,
        peer::{ConfState, LogMark, NodeId, SnapshotHead},
    },
};

/// Writes what `batch` says of the state, and returns the new bounds. `Ends::check` has found it to fit, and
/// what it says of the log is on the disk already. From `cut` on the log is no longer needed.
pub(super) fn batch<T: TablesMut>(
    tables: &mut T,
    bounds: &Bounds,
    batch: &Batch,
    cut: Option<LogMark>,
) -> Result<Bounds, StorageError> {
    let mut bounds = bounds.clone();
    let totals_before = bounds.totals;
    bounds.wiped = false;
    count(tables, &mut bounds)?;
    rows(tables, &mut bounds, &batch.rows)?;
    events(tables, &mut bounds, &batch.events)?;
    chunks(tables, &mut bounds, &batch.chunks)?;
    bounds.sweep.add(tables, batch)?;
    bounds.wiped |= bounds.sweep.slice(tables, &mut bounds.totals)?;
    put_totals(tables, &bounds, totals_before)?;
    if let Some(applied) = &batch.applied {
        put_meta(tables, name::APPLIED, &record::applied(applied))?;
        bounds.applied = applied.index;
    }
    if let Some(cluster) = &batch.cluster {
        put_meta(tables, name::CLUSTER, cluster)?;
    }
    if let Some(cut) = cut {
        put_meta(tables, name::TRUNCATED, &cut)?;
        bounds.truncated = cut;
    }
    Ok(bounds)
}

/// Wipes a slice and nothing else, and returns the new bounds.
pub(super) fn wipe<T: TablesMut>(tables: &mut T, bounds: &Bounds) -> Result<Bounds, StorageError> {
    let mut bounds = bounds.clone();
    let totals_before = bounds.totals;
    count(tables, &mut bounds)?;
    bounds.wiped = bounds.sweep.slice(tables, &mut bounds.totals)?;
    put_totals(tables, &bounds, totals_before)?;
    Ok(bounds)
}

fn put_totals(tables: &mut impl TablesMut, bounds: &Bounds, before: Totals) -> Result<(), StorageError> {
    if bounds.totals == before { Ok(()) } else { put_meta(tables, name::TOTALS, &bounds.totals) }
}

/// Counts one more transaction. The log notes how many of them are synced, so a state that lost some is found
/// out.
pub(super) fn count(tables: &mut impl TablesMut, bounds: &mut Bounds) -> Result<(), StorageError> {
    bounds.written += 1;
    put_meta(tables, name::WRITTEN, &bounds.written)
}

/// A room's newest event and the clock change with every message, so of several rows with one key only the
/// last is written.
fn rows<T: TablesMut>(tables: &mut T, bounds: &mut Bounds, rows: &[Row]) -> Result<(), StorageError> {
    let newest: BTreeMap<&[u8], Option<&[u8]>> =
        rows.iter().map(|row| (row.key.as_slice(), row.value.as_deref())).collect();
    for (key, value) in newest {
        match value {
            Some(value) => {
                let crc = checksum::state(key, value);
                let replaced = tables.put_state(key, value, crc)?;
                bounds.totals.state.put(crc, replaced);
            }
            None => {
                let removed = tables.remove_state(key)?;
                bounds.totals.state.remove(removed);
            }
        }
    }
    Ok(())
}

fn events<T: TablesMut>(
    tables: &mut T,
    bounds: &mut Bounds,
    events: &[EventRow],
) -> Result<(), StorageError> {
    // In the order of the table, so that neighbours are written one after the other. Of an event that has
    // changed since it was made, the last form counts, and no other comes to the disk.
    let newest: BTreeMap<(RoomId, u64), &EventRow> =
        events.iter().map(|event| ((event.room, event.seq), event)).collect();
    let mut texts = Vec::new();
    // The event before: its place, and the newest time of its room with it.
    let mut last: Option<((RoomId, u64), u64)> = None;
    for ((room, seq), event) in newest {
        let before = (room, seq.saturating_sub(1));
        let newest_ms = match last {
            Some((place, newest_ms)) if place == before => newest_ms,
            _ => event::newest_ms(tables, before.0, before.1)?.unwrap_or(0),
        };
        let mut raw = raw_event(event, newest_ms);
        // Most events are new, and then no old one has to be looked for.
        let replaced = if tables.insert_event(raw)? {
            texts.extend(raw_text(&raw));
            None
        } else {
            Some(event::replace(tables, &mut raw)?)
        };
        last = Some(((room, seq), raw.newest_ms));
        bounds.totals.events.put(raw.crc, replaced);
        bounds.wiped |= replaced.is_some();
    }
    // The index grows at its end.
    texts.sort_unstable_by_key(|text| text.lamport);
    tables.put_texts(&texts)
}

fn chunks<T: TablesMut>(
    tables: &mut T,
    bounds: &mut Bounds,
    chunks: &[ChunkRow],
) -> Result<(), StorageError> {
    for chunk in chunks {
        let raw = raw_chunk(chunk);
        let replaced = tables.put_chunk(raw)?;
        bounds.totals.chunks.put(raw.crc, replaced);
    }
    Ok(())
}

/// Replaces the state by a snapshot and returns the new bounds. After an error the caller
/// rolls back.
pub(super) fn install<T: TablesMut>(
    tables: &mut T,
    head: &SnapshotHead,
    hard_state: HardState,
    content: &mut dyn Read,
) -> Result<Bounds, InstallError> {
    let cluster: Option<Cluster> = stored(tables, name::CLUSTER)?;
    match cluster {
        Some(cluster) if cluster.cluster_id == head.cluster_id => {}
        Some(cluster) => {
            return Err(InstallError::Unreadable(format!(
                "a snapshot of cluster {:016x} does not belong into the data of cluster {:016x}",
                head.cluster_id, cluster.cluster_id
            )));
        }
        None => {
            let why = "a snapshot does not belong into data that is part of no cluster yet";
            return Err(InstallError::Unreadable(why.to_owned()));
        }
    }
    fill(tables, head, hard_state, content)
}

/// Is given all rows of state and returns those to change, or why they are no state.
pub type Renew<'a> =
    &'a mut dyn FnMut(Vec<(Vec<u8>, Vec<u8>)>) -> Result<Vec<Row>, Box<dyn Error + Send + Sync>>;

/// Fills the tables of a new folder with the content of a backup, and returns the new bounds. `renew` is
/// given all rows of state and returns those to change. The data belongs to no cluster yet, and no server
/// counts in it. After an error the caller rolls back.
pub(super) fn restore<T: TablesMut>(
    tables: &mut T,
    head: &SnapshotHead,
    content: &mut dyn Read,
    renew: Renew<'_>,
) -> Result<Bounds, InstallError> {
    let applied: Option<record::AppliedRecord> = stored(tables, name::APPLIED)?;
    if applied.is_some() {
        return Err(InstallError::Unreadable("the data folder has data already".to_owned()));
    }
    let hard_state = HardState { term: head.index_term, vote: None, commit: head.index };
    let mut bounds = fill(tables, head, hard_state, content)?;
    let mut state = Vec::new();
    tables.state(None, &mut |key, value, _| {
        state.push((key.to_vec(), value.to_vec()));
        Ok(true)
    })?;
    let changed = renew(state).map_err(|error| InstallError::Unreadable(error.to_string()))?;
    rows(tables, &mut bounds, &changed)?;
    put_meta(tables, name::TOTALS, &bounds.totals)?;
    put_meta(tables, name::APPLIED, &(head.index, head.index_term, &ConfState::default()))?;
    Ok(bounds)
}

/// How often the log was begun anew.
pub(super) fn generation(tables: &impl Tables) -> Result<u64, StorageError> {
    Ok(stored(tables, name::GENERATION)?.unwrap_or_default())
}

/// Replaces state, events and files by a snapshot, and says that the log is to be begun anew behind it.
fn fill<T: TablesMut>(
    tables: &mut T,
    head: &SnapshotHead,
    hard_state: HardState,
    content: &mut dyn Read,
) -> Result<Bounds, InstallError> {
    tables.clear()?;
    let totals = snapshot::import(tables, head, content)?;
    let mark = LogMark { last_log_term: head.index_term, last_log_index: head.index };
    put_meta(tables, name::TRUNCATED, &mark)?;
    put_meta(tables, name::APPLIED, &(head.index, head.index_term, &head.conf))?;
    put_meta(tables, name::HARD_STATE, &record::hard_state(hard_state))?;
    put_meta(tables, name::GENERATION, &(generation(tables)? + 1))?;
    put_meta(tables, name::TOTALS, &totals)?;
    let sweep = Sweep::default();
    sweep.store(tables)?;
    let written = stored(tables, name::WRITTEN)?.unwrap_or_default();
    let mut bounds = Bounds { truncated: mark, applied: head.index, written, totals, sweep, wiped: true };
    count(tables, &mut bounds)?;
    Ok(bounds)
}

/// Numbers of runs grow by at most this much from one opening to the next.
const BOOT_STEP_MAX: u64 = 1 << 16;

/// What has to happen before anything else is read: the folder gets an owner, or is found to have this
/// one, and the opening is counted. Gives what the state says of the log.
pub(super) fn begin<T: TablesMut>(
    tables: &mut T,
    server_id: &ServerId,
    fresh_node_id: NodeId,
) -> Result<Beside, super::OpenError> {
    let identity: Option<record::IdentityRecord> = stored(tables, name::IDENTITY)?;
    match identity {
        None => put_meta(tables, name::IDENTITY, &(server_id, fresh_node_id))?,
        Some((owner, _)) if owner != *server_id => {
            return Err(super::OpenError::Refused(format!(
                "the data is that of {owner} and this is {server_id}: give each server its own data folder"
            )));
        }
        Some(_) => {}
    }
    // The step is random, so that a start from an old copy does not get the number of a run that the copy
    // does not know.
    let boot: u64 = stored(tables, name::BOOT)?.unwrap_or(0);
    put_meta(tables, name::BOOT, &(boot + 1 + fresh_node_id.0 % BOOT_STEP_MAX))?;
    let beside = beside(tables)?;
    put_meta(tables, name::WRITTEN, &(beside.written + 1))?;
    Ok(beside)
}

/// What the state says of the log.
fn beside(tables: &impl Tables) -> Result<Beside, StorageError> {
    let identity: Option<record::IdentityRecord> = stored(tables, name::IDENTITY)?;
    let (_, owner) = identity.ok_or_else(|| doubt("the data does not say whose it is"))?;
    let applied: Option<record::AppliedRecord> = stored(tables, name::APPLIED)?;
    let hard_state: record::HardStateRecord = stored(tables, name::HARD_STATE)?.unwrap_or_default();
    let (term, vote, commit) = hard_state;
    let cluster: Option<Cluster> = stored(tables, name::CLUSTER)?;
    Ok(Beside {
        owner,
        generation: generation(tables)?,
        truncated: stored(tables, name::TRUNCATED)?.unwrap_or_default(),
        applied: applied.map_or(0, |(index, ..)| index),
        hard_state: HardState { term, vote, commit },
        written: stored(tables, name::WRITTEN)?.unwrap_or_default(),
        is_expected: cluster.is_some(),
    })
}
