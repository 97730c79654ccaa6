//! What servers say to each other by datagram: heartbeats, ring tokens, leader announcements.
//!
//! Plain data; `seal` makes the bytes and proves who said them and when. Datagrams may be lost, doubled
//! or overtaken, and none of them decides anything: they start at most a rate-limited campaign.

use serde::{Deserialize, Serialize};

use super::{
    name::ServerId,
    peer::{DataMark, LogMark, NodeId},
};

/// One run of one incarnation of a server; no two runs have the same value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Run {
    pub node_id: NodeId,
    /// The number of the run; it grows with every start, not always by one.
    pub boot: u64,
}

impl From<&DataMark> for Run {
    fn from(data: &DataMark) -> Run {
        Run { node_id: data.node_id, boot: data.boot }
    }
}

/// One datagram between servers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Datagram {
    /// "I live." To all servers, every `Timing::heartbeat_ms`, and at once when what it says about leading or
    /// voting changes.
    Heartbeat(Heartbeat),
    /// A token on its way round the ring.
    Token(Token),
    /// "Your token is here"; without it the token is sent again.
    Receipt(Receipt),
    /// "I lead", ahead of the next heartbeat. To all servers.
    Announce(Announce),
}

/// What a server says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Its place in the ring by its own configuration. Others use their own configuration; they report a
    /// difference as an operator's mistake.
    pub ring_position: u32,
    pub data: DataMark,
    /// The term it leads in, if it leads.
    pub leads_term: Option<u64>,
    /// Whether it takes part in elections; not while it forms, learns or is in quarantine.
    pub votes: bool,
    pub clients: u64,
    pub tcp_port: u16,
    /// What its wall clock shows, milliseconds since the Unix epoch.
    pub wall_ms: u64,
}

/// How fit a server is to lead; the highest is elected. The log comes first, because a server whose log is
/// behind does not get the votes; the ring position decides between equal logs, the usual case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Rank {
    /// How far its synced log is.
    pub log: LogMark,
    /// Its place in the ring.
    pub ring_position: u32,
}

/// A candidacy on its way round the ring (Le Lann 1977; Chang and Roberts 1979).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    pub initiator: ServerId,
    /// The initiator's run: a token of an earlier run elects no server.
    pub run: Run,
    /// The initiator's rank as it sent the token.
    pub rank: Rank,
    /// Counts the initiator's rounds within its run.
    pub round: u64,
    /// The term the initiator knew.
    pub term: u64,
    /// The servers that have had it, in order, the initiator first. No server is in it twice.
    pub visited: Vec<ServerId>,
    /// Whether it goes back along its path, because its last holder cannot reach the initiator.
    pub returning: bool,
}

/// Says that a token arrived.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    pub initiator: ServerId,
    pub round: u64,
    /// How many servers had had it when it was sent.
    pub hops: usize,
    /// Whether it was on its way back.
    pub returning: bool,
}

/// Says that the sender leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announce {
    /// The term it leads in.
    pub term: u64,
}
