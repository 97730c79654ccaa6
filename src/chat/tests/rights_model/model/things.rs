//! Webhooks, files, retention and import.

use std::collections::BTreeSet;

use super::{Kind, MEvent, MFile, MHook, MMessage, Model, Outcome};
use crate::{
    chat::Authority,
    disk::RoomId,
    protocol::{
        credential::TokenHash,
        event::EventKind,
        export::Imported,
        moderation::{Retention, Role},
        name::RoomName,
        refusal::Code::{BadRequest, Forbidden, NotFound},
    },
};

impl Model {
    pub(super) fn create_hook(&mut self, user: &str, key: &str, bot: &str, token: TokenHash) -> Outcome {
        self.may(user, key, |model, room| model.keeps_order(user, room))?;
        if !self.is_kind(bot, |kind| *kind == Kind::Bot { made_by: user.into() }) {
            self.must_be_unused(bot)?;
        }
        if self.is_banned(bot, &self.rooms[key], self.now) {
            return Err(Forbidden);
        }
        self.user(bot).kind = Kind::Bot { made_by: user.into() };
        if !self.rooms[key].members.contains_key(bot) {
            self.enter(bot, key, Role::Member);
        }
        self.hooks.insert(token, MHook { room: key.into(), bot: bot.into(), made_by: user.into() });
        Ok(format!("placed {key} {} false", self.rooms[key].last_seq))
    }

    pub(super) fn hook_post(&mut self, token: TokenHash, body: &str, id: &str, goes_on: bool) -> Outcome {
        let hook = self.hooks.get(&token).ok_or(NotFound)?;
        let (bot, key) = (hook.bot.clone(), hook.room.clone());
        if self.is_shut_out(&bot) {
            return Err(Forbidden);
        }
        let content = (body.to_owned(), None, None);
        if let Some(answer) = self.repeated(&bot, id, &key, &content) {
            return answer;
        }
        let room = self.may_write(&bot, &key)?;
        if !goes_on {
            self.check_pace(&bot, room)?;
        }
        Ok(self.say(&bot, &key, id, content))
    }

    pub(super) fn begin_file(&mut self, user: &str, name: &RoomName, number: u8, size: u64) -> Outcome {
        let key = name.as_str();
        let is_there = self.rooms.contains_key(key);
        match is_there {
            true => self.may_write(user, key).map(drop)?,
            false => self.begin_direct(user, name)?,
        }
        self.reaches_other(user, name)?;
        if self.files.contains_key(&number) {
            return Err(BadRequest);
        }
        self.user(user);
        // There are fewer files here than one user may have on their way.
        let file = MFile {
            uploader: user.into(),
            size,
            received: 0,
            whole: false,
            home: is_there.then(|| key.into()),
            shown: BTreeSet::new(),
        };
        self.files.insert(number, file);
        Ok("receiving 0".into())
    }

    pub(super) fn chunk(&mut self, user: &str, number: u8, offset: u64, length: u64) -> Outcome {
        let file = self.files.get_mut(&number).filter(|file| file.uploader == user).ok_or(NotFound)?;
        let end = offset + length;
        let is_piece = offset.is_multiple_of(32 * 1024) && (length == 32 * 1024 || end == file.size);
        if end > file.size || !is_piece {
            return Err(BadRequest);
        }
        if end > file.received {
            if offset != file.received {
                return Err(BadRequest);
            }
            file.received = end;
        }
        Ok(format!("receiving {}", file.received))
    }

    pub(super) fn delete_file(&mut self, user: &str, number: u8) -> Outcome {
        let file = self.files.get(&number).ok_or(NotFound)?;
        if file.uploader != user {
            if !self.reads_file(user, file, self.now) {
                return Err(NotFound);
            }
            let mut rooms = file.home.iter().chain(file.shown.iter().map(|(room, _)| room));
            if !rooms.all(|room| self.keeps_order(user, &self.rooms[room])) {
                return Err(Forbidden);
            }
        }
        let said = match file.whole {
            true => format!("file {}", file.size),
            false => format!("receiving {}", file.received),
        };
        self.files.remove(&number);
        Ok(said)
    }

    pub(super) fn expire(
        &mut self,
        authority: Authority,
        id: RoomId,
        before_seq: u64,
        retention: Retention,
    ) -> Outcome {
        if authority != Authority::Cluster {
            return Err(Forbidden);
        }
        let Some((key, room)) = self.rooms.iter_mut().find(|(_, room)| room.id == id.0) else {
            return Ok("nothing".into());
        };
        let key = &*key.clone();
        if room.retention != retention {
            return Ok("nothing".into());
        }
        // All but the newest may go; if the room keeps a count, no more than exceed it.
        let settled = match (room.retention.days, room.retention.events) {
            (Some(_), _) => room.last_seq,
            (None, Some(events)) => (room.last_seq + 1).saturating_sub(events),
            (None, None) => 0,
        };
        let before_seq = before_seq.min(settled).min(room.last_seq);
        if before_seq > room.first_seq {
            room.first_seq = before_seq;
            room.events.retain(|seq, _| *seq >= before_seq);
            room.pins.retain(|(seq, _)| *seq >= before_seq);
            for number in self.files.keys().copied().collect::<Vec<_>>() {
                self.hide(number, key, |seq| seq < before_seq);
            }
        }
        Ok("nothing".into())
    }

    pub(super) fn import(
        &mut self,
        user: &str,
        authority: Authority,
        name: &RoomName,
        first_seq: u64,
        events: &[Imported],
    ) -> Outcome {
        let key = name.as_str();
        let is_operator = authority == Authority::Operator;
        if name.direct_pair().is_some() && !is_operator {
            return Err(BadRequest);
        }
        let last_seq = match self.rooms.get(key) {
            Some(room) if room.private && !room.unopened && !is_operator => return Err(NotFound),
            Some(room) => Some(room.last_seq),
            None => None,
        };
        if first_seq == 0 {
            return Err(BadRequest);
        }
        let (next, count) = (last_seq.map_or(first_seq, |last_seq| last_seq + 1), events.len() as u64);
        if first_seq != next {
            let batch = self.rooms.get(key).and_then(|room| room.batch.clone());
            let is_done = first_seq + count == next && batch == Some((first_seq, events.to_vec()));
            return if is_done { Ok(format!("placed {key} {} true", next - 1)) } else { Err(BadRequest) };
        }
        self.user(user);
        if last_seq.is_none() {
            self.new_room(name, true);
            let room = self.room(key);
            (room.first_seq, room.last_seq, room.unopened) = (first_seq, first_seq - 1, true);
        }
        self.room(key).batch = Some((first_seq, events.to_vec()));
        let mut seq = 0;
        for event in events {
            let message = MMessage {
                author: event.author.as_str().into(),
                body: match event.event_kind() {
                    Ok(EventKind::Message(message)) => message.body,
                    other => panic!("only messages are imported here: {other:?}"),
                },
                file: None,
                mentions: BTreeSet::new(),
                edited: None,
                deleted: None,
                reactions: BTreeSet::new(),
            };
            seq = self.publish(key, event.author.as_str(), "message", MEvent::Message(message));
        }
        Ok(format!("placed {key} {seq} false"))
    }
}
