//! Who counts, as the log changes it: the same on all servers at one place of the log, and nobody before they
//! hold the log or after they were removed.

use std::collections::{BTreeMap, BTreeSet};

use super::{Verdict, ensure};

/// How many entries a server may lack when it begins to vote.
const BEHIND_MAX: u64 = 65;

/// Who counts from an entry of the log on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counting {
    /// Those that vote.
    pub voters: Vec<u64>,
    /// Those that voted before, in the middle of a change: a majority of them is needed, too.
    pub outgoing: Vec<u64>,
    /// Those that are sent the log and do not vote.
    pub learners: Vec<u64>,
}

impl Counting {
    /// Whether a majority is so by which everything so far was committed; the change itself, and what came
    /// with it, by those before it.
    pub fn commits(&self, is_so: impl Fn(u64) -> bool) -> bool {
        let nodes = if self.outgoing.is_empty() { &self.voters } else { &self.outgoing };
        nodes.is_empty() || 2 * nodes.iter().filter(|node| is_so(**node)).count() > nodes.len()
    }

    /// Whether it is a majority that is so; in the middle of a change, two.
    pub fn agree(&self, is_so: impl Fn(u64) -> bool) -> bool {
        // Nobody knows who counts before the first meeting.
        let most = |nodes: &[u64]| {
            nodes.is_empty() || 2 * nodes.iter().filter(|node| is_so(**node)).count() > nodes.len()
        };
        most(&self.voters) && most(&self.outgoing)
    }

    /// Whether a node votes, be it only until the end of a change.
    pub fn votes(&self, node: u64) -> bool {
        self.voters.contains(&node) || self.outgoing.contains(&node)
    }

    /// Whether a node counts at all.
    pub fn has(&self, node: u64) -> bool {
        self.votes(node) || self.learners.contains(&node)
    }
}

/// Who counted when, as far as servers have stored it.
#[derive(Debug, Default)]
pub struct Changes {
    by_index: BTreeMap<u64, Counting>,
    /// All that ever counted.
    ever: BTreeSet<u64>,
}

impl Changes {
    /// A server stores who counts as of `index`.
    pub fn stored(&mut self, server: usize, index: u64, counting: &Counting) -> Verdict {
        let known = self.by_index.entry(index).or_insert_with(|| counting.clone());
        ensure!(
            known == counting,
            Members,
            "server {server} has {counting:x?} count at {index}, another server {known:x?}"
        );
        let nodes = [&counting.voters, &counting.outgoing, &counting.learners].into_iter().flatten();
        self.ever.extend(nodes.copied());
        Ok(())
    }

    /// Those that counted from the entry `first` on, one after the other.
    pub fn since(&self, first: u64) -> impl Iterator<Item = &Counting> {
        self.by_index.range(first..).map(|(_, counting)| counting)
    }

    /// Whether a node has counted and, as of the last change, counts no more.
    pub fn is_gone(&self, node: u64) -> bool {
        let counts = self.by_index.last_key_value().is_some_and(|(_, counting)| counting.has(node));
        self.ever.contains(&node) && !counts
    }
}

/// Whether a log that ends at `last` is long enough to vote from the entry `index` on.
pub fn has_caught_up(last: u64, index: u64) -> bool {
    last + BEHIND_MAX >= index
}
