//! The database: which SQLite, how it is set up, and which tables there are.

use std::{fs::File, path::Path, time::Duration};

use rusqlite::{Connection, ErrorCode, config::DbConfig};

use super::{
    OpenError,
    full_text::TABLE_NAMES,
    indexing::Indexing,
    record::{IdentityRecord, doubt, name, put_meta, stored},
    statement::{While, sqlite_error},
};
use crate::disk::StorageError;

/// "Syn5", at offset 68 of the file, so that `file(1)` and a start can tell whose database it is.
const APPLICATION_ID: i32 = 0x5379_6e35;
/// The version of the tables below. A start refuses any other one.
const SCHEMA_VERSION: i32 = 5;
/// Older versions can corrupt a WAL database when two connections write or checkpoint at the same moment
/// (<https://sqlite.org/wal.html>, "the WAL-reset bug").
const OLDEST_SQLITE: i32 = 3_051_003;

/// `crc` covers the rest of its row, see `checksum`. Tables that are read in the order of their key keep
/// their rows in it (`WITHOUT ROWID`).
const TABLES: &str = "
CREATE TABLE meta (
    name TEXT NOT NULL PRIMARY KEY, value BLOB NOT NULL, crc INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE state (
    key BLOB NOT NULL PRIMARY KEY, value BLOB NOT NULL, crc INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE event (
    room INTEGER NOT NULL, seq INTEGER NOT NULL, idx INTEGER NOT NULL, created_at_ms INTEGER NOT NULL,
    newest_ms INTEGER NOT NULL, author TEXT NOT NULL, json TEXT NOT NULL, crc INTEGER NOT NULL,
    PRIMARY KEY (room, seq)
) STRICT, WITHOUT ROWID;
";
/// `crc` comes before `bytes`, so that it is read without the overflow pages of these.
const FILE_TABLES: &str = "
CREATE TABLE chunk (
    file BLOB NOT NULL, number INTEGER NOT NULL, crc INTEGER NOT NULL, bytes BLOB NOT NULL,
    PRIMARY KEY (file, number)
) STRICT, WITHOUT ROWID;
";

/// What is removed and not wiped yet, see `sweep`.
const NOTE_TABLES: &str = "
CREATE TABLE floor (
    room INTEGER PRIMARY KEY, below INTEGER NOT NULL, crc INTEGER NOT NULL
) STRICT;
CREATE TABLE doomed (
    file BLOB NOT NULL PRIMARY KEY, crc INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
";

/// How long a statement waits for a lock. Only another program, such as a database tool, can hold one for
/// long.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Page cache of the writer, in KiB.
const WRITER_CACHE_KIB: i32 = 32 * 1024;
/// Page cache of each reader, in KiB.
const READER_CACHE_KIB: i32 = 8 * 1024;
/// A WAL that has grown beyond this (while a long read kept it from starting over) is cut when it can be.
const WAL_BYTES_KEPT: i64 = 64 * 1024 * 1024;
/// More statements than there are in `rows`.
const STATEMENTS_CACHED: usize = 64;
/// Only a database of at most so many bytes has its structure and all its events checked at every start. Log
/// and state are always read completely at a start, and have checksums and totals. In a larger database the
/// events are left out: they are checked when they are read, and counted when a snapshot is made.
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
    set_sync(connection, Sync::AtCommit)?;
    // Deleted content is overwritten, in pages and in freed pages.
    connection
        .pragma_update_and_check(None, "secure_delete", true, |_| Ok(()))
        .during("asking for deleted text to be overwritten")?;
    // These only matter on macOS, where fsync alone does not reach the disk itself.
    connection.pragma_update(None, "fullfsync", true).during("asking for full syncs")?;
    connection.pragma_update(None, "checkpoint_fullfsync", true).during("asking for full syncs")?;
    // The writer makes checkpoints itself (`checkpoints`), because SQLite hides the errors of its own.
    connection.pragma_update(None, "wal_autocheckpoint", 0).during("turning off auto-checkpoints")?;
    connection
        .pragma_update_and_check(None, "journal_size_limit", WAL_BYTES_KEPT, |_| Ok(()))
        .during("limiting the WAL")
}

/// When SQLite syncs its WAL. What is in the database itself is synced before the WAL starts over, either
/// way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sync {
    /// Before COMMIT returns; with it everything that was committed before.
    AtCommit,
    /// Before a checkpoint. A power cut takes away what was committed since, in whole transactions.
    AtCheckpoint,
}

/// Sets when SQLite syncs, from the next transaction on.
pub(super) fn set_sync(connection: &Connection, sync: Sync) -> Result<(), StorageError> {
    let (name, expected) = match sync {
        Sync::AtCommit => ("FULL", 2),
        Sync::AtCheckpoint => ("NORMAL", 1),
    };
    connection.pragma_update(None, "synchronous", name).during("saying when to sync")?;
    // Read back, because a pragma that SQLite does not understand is ignored in silence.
    let found: i32 = connection
        .pragma_query_value(None, "synchronous", |row| row.get(0))
        .during("reading back when SQLite syncs")?;
    if found == expected {
        return Ok(());
    }
    Err(StorageError::Failed(format!("SQLite says synchronous={found} where {name} was set")))
}

/// Sets up a connection that only reads.
pub(super) fn set_up_reader(connection: &Connection) -> Result<(), StorageError> {
    set_up(connection, READER_CACHE_KIB)?;
    connection.pragma_update(None, "query_only", true).during("turning off writing")
}

/// Memory mapping stays off: an I/O error in a mapped page is a signal and not an error code.
fn set_up(connection: &Connection, cache_kib: i32) -> Result<(), StorageError> {
    const DOING: &str = "setting up a connection";
    connection.busy_timeout(BUSY_TIMEOUT).during(DOING)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_CACHED);
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false).during(DOING)?;
    connection.pragma_update(None, "cache_size", -cache_kib).during(DOING)?;
    connection.pragma_update(None, "temp_store", "MEMORY").during(DOING)?;
    connection.pragma_update(None, "cell_size_check", true).during(DOING)
}

/// The state of a database before it is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Age {
    /// Still to be [created](create).
    New,
    /// Of this version.
    Current,
}

/// The state of the database. `Refused` if it is not ours, `Doubtful` if it is not as it was created.
pub(super) fn age(connection: &Connection, path: &Path) -> Result<Age, OpenError> {
    let number = |pragma: &str| {
        connection
            .pragma_query_value(None, pragma, |row| row.get::<_, i32>(0))
            .map_err(|error| unless_damaged("reading what the database is", &error))
    };
    let application_id = number("application_id")?;
    let version = number("user_version")?;
    let objects: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(|error| unless_damaged("reading the schema", &error))?;
    // SQLite does not write if the header names a version of the format that it does not know.
    if connection.is_readonly(rusqlite::MAIN_DB).during("reading what the database is")?
        && File::options().write(true).open(path).is_ok()
    {
        return Err(doubt("the header of the database says that it is of a newer format").into());
    }
    let shown = path.display();
    match (application_id, version) {
        (0, 0) if objects == 0 => Ok(Age::New),
        (APPLICATION_ID, SCHEMA_VERSION) => {
            check_tables(connection)?;
            Indexing::check(connection)?;
            Ok(Age::Current)
        }
        _ if is_header_damaged(connection, application_id, version) => {
            Err(doubt("the header of the database names another program or version than its content").into())
        }
        (APPLICATION_ID, _) => Err(OpenError::Refused(format!(
            "{shown} was written by another version of SyncNet (its schema is {version}, this program's is \
             {SCHEMA_VERSION}); run that version"
        ))),
        _ => Err(OpenError::Refused(format!(
            "{shown} is a database of another program; name another data folder or move it away"
        ))),
    }
}

/// An error of the first statements. They are the same each time, so anything that SQLite finds wrong with
/// one is wrong with the database.
fn unless_damaged(doing: &str, error: &rusqlite::Error) -> StorageError {
    match sqlite_error(doing, error) {
        StorageError::Failed(what) if error.sqlite_error_code() == Some(ErrorCode::Unknown) => doubt(what),
        error => error,
    }
}

/// Whether a database that seems to be another program's, or of an unknown version, is one of ours with a
/// damaged header: then its checked rows say whose it is and of which version.
fn is_header_damaged(connection: &Connection, application_id: i32, version: i32) -> bool {
    let identity = stored::<IdentityRecord>(connection, name::IDENTITY);
    if !matches!(identity, Ok(Some(_))) {
        return false;
    }
    application_id != APPLICATION_ID
        || !matches!(stored::<i32>(connection, name::SCHEMA), Ok(Some(written)) if written == version)
}

/// The tables that are made in a new database.
const ALL_TABLES: [&str; 3] = [TABLES, FILE_TABLES, NOTE_TABLES];

/// Compares the definitions of the tables with those that were written. A flipped bit in one of them can
/// leave a valid definition of another table, and make sense of rows in another way.
fn check_tables(connection: &Connection) -> Result<(), StorageError> {
    const DOING: &str = "reading the schema";
    // The index of searches is derived, and made anew if it differs.
    let definitions = |connection: &Connection| -> rusqlite::Result<Vec<String>> {
        let mut statement = connection.prepare(&format!(
            "SELECT concat_ws(' ', type, name, tbl_name, sql) FROM sqlite_schema WHERE NOT ({TABLE_NAMES})
             ORDER BY name",
        ))?;
        statement.query_map([], |row| row.get(0))?.collect()
    };
    let fresh = Connection::open_in_memory().during(DOING)?;
    ALL_TABLES.iter().try_for_each(|tables| fresh.execute_batch(tables)).during(DOING)?;
    if definitions(connection).during(DOING)? == definitions(&fresh).during(DOING)? {
        return Ok(());
    }
    Err(doubt("the database has other tables than were made in it"))
}

/// Creates the tables, inside a transaction of the caller's.
pub(super) fn create(connection: &mut Connection) -> Result<(), StorageError> {
    const DOING: &str = "creating the tables";
    ALL_TABLES.iter().try_for_each(|tables| connection.execute_batch(tables)).during(DOING)?;
    put_meta(connection, name::SCHEMA, &SCHEMA_VERSION)?;
    connection.pragma_update(None, "application_id", APPLICATION_ID).during(DOING)?;
    connection.pragma_update(None, "user_version", SCHEMA_VERSION).during(DOING)
}

/// Whether the database is so small that reading all of it takes almost no time.
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
