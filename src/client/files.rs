//! Files on this machine's disk: read to be sent, and written when they are fetched.
//!
//! A fetched file is written under a temporary name, and gets its own name when its SHA-256 is right. A name
//! that the sender chose is made harmless first. No existing file is ever overwritten.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::{
    output_file::{Existing, OutputFile},
    protocol::{
        FileInfo, Refusal,
        checked::{ContentType, Digest, FileName},
        text::is_harmful,
    },
};

/// Longest name under which a file is saved, in bytes; some file systems allow no more.
const NAME_BYTES: usize = 200;

/// Errors with a file of this machine.
#[derive(Debug, Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// It is a folder, or something else without content to send.
    #[error("{} is no file", .0.display())]
    NoFile(PathBuf),
    /// Its name cannot be given to servers.
    #[error("{}", .0.reason)]
    Name(Refusal),
    /// It could be read when it was to be sent, and cannot now.
    #[error("the file cannot be read any more: {0}")]
    Lost(#[source] io::Error),
    /// It cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Unwritable {
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// Nothing is overwritten.
    #[error("{} exists already; name another place", .0.display())]
    Exists(PathBuf),
    /// The fetched content is not the posted one.
    #[error("what came is not what was posted (its SHA-256 differs)")]
    Differs,
}

/// A file that is to be sent, open for reading.
#[derive(Debug)]
pub struct Local {
    path: PathBuf,
    file: File,
    name: FileName,
}

/// A file that is to be sent, and what the servers are told of it before.
#[derive(Debug)]
pub struct Hashed {
    /// Open for reading.
    pub file: File,
    /// Its name, without its folders.
    pub name: FileName,
    /// Its size in bytes.
    pub size: u64,
    /// SHA-256 of its content.
    pub sha256: Digest,
    /// Its likely type, by the extension of its name.
    pub content_type: Option<ContentType>,
}

impl Local {
    /// Opens a file. It is not read yet, so this takes no time.
    ///
    /// # Errors
    /// It cannot be read, is no file, or has a name that servers do not take.
    pub fn open(path: &Path) -> Result<Local, FileError> {
        let unreadable = |source| FileError::Unreadable { path: path.to_owned(), source };
        // Asked before it is opened: a pipe without a writer would wait for one.
        if !path.metadata().map_err(unreadable)?.is_file() {
            return Err(FileError::NoFile(path.to_owned()));
        }
        let file = File::open(path).map_err(unreadable)?;
        let name = path.file_name().map(|name| safe_name(&name.to_string_lossy())).unwrap_or_default();
        let name = FileName::new(name).map_err(|invalid| FileError::Name(invalid.of("the file's name")))?;
        Ok(Local { path: path.to_owned(), file, name })
    }

    /// Reads the file once, for its hash: as long as the disk takes.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn hashed(mut self) -> Result<Hashed, FileError> {
        let mut hash = Sha256::new();
        let mut size = 0;
        let mut chunk = vec![0; 64 * 1024];
        loop {
            match self.file.read(&mut chunk) {
                Ok(0) => break,
                Ok(length) => {
                    hash.update(&chunk[..length]);
                    size += length as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(FileError::Unreadable { path: self.path, source }),
            }
        }
        let content_type = ContentType::new(content_type(self.name.as_str())).ok();
        let sha256 = Digest(hash.finalize().into());
        Ok(Hashed { file: self.file, name: self.name, size, sha256, content_type })
    }
}

/// Reads a part of a file that is being sent.
///
/// # Errors
/// It cannot be read, or has become shorter.
pub fn read_part(file: &mut File, offset: u64, length: usize) -> Result<Vec<u8>, FileError> {
    let mut bytes = vec![0; length];
    let read = file.seek(SeekFrom::Start(offset)).and_then(|_| file.read_exact(&mut bytes));
    read.map(|()| bytes).map_err(FileError::Lost)
}

fn content_type(name: &str) -> &'static str {
    let ending = name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase()).unwrap_or_default();
    match ending.as_str() {
        "txt" | "log" => "text/plain",
        "md" => "text/markdown",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "pdf" => "application/pdf",
        "json" => "application/json",
        "zip" => "application/zip",
        _ => "application/octet-stream",
    }
}

/// A name without a path, without invisible letters, and without a special meaning on any usual system.
pub fn safe_name(name: &str) -> String {
    let is_odd = |c: char| {
        is_harmful(c)
            || matches!(c, '/' | '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|')
            // Invisible: two names would look the same.
            || matches!(c, '\u{200b}'..='\u{200d}' | '\u{2060}'..='\u{2065}')
    };
    let mut safe: String = name.chars().map(|c| if is_odd(c) { '_' } else { c }).collect();
    while safe.len() > NAME_BYTES {
        safe.pop();
    }
    let safe = safe.trim_end_matches([' ', '.']);
    let stem = safe.split('.').next().unwrap_or_default().to_ascii_uppercase();
    let is_device = matches!(stem.as_str(), "CON" | "PRN" | "AUX" | "NUL")
        || (stem.len() == 4
            && (stem.starts_with("COM") || stem.starts_with("LPT"))
            && stem.ends_with(|c: char| c.is_ascii_digit()));
    // Hidden files configure programs, and a name that begins with a hyphen is taken for an option.
    match safe.chars().next() {
        None => "file".into(),
        Some('.' | '-' | ' ') => format!("_{}", &safe[1..]),
        Some(_) if is_device => format!("_{safe}"),
        Some(_) => safe.to_owned(),
    }
}

/// A file that is being fetched.
#[derive(Debug)]
pub struct Saving {
    path: PathBuf,
    file: OutputFile,
    hash: Sha256,
}

impl Saving {
    /// Begins to save what is called `name` to `to`: a file that does not exist, a folder, or a device or
    /// pipe; without it, in the current folder.
    ///
    /// # Errors
    /// There is a file of that name, or it cannot be written.
    pub fn begin(to: Option<&Path>, name: &str) -> Result<Saving, FileError> {
        let path = match to {
            None => PathBuf::from(safe_name(name)),
            Some(folder) if folder.is_dir() => folder.join(safe_name(name)),
            Some(path) => path.to_owned(),
        };
        match OutputFile::create(&path, Existing::Keep, false) {
            Ok(file) => Ok(Saving { path, file, hash: Sha256::new() }),
            Err(source) => Err(unwritable(path, source)),
        }
    }

    /// Writes what comes next.
    ///
    /// # Errors
    /// The disk does not take it.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        self.hash.update(bytes);
        self.file.write_all(bytes).map_err(|source| unwritable(self.path.clone(), source))
    }

    /// Checks that it is what the servers say and gives it its name.
    ///
    /// # Errors
    /// It is something else, or there is a file of that name by now.
    pub fn end(self, info: &FileInfo) -> Result<PathBuf, FileError> {
        let Saving { path, file, hash } = self;
        if Digest(hash.finalize().into()).to_string() != info.sha256 {
            return Err(FileError::Differs);
        }
        match file.finish() {
            Ok(_) => Ok(path),
            Err(source) => Err(unwritable(path, source)),
        }
    }
}

fn unwritable(path: PathBuf, source: io::Error) -> FileError {
    match source.kind() {
        io::ErrorKind::AlreadyExists => FileError::Exists(path),
        _ => FileError::Unwritable { path, source },
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::protocol::FileId;

    #[test]
    fn names_from_outside_become_harmless() {
        for (name, safe) in [
            ("report 2026.pdf", "report 2026.pdf"),
            ("../../etc/passwd", "_._.._etc_passwd"),
            (".bashrc", "_bashrc"),
            ("-rf", "_rf"),
            ("..", "file"),
            ("", "file"),
            ("a\u{202e}gpj.exe", "a_gpj.exe"),
            ("c:\\x\n", "c__x_"),
            ("nul.txt", "_nul.txt"),
            ("COM1", "_COM1"),
            ("dots...", "dots"),
            ("grüße.txt", "grüße.txt"),
        ] {
            assert_eq!(safe_name(name), safe, "{name:?}");
        }
        assert!(safe_name(&"é".repeat(300)).len() <= NAME_BYTES);
    }

    fn info(content: &[u8]) -> FileInfo {
        FileInfo {
            file_id: FileId([1; 16]),
            name: "a.txt".into(),
            size: content.len() as u64,
            sha256: Digest(Sha256::digest(content).into()).to_string(),
            content_type: "text/plain".into(),
        }
    }

    #[test]
    fn a_file_is_saved_whole_and_checked_and_never_over_another() {
        let folder = tempfile::tempdir().unwrap();
        let mut saving = Saving::begin(Some(folder.path()), "../a.txt").unwrap();
        saving.write(b"hel").unwrap();
        saving.write(b"lo").unwrap();
        let path = saving.end(&info(b"hello")).unwrap();
        assert_eq!(path, folder.path().join("_._a.txt"));
        let local = Local::open(&path).unwrap().hashed().unwrap();
        assert_eq!((local.size, local.sha256.to_string()), (5, info(b"hello").sha256));
        assert!(Saving::begin(Some(&path), "x").unwrap_err().to_string().contains("exists already"));
        // Another program was faster.
        let mut saving = Saving::begin(Some(folder.path()), "b.txt").unwrap();
        fs::write(folder.path().join("b.txt"), "theirs").unwrap();
        saving.write(b"hello").unwrap();
        assert!(saving.end(&info(b"hello")).unwrap_err().to_string().contains("exists already"));
        assert_eq!(fs::read_to_string(folder.path().join("b.txt")).unwrap(), "theirs");
        // Something else came.
        let mut saving = Saving::begin(Some(folder.path()), "c.txt").unwrap();
        saving.write(b"jello").unwrap();
        assert!(saving.end(&info(b"hello")).unwrap_err().to_string().contains("SHA-256"));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "drafts are gone");
    }

    /// It would wait for a writer.
    #[cfg(unix)]
    #[test]
    fn a_pipe_is_no_file_to_be_sent() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
        assert!(made.success());
        assert!(matches!(Local::open(&path), Err(FileError::NoFile(_))));
    }

    #[cfg(unix)]
    #[test]
    fn a_device_is_written_to_and_stays_one() {
        use std::os::unix::fs::FileTypeExt;
        let mut saving = Saving::begin(Some(Path::new("/dev/null")), "a.txt").unwrap();
        saving.write(b"hello").unwrap();
        assert_eq!(saving.end(&info(b"hello")).unwrap(), Path::new("/dev/null"));
        assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
    }
}
