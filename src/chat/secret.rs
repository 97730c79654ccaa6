//! What a command lacks until a secret was checked or made. Where it is done, this does not know.

use crate::protocol::{
    credential::{Password, TokenHash, Verifier},
    name::RoomKey,
};

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
