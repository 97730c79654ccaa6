//! Answers to requests about rooms.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::protocol::{
    RoomId,
    checked::HookId,
    credential::Token,
    name::{RoomName, UserName},
};

/// The answer to a `create_join`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct JoinAnswer {
    /// The room, in the case it was created with.
    pub room: RoomName,
    /// Its number, by which it is known under any name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room_id: Option<RoomId>,
    /// Whether this request created it.
    #[serde(default)]
    pub created: bool,
    #[serde(default)]
    pub private: bool,
    /// Its topic, empty if none was set.
    #[serde(default)]
    pub topic: String,
    #[serde(default)]
    pub role: String,
    /// The first event that the room still has. Events below it are gone for good.
    #[serde(default)]
    pub first_seq: u64,
    pub last_seq: u64,
    /// The pinned messages, the newest pin first.
    #[serde(default)]
    pub pins: Vec<u64>,
    /// The events asked for, each as the database keeps it, oldest first.
    #[serde(default)]
    pub events: Vec<Box<RawValue>>,
    /// On a resume: the rest follows as pushes, without a hole. Else: there are older ones to page to.
    #[serde(default)]
    pub more: bool,
}

/// The answer to `leave` and `delete_room`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    /// The room, in the case it was created with.
    pub room: RoomName,
}

/// The answer to what changes something in a room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placed {
    /// Whether nothing changed: it was so already, and the event is an earlier one.
    #[serde(default)]
    pub duplicate: bool,
    /// The room, in the case it was created with.
    pub room: RoomName,
    /// The event that says so.
    pub seq: u64,
    /// A warning, in one sentence, although the request was carried out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
}

/// The answer to `create_hook`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HookCreated {
    /// As for any change of a room.
    #[serde(default)]
    pub duplicate: bool,
    /// What `delete_hook` calls it.
    pub hook_id: HookId,
    pub room: RoomName,
    /// The event that says so.
    pub seq: u64,
    /// The last part of the address. It is told only here.
    pub token: Token,
}

/// The answer to `rooms`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomList {
    /// Whether there are more behind the last of them.
    #[serde(default)]
    pub more: bool,
    /// The rooms, by name.
    pub rooms: Vec<RoomSummary>,
    /// Whether this server has lost the majority, so that it may be different by now.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stale: bool,
}

/// A line of `rooms`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomSummary {
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub archived: bool,
    /// The first of `unread_messages`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_unread: Option<u64>,
    /// Whether the asking user is invited to it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub invited: bool,
    /// Whether the asking user is a member.
    pub joined: bool,
    /// The last event the asking user has marked as read.
    pub last_read: u64,
    pub last_seq: u64,
    pub members: u64,
    /// How many of `unread_messages` name the asking user.
    #[serde(default)]
    pub mentions: u64,
    pub private: bool,
    /// The asking user's role in it; empty if they are no member.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub role: String,
    pub room: RoomName,
    /// Requests about the room may bring it: then it counts, and the name does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room_id: Option<RoomId>,
    pub topic: String,
    /// Events after `last_read`.
    pub unread: u64,
    /// Messages after `last_read` that are not deleted and not the asking user's own, of the newest 1,000 of
    /// the room.
    #[serde(default)]
    pub unread_messages: u64,
}

/// The answer to `members`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberList {
    /// The members, by name.
    pub members: Vec<Member>,
    /// Whether there are more behind the last of them.
    #[serde(default)]
    pub more: bool,
    pub room: RoomName,
    /// Whether this server has lost the majority, so that it may be different by now.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stale: bool,
}

/// A line of `members`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Whether they have said that they are away.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub away: bool,
    /// Whether it is a program's: a bot's or a webhook's.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub bot: bool,
    /// Of a program: the user who made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<UserName>,
    /// Whether a connection of the user is open on any server.
    pub online: bool,
    /// The user's role in the room.
    pub role: String,
    pub username: UserName,
}

/// The answer to `hooks`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookList {
    pub hooks: Vec<Hook>,
    pub room: RoomName,
}

/// A line of `hooks`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    /// The user who made it.
    pub created_by: UserName,
    /// What `delete_hook` calls it.
    pub hook_id: HookId,
    /// The author of its messages.
    pub username: UserName,
}

/// The answer to `pins`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinList {
    /// The places of the pinned messages, the newest pin first.
    pub pins: Vec<u64>,
    pub room: RoomName,
    /// Whether this server has lost the majority, so that it may be different by now.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stale: bool,
}

/// The answer to `export_rooms`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomNames {
    /// Whether there are more behind the last of them.
    #[serde(default)]
    pub more: bool,
    pub rooms: Vec<RoomName>,
}
