//! Data of the last version is taken over: a database at its opening, a snapshot when it is installed.

use std::{collections::BTreeSet, fs, path::Path, sync::Arc};

use rusqlite::Connection;
use syncnet::{
    protocol::peer::NodeId,
    replica::storage::{
        Batch, ChunkRow, EventRange, HardState, Reader, RoomId, Search, Storage, StorageError,
    },
    storage::{MemoryDisk, OpenError, SqliteStorage, snapshot::SNAPSHOT_VERSION},
};

use crate::{
    conformance::{seen_data, snapshot_of},
    generator::{Generator, cluster, file_id, server_id},
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
        assert_eq!(version(dir.path()), 2);
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
    // A version that is not known is left alone.
    let dir = tempfile::tempdir().unwrap();
    write_version_1(dir.path());
    Connection::open(dir.path().join("syncnet.db"))
        .unwrap()
        .execute_batch("PRAGMA user_version = 3")
        .unwrap();
    let before = fs::read(dir.path().join("syncnet.db")).unwrap();
    let result = SqliteStorage::open(dir.path(), &server_id(), NODE);
    assert!(matches!(result, Err(OpenError::Refused(_))), "{result:?}");
    assert_eq!(fs::read(dir.path().join("syncnet.db")).unwrap(), before);
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
        assert!(matches!(result, Err(StorageError::Doubtful(_))), "{result:?}");
    }
    sqlite.install(&head, HardState::default(), &mut old.as_slice()).unwrap();
    assert!(snapshot_of(&sqlite.reader().unwrap()) == now);
    let before = seen_data(&sqlite, &sqlite.reader().unwrap());
    drop(sqlite);
    let sqlite = SqliteStorage::open(dir.path(), &server_id(), NODE).unwrap();
    assert_eq!(seen_data(&sqlite, &sqlite.reader().unwrap()), before);
}
