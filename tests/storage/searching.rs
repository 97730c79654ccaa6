//! Searches, on both storages: what is found, what is not, and that no query does harm.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use serde_json::{json, value::to_raw_value};
use syncnet::{
    disk::{Batch, EventRow, Found, Reader, RoomId, Search, Storage},
    protocol::{
        name::{UserKey, UserName},
        peer::NodeId,
        search::TERMS_MAX,
    },
    storage::{MemoryDisk, MemoryStorage, SqliteReader, SqliteStorage},
};

use crate::{
    generator::{Random, put_meta, server_id},
    seen::finish_index,
};

const NODE: NodeId = NodeId(5);
const NOTHING: [u64; 0] = [];
/// Messages come a minute after one another.
const MINUTE_MS: u64 = 60_000;

fn user(name: &str) -> UserKey {
    UserName::new(name).unwrap().key()
}

/// A message; its Lamport timestamp says when it was written as well.
fn message(room: u64, seq: u64, author: &str, lamport: u64, body: &str) -> EventRow {
    message_of(room, seq, author, lamport, lamport * MINUTE_MS, body)
}

fn message_of(room: u64, seq: u64, author: &str, lamport: u64, created_at_ms: u64, body: &str) -> EventRow {
    let event = json!({
        "room": format!("room{room}"), "seq": seq, "author": author, "lamport_timestamp": lamport,
        "created_at": created_at_ms as f64 / 1000.0, "kind": "message", "body": body, "client_msg_id": "c",
    });
    let json = Arc::from(to_raw_value(&event).unwrap());
    EventRow { room: RoomId(room), seq, index: lamport, created_at_ms, author: user(author), json }
}

/// Both storages with the same in them.
struct Both {
    dir: tempfile::TempDir,
    sqlite: SqliteStorage,
    theirs: SqliteReader,
    disk: MemoryDisk,
    memory: MemoryStorage,
}

impl Both {
    fn new(events: Vec<EventRow>) -> Both {
        let dir = tempfile::tempdir().unwrap();
        let sqlite = SqliteStorage::open(dir.path(), &server_id(), NODE).unwrap();
        let theirs = sqlite.reader().unwrap();
        let disk = MemoryDisk::new();
        let memory = disk.open(&server_id(), NODE).unwrap();
        let mut both = Both { dir, sqlite, theirs, disk, memory };
        both.commit(Batch { events, ..Batch::default() });
        both
    }

    fn commit(&mut self, batch: Batch) {
        self.sqlite.commit(batch.clone()).unwrap();
        self.memory.commit(batch).unwrap();
    }

    /// The Lamport timestamps and snippets of what both find.
    fn find(&self, search: &Search) -> Vec<(u64, String)> {
        let text = |Found { hits, cut_at, .. }: Found| {
            assert_eq!(cut_at, None);
            hits.into_iter().map(|hit| (hit.lamport, hit.snippet)).collect::<Vec<_>>()
        };
        let found = text(self.theirs.search_within(search, Duration::from_secs(60)).unwrap());
        assert_eq!(found, text(self.disk.reader().search(search).unwrap()), "{search:?}");
        found
    }

    fn lamports(&self, search: &Search) -> Vec<u64> {
        self.find(search).into_iter().map(|(lamport, _)| lamport).collect()
    }
}

fn rooms(rooms: impl IntoIterator<Item = u64>) -> Arc<BTreeSet<RoomId>> {
    Arc::new(rooms.into_iter().map(RoomId).collect())
}

/// A search for `query` in rooms 1 to 3.
fn search(query: &str) -> Search {
    Search {
        query: query.to_owned(),
        room: None,
        readable: rooms(1..=3),
        author: None,
        since_ms: None,
        until_ms: None,
        before_lamport: None,
        limit: 100,
    }
}

#[test]
fn words_phrases_and_beginnings_are_found_newest_first() {
    let both = Both::new(vec![
        message(1, 1, "alice", 10, "The quick brown fox"),
        message(2, 1, "bob", 20, "a brown QUICK thing, said Zoë"),
        message(1, 2, "bob", 30, "quickly; fox-trot isn't for me"),
        message(3, 1, "carol", 40, "日本語 текст ΑΒΓ"),
    ]);
    let lamports = |query: &str| both.lamports(&search(query));
    assert_eq!(lamports("quick"), [20, 10]);
    assert_eq!(lamports("brown quick"), [20, 10]);
    assert_eq!(lamports("\"quick brown\""), [10]);
    assert_eq!(lamports("quick*"), [30, 20, 10]);
    assert_eq!(lamports("\"brown qui\"*"), [20]);
    assert_eq!(lamports("zoe"), [20]);
    assert_eq!(lamports("ZOË"), [20]);
    assert_eq!(lamports("fox-trot"), [30]);
    assert_eq!(lamports("isn't"), [30]);
    assert_eq!(lamports("fox"), [30, 10]);
    assert_eq!(lamports("ТЕКСТ"), [40]);
    assert_eq!(lamports("αβγ 日本*"), [40]);
    assert_eq!(lamports("quick missing"), NOTHING);
    // Neither the names of rooms and authors nor the index's own words for them are a part of the text.
    for query in ["alice", "room1", "r1", "u616c696365", "place", "body", "message"] {
        assert_eq!(lamports(query), NOTHING, "{query}");
    }
    assert_eq!(both.find(&search("quick brown"))[1].1, "The **quick brown** fox");
}

#[test]
fn case_accents_and_the_form_of_letters_do_not_count_in_any_script() {
    let pairs = [
        ("Łódź", "lodz"),
        ("Hauptstraße 5", "HAUPTSTRASSE"),
        ("smørrebrød", "smorrebrod"),
        ("ОБЪЁМ", "объем"),
        ("Ψυχή ΟΔΌΣ", "ψυχη οδοσ"),
        ("İstanbul", "istanbul"),
        ("שָׁלוֹם", "שלום"),
        ("مُحَمَّد", "محمد"),
        ("Nguyễn Đức", "nguyen duc"),
        ("ﬁnal ①", "final 1"),
        ("ｆｕｌｌ", "full"),
        ("co\u{ad}operate", "cooperate"),
        ("日本語の文章です", "本語の文"),
        ("日本語の文章です", "章"),
        ("東京タワー", "タワ"),
        ("ﾄｳｷｮｳ", "トウキョウ"),
        ("학교에서 만나요", "학교"),
        ("ภาษาไทยง่ายมาก", "ไทย"),
        ("ภาษาไทยง่ายมาก", "งาย"),
        ("ພາສາລາວ", "ລາວ"),
        ("ភាសាខ្មែរ", "ខ្មែរ"),
        ("မြန်မာဘာသာ", "ဘာသာ"),
        ("ꦧꦱꦗꦮ", "ꦗꦮ"),
        ("ᬪᬵᬱᬩᬮᬶ", "ᬩᬮᬶ"),
        ("ᨣᩴᩣᨾᩮᩬᩥᨦ", "ᨾᩮᩬᩥᨦ"),
        ("ꆈꌠꁱꂷ", "ꌠꁱ"),
        ("ship it 🚀🎉", "🎉"),
        ("👍🏽", "👍"),
        ("❤\u{fe0f} it", "❤"),
        ("a → b", "→"),
        ("5 € or $6", "€"),
        ("C++ or C#", "c++"),
        ("50%", "50%"),
    ];
    let both =
        Both::new(pairs.iter().zip(1..).map(|((text, _), n)| message(1, n, "alice", n, text)).collect());
    for ((text, typed), lamport) in pairs.iter().zip(1_u64..) {
        let found = both.find(&search(typed));
        let hit = found.iter().find(|(found, _)| *found == lamport);
        let hit = hit.unwrap_or_else(|| panic!("{typed:?} does not find {text:?} but {found:?}"));
        assert!(hit.1.contains("**"), "{hit:?}");
        // The whole text finds the message, too.
        assert!(both.lamports(&search(text)).contains(&lamport), "{text}");
    }
    assert_eq!(both.lamports(&search("日本の")), NOTHING);
    assert_eq!(both.lamports(&search("c+++")), NOTHING);
}

/// The index is made anew if its version is another one, while everything else goes on.
#[test]
fn an_index_of_another_version_is_made_anew_beside_the_rest() {
    let mut both =
        Both::new((1..=400).map(|n| message(n % 3 + 1, n / 3 + 1, "alice", n, "old word")).collect());
    let path = both.dir.path().to_owned();
    for restart in [false, true] {
        let Both { sqlite, theirs, dir, disk, memory } = both;
        drop((sqlite, theirs));
        let database = rusqlite::Connection::open(path.join("syncnet.db")).unwrap();
        if restart {
            put_meta(&database, "index", &(0_u32, 0_u64, None::<(u64, u64)>));
            database.execute_batch("DROP TABLE era; DROP TABLE search").unwrap();
        } else {
            database.execute_batch("DELETE FROM meta WHERE name = 'index'").unwrap();
        }
        drop(database);
        let sqlite = SqliteStorage::open(&path, &server_id(), NODE).unwrap();
        let theirs = sqlite.reader().unwrap();
        both = Both { dir, sqlite, theirs, disk, memory };
        assert_eq!(both.sqlite.indexing().map(|progress| progress.done), Some(0));
        let new = if restart { 600 } else { 500 };
        both.commit(Batch {
            events: vec![
                message(3, new, "alice", new, "new word"),
                // Edited before it is indexed, and deleted.
                message(3, 20, "alice", 59, "edited word"),
                message(3, 21, "alice", 62, ""),
            ],
            ..Batch::default()
        });
        let found = both.theirs.search(&search("word")).unwrap();
        assert!(found.hits.len() < 50 && found.hits[0].lamport == new, "what is said now is found at once");
        let progress = found.indexing.unwrap();
        assert!(progress.done >= 16 && progress.total > 300, "{progress:?}");
        assert_eq!(Some(progress), both.sqlite.indexing());
        // A restart goes on where it was.
        let Both { sqlite, theirs, dir, disk, memory } = both;
        drop((sqlite, theirs));
        let sqlite = SqliteStorage::open(&path, &server_id(), NODE).unwrap();
        assert_eq!(Some(progress), sqlite.indexing());
        let theirs = sqlite.reader().unwrap();
        both = Both { dir, sqlite, theirs, disk, memory };
        both.commit(Batch { expired: vec![(RoomId(1), 40)], ..Batch::default() });
        finish_index(&mut both.sqlite);
        let mut all = search("word");
        all.limit = 1_000;
        assert_eq!(both.theirs.search(&all).unwrap().indexing, None);
        assert!(both.lamports(&all).len() > 300);
        assert_eq!(both.lamports(&search("edited")), [59]);
    }
}

#[test]
fn room_author_date_and_page_narrow_a_search() {
    let names = ["alice", "bob", "c.d-e_f"];
    let both = Both::new(
        (1..=90).map(|n| message(1 + n % 3, n / 3 + 1, names[n as usize / 3 % 3], n, "word")).collect(),
    );
    let all: Vec<u64> = (1..=90).rev().collect();
    assert_eq!(both.lamports(&search("word")), all);
    let in_room = Search { room: Some(RoomId(2)), ..search("word") };
    let expected = |fits: &dyn Fn(u64) -> bool| all.iter().copied().filter(|n| fits(*n)).collect::<Vec<_>>();
    assert_eq!(both.lamports(&in_room), expected(&|n| n % 3 == 1));
    let by = Search { author: Some(user("C.D-E_F")), ..search("word") };
    assert_eq!(both.lamports(&by), expected(&|n| n / 3 % 3 == 2));
    let dated = Search { since_ms: Some(20 * MINUTE_MS), until_ms: Some(70 * MINUTE_MS), ..search("word") };
    assert_eq!(both.lamports(&dated), expected(&|n| (20..70).contains(&n)));
    let everything = Search { before_lamport: Some(50), ..Search { room: Some(RoomId(2)), ..dated.clone() } };
    assert_eq!(both.lamports(&everything), expected(&|n| (20..50).contains(&n) && n % 3 == 1));
    for odd in [0, 1, u64::MAX] {
        both.find(&Search { since_ms: Some(odd), ..search("word") });
        both.find(&Search { until_ms: Some(odd), ..search("word") });
        both.find(&Search { before_lamport: Some(odd), ..search("word") });
    }
    // Page by page.
    let mut pages = Vec::new();
    let mut page = Search { limit: 7, ..search("word") };
    loop {
        let found = both.lamports(&page);
        let Some(last) = found.last() else { break };
        page.before_lamport = Some(*last);
        pages.extend(found);
    }
    assert_eq!(pages, all);
    assert_eq!(both.lamports(&Search { limit: 0, ..search("word") }), NOTHING);
}

/// Imported messages keep their old times under new Lamport timestamps, and a clock may be set back.
#[test]
fn a_date_is_found_in_any_order_of_times() {
    let mut random = Random(4);
    let mut events = Vec::new();
    let (mut lamport, mut clock) = (0, 50_000);
    for part in 0..14 {
        // Parts that grow, that are of long ago, that are set back, in disorder, and of one moment.
        let mut minute = match part % 5 {
            0 => clock,
            1 => random.below(40_000),
            2 => clock - 3_000,
            _ => random.below(80_000),
        };
        for _ in 0..100 + random.below(300) {
            lamport += 1 + random.below(4);
            minute += random.below(4);
            let at = if part % 5 == 3 { random.below(80_000) } else { minute };
            let number = events.len() as u64;
            let (room, seq) = (1 + number % 3, number / 3 + 1);
            let body = if random.one_in(3) { "word other" } else { "word" };
            events.push(message_of(room, seq, "alice", lamport, at * MINUTE_MS, body));
        }
        clock = clock.max(minute);
    }
    // Some are given another text later.
    let edited: Vec<EventRow> = (0..200)
        .map(|_| {
            let mut event = events[random.below(events.len() as u64) as usize].clone();
            let text = event.json.get().replace("word", "edited");
            event.json = Arc::from(serde_json::value::RawValue::from_string(text).unwrap());
            event
        })
        .collect();
    let mut both = Both::new(events);
    both.commit(Batch { events: edited, ..Batch::default() });
    // Of some rooms the beginning is removed and only partly wiped.
    both.commit(Batch { expired: vec![(RoomId(1), 200), (RoomId(2), 100)], ..Batch::default() });
    let mut found = 0;
    for round in 0..90 {
        let since = random.below(80_000) * MINUTE_MS;
        let magnitude = random.below(17);
        let until = since + random.below(1 << magnitude) * MINUTE_MS;
        let asked = Search {
            since_ms: (round % 3 != 0).then_some(since),
            until_ms: (round % 4 != 0).then_some(until),
            before_lamport: random.one_in(3).then(|| random.below(lamport)),
            room: random.one_in(3).then_some(RoomId(2)),
            limit: [1, 20, 10_000][random.below(3) as usize],
            ..search(["word", "other", "edited"][round % 3])
        };
        found += both.lamports(&asked).len();
    }
    assert!(found > 1_000, "{found}");
}

#[test]
fn nothing_is_found_in_rooms_that_may_not_be_read() {
    let both = Both::new((1..=300).map(|n| message(n, 1, "alice", n, "secret")).collect());
    for readable in [rooms([]), rooms([7]), rooms([400]), rooms(100..=140), rooms((1..=300).step_by(2))] {
        let asked = Search { readable: readable.clone(), limit: 1_000, ..search("secret") };
        let found = both.lamports(&asked);
        assert!(found.iter().all(|n| readable.contains(&RoomId(*n))));
        assert_eq!(found.len(), readable.iter().filter(|room| room.0 <= 300).count());
        for room in [7, 8, 120, 400] {
            let asked = Search { room: Some(RoomId(room)), ..asked.clone() };
            assert_eq!(
                both.lamports(&asked).len(),
                usize::from(readable.contains(&RoomId(room)) && room <= 300)
            );
        }
    }
}

#[test]
fn an_edited_message_is_found_by_its_new_text_and_a_deleted_one_not_at_all() {
    let mut both = Both::new((1..=50).map(|n| message(1, n, "alice", n, &format!("old word{n}"))).collect());
    let events = vec![
        message(1, 10, "alice", 10, "new word10"),
        message(1, 20, "alice", 20, ""),
        message(1, 51, "alice", 51, "newest"),
        // Twice in one batch.
        message(1, 30, "alice", 30, "draft"),
        message(1, 30, "alice", 30, "new word30"),
        // Made and changed in one batch, among others of another room.
        message(2, 1, "bob", 52, "first form"),
        message(1, 52, "alice", 53, "between"),
        message(2, 2, "bob", 54, "behind"),
        message(2, 1, "bob", 52, "last form"),
    ];
    both.commit(Batch { events, ..Batch::default() });
    assert_eq!(both.lamports(&search("form")), [52]);
    assert_eq!(both.lamports(&search("first")), NOTHING);
    assert_eq!(both.lamports(&search("last form")), [52]);
    assert_eq!(both.lamports(&search("between")), [53]);
    assert_eq!(both.lamports(&search("behind")), [54]);
    assert_eq!(both.lamports(&search("new")), [30, 10]);
    assert_eq!(both.lamports(&search("old")).len(), 47);
    assert_eq!(both.lamports(&search("draft")), NOTHING);
    assert_eq!(both.lamports(&search("word20")), NOTHING);
    assert_eq!(both.lamports(&search("word30")), [30]);
    assert_eq!(both.lamports(&search("newest")), [51]);
    // Written again unchanged, as after a reaction.
    both.commit(Batch { events: vec![message(1, 10, "alice", 10, "new word10")], ..Batch::default() });
    assert_eq!(both.lamports(&search("new")), [30, 10]);
}

#[test]
fn whatever_is_typed_is_no_error_and_no_operator() {
    let both = Both::new(vec![
        message(1, 1, "alice", 1, "alpha beta and or not near gamma"),
        message(2, 1, "bob", 2, "beta body place"),
    ]);
    let lamports = |query: &str| both.lamports(&search(query));
    assert_eq!(lamports("alpha OR place"), NOTHING);
    assert_eq!(lamports("alpha OR"), [1]);
    assert_eq!(lamports("beta NOT alpha"), [1]);
    assert_eq!(lamports("NEAR(alpha beta)"), NOTHING);
    assert_eq!(lamports("NEAR (alpha beta, 2)"), NOTHING);
    assert_eq!(lamports("NEAR (alpha beta)"), [1]);
    assert_eq!(lamports("body:beta"), NOTHING);
    assert_eq!(lamports("{body} : beta"), [2]);
    assert_eq!(lamports("-alpha"), [1]);
    assert_eq!(lamports("alpha - beta"), [1]);
    // Symbols can be looked for, and these messages have none.
    assert_eq!(lamports("^beta"), NOTHING);
    assert_eq!(lamports("alpha + beta"), NOTHING);
    for nothing in ["", " ", "\"", "\"\"", "*", "()", "\0", "\u{301}", ":", "\" \" *", "'", "-- ;"] {
        assert_eq!(lamports(nothing), NOTHING, "{nothing:?}");
    }
    let parts = [
        "\"", "'", "*", "(", ")", "{", "}", ":", "^", "+", "-", " ", "\0", "\n", "alpha", "beta", "AND",
        "OR", "NOT", "NEAR", "/", "\\", "body", "place", "\u{301}", "é", "\u{e000}", "\u{feff}", "\u{202e}",
        "🦀", ",", "r1",
    ];
    let mut random = Random(1);
    for _ in 0..3_000 {
        let count = random.below(12);
        let typed: String = (0..count).map(|_| parts[random.below(parts.len() as u64) as usize]).collect();
        for found in both.theirs.search(&search(&typed)).unwrap().hits {
            assert!(found.lamport <= 2);
        }
    }
    for long in [
        "a ".repeat(100_000),
        "a".repeat(100_000),
        format!("\"{}", "a ".repeat(100_000)),
        "\"*".repeat(9_999),
    ] {
        both.theirs.search(&search(&long)).unwrap();
    }
    let many: String = (0..TERMS_MAX).map(|_| "alpha ").chain(["missing"]).collect();
    assert_eq!(lamports(&many), [1]);
}

#[test]
fn a_search_that_takes_too_long_says_how_far_it_came() {
    let words = ["left", "right"];
    // Never both, and more than is read in one step.
    let events = (1..=6_000).map(|n| message(1, n, "alice", n, words[n as usize % 2])).collect();
    let both = Both::new(events);
    let Found { hits, cut_at, .. } =
        both.theirs.search_within(&search("left right"), Duration::ZERO).unwrap();
    assert_eq!((hits.len(), cut_at), (0, Some(u64::MAX)));
    let going_on = Search { before_lamport: Some(3_000), ..search("left right") };
    let Found { hits, cut_at, .. } = both.theirs.search_within(&going_on, Duration::ZERO).unwrap();
    assert_eq!((hits.len(), cut_at), (0, Some(3_000)));
    // The reader still works.
    assert_eq!(both.lamports(&search("left right")), NOTHING);
    assert_eq!(both.lamports(&search("right")).len(), 100);
}
