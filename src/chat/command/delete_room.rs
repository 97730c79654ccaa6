//! A room is deleted, with everything in it.

use super::super::{
    access::Context,
    effects::{DeletedRoom, Effects, Invitation, MemberChange},
    entities::{audit::Audited, room::Room},
    operation::{Checked, Operation},
    recent::forget_recent,
    reply::Reply,
    rights::Permission,
    rows,
    state::State,
};
use crate::{
    disk::RoomId,
    protocol::{audit::Action, name::UserName, refusal::Refusal},
};

pub use crate::protocol::request::DeleteRoom;

impl Operation for DeleteRoom {
    type Plan = RoomId;

    fn audited(&self, state: &State, context: &Context<'_>) -> Option<Audited> {
        Some(Audited::inside(Action::DeleteRoom, state, context, &self.room))
    }

    fn check(&self, state: &State, context: &Context<'_>) -> Result<Checked<RoomId>, Refusal> {
        let (id, _) = state.may(context, Permission::DeleteRoom, &self.room)?;
        Ok(Checked::Change(id))
    }

    /// No event says so, since none of the room stays. A user who repeats a message to it is told that there
    /// is no such room: its number is never given again.
    fn apply(&self, id: RoomId, state: &mut State, user: &UserName, effects: &mut Effects) -> Reply {
        let by = state.user_or_new(effects, user);
        let by = state.user_name(by);
        let mut room = state.rooms.remove(&id).expect("a plan names rooms that exist");
        state.room_ids.remove(&room.name.key());
        state.hide_deleted(effects, id);
        state.hooks.retain(|token, hook| {
            if hook.room == id {
                effects.rows.push(rows::hook(*token, None));
            }
            hook.room != id
        });
        state.dismiss_all(effects, id, &room, &by);
        let creator = state.user_mut(room.creator);
        creator.rooms_created = creator.rooms_created.saturating_sub(1);
        effects.rows.push(rows::user(room.creator, creator));
        forget_recent(effects, id, &mut room, u64::MAX);
        effects.rows.extend(rows::no_room(id));
        if room.last_seq >= room.first_seq() {
            effects.expired.push((id, room.last_seq + 1));
        }
        Reply::Left { room_id: id, room: room.name }
    }
}

impl State {
    /// Ends the memberships and other ties of users to the room, which is already removed.
    fn dismiss_all(&mut self, effects: &mut Effects, id: RoomId, room: &Room, by: &UserName) {
        let mut members = Vec::new();
        for member in room.members.keys() {
            let user = self.user_mut(*member);
            user.rooms.remove(&id);
            members.push(user.name.key());
            effects.membership.push(MemberChange { user: user.name.key(), room: id, joined: false });
            effects.rows.extend([rows::member(id, *member, None), rows::reading(*member, id, None)]);
        }
        for invited in room.invited.keys() {
            let (user, room, by) = (self.user_mut(*invited).name.key(), room.name.clone(), by.clone());
            effects.invitations.push(Invitation { user, room, room_id: id, by, invited: false });
            effects.rows.push(rows::invited(id, *invited, None));
        }
        effects.rows.extend(room.muted.keys().map(|user| rows::muted(id, *user, None)));
        effects.rows.extend(room.banned.keys().map(|user| rows::banned(id, *user, None)));
        effects.rows.extend(room.spoke_ms.keys().map(|user| rows::spoke(id, *user, None)));
        let (room, by) = (room.name.clone(), by.clone());
        effects.deleted.push(DeletedRoom { room, room_id: id, by, members });
    }
}
