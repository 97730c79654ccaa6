//! How a request becomes a command. Each operation's file implements [`Write`] for its request. The table of
//! requests in `protocol::request` uses them all, so a write without it does not compile.

use sha2::{Digest, Sha256};

use super::{
    command::{Command, Operation},
    entry::Origin,
    rights::{ClusterPermission, NeedsInCluster},
    room::room_of,
    state::State,
};
use crate::protocol::{
    credential::{Password, TokenHash, Verifier},
    directory::{Directory, ServerChange},
    file::FileId,
    name::{RoomKey, UserName},
    refusal::Refusal,
    request::{self, Destination, Request, requests},
};

/// A request that changes something. Many are the operation itself.
pub trait Write {
    /// What the user needs in the cluster before anything else is looked at.
    fn needs(&self) -> ClusterPermission {
        ClusterPermission::UseRooms
    }

    /// The command that it asks for.
    ///
    /// # Errors
    /// It names something that does not exist. Whether it is allowed is not decided here, but by the
    /// command's check.
    fn draft(self, asked: &Asked<'_>) -> Result<Draft, Refusal>;
}

impl<O: Operation + Into<Command>> Write for O {
    fn needs(&self) -> ClusterPermission {
        self.permission()
    }

    fn draft(self, _: &Asked<'_>) -> Result<Draft, Refusal> {
        Ok(Draft::from(self))
    }
}

/// What is needed to make a command of a request.
pub struct Asked<'a> {
    /// The state as this server has it.
    pub state: &'a State,
    /// The user who asks; `None` before the login.
    pub user: Option<&'a UserName>,
    /// The number that the proposal will have.
    pub origin: Origin,
    /// Whether a user is online, on any server. The state does not know guests who have done nothing yet.
    pub is_online: &'a dyn Fn(&UserName) -> bool,
    /// The servers of the cluster, as this server knows them.
    pub servers: &'a Directory,
    /// Whether a majority that lives would be left by a change of the servers, as far as this server sees.
    pub would_live: &'a dyn Fn(&ServerChange) -> Result<(), Refusal>,
}

impl Asked<'_> {
    /// The id of a message whose client gave it none.
    pub(super) fn own_msg_id(&self) -> String {
        self.origin.to_string()
    }

    /// An id that no other file has: it is made of the proposal's number, which is given once. It need not be
    /// secret: rights are checked at each read.
    pub(super) fn new_file_id(&self) -> FileId {
        let digest = Sha256::digest(format!("file {}", self.own_msg_id()));
        let mut id = [0; 16];
        id.copy_from_slice(&digest[..16]);
        FileId(id)
    }

    /// Whether something is for one other user, who is online.
    pub(super) fn is_other_online(&self, to: &Destination) -> bool {
        let other = self.user.and_then(|user| room_of(user, to).1);
        other.is_some_and(|other| (self.is_online)(&other))
    }

    /// What checks the password of the user who asks, and the log entry that set it: none and 0 without an
    /// account.
    pub(super) fn own_password(&self) -> (Option<Box<Verifier>>, u64) {
        self.user.map_or((None, 0), |user| self.state.password_of(user))
    }
}

/// A command, and what it lacks.
#[derive(Debug)]
pub struct Draft {
    /// The command. In the place of a secret it has a placeholder that opens nothing.
    pub command: Command,
    /// What must be made or checked for it before it can be proposed.
    pub secret: Option<Secret>,
    /// The user it is about, if they need not be logged in.
    pub named: Option<UserName>,
}

impl Draft {
    pub(super) fn with(command: impl Into<Command>, secret: Secret) -> Draft {
        Draft { command: command.into(), secret: Some(secret), named: None }
    }
}

impl<C: Into<Command>> From<C> for Draft {
    fn from(command: C) -> Draft {
        Draft { command: command.into(), secret: None, named: None }
    }
}

/// Work with a secret that has to be done before a command is complete. All but [`Secret::Draw`] take the
/// time of a hash.
#[derive(Debug)]
pub enum Secret {
    /// Make the verifier of a password that is set: [`Made::Verifier`].
    Set(Password),
    /// Check the password of the user's own account. If it is wrong, the request is refused.
    Own {
        /// The password that was given.
        password: Password,
        /// What checks it; `None` if the user has none.
        verifier: Option<Box<Verifier>>,
        /// Then make the verifier of this one, for a session that goes on: [`Made::Session`] and
        /// [`Made::Verifier`].
        new: Option<Password>,
    },
    /// Check the password of a room: [`Made::Entry`] if it is right. If not, the command's check refuses, in
    /// the words that hide a private room.
    Room {
        room: RoomKey,
        /// The password that was given.
        password: Password,
        /// What checks it.
        verifier: Box<Verifier>,
        /// The log entry that set it.
        password_rev: u64,
    },
    /// Draw a token: [`Made::TokenHash`].
    Draw,
}

/// The result of a [`Secret`].
#[derive(Debug)]
pub enum Made {
    /// What checks the password that is set.
    Verifier(Box<Verifier>),
    /// The password of the room was right: the one that was set by this log entry.
    Entry(u64),
    /// What is stored of the token.
    TokenHash(TokenHash),
    /// What is stored of the token under which the session goes on, and when that ends at the latest,
    /// milliseconds since the Unix epoch.
    Session(TokenHash, u64),
}

/// Makes a function over all requests of the table that does the same for those of one kind.
macro_rules! by_kind {
    ($($msg_type:literal $(or $alias:literal)? => $name:ident $({$room:ident $(, $seq:ident)?})?:
        $kind:ident -> $answer:ty $(, $next:ident)?;)*) => {
        /// What a request needs in the cluster.
        pub fn permission_of_request(request: &Request) -> ClusterPermission {
            match request {
                $(Request::$name(request) => by_kind!(@permission $kind $name request),)*
            }
        }

        /// The command for a request; `None` if it changes nothing in the log.
        pub fn draft_of(request: Request, asked: &Asked<'_>) -> Option<Result<Draft, Refusal>> {
            match request {
                $(Request::$name(request) => by_kind!(@draft $kind request asked),)*
            }
        }
    };
    (@permission Write $name:ident $request:ident) => { Write::needs($request) };
    (@permission $kind:ident $name:ident $request:ident) => {{
        let _ = $request;
        <request::$name as NeedsInCluster>::PERMISSION
    }};
    (@draft Write $request:ident $asked:ident) => { Some(Write::draft($request, $asked)) };
    (@draft $kind:ident $request:ident $asked:ident) => {{
        let _ = $request;
        None
    }};
}
requests!(by_kind);
