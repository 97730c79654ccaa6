//! One TLS connection: plain bytes on one side, encrypted ones on the other.
//!
//! Reader and writer are different threads, and `rustls` has one state for both. So the state is behind a
//! lock, which is held while bytes are encrypted and decrypted, and never while a thread waits for the
//! socket. Encrypted bytes wait in `State::sealed` until a thread writes them to the socket. Only one does so
//! at a time, so that records keep their order. Reading can produce answers of a handshake, key updates and
//! alerts, which go the same way.
//!
//! No more than one record waits, so a connection that is not read costs its outbox and 16 KiB.

use std::io::{self, IoSlice, Read, Write};

use parking_lot::Mutex;
use rustls::Connection;

/// Plain bytes that are encrypted at once: the most that one record holds.
const RECORD_BYTES: usize = 16 * 1024;

/// The state of one connection.
#[derive(Debug)]
pub struct Channel(Mutex<State>);

#[derive(Debug)]
struct State {
    tls: Connection,
    /// Encrypted, and not taken by the socket yet.
    sealed: Vec<u8>,
    /// A thread writes what it took from `sealed`.
    is_writing: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flushed {
    /// None waits any more.
    All,
    /// Another thread writes them at this moment.
    ByAnother,
}

impl Channel {
    /// A connection of which nothing has come yet.
    pub fn new(tls: impl Into<Connection>) -> Channel {
        let mut tls = tls.into();
        tls.set_buffer_limit(Some(RECORD_BYTES));
        let mut state = State { tls, sealed: Vec::new(), is_writing: false };
        // A client speaks first. Nothing can fail in memory.
        let _ = state.collect();
        Channel(Mutex::new(state))
    }

    /// Takes decrypted bytes; `None` if more has to come from the wire first, 0 at the end.
    pub fn take(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match self.0.lock().tls.reader().read(buffer) {
            Ok(length) => Ok(Some(length)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            // The connection was cut off without a closing alert. The protocol inside marks its own ends.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(Some(0)),
            Err(error) => Err(error),
        }
    }

    /// Takes in bytes from the wire; none at its end. Answers of TLS then wait for [`Channel::flush`], even
    /// if this fails: the other end is told why.
    pub fn feed(&self, mut bytes: &[u8]) -> io::Result<()> {
        let mut state = self.0.lock();
        loop {
            let read = state.tls.read_tls(&mut bytes)?;
            let processed = state.tls.process_new_packets();
            state.collect()?;
            processed.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            if read == 0 || bytes.is_empty() {
                return Ok(());
            }
        }
    }

    /// Whether both ends have agreed on keys.
    pub fn is_established(&self) -> bool {
        !self.0.lock().tls.is_handshaking()
    }

    /// Encrypts from the front of `slices` what fits into a record, to be written by [`Channel::flush`].
    /// `WouldBlock` while an earlier record waits.
    pub fn seal(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut state = self.0.lock();
        if state.is_writing || !state.sealed.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let count = state.tls.writer().write_vectored(slices)?;
        state.collect()?;
        Ok(count)
    }

    /// Queues a closing alert, which [`Channel::flush`] writes.
    pub fn close(&self) {
        let mut state = self.0.lock();
        state.tls.send_close_notify();
        let _ = state.collect();
    }

    /// Writes what waits, by `write`, which takes what it can and fails with `WouldBlock` if that is nothing.
    pub fn flush(&self, mut write: impl FnMut(&[u8]) -> io::Result<usize>) -> io::Result<Flushed> {
        loop {
            let mut taken = {
                let mut state = self.0.lock();
                if state.is_writing {
                    return Ok(Flushed::ByAnother);
                }
                if state.sealed.is_empty() {
                    return Ok(Flushed::All);
                }
                state.is_writing = true;
                std::mem::take(&mut state.sealed)
            };
            let written = write(&taken);
            let mut state = self.0.lock();
            state.is_writing = false;
            taken.drain(..*written.as_ref().unwrap_or(&0));
            // Bytes that were encrypted meanwhile come after the rest.
            taken.append(&mut state.sealed);
            state.sealed = taken;
            written?;
        }
    }
}

impl State {
    /// Takes what is to go over the wire.
    fn collect(&mut self) -> io::Result<()> {
        while self.tls.wants_write() {
            self.tls.write_tls(&mut self.sealed)?;
        }
        Ok(())
    }
}
