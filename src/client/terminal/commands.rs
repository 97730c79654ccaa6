//! The commands: how they are used, for `/help`, for errors, and for the Tab key.

/// What a word of a command is, as far as the Tab key can help with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// A room.
    Room,
    /// A user.
    User,
    /// One of these.
    Of(&'static [&'static str]),
    /// A file on this machine.
    File,
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

use Word::{Any, File, Of, Room, User};

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
    command("search", "WORDS [in:ROOM] [by:USER]", &[Any], "look for messages"),
    command("history", "[N|since DATE]", &[Of(&["since"]), Any], "show events of the room"),
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
    command("login", "[NAME]", &[User], "log in"),
    command("logout", "[everywhere]", &[Of(&["everywhere"])], "log out, and forget the token"),
    command("password", "", &[], "choose another password"),
    command("close-account", "", &[], "give your account up"),
    command("bot", "NAME", &[Any], "make an account for a program; shows its token once"),
    command("away", "", &[], "say that you are away"),
    command("back", "", &[], "say that you are back"),
    command("users", "", &[], "list the users, as an administrator"),
    command("server", "[HOST:PORT]", &[Any], "list the servers, or move to one"),
    command("help", "", &[], "show this"),
    command("quit", "", &[], "end"),
];

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

/// What the Tab key may put in the place of the last word of `line`; `rooms` and `users` are those seen.
/// Gives where that word begins, and the candidates.
pub fn complete(line: &str, rooms: &[String], users: &[String]) -> (usize, Vec<String>) {
    let start = line
        .rfind(char::is_whitespace)
        .map_or(0, |at| at + line[at..].chars().next().map_or(1, char::len_utf8));
    let word = &line[start..];
    let begins = |name: &&String| name.get(..word.len()).is_some_and(|head| head.eq_ignore_ascii_case(word));
    let matching = |names: &[String]| names.iter().filter(begins).map(|name| format!("{name} ")).collect();
    if start == 0 && word.starts_with('/') {
        let names: Vec<String> = COMMANDS.iter().map(|command| format!("/{}", command.name)).collect();
        return (0, matching(&names));
    }
    if let Some(name) = word.strip_prefix('@') {
        let is_it =
            |user: &&String| user.get(..name.len()).is_some_and(|head| head.eq_ignore_ascii_case(name));
        return (start, users.iter().filter(is_it).map(|user| format!("@{user} ")).collect());
    }
    let mut before = line[..start].split_whitespace();
    let command = before.next().and_then(|name| name.strip_prefix('/'));
    let Some(command) = COMMANDS.iter().find(|known| Some(known.name) == command) else {
        return (start, vec![]);
    };
    let at = before.count();
    let candidates = match command.kinds.get(at).or(command.kinds.last()) {
        Some(Room) => matching(rooms),
        Some(User) => matching(users),
        Some(Of(names)) => {
            let is_it = |name: &&&str| name.starts_with(word);
            let end = |name: &str| if name.ends_with('=') { "" } else { " " };
            names.iter().filter(is_it).map(|name| format!("{name}{}", end(name))).collect()
        }
        Some(File | Any) | None => vec![],
    };
    (start, candidates)
}

/// Whether the last word of `line` is a path on this machine.
pub fn is_path(line: &str) -> bool {
    let mut words = line.split_whitespace();
    let name = words.next().and_then(|name| name.strip_prefix('/'));
    let Some(command) = COMMANDS.iter().find(|known| Some(known.name) == name) else { return false };
    let given = words.count() + usize::from(line.ends_with(char::is_whitespace));
    given > 0 && command.kinds.get(given - 1) == Some(&File)
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
        let (rooms, users) = (["den".to_owned(), "lobby".into()], ["Alice".to_owned(), "bob".into()]);
        for (line, start, candidates) in [
            ("/jo", 0, vec!["/join "]),
            ("/join d", 6, vec!["den "]),
            ("/join ", 6, vec!["den ", "lobby "]),
            ("/kick a", 6, vec!["Alice "]),
            ("hello @B", 6, vec!["@bob "]),
            ("/role bob mo", 10, vec!["moderator "]),
            ("/room-settings private=yes sl", 27, vec!["slow="]),
            ("hello d", 6, vec![]),
            ("/edit 1 d", 8, vec![]),
            ("é @", 3, vec!["@Alice ", "@bob "]),
        ] {
            assert_eq!(
                complete(line, &rooms, &users),
                (start, candidates.iter().map(|c| (*c).to_owned()).collect()),
                "{line}"
            );
        }
        assert!(is_path("/send ./a") && is_path("/send ") && is_path("/get 00 x"));
        assert!(!is_path("/get 00") && !is_path("/send") && !is_path("hi /send x"));
    }
}
