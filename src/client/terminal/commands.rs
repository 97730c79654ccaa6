//! The commands: how they are used, for `/help`, for errors, and for the Tab key.

use crate::protocol::{RoomName, UserName};

/// What a word of a command is, as far as the Tab key can help with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// A room.
    Room,
    /// A user.
    User,
    /// One of these.
    Of(&'static [&'static str]),
    /// A file on this machine: the rest of the line.
    File,
    /// A word to look for, or what the search is limited to.
    Search,
    /// Anything.
    Any,
}

/// A command.
#[derive(Debug)]
pub struct Command {
    /// Its name, without the slash.
    pub name: &'static str,
    /// Its words, for people.
    pub words: &'static str,
    /// What it does.
    pub does: &'static str,
    /// Its words, for the Tab key. The last one goes on.
    pub kinds: &'static [Word],
}

const fn command(
    name: &'static str,
    words: &'static str,
    kinds: &'static [Word],
    does: &'static str,
) -> Command {
    Command { name, words, does, kinds }
}

use Word::{Any, File, Of, Room, Search, User};

/// All of them, as `/help` lists them.
pub const COMMANDS: &[Command] = &[
    command(
        "join",
        "ROOM [PASSWORD|?]",
        &[Room, Any],
        "join a room and write to it; ? asks for its password",
    ),
    command("create", "ROOM [private] [password]", &[Any, Of(&["private", "password"])], "make a room"),
    command("leave", "[ROOM]", &[Room], "leave a room"),
    command("msg", "USER TEXT", &[User, Any], "write to one person; /join @a,b shows the conversation"),
    command("reply", "SEQ TEXT", &[Any], "answer a message; ^ is your own last one"),
    command("edit", "SEQ TEXT", &[Any], "give your message another text"),
    command("delete", "SEQ", &[Any], "delete a message"),
    command("react", "SEQ EMOJI", &[Any], "react to a message"),
    command("unreact", "SEQ EMOJI", &[Any], "take a reaction back"),
    command("send", "PATH", &[File], "send a file to the room"),
    command("get", "FILE_ID [PATH]", &[Any, File], "fetch a file"),
    command("delete-file", "FILE_ID", &[Any], "remove a file from the servers"),
    command(
        "search",
        "WORDS [in:ROOM] [by:USER] [since:DATE] [until:DATE]",
        &[Search],
        "look for messages: begin* and \"several words\" too; a date is 2026-11-25 or 2026-11-25T09:30",
    ),
    command(
        "history",
        "[N|before SEQ|since DATE]",
        &[Of(&["before", "since"]), Any],
        "show events of the room",
    ),
    command("more", "", &[], "go on behind what a list, a search or /history has shown"),
    command("unread", "", &[], "list your rooms with something unread"),
    command("read", "", &[], "mark the room as read"),
    command("who", "[ROOM]", &[Room], "list a room's members"),
    command("rooms", "", &[], "list the rooms"),
    command("topic", "[TEXT]", &[Any], "say what the room is about"),
    command("invite", "USER", &[User], "let somebody in"),
    command("uninvite", "USER", &[User], "take an invitation back"),
    command("kick", "USER", &[User], "send somebody out"),
    command("ban", "USER [SECONDS]", &[User, Any], "shut somebody out"),
    command("unban", "USER", &[User], "let somebody in again"),
    command("mute", "USER [SECONDS]", &[User, Any], "let somebody read only"),
    command("unmute", "USER", &[User], "let somebody write again"),
    command(
        "role",
        "USER ROLE",
        &[User, Of(&["owner", "moderator", "member", "muted"])],
        "owner, moderator, member or muted",
    ),
    command(
        "room-settings",
        "private=yes|no archived=yes|no slow=SECONDS keep-days=N|forever keep-events=N|forever",
        &[Of(&["private=", "archived=", "slow=", "keep-days=", "keep-events="])],
        "change one or more settings",
    ),
    command("room-password", "[none]", &[Of(&["none"])], "choose what opens the room"),
    command(
        "hook",
        "[add USER | delete ID]",
        &[Of(&["add", "delete"]), User],
        "web addresses at which tools post here",
    ),
    command("register", "[NAME]", &[Any], "make an account"),
    command("login", "[NAME]", &[User], "log in; a guest has no password"),
    command("logout", "[everywhere]", &[Of(&["everywhere"])], "log out, and forget the token"),
    command("password", "", &[], "choose another password"),
    command("close-account", "", &[], "give your account up"),
    command("bot", "NAME", &[Any], "make an account for a program; shows its token once"),
    command("away", "", &[], "say that you are away"),
    command("back", "", &[], "say that you are back"),
    command("users", "", &[], "list the users, as an administrator"),
    command(
        "admin",
        "ban USER [SECONDS] | unban USER | password USER | grant USER | revoke USER | delete USER",
        &[Of(&["ban", "unban", "password", "grant", "revoke", "delete"]), User, Any],
        "rule over accounts, as an administrator; grant and revoke make and unmake one",
    ),
    command("server", "[HOST:PORT]", &[Any], "list the servers, or move to one"),
    command("help", "", &[], "show this"),
    command("quit", "", &[], "end"),
];

/// What limits a search.
const FILTERS: [&str; 4] = ["in:", "by:", "since:", "until:"];

/// `/name words`.
pub fn usage(name: &str) -> String {
    let words = COMMANDS.iter().find(|command| command.name == name).map_or("", |command| command.words);
    format!("/{name} {words}").trim_end().to_owned()
}

/// The text of `/help`.
pub fn help() -> String {
    let lines = COMMANDS.iter().map(|command| {
        let usage = usage(command.name);
        // What is longer than its column gets a line of its own.
        let gap = if usage.len() > 32 { format!("\n{:34}", "") } else { String::new() };
        format!("{usage:<34}{gap}{}", command.does)
    });
    lines.collect::<Vec<_>>().join("\n") + "\n//text                            send /text"
}

/// What the Tab key can know.
#[derive(Debug)]
pub struct Known<'a> {
    /// Who types.
    pub user: &'a UserName,
    /// The rooms that were seen.
    pub rooms: &'a [String],
    /// The users that were seen.
    pub users: &'a [String],
}

impl Known<'_> {
    fn rooms(&self, word: &str) -> Vec<String> {
        let mut found: Vec<String> = matching(self.rooms, word).cloned().collect();
        // The conversation with somebody is found by their name.
        if let Some(name) = word.strip_prefix('@') {
            let others = matching(self.users, name).filter_map(|user| UserName::new(user));
            let others = others.filter(|other| other.key() != self.user.key());
            found.extend(others.map(|other| RoomName::direct(self.user, &other).to_string()));
            found.sort();
            found.dedup_by_key(|room| room.to_ascii_lowercase());
        }
        found
    }

    /// Users, with the `@` that was typed before them.
    fn users(&self, word: &str) -> Vec<String> {
        let (at, name) = word.strip_prefix('@').map_or(("", word), |name| ("@", name));
        matching(self.users, name).map(|user| format!("{at}{user}")).collect()
    }
}

/// Those of `names` that begin with `word`, whatever the case.
fn matching<'a>(names: &'a [String], word: &str) -> impl Iterator<Item = &'a String> {
    names.iter().filter(move |name| {
        name.get(..word.len()).is_some_and(|beginning| beginning.eq_ignore_ascii_case(word))
    })
}

/// What the Tab key may put in the place of the last word of `line`: where that word begins, and the candidates.
pub fn complete(line: &str, known: &Known<'_>) -> (usize, Vec<String>) {
    let start = line
        .rfind(char::is_whitespace)
        .map_or(0, |at| at + line[at..].chars().next().map_or(1, char::len_utf8));
    let word = &line[start..];
    let candidates = match kind(&line[..start]) {
        None if start == 0 && word.starts_with('/') => {
            let names = COMMANDS.iter().map(|command| format!("/{}", command.name));
            names.filter(|name| name.starts_with(word)).collect()
        }
        Some(Room) => known.rooms(word),
        Some(User) => known.users(word),
        Some(Of(words)) => {
            words.iter().filter(|known| known.starts_with(word)).map(|&known| known.to_owned()).collect()
        }
        Some(Search) => match word.split_once(':') {
            Some(("in", room)) => known.rooms(room).into_iter().map(|room| format!("in:{room}")).collect(),
            Some(("by", user)) => known.users(user).into_iter().map(|user| format!("by:{user}")).collect(),
            _ if word.is_empty() => vec![],
            _ => FILTERS.iter().filter(|name| name.starts_with(word)).map(|&name| name.to_owned()).collect(),
        },
        Some(File | Any) | None if word.starts_with('@') => known.users(word),
        Some(File | Any) | None => vec![],
    };
    // Another word may follow, but where a value does.
    let end = |candidate: &String| if candidate.ends_with(['=', ':']) { "" } else { " " };
    (start, candidates.into_iter().map(|candidate| format!("{candidate}{}", end(&candidate))).collect())
}

/// What comes next behind `words`, where they begin with a command.
fn kind(words: &str) -> Option<Word> {
    let mut before = words.split_whitespace();
    let name = before.next()?.strip_prefix('/')?;
    let command = COMMANDS.iter().find(|command| command.name == name)?;
    command.kinds.get(before.count()).or(command.kinds.last()).copied()
}

/// Where the path begins that the end of `line` is, if it is one: it goes on to the end, spaces and all.
pub fn path_at(line: &str) -> Option<usize> {
    let name = line.strip_prefix('/')?.split(char::is_whitespace).next()?;
    let command = COMMANDS.iter().find(|command| command.name == name)?;
    let words_before = 1 + command.kinds.iter().position(|kind| *kind == File)?;
    let mut rest = line;
    for _ in 0..words_before {
        rest = rest[rest.find(char::is_whitespace)?..].trim_start();
    }
    Some(line.len() - rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_of_the_list_is_one() {
        for command in COMMANDS {
            let error = super::super::typed::Typed::read(&format!("/{}", command.name)).err();
            assert!(error.is_none_or(|error| !error.contains("no command")), "{}", command.name);
            assert!(help().contains(&usage(command.name)));
        }
    }

    #[test]
    fn tab_completes_commands_rooms_names_and_words() {
        let rooms = ["den", "lobby", "@alice,carol"].map(str::to_owned);
        let users = ["Alice", "bob"].map(str::to_owned);
        let user = UserName::new("alice").unwrap();
        let known = Known { user: &user, rooms: &rooms, users: &users };
        for (line, start, candidates) in [
            ("/jo", 0, vec!["/join "]),
            ("/join d", 6, vec!["den "]),
            ("/join ", 6, vec!["den ", "lobby ", "@alice,carol "]),
            ("/join @al", 6, vec!["@alice,carol "]),
            ("/join @B", 6, vec!["@alice,bob "]),
            ("/who @alice,c", 5, vec!["@alice,carol "]),
            ("/kick @a", 6, vec!["@Alice "]),
            ("/search tea in:d", 12, vec!["in:den "]),
            ("/search by:B", 8, vec!["by:bob "]),
            ("/search i", 8, vec!["in:"]),
            ("/kick a", 6, vec!["Alice "]),
            ("hello @B", 6, vec!["@bob "]),
            ("/role bob mo", 10, vec!["moderator "]),
            ("/room-settings private=yes sl", 27, vec!["slow="]),
            ("hello d", 6, vec![]),
            ("/edit 1 d", 8, vec![]),
            ("é @", 3, vec!["@Alice ", "@bob "]),
        ] {
            assert_eq!(
                complete(line, &known),
                (start, candidates.iter().map(|c| (*c).to_owned()).collect()),
                "{line}"
            );
        }
        for (line, at) in [
            ("/send ./a", Some(6)),
            ("/send ", Some(6)),
            ("/send my file", Some(6)),
            ("/get 00 my f", Some(8)),
            ("/get 00", None),
            ("/send", None),
            ("hi /send x", None),
        ] {
            assert_eq!(path_at(line), at, "{line}");
        }
    }
}
