//! Makes faults, and heals them.

use syncnet::{protocol::peer::LogMark, replica::io::Input};

use crate::{
    checker::{Ledger, Verdict},
    cluster::{Cluster, Event},
    disk::{Copy, CrashPoint, DiskFault},
    network::{Blocked, Weather},
    queue::{MS, Micros, SECOND},
    random::Random,
    scenario::{DiskSpeed, FaultKind, SAFETY_US},
};

/// Something that happens to the world.
pub enum FaultEvent {
    /// The next fault.
    Next,
    /// A fault of the leader: without one a run proves little.
    Leader,
    /// A stopped process goes on.
    Thaw { server: usize, life: u64 },
    /// These directions are free again.
    Unblock { directions: Vec<(usize, usize)> },
    /// The ends of a link time out, if it is still blocked.
    Impatient { a: usize, b: usize },
    /// The weather is as before.
    Clear,
    /// A disk is as fast as before.
    FastDisk { server: usize },
    /// A server is told to stop.
    Stop { server: usize },
    /// An old copy of a disk may be put back soon, if it is old enough by then.
    Age { server: usize, copy: Box<(Copy, Ledger)> },
    /// An old copy of a disk is put back; `seen` is what all other servers have heard of it.
    PutBack { server: usize, copy: Box<(Copy, Ledger)>, seen: LogMark },
    /// All faults end.
    Heal,
}

/// The source of faults.
pub struct Nemesis {
    random: Random,
    servers: usize,
    /// No faults before this.
    quiet_until: Micros,
    /// When something last broke.
    broke_at: Option<Micros>,
    /// Nothing is broken any more.
    is_over: bool,
}

impl Nemesis {
    pub fn new(servers: usize, random: Random) -> Nemesis {
        Nemesis { random, servers, quiet_until: 0, broke_at: None, is_over: false }
    }

    fn server(&mut self) -> usize {
        self.random.index(self.servers)
    }

    /// Two different servers.
    fn pair(&mut self) -> (usize, usize) {
        let a = self.server();
        let b = (a + 1 + self.random.index(self.servers - 1)) % self.servers;
        (a, b)
    }

    fn millis(&mut self, low: u64, high: u64) -> Micros {
        self.random.between_magnitudes(low, high) * MS
    }
}

/// How long after a fault a message counts as hit by it.
const FRESH_US: Micros = SECOND;
/// The time after which all servers have heard how far a log is.
const HEARD_US: Micros = 400 * MS;
/// How long there are no other faults after an old copy was put back: the other servers must notice it, so
/// they must be up.
const FOUND_OUT_US: Micros = 5 * SECOND;

impl Cluster {
    pub fn begin_faults(&mut self) {
        let first = self.nemesis.millis(800, 4_000);
        self.queue.schedule(first, Event::Fault(FaultEvent::Next));
        let leader = self.nemesis.random.between(4, 30) * SECOND;
        self.queue.schedule(leader, Event::Fault(FaultEvent::Leader));
        self.queue.schedule(SAFETY_US, Event::Fault(FaultEvent::Heal));
    }

    pub fn at_fault(&mut self, event: FaultEvent) -> Verdict {
        if self.nemesis.is_over {
            return Ok(());
        }
        match event {
            FaultEvent::Next => self.next_fault(),
            FaultEvent::Leader => self.break_leader(),
            FaultEvent::Thaw { server, life } => {
                if self.hosts[server].life == life {
                    self.thaw(server);
                }
            }
            FaultEvent::Unblock { directions } => {
                for (from, to) in directions {
                    self.network.block(from, to, Blocked::default());
                }
                self.release_links();
            }
            FaultEvent::Impatient { a, b } => {
                if !self.network.tcp_open(a, b) || !self.network.tcp_open(b, a) {
                    self.reset_link(a, b, 500 * MS);
                }
            }
            FaultEvent::Clear => self.network.set_weather(self.scenario.weather),
            FaultEvent::FastDisk { server } => {
                self.hosts[server].disk.borrow_mut().set_speed(self.scenario.disk);
            }
            FaultEvent::Stop { server } => {
                if self.now >= self.nemesis.quiet_until {
                    self.stop(server);
                }
            }
            FaultEvent::Age { server, copy } => {
                // No other fault until all have heard how far its log is, and have noticed.
                if self.may_lose_data() && self.now >= self.nemesis.quiet_until {
                    self.nemesis.quiet_until = self.now + HEARD_US + FOUND_OUT_US;
                    let seen = self.hosts[server].disk.borrow().known.last;
                    let event = FaultEvent::PutBack { server, copy, seen };
                    self.queue.schedule(self.now + HEARD_US, Event::Fault(event));
                }
            }
            FaultEvent::PutBack { server, copy, seen } => self.put_back(server, *copy, seen),
            FaultEvent::Heal => self.heal(),
        }
        Ok(())
    }

    fn next_fault(&mut self) {
        let pause = self.nemesis.random.wait(self.scenario.fault_every).max(20 * MS);
        self.queue.schedule(self.now + pause, Event::Fault(FaultEvent::Next));
        if self.now < self.nemesis.quiet_until {
            return;
        }
        let kind = self.nemesis.random.pick(&self.scenario.faults);
        self.note_fault(kind);
        self.break_something(kind);
    }

    fn break_leader(&mut self) {
        let Some(leader) = self.leader().filter(|_| self.now >= self.nemesis.quiet_until) else {
            self.queue.schedule(self.now + SECOND, Event::Fault(FaultEvent::Leader));
            return;
        };
        let kinds = [
            FaultKind::KillLeader,
            FaultKind::PowerLoss,
            FaultKind::LongPause,
            FaultKind::Isolate,
            FaultKind::Stop,
        ];
        let kind = self.nemesis.random.pick(&kinds);
        self.note_fault(kind);
        self.break_server(kind, leader);
    }

    /// Whether a message sent now counts as hit by a fault.
    pub fn has_just_broken(&self) -> bool {
        self.nemesis.broke_at.is_some_and(|at| self.now < at + FRESH_US)
    }

    fn note_fault(&mut self, kind: FaultKind) {
        self.tally.faults += 1;
        self.nemesis.broke_at = Some(self.now);
        if self.devices.iter().any(|device| !device.is_idle()) {
            self.tally.overlaps += 1;
        }
        self.trace.step(self.now, "fault", kind as u64, &[]);
        self.trace.say(self.now, || format!("*** {kind:?}"));
    }

    fn break_something(&mut self, kind: FaultKind) {
        let server = self.nemesis.server();
        self.break_server(kind, server);
    }

    /// A fault; if it is one of a single server, of this one.
    fn break_server(&mut self, kind: FaultKind, server: usize) {
        match kind {
            FaultKind::Kill => self.kill_for_a_while(server, true),
            FaultKind::KillLeader => {
                let leader = self.leader().unwrap_or(server);
                self.kill_for_a_while(leader, true);
            }
            FaultKind::KillAll => {
                let is_told = self.nemesis.random.chance(0.5);
                for server in 0..self.hosts.len() {
                    self.kill_for_a_while(server, is_told);
                }
            }
            FaultKind::LoseQuorum => {
                let last = self.leader().unwrap_or(server);
                for server in (0..self.hosts.len()).filter(|server| *server != last) {
                    if self.is_running(server) {
                        self.kill(server, true);
                        let at = self.now + self.nemesis.millis(5_200, 7_500);
                        self.queue.schedule(at, Event::Start { server });
                    }
                }
            }
            FaultKind::PowerLoss => self.kill_for_a_while(server, false),
            FaultKind::CrashPoint => {
                let points = [CrashPoint::BeforeCommit, CrashPoint::AfterCommit, CrashPoint::WhileSpeaking];
                let point = self.nemesis.random.pick(&points);
                let after = self.nemesis.random.between_magnitudes(1, 60) as u32 - 1;
                self.disk_fault(server, DiskFault::Crash(point, after));
            }
            FaultKind::ShortPause => self.freeze(server, 10, 300),
            FaultKind::LongPause => self.freeze(server, 330, 6_000),
            FaultKind::Isolate => self.block_all(|from, to| from == server || to == server, BOTH),
            FaultKind::IsolateAll => self.block_all(|_, _| true, BOTH),
            FaultKind::OneWay => {
                let (a, b) = self.nemesis.pair();
                self.block_all(|from, to| (from, to) == (a, b), BOTH);
            }
            FaultKind::Chain => {
                let (a, b) = self.nemesis.pair();
                self.block_all(|from, to| (from, to) == (a, b) || (from, to) == (b, a), BOTH);
            }
            FaultKind::OneTransport => {
                let udp = self.nemesis.random.chance(0.5);
                let blocked = Blocked { udp, tcp: !udp };
                self.block_all(|from, to| from == server || to == server, blocked);
            }
            FaultKind::Storm => self.storm(),
            FaultKind::Stall => {
                let (a, b) = self.nemesis.pair();
                let until = self.now + self.nemesis.millis(20, 1_500);
                self.network.stall(a, b, until);
            }
            FaultKind::Reset => {
                let (a, b) = self.nemesis.pair();
                let patience = self.nemesis.millis(1, 300);
                self.reset_link(a, b, patience);
            }
            FaultKind::SlowDisk => self.slow_disk(server),
            FaultKind::FailingDisk => {
                let after = self.nemesis.random.below(20) as u32;
                if self.nemesis.random.chance(0.5) {
                    self.disk_fault(server, DiskFault::Write(after));
                } else if self.may_lose_data() {
                    self.disk_fault(server, DiskFault::Sync(after));
                }
            }
            FaultKind::Corrupt => {
                if self.may_lose_data() {
                    self.kill_for_a_while(server, true);
                    self.hosts[server].disk.borrow_mut().damage();
                }
            }
            FaultKind::Wipe => {
                if self.may_lose_data() && self.breaks_for_good() {
                    let is_told = self.nemesis.random.chance(0.5);
                    self.break_for_good(server, is_told);
                } else if self.may_lose_data() {
                    let is_told = self.nemesis.random.chance(0.5);
                    self.kill_for_a_while(server, is_told);
                    self.set_aside(server);
                }
            }
            FaultKind::OldCopy => {
                let copy = (self.hosts[server].disk.borrow().copy(), self.checker.ledger(server));
                let at = self.now + self.nemesis.millis(200, 4_000);
                let event = FaultEvent::Age { server, copy: Box::new(copy) };
                self.queue.schedule(at, Event::Fault(event));
            }
            FaultKind::ClockStep => self.step_clocks(server),
            FaultKind::Stop => self.stop(server),
            FaultKind::Rolling => {
                for server in 0..self.hosts.len() {
                    let at = self.now + server as u64 * 3 * SECOND;
                    self.queue.schedule(at, Event::Fault(FaultEvent::Stop { server }));
                }
            }
            FaultKind::DropClients => {
                let dropped: Vec<u64> = self.process_conns(server);
                for conn in dropped {
                    self.reset_conn(conn);
                }
            }
            FaultKind::DeviceCrash => {
                let device = self.nemesis.random.index(self.devices.len());
                self.crash_device(device);
            }
        }
    }

    /// Whether a machine that loses its data breaks for good. Only an operator could replace it.
    fn breaks_for_good(&mut self) -> bool {
        self.operator.is_some() && self.nemesis.random.chance(0.5)
    }

    fn kill_for_a_while(&mut self, server: usize, is_told: bool) {
        if self.is_running(server) {
            self.kill(server, is_told);
            let at = self.now + self.nemesis.millis(30, 5_000);
            self.queue.schedule(at, Event::Start { server });
        }
    }

    fn disk_fault(&mut self, server: usize, fault: DiskFault) {
        self.hosts[server].disk.borrow_mut().set_fault(Some(fault));
    }

    fn freeze(&mut self, server: usize, least_ms: u64, most_ms: u64) {
        if self.is_moving(server) {
            let until = self.now + self.nemesis.millis(least_ms, most_ms);
            self.hosts[server].frozen = true;
            let life = self.hosts[server].life;
            self.queue.schedule(until, Event::Fault(FaultEvent::Thaw { server, life }));
        }
    }

    fn thaw(&mut self, server: usize) {
        let host = &mut self.hosts[server];
        host.frozen = false;
        for event in std::mem::take(&mut host.deferred) {
            self.schedule_at(self.now, server, event);
        }
    }

    /// Blocks some directions for a while.
    fn block_all(&mut self, is_meant: impl Fn(usize, usize) -> bool, blocked: Blocked) {
        let servers = self.hosts.len();
        let pairs = (0..servers).flat_map(|from| (0..servers).map(move |to| (from, to)));
        let directions: Vec<_> = pairs.filter(|&(from, to)| from != to && is_meant(from, to)).collect();
        for &(from, to) in &directions {
            self.network.block(from, to, blocked);
            if blocked.tcp {
                let at = self.now + self.nemesis.millis(300, 4_000);
                self.queue.schedule(at, Event::Fault(FaultEvent::Impatient { a: from, b: to }));
            }
        }
        let until = self.now + self.nemesis.millis(50, 8_000);
        self.queue.schedule(until, Event::Fault(FaultEvent::Unblock { directions }));
    }

    fn storm(&mut self) {
        let random = &mut self.nemesis.random;
        let weather = Weather {
            loss: random.between(5, 60) as f64 / 100.0,
            doubling: random.between(0, 30) as f64 / 100.0,
            spikes: random.between(0, 50) as f64 / 100.0,
            spike: random.between(5, 150) * MS,
            ..self.scenario.weather
        };
        self.network.set_weather(weather);
        let until = self.now + self.nemesis.millis(100, 6_000);
        self.queue.schedule(until, Event::Fault(FaultEvent::Clear));
    }

    fn slow_disk(&mut self, server: usize) {
        let sync_min = self.nemesis.millis(5, 150);
        let speed = DiskSpeed { sync_min, sync_max: 3 * sync_min };
        self.hosts[server].disk.borrow_mut().set_speed(speed);
        let until = self.now + self.nemesis.millis(200, 6_000);
        self.queue.schedule(until, Event::Fault(FaultEvent::FastDisk { server }));
    }

    fn step_clocks(&mut self, server: usize) {
        const DAY_MS: i64 = 86_400_000;
        let random = &mut self.nemesis.random;
        let size = random.pick(&[1_000, DAY_MS, 3_650 * DAY_MS]);
        let step = if random.chance(0.5) { size } else { -size };
        let all = random.chance(0.3);
        for (number, host) in self.hosts.iter_mut().enumerate() {
            if all || number == server {
                host.wall_offset_ms += step;
            }
        }
    }

    fn stop(&mut self, server: usize) {
        if self.is_moving(server) {
            self.input(server, Input::Stop);
        }
    }

    /// Whether a server may lose its data now: only while all others have all of theirs, and count. If the
    /// servers change, no change may be under way, and a majority must be left without one.
    pub fn may_lose_data(&self) -> bool {
        let members = self.members();
        let is_settled = self.operator.as_ref().is_none_or(|it| it.directory.under_way.is_none());
        is_settled && members.len() > 2 && members.iter().all(|server| self.is_whole(*server, &members))
    }

    /// Whether all servers but this one have all of their data, and count.
    pub fn others_are_whole(&self, server: usize) -> bool {
        let mut others = self.members();
        let is_settled = self.operator.as_ref().is_none_or(|it| it.directory.under_way.is_none());
        others.retain(|other| *other != server);
        is_settled && others.len() > 1 && others.iter().all(|other| self.is_whole(*other, &others))
    }

    /// Whether a server has all of its data, counts like these others, and reaches them.
    fn is_whole(&self, server: usize, others: &[usize]) -> bool {
        let disk = self.hosts[server].disk.borrow();
        let conf = &disk.known.applied.conf;
        let counts = |peer: &usize| {
            let node = self.hosts[*peer].disk.borrow().known.node_id;
            node.is_none_or(|node| conf.voters.contains(&node))
        };
        conf.voters.len() == self.members().len()
            && conf.voters_outgoing.is_empty()
            && others.iter().all(counts)
            && self.is_moving(server)
            && !disk.is_in_danger()
            && others.iter().all(|peer| *peer == server || self.network.talk(server, *peer))
    }

    /// Puts the old copy of a disk back, if it lacks something that the others have heard of.
    fn put_back(&mut self, server: usize, (copy, ledger): (Copy, Ledger), seen: LogMark) {
        let is_old =
            copy.known.last < seen && copy.known.node_id == self.hosts[server].disk.borrow().known.node_id;
        if !is_old || !self.may_lose_data() {
            return;
        }
        self.trace
            .say(self.now, || format!("*** {} gets its copy of {:?} back", server + 1, copy.known.last));
        self.kill(server, true);
        self.checker.lost(server, ledger);
        self.hosts[server].disk.borrow_mut().put_back(copy);
        self.nemesis.quiet_until = self.now + FOUND_OUT_US;
        self.queue.schedule(self.now + 300 * MS, Event::Start { server });
    }

    /// All faults end: stopped servers start, and cut links work again.
    fn heal(&mut self) {
        self.trace.say(self.now, || "*** all is healed".into());
        self.nemesis.is_over = true;
        self.network.heal();
        self.repair();
        self.network.set_weather(Weather { loss: 0.0, doubling: 0.0, spikes: 0.0, ..self.scenario.weather });
        self.release_links();
        for server in 0..self.hosts.len() {
            {
                let mut disk = self.hosts[server].disk.borrow_mut();
                disk.set_speed(self.scenario.disk);
                disk.set_fault(None);
            }
            if self.hosts[server].frozen {
                self.thaw(server);
            }
            if !self.is_running(server) {
                let at = self.now + self.nemesis.millis(1, 300);
                self.queue.schedule(at, Event::Start { server });
            }
        }
        self.read_fast();
    }
}

/// Neither datagrams nor streams pass.
const BOTH: Blocked = Blocked { udp: true, tcp: true };
