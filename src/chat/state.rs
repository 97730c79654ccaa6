//! The state itself: loading it, and lookups in it.

use std::collections::BTreeMap;

use super::{
    entities::{
        audit::Audit,
        clock::Clock,
        file::File,
        hook::Hook,
        lead::Lead,
        origin::{Origins, Progress},
        room::Room,
        user::{Reading, User},
        user_id::UserId,
    },
    rows::{self, Record},
    state_error::StateError,
};
use crate::{
    disk::{RoomId, Row},
    protocol::{
        credential::{TokenHash, Verifier},
        directory::Directory,
        file::FileId,
        name::{RoomKey, RoomName, ServerId, UserKey, UserName},
        peer::NodeId,
        refusal::Refusal,
        rules::RulesVersion,
    },
};

/// Bits of the cluster's id in the number of its data's life ([`State::epoch`]).
const EPOCH_BITS: u32 = 20;

/// The result of all committed commands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct State {
    pub(super) clock: Clock,
    /// How often the cluster was restored from a backup.
    pub(super) restores: u64,
    pub(super) origins: Origins,
    pub(super) rooms: BTreeMap<RoomId, Room>,
    pub(super) room_ids: BTreeMap<RoomKey, RoomId>,
    pub(super) users: BTreeMap<UserId, User>,
    pub(super) user_ids: BTreeMap<UserKey, UserId>,
    /// Whose sessions the tokens open; kept in step with the users' own lists.
    pub(super) tokens: BTreeMap<TokenHash, UserId>,
    pub(super) files: BTreeMap<FileId, File>,
    /// The files that no message has shown yet, and when something of each last came, in milliseconds since
    /// the Unix epoch.
    pub(super) uploads: BTreeMap<FileId, u64>,
    pub(super) hooks: BTreeMap<TokenHash, Hook>,
    pub(super) audit: Audit,
    /// The server that leads by an operator's word, the newest of these.
    pub(super) lead: Option<Lead>,
    /// When the last backup was made, milliseconds since the Unix epoch.
    pub(super) last_backup_ms: Option<u64>,
    /// Which servers the cluster has, once that was changed.
    pub(super) servers: Option<Directory>,
    pub(super) rules: RulesVersion,
}

impl State {
    /// The state from its rows: the latest row of each key, without the removed ones, in the order of their
    /// keys.
    pub fn load(rows: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>) -> Result<State, StateError> {
        let mut state = State::default();
        for (key, value) in rows {
            state.load_record(rows::read(&key, &value)?)?;
        }
        Ok(state)
    }

    /// Tables are numbered so that what a row refers to has been loaded before it.
    fn load_record(&mut self, record: Record) -> Result<(), StateError> {
        match record {
            Record::Clock(clock) => self.clock = clock,
            Record::Origin(node_id, newest) => self.origins.set(node_id, newest),
            Record::Room(id, record) => {
                if let Some(other) = self.room_ids.insert(record.name.key(), id) {
                    return Err(StateError::SameName { kind: "room", first: other.0, second: id.0 });
                }
                let mut room = Room::new(record.name, record.private, record.creator);
                room.topic = record.topic;
                room.old_names = record.old_names;
                self.rooms.insert(id, room);
            }
            Record::User(id, record) => {
                if let Some(other) = self.user_ids.insert(record.name.key(), id) {
                    return Err(StateError::SameName { kind: "user", first: other.0, second: id.0 });
                }
                let mut user = User::new(record.name);
                user.is_used = record.is_used;
                user.rooms_created = record.rooms_created;
                self.users.insert(id, user);
            }
            Record::LastSeq(id, (last_seq, messages, recent)) => {
                let room = self.stored_room(id)?;
                (room.last_seq, room.recent.count) = (last_seq, messages);
                room.recent.load(recent);
            }
            Record::Member(room_id, user_id, role) => {
                self.stored_room(room_id)?.members.insert(user_id, role);
                self.stored_user(user_id)?.rooms.insert(room_id, Reading::default());
            }
            Record::Sent(id, block, slots) => {
                self.stored_user(id)?.sent.load(block, slots)?;
            }
            Record::Account(id, account) => self.stored_user(id)?.account = account,
            Record::Session(id, token, session) => {
                self.stored_user(id)?.sessions.insert(token, session);
                self.tokens.insert(token, id);
            }
            Record::Reading(user_id, room_id, reading) => {
                let user = self.stored_user(user_id)?;
                *stored(user.rooms.get_mut(&room_id), "membership in room", room_id.0)? = reading;
            }
            Record::Settings(id, settings) => self.stored_room(id)?.settings = settings,
            Record::Muted(id, user, until) => drop(self.stored_room(id)?.muted.insert(user, until)),
            Record::Invited(id, user, by) => drop(self.stored_room(id)?.invited.insert(user, by)),
            Record::Banned(id, user, until) => drop(self.stored_room(id)?.banned.insert(user, until)),
            Record::Spoke(id, user, at_ms) => drop(self.stored_room(id)?.spoke_ms.insert(user, at_ms)),
            Record::File(id, file) => {
                self.stored_user(file.uploader)?.file_bytes += file.size;
                self.files.insert(id, file);
            }
            Record::Upload(id, last_ms) => {
                if self.files.get(&id).is_none_or(|file| file.shown_in() > 0) {
                    return Err(StateError::NoUpload);
                }
                self.uploads.insert(id, last_ms);
            }
            Record::Import(id, import) => self.stored_room(id)?.import = Some(import),
            Record::Blocked(id, other) => drop(self.stored_user(id)?.blocked.insert(other)),
            Record::Restores(restores) => self.restores = restores,
            Record::Audit(number, entry) => drop(self.audit.insert(number, entry)),
            Record::LastBackup(at_ms) => self.last_backup_ms = Some(at_ms),
            Record::Lead(lead) => self.lead = Some(lead),
            Record::Servers(servers) => self.servers = Some(servers),
            Record::Rules(rules) => self.rules = rules,
            Record::Recent(id, messages) => self.stored_room(id)?.recent.load(messages),
            Record::Hook(token, hook) => {
                self.stored_room(hook.room)?;
                self.stored_user(hook.user)?;
                self.hooks.insert(token, hook);
            }
        }
        Ok(())
    }

    fn stored_room(&mut self, id: RoomId) -> Result<&mut Room, StateError> {
        stored(self.rooms.get_mut(&id), "room", id.0)
    }

    fn stored_user(&mut self, id: UserId) -> Result<&mut User, StateError> {
        stored(self.users.get_mut(&id), "user", id.0)
    }

    /// Whether a request may carry this Lamport timestamp, whatever it asks.
    ///
    /// # Errors
    /// It is out of range, or too far ahead of the servers' clock.
    pub fn check_lamport(&self, claimed: u64) -> Result<(), Refusal> {
        self.clock.check(claimed)
    }

    /// The newest Lamport timestamp.
    pub fn lamport(&self) -> u64 {
        self.clock.lamport
    }

    /// The life of the data: 1, and a greater number after each restore from a backup. What a client was told
    /// holds within a life; in a new one, places may fall back. If one backup is restored twice, the two
    /// lives differ by the id of the cluster that each began.
    pub fn epoch(&self, cluster_id: u64) -> u64 {
        match self.restores {
            0 => 1,
            restores => (restores << EPOCH_BITS) + (cluster_id & ((1 << EPOCH_BITS) - 1)),
        }
    }

    /// Begins a new life: part of a restore, before any server starts on the restored data. Gives the rows
    /// that say so. The old servers are forgotten: those of the new cluster are others.
    pub fn begin_epoch(&mut self) -> Vec<Row> {
        self.restores += 1;
        self.servers = None;
        let forgotten = self.origins.clear().into_iter().map(rows::no_origin);
        forgotten.chain([rows::restores(self.restores), rows::servers(None)]).collect()
    }

    /// Which servers the cluster has; `None` if those of its configuration were never changed.
    pub fn servers(&self) -> Option<&Directory> {
        self.servers.as_ref()
    }

    /// Settles the change of the servers that is under way, if those that count by the entry `index` are what
    /// it wants: those whose nodes vote, and those that have any node that counts. Gives the rows that say
    /// so. Part of applying that entry.
    pub fn settle_servers(
        &mut self,
        index: u64,
        votes: impl Fn(&ServerId) -> bool,
        counts: impl Fn(&ServerId) -> bool,
    ) -> Vec<Row> {
        let settled = self.servers.as_ref().and_then(|servers| servers.settled(index, votes, counts));
        let Some(settled) = settled else { return Vec::new() };
        let row = rows::servers(Some(&settled));
        self.servers = Some(settled);
        vec![row]
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

    /// The room of that name.
    pub fn room(&self, room: &RoomKey) -> Option<&Room> {
        self.room_by_id(self.room_id(room)?)
    }

    /// The number of the room of that name.
    pub fn room_id(&self, room: &RoomKey) -> Option<RoomId> {
        self.room_ids.get(room).copied()
    }

    /// The room of that name, with its number.
    pub(super) fn room_named(&self, room: &RoomName) -> Option<(RoomId, &Room)> {
        let id = self.room_id(&room.key())?;
        Some((id, self.room_by_id(id)?))
    }

    /// The room that a client means: that of the number, if it gave one, whatever the room is called now;
    /// else the one that has the name.
    pub(super) fn room_meant(&self, id: Option<RoomId>, name: &RoomName) -> Option<(RoomId, &Room)> {
        match id {
            Some(id) => Some((id, self.room_by_id(id)?)),
            None => self.room_named(name),
        }
    }

    /// The room of that number.
    pub fn room_by_id(&self, room: RoomId) -> Option<&Room> {
        self.rooms.get(&room)
    }

    /// Every room's number, in their order.
    pub fn room_ids(&self) -> impl Iterator<Item = RoomId> {
        self.rooms.keys().copied()
    }

    pub fn is_member(&self, user: &UserKey, room: RoomId) -> bool {
        self.user(user).is_some_and(|user| user.rooms.contains_key(&room))
    }

    /// The rooms that `user` is a member of, each with its newest event.
    pub fn member_rooms(&self, user: &UserKey) -> impl Iterator<Item = (RoomId, u64)> {
        let rooms = self.user(user).into_iter().flat_map(|user| user.rooms.keys());
        rooms.filter_map(|id| Some((*id, self.rooms.get(id)?.last_seq)))
    }

    /// How many rooms `user` has created. Its limit is a setting, which may differ between servers for a
    /// while, so it is checked before the log and not by the rules.
    pub fn rooms_created(&self, user: &UserKey) -> u64 {
        self.user(user).map_or(0, |user| user.rooms_created)
    }

    /// The user of that name, if an entry has named them.
    pub fn user(&self, user: &UserKey) -> Option<&User> {
        self.users.get(&self.user_id(user)?)
    }

    /// What checks a user's password, and the log entry that set it: none and 0 without an account.
    pub fn password_of(&self, user: &UserName) -> (Option<Box<Verifier>>, u64) {
        let Some(user) = self.user(&user.key()) else { return (None, 0) };
        (user.account.verifier().cloned().map(Box::new), user.account.password_rev)
    }

    /// The number of the user of that name.
    pub fn user_id(&self, user: &UserKey) -> Option<UserId> {
        self.user_ids.get(user).copied()
    }

    /// The name of the user of that number.
    pub fn name_of(&self, user: UserId) -> Option<&UserName> {
        self.users.get(&user).map(|user| &user.name)
    }

    pub(super) fn room_mut(&mut self, id: RoomId) -> &mut Room {
        self.rooms.get_mut(&id).expect("a plan names rooms that exist")
    }

    pub(super) fn user_mut(&mut self, id: UserId) -> &mut User {
        self.users.get_mut(&id).expect("a user's number is only given once there is one")
    }

    /// A user's name; see [`User::name`].
    pub(super) fn user_name(&self, id: UserId) -> UserName {
        self.users.get(&id).expect("a user's number is only given once there is one").name.clone()
    }

    /// Whose session a token opens.
    pub fn user_of_token(&self, token: &TokenHash) -> Option<&User> {
        self.users.get(self.tokens.get(token)?)
    }
}

/// What a stored row refers to, or an error that says that it is missing.
fn stored<T>(found: Option<T>, kind: &'static str, id: u64) -> Result<T, StateError> {
    found.ok_or(StateError::Missing { kind, id })
}
