//! Messages, and what becomes of them.

use std::collections::BTreeSet;

use super::{MEvent, MMessage, MRoom, Model, Outcome, Said, Sent, room_of};
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
        let name = room_of(user, to);
        let key = name.as_str();
        let content = (body.to_owned(), reply_to, file);
        if let Some(answer) = self.repeated(user, id, key, &content) {
            return answer;
        }
        let begins = !self.rooms.contains_key(key);
        if begins {
            self.begin_direct(user, &name)?;
            self.reaches_other(user, &name)?;
            if reply_to.is_some() {
                return Err(BadRequest);
            }
        } else {
            self.may_write(user, key)?;
            self.reaches_other(user, &name)?;
            let room = &self.rooms[key];
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

    pub(super) fn repeated(&self, user: &str, id: &str, key: &str, content: &Said) -> Option<Outcome> {
        let Sent { room, name, seq, said } = self.sent.get(&(user.into(), id.into()))?;
        let named = self.rooms.get(key);
        let Some((now, found)) = self.rooms.iter().find(|(_, other)| other.id == *room) else {
            // A user is not told that a room that they may not see has the name of a deleted one.
            let is_seen = named.is_some_and(|named| self.sees(user, named, self.now));
            return Some(Err(if is_seen { BadRequest } else { NotFound }));
        };
        let is_seen = self.sees(user, found, self.now);
        let is_renamed = named.is_some_and(|named| named.id == *room) && found.old_names.contains(name);
        let is_same = said == content && (name == key || (is_renamed && is_seen));
        let shown = if is_seen { now } else { key };
        Some(if is_same { Ok(format!("sent {shown} {seq} true")) } else { Err(BadRequest) })
    }

    pub(super) fn check_pace(&self, user: &str, room: &MRoom) -> Result<(), Code> {
        let person = self.person_of(user);
        let Some(spoke) = room.spoke.get(&person) else { return Ok(()) };
        let waits = *spoke <= self.now && self.now < spoke + room.slow_ms;
        if waits && !self.keeps_order(user, room) && !self.keeps_order(&person, room) {
            Err(RateLimited)
        } else {
            Ok(())
        }
    }

    pub(super) fn say(&mut self, user: &str, key: &str, id: &str, said: Said) -> String {
        let (body, _, file) = said.clone();
        let mentions = self.named(user, key, &body);
        let message = MMessage {
            author: user.into(),
            body,
            file,
            mentions,
            edited: None,
            deleted: None,
            reactions: BTreeSet::new(),
        };
        let seq = self.publish(key, user, "message", MEvent::Message(message));
        let (now, person) = (self.now, self.person_of(user));
        let room = self.room(key);
        if room.slow_ms > 0 {
            room.spoke.insert(person, now);
        }
        if let Some(file) = file {
            let file = self.files.get_mut(&file).unwrap();
            file.shown.insert((key.into(), seq));
        }
        let sent = Sent { room: self.rooms[key].id, name: key.into(), seq, said };
        self.sent.insert((user.into(), id.into()), sent);
        format!("sent {key} {seq} false")
    }

    /// The bodies of these tests name people as separate words. Members who keep order may name all members,
    /// too.
    pub(super) fn named(&self, user: &str, key: &str, body: &str) -> BTreeSet<String> {
        let room = &self.rooms[key];
        let is_named = |name: &&str| match *name {
            "channel" => self.keeps_order(user, room),
            name => room.members.contains_key(name),
        };
        let names = body.split(' ').filter_map(|word| word.strip_prefix('@'));
        names.filter(is_named).map(str::to_owned).collect()
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
        self.reaches_other(user, &RoomName::new(key).unwrap())?;
        if message.body == body {
            return Ok(format!("placed {key} {} true", message.edited.unwrap_or(seq)));
        }
        let edit = self.publish(key, user, "edited", MEvent::Edit(body.into()));
        let mentions = self.named(user, key, body);
        let before = message.edited;
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
        self.room(key).pins.retain(|(pinned, _)| *pinned != seq);
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
        if !remove {
            self.reaches_other(user, &RoomName::new(key).unwrap())?;
        }
        let reaction = (emoji.to_owned(), user.to_owned());
        let message = self.living_message(key, seq)?;
        let is_news =
            if remove { message.reactions.remove(&reaction) } else { message.reactions.insert(reaction) };
        if !is_news {
            return Ok(format!("placed {key} {last_seq} true"));
        }
        Ok(self.done(key, user, "reaction"))
    }

    /// Nothing is said to a user who does not want to hear it.
    pub fn reaches_other(&self, user: &str, room: &RoomName) -> Result<(), Code> {
        let Some((one, other)) = room.direct_pair() else { return Ok(()) };
        let person = self.person_of(user);
        let hears = |other: &str| {
            let blocked = self.users.get(other).map(|other| &other.blocked);
            blocked.is_none_or(|blocked| !blocked.contains(user) && !blocked.contains(&person))
        };
        let other = if one.as_str() == user { other } else { one };
        if hears(other.as_str()) { Ok(()) } else { Err(Forbidden) }
    }

    pub(super) fn block(&mut self, user: &str, other: &str, block: bool) -> Outcome {
        if block && user == other {
            return Err(BadRequest);
        }
        if !self.users.contains_key(other) {
            return Err(NotFound);
        }
        let had = self.users.get(user).is_some_and(|user| user.blocked.contains(other));
        if had != block {
            let blocked = &mut self.user(user).blocked;
            if block {
                blocked.insert(other.into())
            } else {
                blocked.remove(other)
            };
        }
        Ok(format!("account {other}"))
    }

    /// Members who keep order may pin; in a direct conversation, both users.
    fn may_pin(&self, user: &str, key: &str) -> Result<&MRoom, Code> {
        self.may(user, key, |model, room| match room.pair {
            Some(_) => !room.archived && room.members.contains_key(user),
            None => model.keeps_order(user, room),
        })
    }

    pub(super) fn pin(&mut self, user: &str, key: &str, seq: u64) -> Outcome {
        self.may_pin(user, key)?;
        self.reaches_other(user, &RoomName::new(key).unwrap())?;
        self.living_message(key, seq)?;
        if let Some((_, event)) = self.room(key).pins.iter().find(|(pinned, _)| *pinned == seq) {
            return Ok(format!("placed {key} {event} true"));
        }
        let event = self.publish(key, user, "pinned", MEvent::Other);
        self.room(key).pins.insert(0, (seq, event));
        Ok(format!("placed {key} {event} false"))
    }

    pub(super) fn unpin(&mut self, user: &str, key: &str, seq: u64) -> Outcome {
        let last_seq = self.may_pin(user, key)?.last_seq;
        self.message(key, seq)?;
        let pins = &mut self.room(key).pins;
        let Some(at) = pins.iter().position(|(pinned, _)| *pinned == seq) else {
            return Ok(format!("placed {key} {last_seq} true"));
        };
        pins.remove(at);
        Ok(self.done(key, user, "unpinned"))
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
        Ok(format!("placed {key} {seq} false"))
    }
}
