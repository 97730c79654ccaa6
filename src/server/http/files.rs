//! Files over HTTP: a post becomes the requests `file_begin`, `file_chunk`… and `file_end`, a read becomes
//! `file_read`s. Never more than a few chunks of a file are in memory.

use std::{collections::VecDeque, io, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::{
    exchange::{Done, Exchange, Stop},
    failures::refused,
    file_name::{disposition, essence},
    head::Head,
    range::{Part, part},
    response::Response,
};
use crate::{
    protocol::{Code, Refusal, file::FILE_CHUNK_BYTES, hex},
    server::local_session::{ANSWER_WITHIN, Ask, Failure, LocalSession},
};

/// The bytes of a chunk, but for the last one. A read begins at a multiple of it.
const CHUNK_BYTES: u64 = FILE_CHUNK_BYTES as u64;
/// Chunks that are on their way to the log at once.
const CHUNKS_AHEAD: usize = 4;
/// How long is waited at least before what failed is asked again.
const PAUSE: Duration = Duration::from_millis(200);
/// What may be done with a file that is looked at: nothing, not even by itself.
const FILE_CSP: &str =
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox";

type Data = Map<String, Value>;

/// Takes a file in.
pub fn upload(exchange: &mut Exchange<'_>, _: &str) -> Result<Done, Stop> {
    let (desk, visitor) = (exchange.desk, exchange.visitor);
    let upload = Upload::read(&exchange.head)?;
    let session = LocalSession::open(desk, visitor, ANSWER_WITHIN)?;
    let mut session = session.reopening_until(exchange.body_deadline());
    let answer = upload.carry_out(&mut session, |count| exchange.read_body(count))?;
    Ok(Done::Answer(answer))
}

/// Gives a file out, or a part of it.
pub fn download(exchange: &mut Exchange<'_>, file_id: &str) -> Result<Done, Stop> {
    let (desk, visitor) = (exchange.desk, exchange.visitor);
    let download = Download::read(&exchange.head, file_id)?;
    let mut session = LocalSession::open(desk, visitor, ANSWER_WITHIN)?;
    download.carry_out(&mut session, exchange)
}

/// The token, or the answer where there is none.
fn token(head: &Head) -> Result<String, Response> {
    head.bearer().map(str::to_owned).ok_or_else(|| {
        refused(&Refusal::new(Code::NotAuthenticated, "send a token: Authorization: Bearer TOKEN"))
    })
}

fn data<const N: usize>(fields: [(&str, Value); N]) -> Data {
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// A field of an answer, which every answer of its kind has.
fn text(answer: &Data, field: &str) -> Result<String, Failure> {
    answer.get(field).and_then(Value::as_str).map(str::to_owned).ok_or_else(|| lacks(field))
}

/// The same of a number.
fn number(answer: &Data, field: &str) -> Result<u64, Failure> {
    answer.get(field).and_then(Value::as_u64).ok_or_else(|| lacks(field))
}

fn lacks(field: &str) -> Failure {
    Refusal::new(Code::Unavailable, format!("an answer of this server lacks {field}")).into()
}

/// A post of a file, but for its bytes.
struct Upload {
    token: String,
    room: String,
    name: String,
    content_type: Option<String>,
    size: u64,
}

impl Upload {
    fn read(head: &Head) -> Result<Upload, Stop> {
        let token = token(head)?;
        let field = |name: &str| {
            head.target.field(name).map(str::to_owned).ok_or_else(|| {
                let reason = format!("the query needs one field {name}: POST /files?room=R&name=N");
                Stop::from(Response::error(400, "bad_request", &reason))
            })
        };
        // A form is what curl calls everything that it is not told anything of.
        let content_type = head
            .once("content-type")?
            .filter(|given| !matches!(essence(given).as_str(), "" | "application/x-www-form-urlencoded"));
        Ok(Upload {
            token,
            room: field("room")?,
            name: field("name")?,
            content_type: content_type.map(str::to_owned),
            size: head.body_bytes,
        })
    }

    /// Takes the bytes piece by piece from `body` and hands them to the chat.
    ///
    /// Whoever sends them need not notice that the leader changes: where an outcome is unknown, this asks again on
    /// a new session, as a client would, while there is time.
    fn carry_out(
        &self,
        session: &mut dyn Ask,
        body: impl FnMut(usize) -> Result<Vec<u8>, Stop>,
    ) -> Result<Response, Stop> {
        let mut pieces =
            Pieces { body, size: self.size, read: 0, hash: Sha256::new(), unconfirmed: VecDeque::new() };
        let mut begun = None;
        let ended = loop {
            let stop = match self.hand_over(session, &mut begun, &mut pieces) {
                Ok(ended) => break ended,
                Err(stop) => stop,
            };
            if let Stop::Failed(Failure::Refused(refusal)) = &stop
                && may_pass(refusal, begun.is_some())
                && session.reopen(PAUSE.max(Duration::from_millis(refusal.retry_after_ms.unwrap_or(0))))
            {
                continue;
            }
            if let Some(Begun { file_id, .. }) = begun {
                // What was sent of it serves nobody. Whether that is heard makes no difference here.
                let _ = session.send("file_delete", data([("file_id", file_id.into())]));
            }
            return Err(stop);
        };
        let mut answer = Map::new();
        for field in ["file_id", "size", "sha256", "name", "content_type"] {
            answer.insert(field.into(), ended.get(field).cloned().ok_or_else(|| lacks(field))?);
        }
        let location = format!("/files/{}", text(&ended, "file_id")?);
        Ok(Response::json(201, &Value::Object(answer)).with("Location", location))
    }

    /// Does on one session what is left to do. A `file_begin` whose answer was lost is asked again, and the first
    /// one is given up by the servers; all else is the same however often it is asked.
    fn hand_over<B: FnMut(usize) -> Result<Vec<u8>, Stop>>(
        &self,
        session: &mut dyn Ask,
        begun: &mut Option<Begun>,
        pieces: &mut Pieces<B>,
    ) -> Result<Data, Stop> {
        session.ask("login", data([("token", self.token.as_str().into())]))?;
        let begun = match begun {
            Some(begun) => begun,
            None => begun.insert(self.begin(session)?),
        };
        pieces.hand_over(session, begun)?;
        let sha256 = hex::encode(&pieces.hash.clone().finalize());
        let fields = data([("file_id", begun.file_id.as_str().into()), ("sha256", sha256.into())]);
        Ok(session.ask("file_end", fields)?)
    }

    fn begin(&self, session: &mut dyn Ask) -> Result<Begun, Failure> {
        let mut fields = data([
            ("room", self.room.as_str().into()),
            ("name", self.name.as_str().into()),
            ("size", self.size.into()),
        ]);
        if let Some(content_type) = &self.content_type {
            fields.insert("content_type".into(), content_type.as_str().into());
        }
        let answer = session.ask("file_begin", fields)?;
        let chunk_bytes = number(&answer, "chunk_bytes")?.clamp(1, CHUNK_BYTES) as usize;
        Ok(Begun { file_id: text(&answer, "file_id")?, chunk_bytes })
    }
}

/// Whether to ask again where an upload was refused so. Who may not begin one now is told so; what a server
/// has taken the beginning of it carries to its end.
fn may_pass(refusal: &Refusal, has_begun: bool) -> bool {
    refusal.code == Code::Unavailable || has_begun && refusal.code.retryable()
}

/// An upload that the chat knows of.
struct Begun {
    file_id: String,
    chunk_bytes: usize,
}

/// The bytes of a file on their way from a body to the chat.
struct Pieces<B> {
    body: B,
    size: u64,
    /// So many bytes were read from the body.
    read: u64,
    /// Of these.
    hash: Sha256,
    /// Pieces that were read and not confirmed, in order, with their places.
    unconfirmed: VecDeque<(u64, Vec<u8>)>,
}

impl<B: FnMut(usize) -> Result<Vec<u8>, Stop>> Pieces<B> {
    /// Sends all that was not confirmed on an earlier session, and the rest of the body.
    fn hand_over(&mut self, session: &mut dyn Ask, begun: &Begun) -> Result<(), Stop> {
        let mut asked = VecDeque::new();
        for (offset, piece) in &self.unconfirmed {
            asked.push_back(send_piece(session, begun, *offset, piece)?);
        }
        loop {
            if self.read < self.size && asked.len() < CHUNKS_AHEAD {
                let piece = (self.body)(begun.chunk_bytes)?;
                if piece.is_empty() {
                    return Err(Stop::Gone(io::ErrorKind::UnexpectedEof.into()));
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

fn send_piece(session: &mut dyn Ask, begun: &Begun, offset: u64, piece: &[u8]) -> Result<i64, Failure> {
    let fields = data([
        ("file_id", begun.file_id.as_str().into()),
        ("offset", offset.into()),
        ("bytes", STANDARD.encode(piece).into()),
    ]);
    session.send("file_chunk", fields)
}

/// Where a file goes that is given out.
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
    /// The validators that the other end has already.
    known: Vec<String>,
    range: Option<String>,
    /// The range only counts where the file is still this one.
    if_range: Option<String>,
    head_only: bool,
}

/// A piece of a file, with what is said of the file.
struct Chunk {
    offset: u64,
    bytes: Vec<u8>,
    answer: Data,
}

impl Chunk {
    fn read(answer: Data) -> Result<Chunk, Failure> {
        let bytes = STANDARD.decode(text(&answer, "bytes")?).map_err(|_| lacks("bytes"))?;
        Ok(Chunk { offset: number(&answer, "offset")?, bytes, answer })
    }

    fn end(&self) -> u64 {
        self.offset + self.bytes.len() as u64
    }
}

impl Download {
    fn read(head: &Head, file_id: &str) -> Result<Download, Stop> {
        let known = head.all("if-none-match").flat_map(|value| value.split(','));
        Ok(Download {
            token: token(head)?,
            file_id: file_id.into(),
            known: known.map(|tag| tag.trim().trim_start_matches("W/").to_owned()).collect(),
            range: head.once("range")?.map(str::to_owned),
            if_range: head.once("if-range")?.map(str::to_owned),
            head_only: head.method == super::head::Method::Head,
        })
    }

    fn ask(&self, session: &mut dyn Ask, offset: u64) -> Result<i64, Failure> {
        session
            .send("file_read", data([("file_id", self.file_id.as_str().into()), ("offset", offset.into())]))
    }

    fn carry_out(&self, session: &mut dyn Ask, out: &mut dyn Out) -> Result<Done, Stop> {
        session.ask("login", data([("token", self.token.as_str().into())]))?;
        // The beginning is read in any case: it says what the file is.
        let asked = self.ask(session, 0)?;
        let first = Chunk::read(session.answer(asked)?)?;
        let (size, sha256) = (number(&first.answer, "size")?, text(&first.answer, "sha256")?);
        let tag = format!("\"{sha256}\"");
        let described = |status: u16| {
            let name = text(&first.answer, "name")?;
            let claimed = text(&first.answer, "content_type").unwrap_or_default();
            let (content_type, how) = disposition(&name, &claimed);
            Ok::<_, Failure>(
                Response::empty(status)
                    .with("Content-Type", content_type)
                    .with("Content-Disposition", how)
                    .with("Content-Security-Policy", FILE_CSP)
                    .with("ETag", tag.clone())
                    .with("Cache-Control", "private, no-cache")
                    .with("Vary", "Authorization")
                    .with("Accept-Ranges", "bytes"),
            )
        };
        if self.known.iter().any(|known| *known == tag || known == "*") {
            out.begin(&described(304)?, size)?;
            return Ok(Done::Sent);
        }
        let is_same = self.if_range.as_ref().is_none_or(|known| *known == tag);
        let (response, start, end) = match part(self.range.as_deref().filter(|_| is_same), size) {
            Part::Whole => (described(200)?, 0, size),
            Part::Some(start, end) => {
                let range = format!("bytes {start}-{}/{size}", end - 1);
                (described(206)?.with("Content-Range", range), start, end)
            }
            Part::Missing => {
                let answer = Response::error(416, "bad_request", "the file has no such part");
                return Err(answer.with("Content-Range", format!("bytes */{size}")).into());
            }
        };
        out.begin(&response, end - start)?;
        if !self.head_only {
            // With the answer begun, an end of the connection is the only way left to say that it failed.
            self.give(session, out, first, start, end).map_err(|stop| match stop {
                Stop::Gone(error) => Stop::Gone(error),
                Stop::Answer(_) | Stop::Failed(_) => {
                    Stop::Gone(io::Error::other("the file cannot be read on"))
                }
            })?;
        }
        Ok(Done::Sent)
    }

    /// Gives the bytes from `start` to `end`. The next chunk is on its way while one is written.
    fn give(
        &self,
        session: &mut dyn Ask,
        out: &mut dyn Out,
        first: Chunk,
        start: u64,
        end: u64,
    ) -> Result<(), Stop> {
        let mut at = start;
        let mut chunk = first;
        if at >= chunk.end() && at < end {
            let asked = self.ask(session, at - at % CHUNK_BYTES)?;
            chunk = Chunk::read(session.answer(asked)?)?;
        }
        while at < end {
            if !(chunk.offset..chunk.end()).contains(&at) {
                return Err(lacks("bytes").into());
            }
            let next = if chunk.end() < end { Some(self.ask(session, chunk.end())?) } else { None };
            let last = chunk.end().min(end);
            out.write(&chunk.bytes[(at - chunk.offset) as usize..(last - chunk.offset) as usize])?;
            at = last;
            if let Some(next) = next {
                chunk = Chunk::read(session.answer(next)?)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
