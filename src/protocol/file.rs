//! Files: their ids, and what is told of one.

use std::fmt;

use data_encoding::HEXLOWER;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// Most bytes of a file in one request, one log entry and one answer. As base64 in a JSON line it stays well
/// below the limit of a line.
pub const FILE_CHUNK_BYTES: usize = 32 * 1024;
/// Longest file name, in bytes of UTF-8.
pub const FILE_NAME_BYTES: usize = 255;
/// Longest content type, in bytes.
pub const CONTENT_TYPE_BYTES: usize = 100;

/// A file's id: 128 random bits, drawn by the server that took the upload. 32 lower-case hexadecimal digits
/// in JSON, bytes in the log and in rows of state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileId(pub [u8; 16]);

impl FileId {
    /// Reads 32 lower-case hexadecimal digits; `None` if `text` is anything else.
    pub fn parse(text: &str) -> Option<FileId> {
        HEXLOWER.decode(text.as_bytes()).ok()?.try_into().ok().map(FileId)
    }
}

impl fmt::Display for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl Serialize for FileId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match serializer.is_human_readable() {
            true => serializer.collect_str(self),
            false => self.0.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for FileId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<FileId, D::Error> {
        if !deserializer.is_human_readable() {
            return <[u8; 16]>::deserialize(deserializer).map(FileId);
        }
        let text = String::deserialize(deserializer)?;
        FileId::parse(&text).ok_or_else(|| D::Error::custom("must be 32 lower-case hexadecimal digits"))
    }
}

/// What a user who may read a file is told of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileInfo {
    pub file_id: FileId,
    /// Its name, as the uploader gave it.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
    /// SHA-256 of its content, in hexadecimal digits.
    pub sha256: String,
    /// What the uploader says it is.
    pub content_type: String,
}

/// What begins an upload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewFile {
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
    /// What the uploader says it is.
    pub content_type: String,
}

/// Whether `name` may be a file's name: not empty, not too long, no control character, and no path to another
/// folder, so that it is safe to save a file under it.
pub fn is_file_name(name: &str) -> bool {
    (1..=FILE_NAME_BYTES).contains(&name.len())
        && !name.chars().any(|c| c.is_control() || matches!(c, '/' | '\\'))
        && !matches!(name, "." | "..")
}

/// Whether `text` is a content type, `type/subtype` with optional parameters, of printable ASCII.
pub fn is_content_type(text: &str) -> bool {
    let is_token = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b))
    };
    let essence = text.split(';').next().unwrap_or_default().trim_end();
    text.len() <= CONTENT_TYPE_BYTES
        && text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
        && essence.split_once('/').is_some_and(|(kind, subtype)| is_token(kind) && is_token(subtype))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_written_as_they_are_read() {
        let id = FileId([7; 16]);
        assert_eq!(FileId::parse(&id.to_string()), Some(id));
        for bad in ["", "07", &"0".repeat(31), &"0".repeat(33), &"G".repeat(32), &"A".repeat(32)] {
            assert_eq!(FileId::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn names_lead_nowhere() {
        for good in ["a", "report 2026.pdf", "…", ".hidden", &"x".repeat(255)] {
            assert!(is_file_name(good), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "..\\x", "a\nb", "a\0", "\u{85}", &"x".repeat(256)] {
            assert!(!is_file_name(bad), "{bad:?}");
        }
        assert!(is_content_type("text/plain; charset=utf-8") && is_content_type("image/svg+xml"));
        for bad in ["", "text", "/x", "text/", "text/pl ain", "te\nxt/plain", "a/b\r\nX: y"] {
            assert!(!is_content_type(bad), "{bad:?}");
        }
    }
}
