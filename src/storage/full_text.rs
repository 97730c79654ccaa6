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
//! **Derived.** Nothing of it has a checksum of ours. A hit is compared with the event it points to, and the
//! user's rights are checked on that event's room. The worst that damage can do is to hide a message from
//! searches.

use std::collections::BTreeMap;

use data_encoding::HEXLOWER;
use rusqlite::{Connection, params};

use super::{
    statement::{While, sql, write},
    tables::RawText,
};
use crate::{disk::StorageError, protocol::search::Terms};

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
pub(super) const ERA: i64 = 1_024;

const INDEX: &str = "writing the index of searches";

/// Lets messages be found. In the order of their Lamport timestamps they cost least: then the index grows at
/// its end.
pub(super) fn put(connection: &Connection, texts: &[RawText<'_>]) -> Result<(), StorageError> {
    let mut eras: BTreeMap<i64, (i64, i64)> = BTreeMap::new();
    for text in texts {
        // No message has a greater Lamport timestamp.
        let Ok(lamport) = i64::try_from(text.lamport) else { continue };
        let created_at_ms = sql(text.created_at_ms)?;
        let added = write(
            connection,
            "INSERT INTO said (lamport, room, seq, created_at_ms) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT DO NOTHING",
            params![lamport, sql(text.room)?, sql(text.seq)?, created_at_ms],
        )?;
        // No two messages have the same Lamport timestamp; if two had, one of them would be found.
        if added > 0 {
            let (oldest, newest) = eras.entry(lamport / ERA).or_insert((created_at_ms, created_at_ms));
            (*oldest, *newest) = (created_at_ms.min(*oldest), created_at_ms.max(*newest));
            connection
                .prepare_cached("INSERT INTO search (rowid, place, body, part) VALUES (?1, ?2, ?3, ?4)")
                .and_then(|mut statement| {
                    let terms = Terms::of(&text.text);
                    statement.execute(params![lamport, place(text), terms.joined(), terms.parts()])
                })
                .during(INDEX)?;
        }
    }
    for (number, (oldest, newest)) in eras {
        write(
            connection,
            "INSERT INTO era (number, oldest_ms, newest_ms) VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE
             SET oldest_ms = min(oldest_ms, ?2), newest_ms = max(newest_ms, ?3)",
            params![number, oldest, newest],
        )?;
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

pub(super) fn room_word(room: u64) -> String {
    format!("r{room}")
}

/// In hex, because names have characters between which the tokenizer would see several words.
pub(super) fn author_word(author: &[u8], into: &mut String) {
    into.push('u');
    HEXLOWER.encode_append(author, into);
}
