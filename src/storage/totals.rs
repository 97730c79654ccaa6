//! How many rows there are, so that one that is gone is missed.

use serde::{Deserialize, Serialize};

use super::record::doubt;
use crate::disk::StorageError;

/// Count and sum of rows: a row that vanished has no checksum of its own to fail.
///
/// The sum is of the rows' checksums, and wraps. It depends on no order, so replacing a row subtracts the old
/// checksum and adds the new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Totals {
    pub state: Total,
    pub events: Total,
    pub chunks: Total,
}

/// Count and sum of one table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Total {
    pub rows: u64,
    pub sum: u64,
}

impl Total {
    /// Adds a row; `replaced` is the checksum of the one that it replaces.
    pub fn put(&mut self, crc: u32, replaced: Option<u32>) {
        self.remove(replaced);
        self.rows += 1;
        self.sum = self.sum.wrapping_add(u64::from(crc));
    }

    /// Takes a row away, if there was one.
    pub fn remove(&mut self, removed: Option<u32>) {
        if let Some(crc) = removed {
            self.rows = self.rows.wrapping_sub(1);
            self.sum = self.sum.wrapping_sub(u64::from(crc));
        }
    }

    /// Compares with what was counted while reading the whole table.
    pub fn check(&self, counted: &Total, what: &str) -> Result<(), StorageError> {
        if self == counted {
            return Ok(());
        }
        Err(doubt(format!(
            "{} {what} were written and {} are there, or one is of another time",
            self.rows, counted.rows
        )))
    }
}
