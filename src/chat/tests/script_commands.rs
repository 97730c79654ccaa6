//! The commands of a script: a line of words becomes what the log would carry.

use crate::{
    chat::{
        Command, Origin, Role,
        command::{
            Ban, Block, ChangePassword, CloseAccount, ClusterBan, ClusterUnban, CreateBot, CreateHook,
            Delete, DeleteAccount, DeleteHook, DeleteRoom, Edit, Expire, FileBegin, FileChunk, FileDelete,
            FileEnd, GiveUpUpload, GuestLogin, HookPost, Import, ImportRoom, Invite, Join, Kick, Leave,
            Login, Logout, MarkRead, Mute, NewRoom, Nothing, Pin, RaiseRules, React, Register, RenameRoom,
            RoomPassword, RoomSettings, Say, SetAdmin, SetPassword, SetRole, Topic, Touch, Unban, Unblock,
            Uninvite, Unmute, Unpin,
        },
    },
    disk::RoomId,
    protocol::{
        credential::{ScramVerifier, TokenHash, Verifier},
        event::{EventKind, Message},
        export::{Imported, ImportedRoom},
        file::{FileId, NewFile},
        moderation::{self, Retention},
        name::{RoomName, UserName},
        peer::NodeId,
        request::Destination,
        rules::RulesVersion,
    },
};

/// Reads a command. Tokens and passwords are any words; `password=WORD` sets one, `rev=N` names the entry
/// that did (`rev=now`: the newest).
pub(super) fn parse(line: &str, words: &[&str]) -> Command {
    let number = |name: &str| option(line, name).map(|number| number.parse::<u64>().unwrap());
    let seconds = || number("seconds").map(|seconds| seconds as u32);
    let password = || option(line, "password").map(|word| Box::new(verifier(word)));
    let password_rev = || number("rev").unwrap_or(0);
    match words {
        [_, "nothing"] => Command::Nothing(Nothing),
        [_, "join", room] => {
            let (password_rev, is_here) = (number("unlock"), option(line, "here").is_some());
            Join { password_rev, is_here, ..Join::new(room_name(room)) }.into()
        }
        [_, "create", room, kind] => {
            let new = NewRoom { private: *kind == "private", password: password() };
            Join { new, ..Join::new(room_name(room)) }.into()
        }
        [_, "rename", room, name] => RenameRoom { room: room_name(room), name: room_name(name) }.into(),
        [_, "delete_room", room] => DeleteRoom { room: room_name(room) }.into(),
        [_, "resume", room] => Join { resumes: true, ..Join::new(room_name(room)) }.into(),
        [_, "leave", room] => Command::Leave(Leave { room: room_name(room) }),
        [_, "chat", room, id, text @ ..] => chat(line, Destination::Room(room_name(room)), id, text),
        [_, "tell", user, id, text @ ..] => chat(line, Destination::User(user_name(user)), id, text),
        [_, "edit", room, seq, text @ ..] => {
            Command::Edit(Edit { room: room_name(room), seq: seq.parse().unwrap(), body: text.join(" ") })
        }
        [_, "delete", room, seq] => {
            Command::Delete(Delete { room: room_name(room), seq: seq.parse().unwrap() })
        }
        [_, verb @ ("react" | "unreact"), room, seq, emoji] => Command::React(React {
            room: room_name(room),
            seq: seq.parse().unwrap(),
            emoji: (*emoji).into(),
            remove: *verb == "unreact",
        }),
        [_, "block", user] => Block { username: user_name(user) }.into(),
        [_, "unblock", user] => Unblock { username: user_name(user) }.into(),
        [_, "pin", room, seq] => Pin { room: room_name(room), seq: seq.parse().unwrap() }.into(),
        [_, "unpin", room, seq] => Unpin { room: room_name(room), seq: seq.parse().unwrap() }.into(),
        [_, "read", room, seq] => {
            Command::MarkRead(MarkRead { room: room_name(room), seq: seq.parse().unwrap() })
        }
        [_, "topic", room, text @ ..] => Topic { room: room_name(room), topic: text.join(" ") }.into(),
        [_, "invite", room, user] => Invite {
            room: room_name(room),
            username: user_name(user),
            is_here: option(line, "here").is_some(),
        }
        .into(),
        [_, "uninvite", room, user] => Uninvite { room: room_name(room), username: user_name(user) }.into(),
        [_, "kick", room, user] => Kick { room: room_name(room), username: user_name(user) }.into(),
        [_, "ban", room, user] => {
            Ban { room: room_name(room), username: user_name(user), seconds: seconds() }.into()
        }
        [_, "unban", room, user] => Unban { room: room_name(room), username: user_name(user) }.into(),
        [_, "mute", room, user] => {
            Mute { room: room_name(room), username: user_name(user), seconds: seconds() }.into()
        }
        [_, "unmute", room, user] => Unmute { room: room_name(room), username: user_name(user) }.into(),
        [_, "role", room, user, role] => {
            let role = Role::parse(role).unwrap();
            SetRole { room: room_name(room), username: user_name(user), role }.into()
        }
        [_, "set", room] => {
            let changes = moderation::RoomSettings {
                private: option(line, "private").map(|flag| flag == "true"),
                archived: option(line, "archived").map(|flag| flag == "true"),
                slow_s: number("slow").map(|seconds| seconds as u32),
                retention: number("keep")
                    .map(|events| Retention { days: None, events: (events > 0).then_some(events) }),
            };
            RoomSettings { room: room_name(room), changes }.into()
        }
        [_, "password", room] => {
            Command::RoomPassword(RoomPassword { room: room_name(room), password: password() })
        }
        [_, "expire", room, before] => {
            let retention = Retention::new(None, number("keep"));
            // The number of the room that this entry made.
            let room = RoomId::new(room.parse().unwrap(), 0);
            Command::Expire(Expire { room, before_seq: before.parse().unwrap(), retention })
        }
        [_, "raise_rules", to] => RaiseRules { to: RulesVersion(to.parse().unwrap()) }.into(),
        [_, "give_up", id] => Command::GiveUpUpload(GiveUpUpload { file_id: file_id(id) }),
        [_, "import", room, first_seq, authors @ ..] => Command::Import(Import {
            room: room_name(room),
            first_seq: first_seq.parse().unwrap(),
            events: authors.iter().map(|author| imported(author)).collect(),
        }),
        [_, "import_room", room, members @ ..] => Command::ImportRoom(ImportRoom {
            room: room_name(room),
            info: Box::new(ImportedRoom {
                private: option(line, "private").is_some(),
                topic: option(line, "topic").unwrap_or("").into(),
                archived: option(line, "archived").is_some(),
                slow_s: number("slow").unwrap_or(0) as u32,
                retention: Retention { days: None, events: number("keep") },
                members: members
                    .iter()
                    .map(|member| match member.strip_suffix('!') {
                        Some(owner) => (user_name(owner), Role::Owner),
                        None => (user_name(member), Role::Member),
                    })
                    .collect(),
            }),
        }),
        [_, "register"] => Command::Register(Register {
            password: password().unwrap(),
            admin: option(line, "admin").is_some(),
        }),
        [_, "login", token] => Command::Login(Login {
            password_rev: password_rev(),
            token: TokenHash::of(token),
            expires_ms: 1_000_000,
            rehashed: password(),
        }),
        [_, "guest"] => Command::GuestLogin(GuestLogin),
        [_, "touch"] => Command::Touch(Touch),
        [_, "logout"] => Command::Logout(Logout { everywhere: false }),
        [_, "logout", "everywhere"] => Command::Logout(Logout { everywhere: true }),
        [_, "passwd"] => Command::ChangePassword(ChangePassword {
            password_rev: password_rev(),
            password: password().unwrap(),
            token: TokenHash::of(option(line, "token").unwrap()),
            expires_ms: number("expires").unwrap_or(u64::MAX),
        }),
        [_, "close"] => Command::CloseAccount(CloseAccount { password_rev: password_rev() }),
        [_, "admin", verb, user] => {
            let username = user_name(user);
            match *verb {
                "raise" => SetAdmin { username, admin: true }.into(),
                "lower" => SetAdmin { username, admin: false }.into(),
                "passwd" => SetPassword { username, password: password().unwrap() }.into(),
                "ban" => ClusterBan { username, seconds: seconds() }.into(),
                "unban" => ClusterUnban { username }.into(),
                "delete" => DeleteAccount { username }.into(),
                _ => panic!("no such command: {line}"),
            }
        }
        [_, "bot", user, token] => {
            Command::CreateBot(CreateBot { username: user_name(user), token: TokenHash::of(token) })
        }
        [_, "hook", room, user, token] => Command::CreateHook(CreateHook {
            room: room_name(room),
            username: user_name(user),
            token: TokenHash::of(token),
        }),
        [_, "unhook", room, token] => {
            Command::DeleteHook(DeleteHook { room: room_name(room), token: TokenHash::of(token) })
        }
        [_, "post", token, id, text @ ..] => Command::HookPost(HookPost {
            token: TokenHash::of(token),
            body: text.join(" "),
            client_msg_id: (*id).into(),
            display_name: option(line, "as").map(str::to_owned),
            repeat_id: option(line, "repeat").map(str::to_owned),
            goes_on: option(line, "piece").is_some(),
        }),
        [_, what @ ("upload" | "upload_to"), place, id, name, size] => Command::FileBegin(FileBegin {
            file_id: file_id(id),
            to: match *what {
                "upload" => Destination::Room(room_name(place)),
                _ => Destination::User(user_name(place)),
            },
            file: NewFile {
                name: (*name).into(),
                size: size.parse().unwrap(),
                content_type: "text/plain".into(),
            },
            is_here: option(line, "here").is_some(),
        }),
        [_, "chunk", id, offset, length] => Command::FileChunk(FileChunk {
            file_id: file_id(id),
            offset: offset.parse().unwrap(),
            bytes: vec![b'x'; length.parse().unwrap()],
        }),
        [_, "whole", id] => Command::FileEnd(FileEnd { file_id: file_id(id), sha256: [7; 32] }),
        [_, "drop", id] => Command::FileDelete(FileDelete { file_id: file_id(id) }),
        _ => panic!("no such command: {line}"),
    }
}

fn chat(line: &str, to: Destination, id: &str, text: &[&str]) -> Command {
    Command::Say(Say {
        to,
        body: text.join(" "),
        client_msg_id: id.into(),
        reply_to: option(line, "reply_to").map(|seq| seq.parse().unwrap()),
        file_id: option(line, "file").map(file_id),
        is_here: option(line, "here").is_some(),
    })
}

/// A message by `AUTHOR`, or by `AUTHOR:CLIENT_MSG_ID`.
fn imported(author: &str) -> Imported {
    let (author, kind) = if let Some((author, target)) = author.split_once('+') {
        (author, EventKind::Pinned { target: target.parse().unwrap() })
    } else if let Some((author, target)) = author.split_once('-') {
        (author, EventKind::Unpinned { target: target.parse().unwrap() })
    } else {
        let (author, client_msg_id) = author.split_once(':').unwrap_or((author, ""));
        let (body, client_msg_id) = (format!("by {author}"), client_msg_id.into());
        (author, EventKind::Message(Message { body, client_msg_id, ..Message::default() }))
    };
    let kind = serde_json::to_string(&kind).unwrap();
    Imported { author: user_name(author), created_at: 5_000, kind }
}

fn verifier(word: &str) -> Verifier {
    Verifier { argon2: word.into(), scram: ScramVerifier::new(word, b"salt", 1) }
}

/// The id that a script calls by a small number.
pub(super) fn file_id(number: &str) -> FileId {
    FileId([number.parse().unwrap(); 16])
}

pub(super) fn option<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    line.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
}

pub(super) fn origin_of(text: &str) -> Origin {
    let numbers: Vec<u64> = text.split('/').map(|number| number.parse().unwrap()).collect();
    Origin { node_id: NodeId(numbers[0]), boot: numbers[1], seq: numbers[2] }
}

pub(super) fn room_name(text: &str) -> RoomName {
    RoomName::new(text).unwrap()
}

pub(super) fn user_name(text: &str) -> UserName {
    UserName::new(text).unwrap()
}
