//! Damage in this server's state that was found while reading: an event, a piece of a file or a row of state
//! that fails its checksum.
//!
//! Damage in one place must not cost more than that place, and never the majority. The log is whole, so this
//! server goes on voting and acknowledging:
//!
//! 1. It says so once, and in its status.
//! 2. It asks the others for each damaged row, again and again. If one of them has it as it was, which the
//!    row's own checksum proves, the row is written anew.
//! 3. What is not a matter of single rows, or is not repaired within `REPAIR_MS`, *lasts*. While damage lasts
//!    this server stands for no election, and leads only if no other server can: it hands the lead to an
//!    undamaged voter, and the others do not hand it back, since its heartbeats say that it takes no part.
//! 4. It sends no snapshots, since it cannot make one to the end. It tries again now and then, because the
//!    damaged data may have been removed.
//! 5. If damage lasts and the undamaged others are a majority without this server, it goes into quarantine
//!    and is rebuilt from the leader.
//!
//! If damage keeps an entry from being applied, it and those behind it wait meanwhile. Only damage that keeps
//! rows from being written ends in quarantine at once.

use std::collections::BTreeMap;

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

/// Pause after a snapshot that could not be made.
const SNAPSHOT_PAUSE_MS: u64 = 30_000;
/// Damage of rows lasts if none of them was repaired for so long.
const REPAIR_MS: u64 = 2_000;
/// How often the others are asked for the damaged rows.
const ASK_MS: u64 = 500;
/// Most rows that are asked for at a time. They come in the order of their keys.
const ASK_ROWS: usize = 32;
/// If more rows are damaged, this is no matter of single rows.
const ROWS_MAX: usize = 1_000;

/// What is known to be damaged.
#[derive(Debug, Default)]
pub struct Damage {
    /// What was found first, in one sentence.
    first: Option<String>,
    /// The damaged rows and their checksums.
    rows: BTreeMap<RowKey, u32>,
    /// Rows that were found since the last tick.
    found: Vec<DamagedRow>,
    /// Whether more is damaged than these.
    is_general: bool,
    /// When there was last something found or repaired.
    changed_ms: u64,
    /// Whether that is too long ago.
    is_late: bool,
    next_ask_ms: u64,
    /// Before then no snapshot is made.
    no_snapshot_before_ms: u64,
}

impl Damage {
    /// Whether it is no matter of rows that are just being repaired.
    pub(super) fn lasts(&self) -> bool {
        self.is_general || self.is_late
    }

    /// Notes a row until the next tick.
    pub(super) fn note(&mut self, row: DamagedRow) {
        self.found.push(row);
    }
}

impl<S: Storage> Node<S> {
    /// Notes damaged data. Each row is reported once.
    pub fn on_damage(&mut self, now: Now, reason: String, row: Option<DamagedRow>, outputs: &mut Outputs) {
        let damage = &mut self.damage;
        damage.no_snapshot_before_ms = now.mono_ms + SNAPSHOT_PAUSE_MS;
        let is_news = match row {
            Some(row) => damage.rows.insert(row.key, row.crc).is_none(),
            None => !std::mem::replace(&mut damage.is_general, true),
        };
        if !is_news {
            return;
        }
        damage.is_general |= damage.rows.len() > ROWS_MAX;
        damage.changed_ms = now.mono_ms;
        damage.first.get_or_insert(reason.clone());
        self.scrub.damaged += 1;
        outputs.push(Output::Damaged { reason });
        // The sooner the better: the others may be about to change the row.
        self.ask_for_rows(now, outputs);
    }

    /// What is damaged and what follows, in words.
    pub fn damage(&self) -> Option<String> {
        let reason = self.damage.first.as_ref()?;
        let then = if self.damage.lasts() {
            "it is rebuilt once a majority of others is whole"
        } else {
            "it is being fetched from another server"
        };
        Some(format!("its data is damaged ({reason}); {then}"))
    }

    fn ask_for_rows(&mut self, now: Now, outputs: &mut Outputs) {
        self.damage.next_ask_ms = now.mono_ms + ASK_MS;
        for key in self.damage.rows.keys().take(ASK_ROWS) {
            self.tell_peers(&PeerMessage::RowWanted(key.clone()), outputs);
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
        let Some(&crc) = self.damage.rows.get(&key) else { return };
        match self.consensus.storage_mut().repair(&DamagedRow { key: key.clone(), crc }, content) {
            Ok(true) => {
                self.damage.rows.remove(&key);
                self.damage.changed_ms = now.mono_ms;
                self.scrub.repaired += 1;
                outputs.push(Output::Repaired { row: key, from });
                if self.damage.rows.is_empty() && !self.damage.is_general {
                    self.damage = Damage::default();
                }
            }
            // It is another version of the row, or the checksum itself is damaged.
            Ok(false) => {}
            Err(error) => self.broke(error),
        }
    }

    /// Called at each tick: asks for the damaged rows, and has the data rebuilt if that is of no use and the
    /// others are a majority without this server.
    pub(super) fn mend(&mut self, now: Now, outputs: &mut Outputs) {
        for row in std::mem::take(&mut self.damage.found) {
            self.on_damage(now, row.to_string(), Some(row), outputs);
        }
        if self.damage.first.is_none() {
            return;
        }
        self.damage.is_late |= now.mono_ms >= self.damage.changed_ms + REPAIR_MS;
        if now.mono_ms >= self.damage.next_ask_ms {
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
            let reason = self.damage.first.as_deref().unwrap_or_default();
            let reason = format!("damage was found: {reason}");
            self.quarantine(reason, outputs);
        }
    }

    /// Whether a snapshot would fail now.
    pub(super) fn makes_no_snapshot(&self, now: Now) -> bool {
        now.mono_ms < self.damage.no_snapshot_before_ms
    }
}
