//! A user's preferences, kept from one run to the next.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::protocol::{RoomId, RoomKey};

/// How a user is told of a message that concerns them while the terminal has no focus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Notify {
    #[default]
    Off,
    /// By the bell of the terminal.
    Bell,
    /// By a notification of the desktop, if the terminal passes them on.
    Desktop,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Preferences {
    /// How to be told of mentions and direct messages.
    pub notify: Notify,
    /// Whether the program takes the mouse; without it, the terminal marks and copies text by it.
    pub mouse: bool,
    /// Whether the rooms are listed at the left, if there is room.
    pub show_rooms: bool,
    /// Whether the members are listed at the right, if there is room.
    pub show_members: bool,
    /// Rooms without notifications.
    pub silent: BTreeSet<RoomKey>,
    /// What was written and not sent when the last run ended, by room.
    pub drafts: BTreeMap<RoomKey, String>,
    /// The numbers of rooms, by which what is kept of them finds them under another name.
    pub numbers: BTreeMap<RoomKey, RoomId>,
}

impl Default for Preferences {
    fn default() -> Self {
        Preferences {
            notify: Notify::Off,
            mouse: false,
            show_rooms: true,
            show_members: true,
            silent: BTreeSet::new(),
            drafts: BTreeMap::new(),
            numbers: BTreeMap::new(),
        }
    }
}

/// How `/set` is used.
pub const SET_USAGE: &str = "/set notify=off|bell|desktop mouse=on|off";

/// Why `/set` has changed nothing.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NoSetting {
    #[error("{0:?} is no setting; use it as {SET_USAGE}")]
    Unknown(String),
    #[error("use it as {SET_USAGE}")]
    Missing,
}

impl Preferences {
    /// The room of this number is called so now: what is kept of it under another name is moved. Gives that
    /// name.
    pub fn follow(&mut self, id: RoomId, now: &RoomKey) -> Option<RoomKey> {
        let before = self.numbers.iter().find(|(key, known)| **known == id && *key != now);
        let before = before.map(|(key, _)| key.clone());
        if let Some(before) = &before {
            self.numbers.remove(before);
            if self.silent.remove(before) {
                self.silent.insert(now.clone());
            }
            if let Some(draft) = self.drafts.remove(before) {
                self.drafts.insert(now.clone(), draft);
            }
        }
        self.numbers.insert(now.clone(), id);
        before
    }

    /// Carries out the words behind `/set`: all of them or none.
    ///
    /// # Errors
    /// One of them is no setting, or there is none.
    pub fn set(&mut self, words: &str) -> Result<(), NoSetting> {
        let mut new = self.clone();
        let mut is_empty = true;
        for word in words.split_whitespace() {
            is_empty = false;
            match word {
                "notify=off" => new.notify = Notify::Off,
                "notify=bell" => new.notify = Notify::Bell,
                "notify=desktop" => new.notify = Notify::Desktop,
                "mouse=on" => new.mouse = true,
                "mouse=off" => new.mouse = false,
                _ => return Err(NoSetting::Unknown(word.to_owned())),
            }
        }
        if is_empty {
            return Err(NoSetting::Missing);
        }
        *self = new;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_all_taken_or_none() {
        let mut preferences = Preferences::default();
        preferences.set("notify=bell mouse=on").unwrap();
        assert_eq!((preferences.notify, preferences.mouse), (Notify::Bell, true));
        for bad in ["", "notify=off loud", "mouse"] {
            assert!(preferences.set(bad).is_err(), "{bad}");
        }
        assert_eq!(preferences.notify, Notify::Bell);
    }

    #[test]
    fn a_file_of_an_older_version_still_counts() {
        let preferences: Preferences = serde_json::from_str(r#"{"mouse":true}"#).unwrap();
        assert!(preferences.mouse && preferences.show_rooms);
    }
}
