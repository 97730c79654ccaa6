//! The links of a server to all others: dialled, accepted, lost and made again.
//!
//! | file | what it is |
//! |---|---|
//! | `mod.rs` | which links there are to be, and one that runs |
//! | `dialling.rs` | links that this server makes; how it looks for a server that is to make one |
//! | `accepting.rs` | links that others make |

mod accepting;
mod dialling;

use std::{
    collections::BTreeMap,
    io,
    net::{Shutdown, TcpListener, TcpStream},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use crossbeam_channel::bounded;
use parking_lot::{Mutex, RwLock};

use crate::{
    config::ServerEntry,
    election::membership::LinkEvent,
    protocol::{datagram::Run, directory::Directory, name::ServerId, peer::PeerMessage},
    server::{
        config::Config,
        machine::{
            mailbox::Sender,
            refusals::Refusals,
            threads::{Stop, Threads},
        },
    },
};

use super::{
    addresses::Addresses,
    handshake::{Credentials, Session},
    link::{Link, PeerEvent},
};

/// How long a handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(2);
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
mod tests;
