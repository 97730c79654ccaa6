//! Damage in this server's data that was found while reading: an event, a piece of a file or a row of state
//! that fails its checksum.
//!
//! Damage in one place must not cost the majority. The log is whole, so this server goes on voting and
//! acknowledging:
//!
//! 1. It says so once, and in its status.
//! 2. It stands for no election, and leads only if no other server can: it hands the lead to an undamaged
//!    voter, and the others do not hand it back, since its heartbeats say that it takes no part.
//! 3. It sends no snapshots, since it cannot make one to the end. It tries again now and then, because the
//!    damaged data may have been removed.
//! 4. Once the undamaged others are a majority without it, it goes into quarantine and is rebuilt from the
//!    leader.
//!
//! If damage keeps the state from applying an entry, the quarantine begins at once.

use super::Node;
use crate::{
    consensus::RaftRole,
    disk::Storage,
    election::membership::PeerView,
    replica::{
        io::{Now, Output},
        outputs::Outputs,
    },
};

/// Pause after a snapshot that could not be made.
const SNAPSHOT_PAUSE_MS: u64 = 30_000;

/// What is known to be damaged.
#[derive(Debug)]
pub struct Damage {
    /// What was found first, in one sentence.
    pub reason: String,
    /// Before then no snapshot is made.
    pub no_snapshot_before_ms: u64,
}

impl<S: Storage> Node<S> {
    /// Notes damaged data. Reported once.
    pub fn on_damage(&mut self, now: Now, reason: String, outputs: &mut Outputs) {
        let no_snapshot_before_ms = now.mono_ms + SNAPSHOT_PAUSE_MS;
        match &mut self.damage {
            Some(damage) => damage.no_snapshot_before_ms = no_snapshot_before_ms,
            None => {
                outputs.push(Output::Damaged { reason: reason.clone() });
                self.damage = Some(Damage { reason, no_snapshot_before_ms });
            }
        }
    }

    pub fn damage(&self) -> Option<&str> {
        self.damage.as_ref().map(|damage| damage.reason.as_str())
    }

    /// Called at each tick: has damaged data rebuilt as soon as the others are a majority without this
    /// server.
    pub(super) fn consider_rebuilding(&mut self, outputs: &mut Outputs) {
        let Some(reason) = self.damage() else { return };
        let conf = self.consensus.conf();
        let counts = |peer: &&PeerView| {
            let is_voter = peer.data.as_ref().is_some_and(|data| conf.voters.contains(&data.node_id));
            peer.alive && peer.votes && is_voter
        };
        let whole = self.view.peers.values().filter(counts).count();
        // While a rebuilt server is being taken in, a majority of the old voters is needed, too, and the lost
        // one is among them.
        let is_settled = conf.voters_outgoing.is_empty();
        if is_settled && self.consensus.raft_role() != RaftRole::Leader && 2 * whole > conf.voters.len() {
            let reason = format!("damage was found: {reason}");
            self.quarantine(reason, outputs);
        }
    }

    /// Whether a snapshot would fail now.
    pub(super) fn makes_no_snapshot(&self, now: Now) -> bool {
        self.damage.as_ref().is_some_and(|damage| now.mono_ms < damage.no_snapshot_before_ms)
    }
}
