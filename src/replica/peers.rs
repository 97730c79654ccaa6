//! What the other servers say and are told, and which servers there are.

use std::sync::Arc;

use crate::{
    config::ReplicaConfig,
    disk::Storage,
    fanout::Instruction,
    protocol::{
        directory::Directory,
        name::ServerId,
        peer::{NodeId, PeerMessage, RaftMessage},
        said::Said,
    },
};

use super::{
    announced::Announced,
    clients::signature,
    clocks::agreed_ms,
    io::{Now, Output},
    leading::Forwarded,
    node::Heard,
    replica::Replica,
};

impl<S: Storage> Replica<S> {
    pub(super) fn on_peer(&mut self, now: Now, from: ServerId, message: PeerMessage) {
        let outputs = &mut self.outputs;
        match message {
            PeerMessage::Hello { data, rules } => self.node.on_hello(now, from, (data, rules), outputs),
            PeerMessage::Doubt { node_id, reason } => self.node.on_doubt(&from, node_id, &reason, outputs),
            PeerMessage::Welcome { cluster_id, founders } => {
                self.node.on_welcome(&from, cluster_id, founders, outputs);
            }
            PeerMessage::Servers { cluster_id, servers } => {
                if let Heard::News(servers) = self.node.on_servers(&from, cluster_id, servers, outputs) {
                    self.follow_servers(servers);
                }
            }
            PeerMessage::Join { server_id, node_id } => self.node.on_join(&from, server_id, node_id, outputs),
            PeerMessage::Raft(message) => self.node.on_raft(now, &from, *message),
            presence @ PeerMessage::Presence { .. } => self.clients.on_peer_presence(now, &from, presence),
            PeerMessage::Typing { user, room } => {
                self.with_clients(now, |clients, env| clients.heard_typing(env, &user, &room));
            }
            PeerMessage::Forward { node_id, boot, first_seq, commands } => {
                if let Some(leading) = self.leading.as_mut().filter(|_| self.node.accepts(&from, node_id)) {
                    let forwarded = Forwarded { node_id, boot, first_seq, commands };
                    leading.accept(forwarded, &self.state, agreed_ms(now, &self.node.view));
                }
            }
            PeerMessage::RowWanted(key) => self.node.on_row_wanted(from, key, outputs),
            PeerMessage::Row { key, content } => self.node.on_row(now, from, key, content, outputs),
            // The caller moves the bytes of snapshots and gives `SnapshotReceived`.
            PeerMessage::SnapshotBegin(_)
            | PeerMessage::SnapshotChunk { .. }
            | PeerMessage::SnapshotEnd { .. }
            | PeerMessage::Report(_) => {}
        }
    }

    /// Follows the servers that the log has, if it is ahead of what is known here.
    pub(super) fn follow_log(&mut self) {
        let known = self.config.servers.version;
        if let Some(servers) = self.state.servers().filter(|servers| servers.version > known).cloned() {
            if servers.entry(&self.config.server_id).is_none() {
                return self.node.remove("its log says so", &mut self.outputs);
            }
            self.follow_servers(servers);
        }
    }

    /// The servers are these from now on. Those that are no more among them are told before their links end.
    pub(super) fn follow_servers(&mut self, servers: Directory) {
        let config = ReplicaConfig { servers: servers.clone(), ..ReplicaConfig::clone(&self.config) };
        self.config = Arc::new(config);
        self.node.follow_servers(&self.config);
        if let Some(message) = self.node.servers_message() {
            self.node.tell_peers(&message, &mut self.outputs);
        }
        self.outputs.push(Output::Servers(Box::new(servers)));
    }

    /// Passes this server's proposals on to the leader, which may be itself.
    pub(super) fn pass_on(&mut self, now: Now, leader: NodeId, term: u64) {
        self.proposals.resend_if_silent(now.mono_ms);
        let here = leader == self.node.identity.node_id;
        let leader_server = self.node.server_of(leader).cloned();
        if !here && leader_server.as_ref().is_none_or(|server| !self.node.is_linked(server)) {
            return;
        }
        let (node_id, boot) = (self.node.identity.node_id, self.node.identity.boot);
        while let Some((first_seq, commands)) = self.proposals.take_unsent(now.mono_ms, leader, term) {
            if let Some(leading) = self.leading.as_mut().filter(|_| here) {
                let forwarded = Forwarded { node_id, boot, first_seq, commands };
                leading.accept(forwarded, &self.state, agreed_ms(now, &self.node.view));
            } else if let Some(to) = leader_server.clone() {
                let message = PeerMessage::Forward { node_id, boot, first_seq, commands };
                self.outputs.push_at_once(to, message);
            }
        }
    }

    /// Messages of consensus with the peers whose links stand.
    pub(super) fn addressed(&self, messages: Vec<RaftMessage>) -> Vec<(ServerId, PeerMessage)> {
        let to_peer = |message: RaftMessage| {
            let to = self.node.server_of(message.to).filter(|server| self.node.is_linked(server))?;
            Some((to.clone(), PeerMessage::Raft(Box::new(message))))
        };
        messages.into_iter().filter_map(to_peer).collect()
    }

    /// Tells the clients which server leads and which live, if that has changed.
    pub(super) fn announce(&mut self, now: Now) {
        // The numbers of clients change all the time; that alone is not announced.
        let shown = self.config.servers.for_clients().into_iter().map(|server| &server.server_id);
        let servers = shown.map(|id| (id.clone(), self.node.is_alive(id))).collect();
        let news = Some(Announced { leader: self.leader(), servers });
        if self.announced == news {
            return;
        }
        self.announced = news;
        let said = Said::push(self.server_list(), signature(&self.config, &self.state, now));
        self.outputs.fan_out(Instruction::SayAll { said });
    }
}
