//! Reading the database of a server beside its writer: for the threads that answer queries.

use std::{io::Read, time::Duration};

use rusqlite::Connection;

use crate::{
    disk::{EventRange, EventRow, FileId, Found, Reader, RoomId, Scrubbed, Search, StorageError},
    protocol::peer::{RowKey, SnapshotHead},
};

use super::{
    finding::{self, SEARCH_TIME, Watch},
    read, scrub,
    snapshot::Export,
    state_writer::Place,
    statement::While,
};

/// A reader of a server's database, for a thread of its own.
#[derive(Debug)]
pub struct SqliteReader {
    connection: Connection,
    watch: Watch,
    place: Place,
}

impl SqliteReader {
    /// # Errors
    /// `Failed` if the database cannot be opened once more.
    pub(super) fn open(place: &Place) -> Result<Self, StorageError> {
        let mut connection = place.reader()?;
        let watch = Watch::over(&mut connection)?;
        Ok(SqliteReader { connection, watch, place: place.clone() })
    }

    /// Searches, and ends the search after `time`.
    ///
    /// # Errors
    /// As for [`Reader::search`].
    pub fn search_within(&self, search: &Search, time: Duration) -> Result<Found, StorageError> {
        self.at_one_moment(|| finding::find(&self.connection, &self.watch, search, time))
    }

    /// Runs several statements in one read transaction.
    fn at_one_moment<T>(&self, read: impl FnOnce() -> Result<T, StorageError>) -> Result<T, StorageError> {
        let step = |text| self.connection.prepare_cached(text)?.execute([]).map(drop);
        step("BEGIN").during("beginning to read")?;
        let result = read();
        step("COMMIT").during("ending to read")?;
        result
    }
}

impl Reader for SqliteReader {
    fn events(&self, room: RoomId, range: &EventRange) -> Result<Vec<EventRow>, StorageError> {
        self.at_one_moment(|| read::events(&self.connection, room, range))
    }

    fn first_since(&self, room: RoomId, at_ms: u64) -> Result<Option<u64>, StorageError> {
        self.at_one_moment(|| read::first_since(&self.connection, room, at_ms))
    }

    fn search(&self, search: &Search) -> Result<Found, StorageError> {
        self.search_within(search, SEARCH_TIME)
    }

    fn chunk(&self, file: FileId, number: u32) -> Result<Option<Vec<u8>>, StorageError> {
        self.at_one_moment(|| read::chunk(&self.connection, file, number))
    }

    fn scrub(&self, above: Option<&RowKey>, max_bytes: usize) -> Result<Scrubbed, StorageError> {
        self.at_one_moment(|| scrub::slice(&self.connection, above, max_bytes))
    }

    /// The copy is read on a connection of its own as it is asked for, in one read transaction that ends
    /// when the `Read` is dropped. Until then the WAL cannot start over, so keep it no longer than needed.
    fn snapshot(&self) -> Result<(SnapshotHead, Box<dyn Read + Send>), StorageError> {
        let connection = self.place.reader()?;
        connection.execute_batch("BEGIN").during("beginning a snapshot")?;
        let export = Export::new(Box::new(connection))?;
        Ok((export.head().clone(), Box::new(export)))
    }
}
