//! The format of a backup.
//!
//! ```text
//! backup = "SNBACKUP" version:u16 length:u32 head  snapshot  sha256:32       numbers little-endian
//! ```
//! `head` is the postcard of [`BackupHead`]; `sha256` is of all before it.

use std::io::{self, Read};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::{
    disk::InstallError,
    protocol::{binary, name::ServerId, peer::SnapshotHead},
    storage::snapshot::{self, Contents},
};

const MAGIC: &[u8; 8] = b"SNBACKUP";
/// The version of the format; any other one is refused.
const VERSION: u16 = 1;
/// No head is longer.
const HEAD_BYTES_MAX: usize = 64 * 1024;
const SHA256_BYTES: usize = 32;
const PIECE_BYTES: usize = 64 * 1024;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupHead {
    /// When it was begun, milliseconds since the Unix epoch.
    pub made_at_ms: u64,
    pub cluster_name: String,
    /// The server that made it.
    pub server_id: ServerId,
    /// The version of its program.
    pub program: String,
    /// The state that it holds.
    pub snapshot: SnapshotHead,
}

/// Why an encrypted backup stays closed.
#[derive(Debug, Error)]
pub enum LockedError {
    #[error("it is encrypted, and no identity was named")]
    NoIdentity,
    #[error("it is encrypted, and none of these identities opens it")]
    OtherIdentity,
    #[error("it is encrypted with a passphrase")]
    Passphrase,
}

/// Why a backup cannot be used.
#[derive(Debug, Error)]
pub enum ReadError {
    #[error("it cannot be read to its end: {0}")]
    Io(#[from] io::Error),
    #[error("this is no backup")]
    NoBackup,
    #[error("it has format {0}; this program reads {VERSION}")]
    Version(u16),
    #[error(transparent)]
    Locked(#[from] LockedError),
    #[error("its head does not decode")]
    Head,
    #[error("{0}")]
    Content(String),
}

impl From<InstallError> for ReadError {
    fn from(error: InstallError) -> ReadError {
        match error {
            InstallError::Unreadable(why) => ReadError::Content(why),
            InstallError::Storage(error) => ReadError::Content(error.to_string()),
        }
    }
}

/// A reader of the bytes of a backup that is being made.
pub struct Sealing<R> {
    begin: io::Cursor<Vec<u8>>,
    content: R,
    hash: Option<Sha256>,
    end: io::Cursor<Vec<u8>>,
}

impl<R: Read> Sealing<R> {
    /// The snapshot that `head` is of.
    pub fn new(head: &BackupHead, content: R) -> Sealing<R> {
        let encoded = postcard::to_stdvec(head).expect("plain data always encodes");
        let length = u32::try_from(encoded.len()).expect("names are a few bytes");
        let begin = [&MAGIC[..], &VERSION.to_le_bytes(), &length.to_le_bytes(), &encoded].concat();
        let end = io::Cursor::default();
        Sealing { begin: io::Cursor::new(begin), content, hash: Some(Sha256::new()), end }
    }
}

impl<R: Read> Read for Sealing<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut count = self.begin.read(into)?;
        if count == 0 {
            count = self.content.read(into)?;
        }
        match &mut self.hash {
            Some(hash) if count > 0 => {
                hash.update(&into[..count]);
                return Ok(count);
            }
            _ if into.is_empty() => return Ok(0),
            _ => {}
        }
        if let Some(hash) = self.hash.take() {
            self.end = io::Cursor::new(hash.finalize().to_vec());
        }
        self.end.read(into)
    }
}

/// A reader of the snapshot in a backup. At the snapshot's end the checksum is compared.
pub struct Backup<R> {
    head: BackupHead,
    source: R,
    hash: Sha256,
    /// Bytes that were read and not given on; the last ones may be the checksum.
    held: Vec<u8>,
    is_at_end: bool,
}

impl<R: Read> Backup<R> {
    /// Reads the head.
    ///
    /// # Errors
    /// It is no backup, or not one that this program reads.
    pub fn open(mut source: R) -> Result<Backup<R>, ReadError> {
        let mut fixed = [0; MAGIC.len() + 2 + 4];
        source.read_exact(&mut fixed).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => ReadError::NoBackup,
            _ => error.into(),
        })?;
        let (magic, numbers) = fixed.split_at(MAGIC.len());
        if magic != MAGIC {
            return Err(ReadError::NoBackup);
        }
        let version = u16::from_le_bytes([numbers[0], numbers[1]]);
        if version != VERSION {
            return Err(ReadError::Version(version));
        }
        let length = u32::from_le_bytes([numbers[2], numbers[3], numbers[4], numbers[5]]) as usize;
        if length > HEAD_BYTES_MAX {
            return Err(ReadError::Head);
        }
        let mut encoded = vec![0; length];
        source.read_exact(&mut encoded)?;
        let head = binary::decode(&encoded).map_err(|_| ReadError::Head)?;
        let mut hash = Sha256::new();
        hash.update(fixed);
        hash.update(&encoded);
        Ok(Backup { head, source, hash, held: Vec::new(), is_at_end: false })
    }

    pub fn head(&self) -> &BackupHead {
        &self.head
    }

    /// Reads it to its end, and checks all that can be checked without a database.
    ///
    /// # Errors
    /// It cannot be read, or is not as it was made.
    pub fn check(mut self) -> Result<Checked, ReadError> {
        let head = self.head.clone();
        let contents = snapshot::check(&head.snapshot, &mut self)?;
        Ok(Checked { head, contents })
    }
}

impl<R: Read> Read for Backup<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.held.len() <= SHA256_BYTES && !self.is_at_end {
            let before = self.held.len();
            self.held.resize(before + PIECE_BYTES, 0);
            let count = self.source.read(&mut self.held[before..]);
            self.held.truncate(before + *count.as_ref().unwrap_or(&0));
            if count? > 0 {
                continue;
            }
            self.is_at_end = true;
            if self.hash.clone().finalize().as_slice() != self.held {
                let cut = "the checksum at its end is missing or wrong";
                return Err(io::Error::new(io::ErrorKind::InvalidData, cut));
            }
        }
        let count = into.len().min(self.held.len().saturating_sub(SHA256_BYTES));
        into[..count].copy_from_slice(&self.held[..count]);
        self.hash.update(&into[..count]);
        self.held.drain(..count);
        Ok(count)
    }
}

/// What a backup was found to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    pub head: BackupHead,
    pub contents: Contents,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{peer::ConfState, rules::RulesVersion};

    fn head() -> BackupHead {
        BackupHead {
            made_at_ms: 1_763_677_200_000,
            cluster_name: "syncnet".into(),
            server_id: ServerId::new("server1").unwrap(),
            program: "5.0.0".into(),
            snapshot: SnapshotHead {
                cluster_id: 7,
                term: 0,
                index: 9,
                index_term: 2,
                conf: ConfState::default(),
                rules: RulesVersion::FIRST,
            },
        }
    }

    fn sealed(content: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        Sealing::new(&head(), content).read_to_end(&mut bytes).unwrap();
        bytes
    }

    fn opened(bytes: &[u8]) -> Result<Vec<u8>, ReadError> {
        let mut backup = Backup::open(bytes)?;
        assert_eq!(backup.head(), &head());
        let mut content = Vec::new();
        backup.read_to_end(&mut content)?;
        Ok(content)
    }

    #[test]
    fn what_is_sealed_is_read() {
        for length in [0, 1, 31, 32, 33, PIECE_BYTES, 200_000] {
            let content: Vec<u8> = (0..length).map(|number| number as u8).collect();
            assert_eq!(opened(&sealed(&content)).unwrap(), content);
        }
    }

    #[test]
    fn what_was_changed_or_cut_is_refused() {
        let good = sealed(b"some content");
        for cut in 0..good.len() {
            opened(&good[..cut]).unwrap_err();
        }
        opened(&[&good[..], b"x"].concat()).unwrap_err();
        for place in 0..good.len() {
            let mut bad = good.clone();
            bad[place] ^= 1;
            let wrong = Backup::open(&bad[..]).and_then(|mut backup| {
                let mut content = Vec::new();
                backup.read_to_end(&mut content)?;
                Ok(content)
            });
            wrong.unwrap_err();
        }
        assert!(matches!(Backup::open(&b"SQLite format 3\0"[..]), Err(ReadError::NoBackup)));
    }
}
