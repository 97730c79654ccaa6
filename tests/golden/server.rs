//! A small cluster in one thread, as its clients see it: bytes in, time forward, bytes out.
//!
//! **This is the only file of the golden tests for lines that knows the inside of the program.** If code
//! moves (the reading of requests, the replica's inbox, the encoding of answers), this file follows, and the
//! recordings stay as they are.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use data_encoding::HEXLOWER;
use serde::Deserialize;
use syncnet::{
    config::{Auth, AuthMode, Followers, ReplicaConfig, ServerEntry, Timing},
    election::membership::{PeerView, View},
    fanout::{ConnId, Subscriptions},
    json,
    protocol::{
        Limits, ServerId, answer::Signature, operator::OperatorKey, peer::NodeId, request::Request,
        secret::ClusterSecret, status::Role,
    },
    replica::{
        Replica, TurnState,
        io::{Input, Now, Output, Query},
    },
    server::credentials::{Costs, Hasher},
    storage::{MemoryDisk, MemoryStorage},
};

const TICK_MS: u64 = 20;
/// The wall clock at the start: 2025-11-20.
const WALL_START_MS: u64 = 1_763_677_200_000;

/// The settings of a cluster. The last server leads.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Setup {
    pub servers: usize,
    pub followers: Followers,
    pub auth: AuthMode,
    pub limits: Limits,
}

impl Default for Setup {
    fn default() -> Self {
        Setup {
            servers: 1,
            followers: Followers::default(),
            auth: AuthMode::default(),
            limits: Limits::default(),
        }
    }
}

struct Server {
    replica: Replica<MemoryStorage>,
    fanout: Subscriptions,
}

#[derive(Default)]
struct Conn {
    server: usize,
    heard: Vec<Vec<u8>>,
    is_closed: bool,
    /// Input that its thread has not passed on yet: it stops behind a request that must be answered first.
    unread: VecDeque<Input>,
    is_waiting: bool,
}

impl Conn {
    fn next_input(&mut self) -> Option<Input> {
        let input = self.unread.pop_front_if(|_| !self.is_waiting)?;
        if let Input::Request { request, .. } = &input {
            self.is_waiting = request.as_ref().is_ok_and(Request::is_awaited);
        }
        Some(input)
    }
}

/// The cluster. Only [`World::advance`] moves its clock, and its random numbers are counted.
pub struct World {
    setup: Setup,
    now: Now,
    disks: Vec<MemoryDisk>,
    servers: BTreeMap<usize, Server>,
    conns: BTreeMap<ConnId, Conn>,
    /// Pairs of servers without a link, lower number first.
    cut: BTreeSet<(usize, usize)>,
    incarnations: u64,
    hasher: Hasher,
}

fn id(server: usize) -> ServerId {
    ServerId::new(&format!("server{server}")).expect("letters and a number")
}

fn operator_key() -> OperatorKey {
    OperatorKey::new(&ClusterSecret::from_bytes([7; 32]), "golden")
}

/// Passwords cost almost nothing here, and random numbers are counted.
fn hasher() -> Hasher {
    let costs = Costs { memory_kib: 8, iterations: 1, scram_iterations: 1 };
    let mut count = 0_u64;
    let chance = Box::new(move |bytes: &mut [u8]| {
        count += 1;
        bytes.fill(0);
        bytes[..8].copy_from_slice(&count.to_be_bytes());
    });
    Hasher::new(costs, Some(operator_key()), chance)
}

/// What an operator answers to a challenge in hexadecimal digits.
pub fn operator_proof(challenge: &str) -> String {
    let mut bytes = [0; 32];
    HEXLOWER.decode_mut(challenge.as_bytes(), &mut bytes).expect(challenge);
    HEXLOWER.encode(&operator_key().proof(&bytes))
}

impl World {
    /// Servers 1 to `setup.servers`, of which the last leads.
    pub fn new(setup: Setup) -> World {
        let mut world = World {
            now: Now { mono_ms: 1_000, wall_ms: WALL_START_MS },
            disks: (0..setup.servers).map(|_| MemoryDisk::new()).collect(),
            servers: BTreeMap::new(),
            conns: BTreeMap::new(),
            cut: BTreeSet::new(),
            incarnations: 0,
            hasher: hasher(),
            setup,
        };
        (1..=world.setup.servers).for_each(|server| world.start(server));
        world.advance(400);
        world.elect(world.setup.servers);
        world
    }

    /// A client connects to a server; the number of its connection.
    pub fn open(&mut self, server: usize, reserved: bool) -> u64 {
        let conn = ConnId(self.conns.len() as u64 + 1);
        self.conns.insert(conn, Conn { server, ..Conn::default() });
        self.input(server, Input::Opened { conn, addr: None, reserved });
        conn.0
    }

    /// A client sends one line, without its line end.
    pub fn feed(&mut self, conn: u64, line: &[u8]) {
        let conn = ConnId(conn);
        let (head, request) = json::read_request(line, &self.setup.limits);
        self.send(conn, Input::Request { conn, head, request, bytes: line.len() });
    }

    fn send(&mut self, conn: ConnId, input: Input) {
        self.conns.get_mut(&conn).expect("it was opened").unread.push_back(input);
        self.read(conn);
    }

    /// The thread of a connection reads, unless it waits.
    fn read(&mut self, conn: ConnId) {
        while let Some(input) = self.conns.get_mut(&conn).and_then(Conn::next_input) {
            self.input(self.conns[&conn].server, input);
        }
    }

    /// A client closes its connection.
    pub fn hang_up(&mut self, conn: u64) {
        let conn = ConnId(conn);
        self.send(conn, Input::Closed { conn });
    }

    /// What the connection was sent since this was last asked: the bytes of each line, with its line end.
    pub fn take(&mut self, conn: u64) -> Vec<Vec<u8>> {
        let conn = self.conns.get_mut(&ConnId(conn)).expect("it was opened");
        std::mem::take(&mut conn.heard)
    }

    /// Whether the server has ended the connection.
    pub fn is_closed(&self, conn: u64) -> bool {
        self.conns[&ConnId(conn)].is_closed
    }

    /// Time passes.
    pub fn advance(&mut self, ms: u64) {
        for _ in 0..ms.div_ceil(TICK_MS) {
            self.now.mono_ms += TICK_MS;
            self.now.wall_ms += TICK_MS;
            self.see();
            for server in self.running() {
                self.input(server, Input::Tick);
            }
            self.settle();
        }
    }

    /// All servers do what there is to do at this moment.
    pub fn settle(&mut self) {
        while self.round() {}
    }

    /// A server starts on what its disk holds.
    pub fn start(&mut self, server: usize) {
        self.incarnations += 1;
        let entry = |server: usize| {
            let number = u16::try_from(server).expect("a small number");
            ServerEntry::new(id(server), "localhost", 8_000 + number, number.into())
        };
        let config = ReplicaConfig {
            server_id: id(server),
            servers: (1..=self.setup.servers).map(entry).collect(),
            joins: false,
            timing: Timing::default(),
            limits: self.setup.limits.clone(),
            auth: Auth { mode: self.setup.auth, ..Auth::default() },
            followers: self.setup.followers,
            keep_entries: 1_000,
            rules: Default::default(),
        };
        let fanout = Subscriptions::new(config.limits.outbox_bytes);
        let fresh = NodeId(1_000 + self.incarnations);
        let storage = self.disks[server - 1].open(&id(server), fresh).expect("the disk works");
        let replica = Replica::open(config, storage, self.now).expect("the disk works");
        self.servers.insert(server, Server { replica, fanout });
        for other in self.running().into_iter().filter(|other| *other != server) {
            self.input(server, Input::PeerUp(id(other)));
            self.input(other, Input::PeerUp(id(server)));
        }
        self.see();
        self.settle();
    }

    /// The process of a server is gone, and its connections with it; its disk stays.
    pub fn kill(&mut self, server: usize) {
        self.servers.remove(&server).expect("it runs");
        self.conns.values_mut().filter(|conn| conn.server == server).for_each(|conn| conn.is_closed = true);
        for other in self.running() {
            self.input(other, Input::PeerDown(id(server)));
        }
        self.see();
    }

    /// A server is told to end.
    pub fn stop(&mut self, server: usize) {
        self.input(server, Input::Stop);
        self.settle();
    }

    /// The ring has chosen a server, and it wins.
    pub fn elect(&mut self, server: usize) {
        let term = self.servers[&server].replica.node().consensus.term();
        self.input(server, Input::Campaign { term, leader_is_dead: true });
        self.settle();
        assert_eq!(self.servers[&server].replica.role(), Role::Leader, "server{server} was not elected");
    }

    /// The link between two servers is gone.
    pub fn cut(&mut self, one: usize, other: usize) {
        self.cut.insert((one.min(other), one.max(other)));
        self.input(one, Input::PeerDown(id(other)));
        self.input(other, Input::PeerDown(id(one)));
        self.see();
    }

    /// The link is up again.
    pub fn mend(&mut self, one: usize, other: usize) {
        self.cut.remove(&(one.min(other), one.max(other)));
        self.input(one, Input::PeerUp(id(other)));
        self.input(other, Input::PeerUp(id(one)));
        self.see();
        self.settle();
    }

    fn running(&self) -> Vec<usize> {
        self.servers.keys().copied().collect()
    }

    fn is_cut(&self, one: usize, other: usize) -> bool {
        self.cut.contains(&(one.min(other), one.max(other)))
    }

    fn input(&mut self, server: usize, input: Input) {
        let now = self.now;
        if let Some(server) = self.servers.get_mut(&server) {
            server.replica.handle(now, input);
        }
    }

    /// All servers do what there is to do, once. Gives whether there was anything.
    fn round(&mut self) -> bool {
        let mut is_busy = false;
        for number in self.running() {
            let now = self.now;
            let server = self.servers.get_mut(&number).expect("it runs");
            let mut outputs = Vec::new();
            while server.replica.turn(now).expect("the disk works") == TurnState::WillSync {
                outputs.extend(server.replica.drain_outputs());
            }
            outputs.extend(server.replica.drain_outputs());
            for output in outputs {
                is_busy |= self.carry_out(number, output);
            }
            self.deliver(number);
        }
        is_busy
    }

    /// Carries out an output of a server. Gives whether more may follow.
    fn carry_out(&mut self, number: usize, output: Output) -> bool {
        match output {
            Output::Peer { to, message } => {
                let to = (1..=self.setup.servers).find(|server| id(*server) == to).expect("it is configured");
                if !self.is_cut(number, to) {
                    self.input(to, Input::Peer { from: id(number), message });
                }
                return true;
            }
            Output::FanOut(instruction) => {
                self.servers.get_mut(&number).expect("it runs").fanout.handle(instruction)
            }
            Output::Query(look) => self.look(number, &look),
            Output::Credential { conn, job } => {
                let done = self.hasher.work(job);
                self.input(number, Input::Credential { conn, done });
                return true;
            }
            Output::ReadOn { conn } => {
                self.conns.get_mut(&conn).expect("it was opened").is_waiting = false;
                self.read(conn);
                return true;
            }
            Output::Stopped => self.kill(number),
            Output::SendSnapshot { .. }
            | Output::SnapshotUnreadable { .. }
            | Output::Damaged { .. }
            | Output::Repaired { .. }
            | Output::Complaint { .. }
            | Output::Servers(_)
            | Output::Removed { .. }
            | Output::Quarantine { .. } => {
                panic!("no script goes so far: {output:?}");
            }
        }
        false
    }

    fn look(&mut self, number: usize, look: &Query) {
        let server = self.servers.get_mut(&number).expect("it runs");
        let lamport_timestamp = server.replica.state().lamport();
        let by = Signature { server_id: id(number), lamport_timestamp, now_ms: self.now.wall_ms };
        let instruction = look.carry_out(&self.disks[number - 1].reader(), by).expect("the disk works");
        server.fanout.handle(instruction);
    }

    /// Writes what waits for the connections of a server.
    fn deliver(&mut self, number: usize) {
        while let Some(server) = self.servers.get_mut(&number) {
            let queries = server.fanout.queries();
            for conn in server.fanout.dirty() {
                let taken = server.fanout.take(conn, usize::MAX);
                let heard = &mut self.conns.get_mut(&conn).expect("it was opened").heard;
                heard.extend(taken.iter().map(|said| said.json().to_vec()));
            }
            for (conn, _) in server.fanout.closed() {
                self.conns.get_mut(&conn).expect("it was opened").is_closed = true;
                self.input(number, Input::Closed { conn });
            }
            if queries.is_empty() {
                return;
            }
            for query in queries {
                self.look(number, &Query::Events(query));
            }
        }
    }

    /// Tells all servers which are alive.
    fn see(&mut self) {
        for number in self.running() {
            let others = self.running().into_iter().filter(|other| *other != number);
            let reachable = others.filter(|other| !self.is_cut(number, *other));
            let view = |other: usize| {
                let replica = &self.servers[&other].replica;
                let (data, votes) = (Some(replica.node().data_mark()), replica.standing().votes);
                (
                    id(other),
                    PeerView { alive: true, alive_since_ms: Some(0), data, votes, ..PeerView::default() },
                )
            };
            let peers = reachable.map(view).collect();
            self.input(number, Input::View(View { peers }));
        }
    }
}
