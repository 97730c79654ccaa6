//! A message is pinned, so that newcomers see it first, or unpinned.

use serde::{Deserialize, Serialize};

use super::super::{
    access::Context,
    draft::{Asked, Draft, Write},
    effects::Effects,
    entities::{
        audit::{Audited, AuditedRoom},
        room::{PINS_MAX, Room},
    },
    operation::{Checked, Operation},
    reply::Reply,
    rights::{Permission, RoomKind},
    state::State,
};
use crate::{
    disk::RoomId,
    protocol::{
        audit::Action,
        event::EventKind,
        name::{RoomName, UserName},
        refusal::{Code, Refusal},
        request,
    },
};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    pub room: RoomName,
    pub seq: u64,
}

/// Take a pin off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unpin {
    pub room: RoomName,
    pub seq: u64,
}

impl Write for request::Pin {
    type Becomes = Pin;

    fn draft(self, _: &Asked<'_>) -> Result<Draft<Self::Becomes>, Refusal> {
        Ok(Pin { room: self.room, seq: self.seq.get() }.into())
    }
}

impl Write for request::Unpin {
    type Becomes = Unpin;

    fn draft(self, _: &Asked<'_>) -> Result<Draft<Self::Becomes>, Refusal> {
        Ok(Unpin { room: self.room, seq: self.seq.get() }.into())
    }
}

impl Operation for Pin {
    type Plan = RoomId;

    fn audited(&self, state: &State, context: &Context<'_>) -> Option<Audited> {
        pinned(Action::Pin, state, context, &self.room, self.seq)
    }

    fn target(&self) -> Option<(&RoomName, u64)> {
        Some((&self.room, self.seq))
    }

    fn check(&self, state: &State, context: &Context<'_>) -> Result<Checked<RoomId>, Refusal> {
        let (id, room) = state.may(context, Permission::Pin, &self.room)?;
        state.must_not_be_blocked(context, &room.name)?;
        context.evidence.living_message(&self.room)?;
        if let Some(event) = pinned_by(room, self.seq) {
            return Ok(Checked::already(&room.name, event));
        }
        if room.pins().count() >= PINS_MAX {
            let reason = format!("{} has {PINS_MAX} pinned messages; unpin one first", room.name);
            return Err(Refusal::new(Code::Forbidden, reason));
        }
        Ok(Checked::Change(id))
    }

    /// The event itself changes the list of pins: see `Room::note_pin`.
    fn apply(&self, room: RoomId, state: &mut State, user: &UserName, effects: &mut Effects) -> Reply {
        let author = state.user_or_new(effects, user);
        state.publish_reply(effects, room, author, EventKind::Pinned { target: self.seq })
    }
}

impl Operation for Unpin {
    type Plan = RoomId;

    fn audited(&self, state: &State, context: &Context<'_>) -> Option<Audited> {
        pinned(Action::Unpin, state, context, &self.room, self.seq)
    }

    fn target(&self) -> Option<(&RoomName, u64)> {
        Some((&self.room, self.seq))
    }

    fn check(&self, state: &State, context: &Context<'_>) -> Result<Checked<RoomId>, Refusal> {
        let (id, room) = state.may(context, Permission::Pin, &self.room)?;
        context.evidence.message(&self.room)?;
        if pinned_by(room, self.seq).is_none() {
            return Ok(Checked::already(&room.name, room.last_seq));
        }
        Ok(Checked::Change(id))
    }

    fn apply(&self, room: RoomId, state: &mut State, user: &UserName, effects: &mut Effects) -> Reply {
        let author = state.user_or_new(effects, user);
        state.publish_reply(effects, room, author, EventKind::Unpinned { target: self.seq })
    }
}

/// The event that pinned the message, if it is pinned.
fn pinned_by(room: &Room, seq: u64) -> Option<u64> {
    room.pins().find(|pinned| pinned.seq == seq).map(|pinned| pinned.event)
}

/// In a direct conversation both users may pin, so the audit log has nothing of it.
fn pinned(
    action: Action,
    state: &State,
    context: &Context<'_>,
    room: &RoomName,
    seq: u64,
) -> Option<Audited> {
    let (id, room) =
        state.room_meant(context.room, room).filter(|(_, room)| room.kind() != RoomKind::Direct)?;
    Some(Audited { place: Some(AuditedRoom::of(id, room)), ..Audited::of(action) }.with(format!("#{seq}")))
}
