//! The index of searches made anew, while the server runs.
//!
//! The index has the terms of one version of `protocol::search`, and that version is stored with it. If a
//! server finds another one at its start, it drops the index and makes it anew from the events: a slice with
//! each commit, and more when nothing else is to be written. New messages are indexed as usual. Until the
//! index is complete, searches find less, and say so.
//!
//! ```text
//! meta: index = (version, done, next)   next: the room and seq behind which events are still to be indexed
//! ```

use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::{
    full_text,
    record::{IndexRecord, check_event, doubt, name, put_meta, raw_text, stored},
    tables::Tables,
};
use crate::{
    disk::StorageError,
    protocol::{search::INDEX_VERSION, status::Progress, text::counted},
};

/// Events that one commit indexes at most.
const COMMIT_EVENTS: u64 = 16;
/// How long a slice takes if nothing else is written.
const IDLE_TIME: Duration = Duration::from_millis(20);
/// Events between two lines in the log about the progress.
const LOGGED_EVENTS: u64 = 100_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Indexing {
    done: u64,
    next: (u64, u64),
}

/// How much of it a slice makes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Slice {
    /// As much as a commit may cost more.
    ByTheWay,
    /// As much as can be done while no commit waits.
    Idle,
}

impl Indexing {
    /// Returns `Doubtful` if the tables of the index are not as this version makes them, though the database
    /// says that it did.
    pub fn check(connection: &Connection) -> Result<(), StorageError> {
        match stored::<IndexRecord>(connection, name::INDEX)? {
            Some((INDEX_VERSION, ..)) if !full_text::has_tables(connection)? => {
                Err(doubt("the index of searches has other tables than were made for it"))
            }
            _ => Ok(()),
        }
    }

    /// Makes sure that there is an index of this version, empty if it was missing or of another one. Returns
    /// what is left to do. Part of the transaction in which a database is opened.
    pub fn begin(connection: &mut Connection) -> Result<Option<Indexing>, StorageError> {
        let record: Option<IndexRecord> = stored(connection, name::INDEX)?;
        if let Some((INDEX_VERSION, done, next)) = record {
            return Ok(next.map(|next| Indexing { done, next }));
        }
        full_text::create(connection)?;
        let mut indexing = None;
        connection.all_events((0, 0), &mut |_| {
            indexing = Some(Indexing { done: 0, next: (0, 0) });
            Ok(false)
        })?;
        store(connection, indexing)?;
        if indexing.is_some() {
            log::info!("the index of searches is made anew; until it is done, searches find less");
        }
        Ok(indexing)
    }

    /// Makes the next slice. Returns what is left to do.
    pub fn slice(
        mut self,
        connection: &mut Connection,
        slice: Slice,
    ) -> Result<Option<Indexing>, StorageError> {
        let before = self.done;
        let begun = Instant::now();
        let mut is_end = true;
        connection.all_events(self.next, &mut |raw| {
            check_event(&raw)?;
            full_text::put(connection, raw_text(&raw).as_slice())?;
            self.next = (raw.room, raw.seq);
            self.done += 1;
            is_end = match slice {
                Slice::ByTheWay => self.done - before < COMMIT_EVENTS,
                Slice::Idle => begun.elapsed() < IDLE_TIME,
            };
            Ok(is_end)
        })?;
        let left = (!is_end).then_some(self);
        store(connection, left)?;
        if left.is_none() {
            log::info!("the index of searches is done: {}", counted(self.done, "event"));
        } else if self.done / LOGGED_EVENTS > before / LOGGED_EVENTS {
            log::info!("the index of searches is being made anew: {} so far", counted(self.done, "event"));
        }
        Ok(left)
    }

    /// How far it is, of so many events in all.
    pub fn progress(&self, total: u64) -> Progress {
        Progress { done: self.done.min(total), total }
    }

    pub fn read(connection: &Connection) -> Result<Option<Indexing>, StorageError> {
        let record: Option<IndexRecord> = stored(connection, name::INDEX)?;
        Ok(record.and_then(|(_, done, next)| next.map(|next| Indexing { done, next })))
    }
}

/// Notes that the index is whole, as when everything was replaced.
pub(super) fn is_whole(connection: &mut Connection) -> Result<(), StorageError> {
    store(connection, None)
}

fn store(connection: &mut Connection, indexing: Option<Indexing>) -> Result<(), StorageError> {
    let done = indexing.map_or(0, |indexing| indexing.done);
    let record: IndexRecord = (INDEX_VERSION, done, indexing.map(|indexing| indexing.next));
    put_meta(connection, name::INDEX, &record)
}
