//! Searches by the index: which of its messages match.
//!
//! **Bounded.** A search for two words that occur everywhere and never together would go through all
//! messages. So a search has a time limit, and says how far it got ([`Watch`]).

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
    full_text::{ERA, author_word, room_word},
    indexing::Indexing,
    read,
    record::{name, stored},
    search::is_wanted,
    statement::While,
    tables::RawText,
    totals::Totals,
};
use crate::{
    disk::{Found, Hit, RoomId, Search, StorageError},
    protocol::search::{Clause, Query, searchable, snippet},
};

/// How long one search may take.
pub(super) const SEARCH_TIME: Duration = Duration::from_millis(250);
/// Up to so many readable rooms FTS5 is told to look only there. Otherwise it looks everywhere, and hits in
/// other rooms are dropped: a user of so many rooms may read most of the hits.
const ROOMS_NAMED: usize = 64;
/// The clock is read after so many steps of SQLite's virtual machine. FTS5 takes a few for each page it
/// reads.
const STEPS: i32 = 16;

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
