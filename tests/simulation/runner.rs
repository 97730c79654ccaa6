//! Runs seeds: one, or many on all cores.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    thread,
};

use parking_lot::Mutex;

use crate::{
    checker::Violation,
    cluster::{Cluster, Tally},
    scenario::{Scenario, Seed},
};

/// The outcome of a run.
pub struct Outcome {
    pub seed: Seed,
    /// The hash of everything that happened.
    pub hash: u64,
    pub tally: Tally,
    /// What went wrong.
    pub failure: Option<String>,
}

/// Plays the run of `seed`; with `is_printed`, prints what happens on standard error.
pub fn run(seed: Seed, is_printed: bool) -> Outcome {
    run_in(Cluster::new(Scenario::of(seed), is_printed), seed)
}

/// Plays the run of `seed` in the world that was made for it.
pub fn run_in(mut cluster: Cluster, seed: Seed) -> Outcome {
    // A panic of the product is a failure like any other.
    let verdict = catch_unwind(AssertUnwindSafe(|| cluster.run()));
    let failure = match verdict {
        Ok(Ok(())) => None,
        Ok(Err(violation)) => Some(described(&cluster, &violation)),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Some(format!("at {} ms, Panic: {}", cluster.now / 1_000, text.unwrap_or_default()))
        }
    };
    Outcome { seed, hash: cluster.trace.hash(), tally: cluster.tally.clone(), failure }
}

fn described(cluster: &Cluster, violation: &Violation) -> String {
    format!("at {} ms, {violation}", cluster.now / 1_000)
}

/// Plays all of `seeds` on `threads` threads; `each` is called for each run, in no particular order.
pub fn run_all(seeds: impl Iterator<Item = Seed> + Send, threads: usize, each: impl Fn(Outcome) + Sync) {
    let seeds = Mutex::new(seeds);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let Some(seed) = seeds.lock().next() else { return };
                    each(run(seed, false));
                }
            });
        }
    });
}

/// The command that plays one seed again, with its trace.
pub fn repeat_command(seed: Seed) -> String {
    format!("scripts/simulate.sh --seed {seed}")
}
