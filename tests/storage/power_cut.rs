//! The real storage on a disk whose power is cut, again and again.

use std::hash::{DefaultHasher, Hash, Hasher};

use rusqlite::{Connection, OpenFlags};
use syncnet::{
    disk::{Batch, HardState, Loaded, Reader, Storage, StorageError},
    protocol::peer::NodeId,
    storage::{MemoryDisk, MemoryImage, MemoryStorage, OpenError, SqliteStorage},
};

use crate::{
    generator::{Generator, Random, cluster, server_id},
    power::{PowerDisk, VFS},
    seen::{WholeLog, seen_log, seen_state, snapshot_of, whole_log},
};

const NODE: NodeId = NodeId(5);

fn open(disk: &PowerDisk) -> Result<SqliteStorage, OpenError> {
    SqliteStorage::open_on_vfs(VFS, &disk.database(), disk.log(), &server_id(), NODE)
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

/// What a power cut leaves is no reason to doubt it in a folder of the machine either.
fn check_is_believed(disk: &PowerDisk) {
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
                // It does not fail any more, if it was still about to.
                disk.fail_after(u64::MAX);
                return storage;
            }
            Err(OpenError::Storage(StorageError::Failed(_))) => cut(disk, random),
            Err(other) => panic!("a power cut is no reason for: {other}"),
        }
    }
}

/// What a batch says of the state, as a replica writes it again that finds its entries in the log.
fn of_state(batch: &Batch) -> Batch {
    Batch {
        rows: batch.rows.clone(),
        events: batch.events.clone(),
        expired: batch.expired.clone(),
        chunks: batch.chunks.clone(),
        removed_files: batch.removed_files.clone(),
        applied: batch.applied.clone(),
        compact_to: batch.compact_to,
        cluster: batch.cluster.clone(),
        ..Batch::default()
    }
}

/// A state in few bytes.
fn digest(storage: &impl Storage, reader: &impl Reader) -> u64 {
    let mut hasher = DefaultHasher::new();
    let Loaded { identity, applied, rows, .. } = storage.load().unwrap();
    (format!("{applied:?}"), rows).hash(&mut hasher);
    if identity.cluster.is_some() {
        snapshot_of(reader).hash(&mut hasher);
    }
    hasher.finish()
}

/// What a disk must have: a twin that loses nothing, and how it came to that.
struct Expected {
    twin: MemoryDisk,
    memory: MemoryStorage,
    /// All batches, each with the state that it led to.
    written: Vec<(Batch, u64)>,
}

/// How an expected disk was before a batch.
struct Before {
    image: MemoryImage,
    log: WholeLog,
}

/// What a restart found.
#[derive(Debug, Default)]
struct Found {
    /// Commits that were cut short, and those of them whose entries were found.
    cut_short: u32,
    survived: u32,
    /// Batches whose part of the state was lost and made anew.
    replayed: u32,
}

impl Expected {
    fn new() -> Expected {
        let twin = MemoryDisk::new();
        let memory = twin.open(&server_id(), NODE).unwrap();
        let written = vec![(Batch::default(), digest(&memory, &twin.reader()))];
        Expected { twin, memory, written }
    }

    fn before(&self) -> Before {
        Before { image: self.twin.image(), log: whole_log(&self.memory) }
    }

    fn commit(&mut self, batch: &Batch) {
        self.memory.commit(batch.clone()).unwrap();
        self.written.push((batch.clone(), digest(&self.memory, &self.twin.reader())));
    }

    /// Looks at what a restart has found: all of the log, and the state as it was after one of the batches.
    /// What is behind it is written again. `cut_short`: the last batch was not acknowledged. Returns whether
    /// it is there.
    fn compare(&mut self, sqlite: &mut SqliteStorage, cut_short: Option<&Before>, found: &mut Found) -> bool {
        let cut = |storage: &dyn Storage| storage.load().unwrap().truncated.last_log_index;
        let cut = cut(sqlite).max(cut(&self.memory));
        let log = seen_log(sqlite, cut);
        let is_there = log == seen_log(&self.memory, cut);
        if cut_short.is_some() {
            found.cut_short += 1;
            found.survived += u32::from(is_there);
        } else {
            assert!(is_there, "the log lost or made up something");
        }
        if !is_there {
            let before = cut_short.expect("it was looked at");
            assert_eq!(log, before.log.behind(cut), "a batch that was cut short is in the log in part");
            self.written.pop();
            self.twin.restore(&before.image);
        }
        let state = digest(sqlite, &sqlite.reader().unwrap());
        let place = self.written.iter().rposition(|(_, known)| *known == state);
        let place = place.expect("the state is as it never was");
        for (batch, state) in &self.written[place + 1..] {
            sqlite.commit(of_state(batch)).unwrap();
            assert_eq!(digest(sqlite, &sqlite.reader().unwrap()), *state, "made anew it is another state");
            found.replayed += 1;
        }
        is_there
    }

    /// Begins anew, as the disk did.
    fn restart(self) -> Expected {
        let Expected { twin, memory, written } = self;
        drop(memory);
        let memory = twin.open(&server_id(), NODE).unwrap();
        Expected { twin, memory, written }
    }
}

/// One run: every acknowledged batch is in the log after every cut, and of the one that was under way all or
/// nothing; the state is as it once was, and becomes what it was.
fn run(seed: u64, commits: u32) -> Found {
    let mut random = Random(seed);
    let mut generator = Generator::new(!seed);
    let disk = PowerDisk::new();
    let mut expected = Expected::new();
    let mut sqlite = restart(&disk, &mut random);
    let mut found = Found::default();
    let mut formed = false;
    for _ in 0..commits {
        let (before, generator_before) = (expected.before(), generator.clone());
        let batch = if formed { generator.batch() } else { cluster() };
        if random.one_in(12) {
            disk.fail_after(random.below(30));
        }
        let result = sqlite.commit(batch.clone());
        expected.commit(&batch);
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
            check_is_believed(&disk);
        }
        sqlite = restart(&disk, &mut random);
        let is_there = expected.compare(&mut sqlite, result.is_err().then_some(&before), &mut found);
        if !is_there {
            generator = generator_before;
        }
        expected = expected.restart();
        formed = sqlite.load().unwrap().identity.cluster.is_some();
    }
    found
}

#[test]
fn acknowledged_batches_survive_every_power_cut() {
    let mut all = Found::default();
    for seed in 0..20 {
        let found = run(seed, 100);
        all.cut_short += found.cut_short;
        all.survived += found.survived;
        all.replayed += found.replayed;
    }
    let Found { cut_short, survived, replayed } = all;
    assert!(cut_short > 20 && survived > 0 && survived < cut_short && replayed > 20, "{all:?} shows little");
}

#[test]
fn long_runs_with_checkpoints_survive_too() {
    let found = run(1_000, 1_000);
    assert!(found.cut_short > 20 && found.replayed > 20, "{found:?}");
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
    storage.commit(cluster()).unwrap();
    let reader = storage.reader().unwrap();
    let mut generator = Generator::new(9);
    let before = (seen_log(&storage, 0), seen_state(&storage, &reader));
    let batch = std::iter::repeat_with(|| generator.batch()).find(Batch::changes_log).unwrap();
    disk.fail_next_sync();
    let error = storage.commit(batch.clone()).unwrap_err();
    assert!(matches!(error, StorageError::Failed(_)), "{error}");
    // The disk would work again, but the storage does not use it any more.
    assert_eq!(storage.commit(cluster()).unwrap_err(), error);
    assert_eq!(storage.load().unwrap_err(), error);
    assert_eq!(storage.entries(1, 2, 1).unwrap_err(), error);
    drop((storage, reader));
    disk.cut(&mut || false);
    let storage = open(&disk).unwrap();
    assert_eq!((seen_log(&storage, 0), seen_state(&storage, &storage.reader().unwrap())), before);
}

#[test]
fn a_full_disk_ends_the_storage_and_costs_nothing_that_was_said() {
    let disk = PowerDisk::new();
    let mut storage = open(&disk).unwrap();
    let mut expected = Expected::new();
    let mut generator = Generator::new(2);
    disk.limit(Some(300_000));
    let (before, error) = loop {
        let (batch, before) = (generator.batch(), expected.before());
        let committed = storage.commit(batch.clone());
        expected.commit(&batch);
        if let Err(error) = committed {
            break (before, error);
        }
    };
    assert!(matches!(&error, StorageError::Failed(why) if why.contains("full")), "{error}");
    assert_eq!(storage.commit(cluster()).unwrap_err(), error);
    drop(storage);
    disk.limit(None);
    let mut storage = open(&disk).unwrap();
    expected.compare(&mut storage, Some(&before), &mut Found::default());
}

/// Writes and syncs fail one after the other, all through a life of a disk: start, appends, changes of
/// segments, cuts, checkpoints, a snapshot, and the start behind it.
#[test]
fn any_one_write_may_fail() {
    let mut generator = Generator::new(31);
    let batches: Vec<Batch> = (0..40).map(|_| generator.batch()).collect();
    let (from, vote) = (MemoryDisk::new(), HardState { term: 9_000, vote: Some(NodeId(3)), commit: 0 });
    let mut source = from.open(&server_id(), NODE).unwrap();
    source.commit(cluster()).unwrap();
    batches.iter().for_each(|batch| source.commit(batch.clone()).unwrap());
    let mut random = Random(7);
    let mut operations = 0;
    loop {
        let disk = PowerDisk::new();
        disk.fail_after(operations);
        let mut expected = Expected::new();
        let mut before = expected.before();
        let life = |expected: &mut Expected, before: &mut Before| -> Result<(), OpenError> {
            let mut storage = open(&disk)?;
            for batch in std::iter::once(&cluster()).chain(&batches) {
                *before = expected.before();
                let committed = storage.commit(batch.clone());
                expected.commit(batch);
                committed?;
            }
            drop(storage);
            open(&disk)?.load()?;
            Ok(())
        };
        let lived = life(&mut expected, &mut before);
        disk.cut(&mut || random.one_in(2));
        let mut storage = restart(&disk, &mut Random(u64::MAX));
        let was_begun = expected.written.len() > 1;
        let cut_short = (lived.is_err() && was_begun).then_some(&before);
        expected.compare(&mut storage, cut_short, &mut Found::default());
        if storage.load().unwrap().identity.cluster.is_none() {
            storage.commit(cluster()).unwrap();
        }

        // A snapshot over it, cut short in the same way.
        let log = seen_log(&storage, 0);
        disk.fail_after(operations % 150);
        let (head, mut content) = from.reader().snapshot().unwrap();
        let installed = storage.install(&head, vote, &mut content);
        drop(storage);
        disk.cut(&mut || random.one_in(2));
        let storage = restart(&disk, &mut Random(u64::MAX));
        let loaded = storage.load().unwrap();
        if loaded.applied.index == head.index && loaded.truncated == loaded.last {
            assert_eq!(loaded.hard_state, HardState { commit: head.index, ..vote });
            assert_eq!(loaded.rows, source.load().unwrap().rows);
        } else {
            installed.expect_err("it was said to be there");
            assert_eq!(seen_log(&storage, 0), log, "a snapshot that was cut short has changed something");
        }
        if lived.is_ok() {
            break;
        }
        operations += 1 + operations / 20;
    }
    assert!(operations > 300, "{operations}");
}

#[test]
fn a_snapshot_under_way_ends_with_the_power() {
    let disk = PowerDisk::new();
    let mut storage = open(&disk).unwrap();
    storage.commit(cluster()).unwrap();
    let mut generator = Generator::new(11);
    for _ in 0..200 {
        storage.commit(generator.batch()).unwrap();
    }
    let mut content = storage.reader().unwrap().snapshot().unwrap().1;
    let mut some = [0; 100];
    content.read_exact(&mut some).unwrap();
    disk.cut(&mut || true);
    let again = open(&disk).unwrap();
    content.read_to_end(&mut Vec::new()).expect_err("its events are still to be read");
    again.load().unwrap();
}
