//! Which servers the cluster has, as the node follows it: it is told by the log, or by a peer whose log is
//! ahead.
//!
//! | who | learns it from |
//! |---|---|
//! | a server that applies the log | the log |
//! | a server that was away | the first peer that it links to, or that it asks |
//! | a server that is to join | the server that it was told of, which it asks until it is added |
//! | a server that was removed | the peers, as their links to it end, or whom it asks when it comes back |
//!
//! The voters are another matter: consensus has them, and the leader lets them follow (`forming`).

use std::{collections::BTreeSet, sync::Arc};

use super::Node;
use crate::{
    config::ReplicaConfig,
    disk::Storage,
    election::membership::PeerView,
    protocol::{
        answer::{ServerPlan, ServerRow, ServerTable},
        directory::{Directory, Majority, ServerChange, UnderWay},
        name::ServerId,
        peer::{NodeId, PeerMessage},
    },
    replica::{io::Output, outputs::Outputs},
};

/// What a peer's word about the servers comes to.
pub enum Heard {
    /// Nothing new.
    Nothing,
    /// The servers are these.
    News(Directory),
}

impl<S: Storage> Node<S> {
    /// The servers are those of `config` from now on.
    pub fn follow_servers(&mut self, config: &Arc<ReplicaConfig>) {
        self.config = Arc::clone(config);
        self.trust.servers_changed(config.servers.voting().count());
        self.waits = None;
    }

    /// What a peer is told of the servers; `None` if its own configuration says it.
    pub fn servers_message(&self) -> Option<PeerMessage> {
        let cluster_id = self.identity.cluster.as_ref()?.cluster_id;
        let servers = &self.config.servers;
        (servers.version > 0)
            .then(|| PeerMessage::Servers { cluster_id: Some(cluster_id), servers: servers.clone() })
    }

    /// A peer says which servers the cluster has. Only what is committed is said so.
    pub fn on_servers(
        &mut self,
        from: &ServerId,
        cluster_id: Option<u64>,
        servers: Directory,
        outputs: &mut Outputs,
    ) -> Heard {
        let mine = self.identity.cluster.as_ref().map(|cluster| cluster.cluster_id);
        let is_listed = servers.entry(&self.config.server_id).is_some();
        match mine {
            Some(mine) if cluster_id != Some(mine) || servers.version <= self.config.servers.version => {
                Heard::Nothing
            }
            Some(_) if !is_listed => {
                self.remove(&format!("{from} says so"), outputs);
                Heard::Nothing
            }
            None if self.consensus.synced().last_log_index > 0 || cluster_id.is_none() => Heard::Nothing,
            None if !is_listed => {
                self.wait_to_be_added(from, outputs);
                Heard::Nothing
            }
            _ if servers.version <= self.config.servers.version => Heard::Nothing,
            _ => Heard::News(servers),
        }
    }

    /// This server belongs to the cluster no more: it takes no part in anything from now on. Said once.
    pub fn remove(&mut self, how: &str, outputs: &mut Outputs) {
        if !self.quarantined {
            self.quarantined = true;
            let id = &self.config.server_id;
            let reason = format!(
                "{id} was removed from its cluster ({how}), so this server ends; to let it in again, give it an empty \
                 data folder and use `syncnet-admin server add`"
            );
            outputs.push(Output::Removed { reason });
        }
    }

    /// This server's node counts no more, by the log, when the servers were these. One that goes is told so
    /// when it is gone: in the middle of a change its vote still counts.
    pub fn node_removed(&mut self, servers: Option<&Directory>, outputs: &mut Outputs) {
        if servers.is_none_or(|servers| !servers.goes(&self.config.server_id)) {
            self.quarantine("the cluster has replaced this server's data".into(), outputs);
        }
    }

    /// Whether this server has to wait until it is added, in words.
    pub fn waits(&self) -> Option<&str> {
        self.waits.as_deref()
    }

    fn wait_to_be_added(&mut self, from: &ServerId, outputs: &mut Outputs) {
        if self.waits.is_none() {
            let id = &self.config.server_id;
            let reason = format!(
                "waits to be added: the cluster of {from} has no server {id} yet; let it in with `syncnet-admin server \
                 add {id} …` or `server replace`"
            );
            self.waits = Some(reason.clone());
            outputs.push(Output::Complaint { reason });
        }
    }

    /// Whether the voters are changing: a majority of those before counts, too.
    pub fn is_between_voters(&self) -> bool {
        !self.consensus.conf().voters_outgoing.is_empty()
    }

    /// Whether a server votes.
    pub fn votes(&self, server: &ServerId) -> bool {
        self.members.of_server(server, &self.consensus.conf().voters).next().is_some()
    }

    /// Whether any node of a server counts, be it as a learner.
    pub fn counts(&self, server: &ServerId) -> bool {
        !self.nodes_of(server).is_empty()
    }

    /// Whether the living would be a majority of the voters if these nodes were taken out.
    pub(super) fn lives_without(&self, gone: &BTreeSet<NodeId>) -> bool {
        let voters = &self.consensus.conf().voters;
        let left: Vec<_> = voters.iter().filter(|node| !gone.contains(node)).collect();
        2 * left.iter().filter(|node| self.lives(***node)).count() > left.len()
    }

    /// Whether a node lives. If its server lost its data and came back as another node, it never will.
    fn lives(&self, node: NodeId) -> bool {
        let peer = self.members.server_of(node).and_then(|server| self.view.peers.get(server));
        let is_shown = |peer: &PeerView| peer.data.as_ref().is_some_and(|data| data.node_id == node);
        node == self.identity.node_id || peer.is_some_and(|peer| peer.alive && is_shown(peer))
    }

    /// Whether a server lives and votes: one that is rebuilt does not until it has everything.
    fn votes_and_lives(&self, server: &ServerId) -> bool {
        self.members.of_server(server, &self.consensus.conf().voters).any(|node| self.lives(node))
    }

    /// The servers for those who look after them.
    pub fn server_table(&self) -> ServerTable {
        let servers = &self.config.servers;
        let leader = self.leader();
        let row = |server: &crate::config::ServerEntry| {
            let id = &server.server_id;
            let (client_host, client_port) = server.client_address();
            let state = match &servers.under_way {
                Some(UnderWay::Joins(new) | UnderWay::Replaces { new, .. }) if new == id => "joins",
                Some(UnderWay::Replaces { old, .. }) if old == id => "is replaced",
                Some(UnderWay::Leaves(old)) if old == id => "leaves",
                _ => "votes",
            };
            ServerRow {
                alive: self.is_alive(id),
                client_host: client_host.into(),
                client_port,
                drained: servers.is_drained(id),
                host: server.host.clone(),
                is_leader: leader == Some(id),
                port: server.port,
                ring_position: server.ring_position,
                server_id: id.clone(),
                state: state.into(),
            }
        };
        ServerTable {
            majority: servers.count(|id| self.votes_and_lives(id)),
            servers: servers.iter().map(row).collect(),
            version: servers.version,
        }
    }

    /// What a change of the servers would do, and whether it would be made now.
    pub fn plan_servers(&self, change: &ServerChange) -> ServerPlan {
        let servers = &self.config.servers;
        let before = servers.count(|id| self.votes_and_lives(id));
        // The new one votes only once it lives and has caught up.
        let comes = match change {
            ServerChange::Add(new) | ServerChange::Replace { new, .. } => Some(&new.server_id),
            ServerChange::Remove(_) | ServerChange::Drain { .. } => None,
        };
        let changed = servers.changed(change);
        let after = changed.as_ref().map_or(before.clone(), |changed| {
            changed.when_settled().count(|id| Some(id) == comes || self.votes_and_lives(id))
        });
        let refusal = match &changed {
            Err(error) => Some(error.to_string()),
            Ok(changed) => self.why_not(change, changed, &before, &after),
        };
        ServerPlan { says: says(change, servers), before, after, refusal }
    }

    fn why_not(
        &self,
        change: &ServerChange,
        changed: &Directory,
        before: &Majority,
        after: &Majority,
    ) -> Option<String> {
        if let ServerChange::Drain { server_id, drained } = change {
            let serves = |server: &&crate::config::ServerEntry| {
                changed.should_lead(&server.server_id) && self.is_alive(&server.server_id)
            };
            return (*drained && !changed.voting().any(|server| serves(&server))).then(|| {
                format!("no other server lives that is not drained: {server_id} has to serve its clients and to lead")
            });
        }
        // What was configured by hand and never voted for must not decide who votes.
        let conf = self.consensus.conf();
        let unnamed = conf.voters.iter().filter_map(|node| self.members.server_of(*node));
        if let Some(stranger) = unnamed.into_iter().find(|id| self.config.server(id).is_none()) {
            return Some(format!(
                "{stranger} votes, and the configuration of {} does not name it; ask a server whose configuration is \
                 right",
                self.config.server_id
            ));
        }
        for (majority, when) in [(before, "are needed"), (after, "would be needed after it")] {
            if !majority.is_alive() {
                return Some(format!(
                    "the living majority would be lost: {} of {} servers {when}, and {} would be there (no answer from \
                     {}); bring servers back first, or replace one that is gone for good",
                    majority.needed,
                    majority.voting,
                    majority.alive(),
                    names(&majority.missing)
                ));
            }
        }
        None
    }
}

fn names(servers: &[ServerId]) -> String {
    servers.iter().map(ServerId::as_str).collect::<Vec<_>>().join(", ")
}

/// What a change does, in one sentence.
fn says(change: &ServerChange, servers: &Directory) -> String {
    match change {
        ServerChange::Add(server) => {
            format!("{} is sent all data first, and votes once it has caught up", server.server_id)
        }
        ServerChange::Replace { old, new } => format!(
            "{} is sent all data first; once it has caught up it votes in the place of {old}, in one change",
            new.server_id
        ),
        ServerChange::Remove(server_id) if servers.is_joining(server_id) => {
            format!("{server_id} is not to join any more")
        }
        ServerChange::Remove(server_id) => format!("{server_id} gives the lead away and votes no more"),
        ServerChange::Drain { server_id, drained: true } => {
            format!("{server_id} sends its clients to the others, gives the lead away, and goes on voting")
        }
        ServerChange::Drain { server_id, drained: false } => {
            format!("{server_id} is open to clients and may lead again")
        }
    }
}
