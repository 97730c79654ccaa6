//! Imports: events and rooms of another time or cluster.

use serde::{Deserialize, Serialize};

use super::super::{
    access::{Context, no_room, reserved_room},
    draft::{Asked, Draft, Write},
    effects::Effects,
    entities::{
        audit::Audited,
        dedup::{Digest, Slot},
        room::{self, Role, Room},
        user_id::UserId,
    },
    membership::end_pauses,
    operation::{Checked, Operation},
    reply::Reply,
    rights::ClusterPermission,
    rows,
    state::State,
};
use crate::{
    disk::RoomId,
    protocol::{
        audit::Action,
        event::{Event, EventKind},
        export::{Imported, ImportedRoom},
        limits::LAMPORT_END,
        name::{RoomName, UserName},
        refusal::Refusal,
        request,
    },
};

/// Append events to a room that ends just before the first of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Import {
    /// The room, which is created if there is none of that name.
    pub room: RoomName,
    /// The `seq` of the first event.
    pub first_seq: u64,
    pub events: Vec<Imported>,
}

/// Give a room the settings and members that it had at another time or in another cluster; not its events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportRoom {
    pub room: RoomName,
    pub info: Box<ImportedRoom>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// `None` if the room does not exist yet.
    room: Option<RoomId>,
    kinds: Vec<EventKind>,
    batch: Digest,
}

impl Write for request::Import {
    type Becomes = Import;

    fn needs(&self) -> ClusterPermission {
        ClusterPermission::Import
    }

    fn draft(self, _: &Asked<'_>) -> Result<Draft<Self::Becomes>, Refusal> {
        let request::Import { room, first_seq, events } = self;
        let events = events.into_iter().map(|event| event.event).collect();
        Ok(Import { room, first_seq: first_seq.get(), events }.into())
    }
}

impl Write for request::ImportRoom {
    type Becomes = ImportRoom;

    fn needs(&self) -> ClusterPermission {
        ClusterPermission::Import
    }

    fn draft(self, _: &Asked<'_>) -> Result<Draft<Self::Becomes>, Refusal> {
        let request::ImportRoom { room, info } = self;
        Ok(ImportRoom { room, info: Box::new(ImportedRoom::from(*info)) }.into())
    }
}

impl Operation for Import {
    type Plan = Plan;

    fn permission(&self) -> ClusterPermission {
        ClusterPermission::Import
    }

    fn names(&self) -> Vec<UserName> {
        self.events.iter().map(|event| event.author.clone()).collect()
    }

    fn check(&self, state: &State, context: &Context<'_>) -> Result<Checked<Plan>, Refusal> {
        let room = state.may_import(context, &self.room)?;
        state.may_name(&self.names())?;
        if room.is_none() && self.room.is_reserved() {
            return Err(reserved_room(&self.room));
        }
        // Below this, numbers in JSON are exact.
        let end = self.first_seq.checked_add(self.events.len() as u64).filter(|end| *end < LAMPORT_END);
        let Some(end) = end.filter(|_| self.first_seq > 0) else {
            return Err(Refusal::bad_request("first_seq is no place in a room"));
        };
        // A room never gets events back that it has forgotten, so a new one begins with the first of these
        // events.
        let next = room.map_or(self.first_seq, |(_, room)| room.last_seq + 1);
        if self.first_seq != next {
            // If it is the last batch once more, its answer was lost; any other batch would mix two
            // histories.
            let is_again = |room: &Room| {
                let batch = Digest::of_events(&self.events);
                end == next
                    && room.import.is_some_and(|last| last.first_seq == self.first_seq && last.batch == batch)
            };
            return match room {
                Some((_, room)) if is_again(room) => Ok(Checked::already(&room.name, room.last_seq)),
                _ => {
                    let reason = format!("first_seq must be {next}, the next place in {}", self.room);
                    Err(Refusal::bad_request(reason))
                }
            };
        }
        let read = |event: &Imported| {
            event.event_kind().map_err(|error| Refusal::bad_request(format!("events: {error}")))
        };
        let kinds = self.events.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        if let Some((id, _)) = room {
            for ((event, kind), seq) in self.events.iter().zip(&kinds).zip(self.first_seq..) {
                let EventKind::Message(message) = kind else { continue };
                let author = state.user(&event.author.key());
                let slot = author.and_then(|author| author.sent.find(Digest::of_id(&message.client_msg_id)));
                if slot.is_some_and(|slot| slot.room == id) && !message.client_msg_id.is_empty() {
                    let reason = format!("events: event {seq}: another one has its client_msg_id");
                    return Err(Refusal::bad_request(reason));
                }
            }
        }
        Ok(Checked::Change(Plan {
            room: room.map(|(id, _)| id),
            kinds,
            batch: Digest::of_events(&self.events),
        }))
    }

    /// The events get the room's next places, each with its own author and time.
    fn apply(
        &self,
        Plan { room, kinds, batch }: Plan,
        state: &mut State,
        user: &UserName,
        effects: &mut Effects,
    ) -> Reply {
        let importer = state.user_or_new(effects, user);
        let id =
            room.unwrap_or_else(|| state.new_imported_room(effects, importer, &self.room, self.first_seq));
        let room = state.room_mut(id);
        let unopened = room.import.is_some_and(|import| import.unopened);
        let import = room::Import { unopened, first_seq: self.first_seq, batch };
        room.import = Some(import);
        effects.rows.push(rows::import(id, &import));
        let mut last_seq = 0;
        for (imported, mut kind) in self.events.iter().zip(kinds) {
            let author = state.user_or_new(effects, &imported.author);
            state.name_is_used(effects, author);
            let next = state.room_mut(id).last_seq + 1;
            if let EventKind::Message(message) = &mut kind {
                state.clock.messages += 1;
                message.reply_to = message.reply_to.filter(|seq| (1..next).contains(seq));
                if message.client_msg_id.is_empty() {
                    message.client_msg_id = format!("import-{}-{next}", id.0);
                }
            }
            let event = state.publish_of(effects, id, author, imported.created_at, kind);
            state.remember_imported(effects, author, id, &event);
            last_seq = event.seq;
        }
        Reply::Placed { room: state.room_mut(id).name.clone(), seq: last_seq, duplicate: false }
    }
}

impl Operation for ImportRoom {
    type Plan = RoomId;

    fn audited(&self, state: &State, context: &Context<'_>) -> Option<Audited> {
        Some(Audited::inside(Action::ImportRoom, state, context, &self.room))
    }

    fn permission(&self) -> ClusterPermission {
        ClusterPermission::Import
    }

    fn names(&self) -> Vec<UserName> {
        self.info.members.iter().map(|(name, _)| name.clone()).collect()
    }

    fn check(&self, state: &State, context: &Context<'_>) -> Result<Checked<RoomId>, Refusal> {
        let (room, _) = state.may_import(context, &self.room)?.ok_or_else(|| no_room(&self.room))?;
        state.may_name(&self.names())?;
        Ok(Checked::Change(room))
    }

    /// No event says so: the room's history does.
    fn apply(&self, id: RoomId, state: &mut State, _: &UserName, effects: &mut Effects) -> Reply {
        let info = &self.info;
        let room = state.room_mut(id);
        let is_direct = room.name.direct_pair().is_some();
        room.private = info.private || is_direct;
        room.topic.clone_from(&info.topic);
        room.settings.archived = info.archived;
        room.settings.slow_s = info.slow_s;
        room.settings.retention = info.retention;
        effects.rows.extend([rows::room(id, room), rows::settings(id, &room.settings)]);
        end_pauses(effects, id, room);
        for (name, role) in info.members.iter().filter(|_| !is_direct) {
            let user = state.user_or_new(effects, name);
            let room = state.room_mut(id);
            if room.banned.contains_key(&user) {
                continue;
            }
            let is_member = room.members.contains_key(&user);
            if *role == Role::Owner && room.members.get(&user) != Some(&Role::Owner) {
                state.retire_owners(effects, id);
            }
            if is_member {
                state.give_role(effects, id, user, *role);
            } else {
                state.enter_quietly(effects, user, id, *role);
            }
        }
        state.placed_now(id)
    }
}

impl State {
    /// The room, if it exists and the user may import into it: without the permission to import anywhere,
    /// into public rooms and those that an import has made and that have had no members since.
    fn may_import(&self, context: &Context<'_>, name: &RoomName) -> Result<Option<(RoomId, &Room)>, Refusal> {
        let room = self.room_named(name);
        if self.may_in_cluster(context, ClusterPermission::ImportAnywhere).is_ok() {
            return Ok(room);
        }
        if name.direct_pair().is_some() {
            return Err(Refusal::bad_request("direct conversations are not imported"));
        }
        match room {
            Some((_, room)) if room.private && !room.import.is_some_and(|import| import.unopened) => {
                Err(no_room(name))
            }
            room => Ok(room),
        }
    }

    /// If the author of an imported message sends it once more, it is recognised, unless they have used its
    /// `client_msg_id` for another one meanwhile.
    fn remember_imported(&mut self, effects: &mut Effects, author: UserId, room: RoomId, event: &Event) {
        let EventKind::Message(message) = &event.kind else { return };
        let id = Digest::of_id(&message.client_msg_id);
        if self.user_mut(author).sent.find(id).is_some() {
            return;
        }
        let file_id = message.file.as_ref().map(|file| file.file_id);
        let content = Digest::of_content(&event.room.key(), &message.body, message.reply_to, file_id);
        let slot = Slot {
            id,
            content,
            room,
            seq: event.seq,
            lamport: event.lamport_timestamp,
            said_ms: event.created_at,
        };
        self.remember(effects, author, slot);
    }

    /// A room for events that begin with `first_seq`. It is private and without members until [`ImportRoom`]
    /// sets it up; but a direct conversation always belongs to its two users.
    fn new_imported_room(
        &mut self,
        effects: &mut Effects,
        importer: UserId,
        name: &RoomName,
        first_seq: u64,
    ) -> RoomId {
        let id = self.new_room(effects, importer, name, true);
        let room = self.room_mut(id);
        room.import = Some(room::Import { unopened: true, first_seq, batch: Digest::of_events(&[]) });
        if first_seq > 1 {
            room.settings.first_seq = first_seq;
            room.last_seq = first_seq - 1;
            effects.rows.push(rows::settings(id, &room.settings));
            effects.expired.push((id, first_seq));
        }
        if let Some((one, other)) = name.direct_pair() {
            for name in [one, other] {
                let user = self.user_or_new(effects, &name);
                self.enter_quietly(effects, user, id, Role::Member);
            }
        }
        id
    }
}
