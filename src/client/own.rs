//! The user's own messages: how a request names one, and the place that each got.
//!
//! A message has its place only when it is acknowledged, which may take a while if no server works. Until
//! then a request names it by its `client_msg_id` and waits for the place. Only messages of this run of the
//! program are here: those that wait, and the last ones that were acknowledged.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use crate::protocol::{RoomKey, RoomName};

use super::renamed::Renamed;

/// Acknowledged messages of a room that are remembered. Full: the oldest is forgotten.
const PLACED_MAX: usize = 100;

/// A message of a room, as a request names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Target {
    /// The one at this place.
    Seq(u64),
    /// The own one with this `client_msg_id`; the request waits until it has its place.
    Own(String),
    /// The user's last one at the moment of asking, in the order of sending.
    #[serde(skip)]
    Last,
    /// The newest event of the room that was shown, at the moment at which the request is written.
    #[serde(skip)]
    Shown,
}

impl From<u64> for Target {
    fn from(seq: u64) -> Self {
        Target::Seq(seq)
    }
}

/// The place of a [`Target`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TargetState {
    At(u64),
    /// It has none yet, because it is not acknowledged. Its `client_msg_id`.
    Waits(String),
    /// There is no such message, or it was refused.
    Missing,
}

#[derive(Debug)]
struct Own {
    client_msg_id: String,
    seq: Option<u64>,
}

impl Own {
    fn standing(&self) -> TargetState {
        self.seq.map_or_else(|| TargetState::Waits(self.client_msg_id.clone()), TargetState::At)
    }
}

/// The own messages, by room, in the order of sending.
#[derive(Debug, Default)]
pub struct OwnMessages(BTreeMap<RoomKey, VecDeque<Own>>);

impl OwnMessages {
    /// A message is going to be sent. One that is here already, because its file was on the way, is the last
    /// now.
    pub fn add(&mut self, room: &RoomName, client_msg_id: &str) {
        self.remove(room, client_msg_id);
        let own = Own { client_msg_id: client_msg_id.to_owned(), seq: None };
        self.0.entry(room.key()).or_default().push_back(own);
    }

    /// A message has its place.
    pub fn placed(&mut self, room: &RoomName, client_msg_id: &str, seq: u64) {
        let Some(messages) = self.0.get_mut(&room.key()) else { return };
        if let Some(own) = messages.iter_mut().find(|own| own.client_msg_id == client_msg_id) {
            own.seq = Some(seq);
        }
        while messages.len() > PLACED_MAX && messages.front().is_some_and(|own| own.seq.is_some()) {
            messages.pop_front();
        }
    }

    /// A room has another name.
    pub fn rename(&mut self, renamed: &Renamed) {
        renamed.move_in(&mut self.0);
    }

    /// The places that messages got are no longer valid.
    pub fn forget_places(&mut self) {
        for messages in self.0.values_mut() {
            messages.retain(|own| own.seq.is_none());
        }
    }

    /// A message will not be sent.
    pub fn remove(&mut self, room: &RoomName, client_msg_id: &str) {
        if let Some(messages) = self.0.get_mut(&room.key()) {
            messages.retain(|own| own.client_msg_id != client_msg_id);
        }
    }

    /// The place of `target` in a room that was shown up to `shown`.
    pub fn find(&self, room: &RoomKey, target: &Target, shown: u64) -> TargetState {
        let messages = self.0.get(room);
        let own = match target {
            Target::Seq(seq) => return TargetState::At(*seq),
            Target::Shown => return TargetState::At(shown),
            Target::Last => messages.and_then(VecDeque::back),
            Target::Own(id) => {
                messages.and_then(|messages| messages.iter().rfind(|own| own.client_msg_id == *id))
            }
        };
        own.map_or(TargetState::Missing, Own::standing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_one_is_the_last_sent_and_not_the_last_acknowledged() {
        let (den, mut own) = (RoomName::new("Den").unwrap(), OwnMessages::default());
        let last = |own: &OwnMessages| own.find(&den.key(), &Target::Last, 0);
        assert_eq!(last(&own), TargetState::Missing);
        own.add(&den, "a");
        own.placed(&den, "a", 7);
        assert_eq!(last(&own), TargetState::At(7));
        own.add(&den, "b");
        assert_eq!(last(&own), TargetState::Waits("b".into()));
        own.remove(&den, "b");
        assert_eq!(last(&own), TargetState::At(7), "b was refused");
        // A file is on its way, and another message is sent meanwhile.
        own.add(&den, "file");
        own.add(&den, "c");
        own.add(&den, "file");
        assert_eq!(last(&own), TargetState::Waits("file".into()));
        assert_eq!(own.find(&den.key(), &Target::Own("a".into()), 0), TargetState::At(7));
        assert_eq!(own.find(&RoomName::new("lobby").unwrap().key(), &Target::Last, 0), TargetState::Missing);
    }

    #[test]
    fn what_is_remembered_is_bounded_and_what_waits_is_never_forgotten() {
        let (den, mut own) = (RoomName::new("den").unwrap(), OwnMessages::default());
        own.add(&den, "waits");
        for number in 0..2 * PLACED_MAX {
            own.add(&den, &number.to_string());
            own.placed(&den, &number.to_string(), number as u64);
        }
        assert_eq!(own.find(&den.key(), &Target::Own("waits".into()), 0), TargetState::Waits("waits".into()));
        own.placed(&den, "waits", 500);
        assert_eq!(own.0[&den.key()].len(), PLACED_MAX);
        assert_eq!(own.find(&den.key(), &Target::Own("0".into()), 0), TargetState::Missing);
    }

    #[test]
    fn a_place_is_stored_as_it_always_was() {
        for (target, json) in [(Target::Seq(7), "7"), (Target::Own("a-1".into()), "\"a-1\"")] {
            assert_eq!(serde_json::to_string(&target).unwrap(), json);
            assert_eq!(serde_json::from_str::<Target>(json).unwrap(), target);
        }
    }
}
