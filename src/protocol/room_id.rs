//! The number of a room: it stays the same whatever the room is called.

use serde::{Deserialize, Serialize};

/// The bits of a number that come from the time at which the room was made.
const TIME_BITS: u32 = 16;

/// A room's number. No other room has it, not after the room is gone and not in another cluster: it is made
/// of the log index of the entry that created the room, and of the time of that entry. So a client that comes
/// to another cluster, or to one that was restored from a backup, does not mean another room by it.
///
/// It is below 2^53 for the first 2^37 entries of a log, so that JavaScript can hold it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RoomId(pub u64);

impl RoomId {
    /// Of the room that the entry at `index` creates. Numbers grow with the log.
    pub fn new(index: u64, created_at_ms: u64) -> RoomId {
        RoomId(index << TIME_BITS | created_at_ms & ((1 << TIME_BITS) - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_grow_and_differ_between_logs() {
        let at_ms = 1_763_677_200_123;
        assert!(RoomId::new(2, 0) > RoomId::new(1, at_ms));
        assert_ne!(RoomId::new(7, at_ms), RoomId::new(7, at_ms + 1));
        assert!(RoomId::new((1 << 37) - 1, u64::MAX).0 < 1 << 53);
    }
}
