//! Handing leadership to the highest living ring position, without flapping.
//!
//! Raft, section 3.10 of the thesis, "leadership transfer". A leader that sees a living server above it,
//! replicating and nearly caught up, waits until that has been so for a while (`successor`) and then
//! transfers. A server that takes no part in elections is not asked to lead. A leader with damaged data hands
//! over to any server that is fit. A server that an operator wants to lead (`chat::entities::lead`) comes
//! before the highest, as long as that is wanted.

use super::{
    Node,
    successor::{BEHIND_MAX, Successor},
};
use crate::{
    disk::Storage,
    protocol::{name::ServerId, peer::NodeId},
    replica::io::Now,
};

impl<S: Storage> Node<S> {
    /// Called at each tick. As the leader: asks a server to lead that should rather lead, where it is time
    /// to. Whether it was. `wanted` is the one that an operator wants to lead now.
    pub fn consider_handover(&mut self, now: Now, wanted: Option<&ServerId>) -> bool {
        if !self.consensus.has_applied_own_term() || self.consensus.is_transferring() {
            return false;
        }
        let mine = self.config.ring_position();
        // Any undamaged server should lead rather than a damaged one.
        let servers = &self.config.servers;
        // So does one that has room on its disk, that stays and is not drained.
        let is_fit = !self.damage.lasts() && self.has_room();
        let gives_away = !is_fit || !servers.should_lead(&self.config.server_id);
        let wanted = wanted.filter(|wanted| servers.should_lead(wanted));
        let is_wanted = wanted == Some(&self.config.server_id);
        let mut fit = self.fit_to_lead();
        // One that goes leaves the lead to a drained server if all others are drained.
        let goes = servers.goes(&self.config.server_id);
        if !goes || fit.iter().any(|fit| servers.should_lead(&fit.server_id)) {
            fit.retain(|fit| servers.should_lead(&fit.server_id));
        }
        let better = match fit.iter().find(|fit| Some(&fit.server_id) == wanted) {
            Some(wanted) => Some(wanted),
            None if is_wanted && !gives_away => None,
            None => fit
                .iter()
                .filter(|fit| gives_away || fit.ring_position > mine)
                .max_by_key(|fit| fit.ring_position),
        };
        let successor = self.handover.consider(now.mono_ms, &self.config, better);
        let Some(successor) = successor else { return false };
        self.consensus.transfer(successor);
        true
    }

    /// Resets the waits: this server leads no more.
    pub fn stepped_down(&mut self) {
        self.handover.stepped_down();
    }

    /// The server that should lead after this one, if this one leads.
    pub fn best_successor(&self) -> Option<NodeId> {
        let servers = &self.config.servers;
        let rank = |fit: &Successor| (servers.should_lead(&fit.server_id), fit.ring_position);
        self.fit_to_lead().into_iter().max_by_key(rank).map(|fit| fit.node_id)
    }

    /// The other servers that are alive, replicating and nearly caught up; only a leader knows.
    fn fit_to_lead(&self) -> Vec<Successor> {
        let consensus = &self.consensus;
        let last_index = consensus.last_index();
        self.others()
            .filter(|server| {
                self.view.peers.get(&server.server_id).is_some_and(|peer| peer.alive && peer.votes)
            })
            .filter_map(|server| {
                let node_id = self.members.node_of(&server.server_id, consensus.conf())?;
                let is_voter = consensus.conf().voters.contains(&node_id);
                let near = consensus.match_index(node_id)? + BEHIND_MAX >= last_index;
                (is_voter && near && consensus.is_replicating(node_id)).then(|| Successor {
                    server_id: server.server_id.clone(),
                    node_id,
                    ring_position: server.ring_position,
                })
            })
            .collect()
    }
}
