//! Rooms: what they are set to, and who belongs to them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{account::Until, dedup::Digest, rights::Kind, user::UserId};
pub use crate::protocol::moderation::Role;
use crate::protocol::{credential::Verifier, moderation::Retention, name::RoomName};

/// Invitations that may be open in one room.
pub const INVITED_MAX: usize = 1_000;
/// How many of them may be one member's who does not keep order there.
pub const INVITED_BY_ONE_MAX: usize = 50;
/// Users who may be shut out of one room.
pub const BANNED_MAX: usize = 10_000;
/// Users who may be muted in one room, those who have left it included.
pub const MUTED_MAX: usize = 10_000;

/// What of a room's settings came with version 2.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Settings {
    /// What opens it.
    pub password: Option<Box<Verifier>>,
    /// The log entry that set the password.
    pub password_rev: u64,
    /// Whether it is only read any more.
    pub archived: bool,
    /// The least time between two messages of one member, seconds; 0 for none.
    pub slow_s: u32,
    /// How long events are kept.
    pub retention: Retention,
    /// The first event that is kept.
    pub first_seq: u64,
}

/// What an import has left to know of a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Import {
    /// Whether an import has made the room and nobody has belonged to it since.
    pub unopened: bool,
    /// The place of the first event of the last batch.
    pub first_seq: u64,
    /// What that batch held: the same batch is known by it when it comes again.
    pub batch: Digest,
}

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
    /// The rest of what it is set to.
    pub settings: Settings,
    /// Who belongs to it, and as what.
    pub(super) members: BTreeMap<UserId, Role>,
    /// Which of them may not write.
    pub(super) muted: BTreeMap<UserId, Until>,
    /// Who may enter it though it is private, and who has said so; `None` where the first versions let them.
    pub(super) invited: BTreeMap<UserId, Option<UserId>>,
    /// Who is shut out.
    pub(super) banned: BTreeMap<UserId, Until>,
    /// When members last spoke, milliseconds since the Unix epoch, where the room is slow.
    pub(super) spoke_ms: BTreeMap<UserId, u64>,
    /// What it remembers of the last import.
    pub(super) import: Option<Import>,
}

impl Room {
    /// A room without events and members.
    pub(super) fn new(name: RoomName, private: bool) -> Self {
        Room {
            name,
            private,
            topic: String::new(),
            last_seq: 0,
            settings: Settings { first_seq: 1, ..Settings::default() },
            members: BTreeMap::new(),
            muted: BTreeMap::new(),
            invited: BTreeMap::new(),
            banned: BTreeMap::new(),
            spoke_ms: BTreeMap::new(),
            import: None,
        }
    }

    /// How many members it has.
    pub fn member_count(&self) -> u64 {
        self.members.len() as u64
    }

    /// The first event that is kept.
    pub fn first_seq(&self) -> u64 {
        self.settings.first_seq
    }

    /// Which of the kinds of rooms it is, for the rights of people in it.
    pub fn kind(&self) -> Kind {
        match self.name.direct_pair() {
            Some(_) => Kind::Direct,
            None if self.private => Kind::Private,
            None => Kind::Public,
        }
    }

    /// Whether a user may not write at `now_ms`.
    pub(super) fn is_muted(&self, user: UserId, now_ms: u64) -> bool {
        self.muted.get(&user).is_some_and(|until| until.lasts(now_ms))
    }

    /// What a member is at `now_ms`, in the word that people are told; `None` for whoever is none.
    pub(super) fn role_word(&self, user: UserId, now_ms: u64) -> Option<&'static str> {
        let role = self.members.get(&user)?;
        let is_muted = *role == Role::Member && self.is_muted(user, now_ms);
        Some(if is_muted { "muted" } else { role.as_str() })
    }
}
