//! Messages: said, edited, deleted, reacted to, read.

use super::{
    super::{
        State,
        dedup::Slot,
        mention, rows,
        rules::{Place, Saying, has_name},
        user::UserId,
    },
    Reply, Turn, placed,
};
use crate::{
    planted::{Bug, planted},
    protocol::{
        answer::SentAnswer,
        event::{Event, EventKind, Message},
        name::UserName,
    },
    replica::storage::RoomId,
};

impl State {
    pub(super) fn say(
        &mut self,
        turn: &mut Turn,
        user: UserId,
        place: Place,
        saying: &Saying<'_>,
    ) -> SentAnswer {
        let room = match place {
            Place::Room(room) => room,
            Place::Direct { room, with } => {
                let name = self.user_mut(user).name.clone();
                self.begin_conversation(turn, user, &room, &[name, with])
            }
        };
        let mentioned = self.mentioned(room, saying.body);
        let message = Message {
            body: saying.body.into(),
            client_msg_id: saying.client_msg_id.into(),
            reply_to: saying.reply_to,
            mentions: mentioned.iter().map(|id| self.user_mut(*id).name.clone()).collect(),
            file: saying.file_id.and_then(|id| self.file_info(id)),
            display_name: saying.display_name.map(str::to_owned),
            ..Message::default()
        };
        self.clock.messages += 1;
        let event = self.publish(turn, room, user, EventKind::Message(message));
        if let Some(file_id) = saying.file_id {
            self.show_file(turn, file_id, room, event.seq);
        }
        for id in mentioned.into_iter().filter(|id| *id != user) {
            if let Some(reading) = self.user_mut(id).rooms.get_mut(&room) {
                reading.mention(event.seq);
                if planted(Bug::MentionCountedTwice) {
                    reading.mention(event.seq);
                }
                turn.effects.rows.push(rows::reading(id, room, Some(reading)));
            }
        }
        if self.room_mut(room).settings.slow_s > 0 {
            self.room_mut(room).spoke_ms.insert(user, turn.created_at_ms);
            turn.effects.rows.push(rows::spoke(room, user, Some(turn.created_at_ms)));
        }
        let slot = Slot {
            id: saying.id,
            content: saying.content,
            room,
            seq: event.seq,
            lamport: event.lamport_timestamp,
        };
        self.remember(turn, user, slot);
        SentAnswer {
            client_msg_id: saying.client_msg_id.into(),
            room: event.room.clone(),
            seq: event.seq,
            lamport_timestamp: event.lamport_timestamp,
            duplicate: false,
        }
    }

    /// Notes a message of the user, which is known by it when it comes again.
    pub(super) fn remember(&mut self, turn: &mut Turn, user: UserId, slot: Slot) {
        let place = self.user_mut(user).sent.remember(slot);
        turn.effects.rows.push(rows::sent(user, place, &slot));
    }

    /// The members of the room whom a text names, each once, in the order of their numbers.
    fn mentioned(&self, room: RoomId, body: &str) -> Vec<UserId> {
        let Some(room) = self.rooms.get(&room) else { return Vec::new() };
        let names = mention::names(body).into_iter();
        let ids = names.filter_map(|name| self.user_ids.get(&name.key()).copied());
        let members: std::collections::BTreeSet<_> = ids.filter(|id| room.members.contains_key(id)).collect();
        members.into_iter().collect()
    }

    /// Whom the message named, and does no more, has nothing to look for in it. (Whom an edit names anew is
    /// not called: they may have read past it long ago.)
    fn take_mentions_back(&mut self, turn: &mut Turn, room: RoomId, target: &Event, still: &[UserId]) {
        let EventKind::Message(message) = &target.kind else { return };
        for name in &message.mentions {
            let Some(id) = self.user_ids.get(&name.key()).copied() else { continue };
            if still.contains(&id) {
                continue;
            }
            if let Some(reading) = self.user_mut(id).rooms.get_mut(&room)
                && reading.no_mention(target.seq)
            {
                turn.effects.rows.push(rows::reading(id, room, Some(reading)));
            }
        }
    }

    pub(super) fn edit(
        &mut self,
        turn: &mut Turn,
        user: &UserName,
        room: RoomId,
        target: &Event,
        last_edit: Option<&Event>,
        body: &str,
    ) -> Reply {
        let user = self.user_or_new(turn, user);
        let kind = EventKind::Edited { target: target.seq, body: Some(body.into()) };
        let event = self.publish(turn, room, user, kind);
        let mentioned = self.mentioned(room, body);
        self.take_mentions_back(turn, room, target, &mentioned);
        let mentions = mentioned.into_iter().map(|id| self.user_mut(id).name.clone()).collect();
        change_message(turn, room, target, |message| {
            message.body = body.into();
            message.mentions = mentions;
            message.edited = Some(event.seq);
        });
        empty_edit(turn, room, last_edit);
        placed(&event)
    }

    pub(super) fn delete(
        &mut self,
        turn: &mut Turn,
        user: &UserName,
        room: RoomId,
        target: &Event,
        last_edit: Option<&Event>,
    ) -> Reply {
        let user = self.user_or_new(turn, user);
        let event = self.publish(turn, room, user, EventKind::Deleted { target: target.seq });
        self.take_mentions_back(turn, room, target, &[]);
        let file = match &target.kind {
            EventKind::Message(message) => message.file.as_ref().map(|file| file.file_id),
            _ => None,
        };
        change_message(turn, room, target, |message| {
            *message = Message {
                client_msg_id: std::mem::take(&mut message.client_msg_id),
                reply_to: message.reply_to,
                deleted: Some(event.seq),
                ..Message::default()
            };
        });
        if !planted(Bug::DeletedTextInEdit) {
            empty_edit(turn, room, last_edit);
        }
        if let Some(file) = file.filter(|_| !planted(Bug::FileOutlivesMessage)) {
            self.hide_file(turn, file, room, |seq| seq == target.seq);
        }
        placed(&event)
    }

    pub(super) fn react(
        &mut self,
        turn: &mut Turn,
        user: &UserName,
        room: RoomId,
        target: &Event,
        emoji: &str,
        remove: bool,
    ) -> Reply {
        let id = self.user_or_new(turn, user);
        let name = self.user_mut(id).name.clone();
        let kind = EventKind::Reaction { target: target.seq, emoji: emoji.into(), remove };
        let event = self.publish(turn, room, id, kind);
        change_message(turn, room, target, |message| {
            let users = message.reactions.entry(emoji.into()).or_default();
            if remove {
                users.retain(|other| other.key() != name.key());
            } else if !has_name(users, &name) {
                users.push(name);
            }
            message.reactions.retain(|_, users| !users.is_empty());
        });
        placed(&event)
    }

    pub(super) fn mark_read(&mut self, turn: &mut Turn, user: &UserName, room: RoomId, seq: u64) -> Reply {
        let user = self.user_or_new(turn, user);
        if let Some(reading) = self.user_mut(user).rooms.get_mut(&room) {
            reading.mark(seq);
            if !planted(Bug::ReadingNotStored) {
                turn.effects.rows.push(rows::reading(user, room, Some(reading)));
            }
        }
        Reply::Placed { room: self.room_name(room), seq, duplicate: false }
    }
}

/// Stores the message as `change` makes it.
fn change_message(turn: &mut Turn, room: RoomId, target: &Event, change: impl FnOnce(&mut Message)) {
    let mut event = target.clone();
    if let EventKind::Message(message) = &mut event.kind {
        change(message);
        State::rewrite(turn, room, event);
    }
}

/// The text of an edit that is not the newest any more is kept nowhere.
fn empty_edit(turn: &mut Turn, room: RoomId, last_edit: Option<&Event>) {
    let Some(mut edit) = last_edit.cloned() else { return };
    if let EventKind::Edited { body, .. } = &mut edit.kind {
        *body = None;
        State::rewrite(turn, room, edit);
    }
}
