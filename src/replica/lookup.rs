//! What a query thread looks up for a client, and the answer it makes of that.

use crate::protocol::{
    Answer, Event,
    answer::{Asked, Hit, Signature},
    export::ExportPage,
    file::{FILE_CHUNK_BYTES, FileInfo},
    refusal::{Code, Refusal},
    request::HistoryRange,
};

use super::{
    fanout::Fan,
    io::{ConnId, FoundEvents, Purpose, Query},
    storage::{EventRange, Reader, RoomId, Search, StorageError},
};

/// What a query thread is asked.
#[derive(Debug, Clone)]
pub enum Look {
    /// Events, which the fan-out fits into what it sends.
    Events(Query),
    /// What is answered as it is found.
    Answer(Lookup),
}

impl Look {
    /// The connection for which it is.
    pub fn conn(&self) -> ConnId {
        match self {
            Look::Events(query) => query.conn,
            Look::Answer(lookup) => lookup.conn,
        }
    }

    /// Looks, and gives what the fan-out is to be told of the result.
    ///
    /// # Errors
    /// The disk could not be read, or what was read is damaged.
    pub fn carry_out(&self, reader: &(impl Reader + ?Sized), by: Signature) -> Result<Fan, StorageError> {
        match self {
            Look::Events(query) => {
                let found = events(reader, query)?;
                let Query { conn, room, purpose, .. } = query.clone();
                Ok(Fan::Found { conn, room, purpose, found: Ok(found), by })
            }
            Look::Answer(lookup) => {
                Ok(Fan::Say { conn: lookup.conn, line: lookup.answer(reader, &by)?.into() })
            }
        }
    }

    /// What the fan-out is to be told where nobody can look.
    pub fn refused(self, refusal: Refusal, by: Signature) -> Fan {
        match self {
            Look::Events(Query { conn, room, purpose, .. }) => {
                Fan::Found { conn, room, purpose, found: Err(refusal), by }
            }
            Look::Answer(Lookup { conn, asked, .. }) => {
                Fan::Say { conn, line: Answer::Nack(refusal).line(&asked, &by).into() }
            }
        }
    }
}

/// A read of the database whose answer may overtake others.
#[derive(Debug, Clone)]
pub struct Lookup {
    /// The connection that asked.
    pub conn: ConnId,
    /// Its request.
    pub asked: Asked,
    /// What for.
    pub what: Wanted,
}

/// What is looked up.
#[derive(Debug, Clone)]
pub enum Wanted {
    /// Messages.
    Search(Search),
    /// A piece of a file.
    FileChunk {
        /// The file.
        file: FileInfo,
        /// Where the piece begins; a multiple of the size of a piece.
        offset: u64,
    },
    /// A page of a room's events, for whoever takes them out of the cluster.
    Export {
        /// The room.
        room: RoomId,
        /// Which events.
        range: EventRange,
        /// The answer but for its events and `more`.
        page: ExportPage,
    },
}

impl Lookup {
    /// The line that answers.
    fn answer(&self, reader: &(impl Reader + ?Sized), by: &Signature) -> Result<Vec<u8>, StorageError> {
        let answer = match &self.what {
            Wanted::Search(search) => found(reader, search)?,
            Wanted::FileChunk { file, offset } => piece(reader, file, *offset)?,
            Wanted::Export { room, range, page } => {
                let rows = reader.events(*room, range)?;
                let last = rows.last().map_or(page.last_seq, |row| row.seq);
                let events = rows.iter().map(|row| row.json.as_ref().to_owned()).collect();
                Answer::Export(ExportPage { events, more: last < page.last_seq, ..page.clone() })
            }
        };
        Ok(answer.line(&self.asked, by))
    }
}

fn found(reader: &(impl Reader + ?Sized), search: &Search) -> Result<Answer, StorageError> {
    let found = reader.search(search)?;
    let hits = found.hits.into_iter().map(|hit| {
        let event: Event = serde_json::from_str(hit.row.json.get())
            .map_err(|error| StorageError::Doubtful(format!("a stored event does not decode: {error}")))?;
        Ok(Hit { event, snippet: hit.snippet })
    });
    let hits = hits.collect::<Result<_, StorageError>>()?;
    Ok(Answer::Search { hits, cut_at: found.cut_at })
}

fn piece(reader: &(impl Reader + ?Sized), file: &FileInfo, offset: u64) -> Result<Answer, StorageError> {
    let gone = || Answer::Nack(Refusal::new(Code::NotFound, "there is no such file, or not any more"));
    if offset >= file.size {
        // An empty file has one empty piece.
        let is_empty = file.size == 0 && offset == 0;
        return Ok(match is_empty {
            true => Answer::FileChunk { file: file.clone(), offset, bytes: Vec::new() },
            false => Answer::Nack(Refusal::bad_request(format!("the file has {} bytes", file.size))),
        });
    }
    let number = (offset / FILE_CHUNK_BYTES as u64) as u32;
    let bytes = reader.chunk(file.file_id, number)?;
    Ok(bytes.map_or_else(gone, |bytes| Answer::FileChunk { file: file.clone(), offset, bytes }))
}

/// The events that a query asks for. Where it names a time, its range begins with the first event of then.
fn events(reader: &(impl Reader + ?Sized), query: &Query) -> Result<FoundEvents, StorageError> {
    let range = match &query.purpose {
        Purpose::History { range: HistoryRange::Since(since_ms), .. } => {
            match reader.first_since(query.room, *since_ms)? {
                Some(first) => EventRange { after: first - 1, ..query.range.clone() },
                None => return Ok(FoundEvents { rows: Vec::new(), first_kept: 0 }),
            }
        }
        _ => query.range.clone(),
    };
    let rows = reader.events(query.room, &range)?;
    let begins_late = range.oldest_first && rows.first().is_none_or(|row| row.seq != range.after + 1);
    // Asked for afterwards, so it is at least where those events began.
    let first_kept = if begins_late { first_kept(reader, query.room)? } else { 0 };
    Ok(FoundEvents { rows, first_kept })
}

/// The first event that a room still has: a room's events are dense, so what is below it was removed.
fn first_kept(reader: &(impl Reader + ?Sized), room: RoomId) -> Result<u64, StorageError> {
    let range = EventRange { after: 0, before: u64::MAX, oldest_first: true, limit: 1, max_bytes: 0 };
    Ok(reader.events(room, &range)?.first().map_or(0, |row| row.seq))
}
