//! The model of a disk: files with what was written and what was synced, locks, and the shared memory of a
//! WAL.

use std::collections::BTreeMap;

/// The unit that a power cut keeps or loses as a whole.
const SECTOR_BYTES: usize = 512;

/// Why an operation failed; `vfs` has SQLite's numbers for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The disk failed.
    Io,
    /// Another handle holds a lock.
    Busy,
    /// There is no such file.
    Missing,
    /// There is no room.
    Full,
}

/// One open file: which, and since when.
#[derive(Debug, Clone)]
pub struct Handle {
    name: String,
    id: u64,
    /// How often the power had been cut when it was opened.
    cuts: u64,
}

/// Files by name.
#[derive(Debug, Default)]
pub struct Disk {
    files: BTreeMap<String, File>,
    cuts: u64,
    handles: u64,
    /// How many more writes and syncs succeed before the power fails.
    power: Option<u64>,
    sync_fails: bool,
    /// Syncs that failed.
    failed_syncs: u64,
    /// Whether syncs are reported as done without being done.
    lies: bool,
    /// Bytes to which files may grow together.
    room: Option<usize>,
    /// Changes of names since the names were last synced, in order.
    names_pending: Vec<NameChange>,
    /// Shared memory of before a cut, or of files that are gone: whoever had it mapped may still look.
    unmapped: Vec<Box<[u64]>>,
}

#[derive(Debug, Default)]
struct File {
    /// The content that reads give.
    seen: Vec<u8>,
    /// The content after a power cut; `None` if the name itself was never synced.
    synced: Option<Vec<u8>>,
    /// What was done since the last sync, in order.
    pending: Vec<Change>,
    /// Lock levels (SQLite's numbers) by handle.
    locks: BTreeMap<u64, i32>,
    shared: Shared,
}

/// A change of names that a power cut may undo.
#[derive(Debug)]
enum NameChange {
    Renamed { from: String, to: String },
    Removed { name: String, file: File },
}

#[derive(Debug)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Truncate { size: usize },
}

/// The shared memory beside a database. Regions never move: SQLite keeps pointers into them.
#[derive(Debug, Default)]
struct Shared {
    regions: Vec<Box<[u64]>>,
    /// By lock and handle: whether the lock is held alone.
    locks: BTreeMap<(usize, u64), bool>,
}

impl Change {
    fn apply(&self, to: &mut Vec<u8>) {
        match self {
            Change::Write { offset, bytes } => {
                let end = offset + bytes.len();
                if to.len() < end {
                    to.resize(end, 0);
                }
                to[*offset..end].copy_from_slice(bytes);
            }
            Change::Truncate { size } => to.truncate(*size),
        }
    }

    /// Its sectors, each of which reaches the disk or not by itself.
    fn sectors(&self) -> Vec<Change> {
        match self {
            Change::Truncate { size } => vec![Change::Truncate { size: *size }],
            Change::Write { offset, bytes } => {
                let mut parts = Vec::new();
                let mut from = 0;
                while from < bytes.len() {
                    let room = SECTOR_BYTES - (offset + from) % SECTOR_BYTES;
                    let to = bytes.len().min(from + room);
                    parts.push(Change::Write { offset: offset + from, bytes: bytes[from..to].to_vec() });
                    from = to;
                }
                parts
            }
        }
    }
}

impl File {
    fn change(&mut self, change: Change) {
        change.apply(&mut self.seen);
        self.pending.push(change);
    }
}

impl Disk {
    pub fn kill(&mut self) {
        self.cuts += 1;
        self.power = None;
        self.sync_fails = false;
        for file in self.files.values_mut() {
            file.locks.clear();
            file.shared.locks.clear();
            self.unmapped.append(&mut file.shared.regions);
        }
    }

    pub fn cut(&mut self, survives: &mut dyn FnMut() -> bool) {
        self.kill();
        // A folder's changes reach the disk in order, if they do.
        let mut undone = std::mem::take(&mut self.names_pending);
        while undone.first().is_some_and(|_| survives()) {
            undone.remove(0);
        }
        for change in undone.into_iter().rev() {
            match change {
                NameChange::Renamed { from, to } => {
                    let file = self.files.remove(&to).expect("it was renamed to this");
                    self.files.insert(from, file);
                }
                NameChange::Removed { name, file } => drop(self.files.insert(name, file)),
            }
        }
        for file in self.files.values_mut() {
            for sector in file.pending.iter().flat_map(Change::sectors) {
                if survives() {
                    sector.apply(file.synced.get_or_insert_default());
                }
            }
            file.pending.clear();
            if let Some(synced) = &file.synced {
                file.seen.clone_from(synced);
            }
        }
        self.files.retain(|_, file| file.synced.is_some());
    }

    pub fn image(&self) -> BTreeMap<String, Vec<u8>> {
        let synced = |(name, file): (&String, &File)| Some((name.clone(), file.synced.clone()?));
        self.files.iter().filter_map(synced).collect()
    }

    pub fn restore(&mut self, image: BTreeMap<String, Vec<u8>>) {
        self.kill();
        self.names_pending.clear();
        let file = |bytes: Vec<u8>| File { seen: bytes.clone(), synced: Some(bytes), ..File::default() };
        self.files = image.into_iter().map(|(name, bytes)| (name, file(bytes))).collect();
    }

    pub fn flip(&mut self, name: &str, byte: usize, bit: u8) -> bool {
        let Some(file) = self.files.get_mut(name) else { return false };
        for bytes in std::iter::once(&mut file.seen).chain(&mut file.synced) {
            if let Some(byte) = bytes.get_mut(byte) {
                *byte ^= 1 << bit;
            }
        }
        byte < file.seen.len()
    }

    pub fn bytes(&self, name: &str) -> usize {
        self.files.get(name).map_or(0, |file| file.seen.len())
    }

    pub fn files(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.files.iter().map(|(name, file)| (name.as_str(), file.seen.as_slice()))
    }

    pub fn fail_after(&mut self, operations: u64) {
        self.power = Some(operations);
    }

    pub fn fail_next_sync(&mut self) {
        self.sync_fails = true;
    }

    pub fn failed_syncs(&self) -> u64 {
        self.failed_syncs
    }

    pub fn lie(&mut self) {
        self.lies = true;
    }

    pub fn limit(&mut self, room: Option<usize>) {
        self.room = room;
    }

    fn check_room(&self, handle: &Handle, end: usize) -> Result<(), Fault> {
        let Some(room) = self.room else { return Ok(()) };
        let size = |name: &String, file: &File| {
            if *name == handle.name { file.seen.len().max(end) } else { file.seen.len() }
        };
        let after: usize = self.files.iter().map(|(name, file)| size(name, file)).sum();
        if after > room { Err(Fault::Full) } else { Ok(()) }
    }

    /// Counts one more write or sync.
    fn spend(&mut self) -> Result<(), Fault> {
        match &mut self.power {
            Some(0) => Err(Fault::Io),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn file(&mut self, handle: &Handle) -> Result<&mut File, Fault> {
        if handle.cuts != self.cuts {
            return Err(Fault::Io);
        }
        self.files.get_mut(&handle.name).ok_or(Fault::Io)
    }

    pub fn open(&mut self, name: &str, create: bool) -> Result<Handle, Fault> {
        if !self.files.contains_key(name) {
            if !create {
                return Err(Fault::Missing);
            }
            self.spend()?;
            self.files.insert(name.to_owned(), File::default());
        }
        self.handles += 1;
        Ok(Handle { name: name.to_owned(), id: self.handles, cuts: self.cuts })
    }

    pub fn close(&mut self, handle: &Handle) {
        if let Ok(file) = self.file(handle) {
            file.locks.remove(&handle.id);
            file.shared.locks.retain(|(_, owner), _| *owner != handle.id);
        }
    }

    /// The deletion survives a power cut at once. SQLite need not sync the folder for it: a WAL is deleted
    /// only after all of it is in the database.
    pub fn delete(&mut self, name: &str) -> Result<(), Fault> {
        self.spend()?;
        let mut file = self.files.remove(name).ok_or(Fault::Missing)?;
        self.unmapped.append(&mut file.shared.regions);
        Ok(())
    }

    /// Removes a file of the log. Until the names are synced it may come back.
    pub fn remove(&mut self, name: &str) -> Result<(), Fault> {
        self.spend()?;
        let file = self.files.remove(name).ok_or(Fault::Missing)?;
        self.names_pending.push(NameChange::Removed { name: name.to_owned(), file });
        Ok(())
    }

    /// Gives a file of the log another name. Until the names are synced this may be undone.
    pub fn rename(&mut self, from: &str, to: &str) -> Result<(), Fault> {
        self.spend()?;
        let file = self.files.remove(from).ok_or(Fault::Missing)?;
        self.files.insert(to.to_owned(), file);
        self.names_pending.push(NameChange::Renamed { from: from.to_owned(), to: to.to_owned() });
        Ok(())
    }

    /// Makes the changes of names durable.
    pub fn sync_names(&mut self) -> Result<(), Fault> {
        self.spend()?;
        if !self.lies {
            self.names_pending.clear();
        }
        Ok(())
    }

    pub fn exists(&self, name: &str) -> bool {
        self.files.contains_key(name)
    }

    /// Reads as much as there is, and returns how much.
    pub fn read(&mut self, handle: &Handle, offset: usize, into: &mut [u8]) -> Result<usize, Fault> {
        let seen = &self.file(handle)?.seen;
        let from = seen.get(offset..).unwrap_or_default();
        let count = from.len().min(into.len());
        into[..count].copy_from_slice(&from[..count]);
        Ok(count)
    }

    pub fn write(&mut self, handle: &Handle, offset: usize, bytes: &[u8]) -> Result<(), Fault> {
        self.spend()?;
        self.check_room(handle, offset + bytes.len())?;
        self.file(handle)?.change(Change::Write { offset, bytes: bytes.to_vec() });
        Ok(())
    }

    pub fn truncate(&mut self, handle: &Handle, size: usize) -> Result<(), Fault> {
        self.spend()?;
        self.file(handle)?.change(Change::Truncate { size });
        Ok(())
    }

    pub fn sync(&mut self, handle: &Handle) -> Result<(), Fault> {
        self.spend()?;
        let fails = std::mem::take(&mut self.sync_fails);
        self.failed_syncs += u64::from(fails);
        let lies = self.lies;
        let file = self.file(handle)?;
        if fails {
            // As Linux does: what could not be written can still be read, and no later sync will write it.
            file.pending.clear();
            return Err(Fault::Io);
        }
        if lies {
            return Ok(());
        }
        let synced = file.synced.get_or_insert_default();
        for change in file.pending.drain(..) {
            change.apply(synced);
        }
        Ok(())
    }

    pub fn size(&mut self, handle: &Handle) -> Result<usize, Fault> {
        Ok(self.file(handle)?.seen.len())
    }

    /// SQLite's levels: 1 shared, 2 reserved, 3 pending, 4 exclusive.
    pub fn lock(&mut self, handle: &Handle, level: i32) -> Result<(), Fault> {
        let file = self.file(handle)?;
        let others = file.locks.iter().filter(|(id, _)| **id != handle.id).map(|(_, level)| *level).max();
        let most = match level {
            1 => 2,
            2 | 3 => 1,
            _ => 0,
        };
        if others.unwrap_or(0) > most {
            return Err(Fault::Busy);
        }
        file.locks.insert(handle.id, level);
        Ok(())
    }

    pub fn unlock(&mut self, handle: &Handle, level: i32) -> Result<(), Fault> {
        self.file(handle)?.locks.insert(handle.id, level);
        Ok(())
    }

    pub fn is_reserved(&mut self, handle: &Handle) -> Result<bool, Fault> {
        Ok(self.file(handle)?.locks.values().any(|level| *level >= 2))
    }

    /// Shared memory: region `number` of `bytes`, made if `extend` allows it.
    pub fn region(
        &mut self,
        handle: &Handle,
        number: usize,
        bytes: usize,
        extend: bool,
    ) -> Result<Option<*mut u64>, Fault> {
        let regions = &mut self.file(handle)?.shared.regions;
        while extend && regions.len() <= number {
            regions.push(vec![0; bytes.div_ceil(8)].into_boxed_slice());
        }
        Ok(regions.get_mut(number).map(|region| region.as_mut_ptr()))
    }

    pub fn lock_shared(
        &mut self,
        handle: &Handle,
        slots: std::ops::Range<usize>,
        alone: bool,
    ) -> Result<(), Fault> {
        let locks = &mut self.file(handle)?.shared.locks;
        for slot in slots.clone() {
            let mut others =
                locks.range((slot, 0)..=(slot, u64::MAX)).filter(|((_, id), _)| *id != handle.id);
            if others.any(|(_, theirs)| alone || *theirs) {
                return Err(Fault::Busy);
            }
        }
        for slot in slots {
            locks.insert((slot, handle.id), alone);
        }
        Ok(())
    }

    pub fn unlock_shared(&mut self, handle: &Handle, slots: std::ops::Range<usize>) -> Result<(), Fault> {
        let locks = &mut self.file(handle)?.shared.locks;
        for slot in slots {
            locks.remove(&(slot, handle.id));
        }
        Ok(())
    }
}
