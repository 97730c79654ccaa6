//! What comes over the links to the peers for the node.

use super::{Node, link::Link};
use crate::{
    consensus::{APPEND, APPEND_RESPONSE, RaftRole, VOTE_RESPONSE},
    disk::Storage,
    protocol::{
        name::ServerId,
        peer::{LogMark, NodeId, RaftMessage},
    },
    replica::{io::Now, outputs::Outputs},
};

impl<S: Storage> Node<S> {
    /// A link to a peer stands.
    pub fn on_peer_up(&mut self, peer: ServerId, outputs: &mut Outputs) {
        self.links.insert(peer.clone(), Link::default());
        self.send(peer.clone(), self.hello(), outputs);
        // It may have been away, or not be one of them any more.
        if let Some(servers) = self.servers_message() {
            self.send(peer, servers, outputs);
        }
    }

    /// Returns whether it was the leader's.
    pub fn on_peer_down(&mut self, peer: &ServerId) -> bool {
        self.links.remove(peer);
        self.trust.unlinked(peer);
        let Some(node) = self.members.node_of(peer, self.consensus.conf()) else { return false };
        let was_leader = self.consensus.leader() == Some(node);
        self.consensus.unreachable(node);
        was_leader
    }

    /// A peer remembers more of a node's data than that node has. It may speak of an earlier node of this
    /// server.
    pub fn on_doubt(&mut self, from: &ServerId, node_id: NodeId, reason: &str, outputs: &mut Outputs) {
        if node_id == self.identity.node_id {
            let reason = format!("{from} has seen data of this server that is gone: {reason}");
            self.quarantine(reason, outputs);
        }
    }

    /// A message of consensus. It counts only between members that have shown who they are.
    pub fn on_raft(&mut self, now: Now, from: &ServerId, message: RaftMessage) {
        let known = self.trust.accepts(from, message.from) && message.to == self.identity.node_id;
        let is_member = self.identity.cluster.is_some();
        let is_unwanted = message.kind == APPEND && now.mono_ms < self.no_entries_until_ms;
        let is_unwanted = is_unwanted || self.has_no_room_for(&message);
        if !is_member || !known || !self.trust.is_cleared() || is_unwanted {
            return;
        }
        // Only what this server sent as the leader of this term names a known entry. Later its log may hold
        // another one in that place, which the peer never had.
        if message.kind == APPEND_RESPONSE
            && !message.reject
            && self.consensus.raft_role() == RaftRole::Leader
            && message.term == self.consensus.term()
            && let Some(last_log_term) = self.consensus.term_of(message.index)
        {
            let log = LogMark { last_log_term, last_log_index: message.index };
            self.trust.acknowledged(from, message.term, log);
        }
        if message.kind == VOTE_RESPONSE && !message.reject {
            self.trust.voted(from, message.term);
        }
        self.consensus.step(message);
    }
}
