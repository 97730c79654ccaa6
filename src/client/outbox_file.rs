//! The durable copy of an outbox: one file that is only appended to, and rewritten when it has grown.
//!
//! Each line is one [`OutboxChange`] as JSON. Adding a message is synced before the call returns, so a
//! message that may have been sent is known after any crash. A last line that was cut off by a crash was
//! never synced, so nothing of it was sent, and it is dropped.
//!
//! One process owns a file, by a lock on a second file beside it (the first is replaced when it is
//! rewritten). A second client of the same user takes the next free *slot*. A client that starts takes over
//! what earlier processes left in slots without an owner, so no message waits for a particular process to
//! come back.

use std::{
    collections::VecDeque,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Seek, Write},
    path::{Path, PathBuf},
};

use thiserror::Error;

use crate::{output_file::sync_folder, protocol::UserName};

use super::{
    limits::OUTBOX_MAX,
    outbox::{Message, OutboxChange},
    own::Target,
};

/// Clients of one user that may run on one machine with one outbox folder.
const SLOTS: u32 = 32;
/// A file with this many obsolete lines is rewritten.
const USELESS_LINES_MAX: usize = 2_000;

/// An outbox file that this process owns.
#[derive(Debug)]
pub struct OutboxFile {
    path: PathBuf,
    file: File,
    /// Held, not used: closing it releases the slot.
    _lock: File,
    kept: Kept,
    lines: usize,
    bytes: u64,
}

/// The content of a file.
#[derive(Debug, Default)]
struct Kept {
    /// The life of the cluster's data that places belong to; 0 if none was told.
    epoch: u64,
    /// The messages that are not done, oldest first.
    messages: VecDeque<Message>,
}

/// The disk does not take a change of the outbox.
#[derive(Debug, Error)]
#[error("cannot write the outbox {}: {source}", path.display())]
pub struct OutboxError {
    path: PathBuf,
    source: io::Error,
    /// Whether messages that were to be added may be in the file all the same, and be sent by the next run.
    pub may_be_kept: bool,
}

impl OutboxFile {
    /// Takes a slot for `user` in `folder`, which is created if need be, and all messages that other
    /// processes have left there.
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
        self.kept.messages.iter()
    }

    /// The life of the cluster's data that was seen last; 0 if there was none.
    pub fn epoch(&self) -> u64 {
        self.kept.epoch
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes `changes`, in order. When this returns, added messages are on disk.
    ///
    /// # Errors
    /// The disk does not take them. The file must not be used any more then.
    pub fn append(&mut self, changes: &[OutboxChange]) -> Result<(), OutboxError> {
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
        if let Err(source) = synced {
            // A part of it may be in the file. If it can be cut off and that synced, it is not.
            let cut = self.file.set_len(self.bytes).and_then(|()| self.file.sync_data());
            return Err(OutboxError { path: self.path.clone(), source, may_be_kept: cut.is_err() });
        }
        self.lines += changes.len();
        self.bytes += lines.len() as u64;
        for change in changes {
            self.kept.apply(change.clone());
        }
        if self.lines > self.kept.messages.len() + USELESS_LINES_MAX {
            match self.write_new() {
                Ok(new) => self.replace(new).map_err(|source| {
                    // It is not known which of the two files a crash would leave.
                    OutboxError { path: self.path.clone(), source, may_be_kept: true }
                })?,
                // The file is only longer than it need be; the next time it may work.
                Err(error) => log::warn!("cannot rewrite the outbox {}: {error}", self.path.display()),
            }
        }
        Ok(())
    }

    fn load(path: PathBuf, lock: File) -> io::Result<OutboxFile> {
        let kept = read(&path)?;
        let file = open_private(OpenOptions::new().append(true).create(true), &path)
            .map_err(|error| told(&error, "cannot open the outbox", &path))?;
        let mut outbox = OutboxFile { path, file, _lock: lock, kept, lines: 0, bytes: 0 };
        // Also gets rid of a cut-off last line, before anything is written behind it.
        outbox.rewrite()?;
        Ok(outbox)
    }

    /// Moves what is left in the file at `path`, whose slot this process holds for the moment.
    fn take_over(&mut self, path: &Path) -> io::Result<()> {
        let mut other = read(path)?;
        // Places of different lives must not mix: those of the older one are dropped.
        let epoch = self.kept.epoch.max(other.epoch);
        let change = |kept: &Kept| (kept.epoch != epoch).then_some(OutboxChange::Epoch(epoch));
        let mut changes: Vec<OutboxChange> = change(&self.kept).into_iter().collect();
        if let Some(change) = change(&other) {
            other.apply(change);
        }
        let mine = &self.kept.messages;
        let is_known =
            |message: &Message| mine.iter().any(|mine| mine.client_msg_id == message.client_msg_id);
        let left = other.messages.into_iter().filter(|message| !is_known(message));
        changes.extend(left.take(OUTBOX_MAX).map(OutboxChange::Added));
        self.append(&changes).map_err(io::Error::other)?;
        // Only now: a crash in between leaves them in both files, under the same ids.
        fs::remove_file(path).map_err(|error| told(&error, "cannot remove the old outbox", path))
    }

    /// Replaces the file by one that holds only what is not done.
    fn rewrite(&mut self) -> io::Result<()> {
        let replaced = self.write_new().and_then(|new| self.replace(new));
        replaced.map_err(|error| told(&error, "cannot rewrite the outbox", &self.path))
    }

    /// Writes a file that holds only what is not done, beside the other one.
    fn write_new(&self) -> io::Result<File> {
        let mut lines = Vec::new();
        if self.kept.epoch != 0 {
            push_line(&mut lines, &OutboxChange::Epoch(self.kept.epoch));
        }
        for message in &self.kept.messages {
            push_line(&mut lines, &OutboxChange::Added(message.clone()));
        }
        // Not in append mode, so that a leftover of a crash is overwritten.
        let mut options = OpenOptions::new();
        let mut file = open_private(options.write(true).create(true).truncate(true), &self.new_path())?;
        let written = file.write_all(&lines).and_then(|()| file.sync_all());
        if written.is_err() {
            // Half a file is of no use, and may be what fills the disk.
            let _ = fs::remove_file(self.new_path());
        }
        written.map(|()| file)
    }

    /// The new file takes the place of the other one.
    fn replace(&mut self, mut new: File) -> io::Result<()> {
        fs::rename(self.new_path(), &self.path)?;
        (self.bytes, self.lines) = (new.stream_position()?, self.kept.messages.len());
        self.file = new;
        sync_folder(&self.path)
    }

    fn new_path(&self) -> PathBuf {
        self.path.with_extension("new")
    }
}

/// Slots are told apart by `~`, which no user's name contains. Users compare without case, so do files.
fn slot_name(user: &UserName, slot: u32) -> String {
    match slot {
        1 => format!("{}.outbox", user.key()),
        _ => format!("{}~{slot}.outbox", user.key()),
    }
}

/// The lock of the slot at `path`, or `None` if another process holds it.
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

/// The content of the file at `path`; empty if there is none.
fn read(path: &Path) -> io::Result<Kept> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Kept::default()),
        Err(error) => return Err(told(&error, "cannot read the outbox", path)),
    };
    let mut kept = Kept::default();
    let mut lines = bytes.split_inclusive(|&byte| byte == b'\n').enumerate().peekable();
    while let Some((number, line)) = lines.next() {
        let whole = line.ends_with(b"\n");
        match serde_json::from_slice::<OutboxChange>(line) {
            Ok(change) if whole => kept.apply(change),
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
    Ok(kept)
}

impl Kept {
    fn apply(&mut self, change: OutboxChange) {
        let Kept { epoch, messages } = self;
        match change {
            OutboxChange::Added(message) => messages.push_back(message),
            OutboxChange::Removed { client_msg_id, seq } => {
                // It is nearly always the first.
                let at = messages.iter().position(|message| message.client_msg_id == client_msg_id);
                at.map(|at| messages.remove(at));
                if let Some(seq) = seq {
                    for answer in messages.iter_mut().filter(|message| message.answers(&client_msg_id)) {
                        answer.reply_to = Some(Target::Seq(seq));
                    }
                }
            }
            OutboxChange::Renamed(renamed) => {
                messages.iter_mut().for_each(|message| message.follow(&renamed));
            }
            OutboxChange::Numbered { room, room_id } => {
                messages.iter_mut().for_each(|message| message.number(&room, room_id));
            }
            OutboxChange::Epoch(new) => {
                let before = std::mem::replace(epoch, new);
                if before != 0 && before != new {
                    messages.iter_mut().for_each(Message::forget_place);
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

/// Creates `folder`, readable by this user only: messages are private.
pub(in crate::client) fn create_folder(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

pub(in crate::client) fn open_private(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options.open(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        client::renamed::Renamed,
        protocol::{RoomId, RoomName},
    };

    fn user() -> UserName {
        UserName::new("Alice").unwrap()
    }

    fn added(id: &str) -> OutboxChange {
        OutboxChange::Added(Message {
            client_msg_id: id.into(),
            room: RoomName::new("lobby").unwrap(),
            room_id: None,
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
    fn messages_follow_their_room_to_its_new_name() {
        let folder = tempfile::tempdir().unwrap();
        let (lobby, hall) = (RoomName::new("lobby").unwrap(), RoomName::new("hall").unwrap());
        let mut outbox = OutboxFile::open(folder.path(), &user()).unwrap();
        let renamed = |from: &RoomName, to: &RoomName| {
            OutboxChange::Renamed(Renamed { from: from.clone(), to: to.clone(), swaps: false })
        };
        let numbered = |room_id| OutboxChange::Numbered { room: lobby.clone(), room_id: RoomId(room_id) };
        outbox.append(&[added("1"), numbered(7), renamed(&lobby, &hall), added("2"), numbered(8)]).unwrap();
        drop(outbox);
        let outbox = OutboxFile::open(folder.path(), &user()).unwrap();
        let kept: Vec<_> =
            outbox.messages().map(|message| (message.room.as_str(), message.room_id)).collect();
        assert_eq!(kept, [("hall", Some(RoomId(7))), ("lobby", Some(RoomId(8)))]);
    }

    #[test]
    fn what_answers_a_place_of_another_life_of_the_cluster_answers_none() {
        let folder = tempfile::tempdir().unwrap();
        let answer = |id: &str, to: Target| {
            let OutboxChange::Added(mut answer) = added(id) else { unreachable!("it adds") };
            answer.reply_to = Some(to);
            OutboxChange::Added(answer)
        };
        let targets = |outbox: &OutboxFile| -> Vec<_> {
            outbox.messages().map(|message| message.reply_to.clone()).collect()
        };
        let mut outbox = OutboxFile::open(folder.path(), &user()).unwrap();
        outbox.append(&[answer("1", Target::Seq(7)), OutboxChange::Epoch(1)]).unwrap();
        assert_eq!(targets(&outbox), [Some(Target::Seq(7))], "no life was known before");
        outbox.append(&[answer("2", Target::Own("1".into())), OutboxChange::Epoch(1)]).unwrap();
        drop(outbox);
        let mut outbox = OutboxFile::open(folder.path(), &user()).unwrap();
        assert_eq!(outbox.epoch(), 1);
        assert_eq!(targets(&outbox), [Some(Target::Seq(7)), Some(Target::Own("1".into()))]);
        // Another client of the user has seen the restore already.
        let mut second = OutboxFile::open(folder.path(), &user()).unwrap();
        second.append(&[OutboxChange::Epoch(2), answer("3", Target::Seq(4))]).unwrap();
        outbox.append(&[OutboxChange::Removed { client_msg_id: "1".into(), seq: Some(8) }]).unwrap();
        drop((outbox, second));
        let outbox = OutboxFile::open(folder.path(), &user()).unwrap();
        assert_eq!(outbox.epoch(), 2);
        assert_eq!((ids(&outbox), targets(&outbox)), (vec!["2", "3"], vec![None, Some(Target::Seq(4))]));
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

    #[test]
    fn what_the_disk_does_not_take_is_not_there_afterwards() {
        let folder = tempfile::tempdir().unwrap();
        let mut outbox = OutboxFile::open(folder.path(), &user()).unwrap();
        outbox.append(&[added("1")]).unwrap();
        // A read-only handle plays a disk that is full.
        outbox.file = File::open(&outbox.path).unwrap();
        let error = outbox.append(&[added("2")]).unwrap_err();
        assert!(error.to_string().contains("alice.outbox"), "{error}");
        assert!(error.may_be_kept, "it cannot be cut off by this handle either");
        drop(outbox);
        assert_eq!(ids(&OutboxFile::open(folder.path(), &user()).unwrap()), ["1"]);
    }

    #[test]
    fn a_file_that_cannot_be_rewritten_goes_on_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let mut outbox = OutboxFile::open(folder.path(), &user()).unwrap();
        fs::create_dir(outbox.new_path()).unwrap();
        outbox.append(&[added("first")]).unwrap();
        let rounds: Vec<_> = (0..=USELESS_LINES_MAX).flat_map(|_| [added("x"), removed("x")]).collect();
        outbox.append(&rounds).unwrap();
        outbox.append(&[added("last")]).unwrap();
        fs::remove_dir(outbox.new_path()).unwrap();
        drop(outbox);
        assert_eq!(ids(&OutboxFile::open(folder.path(), &user()).unwrap()), ["first", "last"]);
    }
}
