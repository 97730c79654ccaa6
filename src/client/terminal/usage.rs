//! How a command is used.

use std::fmt;

/// A command and its words, for people: `/name words`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Without the slash.
    pub name: &'static str,
    pub words: &'static str,
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}", self.name)?;
        if self.words.is_empty() { Ok(()) } else { write!(f, " {}", self.words) }
    }
}
