//! The entries of the replicated log. They hold all that could differ between servers, such as the time.
//!
//! A server encodes a [`Proposal`] and passes it on; the leader adds its origin and the time, and proposes
//! the [`Entry`]. The encoding is postcard behind the version of the rules that know the command.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{authority::Authority, command::Command, entities::origin::Origin};
use crate::protocol::{
    RoomId,
    binary::{self, DecodeError},
    name::UserName,
    rules::{KnownRules, RulesError, RulesVersion},
};

/// Room for a usual message, so that its bytes are not moved while they are written.
const ENTRY_BYTES: usize = 256;
/// Room for the version and all that the leader adds.
const ORIGIN_BYTES: usize = 48;

/// A client's command, as its server passes it on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposal {
    /// The user who asks.
    pub user: UserName,
    /// How they have shown to be that user. Checked again when the command is applied: a session that has
    /// ended meanwhile changes nothing any more.
    pub authority: Authority,
    /// The client's Lamport clock.
    pub lamport_timestamp: u64,
    pub command: Command,
    /// The number of the room that the client means, if it gave that: whatever the room is called when the
    /// command is applied, the name in the command does not count.
    pub room: Option<RoomId>,
}

/// One entry of the replicated log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Where it came from.
    pub origin: Origin,
    /// The leader's wall clock at proposal, milliseconds since the Unix epoch.
    pub created_at_ms: u64,
    pub proposal: Proposal,
}

/// Why bytes are no proposal or entry.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EntryError {
    #[error("a log entry is empty")]
    Empty,
    #[error("a log entry {0}")]
    Rules(#[from] RulesError),
    #[error("a log entry {0}")]
    Value(#[from] DecodeError),
}

impl Proposal {
    /// Of the cluster itself, which does some things without being asked.
    pub fn of_cluster(command: impl Into<Command>) -> Proposal {
        Proposal {
            user: UserName::new("cluster").expect("a well-formed name"),
            authority: Authority::Cluster,
            lamport_timestamp: 0,
            command: command.into(),
            room: None,
        }
    }

    /// Behind a byte that says which rules know the command.
    pub fn encode(&self) -> Vec<u8> {
        encode(self, self.command.operation().rules())
    }

    /// # Errors
    /// These rules do not know its command, or the bytes are no proposal.
    pub fn decode(bytes: &[u8], known: KnownRules) -> Result<Proposal, EntryError> {
        decode(bytes, known)
    }
}

impl Entry {
    /// Behind a byte that says which rules know the command.
    pub fn encode(&self) -> Vec<u8> {
        encode(self, self.proposal.command.operation().rules())
    }

    /// # Errors
    /// These rules do not know its command, or the bytes are no entry.
    pub fn decode(bytes: &[u8], known: KnownRules) -> Result<Entry, EntryError> {
        decode(bytes, known)
    }
}

/// The entry of a proposal that is encoded already: the other fields are put in front of it.
pub fn encode_entry(origin: Origin, created_at_ms: u64, proposal: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(ORIGIN_BYTES + proposal.len());
    bytes.push(proposal[0]);
    let mut bytes = postcard::to_extend(&(origin, created_at_ms), bytes).expect("plain data always encodes");
    bytes.extend_from_slice(&proposal[1..]);
    bytes
}

fn encode<T: Serialize>(value: &T, rules: RulesVersion) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(ENTRY_BYTES);
    bytes.push(rules.0);
    postcard::to_extend(value, bytes).expect("plain data always encodes")
}

/// Bytes left over are errors.
fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8], known: KnownRules) -> Result<T, EntryError> {
    let (&rules, body) = bytes.split_first().ok_or(EntryError::Empty)?;
    known.read(RulesVersion(rules))?;
    Ok(binary::decode(body)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{chat::command::Nothing, protocol::peer::NodeId};

    #[test]
    fn an_entry_is_what_comes_before_its_proposal_and_the_proposal() {
        let origin = Origin { node_id: NodeId(7), boot: 300, seq: 1 };
        let proposal = Proposal {
            user: UserName::new("alice").unwrap(),
            authority: Authority::Guest,
            lamport_timestamp: 5,
            command: Nothing.into(),
            room: Some(RoomId(300)),
        };
        let whole = Entry { origin, created_at_ms: 1_763_677_200_000, proposal: proposal.clone() };
        assert_eq!(encode_entry(origin, 1_763_677_200_000, &proposal.encode()), whole.encode());
    }
}
