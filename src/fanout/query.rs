//! The pages of events that the fan-out asks of the database.

use crate::{
    disk::{EventRange, EventRow, RoomId},
    protocol::{HistoryPage, envelope::AnswerTo, refusal::Refusal, request::HistoryRange},
};

/// One client connection of this server, numbered in the order of acceptance from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConnId(pub u64);

/// A read of the database on behalf of a connection.
#[derive(Debug, Clone)]
pub struct EventQuery {
    /// The connection that gets the result.
    pub conn: ConnId,
    pub room: RoomId,
    pub range: EventRange,
    /// Events of the range that were not written when it was asked, by seq. They count more than what is
    /// found in their places.
    pub unwritten: Vec<EventRow>,
    pub purpose: Purpose,
}

/// What the result of a query is for.
#[derive(Debug, Clone)]
pub enum Purpose {
    /// The events of a `create_join` answer whose other fields the fan-out has already.
    Join {
        /// Which: the log entry of the join.
        index: u64,
    },
    /// The events that a connection is behind in a room it follows.
    CatchUp,
    /// The answer to `history`.
    History {
        to: AnswerTo,
        /// The events that were asked for: `more` looks in this direction.
        range: HistoryRange,
        /// The answer without its events and `more`.
        page: HistoryPage,
    },
}

/// The events, or why there are none.
pub type QueryResult = Result<QueriedEvents, Refusal>;

/// The result of an [`EventQuery`].
#[derive(Debug, Clone)]
pub struct QueriedEvents {
    /// The events, oldest first, without a hole.
    pub rows: Vec<EventRow>,
    /// The room has forgotten everything before this event, as far as that matters here: 0 if the events
    /// begin where they should.
    pub first_kept: u64,
}
