//! Data of older versions is taken over: a database at its opening, a snapshot when it is installed.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
};

use rusqlite::Connection;
use syncnet::{
    protocol::peer::NodeId,
    replica::storage::{
        Batch, ChunkRow, EventRange, HardState, InstallError, Reader, RoomId, Search, Storage, StorageError,
    },
    storage::{MemoryDisk, OpenError, SqliteStorage, snapshot::SNAPSHOT_VERSION},
};

use crate::{
    conformance::{seen_by_searches, seen_data, snapshot_of},
    generator::{Generator, cluster, file_id, put_meta, server_id},
};

const NODE: NodeId = NodeId(5);
/// A server was asked for two rooms with 12 messages of alice's and 12 of Bob.B's in them, in both.
const VERSION_1: &str = include_str!("version_1.sql");

fn write_version_1(dir: &Path) {
    Connection::open(dir.join("syncnet.db")).unwrap().execute_batch(VERSION_1).unwrap();
}

fn version(dir: &Path) -> i32 {
    let connection = Connection::open(dir.join("syncnet.db")).unwrap();
    connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap()
}

#[test]
fn a_database_of_version_1_is_migrated_when_it_is_opened() {
    let dir = tempfile::tempdir().unwrap();
    write_version_1(dir.path());
    let mut before = None;
    for _ in 0..2 {
        let mut storage = SqliteStorage::open(dir.path(), &server_id(), NODE).unwrap();
        let loaded = storage.load().unwrap();
        assert_ne!(loaded.identity.node_id, NODE, "it keeps its incarnation");
        assert_eq!(loaded.applied.index, loaded.last.last_log_index);
        let reader = storage.reader().unwrap();
        let rooms: BTreeSet<RoomId> = (1..40).map(RoomId).collect();
        let all =
            EventRange { after: 0, before: u64::MAX, oldest_first: true, limit: 99, max_bytes: 1 << 20 };
        let events: usize = rooms.iter().map(|room| reader.events(*room, &all).unwrap().len()).sum();
        assert_eq!(events, 28);
        let search = |query: &str| {
            let search = Search {
                query: query.into(),
                room: None,
                readable: Arc::new(rooms.clone()),
                author: None,
                since_ms: None,
                until_ms: None,
                before_lamport: None,
                limit: 99,
            };
            reader.search(&search).unwrap().hits
        };
        assert_eq!(search("message alice").len(), 12);
        assert_eq!(search("\"an answer\"").len(), 12);
        assert_eq!(search("\"an answer 7\"")[0].snippet, "and **an answer**, \"**7**\"");
        // Opening it again changes nothing more.
        let content = snapshot_of(&reader);
        assert!(before.replace(content.clone()).is_none_or(|before| before == content));
        // And it takes what is new.
        let chunk = ChunkRow { file: file_id(1), number: 0, bytes: vec![1].into() };
        storage.commit(&Batch { chunks: vec![chunk], ..Batch::default() }).unwrap();
        storage.commit(&Batch { removed_files: vec![file_id(1)], ..Batch::default() }).unwrap();
        drop((storage, reader));
        assert_eq!(version(dir.path()), 3);
    }
}

#[test]
fn a_damaged_database_of_version_1_is_doubted_and_not_migrated() {
    let damages = [
        "UPDATE event SET crc = crc + 1 WHERE seq = 5",
        "DELETE FROM event WHERE seq = 9",
        "UPDATE event SET json = replace(json, 'message', 'massage') WHERE seq = 5",
        "UPDATE meta SET value = x'00' WHERE name = 'totals'",
        "ALTER TABLE event RENAME COLUMN created_at_ms TO created_at_mt",
        "DROP TABLE log",
        "CREATE TABLE chunk (n INTEGER)",
    ];
    for damage in damages {
        let dir = tempfile::tempdir().unwrap();
        write_version_1(dir.path());
        Connection::open(dir.path().join("syncnet.db")).unwrap().execute_batch(damage).unwrap();
        let result = SqliteStorage::open(dir.path(), &server_id(), NODE);
        assert!(matches!(result, Err(OpenError::Storage(StorageError::Doubtful(_)))), "{damage}: {result:?}");
        assert_eq!(version(dir.path()), 1, "{damage}");
    }
    // Its header is damaged: there never was a version 4 with such tables.
    let dir = tempfile::tempdir().unwrap();
    write_version_1(dir.path());
    let path = dir.path().join("syncnet.db");
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 4).unwrap();
    let result = SqliteStorage::open(dir.path(), &server_id(), NODE);
    assert!(matches!(result, Err(OpenError::Storage(StorageError::Doubtful(_)))), "{result:?}");
}

/// Makes a database of version 2 of one of this version: what is removed was one value there, and searches had no
/// table for dates and none for beginnings. What was in their index does not matter.
fn make_version_2(dir: &Path) {
    let connection = Connection::open(dir.join("syncnet.db")).unwrap();
    let all = |text: &str| -> Vec<(u64, u64)> {
        let mut statement = connection.prepare(text).unwrap();
        let rows = statement
            .query_map([], |row| Ok((row.get::<_, i64>(0)? as u64, row.get::<_, i64>(1)? as u64)))
            .unwrap();
        rows.collect::<Result<_, _>>().unwrap()
    };
    let floors: BTreeMap<u64, u64> = all("SELECT room, below FROM floor").into_iter().collect();
    let mut statement = connection.prepare("SELECT file FROM doomed").unwrap();
    let files: BTreeSet<[u8; 16]> =
        statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap();
    drop(statement);
    put_meta(&connection, "sweep", &(floors, files));
    connection.execute("DELETE FROM meta WHERE name = 'schema'", []).unwrap();
    connection
        .execute_batch(
            "DROP TABLE floor; DROP TABLE doomed; DROP TABLE era; DROP TABLE search; DELETE FROM said;
CREATE VIRTUAL TABLE search USING fts5 (
    place, body, content='', columnsize=0, tokenize='unicode61 remove_diacritics 2'
);
             INSERT INTO search (search, rank) VALUES ('secure-delete', 1);
             PRAGMA user_version = 2",
        )
        .unwrap();
}

#[test]
fn a_database_of_version_2_is_migrated_with_what_it_has_not_wiped() {
    for seed in 0..4 {
        let dir = tempfile::tempdir().unwrap();
        let disk = MemoryDisk::new();
        let mut sqlite = SqliteStorage::open(dir.path(), &server_id(), NODE).unwrap();
        let mut memory = disk.open(&server_id(), NODE).unwrap();
        let mut generator = Generator::new(seed);
        let mut batches = vec![cluster()];
        batches.extend((0..40).map(|_| generator.batch()));
        let chunk = |number| ChunkRow { file: file_id(200), number, bytes: vec![7; 50].into() };
        let first = generator.newest[0] + 1;
        generator.newest[0] += 100;
        let events = (first..first + 100).map(|seq| generator.event(0, seq)).collect();
        batches.push(Batch { events, chunks: (0..90).map(chunk).collect(), ..Batch::default() });
        batches.push(Batch {
            expired: vec![(RoomId(1), first + 90)],
            removed_files: vec![file_id(200)],
            ..Batch::default()
        });
        for batch in &batches {
            sqlite.commit(batch).unwrap();
            memory.commit(batch).unwrap();
        }
        let left = sqlite.unwiped();
        assert!(left > 10, "{left}");
        drop((sqlite, memory));
        make_version_2(dir.path());

        let mut sqlite = SqliteStorage::open(dir.path(), &server_id(), NODE).unwrap();
        let mut memory = disk.open(&server_id(), NODE).unwrap();
        assert_eq!(version(dir.path()), 3);
        assert_eq!(sqlite.unwiped(), left);
        for _ in 0..20 {
            let (theirs, ours) = (sqlite.reader().unwrap(), disk.reader());
            assert_eq!(theirs.chunk(file_id(200), 80).unwrap(), None);
            assert_eq!(seen_data(&sqlite, &theirs), seen_data(&memory, &ours));
            assert_eq!(seen_by_searches(&theirs), seen_by_searches(&ours));
            assert!(snapshot_of(&theirs) == snapshot_of(&ours));
            let batch = generator.batch();
            sqlite.commit(&batch).unwrap();
            memory.commit(&batch).unwrap();
        }
        assert_eq!(sqlite.unwiped(), 0);
    }
}

/// Writes a snapshot without files in the form of version 1: `length crc body`, each CRC going on from the one
/// before, and totals without files at the end.
fn as_version_1(snapshot: &[u8]) -> Vec<u8> {
    let (magic, rest) = snapshot.split_at(6);
    let mut records = &rest[2..];
    let mut written = [magic, &1_u16.to_le_bytes()].concat();
    let mut crc = 0_u32;
    while let Some((length, rest)) = records.split_first_chunk::<4>() {
        let (body, rest) = rest[4..].split_at(u32::from_le_bytes(*length) as usize);
        // The totals of files are two zeros behind those of state and events.
        let body = if body[0] == 4 { body.strip_suffix(&[0, 0]).unwrap() } else { body };
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&crc.to_le_bytes());
        hasher.update(body);
        crc = hasher.finalize();
        written.extend((body.len() as u32).to_le_bytes());
        written.extend(crc.to_le_bytes());
        written.extend(body);
        records = rest;
    }
    written
}

#[test]
fn a_snapshot_of_version_1_is_installed() {
    let disk = MemoryDisk::new();
    let mut memory = disk.open(&server_id(), NODE).unwrap();
    memory.commit(&cluster()).unwrap();
    let mut generator = Generator::new(4);
    for _ in 0..40 {
        let mut batch = generator.batch();
        batch.chunks.clear();
        memory.commit(&batch).unwrap();
    }
    let (head, _) = disk.reader().snapshot().unwrap();
    let now = snapshot_of(&disk.reader());
    assert_eq!(now[6..8], SNAPSHOT_VERSION.to_le_bytes());
    let old = as_version_1(&now);
    let dir = tempfile::tempdir().unwrap();
    let mut sqlite = SqliteStorage::open(dir.path(), &server_id(), NODE).unwrap();
    sqlite.commit(&cluster()).unwrap();
    for (place, version) in [(6, 0), (6, 3), (7, 1)] {
        let mut other = old.clone();
        other[place] = version;
        let result = sqlite.install(&head, HardState::default(), &mut other.as_slice());
        assert!(matches!(result, Err(InstallError::Unreadable(_))), "{result:?}");
    }
    sqlite.install(&head, HardState::default(), &mut old.as_slice()).unwrap();
    assert!(snapshot_of(&sqlite.reader().unwrap()) == now);
    let before = seen_data(&sqlite, &sqlite.reader().unwrap());
    drop(sqlite);
    let sqlite = SqliteStorage::open(dir.path(), &server_id(), NODE).unwrap();
    assert_eq!(seen_data(&sqlite, &sqlite.reader().unwrap()), before);
}
