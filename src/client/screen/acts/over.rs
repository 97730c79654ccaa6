//! The effects of the user's keys in an overlay.

use ratatui::crossterm::event::{KeyCode, KeyEvent};

use crate::protocol::{
    checked::Emoji,
    request::{Delete, React},
};

use super::super::{
    keys::{self, Action, Place},
    layout::page::overlay_lines,
    model::{
        Model,
        overlay::{Overlay, Question, REACTIONS, Results, Search},
        room::place,
        switcher,
    },
    news::Wish,
};

impl Model {
    pub(super) fn key_over(&mut self, event: KeyEvent) {
        let action = keys::action(Place::Overlay, event);
        let page = usize::from(self.size.height.saturating_sub(4)).max(1);
        let Some(mut overlay) = self.overlay.take() else { return };
        if action == Some(Action::Escape) {
            return;
        }
        match (&mut overlay, action) {
            (Overlay::Help { top } | Overlay::Text { top, .. }, Some(action)) => {
                match action {
                    Action::Up => *top = top.saturating_sub(1),
                    Action::Down => *top += 1,
                    Action::Older => *top = top.saturating_sub(page),
                    Action::Newer => *top += page,
                    // Enter closes a page that can only be read.
                    _ => return,
                }
                let last = overlay_lines(self, &overlay).saturating_sub(page);
                if let Overlay::Help { top } | Overlay::Text { top, .. } = &mut overlay {
                    *top = (*top).min(last);
                }
            }
            // As in other programs that show pages.
            (Overlay::Help { .. } | Overlay::Text { .. }, None) if is_letter(event, 'q') => return,
            (Overlay::Help { .. }, None) if keys::action(Place::EmptyInput, event) == Some(Action::Help) => {
                return;
            }
            (Overlay::Switcher { field, at }, Some(action)) => {
                let entries = switcher::entries(self, &field.text());
                if action == Action::Accept {
                    if let Some(entry) = entries.get(*at) {
                        self.open(&entry.room.clone());
                    }
                    return;
                }
                *at = moved(*at, entries.len(), action, page);
            }
            (Overlay::Switcher { field, at }, None) => {
                field.type_key(event);
                *at = 0;
            }
            (Overlay::Search(search), action) => {
                let is_done = action.is_some_and(|action| self.key_in_search(search, action, page));
                if is_done {
                    return;
                }
                if action.is_none() && search.field.type_key(event) {
                    search.results = Results::None;
                }
            }
            (Overlay::React { seq, field }, action) => {
                let digit = keys::digit(event).filter(|_| field.text().is_empty());
                match digit.and_then(|digit| REACTIONS.get(digit - 1)) {
                    Some(emoji) => return self.react(*seq, emoji),
                    None if action == Some(Action::Accept) => {
                        let (seq, text) = (*seq, field.text());
                        if !text.trim().is_empty() {
                            self.react(seq, text.trim());
                        }
                        return;
                    }
                    None => drop(field.type_key(event)),
                }
            }
            (Overlay::Question(question), action) => {
                let yes = action == Some(Action::Accept) || is_letter(event, 'y');
                match question {
                    Question::Delete(seq) if yes => return self.delete(*seq),
                    Question::SendLines(_) if yes => return self.send(true),
                    _ if is_letter(event, 'n') => return,
                    _ => {}
                }
            }
            (Overlay::Secret(secret), Some(Action::Accept)) => {
                let is_complete = secret.accept();
                if is_complete {
                    let (line, secrets) = (secret.line.clone(), std::mem::take(&mut secret.secrets));
                    let room = self.current_room().map(|room| room.name.clone());
                    self.wish(Wish::Command { line, room, secrets });
                    return;
                }
            }
            (Overlay::Secret(secret), _) => drop(secret.field.type_key(event)),
            _ => {}
        }
        self.overlay = Some(overlay);
    }

    /// Whether the search is to be closed.
    fn key_in_search(&mut self, search: &mut Search, action: Action, page: usize) -> bool {
        let count = if let Results::Found(hits, _) = &search.results { hits.len() } else { 0 };
        if action != Action::Accept {
            search.at = moved(search.at, count, action, page);
            return false;
        }
        match &search.results {
            Results::Found(hits, _) => {
                let Some(hit) = hits.get(search.at) else { return false };
                self.jump_to(&hit.event.room.clone(), hit.event.seq);
                true
            }
            _ if search.field.text().trim().is_empty() => false,
            _ => {
                search.number = self.next_search;
                self.next_search += 1;
                search.results = Results::Waiting;
                let (search, text) = (search.number, search.field.text());
                self.wish(Wish::Search { search, text });
                false
            }
        }
    }

    fn react(&mut self, seq: u64, emoji: &str) {
        let me = self.me.clone();
        let Some(room) = self.current_room_mut() else { return };
        let Some((_, message)) = room.message(seq) else { return };
        let remove =
            message.reactions.get(emoji).is_some_and(|users| users.iter().any(|user| user.key() == me));
        let room = room.name.clone();
        match Emoji::new(emoji) {
            Ok(emoji) => self.wish(Wish::Ask(React { room, seq: place(seq), emoji, remove }.into())),
            Err(invalid) => self.complain(invalid.of("the reaction").reason),
        }
    }

    fn delete(&mut self, seq: u64) {
        let Some(room) = self.current_room_mut() else { return };
        room.selected = None;
        let room = room.name.clone();
        self.wish(Wish::Ask(Delete { room, seq: place(seq) }.into()));
    }
}

fn is_letter(event: KeyEvent, letter: char) -> bool {
    matches!(event.code, KeyCode::Char(typed) if typed.to_ascii_lowercase() == letter)
}

/// The new position of a list's cursor.
fn moved(at: usize, count: usize, action: Action, page: usize) -> usize {
    let last = count.saturating_sub(1);
    match action {
        Action::Up => at.checked_sub(1).unwrap_or(last),
        Action::Down if at >= last => 0,
        Action::Down => at + 1,
        Action::Older => at.saturating_sub(page),
        Action::Newer => (at + page).min(last),
        _ => at,
    }
}
