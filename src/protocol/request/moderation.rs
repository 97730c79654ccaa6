//! Requests of moderation within a room. `ban` and `unban` are in `accounts`, since they are about the whole
//! cluster, too.

use serde::{Deserialize, Serialize};

use crate::protocol::{
    checked::{Seconds, Seq, Setting, Topic},
    moderation::{Retention, Role, RoomSettings},
    name::{RoomName, UserName},
    refusal::Refusal,
};

/// Sets the topic of the room.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SetTopic {
    pub room: RoomName,
    /// Empty for no topic.
    pub topic: Topic,
}

/// Lets a user into a private room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invite {
    pub room: RoomName,
    pub username: UserName,
}

/// Takes an invitation back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uninvite {
    pub room: RoomName,
    pub username: UserName,
}

/// Ends a user's membership.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kick {
    pub room: RoomName,
    pub username: UserName,
}

/// Lets a user read but not write.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Mute {
    pub room: RoomName,
    pub username: UserName,
    /// `None`: until the user is unmuted.
    pub seconds: Option<Seconds>,
}

/// Lets a muted user write again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unmute {
    pub room: RoomName,
    pub username: UserName,
}

/// Gives a member another role. Making a member the owner hands the room over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SetRole {
    pub room: RoomName,
    pub username: UserName,
    /// The role from then on.
    pub role: NewRole,
}

/// A role that can be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", rename_all = "snake_case")]
pub enum NewRole {
    /// [`Role::Owner`].
    Owner,
    /// [`Role::Moderator`].
    Moderator,
    /// [`Role::Member`].
    Member,
    /// The same as `mute` without an end.
    Muted,
}

impl NewRole {
    /// The role that it is; `None` for `muted`.
    pub fn role(self) -> Option<Role> {
        match self {
            NewRole::Owner => Some(Role::Owner),
            NewRole::Moderator => Some(Role::Moderator),
            NewRole::Member => Some(Role::Member),
            NewRole::Muted => None,
        }
    }
}

impl TryFrom<String> for NewRole {
    type Error = &'static str;

    fn try_from(word: String) -> Result<NewRole, &'static str> {
        match word.as_str() {
            "owner" => Ok(NewRole::Owner),
            "moderator" => Ok(NewRole::Moderator),
            "member" => Ok(NewRole::Member),
            "muted" => Ok(NewRole::Muted),
            _ => Err("must be owner, moderator, member or muted"),
        }
    }
}

/// Changes a room's settings; what is `None` stays as it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChangeSettings {
    pub room: RoomName,
    /// Whether only invited users may see and enter it.
    pub private: Option<bool>,
    /// Whether it is archived: to be read and no longer written in.
    pub archived: Option<bool>,
    /// The least time between two messages of one member, seconds; 0 for none.
    pub slow_s: Option<Setting>,
    /// Days that events are kept; 0 for no end. Given alone, `keep_events` is no limit any more.
    pub keep_days: Option<Setting>,
    /// How many events are kept; 0 for all. Given alone, `keep_days` is no limit any more.
    pub keep_events: Option<Seq>,
}

impl ChangeSettings {
    pub fn settings(&self) -> RoomSettings {
        let days = self.keep_days.map(u32::from);
        let events = self.keep_events.map(Seq::get);
        RoomSettings {
            private: self.private,
            archived: self.archived,
            slow_s: self.slow_s.map(u32::from),
            retention: (days.is_some() || events.is_some()).then(|| Retention::new(days, events)),
        }
    }

    pub(super) fn check(&self) -> Result<(), Refusal> {
        if self.settings() == RoomSettings::default() {
            let reason = "give at least one of private, archived, slow_s, keep_days, keep_events";
            return Err(Refusal::bad_request(reason));
        }
        Ok(())
    }
}
