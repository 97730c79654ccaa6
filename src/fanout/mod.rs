//! The fan-out: which connection is in which room, and what is to be written to it.
//!
//! The promise to a connection: it gets every event of each room that it follows, in the order of `seq`, from
//! the end of its `create_join` answer on, without gap or repeat. The answers to its writes come in the order
//! of the writes. If that cannot be kept for a connection, it is closed.
//!
//! **Cursors.** Each (connection, room) has a cursor: the next event it needs. If that is the event being
//! published, the event is queued, and a publication costs one step for each such follower. A cursor that is
//! behind *catches up*: from the room's most recent events, which are kept encoded as long as a connection
//! follows the room, or else by a page from the database. The database may lag behind the publications; a
//! page that brings nothing is asked for again on the next [`Instruction::Tick`].
//!
//! **Joining.** The answer to a `create_join` holds events that must be looked up first. Until they are
//! found, later answers to writes wait, and the cursor does not exist yet. When the answer is written, the
//! cursor begins after its last event and catches up with the events published meanwhile.
//!
//! **Names.** A renamed room keeps its number here. Stored events have the name of their time. A connection
//! that follows the room gets earlier events under the name by which it knows the room, and later events
//! under their own names, so that it sees the name change at the right event.
//!
//! **Outboxes** are bounded. If one is full its connection is cut, because the reader is too slow. That must
//! not happen to a reader that is only catching up, so the fan-out never fills more than half an outbox with
//! what it fetches: it shortens pages and answers, and waits for the outbox to drain.
//!
//! Instructions ([`Instruction`]) go in by [`Subscriptions::handle`]; outboxes, wanted pages and ended
//! connections are drained afterwards. Every [`EventQuery`] must be answered by one
//! [`Instruction::QueryResult`], be it a refusal.

mod answering;
mod conn;
mod following;
mod instruction;
mod outbox;
mod page;
mod query;
mod room;

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    sync::Arc,
};

use crate::{
    disk::RoomId,
    protocol::{limits::HISTORY_BYTES, said::Said},
};

use self::{
    conn::{Conn, Queued},
    room::Followed,
};

pub use self::{
    instruction::{Instruction, Join},
    query::{ConnId, EventQuery, Purpose, QueriedEvents, QueryResult},
};

/// Which connections follow which rooms, and what is to be written to them.
#[derive(Debug)]
pub struct Subscriptions {
    limits: OutboxLimits,
    conns: BTreeMap<ConnId, Conn>,
    /// Rooms that a connection follows.
    rooms: BTreeMap<RoomId, Followed>,
    /// Connections that may have something to catch up with.
    behind: BTreeSet<ConnId>,
    /// To be drained: at most a few for each instruction since the last drain.
    dirty: Vec<ConnId>,
    /// To be drained: at most one for each connection.
    queries: Vec<EventQuery>,
    /// To be drained: at most one for each connection.
    closed: Vec<(ConnId, End)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Everything has been taken: close it when all is written.
    Finished,
    /// Its outbox was full: close it at once, whatever was taken.
    TooSlow,
}

/// The limits of an outbox, in bytes.
#[derive(Debug, Clone, Copy)]
struct OutboxLimits {
    /// The limit: a connection that would pass it is cut.
    cut: usize,
    /// The fan-out fills it up to here with what it fetches.
    high: usize,
    /// Below this a page from the database is asked for.
    low: usize,
    /// The size of that page. A message is longer than the event in it, by less than `low`.
    page: usize,
}

impl OutboxLimits {
    fn of(outbox_bytes: usize) -> Self {
        OutboxLimits {
            cut: outbox_bytes,
            high: outbox_bytes / 2,
            low: outbox_bytes / 4,
            page: (outbox_bytes / 4).min(HISTORY_BYTES),
        }
    }
}

impl Subscriptions {
    /// A fan-out without connections. `outbox_bytes` is what may wait to be written to one connection
    /// (`Limits::outbox_bytes`).
    pub fn new(outbox_bytes: usize) -> Self {
        Subscriptions {
            limits: OutboxLimits::of(outbox_bytes),
            conns: BTreeMap::new(),
            rooms: BTreeMap::new(),
            behind: BTreeSet::new(),
            dirty: Vec::new(),
            queries: Vec::new(),
            closed: Vec::new(),
        }
    }

    /// Changes what may wait to be written to one connection. One that holds more already is closed when more
    /// is said to it.
    pub fn limit(&mut self, outbox_bytes: usize) {
        self.limits = OutboxLimits::of(outbox_bytes);
    }

    /// Carries out an instruction. One for a connection that is not open, or no longer, does nothing.
    pub fn handle(&mut self, instruction: Instruction) {
        match instruction {
            Instruction::Open { conn } => drop(self.conns.entry(conn).or_default()),
            Instruction::Answer { conn, said } => self.answer(conn, said),
            Instruction::Say { conn, said } => self.say(conn, said),
            Instruction::SayAll { said } => self.say_all(&said),
            Instruction::Join(join) => self.join(*join),
            Instruction::Follow { conn, room, name, after, last_seq } => {
                self.follow(conn, room, name, after, last_seq);
            }
            Instruction::Unfollow { conn, room } => self.unfollow(conn, room),
            Instruction::Publish { room, seq, said } => self.publish(room, seq, said),
            Instruction::Rewrite(row) => self.rewrite(&row),
            Instruction::QueryResult { conn, room, purpose, result, by } => match purpose {
                Purpose::Join { index } => self.found_join(conn, index, result, by),
                Purpose::CatchUp => self.found_page(conn, room, result),
                Purpose::History { to, range, page } => {
                    self.found_history(conn, to, range, page, result, by);
                }
            },
            Instruction::Close { conn } => self.close(conn),
            Instruction::Forget { conn } => drop(self.remove(conn)),
            Instruction::Tick => self.tick(),
        }
    }

    /// The connections whose outbox has become non-empty since the last call. The caller must go on taking
    /// from each until [`Subscriptions::queued_bytes`] is 0, however long that takes: it is not named again
    /// before. (It may be named twice.)
    pub fn dirty(&mut self) -> Vec<ConnId> {
        mem::take(&mut self.dirty)
    }

    /// Takes what is to be written next to `conn`: as much as fits into `max_bytes`, but at least one message
    /// if there is any. What was taken no longer counts against the outbox, so take only what can be written
    /// soon.
    pub fn take(&mut self, conn: ConnId, max_bytes: usize) -> Vec<Arc<Said>> {
        let Some(state) = self.conns.get_mut(&conn) else { return Vec::new() };
        let taken = state.outbox.take(max_bytes);
        self.resume(conn);
        self.end_where_finished(conn);
        taken
    }

    /// How much waits to be taken for `conn`, in bytes.
    pub fn queued_bytes(&self, conn: ConnId) -> usize {
        self.conns.get(&conn).map_or(0, |conn| conn.outbox.bytes())
    }

    /// How much waits for each connection, in bytes, including answers that wait for their turn.
    pub fn backlogs(&self) -> impl Iterator<Item = (ConnId, usize)> {
        self.conns.iter().map(|(conn, state)| (*conn, state.pending_bytes()))
    }

    /// The share of `conn` of the memory that waits for it, in bytes: a message that waits for others as
    /// well, or is kept as a recent event, is divided among them.
    pub fn share(&self, conn: ConnId) -> usize {
        self.conns.get(&conn).map_or(0, Conn::share)
    }

    /// The pages that are wanted from the database since the last call.
    pub fn queries(&mut self) -> Vec<EventQuery> {
        mem::take(&mut self.queries)
    }

    /// The connections that have ended since the last call. The fan-out has forgotten them.
    pub fn closed(&mut self) -> Vec<(ConnId, End)> {
        mem::take(&mut self.closed)
    }

    /// Queues something for a connection, or cuts it.
    fn say(&mut self, conn: ConnId, said: Arc<Said>) {
        let Some(state) = self.conns.get_mut(&conn).filter(|conn| !conn.is_closing) else { return };
        match state.queue(said, self.limits.cut) {
            Queued::First => self.dirty.push(conn),
            Queued::Behind => {}
            Queued::Full => self.cut(conn),
        }
    }

    fn say_all(&mut self, said: &Arc<Said>) {
        for conn in self.conns.keys().copied().collect::<Vec<_>>() {
            self.say(conn, Arc::clone(said));
        }
    }

    /// Queues nothing more; the connection ends when what waits has been taken.
    fn close(&mut self, conn: ConnId) {
        let Some(state) = self.conns.get_mut(&conn) else { return };
        state.is_closing = true;
        state.lagging.clear();
        for room in mem::take(&mut state.rooms) {
            self.leave_room(conn, room);
        }
        self.end_where_finished(conn);
    }

    fn end_where_finished(&mut self, conn: ConnId) {
        if self.conns.get(&conn).is_some_and(Conn::is_finished) {
            self.remove(conn);
            self.closed.push((conn, End::Finished));
        }
    }

    fn cut(&mut self, conn: ConnId) {
        if self.remove(conn).is_some() {
            self.closed.push((conn, End::TooSlow));
        }
    }

    fn remove(&mut self, conn: ConnId) -> Option<Conn> {
        let state = self.conns.remove(&conn)?;
        for room in &state.rooms {
            self.leave_room(conn, *room);
        }
        self.behind.remove(&conn);
        Some(state)
    }

    /// Takes the connection out of the room; the last one takes the room's recent events with it.
    fn leave_room(&mut self, conn: ConnId, room: RoomId) {
        if let Some(followed) = self.rooms.get_mut(&room) {
            followed.followers.remove(&conn);
            if followed.followers.is_empty() {
                self.rooms.remove(&room);
            }
        }
    }
}
