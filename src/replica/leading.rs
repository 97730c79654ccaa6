//! A leader's queue: proposals of all servers on their way into the log.
//!
//! The proposals of each server enter without a hole and without a repeat. The applied state says what the
//! log already holds. So a new leader first waits until it has applied an entry of its own term, and keeps
//! the proposals that it gets until then.

use std::collections::{BTreeMap, VecDeque};

use crate::{
    chat::{Origin, Progress, Proposal, State, command::Nothing, entry::encode_entry},
    protocol::{peer::NodeId, rules::KnownRules},
};

/// Bytes of proposals that are kept until the leader knows its log. More are dropped; the sender repeats
/// them.
const EARLY_BYTES: usize = 64 * 1024 * 1024;
/// What each of these proposals takes besides its bytes.
const EARLY_EACH: usize = 64;

/// Most commands that are proposed together. Each body is bounded, so this bounds a message to a peer.
const TOGETHER: usize = 256;

/// Proposals that were passed on by one server.
#[derive(Debug)]
pub struct Forwarded {
    pub node_id: NodeId,
    pub boot: u64,
    /// The number of the first.
    pub first_seq: u64,
    /// The encoded proposals, numbered without a hole.
    pub commands: Vec<Vec<u8>>,
}

/// A leader's queue for one term.
#[derive(Debug)]
pub struct Leading {
    pub term: u64,
    /// What this program knows.
    rules: KnownRules,
    knows_log: bool,
    early: VecDeque<Forwarded>,
    early_bytes: usize,
    /// Up to where each server's proposals were taken: (run, number).
    accepted: BTreeMap<NodeId, (u64, u64)>,
    /// Entries, encoded, and where they came from.
    waiting: VecDeque<(Origin, Vec<u8>)>,
}

impl Leading {
    pub fn new(term: u64, rules: KnownRules) -> Self {
        Leading {
            term,
            rules,
            knows_log: false,
            early: VecDeque::new(),
            early_bytes: 0,
            accepted: BTreeMap::new(),
            waiting: VecDeque::new(),
        }
    }

    /// Notes that from now on the state contains everything that was ever acknowledged.
    pub fn knows_log(&mut self, state: &State, wall_ms: u64) {
        if !self.knows_log {
            self.knows_log = true;
            for forwarded in std::mem::take(&mut self.early) {
                self.accept(forwarded, state, wall_ms);
            }
        }
    }

    /// Whether the log's whole past is applied here.
    pub fn is_ready(&self) -> bool {
        self.knows_log
    }

    /// Takes the proposals that continue those of the server; drops repeats, and all after a gap.
    pub fn accept(&mut self, forwarded: Forwarded, state: &State, wall_ms: u64) {
        if !self.knows_log {
            let bytes = forwarded.commands.iter().map(|command| command.len() + EARLY_EACH).sum::<usize>();
            if self.early_bytes + bytes + EARLY_EACH <= EARLY_BYTES {
                self.early_bytes += bytes + EARLY_EACH;
                self.early.push_back(forwarded);
            }
            return;
        }
        let Forwarded { node_id, boot, first_seq, commands } = forwarded;
        let mut last = match self.accepted.get(&node_id) {
            Some(&(known, seq)) if known == boot => seq,
            Some(&(known, _)) if known > boot => return,
            _ => match state.progress(node_id, boot) {
                Progress::Applied(seq) => seq,
                Progress::Superseded => return,
            },
        };
        for (seq, bytes) in (first_seq..).zip(commands) {
            if seq <= last {
                continue;
            }
            if seq > last + 1 {
                break;
            }
            // A proposal that cannot be decoded would stop every server later, so it never enters the log. An
            // empty one with its number does. So its server learns that it failed, and later ones need not
            // wait.
            let is_known = Proposal::decode(&bytes, self.rules).is_ok();
            let proposal = if is_known { bytes } else { Proposal::of_cluster(Nothing).encode() };
            let origin = Origin { node_id, boot, seq };
            self.waiting.push_back((origin, encode_entry(origin, wall_ms, &proposal)));
            last = seq;
        }
        self.accepted.insert(node_id, (boot, last));
    }

    /// The next entries for the log: as many as are proposed together.
    pub fn next(&self) -> Option<Vec<Vec<u8>>> {
        let entries: Vec<Vec<u8>> =
            self.waiting.iter().take(TOGETHER).map(|(_, entry)| entry.clone()).collect();
        (!entries.is_empty()).then_some(entries)
    }

    /// Removes the next `count` commands, which were proposed, and returns their origins.
    pub fn proposed(&mut self, count: usize) -> impl Iterator<Item = Origin> {
        self.waiting.drain(..count).map(|(origin, _)| origin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::chat::Entry;

    const FORWARDED: usize = 512 * 1024;

    #[test]
    fn what_comes_before_the_log_is_known_is_bounded() {
        let (state, mut leading) = (State::default(), Leading::new(1, KnownRules::OURS));
        for message in 0..200 {
            let commands = vec![vec![0; FORWARDED]];
            leading.accept(
                Forwarded { node_id: NodeId(1), boot: 1, first_seq: message + 1, commands },
                &state,
                0,
            );
        }
        assert!(leading.early_bytes <= EARLY_BYTES && leading.early_bytes > EARLY_BYTES - 2 * FORWARDED);
        leading.knows_log(&state, 0);
        assert_eq!(leading.waiting.len(), leading.early_bytes / FORWARDED);
        // The dropped proposals come again, behind those that were kept.
        let next = leading.waiting.len() as u64 + 1;
        let again = Forwarded { node_id: NodeId(1), boot: 1, first_seq: next, commands: vec![vec![0]] };
        leading.accept(again, &state, 0);
        let last = leading.waiting.back().map(|(_, entry)| Entry::decode(entry, KnownRules::OURS).unwrap());
        assert_eq!(last.map(|entry| entry.origin.seq), Some(next));
    }
}
