//! Writing: typing, pasting, completing and sending.

use ratatui::crossterm::event::KeyEvent;

use super::super::{
    model::{
        Model,
        composer::Aim,
        overlay::{Overlay, Question},
        room::{Joining, ScrollPosition, place},
    },
    news::Wish,
};
use crate::{
    client::terminal::{
        complete::{Known, complete, path_at},
        typed::Typed,
    },
    protocol::{checked::Body, request::Edit},
};

/// More lines than these are sent only after a question.
const LINES_UNASKED: usize = 5;
/// The least time between two signs that the user is typing.
const TYPING_EVERY_MS: u64 = 4_000;

impl Model {
    pub(super) fn type_key(&mut self, event: KeyEvent) {
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

    pub(super) fn command(&mut self, line: String) {
        let (name, words) = line.split_once(' ').unwrap_or((&line, ""));
        match name {
            // There is nothing to leave on the servers.
            "/leave" if words.trim().is_empty() && self.is_refused() => {
                if let Some(room) = self.current_room().map(|room| room.name.clone()) {
                    self.left(&room);
                }
            }
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

    fn is_refused(&self) -> bool {
        self.current_room().is_some_and(|room| matches!(room.joining, Joining::Refused(_)))
    }

    /// Candidates for the word before the cursor.
    pub(super) fn candidates(&self) -> Option<(usize, Vec<String>)> {
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
    pub(super) fn offer(&mut self) {
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

    pub(super) fn complete(&mut self) {
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
}
