//! One request and its answer.

use std::{
    io,
    time::{Duration, Instant},
};

use super::{
    head::{Bad, Head, Method},
    response::Response,
    wire::{Wire, is_timeout},
};
use crate::server::{
    client_thread::{Desk, Visitor},
    local_session::Failure,
};

/// What an answering function did.
#[derive(Debug)]
pub enum Done {
    /// Nothing yet: this is the answer.
    Answer(Response),
    /// It has written the answer.
    Sent,
    /// From now on the connection speaks WebSocket.
    WebSocket,
}

/// Why an answering function came to no good end.
#[derive(Debug)]
pub enum Stop {
    /// This is the answer.
    Answer(Response),
    /// The chat did not do what was asked of it.
    Failed(Failure),
    /// The connection cannot be used any more.
    Gone(io::Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Stop::Gone(error)
    }
}

impl From<Response> for Stop {
    fn from(response: Response) -> Self {
        Stop::Answer(response)
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Stop::Failed(failure)
    }
}

impl From<Bad> for Stop {
    fn from(bad: Bad) -> Self {
        Stop::Answer(bad.into())
    }
}

/// A request whose head is read, and the connection that it came over.
pub struct Exchange<'a> {
    /// What all client threads share.
    pub desk: &'a Desk,
    /// Who is at the other end.
    pub visitor: Visitor,
    /// The request.
    pub head: Head,
    wire: &'a mut Wire,
    /// Bytes of the body that have not been read.
    unread: u64,
    /// The other end waits for a word before it sends the body.
    continue_due: bool,
    body_deadline: Instant,
    write_deadline: Instant,
    closes: bool,
}

impl<'a> Exchange<'a> {
    /// After this head; `is_last` where no other request is to come.
    pub fn new(desk: &'a Desk, visitor: Visitor, wire: &'a mut Wire, head: Head, is_last: bool) -> Self {
        let (unread, continue_due) = (head.body_bytes, head.expects_continue);
        let closes = is_last || !head.keeps_alive;
        let body_deadline = deadline(desk, visitor, unread);
        let write_deadline = Instant::now();
        Exchange { desk, visitor, head, wire, unread, continue_due, body_deadline, write_deadline, closes }
    }

    /// Answers what is no request.
    pub fn refuse(desk: &Desk, visitor: Visitor, wire: &mut Wire, response: &Response) -> io::Result<()> {
        let mut bytes = response.head(response.body.len() as u64, seconds(desk), true);
        bytes.extend_from_slice(&response.body);
        wire.write(&bytes, deadline(desk, visitor, bytes.len() as u64))
    }

    /// When the whole body must be there.
    pub fn body_deadline(&self) -> Instant {
        self.body_deadline
    }

    /// How long the body is altogether.
    pub fn body_bytes(&self) -> u64 {
        self.head.body_bytes
    }

    /// The next piece of the body, `count` bytes long but for the last one; empty at its end.
    pub fn read_body(&mut self, count: usize) -> Result<Vec<u8>, Stop> {
        let count = (count as u64).min(self.unread) as usize;
        if std::mem::take(&mut self.continue_due) && count > 0 {
            self.wire.write(b"HTTP/1.1 100 Continue\r\n\r\n", self.body_deadline)?;
        }
        let mut piece = Vec::new();
        while piece.len() < count {
            let idle = Duration::from_millis(self.desk.context.config.http.idle_ms);
            let deadline = self.body_deadline.min(Instant::now() + idle);
            let read = match self.wire.read(count - piece.len(), deadline) {
                Ok(read) if read.is_empty() => return Err(Stop::Gone(io::ErrorKind::UnexpectedEof.into())),
                Ok(read) => read,
                Err(error) if is_timeout(&error) => {
                    return Err(Bad { status: 408, reason: "the body took too long" }.into());
                }
                Err(error) => return Err(Stop::Gone(error)),
            };
            self.unread -= read.len() as u64;
            match piece.is_empty() {
                true => piece = read,
                false => piece.extend_from_slice(&read),
            }
        }
        Ok(piece)
    }

    /// The whole body, of at most `most` bytes.
    pub fn whole_body(&mut self, most: usize) -> Result<Vec<u8>, Stop> {
        if self.head.body_bytes > most as u64 {
            return Err(Bad { status: 413, reason: "the body is too long" }.into());
        }
        self.read_body(most)
    }

    /// Writes an answer.
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
        // What has not been read of the body must not be taken for a request.
        self.closes |= self.unread > 0;
        self.write_deadline = deadline(self.desk, self.visitor, length);
        response.head(length, seconds(self.desk), self.closes)
    }

    /// Writes the next piece of an answer that was begun.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let idle = Duration::from_millis(self.desk.context.config.http.idle_ms);
        self.wire.write(bytes, self.write_deadline.min(Instant::now() + idle))
    }

    /// Whether the connection ends with this answer.
    pub fn closes(&self) -> bool {
        self.closes
    }
}

/// When so many bytes must have gone over the wire.
fn deadline(desk: &Desk, visitor: Visitor, bytes: u64) -> Instant {
    let settings = &desk.context.config.http;
    let seconds = bytes / settings.body_bytes_per_s.max(1);
    // Longer than a week is as good as never, and cannot overflow a clock.
    let time = Duration::from_millis(settings.body_ms) + Duration::from_secs(seconds.min(7 * 86_400));
    let deadline = Instant::now() + time;
    visitor.reserved_until.map_or(deadline, |until| deadline.min(until))
}

/// The wall clock, in seconds since the Unix epoch.
fn seconds(desk: &Desk) -> u64 {
    desk.context.clock.now().wall_ms / 1_000
}
