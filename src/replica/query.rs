//! What a query thread reads for a client, and the answer that it makes.

use std::collections::BTreeMap;

use crate::{
    disk::{EventRange, EventRow, Reader, RoomId, Search, StorageError},
    fanout::{ConnId, EventQuery, Instruction, Purpose, QueriedEvents},
    protocol::{
        Answer, Event,
        answer::{FilePiece, Hit, SearchPage, Signature},
        envelope::AnswerTo,
        event::in_room,
        export::ExportPage,
        file::{FILE_CHUNK_BYTES, FileInfo},
        name::RoomName,
        refusal::{Code, Refusal},
        request::HistoryRange,
        said::Said,
        text::counted,
    },
};

/// A read of the database by a query thread.
#[derive(Debug, Clone)]
pub enum Query {
    /// Events, which the fan-out fits into what it sends.
    Events(EventQuery),
    /// A read whose result is the answer, and may overtake other answers.
    Answer(AnswerQuery),
}

impl Query {
    /// The connection that gets the result.
    pub fn conn(&self) -> ConnId {
        match self {
            Query::Events(query) => query.conn,
            Query::Answer(query) => query.conn,
        }
    }

    /// Reads, and gives the fan-out's instruction with the result.
    ///
    /// # Errors
    /// The disk could not be read, or what was read is damaged.
    pub fn carry_out(
        &self,
        reader: &(impl Reader + ?Sized),
        by: Signature,
    ) -> Result<Instruction, StorageError> {
        match self {
            Query::Events(query) => {
                let found = events(reader, query)?;
                let EventQuery { conn, room, purpose, .. } = query.clone();
                Ok(Instruction::QueryResult { conn, room, purpose, result: Ok(found), by })
            }
            Query::Answer(query) => {
                let answer = query.answer(reader)?;
                Ok(Instruction::Say { conn: query.conn, said: Said::answer(query.to.clone(), answer, by) })
            }
        }
    }

    /// The fan-out's instruction if this cannot be read.
    pub fn refused(self, refusal: Refusal, by: Signature) -> Instruction {
        match self {
            Query::Events(EventQuery { conn, room, purpose, .. }) => {
                Instruction::QueryResult { conn, room, purpose, result: Err(refusal), by }
            }
            Query::Answer(AnswerQuery { conn, to, .. }) => {
                Instruction::Say { conn, said: Said::nack(to, refusal, by) }
            }
        }
    }
}

/// The query behind an answer that needs nothing of the fan-out.
#[derive(Debug, Clone)]
pub struct AnswerQuery {
    pub conn: ConnId,
    pub to: AnswerTo,
    pub read: Read,
}

/// What is read for an answer.
#[derive(Debug, Clone)]
pub enum Read {
    Search {
        search: Search,
        /// The present names of rooms whose stored events may have older ones.
        renamed: BTreeMap<RoomId, RoomName>,
        /// Whether there may be messages that this server does not know of.
        stale: bool,
    },
    FileChunk {
        file: FileInfo,
        /// The offset of the piece; a multiple of the size of a piece.
        offset: u64,
    },
    /// A page of a room's events.
    Export {
        room: RoomId,
        range: EventRange,
        /// The answer without its events and `more`.
        page: ExportPage,
    },
}

impl AnswerQuery {
    fn answer(&self, reader: &(impl Reader + ?Sized)) -> Result<Answer, StorageError> {
        Ok(match &self.read {
            Read::Search { search, renamed, stale } => {
                let page = found(reader, search, renamed)?;
                SearchPage { stale: *stale, ..page }.into()
            }
            Read::FileChunk { file, offset } => piece(reader, file, *offset)?,
            Read::Export { room, range, page } => {
                let rows = reader.events(*room, range)?;
                let last = rows.last().map_or(page.last_seq, |row| row.seq);
                let events = rows.iter().map(|row| in_room(&row.json, &page.room)).collect();
                Answer::Export(ExportPage { events, more: last < page.last_seq, ..page.clone() })
            }
        })
    }
}

fn found(
    reader: &(impl Reader + ?Sized),
    search: &Search,
    renamed: &BTreeMap<RoomId, RoomName>,
) -> Result<SearchPage, StorageError> {
    let found = reader.search(search)?;
    let hits = found.hits.into_iter().map(|hit| {
        let mut event: Event = serde_json::from_str(hit.row.json.get())
            .map_err(|error| StorageError::Doubtful(format!("a stored event does not decode: {error}")))?;
        if let Some(name) = renamed.get(&hit.row.room) {
            event.room = name.clone();
        }
        Ok(Hit { event, snippet: hit.snippet })
    });
    let hits = hits.collect::<Result<_, StorageError>>()?;
    let (before, more) = (found.cut_at, found.cut_at.is_some());
    Ok(SearchPage { before, hits, more, indexing: found.indexing, stale: false })
}

fn piece(reader: &(impl Reader + ?Sized), file: &FileInfo, offset: u64) -> Result<Answer, StorageError> {
    let given = |bytes: Vec<u8>| Answer::FilePiece(FilePiece::new(file, offset, bytes));
    let gone = || Answer::Nack(Refusal::new(Code::NotFound, "there is no such file"));
    if offset >= file.size {
        // An empty file has one empty piece.
        let is_empty = file.size == 0 && offset == 0;
        return Ok(if is_empty {
            given(Vec::new())
        } else {
            Answer::Nack(Refusal::bad_request(format!("the file has {}", counted(file.size, "byte"))))
        });
    }
    let number = (offset / FILE_CHUNK_BYTES as u64) as u32;
    let bytes = reader.chunk(file.file_id, number)?;
    Ok(bytes.map_or_else(gone, given))
}

/// The events that a query asks for. If it names a time, its range begins with the first event of then.
fn events(reader: &(impl Reader + ?Sized), query: &EventQuery) -> Result<QueriedEvents, StorageError> {
    let range = match &query.purpose {
        Purpose::History { range: HistoryRange::Since(since_ms), .. } => {
            match reader.first_since(query.room, *since_ms)? {
                Some(first) => EventRange { after: first - 1, ..query.range.clone() },
                None => return Ok(QueriedEvents { rows: Vec::new(), first_kept: 0 }),
            }
        }
        _ => query.range.clone(),
    };
    let rows = laid_over(reader.events(query.room, &range)?, &query.unwritten, &range);
    let begins_late = range.oldest_first && rows.first().is_none_or(|row| row.seq != range.after + 1);
    // Read after the events, so it is not lower than when they were read.
    let first_kept = if begins_late { first_kept(reader, query.room)? } else { 0 };
    Ok(QueriedEvents { rows, first_kept })
}

/// What was found with what was not written over it: as many events without a hole as the range allows, from
/// the end on which it begins. What was found may end with a hole before events that were not written.
fn laid_over(found: Vec<EventRow>, unwritten: &[EventRow], range: &EventRange) -> Vec<EventRow> {
    if unwritten.is_empty() || range.limit == 0 {
        return found;
    }
    let of = |row: EventRow| (row.seq, row);
    let mut all: BTreeMap<u64, EventRow> = found.into_iter().map(of).collect();
    all.extend(unwritten.iter().cloned().map(of));
    let mut rows: Vec<EventRow> = Vec::new();
    let mut bytes = 0;
    while let Some((seq, row)) = if range.oldest_first { all.pop_first() } else { all.pop_last() } {
        bytes += row.json.get().len();
        let follows = rows.last().is_none_or(|before| before.seq.abs_diff(seq) == 1);
        if !follows || rows.len() == range.limit || (bytes > range.max_bytes && !rows.is_empty()) {
            break;
        }
        rows.push(row);
    }
    if !range.oldest_first {
        rows.reverse();
    }
    rows
}

/// The first event that a room still has: a room's events are dense, so what is below it was removed.
fn first_kept(reader: &(impl Reader + ?Sized), room: RoomId) -> Result<u64, StorageError> {
    let range = EventRange { after: 0, before: u64::MAX, oldest_first: true, limit: 1, max_bytes: 0 };
    Ok(reader.events(room, &range)?.first().map_or(0, |row| row.seq))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(seq: u64, body: &str) -> EventRow {
        EventRow {
            room: RoomId(1),
            seq,
            index: seq,
            created_at_ms: 0,
            author: crate::protocol::UserName::new("ann").unwrap().key(),
            json: serde_json::value::to_raw_value(body).unwrap().into(),
        }
    }

    fn rows(seqs: &[u64], body: &str) -> Vec<EventRow> {
        seqs.iter().map(|seq| row(*seq, body)).collect()
    }

    #[test]
    fn what_is_not_written_is_laid_over_what_was_found() {
        // What was found, what was not written, from which end, the limit, and what comes of it.
        type Case = (&'static [u64], &'static [u64], bool, usize, &'static str);
        let cases: [Case; 10] = [
            (&[1, 2, 3], &[4, 5], false, 9, "1 2 3 4n 5n"),
            (&[2, 3], &[4, 5], false, 3, "3 4n 5n"),
            (&[1, 2, 3], &[2, 4], true, 9, "1 2n 3 4n"),
            (&[1, 2, 3], &[4, 5], true, 4, "1 2 3 4n"),
            // The page that was found ended early: behind it there is more that was written.
            (&[1, 2], &[5, 6], true, 9, "1 2"),
            (&[8, 9], &[2, 10], false, 9, "8 9 10n"),
            // More was written meanwhile.
            (&[1, 2, 3, 4], &[3], false, 9, "1 2 3n 4"),
            (&[], &[1, 2], true, 9, "1n 2n"),
            (&[], &[1, 2], false, 1, "2n"),
            (&[4, 5], &[6], false, 0, "4 5"),
        ];
        for (found, unwritten, oldest_first, limit, expected) in cases {
            let range = EventRange { after: 0, before: 99, oldest_first, limit, max_bytes: usize::MAX };
            let laid = laid_over(rows(found, ""), &rows(unwritten, "n"), &range);
            let shown = laid.iter().map(|row| format!("{}{}", row.seq, row.json.get().trim_matches('"')));
            assert_eq!(shown.collect::<Vec<_>>().join(" "), expected);
        }
    }

    #[test]
    fn a_page_with_what_is_not_written_keeps_its_bytes() {
        for (oldest_first, max_bytes, seqs) in
            [(true, 9, vec![1, 2, 3]), (false, 9, vec![2, 3, 4]), (false, 0, vec![4]), (true, 6, vec![1, 2])]
        {
            let range = EventRange { after: 0, before: 9, oldest_first, limit: 9, max_bytes };
            let laid = laid_over(rows(&[1, 2], "n"), &rows(&[3, 4], "n"), &range);
            assert_eq!(laid.iter().map(|row| row.seq).collect::<Vec<_>>(), seqs);
        }
    }
}
