//! What the people of a room do to the room and to each other: roles and settings.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The role of a member in a room. Stored by position: new roles go to the end.
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
    /// Its word in the client protocol.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Owner => "owner",
            Role::Moderator => "moderator",
            Role::Member => "member",
        }
    }

    pub fn parse(word: &str) -> Option<Role> {
        [Role::Owner, Role::Moderator, Role::Member].into_iter().find(|role| role.as_str() == word)
    }
}

/// How long a room keeps its events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Retention {
    /// Events older than this go.
    pub days: Option<u32>,
    /// If there are more events than this, the oldest go.
    pub events: Option<u64>,
}

impl Retention {
    /// A limit that is 0 or left out is no limit.
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

/// As they are typed.
impl fmt::Display for RoomSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let yes = |is: bool| if is { "yes" } else { "no" }.to_owned();
        let most = |most: Option<u64>| most.map_or_else(|| "forever".to_owned(), |most| most.to_string());
        let changes = [
            ("private", self.private.map(yes)),
            ("archived", self.archived.map(yes)),
            ("slow", self.slow_s.map(|seconds| seconds.to_string())),
            ("keep-days", self.retention.map(|kept| most(kept.days.map(u64::from)))),
            ("keep-events", self.retention.map(|kept| most(kept.events))),
        ];
        let mut space = "";
        for (name, value) in changes.into_iter().filter_map(|(name, value)| Some((name, value?))) {
            write!(f, "{space}{name}={value}")?;
            space = " ";
        }
        Ok(())
    }
}
