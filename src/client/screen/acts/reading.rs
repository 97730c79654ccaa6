//! What counts as read.

use super::super::{
    layout::{areas::messages_area, window::window},
    model::{Model, room},
    news::Wish,
};

impl Model {
    /// Marks what has been on the screen as read, unless the user only peeks.
    pub(super) fn mark_seen(&mut self) {
        if self.peek {
            return;
        }
        let Some(room) = self.current_room() else { return };
        let area = messages_area(self);
        let shown = window(self, room, area.width.into(), area.height.into());
        if let Some(seq) = shown.last_seq() {
            // The newest events may have no rows.
            let seq = if shown.is_present { room.last_seq } else { seq };
            self.mark_read(seq);
        }
    }

    pub(super) fn mark_read(&mut self, seq: u64) {
        let me = self.me.clone();
        let Some(room) = self.current_room_mut() else { return };
        // Before it is known how far it was read, nothing can be marked.
        let Some(last_read) = room.last_read.filter(|&last_read| last_read < seq) else { return };
        room.last_read = Some(seq);
        if seq >= room.last_seq {
            (room.unread, room.mentions) = (0, 0);
        } else {
            let passed = room.events.range(last_read + 1..=seq).map(|(_, event)| event);
            let passed: Vec<_> = passed.filter(|event| room::is_anothers(event, &me)).collect();
            let mentions = passed.iter().filter(|event| room::names(event, &me)).count() as u64;
            room.unread = room.unread.saturating_sub(passed.len() as u64);
            room.mentions = room.mentions.saturating_sub(mentions);
            room.recount(&me);
        }
        let name = room.name.clone();
        self.wish(Wish::Read { room: name, seq });
    }

    /// Everything in the room that is shown is read.
    pub(super) fn mark_all_read(&mut self) {
        let Some(room) = self.current_room_mut() else { return };
        room.unread_from = None;
        let seq = room.last_seq;
        self.mark_read(seq);
    }
}
