//! How servers become a cluster, and how one that lost its data gets back in.
//!
//! **The first meeting.** A server without data cannot know whether the cluster is new or whether it has
//! lost everything. So a cluster begins only when all configured servers are linked and none of them has
//! data; the one with the lowest id then says `Welcome` with the founders' incarnations. A server without
//! data that meets one with data is welcomed too, but is no founder: it has to join.
//!
//! **Restored servers.** A folder that a backup was restored into holds a state and belongs to no cluster.
//! Such servers begin one together in the same way, if all of them hold the same state; its log continues
//! after that state. No other cluster accepts them, in particular not the one that the backup was made from:
//! there, other entries may have followed that state.
//!
//! **Joining.** The leader adds the new incarnation as a learner, and once it has caught up makes it a
//! voter and removes the server's old incarnation, in one joint change (Raft thesis, section 4.3).

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    consensus::ConfChange,
    disk::{Applied, Batch, Cluster, Storage, StorageError},
    protocol::{
        directory::UnderWay,
        name::ServerId,
        peer::{ConfState, DataMark, Founder, LogMark, NodeId, PeerMessage},
        rules::KnownRules,
    },
    replica::{
        io::{Now, Output},
        outputs::Outputs,
    },
};

use super::{
    Node,
    members::{Configure, Members},
    successor::BEHIND_MAX,
    trust::DataLost,
};

/// Time between two tries to be noticed by the others.
const HELLO_MS: u64 = 200;

impl<S: Storage> Node<S> {
    /// A peer shows its data: it is judged, and welcomed or told what is wrong with it.
    pub fn on_hello(
        &mut self,
        now: Now,
        from: ServerId,
        (mark, rules): (DataMark, KnownRules),
        outputs: &mut Outputs,
    ) {
        if let Some(link) = self.links.get_mut(&from) {
            link.rules = Some(rules);
        }
        if self.config.server(&from).is_none() {
            return;
        }
        let mine = self.identity.cluster.clone();
        if let (Some(mine), Some(theirs)) = (&mine, mark.cluster_id)
            && mine.cluster_id != theirs
        {
            let reason =
                format!("{from} belongs to another cluster, {theirs:016x}; give it an empty data folder");
            return self.complain(&from, reason, outputs);
        }
        if let Some(mine) = &mine
            && is_restored(&mark)
            && mine.founders.iter().all(|founder| founder.node_id != mark.node_id)
        {
            let reason = format!(
                "{from} was restored from a backup, for another cluster than this one; give it an empty data folder"
            );
            self.complain(&from, reason, outputs);
            // This shows the peer that it is in another cluster, and it reports that to its own operators.
            return self.welcome(from, mine, outputs);
        }
        if self.is_out(mark.node_id) && self.config.servers.goes(&from) {
            // It is about to hear that it was removed.
            return;
        }
        let verdict =
            if self.is_out(mark.node_id) { Err(DataLost::Replaced) } else { self.trust.judge(&from, &mark) };
        if let Err(lost) = verdict {
            let reason = lost.to_string();
            self.send(from, PeerMessage::Doubt { node_id: mark.node_id, reason }, outputs);
            return;
        }
        if mine.is_none() && mark.cluster_id.is_none() && mark.log != self.consensus.synced() {
            let reason = format!(
                "{from} does not hold what this server holds: restore both from the same backup, or give both an \
                 empty data folder"
            );
            self.complain(&from, reason, outputs);
        }
        if let Some(link) = self.links.get_mut(&from) {
            link.mark = Some(mark);
        }
        match mine {
            Some(cluster) => self.welcome(from, &cluster, outputs),
            None => self.meet(now, outputs),
        }
    }

    /// Whether a node was removed and counts no more. While the change that removes it is under way, the
    /// majority of the voters before it is needed as well, and with that perhaps its vote.
    fn is_out(&self, node: NodeId) -> bool {
        self.members.is_removed(node) && !self.consensus.conf().voters_outgoing.contains(&node)
    }

    /// Reports, once a link, why a peer is no member of the same cluster: only an operator can decide what is
    /// right.
    fn complain(&mut self, about: &ServerId, reason: String, outputs: &mut Outputs) {
        if let Some(link) = self.links.get_mut(about)
            && link.complaint.is_none()
        {
            link.complaint = Some(reason.clone());
            outputs.push(Output::Complaint { reason });
        }
    }

    fn welcome(&self, to: ServerId, cluster: &Cluster, outputs: &mut Outputs) {
        let Cluster { cluster_id, founders } = cluster.clone();
        self.send(to, PeerMessage::Welcome { cluster_id, founders }, outputs);
    }

    /// Sends `Hello` to the peers that have not answered yet; the first one of a link may have come before
    /// the peer knew of the link. Without a cluster, checks whether all servers are here. If this server is
    /// no member of its cluster yet, asks to join.
    pub(super) fn meet(&mut self, now: Now, outputs: &mut Outputs) {
        if let Some(cluster) = self.all_met() {
            self.adopt(cluster, outputs);
        }
        if now.mono_ms < self.next_hello_ms {
            return;
        }
        self.next_hello_ms = now.mono_ms + HELLO_MS;
        let hello = self.hello();
        let unanswered = self.links.iter().filter(|(_, link)| !link.welcomed).map(|(peer, _)| peer.clone());
        for peer in unanswered.collect::<Vec<_>>() {
            self.send(peer, hello.clone(), outputs);
        }
        if self.identity.cluster.is_some() && !self.is_in(self.consensus.conf()) {
            let (server_id, node_id) = (self.config.server_id.clone(), self.identity.node_id);
            self.tell_peers(&PeerMessage::Join { server_id, node_id }, outputs);
        }
    }

    /// The new cluster, if all configured servers are here, none has data, and this one has the lowest id.
    fn all_met(&self) -> Option<Cluster> {
        // What is to join a cluster begins none.
        if self.identity.cluster.is_some() || self.config.joins || self.config.servers.version > 0 {
            return None;
        }
        let mut founders = BTreeMap::from([(self.config.server_id.clone(), self.identity.node_id)]);
        for server in self.others() {
            let mark = self.links.get(&server.server_id)?.mark.as_ref()?;
            if mark.cluster_id.is_some() || mark.log != self.consensus.synced() {
                return None;
            }
            founders.insert(server.server_id.clone(), mark.node_id);
        }
        let (lowest, _) = founders.first_key_value()?;
        if *lowest != self.config.server_id {
            return None;
        }
        let founders: Vec<Founder> =
            founders.into_iter().map(|(server_id, node_id)| Founder { server_id, node_id }).collect();
        // The incarnations were drawn at random, so their mixture is a name that no other cluster has.
        let cluster_id = founders.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, founder| {
            (hash.rotate_left(5) ^ founder.node_id.0).wrapping_mul(0x0100_0000_01b3)
        });
        Some(Cluster { cluster_id, founders })
    }

    /// The peer accepts this server's data. A server without a cluster becomes part of the peer's.
    pub fn on_welcome(
        &mut self,
        from: &ServerId,
        cluster_id: u64,
        founders: Vec<Founder>,
        outputs: &mut Outputs,
    ) {
        match &self.identity.cluster {
            None if is_restored(&self.data_mark())
                && founders.iter().all(|founder| founder.node_id != self.identity.node_id) =>
            {
                let reason = format!(
                    "this server was restored from a backup for a new cluster, and {from} belongs to the cluster \
                     {cluster_id:016x}; give this server an empty data folder, or stop {from}"
                );
                return self.complain(from, reason, outputs);
            }
            None => self.adopt(Cluster { cluster_id, founders }, outputs),
            Some(mine) if mine.cluster_id == cluster_id => {}
            Some(_) => return,
        }
        self.trust.cleared(from);
        if let Some(link) = self.links.get_mut(from) {
            link.welcomed = true;
        }
    }

    /// Makes this server belong to `cluster`. This is synced before anything else is sent.
    fn adopt(&mut self, cluster: Cluster, outputs: &mut Outputs) {
        if let Err(error) = self.try_adopt(cluster, outputs) {
            self.broke(error);
        }
    }

    fn try_adopt(&mut self, cluster: Cluster, outputs: &mut Outputs) -> Result<(), StorageError> {
        let mut voters: Vec<NodeId> = cluster.founders.iter().map(|founder| founder.node_id).collect();
        voters.sort();
        let conf = ConfState { voters, ..ConfState::default() };
        // The log begins after the restored state, if there is one.
        let LogMark { last_log_term: term, last_log_index: index } = self.consensus.synced();
        let batch = Batch {
            cluster: Some(cluster),
            applied: Some(Applied { index, term, conf }),
            peer_marks: self.trust.take_changed(),
            ..Batch::default()
        };
        let loaded = self.consensus.found(&self.config, batch)?;
        self.members = Members::of(&loaded)?;
        self.identity = loaded.identity;
        // The peers were shown data without a cluster: show them the new data. If this server begins the
        // cluster, its welcome says so.
        let hello = self.hello();
        self.tell_peers(&hello, outputs);
        if let Some(cluster) = self.identity.cluster.clone() {
            for peer in self
                .links
                .keys()
                .filter(|peer| self.trust.shown_by(peer).is_some())
                .cloned()
                .collect::<Vec<_>>()
            {
                self.welcome(peer, &cluster, outputs);
            }
        }
        Ok(())
    }

    /// A server that is no member yet asks to join. Only a leader acts on it.
    pub fn on_join(&mut self, from: &ServerId, server_id: ServerId, node_id: NodeId, outputs: &mut Outputs) {
        // One that lost what it was told when the link came up would know too few servers, and never reach
        // the leader.
        if let Some(servers) = self.servers_message() {
            self.send(from.clone(), servers, outputs);
        }
        let is_out = self.is_out(node_id);
        let consensus = &mut self.consensus;
        let conf = consensus.conf();
        let servers = &self.config.servers;
        let is_wanted = servers.entry(&server_id).is_some() && !servers.goes(&server_id);
        let allowed = is_wanted && *from == server_id && self.trust.accepts(from, node_id) && !is_out;
        let known = conf.voters.contains(&node_id) || conf.learners.contains(&node_id);
        if !allowed || known || !consensus.has_applied_own_term() || consensus.is_reconfiguring() {
            return;
        }
        let mut steps = vec![ConfChange::AddLearner(node_id)];
        steps.extend(self.members.of_server(&server_id, &conf.learners).map(ConfChange::Remove));
        // A refusal means that something else is under way; the joining server asks again.
        self.configure(steps, vec![Founder { server_id, node_id }]);
    }

    /// As the leader: lets those that count follow the servers that the cluster is to have, in one change at
    /// a time. A server that leaves is taken out. A learner that has caught up votes, in the place of its own
    /// old node, and of the server that it replaces.
    ///
    /// A leader does not take itself out: it hands over first (`handover`).
    pub(super) fn reconfigure(&mut self) {
        if !self.consensus.has_applied_own_term() || self.consensus.is_reconfiguring() {
            return;
        }
        let keeps = |steps: &Vec<ConfChange>| self.keeps_majority(steps);
        // One that cannot go yet may wait for one that is rebuilt, and is to vote again.
        let steps = self.take_out_leaving().filter(keeps).or_else(|| self.let_vote().filter(keeps));
        let Some(steps) = steps else { return };
        self.configure(steps, Vec::new());
    }

    /// Proposes a change of those that count. If it is refused something else is under way.
    fn configure(&mut self, steps: Vec<ConfChange>, named: Vec<Founder>) {
        let configure = Configure { steps, follows: self.config.servers.version, named };
        let _ = self.consensus.propose_configure(&configure.steps, configure.encode());
    }

    /// What takes out the server that is to leave; `None` if none is, or it counts no more.
    fn take_out_leaving(&self) -> Option<Vec<ConfChange>> {
        let Some(UnderWay::Leaves(server_id)) = &self.config.servers.under_way else { return None };
        let steps: Vec<_> = self.nodes_of(server_id).into_iter().map(ConfChange::Remove).collect();
        (!steps.is_empty()).then_some(steps)
    }

    /// What lets a learner vote that has caught up; `None` if there is none.
    fn let_vote(&self) -> Option<Vec<ConfChange>> {
        let consensus = &self.consensus;
        let conf = consensus.conf();
        let last_index = consensus.last_index();
        let has_caught_up = |node: NodeId| {
            consensus.is_replicating(node)
                && consensus.match_index(node).is_some_and(|index| index + BEHIND_MAX >= last_index)
        };
        let wanted = conf.learners.iter().filter_map(|node| Some((*node, self.members.server_of(*node)?)));
        let (node_id, server_id) = wanted
            .filter(|(_, server_id)| self.config.server(server_id).is_some())
            .find(|(node, _)| has_caught_up(*node))?;
        let replaced = self.config.servers.replaced_by(server_id).map(|old| self.nodes_of(old));
        let mut steps = vec![ConfChange::AddVoter(node_id)];
        steps.extend(self.members.of_server(server_id, &conf.voters).map(ConfChange::Remove));
        steps.extend(replaced.into_iter().flatten().map(ConfChange::Remove));
        Some(steps)
    }

    /// The nodes of a server that count.
    pub(super) fn nodes_of(&self, server_id: &ServerId) -> Vec<NodeId> {
        let conf = self.consensus.conf();
        let of = |nodes| self.members.of_server(server_id, nodes).collect::<Vec<_>>();
        [of(&conf.voters), of(&conf.learners)].concat()
    }

    /// Whether this leader stays, and the living are a majority when these steps are made. What comes lives.
    fn keeps_majority(&self, steps: &[ConfChange]) -> bool {
        let gone: BTreeSet<NodeId> = steps.iter().filter_map(ConfChange::removed).collect();
        let comes = steps.iter().any(|step| matches!(step, ConfChange::AddVoter(_)));
        !gone.contains(&self.identity.node_id) && (comes || self.lives_without(&gone))
    }
}

/// Whether data was restored from a backup and has not become part of a cluster since.
fn is_restored(mark: &DataMark) -> bool {
    mark.cluster_id.is_none() && mark.log.last_log_index > 0
}
