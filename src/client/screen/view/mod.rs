//! The screen as a picture of a [`Model`], and nothing else: the same model in the same size is the same
//! picture.

mod clear;
mod drawn;
mod input;
mod messages;
mod overlay;
mod sides;
mod status;

use ratatui::buffer::Buffer;

pub use self::drawn::{Drawn, Link};

use super::{layout::areas::layout, model::Model};

/// Draws `model` into `buffer`.
pub fn draw(model: &Model, buffer: &mut Buffer) -> Drawn {
    let area = *buffer.area();
    let mut drawn = Drawn::default();
    if area.is_empty() {
        return drawn;
    }
    let layout = layout(model, area);
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
