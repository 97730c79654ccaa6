//! The same batches written to SQLite and to the memory twin must always read back the same.

use std::{collections::BTreeSet, io::Read, path::Path, sync::Arc};

use syncnet::{
    disk::{
        Batch, ChunkRow, EventRange, EventRow, Found, HardState, Hit, InstallError, Loaded, Reader, RoomId,
        Row, Search, Storage, StorageError,
    },
    protocol::{
        name::UserName,
        peer::{LogEntry, NodeId},
    },
    storage::{MemoryDisk, MemoryStorage, SqliteStorage},
};

use crate::generator::{Generator, Random, cluster, file_id, server_id};

const NODE: NodeId = NodeId(77);

/// Everything that can be read from a storage, as text, so that two can be compared.
pub fn seen(storage: &impl Storage, reader: &impl Reader) -> String {
    format!("{:?}\n{}", storage.load().unwrap().identity, seen_data(storage, reader))
}

/// What a power cut takes nothing from: the log behind `cut`, term and vote, what is remembered of other
/// servers.
pub fn seen_log(storage: &(impl Storage + ?Sized), cut: u64) -> String {
    whole_log(storage).behind(cut)
}

/// What a log has, to be compared behind a cut that is not known yet.
pub struct WholeLog {
    facts: String,
    entries: Vec<LogEntry>,
}

/// Everything that is in a log.
pub fn whole_log(storage: &(impl Storage + ?Sized)) -> WholeLog {
    let Loaded { hard_state, truncated, last, peer_marks, .. } = storage.load().unwrap();
    let entries = storage.entries(truncated.last_log_index + 1, last.last_log_index + 1, u64::MAX).unwrap();
    WholeLog { facts: format!("{} {:?} {last:?} {peer_marks:?}", hard_state.term, hard_state.vote), entries }
}

impl WholeLog {
    /// Without the entries up to `cut`.
    pub fn behind(&self, cut: u64) -> String {
        let entries: Vec<&LogEntry> = self.entries.iter().filter(|entry| entry.index > cut).collect();
        format!("{} {entries:?}", self.facts)
    }
}

/// What can be made anew from the log.
pub fn seen_state(storage: &impl Storage, reader: &impl Reader) -> String {
    let Loaded { identity, applied, rows, .. } = storage.load().unwrap();
    format!("{:?} {applied:?} {rows:?}\n{}", identity.cluster, seen_history(storage, reader))
}

/// The same without the identity, which counts how often it was opened.
pub fn seen_data(storage: &impl Storage, reader: &impl Reader) -> String {
    let Loaded { identity: _, hard_state, applied, truncated, tail, last, rows, peer_marks } =
        storage.load().unwrap();
    let entries = storage.entries(truncated.last_log_index + 1, last.last_log_index + 1, u64::MAX).unwrap();
    assert_eq!(entries, tail, "the tail is the end of the log");
    format!(
        "{hard_state:?}\n{applied:?}\n{truncated:?}\n{tail:?}\n{last:?}\n{rows:?}\n{peer_marks:?}\n{}",
        seen_history(storage, reader)
    )
}

/// Events and files.
fn seen_history(storage: &impl Storage, reader: &impl Reader) -> String {
    let mut text = String::new();
    for room in 1..=5 {
        for at_ms in (0..6).map(|number| 1_700_000_000_000 + number * 20_000_000) {
            text.push_str(&format!(
                "{room} {at_ms}: {:?}\n",
                reader.first_since(RoomId(room), at_ms).unwrap()
            ));
        }
        for seq in [0, 1, 7, u64::MAX] {
            let event = storage.event(RoomId(room), seq).unwrap();
            text.push_str(&format!("{room} {seq}: {}\n", events_text(event.as_slice())));
        }
        for range in ranges() {
            let events = reader.events(RoomId(room), &range).unwrap();
            text.push_str(&format!("{room} {range:?}: {}\n", events_text(&events)));
        }
    }
    for (file, number) in (0..40).flat_map(|file| (0..5).map(move |number| (file, number))) {
        if let Some(bytes) = reader.chunk(file_id(file), number).unwrap() {
            text.push_str(&format!("{file} {number}: {bytes:?}\n"));
        }
    }
    text
}

/// What searches find. Not a part of [`seen_data`], because the index has no checksums: if it is damaged,
/// messages may be missing here.
pub fn finish_index(storage: &mut impl Storage) {
    while storage.indexing().is_some() {
        storage.wipe_if_idle().unwrap();
    }
}

/// What searches find.
pub fn seen_by_searches(reader: &impl Reader) -> String {
    let everywhere: Arc<BTreeSet<RoomId>> = Arc::new((1..=5).map(RoomId).collect());
    let all = Search {
        query: String::new(),
        room: None,
        readable: everywhere,
        author: None,
        since_ms: None,
        until_ms: None,
        before_lamport: None,
        limit: 1_000,
    };
    let searches = [
        all.clone(),
        Search { limit: 3, ..all.clone() },
        Search { before_lamport: Some(60), limit: 2, ..all.clone() },
        Search { room: Some(RoomId(2)), ..all.clone() },
        Search { readable: Arc::new([RoomId(1), RoomId(3)].into()), ..all.clone() },
        Search {
            readable: Arc::new((1..200).filter(|room| *room != 2).map(RoomId).collect()),
            ..all.clone()
        },
        Search { readable: Arc::default(), ..all.clone() },
        Search { author: Some(UserName::new("c.d-e_f").unwrap().key()), ..all.clone() },
        Search { since_ms: Some(1_700_010_000_000), until_ms: Some(1_700_030_000_000), ..all },
    ];
    let mut text = String::new();
    for query in ["one", "ONE two", "\"one two\"", "on*", "FUNF x", "sechs-sieben", "four -x", "n", ""] {
        for search in &searches {
            let search = Search { query: query.to_owned(), ..search.clone() };
            // On a busy machine one may be ended because it took too long.
            let ended = |found: &Found| found.cut_at.is_none();
            let mut searches = std::iter::repeat_with(|| reader.search(&search).unwrap());
            let Found { hits, .. } = searches.find(ended).expect("it is repeated for ever");
            for Hit { row, lamport, snippet } in hits {
                assert!(search.readable.contains(&row.room));
                text.push_str(&format!("{query}: {lamport} {snippet} {}\n", events_text(&[row])));
            }
        }
    }
    text
}

fn ranges() -> Vec<EventRange> {
    let all = EventRange { after: 0, before: u64::MAX, oldest_first: true, limit: 1_000, max_bytes: 1 << 20 };
    vec![
        all.clone(),
        EventRange { oldest_first: false, limit: 3, ..all.clone() },
        EventRange { after: 2, limit: 3, ..all.clone() },
        EventRange { before: 5, oldest_first: false, limit: 2, ..all.clone() },
        EventRange { after: 1, before: 9, max_bytes: 100, ..all.clone() },
        EventRange { max_bytes: 0, oldest_first: false, ..all.clone() },
        EventRange { after: u64::MAX, ..all.clone() },
        EventRange { after: 7, before: 7, ..all.clone() },
        EventRange { limit: 0, ..all },
    ]
}

fn events_text(events: &[EventRow]) -> String {
    events
        .iter()
        .map(|event| {
            let EventRow { room, seq, index, created_at_ms, author, json } = event;
            format!("{room:?} {seq} {index} {created_at_ms} {author} {json};")
        })
        .collect()
}

pub fn snapshot_of(reader: &impl Reader) -> Vec<u8> {
    let mut bytes = Vec::new();
    reader.snapshot().unwrap().1.read_to_end(&mut bytes).unwrap();
    bytes
}

fn open_both(dir: &Path, disk: &MemoryDisk) -> (SqliteStorage, MemoryStorage) {
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
fn entries_are_given_up_to_a_size_and_never_across_the_cut() {
    let dir = tempfile::tempdir().unwrap();
    let disk = MemoryDisk::new();
    let (mut sqlite, mut memory) = open_both(dir.path(), &disk);
    let mut generator = Generator::new(3);
    for _ in 0..40 {
        let batch = generator.batch();
        sqlite.commit(batch.clone()).unwrap();
        memory.commit(batch.clone()).unwrap();
    }
    let loaded = sqlite.load().unwrap();
    let (low, high) = (loaded.truncated.last_log_index + 1, loaded.last.last_log_index + 1);
    assert!(high - low > 5, "the seed leaves some log");
    for max_bytes in [0, 1, 50, 200] {
        let entries = sqlite.entries(low, high, max_bytes).unwrap();
        assert_eq!(entries, memory.entries(low, high, max_bytes).unwrap());
        let bytes: u64 = entries.iter().map(|entry| entry.data.len() as u64).sum();
        assert!(entries.len() == 1 || bytes <= max_bytes, "{bytes} of {max_bytes}");
        assert_eq!(entries, loaded.tail[..entries.len()]);
    }
    assert_eq!(sqlite.entries(low + 1, low + 3, u64::MAX).unwrap(), loaded.tail[1..3]);
    if low > 1 {
        sqlite.entries(low - 1, high, u64::MAX).unwrap_err();
        memory.entries(low - 1, high, u64::MAX).unwrap_err();
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

#[test]
fn the_first_event_since_a_time_is_found_in_any_room() {
    let disk = MemoryDisk::new();
    let mut memory = disk.open(&server_id(), NODE).unwrap();
    let mut generator = Generator::new(1);
    let events: Vec<EventRow> = (1..=100)
        .map(|seq| EventRow { created_at_ms: 1_000 + seq / 3 * 10, ..generator.event(0, seq) })
        .collect();
    memory.commit(Batch { events: events.clone(), ..Batch::default() }).unwrap();
    let expired = Batch { expired: vec![(RoomId(1), 40)], ..Batch::default() };
    for first in [1, 40] {
        for at_ms in (0..1_400).step_by(7) {
            let found = disk.reader().first_since(RoomId(1), at_ms).unwrap();
            let expected = events.iter().find(|event| event.seq >= first && event.created_at_ms >= at_ms);
            assert_eq!(found, expected.map(|event| event.seq), "since {at_ms}");
        }
        memory.commit(expired.clone()).unwrap();
    }
    assert_eq!(disk.reader().first_since(RoomId(2), 0).unwrap(), None);
}

#[test]
fn the_first_event_since_a_time_is_found_though_a_clock_went_back() {
    let (dir, disk) = (tempfile::tempdir().unwrap(), MemoryDisk::new());
    let mut sqlite = SqliteStorage::open(dir.path(), &server_id(), NODE).unwrap();
    let mut memory = disk.open(&server_id(), NODE).unwrap();
    let mut generator = Generator::new(1);
    // Leaders whose clocks are ahead and behind, and a room that was imported: older than it says at first.
    let times = [100, 90, 110, 120, 400, 130, 140, 500, 510, 20, 520, 910, 515, 905, 1_000, 950];
    let events: Vec<EventRow> = (1..)
        .zip(times)
        .map(|(seq, created_at_ms)| EventRow { created_at_ms, ..generator.event(0, seq) })
        .collect();
    let edited = generator.event(0, 7).json;
    // In several batches, one of which replaces an event.
    for part in events.chunks(5) {
        let mut part = part.to_vec();
        let again = part.iter().find(|event| event.seq == 7).cloned();
        part.extend(again.map(|event| EventRow { json: edited.clone(), ..event }));
        let batch = Batch { events: part, ..Batch::default() };
        sqlite.commit(batch.clone()).unwrap();
        memory.commit(batch.clone()).unwrap();
    }
    let expired = Batch { expired: vec![(RoomId(1), 5)], ..Batch::default() };
    for first in [1, 5] {
        for at_ms in (0..1_100).step_by(5) {
            let expected =
                events.iter().find(|event| event.created_at_ms >= at_ms).map(|event| event.seq.max(first));
            for found in [
                sqlite.reader().unwrap().first_since(RoomId(1), at_ms).unwrap(),
                disk.reader().first_since(RoomId(1), at_ms).unwrap(),
            ] {
                assert_eq!(found, expected, "since {at_ms}, from {first}");
            }
        }
        sqlite.commit(expired.clone()).unwrap();
        memory.commit(expired.clone()).unwrap();
    }
}
