//! What a seed means: sizes, weather, disks, and which faults may happen at all.
//!
//! "Swarm testing" (Groce and others, 2012): each seed allows a random subset of the faults. A run with all
//! faults finds less than many runs in each of which some fault does not happen: a partition that is never
//! healed by a crash, a log that is never compacted, a disk that is always fast.

use std::{fmt, num::ParseIntError, str::FromStr};

use crate::{
    network::Weather,
    queue::{MS, Micros, SECOND},
    random::Random,
};

/// How long faults happen.
pub const SAFETY_US: Micros = 40 * SECOND;
/// How long the healed cluster goes on; then nothing new is said.
pub const CALM_US: Micros = 10 * SECOND;
/// How long messages may take to settle after that, before the run counts as hung.
pub const SETTLE_US: Micros = 10 * SECOND;
/// How soon after the healing there must be a leader that acknowledges.
pub const LEADER_US: Micros = 6 * SECOND;

/// A kind of fault. `faults.rs` carries them out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultKind {
    /// kill -9 of any server.
    Kill,
    /// kill -9 of the leader.
    KillLeader,
    /// kill -9 of all servers at once.
    KillAll,
    /// All but the leader are down for longer than a request may take.
    LoseQuorum,
    /// The machine loses its power: clients and peers are not told.
    PowerLoss,
    /// The process dies at a named point of its disk work.
    CrashPoint,
    /// SIGSTOP for less than the detection time.
    ShortPause,
    /// SIGSTOP for more than the detection time.
    LongPause,
    /// One server is cut off.
    Isolate,
    /// All servers are cut from each other.
    IsolateAll,
    /// One direction of one link is cut.
    OneWay,
    /// Two servers cannot talk to each other, both can talk to the rest.
    Chain,
    /// Only datagrams, or only streams, are cut for one server.
    OneTransport,
    /// Datagrams are lost, doubled and late.
    Storm,
    /// A peer link is stalled for a while.
    Stall,
    /// A peer link is reset.
    Reset,
    /// Syncs take long.
    SlowDisk,
    /// A write or sync fails.
    FailingDisk,
    /// The data is found to be damaged at the next start.
    Corrupt,
    /// The data folder is deleted.
    Wipe,
    /// An old copy of the data folder is put back.
    OldCopy,
    /// Wall clocks jump.
    ClockStep,
    /// One server is stopped in an orderly way.
    Stop,
    /// All servers are stopped and started one after the other.
    Rolling,
    /// All client connections of a server are reset.
    DropClients,
    /// A client crashes and comes back with its outbox.
    DeviceCrash,
}

/// All of them.
pub const FAULTS: [FaultKind; 26] = [
    FaultKind::Kill,
    FaultKind::KillLeader,
    FaultKind::KillAll,
    FaultKind::LoseQuorum,
    FaultKind::PowerLoss,
    FaultKind::CrashPoint,
    FaultKind::ShortPause,
    FaultKind::LongPause,
    FaultKind::Isolate,
    FaultKind::IsolateAll,
    FaultKind::OneWay,
    FaultKind::Chain,
    FaultKind::OneTransport,
    FaultKind::Storm,
    FaultKind::Stall,
    FaultKind::Reset,
    FaultKind::SlowDisk,
    FaultKind::FailingDisk,
    FaultKind::Corrupt,
    FaultKind::Wipe,
    FaultKind::OldCopy,
    FaultKind::ClockStep,
    FaultKind::Stop,
    FaultKind::Rolling,
    FaultKind::DropClients,
    FaultKind::DeviceCrash,
];

/// How fast a disk syncs.
#[derive(Debug, Clone, Copy)]
pub struct DiskSpeed {
    /// Least time of a sync.
    pub sync_min: Micros,
    /// Greatest time of a sync.
    pub sync_max: Micros,
}

/// What kind of run a seed stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Servers that stay the same, on the memory twin of the storage.
    Twin,
    /// The same on the real SQLite storage.
    Sqlite,
    /// An operator adds, removes, replaces and drains servers.
    Members,
}

/// The seed of a run. Written `42`, `sqlite:42` for the same scenario on the real SQLite storage instead of
/// its memory twin, or `members:42` for one in which the servers change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seed {
    pub kind: Kind,
    pub number: u64,
}

impl Kind {
    /// What a seed of this kind begins with.
    fn prefix(self) -> &'static str {
        match self {
            Kind::Twin => "",
            Kind::Sqlite => "sqlite:",
            Kind::Members => "members:",
        }
    }
}

impl Seed {
    pub fn on_twin(number: u64) -> Seed {
        Seed { kind: Kind::Twin, number }
    }

    pub fn on_sqlite(number: u64) -> Seed {
        Seed { kind: Kind::Sqlite, number }
    }

    pub fn of_members(number: u64) -> Seed {
        Seed { kind: Kind::Members, number }
    }
}

impl fmt::Display for Seed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}{}", self.kind.prefix(), self.number)
    }
}

impl FromStr for Seed {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Seed, ParseIntError> {
        let mut kinds = [Kind::Sqlite, Kind::Members].into_iter();
        let prefixed = kinds.find_map(|kind| Some((kind, text.strip_prefix(kind.prefix())?)));
        let (kind, number) = prefixed.unwrap_or((Kind::Twin, text));
        number.parse().map(|number| Seed { kind, number })
    }
}

/// The parameters of one run.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// The seed of all of it.
    pub seed: u64,
    /// Whether the servers' storage is SQLite.
    pub on_sqlite: bool,
    /// Servers that begin the cluster: 3 or 5.
    pub servers: usize,
    /// Machines besides, whose servers may join. There is an operator if there are some.
    pub spares: usize,
    /// The ring position of each machine.
    pub positions: Vec<u32>,
    /// Mean time between two things that the operator does.
    pub operator_every: Micros,
    /// Clients that keep the protocol and an outbox.
    pub devices: usize,
    /// Rooms they talk in.
    pub rooms: usize,
    /// Mean time between two actions of a device.
    pub pace: Micros,
    /// Mean time between two visits of clients that behave badly; 0 for none.
    pub rude_every: Micros,
    /// The network between faults.
    pub weather: Weather,
    /// The disks between faults.
    pub disk: DiskSpeed,
    /// Log entries kept behind the applied index: few, so that servers that were away need a snapshot.
    pub keep_entries: u64,
    /// Whether followers redirect their clients instead of forwarding.
    pub redirect: bool,
    /// Proposals that may wait before a server sheds load.
    pub pending_proposals: usize,
    /// Requests a second that a connection may send.
    pub requests_per_s: u32,
    /// Bytes that may wait for a client before it is cut.
    pub outbox_bytes: usize,
    /// Whether there are rooms that keep few events. No random number is drawn for it, so other seeds stay
    /// the same runs.
    pub forgets: bool,
    /// For how long rows of state are written behind, in calls of `Storage::saved`; 0 if they are not. No
    /// random number is drawn for it, so other seeds stay the same runs.
    pub writes_behind: u32,
    /// Whether threads now and then wait for a core while faults happen, so that much has come when they
    /// look. No random number is drawn for it, so other seeds stay the same runs.
    pub busy_cores: bool,
    /// Whether rows decay while servers run. No random number is drawn for it, so other seeds stay the same
    /// runs.
    pub decays: bool,
    /// Whether servers restart with a program that knows newer rules. No random number is drawn for it, so
    /// other seeds stay the same runs.
    pub upgrades: bool,
    /// Which faults happen.
    pub faults: Vec<FaultKind>,
    /// Mean time between two of them.
    pub fault_every: Micros,
}

impl Scenario {
    pub fn of(seed: Seed) -> Scenario {
        let scenario = Scenario::of_servers_that_stay(seed);
        match seed.kind {
            Kind::Twin | Kind::Sqlite => scenario,
            Kind::Members => scenario.with_operator(),
        }
    }

    /// With three servers at first, and an operator who changes that. Other random numbers than those of
    /// other kinds of seeds, which stay the same runs.
    fn with_operator(self) -> Scenario {
        let mut random = Random::new(self.seed ^ 0x3e3b_e25e);
        let random = &mut random;
        let (servers, spares) = (3, random.between(1, 3) as usize);
        // A new server has a place anywhere in the ring.
        let mut positions: Vec<u32> = (0..(servers + spares) as u32).collect();
        for place in (1..positions.len()).rev() {
            positions.swap(place, random.index(place + 1));
        }
        Scenario {
            servers,
            spares,
            positions,
            operator_every: random.between_magnitudes(300 * MS, 2 * SECOND),
            ..self
        }
    }

    fn of_servers_that_stay(seed: Seed) -> Scenario {
        let on_sqlite = seed.kind == Kind::Sqlite;
        let seed = seed.number;
        let mut random = Random::new(seed ^ 0x5ce7_a210);
        let random = &mut random;
        let servers = random.pick(&[3, 3, 3, 5]);
        let allowed = random.between(1, 8) as f64 / 10.0;
        let mut faults: Vec<FaultKind> = FAULTS.into_iter().filter(|_| random.chance(allowed)).collect();
        if faults.is_empty() {
            faults.push(random.pick(&FAULTS));
        }
        Scenario {
            seed,
            on_sqlite,
            servers,
            spares: 0,
            positions: (0..servers as u32).collect(),
            operator_every: 0,
            devices: random.between(2, 7) as usize,
            rooms: random.between(1, 4) as usize,
            pace: random.between_magnitudes(60 * MS, 900 * MS),
            rude_every: if random.chance(0.5) { random.between(2, 10) * SECOND } else { 0 },
            weather: weather(random),
            disk: disk(random),
            keep_entries: random.pick(&[10, 40, 200, 5_000]),
            redirect: random.chance(0.1),
            pending_proposals: random.pick(&[4, 64, 16_384, 16_384]),
            requests_per_s: random.pick(&[80, 2_000, 2_000]),
            outbox_bytes: random.pick(&[64 * 1024, 256 * 1024, 4 * 1024 * 1024]),
            forgets: seed % 20 == 11,
            writes_behind: if seed % 4 == 3 { 1 + (seed / 4 % 40) as u32 } else { 0 },
            busy_cores: seed.is_multiple_of(5),
            decays: seed % 10 == 7 && !on_sqlite,
            upgrades: seed % 5 == 4,
            faults,
            fault_every: random.between_magnitudes(600 * MS, 8 * SECOND),
        }
    }
}

fn weather(random: &mut Random) -> Weather {
    let latency_min = random.between_magnitudes(20, 2 * MS);
    let is_rough = random.chance(0.4);
    let share = |random: &mut Random, most: u64| random.between(0, most) as f64 / 1_000.0;
    Weather {
        latency_min,
        latency_max: latency_min * random.between(1, 8),
        loss: if is_rough { share(random, 100) } else { 0.0 },
        doubling: if is_rough { share(random, 50) } else { 0.0 },
        spikes: if is_rough { share(random, 20) } else { 0.0 },
        spike: random.between(5, 40) * MS,
    }
}

fn disk(random: &mut Random) -> DiskSpeed {
    let sync_min = random.between_magnitudes(50, 4 * MS);
    DiskSpeed { sync_min, sync_max: sync_min * random.between(1, 5) }
}

#[test]
fn a_seed_reads_as_it_is_written() {
    for seed in [Seed::on_twin(42), Seed::on_twin(u64::MAX), Seed::on_sqlite(1_000_001), Seed::of_members(3)]
    {
        assert_eq!(seed.to_string().parse(), Ok(seed));
    }
    assert!("sqlite:".parse::<Seed>().is_err() && "x".parse::<Seed>().is_err());
}

#[test]
fn seeds_differ_in_kind() {
    let scenarios: Vec<Scenario> = (0..200).map(Seed::on_twin).map(Scenario::of).collect();
    assert!(scenarios.iter().any(|scenario| scenario.servers == 5));
    assert!(scenarios.iter().any(|scenario| scenario.servers == 3));
    for fault in FAULTS {
        let with = scenarios.iter().filter(|scenario| scenario.faults.contains(&fault)).count();
        assert!((20..180).contains(&with), "{fault:?} is allowed by {with} of 200 seeds");
    }
}
