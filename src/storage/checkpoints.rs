//! When pages are copied from the WAL into the database: in the writer, after a commit.
//!
//! A WAL that starts over still has the pages of its last round behind the new ones, and with them text that
//! was deleted since. So after something was wiped from the database the next checkpoint also cuts the WAL to
//! nothing. This costs more than a plain one, because the file has to grow again. It is due after deletions,
//! and each time the log was cut, because the cut entries held deleted text, too.

use std::time::Duration;

use rusqlite::{Connection, ErrorCode};

use super::{
    rows::{While, sqlite_error},
    schema,
    transaction::Broken,
};

/// Pages in the WAL that wait for a checkpoint, before one is made.
const CHECKPOINT_PAGES: i64 = 1_000;
/// From so many pages on (64 MiB) the writer waits a moment for readers, so that the WAL can start over.
const RESTART_PAGES: i64 = 16 * 1024;
/// How long it waits at most. A query takes less; for a snapshot under way no wait would be enough.
const RESTART_WAIT: Duration = Duration::from_millis(50);

/// When to copy pages from the WAL into the database.
#[derive(Debug, Default)]
pub(super) struct Checkpoints {
    /// Pages in the WAL when a checkpoint was last tried: one that a reader holds back is not tried again
    /// with every commit.
    tried_at: i64,
    /// Whether something was wiped that the WAL may still have.
    wiped: bool,
}

impl Checkpoints {
    /// To be called after a commit that wiped something.
    pub fn note_wiped(&mut self) {
        self.wiped = true;
    }

    /// To be called after every commit.
    pub fn after_commit(&mut self, connection: &Connection) -> Result<(), Broken> {
        let (pages, copied) = run_checkpoint(connection, "PRAGMA wal_checkpoint(NOOP)")?;
        if pages < self.tried_at {
            // The WAL has started over.
            self.tried_at = 0;
        }
        if pages - copied < CHECKPOINT_PAGES && pages < RESTART_PAGES
            || pages - self.tried_at < CHECKPOINT_PAGES
        {
            return Ok(());
        }
        self.tried_at = pages;
        if pages < RESTART_PAGES && !self.wiped {
            run_checkpoint(connection, "PRAGMA wal_checkpoint(PASSIVE)")?;
            return Ok(());
        }
        self.start_over(connection, pages)
    }

    /// To be called if nothing has been committed for a while: removes what was wiped from the WAL, too.
    pub fn when_idle(&mut self, connection: &Connection) -> Result<(), Broken> {
        if self.wiped { self.start_over(connection, 0) } else { Ok(()) }
    }

    fn start_over(&mut self, connection: &Connection, pages: i64) -> Result<(), Broken> {
        let text =
            if self.wiped { "PRAGMA wal_checkpoint(TRUNCATE)" } else { "PRAGMA wal_checkpoint(RESTART)" };
        let wait = |time| connection.busy_timeout(time).during("setting how long to wait for readers");
        // Wiping need not be waited for: there will be no reader at one of the next checkpoints.
        wait(if pages < RESTART_PAGES { Duration::ZERO } else { RESTART_WAIT })?;
        let (left, _) = run_checkpoint(connection, text)?;
        self.wiped &= left != 0;
        wait(schema::BUSY_TIMEOUT).map_err(Broken::from)
    }
}

/// Runs one of the checkpoint pragmas. Returns the pages in the WAL, and those of them already copied.
/// It is no error if readers keep it from finishing.
fn run_checkpoint(connection: &Connection, text: &str) -> Result<(i64, i64), Broken> {
    let mut statement = connection.prepare_cached(text).during("preparing a checkpoint")?;
    statement.query_row([], |row| Ok((row.get(1)?, row.get(2)?))).map_err(|error| Broken {
        error: sqlite_error("checkpointing", &error),
        rolled_back: false,
        synced_in_vain: error.sqlite_error_code() == Some(ErrorCode::SystemIoFailure),
    })
}
