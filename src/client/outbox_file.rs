//! The durable copy of an outbox: one file that is only appended to, and rewritten when it has grown.
//!
//! Each line is one [`OutboxChange`] as JSON. Adding a message is synced before the call returns, so a
//! message that may have been sent is known after any crash. A last line that was cut off by a crash was
//! never synced, so nothing of it was sent, and it is dropped.
//!
//! One process owns a file, by a lock on a second file beside it (the first is replaced when it is
//! rewritten). A second client of the same user takes the next free *slot*, and whoever starts takes over
//! what earlier processes left in slots that nobody owns now: nothing waits for a particular process
//! to come back.

use std::{
    collections::VecDeque,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write},
    path::{Path, PathBuf},
};

use crate::protocol::UserName;

use super::{
    limits::OUTBOX_MAX,
    outbox::{Message, OutboxChange},
    own::Target,
};

/// Clients of one user that may run on one machine with one outbox folder.
const SLOTS: u32 = 32;
/// A file with this many lines that are of no use any more is rewritten.
const USELESS_LINES_MAX: usize = 2_000;

/// An outbox file that this process owns.
#[derive(Debug)]
pub struct OutboxFile {
    path: PathBuf,
    file: File,
    /// Held, not used: closing it releases the slot.
    _lock: File,
    /// What the file amounts to, oldest first.
    messages: VecDeque<Message>,
    lines: usize,
}

impl OutboxFile {
    /// Takes a slot for `user` in `folder`, which is created if need be, and whatever other processes
    /// have left there.
    ///
    /// The error says what could not be done, and where.
    pub fn open(folder: &Path, user: &UserName) -> io::Result<OutboxFile> {
        create_folder(folder).map_err(|error| told(&error, "cannot create the folder", folder))?;
        let mut own: Option<OutboxFile> = None;
        for slot in 1..=SLOTS {
            let path = folder.join(slot_name(user, slot));
            if own.is_some() && !path.exists() {
                continue;
            }
            let Some(lock) = lock(&path)? else { continue };
            match &mut own {
                None => own = Some(OutboxFile::load(path, lock)?),
                Some(own) => own.take_over(&path)?,
            }
        }
        own.ok_or_else(|| {
            let reason =
                format!("{SLOTS} clients of {user} have their outboxes in {} already", folder.display());
            io::Error::new(io::ErrorKind::ResourceBusy, reason)
        })
    }

    /// The messages that are not done, oldest first.
    pub fn messages(&self) -> impl Iterator<Item = &Message> {
        self.messages.iter()
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes `changes`, in order. When this returns, added messages are on disk.
    ///
    /// After an error the file must not be used any more: what it holds is then not known.
    pub fn append(&mut self, changes: &[OutboxChange]) -> io::Result<()> {
        if changes.is_empty() {
            return Ok(());
        }
        let mut lines = Vec::new();
        for change in changes {
            push_line(&mut lines, change);
        }
        let adds = changes.iter().any(|change| matches!(change, OutboxChange::Added(_)));
        let synced =
            self.file.write_all(&lines).and_then(|()| if adds { self.file.sync_data() } else { Ok(()) });
        synced.map_err(|error| told(&error, "cannot write the outbox", &self.path))?;
        self.lines += changes.len();
        for change in changes {
            apply(&mut self.messages, change.clone());
        }
        if self.lines > self.messages.len() + USELESS_LINES_MAX {
            self.rewrite()?;
        }
        Ok(())
    }

    fn load(path: PathBuf, lock: File) -> io::Result<OutboxFile> {
        let messages = read(&path)?;
        let file = open_private(OpenOptions::new().append(true).create(true), &path)
            .map_err(|error| told(&error, "cannot open the outbox", &path))?;
        let mut outbox = OutboxFile { path, file, _lock: lock, messages, lines: 0 };
        // Also gets rid of a cut-off last line, before anything is written behind it.
        outbox.rewrite()?;
        Ok(outbox)
    }

    /// Moves what is left in the file at `path`, whose slot this process holds for the moment.
    fn take_over(&mut self, path: &Path) -> io::Result<()> {
        let known =
            |message: &Message| self.messages.iter().any(|mine| mine.client_msg_id == message.client_msg_id);
        let left: Vec<OutboxChange> = read(path)?
            .into_iter()
            .filter(|message| !known(message))
            .take(OUTBOX_MAX)
            .map(OutboxChange::Added)
            .collect();
        self.append(&left)?;
        // Only now: a crash in between leaves them in both files, under the same ids.
        fs::remove_file(path).map_err(|error| told(&error, "cannot remove the old outbox", path))
    }

    /// Replaces the file by one that holds only what is not done.
    fn rewrite(&mut self) -> io::Result<()> {
        let new_path = self.path.with_extension("new");
        let written = self.write_new(&new_path);
        self.file = written.map_err(|error| told(&error, "cannot rewrite the outbox", &self.path))?;
        self.lines = self.messages.len();
        Ok(())
    }

    fn write_new(&self, new_path: &Path) -> io::Result<File> {
        let mut lines = Vec::new();
        for message in &self.messages {
            push_line(&mut lines, &OutboxChange::Added(message.clone()));
        }
        // Not in append mode at first, so that a leftover of a crash is overwritten.
        let mut file = open_private(OpenOptions::new().write(true).create(true).truncate(true), new_path)?;
        file.write_all(&lines)?;
        file.sync_all()?;
        fs::rename(new_path, &self.path)?;
        sync_folder(&self.path)?;
        Ok(file)
    }
}

/// Slots are told apart by `~`, which no user's name contains. Users compare without case, so do files.
fn slot_name(user: &UserName, slot: u32) -> String {
    match slot {
        1 => format!("{}.outbox", user.key()),
        _ => format!("{}~{slot}.outbox", user.key()),
    }
}

/// The lock of the slot at `path`, or `None` where another process holds it.
fn lock(path: &Path) -> io::Result<Option<File>> {
    let lock_path = path.with_extension("outbox.lock");
    let file = open_private(OpenOptions::new().write(true).create(true).truncate(false), &lock_path)
        .map_err(|error| told(&error, "cannot open", &lock_path))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(told(&error, "cannot lock", &lock_path)),
    }
}

/// What the file at `path` amounts to; nothing where there is none.
fn read(path: &Path) -> io::Result<VecDeque<Message>> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(VecDeque::new()),
        Err(error) => return Err(told(&error, "cannot read the outbox", path)),
    };
    let mut messages = VecDeque::new();
    let mut lines = bytes.split_inclusive(|&byte| byte == b'\n').enumerate().peekable();
    while let Some((number, line)) = lines.next() {
        let whole = line.ends_with(b"\n");
        match serde_json::from_slice::<OutboxChange>(line) {
            Ok(change) if whole => apply(&mut messages, change),
            _ if lines.peek().is_none() => {} // Cut off by a crash.
            Ok(_) | Err(_) => {
                let reason = format!(
                    "line {} of the outbox {} cannot be read; move the file away to start without it",
                    number + 1,
                    path.display()
                );
                return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
            }
        }
    }
    Ok(messages)
}

fn apply(messages: &mut VecDeque<Message>, change: OutboxChange) {
    match change {
        OutboxChange::Added(message) => messages.push_back(message),
        OutboxChange::Removed { client_msg_id, seq } => {
            // Nearly always the first.
            let at = messages.iter().position(|message| message.client_msg_id == client_msg_id);
            at.map(|at| messages.remove(at));
            if let Some(seq) = seq {
                for answer in messages.iter_mut().filter(|message| message.answers(&client_msg_id)) {
                    answer.reply_to = Some(Target::Seq(seq));
                }
            }
        }
    }
}

fn push_line(lines: &mut Vec<u8>, change: &OutboxChange) {
    let json = serde_json::to_vec(change).expect("strings and numbers always encode");
    lines.extend(json);
    lines.push(b'\n');
}

fn told(error: &io::Error, what: &str, path: &Path) -> io::Error {
    io::Error::new(error.kind(), format!("{what} {}: {error}", path.display()))
}

/// Creates `folder` for this user's eyes only: what people write to each other is nobody else's business.
pub(super) fn create_folder(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

pub(super) fn open_private(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options.open(path)
}

/// Makes a rename in the folder of `path` durable, where the system can.
fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) if cfg!(unix) => File::open(folder)?.sync_all(),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::RoomName;

    fn user() -> UserName {
        UserName::new("Alice").unwrap()
    }

    fn added(id: &str) -> OutboxChange {
        OutboxChange::Added(Message {
            client_msg_id: id.into(),
            room: RoomName::new("lobby").unwrap(),
            body: "line\nbreak".into(),
            reply_to: None,
            file_id: None,
        })
    }

    fn removed(id: &str) -> OutboxChange {
        OutboxChange::Removed { client_msg_id: id.into(), seq: None }
    }

    fn ids(outbox: &OutboxFile) -> Vec<&str> {
        outbox.messages().map(|message| message.client_msg_id.as_str()).collect()
    }

    #[test]
    fn what_is_not_done_survives_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let mut outbox = OutboxFile::open(folder.path(), &user()).unwrap();
        outbox.append(&[added("1"), added("2"), added("3")]).unwrap();
        outbox.append(&[removed("1")]).unwrap();
        drop(outbox);
        let outbox = OutboxFile::open(folder.path(), &user()).unwrap();
        assert_eq!(ids(&outbox), ["2", "3"]);
    }

    #[test]
    fn an_answer_learns_the_place_of_what_it_answers() {
        let folder = tempfile::tempdir().unwrap();
        let mut outbox = OutboxFile::open(folder.path(), &user()).unwrap();
        let OutboxChange::Added(mut answer) = added("2") else { unreachable!("it adds") };
        answer.reply_to = Some(Target::Own("1".into()));
        outbox.append(&[added("1"), OutboxChange::Added(answer)]).unwrap();
        outbox.append(&[OutboxChange::Removed { client_msg_id: "1".into(), seq: Some(7) }]).unwrap();
        drop(outbox);
        let outbox = OutboxFile::open(folder.path(), &user()).unwrap();
        assert_eq!(outbox.messages().next().unwrap().reply_to, Some(Target::Seq(7)));
    }

    #[test]
    fn a_cut_off_last_line_is_dropped_and_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let mut outbox = OutboxFile::open(folder.path(), &user()).unwrap();
        outbox.append(&[added("1"), added("2")]).unwrap();
        let path = outbox.path().to_owned();
        drop(outbox);
        let whole = fs::read(&path).unwrap();
        for cut in 1..whole.len() / 2 {
            fs::write(&path, &whole[..whole.len() - cut]).unwrap();
            let mut outbox = OutboxFile::open(folder.path(), &user()).unwrap();
            assert_eq!(ids(&outbox), ["1"], "{cut} bytes cut off");
            outbox.append(&[added("3")]).unwrap();
            drop(outbox);
            assert_eq!(ids(&OutboxFile::open(folder.path(), &user()).unwrap()), ["1", "3"]);
        }
    }

    #[test]
    fn a_broken_line_in_the_middle_is_not_guessed_at() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("alice.outbox"), "{\n{}\n").unwrap();
        let error = OutboxFile::open(folder.path(), &user()).unwrap_err();
        assert!(error.to_string().contains("line 1"), "{error}");
    }

    #[test]
    fn a_second_process_takes_another_slot_and_what_it_leaves_is_taken_over() {
        let folder = tempfile::tempdir().unwrap();
        let mut first = OutboxFile::open(folder.path(), &user()).unwrap();
        let mut second = OutboxFile::open(folder.path(), &user()).unwrap();
        assert_ne!(first.path(), second.path());
        first.append(&[added("1")]).unwrap();
        second.append(&[added("2")]).unwrap();
        let third = OutboxFile::open(folder.path(), &user()).unwrap();
        assert_eq!(ids(&third), [""; 0], "their owners are alive");
        drop((first, second, third));
        assert_eq!(ids(&OutboxFile::open(folder.path(), &user()).unwrap()), ["1", "2"]);
        let again = OutboxFile::open(folder.path(), &user()).unwrap();
        assert_eq!(ids(&again), ["1", "2"], "nothing is lost or doubled");
    }

    #[test]
    fn the_file_does_not_grow_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let mut outbox = OutboxFile::open(folder.path(), &user()).unwrap();
        outbox.append(&[added("first")]).unwrap();
        let rounds: Vec<_> = (0..USELESS_LINES_MAX).flat_map(|_| [added("x"), removed("x")]).collect();
        for round in rounds.chunks(500) {
            outbox.append(round).unwrap();
        }
        outbox.append(&[added("last")]).unwrap();
        let lines = fs::read(outbox.path()).unwrap().iter().filter(|&&byte| byte == b'\n').count();
        assert!(lines < USELESS_LINES_MAX + 600, "{lines}");
        drop(outbox);
        assert_eq!(ids(&OutboxFile::open(folder.path(), &user()).unwrap()), ["first", "last"]);
    }
}
