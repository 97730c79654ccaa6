//! Which key does what.

use ratatui::crossterm::event::{KeyEvent, KeyEventKind};

use super::super::{
    keys::{self, Action, Place},
    model::{
        Model,
        field::Field,
        overlay::{Overlay, Results, Search},
        room::ScrollPosition,
    },
    news::Wish,
};
use crate::client::terminal::typed::Typed;

impl Model {
    pub(super) fn key(&mut self, event: KeyEvent) {
        if event.kind == KeyEventKind::Release {
            return;
        }
        if self.overlay.is_some() {
            return self.key_over(event);
        }
        let selected = self.current_room().is_some_and(|room| room.selected.is_some());
        let is_empty = self.current_room().is_none_or(|room| room.composer.is_empty());
        let places = [
            (Place::Message, selected),
            (Place::EmptyInput, is_empty),
            (Place::Input, !selected),
            (Place::Anywhere, true),
        ];
        let here = places.into_iter().filter(|(_, holds)| *holds);
        let action = here.filter_map(|(place, _)| keys::action(place, event)).next();
        let only_looks = matches!(
            action,
            Some(
                Action::Peek
                    | Action::Help
                    | Action::RoomAbove
                    | Action::RoomBelow
                    | Action::NthRoom
                    | Action::Switch
                    | Action::Suspend
                    | Action::Repaint
                    | Action::ToggleRooms
                    | Action::ToggleMembers
                    | Action::Interrupt
                    | Action::Quit
            )
        );
        if !only_looks {
            self.mark_seen();
        }
        if action != Some(Action::Interrupt) {
            self.interrupted = false;
        }
        match action {
            Some(action) => self.act(action, event),
            // A letter that is no command for the selected message goes into the text.
            None => self.type_key(event),
        }
    }

    fn act(&mut self, action: Action, event: KeyEvent) {
        match action {
            Action::NextUnread => self.next_unread(),
            Action::NthRoom => {
                let at = keys::digit(event).unwrap_or(1) - 1;
                match self.order().get(at).map(|room| room.name.clone()) {
                    Some(name) => self.open(&name),
                    None => self.say(format!("there is no room {}", at + 1)),
                }
            }
            Action::Switch => {
                self.overlay = Some(Overlay::Switcher { field: Field::default(), at: 0 });
                self.ask_rooms(false);
            }
            Action::RoomAbove => self.step(-1),
            Action::RoomBelow => self.step(1),
            Action::Older => self.scroll_pages(-1),
            Action::Newer => self.scroll_pages(1),
            Action::Present => {
                if let Some(room) = self.current_room_mut() {
                    room.at = ScrollPosition::Present;
                    room.selected = None;
                }
                self.ask_for_the_present();
                self.mark_seen();
            }
            Action::FirstUnread => {
                let is_read = self.current_room().is_some_and(|room| room.unread_from.is_none());
                if let Some(room) = self.current_room_mut() {
                    (room.at, room.selected) = (ScrollPosition::FirstUnread, None);
                }
                if is_read {
                    self.say("nothing is unread here");
                }
            }
            Action::Search => self.search(""),
            Action::Select | Action::Up => self.select(true),
            Action::SelectNewer | Action::Down => self.select(false),
            Action::Peek => {
                self.peek = !self.peek;
                self.say(if self.peek { "peeking: nothing is marked as read" } else { "no longer peeking" });
            }
            Action::Silence => self.silence(),
            Action::ToggleRooms => {
                self.preferences.show_rooms = !self.preferences.show_rooms;
                self.keep();
            }
            Action::ToggleMembers => {
                self.preferences.show_members = !self.preferences.show_members;
                self.keep();
            }
            Action::Editor => {
                let text = self.current_room().map(|room| room.composer.text()).unwrap_or_default();
                self.wish(Wish::Editor(text));
            }
            Action::Suspend => self.wish(Wish::Suspend),
            Action::Repaint => self.wish(Wish::Repaint),
            Action::Interrupt => self.interrupt(),
            Action::Quit => self.wish(Wish::Quit),
            Action::Help => self.overlay = Some(Overlay::help()),
            Action::Escape => self.escape(),
            Action::Send => self.send(false),
            Action::NewLine => {
                if let Some(room) = self.current_room_mut() {
                    room.composer.new_line();
                }
            }
            Action::Complete => self.complete(),
            Action::HistoryBack | Action::HistoryForward => {
                if let Some(room) = self.current_room_mut() {
                    room.composer.recall(action == Action::HistoryBack);
                }
            }
            Action::DeleteToHead => {
                if let Some(room) = self.current_room_mut() {
                    room.composer.delete_to_head();
                }
            }
            Action::EditLast => self.edit_last(),
            Action::Reply
            | Action::Edit
            | Action::React
            | Action::Delete
            | Action::Pin
            | Action::SendAgain
            | Action::Fetch
            | Action::Follow => self.act_on_selected(action),
            Action::Accept | Action::Yes | Action::No => {}
        }
    }

    /// Has the preferences kept for the next run.
    pub(super) fn keep(&mut self) {
        self.wish(Wish::Keep(self.preferences.clone()));
    }

    fn silence(&mut self) {
        let Some(room) = self.current_room() else { return };
        let (key, title) = (room.name.key(), room.title().to_owned());
        if self.preferences.silent.remove(&key) {
            self.say(format!("{title} is no longer muted"));
        } else {
            self.preferences.silent.insert(key);
            self.say(format!("{title} is muted: no notifications from it"));
        }
        self.keep();
    }

    fn interrupt(&mut self) {
        let empty = self.current_room().is_none_or(|room| room.composer.is_empty());
        if !empty {
            if let Some(room) = self.current_room_mut() {
                // A text that was cleared by mistake comes back with Ctrl-P.
                let text = room.composer.take();
                if !Typed::is_secret(&text) {
                    room.composer.remember(text);
                }
            }
        } else if self.interrupted {
            self.wish(Wish::Quit);
        } else {
            self.interrupted = true;
            self.say("Ctrl-C once more ends; what is not sent yet is kept");
        }
    }

    fn escape(&mut self) {
        let Some(room) = self.current_room_mut() else { return };
        if room.composer.completion.take().is_some() {
            return;
        }
        if room.selected.take().is_some() || room.composer.give_up() {
            return;
        }
        if self.notice.take_if(|notice| notice.is_bad).is_some() {
            return;
        }
        if !self.peek {
            self.mark_all_read();
        }
    }

    pub(super) fn search(&mut self, text: &str) {
        let number = self.next_search;
        self.next_search += 1;
        let results = if text.is_empty() { Results::None } else { Results::Waiting };
        self.overlay = Some(Overlay::Search(Search { field: Field::new(text), number, results, at: 0 }));
        if !text.is_empty() {
            self.wish(Wish::Search { search: number, text: text.to_owned() });
        }
    }
}
