//! A short run of every fuzz target on examples and random changes of them. It is the same each time;
//! `SYNCNET_FUZZ_RUNS` sets how many changed examples each target is given.

mod targets;

use targets::{TARGETS, Target};

/// Changed examples of each target.
const RUNS: u64 = 20_000;

/// SplitMix64.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % end.max(1) as u64) as usize
    }
}

/// An example with a few bytes changed, cut out, repeated, or put in from another one.
fn mutate(chance: &mut Chance, examples: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = examples[chance.below(examples.len())].clone();
    for _ in 0..=chance.below(6) {
        let at = chance.below(bytes.len() + 1);
        match chance.below(6) {
            0 if at < bytes.len() => bytes[at] ^= 1 << chance.below(8),
            1 if at < bytes.len() => bytes[at] = b"\0\xff\"{}[]:,\\ \r\n0-"[chance.below(15)],
            2 => bytes.truncate(at),
            3 => bytes.insert(at, chance.below(256) as u8),
            4 => {
                let end = at + chance.below(bytes.len() - at + 1);
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
            _ => {
                let other = &examples[chance.below(examples.len())];
                let from = chance.below(other.len() + 1);
                bytes.splice(at..at, other[from..].iter().copied());
            }
        }
        bytes.truncate(8_192);
    }
    bytes
}

fn pass(target: &Target, runs: u64) {
    let examples = (target.examples)();
    examples.iter().for_each(|example| (target.run)(example));
    let mut chance = Chance(runs);
    for run in 0..runs {
        let bytes = mutate(&mut chance, &examples);
        let outcome = std::panic::catch_unwind(|| (target.run)(&bytes));
        assert!(outcome.is_ok(), "{}: run {run} does not come back from {bytes:?}", target.name);
    }
}

#[test]
fn no_target_is_upset_by_changed_examples() {
    let runs = std::env::var("SYNCNET_FUZZ_RUNS").map_or(RUNS, |runs| runs.parse().expect("a number"));
    for target in &TARGETS {
        // Each of these opens a storage or asks a database, which takes longer.
        let is_slow = ["search", "stored_entry"].contains(&target.name);
        pass(target, if is_slow { runs / 10 } else { runs });
    }
}

#[test]
fn a_panic_would_be_noticed() {
    let upset = |data: &[u8]| assert!(!data.contains(&0xff), "upset");
    let target = Target { name: "upset", run: upset, examples: || vec![vec![1, 2, 3]] };
    std::panic::catch_unwind(|| pass(&target, 2_000)).expect_err("the change that upsets it is found");
}
