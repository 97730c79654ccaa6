//! What servers tell each other over UDP (heartbeats, ring tokens, announcements), and what is driven by it:
//! the failure detector and the ring election.
//!
//! | thread | does |
//! |---|---|
//! | `heartbeat-send` | says that this server lives, as long as its replica thread and disk do |
//! | `heartbeat-recv` | opens what comes in: heartbeats to the failure detector, tokens to the election |
//! | `multicast-recv` | the same for multicast, if that is configured |
//! | `election` | drives the failure detector and the election by time, and carries out what they want |

use std::{
    collections::BTreeSet,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::{Mutex, RwLock};
use socket2::SockRef;

use crate::{
    config::ReplicaConfig,
    election::{
        self, Election, Standing,
        membership::{LinkEvent, Membership, PULSE_MS},
    },
    lan::{self, Interface},
    protocol::{
        datagram::{Announce, Datagram, Heartbeat, Receipt, Run, Token},
        directory::Directory,
        name::ServerId,
        seal::{DATAGRAM_BYTES, Rejected, Sealer},
    },
};

use super::{
    config::{Config, file::Transport},
    context::Context,
    inboxes::Control,
    machine::{
        mailbox::{Bell, Receiver, Sender, mailbox},
        ports::Port,
        refusals::Refusals,
        threads::Stop,
    },
    metrics::Queue,
    peer::addresses::Addresses,
};

/// Tokens and wake-ups that may wait for the election. If it is full they are dropped: tokens are sent again,
/// and the election looks at the failure detector by itself [`PULSE_MS`] later.
const QUEUE: usize = 1_024;
/// How often the receiving threads look for a stop.
const WAKE: Duration = Duration::from_millis(100);
/// Time between two views for the replica, if nothing has changed.
const VIEW_MS: u64 = 100;
/// A replica thread that has done nothing for this time and several ticks is not working: no heartbeat is
/// sent, and the others elect another leader.
const WORKS_MS: u64 = 200;
const WORKS_TICKS: u64 = 5;

/// Something for the election thread.
enum Event {
    Token { from: ServerId, token: Token },
    Receipt { from: ServerId, receipt: Receipt },
}

/// The UDP side of a server, shared by its threads.
pub struct Datagrams {
    context: Arc<Context>,
    addresses: Arc<Addresses>,
    socket: UdpSocket,
    /// Where a broadcast reaches the network of the servers, if that is known.
    broadcast: Option<Ipv4Addr>,
    sealer: Mutex<Sealer>,
    membership: RwLock<Membership>,
    control: Sender<Control>,
    events: (Sender<Event>, Receiver<Event>),
    /// Rings for `events`, and when the standing or the failure detector's beliefs change.
    wake: Bell,
    /// Rings for a heartbeat at once.
    beat_now: Bell,
}

impl Datagrams {
    /// `socket` is bound to [`Port::Datagram`].
    pub fn new(
        context: Arc<Context>,
        addresses: Arc<Addresses>,
        socket: UdpSocket,
        run: Run,
        control: Sender<Control>,
    ) -> io::Result<Self> {
        let network = network(&context.config());
        match network.map(|network| (network.ip, network.index)) {
            Some((IpAddr::V4(ip), _)) => SockRef::from(&socket).set_multicast_if_v4(&ip)?,
            Some((IpAddr::V6(_), index)) => SockRef::from(&socket).set_multicast_if_v6(index)?,
            None => {}
        }
        if context.config().peer_ip.is_ipv4() {
            socket.set_broadcast(true)?;
            socket.set_multicast_ttl_v4(lan::TTL)?;
        }
        socket.set_read_timeout(Some(WAKE))?;
        let wake = Bell::default();
        let events = mailbox(QUEUE, &wake);
        context.metrics.watch(Queue::Election, events.1.depth());
        Ok(Datagrams {
            sealer: Mutex::new(sealer(&context.config(), &context.shared.servers(), run)),
            membership: RwLock::new(Membership::new(&context.config().replica)),
            context,
            addresses,
            socket,
            broadcast: network.and_then(|network| network.broadcast),
            control,
            events,
            wake,
            beat_now: Bell::default(),
        })
    }

    /// This server goes on under another run.
    pub fn restart(&self, run: Run) {
        *self.sealer.lock() = sealer(&self.context.config(), &self.context.shared.servers(), run);
    }

    /// The servers are those of `config` from now on. The election follows when it wakes.
    pub fn follow(&self, config: &ReplicaConfig) {
        self.sealer.lock().follow(config.servers.iter().map(|server| server.server_id.clone()));
        self.membership.write().follow(config);
        self.wake.ring();
        self.beat_now.ring();
    }

    /// Something happened to a peer link. Called on the link's own thread.
    pub fn on_link(&self, peer: &ServerId, event: LinkEvent, run: Option<Run>) {
        if let Some(run) = run {
            self.sealer.lock().met(peer, run);
        }
        self.membership.write().on_link(self.context.clock.mono_ms(), peer, event);
        self.wake.ring();
    }

    /// The standing of this server changed in a way that others should hear of at once.
    pub fn standing_changed(&self) {
        self.wake.ring();
        self.beat_now.ring();
    }

    /// Sends heartbeats until it is stopped.
    pub fn send_heartbeats(&self, stop: &Stop) {
        let interval = Duration::from_millis(self.context.config().replica.timing.heartbeat_ms);
        let mut due = Instant::now();
        while !stop.is_set() {
            let pause = due.saturating_duration_since(Instant::now());
            let wished = self.beat_now.wait_until(Instant::now() + pause.min(WAKE));
            if !wished && pause > WAKE {
                continue;
            }
            self.beat();
            due = Instant::now() + interval;
        }
    }

    /// Says that this server lives, if its replica thread works.
    fn beat(&self) {
        if self.works() {
            self.send_heartbeat();
        }
    }

    /// Whether the replica thread works.
    fn works(&self) -> bool {
        let tick_ms = self.context.config().replica.timing.tick_ms;
        self.context.shared.idle_ms() <= WORKS_MS.max(WORKS_TICKS * tick_ms)
    }

    fn send_heartbeat(&self) {
        let Standing { data, leads, votes, .. } = self.context.shared.standing();
        let config = self.context.config();
        let me = config.me();
        let servers = self.context.shared.servers();
        let ring_position = servers.entry(&me.server_id).unwrap_or(me).ring_position;
        self.send_to_all(&Datagram::Heartbeat(Heartbeat {
            ring_position,
            leads_term: leads.then_some(data.term),
            data,
            votes,
            clients: self.context.shared.clients(),
            tcp_port: me.port,
            wall_ms: self.context.clock.now().wall_ms,
        }));
    }

    fn send_to_all(&self, datagram: &Datagram) {
        let bytes = self.sealer.lock().seal(None, datagram);
        let servers = self.context.shared.servers();
        let to_each = servers.iter().filter_map(|peer| self.addresses.of(&peer.server_id, Port::Datagram));
        for address in to_each.chain(self.group_addresses(&servers)) {
            self.send(&bytes, address);
        }
    }

    /// The addresses for heartbeats besides each server's own. On loopback a broadcast does not reach a
    /// socket that is bound to one address, so there it is only sent if it is configured.
    fn group_addresses(&self, servers: &Directory) -> impl Iterator<Item = SocketAddr> {
        let config = self.context.config();
        let heartbeat = &config.heartbeat;
        // Without a default route, the broadcast to all networks reaches none.
        let usual = (!config.on_loopback).then(|| self.broadcast.unwrap_or(Ipv4Addr::BROADCAST));
        let (group, port) = match heartbeat.transport {
            Transport::Broadcast => {
                let address = heartbeat.broadcast_address.or(usual);
                // IPv6 has none.
                (address.filter(|_| config.peer_ip.is_ipv4()).map(IpAddr::V4), Port::Datagram)
            }
            Transport::Multicast => (Some(heartbeat.group(config.peer_ip)), Port::Multicast),
        };
        let others = servers.iter().filter(|server| server.server_id != *config.server_id());
        let ports: BTreeSet<u16> = others.filter_map(|peer| port.of(peer.port)).collect();
        group
            .into_iter()
            .flat_map(move |group| ports.clone().into_iter().map(move |port| SocketAddr::new(group, port)))
    }

    fn send(&self, bytes: &[u8], address: SocketAddr) {
        if let Err(error) = self.socket.send_to(bytes, address) {
            // A datagram may be lost anyway.
            log::trace!("a datagram to {address} was not sent: {error}");
        }
    }

    /// Receives from `socket` until it is stopped.
    pub fn receive(&self, socket: &UdpSocket, stop: &Stop) {
        let mut refusals = Refusals::new("a datagram");
        // One more than allowed, so that a datagram that is too long is noticed.
        let mut bytes = [0; DATAGRAM_BYTES + 1];
        while !stop.is_set() {
            refusals.report();
            // Errors of a UDP socket are about what was sent earlier or pass; a timeout is the usual one.
            let Ok((length, from)) = socket.recv_from(&mut bytes) else { continue };
            let opened = self.sealer.lock().open(&bytes[..length]);
            match opened {
                Ok((sender, datagram)) => self.take(sender, datagram),
                // Broadcasts and servers that start cause these all the time.
                Err(Rejected::Reflected | Rejected::Replayed | Rejected::NotMet) => {}
                Err(rejected) => refusals.count(from, &rejected.to_string()),
            }
        }
    }

    /// Receives from this server's own port.
    pub fn receive_own(&self, stop: &Stop) {
        self.receive(&self.socket, stop);
    }

    fn take(&self, from: ServerId, datagram: Datagram) {
        let now_ms = self.context.clock.mono_ms();
        match datagram {
            Datagram::Heartbeat(beat) => self.membership.write().on_heartbeat(now_ms, &from, &beat),
            Datagram::Announce(announce) => self.membership.write().on_announce(now_ms, &from, &announce),
            Datagram::Token(token) => {
                let _ = self.events.0.try_send(Event::Token { from, token });
                return;
            }
            Datagram::Receipt(receipt) => {
                let _ = self.events.0.try_send(Event::Receipt { from, receipt });
                return;
            }
        }
        if self.membership.read().has_changed() {
            self.wake.ring();
        }
    }

    /// Runs failure detector and election until it is stopped.
    pub fn elect(&self, stop: &Stop) {
        let mut election = Election::new(&self.context.config().replica);
        let mut version = self.context.config().replica.servers.version;
        let mut standing = None;
        let mut pulse_ms = 0;
        let mut viewed_ms = 0;
        while !stop.is_set() {
            let now_ms = self.context.clock.mono_ms();
            let due_ms = election.due_ms().unwrap_or(u64::MAX).min(pulse_ms + PULSE_MS);
            let mut events = Vec::new();
            if !self.events.1.has_items() {
                self.wake.wait_until(Instant::now() + Duration::from_millis(due_ms.saturating_sub(now_ms)));
            }
            self.events.1.take(QUEUE, &mut events);
            let now_ms = self.context.clock.mono_ms();
            pulse_ms = now_ms;
            let servers = self.context.shared.servers();
            if servers.version != version {
                version = servers.version;
                let servers = Directory::clone(&servers);
                election.follow(&ReplicaConfig { servers, ..self.context.config().replica.clone() });
            }
            let (changed, view, missed) = {
                let mut membership = self.membership.write();
                membership.tick(now_ms);
                (membership.take_changed(), membership.view(), membership.take_missed())
            };
            for (peer, count) in missed {
                self.context.metrics.heartbeats_lost(&peer, count);
            }
            let told = self.context.shared.standing();
            if standing.as_ref() != Some(&told) {
                standing = Some(told.clone());
                election.handle(now_ms, election::Input::Standing(told));
            }
            if changed || now_ms >= viewed_ms + VIEW_MS {
                viewed_ms = now_ms;
                election.handle(now_ms, election::Input::View(view.clone()));
                // If the replica thread is behind, it gets the next one.
                let _ = self.control.try_send(Control::View(view));
            }
            for event in events {
                let input = match event {
                    Event::Token { from, token } => election::Input::Token { from, token },
                    Event::Receipt { from, receipt } => election::Input::Receipt { from, receipt },
                };
                election.handle(now_ms, input);
            }
            election.handle(now_ms, election::Input::Tick);
            while let Some(output) = election.output() {
                self.carry_out(output);
            }
        }
    }

    fn carry_out(&self, output: election::Output) {
        match output {
            election::Output::Send { to, datagram } => {
                let bytes = self.sealer.lock().seal(Some(&to), &datagram);
                if let Some(address) = self.addresses.of(&to, Port::Datagram) {
                    self.send(&bytes, address);
                }
            }
            election::Output::Campaign { term, leader_is_dead } => {
                let why = if leader_is_dead { "the leader's process is gone" } else { "no leader is heard" };
                log::info!("the ring has chosen this server: it asks for votes ({why})");
                // If the process is ending, no replica is left to campaign.
                let _ = self.control.send(Control::Campaign { term, leader_is_dead });
            }
            election::Output::Announce { term } => {
                self.send_to_all(&Datagram::Announce(Announce { term }));
                self.beat_now.ring();
            }
        }
    }
}

fn sealer(config: &Config, servers: &Directory, run: Run) -> Sealer {
    let peers = servers.iter().map(|peer| peer.server_id.clone());
    Sealer::new(&config.secret, &config.cluster_name, config.server_id().clone(), run, peers)
}

/// The network on which the others reach this server; `None` leaves it to the system.
fn network(config: &Config) -> Option<Interface> {
    if config.on_loopback || config.peer_ip.is_loopback() {
        return None;
    }
    let configured = config.me().host.parse().ok();
    lan::network_of(configured.filter(|_| config.peer_ip.is_unspecified()).unwrap_or(config.peer_ip))
}

/// The socket for multicasts, if they are configured.
pub fn join_multicast(config: &Config, socket: UdpSocket) -> io::Result<UdpSocket> {
    let network = network(config);
    match config.heartbeat.group(config.peer_ip) {
        IpAddr::V6(group) => socket.join_multicast_v6(&group, network.map_or(0, |network| network.index))?,
        IpAddr::V4(group) => {
            let network = if let Some(IpAddr::V4(ip)) = network.map(|network| network.ip) {
                ip
            } else {
                Ipv4Addr::UNSPECIFIED
            };
            socket.join_multicast_v4(&group, &network)?;
        }
    }
    socket.set_read_timeout(Some(WAKE))?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{protocol::peer::NodeId, server::inboxes::CONTROL_QUEUE};

    /// A socket of this machine that can be some server's for datagrams, and that server's base port.
    fn bound() -> (UdpSocket, u16) {
        loop {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            let base = socket.local_addr().unwrap().port().checked_sub(Port::Datagram.of(1).unwrap() - 1);
            if let Some(base) = base.filter(|base| *base > 0) {
                return (socket, base);
            }
        }
    }

    #[test]
    fn no_heartbeat_leaves_a_server_whose_replica_thread_hangs() {
        let folder = tempfile::tempdir().unwrap();
        let (mine, my_port) = bound();
        let (theirs, their_port) = bound();
        let servers = format!("--servers=server1=127.0.0.1:{my_port},server2=127.0.0.1:{their_port}");
        let context = Context::alone(folder.path(), &["--server-id=server1", &servers]);
        let run = |node| Run { node_id: NodeId(node), boot: 1 };
        let (me, them) = (ServerId::new("server1").unwrap(), ServerId::new("server2").unwrap());
        let config = context.config();
        let mut opener =
            Sealer::new(&config.secret, &config.cluster_name, them.clone(), run(2), [me.clone()]);
        opener.met(&me, run(1));
        let addresses = Arc::new(Addresses::new(&config));
        let (control, _views) = mailbox(CONTROL_QUEUE, &Bell::default());
        let datagrams = Datagrams::new(Arc::clone(&context), addresses, mine, run(1), control).unwrap();
        datagrams.sealer.lock().met(&them, run(2));
        theirs.set_nonblocking(true).unwrap();
        // Each turn tells another number of clients, so that it is seen which heartbeat is heard.
        let mut heard = || {
            let mut bytes = [0; DATAGRAM_BYTES];
            let length = theirs.recv(&mut bytes).ok()?;
            match opener.open(&bytes[..length]).unwrap() {
                (_, Datagram::Heartbeat(beat)) => Some(beat.clients),
                other => panic!("{other:?}"),
            }
        };
        let turn = |clients| {
            let _ = context.shared.turned(context.shared.standing(), 0, clients);
        };
        let mut work_until_news = |clients, known| {
            let deadline = Instant::now() + Duration::from_secs(30);
            loop {
                turn(clients);
                datagrams.beat();
                if let Some(clients) = heard().filter(|clients| *clients != known) {
                    return clients;
                }
                assert!(Instant::now() < deadline, "a server that works is not heard");
                std::thread::yield_now();
            }
        };
        assert_eq!(work_until_news(1, 0), 1);
        turn(2);
        let works_ms = WORKS_MS.max(WORKS_TICKS * config.replica.timing.tick_ms);
        while context.shared.idle_ms() <= works_ms {
            std::thread::yield_now();
        }
        datagrams.beat();
        assert_eq!(work_until_news(3, 1), 3, "nothing was said meanwhile");
    }
}
