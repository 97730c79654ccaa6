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
    RawRow::of(row, content).is_some_and(|raw| raw.checksum() == row.crc)
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
    // The totals count the checksums, which stay.
    if let Some(raw) = RawRow::of(row, content)
        && kept_crc(tables, &row.key)? == Some(row.crc)
    {
        raw.put(tables)?;
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

/// A row with the checksum that it was kept with, and a content of its kind.
enum RawRow<'a> {
    State { key: &'a [u8], value: &'a [u8], crc: u32 },
    Event(RawEvent<'a>),
    Chunk(RawChunk<'a>),
}

impl<'a> RawRow<'a> {
    /// `None` if the content is of another kind than the row.
    fn of(row: &'a DamagedRow, content: &'a RowContent) -> Option<Self> {
        let crc = row.crc;
        Some(match (&row.key, content) {
            (RowKey::State(key), RowContent::State(value)) => RawRow::State { key, value, crc },
            (
                &RowKey::Event { room, seq },
                &RowContent::Event { index, created_at_ms, newest_ms, ref author, ref json },
            ) => RawRow::Event(RawEvent { room, seq, index, created_at_ms, newest_ms, author, json, crc }),
            (&RowKey::Chunk { file, number }, RowContent::Chunk(bytes)) => {
                RawRow::Chunk(RawChunk { file: file.0, number, bytes, crc })
            }
            (RowKey::State(_) | RowKey::Event { .. } | RowKey::Chunk { .. }, _) => return None,
        })
    }

    /// The checksum of this content.
    fn checksum(&self) -> u32 {
        match self {
            RawRow::State { key, value, .. } => checksum::state(key, value),
            RawRow::Event(raw) => checksum::event(raw),
            RawRow::Chunk(raw) => checksum::chunk(raw),
        }
    }

    /// Writes it in the place of what is kept.
    fn put(self, tables: &mut impl TablesMut) -> Result<(), StorageError> {
        match self {
            RawRow::State { key, value, crc } => tables.put_state(key, value, crc).map(drop),
            // The text in the index of searches has no part in the damage.
            RawRow::Event(raw) => tables.replace_event(raw),
            RawRow::Chunk(raw) => tables.put_chunk(raw).map(drop),
        }
    }
}
