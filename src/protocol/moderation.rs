//! What the people of a room do to the room and to each other: one list for requests, rights and the log.

use serde::{Deserialize, Serialize};

use super::name::UserName;

/// What a member is in a room. Stored by position: new roles go to the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Role {
    /// Owns the room.
    Owner,
    /// Reads and writes.
    Member,
    /// Keeps order in it.
    Moderator,
}

impl Role {
    /// The word for it on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Owner => "owner",
            Role::Moderator => "moderator",
            Role::Member => "member",
        }
    }

    /// The role of that word.
    pub fn parse(word: &str) -> Option<Role> {
        [Role::Owner, Role::Moderator, Role::Member].into_iter().find(|role| role.as_str() == word)
    }
}

/// How long a room keeps its events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Retention {
    /// Events older than so many days go.
    pub days: Option<u32>,
    /// Of more events than so many the oldest go.
    pub events: Option<u64>,
}

impl Retention {
    /// So many days and events; no limit where it is 0 or left out.
    pub fn new(days: Option<u32>, events: Option<u64>) -> Retention {
        Retention { days: days.filter(|days| *days > 0), events: events.filter(|events| *events > 0) }
    }
}

/// A change of a room's settings; what is `None` stays as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RoomSettings {
    /// Whether only invited users may see and enter it.
    pub private: Option<bool>,
    /// The least time between two messages of one member, seconds; 0 for none.
    pub slow_s: Option<u32>,
    /// How long events are kept.
    pub retention: Option<Retention>,
    /// Whether it is archived: to be read and no longer written in.
    pub archived: Option<bool>,
}

/// Something done to a room or to one of its people. Stored by position: new ones go to the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Moderation {
    /// Say what the room is about.
    Topic {
        /// The text; empty for none.
        topic: String,
    },
    /// Let somebody into a private room.
    Invite {
        /// Whom.
        username: UserName,
    },
    /// End somebody's membership.
    Kick {
        /// Whose.
        username: UserName,
    },
    /// End somebody's membership and keep them out.
    Ban {
        /// Whom.
        username: UserName,
        /// For so long; `None` until they are unbanned.
        seconds: Option<u32>,
    },
    /// Let a banned user in again.
    Unban {
        /// Whom.
        username: UserName,
    },
    /// Let somebody read but not write.
    Mute {
        /// Whom.
        username: UserName,
        /// For so long; `None` until they are unmuted.
        seconds: Option<u32>,
    },
    /// Let a muted user write again.
    Unmute {
        /// Whom.
        username: UserName,
    },
    /// Make somebody something else. To make somebody the owner hands the room over.
    SetRole {
        /// Whom.
        username: UserName,
        /// What they are from then on.
        role: Role,
    },
    /// Change the room's settings.
    Configure(RoomSettings),
    /// Take an invitation back.
    Uninvite {
        /// Whose.
        username: UserName,
    },
}

impl Moderation {
    /// To whom it is done, where it is done to somebody.
    pub fn target(&self) -> Option<&UserName> {
        match self {
            Moderation::Topic { .. } | Moderation::Configure(_) => None,
            Moderation::Invite { username }
            | Moderation::Kick { username }
            | Moderation::Ban { username, .. }
            | Moderation::Unban { username }
            | Moderation::Mute { username, .. }
            | Moderation::Unmute { username }
            | Moderation::SetRole { username, .. }
            | Moderation::Uninvite { username } => Some(username),
        }
    }
}
