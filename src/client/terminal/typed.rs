//! What a line of input means.

use crate::{
    client::directory::Address,
    protocol::{RoomName, limits::HISTORY_MAX},
};

/// The commands, for people.
pub const HELP: &str = "\
/join ROOM       join a room and write to it
/leave [ROOM]    leave a room
/rooms           list the rooms
/who [ROOM]      list a room's members
/history [N]     show the last N events of the room
/server          list the servers
/server HOST:PORT  move to a server
/help            show this
/quit            end
//text           send /text";

/// Events that `/history` shows where no number is given.
const HISTORY: usize = 20;

/// What a line of input means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Typed {
    /// Nothing.
    Nothing,
    /// Say this in the current room.
    Say(String),
    /// Join this room; it becomes the current one.
    Join(RoomName),
    /// Leave this room, or the current one.
    Leave(Option<RoomName>),
    /// List the rooms.
    Rooms,
    /// List the members of this room, or of the current one.
    Who(Option<RoomName>),
    /// Show the last events of the current room.
    History(usize),
    /// List the servers.
    Servers,
    /// Move to this server.
    MoveTo(Address),
    /// Show the commands.
    Help,
    /// End.
    Quit,
}

impl Typed {
    /// Reads a line without its line end; the error is a sentence.
    pub fn read(line: &str) -> Result<Typed, String> {
        let Some(command) = line.strip_prefix('/') else {
            let blank = line.trim().is_empty();
            return Ok(if blank { Typed::Nothing } else { Typed::Say(line.to_owned()) });
        };
        if command.starts_with('/') {
            return Ok(Typed::Say(command.to_owned()));
        }
        let mut words = command.split_whitespace();
        let name = words.next().unwrap_or_default();
        let argument = words.next();
        if words.next().is_some() {
            return Err(format!("/{name} takes one word at most"));
        }
        match (name, argument) {
            ("join", Some(name)) => Ok(Typed::Join(room(name)?)),
            ("join", None) => Err("/join needs the name of a room".into()),
            ("leave", name) => Ok(Typed::Leave(name.map(room).transpose()?)),
            ("who", name) => Ok(Typed::Who(name.map(room).transpose()?)),
            ("history", count) => Ok(Typed::History(count.map_or(Ok(HISTORY), self::count)?)),
            ("server", Some(address)) => Ok(Typed::MoveTo(self::address(address)?)),
            ("server", None) => Ok(Typed::Servers),
            ("rooms" | "help" | "quit", Some(_)) => Err(format!("/{name} takes nothing more")),
            ("rooms", None) => Ok(Typed::Rooms),
            ("help", None) => Ok(Typed::Help),
            ("quit", None) => Ok(Typed::Quit),
            _ => Err(format!("there is no command /{name}; /help lists them, and //{name} sends it as text")),
        }
    }
}

fn room(name: &str) -> Result<RoomName, String> {
    RoomName::new(name)
        .ok_or_else(|| format!("{name:?} is not a name of a room: use 1 to 32 of A-Z a-z 0-9 _ . -"))
}

fn count(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|count| (1..=HISTORY_MAX).contains(count))
        .ok_or_else(|| format!("/history takes a number from 1 to {HISTORY_MAX}"))
}

/// `HOST:PORT`, or `PORT` on this machine; an IPv6 address stands in brackets.
fn address(text: &str) -> Result<Address, String> {
    let (host, port) = text.rsplit_once(':').unwrap_or(("localhost", text));
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    match port.parse() {
        Ok(port) if port != 0 && !host.is_empty() => Ok(Address::new(host, port)),
        _ => Err("/server takes HOST:PORT, such as localhost:8001".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_messages_unless_they_are_commands() {
        assert_eq!(Typed::read("hi /there "), Ok(Typed::Say("hi /there ".into())));
        assert_eq!(Typed::read("//quit"), Ok(Typed::Say("/quit".into())));
        assert_eq!(Typed::read("  "), Ok(Typed::Nothing));
        assert_eq!(Typed::read("/quit"), Ok(Typed::Quit));
        assert_eq!(Typed::read("/history 5"), Ok(Typed::History(5)));
        assert_eq!(Typed::read("/server 8001"), Ok(Typed::MoveTo(Address::new("localhost", 8001))));
        assert_eq!(Typed::read("/server [::1]:9"), Ok(Typed::MoveTo(Address::new("::1", 9))));
    }

    #[test]
    fn what_is_no_command_is_named_and_not_sent() {
        for line in ["/dance", "/", "/join", "/join a/b", "/quit now", "/history 0", "/server x:", "/who a b"]
        {
            assert!(Typed::read(line).is_err(), "{line}");
        }
    }
}
