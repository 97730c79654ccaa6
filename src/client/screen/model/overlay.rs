//! Overlays: the help, a page of text, the switcher, a search, a question, a password.

use ratatui::crossterm::event::KeyEvent;

use crate::protocol::{RoomName, UserName, answer::Hit};

use super::{Model, composer::Composer, fuzzy::fit, secret_box::SecretBox};

/// Entries that the switcher shows.
const ENTRIES_MAX: usize = 50;

/// A line that is typed in a box.
#[derive(Debug, Default)]
pub struct Field(Composer);

impl Field {
    /// A line with a text in it.
    pub fn new(text: &str) -> Field {
        let mut field = Field::default();
        field.insert(text);
        field
    }

    pub fn text(&self) -> String {
        self.0.text()
    }

    /// Types a key; whether the text has changed.
    pub fn type_key(&mut self, event: KeyEvent) -> bool {
        self.0.type_key(event)
    }

    /// Inserts what was pasted, as one line.
    pub fn insert(&mut self, text: &str) {
        self.0.insert(&text.replace(['\r', '\n'], " "));
    }

    /// The text before the cursor.
    pub fn before_cursor(&self) -> String {
        self.0.before_cursor()
    }
}

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

/// The outcome of a search.
#[derive(Debug)]
pub enum Results {
    /// Nothing was asked yet.
    None,
    Waiting,
    /// The hits, newest first, and the time span of the search, if it was limited.
    Found(Vec<Hit>, Option<String>),
    Failed(String),
}

#[derive(Debug)]
pub struct Search {
    pub field: Field,
    pub number: u64,
    pub results: Results,
    pub at: usize,
}

/// The purpose of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// Delete the message at this place.
    Delete(u64),
    /// Send what is written, though it has many lines.
    SendLines(usize),
}

/// An overlay.
#[derive(Debug)]
pub enum Overlay {
    /// The keys and commands, from this line on.
    Help {
        /// The first line that is shown.
        top: usize,
    },
    /// The answer to a command.
    Text {
        title: String,
        lines: Vec<String>,
        /// The first line that is shown.
        top: usize,
    },
    /// Rooms and people by a few letters.
    Switcher {
        field: Field,
        at: usize,
    },
    Search(Search),
    /// A reaction to the message at this place.
    React {
        seq: u64,
        field: Field,
    },
    Question(Question),
    Secret(SecretBox),
}

impl Overlay {
    /// The help from its beginning.
    pub fn help() -> Overlay {
        Overlay::Help { top: 0 }
    }

    /// A page of text.
    pub fn text(title: String, lines: Vec<String>) -> Overlay {
        Overlay::Text { title, lines, top: 0 }
    }

    /// Whether it is the search of this number.
    pub fn is_search(&self, number: u64) -> bool {
        matches!(self, Overlay::Search(search) if search.number == number)
    }

    /// The line that is typed in it.
    pub fn field_mut(&mut self) -> Option<&mut Field> {
        match self {
            Overlay::Switcher { field, .. } | Overlay::React { field, .. } => Some(field),
            Overlay::Search(search) => Some(&mut search.field),
            Overlay::Secret(secret) => Some(&mut secret.field),
            Overlay::Help { .. } | Overlay::Text { .. } | Overlay::Question(_) => None,
        }
    }
}

/// Reactions that are offered, by their digits.
pub const REACTIONS: [&str; 8] = ["👍", "❤", "😂", "🎉", "👀", "✅", "🙏", "👎"];

impl Model {
    /// The switcher's entries for `typed`, the best first.
    pub fn entries(&self, typed: &str) -> Vec<Entry> {
        let typed = typed.trim().trim_start_matches(['#', '@']);
        let mut entries: Vec<Entry> = self
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
        let others = self.known_rooms.iter().filter(|room| !self.rooms.contains_key(&room.room.key()));
        entries.extend(others.map(|room| Entry {
            room: room.room.clone(),
            title: room.room.to_string(),
            person: None,
            joined: false,
            unread: 0,
            about: if room.invited { "you are invited".into() } else { room.topic.clone() },
        }));
        let people = self.presence.values().filter(|(user, _)| user.key() != self.me);
        for (user, state) in people {
            let room = RoomName::direct(&self.user, user);
            if !self.rooms.contains_key(&room.key()) {
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
        let is_here = |entry: &Entry| self.current.as_ref() == Some(&entry.room.key());
        let mut fitting: Vec<(i32, Entry)> = entries
            .into_iter()
            .filter_map(|entry| fit(&entry.title, typed).map(|fit| (fit, entry)))
            .collect();
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
}
