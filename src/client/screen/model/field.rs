//! A line that is typed in a box.

use ratatui::crossterm::event::KeyEvent;

use super::composer::Composer;

#[derive(Debug, Default)]
pub struct Field(Composer);

impl Field {
    /// A line with a text in it.
    pub fn new(text: &str) -> Field {
        let mut field = Field::default();
        field.insert(text);
        field
    }

    pub fn text(&self) -> String {
        self.0.text()
    }

    /// Types a key; whether the text has changed.
    pub fn type_key(&mut self, event: KeyEvent) -> bool {
        self.0.type_key(event)
    }

    /// Inserts what was pasted, as one line.
    pub fn insert(&mut self, text: &str) {
        self.0.insert(&text.replace(['\r', '\n'], " "));
    }

    /// The text before the cursor.
    pub fn before_cursor(&self) -> String {
        self.0.before_cursor()
    }
}
