//! The operations, one file each. A file has what the log carries of it, who may do it, what it checks and
//! what it changes.
//!
//! A new operation is a file here and a row in the table below. The log stores an operation by its place in
//! the table, and fields by their place in the operation. Once a version is released, neither changes: what
//! an operation needs more makes a new row, whose [`Operation::rules`] are newer. If a client asks for it,
//! the file also says how the request becomes the command ([`Write`](super::draft::Write)), unless the
//! request is the command.
//!
//! **What an operation goes through**: [`Operation::check`] changes nothing, so it serves early refusals
//! ([`State::check`]) as well as the entry itself ([`State::apply`]). Its plan is passed to
//! [`Operation::apply`], which cannot fail: half a command must never be left behind.

mod target;

use serde::{Deserialize, Serialize};

use super::{
    access::Context,
    effects::Effects,
    operation::{Checked, Operation},
    reply::Reply,
    secret::Made,
    state::State,
};
use crate::protocol::refusal::Refusal;

#[cfg(test)]
pub(crate) use self::{create_bot::BOTS_MAX, invite::INVITED_BY_ONE_MAX};
pub use self::{expire::EXPIRE_MAX, join::NewRoom};

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
    raise_rules: RaiseRules;
}
