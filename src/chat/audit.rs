//! The audit log: what users with rights over others did. Who did it, by which right, to whom or to which
//! room, and when; never the text of a message, and no secret.
//!
//! It follows from the commands as they are applied
//! ([`Operation::audited`](super::command::Operation::audited)), so it is the same on every server. It is
//! bounded: the oldest entries make room for new ones.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    access::Context,
    effects::Effects,
    entry::Authority,
    room::{Role, Room},
    rows,
    state::State,
};
use crate::{
    disk::RoomId,
    protocol::{
        audit::{Action, Standing},
        name::{RoomName, UserName},
    },
};

/// Entries that are kept.
pub const AUDIT_MAX: usize = 10_000;

/// The entries, by their numbers: 1, 2, 3, … since the cluster began.
pub(super) type Audit = BTreeMap<u64, Entry>;

/// A deed and its targets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audited {
    pub action: Action,
    /// The room that it was done in.
    pub place: Option<AuditedRoom>,
    /// The user that it was done to.
    pub username: Option<UserName>,
    /// More about it: a role, a time, a name.
    pub detail: Option<String>,
}

/// A room as it was when something was done in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditedRoom {
    pub id: RoomId,
    pub name: RoomName,
    pub private: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When, milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// Who did it; `None` for an operator.
    pub by: Option<UserName>,
    pub standing: Standing,
    pub audited: Audited,
}

impl Audited {
    /// Something done to the cluster.
    pub(super) fn of(action: Action) -> Audited {
        Audited { action, place: None, username: None, detail: None }
    }

    /// Something done in a room.
    pub(super) fn inside(action: Action, state: &State, room: &RoomName) -> Audited {
        let place = state.room_named(room).map(|(id, room)| AuditedRoom::of(id, room));
        Audited { place, ..Audited::of(action) }
    }

    pub(super) fn to(self, username: &UserName) -> Audited {
        Audited { username: Some(username.clone()), ..self }
    }

    pub(super) fn with(self, detail: impl Into<String>) -> Audited {
        Audited { detail: Some(detail.into()), ..self }
    }

    /// Notes the duration; `None`: until it is ended.
    pub(super) fn lasting(self, seconds: Option<u32>) -> Audited {
        match seconds {
            Some(seconds) => self.with(format!("{seconds} s")),
            None => self,
        }
    }
}

impl AuditedRoom {
    pub(super) fn of(id: RoomId, room: &Room) -> AuditedRoom {
        AuditedRoom { id, name: room.name.clone(), private: room.private }
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
