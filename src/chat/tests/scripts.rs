//! Runs the scripts in `scripts/`: a command is behind `>`, its results are below it.
//!
//! After a wanted change of behaviour, run the tests with `UPDATE_SCRIPTS=1` and review the difference.

use std::{fs, path::Path};

use super::{World, entry};
use crate::{
    chat::{
        Applied, Authority, Command, Entry, Origin, Reply, Role,
        audit::AUDIT_MAX,
        command::{
            Ban, Block, ChangePassword, CloseAccount, ClusterBan, ClusterUnban, CreateBot, CreateHook,
            Delete, DeleteAccount, DeleteHook, DeleteRoom, Edit, Expire, FileBegin, FileChunk, FileDelete,
            FileEnd, GiveUpUpload, GuestLogin, HookPost, Import, ImportRoom, Invite, Join, Kick, Leave,
            Login, Logout, MarkRead, Mute, NewRoom, Nothing, Pin, React, Register, RenameRoom, RoomPassword,
            RoomSettings, Say, SetAdmin, SetPassword, SetRole, Topic, Touch, Unban, Unblock, Uninvite,
            Unmute, Unpin,
        },
        effects::{ReadUpTo, SessionFilter},
        entry::{decode, encode},
        rows,
        views::Viewer,
    },
    disk::RoomId,
    protocol::{
        credential::{ScramVerifier, TokenHash, Verifier},
        event::{Event, EventKind, Message},
        export::{Imported, ImportedRoom},
        file::{FileId, NewFile},
        moderation::{self, Retention},
        name::{RoomName, UserKey, UserName},
        peer::NodeId,
        refusal::Refusal,
        request::Destination,
    },
};

#[test]
fn scripts_come_out_as_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/chat/tests/scripts");
    let mut names: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    assert!(!names.is_empty());
    for path in names {
        let script = fs::read_to_string(&path).unwrap();
        let trace = run(&script);
        if std::env::var_os("UPDATE_SCRIPTS").is_some() {
            fs::write(&path, &trace).unwrap();
            continue;
        }
        assert!(script == trace, "{} now comes out as:\n{trace}", path.display());
    }
}

/// The script with the actual results in place of the written ones.
fn run(script: &str) -> String {
    let mut run = Run::default();
    let mut trace = String::new();
    for line in script.lines() {
        if let Some(line) = line.strip_prefix("> ") {
            trace += &format!("> {line}\n");
            for said in run.carry_out(line) {
                trace += &format!("{said}\n");
            }
        } else if line.is_empty() || line.starts_with('#') {
            trace += &format!("{line}\n");
        }
    }
    trace
}

#[derive(Default)]
struct Run {
    world: World,
    seq: u64,
    /// The leader's clock; 0 for one that counts the commands.
    now_ms: u64,
}

impl Run {
    /// `rooms USER`, `members ROOM`, `pins ROOM`, `history ROOM`, `hooks USER ROOM`, `audit all|newest|USER`,
    /// `restart`, `time MS`, or a command, `USER VERB …` as [`parse`] reads it, with the options `lamport=N`,
    /// `by=STANDING`, `origin=NODE/BOOT/SEQ`.
    fn carry_out(&mut self, line: &str) -> Vec<String> {
        let words: Vec<&str> = line.split(' ').filter(|word| !word.contains('=')).collect();
        let now_ms = self.now_ms;
        match words[..] {
            ["restart"] => {
                self.world.state = self.world.loaded();
                Vec::new()
            }
            ["time", at_ms] => {
                self.now_ms = at_ms.parse().unwrap();
                Vec::new()
            }
            ["rooms", user] => {
                let viewer = Viewer { user: &user_name(user).key(), now_ms };
                let (summaries, more) = self.world.state.room_summaries(viewer, None, false, 100);
                assert!(!more);
                summaries.iter().map(|room| serde_json::to_string(room).unwrap()).collect()
            }
            ["members", room] => {
                let room = self.world.state.room_id(&room_name(room).key()).unwrap();
                let presence = |user: &UserKey| (user.as_str() == "alice", false);
                let members = self.world.state.members(room, now_ms, None, 100, presence).0;
                members.iter().map(|member| serde_json::to_string(member).unwrap()).collect()
            }
            ["history", room] => {
                let Some(room) = self.world.state.room_id(&room_name(room).key()) else {
                    return vec!["  no such room".into()];
                };
                let events = self.world.events.range((room, 0)..=(room, u64::MAX));
                events
                    .map(|(_, event)| {
                        let kind = serde_json::to_string(&event.kind).unwrap();
                        format!("  {} {}: {kind}", event.seq, event.author)
                    })
                    .collect()
            }
            ["pins", room] => {
                let room = self.world.state.room(&room_name(room).key()).unwrap();
                room.pins().map(|pinned| format!("  #{} by #{}", pinned.seq, pinned.event)).collect()
            }
            ["hooks", user, room] => {
                let viewer = Viewer { user: &user_name(user).key(), now_ms };
                match self.world.state.hooks(viewer, &room_name(room)) {
                    Ok(hooks) => hooks
                        .iter()
                        .map(|hook| format!("  {} of {}", hook.username, hook.created_by))
                        .collect(),
                    Err(refusal) => vec![format!("refused {refusal}")],
                }
            }
            ["audit", viewer] => {
                let (user, limit) = match viewer {
                    "all" => (None, 100),
                    "newest" => (None, 2),
                    user => (Some(user_name(user).key()), 2),
                };
                let viewer = user.as_ref().map(|user| Viewer { user, now_ms });
                let entries = self.world.state.audit(viewer, u64::MAX, limit).0;
                entries.iter().map(|entry| serde_json::to_string(entry).unwrap()).collect()
            }
            ["file", user, id] => {
                let viewer = Viewer { user: &user_name(user).key(), now_ms };
                match self.world.state.visible_file(viewer, file_id(id)) {
                    Ok(file) => vec![serde_json::to_string(&file).unwrap()],
                    Err(refusal) => vec![format!("refused {refusal}")],
                }
            }
            _ => self.apply(line, &words),
        }
    }

    /// The line with the numbers of today's passwords for `rev=now` and `unlock=now`.
    fn with_revs(&self, line: &str, words: &[&str]) -> String {
        let state = &self.world.state;
        let of_user = state.user(&user_name(words[0]).key()).map_or(0, |user| user.account.password_rev);
        let room = words.get(2).and_then(|room| state.room(&RoomName::new(room)?.key()));
        let of_room = room.map_or(0, |room| room.settings.password_rev);
        line.replace("rev=now", &format!("rev={of_user}")).replace("unlock=now", &format!("unlock={of_room}"))
    }

    fn apply(&mut self, line: &str, words: &[&str]) -> Vec<String> {
        let line = &self.with_revs(line, words);
        let words: Vec<&str> = line.split(' ').filter(|word| !word.contains('=')).collect();
        let words = &words[..];
        let command = parse(line, words);
        let lamport = option(line, "lamport").map_or(0, |claimed| claimed.parse().unwrap());
        self.seq += 1;
        let mut entry = entry(self.seq, words[0], lamport, command);
        if self.now_ms > 0 {
            entry.created_at_ms = self.now_ms;
        }
        if let Some(authority) = option(line, "by") {
            entry.proposal.authority = match authority {
                "operator" => Authority::Operator,
                "cluster" => Authority::Cluster,
                token => Authority::Session(TokenHash::of(token)),
            };
        }
        if let Some(origin) = option(line, "origin") {
            self.seq -= 1;
            entry.origin = origin_of(origin);
        }
        let evidence = self.world.evidence(&entry.proposal.command);
        let checked = self.world.state.check(entry.created_at_ms, &entry.proposal, &evidence);
        let applied = self.world.apply(&entry);
        if let Some(outcome) = &applied.outcome {
            assert_eq!(checked.err(), outcome.as_ref().err().cloned(), "check and apply agree on {line}");
        }
        assert_eq!(self.world.loaded(), self.world.state, "the rows are the state after {line}");
        trace(&applied)
    }
}

/// Reads a command. Tokens and passwords are any words; `password=WORD` sets one, `rev=N` names the entry
/// that did (`rev=now`: the newest).
fn parse(line: &str, words: &[&str]) -> Command {
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
            let room = RoomId(room.parse().unwrap());
            Command::Expire(Expire { room, before_seq: before.parse().unwrap(), retention })
        }
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
fn file_id(number: &str) -> FileId {
    FileId([number.parse().unwrap(); 16])
}

fn trace(applied: &Applied) -> Vec<String> {
    let mut said = vec![match &applied.outcome {
        None => "skipped".into(),
        Some(Ok(reply)) => trace_reply(reply),
        Some(Err(Refusal { code, reason, .. })) => format!("refused {code}: {reason}"),
    }];
    for published in &applied.effects.events {
        let event = &published.event;
        assert_eq!(serde_json::from_str::<Event>(published.json.get()).unwrap(), **event);
        assert_eq!(published.row().seq, event.seq);
        let what = match &event.kind {
            EventKind::Message(message) if message.file.is_none() && message.mentions.is_empty() => {
                format!("{:?}", message.body)
            }
            EventKind::Message(message) => serde_json::to_string(message).unwrap(),
            kind => format!("{kind:?}"),
        };
        said.push(format!(
            "  event {}:{} {} #{} lamport {} {}: {what}",
            published.room.0, event.room, published.index, event.seq, event.lamport_timestamp, event.author
        ));
    }
    for change in &applied.effects.membership {
        let sign = if change.joined { '+' } else { '-' };
        said.push(format!("  member {sign}{} of {}", change.user, change.room.0));
    }
    for invitation in &applied.effects.invitations {
        let what = if invitation.invited { "invited" } else { "uninvited" };
        said.push(format!("  {} is {what} to {} by {}", invitation.user, invitation.room, invitation.by));
    }
    for row in &applied.effects.rewritten {
        said.push(format!("  rewritten #{} {}", row.seq, row.json.get()));
    }
    for ended in &applied.effects.ended {
        let which = match ended.which {
            SessionFilter::One(_) => "one",
            SessionFilter::AllBut(_) => "all but one",
            SessionFilter::All => "all",
            SessionFilter::Guests => "guests",
        };
        said.push(format!("  sessions of {} end, {which}: {}", ended.user, ended.reason));
    }
    for chunk in &applied.effects.chunks {
        said.push(format!("  chunk {} of {} bytes", chunk.number, chunk.bytes.len()));
    }
    for file in &applied.effects.removed_files {
        said.push(format!("  file {} is gone", file.0[0]));
    }
    for (room, before_seq) in &applied.effects.expired {
        said.push(format!("  room {} begins with #{before_seq}", room.0));
    }
    for ReadUpTo { user, room, seq } in &applied.effects.read {
        said.push(format!("  user {} has read {} up to #{seq}", user.0, room.0));
    }
    for deleted in &applied.effects.deleted {
        let members: Vec<&str> = deleted.members.iter().map(UserKey::as_str).collect();
        said.push(format!("  deleted {} by {}, tells {}", deleted.room, deleted.by, members.join(" ")));
    }
    let rows: Vec<&str> = applied.effects.rows.iter().map(|row| table(row.key[0])).collect();
    if !rows.is_empty() {
        said.push(format!("  rows {}", rows.join(" ")));
    }
    said
}

fn trace_reply(reply: &Reply) -> String {
    match reply {
        Reply::Joined { room_id, room, created, role, last_seq, .. } => {
            let how = if *created { "created" } else { "joined" };
            format!("{how} {}:{room} as {role} last_seq {last_seq}", room_id.0)
        }
        Reply::Left { room_id, room } => format!("left {}:{room}", room_id.0),
        Reply::Sent(sent) => format!("sent {}", serde_json::to_string(sent).unwrap()),
        Reply::Placed { room, seq, duplicate: false } => format!("done in {room} as #{seq}"),
        Reply::Placed { room, seq, duplicate: true } => format!("so already in {room}, since #{seq}"),
        Reply::Invited { room, seq, duplicate, is_known } => {
            let warning = if *is_known { "" } else { "; nobody is known by that name" };
            let what = if *duplicate { "so already in" } else { "done in" };
            format!("{what} {room} as #{seq}{warning}")
        }
        Reply::Account { username } => format!("account {username}"),
        Reply::Receiving { received, .. } => format!("received {received}"),
        Reply::File(file) => format!("file {} of {} bytes", file.name, file.size),
        Reply::Done => "done".into(),
        Reply::ServersChanged { version } => format!("servers as of entry {version}"),
        Reply::Nothing => "nothing".into(),
    }
}

fn table(number: u8) -> &'static str {
    match number {
        rows::CLOCK => "clock",
        rows::ROOM => "room",
        rows::USER => "user",
        rows::LAST_SEQ => "last_seq",
        rows::MEMBER => "member",
        rows::SENT => "sent",
        rows::ORIGIN => "origin",
        rows::ACCOUNT => "account",
        rows::SESSION => "session",
        rows::READING => "reading",
        rows::SETTINGS => "settings",
        rows::MUTED => "muted",
        rows::INVITED => "invited",
        rows::BANNED => "banned",
        rows::SPOKE => "spoke",
        rows::FILE => "file",
        rows::HOOK => "hook",
        rows::UPLOAD => "upload",
        rows::IMPORT => "import",
        rows::BLOCKED => "blocked",
        rows::RECENT => "recent",
        rows::RESTORES => "restores",
        rows::AUDIT => "audit",
        rows::SERVERS => "servers",
        other => panic!("table {other} has no name"),
    }
}

fn option<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    line.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
}

fn origin_of(text: &str) -> Origin {
    let numbers: Vec<u64> = text.split('/').map(|number| number.parse().unwrap()).collect();
    Origin { node_id: NodeId(numbers[0]), boot: numbers[1], seq: numbers[2] }
}

fn room_name(text: &str) -> RoomName {
    RoomName::new(text).unwrap()
}

fn user_name(text: &str) -> UserName {
    UserName::new(text).unwrap()
}

#[test]
fn damaged_rows_are_refused_in_a_sentence() {
    let mut run = Run::default();
    run.carry_out("alice join lobby");
    run.carry_out("alice chat lobby m1 hello");
    let good = run.world.rows.clone();
    let load = |rows| crate::chat::State::load(rows).unwrap_err().to_string();
    for key in good.keys() {
        let mut truncated = good.clone();
        truncated.get_mut(key).unwrap().pop();
        assert!(load(truncated).contains("decode"), "{key:?}");
        let mut longer = good.clone();
        longer.get_mut(key).unwrap().push(0);
        assert!(load(longer).contains("too many"), "{key:?}");
        let mut newer = good.clone();
        newer.get_mut(key).unwrap()[0] = 9;
        assert!(load(newer).contains("version 9"), "{key:?}");
    }
    let mut orphan = good.clone();
    orphan.retain(|key, _| key[0] != rows::USER);
    assert!(load(orphan).contains("refers to user 1"));
    let mut strange = good;
    strange.insert(vec![99], vec![1]);
    assert!(load(strange).contains("the row 63"));
}

#[test]
fn a_restore_begins_a_new_epoch() {
    let mut run = Run::default();
    run.carry_out("alice join lobby");
    let mut last = run.world.state.epoch(7);
    assert_eq!(last, 1);
    for cluster_id in [9, 5] {
        for row in run.world.state.begin_epoch() {
            match row.value {
                Some(value) => drop(run.world.rows.insert(row.key, value)),
                None => drop(run.world.rows.remove(&row.key)),
            }
        }
        assert!(run.world.loaded() == run.world.state);
        assert!(!run.world.rows.keys().any(|key| key[0] == rows::ORIGIN));
        let epoch = run.world.state.epoch(cluster_id);
        assert!(last < epoch && epoch < crate::protocol::limits::LAMPORT_END);
        assert_ne!(epoch, run.world.state.epoch(cluster_id + 1), "the same backup, restored once more");
        last = epoch;
    }
}

#[test]
fn a_removed_server_is_forgotten() {
    let mut run = Run::default();
    run.carry_out("alice join lobby");
    let forgotten = run.world.state.forget_origin(NodeId(1));
    assert_eq!(forgotten.len(), 1);
    assert_eq!(forgotten[0].value, None);
    run.world.rows.remove(&forgotten[0].key).expect("it removes the row that was there");
    assert_eq!(run.world.loaded(), run.world.state);
    assert!(run.world.state.forget_origin(NodeId(1)).is_empty());
}

#[test]
fn entries_round_trip() {
    let asked = entry(1, "alice", 3, Join::new(room_name("lobby")));
    let bytes = encode(&asked);
    assert_eq!(decode::<Entry>(&bytes).unwrap(), asked);
    decode::<Entry>(&bytes[..bytes.len() - 1]).unwrap_err();
    decode::<Entry>(&[]).unwrap_err();
}

#[test]
fn rows_of_an_older_version_load() {
    let mut run = Run::default();
    for line in [
        "alice join lobby",
        "alice upload lobby 1 a.txt 10",
        "root import old 1 bob by=operator",
        "bob join lobby",
        "bob invite lobby carol",
    ] {
        run.carry_out(line);
    }
    let mut older = run.world.rows.clone();
    older.retain(|key, _| ![rows::UPLOAD, rows::IMPORT].contains(&key[0]));
    assert_eq!(older.len() + 2, run.world.rows.len());
    // An invitation did not say whose it was.
    let invited = older.iter_mut().find(|(key, _)| key[0] == rows::INVITED);
    *invited.expect("carol is invited").1 = vec![1];
    run.world.rows = older;
    run.world.state = run.world.loaded();
    // It is unknown when it last went on, so it counts as idle until it does.
    assert_eq!(run.world.state.idle_upload(crate::chat::file::UPLOAD_IDLE_MS), Some(file_id("1")));
    assert_eq!(run.carry_out("alice chunk 1 0 10")[0], "received 10");
    assert_eq!(run.world.state.idle_upload(crate::chat::file::UPLOAD_IDLE_MS), None);
    assert!(run.carry_out("bob uninvite lobby carol")[0].starts_with("refused forbidden"));
    assert_eq!(run.carry_out("alice uninvite lobby carol")[0], "done in lobby as #4");
}

#[test]
fn a_full_ring_of_messages_loads() {
    let mut run = Run::default();
    run.carry_out("alice join lobby");
    for n in 0..25_000 {
        run.seq += 1;
        let command = Command::Say(Say {
            to: Destination::Room(room_name("lobby")),
            file_id: None,
            body: "x".into(),
            client_msg_id: format!("m{n}"),
            reply_to: None,
            is_here: false,
        });
        run.world.apply(&entry(run.seq, "alice", 0, command));
    }
    assert!(run.world.loaded() == run.world.state);
}

#[test]
fn the_oldest_deeds_make_room() {
    let mut run = Run::default();
    run.carry_out("alice join lobby");
    for n in 0..AUDIT_MAX + 3 {
        run.seq += 1;
        let topic = Topic { room: room_name("lobby"), topic: format!("{n}") };
        run.world.apply(&entry(run.seq, "alice", 0, topic));
    }
    assert!(run.world.loaded() == run.world.state);
    assert_eq!(run.world.rows.keys().filter(|key| key[0] == rows::AUDIT).count(), AUDIT_MAX);
    let (newest, more) = run.world.state.audit(None, u64::MAX, 2);
    let numbers: Vec<u64> = newest.iter().map(|entry| entry.number).collect();
    assert_eq!((numbers, more), (vec![AUDIT_MAX as u64 + 3, AUDIT_MAX as u64 + 2], true));
    let (oldest, more) = run.world.state.audit(None, 5, 2);
    let numbers: Vec<u64> = oldest.iter().map(|entry| entry.number).collect();
    assert_eq!((numbers, more), (vec![4], false));
}
