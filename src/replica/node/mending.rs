//! Damage in this server's state that was found while reading: an event, a piece of a file or a row of state
//! that fails its checksum.
//!
//! Damage in one place must not cost more than that place, and never the majority. The log is whole, so this
//! server goes on voting and acknowledging:
//!
//! 1. It says so once, and in its status.
//! 2. It asks the others for each damaged row, again and again. If one of them has it as it was, which the
//!    row's own checksum proves, the row is written anew.
//! 3. What is not a matter of single rows, or is not repaired soon, *lasts*. While damage lasts
//!    this server stands for no election, and leads only if no other server can: it hands the lead to an
//!    undamaged voter, and the others do not hand it back, since its heartbeats say that it takes no part.
//! 4. It sends no snapshots, since it cannot make one to the end. It tries again now and then, because the
//!    damaged data may have been removed.
//! 5. If damage lasts and the undamaged others are a majority without this server, it goes into quarantine
//!    and is rebuilt from the leader.
//!
//! If damage keeps an entry from being applied, it and those behind it wait meanwhile. Only damage that keeps
//! rows from being written ends in quarantine at once.

use super::Node;
use crate::{
    consensus::RaftRole,
    disk::{DamagedRow, Storage, StorageError},
    election::membership::PeerView,
    protocol::{
        name::ServerId,
        peer::{PeerMessage, RowContent, RowKey},
    },
    replica::{
        io::{Now, Output},
        outputs::Outputs,
    },
};

impl<S: Storage> Node<S> {
    /// Notes damaged data. Each row is reported once.
    pub fn on_damage(&mut self, now: Now, reason: String, row: Option<DamagedRow>, outputs: &mut Outputs) {
        if !self.damage.found(now, &reason, row) {
            return;
        }
        self.scrub.damaged += 1;
        outputs.push(Output::Damaged { reason });
        // The sooner the better: the others may be about to change the row.
        self.ask_for_rows(now, outputs);
    }

    /// What is damaged and what follows, in words.
    pub fn damage(&self) -> Option<String> {
        let reason = self.damage.first()?;
        let then = if self.damage.lasts() {
            "it is rebuilt once a majority of others is whole"
        } else {
            "it is being fetched from another server"
        };
        Some(format!("its data is damaged ({reason}); {then}"))
    }

    fn ask_for_rows(&mut self, now: Now, outputs: &mut Outputs) {
        for key in self.damage.ask(now) {
            self.tell_peers(&PeerMessage::RowWanted(key), outputs);
        }
    }

    /// A peer has this row damaged.
    pub fn on_row_wanted(&mut self, now: Now, from: ServerId, key: RowKey, outputs: &mut Outputs) {
        match self.consensus.storage().row(&key) {
            Ok(Some(content)) => self.send(from, PeerMessage::Row { key, content }, outputs),
            Ok(None) => {}
            Err(StorageError::Damaged(row)) => self.on_damage(now, row.to_string(), Some(row), outputs),
            Err(error) => self.broke(error),
        }
    }

    /// A peer has sent what it has of a row.
    pub fn on_row(
        &mut self,
        now: Now,
        from: ServerId,
        key: RowKey,
        content: RowContent,
        outputs: &mut Outputs,
    ) {
        let Some(damaged) = self.damage.row(&key) else { return };
        match self.consensus.storage_mut().repair(&damaged, content) {
            Ok(true) => {
                self.damage.repaired(now, &key);
                self.scrub.repaired += 1;
                outputs.push(Output::Repaired { row: key, from });
            }
            // It is another version of the row, or the checksum itself is damaged.
            Ok(false) => {}
            Err(error) => self.broke(error),
        }
    }

    /// Called at each tick: asks for the damaged rows, and has the data rebuilt if that is of no use and the
    /// others are a majority without this server.
    pub(super) fn mend(&mut self, now: Now, outputs: &mut Outputs) {
        for row in self.damage.take_noted() {
            self.on_damage(now, row.to_string(), Some(row), outputs);
        }
        self.damage.look_at_clock(now);
        if self.damage.is_to_ask(now) {
            self.ask_for_rows(now, outputs);
        }
        if self.damage.lasts() {
            self.consider_rebuilding(outputs);
        }
    }

    fn consider_rebuilding(&mut self, outputs: &mut Outputs) {
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
            let reason = self.damage.first().unwrap_or_default();
            let reason = format!("damage was found: {reason}");
            self.quarantine(reason, outputs);
        }
    }
}
