//! Messages as they are stored: the users whom they name, and how later commands change them.

use super::{
    effects::Effects,
    entities::{dedup::Slot, user_id::UserId},
    rights::Permission,
    rows,
    state::State,
};
use crate::{
    disk::RoomId,
    protocol::{
        event::{Event, EventKind, Message},
        mentions::{is_group, mentioned},
        name::UserName,
    },
};

impl State {
    /// Whom a text of `author` names: members of the room, each once, and all of them, if the author may do
    /// that. As events have it: users in the case of their names, all members by the word.
    pub(super) fn mentioned(&self, now_ms: u64, id: RoomId, author: UserId, body: &str) -> Vec<UserName> {
        let Some(room) = self.rooms.get(&id) else { return Vec::new() };
        let named = |name: &str| {
            let name = UserName::new(name)?;
            if is_group(name.as_str()) {
                let may = self.access(room, Some(author), now_ms).allows(Permission::MentionAll);
                return may.then(|| UserName::new(name.key().as_str())).flatten();
            }
            let id = self.user_id(&name.key()).filter(|id| room.members.contains_key(id))?;
            Some(self.user_name(id))
        };
        let mut names: Vec<UserName> = Vec::new();
        for name in mentioned(body, |name| named(name).is_some()).into_iter().filter_map(named) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    /// Notes a message of the user, so that a repeat of it is recognised.
    pub(super) fn remember(&mut self, effects: &mut Effects, user: UserId, slot: Slot) {
        let place = self.user_mut(user).sent.remember(slot);
        effects.rows.push(rows::sent(user, place, &slot));
    }
}

impl Effects {
    /// Changes a stored message by `change`.
    pub(super) fn change_message(&mut self, room: RoomId, target: &Event, change: impl FnOnce(&mut Message)) {
        let mut event = target.clone();
        if let EventKind::Message(message) = &mut event.kind {
            change(message);
            self.rewrite(room, &event);
        }
    }

    /// Removes the text of an edit that is not the newest any more.
    pub(super) fn empty_edit(&mut self, room: RoomId, edit: Option<&Event>) {
        let Some(mut edit) = edit.cloned() else { return };
        if let EventKind::Edited { body, .. } = &mut edit.kind {
            *body = None;
            self.rewrite(room, &edit);
        }
    }
}
