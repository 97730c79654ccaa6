//! A few servers with their failure detectors and elections on a network that follows a seed.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use syncnet::{
    config::{Followers, ReplicaConfig, ServerEntry, Timing},
    election::{
        Election, FORCED_GAP_MS, Input, Output, PLAIN_GAP_MS, Standing,
        membership::{LinkEvent, Membership, PULSE_MS as DETECTOR_PULSE_MS},
    },
    protocol::{
        Limits, ServerId,
        datagram::{Announce, Datagram, Heartbeat, Run},
        peer::{DataMark, LogMark, NodeId},
        seal::Sealer,
        secret::ClusterSecret,
    },
};

use crate::votes::{PULSE_MS, Said, Say, Voter};

/// Random numbers from a seed (splitmix64, Steele et al. 2014).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
    pub fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }
}

/// What the network does to datagrams. Peer links are only slow.
#[derive(Debug, Clone, Copy, Default)]
pub struct Weather {
    pub loss_percent: u64,
    pub doubled_percent: u64,
    pub late_percent: u64,
    pub late_ms: u64,
}

impl fmt::Display for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let World { deaf, unlinked, campaigns, .. } = self;
        write!(f, "deaf {deaf:?} unlinked {unlinked:?} campaigns {campaigns:?}")
    }
}

enum Event {
    Datagram {
        from: usize,
        to: usize,
        bytes: Vec<u8>,
        plain: Option<Datagram>,
    },
    Peer {
        from: usize,
        to: usize,
        say: Say,
    },
    Link {
        at: usize,
        peer: usize,
        event: LinkEvent,
    },
    Beat {
        server: usize,
        boot: u64,
    },
    Pulse {
        server: usize,
        boot: u64,
    },
    Clock {
        server: usize,
        boot: u64,
    },
    /// An entry of the old leader comes out of a queue.
    Entry {
        server: usize,
    },
}

pub struct Server {
    pub id: ServerId,
    pub up: bool,
    pub stopped: bool,
    pub votes: bool,
    pub voter: Voter,
    pub membership: Membership,
    pub election: Election,
    sealer: Sealer,
    boot: u64,
    held: Vec<Event>,
    told: Option<Standing>,
    campaigned_ms: Option<u64>,
}

pub struct World {
    pub now_ms: u64,
    pub servers: Vec<Server>,
    pub weather: Weather,
    /// Directed pairs that pass no datagrams.
    pub deaf: BTreeSet<(usize, usize)>,
    /// Pairs (lower first) without peer link.
    pub unlinked: BTreeSet<(usize, usize)>,
    pub tokens: u64,
    pub campaigns: Vec<(u64, usize, bool)>,
    pub sealed: bool,
    random: Random,
    events: BTreeMap<(u64, u64), Event>,
    scheduled: u64,
}

pub fn config(count: usize, me: usize) -> ReplicaConfig {
    // Positions need not be dense, and ids need not sort like them.
    let servers = (0..count)
        .map(|place| ServerEntry::new(id(place), "localhost", 8000 + place as u16, 3 * place as u32 + 1));
    ReplicaConfig {
        server_id: id(me),
        servers: servers.collect(),
        joins: false,
        timing: Timing::default(),
        limits: Limits::default(),
        auth: Default::default(),
        followers: Followers::Forward,
        keep_entries: 1_000,
        rules: Default::default(),
    }
}

pub fn id(place: usize) -> ServerId {
    ServerId::new(&format!("s{}", (b'z' - place as u8) as char)).unwrap()
}

fn sealer(count: usize, place: usize, boot: u64) -> Sealer {
    let secret = ClusterSecret::from_bytes([9; 32]);
    let run = Run { node_id: NodeId(place as u64 + 1), boot };
    Sealer::new(&secret, "test", id(place), run, (0..count).map(id))
}

impl World {
    /// `logs[place]` is a server's last log index, `terms` the term all have promised.
    pub fn new(seed: u64, logs: &[u64], term: u64) -> Self {
        let count = logs.len();
        let servers = logs.iter().enumerate().map(|(place, log)| {
            let config = config(count, place);
            let log = LogMark { last_log_term: 1, last_log_index: *log };
            Server {
                id: id(place),
                up: false,
                stopped: false,
                votes: true,
                voter: Voter::new(id(place), count / 2 + 1, term, log),
                membership: Membership::new(&config),
                election: Election::new(&config),
                sealer: sealer(count, place, 0),
                boot: 0,
                held: vec![],
                told: None,
                campaigned_ms: None,
            }
        });
        World {
            now_ms: 1_000,
            servers: servers.collect(),
            weather: Weather::default(),
            deaf: BTreeSet::new(),
            unlinked: BTreeSet::new(),
            tokens: 0,
            campaigns: vec![],
            sealed: false,
            random: Random(seed),
            events: BTreeMap::new(),
            scheduled: 0,
        }
    }

    /// Starts (or starts again) a server: its memory is new, its term, vote and log are kept.
    pub fn start(&mut self, place: usize) {
        let count = self.servers.len();
        let config = config(count, place);
        let server = &mut self.servers[place];
        let (term, log, voted) = (server.voter.term, server.voter.log, server.voter.voted.clone());
        server.voter = Voter::new(id(place), count / 2 + 1, term, log);
        server.voter.voted = voted;
        server.up = true;
        server.stopped = false;
        server.boot += 1;
        server.told = None;
        server.campaigned_ms = None;
        server.held.clear();
        server.membership = Membership::new(&config);
        server.election = Election::new(&config);
        server.sealer = sealer(count, place, server.boot);
        let boot = server.boot;
        let beat_ms = self.random.below(60);
        self.at(beat_ms, Event::Beat { server: place, boot });
        let pulse_ms = self.random.below(PULSE_MS);
        self.at(pulse_ms, Event::Pulse { server: place, boot });
        self.at(1, Event::Clock { server: place, boot });
        for peer in 0..count {
            if peer != place && self.servers[peer].up && self.linked(place, peer) {
                self.link_up(place, peer);
            }
        }
    }

    pub fn link_up(&mut self, one: usize, other: usize) {
        for (at, peer) in [(one, other), (other, one)] {
            let delay_ms = 1 + self.random.below(3);
            self.at(delay_ms, Event::Link { at, peer, event: LinkEvent::Up });
        }
    }

    /// Ends a process as `kill -9` does: its links are reset and its ports refuse.
    pub fn kill(&mut self, place: usize) {
        self.servers[place].up = false;
        self.servers[place].voter.leads = false;
        for peer in 0..self.servers.len() {
            if peer != place && self.servers[peer].up && self.linked(place, peer) {
                let lost_ms = self.random.below(2);
                let refused_ms = lost_ms + self.random.below(3);
                self.at(lost_ms, Event::Link { at: peer, peer: place, event: LinkEvent::Lost });
                self.at(refused_ms, Event::Link { at: peer, peer: place, event: LinkEvent::Refused });
            }
        }
    }

    /// Lets the log of a server grow by an entry after `delay_ms`.
    pub fn grow(&mut self, place: usize, delay_ms: u64) {
        self.at(delay_ms, Event::Entry { server: place });
    }

    pub fn stop(&mut self, place: usize) {
        self.servers[place].stopped = true;
    }

    pub fn go_on(&mut self, place: usize) {
        self.servers[place].stopped = false;
        for event in std::mem::take(&mut self.servers[place].held) {
            self.at(0, event);
        }
    }

    fn linked(&self, one: usize, other: usize) -> bool {
        !self.unlinked.contains(&(one.min(other), one.max(other)))
    }

    /// Cuts or heals everything between two servers.
    pub fn cut(&mut self, one: usize, other: usize) {
        self.unlink(one, other);
        self.deaf.extend([(one, other), (other, one)]);
    }

    /// Closes or resets the peer link between two servers that both live, and keeps it from coming up.
    pub fn unlink(&mut self, one: usize, other: usize) {
        if !self.unlinked.insert((one.min(other), one.max(other))) {
            return;
        }
        for (at, peer) in [(one, other), (other, one)] {
            self.at(0, Event::Link { at, peer, event: LinkEvent::Lost });
        }
    }

    pub fn heal(&mut self) {
        self.deaf.clear();
        for (one, other) in std::mem::take(&mut self.unlinked) {
            if self.servers[one].up && self.servers[other].up {
                self.link_up(one, other);
            }
        }
    }

    pub fn leader(&self) -> Option<usize> {
        let leads = |place: &usize| {
            let server = &self.servers[*place];
            server.up && !server.stopped && server.voter.leads
        };
        (0..self.servers.len()).filter(leads).max_by_key(|place| self.servers[*place].voter.term)
    }

    /// Whether one server leads in the newest term and all others that run know it.
    pub fn is_settled(&self) -> bool {
        let Some(leader) = self.leader() else { return false };
        let leader = &self.servers[leader];
        self.servers.iter().filter(|server| server.up && !server.stopped).all(|server| {
            server.id == leader.id
                || server.voter.leader.as_ref() == Some(&leader.id) && server.voter.term == leader.voter.term
        })
    }

    /// Runs until `done`, at most for `limit_ms`; how long it took.
    pub fn run_until(&mut self, limit_ms: u64, done: impl Fn(&World) -> bool) -> Option<u64> {
        let began_ms = self.now_ms;
        loop {
            if done(self) {
                return Some(self.now_ms - began_ms);
            }
            let next_ms = self.events.first_key_value().map(|((at_ms, _), _)| *at_ms);
            match next_ms.filter(|next_ms| *next_ms <= began_ms + limit_ms) {
                None => {
                    self.now_ms = began_ms + limit_ms;
                    return None;
                }
                Some(next_ms) => {
                    self.now_ms = next_ms;
                    let (_, event) = self.events.pop_first().unwrap();
                    self.happen(event);
                }
            }
        }
    }

    pub fn run(&mut self, for_ms: u64) {
        self.run_until(for_ms, |_| false);
    }

    fn at(&mut self, delay_ms: u64, event: Event) {
        self.scheduled += 1;
        self.events.insert((self.now_ms + delay_ms, self.scheduled), event);
    }

    fn happen(&mut self, event: Event) {
        let place = match &event {
            Event::Datagram { to, .. } | Event::Peer { to, .. } => *to,
            Event::Link { at, .. } => *at,
            Event::Entry { server } => *server,
            Event::Beat { server, boot } | Event::Pulse { server, boot } | Event::Clock { server, boot } => {
                if self.servers[*server].boot != *boot {
                    return;
                }
                *server
            }
        };
        if !self.servers[place].up {
            return;
        }
        if self.servers[place].stopped {
            self.servers[place].held.push(event);
            return;
        }
        let now_ms = self.now_ms;
        match event {
            Event::Datagram { bytes, plain, from, .. } => self.on_datagram(from, place, &bytes, plain),
            Event::Peer { from, say, .. } => {
                let from = self.servers[from].id.clone();
                let said = self.servers[place].voter.hear(now_ms, &from, say);
                self.say(place, said);
            }
            Event::Link { peer, event, .. } => {
                let peer = self.servers[peer].id.clone();
                self.servers[place].membership.on_link(now_ms, &peer, event);
            }
            Event::Entry { .. } => self.servers[place].voter.log.last_log_index += 1,
            Event::Beat { boot, .. } => {
                self.beat(place);
                self.at(60, Event::Beat { server: place, boot });
            }
            Event::Pulse { boot, .. } => {
                let said = self.servers[place].voter.pulse(now_ms);
                self.say(place, said);
                self.at(PULSE_MS, Event::Pulse { server: place, boot });
            }
            Event::Clock { boot, .. } => {
                self.servers[place].membership.tick(now_ms);
                self.servers[place].election.handle(now_ms, Input::Tick);
                let due_ms = self.servers[place].election.due_ms().unwrap_or(u64::MAX);
                let next_ms = due_ms.clamp(now_ms + 1, now_ms + DETECTOR_PULSE_MS);
                self.at(next_ms - now_ms, Event::Clock { server: place, boot });
            }
        }
        self.tell(place);
        self.fetch(place);
    }

    fn on_datagram(&mut self, from: usize, place: usize, bytes: &[u8], plain: Option<Datagram>) {
        let now_ms = self.now_ms;
        let from_id = self.servers[from].id.clone();
        let server = &mut self.servers[place];
        let (from, datagram) = match plain {
            Some(datagram) => (from_id, datagram),
            None => match server.sealer.open(bytes) {
                Ok(opened) => opened,
                Err(_) => return,
            },
        };
        match datagram {
            Datagram::Heartbeat(beat) => server.membership.on_heartbeat(now_ms, &from, &beat),
            Datagram::Announce(announce) => server.membership.on_announce(now_ms, &from, &announce),
            Datagram::Token(token) => server.election.handle(now_ms, Input::Token { from, token }),
            Datagram::Receipt(receipt) => server.election.handle(now_ms, Input::Receipt { from, receipt }),
        }
    }

    /// Tells the election what changed, and all servers what they should know at once.
    fn tell(&mut self, place: usize) {
        let now_ms = self.now_ms;
        let standing = self.standing(place);
        let server = &mut self.servers[place];
        if server.membership.take_changed() {
            server.election.handle(now_ms, Input::View(server.membership.view()));
        }
        if server.told.as_ref() != Some(&standing) {
            let led = server.told.as_ref().is_some_and(|told| told.leads);
            server.told = Some(standing.clone());
            let leads = standing.leads;
            server.election.handle(now_ms, Input::Standing(standing));
            if led != leads {
                self.beat(place);
            }
        }
    }

    fn standing(&self, place: usize) -> Standing {
        let server = &self.servers[place];
        Standing {
            data: DataMark {
                cluster_id: Some(1),
                node_id: NodeId(place as u64 + 1),
                boot: server.boot,
                term: server.voter.term,
                log: server.voter.log,
            },
            log: server.voter.log,
            leads: server.voter.leads,
            leader: server.voter.leader.clone(),
            votes: server.votes,
        }
    }

    fn fetch(&mut self, place: usize) {
        while let Some(output) = self.servers[place].election.output() {
            match output {
                Output::Send { to, datagram } => {
                    self.tokens += u64::from(matches!(datagram, Datagram::Token(_)));
                    self.send(place, Some(&to), &datagram);
                }
                Output::Announce { term } => self.send(place, None, &Datagram::Announce(Announce { term })),
                Output::Campaign { term, leader_is_dead } => {
                    self.campaigns.push((self.now_ms, place, leader_is_dead));
                    self.check_the_gap(place, leader_is_dead);
                    let said = self.servers[place].voter.campaign(self.now_ms, term, leader_is_dead);
                    self.say(place, said);
                    self.tell(place);
                }
            }
        }
    }

    /// Campaigns always keep their distance.
    fn check_the_gap(&mut self, place: usize, leader_is_dead: bool) {
        let least_ms = if leader_is_dead { FORCED_GAP_MS } else { PLAIN_GAP_MS };
        let before_ms = self.servers[place].campaigned_ms.replace(self.now_ms);
        assert!(before_ms.is_none_or(|before_ms| self.now_ms >= before_ms + least_ms), "{self}");
    }

    fn beat(&mut self, place: usize) {
        let standing = self.standing(place);
        let beat = Heartbeat {
            ring_position: 3 * place as u32 + 1,
            leads_term: standing.leads.then_some(standing.data.term),
            data: standing.data,
            votes: standing.votes,
            clients: 0,
            tcp_port: 8000,
            wall_ms: 0,
        };
        self.send(place, None, &Datagram::Heartbeat(beat));
    }

    fn send(&mut self, from: usize, to: Option<&ServerId>, datagram: &Datagram) {
        let bytes = if self.sealed { self.servers[from].sealer.seal(to, datagram) } else { vec![] };
        let plain = (!self.sealed).then(|| datagram.clone());
        for place in 0..self.servers.len() {
            if place == from || to.is_some_and(|to| *to != self.servers[place].id) {
                continue;
            }
            let copies = 1 + u64::from(self.random.percent(self.weather.doubled_percent));
            for _ in 0..copies {
                if self.random.percent(self.weather.loss_percent) || self.deaf.contains(&(from, place)) {
                    continue;
                }
                let late = self.random.percent(self.weather.late_percent);
                let delay_ms =
                    if late { self.random.below(self.weather.late_ms + 1) } else { self.random.below(2) };
                let event = Event::Datagram { from, to: place, bytes: bytes.clone(), plain: plain.clone() };
                self.at(delay_ms, event);
            }
        }
    }

    fn say(&mut self, from: usize, said: Said) {
        for (to, say) in said {
            for place in 0..self.servers.len() {
                let is_meant = place != from && to.as_ref().is_none_or(|to| *to == self.servers[place].id);
                if is_meant && self.servers[place].up && self.linked(from, place) {
                    // The transport and the sync of a vote.
                    let delay_ms = 1 + self.random.below(3);
                    self.at(delay_ms, Event::Peer { from, to: place, say });
                }
            }
        }
    }
}
