//! Statements of SQLite, and their errors as one of the two kinds that matter.

use rusqlite::Connection;

use crate::disk::StorageError;

/// An error of SQLite as one of the two kinds that matter. `doing` completes "while …".
///
/// A damaged page means doubt. A disk that does not read or write is a failure, and so is everything else (a
/// full disk, a lock of another process), since what follows is unknown.
pub(super) fn sqlite_error(doing: &str, error: &rusqlite::Error) -> StorageError {
    use rusqlite::{Error, ErrorCode};
    let damaged = match error {
        Error::SqliteFailure(failure, _) => {
            matches!(failure.code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
        }
        Error::FromSqlConversionFailure(..)
        | Error::IntegralValueOutOfRange(..)
        | Error::InvalidColumnType(..)
        | Error::Utf8Error(..) => true,
        _ => false,
    };
    let what = format!("{error} while {doing}");
    if damaged { StorageError::Doubtful(what) } else { StorageError::Failed(what) }
}

/// Adds what was being done to an error.
pub(super) trait While<T> {
    /// `doing` completes "while …".
    fn during(self, doing: &str) -> Result<T, StorageError>;
}

impl<T> While<T> for rusqlite::Result<T> {
    fn during(self, doing: &str) -> Result<T, StorageError> {
        self.map_err(|error| sqlite_error(doing, &error))
    }
}

/// SQLite's integers are signed; no count here comes near their limit.
pub(super) fn sql(number: u64) -> Result<i64, StorageError> {
    i64::try_from(number).map_err(|_| StorageError::Failed(format!("{number} is too large to be stored")))
}

/// Runs a statement and returns how many rows it changed.
pub(super) fn write(
    connection: &Connection,
    text: &str,
    values: impl rusqlite::Params,
) -> Result<usize, StorageError> {
    connection.prepare_cached(text).during("writing")?.execute(values).during("writing")
}
