//! A damaged row of the state, made whole by what another server has.
//!
//! The servers' states are of different moments, so another server may have another version of the row. The
//! checksum that is kept with the damaged row tells: what fits it is what the row was. If the checksum itself
//! is what was damaged, nothing will ever fit.

use super::{
    bounds::Bounds,
    checksum,
    read::check_state,
    record::{check_chunk, check_event},
    tables::{RawChunk, RawEvent, Span, Tables, TablesMut},
    write::count,
};
use crate::{
    disk::{DamagedRow, StorageError},
    protocol::peer::{RowContent, RowKey},
};

/// A row as it is kept, if it is there.
///
/// # Errors
/// `Damaged` if it is not whole here either.
pub(super) fn row(tables: &impl Tables, key: &RowKey) -> Result<Option<RowContent>, StorageError> {
    match key {
        RowKey::State(key) => {
            let Some((value, crc)) = tables.state_row(key)? else { return Ok(None) };
            check_state(key, &value, crc)?;
            Ok(Some(RowContent::State(value)))
        }
        RowKey::Event { room, seq } => {
            let mut found = None;
            tables.events(Span::of(*room, *seq), &mut |raw| {
                check_event(&raw)?;
                let RawEvent { index, created_at_ms, newest_ms, .. } = raw;
                let (author, json) = (raw.author.to_vec(), raw.json.to_vec());
                found = Some(RowContent::Event { index, created_at_ms, newest_ms, author, json });
                Ok(false)
            })?;
            Ok(found)
        }
        RowKey::Chunk { file, number } => {
            let Some((bytes, crc)) = tables.chunk(file.0, *number)? else { return Ok(None) };
            check_chunk(&RawChunk { file: file.0, number: *number, bytes: &bytes, crc })?;
            Ok(Some(RowContent::Chunk(bytes)))
        }
    }
}

/// Whether this is what the row was.
pub(super) fn is_proven(row: &DamagedRow, content: &RowContent) -> bool {
    let sum = match (&row.key, content) {
        (RowKey::State(key), RowContent::State(value)) => checksum::state(key, value),
        (key, content) => {
            if let Some(raw) = raw_event(row, content) {
                checksum::event(&raw)
            } else if let (RowKey::Chunk { file, number }, RowContent::Chunk(bytes)) = (key, content) {
                checksum::chunk(&RawChunk { file: file.0, number: *number, bytes, crc: row.crc })
            } else {
                return false;
            }
        }
    };
    sum == row.crc
}

/// Writes what a row was, unless it was removed or written anew since it was found damaged. Returns the new
/// bounds.
pub(super) fn put<T: TablesMut>(
    tables: &mut T,
    bounds: &Bounds,
    row: &DamagedRow,
    content: &RowContent,
) -> Result<Bounds, StorageError> {
    let mut bounds = bounds.clone();
    count(tables, &mut bounds)?;
    if kept_crc(tables, &row.key)? != Some(row.crc) {
        return Ok(bounds);
    }
    // The totals count the checksums, which stay.
    match (&row.key, content) {
        (RowKey::State(key), RowContent::State(value)) => drop(tables.put_state(key, value, row.crc)?),
        (RowKey::Chunk { file, number }, RowContent::Chunk(bytes)) => {
            tables.put_chunk(RawChunk { file: file.0, number: *number, bytes, crc: row.crc })?;
        }
        // The text in the index of searches has no part in the damage.
        _ => raw_event(row, content).map_or(Ok(()), |raw| tables.replace_event(raw))?,
    }
    Ok(bounds)
}

fn kept_crc(tables: &impl Tables, key: &RowKey) -> Result<Option<u32>, StorageError> {
    match key {
        RowKey::State(key) => Ok(tables.state_row(key)?.map(|(_, crc)| crc)),
        RowKey::Event { room, seq } => {
            let mut kept = None;
            tables.events(Span::of(*room, *seq), &mut |raw| {
                kept = Some(raw.crc);
                Ok(false)
            })?;
            Ok(kept)
        }
        RowKey::Chunk { file, number } => Ok(tables.chunk(file.0, *number)?.map(|(_, crc)| crc)),
    }
}

fn raw_event<'a>(row: &DamagedRow, content: &'a RowContent) -> Option<RawEvent<'a>> {
    let RowKey::Event { room, seq } = row.key else { return None };
    let RowContent::Event { index, created_at_ms, newest_ms, author, json } = content else { return None };
    Some(RawEvent {
        room,
        seq,
        index: *index,
        created_at_ms: *created_at_ms,
        newest_ms: *newest_ms,
        author,
        json,
        crc: row.crc,
    })
}
