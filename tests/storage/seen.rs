//! What can be read from a storage, as text, so that two of them can be compared.

use std::{collections::BTreeSet, sync::Arc};

use syncnet::{
    disk::{EventRange, EventRow, Found, Hit, Loaded, Reader, RoomId, Search, Storage},
    protocol::{name::UserName, peer::LogEntry},
};

use crate::generator::file_id;

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

pub fn finish_index(storage: &mut impl Storage) {
    while storage.indexing().is_some() {
        storage.wipe_if_idle().unwrap();
    }
}

/// What searches find. Not a part of [`seen_data`], because the index has no checksums: if it is damaged,
/// messages may be missing here.
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
