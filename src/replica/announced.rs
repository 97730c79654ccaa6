//! What this server last told all its clients of the servers, so that it says only news.

use crate::protocol::name::ServerId;

#[derive(PartialEq, Eq)]
pub(super) struct Announced {
    pub leader: Option<ServerId>,
    /// The servers that they may use, and which of them lived.
    pub servers: Vec<(ServerId, bool)>,
}
