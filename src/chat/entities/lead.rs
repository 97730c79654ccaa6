//! Which server leads by an operator's word.

use serde::{Deserialize, Serialize};

use crate::protocol::name::ServerId;

/// A server leads, whatever its place in the ring, while it is fit to; until it is too late for that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lead {
    pub server_id: ServerId,
    /// The end of it, milliseconds since the Unix epoch.
    pub until_ms: u64,
}
