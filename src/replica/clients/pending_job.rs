//! What the thread of a connection makes or checks, and the request that waits for it.

use crate::{
    chat::Command,
    protocol::{
        RoomId,
        credential::Password,
        envelope::{AnswerTo, Claims},
        name::{RoomKey, UserName},
    },
};

use super::{pending_write::Write, throttle::Guarded};

/// A command that lacks what the thread of its connection makes or checks.
#[derive(Debug)]
pub struct Unfinished {
    /// The request that gets the answer.
    pub write: Write,
    pub command: Command,
    /// The user it is about, if they need not be logged in.
    pub named: Option<UserName>,
    pub claims: Claims,
}

/// What the thread of a connection works on, and so what comes next.
#[derive(Debug)]
pub struct PendingJob {
    pub continuation: Continuation,
    /// The account or room whose password is tried, if one is.
    pub guarded: Option<Guarded>,
    /// Whether it takes the time of a hash, and so counts for its address.
    pub hashes: bool,
}

#[derive(Debug)]
pub enum Continuation {
    Challenge(AnswerTo),
    Proof(AnswerTo),
    /// A login by the password that this log entry set.
    LogIn {
        to: AnswerTo,
        username: UserName,
        password_rev: u64,
        claims: Claims,
    },
    Finish(Box<Unfinished>, CommandJob),
}

impl Continuation {
    pub fn answer_to(self) -> AnswerTo {
        match self {
            Continuation::Challenge(to) | Continuation::Proof(to) | Continuation::LogIn { to, .. } => to,
            Continuation::Finish(unfinished, _) => unfinished.write.to,
        }
    }
}

/// The work that is done for a command.
#[derive(Debug)]
pub enum CommandJob {
    /// The verifier is made of a password that it sets.
    Make,
    /// The user's password is checked; then the verifier of another one is made, if there is one.
    CheckOwn { new: Option<Password> },
    /// The password of a room is checked, which this log entry set.
    CheckRoom { password_rev: u64 },
    /// A token is drawn.
    Draw,
}

impl PendingJob {
    /// Whether it is done for a `create_join` of the room that has this number and is called so.
    pub fn joins(&self, number: RoomId, key: &RoomKey) -> bool {
        match &self.continuation {
            Continuation::Finish(unfinished, _) => unfinished.write.joins(number, key),
            _ => false,
        }
    }
}
