//! Rooms into a cluster.
//!
//! Each room's events are sent in order, several at a time. `first_seq` says where they belong, so that none
//! can be added twice or in another place. Events that are there already are compared at their end and left
//! out: an import that was broken off is simply repeated. Settings and members of a room come last, so that
//! its history is not pushed to members.
//!
//! If the cluster refuses several events at once, they are sent one by one. The error then names the refused
//! one with its line; those before it are taken over.

use std::io::BufRead;

use serde_json::{Map, Value};

use crate::{
    admin::session::{AskError, Session},
    protocol::{
        Code, RoomName,
        checked::{Limit, Seq},
        event::EventKind,
        export::{ImportEvent, RoomInfo},
        limits::{IMPORT_MAX, LINE_BYTES_LEAST},
        request::{Export, Import, ImportRoom},
    },
};

use super::{
    error::{LineError, Lines, TransferError},
    line::{Line, Mark},
};

/// Bytes of events in one request: the whole line is within the least limit that a server can be configured
/// to.
const BATCH_BYTES: usize = 40 * 1024;
const _: () = assert!(BATCH_BYTES + IMPORT_MAX + 1024 <= LINE_BYTES_LEAST);
/// Members in one request.
const MEMBERS: usize = 500;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Taken {
    pub rooms: u64,
    /// Events that were not there.
    pub events: u64,
    /// Events that were there already.
    pub present: u64,
}

/// Takes over a whole file.
///
/// # Errors
/// A line is wrong, or the cluster does not take it. What was taken over by then stays.
pub fn import(session: &mut Session, input: impl BufRead) -> Result<Taken, TransferError> {
    let mut taken = Taken::default();
    let mut room: Option<Room> = None;
    let read = take_lines(session, input, &mut room, &mut taken);
    if read.is_err()
        && let Some(room) = &mut room
    {
        // What stands before a wrong line is taken over. If that fails, an earlier line is wrong.
        room.send(session)?;
    }
    read.map(|()| taken)
}

fn take_lines(
    session: &mut Session,
    input: impl BufRead,
    room: &mut Option<Room>,
    taken: &mut Taken,
) -> Result<(), TransferError> {
    let (mut is_whole, mut is_empty) = (false, true);
    for (number, line) in (1..).zip(input.lines()) {
        let here = Lines::one(number);
        let at = |source: LineError| TransferError::of(here, source);
        let line = line.map_err(|error| at(LineError::Read(error)))?;
        // Some programs begin every text with a byte order mark.
        let line = if number == 1 { line.trim_start_matches('\u{feff}') } else { &line };
        if line.trim().is_empty() {
            continue;
        }
        is_empty = false;
        if is_whole {
            return Err(at(LineError::BehindEnd));
        }
        match Line::read(line).map_err(at)? {
            Line::Event { seq, event } => {
                let room = room.as_mut().ok_or_else(|| at(LineError::NoRoom))?;
                room.event(session, number, seq, event, line.len())?;
            }
            Line::Mark(mark) => {
                if let Some(room) = room.take() {
                    room.end(session, number, taken)?;
                }
                match *mark {
                    Mark::Room { room: name, info, first_seq, last_seq, .. } => {
                        let begun = Room::begin(session, number, name, info, (first_seq, last_seq));
                        *room = Some(begun.map_err(at)?);
                    }
                    Mark::End { rooms, events } => {
                        let (seen_rooms, seen_events) = (taken.rooms, taken.events + taken.present);
                        if (rooms, events) != (seen_rooms, seen_events) {
                            return Err(at(LineError::Counts { rooms, events, seen_rooms, seen_events }));
                        }
                        is_whole = true;
                    }
                }
            }
        }
    }
    if is_whole {
        Ok(())
    } else {
        Err(if is_empty { TransferError::Empty } else { TransferError::EndsEarly })
    }
}

/// An event that waits to be sent, with its line.
struct Waiting {
    line: u64,
    event: ImportEvent,
}

/// A room that is being taken over.
struct Room {
    /// The line that it begins with.
    line: u64,
    name: RoomName,
    info: RoomInfo,
    last_seq: u64,
    /// The next event of the file.
    next: u64,
    /// The last event that was there already, which must be the same.
    present: Option<ImportEvent>,
    /// Up to here events were there already.
    present_seq: u64,
    batch: Vec<Waiting>,
    batch_bytes: usize,
    batch_first: u64,
    events: u64,
    skipped: u64,
}

impl Room {
    fn begin(
        session: &mut Session,
        line: u64,
        name: RoomName,
        info: RoomInfo,
        (first_seq, last_seq): (u64, u64),
    ) -> Result<Room, LineError> {
        if first_seq == 0 || last_seq < first_seq {
            return Err(LineError::Range { room: name, first: first_seq, last: last_seq });
        }
        let asked = |source| LineError::Room { room: name.clone(), source: Box::new(source) };
        let there = match session.ask(one_event(&name, 0)?) {
            Ok(page) => page.last_seq,
            Err(AskError::Refused(refusal)) if refusal.code == Code::NotFound => 0,
            Err(source) => return Err(asked(source)),
        };
        let present_seq = last_seq.min(there);
        let present = if present_seq >= first_seq {
            let page = session.ask(one_event(&name, present_seq - 1)?).map_err(asked)?;
            let first = page.events.first().map(|event| serde_json::from_str(event.get()));
            first.transpose().map_err(|source| LineError::Event {
                room: name.clone(),
                seq: present_seq,
                source,
            })?
        } else {
            None
        };
        Ok(Room {
            line,
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
        line: u64,
        seq: u64,
        mut event: Map<String, Value>,
        bytes: usize,
    ) -> Result<(), TransferError> {
        let at = |source: LineError| TransferError::of(Lines::one(line), source);
        let room = || self.name.clone();
        if seq > self.last_seq {
            return Err(at(LineError::Beyond { room: room(), seq, last: self.last_seq }));
        }
        if seq != self.next {
            return Err(at(LineError::Order { room: room(), seq, expected: self.next }));
        }
        // It is given once for all of them.
        if let Some(named) = event.remove("room")
            && named.as_str().and_then(RoomName::new).is_none_or(|named| named.key() != self.name.key())
        {
            let named = named.as_str().map_or_else(|| named.to_string(), str::to_owned);
            return Err(at(LineError::Elsewhere { room: self.name.clone(), seq, named }));
        }
        let event: ImportEvent = serde_json::from_value(Value::Object(event))
            .map_err(|source| at(LineError::Event { room: self.name.clone(), seq, source }))?;
        if let Some(by) = changed_by(&event).filter(|by| *by > self.last_seq) {
            return Err(at(LineError::NoChange { room: self.name.clone(), seq, by, last: self.last_seq }));
        }
        if seq == self.present_seq && !self.present.take().is_some_and(|present| same(&present, &event)) {
            return Err(at(LineError::AnotherRoom { room: self.name.clone(), seq }));
        }
        self.next += 1;
        if seq <= self.present_seq {
            self.skipped += 1;
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
        self.batch.push(Waiting { line, event });
        self.batch_bytes += bytes;
        Ok(())
    }

    fn send(&mut self, session: &mut Session) -> Result<(), TransferError> {
        let batch = std::mem::take(&mut self.batch);
        self.batch_bytes = 0;
        let (Some(first), Some(last)) = (batch.first(), batch.last()) else { return Ok(()) };
        let lines = Lines { first: first.line, last: last.line };
        let at = |lines: Lines, source: LineError| TransferError::of(lines, source);
        let import = |seq: u64, events: Vec<ImportEvent>| {
            let first_seq = Seq::try_from(seq).map_err(|invalid| at(lines, LineError::Place(invalid)))?;
            Ok::<_, TransferError>(Import { room: self.name.clone(), first_seq, events })
        };
        let all = batch.iter().map(|waiting| waiting.event.clone()).collect();
        let refused =
            |seq, source| LineError::Refused { room: self.name.clone(), seq, source: Box::new(source) };
        match session.ask(import(self.batch_first, all)?) {
            Ok(_) => self.events += batch.len() as u64,
            // It is asked only once: a line that is too long has ended the connection.
            Err(source @ AskError::Refused(_)) if batch.len() == 1 => {
                return Err(at(lines, refused(self.batch_first, source)));
            }
            // None of them was added. Sending each by itself shows which one is refused.
            Err(AskError::Refused(_)) => {
                for (seq, Waiting { line, event }) in (self.batch_first..).zip(batch) {
                    let sent = session.ask(import(seq, vec![event])?);
                    sent.map_err(|source| at(Lines::one(line), refused(seq, source)))?;
                    self.events += 1;
                }
            }
            Err(source) => {
                let source = Box::new(source);
                return Err(at(lines, LineError::Room { room: self.name.clone(), source }));
            }
        }
        Ok(())
    }

    /// The room's last event was read, and `line` is the next line.
    fn end(mut self, session: &mut Session, line: u64, taken: &mut Taken) -> Result<(), TransferError> {
        self.send(session)?;
        if self.next <= self.last_seq {
            let source = LineError::EndsBefore { room: self.name, seq: self.next };
            return Err(TransferError::of(Lines::one(line), source));
        }
        let members = std::mem::take(&mut self.info.members);
        let pages: Vec<_> =
            if members.is_empty() { vec![&[][..]] } else { members.chunks(MEMBERS).collect() };
        for page in pages {
            let info = RoomInfo { members: page.to_vec(), ..self.info.clone() };
            let import = ImportRoom { room: self.name.clone(), info: Box::new(info) };
            session.ask(import).map_err(|source| {
                let source = Box::new(source);
                let error = LineError::Room { room: self.name.clone(), source };
                TransferError::of(Lines::one(self.line), error)
            })?;
        }
        taken.rooms += 1;
        taken.events += self.events;
        taken.present += self.skipped;
        Ok(())
    }
}

/// Asks for the first event above `after`.
fn one_event(room: &RoomName, after: u64) -> Result<Export, LineError> {
    let after = Seq::try_from(after).map_err(LineError::Place)?;
    Ok(Export { room: room.clone(), after, limit: Some(Limit::clamped(1)) })
}

/// The event that has changed this one last, if it is a message that was edited or deleted.
fn changed_by(event: &ImportEvent) -> Option<u64> {
    match event.event.event_kind() {
        Ok(EventKind::Message(message)) => message.edited.max(message.deleted),
        _ => None,
    }
}

/// Whether two events are the same, except for what differs between clusters and what users have added since.
/// Only `present` has an id if the file is of another program.
fn same(present: &ImportEvent, ours: &ImportEvent) -> bool {
    let is_changed = changed_by(present).or(changed_by(ours)).is_some();
    let essence = |event: &ImportEvent| {
        let mut kind: Map<String, Value> = serde_json::from_str(&event.event.kind).unwrap_or_default();
        let has_body = kind.get("kind").is_some_and(|kind| kind == "message") && !is_changed;
        kind.retain(|key, _| match key.as_str() {
            "kind" | "client_msg_id" | "target" => true,
            "body" => has_body,
            _ => false,
        });
        kind
    };
    let (mut one, other) = (essence(present), essence(ours));
    if other.get("client_msg_id").is_some_and(|id| id == "") {
        one.insert("client_msg_id".into(), "".into());
    }
    (present.event.author.key(), present.event.created_at) == (ours.event.author.key(), ours.event.created_at)
        && one == other
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;
    use serde_json::json;

    use super::*;
    use crate::{
        admin::session::tests::{Script, refused, session},
        protocol::Request,
    };

    fn room(first_seq: u64, last_seq: u64) -> Value {
        json!({"export": "room", "version": 1, "room": "den", "info": {"private": false},
            "first_seq": first_seq, "last_seq": last_seq})
    }

    fn event(seq: u64, body: &str) -> Value {
        json!({"seq": seq, "author": "bob", "created_at": seq, "body": body})
    }

    fn end(rooms: u64, events: u64) -> Value {
        json!({"export": "end", "rooms": rooms, "events": events})
    }

    fn file(lines: &[Value]) -> String {
        lines.iter().map(|line| format!("{line}\n")).collect()
    }

    /// A server without rooms, which takes every event but those that say "bad".
    fn empty(request: &Request) -> (&'static str, Value) {
        match request {
            Request::Export(_) => refused("not_found", "there is no room den"),
            Request::Import(import) => {
                let is_bad = |event: &ImportEvent| event.event.kind.contains("bad");
                if import.events.iter().any(is_bad) {
                    return refused("bad_request", "events: too bad");
                }
                ("ack", json!({"room": "den", "seq": import.first_seq.get()}))
            }
            _ => ("ack", json!({"room": "den", "seq": 1})),
        }
    }

    fn imported(script: Script, text: &str) -> Result<Taken, String> {
        let mut session = session(script);
        import(&mut session, text.as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_file_of_another_program_with_blank_lines_and_a_mark_is_taken() {
        let lines = [room(1, 2), event(1, "a"), event(2, "b"), end(1, 2)];
        let text = format!("\u{feff}{}\r\n\n", file(&lines).replace('\n', "\r\n\r\n"));
        let taken = Taken { rooms: 1, events: 2, present: 0 };
        assert_eq!(imported(empty, &text), Ok(taken));
        assert_eq!(imported(empty, file(&lines).trim_end()), Ok(taken), "the last line has no end");
    }

    #[test]
    fn an_event_that_was_refused_by_itself_is_not_sent_again() {
        static ASKED: Mutex<u32> = Mutex::new(0);
        fn script(request: &Request) -> (&'static str, Value) {
            if let Request::Import(_) = request {
                *ASKED.lock() += 1;
            }
            empty(request)
        }
        let lines = [room(1, 1), event(1, "bad"), end(1, 1)];
        let named = imported(script, &file(&lines)).unwrap_err();
        assert!(named.contains("line 2: event 1 of den: ") && named.contains("too bad"), "{named}");
        assert_eq!(*ASKED.lock(), 1);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line_and_event() {
        for (lines, named) in [
            (
                vec![room(1, 2), event(1, "a"), event(3, "b")],
                "line 3: event 3 of den, which ends with event 2",
            ),
            (vec![room(1, 3), event(1, "a"), event(3, "b")], "line 3: event 3 of den, where event 2 belongs"),
            (vec![room(1, 3), event(1, "a"), end(1, 1)], "line 3: den ends before its event 2"),
            (vec![room(1, 1), event(1, "a"), end(1, 2)], "line 3: the end counts 1 room with 2 events"),
            (vec![room(1, 1), event(1, "a"), end(2, 1)], "line 3: the end counts 2 rooms"),
            (
                vec![room(1, 1), event(1, "a"), end(1, 1), end(1, 1)],
                "line 4: something stands behind the end",
            ),
            (vec![room(1, 1), event(1, "a")], "the file ends early"),
            (vec![room(2, 1)], "line 1: den cannot have the events 2 to 1"),
            (vec![event(1, "a")], "line 1: an event before any room"),
            (
                vec![
                    room(1, 2),
                    event(1, "a"),
                    json!({"seq": 2, "author": "b c", "created_at": 1, "body": ""}),
                ],
                "line 3: event 2 of den: it cannot be read: must be",
            ),
            (
                vec![
                    room(1, 1),
                    json!({"seq": 1, "author": "b", "created_at": 1, "kind": "dance", "body": ""}),
                ],
                "line 2: event 1 of den: it is of the kind \"dance\"",
            ),
            (
                vec![room(1, 1), json!({"seq": 1, "author": "b", "created_at": -1, "body": ""})],
                "line 2: event 1 of den: its created_at is no number",
            ),
            (
                vec![
                    room(1, 1),
                    json!({"seq": 1, "room": "attic", "author": "b", "created_at": 1, "body": "x"}),
                ],
                "line 2: event 1 of den says that it belongs to the room attic",
            ),
            (vec![], "the file is empty"),
        ] {
            let error = imported(empty, &file(&lines)).unwrap_err();
            assert!(error.starts_with(named), "{error}");
        }
    }

    #[test]
    fn the_event_that_is_refused_is_named_and_those_before_it_are_taken() {
        static SENT: Mutex<Vec<(u64, usize)>> = Mutex::new(Vec::new());
        let script: Script = |request| {
            if let Request::Import(import) = request {
                SENT.lock().push((import.first_seq.get(), import.events.len()));
            }
            empty(request)
        };
        let lines = [room(1, 4), event(1, "a"), event(2, "b"), event(3, "bad"), event(4, "c"), end(1, 4)];
        let error = imported(script, &file(&lines)).unwrap_err();
        assert_eq!(error, "line 4: event 3 of den: bad_request: events: too bad");
        assert_eq!(*SENT.lock(), [(1, 4), (1, 1), (2, 1), (3, 1)]);
    }

    #[test]
    fn what_stands_before_a_wrong_line_is_taken_over() {
        static SENT: Mutex<Vec<(u64, usize)>> = Mutex::new(Vec::new());
        let script: Script = |request| {
            if let Request::Import(import) = request {
                SENT.lock().push((import.first_seq.get(), import.events.len()));
            }
            empty(request)
        };
        let good = file(&[room(1, 3), event(1, "a"), event(2, "b")]);
        for (rest, named) in [
            ("{\"seq\": 3, \"author\"", "line 4: not JSON: EOF while parsing an object at column 19"),
            ("{\"seq\":7}", "line 4: event 7 of den, which ends with event 3"),
            ("", "the file ends early"),
        ] {
            let error = imported(script, &format!("{good}{rest}")).unwrap_err();
            assert!(error.starts_with(named), "{error}");
            assert_eq!(std::mem::take(&mut *SENT.lock()), [(1, 2)], "{named}");
        }
        // An earlier line that is refused is named instead.
        let bad = file(&[room(1, 3), event(1, "a"), event(2, "bad")]) + "no json";
        let error = imported(script, &bad).unwrap_err();
        assert!(error.starts_with("line 3: event 2 of den: bad_request"), "{error}");
    }

    #[test]
    fn what_is_there_already_is_left_out_and_checked_all_the_same() {
        let script: Script = |request| match request {
            Request::Export(asked) => {
                let seq = asked.after.get() + 1;
                let event = json!({"room": "den", "seq": seq, "author": "Bob", "lamport_timestamp": 70 + seq,
                    "created_at": seq as f64, "kind": "message", "body": "edited since",
                    "client_msg_id": format!("import-1-{seq}"), "edited": 9});
                let info = json!({"private": false, "members": []});
                let page = json!({"for": "export", "room": "den", "info": info, "first_seq": 1, "last_seq": 2,
                    "events": [event], "more": true});
                ("export", page)
            }
            request => empty(request),
        };
        let lines = [room(1, 3), event(1, "a"), event(2, "a"), event(3, "b"), end(1, 3)];
        assert_eq!(imported(script, &file(&lines)), Ok(Taken { rooms: 1, events: 1, present: 2 }));
        let other =
            [room(1, 2), event(1, "a"), json!({"seq": 2, "author": "eve", "created_at": 2, "body": "a"})];
        let error = imported(script, &file(&other)).unwrap_err();
        assert!(error.starts_with("line 3: there is another room den already"), "{error}");
    }

    #[test]
    fn another_text_is_another_room_unless_it_was_edited() {
        let script: Script = |request| match request {
            Request::Export(asked) => {
                let seq = asked.after.get() + 1;
                let event = json!({"room": "den", "seq": seq, "author": "bob", "lamport_timestamp": 70 + seq,
                    "created_at": seq as f64, "kind": "message", "body": "a", "client_msg_id": "x"});
                let info = json!({"private": false, "members": []});
                let page = json!({"for": "export", "room": "den", "info": info, "first_seq": 1, "last_seq": 1,
                    "events": [event], "more": false});
                ("export", page)
            }
            request => empty(request),
        };
        assert!(imported(script, &file(&[room(1, 1), event(1, "a"), end(1, 1)])).is_ok());
        let other = imported(script, &file(&[room(1, 1), event(1, "b"), end(1, 1)])).unwrap_err();
        assert!(other.starts_with("line 2: there is another room den already"), "{other}");
        let mut edited = event(1, "b");
        edited["edited"] = json!(2);
        assert!(imported(script, &file(&[room(1, 2), edited.clone(), event(2, "c"), end(1, 2)])).is_ok());
        let beyond = imported(script, &file(&[room(1, 1), edited, end(1, 1)])).unwrap_err();
        assert_eq!(beyond, "line 2: event 1 of den was changed by event 2, but the last one is 1");
    }
}
