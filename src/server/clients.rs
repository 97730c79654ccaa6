//! The connections of clients: who they are, and how they are written to without waiting.

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

use crate::{
    fanout::ConnId,
    protocol::{credential::Job, limits::Limits},
    replica::neighbourhood::Neighbourhood,
};

use super::{
    local_session::Answers,
    mailbox::{Bell, Receiver, Sender, mailbox},
    outgoing::{Framing, Outgoing},
    stream::Stream,
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

/// Which place a connection takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seat {
    /// One of those for all clients.
    Ordinary(Neighbourhood),
    /// One of those that are kept for operators and administrators.
    Reserved(Neighbourhood),
    /// One of those for all clients; the connection is from a trusted proxy.
    Proxy,
    /// None: it belongs to a connection that has one already.
    Local,
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

/// Reserved places that one address may have. A client that does not become an operator's keeps one for
/// seconds at most, and an operator needs no more.
const RESERVED_OF_ONE_ADDRESS: usize = 2;

/// All connections, those included whose dialect is not known yet, and the local sessions.
#[derive(Debug)]
pub struct Clients {
    open: RwLock<Open>,
    next: AtomicU64,
}

/// How many connections there may be at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    pub ordinary: usize,
    /// How many of these may come from one address.
    pub of_one_address: usize,
    /// How many more there may be for operators and administrators.
    pub reserved: usize,
}

impl Room {
    /// As the configuration limits it.
    pub fn of(limits: &Limits) -> Room {
        Room {
            ordinary: limits.connections,
            of_one_address: limits.connections_per_address,
            reserved: limits.connections_reserved,
        }
    }

    /// How many connections there can be.
    pub fn total(&self) -> usize {
        self.ordinary + self.reserved
    }
}

#[derive(Debug)]
struct Open {
    room: Room,
    by_conn: BTreeMap<ConnId, Arc<Client>>,
    /// How many of them have an ordinary place.
    ordinary: usize,
    /// How many of them have a reserved place.
    reserved: usize,
    /// The addresses of clients behind trusted proxies, as far as the proxies have said them.
    behind_proxies: BTreeMap<ConnId, Neighbourhood>,
    /// Both, by the address that they come from.
    by_address: BTreeMap<Neighbourhood, OfAddress>,
}

/// How many connections come from one address.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct OfAddress {
    ordinary: usize,
    reserved: usize,
}

impl Open {
    fn new(room: Room) -> Open {
        Open {
            room,
            by_conn: BTreeMap::new(),
            ordinary: 0,
            reserved: 0,
            behind_proxies: BTreeMap::new(),
            by_address: BTreeMap::new(),
        }
    }

    /// The place for another connection from there, if there is one.
    fn seat(&self, place: Neighbourhood) -> Option<Seat> {
        let room = self.room;
        let of_address = self.by_address.get(&place).copied().unwrap_or_default();
        if of_address.ordinary >= room.of_one_address {
            // This address took all its places itself. The reserved ones are for those whom others shut out.
            return None;
        }
        if self.ordinary < room.ordinary {
            return Some(Seat::Ordinary(place));
        }
        let may_have = self.reserved < room.reserved && of_address.reserved < RESERVED_OF_ONE_ADDRESS;
        may_have.then_some(Seat::Reserved(place))
    }

    fn take(&mut self, seat: Seat) {
        match seat {
            Seat::Ordinary(place) => {
                self.ordinary += 1;
                self.by_address.entry(place).or_default().ordinary += 1;
            }
            Seat::Reserved(place) => {
                self.reserved += 1;
                self.by_address.entry(place).or_default().reserved += 1;
            }
            Seat::Proxy => self.ordinary += 1,
            Seat::Local => {}
        }
    }

    fn give_back(&mut self, seat: Seat) {
        let place = match seat {
            Seat::Ordinary(place) => {
                self.ordinary -= 1;
                self.by_address.entry(place).or_default().ordinary -= 1;
                place
            }
            Seat::Reserved(place) => {
                self.reserved -= 1;
                self.by_address.entry(place).or_default().reserved -= 1;
                place
            }
            Seat::Proxy => {
                self.ordinary -= 1;
                return;
            }
            Seat::Local => return,
        };
        self.forget_if_empty(place);
    }

    fn forget_if_empty(&mut self, place: Neighbourhood) {
        if self.by_address.get(&place) == Some(&OfAddress::default()) {
            self.by_address.remove(&place);
        }
    }
}

impl Clients {
    pub fn new(room: Room) -> Self {
        Clients { open: RwLock::new(Open::new(room)), next: AtomicU64::new(1) }
    }

    /// Changes the limits. Connections that are there stay, even if there are more than the new limits.
    pub fn resize(&self, room: Room) {
        self.open.write().room = room;
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
        let seat = if is_proxy && open.ordinary < open.room.ordinary {
            Some(Seat::Proxy)
        } else {
            open.seat(Neighbourhood::of(Some(addr)))
        };
        let Some(seat) = seat else { return Err(stream) };
        let stream = Arc::new(stream);
        let client = self.insert(&mut open, Sink::Socket(stream.clone()), seat);
        Ok((client, stream))
    }

    /// A trusted proxy has given a client's address. Returns whether there may be another connection from
    /// there; it counts in any case, until it is removed.
    pub fn comes_from(&self, conn: ConnId, addr: IpAddr) -> bool {
        let mut open = self.open.write();
        let place = Neighbourhood::of(Some(addr));
        if let Some(before) = open.behind_proxies.insert(conn, place) {
            open.by_address.entry(before).or_default().ordinary -= 1;
            open.forget_if_empty(before);
        }
        let of_address = open.by_address.entry(place).or_default();
        of_address.ordinary += 1;
        of_address.ordinary <= open.room.of_one_address
    }

    pub fn add_local(&self, answers: Answers) -> Arc<Client> {
        let mut open = self.open.write();
        self.insert(&mut open, Sink::Local(answers), Seat::Local)
    }

    fn insert(&self, open: &mut Open, sink: Sink, seat: Seat) -> Arc<Client> {
        open.take(seat);
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
            open.give_back(client.seat);
            if let Some(place) = open.behind_proxies.remove(&conn) {
                open.by_address.entry(place).or_default().ordinary -= 1;
                open.forget_if_empty(place);
            }
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
        let open = self.open.read();
        open.ordinary + open.reserved
    }

    /// Whether there are no connections.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(number: u32) -> Neighbourhood {
        Neighbourhood::of(Some(IpAddr::V4(number.into())))
    }

    /// The places of connections that come one by one from these addresses: `o`rdinary, `r`eserved,
    /// or `-`.
    fn let_in(open: &mut Open, addresses: &[u32]) -> (String, Vec<Seat>) {
        let seats: Vec<Option<Seat>> = addresses
            .iter()
            .map(|&from| {
                let seat = open.seat(place(from));
                seat.into_iter().for_each(|seat| open.take(seat));
                seat
            })
            .collect();
        let letter = |seat: &Option<Seat>| match seat {
            Some(Seat::Ordinary(_)) => 'o',
            Some(Seat::Reserved(_)) => 'r',
            _ => '-',
        };
        (seats.iter().map(letter).collect(), seats.into_iter().flatten().collect())
    }

    #[test]
    fn the_last_places_are_kept_and_no_address_takes_all_others() {
        let room = Room { ordinary: 5, of_one_address: 3, reserved: 3 };
        let mut open = Open::new(room);
        let (places, seats) = let_in(&mut open, &[1, 1, 1, 1, 2, 3]);
        assert_eq!(places, "ooo-oo", "an address that has all its places gets no reserved one");
        let (places, more) = let_in(&mut open, &[1, 4, 4, 4, 5, 6]);
        assert_eq!(places, "-rr-r-", "no address has more than two of those");
        // A place that is given back can be given again.
        open.give_back(seats[0]);
        let (places, ordinary) = let_in(&mut open, &[4]);
        assert_eq!(places, "o");
        open.give_back(more[0]);
        let (places, again) = let_in(&mut open, &[4, 7]);
        assert_eq!(places, "r-");
        let rest = seats[1..].iter().chain(&more[1..]).chain(&ordinary).chain(&again);
        rest.chain(&[Seat::Local]).for_each(|seat| open.give_back(*seat));
        assert!(open.ordinary == 0 && open.reserved == 0 && open.by_address.is_empty(), "{open:?}");
        // The new limits count for later connections.
        open.room.of_one_address = 1;
        assert_eq!(let_in(&mut open, &[1, 1, 2]).0, "o-o");
    }
}
