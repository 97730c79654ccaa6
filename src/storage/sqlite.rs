//! The disk of a server: its log, and its database with one connection that writes and checkpoints, and any
//! number that read.
//!
//! **Synced before said.** What must not be lost is in the log (`log_files`), and is there before the
//! database hears of it. The database has the state, up to some applied index, and is not synced with every
//! commit: a power cut takes away its last transactions, and the next start makes them anew from the log. So
//! the log is cut only up to what the database is known to have on the disk (`sync_state`).
//!
//! A commit that failed is never tried again and nothing else is either: the kernel may have dropped the
//! pages that it could not write, and a second sync would find nothing to do and say so.
//!
//! **Checkpoints** run in the writer after a commit, a thousand pages at a time. SQLite's own ones would hide
//! their errors. A reader that stays in its transaction (a snapshot being sent to a slow peer) keeps the WAL
//! from starting over until it ends.
//!
//! **What SQLite does not notice.** A flipped bit in the database: every row has a checksum, and the tables
//! have totals. A WAL that lost what was synced: transactions are counted, and the log has noted how many
//! there must be. A whole folder of last week: nothing in it can tell, and the other servers do
//! (`replica::trust`).

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
    checkpoints::{Checkpoints, Due},
    failure::Failure,
    folder::{self, Folder},
    full_text::{self, SEARCH_TIME, Watch},
    indexing::{Indexing, Slice},
    log_files::{
        self, Append, Log, SEGMENT_BYTES,
        files::{Files, FolderFiles},
    },
    read,
    rows::{While, sqlite_error},
    schema::{self, Age, Sync},
    snapshot::Export,
    transaction::{Broken, transaction},
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

/// Where the files of the log are, in the place of a data folder: for tests that cut the power.
#[derive(Debug)]
pub struct LogPlace {
    /// What is asked of the folder.
    pub files: Box<dyn Files>,
    /// How long a segment is.
    pub segment_bytes: u64,
}

/// Where a database is, for every connection to it.
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

/// The writer of a server's disk.
#[derive(Debug)]
pub struct SqliteStorage {
    connection: Connection,
    place: Place,
    log: Log,
    bounds: Bounds,
    /// So many transactions are known to be on the disk, and the log has noted it.
    synced: u64,
    /// What is left to do of the index of searches.
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
    /// `Refused` where the folder is in use, cannot be made, or holds the data of another server, program
    /// or version. `Doubtful` where the data is damaged, or the log does not fit the database.
    pub fn open(dir: &Path, server_id: &ServerId, fresh_node_id: NodeId) -> Result<Self, OpenError> {
        schema::check_library()?;
        let folder = Folder::take(dir)?;
        folder.check_doubt()?;
        if !folder.has_database()? {
            folder.make_database()?;
        }
        let place = Place { path: folder.database(), vfs: None };
        let log = LogPlace { files: Box::new(FolderFiles::new(folder.path())), segment_bytes: SEGMENT_BYTES };
        Self::open_at(place, log, Some(folder), server_id, fresh_node_id)
    }

    /// Whether a folder has the data of a server. Nothing is made or changed.
    pub fn is_in(dir: &Path) -> bool {
        folder::has_database(dir)
    }

    /// Opens the database `path` of a registered SQLite VFS instead of files, with the log at a place of the
    /// caller's: for tests that cut the power. There is no folder, so there is no lock either.
    ///
    /// # Errors
    /// As for [`open`](Self::open).
    pub fn open_on_vfs(
        vfs: &str,
        path: &Path,
        log: LogPlace,
        server_id: &ServerId,
        fresh_node_id: NodeId,
    ) -> Result<Self, OpenError> {
        schema::check_library()?;
        let place = Place { path: path.to_owned(), vfs: Some(vfs.to_owned()) };
        Self::open_at(place, log, None, server_id, fresh_node_id)
    }

    fn open_at(
        place: Place,
        log: LogPlace,
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
        let (beside, indexing) = transaction(&mut connection, |connection| {
            if age == Age::New {
                schema::create(connection)?;
            }
            if is_small {
                read::check_history(connection)?;
            }
            let beside = write::begin(connection, server_id, fresh_node_id)?;
            Ok((beside, Indexing::begin(connection)?))
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
        // That transaction was synced, and everything before it. From here on the log keeps what must be
        // kept.
        schema::set_sync(&connection, Sync::AtCheckpoint)?;
        let log = log_files::open(log.files, log.segment_bytes, fresh_node_id.0, &beside)?;
        let bounds = Bounds::read(&connection, &log)?;
        Ok(SqliteStorage {
            connection,
            place,
            log,
            bounds,
            synced: 0,
            indexing,
            checkpoints: Checkpoints::default(),
            failed: Failure::default(),
            stopwatch: None,
            folder,
        })
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
        let hard_state = HardState { term: head.index_term, vote: None, commit: head.index };
        self.replaced(restored, hard_state)
    }

    /// Takes notice of a transaction that has replaced everything, or has not.
    ///
    /// First the state is made durable and says that the log is to be begun anew, then that is done. A
    /// process that ends in between leaves a log of one generation less, which the next start begins anew.
    fn replaced(
        &mut self,
        by: Result<Bounds, Broken<InstallError>>,
        hard_state: HardState,
    ) -> Result<(), InstallError> {
        match by {
            Ok(bounds) => {
                let before = bounds.truncated;
                self.bounds = bounds;
                self.indexing = None;
                self.checkpoints.note_wiped();
                let begun = self
                    .sync_database()
                    .and_then(|()| self.log.begin_anew(before, hard_state))
                    .and_then(|()| self.note_synced())
                    .and_then(|()| self.checkpoint());
                begun.map_err(|broken| self.fail(broken).into())
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

    /// Writes what a batch says: first of the log, which is synced, then of the state.
    fn write(&mut self, batch: &Batch) -> Result<(), Broken> {
        self.bounds.check(batch)?;
        if batch.changes_log() {
            let Batch { entries, hard_state, peer_marks, .. } = batch;
            self.log.append(&Append { entries, hard_state: *hard_state, marks: peer_marks })?;
            self.bounds.last = self.log.last();
        }
        if !batch.changes_state() {
            return Ok(());
        }
        let truncated = self.bounds.truncated;
        let (log, bounds) = (&self.log, &self.bounds);
        let (bounds, indexing) = transaction(&mut self.connection, |connection| {
            let bounds = write::batch(connection, log, bounds, batch)?;
            Ok::<_, StorageError>((bounds, go_on(self.indexing, connection, Slice::ByTheWay)?))
        })?;
        self.indexing = indexing;
        if bounds.wiped {
            self.checkpoints.note_wiped();
        }
        self.bounds = bounds;
        let is_cut = self.bounds.truncated != truncated;
        if is_cut || batch.cluster.is_some() {
            self.sync_state()?;
        }
        if is_cut {
            self.log.cut(self.bounds.truncated.last_log_index)?;
        }
        self.checkpoint()
    }

    /// Makes durable everything that was written to the database, and lets the log note it.
    fn sync_state(&mut self) -> Result<(), Broken> {
        self.sync_database()?;
        self.note_synced()
    }

    /// Makes durable everything that was written to the database. A sync of the WAL covers all that is in it.
    fn sync_database(&mut self) -> Result<(), Broken> {
        schema::set_sync(&self.connection, Sync::AtCommit)?;
        let bounds = &mut self.bounds;
        transaction(&mut self.connection, |connection| write::count(connection, bounds))?;
        schema::set_sync(&self.connection, Sync::AtCheckpoint)?;
        Ok(())
    }

    fn note_synced(&mut self) -> Result<(), Broken> {
        self.log.note_state(self.bounds.written)?;
        self.synced = self.bounds.written;
        Ok(())
    }

    /// Copies from the WAL into the database, if there is enough.
    fn checkpoint(&mut self) -> Result<(), Broken> {
        let due = self.checkpoints.after_commit(&self.connection)?;
        self.run_checkpoint(due)
    }

    fn run_checkpoint(&mut self, due: Option<Due>) -> Result<(), Broken> {
        let Some(due) = due else { return Ok(()) };
        if self.synced < self.bounds.written {
            self.sync_state()?;
        }
        self.checkpoints.run(&self.connection, due)
    }

    fn wipe(&mut self) -> Result<(), Broken> {
        let bounds = &self.bounds;
        self.bounds = transaction(&mut self.connection, |connection| write::wipe(connection, bounds))?;
        self.checkpoints.note_wiped();
        self.checkpoint()
    }

    fn index(&mut self) -> Result<(), Broken> {
        let (bounds, indexing) = (&mut self.bounds, self.indexing);
        self.indexing = transaction(&mut self.connection, |connection| {
            write::count(connection, bounds)?;
            go_on(indexing, connection, Slice::Idle)
        })?;
        self.checkpoint()
    }

    /// Checks that the files are still those that were opened. To be called now and then.
    ///
    /// # Errors
    /// `Failed` if they were removed or replaced: what is written from now on may be lost.
    pub fn check_in_place(&self) -> Result<(), StorageError> {
        self.folder.as_ref().map_or(Ok(()), |folder| folder.check_in_place(self.log.names()))
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
        read::load(&self.connection, &self.log)
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), StorageError> {
        self.failed.check()?;
        if batch.is_empty() {
            return Ok(());
        }
        let begun = Instant::now();
        self.write(batch).map_err(|broken| self.fail(broken))?;
        self.stopwatch.iter().for_each(|stopwatch| (stopwatch.0)(begun.elapsed()));
        Ok(())
    }

    fn wipe_if_idle(&mut self) -> Result<(), StorageError> {
        self.failed.check()?;
        self.bounds.idle = self.bounds.idle.saturating_add(1);
        self.log.prepare_spare();
        let done = if self.bounds.idle == 1 {
            // Something was committed since the last time.
            Ok(())
        } else if self.bounds.sweep.is_pending() {
            self.wipe()
        } else if self.indexing.is_some() {
            self.index()
        } else if self.bounds.idle.is_multiple_of(IDLE_CHECKPOINT) {
            self.run_checkpoint(self.checkpoints.when_idle())
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
        read::entries(&self.log, self.bounds.truncated, (low, high), max_bytes)
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
        self.replaced(installed, HardState { commit: hard_state.commit.max(head.index), ..hard_state })
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
