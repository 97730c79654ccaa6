//! One server on the page.

use serde::Serialize;

use super::content::Heard;
use crate::protocol::name::ServerId;

/// A configured server. What is not known of it is left out.
#[derive(Debug, Serialize)]
pub struct Row {
    pub server_id: ServerId,
    pub host: String,
    pub port: u16,
    pub ring_position: u32,
    /// `OFFLINE` if it is not heard.
    pub role: &'static str,
    /// How long ago its last heartbeat came; none of the server that was asked.
    pub heartbeat_age_ms: Option<u64>,
    /// How many entries it is behind the leader, as the leader says.
    pub lag: Option<u64>,
    /// How many entries it lacks of those that were committed a while ago, [`super::content::LATE_MS`].
    #[serde(skip)]
    pub late: u64,
    /// From its last report; `None` if there is none, or if it is not heard now.
    #[serde(flatten)]
    pub told: Option<SelfReport>,
}

/// The parts of a server's report that the page shows.
#[derive(Debug, Serialize)]
pub struct SelfReport {
    pub term: u64,
    last_index: u64,
    commit_index: u64,
    applied_index: u64,
    clients: u64,
    uptime_ms: u64,
    messages_per_s: f64,
    commits_per_s: f64,
    pub commit_ms: Option<f64>,
    memory_bytes: u64,
    data_bytes: u64,
    pub disk_bytes: u64,
    pub disk_free_bytes: u64,
    pub note: String,
    pub version: String,
}

/// The role of a server that is not heard.
pub const OFFLINE: &str = "OFFLINE";

impl From<&Heard> for SelfReport {
    fn from(heard: &Heard) -> SelfReport {
        let (report, pace) = (&heard.report, heard.pace);
        SelfReport {
            term: report.term,
            last_index: report.last_index,
            commit_index: report.commit_index,
            applied_index: report.applied_index,
            clients: report.clients,
            uptime_ms: report.uptime_ms,
            messages_per_s: pace.messages_per_s,
            commits_per_s: pace.commits_per_s,
            commit_ms: pace.commit_ms,
            memory_bytes: report.memory_bytes,
            data_bytes: report.data_bytes,
            disk_bytes: report.disk_bytes,
            disk_free_bytes: report.disk_free_bytes,
            note: report.note.clone(),
            version: report.version.clone(),
        }
    }
}
