//! (being written by the election's author: the failure detector; `View` is what it tells the replica)

use std::collections::BTreeMap;

use crate::protocol::{name::ServerId, peer::DataMark};

/// What this server believes of the others, and a copy of their last heartbeats.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct View {
    /// All configured servers but this one.
    pub peers: BTreeMap<ServerId, PeerView>,
}

/// What this server believes of another.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PeerView {
    /// Whether it is believed alive.
    pub alive: bool,
    /// Since when without a break, on the monotonic clock.
    pub alive_since_ms: Option<u64>,
    /// When its last heartbeat came.
    pub last_heartbeat_ms: Option<u64>,
    /// The term it leads in, where it claimed to lead.
    pub leads_term: Option<u64>,
    /// Its client connections.
    pub clients: u64,
    /// What its data is.
    pub data: Option<DataMark>,
}
