//! One server: its machine (disk, clocks, power) and, while it runs, its process. The process is the
//! product's: replica, fan-out, failure detector, election and sealed datagrams, tied together as the
//! threads of the real server tie them, but by a queue of events instead of channels.

use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
    rc::Rc,
};

use syncnet::{
    config::{Followers, ReplicaConfig, ServerEntry, Timing},
    disk::StorageError,
    election::{self, Election, membership::Membership},
    fanout::{ConnId, Subscriptions},
    protocol::{
        Limits, ServerId,
        datagram::{Datagram, Heartbeat, Run},
        directory::Directory,
        operator::OperatorKey,
        request::Request,
        rules::KnownRules,
        seal::Sealer,
        secret::ClusterSecret,
    },
    replica::{
        Replica, TurnState,
        io::{Input, Now, Output},
    },
    server::credentials::{Costs, Hasher},
};

use crate::{
    device::{FIRST_PORT, HOST},
    disk::{Disk, ProcessDisk},
    medium::Medium,
    queue::{MS, Micros},
    random::Random,
    scenario::Scenario,
    upgrading::{NEW, OLD},
};

/// Wall clocks begin here: 2025-11-21.
const WALL_START_MS: u64 = 1_763_677_200_000;
/// Events that wait for a stopped process. Full: datagrams and peer messages beyond it are lost.
pub const DEFERRED_MAX: usize = 8_192;

/// A server, running or not.
pub struct Host<E> {
    pub id: ServerId,
    pub disk: Rc<RefCell<Disk>>,
    pub process: Option<Process>,
    /// Counts processes: events for an earlier one are dropped.
    pub life: u64,
    /// Whether the machine runs: after a power loss, clients and peers are not told that the server is gone.
    pub has_power: bool,
    /// Stopped by SIGSTOP.
    pub frozen: bool,
    /// Whether it is to run: not a machine that waits for its use, is dead for good, or was told to end.
    pub is_wanted: bool,
    /// What the program that is installed there knows.
    pub rules: KnownRules,
    /// Whom its configuration names besides, and whether it says that the server joins a cluster.
    pub named: Vec<usize>,
    pub joins: bool,
    /// Before then it does not ask each of the others again which servers there are.
    pub asks_at: Vec<Micros>,
    /// The servers that it knew when its data was set aside: it begins anew with them.
    pub kept: Option<Directory>,
    pub deferred: VecDeque<E>,
    /// How far its wall clock is off.
    pub wall_offset_ms: i64,
    /// How far its monotonic clock is ahead of the simulation's.
    mono_offset_ms: u64,
    pub random: Random,
}

/// The thread that reads from a connection, and hashes. Behind a request that must be answered first it reads
/// nothing, not even that its client is gone.
#[derive(Default)]
pub struct ClientThread {
    unread: VecDeque<Input>,
    is_waiting: bool,
    is_hashing: bool,
    /// The server has ended the connection.
    is_cut: bool,
}

impl ClientThread {
    /// The client sends something.
    pub fn send(&mut self, input: Input) {
        self.unread.push_back(input);
    }

    /// The next input that it passes on.
    pub fn next(&mut self) -> Option<Input> {
        let input = self.unread.pop_front_if(|_| !self.is_waiting)?;
        if let Input::Request { request, .. } = &input {
            self.is_waiting = request.as_ref().is_ok_and(Request::is_awaited);
        }
        Some(input)
    }

    /// The replica gives it work.
    pub fn work(&mut self) {
        self.is_hashing = true;
    }

    /// It has done its work.
    pub fn worked(&mut self) {
        self.is_hashing = false;
        self.is_waiting &= !self.is_cut;
    }

    /// The replica lets it read again.
    pub fn read_on(&mut self) {
        self.is_waiting = false;
    }

    /// The server ends the connection: once its work is done, only `closed` is passed on.
    pub fn cut(&mut self, closed: Input) {
        self.unread.clear();
        self.unread.push_back(closed);
        self.is_cut = true;
        self.is_waiting = self.is_hashing;
    }
}

/// A running server.
pub struct Process {
    pub replica: Replica<ProcessDisk>,
    pub fanout: Subscriptions,
    pub membership: Membership,
    pub election: Election,
    pub sealer: Sealer,
    pub inbox: VecDeque<Input>,
    pub is_woken: bool,
    /// The replica's thread waits for its disk until then.
    pub busy_until: Micros,
    /// Outputs that wait for the sync.
    pub unsaid: VecDeque<Output>,
    /// How far its turn has come.
    pub turn: TurnState,
    pub election_due: Option<u64>,
    pub next_conn: u64,
    /// The simulation's number for each connection.
    pub conns: BTreeMap<ConnId, u64>,
    /// The threads of the connections that the replica knows.
    pub threads: BTreeMap<ConnId, ClientThread>,
    pub standing: election::Standing,
    /// When the replica last made progress: a heartbeat is only sent while it does.
    pub progress_at: Micros,
}

impl<E> Host<E> {
    /// A server that never ran.
    pub fn new(number: usize, scenario: &Scenario, mut random: Random) -> Host<E> {
        let id = server_id(number);
        let disk =
            Disk::new(Medium::new(scenario.on_sqlite, scenario.writes_behind), scenario.disk, random.fork());
        Host {
            id,
            disk: Rc::new(RefCell::new(disk)),
            process: None,
            life: 0,
            has_power: true,
            frozen: false,
            is_wanted: number < scenario.servers,
            rules: if scenario.upgrades && number >= scenario.servers { NEW } else { OLD },
            named: (0..scenario.servers).filter(|other| *other != number).collect(),
            joins: number >= scenario.servers,
            asks_at: vec![0; scenario.servers + scenario.spares],
            kept: None,
            deferred: VecDeque::new(),
            wall_offset_ms: random.between(0, 200) as i64 - 100,
            mono_offset_ms: random.below(1_000_000),
            random,
        }
    }

    /// The time of its clocks.
    pub fn now(&self, at: Micros) -> Now {
        let wall_ms = (WALL_START_MS + at / MS).saturating_add_signed(self.wall_offset_ms);
        Now { mono_ms: self.mono_ms(at), wall_ms }
    }

    /// The time of its monotonic clock.
    pub fn mono_ms(&self, at: Micros) -> u64 {
        self.mono_offset_ms + at / MS
    }

    /// When its monotonic clock will show `mono_ms`.
    pub fn micros_of(&self, mono_ms: u64) -> Micros {
        mono_ms.saturating_sub(self.mono_offset_ms) * MS
    }

    /// Starts a process on what the disk holds.
    pub fn start(&mut self, at: Micros, config: ReplicaConfig) -> Result<(), StorageError> {
        self.life += 1;
        self.has_power = true;
        // A server waits a second for links before it asks.
        self.asks_at.fill(at + 1_000 * MS);
        let storage = ProcessDisk::open(&self.disk, &self.id)?;
        let replica = Replica::open(config.clone(), storage, self.now(at))?;
        let mark = replica.node().data_mark();
        // Its log may know better than its configuration.
        let config = ReplicaConfig { servers: replica.servers().clone(), ..config };
        let peers = config.servers.iter().map(|server| server.server_id.clone());
        let sealer =
            Sealer::new(&ClusterSecret::from_bytes([7; 32]), "sim", self.id.clone(), Run::from(&mark), peers);
        self.process = Some(Process {
            standing: replica.standing(),
            replica,
            fanout: Subscriptions::new(config.limits.outbox_bytes),
            membership: Membership::new(&config),
            election: Election::new(&config),
            sealer,
            inbox: VecDeque::new(),
            is_woken: false,
            busy_until: at,
            unsaid: VecDeque::new(),
            turn: TurnState::Done,
            election_due: None,
            next_conn: 0,
            conns: BTreeMap::new(),
            threads: BTreeMap::new(),
            progress_at: at,
        });
        Ok(())
    }
}

impl Process {
    /// What it says of itself in a heartbeat.
    pub fn heartbeat(&self, number: usize, ring_position: u32, now: Now) -> Datagram {
        Datagram::Heartbeat(Heartbeat {
            ring_position,
            // As of the last turn: changes of the present turn may not be synced yet.
            data: self.standing.data.clone(),
            leads_term: self.standing.leads.then_some(self.standing.data.term),
            votes: self.standing.votes,
            clients: self.replica.clients(),
            tcp_port: FIRST_PORT + number as u16,
            wall_ms: now.wall_ms,
        })
    }
}

/// The id of the server with this number.
pub fn server_id(number: usize) -> ServerId {
    ServerId::new(&format!("server{}", number + 1)).expect("made of letters and a number")
}

/// What the servers of a scenario call the one with this number.
pub fn entry(scenario: &Scenario, number: usize) -> ServerEntry {
    ServerEntry::new(server_id(number), HOST, FIRST_PORT + number as u16, scenario.positions[number])
}

/// The configuration of a server that begins the cluster.
pub fn config(scenario: &Scenario, number: usize, rules: KnownRules) -> ReplicaConfig {
    ReplicaConfig {
        server_id: server_id(number),
        servers: (0..scenario.servers).map(|number| entry(scenario, number)).collect(),
        joins: false,
        timing: Timing::default(),
        limits: Limits {
            outbox_bytes: scenario.outbox_bytes,
            requests_per_s: scenario.requests_per_s,
            requests_burst: 2 * scenario.requests_per_s,
            pending_proposals: scenario.pending_proposals,
            ..Limits::default()
        },
        auth: Default::default(),
        followers: if scenario.redirect { Followers::Redirect } else { Followers::Forward },
        keep_entries: scenario.keep_entries,
        rules,
    }
}

/// The hasher of a run. It has random numbers of its own, so that the rest of the run does not depend on how
/// many passwords there are.
pub fn hasher(seed: u64) -> Hasher {
    let mut random = Random::new(!seed);
    let chance = Box::new(move |bytes: &mut [u8]| {
        for part in bytes.chunks_mut(8) {
            part.copy_from_slice(&random.word().to_le_bytes()[..part.len()]);
        }
    });
    Hasher::new(Costs { memory_kib: 8, iterations: 1, scram_iterations: 1 }, Some(operator_key()), chance)
}

/// The key by which an operator proves to be one.
pub fn operator_key() -> OperatorKey {
    OperatorKey::new(&ClusterSecret::from_bytes([7; 32]), "simulation")
}
