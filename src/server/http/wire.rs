//! The bytes of a connection, and when it is too late for more.

use std::{
    io::{self, Write},
    net::TcpStream,
    sync::Arc,
    time::{Duration, Instant},
};

use super::head::{self, Bad, Head, HeadLimits};
use crate::server::client_thread::read_until;

/// Capacity that an idle connection may keep.
const IDLE_BYTES: usize = 4 * 1024;
/// Written at once: a write waits for less than this to be taken.
const WRITE_BYTES: usize = 64 * 1024;

/// A connection that nobody else writes to.
pub struct Wire {
    stream: Arc<TcpStream>,
    /// Read and not used yet.
    buffer: Vec<u8>,
}

/// What came where a request was waited for.
pub enum Next {
    /// A request but for its body.
    Head(Head),
    /// What is no request, or none in time.
    Bad(Bad),
    /// Nothing: the other end has closed, or has been silent for too long.
    Gone,
}

impl Wire {
    /// A connection of which `buffer` was read already.
    pub fn new(stream: Arc<TcpStream>, buffer: Vec<u8>) -> Self {
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
                Err(bad) => return Ok(Next::Bad(bad)),
                Ok(None) => {}
            }
            match self.read_more(deadline) {
                // Half a request is none.
                Ok(0) => return Ok(Next::Gone),
                Ok(_) => {}
                Err(error) if is_timeout(&error) => {
                    return Ok(Next::Bad(Bad { status: 408, reason: "the request took too long" }));
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The next `count` bytes or, where less than that has come by the end of what can be read at once, at
    /// least one; none at the end of the connection.
    pub fn read(&mut self, count: usize, deadline: Instant) -> io::Result<Vec<u8>> {
        if self.buffer.is_empty() {
            self.read_more(deadline)?;
        }
        let count = count.min(self.buffer.len());
        let rest = self.buffer.split_off(count);
        Ok(std::mem::replace(&mut self.buffer, rest))
    }

    /// Writes all of it by `deadline`.
    pub fn write(&mut self, mut bytes: &[u8], deadline: Instant) -> io::Result<()> {
        let mut stream = &*self.stream;
        while !bytes.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            stream.set_write_timeout(Some(left))?;
            match stream.write(&bytes[..bytes.len().min(WRITE_BYTES)]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// What was read and belongs to no request.
    pub fn take_rest(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.buffer)
    }

    fn read_more(&mut self, deadline: Instant) -> io::Result<usize> {
        read_until(&self.stream, deadline, &mut self.buffer)
    }
}

/// Whether it was too late for more. Systems call it by different names.
pub fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock)
}
