//! Who may do what in a room: one table, and whatever is not in it is refused.
//!
//! A request comes down to one or more deeds, a user to a rank in the room, and the room to a kind. The
//! table is all there is: nothing else in this program decides whether a person may do something.

/// What somebody is in a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// Shut out.
    Banned,
    /// Has nothing to do with it.
    Stranger,
    /// Was let in by name or by the room's password, or is one of the two whose direct conversation it is.
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
    /// Know that it is there, read it, search it, list its members.
    See,
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
    /// Let somebody in.
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

/// A row of the table.
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

/// The table. Letters: **b**anned, **s**tranger, **i**nvited, m**u**ted, **m**ember, m**o**derator, o**w**ner.
const RIGHTS: [Right; 19] = [
    //                        public    private  direct  archived admin
    right(Deed::See, "siumow", "umow", "iumow", true, true),
    right(Deed::Join, "siumow", "iumow", "iumow", true, false),
    right(Deed::Leave, "umow", "umow", "", true, false),
    right(Deed::Say, "mow", "mow", "imow", false, false),
    right(Deed::Upload, "mow", "mow", "imow", false, false),
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
        See          0111111 0001111 0011111 | 0111111 0001111 0011111 | 1
        Join         0111111 0011111 0011111 | 0111111 0011111 0011111 | -
        Leave        0001111 0001111 0000000 | 0001111 0001111 0000000 | 0
        Say          0000111 0000111 0010111 | 0000000 0000000 0000000 | 0
        Upload       0000111 0000111 0010111 | 0000000 0000000 0000000 | 0
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
