//! Messages, and what becomes of them.

use std::collections::BTreeSet;

use super::{MEvent, MMessage, MRoom, Model, Outcome};
use crate::protocol::{
    moderation::Role,
    name::RoomName,
    refusal::Code::{self, BadRequest, Forbidden, NotFound, RateLimited},
    request::Destination,
};

impl Model {
    pub(super) fn chat(
        &mut self,
        user: &str,
        to: &Destination,
        body: &str,
        id: &str,
        reply_to: Option<u64>,
        file: Option<u8>,
    ) -> Outcome {
        let name = match to {
            Destination::Room(room) => room.clone(),
            Destination::User(with) => RoomName::direct(&crate::protocol::UserName::new(user).unwrap(), with),
        };
        let key = name.as_str();
        let content = (body.to_owned(), reply_to, file);
        if let Some(answer) = self.repeated(user, id, key, &content) {
            return answer;
        }
        let begins = !self.rooms.contains_key(key);
        if begins {
            self.begin_direct(user, &name)?;
            if reply_to.is_some() {
                return Err(BadRequest);
            }
        } else {
            let room = self.may_write(user, key)?;
            if reply_to.is_some_and(|seq| seq == 0 || seq > room.last_seq) {
                return Err(BadRequest);
            }
            self.check_pace(user, room)?;
        }
        if let Some(file) = file {
            let file =
                self.files.get(&file).filter(|file| file.whole && self.reads_file(user, file, self.now));
            file.ok_or(NotFound)?;
        }
        if begins {
            self.new_room(&name, true);
            let (one, other) = name.direct_pair().unwrap();
            let other = if one.as_str() == user { other } else { one };
            self.enter(user, key, Role::Member);
            if other.as_str() != user {
                self.enter(other.as_str(), key, Role::Member);
            }
        }
        Ok(self.say(user, key, id, content))
    }

    pub(super) fn repeated(
        &self,
        user: &str,
        id: &str,
        key: &str,
        content: &(String, Option<u64>, Option<u8>),
    ) -> Option<Outcome> {
        let (room, seq, before) = self.sent.get(&(user.into(), id.into()))?;
        let is_same = room == key && before == content;
        Some(if is_same { Ok(format!("sent {key} {seq} true")) } else { Err(BadRequest) })
    }

    pub(super) fn check_pace(&self, user: &str, room: &MRoom) -> Result<(), Code> {
        let Some(spoke) = room.spoke.get(user) else { return Ok(()) };
        let waits = *spoke <= self.now && self.now < spoke + room.slow_ms;
        if waits && !self.keeps_order(user, room) { Err(RateLimited) } else { Ok(()) }
    }

    pub(super) fn say(
        &mut self,
        user: &str,
        key: &str,
        id: &str,
        content: (String, Option<u64>, Option<u8>),
    ) -> String {
        let (body, _, file) = content.clone();
        let mentions = self.named(key, &body);
        let message = MMessage {
            author: user.into(),
            body,
            file,
            mentions: mentions.clone(),
            edited: None,
            deleted: None,
            reactions: BTreeSet::new(),
        };
        let seq = self.publish(key, user, "message", MEvent::Message(message));
        let now = self.now;
        let room = self.room(key);
        for name in mentions.iter().filter(|name| *name != user) {
            room.members.get_mut(name).unwrap().mentions.push(seq);
        }
        if room.slow_ms > 0 {
            room.spoke.insert(user.into(), now);
        }
        if let Some(file) = file {
            let file = self.files.get_mut(&file).unwrap();
            file.shown.insert((key.into(), seq));
        }
        self.sent.insert((user.into(), id.into()), (key.into(), seq, content));
        format!("sent {key} {seq} false")
    }

    /// The bodies of these tests name people as words of their own.
    pub(super) fn named(&self, key: &str, body: &str) -> BTreeSet<String> {
        let names = body.split(' ').filter_map(|word| word.strip_prefix('@'));
        names.filter(|name| self.rooms[key].members.contains_key(*name)).map(str::to_owned).collect()
    }

    pub(super) fn message(&mut self, key: &str, seq: u64) -> Result<&mut MMessage, Code> {
        match self.room(key).events.get_mut(&seq) {
            None => Err(NotFound),
            Some(MEvent::Message(message)) => Ok(message),
            Some(_) => Err(BadRequest),
        }
    }

    pub(super) fn living_message(&mut self, key: &str, seq: u64) -> Result<&mut MMessage, Code> {
        let message = self.message(key, seq)?;
        if message.deleted.is_some() { Err(NotFound) } else { Ok(message) }
    }

    pub(super) fn edit(&mut self, user: &str, key: &str, seq: u64, body: &str) -> Outcome {
        self.may_write(user, key)?;
        let message = self.living_message(key, seq)?.clone();
        if message.author != user {
            return Err(Forbidden);
        }
        if message.body == body {
            return Ok(format!("placed {key} {} true", message.edited.unwrap_or(seq)));
        }
        let edit = self.publish(key, user, "edited", MEvent::Edit(body.into()));
        let mentions = self.named(key, body);
        let before = message.edited;
        self.forget_mentions(key, seq, &message.mentions - &mentions);
        self.gone.push(message.body.clone());
        let message = self.message(key, seq).unwrap();
        (message.body, message.mentions, message.edited) = (body.into(), mentions, Some(edit));
        self.empty(key, before);
        Ok(format!("placed {key} {edit} false"))
    }

    pub(super) fn empty(&mut self, key: &str, edit: Option<u64>) {
        if let Some(MEvent::Edit(text)) = edit.and_then(|edit| self.room(key).events.get_mut(&edit)) {
            text.clear();
        }
    }

    pub(super) fn forget_mentions(&mut self, key: &str, seq: u64, names: BTreeSet<String>) {
        for name in &names {
            if let Some(member) = self.room(key).members.get_mut(name) {
                member.mentions.retain(|mention| *mention != seq);
            }
        }
    }

    pub(super) fn delete(&mut self, user: &str, key: &str, seq: u64) -> Outcome {
        let room = self.may(user, key, |model, room| model.sees(user, room, model.now))?;
        let own_ok = !room.archived && room.members.contains_key(user);
        let others_ok = self.keeps_order(user, room);
        let message = self.message(key, seq)?.clone();
        let allowed = if message.author == user { own_ok } else { others_ok };
        if !allowed {
            return Err(Forbidden);
        }
        if let Some(deleted) = message.deleted {
            return Ok(format!("placed {key} {deleted} true"));
        }
        let deleted = self.publish(key, user, "deleted", MEvent::Other);
        self.forget_mentions(key, seq, message.mentions.clone());
        let emptied = MMessage {
            body: String::new(),
            file: None,
            mentions: BTreeSet::new(),
            edited: None,
            deleted: Some(deleted),
            reactions: BTreeSet::new(),
            author: message.author.clone(),
        };
        *self.message(key, seq).unwrap() = emptied;
        self.empty(key, message.edited);
        self.gone.push(message.body);
        if let Some(file) = message.file {
            self.hide(file, key, |shown| shown == seq);
        }
        Ok(format!("placed {key} {deleted} false"))
    }

    /// Messages that showed a file are gone; with the last one goes the file.
    pub(super) fn hide(&mut self, number: u8, key: &str, is_gone: impl Fn(u64) -> bool) {
        let Some(file) = self.files.get_mut(&number) else { return };
        let before = file.shown.len();
        file.shown.retain(|(room, seq)| room != key || !is_gone(*seq));
        if file.shown.len() == before {
            return;
        }
        if file.home.as_deref() == Some(key) && !file.shown.iter().any(|(room, _)| room == key) {
            file.home = None;
        }
        if file.shown.is_empty() {
            self.files.remove(&number);
        }
    }

    pub(super) fn react(&mut self, user: &str, key: &str, seq: u64, emoji: &str, remove: bool) -> Outcome {
        let last_seq = self.may_write(user, key)?.last_seq;
        let reaction = (emoji.to_owned(), user.to_owned());
        let message = self.living_message(key, seq)?;
        let is_news =
            if remove { message.reactions.remove(&reaction) } else { message.reactions.insert(reaction) };
        if !is_news {
            return Ok(format!("placed {key} {last_seq} true"));
        }
        Ok(self.done(key, user, "reaction"))
    }

    pub(super) fn mark_read(&mut self, user: &str, key: &str, seq: u64) -> Outcome {
        let room = self.may(user, key, |_, room| room.members.contains_key(user))?;
        if seq > room.last_seq {
            return Err(BadRequest);
        }
        let member = self.room(key).members.get_mut(user).unwrap();
        if seq <= member.last_read {
            return Ok(format!("placed {key} {} true", member.last_read));
        }
        member.last_read = seq;
        member.mentions.retain(|mention| *mention > seq);
        Ok(format!("placed {key} {seq} false"))
    }
}
