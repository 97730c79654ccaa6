//! Who may do what: one table in two parts. What is not in it is refused.
//!
//! A request needs one permission in the cluster and, if it is about a room, one or more there. A user has a
//! role in the cluster and one in the room, and a room has a kind. Nothing but this table decides whether a
//! user may do something.

use crate::protocol::request;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClusterRole {
    /// Not logged in, or not allowed to act in that name.
    NotLoggedIn,
    /// Goes by a name that is not registered.
    Guest,
    /// Has an account.
    User,
    /// A program's account.
    Bot,
    Administrator,
    /// Has proved to know the cluster's secret.
    Operator,
    /// Is the cluster itself.
    Cluster,
}

impl ClusterRole {
    pub const ALL: [ClusterRole; 7] = [
        ClusterRole::NotLoggedIn,
        ClusterRole::Guest,
        ClusterRole::User,
        ClusterRole::Bot,
        ClusterRole::Administrator,
        ClusterRole::Operator,
        ClusterRole::Cluster,
    ];

    /// The letter for it in the table.
    fn letter(self) -> char {
        match self {
            ClusterRole::NotLoggedIn => 'n',
            ClusterRole::Guest => 'g',
            ClusterRole::User => 'u',
            ClusterRole::Bot => 'b',
            ClusterRole::Administrator => 'a',
            ClusterRole::Operator => 'o',
            ClusterRole::Cluster => 'c',
        }
    }
}

/// The permissions in the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClusterPermission {
    /// Go into rooms and do there what the part of rooms allows.
    UseRooms,
    /// Make an account of a free name.
    Register,
    /// Make an account that administers the cluster.
    RegisterAdministrator,
    /// Log in to an account.
    LogIn,
    /// Prove to know the cluster's secret.
    BecomeOperator,
    /// Ask which servers there are and how they are.
    Watch,
    /// Post by a webhook's token, as its bot.
    PostByHook,
    /// Do something to the own account and its sessions.
    KeepAccount,
    /// Make an account for a program.
    MakeBot,
    /// Change the accounts of other users.
    Administer,
    ListUsers,
    /// Read the audit log, but for what was done in private rooms that the user may not see.
    ReadAudit,
    ReadWholeAudit,
    /// Import events and rooms: into public rooms, and into those that an import has made and that had no
    /// members since.
    Import,
    /// Import into every room.
    ImportAnywhere,
    /// Take out the rooms that the user sees.
    Export,
    /// Take out every room.
    ExportAll,
    /// See which servers the cluster has, and change that.
    ManageServers,
    /// Not bound by the limits of an address, and may use the connections that are kept in reserve.
    PassLimits,
    /// Forget old events and abandoned uploads.
    Forget,
    /// Let entries be applied by newer rules.
    RaiseRules,
    /// Say what only who runs the servers can know or decide.
    Operate,
}

/// The part of the cluster. Letters: **n**ot logged in, **g**uest, **u**ser with an account, **b**ot,
/// **a**dministrator, **o**perator, the **c**luster itself.
const CLUSTER_RIGHTS: [(ClusterPermission, &str); 22] = [
    (ClusterPermission::UseRooms, "guba"),
    (ClusterPermission::Register, "ngubao"),
    (ClusterPermission::RegisterAdministrator, "o"),
    (ClusterPermission::LogIn, "nguba"),
    (ClusterPermission::BecomeOperator, "ngubao"),
    (ClusterPermission::Watch, "ngubao"),
    (ClusterPermission::PostByHook, "nguba"),
    (ClusterPermission::KeepAccount, "uba"),
    (ClusterPermission::MakeBot, "uba"),
    (ClusterPermission::Administer, "ao"),
    (ClusterPermission::ListUsers, "ao"),
    (ClusterPermission::ReadAudit, "ao"),
    (ClusterPermission::ReadWholeAudit, "o"),
    (ClusterPermission::Import, "ao"),
    (ClusterPermission::ImportAnywhere, "o"),
    (ClusterPermission::Export, "ao"),
    (ClusterPermission::ExportAll, "o"),
    (ClusterPermission::ManageServers, "o"),
    (ClusterPermission::PassLimits, "ao"),
    (ClusterPermission::Forget, "c"),
    (ClusterPermission::RaiseRules, "c"),
    (ClusterPermission::Operate, "o"),
];

impl ClusterRole {
    /// Whether a user of this role has `permission`.
    pub fn may(self, permission: ClusterPermission) -> bool {
        CLUSTER_RIGHTS.iter().any(|(of, roles)| *of == permission && roles.contains(self.letter()))
    }
}

/// A request that changes nothing in the log, and what it needs in the part of the cluster. For the others,
/// the operations say it (`chat::command`).
pub trait NeedsInCluster {
    const PERMISSION: ClusterPermission;
}

macro_rules! need {
    ($($permission:ident: $($request:ident),+;)+) => {
        $($(impl NeedsInCluster for request::$request {
            const PERMISSION: ClusterPermission = ClusterPermission::$permission;
        })+)+
    };
}

need! {
    LogIn: Login;
    BecomeOperator: OperatorChallenge, OperatorLogin;
    Watch: ListServers, AskStatus, Ping;
    ManageServers: Servers, PlanServers;
    ListUsers: Users;
    ReadAudit: Audit;
    Export: Export, ExportRooms;
    UseRooms: Rooms, Members, Typing, SetPresence, Hooks, Pins, History, Search, FileRead;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RoomRole {
    /// Banned from the room.
    Banned,
    /// Neither a member nor invited.
    Stranger,
    /// Was let in by name or by the room's password.
    Invited,
    /// A member who may not write.
    Muted,
    Member,
    /// Keeps order.
    Moderator,
    Owner,
}

impl RoomRole {
    /// All of them, from the least.
    pub const ALL: [RoomRole; 7] = [
        RoomRole::Banned,
        RoomRole::Stranger,
        RoomRole::Invited,
        RoomRole::Muted,
        RoomRole::Member,
        RoomRole::Moderator,
        RoomRole::Owner,
    ];

    /// The letter for it in the table.
    fn letter(self) -> char {
        match self {
            RoomRole::Banned => 'b',
            RoomRole::Stranger => 's',
            RoomRole::Invited => 'i',
            RoomRole::Muted => 'u',
            RoomRole::Member => 'm',
            RoomRole::Moderator => 'o',
            RoomRole::Owner => 'w',
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoomKind {
    /// All users may see and enter it.
    Public,
    /// Only its members see it, and only invited users enter it.
    Private,
    /// Two users speak to each other.
    Direct,
}

/// The permissions in a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    /// Read it, search it, list its members.
    See,
    /// Find it in the list of rooms.
    Find,
    Join,
    Leave,
    Say,
    Upload,
    /// Give an own message another text.
    Edit,
    /// Delete an own message or file.
    DeleteOwn,
    DeleteOthers,
    /// React to a message.
    React,
    /// Pin a message, or take the pin off.
    Pin,
    /// Note what has been read.
    MarkRead,
    Type,
    /// Set its topic.
    Topic,
    /// Let a user in, or take that back.
    Invite,
    Kick,
    /// Keep a user out, or let them in again.
    Ban,
    /// Keep a member from writing, or let them again.
    Mute,
    /// Give a member another role, or hand the room over to them.
    SetRole,
    /// Change its settings and its password.
    Configure,
    /// Archive it, or end that.
    Archive,
    /// Make and remove the addresses at which tools post.
    Hook,
    /// Give it another name.
    Rename,
    /// Delete it with everything in it.
    DeleteRoom,
    /// Name all its members with one word.
    MentionAll,
}

/// A row of the part of rooms.
struct Right {
    permission: Permission,
    public: &'static str,
    private: &'static str,
    direct: &'static str,
    /// Whether it goes on when the room is archived.
    archived: bool,
    /// Whether an administrator of the cluster may do it, like its owner, in every public room and in private
    /// ones that all members have left.
    admin: bool,
}

const fn right(
    permission: Permission,
    public: &'static str,
    private: &'static str,
    direct: &'static str,
    archived: bool,
    admin: bool,
) -> Right {
    Right { permission, public, private, direct, archived, admin }
}

/// The part of rooms. Letters: **b**anned, **s**tranger, **i**nvited, m**u**ted, **m**ember, m**o**derator,
/// o**w**ner.
const RIGHTS: [Right; 25] = [
    //                        public    private  direct  archived admin
    right(Permission::See, "siumow", "umow", "umow", true, true),
    right(Permission::Find, "siumow", "iumow", "umow", true, true),
    right(Permission::Join, "siumow", "iumow", "umow", false, false),
    right(Permission::Leave, "umow", "umow", "", false, false),
    right(Permission::Say, "mow", "mow", "mow", false, false),
    right(Permission::Upload, "mow", "mow", "mow", false, false),
    right(Permission::Edit, "mow", "mow", "mow", false, false),
    right(Permission::DeleteOwn, "umow", "umow", "umow", false, false),
    right(Permission::DeleteOthers, "ow", "ow", "", false, true),
    right(Permission::React, "mow", "mow", "mow", false, false),
    right(Permission::Pin, "ow", "ow", "umow", false, true),
    right(Permission::MarkRead, "umow", "umow", "umow", true, false),
    right(Permission::Type, "mow", "mow", "mow", false, false),
    right(Permission::Topic, "ow", "ow", "", false, true),
    right(Permission::Invite, "mow", "ow", "", false, false),
    right(Permission::Kick, "ow", "ow", "", false, true),
    right(Permission::Ban, "ow", "ow", "", false, true),
    right(Permission::Mute, "ow", "ow", "", false, true),
    right(Permission::SetRole, "w", "w", "", false, true),
    right(Permission::Configure, "w", "w", "", false, true),
    right(Permission::Archive, "w", "w", "", true, true),
    right(Permission::Hook, "ow", "ow", "", false, true),
    right(Permission::Rename, "w", "w", "", false, true),
    right(Permission::DeleteRoom, "w", "w", "", true, true),
    right(Permission::MentionAll, "ow", "ow", "", false, true),
];

/// A user's role in a room, and the kind of the room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    /// The user's role in the room.
    pub role: RoomRole,
    /// Whether they administer the cluster.
    pub admin: bool,
    pub kind: RoomKind,
    /// Whether the room is archived.
    pub archived: bool,
    /// Whether the room has no owner and no other person among its members.
    pub abandoned: bool,
}

impl Access {
    /// Whether the user counts as the room's owner because they administer the cluster.
    fn is_admins(self) -> bool {
        let is_open = match self.kind {
            RoomKind::Public => true,
            RoomKind::Private => self.abandoned,
            RoomKind::Direct => false,
        };
        self.admin && is_open
    }

    /// Whether the user has `permission` in the room.
    pub fn allows(self, permission: Permission) -> bool {
        let Access { role, kind, archived, .. } = self;
        let Some(right) = RIGHTS.iter().find(|right| right.permission == permission) else { return false };
        let roles = match kind {
            RoomKind::Public => right.public,
            RoomKind::Private => right.private,
            RoomKind::Direct => right.direct,
        };
        let as_admin = right.admin && self.is_admins();
        (roles.contains(role.letter()) || as_admin) && (right.archived || !archived)
    }

    /// Whether the user may do something to a member of role `target`: only to those below.
    pub fn outranks(self, target: RoomRole) -> bool {
        let role = if self.is_admins() { RoomRole::Owner } else { self.role };
        role > target && role >= RoomRole::Moderator
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [RoomKind; 3] = [RoomKind::Public, RoomKind::Private, RoomKind::Direct];

    /// The table once more, with its meaning above it; the web client is held to it, too.
    const EXPECTED: &str = include_str!("../../tests/cases/rights.txt");

    #[test]
    fn every_cell_is_as_it_was_meant() {
        let rows: Vec<&str> = EXPECTED.lines().filter(|line| line.contains(" | ")).collect();
        assert_eq!(rows.len(), RIGHTS.len());
        for (row, right) in rows.iter().zip(&RIGHTS) {
            let words: Vec<&str> = row.split(' ').filter(|word| !word.is_empty() && *word != "|").collect();
            assert_eq!(words[0], format!("{:?}", right.permission));
            for (place, cells) in words[1..7].iter().enumerate() {
                let (kind, archived) = (KINDS[place % 3], place >= 3);
                for (role, cell) in RoomRole::ALL.into_iter().zip(cells.chars()) {
                    let access = Access { role, admin: false, kind, archived, abandoned: true };
                    assert_eq!(access.allows(right.permission), cell == '1', "{row}: {access:?}");
                }
            }
            let stranger = Access {
                role: RoomRole::Stranger,
                admin: true,
                kind: RoomKind::Public,
                archived: false,
                abandoned: false,
            };
            let abandoned = Access { kind: RoomKind::Private, abandoned: true, ..stranger };
            if words[7] != "-" {
                assert_eq!(stranger.allows(right.permission), words[7] == "1", "an administrator: {row}");
                assert_eq!(
                    abandoned.allows(right.permission),
                    words[7] == "1",
                    "where nobody is left: {row}"
                );
            }
            let direct = Access { kind: RoomKind::Direct, ..abandoned };
            assert!(!direct.allows(right.permission), "a conversation is never abandoned: {row}");
            for kind in [RoomKind::Private, RoomKind::Direct] {
                let private = Access { kind, ..stranger };
                assert!(
                    !private.allows(right.permission),
                    "no role in the cluster opens what is private: {row}"
                );
            }
        }
    }

    /// The part of the cluster once more: whether one who is not logged in, a guest, a user, a bot, an
    /// administrator, an operator and the cluster itself may.
    const EXPECTED_IN_CLUSTER: &str = "
        UseRooms              0111100
        Register              1111110
        RegisterAdministrator 0000010
        LogIn                 1111100
        BecomeOperator        1111110
        Watch                 1111110
        PostByHook            1111100
        KeepAccount           0011100
        MakeBot               0011100
        Administer            0000110
        ListUsers             0000110
        ReadAudit             0000110
        ReadWholeAudit        0000010
        Import                0000110
        ImportAnywhere        0000010
        Export                0000110
        ExportAll             0000010
        ManageServers         0000010
        PassLimits            0000110
        Forget                0000001
        RaiseRules            0000001
        Operate               0000010
    ";

    #[test]
    fn every_cell_of_the_cluster_is_as_it_was_meant() {
        let rows = EXPECTED_IN_CLUSTER.lines().filter(|line| !line.trim().is_empty());
        let rows: Vec<Vec<&str>> = rows.map(|row| row.split_whitespace().collect()).collect();
        assert_eq!(rows.len(), CLUSTER_RIGHTS.len());
        for (row, (permission, _)) in rows.iter().zip(&CLUSTER_RIGHTS) {
            assert_eq!(row[0], format!("{permission:?}"));
            for (role, cell) in ClusterRole::ALL.into_iter().zip(row[1].chars()) {
                assert_eq!(role.may(*permission), cell == '1', "{permission:?} by {role:?}");
            }
        }
    }

    #[test]
    fn only_those_below_are_outranked() {
        let at = |role, admin, kind| Access { role, admin, kind, archived: false, abandoned: false };
        for (actor, target, expected) in [
            (at(RoomRole::Owner, false, RoomKind::Private), RoomRole::Moderator, true),
            (at(RoomRole::Moderator, false, RoomKind::Private), RoomRole::Member, true),
            (at(RoomRole::Moderator, false, RoomKind::Public), RoomRole::Moderator, false),
            (at(RoomRole::Moderator, false, RoomKind::Public), RoomRole::Owner, false),
            (at(RoomRole::Member, false, RoomKind::Public), RoomRole::Stranger, false),
            (at(RoomRole::Stranger, true, RoomKind::Public), RoomRole::Moderator, true),
            (at(RoomRole::Stranger, true, RoomKind::Public), RoomRole::Owner, false),
            (at(RoomRole::Stranger, true, RoomKind::Private), RoomRole::Member, false),
        ] {
            assert_eq!(actor.outranks(target), expected, "{actor:?} against {target:?}");
        }
    }
}
