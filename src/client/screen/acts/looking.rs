//! Scrolling, selecting and jumping: with keys and with the mouse.

use ratatui::{
    crossterm::event::{MouseButton, MouseEvent, MouseEventKind},
    layout::Position,
};

use super::super::{
    layout::{areas::messages_area, room_list::room_at, window},
    model::{Model, PAGE, room::Item},
};
use crate::protocol::{RoomName, request::HistoryRange};

/// Rows that the wheel of the mouse scrolls.
const WHEEL_ROWS: isize = 3;

impl Model {
    /// Asks for the newest events, which may be unknown after a long way into the past.
    pub(super) fn ask_for_the_present(&mut self) {
        let Some(room) = self.current_room_mut() else { return };
        let is_known = room.spans.newest().is_some_and(|(_, to)| to >= room.last_seq);
        if !is_known && !room.asked.contains(&HistoryRange::Last) {
            room.asked.push(HistoryRange::Last);
            let name = room.name.clone();
            self.ask_history(&name, HistoryRange::Last);
        }
    }

    pub(super) fn area(&self) -> (usize, usize) {
        let area = messages_area(self);
        (area.width.into(), area.height.into())
    }

    pub(super) fn scroll_pages(&mut self, pages: isize) {
        let (_, height) = self.area();
        let rows = isize::try_from(height).unwrap_or(isize::MAX);
        self.scroll(pages * (rows - 2).max(1));
    }

    pub(super) fn scroll(&mut self, rows: isize) {
        let (width, height) = self.area();
        let Some(room) = self.current_room() else { return };
        let at = window::scroll(self, room, width, height, rows);
        if let Some(room) = self.current_room_mut() {
            room.at = at;
        }
        if rows > 0 {
            self.mark_seen();
        }
    }

    /// Shows `item` in the middle, selected.
    pub(super) fn centre(&mut self, item: Item) {
        let (width, height) = self.area();
        let Some(room) = self.current_room() else { return };
        let at = window::centre(self, room, item, width, height);
        if let Some(room) = self.current_room_mut() {
            (room.at, room.selected) = (at, Some(item));
        }
    }

    /// Selects the message above or below the one that is selected, or the last one that is shown.
    pub(super) fn select(&mut self, above: bool) {
        let (width, height) = self.area();
        let Some(room) = self.current_room() else { return };
        let start = match room.selected {
            Some(selected) if above => room.before(selected),
            Some(selected) => room.after(selected),
            None => window::window(self, room, width, height).last(),
        };
        let next =
            |item: Item| if above || room.selected.is_none() { room.before(item) } else { room.after(item) };
        let found = std::iter::successors(start, |&item| next(item)).find(|&item| room.is_message(item));
        let Some(item) = found else {
            // Below the last one is the input.
            if !above && let Some(room) = self.current_room_mut() {
                room.selected = None;
            }
            return;
        };
        let at = window::reveal(self, room, item, width, height);
        if let Some(room) = self.current_room_mut() {
            (room.selected, room.at) = (Some(item), at);
        }
    }

    /// Shows the message at `seq` of a room.
    pub(super) fn jump_to(&mut self, name: &RoomName, seq: u64) {
        self.open(name);
        let Some(room) = self.current_room_mut() else { return };
        if room.events.contains_key(&seq) {
            return self.centre(Item::Event(seq));
        }
        let range = HistoryRange::After(seq.saturating_sub(PAGE as u64 / 2).saturating_sub(1));
        room.asked.push(range);
        self.jump = Some((name.key(), seq));
        self.ask_history(name, range);
    }

    pub(super) fn mouse(&mut self, event: MouseEvent) {
        if self.overlay.is_some() {
            return;
        }
        match event.kind {
            MouseEventKind::ScrollUp => self.scroll(-WHEEL_ROWS),
            MouseEventKind::ScrollDown => self.scroll(WHEEL_ROWS),
            MouseEventKind::Down(MouseButton::Left) => self.click(Position::new(event.column, event.row)),
            _ => {}
        }
    }

    pub(super) fn click(&mut self, position: Position) {
        if let Some(name) = room_at(self, position) {
            return self.open(&name);
        }
        let area = messages_area(self);
        if !area.contains(position) {
            return;
        }
        let Some(room) = self.current_room() else { return };
        let shown = window::window(self, room, area.width.into(), area.height.into());
        let blank = usize::from(area.height).saturating_sub(shown.rows.len());
        let row = usize::from(position.y - area.y).checked_sub(blank);
        let item = row.and_then(|row| shown.rows.get(row)).map(|(item, _)| *item);
        let item = item.filter(|item| room.is_message(*item));
        self.mark_seen();
        if let Some(room) = self.current_room_mut() {
            room.selected = if room.selected == item { None } else { item };
        }
    }
}
