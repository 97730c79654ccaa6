//! A folder in memory that forgets nothing: what the memory twin has its log in.

use std::{collections::BTreeMap, io, sync::Arc};

use parking_lot::Mutex;

use super::files::{Files, LogFile};

/// Files by name. A copy costs no more than their number until one of the two is written to.
pub(in crate::storage) type Contents = BTreeMap<String, Arc<Vec<u8>>>;

/// A folder in memory. Clones are the same folder.
#[derive(Debug, Clone, Default)]
pub(in crate::storage) struct MemoryFiles(Arc<Mutex<Contents>>);

impl MemoryFiles {
    /// A copy of what is in it.
    pub fn contents(&self) -> Contents {
        self.0.lock().clone()
    }

    /// Puts a copy in the place of what is in it.
    pub fn restore(&self, contents: Contents) {
        *self.0.lock() = contents;
    }

    /// Flips a bit of what is written in one of the files, both counted around; what is still zero is left
    /// alone. Returns whether there was something.
    pub fn flip(&self, nth: u64, bit: u64) -> bool {
        let mut files = self.0.lock();
        let count = files.len() as u64;
        let Some(place) = nth.checked_rem(count) else { return false };
        let content = Arc::make_mut(files.values_mut().nth(place as usize).expect("it is below a length"));
        let written = content.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        match (bit / 8).checked_rem(written as u64) {
            Some(byte) => content[byte as usize] ^= 1 << (bit % 8),
            None => return false,
        }
        true
    }
}

fn missing(name: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("there is no {name}"))
}

impl Files for MemoryFiles {
    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.0.lock().keys().cloned().collect())
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn LogFile>> {
        if !self.0.lock().contains_key(name) {
            return Err(missing(name));
        }
        Ok(Box::new(MemoryFile { files: self.clone(), name: name.to_owned() }))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn LogFile>> {
        self.0.lock().insert(name.to_owned(), Arc::default());
        self.open(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut files = self.0.lock();
        let content = files.remove(from).ok_or_else(|| missing(from))?;
        files.insert(to.to_owned(), content);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.lock().remove(name).map(drop).ok_or_else(|| missing(name))
    }

    fn sync_names(&self) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Debug)]
struct MemoryFile {
    files: MemoryFiles,
    name: String,
}

impl LogFile for MemoryFile {
    fn bytes(&self) -> io::Result<u64> {
        let files = self.files.0.lock();
        files.get(&self.name).map(|content| content.len() as u64).ok_or_else(|| missing(&self.name))
    }

    fn read(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let files = self.files.0.lock();
        let content = files.get(&self.name).ok_or_else(|| missing(&self.name))?;
        let offset = offset as usize;
        let found = content.get(offset..offset + into.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        into.copy_from_slice(found);
        Ok(())
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut files = self.files.0.lock();
        let content = files.get_mut(&self.name).ok_or_else(|| missing(&self.name))?;
        let content = Arc::make_mut(content);
        let (begin, end) = (offset as usize, offset as usize + bytes.len());
        if content.len() < end {
            content.resize(end, 0);
        }
        content[begin..end].copy_from_slice(bytes);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
}
