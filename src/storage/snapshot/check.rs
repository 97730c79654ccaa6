//! A snapshot checked as it is read, without storing it.

use std::io::Read;

use super::{
    CHUNK, END, EVENT, HEAD, STATE,
    import::{Incoming, check_head, malformed, split_chunk, split_event, split_state, unreadable},
};
use crate::{
    disk::InstallError,
    protocol::peer::SnapshotHead,
    storage::{checksum, record::exact, totals::Totals},
};

/// How much a snapshot holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contents {
    pub rows: u64,
    /// Events of all rooms.
    pub events: u64,
    pub chunks: u64,
}

/// Reads a snapshot to its end and checks all that can be checked without a database: every record, their
/// order, and that none is missing or there twice.
///
/// # Errors
/// It is not as it was written, or not the one that `head` announces.
pub fn check(head: &SnapshotHead, content: &mut dyn Read) -> Result<Contents, InstallError> {
    let mut records = Incoming::begin(content)?;
    match records.next()? {
        (HEAD, body) => check_head(head, body)?,
        (kind, _) => return Err(unreadable(format!("the snapshot begins with a record of kind {kind}"))),
    }
    let mut totals = Totals::default();
    let mut last: Option<(u8, Vec<u8>)> = None;
    loop {
        // Each table comes in the order of its keys, so a repeated row has a key that is not greater than the
        // last.
        let place = match records.next()? {
            (STATE, body) => {
                let (key, value) = split_state(body).ok_or_else(|| malformed("row of state"))?;
                totals.state.put(checksum::state(key, value), None);
                (STATE, key.to_vec())
            }
            (EVENT, body) => {
                let event = split_event(body).ok_or_else(|| malformed("event"))?;
                totals.events.put(checksum::event(&event), None);
                (EVENT, [event.room.to_be_bytes(), event.seq.to_be_bytes()].concat())
            }
            (CHUNK, body) => {
                let chunk = split_chunk(body).ok_or_else(|| malformed("piece of a file"))?;
                totals.chunks.put(checksum::chunk(&chunk), None);
                (CHUNK, [&chunk.file[..], &chunk.number.to_be_bytes()].concat())
            }
            (END, body) => {
                let sent: Totals = exact(body).map_err(|_| malformed("end"))?;
                if sent != totals {
                    return Err(unreadable("the snapshot has other rows than were put into it"));
                }
                records.end()?;
                let Totals { state, events, chunks } = totals;
                return Ok(Contents { rows: state.rows, events: events.rows, chunks: chunks.rows });
            }
            (kind, _) => return Err(unreadable(format!("the snapshot has a record of unknown kind {kind}"))),
        };
        if last.as_ref().is_some_and(|last| place <= *last) {
            return Err(unreadable("the snapshot has rows twice or in another order"));
        }
        last = Some(place);
    }
}
