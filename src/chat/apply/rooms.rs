//! Rooms come into being, people come and go, order is kept, old events are forgotten.

use std::collections::BTreeMap;

use super::{
    super::{
        State,
        account::{Holder, Until},
        dedup::{Digest, Slot},
        room::{Import, Role, Room},
        rows,
        rules::FORMER_OWNER,
        user::{Reading, UserId},
    },
    Invitation, Reply, Turn, placed,
};
use crate::{
    planted::{self, Bug, planted},
    protocol::{
        credential::Verifier,
        event::{Event, EventKind},
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
        self.joined(turn, user, id, true)
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

    pub(super) fn enter(&mut self, turn: &mut Turn, user: UserId, room: RoomId, role: Role) {
        self.publish(turn, room, user, EventKind::Joined);
        self.enter_quietly(turn, user, room, role);
    }

    /// Somebody becomes a member without an event that says so. What was said before they came is not unread
    /// to them.
    fn enter_quietly(&mut self, turn: &mut Turn, user: UserId, room_id: RoomId, role: Role) {
        let room = self.room_mut(room_id);
        room.members.insert(user, role);
        let reading = Reading { last_read: room.last_seq, mentions: Vec::new(), since: room.last_seq };
        if room.invited.remove(&user).is_some() {
            turn.effects.rows.push(rows::invited(room_id, user, None));
        }
        if let Some(import) = room.import.as_mut().filter(|import| import.unopened) {
            import.unopened = false;
            turn.effects.rows.push(rows::import(room_id, import));
        }
        turn.effects.rows.push(rows::member(room_id, user, Some(role)));
        turn.effects.rows.push(rows::reading(user, room_id, Some(&reading)));
        self.user_mut(user).rooms.insert(room_id, reading);
        self.member_changed(turn, user, room_id, true);
    }

    /// A person who enters a room in which nobody is any more takes it over. Programs do not count: they own
    /// only what they have made.
    pub(super) fn role_of_newcomer(&self, user: UserId, room: RoomId) -> Role {
        let Some(room) = self.rooms.get(&room) else { return Role::Member };
        let keeps_it = |(id, role): (&UserId, &Role)| *role == Role::Owner || self.is_person(*id);
        let is_free = room.name.direct_pair().is_none() && !room.members.iter().any(keeps_it);
        if is_free && self.is_person(user) { Role::Owner } else { Role::Member }
    }

    fn is_person(&self, user: UserId) -> bool {
        self.users.get(&user).is_some_and(|user| !matches!(user.account.holder, Holder::Bot { .. }))
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
    /// member; one who is muted only where there is nobody else, and a program never. `None` where it has an
    /// owner, or nobody is left.
    fn heir(&self, leaver: UserId, room_id: RoomId, now_ms: u64) -> Option<UserId> {
        let room = self.rooms.get(&room_id)?;
        let others = || room.members.iter().filter(|(id, _)| **id != leaver);
        if others().any(|(_, role)| *role == Role::Owner) {
            return None;
        }
        let heir = others().filter(|(id, _)| self.is_person(**id)).min_by_key(|(id, role)| {
            let user = self.users.get(id);
            let is_muted = **role == Role::Member && room.is_muted(**id, now_ms);
            let since = user.and_then(|user| user.rooms.get(&room_id)).map_or(0, |reading| reading.since);
            (**role != Role::Moderator, is_muted, since, **id)
        });
        heir.map(|(id, _)| *id)
    }

    /// After the event that says so, which is the last that the member gets.
    fn end_membership(&mut self, turn: &mut Turn, user: UserId, room_id: RoomId) {
        let room = self.room_mut(room_id);
        room.members.remove(&user);
        // A mute stays: whoever leaves in order to be heard again comes back muted. So does the pause of a
        // slow room, while it lasts; of those who left before, this is the time to forget it.
        end_pauses(turn, room_id, room);
        self.user_mut(user).rooms.remove(&room_id);
        turn.effects.rows.push(rows::member(room_id, user, None));
        turn.effects.rows.push(rows::reading(user, room_id, None));
        self.member_changed(turn, user, room_id, false);
    }

    /// The answer to a join: the room as it is now.
    pub(super) fn joined(&mut self, turn: &Turn, user: UserId, room_id: RoomId, created: bool) -> Reply {
        let room = self.room_mut(room_id);
        Reply::Joined {
            room_id,
            room: room.name.clone(),
            created,
            private: room.private,
            topic: room.topic.clone(),
            role: room
                .role_word(user, turn.created_at_ms)
                .expect("a join is answered once the user is a member"),
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
                self.invite(turn, room, target, author, true);
                EventKind::Invited { username }
            }
            Moderation::Uninvite { .. } => {
                self.invite(turn, room, target, author, false);
                EventKind::Uninvited { username }
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
        placed(&event)
    }

    fn invite(&mut self, turn: &mut Turn, room_id: RoomId, user: UserId, by: UserId, invited: bool) {
        let room = self.room_mut(room_id);
        match invited {
            true => drop(room.invited.insert(user, Some(by))),
            false => drop(room.invited.remove(&user)),
        }
        turn.effects.rows.push(rows::invited(room_id, user, invited.then_some(by)));
        let room = room.name.clone();
        let (user, by) = (self.user_mut(user).name.key(), self.user_mut(by).name.clone());
        turn.effects.invitations.push(Invitation { user, room, by, invited });
    }

    fn shut_out(&mut self, turn: &mut Turn, room: RoomId, user: UserId, until: Option<Until>) {
        turn.effects.rows.push(rows::banned(room, user, until));
        let entry = self.room_mut(room);
        match until {
            Some(until) => {
                for id in over(&entry.banned, turn.created_at_ms).filter(|id| *id != user) {
                    entry.banned.remove(&id);
                    turn.effects.rows.push(rows::banned(room, id, None));
                }
                entry.banned.insert(user, until);
                if entry.invited.remove(&user).is_some() {
                    turn.effects.rows.push(rows::invited(room, user, None));
                }
            }
            None => drop(entry.banned.remove(&user)),
        }
    }

    fn silence(&mut self, turn: &mut Turn, room: RoomId, user: UserId, until: Option<Until>) {
        let muted = &mut self.room_mut(room).muted;
        // Those whose time is over go when somebody comes.
        for id in over(muted, turn.created_at_ms).filter(|id| until.is_some() && *id != user) {
            muted.remove(&id);
            turn.effects.rows.push(rows::muted(room, id, None));
        }
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
        turn.effects.rows.extend([rows::room(room_id, room), rows::settings(room_id, &room.settings)]);
        end_pauses(turn, room_id, room);
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
        placed(&event)
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
        (first_seq, batch): (u64, Digest),
        events: Vec<(&Imported, EventKind)>,
    ) -> Reply {
        let importer = self.user_or_new(turn, user);
        let room = room.unwrap_or_else(|| self.new_imported_room(turn, importer, name, first_seq));
        let found = self.room_mut(room);
        let unopened = found.import.is_some_and(|import| import.unopened);
        let import = Import { unopened, first_seq, batch };
        found.import = Some(import);
        turn.effects.rows.push(rows::import(room, &import));
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
            let event = self.publish_of(turn, room, author, imported.created_at, kind);
            self.remember_imported(turn, author, room, &event);
            last_seq = event.seq;
        }
        Reply::Placed { room: self.room_name(room), seq: last_seq, duplicate: false }
    }

    /// What was imported is known again when its author sends it once more, as anything that they have said,
    /// unless they have called something else so meanwhile.
    fn remember_imported(&mut self, turn: &mut Turn, author: UserId, room: RoomId, event: &Event) {
        let EventKind::Message(message) = &event.kind else { return };
        let id = Digest::of_id(&message.client_msg_id);
        if self.user_mut(author).sent.find(id).is_some() {
            return;
        }
        let file_id = message.file.as_ref().map(|file| file.file_id);
        let content = Digest::of_content(&event.room.key(), &message.body, message.reply_to, file_id);
        let slot = Slot { id, content, room, seq: event.seq, lamport: event.lamport_timestamp };
        self.remember(turn, author, slot);
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
        room.import = Some(Import { unopened: true, first_seq, batch: Digest::of_events(&[]) });
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
        turn.effects.rows.extend([rows::room(id, room), rows::settings(id, &room.settings)]);
        end_pauses(turn, id, room);
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
}

/// Those of a list whose time is over.
fn over(list: &BTreeMap<UserId, Until>, now_ms: u64) -> impl Iterator<Item = UserId> + use<> {
    let over = list.iter().filter(|(_, until)| !until.lasts(now_ms)).map(|(id, _)| *id);
    over.collect::<Vec<_>>().into_iter()
}

/// Forgets when members of a slow room spoke, where they need not wait any more: all of them where it is slow no
/// longer.
fn end_pauses(turn: &mut Turn, id: RoomId, room: &mut Room) {
    let pause_ms = u64::from(room.settings.slow_s) * 1000;
    room.spoke_ms.retain(|user, spoke_ms| {
        let waits = pause_ms > 0 && turn.created_at_ms < spoke_ms.saturating_add(pause_ms);
        if !waits {
            turn.effects.rows.push(rows::spoke(id, *user, None));
        }
        waits
    });
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
