//! Where the parts of the screen are. Columns fold away one by one if it is narrow, rows if it is low.

use ratatui::layout::Rect;

use super::{
    super::model::Model,
    text::{one_line, width},
};

/// From this width on the members have a column.
const WITH_MEMBERS: u16 = 88;
/// From this width on the rooms have one.
const WITH_ROOMS: u16 = 58;
/// Columns of the rooms.
const ROOMS: u16 = 20;
/// Columns of the members.
const MEMBERS: u16 = 18;
/// Rows of the input at most.
const INPUT_ROWS: u16 = 6;

/// Columns before the text of the input.
pub const INPUT_MARGIN: u16 = 2;

/// The parts, each of which may be empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Name and topic of the room.
    pub header: Rect,
    /// The rooms, and the line at their right.
    pub rooms: Rect,
    pub messages: Rect,
    /// The members, and the line at their left.
    pub members: Rect,
    /// The line above the input.
    pub rule: Rect,
    pub input: Rect,
    pub status: Rect,
}

/// The parts of `area`.
pub fn layout(model: &Model, area: Rect) -> Layout {
    let Rect { x, y, width, height } = area;
    let part = |x, y, width, height| Rect { x, y, width, height };
    // The input is the last part to go if the screen is low.
    let status_rows = u16::from(height >= 2);
    let header_rows = u16::from(height >= 5);
    let rule_rows = u16::from(height >= 6);
    let spare = height.saturating_sub(status_rows + header_rows + rule_rows);
    let rooms = if width >= WITH_ROOMS && model.preferences.show_rooms { ROOMS } else { 0 };
    let members = if width >= WITH_MEMBERS && model.preferences.show_members { MEMBERS } else { 0 };
    let middle = width - rooms - members;
    let wanted = input_rows(model, middle);
    let input_rows = wanted.clamp(1, INPUT_ROWS).min(spare.div_ceil(2)).max(1).min(spare.max(1)).min(height);
    let message_rows = spare.saturating_sub(input_rows);
    let body_rows = height - status_rows;
    let (left, below) = (x + rooms, y + header_rows + message_rows);
    Layout {
        header: part(left, y, middle, header_rows),
        rooms: part(x, y, rooms, body_rows),
        messages: part(left, y + header_rows, middle, message_rows),
        members: part(left + middle, y, members, body_rows),
        rule: part(left, below, middle, rule_rows),
        input: part(left, below + rule_rows, middle, input_rows),
        status: part(x, y + height - status_rows, width, status_rows),
    }
}

/// Where the messages are.
pub fn messages_area(model: &Model) -> Rect {
    let area = Rect::new(0, 0, model.size.width, model.size.height);
    if area.is_empty() {
        return Rect::ZERO;
    }
    layout(model, area).messages
}

/// Rows that the text of the input wants in `columns`.
fn input_rows(model: &Model, columns: u16) -> u16 {
    let Some(room) = model.current_room() else { return 1 };
    let columns = usize::from(columns.saturating_sub(INPUT_MARGIN + 1)).max(1);
    let lines = room.composer.area().lines();
    let count: usize = lines.iter().map(|line| width(&one_line(line)) / columns + 1).sum();
    u16::try_from(count).unwrap_or(u16::MAX)
}
