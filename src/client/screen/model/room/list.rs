//! The list of messages, as a reader walks through it. A step that leads out of what is known leads nowhere.

use crate::protocol::{Event, EventKind, Message, UserKey};

use super::{Item, Room, is_anothers};

impl Room {
    /// Whether an event has rows of its own on the screen.
    fn is_shown(event: &Event) -> bool {
        !matches!(
            event.kind,
            EventKind::Edited { .. } | EventKind::Deleted { .. } | EventKind::Reaction { .. }
        )
    }

    /// Whether the newest event is in the interval that ends at `to`.
    pub(super) fn is_present(&self, to: u64) -> bool {
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
        if let Item::Outgoing(number) = item
            && let Some((&before, _)) = self.outgoing.range(..number).next_back()
        {
            return Some(Item::Outgoing(before));
        }
        let (from, to) = self.interval(item)?;
        self.last_shown(from, if let Item::Event(seq) = item { seq } else { to + 1 })
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
