//! What a session has seen: what was asked under which tag, names for the Tab key, places of messages.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use crate::{
    client::{
        io::Question,
        update::{Reply, Update},
    },
    protocol::{EventKind, RoomKey, RoomName, UserName},
};

/// Names of a kind that are remembered. Full: further ones are not completed.
const NAMES_MAX: usize = 10_000;

#[derive(Debug, Default)]
struct Inner {
    /// What was asked, by its tag, as it was typed.
    asked: BTreeMap<u64, Asked>,
    rooms: BTreeMap<RoomKey, String>,
    users: BTreeMap<String, String>,
    /// The last event that came, by room.
    last: BTreeMap<RoomKey, u64>,
    /// Rooms that the user was refused or sent out of.
    gone: Vec<RoomName>,
    page: Option<Page>,
}

#[derive(Debug)]
struct Asked {
    what: String,
    at: Instant,
    /// It was shown to wait.
    shown: bool,
}

/// The last answer that may have another page behind it.
#[derive(Debug)]
struct Page {
    /// What it was asked under.
    tag: u64,
    answered: bool,
    next: Option<Question>,
}

/// What a session has seen. Shared by the threads that type and that show.
#[derive(Debug, Default)]
pub struct Notes(Mutex<Inner>);

impl Notes {
    /// Something was asked under `tag`.
    pub fn asked(&self, tag: u64, what: &str) {
        let asked = Asked { what: what.to_owned(), at: Instant::now(), shown: false };
        self.0.lock().asked.insert(tag, asked);
    }

    /// What was asked under `tag`; it is answered.
    pub fn answered(&self, tag: u64) -> String {
        self.0.lock().asked.remove(&tag).map(|asked| asked.what).unwrap_or_default()
    }

    /// The client is another one: what the one before was asked is not answered any more.
    pub fn restarted(&self) {
        let mut inner = self.0.lock();
        inner.asked.clear();
        inner.page = None;
    }

    /// What has waited for its answer for so long; each is given once.
    pub fn take_waiting(&self, so_long: Duration) -> Vec<String> {
        let mut inner = self.0.lock();
        let waiting = inner.asked.values_mut().filter(|asked| !asked.shown && asked.at.elapsed() >= so_long);
        waiting
            .map(|asked| {
                asked.shown = true;
                asked.what.clone()
            })
            .collect()
    }

    /// `question` was asked under `tag`. What can be gone on with is its answer from now on, where that has pages.
    pub fn may_go_on(&self, tag: u64, question: &Question) {
        let has_pages = match question {
            Question::History { .. }
            | Question::Rooms { .. }
            | Question::Search(_)
            | Question::Users { .. }
            | Question::Members { .. } => true,
            Question::Hooks(_) | Question::Servers | Question::Status | Question::Barrier => false,
        };
        if has_pages {
            self.0.lock().page = Some(Page { tag, answered: false, next: None });
        }
    }

    /// What asks for the page behind the last answer; the error is a sentence.
    pub fn next_page(&self) -> Result<Question, String> {
        match &self.0.lock().page {
            None => Err("there is nothing yet to go on from".into()),
            Some(Page { answered: false, .. }) => Err("the answer to go on from is not here yet".into()),
            Some(Page { next: None, .. }) => Err("that was all".into()),
            Some(Page { next: Some(next), .. }) => Ok(next.clone()),
        }
    }

    /// The last event of a room that came.
    pub fn last(&self, room: &RoomName) -> Option<u64> {
        self.0.lock().last.get(&room.key()).copied()
    }

    /// The rooms that the user is not in after all, since the last call.
    pub fn take_gone(&self) -> Vec<RoomName> {
        std::mem::take(&mut self.0.lock().gone)
    }

    /// The user tries to be in `room`, whatever was before.
    pub fn is_coming(&self, room: &RoomName) {
        self.0.lock().gone.retain(|gone| gone.key() != room.key());
    }

    /// The rooms that were seen.
    pub fn rooms(&self) -> Vec<String> {
        self.0.lock().rooms.values().cloned().collect()
    }

    /// The users that were seen.
    pub fn users(&self) -> Vec<String> {
        self.0.lock().users.values().cloned().collect()
    }

    /// Takes note of what an update tells.
    pub fn note(&self, update: &Update) {
        let mut inner = self.0.lock();
        if let Update::Answered { tag, reply } = update
            && let Some(page) = inner.page.as_mut().filter(|page| page.tag == *tag)
        {
            (page.answered, page.next) = (true, reply.next().cloned());
        }
        match update {
            Update::Joined { room, last_seq, .. } => {
                inner.room(room);
                inner.last.insert(room.key(), *last_seq);
            }
            Update::RoomRefused { room, .. } => inner.gone.push(room.clone()),
            Update::Event { event, .. } => {
                inner.user(&event.author);
                inner.last.insert(event.room.key(), event.seq);
                match &event.kind {
                    EventKind::Invited { username }
                    | EventKind::Uninvited { username }
                    | EventKind::Role { username, .. } => inner.user(username),
                    _ => {}
                }
            }
            Update::Presence { username, .. } => inner.user(username),
            Update::Invitation { by, .. } => inner.user(by),
            Update::Answered { reply: Reply::Rooms { rooms, .. }, .. } => {
                rooms.iter().for_each(|room| inner.room(&room.room));
            }
            Update::Answered { reply: Reply::Members { members, .. }, .. } => {
                members.iter().for_each(|member| inner.user(&member.username));
            }
            Update::Answered { reply: Reply::Users { users, .. }, .. } => {
                users.iter().for_each(|user| inner.user(&user.username));
            }
            _ => {}
        }
    }
}

impl Inner {
    fn room(&mut self, room: &RoomName) {
        if self.rooms.len() < NAMES_MAX {
            self.rooms.insert(room.key(), room.to_string());
        }
    }

    fn user(&mut self, user: &UserName) {
        if self.users.len() < NAMES_MAX {
            self.users.insert(user.key().to_string(), user.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_for_its_answer_is_shown_once() {
        let notes = Notes::default();
        notes.asked(1, "/topic tea");
        assert!(notes.take_waiting(Duration::from_secs(3_600)).is_empty());
        assert_eq!(notes.take_waiting(Duration::ZERO), ["/topic tea"]);
        assert!(notes.take_waiting(Duration::ZERO).is_empty());
        assert_eq!(notes.answered(1), "/topic tea");
    }

    #[test]
    fn more_is_of_the_last_list_and_only_once_it_is_there() {
        let (notes, users) = (Notes::default(), Question::Users { after: None });
        assert!(notes.next_page().is_err());
        notes.may_go_on(1, &users);
        notes.may_go_on(2, &Question::Servers);
        assert!(notes.next_page().unwrap_err().contains("not here yet"));
        let after = UserName::new("bob");
        let reply = |next| Update::Answered { tag: 1, reply: Reply::Users { users: vec![], next } };
        notes.note(&reply(Some(Question::Users { after: after.clone() })));
        assert_eq!(notes.next_page(), Ok(Question::Users { after }));
        notes.note(&reply(None));
        assert!(notes.next_page().unwrap_err().contains("that was all"));
    }
}
