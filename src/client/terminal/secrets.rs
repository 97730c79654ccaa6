//! Passwords that a command needs: which are asked for, and where they come from.

use std::io;

use thiserror::Error;

use crate::client::login::Secret;

/// Which password is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PasswordKind {
    /// The user's own.
    Own,
    /// The user's own, or nothing for a guest.
    Login,
    /// The one that the user chooses for a new account.
    Chosen,
    /// The one that the user chooses instead of another.
    Next,
    Room,
    /// The one that is chosen for a room.
    RoomChosen,
}

impl PasswordKind {
    /// Its name in a sentence.
    pub fn name(self) -> &'static str {
        match self {
            PasswordKind::Own | PasswordKind::Login => "the password",
            PasswordKind::Chosen | PasswordKind::Next => "the new password",
            PasswordKind::Room => "the room's password",
            PasswordKind::RoomChosen => "the room's new password",
        }
    }
}

/// Why there is no password.
#[derive(Debug, Error)]
pub enum NoSecret {
    /// A script has not given it; how it can.
    #[error("give the password {0}")]
    NotGiven(&'static str),
    /// The user typed nothing.
    #[error("no password was typed")]
    NotTyped,
    /// It has to be typed before the command is carried out.
    #[error("a password is needed")]
    Needed(PasswordKind),
    /// The terminal cannot be read.
    #[error("no password was read: {0}")]
    Terminal(#[source] io::Error),
}

/// The source of passwords: the terminal, or what a script has set.
pub trait Secrets {
    /// The password.
    ///
    /// # Errors
    /// There is none.
    fn secret(&mut self, wanted: PasswordKind) -> Result<Secret, NoSecret>;
}
