//! Who may read and show a file, and how it comes and goes with the messages that show it.

use std::collections::BTreeSet;

use super::{
    access::Context,
    effects::Effects,
    entities::{file::File, user_id::UserId},
    reply::Reply,
    rights::Permission,
    rows,
    state::State,
};
use crate::{
    disk::RoomId,
    protocol::{
        file::{FileId, FileInfo},
        refusal::{Code, Refusal},
    },
};

/// An upload is given up after this time without new bytes, and a whole file after this time without a
/// message that shows it.
pub const UPLOAD_IDLE_MS: u64 = 24 * 60 * 60 * 1_000;
/// Messages that may show one file.
const MESSAGES_PER_FILE: usize = 1_000;

impl File {
    /// The answer about it: the complete file, or how much has arrived.
    pub(super) fn reply(&self, file_id: FileId) -> Reply {
        match self.info(file_id) {
            Some(info) => Reply::File(info),
            None => Reply::Receiving { file_id, received: self.received },
        }
    }
}

impl State {
    /// Whether a user may read a file: its uploader may, and those who may read a room in which it was
    /// posted.
    pub(super) fn may_read_file(&self, user: Option<UserId>, file: &File, now_ms: u64) -> bool {
        Some(file.uploader) == user
            || file.posted.keys().any(|room| {
                self.room_by_id(*room)
                    .is_some_and(|room| self.access(room, user, now_ms).allows(Permission::See))
            })
    }

    /// Whether the user may show a file in a message.
    pub(super) fn may_show(&self, context: &Context<'_>, file_id: FileId) -> Result<(), Refusal> {
        let file = self.files.get(&file_id).filter(|file| file.sha256.is_some()).ok_or_else(no_file)?;
        if !self.may_read_file(context.id, file, context.now_ms) {
            return Err(no_file());
        }
        if file.shown_in() >= MESSAGES_PER_FILE {
            let reason = "the file is shown in as many messages as one may be";
            return Err(Refusal::new(Code::Forbidden, reason));
        }
        Ok(())
    }

    pub(super) fn is_idle(&self, upload: FileId, now_ms: u64) -> bool {
        self.uploads.get(&upload).is_some_and(|last_ms| last_ms.saturating_add(UPLOAD_IDLE_MS) <= now_ms)
    }

    /// An upload, or a file without a message, that has been idle for too long at `now_ms`.
    pub fn idle_upload(&self, now_ms: u64) -> Option<FileId> {
        self.uploads.keys().copied().find(|upload| self.is_idle(*upload, now_ms))
    }

    pub(super) fn upload_ends(&mut self, effects: &mut Effects, file_id: FileId) {
        if self.uploads.remove(&file_id).is_some() {
            effects.rows.push(rows::upload(file_id, None));
        }
    }

    pub(super) fn remove_file(&mut self, effects: &mut Effects, file_id: FileId) {
        let Some(file) = self.files.remove(&file_id) else { return };
        let uploader = self.user_mut(file.uploader);
        uploader.file_bytes = uploader.file_bytes.saturating_sub(file.size);
        effects.rows.push(rows::file(file_id, None));
        self.upload_ends(effects, file_id);
        effects.removed_files.push(file_id);
    }

    /// What a message tells of the file that it shows; `None` if the upload is not complete.
    pub(super) fn file_info(&self, file_id: FileId) -> Option<FileInfo> {
        self.files.get(&file_id)?.info(file_id)
    }

    /// A message of the room shows the file.
    pub(super) fn show_file(&mut self, effects: &mut Effects, file_id: FileId, room: RoomId, seq: u64) {
        if let Some(file) = self.files.get_mut(&file_id) {
            file.posted.entry(room).or_default().insert(seq);
            effects.rows.push(rows::file(file_id, Some(file)));
            self.upload_ends(effects, file_id);
        }
    }

    /// Removes the messages of the room that `gone` selects from those that show the file. The file goes with
    /// the last one.
    pub(super) fn hide_file(
        &mut self,
        effects: &mut Effects,
        file_id: FileId,
        room: RoomId,
        gone: impl Fn(u64) -> bool,
    ) {
        let Some(file) = self.files.get_mut(&file_id) else { return };
        let Some(messages) = file.posted.get_mut(&room) else { return };
        let before = messages.len();
        messages.retain(|seq| !gone(*seq));
        if messages.len() == before {
            return;
        }
        if messages.is_empty() {
            file.posted.remove(&room);
        }
        match file.shown_in() {
            0 => self.remove_file(effects, file_id),
            _ => effects.rows.push(rows::file(file_id, Some(file))),
        }
    }

    /// The room is gone, and with it the files, complete or not, that could be read in no other room.
    pub(super) fn hide_deleted(&mut self, effects: &mut Effects, room: RoomId) {
        let posted: Vec<FileId> = self
            .files
            .iter()
            .filter(|(_, file)| file.posted.contains_key(&room))
            .map(|(id, _)| *id)
            .collect();
        for file_id in posted {
            let Some(file) = self.files.get_mut(&file_id) else { continue };
            file.posted.remove(&room);
            match file.posted.len() {
                0 => self.remove_file(effects, file_id),
                _ => effects.rows.push(rows::file(file_id, Some(file))),
            }
        }
    }

    /// The room has forgotten its events before `before_seq`, and with them the files that only they showed.
    pub(super) fn hide_expired(&mut self, effects: &mut Effects, room: RoomId, before_seq: u64) {
        let is_shown = |file: &File| {
            file.posted.get(&room).and_then(BTreeSet::first).is_some_and(|first| *first < before_seq)
        };
        let shown: Vec<FileId> =
            self.files.iter().filter(|(_, file)| is_shown(file)).map(|(id, _)| *id).collect();
        for file_id in shown {
            self.hide_file(effects, file_id, room, |seq| seq < before_seq);
        }
    }
}

/// The refusal of a file that does not exist or must seem so.
pub(super) fn no_file() -> Refusal {
    Refusal::new(Code::NotFound, "there is no such file")
}
