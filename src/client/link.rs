//! One connection as the state sees it: the unanswered requests, and whether the server is silent.

use std::collections::{BTreeMap, BTreeSet};

use crate::protocol::RoomKey;

use super::{
    directory::Address,
    limits::{ANSWER_MS, IDLE_SILENCE_MS, SILENCE_MS},
    login::Step,
    renamed::Renamed,
};

/// The purpose of a request on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pending {
    /// A login, or what goes before it.
    Login(Step),
    /// `server_list`, for the directory.
    Directory,
    /// A question whether the server is there.
    Ping,
    /// `create_join`.
    Join(RoomKey),
    /// `leave`.
    Leave(RoomKey),
    /// A message; the outbox knows which.
    Chat,
    /// A request of the user, by its tag.
    Ask(u64),
    /// A step of an upload, by its tag.
    Upload(u64),
    /// A step of a download, by its tag.
    Download(u64),
    /// A request whose answer changes nothing.
    Aside,
}

/// The health of a connection at some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    Fine,
    /// It has been silent: ask whether it is there.
    AskIt,
    /// It was asked and did not say anything.
    Silent,
    /// It is there, but an answer is overdue.
    Overdue,
}

/// A connection whose transport is open.
#[derive(Debug)]
pub struct Link {
    pub address: Address,
    /// The server's id; known after the login.
    pub server_id: Option<String>,
    pub up_ms: u64,
    /// Whether something was committed over it: then the search for a server has succeeded.
    pub settled: bool,
    pending: BTreeMap<i64, (Pending, u64)>,
    /// The requests during which the server answers nothing, not even a ping, because it hashes a password.
    slow: BTreeSet<i64>,
    heard_ms: u64,
    pinged_ms: Option<u64>,
    /// How long the last answer took to a request that needs nothing but the server itself.
    pub took_ms: Option<u64>,
}

impl Link {
    /// A connection to `address` that is open from now on.
    pub fn new(address: Address, now_ms: u64) -> Self {
        Link {
            address,
            server_id: None,
            up_ms: now_ms,
            settled: false,
            pending: BTreeMap::new(),
            slow: BTreeSet::new(),
            heard_ms: now_ms,
            pinged_ms: None,
            took_ms: None,
        }
    }

    /// The server's id, or its address before the login.
    pub fn name(&self) -> String {
        self.server_id.clone().unwrap_or_else(|| self.address.to_string())
    }

    /// A request was written.
    pub fn asked(&mut self, request_id: i64, pending: Pending, now_ms: u64) {
        if pending == Pending::Ping {
            self.pinged_ms = Some(now_ms);
        }
        self.pending.insert(request_id, (pending, now_ms));
    }

    /// A room has another name: what is asked of it is asked under that.
    pub fn rename(&mut self, renamed: &Renamed) {
        for (pending, _) in self.pending.values_mut() {
            if let Pending::Join(key) | Pending::Leave(key) = pending
                && let Some(now) = renamed.of_key(key)
            {
                *key = now;
            }
        }
    }

    /// Takes the request `request_id`, which is answered, off the list.
    pub fn answered(&mut self, request_id: i64) -> Option<Pending> {
        self.slow.remove(&request_id);
        let (pending, asked_ms) = self.pending.remove(&request_id)?;
        if matches!(pending, Pending::Directory | Pending::Ping) {
            self.took_ms = Some(self.heard_ms.saturating_sub(asked_ms));
        }
        Some(pending)
    }

    /// The request just written under `request_id` may take long.
    pub fn takes_long(&mut self, request_id: i64) {
        self.slow.insert(request_id);
    }

    /// Whether the server works on something that takes long.
    pub fn is_busy(&self) -> bool {
        !self.slow.is_empty()
    }

    /// Whether this is unanswered.
    pub fn waits_for(&self, what: &Pending) -> bool {
        self.pending.values().any(|(pending, _)| pending == what)
    }

    /// The unanswered requests whose line may be too long.
    pub fn suspects(&self) -> impl Iterator<Item = (i64, &Pending)> {
        let all = self.pending.iter().map(|(&request_id, (pending, _))| (request_id, pending));
        all.filter(|(_, pending)| !matches!(pending, Pending::Directory | Pending::Ping | Pending::Aside))
    }

    /// The server said something.
    pub fn heard(&mut self, now_ms: u64) {
        self.heard_ms = now_ms;
        self.pinged_ms = None;
    }

    /// How the connection is; `reply_ms` is the patience after a ping.
    pub fn health(&self, now_ms: u64, reply_ms: u64) -> Health {
        match self.pinged_ms {
            Some(pinged_ms) if now_ms >= pinged_ms + reply_ms => Health::Silent,
            None if now_ms >= self.ping_at_ms() => Health::AskIt,
            _ if now_ms >= self.overdue_at_ms() => Health::Overdue,
            _ => Health::Fine,
        }
    }

    /// When [`Link::health`] may next give something else than `Fine`.
    pub fn next_timeout_ms(&self, reply_ms: u64) -> u64 {
        let silence_ms = match self.pinged_ms {
            Some(pinged_ms) => pinged_ms + reply_ms,
            None => self.ping_at_ms(),
        };
        silence_ms.min(self.overdue_at_ms())
    }

    /// Since when it is silent although it owes an answer. Silence before that does not count.
    pub fn silent_since_ms(&self) -> u64 {
        self.heard_ms.max(self.oldest_asked_ms().unwrap_or(0))
    }

    /// When the oldest request was written that is not a ping. Requests are numbered in the order of their
    /// writing, so it is the first.
    fn oldest_asked_ms(&self) -> Option<u64> {
        self.pending.values().find(|(pending, _)| *pending != Pending::Ping).map(|&(_, asked_ms)| asked_ms)
    }

    fn ping_at_ms(&self) -> u64 {
        let silence_ms = match self.oldest_asked_ms() {
            _ if !self.slow.is_empty() => ANSWER_MS,
            Some(_) => SILENCE_MS,
            None => IDLE_SILENCE_MS,
        };
        self.silent_since_ms() + silence_ms
    }

    fn overdue_at_ms(&self) -> u64 {
        self.oldest_asked_ms().map_or(u64::MAX, |asked_ms| asked_ms + ANSWER_MS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::limits::REPLY_MS;

    fn link() -> Link {
        Link::new(Address::new("localhost", 8000), 1_000)
    }

    #[test]
    fn a_silent_server_is_asked_and_then_given_up_in_well_under_a_second() {
        let mut link = link();
        link.asked(1, Pending::Chat, 5_000);
        assert_eq!(link.health(5_000, REPLY_MS), Health::Fine, "an old silence is not held against it");
        let ping_ms = link.next_timeout_ms(REPLY_MS);
        assert_eq!(link.health(ping_ms, REPLY_MS), Health::AskIt);
        link.asked(2, Pending::Ping, ping_ms);
        assert_eq!(link.health(ping_ms, REPLY_MS), Health::Fine);
        let end_ms = link.next_timeout_ms(REPLY_MS);
        assert_eq!(link.health(end_ms, REPLY_MS), Health::Silent);
        assert!(end_ms - 5_000 < 1_000);
    }

    #[test]
    fn what_needs_the_server_alone_shows_how_near_it_is() {
        let mut link = link();
        link.asked(1, Pending::Chat, 5_000);
        link.asked(2, Pending::Directory, 5_000);
        link.heard(5_900);
        link.answered(1);
        assert_eq!(link.took_ms, None, "a message waits for other servers");
        link.heard(5_040);
        link.answered(2);
        assert_eq!(link.took_ms, Some(40));
    }

    #[test]
    fn anything_heard_counts_as_life() {
        let mut link = link();
        link.asked(1, Pending::Ping, 2_000);
        link.heard(2_100);
        assert_eq!(link.health(2_000 + REPLY_MS, REPLY_MS), Health::Fine);
        assert_eq!(link.next_timeout_ms(REPLY_MS), 2_100 + IDLE_SILENCE_MS);
    }

    #[test]
    fn a_server_that_answers_pings_but_not_requests_is_given_up_in_the_end() {
        let mut link = link();
        link.asked(1, Pending::Chat, 1_000);
        link.heard(1_000 + ANSWER_MS);
        assert_eq!(link.health(1_000 + ANSWER_MS, REPLY_MS), Health::Overdue);
    }
}
