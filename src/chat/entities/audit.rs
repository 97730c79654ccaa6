//! What the audit log says of one deed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::room::Room;
use crate::{
    disk::RoomId,
    protocol::{
        audit::{Action, Standing},
        name::{RoomName, UserName},
    },
};

/// The entries, by their numbers: 1, 2, 3, … since the cluster began.
pub(in crate::chat) type Audit = BTreeMap<u64, Entry>;

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
    pub(in crate::chat) fn of(action: Action) -> Audited {
        Audited { action, place: None, username: None, detail: None }
    }

    pub(in crate::chat) fn to(self, username: &UserName) -> Audited {
        Audited { username: Some(username.clone()), ..self }
    }

    pub(in crate::chat) fn with(self, detail: impl Into<String>) -> Audited {
        Audited { detail: Some(detail.into()), ..self }
    }

    /// Notes the duration; `None`: until it is ended.
    pub(in crate::chat) fn lasting(self, seconds: Option<u32>) -> Audited {
        match seconds {
            Some(seconds) => self.with(format!("{seconds} s")),
            None => self,
        }
    }
}

impl AuditedRoom {
    pub(in crate::chat) fn of(id: RoomId, room: &Room) -> AuditedRoom {
        AuditedRoom { id, name: room.name.clone(), private: room.private }
    }
}
