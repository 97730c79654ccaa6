//! The effects of the user's keys, pastes and mouse on a [`Model`].

use ratatui::{
    crossterm::event::{KeyEvent, KeyEventKind, MouseButton, MouseEvent, MouseEventKind},
    layout::Position,
};

use crate::{
    client::terminal::{
        complete::{Known, complete, path_at},
        typed::Typed,
    },
    protocol::{
        RoomName,
        checked::{Body, Seq},
        request::{Edit, HistoryRange, Pin, Unpin},
    },
};

use super::{
    super::{
        keys::{self, Action, Place},
        news::Wish,
        view::{self, window},
    },
    Model, PAGE,
    composer::Aim,
    overlay::{Field, Overlay, Question, Results, Search},
    room::{Item, Room, ScrollPosition, State},
};

/// More lines than these are sent only after a question.
const LINES_UNASKED: usize = 5;
/// The least time between two signs that the user is typing.
const TYPING_EVERY_MS: u64 = 4_000;
/// Rows that the wheel of the mouse scrolls.
const WHEEL_ROWS: isize = 3;

/// A place that an event of a room has.
pub(super) fn place(seq: u64) -> Seq {
    Seq::try_from(seq).unwrap_or_default()
}

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
            (Place::EmptyInput, is_empty && !selected),
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
                let name = self.order().get(at).map(|room| room.name.clone());
                name.iter().for_each(|name| self.open(name));
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
                if let Some(room) = self.current_room_mut() {
                    room.at = ScrollPosition::FirstUnread;
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

    fn keep(&mut self) {
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

    /// Everything in the room that is shown is read.
    pub(super) fn mark_all_read(&mut self) {
        let Some(room) = self.current_room_mut() else { return };
        room.unread_from = None;
        let seq = room.last_seq;
        self.mark_read(seq);
    }

    /// Asks for the newest events, which may be unknown after a long way into the past.
    fn ask_for_the_present(&mut self) {
        let Some(room) = self.current_room_mut() else { return };
        let is_known = room.spans.newest().is_some_and(|(_, to)| to >= room.last_seq);
        if !is_known && !room.asked.contains(&HistoryRange::Last) {
            room.asked.push(HistoryRange::Last);
            let name = room.name.clone();
            self.ask_history(&name, HistoryRange::Last);
        }
    }

    fn step(&mut self, by: isize) {
        let order = self.order();
        let at = order.iter().position(|room| Some(room.name.key()) == self.current);
        let count = isize::try_from(order.len()).unwrap_or(isize::MAX).max(1);
        let next = at.map_or(0, |at| (isize::try_from(at).unwrap_or(0) + by).rem_euclid(count));
        let name = usize::try_from(next).ok().and_then(|at| order.get(at)).map(|room| room.name.clone());
        name.iter().for_each(|name| self.open(name));
    }

    /// Goes on to the next room: mentions first, then direct messages, then the rest.
    fn next_unread(&mut self) {
        let order = self.order();
        let here = order.iter().position(|room| Some(room.name.key()) == self.current).unwrap_or(0);
        let rank = |room: &Room| match room {
            room if room.mentions > 0 => Some(0),
            room if room.unread == 0 || self.is_silent(room) => None,
            room if room.other.is_some() => Some(1),
            _ => Some(2),
        };
        let others = order.iter().enumerate().filter(|&(at, _)| at != here);
        let ranked = others.filter_map(|(at, room)| {
            let steps = (at + order.len() - here) % order.len();
            rank(room).map(|rank| (rank, steps, room.name.clone()))
        });
        match ranked.min() {
            Some((_, _, name)) => self.open(&name),
            None => self.say("nothing is unread in another room"),
        }
    }

    fn area(&self) -> (usize, usize) {
        let area = view::messages_area(self);
        (area.width.into(), area.height.into())
    }

    fn scroll_pages(&mut self, pages: isize) {
        let (_, height) = self.area();
        let rows = isize::try_from(height).unwrap_or(isize::MAX);
        self.scroll(pages * (rows - 2).max(1));
    }

    fn scroll(&mut self, rows: isize) {
        let (width, height) = self.area();
        let Some(room) = self.current_room() else { return };
        let at = window::scroll(self, room, width, height, rows);
        if let Some(room) = self.current_room_mut() {
            room.at = at;
        }
        if rows > 0 {
            self.mark_seen();
        }
    }

    /// Shows `item` in the middle, selected.
    pub(super) fn centre(&mut self, item: Item) {
        let (width, height) = self.area();
        let Some(room) = self.current_room() else { return };
        let at = window::centre(self, room, item, width, height);
        if let Some(room) = self.current_room_mut() {
            (room.at, room.selected) = (at, Some(item));
        }
    }

    /// Selects the message above or below the one that is selected, or the last one that is shown.
    fn select(&mut self, above: bool) {
        let (width, height) = self.area();
        let Some(room) = self.current_room() else { return };
        let start = match room.selected {
            Some(selected) if above => room.before(selected),
            Some(selected) => room.after(selected),
            None => window::window(self, room, width, height).last(),
        };
        let next =
            |item: Item| if above || room.selected.is_none() { room.before(item) } else { room.after(item) };
        let found = std::iter::successors(start, |&item| next(item)).find(|&item| room.is_message(item));
        let Some(item) = found else {
            // Below the last one is the input.
            if !above && let Some(room) = self.current_room_mut() {
                room.selected = None;
            }
            return;
        };
        let at = window::reveal(self, room, item, width, height);
        if let Some(room) = self.current_room_mut() {
            (room.selected, room.at) = (Some(item), at);
        }
    }

    fn edit_last(&mut self) {
        let me = self.me.clone();
        let Some(room) = self.current_room_mut() else { return };
        match room.last_own(&me) {
            Some(seq) => {
                let body = room.message(seq).map(|(_, message)| message.body.clone()).unwrap_or_default();
                room.composer.edit(seq, &body);
            }
            None => self.say("you have said nothing here yet that could be edited"),
        }
    }

    fn act_on_selected(&mut self, action: Action) {
        let me = self.me.clone();
        let Some(room) = self.current_room_mut() else { return };
        let Some(selected) = room.selected else { return };
        let seq = match selected {
            Item::Event(seq) => seq,
            Item::Outgoing(number) => {
                let failed =
                    room.outgoing.get(&number).is_some_and(|own| matches!(own.state, State::Failed(_)));
                return match action {
                    Action::SendAgain | Action::Delete if failed => self.give_up_failed(number, action),
                    _ => self.complain("this message has no place yet"),
                };
            }
        };
        let Some((event, message)) = room.message(seq) else { return };
        let is_own = event.author.key() == me;
        let (body, file, reply_to, deleted) =
            (message.body.clone(), message.file.clone(), message.reply_to, message.deleted.is_some());
        match action {
            Action::Fetch => match file {
                Some(file) => {
                    let (line, room) = (format!("/get {}", file.file_id), Some(room.name.clone()));
                    self.wish(Wish::Command { line, room, secrets: vec![] });
                    self.say(format!("fetching {}", view::text::one_line(&file.name)));
                }
                None => self.complain("no file belongs to this message"),
            },
            Action::Follow => match reply_to {
                Some(target) => {
                    let name = room.name.clone();
                    self.jump_to(&name, target);
                }
                None => self.complain("this message answers no other"),
            },
            Action::SendAgain => self.complain("this message was sent"),
            _ if deleted => self.complain("this message was deleted"),
            Action::Reply => {
                (room.composer.aim, room.selected) = (Aim::Reply(seq), None);
            }
            Action::Edit if is_own => {
                room.composer.edit(seq, &body);
                room.selected = None;
            }
            Action::Edit => self.complain("only its author can edit a message"),
            Action::Pin => {
                let (name, seq) = (room.name.clone(), place(seq));
                let is_pinned = room.pins.contains(&seq.get());
                self.wish(Wish::Ask(if is_pinned {
                    Unpin { room: name, seq }.into()
                } else {
                    Pin { room: name, seq }.into()
                }));
            }
            Action::React => self.overlay = Some(Overlay::React { seq, field: Field::default() }),
            _ => self.overlay = Some(Overlay::Question(Question::Delete(seq))),
        }
    }

    /// Removes a refused message, and sends it once more if that is wanted.
    fn give_up_failed(&mut self, number: u64, action: Action) {
        let Some(room) = self.current_room_mut() else { return };
        room.selected = None;
        let Some(own) = room.outgoing.remove(&number) else { return };
        if action == Action::SendAgain {
            let room = room.name.clone();
            self.wish(Wish::Send { room, body: own.body, reply_to: own.reply_to });
        }
    }

    /// Shows the message at `seq` of a room.
    pub(super) fn jump_to(&mut self, name: &RoomName, seq: u64) {
        self.open(name);
        let Some(room) = self.current_room_mut() else { return };
        if room.events.contains_key(&seq) {
            return self.centre(Item::Event(seq));
        }
        let range = HistoryRange::After(seq.saturating_sub(PAGE as u64 / 2).saturating_sub(1));
        room.asked.push(range);
        self.jump = Some((name.key(), seq));
        self.ask_history(name, range);
    }

    fn type_key(&mut self, event: KeyEvent) {
        let now_ms = self.now_ms;
        let Some(room) = self.current_room_mut() else { return };
        if !room.composer.type_key(event) {
            return;
        }
        room.selected = None;
        let (name, is_command, is_empty) =
            (room.name.clone(), room.composer.is_command(), room.composer.is_empty());
        self.offer();
        if !is_command && !is_empty && now_ms >= self.told_typing_ms + TYPING_EVERY_MS {
            self.told_typing_ms = now_ms;
            self.wish(Wish::Typing(name));
        }
    }

    pub(super) fn paste(&mut self, text: &str) {
        match &mut self.overlay {
            Some(overlay) => {
                if let Some(field) = overlay.field_mut() {
                    field.insert(text);
                }
            }
            None => {
                self.mark_seen();
                if let Some(room) = self.current_room_mut() {
                    room.selected = None;
                    room.composer.insert(text);
                }
            }
        }
    }

    /// Sends the text; many lines only if `asked`.
    pub(super) fn send(&mut self, asked: bool) {
        let Some(room) = self.current_room_mut() else { return };
        let text = room.composer.text();
        let count = text.lines().count();
        if text.trim().is_empty() {
            return;
        }
        if count > LINES_UNASKED && !asked {
            self.overlay = Some(Overlay::Question(Question::SendLines(count)));
            return;
        }
        let (aim, is_command, name) =
            (room.composer.aim.clone(), room.composer.is_command(), room.name.clone());
        room.composer.take();
        if !Typed::is_secret(&text) {
            room.composer.remember(text.clone());
        }
        if is_command {
            return self.command(text.trim().to_owned());
        }
        // Two slashes mean one that does not begin a command.
        let body = if text.starts_with("//") { text[1..].to_owned() } else { text };
        match aim {
            Aim::Edit(seq) => match Body::new(body) {
                Ok(body) => self.wish(Wish::Ask(Edit { room: name, seq: place(seq), body }.into())),
                Err(invalid) => self.complain(invalid.of("the text").reason),
            },
            Aim::Say | Aim::Reply(_) => {
                let reply_to = if let Aim::Reply(seq) = aim { Some(seq) } else { None };
                self.wish(Wish::Send { room: name, body, reply_to });
                if let Some(room) = self.current_room_mut() {
                    (room.at, room.unread_from) = (ScrollPosition::Present, None);
                }
                self.ask_for_the_present();
            }
        }
        self.mark_seen();
    }

    fn command(&mut self, line: String) {
        let (name, words) = line.split_once(' ').unwrap_or((&line, ""));
        match name {
            "/set" => match self.preferences.set(words) {
                Ok(()) => {
                    self.say("done");
                    self.keep();
                }
                Err(error) => self.complain(error.to_string()),
            },
            _ => {
                let room = self.current_room().map(|room| room.name.clone());
                self.wish(Wish::Command { line, room, secrets: vec![] });
            }
        }
    }

    /// Candidates for the word before the cursor.
    fn candidates(&self) -> Option<(usize, Vec<String>)> {
        let room = self.current_room()?;
        let line = room.composer.before_cursor();
        let is_command = room.composer.is_command() && room.composer.in_first_line();
        if is_command && path_at(&line).is_some() {
            return None;
        }
        let rooms: Vec<String> = self.order().iter().map(|room| room.name.to_string()).collect();
        let mut users: Vec<String> = room.members.iter().map(|member| member.username.to_string()).collect();
        if is_command || room.members.is_empty() {
            users = self.presence.values().map(|(user, _)| user.to_string()).collect();
        }
        let (start, mut candidates) =
            complete(&line, &Known { user: &self.user, rooms: &rooms, users: &users });
        if is_command && start == 0 && "/set".starts_with(&line) {
            candidates.push("/set ".into());
        }
        Some((start, candidates))
    }

    /// Offers commands and names while they are typed.
    fn offer(&mut self) {
        let Some(room) = self.current_room() else { return };
        let line = room.composer.before_cursor();
        let word = line.rsplit(char::is_whitespace).next().unwrap_or_default();
        let offers = word.starts_with('@') && word.len() > 1
            || room.composer.is_command() && room.composer.in_first_line() && word.starts_with('/');
        if let Some((start, candidates)) = self.candidates().filter(|_| offers)
            && let Some(room) = self.current_room_mut()
        {
            room.composer.offer(start, candidates);
        }
    }

    fn complete(&mut self) {
        let Some(room) = self.current_room_mut() else { return };
        if room.composer.complete() {
            return;
        }
        let line = room.composer.before_cursor();
        if let Some(start) = path_at(&line).filter(|_| room.composer.is_command()) {
            return self.wish(Wish::Paths { start, text: line[start..].to_owned() });
        }
        let Some((start, mut candidates)) = self.candidates() else { return };
        let word = line[start..].to_owned();
        if candidates.is_empty() && !word.is_empty() {
            // A word without a sign may be a name.
            let Some(room) = self.current_room() else { return };
            let users = room.members.iter().map(|member| member.username.as_str());
            let fits =
                |user: &&str| user.get(..word.len()).is_some_and(|head| head.eq_ignore_ascii_case(&word));
            candidates = users.filter(fits).map(|user| format!("@{user} ")).collect();
        }
        self.offered(start, candidates);
    }

    /// Takes the first candidate of Tab.
    pub(super) fn offered(&mut self, start: usize, candidates: Vec<String>) {
        if let Some(room) = self.current_room_mut() {
            room.composer.offer(start, candidates);
            room.composer.complete();
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

    pub(super) fn mouse(&mut self, event: MouseEvent) {
        if self.overlay.is_some() {
            return;
        }
        match event.kind {
            MouseEventKind::ScrollUp => self.scroll(-WHEEL_ROWS),
            MouseEventKind::ScrollDown => self.scroll(WHEEL_ROWS),
            MouseEventKind::Down(MouseButton::Left) => self.click(Position::new(event.column, event.row)),
            _ => {}
        }
    }

    fn click(&mut self, position: Position) {
        if let Some(name) = view::room_at(self, position) {
            return self.open(&name);
        }
        let area = view::messages_area(self);
        if !area.contains(position) {
            return;
        }
        let Some(room) = self.current_room() else { return };
        let shown = window::window(self, room, area.width.into(), area.height.into());
        let blank = usize::from(area.height).saturating_sub(shown.rows.len());
        let row = usize::from(position.y - area.y).checked_sub(blank);
        let item = row.and_then(|row| shown.rows.get(row)).map(|(item, _)| *item);
        let item = item.filter(|item| room.is_message(*item));
        self.mark_seen();
        if let Some(room) = self.current_room_mut() {
            room.selected = if room.selected == item { None } else { item };
        }
    }
}
