//! When pages are copied from the WAL into the database: in the writer, after a commit.
//!
//! A WAL that starts over still has, behind what is newly written, the pages of its last round; with them
//! text that was deleted since. So after something was wiped from the database the next checkpoint also cuts
//! the WAL to nothing. This costs more than a plain one, because the file has to grow again; it is due after
//! deletions.

use std::time::Duration;

use rusqlite::{Connection, ErrorCode};

use super::{
    schema,
    statement::{While, sqlite_error},
    transaction::Broken,
};

/// Pages in the WAL that wait for a checkpoint, before one is made (16 MiB). A page that changes often is
/// copied once for all of its changes since the last one.
const CHECKPOINT_PAGES: i64 = 4_000;
/// From so many pages on (64 MiB) the writer waits a moment for readers, so that the WAL can start over.
const RESTART_PAGES: i64 = 16 * 1024;
/// How long it waits at most. A query takes less; for a snapshot under way no wait would be enough.
const RESTART_WAIT: Duration = Duration::from_millis(50);

/// A checkpoint that is due, with the pages that are in the WAL.
#[derive(Debug, Clone, Copy)]
pub(super) struct Due(i64);

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

    /// Whether there is enough to copy. To be asked after every commit.
    pub fn after_commit(&mut self, connection: &Connection) -> Result<Option<Due>, Broken> {
        let (pages, copied) = run_checkpoint(connection, "PRAGMA wal_checkpoint(NOOP)")?;
        if pages < self.tried_at {
            // The WAL has started over.
            self.tried_at = 0;
        }
        let is_due = (pages - copied >= CHECKPOINT_PAGES || pages >= RESTART_PAGES)
            && pages - self.tried_at >= CHECKPOINT_PAGES;
        Ok(is_due.then_some(Due(pages)))
    }

    /// Whether something that was wiped is to leave the WAL. To be asked where nothing has been committed for
    /// a while.
    pub fn when_idle(&self) -> Option<Due> {
        self.wiped.then_some(Due(0))
    }

    /// Copies. Everything that is in the WAL must be known to be synced, and the log must have noted it: a
    /// damaged WAL that lost some of what was copied from it is found out by that alone.
    pub fn run(&mut self, connection: &Connection, Due(pages): Due) -> Result<(), Broken> {
        self.tried_at = self.tried_at.max(pages);
        if (1..RESTART_PAGES).contains(&pages) && !self.wiped {
            run_checkpoint(connection, "PRAGMA wal_checkpoint(PASSIVE)")?;
            return Ok(());
        }
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
