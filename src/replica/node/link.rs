//! What this server knows of a peer by the link to it.

use crate::protocol::{peer::DataMark, rules::KnownRules};

/// A standing link to a peer.
#[derive(Default)]
pub(super) struct Link {
    /// The peer's data, as it showed on this link.
    pub mark: Option<DataMark>,
    /// What the peer's program knows, once it has said so.
    pub rules: Option<KnownRules>,
    /// Whether the peer has answered this server's `Hello` on this link.
    pub welcomed: bool,
    /// Why the peer does not belong to this cluster, as it was reported.
    pub complaint: Option<String>,
}
