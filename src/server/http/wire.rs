//! The bytes of an HTTP connection, read and written with deadlines.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    chunked::Chunked,
    head::{self, Head, HeadLimits},
    request_error::RequestError,
};
use crate::server::clients::stream::Stream;

/// Capacity that an idle connection may keep.
const IDLE_BYTES: usize = 4 * 1024;

/// A connection that no other thread writes to.
pub struct Wire {
    stream: Arc<Stream>,
    /// Read and not used yet.
    buffer: Vec<u8>,
}

pub enum Next {
    /// A request without its body.
    Head(Head),
    /// Not a request, or not in time.
    Malformed(RequestError),
    /// Nothing: the other end has closed, or has been silent for too long.
    Gone,
}

impl Wire {
    /// A connection of which `buffer` was read already.
    pub fn new(stream: Arc<Stream>, buffer: Vec<u8>) -> Self {
        Wire { stream, buffer }
    }

    /// The next request, of which the first byte may take `idle`, and the rest of its head `time`.
    pub fn next_head(&mut self, limits: HeadLimits, idle: Duration, time: Duration) -> io::Result<Next> {
        if self.buffer.is_empty() {
            if self.buffer.capacity() > IDLE_BYTES {
                self.buffer = Vec::new();
            }
            match self.read_more(Instant::now() + idle) {
                Ok(0) => return Ok(Next::Gone),
                Ok(_) => {}
                Err(error) if is_timeout(&error) => return Ok(Next::Gone),
                Err(error) => return Err(error),
            }
        }
        self.head(limits, Instant::now() + time)
    }

    /// The next request, whose head is complete by `deadline`.
    pub fn head(&mut self, limits: HeadLimits, deadline: Instant) -> io::Result<Next> {
        loop {
            match head::parse(&self.buffer, limits) {
                Ok(Some((head, length))) => {
                    self.buffer.drain(..length);
                    return Ok(Next::Head(head));
                }
                Err(bad) => return Ok(Next::Malformed(bad)),
                Ok(None) => {}
            }
            match self.read_more(deadline) {
                // An incomplete request counts as none.
                Ok(0) => return Ok(Next::Gone),
                Ok(_) => {}
                Err(error) if is_timeout(&error) => {
                    return Ok(Next::Malformed(RequestError {
                        status: 408,
                        reason: "the request took too long",
                    }));
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The next `count` bytes. If fewer can be read at once, at least one; none at the end of the connection.
    pub fn read(&mut self, count: usize, deadline: Instant) -> io::Result<Vec<u8>> {
        if self.buffer.is_empty() {
            self.read_more(deadline)?;
        }
        let count = count.min(self.buffer.len());
        let rest = self.buffer.split_off(count);
        Ok(std::mem::replace(&mut self.buffer, rest))
    }

    /// Takes what has come of a body in chunks.
    pub fn take_chunks(
        &mut self,
        chunked: &mut Chunked,
        body: &mut Vec<u8>,
        most: usize,
    ) -> Result<(), RequestError> {
        chunked.take(&mut self.buffer, body, most)
    }

    /// Waits for more, and says how much has come; nothing at the end of the connection.
    pub fn read_on(&mut self, deadline: Instant) -> io::Result<usize> {
        self.read_more(deadline)
    }

    /// Writes all of it by `deadline`.
    pub fn write(&mut self, bytes: &[u8], deadline: Instant) -> io::Result<()> {
        self.stream.write_until(deadline, bytes)
    }

    /// The bytes that were read after the last request.
    pub fn take_rest(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.buffer)
    }

    fn read_more(&mut self, deadline: Instant) -> io::Result<usize> {
        self.stream.read_until(deadline, &mut self.buffer)
    }
}

/// Whether a deadline has passed. Systems report it by different codes.
pub fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock)
}
