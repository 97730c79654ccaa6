//! Who is online, on any server. Not replicated: each server tells the others over its links.

use std::collections::{BTreeMap, BTreeSet};

use crate::protocol::{
    name::{ServerId, UserKey},
    peer::PeerMessage,
};

/// The users with open connections, here and elsewhere.
#[derive(Debug, Default)]
pub struct Presence {
    here: BTreeMap<UserKey, usize>,
    elsewhere: BTreeMap<ServerId, BTreeSet<UserKey>>,
    came: BTreeSet<UserKey>,
    went: BTreeSet<UserKey>,
}

impl Presence {
    /// A connection of `user` begins here.
    pub fn arrive(&mut self, user: UserKey) {
        let connections = self.here.entry(user.clone()).or_default();
        *connections += 1;
        if *connections == 1 && !self.went.remove(&user) {
            self.came.insert(user);
        }
    }

    /// A connection of `user` ends here.
    pub fn depart(&mut self, user: &UserKey) {
        if let Some(connections) = self.here.get_mut(user) {
            *connections -= 1;
            if *connections == 0 {
                self.here.remove(user);
                if !self.came.remove(user) {
                    self.went.insert(user.clone());
                }
            }
        }
    }

    /// Whether a connection of `user` is open anywhere.
    pub fn is_online(&self, user: &UserKey) -> bool {
        self.here.contains_key(user) || self.elsewhere.values().any(|users| users.contains(user))
    }

    /// Everything, for a peer that has just been linked.
    pub fn whole(&self) -> PeerMessage {
        PeerMessage::Presence {
            whole: true,
            online: self.here.keys().cloned().collect(),
            offline: Vec::new(),
        }
    }

    /// What changed since the last call, for all peers.
    pub fn take_change(&mut self) -> Option<PeerMessage> {
        if self.came.is_empty() && self.went.is_empty() {
            return None;
        }
        let online = std::mem::take(&mut self.came).into_iter().collect();
        let offline = std::mem::take(&mut self.went).into_iter().collect();
        Some(PeerMessage::Presence { whole: false, online, offline })
    }

    /// A peer told of its users.
    pub fn heard(&mut self, from: &ServerId, whole: bool, online: Vec<UserKey>, offline: &[UserKey]) {
        let users = self.elsewhere.entry(from.clone()).or_default();
        if whole {
            users.clear();
        }
        users.extend(online);
        for user in offline {
            users.remove(user);
        }
    }

    /// A peer is gone, and its connections with it.
    pub fn unlinked(&mut self, peer: &ServerId) {
        self.elsewhere.remove(peer);
    }
}
