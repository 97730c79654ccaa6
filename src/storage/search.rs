//! Messages found by their words: what both kinds of disk have in common.

use std::cmp::Reverse;

use super::{
    record::{check_event, decode_event, raw_text},
    sweep::Removed,
    tables::{RawText, Tables},
};
use crate::{
    disk::{Found, Hit, RoomId, Search, StorageError},
    protocol::search::{Query, snippet},
};

/// Whether a message matches the room, author and times of a search.
pub(super) fn is_wanted(search: &Search, text: &RawText<'_>) -> bool {
    let room = RoomId(text.room);
    search.readable.contains(&room)
        && search.room.is_none_or(|wanted| wanted == room)
        && search.author.as_ref().is_none_or(|author| author.as_str().as_bytes() == text.author)
        && search.since_ms.is_none_or(|since| text.created_at_ms >= since)
        && search.until_ms.is_none_or(|until| text.created_at_ms < until)
        && search.before_lamport.is_none_or(|before| text.lamport < before)
}

/// Searches by reading all events. The memory twin does it, and an index has to agree with it.
pub(super) fn scan(tables: &impl Tables, search: &Search) -> Result<Found, StorageError> {
    let Some(query) = Query::parse(&search.query) else { return Ok(Found::default()) };
    let removed = Removed::read(tables)?;
    let mut hits = Vec::new();
    tables.all_events((0, 0), &mut |raw| {
        check_event(&raw)?;
        if raw.seq >= removed.floor(raw.room)
            && let Some(text) = raw_text(&raw)
            && is_wanted(search, &text)
            && query.fits(&text.text)
        {
            let snippet = snippet(&query, &text.text);
            hits.push(Hit { row: decode_event(&raw)?, lamport: text.lamport, snippet });
        }
        Ok(true)
    })?;
    hits.sort_by_key(|hit| Reverse(hit.lamport));
    hits.truncate(search.limit);
    Ok(Found { hits, cut_at: None, indexing: None })
}
