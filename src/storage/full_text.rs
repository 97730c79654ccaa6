//! The index of searches: which words occur in which messages, kept by FTS5 in the same database and written
//! in the same transaction.
//!
//! ```text
//! said (lamport, room, seq, created_at_ms)    the place of the message, by its number among all messages
//! search (rowid = lamport, place, body, part) FTS5: `place` has a word for the room and one for the author,
//!                                              `body` the terms of the text, and `part` those shorter than
//!                                              its grams
//! era (number, oldest_ms, newest_ms)          when the messages of so many Lamport timestamps were created
//! ```
//!
//! **Newest first.** Lamport timestamps grow along the log, so the newest hits are the greatest row numbers,
//! and FTS5 walks its lists backwards from there: a word that occurs a million times costs as much as the
//! hits that are asked for. Room and author are words as well, so that FTS5 intersects their lists with those
//! of the text and skips all other messages.
//!
//! **Dates** do not follow the log: imported messages keep their old times under new Lamport timestamps, and
//! the clocks of two leaders differ. So for each [`ERA`] of Lamport timestamps the table has the times of its
//! oldest and newest message. A search for a date walks through the eras that may have a hit only, and
//! compares each message. It only walks through everything if the times are in complete disorder.
//!
//! **What is deleted is gone.** The index is contentless: it has the words of messages, and their texts are
//! in `event` alone. So it must be given the old text of a message to remove it. With `secure-delete` it then
//! takes each word's entry out of its pages; otherwise it would only add a note of the removal.
//!
//! **Bounded.** A search for two words that occur everywhere and never together would go through all
//! messages. So a search has a time limit, and says how far it got ([`Watch`]).
//!
//! **Derived.** Nothing of it has a checksum of ours. A hit is compared with the event it points to, and the
//! user's rights are checked on that event's room. The worst that damage can do is to hide a message from
//! searches.

use std::{
    collections::BTreeSet,
    fmt::Write,
    ops::Range,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use rusqlite::{Connection, ErrorCode, params};

use super::{
    bounds::{Totals, stored},
    indexing::Indexing,
    read,
    record::name,
    rows::{While, sql, write},
    search::is_wanted,
    tables::RawText,
};
use crate::{
    disk::{Found, Hit, RoomId, Search, StorageError},
    protocol::search::{Clause, Query, Terms, searchable, snippet},
};

/// `columnsize=0`: the length of each message would only serve a ranking. `prefix=3`: without it, a search
/// for a common beginning of three letters would read the list of each word. The tokenizer gets terms with
/// spaces between them and only splits them: it must not fold or drop a character of a term.
///
/// The times of an era only widen: they stay as they are if messages are removed.
const TABLES: &str = "
CREATE TABLE said (
    lamport INTEGER PRIMARY KEY, room INTEGER NOT NULL, seq INTEGER NOT NULL, created_at_ms INTEGER NOT NULL
) STRICT;
CREATE VIRTUAL TABLE search USING fts5 (
    place, body, part, content='', columnsize=0, tokenize=\"ascii tokenchars '#$%&+<=>@^`|~'\", prefix='3'
);
INSERT INTO search (search, rank) VALUES ('secure-delete', 1);
CREATE TABLE era (
    number INTEGER PRIMARY KEY, oldest_ms INTEGER NOT NULL, newest_ms INTEGER NOT NULL
) STRICT;
";
/// The tables of the index, to compare those that should be there with those that are.
pub(super) const TABLE_NAMES: &str = "name IN ('said', 'search', 'era') OR name GLOB 'search_*'";
/// Lamport timestamps of one era.
const ERA: i64 = 1_024;

/// How long one search may take.
pub(super) const SEARCH_TIME: Duration = Duration::from_millis(250);
/// Up to so many readable rooms FTS5 is told to look only there. Otherwise it looks everywhere, and hits in
/// other rooms are dropped: a user of so many rooms may read most of the hits.
const ROOMS_NAMED: usize = 64;
/// The clock is read after so many steps of SQLite's virtual machine. FTS5 takes a few for each page it
/// reads.
const STEPS: i32 = 16;

const INDEX: &str = "writing the index of searches";
const SEARCH: &str = "searching";

/// Interrupts a connection at a certain time.
#[derive(Debug, Default, Clone)]
pub(super) struct Watch(Arc<Mutex<Option<Instant>>>);

impl Watch {
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
    // No message has a greater Lamport timestamp.
    let Ok(lamport) = i64::try_from(text.lamport) else { return Ok(()) };
    let added = write(
        connection,
        "INSERT INTO said (lamport, room, seq, created_at_ms) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
        params![lamport, sql(text.room)?, sql(text.seq)?, sql(text.created_at_ms)?],
    )?;
    // No two messages have the same Lamport timestamp; if two had, one of them would be found.
    if added > 0 {
        write(
            connection,
            "INSERT INTO era (number, oldest_ms, newest_ms) VALUES (?1, ?2, ?2) ON CONFLICT DO UPDATE
             SET oldest_ms = min(oldest_ms, ?2), newest_ms = max(newest_ms, ?2)
             WHERE ?2 < oldest_ms OR ?2 > newest_ms",
            params![lamport / ERA, sql(text.created_at_ms)?],
        )?;
        connection
            .prepare_cached("INSERT INTO search (rowid, place, body, part) VALUES (?1, ?2, ?3, ?4)")
            .and_then(|mut statement| {
                let terms = Terms::of(&text.text);
                statement.execute(params![lamport, place(text), terms.joined(), terms.parts()])
            })
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
            .prepare_cached(
                "INSERT INTO search (search, rowid, place, body, part) VALUES ('delete', ?1, ?2, ?3, ?4)",
            )
            .and_then(|mut statement| {
                let terms = Terms::of(&text.text);
                statement.execute(params![lamport, place(text), terms.joined(), terms.parts()])
            })
            .during(INDEX)?;
    }
    Ok(())
}

pub(super) fn clear(connection: &Connection) -> Result<(), StorageError> {
    write(connection, "DELETE FROM said", [])?;
    write(connection, "DELETE FROM era", [])?;
    write(connection, "INSERT INTO search (search) VALUES ('delete-all')", [])?;
    Ok(())
}

/// Makes the tables of an empty index in place of those that are there.
pub(super) fn create(connection: &Connection) -> Result<(), StorageError> {
    let old = "DROP TABLE IF EXISTS said; DROP TABLE IF EXISTS search; DROP TABLE IF EXISTS era;";
    connection.execute_batch(old).and_then(|()| connection.execute_batch(TABLES)).during(INDEX)
}

/// Whether the tables of the index are there as [`create`] makes them.
pub(super) fn has_tables(connection: &Connection) -> Result<bool, StorageError> {
    let definitions = |connection: &Connection| -> rusqlite::Result<Vec<String>> {
        let text = format!("SELECT sql FROM sqlite_schema WHERE {TABLE_NAMES} ORDER BY name");
        connection.prepare(&text)?.query_map([], |row| row.get(0))?.collect()
    };
    let fresh = Connection::open_in_memory().during(INDEX)?;
    fresh.execute_batch(TABLES).during(INDEX)?;
    Ok(definitions(connection).during(INDEX)? == definitions(&fresh).during(INDEX)?)
}

/// The words for room and author.
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

    let indexing = match Indexing::read(connection)? {
        Some(indexing) => Some(indexing.progress(events(connection)?)),
        None => None,
    };
    let mut hits = Vec::with_capacity(places.len());
    for (lamport, room, seq) in places {
        let Some(row) = read::event(connection, RoomId(room), seq)? else { continue };
        let Some((said, text)) = searchable(row.json.get()) else { continue };
        if said == lamport {
            let snippet = snippet(&query, &text);
            hits.push(Hit { row, lamport, snippet });
        }
    }
    Ok(Found { hits, cut_at, indexing })
}

fn events(connection: &Connection) -> Result<u64, StorageError> {
    Ok(stored::<Totals>(connection, name::TOTALS)?.unwrap_or_default().events.rows)
}

/// The query for FTS5. `None` if there can be no hit.
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
    // Each clause is a string in the language of FTS5, in which only the quote has a meaning; and terms have
    // none.
    for (place, clause) in query.clauses().iter().enumerate() {
        expression.push_str(if place == 0 { "" } else { " AND " });
        match clause {
            Clause::Phrase { terms, begins } => {
                let star = if *begins { " *" } else { "" };
                write!(expression, "body : \"{}\"{star}", terms.join(" "))
            }
            Clause::Part(part) => write!(expression, "part : \"{part}\""),
        }
        .expect("a string takes all");
    }
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
    let mut places = Vec::new();
    let mut progress = Progress { seen_to: search.before_lamport.unwrap_or(u64::MAX) };
    let mut look = || -> rusqlite::Result<()> {
        // Messages that are removed and not wiped yet are skipped here, so that they do not count as hits.
        // The check that counts is made when the event is read.
        let mut statement = connection.prepare_cached(
            "SELECT said.lamport, said.room, said.seq, said.created_at_ms
             FROM search CROSS JOIN said ON said.lamport = search.rowid
             LEFT JOIN floor ON floor.room = said.room
             WHERE search MATCH ?1 AND search.rowid >= ?2 AND search.rowid < ?3
             AND said.seq >= coalesce(floor.below, 0) ORDER BY search.rowid DESC",
        )?;
        for span in spans(connection, search)? {
            let mut rows = statement.query(params![expression, span.start, span.end])?;
            while let Some(row) = rows.next()? {
                let number = |column| row.get::<_, i64>(column).map(|number| number.cast_unsigned());
                let text = RawText {
                    lamport: number(0)?,
                    room: number(1)?,
                    seq: number(2)?,
                    created_at_ms: number(3)?,
                    // FTS5 has checked the author.
                    author: search.author.as_ref().map_or(&[], |author| author.as_str().as_bytes()),
                    text: "".into(),
                };
                progress.passed(text.lamport, search.readable.contains(&RoomId(text.room)));
                if is_wanted(search, &text) {
                    places.push((text.lamport, text.room, text.seq));
                    if places.len() == search.limit {
                        return Ok(());
                    }
                }
            }
            progress.passed(span.start.cast_unsigned(), false);
        }
        Ok(())
    };
    watch.end_at(Some(Instant::now() + time));
    let looked = look();
    watch.end_at(None);
    match looked {
        Ok(()) => Ok(Places { places, cut_at: None }),
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) => {
            Ok(Places { places, cut_at: Some(progress.seen_to) })
        }
        Err(error) => Err(error).during(SEARCH),
    }
}

/// How far a search has come, as a number that the user may be told.
struct Progress {
    seen_to: u64,
}

impl Progress {
    /// The search, from the newest to the oldest, has come to this timestamp. That of a message that the user
    /// may not read would tell when such words were written elsewhere, so only its era is told.
    fn passed(&mut self, lamport: u64, is_readable: bool) {
        let era = ERA.cast_unsigned();
        let seen_to = if is_readable { lamport } else { lamport.div_ceil(era).saturating_mul(era) };
        self.seen_to = self.seen_to.min(seen_to);
    }
}

/// The ranges of Lamport timestamps that may have hits of a search, the newest first.
fn spans(connection: &Connection, search: &Search) -> rusqlite::Result<Vec<Range<i64>>> {
    let end = search.before_lamport.and_then(|before| before.try_into().ok()).unwrap_or(i64::MAX);
    let mut spans: Vec<Range<i64>> = Vec::new();
    if search.since_ms.is_none() && search.until_ms.is_none() {
        spans.push(0..end);
        return Ok(spans);
    }
    let bound = |at_ms: u64| i64::try_from(at_ms).unwrap_or(i64::MAX);
    let (since, until) = (search.since_ms.map_or(0, bound), search.until_ms.map_or(i64::MAX, bound));
    let mut statement = connection.prepare_cached(
        "SELECT number FROM era WHERE number <= ?1 AND newest_ms >= ?2 AND oldest_ms < ?3 ORDER BY number DESC",
    )?;
    let mut eras = statement.query([end / ERA, since, until])?;
    while let Some(era) = eras.next()? {
        let first = era.get::<_, i64>(0)?.saturating_mul(ERA);
        let behind = first.saturating_add(ERA).min(end);
        match spans.last_mut() {
            Some(last) if last.start == behind => last.start = first,
            _ => spans.push(first..behind),
        }
    }
    Ok(spans)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_far_a_search_came_names_no_message_that_may_not_be_read() {
        let mut progress = Progress { seen_to: 100_000 };
        let mut passed = |lamport, is_readable| {
            progress.passed(lamport, is_readable);
            progress.seen_to
        };
        assert_eq!(passed(99_990, false), 100_000, "the era begins below and ends above where it began");
        assert_eq!(passed(99_900, true), 99_900);
        assert_eq!(passed(99_800, false), 99_900);
        assert_eq!(passed(5_000, false), 5_120);
        assert_eq!(passed(4_097, false), 5_120);
        assert_eq!(passed(4_096, false), 4_096);
        assert_eq!(passed(u64::MAX, false), 4_096);
    }
}
