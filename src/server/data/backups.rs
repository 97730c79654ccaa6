//! Copies of the whole state for operators. Only one is made at a time.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use super::readers::Readers;

/// What the server needs to make backups.
pub struct Backups {
    pub readers: Arc<Readers>,
    is_busy: AtomicBool,
}

/// The right to make a backup. There is one, because a backup keeps the database's log from being cleared.
pub struct BackupSlot<'a>(&'a AtomicBool);

impl Drop for BackupSlot<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl Backups {
    /// Made with `readers`.
    pub fn new(readers: Arc<Readers>) -> Backups {
        Backups { readers, is_busy: AtomicBool::new(false) }
    }

    /// Takes the place; `None` if there is a backup under way.
    pub fn begin(&self) -> Option<BackupSlot<'_>> {
        (!self.is_busy.swap(true, Ordering::AcqRel)).then_some(BackupSlot(&self.is_busy))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_backup_is_made_at_a_time() {
        let backups = Backups::new(Arc::default());
        let place = backups.begin();
        assert!(place.is_some() && backups.begin().is_none());
        drop(place);
        assert!(backups.begin().is_some());
    }
}
