//! Rules of files.

use super::{
    super::{
        State,
        file::{File, MESSAGES_PER_FILE, UPLOAD_IDLE_MS, UPLOADS_PER_USER},
        rights::{self, Deed},
        user::UserId,
    },
    Asking, Verdict,
};
use crate::protocol::{
    file::{FILE_CHUNK_BYTES, FileId, NewFile},
    refusal::{Code, Refusal},
};

impl State {
    pub(super) fn decide_file_begin<'a>(
        &self,
        asking: &Asking<'_>,
        file_id: FileId,
        file: &'a NewFile,
    ) -> Result<Verdict<'a>, Refusal> {
        let (room, _) = self.may(asking, Deed::Upload, &file.room)?;
        if self.files.contains_key(&file_id) {
            return Err(Refusal::bad_request("there is a file of this id already; begin again"));
        }
        let begun = self.uploads.keys().filter_map(|id| Some((*id, self.files.get(id)?)));
        let begun: Vec<_> = begun.filter(|(_, file)| Some(file.uploader) == asking.id).collect();
        let oldest = begun.iter().min_by_key(|(_, file)| file.begun).map(|(id, _)| *id);
        let instead_of = oldest.filter(|_| begun.len() >= UPLOADS_PER_USER);
        Ok(Verdict::FileBegin { room, file_id, file, instead_of })
    }

    /// An upload of the asker's; whole ones too, where a lost answer is asked for again.
    fn upload(&self, asking: &Asking<'_>, file_id: FileId) -> Result<&File, Refusal> {
        let file = self.files.get(&file_id).filter(|file| Some(file.uploader) == asking.id);
        file.ok_or_else(|| Refusal::new(Code::NotFound, "there is no such upload, or it was given up"))
    }

    pub(super) fn decide_file_chunk<'a>(
        &self,
        asking: &Asking<'_>,
        file_id: FileId,
        offset: u64,
        bytes: &'a [u8],
    ) -> Result<Verdict<'a>, Refusal> {
        let file = self.upload(asking, file_id)?;
        let end = offset.checked_add(bytes.len() as u64).filter(|end| *end <= file.size);
        let end = end.ok_or_else(|| {
            Refusal::bad_request(format!("offset and bytes reach beyond the file's {} bytes", file.size))
        })?;
        // All pieces but the last are of one size, so that a reader finds each by its number.
        let is_piece = offset.is_multiple_of(FILE_CHUNK_BYTES as u64)
            && (bytes.len() == FILE_CHUNK_BYTES || end == file.size);
        if !is_piece {
            let reason =
                format!("every piece but the last has {FILE_CHUNK_BYTES} bytes, one behind the other");
            return Err(Refusal::bad_request(reason));
        }
        if end <= file.received {
            return Ok(Verdict::FileChunk { file_id, received: file.received, bytes: &[] });
        }
        if offset != file.received {
            return Err(Refusal::bad_request(format!("the next piece begins at {}", file.received)));
        }
        Ok(Verdict::FileChunk { file_id, received: end, bytes })
    }

    pub(super) fn decide_file_end<'a>(
        &self,
        asking: &Asking<'_>,
        file_id: FileId,
        sha256: [u8; 32],
    ) -> Result<Verdict<'a>, Refusal> {
        let file = self.upload(asking, file_id)?;
        if file.sha256 == Some(sha256) {
            return Ok(Verdict::FileWhole { file_id });
        }
        if file.sha256.is_some() || file.received < file.size {
            let reason = format!("{} of {} bytes have arrived", file.received, file.size);
            return Err(Refusal::bad_request(reason));
        }
        Ok(Verdict::FileEnd { file_id, sha256 })
    }

    pub(super) fn decide_file_delete<'a>(
        &self,
        asking: &Asking<'_>,
        file_id: FileId,
    ) -> Result<Verdict<'a>, Refusal> {
        let file = self.files.get(&file_id).ok_or_else(no_file)?;
        if Some(file.uploader) == asking.id {
            return Ok(Verdict::FileDelete { file_id });
        }
        if !self.may_read_file(asking.id, file, asking.now_ms) {
            return Err(no_file());
        }
        // Whoever may delete it everywhere it was posted may delete it.
        let may_delete = |room| {
            self.room_by_id(room).is_some_and(|room| {
                rights::allows(Deed::DeleteOthers, self.circumstances(room, asking.id, asking.now_ms))
            })
        };
        match file.posted.keys().all(|room| may_delete(*room)) {
            true => Ok(Verdict::FileDelete { file_id }),
            false => Err(Refusal::new(Code::Forbidden, "the file is somebody else's")),
        }
    }

    /// An upload of which nothing more has come for long is given up.
    pub(super) fn decide_give_up_upload<'a>(&self, file_id: FileId, now_ms: u64) -> Verdict<'a> {
        match self.is_idle(file_id, now_ms) {
            true => Verdict::GiveUpUpload { file_id },
            false => Verdict::Nothing,
        }
    }

    fn is_idle(&self, upload: FileId, now_ms: u64) -> bool {
        self.uploads.get(&upload).is_some_and(|last_ms| last_ms.saturating_add(UPLOAD_IDLE_MS) <= now_ms)
    }

    /// An upload that is to be given up at `now_ms`.
    pub fn idle_upload(&self, now_ms: u64) -> Option<FileId> {
        self.uploads.keys().copied().find(|upload| self.is_idle(*upload, now_ms))
    }

    /// Whether the asker may show a file in a message.
    pub(super) fn may_show(&self, asking: &Asking<'_>, file_id: FileId) -> Result<(), Refusal> {
        let file = self.files.get(&file_id).filter(|file| file.sha256.is_some());
        let readable = file.is_some_and(|file| self.may_read_file(asking.id, file, asking.now_ms));
        if !readable {
            return Err(no_file());
        }
        match file.is_some_and(|file| file.shown_in() >= MESSAGES_PER_FILE) {
            true => Err(Refusal::new(Code::Forbidden, "the file is shown in as many messages as one may be")),
            false => Ok(()),
        }
    }

    /// Whether a user may read a file: who uploaded it, and who may read a room in which it was posted.
    pub(in super::super) fn may_read_file(&self, user: Option<UserId>, file: &File, now_ms: u64) -> bool {
        Some(file.uploader) == user
            || file.posted.keys().any(|room| {
                self.room_by_id(*room)
                    .is_some_and(|room| rights::allows(Deed::See, self.circumstances(room, user, now_ms)))
            })
    }
}

/// The refusal of a file that does not exist, or might as well not.
pub(in super::super) fn no_file() -> Refusal {
    Refusal::new(Code::NotFound, "there is no such file")
}
