//! The real storage with a thread of its own for the state.

use std::{
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex};
use rusqlite::Connection;
use syncnet::{
    disk::{Applied, Batch, HardState, Reader, RoomId, Row, Storage, StorageError},
    protocol::peer::{LogEntry, LogEntryKind, NodeId},
    storage::{MemoryDisk, SqliteStorage},
};

use crate::{
    generator::{Generator, Random, cluster, server_id},
    seen::{seen_state, snapshot_of},
};

const NODE: NodeId = NodeId(5);

/// Rings when the storage has news.
#[derive(Clone, Default)]
struct News(Arc<(Mutex<u64>, Condvar)>);

impl News {
    fn ring(&self) {
        *self.0.0.lock() += 1;
        self.0.1.notify_all();
    }

    /// Waits until `is_done` says so of the storage, which is asked after every ring.
    fn wait(&self, storage: &mut SqliteStorage, mut is_done: impl FnMut(&mut SqliteStorage) -> bool) {
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            let rung = *self.0.0.lock();
            if is_done(storage) {
                return;
            }
            assert!(Instant::now() < until, "it comes to no end");
            let mut now = self.0.0.lock();
            while *now == rung {
                assert!(!self.0.1.wait_until(&mut now, until).timed_out(), "it never rang");
            }
        }
    }

    /// Waits until everything is written.
    fn wait_for_all(&self, storage: &mut SqliteStorage) {
        self.wait(storage, |storage| {
            storage.saved().unwrap();
            !storage.is_saving()
        });
    }
}

fn open(dir: &Path) -> (SqliteStorage, News) {
    let mut storage = SqliteStorage::open(dir, &server_id(), NODE).unwrap();
    let news = News::default();
    let rings = news.clone();
    storage.write_behind(Arc::new(move || rings.ring())).unwrap();
    (storage, news)
}

/// Keeps everything else from writing to the database until it is dropped.
fn hold(dir: &Path) -> Connection {
    let connection = Connection::open(dir.join("syncnet.db")).unwrap();
    connection.execute_batch("BEGIN IMMEDIATE").unwrap();
    connection
}

fn said(generator: &mut Generator, index: u64) -> Batch {
    let entry = LogEntry { term: 1, index, kind: LogEntryKind::Command, data: vec![1; 20], opaque: vec![] };
    Batch {
        entries: vec![entry],
        events: vec![generator.event(0, index)],
        applied: Some(Applied { index, term: 1, ..Applied::default() }),
        ..Batch::default()
    }
}

#[test]
fn what_is_not_written_yet_is_there_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let (mut storage, news) = open(dir.path());
    storage.commit(cluster()).unwrap();
    let mut generator = Generator::new(1);
    storage.commit(said(&mut generator, 1)).unwrap();
    news.wait_for_all(&mut storage);
    let held = hold(dir.path());
    let (first, second) = (said(&mut generator, 2), said(&mut generator, 3));
    storage.commit(first.clone()).unwrap();
    // The newest form of an event counts.
    let again = Batch { events: vec![generator.event(0, 2)], ..second };
    storage.commit(again.clone()).unwrap();
    assert!(storage.is_saving());
    assert_eq!(storage.saved().unwrap().applied, None);
    let event = storage.event(RoomId(1), 2).unwrap().unwrap();
    assert_eq!(event.json.get(), again.events[0].json.get());
    assert_ne!(event.json.get(), first.events[0].json.get());
    let unwritten = storage.unwritten(RoomId(1), 1..3);
    assert_eq!(unwritten.keys().collect::<Vec<_>>(), [&2], "the first one is written");
    assert_eq!(unwritten[&2].json.get(), again.events[0].json.get());
    assert!(storage.unwritten(RoomId(1), 3..9).is_empty() && storage.unwritten(RoomId(2), 1..9).is_empty());
    assert!(storage.event(RoomId(1), 1).unwrap().is_some(), "what is written is there as well");
    assert_eq!(storage.entries(1, 10, u64::MAX).unwrap().len(), 3, "the log has them already");
    drop(held);
    let mut applied = 0;
    news.wait(&mut storage, |storage| {
        applied = storage.saved().unwrap().applied.map_or(applied, |applied| applied.index);
        applied == 3
    });
    news.wait_for_all(&mut storage);
    assert!(storage.unwritten(RoomId(1), 1..9).is_empty());
    assert_eq!(storage.event(RoomId(1), 2).unwrap().unwrap().json.get(), again.events[0].json.get());
}

#[test]
fn it_becomes_what_it_would_be_without_the_thread() {
    for seed in 0..6 {
        let dir = tempfile::tempdir().unwrap();
        let disk = MemoryDisk::new();
        let mut memory = disk.open(&server_id(), NODE).unwrap();
        let (mut storage, mut news) = open(dir.path());
        let (mut generator, mut random) = (Generator::new(seed), Random(!seed));
        let mut truncated = 0;
        for batch in std::iter::once(cluster()).chain((0..80).map(|_| generator.batch())) {
            storage.commit(batch.clone()).unwrap();
            memory.commit(batch).unwrap();
            if random.one_in(20) {
                // The thread ends with the storage, and has written everything by then.
                drop(storage);
                (storage, news) = open(dir.path());
            }
            if random.one_in(10) {
                news.wait_for_all(&mut storage);
                let state = seen_state(&storage, &storage.reader().unwrap());
                assert_eq!(state, seen_state(&memory, &disk.reader()));
            }
            if let Some(cut) = storage.saved().unwrap().truncated {
                assert!(cut.last_log_index > truncated, "the log is cut forwards");
                truncated = cut.last_log_index;
            }
            storage.wipe_if_idle().unwrap();
        }
        news.wait_for_all(&mut storage);
        assert_eq!(seen_state(&storage, &storage.reader().unwrap()), seen_state(&memory, &disk.reader()));
    }
}

#[test]
fn two_checkpoints_that_are_due_at_a_time_come_to_an_end() {
    let dir = tempfile::tempdir().unwrap();
    let (mut storage, news) = open(dir.path());
    storage.commit(cluster()).unwrap();
    news.wait_for_all(&mut storage);
    let mut generator = Generator::new(1);
    let held = hold(dir.path());
    // Each is enough for a checkpoint, and the second is written before the first one's.
    for index in [1, 2] {
        let row = Row { key: vec![0xff, index as u8], value: Some(vec![7; 18 << 20]) };
        storage.commit(Batch { rows: vec![row], ..said(&mut generator, index) }).unwrap();
    }
    drop(held);
    news.wait_for_all(&mut storage);
    let wal = || std::fs::metadata(dir.path().join("syncnet.db-wal")).unwrap().len();
    let before = wal();
    assert!(before > 36 << 20);
    // The pages were copied, so the WAL is used again from its beginning.
    storage.commit(said(&mut generator, 3)).unwrap();
    news.wait_for_all(&mut storage);
    assert_eq!(wal(), before);
}

#[test]
fn a_writer_that_falls_behind_is_waited_for_and_nothing_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let (mut storage, news) = open(dir.path());
    storage.commit(cluster()).unwrap();
    let mut generator = Generator::new(1);
    let held = hold(dir.path());
    storage.commit(said(&mut generator, 1)).unwrap();
    storage.commit(said(&mut generator, 2)).unwrap();
    let batches: Vec<Batch> = (3..20).map(|index| said(&mut generator, index)).collect();
    thread::scope(|scope| {
        let committing = scope.spawn(|| {
            batches.into_iter().for_each(|batch| storage.commit(batch).unwrap());
            storage
        });
        drop(held);
        let mut storage = committing.join().unwrap();
        news.wait_for_all(&mut storage);
        assert_eq!(storage.load().unwrap().applied.index, 19);
    });
}

#[test]
fn a_failure_of_the_thread_ends_the_storage_and_the_log_has_everything() {
    let dir = tempfile::tempdir().unwrap();
    let (mut storage, news) = open(dir.path());
    storage.commit(cluster()).unwrap();
    let mut generator = Generator::new(1);
    let connection = Connection::open(dir.path().join("syncnet.db")).unwrap();
    let refuse = "CREATE TRIGGER full BEFORE INSERT ON event BEGIN SELECT RAISE(ABORT, 'no room'); END";
    connection.execute_batch(refuse).unwrap();
    storage.commit(said(&mut generator, 1)).unwrap();
    let mut failure = None;
    news.wait(&mut storage, |storage| {
        failure = storage.saved().err();
        failure.is_some()
    });
    assert!(matches!(failure, Some(StorageError::Failed(_))), "{failure:?}");
    assert_eq!(storage.commit(said(&mut generator, 2)).err(), failure);
    drop(storage);
    connection.execute_batch("DROP TRIGGER full").unwrap();
    drop(connection);
    let (storage, _) = open(dir.path());
    let loaded = storage.load().unwrap();
    assert_eq!((loaded.applied.index, loaded.last.last_log_index), (0, 1));
}

/// Makes SQLite find its own file damaged, or whole again, wherever the table of events is written or read.
fn spoil(dir: &Path, is_damaged: bool) {
    let connection = Connection::open(dir.join("syncnet.db")).unwrap();
    let sign = if is_damaged { 1 } else { -1 };
    let sql = format!(
        "PRAGMA writable_schema = ON;
         UPDATE sqlite_schema SET rootpage = rootpage + {sign} * 1000000 WHERE type = 'table' AND name = 'event';"
    );
    connection.execute_batch(&sql).unwrap();
    let version: u32 = connection.query_row("PRAGMA schema_version", [], |row| row.get(0)).unwrap();
    connection.pragma_update(None, "schema_version", version + 1).unwrap();
}

#[test]
fn damage_that_keeps_the_state_from_being_written_stops_nothing_and_it_is_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let (mut storage, news) = open(dir.path());
    storage.commit(cluster()).unwrap();
    let mut generator = Generator::new(1);
    storage.commit(said(&mut generator, 1)).unwrap();
    news.wait_for_all(&mut storage);
    spoil(dir.path(), true);
    storage.commit(said(&mut generator, 2)).unwrap();
    let mut damage = None;
    news.wait(&mut storage, |storage| {
        damage = storage.saved().unwrap().damage;
        damage.is_some()
    });
    assert!(matches!(damage, Some(StorageError::Doubtful(_))), "{damage:?}");
    // More than a writer that is only slow may leave undone.
    for index in 3..10 {
        storage.commit(said(&mut generator, index)).unwrap();
    }
    assert_eq!(storage.entries(1, 20, u64::MAX).unwrap().len(), 9, "the log has them");
    assert_eq!(storage.event(RoomId(1), 9).unwrap().unwrap().seq, 9);
    spoil(dir.path(), false);
    news.wait_for_all(&mut storage);
    assert_eq!(storage.load().unwrap().applied.index, 9);
    drop(storage);
    let (storage, _) = open(dir.path());
    storage.check_history().unwrap();
    assert_eq!(storage.event(RoomId(1), 9).unwrap().unwrap().seq, 9);
}

#[test]
fn what_damage_keeps_from_being_written_is_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let (mut storage, news) = open(dir.path());
    storage.commit(cluster()).unwrap();
    news.wait_for_all(&mut storage);
    spoil(dir.path(), true);
    let mut generator = Generator::new(1);
    let refused = (1..100).find_map(|index| storage.commit(said(&mut generator, index)).err());
    assert!(matches!(refused, Some(StorageError::Doubtful(_))), "{refused:?}");
}

#[test]
fn a_snapshot_takes_the_place_of_what_waits_to_be_written() {
    let (from, dir) = (MemoryDisk::new(), tempfile::tempdir().unwrap());
    let mut source = from.open(&server_id(), NODE).unwrap();
    source.commit(cluster()).unwrap();
    let mut generator = Generator::new(4);
    (1..=30).for_each(|index| source.commit(said(&mut generator, index)).unwrap());
    let (head, mut content) = from.reader().snapshot().unwrap();
    let (mut storage, news) = open(dir.path());
    storage.commit(cluster()).unwrap();
    storage.commit(said(&mut generator, 1)).unwrap();
    storage.install(&head, HardState::default(), &mut content).unwrap();
    assert_eq!(storage.load().unwrap().applied.index, 30);
    assert_eq!(snapshot_of(&storage.reader().unwrap()), snapshot_of(&from.reader()));
    // The thread is there again.
    storage.commit(said(&mut generator, 31)).unwrap();
    news.wait_for_all(&mut storage);
    assert_eq!(storage.load().unwrap().applied.index, 31);
}
