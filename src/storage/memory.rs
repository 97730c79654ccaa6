//! The twin of the SQLite storage for the simulation: the same rows, checks and snapshots on ordered maps,
//! with every fault of a disk on demand.
//!
//! A [`MemoryDisk`] outlives the process that uses it: opening, crashing and opening again is how a
//! restart is played. Nothing in it is random; what may go either way is chosen by the caller.

use std::{cell::OnceCell, collections::BTreeMap, io::Read, sync::Arc};

use parking_lot::Mutex;

use super::{
    OpenError,
    bounds::Bounds,
    read,
    snapshot::Export,
    tables::{GoOn, RawEvent, Span, Tables, TablesMut, TakeRow},
    write,
};
use crate::{
    planted::{Bug, planted},
    protocol::{
        name::ServerId,
        peer::{LogEntry, NodeId, SnapshotHead},
    },
    replica::storage::{
        Batch, EventRange, EventRow, HardState, Loaded, Reader, RoomId, Storage, StorageError,
    },
};

/// A value and its checksum.
type Sealed = (Arc<[u8]>, u32);

/// Everything that is on a disk at one moment.
#[derive(Debug, Clone, Default)]
struct Image {
    metas: BTreeMap<String, Sealed>,
    log: BTreeMap<u64, Sealed>,
    state: BTreeMap<Vec<u8>, Sealed>,
    events: BTreeMap<(u64, u64), KeptEvent>,
}

#[derive(Debug, Clone)]
struct KeptEvent {
    index: u64,
    created_at_ms: u64,
    author: Arc<[u8]>,
    json: Arc<[u8]>,
    crc: u32,
}

/// A copy of a disk, to be put back later. Cheap to make and to clone.
#[derive(Debug, Clone)]
pub struct MemoryImage(Arc<Image>);

/// What becomes of the next commit or install.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommitFault {
    /// Writing fails (disk full, I/O error): nothing of the batch is kept.
    WriteError,
    /// The sync fails. The batch can be read back (the page cache has it), but a power cut takes it away,
    /// and everything written after it. The next open is doubtful.
    SyncError,
    /// The power is cut half-way; the caller is about to [`crash`](MemoryDisk::crash) this disk.
    PowerCut {
        /// Whether all of the batch reached the disk; else nothing of it did.
        survives: bool,
    },
}

/// A kind of row, to be damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// Vote, applied index and the like.
    Meta,
    /// A log entry.
    Log,
    /// A row of state.
    State,
    /// An event.
    Event,
}

/// A disk. Clones are the same disk.
#[derive(Debug, Clone, Default)]
pub struct MemoryDisk(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    /// What reading gives.
    image: Arc<Image>,
    /// What a power cut leaves, where that is something else.
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
    /// `Refused` where it is open already or is another server's; `Doubtful` after a failed sync, or where
    /// it is damaged.
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
        Ok(MemoryStorage { disk: self.clone(), bounds, failed: OnceCell::new() })
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
    failed: OnceCell<StorageError>,
}

impl Drop for MemoryStorage {
    fn drop(&mut self) {
        self.disk.0.lock().in_use = false;
    }
}

impl MemoryStorage {
    fn usable(&self) -> Result<(), StorageError> {
        self.failed.get().map_or(Ok(()), |error| Err(error.clone()))
    }

    fn fail(&self, error: StorageError) -> StorageError {
        self.failed.get_or_init(|| error).clone()
    }

    /// Runs `work` on the disk as one commit, with the fault that waits for it.
    fn store(
        &mut self,
        work: impl FnOnce(&mut Arc<Image>) -> Result<Bounds, StorageError>,
    ) -> Result<(), StorageError> {
        let mut inner = self.disk.0.lock();
        let failed = |what: &str| Err(StorageError::Failed(format!("{what} while committing")));
        match inner.fault.take() {
            None => {
                self.bounds = work(&mut inner.image)?;
                Ok(())
            }
            Some(CommitFault::WriteError) => failed("disk I/O error: write"),
            Some(CommitFault::PowerCut { survives: false }) => failed("power cut"),
            Some(CommitFault::PowerCut { survives: true }) => {
                work(&mut inner.image)?;
                failed("power cut")
            }
            Some(CommitFault::SyncError) => {
                let before = inner.image.clone();
                inner.synced.get_or_insert(before);
                let bounds = work(&mut inner.image)?;
                if planted(Bug::IgnoreSyncError) {
                    self.bounds = bounds;
                    return Ok(());
                }
                inner.doubt = Some("an earlier process could not sync it".to_owned());
                failed("disk I/O error: sync")
            }
        }
    }
}

impl Storage for MemoryStorage {
    fn load(&self) -> Result<Loaded, StorageError> {
        self.usable()?;
        read::load(&*self.disk.0.lock().image)
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), StorageError> {
        self.usable()?;
        if batch.is_empty() {
            return Ok(());
        }
        let bounds = self.bounds.clone();
        let stored = bounds
            .check(batch)
            .and_then(|()| self.store(|image| write::batch(Arc::make_mut(image), &bounds, batch)));
        stored.map_err(|error| {
            if let StorageError::Doubtful(why) = &error {
                // A damaged row was met half-way, and there is no transaction to roll back here.
                self.disk.0.lock().doubt = Some(why.clone());
            }
            self.fail(error)
        })
    }

    fn entries(&self, low: u64, high: u64, max_bytes: u64) -> Result<Vec<LogEntry>, StorageError> {
        self.usable()?;
        read::entries(&*self.disk.0.lock().image, self.bounds.truncated, (low, high), max_bytes)
    }

    fn install(
        &mut self,
        head: &SnapshotHead,
        hard_state: HardState,
        content: &mut dyn Read,
    ) -> Result<(), StorageError> {
        self.usable()?;
        let installed = self.store(|image| {
            let mut new = Image { metas: image.metas.clone(), ..Image::default() };
            let bounds = write::install(&mut new, head, hard_state, content)?;
            *image = Arc::new(new);
            Ok(bounds)
        });
        installed.map_err(|error| match error {
            StorageError::Doubtful(_) => error,
            StorageError::Failed(_) => self.fail(error),
        })
    }
}

/// A reader of a [`MemoryDisk`].
#[derive(Debug, Clone)]
pub struct MemoryReader {
    disk: MemoryDisk,
}

impl Reader for MemoryReader {
    fn events(&self, room: RoomId, range: &EventRange) -> Result<Vec<EventRow>, StorageError> {
        read::events(&*self.disk.0.lock().image, room, range)
    }

    fn snapshot(&self) -> Result<(SnapshotHead, Box<dyn Read + Send>), StorageError> {
        let export = Export::new(self.disk.0.lock().image.clone())?;
        Ok((export.head().clone(), Box::new(export)))
    }
}

impl Image {
    fn flip(&mut self, kind: Kept, nth: u64, bit: u64) -> bool {
        fn nth_of<K, V>(map: &mut BTreeMap<K, V>, nth: u64) -> Option<&mut V> {
            let count = map.len() as u64;
            let place = usize::try_from(nth.checked_rem(count)?).expect("it is below a length");
            map.values_mut().nth(place)
        }
        fn flip_in(bytes: &mut Arc<[u8]>, crc: &mut u32, bit: u64) {
            let bits = bytes.len() as u64 * 8 + 32;
            let bit = bit % bits;
            match usize::try_from(bit / 8).ok().filter(|byte| *byte < bytes.len()) {
                Some(byte) => Arc::make_mut(bytes)[byte] ^= 1 << (bit % 8),
                None => *crc ^= 1 << (bit % 32),
            }
        }
        let found = match kind {
            Kept::Meta => nth_of(&mut self.metas, nth).map(|(value, crc)| (value, crc)),
            Kept::Log => nth_of(&mut self.log, nth).map(|(value, crc)| (value, crc)),
            Kept::State => nth_of(&mut self.state, nth).map(|(value, crc)| (value, crc)),
            Kept::Event => nth_of(&mut self.events, nth).map(|event| (&mut event.json, &mut event.crc)),
        };
        match found {
            Some((bytes, crc)) => {
                flip_in(bytes, crc, bit);
                true
            }
            None => false,
        }
    }
}

impl Tables for Image {
    fn metas(&self, take: &mut dyn FnMut(&str, &[u8], u32) -> GoOn) -> Result<(), StorageError> {
        walk(self.metas.iter(), |(name, (value, crc))| take(name, value, *crc))
    }

    fn meta(&self, name: &str) -> Result<Option<(Vec<u8>, u32)>, StorageError> {
        Ok(self.metas.get(name).map(|(value, crc)| (value.to_vec(), *crc)))
    }

    fn log(&self, from: u64, take: &mut dyn FnMut(u64, &[u8], u32) -> GoOn) -> Result<(), StorageError> {
        walk(self.log.range(from..), |(index, (value, crc))| take(*index, value, *crc))
    }

    fn log_last(&self) -> Result<Option<(u64, Vec<u8>, u32)>, StorageError> {
        Ok(self.log.last_key_value().map(|(index, (value, crc))| (*index, value.to_vec(), *crc)))
    }

    fn state(&self, above: Option<&[u8]>, take: TakeRow<'_>) -> Result<(), StorageError> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = above.map_or(Unbounded, Excluded);
        walk(self.state.range::<[u8], _>((from, Unbounded)), |(key, (value, crc))| take(key, value, *crc))
    }

    fn events(&self, span: Span, take: &mut dyn FnMut(RawEvent<'_>) -> GoOn) -> Result<(), StorageError> {
        let Some(first) = span.after.checked_add(1).filter(|first| *first < span.before) else {
            return Ok(());
        };
        let range = self.events.range((span.room, first)..(span.room, span.before));
        let mut give = |(key, event): (&(u64, u64), &KeptEvent)| take(event.raw(*key));
        if span.ascending { walk(range, &mut give) } else { walk(range.rev(), &mut give) }
    }

    fn all_events(
        &self,
        above: (u64, u64),
        take: &mut dyn FnMut(RawEvent<'_>) -> GoOn,
    ) -> Result<(), StorageError> {
        use std::ops::Bound::{Excluded, Unbounded};
        walk(self.events.range((Excluded(above), Unbounded)), |(key, event)| take(event.raw(*key)))
    }
}

/// Hands over one item after the other until `take` has enough.
fn walk<I: Iterator>(items: I, mut take: impl FnMut(I::Item) -> GoOn) -> Result<(), StorageError> {
    for item in items {
        if !take(item)? {
            break;
        }
    }
    Ok(())
}

impl KeptEvent {
    fn raw(&self, (room, seq): (u64, u64)) -> RawEvent<'_> {
        RawEvent {
            room,
            seq,
            index: self.index,
            created_at_ms: self.created_at_ms,
            author: &self.author,
            json: &self.json,
            crc: self.crc,
        }
    }
}

impl TablesMut for Image {
    fn put_meta(&mut self, name: &str, value: &[u8], crc: u32) -> Result<(), StorageError> {
        match self.metas.get_mut(name) {
            Some(kept) => *kept = (value.into(), crc),
            None => drop(self.metas.insert(name.to_owned(), (value.into(), crc))),
        }
        Ok(())
    }

    fn put_log(&mut self, index: u64, value: &[u8], crc: u32) -> Result<(), StorageError> {
        self.log.insert(index, (value.into(), crc));
        Ok(())
    }

    fn cut_log_from(&mut self, index: u64) -> Result<(), StorageError> {
        self.log.split_off(&index);
        Ok(())
    }

    fn cut_log_to(&mut self, index: u64) -> Result<(), StorageError> {
        self.log = self.log.split_off(&(index + 1));
        Ok(())
    }

    fn put_state(&mut self, key: &[u8], value: &[u8], crc: u32) -> Result<Option<u32>, StorageError> {
        Ok(self.state.insert(key.to_vec(), (value.into(), crc)).map(|(_, crc)| crc))
    }

    fn remove_state(&mut self, key: &[u8]) -> Result<Option<u32>, StorageError> {
        Ok(self.state.remove(key).map(|(_, crc)| crc))
    }

    fn put_event(&mut self, event: RawEvent<'_>) -> Result<Option<u32>, StorageError> {
        let kept = KeptEvent {
            index: event.index,
            created_at_ms: event.created_at_ms,
            author: event.author.into(),
            json: event.json.into(),
            crc: event.crc,
        };
        Ok(self.events.insert((event.room, event.seq), kept).map(|event| event.crc))
    }

    fn clear(&mut self) -> Result<(), StorageError> {
        self.log.clear();
        self.state.clear();
        self.events.clear();
        Ok(())
    }
}
