//! The last hour, in samples.

use std::collections::{BTreeMap, VecDeque};

use serde::Serialize;

use super::{Content, HEARD_MS};
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
    messages_per_s: f64,
    commit_ms: Option<f64>,
    clients: u64,
    memory_bytes: u64,
}

impl History {
    /// The samples that are newer than `at_ms`.
    pub fn since(&self, at_ms: u64) -> Vec<&Sample> {
        self.samples.iter().filter(|sample| sample.at_ms > at_ms).collect()
    }
}

impl Content {
    /// Takes a sample, if [`SAMPLE_MS`] have passed.
    pub fn sample(&mut self, now: Now) {
        if now.mono_ms < self.history.next_ms {
            return;
        }
        self.history.next_ms = now.mono_ms + SAMPLE_MS;
        let heard = self.reports.iter().filter(|(_, heard)| now.mono_ms < heard.at_ms + HEARD_MS);
        let points = heard.map(|(server_id, heard)| {
            let point = Point {
                messages_per_s: heard.pace.messages_per_s,
                commit_ms: heard.pace.commit_ms,
                clients: heard.report.clients,
                memory_bytes: heard.report.memory_bytes,
            };
            (server_id.clone(), point)
        });
        let sample = Sample { at_ms: now.wall_ms, servers: points.collect() };
        if self.history.samples.len() == SAMPLES {
            self.history.samples.pop_front();
        }
        self.history.samples.push_back(sample);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        protocol::status::Role,
        server::board::tests::{id, report},
    };

    #[test]
    fn an_hour_is_kept_and_no_more() {
        let mut content = Content::default();
        for sample in 0..1_000 {
            let ms = sample * SAMPLE_MS;
            content.hear(ms, id("a"), report(Role::Leader, ms, sample));
            content.sample(Now { mono_ms: ms, wall_ms: ms });
        }
        assert_eq!(content.history.since(0).len(), SAMPLES);
        assert_eq!(content.history.since(997 * SAMPLE_MS).len(), 2);
    }

    #[test]
    fn a_server_that_is_not_heard_has_no_point() {
        let mut content = Content::default();
        content.hear(0, id("a"), report(Role::Leader, 0, 0));
        content.hear(HEARD_MS, id("b"), report(Role::Follower, 0, 0));
        content.sample(Now { mono_ms: HEARD_MS, wall_ms: 5 });
        let samples = content.history.since(0);
        assert_eq!(samples[0].servers.keys().collect::<Vec<_>>(), [&id("b")]);
    }
}
