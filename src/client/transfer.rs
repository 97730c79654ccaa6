//! Transfers of files, piece by piece, over as many connections as it takes.
//!
//! Every request may be repeated. A server accepts a piece that it has already and says how much it has, so
//! after a lost connection an upload goes on with the first piece that was not acknowledged. A `file_begin`
//! whose answer was lost is asked again, and the first one is given up by the servers after a while. Pieces
//! are sent in order, a few at a time. A piece refused for load makes those behind it fail, so nothing more
//! is sent until all are answered; then sending goes on with the first missing one. As with messages, the
//! window starts at one on every connection and grows by one with each answer.

use std::collections::BTreeMap;

use thiserror::Error;

use crate::protocol::{
    FileInfo, Refusal, RoomName,
    answer::{Either, FileAnswer, FilePiece},
    checked::{ChunkBytes, ContentType, Digest, FileName},
    file::{FILE_CHUNK_BYTES, FileId},
    request::{Destination, FileBegin, FileChunk, FileEnd, FileRead, Request},
};

use super::renamed::Renamed;

/// Pieces that may be on their way at once.
pub const WINDOW: usize = 4;
/// Times that an upload is begun anew because the servers have given it up.
const BEGINS_MAX: u32 = 3;

/// How a server contradicts what it said about a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Broken {
    /// It has the whole file before anything was sent.
    #[error("the server has the file already")]
    HasAlready,
    /// It says that pieces are missing, after it took every one.
    #[error("the server says that the file is not whole")]
    NotWhole,
    /// It answers about another file.
    #[error("the server speaks of another file")]
    AnotherFile,
    /// It gives a piece of the wrong size.
    #[error("the server sent a piece of the wrong length")]
    WrongLength,
}

/// The plan of an upload.
#[derive(Debug, Clone, PartialEq)]
pub struct Sending {
    /// The room it is shown in.
    pub room: RoomName,
    pub name: FileName,
    /// Its size in bytes.
    pub size: u64,
    pub content_type: Option<ContentType>,
    /// SHA-256 of its content.
    pub sha256: Digest,
    /// The text of its message.
    pub body: String,
    /// The id of the message that shows it.
    pub client_msg_id: String,
}

impl Sending {
    /// Its room may have another name.
    pub(super) fn follow(&mut self, renamed: &Renamed) {
        if let Some(name) = renamed.of(&self.room) {
            self.room = name.clone();
        }
    }

    fn begin(&self) -> FileBegin {
        FileBegin {
            to: Destination::Room(self.room.clone()),
            name: self.name.clone(),
            size: self.size,
            content_type: self.content_type.clone(),
        }
    }
}

/// The next wish of a transfer.
#[derive(Debug, PartialEq)]
pub enum TransferOutput {
    /// Ask this of the server.
    Ask(Box<Request>),
    /// Read this part of the local file.
    Read { offset: u64, length: usize },
}

impl TransferOutput {
    fn ask(request: impl Into<Request>) -> TransferOutput {
        TransferOutput::Ask(Box::new(request.into()))
    }
}

#[derive(Debug)]
enum Step {
    Begin { asked: bool },
    Send(FileId, Pieces),
    End { file_id: FileId, asked: bool },
}

/// The pieces of a file, in order.
#[derive(Debug, Default)]
struct Pieces {
    /// All before this is done.
    done: u64,
    /// The next to ask for.
    next: u64,
    in_flight: usize,
    /// Answers since the connection began or shed load.
    answers: usize,
    /// One was refused for load: wait for all answers and begin again at `done`.
    recovering: bool,
}

impl Pieces {
    fn may_ask(&self) -> bool {
        !self.recovering && self.in_flight < WINDOW.min(1 + self.answers)
    }

    fn answered(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.answers += 1;
        if self.in_flight == 0 && self.recovering {
            self.lost();
        }
    }

    fn lost(&mut self) {
        (self.next, self.in_flight, self.answers, self.recovering) = (self.done, 0, 0, false);
    }
}

/// A file on its way to the servers.
#[derive(Debug)]
pub struct Upload {
    /// Given by the user.
    pub tag: u64,
    pub sending: Sending,
    step: Step,
    /// A part of the file is being read.
    reading: Option<u64>,
    begins: u32,
    /// It does not begin before this time, because the servers took no further upload.
    pub not_before_ms: u64,
}

impl Upload {
    /// Nothing was asked yet.
    pub fn new(tag: u64, sending: Sending) -> Self {
        Upload {
            tag,
            sending,
            step: Step::Begin { asked: false },
            reading: None,
            begins: 0,
            not_before_ms: 0,
        }
    }

    /// Whether it is under way, and not only waiting for its turn.
    pub fn is_begun(&self) -> bool {
        !matches!(self.step, Step::Begin { asked: false })
    }

    /// Whether the servers have not accepted it yet.
    pub fn is_at_its_beginning(&self) -> bool {
        matches!(self.step, Step::Begin { .. })
    }

    /// What to do next, if anything.
    pub fn want(&mut self) -> Option<TransferOutput> {
        let size = self.sending.size;
        match &mut self.step {
            Step::Begin { asked } if !*asked => {
                *asked = true;
                self.begins += 1;
                Some(TransferOutput::ask(self.sending.begin()))
            }
            Step::Send(file_id, pieces) if pieces.done >= size && pieces.in_flight == 0 => {
                self.step = Step::End { file_id: *file_id, asked: false };
                self.want()
            }
            Step::Send(_, pieces) if self.reading.is_none() && pieces.may_ask() && pieces.next < size => {
                let offset = pieces.next;
                self.reading = Some(offset);
                let length = (size - offset).min(FILE_CHUNK_BYTES as u64) as usize;
                Some(TransferOutput::Read { offset, length })
            }
            Step::End { file_id, asked } if !*asked => {
                *asked = true;
                Some(TransferOutput::ask(FileEnd { file_id: *file_id, sha256: self.sending.sha256 }))
            }
            _ => None,
        }
    }

    /// A part of the file was read; the request that sends it, if it is still what is wanted.
    pub fn read(&mut self, offset: u64, bytes: Vec<u8>) -> Option<TransferOutput> {
        if self.reading != Some(offset) {
            return None;
        }
        self.reading = None;
        let Step::Send(file_id, pieces) = &mut self.step else { return None };
        if pieces.next != offset || !pieces.may_ask() {
            return None;
        }
        // No more were asked for than a piece may have.
        let length = bytes.len() as u64;
        let bytes = ChunkBytes::new(bytes).ok()?;
        pieces.next += length;
        pieces.in_flight += 1;
        Some(TransferOutput::ask(FileChunk { file_id: *file_id, offset, bytes }))
    }

    /// The servers have done what was asked. Gives the file once it is whole.
    ///
    /// # Errors
    /// The server contradicts what it said.
    pub fn acked(&mut self, answer: FileAnswer) -> Result<Option<FileInfo>, Broken> {
        match (&mut self.step, answer) {
            (Step::Begin { .. }, Either::That(receiving)) => {
                self.step = Step::Send(receiving.file_id, Pieces::default());
                Ok(None)
            }
            (Step::Send(_, pieces), answer) => {
                let received = match answer {
                    Either::This(file) => file.size,
                    Either::That(receiving) => receiving.received,
                };
                pieces.done = pieces.done.max(received).min(self.sending.size);
                pieces.next = pieces.next.max(pieces.done);
                pieces.answered();
                Ok(None)
            }
            (Step::End { .. }, Either::This(file)) => Ok(Some(file.into())),
            (Step::Begin { .. }, Either::This(_)) => Err(Broken::HasAlready),
            (Step::End { .. }, Either::That(_)) => Err(Broken::NotWhole),
        }
    }

    /// The servers shed load: what was asked did not happen.
    pub fn refused_for_load(&mut self) {
        match &mut self.step {
            Step::Begin { asked } | Step::End { asked, .. } => *asked = false,
            Step::Send(_, pieces) => {
                pieces.recovering = true;
                pieces.answered();
            }
        }
    }

    /// The servers refuse. Whether that ends the upload.
    pub fn refused(&mut self, refusal: &Refusal) -> bool {
        let is_gone = refusal.code == crate::protocol::Code::NotFound && self.begins < BEGINS_MAX;
        match &mut self.step {
            // Pieces behind one that was refused for load do not fit any more.
            Step::Send(_, pieces) if pieces.recovering => {
                pieces.answered();
                false
            }
            Step::Send(..) | Step::End { .. } if is_gone => {
                (self.step, self.reading) = (Step::Begin { asked: false }, None);
                false
            }
            _ => true,
        }
    }

    /// The connection is gone, and with it the answers.
    pub fn lost(&mut self) {
        self.reading = None;
        match &mut self.step {
            Step::Begin { asked } | Step::End { asked, .. } => *asked = false,
            Step::Send(_, pieces) => pieces.lost(),
        }
    }
}

/// A file on its way from the servers.
#[derive(Debug)]
pub struct Download {
    /// Given by the user.
    pub tag: u64,
    file_id: FileId,
    pieces: Pieces,
    size: Option<u64>,
    /// Pieces that came before their turn.
    early: BTreeMap<u64, Vec<u8>>,
}

impl Download {
    /// Nothing was asked yet.
    pub fn new(tag: u64, file_id: FileId) -> Self {
        Download { tag, file_id, pieces: Pieces::default(), size: None, early: BTreeMap::new() }
    }

    /// The next request, if there is one to make.
    pub fn want(&mut self) -> Option<TransferOutput> {
        // Only the first piece tells how long the file is.
        let is_more = match self.size {
            None => self.pieces.in_flight == 0,
            Some(size) => self.pieces.next < size,
        };
        if !is_more || !self.pieces.may_ask() {
            return None;
        }
        let offset = self.pieces.next;
        self.pieces.next += FILE_CHUNK_BYTES as u64;
        self.pieces.in_flight += 1;
        Some(TransferOutput::ask(FileRead { file_id: self.file_id, offset }))
    }

    /// A piece has come: the bytes whose turn it is, and whether they are the last.
    ///
    /// # Errors
    /// The server contradicts what it said.
    pub fn came(&mut self, piece: FilePiece) -> Result<(Vec<u8>, bool), Broken> {
        let size = *self.size.get_or_insert(piece.size);
        if piece.size != size || piece.file_id != self.file_id {
            return Err(Broken::AnotherFile);
        }
        let wanted = size.saturating_sub(piece.offset).min(FILE_CHUNK_BYTES as u64);
        if piece.bytes.len() as u64 != wanted {
            return Err(Broken::WrongLength);
        }
        if piece.offset >= self.pieces.done {
            self.early.insert(piece.offset, piece.bytes);
        }
        let mut ready = Vec::new();
        while let Some(bytes) = self.early.remove(&self.pieces.done) {
            self.pieces.done += bytes.len() as u64;
            ready.extend(bytes);
            if self.pieces.done >= size {
                break;
            }
        }
        self.pieces.answered();
        Ok((ready, self.pieces.done >= size))
    }

    /// The server sheds load.
    pub fn refused_for_load(&mut self) {
        self.pieces.recovering = true;
        self.pieces.answered();
    }

    /// The connection is gone, and with it the answers.
    pub fn lost(&mut self) {
        self.pieces.lost();
        self.early.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{
        Code,
        answer::{FileDone, Receiving},
    };

    const CHUNK: u64 = FILE_CHUNK_BYTES as u64;

    fn upload(size: u64) -> Upload {
        let sending = Sending {
            room: RoomName::new("lobby").unwrap(),
            name: FileName::new("a.txt").unwrap(),
            size,
            content_type: ContentType::new("text/plain").ok(),
            sha256: Digest([0; 32]),
            body: "a.txt".into(),
            client_msg_id: "m".into(),
        };
        Upload::new(1, sending)
    }

    const FILE: FileId = FileId([7; 16]);

    fn receiving(received: u64) -> FileAnswer {
        Either::That(Receiving { chunk_bytes: CHUNK, file_id: FILE, received })
    }

    fn info(size: u64) -> FileInfo {
        FileInfo {
            file_id: FILE,
            name: "a.txt".into(),
            size,
            sha256: String::new(),
            content_type: "x/y".into(),
        }
    }

    fn begins(want: Option<TransferOutput>) -> bool {
        matches!(want, Some(TransferOutput::Ask(request)) if matches!(*request, Request::FileBegin(_)))
    }

    fn begun(size: u64) -> Upload {
        let mut upload = upload(size);
        assert!(begins(upload.want()));
        assert_eq!(upload.want(), None);
        upload.acked(receiving(0)).unwrap();
        upload
    }

    /// Reads and sends all that may be on its way now; the offsets.
    fn pump(upload: &mut Upload) -> Vec<u64> {
        let mut sent = vec![];
        while let Some(want) = upload.want() {
            match want {
                TransferOutput::Read { offset, length } => {
                    let Some(TransferOutput::Ask(request)) = upload.read(offset, vec![1; length]) else {
                        panic!("a piece that was asked for is sent")
                    };
                    assert!(matches!(*request, Request::FileChunk(chunk) if chunk.offset == offset));
                    sent.push(offset / CHUNK);
                }
                TransferOutput::Ask(request) => {
                    assert!(matches!(*request, Request::FileEnd(_)), "{request:?}");
                    sent.push(999);
                }
            }
        }
        sent
    }

    fn received(upload: &mut Upload, pieces: u64) {
        let received = (pieces * CHUNK).min(upload.sending.size);
        assert_eq!(upload.acked(receiving(received)), Ok(None));
    }

    #[test]
    fn a_few_pieces_are_on_their_way_and_the_end_waits_for_all() {
        let mut upload = begun(5 * CHUNK + 7);
        assert_eq!(pump(&mut upload), [0], "one at first");
        received(&mut upload, 1);
        assert_eq!(pump(&mut upload), [1, 2]);
        received(&mut upload, 2);
        received(&mut upload, 3);
        assert_eq!(pump(&mut upload), [3, 4, 5]);
        received(&mut upload, 4);
        received(&mut upload, 5);
        assert!(pump(&mut upload).is_empty());
        received(&mut upload, 6);
        assert_eq!(pump(&mut upload), [999]);
        let whole = Either::This(FileDone::from(info(1)));
        assert_eq!(upload.acked(whole).unwrap().unwrap().name, "a.txt");
    }

    #[test]
    fn after_a_lost_connection_it_goes_on_at_the_first_piece_that_is_not_acknowledged() {
        let mut upload = begun(6 * CHUNK);
        pump(&mut upload);
        received(&mut upload, 1);
        pump(&mut upload);
        upload.lost();
        assert_eq!(pump(&mut upload), [1]);
        // The server had more of it than its answers said.
        received(&mut upload, 5);
        assert_eq!(pump(&mut upload), [5]);
        received(&mut upload, 6);
        assert_eq!(pump(&mut upload), [999]);
        upload.lost();
        assert_eq!(pump(&mut upload), [999], "the end is asked for again");
    }

    #[test]
    fn a_piece_refused_for_load_is_sent_again_when_all_are_answered() {
        let mut upload = begun(6 * CHUNK);
        pump(&mut upload);
        received(&mut upload, 1);
        assert_eq!(pump(&mut upload), [1, 2]);
        upload.refused_for_load();
        assert!(pump(&mut upload).is_empty());
        let no = Refusal::bad_request("the next piece begins elsewhere");
        assert!(!upload.refused(&no), "it only came behind");
        assert_eq!(pump(&mut upload), [1]);
        assert!(upload.refused(&no), "otherwise a refusal is the end");
    }

    #[test]
    fn an_upload_that_was_given_up_begins_again_but_not_for_ever() {
        let mut upload = begun(CHUNK);
        let gone = Refusal::new(Code::NotFound, "given up");
        for _ in 0..2 {
            pump(&mut upload);
            assert!(!upload.refused(&gone));
            assert!(begins(upload.want()));
            upload.acked(receiving(0)).unwrap();
        }
        pump(&mut upload);
        assert!(upload.refused(&gone));
    }

    #[test]
    fn a_download_is_handed_on_in_order_and_resumed() {
        let size = 3 * CHUNK + 1;
        let piece = |number: u64| {
            let length = (size - number * CHUNK).min(CHUNK) as usize;
            FilePiece::new(&info(size), number * CHUNK, vec![number as u8; length])
        };
        let mut download = Download::new(1, FILE);
        let asked = |download: &mut Download| std::iter::from_fn(|| download.want()).count();
        assert_eq!(asked(&mut download), 1, "its size is not known yet");
        assert_eq!(download.came(piece(0)).unwrap().0.len() as u64, CHUNK);
        assert_eq!(asked(&mut download), 2);
        assert_eq!(download.came(piece(2)).unwrap().0.len(), 0);
        download.lost();
        assert_eq!(asked(&mut download), 1);
        assert_eq!(download.came(piece(1)).unwrap().0.len() as u64, CHUNK);
        assert_eq!(asked(&mut download), 2);
        assert_eq!(download.came(piece(3)).unwrap(), (vec![], false), "not its turn");
        let (bytes, last) = download.came(piece(2)).unwrap();
        assert_eq!((bytes.len() as u64, bytes.last(), last), (CHUNK + 1, Some(&3), true));
    }
}
