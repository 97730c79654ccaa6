//! Whole clusters on the real SQLite storage, on a disk that loses what was not synced.
//!
//! Such a run is the same as on the twin, event for event, until a commit is cut short or fails, a bit flips,
//! or the power fails: how much of a commit is on the disk, and how much of the state is synced, differs
//! between the two, and so does what is applied again.

use parking_lot::Mutex;

use crate::{
    FIRST_SEED, Sum,
    cluster::Cluster,
    queue::SECOND,
    runner::{Outcome, run, run_all, run_in},
    scenario::{FaultKind, Scenario, Seed},
    setting, threads,
};

/// Seeds that are played on SQLite, unless `SYNCNET_SIM_SQLITE` says otherwise.
const SEEDS: u64 = 4;
/// Seeds that are played on both storages.
const COMPARED: usize = 6;
/// Seeds whose disks lie, and how many of these must be found out.
const LIARS: u64 = 10;
const LIARS_CAUGHT: usize = 3;

#[test]
fn seeds_on_sqlite() {
    let sum = Mutex::new(Sum::default());
    let count = setting("SYNCNET_SIM_SQLITE", SEEDS);
    let seeds = (FIRST_SEED..FIRST_SEED + count).map(Seed::on_sqlite);
    run_all(seeds, threads(), |outcome| sum.lock().add(outcome));
    sum.into_inner().judge();
}

/// No server can tell which storage it runs on, nor can its peers and clients.
#[test]
fn a_cluster_is_the_same_on_both_storages() {
    let differs = |kind: &FaultKind| {
        use FaultKind::{Corrupt, CrashPoint, FailingDisk, OldCopy};
        matches!(kind, CrashPoint | Corrupt | FailingDisk | OldCopy)
    };
    let is_comparable = |number: &u64| {
        let scenario = Scenario::of(Seed::on_twin(*number));
        // The twin alone can write its state behind without a thread, and have a row decay.
        scenario.writes_behind == 0 && !scenario.decays && !scenario.faults.iter().any(differs)
    };
    let seeds = (FIRST_SEED..).filter(is_comparable);
    let twins = seeds.map(|seed| (seed, run(Seed::on_twin(seed), false)));
    let kept_power = twins.filter(|(_, twin)| twin.tally.power_losses == 0);
    for (seed, twin) in kept_power.take(COMPARED) {
        let seen = |outcome: Outcome| (outcome.hash, outcome.tally.events, outcome.failure);
        let sqlite = seen(run(Seed::on_sqlite(seed), false));
        assert_eq!(seen(twin), sqlite, "seed {seed}");
    }
}

/// Plays a seed on disks that, once the cluster is up, report every sync as done without doing it.
fn run_on_liars(seed: Seed) -> Outcome {
    let mut cluster = Cluster::new(Scenario::of(seed), false);
    cluster.run_until(3 * SECOND).expect("no disk lies yet");
    for host in &cluster.hosts {
        host.disk.borrow_mut().lie();
    }
    run_in(cluster, seed)
}

/// A lie has an effect only if the power fails at the wrong time, so not every seed catches it. It may cost
/// more than data: if two servers of three know of their loss, they wait for a leader for ever, and `Alive`
/// fails.
#[test]
fn disks_that_lie_about_syncs_are_caught() {
    let seeds = (FIRST_SEED..FIRST_SEED + LIARS).map(Seed::on_sqlite);
    let failures = seeds.filter_map(|seed| run_on_liars(seed).failure);
    let lost = failures.filter(|failure| failure.contains("Durable"));
    let caught: Vec<String> = lost.take(LIARS_CAUGHT).collect();
    assert_eq!(caught.len(), LIARS_CAUGHT, "{caught:?}");
}
