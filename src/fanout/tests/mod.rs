//! Tests of the fan-out: single cases (`stories`), and random instructions with a database that lags and
//! readers that dawdle (`model`).

mod model;
mod stories;

use std::sync::Arc;

use serde_json::value::{RawValue, to_raw_value};

use super::{Instruction, Join};
use crate::{
    disk::{EventRange, EventRow, RoomId},
    fanout::{ConnId, QueriedEvents},
    protocol::{
        Event, EventKind, JoinAnswer, Message, RequestId, RoomName, ServerId, UserName,
        answer::{Left, Signature},
        envelope::AnswerTo,
        said::Said,
    },
};

/// All that ever happened in a room.
struct History {
    room: RoomId,
    /// The first event that is kept.
    first_kept: u64,
    events: Vec<(Arc<Event>, Arc<RawValue>)>,
}

impl History {
    fn new(room: u64) -> Self {
        History { room: RoomId(room), first_kept: 1, events: Vec::new() }
    }

    fn name(&self) -> RoomName {
        RoomName::new(&format!("room{}", self.room.0)).expect("a name")
    }

    fn last_seq(&self) -> u64 {
        self.events.len() as u64
    }

    /// The next event happens; the instruction that publishes it.
    fn say(&mut self, body: &str) -> Instruction {
        let seq = self.last_seq() + 1;
        let event = Event {
            room: self.name(),
            seq,
            author: UserName::new("Alice").expect("a name"),
            lamport_timestamp: seq,
            created_at: 1_000 * seq,
            kind: EventKind::Message(Message {
                body: body.into(),
                client_msg_id: seq.to_string(),
                ..Message::default()
            }),
        };
        let json: Arc<RawValue> = to_raw_value(&event).expect("an event").into();
        let event = Arc::new(event);
        self.events.push((Arc::clone(&event), Arc::clone(&json)));
        Instruction::Publish { room: self.room, seq, said: Said::event(&event, json) }
    }

    fn publish(&self, seq: u64) -> Instruction {
        let (event, json) = &self.events[seq as usize - 1];
        Instruction::Publish { room: self.room, seq, said: Said::event(event, Arc::clone(json)) }
    }

    /// Event `seq` has got another text; the instruction that says so.
    fn rewrite(&mut self, seq: u64, body: &str) -> Instruction {
        let place = seq as usize - 1;
        let mut event = Event::clone(&self.events[place].0);
        event.kind = EventKind::Message(Message {
            body: body.into(),
            client_msg_id: seq.to_string(),
            ..Message::default()
        });
        let json: Arc<RawValue> = to_raw_value(&event).expect("an event").into();
        self.events[place] = (Arc::new(event), json);
        let range =
            EventRange { after: seq - 1, before: seq + 1, oldest_first: true, limit: 1, max_bytes: 0 };
        Instruction::Rewrite(Box::new(self.find(&range, u64::MAX).remove(0)))
    }

    /// What a database that has the first `visible` events finds.
    fn find(&self, range: &EventRange, visible: u64) -> Vec<EventRow> {
        let in_range = |event: &Event| {
            event.seq > range.after
                && event.seq < range.before
                && (self.first_kept..=visible).contains(&event.seq)
        };
        let rows = self.events.iter().filter(|(event, _)| in_range(event)).map(|(event, json)| EventRow {
            room: self.room,
            seq: event.seq,
            index: event.seq,
            created_at_ms: event.created_at,
            author: event.author.key(),
            json: Arc::clone(json),
        });
        let mut bytes = 0;
        let mut fits = |row: &EventRow| {
            bytes += row.json.get().len();
            bytes <= range.max_bytes || bytes == row.json.get().len()
        };
        if range.oldest_first {
            rows.take(range.limit).take_while(&mut fits).collect()
        } else {
            let rows: Vec<EventRow> = rows.collect();
            let mut newest: Vec<EventRow> =
                rows.into_iter().rev().take(range.limit).take_while(&mut fits).collect();
            newest.reverse();
            newest
        }
    }

    /// The same as a look into the database gives it.
    fn look(&self, range: &EventRange, visible: u64) -> QueriedEvents {
        let rows = self.find(range, visible);
        let begins_late = range.oldest_first && rows.first().is_none_or(|row| row.seq != range.after + 1);
        let first_kept = if begins_late && visible >= self.first_kept { self.first_kept } else { 0 };
        QueriedEvents { rows, first_kept }
    }

    /// A join of `conn`, whose events begin after `after` or are the last `history`; and the range that
    /// the replica asks the database for.
    fn join(&self, conn: ConnId, id: i64, after: Option<u64>, history: usize) -> (Instruction, EventRange) {
        let answer = JoinAnswer {
            room_id: None,
            room: self.name(),
            created: false,
            private: false,
            topic: String::new(),
            role: "member".into(),
            first_seq: self.first_kept,
            last_seq: self.last_seq(),
            pins: Vec::new(),
            events: Vec::new(),
            more: false,
        };
        let range = EventRange {
            after: after.unwrap_or(0),
            before: self.last_seq() + 1,
            oldest_first: after.is_some(),
            limit: if after.is_some() { 500 } else { history },
            max_bytes: 1 << 20,
        };
        let to = to("create_join", id);
        let index = id as u64;
        let join = Join {
            conn,
            room: self.room,
            index,
            to,
            answer,
            after,
            history,
            unwritten: Vec::new(),
            by: by(),
        };
        (Instruction::Join(Box::new(join)), range)
    }
}

fn by() -> Signature {
    Signature { server_id: ServerId::new("server1").expect("an id"), lamport_timestamp: 0, now_ms: 0 }
}

fn to(msg_type: &'static str, id: i64) -> AnswerTo {
    AnswerTo { msg_type: msg_type.into(), request_id: Some(RequestId::Number(id)) }
}

/// The answer to a write that needs no events.
fn left(conn: ConnId, id: i64) -> Instruction {
    let room = RoomName::new("elsewhere").expect("a name");
    Instruction::Answer { conn, said: Said::answer(to("leave", id), Left { room }, by()) }
}
