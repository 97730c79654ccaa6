//! A server that could lead instead, and how long a leader waits before it hands over to it.
//!
//! It must have been fit to lead for a while. A transfer that did not work doubles the wait.

use crate::{
    config::ReplicaConfig,
    protocol::{name::ServerId, peer::NodeId},
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
            rules: Default::default(),
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
