//! Views: each shows a user what the table of rights lets them see.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{
    access::{no_room, no_room_meant},
    entities::{
        account::Holder,
        audit,
        file::File,
        hook::hook_id,
        recent::Unread,
        room::{Role, Room},
        user::User,
        user_id::UserId,
    },
    file::no_file,
    rights::{Permission, RoomRole},
    state::State,
};
use crate::{
    disk::RoomId,
    protocol::{
        answer::{self, Member, RoomSummary},
        checked::HookId,
        credential::TokenHash,
        export::{ExportPage, RoomInfo, RoomMember},
        file::{FileId, FileInfo},
        limits::LIST_BYTES,
        name::{RoomKey, RoomName, UserKey},
        refusal::{Code, Refusal},
    },
};

/// A room with at least this share of all users (1 of 8) is listed by going through all users.
const SHARE_OF_ALL: usize = 8;

/// Who asks for a view, and when.
#[derive(Debug, Clone, Copy)]
pub struct Viewer<'a> {
    pub user: &'a UserKey,
    /// The time, milliseconds since the Unix epoch, by which bans are counted.
    pub now_ms: u64,
    /// The number of the room that they mean, if they gave it: then the name in the request does not count.
    pub room: Option<RoomId>,
}

impl State {
    fn may_see(&self, viewer: Viewer<'_>, room: &Room) -> bool {
        self.access(room, self.user_id(viewer.user), viewer.now_ms).allows(Permission::See)
    }

    /// Whether the room is in the viewer's list of rooms.
    fn may_find(&self, viewer: Viewer<'_>, room: &Room) -> bool {
        self.access(room, self.user_id(viewer.user), viewer.now_ms).allows(Permission::Find)
    }

    /// The room that the viewer means, if they may see it. The refusal is the same for one that does not
    /// exist.
    pub fn visible_room(&self, viewer: Viewer<'_>, name: &RoomName) -> Result<(RoomId, &Room), Refusal> {
        let no_room = || no_room_meant(viewer.room, name);
        let (id, room) = self.room_meant(viewer.room, name).ok_or_else(no_room)?;
        if self.may_see(viewer, room) {
            return Ok((id, room));
        }
        let role = self.access(room, self.user_id(viewer.user), viewer.now_ms).role;
        if role == RoomRole::Banned && !room.private {
            let reason = format!("{} is banned from {}", viewer.user, room.name);
            return Err(Refusal::new(Code::Forbidden, reason));
        }
        Err(no_room())
    }

    /// Whether the viewer may be seen typing in a room.
    pub fn may_type(&self, viewer: Viewer<'_>, room: RoomId) -> bool {
        let id = self.user_id(viewer.user);
        self.room_by_id(room).is_some_and(|room| {
            self.access(room, id, viewer.now_ms).allows(Permission::Type)
                && self.blocked_by(viewer.user, id, &room.name).is_none()
        })
    }

    /// The numbers of all rooms that the viewer may see.
    pub fn visible_rooms(&self, viewer: Viewer<'_>) -> BTreeSet<RoomId> {
        let seen = self.rooms.iter().filter(|(_, room)| self.may_see(viewer, room));
        seen.map(|(id, _)| *id).collect()
    }

    /// The names of those of `rooms` that had another name before, so that their older events need the new
    /// one.
    pub fn renamed_among(&self, rooms: &BTreeSet<RoomId>) -> BTreeMap<RoomId, RoomName> {
        let rooms = rooms.iter().filter_map(|id| Some((*id, self.rooms.get(id)?)));
        rooms.filter(|(_, room)| room.was_renamed()).map(|(id, room)| (id, room.name.clone())).collect()
    }

    /// The rooms from number `from` on, for the cluster's own upkeep.
    pub fn rooms_from(&self, from: RoomId) -> impl Iterator<Item = (RoomId, &Room)> {
        self.rooms.range(from..).map(|(id, room)| (*id, room))
    }

    /// How many users there are, guests included.
    pub fn user_count(&self) -> usize {
        self.users.len()
    }

    /// All files, complete or being uploaded.
    pub fn files(&self) -> impl Iterator<Item = (FileId, &File)> {
        self.files.iter().map(|(id, file)| (*id, file))
    }

    /// How many rooms there are.
    pub fn room_count(&self) -> usize {
        self.rooms.len()
    }

    /// The rooms that the viewer may find, by name, from behind `after` on; and whether there are more
    /// than `limit`, or than fit into an answer.
    pub fn room_summaries(
        &self,
        viewer: Viewer<'_>,
        after: Option<&RoomKey>,
        joined_only: bool,
        limit: usize,
    ) -> (Vec<RoomSummary>, bool) {
        use std::ops::Bound::{Excluded, Unbounded};

        let user = self.user(viewer.user);
        let id = self.user_id(viewer.user);
        let from = after.map_or(Unbounded, Excluded);
        let rooms =
            self.room_ids.range((from, Unbounded)).filter_map(|(_, id)| Some((*id, self.rooms.get(id)?)));
        let seen = rooms
            .filter(|(room_id, room)| {
                let joined = user.is_some_and(|user| user.rooms.contains_key(room_id));
                joined || (!joined_only && self.may_find(viewer, room))
            })
            .map(|(room_id, room)| {
                let role = id.and_then(|id| self.role_word(room, id, viewer.now_ms));
                summary(room_id, room, user, id, role)
            });
        page(seen, limit)
    }

    /// The rooms that may be taken out of the cluster by `viewer`, or by an operator: the names of those that
    /// come after `after`, and whether there are more than `limit`, or than fit into an answer.
    pub fn exported_rooms(
        &self,
        viewer: Option<Viewer<'_>>,
        after: Option<&RoomKey>,
        limit: usize,
    ) -> (Vec<RoomName>, bool) {
        use std::ops::Bound::{Excluded, Unbounded};

        let from = after.map_or(Unbounded, Excluded);
        let rooms = self.room_ids.range((from, Unbounded)).filter_map(|(_, id)| self.rooms.get(id));
        let seen = rooms.filter(|room| viewer.is_none_or(|viewer| self.may_see(viewer, room)));
        page(seen.map(|room| room.name.clone()), limit)
    }

    /// A room as it is taken out of the cluster by `viewer`, or by an operator, but for its events.
    pub fn exported(
        &self,
        viewer: Option<Viewer<'_>>,
        name: &RoomName,
        with_members: bool,
    ) -> Result<(RoomId, ExportPage), Refusal> {
        let (id, room) = match viewer {
            Some(viewer) => self.visible_room(viewer, name)?,
            None => self.room_named(name).ok_or_else(|| no_room(name))?,
        };
        let members = room.members.iter().filter(|_| with_members);
        let by_name: BTreeMap<_, _> = members
            .filter_map(|(id, role)| self.users.get(id).map(|user| (user.name.key(), (user, role))))
            .collect();
        let member = |(user, role): (&User, &Role)| RoomMember { username: user.name.clone(), role: *role };
        let info = RoomInfo {
            private: room.private,
            topic: room.topic.clone(),
            archived: room.settings.archived,
            slow_s: room.settings.slow_s,
            keep_days: room.settings.retention.days,
            keep_events: room.settings.retention.events,
            members: by_name.into_values().map(member).collect(),
        };
        let page = ExportPage {
            room: room.name.clone(),
            info,
            first_seq: room.first_seq(),
            last_seq: room.last_seq,
            events: Vec::new(),
            more: false,
        };
        Ok((id, page))
    }

    /// The members of `room`, by name, from behind `after` on; and whether there are more than `limit`, or
    /// than fit into an answer. `presence` tells who is online and who is away.
    pub fn members(
        &self,
        room: RoomId,
        now_ms: u64,
        after: Option<&UserKey>,
        limit: usize,
        presence: impl Fn(&UserKey) -> (bool, bool),
    ) -> (Vec<Member>, bool) {
        use std::ops::Bound::{Excluded, Unbounded};

        let Some(room) = self.rooms.get(&room) else { return (Vec::new(), false) };
        let from = (after.map_or(Unbounded, Excluded), Unbounded);
        let member = |key: &UserKey, id: UserId| {
            let role = self.role_word(room, id, now_ms)?;
            let (online, away) = presence(key);
            let user = self.users.get(&id)?;
            let created_by = match user.account.holder {
                Holder::Bot { made_by } => Some(self.users.get(&made_by)?.name.clone()),
                _ => None,
            };
            let (username, bot) = (user.name.clone(), created_by.is_some());
            Some(Member { username, role: role.into(), online, away, bot, created_by })
        };
        // If most users are in the room, it is quicker to go through all users, who are in order already.
        if room.members.len() >= self.user_ids.len() / SHARE_OF_ALL {
            let users = self.user_ids.range::<UserKey, _>(from);
            return page(users.filter_map(|(key, id)| member(key, *id)), limit);
        }
        let by_name: BTreeMap<_, _> = room
            .members
            .keys()
            .filter_map(|id| self.users.get(id).map(|user| (user.name.key(), *id)))
            .collect();
        let users = by_name.range::<UserKey, _>(from);
        page(users.filter_map(|(key, id)| member(key, *id)), limit)
    }

    /// The names of a room's members.
    pub fn member_keys(&self, room: RoomId) -> impl Iterator<Item = UserKey> {
        let members = self.rooms.get(&room).into_iter().flat_map(|room| room.members.keys());
        members.filter_map(|id| self.users.get(id).map(|user| user.name.key()))
    }

    /// The users of the cluster, by name, from behind `after` on; and whether there are more than `limit`, or
    /// than fit into an answer.
    pub fn accounts(
        &self,
        now_ms: u64,
        after: Option<&UserKey>,
        limit: usize,
        is_online: impl Fn(&UserKey) -> bool,
    ) -> (Vec<answer::Account>, bool) {
        use std::ops::Bound::{Excluded, Unbounded};

        let from = after.map_or(Unbounded, Excluded);
        let users = self
            .user_ids
            .range((from, Unbounded))
            .filter_map(|(key, id)| Some((key, self.users.get(id)?)))
            .map(|(key, user)| answer::Account {
                username: user.name.clone(),
                account: user.account.is_registered(),
                admin: user.account.admin,
                bot: matches!(user.account.holder, Holder::Bot { .. }),
                banned: user.account.is_banned(now_ms),
                online: is_online(key),
            });
        page(users, limit)
    }

    /// The entries of the audit log below the number `before`, the newest first; and whether there are more
    /// than `limit`, or than fit into an answer. Entries of private rooms that the viewer may not see are
    /// left out; `None` sees everything.
    pub fn audit(
        &self,
        viewer: Option<Viewer<'_>>,
        before: u64,
        limit: usize,
    ) -> (Vec<answer::AuditEntry>, bool) {
        let is_shown = |entry: &audit::Entry| {
            let place = entry.audited.place.as_ref().filter(|place| place.private);
            viewer.zip(place).is_none_or(|(viewer, place)| {
                entry.by.as_ref().is_some_and(|by| by.key() == *viewer.user)
                    || self.room_by_id(place.id).is_some_and(|room| self.may_see(viewer, room))
            })
        };
        let entries = self.audit.range(..before).rev().filter(|(_, entry)| is_shown(entry));
        let shown =
            entries.map(|(number, audit::Entry { at_ms, by, standing, audited })| answer::AuditEntry {
                action: audited.action.as_str().into(),
                by: by.clone(),
                created_at: *at_ms,
                detail: audited.detail.clone(),
                number: *number,
                role: standing.as_str().into(),
                room: audited.place.as_ref().map(|place| place.name.clone()),
                username: audited.username.clone(),
            });
        page(shown, limit)
    }

    /// A file, if the viewer may read it. The refusal is the same for one that does not exist.
    pub fn visible_file(&self, viewer: Viewer<'_>, file_id: FileId) -> Result<FileInfo, Refusal> {
        let user = self.user_id(viewer.user);
        let readable = |file: &&File| self.may_read_file(user, file, viewer.now_ms);
        let file = self.files.get(&file_id).filter(readable);
        file.and_then(|file| file.info(file_id)).ok_or_else(no_file)
    }

    /// A room's name and its webhooks, if the viewer may make some.
    pub fn hooks(
        &self,
        viewer: Viewer<'_>,
        name: &RoomName,
    ) -> Result<(RoomName, Vec<answer::Hook>), Refusal> {
        let (id, room) = self.visible_room(viewer, name)?;
        if !self.access(room, self.user_id(viewer.user), viewer.now_ms).allows(Permission::Hook) {
            let reason = format!("{} has no right to see the webhooks of {}", viewer.user, room.name);
            return Err(Refusal::new(Code::Forbidden, reason));
        }
        let hooks = self.hooks.iter().filter(|(_, hook)| hook.room == id);
        let hooks = hooks.filter_map(|(token, hook)| {
            Some(answer::Hook {
                hook_id: hook_id(token),
                username: self.users.get(&hook.user)?.name.clone(),
                created_by: self.users.get(&hook.made_by)?.name.clone(),
            })
        });
        Ok((room.name.clone(), hooks.collect()))
    }

    /// The token of the webhook with this id.
    pub fn hook_of_id(&self, id: HookId) -> Option<TokenHash> {
        self.hooks.keys().find(|token| hook_id(token) == id).copied()
    }

    /// The bot of the webhook with this token.
    pub fn hook_user(&self, token: &TokenHash) -> Option<&User> {
        self.users.get(&self.hooks.get(token)?.user)
    }
}

/// The first of `items`: at most `limit`, and as many as fit into an answer, but at least one; and whether
/// there are more.
fn page<T: Serialize>(items: impl Iterator<Item = T>, limit: usize) -> (Vec<T>, bool) {
    let (mut taken, mut bytes) = (Vec::new(), 0);
    for item in items {
        // The comma counts, too.
        bytes += serde_json::to_vec(&item).map_or(0, |json| json.len()) + 1;
        if taken.len() >= limit || (bytes > LIST_BYTES && !taken.is_empty()) {
            return (taken, true);
        }
        taken.push(item);
    }
    (taken, false)
}

fn summary(
    room_id: RoomId,
    room: &Room,
    user: Option<&User>,
    id: Option<UserId>,
    role: Option<&'static str>,
) -> RoomSummary {
    let reading = user.and_then(|user| user.rooms.get(&room_id));
    let counted =
        reading.zip(id).map_or_else(Unread::default, |(reading, id)| room.unread(id, reading.last_read));
    RoomSummary {
        room: room.name.clone(),
        room_id: Some(room_id),
        private: room.private,
        topic: room.topic.clone(),
        members: room.member_count(),
        last_seq: room.last_seq,
        joined: reading.is_some(),
        invited: id.is_some_and(|id| room.invited.contains_key(&id)),
        last_read: reading.map_or(0, |reading| reading.last_read),
        unread: reading.map_or(0, |reading| {
            // Events that the room has forgotten are not unread.
            room.last_seq.saturating_sub(reading.last_read.max(room.first_seq().saturating_sub(1)))
        }),
        unread_messages: counted.messages,
        first_unread: counted.first,
        mentions: counted.mentions,
        role: role.unwrap_or_default().into(),
        archived: room.settings.archived,
    }
}
