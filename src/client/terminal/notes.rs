//! What a session has seen: requests by their tags, names for the Tab key, places of messages.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use crate::{
    client::{ask::Outcome, renamed::Renamed, update::Update},
    protocol::{Answer, EventKind, Request, RoomKey, RoomName, UserName},
};

use super::mistake::Mistake;

/// Names of a kind that are remembered. Full: further ones are not completed.
const NAMES_MAX: usize = 10_000;

#[derive(Debug, Default)]
struct Inner {
    /// Requests as they were typed, by their tags.
    asked: BTreeMap<u64, Asked>,
    rooms: BTreeMap<RoomKey, String>,
    users: BTreeMap<String, String>,
    /// The last event that came, by room.
    last: BTreeMap<RoomKey, u64>,
    /// Rooms that refused the user or from which the user was removed.
    gone: Vec<RoomName>,
    renamed: Vec<Renamed>,
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
    /// The tag of its request.
    tag: u64,
    answered: bool,
    next: Option<Request>,
}

/// What a session has seen. Shared by the threads that type and that show.
#[derive(Debug, Default)]
pub struct Notes(Mutex<Inner>);

impl Notes {
    /// Notes a request under `tag`.
    pub fn asked(&self, tag: u64, what: &str) {
        let asked = Asked { what: what.to_owned(), at: Instant::now(), shown: false };
        self.0.lock().asked.insert(tag, asked);
    }

    /// Takes the text of the request `tag`, which is answered.
    pub fn answered(&self, tag: u64) -> String {
        self.0.lock().asked.remove(&tag).map(|asked| asked.what).unwrap_or_default()
    }

    /// The client is another one: requests to the old one are not answered any more.
    pub fn restarted(&self) {
        let mut inner = self.0.lock();
        inner.asked.clear();
        inner.page = None;
    }

    /// The requests that have waited for this long; each is given once.
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

    /// `request` was asked under `tag`. If its answer has pages, `/more` goes on from it.
    pub fn may_go_on(&self, tag: u64, request: &Request) {
        if request.is_paged() {
            self.0.lock().page = Some(Page { tag, answered: false, next: None });
        }
    }

    /// The request for the page behind the last answer.
    ///
    /// # Errors
    /// There is none, or none yet.
    pub fn next_page(&self) -> Result<Request, Mistake> {
        match &self.0.lock().page {
            None => Err(Mistake::NothingToGoOn),
            Some(Page { answered: false, .. }) => Err(Mistake::NotAnswered),
            Some(Page { next: None, .. }) => Err(Mistake::WasAll),
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

    /// The rooms that have another name, since the last call.
    pub fn take_renamed(&self) -> Vec<Renamed> {
        std::mem::take(&mut self.0.lock().renamed)
    }

    /// The user tries to join `room`, so an earlier refusal does not count any more.
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
            (page.answered, page.next) = (true, reply.next());
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
            Update::Renamed(renamed) => {
                inner.room(&renamed.to);
                renamed.move_in(&mut inner.last);
                inner.renamed.push(renamed.clone());
            }
            Update::Presence { username, .. } => inner.user(username),
            Update::Invitation { by, .. } => inner.user(by),
            Update::Answered { reply, .. } => {
                if let Outcome::Done(answer) = &reply.outcome {
                    inner.names(answer);
                }
            }
            _ => {}
        }
    }
}

impl Inner {
    fn names(&mut self, answer: &Answer) {
        match answer {
            Answer::Rooms(list) => list.rooms.iter().for_each(|room| self.room(&room.room)),
            Answer::Members(list) => list.members.iter().for_each(|member| self.user(&member.username)),
            Answer::Users(list) => list.users.iter().for_each(|user| self.user(&user.username)),
            _ => {}
        }
    }

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
    use crate::{
        client::ask::Reply,
        protocol::{
            answer::{Account, UserList},
            request::{ListServers, Users},
        },
    };

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
        let (notes, users) = (Notes::default(), Users { after: None, limit: None });
        assert!(notes.next_page().is_err());
        notes.may_go_on(1, &users.clone().into());
        notes.may_go_on(2, &ListServers {}.into());
        assert!(matches!(notes.next_page(), Err(Mistake::NotAnswered)));
        let bob = UserName::new("bob").unwrap();
        let answer = |more| {
            let username = bob.clone();
            let user =
                Account { account: true, admin: false, banned: false, bot: false, online: true, username };
            let outcome = Outcome::Done(UserList { more, users: vec![user] }.into());
            let reply = Box::new(Reply { request: users.clone().into(), outcome });
            Update::Answered { tag: 1, reply }
        };
        notes.note(&answer(true));
        let next = Users { after: Some(bob.clone()), limit: None };
        assert_eq!(notes.next_page().unwrap(), next.into());
        notes.note(&answer(false));
        assert!(matches!(notes.next_page(), Err(Mistake::WasAll)));
    }
}
