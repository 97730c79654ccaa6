//! The index of searches: which words occur in which messages, kept by FTS5 in the same database and written
//! in the same transaction.
//!
//! ```text
//! said (lamport, room, seq, created_at_ms)    where the message is, by its place among all messages
//! search (rowid = lamport, place, body)       FTS5: `place` has a word for the room and one for the author
//! ```
//!
//! **Newest first.** Lamport timestamps grow along the log, so the newest hits are the greatest row numbers,
//! and FTS5 walks its lists backwards from there: a word that occurs a million times costs as much as the hits
//! that are asked for. Room and author are words as well, so that FTS5 intersects their lists with those of
//! the text and leaps over what lies elsewhere.
//!
//! **What is deleted is gone.** The index is contentless: it has the words of messages, and their texts are in
//! `event` alone. So it must be told the old text of a message to remove it, and with `secure-delete` it then
//! takes each word's entry out of its pages, where it would only add a note about the removal otherwise.
//!
//! **Bounded.** Two words that both occur everywhere and never together can be followed for as long as there are
//! messages. A search has a time after which it ends and says how far it got ([`Watch`]).
//!
//! **Derived.** Nothing of it has a checksum of ours. What it says is compared with the event it points to, and
//! the rights of the asking user are checked on that event's room; the worst that damage can do is to hide a
//! message from searches.

use std::{
    collections::BTreeSet,
    fmt::Write,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use rusqlite::{Connection, ErrorCode, params};

use super::{
    read,
    record::{check_event, raw_text},
    rows::{While, sql, write},
    search::{Query, is_wanted, snippet},
    sweep::Sweep,
    tables::{RawText, Tables},
};
use crate::{
    protocol::searchable,
    replica::storage::{Found, Hit, RoomId, Search, StorageError},
};

/// `columnsize=0`: the length of each message would only serve a ranking.
pub(super) const TABLES: &str = "
CREATE TABLE said (
    lamport INTEGER PRIMARY KEY, room INTEGER NOT NULL, seq INTEGER NOT NULL, created_at_ms INTEGER NOT NULL
) STRICT;
CREATE VIRTUAL TABLE search USING fts5 (
    place, body, content='', columnsize=0, tokenize='unicode61 remove_diacritics 2'
);
INSERT INTO search (search, rank) VALUES ('secure-delete', 1);
";

/// How long one search may take.
pub(super) const SEARCH_TIME: Duration = Duration::from_millis(250);
/// Up to so many readable rooms FTS5 is told to look only there. Else it looks everywhere, and what is in
/// other rooms is passed over: who may read so many rooms may read most of what is found.
const ROOMS_NAMED: usize = 64;
/// How far the leaders' clocks may differ. Dates are looked for this much earlier and later, then exactly.
const CLOCKS_DIFFER_MS: u64 = 10 * 60 * 1000;
/// After so many steps of SQLite's machine the time is looked at. FTS5 takes a few for each page it reads.
const STEPS: i32 = 16;

const INDEX: &str = "writing the index of searches";
const SEARCH: &str = "searching";

/// Ends what a connection is doing at a certain time.
#[derive(Debug, Default, Clone)]
pub(super) struct Watch(Arc<Mutex<Option<Instant>>>);

impl Watch {
    /// Watches over a connection.
    pub fn over(connection: &mut Connection) -> Result<Watch, StorageError> {
        let watch = Watch::default();
        let end = watch.clone();
        let is_over = move || end.0.lock().is_some_and(|end| Instant::now() >= end);
        connection.progress_handler(STEPS, Some(is_over)).during("setting a limit for searches")?;
        Ok(watch)
    }

    fn end_at(&self, end: Option<Instant>) {
        *self.0.lock() = end;
    }
}

/// Lets a message be found.
pub(super) fn put(connection: &Connection, text: &RawText<'_>) -> Result<(), StorageError> {
    // Beyond this there is no Lamport timestamp of a message.
    let Ok(lamport) = i64::try_from(text.lamport) else { return Ok(()) };
    let added = write(
        connection,
        "INSERT INTO said (lamport, room, seq, created_at_ms) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
        params![lamport, sql(text.room)?, sql(text.seq)?, sql(text.created_at_ms)?],
    )?;
    // No two messages have the same Lamport timestamp; if they had, one would be found.
    if added > 0 {
        connection
            .prepare_cached("INSERT INTO search (rowid, place, body) VALUES (?1, ?2, ?3)")
            .and_then(|mut statement| statement.execute(params![lamport, place(text), text.text]))
            .during(INDEX)?;
    }
    Ok(())
}

/// Lets a message be found no more; it must be given as it was put.
pub(super) fn remove(connection: &Connection, text: &RawText<'_>) -> Result<(), StorageError> {
    let Ok(lamport) = i64::try_from(text.lamport) else { return Ok(()) };
    let removed = write(
        connection,
        "DELETE FROM said WHERE lamport = ?1 AND room = ?2 AND seq = ?3",
        params![lamport, sql(text.room)?, sql(text.seq)?],
    )?;
    if removed > 0 {
        connection
            .prepare_cached("INSERT INTO search (search, rowid, place, body) VALUES ('delete', ?1, ?2, ?3)")
            .and_then(|mut statement| statement.execute(params![lamport, place(text), text.text]))
            .during(INDEX)?;
    }
    Ok(())
}

/// Empties the index.
pub(super) fn clear(connection: &Connection) -> Result<(), StorageError> {
    write(connection, "DELETE FROM said", [])?;
    write(connection, "INSERT INTO search (search) VALUES ('delete-all')", [])?;
    Ok(())
}

/// Fills an empty index from the events.
pub(super) fn fill(connection: &Connection) -> Result<(), StorageError> {
    connection.all_events((0, 0), &mut |raw| {
        check_event(&raw)?;
        if let Some(text) = raw_text(&raw) {
            put(connection, &text)?;
        }
        Ok(true)
    })
}

/// The words for where and by whom.
fn place(text: &RawText<'_>) -> String {
    let mut place = room_word(text.room);
    place.push(' ');
    author_word(text.author, &mut place);
    place
}

fn room_word(room: u64) -> String {
    format!("r{room}")
}

/// In hex, because names have characters between which the tokenizer would see several words.
fn author_word(author: &[u8], into: &mut String) {
    into.push('u');
    for byte in author {
        write!(into, "{byte:02x}").expect("a string takes all");
    }
}

/// Searches, for as long as `time`.
pub(super) fn find(
    connection: &Connection,
    watch: &Watch,
    search: &Search,
    time: Duration,
) -> Result<Found, StorageError> {
    let Some(query) = Query::parse(&search.query) else { return Ok(Found::default()) };
    let Some(expression) = expression(&query, search).filter(|_| search.limit > 0) else {
        return Ok(Found::default());
    };
    let Places { places, cut_at } = places(connection, search, &expression, (watch, time))?;

    let mut hits = Vec::with_capacity(places.len());
    for (lamport, room, seq) in places {
        let Some(row) = read::event(connection, RoomId(room), seq)? else { continue };
        let Some((said, text)) = searchable(row.json.get()) else { continue };
        if said == lamport {
            let snippet = snippet(&query, &text);
            hits.push(Hit { row, lamport, snippet });
        }
    }
    Ok(Found { hits, cut_at })
}

/// What FTS5 is to look for. `None` where nothing may be found.
fn expression(query: &Query, search: &Search) -> Option<String> {
    let mut expression = String::new();
    let mut only_in = |rooms: &mut dyn Iterator<Item = RoomId>| {
        let words: Vec<String> = rooms.map(|room| format!("\"{}\"", room_word(room.0))).collect();
        expression = format!("place : ({}) AND ", words.join(" OR "));
    };
    let readable: &BTreeSet<RoomId> = &search.readable;
    match search.room {
        Some(room) if readable.contains(&room) => only_in(&mut [room].into_iter()),
        Some(_) => return None,
        None if readable.is_empty() => return None,
        None if readable.len() <= ROOMS_NAMED => only_in(&mut readable.iter().copied()),
        None => {}
    }
    if let Some(author) = &search.author {
        expression.push_str("place : ");
        author_word(author.as_str().as_bytes(), &mut expression);
        expression.push_str(" AND ");
    }
    write!(expression, "body : ({})", query.fts5()).expect("a string takes all");
    Some(expression)
}

/// Where hits are: Lamport timestamp, room, seq.
struct Places {
    places: Vec<(u64, u64, u64)>,
    cut_at: Option<u64>,
}

fn places(
    connection: &Connection,
    search: &Search,
    expression: &str,
    (watch, time): (&Watch, Duration),
) -> Result<Places, StorageError> {
    let sweep = Sweep::read(connection)?;
    let mut places = Vec::new();
    let mut seen_to = search.before_lamport.unwrap_or(u64::MAX);
    let mut look = || -> rusqlite::Result<()> {
        let late = |at_ms: u64| at_ms.saturating_add(CLOCKS_DIFFER_MS);
        let early = |at_ms: u64| at_ms.saturating_sub(CLOCKS_DIFFER_MS);
        let first = search.since_ms.map_or(Ok(0), |since| first_said(connection, early(since)))?;
        let end = search.until_ms.map_or(Ok(i64::MAX), |until| first_said(connection, late(until)))?;
        let end =
            end.min(search.before_lamport.and_then(|before| before.try_into().ok()).unwrap_or(i64::MAX));
        let mut statement = connection.prepare_cached(
            "SELECT said.lamport, said.room, said.seq, said.created_at_ms
             FROM search CROSS JOIN said ON said.lamport = search.rowid
             WHERE search MATCH ?1 AND search.rowid >= ?2 AND search.rowid < ?3 ORDER BY search.rowid DESC",
        )?;
        let mut rows = statement.query(params![expression, first, end])?;
        while places.len() < search.limit
            && let Some(row) = rows.next()?
        {
            let number = |column| row.get::<_, i64>(column).map(|number| number.cast_unsigned());
            let text = RawText {
                lamport: number(0)?,
                room: number(1)?,
                seq: number(2)?,
                created_at_ms: number(3)?,
                // FTS5 has seen to it.
                author: search.author.as_ref().map_or(&[], |author| author.as_str().as_bytes()),
                text: "".into(),
            };
            if is_wanted(search, &text) && text.seq >= sweep.floor(text.room) {
                places.push((text.lamport, text.room, text.seq));
            }
            seen_to = text.lamport;
        }
        Ok(())
    };
    watch.end_at(Some(Instant::now() + time));
    let looked = look();
    watch.end_at(None);
    match looked {
        Ok(()) => Ok(Places { places, cut_at: None }),
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) => {
            Ok(Places { places, cut_at: Some(seen_to) })
        }
        Err(error) => Err(error).during(SEARCH),
    }
}

/// The lowest Lamport timestamp of a message that was created at `at_ms` or later, found by bisection; above
/// all where there is none.
fn first_said(connection: &Connection, at_ms: u64) -> rusqlite::Result<i64> {
    let at_ms = i64::try_from(at_ms).unwrap_or(i64::MAX);
    let mut statement =
        connection.prepare_cached("SELECT lamport, created_at_ms FROM said WHERE lamport >= ?1 LIMIT 1")?;
    let (mut low, mut high) = (0, i64::MAX);
    while low < high {
        let middle = low + (high - low) / 2;
        let mut rows = statement.query([middle])?;
        match rows.next()? {
            Some(row) if row.get::<_, i64>(1)? < at_ms => low = row.get::<_, i64>(0)? + 1,
            _ => high = middle,
        }
    }
    Ok(low)
}
