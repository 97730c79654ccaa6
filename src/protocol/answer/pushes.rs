//! What a client is told without having asked, beside events.

use serde::{Deserialize, Serialize};

use crate::protocol::{
    RoomId,
    name::{RoomName, UserName},
};

/// A user is typing in a room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TypingShown {
    pub room: RoomName,
    /// What the user is doing.
    #[serde(default)]
    pub state: TypingState,
    pub username: UserName,
}

/// What the user is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TypingState {
    /// There is one so far.
    #[default]
    Typing,
}

/// A user has come online, gone offline, or is away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PresenceChange {
    /// What the user is seen as now.
    pub state: PresenceState,
    pub username: UserName,
}

/// What a user is seen as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PresenceState {
    /// No connection of the user is open.
    #[default]
    Offline,
    /// The user is away from the keyboard, on every server on which they are connected.
    Away,
    /// At the keyboard.
    Online,
}

impl PresenceState {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            PresenceState::Offline => "offline",
            PresenceState::Away => "away",
            PresenceState::Online => "online",
        }
    }
}

/// The user was invited to a room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invited {
    /// The user who sent the invitation.
    pub by: UserName,
    pub room: RoomName,
    /// Requests about the room may bring it: then it counts, and the name does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room_id: Option<RoomId>,
}

/// An invitation was taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uninvited {
    /// The user who took it back.
    pub by: UserName,
    pub room: RoomName,
    /// Requests about the room may bring it: then it counts, and the name does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room_id: Option<RoomId>,
}

/// The user has read a room further, on another connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadElsewhere {
    /// Messages that name the user among those that are still unread.
    pub mentions: u64,
    pub room: RoomName,
    /// The last event that is read.
    pub seq: u64,
    /// As in the answer to `rooms`.
    pub unread_messages: u64,
}

/// A room of the user's was deleted, with everything in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomDeleted {
    /// The user who did it.
    pub by: UserName,
    /// The name that it had.
    pub room: RoomName,
    /// The number that it had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room_id: Option<RoomId>,
}

/// The session of this connection has ended, and the connection with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionEnded {
    #[serde(default)]
    pub reason: String,
}
