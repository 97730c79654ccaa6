//! Following rooms: cursors, publications and catching up.

use std::{
    mem,
    ops::Bound::{Excluded, Unbounded},
    sync::Arc,
};

use super::{
    Join, Subscriptions,
    conn::{AskedPage, Lag, Queued},
    page,
    room::{Cursor, Followed, Follower},
};
use crate::{
    disk::{EventRange, EventRow, RoomId},
    fanout::{ConnId, EventQuery, Purpose, QueriedEvents, QueryResult},
    protocol::{limits::HISTORY_MAX, name::RoomName, said::Said},
};

impl Subscriptions {
    pub(super) fn follow(&mut self, conn: ConnId, room: RoomId, name: RoomName, after: u64, last_seq: u64) {
        let follows = |state: &&super::Conn| !state.is_closing && !state.rooms.contains(&room);
        let Some(state) = self.conns.get(&conn).filter(follows) else { return };
        // The user left and came back on another connection while the answer to a join waits for its events:
        // the pushes still begin after that answer.
        let cursor = match state.joining(room) {
            Some(index) => Cursor::Joining(index),
            None => Cursor::From(after.min(last_seq) + 1),
        };
        self.set_cursor(conn, (room, name), last_seq, cursor);
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
    pub(super) fn set_cursor(
        &mut self,
        conn: ConnId,
        (room, name): (RoomId, RoomName),
        last_seq: u64,
        cursor: Cursor,
    ) {
        let Some(state) = self.conns.get_mut(&conn) else { return };
        state.rooms.insert(room);
        state.lagging.remove(&room);
        let followed = self.rooms.entry(room).or_insert_with(|| Followed::new(last_seq));
        followed.is_named(last_seq, name);
        followed.followers.insert(conn, Follower { cursor, known: last_seq });
        self.advance(room, last_seq);
    }

    /// Queues an event for every connection that needs it next.
    pub(super) fn publish(&mut self, room: RoomId, seq: u64, said: Arc<Said>) {
        let Some(known) = self.rooms.get(&room).map(|followed| followed.last_seq) else { return };
        if seq <= known {
            return;
        }
        // Usually no event is missing in between.
        self.advance(room, seq - 1);
        let Some(followed) = self.rooms.get_mut(&room) else { return };
        followed.push(Arc::clone(&said));
        let mut full = Vec::new();
        for (conn, Follower { cursor, .. }) in &mut followed.followers {
            // A connection that is behind comes to this event later.
            if cursor.next() != Some(seq) {
                continue;
            }
            *cursor = Cursor::At(seq + 1);
            match self.conns.get_mut(conn).map(|state| state.queue(Arc::clone(&said), self.limits.cut)) {
                Some(Queued::First) => self.dirty.push(*conn),
                Some(Queued::Full) => full.push(*conn),
                Some(_) | None => {}
            }
        }
        for conn in full {
            self.cut(conn);
        }
    }

    /// Replaces a stored event in memory as well: connections that catch up get the new form.
    pub(super) fn rewrite(&mut self, row: &EventRow) {
        let Some(followed) = self.rooms.get_mut(&row.room) else { return };
        if followed.recent(row.seq).is_some() {
            match page::said(row, None) {
                Some(said) => followed.rewrite(row.seq, said),
                // The event cannot be shown. A connection that needs it looks it up, and is closed.
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

    /// Brings the cursor forward as far as memory and outbox allow; asks for a page if memory does not reach
    /// back far enough.
    pub(super) fn catch_up(&mut self, conn: ConnId, room: RoomId) {
        let (Some(state), Some(followed)) = (self.conns.get_mut(&conn), self.rooms.get_mut(&room)) else {
            return;
        };
        let Some(&Follower { cursor, known }) = followed.followers.get(&conn) else { return };
        let Some(first) = cursor.next() else { return };
        let mut next = first;
        while state.pending_bytes() < self.limits.high
            && let Some(said) = followed.recent(next)
        {
            let said = match followed.name_for(known, next) {
                Some(name) => Said::in_room(said, name),
                None => Arc::clone(said),
            };
            match state.queue(said, self.limits.cut) {
                Queued::First => self.dirty.push(conn),
                Queued::Behind => {}
                // A long event waits until more of the outbox has been taken.
                Queued::Full => break,
            }
            next += 1;
        }
        let cursor = if next > first { Cursor::At(next) } else { cursor };
        followed.followers.insert(conn, Follower { cursor, known });
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
            self.queries.push(EventQuery {
                conn,
                room,
                range,
                unwritten: Vec::new(),
                purpose: Purpose::CatchUp,
            });
        }
    }

    /// Catches up in every room in which the connection is behind, beginning after the room that had the last
    /// page.
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
                // A connection that is still behind afterwards is noted again.
                self.resume(conn);
            }
        }
    }

    /// A page has come. It is only useful if the cursor has not moved since it was asked for.
    pub(super) fn found_page(&mut self, conn: ConnId, room: RoomId, found: QueryResult) {
        let Some(state) = self.conns.get_mut(&conn) else { return };
        let Some(asked) = state.page.take_if(|asked| asked.room == room) else { return };
        let follower = self.rooms.get(&room).and_then(|followed| followed.followers.get(&conn));
        if follower.and_then(|follower| follower.cursor.next()) == Some(asked.first) {
            match found {
                // Events that cannot be read must not be skipped either.
                Ok(found) => {
                    if self.queue_page(conn, asked, &found).is_none() {
                        return self.close(conn);
                    }
                }
                // No query thread could look.
                Err(_) => drop(state.lagging.insert(room, Lag::Rests)),
            }
        }
        self.resume(conn);
    }

    /// Queues the events of a page, as many as the outbox takes; the rest is asked for again. `None` if the
    /// page is not the one that was asked for, or its events are forgotten and the connection needs them: it
    /// is closed, and the answer to its next join says what is gone.
    fn queue_page(&mut self, conn: ConnId, asked: AskedPage, found: &QueriedEvents) -> Option<()> {
        let AskedPage { room, first, may_skip } = asked;
        let QueriedEvents { rows, first_kept } = found;
        let state = self.conns.get_mut(&conn)?;
        let followed = self.rooms.get_mut(&room)?;
        let known = followed.followers.get(&conn)?.known;
        let begin = if may_skip { first.max(*first_kept) } else { first };
        if rows.first().is_some_and(|row| row.seq != begin) || !page::is_dense(rows) {
            return None;
        }
        if rows.is_empty() {
            state.lagging.insert(room, Lag::Rests);
        }
        let mut next = first;
        for row in rows {
            let said = page::said(row, followed.name_for(known, row.seq))?;
            if state.pending_bytes() >= self.limits.high {
                break;
            }
            match state.queue(said, self.limits.cut) {
                Queued::First => self.dirty.push(conn),
                Queued::Behind => {}
                Queued::Full => break,
            }
            next = row.seq + 1;
        }
        if next > first {
            followed.followers.insert(conn, Follower { cursor: Cursor::At(next), known });
        }
        Some(())
    }
}
