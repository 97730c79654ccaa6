//! The database: which SQLite, how it is set up, and which tables there are.

use std::time::Duration;

use rusqlite::{Connection, config::DbConfig};

use super::{OpenError, record::doubt, rows::While};
use crate::replica::storage::StorageError;

/// "Syn5", at offset 68 of the file, so that `file(1)` and a start can tell whose database it is.
const APPLICATION_ID: i32 = 0x5379_6e35;
/// The version of the tables below. A start refuses a newer one; an older one will be migrated.
const SCHEMA_VERSION: i32 = 1;
/// Older versions can corrupt a WAL database when two connections write or checkpoint at the same moment
/// (<https://sqlite.org/wal.html>, "the WAL-reset bug").
const OLDEST_SQLITE: i32 = 3_051_003;

/// `crc` covers the rest of its row, see `checksum`. Tables that are read in the order of their key keep
/// their rows in it (`WITHOUT ROWID`); the log is in the order of its index anyway.
const TABLES: &str = "
CREATE TABLE meta (
    name TEXT NOT NULL PRIMARY KEY, value BLOB NOT NULL, crc INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE log (
    idx INTEGER PRIMARY KEY, entry BLOB NOT NULL, crc INTEGER NOT NULL
) STRICT;
CREATE TABLE state (
    key BLOB NOT NULL PRIMARY KEY, value BLOB NOT NULL, crc INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE event (
    room INTEGER NOT NULL, seq INTEGER NOT NULL, idx INTEGER NOT NULL, created_at_ms INTEGER NOT NULL,
    author TEXT NOT NULL, json TEXT NOT NULL, crc INTEGER NOT NULL,
    PRIMARY KEY (room, seq)
) STRICT, WITHOUT ROWID;
";
/// `crc` stands before `bytes`, so that it is read without the pages that these overflow into.
const FILE_TABLES: &str = "
CREATE TABLE chunk (
    file BLOB NOT NULL, number INTEGER NOT NULL, crc INTEGER NOT NULL, bytes BLOB NOT NULL,
    PRIMARY KEY (file, number)
) STRICT, WITHOUT ROWID;
";

/// How long a statement waits for a lock. Only a stranger with a database tool can hold one for long.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Page cache of the writer, in KiB.
const WRITER_CACHE_KIB: i32 = 32 * 1024;
/// Page cache of each reader, in KiB.
const READER_CACHE_KIB: i32 = 8 * 1024;
/// A WAL that has grown beyond this (while a long read kept it from starting over) is cut when it can be.
const WAL_BYTES_KEPT: i64 = 64 * 1024 * 1024;
/// More statements than there are in `rows`.
const STATEMENTS_CACHED: usize = 48;
/// Only a database of at most so many bytes has its structure and all its events checked at every start.
/// Log and state are read whole at a start anyway, and guarded by checksums and totals; what is left out in
/// a larger one is the events, which are checked as they are read and counted when a snapshot is made.
const SMALL_BYTES: i64 = 64 * 1024 * 1024;

/// Refuses an SQLite that is too old to be trusted with a WAL.
pub(super) fn check_library() -> Result<(), OpenError> {
    if rusqlite::version_number() >= OLDEST_SQLITE {
        return Ok(());
    }
    Err(OpenError::Refused(format!(
        "this program was built with SQLite {}, which can corrupt its data; build it with 3.51.3 or newer",
        rusqlite::version()
    )))
}

/// Sets up the connection that writes.
pub(super) fn set_up_writer(connection: &Connection) -> Result<(), StorageError> {
    set_up(connection, WRITER_CACHE_KIB)?;
    let mode: String = connection
        .pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))
        .during("turning on the WAL")?;
    if mode != "wal" {
        return Err(StorageError::Failed(format!(
            "SQLite keeps journal mode {mode} where WAL was asked for"
        )));
    }
    // COMMIT returns when the WAL is synced. The value is read back, because a pragma that SQLite does not
    // understand is ignored in silence, and everything rests on this one.
    connection.pragma_update(None, "synchronous", "FULL").during("asking for synced commits")?;
    let synchronous: i32 = connection
        .pragma_query_value(None, "synchronous", |row| row.get(0))
        .during("reading back whether commits are synced")?;
    if synchronous != 2 {
        return Err(StorageError::Failed(format!(
            "SQLite says synchronous={synchronous} where FULL was set"
        )));
    }
    // Elsewhere than on macOS these say nothing; there, fsync alone does not reach the platter.
    connection.pragma_update(None, "fullfsync", true).during("asking for full syncs")?;
    connection.pragma_update(None, "checkpoint_fullfsync", true).during("asking for full syncs")?;
    // The writer checkpoints by itself (`sqlite`), because SQLite hides the errors of its own.
    connection.pragma_update(None, "wal_autocheckpoint", 0).during("turning off auto-checkpoints")?;
    connection
        .pragma_update_and_check(None, "journal_size_limit", WAL_BYTES_KEPT, |_| Ok(()))
        .during("limiting the WAL")
}

/// Sets up a connection that only reads.
pub(super) fn set_up_reader(connection: &Connection) -> Result<(), StorageError> {
    set_up(connection, READER_CACHE_KIB)?;
    connection.pragma_update(None, "query_only", true).during("turning off writing")
}

/// Memory mapping stays off: an I/O error in a mapped page is a signal, where it has to be an answer.
fn set_up(connection: &Connection, cache_kib: i32) -> Result<(), StorageError> {
    const DOING: &str = "setting up a connection";
    connection.busy_timeout(BUSY_TIMEOUT).during(DOING)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_CACHED);
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false).during(DOING)?;
    connection.pragma_update(None, "cache_size", -cache_kib).during(DOING)?;
    connection.pragma_update(None, "temp_store", "MEMORY").during(DOING)?;
    connection.pragma_update(None, "cell_size_check", true).during(DOING)
}

/// Whether the database is a new one (then it is still to be [created](create)); refuses what is not ours.
pub(super) fn is_new(connection: &Connection, shown: &str) -> Result<bool, OpenError> {
    let number = |pragma: &str| {
        connection
            .pragma_query_value(None, pragma, |row| row.get::<_, i32>(0))
            .during("reading what the database is")
    };
    let application_id = number("application_id")?;
    let version = number("user_version")?;
    let objects: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .during("reading the schema")?;
    match (application_id, version) {
        (0, 0) if objects == 0 => Ok(true),
        (APPLICATION_ID, SCHEMA_VERSION) => Ok(false),
        (APPLICATION_ID, _) => Err(OpenError::Refused(format!(
            "{shown} was written by another version of SyncNet (its schema is {version}, this program's is \
             {SCHEMA_VERSION}); run that version"
        ))),
        _ => Err(OpenError::Refused(format!(
            "{shown} is a database of another program; name another data folder or move it away"
        ))),
    }
}

/// Creates the tables, inside a transaction of the caller's.
pub(super) fn create(connection: &Connection) -> Result<(), StorageError> {
    const DOING: &str = "creating the tables";
    connection.execute_batch(TABLES).during(DOING)?;
    connection.execute_batch(FILE_TABLES).during(DOING)?;
    connection.pragma_update(None, "application_id", APPLICATION_ID).during(DOING)?;
    connection.pragma_update(None, "user_version", SCHEMA_VERSION).during(DOING)
}

/// Whether reading all of the database takes no time to speak of.
pub(super) fn is_small(connection: &Connection) -> Result<bool, StorageError> {
    let value = |pragma: &str| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    let bytes = value("page_count").and_then(|count| Ok(count.saturating_mul(value("page_size")?)));
    Ok(bytes.during("reading the size of the database")? <= SMALL_BYTES)
}

/// Checks the structure of the database, which reads all of it.
pub(super) fn quick_check(connection: &Connection) -> Result<(), StorageError> {
    let found: String = connection
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .during("checking the structure of the database")?;
    if found == "ok" { Ok(()) } else { Err(doubt(format!("the database is damaged: {found}"))) }
}
