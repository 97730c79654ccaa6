//! Planted bugs: each must be caught, by the seed and for the reason that `planted_bugs.txt` names, or by the
//! other test that it names.

use std::env;

use parking_lot::Mutex;
use syncnet::planted::Bug;

use crate::runner::run;

/// One bug in a line: its name, a seed, and what its run is found to break.
const CAUGHT: &str = include_str!("planted_bugs.txt");
/// So many must be caught.
const LEAST: usize = 15;
/// Seeds that a hunt tries for a bug.
const HUNT: u64 = 200;

/// The bug of this name.
pub fn named(name: &str) -> Bug {
    let bug = Bug::ALL.into_iter().find(|bug| format!("{bug:?}") == name);
    bug.unwrap_or_else(|| panic!("no planted bug is called {name:?}; there are {:?}", Bug::ALL))
}

/// Which promise a failure names.
fn point(failure: &str) -> &str {
    failure.split(", ").nth(1).and_then(|text| text.split(':').next()).unwrap_or(failure)
}

#[test]
fn planted_bugs_are_caught() {
    let (mut caught, mut elsewhere, mut uncaught) = (Vec::new(), Vec::new(), Vec::new());
    for line in CAUGHT.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()) {
        let fields: Vec<&str> = line.split_whitespace().collect();
        if let [name, "-", ..] = fields[..] {
            elsewhere.push(named(name));
            continue;
        }
        let [name, seed, due] = fields[..] else {
            panic!("planted_bugs.txt: {line:?} is not a name, a seed, a point")
        };
        let seed = seed.parse().unwrap_or_else(|_| panic!("planted_bugs.txt: no seed in {line:?}"));
        let outcome = run(seed, Some(named(name)), false);
        let Some(failure) = outcome.failure else {
            uncaught.push(format!("{name} by seed {seed}"));
            continue;
        };
        if point(&failure) != due {
            // Which promise breaks first moves with the product; that one breaks is the point.
            eprintln!("{name} in seed {seed} is now found as {}, not {due}", point(&failure));
        }
        assert_eq!(run(seed, None, false).failure, None, "seed {seed} fails without {name}");
        caught.push(named(name));
    }
    assert!(uncaught.is_empty(), "not caught: {uncaught:?}; look for seeds: scripts/simulate.sh --hunt all");
    caught.sort();
    caught.dedup();
    assert!(caught.len() >= LEAST, "only {} planted bugs are caught", caught.len());
    let missed: Vec<Bug> =
        Bug::ALL.into_iter().filter(|bug| !caught.contains(bug) && !elsewhere.contains(bug)).collect();
    assert!(
        missed.is_empty(),
        "no seed is named for {missed:?}; look for one: scripts/simulate.sh --hunt all"
    );
}

/// For `scripts/simulate.sh --hunt`: looks for a seed that catches `SYNCNET_SIM_BUG`, or each bug.
#[test]
#[ignore = "looks for seeds that catch planted bugs; prints lines for planted_bugs.txt"]
fn hunt() {
    let wanted = env::var("SYNCNET_SIM_BUG").unwrap_or_else(|_| "all".into());
    let bugs = if wanted == "all" { Bug::ALL.to_vec() } else { wanted.split(',').map(named).collect() };
    let queue = Mutex::new(bugs.into_iter());
    std::thread::scope(|scope| {
        for _ in 0..crate::threads() {
            scope.spawn(|| {
                loop {
                    let Some(bug) = queue.lock().next() else { return };
                    let found =
                        (1..=HUNT).find_map(|seed| Some((seed, run(seed, Some(bug), false).failure?)));
                    match found {
                        Some((seed, failure)) => {
                            println!("{bug:?} {seed} {}", point(&failure));
                            eprintln!("# {}", failure.lines().next().unwrap_or_default());
                        }
                        None => eprintln!("# {bug:?} is not caught by {HUNT} seeds"),
                    }
                }
            });
        }
    });
}
