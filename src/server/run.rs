//! A server from its start to its end.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    sync::Arc,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};
use thiserror::Error;

use crate::{
    election::membership::LinkEvent,
    protocol::datagram::Run,
    replica::Replica,
    storage::{OpenError, SqliteStorage},
};

use super::{
    board::watch,
    challenges::Challenges,
    clients::{
        acceptor::accept_all,
        fan_out::FanOutThread,
        queues::{FanOutQueues, QueryQueues},
    },
    config::Config,
    context::Context,
    core::{Core, Outlets},
    credentials::Credentials,
    data,
    data::{backups::Backups, query::QueryThread, readers::Readers, scrub::Scrubber},
    datagrams::Datagrams,
    discovery,
    inboxes::{CLIENT_QUEUE, CONTROL_QUEUE, Control, Inboxes, PEER_QUEUE},
    machine::{
        clock::Clock,
        descriptors,
        mailbox::{Bell, Sender, mailbox},
        sockets::{BindError, Sockets},
        threads::{Stop, Stopper, Threads},
    },
    metrics::{self, Metrics, Queue},
    peer::{
        addresses::Addresses,
        links::{Links, Watcher},
    },
    reload::Reloader,
    server_handle::ServerHandle,
    shared::Shared,
};

/// How long an orderly end may take altogether.
pub const STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// How long of it the replica may take to hand over and to answer what is due.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(3);

/// Why a server cannot start.
#[derive(Debug, Error)]
pub enum StartError {
    /// It does not get its ports.
    #[error(transparent)]
    Ports(#[from] BindError),
    /// It cannot use its data.
    #[error(transparent)]
    Data(#[from] OpenError),
    /// The system gives it no thread.
    #[error("a thread cannot be started: {0}")]
    Thread(#[source] io::Error),
}

pub struct Server {
    context: Arc<Context>,
    threads: Arc<Threads>,
    control: Sender<Control>,
    /// Closed when the replica has nothing more to wait for.
    stopped: Receiver<()>,
    links: Arc<Links>,
    queries: QueryQueues,
    credentials: Arc<Credentials>,
    reloader: Arc<Reloader>,
    accepting: Stopper,
    running: Stopper,
    client_address: SocketAddr,
    peer_address: SocketAddr,
    metrics_address: Option<SocketAddr>,
    listening: Vec<String>,
}

/// The channels between threads, while these are being started.
struct Wiring {
    context: Arc<Context>,
    threads: Arc<Threads>,
    control: Sender<Control>,
    fan_outs: FanOutQueues,
    readers: Arc<Readers>,
}

impl Server {
    /// Binds the ports, opens the data and starts all threads.
    ///
    /// # Errors
    /// A port, the data or a thread cannot be had. Nothing is left running.
    pub fn start(config: Config) -> Result<Server, StartError> {
        descriptors::make_room_or_warn(config.room().total());
        let sockets = Sockets::bind(&config)?;
        let clock = Clock::start();
        let metrics = Arc::new(Metrics::new(&config.replica, clock));
        let mut config = config;
        let replica = data::open(&config, &config.replica.servers, clock, &metrics)?;
        // From here on the log says which servers there are.
        config.follow(replica.servers());
        metrics.follow(replica.servers(), config.server_id());
        let run = Run::from(&replica.node().data_mark());
        let shared = Shared::new(
            clock,
            config.server_id().clone(),
            replica.standing(),
            config.replica.servers.clone(),
        );
        let context = Arc::new(Context::new(config, clock, shared, metrics));
        let readers = Arc::new(Readers::default());
        readers.set(data::readers(&replica, context.config().threads.query).map_err(OpenError::from)?);
        Server::spawn(context, sockets, replica, run, readers).map_err(StartError::Thread)
    }

    fn spawn(
        context: Arc<Context>,
        sockets: Sockets,
        replica: Replica<SqliteStorage>,
        run: Run,
        readers: Arc<Readers>,
    ) -> io::Result<Server> {
        let listening = sockets.describe();
        let client_address = reachable(sockets.clients.local_addr()?);
        let peer_address = reachable(sockets.peers.local_addr()?);
        let threads = Arc::new(Threads::default());
        let bell = Bell::default();
        let (control, control_inbox) = mailbox(CONTROL_QUEUE, &bell);
        let (peer_events, peer_inbox) = mailbox(PEER_QUEUE, &bell);
        let (client_inputs, client_inbox) = mailbox(CLIENT_QUEUE, &bell);
        for (queue, depth) in [
            (Queue::Control, control_inbox.depth()),
            (Queue::Peers, peer_inbox.depth()),
            (Queue::Clients, client_inbox.depth()),
        ] {
            context.metrics.watch(queue, depth);
        }
        let (stopped_sender, stopped) = bounded(0);
        let (running, stop) = Stopper::new();
        let (accepting, stop_accepting) = Stopper::new();
        let (fan_outs, instructions) = FanOutQueues::new(context.config().threads.fan_out);
        let wiring = Wiring { context, threads, control, fan_outs, readers };

        let queries = wiring.start_queries()?;
        let config = wiring.context.config();
        let credentials = Arc::new(Credentials::new(config.hashing, config.operator_key()));
        for (number, instructions) in instructions.into_iter().enumerate() {
            wiring.context.metrics.watch(Queue::FanOut, instructions.depth());
            let fan_out = FanOutThread::new(wiring.context.clone(), queries.clone());
            wiring.threads.spawn(&format!("fanout-{number}"), move || fan_out.run(&instructions))?;
        }
        let addresses = Arc::new(Addresses::new(&wiring.context.config()));
        let datagrams = Arc::new(Datagrams::new(
            wiring.context.clone(),
            addresses.clone(),
            sockets.datagrams,
            run,
            wiring.control.clone(),
        )?);
        let watched = datagrams.clone();
        let watcher: Watcher = Arc::new(move |peer, event: LinkEvent, run| watched.on_link(peer, event, run));
        let config = wiring.context.config();
        let links =
            Links::new(&config, run, addresses, peer_events, watcher, wiring.threads.clone(), stop.clone());
        let core = Core::new(
            wiring.context.clone(),
            replica,
            Inboxes { bell, control: control_inbox, peers: peer_inbox, clients: client_inbox },
            Outlets {
                fan_outs: wiring.fan_outs.clone(),
                queries: queries.clone(),
                readers: wiring.readers.clone(),
                datagrams: datagrams.clone(),
                links: links.clone(),
                control: wiring.control.clone(),
                stopped: stopped_sender,
            },
        );
        wiring.threads.spawn("replica", move || core.run())?;
        wiring.start_datagrams(&datagrams, sockets.multicast, &stop)?;
        links.start(sockets.peers)?;
        wiring.start_discovery(sockets.discovery, &stop)?;
        wiring.start_board(&stop)?;
        wiring.start_scrub(&stop)?;
        let mut drawn = [0; 32];
        getrandom::fill(&mut drawn).map_err(|error| io::Error::other(error.to_string()))?;
        let reloader = Arc::new(Reloader::new(wiring.context.clone(), wiring.control.clone()));
        let server = Arc::new(ServerHandle {
            inbox: client_inputs,
            fan_outs: wiring.fan_outs.clone(),
            credentials: credentials.clone(),
            backups: Backups::new(wiring.readers.clone()),
            challenges: Challenges::new(drawn),
            reloader: reloader.clone(),
            context: wiring.context.clone(),
        });
        let metrics_address = match sockets.metrics {
            None => None,
            Some(listener) => {
                let address = reachable(listener.local_addr()?);
                let (server, stop) = (server.clone(), stop_accepting.clone());
                wiring
                    .threads
                    .spawn("metrics", move || metrics::listener::serve(&listener, &server, &stop))?;
                Some(address)
            }
        };
        let clients = sockets.clients;
        wiring.threads.spawn("acceptor", move || accept_all(&clients, &server, &stop_accepting))?;

        let Wiring { context, threads, control, .. } = wiring;
        Ok(Server {
            context,
            threads,
            control,
            stopped,
            links,
            queries,
            credentials,
            reloader,
            accepting,
            running,
            client_address,
            peer_address,
            metrics_address,
            listening,
        })
    }

    /// The addresses on which the server listens, in words.
    pub fn listening(&self) -> &[String] {
        &self.listening
    }

    /// Reloads its configuration.
    pub fn reloader(&self) -> &Reloader {
        &self.reloader
    }

    pub fn context(&self) -> &Arc<Context> {
        &self.context
    }

    /// The names of the threads of the core that run.
    pub fn threads(&self) -> Vec<String> {
        self.threads.names()
    }

    /// The names of those that should run and have ended.
    pub fn ended_threads(&self) -> Vec<String> {
        self.threads.ended()
    }

    /// An address of this machine at which clients are accepted.
    pub fn client_address(&self) -> SocketAddr {
        self.client_address
    }

    /// Ends the server in order, within five seconds:
    ///
    /// Before that, `/readyz` says for a moment that the server is leaving, if a balancer asks for it.
    ///
    /// 1. no new client is accepted, or it would find a server that is leaving;
    /// 2. the replica hands leadership over, sends its clients elsewhere and answers what is due, while
    ///    links, heartbeats and fan-out still work for it;
    /// 3. clients that are still there are cut off;
    /// 4. passwords that wait are not hashed any more; links, heartbeats, election and discovery end, and the
    ///    others see the links close;
    /// 5. the query and fan-out threads end, now that no thread is left to give them work.
    ///
    /// Returns the names of threads that did not end in time. They die with the process.
    pub fn stop(self) -> Vec<String> {
        if self.context.shared.leave() {
            std::thread::sleep(Duration::from_millis(self.context.config().http.leaving_ms));
        }
        let deadline = Instant::now() + STOP_TIMEOUT;
        let Server {
            context,
            threads,
            control,
            stopped,
            links,
            queries,
            credentials,
            accepting,
            running,
            ..
        } = self;
        accepting.stop();
        wake(self.client_address);
        self.metrics_address.into_iter().for_each(wake);
        let mut late = threads.join("acceptor", deadline);
        late.extend(threads.join("metrics", deadline));

        // If the replica thread is too busy to take this in, it is not waited for.
        let told = control.try_send(Control::Stop);
        if told.is_ok() && stopped.recv_timeout(DRAIN_TIMEOUT) == Err(RecvTimeoutError::Timeout) {
            log::warn!(
                "the replica did not finish in time; what was waiting is left to the clients' retries"
            );
        }
        drop(control);
        context.clients.all().iter().for_each(|client| client.cut());

        running.stop();
        credentials.end();
        links.hang_up();
        wake(self.peer_address);
        drop(links);
        for prefix in ["replica", "peer", "heartbeat", "multicast", "election", "discovery", "board", "scrub"]
        {
            late.extend(threads.join(prefix, deadline));
        }
        while !context.clients.is_empty() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(2));
        }
        queries.close();
        for prefix in ["query", "fanout"] {
            late.extend(threads.join(prefix, deadline));
        }
        late
    }
}

impl Wiring {
    fn start_queries(&self) -> io::Result<QueryQueues> {
        let (queries, inboxes) = QueryQueues::new(self.context.config().threads.query);
        for (number, inbox) in inboxes.into_iter().enumerate() {
            self.context.metrics.watch(Queue::QueryQueues, inbox.depth());
            let thread = QueryThread {
                number,
                readers: self.readers.clone(),
                fan_outs: self.fan_outs.clone(),
                context: self.context.clone(),
                control: self.control.clone(),
            };
            self.threads.spawn(&format!("query-{number}"), move || thread.run(&inbox))?;
        }
        Ok(queries)
    }

    fn start_datagrams(
        &self,
        datagrams: &Arc<Datagrams>,
        multicast: Option<std::net::UdpSocket>,
        stop: &Stop,
    ) -> io::Result<()> {
        let start = |name: &str, body: fn(&Datagrams, &Stop)| {
            let (datagrams, stop) = (datagrams.clone(), stop.clone());
            self.threads.spawn(name, move || body(&datagrams, &stop))
        };
        start("heartbeat-recv", Datagrams::receive_own)?;
        start("heartbeat-send", Datagrams::send_heartbeats)?;
        start("election", Datagrams::elect)?;
        if let Some(socket) = multicast {
            let (datagrams, stop) = (datagrams.clone(), stop.clone());
            self.threads.spawn("multicast-recv", move || datagrams.receive(&socket, &stop))?;
        }
        Ok(())
    }

    fn start_scrub(&self, stop: &Stop) -> io::Result<()> {
        let (context, readers) = (self.context.clone(), self.readers.clone());
        let scrubber = Scrubber { context, readers, control: self.control.clone() };
        let stop = stop.clone();
        self.threads.spawn("scrub", move || scrubber.run(&stop))
    }

    fn start_board(&self, stop: &Stop) -> io::Result<()> {
        let (context, control, stop) = (self.context.clone(), self.control.clone(), stop.clone());
        self.threads.spawn("board", move || watch::watch(&context, &control, &stop))
    }

    fn start_discovery(&self, socket: std::net::UdpSocket, stop: &Stop) -> io::Result<()> {
        let (context, stop) = (self.context.clone(), stop.clone());
        self.threads.spawn("discovery", move || {
            let loopback_only = context.config().client_ip.is_loopback();
            if let Err(error) = discovery::answer_all(&socket, loopback_only, &context.shared, &stop) {
                log::error!("discovery does not work: {error}");
            }
        })
    }
}

/// The address under which this process reaches what is bound to `address`.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// Wakes a thread that waits for a connection.
fn wake(address: SocketAddr) {
    // If this fails, no thread accepts there any more.
    let _ = TcpStream::connect_timeout(&address, Duration::from_millis(200));
}
