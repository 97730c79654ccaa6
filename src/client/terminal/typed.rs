//! The meaning of a line of input: a request, or something that the client itself does.

use std::path::PathBuf;

use crate::{
    client::{ask::TargetedRequest, directory::Address, login::Login, own::Target},
    protocol::{FileId, RoomName, UserName, credential::Password},
};

/// What a line of input means.
#[derive(Debug, Clone, PartialEq)]
pub enum Typed {
    /// An empty line.
    Nothing,
    Say(Say),
    Ask(Box<TargetedRequest>),
    /// Join a room, which becomes the current one.
    Enter {
        /// The room; if it does not exist, it is created.
        room: RoomName,
        /// Whether it is private if it is created.
        private: bool,
        /// Its password, or that of the room to create.
        password: Option<Password>,
    },
    Leave(RoomName),
    /// Log in, under the present name or another one.
    LogIn(Option<UserName>, Login),
    /// Send a file to a room.
    Send(RoomName, PathBuf),
    /// Fetch a file, to a place or the current folder.
    Get(FileId, Option<PathBuf>),
    /// Move to a server.
    MoveTo(Address),
    /// Ask for the page behind the last answer.
    More,
    Help,
    Quit,
}

/// A message as it is typed.
#[derive(Debug, Clone, PartialEq)]
pub struct Say {
    /// The user it is said to alone; `None`: the current room.
    pub to: Option<UserName>,
    pub body: String,
    /// The message that it answers.
    pub reply_to: Option<Target>,
}

impl Say {
    pub(super) fn here(body: impl Into<String>) -> Say {
        Say { to: None, body: body.into(), reply_to: None }
    }

    pub(super) fn to(user: UserName, body: impl Into<String>) -> Say {
        Say { to: Some(user), ..Say::here(body) }
    }
}

impl Typed {
    pub(super) fn ask(ask: impl Into<TargetedRequest>) -> Typed {
        Typed::Ask(Box::new(ask.into()))
    }

    /// Whether the line may hold a password, so that it must not be remembered.
    pub fn is_secret(line: &str) -> bool {
        let mut words = line.split_whitespace();
        let harmless = match words.next() {
            Some("/admin") if words.next() == Some("password") => 1,
            // The first word is a name.
            Some("/join" | "/create" | "/login" | "/register") => 1,
            // A word behind these can only be meant as a password.
            Some("/password" | "/room-password" | "/close-account") => 0,
            _ => return false,
        };
        words.nth(harmless).is_some()
    }
}
