//! The screen as a picture of a [`Model`], and nothing else: the same model in the same size is the same
//! picture.

pub mod clock;
mod input;
mod layout;
mod messages;
mod overlay;
pub mod rows;
mod sides;
mod status;
pub mod text;
pub mod theme;
pub mod window;

use ratatui::{
    buffer::Buffer,
    layout::{Position, Rect},
};

use super::model::Model;
pub use layout::messages_area;
pub use overlay::overlay_lines;
pub use sides::room_at;

/// A web address on the screen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    pub at: Position,
    pub columns: u16,
    pub address: String,
}

/// The parts of a picture beside its cells.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Drawn {
    /// The place of the cursor; `None`: nothing can be typed.
    pub cursor: Option<Position>,
    pub links: Vec<Link>,
}

/// Draws `model` into `buffer`.
pub fn draw(model: &Model, buffer: &mut Buffer) -> Drawn {
    let area = *buffer.area();
    let mut drawn = Drawn::default();
    if area.is_empty() {
        return drawn;
    }
    let layout = layout::layout(model, area);
    messages::header(model, layout.header, buffer);
    messages::draw(model, layout.messages, buffer, &mut drawn.links);
    sides::rooms(model, layout.rooms, buffer);
    sides::members(model, layout.members, buffer);
    drawn.cursor = input::draw(model, layout.input, buffer);
    // Behind the input, which has scrolled by now.
    input::rule(model, layout.rule, buffer);
    input::offers(model, layout.input, area, buffer);
    status::draw(model, layout.status, buffer);
    if let Some(overlay) = &model.overlay {
        drawn.links.clear();
        drawn.cursor = overlay::draw(model, overlay, area, buffer);
    }
    drawn
}

/// A part of the screen with nothing on it.
fn clear(area: Rect, buffer: &mut Buffer) {
    for y in area.top()..area.bottom() {
        for x in area.left()..area.right() {
            if let Some(cell) = buffer.cell_mut((x, y)) {
                cell.reset();
            }
        }
    }
}
