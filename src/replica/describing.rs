//! What a replica says about itself and the cluster.

use std::collections::BTreeSet;

use crate::protocol::{
    answer::Push,
    name::ServerId,
    peer::{DataMark, LogMark},
    status::{PeerStatus, Role, ServerInfo, ServerList, Status},
};

use super::{
    consensus::Part,
    election::Standing,
    fanout::Fan,
    io::Now,
    replica::{Core, Replica},
    storage::Storage,
};

impl<S: Storage> Replica<S> {
    /// What this server's data is, for heartbeats and links.
    pub fn data_mark(&self) -> DataMark {
        let (term, log) = match &self.core {
            Core::Formed(consensus) => (consensus.term(), consensus.synced()),
            Core::Unformed(_) | Core::Changing => (0, LogMark::default()),
        };
        DataMark {
            cluster_id: self.identity.cluster.as_ref().map(|cluster| cluster.cluster_id),
            node_id: self.identity.node_id,
            boot: self.identity.boot,
            term,
            log,
        }
    }

    /// What this server is.
    pub fn role(&self) -> Role {
        match &self.core {
            Core::Unformed(_) | Core::Changing => Role::Forming,
            Core::Formed(consensus) => match consensus.part() {
                Part::Leader => Role::Leader,
                _ if !consensus.is_voter() => Role::Learner,
                Part::Candidate => Role::Candidate,
                Part::Follower => Role::Follower,
            },
        }
    }

    /// The term of consensus.
    pub fn term(&self) -> u64 {
        self.data_mark().term
    }

    /// Who leads, where that is known.
    pub fn leader(&self) -> Option<ServerId> {
        let Core::Formed(consensus) = &self.core else { return None };
        self.server_of(consensus.leader()?).cloned()
    }

    /// Whether this server may take part in elections.
    pub fn may_vote(&self) -> bool {
        self.trust.is_cleared() && matches!(&self.core, Core::Formed(consensus) if consensus.is_voter())
    }

    /// What the election needs to know of this server.
    pub fn standing(&self) -> Standing {
        let log = match &self.core {
            Core::Formed(consensus) => consensus.last(),
            Core::Unformed(_) | Core::Changing => LogMark::default(),
        };
        Standing {
            data: self.data_mark(),
            log,
            leads: self.role() == Role::Leader,
            leader: self.leader().filter(|leader| *leader != self.config.server_id),
            votes: self.may_vote(),
        }
    }

    /// How many client connections are logged in.
    pub fn clients(&self) -> u64 {
        self.sessions.logged_in() as u64
    }

    fn is_alive(&self, server: &ServerId) -> bool {
        *server == self.config.server_id || self.view.peers.get(server).is_some_and(|peer| peer.alive)
    }

    /// The servers of the cluster, as this one sees them.
    pub fn server_list(&self) -> ServerList {
        let leader_id = self.leader();
        let servers = self
            .config
            .servers
            .iter()
            .map(|server| {
                let me = server.server_id == self.config.server_id;
                let peer = self.view.peers.get(&server.server_id);
                ServerInfo {
                    server_id: server.server_id.clone(),
                    host: server.host.clone(),
                    tcp_port: server.port,
                    ring_position: server.ring_position,
                    alive: self.is_alive(&server.server_id),
                    is_leader: leader_id.as_ref() == Some(&server.server_id),
                    clients: if me { self.clients() } else { peer.map_or(0, |peer| peer.clients) },
                }
            })
            .collect();
        ServerList { servers, leader_id, term: self.term() }
    }

    /// The whole status.
    pub fn status(&self, now: Now) -> Status {
        let (last_index, commit_index) = match &self.core {
            Core::Formed(consensus) => (consensus.last_index(), consensus.commit_index()),
            Core::Unformed(_) | Core::Changing => (0, 0),
        };
        let me = self.config.server(&self.config.server_id);
        let port = me.map_or(0, |server| server.port);
        Status {
            server_id: self.config.server_id.clone(),
            role: self.role(),
            leader_id: self.leader(),
            term: self.term(),
            ring_position: self.config.ring_position(),
            last_index,
            commit_index,
            applied_index: self.applied_index(),
            uptime: now.mono_ms.saturating_sub(self.started_ms) as f64 / 1000.0,
            clients: self.clients(),
            messages: self.state.messages(),
            tcp_port: port,
            udp_port: port.saturating_add(20),
            peers: self.peer_statuses(now),
            note: self.note(),
            version: env!("CARGO_PKG_VERSION").into(),
        }
    }

    fn peer_statuses(&self, now: Now) -> Vec<PeerStatus> {
        let others = self.config.servers.iter().filter(|server| server.server_id != self.config.server_id);
        others
            .map(|server| {
                let view = self.view.peers.get(&server.server_id);
                let match_index = match &self.core {
                    Core::Formed(consensus) => self
                        .members
                        .node_of(&server.server_id, consensus.conf())
                        .and_then(|node| consensus.match_index(node)),
                    Core::Unformed(_) | Core::Changing => None,
                };
                PeerStatus {
                    server_id: server.server_id.clone(),
                    alive: view.is_some_and(|view| view.alive),
                    last_heartbeat_age_ms: view
                        .and_then(|view| view.last_heartbeat_ms)
                        .map(|heard_ms| now.mono_ms.saturating_sub(heard_ms)),
                    match_index,
                }
            })
            .collect()
    }

    /// What this server waits for, in words.
    fn note(&self) -> String {
        match self.role() {
            Role::Forming => {
                let missing: BTreeSet<&str> = self
                    .config
                    .servers
                    .iter()
                    .filter(|server| server.server_id != self.config.server_id)
                    .filter(|server| !self.links.contains_key(&server.server_id))
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
            _ if !self.trust.is_cleared() => {
                "waiting until another server has vouched for this one's data".into()
            }
            // Majorities of the old and of the new voters are needed just now; a lost server is in the old.
            _ if matches!(&self.core, Core::Formed(consensus) if !consensus.conf().voters_outgoing.is_empty()) => {
                "a rebuilt server is being taken in; until that is done no other should be stopped".into()
            }
            _ => String::new(),
        }
    }

    /// Says who leads and who lives, where that has changed.
    pub(super) fn announce(&mut self, now: Now) {
        // How many clients each has changes all the time; that alone is no news.
        let alive = self.config.servers.iter().map(|server| self.is_alive(&server.server_id)).collect();
        let news = Some((self.leader(), alive));
        if self.announced == news {
            return;
        }
        self.announced = news;
        let line = Push::ServerList(self.server_list()).line(None, &self.signature(now));
        self.fan(Fan::SayAll { line: line.into() });
    }
}
