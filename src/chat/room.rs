//! Rooms and the roles of their members.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::user::UserId;
use crate::protocol::name::RoomName;

/// A room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Room {
    /// Its name, in the case it was created with.
    pub name: RoomName,
    /// Whether only invited users may see it.
    pub private: bool,
    /// What it is about, empty where nobody has said so.
    pub topic: String,
    /// Its newest event.
    pub last_seq: u64,
    /// Who belongs to it, and as what.
    pub(super) members: BTreeMap<UserId, Role>,
}

impl Room {
    /// A public room without events and members.
    pub(super) fn new(name: RoomName) -> Self {
        Room { name, private: false, topic: String::new(), last_seq: 0, members: BTreeMap::new() }
    }

    /// How many members it has.
    pub fn member_count(&self) -> u64 {
        self.members.len() as u64
    }
}

/// What a member is in a room. Stored by position: new roles go to the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Role {
    /// Created the room.
    Owner,
    /// Reads and writes.
    Member,
}

impl Role {
    /// The word for it in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Owner => "owner",
            Role::Member => "member",
        }
    }
}
