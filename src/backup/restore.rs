//! A data folder made of a backup.

use std::{
    io::{self, Read},
    path::Path,
};

use sha2::{Digest, Sha256};
use thiserror::Error;

use super::file::{Backup, BackupHead, ReadError};
use crate::{
    chat::{State, StateError},
    disk::{FileId, Reader, Row, Storage, StorageError},
    protocol::{name::ServerId, peer::NodeId},
    storage::{OpenError, SqliteStorage},
};

/// The first byte of the chat state's rows. Those below are the replica's, and are about the old servers.
pub(super) const CHAT_ROWS: u8 = 16;

/// Why there is no restored folder.
#[derive(Debug, Error)]
pub enum RestoreError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("{0}")]
    Folder(#[from] OpenError),
    #[error("what was restored: {0}")]
    Storage(#[from] StorageError),
    #[error("what was restored is no state of a chat: {0}")]
    State(#[from] StateError),
    #[error("the file {0} is not whole")]
    File(FileId),
    #[error("the system gives no random numbers: {0}")]
    Chance(getrandom::Error),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    pub head: BackupHead,
    pub rooms: usize,
    pub users: usize,
    pub messages: u64,
    pub files: usize,
}

/// Makes the data folder of `server_id` from a backup, all of it or nothing. The folder must have no data.
/// The server belongs to no cluster until it meets the others of its configuration, restored from the same
/// backup.
///
/// # Errors
/// The backup or the folder cannot be used.
pub fn restore(source: impl Read, dir: &Path, server_id: &ServerId) -> Result<Restored, RestoreError> {
    let mut backup = Backup::open(source)?;
    let head = backup.head().clone();
    let mut storage = SqliteStorage::open(dir, server_id, fresh_node_id().map_err(RestoreError::Chance)?)?;
    storage
        .restore(&head.snapshot, &mut backup, &mut |rows| Ok(renewed(rows)?))
        .map_err(|error| RestoreError::Read(error.into()))?;
    look_over(&storage, head)
}

/// Restores a backup into a folder that is removed again, and checks everything in it.
///
/// # Errors
/// As for [`restore`].
pub fn verify(source: impl Read, beside: &Path) -> Result<Restored, RestoreError> {
    let folder = tempfile::Builder::new().prefix(".verifying-").tempdir_in(beside);
    let folder = folder.map_err(|error| RestoreError::Read(error.into()))?;
    let server_id = ServerId::new("verifying").expect("a word is a server's id");
    restore(source, folder.path(), &server_id)
}

/// The rows that differ in a new cluster: it has other servers, and its data begins a new epoch.
fn renewed(rows: Vec<(Vec<u8>, Vec<u8>)>) -> Result<Vec<Row>, StateError> {
    let is_chat = |key: &[u8]| key.first().is_some_and(|table| *table >= CHAT_ROWS);
    let (chat, replica): (Vec<_>, Vec<_>) = rows.into_iter().partition(|(key, _)| is_chat(key));
    let mut state = State::load(chat)?;
    let gone = replica.into_iter().map(|(key, _)| Row { key, value: None });
    Ok(gone.chain(state.begin_epoch()).collect())
}

/// Reads back what was restored, and checks every row, event and file of it.
pub(super) fn look_over(storage: &SqliteStorage, head: BackupHead) -> Result<Restored, RestoreError> {
    storage.check_history()?;
    let loaded = storage.load()?;
    let state = State::load(loaded.rows)?;
    let reader = storage.reader()?;
    let mut files = 0;
    for (id, file) in state.files() {
        let Some(sha256) = file.sha256 else { continue };
        files += 1;
        let mut hash = Sha256::new();
        let (mut size, mut number) = (0, 0);
        while size < file.size
            && let Some(piece) = reader.chunk(id, number)?
            && !piece.is_empty()
        {
            hash.update(&piece);
            size += piece.len() as u64;
            number += 1;
        }
        if size != file.size || <[u8; 32]>::from(hash.finalize()) != sha256 {
            return Err(RestoreError::File(id));
        }
    }
    Ok(Restored {
        head,
        rooms: state.room_count(),
        users: state.user_count(),
        messages: state.messages(),
        files,
    })
}

pub(super) fn fresh_node_id() -> Result<NodeId, getrandom::Error> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes)?;
    Ok(NodeId(u64::from_le_bytes(bytes).max(1)))
}

impl From<io::Error> for RestoreError {
    fn from(error: io::Error) -> Self {
        RestoreError::Read(error.into())
    }
}
