//! Everything that can happen to a client, and everything it can want. Read these enums first.

use crate::protocol::{RoomName, request::HistoryRange};

use super::{
    directory::Address,
    outbox::{Message, OutboxChange},
    update::Update,
};

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// The connection asked for by `Output::Connect` stands.
    Connected,
    /// The connection asked for by `Output::Connect` could not be made.
    ConnectFailed {
        /// Why, for people.
        reason: String,
    },
    /// The server sent a line, given without its line end.
    Received(Vec<u8>),
    /// The connection is gone.
    Disconnected {
        /// Why, for people.
        reason: String,
    },
    /// What `Output::Discover` found; may be nothing.
    Discovered(Vec<Address>),
    /// The user wants something.
    Command(Command),
    /// Time passed.
    Timeout,
}

/// Something the user wants.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Say something. A room that is not joined is joined first.
    Send(Message),
    /// Be in a room and see what happens there. Joining again asks for what was missed.
    Join(RoomName),
    /// Leave a room, after the messages for it that still wait.
    Leave(RoomName),
    /// Ask something; asked again on a new connection as long as there is no answer.
    Ask {
        /// Given back with the answer.
        tag: u64,
        /// What.
        question: Question,
    },
    /// Move to the server at this address; the search for another one begins if it does not answer.
    MoveTo(Address),
}

/// A question that changes nothing.
#[derive(Debug, Clone, PartialEq)]
pub enum Question {
    /// Events of a room.
    History {
        /// The room.
        room: RoomName,
        /// Which.
        range: HistoryRange,
        /// At most so many, 1 to [`HISTORY_MAX`](crate::protocol::limits::HISTORY_MAX).
        limit: usize,
    },
    /// The rooms.
    Rooms,
    /// The members of a room.
    Members(RoomName),
    /// The servers.
    Servers,
    /// The server's status.
    Status,
    /// Answered once everything committed anywhere before has been applied on the server in use.
    Barrier,
}

/// Something to be done by the caller.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Open a connection to this server; say `Connected` or `ConnectFailed`.
    Connect(Address),
    /// Write this, a line with its line end, to the open connection.
    Write(Vec<u8>),
    /// Close the connection, or stop opening it.
    Disconnect,
    /// Look for servers on the network; say `Discovered`.
    Discover,
    /// Change the durable copy of the outbox.
    Persist(OutboxChange),
    /// Tell the user.
    Tell(Update),
}
