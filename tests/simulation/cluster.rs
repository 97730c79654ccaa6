//! The world of one run: servers, network, clients, and the queue of events that drives them all.
//!
//! | file | what it does with the world |
//! |---|---|
//! | `cluster` | what there is, and which event goes where |
//! | `serving` | runs the servers' processes, as their threads would |
//! | `linking` | peer links and datagrams between them |
//! | `visiting` | client connections, devices and rude visitors |
//! | `operator` | changes which servers there are |
//! | `faults` | breaks things, and heals them |
//! | `auditing` | looks whether what must hold holds, during the run and at its end |

use std::{collections::BTreeMap, rc::Rc, sync::Arc};

use syncnet::{
    fanout::ConnId,
    protocol::{Refusal, credential::Done, peer::PeerMessage},
    replica::io::Query,
    server::credentials::Hasher,
};

use crate::{
    auditing::Audit,
    checker::{Checker, Verdict},
    company::Company,
    decaying::SCRUB_US,
    device::Device,
    faults::Nemesis,
    host::{self, Host},
    links::{Cargo, Links},
    network::Network,
    operator::Operator,
    queue::{Micros, Queue},
    random::Random,
    scenario::Scenario,
    trace::Trace,
    visiting::{Conn, Visitor},
};

/// An event for one server's process. `life` tells which process was meant.
#[derive(Clone)]
pub enum ServerEvent {
    /// The replica's thread looks into its inbox.
    Wake,
    /// Outputs that do not wait for a sync are sent, or those that waited for the last one.
    Speak,
    /// The sync that a turn waits for reaches the disk.
    Sync,
    /// A tick of the replica's clock.
    Tick,
    /// The failure detector looks at the clock.
    Pulse,
    /// A heartbeat is due.
    Beat,
    /// The election wanted to be called now.
    ElectionDue,
    /// A datagram arrived.
    Datagram(Rc<Vec<u8>>),
    /// A peer link came up; the run of the peer as it proved it.
    LinkUp { peer: usize, generation: u64, run: syncnet::protocol::datagram::Run },
    /// A peer link is known to be lost.
    LinkDown { peer: usize, generation: u64 },
    /// The peer's port refused a connection.
    LinkRefused { peer: usize },
    /// A peer with which it has no link says which servers there are.
    Told { peer: usize, message: Box<PeerMessage> },
    /// Something came over a peer link.
    Link { peer: usize, generation: u64, cargo: Cargo },
    /// The sending of a snapshot has ended well.
    SnapshotSent { peer: usize, generation: u64 },
    /// A query's thread has read what was asked.
    Query(Box<Query>),
    /// The thread of a connection has done its work.
    Hashed { conn: ConnId, done: Box<Result<Done, Refusal>> },
    /// A client's connection was accepted.
    Accept { conn: u64 },
    /// Bytes came from a client.
    Upload { conn: u64, bytes: Rc<Vec<u8>> },
    /// A client that reads slowly can take more.
    Drain { conn: ConnId },
    /// A client's connection is gone.
    Hangup { conn: u64 },
}

/// Something that happens to a client.
pub enum ClientEvent {
    /// Its connection is open.
    Connected { conn: u64 },
    /// Its connection was refused.
    Refused { conn: u64 },
    /// A line came.
    Download { conn: u64, line: Arc<[u8]> },
    /// Its connection was closed or reset by the server.
    Closed { conn: u64 },
    /// A device's library wanted to be called now.
    DeviceDue { device: usize },
    /// A device's user does something.
    DeviceAct { device: usize },
    /// A device's program starts.
    DeviceStart { device: usize },
    /// A visitor goes on.
    Visitor { visitor: u64 },
    /// The next visitors come.
    Visits,
    /// A visitor comes to a room that keeps few events.
    Forgetful,
    /// The people with accounts go on.
    Company,
    /// The operator goes on.
    Operator,
    /// A machine whose server was removed is started once more.
    StartsGone { server: usize },
}

/// Something that happens.
pub enum Event {
    /// At the process of a server.
    Server { server: usize, life: u64, event: ServerEvent },
    /// A server's process starts.
    Start { server: usize },
    /// A pair of servers checks whether it needs a link.
    Dial { a: usize, b: usize },
    /// A server asks for a connection.
    Connect { conn: u64 },
    /// At a client.
    Client(ClientEvent),
    /// To the world.
    Fault(crate::faults::FaultEvent),
    /// Everything is looked at.
    Audit,
    /// All servers read their data.
    Scrub,
}

/// Counts of a run, which tell whether it proves anything.
#[derive(Debug, Default, Clone)]
pub struct Tally {
    /// Faults that happened.
    pub faults: u64,
    /// Changes of the leader after the first.
    pub leader_changes: u64,
    /// Messages that were acknowledged to devices and visitors.
    pub acked: u64,
    /// Faults while a message waited for its acknowledgement, and messages composed just after a fault.
    pub overlaps: u64,
    /// Snapshots that arrived.
    pub snapshots: u64,
    /// Servers that were set aside and rebuilt.
    pub quarantines: u64,
    /// Rows that decayed, and rows that a server got from another one.
    pub decays: u64,
    pub repairs: u64,
    /// Events that rooms had forgotten at the end.
    pub forgotten: u64,
    /// Processes that were started.
    pub starts: u64,
    /// Items of private rooms that were shown to people with accounts, and judged.
    pub shown: u64,
    /// Messages whose deletion was acknowledged.
    pub deleted: u64,
    /// Sessions whose end was acknowledged.
    pub logouts: u64,
    /// Whether the cluster has gone over to newer rules; of many runs, in how many.
    pub upgrades: u64,
    /// Servers whose machine lost its power, and with it what was not synced.
    pub power_losses: u64,
    /// Changes of the servers that were asked for, and refusals of them.
    pub asked: u64,
    pub refused: u64,
    /// Changes of the servers that came to their end; `None` if nobody changes them.
    pub settled: Option<u64>,
    /// Servers that heard that they were removed, and ended.
    pub removed: u64,
    /// Servers that came back when none that they knew was there any more.
    pub stranded: u64,
    /// Events that were carried out.
    pub events: u64,
}

impl Tally {
    /// Whether the run proves nothing: no acknowledged message, no change of the leader, no fault while a
    /// message waited, or no change of the servers where there is an operator.
    pub fn is_void(&self) -> bool {
        self.acked == 0 || self.leader_changes == 0 || self.overlaps == 0 || self.settled == Some(0)
    }

    /// Counts another run in.
    pub fn add(&mut self, other: &Tally) {
        self.faults += other.faults;
        self.leader_changes += other.leader_changes;
        self.acked += other.acked;
        self.overlaps += other.overlaps;
        self.snapshots += other.snapshots;
        self.quarantines += other.quarantines;
        self.decays += other.decays;
        self.repairs += other.repairs;
        self.power_losses += other.power_losses;
        self.upgrades += other.upgrades;
        self.forgotten += other.forgotten;
        self.starts += other.starts;
        self.shown += other.shown;
        self.deleted += other.deleted;
        self.logouts += other.logouts;
        self.asked += other.asked;
        self.refused += other.refused;
        self.settled = match (self.settled, other.settled) {
            (Some(one), Some(other)) => Some(one + other),
            (one, other) => one.or(other),
        };
        self.removed += other.removed;
        self.stranded += other.stranded;
        self.events += other.events;
    }
}

/// The whole world of a run.
pub struct Cluster {
    pub scenario: Scenario,
    pub now: Micros,
    pub queue: Queue<Event>,
    pub trace: Trace,
    pub checker: Checker,
    pub network: Network,
    pub links: Links,
    pub hosts: Vec<Host<ServerEvent>>,
    pub devices: Vec<Device>,
    /// The connection of each device.
    pub device_conns: Vec<Option<u64>>,
    /// When each device's library will be called.
    pub device_due: Vec<Option<Micros>>,
    pub conns: BTreeMap<u64, Conn>,
    pub next_conn: u64,
    pub visitors: BTreeMap<u64, Visitor>,
    pub next_visitor: u64,
    /// People with accounts, if there are some.
    pub company: Option<Company>,
    /// The one who changes the servers, if they change.
    pub operator: Option<Operator>,
    pub nemesis: Nemesis,
    pub audit: Audit,
    pub tally: Tally,
    /// For rows that decay.
    pub decay: Random,
    /// Passwords cost almost nothing here.
    pub hasher: Hasher,
    /// Random numbers for everything that has no source of its own.
    pub random: Random,
    /// Whether users are still active.
    pub is_lively: bool,
}

impl Cluster {
    /// The world of a scenario at its start.
    pub fn new(scenario: Scenario, is_printed: bool) -> Cluster {
        let mut random = Random::new(scenario.seed);
        let (servers, devices) = (scenario.servers + scenario.spares, scenario.devices);
        let hosts = (0..servers).map(|number| Host::new(number, &scenario, random.fork())).collect();
        let mut cluster = Cluster {
            now: 0,
            queue: Queue::new(),
            trace: Trace::new(is_printed),
            checker: Checker::new(servers),
            network: Network::new(servers, scenario.weather, random.fork()),
            links: Links::new(servers),
            hosts,
            devices: (0..devices).map(|number| Device::new(number, &scenario, random.fork())).collect(),
            device_conns: vec![None; devices],
            device_due: vec![None; devices],
            hasher: host::hasher(scenario.seed),
            conns: BTreeMap::new(),
            next_conn: 0,
            visitors: BTreeMap::new(),
            next_visitor: 0,
            company: Company::of(scenario.seed),
            nemesis: Nemesis::new(servers, random.fork()),
            operator: Operator::of(&scenario, || random.fork()),
            audit: Audit::new(servers),
            tally: Tally::default(),
            decay: Random::new(scenario.seed ^ 0xdeca_1000),
            random,
            is_lively: true,
            scenario,
        };
        cluster.begin();
        cluster
    }

    fn begin(&mut self) {
        for server in 0..self.hosts.len() {
            let at = self.random.between(0, 400_000);
            self.queue.schedule(at, Event::Start { server });
            for peer in 0..server {
                self.queue.schedule(1_000, Event::Dial { a: peer, b: server });
            }
        }
        for device in 0..self.devices.len() {
            let at = self.random.between(200_000, 1_500_000);
            self.queue.schedule(at, Event::Client(ClientEvent::DeviceStart { device }));
        }
        if self.scenario.forgets {
            self.queue.schedule(0, Event::Client(ClientEvent::Forgetful));
        }
        if self.scenario.rude_every > 0 {
            self.queue.schedule(self.scenario.rude_every, Event::Client(ClientEvent::Visits));
        }
        self.begin_company();
        self.begin_operator();
        self.begin_faults();
        self.queue.schedule(crate::auditing::AUDIT_US, Event::Audit);
        if self.scenario.decays {
            self.queue.schedule(SCRUB_US, Event::Scrub);
        }
    }

    /// Carries out all events up to `until`, or until a violation.
    pub fn run_until(&mut self, until: Micros) -> Verdict {
        while let Some((at, event)) = self.queue.next_before(until) {
            self.now = at;
            self.tally.events += 1;
            self.carry_out(event)?;
        }
        self.now = until;
        Ok(())
    }

    fn carry_out(&mut self, event: Event) -> Verdict {
        match event {
            Event::Server { server, life, event } => self.at_server(server, life, event),
            Event::Start { server } => self.start(server),
            Event::Dial { a, b } => {
                self.dial(a, b);
                Ok(())
            }
            Event::Connect { conn } => {
                self.connect(conn);
                Ok(())
            }
            Event::Client(event) => self.at_client(event),
            Event::Fault(fault) => self.at_fault(fault),
            Event::Audit => self.look(),
            Event::Scrub => self.scrub(),
        }
    }

    /// Schedules an event for the present process of `server`.
    pub fn schedule_at(&mut self, at: Micros, server: usize, event: ServerEvent) {
        let life = self.hosts[server].life;
        self.queue.schedule(at, Event::Server { server, life, event });
    }

    /// Whether `server` has a process, stopped or not.
    pub fn is_running(&self, server: usize) -> bool {
        self.hosts[server].process.is_some()
    }

    /// Whether `server` has a process that is not stopped.
    pub fn is_moving(&self, server: usize) -> bool {
        self.is_running(server) && !self.hosts[server].frozen
    }

    /// The server that leads, in the newest term.
    pub fn leader(&self) -> Option<usize> {
        let leading = |server: &usize| {
            let process = self.hosts[*server].process.as_ref()?;
            process.standing.leads.then_some((process.standing.data.term, *server))
        };
        (0..self.hosts.len()).filter_map(|server| leading(&server)).max().map(|(_, server)| server)
    }

    /// The configuration of `server`.
    pub fn config(&self, server: usize) -> syncnet::config::ReplicaConfig {
        host::config(&self.scenario, server, self.hosts[server].rules)
    }
}
