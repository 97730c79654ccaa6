//! Rooms into a cluster.
//!
//! Each room's events go in order, so many at a time; `first_seq` says where they belong, so that nothing can
//! come twice or in another place. What is there already is compared at its end and left out: an import that
//! was broken off is simply done again. What a room is set to and who belongs to it comes last, so that nobody
//! watches its history pass by.

use std::io::BufRead;

use serde_json::{Map, Value, json};

use crate::{
    admin::session::Session,
    protocol::{
        RoomName,
        export::RoomInfo,
        limits::{IMPORT_MAX, LINE_BYTES_LEAST},
    },
};

use super::{
    export::take,
    line::{Line, Mark},
};

/// Bytes of events in one request: with the rest of it a line that every server takes, whatever it is set to.
const BATCH_BYTES: usize = 40 * 1024;
const _: () = assert!(BATCH_BYTES + IMPORT_MAX + 1024 <= LINE_BYTES_LEAST);
/// Members in one request.
const MEMBERS: usize = 500;

/// What was taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Taken {
    /// Rooms.
    pub rooms: u64,
    /// Events.
    pub events: u64,
    /// Events that were there already.
    pub present: u64,
}

/// Takes over a whole file.
///
/// # Errors
/// One sentence, with the number of the line. What was taken over by then stays.
pub fn import(session: &mut Session, input: impl BufRead) -> Result<Taken, String> {
    let mut taken = Taken::default();
    let mut room: Option<Room> = None;
    for (number, line) in (1..).zip(input.lines()) {
        let at = |reason: String| format!("line {number}: {reason}");
        let line = line.map_err(|error| at(format!("it cannot be read: {error}")))?;
        match Line::read(&line).map_err(at)? {
            Line::Event { seq, event } => {
                let room = room.as_mut().ok_or_else(|| at("an event before any room".into()))?;
                room.event(session, seq, event, line.len()).map_err(at)?;
            }
            Line::Mark(mark) => {
                if let Some(room) = room.take() {
                    room.end(session, &mut taken).map_err(at)?;
                }
                match *mark {
                    Mark::Room { room: name, info, first_seq, last_seq, .. } => {
                        room = Some(Room::begin(session, name, info, (first_seq, last_seq)).map_err(at)?);
                    }
                    Mark::End { .. } => return Ok(taken),
                }
            }
        }
    }
    Err("the file ends early: it was not written to its end; what it has is taken over but for the settings \
         and members of its last room"
        .into())
}

/// A room that is being taken over.
struct Room {
    name: RoomName,
    info: RoomInfo,
    last_seq: u64,
    /// The next event of the file.
    next: u64,
    /// The last event that was there already, which is to be the same.
    present: Option<Map<String, Value>>,
    /// Up to here events were there already.
    present_seq: u64,
    batch: Vec<Map<String, Value>>,
    batch_bytes: usize,
    batch_first: u64,
    events: u64,
    skipped: u64,
}

impl Room {
    fn begin(
        session: &mut Session,
        name: RoomName,
        info: RoomInfo,
        (first_seq, last_seq): (u64, u64),
    ) -> Result<Room, String> {
        if first_seq == 0 || last_seq < first_seq {
            return Err(format!("{name} cannot have the events {first_seq} to {last_seq}"));
        }
        let there = match session.ask("export", &json!({ "room": name, "limit": 1 })) {
            Ok(mut page) => take(&mut page, "last_seq")?,
            Err(reason) if reason.starts_with("not_found") => 0,
            Err(reason) => return Err(reason),
        };
        let present_seq = last_seq.min(there);
        let present = if present_seq >= first_seq {
            let data = json!({ "room": name, "after": present_seq - 1, "limit": 1 });
            let mut page = session.ask("export", &data)?;
            let events: Vec<Map<String, Value>> = take(&mut page, "events")?;
            events.into_iter().next()
        } else {
            None
        };
        Ok(Room {
            name,
            info,
            last_seq,
            next: first_seq,
            present,
            present_seq,
            batch: Vec::new(),
            batch_bytes: 0,
            batch_first: first_seq,
            events: 0,
            skipped: 0,
        })
    }

    fn event(
        &mut self,
        session: &mut Session,
        seq: u64,
        mut event: Map<String, Value>,
        bytes: usize,
    ) -> Result<(), String> {
        if seq != self.next || seq > self.last_seq {
            return Err(format!("event {seq} of {}, where event {} belongs", self.name, self.next));
        }
        self.next += 1;
        if seq <= self.present_seq {
            self.skipped += 1;
            if seq == self.present_seq && !self.present.take().is_some_and(|present| same(present, event)) {
                return Err(format!(
                    "there is another room {} already: its event {seq} is not that of the file",
                    self.name
                ));
            }
            return Ok(());
        }
        if !self.batch.is_empty()
            && (self.batch.len() == IMPORT_MAX || self.batch_bytes + bytes > BATCH_BYTES)
        {
            self.send(session)?;
        }
        if self.batch.is_empty() {
            self.batch_first = seq;
        }
        // It is said once for all of them.
        event.remove("room");
        self.batch.push(event);
        self.batch_bytes += bytes;
        Ok(())
    }

    fn send(&mut self, session: &mut Session) -> Result<(), String> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let events = std::mem::take(&mut self.batch);
        self.batch_bytes = 0;
        self.events += events.len() as u64;
        let data = json!({ "room": self.name, "first_seq": self.batch_first, "events": events });
        session.ask("import", &data).map(drop).map_err(|reason| format!("{}: {reason}", self.name))
    }

    fn end(mut self, session: &mut Session, taken: &mut Taken) -> Result<(), String> {
        self.send(session)?;
        if self.next <= self.last_seq {
            return Err(format!("{} ends before its event {}", self.name, self.next));
        }
        let members = std::mem::take(&mut self.info.members);
        let pages: Vec<_> =
            if members.is_empty() { vec![&[][..]] } else { members.chunks(MEMBERS).collect() };
        for page in pages {
            let info = RoomInfo { members: page.to_vec(), ..self.info.clone() };
            let data = json!({ "room": self.name, "info": info });
            session.ask("import_room", &data).map_err(|reason| format!("{}: {reason}", self.name))?;
        }
        taken.rooms += 1;
        taken.events += self.events;
        taken.present += self.skipped;
        Ok(())
    }
}

/// Whether two events are one, but for what differs between clusters and what people have added since.
fn same(mut one: Map<String, Value>, mut other: Map<String, Value>) -> bool {
    for event in [&mut one, &mut other] {
        event.retain(|key, _| {
            matches!(key.as_str(), "author" | "created_at" | "kind" | "client_msg_id" | "target")
        });
    }
    one == other
}
