//! Exactly once: the ids and places of a user's last messages.
//!
//! The memory of a user is a ring of [`DEDUP_PER_USER`] slots, so that it is bounded by the count of
//! messages, which is the same on every server, and by no clock. Some slots in a row are one stored row: a
//! message takes the place of the one it displaces, and nothing has to be removed. Which slot is the newest
//! need not be stored either: Lamport timestamps increase, so it is the one with the highest.
//!
//! Slots hold digests and not the texts themselves: 64 bytes a message instead of up to 16 KiB. A user who
//! finds two ids with the same 128 bits of SHA-256 can only confuse their own messages.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::super::state_error::StateError;
use crate::{
    disk::RoomId,
    protocol::{export::Imported, file::FileId, limits::DEDUP_PER_USER, name::RoomKey},
};

/// The first 128 bits of a SHA-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Digest([u8; 16]);

impl Digest {
    /// Of a `client_msg_id`.
    pub fn of_id(client_msg_id: &str) -> Digest {
        Digest::finish(Sha256::new_with_prefix(client_msg_id))
    }

    /// Of a message's text and place. Only the last field has no fixed length or end, so no two different
    /// messages give the same bytes (a name holds no NUL).
    pub fn of_content(room: &RoomKey, body: &str, reply_to: Option<u64>, file: Option<FileId>) -> Digest {
        let mut hash = Sha256::new();
        hash.update(room.as_str());
        hash.update([0, u8::from(reply_to.is_some()) | u8::from(file.is_some()) << 1]);
        hash.update(reply_to.unwrap_or(0).to_be_bytes());
        if let Some(FileId(id)) = file {
            hash.update(id);
        }
        hash.update(body);
        Digest::finish(hash)
    }

    /// Of the events of an import.
    pub fn of_events(events: &[Imported]) -> Digest {
        let mut hash = Sha256::new();
        for Imported { author, created_at, kind } in events {
            hash.update(author.as_str());
            hash.update([0]);
            hash.update(created_at.to_be_bytes());
            hash.update((kind.len() as u64).to_be_bytes());
            hash.update(kind);
        }
        Digest::finish(hash)
    }

    fn finish(hash: Sha256) -> Digest {
        let mut first = [0; 16];
        first.copy_from_slice(&hash.finalize()[..16]);
        Digest(first)
    }
}

/// One message: its id, its content and its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slot {
    /// Its `client_msg_id`.
    pub id: Digest,
    /// Room, body and `reply_to`.
    pub content: Digest,
    pub room: RoomId,
    /// Its place in the room.
    pub seq: u64,
    /// The timestamp it was given.
    pub lamport: u64,
    /// When it was said, as its entry tells.
    pub said_ms: u64,
}

/// The last messages of one user.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sent {
    slots: Vec<Slot>,
    places: BTreeMap<Digest, usize>,
    /// The slot that the next message takes: the oldest, once all are in use.
    next: usize,
}

const SLOTS: usize = DEDUP_PER_USER as usize;
/// Slots of a row; divides [`SLOTS`]. Larger ones would cost a user who says little more bytes than they save
/// one who says much.
const BLOCK: usize = 8;

impl Sent {
    /// The message with this id, if it is among the last [`DEDUP_PER_USER`].
    pub fn find(&self, id: Digest) -> Option<&Slot> {
        self.places.get(&id).and_then(|&place| self.slots.get(place))
    }

    /// Remembers a message; if all slots are in use, the oldest is forgotten. Gives the number of its block.
    pub fn remember(&mut self, slot: Slot) -> usize {
        let place = self.next;
        match self.slots.get_mut(place) {
            Some(oldest) => {
                // A repeat of a webhook after more than a minute is another message of the same id.
                if self.places.get(&oldest.id) == Some(&place) {
                    self.places.remove(&oldest.id);
                }
                *oldest = slot;
            }
            None => self.slots.push(slot),
        }
        self.places.insert(slot.id, place);
        self.next = (place + 1) % SLOTS;
        place / BLOCK
    }

    /// The slots of a block, as far as they are in use.
    pub fn block(&self, block: usize) -> &[Slot] {
        let slots = self.slots.get(block * BLOCK..).unwrap_or_default();
        slots.get(..BLOCK).unwrap_or(slots)
    }

    /// Takes over a stored block; the blocks of a user come in the order of their numbers.
    pub fn load(&mut self, block: usize, slots: Vec<Slot>) -> Result<(), StateError> {
        let before = self.slots.len();
        let is_next = before.is_multiple_of(BLOCK) && block == before / BLOCK && block < SLOTS / BLOCK;
        if !is_next || !(1..=BLOCK).contains(&slots.len()) {
            return Err(StateError::Block { block, slots: slots.len(), before });
        }
        slots.into_iter().for_each(|slot| self.load_slot(slot));
        Ok(())
    }

    fn load_slot(&mut self, slot: Slot) {
        let place = self.slots.len();
        let newest = self.next.checked_sub(1).and_then(|newest| self.slots.get(newest));
        if newest.is_none_or(|newest| slot.lamport > newest.lamport) {
            self.next = place + 1;
        }
        self.slots.push(slot);
        let named = self.places.entry(slot.id).or_insert(place);
        if self.slots[*named].lamport < slot.lamport {
            *named = place;
        }
        // The whole ring is loaded and its newest slot is the last one.
        if self.next == SLOTS {
            self.next = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(n: u64) -> Slot {
        Slot {
            id: Digest::of_id(&n.to_string()),
            content: Digest::of_id("content"),
            room: RoomId(1),
            seq: n,
            lamport: n,
            said_ms: n,
        }
    }

    fn load(into: &mut Sent, stored: &Sent) {
        let blocks = (0..).map(|block| stored.block(block)).take_while(|slots| !slots.is_empty());
        for (block, slots) in blocks.enumerate() {
            into.load(block, slots.to_vec()).unwrap();
        }
    }

    #[test]
    fn the_last_ten_thousand_are_remembered_and_no_more() {
        let mut sent = Sent::default();
        for n in 1..=DEDUP_PER_USER + 5 {
            sent.remember(slot(n));
        }
        assert!(sent.find(slot(5).id).is_none());
        assert_eq!(sent.find(slot(6).id).unwrap().seq, 6);
        assert_eq!(sent.find(slot(DEDUP_PER_USER + 5).id).unwrap().seq, DEDUP_PER_USER + 5);
        assert_eq!(sent.places.len(), SLOTS);
    }

    #[test]
    fn a_loaded_ring_goes_on_where_it_was() {
        for count in [1, 2, DEDUP_PER_USER - 1, DEDUP_PER_USER, DEDUP_PER_USER + 1, 2 * DEDUP_PER_USER] {
            let mut sent = Sent::default();
            for n in 1..=count {
                sent.remember(slot(n));
            }
            let mut loaded = Sent::default();
            load(&mut loaded, &sent);
            assert_eq!(loaded, sent, "after {count}");
        }
        Sent::default().load(1, vec![slot(1)]).unwrap_err();
        Sent::default().load(0, vec![]).unwrap_err();
        Sent::default().load(0, vec![slot(1); BLOCK + 1]).unwrap_err();
        let mut half = Sent::default();
        half.load(0, vec![slot(1)]).unwrap();
        half.load(1, vec![slot(2)]).unwrap_err();
    }

    #[test]
    fn of_an_id_that_was_used_again_the_newest_message_counts() {
        let again = |n| Slot { id: Digest::of_id("again"), ..slot(n) };
        let mut sent = Sent::default();
        sent.remember(again(1));
        for n in 2..DEDUP_PER_USER {
            sent.remember(slot(n));
        }
        sent.remember(again(DEDUP_PER_USER));
        // The slot of the first one is used for another message now.
        for n in DEDUP_PER_USER + 1..DEDUP_PER_USER + 3 {
            sent.remember(slot(n));
            assert_eq!(sent.find(again(0).id).unwrap().seq, DEDUP_PER_USER);
        }
        sent.remember(again(DEDUP_PER_USER + 3));
        let mut loaded = Sent::default();
        load(&mut loaded, &sent);
        assert_eq!(loaded, sent);
        assert_eq!(loaded.find(again(0).id).unwrap().seq, DEDUP_PER_USER + 3);
    }

    #[test]
    fn content_is_room_body_file_and_what_it_replies_to() {
        let digest = |room: &str, body: &str, reply_to, file: Option<u8>| {
            let room = crate::protocol::RoomName::new(room).unwrap();
            Digest::of_content(&room.key(), body, reply_to, file.map(|id| FileId([id; 16])))
        };
        assert_eq!(digest("Lobby", "hi", None, None), digest("lobby", "hi", None, None));
        let different = [
            digest("lobby", "hi", None, None),
            digest("lobby", "ho", None, None),
            digest("lobb", "yhi", None, None),
            digest("lobby", "hi", Some(0), None),
            digest("lobby", "hi", Some(1), None),
            digest("lobby", "hi", None, Some(0)),
            digest("lobby", "hi", None, Some(1)),
            digest("lobby", "hi", Some(0), Some(0)),
        ];
        for (place, one) in different.iter().enumerate() {
            assert!(!different[..place].contains(one), "{place}");
        }
    }
}
