//! By what right a command is proposed.

use serde::{Deserialize, Serialize};

use crate::protocol::credential::TokenHash;

/// How the one who proposes has shown who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Authority {
    /// By a name that is not registered.
    Guest,
    /// By the session of this token.
    Session(TokenHash),
    /// By the cluster's secret: `syncnet-admin` on a server's machine.
    Operator,
    /// The cluster itself, for what its settings ask, such as to forget old events.
    Cluster,
}
