//! What a replica says about itself and the cluster.

use std::collections::BTreeSet;

use crate::{
    chat::State,
    config::ReplicaConfig,
    disk::Storage,
    election::Standing,
    protocol::status::{PeerStatus, Role, ServerInfo, ServerList, Status, WantedLeader},
};

use super::{
    clocks::{agreed_ms, offset_ms, wrong_clock},
    io::Now,
    node::Node,
    unsaved::Unsaved,
};

/// The parts of the replica that a description needs.
pub struct Described<'a, S: Storage> {
    pub config: &'a ReplicaConfig,
    /// The member of the cluster.
    pub node: &'a Node<S>,
    pub state: &'a State,
    /// What is applied and not yet on the disk.
    pub unsaved: &'a Unsaved,
    /// How many client connections are logged in.
    pub clients: u64,
    /// When the server began, on the monotonic clock.
    pub started_ms: u64,
}

/// The last entry that is applied.
pub fn applied_index<S: Storage>(node: &Node<S>, unsaved: &Unsaved) -> u64 {
    unsaved.applied_index().unwrap_or(node.consensus.stored_applied().index)
}

/// What the election needs to know of a server.
pub fn standing<S: Storage>(config: &ReplicaConfig, node: &Node<S>) -> Standing {
    Standing {
        data: node.data_mark(),
        log: node.consensus.last(),
        leads: node.role() == Role::Leader,
        leader: node.leader().filter(|leader| **leader != config.server_id).cloned(),
        votes: node.may_vote(),
    }
}

impl<S: Storage> Described<'_, S> {
    /// The servers of the cluster, as this one sees them.
    pub fn server_list(&self) -> ServerList {
        let leader_id = self.node.leader().cloned();
        let servers = self
            .config
            .servers
            .for_clients()
            .into_iter()
            .map(|server| {
                let me = server.server_id == self.config.server_id;
                let (host, tcp_port) = server.client_address();
                let peer = self.node.view.peers.get(&server.server_id);
                ServerInfo {
                    server_id: server.server_id.clone(),
                    host: host.into(),
                    tcp_port,
                    ring_position: server.ring_position,
                    alive: self.node.is_alive(&server.server_id),
                    is_leader: leader_id.as_ref() == Some(&server.server_id),
                    clients: if me { self.clients } else { peer.map_or(0, |peer| peer.clients) },
                }
            })
            .collect();
        ServerList {
            servers,
            leader_id,
            term: self.node.consensus.term(),
            epoch: epoch(self.node, self.state),
        }
    }

    pub fn status(&self, now: Now) -> Status {
        let me = self.config.server(&self.config.server_id);
        let port = me.map_or(0, |server| server.port);
        Status {
            server_id: self.config.server_id.clone(),
            role: self.node.role(),
            leader_id: self.node.leader().cloned(),
            term: self.node.consensus.term(),
            epoch: epoch(self.node, self.state),
            ring_position: self.config.ring_position(),
            last_index: self.node.consensus.last_index(),
            commit_index: self.node.consensus.commit_index(),
            applied_index: applied_index(self.node, self.unsaved),
            uptime: now.mono_ms.saturating_sub(self.started_ms) as f64 / 1000.0,
            clients: self.clients,
            messages: self.state.messages(),
            tcp_port: port,
            udp_port: port.saturating_add(20),
            peers: self.peer_statuses(now),
            note: self.note(now),
            wanted_leader: self.state.lead(agreed_ms(now, &self.node.view)).map(|lead| WantedLeader {
                server_id: lead.server_id.clone(),
                until: lead.until_ms as f64 / 1000.0,
            }),
            last_backup: self.state.last_backup_ms().map(|at_ms| at_ms as f64 / 1000.0),
            indexing: self.node.consensus.storage().indexing(),
            scrub: self.node.scrub,
            rules: self.state.rules(),
            newest_rules: self.config.rules.newest,
            version: env!("CARGO_PKG_VERSION").into(),
        }
    }

    fn peer_statuses(&self, now: Now) -> Vec<PeerStatus> {
        let others = self.config.servers.iter().filter(|server| server.server_id != self.config.server_id);
        others
            .map(|server| {
                let view = self.node.view.peers.get(&server.server_id);
                let (client_host, client_port) = server.client_address();
                PeerStatus {
                    server_id: server.server_id.clone(),
                    host: server.host.clone(),
                    port: server.port,
                    client_host: client_host.into(),
                    client_port,
                    alive: view.is_some_and(|view| view.alive),
                    last_heartbeat_age_ms: view
                        .and_then(|view| view.last_heartbeat_ms)
                        .map(|heard_ms| now.mono_ms.saturating_sub(heard_ms)),
                    match_index: self.node.match_index(&server.server_id),
                    clock_offset_ms: view.and_then(|view| offset_ms(now, view)),
                }
            })
            .collect()
    }

    /// What this server waits for, in words.
    fn note(&self, now: Now) -> String {
        match self.node.role() {
            Role::Forming => {
                if let Some(complaint) = self.node.complaint() {
                    return complaint.into();
                }
                if let Some(waits) = self.node.waits() {
                    return waits.into();
                }
                let missing: BTreeSet<&str> = self
                    .config
                    .servers
                    .iter()
                    .filter(|server| server.server_id != self.config.server_id)
                    .filter(|server| !self.node.is_linked(&server.server_id))
                    .map(|server| server.server_id.as_str())
                    .collect();
                if missing.is_empty() {
                    return "meeting the other servers for the first time".into();
                }
                let missing: Vec<&str> = missing.into_iter().collect();
                format!(
                    "a new cluster begins once all its servers have met; not yet here: {}",
                    missing.join(", ")
                )
            }
            Role::Learner => "being rebuilt from the other servers; does not vote yet".into(),
            _ if !self.node.is_cleared() => {
                "waiting until another server has vouched for this one's data".into()
            }
            // Majorities of the old and of the new voters are needed just now; a lost server is in the old.
            _ if !self.node.consensus.conf().voters_outgoing.is_empty() => {
                "a rebuilt server is being taken in; until that is done no other should be stopped".into()
            }
            _ if !self.node.has_room() => {
                "its disk is full, so it takes no messages: make room, and it goes on by itself".into()
            }
            _ if self.node.damage().is_some() => self.node.damage().unwrap_or_default(),
            _ => wrong_clock(now, &self.config.server_id, &self.node.view)
                .or_else(|| self.upgrade())
                .unwrap_or_default(),
        }
    }

    /// How far an upgrade of the servers' programs is, in words; `None` if there is none that changes the
    /// rules.
    fn upgrade(&self) -> Option<String> {
        if let Some(newer) = self.node.newer_program() {
            return Some(format!("{newer} runs a newer program: upgrade this server, too"));
        }
        let (rules, newest) = (self.state.rules(), self.config.rules.newest);
        let without = self.node.without_newest_rules();
        (rules < newest && !without.is_empty()).then(|| {
            format!(
                "the cluster goes on by version {rules} of the rules until these run the new program, too: {}",
                without.join(", ")
            )
        })
    }
}

/// The life that the cluster's data is in.
pub fn epoch<S: Storage>(node: &Node<S>, state: &State) -> u64 {
    state.epoch(node.identity.cluster.as_ref().map_or(0, |cluster| cluster.cluster_id))
}
