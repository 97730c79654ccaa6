//! Reading the data beside its writer, as long as it may be read.

use std::{
    io::Read,
    sync::atomic::{AtomicU64, Ordering},
};

use parking_lot::{Mutex, RwLock};

use crate::{
    disk::{Reader, Scrubbed, StorageError},
    protocol::peer::{RowKey, SnapshotHead},
    storage::SqliteReader,
};

/// One reader for each query thread, as long as the data may be read. There are none while the data is set
/// aside; taking them away waits for the reads that are under way.
#[derive(Default)]
pub struct Readers {
    readers: RwLock<Vec<Mutex<SqliteReader>>>,
    /// Counts how often the data was replaced.
    life: AtomicU64,
}

/// A copy of the whole state, and which data it is of.
pub struct Copy {
    pub head: SnapshotHead,
    /// The copy, which is read as it is asked for.
    pub content: Box<dyn Read + Send>,
    /// For [`Readers::is_same`].
    pub life: u64,
}

impl Readers {
    pub fn set(&self, readers: Vec<SqliteReader>) {
        let mut held = self.readers.write();
        self.life.fetch_add(1, Ordering::AcqRel);
        *held = readers.into_iter().map(Mutex::new).collect();
    }

    /// Runs `action` while the data cannot be replaced.
    pub fn hold<T>(&self, action: impl FnOnce() -> T) -> T {
        let _held = self.readers.read();
        action()
    }

    /// A copy of the whole state; `None` if there is no data now. The data may be replaced while the copy is
    /// read.
    pub fn snapshot(&self) -> Option<Result<Copy, StorageError>> {
        let readers = self.readers.read();
        let reader = readers.first()?.lock();
        let life = self.life.load(Ordering::Acquire);
        Some(reader.snapshot().map(|(head, content)| Copy { head, content, life }))
    }

    /// See [`Reader::scrub`]; `None` if there is no data now.
    pub fn scrub(&self, above: Option<&RowKey>, max_bytes: usize) -> Option<Result<Scrubbed, StorageError>> {
        self.read(0, |reader| reader.scrub(above, max_bytes))
    }

    /// Whether the data has not been replaced since.
    pub fn is_same(&self, life: u64) -> bool {
        self.life.load(Ordering::Acquire) == life
    }

    /// Reads with reader number `number`; `None` if there is no data now.
    pub fn read<T>(&self, number: usize, action: impl FnOnce(&SqliteReader) -> T) -> Option<T> {
        let readers = self.readers.read();
        let reader = readers.get(number)?.lock();
        Some(action(&reader))
    }
}
