//! Answers to requests that move files.

use serde::{Deserialize, Serialize};

use crate::protocol::{
    checked::base64_text,
    file::{FILE_CHUNK_BYTES, FileId, FileInfo},
};

/// The answer to requests about an upload that goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receiving {
    /// Most bytes of the next chunk.
    #[serde(default = "most_chunk_bytes")]
    pub chunk_bytes: u64,
    pub file_id: FileId,
    /// How many bytes of it have arrived.
    #[serde(default)]
    pub received: u64,
}

fn most_chunk_bytes() -> u64 {
    FILE_CHUNK_BYTES as u64
}

/// The answer to `file_end`: a whole file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileDone {
    /// What the uploader says it is.
    pub content_type: String,
    pub file_id: FileId,
    /// Its name, as the uploader gave it.
    pub name: String,
    /// SHA-256 of its content, in hexadecimal digits.
    pub sha256: String,
    /// Its size in bytes.
    pub size: u64,
}

impl From<FileInfo> for FileDone {
    fn from(file: FileInfo) -> FileDone {
        let FileInfo { file_id, name, size, sha256, content_type } = file;
        FileDone { content_type, file_id, name, sha256, size }
    }
}

impl From<FileDone> for FileInfo {
    fn from(file: FileDone) -> FileInfo {
        let FileDone { content_type, file_id, name, sha256, size } = file;
        FileInfo { file_id, name, size, sha256, content_type }
    }
}

/// The answer to `file_read`: a piece of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilePiece {
    #[serde(with = "base64_text")]
    pub bytes: Vec<u8>,
    /// What the uploader says the file is.
    pub content_type: String,
    pub file_id: FileId,
    /// Its name, as the uploader gave it.
    pub name: String,
    /// The place in the file at which the piece begins.
    pub offset: u64,
    /// SHA-256 of the whole content, in hexadecimal digits.
    pub sha256: String,
    /// The size of the whole file in bytes.
    pub size: u64,
}

impl FilePiece {
    pub fn new(file: &FileInfo, offset: u64, bytes: Vec<u8>) -> FilePiece {
        let FileInfo { file_id, name, size, sha256, content_type } = file.clone();
        FilePiece { bytes, content_type, file_id, name, offset, sha256, size }
    }

    /// The place in the file at which it ends.
    pub fn end(&self) -> u64 {
        self.offset + self.bytes.len() as u64
    }

    pub fn file(&self) -> FileInfo {
        FileInfo {
            file_id: self.file_id,
            name: self.name.clone(),
            size: self.size,
            sha256: self.sha256.clone(),
            content_type: self.content_type.clone(),
        }
    }
}
