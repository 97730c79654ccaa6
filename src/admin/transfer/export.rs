//! Rooms out of a cluster.

use std::io::{self, BufWriter, StdoutLock, Write};

use serde_json::{Map, Value};

use crate::{
    admin::session::Session,
    output_file::OutputFile,
    protocol::{
        RoomName,
        checked::{Limit, Seq},
        export::ExportPage,
        limits::LIST_MAX,
        request::{Export, ExportRooms, Ping},
    },
};

use super::{
    error::TransferError,
    line::{Mark, VERSION},
};

/// Rooms that are asked for at once.
const ROOMS: u64 = 1_000;

/// How often a room that forgets events meanwhile is begun again.
const BEGINS_MAX: u32 = 20;

/// The output of an export.
pub trait Out: Write {
    /// The present offset; `None` if nothing can be taken back.
    ///
    /// # Errors
    /// As for a write.
    fn place(&mut self) -> io::Result<Option<u64>>;

    /// Takes back what was written after an offset.
    ///
    /// # Errors
    /// As for a write.
    fn take_back(&mut self, place: u64) -> io::Result<()>;
}

impl Out for BufWriter<OutputFile> {
    fn place(&mut self) -> io::Result<Option<u64>> {
        self.flush()?;
        self.get_mut().place()
    }

    fn take_back(&mut self, place: u64) -> io::Result<()> {
        self.flush()?;
        self.get_mut().take_back(place)
    }
}

impl Out for BufWriter<StdoutLock<'_>> {
    fn place(&mut self) -> io::Result<Option<u64>> {
        Ok(None)
    }

    fn take_back(&mut self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Written {
    pub rooms: u64,
    pub events: u64,
}

/// The rooms that there are.
///
/// # Errors
/// The cluster does not give them.
pub fn all_rooms(session: &mut Session) -> Result<Vec<RoomName>, TransferError> {
    let mut rooms: Vec<RoomName> = Vec::new();
    loop {
        let after = rooms.last().cloned();
        let page =
            session.ask(ExportRooms { after, limit: Some(Limit::<{ LIST_MAX as u64 }>::clamped(ROOMS)) })?;
        let is_empty = page.rooms.is_empty();
        rooms.extend(page.rooms);
        if !page.more {
            return Ok(rooms);
        }
        if is_empty {
            return Err(TransferError::EmptyPage);
        }
    }
}

/// Writes a whole file with these rooms.
///
/// # Errors
/// The cluster does not give them, or they cannot be written. What was written by then is no whole file.
pub fn export(
    session: &mut Session,
    rooms: &[RoomName],
    out: &mut impl Out,
) -> Result<Written, TransferError> {
    // From now on this server has everything that was committed before.
    session.ask(Ping::with_barrier())?;
    let mut written = Written::default();
    for room in rooms {
        written.events += export_whole_room(session, room, out)?;
        written.rooms += 1;
    }
    write(out, &Mark::End { rooms: written.rooms, events: written.events })?;
    out.flush().map_err(TransferError::Write)?;
    Ok(written)
}

/// Writes one room, and gives the number of its events. One that forgets its oldest events meanwhile is begun
/// again.
fn export_whole_room(
    session: &mut Session,
    name: &RoomName,
    out: &mut impl Out,
) -> Result<u64, TransferError> {
    for _ in 0..BEGINS_MAX {
        let place = out.place().map_err(TransferError::Write)?;
        if let Some(events) = export_room(session, name, out)? {
            return Ok(events);
        }
        let place = place.ok_or_else(|| TransferError::ForgetsNow(name.clone()))?;
        out.take_back(place).map_err(TransferError::Write)?;
    }
    Err(TransferError::ForgetsFaster(name.clone()))
}

/// Writes one room as it is now, and gives the number of its events; `None` if it has forgotten some that
/// were still to be written.
fn export_room(
    session: &mut Session,
    name: &RoomName,
    out: &mut impl Write,
) -> Result<Option<u64>, TransferError> {
    let ExportPage { room, info, first_seq, last_seq, mut events, .. } = read(session, name, 0)?;
    write(out, &Mark::Room { version: VERSION, room, info, first_seq, last_seq })?;
    let mut next = first_seq;
    loop {
        let before = next;
        for event in events {
            let event = serde_json::from_str::<Map<String, Value>>(event.get());
            let wrong = |source| TransferError::Event { room: name.clone(), source };
            let mut event = event.map_err(wrong)?;
            let seq = event.get("seq").and_then(Value::as_u64);
            let seq = seq.ok_or_else(|| TransferError::NoPlace(name.clone()))?;
            if seq > last_seq {
                break;
            }
            if seq != next {
                return Err(TransferError::Hole { room: name.clone(), from: next - 1, to: seq });
            }
            next = seq + 1;
            // It belongs to the log of that cluster, and means nothing in another.
            event.remove("lamport_timestamp");
            write(out, &event)?;
        }
        if next > last_seq {
            return Ok(Some(next - first_seq));
        }
        if next == before {
            return Err(TransferError::Missing { room: name.clone(), seq: next });
        }
        let page = read(session, name, next - 1)?;
        if page.first_seq > next {
            return Ok(None);
        }
        events = page.events;
    }
}

/// A page of a room's events above `after`.
fn read(session: &mut Session, room: &RoomName, after: u64) -> Result<ExportPage, TransferError> {
    let after = Seq::try_from(after)
        .map_err(|_| TransferError::Missing { room: room.clone(), seq: after.saturating_add(1) })?;
    Ok(session.ask(Export { room: room.clone(), after, limit: None })?)
}

fn write(out: &mut impl Write, line: &impl serde::Serialize) -> Result<(), TransferError> {
    let mut bytes = serde_json::to_vec(line).expect("plain data always encodes");
    bytes.push(b'\n');
    out.write_all(&bytes).map_err(TransferError::Write)
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        sync::atomic::{AtomicU64, Ordering},
    };

    use serde_json::json;

    use super::*;
    use crate::{
        admin::session::tests::{Script, refused, session},
        output_file::Existing,
        protocol::Request,
    };

    /// A room of three events, of which the first two are forgotten after the first of so many first pages.
    fn page(after: Seq, forgets: &AtomicU64) -> (&'static str, Value) {
        let after = after.get();
        let has_forgotten = forgets.load(Ordering::Relaxed) == 0;
        if after == 0 && !has_forgotten {
            forgets.fetch_sub(1, Ordering::Relaxed);
        }
        let first_seq = if has_forgotten || after > 0 { 3 } else { 1 };
        let info = json!({"private": false, "members": []});
        let event = json!({"seq": first_seq.max(after + 1), "author": "a", "created_at": 1, "kind": "message", "body": "x"});
        let page = json!({"for": "export", "room": "short", "info": info, "first_seq": first_seq, "last_seq": 3, "events": [event], "more": true});
        ("export", page)
    }

    fn exported(script: Script) -> Result<String, TransferError> {
        let mut session = session(script);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rooms");
        let mut out = BufWriter::new(OutputFile::create(&path, Existing::Replace, true).unwrap());
        export(&mut session, &[RoomName::new("short").unwrap()], &mut out)?;
        out.into_inner().unwrap().finish().unwrap();
        Ok(fs::read_to_string(path).unwrap())
    }

    #[test]
    fn a_room_that_forgets_events_meanwhile_is_begun_again() {
        static FORGETS: AtomicU64 = AtomicU64::new(2);
        let text = exported(|request| match request {
            Request::Ping(_) => ("pong", json!({})),
            Request::Export(asked) => page(asked.after, &FORGETS),
            other => refused("unknown_type", other.msg_type()),
        });
        let lines: Vec<Value> =
            text.unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 3, "the room, its one event and the end: {lines:?}");
        assert_eq!((&lines[0]["first_seq"], &lines[1]["seq"]), (&json!(3), &json!(3)));
        assert_eq!(lines[2]["events"], 1);
    }

    #[test]
    fn a_room_that_forgets_for_ever_is_given_up() {
        static FORGETS: AtomicU64 = AtomicU64::new(u64::MAX);
        let outcome = exported(|request| match request {
            Request::Ping(_) => ("pong", json!({})),
            Request::Export(asked) => page(asked.after, &FORGETS),
            other => refused("unknown_type", other.msg_type()),
        });
        assert!(outcome.unwrap_err().to_string().contains("short forgets its events faster"));
    }
}
