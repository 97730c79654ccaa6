//! How a room's new name is passed on to all that is kept by rooms' names.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::protocol::{RoomKey, RoomName};

/// A room has another name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renamed {
    pub from: RoomName,
    pub to: RoomName,
    /// Another room was known as `to`. It must have a new name too, which is not known yet, and is known as
    /// `from` until then.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub swaps: bool,
}

impl Renamed {
    /// The present name of the room known as `name`, if this has changed it.
    pub fn of(&self, name: &RoomName) -> Option<&RoomName> {
        let key = self.of_key(&name.key())?;
        Some(if key == self.to.key() { &self.to } else { &self.from })
    }

    /// The same of its folded form.
    pub fn of_key(&self, key: &RoomKey) -> Option<RoomKey> {
        if *key == self.from.key() {
            Some(self.to.key())
        } else if self.swaps && *key == self.to.key() {
            Some(self.from.key())
        } else {
            None
        }
    }

    /// Moves what is kept under the old names.
    pub fn move_in<T>(&self, kept: &mut BTreeMap<RoomKey, T>) {
        let (from, to) = (self.from.key(), self.to.key());
        if from == to {
            return;
        }
        let other = if self.swaps { kept.remove(&to) } else { None };
        if let Some(moved) = kept.remove(&from) {
            kept.insert(to, moved);
        }
        if let Some(other) = other {
            kept.insert(from, other);
        }
    }
}
