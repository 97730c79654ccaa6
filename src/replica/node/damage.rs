//! What is known to be damaged in this server's data. What becomes of it: `mending`.

use std::collections::BTreeMap;

use crate::{
    disk::{DamagedRow, StorageError},
    protocol::peer::RowKey,
    replica::io::Now,
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
    /// What was noted since the last tick.
    noted: Vec<StorageError>,
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
    /// What was found first, in one sentence; `None` if nothing is damaged.
    pub fn first(&self) -> Option<&str> {
        self.first.as_deref()
    }

    /// Whether it is no matter of rows that are just being repaired.
    pub fn lasts(&self) -> bool {
        self.is_general || self.is_late
    }

    /// Looks whether the repair takes too long.
    pub fn look_at_clock(&mut self, now: Now) {
        self.is_late |= self.first.is_some() && now.mono_ms >= self.changed_ms + REPAIR_MS;
    }

    /// Notes that data is damaged until the next tick.
    pub fn note(&mut self, damage: StorageError) {
        self.noted.push(damage);
    }

    /// What was noted since the last tick.
    pub fn take_noted(&mut self) -> Vec<StorageError> {
        std::mem::take(&mut self.noted)
    }

    /// The state could not be read as a whole.
    pub fn pause_snapshots(&mut self, now: Now) {
        self.no_snapshot_before_ms = now.mono_ms + SNAPSHOT_PAUSE_MS;
    }

    /// Takes in what was found, a row or something else; whether it is news.
    pub fn found(&mut self, now: Now, reason: &str, row: Option<DamagedRow>) -> bool {
        let is_news = match row {
            Some(row) => self.rows.insert(row.key, row.crc).is_none(),
            None => !std::mem::replace(&mut self.is_general, true),
        };
        if is_news {
            self.is_general |= self.rows.len() > ROWS_MAX;
            self.changed_ms = now.mono_ms;
            self.first.get_or_insert_with(|| reason.into());
        }
        is_news
    }

    /// Whether it is time to ask the others for the damaged rows again.
    pub fn is_to_ask(&self, now: Now) -> bool {
        self.first.is_some() && now.mono_ms >= self.next_ask_ms
    }

    /// The rows to ask the others for now.
    pub fn ask(&mut self, now: Now) -> Vec<RowKey> {
        self.next_ask_ms = now.mono_ms + ASK_MS;
        self.rows.keys().take(ASK_ROWS).cloned().collect()
    }

    /// A row as it was found, if it is damaged.
    pub fn row(&self, key: &RowKey) -> Option<DamagedRow> {
        self.rows.get(key).map(|&crc| DamagedRow { key: key.clone(), crc })
    }

    /// The row is whole again.
    pub fn repaired(&mut self, now: Now, key: &RowKey) {
        self.rows.remove(key);
        self.changed_ms = now.mono_ms;
        if self.rows.is_empty() && !self.is_general {
            *self = Damage::default();
        }
    }

    /// Whether a snapshot would fail now.
    pub fn hinders_snapshots(&self, now: Now) -> bool {
        now.mono_ms < self.no_snapshot_before_ms
    }
}
