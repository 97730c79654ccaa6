//! Where the log and the state begin and end, and how much state there is. The writer keeps this in memory to
//! tell a batch that fits from one that must never be written.

use super::{
    log_files::Log,
    record::{AppliedRecord, mark, name, stored},
    sweep::Sweep,
    tables::Tables,
    totals::Totals,
};
use crate::{
    disk::{Batch, StorageError},
    protocol::peer::{LogEntry, LogMark},
};

/// Where log and state end, as of the last batch that was taken, written or not.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Ends {
    /// The entry before the first one that is still needed.
    truncated: LogMark,
    /// The last entry of the log, or `truncated`.
    last: LogMark,
    /// The last entry applied.
    applied: u64,
    /// Entries up to here are to be removed, once they are in the state.
    compact_goal: u64,
}

impl Ends {
    /// As they are when nothing waits to be written.
    pub fn of(bounds: &Bounds, last: LogMark) -> Ends {
        let Bounds { truncated, applied, .. } = *bounds;
        Ends { truncated, last, applied, compact_goal: truncated.last_log_index }
    }

    /// Checks that the batch's entries continue the log and that its applied index is within it. Any other
    /// batch would make a hole or change what was applied.
    pub fn check(&self, batch: &Batch) -> Result<(), StorageError> {
        let mut last = self.last;
        if let Some(first) = batch.entries.first() {
            let kept = self.truncated.last_log_index.max(self.applied);
            if first.index <= kept || first.index > self.last.last_log_index + 1 {
                return Err(unfit(format!(
                    "entries from {} on do not fit a log that ends at {} and is applied or cut up to {kept}",
                    first.index, self.last.last_log_index
                )));
            }
            check_dense(&batch.entries)?;
            if first.index == self.last.last_log_index + 1 && first.term < self.last.last_log_term {
                return Err(unfit(format!("entry {} is of an older term than the one before", first.index)));
            }
            last = mark(batch.entries.last().expect("a first entry means a last one"));
        }
        match &batch.applied {
            Some(applied) if !(self.applied..=last.last_log_index).contains(&applied.index) => {
                Err(unfit(format!(
                    "the applied index cannot go from {} to {} in a log that ends at {}",
                    self.applied, applied.index, last.last_log_index
                )))
            }
            _ => Ok(()),
        }
    }

    /// Takes notice of where the log ends now.
    pub fn appended(&mut self, log: &Log) {
        self.last = log.last();
    }

    /// Takes notice of what a batch says of the state. Gives the entry at which the log is to be cut: towards
    /// the goal, and never past what is applied. `None` if there is nothing to cut.
    pub fn take(&mut self, batch: &Batch, log: &Log) -> Result<Option<LogMark>, StorageError> {
        if let Some(applied) = &batch.applied {
            self.applied = applied.index;
        }
        self.compact_goal = self.compact_goal.max(batch.compact_to.unwrap_or(0));
        let Some(last_log_index) = self.cut() else { return Ok(None) };
        self.truncated = LogMark { last_log_term: log.term(last_log_index)?, last_log_index };
        Ok(Some(self.truncated))
    }

    fn cut(&self) -> Option<u64> {
        let end = self.compact_goal.min(self.applied).min(self.last.last_log_index);
        (end > self.truncated.last_log_index).then_some(end)
    }
}

/// How far the state on the disk goes, and how much of it there is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Bounds {
    /// The entry before the first one of the log that is still needed.
    pub truncated: LogMark,
    /// The last entry applied.
    pub applied: u64,
    /// How many transactions were written.
    pub written: u64,
    /// How much state there is.
    pub totals: Totals,
    /// What is removed and not wiped yet.
    pub sweep: Sweep,
    /// Whether the last transaction took something away for good: part of an event or of a file.
    pub wiped: bool,
}

impl Bounds {
    /// Reads them, and checks what they are read from.
    pub fn read(tables: &(impl Tables + ?Sized)) -> Result<Bounds, StorageError> {
        let applied: Option<AppliedRecord> = stored(tables, name::APPLIED)?;
        Ok(Bounds {
            truncated: stored(tables, name::TRUNCATED)?.unwrap_or_default(),
            applied: applied.map_or(0, |(index, _, _)| index),
            written: stored(tables, name::WRITTEN)?.unwrap_or_default(),
            totals: stored(tables, name::TOTALS)?.unwrap_or_default(),
            sweep: Sweep::read(tables)?,
            wiped: false,
        })
    }
}

fn check_dense(entries: &[LogEntry]) -> Result<(), StorageError> {
    for pair in entries.windows(2) {
        if pair[1].index != pair[0].index + 1 || pair[1].term < pair[0].term {
            return Err(unfit(format!(
                "entry {} of term {} cannot follow entry {} of term {}",
                pair[1].index, pair[1].term, pair[0].index, pair[0].term
            )));
        }
    }
    Ok(())
}

/// The error for a batch that must not be written: the caller is wrong about the log, and may be so about
/// anything.
fn unfit(what: String) -> StorageError {
    StorageError::Failed(format!("a batch was refused: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{disk::Applied, protocol::peer::LogEntryKind};

    fn entry(term: u64, index: u64) -> LogEntry {
        LogEntry { term, index, kind: LogEntryKind::Command, data: vec![], opaque: vec![] }
    }

    fn ends() -> Ends {
        let at = |last_log_term, last_log_index| LogMark { last_log_term, last_log_index };
        Ends { truncated: at(1, 10), last: at(3, 20), applied: 15, compact_goal: 10 }
    }

    #[test]
    fn only_batches_that_continue_the_log_fit() {
        let fits = |entries| ends().check(&Batch { entries, ..Batch::default() });
        fits(vec![]).unwrap();
        fits(vec![entry(3, 21), entry(4, 22)]).unwrap();
        fits(vec![entry(4, 16)]).unwrap();
        fits(vec![entry(4, 22)]).unwrap_err();
        fits(vec![entry(4, 15)]).unwrap_err();
        fits(vec![entry(2, 21)]).unwrap_err();
        fits(vec![entry(3, 21), entry(3, 23)]).unwrap_err();
        fits(vec![entry(4, 21), entry(3, 22)]).unwrap_err();
        let applies = |index| {
            let applied = Some(Applied { index, ..Applied::default() });
            ends().check(&Batch { applied, entries: vec![entry(4, 21)], ..Batch::default() })
        };
        applies(21).unwrap();
        applies(22).unwrap_err();
        applies(14).unwrap_err();
    }

    #[test]
    fn cutting_stops_at_what_is_applied() {
        let at = |last_log_index| LogMark { last_log_term: 1, last_log_index };
        let mut ends = Ends { last: at(10_000), applied: 5_000, ..Ends::default() };
        assert_eq!(ends.cut(), None);
        ends.compact_goal = 9_000;
        assert_eq!(ends.cut(), Some(5_000));
        ends.compact_goal = 3_000;
        assert_eq!(ends.cut(), Some(3_000));
        ends.compact_goal = 9_000;
        ends.truncated = at(5_000);
        assert_eq!(ends.cut(), None);
    }
}
