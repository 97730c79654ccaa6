//! Whether the WAL lost something that was synced, checked before SQLite reads it.
//!
//! SQLite reads its WAL up to the first frame that fails its checksum and takes the rest for what a crash
//! left unfinished. If a bit has flipped in the middle, or the file was cut short, transactions that were
//! synced and acknowledged are gone, and SQLite reports nothing. The files can mostly show it:
//!
//! - **Chains.** Each frame's checksum continues that of the one before. If a frame fails, but after it there
//!   is a whole transaction with another frame linked to its end, the failing frame was whole once: under
//!   `synchronous=FULL` nothing is written after a transaction before that one is synced.
//! - **The index.** The `-shm` file beside the WAL says how many frames are committed. SQLite updates it
//!   after the sync, and it survives a killed process (not a power cut), so a WAL with fewer frames has lost
//!   some.
//!
//! Two losses remain unnoticed here: the very last transaction before a power cut, and an old copy of the
//! whole folder. A small file with the newest vote and log end, synced with every commit, would catch the
//! first, but double the time of every commit. The other servers catch both: the server that got an
//! acknowledgement or a vote remembers it (`replica::node::trust`).
//!
//! The format is described at <https://sqlite.org/fileformat2.html#walformat> and
//! <https://sqlite.org/walformat.html#the_wal_index_header>.

use std::{
    fs::File,
    io::{self, BufReader, Read},
    path::Path,
};

use super::record::doubt;
use crate::disk::StorageError;

const HEADER_BYTES: usize = 32;
const FRAME_HEADER_BYTES: usize = 24;
const MAGIC_LITTLE: u32 = 0x377f_0682;
const MAGIC_BIG: u32 = 0x377f_0683;

/// Returns `Doubtful` if the WAL has certainly lost what was synced. Must run while no connection is
/// open: closing a file drops the locks of the whole process on it.
pub(super) fn check(wal: &Path, shm: &Path) -> Result<(), StorageError> {
    let failed = |error: io::Error| {
        StorageError::Failed(format!("reading {} before it is opened: {error}", wal.display()))
    };
    let index = read_index(shm).map_err(failed)?;
    let found = match open(wal).map_err(failed)? {
        Some(file) => scan(&mut BufReader::with_capacity(1 << 18, file)).map_err(failed)?,
        None => Scan::Empty,
    };
    judge(&found, index.as_ref())
}

fn open(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        result => result.map(Some),
    }
}

/// The content of a WAL.
#[derive(Debug, PartialEq, Eq)]
enum Scan {
    /// Nothing: SQLite will use the database as it is.
    Empty,
    /// There are frames after a damaged header. It was synced before they were written, so it was whole once.
    HeaderDamaged,
    Frames {
        salt: [u8; 8],
        /// Frames up to the end of the last transaction that is whole.
        committed: u32,
        /// A later frame fails, though another transaction was begun after it.
        lost: Option<u32>,
    },
}

fn judge(found: &Scan, index: Option<&Index>) -> Result<(), StorageError> {
    match (found, index) {
        (Scan::HeaderDamaged, _) => Err(doubt("the header of the WAL is damaged")),
        (Scan::Frames { lost: Some(frame), .. }, _) => {
            Err(doubt(format!("frame {frame} of the WAL is damaged, and transactions were synced behind it")))
        }
        (Scan::Frames { salt, committed, lost: None }, Some(index))
            if *salt == index.salt && *committed < index.committed =>
        {
            Err(doubt(format!(
                "the WAL ends with frame {committed}, and {} were synced before the last process ended",
                index.committed
            )))
        }
        (Scan::Empty, Some(index)) if index.copied < index.committed => Err(doubt(format!(
            "the WAL is empty or gone, and {} of its frames were not in the database yet",
            index.committed - index.copied
        ))),
        _ => Ok(()),
    }
}

fn scan(wal: &mut impl Read) -> io::Result<Scan> {
    let mut header = [0; HEADER_BYTES];
    if !fill(wal, &mut header)? {
        return Ok(Scan::Empty);
    }
    let magic = be32(&header, 0);
    let page_bytes = be32(&header, 8) as usize;
    let big = magic == MAGIC_BIG;
    let mut sum = checksum(big, (0, 0), &header[..24]);
    let sound = (big || magic == MAGIC_LITTLE)
        && (512..=65_536).contains(&page_bytes)
        && page_bytes.is_power_of_two()
        && sum == stored_sum(&header, 24);
    let mut frame = vec![0; FRAME_HEADER_BYTES + if sound { page_bytes } else { 512 }];
    if !sound {
        return Ok(if fill(wal, &mut frame)? { Scan::HeaderDamaged } else { Scan::Empty });
    }
    let salt: [u8; 8] = header[16..24].try_into().expect("eight bytes are eight bytes");
    let (mut number, mut committed) = (0_u32, 0_u32);
    let mut broken: Option<u32> = None;
    // Behind a broken frame: whether the frame before this one ended a transaction.
    let mut ended = false;
    while fill(wal, &mut frame)? {
        number += 1;
        let own = stored_sum(&frame, 16);
        let linked = frame[8..16] == salt && {
            let head = checksum(big, sum, &frame[..8]);
            checksum(big, head, &frame[FRAME_HEADER_BYTES..]) == own
        };
        let ends = be32(&frame, 4) != 0;
        if let Some(first) = broken {
            if linked && ended {
                return Ok(Scan::Frames { salt, committed, lost: Some(first) });
            }
            ended = frame[8..16] == salt && ends;
        } else if linked {
            if ends {
                committed = number;
            }
        } else {
            broken = Some(number);
            ended = frame[8..16] == salt && ends;
        }
        sum = own;
    }
    Ok(Scan::Frames { salt, committed, lost: None })
}

/// The content of the `-shm` file.
#[derive(Debug, PartialEq, Eq)]
struct Index {
    salt: [u8; 8],
    /// Frames of the WAL that are committed.
    committed: u32,
    /// Of these, how many a checkpoint has copied into the database.
    copied: u32,
}

/// `None` if there is no index, or one that a crash left half-written.
fn read_index(shm: &Path) -> io::Result<Option<Index>> {
    let Some(mut file) = open(shm)? else { return Ok(None) };
    let mut bytes = [0; 100];
    if !fill(&mut file, &mut bytes)? {
        return Ok(None);
    }
    let native =
        |at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().expect("four bytes are four bytes"));
    let initialised = bytes[12] == 1;
    let sum = checksum(cfg!(target_endian = "big"), (0, 0), &bytes[..40]);
    if !initialised || bytes[..48] != bytes[48..96] || sum != (native(40), native(44)) {
        return Ok(None);
    }
    let salt = bytes[32..40].try_into().expect("eight bytes are eight bytes");
    Ok(Some(Index { salt, committed: native(16), copied: native(96) }))
}

/// Fills `into`, or says that the file ends before.
fn fill(from: &mut impl Read, into: &mut [u8]) -> io::Result<bool> {
    match from.read_exact(into) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes are four bytes"))
}

fn stored_sum(bytes: &[u8], at: usize) -> (u32, u32) {
    (be32(bytes, at), be32(bytes, at + 4))
}

/// SQLite's WAL checksum over `bytes`, whose length is a multiple of eight, going on from `sum`.
fn checksum(big: bool, sum: (u32, u32), bytes: &[u8]) -> (u32, u32) {
    let word = |word: &[u8; 4]| if big { u32::from_be_bytes(*word) } else { u32::from_le_bytes(*word) };
    let (mut first, mut second) = sum;
    for pair in bytes.as_chunks::<4>().0.as_chunks::<2>().0 {
        first = first.wrapping_add(word(&pair[0])).wrapping_add(second);
        second = second.wrapping_add(word(&pair[1])).wrapping_add(first);
    }
    (first, second)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SALT: [u8; 8] = [7; 8];

    fn frames(committed: u32, lost: Option<u32>) -> Scan {
        Scan::Frames { salt: SALT, committed, lost }
    }

    #[test]
    fn doubt_needs_evidence() {
        let index = |committed, copied| Some(Index { salt: SALT, committed, copied });
        let other = Some(Index { salt: [8; 8], committed: 9, copied: 0 });
        for (found, index, sound) in [
            (Scan::Empty, None, true),
            (Scan::Empty, index(5, 5), true),
            (Scan::Empty, index(5, 4), false),
            (Scan::HeaderDamaged, None, false),
            (frames(5, None), None, true),
            (frames(5, None), index(5, 0), true),
            // Synced, and the process died before it could update the index.
            (frames(6, None), index(5, 0), true),
            (frames(4, None), index(5, 0), false),
            // The index does not belong to this WAL.
            (frames(4, None), other, true),
            (frames(4, Some(5)), None, false),
        ] {
            assert_eq!(judge(&found, index.as_ref()).is_ok(), sound, "{found:?} {index:?}");
        }
    }
}
