//! Who asks, and what they may do. A user has a role in the cluster and in a room; the table of rights
//! decides.

use super::{
    authority::Authority,
    entities::{
        account::{Account, Holder},
        room::{Role, Room},
        user_id::UserId,
    },
    evidence::Evidence,
    rights::{Access, ClusterPermission, ClusterRole, Permission, RoomKind, RoomRole},
    state::State,
};
use crate::{
    disk::RoomId,
    protocol::{
        name::{RoomName, UserKey, UserName},
        refusal::{Code, Refusal},
    },
};

/// What a command is checked against, beside the state.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The user who asks.
    pub user: &'a UserName,
    /// Their number; `None` for a name that the state does not know yet.
    pub id: Option<UserId>,
    /// How they have shown to be that user.
    pub authority: Authority,
    /// The number of the room that they mean, if they gave it: then the name in the command does not count.
    pub room: Option<RoomId>,
    /// The time, milliseconds since the Unix epoch: of the log entry once there is one, of this server's
    /// clock before.
    pub now_ms: u64,
    /// The events that the command is about.
    pub evidence: &'a Evidence,
}

impl Context<'_> {
    /// Refuses what an administrator may do to other users only.
    pub(super) fn must_be_another(&self, username: &UserName) -> Result<(), Refusal> {
        if self.authority != Authority::Operator && username.key() == self.user.key() {
            return Err(Refusal::new(Code::Forbidden, "let another administrator do this to you"));
        }
        Ok(())
    }

    /// The refusal if the room that is meant does not exist or must seem so.
    pub(super) fn no_room(&self, name: &RoomName) -> Refusal {
        no_room_meant(self.room, name)
    }
}

impl State {
    /// Whether the user has `permission` in the cluster, whatever the room says that the command is about.
    pub(super) fn may_in_cluster(
        &self,
        context: &Context<'_>,
        permission: ClusterPermission,
    ) -> Result<(), Refusal> {
        let authority = self.check_authority(context);
        let role = match (&authority, context.authority) {
            (_, Authority::Operator) => ClusterRole::Operator,
            (_, Authority::Cluster) => ClusterRole::Cluster,
            (Ok(()), _) => self.cluster_role(context.id),
            (Err(_), _) => ClusterRole::NotLoggedIn,
        };
        let by_login = [ClusterRole::Guest, ClusterRole::User, ClusterRole::Bot, ClusterRole::Administrator];
        if role.may(permission) {
            return Ok(());
        }
        // If a login could help, the refusal says so before it says what the user may not do.
        if role == ClusterRole::NotLoggedIn && by_login.iter().any(|role| role.may(permission)) {
            return authority;
        }
        Err(Refusal::new(Code::Forbidden, reserved(permission, role)))
    }

    /// A user's role in the cluster, once it is certain who they are.
    fn cluster_role(&self, user: Option<UserId>) -> ClusterRole {
        match user.and_then(|id| self.users.get(&id)).map(|user| &user.account) {
            Some(account) if account.admin => ClusterRole::Administrator,
            Some(Account { holder: Holder::Bot { .. }, .. }) => ClusterRole::Bot,
            Some(account) if account.is_registered() => ClusterRole::User,
            _ => ClusterRole::Guest,
        }
    }

    /// The role in the cluster of a connection's user; `None` if no user has logged in on it.
    pub fn cluster_role_of(&self, user: Option<&UserKey>, is_operator: bool) -> ClusterRole {
        match (is_operator, user) {
            (true, _) => ClusterRole::Operator,
            (false, Some(user)) => self.cluster_role(self.user_id(user)),
            (false, None) => ClusterRole::NotLoggedIn,
        }
    }

    /// Whether the user's login still holds.
    fn check_authority(&self, context: &Context<'_>) -> Result<(), Refusal> {
        let user = context.id.and_then(|id| self.users.get(&id));
        let account = user.map(|user| &user.account);
        match context.authority {
            Authority::Guest if account.is_none_or(|account| !account.is_registered()) => {
                must_not_be_reserved(context.user)?;
            }
            Authority::Guest => return Err(must_log_in(context.user)),
            Authority::Session(token)
                if user.and_then(|user| user.sessions.get(&token)).is_some_and(|session| {
                    session.expires_ms.is_none_or(|expires_ms| context.now_ms < expires_ms)
                }) => {}
            Authority::Session(_) => {
                let reason = "this session has ended; log in again";
                return Err(Refusal::new(Code::NotAuthenticated, reason));
            }
            // These act for no user.
            Authority::Operator | Authority::Cluster => return Ok(()),
        }
        if account.is_some_and(|account| account.is_banned(context.now_ms)) {
            return Err(banned_from_cluster(context.user));
        }
        Ok(())
    }

    /// A user's role in a room, and the kind of the room.
    pub(super) fn access(&self, room: &Room, user: Option<UserId>, now_ms: u64) -> Access {
        Access {
            role: self.room_role(room, user, now_ms),
            admin: user.and_then(|id| self.users.get(&id)).is_some_and(|user| user.account.admin),
            kind: room.kind(),
            archived: room.settings.archived,
            abandoned: room.private && !self.is_kept(room),
        }
    }

    fn room_role(&self, room: &Room, user: Option<UserId>, now_ms: u64) -> RoomRole {
        let Some(id) = user else { return RoomRole::Stranger };
        let is_banned = |id: UserId| room.banned.get(&id).is_some_and(|until| until.lasts(now_ms));
        let role = room.members.get(&id);
        // A bot is kept out with the user who made it.
        if is_banned(id) || (role != Some(&Role::Owner) && self.makers(id).any(is_banned)) {
            return RoomRole::Banned;
        }
        match role {
            Some(Role::Owner) => RoomRole::Owner,
            Some(Role::Moderator) => RoomRole::Moderator,
            Some(Role::Member) if self.is_muted(room, id, now_ms) => RoomRole::Muted,
            Some(Role::Member) => RoomRole::Member,
            None if room.invited.contains_key(&id) => RoomRole::Invited,
            None => RoomRole::Stranger,
        }
    }

    /// Whether users of these names may be added: no reserved name gets one. A user who has such a name since
    /// before it was reserved keeps it.
    pub(super) fn may_name(&self, names: &[UserName]) -> Result<(), Refusal> {
        names.iter().filter(|name| self.user_id(&name.key()).is_none()).try_for_each(must_not_be_reserved)
    }

    /// Whether a member may not write. A bot may not while the user who made it may not, who may have left
    /// meanwhile.
    fn is_muted(&self, room: &Room, user: UserId, now_ms: u64) -> bool {
        let keeps_order = |id| matches!(room.members.get(&id), Some(Role::Owner | Role::Moderator));
        let mut makers = self.makers(user).filter(|maker| !keeps_order(*maker));
        room.is_muted(user, now_ms) || makers.any(|maker| room.is_muted(maker, now_ms))
    }

    /// The word for a member's role at `now_ms`, as people are told it; `None` for a user who is not a
    /// member.
    pub(super) fn role_word(&self, room: &Room, user: UserId, now_ms: u64) -> Option<&'static str> {
        let role = room.members.get(&user)?;
        let is_muted = *role == Role::Member && self.is_muted(room, user, now_ms);
        Some(if is_muted { "muted" } else { role.as_str() })
    }

    /// The room that the user means, if they have `permission` there. A room that they may not see is refused
    /// in the words for one that does not exist.
    pub(super) fn may<'s>(
        &'s self,
        context: &Context<'_>,
        permission: Permission,
        name: &RoomName,
    ) -> Result<(RoomId, &'s Room), Refusal> {
        let (id, room) = self.room_meant(context.room, name).ok_or_else(|| context.no_room(name))?;
        let access = self.access(room, context.id, context.now_ms);
        if access.allows(permission) {
            return Ok((id, room));
        }
        // A user who is banned from a public room may know that. A private one stays hidden from them.
        let knows_of_it = access.allows(Permission::See)
            || (access.role == RoomRole::Banned && access.kind == RoomKind::Public);
        if !knows_of_it {
            return Err(context.no_room(name));
        }
        Err(forbidden(context.user, permission, &room.name, access))
    }
}

/// No user and no webhook may have a reserved name.
pub(crate) fn must_not_be_reserved(name: &UserName) -> Result<(), Refusal> {
    if name.is_reserved() {
        return Err(Refusal::bad_request(format!("username: {name} is reserved; choose another name")));
    }
    Ok(())
}

/// The refusal of a request by a registered name without a login.
pub(crate) fn must_log_in(user: &UserName) -> Refusal {
    let reason = format!("{user} is a registered name; log in with its password");
    Refusal::new(Code::NotAuthenticated, reason)
}

/// The refusal that says what the user would have to be.
pub(super) fn reserved(permission: ClusterPermission, role: ClusterRole) -> &'static str {
    match role {
        ClusterRole::Guest if ClusterRole::User.may(permission) => {
            "a guest has no account; register the name first"
        }
        ClusterRole::Operator | ClusterRole::Cluster if ClusterRole::User.may(permission) => {
            "this is nothing that an operator does; log in as a user"
        }
        _ if ClusterRole::Administrator.may(permission) => "only an administrator may do this",
        _ if ClusterRole::Operator.may(permission) => "only an operator may do this",
        _ => "only the cluster itself does this",
    }
}

pub(crate) fn banned_from_cluster(user: &UserName) -> Refusal {
    Refusal::new(Code::Forbidden, format!("{user} is banned from this cluster"))
}

/// The refusal of a room that does not exist or must seem so.
pub(super) fn no_room(room: &RoomName) -> Refusal {
    Refusal::new(Code::NotFound, format!("there is no room {room}"))
}

/// The same of a room whose number a client gave. Another room may have the name.
pub(super) fn no_room_meant(id: Option<RoomId>, name: &RoomName) -> Refusal {
    if id.is_none() {
        return no_room(name);
    }
    let reason = format!("the room that you know as {name} is not there any more, or not open to you");
    Refusal::new(Code::NotFound, reason)
}

/// The refusal of a new room by a name that is reserved.
pub(super) fn reserved_room(room: &RoomName) -> Refusal {
    Refusal::bad_request(format!("{room} is a reserved name; choose another one"))
}

/// Why the user lacks a permission in a room that they may see.
pub(super) fn forbidden(user: &UserName, permission: Permission, room: &RoomName, access: Access) -> Refusal {
    let unarchived = Access { archived: false, ..access };
    let reason = match access.role {
        RoomRole::Banned => format!("{user} is banned from {room}"),
        _ if access.archived && unarchived.allows(permission) => {
            format!("{room} is archived: it can be read and not changed")
        }
        RoomRole::Stranger | RoomRole::Invited => format!("{user} is not a member of {room}"),
        RoomRole::Muted => format!("{user} is muted in {room}"),
        _ => format!("{user} has no right to do this in {room}"),
    };
    Refusal::new(Code::Forbidden, reason)
}
