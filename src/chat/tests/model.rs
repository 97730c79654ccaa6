//! Random commands against a model that is too simple to be wrong in the same way.
//!
//! One server runs through, another is restarted from its rows at random moments. Both must give the same
//! answers, byte for byte, and those of the model.

use std::collections::{BTreeMap, BTreeSet};

use super::{World, entry};
use crate::{
    chance::Chance,
    chat::{
        Applied, Command, Entry, Reply, Role,
        command::{Join, Leave, Nothing, Say},
        views::Viewer,
    },
    protocol::{
        answer::SentAnswer,
        limits::LAMPORT_AHEAD_MAX,
        name::{RoomName, UserName},
        refusal::Code,
        request::Destination,
    },
};

/// The expected result of a command.
#[derive(Debug, PartialEq)]
enum Expected {
    Skipped,
    Refused(Code),
    Nothing,
    Joined { room: String, created: bool, role: &'static str, last_seq: u64 },
    Left { room: String },
    Sent { room: String, seq: u64, lamport: u64, duplicate: bool },
}

/// Rooms, users and messages as plain collections. Keys have folded names.
#[derive(Default)]
struct Model {
    rooms: BTreeMap<String, ModelRoom>,
    /// By user and `client_msg_id`.
    sent: BTreeMap<(String, String), ModelMessage>,
    lamport: u64,
    messages: u64,
    /// The newest command of the one server.
    origin_seq: u64,
}

/// Room, body and `reply_to`.
type Content = (String, String, Option<u64>);

struct ModelMessage {
    content: Content,
    seq: u64,
    lamport: u64,
}

struct ModelRoom {
    name: String,
    last_seq: u64,
    members: BTreeMap<String, Role>,
    /// The event with which each of them came.
    since: BTreeMap<String, u64>,
}

impl Model {
    fn apply(&mut self, entry: &Entry) -> Expected {
        if entry.origin.seq != self.origin_seq + 1 {
            return Expected::Skipped;
        }
        self.origin_seq += 1;
        let proposal = &entry.proposal;
        let (user, claimed) = (fold(proposal.user.as_str()), proposal.lamport_timestamp);
        if proposal.command != Command::Nothing(Nothing) && claimed > self.lamport + LAMPORT_AHEAD_MAX {
            return Expected::Refused(Code::BadRequest);
        }
        match &proposal.command {
            Command::Nothing(Nothing) => Expected::Nothing,
            Command::Join(Join { room, .. }) => self.join(&user, room.as_str(), claimed),
            Command::Leave(Leave { room }) => self.leave(&user, room.as_str(), claimed),
            Command::Say(Say { to: Destination::Room(room), body, client_msg_id, reply_to, .. }) => {
                let content = (fold(room.as_str()), body.clone(), *reply_to);
                self.chat(&user, client_msg_id, content, claimed)
            }
            command => panic!("the rest has a model of its own: {command:?}"),
        }
    }

    fn event(&mut self, room: &str, claimed: u64) -> u64 {
        self.lamport = self.lamport.max(claimed) + 1;
        let room = self.rooms.get_mut(room).unwrap();
        room.last_seq += 1;
        room.last_seq
    }

    fn join(&mut self, user: &str, name: &str, claimed: u64) -> Expected {
        let key = fold(name);
        let created = !self.rooms.contains_key(&key);
        let new =
            || ModelRoom { name: name.into(), last_seq: 0, members: BTreeMap::new(), since: BTreeMap::new() };
        let room = self.rooms.entry(key.clone()).or_insert_with(new);
        if room.members.contains_key(user) {
            self.lamport = self.lamport.max(claimed);
        } else {
            let role = if created { Role::Owner } else { Role::Member };
            room.members.insert(user.into(), role);
            let seq = self.event(&key, claimed);
            self.rooms.get_mut(&key).unwrap().since.insert(user.into(), seq);
        }
        let room = &self.rooms[&key];
        Expected::Joined {
            room: room.name.clone(),
            created,
            role: room.members[user].as_str(),
            last_seq: room.last_seq,
        }
    }

    fn leave(&mut self, user: &str, name: &str, claimed: u64) -> Expected {
        let key = fold(name);
        let Some(room) = self.rooms.get_mut(&key) else { return Expected::Refused(Code::NotFound) };
        if room.members.remove(user).is_none() {
            return Expected::Refused(Code::Forbidden);
        }
        let heir = room.members.keys().min_by_key(|name| room.since[*name]).cloned();
        let has_owner = room.members.values().any(|role| *role == Role::Owner);
        let (room, members) = (room.name.clone(), &mut room.members);
        if let (false, Some(heir)) = (has_owner, heir) {
            members.insert(heir, Role::Owner);
            self.event(&key, claimed);
        }
        self.event(&key, claimed);
        Expected::Left { room }
    }

    fn chat(&mut self, user: &str, id: &str, content: Content, claimed: u64) -> Expected {
        let key = (user.to_string(), id.to_string());
        if let Some(ModelMessage { content: before, seq, lamport }) = self.sent.get(&key) {
            if *before != content {
                return Expected::Refused(Code::BadRequest);
            }
            self.lamport = self.lamport.max(claimed);
            let room = self.rooms[&content.0].name.clone();
            return Expected::Sent { room, seq: *seq, lamport: *lamport, duplicate: true };
        }
        let Some(room) = self.rooms.get(&content.0) else { return Expected::Refused(Code::NotFound) };
        if !room.members.contains_key(user) {
            return Expected::Refused(Code::Forbidden);
        }
        if content.2.is_some_and(|seq| !(1..=room.last_seq).contains(&seq)) {
            return Expected::Refused(Code::BadRequest);
        }
        let name = room.name.clone();
        let seq = self.event(&content.0, claimed);
        self.messages += 1;
        self.sent.insert(key, ModelMessage { content, seq, lamport: self.lamport });
        Expected::Sent { room: name, seq, lamport: self.lamport, duplicate: false }
    }
}

fn fold(name: &str) -> String {
    name.to_ascii_lowercase()
}

/// The server's answer, in the model's words.
fn said(applied: &Applied) -> Expected {
    match &applied.outcome {
        None => Expected::Skipped,
        Some(Err(refusal)) => Expected::Refused(refusal.code),
        Some(Ok(Reply::Nothing)) => Expected::Nothing,
        Some(Ok(Reply::Joined { room, created, role, last_seq, .. })) => {
            Expected::Joined { room: room.to_string(), created: *created, role, last_seq: *last_seq }
        }
        Some(Ok(Reply::Left { room, .. })) => Expected::Left { room: room.to_string() },
        Some(Ok(Reply::Sent(SentAnswer { room, seq, lamport_timestamp, duplicate, .. }))) => Expected::Sent {
            room: room.to_string(),
            seq: *seq,
            lamport: *lamport_timestamp,
            duplicate: *duplicate,
        },
        Some(Ok(reply)) => panic!("the rest has a model of its own: {reply:?}"),
    }
}

fn random_entry(chance: &mut Chance, newest: u64, lamport: u64) -> Entry {
    let user = chance.pick(&["alice", "Alice", "bob", "carol"]);
    let room = RoomName::new(chance.pick(&["lobby", "LOBBY", "attic", "yard"])).unwrap();
    let command = match chance.below(12) {
        0 => Command::Nothing(Nothing),
        1..=3 => Join::new(room).into(),
        4 => Command::Leave(Leave { room }),
        _ => Command::Say(Say {
            to: Destination::Room(room),
            file_id: None,
            body: chance.pick(&["yes", "no"]).into(),
            client_msg_id: format!("m{}", chance.below(60)),
            reply_to: (chance.below(5) == 0).then(|| chance.below(40)),
            is_here: false,
        }),
    };
    let seq = match chance.below(12) {
        0 => chance.below(newest + 1),
        1 => newest + 2 + chance.below(2),
        _ => newest + 1,
    };
    let claimed = match chance.below(12) {
        0 => lamport + LAMPORT_AHEAD_MAX + 1,
        1..=3 => lamport + chance.below(20),
        _ => chance.below(lamport + 1),
    };
    entry(seq, user, claimed, command)
}

/// Plays `seed` and panics if anything is not as it must be.
fn play(seed: u64) {
    let mut chance = Chance(seed);
    let (mut steady, mut restarted, mut model) = (World::default(), World::default(), Model::default());
    let mut lamports = BTreeSet::new();
    for step in 0..250 {
        let entry = random_entry(&mut chance, model.origin_seq, model.lamport);
        let before = steady.state.clone();
        let (one, other) = (steady.apply(&entry), restarted.apply(&entry));
        assert_eq!(format!("{one:?}"), format!("{other:?}"), "two servers disagree at step {step}");
        assert_eq!(said(&one), model.apply(&entry), "step {step}: {entry:?}");
        match &one.outcome {
            None => assert!(
                one.effects.rows.is_empty() && one.effects.dirty.is_empty() && before == steady.state,
                "a skipped command left a trace"
            ),
            Some(Err(_)) => assert!(one.effects.events.is_empty() && one.effects.membership.is_empty()),
            Some(Ok(_)) => {}
        }
        for published in &one.effects.events {
            let lamport = published.event.lamport_timestamp;
            assert!(lamports.last().is_none_or(|last| lamport > *last), "the clock went back");
            lamports.insert(lamport);
            assert_eq!(published.event.created_at, entry.created_at_ms);
        }
        if chance.below(20) == 0 {
            restarted.state = restarted.loaded();
        }
        assert_eq!(restarted.loaded(), restarted.state, "the rows are the state after step {step}");
    }
    compare_reads(&steady, &model);
}

/// All that can be read must be what the model holds.
fn compare_reads(world: &World, model: &Model) {
    let state = &world.state;
    assert_eq!((state.lamport(), state.messages()), (model.lamport, model.messages));
    assert_eq!(state.room_ids().count(), model.rooms.len());
    for (key, expected) in &model.rooms {
        let key = RoomName::new(key).unwrap().key();
        let (id, room) = (state.room_id(&key).unwrap(), state.room(&key).unwrap());
        assert_eq!((room.name.as_str(), room.last_seq), (expected.name.as_str(), expected.last_seq));
        let members = state.members(id, 0, None, 1_000, |_| (false, false)).0.into_iter();
        let members: Vec<_> = members.map(|member| (fold(member.username.as_str()), member.role)).collect();
        let expected_members = expected.members.iter();
        let expected_members: Vec<_> =
            expected_members.map(|(name, role)| (name.clone(), role.as_str().to_string())).collect();
        assert_eq!(members, expected_members);
        for user in ["alice", "bob", "carol", "nobody"] {
            let user = UserName::new(user).unwrap().key();
            let is_member = expected.members.contains_key(user.as_str());
            assert_eq!(state.is_member(&user, id), is_member);
            let last_seq = is_member.then_some(expected.last_seq);
            assert_eq!(state.member_rooms(&user).find(|(room, _)| *room == id).map(|(_, seq)| seq), last_seq);
            let summary = state
                .room_summaries(Viewer { user: &user, now_ms: 0, room: None }, None, false, 100)
                .0
                .into_iter()
                .find(|summary| summary.room == room.name);
            assert_eq!(summary.map(|summary| summary.joined), Some(is_member));
        }
    }
}

#[test]
fn random_commands_do_what_the_model_says() {
    for seed in 0..60 {
        play(seed);
    }
}
