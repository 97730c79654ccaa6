//! Which rows of a room's messages are on the screen, and scrolling.
//!
//! Only what is near the screen is laid out, so that a frame costs the same in a room of ten messages and of
//! ten thousand. The position is an item and not a number of rows: nothing moves when older messages arrive,
//! or when the width changes.

use super::{
    super::model::{
        Model,
        room::{Item, Room, ScrollPosition},
    },
    rows::{Row, rows},
};

/// Rows of the list of messages.
#[derive(Debug, Default)]
pub struct Window {
    /// From top to bottom, each with what it belongs to.
    pub rows: Vec<(Item, Row)>,
    /// The row of the first item that is at the top.
    pub skipped: usize,
    /// Whether the newest message is to be seen.
    pub is_present: bool,
}

impl Window {
    pub fn first(&self) -> Option<Item> {
        self.rows.first().map(|(item, _)| *item)
    }

    pub fn last(&self) -> Option<Item> {
        self.rows.last().map(|(item, _)| *item)
    }

    /// The newest event on the screen.
    pub fn last_seq(&self) -> Option<u64> {
        let seqs = self.rows.iter().filter_map(|(item, _)| match item {
            Item::Event(seq) => Some(*seq),
            Item::Outgoing(_) => None,
        });
        seqs.max()
    }
}

/// What is shown of `room` in an area of this size.
pub fn window(model: &Model, room: &Room, width: usize, height: usize) -> Window {
    match room.at {
        ScrollPosition::Present => present(model, room, width, height),
        ScrollPosition::FirstUnread => match first_unread(model, room) {
            Some(item) => from(model, room, item, 0, width, height),
            None => present(model, room, width, height),
        },
        ScrollPosition::Row(item, skip) => from(model, room, item, skip, width, height),
    }
}

/// What is at the top if a room opens at its first unread message.
fn first_unread(model: &Model, room: &Room) -> Option<Item> {
    room.first_unread(&model.me).map(Item::Event)
}

/// The rows that end with the newest one.
fn present(model: &Model, room: &Room, width: usize, height: usize) -> Window {
    match room.newest() {
        Some(newest) => Window { is_present: true, ..ending(model, room, newest, width, height) },
        None => Window::default(),
    }
}

/// The rows that end with the last one of `item`.
fn ending(model: &Model, room: &Room, item: Item, width: usize, height: usize) -> Window {
    let mut above: Vec<(Item, Row)> = vec![];
    let mut next = Some(item);
    let mut skipped = 0;
    while let Some(item) = next.filter(|_| above.len() < height) {
        let of_item = rows(model, room, item, width);
        skipped = (above.len() + of_item.len()).saturating_sub(height);
        above.extend(of_item.into_iter().rev().map(|row| (item, row)));
        next = room.before(item);
    }
    above.truncate(height);
    above.reverse();
    Window { rows: above, skipped, is_present: room.after(item).is_none() && room.newest() == Some(item) }
}

/// The rows from the one at `skip` of `item` on; the last ones if these do not fill the screen.
fn from(model: &Model, room: &Room, item: Item, skip: usize, width: usize, height: usize) -> Window {
    let mut below: Vec<(Item, Row)> = vec![];
    let (mut next, mut last, mut hidden, mut skipped) = (Some(item), item, skip, 0);
    while let Some(item) = next.filter(|_| below.len() < height) {
        let of_item = rows(model, room, item, width);
        if hidden > 0 {
            // The item may have fewer rows than it had.
            skipped = hidden.min(of_item.len().saturating_sub(1));
        }
        below.extend(of_item.into_iter().skip(skipped.min(hidden)).map(|row| (item, row)));
        (last, hidden, next) = (item, 0, room.after(item));
    }
    if below.len() < height {
        return ending(model, room, last, width, height);
    }
    let is_present = below.len() == height && room.newest() == Some(last);
    below.truncate(height);
    Window { rows: below, skipped, is_present }
}

/// The position of `room` after scrolling by `delta` rows, down if that is more than 0.
pub fn scroll(model: &Model, room: &Room, width: usize, height: usize, delta: isize) -> ScrollPosition {
    let shown = window(model, room, width, height);
    let Some(mut item) = shown.first() else { return room.at };
    let mut row = shown.skipped;
    let mut left = delta.unsigned_abs();
    if delta < 0 {
        while left > 0 {
            if row >= left {
                row -= left;
                break;
            }
            left -= row;
            match room.before(item) {
                Some(before) => {
                    item = before;
                    row = rows(model, room, item, width).len();
                }
                None => {
                    row = 0;
                    break;
                }
            }
        }
        return ScrollPosition::Row(item, row);
    }
    while left > 0 {
        let count = rows(model, room, item, width).len();
        if row + left < count {
            row += left;
            break;
        }
        left -= count - row;
        match room.after(item) {
            Some(after) => (item, row) = (after, 0),
            None => {
                row = count.saturating_sub(1);
                break;
            }
        }
    }
    settle(model, room, ScrollPosition::Row(item, row), width, height)
}

/// The position of `room` that shows `item`; unchanged if it is on the screen already.
pub fn reveal(model: &Model, room: &Room, item: Item, width: usize, height: usize) -> ScrollPosition {
    let shown = window(model, room, width, height);
    let (Some(first), Some(last)) = (shown.first(), shown.last()) else { return room.at };
    let is_cut = |edge: Item, count: usize| {
        edge == item && shown.rows.iter().filter(|(of, _)| *of == item).count() < count
    };
    let count = rows(model, room, item, width).len().min(height);
    if item < first || is_cut(first, count) {
        return ScrollPosition::Row(item, 0);
    }
    if item > last || is_cut(last, count) {
        let ending = ending(model, room, item, width, height);
        let top = ending.first().unwrap_or(item);
        return settle(model, room, ScrollPosition::Row(top, ending.skipped), width, height);
    }
    room.at
}

/// The position that has `item` in the middle of the screen.
pub fn centre(model: &Model, room: &Room, item: Item, width: usize, height: usize) -> ScrollPosition {
    let above = ending(model, room, item, width, height / 2 + 1);
    let top = above.first().unwrap_or(item);
    settle(model, room, ScrollPosition::Row(top, above.skipped), width, height)
}

/// At the newest message the position becomes `Present`, so new messages are shown.
fn settle(model: &Model, room: &Room, at: ScrollPosition, width: usize, height: usize) -> ScrollPosition {
    let ScrollPosition::Row(item, row) = at else { return at };
    let shown = from(model, room, item, row, width, height);
    if shown.is_present {
        return ScrollPosition::Present;
    }
    shown.first().map_or(at, |first| ScrollPosition::Row(first, shown.skipped))
}
