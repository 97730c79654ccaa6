//! The few things that the log asks of a folder. Tests put something else in its place, which loses what was
//! not synced, tears writes, and fails when it is told to.

use std::{
    fmt,
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use crate::storage::folder;

/// The folder that the log lies in.
pub trait Files: fmt::Debug + Send {
    /// The names of all files in it, in any order; those of others among them.
    fn names(&self) -> io::Result<Vec<String>>;

    /// Opens a file that is there.
    fn open(&self, name: &str) -> io::Result<Box<dyn LogFile>>;

    /// Makes an empty file, in the place of one that may be there.
    fn create(&self, name: &str) -> io::Result<Box<dyn LogFile>>;

    /// Gives a file another name. A file that was opened under the old one must be opened again.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes durable which names there are.
    fn sync_names(&self) -> io::Result<()>;
}

/// One open file. A write may be lost or torn until [`LogFile::sync`] has returned.
pub trait LogFile: fmt::Debug + Send {
    /// How long it is.
    fn bytes(&self) -> io::Result<u64>;

    /// Fills `into` with what is at `offset`; it is an error if there is less.
    fn read(&self, offset: u64, into: &mut [u8]) -> io::Result<()>;

    /// Writes at `offset`. The file grows where it is too short.
    fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Makes what was written durable.
    fn sync(&mut self) -> io::Result<()>;
}

/// A folder of the machine.
#[derive(Debug)]
pub(in crate::storage) struct FolderFiles(PathBuf);

impl FolderFiles {
    pub fn new(folder: &Path) -> FolderFiles {
        FolderFiles(folder.to_owned())
    }
}

impl Files for FolderFiles {
    fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.0)? {
            // No name of ours is anything but ASCII.
            names.extend(entry?.file_name().into_string());
        }
        Ok(names)
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn LogFile>> {
        let file = folder::private().read(true).write(true).open(self.0.join(name))?;
        Ok(Box::new(RealFile(file)))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn LogFile>> {
        let mut how = folder::private();
        let file = how.read(true).write(true).create(true).truncate(true).open(self.0.join(name))?;
        Ok(Box::new(RealFile(file)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.0.join(from), self.0.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.0.join(name))
    }

    fn sync_names(&self) -> io::Result<()> {
        folder::sync_folder(&self.0)
    }
}

#[derive(Debug)]
struct RealFile(File);

impl LogFile for RealFile {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let mut file = &self.0;
        file.seek(SeekFrom::Start(offset))?;
        file.read_exact(into)
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.seek(SeekFrom::Start(offset))?;
        self.0.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        // The files do not grow, so their content is all that has to reach the disk.
        self.0.sync_data()
    }
}
