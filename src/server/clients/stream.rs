//! The bytes of one client connection, whatever carries them: a socket, or TLS on it.
//!
//! One thread reads. What is written is written by another one without waiting ([`Stream::write_now`]), or,
//! while no other thread knows of the connection or while HTTP is spoken on it, by the reader with a
//! deadline. So every method takes `&self`, and nothing outside this file knows what kind of socket it is.

use std::{
    io::{self, IoSlice, Read, Write},
    net::{IpAddr, Shutdown, TcpStream},
    sync::OnceLock,
    time::{Duration, Instant},
};

use rustls::ServerConnection;
use socket2::{SockRef, TcpKeepalive};

use crate::tls::channel::{Channel, Flushed};

/// Bytes that are read at once. The buffer is on the stack of every connection's thread.
pub const READ_BYTES: usize = 4 * 1024;
/// Written at once under a deadline: a write waits for less than this to be taken.
const WRITE_BYTES: usize = 64 * 1024;
/// How often the system asks the other end of an idle connection for a sign of life. Without this a client
/// whose machine vanished would be kept for ever.
const KEEPALIVE: Duration = Duration::from_secs(60);
/// How long a connection that was refused may take to read why.
const LINGER: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub struct Stream {
    socket: TcpStream,
    /// Set once the client has begun to speak TLS, before any other thread writes.
    tls: OnceLock<Box<Channel>>,
}

impl Stream {
    /// Takes over a socket that was accepted. One that cannot be tuned still works.
    pub fn new(socket: TcpStream) -> Self {
        let _ = socket.set_nodelay(true);
        let _ = SockRef::from(&socket).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE));
        let stream = Stream { socket, tls: OnceLock::new() };
        let _ = stream.write_without_waiting();
        stream
    }

    /// The address of the other end, if the system still knows it.
    pub fn peer(&self) -> Option<IpAddr> {
        self.socket.peer_addr().ok().map(|addr| addr.ip())
    }

    /// From now on what is read and written is inside TLS, which the client begins with `head`.
    pub fn speak_tls(&self, connection: ServerConnection, head: &[u8]) -> io::Result<()> {
        let tls = self.tls.get_or_init(|| Box::new(Channel::new(connection)));
        self.feed(tls, head)
    }

    pub fn is_encrypted(&self) -> bool {
        self.tls.get().is_some()
    }

    /// Reads what there is, and waits if there is nothing. Signals do not make it fail. 0 is the end.
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read_after(buffer, || Ok(()))
    }

    /// Reads, and calls `before` each time before the socket is waited for.
    fn read_after(&self, buffer: &mut [u8], before: impl Fn() -> io::Result<()>) -> io::Result<usize> {
        let Some(tls) = self.tls.get() else {
            before()?;
            return self.read_socket(buffer);
        };
        loop {
            if let Some(length) = tls.take(buffer)? {
                return Ok(length);
            }
            before()?;
            let mut sealed = [0; READ_BYTES];
            let length = self.read_socket(&mut sealed)?;
            self.feed(tls, &sealed[..length])?;
        }
    }

    fn read_socket(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match (&self.socket).read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    /// Hands over what has come, and writes what TLS itself answers: parts of a handshake, an alert. That is
    /// short. If the socket is full, what fills it goes first, and then this.
    fn feed(&self, tls: &Channel, sealed: &[u8]) -> io::Result<()> {
        let fed = tls.feed(sealed);
        let _ = tls.flush(|bytes| self.write_socket_now(&[IoSlice::new(bytes)]));
        fed
    }

    /// Reads what there is and appends it to `bytes`; an error if the deadline passes before.
    pub fn read_until(&self, deadline: Instant, bytes: &mut Vec<u8>) -> io::Result<usize> {
        let mut buffer = [0; READ_BYTES];
        let length =
            self.read_after(&mut buffer, || self.socket.set_read_timeout(Some(left_until(deadline)?)))?;
        bytes.extend_from_slice(&buffer[..length]);
        Ok(length)
    }

    /// From now on [`Stream::read`] waits so long at most.
    pub fn read_with_patience(&self, time: Duration) -> io::Result<()> {
        self.socket.set_read_timeout(Some(time))
    }

    /// From now on [`Stream::read`] waits as long as the connection lasts.
    pub fn read_without_deadline(&self) -> io::Result<()> {
        self.socket.set_read_timeout(None)
    }

    /// Writes as much as the other end takes at once; `WouldBlock` if that is nothing. Inside TLS, up to a
    /// record of what was taken may wait: [`Stream::flush_now`] says so.
    pub fn write_now(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let Some(tls) = self.tls.get() else { return self.write_socket_now(slices) };
        self.flush_now()?;
        let count = tls.seal(slices)?;
        match self.flush_now() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(count),
            flushed => flushed.map(|()| count),
        }
    }

    /// Writes what was taken and still waits; `WouldBlock` if the socket does not take all of it.
    pub fn flush_now(&self) -> io::Result<()> {
        let Some(tls) = self.tls.get() else { return Ok(()) };
        match tls.flush(|bytes| self.write_socket_now(&[IoSlice::new(bytes)]))? {
            Flushed::All => Ok(()),
            Flushed::ByAnother => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    /// Writes as much as the socket takes at once; `WouldBlock` if that is nothing.
    ///
    /// The socket itself stays blocking, because its reader shares it, so each write says so by itself.
    #[cfg(unix)]
    fn write_socket_now(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        SockRef::from(&self.socket).send_vectored_with_flags(slices, nix::libc::MSG_DONTWAIT)
    }

    /// Writes as much as the socket takes, about at once; `WouldBlock` if that is nothing.
    ///
    /// There is no flag for it on this system: the socket has a short write timeout instead.
    #[cfg(not(unix))]
    fn write_socket_now(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        (&self.socket).write_vectored(slices).map_err(|error| match error.kind() {
            io::ErrorKind::TimedOut => io::ErrorKind::WouldBlock.into(),
            _ => error,
        })
    }

    /// Must be called before [`Stream::write_now`] after writes with a deadline.
    pub fn write_without_waiting(&self) -> io::Result<()> {
        let timeout = if cfg!(unix) { None } else { Some(Duration::from_millis(1)) };
        self.socket.set_write_timeout(timeout)
    }

    /// Writes all of it by the deadline. Only while no other thread writes.
    pub fn write_until(&self, deadline: Instant, mut bytes: &[u8]) -> io::Result<()> {
        let Some(tls) = self.tls.get() else {
            while !bytes.is_empty() {
                bytes = &bytes[self.write_socket_until(deadline, bytes)?..];
            }
            return Ok(());
        };
        loop {
            tls.flush(|sealed| self.write_socket_until(deadline, sealed))?;
            if bytes.is_empty() {
                return Ok(());
            }
            bytes = &bytes[tls.seal(&[IoSlice::new(bytes)])?..];
        }
    }

    /// Writes some of it by the deadline.
    fn write_socket_until(&self, deadline: Instant, bytes: &[u8]) -> io::Result<usize> {
        loop {
            self.socket.set_write_timeout(Some(left_until(deadline)?))?;
            match (&self.socket).write(&bytes[..bytes.len().min(WRITE_BYTES)]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    /// Writes `words` and closes. Only while no other thread writes.
    pub fn say_and_close(&self, words: &[u8]) -> io::Result<()> {
        self.write_until(Instant::now() + LINGER, words)?;
        self.linger()
    }

    /// Ends what is written, and gives the other end time to read it: if the socket were closed with unread
    /// bytes in it, the last bytes might be lost.
    pub fn linger(&self) -> io::Result<()> {
        let deadline = Instant::now() + LINGER;
        self.shutdown(Shutdown::Write)?;
        let mut unread = [0; READ_BYTES];
        loop {
            self.socket.set_read_timeout(Some(left_until(deadline)?))?;
            if self.read_socket(&mut unread)? == 0 {
                return Ok(());
            }
        }
    }

    /// Ends one direction or both. A reader wakes up. What was written before must have been flushed.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        if let Some(tls) = self.tls.get()
            && how == Shutdown::Write
        {
            // Without this alert the other end could not tell an end from a cut. If it does not fit it is
            // lost.
            tls.close();
            let _ = self.flush_now();
        }
        self.socket.shutdown(how)
    }
}

/// The time that is left, never zero; an error if there is none.
fn left_until(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}
