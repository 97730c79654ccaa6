//! Files: what is known of each. Their bytes never enter this state; they are kept beside it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::user::UserId;
use crate::{
    protocol::{
        file::{FileId, FileInfo},
        hex,
    },
    replica::storage::RoomId,
};

/// Uploads that one user may have begun and not ended: a further one ends the oldest.
pub const UPLOADS_PER_USER: usize = 4;
/// How long nothing of an upload may come before the cluster gives it up.
pub const UPLOAD_IDLE_MS: u64 = 24 * 60 * 60 * 1_000;
/// Messages that may show one file.
pub const MESSAGES_PER_FILE: usize = 1_000;

/// A file, whole or on its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// Who uploads it.
    pub uploader: UserId,
    /// The log entry that began it.
    pub begun: u64,
    /// Its name.
    pub name: String,
    /// What the uploader says it is.
    pub content_type: String,
    /// Its size in bytes.
    pub size: u64,
    /// How many of them have arrived.
    pub received: u64,
    /// SHA-256 of its content; `None` while it is on its way.
    pub sha256: Option<[u8; 32]>,
    /// The rooms in which it may be read, and the messages of each that show it.
    pub posted: BTreeMap<RoomId, BTreeSet<u64>>,
}

impl File {
    /// In how many messages it is shown.
    pub fn shown_in(&self) -> usize {
        self.posted.values().map(BTreeSet::len).sum()
    }

    /// What readers are told of it; `None` while it is on its way.
    pub fn info(&self, id: FileId) -> Option<FileInfo> {
        Some(FileInfo {
            file_id: id,
            name: self.name.clone(),
            size: self.size,
            sha256: hex::encode(&self.sha256?),
            content_type: self.content_type.clone(),
        })
    }
}
