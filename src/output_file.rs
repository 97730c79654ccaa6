//! A file that a user names to be written.
//!
//! If the name is free or is that of a regular file, the new content is written to a draft, which gets the
//! name once it is complete and on the disk. So no reader ever sees half of it, and a program that is broken
//! off leaves the old file. Links are followed, so that the file they lead to is replaced and not the link. A
//! device or a pipe is written to directly, and never replaced.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

/// Links that are followed before they count as a circle, as in the kernel of Linux.
const LINKS_MAX: u32 = 40;

/// Numbers the drafts of this process, so that two of one name are two files.
static DRAFTS: AtomicU64 = AtomicU64::new(0);

/// What to do with a regular file that has the name already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    Replace,
    /// It stays, and nothing is written.
    Keep,
}

/// Something that is being written.
#[derive(Debug)]
pub struct OutputFile {
    file: File,
    aside: Option<Aside>,
}

#[derive(Debug)]
struct Aside {
    draft: PathBuf,
    path: PathBuf,
    existing: Existing,
}

impl OutputFile {
    /// Begins to write what `path` names. A new file is for its owner's eyes only if it is `private`.
    ///
    /// # Errors
    /// It cannot be written, is a folder, or has to be kept (`AlreadyExists`).
    pub fn create(path: &Path, existing: Existing, private: bool) -> io::Result<OutputFile> {
        let is_there = match fs::metadata(path) {
            Ok(there) if there.is_dir() => return Err(ErrorKind::IsADirectory.into()),
            // Written to directly: without `truncate`, which means nothing here, and without a draft.
            Ok(there) if !there.is_file() => {
                let file = OpenOptions::new().write(true).open(path)?;
                return Ok(OutputFile { file, aside: None });
            }
            Ok(_) => true,
            Err(error) if error.kind() == ErrorKind::NotFound => false,
            Err(error) => return Err(error),
        };
        if is_there && existing == Existing::Keep {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let path = if is_there { fs::canonicalize(path)? } else { followed(path)? };
        let draft = draft(&path)?;
        // A draft of an earlier run may have other rights, or be a link.
        match fs::remove_file(&draft) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        if private {
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        }
        #[cfg(not(unix))]
        let _ = private;
        let file = options.open(&draft)?;
        Ok(OutputFile { file, aside: Some(Aside { draft, path, existing }) })
    }

    /// The present offset; `None` if nothing can be taken back.
    ///
    /// # Errors
    /// The file cannot be asked.
    pub fn place(&mut self) -> io::Result<Option<u64>> {
        self.aside.as_ref().map(|_| self.file.stream_position()).transpose()
    }

    /// Takes back what was written after `place`.
    ///
    /// # Errors
    /// It is no regular file, or the disk fails.
    pub fn take_back(&mut self, place: u64) -> io::Result<()> {
        if self.aside.is_none() {
            return Err(ErrorKind::Unsupported.into());
        }
        self.file.seek(SeekFrom::Start(place))?;
        self.file.set_len(place)
    }

    /// Gives it its name, once it is on the disk. Without this nothing of it stays, unless it was written
    /// directly. Returns the path of the file.
    ///
    /// # Errors
    /// The disk fails, or a file that is to be kept has got the name meanwhile (`AlreadyExists`).
    pub fn finish(mut self) -> io::Result<Option<PathBuf>> {
        let Some(Aside { draft, path, existing }) = &self.aside else {
            self.file.flush()?;
            return Ok(None);
        };
        self.file.sync_all()?;
        if *existing == Existing::Keep {
            // The name is taken in one step, which fails if there is a file; only our own empty one is
            // replaced.
            OpenOptions::new().write(true).create_new(true).open(path)?;
        }
        fs::rename(draft, path)?;
        let path = path.clone();
        // The draft has another name now.
        self.aside = None;
        sync_folder(&path)?;
        Ok(Some(path))
    }
}

impl Write for OutputFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for OutputFile {
    fn drop(&mut self) {
        if let Some(Aside { draft, .. }) = &self.aside {
            // If it stays, its name at least says that it is a draft.
            let _ = fs::remove_file(draft);
        }
    }
}

/// The free name at the end of a chain of links.
fn followed(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..LINKS_MAX {
        match fs::read_link(&path) {
            // A link is relative to its own folder.
            Ok(target) => path = path.parent().unwrap_or(Path::new("")).join(target),
            Err(_) => return Ok(path),
        }
    }
    Err(io::Error::other("too many links lead to it"))
}

/// The name under which it is written.
fn draft(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or_else(|| io::Error::new(ErrorKind::InvalidInput, "it names no file"))?;
    let mut draft = OsString::from(".");
    draft.push(name);
    let number = DRAFTS.fetch_add(1, Ordering::Relaxed);
    draft.push(format!(".{}-{number}.part", std::process::id()));
    Ok(path.with_file_name(draft))
}

/// Makes a name in the folder of `path` durable, if the system can.
pub fn sync_folder(path: &Path) -> io::Result<()> {
    if !cfg!(unix) {
        return Ok(());
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(all(test, unix))]
mod tests {
    use std::{
        io::Read, os::unix::fs::FileTypeExt, os::unix::fs::PermissionsExt, os::unix::fs::symlink, thread,
    };

    use super::*;

    fn write(path: &Path, existing: Existing, text: &str) -> io::Result<Option<PathBuf>> {
        let mut file = OutputFile::create(path, existing, true)?;
        file.write_all(text.as_bytes())?;
        file.finish()
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_appears_once_it_is_whole_and_for_its_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, "old").unwrap();
        let mut file = OutputFile::create(&path, Existing::Replace, true).unwrap();
        file.write_all(b"new, and too much").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        assert_eq!(file.place().unwrap(), Some(17));
        file.take_back(3).unwrap();
        file.finish().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        // A file that is not finished leaves the old one, and nothing else.
        let mut broken = OutputFile::create(&path, Existing::Replace, true).unwrap();
        broken.write_all(b"half").unwrap();
        drop(broken);
        assert_eq!(
            (fs::read_to_string(&path).unwrap().as_str(), names(folder.path())),
            ("new", vec!["a".into()])
        );
        let kept = write(&path, Existing::Keep, "other").unwrap_err();
        assert_eq!(kept.kind(), ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
    }

    #[test]
    fn links_are_followed_and_stay_links() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("data")).unwrap();
        symlink("data/real", at("link")).unwrap();
        symlink("link", at("second")).unwrap();
        // The first time it leads to nothing, the second time to a file.
        for text in ["one", "two"] {
            write(&at("second"), Existing::Replace, text).unwrap();
            assert_eq!(fs::read_to_string(at("data/real")).unwrap(), text);
        }
        assert!(fs::symlink_metadata(at("link")).unwrap().is_symlink());
        assert_eq!(names(&at("data")), ["real"]);
        symlink("round", at("around")).unwrap();
        symlink("around", at("round")).unwrap();
        write(&at("round"), Existing::Replace, "x").unwrap_err();
    }

    #[test]
    fn what_is_no_file_is_written_to_and_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        symlink("pipe", folder.path().join("link")).unwrap();
        for name in ["pipe", "link"] {
            let from = pipe.clone();
            let reader = thread::spawn(move || {
                let mut text = String::new();
                File::open(from).unwrap().read_to_string(&mut text).map(|_| text).unwrap()
            });
            let mut file = OutputFile::create(&folder.path().join(name), Existing::Keep, true).unwrap();
            assert_eq!(file.place().unwrap(), None);
            file.write_all(b"through").unwrap();
            assert_eq!(file.finish().unwrap(), None);
            assert_eq!(reader.join().unwrap(), "through");
        }
        assert!(fs::metadata(&pipe).unwrap().file_type().is_fifo());
        // A device takes everything, or says that it is full; either way it stays one.
        for (device, works) in [("/dev/null", true), ("/dev/full", false)] {
            if Path::new(device).exists() {
                assert_eq!(write(Path::new(device), Existing::Replace, "x").is_ok(), works, "{device}");
                assert!(fs::metadata(device).unwrap().file_type().is_char_device(), "{device}");
            }
        }
        assert_eq!(write(folder.path(), Existing::Replace, "x").unwrap_err().kind(), ErrorKind::IsADirectory);
    }

    #[test]
    fn what_cannot_be_written_leaves_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        write(&folder.path().join("missing/a"), Existing::Replace, "x").unwrap_err();
        write(&folder.path().join(".."), Existing::Replace, "x").unwrap_err();
        let path = folder.path().join("a");
        let mut two = [1, 2].map(|_| OutputFile::create(&path, Existing::Keep, false).unwrap());
        two.iter_mut().zip([b"1", b"2"]).for_each(|(file, text)| file.write_all(text).unwrap());
        let [one, other] = two;
        other.finish().unwrap();
        assert_eq!(one.finish().unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(
            (fs::read_to_string(&path).unwrap().as_str(), names(folder.path())),
            ("2", vec!["a".into()])
        );
    }
}
