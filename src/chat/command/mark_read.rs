//! A member has read a room up to some event.

use serde::{Deserialize, Serialize};

use super::super::{
    access::Context,
    draft::{Asked, Draft, Write},
    effects::{Effects, ReadUpTo},
    operation::{Checked, Operation},
    reply::Reply,
    rights::Permission,
    rows,
    state::State,
};
use crate::{
    disk::RoomId,
    protocol::{
        name::{RoomName, UserName},
        refusal::Refusal,
        request,
    },
};

/// Note that everything up to an event has been read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MarkRead {
    pub room: RoomName,
    /// The last event that has been read.
    pub seq: u64,
}

impl Write for request::MarkRead {
    type Becomes = MarkRead;

    fn draft(self, _: &Asked<'_>) -> Result<Draft<Self::Becomes>, Refusal> {
        let request::MarkRead { room, seq } = self;
        Ok(MarkRead { room, seq: seq.get() }.into())
    }
}

impl Operation for MarkRead {
    type Plan = RoomId;

    fn check(&self, state: &State, context: &Context<'_>) -> Result<Checked<RoomId>, Refusal> {
        let (room, found) = state.may(context, Permission::MarkRead, &self.room)?;
        if self.seq > found.last_seq {
            return Err(Refusal::bad_request(format!("seq must be at most {}", found.last_seq)));
        }
        let user = context.id.and_then(|id| state.users.get(&id));
        let last_read = user.and_then(|user| user.rooms.get(&room)).map_or(0, |reading| reading.last_read);
        if self.seq <= last_read {
            return Ok(Checked::already(&found.name, last_read));
        }
        Ok(Checked::Change(room))
    }

    fn apply(&self, room: RoomId, state: &mut State, user: &UserName, effects: &mut Effects) -> Reply {
        let user = state.user_or_new(effects, user);
        if let Some(reading) = state.user_mut(user).rooms.get_mut(&room) {
            reading.mark(self.seq);
            effects.rows.push(rows::reading(user, room, Some(reading)));
            effects.read.push(ReadUpTo { user, room, seq: self.seq });
        }
        Reply::Placed { room: state.room_mut(room).name.clone(), seq: self.seq, duplicate: false }
    }
}
