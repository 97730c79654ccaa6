//! A disk whose power can be cut, for the real SQLite: an in-memory VFS that knows what was synced.
//!
//! Reading gives what was written. [`PowerDisk::cut`] drops what was not synced, sector by sector as the
//! caller decides; handles from before can do nothing any more. The disk itself goes on: opening it again is
//! the restart after the power cut.
//!
//! The model ([`disk`]) is safe code; [`vfs`] is the glue that SQLite calls, and the only `unsafe` of
//! the project. (The crate `sqlite-plugin` would have been that glue; it wants libclang on every machine
//! that runs the tests.)

mod disk;
mod log_files;
mod vfs;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;

use disk::Disk;
use log_files::PowerFiles;
use syncnet::storage::LogPlace;

/// The name under which SQLite knows the VFS, once there is a [`PowerDisk`].
pub const VFS: &str = "power";

/// All disks, by the folder that their database seems to be in.
static DISKS: Mutex<BTreeMap<String, Arc<Mutex<Disk>>>> = Mutex::new(BTreeMap::new());

const DATABASE: &str = "syncnet.db";

/// How long a segment of the log is: short, so that it is often begun anew.
const SEGMENT_BYTES: u64 = 16 * 1024;

/// A copy of a disk, to be put back later.
#[derive(Debug, Clone, Default)]
pub struct PowerImage(BTreeMap<String, Vec<u8>>);

/// A disk with one database.
pub struct PowerDisk {
    folder: String,
    disk: Arc<Mutex<Disk>>,
}

impl PowerDisk {
    /// An empty disk.
    pub fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        vfs::register();
        let folder = format!("/disk{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let disk = Arc::new(Mutex::new(Disk::default()));
        DISKS.lock().insert(folder.clone(), disk.clone());
        PowerDisk { folder, disk }
    }

    /// The path of its database, to be opened with [`VFS`].
    pub fn database(&self) -> PathBuf {
        Path::new(&self.folder).join(DATABASE)
    }

    /// Where the log lies, on the same disk.
    pub fn log(&self) -> LogPlace {
        LogPlace { files: Box::new(PowerFiles(self.disk.clone())), segment_bytes: SEGMENT_BYTES }
    }

    /// Cuts the power. Of what was not synced, each sector that was written stays if `survives` says so.
    pub fn cut(&self, survives: &mut dyn FnMut() -> bool) {
        self.disk.lock().cut(survives);
    }

    /// The process that had it open is gone. What it wrote stays, synced or not; it does nothing any more.
    pub fn kill(&self) {
        self.disk.lock().kill();
    }

    /// A copy of what a power cut at this moment would leave for certain.
    pub fn image(&self) -> PowerImage {
        PowerImage(self.disk.lock().image())
    }

    /// Puts a copy in the place of what it holds; handles from before can do nothing any more.
    pub fn restore(&self, image: &PowerImage) {
        self.disk.lock().restore(image.0.clone());
    }

    /// Flips a bit of the database file, synced or not; tells whether the file has this byte.
    pub fn flip(&self, byte: usize, bit: u8) -> bool {
        self.disk.lock().flip(DATABASE, byte, bit)
    }

    /// Flips a bit of what is written of the log, counted around; tells whether there is a log.
    pub fn flip_log(&self, nth: usize, byte: usize, bit: u8) -> bool {
        let mut disk = self.disk.lock();
        let written = |bytes: &[u8]| bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        let segments: Vec<(String, usize)> = disk
            .files()
            .filter(|(name, _)| name.starts_with("log-"))
            .map(|(name, bytes)| (name.to_owned(), written(bytes)))
            .filter(|(_, written)| *written > 0)
            .collect();
        let Some(place) = nth.checked_rem(segments.len()) else { return false };
        let (name, written) = &segments[place];
        disk.flip(name, byte % written, bit)
    }

    /// The length of the database file.
    pub fn database_bytes(&self) -> usize {
        self.disk.lock().bytes(DATABASE)
    }

    /// Copies its files into a folder of the machine.
    pub fn copy_to(&self, folder: &Path) -> std::io::Result<()> {
        self.disk.lock().files().try_for_each(|(name, bytes)| std::fs::write(folder.join(name), bytes))
    }

    /// Lets the power fail by itself: this many writes and syncs succeed from now on; the next one fails, and
    /// everything after it. [`cut`](Self::cut) must follow.
    pub fn fail_after(&self, operations: u64) {
        self.disk.lock().fail_after(operations);
    }

    /// Lets its files grow to this many bytes together, or without bound.
    pub fn limit(&self, bytes: Option<usize>) {
        self.disk.lock().limit(bytes);
    }

    /// Makes one sync fail: what it was to write is never written. After it, the disk works again.
    pub fn fail_next_sync(&self) {
        self.disk.lock().fail_next_sync();
    }

    /// Syncs that failed so far.
    pub fn failed_syncs(&self) -> u64 {
        self.disk.lock().failed_syncs()
    }

    /// From now on it reports every sync as done without doing it.
    pub fn lie(&self) {
        self.disk.lock().lie();
    }
}

impl Drop for PowerDisk {
    fn drop(&mut self) {
        DISKS.lock().remove(&self.folder);
    }
}

/// The disk that a path is on, and the file's name there.
fn find(path: &str) -> Option<(Arc<Mutex<Disk>>, &str)> {
    let (folder, name) = path.rsplit_once('/')?;
    Some((DISKS.lock().get(folder)?.clone(), name))
}
