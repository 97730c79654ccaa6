//! What a line of input means.

use std::path::PathBuf;

use serde_json::{Map, Value, json};

use crate::{
    client::{directory::Address, io::Search, login::Secret, own::Target},
    protocol::{
        FileId, RoomName, UserName,
        limits::{HISTORY_MAX, SEARCH_DEFAULT},
        request::HistoryRange,
    },
};

use super::{commands::usage, date, paths};

/// Events that `/history` shows where no number is given.
const HISTORY: usize = 20;

/// What a line of input means.
#[derive(Debug, Clone, PartialEq)]
pub enum Typed {
    /// Nothing.
    Nothing,
    /// Say this in the current room, as an answer to a message or not.
    Say {
        /// The message that it answers.
        reply_to: Option<Target>,
        /// The text.
        body: String,
    },
    /// Say this to one person.
    Message(UserName, String),
    /// Join this room; it becomes the current one.
    Join(RoomName, Entry),
    /// The same, and what it is to be where it does not exist: private, with a password.
    Create(RoomName, bool, Entry),
    /// Leave this room, or the current one.
    Leave(Option<RoomName>),
    /// Do something in the current room.
    InRoom(Deed),
    /// Something about who the user is.
    Account(Account),
    /// Ask something.
    Ask(Query),
    /// Send this file to the current room.
    Send(PathBuf),
    /// Fetch a file.
    Get(FileId, Option<PathBuf>),
    /// Remove a file from the servers.
    DeleteFile(FileId),
    /// Do something to somebody's account, as an administrator.
    Administer(UserName, Administration),
    /// Move to this server.
    MoveTo(Address),
    /// Show the commands.
    Help,
    /// End.
    Quit,
}

/// What opens a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// Nothing is needed.
    Open,
    /// This password.
    Password(Secret),
    /// A password that is asked for.
    Ask,
}

/// Something done in a room.
#[derive(Debug, Clone, PartialEq)]
pub enum Deed {
    /// Give a message another text.
    Edit(Target, String),
    /// Delete a message.
    Delete(Target),
    /// React to a message, or take the reaction back.
    React(Target, String, bool),
    /// Say what the room is about.
    Topic(String),
    /// `invite`, `kick`, `ban`, `unban`, `mute` or `unmute`.
    Moderate(&'static str, UserName, Option<u32>),
    /// Make somebody something else.
    Role(UserName, String),
    /// Change settings.
    Settings(Value),
    /// Change what opens the room; `false`: nothing does any more.
    Password(bool),
    /// Mark all as read.
    Read,
    /// Make a web address for tools, for this user.
    AddHook(UserName),
    /// Remove one.
    DeleteHook(String),
}

/// Something about who the user is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Account {
    /// Make an account, of the present name or another.
    Register(Option<UserName>),
    /// Log in.
    Login(Option<UserName>),
    /// Log out; on all devices or on this one.
    Logout(bool),
    /// Choose another password.
    Password,
    /// Give the account up.
    Close,
    /// Away from the keyboard, or back.
    Away(bool),
    /// Make an account for a program.
    Bot(UserName),
}

/// What an administrator does to somebody's account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Administration {
    /// Shut them out of the whole cluster, for so many seconds or for good.
    Ban(Option<u32>),
    /// Let them in again.
    Unban,
    /// Give them another password.
    Password,
    /// Make them an administrator too, or take that back.
    Admin(bool),
    /// Delete the account.
    Delete,
}

/// Something asked.
#[derive(Debug, Clone, PartialEq)]
pub enum Query {
    /// The rooms.
    Rooms,
    /// The user's rooms in which something is unread.
    Unread,
    /// The members of this room, or of the current one.
    Who(Option<RoomName>),
    /// Events of the current room.
    History(HistoryRange, usize),
    /// Messages with certain words.
    Search(Search),
    /// What comes behind the last answer.
    More,
    /// The web addresses of the current room.
    Hooks,
    /// The users, for administrators.
    Users,
    /// The servers.
    Servers,
}

impl Typed {
    /// Reads a line without its line end; the error is a sentence.
    pub fn read(line: &str) -> Result<Typed, String> {
        let Some(command) = line.strip_prefix('/') else {
            let blank = line.trim().is_empty();
            return Ok(if blank { Typed::Nothing } else { Typed::Say { reply_to: None, body: line.into() } });
        };
        if command.starts_with('/') {
            return Ok(Typed::Say { reply_to: None, body: command.to_owned() });
        }
        let (name, rest) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
        let mut words = Words { name, rest: rest.trim() };
        let typed = words.command()?;
        if !words.rest.is_empty() {
            return Err(format!("{} is all that it takes", usage(name)));
        }
        Ok(typed)
    }

    /// Whether the line holds a password and is to be remembered nowhere.
    pub fn is_secret(line: &str) -> bool {
        let mut words = line.split_whitespace();
        let harmless = match words.next() {
            Some("/admin") if words.next() == Some("password") => 1,
            // The first word is a name.
            Some("/join" | "/create" | "/login" | "/register") => 1,
            // What is typed behind these can only be meant as one.
            Some("/password" | "/room-password" | "/close-account") => 0,
            _ => return false,
        };
        words.nth(harmless).is_some()
    }
}

/// What of a command is not read yet.
struct Words<'a> {
    name: &'a str,
    rest: &'a str,
}

impl<'a> Words<'a> {
    fn command(&mut self) -> Result<Typed, String> {
        Ok(match self.name {
            "join" => Typed::Join(self.room()?, self.entry()),
            "create" => self.create()?,
            "leave" => Typed::Leave(self.optional(Self::room)?),
            "msg" => Typed::Message(self.user()?, self.text()?),
            "reply" => Typed::Say { reply_to: Some(self.target()?), body: self.text()? },
            "edit" => Typed::InRoom(Deed::Edit(self.target()?, self.text()?)),
            "delete" => Typed::InRoom(Deed::Delete(self.target()?)),
            "react" => Typed::InRoom(Deed::React(self.target()?, self.needed()?.into(), false)),
            "unreact" => Typed::InRoom(Deed::React(self.target()?, self.needed()?.into(), true)),
            "topic" => Typed::InRoom(Deed::Topic(self.all().into())),
            "invite" => Typed::InRoom(Deed::Moderate("invite", self.user()?, None)),
            "uninvite" => Typed::InRoom(Deed::Moderate("uninvite", self.user()?, None)),
            "kick" => Typed::InRoom(Deed::Moderate("kick", self.user()?, None)),
            "ban" => Typed::InRoom(Deed::Moderate("ban", self.user()?, self.optional(Self::seconds)?)),
            "unban" => Typed::InRoom(Deed::Moderate("unban", self.user()?, None)),
            "mute" => Typed::InRoom(Deed::Moderate("mute", self.user()?, self.optional(Self::seconds)?)),
            "unmute" => Typed::InRoom(Deed::Moderate("unmute", self.user()?, None)),
            "role" => Typed::InRoom(Deed::Role(self.user()?, self.needed()?.into())),
            "room-settings" => Typed::InRoom(Deed::Settings(self.settings()?)),
            "room-password" => self.room_password()?,
            "read" => Typed::InRoom(Deed::Read),
            "hook" => self.hook()?,
            "register" => Typed::Account(Account::Register(self.optional(Self::user)?)),
            "login" => Typed::Account(Account::Login(self.optional(Self::user)?)),
            "logout" => Typed::Account(Account::Logout(self.optional_word("everywhere")?)),
            "password" => Typed::Account(Account::Password),
            "close-account" => Typed::Account(Account::Close),
            "away" => Typed::Account(Account::Away(true)),
            "back" => Typed::Account(Account::Away(false)),
            "bot" => Typed::Account(Account::Bot(self.user()?)),
            "rooms" => Typed::Ask(Query::Rooms),
            "unread" => Typed::Ask(Query::Unread),
            "who" => Typed::Ask(Query::Who(self.optional(Self::room)?)),
            "history" => self.history()?,
            "search" => self.search()?,
            "more" => Typed::Ask(Query::More),
            "admin" => self.administer()?,
            "users" => Typed::Ask(Query::Users),
            "send" => Typed::Send(self.path()?),
            "delete-file" => Typed::DeleteFile(self.file_id()?),
            "get" => Typed::Get(self.file_id()?, self.optional(Self::path)?),
            "server" => match self.optional(Self::address)? {
                Some(address) => Typed::MoveTo(address),
                None => Typed::Ask(Query::Servers),
            },
            "help" => Typed::Help,
            "quit" => Typed::Quit,
            name => {
                return Err(format!(
                    "there is no command /{name}; /help lists them, and //{name} sends it as text"
                ));
            }
        })
    }

    fn word(&mut self) -> Option<&'a str> {
        let end = self.rest.find(char::is_whitespace).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest.trim_start();
        (!word.is_empty()).then_some(word)
    }

    fn all(&mut self) -> &'a str {
        std::mem::take(&mut self.rest)
    }

    fn needed(&mut self) -> Result<&'a str, String> {
        self.word().ok_or_else(|| format!("use it as {}", usage(self.name)))
    }

    fn text(&mut self) -> Result<String, String> {
        match self.all() {
            "" => Err(format!("use it as {}", usage(self.name))),
            text => Ok(text.to_owned()),
        }
    }

    fn path(&mut self) -> Result<PathBuf, String> {
        Ok(paths::read(&self.text()?))
    }

    fn optional<T>(&mut self, read: fn(&mut Self) -> Result<T, String>) -> Result<Option<T>, String> {
        if self.rest.is_empty() { Ok(None) } else { read(self).map(Some) }
    }

    fn optional_word(&mut self, expected: &str) -> Result<bool, String> {
        match self.word() {
            None => Ok(false),
            Some(word) if word == expected => Ok(true),
            Some(_) => Err(format!("use it as {}", usage(self.name))),
        }
    }

    fn room(&mut self) -> Result<RoomName, String> {
        let name = self.needed()?;
        RoomName::new(name)
            .ok_or_else(|| format!("{name:?} is not a name of a room: use 1 to 32 of A-Z a-z 0-9 _ . -"))
    }

    fn user(&mut self) -> Result<UserName, String> {
        let name = self.needed()?;
        let bare = name.strip_prefix('@').unwrap_or(name);
        UserName::new(bare)
            .ok_or_else(|| format!("{name:?} is not a name of a user: use 1 to 32 of A-Z a-z 0-9 _ . -"))
    }

    /// The number of a message, as it is shown (`#12` too), or `^`.
    fn target(&mut self) -> Result<Target, String> {
        let word = self.needed()?;
        match word.strip_prefix('#').unwrap_or(word).parse() {
            _ if word == "^" => Ok(Target::Last),
            Ok(seq) => Ok(Target::Seq(seq)),
            Err(_) => Err(format!(
                "{word:?} is no number of a message; use it as {}, or ^ for your last one",
                usage(self.name)
            )),
        }
    }

    fn seconds(&mut self) -> Result<u32, String> {
        let word = self.needed()?;
        let seconds = word.parse().ok().filter(|seconds| *seconds > 0);
        seconds.ok_or_else(|| format!("{word:?} is no number of seconds"))
    }

    fn file_id(&mut self) -> Result<FileId, String> {
        let word = self.needed()?;
        FileId::parse(word).ok_or_else(|| format!("{word:?} is no id of a file: 32 hexadecimal digits"))
    }

    fn entry(&mut self) -> Entry {
        match self.all() {
            "" => Entry::Open,
            "?" => Entry::Ask,
            password => Entry::Password(Secret::new(password)),
        }
    }

    fn create(&mut self) -> Result<Typed, String> {
        let room = self.room()?;
        let (mut private, mut entry) = (false, Entry::Open);
        while let Some(word) = self.word() {
            match word {
                "private" => private = true,
                "password" => entry = Entry::Ask,
                _ => return Err(format!("use it as {}", usage(self.name))),
            }
        }
        Ok(Typed::Create(room, private, entry))
    }

    fn room_password(&mut self) -> Result<Typed, String> {
        Ok(Typed::InRoom(Deed::Password(!self.optional_word("none")?)))
    }

    fn administer(&mut self) -> Result<Typed, String> {
        let what = match self.needed()? {
            "ban" => {
                let user = self.user()?;
                return Ok(Typed::Administer(user, Administration::Ban(self.optional(Self::seconds)?)));
            }
            "unban" => Administration::Unban,
            "password" => Administration::Password,
            "grant" => Administration::Admin(true),
            "revoke" => Administration::Admin(false),
            "delete" => Administration::Delete,
            _ => return Err(format!("use it as {}", usage(self.name))),
        };
        Ok(Typed::Administer(self.user()?, what))
    }

    fn hook(&mut self) -> Result<Typed, String> {
        Ok(match self.word() {
            None => Typed::Ask(Query::Hooks),
            Some("add") => Typed::InRoom(Deed::AddHook(self.user()?)),
            Some("delete") => Typed::InRoom(Deed::DeleteHook(self.needed()?.into())),
            Some(_) => return Err(format!("use it as {}", usage(self.name))),
        })
    }

    fn history(&mut self) -> Result<Typed, String> {
        let (range, limit) = match self.word() {
            None => (HistoryRange::Last, HISTORY),
            Some("since") => {
                let text = self.text()?;
                let at_ms = date::read(&text).ok_or_else(|| no_date(&text))?;
                (HistoryRange::Since(at_ms), HISTORY_MAX)
            }
            Some("before") => {
                let Target::Seq(seq) = self.target()? else {
                    return Err(format!("use it as {}", usage(self.name)));
                };
                (HistoryRange::Before(seq), HISTORY)
            }
            Some(count) => (HistoryRange::Last, self::count(count)?),
        };
        Ok(Typed::Ask(Query::History(range, limit)))
    }

    fn search(&mut self) -> Result<Typed, String> {
        let (mut search, mut words) = (Search { limit: SEARCH_DEFAULT, ..Search::default() }, vec![]);
        let text = self.text()?;
        for word in text.split_whitespace() {
            match word.split_once(':') {
                Some((_, "")) | None => words.push(word),
                Some(("in", name)) => search.room = Some(Words { name: "search", rest: name }.room()?),
                Some(("by", name)) => search.author = Some(Words { name: "search", rest: name }.user()?),
                Some(("since", day)) => search.since_ms = Some(date::read(day).ok_or_else(|| no_date(day))?),
                Some(("until", day)) => search.until_ms = Some(date::end(day).ok_or_else(|| no_date(day))?),
                Some(_) => words.push(word),
            }
        }
        search.words = words.join(" ");
        Ok(Typed::Ask(Query::Search(search)))
    }

    fn settings(&mut self) -> Result<Value, String> {
        let mut settings = Map::new();
        let text = self.text()?;
        for word in text.split_whitespace() {
            let wrong = || format!("{word:?} is no setting; use {}", usage("room-settings"));
            let (name, value) = word.split_once('=').ok_or_else(wrong)?;
            let flag = || match value {
                "yes" => Ok(json!(true)),
                "no" => Ok(json!(false)),
                _ => Err(wrong()),
            };
            let number = || value.parse::<u64>().map(Value::from).map_err(|_| wrong());
            let limit = || if value == "forever" { Ok(0.into()) } else { number() };
            let (field, value) = match name {
                "private" => ("private", flag()?),
                "archived" => ("archived", flag()?),
                "slow" => ("slow_s", number()?),
                "keep-days" => ("keep_days", limit()?),
                "keep-events" => ("keep_events", limit()?),
                _ => return Err(wrong()),
            };
            settings.insert(field.into(), value);
        }
        Ok(settings.into())
    }

    /// `HOST:PORT`, or `PORT` on this machine; an IPv6 address stands in brackets.
    fn address(&mut self) -> Result<Address, String> {
        let text = self.needed()?;
        let (host, port) = text.rsplit_once(':').unwrap_or(("localhost", text));
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        match port.parse() {
            Ok(port) if port != 0 && !host.is_empty() => Ok(Address::new(host, port)),
            _ => Err("/server takes HOST:PORT, such as localhost:8001".into()),
        }
    }
}

fn no_date(text: &str) -> String {
    format!("{text:?} is no date such as 2026-11-25 or 2026-11-25T09:30")
}

fn count(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|count| (1..=HISTORY_MAX).contains(count))
        .ok_or_else(|| format!("/history takes a number from 1 to {HISTORY_MAX}, or since and a date"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn say(body: &str) -> Result<Typed, String> {
        Ok(Typed::Say { reply_to: None, body: body.into() })
    }

    #[test]
    fn lines_are_messages_unless_they_are_commands() {
        assert_eq!(Typed::read("hi /there "), say("hi /there "));
        assert_eq!(Typed::read("//quit"), say("/quit"));
        assert_eq!(Typed::read("  "), Ok(Typed::Nothing));
        assert_eq!(Typed::read("/quit"), Ok(Typed::Quit));
        assert_eq!(Typed::read("/history 5"), Ok(Typed::Ask(Query::History(HistoryRange::Last, 5))));
        assert_eq!(Typed::read("/server 8001"), Ok(Typed::MoveTo(Address::new("localhost", 8001))));
        assert_eq!(Typed::read("/server [::1]:9"), Ok(Typed::MoveTo(Address::new("::1", 9))));
    }

    #[test]
    fn commands_are_read_word_by_word_and_texts_as_they_are() {
        let user = |name: &str| UserName::new(name).unwrap();
        let room = |name: &str| RoomName::new(name).unwrap();
        for (line, typed) in [
            ("/edit #12 two  spaces", Typed::InRoom(Deed::Edit(Target::Seq(12), "two  spaces".into()))),
            ("/edit ^ x", Typed::InRoom(Deed::Edit(Target::Last, "x".into()))),
            ("/ban @bob 60", Typed::InRoom(Deed::Moderate("ban", user("bob"), Some(60)))),
            ("/ban bob", Typed::InRoom(Deed::Moderate("ban", user("bob"), None))),
            ("/msg bob hi there", Typed::Message(user("bob"), "hi there".into())),
            ("/create den private", Typed::Create(room("den"), true, Entry::Open)),
            ("/create den private password", Typed::Create(room("den"), true, Entry::Ask)),
            ("/join den a b", Typed::Join(room("den"), Entry::Password(Secret::new("a b")))),
            ("/topic", Typed::InRoom(Deed::Topic(String::new()))),
            (
                "/search in:den red by:bob fox",
                Typed::Ask(Query::Search(Search {
                    words: "red fox".into(),
                    room: Some(room("den")),
                    author: Some(user("bob")),
                    limit: SEARCH_DEFAULT,
                    ..Search::default()
                })),
            ),
            (
                "/search note: since:1970-01-02 until:1970-01-02T00:01 a:b",
                Typed::Ask(Query::Search(Search {
                    words: "note: a:b".into(),
                    since_ms: Some(86_400_000),
                    until_ms: Some(86_400_000 + 120_000),
                    limit: SEARCH_DEFAULT,
                    ..Search::default()
                })),
            ),
            ("/history before #40", Typed::Ask(Query::History(HistoryRange::Before(40), HISTORY))),
            ("/more", Typed::Ask(Query::More)),
            ("/admin ban @bob 60", Typed::Administer(user("bob"), Administration::Ban(Some(60)))),
            ("/admin revoke bob", Typed::Administer(user("bob"), Administration::Admin(false))),
            (
                "/room-settings private=yes keep-days=forever slow=3",
                Typed::InRoom(Deed::Settings(json!({ "private": true, "keep_days": 0, "slow_s": 3 }))),
            ),
            (
                "/history since 1970-01-02",
                Typed::Ask(Query::History(HistoryRange::Since(86_400_000), HISTORY_MAX)),
            ),
        ] {
            assert_eq!(Typed::read(line), Ok(typed), "{line}");
        }
    }

    #[test]
    fn what_is_no_command_is_named_and_not_sent() {
        for line in [
            "/dance",
            "/",
            "/join",
            "/join a/b",
            "/quit now",
            "/history 0",
            "/server x:",
            "/who a b",
            "/edit 1",
            "/edit x y",
            "/ban",
            "/ban bob soon",
            "/kick bob now",
            "/msg bob",
            "/get 7",
            "/logout here",
            "/create den public",
            "/room-settings slow",
            "/room-settings colour=red",
            "/history since monday",
            "/history before",
            "/history before ^",
            "/search tea until:monday",
            "/admin",
            "/admin bob",
            "/admin password",
            "/delete-file plan.pdf",
        ] {
            assert!(Typed::read(line).is_err(), "{line}");
        }
    }

    #[test]
    fn lines_with_passwords_are_known() {
        for line in [
            "/join den hunter2",
            "/login bob hunter2",
            "/password hunter2",
            "/room-password hunter2",
            "/admin password bob hunter2",
            "/admin password bob hunter2",
        ] {
            assert!(Typed::is_secret(line), "{line}");
        }
        for line in ["/join den", "/password", "/room-password ", "/admin password bob", "hello /join den x"]
        {
            assert!(!Typed::is_secret(line), "{line}");
        }
    }
}
