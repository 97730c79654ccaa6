//! A server's disk: two implementations of the replica's [`Storage`](crate::disk::Storage) and
//! [`Reader`](crate::disk::Reader).
//!
//! [`SqliteStorage`] is the real one. [`MemoryStorage`] is its twin for the simulation, with faults on
//! demand. What a batch means, what is checked when data is read, and what a snapshot looks like is written
//! once, on top of the small trait in `tables`. The two only differ in where a row is kept.
//!
//! | module | concept |
//! |---|---|
//! | `tables` | the rows that exist, as a trait: what both kinds of disk can do |
//! | `checksum`, `record` | what guards a row, and how its value is written |
//! | `totals` | how many rows there are, so that one that is gone is missed |
//! | `bounds` | where log and state begin and end, and which batches fit there |
//! | `failure` | the first failure, after which nothing is done any more |
//! | `write`, `event`, `read` | a batch written, an event in it, data read and checked |
//! | [`snapshot`] | the copy of a whole state that one server sends another |
//! | `scrub`, `repair` | the state checked row by row, and a damaged row made whole |
//! | `sweep` | rows that are removed at once and wiped bit by bit |
//! | `search` | which messages match a search, and the search without an index |
//! | [`sqlite`] | the real disk: the log, and the database of the state |
//! | [`reader`] | the database, read beside its writer |
//! | `state_writer`, `state_thread` | who writes the state, and the thread in which that happens |
//! | `schema`, `rows`, `statement`, `transaction`, `checkpoints` | the database |
//! | `full_text`, `finding`, `indexing` | the index of searches: written, searched, made anew |
//! | [`log_files`] | the replicated log, in files of its own |
//! | [`folder`] | the data folder: its lock, its quarantine |
//! | [`memory`], `image` | the twin |

mod bounds;
mod checkpoints;
mod checksum;
mod event;
mod failure;
mod finding;
pub mod folder;
mod full_text;
mod image;
mod indexing;
pub mod log_files;
pub mod memory;
mod read;
pub mod reader;
mod record;
mod repair;
mod rows;
mod schema;
mod scrub;
mod search;
pub mod snapshot;
pub mod sqlite;
mod state_thread;
mod state_writer;
mod statement;
mod sweep;
mod tables;
mod totals;
mod transaction;
mod write;

use std::fmt;

use crate::disk::StorageError;

pub use image::Kept;
pub use log_files::check_next_in as check_log_segment;
pub use memory::{CommitFault, MemoryDisk, MemoryImage, MemoryReader, MemoryStorage};
pub use reader::SqliteReader;
pub use sqlite::{LogPlace, Ring, SqliteStorage};
pub use write::Renew;

/// Why a data folder was not opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OpenError {
    /// An operator has to decide: the folder is in use, belongs to another server, or is no folder of
    /// SyncNet. Nothing was changed. One sentence for the console, exit status 2.
    Refused(String),
    /// The disk failed, or the data is in doubt; [`StorageError`] says what follows from each.
    Storage(StorageError),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::Refused(why) => f.write_str(why),
            OpenError::Storage(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for OpenError {}

impl From<StorageError> for OpenError {
    fn from(error: StorageError) -> Self {
        OpenError::Storage(error)
    }
}
