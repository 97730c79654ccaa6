//! Handing leadership to the highest living ring position, without flapping.
//!
//! Raft, section 3.10 of the thesis, "leadership transfer". A leader that sees a living server above it,
//! replicating and nearly caught up, waits until that has been so for a while and then transfers. A transfer
//! that did not work doubles the wait. A server that takes no part in elections is not asked to lead. A
//! leader with damaged data hands over to any server that is fit. A server that
//! an operator wants to lead (`chat::command::Lead`) comes before the highest, as long as that is wanted.

use super::Node;
use crate::{
    config::ReplicaConfig,
    disk::Storage,
    protocol::{name::ServerId, peer::NodeId},
    replica::io::Now,
};

/// How many entries a successor may be behind.
pub const BEHIND_MAX: u64 = 64;
/// The longest wait, as a multiple of the configured one.
const HOLD_FACTOR_MAX: u64 = 32;

/// A server that could lead instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Successor {
    pub server_id: ServerId,
    pub node_id: NodeId,
    pub ring_position: u32,
}

#[derive(Debug)]
pub struct Handover {
    candidate: Option<(NodeId, u64)>,
    factor: u64,
    tried: bool,
}

impl Default for Handover {
    fn default() -> Self {
        Handover { candidate: None, factor: 1, tried: false }
    }
}

impl Handover {
    /// Called at each tick of a leader that is not already transferring, with the highest server above
    /// it that is fit to lead. Gives the one to transfer to now.
    pub fn consider(
        &mut self,
        now_ms: u64,
        config: &ReplicaConfig,
        fit: Option<&Successor>,
    ) -> Option<NodeId> {
        let Some(fit) = fit else {
            self.candidate = None;
            return None;
        };
        if std::mem::take(&mut self.tried) {
            // Still leading after a transfer: it did not work.
            self.factor = (self.factor * 2).min(HOLD_FACTOR_MAX);
            self.candidate = None;
        }
        let since_ms = match self.candidate {
            Some((node, since_ms)) if node == fit.node_id => since_ms,
            _ => {
                self.candidate = Some((fit.node_id, now_ms));
                now_ms
            }
        };
        if now_ms - since_ms < config.timing.handover_hold_ms * self.factor {
            return None;
        }
        self.tried = true;
        Some(fit.node_id)
    }

    /// Resets the waits: this server leads no more.
    pub fn stepped_down(&mut self) {
        *self = Handover::default();
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::{Followers, Timing},
        protocol::Limits,
    };

    #[test]
    fn waits_for_stability_and_longer_after_a_failure() {
        let config = ReplicaConfig {
            server_id: ServerId::new("a").unwrap(),
            servers: vec![].into(),
            joins: false,
            timing: Timing { handover_hold_ms: 100, ..Timing::default() },
            limits: Limits::default(),
            auth: Default::default(),
            followers: Followers::Forward,
            keep_entries: 1,
        };
        let fit = Successor { server_id: ServerId::new("b").unwrap(), node_id: NodeId(2), ring_position: 1 };
        let mut handover = Handover::default();
        assert_eq!(handover.consider(0, &config, Some(&fit)), None);
        assert_eq!(handover.consider(90, &config, None), None);
        assert_eq!(handover.consider(95, &config, Some(&fit)), None);
        assert_eq!(handover.consider(194, &config, Some(&fit)), None);
        assert_eq!(handover.consider(195, &config, Some(&fit)), Some(NodeId(2)));
        assert_eq!(handover.consider(500, &config, Some(&fit)), None, "the first try failed");
        assert_eq!(handover.consider(699, &config, Some(&fit)), None);
        assert_eq!(handover.consider(700, &config, Some(&fit)), Some(NodeId(2)));
    }
}
