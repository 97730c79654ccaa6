//! The rows that nearly every message changes: the clock, a room's newest event, what a user has sent, how
//! far a server's proposals have come.
//!
//! An entry only marks them. They are made from the state when they are written, once for the many entries
//! that have changed them since. All other rows are made with the entry that changes them.

use super::{entities::user_id::UserId, rows, state::State};
use crate::{
    disk::{RoomId, Row},
    protocol::peer::NodeId,
};

/// A row that was changed and is not made yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DirtyRow {
    Clock,
    /// A server's newest command.
    Origin(NodeId),
    /// A room's newest event, with the newest messages.
    LastSeq(RoomId),
    /// A block of the messages by which a user's repeats are recognised.
    Sent(UserId, usize),
}

impl State {
    /// The row as the state has it now. `None` if what it is about is gone: then its removal is among the
    /// rows of the entry that ended it.
    pub fn row_of(&self, dirty: DirtyRow) -> Option<Row> {
        Some(match dirty {
            DirtyRow::Clock => rows::clock(&self.clock),
            DirtyRow::Origin(node_id) => rows::origin(node_id, self.origins.newest(node_id)?),
            DirtyRow::LastSeq(room) => rows::last_seq(room, self.rooms.get(&room)?),
            DirtyRow::Sent(user, block) => rows::sent(user, block, self.users.get(&user)?.sent.block(block)),
        })
    }
}
