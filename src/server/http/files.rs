//! Files over HTTP: a post becomes the requests `file_begin`, `file_chunk`… and `file_end`, a read becomes
//! `file_read`s. Never more than a few chunks of a file are in memory.

use std::{
    collections::VecDeque,
    io::{self, Read, Seek, Write},
    time::Duration,
};

use serde_json::json;
use sha2::{Digest, Sha256};

use super::{
    exchange::{Abort, Done, Exchange},
    failures::refused,
    file_name::{disposition, essence},
    form_file::{FormFile, Found},
    head::Head,
    method::Method,
    multipart::parameter,
    range::{ByteRange, byte_range},
    response::Response,
};
use crate::{
    protocol::{
        Code, FileId, FileInfo, Refusal, RoomId, RoomName, UserName,
        answer::{Either, FilePiece, Receiving, SentAnswer},
        checked::{self, Body, ChunkBytes, ClientMsgId, ContentType, FileName},
        credential::Token,
        file::FILE_CHUNK_BYTES,
        limits::ROOM_ID_END,
        request::{Chat, Destination, FileBegin, FileChunk, FileDelete, FileEnd, FileRead, Login},
        text::counted,
    },
    server::clients::local_session::{ANSWER_WITHIN, ChatSession, Failure, LocalSession, ask, ask_in, wait},
};

/// The bytes of each chunk except the last. A read begins at a multiple of it.
const CHUNK_BYTES: u64 = FILE_CHUNK_BYTES as u64;
/// Chunks that are on their way to the log at once.
const CHUNKS_AHEAD: usize = 4;
/// Bytes of a form that are not those of the file.
const FORM_ASIDE_MAX: u64 = 64 * 1024;
/// The fields of a post's query.
const FIELDS: [&str; 6] = ["room", "room_id", "to", "name", "post", "text"];
/// Least pause before a failed request is sent again.
const PAUSE: Duration = Duration::from_millis(200);
/// The policy of a file that is shown: it may do and load nothing.
const FILE_CSP: &str =
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox";

/// Takes a file in.
pub fn upload(exchange: &mut Exchange<'_>, _: &str) -> Result<Done, Abort> {
    let (server, info) = (exchange.server, exchange.info);
    let mut upload = Upload::read(&exchange.head)?;
    is_not_packed(&exchange.head)?;
    if exchange.head.is_chunked || upload.boundary.is_some() {
        return upload_of_unknown_size(exchange, &mut upload);
    }
    let session = LocalSession::open(server, info, ANSWER_WITHIN)?;
    let mut session = session.reopening_until(exchange.body_deadline());
    let answer = upload.carry_out(&mut session, |count| exchange.read_body(count))?;
    Ok(Done::Answer(answer))
}

/// The boundary between the fields, if the body is a form.
fn boundary(head: &Head) -> Result<Option<String>, Abort> {
    match head.once("content-type")? {
        Some(given) if essence(given) == "multipart/form-data" => {
            let boundary = parameter(given, "boundary").filter(|boundary| !boundary.is_empty());
            let missing = || Response::error(400, "bad_request", "multipart/form-data needs a boundary");
            Ok(Some(boundary.ok_or_else(missing)?))
        }
        _ => Ok(None),
    }
}

/// A packed body would be stored as it came, and given out as if it had never been packed.
fn is_not_packed(head: &Head) -> Result<(), Abort> {
    let mut encodings = head.all("content-encoding").flat_map(|value| value.split(','));
    if encodings.all(|encoding| ["", "identity"].contains(&encoding.trim().to_ascii_lowercase().as_str())) {
        return Ok(());
    }
    let reason = "send the file as it is, without Content-Encoding";
    Err(Response::error(415, "bad_request", reason).with("Accept-Encoding", "identity").into())
}

/// Takes in a file that comes in chunks or in a form. The chat must know its size first, so it is kept on the
/// disk, without a name, until it is complete.
fn upload_of_unknown_size(exchange: &mut Exchange<'_>, upload: &mut Upload) -> Result<Done, Abort> {
    let config = exchange.server.context.config();
    let most = config.replica.limits.file_bytes;
    let too_large = || {
        Abort::from(Response::error(413, "too_large", &format!("a file may have {}", counted(most, "byte"))))
    };
    let mut form = upload.boundary.as_deref().map(FormFile::new);
    // Temporary folders may be small, or may not be there at all.
    let mut file = tempfile::tempfile_in(&config.data_dir).map_err(|error| no_space(&error))?;
    let mut taken = 0;
    upload.size = 0;
    loop {
        let piece = exchange.read_body(FILE_CHUNK_BYTES)?;
        if piece.is_empty() {
            break;
        }
        taken += piece.len() as u64;
        let piece = match &mut form {
            Some(form) => form.take(&piece)?,
            None => piece,
        };
        upload.size += piece.len() as u64;
        if upload.size > most || taken > most + FORM_ASIDE_MAX {
            return Err(too_large());
        }
        file.write_all(&piece).map_err(|error| no_space(&error))?;
    }
    if let Some(form) = form {
        upload.is_from(form.end()?)?;
    }
    file.rewind()?;
    let (server, info) = (exchange.server, exchange.info);
    let session = LocalSession::open(server, info, ANSWER_WITHIN)?;
    let mut session = session.reopening_until(exchange.body_deadline());
    let answer = upload.carry_out(&mut session, |count| {
        let mut piece = Vec::new();
        (&file).take(count as u64).read_to_end(&mut piece)?;
        Ok(piece)
    })?;
    Ok(Done::Answer(answer))
}

fn no_space(error: &io::Error) -> Abort {
    log::warn!("a file that comes in could not wait on the disk: {error}");
    refused(&Refusal::new(Code::Overloaded, "this server's disk does not take the file at the moment")).into()
}

/// Gives a file out, or a part of it.
pub fn download(exchange: &mut Exchange<'_>, file_id: &str) -> Result<Done, Abort> {
    let (server, info) = (exchange.server, exchange.info);
    let download = Download::read(&exchange.head, file_id)?;
    let mut session = LocalSession::open(server, info, ANSWER_WITHIN)?;
    download.carry_out(&mut session, exchange)
}

/// The token, or the answer if there is none.
fn token(head: &Head) -> Result<String, Response> {
    head.bearer().map(str::to_owned).ok_or_else(|| {
        refused(&Refusal::new(Code::NotAuthenticated, "send a token: Authorization: Bearer TOKEN"))
    })
}

/// Logs a session in. Any text may be given for a token.
fn log_in(session: &mut dyn ChatSession, token: &str) -> Result<(), Failure> {
    ask(session, Login::Token(Token::given(token))).map(drop)
}

/// The answer to a post with a wrong query: what is wrong, and what is right.
fn wrong_query(head: &Head, wrong: &str) -> Response {
    let mut unknown: Vec<&str> = head.target.field_names().filter(|name| !FIELDS.contains(name)).collect();
    unknown.dedup();
    let ignored = match unknown.is_empty() {
        true => String::new(),
        false => format!("; {} is not known here", unknown.join(", ")),
    };
    let reason = format!("{wrong}{ignored}: POST /files?room=R&name=N, or to=USER for room=R");
    refused(&Refusal::bad_request(reason))
}

fn invalid(field: &'static str) -> impl Fn(checked::Invalid) -> Failure {
    move |invalid| invalid.of(field).into()
}

/// An answer that no server of this version gives.
fn wrong_answer() -> Failure {
    Refusal::new(Code::Unavailable, "an answer of this server is about something else").into()
}

/// A post of a file, without its bytes.
struct Upload {
    token: String,
    to: Destination,
    /// The number of the room, if it was given: then the name does not count.
    room_id: Option<RoomId>,
    /// Empty until a form has named it.
    name: String,
    /// The boundary between the fields, if the body is a form.
    boundary: Option<String>,
    content_type: Option<String>,
    size: u64,
    /// The text of the message that shows it, if it is to be posted; empty for the name of the file.
    message: Option<String>,
}

impl Upload {
    fn read(head: &Head) -> Result<Upload, Abort> {
        let token = token(head)?;
        let boundary = boundary(head)?;
        let wrong = |wrong: &str| Abort::from(wrong_query(head, wrong));
        for name in FIELDS {
            if head.target.field_names().filter(|known| *known == name).count() > 1 {
                return Err(wrong(&format!("{name} is there more than once")));
            }
        }
        let field = |name: &str| head.target.field(name).map(str::to_owned);
        let room = field("room").map(RoomName::try_from).transpose().map_err(invalid("room"))?;
        let to = field("to").map(UserName::try_from).transpose().map_err(invalid("to"))?;
        let to = Destination::new(room, to).map_err(wrong)?;
        let room_id = field("room_id").map(|number| match number.parse() {
            Ok(number) if number < ROOM_ID_END => Ok(RoomId(number)),
            _ => Err(wrong("room_id must be an unsigned integer below 2^53")),
        });
        let room_id = room_id.transpose()?.filter(|_| matches!(to, Destination::Room(_)));
        let name = field("name").unwrap_or_default();
        if name.is_empty() && boundary.is_none() {
            return Err(wrong("name is missing"));
        }
        let text = field("text").unwrap_or_default();
        let message = match field("post").unwrap_or_default().as_str() {
            "" | "0" | "false" => None,
            "1" | "true" => Some(text),
            _ => return Err(wrong("post must be 1, if a message is to show the file, or 0")),
        };
        // curl calls every body a form unless it is told another type.
        let content_type = head.once("content-type")?.filter(|given| {
            let essence = essence(given);
            !["", "application/x-www-form-urlencoded", "multipart/form-data"].contains(&essence.as_str())
        });
        Ok(Upload {
            token,
            to,
            room_id,
            name,
            boundary,
            content_type: content_type.map(str::to_owned),
            size: head.body_bytes,
            message,
        })
    }

    /// Notes what the form says of the file. What is in the query counts more.
    fn is_from(&mut self, found: Found) -> Result<(), Abort> {
        if self.name.is_empty() {
            let reason = "the form names no file: curl -F file=@FILE, or give name in the query";
            self.name = found.name.ok_or_else(|| Failure::from(Refusal::bad_request(reason)))?;
        }
        self.content_type = found.content_type;
        if let Some(message) = self.message.as_mut().filter(|message| message.is_empty()) {
            *message = found.text.unwrap_or_default();
        }
        Ok(())
    }

    /// Takes the bytes piece by piece from `body` and hands them to the chat.
    ///
    /// The sender need not notice that the leader changes: if an outcome is unknown, this asks again on a new
    /// session, as a client would, while there is time.
    fn carry_out(
        &self,
        session: &mut dyn ChatSession,
        body: impl FnMut(usize) -> Result<Vec<u8>, Abort>,
    ) -> Result<Response, Abort> {
        let mut pieces =
            Pieces { body, size: self.size, read: 0, hash: Sha256::new(), unconfirmed: VecDeque::new() };
        let mut begun = None;
        let ended = loop {
            let stop = match self.hand_over(session, &mut begun, &mut pieces) {
                Ok(ended) => break ended,
                Err(stop) => stop,
            };
            if let Abort::Failed(Failure::Refused(refusal)) = &stop
                && may_pass(refusal, begun.is_some())
                && session.reopen(PAUSE.max(Duration::from_millis(refusal.retry_after_ms.unwrap_or(0))))
            {
                continue;
            }
            if let Some(Begun { file_id, may_be_shown: false, .. }) = begun {
                // The part that was sent is useless. It does not matter here whether this request arrives.
                let _ = session.send(FileDelete { file_id }.into());
            }
            return Err(stop);
        };
        let (FileInfo { file_id, name, size, sha256, content_type }, sent) = ended;
        let mut body = json!({
            "file_id": file_id, "size": size, "sha256": sha256, "name": name, "content_type": content_type,
        });
        if let Some(SentAnswer { room, seq, .. }) = sent {
            body["room"] = json!(room);
            body["seq"] = seq.into();
        }
        Ok(Response::json(201, &body).with("Location", format!("/files/{file_id}")))
    }

    /// Does on one session what is left to do. A `file_begin` whose answer was lost is sent again, and the
    /// servers give up the first upload; all other requests can be repeated without effect.
    fn hand_over<B: FnMut(usize) -> Result<Vec<u8>, Abort>>(
        &self,
        session: &mut dyn ChatSession,
        begun: &mut Option<Begun>,
        pieces: &mut Pieces<B>,
    ) -> Result<(FileInfo, Option<SentAnswer>), Abort> {
        log_in(session, &self.token)?;
        let begun = match begun {
            Some(begun) => begun,
            None => begun.insert(self.begin(session)?),
        };
        pieces.hand_over(session, begun)?;
        let sha256 = checked::Digest(pieces.hash.clone().finalize().into());
        let file = match ask(session, FileEnd { file_id: begun.file_id, sha256 })? {
            Either::This(file) => FileInfo::from(file),
            Either::That(_) => return Err(wrong_answer().into()),
        };
        let Some(text) = &self.message else { return Ok((file, None)) };
        let sent = self.show(session, text, begun);
        // The message may have been posted, and then its file must stay.
        begun.may_be_shown =
            matches!(&sent, Err(Failure::Refused(refusal)) if refusal.code == Code::Unavailable);
        Ok((file, Some(sent?)))
    }

    /// Posts the message that shows the file. Its name is made of the file's, so it can be sent again.
    fn show(&self, session: &mut dyn ChatSession, text: &str, begun: &Begun) -> Result<SentAnswer, Failure> {
        let text = if text.is_empty() { &self.name } else { text };
        let body = Body::new(text.to_owned()).map_err(invalid("text"))?;
        let client_msg_id = ClientMsgId::new(format!("file-{}", begun.file_id));
        let message = Chat {
            to: self.to.clone(),
            body,
            client_msg_id: Some(client_msg_id.map_err(invalid("client_msg_id"))?),
            reply_to: None,
            file_id: Some(begun.file_id),
            follows: None,
        };
        ask_in(session, self.room_id, message)
    }

    fn begin(&self, session: &mut dyn ChatSession) -> Result<Begun, Failure> {
        let name = FileName::new(self.name.as_str()).map_err(invalid("name"))?;
        let content_type = self.content_type.as_deref().map(ContentType::new).transpose();
        let content_type = content_type.map_err(invalid("content_type"))?;
        let begin = FileBegin { to: self.to.clone(), name, size: self.size, content_type };
        match ask_in(session, self.room_id, begin)? {
            Either::That(Receiving { chunk_bytes, file_id, .. }) => {
                let chunk_bytes = chunk_bytes.clamp(1, CHUNK_BYTES) as usize;
                Ok(Begun { file_id, chunk_bytes, may_be_shown: false })
            }
            Either::This(_) => Err(wrong_answer()),
        }
    }
}

/// Whether to ask again after this refusal. One that may not begin now is told so; one that has begun is
/// carried to its end.
fn may_pass(refusal: &Refusal, has_begun: bool) -> bool {
    refusal.code == Code::Unavailable || has_begun && refusal.code.retryable()
}

/// An upload that the chat knows of.
#[derive(Clone, Copy)]
struct Begun {
    file_id: FileId,
    chunk_bytes: usize,
    /// A message that shows it was sent, and whether it was posted is unknown.
    may_be_shown: bool,
}

/// The bytes of a file on their way from a body to the chat.
struct Pieces<B> {
    body: B,
    size: u64,
    /// How many bytes were read from the body.
    read: u64,
    hash: Sha256,
    /// Pieces that were read and not confirmed, in order, with their places.
    unconfirmed: VecDeque<(u64, Vec<u8>)>,
}

impl<B: FnMut(usize) -> Result<Vec<u8>, Abort>> Pieces<B> {
    /// Sends all that was not confirmed on an earlier session, and the rest of the body.
    fn hand_over(&mut self, session: &mut dyn ChatSession, begun: &Begun) -> Result<(), Abort> {
        let mut asked = VecDeque::new();
        for (offset, piece) in &self.unconfirmed {
            asked.push_back(send_piece(session, begun, *offset, piece)?);
        }
        loop {
            if self.read < self.size && asked.len() < CHUNKS_AHEAD {
                let piece = (self.body)(begun.chunk_bytes)?;
                if piece.is_empty() {
                    return Err(Abort::Gone(io::ErrorKind::UnexpectedEof.into()));
                }
                self.hash.update(&piece);
                let offset = self.read;
                self.read += piece.len() as u64;
                // Kept before it is sent: it cannot be read again.
                self.unconfirmed.push_back((offset, piece));
                let (_, piece) = self.unconfirmed.back().expect("it was just put there");
                asked.push_back(send_piece(session, begun, offset, piece)?);
            } else {
                let Some(first) = asked.pop_front() else { return Ok(()) };
                session.answer(first)?;
                self.unconfirmed.pop_front();
            }
        }
    }
}

fn send_piece(
    session: &mut dyn ChatSession,
    begun: &Begun,
    offset: u64,
    piece: &[u8],
) -> Result<i64, Failure> {
    let bytes = ChunkBytes::new(piece.to_vec()).map_err(invalid("bytes"))?;
    session.send(FileChunk { file_id: begun.file_id, offset, bytes }.into())
}

/// The connection that a file is written to.
trait Out {
    /// The head of the answer, before a body of `length` bytes.
    fn begin(&mut self, response: &Response, length: u64) -> io::Result<()>;
    /// The next bytes of the body.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;
}

impl Out for Exchange<'_> {
    fn begin(&mut self, response: &Response, length: u64) -> io::Result<()> {
        Exchange::begin(self, response, length)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        Exchange::write(self, bytes)
    }
}

/// A read of a file.
struct Download {
    token: String,
    file_id: String,
    /// The validators of the versions that the client has already.
    known: Vec<String>,
    /// The file is only wanted while it has one of these; empty when that does not matter.
    matched: Vec<String>,
    range: Option<String>,
    /// The range only counts if the file is still this one.
    if_range: Option<String>,
    head_only: bool,
}

impl Download {
    fn read(head: &Head, file_id: &str) -> Result<Download, Abort> {
        let known = head.all("if-none-match").flat_map(|value| value.split(','));
        Ok(Download {
            token: token(head)?,
            file_id: file_id.into(),
            known: known.map(|tag| tag.trim().trim_start_matches("W/").to_owned()).collect(),
            matched: head
                .all("if-match")
                .flat_map(|value| value.split(','))
                .map(|tag| tag.trim().into())
                .collect(),
            // A range means something for GET alone (RFC 9110, 14.2).
            range: head.once("range")?.filter(|_| head.method == Method::Get).map(str::to_owned),
            if_range: head.once("if-range")?.map(str::to_owned),
            head_only: head.method == Method::Head,
        })
    }

    fn ask(&self, session: &mut dyn ChatSession, offset: u64) -> Result<i64, Failure> {
        let file_id = FileId::parse(&self.file_id)
            .ok_or_else(|| Refusal::bad_request("file_id must be 32 lower-case hexadecimal digits"))?;
        session.send(FileRead { file_id, offset }.into())
    }

    fn carry_out(&self, session: &mut dyn ChatSession, out: &mut dyn Out) -> Result<Done, Abort> {
        log_in(session, &self.token)?;
        // The beginning is read in any case: it says what the file is.
        let asked = self.ask(session, 0)?;
        let first: FilePiece = wait(session, asked)?;
        let FileInfo { name, size, sha256, content_type: claimed, .. } = first.file();
        let tag = format!("\"{sha256}\"");
        let described = |status: u16| {
            let (content_type, how) = disposition(&name, &claimed);
            Response::empty(status)
                .with("Content-Type", content_type)
                .with("Content-Disposition", how)
                .with("Content-Security-Policy", FILE_CSP)
                .with("ETag", tag.clone())
                .with("Cache-Control", "private, no-cache")
                .with("Vary", "Authorization")
                .with("Accept-Ranges", "bytes")
        };
        if !self.matched.is_empty() && !self.matched.iter().any(|wanted| *wanted == tag || wanted == "*") {
            return Err(
                Response::error(412, "bad_request", "the file is another one than If-Match names").into()
            );
        }
        if self.known.iter().any(|known| *known == tag || known == "*") {
            out.begin(&described(304), size)?;
            return Ok(Done::Sent);
        }
        let is_same = self.if_range.as_ref().is_none_or(|known| *known == tag);
        let (response, start, end) = match byte_range(self.range.as_deref().filter(|_| is_same), size) {
            ByteRange::Whole => (described(200), 0, size),
            ByteRange::Part(start, end) => {
                let range = format!("bytes {start}-{}/{size}", end - 1);
                (described(206).with("Content-Range", range), start, end)
            }
            ByteRange::Unsatisfiable => {
                let answer = Response::error(416, "bad_request", "the file has no such part");
                return Err(answer.with("Content-Range", format!("bytes */{size}")).into());
            }
        };
        out.begin(&response, end - start)?;
        if !self.head_only {
            // Once the answer has begun, closing the connection is the only way to say that it failed.
            self.give(session, out, first, start, end).map_err(|stop| match stop {
                Abort::Gone(error) => Abort::Gone(error),
                Abort::Answer(_) | Abort::Failed(_) => {
                    Abort::Gone(io::Error::other("the file cannot be read on"))
                }
            })?;
        }
        Ok(Done::Sent)
    }

    /// Gives the bytes from `start` to `end`. The next chunk is on its way while one is written.
    fn give(
        &self,
        session: &mut dyn ChatSession,
        out: &mut dyn Out,
        first: FilePiece,
        start: u64,
        end: u64,
    ) -> Result<(), Abort> {
        let mut at = start;
        let mut chunk = first;
        if at >= chunk.end() && at < end {
            let asked = self.ask(session, at - at % CHUNK_BYTES)?;
            chunk = wait(session, asked)?;
        }
        while at < end {
            if !(chunk.offset..chunk.end()).contains(&at) {
                return Err(wrong_answer().into());
            }
            let next = if chunk.end() < end { Some(self.ask(session, chunk.end())?) } else { None };
            let last = chunk.end().min(end);
            out.write(&chunk.bytes[(at - chunk.offset) as usize..(last - chunk.offset) as usize])?;
            at = last;
            if let Some(next) = next {
                chunk = wait(session, next)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
