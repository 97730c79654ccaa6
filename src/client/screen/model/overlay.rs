//! Overlays: the help, a page of text, the switcher, a search, a question, a password.

use crate::protocol::answer::Hit;

use super::{field::Field, secret_box::SecretBox};

/// The outcome of a search.
#[derive(Debug)]
pub enum Results {
    /// Nothing was asked yet.
    None,
    Waiting,
    /// The hits, newest first, and the time span of the search, if it was limited.
    Found(Vec<Hit>, Option<String>),
    Failed(String),
}

#[derive(Debug)]
pub struct Search {
    pub field: Field,
    pub number: u64,
    pub results: Results,
    pub at: usize,
}

/// The purpose of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// Delete the message at this place.
    Delete(u64),
    /// Send what is written, though it has many lines.
    SendLines(usize),
}

/// An overlay.
#[derive(Debug)]
pub enum Overlay {
    /// The keys and commands, from this line on.
    Help {
        /// The first line that is shown.
        top: usize,
    },
    /// The answer to a command.
    Text {
        title: String,
        lines: Vec<String>,
        /// The first line that is shown.
        top: usize,
    },
    /// Rooms and people by a few letters.
    Switcher {
        field: Field,
        at: usize,
    },
    Search(Search),
    /// A reaction to the message at this place.
    React {
        seq: u64,
        field: Field,
    },
    Question(Question),
    Secret(SecretBox),
}

impl Overlay {
    /// The help from its beginning.
    pub fn help() -> Overlay {
        Overlay::Help { top: 0 }
    }

    /// A page of text.
    pub fn text(title: String, lines: Vec<String>) -> Overlay {
        Overlay::Text { title, lines, top: 0 }
    }

    /// Whether it is the search of this number.
    pub fn is_search(&self, number: u64) -> bool {
        matches!(self, Overlay::Search(search) if search.number == number)
    }

    /// The line that is typed in it.
    pub fn field_mut(&mut self) -> Option<&mut Field> {
        match self {
            Overlay::Switcher { field, .. } | Overlay::React { field, .. } => Some(field),
            Overlay::Search(search) => Some(&mut search.field),
            Overlay::Secret(secret) => Some(&mut secret.field),
            Overlay::Help { .. } | Overlay::Text { .. } | Overlay::Question(_) => None,
        }
    }
}

/// Reactions that are offered, by their digits.
pub const REACTIONS: [&str; 8] = ["👍", "❤", "😂", "🎉", "👀", "✅", "🙏", "👎"];
