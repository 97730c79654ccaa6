//! The files of the log on the same disk, as `storage::log_files` asks for them.

use std::{io, sync::Arc};

use parking_lot::Mutex;
use syncnet::storage::log_files::files::{Files, LogFile};

use super::disk::{Disk, Fault, Handle};

/// The folder of a disk, as the log sees it.
#[derive(Debug)]
pub struct PowerFiles(pub Arc<Mutex<Disk>>);

#[derive(Debug)]
struct PowerFile {
    disk: Arc<Mutex<Disk>>,
    handle: Handle,
}

fn error(fault: Fault) -> io::Error {
    match fault {
        Fault::Missing => io::Error::new(io::ErrorKind::NotFound, "there is no such file"),
        Fault::Full => io::Error::new(io::ErrorKind::StorageFull, "the disk is full"),
        Fault::Io | Fault::Busy => io::Error::other("disk I/O error"),
    }
}

impl PowerFiles {
    fn open(&self, name: &str, create: bool) -> io::Result<Box<dyn LogFile>> {
        let handle = self.0.lock().open(name, create).map_err(error)?;
        Ok(Box::new(PowerFile { disk: self.0.clone(), handle }))
    }
}

impl Files for PowerFiles {
    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.0.lock().files().map(|(name, _)| name.to_owned()).collect())
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn LogFile>> {
        self.open(name, false)
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn LogFile>> {
        let mut file =
            PowerFile { handle: self.0.lock().open(name, true).map_err(error)?, disk: self.0.clone() };
        file.truncate()?;
        Ok(Box::new(file))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.lock().rename(from, to).map_err(error)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.lock().remove(name).map_err(error)
    }

    fn sync_names(&self) -> io::Result<()> {
        self.0.lock().sync_names().map_err(error)
    }
}

impl PowerFile {
    fn truncate(&mut self) -> io::Result<()> {
        self.disk.lock().truncate(&self.handle, 0).map_err(error)
    }
}

impl LogFile for PowerFile {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.disk.lock().size(&self.handle).map_err(error)? as u64)
    }

    fn read(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let count = self.disk.lock().read(&self.handle, offset as usize, into).map_err(error)?;
        if count == into.len() { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.disk.lock().write(&self.handle, offset as usize, bytes).map_err(error)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.disk.lock().sync(&self.handle).map_err(error)
    }
}
