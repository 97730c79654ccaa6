//! Rooms out of a cluster.

use std::{
    fs::File,
    io::{self, BufWriter, Seek, SeekFrom, StdoutLock, Write},
};

use serde_json::{Map, Value, json};

use crate::{
    admin::session::{Fields, Session},
    protocol::{RoomName, export::RoomInfo},
};

use super::line::{Mark, VERSION};

/// Rooms that are asked for at once.
const ROOMS: usize = 1_000;

/// How often a room is begun that forgets events while it is written.
const BEGINS_MAX: u32 = 20;

/// Where an export goes.
pub trait Out: Write {
    /// Where it stands; `None` where nothing can be taken back.
    ///
    /// # Errors
    /// As for a write.
    fn place(&mut self) -> io::Result<Option<u64>>;

    /// Takes back what was written behind a place.
    ///
    /// # Errors
    /// As for a write.
    fn take_back(&mut self, place: u64) -> io::Result<()>;
}

impl Out for BufWriter<File> {
    fn place(&mut self) -> io::Result<Option<u64>> {
        self.stream_position().map(Some)
    }

    fn take_back(&mut self, place: u64) -> io::Result<()> {
        self.seek(SeekFrom::Start(place))?;
        self.get_ref().set_len(place)
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

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Written {
    /// Rooms.
    pub rooms: u64,
    /// Their events.
    pub events: u64,
}

/// The rooms that there are.
///
/// # Errors
/// One sentence.
pub fn all_rooms(session: &mut Session) -> Result<Vec<RoomName>, String> {
    let mut rooms: Vec<RoomName> = Vec::new();
    loop {
        let mut data = json!({ "limit": ROOMS });
        if let Some(last) = rooms.last() {
            data["after"] = json!(last);
        }
        let mut answer = session.ask("export_rooms", &data)?;
        let page: Vec<RoomName> = take(&mut answer, "rooms")?;
        let more: bool = take(&mut answer, "more")?;
        if !more {
            rooms.extend(page);
            return Ok(rooms);
        }
        if page.is_empty() {
            return Err("the answer to export_rooms has no room in it and says that there are more".into());
        }
        rooms.extend(page);
    }
}

/// Writes a whole file with these rooms.
///
/// # Errors
/// One sentence. What was written by then is no whole file.
pub fn export(session: &mut Session, rooms: &[RoomName], out: &mut impl Out) -> Result<Written, String> {
    // What is committed anywhere is there from now on.
    session.ask("ping", &json!({ "barrier": true }))?;
    let mut written = Written::default();
    for room in rooms {
        written.events += export_whole_room(session, room, out)?;
        written.rooms += 1;
    }
    write(out, &Mark::End { rooms: written.rooms, events: written.events })?;
    out.flush().map_err(|error| failed(&error))?;
    Ok(written)
}

/// Writes one room, and gives the number of its events. One that forgets its oldest events meanwhile is begun
/// again.
fn export_whole_room(session: &mut Session, name: &RoomName, out: &mut impl Out) -> Result<u64, String> {
    for _ in 0..BEGINS_MAX {
        let place = out.place().map_err(|error| failed(&error))?;
        if let Some(events) = export_room(session, name, out)? {
            return Ok(events);
        }
        let place = place.ok_or_else(|| {
            format!("{name} forgets events just now; export into a file (--output), or try again")
        })?;
        out.take_back(place).map_err(|error| failed(&error))?;
    }
    Err(format!("{name} forgets its events faster than they can be read"))
}

/// Writes one room as it is now, and gives the number of its events; `None` where it has forgotten some that were
/// to come.
fn export_room(session: &mut Session, name: &RoomName, out: &mut impl Write) -> Result<Option<u64>, String> {
    let mut page = session.ask("export", &json!({ "room": name }))?;
    let (first_seq, last_seq): (u64, u64) = (take(&mut page, "first_seq")?, take(&mut page, "last_seq")?);
    let room: RoomName = take(&mut page, "room")?;
    let info: RoomInfo = take(&mut page, "info")?;
    write(out, &Mark::Room { version: VERSION, room, info, first_seq, last_seq })?;
    let mut next = first_seq;
    loop {
        let events: Vec<Map<String, Value>> = take(&mut page, "events")?;
        let before = next;
        for mut event in events {
            let seq = event.get("seq").and_then(Value::as_u64).ok_or("an event without its seq")?;
            if seq > last_seq {
                break;
            }
            if seq != next {
                return Err(format!("{name} goes from event {} to {seq}", next - 1));
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
            return Err(format!("{name} has no event {next}"));
        }
        page = session.ask("export", &json!({ "room": name, "after": next - 1 }))?;
        let first_seq: u64 = take(&mut page, "first_seq")?;
        if first_seq > next {
            return Ok(None);
        }
    }
}

/// A field of an answer.
pub(super) fn take<T: serde::de::DeserializeOwned>(answer: &mut Fields, field: &str) -> Result<T, String> {
    let value = answer.remove(field).ok_or_else(|| format!("an answer has no field {field}"))?;
    serde_json::from_value(value).map_err(|error| format!("the field {field} of an answer: {error}"))
}

fn write(out: &mut impl Write, line: &impl serde::Serialize) -> Result<(), String> {
    let mut bytes = serde_json::to_vec(line).expect("plain data always encodes");
    bytes.push(b'\n');
    out.write_all(&bytes).map_err(|error| failed(&error))
}

fn failed(error: &io::Error) -> String {
    format!("the export cannot be written: {error}")
}

#[cfg(test)]
mod tests {
    use std::{
        io::Read,
        sync::atomic::{AtomicU64, Ordering},
        time::Duration,
    };

    use super::*;
    use crate::admin::session::tests::{Script, key, refused, server};

    /// A room of three events, of which the first two are forgotten after the first of so many first pages.
    fn page(data: &Fields, forgets: &AtomicU64) -> (&'static str, Value) {
        let after = data.get("after").and_then(Value::as_u64).unwrap_or(0);
        let has_forgotten = forgets.load(Ordering::Relaxed) == 0;
        if after == 0 && !has_forgotten {
            forgets.fetch_sub(1, Ordering::Relaxed);
        }
        let first_seq = if has_forgotten || after > 0 { 3 } else { 1 };
        let info = json!({"private": false, "members": []});
        let event = json!({"seq": first_seq.max(after + 1), "author": "a", "created_at": 1, "kind": "message", "body": "x"});
        let page = json!({"for": "export", "room": "short", "info": info, "first_seq": first_seq, "last_seq": 3, "events": [event]});
        ("export", page)
    }

    fn exported(script: Script) -> Result<String, String> {
        let mut session = Session::open(&[server(script)], &key(), Duration::from_secs(20)).unwrap();
        let mut file = tempfile::tempfile().unwrap();
        let mut out = BufWriter::new(file.try_clone().unwrap());
        export(&mut session, &[RoomName::new("short").unwrap()], &mut out)?;
        let mut text = String::new();
        file.seek(SeekFrom::Start(0)).and_then(|_| file.read_to_string(&mut text)).unwrap();
        Ok(text)
    }

    #[test]
    fn a_room_that_forgets_events_meanwhile_is_begun_again() {
        static FORGETS: AtomicU64 = AtomicU64::new(2);
        let text = exported(|msg_type, data| match msg_type {
            "ping" => ("pong", json!({})),
            "export" => page(data, &FORGETS),
            _ => refused("unknown_type", msg_type),
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
        let outcome = exported(|msg_type, data| match msg_type {
            "ping" => ("pong", json!({})),
            _ => page(data, &FORGETS),
        });
        assert!(outcome.unwrap_err().contains("short forgets its events faster"));
    }
}
