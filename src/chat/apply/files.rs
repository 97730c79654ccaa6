//! Files: they arrive piece by piece, are shown in messages, and go.

use std::collections::BTreeSet;

use super::{
    super::{State, file::File, rows},
    Reply, Turn,
};
use crate::{
    protocol::{
        file::{FILE_CHUNK_BYTES, FileId, FileInfo, NewFile},
        name::UserName,
    },
    replica::storage::{ChunkRow, RoomId},
};

impl State {
    pub(super) fn begin_file(
        &mut self,
        turn: &mut Turn,
        user: &UserName,
        room: RoomId,
        file_id: FileId,
        new: &NewFile,
        instead_of: Option<FileId>,
    ) -> Reply {
        let uploader = self.user_or_new(turn, user);
        if let Some(given_up) = instead_of {
            self.remove_file(turn, given_up);
        }
        let file = File {
            uploader,
            begun: turn.index,
            name: new.name.clone(),
            content_type: new.content_type.clone(),
            size: new.size,
            received: 0,
            sha256: None,
            posted: [(room, BTreeSet::new())].into(),
        };
        // The whole size counts from the beginning, so that a quota cannot be overrun by several at once.
        self.user_mut(uploader).file_bytes += file.size;
        turn.effects.rows.push(rows::file(file_id, Some(&file)));
        self.files.insert(file_id, file);
        self.upload_goes_on(turn, file_id);
        Reply::Receiving { file_id, received: 0 }
    }

    /// Notes the time, by which uploads are given up of which nothing more comes.
    fn upload_goes_on(&mut self, turn: &mut Turn, file_id: FileId) {
        self.uploads.insert(file_id, turn.created_at_ms);
        turn.effects.rows.push(rows::upload(file_id, Some(turn.created_at_ms)));
    }

    fn upload_ends(&mut self, turn: &mut Turn, file_id: FileId) {
        if self.uploads.remove(&file_id).is_some() {
            turn.effects.rows.push(rows::upload(file_id, None));
        }
    }

    pub(super) fn receive_chunk(
        &mut self,
        turn: &mut Turn,
        file_id: FileId,
        received: u64,
        bytes: &[u8],
    ) -> Reply {
        if !bytes.is_empty() {
            let file = self.file_mut(file_id);
            let number = (file.received / FILE_CHUNK_BYTES as u64) as u32;
            turn.effects.chunks.push(ChunkRow { file: file_id, number, bytes: bytes.into() });
            file.received = received;
            turn.effects.rows.push(rows::file(file_id, Some(file)));
            self.upload_goes_on(turn, file_id);
        }
        Reply::Receiving { file_id, received }
    }

    pub(super) fn end_file(&mut self, turn: &mut Turn, file_id: FileId, sha256: [u8; 32]) -> Reply {
        let file = self.file_mut(file_id);
        file.sha256 = Some(sha256);
        turn.effects.rows.push(rows::file(file_id, Some(file)));
        self.upload_ends(turn, file_id);
        self.file_reply(file_id)
    }

    /// What a file is: whole, or how far it has come.
    pub(super) fn file_reply(&mut self, file_id: FileId) -> Reply {
        let file = self.file_mut(file_id);
        match file.info(file_id) {
            Some(info) => Reply::File(info),
            None => Reply::Receiving { file_id, received: file.received },
        }
    }

    pub(super) fn delete_file(&mut self, turn: &mut Turn, file_id: FileId) -> Reply {
        let reply = self.file_reply(file_id);
        self.remove_file(turn, file_id);
        reply
    }

    fn file_mut(&mut self, file_id: FileId) -> &mut File {
        self.files.get_mut(&file_id).expect("a verdict names files that exist")
    }

    pub(super) fn remove_file(&mut self, turn: &mut Turn, file_id: FileId) {
        let Some(file) = self.files.remove(&file_id) else { return };
        let uploader = self.user_mut(file.uploader);
        uploader.file_bytes = uploader.file_bytes.saturating_sub(file.size);
        turn.effects.rows.push(rows::file(file_id, None));
        self.upload_ends(turn, file_id);
        turn.effects.removed_files.push(file_id);
    }

    /// What a message is told of the file that it will show.
    pub(super) fn file_info(&self, file_id: FileId) -> Option<FileInfo> {
        self.files.get(&file_id)?.info(file_id)
    }

    /// A message of the room shows the file.
    pub(super) fn show_file(&mut self, turn: &mut Turn, file_id: FileId, room: RoomId, seq: u64) {
        if let Some(file) = self.files.get_mut(&file_id) {
            file.posted.entry(room).or_default().insert(seq);
            turn.effects.rows.push(rows::file(file_id, Some(file)));
        }
    }

    /// Messages of the room that showed the file are gone: those of which `gone` says so. With the last
    /// one goes the file.
    pub(super) fn hide_file(
        &mut self,
        turn: &mut Turn,
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
            0 => self.remove_file(turn, file_id),
            _ => turn.effects.rows.push(rows::file(file_id, Some(file))),
        }
    }

    /// The room has forgotten its events before `before_seq`, and with them the files that only they showed.
    pub(super) fn hide_expired(&mut self, turn: &mut Turn, room: RoomId, before_seq: u64) {
        let is_shown = |file: &File| {
            file.posted.get(&room).and_then(BTreeSet::first).is_some_and(|first| *first < before_seq)
        };
        let shown: Vec<FileId> =
            self.files.iter().filter(|(_, file)| is_shown(file)).map(|(id, _)| *id).collect();
        for file_id in shown {
            self.hide_file(turn, file_id, room, |seq| seq < before_seq);
        }
    }
}
