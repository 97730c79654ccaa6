//! Rooms come into being, people come and go, order is kept, old events are forgotten.

use super::{
    super::{
        State,
        account::{Holder, Until},
        room::{Role, Room},
        rows,
        rules::FORMER_OWNER,
        user::{Reading, UserId},
    },
    Reply, Turn,
};
use crate::{
    planted::{self, Bug, planted},
    protocol::{
        credential::Verifier,
        event::EventKind,
        export::{Imported, ImportedRoom},
        moderation::{Moderation, RoomSettings},
        name::{RoomName, UserName},
    },
    replica::storage::RoomId,
};

impl State {
    /// A room with its owner; a direct conversation with the two whose it is.
    pub(super) fn create(
        &mut self,
        turn: &mut Turn,
        user: &UserName,
        name: &RoomName,
        private: bool,
        password: Option<&Verifier>,
    ) -> Reply {
        let user = self.user_or_new(turn, user);
        let id = match name.direct_pair() {
            Some((one, other)) => self.begin_conversation(turn, user, name, &[one, other]),
            None => {
                let id = self.new_room(turn, user, name, private);
                if let Some(password) = password {
                    let settings = &mut self.room_mut(id).settings;
                    settings.password = Some(Box::new(password.clone()));
                    settings.password_rev = turn.index;
                    turn.effects.rows.push(rows::settings(id, settings));
                }
                self.enter(turn, user, id, Role::Owner);
                id
            }
        };
        self.joined(user, id, true)
    }

    /// A direct conversation, to which its two always belong. Nobody owns it.
    pub(super) fn begin_conversation(
        &mut self,
        turn: &mut Turn,
        begun_by: UserId,
        name: &RoomName,
        people: &[UserName],
    ) -> RoomId {
        let id = self.new_room(turn, begun_by, name, true);
        for name in people {
            let person = self.user_or_new(turn, name);
            if !self.room_mut(id).members.contains_key(&person) {
                self.enter(turn, person, id, Role::Member);
            }
        }
        id
    }

    fn new_room(&mut self, turn: &mut Turn, creator: UserId, name: &RoomName, private: bool) -> RoomId {
        let user = self.user_mut(creator);
        user.rooms_created += 1;
        turn.effects.rows.push(rows::user(creator, user));
        let id = RoomId(turn.index);
        let room = Room::new(name.clone(), private);
        turn.effects.rows.push(rows::room(id, &room));
        self.room_ids.insert(name.key(), id);
        self.rooms.insert(id, room);
        id
    }

    pub(super) fn enter(&mut self, turn: &mut Turn, user: UserId, room_id: RoomId, role: Role) {
        let room = self.room_mut(room_id);
        room.members.insert(user, role);
        if room.invited.remove(&user) {
            turn.effects.rows.push(rows::invited(room_id, user, false));
        }
        turn.effects.rows.push(rows::member(room_id, user, Some(role)));
        self.user_mut(user).rooms.insert(room_id, Reading::default());
        // What was said before somebody came is not unread to them.
        let joined = self.publish(turn, room_id, user, EventKind::Joined);
        let reading = Reading { last_read: joined.seq, mentions: Vec::new(), since: joined.seq };
        turn.effects.rows.push(rows::reading(user, room_id, Some(&reading)));
        self.user_mut(user).rooms.insert(room_id, reading);
        self.member_changed(turn, user, room_id, true);
    }

    /// Who enters a room in which nobody is any more takes it over.
    pub(super) fn role_of_newcomer(&mut self, room: RoomId) -> Role {
        let room = self.room_mut(room);
        let is_free = room.members.is_empty() && room.name.direct_pair().is_none();
        if is_free { Role::Owner } else { Role::Member }
    }

    pub(super) fn leave(&mut self, turn: &mut Turn, user: UserId, room: RoomId) -> Reply {
        self.hand_over(turn, user, room);
        self.publish(turn, room, user, EventKind::Left);
        self.end_membership(turn, user, room);
        Reply::Left { room_id: room, room: self.room_name(room) }
    }

    /// A room is not left without an owner while anybody is in it. Before the event of the leaving, so that
    /// this stays the last one that the leaver gets.
    fn hand_over(&mut self, turn: &mut Turn, leaver: UserId, room: RoomId) {
        if planted(Bug::OwnerLost) {
            return;
        }
        let Some(heir) = self.heir(leaver, room, turn.created_at_ms) else { return };
        self.give_role(turn, room, heir, Role::Owner);
        self.silence(turn, room, heir, None);
        let username = self.user_mut(heir).name.clone();
        self.publish(turn, room, leaver, EventKind::Role { username, role: Role::Owner.as_str().into() });
    }

    /// Who is to own the room once `leaver` is gone: its longest-standing moderator, else its longest-standing
    /// member; one who is muted, and a program, only where there is nobody else. `None` where it has an
    /// owner, or nobody is left.
    fn heir(&self, leaver: UserId, room_id: RoomId, now_ms: u64) -> Option<UserId> {
        let room = self.rooms.get(&room_id)?;
        let others = || room.members.iter().filter(|(id, _)| **id != leaver);
        if others().any(|(_, role)| *role == Role::Owner) {
            return None;
        }
        let heir = others().min_by_key(|(id, role)| {
            let user = self.users.get(id);
            let is_bot = user.is_some_and(|user| matches!(user.account.holder, Holder::Bot { .. }));
            let is_muted = **role == Role::Member && room.is_muted(**id, now_ms);
            let since = user.and_then(|user| user.rooms.get(&room_id)).map_or(0, |reading| reading.since);
            (is_bot, **role != Role::Moderator, is_muted, since, **id)
        });
        heir.map(|(id, _)| *id)
    }

    /// After the event that says so, which is the last that the member gets.
    fn end_membership(&mut self, turn: &mut Turn, user: UserId, room_id: RoomId) {
        let room = self.room_mut(room_id);
        room.members.remove(&user);
        // A mute stays: whoever leaves in order to be heard again comes back muted. So does the pause of a
        // slow room, while it lasts.
        let pause_ms = u64::from(room.settings.slow_s) * 1000;
        let is_over = |spoke_ms: &mut u64| spoke_ms.saturating_add(pause_ms) <= turn.created_at_ms;
        if room.spoke_ms.get_mut(&user).is_some_and(is_over) {
            room.spoke_ms.remove(&user);
            turn.effects.rows.push(rows::spoke(room_id, user, None));
        }
        self.user_mut(user).rooms.remove(&room_id);
        turn.effects.rows.push(rows::member(room_id, user, None));
        turn.effects.rows.push(rows::reading(user, room_id, None));
        self.member_changed(turn, user, room_id, false);
    }

    /// The answer to a join: the room as it is now.
    pub(super) fn joined(&mut self, user: UserId, room_id: RoomId, created: bool) -> Reply {
        let room = self.room_mut(room_id);
        Reply::Joined {
            room_id,
            room: room.name.clone(),
            created,
            private: room.private,
            topic: room.topic.clone(),
            role: room.members.get(&user).copied().expect("a join is answered once the user is a member"),
            first_seq: room.first_seq(),
            last_seq: room.last_seq,
        }
    }

    pub(super) fn moderate(
        &mut self,
        turn: &mut Turn,
        user: &UserName,
        room: RoomId,
        what: &Moderation,
    ) -> Reply {
        let author = self.user_or_new(turn, user);
        let target = what.target().map(|name| self.user_or_new(turn, name));
        let username = match target {
            Some(target) => self.user_mut(target).name.clone(),
            None => user.clone(),
        };
        let target = target.unwrap_or(author);
        let now_ms = match planted(Bug::BanByLocalClock) {
            true => planted::wall_clock_ms(),
            false => turn.created_at_ms,
        };
        let kind = match what {
            Moderation::Topic { topic } => {
                self.room_mut(room).topic.clone_from(topic);
                turn.effects.rows.push(rows::room(room, self.room_mut(room)));
                EventKind::Topic { topic: topic.clone() }
            }
            Moderation::Invite { .. } => {
                self.room_mut(room).invited.insert(target);
                turn.effects.rows.push(rows::invited(room, target, true));
                EventKind::Invited { username }
            }
            Moderation::Kick { .. } => EventKind::Kicked { username },
            Moderation::Ban { seconds, .. } => {
                self.shut_out(turn, room, target, Some(Until::after(now_ms, *seconds)));
                EventKind::Banned { username, seconds: *seconds }
            }
            Moderation::Unban { .. } => {
                self.shut_out(turn, room, target, None);
                EventKind::Unbanned { username }
            }
            Moderation::Mute { seconds, .. } => {
                // Who is muted keeps no order.
                self.give_role(turn, room, target, Role::Member);
                self.silence(turn, room, target, Some(Until::after(now_ms, *seconds)));
                EventKind::Muted { username, seconds: *seconds }
            }
            Moderation::Unmute { .. } => {
                self.silence(turn, room, target, None);
                EventKind::Unmuted { username }
            }
            Moderation::SetRole { role, .. } => {
                if *role == Role::Owner {
                    self.retire_owners(turn, room);
                }
                self.give_role(turn, room, target, *role);
                self.silence(turn, room, target, None);
                EventKind::Role { username, role: role.as_str().into() }
            }
            Moderation::Configure(settings) => self.configure(turn, room, settings),
        };
        let event = self.publish(turn, room, author, kind);
        let ends = matches!(what, Moderation::Kick { .. } | Moderation::Ban { .. });
        if ends && self.room_mut(room).members.contains_key(&target) {
            self.end_membership(turn, target, room);
        }
        Reply::Placed { room: event.room.clone(), seq: event.seq, duplicate: false }
    }

    fn shut_out(&mut self, turn: &mut Turn, room: RoomId, user: UserId, until: Option<Until>) {
        turn.effects.rows.push(rows::banned(room, user, until));
        let entry = self.room_mut(room);
        match until {
            Some(until) => {
                let is_over = |until: &Until| !until.lasts(turn.created_at_ms);
                let over: Vec<UserId> =
                    entry.banned.iter().filter(|(_, until)| is_over(until)).map(|(id, _)| *id).collect();
                for id in over.into_iter().filter(|id| *id != user) {
                    entry.banned.remove(&id);
                    turn.effects.rows.push(rows::banned(room, id, None));
                }
                entry.banned.insert(user, until);
                if entry.invited.remove(&user) {
                    turn.effects.rows.push(rows::invited(room, user, false));
                }
            }
            None => drop(entry.banned.remove(&user)),
        }
    }

    fn silence(&mut self, turn: &mut Turn, room: RoomId, user: UserId, until: Option<Until>) {
        let muted = &mut self.room_mut(room).muted;
        let before = match until {
            Some(until) => muted.insert(user, until),
            None => muted.remove(&user),
        };
        if before != until {
            turn.effects.rows.push(rows::muted(room, user, until));
        }
    }

    fn give_role(&mut self, turn: &mut Turn, room: RoomId, user: UserId, role: Role) {
        if self.room_mut(room).members.insert(user, role) != Some(role) {
            turn.effects.rows.push(rows::member(room, user, Some(role)));
        }
    }

    /// A room has one owner: those before become moderators.
    fn retire_owners(&mut self, turn: &mut Turn, room: RoomId) {
        let owners = self.room_mut(room).members.iter().filter(|(_, role)| **role == Role::Owner);
        for owner in owners.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.give_role(turn, room, owner, FORMER_OWNER);
        }
    }

    fn configure(&mut self, turn: &mut Turn, room_id: RoomId, wanted: &RoomSettings) -> EventKind {
        let room = self.room_mut(room_id);
        room.private = wanted.private.unwrap_or(room.private);
        let settings = &mut room.settings;
        settings.archived = wanted.archived.unwrap_or(settings.archived);
        settings.slow_s = wanted.slow_s.unwrap_or(settings.slow_s);
        settings.retention = wanted.retention.unwrap_or(settings.retention);
        let is_fast = settings.slow_s == 0;
        let spoke = if is_fast { std::mem::take(&mut room.spoke_ms) } else { Default::default() };
        turn.effects.rows.extend([rows::room(room_id, room), rows::settings(room_id, &room.settings)]);
        turn.effects.rows.extend(spoke.keys().map(|user| rows::spoke(room_id, *user, None)));
        settings_event(room)
    }

    pub(super) fn set_room_password(
        &mut self,
        turn: &mut Turn,
        user: &UserName,
        room_id: RoomId,
        password: Option<&Verifier>,
    ) -> Reply {
        let author = self.user_or_new(turn, user);
        let room = self.room_mut(room_id);
        room.settings.password = password.cloned().map(Box::new);
        room.settings.password_rev = turn.index;
        turn.effects.rows.push(rows::settings(room_id, &room.settings));
        let kind = settings_event(room);
        let event = self.publish(turn, room_id, author, kind);
        Reply::Placed { room: event.room.clone(), seq: event.seq, duplicate: false }
    }

    /// The events go; what is left begins later. The room's `seq` goes on as if nothing had happened.
    pub(super) fn expire(&mut self, turn: &mut Turn, room_id: RoomId, before_seq: u64) -> Reply {
        let room = self.room_mut(room_id);
        room.settings.first_seq = before_seq;
        turn.effects.rows.push(rows::settings(room_id, &room.settings));
        turn.effects.expired.push((room_id, before_seq));
        self.hide_expired(turn, room_id, before_seq);
        Reply::Nothing
    }

    /// Events of another time or cluster get the room's next places, each with its own author and time.
    pub(super) fn import(
        &mut self,
        turn: &mut Turn,
        user: &UserName,
        (room, name): (Option<RoomId>, &RoomName),
        first_seq: u64,
        events: Vec<(&Imported, EventKind)>,
    ) -> Reply {
        let importer = self.user_or_new(turn, user);
        let room = room.unwrap_or_else(|| self.new_imported_room(turn, importer, name, first_seq));
        let mut last_seq = 0;
        for (imported, mut kind) in events {
            let author = self.user_or_new(turn, &imported.author);
            let next = self.room_mut(room).last_seq + 1;
            if let EventKind::Message(message) = &mut kind {
                self.clock.messages += 1;
                message.reply_to = message.reply_to.filter(|seq| (1..next).contains(seq));
                if message.client_msg_id.is_empty() {
                    message.client_msg_id = format!("import-{}-{next}", room.0);
                }
            }
            last_seq = self.publish_of(turn, room, author, imported.created_at, kind).seq;
        }
        Reply::Placed { room: self.room_name(room), seq: last_seq, duplicate: false }
    }

    /// A room for events that begin with `first_seq`. It is private and nobody's, until it is said what it is
    /// to be; but a direct conversation always belongs to its two.
    fn new_imported_room(
        &mut self,
        turn: &mut Turn,
        importer: UserId,
        name: &RoomName,
        first_seq: u64,
    ) -> RoomId {
        let id = self.new_room(turn, importer, name, true);
        let room = self.room_mut(id);
        if first_seq > 1 {
            room.settings.first_seq = first_seq;
            room.last_seq = first_seq - 1;
            turn.effects.rows.push(rows::settings(id, &room.settings));
            turn.effects.expired.push((id, first_seq));
        }
        if let Some((one, other)) = name.direct_pair() {
            for name in [one, other] {
                let person = self.user_or_new(turn, &name);
                self.enter_quietly(turn, person, id, Role::Member);
            }
        }
        id
    }

    /// A room becomes what it was elsewhere. No event says so: its history does.
    pub(super) fn import_room(&mut self, turn: &mut Turn, id: RoomId, info: &ImportedRoom) -> Reply {
        let room = self.room_mut(id);
        let is_direct = room.name.direct_pair().is_some();
        room.private = info.private || is_direct;
        room.topic.clone_from(&info.topic);
        room.settings.archived = info.archived;
        room.settings.slow_s = info.slow_s;
        room.settings.retention = info.retention;
        let spoke = if info.slow_s == 0 { std::mem::take(&mut room.spoke_ms) } else { Default::default() };
        turn.effects.rows.extend([rows::room(id, room), rows::settings(id, &room.settings)]);
        turn.effects.rows.extend(spoke.keys().map(|user| rows::spoke(id, *user, None)));
        for (name, role) in info.members.iter().filter(|_| !is_direct) {
            let user = self.user_or_new(turn, name);
            let room = self.room_mut(id);
            if room.banned.contains_key(&user) {
                continue;
            }
            let is_member = room.members.contains_key(&user);
            if *role == Role::Owner && room.members.get(&user) != Some(&Role::Owner) {
                self.retire_owners(turn, id);
            }
            match is_member {
                true => self.give_role(turn, id, user, *role),
                false => self.enter_quietly(turn, user, id, *role),
            }
        }
        Reply::Placed { room: self.room_name(id), seq: self.room_mut(id).last_seq, duplicate: false }
    }

    /// Somebody becomes a member without an event that says so, and has read everything.
    fn enter_quietly(&mut self, turn: &mut Turn, user: UserId, room_id: RoomId, role: Role) {
        let room = self.room_mut(room_id);
        room.members.insert(user, role);
        let reading = Reading { last_read: room.last_seq, mentions: Vec::new(), since: room.last_seq };
        if room.invited.remove(&user) {
            turn.effects.rows.push(rows::invited(room_id, user, false));
        }
        turn.effects.rows.push(rows::member(room_id, user, Some(role)));
        turn.effects.rows.push(rows::reading(user, room_id, Some(&reading)));
        self.user_mut(user).rooms.insert(room_id, reading);
        self.member_changed(turn, user, room_id, true);
    }
}

fn settings_event(room: &Room) -> EventKind {
    let settings = &room.settings;
    EventKind::Settings {
        private: room.private,
        archived: settings.archived,
        slow_s: settings.slow_s,
        password: settings.password.is_some(),
        keep_days: settings.retention.days,
        keep_events: settings.retention.events,
    }
}
