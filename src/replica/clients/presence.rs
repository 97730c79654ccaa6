//! Who is online, on any server, and who is away. Not replicated: each server tells the others over its
//! links.
//!
//! None of this is in the log. A thousand users who come back after a failover would fill it with what is
//! untrue a second later, and if a server is lost, so are only its connections. Each server tells the others
//! of changes, and everything when a link comes up.
//!
//! **What is shown.** A change is shown to those who share a room with the user, by every server to its own
//! clients ([`Presence::news`]). A user who leaves is shown as gone only after a while, so that a client that
//! moves to another server never seems to have left. Rooms with very many members are left out: there these
//! notices would cost more than all messages.

use std::collections::{BTreeMap, BTreeSet};

use crate::protocol::{
    answer::PresenceState as State,
    name::{ServerId, UserKey},
    peer::PeerMessage,
};

/// Rooms with more members do not show who comes and goes; `members` lists it on request.
pub const SHOWN_TO_MAX: u64 = 200;
/// A user who has been gone for this time is shown as gone.
const GONE_MS: u64 = 5_000;
/// Least time between two changes that are shown of one user.
const PAUSE_MS: u64 = 1_000;
/// Most changes that are shown at once. After a failover, when all users come back, the rest may wait.
const NEWS_MAX: usize = 64;

#[derive(Debug, Default)]
struct UserConnections {
    connections: usize,
    is_away: bool,
}

impl UserConnections {
    fn state(&self) -> State {
        if self.is_away { State::Away } else { State::Online }
    }
}

/// The users with open connections, here and elsewhere.
#[derive(Debug, Default)]
pub struct Presence {
    here: BTreeMap<UserKey, UserConnections>,
    elsewhere: BTreeMap<ServerId, BTreeMap<UserKey, State>>,
    /// Users of this server whose state changed since the peers were told.
    untold: BTreeSet<UserKey>,
    /// The last state that clients were shown of each user who is not offline, and when.
    shown: BTreeMap<UserKey, (State, u64)>,
    /// Users whose state may differ from the shown one, and since when.
    changed: BTreeMap<UserKey, u64>,
    /// The user with whom the next round of changes begins.
    next: Option<UserKey>,
}

impl Presence {
    /// A connection of `user` begins here.
    pub fn arrive(&mut self, now_ms: u64, user: UserKey) {
        let here = self.here.entry(user.clone()).or_default();
        here.connections += 1;
        if here.connections == 1 {
            self.touch(now_ms, user);
        }
    }

    /// A connection of `user` ends here.
    pub fn depart(&mut self, now_ms: u64, user: &UserKey) {
        if let Some(here) = self.here.get_mut(user) {
            here.connections -= 1;
            if here.connections == 0 {
                self.here.remove(user);
                self.touch(now_ms, user.clone());
            }
        }
    }

    pub fn set_away(&mut self, now_ms: u64, user: &UserKey, is_away: bool) {
        if let Some(here) = self.here.get_mut(user)
            && here.is_away != is_away
        {
            here.is_away = is_away;
            self.touch(now_ms, user.clone());
        }
    }

    fn touch(&mut self, now_ms: u64, user: UserKey) {
        self.untold.insert(user.clone());
        self.changed.insert(user, now_ms);
    }

    /// The state of `user` over all servers.
    pub fn state(&self, user: &UserKey) -> State {
        let here = self.here.get(user).map(UserConnections::state);
        let elsewhere = self.elsewhere.values().filter_map(|users| users.get(user).copied());
        elsewhere.chain(here).max().unwrap_or_default()
    }

    /// All users of this server, for a peer that has just been linked.
    pub fn whole(&self) -> PeerMessage {
        self.told(true, self.here.keys())
    }

    /// The changes since the last call, for all peers.
    pub fn take_change(&mut self) -> Option<PeerMessage> {
        let untold = std::mem::take(&mut self.untold);
        (!untold.is_empty()).then(|| self.told(false, untold.iter()))
    }

    fn told<'a>(&self, whole: bool, users: impl Iterator<Item = &'a UserKey>) -> PeerMessage {
        let (mut online, mut away, mut offline) = (Vec::new(), Vec::new(), Vec::new());
        for user in users {
            match self.here.get(user).map_or(State::Offline, UserConnections::state) {
                State::Online => online.push(user.clone()),
                State::Away => away.push(user.clone()),
                State::Offline => offline.push(user.clone()),
            }
        }
        PeerMessage::Presence { whole, online, away, offline }
    }

    /// Takes in a peer's users.
    pub fn heard(
        &mut self,
        now_ms: u64,
        from: &ServerId,
        whole: bool,
        online: Vec<UserKey>,
        away: Vec<UserKey>,
        offline: Vec<UserKey>,
    ) {
        let users = self.elsewhere.entry(from.clone()).or_default();
        let gone: Vec<UserKey> =
            if whole { std::mem::take(users).into_keys().collect() } else { offline.clone() };
        for user in &offline {
            users.remove(user);
        }
        let here = online.into_iter().map(|user| (user, State::Online));
        let states: Vec<_> = here.chain(away.into_iter().map(|user| (user, State::Away))).collect();
        let changed = gone.into_iter().chain(states.iter().map(|(user, _)| user.clone()));
        self.changed.extend(changed.map(|user| (user, now_ms)));
        self.elsewhere.entry(from.clone()).or_default().extend(states);
    }

    /// A peer is gone, and its connections with it.
    pub fn unlinked(&mut self, now_ms: u64, peer: &ServerId) {
        let gone = self.elsewhere.remove(peer).unwrap_or_default();
        self.changed.extend(gone.into_keys().map(|user| (user, now_ms)));
    }

    /// Users whose changed state is to be shown now: a bounded number, the others with the next call.
    pub fn news(&mut self, now_ms: u64) -> Vec<(UserKey, State)> {
        let mut changed = std::mem::take(&mut self.changed);
        // Each user's turn comes, however many change all the time.
        let first = self.next.take().map_or_else(BTreeMap::new, |next| changed.split_off(&next));
        let mut news = Vec::new();
        for (user, since_ms) in first.into_iter().chain(changed) {
            if news.len() >= NEWS_MAX {
                self.next.get_or_insert_with(|| user.clone());
                self.changed.insert(user, since_ms);
                continue;
            }
            let state = self.state(&user);
            let (shown, shown_ms) = self.shown.get(&user).copied().unwrap_or_default();
            if state == shown {
                continue;
            }
            let due_ms = match (state, shown) {
                (State::Offline, _) => since_ms.saturating_add(GONE_MS),
                (_, State::Offline) => 0,
                _ => shown_ms.saturating_add(PAUSE_MS),
            };
            if now_ms < due_ms {
                self.changed.insert(user, since_ms);
                continue;
            }
            match state {
                State::Offline => drop(self.shown.remove(&user)),
                state => drop(self.shown.insert(user.clone(), (state, now_ms))),
            }
            news.push((user, state));
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::UserName;

    fn user(name: &str) -> UserKey {
        UserName::new(name).unwrap().key()
    }

    #[test]
    fn a_client_that_moves_never_seems_to_have_left() {
        let (mut presence, alice) = (Presence::default(), user("alice"));
        let other = ServerId::new("server2").unwrap();
        presence.arrive(0, alice.clone());
        assert_eq!(presence.news(0), [(alice.clone(), State::Online)]);
        presence.depart(10, &alice);
        assert!(presence.news(10).is_empty());
        presence.heard(1_000, &other, false, vec![alice.clone()], vec![], vec![]);
        assert!(presence.news(10 + GONE_MS).is_empty());
        presence.unlinked(20_000, &other);
        assert!(presence.news(20_000 + GONE_MS - 1).is_empty());
        assert_eq!(presence.news(20_000 + GONE_MS), [(alice.clone(), State::Offline)]);
        assert!(presence.news(90_000).is_empty() && presence.shown.is_empty() && presence.changed.is_empty());
    }

    #[test]
    fn a_change_back_and_forth_is_shown_seldom_and_as_it_is_then() {
        let (mut presence, alice) = (Presence::default(), user("alice"));
        presence.arrive(0, alice.clone());
        assert_eq!(presence.news(0), [(alice.clone(), State::Online)]);
        for now_ms in 1..PAUSE_MS {
            presence.set_away(now_ms, &alice, now_ms % 2 == 1);
            assert!(presence.news(now_ms).is_empty());
        }
        assert_eq!(presence.news(PAUSE_MS), [(alice.clone(), State::Away)]);
    }

    #[test]
    fn everybody_is_shown_in_the_end_and_few_at_once() {
        let mut presence = Presence::default();
        let count = 2 * NEWS_MAX + 1;
        for number in 0..count {
            presence.arrive(0, user(&format!("u{number}")));
        }
        let mut shown = BTreeSet::new();
        for at_once in [NEWS_MAX, NEWS_MAX, 1, 0] {
            // The users whose names come first change again all the time.
            presence.changed.extend((0..10).map(|number| (user(&format!("u{number}")), 0)));
            let news = presence.news(0);
            assert_eq!(news.len(), at_once);
            shown.extend(news);
        }
        assert_eq!(shown.len(), count);
    }

    #[test]
    fn away_is_away_everywhere_or_not_at_all() {
        let (mut presence, alice) = (Presence::default(), user("alice"));
        let other = ServerId::new("server2").unwrap();
        presence.arrive(0, alice.clone());
        presence.set_away(0, &alice, true);
        assert_eq!(presence.state(&alice), State::Away);
        let Some(PeerMessage::Presence { away, .. }) = presence.take_change() else { panic!("a change") };
        assert_eq!(away, std::slice::from_ref(&alice));
        presence.heard(0, &other, true, vec![alice.clone()], vec![], vec![]);
        assert_eq!(presence.state(&alice), State::Online);
        presence.heard(0, &other, true, vec![], vec![], vec![]);
        assert_eq!(presence.state(&alice), State::Away);
        assert!(presence.take_change().is_none(), "what others say is not said on");
    }
}
