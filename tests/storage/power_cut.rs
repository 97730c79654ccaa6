//! The real storage on a disk whose power is cut, again and again.

use rusqlite::{Connection, OpenFlags};
use syncnet::{
    disk::{Reader, Storage, StorageError},
    protocol::peer::NodeId,
    storage::{MemoryDisk, OpenError, SqliteStorage},
};

use crate::{
    conformance::seen_data,
    generator::{Generator, Random, cluster, server_id},
    power::{PowerDisk, VFS},
};

const NODE: NodeId = NodeId(5);

fn open(disk: &PowerDisk) -> Result<SqliteStorage, OpenError> {
    SqliteStorage::open_on_vfs(VFS, &disk.database(), &server_id(), NODE)
}

/// Cuts the power, so that nothing, some, most or all of what was not synced survives.
fn cut(disk: &PowerDisk, random: &mut Random) {
    let lost = [1, 2, 100, u64::MAX][random.below(4) as usize];
    disk.cut(&mut || !random.one_in(lost));
}

/// A connection of the test's own.
fn connect(disk: &PowerDisk) -> Connection {
    Connection::open_with_flags_and_vfs(disk.database(), OpenFlags::default(), VFS).unwrap()
}

fn check_integrity(disk: &PowerDisk) {
    let found: String = connect(disk).query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(found, "ok");
}

/// A power cut is no reason to doubt the WAL.
fn check_wal_is_believed(disk: &PowerDisk) {
    let folder = tempfile::tempdir().unwrap();
    disk.copy_to(folder.path()).unwrap();
    SqliteStorage::open(folder.path(), &server_id(), NODE).unwrap().load().unwrap();
}

/// Restarts until a start is not itself cut short.
fn restart(disk: &PowerDisk, random: &mut Random) -> SqliteStorage {
    loop {
        if random.one_in(3) {
            disk.fail_after(random.below(12));
        }
        match open(disk) {
            Ok(storage) => {
                // The power may still be about to fail; then it fails in the next commit.
                return storage;
            }
            Err(OpenError::Storage(StorageError::Failed(_))) => cut(disk, random),
            Err(other) => panic!("a power cut is no reason for: {other}"),
        }
    }
}

/// One run: every acknowledged batch is there after every cut, and of the one that was under way all or
/// nothing. Returns how many commits were cut short, and how many of these survived.
fn run(seed: u64, commits: u32) -> (u32, u32) {
    let mut random = Random(seed);
    let mut generator = Generator::new(!seed);
    let disk = PowerDisk::new();
    let twin = MemoryDisk::new();
    let mut memory = twin.open(&server_id(), NODE).unwrap();
    let mut sqlite = restart(&disk, &mut random);
    let (mut cuts, mut survived) = (0, 0);
    let mut formed = false;
    for _ in 0..commits {
        let (before, generator_before) = (twin.image(), generator.clone());
        let batch = if formed { generator.batch() } else { cluster() };
        if random.one_in(12) {
            disk.fail_after(random.below(30));
        }
        let result = sqlite.commit(&batch);
        memory.commit(&batch).unwrap();
        if result.is_ok() && !random.one_in(25) {
            formed = true;
            continue;
        }
        if random.one_in(2) {
            drop(sqlite);
            cut(&disk, &mut random);
        } else {
            cut(&disk, &mut random);
            drop(sqlite);
        }
        check_integrity(&disk);
        if random.one_in(4) {
            check_wal_is_believed(&disk);
        }
        sqlite = restart(&disk, &mut random);
        let reader = sqlite.reader().unwrap();
        let data = seen_data(&sqlite, &reader);
        if result.is_err() {
            cuts += 1;
            if data == seen_data(&memory, &twin.reader()) {
                survived += 1;
            } else {
                twin.restore(&before);
                generator = generator_before;
            }
        }
        drop(memory);
        memory = twin.open(&server_id(), NODE).unwrap();
        assert!(data == seen_data(&memory, &twin.reader()), "seed {seed} lost or made up something");
        formed = sqlite.load().unwrap().identity.cluster.is_some();
    }
    (cuts, survived)
}

#[test]
fn acknowledged_batches_survive_every_power_cut() {
    let (mut cuts, mut survived) = (0, 0);
    for seed in 0..20 {
        let (more_cuts, more_survived) = run(seed, 100);
        cuts += more_cuts;
        survived += more_survived;
    }
    assert!(
        cuts > 20 && survived > 0 && survived < cuts,
        "{cuts} cuts with {survived} survivors show little"
    );
}

#[test]
fn long_runs_with_checkpoints_survive_too() {
    let (cuts, _) = run(1_000, 1_000);
    assert!(cuts > 20, "{cuts}");
}

#[test]
fn the_disk_does_lose_what_is_not_synced() {
    let disk = PowerDisk::new();
    let connection = connect(&disk);
    connection.pragma_update(None, "journal_mode", "WAL").unwrap();
    connection.execute_batch("CREATE TABLE t (n INTEGER)").unwrap();
    connection.pragma_update(None, "synchronous", "NORMAL").unwrap();
    connection.execute_batch("INSERT INTO t VALUES (1)").unwrap();
    let count = |connection: &Connection| {
        connection.query_row("SELECT count(*) FROM t", [], |row| row.get::<_, i64>(0))
    };
    assert_eq!(count(&connection).unwrap(), 1);
    disk.cut(&mut || false);
    count(&connection).unwrap_err();
    assert_eq!(count(&connect(&disk)).unwrap(), 0);
}

#[test]
fn a_failed_sync_is_never_tried_again() {
    let disk = PowerDisk::new();
    let mut storage = open(&disk).unwrap();
    storage.commit(&cluster()).unwrap();
    let reader = storage.reader().unwrap();
    let mut generator = Generator::new(9);
    let before = seen_data(&storage, &reader);
    disk.fail_next_sync();
    let error = storage.commit(&generator.batch()).unwrap_err();
    assert!(matches!(error, StorageError::Failed(_)), "{error}");
    // The disk would work again, but the storage does not use it any more.
    assert_eq!(storage.commit(&cluster()).unwrap_err(), error);
    assert_eq!(storage.load().unwrap_err(), error);
    assert_eq!(storage.entries(1, 2, 1).unwrap_err(), error);
    drop((storage, reader));
    disk.cut(&mut || false);
    let storage = open(&disk).unwrap();
    assert_eq!(seen_data(&storage, &storage.reader().unwrap()), before);
}

#[test]
fn a_full_disk_ends_the_storage_and_costs_nothing_that_was_said() {
    let disk = PowerDisk::new();
    let mut storage = open(&disk).unwrap();
    let twin = MemoryDisk::new();
    let mut memory = twin.open(&server_id(), NODE).unwrap();
    let mut generator = Generator::new(2);
    disk.limit(Some(300_000));
    let error = loop {
        let batch = generator.batch();
        match storage.commit(&batch) {
            Ok(()) => memory.commit(&batch).unwrap(),
            Err(error) => break error,
        }
    };
    assert!(matches!(&error, StorageError::Failed(why) if why.contains("full")), "{error}");
    assert_eq!(storage.commit(&cluster()).unwrap_err(), error);
    drop(storage);
    disk.limit(None);
    let storage = open(&disk).unwrap();
    let data = seen_data(&storage, &storage.reader().unwrap());
    assert!(data == seen_data(&memory, &twin.reader()), "a full disk lost something");
}

#[test]
fn a_snapshot_under_way_ends_with_the_power() {
    let disk = PowerDisk::new();
    let mut storage = open(&disk).unwrap();
    storage.commit(&cluster()).unwrap();
    let mut generator = Generator::new(11);
    for _ in 0..200 {
        storage.commit(&generator.batch()).unwrap();
    }
    let mut content = storage.reader().unwrap().snapshot().unwrap().1;
    let mut some = [0; 100];
    content.read_exact(&mut some).unwrap();
    disk.cut(&mut || true);
    let again = open(&disk).unwrap();
    content.read_to_end(&mut Vec::new()).expect_err("its events are still to be read");
    again.load().unwrap();
}
