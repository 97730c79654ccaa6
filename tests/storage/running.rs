//! The real storage at work for longer: compaction, the size of the WAL, readers beside the writer.

use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use syncnet::{
    disk::{Applied, Batch, EventRange, Reader, RoomId, Row, Storage},
    protocol::peer::{LogEntry, LogEntryKind, NodeId},
    storage::{MemoryDisk, SqliteStorage},
};

use crate::{
    generator::{Generator, cluster, server_id},
    seen::seen_data,
};

const NODE: NodeId = NodeId(5);

fn open(dir: &Path) -> SqliteStorage {
    SqliteStorage::open(dir, &server_id(), NODE).unwrap()
}

fn entries(first: u64, count: u64) -> Batch {
    let entry =
        |index| LogEntry { term: 1, index, kind: LogEntryKind::Command, data: vec![1; 20], opaque: vec![] };
    Batch {
        entries: (first..first + count).map(entry).collect(),
        applied: Some(Applied { index: first + count - 1, term: 1, ..Applied::default() }),
        ..Batch::default()
    }
}

#[test]
fn a_long_log_is_cut_when_it_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let disk = MemoryDisk::new();
    let (mut sqlite, mut memory) = (open(dir.path()), disk.open(&server_id(), NODE).unwrap());
    let mut batches = vec![entries(1, 7_000), entries(7_001, 1)];
    batches[1].compact_to = Some(6_500);
    batches.extend((7_002..7_008).map(|index| entries(index, 1)));
    let mut cuts = Vec::new();
    for batch in &batches {
        sqlite.commit(batch.clone()).unwrap();
        memory.commit(batch.clone()).unwrap();
        let reader = sqlite.reader().unwrap();
        assert!(seen_data(&sqlite, &reader) == seen_data(&memory, &disk.reader()));
        cuts.push(sqlite.load().unwrap().truncated.last_log_index);
    }
    assert_eq!(cuts[..2], [0, 6_500]);
    assert_eq!(cuts.last(), Some(&6_500));
    drop(sqlite);
    assert_eq!(open(dir.path()).load().unwrap().truncated.last_log_index, 6_500);
}

fn big_row(number: u8, kib: usize) -> Batch {
    let row = Row { key: vec![17, number % 4], value: Some(vec![number; kib * 1024]) };
    Batch { rows: vec![row], ..Batch::default() }
}

#[test]
fn the_wal_starts_over_and_one_that_grew_is_cut() {
    let dir = tempfile::tempdir().unwrap();
    let mut storage = open(dir.path());
    let wal_mib = || fs::metadata(dir.path().join("syncnet.db-wal")).unwrap().len() >> 20;
    for number in 0..60 {
        storage.commit(big_row(number, 512)).unwrap();
    }
    assert!(wal_mib() < 20, "checkpoints do not let it start over: {} MiB", wal_mib());

    // A snapshot under way keeps the data that it reads.
    storage.commit(cluster()).unwrap();
    let snapshot = storage.reader().unwrap().snapshot().unwrap();
    for number in 0..24 {
        storage.commit(big_row(number, 4 * 1024)).unwrap();
    }
    assert!(wal_mib() > 80, "the snapshot held nothing: {} MiB", wal_mib());
    drop(snapshot);
    for number in 0..12 {
        storage.commit(big_row(number, 4 * 1024)).unwrap();
    }
    assert!(wal_mib() <= 68, "it stays as large as it was: {} MiB", wal_mib());
}

#[test]
fn readers_see_whole_batches_while_the_writer_writes() {
    let dir = tempfile::tempdir().unwrap();
    let mut storage = open(dir.path());
    let mut generator = Generator::new(1);
    let done = AtomicBool::new(false);
    let all =
        EventRange { after: 0, before: u64::MAX, oldest_first: true, limit: 10_000, max_bytes: 1 << 24 };
    let readers: Vec<_> = (0..3).map(|_| storage.reader().unwrap()).collect();
    thread::scope(|scope| {
        let reading: Vec<_> = readers
            .into_iter()
            .map(|reader| {
                scope.spawn(|| {
                    let reader = reader;
                    let (mut seen, mut reads) = (0, 0);
                    while !done.load(Ordering::Acquire) || reads == 0 {
                        let count = reader.events(RoomId(1), &all).unwrap().len();
                        assert!(count % 3 == 0 && count >= seen, "{count} after {seen}");
                        (seen, reads) = (count, reads + 1);
                    }
                    reader.events(RoomId(1), &all).unwrap().len()
                })
            })
            .collect();
        for seq in (1..300).step_by(3) {
            let events = (seq..seq + 3).map(|seq| generator.event(0, seq)).collect();
            storage.commit(Batch { events, ..Batch::default() }).unwrap();
        }
        done.store(true, Ordering::Release);
        for reading in reading {
            assert_eq!(reading.join().unwrap(), 300);
        }
    });
}
