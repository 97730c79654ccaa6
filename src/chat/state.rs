//! The state itself: how it is loaded, and what is asked of it.

use std::collections::BTreeMap;

use super::{
    clock::Clock,
    command::Action,
    origin::{Origins, Progress},
    room::Room,
    rows::{self, Record},
    user::{User, UserId},
};
use crate::{
    planted::{Bug, planted},
    protocol::{
        answer::{Member, RoomSummary},
        name::{RoomKey, UserKey, UserName},
        peer::NodeId,
        refusal::Refusal,
    },
    replica::storage::{RoomId, Row},
};

/// Everything the committed commands have come to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct State {
    pub(super) clock: Clock,
    pub(super) origins: Origins,
    pub(super) rooms: BTreeMap<RoomId, Room>,
    pub(super) room_ids: BTreeMap<RoomKey, RoomId>,
    pub(super) users: BTreeMap<UserId, User>,
    pub(super) user_ids: BTreeMap<UserKey, UserId>,
}

impl State {
    /// The state whose rows these are: all rows ever emitted, of each key the latest, without the
    /// removed ones, in the order of their keys. The error, one sentence, means that the data is in doubt.
    pub fn load(rows: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>) -> Result<State, String> {
        let mut state = State::default();
        for (key, value) in rows {
            state.load_record(rows::read(&key, &value)?)?;
        }
        Ok(state)
    }

    /// Tables are numbered so that what a row refers to has been loaded before it.
    fn load_record(&mut self, record: Record) -> Result<(), String> {
        match record {
            Record::Clock(clock) => self.clock = clock,
            Record::Origin(node_id, newest) => self.origins.set(node_id, newest),
            Record::Room(id, record) => {
                if let Some(other) = self.room_ids.insert(record.name.key(), id) {
                    return Err(format!("rooms {} and {} have the same name", other.0, id.0));
                }
                let mut room = Room::new(record.name);
                (room.private, room.topic) = (record.private, record.topic);
                self.rooms.insert(id, room);
            }
            Record::User(id, record) => {
                if let Some(other) = self.user_ids.insert(record.name.key(), id) {
                    return Err(format!("users {} and {} have the same name", other.0, id.0));
                }
                let mut user = User::new(record.name);
                user.rooms_created = record.rooms_created;
                self.users.insert(id, user);
            }
            Record::LastSeq(id, last_seq) => {
                let room = stored(self.rooms.get_mut(&id), "room", id.0)?;
                // The planted bug counts what this process has seen since its start.
                room.last_seq = if planted(Bug::SeqFromMemory) { 0 } else { last_seq };
            }
            Record::Member(room_id, user_id, role) => {
                stored(self.rooms.get_mut(&room_id), "room", room_id.0)?.members.insert(user_id, role);
                stored(self.users.get_mut(&user_id), "user", user_id.0)?.rooms.insert(room_id);
            }
            Record::Sent(id, place, slot) => {
                stored(self.users.get_mut(&id), "user", id.0)?.sent.load(place, slot)?;
            }
        }
        Ok(())
    }

    /// The newest Lamport timestamp.
    pub fn lamport(&self) -> u64 {
        self.clock.lamport
    }

    /// How many messages there are in all rooms.
    pub fn messages(&self) -> u64 {
        self.clock.messages
    }

    /// How far the commands that `node_id` proposed in its run `boot` have been applied.
    pub fn progress(&self, node_id: NodeId, boot: u64) -> Progress {
        self.origins.progress(node_id, boot)
    }

    /// Forgets the progress of a server that was removed for good, and gives the rows that say so. Part
    /// of applying the entry that removed it: every server does it at the same place of the log.
    pub fn forget_origin(&mut self, node_id: NodeId) -> Vec<Row> {
        if self.origins.remove(node_id) { vec![rows::no_origin(node_id)] } else { Vec::new() }
    }

    /// Whether `user` may do `action` now: the very rules that [`State::apply`] will ask again when the
    /// action's turn has come. A refusal may be given early where nothing of the user waits for its
    /// commit; what waits may change the answer.
    pub fn check(&self, user: &UserName, action: &Action, lamport_timestamp: u64) -> Result<(), Refusal> {
        self.decide(user, action, lamport_timestamp).map(drop)
    }

    /// The room of that name.
    pub fn room(&self, room: &RoomKey) -> Option<&Room> {
        self.room_by_id(self.room_id(room)?)
    }

    /// The number of the room of that name.
    pub fn room_id(&self, room: &RoomKey) -> Option<RoomId> {
        self.room_ids.get(room).copied()
    }

    /// The room of that number.
    pub fn room_by_id(&self, room: RoomId) -> Option<&Room> {
        self.rooms.get(&room)
    }

    /// Every room's number, in their order.
    pub fn room_ids(&self) -> impl Iterator<Item = RoomId> {
        self.rooms.keys().copied()
    }

    /// Whether `user` is a member of `room`.
    pub fn is_member(&self, user: &UserKey, room: RoomId) -> bool {
        self.user(user).is_some_and(|user| user.rooms.contains(&room))
    }

    /// The rooms that `user` is a member of, each with its newest event.
    pub fn member_rooms(&self, user: &UserKey) -> impl Iterator<Item = (RoomId, u64)> {
        let rooms = self.user(user).into_iter().flat_map(|user| &user.rooms);
        rooms.filter_map(|id| Some((*id, self.rooms.get(id)?.last_seq)))
    }

    /// How many rooms `user` has created. Its limit is a setting, which may differ between servers for
    /// a while, so it is asked for before the log and not by the rules.
    pub fn rooms_created(&self, user: &UserKey) -> u64 {
        self.user(user).map_or(0, |user| user.rooms_created)
    }

    /// The rooms that `user` may see, by name. Nobody can mark anything as read yet: all events of the
    /// user's rooms count as unread.
    pub fn room_summaries(&self, user: &UserKey) -> Vec<RoomSummary> {
        let rooms = self.room_ids.values().filter_map(|id| Some((*id, self.rooms.get(id)?)));
        let visible = rooms.map(|(id, room)| (self.is_member(user, id), room));
        visible
            .filter(|(joined, room)| *joined || !room.private)
            .map(|(joined, room)| RoomSummary {
                room: room.name.clone(),
                private: room.private,
                topic: room.topic.clone(),
                members: room.member_count(),
                last_seq: room.last_seq,
                joined,
                last_read: 0,
                unread: if joined { room.last_seq } else { 0 },
            })
            .collect()
    }

    /// The members of `room`, by name; `is_online` tells who has a connection.
    pub fn members(&self, room: RoomId, is_online: impl Fn(&UserKey) -> bool) -> Vec<Member> {
        let members = self.rooms.get(&room).into_iter().flat_map(|room| &room.members);
        let by_name: BTreeMap<_, _> = members
            .filter_map(|(id, role)| self.users.get(id).map(|user| (user.name.key(), (user, role))))
            .collect();
        by_name
            .into_iter()
            .map(|(key, (user, role))| Member {
                username: user.name.clone(),
                role: role.as_str().into(),
                online: is_online(&key),
            })
            .collect()
    }

    pub(super) fn user(&self, user: &UserKey) -> Option<&User> {
        self.users.get(self.user_ids.get(user)?)
    }
}

/// What a stored row refers to, or the sentence that says that it is missing.
fn stored<T>(found: Option<T>, what: &str, id: u64) -> Result<T, String> {
    found.ok_or_else(|| format!("a row of the chat state refers to {what} {id}, which is not stored"))
}
