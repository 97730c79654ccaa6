//! Requests that move files, a chunk at a time.

use serde::{Deserialize, Serialize};

use super::Destination;
use crate::protocol::{
    checked::{ChunkBytes, ContentType, Digest, FileName},
    file::FileId,
    name::{RoomName, UserName},
};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "BeginFields", into = "BeginFields")]
pub struct FileBegin {
    /// The room in which it will be posted, or the user it is for.
    pub to: Destination,
    pub name: FileName,
    /// The file's size in bytes.
    pub size: u64,
    /// `application/octet-stream` if it is left out.
    pub content_type: Option<ContentType>,
}

#[derive(Serialize, Deserialize)]
struct BeginFields {
    room: Option<RoomName>,
    to: Option<UserName>,
    name: FileName,
    size: u64,
    content_type: Option<ContentType>,
}

impl TryFrom<BeginFields> for FileBegin {
    type Error = &'static str;

    fn try_from(fields: BeginFields) -> Result<FileBegin, &'static str> {
        let BeginFields { room, to, name, size, content_type } = fields;
        Ok(FileBegin { to: Destination::new(room, to)?, name, size, content_type })
    }
}

impl From<FileBegin> for BeginFields {
    fn from(FileBegin { to, name, size, content_type }: FileBegin) -> BeginFields {
        let (room, to) = to.into_fields();
        BeginFields { room, to, name, size, content_type }
    }
}

/// Some bytes of an upload.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FileChunk {
    pub file_id: FileId,
    /// The place of the bytes in the file.
    pub offset: u64,
    pub bytes: ChunkBytes,
}

/// Ends an upload: from now on the file can be read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FileEnd {
    pub file_id: FileId,
    /// SHA-256 of the whole content.
    pub sha256: Digest,
}

/// Reads a piece of a file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FileRead {
    pub file_id: FileId,
    /// A multiple of the size of a chunk.
    #[serde(default)]
    pub offset: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileDelete {
    pub file_id: FileId,
}
