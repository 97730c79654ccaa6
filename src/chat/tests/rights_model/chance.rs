//! Random commands, of which enough are allowed that something happens.

use super::model::{Kind, MEvent, MRoom, Model};
use crate::{
    chance::Chance,
    chat::{
        Authority, Command, Entry, Origin, Proposal, Role,
        command::{
            Ban, Block, ChangePassword, CloseAccount, ClusterBan, ClusterUnban, CreateBot, CreateHook,
            Delete, DeleteAccount, DeleteHook, DeleteRoom, Edit, Expire, FileBegin, FileChunk, FileDelete,
            FileEnd, GuestLogin, HookPost, Import, Invite, Join, Kick, Leave, Login, Logout, MarkRead, Mute,
            NewRoom, Nothing, Pin, React, Register, RenameRoom, RoomPassword, RoomSettings, Say, SetAdmin,
            SetPassword, SetRole, Topic, Touch, Unban, Unblock, Uninvite, Unmute, Unpin,
        },
    },
    disk::RoomId,
    protocol::{
        credential::{ScramVerifier, TokenHash, Verifier},
        export::Imported,
        file::{FileId, NewFile},
        moderation::{self, Retention},
        name::{RoomName, UserName},
        peer::NodeId,
        request::Destination,
    },
};

const USERS: [&str; 5] = ["alice", "bob", "carol", "dave", "erin"];
const BOTS: [&str; 2] = ["helper", "ci"];
/// All users that commands name, an unknown one among them.
pub const ALL_USERS: [&str; 8] = ["alice", "bob", "carol", "dave", "erin", "helper", "ci", "nobody"];
/// What rooms are renamed to.
const NAMES: [&str; 7] = ["lobby", "den", "club", "attic", "annex", "loft", "@alice,bob"];
const ROOMS: [&str; 5] = ["lobby", "den", "club", "attic", "old"];

/// What is kept from command to command.
#[derive(Default)]
pub struct Times {
    now: u64,
    tokens: u64,
    texts: u64,
    said: Vec<(String, Command)>,
}

pub fn random_entry(chance: &mut Chance, model: &Model, step: u64, times: &mut Times) -> Entry {
    times.now += 1_000 + chance.below(3_000);
    match chance.below(60) {
        0 => times.now += 100_000,
        1 => times.now = times.now.saturating_sub(15_000).max(1),
        _ => {}
    }
    let (user, authority, command) = match step {
        // An administrator, a person, and rooms with members.
        0 => (
            "alice".into(),
            Authority::Operator,
            Command::Register(Register { password: verifier(), admin: true }),
        ),
        1 => ("alice".into(), Authority::Guest, login(model, "alice", times)),
        2 => (
            "bob".into(),
            Authority::Guest,
            Command::Register(Register { password: verifier(), admin: false }),
        ),
        3 => ("bob".into(), Authority::Guest, login(model, "bob", times)),
        4 => ("bob".into(), authority_of(model, "bob"), create("den", true, false)),
        5 => ("carol".into(), Authority::Guest, create("lobby", false, false)),
        6 => ("carol".into(), Authority::Guest, create("club", chance.below(2) == 0, true)),
        _ => random_request(chance, model, times),
    };
    Entry {
        origin: Origin { node_id: NodeId(1), boot: 1, seq: step + 1 },
        created_at_ms: times.now,
        proposal: Proposal {
            user: UserName::new(&user).unwrap(),
            authority,
            lamport_timestamp: 0,
            command,
            room: None,
        },
    }
}

fn random_request(chance: &mut Chance, model: &Model, times: &mut Times) -> (String, Authority, Command) {
    let bots = chance.below(10) == 0;
    let user = if bots { chance.pick(&BOTS) } else { chance.pick(&USERS) };
    let authority = match chance.below(40) {
        0 => Authority::Guest,
        1 => [Authority::Operator, Authority::Cluster][chance.below(2) as usize],
        // A session of another user, or one that has ended.
        2..=3 => Authority::Session(TokenHash::of(&format!("t{}", chance.below(times.tokens + 1)))),
        _ => authority_of(model, user),
    };
    // An earlier message once more.
    if chance.below(15) == 0 && !times.said.is_empty() {
        let (user, command) = &times.said[chance.below(times.said.len() as u64) as usize];
        return (user.clone(), authority_of(model, user), command.clone());
    }
    let is_out = authority_of(model, user) == Authority::Guest;
    if is_out
        && chance.below(3) > 0
        && matches!(model.users.get(user).map(|user| &user.kind), Some(Kind::Person { .. }))
    {
        return (user.into(), Authority::Guest, login(model, user, times));
    }
    let command = random_command(chance, model, times, user);
    if matches!(command, Command::Import(_)) {
        times.said.push(("alice".into(), command.clone()));
    }
    let is_for_operators = matches!(
        command,
        Command::SetAdmin(_)
            | Command::SetPassword(_)
            | Command::ClusterBan(_)
            | Command::ClusterUnban(_)
            | Command::DeleteAccount(_)
            | Command::Import(_)
    );
    let authority = match command {
        Command::Expire(_) if chance.below(5) > 0 => Authority::Cluster,
        _ if is_for_operators && chance.below(3) == 0 => Authority::Operator,
        _ if is_for_operators && chance.below(3) > 0 => {
            return ("alice".into(), authority_of(model, "alice"), command);
        }
        _ => authority,
    };
    if matches!(command, Command::Say(_) | Command::HookPost(_)) {
        times.said.push((user.into(), command.clone()));
    }
    (user.into(), authority, command)
}

/// The user's newest session; without one, a guest.
fn authority_of(model: &Model, user: &str) -> Authority {
    let own = model.tokens.iter().rev().find(|(_, (whose, _))| whose == user);
    own.map_or(Authority::Guest, |(token, _)| Authority::Session(*token))
}

fn verifier() -> Box<Verifier> {
    let scram = ScramVerifier { iterations: 1, salt: Vec::new(), stored_key: [1; 32], server_key: [2; 32] };
    Box::new(Verifier { argon2: "verifier".into(), scram })
}

fn new_token(times: &mut Times) -> TokenHash {
    times.tokens += 1;
    TokenHash::of(&format!("t{}", times.tokens))
}

fn login(model: &Model, user: &str, times: &mut Times) -> Command {
    let password_rev = match model.users.get(user).map(|user| &user.kind) {
        Some(Kind::Person { rev }) => *rev,
        _ => 0,
    };
    let expires_ms = times.now + if times.tokens.is_multiple_of(8) { 60_000 } else { 5_000_000 };
    Command::Login(Login { password_rev, token: new_token(times), expires_ms, rehashed: None })
}

fn create(room: &str, private: bool, password: bool) -> Command {
    let new = NewRoom { private, password: password.then(verifier) };
    Join { new, is_here: true, ..Join::new(room_name(room)) }.into()
}

fn room_name(name: &str) -> RoomName {
    RoomName::new(name).unwrap()
}

fn user_name(name: &str) -> UserName {
    UserName::new(name).unwrap()
}

/// A text that was never said before, which may name a user.
fn text(chance: &mut Chance, times: &mut Times) -> String {
    times.texts += 1;
    match chance.below(12) {
        0 => format!("text-{}-x @channel", times.texts),
        1..=4 => format!("text-{}-x @{}", times.texts, chance.pick(&USERS)),
        _ => format!("text-{}-x", times.texts),
    }
}

fn some_room(chance: &mut Chance, model: &Model, user: &str) -> RoomName {
    let mine: Vec<&str> = model
        .rooms
        .iter()
        .filter(|(_, room)| room.members.contains_key(user))
        .map(|(name, _)| name.as_str())
        .collect();
    match chance.below(16) {
        0 => RoomName::direct(&user_name(chance.pick(&USERS)), &user_name(chance.pick(&USERS))),
        1..=11 if !mine.is_empty() => room_name(chance.pick(&mine)),
        _ => room_name(chance.pick(&ROOMS)),
    }
}

/// A message of the room, more likely than another event, and newer ones more likely than older ones.
fn some_message(chance: &mut Chance, room: Option<&MRoom>, user: &str) -> u64 {
    let Some(room) = room else { return chance.below(5) };
    let is_own = chance.below(3) > 0;
    let messages: Vec<u64> = room
        .events
        .iter()
        .filter(|(_, event)| matches!(event, MEvent::Message(said) if !is_own || said.author == user))
        .map(|(seq, _)| *seq)
        .collect();
    let with_file = room.events.iter().find(
        |(_, event)| matches!(event, MEvent::Message(said) if said.file.is_some() && said.author == user),
    );
    if let Some((seq, _)) = with_file.filter(|_| chance.below(2) == 0) {
        return *seq;
    }
    match chance.below(6) {
        0 => chance.below(room.last_seq + 3),
        _ if messages.is_empty() => chance.below(room.last_seq + 1),
        _ => messages[messages.len() - 1 - chance.below(messages.len().min(4) as u64) as usize],
    }
}

fn seconds(chance: &mut Chance) -> Option<u32> {
    (chance.below(3) > 0).then(|| 1 + chance.below(30) as u32)
}

fn random_command(chance: &mut Chance, model: &Model, times: &mut Times, user: &str) -> Command {
    let room = some_room(chance, model, user);
    let found = model.rooms.get(room.as_str());
    let files: Vec<u8> = model.files.keys().copied().collect();
    let file_id = match files.is_empty() || chance.below(4) == 0 {
        true => chance.below(8) as u8,
        false => files[chance.below(files.len() as u64) as usize],
    };
    let file_id = FileId([file_id; 16]);
    // A user who is not in the room joins first.
    let is_outside = found.is_some_and(|room| !room.members.contains_key(user));
    if is_outside && chance.below(3) == 0 {
        return Join { is_here: true, ..Join::new(room) }.into();
    }
    // A user who may not speak tries something else.
    if found.is_some_and(|room| model.is_muted(user, room, times.now)) && chance.below(2) == 0 {
        return Command::Edit(Edit {
            seq: some_message(chance, found, user),
            body: text(chance, times),
            room,
        });
    }
    // More often than not, an upload that was begun is ended.
    if model.files.values().any(|file| file.uploader == user && !file.whole) && chance.below(3) == 0 {
        return random_file_action(chance, model, room, user, file_id);
    }
    match chance.below(104) {
        0..=9 => match found.map(|room| room.password) {
            Some((true, rev)) if chance.below(3) > 0 => {
                let password_rev = rev - u64::from(rev > 0 && chance.below(4) == 0);
                Join { password_rev: Some(password_rev), is_here: true, ..Join::new(room) }.into()
            }
            _ if chance.below(3) == 0 => create(room.as_str(), chance.below(2) == 0, chance.below(4) == 0),
            _ => Join { is_here: true, ..Join::new(room) }.into(),
        },
        10..=11 => Command::Leave(Leave { room }),
        12..=33 => {
            let to = match chance.below(6) {
                0 => Destination::User(user_name(chance.pick(&USERS))),
                _ => Destination::Room(room),
            };
            let reply_to = (chance.below(12) == 0).then(|| chance.below(20));
            let whole =
                model.files.iter().filter(|(_, file)| file.whole && model.reads_file(user, file, times.now));
            let whole: Vec<u8> = whole.map(|(number, _)| *number).collect();
            let file_id = match chance.below(8) {
                0 => Some(file_id),
                1..=3 if !whole.is_empty() => {
                    Some(FileId([whole[chance.below(whole.len() as u64) as usize]; 16]))
                }
                _ => None,
            };
            let client_msg_id = format!("m{}", chance.below(300));
            Command::Say(Say {
                to,
                body: text(chance, times),
                client_msg_id,
                reply_to,
                file_id,
                is_here: true,
            })
        }
        34..=38 => {
            let seq = some_message(chance, found, user);
            let same = found.and_then(|room| room.events.get(&seq)).filter(|_| chance.below(8) == 0);
            let body = match same {
                Some(MEvent::Message(message)) if message.deleted.is_none() => message.body.clone(),
                _ => text(chance, times),
            };
            Command::Edit(Edit { seq, body, room })
        }
        39..=42 => Command::Delete(Delete { seq: some_message(chance, found, user), room }),
        43..=46 => Command::React(React {
            seq: some_message(chance, found, user),
            emoji: chance.pick(&["+1", "-1"]).into(),
            remove: chance.below(3) == 0,
            room,
        }),
        47 => Pin { seq: some_message(chance, found, user), room }.into(),
        48 => match found.and_then(|room| room.pins.last()) {
            Some((seq, _)) if chance.below(3) > 0 => Unpin { seq: *seq, room }.into(),
            _ => Unpin { seq: some_message(chance, found, user), room }.into(),
        },
        49 => match chance.below(3) {
            0 => Unblock { username: user_name(chance.pick(&USERS)) }.into(),
            _ => Block { username: user_name(chance.pick(&USERS)) }.into(),
        },
        50 => {
            let seq = chance.below(found.map_or(3, |room| room.last_seq + 2));
            Command::MarkRead(MarkRead { seq, room })
        }
        51..=66 => {
            let mine =
                |room: &&MRoom| room.members.get(user).is_some_and(|member| member.role != Role::Member);
            let names = model.rooms.iter().filter(|(_, room)| mine(room)).map(|(name, _)| name.as_str());
            let names: Vec<&str> = names.collect();
            let room = match names.is_empty() || chance.below(4) == 0 {
                true => room,
                false => room_name(chance.pick(&names)),
            };
            random_moderation(chance, model, room)
        }
        67..=70 => {
            let to = Destination::Room(room);
            let client_msg_id = format!("n{}", times.texts);
            Command::Say(Say {
                to,
                body: text(chance, times),
                client_msg_id,
                reply_to: None,
                file_id: None,
                is_here: true,
            })
        }
        71 => Command::RoomPassword(RoomPassword { room, password: (chance.below(2) == 0).then(verifier) }),
        72..=79 => random_account_action(chance, model, times, user),
        80..=81 => {
            let username = user_name(chance.pick(&ALL_USERS));
            match chance.below(10) {
                0 => SetAdmin { username, admin: chance.below(2) == 0 }.into(),
                1 => SetPassword { username, password: verifier() }.into(),
                2 => ClusterBan { username, seconds: seconds(chance) }.into(),
                3..=8 => ClusterUnban { username }.into(),
                _ => DeleteAccount { username }.into(),
            }
        }
        82 => {
            Command::CreateBot(CreateBot { username: user_name(chance.pick(&BOTS)), token: new_token(times) })
        }
        83..=84 => {
            let username =
                user_name(if chance.below(6) == 0 { chance.pick(&USERS) } else { chance.pick(&BOTS) });
            Command::CreateHook(CreateHook { room, username, token: new_token(times) })
        }
        85..=86 if !model.hooks.is_empty() => {
            let hooks: Vec<TokenHash> = model.hooks.keys().copied().collect();
            let token = hooks[chance.below(hooks.len() as u64) as usize];
            match chance.below(6) {
                0 => Command::DeleteHook(DeleteHook { room, token }),
                _ => Command::HookPost(HookPost {
                    token,
                    body: text(chance, times),
                    client_msg_id: format!("h{}", chance.below(30)),
                    display_name: None,
                    repeat_id: None,
                    goes_on: chance.below(4) == 0,
                }),
            }
        }
        87..=95 => random_file_action(chance, model, room, user, file_id),
        96..=97 => {
            let before_seq = found.map_or(1, |room| room.first_seq + chance.below(6));
            let retention = found.filter(|_| chance.below(6) > 0).map(|room| room.retention);
            let room = RoomId(found.map_or(0, |room| room.id));
            Command::Expire(Expire { room, before_seq, retention: retention.unwrap_or_default() })
        }
        98 => {
            // Direct conversations are imported by operators only; the scripts have them.
            let is_old = chance.below(3) > 0 || room.direct_pair().is_some();
            let room = if is_old { room_name("old") } else { room };
            let last_seq = model.rooms.get(room.as_str()).map_or(0, |room| room.last_seq);
            let first_seq = if chance.below(4) == 0 { chance.below(4) } else { last_seq + 1 };
            let events = (0..=chance.below(2))
                .map(|_| Imported::message(user_name(chance.pick(&USERS)), 5_000, text(chance, times)));
            Command::Import(Import { room, first_seq, events: events.collect() })
        }
        99..=101 => {
            let owned = |room: &MRoom| {
                room.pair.is_none() && room.members.get(user).is_some_and(|member| member.role == Role::Owner)
            };
            let owned: Vec<&str> =
                model.rooms.iter().filter(|(_, room)| owned(room)).map(|(name, _)| name.as_str()).collect();
            let room = match owned.is_empty() || chance.below(4) == 0 {
                true => room,
                false => room_name(chance.pick(&owned)),
            };
            match chance.below(3) {
                0 => DeleteRoom { room }.into(),
                _ => RenameRoom { room, name: room_name(chance.pick(&NAMES)) }.into(),
            }
        }
        _ => Command::Nothing(Nothing),
    }
}

fn random_moderation(chance: &mut Chance, model: &Model, room: RoomName) -> Command {
    let found = model.rooms.get(room.as_str()).into_iter();
    let members: Vec<&str> = found.flat_map(|room| room.members.keys().map(String::as_str)).collect();
    let username = match members.is_empty() || chance.below(3) == 0 {
        true => user_name(chance.pick(&ALL_USERS)),
        false => user_name(chance.pick(&members)),
    };
    match chance.below(20) {
        19 => Uninvite { room, username }.into(),
        0 => Topic { room, topic: chance.pick(&["this", "that"]).into() }.into(),
        1..=4 => Invite { room, username, is_here: true }.into(),
        5 => Kick { room, username }.into(),
        6 => Ban { room, username, seconds: seconds(chance) }.into(),
        7..=9 => Unban { room, username }.into(),
        10..=11 => Mute { room, username, seconds: seconds(chance) }.into(),
        12 => Unmute { room, username }.into(),
        13..=16 => {
            let role = match chance.below(4) {
                0 => Role::Owner,
                1 => Role::Member,
                _ => Role::Moderator,
            };
            SetRole { room, username, role }.into()
        }
        _ => {
            let changes = moderation::RoomSettings {
                private: (chance.below(3) == 0).then(|| chance.below(2) == 0),
                slow_s: (chance.below(2) == 0).then(|| chance.below(3) as u32 * 6),
                retention: (chance.below(2) == 0).then(|| match chance.below(4) {
                    0 => Retention::default(),
                    1 => Retention { days: Some(1), events: None },
                    _ => Retention { days: None, events: Some(1 + chance.below(6)) },
                }),
                archived: (chance.below(2) == 0).then(|| chance.below(12) == 0),
            };
            RoomSettings { room, changes }.into()
        }
    }
}

fn random_account_action(chance: &mut Chance, model: &Model, times: &mut Times, user: &str) -> Command {
    let Command::Login(Login { password_rev, token, expires_ms, rehashed }) = login(model, user, times)
    else {
        unreachable!("a login is one")
    };
    // A password of an earlier time.
    let password_rev = password_rev.saturating_sub(u64::from(chance.below(5) == 0));
    let is_person = matches!(model.users.get(user).map(|user| &user.kind), Some(Kind::Person { .. }));
    match chance.below(32) {
        30..=31 => Command::GuestLogin(GuestLogin),
        4..=20 if !is_person && chance.below(4) > 0 => Command::Touch(Touch),
        0..=3 => Command::Register(Register { password: verifier(), admin: chance.below(4) == 0 }),
        4..=20 => Command::Login(Login { password_rev, token, expires_ms, rehashed }),
        21..=23 => Command::Touch(Touch),
        24..=25 => Command::Logout(Logout { everywhere: chance.below(2) == 0 }),
        26..=28 => {
            Command::ChangePassword(ChangePassword { password_rev, password: verifier(), token, expires_ms })
        }
        _ => Command::CloseAccount(CloseAccount { password_rev }),
    }
}

fn random_file_action(
    chance: &mut Chance,
    model: &Model,
    room: RoomName,
    user: &str,
    file_id: FileId,
) -> Command {
    let own = model.files.iter().find(|(_, file)| file.uploader == user && !file.whole);
    let (file_id, size, received) = match own {
        Some((number, file)) if chance.below(6) > 0 => (FileId([*number; 16]), file.size, file.received),
        _ => (file_id, 10, 0),
    };
    match chance.below(10) {
        0..=2 => {
            let size = [0, 0, 10, 40_000][chance.below(4) as usize];
            let (name, content_type) = ("a.txt".into(), "text/plain".into());
            let to = match chance.below(6) {
                0 => Destination::User(user_name(chance.pick(&USERS))),
                _ => Destination::Room(room),
            };
            let file = NewFile { name, size, content_type };
            Command::FileBegin(FileBegin { file_id, to, file, is_here: true })
        }
        3..=5 => {
            let length = (size - received.min(size)).min(32 * 1024);
            let length = if chance.below(8) == 0 { length / 2 } else { length };
            let offset = if chance.below(8) == 0 { 0 } else { received };
            Command::FileChunk(FileChunk { file_id, offset, bytes: vec![7; length as usize] })
        }
        6..=8 => Command::FileEnd(FileEnd { file_id, sha256: [9; 32] }),
        _ => Command::FileDelete(FileDelete { file_id }),
    }
}
