//! The keys: one table, from which the program acts, the help is drawn and `docs/CLIENT.md` is made.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use Place::{Anywhere, EmptyInput, Input, Message, Overlay};

/// The part of the screen in which a key has a meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Everywhere, unless an overlay is open.
    Anywhere,
    Input,
    /// In the input while it is empty.
    EmptyInput,
    /// While a message is selected.
    Message,
    /// In an overlay: the help, the switcher, a search, a question.
    Overlay,
}

impl Place {
    /// The heading in the help.
    pub fn heading(self) -> &'static str {
        match self {
            Anywhere => "Anywhere",
            Input => "While you write",
            EmptyInput => "In an empty input",
            Message => "With a message selected",
            Overlay => "In a list or a question",
        }
    }
}

/// The places in the order of the help.
pub const PLACES: [Place; 5] = [Anywhere, Input, EmptyInput, Message, Overlay];

/// What a key does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    NextUnread,
    NthRoom,
    Switch,
    RoomAbove,
    RoomBelow,
    Older,
    Newer,
    Present,
    FirstUnread,
    Search,
    Select,
    SelectNewer,
    Peek,
    Silence,
    ToggleRooms,
    ToggleMembers,
    Editor,
    Suspend,
    Repaint,
    Interrupt,
    Quit,
    Help,
    Escape,
    Send,
    NewLine,
    Complete,
    HistoryBack,
    HistoryForward,
    DeleteToHead,
    EditLast,
    Reply,
    Edit,
    React,
    Delete,
    Pin,
    Fetch,
    Follow,
    SendAgain,
    Up,
    Down,
    Accept,
    Yes,
    No,
}

/// One key, with its modifiers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    code: KeyCode,
    modifiers: KeyModifiers,
}

const fn plain(code: KeyCode) -> Key {
    Key { code, modifiers: KeyModifiers::NONE }
}

const fn letter(letter: char) -> Key {
    plain(KeyCode::Char(letter))
}

const fn ctrl(letter: char) -> Key {
    Key { code: KeyCode::Char(letter), modifiers: KeyModifiers::CONTROL }
}

const fn alt(letter: char) -> Key {
    Key { code: KeyCode::Char(letter), modifiers: KeyModifiers::ALT }
}

const fn with(modifiers: KeyModifiers, code: KeyCode) -> Key {
    Key { code, modifiers }
}

impl Key {
    /// Whether `event` is this key. Some terminals report Shift with a letter, others do not.
    fn is(self, event: KeyEvent) -> bool {
        let held = event.modifiers & (KeyModifiers::CONTROL | KeyModifiers::ALT);
        match (self.code, event.code) {
            (KeyCode::Char(mine), KeyCode::Char(typed)) if self.modifiers.is_empty() => {
                mine == typed && held.is_empty()
            }
            (KeyCode::Char(mine), KeyCode::Char(typed)) => {
                mine == typed.to_ascii_lowercase() && held == self.modifiers
            }
            (mine, typed) => {
                let shift = event.modifiers & KeyModifiers::SHIFT;
                mine == typed && held | shift == self.modifiers
            }
        }
    }

    fn label(self) -> String {
        let name = match self.code {
            KeyCode::Char(letter) if self.modifiers.is_empty() => letter.to_string(),
            KeyCode::Char(letter) => letter.to_ascii_uppercase().to_string(),
            KeyCode::F(number) => format!("F{number}"),
            KeyCode::PageUp => "PgUp".into(),
            KeyCode::PageDown => "PgDn".into(),
            KeyCode::Up => "↑".into(),
            KeyCode::Down => "↓".into(),
            code => code.to_string(),
        };
        let mut label = String::new();
        for (modifier, text) in
            [(KeyModifiers::CONTROL, "Ctrl-"), (KeyModifiers::ALT, "Alt-"), (KeyModifiers::SHIFT, "Shift-")]
        {
            if self.modifiers.contains(modifier) {
                label.push_str(text);
            }
        }
        label + &name
    }
}

/// A line of the table.
#[derive(Debug)]
pub struct Binding {
    /// The part of the screen in which it holds.
    pub place: Place,
    /// The keys, the usual one first.
    pub keys: &'static [Key],
    pub action: Action,
    /// What it does, for the help.
    pub does: &'static str,
}

impl Binding {
    /// The keys, for people: `Ctrl-S Ctrl-↑`, `Alt-1…9`.
    pub fn label(&self) -> String {
        if self.action == Action::NthRoom {
            return "Alt-1…9".into();
        }
        self.keys.iter().map(|key| key.label()).collect::<Vec<_>>().join(" ")
    }
}

const fn binding(place: Place, keys: &'static [Key], action: Action, does: &'static str) -> Binding {
    Binding { place, keys, action, does }
}

const DIGITS: &[Key] =
    &[alt('1'), alt('2'), alt('3'), alt('4'), alt('5'), alt('6'), alt('7'), alt('8'), alt('9')];

/// All of them, as the help lists them.
pub const BINDINGS: &[Binding] = &[
    binding(
        Anywhere,
        &[alt('a')],
        Action::NextUnread,
        "go on to the next room: mentions first, then direct messages, then the rest",
    ),
    binding(Anywhere, DIGITS, Action::NthRoom, "go to the room with that number"),
    binding(Anywhere, &[ctrl('k')], Action::Switch, "find a room or a person by a few letters"),
    binding(Anywhere, &[with(KeyModifiers::ALT, KeyCode::Up)], Action::RoomAbove, "the room above"),
    binding(Anywhere, &[with(KeyModifiers::ALT, KeyCode::Down)], Action::RoomBelow, "the room below"),
    binding(Anywhere, &[plain(KeyCode::PageUp)], Action::Older, "older messages, without an end"),
    binding(Anywhere, &[plain(KeyCode::PageDown)], Action::Newer, "newer messages"),
    binding(Anywhere, &[with(KeyModifiers::CONTROL, KeyCode::End)], Action::Present, "back to the present"),
    binding(Anywhere, &[ctrl('f')], Action::Search, "search; Enter on a hit shows it in its place"),
    binding(
        Anywhere,
        &[ctrl('s'), with(KeyModifiers::CONTROL, KeyCode::Up)],
        Action::Select,
        "select a message, then the one above",
    ),
    binding(
        Anywhere,
        &[with(KeyModifiers::CONTROL, KeyCode::Down)],
        Action::SelectNewer,
        "select the message below",
    ),
    binding(Anywhere, &[alt('p')], Action::Peek, "peek: look without marking anything as read"),
    binding(Anywhere, &[alt('m')], Action::Silence, "mute the room: no notifications, and out of Alt-A"),
    binding(Anywhere, &[plain(KeyCode::F(2))], Action::ToggleRooms, "show or hide the rooms"),
    binding(Anywhere, &[plain(KeyCode::F(3))], Action::ToggleMembers, "show or hide the members"),
    binding(Anywhere, &[plain(KeyCode::F(1))], Action::Help, "this help"),
    binding(Anywhere, &[ctrl('z')], Action::Suspend, "suspend; fg comes back"),
    binding(Anywhere, &[ctrl('l')], Action::Repaint, "paint the screen anew"),
    binding(Anywhere, &[ctrl('c')], Action::Interrupt, "empty the input; twice: end"),
    binding(Anywhere, &[ctrl('q')], Action::Quit, "end; what is not sent yet is kept"),
    binding(
        Anywhere,
        &[plain(KeyCode::Esc)],
        Action::Escape,
        "give up what you are at; with nothing to give up, mark the room as read",
    ),
    binding(Input, &[plain(KeyCode::Enter)], Action::Send, "send"),
    binding(Input, &[with(KeyModifiers::ALT, KeyCode::Enter), ctrl('j')], Action::NewLine, "a new line"),
    binding(
        Input,
        &[plain(KeyCode::Tab)],
        Action::Complete,
        "complete a command, a name, a room or a path; again: the next one",
    ),
    binding(Input, &[ctrl('p')], Action::HistoryBack, "what you sent before"),
    binding(Input, &[ctrl('n')], Action::HistoryForward, "what you sent after that"),
    binding(Input, &[ctrl('u')], Action::DeleteToHead, "delete back to the start of the line"),
    binding(Input, &[ctrl('x')], Action::Editor, "write in $EDITOR"),
    binding(EmptyInput, &[plain(KeyCode::Up)], Action::EditLast, "edit your last message"),
    binding(EmptyInput, &[plain(KeyCode::End)], Action::Present, "back to the present"),
    binding(EmptyInput, &[plain(KeyCode::Home)], Action::FirstUnread, "to the first unread message"),
    binding(EmptyInput, &[letter('?')], Action::Help, "this help"),
    binding(Message, &[plain(KeyCode::Up), letter('k')], Action::Up, "the message above"),
    binding(Message, &[plain(KeyCode::Down), letter('j')], Action::Down, "the message below"),
    binding(Message, &[letter('r')], Action::Reply, "reply to it"),
    binding(Message, &[letter('e')], Action::Edit, "edit it, if it is yours"),
    binding(Message, &[letter('+'), letter('a')], Action::React, "react to it, or take the reaction back"),
    binding(Message, &[letter('d'), plain(KeyCode::Delete)], Action::Delete, "delete it, after a question"),
    binding(Message, &[letter('p')], Action::Pin, "pin it for all to see, or take the pin off"),
    binding(Message, &[letter('s')], Action::SendAgain, "send it again, where it has failed"),
    binding(Message, &[letter('f')], Action::Fetch, "fetch its file"),
    binding(Message, &[plain(KeyCode::Enter)], Action::Follow, "go to the message that it answers"),
    binding(Message, &[letter('?')], Action::Help, "this help"),
    binding(Overlay, &[plain(KeyCode::Up), ctrl('p')], Action::Up, "up"),
    binding(Overlay, &[plain(KeyCode::Down), ctrl('n'), plain(KeyCode::Tab)], Action::Down, "down"),
    binding(Overlay, &[plain(KeyCode::PageUp)], Action::Older, "a page up"),
    binding(Overlay, &[plain(KeyCode::PageDown)], Action::Newer, "a page down"),
    binding(Overlay, &[plain(KeyCode::Enter)], Action::Accept, "take it"),
    binding(Overlay, &[plain(KeyCode::Esc), ctrl('c')], Action::Escape, "close"),
];

/// What `event` means in `place`.
pub fn action(place: Place, event: KeyEvent) -> Option<Action> {
    let mut here = BINDINGS.iter().filter(|binding| binding.place == place);
    here.find(|binding| binding.keys.iter().any(|key| key.is(event))).map(|binding| binding.action)
}

/// The digit of `Alt-1…9`.
pub fn digit(event: KeyEvent) -> Option<usize> {
    match event.code {
        KeyCode::Char(letter @ '1'..='9') => letter.to_digit(10).map(|digit| digit as usize),
        _ => None,
    }
}

/// The table as the manual has it.
pub fn manual() -> String {
    let mut text = String::new();
    for place in PLACES {
        text += &format!("\n**{}**\n\n| key | what it does |\n|---|---|\n", place.heading());
        for binding in BINDINGS.iter().filter(|binding| binding.place == place) {
            let keys: Vec<String> = binding.label().split(' ').map(|key| format!("`{key}`")).collect();
            text += &format!("| {} | {} |\n", keys.join(" "), binding.does);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_means_two_things_in_one_place() {
        for (at, binding) in BINDINGS.iter().enumerate() {
            for other in &BINDINGS[at + 1..] {
                let clash = binding.keys.iter().any(|key| other.keys.contains(key));
                assert!(!(clash && binding.place == other.place), "{} in {:?}", other.label(), other.place);
            }
        }
    }

    #[test]
    fn letters_count_with_and_without_shift() {
        let event = |code, modifiers| KeyEvent::new(code, modifiers);
        for (place, typed, expected) in [
            (Anywhere, event(KeyCode::Char('a'), KeyModifiers::ALT), Some(Action::NextUnread)),
            (
                Anywhere,
                event(KeyCode::Char('A'), KeyModifiers::ALT | KeyModifiers::SHIFT),
                Some(Action::NextUnread),
            ),
            (EmptyInput, event(KeyCode::Char('?'), KeyModifiers::SHIFT), Some(Action::Help)),
            (EmptyInput, event(KeyCode::Char('?'), KeyModifiers::NONE), Some(Action::Help)),
            (Anywhere, event(KeyCode::Char('a'), KeyModifiers::NONE), None),
            (Anywhere, event(KeyCode::Char('7'), KeyModifiers::ALT), Some(Action::NthRoom)),
        ] {
            assert_eq!(action(place, typed), expected, "{typed:?}");
        }
        assert_eq!(ctrl('k').label(), "Ctrl-K");
        assert_eq!(with(KeyModifiers::ALT, KeyCode::Enter).label(), "Alt-Enter");
    }
}
