//! What a query found: checked, shortened to what fits, and turned into lines.

use std::sync::Arc;

use serde_json::value::RawValue;

use crate::{
    protocol::{Event, answer::event_line},
    replica::storage::EventRow,
};

/// Which end of a page stays when it is too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    Oldest,
    Newest,
}

/// Whether no event is missing between the first one and the last.
pub(super) fn is_dense(rows: &[EventRow]) -> bool {
    rows.windows(2).all(|pair| pair[1].seq == pair[0].seq + 1)
}

/// The events of `rows`, as many of them as fit into `budget` bytes, but at least `least`.
pub(super) fn fitting(rows: &[EventRow], keep: Keep, budget: usize, least: usize) -> &[EventRow] {
    let mut bytes = 0;
    let mut fits = |row: &&EventRow| {
        // The comma between events counts, too.
        bytes += row.json.get().len() + 1;
        bytes <= budget
    };
    match keep {
        Keep::Oldest => {
            let count = rows.iter().take_while(&mut fits).count();
            &rows[..count.max(least).min(rows.len())]
        }
        Keep::Newest => {
            let count = rows.iter().rev().take_while(&mut fits).count();
            &rows[rows.len() - count.max(least).min(rows.len())..]
        }
    }
}

/// The events as an answer holds them.
pub(super) fn jsons(rows: &[EventRow]) -> Vec<Box<RawValue>> {
    rows.iter().map(|row| row.json.as_ref().to_owned()).collect()
}

/// The line that pushes a stored event; `None` where what is stored is not that event.
pub(super) fn line(row: &EventRow) -> Option<Arc<[u8]>> {
    let event: Event = serde_json::from_str(row.json.get()).ok()?;
    (event.seq == row.seq).then(|| event_line(&event, &row.json).into())
}
