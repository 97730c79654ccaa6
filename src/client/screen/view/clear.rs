//! Room for what is drawn over something else.

use ratatui::{buffer::Buffer, layout::Rect};

/// Takes everything off a part of the screen.
pub fn clear(area: Rect, buffer: &mut Buffer) {
    for y in area.top()..area.bottom() {
        for x in area.left()..area.right() {
            if let Some(cell) = buffer.cell_mut((x, y)) {
                cell.reset();
            }
        }
    }
}
