//! Rooms out of a cluster.

use std::io::{self, Write};

use serde_json::{Map, Value, json};

use crate::{
    admin::user::session::{Fields, Session},
    protocol::{RoomName, export::RoomInfo},
};

use super::line::{Mark, VERSION};

/// Rooms that are asked for at once.
const ROOMS: usize = 1_000;

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
pub fn export(session: &mut Session, rooms: &[RoomName], out: &mut impl Write) -> Result<Written, String> {
    // What is committed anywhere is there from now on.
    session.ask("ping", &json!({ "barrier": true }))?;
    let mut written = Written::default();
    for room in rooms {
        written.events += export_room(session, room, out)?;
        written.rooms += 1;
    }
    write(out, &Mark::End { rooms: written.rooms, events: written.events })?;
    out.flush().map_err(|error| failed(&error))?;
    Ok(written)
}

/// Writes one room as it is now, and gives the number of its events.
fn export_room(session: &mut Session, name: &RoomName, out: &mut impl Write) -> Result<u64, String> {
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
                return Err(format!(
                    "{name} goes from event {} to {seq}; if it forgets events just now, try again",
                    next - 1
                ));
            }
            next = seq + 1;
            // It belongs to the log of that cluster, and means nothing in another.
            event.remove("lamport_timestamp");
            write(out, &event)?;
        }
        if next > last_seq {
            return Ok(next - first_seq);
        }
        if next == before {
            return Err(format!("{name} has no event {next}"));
        }
        page = session.ask("export", &json!({ "room": name, "after": next - 1 }))?;
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
