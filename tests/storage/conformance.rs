//! The same batches written to SQLite and to the memory twin must always read back the same.

use std::path::Path;

use syncnet::{
    disk::{Batch, HardState, InstallError, Reader, Row, Storage, StorageError},
    protocol::peer::NodeId,
    storage::{MemoryDisk, MemoryStorage, SqliteStorage},
};

use crate::{
    generator::{Generator, Random, cluster, server_id},
    seen::{seen, seen_by_searches, snapshot_of},
};

pub const NODE: NodeId = NodeId(77);

pub fn open_both(dir: &Path, disk: &MemoryDisk) -> (SqliteStorage, MemoryStorage) {
    (SqliteStorage::open(dir, &server_id(), NODE).unwrap(), disk.open(&server_id(), NODE).unwrap())
}

#[test]
fn both_storages_say_the_same_after_any_batches_and_restarts() {
    for seed in 0..12 {
        let dir = tempfile::tempdir().unwrap();
        let disk = MemoryDisk::new();
        let (mut sqlite, mut memory) = open_both(dir.path(), &disk);
        let mut generator = Generator::new(seed);
        let mut choices = Random(!seed);
        let mut found_most = 0;
        sqlite.commit(cluster()).unwrap();
        memory.commit(cluster()).unwrap();
        for step in 0..60 {
            let batch = generator.batch();
            sqlite.commit(batch.clone()).unwrap();
            memory.commit(batch.clone()).unwrap();
            if choices.one_in(10) {
                drop((sqlite, memory));
                (sqlite, memory) = open_both(dir.path(), &disk);
            }
            if choices.one_in(4) {
                let (theirs, ours) = (sqlite.reader().unwrap(), disk.reader());
                assert_eq!(seen(&sqlite, &theirs), seen(&memory, &ours), "seed {seed}, step {step}");
                assert_eq!(snapshot_of(&theirs), snapshot_of(&ours), "seed {seed}, step {step}");
                let found = seen_by_searches(&ours);
                assert_eq!(seen_by_searches(&theirs), found, "seed {seed}, step {step}");
                found_most = found_most.max(found.lines().count());
            }
        }
        assert!(found_most > 20, "of seed {seed} searches found {found_most}");
        assert!(generator.files > 2, "seed {seed} made {} files", generator.files);
        assert!(generator.newest.iter().any(|newest| *newest > 8), "seed {seed} made no events");
    }
}

#[test]
fn a_snapshot_of_either_installs_in_the_other() {
    for seed in 100..106 {
        let mut generator = Generator::new(seed);
        let dir = tempfile::tempdir().unwrap();
        let disk = MemoryDisk::new();
        let (mut sqlite, mut memory) = open_both(dir.path(), &disk);
        sqlite.commit(cluster()).unwrap();
        memory.commit(cluster()).unwrap();
        for _ in 0..40 {
            sqlite.commit(generator.batch()).unwrap();
        }
        sqlite.commit(one_row_of_each_table()).unwrap();
        // The receiver has other data already.
        let mut other = Generator::new(!seed);
        for _ in 0..10 {
            memory.commit(other.batch()).unwrap();
        }
        let vote = HardState { term: 9_000, vote: Some(NodeId(3)), commit: 0 };

        let reader = sqlite.reader().unwrap();
        let (head, mut content) = reader.snapshot().unwrap();
        assert_eq!((head.term, head.index), (0, generator.applied.index));
        memory.install(&head, vote, &mut content).unwrap();
        assert_eq!(snapshot_of(&reader), snapshot_of(&disk.reader()));

        let loaded = memory.load().unwrap();
        assert_eq!((loaded.truncated.last_log_index, loaded.last), (head.index, loaded.truncated));
        assert_eq!(loaded.applied, generator.applied);
        assert_eq!(loaded.hard_state, HardState { commit: head.index, ..vote });
        assert_eq!(loaded.rows, sqlite.load().unwrap().rows);

        // And back, into a folder that has the cluster and nothing else.
        let fresh = tempfile::tempdir().unwrap();
        let mut back = SqliteStorage::open(fresh.path(), &server_id(), NODE).unwrap();
        back.commit(cluster()).unwrap();
        let (head, mut content) = disk.reader().snapshot().unwrap();
        back.install(&head, vote, &mut content).unwrap();
        assert_eq!(snapshot_of(&reader), snapshot_of(&back.reader().unwrap()));
        assert_eq!(seen_by_searches(&disk.reader()), seen_by_searches(&back.reader().unwrap()));

        // The log goes on behind the snapshot.
        generator.last.last_log_index = head.index;
        generator.last.last_log_term = head.index_term;
        for _ in 0..5 {
            let batch = generator.batch();
            memory.commit(batch.clone()).unwrap();
            back.commit(batch.clone()).unwrap();
        }
        drop((back, memory));
        let back = SqliteStorage::open(fresh.path(), &server_id(), NODE).unwrap();
        let memory = disk.open(&server_id(), NODE).unwrap();
        // The twin has marks of peers from before, which a snapshot does not touch.
        assert_eq!(back.load().unwrap().tail, memory.load().unwrap().tail);
        assert_eq!(back.load().unwrap().rows, memory.load().unwrap().rows);
    }
}

/// The first byte of a key is its table; those below 16 are the storage's own.
fn one_row_of_each_table() -> Batch {
    let row = |table| Row { key: vec![table, 200], value: Some(vec![table]) };
    Batch { rows: (16..=u8::MAX).map(row).collect(), ..Batch::default() }
}

#[test]
fn a_defective_snapshot_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let disk = MemoryDisk::new();
    let (mut sqlite, mut memory) = open_both(dir.path(), &disk);
    sqlite.commit(cluster()).unwrap();
    memory.commit(cluster()).unwrap();
    let mut generator = Generator::new(5);
    for _ in 0..30 {
        memory.commit(generator.batch()).unwrap();
    }
    let (head, _) = disk.reader().snapshot().unwrap();
    let good = snapshot_of(&disk.reader());
    let reader = sqlite.reader().unwrap();
    let before = seen(&sqlite, &reader);
    let mut refused = |content: &[u8]| {
        let result = sqlite.install(&head, HardState::default(), &mut &content[..]);
        assert!(matches!(result, Err(InstallError::Unreadable(_))), "{result:?}");
        assert_eq!(seen(&sqlite, &reader), before);
        let ours = seen(&memory, &disk.reader());
        let result = memory.install(&head, HardState::default(), &mut &content[..]);
        assert!(matches!(result, Err(InstallError::Unreadable(_))), "{result:?}");
        assert_eq!(seen(&memory, &disk.reader()), ours);
    };
    let mut random = Random(1);
    for _ in 0..40 {
        let mut bad = good.clone();
        let place = random.below(bad.len() as u64) as usize;
        bad[place] ^= 1 << random.below(8);
        refused(&bad);
        refused(&good[..random.below(good.len() as u64) as usize]);
    }
    refused(&[good.as_slice(), &[0]].concat());
    refused(&[]);
    let other = syncnet::protocol::peer::SnapshotHead { index: head.index + 1, ..head.clone() };
    let result = sqlite.install(&other, HardState::default(), &mut good.as_slice());
    assert!(matches!(result, Err(InstallError::Unreadable(_))), "{result:?}");
    let stranger = syncnet::protocol::peer::SnapshotHead { cluster_id: 1, ..head.clone() };
    let result = sqlite.install(&stranger, HardState::default(), &mut good.as_slice());
    assert!(matches!(result, Err(InstallError::Unreadable(_))), "{result:?}");
    assert_eq!(seen(&sqlite, &reader), before);
    sqlite.install(&head, HardState::default(), &mut good.as_slice()).unwrap();
    assert_eq!(snapshot_of(&reader), good);
}

#[test]
fn a_snapshot_is_of_one_moment() {
    let dir = tempfile::tempdir().unwrap();
    let disk = MemoryDisk::new();
    let (mut sqlite, mut memory) = open_both(dir.path(), &disk);
    let mut generator = Generator::new(8);
    let both = |batch: &Batch, sqlite: &mut SqliteStorage, memory: &mut MemoryStorage| {
        sqlite.commit(batch.clone()).unwrap();
        memory.commit(batch.clone()).unwrap();
    };
    both(&cluster(), &mut sqlite, &mut memory);
    // More than is read from the tables at once.
    for number in 0..100 {
        let mut batch = generator.batch();
        batch.rows.push(Row { key: vec![30, number], value: Some(vec![number; 1_000]) });
        both(&batch, &mut sqlite, &mut memory);
    }
    let whole = snapshot_of(&disk.reader());
    assert!(whole.len() > 100_000, "{}", whole.len());
    let mut streams = [sqlite.reader().unwrap().snapshot().unwrap().1, disk.reader().snapshot().unwrap().1];
    let mut got = [Vec::new(), Vec::new()];
    for number in 0..60 {
        let mut batch = generator.batch();
        batch.rows.push(Row { key: vec![30, 99 - number], value: None });
        both(&batch, &mut sqlite, &mut memory);
        for (stream, got) in streams.iter_mut().zip(&mut got) {
            let mut some = [0; 1_000];
            let count = stream.read(&mut some).unwrap();
            got.extend(&some[..count]);
        }
    }
    for (stream, got) in streams.iter_mut().zip(&mut got) {
        stream.read_to_end(got).unwrap();
        assert!(*got == whole, "a snapshot saw what was committed after it began");
    }
}

#[test]
fn of_rows_with_one_key_the_last_counts() {
    let dir = tempfile::tempdir().unwrap();
    let disk = MemoryDisk::new();
    let (mut sqlite, mut memory) = open_both(dir.path(), &disk);
    let row = |key: u8, value: Option<u8>| Row { key: vec![key], value: value.map(|byte| vec![byte]) };
    let batch = Batch {
        rows: vec![row(17, Some(1)), row(18, Some(2)), row(17, None), row(18, Some(3)), row(19, None)],
        ..Batch::default()
    };
    sqlite.commit(batch.clone()).unwrap();
    memory.commit(batch.clone()).unwrap();
    for rows in [sqlite.load().unwrap().rows, memory.load().unwrap().rows] {
        assert_eq!(rows, [(vec![18], vec![3])]);
    }
}

#[test]
fn a_batch_that_does_not_fit_ends_the_storage() {
    let dir = tempfile::tempdir().unwrap();
    let disk = MemoryDisk::new();
    let (mut sqlite, mut memory) = open_both(dir.path(), &disk);
    let mut generator = Generator::new(4);
    let mut gap = loop {
        let batch = generator.batch();
        if !batch.entries.is_empty() {
            break batch;
        }
    };
    gap.entries[0].index += 7;
    for storage in [&mut sqlite as &mut dyn Storage, &mut memory] {
        assert!(matches!(storage.commit(gap.clone()), Err(StorageError::Failed(_))));
        assert!(matches!(storage.commit(cluster()), Err(StorageError::Failed(_))));
        assert!(matches!(storage.load(), Err(StorageError::Failed(_))));
    }
}
