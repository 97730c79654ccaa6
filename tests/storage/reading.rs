//! What is read: entries by size, events by time.

use syncnet::{
    disk::{Batch, EventRow, Reader, RoomId, Storage},
    storage::{MemoryDisk, SqliteStorage},
};

use crate::{
    conformance::{NODE, open_both},
    generator::{Generator, server_id},
};

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
