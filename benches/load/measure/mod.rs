//! The measurements. Their load comes over the public protocol from raw sockets, without the client library,
//! so that the figures are the servers' and not the library's. All loops are closed: a writer sends its next
//! message when the last one was acknowledged, so latency is never hidden in a growing queue of the bench
//! itself. The bench shares the machine with the servers it measures; its own cost counts against them.
//!
//! Rooms and users are named after the run, because messages stay in the cluster for ever.

pub mod body;
pub mod compare;
pub mod connection;
pub mod failover;
pub mod failure;
pub mod fanout;
pub mod growth;
pub mod idle;
pub mod jetstream;
pub mod latency;
pub mod local_cluster;
pub mod poller;
pub mod report;
pub mod writers;

use std::time::Duration;

use syncnet::admin::{probe, target::Target};

use self::body::Bodies;

/// What all measurements of one run share.
#[derive(Debug, Clone)]
pub struct Run {
    /// The servers; load is spread over them in turn.
    pub targets: Vec<Target>,
    /// Names this run's rooms and users, so that no run meets what an earlier one left behind.
    pub name: String,
    /// Load before the measuring begins, in each measurement.
    pub warm_up: Duration,
    /// How long each measurement takes.
    pub duration: Duration,
    pub bodies: Bodies,
}

impl Run {
    /// A run against `targets` with a fresh random name.
    pub fn new(targets: Vec<Target>, warm_up: Duration, duration: Duration, bodies: Bodies) -> Run {
        Run { targets, name: fresh_name(), warm_up, duration, bodies }
    }

    /// The server for the `number`th connection.
    fn target(&self, number: usize) -> &Target {
        &self.targets[number % self.targets.len()]
    }
}

/// A short random name.
fn fresh_name() -> String {
    let number = getrandom::u32().expect("the operating system gives random numbers");
    format!("bench-{number:08x}")
}

/// The highest term that any server knows; a difference over a measurement means that there was an election.
fn term(targets: &[Target]) -> u64 {
    let seen = probe::ask_all(targets, Duration::from_secs(2));
    seen.iter().filter_map(|seen| seen.outcome.as_ref().ok()).map(|status| status.term).max().unwrap_or(0)
}

/// The note of a report about elections during it.
fn election_note(before: u64, after: u64) -> String {
    if before == after {
        format!("no election: term {before} throughout")
    } else {
        format!("ELECTIONS happened: term {before} before, {after} after")
    }
}
