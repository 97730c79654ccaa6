//! Events of history, as they are after everything that is applied: some are not on the disk yet.

use std::sync::Arc;

use crate::{
    chat::{Evidence, Proposal, State},
    disk::{EventRow, RoomId, StorageError},
    protocol::Event,
};

/// Reads one event as it is now, if it is there.
pub type ReadEvent<'a> = &'a dyn Fn(RoomId, u64) -> Result<Option<EventRow>, StorageError>;

/// The events that a proposal needs to be decided.
pub fn evidence(state: &State, proposal: &Proposal, read: ReadEvent<'_>) -> Result<Evidence, StorageError> {
    let mut evidence = Evidence::default();
    let Some((room, seq)) = state.target_of(proposal) else { return Ok(evidence) };
    if state.room_by_id(room).is_none_or(|room| seq < room.first_seq()) {
        return Ok(evidence);
    }
    evidence.target = decoded(read, room, seq)?;
    if let Some(edit) = evidence.newest_edit() {
        evidence.last_edit = decoded(read, room, edit)?;
    }
    Ok(evidence)
}

fn decoded(read: ReadEvent<'_>, room: RoomId, seq: u64) -> Result<Option<Arc<Event>>, StorageError> {
    let Some(row) = read(room, seq)? else { return Ok(None) };
    let event: Event = serde_json::from_str(row.json.get()).map_err(|error| {
        StorageError::Doubtful(format!("event {seq} of room {} does not decode: {error}", room.0))
    })?;
    Ok(Some(Arc::new(event)))
}
