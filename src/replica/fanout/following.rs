//! Following rooms: cursors, publications and catching up.

use std::{
    mem,
    ops::Bound::{Excluded, Unbounded},
    sync::Arc,
};

use serde_json::value::RawValue;

use super::{
    Fanout, Join,
    conn::{AskedPage, Lag, Queued},
    page,
    room::{Cursor, Followed},
};
use crate::{
    planted::{Bug, planted},
    protocol::{Event, answer::event_line, limits::HISTORY_MAX},
    replica::{
        io::{ConnId, Found, FoundEvents, Purpose, Query},
        storage::{EventRange, EventRow, RoomId},
    },
};

impl Fanout {
    pub(super) fn follow(&mut self, conn: ConnId, room: RoomId, after: u64, last_seq: u64) {
        let follows = |state: &&super::Conn| !state.is_closing && !state.rooms.contains(&room);
        let Some(state) = self.conns.get(&conn).filter(follows) else { return };
        // The user left and came back elsewhere while an answer to a join waits for its events: that answer
        // is still where the pushes begin, so that the first is the one behind it.
        let cursor = match state.joining(room) {
            Some(index) => Cursor::Joining(index),
            None => Cursor::From(after.min(last_seq) + 1),
        };
        self.set_cursor(conn, room, last_seq, cursor);
        self.catch_up(conn, room);
    }

    pub(super) fn unfollow(&mut self, conn: ConnId, room: RoomId) {
        let Some(state) = self.conns.get_mut(&conn) else { return };
        state.lagging.remove(&room);
        if state.rooms.remove(&room) {
            self.leave_room(conn, room);
        }
    }

    /// Puts the connection into the room, whose newest event is `last_seq`.
    pub(super) fn set_cursor(&mut self, conn: ConnId, room: RoomId, last_seq: u64, cursor: Cursor) {
        let Some(state) = self.conns.get_mut(&conn) else { return };
        state.rooms.insert(room);
        state.lagging.remove(&room);
        let followed = self.rooms.entry(room).or_insert_with(|| Followed::new(last_seq));
        followed.followers.insert(conn, cursor);
        self.advance(room, last_seq);
    }

    /// Encodes the event once and queues it for everybody who needs it next.
    pub(super) fn publish(&mut self, room: RoomId, event: &Event, json: &RawValue) {
        let Some(known) = self.rooms.get(&room).map(|followed| followed.last_seq) else { return };
        if event.seq <= known {
            return;
        }
        // Normally there is nothing in between.
        self.advance(room, event.seq - 1);
        let line: Arc<[u8]> = event_line(event, json).into();
        let Some(followed) = self.rooms.get_mut(&room) else { return };
        followed.push(Arc::clone(&line));
        let mut full = Vec::new();
        for (conn, cursor) in &mut followed.followers {
            // Whoever is behind comes to this event later.
            if cursor.next() != Some(event.seq) {
                continue;
            }
            *cursor = Cursor::At(event.seq + 1);
            if planted(Bug::FanoutDrops) && event.seq.is_multiple_of(100) {
                continue;
            }
            match self.conns.get_mut(conn).map(|state| state.queue(Arc::clone(&line), self.limits.cut)) {
                Some(Queued::First) => self.dirty.push(*conn),
                Some(Queued::Full) if !planted(Bug::SlowReaderSkipped) => full.push(*conn),
                Some(_) | None => {}
            }
        }
        for conn in full {
            self.cut(conn);
        }
    }

    /// A stored event has become another, in memory as well: who catches up gets what it is now.
    pub(super) fn rewrite(&mut self, row: &EventRow) {
        if planted(Bug::RewrittenStaysRecent) {
            return;
        }
        let Some(followed) = self.rooms.get_mut(&row.room) else { return };
        if followed.recent(row.seq).is_some() {
            match page::line(row) {
                Some(line) => followed.rewrite(row.seq, line),
                // What cannot be told is looked up by whoever needs it, and they are closed.
                None => followed.advance(followed.last_seq),
            }
        }
    }

    /// The room's newest event is at least `last_seq`; what is new in between has to be looked up.
    pub(super) fn advance(&mut self, room: RoomId, last_seq: u64) {
        let Some(followed) = self.rooms.get_mut(&room) else { return };
        if last_seq <= followed.last_seq {
            return;
        }
        followed.advance(last_seq);
        for conn in followed.followers.keys().copied().collect::<Vec<_>>() {
            self.catch_up(conn, room);
        }
    }

    /// Brings the cursor forward as far as memory and outbox allow; asks for a page where memory does not
    /// reach back far enough.
    pub(super) fn catch_up(&mut self, conn: ConnId, room: RoomId) {
        let (Some(state), Some(followed)) = (self.conns.get_mut(&conn), self.rooms.get_mut(&room)) else {
            return;
        };
        let Some(&cursor) = followed.followers.get(&conn) else { return };
        let Some(first) = cursor.next() else { return };
        let mut next = first;
        while state.pending_bytes() < self.limits.high
            && let Some(line) = followed.recent(next)
        {
            match state.queue(Arc::clone(line), self.limits.cut) {
                Queued::First => self.dirty.push(conn),
                Queued::Behind => {}
                // A line that is long for this outbox waits until more of it has been taken.
                Queued::Full => break,
            }
            next += 1;
        }
        let cursor = if next > first { Cursor::At(next) } else { cursor };
        followed.followers.insert(conn, cursor);
        if next > followed.last_seq {
            state.lagging.remove(&room);
            return;
        }
        self.behind.insert(conn);
        let lag = *state.lagging.entry(room).or_insert(Lag::Wants);
        let has_room = state.pending_bytes() < self.limits.low;
        if lag == Lag::Wants && has_room && state.page.is_none() && followed.recent(next).is_none() {
            let may_skip = matches!(cursor, Cursor::From(_));
            state.page = Some(AskedPage { room, first: next, may_skip });
            state.page_room = Some(room);
            let range = EventRange {
                after: next - 1,
                before: followed.last_seq + 1,
                oldest_first: true,
                limit: HISTORY_MAX,
                max_bytes: self.limits.page,
            };
            self.queries.push(Query { conn, room, range, purpose: Purpose::CatchUp });
        }
    }

    /// Catches up in every room in which the connection is behind, beginning behind the room that had
    /// the last page.
    pub(super) fn resume(&mut self, conn: ConnId) {
        let Some(state) = self.conns.get(&conn).filter(|state| !state.lagging.is_empty()) else { return };
        let behind: Vec<RoomId> = match state.page_room {
            None => state.lagging.keys().copied().collect(),
            Some(last) => {
                let after = state.lagging.range((Excluded(last), Unbounded));
                after.chain(state.lagging.range(..=last)).map(|(room, _)| *room).collect()
            }
        };
        for room in behind {
            self.catch_up(conn, room);
        }
    }

    pub(super) fn tick(&mut self) {
        for conn in mem::take(&mut self.behind) {
            if let Some(state) = self.conns.get_mut(&conn) {
                state.lagging.values_mut().for_each(|lag| *lag = Lag::Wants);
                self.queries.extend(state.take_refused().into_iter().map(Join::query));
                // Whoever is still behind afterwards is noted again.
                self.resume(conn);
            }
        }
    }

    /// A page has come. It is only of use where the cursor still stands where it was asked for.
    pub(super) fn found_page(&mut self, conn: ConnId, room: RoomId, found: Found) {
        let Some(state) = self.conns.get_mut(&conn) else { return };
        let Some(asked) = state.page.take_if(|asked| asked.room == room) else { return };
        let cursor = self.rooms.get(&room).and_then(|followed| followed.followers.get(&conn));
        if cursor.and_then(|cursor| cursor.next()) == Some(asked.first) {
            match found {
                // What cannot be read cannot be skipped either.
                Ok(found) => {
                    if self.queue_page(conn, asked, &found).is_none() {
                        return self.close(conn);
                    }
                }
                // Nobody could look.
                Err(_) => drop(state.lagging.insert(room, Lag::Rests)),
            }
        }
        self.resume(conn);
    }

    /// Queues the events of a page, as many as the outbox takes; the rest is asked for again. `None` where the
    /// page is not what was asked for, or what was asked for is forgotten and the connection cannot do without
    /// it: it is closed, and its next join tells it what is gone.
    fn queue_page(&mut self, conn: ConnId, asked: AskedPage, found: &FoundEvents) -> Option<()> {
        let AskedPage { room, first, may_skip } = asked;
        let FoundEvents { rows, first_kept } = found;
        let state = self.conns.get_mut(&conn)?;
        let begin = if may_skip { first.max(*first_kept) } else { first };
        if rows.first().is_some_and(|row| row.seq != begin) || !page::is_dense(rows) {
            return None;
        }
        if rows.is_empty() {
            state.lagging.insert(room, Lag::Rests);
        }
        let mut next = first;
        for row in rows {
            let line = page::line(row)?;
            if state.pending_bytes() >= self.limits.high {
                break;
            }
            match state.queue(line, self.limits.cut) {
                Queued::First => self.dirty.push(conn),
                Queued::Behind => {}
                Queued::Full => break,
            }
            next = row.seq + 1;
        }
        if next > first {
            self.rooms.get_mut(&room)?.followers.insert(conn, Cursor::At(next));
        }
        Some(())
    }
}
