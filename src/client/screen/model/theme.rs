//! Colours by what they mean. Sixteen at most, all from the terminal's own palette, so that they fit what the
//! user has chosen; none at all if `NO_COLOR` is set.

use ratatui::style::{Color, Modifier, Style};

use crate::protocol::UserName;

/// The colours in which names are written.
const NAMES: [Color; 6] =
    [Color::Cyan, Color::Green, Color::Magenta, Color::LightBlue, Color::LightGreen, Color::LightMagenta];

/// How things are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Theme {
    colours: bool,
}

impl Theme {
    /// With colours, or with bold, dim and reversed letters alone.
    pub fn new(colours: bool) -> Theme {
        Theme { colours }
    }

    fn colour(self, colour: Color) -> Style {
        if self.colours { Style::new().fg(colour) } else { Style::new() }
    }

    pub fn text(self) -> Style {
        Style::new()
    }

    /// Details.
    pub fn dim(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    /// Headings, and the user's place.
    pub fn strong(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// Things that can be acted on.
    pub fn accent(self) -> Style {
        self.colour(Color::Cyan)
    }

    /// Mentions of the user.
    pub fn mention(self) -> Style {
        self.colour(Color::Yellow).add_modifier(Modifier::BOLD)
    }

    /// All is well.
    pub fn good(self) -> Style {
        self.colour(Color::Green)
    }

    /// A temporary problem.
    pub fn warning(self) -> Style {
        self.colour(Color::Yellow)
    }

    /// A problem.
    pub fn bad(self) -> Style {
        self.colour(Color::Red)
    }

    /// The line of the cursor in a list.
    pub fn chosen(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    pub fn link(self) -> Style {
        Style::new().add_modifier(Modifier::UNDERLINED)
    }

    /// The name of a user, always in the same colour.
    pub fn name(self, user: &UserName) -> Style {
        let hash = user.key().as_str().bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let at = usize::try_from((hash >> 32) % NAMES.len() as u64).unwrap_or(0);
        self.colour(NAMES[at]).add_modifier(Modifier::BOLD)
    }
}
