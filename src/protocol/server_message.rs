//! What a client hears: the lines of a server, read back into values.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    envelope::{Envelope, RequestId},
    event::Event,
    refusal::{Code, Refusal},
    status::{ServerList, Status},
};

/// A line from a server.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerMessage {
    /// Who says it: a server, or the author of an event.
    pub sender_id: String,
    /// The sender's Lamport clock, or the event's timestamp.
    pub lamport_timestamp: u64,
    /// The request it answers, where the request had an id.
    pub request_id: Option<RequestId>,
    /// The `msg_type` of the request it answers, where it answers one.
    pub answers: Option<String>,
    /// What it says.
    pub content: Content,
}

/// What a line from a server says.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// Done. The fields depend on the request.
    Ack(Map<String, Value>),
    /// Not done.
    Nack(Refusal),
    /// Something happened in a room: pushed.
    Event(Box<Event>),
    /// A page of events.
    History {
        /// The events, oldest first.
        events: Vec<Event>,
        /// The newest event of the room.
        last_seq: u64,
        /// Whether there are more in the direction asked for.
        more: bool,
        /// The room.
        room: String,
    },
    /// The servers: asked for, or pushed.
    ServerList(ServerList),
    /// This connection is to move.
    Redirect {
        /// The server to move to.
        server_id: String,
        /// Its host.
        host: String,
        /// Its client port.
        tcp_port: u16,
        /// Why.
        reason: String,
    },
    /// A server's status.
    Status(Box<Status>),
    /// Answers whose fields the caller reads itself: `rooms`, `members`, `pong`, and what later versions say.
    Other {
        /// The `msg_type`.
        msg_type: String,
        /// Its fields.
        data: Map<String, Value>,
    },
}

impl ServerMessage {
    /// Reads one line. The error is a sentence that names what could not be read.
    ///
    /// A client trusts a server's line to be long: no limit of nesting but the parser's own.
    pub fn parse(line: &[u8]) -> Result<ServerMessage, String> {
        let envelope = Envelope::parse(line).map_err(|bad| bad.refusal.to_string())?;
        let Envelope { msg_type, sender_id, mut data, lamport_timestamp, request_id } = envelope;
        let answers = match data.get("for") {
            Some(Value::String(asked)) => Some(asked.clone()),
            _ => None,
        };
        let content = match msg_type.as_str() {
            "ack" => Content::Ack(data),
            "nack" => Content::Nack(nack(&data)?),
            "chat" | "room_event" => Content::Event(Box::new(read(&msg_type, data)?)),
            "history" => Content::History {
                events: read(&msg_type, data.remove("events").unwrap_or_default())?,
                last_seq: data.get("last_seq").and_then(Value::as_u64).unwrap_or(0),
                more: data.get("more").and_then(Value::as_bool).unwrap_or(false),
                room: data.get("room").and_then(Value::as_str).unwrap_or_default().to_owned(),
            },
            "server_list" => Content::ServerList(read(&msg_type, data)?),
            "status" => Content::Status(Box::new(read(&msg_type, data)?)),
            "redirect" => Content::Redirect {
                server_id: text(&data, "server_id"),
                host: text(&data, "host"),
                tcp_port: data
                    .get("tcp_port")
                    .and_then(Value::as_u64)
                    .and_then(|port| port.try_into().ok())
                    .unwrap_or(0),
                reason: text(&data, "reason"),
            },
            _ => Content::Other { msg_type, data },
        };
        Ok(ServerMessage {
            sender_id: sender_id.unwrap_or_default(),
            lamport_timestamp,
            request_id,
            answers,
            content,
        })
    }
}

fn text(data: &Map<String, Value>, field: &str) -> String {
    data.get(field).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn read<T: for<'de> Deserialize<'de>>(msg_type: &str, data: impl Into<Value>) -> Result<T, String> {
    serde_json::from_value(data.into()).map_err(|error| format!("{msg_type}: {error}"))
}

fn nack(data: &Map<String, Value>) -> Result<Refusal, String> {
    let code: Code = read("nack", data.get("code").cloned().unwrap_or_default())?;
    Ok(Refusal {
        code,
        reason: text(data, "reason"),
        retry_after_ms: data.get("retry_after_ms").and_then(Value::as_u64),
    })
}
