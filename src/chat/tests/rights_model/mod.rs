//! Random requests of all kinds, by random users in random rooms, against a plain model of rights.
//!
//! One server runs through, another is restarted from its rows at random moments. Both must give the same
//! results, and those of the model: what is allowed, the code of a refusal, the events, and who may see what.
//! A refusal leaves nothing behind. A private room that a user may not read is refused in the words for one
//! that does not exist. Nothing of a deleted or overwritten text is kept.

mod chance;
mod model;

use std::collections::BTreeSet;

use super::World;
use super::rights_model::{
    chance::{ALL_USERS, Times, random_entry},
    model::{MEvent, Model, Outcome},
};
use crate::{
    chance::Chance,
    chat::{
        Applied, Command, DirtyRow, Entry, Evidence, Reply,
        command::{
            Ban, CreateHook, Delete, DeleteHook, DeleteRoom, Edit, FileBegin, Invite, Kick, Leave, MarkRead,
            Mute, Pin, React, RenameRoom, RoomPassword, RoomSettings, Say, SetRole, Topic, Unban, Uninvite,
            Unmute, Unpin,
        },
        views::Viewer,
    },
    disk::RoomId,
    protocol::{
        event::{Event, EventKind},
        file::FileId,
        name::{RoomName, UserName},
        request::Destination,
        rules::KnownRules,
    },
};

/// Commands of one play.
const STEPS: u64 = 160;
/// Plays of one test.
const SEEDS: u64 = 200;

/// The server's answer, in the model's words.
fn said(applied: &Applied) -> Outcome {
    match applied.outcome.as_ref().expect("no command is a repeat") {
        Err(refusal) => Err(refusal.code),
        Ok(reply) => Ok(match reply {
            Reply::Nothing => "nothing".into(),
            Reply::Joined { room, created, role, last_seq, .. } => {
                format!("joined {room} {created} {role} {last_seq}")
            }
            Reply::Left { room, .. } => format!("left {room}"),
            Reply::Sent(sent) => format!("sent {} {} {}", sent.room, sent.seq, sent.duplicate),
            Reply::Placed { room, seq, duplicate } | Reply::Invited { room, seq, duplicate, .. } => {
                format!("placed {room} {seq} {duplicate}")
            }
            Reply::Account { username } => format!("account {username}"),
            Reply::Receiving { received, .. } => format!("receiving {received}"),
            Reply::File(file) => format!("file {}", file.size),
            Reply::Done => "done".into(),
            Reply::ServersChanged { .. } => "servers changed".into(),
        }),
    }
}

fn kind_of(event: &Event) -> String {
    let json = serde_json::to_value(&event.kind).unwrap();
    json["kind"].as_str().unwrap().to_owned()
}

/// Plays `seed` and panics if anything is not as it must be. Gives how many commands were allowed, and how
/// many refused.
fn play(seed: u64) -> (u64, u64) {
    let mut chance = Chance(seed);
    let (mut steady, mut restarted, mut model) = (World::default(), World::default(), Model::default());
    let (mut times, mut counts) = (Times::default(), (0, 0));
    for step in 0..STEPS {
        let entry = random_entry(&mut chance, &model, step, &mut times);
        let entry = Entry::decode(&entry.encode(), KnownRules::OURS).unwrap();
        let before = steady.state.clone();
        let evidence = steady.evidence(&entry.proposal);
        let checked = steady.state.check(entry.created_at_ms, &entry.proposal, &evidence);
        hides_what_is_private(&steady, &model, &entry, &evidence);
        let (one, other) = (steady.apply(&entry), restarted.apply(&entry));
        assert_eq!(format!("{one:?}"), format!("{other:?}"), "two servers disagree at step {step}");
        assert_eq!(said(&one), model.apply(&entry), "step {step}: {entry:?}");
        let published: Vec<_> = one.effects.events.iter().map(|published| &published.event).collect();
        let published = published
            .into_iter()
            .map(|event| (event.room.to_string(), event.seq, event.author.to_string(), kind_of(event)));
        let expected = model.published.iter().cloned();
        let expected = expected.map(|(room, seq, author, kind)| (room, seq, author, kind.to_owned()));
        assert_eq!(published.collect::<Vec<_>>(), expected.collect::<Vec<_>>(), "step {step}: {entry:?}");
        match one.outcome.unwrap() {
            Ok(_) => {
                checked.unwrap();
                counts.0 += 1;
            }
            Err(refusal) => {
                assert_eq!(checked.unwrap_err(), refusal, "check and apply agree");
                let mut undone = steady.state.clone();
                undone.origins = before.origins.clone();
                assert!(undone == before, "a refusal left a trace: {entry:?}");
                assert!(one.effects.rows.is_empty(), "a refusal changes a row: {entry:?}");
                assert_eq!(one.effects.dirty, [DirtyRow::Origin(entry.origin.node_id)], "and nothing else");
                counts.1 += 1;
            }
        }
        if chance.below(15) == 0 {
            let loaded = restarted.loaded();
            assert_eq!(loaded, restarted.state, "the rows are the state after step {step}: {entry:?}");
            restarted.state = loaded;
        }
        if chance.below(40) == 0 || step + 1 == STEPS {
            compare_views(&steady, &model, entry.created_at_ms);
            keeps_nothing_deleted(&steady, &model);
        }
    }
    assert_eq!(restarted.loaded(), restarted.state, "the rows are the state at the end");
    counts
}

/// A name like `room`, of a room that does not exist.
fn nowhere(room: &str) -> RoomName {
    RoomName::new(if room.starts_with('@') { "@nemo,noone" } else { "nowhere" }).unwrap()
}

/// The room of a command that needs an existing room.
fn room_of(command: &mut Command) -> Option<&mut RoomName> {
    match command {
        Command::Leave(Leave { room })
        | Command::Say(Say { to: Destination::Room(room), .. })
        | Command::FileBegin(FileBegin { to: Destination::Room(room), .. })
        | Command::Edit(Edit { room, .. })
        | Command::Delete(Delete { room, .. })
        | Command::React(React { room, .. })
        | Command::Pin(Pin { room, .. })
        | Command::Unpin(Unpin { room, .. })
        | Command::MarkRead(MarkRead { room, .. })
        | Command::Topic(Topic { room, .. })
        | Command::Invite(Invite { room, .. })
        | Command::Uninvite(Uninvite { room, .. })
        | Command::Kick(Kick { room, .. })
        | Command::Ban(Ban { room, .. })
        | Command::Unban(Unban { room, .. })
        | Command::Mute(Mute { room, .. })
        | Command::Unmute(Unmute { room, .. })
        | Command::SetRole(SetRole { room, .. })
        | Command::RoomSettings(RoomSettings { room, .. })
        | Command::RoomPassword(RoomPassword { room, .. })
        | Command::RenameRoom(RenameRoom { room, .. })
        | Command::DeleteRoom(DeleteRoom { room })
        | Command::CreateHook(CreateHook { room, .. })
        | Command::DeleteHook(DeleteHook { room, .. }) => Some(room),
        _ => None,
    }
}

/// The same command for another room.
fn elsewhere(command: &Command, to: &RoomName) -> Option<Command> {
    let mut command = command.clone();
    *room_of(&mut command)? = to.clone();
    Some(command)
}

/// A private room that the user may not see is refused like one that does not exist.
fn hides_what_is_private(world: &World, model: &Model, entry: &Entry, evidence: &Evidence) {
    let now = entry.created_at_ms;
    let user = entry.proposal.user.as_str();
    let hidden = model.rooms.iter().filter(|(_, room)| room.private && !model.sees(user, room, now));
    let names: Vec<&String> = hidden.map(|(name, _)| name).collect();
    // One of them at a time: there will be others.
    if let Some(name) = names.get(entry.origin.seq as usize % names.len().max(1)).copied() {
        let to = nowhere(name);
        let mut proposal = entry.proposal.clone();
        let (Some(here), Some(there)) =
            (elsewhere(&proposal.command, &RoomName::new(name).unwrap()), elsewhere(&proposal.command, &to))
        else {
            return;
        };
        proposal.command = here;
        // The events of that room can be looked up for every user.
        let evidence = if proposal.command == entry.proposal.command {
            evidence.clone()
        } else {
            world.evidence(&proposal)
        };
        let refused_here = world.state.check(now, &proposal, &evidence);
        proposal.command = there;
        let refused_there = world.state.check(now, &proposal, &Evidence::default());
        let (Err(here), Err(there)) = (refused_here, refused_there) else {
            // A user who sends a message once more learns the place of their own message.
            assert!(matches!(proposal.command, Command::Say(_)), "{proposal:?} is allowed in {name}");
            return;
        };
        assert_eq!(here.code, there.code, "{proposal:?} in {name}");
        assert_eq!(here.reason.replace(name, "X"), there.reason.replace(to.as_str(), "X"), "{proposal:?}");
    }
}

/// What users see must be what the model says.
fn compare_views(world: &World, model: &Model, now: u64) {
    let state = &world.state;
    for user in ALL_USERS {
        let key = UserName::new(user).unwrap().key();
        let viewer = Viewer { user: &key, now_ms: now, room: None };
        let seen: BTreeSet<&str> = model
            .rooms
            .iter()
            .filter(|(_, room)| model.sees(user, room, now))
            .map(|(name, _)| &**name)
            .collect();
        let visible = state.visible_rooms(viewer);
        let visible: BTreeSet<String> =
            visible.iter().map(|id| state.room_by_id(*id).unwrap().name.to_string()).collect();
        assert!(visible.iter().eq(&seen), "{user} sees {visible:?} and should see {seen:?}");
        let (listed, _) = state.room_summaries(viewer, None, false, 1_000);
        let found = model.rooms.iter().filter(|(_, room)| model.finds(user, room, now));
        assert!(
            listed.iter().map(|room| room.room.as_str()).eq(found.map(|(name, _)| name.as_str())),
            "{user} is shown these"
        );
        for summary in listed {
            let room = &model.rooms[summary.room.as_str()];
            let member = room.members.get(user);
            let unread = member.map_or(0, |member| room.last_seq - member.last_read.max(room.first_seq - 1));
            let (messages, first_unread, mentions) = model.unread(user, room);
            assert_eq!((summary.private, summary.archived), (room.private, room.archived));
            assert_eq!((summary.members, summary.last_seq), (room.members.len() as u64, room.last_seq));
            let role = member.map_or("", |_| model.role_word(user, room, now));
            assert_eq!(summary.invited, room.invited.contains_key(user), "{user} in {}", summary.room);
            assert_eq!((summary.joined, summary.role.as_str()), (member.is_some(), role), "{user}");
            assert_eq!(summary.unread, unread, "{user} in {}", summary.room);
            let counted = (summary.unread_messages, summary.first_unread, summary.mentions);
            assert_eq!(counted, (messages, first_unread, mentions), "{user} in {}", summary.room);
        }
        for (name, room) in &model.rooms {
            let name = RoomName::new(name).unwrap();
            let found = state.visible_room(viewer, &name);
            let hooks = state.hooks(viewer, &name);
            if !seen.contains(name.as_str()) && room.private {
                let to = nowhere(name.as_str());
                let is_hidden = |reason: String| reason.replace(name.as_str(), "X");
                let there =
                    state.visible_room(viewer, &to).unwrap_err().to_string().replace(to.as_str(), "X");
                assert_eq!(is_hidden(found.unwrap_err().to_string()), there, "{user} in {name}");
                assert_eq!(is_hidden(hooks.unwrap_err().to_string()), there, "{user} in {name}");
                continue;
            }
            assert_eq!(found.is_ok(), seen.contains(name.as_str()), "{user} in {name}");
            let hooks_there = model.hooks.values().filter(|hook| hook.room == name.as_str()).count();
            let shown = model.keeps_order(user, room).then_some(hooks_there);
            assert_eq!(hooks.ok().map(|(_, hooks)| hooks.len()), shown, "{user} in {name}");
            let id = state.room_id(&name.key()).unwrap();
            let types = model.writes(user, room, now) && model.reaches_other(user, &name).is_ok();
            assert_eq!(state.may_type(viewer, id), types, "{user} in {name}");
        }
        for number in 0..8 {
            let file =
                model.files.get(&number).filter(|file| file.whole && model.reads_file(user, file, now));
            let found = state.visible_file(viewer, FileId([number; 16]));
            assert_eq!(found.is_ok(), file.is_some(), "{user} and file {number}: {found:?}");
        }
    }
    compare_rooms(world, model, now);
}

fn compare_rooms(world: &World, model: &Model, now: u64) {
    let is_there = |room: &RoomId| model.rooms.values().any(|other| other.id == room.0);
    assert!(world.events.keys().all(|(room, _)| is_there(room)), "events of a room that was deleted");
    for (name, room) in &model.rooms {
        let id = world.state.room_id(&RoomName::new(name).unwrap().key()).unwrap();
        let members = world.state.members(id, now, None, 1_000, |_| (false, false)).0;
        let members: Vec<_> = members.iter().map(|m| (m.username.as_str(), m.role.as_str())).collect();
        let expected = room.members.keys().map(|user| (user.as_str(), model.role_word(user, room, now)));
        assert_eq!(members, expected.collect::<Vec<_>>(), "{name}");
        let pins = world.state.room_by_id(id).unwrap().pins().map(|pinned| (pinned.seq, pinned.event));
        assert_eq!(pins.collect::<Vec<_>>(), room.pins, "{name}");
        let stored: Vec<&Event> =
            world.events.range((id, 0)..=(id, u64::MAX)).map(|(_, event)| &**event).collect();
        assert!(stored.iter().map(|event| event.seq).eq(room.first_seq..=room.last_seq), "{name} has holes");
        for (event, (seq, expected)) in stored.into_iter().zip(&room.events) {
            match (&event.kind, expected) {
                (EventKind::Message(message), MEvent::Message(expected)) => {
                    assert_eq!(message.body, expected.body, "{name} {seq}");
                    assert_eq!((message.edited, message.deleted), (expected.edited, expected.deleted));
                    assert_eq!(message.file.as_ref().map(|file| file.file_id.0[0]), expected.file);
                    let names: BTreeSet<_> = message.mentions.iter().map(UserName::to_string).collect();
                    assert_eq!(names, expected.mentions, "{name} {seq}");
                    let reactions = message.reactions.iter();
                    let reactions: BTreeSet<_> = reactions
                        .flat_map(|(emoji, users)| users.iter().map(|user| (emoji.clone(), user.to_string())))
                        .collect();
                    assert_eq!(reactions, expected.reactions, "{name} {seq}");
                }
                (EventKind::Edited { body, .. }, MEvent::Edit(text)) => {
                    assert_eq!(body.as_deref().unwrap_or_default(), text, "{name} {seq}");
                }
                (EventKind::Message(_) | EventKind::Edited { .. }, _) | (_, MEvent::Message(_)) => {
                    panic!("{name} {seq} is another kind of event")
                }
                _ => {}
            }
        }
    }
}

/// A text that was deleted or written over is in no stored event and no row.
fn keeps_nothing_deleted(world: &World, model: &Model) {
    let mut kept = String::new();
    for event in world.events.values() {
        kept += &serde_json::to_string(event).unwrap();
    }
    for value in world.rows.values() {
        kept += &String::from_utf8_lossy(value);
    }
    for text in &model.gone {
        assert!(!kept.contains(text.as_str()), "{text:?} is gone and still kept");
    }
}

#[test]
fn random_requests_do_what_the_model_of_rights_says() {
    let (mut allowed, mut refused) = (0, 0);
    for seed in 0..SEEDS {
        let counts = play(seed);
        allowed += counts.0;
        refused += counts.1;
    }
    // Else too little was tried.
    assert!(allowed > refused / 2 && refused > allowed / 4, "{allowed} allowed, {refused} refused");
}
