//! Deleted text is gone from the files, not only from answers.

use std::{collections::BTreeSet, fs, path::Path, sync::Arc};

use serde_json::{json, value::to_raw_value};
use syncnet::{
    chat::{
        Authority, Command, Entry, Evidence, Origin, Proposal, State,
        command::{DeleteRoom, FileBegin, FileChunk, FileEnd, Join, RenameRoom, Say, Topic},
    },
    disk::{Applied, Batch, ChunkRow, EventRow, RoomId, Storage},
    protocol::{
        file::NewFile,
        name::{RoomName, UserName},
        peer::{LogEntry, LogEntryKind, NodeId},
        request::Destination,
    },
    storage::SqliteStorage,
};

use crate::generator::{Random, cluster, file_id, server_id};

fn message(seq: u64, body: &str) -> EventRow {
    let event = json!({"kind": "message", "seq": seq, "lamport_timestamp": seq, "body": body});
    EventRow {
        room: RoomId(1),
        seq,
        index: seq,
        created_at_ms: seq,
        author: UserName::new("alice").unwrap().key(),
        json: Arc::from(to_raw_value(&event).unwrap()),
    }
}

/// Messages as a replica stores them, with the log entries that brought them.
fn said(messages: &[(u64, String)]) -> Batch {
    let entry = |(seq, body): &(u64, String)| LogEntry {
        term: 1,
        index: *seq,
        kind: LogEntryKind::Command,
        data: body.as_bytes().to_vec(),
        opaque: vec![],
    };
    Batch {
        entries: messages.iter().map(entry).collect(),
        events: messages.iter().map(|(seq, body)| message(*seq, body)).collect(),
        applied: Some(Applied { index: messages.last().unwrap().0, term: 1, ..Applied::default() }),
        ..Batch::default()
    }
}

/// Bytes of a word that count as the word: the index may keep as much of a deleted word as it shares with
/// another one, and one letter more.
const BEGIN: usize = 8;

/// The places in the folder's files at which the secrets still are.
fn found_in(dir: &Path, secrets: &BTreeSet<String>) -> Vec<String> {
    let begins: BTreeSet<&[u8]> = secrets.iter().map(|secret| &secret.as_bytes()[..BEGIN]).collect();
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        let count = bytes.windows(BEGIN).filter(|window| begins.contains(window)).count();
        if count > 0 {
            found.push(format!("{count} in {}", path.display()));
        }
    }
    found
}

#[test]
fn deleted_text_is_gone_from_all_files() {
    let dir = tempfile::tempdir().unwrap();
    let mut storage = SqliteStorage::open(dir.path(), &server_id(), NodeId(5)).unwrap();
    storage.commit(cluster()).unwrap();
    let mut random = Random(3);
    let mut secrets = BTreeSet::new();
    let mut word = |secret: bool| {
        let count = if secret { 12 } else { 3 + random.below(6) };
        let word: String = (0..count).map(|_| char::from(b'a' + random.below(26) as u8)).collect();
        if secret {
            secrets.insert(word.clone());
        }
        word
    };
    let mut last = 0;
    let mut deleted = Vec::new();
    let mut expire = 0;
    let mut talk = |storage: &mut SqliteStorage, secret: &mut dyn FnMut(u64) -> bool| {
        let messages: Vec<(u64, String)> = (last + 1..=last + 25)
            .map(|seq| {
                let is_secret = secret(seq);
                (seq, (0..8).map(|n| word(is_secret && n % 3 == 1) + " ").collect())
            })
            .collect();
        last += 25;
        storage.commit(said(&messages)).unwrap();
        last
    };
    for _ in 0..80 {
        talk(&mut storage, &mut |seq| {
            if seq < 500 {
                expire = seq;
                true
            } else if seq % 7 == 0 {
                deleted.push(seq);
                true
            } else {
                false
            }
        });
    }
    let in_file = "secretinfile";
    let chunk =
        |number| ChunkRow { file: file_id(1), number, bytes: in_file.repeat(2_000).into_bytes().into() };
    storage.commit(Batch { chunks: (0..100).map(chunk).collect(), ..Batch::default() }).unwrap();
    assert!(!found_in(dir.path(), &[in_file.to_owned()].into()).is_empty());

    // Some are edited, some deleted, the oldest expire, and the file is removed.
    for (number, seq) in deleted.iter().enumerate() {
        let body = if number % 2 == 0 { "" } else { "edited" };
        storage.commit(Batch { events: vec![message(*seq, body)], ..Batch::default() }).unwrap();
    }
    let removing =
        Batch { expired: vec![(RoomId(1), expire + 1)], removed_files: vec![file_id(1)], ..Batch::default() };
    storage.commit(removing.clone()).unwrap();
    // The room goes on, the log is cut behind it, and checkpoints come round.
    for _ in 0..40 {
        let last = talk(&mut storage, &mut |_| false);
        storage.commit(Batch { compact_to: Some(last - 100), ..Batch::default() }).unwrap();
    }
    for _ in 0..120 {
        talk(&mut storage, &mut |_| false);
    }
    secrets.insert(in_file.to_owned());
    assert!(secrets.len() > 1_500, "{}", secrets.len());
    let found = found_in(dir.path(), &secrets);
    assert!(found.is_empty(), "while it is open: {found:?}");
    drop(storage);
    let found = found_in(dir.path(), &secrets);
    assert!(found.is_empty(), "after it was closed: {found:?}");
}

#[test]
fn deleted_text_leaves_the_files_of_a_server_to_which_nothing_more_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let mut storage = SqliteStorage::open(dir.path(), &server_id(), NodeId(5)).unwrap();
    let mut random = Random(4);
    let mut secrets = BTreeSet::new();
    let events = (1..=120)
        .map(|seq| {
            let secret: String = (0..12).map(|_| char::from(b'a' + random.below(26) as u8)).collect();
            let body = format!("some words and {secret}");
            secrets.insert(secret);
            message(seq, &body)
        })
        .collect();
    storage.commit(Batch { events, ..Batch::default() }).unwrap();
    // The newest are deleted by their authors, the rest is forgotten by the room.
    let events = (100..=120).map(|seq| message(seq, "")).collect();
    let removing = Batch { events, expired: vec![(RoomId(1), 100)], ..Batch::default() };
    storage.commit(removing.clone()).unwrap();
    assert!(!found_in(dir.path(), &secrets).is_empty(), "it was wiped at once");
    for _ in 0..40 {
        storage.wipe_if_idle().unwrap();
    }
    let found = found_in(dir.path(), &secrets);
    assert!(found.is_empty(), "{found:?}");
}

/// A server that applies what people do, and its disk.
struct Server {
    storage: SqliteStorage,
    state: State,
    index: u64,
}

impl Server {
    fn carry_out(&mut self, command: impl Into<Command>) {
        self.index += 1;
        let (user, authority) = (UserName::new("alice").unwrap(), Authority::Guest);
        let entry = Entry {
            origin: Origin { node_id: NodeId(5), boot: 1, seq: self.index },
            created_at_ms: self.index,
            proposal: Proposal { user, authority, lamport_timestamp: 0, command: command.into(), room: None },
        };
        let applied = self.state.apply(self.index, &entry, &Evidence::default());
        applied.outcome.expect("it is no repeat").expect("it is allowed");
        let (index, effects) = (self.index, applied.effects);
        let batch = Batch {
            entries: vec![LogEntry {
                term: 1,
                index,
                kind: LogEntryKind::Command,
                data: entry.encode(),
                opaque: vec![],
            }],
            events: effects.events.iter().map(|published| published.row()).collect(),
            rows: effects.rows,
            expired: effects.expired,
            chunks: effects.chunks,
            removed_files: effects.removed_files,
            applied: Some(Applied { index, term: 1, ..Applied::default() }),
            compact_to: index.checked_sub(100),
            ..Batch::default()
        };
        self.storage.commit(batch.clone()).unwrap();
    }

    fn say(&mut self, room: &str, body: String) {
        let to = Destination::Room(RoomName::new(room).unwrap());
        let client_msg_id = format!("m{}", self.index);
        self.carry_out(Say { to, body, client_msg_id, reply_to: None, file_id: None, is_here: true });
    }
}

#[test]
fn nothing_of_a_deleted_room_is_left_in_the_files() {
    let dir = tempfile::tempdir().unwrap();
    let mut storage = SqliteStorage::open(dir.path(), &server_id(), NodeId(5)).unwrap();
    storage.commit(cluster()).unwrap();
    let mut server = Server { storage, state: State::default(), index: 0 };
    let mut random = Random(6);
    let mut secrets = BTreeSet::new();
    let mut secret = || {
        let secret: String = (0..12).map(|_| char::from(b'a' + random.below(26) as u8)).collect();
        secrets.insert(secret.clone());
        secret
    };
    // Its topic, its people, its files and what was said in it. Its names stay in the audit log: what was
    // deleted is what that is read for.
    let (old_name, name) = ("before".to_owned(), "after".to_owned());
    let room = |name: &str| RoomName::new(name).unwrap();
    server.carry_out(Join::new(room("lobby")));
    server.carry_out(Join::new(room(&old_name)));
    server.carry_out(Topic { room: room(&old_name), topic: secret().as_str().into() });
    server.carry_out(RenameRoom { room: room(&old_name), name: room(&name) });
    for _ in 0..100 {
        server.say(&name, format!("some words and {} {}", secret(), secret()));
        server.say("lobby", "these stay".into());
    }
    let in_file = secret();
    let bytes = in_file.repeat(500).into_bytes();
    let file = NewFile {
        name: format!("{}.txt", secret()),
        size: bytes.len() as u64,
        content_type: "text/plain".into(),
    };
    let to = Destination::Room(room(&name));
    server.carry_out(FileBegin { file_id: file_id(1), to, file, is_here: false });
    server.carry_out(FileChunk { file_id: file_id(1), offset: 0, bytes });
    server.carry_out(FileEnd { file_id: file_id(1), sha256: [1; 32] });
    assert!(found_in(dir.path(), &secrets).len() > 1, "they are there to be found");

    server.carry_out(DeleteRoom { room: room(&name) });
    // The others go on, the log is cut behind them, and checkpoints come round.
    for number in 0..800 {
        server.say("lobby", format!("and on with number {number}"));
    }
    for _ in 0..40 {
        server.storage.wipe_if_idle().unwrap();
    }
    let found = found_in(dir.path(), &secrets);
    assert!(found.is_empty(), "while it is open: {found:?}");
    drop(server);
    let found = found_in(dir.path(), &secrets);
    assert!(found.is_empty(), "after it was closed: {found:?}");
}
