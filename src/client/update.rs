//! The updates that a client gives its user.

use std::{fmt, path::PathBuf};

use crate::protocol::{Event, FileInfo, Refusal, RoomName, ServerList, UserName, answer::PresenceState};

use super::{ask::Reply, directory::Address, outbox::Message, renamed::Renamed};

/// Something the user is told. The events of a room come in the order of their `seq`, each once.
#[derive(Debug, Clone)]
pub enum Update {
    /// The connection changed: one line, as [`fmt::Display`] gives it.
    Connection(Connection),
    /// No server works, as was told, and the next attempt comes after a pause.
    Retry {
        /// Milliseconds from now.
        in_ms: u64,
    },
    /// A room is joined. Also told after each change of server, with `resumed` set.
    Joined {
        room: RoomName,
        /// Whether it did not exist before.
        created: bool,
        /// Its topic, empty if none was set.
        topic: String,
        role: String,
        /// The newest event when it was joined.
        last_seq: u64,
        /// The pinned messages, the newest pin first.
        pins: Vec<u64>,
        /// Whether it was joined before and goes on where it stopped.
        resumed: bool,
    },
    /// Something happened in a room.
    Event {
        event: Box<Event>,
        /// Whether it is older than the joining of the room.
        past: bool,
    },
    /// Something took a place in a room that this client cannot read.
    Unreadable {
        room: RoomName,
        seq: u64,
        /// What could not be read.
        reason: String,
    },
    /// The servers know less of the room than was shown before: the cluster was set up anew, and the room is
    /// shown from its beginning there.
    RoomRestarted {
        room: RoomName,
    },
    /// The servers were restored from a backup: what came after it is gone, and known places may now be other
    /// messages'. Rooms are shown anew.
    Restored,
    Left {
        room: RoomName,
    },
    /// A room has another name from now on, and all that the user is told later is told under that. The event
    /// of the renaming, which may never be shown if it was long ago, changes nothing more.
    Renamed(Renamed),
    /// A room could not be joined or left.
    RoomRefused {
        room: RoomName,
        refusal: Refusal,
    },
    /// A message is in the durable outbox and will be sent, across restarts, until it is acknowledged.
    Queued {
        message: Message,
        /// Whether there is a connection that may carry it at once.
        online: bool,
    },
    /// A message has its place, which never changes.
    Acked {
        message: Message,
        /// Its place in its room.
        seq: u64,
        /// Whether an earlier sending had given it that place.
        duplicate: bool,
    },
    /// A message was refused for good and is no longer in the outbox.
    Refused {
        message: Message,
        refusal: Refusal,
        /// Whether an earlier sending of it may have succeeded, because its answer was lost.
        uncertain: bool,
    },
    /// The outcome of a request.
    Answered {
        /// The tag given with it.
        tag: u64,
        /// The request, and its outcome.
        reply: Box<Reply>,
    },
    /// The servers of the cluster changed.
    Servers(ServerList),
    /// Logged in, for the first time or after the user was asked.
    LoggedIn {
        /// The name, as it was registered.
        username: UserName,
        /// Whether it is a registered one.
        account: bool,
        /// Whether it administers the cluster.
        administrator: bool,
    },
    /// There is no connection until the user logs in again ([`Command::LogIn`](super::io::Command::LogIn)):
    /// the login was refused, or the session has ended. Messages wait in the outbox.
    LoginNeeded {
        refusal: Refusal,
        /// Whether the user has asked for it, by a logout.
        wanted: bool,
        /// How often the user had logged in anew before: tells the end of one login from that of the next.
        logins: u64,
    },
    /// The user has read a room further, on another device.
    ReadElsewhere {
        room: RoomName,
        /// The last event that is read.
        seq: u64,
        /// Messages of others that are unread still.
        unread: u64,
        /// Those of them that name the user.
        mentions: u64,
    },
    Typing {
        room: RoomName,
        username: UserName,
    },
    /// A user has come online, gone offline, or is away.
    Presence {
        username: UserName,
        /// What the user is seen as now.
        state: PresenceState,
    },
    /// The user was invited to a room, or is not any more.
    Invitation {
        room: RoomName,
        /// The user who invited, or took that back.
        by: UserName,
        /// Whether they are invited now.
        invited: bool,
    },
    /// A file is complete on the servers, and a message that shows it is in the outbox.
    Uploaded {
        /// The tag given with the upload.
        tag: u64,
        file: FileInfo,
    },
    /// A file was fetched, checked, and saved.
    Downloaded {
        /// The tag given with the download.
        tag: u64,
        file: FileInfo,
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

/// How the connection changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Connection {
    /// Logged in at a server.
    Up {
        server_id: String,
        address: Address,
        /// The connection before; `None` at the first one.
        before: Option<Before>,
    },
    /// For a while no server could be reached. The search goes on.
    Down {
        /// Why the last attempt failed.
        reason: String,
        /// Whether servers answer, but have no majority: then everything can still be read.
        no_majority: bool,
    },
}

/// The connection before the present one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Before {
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
            Connection::Down { reason, .. } => {
                write!(f, "no working server ({reason}); messages are kept and the search goes on")
            }
        }
    }
}
