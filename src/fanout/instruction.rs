//! The instructions to the fan-out.

use std::sync::Arc;

use crate::{
    disk::{EventRange, EventRow, RoomId},
    protocol::{
        answer::{JoinAnswer, Signature},
        envelope::AnswerTo,
        limits::{HISTORY_BYTES, HISTORY_MAX},
        name::RoomName,
        said::Said,
    },
};

use super::{ConnId, EventQuery, Purpose, QueryResult};

/// An instruction to the fan-out. Instructions are carried out in the order they are given.
#[derive(Debug, Clone)]
pub enum Instruction {
    Open {
        conn: ConnId,
    },
    /// The answer to a write: it waits for its turn after a `Join` that waits for its events.
    Answer {
        conn: ConnId,
        said: Arc<Said>,
    },
    /// A message that may overtake others: the answer to a read, or a push that belongs to no room.
    Say {
        conn: ConnId,
        said: Arc<Said>,
    },
    /// A push for every connection.
    SayAll {
        said: Arc<Said>,
    },
    /// A `create_join` was applied. Its answer is written when its events are found (`QueryResult` with
    /// `Purpose::Join`); until then later `Answer`s of the connection wait. From that answer on the
    /// connection gets the room's events without gap or repeat; an earlier `Follow` or `Join` of the room
    /// ends here.
    Join(Box<Join>),
    /// From now on the connection gets the room's events above `after`, without gap or repeat. Ignored if the
    /// connection follows the room already. If a `Join` of the room waits for its events and an `Unfollow`
    /// has ended it, this lets it go on.
    Follow {
        conn: ConnId,
        room: RoomId,
        /// The room's name at this point of the instructions.
        name: RoomName,
        /// The last event it does not need.
        after: u64,
        /// The newest event of the room at this point of the instructions.
        last_seq: u64,
    },
    /// The connection no longer gets the room's events.
    Unfollow {
        conn: ConnId,
        room: RoomId,
    },
    /// Something happened in a room.
    Publish {
        room: RoomId,
        /// The event's place in it.
        seq: u64,
        said: Arc<Said>,
    },
    /// An earlier event of a room was changed: from now on no connection gets the old form. Those that have
    /// it learn of the change by the event that made it.
    Rewrite(Box<EventRow>),
    QueryResult {
        conn: ConnId,
        room: RoomId,
        purpose: Purpose,
        result: QueryResult,
        /// Who says it and when.
        by: Signature,
    },
    /// End the connection once what is queued before this has been written.
    Close {
        conn: ConnId,
    },
    /// The connection is gone already: forget it.
    Forget {
        conn: ConnId,
    },
    /// Time passed: ask again for what is still missing.
    Tick,
}

/// A `create_join` whose events are being looked up.
#[derive(Debug, Clone)]
pub struct Join {
    pub conn: ConnId,
    pub room: RoomId,
    /// The log entry of the join, which tells it from others of the connection.
    pub index: u64,
    pub to: AnswerTo,
    /// The answer without `events` and `more`; `last_seq` is the room's newest event at this point of
    /// the instructions.
    pub answer: JoinAnswer,
    /// Whether the request named `after`, and which. On a resume the events in the answer begin at `after +
    /// 1`. If not all fit, the rest follows as pushes.
    pub after: Option<u64>,
    /// Without `after`: how many events the query was asked for. `more` tells whether there are older ones.
    pub history: usize,
    /// Those of its events that are not written yet, as in the query.
    pub unwritten: Vec<EventRow>,
    /// Who says it and when.
    pub by: Signature,
}

impl Join {
    /// The events that are looked up for it.
    pub fn range(&self) -> EventRange {
        EventRange {
            // What the room has forgotten may still be there.
            after: self.after.unwrap_or(0).max(self.answer.first_seq.saturating_sub(1)),
            before: self.answer.last_seq + 1,
            oldest_first: self.after.is_some(),
            limit: if self.after.is_some() { HISTORY_MAX } else { self.history },
            max_bytes: HISTORY_BYTES,
        }
    }

    /// The query for them.
    pub fn query(&self) -> EventQuery {
        let purpose = Purpose::Join { index: self.index };
        let unwritten = self.unwritten.clone();
        EventQuery { conn: self.conn, room: self.room, range: self.range(), unwritten, purpose }
    }
}
