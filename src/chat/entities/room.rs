//! Rooms: their settings and their members.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    super::rights::RoomKind,
    dedup::Digest,
    recent::{RecentMessages, Unread},
    until::Until,
    user_id::UserId,
};
pub use crate::protocol::moderation::Role;
use crate::protocol::{
    credential::Verifier,
    event::{Event, EventKind},
    moderation::Retention,
    name::{RoomName, UserName},
    refusal::{Code, Refusal},
    request::Destination,
};

/// Pinned messages that a room may have.
pub const PINS_MAX: usize = 100;

/// Names of a room that are remembered: by them a repeated message is recognised, and an event that still has
/// an old name is shown under the new one.
pub const OLD_NAMES_MAX: usize = 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinnedMessage {
    pub seq: u64,
    /// The place of the event that says so.
    pub event: u64,
}

/// The settings of a room that came with version 2.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Settings {
    pub password: Option<Box<Verifier>>,
    /// The log entry that set the password.
    pub password_rev: u64,
    /// Whether it is archived: it can be read but not written in.
    pub archived: bool,
    /// The least time between two messages of one member, seconds; 0 for none.
    pub slow_s: u32,
    /// How long events are kept.
    pub retention: Retention,
    /// The first event that is kept.
    pub first_seq: u64,
    /// Messages that were pinned, the newest pin last. It may hold messages that the room has forgotten;
    /// [`Room::pins`] leaves them out.
    pub(in crate::chat) pins: Vec<PinnedMessage>,
}

/// What a room remembers of its import.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::chat) struct Import {
    /// Whether an import has made the room and it has had no members since.
    pub unopened: bool,
    /// The place of the first event of the last batch.
    pub first_seq: u64,
    /// The digest of that batch, by which a repeat is recognised.
    pub batch: Digest,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Room {
    /// Its name, in the case in which it was given.
    pub name: RoomName,
    /// The names that it had before, the last one at the end: at most [`OLD_NAMES_MAX`].
    pub(in crate::chat) old_names: Vec<RoomName>,
    /// The user among whose created rooms it counts.
    pub(in crate::chat) creator: UserId,
    /// Whether only invited users may see it.
    pub private: bool,
    /// What it is about; empty if no topic was set.
    pub topic: String,
    pub last_seq: u64,
    /// Its newest messages, and how many it has had.
    pub(in crate::chat) recent: RecentMessages,
    /// The rest of what it is set to.
    pub settings: Settings,
    /// The members and their roles.
    pub(in crate::chat) members: BTreeMap<UserId, Role>,
    /// Which of them may not write.
    pub(in crate::chat) muted: BTreeMap<UserId, Until>,
    /// Who may enter it though it is private, and who invited them.
    pub(in crate::chat) invited: BTreeMap<UserId, UserId>,
    /// The banned users.
    pub(in crate::chat) banned: BTreeMap<UserId, Until>,
    /// When members last spoke, milliseconds since the Unix epoch; empty if the room is not slow.
    pub(in crate::chat) spoke_ms: BTreeMap<UserId, u64>,
    pub(in crate::chat) import: Option<Import>,
}

impl Room {
    /// A room without events and members.
    pub(in crate::chat) fn new(name: RoomName, private: bool, creator: UserId) -> Self {
        Room {
            name,
            old_names: Vec::new(),
            creator,
            private,
            topic: String::new(),
            last_seq: 0,
            recent: RecentMessages::default(),
            settings: Settings { first_seq: 1, ..Settings::default() },
            members: BTreeMap::new(),
            muted: BTreeMap::new(),
            invited: BTreeMap::new(),
            banned: BTreeMap::new(),
            spoke_ms: BTreeMap::new(),
            import: None,
        }
    }

    /// Whether stored events of the room may have another name than it has now.
    pub fn was_renamed(&self) -> bool {
        !self.old_names.is_empty()
    }

    pub fn member_count(&self) -> u64 {
        self.members.len() as u64
    }

    /// The first event that is kept.
    pub fn first_seq(&self) -> u64 {
        self.settings.first_seq
    }

    /// The unread messages of `user`, who has read up to `last_read`.
    pub(in crate::chat) fn unread(&self, user: UserId, last_read: u64) -> Unread {
        self.recent.unread(user, last_read.max(self.first_seq().saturating_sub(1)))
    }

    /// The pinned messages, the newest pin first.
    pub fn pins(&self) -> impl Iterator<Item = &PinnedMessage> {
        self.settings.pins.iter().rev().filter(|pinned| pinned.seq >= self.first_seq())
    }

    /// Takes over what its newest event says about pinned messages; whether something changed. Imported
    /// events count, too, so pins move from one cluster to another with the events.
    pub(in crate::chat) fn note_pin(&mut self, event: &Event) -> bool {
        let first_seq = self.first_seq();
        let pins = &mut self.settings.pins;
        match event.kind {
            EventKind::Pinned { target } if (first_seq..event.seq).contains(&target) => {
                pins.retain(|pinned| pinned.seq >= first_seq && pinned.seq != target);
                if pins.len() < PINS_MAX {
                    pins.push(PinnedMessage { seq: target, event: event.seq });
                }
                true
            }
            EventKind::Unpinned { target } | EventKind::Deleted { target } => {
                let before = pins.len();
                pins.retain(|pinned| pinned.seq != target);
                pins.len() < before
            }
            _ => false,
        }
    }

    /// Which of the kinds of rooms it is, for the rights of people in it.
    pub fn kind(&self) -> RoomKind {
        match self.name.direct_pair() {
            Some(_) => RoomKind::Direct,
            None if self.private => RoomKind::Private,
            None => RoomKind::Public,
        }
    }

    /// Whether a user was muted, and is at `now_ms`.
    pub(in crate::chat) fn is_muted(&self, user: UserId, now_ms: u64) -> bool {
        self.muted.get(&user).is_some_and(|until| until.lasts(now_ms))
    }
}

/// Whether a list has no place for `user`. Entries whose time is over do not count, and a user who is in the
/// list needs no new place.
pub(in crate::chat) fn is_full(
    list: &BTreeMap<UserId, Until>,
    user: Option<UserId>,
    now_ms: u64,
    most: usize,
) -> bool {
    let others = || list.iter().filter(|(id, until)| Some(**id) != user && until.lasts(now_ms));
    list.len() >= most && others().count() >= most
}

/// The refusal of a full list.
pub(in crate::chat) fn full(what: &str, room: &Room) -> Refusal {
    Refusal::new(Code::Forbidden, format!("{} has as many {what} as a room may have", room.name))
}

/// The users of a list whose time is over.
pub(in crate::chat) fn over(
    list: &BTreeMap<UserId, Until>,
    now_ms: u64,
) -> impl Iterator<Item = UserId> + use<> {
    let over = list.iter().filter(|(_, until)| !until.lasts(now_ms)).map(|(id, _)| *id);
    over.collect::<Vec<_>>().into_iter()
}

/// The other user of the direct conversation `room`; `None` if it is not one of `user`'s.
pub(in crate::chat) fn other_of_two(user: &UserName, room: &RoomName) -> Option<UserName> {
    let (one, other) = room.direct_pair()?;
    if one.key() == user.key() {
        return Some(other);
    }
    (other.key() == user.key()).then_some(one)
}

/// The room that `user` means, and the other user if it is a direct conversation.
pub(in crate::chat) fn room_of(user: &UserName, to: &Destination) -> (RoomName, Option<UserName>) {
    match to {
        Destination::Room(room) => (room.clone(), other_of_two(user, room)),
        Destination::User(with) => (RoomName::direct(user, with), Some(with.clone())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_list_has_a_place_once_a_ban_is_over() {
        let list: BTreeMap<UserId, Until> =
            [(UserId(1), Until::Ended), (UserId(2), Until::Ms(10)), (UserId(3), Until::Ended)].into();
        let is_full = |user, now_ms, most| is_full(&list, user, now_ms, most);
        assert!(is_full(Some(UserId(4)), 9, 3) && is_full(None, 9, 3));
        assert!(!is_full(Some(UserId(4)), 9, 4), "there is a place left");
        assert!(!is_full(Some(UserId(4)), 10, 3), "the second one's time is over");
        assert!(!is_full(Some(UserId(1)), 9, 3), "one who is in it takes no further place");
    }
}
