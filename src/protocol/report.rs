//! What a server tells the others of itself every second, for people who look at the cluster.
//!
//! Nothing is decided by it: a report that is lost or late is only seen to be old.

use serde::{Deserialize, Serialize};

use super::{
    name::ServerId,
    status::{Cause, Role},
};

/// A server, as it sees itself. What is counted is counted since it started.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    pub role: Role,
    pub term: u64,
    /// The last entry of its log.
    pub last_index: u64,
    /// The last entry that it knows to be committed.
    pub commit_index: u64,
    /// The last entry that it has applied.
    pub applied_index: u64,
    /// Of a leader: how many entries each of the others is behind its log.
    pub behind: Vec<(ServerId, u64)>,
    /// The last term in which it led, and why there was an election.
    pub elected: Option<(u64, Cause)>,
    /// What waits, in words.
    pub note: String,
    /// Connections that are logged in.
    pub clients: u64,
    /// For how long it has run, in milliseconds.
    pub uptime_ms: u64,
    /// Messages that it has applied.
    pub messages: u64,
    /// Commands of its clients that were committed.
    pub commits: u64,
    /// How long these took altogether, in microseconds.
    pub commits_us: u64,
    /// Its resident memory; 0 if the system does not tell.
    pub memory_bytes: u64,
    /// Its database and its write-ahead log.
    pub data_bytes: u64,
    /// The disk that these are on.
    pub disk_bytes: u64,
    pub disk_free_bytes: u64,
    pub version: String,
}
