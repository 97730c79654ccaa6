//! What operators ask of the cluster as a whole.

use serde::{Deserialize, Deserializer, Serialize, de::Error};

use crate::protocol::{checked::Seconds, name::ServerId};

/// How long a server leads by an operator's word if the request does not say it, in seconds.
pub const LEADS_S: u32 = 3_600;

/// Lets one server lead, whatever its place in the ring; without `server_id` the ring decides again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransferLeader {
    #[serde(default, deserialize_with = "server_id")]
    pub server_id: Option<ServerId>,
    /// For how long; [`LEADS_S`] where it is left out.
    pub seconds: Option<Seconds>,
}

/// A backup of the cluster was written and found whole. It is noted, so that every server knows its age.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupMade {}

/// The id of a server. A reason does not repeat what it refuses.
fn server_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<ServerId>, D::Error> {
    let checked = |text: String| {
        ServerId::new(&text).ok_or_else(|| D::Error::custom("must be 1 to 32 of A-Z a-z 0-9 _ . -"))
    };
    Option::deserialize(deserializer)?.map(checked).transpose()
}
