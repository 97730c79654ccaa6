//! How a request becomes a command. Each operation's file implements [`Write`] for its request.

use sha2::{Digest, Sha256};

use super::{
    entities::{origin::Origin, room::room_of},
    operation::Operation,
    rights::ClusterPermission,
    secret::Secret,
    state::State,
};
use crate::protocol::{
    RoomId,
    credential::Verifier,
    directory::{Directory, ServerChange},
    file::FileId,
    name::UserName,
    refusal::Refusal,
    request::Destination,
};

/// A request that changes something. Many are the operation itself.
pub trait Write {
    /// The operation that it becomes; one of several is a [`OneOf`].
    type Becomes;

    /// What the user needs in the cluster before anything else is looked at.
    fn needs(&self) -> ClusterPermission {
        ClusterPermission::UseRooms
    }

    /// The command that it asks for.
    ///
    /// # Errors
    /// It names something that does not exist. Whether it is allowed is not decided here, but by the
    /// command's check.
    fn draft(self, asked: &Asked<'_>) -> Result<Draft<Self::Becomes>, Refusal>;
}

impl<O: Operation> Write for O {
    type Becomes = O;

    fn needs(&self) -> ClusterPermission {
        self.permission()
    }

    fn draft(self, _: &Asked<'_>) -> Result<Draft<O>, Refusal> {
        Ok(Draft::from(self))
    }
}

/// What is needed to make a command of a request.
pub struct Asked<'a> {
    /// The state as this server has it.
    pub state: &'a State,
    /// The user who asks; `None` before the login.
    pub user: Option<&'a UserName>,
    /// The number of the room that is meant, if the client gave it.
    pub room: Option<RoomId>,
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

/// What a request becomes if that depends on what it says.
#[derive(Debug)]
pub enum OneOf<A, B> {
    First(A),
    Second(B),
}

/// A command, and what it lacks.
#[derive(Debug)]
pub struct Draft<C> {
    /// The command. In the place of a secret it has a placeholder that opens nothing.
    pub command: C,
    /// What must be made or checked for it before it can be proposed.
    pub secret: Option<Secret>,
    /// The user it is about, if they need not be logged in.
    pub named: Option<UserName>,
}

impl<C> Draft<C> {
    pub(super) fn with(command: C, secret: Secret) -> Draft<C> {
        Draft { command, secret: Some(secret), named: None }
    }

    /// The same with the command in another form.
    pub(super) fn map<D>(self, form: impl FnOnce(C) -> D) -> Draft<D> {
        let Draft { command, secret, named } = self;
        Draft { command: form(command), secret, named }
    }
}

impl<C> From<C> for Draft<C> {
    fn from(command: C) -> Draft<C> {
        Draft { command, secret: None, named: None }
    }
}
