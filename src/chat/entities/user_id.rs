//! What the state calls a user by.

use serde::{Deserialize, Serialize};

/// A user's number: the log index of the first entry that named them, or the next free number above it if
/// that entry named several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct UserId(pub u64);
