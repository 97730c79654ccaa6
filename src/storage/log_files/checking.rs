//! The segments of a log that nothing is written to any more, read again while the log is in use.

use std::{io, path::Path};

use super::{
    files::{Files, FolderFiles},
    names::{number_of, segment_name},
    segment::{SegmentHead, scan},
};
use crate::{disk::StorageError, storage::record::doubt};

/// Checks the first segment behind `above`, of the log in a data folder, that nothing is written to, and
/// returns its number; `None` if there is none. A server may be using the folder.
///
/// # Errors
/// `Doubtful` if it is not what was written, or cannot be read.
pub fn check_next_in(dir: &Path, above: u64) -> Result<Option<u64>, StorageError> {
    check_next(&FolderFiles::new(dir), above)
}

pub(super) fn check_next(files: &dyn Files, above: u64) -> Result<Option<u64>, StorageError> {
    let unreadable = |error: io::Error| doubt(format!("the log cannot be read: {error}"));
    let mut numbers: Vec<u64> =
        files.names().map_err(unreadable)?.iter().filter_map(|name| number_of(name)).collect();
    numbers.sort_unstable();
    // The last one is written to.
    numbers.pop();
    let Some(number) = numbers.into_iter().find(|number| *number > above) else { return Ok(None) };
    let found = check(files, number);
    // One that was cut meanwhile is used for another one now. Its number is never used again, so one that is
    // still there was there all the time.
    let is_there = files.names().map_err(unreadable)?.contains(&segment_name(number));
    if is_there { found.map(|()| Some(number)) } else { Ok(Some(number)) }
}

fn check(files: &dyn Files, number: u64) -> Result<(), StorageError> {
    let unreadable = |error: io::Error| doubt(format!("segment {number} of the log cannot be read: {error}"));
    let file = files.open(&segment_name(number)).map_err(unreadable)?;
    let length = usize::try_from(file.bytes().map_err(unreadable)?).expect("a segment fits into memory");
    let mut bytes = vec![0; length];
    file.read(0, &mut bytes).map_err(unreadable)?;
    let head = SegmentHead::decode(&bytes)
        .ok()
        .filter(|head| head.number == number && head.bytes == length as u64)
        .ok_or_else(|| doubt(format!("the head of segment {number} of the log is damaged")))?;
    scan(&head, &bytes).map(drop)
}
