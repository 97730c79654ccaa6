//! Answers: those of writes in the order of the writes, with the events that some of them hold.

use std::sync::Arc;

use super::{
    Join, Subscriptions,
    conn::{Begin, Queued, Ready, Waiting},
    page::{self, Keep, fitting},
    room::{Cursor, Follower},
};
use crate::{
    disk::EventRow,
    fanout::{ConnId, QueriedEvents, QueryResult},
    protocol::{
        answer::{Answer, HistoryPage, Signature},
        envelope::AnswerTo,
        request::HistoryRange,
        said::Said,
    },
};

impl Subscriptions {
    /// Queues the answer to a write, in its turn.
    pub(super) fn answer(&mut self, conn: ConnId, said: Arc<Said>) {
        match self.conns.get_mut(&conn) {
            Some(state) if !state.is_closing && !state.waiting.is_empty() => {
                if !state.wait(Waiting::Ready(Ready { said, begin: None }), self.limits.cut) {
                    self.cut(conn);
                }
            }
            _ => self.say(conn, said),
        }
    }

    /// Begins a join: following the room ends, and later answers wait.
    pub(super) fn join(&mut self, join: Join) {
        let Join { conn, room, index, .. } = join;
        let (last_seq, name) = (join.answer.last_seq, join.answer.room.clone());
        let Some(state) = self.conns.get_mut(&conn).filter(|state| !state.is_closing) else { return };
        let waiting = Waiting::Join { join: Box::new(join), is_refused: false };
        if !state.wait(waiting, self.limits.cut) {
            return self.cut(conn);
        }
        self.set_cursor(conn, (room, name), last_seq, Cursor::Joining(index));
    }

    /// The events of the join of log entry `index` have been found.
    pub(super) fn found_join(&mut self, conn: ConnId, index: u64, found: QueryResult, by: Signature) {
        let Some(state) = self.conns.get_mut(&conn) else { return };
        let budget = self.limits.high.saturating_sub(state.pending_bytes());
        let Some((place, join)) = state.unanswered_mut(index) else { return };
        let (said, next) = match found {
            // A join that cannot be answered must not be left out either.
            Ok(found) if !begins_rightly(join, &found) => return self.close_unanswered(conn),
            Ok(found) => {
                // Events that were forgotten since the join are gone for this answer, too.
                let first_seq = &mut join.answer.first_seq;
                *first_seq = found.first_kept.clamp(*first_seq, join.answer.last_seq.max(*first_seq));
                join_answer(join, &found.rows, budget, by)
            }
            // The join is applied: a refusal would say that nothing happened. So it is asked again.
            Err(_) => {
                state.note_refused(index);
                self.behind.insert(conn);
                return;
            }
        };
        let begin = Some(Begin { room: join.room, index, next });
        state.make_ready(place, Ready { said, begin });
        self.flush_answers(conn);
    }

    /// Queues the answers whose turn has come, and lets the joins among them begin.
    fn flush_answers(&mut self, conn: ConnId) {
        while let Some(state) = self.conns.get_mut(&conn)
            && let Some(Ready { said, begin }) = state.next_answer()
        {
            match state.queue(said, self.limits.cut) {
                Queued::First => self.dirty.push(conn),
                Queued::Behind => {}
                Queued::Full => return self.cut(conn),
            }
            if let Some(begin) = begin {
                self.begin(conn, begin);
            }
        }
        self.end_where_finished(conn);
    }

    /// The answer to a join is written. If nothing has ended it meanwhile, the connection now follows the
    /// room after the answer's last event.
    fn begin(&mut self, conn: ConnId, Begin { room, index, next }: Begin) {
        let follower = self.rooms.get_mut(&room).and_then(|followed| followed.followers.get_mut(&conn));
        let joining = follower.filter(|follower| follower.cursor == Cursor::Joining(index));
        let Some(Follower { cursor, .. }) = joining else { return };
        *cursor = Cursor::At(next);
        self.catch_up(conn, room);
    }

    /// Ends a connection to which an answer cannot be given; answers that wait after it are dropped.
    fn close_unanswered(&mut self, conn: ConnId) {
        if let Some(state) = self.conns.get_mut(&conn) {
            state.waiting.clear();
            state.waiting_bytes = 0;
        }
        self.close(conn);
    }

    /// The events of a `history` request have been found.
    pub(super) fn found_history(
        &mut self,
        conn: ConnId,
        to: AnswerTo,
        range: HistoryRange,
        page: HistoryPage,
        found: QueryResult,
        by: Signature,
    ) {
        let Some(state) = self.conns.get(&conn) else { return };
        let budget = self.limits.high.saturating_sub(state.pending_bytes());
        let answer = match found {
            Ok(QueriedEvents { rows, .. }) if !page::is_dense(&rows) => return self.close(conn),
            Ok(QueriedEvents { rows, first_kept }) => {
                let page = HistoryPage { first_seq: page.first_seq.max(first_kept), ..page };
                Answer::History(history_page(range, page, &rows, budget))
            }
            Err(refusal) => Answer::Nack(refusal),
        };
        self.say(conn, Said::answer(to, answer, by));
    }
}

/// Whether these events are those of `join`.
fn begins_rightly(join: &Join, QueriedEvents { rows, first_kept }: &QueriedEvents) -> bool {
    // No client gets events that the room has forgotten.
    let first_seq = join.answer.first_seq.max(*first_kept);
    let resumes = |first: &EventRow| join.after.is_none_or(|after| first.seq == (after + 1).max(first_seq));
    rows.first().is_none_or(resumes) && page::is_dense(rows)
}

/// The answer to `join` with those of its events that fit into `budget`, and the first event that is not
/// in it.
fn join_answer(join: &Join, rows: &[EventRow], budget: usize, by: Signature) -> (Arc<Said>, u64) {
    let mut answer = join.answer.clone();
    let last_seq = answer.last_seq;
    // Events after the join come as pushes.
    let rows = &rows[..rows.partition_point(|row| row.seq <= last_seq)];
    let next;
    match join.after {
        Some(after) => {
            let rows = fitting(rows, Keep::Oldest, budget, 0);
            let before = after.max(answer.first_seq - 1).min(last_seq);
            next = rows.last().map_or(before, |row| row.seq) + 1;
            answer.more = next <= last_seq;
            answer.events = page::jsons(rows, &answer.room);
        }
        None => {
            let shown = fitting(rows, Keep::Newest, budget, 0);
            next = rows.last().map_or(last_seq, |row| row.seq) + 1;
            answer.more = shown.first().map_or(next, |row| row.seq) > answer.first_seq;
            answer.events = page::jsons(shown, &answer.room);
        }
    }
    (Said::answer(join.to.clone(), answer, by), next)
}

/// The answer to `history` with those of its events that fit into `budget`, but at least one.
fn history_page(range: HistoryRange, page: HistoryPage, rows: &[EventRow], budget: usize) -> HistoryPage {
    let keep = match range {
        HistoryRange::After(_) | HistoryRange::Since(_) => Keep::Oldest,
        HistoryRange::Before(_) | HistoryRange::Last => Keep::Newest,
    };
    let rows = fitting(rows, keep, budget, 1);
    let first = |end: u64| rows.first().map_or(end.min(page.last_seq + 1), |row| row.seq);
    let more = match range {
        HistoryRange::After(after) => rows.last().map_or(after, |row| row.seq) < page.last_seq,
        HistoryRange::Since(_) => rows.last().is_some_and(|row| row.seq < page.last_seq),
        HistoryRange::Before(before) => first(before) > page.first_seq,
        HistoryRange::Last => first(u64::MAX) > page.first_seq,
    };
    HistoryPage { events: page::jsons(rows, &page.room), more, ..page }
}
