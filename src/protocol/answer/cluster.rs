//! Answers to requests about the servers themselves. The list of servers and the status are in
//! [`status`](crate::protocol::status).

use serde::{Deserialize, Deserializer, Serialize, Serializer, ser::Error as _};
use serde_json::{Map, Value, value::RawValue};

use crate::protocol::{directory::Majority, name::ServerId};

/// The answer to `ping`: what the ping held, but for `for`, which belongs to the answer.
#[derive(Debug, Clone)]
pub struct Pong {
    data: Box<RawValue>,
}

impl Pong {
    /// The answer to a ping that holds the object `data`.
    pub fn new(data: Box<RawValue>) -> Pong {
        Pong { data }
    }

    /// The length of its data as it was written, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.data.get().len()
    }
}

impl Serialize for Pong {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // By way of values: the answer has the server's spelling of JSON, not the client's.
        let mut data: Map<String, Value> = serde_json::from_str(self.data.get()).map_err(S::Error::custom)?;
        data.remove("for");
        data.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Pong {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Pong, D::Error> {
        Box::deserialize(deserializer).map(Pong::new)
    }
}

/// The connection, or the request, is to go to another server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redirect {
    /// The host of the other server.
    pub host: String,
    /// Why, in one sentence.
    #[serde(default)]
    pub reason: String,
    pub server_id: ServerId,
    pub tcp_port: u16,
}

/// The answer to `servers`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerTable {
    /// Who of those that vote lives.
    pub majority: Majority,
    /// By ring position.
    pub servers: Vec<ServerRow>,
    /// The log entry that made them so; 0 if they are those of the configuration files.
    pub version: u64,
}

/// A line of `servers`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerRow {
    /// Whether it is believed alive.
    pub alive: bool,
    /// The host that clients are told.
    pub client_host: String,
    /// The port that clients are told.
    pub client_port: u16,
    /// Whether it gives its clients and the lead away.
    pub drained: bool,
    /// The host that peers reach it at.
    pub host: String,
    /// Whether it leads.
    pub is_leader: bool,
    /// The base of its ports.
    pub port: u16,
    pub ring_position: u32,
    pub server_id: ServerId,
    /// `votes`, `joins`, `leaves`, or `is replaced`.
    pub state: String,
}

/// The answer to `plan_servers`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerPlan {
    /// Who votes when it is done, and who of them lives.
    pub after: Majority,
    /// Who votes now, and who of them lives.
    pub before: Majority,
    /// Why it would not be done now; absent if it would.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
    /// What would be done, in one sentence.
    pub says: String,
}

/// The answer to `change_servers`: it is under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServersChanged {
    /// The log entry that says so.
    pub version: u64,
}
