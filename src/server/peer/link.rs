//! One link that stands: a thread that reads and one that writes.
//!
//! A few small messages are written at once by the thread that has them, if the other end takes them without
//! waiting. So they do not wait until another thread wakes up; a commit goes over four links one after the
//! other. All else, and what the other end does not take, is left to the writing thread. Who has the lock of
//! the writer takes messages out of the queue, so they stay in order.

use std::{
    fmt,
    fs::File,
    io,
    net::{Shutdown, TcpStream},
    path::PathBuf,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use socket2::{SockRef, TcpKeepalive};

use crate::{
    protocol::{
        name::ServerId,
        peer::{PeerMessage, SnapshotHead},
    },
    server::machine::mailbox::{Bell, Receiver, Sender, Unsent, mailbox},
};

use super::{
    handshake::Session,
    message::{MessageReader, MessageWriter},
    snapshot::Assembly,
};

/// Messages that may wait for a peer. If it is full they are dropped: consensus and forwards send again.
const QUEUE: usize = 2_048;
/// Snapshot chunks that may wait. If it is full the snapshot waits.
const BULK_QUEUE: usize = 2;
/// Messages that are written between two chunks of a snapshot.
const MESSAGES_AT_ONCE: usize = 256;
/// No more bytes than these are encrypted by a thread that has other things to do.
const AT_ONCE_BYTES: usize = 64 * 1024;
/// About how many bytes are encrypted and written at once.
const WRITE_BYTES: usize = 1024 * 1024;
/// Bytes that the system may buffer for a link. With more, a snapshot would delay consensus messages on a
/// slow network.
const SEND_BUFFER_BYTES: usize = 512 * 1024;
/// A peer that takes nothing for so long is cut off.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long sent bytes, or a probe of an idle link, may stay unconfirmed by the other machine.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(2);
/// How often an idle link is probed; the system counts whole seconds.
const KEEPALIVE: Duration = Duration::from_secs(1);

/// What happens on the links, in order for each link.
pub enum PeerEvent {
    /// A link stands. What comes of an earlier link to the same peer is void from here on.
    Up {
        peer: ServerId,
        /// For what is to be sent there.
        outgoing: Outgoing,
    },
    Down {
        peer: ServerId,
        link: u64,
    },
    /// A peer said something.
    Message {
        peer: ServerId,
        link: u64,
        message: PeerMessage,
    },
    /// A snapshot arrived whole.
    Snapshot {
        peer: ServerId,
        link: u64,
        head: SnapshotHead,
        content: File,
    },
}

/// The sending end of a link. The link may be gone: then everything sent is lost, until `Down` says so.
#[derive(Debug, Clone)]
pub struct Outgoing {
    link: u64,
    messages: Sender<PeerMessage>,
    bulk: Sender<PeerMessage>,
    wire: Arc<Wire>,
}

impl Outgoing {
    /// Which link it belongs to.
    pub fn link(&self) -> u64 {
        self.link
    }

    /// Puts a message into the queue; `false` if it is full and the message was dropped. It leaves with the
    /// next [`Outgoing::write_now`].
    pub fn send(&self, message: PeerMessage) -> bool {
        !matches!(self.messages.try_send(message), Err(Unsent::Full(_)))
    }

    /// Writes what is in the queue, or lets the writing thread do it. Never waits for the other end.
    pub fn write_now(&self) {
        if !self.wire.write_now() {
            self.wire.bell.ring();
        }
    }

    /// Ends the link once all that waits is written.
    pub fn close(&self) {
        self.messages.close();
        self.wire.bell.ring();
    }

    /// The queue for the messages of a snapshot: it holds the sender back, and everything else goes first.
    pub fn bulk(&self) -> &Sender<PeerMessage> {
        &self.bulk
    }
}

/// Sets a connection between servers up: small messages at once, and an end to half-open connections.
pub(super) fn tune(stream: &TcpStream) -> io::Result<()> {
    let socket = SockRef::from(stream);
    socket.set_tcp_nodelay(true)?;
    socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
    socket.set_tcp_keepalive(&keepalive())?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    socket.set_tcp_user_timeout(Some(SILENCE_TIMEOUT))?;
    stream.set_write_timeout(Some(WRITE_TIMEOUT))
}

fn keepalive() -> TcpKeepalive {
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE);
    #[cfg(any(target_os = "linux", target_os = "macos", target_os = "windows"))]
    let keepalive = keepalive.with_interval(KEEPALIVE);
    keepalive
}

/// A link about to be run.
pub(super) struct Link {
    /// Its number; each link of a process has another.
    pub number: u64,
    /// The name of the writing thread.
    pub writer_name: String,
    pub stream: Arc<TcpStream>,
    pub session: Session,
    /// The file for an incomplete snapshot.
    pub snapshot_path: PathBuf,
}

impl Link {
    /// Reads until the link ends; returns why. Says `Up` first and `Down` last. `lost` is called as soon as
    /// the link is seen to be gone, before anything that might wait.
    pub fn run(self, events: &Sender<PeerEvent>, lost: impl FnOnce()) -> io::Result<()> {
        let peer = self.session.greeting.from.clone();
        let bell = Bell::default();
        // Messages ring for no thread: `Outgoing::write_now` does, if it leaves some.
        let (messages, messages_out) = mailbox(QUEUE, &Bell::default());
        let (bulk, bulk_out) = mailbox(BULK_QUEUE, &bell);
        let writer = Mutex::new(MessageWriter::new(self.stream.try_clone()?, &self.session));
        let wire = Arc::new(Wire { bell, messages: messages_out, bulk: bulk_out, writer });
        let (stream, writes) = (self.stream.clone(), wire.clone());
        let writing = thread::Builder::new().name(self.writer_name.clone()).spawn(move || {
            if let Err(error) = writes.write_all() {
                log::debug!("writing to a peer failed: {error}");
            }
            // The reader must not wait for a peer that cannot be written to.
            let _ = stream.shutdown(Shutdown::Both);
        })?;
        let outgoing = Outgoing { link: self.number, messages, bulk, wire };
        let result = self.read_all(&peer, outgoing.clone(), events);
        lost();
        // The other end may be gone already.
        let _ = self.stream.shutdown(Shutdown::Both);
        outgoing.bulk.close();
        outgoing.close();
        // When the process ends, the receiver may be gone.
        let _ = events.send(PeerEvent::Down { peer, link: self.number });
        writing.join().map_err(|_| io::Error::other("the writing thread panicked"))?;
        result
    }

    fn read_all(&self, peer: &ServerId, outgoing: Outgoing, events: &Sender<PeerEvent>) -> io::Result<()> {
        let link = self.number;
        let mut reader = MessageReader::new(&*self.stream, &self.session);
        let mut assembly = Assembly::new(self.snapshot_path.clone());
        if events.send(PeerEvent::Up { peer: peer.clone(), outgoing }).is_err() {
            return Ok(());
        }
        while let Some(message) = reader.read()? {
            let outcome = match message {
                PeerMessage::SnapshotBegin(head) => assembly.begin(head).map(|()| None),
                PeerMessage::SnapshotChunk { offset, bytes } => assembly.chunk(offset, &bytes).map(|()| None),
                PeerMessage::SnapshotEnd { sha256 } => assembly.end(sha256).map(|(head, content)| {
                    Some(PeerEvent::Snapshot { peer: peer.clone(), link, head, content })
                }),
                message => Ok(Some(PeerEvent::Message { peer: peer.clone(), link, message })),
            };
            let event = outcome.unwrap_or_else(|reason| {
                // Its sender finds out by itself: entries that follow the snapshot are not confirmed.
                log::warn!("a snapshot from {peer} is thrown away: {reason}");
                None
            });
            if let Some(event) = event
                && events.send(event).is_err()
            {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// The messages that wait to be written to a link, and what writes them.
struct Wire {
    /// Rings for the writing thread.
    bell: Bell,
    messages: Receiver<PeerMessage>,
    bulk: Receiver<PeerMessage>,
    writer: Mutex<MessageWriter<TcpStream>>,
}

impl Wire {
    /// Writes a few small messages without waiting. Returns whether nothing is left to be written.
    fn write_now(&self) -> bool {
        if !self.messages.has_items() {
            return true;
        }
        // The thread that has the lock looks at the queue again.
        let Some(mut writer) = self.writer.try_lock() else { return false };
        if writer.is_behind() {
            return false;
        }
        let mut waiting = Vec::new();
        self.messages.take(MESSAGES_AT_ONCE, &mut waiting);
        for message in &waiting {
            push(&mut writer, message);
        }
        // After an error the link is gone, which the writing thread finds out as well.
        writer.buffered() <= AT_ONCE_BYTES
            && writer.flush_now().unwrap_or(false)
            && !self.messages.has_items()
    }

    /// Writes until the link ends. All that waits is written at once, up to a bound; of a snapshot one chunk
    /// each time.
    fn write_all(&self) -> io::Result<()> {
        let mut waiting = Vec::new();
        while !self.messages.is_finished() {
            if !self.messages.has_items() && !self.bulk.has_items() {
                self.bell.wait_until(Instant::now() + Duration::from_secs(1));
            }
            let mut writer = self.writer.lock();
            self.messages.take(MESSAGES_AT_ONCE, &mut waiting);
            self.bulk.take(1, &mut waiting);
            for message in waiting.drain(..) {
                push(&mut writer, &message);
                if writer.buffered() >= WRITE_BYTES {
                    writer.flush()?;
                }
            }
            writer.flush()?;
        }
        // What another thread has begun to write before the end.
        self.writer.lock().flush()
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wire")
    }
}

fn push(writer: &mut MessageWriter<TcpStream>, message: &PeerMessage) {
    if !writer.push(message) {
        log::error!("a message to a peer is too large and was dropped");
    }
}
