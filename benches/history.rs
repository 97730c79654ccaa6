//! How long history and searches take in a room of a million messages, and what the index of searches costs.
//!
//! `cargo bench --bench history -- [MESSAGES] [FOLDER]`; it needs no cluster, and about 0.6 KB of disk for
//! each message in a folder of its own below FOLDER (or the system's folder for temporary files).

use std::{
    collections::BTreeSet,
    env,
    fmt::Write,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::value::RawValue;
use syncnet::{
    disk::{Applied, Batch, EventRange, EventRow, Reader, RoomId, Row, Search, Storage},
    protocol::{
        name::{ServerId, UserName},
        peer::{LogEntry, LogEntryKind, NodeId},
    },
    storage::{SqliteReader, SqliteStorage},
};

/// The room of all measurements.
const ROOM: RoomId = RoomId(1);
/// A room that may not be read. One of ten messages is in it.
const HIDDEN: RoomId = RoomId(2);
/// Different words that are used.
const WORDS: u64 = 50_000;
/// Each such message names a version and the hash of a commit.
const RELEASES: u64 = 20;
/// Log entries that stay when the log is cut.
const KEPT: u64 = 20_000;

/// Random numbers that depend on the seed alone (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// A word's number: as in a language, number n is used about 1/n as often as number 1.
    fn word(&mut self) -> u64 {
        let uniform = self.next() as f64 / u64::MAX as f64;
        ((WORDS as f64).powf(uniform) as u64 - 1).min(WORDS - 1)
    }
}

/// The word of a number: pronounceable, and longer for rare ones.
fn word(number: u64) -> String {
    const SYLLABLES: [&str; 16] =
        ["ba", "de", "fi", "go", "hu", "ka", "le", "mi", "no", "pu", "ra", "se", "ti", "vo", "wu", "zan"];
    let mut rest = number + 1;
    let mut word = String::new();
    while rest > 0 {
        word.push_str(SYLLABLES[(rest % 16) as usize]);
        rest /= 16;
    }
    word
}

/// A version, such as those that many releases have: `v1.24.3`.
fn version(number: u64) -> String {
    format!("v{}.{}.{}", number % 4, number % 60, number % 11)
}

/// The hash of a commit: eight hexadecimal digits.
fn hash(number: u64) -> String {
    format!("{:08x}", Random(number).next() as u32)
}

/// Writes messages as a replica does: log, event, state and applied index in one transaction.
struct Writer {
    storage: SqliteStorage,
    random: Random,
    index: u64,
    newest: [u64; 2],
}

impl Writer {
    fn open(folder: &Path) -> Writer {
        let server = ServerId::new("server1").expect("it is a name");
        let storage = SqliteStorage::open(folder, &server, NodeId(1)).expect("the folder is empty");
        Writer { storage, random: Random(1), index: 0, newest: [0; 2] }
    }

    fn event(&mut self, is_message: bool) -> EventRow {
        self.index += 1;
        let room = if self.index.is_multiple_of(10) { HIDDEN } else { ROOM };
        let newest = &mut self.newest[room.0 as usize - 1];
        *newest += 1;
        let seq = *newest;
        let mut body = String::new();
        if room == HIDDEN {
            body.push_str("hidden ");
        }
        // Never both in one message.
        body.push_str(["left ", "right "][(self.index / 2 % 2) as usize]);
        for _ in 0..3 + self.random.below(15) {
            write!(body, "{} ", word(self.random.word())).expect("a string takes all");
        }
        if self.index.is_multiple_of(RELEASES) {
            let number = self.index / RELEASES;
            write!(body, "released {} as {}", version(number), hash(number)).expect("a string takes all");
        }
        let author = format!("user{}", self.random.below(200));
        let created_at_ms = 1_700_000_000_000 + self.index * 500;
        // Other events are stored alike and not indexed: the difference is the cost of the index.
        let kind = if is_message { "message" } else { "notable" };
        let json = format!(
            r#"{{"room":"room{}","seq":{seq},"author":"{author}","lamport_timestamp":{},"created_at":{}.500,"kind":"{kind}","body":"{body}","client_msg_id":"{author}-{seq}"}}"#,
            room.0,
            self.index,
            created_at_ms / 1000
        );
        EventRow {
            room,
            seq,
            index: self.index,
            created_at_ms,
            author: UserName::new(&author).expect("it is a name").key(),
            json: Arc::from(RawValue::from_string(json).expect("it is JSON")),
        }
    }

    fn batch(&mut self, count: u64, is_message: bool) -> Batch {
        let events: Vec<EventRow> = (0..count).map(|_| self.event(is_message)).collect();
        let entry = |event: &EventRow| LogEntry {
            term: 1,
            index: event.index,
            kind: LogEntryKind::Command,
            data: event.json.get().as_bytes().to_vec(),
            opaque: vec![],
        };
        let row = |key: u8| Row { key: vec![16, key], value: Some(self.index.to_le_bytes().to_vec()) };
        Batch {
            entries: events.iter().map(entry).collect(),
            rows: (0..4).map(row).collect(),
            events,
            applied: Some(Applied { index: self.index, term: 1, ..Applied::default() }),
            compact_to: self.index.checked_sub(KEPT).filter(|to| to % (KEPT / 4) < count),
            ..Batch::default()
        }
    }

    /// Writes so many messages, so many in a transaction. Returns how long each commit took.
    fn write(&mut self, messages: u64, in_one: u64, is_message: bool) -> Vec<Taken> {
        let batches = messages / in_one;
        (0..batches)
            .map(|_| {
                let batch = self.batch(in_one, is_message);
                timed(|| self.storage.commit(batch.clone()).expect("the disk works"))
            })
            .collect()
    }
}

/// How long something took: on the clock, and of this thread on a processor. On a busy machine the first
/// depends on its other work.
#[derive(Clone, Copy)]
struct Taken {
    clock: Duration,
    processor: Duration,
}

fn timed<T>(action: impl FnOnce() -> T) -> Taken {
    let (begin, processor) = (Instant::now(), processor_time());
    std::hint::black_box(action());
    Taken { clock: begin.elapsed(), processor: processor_time().saturating_sub(processor) }
}

/// Of this thread; zero if the system does not tell.
fn processor_time() -> Duration {
    let times = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = times.split(' ').next().and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.unwrap_or(0))
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// Prints the median, the 99th percentile and the longest of the times.
fn report(what: &str, times: Vec<Taken>) {
    let shown = |of: fn(&Taken) -> Duration| {
        let mut times: Vec<Duration> = times.iter().map(of).collect();
        times.sort();
        let at = |part: f64| ms(times[((times.len() - 1) as f64 * part) as usize]);
        format!("{:7.2} {:7.2} {:8.2}", at(0.5), at(0.99), at(1.0))
    };
    println!("{what:72} {} | {}", shown(|taken| taken.clock), shown(|taken| taken.processor));
}

fn search(query: String) -> Search {
    Search {
        query,
        room: Some(ROOM),
        readable: Arc::new([ROOM].into()),
        author: None,
        since_ms: None,
        until_ms: None,
        before_lamport: None,
        limit: 20,
    }
}

fn search_many(what: &str, reader: &SqliteReader, mut next: impl FnMut() -> Search) {
    const SEARCHES: usize = 300;
    let (mut hits, mut cut) = (0, 0);
    let times = (0..SEARCHES)
        .map(|_| {
            let search = next();
            timed(|| {
                let found = reader.search(&search).expect("the disk works");
                hits += found.hits.len();
                cut += usize::from(found.cut_at.is_some());
            })
        })
        .collect();
    let cut = if cut > 0 { format!(", {cut} cut") } else { String::new() };
    report(&format!("search: {what} ({} hits each{cut})", hits / SEARCHES), times);
}

fn searches(reader: &SqliteReader, messages: u64) {
    let mut random = Random(7);
    let mut rare = || search(word(WORDS - 1 - random.below(WORDS / 2)));
    search_many("a rare word", reader, &mut rare);
    search_many("a rare word, in all of 1,000 rooms", reader, || {
        let readable: BTreeSet<RoomId> = (1..=1_000).map(RoomId).filter(|room| *room != HIDDEN).collect();
        Search { room: None, readable: Arc::new(readable), ..rare() }
    });
    let mut random = Random(8);
    search_many("a common word", reader, || search(word(random.below(20))));
    search_many("a common word, an old page of its hits", reader, || Search {
        before_lamport: Some(random.below(messages)),
        ..search(word(random.below(20)))
    });
    search_many("a common word, by one of 200 authors", reader, || Search {
        author: Some(UserName::new(&format!("user{}", random.below(200))).expect("it is a name").key()),
        ..search(word(random.below(20)))
    });
    search_many("a common word, of one day long ago", reader, || {
        let since = 1_700_000_000_000 + random.below(messages / 2 * 500 + 1);
        Search { since_ms: Some(since), until_ms: Some(since + 86_400_000), ..search(word(random.below(20))) }
    });
    search_many("two common words", reader, || {
        search(format!("{} {}", word(random.below(20)), word(random.below(20))))
    });
    search_many("a common and a less common word", reader, || {
        search(format!("{} {}", word(random.below(20)), word(1_000 + random.below(2_000))))
    });
    search_many("a common and a rare word", reader, || {
        search(format!("{} {}", word(random.below(20)), word(WORDS - 1 - random.below(WORDS / 2))))
    });
    search_many("a phrase of two common words", reader, || {
        search(format!("\"{} {}\"", word(random.below(20)), word(random.below(20))))
    });
    search_many("the beginning of a word, three letters", reader, || {
        search(format!("{}*", &(word(300 + random.below(200)) + "xx")[..3]))
    });
    search_many("the beginning of a word, five letters", reader, || {
        search(format!("{}*", &(word(300 + random.below(200)) + "xx")[..5]))
    });
    search_many("a version", reader, || search(version(random.below(10_000))));
    search_many("a version without its v", reader, || search(version(random.below(10_000))[1..].to_owned()));
    search_many("the hash of a commit", reader, || search(hash(random.below(messages / RELEASES))));
    search_many("the beginning of a hash", reader, || {
        search(format!("{}*", &hash(random.below(messages / RELEASES))[..7]))
    });
    search_many("two words of a million messages, never together", reader, || search("left right".into()));
    search_many("a word of 100,000 messages elsewhere", reader, || search("hidden".into()));
    search_many("the same, from a user who may read 1,000 rooms", reader, || {
        let readable: BTreeSet<RoomId> = (1..=1_000).map(RoomId).filter(|room| *room != HIDDEN).collect();
        Search { room: None, readable: Arc::new(readable), ..search("hidden".into()) }
    });
}

fn pages(reader: &SqliteReader, newest: u64) {
    let mut random = Random(9);
    let times = (0..3_000)
        .map(|_| {
            let before = 51 + random.below(newest - 50);
            let range = EventRange { after: 0, before, oldest_first: false, limit: 50, max_bytes: 1 << 20 };
            timed(|| assert_eq!(reader.events(ROOM, &range).expect("the disk works").len(), 50))
        })
        .collect();
    report("history: a page of 50 in any place", times);
    let times = (0..1_000)
        .map(|_| {
            let at_ms = 1_700_000_000_000 + random.below(newest * 500);
            timed(|| reader.first_since(ROOM, at_ms).expect("the disk works"))
        })
        .collect();
    report("history: jump to a date", times);
}

/// What the index costs: the same events, once as messages and once as events that are not indexed.
fn costs(folder: &Path) {
    for in_one in [1, 10, 200] {
        let count = (in_one * 400).max(2_000);
        let mut per_message = Vec::new();
        for is_message in [false, true] {
            let dir = tempfile::tempdir_in(folder).expect("the folder can be written");
            let mut writer = Writer::open(dir.path());
            writer.write(count, in_one, is_message);
            let times = writer.write(count, in_one, is_message);
            let processor: Duration = times.iter().map(|taken| taken.processor).sum();
            per_message.push(ms(processor) * 1000.0 / count as f64);
            let what = if is_message { "with" } else { "without" };
            report(&format!("write: {in_one} in a transaction, {what} the index"), times);
        }
        println!(
            "{:72} {:.1} µs of processor without, {:.1} with the index",
            "  each message", per_message[0], per_message[1]
        );
    }
}

fn removals(writer: &mut Writer) {
    let mut random = Random(10);
    let newest = writer.newest[0];
    let reader = writer.storage.reader().expect("the disk works");
    let mut edit = |writer: &mut Writer| {
        let seq = 1 + random.below(newest);
        let range =
            EventRange { after: seq - 1, before: seq + 1, oldest_first: true, limit: 1, max_bytes: 1 << 20 };
        let mut row = reader.events(ROOM, &range).expect("the disk works").remove(0);
        let edited = row.json.get().replace("\"body\":\"", "\"body\":\"edited ");
        row.json = Arc::from(RawValue::from_string(edited).expect("it is JSON"));
        let batch = Batch { events: vec![row], ..Batch::default() };
        timed(|| writer.storage.commit(batch.clone()).expect("the disk works"))
    };
    let times = (0..300).map(|_| edit(writer)).collect();
    report("write: one edit in any place, alone in its transaction", times);
    let expired = Batch { expired: vec![(ROOM, newest / 10)], ..Batch::default() };
    let mut times = vec![timed(|| writer.storage.commit(expired.clone()).expect("the disk works"))];
    times.extend(writer.write(300, 1, true));
    report("write: one message and a slice of expired ones", times);
}

fn main() {
    // cargo hands over `--bench` as well.
    let mut args = env::args().skip(1).filter(|arg| !arg.starts_with("--"));
    let messages: u64 = args.next().map_or(1_000_000, |count| count.parse().expect("MESSAGES is a number"));
    let folder = args.next().map_or(env::temp_dir(), Into::into);
    println!("{:72} {:^24} | {:^24}", "", "clock: p50 p99 max, ms", "processor: p50 p99 max, ms");
    costs(&folder);

    let dir = tempfile::tempdir_in(&folder).expect("the folder can be written");
    let mut writer = Writer::open(dir.path());
    let begin = Instant::now();
    let times = writer.write(messages, 200.min(messages), true);
    report(&format!("write: {messages} messages, 200 in a transaction"), times);
    println!("{:72} {:.1} s", "  all of them", begin.elapsed().as_secs_f64());
    let bytes = std::fs::metadata(dir.path().join("syncnet.db")).map_or(0, |file| file.len());
    println!("{:72} {:.1} MB", "  the database", bytes as f64 / 1e6);
    let reader = writer.storage.reader().expect("the disk works");
    pages(&reader, writer.newest[0]);
    searches(&reader, messages);
    removals(&mut writer);
    let begin = Instant::now();
    let mut content = reader.snapshot();
    if let Ok((_, content)) = &mut content {
        std::io::copy(content, &mut std::io::sink()).expect("the disk works");
        println!("{:72} {:.1} s", "snapshot: reading all of it", begin.elapsed().as_secs_f64());
    }
}
