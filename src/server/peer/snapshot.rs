//! Snapshots on a link: cut into chunks at one end, put together and checked at the other.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Read, Seek, Write},
    path::PathBuf,
};

use sha2::{Digest, Sha256};

use crate::{
    protocol::peer::{PeerMessage, SnapshotHead},
    server::mailbox::Sender,
};

/// Bytes of one chunk: consensus messages never wait behind more than one.
const CHUNK_BYTES: usize = 128 * 1024;
/// Largest snapshot that is accepted: more would be a broken peer, and would fill the disk.
pub const SNAPSHOT_BYTES_MAX: u64 = 1 << 40;

/// Sends a snapshot as messages into `queue`, whose bound holds back the reading. The error is one sentence.
pub fn send(head: SnapshotHead, mut content: impl Read, queue: &Sender<PeerMessage>) -> Result<u64, String> {
    let gone = |_: PeerMessage| "the link was lost".to_owned();
    queue.send(PeerMessage::SnapshotBegin(head)).map_err(gone)?;
    let mut hash = Sha256::new();
    let mut offset = 0;
    loop {
        let mut bytes = Vec::with_capacity(CHUNK_BYTES);
        let read = content.by_ref().take(CHUNK_BYTES as u64).read_to_end(&mut bytes);
        let length = read.map_err(|error| format!("reading the snapshot failed: {error}"))?;
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
    /// `path` is where an incomplete snapshot is kept; each link has its own.
    pub fn new(path: PathBuf) -> Self {
        Assembly { path, current: None }
    }

    /// A snapshot begins. What there was of an earlier one is thrown away.
    pub fn begin(&mut self, head: SnapshotHead) -> Result<(), String> {
        self.current = None;
        // The folder may have been set aside since the link came up.
        let made = self.path.parent().map_or(Ok(()), fs::create_dir_all);
        let file = made.and_then(|()| {
            File::options().create(true).read(true).write(true).truncate(true).open(&self.path)
        });
        let file = file.map_err(|error| format!("{} cannot be written: {error}", self.path.display()))?;
        self.current = Some(Partial { head, file: BufWriter::new(file), bytes: 0, hash: Sha256::new() });
        Ok(())
    }

    /// Some bytes. An error throws the snapshot away.
    pub fn chunk(&mut self, offset: u64, bytes: &[u8]) -> Result<(), String> {
        let mut partial = self.current.take().ok_or("a chunk came without a beginning")?;
        if offset != partial.bytes {
            return Err(format!("a chunk of offset {offset} came where {} was due", partial.bytes));
        }
        if offset + bytes.len() as u64 > SNAPSHOT_BYTES_MAX {
            return Err(format!("it is larger than {SNAPSHOT_BYTES_MAX} bytes"));
        }
        partial
            .file
            .write_all(bytes)
            .map_err(|error| format!("{} cannot be written: {error}", self.path.display()))?;
        partial.bytes += bytes.len() as u64;
        partial.hash.update(bytes);
        self.current = Some(partial);
        Ok(())
    }

    /// It is complete: gives it back for reading, where its checksum is right.
    pub fn end(&mut self, sha256: [u8; 32]) -> Result<(SnapshotHead, File), String> {
        let partial = self.current.take().ok_or("an end came without a beginning")?;
        if <[u8; 32]>::from(partial.hash.finalize()) != sha256 {
            return Err("its checksum is wrong".into());
        }
        let rewound =
            partial.file.into_inner().map_err(io::IntoInnerError::into_error).and_then(|mut file| {
                file.rewind()?;
                Ok(file)
            });
        let file = rewound.map_err(|error| format!("{} cannot be written: {error}", self.path.display()))?;
        // It is read by its handle. Where the system does not allow this, the next one overwrites it.
        let _ = fs::remove_file(&self.path);
        Ok((partial.head, file))
    }
}

impl Drop for Assembly {
    fn drop(&mut self) {
        if self.current.take().is_some() {
            // Left behind it would only take up space until the next one overwrites it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        protocol::peer::ConfState,
        server::mailbox::{Bell, mailbox},
    };

    fn head() -> SnapshotHead {
        SnapshotHead { cluster_id: 1, term: 2, index: 3, index_term: 2, conf: ConfState::default() }
    }

    fn assemble(messages: impl IntoIterator<Item = PeerMessage>) -> Result<Vec<u8>, String> {
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
        assert!(assemble(changed).unwrap_err().contains("checksum"));
    }

    #[test]
    fn a_lost_link_ends_the_sending() {
        let (sender, receiver) = mailbox(1, &Bell::default());
        drop(receiver);
        assert!(send(head(), &[1u8; 10][..], &sender).unwrap_err().contains("link"));
    }
}
