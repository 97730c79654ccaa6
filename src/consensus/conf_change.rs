//! How the servers that count change.

use serde::{Deserialize, Serialize};

use crate::protocol::peer::NodeId;

/// One step of a change of the servers that count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConfChange {
    /// This incarnation votes from now on.
    AddVoter(NodeId),
    /// This incarnation is sent the log from now on.
    AddLearner(NodeId),
    /// This incarnation counts no more.
    Remove(NodeId),
}

impl ConfChange {
    /// The node that this step takes out.
    pub fn removed(&self) -> Option<NodeId> {
        match self {
            ConfChange::Remove(node) => Some(*node),
            ConfChange::AddVoter(_) | ConfChange::AddLearner(_) => None,
        }
    }
}
