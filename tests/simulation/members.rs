//! Clusters whose servers change: see `operator`.

use parking_lot::Mutex;

use crate::{FIRST_SEED, Sum, runner::run_all, scenario::Seed, setting, threads};

/// Seeds that are played, unless `SYNCNET_SIM_MEMBERS` says otherwise.
const SEEDS: u64 = 8;

#[test]
fn seeds_whose_servers_change() {
    let sum = Mutex::new(Sum::default());
    let first = setting("SYNCNET_SIM_FIRST", FIRST_SEED);
    let count = setting("SYNCNET_SIM_MEMBERS", SEEDS);
    let seeds = (first..first + count).map(Seed::of_members);
    run_all(seeds, threads(), |outcome| sum.lock().add(outcome));
    sum.into_inner().judge();
}
