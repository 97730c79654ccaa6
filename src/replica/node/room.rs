//! A server whose disk is almost full.
//!
//! It stops before the disk does, with some room in reserve, and goes on by itself when there is room again:
//!
//! 1. It takes no new entries, so it acknowledges none that it could not keep. The others go on without it.
//! 2. It hands the lead to a server that has room, and stands for no election as long as others can.
//! 3. Its clients are sent to servers that have room. If it leads, the others have no room either: then
//!    writes are refused, and its clients can read.
//!
//! It goes on voting: a vote is written into a segment of the log that is there already.

use super::Node;
use crate::{
    consensus::{APPEND, RaftRole},
    disk::Storage,
    protocol::peer::RaftMessage,
};

impl<S: Storage> Node<S> {
    /// Notes whether there is room on the disk for more than what is in it.
    pub fn on_room(&mut self, has_room: bool) {
        self.has_room = has_room;
    }

    /// Whether there is room on the disk.
    pub fn has_room(&self) -> bool {
        self.has_room
    }

    /// Whether its clients should be elsewhere: it cannot follow or read everything, and another one leads.
    pub fn falls_behind(&self) -> bool {
        (!self.has_room || self.damage.lasts())
            && self.consensus.leader().is_some_and(|leader| leader != self.identity.node_id)
    }

    /// Whether a message brings entries for which there is no room.
    pub(super) fn has_no_room_for(&self, message: &RaftMessage) -> bool {
        let brings_entries = message.kind == APPEND && !message.entries.is_empty();
        brings_entries && !self.has_room && self.consensus.raft_role() != RaftRole::Leader
    }
}
