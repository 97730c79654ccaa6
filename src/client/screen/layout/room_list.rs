//! The list of rooms, line by line.

use ratatui::layout::{Position, Rect};

use super::{
    super::model::{Model, room::Room},
    areas::layout,
};
use crate::protocol::RoomName;

/// A line of the list.
pub enum Entry<'a> {
    Heading(&'static str),
    /// With its place among the rooms.
    Room(usize, &'a Room),
}

/// The list, scrolled so that the room that is shown is on the screen.
pub fn entries(model: &Model, height: usize) -> Vec<Entry<'_>> {
    let mut entries = vec![];
    let mut in_direct = false;
    for (at, room) in model.order().into_iter().enumerate() {
        if at == 0 && room.other.is_none() {
            entries.push(Entry::Heading("Rooms"));
        }
        if room.other.is_some() && !in_direct {
            in_direct = true;
            entries.push(Entry::Heading("Direct messages"));
        }
        entries.push(Entry::Room(at, room));
    }
    let is_current =
        |entry: &Entry<'_>| matches!(entry, Entry::Room(_, room) if Some(room.name.key()) == model.current);
    let at = entries.iter().position(is_current).unwrap_or(0);
    let top = (at + 2).saturating_sub(height).min(entries.len().saturating_sub(height));
    entries.drain(..top);
    entries.truncate(height);
    entries
}

/// The room whose line is at `position`.
pub fn room_at(model: &Model, position: Position) -> Option<RoomName> {
    let area = layout(model, Rect::new(0, 0, model.size.width, model.size.height)).rooms;
    if !area.contains(position) {
        return None;
    }
    match entries(model, area.height.into()).get(usize::from(position.y - area.y)) {
        Some(Entry::Room(_, room)) => Some(room.name.clone()),
        _ => None,
    }
}
