//! The inputs and outputs of a client. Read these enums first.

use crate::protocol::{FileInfo, RoomName, credential::Password, file::FileId};

use super::{
    ask::TargetedRequest,
    directory::Address,
    login::{Login, Secret},
    outbox::{Message, OutboxChange},
    transfer::Sending,
    update::Update,
};

#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// The connection asked for by `Output::Connect` is open.
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
    /// What `Output::Read` asked for.
    Bytes {
        tag: u64,
        /// Their place in the file.
        offset: u64,
        /// The bytes, exactly as many as were asked for.
        bytes: Vec<u8>,
    },
    /// What `Output::Read` asked for cannot be read.
    ReadFailed {
        tag: u64,
        /// Why, for people.
        reason: String,
    },
    Timeout,
}

/// Something the user wants.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Say something. A room that is not joined is joined first.
    Send(Message),
    /// Be in a room and see what happens there. Joining again asks for what was missed.
    Join(RoomName),
    /// Like `Join`, with the settings of the room if it does not exist, and its password if it does.
    Enter {
        room: RoomName,
        /// Whether only invited users may see it.
        private: bool,
        password: Option<Password>,
    },
    /// Leave a room, after the messages for it that still wait.
    Leave(RoomName),
    /// Ask something of the servers.
    Ask {
        /// Given back with the answer.
        tag: u64,
        ask: TargetedRequest,
    },
    /// Log in anew, on a new connection.
    LogIn(Login),
    /// A person has read everything in a room up to this event. The servers are told every few seconds.
    Read {
        room: RoomName,
        seq: u64,
    },
    /// The user is typing in a room. Without a connection nothing is sent.
    Typing(RoomName),
    /// Send a file and show it in a message. The bytes are asked for by `Output::Read`.
    Upload {
        /// Given back with the outcome.
        tag: u64,
        sending: Sending,
    },
    /// Fetch a file. It comes by `Output::Save`.
    Download {
        /// Given back with it.
        tag: u64,
        file_id: FileId,
    },
    GiveUp(u64),
    /// Move to the server at this address; the search for another one begins if it does not answer.
    MoveTo(Address),
}

/// Something to be done by the caller.
#[derive(Debug, Clone)]
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
    /// Keep this token for later runs.
    KeepToken(Secret),
    /// This token is no longer valid: forget it, if it is the one that is kept.
    ForgetToken(Secret),
    /// Read a part of the file of an upload; say `Bytes` or `ReadFailed`.
    Read {
        tag: u64,
        offset: u64,
        length: usize,
    },
    /// Write the next part of a file that is fetched.
    Save {
        tag: u64,
        file: FileInfo,
        /// The next bytes of it.
        bytes: Vec<u8>,
        /// Whether that is all of it.
        last: bool,
    },
    Tell(Update),
}
