//! The memory twin's faults: each does what a real disk's fault does to the data.

use std::io::Read;

use syncnet::{
    disk::{Reader, Storage, StorageError},
    protocol::peer::NodeId,
    storage::{CommitFault, Kept, MemoryDisk, MemoryStorage, OpenError},
};

use crate::{
    generator::{Generator, Random, cluster, server_id},
    seen::{seen_data, seen_log, seen_state},
};

const NODE: NodeId = NodeId(5);

fn open(disk: &MemoryDisk) -> Result<MemoryStorage, OpenError> {
    disk.open(&server_id(), NODE)
}

/// A disk with some data, open, and what is on it.
fn written() -> (MemoryDisk, MemoryStorage, Generator, String) {
    let disk = MemoryDisk::new();
    let mut storage = open(&disk).unwrap();
    storage.commit(cluster()).unwrap();
    let mut generator = Generator::new(1);
    for _ in 0..40 {
        storage.commit(generator.batch()).unwrap();
    }
    let data = seen_data(&storage, &disk.reader());
    (disk, storage, generator, data)
}

#[test]
fn a_power_cut_takes_state_and_no_log() {
    let (disk, storage, mut generator, _) = written();
    drop(storage);
    let mut storage = open(&disk).unwrap();
    let mut states = vec![seen_state(&storage, &disk.reader())];
    let mut lost = 0;
    for _ in 0..40 {
        storage.commit(generator.batch()).unwrap();
        states.push(seen_state(&storage, &disk.reader()));
        let (log, cut) = (seen_log(&storage, 0), storage.load().unwrap().truncated.last_log_index);
        let whole = disk.image();
        drop(storage);
        disk.crash(true);
        storage = open(&disk).unwrap();
        assert_eq!(seen_log(&storage, cut), log);
        let state = seen_state(&storage, &disk.reader());
        lost += u32::from(state != *states.last().unwrap());
        assert!(states.contains(&state));
        drop(storage);
        disk.restore(&whole);
        storage = open(&disk).unwrap();
    }
    assert!(lost > 5, "{lost}");
}

/// What is on the disk after a restart.
fn restarted(disk: &MemoryDisk, storage: MemoryStorage) -> String {
    drop(storage);
    disk.crash(false);
    seen_data(&open(disk).unwrap(), &disk.reader())
}

#[test]
fn a_write_error_keeps_nothing_and_ends_the_storage() {
    let (disk, mut storage, mut generator, data) = written();
    disk.fail_next_commit(CommitFault::WriteError);
    let error = storage.commit(generator.batch()).unwrap_err();
    assert!(matches!(error, StorageError::Failed(_)));
    assert_eq!(storage.commit(cluster()).unwrap_err(), error);
    assert_eq!(storage.load().unwrap_err(), error);
    assert!(restarted(&disk, storage) == data);
}

#[test]
fn after_a_failed_sync_the_disk_is_doubted_until_it_is_wiped() {
    let (disk, mut storage, mut generator, _) = written();
    disk.fail_next_commit(CommitFault::SyncError);
    storage.commit(generator.batch()).unwrap_err();
    drop(storage);
    for _ in 0..2 {
        let error = open(&disk).unwrap_err();
        assert!(matches!(error, OpenError::Storage(StorageError::Doubtful(_))), "{error}");
        disk.crash(true);
    }
    disk.wipe();
    let identity = disk.open(&server_id(), NodeId(6)).unwrap().load().unwrap().identity;
    assert_eq!((identity.node_id, identity.boot, identity.cluster), (NodeId(6), 7, None));
}

#[test]
fn a_copy_is_put_back_as_it_was() {
    let (disk, mut storage, mut generator, data) = written();
    let copy = disk.image();
    for _ in 0..10 {
        storage.commit(generator.batch()).unwrap();
    }
    drop(storage);
    disk.restore(&copy);
    assert!(seen_data(&open(&disk).unwrap(), &disk.reader()) == data);
}

#[test]
fn a_disk_has_one_writer() {
    let (disk, storage, ..) = written();
    assert!(matches!(open(&disk), Err(OpenError::Refused(_))));
    drop(storage);
    open(&disk).unwrap();
}

#[test]
fn every_flipped_bit_is_noticed() {
    let (disk, storage, _, data) = written();
    drop(storage);
    let whole = disk.image();
    let mut random = Random(2);
    for kind in [Some(Kept::Meta), Some(Kept::State), None] {
        for _ in 0..50 {
            disk.restore(&whole);
            match kind {
                Some(kind) => assert!(disk.corrupt(kind, random.next(), random.next())),
                None => assert!(disk.corrupt_log(random.next(), random.next())),
            }
            let found = match open(&disk) {
                Ok(storage) => storage.load().map(drop),
                Err(OpenError::Storage(error)) => Err(error),
                Err(refused) => panic!("{refused}"),
            };
            if kind.is_none() && found.is_ok() {
                // Between two records there is nothing.
                assert!(seen_data(&open(&disk).unwrap(), &disk.reader()) == data);
                continue;
            }
            assert!(matches!(&found, Err(error) if error.doubt().is_some()), "{kind:?}: {found:?}");
        }
    }
    for round in 0..100 {
        disk.restore(&whole);
        let kind = if round % 2 == 0 { Kept::Event } else { Kept::Chunk };
        assert!(disk.corrupt(kind, random.next(), random.next()));
        let mut content = disk.reader().snapshot().unwrap().1;
        content.read_to_end(&mut Vec::new()).unwrap_err();
    }
}
