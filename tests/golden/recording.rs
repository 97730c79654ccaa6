//! Recordings: text files under `tests/golden/files/` that a run must give again, byte for byte.

use std::{env, fmt::Write as _, fs, path::PathBuf};

/// How far ahead a diff looks for the next equal line.
const LOOK_AHEAD: usize = 400;
/// Lines that a failure shows at most.
const SHOWN_MAX: usize = 60;
/// Repeats of one letter that are recorded as a count.
const RUN_MIN: usize = 100;

/// The path of a recording.
pub fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/files").join(name)
}

/// The text of a recording; empty if there is none yet.
pub fn read(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap_or_default().replace("\r\n", "\n")
}

/// Compares what a run gave with its recording. With `GOLDEN=write` in the environment it becomes the
/// recording.
#[track_caller]
pub fn compare(name: &str, played: &str) {
    if env::var("GOLDEN").is_ok_and(|word| word == "write") {
        fs::write(path(name), played).unwrap_or_else(|error| panic!("{name}: {error}"));
        return;
    }
    let recorded = read(name);
    assert!(
        recorded == played,
        "{name} is not what it was (- recorded, + now). If that is wanted, record anew with \
         `GOLDEN=write cargo test --test golden` and say why in the commit.\n{}",
        diff(&recorded, played)
    );
}

/// The lines in which two texts differ, with their numbers.
fn diff(recorded: &str, played: &str) -> String {
    let (old, new): (Vec<_>, Vec<_>) = (recorded.lines().collect(), played.lines().collect());
    let (mut from, mut to, mut shown) = (0, 0, 0);
    let mut text = String::new();
    while (from < old.len() || to < new.len()) && shown < SHOWN_MAX {
        if from < old.len() && to < new.len() && old[from] == new[to] {
            (from, to) = (from + 1, to + 1);
            continue;
        }
        let (gone, come) = next_equal(&old[from..], &new[to..]);
        for line in &old[from..from + gone] {
            let _ = writeln!(text, "{:>5} - {line}", from + 1);
        }
        for line in &new[to..to + come] {
            let _ = writeln!(text, "{:>5} + {line}", to + 1);
        }
        shown += gone + come;
        (from, to) = (from + gone, to + come);
    }
    if shown >= SHOWN_MAX {
        text.push_str("      … and perhaps more\n");
    }
    text
}

/// How many lines of each are skipped until they are equal again.
fn next_equal(old: &[&str], new: &[&str]) -> (usize, usize) {
    for distance in 1..LOOK_AHEAD {
        for gone in 0..=distance {
            let come = distance - gone;
            if let (Some(one), Some(other)) = (old.get(gone), new.get(come))
                && one == other
            {
                return (gone, come);
            }
        }
    }
    (old.len(), new.len())
}

/// Writes long runs of one letter as `<<x*70000>>`.
pub fn shorten(text: &str) -> String {
    let mut short = String::new();
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        let count = rest.chars().take_while(|other| *other == letter).count();
        let (run, behind) = rest.split_at(count * letter.len_utf8());
        if count >= RUN_MIN {
            let _ = write!(short, "<<{letter}*{count}>>");
        } else {
            short.push_str(run);
        }
        rest = behind;
    }
    short
}

/// The other way round.
pub fn lengthen(text: &str) -> String {
    let mut long = String::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once("<<") {
        let (run, after) = behind.split_once(">>").expect("<<x*70000>>");
        let (letter, count) = run.rsplit_once('*').expect("<<x*70000>>");
        long.push_str(before);
        long.push_str(&letter.repeat(count.parse().expect("a number behind *")));
        rest = after;
    }
    long + rest
}

#[test]
fn a_diff_shows_what_changed_and_nothing_else() {
    assert_eq!(diff("a\nb\nc\nd\n", "a\nB\nc\nd\ne\n"), "    2 - b\n    2 + B\n    5 + e\n");
    assert_eq!(diff("a\nb\nc\n", "b\nc\n"), "    1 - a\n");
    assert_eq!(diff("a\n", "a\n"), "");
}

#[test]
fn runs_are_short_and_come_back() {
    let long = format!("a{}b", "x".repeat(700));
    assert_eq!(shorten(&long), "a<<x*700>>b");
    assert_eq!(lengthen(&shorten(&long)), long);
}
