//! The commands: one table, of which each row says how a command is used, what the Tab key knows of its
//! words, and how it becomes a request. `/help`, errors, the screen and `docs/CLIENT.md` are made from it.

use crate::{
    client::{ask::TargetedRequest, own::Target},
    protocol::{
        credential::{ChosenPassword, Password},
        request::{
            Audit, Ban, Block, ChangePassword, CloseAccount, CreateBot, CreateHook, Delete, DeleteAccount,
            DeleteHook, DeleteRoom, Edit, FileDelete, Hooks, Invite, Kick, ListServers, Logout, MarkRead,
            Members, Mute, Pin, Pins, Presence, React, RenameRoom, RoomPassword, Rooms, SetAdmin,
            SetPassword, SetPresence, SetRole, SetTopic, Unban, Unblock, Uninvite, Unmute, Unpin, Users,
        },
    },
};

use super::{
    line::Line,
    mistake::Mistake,
    secrets::PasswordKind,
    typed::{Say, Typed},
    usage::Usage,
};

/// The kind of a command's word, for completion by the Tab key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArgumentKind {
    Room,
    User,
    Of(&'static [&'static str]),
    /// A file on this machine: the rest of the line.
    File,
    /// A word to look for, or a filter of the search.
    Search,
    Any,
}

/// Reads the words behind a command.
type Read = fn(&mut Line<'_>) -> Result<Typed, Mistake>;

/// A row of the table.
#[derive(Debug)]
pub struct Command {
    /// Its name, without the slash.
    pub name: &'static str,
    /// Its words, for people.
    pub words: &'static str,
    pub does: &'static str,
    /// Its words, for the Tab key. The last one goes on.
    pub kinds: &'static [ArgumentKind],
    pub(super) read: Read,
}

impl Command {
    pub fn usage(&self) -> Usage {
        Usage { name: self.name, words: self.words }
    }
}

const fn command(
    name: &'static str,
    words: &'static str,
    kinds: &'static [ArgumentKind],
    does: &'static str,
    read: Read,
) -> Command {
    Command { name, words, does, kinds, read }
}

use ArgumentKind::{Any, File, Of, Room, Search, User};

/// All of them, as `/help` lists them.
pub const COMMANDS: &[Command] = &[
    command(
        "join",
        "ROOM [PASSWORD|?]",
        &[Room, Any],
        "join a room and write to it; ? asks for its password",
        |line| line.join(),
    ),
    command(
        "create",
        "ROOM [private] [password]",
        &[Any, Of(&["private", "password"])],
        "make a room",
        |line| line.create(),
    ),
    command("leave", "[ROOM]", &[Room], "leave a room", |line| Ok(Typed::Leave(line.room_or_here()?))),
    command(
        "msg",
        "USER TEXT",
        &[User, Any],
        "write to one person; /join @a,b shows the conversation",
        |line| Ok(Typed::Say(Say::to(line.user()?, line.text()?))),
    ),
    command("reply", "SEQ TEXT", &[Any], "answer a message; ^ is your own last one", |line| {
        let reply_to = Some(line.target()?);
        Ok(Typed::Say(Say { reply_to, ..Say::here(line.text()?) }))
    }),
    command("edit", "SEQ TEXT", &[Any], "give your message another text", |line| {
        line.about(|line, room, seq| Ok(Edit { room, seq, body: line.body()? }))
    }),
    command("delete", "SEQ", &[Any], "delete a message", |line| {
        line.about(|_, room, seq| Ok(Delete { room, seq }))
    }),
    command("react", "SEQ EMOJI", &[Any], "react to a message", |line| {
        line.about(|line, room, seq| Ok(React { room, seq, emoji: line.emoji()?, remove: false }))
    }),
    command("unreact", "SEQ EMOJI", &[Any], "take a reaction back", |line| {
        line.about(|line, room, seq| Ok(React { room, seq, emoji: line.emoji()?, remove: true }))
    }),
    command("pin", "SEQ", &[Any], "pin a message for all to see", |line| {
        line.about(|_, room, seq| Ok(Pin { room, seq }))
    }),
    command("unpin", "SEQ", &[Any], "take a pin off", |line| {
        line.about(|_, room, seq| Ok(Unpin { room, seq }))
    }),
    command("pins", "", &[], "list the pinned messages", |line| ask(Pins { room: line.here()? })),
    command("send", "PATH", &[File], "send a file to the room", |line| {
        Ok(Typed::Send(line.here()?, line.path()?))
    }),
    command("get", "FILE_ID [PATH]", &[Any, File], "fetch a file", |line| {
        Ok(Typed::Get(line.file_id()?, line.optional(Line::path)?))
    }),
    command("delete-file", "FILE_ID", &[Any], "remove a file from the servers", |line| {
        ask(FileDelete { file_id: line.file_id()? })
    }),
    command(
        "search",
        "WORDS [in:ROOM] [by:USER] [since:DATE] [until:DATE]",
        &[Search],
        "look for messages: begin* and \"several words\" too; a date is 2026-11-25 or 2026-11-25T09:30",
        |line| ask(line.search()?),
    ),
    command(
        "history",
        "[N|before SEQ|since DATE]",
        &[Of(&["before", "since"]), Any],
        "show events of the room",
        |line| ask(line.history()?),
    ),
    command("more", "", &[], "go on behind what a list, a search or /history has shown", |_| Ok(Typed::More)),
    command("unread", "", &[], "list your rooms with something unread", |_| {
        ask(Rooms { after: None, limit: None, joined: true })
    }),
    command("read", "", &[], "mark the room as read", |line| {
        let mark = MarkRead { room: line.here()?, seq: Default::default() };
        Ok(Typed::ask(TargetedRequest::about(Target::Shown, mark)))
    }),
    command("who", "[ROOM]", &[Room], "list a room's members", |line| {
        ask(Members { room: line.room_or_here()?, after: None, limit: None })
    }),
    command("rooms", "", &[], "list the rooms", |_| ask(Rooms { after: None, limit: None, joined: false })),
    command("topic", "[TEXT]", &[Any], "say what the room is about", |line| {
        ask(SetTopic { room: line.here()?, topic: line.topic()? })
    }),
    command("invite", "USER", &[User], "let a user in", |line| {
        line.of_user(|_, room, username| Ok(Invite { room, username }))
    }),
    command("uninvite", "USER", &[User], "take an invitation back", |line| {
        line.of_user(|_, room, username| Ok(Uninvite { room, username }))
    }),
    command("kick", "USER", &[User], "send a user out", |line| {
        line.of_user(|_, room, username| Ok(Kick { room, username }))
    }),
    command("ban", "USER [SECONDS]", &[User, Any], "keep a user out", |line| {
        line.of_user(|line, room, username| {
            Ok(Ban { room: Some(room), username, seconds: line.optional(Line::seconds)? })
        })
    }),
    command("unban", "USER", &[User], "let a banned user in again", |line| {
        line.of_user(|_, room, username| Ok(Unban { room: Some(room), username }))
    }),
    command("mute", "USER [SECONDS]", &[User, Any], "let a user read only", |line| {
        line.of_user(|line, room, username| {
            Ok(Mute { room, username, seconds: line.optional(Line::seconds)? })
        })
    }),
    command("unmute", "USER", &[User], "let a muted user write again", |line| {
        line.of_user(|_, room, username| Ok(Unmute { room, username }))
    }),
    command(
        "role",
        "USER ROLE",
        &[User, Of(&["owner", "moderator", "member", "muted"])],
        "owner, moderator, member or muted",
        |line| line.of_user(|line, room, username| Ok(SetRole { room, username, role: line.role()? })),
    ),
    command(
        "room-settings",
        "private=yes|no archived=yes|no slow=SECONDS keep-days=N|forever keep-events=N|forever",
        &[Of(&["private=", "archived=", "slow=", "keep-days=", "keep-events="])],
        "change one or more settings",
        |line| ask(line.settings()?),
    ),
    command("rename-room", "NAME", &[Any], "give the room another name", |line| {
        ask(RenameRoom { room: line.here()?, name: line.room()? })
    }),
    command("delete-room", "ROOM", &[Room], "delete a room with everything in it, for good", |line| {
        ask(DeleteRoom { room: line.room()? })
    }),
    command("room-password", "[none]", &[Of(&["none"])], "choose what opens the room", |line| {
        let room = line.here()?;
        let opens = !line.optional_word("none")?;
        let password =
            if opens { Some(line.secret(PasswordKind::RoomChosen, ChosenPassword::new)?) } else { None };
        ask(RoomPassword { room, password })
    }),
    command(
        "hook",
        "[add USER | delete ID]",
        &[Of(&["add", "delete"]), User],
        "web addresses at which tools post here",
        |line| {
            let room = line.here()?;
            match line.word() {
                None => ask(Hooks { room }),
                Some("add") => ask(CreateHook { room, username: line.user()? }),
                Some("delete") => ask(DeleteHook { room, hook_id: line.hook_id()? }),
                Some(_) => Err(line.misused()),
            }
        },
    ),
    command("register", "[NAME]", &[Any], "make an account", |line| line.log_in(PasswordKind::Chosen)),
    command("login", "[NAME]", &[User], "log in; a guest has no password", |line| {
        line.log_in(PasswordKind::Login)
    }),
    command("logout", "[everywhere]", &[Of(&["everywhere"])], "log out, and forget the token", |line| {
        ask(Logout { everywhere: line.optional_word("everywhere")? })
    }),
    command("password", "", &[], "choose another password", |line| {
        let old = line.secret(PasswordKind::Own, Password::new)?;
        ask(ChangePassword { old, new: line.secret(PasswordKind::Next, ChosenPassword::new)? })
    }),
    command("close-account", "", &[], "give your account up", |line| {
        ask(CloseAccount { password: line.secret(PasswordKind::Own, Password::new)? })
    }),
    command("bot", "NAME", &[Any], "make an account for a program; shows its token once", |line| {
        ask(CreateBot { username: line.user()? })
    }),
    command("block", "USER", &[User], "take no direct messages from a user", |line| {
        ask(Block { username: line.user()? })
    }),
    command("unblock", "USER", &[User], "take them again", |line| ask(Unblock { username: line.user()? })),
    command("away", "", &[], "say that you are away", |_| ask(SetPresence { state: Presence::Away })),
    command("back", "", &[], "say that you are back", |_| ask(SetPresence { state: Presence::Online })),
    command("users", "", &[], "list the users, as an administrator", |_| {
        ask(Users { after: None, limit: None })
    }),
    command("audit", "", &[], "list what administrators and moderators did, as an administrator", |_| {
        ask(Audit { before: None, limit: None })
    }),
    command(
        "admin",
        "ban USER [SECONDS] | unban USER | password USER | grant USER | revoke USER | delete USER",
        &[Of(&["ban", "unban", "password", "grant", "revoke", "delete"]), User, Any],
        "manage accounts, as an administrator; grant and revoke make and unmake one",
        |line| {
            let what = line.needed()?;
            let (room, username) = (None, line.user()?);
            match what {
                "ban" => ask(Ban { room, username, seconds: line.optional(Line::seconds)? }),
                "unban" => ask(Unban { room, username }),
                "password" => {
                    let password = line.secret(PasswordKind::Next, ChosenPassword::new)?;
                    ask(SetPassword { username, password })
                }
                "grant" => ask(SetAdmin { username, admin: true }),
                "revoke" => ask(SetAdmin { username, admin: false }),
                "delete" => ask(DeleteAccount { username }),
                _ => Err(line.misused()),
            }
        },
    ),
    command("server", "[HOST:PORT]", &[Any], "list the servers, or move to one", |line| {
        Ok(line.optional(Line::address)?.map_or_else(|| Typed::ask(ListServers {}), Typed::MoveTo))
    }),
    command("help", "", &[], "show this", |_| Ok(Typed::Help)),
    command("quit", "", &[], "end", |_| Ok(Typed::Quit)),
];

fn ask(request: impl Into<TargetedRequest>) -> Result<Typed, Mistake> {
    Ok(Typed::ask(request))
}

/// The name of the command that `line` begins with, and the words behind it; `None` of text.
pub fn split(line: &str) -> Option<(&str, &str)> {
    let command = line.strip_prefix('/').filter(|command| !command.starts_with('/'))?;
    let (name, words) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
    Some((name, words.trim()))
}

/// The text of `/help`.
pub fn help() -> String {
    let lines = COMMANDS.iter().map(|command| {
        let usage = command.usage().to_string();
        // A text longer than its column gets a line of its own.
        let gap = if usage.len() > 32 { format!("\n{:34}", "") } else { String::new() };
        format!("{usage:<34}{gap}{}", command.does)
    });
    lines.collect::<Vec<_>>().join("\n") + "\n//text                            send /text"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        client::terminal::{
            input,
            secrets::{NoSecret, Secrets},
        },
        protocol::RoomName,
    };

    struct Nothing;

    impl Secrets for Nothing {
        fn secret(&mut self, _: PasswordKind) -> Result<crate::client::login::Secret, NoSecret> {
            Err(NoSecret::NotTyped)
        }
    }

    #[test]
    fn every_command_says_how_it_is_used_where_its_words_are_missing_or_too_many() {
        let room = RoomName::new("den");
        for command in COMMANDS {
            assert!(help().contains(&command.usage().to_string()));
            for words in ["", " \u{1} \u{1} \u{1} \u{1}"] {
                let read = input::read(&format!("/{}{words}", command.name), room.as_ref(), &mut Nothing);
                if let Err(mistake) = read {
                    assert!(!matches!(mistake, Mistake::Unknown(_)), "{}", command.name);
                    assert!(!mistake.to_string().is_empty());
                }
            }
        }
    }
}
