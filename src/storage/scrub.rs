//! Reads the state a slice at a time and checks every row, so that damage is found before it matters.

use super::{
    read::check_state,
    record::{check_chunk, check_event},
    tables::{GoOn, Tables},
};
use crate::{
    disk::{Scrubbed, StorageError},
    protocol::{file::FileId, peer::RowKey},
};

/// As `Reader::scrub` promises: state rows, then events, then pieces of files.
pub(super) fn slice(
    tables: &impl Tables,
    above: Option<&RowKey>,
    max_bytes: usize,
) -> Result<Scrubbed, StorageError> {
    let mut slice = Slice { found: Scrubbed::default(), left: max_bytes };
    if above.is_none_or(|above| matches!(above, RowKey::State(_))) {
        let above = above.and_then(|above| if let RowKey::State(key) = above { Some(key) } else { None });
        tables.state(above.map(Vec::as_slice), &mut |key, value, crc| {
            slice.take(RowKey::State(key.to_vec()), check_state(key, value, crc), value.len())
        })?;
    }
    if slice.goes_on() && !matches!(above, Some(RowKey::Chunk { .. })) {
        let above = if let Some(&RowKey::Event { room, seq }) = above { (room, seq) } else { (0, 0) };
        tables.all_events(above, &mut |raw| {
            let key = RowKey::Event { room: raw.room, seq: raw.seq };
            slice.take(key, check_event(&raw), raw.json.len())
        })?;
    }
    if slice.goes_on() {
        let above =
            if let Some(RowKey::Chunk { file, number }) = above { Some((file.0, *number)) } else { None };
        tables.chunks(above, &mut |raw| {
            let key = RowKey::Chunk { file: FileId(raw.file), number: raw.number };
            slice.take(key, check_chunk(&raw), raw.bytes.len())
        })?;
    }
    if slice.goes_on() {
        slice.found.last = None;
    }
    Ok(slice.found)
}

struct Slice {
    found: Scrubbed,
    /// How many bytes may still be read.
    left: usize,
}

impl Slice {
    fn goes_on(&self) -> bool {
        self.left > 0
    }

    fn take(&mut self, key: RowKey, sound: Result<(), StorageError>, bytes: usize) -> GoOn {
        match sound {
            Err(StorageError::Damaged(row)) => self.found.damaged.push(row),
            sound => sound?,
        }
        self.found.rows += 1;
        self.found.last = Some(key);
        self.left = self.left.saturating_sub(bytes.max(1));
        Ok(self.goes_on())
    }
}
