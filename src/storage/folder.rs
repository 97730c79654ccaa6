//! The data folder: its lock, its files, and how damaged data is moved out of the way.
//!
//! ```text
//! lock            held locked while a server uses the folder; contains its process id
//! syncnet.db      the database, with syncnet.db-wal and syncnet.db-shm beside it while it is open
//! log-<n>         the segments of the log; log-spare is made ready to be the next one
//! doubt           there only after a failed sync: why the data must not be used
//! quarantine-<n>  data that was set aside, the newest few
//! ```
//!
//! It holds the messages of private rooms and password verifiers. So on Unix only the owner may open it, and
//! also each of its files, in case they are copied elsewhere.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    fs::{self, File, Metadata, OpenOptions, TryLockError},
    io::{self, Write},
    path::{Path, PathBuf},
};

use super::{OpenError, log_files::names::is_log_file};
use crate::disk::StorageError;

const LOCK: &str = "lock";
const DATABASE: &str = "syncnet.db";
const WAL: &str = "syncnet.db-wal";
const SHM: &str = "syncnet.db-shm";
const DOUBT: &str = "doubt";
const QUARANTINE: &str = "quarantine-";
/// How many quarantines are kept, to find out later what happened; older ones are removed.
const QUARANTINES_KEPT: usize = 3;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sizes {
    pub database: u64,
    /// By the log, and by the write-ahead log of the database.
    pub log: u64,
    pub disk: u64,
    /// What this process can still use of it.
    pub disk_free: u64,
}

/// How much of the disk a data folder uses, in bytes. Unknown sizes are 0.
pub fn sizes(path: &Path) -> Sizes {
    let bytes = |name: &str| fs::metadata(path.join(name)).map_or(0, |metadata| metadata.len());
    let (disk, disk_free) = disk_bytes(path).unwrap_or_default();
    let log = log_names(path).unwrap_or_default().iter().map(|name| bytes(name)).sum::<u64>() + bytes(WAL);
    Sizes { database: bytes(DATABASE), log, disk, disk_free }
}

/// Free space that is kept in reserve: a twentieth of the disk, but no less than two segments of the log and
/// no more than 64 MiB.
const RESERVE_BYTES: std::ops::RangeInclusive<u64> = 8 * 1024 * 1024..=64 * 1024 * 1024;

/// Whether a data folder may grow. A disk that was full has to have twice the reserve again. If the system
/// does not tell, it may.
pub fn has_room(path: &Path, had_room: bool) -> bool {
    disk_bytes(path).is_none_or(|disk| is_room(disk, had_room))
}

fn is_room((disk, free): (u64, u64), had_room: bool) -> bool {
    let reserve = (disk / 20).clamp(*RESERVE_BYTES.start(), *RESERVE_BYTES.end());
    free >= if had_room { reserve } else { 2 * reserve }
}

/// How large the disk is that a folder is on, and how much of it is free.
#[cfg(unix)]
#[allow(clippy::useless_conversion, reason = "these numbers are narrower on some systems")]
fn disk_bytes(path: &Path) -> Option<(u64, u64)> {
    let disk = nix::sys::statvfs::statvfs(path).ok()?;
    let block = u64::from(disk.fragment_size());
    Some((block * u64::from(disk.blocks()), block * u64::from(disk.blocks_available())))
}

#[cfg(not(unix))]
fn disk_bytes(_path: &Path) -> Option<(u64, u64)> {
    None
}

/// Whether a folder has a database.
pub(super) fn has_database(path: &Path) -> bool {
    path.join(DATABASE).is_file()
}

/// A data folder that is locked for this process until this is dropped.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    lock: File,
    /// The files of the data, as they were when each was first looked at.
    files: RefCell<BTreeMap<PathBuf, FileIdentity>>,
}

/// The file under a name: its device and inode. On other systems than Unix always the same.
type FileIdentity = (u64, u64);

impl Folder {
    /// Makes the folder if it is missing, and locks it.
    pub fn take(path: &Path) -> Result<Folder, OpenError> {
        make(path).map_err(|error| {
            OpenError::Refused(format!("the data folder {} cannot be made: {error}", path.display()))
        })?;
        let lock = take_lock(path)?;
        shut_others_out(path);
        Ok(Folder { path: path.to_owned(), lock, files: RefCell::default() })
    }

    pub fn database(&self) -> PathBuf {
        self.path.join(DATABASE)
    }

    fn wal(&self) -> PathBuf {
        self.path.join(WAL)
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the files that this process has open still are those in the folder, those of the log with
    /// these names among them. What is written to a file that was removed, or has another one in its place,
    /// is gone with the process.
    pub fn check_in_place(&self, log: impl Iterator<Item = String>) -> Result<(), StorageError> {
        let ours = self.lock.metadata().map(|metadata| identity(&metadata));
        let mut is_in_place = ours.is_ok_and(|ours| stands_at(&self.path.join(LOCK)) == Some(ours));
        let mut files = self.files.borrow_mut();
        let log: BTreeSet<PathBuf> = log.map(|name| self.path.join(name)).collect();
        if files.is_empty() {
            let here = [self.database(), self.wal()].into_iter();
            files.extend(here.filter_map(|file| stands_at(&file).map(|identity| (file, identity))));
        }
        // Segments come and go.
        files.retain(|file, _| log.contains(file) || !file_name(file).is_some_and(is_log_file));
        for segment in log {
            match stands_at(&segment) {
                Some(identity) => drop(files.entry(segment).or_insert(identity)),
                None => is_in_place = false,
            }
        }
        is_in_place &= files.iter().all(|(file, identity)| stands_at(file) == Some(*identity));
        if is_in_place {
            return Ok(());
        }
        Err(StorageError::Failed(format!(
            "the data folder {} was removed or replaced, or files in it were, while the server ran",
            self.path.display()
        )))
    }

    /// Whether there is a database. If not, the files left beside a lost one are removed: SQLite must not
    /// take them for a part of the new one.
    pub fn has_database(&self) -> Result<bool, StorageError> {
        let failed = |error: io::Error| {
            StorageError::Failed(format!("looking into the data folder {}: {error}", self.path.display()))
        };
        if self.database().try_exists().map_err(failed)? {
            return Ok(true);
        }
        if let Some(name) = log_names(&self.path).map_err(failed)?.first() {
            return Err(StorageError::Doubtful(format!(
                "the database is gone, and {name} of the log is there"
            )));
        }
        for left in [WAL, SHM] {
            remove_if_there(&self.path.join(left)).map_err(failed)?;
        }
        Ok(false)
    }

    /// Makes an empty file for a new database. SQLite gives its other files the same owner and mode.
    pub fn make_database(&self) -> Result<(), StorageError> {
        let made = private().write(true).create(true).truncate(false).open(self.database());
        made.map(drop)
            .map_err(|error| StorageError::Failed(format!("making {}: {error}", self.database().display())))
    }

    /// Makes the names of new files durable.
    pub fn sync(&self) -> Result<(), StorageError> {
        sync_folder(&self.path).map_err(|error| {
            StorageError::Failed(format!("syncing the data folder {}: {error}", self.path.display()))
        })
    }

    /// Notes on the disk, as well as a failing disk allows, that a sync failed. Otherwise a restart might
    /// read from the page cache what is not on the disk.
    pub fn remember_doubt(&self, why: &str) {
        let doubt = private().write(true).create(true).truncate(true).open(self.path.join(DOUBT));
        let written = doubt.and_then(|mut file| {
            file.write_all(why.as_bytes())?;
            file.sync_all()?;
            sync_folder(&self.path)
        });
        if let Err(error) = written {
            log::error!("the failed disk does not even keep a note of that: {error}");
        }
    }

    /// Checks whether an earlier process noted a doubt. If the note cannot be read, its being there is
    /// enough.
    pub fn check_doubt(&self) -> Result<(), StorageError> {
        match fs::read(self.path.join(DOUBT)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(StorageError::Doubtful(format!("an earlier process left a doubt: {error}"))),
            Ok(why) => Err(StorageError::Doubtful(format!(
                "an earlier process could not sync it ({})",
                String::from_utf8_lossy(&why)
            ))),
        }
    }
}

/// Moves what is in the data folder `path` into a new folder `quarantine-<n>` inside it and returns that
/// one's path. The next open begins empty. Storage and readers of the folder must be dropped before.
///
/// The database goes first: a crash half-way leaves a log without a database, which is set aside again, or a
/// WAL without one, which counts as no data; and never a database without the rest, which would look like
/// older data.
pub fn set_aside(path: &Path) -> Result<PathBuf, OpenError> {
    let folder = Folder::take(path)?;
    let failed = |error: io::Error| {
        StorageError::Failed(format!("setting aside the data in {}: {error}", path.display()))
    };
    let older = quarantines(path).map_err(failed)?;
    let number = older.last().map_or(1, |(number, _)| number + 1);
    let aside = path.join(format!("{QUARANTINE}{number}"));
    fs::create_dir(&aside).map_err(failed)?;
    let data = [DATABASE, WAL, SHM].map(str::to_owned).into_iter();
    let log = log_names(path).map_err(failed)?;
    for name in data.chain(log).chain([DOUBT.to_owned()]) {
        match fs::rename(path.join(&name), aside.join(&name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error).into()),
            _ => {}
        }
    }
    sync_folder(&aside).map_err(failed)?;
    folder.sync()?;
    let surplus = (older.len() + 1).saturating_sub(QUARANTINES_KEPT);
    for (_, old) in older.into_iter().take(surplus) {
        fs::remove_dir_all(&old).map_err(failed)?;
    }
    Ok(aside)
}

/// The names of the log's files in a data folder, in order.
fn log_names(path: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(path)? {
        names.extend(entry?.file_name().into_string().ok().filter(|name| is_log_file(name)));
    }
    names.sort();
    Ok(names)
}

fn file_name(path: &Path) -> Option<&str> {
    path.file_name()?.to_str()
}

/// The quarantines in a data folder, oldest first.
fn quarantines(path: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix(QUARANTINE)?.parse().ok());
        if let Some(number) = number {
            found.push((number, entry.path()));
        }
    }
    found.sort();
    Ok(found)
}

/// The file under a name; `None` if there is none.
fn stands_at(path: &Path) -> Option<FileIdentity> {
    fs::metadata(path).ok().map(|metadata| identity(&metadata))
}

#[cfg(unix)]
fn identity(metadata: &Metadata) -> FileIdentity {
    use std::os::unix::fs::MetadataExt;
    (metadata.dev(), metadata.ino())
}

#[cfg(not(unix))]
fn identity(_: &Metadata) -> FileIdentity {
    (0, 0)
}

/// How to open a file that only its owner may read.
pub(super) fn private() -> OpenOptions {
    #[allow(unused_mut, reason = "elsewhere than on Unix files belong to whom the folder belongs to")]
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

fn create_private_dir(path: &Path) -> io::Result<()> {
    #[allow(unused_mut, reason = "as above")]
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Takes all rights in the folder from everyone but its owner, and logs it. If that fails it is logged, but
/// the server starts all the same.
#[cfg(unix)]
fn shut_others_out(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let files = [LOCK, DATABASE, WAL, SHM, DOUBT].map(|name| path.join(name));
    for place in std::iter::once(path).chain(files.iter().map(PathBuf::as_path)) {
        let Ok(metadata) = fs::metadata(place) else { continue };
        let mode = metadata.permissions().mode() & 0o777;
        if mode & 0o077 == 0 {
            continue;
        }
        let shown = place.display();
        match fs::set_permissions(place, fs::Permissions::from_mode(mode & 0o700)) {
            Ok(()) => log::warn!("others could open {shown} (mode {mode:03o}); now only its owner can"),
            Err(error) => {
                log::warn!("others can open {shown} (mode {mode:03o}), and will be able to: {error}")
            }
        }
    }
}

#[cfg(not(unix))]
fn shut_others_out(_: &Path) {}

/// Creates a folder and makes its name durable, and those of its parents that were missing.
fn make(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    make(parent)?;
    match create_private_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
        result => result?,
    }
    sync_folder(parent)
}

fn take_lock(path: &Path) -> Result<File, OpenError> {
    let lock_path = path.join(LOCK);
    let unusable = |error: io::Error| {
        OpenError::Refused(format!("the data folder {} cannot be used: {error}", path.display()))
    };
    let mut lock =
        private().read(true).write(true).create(true).truncate(false).open(&lock_path).map_err(unusable)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(in_use(path, &lock_path)),
        Err(TryLockError::Error(error)) => return Err(unusable(error)),
    }
    lock.set_len(0).and_then(|()| write!(lock, "{}", std::process::id())).map_err(unusable)?;
    Ok(lock)
}

fn in_use(path: &Path, lock_path: &Path) -> OpenError {
    let pid: Option<u32> = fs::read_to_string(lock_path).ok().and_then(|text| text.trim().parse().ok());
    let by = pid.map_or("another process".to_owned(), |pid| format!("process {pid}"));
    OpenError::Refused(format!(
        "the data folder {} is in use by {by}: stop it, or name another folder",
        path.display()
    ))
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// Makes the names in a folder durable. Windows offers nothing of the kind, and orders by itself.
pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    if cfg!(windows) { Ok(()) } else { File::open(path)?.sync_all() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_full_before_nothing_is_left_and_empty_when_there_is_twice_as_much() {
        const MIB: u64 = 1024 * 1024;
        for (disk, reserve) in [(64 * MIB, 8 * MIB), (400 * MIB, 20 * MIB), (1 << 40, 64 * MIB)] {
            assert!(is_room((disk, reserve), true) && !is_room((disk, reserve - 1), true));
            assert!(is_room((disk, 2 * reserve), false) && !is_room((disk, 2 * reserve - 1), false));
        }
    }
}
