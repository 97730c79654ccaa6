//! The checksum of a row: a CRC-32 over its table, its key and its value.
//!
//! SQLite guards the frames of its WAL and not the pages of its database, so a bit that flips on the disk
//! would be read as if it had been written. The key is part of the sum, so that a row in another's place is
//! noticed as well. A missing row is noticed by `totals::Totals`. A CRC is enough against accidents. It is no
//! defence against an attacker who can write to the folder, and none is promised.

use crc32fast::Hasher;

use super::tables::{RawChunk, RawEvent};

/// The sum over a named value.
pub(super) fn meta(name: &str, value: &[u8]) -> u32 {
    keyed(b'm', name.as_bytes(), value)
}

/// The sum over a state row.
pub(super) fn state(key: &[u8], value: &[u8]) -> u32 {
    keyed(b's', key, value)
}

/// The sum over an event; its own field `crc` is not looked at.
pub(super) fn event(event: &RawEvent<'_>) -> u32 {
    let mut hasher = Hasher::new();
    hasher.update(b"e");
    let RawEvent { room, seq, index, created_at_ms, newest_ms, author, .. } = event;
    for number in [*room, *seq, *index, *created_at_ms, *newest_ms, author.len() as u64] {
        hasher.update(&number.to_le_bytes());
    }
    hasher.update(event.author);
    hasher.update(event.json);
    hasher.finalize()
}

/// The sum over a piece of a file; its own field `crc` is not looked at.
pub(super) fn chunk(chunk: &RawChunk<'_>) -> u32 {
    let mut key = [0; 20];
    key[..16].copy_from_slice(&chunk.file);
    key[16..].copy_from_slice(&chunk.number.to_le_bytes());
    keyed(b'c', &key, chunk.bytes)
}

/// The sum over the note that a room's events below a seq are removed.
pub(super) fn floor(room: u64, below: u64) -> u32 {
    keyed(b'f', &room.to_le_bytes(), &below.to_le_bytes())
}

/// The sum over the note that a file is removed.
pub(super) fn doomed(file: [u8; 16]) -> u32 {
    keyed(b'd', &file, &[])
}

/// The key's length goes in, so that no byte can wander from key to value.
fn keyed(table: u8, key: &[u8], value: &[u8]) -> u32 {
    let mut hasher = Hasher::new();
    hasher.update(&[table]);
    hasher.update(&(key.len() as u64).to_le_bytes());
    hasher.update(key);
    hasher.update(value);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn place_and_content_both_count() {
        assert_ne!(state(b"ab", b"c"), state(b"a", b"bc"));
        assert_ne!(meta("a", b""), state(b"a", b""));
        let one = RawEvent {
            room: 1,
            seq: 2,
            index: 3,
            created_at_ms: 4,
            newest_ms: 5,
            author: b"al",
            json: b"{}",
            crc: 0,
        };
        assert_ne!(event(&one), event(&RawEvent { room: 2, seq: 1, ..one }));
        assert_ne!(event(&one), event(&RawEvent { author: b"a", json: b"l{}", ..one }));
        assert_eq!(event(&one), event(&RawEvent { crc: 9, ..one }));
        let piece = RawChunk { file: [1; 16], number: 2, bytes: b"x", crc: 0 };
        assert_ne!(chunk(&piece), chunk(&RawChunk { number: 3, ..piece }));
        assert_ne!(chunk(&piece), chunk(&RawChunk { file: [2; 16], ..piece }));
    }
}
