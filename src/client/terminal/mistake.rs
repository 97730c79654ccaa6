//! Mistakes in a line of input.

use thiserror::Error;

use crate::{
    client::files::FileError,
    protocol::{Refusal, limits::HISTORY_MAX},
};

use super::{secrets::NoSecret, usage::Usage};

/// Why a line of input is not carried out. Each is a sentence for the person who has typed it.
#[derive(Debug, Error)]
pub enum Mistake {
    /// No command has this name.
    #[error("there is no command /{0}; /help lists them, and //{0} sends it as text")]
    Unknown(String),
    /// Words of this command are missing or are others.
    #[error("use it as {0}")]
    Usage(Usage),
    /// There are more words than this command takes.
    #[error("{0} is all that it takes")]
    TooMany(Usage),
    /// It cannot name a room.
    #[error("{0:?} is not a name of a room: use 1 to 32 of A-Z a-z 0-9 _ . -")]
    RoomName(String),
    /// It cannot name a user.
    #[error("{0:?} is not a name of a user: use 1 to 32 of A-Z a-z 0-9 _ . -")]
    UserName(String),
    /// It cannot be the number of a message for this command.
    #[error("{0:?} is no number of a message; use it as {1}, or ^ for your last one")]
    MessageNumber(String, Usage),
    /// It cannot be a duration.
    #[error("{0:?} is no number of seconds")]
    Seconds(String),
    /// It cannot name a file on the servers.
    #[error("{0:?} is no id of a file: 32 hexadecimal digits")]
    FileId(String),
    /// It cannot be a date.
    #[error("{0:?} is no date such as 2026-11-25 or 2026-11-25T09:30")]
    Date(String),
    /// It cannot be a setting of a room.
    #[error("{0:?} is no setting; use {1}")]
    Setting(String, Usage),
    /// It cannot be a role.
    #[error("{0:?} is no role: owner, moderator, member or muted")]
    Role(String),
    /// It cannot be a number of events.
    #[error("/history takes a number from 1 to {HISTORY_MAX}, or since and a date")]
    Count,
    /// It cannot be the address of a server.
    #[error("/server takes HOST:PORT, such as localhost:8001")]
    Address,
    /// A value is not one that servers take.
    #[error("{}", .0.reason)]
    Field(Refusal),
    /// There is no current room.
    #[error("you are in no room: /join one first")]
    NoRoom,
    /// `/more` without a list before it.
    #[error("there is nothing yet to go on from")]
    NothingToGoOn,
    /// `/more` before the list has come.
    #[error("the answer to go on from is not here yet")]
    NotAnswered,
    /// `/more` behind the last page.
    #[error("that was all")]
    WasAll,
    /// A password is missing.
    #[error(transparent)]
    Secret(#[from] NoSecret),
    /// A file of this machine cannot be sent.
    #[error(transparent)]
    File(#[from] FileError),
}
