//! Messages as they are stored: the users whom they name, and how later commands change them.

use std::sync::Arc;

use super::{
    access::Context,
    dirty::DirtyRow,
    effects::Effects,
    entities::{dedup::Slot, user_id::UserId},
    rights::Permission,
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
        let block = self.user_mut(user).sent.remember(slot);
        effects.dirty.push(DirtyRow::Sent(user, block));
    }
}

/// A message whose text is replaced or removed, and the edit that was its newest until then.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredMessage {
    pub(super) room: RoomId,
    pub(super) target: Arc<Event>,
    last_edit: Option<Arc<Event>>,
}

impl StoredMessage {
    /// Of the message that the command is about.
    pub(super) fn of(context: &Context<'_>, room: RoomId, target: &Arc<Event>) -> StoredMessage {
        StoredMessage { room, target: Arc::clone(target), last_edit: context.evidence.last_edit.clone() }
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

    /// Changes a stored message so that its text is another one or none. The text in its last edit goes, too.
    pub(super) fn replace_text(&mut self, message: &StoredMessage, change: impl FnOnce(&mut Message)) {
        self.change_message(message.room, &message.target, change);
        let Some(mut edit) = message.last_edit.as_deref().cloned() else { return };
        if let EventKind::Edited { body, .. } = &mut edit.kind {
            *body = None;
            self.rewrite(message.room, &edit);
        }
    }
}
