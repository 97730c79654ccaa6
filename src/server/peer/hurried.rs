//! A connection with one deadline for everything.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

/// A connection on which everything together must be done by a deadline, so that no client can prolong a
/// handshake byte by byte.
pub(super) struct Hurried<'a> {
    stream: &'a TcpStream,
    deadline: Instant,
}

impl<'a> Hurried<'a> {
    pub fn new(stream: &'a TcpStream, timeout: Duration) -> Self {
        Hurried { stream, deadline: Instant::now() + timeout }
    }
}

impl Read for Hurried<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.stream.set_read_timeout(Some(left))?;
        (&mut &*self.stream).read(buffer)
    }
}

impl Write for Hurried<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&mut &*self.stream).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        (&mut &*self.stream).flush()
    }
}
