//! Runs the scripts in `scripts/`: what is asked stands behind `>`, what comes of it below.
//!
//! After a wanted change of behaviour, run the tests with `UPDATE_SCRIPTS=1` and review the difference.

use std::{fs, path::Path};

use super::{World, command};
use crate::{
    chat::{Action, Applied, Command, Origin, Reply, command, rows},
    protocol::{
        event::{Event, EventKind},
        name::{RoomName, UserName},
        peer::NodeId,
        refusal::Refusal,
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

/// The script with what it leads to in place of what it says it leads to.
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
}

impl Run {
    /// `rooms USER`, `members ROOM`, `restart`, or a command:
    /// `USER join|leave ROOM`, `USER chat ROOM ID TEXT`, `USER nothing`, each with the options
    /// `lamport=N`, `reply_to=N`, `origin=NODE/BOOT/SEQ`.
    fn carry_out(&mut self, line: &str) -> Vec<String> {
        let words: Vec<&str> = line.split(' ').filter(|word| !word.contains('=')).collect();
        match words[..] {
            ["restart"] => {
                self.world.state = self.world.loaded();
                Vec::new()
            }
            ["rooms", user] => {
                let summaries = self.world.state.room_summaries(&user_name(user).key());
                summaries.iter().map(|room| serde_json::to_string(room).unwrap()).collect()
            }
            ["members", room] => {
                let room = self.world.state.room_id(&room_name(room).key()).unwrap();
                let members = self.world.state.members(room, |user| user.as_str() == "alice");
                members.iter().map(|member| serde_json::to_string(member).unwrap()).collect()
            }
            _ => self.apply(line, &words),
        }
    }

    fn apply(&mut self, line: &str, words: &[&str]) -> Vec<String> {
        let reply_to = option(line, "reply_to").map(|seq| seq.parse().unwrap());
        let action = match words {
            [_, "nothing"] => Action::Nothing,
            [_, "join", room] => Action::Join { room: room_name(room) },
            [_, "leave", room] => Action::Leave { room: room_name(room) },
            [_, "chat", room, id, text @ ..] => Action::Chat {
                room: room_name(room),
                body: text.join(" "),
                client_msg_id: (*id).into(),
                reply_to,
            },
            _ => panic!("no such command: {line}"),
        };
        let lamport = option(line, "lamport").map_or(0, |claimed| claimed.parse().unwrap());
        self.seq += 1;
        let mut command = command(self.seq, words[0], lamport, action);
        if let Some(origin) = option(line, "origin") {
            self.seq -= 1;
            command.origin = origin_of(origin);
        }
        let checked = {
            let Command { proposal, .. } = &command;
            self.world.state.check(&proposal.user, &proposal.action, proposal.lamport_timestamp)
        };
        let applied = self.world.apply(&command);
        if let Some(outcome) = &applied.outcome {
            assert_eq!(checked.err(), outcome.as_ref().err().cloned(), "check and apply agree on {line}");
        }
        assert_eq!(self.world.loaded(), self.world.state, "the rows are the state after {line}");
        trace(&applied)
    }
}

fn trace(applied: &Applied) -> Vec<String> {
    let mut said = vec![match &applied.outcome {
        None => "skipped".into(),
        Some(Ok(reply)) => trace_reply(reply),
        Some(Err(Refusal { code, reason, .. })) => format!("refused {code}: {reason}"),
    }];
    for published in &applied.events {
        let event = &published.event;
        assert_eq!(serde_json::from_str::<Event>(published.json.get()).unwrap(), **event);
        assert_eq!(published.row().seq, event.seq);
        let what = match &event.kind {
            EventKind::Message { body, .. } => format!("{body:?}"),
            kind => format!("{kind:?}"),
        };
        said.push(format!(
            "  event {}:{} {} #{} lamport {} {}: {what}",
            published.room.0, event.room, published.index, event.seq, event.lamport_timestamp, event.author
        ));
    }
    for change in &applied.membership {
        let sign = if change.joined { '+' } else { '-' };
        said.push(format!("  member {sign}{} of {}", change.user, change.room.0));
    }
    let rows: Vec<&str> = applied.rows.iter().map(|row| table(row.key[0])).collect();
    if !rows.is_empty() {
        said.push(format!("  rows {}", rows.join(" ")));
    }
    said
}

fn trace_reply(reply: &Reply) -> String {
    match reply {
        Reply::Joined { room_id, room, created, role, last_seq, .. } => {
            let how = if *created { "created" } else { "joined" };
            format!("{how} {}:{room} as {} last_seq {last_seq}", room_id.0, role.as_str())
        }
        Reply::Left { room_id, room } => format!("left {}:{room}", room_id.0),
        Reply::Sent(sent) => format!("sent {}", serde_json::to_string(sent).unwrap()),
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
    let load = |rows| crate::chat::State::load(rows).unwrap_err();
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
fn commands_round_trip() {
    let action = Action::Join { room: room_name("lobby") };
    let asked = command(1, "alice", 3, action);
    let bytes = command::encode(&asked);
    assert_eq!(command::decode::<Command>(&bytes).unwrap(), asked);
    command::decode::<Command>(&bytes[..bytes.len() - 1]).unwrap_err();
    command::decode::<Command>(&[]).unwrap_err();
}

#[test]
fn a_full_ring_of_messages_loads() {
    let mut run = Run::default();
    run.carry_out("alice join lobby");
    for n in 0..25_000 {
        run.seq += 1;
        let action = Action::Chat {
            room: room_name("lobby"),
            body: "x".into(),
            client_msg_id: format!("m{n}"),
            reply_to: None,
        };
        run.world.apply(&command(run.seq, "alice", 0, action));
    }
    assert!(run.world.loaded() == run.world.state);
}
