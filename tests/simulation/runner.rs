//! Runs seeds: one, many on all cores, with or without a planted bug.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use syncnet::planted::{self, Bug};

use crate::{
    checker::Violation,
    cluster::{Cluster, Tally},
    scenario::Scenario,
};

/// What became of a run.
pub struct Outcome {
    pub seed: u64,
    /// The hash of everything that happened.
    pub hash: u64,
    pub tally: Tally,
    /// What went wrong.
    pub failure: Option<String>,
}

/// Plays the run of `seed`, with `bug` planted.
pub fn run(seed: u64, bug: Option<Bug>, is_printed: bool) -> Outcome {
    run_in(Cluster::new(Scenario::of(seed), is_printed), seed, bug)
}

/// Plays the run of `seed` in the world that was made for it.
pub fn run_in(mut cluster: Cluster, seed: u64, bug: Option<Bug>) -> Outcome {
    planted::plant(bug);
    // A panic of the product is what an assertion found: a failure like any other.
    let verdict = catch_unwind(AssertUnwindSafe(|| cluster.run()));
    planted::plant(None);
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
pub fn run_all(seeds: std::ops::Range<u64>, threads: usize, each: impl Fn(Outcome) + Sync) {
    let next = AtomicU64::new(seeds.start);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    each(run(seed, None, false));
                }
            });
        }
    });
}

/// The command that plays one seed again, with its trace.
pub fn repeat_command(seed: u64) -> String {
    format!("scripts/simulate.sh --seed {seed}")
}
