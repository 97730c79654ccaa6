//! One request and its answer.

use std::{
    io,
    time::{Duration, Instant},
};

use super::{
    chunked::Chunked,
    cors::readable,
    head::Head,
    method::Method,
    request_error::RequestError,
    response::Response,
    wire::{Wire, is_timeout},
};
use crate::server::{
    clients::{connection_info::ConnectionInfo, local_session::Failure},
    server_handle::ServerHandle,
};

/// What an answering function did.
#[derive(Debug)]
pub enum Done {
    /// Nothing yet: this is the answer.
    Answer(Response),
    /// It has written the answer.
    Sent,
    /// Nothing yet: after this answer the connection speaks WebSocket.
    WebSocket(Response),
}

/// Why an answering function gave no answer.
#[derive(Debug)]
pub enum Abort {
    Answer(Response),
    /// The chat did not do what was asked of it.
    Failed(Failure),
    /// The connection cannot be used any more.
    Gone(io::Error),
}

impl From<io::Error> for Abort {
    fn from(error: io::Error) -> Self {
        Abort::Gone(error)
    }
}

impl From<Response> for Abort {
    fn from(response: Response) -> Self {
        Abort::Answer(response)
    }
}

impl From<Failure> for Abort {
    fn from(failure: Failure) -> Self {
        Abort::Failed(failure)
    }
}

impl From<RequestError> for Abort {
    fn from(bad: RequestError) -> Self {
        Abort::Answer(bad.into())
    }
}

/// A request whose head is read, and the connection that it came over.
pub struct Exchange<'a> {
    pub server: &'a ServerHandle,
    /// Who is at the other end.
    pub info: ConnectionInfo,
    pub head: Head,
    wire: &'a mut Wire,
    /// Bytes of the body that have not been read, when its length is known.
    unread: u64,
    /// The body, when it comes in chunks.
    chunked: Option<Chunked>,
    begun: Instant,
    /// Bytes of a body without a known length, that came or went.
    moved: u64,
    /// The client waits for `100 Continue` before it sends the body.
    continue_due: bool,
    body_deadline: Instant,
    write_deadline: Instant,
    closes: bool,
    /// The origin whose pages may read the answer, besides those of this server.
    reader: Option<String>,
}

impl<'a> Exchange<'a> {
    /// `is_last`: the connection ends after this request.
    pub fn new(
        server: &'a ServerHandle,
        info: ConnectionInfo,
        wire: &'a mut Wire,
        head: Head,
        is_last: bool,
    ) -> Self {
        let (unread, continue_due) = (head.body_bytes, head.expects_continue);
        let closes = is_last || !head.keeps_alive;
        // The length of a body in chunks is not known: it may take as long as the longest file.
        let longest = server.context.config().replica.limits.file_bytes;
        let chunked = head.is_chunked.then(Chunked::default);
        let body_deadline = deadline(server, info, if chunked.is_some() { longest } else { unread });
        let (begun, write_deadline, moved) = (Instant::now(), Instant::now(), 0);
        Exchange {
            server,
            info,
            head,
            wire,
            unread,
            chunked,
            begun,
            moved,
            continue_due,
            body_deadline,
            write_deadline,
            closes,
            reader: None,
        }
    }

    /// Lets pages of another origin read the answer.
    pub fn share_with(&mut self, reader: Option<String>) {
        self.reader = reader;
    }

    /// The connection ends after the answer.
    pub fn close(&mut self) {
        self.closes = true;
    }

    /// Answers what cannot be read as a request.
    pub fn refuse(
        server: &ServerHandle,
        info: ConnectionInfo,
        wire: &mut Wire,
        response: &Response,
    ) -> io::Result<()> {
        let mut bytes = response.head(response.body.len() as u64, seconds(server), true);
        bytes.extend_from_slice(&response.body);
        wire.write(&bytes, deadline(server, info, bytes.len() as u64))
    }

    /// When the whole body must be there.
    pub fn body_deadline(&self) -> Instant {
        self.body_deadline
    }

    /// How long the body is altogether; 0 when it comes in chunks.
    pub fn body_bytes(&self) -> u64 {
        self.head.body_bytes
    }

    /// The next piece of the body, `count` bytes long except for the last one; empty at its end.
    pub fn read_body(&mut self, count: usize) -> Result<Vec<u8>, Abort> {
        if self.chunked.is_some() {
            return self.read_chunks(count);
        }
        let count = (count as u64).min(self.unread) as usize;
        if std::mem::take(&mut self.continue_due) && count > 0 {
            self.wire.write(b"HTTP/1.1 100 Continue\r\n\r\n", self.body_deadline)?;
        }
        let mut piece = Vec::new();
        while piece.len() < count {
            let idle = Duration::from_millis(self.server.context.config().http.idle_ms);
            let deadline = self.body_deadline.min(Instant::now() + idle);
            let read = match self.wire.read(count - piece.len(), deadline) {
                Ok(read) if read.is_empty() => {
                    return Err(
                        RequestError { status: 400, reason: "the body ended before its length" }.into()
                    );
                }
                Ok(read) => read,
                Err(error) if is_timeout(&error) => {
                    return Err(RequestError { status: 408, reason: "the body took too long" }.into());
                }
                Err(error) => return Err(Abort::Gone(error)),
            };
            self.unread -= read.len() as u64;
            if piece.is_empty() {
                piece = read;
            } else {
                piece.extend_from_slice(&read);
            }
        }
        Ok(piece)
    }

    fn read_chunks(&mut self, count: usize) -> Result<Vec<u8>, Abort> {
        let mut piece = Vec::new();
        let Some(chunked) = &mut self.chunked else { return Ok(piece) };
        if std::mem::take(&mut self.continue_due) {
            self.wire.write(b"HTTP/1.1 100 Continue\r\n\r\n", self.body_deadline)?;
        }
        let config = self.server.context.config();
        let settings = &config.http;
        loop {
            self.wire.take_chunks(chunked, &mut piece, count)?;
            if piece.len() >= count || chunked.is_at_end() {
                self.moved += piece.len() as u64;
                return Ok(piece);
            }
            let arrived = self.moved + piece.len() as u64;
            let time = Duration::from_millis(settings.body_ms)
                + Duration::from_secs(arrived / settings.body_bytes_per_s.max(1));
            let idle = Instant::now() + Duration::from_millis(settings.idle_ms);
            match self.wire.read_on(self.body_deadline.min(self.begun + time).min(idle)) {
                Ok(0) => {
                    return Err(
                        RequestError { status: 400, reason: "the body ended before its last chunk" }.into()
                    );
                }
                Ok(_) => {}
                Err(error) if is_timeout(&error) => {
                    return Err(RequestError { status: 408, reason: "the body took too long" }.into());
                }
                Err(error) => return Err(Abort::Gone(error)),
            }
        }
    }

    /// The whole body, of at most `most` bytes.
    pub fn whole_body(&mut self, most: usize) -> Result<Vec<u8>, Abort> {
        if self.head.body_bytes > most as u64 {
            return Err(RequestError { status: 413, reason: "the body is too long" }.into());
        }
        let body = self.read_body(most)?;
        if self.chunked.is_some() && !self.read_body(1)?.is_empty() {
            return Err(RequestError { status: 413, reason: "the body is too long" }.into());
        }
        Ok(body)
    }

    pub fn respond(&mut self, response: &Response) -> io::Result<()> {
        let length = response.body.len() as u64;
        let mut bytes = self.head_bytes(response, length);
        if self.head.method != Method::Head {
            bytes.extend_from_slice(&response.body);
        }
        self.wire.write(&bytes, self.write_deadline)
    }

    /// Writes the head of an answer whose body of `length` bytes follows with [`Exchange::write`].
    pub fn begin(&mut self, response: &Response, length: u64) -> io::Result<()> {
        let bytes = self.head_bytes(response, length);
        self.wire.write(&bytes, self.write_deadline)
    }

    fn head_bytes(&mut self, response: &Response, length: u64) -> Vec<u8> {
        // The unread rest of the body must not be taken for a request.
        self.closes |= self.unread > 0 || self.chunked.as_ref().is_some_and(|chunked| !chunked.is_at_end());
        self.write_deadline = deadline(self.server, self.info, length);
        let now = seconds(self.server);
        match &self.reader {
            Some(reader) => readable(response.clone(), reader).head(length, now, self.closes),
            None => response.head(length, now, self.closes),
        }
    }

    /// Writes the next piece of an answer that was begun.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let idle = Duration::from_millis(self.server.context.config().http.idle_ms);
        self.wire.write(bytes, self.write_deadline.min(Instant::now() + idle))
    }

    /// Writes the head of an answer whose body follows with [`Exchange::write_on`] and ends with the
    /// connection.
    pub fn begin_endless(&mut self, response: &Response) -> io::Result<()> {
        self.closes = true;
        (self.begun, self.moved) = (Instant::now(), 0);
        let bytes = response.head_until_close(seconds(self.server));
        self.write_on(&bytes)
    }

    /// Writes the next piece of such an answer. A client that reads too slowly is cut off.
    pub fn write_on(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.moved += bytes.len() as u64;
        let config = self.server.context.config();
        let settings = &config.http;
        let pace = Duration::from_secs(self.moved / settings.body_bytes_per_s.max(1));
        let due = self.begun + Duration::from_millis(settings.body_ms) + pace;
        let idle = Instant::now() + Duration::from_millis(settings.idle_ms);
        self.wire.write(bytes, due.min(idle))
    }

    /// Whether the connection ends with this answer.
    pub fn closes(&self) -> bool {
        self.closes
    }
}

/// When so many bytes must have gone over the wire.
fn deadline(server: &ServerHandle, info: ConnectionInfo, bytes: u64) -> Instant {
    let config = server.context.config();
    let settings = &config.http;
    let seconds = bytes / settings.body_bytes_per_s.max(1);
    // Longer than a week is as good as never, and cannot overflow a clock.
    let time = Duration::from_millis(settings.body_ms) + Duration::from_secs(seconds.min(7 * 86_400));
    let deadline = Instant::now() + time;
    info.reserved_until.map_or(deadline, |until| deadline.min(until))
}

/// The wall clock, in seconds since the Unix epoch.
fn seconds(server: &ServerHandle) -> u64 {
    server.context.clock.now().wall_ms / 1_000
}
