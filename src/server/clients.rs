//! The connections of clients: who they are, and how their sockets are written to without waiting.

use std::{
    collections::BTreeMap,
    io::{self, IoSlice},
    net::{Shutdown, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::RwLock;
use socket2::{SockRef, TcpKeepalive};

use crate::replica::io::ConnId;

/// How often the other end of an idle connection is asked for a sign of life by the system. Without this
/// a client whose machine vanished would be kept for ever.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// One connection. Its own thread reads from it, its fan-out thread writes to it.
#[derive(Debug)]
pub struct Client {
    /// Its number.
    pub conn: ConnId,
    /// Its socket.
    pub stream: TcpStream,
    /// Nothing more is to be read: only the end of what is written matters.
    closing: AtomicBool,
    /// How often something was written.
    writes: AtomicU64,
}

impl Client {
    /// Writes as much as the socket takes at once; `WouldBlock` where that is nothing.
    ///
    /// The socket itself stays blocking, because its reader shares it, so each write says so by itself.
    #[cfg(unix)]
    pub fn write_now(&self, lines: &[IoSlice<'_>]) -> io::Result<usize> {
        self.writes.fetch_add(1, Ordering::Relaxed);
        SockRef::from(&self.stream).send_vectored_with_flags(lines, nix::libc::MSG_DONTWAIT)
    }

    /// Writes as much as the socket takes, about at once.
    ///
    /// There is no such flag on this system: the socket has a write timeout of a millisecond instead.
    #[cfg(not(unix))]
    pub fn write_now(&self, lines: &[IoSlice<'_>]) -> io::Result<usize> {
        self.writes.fetch_add(1, Ordering::Relaxed);
        let written = io::Write::write_vectored(&mut &self.stream, lines);
        written.map_err(|error| match error.kind() {
            io::ErrorKind::TimedOut => io::ErrorKind::WouldBlock.into(),
            _ => error,
        })
    }

    /// How often something was written to it so far.
    pub fn writes(&self) -> u64 {
        self.writes.load(Ordering::Relaxed)
    }

    /// Whether its end has begun.
    pub fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }

    /// Nothing more will be written. What was written still arrives, and what still comes in is thrown
    /// away until the other end closes, or [`Client::cut`] is called: were the socket closed with unread
    /// bytes in it, the other end might lose the last lines.
    pub fn finish(&self) {
        self.closing.store(true, Ordering::Relaxed);
        // An error means that the other end is gone already.
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Ends it at once. Its reader wakes up.
    pub fn cut(&self) {
        self.closing.store(true, Ordering::Relaxed);
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

/// All connections, those included whose dialect is not known yet.
#[derive(Debug)]
pub struct Clients {
    open: RwLock<BTreeMap<ConnId, Arc<Client>>>,
    next: AtomicU64,
    connections_max: usize,
}

impl Clients {
    /// For up to `connections_max` at the same time.
    pub fn new(connections_max: usize) -> Self {
        Clients { open: RwLock::default(), next: AtomicU64::new(1), connections_max }
    }

    /// Takes up an accepted connection; gives it back where there are too many.
    pub fn add(&self, stream: TcpStream) -> Result<Arc<Client>, TcpStream> {
        let mut open = self.open.write();
        if open.len() >= self.connections_max {
            return Err(stream);
        }
        let conn = ConnId(self.next.fetch_add(1, Ordering::Relaxed));
        // A socket that cannot be tuned still works.
        let _ = stream.set_nodelay(true);
        let _ = SockRef::from(&stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE));
        #[cfg(not(unix))]
        let _ = stream.set_write_timeout(Some(Duration::from_millis(1)));
        let client = Client { conn, stream, closing: AtomicBool::new(false), writes: AtomicU64::new(0) };
        let client = Arc::new(client);
        open.insert(conn, client.clone());
        Ok(client)
    }

    /// Forgets one.
    pub fn remove(&self, conn: ConnId) {
        self.open.write().remove(&conn);
    }

    /// One of them.
    pub fn get(&self, conn: ConnId) -> Option<Arc<Client>> {
        self.open.read().get(&conn).cloned()
    }

    /// All of them.
    pub fn all(&self) -> Vec<Arc<Client>> {
        self.open.read().values().cloned().collect()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.open.read().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
