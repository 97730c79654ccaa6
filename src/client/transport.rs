//! One connection to a server, or one attempt at it: a thread that opens the socket and then only reads.

use std::{
    io::{self, ErrorKind, Read},
    net::{TcpStream, ToSocketAddrs},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::Builder,
    time::{Duration, Instant},
};

use crossbeam_channel::Sender;

use crate::{
    network_error::in_words,
    protocol::limits::HISTORY_BYTES,
    tls::client::{ClientStream, Trust},
};

use super::{directory::Address, discovery::discover, io::Input, limits::CONNECT_MS};

/// The longest line that is taken from a server; pages of events are the longest lines.
const LINE_BYTES_MAX: usize = 8 * HISTORY_BYTES;
/// How long a write may block. Then the server does not read, or the network is cut, and another server is
/// tried.
const WRITE_MS: u64 = 500;
/// How often a reading thread checks whether its connection was given up.
const LOOK_MS: u64 = 1_000;

/// Messages of the thread of a connection.
pub enum FromLink {
    /// The connection is open; this is its writing side.
    Opened(ClientStream),
    Said(Input),
}

/// The writing side of a connection, or of an attempt at one.
pub struct Transport {
    /// Distinguishes lines of this connection from those of an older one.
    pub number: u64,
    /// The writing side, once it is open.
    pub stream: Option<ClientStream>,
    ended: Arc<AtomicBool>,
}

impl Transport {
    /// Opens a connection to `address`, or looks for servers if there is none. What happens is sent to
    /// `inputs` with `number`.
    ///
    /// The thread is not joined: opening cannot be interrupted (resolving the host's name may take long).
    /// After [`Transport::end`] it only ends.
    pub fn start(
        number: u64,
        address: Option<Address>,
        trust: Option<Trust>,
        inputs: Sender<(u64, FromLink)>,
    ) -> Transport {
        let ended = Arc::new(AtomicBool::new(false));
        let link = LinkThread { number, trust, inputs: inputs.clone(), ended: ended.clone() };
        let spawned = Builder::new().name(format!("client-link-{number}")).spawn(move || match address {
            Some(address) => link.run(&address),
            None => drop(link.say(FromLink::Said(Input::Discovered(discover())))),
        });
        if let Err(error) = spawned {
            // Does not block, although this thread itself reads the queue: a new connection is begun only
            // when the old one was read to its end or dropped, so the queue has room.
            let reason = format!("the system gives no thread: {error}");
            let _ = inputs.try_send((number, FromLink::Said(Input::ConnectFailed { reason })));
        }
        Transport { number, stream: None, ended }
    }

    /// Ends it, whether it is open or still being opened.
    pub fn end(self) {
        self.ended.store(true, Ordering::Relaxed);
        if let Some(stream) = self.stream {
            // Wakes the reading thread. A connection that is gone already cannot be shut down.
            let _ = stream.shutdown();
        }
    }
}

struct LinkThread {
    number: u64,
    /// The trusted certificates; without them nothing is encrypted.
    trust: Option<Trust>,
    inputs: Sender<(u64, FromLink)>,
    ended: Arc<AtomicBool>,
}

impl LinkThread {
    fn run(self, address: &Address) {
        let stream = match open(address, self.trust.as_ref()) {
            Ok(opened) => opened,
            Err(error) => {
                self.say(FromLink::Said(Input::ConnectFailed { reason: in_words(&error) }));
                return;
            }
        };
        if self.say(FromLink::Opened(stream.clone())) {
            let reason = self.read(stream);
            self.say(FromLink::Said(Input::Disconnected { reason }));
        }
    }

    /// Reads lines until the connection ends; gives the reason.
    fn read(&self, mut stream: ClientStream) -> String {
        let mut unread = Vec::new();
        let mut chunk = vec![0; 64 * 1024];
        loop {
            match stream.read(&mut chunk) {
                Ok(0) => return "it closed the connection".into(),
                Ok(length) => {
                    let searched = unread.len();
                    unread.extend_from_slice(&chunk[..length]);
                    if !self.say_lines(&mut unread, searched) {
                        return "given up".into();
                    }
                    if unread.len() > LINE_BYTES_MAX {
                        return format!("it sent a line of more than {LINE_BYTES_MAX} bytes");
                    }
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return in_words(&error),
            }
            if self.ended.load(Ordering::Relaxed) {
                return "given up".into();
            }
        }
    }

    /// Passes on the complete lines in `unread` and keeps the rest; the first `searched` bytes hold no line
    /// end.
    fn say_lines(&self, unread: &mut Vec<u8>, searched: usize) -> bool {
        let mut start = 0;
        let mut from = searched;
        while let Some(length) = unread[from..].iter().position(|&byte| byte == b'\n') {
            let end = from + length;
            let line = unread[start..end].strip_suffix(b"\r").unwrap_or(&unread[start..end]).to_vec();
            (start, from) = (end + 1, end + 1);
            if !line.is_empty() && !self.say(FromLink::Said(Input::Received(line))) {
                return false;
            }
        }
        unread.drain(..start);
        true
    }

    /// Passes it on; `false` if the driver is gone.
    fn say(&self, said: FromLink) -> bool {
        !self.ended.load(Ordering::Relaxed) && self.inputs.send((self.number, said)).is_ok()
    }
}

/// Opens a connection to one of the addresses of the host's name.
fn open(address: &Address, trust: Option<&Trust>) -> io::Result<ClientStream> {
    let mut last = io::Error::new(ErrorKind::NotFound, "the host name stands for no address");
    for target in (address.host.as_str(), address.tcp_port).to_socket_addrs()? {
        let deadline = Instant::now() + Duration::from_millis(CONNECT_MS);
        match TcpStream::connect_timeout(&target, Duration::from_millis(CONNECT_MS)) {
            Ok(socket) => {
                // Messages are small and waited for.
                socket.set_nodelay(true)?;
                let stream = ClientStream::open(socket, &address.host, trust, deadline)?;
                stream.set_write_timeout(Some(Duration::from_millis(WRITE_MS)))?;
                stream.set_read_timeout(Some(Duration::from_millis(LOOK_MS)))?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}
