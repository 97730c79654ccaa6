//! Requests about the servers themselves.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use serde_json::value::RawValue;

use crate::protocol::json::object::Text;

/// Lists the servers. `client_discovery` asks the same.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ListServers {}

/// Asks for this server's status as JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AskStatus {}

/// A request that is answered with the same data.
#[derive(Debug, Clone)]
pub struct Ping {
    barrier: bool,
    data: Box<RawValue>,
}

impl Ping {
    /// A ping that the server answers only when it has applied everything that was committed before it on any
    /// server.
    pub fn with_barrier() -> Ping {
        let data = RawValue::from_string(r#"{"barrier":true}"#.into()).expect("an object");
        Ping { barrier: true, data }
    }

    /// Whether it waits for that.
    pub fn has_barrier(&self) -> bool {
        self.barrier
    }

    /// The length of its data as it was written, in bytes.
    pub fn bytes(&self) -> usize {
        self.data.get().len()
    }

    /// The object to give back, `barrier` included.
    pub fn into_data(self) -> Box<RawValue> {
        self.data
    }
}

impl Default for Ping {
    fn default() -> Ping {
        Ping { barrier: false, data: RawValue::from_string("{}".into()).expect("an object") }
    }
}

impl PartialEq for Ping {
    fn eq(&self, other: &Ping) -> bool {
        self.data.get() == other.data.get()
    }
}

impl Serialize for Ping {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.data.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Ping {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Ping, D::Error> {
        #[derive(Deserialize)]
        struct Fields {
            #[serde(default)]
            barrier: bool,
        }
        let data = Box::<RawValue>::deserialize(deserializer)?;
        let Fields { barrier } = Fields::deserialize(Text(&data)).map_err(D::Error::custom)?;
        Ok(Ping { barrier, data })
    }
}
