//! The links of a server to all others: dialled, accepted, lost and made again.

use std::{
    collections::BTreeMap,
    io::{self, Read},
    net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use crossbeam_channel::{RecvTimeoutError, bounded};
use parking_lot::{Mutex, RwLock};
use thiserror::Error;

use crate::{
    config::ServerEntry,
    election::membership::LinkEvent,
    protocol::{datagram::Run, directory::Directory, name::ServerId, peer::PeerMessage},
    server::{
        config::Config,
        mailbox::Sender,
        ports::Port,
        refusals::Refusals,
        threads::{Stop, Threads},
    },
};

use super::{
    addresses::Addresses,
    attempts::{Attempts, Complaints, Failure},
    handshake::{self, Credentials, HandshakeError, Session},
    hurried::Hurried,
    link::{Link, PeerEvent, tune},
    message::{MessageReader, MessageWriter},
};

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
/// How long a handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a look at a port waits for the other end to hang up.
const LOOK_TIMEOUT: Duration = Duration::from_millis(20);
/// Handshakes of accepted connections at the same time; further ones are closed.
const HANDSHAKES_MAX: usize = 64;
/// How many of these may be from unknown addresses, so that a flood of strangers leaves room for the servers.
const STRANGERS_MAX: usize = 16;
/// How long a server waits without any link before it asks its peers which servers there are, and then how
/// often.
const ASK_FIRST: Duration = Duration::from_secs(1);
const ASK_EVERY: Duration = Duration::from_secs(2);

/// Is told of links that come and go, at once and on the link's own thread. The run is given with `Up`.
pub type Watcher = Arc<dyn Fn(&ServerId, LinkEvent, Option<Run>) + Send + Sync>;

pub struct Links {
    credentials: RwLock<Credentials>,
    addresses: Arc<Addresses>,
    me: ServerId,
    peers: RwLock<BTreeMap<ServerId, Arc<Peer>>>,
    threads: Arc<Threads>,
    /// What a server is told that links and should not: which servers there are.
    told: RwLock<PeerMessage>,
    events: Sender<PeerEvent>,
    watcher: Watcher,
    folder: PathBuf,
    next_link: AtomicU64,
    handshakes: AtomicUsize,
    refusals: Mutex<Refusals>,
    stop: Stop,
}

struct Peer {
    ring_position: u32,
    /// Whether this server dials it; else it dials this server.
    is_dialled: bool,
    /// Whether it is no server of the cluster any more, or another one of the same id: its thread ends.
    is_over: AtomicBool,
    /// The connection of the link that stands, and the peer's run.
    current: Mutex<Option<(Arc<TcpStream>, Run)>>,
    /// Accepted links on their way to the peer's thread. One: a newer one replaces it.
    accepted: (crossbeam_channel::Sender<Accepted>, crossbeam_channel::Receiver<Accepted>),
}

type Accepted = (TcpStream, Session);

/// Why a connection to the peer port became no link.
#[derive(Debug, Error)]
enum NotLinked {
    #[error("{0}")]
    Refused(String),
    #[error("{0} is not among the configured servers")]
    Stranger(ServerId),
    #[error("{0} dials although its ring position is higher here; compare the configurations")]
    Dials(ServerId),
    #[error(transparent)]
    Socket(#[from] io::Error),
}

impl Links {
    /// Prepares the links of a server; none is made yet.
    pub fn new(
        config: &Config,
        run: Run,
        addresses: Arc<Addresses>,
        events: Sender<PeerEvent>,
        watcher: Watcher,
        threads: Arc<Threads>,
        stop: Stop,
    ) -> Arc<Links> {
        let me = config.me();
        let credentials = Credentials::new(&config.secret, &config.cluster_name, me.server_id.clone(), run);
        Arc::new(Links {
            credentials: RwLock::new(credentials),
            addresses,
            me: me.server_id.clone(),
            peers: RwLock::new(peers_of(&config.replica.servers, config.server_id(), config.replica.joins)),
            threads,
            told: RwLock::new(PeerMessage::Servers {
                cluster_id: None,
                servers: config.replica.servers.clone(),
            }),
            events,
            watcher,
            folder: config.data_dir.clone(),
            next_link: AtomicU64::new(1),
            handshakes: AtomicUsize::new(0),
            refusals: Mutex::new(Refusals::new("a link")),
            stop,
        })
    }

    /// Starts a thread for each peer, and one that accepts on `listener`.
    pub fn start(self: &Arc<Self>, listener: TcpListener) -> io::Result<()> {
        let peers = self.peers.read().clone();
        for (peer_id, peer) in peers {
            self.start_peer(peer_id, peer)?;
        }
        let links = self.clone();
        self.threads.spawn("peer-accept", move || links.keep_accepting(&listener))
    }

    fn start_peer(self: &Arc<Self>, peer_id: ServerId, peer: Arc<Peer>) -> io::Result<()> {
        let links = self.clone();
        self.threads.spawn(&format!("peer-{}-read", peer.ring_position), move || {
            if peer.is_dialled {
                links.keep_dialling(&peer_id, &peer)
            } else {
                links.keep_waiting(&peer_id, &peer)
            }
        })
    }

    /// The servers are these from now on. The link to one that is no more among them is left to its end,
    /// which is for the caller to bring about: what was said to it last is to arrive. Other links that are to
    /// be made in another way than before end at once.
    ///
    /// # Errors
    /// The system gives no thread for a new peer.
    pub fn follow(self: &Arc<Self>, servers: &Directory) -> io::Result<()> {
        self.addresses.follow(servers.iter().filter(|server| server.server_id != self.me));
        let mut wanted = peers_of(servers, &self.me, false);
        let mut peers = self.peers.write();
        peers.retain(|peer_id, peer| {
            let stays = wanted.get(peer_id).is_some_and(|other| other.is_made_as(peer));
            if stays {
                wanted.remove(peer_id);
            } else {
                peer.is_over.store(true, Ordering::Relaxed);
                if wanted.contains_key(peer_id) {
                    peer.hang_up();
                }
            }
            stays
        });
        for (peer_id, peer) in wanted {
            self.start_peer(peer_id.clone(), peer.clone())?;
            peers.insert(peer_id, peer);
        }
        Ok(())
    }

    /// What a server is told from now on that links and should not.
    pub fn tell(&self, cluster_id: Option<u64>, servers: &Directory) {
        *self.told.write() = PeerMessage::Servers { cluster_id, servers: servers.clone() };
    }

    /// This server goes on under another run: all links are made anew, so that the others learn of it.
    pub fn restart(&self, run: Run) {
        self.credentials.write().run = run;
        self.hang_up();
    }

    /// Ends all links that stand. Unless the server stops, they are made anew.
    pub fn hang_up(&self) {
        self.peers.read().values().for_each(|peer| peer.hang_up());
    }

    fn keep_dialling(&self, peer_id: &ServerId, peer: &Peer) {
        let mut attempts = Attempts::default();
        while !self.stop.wait(attempts.pause()) && !peer.is_over() {
            match self.dial(peer_id) {
                Ok((stream, session)) => attempts.link_ended(self.run(peer_id, peer, stream, session)),
                Err(failure) => {
                    attempts.failed(peer_id, &failure);
                    self.note(peer_id, &failure);
                }
            }
        }
    }

    fn dial(&self, peer_id: &ServerId) -> Result<Accepted, Failure> {
        let stream = self.connect(peer_id)?;
        let credentials = self.credentials.read().clone();
        let other = |error: &dyn std::fmt::Display| Failure::Other(error.to_string());
        tune(&stream).map_err(|error| other(&error))?;
        let session = handshake::dial(&mut Hurried::new(&stream, HANDSHAKE_TIMEOUT), &credentials, peer_id)
            .map_err(|error| other(&error))?;
        stream.set_read_timeout(None).map_err(|error| other(&error))?;
        Ok((stream, session))
    }

    fn connect(&self, peer_id: &ServerId) -> Result<TcpStream, Failure> {
        let address = self.address(peer_id)?;
        match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
            // TCP can connect to itself when the port is one that the system hands out.
            Ok(stream) if stream.local_addr().ok() == stream.peer_addr().ok() => Err(Failure::PortRefuses),
            Ok(stream) => Ok(stream),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Err(Failure::PortRefuses),
            Err(error) => Err(Failure::Other(format!("{address} cannot be connected to: {error}"))),
        }
    }

    fn address(&self, peer_id: &ServerId) -> Result<SocketAddr, Failure> {
        if self.addresses.of(peer_id, Port::Peer).is_none() {
            let found = self.addresses.look_up(peer_id);
            found.map_err(|error| Failure::Other(format!("its host cannot be looked up: {error}")))?;
        }
        self.addresses
            .of(peer_id, Port::Peer)
            .ok_or_else(|| Failure::Other("its address is not known".into()))
    }

    /// Takes note of a failed attempt: tells the watcher of a port that refuses, and has the host looked up
    /// again, because the server may have moved.
    fn note(&self, peer_id: &ServerId, failure: &Failure) {
        if matches!(failure, Failure::PortRefuses) {
            (self.watcher)(peer_id, LinkEvent::Refused, None);
        }
        self.addresses.refresh(peer_id);
    }

    /// Runs the links that a peer dials. When one is lost, looks at the peer's port until a new link
    /// comes or the port refuses.
    ///
    /// A server to which none links may be no server of the cluster, yet or any more: it asks.
    fn keep_waiting(&self, peer_id: &ServerId, peer: &Peer) {
        let accepted = &peer.accepted.1;
        let mut lost: Option<Attempts> = None;
        let mut ask_at = Instant::now() + ASK_FIRST;
        while !self.stop.is_set() && !peer.is_over() {
            let pause = lost.as_ref().map_or(Duration::from_millis(100), Attempts::pause);
            match accepted.recv_timeout(pause) {
                Ok((stream, session)) => {
                    lost.get_or_insert_default().link_ended(self.run(peer_id, peer, stream, session));
                    ask_at = Instant::now() + ASK_FIRST;
                }
                Err(RecvTimeoutError::Timeout) => {
                    if Instant::now() >= ask_at {
                        if self.is_alone() {
                            self.ask(peer_id);
                        }
                        ask_at = Instant::now() + ASK_EVERY;
                    }
                    if let Some(attempts) = &mut lost {
                        let failure = self.look(peer_id);
                        attempts.failed(peer_id, &failure);
                        self.note(peer_id, &failure);
                        if matches!(failure, Failure::PortRefuses) {
                            lost = None;
                        }
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn is_alone(&self) -> bool {
        self.peers.read().values().all(|peer| peer.current.lock().is_none())
    }

    /// Asks a peer which servers there are. It need not know this one, and need not answer.
    fn ask(&self, peer_id: &ServerId) {
        let Ok((stream, session)) = self.dial(peer_id) else { return };
        if stream.set_read_timeout(Some(HANDSHAKE_TIMEOUT)).is_err() {
            return;
        }
        if let Ok(Some(message @ PeerMessage::Servers { .. })) = MessageReader::new(&stream, &session).read()
        {
            // No thread listens any more when the process ends.
            let _ = self.events.send(PeerEvent::Message { peer: peer_id.clone(), link: 0, message });
        }
    }

    /// Checks whether a process listens at the peer's port. An accepted connection proves nothing yet: a
    /// process that is ending hangs up a moment later.
    fn look(&self, peer_id: &ServerId) -> Failure {
        match self.connect(peer_id) {
            Err(failure) => failure,
            Ok(mut stream) => {
                let waited = stream.set_read_timeout(Some(LOOK_TIMEOUT));
                let _ = waited.and_then(|()| stream.read(&mut [0]));
                Failure::Other("its port is open and it has not dialled yet".into())
            }
        }
    }

    /// Runs a link until it ends; returns how long that was.
    fn run(&self, peer_id: &ServerId, peer: &Peer, stream: TcpStream, session: Session) -> Duration {
        let begun = Instant::now();
        let number = self.next_link.fetch_add(1, Ordering::Relaxed);
        let stream = Arc::new(stream);
        *peer.current.lock() = Some((stream.clone(), session.greeting.run));
        if self.stop.is_set() || peer.is_over() {
            return begun.elapsed();
        }
        log::info!("link {number} to {peer_id} stands");
        (self.watcher)(peer_id, LinkEvent::Up, Some(session.greeting.run));
        let link = Link {
            number,
            writer_name: format!("peer-{}-write", peer.ring_position),
            stream: stream.clone(),
            session,
            snapshot_path: self.folder.join(format!("snapshot-from-{peer_id}.part")),
        };
        let lost = || (self.watcher)(peer_id, LinkEvent::Lost, None);
        let result = link.run(&self.events, lost);
        let mut current = peer.current.lock();
        if current.as_ref().is_some_and(|(current, _)| Arc::ptr_eq(current, &stream)) {
            *current = None;
        }
        match result {
            Ok(()) => log::info!("link {number} to {peer_id} was closed"),
            Err(error) => log::info!("link {number} to {peer_id} is lost: {error}"),
        }
        begun.elapsed()
    }

    fn keep_accepting(self: Arc<Self>, listener: &TcpListener) {
        let mut complaints = Complaints::default();
        loop {
            let accepted = listener.accept();
            if self.stop.is_set() {
                return;
            }
            match accepted {
                Ok((stream, from)) => self.greet(stream, from),
                Err(error) => {
                    complaints.say(&format!("accepting a peer failed: {error}"));
                    // Most likely there are no descriptors left; a moment later there may be.
                    self.stop.wait(Duration::from_millis(20));
                }
            }
        }
    }

    /// Hands a connection to a thread of its own for the handshake, so that a silent one keeps no other
    /// waiting.
    fn greet(self: &Arc<Self>, stream: TcpStream, from: SocketAddr) {
        let room = if self.addresses.is_known(from.ip()) { HANDSHAKES_MAX } else { STRANGERS_MAX };
        if self.handshakes.fetch_add(1, Ordering::Relaxed) >= room {
            self.handshakes.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        let links = self.clone();
        let body = move || {
            if let Err(refused) = links.accept(stream, from.ip()) {
                links.refusals.lock().count(from, &refused.to_string());
            }
            links.handshakes.fetch_sub(1, Ordering::Relaxed);
        };
        if let Err(error) = std::thread::Builder::new().name("peer-hello".into()).spawn(body) {
            self.handshakes.fetch_sub(1, Ordering::Relaxed);
            self.refusals.lock().count(from, &format!("there is no thread for it: {error}"));
        }
    }

    /// The handshake of an accepted connection. One that only connects and hangs up is no error.
    fn accept(&self, stream: TcpStream, ip: IpAddr) -> Result<(), NotLinked> {
        let credentials = self.credentials.read().clone();
        tune(&stream)?;
        let session = match handshake::accept(&mut Hurried::new(&stream, HANDSHAKE_TIMEOUT), &credentials) {
            Ok(session) => session,
            Err(HandshakeError::Io(error)) => {
                log::debug!("a connection to the peer port came to nothing: {error}");
                return Ok(());
            }
            Err(HandshakeError::Refused(reason)) => return Err(NotLinked::Refused(reason)),
        };
        stream.set_read_timeout(None)?;
        let from = &session.greeting.from;
        let peer = self.peers.read().get(from).cloned();
        // It may be to join, may have been removed, or know other ring positions than there are now.
        let Some(peer) = peer else {
            self.answer(&stream, &session);
            return Err(NotLinked::Stranger(from.clone()));
        };
        if peer.is_dialled {
            self.answer(&stream, &session);
            return Err(NotLinked::Dials(from.clone()));
        }
        // Its heartbeats must find it, and it is not dialled from here.
        self.addresses.heard_from(from, ip);
        // The later handshake shows which connection is alive.
        if let Some((old, run)) = &*peer.current.lock() {
            let _ = old.shutdown(Shutdown::Both);
            if run.node_id != session.greeting.run.node_id {
                log::warn!(
                    "{from} links under other data while its old link stands: are there two of that id?"
                );
            }
        }
        let mut accepted = (stream, session);
        while let Err(full) = peer.accepted.0.try_send(accepted) {
            let _ = peer.accepted.1.try_recv();
            accepted = full.into_inner();
        }
        Ok(())
    }

    /// Says which servers there are, to one that links and should not.
    fn answer(&self, stream: &TcpStream, session: &Session) {
        let mut writer = MessageWriter::new(stream, session);
        let fits = writer.push(&self.told.read());
        if let Err(error) = if fits { writer.flush() } else { Ok(()) } {
            log::debug!("{} was not told which servers there are: {error}", session.greeting.from);
        }
    }
}

impl Peer {
    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// Whether links to both are made in the same way.
    fn is_made_as(&self, other: &Peer) -> bool {
        (self.ring_position, self.is_dialled) == (other.ring_position, other.is_dialled)
    }

    fn hang_up(&self) {
        if let Some((stream, _)) = &*self.current.lock() {
            // Gone already is as good.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// The peers of `me` among `servers`. A server that is to join and does not know yet which servers there are
/// dials none: it asks.
fn peers_of(servers: &Directory, me: &ServerId, joins: bool) -> BTreeMap<ServerId, Arc<Peer>> {
    let mine = servers.entry(me).map_or(0, |server| server.ring_position);
    let may_dial = !joins || servers.version > 0;
    let peer = |server: &ServerEntry| Peer {
        ring_position: server.ring_position,
        is_dialled: may_dial && mine < server.ring_position,
        is_over: AtomicBool::new(false),
        current: Mutex::new(None),
        accepted: bounded(1),
    };
    let others = servers.iter().filter(|server| server.server_id != *me);
    others.map(|server| (server.server_id.clone(), Arc::new(peer(server)))).collect()
}

#[cfg(test)]
mod tests {
    use std::{fs, net::Ipv4Addr, path::Path};

    use clap::Parser;

    use super::*;
    use crate::{
        protocol::peer::{ConfState, NodeId, PeerMessage, SnapshotHead},
        server::{
            args::Args,
            mailbox::{Bell, Receiver, mailbox},
            peer::snapshot,
            threads::Stopper,
        },
    };

    const PATIENCE: Duration = Duration::from_secs(30);

    /// One server's links and what they say.
    struct End {
        links: Arc<Links>,
        threads: Arc<Threads>,
        stopper: Stopper,
        events: Receiver<PeerEvent>,
        changes: crossbeam_channel::Receiver<LinkEvent>,
        port: u16,
    }

    impl End {
        fn event(&self) -> PeerEvent {
            self.events.wait_until(Instant::now() + PATIENCE);
            let mut event = Vec::new();
            self.events.take(1, &mut event);
            event.pop().expect("an event in time")
        }

        fn up(&self) -> super::super::link::Outgoing {
            assert_eq!(self.changes.recv_timeout(PATIENCE).unwrap(), LinkEvent::Up);
            match self.event() {
                PeerEvent::Up { outgoing, .. } => outgoing,
                _ => panic!("a link should come up first"),
            }
        }

        /// Waits for a change other than those before it.
        fn wait_for(&self, change: LinkEvent) {
            while self.changes.recv_timeout(PATIENCE).expect("a change in time") != change {}
        }

        fn message(&self) -> PeerMessage {
            loop {
                if let PeerEvent::Message { message, .. } = self.event() {
                    return message;
                }
            }
        }

        fn stop(self) {
            self.stopper.stop();
            self.links.hang_up();
            drop(TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)));
            drop(self.events);
            assert!(self.threads.join("peer", Instant::now() + PATIENCE).is_empty());
        }
    }

    fn end(folder: &Path, me: &str, listener: TcpListener) -> End {
        let mut args = Args::parse_from(["syncnet-server", "--server-id", me]);
        args.config = Some(folder.join("config.json"));
        args.data_dir = folder.into();
        args.log_dir = folder.into();
        let config = Config::load(&args).unwrap();
        let (events_in, events) = mailbox(100, &Bell::default());
        let (changes_in, changes) = crossbeam_channel::unbounded();
        let (stopper, stop) = Stopper::new();
        let watcher: Watcher = Arc::new(move |_, change, _| {
            let _ = changes_in.send(change);
        });
        let run = Run { node_id: NodeId(1), boot: 1 };
        let addresses = Arc::new(Addresses::new(&config));
        let threads = Arc::new(Threads::default());
        let links = Links::new(&config, run, addresses, events_in, watcher, threads.clone(), stop);
        let port = listener.local_addr().unwrap().port();
        links.start(listener).unwrap();
        End { links, threads, stopper, events, changes, port }
    }

    fn listeners(folder: &Path) -> [TcpListener; 2] {
        let port = |listener: &TcpListener| listener.local_addr().unwrap().port();
        let listen = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mut listeners = [listen(), listen()];
        // Their other ports, which are not used here, must not seem to meet.
        while port(&listeners[0]).abs_diff(port(&listeners[1])) <= Port::OFFSET_MAX {
            listeners[1] = listen();
        }
        let servers: Vec<_> = listeners
            .iter()
            .enumerate()
            .map(|(place, listener)| {
                serde_json::json!({
                    "server_id": format!("s{place}"), "host": "localhost",
                    "port": port(listener) - 30, "ring_position": place,
                })
            })
            .collect();
        fs::write(folder.join("config.json"), serde_json::json!({ "servers": servers }).to_string()).unwrap();
        listeners
    }

    #[test]
    fn links_come_up_carry_messages_and_snapshots_and_are_seen_to_die() {
        let folder = tempfile::tempdir().unwrap();
        let [first, second] = listeners(folder.path());
        let low = end(folder.path(), "s0", first);
        let high = end(folder.path(), "s1", second);
        let (to_high, to_low) = (low.up(), high.up());
        let doubt = PeerMessage::Doubt { node_id: NodeId(1), reason: "a message".into() };
        assert!(to_high.send(doubt.clone()));
        assert_eq!(high.message(), doubt);
        let content = vec![9u8; 1_000_000];
        let head =
            SnapshotHead { cluster_id: 1, term: 1, index: 1, index_term: 1, conf: ConfState::default() };
        snapshot::send(head.clone(), &*content, to_low.bulk()).unwrap();
        let PeerEvent::Snapshot { head: got, content: mut file, .. } = low.event() else {
            panic!("a snapshot is due")
        };
        let mut read = Vec::new();
        file.read_to_end(&mut read).unwrap();
        assert!(got == head && read == content);
        // A link that is cut is made again.
        low.links.hang_up();
        low.wait_for(LinkEvent::Lost);
        low.wait_for(LinkEvent::Up);
        // The one that dials sees the other's end.
        high.stop();
        low.wait_for(LinkEvent::Lost);
        low.wait_for(LinkEvent::Refused);
        low.stop();
    }

    #[test]
    fn the_end_that_is_dialled_sees_the_dialler_die() {
        let folder = tempfile::tempdir().unwrap();
        let [first, second] = listeners(folder.path());
        let low = end(folder.path(), "s0", first);
        let high = end(folder.path(), "s1", second);
        high.up();
        low.stop();
        high.wait_for(LinkEvent::Lost);
        high.wait_for(LinkEvent::Refused);
        high.stop();
    }
}
