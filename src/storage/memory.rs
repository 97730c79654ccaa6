//! The twin of the SQLite storage for the simulation: the same rows, checks and snapshots on ordered maps,
//! with every fault of a disk on demand.
//!
//! A [`MemoryDisk`] outlives the process that uses it: a restart is to open it, crash, and open it again.
//! Nothing in it is random; the caller chooses what fails.

use std::{io::Read, sync::Arc};

use parking_lot::Mutex;

use super::{
    OpenError,
    bounds::Bounds,
    failure::Failure,
    image::{Image, Kept},
    read, search,
    snapshot::Export,
    write,
};
use crate::{
    disk::{
        Batch, EventRange, EventRow, FileId, Found, HardState, InstallError, Loaded, Reader, RoomId, Search,
        Storage, StorageError,
    },
    protocol::{
        name::ServerId,
        peer::{LogEntry, NodeId, SnapshotHead},
    },
};

/// A copy of a disk, to be put back later. Cheap to make and to clone.
#[derive(Debug, Clone)]
pub struct MemoryImage(Arc<Image>);

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
    image: Arc<Image>,
    /// What a power cut leaves, if that differs.
    synced: Option<Arc<Image>>,
    fault: Option<CommitFault>,
    /// Why the next open is doubtful.
    doubt: Option<String>,
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
        let image = Arc::make_mut(&mut inner.image);
        write::begin(image, server_id, fresh_node_id)?;
        let bounds = Bounds::read(image)?;
        inner.in_use = true;
        Ok(MemoryStorage { disk: self.clone(), bounds, failed: Failure::default() })
    }

    /// A reader beside the writer.
    pub fn reader(&self) -> MemoryReader {
        MemoryReader { disk: self.clone() }
    }

    /// Cuts the power: what was not synced is gone. Drop the storage first or after, but do not use it.
    pub fn crash(&self) {
        let mut inner = self.0.lock();
        if let Some(synced) = inner.synced.take() {
            inner.image = synced;
        }
        inner.fault = None;
    }

    /// Lets the next commit or install fail.
    pub fn fail_next_commit(&self, fault: CommitFault) {
        self.0.lock().fault = Some(fault);
    }

    /// Flips bit `bit` (counted around) of the `nth` row (counted around) of a kind. Returns whether there
    /// was one.
    pub fn corrupt(&self, kind: Kept, nth: u64, bit: u64) -> bool {
        let mut inner = self.0.lock();
        let damaged = Arc::make_mut(&mut inner.image).flip(kind, nth, bit);
        if let Some(synced) = &mut inner.synced {
            Arc::make_mut(synced).flip(kind, nth, bit);
        }
        damaged
    }

    /// A copy of what a power cut at this moment would leave.
    pub fn image(&self) -> MemoryImage {
        let inner = self.0.lock();
        MemoryImage(inner.synced.as_ref().unwrap_or(&inner.image).clone())
    }

    /// Puts a copy back.
    pub fn restore(&self, image: &MemoryImage) {
        let mut inner = self.0.lock();
        inner.image = image.0.clone();
        inner.synced = None;
        inner.doubt = None;
    }

    /// Makes it empty, as if the folder had been deleted or set aside.
    pub fn wipe(&self) {
        self.restore(&MemoryImage(Arc::default()));
    }
}

/// The writer of a [`MemoryDisk`].
#[derive(Debug)]
pub struct MemoryStorage {
    disk: MemoryDisk,
    bounds: Bounds,
    failed: Failure,
}

impl Drop for MemoryStorage {
    fn drop(&mut self) {
        self.disk.0.lock().in_use = false;
    }
}

impl MemoryStorage {
    /// The same; a failure ends this storage.
    fn commit_with(
        &mut self,
        work: impl FnOnce(&mut Image) -> Result<Bounds, StorageError>,
    ) -> Result<(), StorageError> {
        self.store(|image| work(Arc::make_mut(image))).map_err(|error| {
            if let StorageError::Doubtful(why) = &error {
                // A damaged row was found half-way, and here there is no transaction to roll back.
                self.disk.0.lock().doubt = Some(why.clone());
            }
            self.failed.keep(error)
        })
    }

    /// Runs `work` on the disk as one commit, with the fault that was set for it.
    fn store<E: From<StorageError>>(
        &mut self,
        work: impl FnOnce(&mut Arc<Image>) -> Result<Bounds, E>,
    ) -> Result<(), E> {
        let mut inner = self.disk.0.lock();
        let failed = |what: &str| Err(StorageError::Failed(format!("{what} while committing")).into());
        match inner.fault.take() {
            None => {
                self.bounds = work(&mut inner.image)?;
                Ok(())
            }
            Some(CommitFault::WriteError) => failed("disk I/O error: write"),
            Some(CommitFault::SyncError) => {
                let before = inner.image.clone();
                inner.synced.get_or_insert(before);
                work(&mut inner.image)?;
                inner.doubt = Some("an earlier process could not sync it".to_owned());
                failed("disk I/O error: sync")
            }
        }
    }
}

impl Storage for MemoryStorage {
    fn load(&self) -> Result<Loaded, StorageError> {
        self.failed.check()?;
        read::load(&*self.disk.0.lock().image)
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), StorageError> {
        self.failed.check()?;
        if batch.is_empty() {
            return Ok(());
        }
        let bounds = self.bounds.clone();
        self.commit_with(|image| bounds.check(batch).and_then(|()| write::batch(image, &bounds, batch)))
    }

    fn wipe_if_idle(&mut self) -> Result<(), StorageError> {
        self.failed.check()?;
        self.bounds.idle = self.bounds.idle.saturating_add(1);
        if self.bounds.idle == 1 || !self.bounds.sweep.is_pending() {
            return Ok(());
        }
        let bounds = self.bounds.clone();
        self.commit_with(|image| write::wipe(image, &bounds))
    }

    fn unwiped(&self) -> u64 {
        self.bounds.sweep.events()
    }

    fn entries(&self, low: u64, high: u64, max_bytes: u64) -> Result<Vec<LogEntry>, StorageError> {
        self.failed.check()?;
        read::entries(&*self.disk.0.lock().image, self.bounds.truncated, (low, high), max_bytes)
    }

    fn event(&self, room: RoomId, seq: u64) -> Result<Option<EventRow>, StorageError> {
        self.failed.check()?;
        read::event(&*self.disk.0.lock().image, room, seq)
    }

    fn install(
        &mut self,
        head: &SnapshotHead,
        hard_state: HardState,
        content: &mut dyn Read,
    ) -> Result<(), InstallError> {
        self.failed.check()?;
        let installed = self.store(|image| {
            let mut new = image.named();
            let bounds = write::install(&mut new, head, hard_state, content)?;
            *image = Arc::new(new);
            Ok(bounds)
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

    fn snapshot(&self) -> Result<(SnapshotHead, Box<dyn Read + Send>), StorageError> {
        let export = Export::new(self.disk.0.lock().image.clone())?;
        Ok((export.head().clone(), Box::new(export)))
    }
}
