//! Files: what the state has of them. Their bytes are stored beside it.

use std::collections::{BTreeMap, BTreeSet};

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};

use super::user_id::UserId;
use crate::{
    disk::RoomId,
    protocol::file::{FileId, FileInfo},
};

/// A file, complete or being uploaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    pub uploader: UserId,
    /// The log entry that began it.
    pub begun: u64,
    pub name: String,
    /// What the uploader says it is.
    pub content_type: String,
    /// Its size in bytes.
    pub size: u64,
    /// How many of them have arrived.
    pub received: u64,
    /// SHA-256 of its content; `None` until the upload is complete.
    pub sha256: Option<[u8; 32]>,
    /// The rooms in which it may be read, and the messages of each that show it.
    pub posted: BTreeMap<RoomId, BTreeSet<u64>>,
}

impl File {
    /// The number of messages that show it.
    pub fn shown_in(&self) -> usize {
        self.posted.values().map(BTreeSet::len).sum()
    }

    /// What readers are told of it; `None` until the upload is complete.
    pub fn info(&self, id: FileId) -> Option<FileInfo> {
        Some(FileInfo {
            file_id: id,
            name: self.name.clone(),
            size: self.size,
            sha256: HEXLOWER.encode(&self.sha256?),
            content_type: self.content_type.clone(),
        })
    }
}
