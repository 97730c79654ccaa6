//! Users.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::dedup::Sent;
use crate::{protocol::name::UserName, replica::storage::RoomId};

/// A user's number: the log index of the first entry of theirs that was carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct UserId(pub u64);

/// A user. So far all are guests: whoever uses a name is its user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct User {
    /// The name, in the case of its first use.
    pub name: UserName,
    /// Rooms they created.
    pub rooms_created: u64,
    /// Rooms they are a member of.
    pub rooms: BTreeSet<RoomId>,
    /// Their last messages.
    pub sent: Sent,
}

impl User {
    /// A user who has done nothing yet.
    pub fn new(name: UserName) -> Self {
        User { name, rooms_created: 0, rooms: BTreeSet::new(), sent: Sent::default() }
    }
}
