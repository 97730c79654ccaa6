//! The result of a query: checked, shortened to what fits, and made ready to be sent.

use std::{borrow::Cow, sync::Arc};

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    disk::EventRow,
    protocol::{
        event::{MESSAGE, in_room, seconds},
        name::{RoomName, UserName},
        said::{Pushed, Said},
    },
};

/// Which end of a page is kept if it is too long.
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

/// The events as an answer about `room` holds them.
pub(super) fn jsons(rows: &[EventRow], room: &RoomName) -> Vec<Box<RawValue>> {
    rows.iter().map(|row| in_room(&row.json, room)).collect()
}

/// A stored event, to be pushed under another name of its room or its own; `None` if the stored event is
/// another one. Only the fields of the envelope are read: the rest goes out as it is stored.
pub(super) fn said(row: &EventRow, room: Option<&RoomName>) -> Option<Arc<Said>> {
    #[derive(Deserialize)]
    struct Head<'a> {
        seq: u64,
        #[serde(borrow)]
        kind: Cow<'a, str>,
        author: UserName,
        lamport_timestamp: u64,
        #[serde(with = "seconds")]
        created_at: u64,
    }
    let Head { seq, kind, author, lamport_timestamp, created_at } =
        serde_json::from_str(row.json.get()).ok()?;
    let json = room.map_or_else(|| Arc::clone(&row.json), |room| in_room(&row.json, room).into());
    let pushed = Pushed { is_message: kind == MESSAGE, author, lamport_timestamp, created_at, json };
    (seq == row.seq).then(|| Said::stored(pushed))
}
