//! Commands: what the replicated log carries. Everything uncertain is settled in them.
//!
//! A follower encodes a [`Proposal`] and passes it on; the leader adds where it came from and its own
//! time, and proposes the [`Command`]. Encoding is postcard behind a version byte. Logs of older versions
//! are still read (`v1`).

mod v1;

use serde::{Deserialize, Serialize};

use crate::protocol::{
    credential::{TokenHash, Verifier},
    export::{Imported, ImportedRoom},
    file::{FileId, NewFile},
    moderation::{Moderation, Retention},
    name::{RoomName, UserName},
    peer::NodeId,
    request::Destination,
};

/// The first byte of every encoded command and proposal.
pub const COMMAND_VERSION: u8 = 2;

/// What a client asked for, as the server it is connected to passes it on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposal {
    /// Who asks.
    pub user: UserName,
    /// By what right they are that user. Asked again when the command is applied: a session that has
    /// ended meanwhile does nothing any more.
    pub standing: Standing,
    /// The client's Lamport clock.
    pub lamport_timestamp: u64,
    /// What for.
    pub action: Action,
}

/// By what right somebody acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Standing {
    /// By a name that nobody has registered.
    Guest,
    /// By the session of this token.
    Session(TokenHash),
    /// By the cluster's secret: `syncnet-admin` on a server's machine.
    Operator,
    /// The cluster itself does what somebody has set up, such as to forget old events.
    Cluster,
}

/// A change of the chat state.
///
/// Much of it looks like a request, and is something else: requests are read from JSON by the names of their
/// fields and may change with the protocol, while these are written to logs by position. What is uncertain in a
/// request (a password, a token, the id of a file or a message) is settled here. The log holds a variant by its position: new ones go to the end, and none
/// changes its fields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// Nothing: takes the place of a proposal that timed out before it was ever passed on.
    Nothing,
    /// Become a member, creating a public room where it does not exist.
    Join {
        /// The room.
        room: RoomName,
    },
    /// Stop being a member.
    Leave {
        /// The room.
        room: RoomName,
    },
    /// Say something.
    Chat {
        /// Where.
        to: Destination,
        /// The text.
        body: String,
        /// (user, `client_msg_id`) has one place for ever.
        client_msg_id: String,
        /// The `seq` of the message it answers.
        reply_to: Option<u64>,
        /// The file that it shows.
        file_id: Option<FileId>,
    },
    /// Become a member, creating the room, private or with a password, where it does not exist.
    Create {
        /// The room.
        room: RoomName,
        /// Whether it is private.
        private: bool,
        /// What opens it.
        password: Option<Box<Verifier>>,
    },
    /// Become a member of a room whose password was given.
    Unlock {
        /// The room.
        room: RoomName,
        /// The password that was checked is the one that was set by this log entry.
        password_rev: u64,
    },
    /// Give a message another text.
    Edit {
        /// The room.
        room: RoomName,
        /// The message.
        seq: u64,
        /// The text.
        body: String,
    },
    /// Delete a message.
    Delete {
        /// The room.
        room: RoomName,
        /// The message.
        seq: u64,
    },
    /// React to a message, or take a reaction back.
    React {
        /// The room.
        room: RoomName,
        /// The message.
        seq: u64,
        /// With what.
        emoji: String,
        /// Whether to take it back.
        remove: bool,
    },
    /// Note that everything up to an event has been read.
    MarkRead {
        /// The room.
        room: RoomName,
        /// The event.
        seq: u64,
    },
    /// Do something to a room or to one of its people.
    Moderate {
        /// The room.
        room: RoomName,
        /// What.
        what: Moderation,
    },
    /// Change what opens a room.
    RoomPassword {
        /// The room.
        room: RoomName,
        /// The new password; `None` for none.
        password: Option<Box<Verifier>>,
    },
    /// Take over events into a room that has just those before them.
    Import {
        /// The room.
        room: RoomName,
        /// The `seq` of the first.
        first_seq: u64,
        /// The events.
        events: Vec<Imported>,
    },
    /// [`Action::Expire`] as it was before it named the retention. A log may still hold some; nothing writes
    /// them any more.
    OldExpire {
        /// The room.
        room: RoomName,
        /// The first event that stays.
        before_seq: u64,
    },
    /// Make an account of the proposal's name.
    Register {
        /// Its password.
        password: Box<Verifier>,
        /// Whether it administers the cluster; only an operator may say so.
        admin: bool,
    },
    /// Begin a session.
    Login {
        /// The password that was checked is the one that was set by this log entry.
        password_rev: u64,
        /// The session's token.
        token: TokenHash,
        /// When the session ends at the latest, milliseconds since the Unix epoch.
        expires_ms: u64,
        /// The same password, hashed with today's parameters.
        rehashed: Option<Box<Verifier>>,
    },
    /// A session is in use.
    Touch,
    /// End the session, or all of the account.
    Logout {
        /// Whether all.
        everywhere: bool,
    },
    /// Give the own account another password; its other sessions end.
    ChangePassword {
        /// The old password that was checked is the one that was set by this log entry.
        password_rev: u64,
        /// The new one.
        password: Box<Verifier>,
    },
    /// Give the own account up.
    CloseAccount {
        /// The password that was checked is the one that was set by this log entry.
        password_rev: u64,
    },
    /// Do something to an account, as an administrator.
    Administer {
        /// Whose.
        username: UserName,
        /// What.
        what: Administer,
    },
    /// Make an account for a program.
    CreateBot {
        /// Its name.
        username: UserName,
        /// Its token.
        token: TokenHash,
    },
    /// Make a web address at which tools post into a room.
    CreateHook {
        /// The room.
        room: RoomName,
        /// Who its messages are from.
        username: UserName,
        /// Its token.
        token: TokenHash,
    },
    /// Remove such an address.
    DeleteHook {
        /// The room.
        room: RoomName,
        /// Which.
        token: TokenHash,
    },
    /// Post by such an address.
    HookPost {
        /// Which.
        token: TokenHash,
        /// The text.
        body: String,
        /// The name of the post.
        client_msg_id: String,
        /// What the tool calls itself.
        display_name: Option<String>,
    },
    /// Begin an upload.
    FileBegin {
        /// Its id.
        file_id: FileId,
        /// What it is.
        file: NewFile,
    },
    /// Some bytes of it.
    FileChunk {
        /// The upload.
        file_id: FileId,
        /// Where in the file they stand.
        offset: u64,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// End it.
    FileEnd {
        /// The upload.
        file_id: FileId,
        /// Of the whole content.
        sha256: [u8; 32],
    },
    /// Remove a file.
    FileDelete {
        /// The file.
        file_id: FileId,
    },
    /// Make a room what it was at another time or in another cluster, but for its events.
    ImportRoom {
        /// The room.
        room: RoomName,
        /// What it is to be.
        info: Box<ImportedRoom>,
    },
    /// Forget a room's events before this one, as its retention has it.
    Expire {
        /// The room.
        room: RoomName,
        /// The first event that stays.
        before_seq: u64,
        /// The retention that asks for it. Where the room has another one by then, nothing is forgotten.
        retention: Retention,
    },
    /// Give up an upload of which nothing more comes.
    GiveUpUpload {
        /// The upload.
        file_id: FileId,
    },
}

/// What an administrator does to an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Administer {
    /// Make it an administrator's, or not.
    SetAdmin(bool),
    /// Give it another password.
    SetPassword(Box<Verifier>),
    /// Shut the user out, for so many seconds or until they are let in again.
    Ban(Option<u32>),
    /// Let the user in again.
    Unban,
    /// Close the account.
    Delete,
}

/// Which proposal of which run of which server a command is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Origin {
    /// The server's incarnation.
    pub node_id: NodeId,
    /// Its run.
    pub boot: u64,
    /// 1, 2, 3, … within the run, without a hole.
    pub seq: u64,
}

/// One entry of the replicated log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// Where it came from.
    pub origin: Origin,
    /// The leader's wall clock at proposal, milliseconds since the Unix epoch.
    pub created_at_ms: u64,
    /// What was asked.
    pub proposal: Proposal,
}

impl Proposal {
    /// Decodes what a server passed on, of this version or an older one; the error is one sentence.
    pub fn decode(bytes: &[u8]) -> Result<Proposal, String> {
        match bytes.first() {
            Some(&v1::COMMAND_VERSION) => {
                decode_body::<v1::OldProposal>(&bytes[1..]).map(v1::OldProposal::into_current)
            }
            _ => decode(bytes),
        }
    }
}

impl Command {
    /// Decodes an entry of the log, of this version or an older one; the error is one sentence.
    pub fn decode(bytes: &[u8]) -> Result<Command, String> {
        match bytes.first() {
            Some(&v1::COMMAND_VERSION) => {
                decode_body::<v1::Command>(&bytes[1..]).map(v1::Command::into_current)
            }
            _ => decode(bytes),
        }
    }
}

/// Encodes a proposal or a command.
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = vec![COMMAND_VERSION];
    bytes.extend(postcard::to_stdvec(value).expect("plain data always encodes"));
    bytes
}

/// Decodes a proposal or a command; the error is one sentence. Unknown versions and rests are errors.
pub fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, String> {
    let (&version, body) = bytes.split_first().ok_or("a command is empty")?;
    if version != COMMAND_VERSION {
        return Err(format!("a command has version {version}; this program knows {COMMAND_VERSION}"));
    }
    decode_body(body)
}

fn decode_body<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, String> {
    match postcard::take_from_bytes(body) {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => Err(format!("a command has {} bytes too many", rest.len())),
        Err(error) => Err(format!("a command does not decode: {error}")),
    }
}
