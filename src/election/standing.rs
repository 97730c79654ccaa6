//! A server as its own election sees it.

use crate::protocol::{
    name::ServerId,
    peer::{DataMark, LogMark},
};

/// What the replica says about itself, whenever it changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Its data: run, promised term, and the log that is synced.
    pub data: DataMark,
    /// The last entry of its log, synced or not: its vote compares other logs with it.
    pub log: LogMark,
    /// Whether it leads, in that term.
    pub leads: bool,
    /// Whom it follows in that term, as consensus knows it. Not this server itself.
    pub leader: Option<ServerId>,
    /// Whether it may vote: not while it forms, learns or is in quarantine.
    pub votes: bool,
}
