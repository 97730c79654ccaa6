//! The simulation: whole clusters in one thread, from one seed.
//!
//! Three or five servers with the real `replica`, `chat` and `protocol` code, clients with the real client
//! library, and everything around them made up: network, disks, clocks, crashes, and users. A seed decides
//! all of it, so a seed is a complete bug report:
//!
//! ```text
//! scripts/simulate.sh 1000           # that many seeds
//! scripts/simulate.sh --seed 42      # one seed, with everything that happened; also sqlite:42, members:42
//! scripts/simulate.sh --sqlite 40    # that many seeds on the real SQLite storage
//! scripts/simulate.sh --members 40   # that many seeds in which an operator changes the servers
//! scripts/simulate.sh --traces       # whether the recorded seeds are the same runs as ever
//! ```
//!
//! A run is 60 simulated seconds: 40 in which faults happen (`faults`), then all is healed, 10 in which
//! users go on, and 10 in which everything must settle: one leader, the highest in the ring; every message
//! of every device acknowledged; every server with the same state. At the end every room is read from every
//! disk and, as a client, from every server. `checker` judges all the time.
//!
//! | module | what it is |
//! |---|---|
//! | `scenario` | what a seed stands for |
//! | `cluster` and its neighbours | the world: one queue of events |
//! | `host`, `disk`, `network`, `links`, `device`, `rude`, `company` | what it is made of |
//! | `medium` | what a disk is made of: the memory twin, or SQLite on a disk that forgets (`sqlite`) |
//! | `checker` | the judge, which shares no code with the product |
//! | `operator`, `machines`, `acquainting` | which servers there are, if that changes, and who hears of it |
//! | `directories` | what is judged of that |
//! | `judging` | what the log says about private rooms, played once more |
//! | `runner` | one run, or many |

mod acquainting;
mod auditing;
mod checker;
mod cluster;
mod company;
mod decaying;
mod device;
mod directories;
mod disk;
mod faults;
mod host;
mod judging;
mod linking;
mod links;
mod machines;
mod medium;
mod members;
mod network;
mod operator;
#[allow(dead_code, reason = "tests/storage uses the rest of it")]
#[path = "../support/power/mod.rs"]
mod power;
mod queue;
mod random;
mod rude;
mod runner;
mod scenario;
mod serving;
mod sqlite;
mod trace;
mod upgrading;
mod visiting;

use std::{env, fmt::Write as _, str::FromStr};

use parking_lot::Mutex;

use cluster::Tally;
use runner::{Outcome, repeat_command, run, run_all};
use scenario::Seed;

/// Seeds that `many_seeds` plays, unless `SYNCNET_SIM_SEEDS` says otherwise, as `scripts/simulate.sh` does. A
/// plain `cargo test` is not optimised, so it plays few.
const SEEDS: u64 = 20;
/// The first of them, unless `SYNCNET_SIM_FIRST` says otherwise.
const FIRST_SEED: u64 = 1;
/// Seeds that are played twice, unless `SYNCNET_SIM_TWICE` says otherwise.
const TWICE: u64 = 5;
/// Seeds on SQLite that are played twice.
const TWICE_ON_SQLITE: u64 = 8;
/// Seeds with an operator that are played twice.
const TWICE_OF_MEMBERS: u64 = 2;
/// Most runs of a hundred that may prove nothing; of fewer than a hundred, one.
const VOID_PERCENT_MAX: u64 = 2;
/// Seeds that failed once, one in a line, each with a word about why.
const KEPT_SEEDS: &str = include_str!("seeds.txt");

fn setting<T: FromStr>(name: &str, default: T) -> T {
    match env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is {text:?}; it must be a number")),
        Err(_) => default,
    }
}

/// Two, as many as CI has cores, unless `SYNCNET_SIM_THREADS` says otherwise.
fn threads() -> usize {
    setting("SYNCNET_SIM_THREADS", 2)
}

/// The result of a number of runs.
#[derive(Default)]
struct Sum {
    runs: u64,
    void: u64,
    failures: Vec<(Seed, String)>,
    tally: Tally,
}

impl Sum {
    fn add(&mut self, outcome: Outcome) {
        self.runs += 1;
        self.tally.add(&outcome.tally);
        match outcome.failure {
            Some(failure) => {
                eprintln!(
                    "seed {} failed {failure}\n  repeat: {}",
                    outcome.seed,
                    repeat_command(outcome.seed)
                );
                self.failures.push((outcome.seed, failure));
            }
            None => self.void += u64::from(outcome.tally.is_void()),
        }
        if self.runs.is_multiple_of(100) {
            eprintln!("{} runs, {} failed", self.runs, self.failures.len());
        }
    }

    fn judge(&self) {
        eprintln!("{} runs, {} of them void: {:?}", self.runs, self.void, self.tally);
        let mut text = String::new();
        for (seed, failure) in &self.failures {
            let _ = writeln!(text, "{}: {failure}", repeat_command(*seed));
        }
        assert!(self.failures.is_empty(), "{} of {} runs failed:\n{text}", self.failures.len(), self.runs);
        assert!(
            self.void <= (self.runs * VOID_PERCENT_MAX / 100).max(1),
            "{} of {} runs proved nothing: in each, nothing was sent, no leader changed, no fault \
             overlapped traffic, or an operator changed no server",
            self.void,
            self.runs
        );
    }
}

#[test]
fn many_seeds() {
    let first = setting("SYNCNET_SIM_FIRST", FIRST_SEED);
    let count = setting("SYNCNET_SIM_SEEDS", SEEDS);
    let shows_hashes = setting("SYNCNET_SIM_HASHES", 0_u8) > 0;
    let on_sqlite = setting("SYNCNET_SIM_ON_SQLITE", 0_u8) > 0;
    let sum = Mutex::new(Sum::default());
    let of_kind = if on_sqlite { Seed::on_sqlite } else { Seed::on_twin };
    let seeds = (first..first + count).map(of_kind);
    run_all(seeds, threads(), |outcome| {
        if shows_hashes {
            println!("hash {} {:016x} {}", outcome.seed, outcome.hash, outcome.tally.events);
        }
        sum.lock().add(outcome);
    });
    sum.into_inner().judge();
}

#[test]
fn seeds_that_failed_once() {
    let mut sum = Sum::default();
    for line in KEPT_SEEDS.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()) {
        let seed: Option<Seed> = line.split_whitespace().next().and_then(|seed| seed.parse().ok());
        sum.add(run(seed.unwrap_or_else(|| panic!("seeds.txt: no seed in {line:?}")), false));
    }
    assert!(sum.failures.is_empty(), "{:?}", sum.failures);
}

#[test]
fn a_seed_is_always_the_same_run() {
    let count = setting("SYNCNET_SIM_TWICE", TWICE);
    let play = || {
        let hashes = Mutex::new(std::collections::BTreeMap::new());
        let on_twin = (FIRST_SEED..FIRST_SEED + count).map(Seed::on_twin);
        let on_sqlite = (FIRST_SEED..FIRST_SEED + TWICE_ON_SQLITE).map(Seed::on_sqlite);
        let of_members = (FIRST_SEED..FIRST_SEED + TWICE_OF_MEMBERS).map(Seed::of_members);
        run_all(on_twin.chain(on_sqlite).chain(of_members), threads(), |outcome| {
            hashes.lock().insert(outcome.seed, (outcome.hash, outcome.tally.events));
        });
        hashes.into_inner()
    };
    let (one, other) = (play(), play());
    assert_eq!(one.len() as u64, count + TWICE_ON_SQLITE + TWICE_OF_MEMBERS);
    for (seed, seen) in &one {
        assert_eq!(other.get(seed), Some(seen), "seed {seed} is not the same run twice");
    }
}

/// Seeds whose runs are recorded in `traces.txt`, on the twin and on SQLite.
const RECORDED: u64 = 16;
const RECORDED_ON_SQLITE: u64 = 4;

/// For `scripts/simulate.sh --traces`: whether the recorded seeds are the same runs as they were, to the
/// byte.
///
/// A change of what servers do changes them, and that is no fault. But if code is only moved, nothing may
/// change here. `GOLDEN=write` in the environment records anew.
#[test]
#[ignore = "what servers do may change; where it must not, scripts/simulate.sh --traces asks"]
fn traces_are_as_recorded() {
    let played = Mutex::new(std::collections::BTreeMap::new());
    let on_twin = (FIRST_SEED..FIRST_SEED + RECORDED).map(Seed::on_twin);
    let on_sqlite = (FIRST_SEED..FIRST_SEED + RECORDED_ON_SQLITE).map(Seed::on_sqlite);
    run_all(on_twin.chain(on_sqlite), threads(), |outcome| {
        assert_eq!(outcome.failure, None, "{}", repeat_command(outcome.seed));
        let trace = format!("{} {:016x} {}", outcome.seed, outcome.hash, outcome.tally.events);
        played.lock().insert(outcome.seed, trace);
    });
    let played: Vec<String> = played.into_inner().into_values().collect();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/simulation/traces.txt");
    let head = "# Seed, hash of everything that happened, events. Written by: GOLDEN=write scripts/simulate.sh --traces";
    if env::var("GOLDEN").is_ok_and(|word| word == "write") {
        std::fs::write(path, format!("{head}\n{}\n", played.join("\n"))).expect("the record is written");
        return;
    }
    let recorded = std::fs::read_to_string(path).expect("the record is there");
    let recorded: Vec<&str> = recorded.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(recorded.len(), played.len(), "other seeds are recorded");
    let pairs = recorded.iter().zip(&played).filter(|(recorded, played)| *recorded != played);
    let differing: Vec<String> =
        pairs.map(|(recorded, played)| format!("- {recorded}\n+ {played}")).collect();
    assert!(
        differing.is_empty(),
        "{} of {} seeds are other runs now (- recorded, + now: seed, hash, events):\n{}",
        differing.len(),
        played.len(),
        differing.join("\n")
    );
}

/// For `scripts/simulate.sh --seed`: plays `SYNCNET_SIM_SEED` and prints everything that happens.
#[test]
#[ignore = "plays the one seed that SYNCNET_SIM_SEED names"]
fn one_seed() {
    let seed = setting("SYNCNET_SIM_SEED", Seed::on_twin(FIRST_SEED));
    let is_printed = setting("SYNCNET_SIM_TRACE", 0_u8) > 0;
    eprintln!("{:#?}", scenario::Scenario::of(seed));
    let outcome = run(seed, is_printed);
    eprintln!("seed {seed}: hash {:016x}, {:?}", outcome.hash, outcome.tally);
    assert_eq!(outcome.failure, None);
}
