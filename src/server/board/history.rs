//! The last hour, in samples.

use std::collections::{BTreeMap, VecDeque};

use serde::Serialize;

use crate::{protocol::name::ServerId, replica::io::Now};

/// Time between two samples.
pub const SAMPLE_MS: u64 = 10_000;
/// Samples of an hour.
const SAMPLES: usize = 360;

/// The samples, the newest last.
#[derive(Debug, Default)]
pub struct History {
    samples: VecDeque<Sample>,
    next_ms: u64,
}

/// The servers at one moment; those that were not heard are missing.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Sample {
    /// On the wall clock.
    pub at_ms: u64,
    pub servers: BTreeMap<ServerId, Point>,
}

/// A server at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Point {
    pub messages_per_s: f64,
    pub commit_ms: Option<f64>,
    pub clients: u64,
    pub memory_bytes: u64,
}

impl History {
    /// Whether [`SAMPLE_MS`] have passed since the last sample.
    pub fn is_due(&self, now: Now) -> bool {
        now.mono_ms >= self.next_ms
    }

    /// Adds a sample of now.
    pub fn take(&mut self, now: Now, servers: BTreeMap<ServerId, Point>) {
        self.next_ms = now.mono_ms + SAMPLE_MS;
        if self.samples.len() == SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back(Sample { at_ms: now.wall_ms, servers });
    }

    /// The samples that are newer than `at_ms`.
    pub fn since(&self, at_ms: u64) -> Vec<&Sample> {
        self.samples.iter().filter(|sample| sample.at_ms > at_ms).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_is_kept_and_no_more() {
        let mut history = History::default();
        for sample in 0..1_000 {
            let now = Now { mono_ms: sample * SAMPLE_MS, wall_ms: sample * SAMPLE_MS };
            assert!(history.is_due(now));
            history.take(now, BTreeMap::new());
            assert!(!history.is_due(now));
        }
        assert_eq!(history.since(0).len(), SAMPLES);
        assert_eq!(history.since(997 * SAMPLE_MS).len(), 2);
    }
}
