//! One of each command as it is written in the log, and one of each kind of event as it is stored.
//!
//! The log holds fields by their position. A change here means that older logs are read wrongly, unless the
//! version byte changes or new variants are at the end.

use std::fmt::Write as _;

use data_encoding::HEXLOWER;
use syncnet::{
    chat::{
        Authority, Command, Entry, Origin, Proposal,
        command::{
            BackupMade, Ban, Block, ChangePassword, ChangeServers, CloseAccount, ClusterBan, ClusterUnban,
            CreateBot, CreateHook, Delete, DeleteAccount, DeleteHook, DeleteRoom, Edit, Expire, FileBegin,
            FileChunk, FileDelete, FileEnd, GiveUpUpload, GuestLogin, HookPost, Import, ImportRoom, Invite,
            Join, Kick, Leave, Login, Logout, MarkRead, Mute, NewRoom, Nothing, Pin, RaiseRules, React,
            Register, RenameRoom, RoomPassword, RoomSettings, Say, SetAdmin, SetPassword, SetRole, Topic,
            Touch, TransferLeader, Unban, Unblock, Uninvite, Unmute, Unpin,
        },
    },
    disk::RoomId,
    protocol::{
        Event, EventKind, FileId, FileInfo, Message, Role, RoomName, ServerId, UserName,
        credential::{ScramVerifier, TokenHash, Verifier},
        directory::{ServerChange, ServerEntry},
        export::{Imported, ImportedRoom},
        file::NewFile,
        moderation::{self, Retention},
        peer::NodeId,
        request::Destination,
        rules::{KnownRules, RulesVersion},
    },
};

const TOKEN: TokenHash = TokenHash([0xaa; 32]);
const FILE: FileId = FileId([0xbb; 16]);
/// What a program knows that is newer than the first.
const NEWER: KnownRules = KnownRules { oldest: RulesVersion::FIRST, newest: RulesVersion(2) };
const RETENTION: Retention = Retention { days: Some(7), events: Some(300) };

fn room() -> RoomName {
    RoomName::new("Lobby").expect("a name")
}

fn user(name: &str) -> UserName {
    UserName::new(name).expect("a name")
}

fn verifier() -> Box<Verifier> {
    let scram = ScramVerifier {
        iterations: 4_096,
        salt: vec![1, 2, 3],
        stored_key: [0xcc; 32],
        server_key: [0xdd; 32],
    };
    Box::new(Verifier { argon2: "$argon2id$v=19$x".into(), scram })
}

fn new_file() -> NewFile {
    NewFile { name: "cat.png".into(), size: 70_000, content_type: "image/png".into() }
}

fn server(number: u16) -> ServerEntry {
    let server_id = ServerId::new(&format!("server{number}")).expect("an id");
    ServerEntry {
        client_port: Some(443),
        ..ServerEntry::new(server_id, "host", 8_000 + number, number.into())
    }
}

fn change_servers(change: ServerChange) -> Command {
    Command::ChangeServers(ChangeServers { change, configured: vec![server(1)] })
}

fn name(command: &Command) -> String {
    let debug = format!("{command:?}");
    debug.split(['(', ' ']).next().unwrap_or_default().to_owned()
}

fn commands() -> Vec<Command> {
    let join = |new, password_rev| {
        Command::Join(Join { room: room(), new, password_rev, resumes: false, is_here: false })
    };
    let message = |to| {
        Command::Say(Say {
            to,
            body: "hello \u{e9}".into(),
            client_msg_id: "a-1".into(),
            reply_to: Some(300),
            file_id: Some(FILE),
            is_here: true,
        })
    };
    let mut commands = vec![
        Command::Nothing(Nothing),
        Join::new(room()).into(),
        Command::Leave(Leave { room: room() }),
        message(Destination::Room(room())),
        message(Destination::User(user("bob"))),
        join(NewRoom { private: true, password: Some(verifier()) }, None),
        join(NewRoom::default(), Some(300)),
        Command::Edit(Edit { room: room(), seq: 300, body: "x".into() }),
        Command::Delete(Delete { room: room(), seq: 300 }),
        Command::React(React { room: room(), seq: 300, emoji: "+1".into(), remove: true }),
        Command::MarkRead(MarkRead { room: room(), seq: 300 }),
        Command::RoomPassword(RoomPassword { room: room(), password: Some(verifier()) }),
        Command::RoomPassword(RoomPassword { room: room(), password: None }),
        Command::Import(Import {
            room: room(),
            first_seq: 300,
            events: vec![Imported::message(user("bob"), 1_500_000_000_500, "old".into())],
        }),
        Command::Register(Register { password: verifier(), admin: true }),
        Command::Login(Login {
            password_rev: 300,
            token: TOKEN,
            expires_ms: 1_800_000_000_000,
            rehashed: Some(verifier()),
        }),
        Command::Touch(Touch),
        Command::Logout(Logout { everywhere: true }),
        Command::ChangePassword(ChangePassword {
            password_rev: 300,
            password: verifier(),
            token: TOKEN,
            expires_ms: 300,
        }),
        Command::CloseAccount(CloseAccount { password_rev: 300 }),
        Command::CreateBot(CreateBot { username: user("robot"), token: TOKEN }),
        Command::CreateHook(CreateHook { room: room(), username: user("ci"), token: TOKEN }),
        Command::DeleteHook(DeleteHook { room: room(), token: TOKEN }),
        Command::HookPost(HookPost {
            token: TOKEN,
            body: "built".into(),
            client_msg_id: "h-1".into(),
            display_name: Some("CI".into()),
            repeat_id: Some("body-1".into()),
            goes_on: true,
        }),
        Command::FileBegin(FileBegin {
            file_id: FILE,
            to: Destination::Room(room()),
            file: new_file(),
            is_here: false,
        }),
        Command::FileChunk(FileChunk { file_id: FILE, offset: 32_768, bytes: vec![1, 2, 3] }),
        Command::FileEnd(FileEnd { file_id: FILE, sha256: [0xee; 32] }),
        Command::FileDelete(FileDelete { file_id: FILE }),
        Command::ImportRoom(ImportRoom {
            room: room(),
            info: Box::new(ImportedRoom {
                private: true,
                topic: "past".into(),
                archived: false,
                slow_s: 3,
                retention: RETENTION,
                members: vec![(user("bob"), Role::Owner), (user("carol"), Role::Moderator)],
            }),
        }),
        Command::Expire(Expire { room: RoomId(300), before_seq: 300, retention: RETENTION }),
        Command::GiveUpUpload(GiveUpUpload { file_id: FILE }),
        Command::Block(Block { username: user("bob") }),
        Command::Unblock(Unblock { username: user("bob") }),
        Command::Pin(Pin { room: room(), seq: 300 }),
        Command::Unpin(Unpin { room: room(), seq: 300 }),
        Command::RenameRoom(RenameRoom { room: room(), name: RoomName::new("den").unwrap() }),
        Command::DeleteRoom(DeleteRoom { room: room() }),
        Command::GuestLogin(GuestLogin),
        change_servers(ServerChange::Add(server(4))),
        change_servers(ServerChange::Remove(server(3).server_id)),
        change_servers(ServerChange::Replace { old: server(1).server_id, new: server(6) }),
        change_servers(ServerChange::Drain { server_id: server(2).server_id, drained: true }),
    ];
    commands.extend(moderations());
    commands.extend(administrations());
    commands
}

fn moderations() -> Vec<Command> {
    let username = || user("bob");
    let mut commands: Vec<Command> = vec![
        Topic { room: room(), topic: "tea".into() }.into(),
        Invite { room: room(), username: username(), is_here: true }.into(),
        Uninvite { room: room(), username: username() }.into(),
        Kick { room: room(), username: username() }.into(),
        Ban { room: room(), username: username(), seconds: Some(60) }.into(),
        Ban { room: room(), username: username(), seconds: None }.into(),
        Unban { room: room(), username: username() }.into(),
        Mute { room: room(), username: username(), seconds: Some(60) }.into(),
        Unmute { room: room(), username: username() }.into(),
    ];
    let changes = moderation::RoomSettings {
        private: Some(true),
        slow_s: Some(3),
        retention: Some(RETENTION),
        archived: Some(false),
    };
    commands.push(RoomSettings { room: room(), changes }.into());
    let roles = [Role::Owner, Role::Member, Role::Moderator];
    commands.extend(roles.map(|role| SetRole { room: room(), username: username(), role }.into()));
    commands
}

fn administrations() -> [Command; 10] {
    let username = || user("bob");
    [
        SetAdmin { username: username(), admin: true }.into(),
        SetPassword { username: username(), password: verifier() }.into(),
        ClusterBan { username: username(), seconds: Some(3_600) }.into(),
        ClusterBan { username: username(), seconds: None }.into(),
        ClusterUnban { username: username() }.into(),
        DeleteAccount { username: username() }.into(),
        TransferLeader { server_id: ServerId::new("server1"), seconds: 3_600 }.into(),
        TransferLeader { server_id: None, seconds: 3_600 }.into(),
        BackupMade {}.into(),
        RaiseRules { to: RulesVersion(2) }.into(),
    ]
}

fn kinds() -> Vec<EventKind> {
    let username = || user("bob");
    let file = FileInfo {
        file_id: FILE,
        name: "cat.png".into(),
        size: 70_000,
        sha256: "ee".repeat(32),
        content_type: "image/png".into(),
    };
    let full = Message {
        body: "hello @bob \u{e9}\u{1b}".into(),
        client_msg_id: "a-1".into(),
        reply_to: Some(2),
        mentions: vec![username()],
        file: Some(file),
        display_name: Some("CI".into()),
        edited: Some(9),
        deleted: Some(10),
        reactions: [("+1".to_owned(), vec![username(), user("Carol")])].into(),
    };
    vec![
        EventKind::Message(full),
        EventKind::Message(Message { body: "x".into(), client_msg_id: "a-2".into(), ..Message::default() }),
        EventKind::Joined,
        EventKind::Left,
        EventKind::Edited { target: 3, body: Some("x".into()) },
        EventKind::Edited { target: 3, body: None },
        EventKind::Deleted { target: 3 },
        EventKind::Reaction { target: 3, emoji: "+1".into(), remove: false },
        EventKind::Reaction { target: 3, emoji: "+1".into(), remove: true },
        EventKind::Renamed { name: RoomName::new("den").unwrap(), old_name: room() },
        EventKind::Topic { topic: "tea".into() },
        EventKind::Pinned { target: 3 },
        EventKind::Unpinned { target: 3 },
        EventKind::Invited { username: username() },
        EventKind::Uninvited { username: username() },
        EventKind::Kicked { username: username() },
        EventKind::Banned { username: username(), seconds: Some(60) },
        EventKind::Banned { username: username(), seconds: None },
        EventKind::Unbanned { username: username() },
        EventKind::Muted { username: username(), seconds: Some(60) },
        EventKind::Muted { username: username(), seconds: None },
        EventKind::Unmuted { username: username() },
        EventKind::Role { username: username(), role: "moderator".into() },
        EventKind::Settings {
            private: true,
            archived: false,
            slow_s: 3,
            password: true,
            keep_days: Some(7),
            keep_events: Some(300),
        },
        EventKind::Settings {
            private: false,
            archived: true,
            slow_s: 0,
            password: false,
            keep_days: None,
            keep_events: None,
        },
    ]
}

fn entry(authority: Authority, command: impl Into<Command>) -> Entry {
    let command = command.into();
    Entry {
        origin: Origin { node_id: NodeId(0x0123_4567_89ab_cdef), boot: 300, seq: 70_000 },
        created_at_ms: 1_763_677_200_123,
        proposal: Proposal { user: user("Alice"), authority, lamport_timestamp: 300, command, room: None },
    }
}

/// All of them, by their names.
pub fn record() -> String {
    let mut text = String::from("# Commands, encoded.\n");
    let mut names = std::collections::BTreeSet::new();
    for command in commands() {
        let name = name(&command);
        let entry = entry(Authority::Guest, command);
        let bytes = entry.encode();
        assert_eq!(Entry::decode(&bytes, NEWER).as_ref(), Ok(&entry), "{name} does not come back");
        let _ = writeln!(text, "{name} {}", HEXLOWER.encode(&bytes));
        names.insert(name);
    }
    // Variants are numbered without a hole: if the next number means nothing, each command has an example.
    let next = u8::try_from(names.len()).expect("fewer commands than that");
    let unknown = postcard::from_bytes::<Command>(&[next]);
    assert_eq!(unknown, Err(postcard::Error::SerdeDeCustom), "a command has no example");
    text.push_str("\n# The rights by which a user acts, in the command `touch`.\n");
    for authority in [Authority::Guest, Authority::Session(TOKEN), Authority::Operator, Authority::Cluster] {
        let word = format!("{authority:?}");
        let word = word.split('(').next().unwrap_or_default().to_lowercase();
        let _ = writeln!(text, "{word} {}", HEXLOWER.encode(&entry(authority, Touch).encode()));
    }
    text.push_str("\n# A proposal, as a follower passes it on.\n");
    let proposal = entry(Authority::Guest, Join::new(room())).proposal;
    let _ = writeln!(text, "join {}", HEXLOWER.encode(&proposal.encode()));
    text.push_str("\n# Events, as they are stored and shown.\n");
    for kind in kinds() {
        let event = Event {
            room: room(),
            seq: 7,
            author: user("Alice"),
            lamport_timestamp: 12,
            created_at: 1_763_677_200_123,
            kind,
        };
        let json = serde_json::to_string(&event).expect("an event is JSON");
        let back: Event = serde_json::from_str(&json).expect("what is written can be read");
        assert_eq!(back, event, "{json} does not come back");
        let _ = writeln!(text, "{json}");
    }
    text
}
