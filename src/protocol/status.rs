//! What a server says about itself and the others.

use serde::{Deserialize, Serialize};

use super::{name::ServerId, rules::RulesVersion};

/// One server of the cluster, as another one sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerInfo {
    pub server_id: ServerId,
    /// The host clients reach it at.
    pub host: String,
    pub tcp_port: u16,
    /// Its place in the ring.
    pub ring_position: u32,
    /// Whether it is believed alive.
    pub alive: bool,
    pub is_leader: bool,
    /// Its client connections that are logged in, when it last told.
    pub clients: u64,
}

/// The servers of the cluster: answer to `server_list` and push when something changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerList {
    /// All configured servers, by ring position.
    pub servers: Vec<ServerInfo>,
    /// The leader, if it is known.
    pub leader_id: Option<ServerId>,
    pub term: u64,
    /// See [`Status::epoch`].
    #[serde(default)]
    pub epoch: u64,
}

/// What a server is in its cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// It leads, and a majority hears it.
    Leader,
    Follower,
    /// It asks for votes.
    Candidate,
    /// Its data does not count yet: it is being (re)built from the others.
    Learner,
    /// It has no data yet and waits for the first meeting of all configured servers.
    Forming,
}

impl Role {
    /// The role word of the text status. Only a leader's contains "leader".
    pub fn word(self) -> &'static str {
        match self {
            Role::Leader => "LEADER",
            Role::Follower => "FOLLOWER",
            Role::Candidate => "CANDIDATE",
            Role::Learner => "LEARNER",
            Role::Forming => "FORMING",
        }
    }
}

/// Why there was an election.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// No server had led yet, as far as the winner knew.
    Start,
    /// The leader's process was gone.
    LeaderDied,
    /// The leader was not heard any more.
    LeaderSilent,
    /// The leader had asked the winner to lead.
    Handover,
    /// The ring had not chosen a server in time.
    Timeout,
}

impl Cause {
    pub const ALL: [Cause; 5] =
        [Cause::Start, Cause::LeaderDied, Cause::LeaderSilent, Cause::Handover, Cause::Timeout];

    pub fn word(self) -> &'static str {
        match self {
            Cause::Start => "start",
            Cause::LeaderDied => "leader_died",
            Cause::LeaderSilent => "leader_silent",
            Cause::Handover => "handover",
            Cause::Timeout => "timeout",
        }
    }
}

/// Another server, as this one sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerStatus {
    pub server_id: ServerId,
    /// The host that peers reach it at.
    pub host: String,
    /// The base of its ports.
    pub port: u16,
    /// The host that clients are told.
    pub client_host: String,
    /// The port that clients are told.
    pub client_port: u16,
    /// Whether it is believed alive.
    pub alive: bool,
    /// Time since its last heartbeat; absent if none was ever heard.
    pub last_heartbeat_age_ms: Option<u64>,
    /// How far its log is known to match the leader's; only a leader knows.
    pub match_index: Option<u64>,
    /// How far its clock is ahead of this server's, as its last heartbeat said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_offset_ms: Option<i64>,
}

/// How far something is that takes a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// How much is done.
    pub done: u64,
    /// Of how much, as far as is known now.
    pub total: u64,
}

/// A server that an operator wants to lead.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WantedLeader {
    /// The server.
    pub server_id: ServerId,
    /// Until when, in seconds since the Unix epoch.
    pub until: f64,
}

/// The whole status of one server, the JSON form of section 6 of the contract.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    pub server_id: ServerId,
    pub role: Role,
    /// The leader, if it is known.
    pub leader_id: Option<ServerId>,
    pub term: u64,
    /// The life of the cluster's data: 1, and a greater number after each restore from a backup. The places
    /// of events never fall back within a life. In a new one they may, so clients forget what they have.
    #[serde(default)]
    pub epoch: u64,
    /// Its place in the ring.
    pub ring_position: u32,
    /// The last entry of its log.
    pub last_index: u64,
    /// The last entry it knows to be committed.
    pub commit_index: u64,
    /// The last entry it has applied.
    pub applied_index: u64,
    /// Seconds since it started.
    pub uptime: f64,
    /// Its client connections that are logged in.
    pub clients: u64,
    /// Messages in the replicated state.
    pub messages: u64,
    pub tcp_port: u16,
    /// Its server-to-server UDP port.
    pub udp_port: u16,
    /// All other servers of the cluster, by ring position, as this one knows them from its log.
    pub peers: Vec<PeerStatus>,
    /// What waits, in words; empty if all is well.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// The server that leads by an operator's word, whatever its place in the ring.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wanted_leader: Option<WantedLeader>,
    /// When `syncnet-admin` last made a backup of the cluster and found it whole, in seconds since the Unix
    /// epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_backup: Option<f64>,
    /// How far the index of searches is, while it is made anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub indexing: Option<Progress>,
    #[serde(default)]
    pub scrub: Scrub,
    /// The rules by which the cluster applies entries.
    #[serde(default)]
    pub rules: RulesVersion,
    /// The newest that this server's program knows.
    #[serde(default)]
    pub newest_rules: RulesVersion,
    pub version: String,
}

/// The reading of all data for damage, which a server does again and again beside its work, and what came of
/// that and of other reading.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Scrub {
    #[serde(flatten)]
    pub progress: ScrubProgress,
    /// Damage that was found since the start: each row once, and once what is more than single rows.
    pub damaged: u64,
    /// Those of them that were fetched from another server.
    pub repaired: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct ScrubProgress {
    /// Rows that the present reading has checked.
    pub rows: u64,
    /// Segments of the log that it has checked.
    pub segments: u64,
    /// When everything was last read, in seconds since the Unix epoch; `None` before that.
    pub ended: Option<f64>,
}

impl Status {
    /// Whether this server leads, or hears the one that does.
    pub fn hears_leader(&self) -> bool {
        let Some(leader_id) = &self.leader_id else { return false };
        self.role == Role::Leader || self.peers.iter().any(|peer| peer.server_id == *leader_id && peer.alive)
    }

    /// The answer to a bare `STATUS_REQUEST`: one line under 1,024 bytes with its line end.
    ///
    /// It contains the word "leader", in upper or lower case, only if this server leads. If the server's own
    /// id contains that word, the line breaks it up.
    pub fn line(&self) -> String {
        let id = |server_id: &ServerId| {
            let text = server_id.as_str();
            if text.to_ascii_lowercase().contains("leader") {
                format!("pos{}", self.ring_position)
            } else {
                text.into()
            }
        };
        let mut line = format!(
            "{} {} term={} uptime={:.1} clients={} messages={} tcp={} udp={} last={} commit={} applied={} version={}",
            id(&self.server_id),
            self.role.word(),
            self.term,
            self.uptime,
            self.clients,
            self.messages,
            self.tcp_port,
            self.udp_port,
            self.last_index,
            self.commit_index,
            self.applied_index,
            self.version,
        );
        if let (Some(leader_id), false) = (&self.leader_id, self.role == Role::Leader) {
            line.push_str(" following=");
            line.push_str(&id(leader_id));
        }
        line.push('\n');
        line
    }
}

#[cfg(test)]
impl PeerStatus {
    /// One of which nothing was heard, reached by all at this address, for tests to add to.
    pub fn unheard(server_id: ServerId, host: &str, port: u16) -> PeerStatus {
        PeerStatus {
            server_id,
            host: host.into(),
            port,
            client_host: host.into(),
            client_port: port,
            alive: false,
            last_heartbeat_age_ms: None,
            match_index: None,
            clock_offset_ms: None,
        }
    }
}

#[cfg(test)]
impl Status {
    /// That of a server alone which has done nothing yet, for tests to add to.
    pub fn empty(server_id: ServerId, role: Role) -> Status {
        Status {
            server_id,
            role,
            leader_id: None,
            term: 1,
            epoch: 1,
            ring_position: 0,
            last_index: 0,
            commit_index: 0,
            applied_index: 0,
            uptime: 0.0,
            clients: 0,
            messages: 0,
            tcp_port: 1,
            udp_port: 2,
            peers: Vec::new(),
            note: String::new(),
            wanted_leader: None,
            last_backup: None,
            indexing: None,
            rules: RulesVersion::FIRST,
            newest_rules: RulesVersion::FIRST,
            scrub: Scrub::default(),
            version: String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(server_id: &str, role: Role) -> Status {
        Status {
            server_id: ServerId::new(server_id).unwrap(),
            role,
            leader_id: ServerId::new("the-Leader"),
            term: u64::MAX,
            epoch: 1,
            ring_position: u32::MAX,
            last_index: u64::MAX,
            commit_index: u64::MAX,
            applied_index: u64::MAX,
            uptime: 41.8,
            clients: u64::MAX,
            messages: u64::MAX,
            tcp_port: 8002,
            udp_port: 8022,
            peers: vec![],
            note: String::new(),
            wanted_leader: None,
            last_backup: None,
            indexing: None,
            rules: RulesVersion::FIRST,
            newest_rules: RulesVersion::FIRST,
            scrub: Scrub::default(),
            version: "5.0.0".into(),
        }
    }

    #[test]
    fn only_a_leader_says_leader() {
        for role in [Role::Leader, Role::Follower, Role::Candidate, Role::Learner, Role::Forming] {
            let line = status(&"Leader-x".repeat(4), role).line();
            assert_eq!(line.to_ascii_lowercase().contains("leader"), role == Role::Leader, "{line}");
            assert!(line.len() < 1024 && line.ends_with('\n'));
        }
    }
}
