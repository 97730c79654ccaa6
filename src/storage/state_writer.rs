//! The connection that writes the state: batches in transactions, the index of searches, checkpoints, wiping.
//!
//! What it writes is not synced at once, and a power cut takes its last transactions away; the next start
//! makes them anew from the log. When it does sync, it says so in its [`Report`], and the log notes it.
//!
//! **Checkpoints** run after a transaction, when some thousands of pages wait. SQLite's own ones would hide
//! their errors. A reader that stays in its transaction (a snapshot being sent to a slow peer) keeps the WAL
//! from starting over until it ends.

use std::{io::Read, path::PathBuf, sync::Arc};

use rusqlite::{Connection, OpenFlags, config::DbConfig};

use super::{
    bounds::Bounds,
    checkpoints::{Checkpoints, Due},
    indexing::{Indexing, Slice},
    repair,
    schema::{self, Sync},
    statement::sqlite_error,
    transaction::{Broken, transaction},
    write::{self, Renew},
};
use crate::{
    disk::{Applied, Batch, DamagedRow, HardState, InstallError, StorageError},
    protocol::{
        peer::{LogMark, RowContent, SnapshotHead},
        status::Progress,
    },
};

/// While nothing is committed, one in so many calls of `wipe_if_idle` looks at the WAL as well.
const IDLE_CHECKPOINT: u32 = 8;

/// Where a database is, for every connection to it.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub path: PathBuf,
    /// The name of the SQLite VFS; `None` for the file system.
    pub vfs: Option<String>,
}

impl Place {
    pub fn connect(&self, flags: OpenFlags) -> Result<Connection, StorageError> {
        let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = match &self.vfs {
            Some(vfs) => Connection::open_with_flags_and_vfs(&self.path, flags, vfs.as_str()),
            None => Connection::open_with_flags(&self.path, flags),
        };
        connection.map_err(|error| sqlite_error(&format!("opening {}", self.path.display()), &error))
    }

    pub fn reader(&self) -> Result<Connection, StorageError> {
        let connection = self.connect(OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        schema::set_up_reader(&connection)?;
        Ok(connection)
    }
}

/// Something to be done to the state.
#[derive(Debug)]
pub(super) enum Job {
    /// Write what the batch says of the state. From the mark on the log is no longer needed.
    Write(Arc<Batch>, Option<LogMark>),
    /// Copy from the WAL into the database. The log has noted that so many transactions are synced.
    Checkpoint(Due, u64),
    /// Make a damaged row what it was.
    Repair(DamagedRow, RowContent),
    /// Nothing else is to be done: wipe, index, or empty the WAL.
    Idle,
}

/// What a job has changed.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// Whether a batch was written.
    pub has_written: bool,
    /// How far the state goes now.
    pub applied: Option<Applied>,
    /// The log is no longer needed up to here; this is synced.
    pub cut: Option<LogMark>,
    /// So many transactions are synced, which the log has to note.
    pub synced: Option<u64>,
    /// A checkpoint that is due as soon as the log has noted that.
    pub due: Option<Due>,
    pub left: Left,
}

/// What is left to be done when there is nothing else to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Left {
    /// Removed events that are not wiped yet, about.
    pub unwiped: u64,
    /// The index of searches.
    pub indexing: Option<Progress>,
    /// Whether there is anything.
    pub is_something: bool,
}

/// The connection that writes, and what it knows of the database.
#[derive(Debug)]
pub(super) struct StateWriter {
    connection: Connection,
    bounds: Bounds,
    /// How many transactions are synced, as far as this connection knows.
    synced: u64,
    /// What is left to do of the index of searches.
    indexing: Option<Indexing>,
    checkpoints: Checkpoints,
    /// Calls of [`idle`](Self::idle) since the last batch.
    idle: u32,
}

impl StateWriter {
    /// Takes over a connection on which the tables are made or were checked. Everything on it is synced.
    pub fn new(connection: Connection, indexing: Option<Indexing>) -> Result<StateWriter, StorageError> {
        schema::set_sync(&connection, Sync::AtCheckpoint)?;
        let bounds = Bounds::read(&connection)?;
        let synced = bounds.written;
        Ok(StateWriter { connection, bounds, synced, indexing, checkpoints: Checkpoints::default(), idle: 0 })
    }

    pub fn bounds(&self) -> &Bounds {
        &self.bounds
    }

    pub fn left(&self) -> Left {
        let indexing = self.indexing.map(|indexing| indexing.progress(self.bounds.totals.events.rows));
        let is_something =
            self.bounds.sweep.is_pending() || indexing.is_some() || self.checkpoints.when_idle().is_some();
        Left { unwiped: self.bounds.sweep.events(), indexing, is_something }
    }

    /// Does a job. After an error nothing more may be done, unless the transaction was undone because of
    /// damage: then the same job may be tried again.
    pub fn run(&mut self, job: &Job) -> Result<Report, Broken> {
        let report = match job {
            Job::Write(batch, cut) => self.write(batch, *cut),
            Job::Checkpoint(due, noted) => self.checkpoint(*due, *noted),
            Job::Repair(row, content) => self.repair(row, content),
            Job::Idle => self.idle(),
        };
        Ok(Report { left: self.left(), ..report? })
    }

    /// Something has failed: closing must not checkpoint what may not be on the disk.
    pub fn abandon(&self) {
        // If even this fails, nothing can be done: the process ends.
        let _ = self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
    }

    fn write(&mut self, batch: &Batch, cut: Option<LogMark>) -> Result<Report, Broken> {
        self.idle = 0;
        let bounds = &self.bounds;
        let (bounds, indexing) = transaction(&mut self.connection, |connection| {
            let bounds = write::batch(connection, bounds, batch, cut)?;
            Ok::<_, StorageError>((bounds, go_on(self.indexing, connection, Slice::ByTheWay)?))
        })?;
        self.indexing = indexing;
        if bounds.wiped {
            self.checkpoints.note_wiped();
        }
        self.bounds = bounds;
        let must_sync = cut.is_some() || batch.cluster.is_some();
        let due = self.checkpoints.after_commit(&self.connection)?;
        let synced = self.sync_if(must_sync || due.is_some())?;
        let applied = batch.applied.clone();
        Ok(Report { has_written: true, applied, cut, synced, due, left: Left::default() })
    }

    /// Makes durable everything that was written, if `must` says so. Gives the number of transactions.
    fn sync_if(&mut self, must: bool) -> Result<Option<u64>, Broken> {
        if must { self.sync().map(Some) } else { Ok(None) }
    }

    /// Makes durable everything that was written. A sync of the WAL covers all that is in it.
    ///
    /// If everything is, nothing is done: two checkpoints on their way at a time would else make each other's
    /// count out of date for ever.
    fn sync(&mut self) -> Result<u64, Broken> {
        if self.synced == self.bounds.written {
            return Ok(self.synced);
        }
        schema::set_sync(&self.connection, Sync::AtCommit)?;
        let bounds = &mut self.bounds;
        transaction(&mut self.connection, |connection| write::count(connection, bounds))?;
        schema::set_sync(&self.connection, Sync::AtCheckpoint)?;
        self.synced = self.bounds.written;
        Ok(self.synced)
    }

    /// A damaged WAL that lost some of what was copied from it is found out by the number of transactions
    /// alone. So what is copied is what the log has noted.
    fn checkpoint(&mut self, due: Due, noted: u64) -> Result<Report, Broken> {
        if noted < self.bounds.written {
            return Ok(Report { synced: Some(self.sync()?), due: Some(due), ..Report::default() });
        }
        self.checkpoints.run(&self.connection, due)?;
        Ok(Report::default())
    }

    fn repair(&mut self, row: &DamagedRow, content: &RowContent) -> Result<Report, Broken> {
        let bounds = &self.bounds;
        self.bounds =
            transaction(&mut self.connection, |connection| repair::put(connection, bounds, row, content))?;
        Ok(Report::default())
    }

    fn idle(&mut self) -> Result<Report, Broken> {
        self.idle = self.idle.saturating_add(1);
        let due = if self.idle == 1 {
            // Something was committed since the last time.
            None
        } else if self.bounds.sweep.is_pending() {
            let bounds = &self.bounds;
            self.bounds = transaction(&mut self.connection, |connection| write::wipe(connection, bounds))?;
            self.checkpoints.note_wiped();
            self.checkpoints.after_commit(&self.connection)?
        } else if self.indexing.is_some() {
            let (bounds, indexing) = (&mut self.bounds, self.indexing);
            self.indexing = transaction(&mut self.connection, |connection| {
                write::count(connection, bounds)?;
                go_on(indexing, connection, Slice::Idle)
            })?;
            self.checkpoints.after_commit(&self.connection)?
        } else if self.idle.is_multiple_of(IDLE_CHECKPOINT) {
            self.checkpoints.when_idle()
        } else {
            None
        };
        let synced = self.sync_if(due.is_some())?;
        Ok(Report { synced, due, ..Report::default() })
    }

    /// Replaces everything by a snapshot.
    pub fn install(
        &mut self,
        head: &SnapshotHead,
        hard_state: HardState,
        content: &mut dyn Read,
    ) -> Result<Report, Broken<InstallError>> {
        self.replace(|connection| write::install(connection, head, hard_state, content))
    }

    /// Fills new tables with the content of a backup.
    pub fn restore(
        &mut self,
        head: &SnapshotHead,
        content: &mut dyn Read,
        renew: Renew<'_>,
    ) -> Result<Report, Broken<InstallError>> {
        self.replace(|connection| write::restore(connection, head, content, renew))
    }

    fn replace(
        &mut self,
        by: impl FnOnce(&mut Connection) -> Result<Bounds, InstallError>,
    ) -> Result<Report, Broken<InstallError>> {
        self.bounds = transaction(&mut self.connection, by)?;
        self.indexing = None;
        self.checkpoints.note_wiped();
        let synced = self.sync().and_then(|synced| {
            let due = self.checkpoints.after_commit(&self.connection)?;
            Ok(Report { synced: Some(synced), due, left: self.left(), ..Report::default() })
        });
        synced.map_err(|Broken { error, rolled_back, synced_in_vain }| Broken {
            error: error.into(),
            rolled_back,
            synced_in_vain,
        })
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
