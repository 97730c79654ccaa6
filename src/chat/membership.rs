//! Rooms are created, and users become members and stop being members.

use super::{
    effects::{Effects, MemberChange},
    entities::{
        room::{Role, Room},
        user::Reading,
        user_id::UserId,
    },
    reply::Reply,
    rights::RoomKind,
    rows,
    state::State,
};
use crate::{
    disk::RoomId,
    protocol::{
        event::EventKind,
        name::{RoomName, UserName},
    },
};

impl State {
    pub(super) fn new_room(
        &mut self,
        effects: &mut Effects,
        creator: UserId,
        name: &RoomName,
        private: bool,
    ) -> RoomId {
        let user = self.user_mut(creator);
        user.rooms_created += 1;
        effects.rows.push(rows::user(creator, user));
        let id = RoomId::new(effects.index, effects.created_at_ms);
        let room = Room::new(name.clone(), private, creator);
        effects.rows.push(rows::room(id, &room));
        self.room_ids.insert(name.key(), id);
        self.rooms.insert(id, room);
        id
    }

    /// Creates a direct conversation, to which its two users always belong. It has no owner.
    pub(super) fn begin_conversation(
        &mut self,
        effects: &mut Effects,
        begun_by: UserId,
        name: &RoomName,
        users: &[UserName],
    ) -> RoomId {
        let id = self.new_room(effects, begun_by, name, true);
        for name in users {
            let user = self.user_or_new(effects, name);
            if !self.room_mut(id).members.contains_key(&user) {
                self.enter(effects, user, id, Role::Member);
            }
        }
        id
    }

    pub(super) fn enter(&mut self, effects: &mut Effects, user: UserId, room: RoomId, role: Role) {
        self.publish(effects, room, user, EventKind::Joined);
        self.enter_quietly(effects, user, room, role);
    }

    /// The user becomes a member without an event that says so. What was said before is not unread to them.
    pub(super) fn enter_quietly(&mut self, effects: &mut Effects, user: UserId, room_id: RoomId, role: Role) {
        let room = self.room_mut(room_id);
        room.members.insert(user, role);
        let reading = Reading { last_read: room.last_seq, since: room.last_seq };
        if room.invited.remove(&user).is_some() {
            effects.rows.push(rows::invited(room_id, user, None));
        }
        if let Some(import) = room.import.as_mut().filter(|import| import.unopened) {
            import.unopened = false;
            effects.rows.push(rows::import(room_id, import));
        }
        effects.rows.push(rows::member(room_id, user, Some(role)));
        effects.rows.push(rows::reading(user, room_id, Some(&reading)));
        self.user_mut(user).rooms.insert(room_id, reading);
        self.member_changed(effects, user, room_id, true);
    }

    /// A person who joins a private room without human members becomes its owner. A
    /// public room does not go to the first user who comes: an administrator names its owner. Bots own only
    /// the rooms that they made.
    pub(super) fn role_of_newcomer(&self, user: UserId, room: RoomId) -> Role {
        let Some(room) = self.rooms.get(&room) else { return Role::Member };
        let is_free = room.kind() == RoomKind::Private && !self.is_kept(room);
        if is_free && self.is_person(user) { Role::Owner } else { Role::Member }
    }

    pub(super) fn leave(&mut self, effects: &mut Effects, user: UserId, room_id: RoomId) -> Reply {
        self.hand_over(effects, user, room_id);
        self.publish(effects, room_id, user, EventKind::Left);
        self.end_membership(effects, user, room_id);
        Reply::Left { room_id, room: self.room_mut(room_id).name.clone() }
    }

    /// Gives the room another owner, so that it has one while it has members. Called before the event of the
    /// leaving, so that this event is the last one that the user gets.
    fn hand_over(&mut self, effects: &mut Effects, leaver: UserId, room: RoomId) {
        let Some(heir) = self.heir(leaver, room, effects.created_at_ms) else { return };
        self.give_role(effects, room, heir, Role::Owner);
        self.unmute(effects, room, heir);
        let username = self.user_name(heir);
        self.publish(effects, room, leaver, EventKind::Role { username, role: Role::Owner.as_str().into() });
    }

    /// The next owner of the room once `leaver` is gone: its longest-standing moderator, else its
    /// longest-standing member; one who is muted only if there is no other, and a bot never. `None` if it has
    /// an owner, or no other members.
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

    /// Called after the event that says so, which is the last one that the member gets.
    pub(super) fn end_membership(&mut self, effects: &mut Effects, user: UserId, room_id: RoomId) {
        let room = self.room_mut(room_id);
        room.members.remove(&user);
        // A mute stays: a user who leaves in order to be heard again comes back muted. So does the pause of a
        // slow room, while it lasts. The pauses of users who left earlier are forgotten now.
        end_pauses(effects, room_id, room);
        self.user_mut(user).rooms.remove(&room_id);
        effects.rows.push(rows::member(room_id, user, None));
        effects.rows.push(rows::reading(user, room_id, None));
        self.member_changed(effects, user, room_id, false);
    }

    fn member_changed(&mut self, effects: &mut Effects, user: UserId, room: RoomId, joined: bool) {
        let user = self.user_mut(user).name.key();
        effects.membership.push(MemberChange { user, room, joined });
    }

    pub(super) fn give_role(&mut self, effects: &mut Effects, room: RoomId, user: UserId, role: Role) {
        if self.room_mut(room).members.insert(user, role) != Some(role) {
            effects.rows.push(rows::member(room, user, Some(role)));
        }
    }

    /// A room has one owner: those before become moderators.
    pub(super) fn retire_owners(&mut self, effects: &mut Effects, room: RoomId) {
        let owners = self.room_mut(room).members.iter().filter(|(_, role)| **role == Role::Owner);
        for owner in owners.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.give_role(effects, room, owner, Role::Moderator);
        }
    }

    pub(super) fn unmute(&mut self, effects: &mut Effects, room: RoomId, user: UserId) {
        if self.room_mut(room).muted.remove(&user).is_some() {
            effects.rows.push(rows::muted(room, user, None));
        }
    }
}

/// Forgets when members of a slow room spoke if they need not wait any more; all of them if the room is no
/// longer slow.
pub(super) fn end_pauses(effects: &mut Effects, id: RoomId, room: &mut Room) {
    let pause_ms = u64::from(room.settings.slow_s) * 1000;
    room.spoke_ms.retain(|user, spoke_ms| {
        let waits = pause_ms > 0 && effects.created_at_ms < spoke_ms.saturating_add(pause_ms);
        if !waits {
            effects.rows.push(rows::spoke(id, *user, None));
        }
        waits
    });
}
