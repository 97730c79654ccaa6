//! Snapshots on a link: cut into chunks at one end, put together and checked at the other.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Read, Seek, Write},
    path::PathBuf,
};

use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::{
    disk::StorageError,
    protocol::peer::{PeerMessage, SnapshotHead},
    server::machine::mailbox::Sender,
};

/// Bytes of one chunk: consensus messages never wait behind more than one.
const CHUNK_BYTES: usize = 128 * 1024;
/// Largest snapshot that is accepted: more would be a broken peer, and would fill the disk.
pub const SNAPSHOT_BYTES_MAX: u64 = 1 << 40;

/// Why a snapshot was not sent.
#[derive(Debug, Error)]
pub enum SendError {
    /// There is no link to its receiver.
    #[error("there is no link")]
    NoLink,
    /// The link was lost before the end.
    #[error("the link was lost")]
    LinkLost,
    /// The database cannot be read.
    #[error(transparent)]
    Disk(#[from] StorageError),
    /// The snapshot cannot be read to its end.
    #[error("reading the snapshot failed: {0}")]
    Reading(#[source] io::Error),
}

impl SendError {
    /// What is wrong with the disk, if that is why.
    pub fn of_disk(&self) -> Option<StorageError> {
        match self {
            SendError::Disk(error) => Some(error.clone()),
            SendError::Reading(error) => error.get_ref()?.downcast_ref().cloned(),
            SendError::NoLink | SendError::LinkLost => None,
        }
    }
}

/// Why a snapshot that came is thrown away.
#[derive(Debug, Error)]
pub enum AssemblyError {
    /// It cannot be kept until it is whole.
    #[error("{} cannot be written: {source}", path.display())]
    Unwritable {
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A part came, and no beginning before it.
    #[error("{0} came without a beginning")]
    NoBeginning(&'static str),
    /// A part is missing.
    #[error("a chunk of offset {came} came where {due} was due")]
    Gap {
        /// The offset that the chunk has.
        came: u64,
        /// The offset that the next chunk should have.
        due: u64,
    },
    /// It would fill the disk.
    #[error("it is larger than {SNAPSHOT_BYTES_MAX} bytes")]
    TooLarge,
    /// It is not what was sent.
    #[error("its checksum is wrong")]
    Checksum,
}

/// Sends a snapshot as messages into `queue`, whose bound holds back the reading. Gives its length.
pub fn send(
    head: SnapshotHead,
    mut content: impl Read,
    queue: &Sender<PeerMessage>,
) -> Result<u64, SendError> {
    let gone = |_: PeerMessage| SendError::LinkLost;
    queue.send(PeerMessage::SnapshotBegin(head)).map_err(gone)?;
    let mut hash = Sha256::new();
    let mut offset = 0;
    loop {
        let mut bytes = Vec::with_capacity(CHUNK_BYTES);
        let read = content.by_ref().take(CHUNK_BYTES as u64).read_to_end(&mut bytes);
        let length = read.map_err(SendError::Reading)?;
        if length == 0 {
            break;
        }
        hash.update(&bytes);
        queue.send(PeerMessage::SnapshotChunk { offset, bytes }).map_err(gone)?;
        offset += length as u64;
    }
    queue.send(PeerMessage::SnapshotEnd { sha256: hash.finalize().into() }).map_err(gone)?;
    Ok(offset)
}

/// Puts the snapshots of one link together, in a file.
pub struct Assembly {
    path: PathBuf,
    current: Option<Partial>,
}

struct Partial {
    head: SnapshotHead,
    file: BufWriter<File>,
    bytes: u64,
    hash: Sha256,
}

impl Assembly {
    /// `path` is the file for an incomplete snapshot; each link has its own.
    pub fn new(path: PathBuf) -> Self {
        Assembly { path, current: None }
    }

    /// A snapshot begins. What there was of an earlier one is thrown away.
    pub fn begin(&mut self, head: SnapshotHead) -> Result<(), AssemblyError> {
        self.current = None;
        // The folder may have been set aside since the link came up.
        let made = self.path.parent().map_or(Ok(()), fs::create_dir_all);
        let file = made.and_then(|()| {
            File::options().create(true).read(true).write(true).truncate(true).open(&self.path)
        });
        let file = file.map_err(|source| self.unwritable(source))?;
        self.current = Some(Partial { head, file: BufWriter::new(file), bytes: 0, hash: Sha256::new() });
        Ok(())
    }

    fn unwritable(&self, source: io::Error) -> AssemblyError {
        AssemblyError::Unwritable { path: self.path.clone(), source }
    }

    /// Some bytes. An error throws the snapshot away.
    pub fn chunk(&mut self, offset: u64, bytes: &[u8]) -> Result<(), AssemblyError> {
        let mut partial = self.current.take().ok_or(AssemblyError::NoBeginning("a chunk"))?;
        if offset != partial.bytes {
            return Err(AssemblyError::Gap { came: offset, due: partial.bytes });
        }
        if offset + bytes.len() as u64 > SNAPSHOT_BYTES_MAX {
            return Err(AssemblyError::TooLarge);
        }
        partial.file.write_all(bytes).map_err(|source| self.unwritable(source))?;
        partial.bytes += bytes.len() as u64;
        partial.hash.update(bytes);
        self.current = Some(partial);
        Ok(())
    }

    /// The snapshot is complete: gives it back for reading, if its checksum is right.
    pub fn end(&mut self, sha256: [u8; 32]) -> Result<(SnapshotHead, File), AssemblyError> {
        let partial = self.current.take().ok_or(AssemblyError::NoBeginning("an end"))?;
        if <[u8; 32]>::from(partial.hash.finalize()) != sha256 {
            return Err(AssemblyError::Checksum);
        }
        let rewound =
            partial.file.into_inner().map_err(io::IntoInnerError::into_error).and_then(|mut file| {
                file.rewind()?;
                Ok(file)
            });
        let file = rewound.map_err(|source| self.unwritable(source))?;
        // It is read by its handle. If the system does not allow this, the next one overwrites it.
        let _ = fs::remove_file(&self.path);
        Ok((partial.head, file))
    }
}

impl Drop for Assembly {
    fn drop(&mut self) {
        if self.current.take().is_some() {
            // If it stays, it only takes up space until the next one overwrites it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        protocol::{peer::ConfState, rules::RulesVersion},
        server::machine::mailbox::{Bell, mailbox},
    };

    fn head() -> SnapshotHead {
        SnapshotHead {
            cluster_id: 1,
            term: 2,
            index: 3,
            index_term: 2,
            conf: ConfState::default(),
            rules: RulesVersion::FIRST,
        }
    }

    fn assemble(
        messages: impl IntoIterator<Item = PeerMessage>,
    ) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir().unwrap();
        let mut assembly = Assembly::new(folder.path().join("snapshot.part"));
        for message in messages {
            match message {
                PeerMessage::SnapshotBegin(head) => assembly.begin(head)?,
                PeerMessage::SnapshotChunk { offset, bytes } => assembly.chunk(offset, &bytes)?,
                PeerMessage::SnapshotEnd { sha256 } => {
                    let (got, mut file) = assembly.end(sha256)?;
                    assert_eq!(got, head());
                    let mut content = Vec::new();
                    file.read_to_end(&mut content).unwrap();
                    return Ok(content);
                }
                other => panic!("{other:?}"),
            }
        }
        Err("no end".into())
    }

    fn messages(content: &[u8]) -> Vec<PeerMessage> {
        let (sender, receiver) = mailbox(100, &Bell::default());
        assert_eq!(send(head(), content, &sender).unwrap(), content.len() as u64);
        drop(sender);
        std::iter::from_fn(|| receiver.receive()).collect()
    }

    #[test]
    fn a_snapshot_arrives_as_it_was() {
        for size in [0, 1, CHUNK_BYTES, 3 * CHUNK_BYTES + 5] {
            let content: Vec<u8> = (0..size).map(|place| place as u8).collect();
            assert_eq!(assemble(messages(&content)).unwrap(), content);
        }
    }

    #[test]
    fn a_snapshot_with_a_chunk_lost_doubled_or_changed_is_refused() {
        let good = messages(&vec![5; 3 * CHUNK_BYTES]);
        let without = |place: usize| good.iter().enumerate().filter(move |(at, _)| *at != place);
        for place in 0..good.len() {
            let lost: Vec<_> = without(place).map(|(_, message)| message.clone()).collect();
            assemble(lost).unwrap_err();
        }
        let mut doubled = good.clone();
        doubled.insert(1, good[1].clone());
        assemble(doubled).unwrap_err();
        let mut changed = good.clone();
        if let PeerMessage::SnapshotChunk { bytes, .. } = &mut changed[2] {
            bytes[9] ^= 1;
        }
        assert!(assemble(changed).unwrap_err().to_string().contains("checksum"));
    }

    #[test]
    fn a_lost_link_ends_the_sending() {
        let (sender, receiver) = mailbox(1, &Bell::default());
        drop(receiver);
        assert!(matches!(send(head(), &[1u8; 10][..], &sender), Err(SendError::LinkLost)));
    }
}
