//! The answer to the request for the audit log.

use serde::{Deserialize, Serialize};

use crate::protocol::{
    event::seconds,
    name::{RoomName, UserName},
};

/// The answer to `audit`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AuditPage {
    /// What was done, the newest first.
    pub entries: Vec<AuditEntry>,
    /// Whether there are older ones.
    #[serde(default)]
    pub more: bool,
}

/// A line of `audit`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// The request that asked for it, by its `msg_type`.
    pub action: String,
    /// Who did it; `None` for an operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<UserName>,
    /// When, milliseconds since the Unix epoch; seconds on the wire.
    #[serde(with = "seconds")]
    pub created_at: u64,
    /// More about it: a role, a time, a name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Its place among all that was done.
    pub number: u64,
    /// What gave the power to do it.
    pub role: String,
    /// The room that it was done in, by its name of then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room: Option<RoomName>,
    /// The user that it was done to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<UserName>,
}
