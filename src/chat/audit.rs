//! The audit log: what users with rights over others did. Who did it, by which right, to whom or to which
//! room, and when; never the text of a message, and no secret.
//!
//! It follows from the commands as they are applied
//! ([`Operation::audited`](super::operation::Operation::audited)), so it is the same on every server. It is
//! bounded: the oldest entries make room for new ones.

use super::{
    access::Context,
    authority::Authority,
    effects::Effects,
    entities::{
        audit::{Audited, AuditedRoom, Entry},
        room::Role,
    },
    rows,
    state::State,
};
use crate::protocol::{
    audit::{Action, Standing},
    name::RoomName,
};

/// Entries that are kept.
pub const AUDIT_MAX: usize = 10_000;

impl Audited {
    /// Something done in a room.
    pub(super) fn inside(action: Action, state: &State, context: &Context<'_>, room: &RoomName) -> Audited {
        let place = state.room_meant(context.room, room).map(|(id, room)| AuditedRoom::of(id, room));
        Audited { place, ..Audited::of(action) }
    }
}

impl State {
    /// The entry for what `context` is about to do, while everything is still as it was.
    pub(super) fn audit_entry(&self, context: &Context<'_>, audited: Audited) -> Entry {
        let room = audited.place.as_ref().and_then(|place| self.room_by_id(place.id));
        let role = room.zip(context.id).and_then(|(room, user)| room.members.get(&user));
        let standing = match (context.authority, role) {
            (Authority::Operator, _) => Standing::Operator,
            (_, Some(Role::Owner)) => Standing::Owner,
            (_, Some(Role::Moderator)) => Standing::Moderator,
            _ => Standing::Administrator,
        };
        let user = || context.id.map_or_else(|| context.user.clone(), |id| self.user_name(id));
        let by = (standing != Standing::Operator).then(user);
        Entry { at_ms: context.now_ms, by, standing, audited }
    }

    pub(super) fn note_deed(&mut self, effects: &mut Effects, entry: Entry) {
        let number = self.audit.last_key_value().map_or(0, |(newest, _)| *newest) + 1;
        effects.rows.push(rows::audit(number, Some(&entry)));
        self.audit.insert(number, entry);
        if self.audit.len() > AUDIT_MAX
            && let Some((oldest, _)) = self.audit.pop_first()
        {
            effects.rows.push(rows::audit(oldest, None));
        }
    }
}
