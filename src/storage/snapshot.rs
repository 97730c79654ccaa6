//! The copy of a whole state that one server sends another: a stream of rows, not of database pages.
//!
//! Rows have advantages over a copy of the database file. They are smaller (no log, indexes or free pages)
//! and need no space for a second database. The receiver's file stays in place, so its readers stay valid,
//! and installing is one transaction that rolls back as a whole. A server with a schema that is a version
//! apart can read them. The memory twin uses the same stream, so the simulation tests it.
//!
//! ```text
//! stream  = "SNSNAP" version:u16  record*
//! record  = length:u32  crc:u32  body              length of the body; all numbers little-endian
//! body    = 1 head                                  postcard of SnapshotHead
//!         | 2 key-length:u32 key value              a row of state
//!         | 3 room seq index created_at_ms:u64      an event
//!             author-length:u32 author json
//!         | 5 file:16 number:u32 bytes              a piece of a file
//!         | 4 totals                                postcard; the last record
//! ```
//! A record's CRC covers the CRC of the record before it and then its body, so that a record that is
//! missing, doubled or in another's place is noticed as surely as a flipped bit.
//!
//! The index of searches is not sent: the receiver makes it anew from the events. Removed rows that only wait
//! to be wiped are not sent either.

mod check;
mod export;
mod import;

pub use check::{Contents, check};
pub(super) use export::Export;
pub(super) use import::import;

const MAGIC: &[u8; 6] = b"SNSNAP";
/// The version of the format; any other one is refused.
pub const SNAPSHOT_VERSION: u16 = 3;

const HEAD: u8 = 1;
const STATE: u8 = 2;
const EVENT: u8 = 3;
const END: u8 = 4;
const CHUNK: u8 = 5;

/// The CRC of a record, which continues that of the record before.
fn chained(before: u32, body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&before.to_le_bytes());
    hasher.update(body);
    hasher.finalize()
}
