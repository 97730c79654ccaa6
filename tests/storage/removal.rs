//! What is removed: gone at once, and wiped bit by bit.

use syncnet::{
    disk::{Batch, ChunkRow, EventRange, Reader, RoomId, Storage},
    storage::{MemoryDisk, SqliteStorage},
};

use crate::{
    conformance::open_both,
    generator::{Generator, cluster, file_id},
    seen::{seen, seen_by_searches, snapshot_of},
};

/// A room of `count` messages and a file of `count` pieces.
fn long_history(count: u64) -> Batch {
    let mut generator = Generator::new(1);
    let chunk = |number| ChunkRow { file: file_id(1), number, bytes: vec![number as u8; 50].into() };
    Batch {
        events: (1..=count).map(|seq| generator.event(0, seq)).collect(),
        chunks: (0..count as u32).map(chunk).collect(),
        ..Batch::default()
    }
}

#[test]
fn what_is_removed_is_gone_at_once_and_wiped_in_slices() {
    let dir = tempfile::tempdir().unwrap();
    let disk = MemoryDisk::new();
    let (mut sqlite, mut memory) = open_both(dir.path(), &disk);
    let removing = Batch {
        expired: vec![(RoomId(1), 901), (RoomId(1), 300), (RoomId(9), 5)],
        removed_files: vec![file_id(1), file_id(2)],
        ..Batch::default()
    };
    for batch in [cluster(), long_history(1_000), removing] {
        sqlite.commit(batch.clone()).unwrap();
        memory.commit(batch.clone()).unwrap();
    }
    let all = EventRange { after: 0, before: u64::MAX, oldest_first: true, limit: 2_000, max_bytes: 1 << 20 };
    let check = |sqlite: &SqliteStorage| {
        let (theirs, ours) = (sqlite.reader().unwrap(), disk.reader());
        for events in [theirs.events(RoomId(1), &all).unwrap(), ours.events(RoomId(1), &all).unwrap()] {
            assert_eq!((events[0].seq, events.len()), (901, 100));
        }
        assert_eq!(theirs.chunk(file_id(1), 900).unwrap(), None);
        assert_eq!(ours.chunk(file_id(1), 900).unwrap(), None);
        assert_eq!(snapshot_of(&theirs), snapshot_of(&ours));
        assert_eq!(seen_by_searches(&theirs), seen_by_searches(&ours));
        assert_eq!(theirs.first_since(RoomId(1), 0).unwrap(), Some(901));
    };
    check(&sqlite);
    let content = snapshot_of(&disk.reader());
    let left = |table: &str| -> i64 {
        let connection = rusqlite::Connection::open(dir.path().join("syncnet.db")).unwrap();
        connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
    };
    assert!(left("event") > 100 && left("said") > 100 && left("chunk") > 0, "one commit wiped everything");
    for round in 0..70 {
        if round == 3 {
            // The rest is wiped after a restart.
            drop((sqlite, memory));
            (sqlite, memory) = open_both(dir.path(), &disk);
        }
        let batch = Batch { applied: Some(sqlite.load().unwrap().applied), ..Batch::default() };
        sqlite.commit(batch.clone()).unwrap();
        memory.commit(batch.clone()).unwrap();
        check(&sqlite);
    }
    assert_eq!((left("event"), left("chunk")), (100, 0));
    assert!(left("said") <= 100);
    assert!(snapshot_of(&disk.reader()) == content, "a snapshot depends on what is wiped already");

    // The room goes on, and an expiry that brings nothing is none.
    let mut generator = Generator::new(2);
    let more =
        Batch { events: vec![generator.event(0, 1_001)], expired: vec![(RoomId(1), 5)], ..Batch::default() };
    sqlite.commit(more.clone()).unwrap();
    memory.commit(more.clone()).unwrap();
    assert_eq!(sqlite.event(RoomId(1), 1_001).unwrap().unwrap().seq, 1_001);
    assert_eq!(seen(&sqlite, &sqlite.reader().unwrap()), seen(&memory, &disk.reader()));

    // Everything may expire, even events of the same batch.
    let none = Batch {
        events: vec![generator.event(0, 1_002)],
        expired: vec![(RoomId(1), 1_003)],
        ..Batch::default()
    };
    sqlite.commit(none.clone()).unwrap();
    memory.commit(none.clone()).unwrap();
    assert!(sqlite.reader().unwrap().events(RoomId(1), &all).unwrap().is_empty());
    assert_eq!(sqlite.reader().unwrap().first_since(RoomId(1), 0).unwrap(), None);
    assert_eq!(seen(&sqlite, &sqlite.reader().unwrap()), seen(&memory, &disk.reader()));
}

#[test]
fn what_is_removed_is_wiped_where_nothing_more_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let disk = MemoryDisk::new();
    let (mut sqlite, mut memory) = open_both(dir.path(), &disk);
    let removing =
        Batch { expired: vec![(RoomId(1), 901)], removed_files: vec![file_id(1)], ..Batch::default() };
    for batch in [cluster(), long_history(1_000), removing] {
        sqlite.commit(batch.clone()).unwrap();
        memory.commit(batch.clone()).unwrap();
    }
    // The commit that removed it has wiped some already.
    let first = 900 - sqlite.unwiped();
    assert!((1..100).contains(&first), "{first}");
    let mut steps = 0;
    while sqlite.unwiped() > 0 {
        let before = sqlite.unwiped();
        if steps % 5 == 0 {
            // A busy disk is left alone: what is committed to the state wipes by the way.
            let batch = Batch { applied: Some(sqlite.load().unwrap().applied), ..Batch::default() };
            sqlite.commit(batch.clone()).unwrap();
            memory.commit(batch.clone()).unwrap();
            let after = sqlite.unwiped();
            sqlite.wipe_if_idle().unwrap();
            memory.wipe_if_idle().unwrap();
            assert_eq!(sqlite.unwiped(), after);
        }
        sqlite.wipe_if_idle().unwrap();
        memory.wipe_if_idle().unwrap();
        assert!(sqlite.unwiped() < before, "nothing was wiped");
        assert_eq!(sqlite.unwiped(), memory.unwiped());
        steps += 1;
        if steps == 7 {
            let left = sqlite.unwiped();
            drop((sqlite, memory));
            (sqlite, memory) = open_both(dir.path(), &disk);
            assert_eq!((sqlite.unwiped(), memory.unwiped()), (left, left));
            sqlite.wipe_if_idle().unwrap();
            memory.wipe_if_idle().unwrap();
        }
    }
    assert_eq!(seen(&sqlite, &sqlite.reader().unwrap()), seen(&memory, &disk.reader()));
    for _ in 0..100 {
        sqlite.wipe_if_idle().unwrap();
        memory.wipe_if_idle().unwrap();
    }
    let connection = rusqlite::Connection::open(dir.path().join("syncnet.db")).unwrap();
    let rows = |text: &str| -> i64 { connection.query_row(text, [], |row| row.get(0)).unwrap() };
    assert_eq!(rows("SELECT count(*) FROM event"), 100);
    assert_eq!(rows("SELECT count(*) FROM chunk"), 0);
    assert_eq!(rows("SELECT (SELECT count(*) FROM floor) + (SELECT count(*) FROM doomed)"), 0);
}
