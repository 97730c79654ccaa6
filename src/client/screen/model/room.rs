//! One room: its known events, the user's own messages on their way, and how far it was read.
//!
//! Events are kept by their place. The known places may have gaps, for example after a jump to something old.
//! A reader stays inside one interval of `Spans`; at its edges more is asked for. Edits, deletions and
//! reactions are shown in the message that they change.

use std::collections::{BTreeMap, BTreeSet};

use crate::protocol::{
    Event, EventKind, Message, RoomName, UserKey, UserName, answer::Member, mentions::is_group,
    request::HistoryRange,
};

use super::{
    composer::{Aim, Composer},
    spans::Spans,
};

/// Events of a room that are kept while a user reads it.
const EVENTS_MAX: usize = 20_000;
/// Events that are kept of a room that is not shown.
const EVENTS_BEHIND: usize = 500;

/// Something in the list of messages, in the order in which it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Item {
    /// The event at this place.
    Event(u64),
    /// An own message without a place, by the order of sending.
    Outgoing(u64),
}

/// The state of an own message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Kept, and on its way or waiting.
    Pending,
    /// At its place; the event itself has not come yet.
    Committed,
    /// Refused for good.
    Failed(String),
}

/// An own message whose event has not come yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    pub client_msg_id: String,
    pub body: String,
    pub reply_to: Option<u64>,
    /// Since when, milliseconds since 1970.
    pub at_ms: u64,
    pub state: State,
    /// Whether the connection was lost while it was on its way.
    pub again: bool,
}

/// What is at the top of the list of messages, or at its bottom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScrollPosition {
    /// The first unread message is at the top; like `Present` if there is none, or if all unread ones fit.
    FirstUnread,
    /// The newest is at the bottom.
    Present,
    /// This row of this item is at the top.
    Row(Item, usize),
}

/// Whether the user is in the room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Joining {
    Asked,
    Joined,
    /// No, for this reason.
    Refused(String),
}

#[derive(Debug)]
pub struct Room {
    pub name: RoomName,
    /// The other user, in a direct conversation.
    pub other: Option<UserName>,
    /// What it is about.
    pub topic: String,
    /// Whether the user is in it.
    pub joining: Joining,
    /// Until then the events that come with a join may still arrive.
    pub events_until_ms: u64,
    /// The newest event that is known to exist.
    pub last_seq: u64,
    /// The first event that the room has, once that is known.
    pub begins: Option<u64>,
    /// How many members it has, as far as is known.
    pub member_count: u64,
    /// Its members, once they were asked for.
    pub members: Vec<Member>,
    /// The events that can be shown or change one that is.
    pub events: BTreeMap<u64, Event>,
    /// Which places are known.
    pub spans: Spans,
    /// Own messages whose events have not come yet.
    pub outgoing: BTreeMap<u64, Outgoing>,
    next_outgoing: u64,
    /// The last event that a person has read, once that is known.
    pub last_read: Option<u64>,
    /// Messages of others behind that.
    pub unread: u64,
    /// Those of them that name the user.
    pub mentions: u64,
    /// The line "unread from here" is behind this event.
    pub unread_from: Option<u64>,
    pub at: ScrollPosition,
    pub selected: Option<Item>,
    /// What is being written.
    pub composer: Composer,
    /// The places of the pinned messages.
    pub pins: BTreeSet<u64>,
    /// Pages that are asked for and have not come yet.
    pub asked: Vec<HistoryRange>,
    /// Whether members were asked for.
    pub members_asked: bool,
}

impl Room {
    /// A room without known events; `me` is the user.
    pub fn new(name: RoomName, me: &UserKey) -> Room {
        let other = name.direct_pair().map(|(one, other)| if one.key() == *me { other } else { one });
        Room {
            name,
            other,
            topic: String::new(),
            joining: Joining::Asked,
            events_until_ms: 0,
            last_seq: 0,
            begins: None,
            member_count: 0,
            members: vec![],
            events: BTreeMap::new(),
            spans: Spans::default(),
            outgoing: BTreeMap::new(),
            next_outgoing: 0,
            last_read: None,
            unread: 0,
            mentions: 0,
            unread_from: None,
            at: ScrollPosition::FirstUnread,
            selected: None,
            composer: Composer::default(),
            pins: BTreeSet::new(),
            asked: vec![],
            members_asked: false,
        }
    }

    /// The name as it is shown: that of the other user, in a direct conversation.
    pub fn title(&self) -> &str {
        self.other.as_ref().map_or(self.name.as_str(), UserName::as_str)
    }

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

    /// The servers do not know the shown events: all are forgotten, except the user's own messages on their
    /// way.
    pub fn begin_anew(&mut self) {
        self.events.clear();
        self.spans = Spans::default();
        (self.last_seq, self.begins, self.last_read, self.unread_from) = (0, None, None, None);
        (self.unread, self.mentions) = (0, 0);
        self.asked.clear();
        self.at = ScrollPosition::Present;
        self.selected = None;
        // The message that is answered or edited is gone; what was typed stays.
        self.composer.aim = Aim::Say;
    }

    /// The room is not shown any more: it opens at the first unread message the next time.
    pub fn leave_screen(&mut self) {
        self.at = ScrollPosition::FirstUnread;
        self.selected = None;
        self.unread_from = None;
        self.trim();
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
        let Some(EventKind::Message(message)) = self.events.get_mut(&target).map(|event| &mut event.kind)
        else {
            return;
        };
        match &event.kind {
            EventKind::Edited { body: Some(body), .. }
                if message.edited.is_none_or(|seq| seq <= event.seq) =>
            {
                message.body.clone_from(body);
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

    /// An own message is kept, to be sent.
    pub fn queue(&mut self, outgoing: Outgoing) {
        self.next_outgoing += 1;
        self.outgoing.insert(self.next_outgoing, outgoing);
    }

    /// How many own messages have no place yet, and may still get one.
    pub fn waiting(&self) -> usize {
        self.outgoing.values().filter(|outgoing| outgoing.state == State::Pending).count()
    }

    /// The own message with this id.
    pub fn outgoing_mut(&mut self, client_msg_id: &str) -> Option<&mut Outgoing> {
        self.outgoing.values_mut().find(|outgoing| outgoing.client_msg_id == client_msg_id)
    }

    /// The event of an own message has come.
    pub fn arrived(&mut self, client_msg_id: &str, seq: u64) {
        let key = self.outgoing.iter().find(|(_, outgoing)| outgoing.client_msg_id == client_msg_id);
        let Some((&key, _)) = key else { return };
        self.outgoing.remove(&key);
        let item = Item::Outgoing(key);
        if self.selected == Some(item) {
            self.selected = Some(Item::Event(seq));
        }
        if let ScrollPosition::Row(at, row) = self.at
            && at == item
        {
            self.at = ScrollPosition::Row(Item::Event(seq), row);
        }
    }

    /// Whether an event has rows of its own on the screen.
    fn is_shown(event: &Event) -> bool {
        !matches!(
            event.kind,
            EventKind::Edited { .. } | EventKind::Deleted { .. } | EventKind::Reaction { .. }
        )
    }

    /// Whether the newest event is in the interval that ends at `to`.
    fn is_present(&self, to: u64) -> bool {
        to >= self.last_seq
    }

    /// The interval that contains `item`.
    fn interval(&self, item: Item) -> Option<(u64, u64)> {
        match item {
            Item::Event(seq) => self.spans.around(seq),
            Item::Outgoing(_) => self.spans.newest().filter(|&(_, to)| self.is_present(to)),
        }
    }

    /// The item above `item`, if it is known.
    pub fn before(&self, item: Item) -> Option<Item> {
        let (from, to) = self.interval(item)?;
        let end = match item {
            Item::Outgoing(number) => {
                if let Some((&before, _)) = self.outgoing.range(..number).next_back() {
                    return Some(Item::Outgoing(before));
                }
                to + 1
            }
            Item::Event(seq) => seq,
        };
        self.last_shown(from, end)
    }

    fn last_shown(&self, from: u64, end: u64) -> Option<Item> {
        let mut events = self.events.range(from..end.max(from)).rev();
        events.find(|(_, event)| Room::is_shown(event)).map(|(&seq, _)| Item::Event(seq))
    }

    /// The item below `item`, if it is known.
    pub fn after(&self, item: Item) -> Option<Item> {
        match item {
            Item::Outgoing(number) => {
                self.outgoing.range(number + 1..).next().map(|(&next, _)| Item::Outgoing(next))
            }
            Item::Event(seq) => {
                let (_, to) = self.spans.around(seq)?;
                let mut events = self.events.range(seq + 1..=to.max(seq + 1));
                let next = events.find(|(seq, event)| **seq <= to && Room::is_shown(event));
                let first_outgoing = || self.outgoing.keys().next().copied().map(Item::Outgoing);
                match next {
                    Some((&seq, _)) => Some(Item::Event(seq)),
                    None if self.is_present(to) => first_outgoing(),
                    None => None,
                }
            }
        }
    }

    /// The newest item that is shown; `None` if it is not known.
    pub fn newest(&self) -> Option<Item> {
        if let Some((&number, _)) = self.outgoing.last_key_value() {
            return Some(Item::Outgoing(number));
        }
        let (from, to) = self.spans.newest().filter(|&(_, to)| self.is_present(to))?;
        self.last_shown(from, to + 1)
    }

    /// The first shown item of the interval around `seq`, from `seq` on.
    pub fn shown_from(&self, seq: u64) -> Option<Item> {
        let (from, to) = self.spans.around(seq)?;
        let mut events = self.events.range(seq.max(from)..=to);
        events.find(|(_, event)| Room::is_shown(event)).map(|(&seq, _)| Item::Event(seq))
    }

    /// The first message of another user behind the line "unread from here", if it is known.
    pub fn first_unread(&self, me: &UserKey) -> Option<u64> {
        let from = self.unread_from?;
        let (_, to) = self.spans.around(from + 1)?;
        let mut events = self.events.range(from + 1..=to);
        events.find(|(_, event)| is_anothers(event, me)).map(|(&seq, _)| seq)
    }

    /// Counts unread messages anew, if everything behind `last_read` is known.
    pub fn recount(&mut self, me: &UserKey) {
        let Some(last_read) = self.last_read else { return };
        if last_read >= self.last_seq {
            (self.unread, self.mentions) = (0, 0);
            return;
        }
        let is_known = self.spans.around(last_read + 1).is_some_and(|(_, to)| self.is_present(to));
        if !is_known {
            return;
        }
        let unread = self.events.range(last_read + 1..).map(|(_, event)| event);
        let unread: Vec<&Event> = unread.filter(|event| is_anothers(event, me)).collect();
        self.mentions = unread.iter().filter(|event| names(event, me)).count() as u64;
        self.unread = unread.len() as u64;
    }

    /// The message at `seq`.
    pub fn message(&self, seq: u64) -> Option<(&Event, &Message)> {
        match self.events.get(&seq) {
            Some(event) => match &event.kind {
                EventKind::Message(message) => Some((event, message)),
                _ => None,
            },
            None => None,
        }
    }

    /// Whether there is a message at `item`, so that it can be selected.
    pub fn is_message(&self, item: Item) -> bool {
        match item {
            Item::Event(seq) => self.message(seq).is_some(),
            Item::Outgoing(_) => true,
        }
    }

    /// The user's last message that can be edited.
    pub fn last_own(&self, me: &UserKey) -> Option<u64> {
        let (from, _) = self.spans.newest()?;
        let mut events = self.events.range(from..).rev();
        let own = events.find(|(_, event)| match &event.kind {
            EventKind::Message(message) => event.author.key() == *me && message.deleted.is_none(),
            _ => false,
        });
        own.map(|(&seq, _)| seq)
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

/// Whether an event is a message of another user, which is what counts as unread.
pub fn is_anothers(event: &Event, me: &UserKey) -> bool {
    matches!(&event.kind, EventKind::Message(message) if message.deleted.is_none())
        && event.author.key() != *me
}

/// Whether a message names the user.
pub fn names(event: &Event, me: &UserKey) -> bool {
    let EventKind::Message(message) = &event.kind else { return false };
    message.mentions.iter().any(|user| user.key() == *me || is_group(user.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(seq: u64, kind: EventKind) -> Event {
        let (room, author) = (RoomName::new("den").unwrap(), UserName::new("bob").unwrap());
        Event { room, seq, author, lamport_timestamp: seq, created_at: seq * 1000, kind }
    }

    fn message(seq: u64) -> Event {
        event(seq, EventKind::Message(Message { body: format!("text {seq}"), ..Message::default() }))
    }

    fn room() -> (Room, UserKey) {
        let me = UserName::new("alice").unwrap().key();
        (Room::new(RoomName::new("den").unwrap(), &me), me)
    }

    #[test]
    fn a_reader_stays_inside_what_is_known() {
        let (mut room, _) = room();
        (10..=12).for_each(|seq| room.take(message(seq), true));
        room.take_page(HistoryRange::After(2), vec![message(3), message(4)], 12, true);
        assert_eq!(room.before(Item::Event(10)), None);
        assert_eq!(room.after(Item::Event(4)), None, "5 to 9 are not known");
        room.take_page(HistoryRange::Before(10), (5..=9).map(message).collect(), 12, true);
        assert_eq!(room.after(Item::Event(4)), Some(Item::Event(5)));
        assert_eq!(room.newest(), Some(Item::Event(12)));
    }

    #[test]
    fn edits_and_reactions_change_their_message_and_have_no_rows() {
        let (mut room, _) = room();
        room.take(message(1), true);
        room.take(event(2, EventKind::Edited { target: 1, body: Some("new".into()) }), true);
        let reaction = |remove| EventKind::Reaction { target: 1, emoji: "👍".into(), remove };
        room.take(event(3, reaction(false)), true);
        assert_eq!(room.message(1).unwrap().1.body, "new");
        assert_eq!(room.message(1).unwrap().1.reactions.len(), 1);
        room.take(event(4, reaction(true)), true);
        assert!(room.message(1).unwrap().1.reactions.is_empty());
        assert_eq!((room.after(Item::Event(1)), room.newest()), (None, Some(Item::Event(1))));
        room.take(event(5, EventKind::Deleted { target: 1 }), true);
        assert_eq!(room.message(1).unwrap().1.body, "");
    }

    #[test]
    fn a_change_that_came_before_its_page_is_not_lost() {
        let (mut room, _) = room();
        room.take(message(8), true);
        room.take(event(9, EventKind::Edited { target: 3, body: Some("new".into()) }), true);
        room.take_page(HistoryRange::Before(8), vec![message(3)], 8, true);
        assert_eq!(room.message(3).unwrap().1.body, "new");
    }

    #[test]
    fn own_messages_stand_below_the_newest_until_their_event_comes() {
        let (mut room, me) = room();
        room.take(message(1), true);
        let outgoing = Outgoing {
            client_msg_id: "a-1".into(),
            body: "x".into(),
            reply_to: None,
            at_ms: 0,
            state: State::Pending,
            again: false,
        };
        room.queue(outgoing);
        let item = room.newest().unwrap();
        assert_eq!((room.before(item), room.after(Item::Event(1))), (Some(Item::Event(1)), Some(item)));
        room.selected = Some(item);
        room.take(message(2), true);
        room.arrived("a-1", 2);
        assert_eq!((room.newest(), room.selected), (Some(Item::Event(2)), Some(Item::Event(2))));
        room.last_read = Some(0);
        room.recount(&me);
        assert_eq!(room.unread, 2);
    }

    #[test]
    fn what_is_kept_of_a_room_is_bounded() {
        let (mut room, _) = room();
        (1..=2_000).for_each(|seq| room.take(message(seq), true));
        room.leave_screen();
        assert_eq!(room.events.len(), EVENTS_BEHIND);
        assert_eq!(room.spans.newest(), Some((1_501, 2_000)));
        assert_eq!(room.begins, None, "the beginning has to be asked for again");
        let page: Vec<Event> = (1..=EVENTS_MAX as u64).map(message).collect();
        room.take_page(HistoryRange::Before(1_501), page, 30_000, false);
        assert_eq!(room.events.len(), EVENTS_MAX);
    }
}
