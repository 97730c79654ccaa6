//! The disk of a server: its log, and the database of its state with any number of connections that read.
//!
//! **Synced before said.** What must not be lost is in the log (`log_files`), and is there before the
//! database hears of it. The database has the state, up to some applied index, and is not synced with every
//! batch: a power cut takes away its last transactions, and the next start makes them anew from the log. So
//! the log is cut only up to what the database is known to have on the disk.
//!
//! **Who writes the state.** `state_writer` does, either in the call that hands it something, or behind it in
//! a thread of its own ([`SqliteStorage::write_behind`]). What is not written yet is kept here.
//!
//! A write that failed is never tried again and nothing else is either: the kernel may have dropped the
//! pages that it could not write, and a second sync would find nothing to do and say so.
//!
//! **What SQLite does not notice.** A flipped bit in the database: every row has a checksum, and the tables
//! have totals. A WAL that lost what was synced: transactions are counted, and the log has noted how many
//! there must be. A whole folder of last week: nothing in it can tell, and the other servers do
//! (`replica::trust`).

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    io::Read,
    ops::Range,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use rusqlite::{Connection, OpenFlags};

use super::{
    OpenError,
    bounds::Ends,
    failure::Failure,
    folder::{self, Folder},
    indexing::Indexing,
    log_files::{
        self, Append, Log, SEGMENT_BYTES,
        files::{Files, FolderFiles},
    },
    read::{self, newest_event},
    reader::SqliteReader,
    repair,
    schema::{self, Age},
    state_thread::{News, StateThread},
    state_writer::{Job, Left, Place, Report, StateWriter},
    transaction::{Broken, transaction},
    write::{self, Renew},
};
use crate::{
    disk::{
        Batch, DamagedRow, EventRow, HardState, InstallError, Loaded, RoomId, Saved, Storage, StorageError,
        collect_events, lowest_since,
    },
    protocol::{
        name::ServerId,
        peer::{LogEntry, LogMark, NodeId, RowContent, RowKey, SnapshotHead},
        status::Progress,
    },
};

/// Batches that may wait for the thread that writes them. If there are more, the next one is waited for.
const UNWRITTEN_MAX: usize = 2;
/// The same while damage keeps them from being written. If there are more, the data is in doubt as a whole.
const STUCK_MAX: usize = 16;
/// Between two lines in the log about that.
const SAID_EVERY: Duration = Duration::from_secs(10);

/// Where the files of the log are, in the place of a data folder: for tests that cut the power.
#[derive(Debug)]
pub struct LogPlace {
    /// What is asked of the folder.
    pub files: Box<dyn Files>,
    /// How long a segment is.
    pub segment_bytes: u64,
}

/// Rings for the thread that uses the storage when [`Storage::saved`] has news.
pub type Ring = Arc<dyn Fn() + Send + Sync>;

/// Who has the writer of the state.
enum State {
    /// This thread.
    Here(Box<StateWriter>),
    /// One of its own, with so many jobs that it has not reported yet.
    Behind { thread: StateThread, jobs: usize, ring: Ring },
    /// It is lost, after a failure.
    Lost,
}

/// The log and the database of a server.
#[derive(Debug)]
pub struct SqliteStorage {
    place: Place,
    log: Log,
    /// Where log and state end, with what is not written yet.
    ends: Ends,
    /// Where the log was cut.
    truncated: LogMark,
    /// For reading in this thread. Closed before the writer.
    reads: Connection,
    state: State,
    /// What is not written to the database yet, oldest first.
    unwritten: VecDeque<Arc<Batch>>,
    /// What is new since [`Storage::saved`] was last called.
    saved: Saved,
    left: Left,
    /// What keeps the oldest job from being done, while that is so.
    stuck: Option<StorageError>,
    /// When it was last said that the state falls behind.
    said_slow: Option<Instant>,
    /// The first failure; every later call gets it again.
    failed: Failure,
    stopwatch: Option<Stopwatch>,
    /// Dropped last, so that the connections are closed while the folder is still ours.
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
        let writer = StateWriter::new(connection, indexing)?;
        let log = log_files::open(log.files, log.segment_bytes, fresh_node_id.0, &beside)?;
        Ok(SqliteStorage {
            reads: place.reader()?,
            ends: Ends::of(writer.bounds(), log.last()),
            truncated: writer.bounds().truncated,
            left: writer.left(),
            state: State::Here(Box::new(writer)),
            unwritten: VecDeque::new(),
            saved: Saved::default(),
            stuck: None,
            said_slow: None,
            place,
            log,
            failed: Failure::default(),
            stopwatch: None,
            folder,
        })
    }

    /// From now on the state is written by a thread of its own, and `ring` is called when there is something
    /// to be asked for with [`Storage::saved`].
    ///
    /// # Errors
    /// `Failed` if the system gives no thread.
    pub fn write_behind(&mut self, ring: Ring) -> Result<(), StorageError> {
        let writer = match std::mem::replace(&mut self.state, State::Lost) {
            State::Here(writer) => writer,
            other => {
                self.state = other;
                return Ok(());
            }
        };
        let rings = ring.clone();
        let thread = StateThread::start(*writer, move || rings()).map_err(|error| {
            self.failed.keep(StorageError::Failed(format!("there is no thread to write the state: {error}")))
        })?;
        self.state = State::Behind { thread, jobs: 0, ring };
        Ok(())
    }

    /// From now on `tell` is called with the time that each append to the log took, with its sync.
    pub fn time_appends(&mut self, tell: impl Fn(Duration) + Send + 'static) {
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
        let hard_state = HardState { term: head.index_term, vote: None, commit: head.index };
        self.replace(hard_state, |writer| writer.restore(head, content, renew))
    }

    /// Replaces everything by what `by` writes.
    ///
    /// First the state is made durable and says that the log is to be begun anew, then that is done. A
    /// process that ends in between leaves a log of one generation less, which the next start begins anew.
    fn replace(
        &mut self,
        hard_state: HardState,
        by: impl FnOnce(&mut StateWriter) -> Result<Report, Broken<InstallError>>,
    ) -> Result<(), InstallError> {
        self.failed.check()?;
        let (mut writer, ring) = self.take_writer().map_err(|broken| self.fail(broken))?;
        let replaced = by(&mut writer);
        let bounds = writer.bounds();
        let (ends, truncated) = (Ends::of(bounds, bounds.truncated), bounds.truncated);
        self.state = State::Here(writer);
        let result = match replaced {
            Ok(report) => {
                (self.ends, self.truncated, self.saved) = (ends, truncated, Saved::default());
                let begun = self.log.begin_anew(truncated, hard_state).and_then(|()| self.settle(report));
                begun.map_err(|broken| self.fail(broken).into())
            }
            Err(Broken { error: InstallError::Unreadable(why), rolled_back: true, .. }) => {
                Err(InstallError::Unreadable(why))
            }
            Err(Broken { error, rolled_back, synced_in_vain }) => {
                let error = match error {
                    InstallError::Unreadable(why) => {
                        StorageError::Failed(format!("{why}; it stays half read"))
                    }
                    InstallError::Storage(error) => error,
                };
                Err(self.fail(Broken { error, rolled_back, synced_in_vain }).into())
            }
        };
        if let Some(ring) = ring {
            self.write_behind(ring)?;
        }
        result
    }

    /// Takes the writer, which has nothing to do any more, and what rings if it had a thread of its own.
    fn take_writer(&mut self) -> Result<(Box<StateWriter>, Option<Ring>), Broken> {
        self.settle_all()?;
        match std::mem::replace(&mut self.state, State::Lost) {
            State::Here(writer) => Ok((writer, None)),
            State::Behind { thread, ring, .. } => Ok((Box::new(thread.stop()?), Some(ring))),
            State::Lost => {
                Err(Broken::from(StorageError::Failed("the writer of the state is lost".to_owned())))
            }
        }
    }

    /// Walks all events and files, and checks each of them and that none is missing.
    ///
    /// # Errors
    /// `Doubtful` if they are not what was written.
    pub fn check_history(&self) -> Result<(), StorageError> {
        read::check_history(&self.reads)
    }

    /// A connection for reading beside this one, for a thread of its own. Costs a fraction of a millisecond.
    ///
    /// # Errors
    /// `Failed` if the database cannot be opened once more.
    pub fn reader(&self) -> Result<SqliteReader, StorageError> {
        SqliteReader::open(&self.place)
    }

    /// Writes what a batch says: first of the log, which is synced, then of the state, or hands that on.
    fn write(&mut self, batch: Batch) -> Result<(), Broken> {
        self.ends.check(&batch)?;
        if batch.changes_log() {
            let begun = Instant::now();
            let Batch { entries, hard_state, peer_marks, .. } = &batch;
            self.log.append(&Append { entries, hard_state: *hard_state, marks: peer_marks })?;
            self.ends.appended(&self.log);
            self.stopwatch.iter().for_each(|stopwatch| (stopwatch.0)(begun.elapsed()));
        }
        if !batch.changes_state() {
            return Ok(());
        }
        while self.unwritten.len() >= if self.stuck.is_some() { STUCK_MAX } else { UNWRITTEN_MAX } {
            self.say_slow();
            self.settle_next()?;
        }
        let cut = self.ends.take(&batch, &self.log)?;
        let founds = batch.cluster.is_some();
        // The log has them.
        let batch = Arc::new(Batch { entries: Vec::new(), ..batch });
        self.unwritten.push_back(batch.clone());
        self.give(Job::Write(batch, cut))?;
        if founds { self.settle_all() } else { Ok(()) }
    }

    fn say_slow(&mut self) {
        if self.said_slow.is_none_or(|said| said.elapsed() >= SAID_EVERY) {
            self.said_slow = Some(Instant::now());
            log::warn!("the database is written more slowly than messages come, so they wait for it");
        }
    }

    /// Gives the writer a job, and settles it if it was done at once.
    fn give(&mut self, job: Job) -> Result<(), Broken> {
        match &mut self.state {
            State::Here(writer) => {
                let done = writer.run(&job);
                if done.is_err() {
                    writer.abandon();
                }
                self.settle(done?)
            }
            State::Behind { thread, jobs, .. } => {
                thread.give(job);
                *jobs += 1;
                Ok(())
            }
            State::Lost => {
                Err(Broken::from(StorageError::Failed("the writer of the state is lost".to_owned())))
            }
        }
    }

    /// Does what follows from something that the writer has done.
    fn settle(&mut self, report: Report) -> Result<(), Broken> {
        let Report { has_written, applied, cut, synced, due, left } = report;
        if has_written {
            self.unwritten.pop_front();
        }
        self.left = left;
        if applied.is_some() {
            self.saved.applied = applied;
        }
        if let Some(synced) = synced {
            self.log.note_state(synced)?;
        }
        if let Some(cut) = cut {
            self.log.cut(cut.last_log_index)?;
            self.truncated = cut;
            self.saved.truncated = Some(cut);
        }
        match (due, synced) {
            (Some(due), Some(noted)) => self.give(Job::Checkpoint(due, noted)),
            _ => Ok(()),
        }
    }

    /// Takes in the news that is there already.
    fn follow(&mut self) -> Result<(), Broken> {
        while let State::Behind { thread, .. } = &self.state
            && let Some(news) = thread.news()?
        {
            self.take_in(news)?;
        }
        Ok(())
    }

    /// Waits for the next news, unless damage keeps the next job from being done.
    fn settle_next(&mut self) -> Result<(), Broken> {
        if let Some(damage) = &self.stuck {
            return Err(Broken::from(damage.clone()));
        }
        let State::Behind { thread, .. } = &self.state else { return Ok(()) };
        let news = thread.wait()?;
        self.take_in(news)
    }

    fn take_in(&mut self, news: News) -> Result<(), Broken> {
        match news {
            News::Done(report) => {
                self.stuck = None;
                if let State::Behind { jobs, .. } = &mut self.state {
                    *jobs -= 1;
                }
                self.settle(report)
            }
            News::Stuck(damage) => {
                self.saved.damage = Some(damage.clone());
                self.stuck = Some(damage);
                Ok(())
            }
        }
    }

    /// Waits until the writer has nothing to do any more.
    fn settle_all(&mut self) -> Result<(), Broken> {
        while matches!(self.state, State::Behind { jobs: 1.., .. }) {
            self.settle_next()?;
        }
        Ok(())
    }

    /// Checks that the files are still those that were opened. To be called now and then.
    ///
    /// # Errors
    /// `Failed` if they were removed or replaced: what is written from now on may be lost.
    pub fn check_in_place(&self) -> Result<(), StorageError> {
        self.folder.as_ref().map_or(Ok(()), |folder| folder.check_in_place(self.log.names()))
    }

    /// Notes a failure, after which nothing more is done here.
    fn fail(&mut self, broken: Broken) -> StorageError {
        if broken.synced_in_vain
            && let Some(folder) = &self.folder
        {
            folder.remember_doubt(&broken.error.to_string());
        }
        if let State::Here(writer) = &self.state {
            writer.abandon();
        }
        self.failed.keep(broken.error)
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            State::Here(_) => "Here",
            State::Behind { .. } => "Behind",
            State::Lost => "Lost",
        })
    }
}

struct Stopwatch(Box<dyn Fn(Duration) + Send>);

impl fmt::Debug for Stopwatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stopwatch")
    }
}

impl Storage for SqliteStorage {
    fn load(&self) -> Result<Loaded, StorageError> {
        self.failed.check()?;
        read::load(&self.reads, &self.log)
    }

    fn commit(&mut self, batch: Batch) -> Result<(), StorageError> {
        self.failed.check()?;
        self.write(batch).map_err(|broken| self.fail(broken))
    }

    fn saved(&mut self) -> Result<Saved, StorageError> {
        self.failed.check()?;
        self.follow().map_err(|broken| self.fail(broken))?;
        Ok(std::mem::take(&mut self.saved))
    }

    /// While a checkpoint is on its way nothing more is written, or it would have to be noted again first.
    fn is_saving(&self) -> bool {
        matches!(self.state, State::Behind { jobs: 1.., .. })
    }

    fn wipe_if_idle(&mut self) -> Result<(), StorageError> {
        self.failed.check()?;
        self.log.prepare_spare();
        if self.is_saving() || !self.left.is_something {
            return Ok(());
        }
        self.give(Job::Idle).map_err(|broken| self.fail(broken))
    }

    fn unwiped(&self) -> u64 {
        self.left.unwiped
    }

    fn indexing(&self) -> Option<Progress> {
        self.left.indexing
    }

    fn entries(&self, low: u64, high: u64, max_bytes: u64) -> Result<Vec<LogEntry>, StorageError> {
        self.failed.check()?;
        read::entries(&self.log, self.truncated, (low, high), max_bytes)
    }

    fn event(&self, room: RoomId, seq: u64) -> Result<Option<EventRow>, StorageError> {
        self.failed.check()?;
        match newest_event(self.unwritten.iter().map(Arc::as_ref), room, seq) {
            Some(event) => Ok(Some(event.clone())),
            None => read::event(&self.reads, room, seq),
        }
    }

    fn unwritten(&self, room: RoomId, seqs: Range<u64>) -> BTreeMap<u64, EventRow> {
        let mut events = BTreeMap::new();
        let unwritten = self.unwritten.iter().flat_map(|batch| &batch.events);
        collect_events(&mut events, unwritten, room, &seqs);
        events
    }

    fn first_since(&self, room: RoomId, at_ms: u64) -> Result<Option<u64>, StorageError> {
        self.failed.check()?;
        let written = read::first_since(&self.reads, room, at_ms)?;
        let unwritten = self.unwritten.iter().flat_map(|batch| &batch.events);
        Ok(written.or_else(|| lowest_since(unwritten, room, at_ms)))
    }

    fn row(&self, key: &RowKey) -> Result<Option<RowContent>, StorageError> {
        self.failed.check()?;
        repair::row(&self.reads, key)
    }

    fn repair(&mut self, row: &DamagedRow, content: RowContent) -> Result<bool, StorageError> {
        self.failed.check()?;
        let is_proven = repair::is_proven(row, &content);
        if is_proven {
            self.give(Job::Repair(row.clone(), content)).map_err(|broken| self.fail(broken))?;
        }
        Ok(is_proven)
    }

    fn install(
        &mut self,
        head: &SnapshotHead,
        hard_state: HardState,
        content: &mut dyn Read,
    ) -> Result<(), InstallError> {
        let kept = HardState { commit: hard_state.commit.max(head.index), ..hard_state };
        self.replace(kept, |writer| writer.install(head, hard_state, content))
    }
}
