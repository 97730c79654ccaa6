//! What the switcher offers: rooms and people, by a few letters.

use crate::protocol::{RoomName, UserName};

use super::{Model, fuzzy::fit};

/// Entries that the switcher shows.
const ENTRIES_MAX: usize = 50;

/// An entry of the switcher.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub room: RoomName,
    /// Its name as it is shown.
    pub title: String,
    /// The other user, in a direct conversation.
    pub person: Option<UserName>,
    /// Whether the user is in it.
    pub joined: bool,
    pub unread: u64,
    /// A word about it.
    pub about: String,
}

/// The entries for `typed`, the best first.
pub fn entries(model: &Model, typed: &str) -> Vec<Entry> {
    let typed = typed.trim().trim_start_matches(['#', '@']);
    let mut entries: Vec<Entry> = model
        .rooms
        .values()
        .map(|room| {
            let about = if room.other.is_some() { "direct message".into() } else { room.topic.clone() };
            Entry {
                room: room.name.clone(),
                title: room.title().to_owned(),
                person: room.other.clone(),
                joined: true,
                unread: room.unread,
                about,
            }
        })
        .collect();
    let others = model.known_rooms.iter().filter(|room| !model.rooms.contains_key(&room.room.key()));
    entries.extend(others.map(|room| Entry {
        room: room.room.clone(),
        title: room.room.to_string(),
        person: None,
        joined: false,
        unread: 0,
        about: if room.invited { "you are invited".into() } else { room.topic.clone() },
    }));
    let people = model.presence.values().filter(|(user, _)| user.key() != model.me);
    for (user, state) in people {
        let room = RoomName::direct(&model.user, user);
        if !model.rooms.contains_key(&room.key()) {
            let (title, person) = (user.to_string(), Some(user.clone()));
            entries.push(Entry {
                room,
                title,
                person,
                joined: false,
                unread: 0,
                about: state.as_str().into(),
            });
        }
    }
    let is_here = |entry: &Entry| model.current.as_ref() == Some(&entry.room.key());
    let mut fitting: Vec<(i32, Entry)> =
        entries.into_iter().filter_map(|entry| fit(&entry.title, typed).map(|fit| (fit, entry))).collect();
    fitting.sort_by_key(|(fit, entry)| {
        let fit = if typed.is_empty() { 0 } else { *fit };
        (
            is_here(entry),
            std::cmp::Reverse(fit),
            std::cmp::Reverse(entry.unread > 0),
            !entry.joined,
            entry.title.to_lowercase(),
        )
    });
    fitting.into_iter().take(ENTRIES_MAX).map(|(_, entry)| entry).collect()
}
