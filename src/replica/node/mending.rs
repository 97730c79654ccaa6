//! Damage in this server's state that was found while reading: an event, a piece of a file or a row of state
//! that fails its checksum, or more.
//!
//! Damage in one place must not cost more than that place, and never the majority. Where the log ends it is
//! whole, so this server goes on voting and acknowledging:
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
//! An entry of the log that cannot be read is damage that lasts, too: who needs it gets a snapshot in its
//! place.
//!
//! If damage keeps an entry from being applied, it and those behind it wait meanwhile. If damage keeps rows
//! from being written, they wait in memory and in the log; only if they become too many, the server goes into
//! quarantine whatever the others have.

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
    /// Notes data that is damaged where the state is read. Each row is reported once.
    pub fn on_damage(&mut self, now: Now, reason: String, row: Option<DamagedRow>, outputs: &mut Outputs) {
        self.damage.pause_snapshots(now);
        self.note_damage(now, reason, row, outputs);
    }

    fn note_damage(&mut self, now: Now, reason: String, row: Option<DamagedRow>, outputs: &mut Outputs) {
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

    /// Whether more is damaged than rows that are just being repaired.
    pub fn has_lasting_damage(&self) -> bool {
        self.damage.lasts()
    }

    fn ask_for_rows(&mut self, now: Now, outputs: &mut Outputs) {
        for key in self.damage.ask(now) {
            self.tell_peers(&PeerMessage::RowWanted(key), outputs);
        }
    }

    /// A peer has this row damaged.
    pub fn on_row_wanted(&mut self, from: ServerId, key: RowKey, outputs: &mut Outputs) {
        match self.consensus.storage().row(&key) {
            Ok(Some(content)) => self.send(from, PeerMessage::Row { key, content }, outputs),
            Ok(None) => {}
            Err(error) => self.unreadable(error),
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
        for damage in self.damage.take_noted() {
            let (reason, row) = reason_and_row(damage);
            self.on_damage(now, reason, row, outputs);
        }
        // What the state on the disk has can be read all the same.
        if let Some(damage) = self.consensus.take_damage() {
            let (reason, row) = reason_and_row(damage);
            self.note_damage(now, reason, row, outputs);
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

/// Damage in words, and the row if it is one.
fn reason_and_row(damage: StorageError) -> (String, Option<DamagedRow>) {
    match damage {
        StorageError::Damaged(row) => (row.to_string(), Some(row)),
        StorageError::Doubtful(what) | StorageError::Failed(what) => (what, None),
    }
}
