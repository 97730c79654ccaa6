//! The database of a server: one connection that writes and checkpoints, and any number that read.
//!
//! **Synced before said.** Log, vote, state and applied index are in one database in WAL mode with
//! `synchronous=FULL`, so one transaction is one sync, and when COMMIT has returned its frames are on the
//! disk. After a failed commit nothing is tried again: the kernel may have dropped the pages that it could
//! not write, and a second sync would find nothing to do and report success.
//!
//! **Checkpoints** run in the writer after a commit, a thousand pages at a time. SQLite's own ones would hide
//! their errors. A reader that stays in its transaction (a snapshot being sent to a slow peer) keeps the WAL
//! from starting over until it ends.
//!
//! **What SQLite does not notice.** A flipped bit in the database: every row has a checksum, and the tables
//! have totals. A WAL that lost its end: see `wal`. An old copy of the whole folder: nothing in it shows
//! that, but the other servers notice (`replica::node::trust`).

use std::{
    fmt,
    io::Read,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rusqlite::{Connection, OpenFlags, config::DbConfig};

use super::{
    OpenError,
    bounds::Bounds,
    checkpoints::Checkpoints,
    failure::Failure,
    folder::Folder,
    full_text::{self, SEARCH_TIME, Watch},
    indexing::{Indexing, Slice},
    read,
    rows::{While, sqlite_error},
    schema::{self, Age},
    snapshot::Export,
    transaction::{Broken, transaction},
    wal,
    write::{self, Renew},
};
use crate::{
    disk::{
        Batch, EventRange, EventRow, FileId, Found, HardState, InstallError, Loaded, Reader, RoomId, Search,
        Storage, StorageError,
    },
    protocol::{
        name::ServerId,
        peer::{LogEntry, NodeId, SnapshotHead},
        status::Progress,
    },
};

/// While nothing is committed, one in so many calls of `wipe_if_idle` looks at the WAL as well.
const IDLE_CHECKPOINT: u32 = 8;

/// The path of a database, for every connection to it.
#[derive(Debug, Clone)]
struct Place {
    path: PathBuf,
    /// The name of the SQLite VFS; `None` for the file system.
    vfs: Option<String>,
}

impl Place {
    fn connect(&self, flags: OpenFlags) -> Result<Connection, StorageError> {
        let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = match &self.vfs {
            Some(vfs) => Connection::open_with_flags_and_vfs(&self.path, flags, vfs.as_str()),
            None => Connection::open_with_flags(&self.path, flags),
        };
        connection.map_err(|error| sqlite_error(&format!("opening {}", self.path.display()), &error))
    }

    fn reader(&self) -> Result<Connection, StorageError> {
        let connection = self.connect(OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        schema::set_up_reader(&connection)?;
        Ok(connection)
    }
}

/// The writer of a server's database.
#[derive(Debug)]
pub struct SqliteStorage {
    connection: Connection,
    place: Place,
    bounds: Bounds,
    /// What is left to do to make the index of searches.
    indexing: Option<Indexing>,
    checkpoints: Checkpoints,
    /// The first failure; every later call gets it again.
    failed: Failure,
    stopwatch: Option<Stopwatch>,
    /// Dropped last, so that the connection is closed while the folder is still ours.
    folder: Option<Folder>,
}

impl SqliteStorage {
    /// Opens the database in the data folder `dir` and takes the folder for this process.
    ///
    /// If there is none, one is made for `server_id` under the incarnation `fresh_node_id`, which the caller
    /// draws at random. The opening is counted (`Identity::boot`) and synced.
    ///
    /// # Errors
    /// `Refused` if the folder is in use, cannot be made, or holds the data of another server, program or
    /// version. `Doubtful` if the data is damaged or its WAL lost something.
    pub fn open(dir: &Path, server_id: &ServerId, fresh_node_id: NodeId) -> Result<Self, OpenError> {
        schema::check_library()?;
        let folder = Folder::take(dir)?;
        folder.check_doubt()?;
        if folder.has_database()? {
            wal::check(&folder.wal(), &folder.shm())?;
        } else {
            folder.make_database()?;
        }
        let place = Place { path: folder.database(), vfs: None };
        Self::open_at(place, Some(folder), server_id, fresh_node_id)
    }

    /// Opens the database `path` of a registered SQLite VFS instead of files: for tests that cut the power.
    /// There is no folder, so there is no lock, and the WAL is not checked before SQLite reads it.
    ///
    /// # Errors
    /// As for [`open`](Self::open).
    pub fn open_on_vfs(
        vfs: &str,
        path: &Path,
        server_id: &ServerId,
        fresh_node_id: NodeId,
    ) -> Result<Self, OpenError> {
        schema::check_library()?;
        let place = Place { path: path.to_owned(), vfs: Some(vfs.to_owned()) };
        Self::open_at(place, None, server_id, fresh_node_id)
    }

    fn open_at(
        place: Place,
        folder: Option<Folder>,
        server_id: &ServerId,
        fresh_node_id: NodeId,
    ) -> Result<Self, OpenError> {
        let mut connection =
            place.connect(OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)?;
        let age = schema::age(&connection, &place.path)?;
        schema::set_up_writer(&connection)?;
        let is_small = age != Age::New && schema::is_small(&connection)?;
        if is_small {
            schema::quick_check(&connection)?;
        }
        let indexing = transaction(&mut connection, |connection| {
            if age == Age::New {
                schema::create(connection)?;
            }
            if is_small {
                read::check_history(connection)?;
            }
            write::begin(connection, server_id, fresh_node_id)?;
            Ok(Indexing::begin(connection)?)
        })
        .map_err(|broken: Broken<OpenError>| {
            if broken.synced_in_vain
                && let Some(folder) = &folder
            {
                folder.remember_doubt(&broken.error.to_string());
            }
            broken.error
        })?;
        if let Some(folder) = &folder {
            folder.sync()?;
        }
        let bounds = Bounds::read(&connection)?;
        let checkpoints = Checkpoints::default();
        let failed = Failure::default();
        let stopwatch = None;
        Ok(SqliteStorage { connection, place, bounds, indexing, checkpoints, failed, stopwatch, folder })
    }

    /// From now on `tell` is called with the time of each commit, including its sync and the clearing up
    /// after it.
    pub fn time_commits(&mut self, tell: impl Fn(Duration) + Send + 'static) {
        self.stopwatch = Some(Stopwatch(Box::new(tell)));
    }

    /// Fills a new folder with the content of a backup, all of it or nothing. `renew` is given all rows of
    /// state and returns those to change; its error ends this. Afterwards the data belongs to no cluster yet.
    ///
    /// # Errors
    /// `Unreadable` if the content cannot be used or the folder has data already. Then nothing was changed.
    pub fn restore(
        &mut self,
        head: &SnapshotHead,
        content: &mut dyn Read,
        renew: Renew<'_>,
    ) -> Result<(), InstallError> {
        self.failed.check()?;
        let restored =
            transaction(&mut self.connection, |connection| write::restore(connection, head, content, renew));
        self.replaced(restored)
    }

    /// Notes the result of a transaction that was to replace everything.
    fn replaced(&mut self, by: Result<Bounds, Broken<InstallError>>) -> Result<(), InstallError> {
        match by {
            Ok(bounds) => {
                self.bounds = bounds;
                self.indexing = None;
                self.checkpoints.note_wiped();
                let checkpointed = self.checkpoints.after_commit(&self.connection);
                checkpointed.map_err(|broken| self.fail(broken).into())
            }
            Err(Broken { error, rolled_back, synced_in_vain }) => {
                let error = match error {
                    InstallError::Unreadable(_) if rolled_back => return Err(error),
                    InstallError::Unreadable(why) => {
                        StorageError::Failed(format!("{why}; it stays half read"))
                    }
                    InstallError::Storage(error) => error,
                };
                Err(self.fail(Broken { error, rolled_back, synced_in_vain }).into())
            }
        }
    }

    /// Walks all events and files, and checks each of them and that none is missing.
    ///
    /// # Errors
    /// `Doubtful` if they are not what was written.
    pub fn check_history(&self) -> Result<(), StorageError> {
        read::check_history(&self.connection)
    }

    /// A connection for reading beside this one, for a thread of its own. Costs a fraction of a millisecond.
    ///
    /// # Errors
    /// `Failed` if the database cannot be opened once more.
    pub fn reader(&self) -> Result<SqliteReader, StorageError> {
        let mut connection = self.place.reader()?;
        let watch = Watch::over(&mut connection)?;
        Ok(SqliteReader { connection, watch, place: self.place.clone() })
    }

    fn wipe(&mut self) -> Result<(), Broken> {
        let bounds = &self.bounds;
        self.bounds = transaction(&mut self.connection, |connection| write::wipe(connection, bounds))?;
        self.checkpoints.note_wiped();
        self.checkpoints.after_commit(&self.connection)
    }

    fn index(&mut self) -> Result<(), Broken> {
        self.indexing =
            transaction(&mut self.connection, |connection| go_on(self.indexing, connection, Slice::Idle))?;
        self.checkpoints.after_commit(&self.connection)
    }

    /// Checks that the files are still those that were opened. To be called now and then.
    ///
    /// # Errors
    /// `Failed` if they were removed or replaced: what is written from now on may be lost.
    pub fn check_in_place(&self) -> Result<(), StorageError> {
        self.folder.as_ref().map_or(Ok(()), Folder::check_in_place)
    }

    /// Notes a failure, after which this connection does nothing more.
    fn fail(&self, broken: Broken) -> StorageError {
        if broken.synced_in_vain
            && let Some(folder) = &self.folder
        {
            folder.remember_doubt(&broken.error.to_string());
        }
        // Closing must not checkpoint what may not be on the disk. If even this fails, nothing can be done:
        // the process ends.
        let _ = self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
        self.failed.keep(broken.error)
    }
}

struct Stopwatch(Box<dyn Fn(Duration) + Send>);

impl fmt::Debug for Stopwatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stopwatch")
    }
}

/// Makes a slice of an index that is not finished.
fn go_on(
    indexing: Option<Indexing>,
    connection: &mut Connection,
    slice: Slice,
) -> Result<Option<Indexing>, StorageError> {
    indexing.map_or(Ok(None), |indexing| indexing.slice(connection, slice))
}

impl Storage for SqliteStorage {
    fn load(&self) -> Result<Loaded, StorageError> {
        self.failed.check()?;
        read::load(&self.connection)
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), StorageError> {
        self.failed.check()?;
        if batch.is_empty() {
            return Ok(());
        }
        let begun = Instant::now();
        let bounds = &self.bounds;
        let written = bounds.check(batch).map_err(Broken::from).and_then(|()| {
            transaction(&mut self.connection, |connection| {
                let bounds = write::batch(connection, bounds, batch)?;
                Ok((bounds, go_on(self.indexing, connection, Slice::ByTheWay)?))
            })
        });
        let checkpointed = written.and_then(|(bounds, indexing)| {
            self.indexing = indexing;
            if bounds.wiped {
                self.checkpoints.note_wiped();
            }
            self.bounds = bounds;
            self.checkpoints.after_commit(&self.connection)
        });
        checkpointed.map_err(|broken| self.fail(broken))?;
        self.stopwatch.iter().for_each(|stopwatch| (stopwatch.0)(begun.elapsed()));
        Ok(())
    }

    fn wipe_if_idle(&mut self) -> Result<(), StorageError> {
        self.failed.check()?;
        self.bounds.idle = self.bounds.idle.saturating_add(1);
        let done = if self.bounds.idle == 1 {
            // Something was committed since the last time.
            Ok(())
        } else if self.bounds.sweep.is_pending() {
            self.wipe()
        } else if self.indexing.is_some() {
            self.index()
        } else if self.bounds.idle.is_multiple_of(IDLE_CHECKPOINT) {
            self.checkpoints.when_idle(&self.connection)
        } else {
            Ok(())
        };
        done.map_err(|broken| self.fail(broken))
    }

    fn unwiped(&self) -> u64 {
        self.bounds.sweep.events()
    }

    fn indexing(&self) -> Option<Progress> {
        self.indexing.map(|indexing| indexing.progress(self.bounds.totals.events.rows))
    }

    fn entries(&self, low: u64, high: u64, max_bytes: u64) -> Result<Vec<LogEntry>, StorageError> {
        self.failed.check()?;
        read::entries(&self.connection, self.bounds.truncated, (low, high), max_bytes)
    }

    fn event(&self, room: RoomId, seq: u64) -> Result<Option<EventRow>, StorageError> {
        self.failed.check()?;
        read::event(&self.connection, room, seq)
    }

    fn install(
        &mut self,
        head: &SnapshotHead,
        hard_state: HardState,
        content: &mut dyn Read,
    ) -> Result<(), InstallError> {
        self.failed.check()?;
        let installed = transaction(&mut self.connection, |connection| {
            write::install(connection, head, hard_state, content)
        });
        self.replaced(installed)
    }
}

/// A reader of a server's database, for a thread of its own.
#[derive(Debug)]
pub struct SqliteReader {
    connection: Connection,
    watch: Watch,
    place: Place,
}

impl SqliteReader {
    /// Searches, and ends the search after `time`.
    ///
    /// # Errors
    /// As for [`Reader::search`].
    pub fn search_within(&self, search: &Search, time: Duration) -> Result<Found, StorageError> {
        self.at_one_moment(|| full_text::find(&self.connection, &self.watch, search, time))
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

    /// The copy is read on a connection of its own as it is asked for, in one read transaction that ends
    /// when the `Read` is dropped. Until then the WAL cannot start over, so keep it no longer than needed.
    fn snapshot(&self) -> Result<(SnapshotHead, Box<dyn Read + Send>), StorageError> {
        let connection = self.place.reader()?;
        connection.execute_batch("BEGIN").during("beginning a snapshot")?;
        let export = Export::new(Box::new(connection))?;
        Ok((export.head().clone(), Box::new(export)))
    }
}
