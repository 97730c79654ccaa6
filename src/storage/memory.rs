//! The twin of the SQLite storage for the simulation: the same rows, checks and snapshots on ordered maps,
//! with every fault of a disk on demand.
//!
//! A [`MemoryDisk`] outlives the process that uses it: a restart is to open it, crash, and open it again.
//! Nothing in it is random; the caller chooses what fails.

use std::{
    collections::{BTreeMap, VecDeque},
    io::Read,
    ops::Range,
    sync::Arc,
};

use parking_lot::Mutex;

use super::{
    OpenError,
    bounds::{Bounds, Ends},
    failure::Failure,
    image::{Image, Kept},
    log_files::{
        self, Append, Log,
        memory::{Contents, MemoryFiles},
    },
    read::{self, newest_event},
    repair, scrub, search,
    snapshot::Export,
    write,
};
use crate::{
    disk::{
        Batch, DamagedRow, EventRange, EventRow, FileId, Found, HardState, InstallError, Loaded, Reader,
        RoomId, Saved, Scrubbed, Search, Storage, StorageError, collect_events, lowest_since,
    },
    protocol::{
        name::ServerId,
        peer::{LogEntry, LogMark, NodeId, RowContent, RowKey, SnapshotHead},
    },
};

/// A copy of a disk, to be put back later. Cheap to make and to clone.
#[derive(Debug, Clone)]
pub struct MemoryImage(Content);

/// All that is on a disk.
#[derive(Debug, Clone, Default)]
struct Content {
    state: Arc<Image>,
    log: Contents,
}

/// How long a segment of the log is: short, so that it is often begun anew.
const SEGMENT_BYTES: u64 = 32 * 1024;
/// After so many commits the state is synced at the latest, as a database is by its checkpoints.
const UNSYNCED_MAX: u32 = 16;

/// How the next commit or install fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommitFault {
    /// Writing fails (disk full, I/O error): nothing of the batch is kept.
    WriteError,
    /// The sync fails. The batch can be read back (the page cache has it), but a power cut takes it away,
    /// and everything written after it. The next open is doubtful.
    SyncError,
}

/// A disk. Clones are the same disk.
#[derive(Debug, Clone, Default)]
pub struct MemoryDisk(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    /// The state, as reading gives it.
    image: Arc<Image>,
    /// The state that a power cut leaves for certain.
    synced_image: Arc<Image>,
    /// The log. A power cut takes nothing from it.
    log: MemoryFiles,
    /// What a power cut leaves after a sync that failed.
    before_failure: Option<Content>,
    fault: Option<CommitFault>,
    /// Why the next open is doubtful.
    doubt: Option<String>,
    /// After so many calls of [`Storage::saved`] a batch is written to the state.
    delay: u32,
    in_use: bool,
}

impl MemoryDisk {
    /// An empty disk.
    pub fn new() -> Self {
        MemoryDisk::default()
    }

    /// Opens it, as `SqliteStorage::open` does with a folder.
    ///
    /// # Errors
    /// `Refused` if it is open already or is another server's; `Doubtful` after a failed sync, or if it is
    /// damaged.
    pub fn open(&self, server_id: &ServerId, fresh_node_id: NodeId) -> Result<MemoryStorage, OpenError> {
        let mut inner = self.0.lock();
        if inner.in_use {
            return Err(OpenError::Refused(format!("the disk of {server_id} is in use already")));
        }
        if let Some(why) = &inner.doubt {
            return Err(StorageError::Doubtful(why.clone()).into());
        }
        let beside = write::begin(Arc::make_mut(&mut inner.image), server_id, fresh_node_id)?;
        inner.synced_image = inner.image.clone();
        let files = Box::new(inner.log.clone());
        let log = log_files::open(files, SEGMENT_BYTES, fresh_node_id.0, &beside)?;
        let bounds = Bounds::read(&*inner.image)?;
        inner.in_use = true;
        Ok(MemoryStorage {
            disk: self.clone(),
            ends: Ends::of(&bounds, log.last()),
            log,
            bounds,
            idle: 0,
            unsynced: 0,
            saved: Saved::default(),
            unwritten: VecDeque::new(),
            waited: 0,
            failed: Failure::default(),
        })
    }

    /// A reader beside the writer.
    pub fn reader(&self) -> MemoryReader {
        MemoryReader { disk: self.clone() }
    }

    /// Cuts the power. What was not synced of the state is gone if `loses_state` says so. Drop the storage
    /// first or after, but do not use it.
    pub fn crash(&self, loses_state: bool) {
        let mut inner = self.0.lock();
        if let Some(content) = inner.before_failure.take() {
            inner.put(content);
        }
        if loses_state {
            inner.image = inner.synced_image.clone();
        }
        inner.fault = None;
    }

    /// Lets the next commit or install fail.
    pub fn fail_next_commit(&self, fault: CommitFault) {
        self.0.lock().fault = Some(fault);
    }

    /// From now on what a batch says of the state is written behind: when [`Storage::saved`] was called so
    /// many times. With 0 it is written by the commit, and what waits is written by the next call.
    pub fn write_behind(&self, delay: u32) {
        self.0.lock().delay = delay;
    }

    /// Flips bit `bit` (counted around, the checksum last) of the `nth` row (counted around) of a kind.
    /// Returns whether there was one.
    pub fn corrupt(&self, kind: Kept, nth: u64, bit: u64) -> bool {
        let mut inner = self.0.lock();
        let damaged = Arc::make_mut(&mut inner.image).flip(kind, nth, bit);
        inner.synced_image = inner.image.clone();
        inner.before_failure = None;
        damaged
    }

    /// Flips a bit of the content of a row, while a process may have it open; its checksum stays, so another
    /// server can prove what it was. A power cut that takes away what was not synced takes the damage away.
    pub fn decay(&self, kind: Kept, nth: u64, bit: u64) -> bool {
        Arc::make_mut(&mut self.0.lock().image).flip_content(kind, nth, bit)
    }

    /// Flips a bit of the checksum of a row, as [`decay`](Self::decay) does of its content: nothing proves
    /// what it was.
    pub fn decay_checksum(&self, kind: Kept, nth: u64) -> bool {
        Arc::make_mut(&mut self.0.lock().image).flip_checksum(kind, nth)
    }

    /// Flips bit `bit` (counted around) of what is written of the log. Returns whether there was something.
    pub fn corrupt_log(&self, nth: u64, bit: u64) -> bool {
        self.0.lock().log.flip(nth, bit)
    }

    /// A copy of what a power cut at this moment would leave.
    pub fn image(&self) -> MemoryImage {
        let inner = self.0.lock();
        MemoryImage(inner.before_failure.clone().unwrap_or_else(|| inner.content()))
    }

    /// Puts a copy back.
    pub fn restore(&self, image: &MemoryImage) {
        let mut inner = self.0.lock();
        inner.put(image.0.clone());
        inner.before_failure = None;
        inner.doubt = None;
    }

    /// Makes it empty, as if the folder had been deleted or set aside.
    pub fn wipe(&self) {
        self.restore(&MemoryImage(Content::default()));
    }
}

/// The writer of a [`MemoryDisk`].
#[derive(Debug)]
pub struct MemoryStorage {
    disk: MemoryDisk,
    log: Log,
    ends: Ends,
    bounds: Bounds,
    saved: Saved,
    /// What is not written to the state yet, oldest first, and where the log is to be cut with it.
    unwritten: VecDeque<(Batch, Option<LogMark>)>,
    /// Calls of [`Storage::saved`] for which the oldest of them has waited.
    waited: u32,
    /// Calls of [`Storage::wipe_if_idle`] since the last batch.
    idle: u32,
    /// Commits since the state was last synced.
    unsynced: u32,
    failed: Failure,
}

impl Drop for MemoryStorage {
    fn drop(&mut self) {
        self.disk.0.lock().in_use = false;
    }
}

impl Inner {
    fn content(&self) -> Content {
        Content { state: self.image.clone(), log: self.log.contents() }
    }

    fn put(&mut self, content: Content) {
        self.image = content.state.clone();
        self.synced_image = content.state;
        self.log.restore(content.log);
    }
}

impl MemoryStorage {
    /// Runs `work` as one commit, with the fault that waits for it. A failure ends this storage.
    fn commit_with(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<(), StorageError>,
    ) -> Result<(), StorageError> {
        self.with_fault(work).map_err(|error| {
            if let Some(why) = error.doubt() {
                // A damaged row was found half-way, and here there is no transaction to roll back.
                self.disk.0.lock().doubt = Some(why);
            }
            self.failed.keep(error)
        })
    }

    /// Runs `work` with the fault that waits for it.
    fn with_fault<E: From<StorageError>>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<(), E>,
    ) -> Result<(), E> {
        let failed = |what: &str| Err(StorageError::Failed(format!("{what} while committing")).into());
        let fault = self.disk.0.lock().fault.take();
        match fault {
            None => work(self),
            Some(CommitFault::WriteError) => failed("disk I/O error: write"),
            Some(CommitFault::SyncError) => {
                let before = self.disk.0.lock().content();
                work(self)?;
                let mut inner = self.disk.0.lock();
                inner.before_failure.get_or_insert(before);
                inner.doubt = Some("an earlier process could not sync it".to_owned());
                failed("disk I/O error: sync")
            }
        }
    }

    /// As `SqliteStorage` does: first the log, then the state.
    fn write(&mut self, batch: Batch) -> Result<(), StorageError> {
        self.ends.check(&batch)?;
        if batch.changes_log() {
            let Batch { entries, hard_state, peer_marks, .. } = &batch;
            let append = Append { entries, hard_state: *hard_state, marks: peer_marks };
            self.log.append(&append).map_err(|broken| broken.error)?;
            self.ends.appended(&self.log);
        }
        if !batch.changes_state() {
            return Ok(());
        }
        let cut = self.ends.take(&batch, &self.log)?;
        let founds = batch.cluster.is_some();
        self.unwritten.push_back((batch, cut));
        if founds || self.disk.0.lock().delay == 0 { self.write_all() } else { Ok(()) }
    }

    /// Writes everything that waits to the state.
    fn write_all(&mut self) -> Result<(), StorageError> {
        while let Some((batch, cut)) = self.unwritten.pop_front() {
            self.write_state(&batch, cut)?;
        }
        Ok(())
    }

    fn write_state(&mut self, batch: &Batch, cut: Option<LogMark>) -> Result<(), StorageError> {
        self.waited = 0;
        self.idle = 0;
        self.change(|image, bounds| write::batch(image, bounds, batch, cut))?;
        if cut.is_some() || batch.cluster.is_some() || self.unsynced >= UNSYNCED_MAX {
            self.sync_state()?;
        }
        if let Some(cut) = cut {
            self.log.cut(cut.last_log_index).map_err(|broken| broken.error)?;
            self.saved.truncated = Some(cut);
        }
        if batch.applied.is_some() {
            self.saved.applied = batch.applied.clone();
        }
        Ok(())
    }

    /// Changes the state.
    fn change(
        &mut self,
        work: impl FnOnce(&mut Image, &Bounds) -> Result<Bounds, StorageError>,
    ) -> Result<(), StorageError> {
        let mut inner = self.disk.0.lock();
        self.bounds = work(Arc::make_mut(&mut inner.image), &self.bounds)?;
        self.unsynced += 1;
        Ok(())
    }

    /// Nothing of the state is lost any more.
    fn sync_state(&mut self) -> Result<(), StorageError> {
        let mut inner = self.disk.0.lock();
        inner.synced_image = inner.image.clone();
        self.unsynced = 0;
        self.log.note_state(self.bounds.written).map_err(|broken| broken.error)
    }
}

impl Storage for MemoryStorage {
    fn load(&self) -> Result<Loaded, StorageError> {
        self.failed.check()?;
        read::load(&*self.disk.0.lock().image, &self.log)
    }

    fn commit(&mut self, batch: Batch) -> Result<(), StorageError> {
        self.failed.check()?;
        if batch.is_empty() {
            return Ok(());
        }
        self.commit_with(|storage| storage.write(batch))
    }

    fn saved(&mut self) -> Result<Saved, StorageError> {
        self.failed.check()?;
        if !self.unwritten.is_empty() {
            self.waited += 1;
            if self.waited > self.disk.0.lock().delay {
                self.commit_with(MemoryStorage::write_all)?;
            }
        }
        Ok(std::mem::take(&mut self.saved))
    }

    fn is_saving(&self) -> bool {
        !self.unwritten.is_empty()
    }

    fn wipe_if_idle(&mut self) -> Result<(), StorageError> {
        self.failed.check()?;
        self.idle = self.idle.saturating_add(1);
        if self.idle == 1 || !self.bounds.sweep.is_pending() || self.is_saving() {
            return Ok(());
        }
        self.commit_with(|storage| storage.change(write::wipe))
    }

    fn unwiped(&self) -> u64 {
        self.bounds.sweep.events()
    }

    fn entries(&self, low: u64, high: u64, max_bytes: u64) -> Result<Vec<LogEntry>, StorageError> {
        self.failed.check()?;
        read::entries(&self.log, self.bounds.truncated, (low, high), max_bytes)
    }

    fn event(&self, room: RoomId, seq: u64) -> Result<Option<EventRow>, StorageError> {
        self.failed.check()?;
        let unwritten = self.unwritten.iter().map(|(batch, _)| batch);
        match newest_event(unwritten, room, seq) {
            Some(event) => Ok(Some(event.clone())),
            None => read::event(&*self.disk.0.lock().image, room, seq),
        }
    }

    fn unwritten(&self, room: RoomId, seqs: Range<u64>) -> BTreeMap<u64, EventRow> {
        let mut events = BTreeMap::new();
        let unwritten = self.unwritten.iter().flat_map(|(batch, _)| &batch.events);
        collect_events(&mut events, unwritten, room, &seqs);
        events
    }

    fn first_since(&self, room: RoomId, at_ms: u64) -> Result<Option<u64>, StorageError> {
        self.failed.check()?;
        let written = read::first_since(&*self.disk.0.lock().image, room, at_ms)?;
        let unwritten = self.unwritten.iter().flat_map(|(batch, _)| &batch.events);
        Ok(written.or_else(|| lowest_since(unwritten, room, at_ms)))
    }

    fn row(&self, key: &RowKey) -> Result<Option<RowContent>, StorageError> {
        self.failed.check()?;
        repair::row(&*self.disk.0.lock().image, key)
    }

    fn repair(&mut self, row: &DamagedRow, content: RowContent) -> Result<bool, StorageError> {
        self.failed.check()?;
        let is_proven = repair::is_proven(row, &content);
        if is_proven {
            self.change(|image, bounds| repair::put(image, bounds, row, &content))?;
        }
        Ok(is_proven)
    }

    fn install(
        &mut self,
        head: &SnapshotHead,
        hard_state: HardState,
        content: &mut dyn Read,
    ) -> Result<(), InstallError> {
        self.failed.check()?;
        let installed = self.with_fault(|storage| {
            let mut inner = storage.disk.0.lock();
            let mut new = inner.image.named();
            storage.bounds = write::install(&mut new, head, hard_state, content)?;
            inner.image = Arc::new(new);
            drop(inner);
            storage.sync_state()?;
            let hard_state = HardState { commit: hard_state.commit.max(head.index), ..hard_state };
            let begun = storage.log.begin_anew(storage.bounds.truncated, hard_state);
            storage.ends = Ends::of(&storage.bounds, storage.bounds.truncated);
            storage.saved = Saved::default();
            storage.unwritten.clear();
            begun.map_err(|broken| InstallError::Storage(broken.error))
        });
        installed.map_err(|error| match error {
            InstallError::Unreadable(_) => error,
            InstallError::Storage(error) => self.failed.keep(error).into(),
        })
    }
}

#[derive(Debug, Clone)]
pub struct MemoryReader {
    disk: MemoryDisk,
}

impl Reader for MemoryReader {
    fn events(&self, room: RoomId, range: &EventRange) -> Result<Vec<EventRow>, StorageError> {
        read::events(&*self.disk.0.lock().image, room, range)
    }

    fn first_since(&self, room: RoomId, at_ms: u64) -> Result<Option<u64>, StorageError> {
        read::first_since(&*self.disk.0.lock().image, room, at_ms)
    }

    fn search(&self, search: &Search) -> Result<Found, StorageError> {
        search::scan(&*self.disk.0.lock().image, search)
    }

    fn chunk(&self, file: FileId, number: u32) -> Result<Option<Vec<u8>>, StorageError> {
        read::chunk(&*self.disk.0.lock().image, file, number)
    }

    fn scrub(&self, above: Option<&RowKey>, max_bytes: usize) -> Result<Scrubbed, StorageError> {
        scrub::slice(&*self.disk.0.lock().image, above, max_bytes)
    }

    fn snapshot(&self) -> Result<(SnapshotHead, Box<dyn Read + Send>), StorageError> {
        let export = Export::new(self.disk.0.lock().image.clone())?;
        Ok((export.head().clone(), Box::new(export)))
    }
}
