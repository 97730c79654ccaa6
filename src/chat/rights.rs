//! Who may do what: one table in two parts, and whatever is not in it is refused.
//!
//! A request comes down to one deed in the cluster and, where it is about a room, to one or more deeds there.
//! Somebody comes down to an office in the cluster and a rank in the room, and the room to a kind. The table is
//! all there is: nothing else in this program decides whether a person may do something.

use super::command::Action;
use crate::protocol::Request;

/// What somebody is to the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Office {
    /// Has not shown who they are, or is not let act in that name.
    Nobody,
    /// Goes by a name that nobody has registered.
    Guest,
    /// Has an account.
    Person,
    /// Is a program.
    Bot,
    /// Administers the cluster.
    Administrator,
    /// Knows the cluster's secret.
    Operator,
    /// Is the cluster itself.
    Cluster,
}

impl Office {
    /// All of them.
    pub const ALL: [Office; 7] = [
        Office::Nobody,
        Office::Guest,
        Office::Person,
        Office::Bot,
        Office::Administrator,
        Office::Operator,
        Office::Cluster,
    ];

    /// The letter for it in the table.
    fn letter(self) -> char {
        match self {
            Office::Nobody => 'n',
            Office::Guest => 'g',
            Office::Person => 'p',
            Office::Bot => 'b',
            Office::Administrator => 'a',
            Office::Operator => 'o',
            Office::Cluster => 'c',
        }
    }
}

/// What somebody does in the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClusterDeed {
    /// Go into rooms and do there what the part of rooms allows.
    UseRooms,
    /// Make an account of a free name.
    Register,
    /// Make an account that administers the cluster.
    RegisterAdministrator,
    /// Log in to an account.
    LogIn,
    /// Show that one knows the cluster's secret.
    BecomeOperator,
    /// Ask which servers there are and how they are.
    Watch,
    /// Say what a webhook's token lets its bot say.
    PostByHook,
    /// Do something to the own account and its sessions.
    KeepAccount,
    /// Make an account for a program.
    MakeBot,
    /// Do something to anybody's account.
    Administer,
    /// List everybody.
    ListUsers,
    /// Take events and rooms over: into public rooms, and those that an import has made and nobody was in.
    Import,
    /// The same into every room.
    ImportAnywhere,
    /// Take out the rooms that one sees.
    Export,
    /// Take out every room.
    ExportAll,
    /// Be held to no limit of an address, and have one of the places for connections that are kept free.
    PassLimits,
    /// Forget what is old or was given up.
    Forget,
}

/// The part of the cluster. Letters: **n**obody, **g**uest, **p**erson, **b**ot, **a**dministrator, **o**perator,
/// the **c**luster itself.
const CLUSTER_RIGHTS: [(ClusterDeed, &str); 17] = [
    (ClusterDeed::UseRooms, "gpba"),
    (ClusterDeed::Register, "ngpbao"),
    (ClusterDeed::RegisterAdministrator, "o"),
    (ClusterDeed::LogIn, "ngpba"),
    (ClusterDeed::BecomeOperator, "ngpbao"),
    (ClusterDeed::Watch, "ngpbao"),
    (ClusterDeed::PostByHook, "ngpba"),
    (ClusterDeed::KeepAccount, "pba"),
    (ClusterDeed::MakeBot, "pba"),
    (ClusterDeed::Administer, "ao"),
    (ClusterDeed::ListUsers, "ao"),
    (ClusterDeed::Import, "ao"),
    (ClusterDeed::ImportAnywhere, "o"),
    (ClusterDeed::Export, "ao"),
    (ClusterDeed::ExportAll, "o"),
    (ClusterDeed::PassLimits, "ao"),
    (ClusterDeed::Forget, "c"),
];

/// Whether somebody of that office may do `deed`.
pub fn allows_in_cluster(deed: ClusterDeed, office: Office) -> bool {
    CLUSTER_RIGHTS.iter().any(|(of, offices)| *of == deed && offices.contains(office.letter()))
}

/// What a request is in the part of the cluster.
pub fn deed_of_request(request: &Request) -> ClusterDeed {
    match request {
        Request::Register { admin: true, .. } => ClusterDeed::RegisterAdministrator,
        Request::Register { admin: false, .. } => ClusterDeed::Register,
        Request::Login(_) => ClusterDeed::LogIn,
        Request::OperatorChallenge | Request::OperatorLogin { .. } => ClusterDeed::BecomeOperator,
        Request::HookPost { .. } => ClusterDeed::PostByHook,
        Request::Logout { .. } | Request::ChangePassword { .. } | Request::CloseAccount { .. } => {
            ClusterDeed::KeepAccount
        }
        Request::CreateBot { .. } => ClusterDeed::MakeBot,
        Request::Administer(_) => ClusterDeed::Administer,
        Request::Users { .. } => ClusterDeed::ListUsers,
        Request::Import { .. } | Request::ImportRoom { .. } => ClusterDeed::Import,
        Request::Export { .. } | Request::ExportRooms { .. } => ClusterDeed::Export,
        Request::ServerList | Request::Status | Request::Ping { .. } => ClusterDeed::Watch,
        Request::CreateJoin { .. }
        | Request::Leave { .. }
        | Request::Chat { .. }
        | Request::Edit { .. }
        | Request::Delete { .. }
        | Request::React { .. }
        | Request::MarkRead { .. }
        | Request::Moderate { .. }
        | Request::RoomPassword { .. }
        | Request::CreateHook { .. }
        | Request::DeleteHook { .. }
        | Request::Hooks { .. }
        | Request::History { .. }
        | Request::Search { .. }
        | Request::Rooms { .. }
        | Request::Members { .. }
        | Request::Typing { .. }
        | Request::SetPresence { .. }
        | Request::FileBegin(_)
        | Request::FileChunk { .. }
        | Request::FileEnd { .. }
        | Request::FileRead { .. }
        | Request::FileDelete { .. } => ClusterDeed::UseRooms,
    }
}

/// What an action is in the part of the cluster.
pub fn deed_of_action(action: &Action) -> ClusterDeed {
    match action {
        Action::Register { admin: true, .. } => ClusterDeed::RegisterAdministrator,
        Action::Register { admin: false, .. } => ClusterDeed::Register,
        Action::Login { .. } => ClusterDeed::LogIn,
        Action::HookPost { .. } => ClusterDeed::PostByHook,
        Action::Touch
        | Action::Logout { .. }
        | Action::ChangePassword { .. }
        | Action::CloseAccount { .. } => ClusterDeed::KeepAccount,
        Action::CreateBot { .. } => ClusterDeed::MakeBot,
        Action::Administer { .. } => ClusterDeed::Administer,
        Action::Import { .. } | Action::ImportRoom { .. } => ClusterDeed::Import,
        Action::OldExpire { .. } | Action::Expire { .. } | Action::GiveUpUpload { .. } => ClusterDeed::Forget,
        Action::Nothing
        | Action::Join { .. }
        | Action::Create { .. }
        | Action::Unlock { .. }
        | Action::Leave { .. }
        | Action::Chat { .. }
        | Action::Edit { .. }
        | Action::Delete { .. }
        | Action::React { .. }
        | Action::MarkRead { .. }
        | Action::Moderate { .. }
        | Action::RoomPassword { .. }
        | Action::CreateHook { .. }
        | Action::DeleteHook { .. }
        | Action::FileBegin { .. }
        | Action::FileChunk { .. }
        | Action::FileEnd { .. }
        | Action::FileDelete { .. } => ClusterDeed::UseRooms,
    }
}

/// What somebody is in a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// Shut out.
    Banned,
    /// Has nothing to do with it.
    Stranger,
    /// Was let in by name or by the room's password.
    Invited,
    /// A member who may not write.
    Muted,
    /// A member.
    Member,
    /// Keeps order.
    Moderator,
    /// Owns it.
    Owner,
}

impl Rank {
    /// All of them, from the least.
    pub const ALL: [Rank; 7] = [
        Rank::Banned,
        Rank::Stranger,
        Rank::Invited,
        Rank::Muted,
        Rank::Member,
        Rank::Moderator,
        Rank::Owner,
    ];

    /// The letter for it in the table.
    fn letter(self) -> char {
        match self {
            Rank::Banned => 'b',
            Rank::Stranger => 's',
            Rank::Invited => 'i',
            Rank::Muted => 'u',
            Rank::Member => 'm',
            Rank::Moderator => 'o',
            Rank::Owner => 'w',
        }
    }
}

/// What a room is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Anybody may see and enter it.
    Public,
    /// Only its members see it, and only who was let in enters it.
    Private,
    /// Two people speak to each other.
    Direct,
}

/// What somebody does in a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// Read it, search it, list its members.
    See,
    /// Find it in the list of rooms.
    Find,
    /// Become a member.
    Join,
    /// Stop being one.
    Leave,
    /// Say something.
    Say,
    /// Post a file.
    Upload,
    /// Give an own message another text.
    Edit,
    /// Delete an own message or file.
    DeleteOwn,
    /// Delete another's.
    DeleteOthers,
    /// React to a message.
    React,
    /// Note what has been read.
    MarkRead,
    /// Be seen typing.
    Type,
    /// Say what it is about.
    Topic,
    /// Let somebody in, or take that back.
    Invite,
    /// End somebody's membership.
    Kick,
    /// Shut somebody out, or let them in again.
    Ban,
    /// Keep somebody from writing, or let them again.
    Mute,
    /// Make somebody a moderator, a member, or the owner in one's own place.
    SetRole,
    /// Change its settings and its password.
    Configure,
    /// Make and remove the addresses at which tools post.
    Hook,
}

/// A row of the part of rooms.
struct Right {
    deed: Deed,
    public: &'static str,
    private: &'static str,
    direct: &'static str,
    /// Whether it goes on when the room is archived.
    archived: bool,
    /// Whether an administrator of the cluster may do it in every public room, like its owner.
    admin: bool,
}

const fn right(
    deed: Deed,
    public: &'static str,
    private: &'static str,
    direct: &'static str,
    archived: bool,
    admin: bool,
) -> Right {
    Right { deed, public, private, direct, archived, admin }
}

/// The part of rooms. Letters: **b**anned, **s**tranger, **i**nvited, m**u**ted, **m**ember, m**o**derator, o**w**ner.
const RIGHTS: [Right; 20] = [
    //                        public    private  direct  archived admin
    right(Deed::See, "siumow", "umow", "umow", true, true),
    right(Deed::Find, "siumow", "iumow", "umow", true, true),
    right(Deed::Join, "siumow", "iumow", "umow", true, false),
    right(Deed::Leave, "umow", "umow", "", true, false),
    right(Deed::Say, "mow", "mow", "mow", false, false),
    right(Deed::Upload, "mow", "mow", "mow", false, false),
    right(Deed::Edit, "mow", "mow", "mow", false, false),
    right(Deed::DeleteOwn, "umow", "umow", "umow", false, false),
    right(Deed::DeleteOthers, "ow", "ow", "", false, true),
    right(Deed::React, "mow", "mow", "mow", false, false),
    right(Deed::MarkRead, "umow", "umow", "umow", true, false),
    right(Deed::Type, "mow", "mow", "mow", false, false),
    right(Deed::Topic, "ow", "ow", "", false, true),
    right(Deed::Invite, "mow", "ow", "", false, false),
    right(Deed::Kick, "ow", "ow", "", false, true),
    right(Deed::Ban, "ow", "ow", "", false, true),
    right(Deed::Mute, "ow", "ow", "", false, true),
    right(Deed::SetRole, "w", "w", "", false, true),
    right(Deed::Configure, "w", "w", "", true, true),
    right(Deed::Hook, "ow", "ow", "", false, true),
];

/// Where a deed is done, and by whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Circumstances {
    /// What the doer is in the room.
    pub rank: Rank,
    /// Whether they administer the cluster.
    pub admin: bool,
    /// What the room is.
    pub kind: Kind,
    /// Whether it is archived.
    pub archived: bool,
}

/// Whether `deed` is allowed.
pub fn allows(deed: Deed, Circumstances { rank, admin, kind, archived }: Circumstances) -> bool {
    let Some(right) = RIGHTS.iter().find(|right| right.deed == deed) else { return false };
    let ranks = match kind {
        Kind::Public => right.public,
        Kind::Private => right.private,
        Kind::Direct => right.direct,
    };
    let by_office = right.admin && admin && kind == Kind::Public;
    (ranks.contains(rank.letter()) || by_office) && (right.archived || !archived)
}

/// Whether somebody of rank `doer` may do something to a member of rank `target`: only to those below. An
/// administrator counts as an owner in public rooms.
pub fn outranks(doer: Circumstances, target: Rank) -> bool {
    let rank = if doer.admin && doer.kind == Kind::Public { Rank::Owner } else { doer.rank };
    rank > target && rank >= Rank::Moderator
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [Kind; 3] = [Kind::Public, Kind::Private, Kind::Direct];

    /// The table once more, written by a person who was asked "who may?", cell by cell: a deed, and for
    /// public, private and direct rooms whether banned, stranger, invited, muted, member, moderator and
    /// owner may; then the same where it is archived; then an administrator who is none of these.
    const EXPECTED: &str = "
        See          0111111 0001111 0001111 | 0111111 0001111 0001111 | 1
        Find         0111111 0011111 0001111 | 0111111 0011111 0001111 | 1
        Join         0111111 0011111 0001111 | 0111111 0011111 0001111 | -
        Leave        0001111 0001111 0000000 | 0001111 0001111 0000000 | 0
        Say          0000111 0000111 0000111 | 0000000 0000000 0000000 | 0
        Upload       0000111 0000111 0000111 | 0000000 0000000 0000000 | 0
        Edit         0000111 0000111 0000111 | 0000000 0000000 0000000 | 0
        DeleteOwn    0001111 0001111 0001111 | 0000000 0000000 0000000 | 0
        DeleteOthers 0000011 0000011 0000000 | 0000000 0000000 0000000 | 1
        React        0000111 0000111 0000111 | 0000000 0000000 0000000 | 0
        MarkRead     0001111 0001111 0001111 | 0001111 0001111 0001111 | 0
        Type         0000111 0000111 0000111 | 0000000 0000000 0000000 | 0
        Topic        0000011 0000011 0000000 | 0000000 0000000 0000000 | 1
        Invite       0000111 0000011 0000000 | 0000000 0000000 0000000 | 0
        Kick         0000011 0000011 0000000 | 0000000 0000000 0000000 | 1
        Ban          0000011 0000011 0000000 | 0000000 0000000 0000000 | 1
        Mute         0000011 0000011 0000000 | 0000000 0000000 0000000 | 1
        SetRole      0000001 0000001 0000000 | 0000000 0000000 0000000 | 1
        Configure    0000001 0000001 0000000 | 0000001 0000001 0000000 | 1
        Hook         0000011 0000011 0000000 | 0000000 0000000 0000000 | 1
    ";

    #[test]
    fn every_cell_is_as_it_was_meant() {
        let rows: Vec<&str> = EXPECTED.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        assert_eq!(rows.len(), RIGHTS.len());
        for (row, right) in rows.iter().zip(&RIGHTS) {
            let words: Vec<&str> = row.split(' ').filter(|word| !word.is_empty() && *word != "|").collect();
            assert_eq!(words[0], format!("{:?}", right.deed));
            for (place, cells) in words[1..7].iter().enumerate() {
                let (kind, archived) = (KINDS[place % 3], place >= 3);
                for (rank, cell) in Rank::ALL.into_iter().zip(cells.chars()) {
                    let circumstances = Circumstances { rank, admin: false, kind, archived };
                    assert_eq!(allows(right.deed, circumstances), cell == '1', "{row}: {circumstances:?}");
                }
            }
            let stranger =
                Circumstances { rank: Rank::Stranger, admin: true, kind: Kind::Public, archived: false };
            if words[7] != "-" {
                assert_eq!(allows(right.deed, stranger), words[7] == "1", "an administrator: {row}");
            }
            for kind in [Kind::Private, Kind::Direct] {
                let private = Circumstances { kind, ..stranger };
                assert!(!allows(right.deed, private), "no office opens what is private: {row}");
            }
        }
    }

    /// The part of the cluster once more: whether nobody, a guest, a person, a bot, an administrator, an operator
    /// and the cluster itself may.
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
        Import                0000110
        ImportAnywhere        0000010
        Export                0000110
        ExportAll             0000010
        PassLimits            0000110
        Forget                0000001
    ";

    #[test]
    fn every_cell_of_the_cluster_is_as_it_was_meant() {
        let rows = EXPECTED_IN_CLUSTER.lines().filter(|line| !line.trim().is_empty());
        let rows: Vec<Vec<&str>> = rows.map(|row| row.split_whitespace().collect()).collect();
        assert_eq!(rows.len(), CLUSTER_RIGHTS.len());
        for (row, (deed, _)) in rows.iter().zip(&CLUSTER_RIGHTS) {
            assert_eq!(row[0], format!("{deed:?}"));
            for (office, cell) in Office::ALL.into_iter().zip(row[1].chars()) {
                assert_eq!(allows_in_cluster(*deed, office), cell == '1', "{deed:?} by {office:?}");
            }
        }
    }

    #[test]
    fn nobody_is_above_their_own_kind() {
        let at = |rank, admin, kind| Circumstances { rank, admin, kind, archived: false };
        for (doer, target, expected) in [
            (at(Rank::Owner, false, Kind::Private), Rank::Moderator, true),
            (at(Rank::Moderator, false, Kind::Private), Rank::Member, true),
            (at(Rank::Moderator, false, Kind::Public), Rank::Moderator, false),
            (at(Rank::Moderator, false, Kind::Public), Rank::Owner, false),
            (at(Rank::Member, false, Kind::Public), Rank::Stranger, false),
            (at(Rank::Stranger, true, Kind::Public), Rank::Moderator, true),
            (at(Rank::Stranger, true, Kind::Public), Rank::Owner, false),
            (at(Rank::Stranger, true, Kind::Private), Rank::Member, false),
        ] {
            assert_eq!(outranks(doer, target), expected, "{doer:?} against {target:?}");
        }
    }
}
