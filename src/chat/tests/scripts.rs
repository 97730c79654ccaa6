//! Runs the scripts in `scripts/`: a command is behind `>`, its results are below it.
//!
//! After a wanted change of behaviour, run the tests with `UPDATE_SCRIPTS=1` and review the difference.

use std::{fs, path::Path};

use super::{
    World, entry,
    script_commands::{file_id, option, origin_of, parse, room_name, user_name},
    script_trace::trace,
};
use crate::{
    chat::{Authority, Command, views::Viewer},
    protocol::{
        credential::TokenHash,
        name::{RoomName, UserKey},
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
pub(super) struct Run {
    pub(super) world: World,
    pub(super) seq: u64,
    /// The leader's clock; 0 for one that counts the commands.
    now_ms: u64,
}

impl Run {
    /// `rooms USER`, `members ROOM`, `pins ROOM`, `history ROOM`, `hooks USER ROOM`, `audit all|newest|USER`,
    /// `restart`, `time MS`, or a command, `USER VERB …` as [`parse`] reads it, with the options `lamport=N`,
    /// `by=STANDING`, `origin=NODE/BOOT/SEQ`, `id=INDEX` (the room that this entry made, whatever the name).
    pub(super) fn carry_out(&mut self, line: &str) -> Vec<String> {
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
                let viewer = Viewer { user: &user_name(user).key(), now_ms, room: None };
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
                let viewer = Viewer { user: &user_name(user).key(), now_ms, room: None };
                match self.world.state.hooks(viewer, &room_name(room)) {
                    Ok((_, hooks)) => hooks
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
                let viewer = user.as_ref().map(|user| Viewer { user, now_ms, room: None });
                let entries = self.world.state.audit(viewer, u64::MAX, limit).0;
                entries.iter().map(|entry| serde_json::to_string(entry).unwrap()).collect()
            }
            ["file", user, id] => {
                let viewer = Viewer { user: &user_name(user).key(), now_ms, room: None };
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
        let mut command = parse(line, words);
        if let Command::Expire(expire) = &mut command {
            expire.room = self.world.room_of_index(words[2]);
        }
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
        entry.proposal.room = option(line, "id").map(|index| self.world.room_of_index(index));
        if let Some(origin) = option(line, "origin") {
            self.seq -= 1;
            entry.origin = origin_of(origin);
        }
        let evidence = self.world.evidence(&entry.proposal);
        let checked = self.world.state.check(entry.created_at_ms, &entry.proposal, &evidence);
        let applied = self.world.apply(&entry);
        if let Some(outcome) = &applied.outcome {
            assert_eq!(checked.err(), outcome.as_ref().err().cloned(), "check and apply agree on {line}");
        }
        assert_eq!(self.world.loaded(), self.world.state, "the rows are the state after {line}");
        trace(&applied)
    }
}
