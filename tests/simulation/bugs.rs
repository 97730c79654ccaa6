//! Planted bugs: each must be caught, by the seed and as the broken promise that `planted_bugs.txt` names, or
//! by the other test that it names, which runs with the bug planted and asserts that it is noticed.

use std::{env, fs, path::Path};

use parking_lot::Mutex;
use syncnet::planted::Bug;

use crate::runner::run;

/// One bug in a line: its name, a seed, and what its run is found to break; or "-" and a test elsewhere.
const CAUGHT: &str = include_str!("planted_bugs.txt");
/// Seeds that a hunt tries for a bug, unless `SYNCNET_SIM_HUNT` says otherwise.
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

/// Whether the test at `place`, a file and a function of it, plants `bug`.
fn is_planted_at(place: &str, bug: Bug) -> bool {
    let (file, function) = place.split_once("::").expect("planted_bugs.txt: a file, ::, and a test of it");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let found = text.split_once(&format!("#[test]\nfn {function}() {{"));
    let body = found.and_then(|(_, after)| after.split_once("\n}\n")).map(|(body, _)| body);
    body.is_some_and(|body| body.contains(&format!("Bug::{bug:?}")) && body.contains("plant(Some("))
}

#[test]
fn planted_bugs_are_caught() {
    let (mut caught, mut elsewhere, mut uncaught) = (Vec::new(), Vec::new(), Vec::new());
    for line in CAUGHT.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()) {
        let fields: Vec<&str> = line.split_whitespace().collect();
        if let [name, "-", place] = fields[..] {
            let bug = named(name);
            assert!(is_planted_at(place, bug), "planted_bugs.txt: {place} is no test that plants {name}");
            elsewhere.push(bug);
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
        // A run is the same each time, so it breaks what the table names, unless the product has moved.
        if point(&failure) != due {
            uncaught.push(format!("{name} by seed {seed} as {due}, but as {}", point(&failure)));
        }
        assert_eq!(run(seed, None, false).failure, None, "seed {seed} fails without {name}");
        caught.push(named(name));
    }
    assert!(uncaught.is_empty(), "not caught: {uncaught:?}; look for seeds: scripts/simulate.sh --hunt all");
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
    let seeds = crate::setting("SYNCNET_SIM_HUNT", HUNT);
    let queue = Mutex::new(bugs.into_iter());
    std::thread::scope(|scope| {
        for _ in 0..crate::threads() {
            scope.spawn(|| {
                loop {
                    let Some(bug) = queue.lock().next() else { return };
                    let found =
                        (1..=seeds).find_map(|seed| Some((seed, run(seed, Some(bug), false).failure?)));
                    match found {
                        Some((seed, failure)) => {
                            println!("{bug:?} {seed} {}", point(&failure));
                            eprintln!("# {}", failure.lines().next().unwrap_or_default());
                        }
                        None => eprintln!("# {bug:?} is not caught by {seeds} seeds"),
                    }
                }
            });
        }
    });
}
