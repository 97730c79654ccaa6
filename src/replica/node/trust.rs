//! Whose data is accepted: the memory that catches a server which lost or rolled back its data.
//!
//! Every server remembers, on disk, the furthest point to which it has seen each other server's synced
//! data: run, term, and last log entry, which for one incarnation only ever grow. When a link comes up,
//! both ends say what their data is (`Hello`). A server that is behind what the other remembers has lost
//! something that it had promised: a vote, or an entry that may have been acknowledged. It is told so
//! (`Doubt`) and must come back empty under a new incarnation. Within one run nothing is lost, because a
//! process that cannot keep its data ends: an older mark of the same run was only delivered late.
//!
//! A server that starts takes no part in consensus until so many others have accepted its data (`Welcome`)
//! that it makes a majority together with them. Consensus needs those others anyway, so this costs no
//! availability.
//!
//! This cannot notice an old copy that is put back while all servers that know of newer data are away.
//! `docs/design/consensus.md` says how an acknowledged entry can be lost in this way, and why the only remedy
//! is to tell operators to use an empty folder.

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;

use crate::protocol::{
    name::ServerId,
    peer::{DataMark, LogMark, NodeId},
};

/// What speaks against a server's data: something that it had promised is not in it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DataLost {
    #[error("it was part of a cluster and does not know it")]
    Cluster,
    #[error("it had begun run {begun} and knows of {known}")]
    Run { begun: u64, known: u64 },
    #[error("it had promised term {promised} and knows of {known}")]
    Term { promised: u64, known: u64 },
    #[error(
        "its log reached entry {} of term {} and ends at entry {} of term {}",
        reached.last_log_index, reached.last_log_term, end.last_log_index, end.last_log_term
    )]
    Log { reached: LogMark, end: LogMark },
    /// Other data has taken its place in the cluster.
    #[error("it was replaced and counts no more")]
    Replaced,
}

/// What one server remembers of the others' data, and what they said of its own.
#[derive(Debug)]
pub struct Trust {
    remembered: BTreeMap<ServerId, DataMark>,
    changed: BTreeSet<ServerId>,
    /// The incarnation that each linked peer has shown, if its data was accepted.
    shown: BTreeMap<ServerId, NodeId>,
    cleared_by: BTreeSet<ServerId>,
    needed: usize,
    /// Whether enough have vouched for this run's data: what they found does not change with the servers.
    is_cleared: bool,
}

impl Trust {
    /// For a cluster in which `servers` vote, from what the disk remembers.
    pub fn new(servers: usize, remembered: Vec<(ServerId, DataMark)>) -> Self {
        Trust {
            remembered: remembered.into_iter().collect(),
            changed: BTreeSet::new(),
            shown: BTreeMap::new(),
            cleared_by: BTreeSet::new(),
            needed: servers / 2,
            is_cleared: servers / 2 == 0,
        }
    }

    /// So many servers vote from now on.
    pub fn servers_changed(&mut self, servers: usize) {
        self.needed = servers / 2;
        self.is_cleared |= self.cleared_by.len() >= self.needed;
    }

    /// Judges the data that a peer shows. The error says what is wrong with it.
    pub fn judge(&mut self, from: &ServerId, mark: &DataMark) -> Result<(), DataLost> {
        let known = self.remembered.get(from).filter(|old| old.node_id == mark.node_id);
        if let Some(old) = known
            && old.boot != mark.boot
        {
            let lost = if old.cluster_id.is_some() && mark.cluster_id.is_none() {
                Some(DataLost::Cluster)
            } else if mark.boot < old.boot {
                Some(DataLost::Run { begun: old.boot, known: mark.boot })
            } else if mark.term < old.term {
                Some(DataLost::Term { promised: old.term, known: mark.term })
            } else if mark.log < old.log {
                Some(DataLost::Log { reached: old.log, end: mark.log })
            } else {
                None
            };
            if let Some(lost) = lost {
                self.shown.remove(from);
                return Err(lost);
            }
        }
        self.shown.insert(from.clone(), mark.node_id);
        if known.is_some_and(|old| old.boot == mark.boot) {
            self.heard(from, mark);
        } else {
            self.remembered.insert(from.clone(), mark.clone());
            self.changed.insert(from.clone());
        }
        Ok(())
    }

    /// Notes a peer's data from its heartbeat. Only ever adds to what is remembered of the same run: a new
    /// run has to show its data on a link first.
    pub fn heard(&mut self, from: &ServerId, mark: &DataMark) {
        let is_same_run = |old: &&mut DataMark| old.node_id == mark.node_id && old.boot == mark.boot;
        let Some(old) = self.remembered.get_mut(from).filter(is_same_run) else { return };
        let newer = DataMark {
            cluster_id: old.cluster_id.or(mark.cluster_id),
            node_id: old.node_id,
            boot: old.boot,
            term: old.term.max(mark.term),
            log: old.log.max(mark.log),
        };
        if *old != newer {
            *old = newer;
            self.changed.insert(from.clone());
        }
    }

    /// A peer has acknowledged entries up to `log` as synced.
    pub fn acknowledged(&mut self, from: &ServerId, term: u64, log: LogMark) {
        if let Some(old) = self.remembered.get_mut(from)
            && (old.log < log || old.term < term)
        {
            old.log = old.log.max(log);
            old.term = old.term.max(term);
            self.changed.insert(from.clone());
        }
    }

    /// A peer has given its vote in `term`.
    pub fn voted(&mut self, from: &ServerId, term: u64) {
        self.acknowledged(from, term, LogMark::default());
    }

    /// Notes that a peer has accepted this server's data.
    pub fn cleared(&mut self, by: &ServerId) {
        self.cleared_by.insert(by.clone());
        self.is_cleared |= self.cleared_by.len() >= self.needed;
    }

    /// Forgets what a peer has shown: its link is gone, and it has to show its data again.
    pub fn unlinked(&mut self, peer: &ServerId) {
        self.shown.remove(peer);
    }

    /// Whether this server may take part in consensus.
    pub fn is_cleared(&self) -> bool {
        self.is_cleared
    }

    /// Whether messages of `node` over the link of `from` may be used.
    pub fn accepts(&self, from: &ServerId, node: NodeId) -> bool {
        self.shown.get(from) == Some(&node)
    }

    /// The incarnation that a linked peer has shown.
    pub fn shown_by(&self, peer: &ServerId) -> Option<NodeId> {
        self.shown.get(peer).copied()
    }

    /// The linked peer that has shown this incarnation.
    pub fn showing(&self, node: NodeId) -> Option<&ServerId> {
        self.shown.iter().find(|(_, shown)| **shown == node).map(|(peer, _)| peer)
    }

    /// What has changed since the last call, to be stored.
    pub fn take_changed(&mut self) -> Vec<(ServerId, DataMark)> {
        std::mem::take(&mut self.changed)
            .into_iter()
            .filter_map(|server_id| {
                let mark = self.remembered.get(&server_id)?.clone();
                Some((server_id, mark))
            })
            .collect()
    }

    /// Whether there is something to store.
    pub fn has_changed(&self) -> bool {
        !self.changed.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(node: u64, boot: u64, term: u64, log: (u64, u64)) -> DataMark {
        DataMark {
            cluster_id: Some(1),
            node_id: NodeId(node),
            boot,
            term,
            log: LogMark { last_log_term: log.0, last_log_index: log.1 },
        }
    }

    #[test]
    fn data_that_went_back_is_found_out() {
        let peer = ServerId::new("server2").unwrap();
        let mut trust = Trust::new(3, vec![]);
        trust.judge(&peer, &mark(7, 2, 5, (4, 100))).unwrap();
        trust.heard(&peer, &mark(7, 2, 6, (6, 90)));
        for lost in
            [mark(7, 1, 6, (6, 90)), mark(7, 3, 5, (6, 90)), mark(7, 3, 6, (4, 200)), mark(7, 3, 6, (6, 89))]
        {
            trust.judge(&peer, &lost).unwrap_err();
            assert!(!trust.accepts(&peer, NodeId(7)));
        }
        let unformed = DataMark { cluster_id: None, ..mark(7, 9, 9, (9, 900)) };
        trust.judge(&peer, &unformed).unwrap_err();
        trust.judge(&peer, &mark(7, 3, 6, (6, 90))).unwrap();
        assert!(trust.accepts(&peer, NodeId(7)));
        trust.judge(&peer, &mark(8, 1, 0, (0, 0))).expect("a new incarnation begins anew");
    }

    #[test]
    fn within_a_run_the_older_is_only_late() {
        let peer = ServerId::new("server2").unwrap();
        let mut trust = Trust::new(3, vec![]);
        trust.judge(&peer, &mark(7, 2, 5, (4, 100))).unwrap();
        trust.heard(&peer, &mark(7, 2, 5, (4, 120)));
        trust.judge(&peer, &mark(7, 2, 5, (4, 110))).expect("a link can be slower than a heartbeat");
        // A heartbeat of a later run does not hide that it lost something.
        trust.heard(&peer, &mark(7, 3, 5, (4, 90)));
        trust.judge(&peer, &mark(7, 3, 5, (4, 110))).unwrap_err();
    }

    #[test]
    fn a_vote_is_remembered() {
        let peer = ServerId::new("server2").unwrap();
        let mut trust = Trust::new(3, vec![]);
        trust.judge(&peer, &mark(7, 2, 5, (4, 100))).unwrap();
        trust.voted(&peer, 6);
        trust.judge(&peer, &mark(7, 3, 5, (4, 100))).unwrap_err();
        trust.judge(&peer, &mark(7, 3, 6, (4, 100))).unwrap();
    }

    #[test]
    fn what_is_remembered_survives_by_being_stored() {
        let peer = ServerId::new("server2").unwrap();
        let mut trust = Trust::new(3, vec![]);
        trust.judge(&peer, &mark(7, 2, 5, (4, 100))).unwrap();
        trust.acknowledged(&peer, 5, LogMark { last_log_term: 5, last_log_index: 101 });
        let stored = trust.take_changed();
        assert!(!trust.has_changed());
        let mut again = Trust::new(3, stored);
        again.judge(&peer, &mark(7, 3, 5, (5, 100))).unwrap_err();
        again.judge(&peer, &mark(7, 3, 5, (5, 101))).unwrap();
    }
}
