//! What a user writes in one room: the text, its purpose, the texts sent before, and what Tab offers.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui_textarea::{CursorMove, Input, Key, TextArea, WrapMode};

use crate::{client::terminal::typed::Typed, protocol::text::is_harmful};

/// Texts that were sent and are remembered.
const HISTORY_MAX: usize = 200;

/// The purpose of the text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Aim {
    #[default]
    Say,
    /// A message that answers the one at this place.
    Reply(u64),
    /// The text of the message at this place.
    Edit(u64),
}

/// What Tab goes through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completion {
    /// The begin of the word in its line, in letters.
    start: usize,
    pub candidates: Vec<String>,
    /// The one that is put in; `None` while they are only offered.
    pub at: Option<usize>,
}

/// What is being written in one room.
#[derive(Debug)]
pub struct Composer {
    area: TextArea<'static>,
    /// Its purpose.
    pub aim: Aim,
    /// The text from before an edit, which comes back after it.
    put_aside: Option<String>,
    history: Vec<String>,
    /// Which text of the history is shown, and what was written before.
    recalled: Option<(usize, String)>,
    pub completion: Option<Completion>,
}

impl Default for Composer {
    fn default() -> Self {
        Composer {
            area: area(""),
            aim: Aim::Say,
            put_aside: None,
            history: vec![],
            recalled: None,
            completion: None,
        }
    }
}

fn area(text: &str) -> TextArea<'static> {
    let mut area = TextArea::new(text.split('\n').map(str::to_owned).collect());
    area.set_cursor_line_style(ratatui::style::Style::default());
    // The terminal's own cursor is there: input methods and screen readers follow it.
    area.set_cursor_style(ratatui::style::Style::default());
    area.set_wrap_mode(WrapMode::WordOrGlyph);
    area.set_max_histories(100);
    area.move_cursor(CursorMove::Bottom);
    area.move_cursor(CursorMove::End);
    area
}

impl Composer {
    pub fn area(&self) -> &TextArea<'static> {
        &self.area
    }

    pub fn text(&self) -> String {
        self.area.lines().join("\n")
    }

    /// Whether nothing is written.
    pub fn is_empty(&self) -> bool {
        self.area.lines().iter().all(String::is_empty)
    }

    /// Whether what is written is a command.
    pub fn is_command(&self) -> bool {
        let first = self.area.lines().first().map_or("", String::as_str);
        first.starts_with('/') && !first.starts_with("//") && self.aim == Aim::Say
    }

    /// Replaces what is written.
    pub fn set(&mut self, text: &str) {
        self.area = area(&clean(text));
        self.completion = None;
        self.recalled = None;
    }

    /// Takes the text, to be sent: the input is empty, and what was put aside comes back.
    pub fn take(&mut self) -> String {
        let text = self.text();
        let aside = self.put_aside.take().unwrap_or_default();
        self.set(&aside);
        self.aim = Aim::Say;
        text
    }

    /// What was begun and can be gone on with later: not an edit, and nothing that may hold a password.
    pub fn draft(&self) -> Option<String> {
        let text = match self.aim {
            Aim::Edit(_) => self.put_aside.clone().unwrap_or_default(),
            Aim::Say | Aim::Reply(_) => self.text(),
        };
        Some(text).filter(|text| !text.trim().is_empty() && !Typed::is_secret(text))
    }

    /// Remembers a text that was sent.
    pub fn remember(&mut self, text: String) {
        if self.history.last() != Some(&text) {
            self.history.push(text);
        }
        if self.history.len() > HISTORY_MAX {
            self.history.remove(0);
        }
    }

    /// Begins to edit a message; what was written is put aside.
    pub fn edit(&mut self, seq: u64, body: &str) {
        if !matches!(self.aim, Aim::Edit(_)) {
            self.put_aside = Some(self.text());
        }
        self.set(body);
        self.aim = Aim::Edit(seq);
    }

    /// Gives up a reply or an edit; `false` if there is none.
    pub fn give_up(&mut self) -> bool {
        match std::mem::take(&mut self.aim) {
            Aim::Say => return false,
            Aim::Reply(_) => {}
            Aim::Edit(_) => drop(self.take()),
        }
        true
    }

    /// Types a key that means nothing else; whether the text has changed.
    pub fn type_key(&mut self, event: KeyEvent) -> bool {
        let Some(input) = input(event) else { return false };
        self.completion = None;
        self.area.input(input)
    }

    /// Inserts a text that was pasted.
    pub fn insert(&mut self, text: &str) {
        self.completion = None;
        self.area.insert_str(clean(text));
    }

    pub fn new_line(&mut self) {
        self.completion = None;
        self.area.insert_newline();
    }

    /// Deletes back to the start of the line.
    pub fn delete_to_head(&mut self) {
        self.completion = None;
        self.area.delete_line_by_head();
    }

    /// The text sent before the one that is shown, or the one after it.
    pub fn recall(&mut self, back: bool) {
        let (at, written) = match self.recalled.take() {
            Some(recalled) => recalled,
            None => (self.history.len(), self.text()),
        };
        let at = if back { at.saturating_sub(1) } else { (at + 1).min(self.history.len()) };
        let text = self.history.get(at).unwrap_or(&written).clone();
        self.set(&text);
        self.recalled = (at < self.history.len()).then_some((at, written));
    }

    /// The line up to the cursor.
    pub fn before_cursor(&self) -> String {
        let cursor = self.area.cursor();
        let line = self.area.lines().get(cursor.0).map_or("", String::as_str);
        line.chars().take(cursor.1).collect()
    }

    /// Whether the cursor is in the first line.
    pub fn in_first_line(&self) -> bool {
        self.area.cursor().0 == 0
    }

    /// Whether the cursor is behind everything.
    pub fn at_end(&self) -> bool {
        let lines = self.area.lines();
        let last = lines.last().map_or(0, |line| line.chars().count());
        let cursor = self.area.cursor();
        (cursor.0 + 1, cursor.1) == (lines.len(), last)
    }

    /// Offers candidates for the word that begins at the byte `start` of the line.
    pub fn offer(&mut self, start: usize, candidates: Vec<String>) {
        let start = self.before_cursor().get(..start).map_or(0, |head| head.chars().count());
        self.completion = (!candidates.is_empty()).then_some(Completion { start, candidates, at: None });
    }

    /// Replaces the word by the first or the next candidate; `false` if nothing is offered.
    pub fn complete(&mut self) -> bool {
        let Some(mut completion) = self.completion.take() else { return false };
        let at = completion.at.map_or(0, |at| (at + 1) % completion.candidates.len());
        let typed = self.area.cursor().1.saturating_sub(completion.start);
        for _ in 0..typed {
            self.area.delete_char();
        }
        self.area.insert_str(&completion.candidates[at]);
        completion.at = Some(at);
        if completion.candidates.len() > 1 {
            self.completion = Some(completion);
        }
        true
    }
}

/// A text from outside without letters that have no shape; line ends and tabs stay.
fn clean(text: &str) -> String {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    text.chars().filter(|&letter| matches!(letter, '\n' | '\t') || !is_harmful(letter)).collect()
}

/// The key in the words of the text area.
fn input(event: KeyEvent) -> Option<Input> {
    let key = match event.code {
        KeyCode::Char(letter) if is_harmful(letter) => return None,
        KeyCode::Char(letter) => Key::Char(letter),
        KeyCode::Backspace => Key::Backspace,
        KeyCode::Left => Key::Left,
        KeyCode::Right => Key::Right,
        KeyCode::Up => Key::Up,
        KeyCode::Down => Key::Down,
        KeyCode::Delete => Key::Delete,
        KeyCode::Home => Key::Home,
        KeyCode::End => Key::End,
        _ => return None,
    };
    Some(Input {
        key,
        ctrl: event.modifiers.contains(KeyModifiers::CONTROL),
        alt: event.modifiers.contains(KeyModifiers::ALT),
        shift: event.modifiers.contains(KeyModifiers::SHIFT),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(text: &str) -> Composer {
        let mut composer = Composer::default();
        composer.insert(text);
        composer
    }

    #[test]
    fn an_edit_puts_the_draft_aside_and_brings_it_back() {
        let mut composer = typed("half a thought");
        composer.edit(7, "old text");
        assert_eq!(composer.text(), "old text");
        assert!(composer.give_up());
        assert_eq!((composer.text(), composer.aim.clone()), ("half a thought".into(), Aim::Say));
        composer.edit(7, "old");
        composer.edit(5, "older");
        assert_eq!(composer.take(), "older");
        assert_eq!(composer.text(), "half a thought");
        assert!(!composer.give_up());
    }

    #[test]
    fn what_was_sent_comes_back_and_goes_again() {
        let mut composer = Composer::default();
        composer.remember("one".into());
        composer.remember("two".into());
        composer.insert("three");
        let texts: Vec<String> = [true, true, true, false, false]
            .into_iter()
            .map(|back| {
                composer.recall(back);
                composer.text()
            })
            .collect();
        assert_eq!(texts, ["two", "one", "one", "two", "three"]);
    }

    #[test]
    fn tab_goes_through_what_is_offered() {
        let mut composer = typed("é hi @b");
        composer.offer("é hi ".len(), vec!["@bob ".into(), "@bea ".into()]);
        let texts: Vec<String> = (0..3)
            .map(|_| {
                composer.complete();
                composer.text()
            })
            .collect();
        assert_eq!(texts, ["é hi @bob ", "é hi @bea ", "é hi @bob "]);
    }

    #[test]
    fn what_is_pasted_holds_nothing_that_acts() {
        assert_eq!(typed("a\u{1b}[31m\r\nb\u{202e}\tc").text(), "a[31m\nb\tc");
    }
}
