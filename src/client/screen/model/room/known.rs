//! Which events of a room are known. They are taken in as they come or page by page, and applied to the
//! messages and members that they are about; what is far from the reader is forgotten.

use crate::protocol::{
    Event, EventKind, Message, UserName,
    answer::Member,
    mentions::{is_group, mentioned},
    request::HistoryRange,
};

use super::Room;

/// Events of a room that are kept while a user reads it.
pub(super) const EVENTS_MAX: usize = 20_000;
/// Events that are kept of a room that is not shown.
pub(super) const EVENTS_BEHIND: usize = 500;

/// Roles of those who may name a whole room.
const KEEPS_ORDER: [&str; 2] = ["owner", "moderator"];

impl Room {
    /// Takes in one event. `live`: it has just happened, or follows without a gap what is known.
    pub fn take(&mut self, event: Event, live: bool) {
        let seq = event.seq;
        self.last_seq = self.last_seq.max(seq);
        self.spans.cover(seq, seq);
        if seq == 1 {
            self.begins = Some(1);
        }
        if live {
            self.change(&event);
            self.change_members(&event);
        }
        self.events.entry(seq).or_insert(event);
    }

    /// A place whose event cannot be read.
    pub fn pass(&mut self, seq: u64) {
        self.last_seq = self.last_seq.max(seq);
        self.spans.cover(seq, seq);
    }

    /// Takes in a page of history that was asked for as `range`.
    pub fn take_page(&mut self, range: HistoryRange, events: Vec<Event>, last_seq: u64, more: bool) {
        self.asked.retain(|asked| *asked != range);
        let first = events.first().map(|event| event.seq);
        let last = events.last().map(|event| event.seq);
        match range {
            HistoryRange::Before(before) => {
                if !more {
                    self.begins = Some(first.unwrap_or(before));
                }
                if let Some(first) = first {
                    self.spans.cover(first, before.saturating_sub(1).max(first));
                }
            }
            HistoryRange::After(after) => {
                let end = if more { last } else { Some(last_seq.max(after)) };
                // Events that the servers have forgotten count as known: there are none.
                if let Some(end) = end {
                    self.spans.cover(after + 1, end);
                }
            }
            HistoryRange::Last | HistoryRange::Since(_) => {
                if let (Some(first), Some(last)) = (first, last) {
                    self.spans.cover(first, last);
                }
            }
        }
        self.last_seq = self.last_seq.max(last_seq);
        let (first, last) = (first.unwrap_or(0), last.unwrap_or(0));
        for event in events {
            self.events.entry(event.seq).or_insert(event);
        }
        // Events that are newer than the page may have arrived before it.
        let later: Vec<Event> = self.events.range(last_seq + 1..).map(|(_, event)| event.clone()).collect();
        for event in later {
            self.change(&event);
        }
        self.bound(first, last);
    }

    /// Forgets what is farthest from `first..=last`, if too much is kept.
    fn bound(&mut self, first: u64, last: u64) {
        while self.events.len() > EVENTS_MAX {
            let (oldest, newest) = (self.events.keys().next(), self.events.keys().next_back());
            let (Some(&oldest), Some(&newest)) = (oldest, newest) else { return };
            if first.saturating_sub(oldest) > newest.saturating_sub(last) {
                self.events.pop_first();
                self.spans.keep(oldest + 1, u64::MAX);
                self.begins = None;
            } else {
                self.events.pop_last();
                self.spans.keep(0, newest.saturating_sub(1));
            }
        }
    }

    /// Keeps the newest events only.
    pub fn trim(&mut self) {
        let Some((from, to)) = self.spans.newest() else { return };
        let count = self.events.range(from..=to).count();
        let at = self.events.range(from..=to).nth(count.saturating_sub(EVENTS_BEHIND)).map(|(&seq, _)| seq);
        let from = at.unwrap_or(from);
        if self.events.len() > EVENTS_BEHIND && from > 1 {
            self.spans.keep(from, to);
            self.events = self.events.split_off(&from);
            self.begins = None;
        }
    }

    /// Applies an event to the message that it is about.
    fn change(&mut self, event: &Event) {
        let (target, author) = match &event.kind {
            EventKind::Edited { target, .. }
            | EventKind::Deleted { target }
            | EventKind::Reaction { target, .. } => (*target, &event.author),
            EventKind::Settings { private, .. } => {
                self.is_public = !private;
                return;
            }
            EventKind::Topic { topic } => {
                self.topic.clone_from(topic);
                return;
            }
            EventKind::Pinned { target } => {
                self.pins.insert(*target);
                return;
            }
            EventKind::Unpinned { target } => {
                self.pins.remove(target);
                return;
            }
            _ => return,
        };
        let mentions = match &event.kind {
            EventKind::Edited { body: Some(body), .. } => self.names_in(body, author),
            _ => vec![],
        };
        let Some(EventKind::Message(message)) = self.events.get_mut(&target).map(|event| &mut event.kind)
        else {
            return;
        };
        match &event.kind {
            EventKind::Edited { body: Some(body), .. }
                if message.edited.is_none_or(|seq| seq <= event.seq) =>
            {
                message.body.clone_from(body);
                message.mentions = mentions;
                message.edited = Some(event.seq);
            }
            EventKind::Deleted { .. } => {
                message.body.clear();
                message.reactions.clear();
                message.file = None;
                message.deleted = Some(event.seq);
                self.pins.remove(&target);
            }
            EventKind::Reaction { emoji, remove, .. } => react(message, emoji, author, *remove),
            _ => {}
        }
    }

    /// Whom a new text of a message names, by the servers' rule: the event of an edit does not say it.
    fn names_in(&self, body: &str, author: &UserName) -> Vec<UserName> {
        let member = |name: &UserName| self.members.iter().find(|member| member.username.key() == name.key());
        let keeps_order = member(author).is_some_and(|member| KEEPS_ORDER.contains(&member.role.as_str()));
        let is_name = |name: &str| {
            let user = UserName::new(name);
            let is_user = |user: &UserName| user.key() == self.me || member(user).is_some();
            if is_group(name) { keeps_order } else { user.as_ref().is_some_and(is_user) }
        };
        mentioned(body, is_name).into_iter().filter_map(UserName::new).collect()
    }

    /// Whether the user, who may be an administrator of the cluster, may do what moderators may. The servers
    /// decide; before the members are known it counts as allowed.
    pub fn keeps_order(&self, is_administrator: bool) -> bool {
        let is_known = !self.members.is_empty();
        let me = self.members.iter().find(|member| member.username.key() == self.me);
        let has_role = me.is_some_and(|me| KEEPS_ORDER.contains(&me.role.as_str()));
        self.other.is_none() && (!is_known || has_role || (is_administrator && self.is_public))
    }

    fn change_members(&mut self, event: &Event) {
        if !self.members_asked {
            return;
        }
        let at = |members: &[Member], user: &UserName| {
            members.iter().position(|member| member.username.key() == user.key())
        };
        match &event.kind {
            EventKind::Joined if at(&self.members, &event.author).is_none() => {
                let username = event.author.clone();
                // The list tells who made a bot.
                let (role, online, away) = ("member".into(), true, false);
                self.members.push(Member { username, role, online, away, bot: false, created_by: None });
                self.member_count += 1;
            }
            EventKind::Left => self.remove_member(at(&self.members, &event.author)),
            EventKind::Kicked { username } | EventKind::Banned { username, .. } => {
                self.remove_member(at(&self.members, username));
            }
            EventKind::Role { username, role } => {
                if let Some(at) = at(&self.members, username) {
                    self.members[at].role.clone_from(role);
                }
            }
            EventKind::Muted { username, .. } | EventKind::Unmuted { username } => {
                if let Some(at) = at(&self.members, username) {
                    let is_muted = matches!(event.kind, EventKind::Muted { .. });
                    self.members[at].role = if is_muted { "muted" } else { "member" }.into();
                }
            }
            _ => {}
        }
    }

    fn remove_member(&mut self, at: Option<usize>) {
        if let Some(at) = at {
            self.members.remove(at);
            self.member_count = self.member_count.saturating_sub(1);
        }
    }
}

fn react(message: &mut Message, emoji: &str, author: &UserName, remove: bool) {
    let users = message.reactions.entry(emoji.to_owned()).or_default();
    users.retain(|user| user.key() != author.key());
    if !remove {
        users.push(author.clone());
    }
    message.reactions.retain(|_, users| !users.is_empty());
}
