//! Whole clusters on the real SQLite storage, whose disk forgets what was not synced.
//!
//! Such a run has the scenario of a smaller seed (`scenario::SQLITE_SEEDS`), and is the same run event for
//! event until a commit is cut short or a bit flips: only there do the twin and SQLite differ.

use parking_lot::Mutex;
use syncnet::planted::Bug;

use crate::{
    FIRST_SEED, Sum,
    cluster::Cluster,
    queue::SECOND,
    runner::{Outcome, run, run_all, run_in},
    scenario::{FaultKind, SQLITE_SEEDS, Scenario},
    setting, threads,
};

/// Seeds that are played on SQLite.
const SEEDS: u64 = 40;
/// Seeds that are played on both storages.
const COMPARED: usize = 6;
/// Seeds whose disks lie, and how many of these must be found out.
const LIARS: u64 = 10;
const LIARS_CAUGHT: usize = 3;

#[test]
fn seeds_on_sqlite() {
    let first = SQLITE_SEEDS + FIRST_SEED;
    let sum = Mutex::new(Sum::default());
    let count = setting("SYNCNET_SIM_SQLITE", SEEDS);
    run_all(first..first + count, threads(), |outcome| sum.lock().add(outcome));
    sum.into_inner().judge();
}

/// No server can tell which storage it runs on, nor can its peers and clients.
#[test]
fn a_cluster_is_the_same_on_both_storages() {
    let differs = |kind: &FaultKind| matches!(kind, FaultKind::CrashPoint | FaultKind::Corrupt);
    let seeds = (FIRST_SEED..).filter(|seed| !Scenario::of(*seed).faults.iter().any(differs));
    for seed in seeds.take(COMPARED) {
        let seen = |outcome: Outcome| (outcome.hash, outcome.tally.events, outcome.failure);
        let twin = seen(run(seed, None, false));
        let sqlite = seen(run(SQLITE_SEEDS + seed, None, false));
        assert_eq!(twin, sqlite, "seed {seed}");
    }
}

/// Plays a seed on disks that, once the cluster stands, say of every sync that it is done, and do nothing.
fn run_on_liars(seed: u64) -> Outcome {
    let mut cluster = Cluster::new(Scenario::of(seed), false);
    cluster.run_until(3 * SECOND).expect("nobody lies yet");
    for host in &cluster.hosts {
        host.disk.borrow_mut().lie();
    }
    run_in(cluster, seed, None)
}

/// A lie costs something only where the power fails at the wrong time, so not every seed catches it.
#[test]
fn disks_that_lie_about_syncs_are_caught() {
    let first = SQLITE_SEEDS + FIRST_SEED;
    let failures = (first..first + LIARS).filter_map(|seed| run_on_liars(seed).failure);
    let caught: Vec<String> = failures.take(LIARS_CAUGHT).collect();
    assert!(caught.iter().all(|failure| failure.contains("Durable")), "{caught:?}");
    assert_eq!(caught.len(), LIARS_CAUGHT, "{caught:?}");
}

#[test]
fn a_sync_that_is_not_waited_for_is_caught() {
    let seed = SQLITE_SEEDS + FIRST_SEED;
    let failure = run(seed, Some(Bug::AckBeforeSync), false).failure;
    assert!(failure.as_ref().is_some_and(|failure| failure.contains("Durable")), "{failure:?}");
}
