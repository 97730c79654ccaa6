//! Damaged files: after any damage, data is either unchanged or not used.

use std::{
    collections::BTreeSet,
    fs,
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
};

use rusqlite::Connection;
use syncnet::{
    disk::{Batch, ChunkRow, Reader, RoomId, Search, Storage, StorageError},
    protocol::peer::NodeId,
    storage::{OpenError, SqliteStorage},
};

use crate::{
    generator::{Generator, Random, cluster, file_id, server_id},
    seen::{seen_data, seen_log, seen_state},
};

const NODE: NodeId = NodeId(5);

/// The content of a folder: all data, or why it must not be used.
fn inspect(dir: &Path) -> Result<String, StorageError> {
    let storage = match SqliteStorage::open(dir, &server_id(), NODE) {
        Ok(storage) => storage,
        Err(OpenError::Storage(error)) => return Err(error),
        // A bit of the application id or the schema version: refused, so not used either.
        Err(OpenError::Refused(why)) => return Err(StorageError::Doubtful(why)),
    };
    storage.load()?;
    let reader = storage.reader()?;
    let mut snapshot = Vec::new();
    reader.snapshot()?.1.read_to_end(&mut snapshot).map_err(|error| {
        let inner = error.into_inner().expect("a storage's error is inside");
        inner.downcast_ref::<StorageError>().expect("a storage's error is inside").clone()
    })?;
    Ok(seen_data(&storage, &reader))
}

/// A copy of a folder's files. If it is in use, the copy is what a killed process leaves.
fn copy(from: &Path) -> tempfile::TempDir {
    let to = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name() != "lock" {
            fs::copy(entry.path(), to.path().join(entry.file_name())).unwrap();
        }
    }
    to
}

/// A copy of the log beside a database that is to be looked at.
fn copy_log(from: &Path, to: &Path) {
    let log = newest_segment(from);
    fs::copy(from.join(&log), to.join(&log)).unwrap();
}

/// The newest file of the log.
fn newest_segment(dir: &Path) -> String {
    let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with("log-0")).max().unwrap()
}

fn flip(path: &Path, random: &mut Random) -> String {
    let mut bytes = fs::read(path).unwrap();
    let place = random.below(bytes.len() as u64) as usize;
    let bit = random.below(8);
    bytes[place] ^= 1 << bit;
    fs::write(path, bytes).unwrap();
    format!("bit {bit} of byte {place}")
}

/// A folder with some data, its storage still open.
struct Written {
    dir: tempfile::TempDir,
    storage: SqliteStorage,
    generator: Generator,
    now: String,
}

fn written(seed: u64, commits: u32) -> Written {
    let dir = tempfile::tempdir().unwrap();
    let mut storage = SqliteStorage::open(dir.path(), &server_id(), NODE).unwrap();
    let reader = storage.reader().unwrap();
    storage.commit(cluster()).unwrap();
    let mut generator = Generator::new(seed);
    for _ in 0..commits {
        storage.commit(generator.batch()).unwrap();
    }
    let before = seen_data(&storage, &reader);
    let now = loop {
        storage.commit(generator.batch()).unwrap();
        let now = seen_data(&storage, &reader);
        if now != before {
            break now;
        }
    };
    Written { dir, storage, generator, now }
}

#[test]
fn a_flipped_bit_in_the_database_is_noticed_or_harmless() {
    let written = written(1, 60);
    drop(written.storage);
    assert!(!written.dir.path().join("syncnet.db-wal").exists(), "closing copies everything");
    let mut random = Random(7);
    let mut noticed = 0;
    for _ in 0..150 {
        let copy = copy(written.dir.path());
        let what = flip(&copy.path().join("syncnet.db"), &mut random);
        match inspect(copy.path()) {
            Ok(data) => assert!(data == written.now, "{what} changed the data"),
            Err(error) if error.doubt().is_some() => noticed += 1,
            Err(error) => panic!("{what}: {error}"),
        }
    }
    // The index of searches has no checksums, and is a large part of so small a database.
    assert!(noticed > 20, "only {noticed} flips were noticed");
}

#[test]
fn no_damage_to_the_header_makes_a_database_somebody_elses() {
    let written = written(8, 10);
    drop(written.storage);
    let database = fs::read(written.dir.path().join("syncnet.db")).unwrap();
    let mut doubted = 0;
    // Three bits of each byte.
    for bit in (0..100 * 8).step_by(3) {
        let dir = tempfile::tempdir().unwrap();
        let mut bytes = database.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        fs::write(dir.path().join("syncnet.db"), bytes).unwrap();
        copy_log(written.dir.path(), dir.path());
        let what = format!("bit {} of byte {}", bit % 8, bit / 8);
        match SqliteStorage::open(dir.path(), &server_id(), NODE) {
            Ok(storage) => {
                let data = seen_data(&storage, &storage.reader().unwrap());
                assert!(data == written.now, "{what} changed the data");
            }
            Err(OpenError::Storage(error)) if error.doubt().is_some() => doubted += 1,
            Err(error) => panic!("{what}: {error:?}"),
        }
    }
    assert!(doubted > 70, "only {doubted} flips were noticed");
}

#[test]
fn a_lost_write_in_the_database_is_noticed() {
    let Written { dir, storage, mut generator, .. } = written(2, 80);
    drop(storage);
    let old = fs::read(dir.path().join("syncnet.db")).unwrap();
    let mut storage = SqliteStorage::open(dir.path(), &server_id(), NODE).unwrap();
    for _ in 0..10 {
        storage.commit(generator.batch()).unwrap();
    }
    let now = seen_data(&storage, &storage.reader().unwrap());
    drop(storage);
    let new = fs::read(dir.path().join("syncnet.db")).unwrap();
    let mut noticed = 0;
    for page in 0..old.len() / 4096 {
        let range = page * 4096..(page + 1) * 4096;
        if old[range.clone()] == new[range.clone()] {
            continue;
        }
        let copy = copy(dir.path());
        let mut bytes = new.clone();
        bytes[range.clone()].copy_from_slice(&old[range]);
        fs::write(copy.path().join("syncnet.db"), bytes).unwrap();
        match inspect(copy.path()) {
            Ok(data) => assert!(data == now, "page {page} is of another time"),
            Err(error) if error.doubt().is_some() => noticed += 1,
            Err(error) => panic!("page {page}: {error}"),
        }
    }
    assert!(noticed > 3, "only {noticed} lost writes were noticed");
}

#[test]
fn a_truncated_database_is_noticed() {
    let written = written(3, 60);
    drop(written.storage);
    let length = fs::metadata(written.dir.path().join("syncnet.db")).unwrap().len();
    let mut random = Random(3);
    for _ in 0..12 {
        let copy = copy(written.dir.path());
        let file = fs::File::options().write(true).open(copy.path().join("syncnet.db")).unwrap();
        file.set_len(1 + random.below(length - 1)).unwrap();
        let found = inspect(copy.path());
        assert!(matches!(&found, Err(error) if error.doubt().is_some()), "{found:?}");
    }
}

#[test]
fn an_emptied_database_beside_its_log_is_doubted() {
    let written = written(3, 10);
    drop(written.storage);
    fs::File::create(written.dir.path().join("syncnet.db")).unwrap();
    for _ in 0..2 {
        let found = SqliteStorage::open(written.dir.path(), &server_id(), NodeId(6)).map(drop);
        assert!(matches!(&found, Err(OpenError::Storage(error)) if error.doubt().is_some()), "{found:?}");
    }
}

/// What a folder is found to be whose WAL was harmed: the log whole, and the state as it once was. Gives
/// whether it was doubted instead.
fn check_log_is_whole(dir: &Path, what: &str, states: &BTreeSet<String>, log: &str, cut: u64) -> bool {
    let storage = match SqliteStorage::open(dir, &server_id(), NODE) {
        Ok(storage) => storage,
        Err(OpenError::Storage(error)) if error.doubt().is_some() => return true,
        Err(error) => panic!("{what}: {error}"),
    };
    match storage.load() {
        Ok(_) => {}
        Err(error) if error.doubt().is_some() => return true,
        Err(error) => panic!("{what}: {error}"),
    }
    assert_eq!(seen_log(&storage, cut), log, "{what}");
    assert!(states.contains(&seen_state(&storage, &storage.reader().unwrap())), "{what}");
    false
}

#[test]
fn what_a_damaged_wal_loses_is_in_the_log_or_is_missed() {
    let dir = tempfile::tempdir().unwrap();
    let mut storage = SqliteStorage::open(dir.path(), &server_id(), NODE).unwrap();
    let reader = storage.reader().unwrap();
    let mut generator = Generator::new(4);
    let mut states = BTreeSet::new();
    storage.commit(cluster()).unwrap();
    for _ in 0..40 {
        storage.commit(generator.batch()).unwrap();
        states.insert(seen_state(&storage, &reader));
    }
    let (log, cut) = (seen_log(&storage, 0), storage.load().unwrap().truncated.last_log_index);
    let wal_bytes = fs::metadata(dir.path().join("syncnet.db-wal")).unwrap().len();
    let mut random = Random(4);
    let (mut doubted, mut replayed) = (0, 0);
    for round in 0..150 {
        let copy = copy(dir.path());
        let wal = copy.path().join("syncnet.db-wal");
        if round % 2 == 0 {
            // As after a power cut; else as after a kill.
            let _ = fs::remove_file(copy.path().join("syncnet.db-shm"));
        }
        let what = match round {
            0 => {
                fs::remove_file(&wal).unwrap();
                "its removal".to_owned()
            }
            1..40 => {
                let length = random.below(wal_bytes);
                fs::File::options().write(true).open(&wal).unwrap().set_len(length).unwrap();
                format!("a cut at {length}")
            }
            _ => flip(&wal, &mut random),
        };
        let is_doubted = check_log_is_whole(copy.path(), &what, &states, &log, cut);
        doubted += u32::from(is_doubted);
        replayed += u32::from(!is_doubted);
    }
    assert!(doubted > 20 && replayed > 3, "{doubted} doubted, {replayed} replayed");
}

#[test]
fn damage_to_the_log_is_noticed_or_harmless() {
    let written = written(5, 60);
    drop(written.storage);
    let mut random = Random(5);
    let mut noticed = 0;
    let log = newest_segment(written.dir.path());
    let segment = fs::read(written.dir.path().join(&log)).unwrap();
    let used = segment.iter().rposition(|byte| *byte != 0).unwrap() as u64 + 1;
    for round in 0..120 {
        let copy = copy(written.dir.path());
        let mut bytes = segment.clone();
        let place = random.below(used) as usize;
        let what = if round % 4 == 0 {
            bytes.truncate(place);
            format!("a cut at {place}")
        } else {
            bytes[place] ^= 1 << random.below(8);
            format!("a flip in byte {place}")
        };
        fs::write(copy.path().join(&log), bytes).unwrap();
        match inspect(copy.path()) {
            Ok(data) => assert!(data == written.now, "{what} changed the data"),
            Err(error) if error.doubt().is_some() => noticed += 1,
            Err(error) => panic!("{what}: {error}"),
        }
    }
    assert!(noticed > 80, "{noticed}");
    fs::remove_file(written.dir.path().join(&log)).unwrap();
    let found = inspect(written.dir.path());
    assert!(matches!(&found, Err(error) if error.doubt().is_some()), "{found:?}");
}

#[test]
fn an_old_database_under_a_newer_wal_is_noticed() {
    let Written { dir, storage, mut generator, .. } = written(6, 40);
    drop(storage);
    let backup = copy(dir.path());
    let mut storage = SqliteStorage::open(dir.path(), &server_id(), NODE).unwrap();
    for _ in 0..60 {
        storage.commit(generator.batch()).unwrap();
    }
    drop(storage);
    let mut storage = SqliteStorage::open(dir.path(), &server_id(), NODE).unwrap();
    storage.commit(generator.batch()).unwrap();
    let mixed = copy(dir.path());
    fs::copy(backup.path().join("syncnet.db"), mixed.path().join("syncnet.db")).unwrap();
    let found = inspect(mixed.path());
    assert!(matches!(&found, Err(error) if error.doubt().is_some()), "{found:?}");
}

#[test]
fn a_whole_old_folder_says_how_old_it_is() {
    let Written { dir, storage, mut generator, .. } = written(7, 20);
    drop(storage);
    let backup: PathBuf = copy(dir.path()).keep();
    let mut storage = SqliteStorage::open(dir.path(), &server_id(), NODE).unwrap();
    for _ in 0..20 {
        storage.commit(generator.batch()).unwrap();
    }
    let now = storage.load().unwrap();
    drop(storage);
    // It opens, and its mark is behind what the other servers have seen.
    let storage = SqliteStorage::open(&backup, &server_id(), NODE).unwrap();
    assert!(storage.load().unwrap().last < now.last);
    drop(storage);
    fs::remove_dir_all(backup).unwrap();
}

/// Changes the database beside its open storage, as a faulty disk does.
fn spoil(dir: &Path, sql: &str) {
    Connection::open(dir.join("syncnet.db")).unwrap().execute_batch(sql).unwrap();
}

#[test]
fn damaged_pieces_of_files_are_not_given() {
    let chunk =
        |file, number| ChunkRow { file: file_id(file), number, bytes: vec![number as u8; 9_000].into() };
    let chunks: Vec<ChunkRow> = (0..9).map(|number| chunk(1, number)).chain([chunk(2, 0)]).collect();
    for (damage, is_read) in [
        ("UPDATE chunk SET bytes = zeroblob(9000) WHERE number = 5", true),
        ("UPDATE chunk SET bytes = x'' WHERE number = 5", true),
        ("UPDATE chunk SET crc = crc + 1 WHERE number = 5", true),
        ("DELETE FROM chunk WHERE number = 5; UPDATE chunk SET number = 5 WHERE number = 6", true),
        ("UPDATE chunk SET file = x'03030303030303030303030303030303' WHERE number = 5", false),
        ("DELETE FROM chunk WHERE number = 5", false),
        ("DELETE FROM chunk", false),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let mut storage = SqliteStorage::open(dir.path(), &server_id(), NODE).unwrap();
        storage.commit(cluster()).unwrap();
        storage.commit(Batch { chunks: chunks.clone(), ..Batch::default() }).unwrap();
        spoil(dir.path(), damage);
        let reader = storage.reader().unwrap();
        if is_read {
            let read = reader.chunk(file_id(1), 5);
            assert!(matches!(&read, Err(error) if error.doubt().is_some()), "{damage}: {read:?}");
        }
        reader.snapshot().unwrap().1.read_to_end(&mut Vec::new()).expect_err(damage);
        drop((storage, reader));
        let found = inspect(dir.path());
        assert!(matches!(&found, Err(error) if error.doubt().is_some()), "{damage}: {found:?}");
    }
}

#[test]
fn what_was_removed_does_not_come_back_by_damage() {
    let mut generator = Generator::new(1);
    let chunk = |number| ChunkRow { file: file_id(1), number, bytes: vec![number as u8; 900].into() };
    let history = Batch {
        events: (1..=500).map(|seq| generator.event(0, seq)).collect(),
        chunks: (0..200).map(chunk).collect(),
        ..Batch::default()
    };
    let removing =
        Batch { expired: vec![(RoomId(1), 400)], removed_files: vec![file_id(1)], ..Batch::default() };
    for (damage, is_event) in [
        ("UPDATE floor SET below = 300", true),
        ("UPDATE floor SET room = 7", true),
        ("UPDATE floor SET crc = crc + 1", true),
        ("DELETE FROM floor", true),
        ("UPDATE doomed SET file = x'03030303030303030303030303030303'", false),
        ("UPDATE doomed SET crc = crc + 1", false),
        ("DELETE FROM doomed", false),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let mut storage = SqliteStorage::open(dir.path(), &server_id(), NODE).unwrap();
        for batch in [&cluster(), &history, &removing] {
            storage.commit(batch.clone()).unwrap();
        }
        spoil(dir.path(), damage);
        let reader = storage.reader().unwrap();
        if damage.contains("crc") || damage.contains("below") {
            let read = if is_event {
                storage.event(RoomId(1), 350).map(drop)
            } else {
                reader.chunk(file_id(1), 150).map(drop)
            };
            assert!(matches!(&read, Err(error) if error.doubt().is_some()), "{damage}: {read:?}");
        }
        assert!(reader.snapshot().is_err(), "{damage}");
        drop((storage, reader));
        let found = inspect(dir.path());
        assert!(matches!(&found, Err(error) if error.doubt().is_some()), "{damage}: {found:?}");
    }
}

#[test]
fn a_damaged_index_of_searches_shows_nobody_what_they_may_not_read() {
    let dir = tempfile::tempdir().unwrap();
    let mut storage = SqliteStorage::open(dir.path(), &server_id(), NODE).unwrap();
    let mut generator = Generator::new(1);
    let events = (1..=200).map(|seq: u64| generator.event(seq % 2, seq.div_ceil(2))).collect();
    storage.commit(Batch { events, ..Batch::default() }).unwrap();
    let reader = storage.reader().unwrap();
    let search = Search {
        query: "one".into(),
        room: Some(RoomId(1)),
        readable: Arc::new([RoomId(1)].into()),
        author: None,
        since_ms: None,
        until_ms: None,
        before_lamport: None,
        limit: 500,
    };
    let before = reader.search(&search).unwrap().hits.len();
    assert!(before > 10, "{before}");
    for damage in [
        "UPDATE said SET room = 3 - room",
        "UPDATE said SET room = 1",
        "UPDATE said SET seq = seq + 1",
        "DELETE FROM said WHERE seq > 50",
        "DELETE FROM said",
    ] {
        spoil(dir.path(), damage);
        for hit in reader.search(&search).unwrap().hits {
            assert_eq!(hit.row.room, RoomId(1), "{damage}");
            assert!(hit.row.json.get().contains("one"), "{damage}: {}", hit.row.json);
        }
    }
    assert_eq!(reader.search(&search).unwrap().hits.len(), 0);
}
