//! Rooms, their people and their settings.

use std::collections::{BTreeMap, BTreeSet};

use super::{Kind, MEvent, MRoom, Membership, Model, Outcome, lasts};
use crate::{
    chat::{
        Command,
        command::{Ban, Invite, Kick, Mute, RoomSettings, SetRole, Topic, Unban, Uninvite, Unmute},
    },
    protocol::{
        RoomId,
        credential::TokenHash,
        moderation::{self, Retention, Role},
        name::RoomName,
        refusal::Code::{self, BadRequest, Forbidden, NameTaken, NotFound},
    },
};

impl Model {
    pub(super) fn new_room(&mut self, name: &RoomName, private: bool) {
        let pair = name.direct_pair().map(|(one, other)| (one.as_str().into(), other.as_str().into()));
        let room = MRoom {
            id: RoomId::new(self.index, self.now).0,
            old_names: Vec::new(),
            private: private || pair.is_some(),
            pair,
            archived: false,
            slow_ms: 0,
            retention: Retention::default(),
            password: (false, 0),
            topic: String::new(),
            members: BTreeMap::new(),
            muted: BTreeMap::new(),
            invited: BTreeMap::new(),
            banned: BTreeMap::new(),
            spoke: BTreeMap::new(),
            events: BTreeMap::new(),
            pins: Vec::new(),
            first_seq: 1,
            last_seq: 0,
            unopened: false,
            batch: None,
        };
        self.rooms.insert(name.as_str().into(), room);
        self.room_order.push(name.as_str().into());
    }

    /// The number stays, and all that is stored under it.
    pub(super) fn rename_room(&mut self, user: &str, key: &str, name: &str) -> Outcome {
        let room = self.may(user, key, |model, room| !room.archived && model.power(user, room) == 3)?;
        if name.starts_with('@') {
            return Err(BadRequest);
        }
        if name == key {
            return Ok(format!("placed {key} {} true", room.last_seq));
        }
        if self.rooms.contains_key(name) {
            return Err(NameTaken);
        }
        let seq = self.publish(key, user, "renamed", MEvent::Other);
        let mut room = self.rooms.remove(key).unwrap();
        room.old_names.push(key.into());
        self.rooms.insert(name.into(), room);
        let rename = |other: &mut String| {
            if *other == key {
                *other = name.into();
            }
        };
        self.room_order.iter_mut().for_each(rename);
        self.hooks.values_mut().for_each(|hook| rename(&mut hook.room));
        for file in self.files.values_mut() {
            file.home.iter_mut().for_each(rename);
            let shown = std::mem::take(&mut file.shown);
            file.shown = shown
                .into_iter()
                .map(|(room, seq)| (if room == key { name.into() } else { room }, seq))
                .collect();
        }
        Ok(format!("placed {name} {seq} false"))
    }

    /// Nothing of it is kept.
    pub(super) fn delete_room(&mut self, user: &str, key: &str) -> Outcome {
        self.may(user, key, |model, room| model.power(user, room) == 3)?;
        let room = self.rooms.remove(key).unwrap();
        self.room_order.retain(|other| other != key);
        self.hooks.retain(|_, hook| hook.room != key);
        self.files.retain(|_, file| {
            let was_there = file.home.as_deref() == Some(key) || file.shown.iter().any(|(at, _)| at == key);
            file.home.take_if(|home| *home == key);
            file.shown.retain(|(at, _)| at != key);
            !was_there || file.home.is_some() || !file.shown.is_empty()
        });
        self.gone.extend(room.events.into_values().filter_map(|event| match event {
            MEvent::Message(message) => Some(message.body),
            MEvent::Edit(text) => Some(text),
            MEvent::Other => None,
        }));
        self.gone.retain(|text| !text.is_empty());
        Ok(format!("left {key}"))
    }

    pub(super) fn enter(&mut self, user: &str, room: &str, role: Role) {
        let seq = self.publish(room, user, "joined", MEvent::Other);
        let room = self.room(room);
        room.invited.remove(user);
        room.unopened = false;
        let member = Membership { role, since: seq, last_read: seq };
        room.members.insert(user.into(), member);
    }

    pub(super) fn begin_direct(&mut self, user: &str, name: &RoomName) -> Result<(), Code> {
        let (one, other) = name.direct_pair().ok_or(NotFound)?;
        if one.as_str() != user && other.as_str() != user {
            return Err(NotFound);
        }
        if [&one, &other].into_iter().any(|who| self.is_kind(who.as_str(), |kind| *kind == Kind::Closed)) {
            return Err(NotFound);
        }
        Ok(())
    }

    pub(super) fn join(
        &mut self,
        user: &str,
        name: &RoomName,
        private: bool,
        password: Option<u64>,
        shown: Option<u64>,
    ) -> Outcome {
        let key = name.as_str();
        let Some(room) = self.rooms.get(key) else {
            if let Some((one, other)) = name.direct_pair() {
                self.begin_direct(user, name)?;
                self.reaches_other(user, name)?;
                self.new_room(name, true);
                for who in BTreeSet::from([one, other]) {
                    self.enter(who.as_str(), key, Role::Member);
                }
            } else {
                self.new_room(name, private);
                self.room(key).password = (password.is_some(), password.unwrap_or(0));
                self.enter(user, key, Role::Owner);
            }
            return Ok(self.joined(user, key, true));
        };
        if room.members.contains_key(user) {
            return Ok(self.joined(user, key, false));
        }
        let (has_password, rev) = room.password;
        let is_let_in = room.invited.contains_key(user) || (has_password && shown == Some(rev));
        let refused = match () {
            () if self.is_banned(user, room, self.now) => true,
            () if is_let_in => false,
            () => room.private || has_password,
        };
        if refused {
            return Err(if room.private { NotFound } else { Forbidden });
        }
        if room.archived {
            return Err(Forbidden);
        }
        let mut keeps = room.members.iter();
        let is_kept = keeps.any(|(name, member)| member.role == Role::Owner || self.is_person(name));
        let takes_it = room.private && !is_kept && self.is_person(user);
        self.enter(user, key, if takes_it { Role::Owner } else { Role::Member });
        Ok(self.joined(user, key, false))
    }

    pub(super) fn joined(&self, user: &str, key: &str, created: bool) -> String {
        let room = &self.rooms[key];
        format!("joined {key} {created} {} {}", self.role_word(user, room, self.now), room.last_seq)
    }

    pub(super) fn is_person(&self, name: &str) -> bool {
        !self.is_kind(name, |kind| matches!(kind, Kind::Bot { .. }))
    }

    /// The owner's place goes to the longest-standing moderator, else member, but to no program.
    pub(super) fn leave(&mut self, user: &str, key: &str) {
        let room = &self.rooms[key];
        let others: Vec<(&String, &Membership)> =
            room.members.iter().filter(|(name, _)| *name != user).collect();
        let has_owner = others.iter().any(|(_, member)| member.role == Role::Owner);
        let mut heirs: Vec<_> = others
            .iter()
            .filter(|(name, _)| self.is_person(name))
            .map(|(name, member)| {
                let is_moderator = member.role == Role::Moderator;
                let is_muted = self.is_muted(name, room, self.now);
                (!is_moderator, is_muted, member.since, (*name).clone())
            })
            .collect();
        heirs.sort();
        if let (false, Some((.., heir))) = (has_owner, heirs.into_iter().next()) {
            self.room(key).members.get_mut(&heir).unwrap().role = Role::Owner;
            self.room(key).muted.remove(&heir);
            self.publish(key, user, "role", MEvent::Other);
        }
        self.publish(key, user, "left", MEvent::Other);
        self.end_membership(user, key);
    }

    pub(super) fn end_membership(&mut self, user: &str, key: &str) {
        let now = self.now;
        let room = self.room(key);
        room.members.remove(user);
        room.spoke.retain(|_, spoke| now < *spoke + room.slow_ms);
    }

    /// A user who is removed loses the programs that they made there.
    fn send_programs_out(&mut self, by: &str, maker: &str, key: &str) {
        for program in self.user_order.clone() {
            let role = self.rooms[key].members.get(&program).map(|member| member.role);
            let is_theirs = self.makers(&program).iter().any(|it| it == maker);
            if is_theirs && role.is_some_and(|role| role != Role::Owner) {
                self.publish(key, by, "kicked", MEvent::Other);
                self.end_membership(&program, key);
            }
        }
        let is_theirs = |name: &String| name == maker || self.makers(name).iter().any(|it| it == maker);
        let gone: Vec<TokenHash> = self
            .hooks
            .iter()
            .filter(|(_, hook)| hook.room == key && (is_theirs(&hook.made_by) || is_theirs(&hook.bot)))
            .map(|(token, _)| *token)
            .collect();
        gone.iter().for_each(|token| drop(self.hooks.remove(token)));
    }

    /// Commands about a room or its members.
    pub(super) fn moderate(&mut self, user: &str, command: &Command) -> Outcome {
        let (room, target) = match command {
            Command::Topic(Topic { room, .. }) | Command::RoomSettings(RoomSettings { room, .. }) => {
                (room, "")
            }
            Command::Invite(Invite { room, username, .. })
            | Command::Uninvite(Uninvite { room, username })
            | Command::Kick(Kick { room, username })
            | Command::Ban(Ban { room, username, .. })
            | Command::Unban(Unban { room, username })
            | Command::Mute(Mute { room, username, .. })
            | Command::Unmute(Unmute { room, username })
            | Command::SetRole(SetRole { room, username, .. }) => (room, username.as_str()),
            other => panic!("{other:?} is dealt with elsewhere"),
        };
        let key = room.as_str();
        let room = self.may(user, key, |model, room| match command {
            Command::RoomSettings(RoomSettings { changes, .. }) => {
                let keeps =
                    *changes == moderation::RoomSettings { archived: Some(true), ..Default::default() };
                let is_open = !room.archived || changes.archived == Some(false) || keeps;
                is_open && model.power(user, room) == 3
            }
            Command::SetRole(_) => !room.archived && model.power(user, room) == 3,
            Command::Invite(_) | Command::Uninvite(_) if room.private => {
                !room.archived && room.pair.is_none() && model.rank(user, room) >= 2
            }
            Command::Invite(_) | Command::Uninvite(_) => model.writes(user, room, model.now),
            _ => model.keeps_order(user, room),
        })?;
        let already = Ok(format!("placed {key} {} true", room.last_seq));
        let now = self.now;
        let is_member = room.members.contains_key(target);
        let is_above = target != user && self.power(user, room) > self.rank(target, room);
        let is_banned = self.is_banned(target, room, now);
        let until = |seconds: &Option<u32>| seconds.map(|s| now + u64::from(s) * 1000);
        match command {
            Command::Topic(Topic { topic, .. }) if *topic == room.topic => return already,
            Command::Topic(Topic { topic, .. }) => self.room(key).topic.clone_from(topic),
            Command::RoomSettings(RoomSettings { changes, .. }) => {
                let room = self.room(key);
                room.private = changes.private.unwrap_or(room.private);
                room.archived = changes.archived.unwrap_or(room.archived);
                room.retention = changes.retention.unwrap_or(room.retention);
                room.slow_ms = changes.slow_s.map_or(room.slow_ms, |slow_s| u64::from(slow_s) * 1000);
                let slow_ms = room.slow_ms;
                room.spoke.retain(|_, spoke| slow_ms > 0 && now < *spoke + slow_ms);
            }
            Command::Invite(_) => {
                if is_banned {
                    return Err(Forbidden);
                }
                if self.is_kind(target, |kind| *kind == Kind::Closed) {
                    return Err(NotFound);
                }
                if is_member || room.invited.contains_key(target) {
                    return already;
                }
                self.room(key).invited.insert(target.into(), user.into());
            }
            Command::Uninvite(_) => {
                match room.invited.get(target) {
                    None => return already,
                    Some(by) if by != user && !self.keeps_order(user, room) => return Err(Forbidden),
                    Some(_) => drop(self.room(key).invited.remove(target)),
                };
            }
            Command::Unban(_) if !room.banned.contains_key(target) => return already,
            Command::Unban(_) => drop(self.room(key).banned.remove(target)),
            Command::Ban(Ban { seconds, .. }) => {
                if !is_above {
                    return Err(Forbidden);
                }
                if seconds.is_none() && room.banned.get(target) == Some(&None) {
                    return already;
                }
                let room = self.room(key);
                room.banned.retain(|_, until| lasts(*until, now));
                room.banned.insert(target.into(), until(seconds));
                room.invited.remove(target);
            }
            _ if !is_member => return Err(NotFound),
            Command::Unmute(_) if !room.muted.contains_key(target) => return already,
            Command::Unmute(_) => drop(self.room(key).muted.remove(target)),
            Command::SetRole(SetRole { role, .. })
                if room.members[target].role == *role
                    && !(*role == Role::Member
                        && room.muted.get(target).is_some_and(|until| lasts(*until, now))) =>
            {
                return already;
            }
            _ if !is_above => return Err(Forbidden),
            Command::Kick(_) => {}
            Command::Mute(Mute { seconds, .. }) => {
                if seconds.is_none() && room.muted.get(target) == Some(&None) {
                    return already;
                }
                let room = self.room(key);
                room.members.get_mut(target).unwrap().role = Role::Member;
                room.muted.retain(|_, until| lasts(*until, now));
                room.muted.insert(target.into(), until(seconds));
            }
            Command::SetRole(SetRole { role, .. }) => {
                let room = self.room(key);
                if *role == Role::Owner {
                    let owners = room.members.values_mut().filter(|member| member.role == Role::Owner);
                    owners.for_each(|owner| owner.role = Role::Moderator);
                }
                room.members.get_mut(target).unwrap().role = *role;
                room.muted.remove(target);
            }
            other => panic!("{other:?} is dealt with elsewhere"),
        }
        if !target.is_empty() {
            self.user(target);
        }
        let kind = match command {
            Command::Topic(_) => "topic",
            Command::Invite(_) => "invited",
            Command::Uninvite(_) => "uninvited",
            Command::Kick(_) => "kicked",
            Command::Ban(_) => "banned",
            Command::Unban(_) => "unbanned",
            Command::Mute(_) => "muted",
            Command::Unmute(_) => "unmuted",
            Command::SetRole(_) => "role",
            _ => "settings",
        };
        let done = self.done(key, user, kind);
        if matches!(kind, "kicked" | "banned") {
            if is_member {
                self.end_membership(target, key);
            }
            self.send_programs_out(user, target, key);
        }
        Ok(done)
    }
}
