//! Requests about the servers themselves.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use serde_json::value::RawValue;

use thiserror::Error;

use crate::protocol::{
    directory::{ChangeError, ServerChange, ServerEntry},
    name::ServerId,
    object::Text,
};

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

/// Lists the servers as the log has them, for those who look after the cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Servers {}

/// Asks what a change of the servers would do, and whether it would be made now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "ChangeFields", into = "ChangeFields")]
pub struct PlanServers {
    pub change: ServerChange,
}

/// Changes the servers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "ChangeFields", into = "ChangeFields")]
pub struct ChangeServers {
    pub change: ServerChange,
}

/// A change as it is asked for: which fields there are depends on the change.
#[derive(Debug, Serialize, Deserialize)]
struct ChangeFields {
    change: Cow<'static, str>,
    server_id: ServerId,
    /// For a `replace`: the server that goes.
    replaces: Option<ServerId>,
    /// For an `add` or a `replace`: where the new server is.
    host: Option<String>,
    port: Option<u16>,
    ring_position: Option<u32>,
    client_host: Option<String>,
    client_port: Option<u16>,
}

/// The fields do not make a change.
#[derive(Debug, Error)]
enum NoChange {
    #[error("{0} is missing")]
    Missing(&'static str),
    #[error(transparent)]
    Server(#[from] ChangeError),
    #[error("change must be add, remove, replace, drain or undrain")]
    Word,
}

impl TryFrom<ChangeFields> for ServerChange {
    type Error = NoChange;

    fn try_from(fields: ChangeFields) -> Result<ServerChange, NoChange> {
        let ChangeFields { change, server_id, replaces, host, port, ring_position, client_host, client_port } =
            fields;
        let server = |server_id| -> Result<ServerEntry, NoChange> {
            let server = ServerEntry {
                server_id,
                host: host.ok_or(NoChange::Missing("host"))?,
                port: port.ok_or(NoChange::Missing("port"))?,
                ring_position: ring_position.ok_or(NoChange::Missing("ring_position"))?,
                client_host,
                client_port,
            };
            server.check()?;
            Ok(server)
        };
        Ok(match &*change {
            "add" => ServerChange::Add(server(server_id)?),
            "replace" => ServerChange::Replace {
                old: replaces.ok_or(NoChange::Missing("replaces"))?,
                new: server(server_id)?,
            },
            "remove" => ServerChange::Remove(server_id),
            "drain" | "undrain" => ServerChange::Drain { server_id, drained: change == "drain" },
            _ => return Err(NoChange::Word),
        })
    }
}

impl From<ServerChange> for ChangeFields {
    fn from(change: ServerChange) -> ChangeFields {
        let fields = |change: &'static str, server_id| ChangeFields {
            change: change.into(),
            server_id,
            replaces: None,
            host: None,
            port: None,
            ring_position: None,
            client_host: None,
            client_port: None,
        };
        let with = |change, replaces, server: ServerEntry| {
            let ServerEntry { server_id, host, port, ring_position, client_host, client_port } = server;
            ChangeFields {
                replaces,
                host: Some(host),
                port: Some(port),
                ring_position: Some(ring_position),
                client_host,
                client_port,
                ..fields(change, server_id)
            }
        };
        match change {
            ServerChange::Add(new) => with("add", None, new),
            ServerChange::Replace { old, new } => with("replace", Some(old), new),
            ServerChange::Remove(server_id) => fields("remove", server_id),
            ServerChange::Drain { server_id, drained: true } => fields("drain", server_id),
            ServerChange::Drain { server_id, drained: false } => fields("undrain", server_id),
        }
    }
}

macro_rules! change_is_flat {
    ($($request:ident)+) => {
        $(impl TryFrom<ChangeFields> for $request {
            type Error = NoChange;

            fn try_from(fields: ChangeFields) -> Result<$request, NoChange> {
                ServerChange::try_from(fields).map(|change| $request { change })
            }
        }

        impl From<$request> for ChangeFields {
            fn from(request: $request) -> ChangeFields {
                request.change.into()
            }
        })+
    };
}
change_is_flat! { PlanServers ChangeServers }
