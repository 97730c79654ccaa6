//! Commands: what the replicated log carries. Everything uncertain is settled in them.
//!
//! A follower encodes a [`Proposal`] and passes it on; the leader adds where it came from and its own
//! time, and proposes the [`Command`]. Encoding is postcard behind a version byte.

use serde::{Deserialize, Serialize};

use crate::protocol::{
    name::{RoomName, UserName},
    peer::NodeId,
};

/// The first byte of every encoded command and proposal.
pub const COMMAND_VERSION: u8 = 1;

/// What a client asked for, as the server it is connected to passes it on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposal {
    /// Who asks.
    pub user: UserName,
    /// The client's Lamport clock.
    pub lamport_timestamp: u64,
    /// What for.
    pub action: Action,
}

/// A change of the chat state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// Nothing: takes the place of a proposal that timed out before it was ever passed on.
    Nothing,
    /// Become a member, creating the room where it does not exist.
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
        /// The room.
        room: RoomName,
        /// The text.
        body: String,
        /// (user, `client_msg_id`) has one place for ever.
        client_msg_id: String,
        /// The `seq` of the message it answers.
        reply_to: Option<u64>,
    },
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
    match postcard::take_from_bytes(body) {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => Err(format!("a command has {} bytes too many", rest.len())),
        Err(error) => Err(format!("a command does not decode: {error}")),
    }
}
