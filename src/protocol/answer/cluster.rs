//! Answers to requests about the servers themselves. The list of servers and the status are in
//! [`status`](crate::protocol::status).

use serde::{Deserialize, Deserializer, Serialize, Serializer, ser::Error as _};
use serde_json::{Map, Value, value::RawValue};

use crate::protocol::name::ServerId;

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
