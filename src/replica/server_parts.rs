//! The rest of a server, as its clients' part sees it: what it may ask the node and the disk.

use std::ops::Range;

use crate::{
    chat::{Origin, State},
    config::ReplicaConfig,
    disk::{EventRow, RoomId, Storage, StorageError},
    protocol::{
        answer::{Redirect, ServerPlan, ServerTable},
        directory::ServerChange,
        name::ServerId,
        peer::PeerMessage,
        status::{Role, ServerList, Status},
    },
};

use super::{
    clients::Server,
    describing::{self, Described},
    io::Now,
    node::Node,
    outputs::Outputs,
    unsaved::Unsaved,
};

/// The parts of a replica besides its clients.
pub struct ServerParts<'a, S: Storage> {
    pub config: &'a ReplicaConfig,
    /// The member of the cluster.
    pub node: &'a mut Node<S>,
    pub state: &'a State,
    /// What is applied and not yet on the disk.
    pub unsaved: &'a Unsaved,
    /// When the server began, on the monotonic clock.
    pub started_ms: u64,
}

impl<S: Storage> ServerParts<'_, S> {
    fn described(&self, clients: u64) -> Described<'_, S> {
        let ServerParts { config, node, state, unsaved, started_ms, .. } = self;
        Described { config, node, state, unsaved, clients, started_ms: *started_ms }
    }
}

impl<S: Storage> Server for ServerParts<'_, S> {
    fn origin(&self, seq: u64) -> Origin {
        Origin { node_id: self.node.identity.node_id, boot: self.node.identity.boot, seq }
    }

    fn epoch(&self) -> u64 {
        describing::epoch(self.node, self.state)
    }

    fn role(&self) -> Role {
        self.node.role()
    }

    fn leader(&self) -> Option<&ServerId> {
        self.node.leader()
    }

    fn is_stale(&self) -> bool {
        match self.node.leader() {
            None => true,
            Some(leader) if *leader == self.config.server_id => false,
            // A leader whose link stands counts as heard before its first heartbeat has come.
            Some(leader) => self.node.view.peers.get(leader).is_none_or(|peer| {
                let is_new = peer.linked && peer.last_heartbeat_ms.is_none();
                !(peer.alive || is_new)
            }),
        }
    }

    fn has_room(&self) -> bool {
        self.node.has_room()
    }

    fn is_outside(&self) -> bool {
        self.node.waits().is_some()
    }

    fn redirect(&self, reason: &str) -> Option<Redirect> {
        let leader = self.node.leader().filter(|leader| **leader != self.config.server_id);
        let serving = self.config.servers.for_clients().into_iter().map(|server| &server.server_id);
        // One that waits to be added hears no other, only that it has to wait.
        let may_live = |id: &ServerId| self.node.is_alive(id) || self.node.waits().is_some();
        let other = || serving.filter(|id| **id != self.config.server_id && may_live(id)).max();
        let to = leader.or_else(other)?;
        let (host, tcp_port) = self.config.server(to)?.client_address();
        Some(Redirect { host: host.into(), tcp_port, server_id: to.clone(), reason: reason.into() })
    }

    fn server_list(&self, clients: u64) -> ServerList {
        self.described(clients).server_list()
    }

    fn server_table(&self) -> ServerTable {
        self.node.server_table()
    }

    fn plan_servers(&self, change: &ServerChange) -> ServerPlan {
        self.node.plan_servers(change)
    }

    fn status(&self, now: Now, clients: u64) -> Status {
        self.described(clients).status(now)
    }

    fn applied_index(&self) -> u64 {
        describing::applied_index(self.node, self.unsaved)
    }

    fn unwritten(&self, room: RoomId, seqs: Range<u64>) -> Vec<EventRow> {
        self.unsaved.unwritten(self.node.consensus.storage(), room, seqs)
    }

    fn event(&self, room: RoomId, seq: u64) -> Result<Option<EventRow>, StorageError> {
        self.unsaved.event(self.node.consensus.storage(), room, seq)
    }

    fn unreadable(&mut self, error: StorageError) {
        self.node.unreadable(error);
    }

    fn tell_peers(&self, message: &PeerMessage, outputs: &mut Outputs) {
        self.node.tell_peers(message, outputs);
    }
}
