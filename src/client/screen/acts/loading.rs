//! Asking for what is about to be shown.

use super::super::{
    layout::{areas::messages_area, window::window},
    model::{
        Model,
        room::{Item, Joining, ScrollPosition},
    },
    news::Wish,
};
use crate::protocol::request::{HistoryRange, Members};

/// Items beyond the edge of the screen that are loaded ahead.
const AHEAD: usize = 40;

impl Model {
    /// Asks for history and members that are about to be shown.
    pub(super) fn ask_for_what_is_missing(&mut self) {
        let area = messages_area(self);
        let Some(room) = self.current_room().filter(|room| room.joining == Joining::Joined) else { return };
        let mut wanted = vec![];
        let newest = room.spans.newest();
        if let Some(from) = room.unread_from.filter(|_| room.at == ScrollPosition::FirstUnread)
            && from < room.last_seq
            && room.spans.around(from + 1).is_none()
        {
            wanted.push(HistoryRange::After(from));
        }
        if newest.is_none() && room.last_seq > 0 && self.now_ms >= room.events_until_ms {
            wanted.push(HistoryRange::Last);
        }
        let shown = window(self, room, area.width.into(), area.height.into());
        if let Some(Item::Event(first)) = shown.first()
            && let Some((from, to)) = room.spans.around(first)
        {
            let far = (0..AHEAD).try_fold(Item::Event(first), |item, _| room.before(item));
            if far.is_none() && room.begins.is_none_or(|begins| from > begins) && from > 1 {
                wanted.push(HistoryRange::Before(from));
            }
            let last = shown.last().unwrap_or(Item::Event(first));
            let far = (0..AHEAD).try_fold(last, |item, _| room.after(item));
            if far.is_none() && to < room.last_seq {
                wanted.push(HistoryRange::After(to));
            }
        }
        wanted.retain(|range| !room.asked.contains(range));
        let (name, asks_members) = (room.name.clone(), !room.members_asked);
        if let Some(room) = self.current_room_mut() {
            room.asked.extend(wanted.iter().copied());
            room.members_asked = true;
        }
        if asks_members {
            self.wish(Wish::Ask(Members { room: name.clone(), after: None, limit: None }.into()));
        }
        for range in wanted {
            self.ask_history(&name, range);
        }
    }
}
