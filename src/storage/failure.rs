//! A storage that failed once has failed for good: what is on the disk is unknown from then on.

use std::cell::OnceCell;

use crate::disk::StorageError;

/// The first failure of a storage, if there was one.
#[derive(Debug, Default)]
pub(super) struct Failure(OnceCell<StorageError>);

impl Failure {
    /// Says what has failed before.
    pub fn check(&self) -> Result<(), StorageError> {
        self.0.get().map_or(Ok(()), |error| Err(error.clone()))
    }

    /// Keeps `error`, unless something failed before, and gives back what is kept.
    pub fn keep(&self, error: StorageError) -> StorageError {
        self.0.get_or_init(|| error).clone()
    }
}
