//! What is allowed, and what it comes to. The rules look at the state and change nothing.
//!
//! The same rules serve twice: before the log, to refuse early, and when a command is applied, where
//! their verdict binds. All that can be refused is refused here, so that carrying out cannot fail.
//! Whether a person may do something in a room is asked of one table (`chat::rights`).

mod accounts;
mod files;
mod messages;
mod rooms;

use std::sync::Arc;

pub use self::rooms::EXPIRE_MAX;
pub(super) use self::{files::no_file, messages::has_name, rooms::FORMER_OWNER};
use super::{
    account::{Account, Holder},
    command::{Action, Administer, Proposal, Standing},
    dedup::Digest,
    evidence::Evidence,
    rights::{self, Circumstances, ClusterDeed, Deed, Kind, Office, Rank},
    room::{Role, Room},
    state::State,
    user::UserId,
};
use crate::{
    planted::{Bug, planted},
    protocol::{
        answer::SentAnswer,
        credential::{TokenHash, Verifier},
        event::{Event, EventKind},
        export::{Imported, ImportedRoom},
        file::{FileId, NewFile},
        moderation::Moderation,
        name::{RoomName, UserKey, UserName},
        refusal::{Code, Refusal},
    },
    replica::storage::RoomId,
};

/// What an allowed action comes to. Users are named where they may still have to come into being.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Verdict<'a> {
    /// Nothing happens.
    Nothing,
    /// What was asked for is so already. The answer names an event of the room.
    Already { room: RoomId, seq: u64 },
    /// The room does not exist yet: it is created with the user as its owner.
    Create { room: &'a RoomName, private: bool, password: Option<&'a Verifier> },
    /// The user becomes a member.
    Enter(RoomId),
    /// The user is a member already.
    Stay(RoomId),
    /// The user stops being a member.
    Leave(RoomId),
    /// The message gets the room's next place. `author` is who says it where that is not who asks.
    Say { author: Option<UserId>, place: Place, message: Saying<'a> },
    /// The message has had its place all along.
    Repeat(SentAnswer),
    /// The message gets another text.
    Edit { room: RoomId, target: Arc<Event>, last_edit: Option<Arc<Event>>, body: &'a str },
    /// The message loses its text.
    Delete { room: RoomId, target: Arc<Event>, last_edit: Option<Arc<Event>> },
    /// The message gains or loses a reaction.
    React { room: RoomId, target: Arc<Event>, emoji: &'a str, remove: bool },
    /// The user has read so far.
    MarkRead { room: RoomId, seq: u64 },
    /// The room or one of its people changes.
    Moderate { room: RoomId, what: &'a Moderation },
    /// The room is opened by something else.
    RoomPassword { room: RoomId, password: Option<&'a Verifier> },
    /// The room takes over events; `None`: it is created for them.
    Import {
        room: Option<RoomId>,
        name: &'a RoomName,
        first_seq: u64,
        events: Vec<(&'a Imported, EventKind)>,
        batch: Digest,
    },
    /// The room becomes what it was elsewhere.
    ImportRoom { room: RoomId, info: &'a ImportedRoom },
    /// The room forgets events.
    Expire { room: RoomId, before_seq: u64 },
    /// The name gets an account.
    Register { password: &'a Verifier, admin: bool },
    /// A session begins.
    Login { user: UserId, token: TokenHash, expires_ms: u64, rehashed: Option<&'a Verifier> },
    /// A session is in use.
    Touch { user: UserId, token: TokenHash },
    /// Sessions end.
    Logout { user: UserId, token: TokenHash, everywhere: bool },
    /// The account has another password.
    ChangePassword { user: UserId, token: TokenHash, password: &'a Verifier },
    /// The account is closed.
    CloseAccount { user: UserId },
    /// Something is done to an account.
    Administer { username: &'a UserName, what: &'a Administer },
    /// A program gets an account.
    CreateBot { username: &'a UserName, token: TokenHash },
    /// A room gets a webhook.
    CreateHook { room: RoomId, username: &'a UserName, token: TokenHash },
    /// A webhook goes.
    DeleteHook { room: RoomId, token: TokenHash },
    /// An upload begins, and another one of the user ends for it.
    FileBegin { room: RoomId, file_id: FileId, file: &'a NewFile, instead_of: Option<FileId> },
    /// The upload has this piece, now or already.
    FileChunk { file_id: FileId, received: u64, bytes: &'a [u8] },
    /// The upload is whole.
    FileEnd { file_id: FileId, sha256: [u8; 32] },
    /// The file is whole already.
    FileWhole { file_id: FileId },
    /// The file goes.
    FileDelete { file_id: FileId },
    /// The upload goes, because nothing more of it comes.
    GiveUpUpload { file_id: FileId },
}

/// Where a message goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// Into a room of which the author is a member.
    Room(RoomId),
    /// Into a direct conversation in which the author has not spoken yet.
    Direct { room: RoomName, with: UserName },
}

/// A message that may be said, with the digests that dedup knows it by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Saying<'a> {
    pub body: &'a str,
    pub client_msg_id: &'a str,
    pub reply_to: Option<u64>,
    pub file_id: Option<FileId>,
    pub display_name: Option<&'a str>,
    pub id: Digest,
    pub content: Digest,
}

/// Where and when a command is decided.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asking<'a> {
    pub user: &'a UserName,
    /// The user's number, where they have one.
    pub id: Option<UserId>,
    pub standing: Standing,
    pub now_ms: u64,
    pub evidence: &'a Evidence,
}

impl State {
    /// Whether what is proposed is allowed at `now_ms`, and what it comes to.
    pub(super) fn decide<'a>(
        &self,
        now_ms: u64,
        proposal: &'a Proposal,
        evidence: &'a Evidence,
    ) -> Result<Verdict<'a>, Refusal> {
        let Proposal { user, standing, lamport_timestamp, action } = proposal;
        if *action == Action::Nothing {
            return Ok(Verdict::Nothing);
        }
        self.clock.check(*lamport_timestamp)?;
        let asking = Asking { user, id: self.user_id(&user.key()), standing: *standing, now_ms, evidence };
        self.may_in_cluster(&asking, rights::deed_of_action(action))?;
        let asking = &asking;
        match action {
            Action::Nothing => Ok(Verdict::Nothing),
            Action::Register { password, admin } => self.decide_register(asking, password, *admin),
            Action::Login { password_rev, token, expires_ms, rehashed } => {
                let user = self.decide_login(asking, *password_rev)?;
                Ok(Verdict::Login {
                    user,
                    token: *token,
                    expires_ms: *expires_ms,
                    rehashed: rehashed.as_deref(),
                })
            }
            Action::HookPost { token, body, client_msg_id, display_name } => {
                self.decide_hook_post(asking, token, body, client_msg_id, display_name.as_deref())
            }
            Action::OldExpire { room, before_seq } => self.decide_expire(room, *before_seq, None),
            Action::Expire { room, before_seq, retention } => {
                self.decide_expire(room, *before_seq, Some(*retention))
            }
            Action::GiveUpUpload { file_id } => Ok(self.decide_give_up_upload(*file_id, now_ms)),
            Action::Administer { username, what } => self.decide_administer(asking, username, what),
            Action::Import { room, first_seq, events } => {
                self.decide_import(asking, room, *first_seq, events)
            }
            Action::ImportRoom { room, info } => self.decide_import_room(asking, room, info),
            Action::Join { room } => self.decide_join(asking, room, None, (false, None)),
            Action::Create { room, private, password } => {
                self.decide_join(asking, room, None, (*private, password.as_deref()))
            }
            Action::Unlock { room, password_rev } => {
                self.decide_join(asking, room, Some(*password_rev), (false, None))
            }
            Action::Leave { room } => Ok(Verdict::Leave(self.may(asking, Deed::Leave, room)?.0)),
            Action::Chat { to, body, client_msg_id, reply_to, file_id } => {
                self.decide_chat(asking, to, body, client_msg_id, *reply_to, *file_id)
            }
            Action::Edit { room, body, .. } => self.decide_edit(asking, room, body),
            Action::Delete { room, .. } => self.decide_delete(asking, room),
            Action::React { room, emoji, remove, .. } => self.decide_react(asking, room, emoji, *remove),
            Action::MarkRead { room, seq } => self.decide_mark_read(asking, room, *seq),
            Action::Moderate { room, what } => self.decide_moderate(asking, room, what),
            Action::RoomPassword { room, password } => {
                let (room, _) = self.may(asking, Deed::Configure, room)?;
                Ok(Verdict::RoomPassword { room, password: password.as_deref() })
            }
            Action::Touch => self.decide_session(asking, |user, token| Verdict::Touch { user, token }),
            Action::Logout { everywhere } => self.decide_session(asking, |user, token| Verdict::Logout {
                user,
                token,
                everywhere: *everywhere,
            }),
            Action::ChangePassword { password_rev, password } => {
                self.check_password_rev(asking, *password_rev)?;
                self.decide_session(asking, |user, token| Verdict::ChangePassword { user, token, password })
            }
            Action::CloseAccount { password_rev } => {
                self.check_password_rev(asking, *password_rev)?;
                self.decide_session(asking, |user, _| Verdict::CloseAccount { user })
            }
            Action::CreateBot { username, token } => self.decide_create_bot(asking, username, *token),
            Action::CreateHook { room, username, token } => {
                self.decide_create_hook(asking, room, username, *token)
            }
            Action::DeleteHook { room, token } => self.decide_delete_hook(asking, room, *token),
            Action::FileBegin { file_id, file } => self.decide_file_begin(asking, *file_id, file),
            Action::FileChunk { file_id, offset, bytes } => {
                self.decide_file_chunk(asking, *file_id, *offset, bytes)
            }
            Action::FileEnd { file_id, sha256 } => self.decide_file_end(asking, *file_id, *sha256),
            Action::FileDelete { file_id } => self.decide_file_delete(asking, *file_id),
        }
    }

    /// Whether the asker may do `deed`, whatever the room it is about says.
    fn may_in_cluster(&self, asking: &Asking<'_>, deed: ClusterDeed) -> Result<(), Refusal> {
        let standing = self.check_standing(asking);
        let office = match (&standing, asking.standing) {
            (_, Standing::Operator) => Office::Operator,
            (_, Standing::Cluster) => Office::Cluster,
            (Ok(()), _) => self.office(asking.id),
            (Err(_), _) => Office::Nobody,
        };
        let may = |office: &Office| rights::allows_in_cluster(deed, *office);
        let by_login = [Office::Guest, Office::Person, Office::Bot, Office::Administrator];
        match may(&office) {
            true => Ok(()),
            // Who they are comes before what they may do, where a login could help.
            false if office == Office::Nobody && by_login.iter().any(may) => standing,
            false => Err(Refusal::new(Code::Forbidden, reserved(deed, office))),
        }
    }

    /// What a user is to the cluster, once it is certain who they are.
    fn office(&self, user: Option<UserId>) -> Office {
        match user.and_then(|id| self.users.get(&id)).map(|user| &user.account) {
            Some(account) if account.admin => Office::Administrator,
            Some(Account { holder: Holder::Bot { .. }, .. }) => Office::Bot,
            Some(account) if account.is_registered() => Office::Person,
            _ => Office::Guest,
        }
    }

    /// What a connection's user is to the cluster; `None` for one that nobody has logged in to.
    pub fn office_of(&self, user: Option<&UserKey>, is_operator: bool) -> Office {
        match (is_operator, user) {
            (true, _) => Office::Operator,
            (false, Some(user)) => self.office(self.user_id(user)),
            (false, None) => Office::Nobody,
        }
    }

    /// Whether the user is still who they were when they asked.
    fn check_standing(&self, asking: &Asking<'_>) -> Result<(), Refusal> {
        let user = asking.id.and_then(|id| self.users.get(&id));
        let account = user.map(|user| &user.account);
        match asking.standing {
            Standing::Guest if account.is_none_or(|account| !account.is_registered()) => {}
            Standing::Guest => {
                let reason = format!("{} is registered by now; log in with its password", asking.user);
                return Err(Refusal::new(Code::NotAuthenticated, reason));
            }
            Standing::Session(_) if planted(Bug::RevokedSessionAccepted) => {}
            Standing::Session(token)
                if user.and_then(|user| user.sessions.get(&token)).is_some_and(|session| {
                    session.expires_ms.is_none_or(|expires_ms| asking.now_ms < expires_ms)
                }) => {}
            Standing::Session(_) => {
                let reason = "this session has ended; log in again";
                return Err(Refusal::new(Code::NotAuthenticated, reason));
            }
            // Whoever acts so is no user.
            Standing::Operator | Standing::Cluster => return Ok(()),
        }
        match account.is_some_and(|account| account.is_banned(asking.now_ms)) {
            true => Err(banned_from_cluster(asking.user)),
            false => Ok(()),
        }
    }

    /// What somebody is in a room, and what that room is.
    pub(super) fn circumstances(&self, room: &Room, user: Option<UserId>, now_ms: u64) -> Circumstances {
        Circumstances {
            rank: self.rank(room, user, now_ms),
            admin: user.and_then(|id| self.users.get(&id)).is_some_and(|user| user.account.admin),
            kind: room.kind(),
            archived: room.settings.archived,
        }
    }

    fn rank(&self, room: &Room, user: Option<UserId>, now_ms: u64) -> Rank {
        let Some(id) = user else { return Rank::Stranger };
        if room.banned.get(&id).is_some_and(|until| until.lasts(now_ms)) {
            return Rank::Banned;
        }
        match room.members.get(&id) {
            Some(Role::Owner) => Rank::Owner,
            Some(Role::Moderator) => Rank::Moderator,
            Some(Role::Member) if room.is_muted(id, now_ms) => Rank::Muted,
            Some(Role::Member) => Rank::Member,
            None if room.invited.contains_key(&id) => Rank::Invited,
            None => Rank::Stranger,
        }
    }

    /// The room, where the user may do `deed` there. A room that they may not see is refused in the
    /// words for one that does not exist.
    fn may<'s>(
        &'s self,
        asking: &Asking<'_>,
        deed: Deed,
        room: &RoomName,
    ) -> Result<(RoomId, &'s Room), Refusal> {
        let (id, found) = self.room_named(room).ok_or_else(|| no_room(room))?;
        let circumstances = self.circumstances(found, asking.id, asking.now_ms);
        if rights::allows(deed, circumstances) {
            return Ok((id, found));
        }
        // Who is banned from a public room may know that; of a private one they may never have heard.
        let knows_of_it = rights::allows(Deed::See, circumstances)
            || (circumstances.rank == Rank::Banned && circumstances.kind == Kind::Public);
        if !knows_of_it {
            return Err(no_room(room));
        }
        Err(forbidden(asking.user, deed, &found.name, circumstances))
    }
}

/// Whose a deed is that somebody may not do.
fn reserved(deed: ClusterDeed, office: Office) -> &'static str {
    let is_for = |office| rights::allows_in_cluster(deed, office);
    match office {
        Office::Guest if is_for(Office::Person) => "a guest has no account; register the name first",
        Office::Operator | Office::Cluster if is_for(Office::Person) => {
            "this is nothing that an operator does; log in as a user"
        }
        _ if is_for(Office::Administrator) => "only an administrator may do this",
        _ if is_for(Office::Operator) => "only an operator may do this",
        _ => "only the cluster itself does this",
    }
}

/// The refusal of somebody who is shut out of the cluster.
pub(crate) fn banned_from_cluster(user: &UserName) -> Refusal {
    Refusal::new(Code::Forbidden, format!("{user} is banned from this cluster"))
}

/// The refusal of a room that does not exist, or might as well not.
pub(super) fn no_room(room: &RoomName) -> Refusal {
    Refusal::new(Code::NotFound, format!("there is no room {room}"))
}

/// Why a deed in a room that one may see is refused.
fn forbidden(user: &UserName, deed: Deed, room: &RoomName, circumstances: Circumstances) -> Refusal {
    let Circumstances { rank, archived, .. } = circumstances;
    let unarchived = Circumstances { archived: false, ..circumstances };
    let reason = match rank {
        Rank::Banned => format!("{user} is banned from {room}"),
        _ if archived && rights::allows(deed, unarchived) => {
            format!("{room} is archived: it can be read and not changed")
        }
        Rank::Stranger | Rank::Invited => format!("{user} is not a member of {room}"),
        Rank::Muted => format!("{user} is muted in {room}"),
        _ => format!("{user} has no right to do this in {room}"),
    };
    Refusal::new(Code::Forbidden, reason)
}
