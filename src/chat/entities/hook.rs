//! Webhooks: addresses at which tools post into a room without logging in.

use serde::{Deserialize, Serialize};

use super::user_id::UserId;
use crate::{
    disk::RoomId,
    protocol::{checked::HookId, credential::TokenHash},
};

/// A webhook, by the hash of its token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    /// The room that it posts into.
    pub room: RoomId,
    /// Who its messages are from: a bot of its own.
    pub user: UserId,
    pub made_by: UserId,
}

/// What people call a webhook by: the beginning of its token's hash, which opens nothing.
pub fn hook_id(token: &TokenHash) -> HookId {
    let [a, b, c, d, e, f, g, h, ..] = token.0;
    HookId([a, b, c, d, e, f, g, h])
}
