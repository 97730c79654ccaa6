//! What a server says to clients. One place builds every line.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, value::RawValue};

use super::{
    credential::Token,
    envelope::RequestId,
    event::Event,
    export::ExportPage,
    file::FileInfo,
    name::{RoomName, ServerId, UserName},
    refusal::Refusal,
    status::{ServerList, Status},
};

/// The answer to a `create_join`, the `data` of its ack.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct JoinAnswer {
    /// The room, in the case it was created with.
    pub room: RoomName,
    /// Whether this request created it.
    pub created: bool,
    /// Whether it is private.
    pub private: bool,
    /// Its topic, empty where none was set.
    pub topic: String,
    /// What the user is in it.
    pub role: String,
    /// The first event that the room still has: what a resume asks for below it is gone for good.
    pub first_seq: u64,
    /// The newest event.
    pub last_seq: u64,
    /// The events asked for, each as the database keeps it, oldest first.
    pub events: Vec<Box<RawValue>>,
    /// On a resume: the rest follows as pushes, without a hole. Else: there are older ones to page to.
    pub more: bool,
}

/// The answer to `history`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HistoryPage {
    /// The room, in the case it was created with.
    pub room: RoomName,
    /// The events, oldest first.
    pub events: Vec<Box<RawValue>>,
    /// The first event that the room still has.
    pub first_seq: u64,
    /// The newest event of the room.
    pub last_seq: u64,
    /// Whether there are more in the direction asked for.
    pub more: bool,
    /// Whether this server has lost the majority, so that newer events may exist elsewhere.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stale: bool,
}

/// A line of `rooms`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomSummary {
    /// The room.
    pub room: RoomName,
    /// Whether it is private.
    pub private: bool,
    /// Its topic.
    pub topic: String,
    /// How many members it has.
    pub members: u64,
    /// Its newest event.
    pub last_seq: u64,
    /// Whether the asking user is a member.
    pub joined: bool,
    /// Whether they have been invited to become one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub invited: bool,
    /// The last event the asking user has marked as read.
    pub last_read: u64,
    /// Events after that.
    pub unread: u64,
    /// Messages after that which name the asking user; 100 stands for that many or more.
    #[serde(default)]
    pub mentions: u64,
    /// What the asking user is in it; empty where they are no member.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub role: String,
    /// Whether it is archived.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub archived: bool,
}

/// A line of `members`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The user.
    pub username: UserName,
    /// What the user is in the room.
    pub role: String,
    /// Whether a connection of the user is open on any server.
    pub online: bool,
    /// Whether they have said that they are away.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub away: bool,
}

/// What a search found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hit {
    /// The message, with its room, as history shows it.
    #[serde(flatten)]
    pub event: Event,
    /// A piece of its text around what was looked for.
    pub snippet: String,
}

/// A line of `users`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// The user.
    pub username: UserName,
    /// Whether the name is registered.
    pub account: bool,
    /// Whether they administer the cluster.
    pub admin: bool,
    /// Whether it is a program.
    pub bot: bool,
    /// Whether they are shut out.
    pub banned: bool,
    /// Whether a connection of theirs is open on any server.
    pub online: bool,
}

/// The answer to a `chat`, the `data` of its ack: where the message stands, for ever.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentAnswer {
    /// The sender's name for the message.
    pub client_msg_id: String,
    /// The room.
    pub room: RoomName,
    /// Its place in the room.
    pub seq: u64,
    /// The Lamport timestamp it was given.
    pub lamport_timestamp: u64,
    /// Whether it had that place already.
    pub duplicate: bool,
}

/// A line of `hooks`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    /// What `delete_hook` calls it.
    pub hook_id: String,
    /// Who its messages are from.
    pub username: UserName,
    /// Who made it.
    pub created_by: UserName,
}

/// An answer to a request, before it is written as a line.
#[derive(Debug, Clone)]
pub enum Answer {
    /// To `login`.
    LoggedIn {
        /// The name the connection now goes by.
        username: UserName,
        /// What logs in the next time; a guest has none.
        token: Option<Token>,
        /// Whether the name is registered.
        account: bool,
        /// This server.
        server_id: ServerId,
        /// Who leads, where that is known.
        leader_id: Option<ServerId>,
    },
    /// To `create_join`.
    Joined(JoinAnswer),
    /// To whatever needs no more than a few fields: an ack with these.
    Done(Map<String, Value>),
    /// To `chat`.
    Sent(SentAnswer),
    /// To `history`.
    History(HistoryPage),
    /// To `rooms`.
    Rooms {
        /// The rooms, by name.
        rooms: Vec<RoomSummary>,
        /// Whether there are more behind the last of them.
        more: bool,
    },
    /// To `users`.
    Users {
        /// The users, by name.
        users: Vec<Account>,
        /// Whether there are more behind the last of them.
        more: bool,
    },
    /// To `export`.
    Export(ExportPage),
    /// To `export_rooms`.
    ExportRooms {
        /// The rooms, by name.
        rooms: Vec<RoomName>,
        /// Whether there are more behind the last of them.
        more: bool,
    },
    /// To `search`.
    Search {
        /// The messages, newest first.
        hits: Vec<Hit>,
        /// Where the search was ended because it took too long: it goes on with this as `before`.
        cut_at: Option<u64>,
    },
    /// To `file_read`: a piece of a file.
    FileChunk {
        /// The file.
        file: FileInfo,
        /// Where the piece begins.
        offset: u64,
        /// The piece.
        bytes: Vec<u8>,
    },
    /// To `hooks`.
    Hooks {
        /// The room.
        room: RoomName,
        /// Its web addresses.
        hooks: Vec<Hook>,
    },
    /// To `members`.
    Members {
        /// The room.
        room: RoomName,
        /// Its members, by name.
        members: Vec<Member>,
        /// Whether there are more behind the last of them.
        more: bool,
    },
    /// To `server_list` and `client_discovery`.
    ServerList(ServerList),
    /// To `status_request`.
    Status(Box<Status>),
    /// To `ping`.
    Pong(Map<String, Value>),
    /// To anything that was not carried out.
    Nack(Refusal),
}

/// Where an answer goes back to: what the request said of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The request's `msg_type`.
    pub msg_type: String,
    /// The request's `request_id`.
    pub request_id: Option<RequestId>,
}

/// Who writes a line, and with which clock readings.
#[derive(Debug, Clone)]
pub struct Signature {
    /// The server that says it.
    pub server_id: ServerId,
    /// Its Lamport clock.
    pub lamport_timestamp: u64,
    /// Its wall clock, milliseconds since the Unix epoch.
    pub now_ms: u64,
}

#[derive(Serialize)]
struct Line<'a, D: Serialize> {
    msg_type: &'a str,
    sender_id: &'a str,
    data: D,
    lamport_timestamp: u64,
    #[serde(with = "super::event::seconds")]
    created_at: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a RequestId>,
}

/// `data` of an answer: the request's type, then the answer's own fields.
#[derive(Serialize)]
struct Answering<'a, D: Serialize> {
    #[serde(rename = "for")]
    msg_type: &'a str,
    #[serde(flatten)]
    data: D,
}

/// Writes a value that holds nothing that JSON cannot, as one line with its line end.
fn write<D: Serialize>(line: &Line<'_, D>) -> Vec<u8> {
    let mut bytes =
        serde_json::to_vec(line).expect("strings, numbers and maps with string keys always encode");
    bytes.push(b'\n');
    bytes
}

impl Answer {
    /// The line that answers `asked`.
    pub fn line(&self, asked: &Asked, by: &Signature) -> Vec<u8> {
        let answering = |msg_type: &str, data: Value| Self::answering(msg_type, asked, by, data);
        match self {
            Answer::LoggedIn { username, token, account, server_id, leader_id } => answering(
                "ack",
                serde_json::json!({
                    "username": username, "token": token.as_ref().map(Token::expose), "account": account,
                    "server_id": server_id, "leader_id": leader_id,
                }),
            ),
            Answer::Joined(join) => Self::answering("ack", asked, by, join),
            Answer::Done(fields) => Self::answering("ack", asked, by, fields),
            Answer::Sent(sent) => Self::answering("ack", asked, by, sent),
            Answer::History(page) => Self::answering("history", asked, by, page),
            Answer::Rooms { rooms, more } => {
                answering("rooms", serde_json::json!({ "rooms": rooms, "more": more }))
            }
            Answer::Users { users, more } => {
                answering("users", serde_json::json!({ "users": users, "more": more }))
            }
            Answer::Export(page) => Self::answering("export", asked, by, page),
            Answer::ExportRooms { rooms, more } => {
                answering("export_rooms", serde_json::json!({ "rooms": rooms, "more": more }))
            }
            Answer::Search { hits, cut_at } => {
                let mut data = serde_json::json!({ "hits": hits, "more": cut_at.is_some() });
                if let Some(before) = cut_at {
                    data["before"] = (*before).into();
                }
                answering("search", data)
            }
            Answer::FileChunk { file, offset, bytes } => answering(
                "file",
                serde_json::json!({
                    "file_id": file.file_id, "name": file.name, "size": file.size, "sha256": file.sha256,
                    "content_type": file.content_type, "offset": offset, "bytes": STANDARD.encode(bytes),
                }),
            ),
            Answer::Hooks { room, hooks } => {
                answering("hooks", serde_json::json!({ "room": room, "hooks": hooks }))
            }
            Answer::Members { room, members, more } => {
                answering("members", serde_json::json!({ "room": room, "members": members, "more": more }))
            }
            Answer::ServerList(list) => Self::answering("server_list", asked, by, list),
            Answer::Status(status) => Self::answering("status", asked, by, status),
            Answer::Pong(data) => {
                // `for` belongs to the answer, whatever the client put there.
                let mut data = data.clone();
                data.remove("for");
                answering("pong", Value::Object(data))
            }
            Answer::Nack(refusal) => {
                let mut data = serde_json::json!({
                    "code": refusal.code, "reason": refusal.reason, "retryable": refusal.code.retryable(),
                });
                if let Some(retry_after_ms) = refusal.retry_after_ms {
                    data["retry_after_ms"] = retry_after_ms.into();
                }
                answering("nack", data)
            }
        }
    }

    fn answering<D: Serialize>(msg_type: &str, asked: &Asked, by: &Signature, data: D) -> Vec<u8> {
        write(&Line {
            msg_type,
            sender_id: by.server_id.as_str(),
            data: Answering { msg_type: &asked.msg_type, data },
            lamport_timestamp: by.lamport_timestamp,
            created_at: by.now_ms,
            request_id: asked.request_id.as_ref(),
        })
    }
}

/// Something a client is told without having asked.
#[derive(Debug, Clone)]
pub enum Push {
    /// The servers, because something about them changed.
    ServerList(ServerList),
    /// Somebody is typing in a room.
    Typing {
        /// Where.
        room: RoomName,
        /// Who.
        username: UserName,
    },
    /// Somebody has come, gone, or stepped away.
    Presence {
        /// Who.
        username: UserName,
        /// What they are now: `online`, `away` or `offline`.
        state: &'static str,
    },
    /// The user was invited to a room, or is not any more.
    Invitation {
        /// Which.
        room: RoomName,
        /// Whose doing it is.
        by: UserName,
        /// Whether they are invited now.
        invited: bool,
    },
    /// The session of this connection has ended, and the connection with it.
    SessionEnded {
        /// Why.
        reason: String,
    },
    /// The connection is to move to another server.
    Redirect {
        /// Where to.
        server_id: ServerId,
        /// Its host.
        host: String,
        /// Its client port.
        tcp_port: u16,
        /// Why, in one sentence.
        reason: String,
    },
}

impl Push {
    /// The line that says it. `asked` is given where a request gets this instead of an answer.
    pub fn line(&self, asked: Option<&Asked>, by: &Signature) -> Vec<u8> {
        let push = |msg_type: &str, data: Value| {
            write(&Line {
                msg_type,
                sender_id: by.server_id.as_str(),
                data,
                lamport_timestamp: by.lamport_timestamp,
                created_at: by.now_ms,
                request_id: asked.and_then(|asked| asked.request_id.as_ref()),
            })
        };
        match self {
            Push::ServerList(list) => push("server_list", serde_json::json!(list)),
            Push::Typing { room, username } => {
                push("typing", serde_json::json!({ "room": room, "username": username, "state": "typing" }))
            }
            Push::Presence { username, state } => {
                push("presence", serde_json::json!({ "username": username, "state": state }))
            }
            Push::Invitation { room, by, invited } => push(
                if *invited { "invited" } else { "uninvited" },
                serde_json::json!({ "room": room, "by": by }),
            ),
            Push::SessionEnded { reason } => push("session_ended", serde_json::json!({ "reason": reason })),
            Push::Redirect { server_id, host, tcp_port, reason } => {
                let mut data = serde_json::json!({
                    "server_id": server_id, "host": host, "tcp_port": tcp_port, "reason": reason,
                });
                if let Some(asked) = asked {
                    data["for"] = asked.msg_type.as_str().into();
                }
                push("redirect", data)
            }
        }
    }
}

/// The line that pushes `event`, whose stored JSON is `json`, to the members of its room.
pub fn event_line(event: &Event, json: &RawValue) -> Vec<u8> {
    write(&Line {
        msg_type: event.msg_type(),
        sender_id: event.author.as_str(),
        data: json,
        lamport_timestamp: event.lamport_timestamp,
        created_at: event.created_at,
        request_id: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{envelope::Envelope, refusal::Code};

    #[test]
    fn answers_carry_what_they_answer() {
        let asked = Asked { msg_type: "ping".into(), request_id: Some(RequestId::Number(7)) };
        let by =
            Signature { server_id: ServerId::new("server1").unwrap(), lamport_timestamp: 3, now_ms: 1_500 };
        let mut data = Map::new();
        data.insert("for".into(), "me".into());
        data.insert("x".into(), 1.into());
        let line = Answer::Pong(data).line(&asked, &by);
        assert_eq!(
            String::from_utf8(line).unwrap(),
            "{\"msg_type\":\"pong\",\"sender_id\":\"server1\",\"data\":{\"for\":\"ping\",\"x\":1},\
             \"lamport_timestamp\":3,\"created_at\":1.5,\"request_id\":7}\n"
        );
        let refusal = Refusal::new(Code::RateLimited, "slow down").retry_after(20);
        let nack = Envelope::parse(Answer::Nack(refusal).line(&asked, &by).trim_ascii_end()).unwrap();
        assert_eq!(nack.data["code"], "rate_limited");
        assert_eq!(nack.data["retryable"], true);
        assert_eq!(nack.data["retry_after_ms"], 20);
    }

    #[test]
    fn a_page_keeps_its_events_as_they_are_stored() {
        let raw = RawValue::from_string(r#"{"seq":1,"n":1.50}"#.into()).unwrap();
        let page = HistoryPage {
            room: RoomName::new("lobby").unwrap(),
            events: vec![raw],
            first_seq: 1,
            last_seq: 1,
            more: false,
            stale: false,
        };
        let asked = Asked { msg_type: "history".into(), request_id: None };
        let by = Signature { server_id: ServerId::new("server1").unwrap(), lamport_timestamp: 0, now_ms: 0 };
        let line = String::from_utf8(Answer::History(page).line(&asked, &by)).unwrap();
        assert!(line.contains(r#""events":[{"seq":1,"n":1.50}]"#), "{line}");
    }
}
