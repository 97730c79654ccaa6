//! A small cluster in one thread: servers, disks, links and time. Its clients are in `clients`.

mod clients;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Read},
};

use serde_json::Value;

use crate::{
    config::{Followers, ReplicaConfig, ServerEntry, Timing},
    disk::{Reader, Storage, StorageError},
    election::membership::{PeerView, View},
    fanout::{ConnId, Instruction, Subscriptions},
    protocol::{
        Code, Limits, Refusal, ServerId,
        credential::Job,
        peer::{NodeId, PeerMessage, RowKey},
        rules::KnownRules,
        status::{Role, Status},
    },
    replica::{
        Replica, TurnState,
        io::{Input, Now, Output, Query},
        passages::Passage,
    },
    server::credentials::Hasher,
    storage::{MemoryDisk, MemoryStorage},
};

use self::clients::{ClientThread, hasher};

const TICK_MS: u64 = 20;

fn pair(one: usize, other: usize) -> (usize, usize) {
    (one.min(other), one.max(other))
}

/// How a server is configured.
pub fn entry(number: usize) -> ServerEntry {
    let offset = u16::try_from(number).expect("a small number");
    ServerEntry::new(id(number), "localhost", 8_000 + offset, offset.into())
}

pub fn id(number: usize) -> ServerId {
    ServerId::new(&format!("server{number}")).expect("a good name")
}

struct Server {
    replica: Replica<MemoryStorage>,
    fanout: Subscriptions,
    threads: BTreeMap<ConnId, ClientThread>,
    heard: BTreeMap<ConnId, Vec<Value>>,
    closed: BTreeSet<ConnId>,
}

/// Servers 1 to `n`; server `n` has the highest ring position.
pub struct Cluster {
    pub now: Now,
    pub keep_entries: u64,
    pub followers: Followers,
    pub limits: Limits,
    /// The jobs that the threads of connections have not done yet; `None` if they are done at once.
    pub unhashed: Option<Vec<(usize, ConnId, Job)>>,
    /// How many passwords were hashed.
    pub hashed: usize,
    /// How much was sent to clients in all, and the most in one round, in bytes.
    pub said: usize,
    pub most_said: usize,
    disks: Vec<MemoryDisk>,
    /// So many servers are configured; those above join.
    founders: usize,
    servers: BTreeMap<usize, Server>,
    /// Pairs whose links stand, lower number first.
    links: BTreeSet<(usize, usize)>,
    /// Pairs whose links are cut, lower number first.
    cut: BTreeSet<(usize, usize)>,
    pub quarantined: Vec<(usize, String)>,
    /// Who has heard to be removed, and how.
    pub removed: Vec<(usize, String)>,
    /// How many of the next snapshots cannot be read to their end.
    pub damaged_snapshots: usize,
    pub unreadable: Vec<(usize, String)>,
    pub damaged: Vec<(usize, String)>,
    /// Rows that a server got whole from another one.
    pub repaired: Vec<(usize, RowKey, usize)>,
    /// Servers that reported a peer as not of their cluster, and why.
    pub complaints: Vec<(usize, String)>,
    incarnations: u64,
    hasher: Hasher,
    /// Whether servers cannot read what others pass on to them.
    pub garbled: bool,
    /// What the programs of servers know that are not like this one.
    pub rules: BTreeMap<usize, KnownRules>,
    /// How far the clocks of servers are off.
    pub ahead_ms: BTreeMap<usize, i64>,
}

impl Cluster {
    pub fn new(size: usize) -> Self {
        Cluster {
            now: Now { mono_ms: 1_000, wall_ms: 1_763_677_200_000 },
            keep_entries: 1_000,
            followers: Followers::Forward,
            limits: Limits::default(),
            unhashed: None,
            hashed: 0,
            said: 0,
            most_said: 0,
            disks: (0..size).map(|_| MemoryDisk::new()).collect(),
            founders: size,
            servers: BTreeMap::new(),
            links: BTreeSet::new(),
            cut: BTreeSet::new(),
            quarantined: Vec::new(),
            removed: Vec::new(),
            damaged_snapshots: 0,
            unreadable: Vec::new(),
            damaged: Vec::new(),
            repaired: Vec::new(),
            complaints: Vec::new(),
            incarnations: 0,
            hasher: hasher(),
            garbled: false,
            rules: BTreeMap::new(),
            ahead_ms: BTreeMap::new(),
        }
    }

    /// One more machine, whose server is not configured.
    pub fn add_machine(&mut self) -> usize {
        self.disks.push(MemoryDisk::new());
        self.disks.len()
    }

    /// All servers started, and the last one leads.
    pub fn led_by_the_last(size: usize) -> Self {
        let mut cluster = Cluster::new(size);
        (1..=size).for_each(|number| cluster.start(number));
        cluster.run_ms(400);
        cluster.elect(size);
        cluster
    }

    pub fn disk(&self, number: usize) -> &MemoryDisk {
        &self.disks[number - 1]
    }

    /// A server on what its disk holds, before it is linked.
    pub fn open(&mut self, number: usize) -> Result<Replica<MemoryStorage>, StorageError> {
        self.incarnations += 1;
        let config = ReplicaConfig {
            server_id: id(number),
            servers: if number <= self.founders {
                (1..=self.founders).map(entry).collect()
            } else {
                [1, number].into_iter().map(entry).collect()
            },
            joins: number > self.founders,
            timing: Timing::default(),
            limits: self.limits.clone(),
            auth: Default::default(),
            followers: self.followers,
            keep_entries: self.keep_entries,
            rules: self.rules.get(&number).copied().unwrap_or_default(),
        };
        let storage = self.disk(number).open(&id(number), NodeId(1_000 + self.incarnations)).expect("opens");
        Replica::open(config, storage, self.now_at(number))
    }

    pub fn start(&mut self, number: usize) {
        let replica = self.open(number).expect("starts");
        let fanout = Subscriptions::new(Limits::default().outbox_bytes);
        self.servers.insert(
            number,
            Server {
                replica,
                fanout,
                threads: BTreeMap::new(),
                heard: BTreeMap::new(),
                closed: BTreeSet::new(),
            },
        );
        for other in self.others(number) {
            self.link(number, other);
        }
        self.see();
        self.settle();
    }

    /// Links two servers that run, if each has the other among its servers. One that the other does not know
    /// asks.
    fn link(&mut self, one: usize, other: usize) {
        if self.is_cut(one, other) || self.links.contains(&pair(one, other)) {
            return;
        }
        let knows = |cluster: &Cluster, one: usize, other: usize| {
            cluster.servers[&one].replica.servers().entry(&id(other)).is_some()
        };
        if knows(self, one, other) && knows(self, other, one) {
            self.links.insert(pair(one, other));
            self.input(one, Input::PeerUp(id(other)));
            self.input(other, Input::PeerUp(id(one)));
            return;
        }
        for (asks, asked) in [(one, other), (other, one)] {
            if knows(self, asks, asked) {
                let replica = &self.servers[&asked].replica;
                let cluster_id = replica.node().identity.cluster.as_ref().map(|cluster| cluster.cluster_id);
                let message = PeerMessage::Servers { cluster_id, servers: replica.servers().clone() };
                self.input(asks, Input::Peer { from: id(asked), message });
            }
        }
    }

    /// The servers of the cluster have changed for `number`: its links follow.
    fn follow(&mut self, number: usize) {
        for other in self.others(number) {
            let is_known = self.servers[&number].replica.servers().entry(&id(other)).is_some();
            if is_known {
                self.link(number, other);
            } else if self.links.remove(&pair(number, other)) {
                self.input(number, Input::PeerDown(id(other)));
                self.input(other, Input::PeerDown(id(number)));
            }
        }
    }

    /// Ends the process; its disk stays.
    pub fn kill(&mut self, number: usize) {
        self.servers.remove(&number).expect("it runs");
        for other in self.others(number) {
            if self.links.remove(&pair(number, other)) {
                self.input(other, Input::PeerDown(id(number)));
            }
        }
        self.see();
    }

    pub fn cut(&mut self, one: usize, other: usize) {
        self.cut.insert(pair(one, other));
        self.links.remove(&pair(one, other));
        for (from, to) in [(one, other), (other, one)] {
            if self.servers.contains_key(&from) {
                self.input(from, Input::PeerDown(id(to)));
            }
        }
        self.see();
    }

    pub fn mend(&mut self, one: usize, other: usize) {
        self.cut.remove(&pair(one, other));
        self.link(one, other);
        self.see();
        self.settle();
    }

    pub fn elect(&mut self, number: usize) {
        self.elect_only(number);
        self.settle();
        assert_eq!(self.role(number), Role::Leader);
    }

    /// Elects, and stops there: nothing is committed in the new term yet.
    pub fn elect_only(&mut self, number: usize) {
        self.campaign(number, self.replica(number).node().consensus.term());
        while self.role(number) != Role::Leader {
            assert!(!self.round(), "no server has anything left to do, and server{number} does not lead");
        }
    }

    /// The ring has chosen a server, when its term was this.
    pub fn campaign(&mut self, number: usize, term: u64) {
        self.input(number, Input::Campaign { term, leader_is_dead: true });
    }

    /// Whether there is room on the disk of a server from now on.
    pub fn set_room(&mut self, number: usize, is_there: bool) {
        self.input(number, Input::Room { is_there });
    }

    pub fn run_ms(&mut self, ms: u64) {
        for _ in 0..ms.div_ceil(TICK_MS) {
            self.now.mono_ms += TICK_MS;
            self.now.wall_ms += TICK_MS;
            self.see();
            for number in self.servers.keys().copied().collect::<Vec<_>>() {
                self.input(number, Input::Tick);
            }
            self.settle();
        }
    }

    pub fn role(&self, number: usize) -> Role {
        self.servers[&number].replica.role()
    }

    pub fn replica(&self, number: usize) -> &Replica<MemoryStorage> {
        &self.servers[&number].replica
    }

    /// From now on all servers keep the passages of requests.
    pub fn follow_requests(&mut self) {
        self.servers.values_mut().for_each(|server| server.replica.follow_requests(true));
    }

    /// The passages of requests on a server since this was last asked.
    pub fn passages(&mut self, number: usize) -> Vec<Passage> {
        self.servers.get_mut(&number).expect("it runs").replica.take_passages()
    }

    pub fn status(&self, number: usize) -> Status {
        self.replica(number).status(self.now_at(number))
    }

    /// Drives all servers until nothing is left to do at this moment.
    pub fn settle(&mut self) {
        while !self.round() {}
    }

    /// Lets all servers do what there is to do, once. Returns whether that was nothing.
    pub fn round(&mut self) -> bool {
        let mut idle = true;
        for number in self.servers.keys().copied().collect::<Vec<_>>() {
            if !self.servers.contains_key(&number) {
                continue;
            }
            let now = self.now_at(number);
            let server = self.servers.get_mut(&number).expect("it runs");
            let mut outputs = Vec::new();
            while server.replica.turn(now).expect("the disk works") == TurnState::WillSync {
                outputs.extend(server.replica.drain_outputs());
            }
            outputs.extend(server.replica.drain_outputs());
            let said = outputs.iter().map(|output| match output {
                Output::FanOut(Instruction::Say { said, .. } | Instruction::Answer { said, .. }) => {
                    said.bytes()
                }
                _ => 0,
            });
            let said: usize = said.sum();
            self.said += said;
            self.most_said = self.most_said.max(said);
            for output in outputs {
                idle &= matches!(output, Output::FanOut(Instruction::Tick));
                if self.servers.contains_key(&number) {
                    self.carry_out(number, output);
                }
            }
            self.deliver(number);
        }
        idle
    }

    fn carry_out(&mut self, number: usize, output: Output) {
        match output {
            Output::Peer { to, mut message } => {
                let to = self.number(&to);
                if let (true, PeerMessage::Forward { commands, .. }) = (self.garbled, &mut message) {
                    commands.iter_mut().for_each(|command| command[0] = u8::MAX);
                }
                if self.links.contains(&pair(number, to)) {
                    self.input(to, Input::Peer { from: id(number), message });
                }
            }
            Output::FanOut(instruction) => {
                self.servers.get_mut(&number).expect("it runs").fanout.handle(instruction)
            }
            Output::Query(look) => self.look(number, look),
            Output::SendSnapshot { to, term, rules } => {
                let (mut head, mut content) = self.disk(number).reader().snapshot().expect("the disk works");
                (head.term, head.rules) = (term, rules);
                let mut bytes = Vec::new();
                if let Err(error) = content.read_to_end(&mut bytes) {
                    let error = error.get_ref().and_then(|error| error.downcast_ref()).expect("of the disk");
                    self.input(number, Input::damage(error).expect("the disk works"));
                    return self.input(number, Input::SnapshotSent { to, ok: false });
                }
                if self.damaged_snapshots > 0 {
                    self.damaged_snapshots -= 1;
                    // The spool file gives back less than was written.
                    bytes.truncate(200);
                }
                let content = Box::new(io::Cursor::new(bytes));
                let to_number = self.number(&to);
                self.input(to_number, Input::SnapshotReceived { from: id(number), head, content });
                self.input(number, Input::SnapshotSent { to, ok: true });
            }
            Output::Servers(_) => self.follow(number),
            Output::Removed { reason } => {
                self.removed.push((number, reason));
                self.kill(number);
            }
            Output::Quarantine { reason } => {
                self.quarantined.push((number, reason));
                self.kill(number);
                self.disk(number).wipe();
                self.start(number);
            }
            Output::Credential { conn, job } => match &mut self.unhashed {
                Some(unhashed) if job.hashes() => unhashed.push((number, conn, job)),
                _ => self.hash(number, conn, job),
            },
            Output::ReadOn { conn } => {
                let server = self.servers.get_mut(&number).expect("it runs");
                let thread = server.threads.entry(conn).or_default();
                assert!(std::mem::take(&mut thread.is_waiting), "the thread of {conn:?} waits for nothing");
                self.read(number, conn);
            }
            Output::Damaged { reason } => self.damaged.push((number, reason)),
            Output::Repaired { row, from } => {
                let from = self.number(&from);
                self.repaired.push((number, row, from));
            }
            Output::SnapshotUnreadable { reason } => self.unreadable.push((number, reason)),
            Output::Complaint { reason } => self.complaints.push((number, reason)),
            Output::Stopped => {}
        }
    }

    fn look(&mut self, number: usize, look: Query) {
        let by =
            crate::protocol::answer::Signature { server_id: id(number), lamport_timestamp: 0, now_ms: 0 };
        let instruction = match look.carry_out(&self.disk(number).reader(), by.clone()) {
            Ok(instruction) => instruction,
            Err(error) => {
                self.input(number, Input::damage(&error).expect("the disk works"));
                look.refused(Refusal::new(Code::Overloaded, "the disk cannot be read"), by)
            }
        };
        self.servers.get_mut(&number).expect("it runs").fanout.handle(instruction);
    }

    fn deliver(&mut self, number: usize) {
        let Some(server) = self.servers.get_mut(&number) else { return };
        let queries = server.fanout.queries();
        for conn in server.fanout.dirty() {
            for said in server.fanout.take(conn, usize::MAX) {
                let line = serde_json::from_slice(&said.json()).expect("a server says JSON");
                server.heard.entry(conn).or_default().push(line);
            }
        }
        server.closed.extend(server.fanout.closed().into_iter().map(|(conn, _)| conn));
        for query in queries {
            self.look(number, Query::Events(query));
        }
    }

    pub fn input(&mut self, number: usize, input: Input) {
        let now = self.now_at(number);
        if let Some(server) = self.servers.get_mut(&number) {
            server.replica.handle(now, input);
        }
    }

    /// Tells all servers which are alive.
    fn see(&mut self) {
        for number in self.servers.keys().copied().collect::<Vec<_>>() {
            let peers = self
                .others(number)
                .into_iter()
                .filter(|other| !self.is_cut(number, *other))
                .map(|other| {
                    let data = Some(self.servers[&other].replica.node().data_mark());
                    let view = PeerView {
                        alive: true,
                        alive_since_ms: Some(0),
                        last_heartbeat_ms: Some(self.now.mono_ms),
                        wall_ms: Some(self.now_at(other).wall_ms),
                        votes: self.servers[&other].replica.standing().votes,
                        data,
                        ..PeerView::default()
                    };
                    (id(other), view)
                })
                .collect();
            self.input(number, Input::View(View { peers }));
        }
    }

    /// A peer's message arrives.
    pub fn tell(&mut self, number: usize, from: usize, message: PeerMessage) {
        self.input(number, Input::Peer { from: id(from), message });
        self.settle();
    }

    /// Tells a server what to believe of a peer, until time goes on.
    pub fn believe(&mut self, number: usize, peer: usize, view: PeerView) {
        self.input(number, Input::View(View { peers: [(id(peer), view)].into() }));
    }

    /// What the clocks of a server show.
    fn now_at(&self, number: usize) -> Now {
        let ahead_ms = self.ahead_ms.get(&number).copied().unwrap_or(0);
        Now { wall_ms: self.now.wall_ms.saturating_add_signed(ahead_ms), ..self.now }
    }

    fn others(&self, number: usize) -> Vec<usize> {
        self.servers.keys().copied().filter(|other| *other != number).collect()
    }

    fn is_cut(&self, one: usize, other: usize) -> bool {
        self.cut.contains(&pair(one, other))
    }

    fn number(&self, server: &ServerId) -> usize {
        (1..=self.disks.len()).find(|number| id(*number) == *server).expect("a configured server")
    }
}

/// How far the log of a server goes.
pub fn applied(cluster: &Cluster, number: usize) -> u64 {
    cluster.replica(number).storage().load().expect("the disk works").applied.index
}

/// The last entry that a server has applied, whether its rows are written or not.
pub fn applied_in_memory(cluster: &Cluster, number: usize) -> u64 {
    cluster.replica(number).status(cluster.now).applied_index
}
