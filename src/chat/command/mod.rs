//! The operations, one file each. A file has what the log carries of it, who may do it, what it checks and
//! what it changes.
//!
//! A new operation is a file here and a row in the table below. The log stores an operation by its place in
//! the table, and fields by their place in the operation: new ones go to the end. If a client asks for it,
//! the file also says how the request becomes the command ([`draft::Write`]), unless the request is the
//! command.
//!
//! **What an operation goes through**: [`Operation::check`] changes nothing, so it serves early refusals
//! ([`State::check`]) as well as the entry itself ([`State::apply`]). Its plan is passed to
//! [`Operation::apply`], which cannot fail: half a command must never be left behind.

mod target;

use serde::{Deserialize, Serialize};

use super::{
    access::Context,
    audit::Audited,
    draft::{self, Made},
    effects::Effects,
    rights::ClusterPermission,
    state::State,
};
use crate::{
    disk::RoomId,
    protocol::{
        answer::SentAnswer,
        event::Event,
        file::{FileId, FileInfo},
        name::{RoomName, UserName},
        refusal::Refusal,
    },
};

#[cfg(test)]
pub(crate) use self::{create_bot::BOTS_MAX, invite::INVITED_BY_ONE_MAX};
pub use self::{expire::EXPIRE_MAX, join::NewRoom, transfer_leader::Lead};

/// A change of the state by a user, a program, an operator or the cluster itself.
pub trait Operation {
    /// What the change needs to know from the check.
    type Plan
    where
        Self: Sized;

    /// The permission that it needs in the cluster; the check looks at those in the room.
    fn permission(&self) -> ClusterPermission {
        ClusterPermission::UseRooms
    }

    /// The event of a room's history that it is about.
    fn target(&self) -> Option<(&RoomName, u64)> {
        None
    }

    /// The users, beside the one who asks, that it adds if the state does not know them yet.
    fn names(&self) -> Vec<UserName> {
        Vec::new()
    }

    /// The room that it creates if there is none of this name, for `user`.
    fn creates(&self, _user: &UserName) -> Option<RoomName> {
        None
    }

    /// The bot that it makes an account for. Accounts are counted by address.
    fn makes_bot(&self) -> Option<&UserName> {
        None
    }

    /// Takes what was made or checked for it: what its draft named as [`Secret`](super::draft::Secret).
    fn complete(&mut self, _made: Made) {}

    /// Whether the addresses from which an account was used are trusted no more: it has another password, or
    /// may not be used. (A user who only logs out keeps what protects them from being locked out.)
    fn ends_trust(&self) -> bool {
        false
    }

    /// The entry of the audit log if it changes something; `None` if it needs no rights over others.
    fn audited(&self, _state: &State, _context: &Context<'_>) -> Option<Audited> {
        None
    }

    /// Whether it is allowed, and the plan for the change. The permission in the cluster has been checked
    /// before.
    fn check(&self, state: &State, context: &Context<'_>) -> Result<Checked<Self::Plan>, Refusal>
    where
        Self: Sized;

    /// Changes the state as planned.
    fn apply(&self, plan: Self::Plan, state: &mut State, user: &UserName, effects: &mut Effects) -> Reply
    where
        Self: Sized;
}

/// The result of a check that allows the operation.
#[derive(Debug, Clone, PartialEq)]
pub enum Checked<P> {
    Change(P),
    /// Nothing to do: it is so already, or not to be done any more. This is the answer.
    Unchanged(Reply),
}

impl<P> Checked<P> {
    /// It is so already; the answer names an event of the room.
    fn already(room: &RoomName, seq: u64) -> Self {
        Checked::Unchanged(Reply::Placed { room: room.clone(), seq, duplicate: true })
    }
}

/// The answer to a command that was allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// To [`Join`].
    Joined {
        /// The number of the room.
        room_id: RoomId,
        /// Its name, in the case it was created with.
        room: RoomName,
        /// Whether this command created it.
        created: bool,
        private: bool,
        topic: String,
        /// The user's role in it, in the word that `members` has for it.
        role: &'static str,
        /// The first event that it still has.
        first_seq: u64,
        /// Its newest event, that of the joining included.
        last_seq: u64,
    },
    /// To [`Leave`] and [`DeleteRoom`].
    Left {
        /// The number of the room.
        room_id: RoomId,
        /// Its name, in the case in which it was given.
        room: RoomName,
    },
    /// To [`Say`] and [`HookPost`].
    Sent(SentAnswer),
    /// To what changes something in a room.
    Placed {
        room: RoomName,
        /// The event that says so.
        seq: u64,
        /// Whether it was so already, and the event is an earlier one.
        duplicate: bool,
    },
    /// To [`Invite`].
    Invited {
        room: RoomName,
        /// The event that says so.
        seq: u64,
        /// Whether it was so already, and the event is an earlier one.
        duplicate: bool,
        /// Whether a user has ever used the name.
        is_known: bool,
    },
    /// To what changes an account.
    Account {
        /// Its name, in the case it was created with.
        username: UserName,
    },
    /// To [`FileBegin`] and [`FileChunk`], and to [`FileDelete`] of an upload that was not ended.
    Receiving {
        file_id: FileId,
        /// How many bytes of it have arrived.
        received: u64,
    },
    /// To [`FileEnd`] and [`FileDelete`].
    File(FileInfo),
    /// To what changes nothing that users see.
    Done,
    /// To [`ChangeServers`].
    ServersChanged {
        /// The log entry that says so.
        version: u64,
    },
    /// To [`Nothing`], and to commands of the cluster itself: no client waits for these.
    Nothing,
}

impl Reply {
    /// The answer that names the event.
    pub(super) fn placed(event: &Event) -> Reply {
        Reply::Placed { room: event.room.clone(), seq: event.seq, duplicate: false }
    }
}

/// Makes the table of commands: the enum that the log carries, and its mapping to operations.
macro_rules! commands {
    ($($module:ident: $($name:ident),+;)+) => {
        $(mod $module;)+
        $(pub use self::$module::{$($name),+};)+

        /// A change of the chat state, as the log carries it.
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        pub enum Command {
            $($(
                #[doc = concat!("See [`", stringify!($name), "`](struct@", stringify!($name), ").")]
                $name($name),
            )+)+
        }

        $($(
            impl From<$name> for Command {
                fn from(operation: $name) -> Command {
                    Command::$name(operation)
                }
            }
        )+)+

        impl Command {
            /// The operation, for methods that all have.
            pub fn operation(&self) -> &dyn Operation {
                match self {
                    $($(Command::$name(operation) => operation,)+)+
                }
            }

            /// What the operation is called, for logs.
            pub fn name(&self) -> &'static str {
                match self {
                    $($(Command::$name(_) => stringify!($name),)+)+
                }
            }

            /// Takes what was made or checked for the operation.
            pub fn complete(&mut self, made: Made) {
                match self {
                    $($(Command::$name(operation) => operation.complete(made),)+)+
                }
            }

            /// Whether the operation is allowed.
            pub(super) fn check(&self, state: &State, context: &Context<'_>) -> Result<(), Refusal> {
                match self {
                    $($(Command::$name(operation) => operation.check(state, context).map(drop),)+)+
                }
            }

            /// Carries the operation out if it is allowed; then the client's timestamp moves the clock.
            pub(super) fn run(
                &self,
                state: &mut State,
                context: &Context<'_>,
                lamport_timestamp: u64,
                effects: &mut Effects,
            ) -> Result<Reply, Refusal> {
                match self {
                    $($(Command::$name(operation) => {
                        run(operation, state, context, lamport_timestamp, effects)
                    })+)+
                }
            }
        }
    };
}

fn run<O: Operation>(
    operation: &O,
    state: &mut State,
    context: &Context<'_>,
    lamport_timestamp: u64,
    effects: &mut Effects,
) -> Result<Reply, Refusal> {
    let checked = operation.check(state, context)?;
    state.clock.hear(lamport_timestamp);
    Ok(match checked {
        Checked::Change(plan) => {
            let audited =
                operation.audited(state, context).map(|audited| state.audit_entry(context, audited));
            let reply = operation.apply(plan, state, context.user, effects);
            if let Some(entry) = audited {
                state.note_deed(effects, entry);
            }
            reply
        }
        Checked::Unchanged(reply) => reply,
    })
}

// New rows go to the end: the log stores a command by its place in this table.
commands! {
    nothing: Nothing;
    join: Join;
    leave: Leave;
    say: Say;
    edit: Edit;
    delete: Delete;
    react: React;
    mark_read: MarkRead;
    topic: Topic;
    invite: Invite, Uninvite;
    kick: Kick;
    ban: Ban, Unban;
    mute: Mute, Unmute;
    set_role: SetRole;
    room_settings: RoomSettings, RoomPassword;
    import: Import, ImportRoom;
    expire: Expire;
    register: Register;
    session: Login, Touch, Logout;
    password: ChangePassword, SetPassword;
    close_account: CloseAccount, DeleteAccount;
    cluster_ban: ClusterBan, ClusterUnban;
    set_admin: SetAdmin;
    create_bot: CreateBot;
    hook: CreateHook, DeleteHook, HookPost;
    upload: FileBegin, FileChunk, FileEnd, GiveUpUpload;
    file_delete: FileDelete;
    pin: Pin, Unpin;
    block: Block, Unblock;
    rename_room: RenameRoom;
    delete_room: DeleteRoom;
    guest_login: GuestLogin;
    transfer_leader: TransferLeader;
    backup_made: BackupMade;
    change_servers: ChangeServers;
}
