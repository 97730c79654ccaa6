//! The transfers of a client: sends the requests of [`super::transfer`], and passes their answers on.

use crate::protocol::{
    Code, Refusal,
    answer::{FileAnswer, FilePiece},
    file::FileId,
};

use super::{
    io::Output,
    limits::{LOAD_PAUSE_MAX_MS, LOAD_PAUSE_MS, TRANSFERS_MAX, UPLOADS_AT_ONCE},
    link::Pending,
    outbox::Message,
    rooms,
    state::ClientState,
    transfer::{Download, Sending, TransferOutput, Upload},
    update::Update,
};

impl ClientState {
    pub(super) fn begin_upload(&mut self, tag: u64, mut sending: Sending) {
        if self.too_many_transfers(tag) {
            return;
        }
        sending.room = self.rooms.present(&sending.room);
        let room = self.rooms.want(&sending.room, 0);
        self.rooms_changed |= room.phase != rooms::Phase::Live;
        self.own.add(&sending.room, &sending.client_msg_id);
        self.uploads.push(Upload::new(tag, sending));
    }

    pub(super) fn begin_download(&mut self, tag: u64, file_id: FileId) {
        if !self.too_many_transfers(tag) {
            self.downloads.push(Download::new(tag, file_id));
        }
    }

    fn too_many_transfers(&mut self, tag: u64) -> bool {
        let is_full = self.uploads.len() + self.downloads.len() >= TRANSFERS_MAX;
        if is_full {
            let reason = format!("{TRANSFERS_MAX} files are on their way already");
            self.tell(Update::TransferFailed { tag, reason });
        }
        is_full
    }

    /// Sends the next requests of all transfers.
    pub(super) fn move_files(&mut self) {
        let mut begun = self.uploads.iter().filter(|upload| upload.is_begun()).count();
        for at in 0..self.uploads.len() {
            let upload = &self.uploads[at];
            let (tag, key) = (upload.tag, upload.sending.room.key());
            if self.rooms.get(&key).is_none_or(|room| room.phase != rooms::Phase::Live) {
                continue;
            }
            if !upload.is_begun() {
                if begun >= UPLOADS_AT_ONCE || upload.not_before_ms > self.now_ms {
                    continue;
                }
                begun += 1;
            }
            while self.may_ask()
                && let Some(want) = self.uploads[at].want()
            {
                match want {
                    TransferOutput::Ask(request) => drop(self.ask(*request, Pending::Upload(tag))),
                    TransferOutput::Read { offset, length } => {
                        self.outputs.push_back(Output::Read { tag, offset, length });
                    }
                }
            }
        }
        for at in 0..self.downloads.len() {
            let tag = self.downloads[at].tag;
            while self.may_ask()
                && let Some(TransferOutput::Ask(request)) = self.downloads[at].want()
            {
                self.ask(*request, Pending::Download(tag));
            }
        }
    }

    /// A part of a file was read from the disk.
    pub(super) fn bytes_read(&mut self, tag: u64, offset: u64, bytes: Vec<u8>) {
        let Some(upload) = self.uploads.iter_mut().find(|upload| upload.tag == tag) else { return };
        let Some(TransferOutput::Ask(request)) = upload.read(offset, bytes) else { return };
        match self.fits(&request) {
            Ok(()) => drop(self.ask(*request, Pending::Upload(tag))),
            Err(refusal) => self.fail_transfer(tag, refusal.reason),
        }
    }

    pub(super) fn upload_acked(&mut self, tag: u64, answer: FileAnswer) {
        self.settle();
        let Some(at) = self.uploads.iter().position(|upload| upload.tag == tag) else { return };
        match self.uploads[at].acked(answer) {
            Ok(None) => {}
            Err(broken) => self.fail_transfer(tag, broken.to_string()),
            Ok(Some(file)) => {
                let Sending { room, body, client_msg_id, .. } = self.uploads.remove(at).sending;
                let file_id = Some(file.file_id);
                self.tell(Update::Uploaded { tag, file });
                self.send(Message { client_msg_id, room, room_id: None, body, reply_to: None, file_id });
            }
        }
    }

    pub(super) fn upload_refused(&mut self, tag: u64, refusal: &Refusal) {
        let Some(upload) = self.uploads.iter_mut().find(|upload| upload.tag == tag) else { return };
        if refusal.code == Code::RateLimited && upload.is_at_its_beginning() {
            // Too many uploads of the user: this one is tried again later, and all else goes on.
            let pause_ms = refusal.retry_after_ms.unwrap_or(LOAD_PAUSE_MS);
            upload.not_before_ms = self.now_ms + pause_ms.clamp(LOAD_PAUSE_MS, LOAD_PAUSE_MAX_MS);
            upload.refused_for_load();
        } else if refusal.code.retryable() {
            upload.refused_for_load();
            self.hold(refusal);
        } else if upload.refused(refusal) {
            self.fail_transfer(tag, refusal.reason.clone());
        }
    }

    pub(super) fn piece_came(&mut self, tag: u64, piece: FilePiece) {
        self.back_in_touch();
        let Some(at) = self.downloads.iter().position(|download| download.tag == tag) else { return };
        let file = piece.file();
        let came = self.downloads[at].came(piece).map(|(bytes, last)| (file, bytes, last));
        match came {
            Err(broken) => self.fail_transfer(tag, broken.to_string()),
            Ok((file, bytes, last)) => {
                if last {
                    self.downloads.remove(at);
                }
                if last || !bytes.is_empty() {
                    self.outputs.push_back(Output::Save { tag, file, bytes, last });
                }
            }
        }
    }

    pub(super) fn download_refused(&mut self, tag: u64, refusal: &Refusal) {
        let Some(download) = self.downloads.iter_mut().find(|download| download.tag == tag) else { return };
        if refusal.code.retryable() {
            download.refused_for_load();
            self.hold(refusal);
        } else {
            self.fail_transfer(tag, refusal.reason.clone());
        }
    }

    pub(super) fn fail_transfer(&mut self, tag: u64, reason: String) {
        self.give_up(tag);
        self.tell(Update::TransferFailed { tag, reason });
    }

    pub(super) fn give_up(&mut self, tag: u64) {
        if let Some(at) = self.uploads.iter().position(|upload| upload.tag == tag) {
            let Sending { room, client_msg_id, .. } = self.uploads.remove(at).sending;
            self.own.remove(&room, &client_msg_id);
        }
        self.downloads.retain(|download| download.tag != tag);
    }

    /// The user has to log in, or was removed from the room: all transfers fail.
    pub(super) fn fail_transfers(&mut self, reason: &str) {
        let uploads = self.uploads.iter().map(|upload| upload.tag);
        let tags: Vec<u64> = uploads.chain(self.downloads.iter().map(|download| download.tag)).collect();
        for tag in tags {
            self.fail_transfer(tag, reason.to_owned());
        }
    }

    /// A room was refused: no file can be posted in it.
    pub(super) fn fail_uploads_to(&mut self, key: &crate::protocol::RoomKey, refusal: &Refusal) {
        debug_assert!(refusal.code != Code::Unavailable, "then the connection ends, and not the upload");
        let to_it = |upload: &&Upload| upload.sending.room.key() == *key;
        let tags: Vec<u64> = self.uploads.iter().filter(to_it).map(|upload| upload.tag).collect();
        for tag in tags {
            self.fail_transfer(tag, refusal.reason.clone());
        }
    }
}
