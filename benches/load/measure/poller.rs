//! Many readers in one thread: counts what arrives without a thread per connection.
//!
//! A thousand reader threads on the machine under test would measure its scheduler. A few threads poll
//! hundreds of sockets each, and tell messages from everything else by how their line begins.

use std::{
    io::{self, Read},
    net::TcpStream,
    os::fd::AsFd,
    sync::atomic::{AtomicBool, Ordering},
    time::Instant,
};

use crossbeam_channel::Sender;
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};

use super::{
    connection::EVENT_STARTS,
    failure::{During, Failure},
};

/// Bytes of a line that are looked at: enough to tell a message from all else.
const START_BYTES: usize = 18;
/// How a refusal's line begins.
const NACK_START: &[u8] = b"{\"msg_type\":\"nack\"";

/// How far one group of readers is.
#[derive(Debug, Clone, PartialEq)]
pub struct Reached {
    pub group: usize,
    /// Deliveries to the whole group so far.
    pub deliveries: u64,
    /// When the last of them was read.
    pub at: Instant,
}

/// Reads a group of sockets until `stop` is set, which is noticed within a tenth of a second.
///
/// After each look at all sockets it says how far the group is. The channel is bounded: if it is full this
/// waits, and the kernel's socket buffers hold what arrives.
pub fn read_group(
    group: usize,
    mut sockets: Vec<TcpStream>,
    reached: &Sender<Reached>,
    stop: &AtomicBool,
) -> Result<(), Failure> {
    let what = "a reader's connection failed";
    for socket in &sockets {
        socket.set_nonblocking(true).during(what)?;
    }
    let mut counters = vec![LineCounter::default(); sockets.len()];
    let mut buffer = vec![0; 64 * 1024];
    let mut deliveries = 0;
    while !stop.load(Ordering::Relaxed) {
        let before = deliveries;
        for number in readable(&sockets).during(what)? {
            match sockets[number].read(&mut buffer) {
                Ok(0) => return Err(Failure::new("a server closed a reader's connection")),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => deliveries += counters[number].count(&buffer[..read.during(what)?])?,
            }
        }
        if deliveries > before && reached.send(Reached { group, deliveries, at: Instant::now() }).is_err() {
            break;
        }
    }
    Ok(())
}

/// The sockets that have something to read, after waiting for one of them for at most a tenth of a second.
fn readable(sockets: &[TcpStream]) -> io::Result<Vec<usize>> {
    let mut waiting: Vec<PollFd<'_>> =
        sockets.iter().map(|socket| PollFd::new(socket.as_fd(), PollFlags::POLLIN)).collect();
    match poll(&mut waiting, PollTimeout::from(100_u8)) {
        Ok(_) | Err(Errno::EINTR) => {}
        Err(errno) => return Err(errno.into()),
    }
    let ready = waiting.iter().enumerate().filter(|(_, socket)| socket.any().unwrap_or(false));
    Ok(ready.map(|(number, _)| number).collect())
}

/// Counts the messages in a stream of lines that arrives in pieces.
#[derive(Debug, Clone, Default)]
pub struct LineCounter {
    start: [u8; START_BYTES],
    /// Bytes of the line so far, counted no further than `START_BYTES`.
    length: usize,
}

impl LineCounter {
    /// The messages that end in `bytes`. A refusal is an error, because the bench waits for what it refused.
    pub fn count(&mut self, mut bytes: &[u8]) -> Result<u64, Failure> {
        let mut messages = 0;
        while !bytes.is_empty() {
            let end = bytes.iter().position(|&byte| byte == b'\n');
            let piece = &bytes[..end.unwrap_or(bytes.len())];
            let taken = piece.len().min(START_BYTES - self.length);
            self.start[self.length..self.length + taken].copy_from_slice(&piece[..taken]);
            self.length += taken;
            let Some(end) = end else { break };
            if self.start[..self.length] == *EVENT_STARTS[0] {
                messages += 1;
            } else if self.start[..self.length] == *NACK_START {
                return Err(Failure::new("a server refused a message of the fan-out"));
            }
            self.length = 0;
            bytes = &bytes[end + 1..];
        }
        Ok(messages)
    }
}
