//! Webhooks: addresses at which tools post into a room without logging in.

use serde::{Deserialize, Serialize};

use super::user::UserId;
use crate::{
    protocol::{credential::TokenHash, hex},
    replica::storage::RoomId,
};

/// Webhooks that one room may have.
pub const HOOKS_PER_ROOM: usize = 50;

/// A webhook, by the hash of its token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    /// Where it posts.
    pub room: RoomId,
    /// Who its messages are from: a bot of its own.
    pub user: UserId,
    /// Who made it.
    pub made_by: UserId,
}

/// What people call a webhook by: the beginning of its token's hash, which opens nothing.
pub fn hook_id(token: &TokenHash) -> String {
    hex::encode(&token.0[..8])
}
