//! Uploads: a file arrives piece by piece, and is complete or given up in the end.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::super::{
    access::Context,
    draft::{Asked, Draft, Write},
    effects::Effects,
    entities::{file::File, room::room_of},
    operation::{Checked, Operation},
    reply::Reply,
    rights::{ClusterPermission, Permission},
    rows,
    state::State,
};
use crate::{
    disk::{ChunkRow, RoomId},
    protocol::{
        file::{FILE_CHUNK_BYTES, FileId, NewFile},
        name::UserName,
        refusal::{Code, Refusal},
        request::{self, Destination},
        text::counted,
    },
};

/// The content type of a file if its uploader names none.
const OCTET_STREAM: &str = "application/octet-stream";
/// Uploads that one user may have begun and not ended.
const UPLOADS_PER_USER: usize = 16;
/// An upload without new bytes for this long makes room for another one of its user. One that goes on never
/// does.
const STALLED_MS: u64 = 5 * 60_000;
/// When to try again if there are too many.
const RETRY_MS: u64 = 1_000;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileBegin {
    /// The id that the file is to have.
    pub file_id: FileId,
    /// The room or the user.
    pub to: Destination,
    pub file: NewFile,
    /// Of a file for a user: whether they were online when the upload began.
    pub is_here: bool,
}

/// Some bytes of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileChunk {
    pub file_id: FileId,
    /// The place of the bytes in the file.
    pub offset: u64,
    pub bytes: Vec<u8>,
}

/// End an upload: from now on the file can be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEnd {
    pub file_id: FileId,
    /// SHA-256 of the whole content.
    pub sha256: [u8; 32],
}

/// Give up an upload that does not go on, or a file that no message has ever shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GiveUpUpload {
    pub file_id: FileId,
}

impl Write for request::FileBegin {
    type Becomes = FileBegin;

    fn draft(self, asked: &Asked<'_>) -> Result<Draft<Self::Becomes>, Refusal> {
        let request::FileBegin { to, name, size, content_type } = self;
        let content_type = content_type.map_or_else(|| OCTET_STREAM.into(), String::from);
        let file = NewFile { name: name.into(), size, content_type };
        let is_here = asked.is_other_online(&to);
        Ok(FileBegin { file_id: asked.new_file_id(), to, file, is_here }.into())
    }
}

impl Write for request::FileChunk {
    type Becomes = FileChunk;

    fn draft(self, _: &Asked<'_>) -> Result<Draft<Self::Becomes>, Refusal> {
        let request::FileChunk { file_id, offset, bytes } = self;
        Ok(FileChunk { file_id, offset, bytes: bytes.into_bytes() }.into())
    }
}

impl Write for request::FileEnd {
    type Becomes = FileEnd;

    fn draft(self, _: &Asked<'_>) -> Result<Draft<Self::Becomes>, Refusal> {
        let request::FileEnd { file_id, sha256 } = self;
        Ok(FileEnd { file_id, sha256: sha256.0 }.into())
    }
}

impl Operation for FileBegin {
    /// The room, if there is one yet, and the upload that makes room for this one.
    type Plan = (Option<RoomId>, Option<FileId>);

    fn check(&self, state: &State, context: &Context<'_>) -> Result<Checked<Self::Plan>, Refusal> {
        let room = self.room(state, context)?;
        if state.files.contains_key(&self.file_id) {
            return Err(Refusal::bad_request("there is a file of this id already; begin again"));
        }
        Ok(Checked::Change((room, state.make_room_for_upload(context)?)))
    }

    fn apply(
        &self,
        (room, given_up): Self::Plan,
        state: &mut State,
        user: &UserName,
        effects: &mut Effects,
    ) -> Reply {
        let uploader = state.user_or_new(effects, user);
        if let Some(given_up) = given_up {
            state.remove_file(effects, given_up);
        }
        let file = File {
            uploader,
            begun: effects.index,
            name: self.file.name.clone(),
            content_type: self.file.content_type.clone(),
            size: self.file.size,
            received: 0,
            sha256: None,
            posted: room.map(|room| (room, BTreeSet::new())).into_iter().collect(),
        };
        // The whole size counts from the beginning, so several uploads at once cannot exceed a quota.
        state.user_mut(uploader).file_bytes += file.size;
        effects.rows.push(rows::file(self.file_id, Some(&file)));
        state.files.insert(self.file_id, file);
        state.upload_goes_on(effects, self.file_id);
        Reply::Receiving { file_id: self.file_id, received: 0 }
    }
}

impl Operation for FileChunk {
    /// How many bytes have arrived with these.
    type Plan = u64;

    fn check(&self, state: &State, context: &Context<'_>) -> Result<Checked<u64>, Refusal> {
        let file = state.own_upload(context, self.file_id)?;
        let end = self.offset.checked_add(self.bytes.len() as u64).filter(|end| *end <= file.size);
        let end = end.ok_or_else(|| {
            Refusal::bad_request(format!(
                "offset and bytes reach beyond the file's {}",
                counted(file.size, "byte")
            ))
        })?;
        // All pieces but the last are of one size, so that a reader finds each by its number.
        let is_piece = self.offset.is_multiple_of(FILE_CHUNK_BYTES as u64)
            && (self.bytes.len() == FILE_CHUNK_BYTES || end == file.size);
        if !is_piece {
            let reason =
                format!("every piece but the last has {FILE_CHUNK_BYTES} bytes, one behind the other");
            return Err(Refusal::bad_request(reason));
        }
        if end <= file.received {
            return Ok(Checked::Unchanged(receiving(self.file_id, file.received)));
        }
        if self.offset != file.received {
            return Err(Refusal::bad_request(format!("the next piece begins at {}", file.received)));
        }
        Ok(Checked::Change(end))
    }

    fn apply(&self, received: u64, state: &mut State, _: &UserName, effects: &mut Effects) -> Reply {
        let file = state.file_mut(self.file_id);
        let number = (file.received / FILE_CHUNK_BYTES as u64) as u32;
        effects.chunks.push(ChunkRow { file: self.file_id, number, bytes: self.bytes.as_slice().into() });
        file.received = received;
        effects.rows.push(rows::file(self.file_id, Some(file)));
        state.upload_goes_on(effects, self.file_id);
        receiving(self.file_id, received)
    }
}

impl Operation for FileEnd {
    type Plan = ();

    fn check(&self, state: &State, context: &Context<'_>) -> Result<Checked<()>, Refusal> {
        let file = state.own_upload(context, self.file_id)?;
        if file.sha256 == Some(self.sha256) {
            return Ok(Checked::Unchanged(file.reply(self.file_id)));
        }
        if file.sha256.is_some() || file.received < file.size {
            let reason = format!("{} of {} have arrived", file.received, counted(file.size, "byte"));
            return Err(Refusal::bad_request(reason));
        }
        Ok(Checked::Change(()))
    }

    fn apply(&self, (): (), state: &mut State, _: &UserName, effects: &mut Effects) -> Reply {
        let file = state.file_mut(self.file_id);
        file.sha256 = Some(self.sha256);
        effects.rows.push(rows::file(self.file_id, Some(file)));
        let reply = file.reply(self.file_id);
        // From now on there is [`UPLOAD_IDLE_MS`] for a message to show it.
        state.upload_goes_on(effects, self.file_id);
        reply
    }
}

impl Operation for GiveUpUpload {
    type Plan = ();

    fn permission(&self) -> ClusterPermission {
        ClusterPermission::Forget
    }

    fn check(&self, state: &State, context: &Context<'_>) -> Result<Checked<()>, Refusal> {
        // It may have gone on since this was proposed, or a message shows it.
        Ok(if state.is_idle(self.file_id, context.now_ms) {
            Checked::Change(())
        } else {
            Checked::Unchanged(Reply::Nothing)
        })
    }

    fn apply(&self, (): (), state: &mut State, _: &UserName, effects: &mut Effects) -> Reply {
        state.remove_file(effects, self.file_id);
        Reply::Nothing
    }
}

impl FileBegin {
    /// The room in which the file will be shown; `None` for a direct conversation that begins with the
    /// message that shows it.
    fn room(&self, state: &State, context: &Context<'_>) -> Result<Option<RoomId>, Refusal> {
        let (name, with) = room_of(context.user, &self.to);
        if context.room.is_none()
            && let (None, Some(with)) = (state.room_id(&name.key()), with)
        {
            state.may_begin_conversation(context, &name, &with, self.is_here)?;
            return Ok(None);
        }
        let (room, found) = state.may(context, Permission::Upload, &name)?;
        state.must_not_be_blocked(context, &found.name)?;
        Ok(Some(room))
    }
}

impl State {
    /// The upload that ends if the user begins another one; `None` if there is room for both.
    fn make_room_for_upload(&self, context: &Context<'_>) -> Result<Option<FileId>, Refusal> {
        let own = self.uploads.iter().filter_map(|(id, last_ms)| Some((*id, *last_ms, self.files.get(id)?)));
        let own = own.filter(|(_, _, file)| Some(file.uploader) == context.id && file.sha256.is_none());
        let own: Vec<_> = own.collect();
        if own.len() < UPLOADS_PER_USER {
            return Ok(None);
        }
        let stalled =
            own.iter().filter(|(_, last_ms, _)| last_ms.saturating_add(STALLED_MS) <= context.now_ms);
        match stalled.min_by_key(|(_, last_ms, file)| (*last_ms, file.begun)) {
            Some((id, _, _)) => Ok(Some(*id)),
            None => {
                let reason =
                    format!("{UPLOADS_PER_USER} of your uploads are on their way; let one end first");
                Err(Refusal::new(Code::RateLimited, reason).retry_after(RETRY_MS))
            }
        }
    }

    /// An upload of the user's; a whole file too, if its answer was lost and it is asked for again.
    fn own_upload(&self, context: &Context<'_>, file_id: FileId) -> Result<&File, Refusal> {
        let file = self.files.get(&file_id).filter(|file| Some(file.uploader) == context.id);
        file.ok_or_else(|| Refusal::new(Code::NotFound, "there is no such upload, or it was given up"))
    }

    /// Notes the time, by which an upload is given up if nothing more of it comes.
    fn upload_goes_on(&mut self, effects: &mut Effects, file_id: FileId) {
        self.uploads.insert(file_id, effects.created_at_ms);
        effects.rows.push(rows::upload(file_id, Some(effects.created_at_ms)));
    }

    fn file_mut(&mut self, file_id: FileId) -> &mut File {
        self.files.get_mut(&file_id).expect("a plan names files that exist")
    }
}

fn receiving(file_id: FileId, received: u64) -> Reply {
    Reply::Receiving { file_id, received }
}
