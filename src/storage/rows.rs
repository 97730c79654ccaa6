//! The tables, kept in SQLite. Statements are prepared once for each connection and kept.

use rusqlite::{Connection, OptionalExtension, Row, params, types::ValueRef};

use super::{
    full_text, indexing,
    record::doubt,
    statement::{While, sql, write},
    tables::{GoOn, RawChunk, RawEvent, RawText, Span, Tables, TablesMut, TakeRow},
};
use crate::disk::StorageError;

fn number(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let number: i64 = row.get(column)?;
    u64::try_from(number).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, number))
}

fn crc(row: &Row<'_>, column: usize) -> rusqlite::Result<u32> {
    row.get(column)
}

/// A text or blob as it is kept. Text is not checked to be UTF-8, because its checksum is checked first.
fn bytes<'a>(row: &'a Row<'_>, column: usize) -> Result<&'a [u8], StorageError> {
    match row.get_ref(column).during("reading a column")? {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Ok(bytes),
        _ => Err(doubt("a column has a number where text or bytes were written")),
    }
}

// For a range between bare parameters SQLite looks at their values while it plans, and so prepares the
// statement again for each use. That took a tenth of the time of the thread that writes.
const EVENTS: &str = "SELECT room, seq, idx, created_at_ms, newest_ms, author, json, crc FROM event
    WHERE room = (SELECT ?1) AND seq > (SELECT ?2) AND seq < (SELECT ?3) ORDER BY seq";
const EVENTS_BACKWARDS: &str = "SELECT room, seq, idx, created_at_ms, newest_ms, author, json, crc FROM event
    WHERE room = (SELECT ?1) AND seq > (SELECT ?2) AND seq < (SELECT ?3) ORDER BY seq DESC";
const ALL_EVENTS: &str = "SELECT room, seq, idx, created_at_ms, newest_ms, author, json, crc FROM event
    WHERE (room, seq) > (?1, ?2) ORDER BY room, seq";

const READ_STATE: &str = "reading the state";
const READ_EVENTS: &str = "reading events";
const READ_FILES: &str = "reading files";
const READ_SWEEP: &str = "reading what is removed";
const READ_META: &str = "reading what has a name";
const WRITE: &str = "writing";

impl Tables for Connection {
    fn metas(&self, take: &mut dyn FnMut(&str, &[u8], u32) -> GoOn) -> Result<(), StorageError> {
        let mut statement =
            self.prepare_cached("SELECT name, value, crc FROM meta ORDER BY name").during(READ_META)?;
        let mut rows = statement.query([]).during(READ_META)?;
        while let Some(row) = rows.next().during(READ_META)? {
            let name = std::str::from_utf8(bytes(row, 0)?).map_err(|_| doubt("a name is not UTF-8"))?;
            if !take(name, bytes(row, 1)?, crc(row, 2).during(READ_META)?)? {
                break;
            }
        }
        Ok(())
    }

    fn meta(&self, name: &str) -> Result<Option<(Vec<u8>, u32)>, StorageError> {
        let mut statement =
            self.prepare_cached("SELECT value, crc FROM meta WHERE name = ?1").during(READ_META)?;
        statement.query_row([name], |row| Ok((row.get(0)?, crc(row, 1)?))).optional().during(READ_META)
    }

    fn state(&self, above: Option<&[u8]>, take: TakeRow<'_>) -> Result<(), StorageError> {
        let text = match above {
            Some(_) => "SELECT key, value, crc FROM state WHERE key > ?1 ORDER BY key",
            None => "SELECT key, value, crc FROM state ORDER BY key",
        };
        let mut statement = self.prepare_cached(text).during(READ_STATE)?;
        let mut rows = statement.query(rusqlite::params_from_iter(above)).during(READ_STATE)?;
        while let Some(row) = rows.next().during(READ_STATE)? {
            if !take(bytes(row, 0)?, bytes(row, 1)?, crc(row, 2).during(READ_STATE)?)? {
                break;
            }
        }
        Ok(())
    }

    fn state_row(&self, key: &[u8]) -> Result<Option<(Vec<u8>, u32)>, StorageError> {
        let mut statement =
            self.prepare_cached("SELECT value, crc FROM state WHERE key = ?1").during(READ_STATE)?;
        statement.query_row([key], |row| Ok((row.get(0)?, crc(row, 1)?))).optional().during(READ_STATE)
    }

    fn events(&self, span: Span, take: &mut dyn FnMut(RawEvent<'_>) -> GoOn) -> Result<(), StorageError> {
        let text = if span.ascending { EVENTS } else { EVENTS_BACKWARDS };
        // Bounds come from clients, who may name any number; nothing is stored beyond the greatest.
        let bound = |seq: u64| i64::try_from(seq).unwrap_or(i64::MAX);
        let mut statement = self.prepare_cached(text).during(READ_EVENTS)?;
        let rows = statement
            .query(params![sql(span.room)?, bound(span.after), bound(span.before)])
            .during(READ_EVENTS)?;
        walk_events(rows, take)
    }

    fn all_events(
        &self,
        above: (u64, u64),
        take: &mut dyn FnMut(RawEvent<'_>) -> GoOn,
    ) -> Result<(), StorageError> {
        let mut statement = self.prepare_cached(ALL_EVENTS).during(READ_EVENTS)?;
        let rows = statement.query(params![sql(above.0)?, sql(above.1)?]).during(READ_EVENTS)?;
        walk_events(rows, take)
    }

    fn chunk(&self, file: [u8; 16], number: u32) -> Result<Option<(Vec<u8>, u32)>, StorageError> {
        let mut statement = self
            .prepare_cached("SELECT bytes, crc FROM chunk WHERE file = ?1 AND number = ?2")
            .during(READ_FILES)?;
        statement
            .query_row(params![file, number], |row| Ok((row.get(0)?, crc(row, 1)?)))
            .optional()
            .during(READ_FILES)
    }

    fn chunks(
        &self,
        above: Option<([u8; 16], u32)>,
        take: &mut dyn FnMut(RawChunk<'_>) -> GoOn,
    ) -> Result<(), StorageError> {
        // Without a bound: below all numbers.
        let (file, number) = above.map_or(([0; 16], -1), |(file, number)| (file, i64::from(number)));
        let mut statement = self
            .prepare_cached(
                "SELECT file, number, crc, bytes FROM chunk WHERE (file, number) > (?1, ?2)
                 ORDER BY file, number",
            )
            .during(READ_FILES)?;
        let mut rows = statement.query(params![file, number]).during(READ_FILES)?;
        while let Some(row) = rows.next().during(READ_FILES)? {
            let chunk = RawChunk {
                file: row.get(0).during(READ_FILES)?,
                number: row.get(1).during(READ_FILES)?,
                crc: crc(row, 2).during(READ_FILES)?,
                bytes: bytes(row, 3)?,
            };
            if !take(chunk)? {
                break;
            }
        }
        Ok(())
    }

    fn floor(&self, room: u64) -> Result<Option<(u64, u32)>, StorageError> {
        let mut statement =
            self.prepare_cached("SELECT below, crc FROM floor WHERE room = ?1").during(READ_SWEEP)?;
        statement
            .query_row([sql(room)?], |row| Ok((number(row, 0)?, crc(row, 1)?)))
            .optional()
            .during(READ_SWEEP)
    }

    fn floors(&self, take: &mut dyn FnMut(u64, u64, u32) -> GoOn) -> Result<(), StorageError> {
        let mut statement =
            self.prepare_cached("SELECT room, below, crc FROM floor ORDER BY room").during(READ_SWEEP)?;
        let mut rows = statement.query([]).during(READ_SWEEP)?;
        while let Some(row) = rows.next().during(READ_SWEEP)? {
            let (room, below) = (number(row, 0).during(READ_SWEEP)?, number(row, 1).during(READ_SWEEP)?);
            if !take(room, below, crc(row, 2).during(READ_SWEEP)?)? {
                break;
            }
        }
        Ok(())
    }

    fn doomed(&self, file: [u8; 16]) -> Result<Option<u32>, StorageError> {
        let mut statement =
            self.prepare_cached("SELECT crc FROM doomed WHERE file = ?1").during(READ_SWEEP)?;
        statement.query_row([file], |row| crc(row, 0)).optional().during(READ_SWEEP)
    }

    fn all_doomed(&self, take: &mut dyn FnMut([u8; 16], u32) -> GoOn) -> Result<(), StorageError> {
        let mut statement =
            self.prepare_cached("SELECT file, crc FROM doomed ORDER BY file").during(READ_SWEEP)?;
        let mut rows = statement.query([]).during(READ_SWEEP)?;
        while let Some(row) = rows.next().during(READ_SWEEP)? {
            if !take(row.get(0).during(READ_SWEEP)?, crc(row, 1).during(READ_SWEEP)?)? {
                break;
            }
        }
        Ok(())
    }
}

fn walk_events(
    mut rows: rusqlite::Rows<'_>,
    take: &mut dyn FnMut(RawEvent<'_>) -> GoOn,
) -> Result<(), StorageError> {
    while let Some(row) = rows.next().during(READ_EVENTS)? {
        let event = RawEvent {
            room: number(row, 0).during(READ_EVENTS)?,
            seq: number(row, 1).during(READ_EVENTS)?,
            index: number(row, 2).during(READ_EVENTS)?,
            created_at_ms: number(row, 3).during(READ_EVENTS)?,
            newest_ms: number(row, 4).during(READ_EVENTS)?,
            author: bytes(row, 5)?,
            json: bytes(row, 6)?,
            crc: crc(row, 7).during(READ_EVENTS)?,
        };
        if !take(event)? {
            break;
        }
    }
    Ok(())
}

impl TablesMut for Connection {
    fn put_meta(&mut self, name: &str, value: &[u8], crc: u32) -> Result<(), StorageError> {
        let text = "INSERT INTO meta (name, value, crc) VALUES (?1, ?2, ?3)
                    ON CONFLICT (name) DO UPDATE SET value = excluded.value, crc = excluded.crc";
        write(self, text, params![name, value, crc]).map(drop)
    }

    fn put_state(&mut self, key: &[u8], value: &[u8], crc: u32) -> Result<Option<u32>, StorageError> {
        let old = find_crc(self, "SELECT crc FROM state WHERE key = ?1", [key])?;
        let text = match old {
            Some(_) => "UPDATE state SET value = ?2, crc = ?3 WHERE key = ?1",
            None => "INSERT INTO state (key, value, crc) VALUES (?1, ?2, ?3)",
        };
        write(self, text, params![key, value, crc])?;
        Ok(old)
    }

    fn remove_state(&mut self, key: &[u8]) -> Result<Option<u32>, StorageError> {
        let old = find_crc(self, "SELECT crc FROM state WHERE key = ?1", [key])?;
        if old.is_some() {
            write(self, "DELETE FROM state WHERE key = ?1", [key])?;
        }
        Ok(old)
    }

    fn insert_event(&mut self, event: RawEvent<'_>) -> Result<bool, StorageError> {
        let text = "INSERT INTO event (room, seq, idx, created_at_ms, newest_ms, author, json, crc)
                    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT DO NOTHING";
        Ok(write_event(self, text, event)? > 0)
    }

    fn replace_event(&mut self, event: RawEvent<'_>) -> Result<(), StorageError> {
        let text =
            "UPDATE event SET idx = ?3, created_at_ms = ?4, newest_ms = ?5, author = ?6, json = ?7, crc = ?8
                    WHERE room = ?1 AND seq = ?2";
        write_event(self, text, event).map(drop)
    }

    fn remove_event(&mut self, room: u64, seq: u64) -> Result<(), StorageError> {
        write(self, "DELETE FROM event WHERE room = ?1 AND seq = ?2", [sql(room)?, sql(seq)?]).map(drop)
    }

    fn put_texts(&mut self, texts: &[RawText<'_>]) -> Result<(), StorageError> {
        full_text::put(self, texts)
    }

    fn remove_text(&mut self, text: &RawText<'_>) -> Result<(), StorageError> {
        full_text::remove(self, text)
    }

    fn put_chunk(&mut self, chunk: RawChunk<'_>) -> Result<Option<u32>, StorageError> {
        let key = params![chunk.file, chunk.number];
        let old = find_crc(self, "SELECT crc FROM chunk WHERE file = ?1 AND number = ?2", key)?;
        let text = match old {
            Some(_) => "UPDATE chunk SET crc = ?3, bytes = ?4 WHERE file = ?1 AND number = ?2",
            None => "INSERT INTO chunk (file, number, crc, bytes) VALUES (?1, ?2, ?3, ?4)",
        };
        write(self, text, params![chunk.file, chunk.number, chunk.crc, chunk.bytes])?;
        Ok(old)
    }

    fn remove_chunks(&mut self, file: [u8; 16], most: usize) -> Result<Vec<u32>, StorageError> {
        let mut statement = self
            .prepare_cached(
                "DELETE FROM chunk WHERE file = ?1 AND number IN
                 (SELECT number FROM chunk WHERE file = ?1 ORDER BY number LIMIT ?2) RETURNING crc",
            )
            .during(WRITE)?;
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let removed = statement.query_map(params![file, most], |row| crc(row, 0)).during(WRITE)?;
        removed.collect::<rusqlite::Result<_>>().during(WRITE)
    }

    fn put_floor(&mut self, room: u64, below: u64, crc: u32) -> Result<Option<u32>, StorageError> {
        let old = find_crc(self, "SELECT crc FROM floor WHERE room = ?1", [sql(room)?])?;
        let text = "INSERT INTO floor (room, below, crc) VALUES (?1, ?2, ?3)
                    ON CONFLICT (room) DO UPDATE SET below = excluded.below, crc = excluded.crc";
        write(self, text, params![sql(room)?, sql(below)?, crc])?;
        Ok(old)
    }

    fn remove_floor(&mut self, room: u64) -> Result<Option<u32>, StorageError> {
        find_crc(self, "DELETE FROM floor WHERE room = ?1 RETURNING crc", [sql(room)?])
    }

    fn put_doomed(&mut self, file: [u8; 16], crc: u32) -> Result<Option<u32>, StorageError> {
        let old = find_crc(self, "SELECT crc FROM doomed WHERE file = ?1", [file])?;
        if old.is_none() {
            write(self, "INSERT INTO doomed (file, crc) VALUES (?1, ?2)", params![file, crc])?;
        }
        Ok(old)
    }

    fn remove_doomed(&mut self, file: [u8; 16]) -> Result<Option<u32>, StorageError> {
        find_crc(self, "DELETE FROM doomed WHERE file = ?1 RETURNING crc", [file])
    }

    fn clear(&mut self) -> Result<(), StorageError> {
        for text in [
            "DELETE FROM state",
            "DELETE FROM event",
            "DELETE FROM chunk",
            "DELETE FROM floor",
            "DELETE FROM doomed",
        ] {
            write(self, text, [])?;
        }
        full_text::clear(self)?;
        indexing::is_whole(self)
    }
}

fn write_event(connection: &Connection, sql_text: &str, event: RawEvent<'_>) -> Result<usize, StorageError> {
    let (author, json) = (text(event.author)?, text(event.json)?);
    let (room, seq) = (sql(event.room)?, sql(event.seq)?);
    let (index, created_at_ms, newest_ms) =
        (sql(event.index)?, sql(event.created_at_ms)?, sql(event.newest_ms)?);
    write(connection, sql_text, params![room, seq, index, created_at_ms, newest_ms, author, json, event.crc])
}

fn find_crc(
    connection: &Connection,
    text: &str,
    key: impl rusqlite::Params,
) -> Result<Option<u32>, StorageError> {
    let mut statement = connection.prepare_cached(text).during(WRITE)?;
    statement.query_row(key, |row| crc(row, 0)).optional().during(WRITE)
}

/// Events of a snapshot come as bytes. If they are no text, no server has written them.
fn text(bytes: &[u8]) -> Result<&str, StorageError> {
    std::str::from_utf8(bytes).map_err(|_| doubt("an event is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use rusqlite::StatementStatus;

    use super::*;
    use crate::storage::schema;

    #[test]
    fn statements_are_planned_once() {
        let mut connection = Connection::open_in_memory().unwrap();
        schema::create(&mut connection).unwrap();
        for place in 0..20 {
            for ascending in [true, false] {
                let span = Span { room: place, after: place, before: place + 2, ascending };
                connection.events(span, &mut |_| Ok(true)).unwrap();
            }
            connection.all_events((place, place), &mut |_| Ok(true)).unwrap();
        }
        for text in [EVENTS, EVENTS_BACKWARDS, ALL_EVENTS] {
            let statement = connection.prepare_cached(text).unwrap();
            assert_eq!(statement.get_status(StatementStatus::Run), 20, "{text}");
            assert_eq!(statement.get_status(StatementStatus::RePrepare), 0, "{text}");
        }
    }
}
