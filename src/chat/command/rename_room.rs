//! A room gets another name.

use super::super::{
    access::{Context, reserved_room},
    effects::Effects,
    entities::{audit::Audited, room::OLD_NAMES_MAX},
    operation::{Checked, Operation},
    reply::Reply,
    rights::Permission,
    rows,
    state::State,
};
use crate::{
    disk::RoomId,
    protocol::{
        audit::Action,
        event::EventKind,
        name::UserName,
        refusal::{Code, Refusal},
    },
};

pub use crate::protocol::request::RenameRoom;

impl Operation for RenameRoom {
    type Plan = RoomId;

    fn audited(&self, state: &State, context: &Context<'_>) -> Option<Audited> {
        Some(Audited::inside(Action::RenameRoom, state, context, &self.room).with(self.name.as_str()))
    }

    fn check(&self, state: &State, context: &Context<'_>) -> Result<Checked<RoomId>, Refusal> {
        let (id, room) = state.may(context, Permission::Rename, &self.room)?;
        if self.name.direct_pair().is_some() {
            return Err(Refusal::bad_request("name must not be that of a direct conversation"));
        }
        if self.name.is_reserved() {
            return Err(reserved_room(&self.name));
        }
        if room.name == self.name {
            return Ok(Checked::already(&room.name, room.last_seq));
        }
        // Its own name in another case is not taken.
        if state.room_id(&self.name.key()).is_some_and(|other| other != id) {
            return Err(Refusal::new(Code::NameTaken, format!("there is a room {} already", self.name)));
        }
        Ok(Checked::Change(id))
    }

    /// The event is the last one under the old name.
    fn apply(&self, id: RoomId, state: &mut State, user: &UserName, effects: &mut Effects) -> Reply {
        let author = state.user_or_new(effects, user);
        let old_name = state.room_mut(id).name.clone();
        let kind = EventKind::Renamed { name: self.name.clone(), old_name: old_name.clone() };
        let event = state.publish(effects, id, author, kind);
        state.room_ids.remove(&old_name.key());
        state.room_ids.insert(self.name.key(), id);
        let room = state.room_mut(id);
        room.name = self.name.clone();
        room.old_names.push(old_name);
        if room.old_names.len() > OLD_NAMES_MAX {
            room.old_names.remove(0);
        }
        effects.rows.push(rows::room(id, room));
        Reply::Placed { room: self.name.clone(), seq: event.seq, duplicate: false }
    }
}
