//! One transaction, and what its failure means for the disk.

use rusqlite::{Connection, ErrorCode};

use super::statement::{While, sqlite_error};
use crate::disk::StorageError;

/// What went wrong in a transaction, and what that means for the disk.
#[derive(Debug)]
pub(super) struct Broken<E = StorageError> {
    pub error: E,
    /// The transaction is undone, and the connection as good as before.
    pub rolled_back: bool,
    /// A sync failed, or may have: from now on reading proves nothing.
    pub synced_in_vain: bool,
}

impl From<StorageError> for Broken {
    fn from(error: StorageError) -> Self {
        Broken { error, rolled_back: false, synced_in_vain: false }
    }
}

/// Runs `work` in one transaction: all of it is durable when this returns `Ok`.
pub(super) fn transaction<T, E: From<StorageError>>(
    connection: &mut Connection,
    work: impl FnOnce(&mut Connection) -> Result<T, E>,
) -> Result<T, Broken<E>> {
    let step = |connection: &Connection, text| -> rusqlite::Result<()> {
        connection.prepare_cached(text)?.execute([]).map(drop)
    };
    // IMMEDIATE: the lock of another process is waited for here, and not in the middle.
    step(connection, "BEGIN IMMEDIATE").during("beginning a transaction").map_err(|error| Broken {
        error: error.into(),
        rolled_back: false,
        synced_in_vain: false,
    })?;
    match work(connection) {
        Ok(done) => step(connection, "COMMIT").map(|()| done).map_err(|error| Broken {
            error: sqlite_error("committing", &error).into(),
            rolled_back: false,
            synced_in_vain: error.sqlite_error_code() == Some(ErrorCode::SystemIoFailure),
        }),
        Err(error) => {
            let rolled_back = step(connection, "ROLLBACK").is_ok();
            Err(Broken { error, rolled_back, synced_in_vain: false })
        }
    }
}
