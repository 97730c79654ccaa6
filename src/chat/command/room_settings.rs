//! A room gets other settings, or another password.

use serde::{Deserialize, Serialize};

use super::super::{
    access::Context,
    draft::{Asked, Draft, Write},
    effects::Effects,
    entities::{audit::Audited, room::Room},
    membership::end_pauses,
    operation::{Checked, Operation},
    reply::Reply,
    rights::Permission,
    rows,
    secret::{Made, Secret},
    state::State,
};
use crate::{
    disk::RoomId,
    protocol::{
        audit::Action,
        credential::Verifier,
        event::EventKind,
        moderation,
        name::{RoomName, UserName},
        refusal::Refusal,
        request,
    },
};

/// Change a room's settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomSettings {
    pub room: RoomName,
    /// What changes; the rest stays as it is.
    pub changes: moderation::RoomSettings,
}

/// Change the password of a room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomPassword {
    pub room: RoomName,
    /// The new password; `None` for none.
    pub password: Option<Box<Verifier>>,
}

impl Write for request::ChangeSettings {
    type Becomes = RoomSettings;

    fn draft(self, _: &Asked<'_>) -> Result<Draft<Self::Becomes>, Refusal> {
        let changes = self.settings();
        Ok(RoomSettings { room: self.room, changes }.into())
    }
}

impl Write for request::RoomPassword {
    type Becomes = RoomPassword;

    fn draft(self, _: &Asked<'_>) -> Result<Draft<Self::Becomes>, Refusal> {
        let request::RoomPassword { room, password } = self;
        Ok(match password {
            Some(password) => {
                let command = RoomPassword { room, password: Some(Verifier::unmade()) };
                Draft::with(command, Secret::Set(password.into()))
            }
            None => RoomPassword { room, password: None }.into(),
        })
    }
}

impl Operation for RoomSettings {
    type Plan = RoomId;

    fn audited(&self, state: &State, context: &Context<'_>) -> Option<Audited> {
        Some(Audited::inside(Action::RoomSettings, state, context, &self.room).with(self.changes.to_string()))
    }

    fn check(&self, state: &State, context: &Context<'_>) -> Result<Checked<RoomId>, Refusal> {
        // What ends the archive may change other settings with it.
        let moderation::RoomSettings { private, slow_s, retention, archived } = &self.changes;
        let is_all = private.is_none() && slow_s.is_none() && retention.is_none();
        let permission = match archived {
            Some(false) => Permission::Archive,
            Some(true) if is_all => Permission::Archive,
            _ => Permission::Configure,
        };
        let (room, _) = state.may(context, permission, &self.room)?;
        Ok(Checked::Change(room))
    }

    fn apply(&self, id: RoomId, state: &mut State, user: &UserName, effects: &mut Effects) -> Reply {
        let author = state.user_or_new(effects, user);
        let room = state.room_mut(id);
        room.private = self.changes.private.unwrap_or(room.private);
        let settings = &mut room.settings;
        settings.archived = self.changes.archived.unwrap_or(settings.archived);
        settings.slow_s = self.changes.slow_s.unwrap_or(settings.slow_s);
        settings.retention = self.changes.retention.unwrap_or(settings.retention);
        effects.rows.extend([rows::room(id, room), rows::settings(id, &room.settings)]);
        end_pauses(effects, id, room);
        let kind = settings_event(room);
        state.publish_reply(effects, id, author, kind)
    }
}

impl Operation for RoomPassword {
    type Plan = RoomId;

    fn audited(&self, state: &State, context: &Context<'_>) -> Option<Audited> {
        let detail = if self.password.is_some() { "set" } else { "none" };
        Some(Audited::inside(Action::RoomPassword, state, context, &self.room).with(detail))
    }

    fn complete(&mut self, made: Made) {
        if let Made::Verifier(password) = made {
            self.password = Some(password);
        }
    }

    fn check(&self, state: &State, context: &Context<'_>) -> Result<Checked<RoomId>, Refusal> {
        let (room, _) = state.may(context, Permission::Configure, &self.room)?;
        Ok(Checked::Change(room))
    }

    fn apply(&self, id: RoomId, state: &mut State, user: &UserName, effects: &mut Effects) -> Reply {
        let author = state.user_or_new(effects, user);
        let room = state.room_mut(id);
        room.settings.password.clone_from(&self.password);
        room.settings.password_rev = effects.index;
        effects.rows.push(rows::settings(id, &room.settings));
        let kind = settings_event(room);
        state.publish_reply(effects, id, author, kind)
    }
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
