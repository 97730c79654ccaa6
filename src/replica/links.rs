//! The links to the peers, and what comes over them.

use crate::protocol::{
    name::ServerId,
    peer::{DataMark, LogMark, NodeId, PeerMessage, RaftMessage},
};

use super::{
    consensus::{APPEND, APPEND_RESPONSE, Part},
    io::{Now, Output},
    leading::Forwarded,
    replica::{Core, Replica},
    storage::Storage,
};

/// A standing link to a peer.
#[derive(Default)]
pub(super) struct Link {
    /// What the peer's data is, as it showed on this link.
    pub mark: Option<DataMark>,
    /// Whether the peer has answered this server's `Hello` on this link.
    pub welcomed: bool,
}

impl<S: Storage> Replica<S> {
    pub(super) fn on_peer_up(&mut self, peer: ServerId) {
        self.links.insert(peer.clone(), Link::default());
        let hello = PeerMessage::Hello(self.data_mark());
        self.send(peer.clone(), hello);
        let presence = self.presence.whole();
        self.send(peer, presence);
    }

    pub(super) fn on_peer_down(&mut self, now: Now, peer: &ServerId) {
        self.links.remove(peer);
        self.trust.unlinked(peer);
        self.presence.unlinked(now.mono_ms, peer);
        if let Core::Formed(consensus) = &mut self.core
            && let Some(node) = self.members.node_of(peer, consensus.conf())
        {
            if consensus.leader() == Some(node) {
                self.proposals.link_lost();
            }
            consensus.unreachable(node);
        }
    }

    pub(super) fn on_peer(&mut self, now: Now, from: ServerId, message: PeerMessage) {
        match message {
            PeerMessage::Hello(mark) => self.on_hello(now, from, mark),
            PeerMessage::Doubt { node_id, reason } => {
                if node_id == self.identity.node_id {
                    self.quarantine(format!("{from} has seen data of this server that is gone: {reason}"));
                }
            }
            PeerMessage::Welcome { cluster_id, founders } => self.on_welcome(&from, cluster_id, founders),
            PeerMessage::Join { server_id, node_id } => self.on_join(&from, server_id, node_id),
            PeerMessage::Presence { whole, online, away, offline } => {
                self.presence.heard(now.mono_ms, &from, whole, online, away, offline);
            }
            PeerMessage::Typing { user, room } => self.heard_typing(now, &user, &room),
            PeerMessage::Raft(message) => self.on_raft(now, &from, *message),
            PeerMessage::Forward { node_id, boot, first_seq, commands } => {
                if self.trust.accepts(&from, node_id)
                    && let Some(leading) = &mut self.leading
                {
                    leading.accept(
                        Forwarded { node_id, boot, first_seq, commands },
                        &self.state,
                        now.wall_ms,
                    );
                }
            }
            // The bytes of snapshots are moved by the caller, which says `SnapshotReceived`.
            PeerMessage::SnapshotBegin(_)
            | PeerMessage::SnapshotChunk { .. }
            | PeerMessage::SnapshotEnd { .. } => {}
        }
    }

    fn on_raft(&mut self, now: Now, from: &ServerId, message: RaftMessage) {
        let known = self.trust.accepts(from, message.from) && message.to == self.identity.node_id;
        let Core::Formed(consensus) = &mut self.core else { return };
        let is_unwanted = message.kind == APPEND && now.mono_ms < self.no_entries_until_ms;
        if !known || !self.trust.is_cleared() || is_unwanted {
            return;
        }
        // Only of what this server sent as the leader of this term it knows which entry that is: later its
        // log may hold another one in that place, which the peer never had.
        if message.kind == APPEND_RESPONSE
            && !message.reject
            && consensus.part() == Part::Leader
            && message.term == consensus.term()
            && let Some(last_log_term) = consensus.term_of(message.index)
        {
            let log = LogMark { last_log_term, last_log_index: message.index };
            self.trust.acknowledged(from, message.term, log);
        }
        consensus.step(message);
    }

    pub(super) fn send(&mut self, to: ServerId, message: PeerMessage) {
        if self.links.contains_key(&to) {
            self.outputs.push(Output::Peer { to, message });
        }
    }

    pub(super) fn tell_peers(&mut self, message: &PeerMessage) {
        for peer in self.links.keys().cloned().collect::<Vec<_>>() {
            self.send(peer, message.clone());
        }
    }

    /// The server of an incarnation: as the log names it, or else as it has shown itself. A server that
    /// joins knows only the founders' names until it has caught up.
    pub(super) fn server_of(&self, node: NodeId) -> Option<&ServerId> {
        self.members.server_of(node).or_else(|| self.trust.showing(node))
    }
}
