//! Requests: what a client can ask, read from an envelope and checked field by field.

use serde_json::{Map, Value};

use super::{
    envelope::Envelope,
    limits::{CLIENT_MSG_ID_BYTES, HISTORY_DEFAULT, HISTORY_MAX, Limits},
    name::{RoomName, UserName},
    refusal::{Code, Refusal},
};

/// A well-formed request. Whether it is allowed is decided later.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    /// Log this connection in.
    Login {
        /// The name to go by.
        username: UserName,
    },
    /// Become a member of a room, creating it where it does not exist, and follow it on this connection.
    CreateJoin {
        /// The room.
        room: RoomName,
        /// Resume: the last `seq` the client has.
        after: Option<u64>,
        /// Without `after`: how many of the last events to give.
        history: usize,
    },
    /// Stop being a member.
    Leave {
        /// The room.
        room: RoomName,
    },
    /// Say something in a room.
    Chat {
        /// The room.
        room: RoomName,
        /// The text.
        body: String,
        /// The sender's own name for this message; without it the send is not protected against doubling.
        client_msg_id: Option<String>,
        /// The `seq` of the message it answers.
        reply_to: Option<u64>,
        /// The `client_msg_id` of the connection's message before it: where that was refused for load, so
        /// is this one.
        follows: Option<String>,
    },
    /// Read events of a room.
    History {
        /// The room.
        room: RoomName,
        /// From where, and in which direction.
        range: HistoryRange,
        /// At most so many events.
        limit: usize,
    },
    /// List the rooms.
    Rooms,
    /// List a room's members.
    Members {
        /// The room.
        room: RoomName,
    },
    /// List the servers (`client_discovery` asks the same).
    ServerList,
    /// This server's status as JSON.
    Status,
    /// Answer with the same data.
    Ping {
        /// Only once everything committed anywhere before has been applied here.
        barrier: bool,
        /// Given back as it is.
        data: Map<String, Value>,
    },
}

/// Which part of a room's history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HistoryRange {
    /// The newest.
    Last,
    /// The newest of those below this `seq`.
    Before(u64),
    /// The oldest of those above this `seq`.
    After(u64),
}

impl Request {
    /// Reads the request out of its envelope.
    pub fn parse(envelope: &Envelope, limits: &Limits) -> Result<Request, Refusal> {
        let fields = Fields(&envelope.data);
        Ok(match envelope.msg_type.as_str() {
            "login" => Request::Login { username: fields.name("username", UserName::new)? },
            "create_join" => Request::CreateJoin {
                room: fields.room()?,
                after: fields.optional_integer("after")?,
                history: fields.count("history", 0)?,
            },
            "leave" => Request::Leave { room: fields.room()? },
            "chat" => Request::Chat {
                room: fields.room()?,
                body: fields.body(limits)?,
                client_msg_id: fields.client_msg_id("client_msg_id")?,
                follows: fields.client_msg_id("follows")?,
                reply_to: fields.optional_integer("reply_to")?,
            },
            "history" => Request::History {
                room: fields.room()?,
                range: fields.range()?,
                limit: fields.count("limit", 1)?,
            },
            "rooms" => Request::Rooms,
            "members" => Request::Members { room: fields.room()? },
            "server_list" | "client_discovery" => Request::ServerList,
            "status_request" => Request::Status,
            "ping" => Request::Ping { barrier: fields.flag("barrier")?, data: envelope.data.clone() },
            other => {
                let shown: String = other.chars().take(40).collect();
                return Err(Refusal::new(Code::UnknownType, format!("no request is called {shown:?}")));
            }
        })
    }

    /// Whether it changes replicated state, and so is answered in the order it was sent.
    pub fn is_write(&self) -> bool {
        matches!(self, Request::CreateJoin { .. } | Request::Leave { .. } | Request::Chat { .. })
    }

    /// Whether it needs to know who asks.
    pub fn needs_login(&self) -> bool {
        !matches!(self, Request::Login { .. } | Request::ServerList | Request::Status | Request::Ping { .. })
    }
}

/// The `data` of a request, read field by field; each error names its field.
struct Fields<'a>(&'a Map<String, Value>);

impl Fields<'_> {
    fn get(&self, field: &str) -> Option<&Value> {
        self.0.get(field).filter(|value| !value.is_null())
    }

    fn optional_text(&self, field: &str) -> Result<Option<&str>, Refusal> {
        match self.get(field) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(Refusal::bad_request(format!("{field} must be a string"))),
        }
    }

    fn text(&self, field: &str) -> Result<&str, Refusal> {
        self.optional_text(field)?.ok_or_else(|| Refusal::bad_request(format!("{field} is missing")))
    }

    fn flag(&self, field: &str) -> Result<bool, Refusal> {
        match self.get(field) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(_) => Err(Refusal::bad_request(format!("{field} must be true or false"))),
        }
    }

    fn optional_integer(&self, field: &str) -> Result<Option<u64>, Refusal> {
        match self.get(field) {
            None => Ok(None),
            Some(value) => {
                value.as_u64().filter(|&number| i64::try_from(number).is_ok()).map(Some).ok_or_else(|| {
                    Refusal::bad_request(format!("{field} must be an unsigned integer below 2^63"))
                })
            }
        }
    }

    fn name<N>(&self, field: &str, check: fn(&str) -> Option<N>) -> Result<N, Refusal> {
        check(self.text(field)?)
            .ok_or_else(|| Refusal::bad_request(format!("{field} must be 1 to 32 of A-Z a-z 0-9 _ . -")))
    }

    fn room(&self) -> Result<RoomName, Refusal> {
        self.name("room", RoomName::new)
    }

    fn body(&self, limits: &Limits) -> Result<String, Refusal> {
        let body = self.text("body")?;
        if body.is_empty() {
            return Err(Refusal::bad_request("body is empty"));
        }
        if body.len() > limits.body_bytes {
            let reason = format!("body has {} bytes; at most {} are allowed", body.len(), limits.body_bytes);
            return Err(Refusal::new(Code::TooLarge, reason));
        }
        if body.contains('\0') {
            return Err(Refusal::bad_request("body contains a NUL character"));
        }
        Ok(body.to_owned())
    }

    fn client_msg_id(&self, field: &str) -> Result<Option<String>, Refusal> {
        match self.optional_text(field)? {
            None => Ok(None),
            Some(id) if (1..=CLIENT_MSG_ID_BYTES).contains(&id.len()) => Ok(Some(id.to_owned())),
            Some(_) => Err(Refusal::bad_request(format!("{field} must have 1 to 64 bytes"))),
        }
    }

    fn count(&self, field: &str, least: usize) -> Result<usize, Refusal> {
        match self.optional_integer(field)? {
            None => Ok(HISTORY_DEFAULT),
            Some(count) => usize::try_from(count)
                .ok()
                .filter(|count| (least..=HISTORY_MAX).contains(count))
                .ok_or_else(|| Refusal::bad_request(format!("{field} must be {least} to {HISTORY_MAX}"))),
        }
    }

    fn range(&self) -> Result<HistoryRange, Refusal> {
        match (self.optional_integer("before")?, self.optional_integer("after")?) {
            (None, None) => Ok(HistoryRange::Last),
            (Some(seq), None) => Ok(HistoryRange::Before(seq)),
            (None, Some(seq)) => Ok(HistoryRange::After(seq)),
            (Some(_), Some(_)) => Err(Refusal::bad_request("give before or after, not both")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(msg_type: &str, data: &str) -> Result<Request, Refusal> {
        let line = format!(r#"{{"msg_type":"{msg_type}","data":{data}}}"#);
        Request::parse(&Envelope::parse(line.as_bytes()).unwrap(), &Limits::default())
    }

    #[test]
    fn defaults_are_those_of_the_contract() {
        let Ok(Request::CreateJoin { after: None, history: 50, .. }) =
            parse("create_join", r#"{"room":"a"}"#)
        else {
            panic!("create_join with defaults")
        };
        let Ok(Request::History { range: HistoryRange::Last, limit: 50, .. }) =
            parse("history", r#"{"room":"a"}"#)
        else {
            panic!("history with defaults")
        };
    }

    #[test]
    fn every_bad_field_is_named() {
        for (msg_type, data, field) in [
            ("login", r#"{}"#, "username"),
            ("create_join", r#"{"room":"a b"}"#, "room"),
            ("create_join", r#"{"room":"a","after":-1}"#, "after"),
            ("create_join", r#"{"room":"a","after":9223372036854775808}"#, "after"),
            ("create_join", r#"{"room":"a","history":501}"#, "history"),
            ("chat", r#"{"room":"a"}"#, "body"),
            ("chat", r#"{"room":"a","body":""}"#, "body"),
            ("chat", r#"{"room":"a","body":"\u0000"}"#, "body"),
            ("chat", r#"{"room":"a","body":"x","client_msg_id":""}"#, "client_msg_id"),
            ("chat", r#"{"room":"a","body":"x","client_msg_id":7}"#, "client_msg_id"),
            ("chat", r#"{"room":"a","body":"x","follows":""}"#, "follows"),
            ("history", r#"{"room":"a","limit":0}"#, "limit"),
            ("history", r#"{"room":"a","before":1,"after":2}"#, "before"),
            ("ping", r#"{"barrier":"yes"}"#, "barrier"),
        ] {
            let refusal = parse(msg_type, data).expect_err(data);
            assert_eq!(refusal.code, Code::BadRequest, "{data}");
            assert!(refusal.reason.contains(field), "{data}: {}", refusal.reason);
        }
    }

    #[test]
    fn a_body_over_its_limit_is_too_large() {
        let data = format!(r#"{{"room":"a","body":"{}"}}"#, "x".repeat(16 * 1024 + 1));
        assert_eq!(parse("chat", &data).unwrap_err().code, Code::TooLarge);
        assert_eq!(parse("dance", "{}").unwrap_err().code, Code::UnknownType);
    }
}
