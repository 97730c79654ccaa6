//! What a picture has beside its cells.

use ratatui::layout::Position;

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
