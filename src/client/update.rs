//! What the user of a connection is told.

use std::{fmt, path::PathBuf};

use crate::protocol::{
    Event, FileInfo, Refusal, RoomName, RoomSummary, ServerList, UserName,
    answer::{Account, Hit, Hook, Member},
    status::Status,
};

use super::{change::Outcome, directory::Address, io::Question, outbox::Message};

/// Something the user is told. Of one room, events come in the order of their `seq`, each once.
#[derive(Debug, Clone, PartialEq)]
pub enum Update {
    /// The connection changed: one line, as [`fmt::Display`] gives it.
    Connection(Connection),
    /// A room is joined. Also after each change of server, where `resumed` is true.
    Joined {
        /// The room.
        room: RoomName,
        /// Whether it did not exist before.
        created: bool,
        /// Its topic, empty where none was set.
        topic: String,
        /// What the user is in it.
        role: String,
        /// The newest event when it was joined.
        last_seq: u64,
        /// Whether it was joined before and goes on where it stopped.
        resumed: bool,
    },
    /// Something happened in a room.
    Event {
        /// What.
        event: Box<Event>,
        /// Whether it is older than the joining of the room.
        past: bool,
    },
    /// Something took a place in a room that this client cannot read.
    Unreadable {
        /// The room.
        room: RoomName,
        /// Its place.
        seq: u64,
        /// What could not be read.
        reason: String,
    },
    /// The servers know less of the room than was shown before: the cluster was set up anew, and the room is
    /// shown from its beginning there.
    RoomRestarted {
        /// The room.
        room: RoomName,
    },
    /// A room is left.
    Left {
        /// The room.
        room: RoomName,
    },
    /// A room could not be joined or left.
    RoomRefused {
        /// The room.
        room: RoomName,
        /// Why.
        refusal: Refusal,
    },
    /// A message is in the durable outbox and will be sent, across restarts, until it is acknowledged.
    Queued {
        /// The message.
        message: Message,
        /// Whether there is a connection that may carry it at once.
        online: bool,
    },
    /// A message has its place, for ever.
    Acked {
        /// The message.
        message: Message,
        /// Its place in its room.
        seq: u64,
        /// Whether an earlier sending had given it that place.
        duplicate: bool,
    },
    /// A message was refused for good and is no longer in the outbox.
    Refused {
        /// The message.
        message: Message,
        /// Why.
        refusal: Refusal,
        /// Whether an earlier sending of it, whose answer was lost, may have succeeded all the same.
        uncertain: bool,
    },
    /// The answer to a question.
    Answered {
        /// The tag given with the question.
        tag: u64,
        /// The answer.
        reply: Reply,
    },
    /// The servers of the cluster changed.
    Servers(ServerList),
    /// A change is done, refused, or lost without an answer.
    Changed {
        /// The tag given with the change.
        tag: u64,
        /// What became of it.
        outcome: Outcome,
    },
    /// Logged in, for the first time or after the user was asked.
    LoggedIn {
        /// The name, as it was registered.
        username: UserName,
        /// Whether it is a registered one.
        account: bool,
    },
    /// There is no connection until the user logs in again ([`Command::LogIn`](super::io::Command::LogIn)):
    /// the login was refused, or the session has ended. Messages wait in the outbox.
    LoginNeeded {
        /// Why.
        refusal: Refusal,
        /// Whether the user has asked for it, by a logout.
        wanted: bool,
        /// How often the user had logged in anew before: tells the end of one login from that of the next.
        logins: u64,
    },
    /// Somebody is typing.
    Typing {
        /// Where.
        room: RoomName,
        /// Who.
        username: UserName,
    },
    /// Somebody has come, gone or stepped away.
    Presence {
        /// Who.
        username: UserName,
        /// `online`, `away` or `offline`.
        state: String,
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
    /// A file is whole on the servers, and a message that shows it is in the outbox.
    Uploaded {
        /// The tag given with the upload.
        tag: u64,
        /// The file.
        file: FileInfo,
    },
    /// A file was fetched, checked, and saved.
    Downloaded {
        /// The tag given with the download.
        tag: u64,
        /// The file.
        file: FileInfo,
        /// Where.
        path: PathBuf,
    },
    /// A file could not be sent or fetched.
    TransferFailed {
        /// The tag given with it.
        tag: u64,
        /// Why, in one sentence.
        reason: String,
    },
    /// Nothing more will happen: the connection ends for good.
    Stopped {
        /// Why, in one sentence.
        reason: String,
    },
}

/// The answer to a [`Question`].
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// To `History`.
    History {
        /// The room.
        room: RoomName,
        /// The events that could be read, oldest first.
        events: Vec<Event>,
        /// The newest event of the room.
        last_seq: u64,
        /// What asks for more in the same direction, where there are more.
        next: Option<Question>,
    },
    /// To `Rooms`.
    Rooms {
        /// The rooms, by name.
        rooms: Vec<RoomSummary>,
        /// Whether only those of the user were asked for.
        joined: bool,
        /// What asks for those behind them, where there are more.
        next: Option<Question>,
    },
    /// To `Search`.
    Search {
        /// The messages, newest first.
        hits: Vec<Hit>,
        /// What asks for older ones, where there may be some.
        next: Option<Question>,
    },
    /// To `Hooks`.
    Hooks {
        /// The room.
        room: RoomName,
        /// Its addresses.
        hooks: Vec<Hook>,
    },
    /// To `Users`.
    Users {
        /// The users, by name.
        users: Vec<Account>,
        /// What asks for those behind them, where there are more.
        next: Option<Question>,
    },
    /// To `Members`.
    Members {
        /// The room.
        room: RoomName,
        /// Its members.
        members: Vec<Member>,
        /// What asks for those behind them, where there are more.
        next: Option<Question>,
    },
    /// To `Servers`.
    Servers(ServerList),
    /// To `Status`.
    Status(Box<Status>),
    /// To `Barrier`: everything committed anywhere before it was asked has been applied on this server.
    Barrier,
    /// To any of them: it was refused.
    Refused(Refusal),
}

impl Reply {
    /// What asks for the page behind this one, where there is one.
    pub fn next(&self) -> Option<&Question> {
        match self {
            Reply::History { next, .. }
            | Reply::Rooms { next, .. }
            | Reply::Search { next, .. }
            | Reply::Users { next, .. }
            | Reply::Members { next, .. } => next.as_ref(),
            Reply::Hooks { .. }
            | Reply::Servers(_)
            | Reply::Status(_)
            | Reply::Barrier
            | Reply::Refused(_) => None,
        }
    }
}

/// How the connection changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Connection {
    /// Logged in at a server.
    Up {
        /// The server's id.
        server_id: String,
        /// Its address.
        address: Address,
        /// What was before; `None` at the first connection.
        before: Option<Before>,
    },
    /// For a while no server could be reached. The search goes on.
    Down {
        /// What the last attempt met.
        reason: String,
    },
}

/// The connection before the present one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Before {
    /// The server's id.
    pub server_id: String,
    /// How long there was none, in milliseconds.
    pub gap_ms: u64,
    /// Whether the server or the user asked for the move; otherwise the connection was lost.
    pub moved: bool,
}

impl fmt::Display for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Connection::Up { server_id, address, before: None } => {
                write!(f, "connected to {server_id} at {address}")
            }
            Connection::Up { server_id, before: Some(Before { server_id: old, gap_ms, moved }), .. } => {
                let seconds = *gap_ms as f64 / 1000.0;
                match (moved, old == server_id) {
                    (_, true) => write!(f, "connected to {server_id} again ({seconds:.2} s)"),
                    (true, false) => write!(f, "moved from {old} to {server_id} ({seconds:.2} s)"),
                    (false, false) => write!(f, "{old} is gone, now on {server_id} ({seconds:.2} s)"),
                }
            }
            Connection::Down { reason } => {
                write!(f, "no working server ({reason}); messages are kept and the search goes on")
            }
        }
    }
}
