//! One room: its known events, the user's own messages on their way, and how far it was read.
//!
//! Events are kept by their place. The known places may have gaps, for example after a jump to something old.
//! A reader stays inside one interval of `Spans`; at its edges more is asked for. Edits, deletions and
//! reactions are shown in the message that they change.
//!
//! | file | what it is |
//! |---|---|
//! | `mod.rs` | the room, its own messages on their way, and how far it was read |
//! | `known.rs` | which events are known: taken in, applied to messages and members, forgotten |
//! | `list.rs` | the list of messages as it is walked through |

mod known;
mod list;

use std::collections::{BTreeMap, BTreeSet};

use crate::protocol::{
    Event, EventKind, RoomName, UserKey, UserName, answer::Member, checked::Seq, mentions::is_group,
    request::HistoryRange,
};

use super::{
    composer::{Aim, Composer},
    spans::Spans,
};

/// A place that an event of a room has.
pub fn place(seq: u64) -> Seq {
    Seq::try_from(seq).unwrap_or_default()
}

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
    /// The user.
    me: UserKey,
    /// The other user, in a direct conversation.
    pub other: Option<UserName>,
    /// What it is about.
    pub topic: String,
    /// Whether everybody may enter it, as far as is known.
    pub is_public: bool,
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
            me: me.clone(),
            other,
            topic: String::new(),
            is_public: false,
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

    /// Counts unread messages anew, if everything behind `last_read` is known; whether it is.
    pub fn recount(&mut self, me: &UserKey) -> bool {
        let Some(last_read) = self.last_read else { return false };
        if last_read >= self.last_seq {
            (self.unread, self.mentions) = (0, 0);
            return true;
        }
        let is_known = self.spans.around(last_read + 1).is_some_and(|(_, to)| self.is_present(to));
        if !is_known {
            return false;
        }
        let unread = self.events.range(last_read + 1..).map(|(_, event)| event);
        let unread: Vec<&Event> = unread.filter(|event| is_anothers(event, me)).collect();
        self.mentions = unread.iter().filter(|event| names(event, me)).count() as u64;
        self.unread = unread.len() as u64;
        true
    }
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
mod tests;
