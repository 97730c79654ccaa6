//! An event written so that it is found by its words.

use super::{
    checksum,
    record::{check_event, doubt, raw_text},
    tables::{RawEvent, Span, Tables, TablesMut},
};
use crate::disk::{RoomId, StorageError};

/// Stores an event if there is none yet, and lets it be found. Returns whether there was none.
pub(super) fn insert<T: TablesMut>(tables: &mut T, raw: RawEvent<'_>) -> Result<bool, StorageError> {
    let is_new = tables.insert_event(raw)?;
    if is_new {
        tables.put_texts(raw_text(&raw).as_slice())?;
    }
    Ok(is_new)
}

/// The newest time of a room's events up to this one, if there are any.
///
/// A damaged one is passed over, since it must not keep others from being written. What it would have said is
/// less than the time of the event that is written, unless a clock went back just then.
pub(super) fn newest_ms(tables: &impl Tables, room: RoomId, seq: u64) -> Result<Option<u64>, StorageError> {
    let mut newest_ms = None;
    let span = Span { room: room.0, after: 0, before: seq.saturating_add(1), ascending: false };
    tables.events(span, &mut |found| match check_event(&found) {
        Ok(()) => {
            newest_ms = Some(found.newest_ms);
            Ok(false)
        }
        Err(StorageError::Damaged(_)) => Ok(true),
        Err(error) => Err(error),
    })?;
    Ok(newest_ms)
}

/// Replaces an event, so that it is found by its new text and no more by the old one. Its newest time stays:
/// the events before it may be gone. Returns the checksum of the old one.
pub(super) fn replace<T: TablesMut>(tables: &mut T, raw: &mut RawEvent<'_>) -> Result<u32, StorageError> {
    let mut old = None;
    tables.events(Span::of(raw.room, raw.seq), &mut |found| {
        check_event(&found)?;
        let (created_at_ms, newest_ms) = (found.created_at_ms, found.newest_ms);
        old = Some((created_at_ms, newest_ms, found.author.to_vec(), found.json.to_vec(), found.crc));
        Ok(false)
    })?;
    let (created_at_ms, newest_ms, author, json, crc) =
        old.ok_or_else(|| doubt(format!("event {} of room {} is there and is not", raw.seq, raw.room)))?;
    raw.newest_ms = newest_ms;
    raw.crc = checksum::event(raw);
    let raw = *raw;
    let old = RawEvent { created_at_ms, author: &author, json: &json, ..raw };
    let (old, new) = (raw_text(&old), raw_text(&raw));
    let (gone, come) = if old == new { (None, None) } else { (old, new) };
    if let Some(text) = gone {
        tables.remove_text(&text)?;
    }
    tables.replace_event(raw)?;
    tables.put_texts(come.as_slice())?;
    Ok(crc)
}
