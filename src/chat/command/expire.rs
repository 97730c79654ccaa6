//! A room forgets its oldest events, as its retention asks.

use serde::{Deserialize, Serialize};

use super::super::{
    access::Context,
    effects::Effects,
    operation::{Checked, Operation},
    recent::forget_recent,
    reply::Reply,
    rights::ClusterPermission,
    rows,
    state::State,
};
use crate::{
    disk::RoomId,
    protocol::{moderation::Retention, name::UserName, refusal::Refusal},
};

/// Events that one [`Expire`] may forget: more would keep the disk busy for too long.
pub const EXPIRE_MAX: u64 = 5_000;

/// Forget the events before `before_seq`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expire {
    /// The room, by its number: by then, its name may be another room's.
    pub room: RoomId,
    /// The first event that stays.
    pub before_seq: u64,
    /// The retention that asks for it. If the room has another one by then, nothing is forgotten.
    pub retention: Retention,
}

impl Operation for Expire {
    /// The first event that the room keeps.
    type Plan = u64;

    fn permission(&self) -> ClusterPermission {
        ClusterPermission::Forget
    }

    fn check(&self, state: &State, _: &Context<'_>) -> Result<Checked<Self::Plan>, Refusal> {
        let Some(room) = state.room_by_id(self.room) else {
            // It was deleted since.
            return Ok(Checked::Unchanged(Reply::Nothing));
        };
        // An old proposal must not undo newer settings of the room: neither if its retention is another one
        // now, nor if the same retention keeps more than was thought.
        if self.retention != room.settings.retention {
            return Ok(Checked::Unchanged(Reply::Nothing));
        }
        let settled = match room.settings.retention {
            Retention { days: Some(_), .. } => u64::MAX,
            Retention { days: None, events: Some(events) } => (room.last_seq + 1).saturating_sub(events),
            Retention { days: None, events: None } => 0,
        };
        // The newest event stays, so that a room never looks as if it had none.
        let most = settled.min(room.last_seq).min(room.first_seq() + EXPIRE_MAX);
        let before_seq = self.before_seq.min(most);
        if before_seq <= room.first_seq() {
            return Ok(Checked::Unchanged(Reply::Nothing));
        }
        Ok(Checked::Change(before_seq))
    }

    /// The room's `seq` goes on; it never starts again.
    fn apply(&self, before_seq: u64, state: &mut State, _: &UserName, effects: &mut Effects) -> Reply {
        let (id, room) = (self.room, state.room_mut(self.room));
        room.settings.first_seq = before_seq;
        effects.rows.push(rows::settings(id, &room.settings));
        forget_recent(effects, id, room, before_seq);
        effects.expired.push((id, before_seq));
        state.hide_expired(effects, id, before_seq);
        Reply::Nothing
    }
}
