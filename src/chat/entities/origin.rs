//! Which proposals of each server were applied: each once, in order, without a hole.
//!
//! A server numbers what it proposes within one run (`boot`). When the leader changes, what is not yet
//! committed is sent again, in order, and may arrive twice or overtake a lost message on the way. Skipping
//! repeats and gaps here makes both harmless: a skipped command is sent again by its origin, which
//! compares its own count with [`Progress`].

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use crate::protocol::peer::NodeId;

/// Which proposal of which run of which server an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Origin {
    pub node_id: NodeId,
    pub boot: u64,
    /// 1, 2, 3, … within the run, without a hole.
    pub seq: u64,
}

/// What logs call the request that it came from.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Origin { node_id, boot, seq } = self;
        write!(f, "{node_id}-{boot}-{seq}")
    }
}

/// How far a run of a server has been applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Its commands up to and including this one (0: none yet).
    Applied(u64),
    /// A later run of the same server has been seen: nothing more of this one will ever be applied.
    Superseded,
}

/// The newest command of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::chat) struct Newest {
    pub boot: u64,
    /// Its number within the run.
    pub seq: u64,
}

/// The newest command of each server that ever proposed one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::chat) struct Origins(BTreeMap<NodeId, Newest>);

impl Origins {
    /// Whether the command from `origin` is the next one of its server; if so it is now the newest.
    pub fn accept(&mut self, origin: Origin) -> bool {
        let Progress::Applied(last) = self.progress(origin.node_id, origin.boot) else {
            return false;
        };
        let is_next = origin.seq == last + 1;
        if is_next {
            self.set(origin.node_id, Newest { boot: origin.boot, seq: origin.seq });
        }
        is_next
    }

    /// How far the run `boot` of `node_id` has been applied.
    pub fn progress(&self, node_id: NodeId, boot: u64) -> Progress {
        match self.0.get(&node_id) {
            Some(newest) if newest.boot > boot => Progress::Superseded,
            Some(newest) if newest.boot == boot => Progress::Applied(newest.seq),
            _ => Progress::Applied(0),
        }
    }

    /// The newest command of a server.
    pub fn newest(&self, node_id: NodeId) -> Option<&Newest> {
        self.0.get(&node_id)
    }

    /// Takes over what was stored.
    pub fn set(&mut self, node_id: NodeId, newest: Newest) {
        self.0.insert(node_id, newest);
    }

    /// Forgets all servers, and gives them.
    pub fn clear(&mut self) -> Vec<NodeId> {
        std::mem::take(&mut self.0).into_keys().collect()
    }

    /// Forgets a server; whether it was known.
    pub fn remove(&mut self, node_id: NodeId) -> bool {
        self.0.remove(&node_id).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_gaps_and_older_runs_are_skipped() {
        let mut origins = Origins::default();
        let mut accept = |boot, seq| origins.accept(Origin { node_id: NodeId(1), boot, seq });
        assert!(!accept(1, 2), "a run begins with 1");
        assert!(accept(1, 1));
        assert!(!accept(1, 1), "a repeat");
        assert!(!accept(1, 3), "a gap");
        assert!(accept(1, 2));
        assert!(!accept(3, 3), "a later run begins with 1, too");
        assert!(accept(3, 1));
        assert!(!accept(1, 3), "the earlier run is over");
        assert!(!accept(2, 1), "so is one never heard of");
        assert_eq!(origins.progress(NodeId(1), 2), Progress::Superseded);
        assert_eq!(origins.progress(NodeId(1), 3), Progress::Applied(1));
        assert_eq!(origins.progress(NodeId(1), 4), Progress::Applied(0));
    }
}
