//! Which incarnation belongs to which configured server. The log decides it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    consensus::ConfChange,
    disk::{Loaded, Row, StorageError},
    protocol::{
        binary::{self, DecodeError},
        name::ServerId,
        peer::{ConfState, Founder, NodeId},
    },
};

/// First byte of the rows that name an incarnation.
const NAMED: u8 = 1;
/// First byte of the rows that say that an incarnation was removed for ever.
const REMOVED: u8 = 2;

/// What a configuration entry says, in our encoding.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Configure {
    pub steps: Vec<ConfChange>,
    /// The version of the directory that it follows. If the log has another one by then, nothing changes:
    /// what was to come may have been taken back.
    pub follows: u64,
    /// The names of incarnations that are new.
    pub named: Vec<Founder>,
}

impl Configure {
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_stdvec(self).expect("plain data always encodes")
    }

    /// From the log. No bytes are the end of a joint configuration, which the library writes itself.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.is_empty() {
            return Ok(Configure::default());
        }
        binary::decode(bytes)
    }
}

/// Why stored rows do not say which incarnations there are: the data is in doubt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum MemberError {
    #[error("a member row has a key of the wrong length")]
    Key,
    #[error("a member row has a value that is no server id")]
    Value,
}

/// The incarnations known to the log.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Members {
    names: BTreeMap<NodeId, ServerId>,
    removed: BTreeSet<NodeId>,
}

impl Members {
    /// Those that the disk knows. An error means that the data is in doubt.
    pub fn of(loaded: &Loaded) -> Result<Self, StorageError> {
        let founders = loaded.identity.cluster.as_ref().map_or(&[][..], |cluster| &cluster.founders);
        Members::load(founders, &loaded.rows).map_err(|error| StorageError::Doubtful(error.to_string()))
    }

    /// The founders, and the changes in the stored rows. An error, one sentence, means that the data is in
    /// doubt.
    fn load(founders: &[Founder], rows: &[(Vec<u8>, Vec<u8>)]) -> Result<Self, MemberError> {
        let mut members = Members::default();
        for founder in founders {
            members.names.insert(founder.node_id, founder.server_id.clone());
        }
        for (key, value) in rows.iter().filter(|(key, _)| matches!(key.first(), Some(&(NAMED | REMOVED)))) {
            let node = key[1..].try_into().map(u64::from_be_bytes).map(NodeId);
            let node = node.map_err(|_| MemberError::Key)?;
            if key[0] == REMOVED {
                members.removed.insert(node);
                members.names.remove(&node);
            } else {
                let name = String::from_utf8(value.clone()).ok().and_then(|name| ServerId::new(&name));
                members.names.insert(node, name.ok_or(MemberError::Value)?);
            }
        }
        Ok(members)
    }

    /// Follows a committed change; gives the rows to store.
    pub fn apply(&mut self, configure: &Configure) -> Vec<Row> {
        let mut rows = Vec::new();
        for Founder { server_id, node_id } in &configure.named {
            self.names.insert(*node_id, server_id.clone());
            rows.push(Row { key: key(NAMED, *node_id), value: Some(server_id.as_str().into()) });
        }
        for step in &configure.steps {
            if let ConfChange::Remove(node) = step {
                self.names.remove(node);
                self.removed.insert(*node);
                rows.push(Row { key: key(NAMED, *node), value: None });
                rows.push(Row { key: key(REMOVED, *node), value: Some(Vec::new()) });
            }
        }
        rows
    }

    /// The server an incarnation belongs to.
    pub fn server_of(&self, node: NodeId) -> Option<&ServerId> {
        self.names.get(&node)
    }

    /// Whether an incarnation was removed: it must never count again.
    pub fn is_removed(&self, node: NodeId) -> bool {
        self.removed.contains(&node)
    }

    /// A server's incarnation that counts: the voting one, else the one that learns.
    pub fn node_of(&self, server_id: &ServerId, conf: &ConfState) -> Option<NodeId> {
        let named =
            |nodes: &[NodeId]| nodes.iter().copied().find(|node| self.names.get(node) == Some(server_id));
        named(&conf.voters).or_else(|| named(&conf.learners))
    }

    /// All incarnations of a server among `nodes`.
    pub fn of_server<'a>(
        &'a self,
        server_id: &'a ServerId,
        nodes: &'a [NodeId],
    ) -> impl Iterator<Item = NodeId> + 'a {
        nodes.iter().copied().filter(move |node| self.names.get(node) == Some(server_id))
    }
}

fn key(tag: u8, node: NodeId) -> Vec<u8> {
    let mut key = vec![tag];
    key.extend(node.0.to_be_bytes());
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_bring_back_what_was_applied() {
        let server = |name| ServerId::new(name).unwrap();
        let founders = [
            Founder { server_id: server("a"), node_id: NodeId(1) },
            Founder { server_id: server("b"), node_id: NodeId(2) },
        ];
        let mut members = Members::load(&founders, &[]).unwrap();
        let replace = Configure {
            steps: vec![ConfChange::AddVoter(NodeId(9)), ConfChange::Remove(NodeId(2))],
            follows: 0,
            named: vec![Founder { server_id: server("b"), node_id: NodeId(9) }],
        };
        assert_eq!(Configure::decode(&replace.encode()).unwrap(), replace);
        let rows: Vec<_> =
            members.apply(&replace).into_iter().filter_map(|row| Some((row.key, row.value?))).collect();
        assert_eq!(Members::load(&founders, &rows).unwrap(), members);
        assert!(members.is_removed(NodeId(2)) && members.server_of(NodeId(2)).is_none());
        let conf = ConfState { voters: vec![NodeId(1), NodeId(9)], ..ConfState::default() };
        assert_eq!(members.node_of(&server("b"), &conf), Some(NodeId(9)));
    }
}
