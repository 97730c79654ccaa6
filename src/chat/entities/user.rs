//! Users.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{
    account::{Account, Sessions},
    dedup::Sent,
    user_id::UserId,
};
use crate::{disk::RoomId, protocol::name::UserName};

/// Users whose direct messages one user may refuse.
pub const BLOCKED_MAX: usize = 1_000;

/// How far a user has read in a room that they are a member of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Reading {
    /// The last event that they have marked as read, or the one with which they joined.
    pub last_read: u64,
    /// The event with which they joined.
    pub since: u64,
}

impl Reading {
    /// Notes that everything up to `seq` is read; whether that changes anything. Reading never goes back.
    pub fn mark(&mut self, seq: u64) -> bool {
        let is_news = seq > self.last_read;
        self.last_read = self.last_read.max(seq);
        is_news
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The name, in the case in which it was registered, else in that of its first use.
    pub name: UserName,
    /// Who may use it.
    pub account: Account,
    /// The sessions of the account.
    pub sessions: Sessions,
    /// Whether a user has used this name; else others have only named it.
    pub(in crate::chat) is_used: bool,
    pub rooms_created: u64,
    /// Rooms they are a member of, and how far they have read in each.
    pub rooms: BTreeMap<RoomId, Reading>,
    /// Bytes of the files that they have uploaded or begun to.
    pub file_bytes: u64,
    /// Users from whom they take no direct messages.
    pub(in crate::chat) blocked: BTreeSet<UserId>,
    /// Their last messages.
    pub(in crate::chat) sent: Sent,
}

impl User {
    /// A user who has done nothing yet.
    pub(in crate::chat) fn new(name: UserName) -> Self {
        User {
            name,
            account: Account::default(),
            sessions: Sessions::default(),
            is_used: false,
            rooms_created: 0,
            rooms: BTreeMap::new(),
            file_bytes: 0,
            blocked: BTreeSet::new(),
            sent: Sent::default(),
        }
    }
}
