//! The connections of clients: who they are, and how they are written to without waiting.

pub mod acceptor;
pub mod answers;
pub mod backlog;
pub mod client_thread;
pub mod connection_info;
pub mod conversation;
pub mod dialect;
pub mod fan_out;
pub mod framing;
pub mod json_lines;
pub mod local_session;
pub mod outgoing;
pub mod proxies;
pub mod queues;
pub mod seats;
pub mod stream;

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, Shutdown},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Instant,
};

use parking_lot::{Mutex, RwLock};

use crate::{fanout::ConnId, protocol::credential::Job, replica::neighbourhood::Neighbourhood};

use super::{
    clients::{
        answers::Answers,
        outgoing::{Framing, Outgoing},
        seats::{Room, Seat, Seats},
        stream::Stream,
    },
    machine::mailbox::{Bell, Receiver, Sender, mailbox},
};

/// One connection. Its own thread reads from it, its fan-out thread writes to it.
#[derive(Debug)]
pub struct Client {
    pub conn: ConnId,
    sink: Sink,
    /// The place that it takes.
    seat: Seat,
    /// Input is thrown away; only the rest of the output matters.
    closing: AtomicBool,
    writes: AtomicU64,
    speaks: Mutex<Speaks>,
    /// Set once it speaks WebSocket.
    control: OnceLock<Mutex<ControlFrames>>,
    tasks: Receiver<ReaderTask>,
    to_reader: Sender<ReaderTask>,
}

/// What the replica tells a reading thread that waits for the answer to a request.
#[derive(Debug)]
pub enum ReaderTask {
    /// Do this, and send the replica the result.
    Work(Job),
    /// The request is answered: read on.
    ReadOn,
}

/// The dialect of a connection, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Speaks {
    Nothing,
    JsonLines,
    Http,
    WebSocket,
}

#[derive(Debug)]
enum Sink {
    /// To another machine or process.
    Socket(Arc<Stream>),
    /// To a thread of this server.
    Local(Answers),
}

/// The control frames that wait to be written. There is never more than one of each: a newer pong answers
/// the older pings as well (RFC 6455, 5.5.3), and nothing comes after a close.
#[derive(Debug, Default)]
pub struct ControlFrames {
    /// The payload of the newest ping.
    pub pong: Option<Vec<u8>>,
    /// Ask whether it is still there.
    pub ping: bool,
    /// Close at once, and why.
    pub close: Option<(u16, &'static str)>,
    /// What a close says that comes after everything else.
    pub last_words: Option<(u16, &'static str)>,
}

impl Client {
    /// Writes as much as the other end takes at once; `WouldBlock` if that is nothing.
    pub fn write_now(&self, outgoing: &mut Outgoing) -> io::Result<()> {
        self.writes.fetch_add(1, Ordering::Relaxed);
        match &self.sink {
            Sink::Socket(stream) => {
                let written = stream.write_now(&outgoing.slices())?;
                outgoing.advance(written);
                Ok(())
            }
            Sink::Local(answers) => answers.put(outgoing),
        }
    }

    /// Writes what is still held back; `WouldBlock` if some of it must wait on.
    pub fn flush_now(&self) -> io::Result<()> {
        match &self.sink {
            Sink::Socket(stream) => stream.flush_now(),
            Sink::Local(_) => Ok(()),
        }
    }

    /// Whether it has one of the places that are kept for operators and administrators.
    pub fn is_reserved(&self) -> bool {
        matches!(self.seat, Seat::Reserved(_))
    }

    pub fn writes(&self) -> u64 {
        self.writes.load(Ordering::Relaxed)
    }

    /// Sets the dialect, once it is known.
    pub fn speak(&self, speaks: Speaks) {
        *self.speaks.lock() = speaks;
    }

    /// Its dialect; `None` for a thread of this server.
    pub fn speaks(&self) -> Option<Speaks> {
        matches!(self.sink, Sink::Socket(_)).then(|| *self.speaks.lock())
    }

    /// From now on it speaks WebSocket. Must be called before the replica is told of the connection.
    pub fn speak_web_socket(&self) {
        self.speak(Speaks::WebSocket);
        self.control.get_or_init(Mutex::default);
    }

    pub fn framing(&self) -> Framing {
        match self.sink {
            Sink::Local(_) => Framing::Values,
            Sink::Socket(_) if self.control.get().is_some() => Framing::Messages,
            Sink::Socket(_) => Framing::Lines,
        }
    }

    /// The control frames that wait; `None` if it speaks no WebSocket.
    pub fn control(&self) -> Option<&Mutex<ControlFrames>> {
        self.control.get()
    }

    /// Whether it is closing: nothing that it sends is taken any more.
    pub fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }

    /// Gives its thread a task. There is never more than one: the replica gives the next one when the thread
    /// has done the last, or waits for another request.
    pub fn give(&self, task: ReaderTask) {
        // A thread that ends needs none.
        let _ = self.to_reader.try_send(task);
    }

    /// Waits for the next task; `None` if the connection ends, or if there was none until `deadline`.
    pub fn next_task(&self, deadline: Option<Instant>) -> Option<ReaderTask> {
        match deadline {
            Some(deadline) => self.tasks.receive_until(deadline),
            None => self.tasks.receive(),
        }
    }

    /// Nothing more will be written. What was written still arrives. What still comes in is thrown away until
    /// the other end closes, or [`Client::cut`] is called: if the socket were closed with unread bytes in it,
    /// the other end might lose the last lines.
    pub fn finish(&self) {
        self.closing.store(true, Ordering::Relaxed);
        self.to_reader.close();
        match &self.sink {
            // An error means that the other end is gone already.
            Sink::Socket(stream) => drop(stream.shutdown(Shutdown::Write)),
            Sink::Local(answers) => answers.close(),
        }
    }

    /// Ends it at once. Its reader wakes up.
    pub fn cut(&self) {
        self.closing.store(true, Ordering::Relaxed);
        self.to_reader.close();
        match &self.sink {
            Sink::Socket(stream) => drop(stream.shutdown(Shutdown::Both)),
            Sink::Local(answers) => answers.close(),
        }
    }
}

/// All connections, those included whose dialect is not known yet, and the local sessions.
#[derive(Debug)]
pub struct Clients {
    open: RwLock<Open>,
    next: AtomicU64,
}

#[derive(Debug)]
struct Open {
    seats: Seats,
    by_conn: BTreeMap<ConnId, Arc<Client>>,
}

impl Clients {
    pub fn new(room: Room) -> Self {
        let open = Open { seats: Seats::new(room), by_conn: BTreeMap::new() };
        Clients { open: RwLock::new(open), next: AtomicU64::new(1) }
    }

    /// Changes the limits. Connections that are there stay, even if there are more than the new limits.
    pub fn resize(&self, room: Room) {
        self.open.write().seats.resize(room);
    }

    /// Adds a connection that was accepted from `addr`; gives the stream back if there are too many.
    ///
    /// Connections through a proxy are not limited by the proxy's address: see [`Clients::comes_from`].
    pub fn add(
        &self,
        stream: Stream,
        addr: IpAddr,
        is_proxy: bool,
    ) -> Result<(Arc<Client>, Arc<Stream>), Stream> {
        let mut open = self.open.write();
        let place = Neighbourhood::of(Some(addr));
        let Some(seat) = open.seats.find(place, is_proxy) else { return Err(stream) };
        let stream = Arc::new(stream);
        let client = self.insert(&mut open, Sink::Socket(stream.clone()), seat);
        Ok((client, stream))
    }

    /// A trusted proxy has given a client's address. Returns whether there may be another connection from
    /// there; it counts in any case, until it is removed.
    pub fn comes_from(&self, conn: ConnId, addr: IpAddr) -> bool {
        self.open.write().seats.comes_from(conn, Neighbourhood::of(Some(addr)))
    }

    pub fn add_local(&self, answers: Answers) -> Arc<Client> {
        let mut open = self.open.write();
        self.insert(&mut open, Sink::Local(answers), Seat::Local)
    }

    fn insert(&self, open: &mut Open, sink: Sink, seat: Seat) -> Arc<Client> {
        open.seats.take(seat);
        let conn = ConnId(self.next.fetch_add(1, Ordering::Relaxed));
        let (to_reader, tasks) = mailbox(1, &Bell::default());
        let client = Arc::new(Client {
            conn,
            sink,
            seat,
            closing: AtomicBool::new(false),
            writes: AtomicU64::new(0),
            speaks: Mutex::new(Speaks::Nothing),
            control: OnceLock::new(),
            tasks,
            to_reader,
        });
        open.by_conn.insert(conn, client.clone());
        client
    }

    pub fn remove(&self, conn: ConnId) {
        let mut open = self.open.write();
        if let Some(client) = open.by_conn.remove(&conn) {
            open.seats.leave(conn, client.seat);
        }
    }

    pub fn get(&self, conn: ConnId) -> Option<Arc<Client>> {
        self.open.read().by_conn.get(&conn).cloned()
    }

    /// All of them, local sessions included.
    pub fn all(&self) -> Vec<Arc<Client>> {
        self.open.read().by_conn.values().cloned().collect()
    }

    /// How many connections there are.
    pub fn len(&self) -> usize {
        self.open.read().seats.count()
    }

    /// Whether there are no connections.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
