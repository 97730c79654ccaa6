//! Errors of export and import.

use std::{io, path::PathBuf};

use thiserror::Error;

use crate::{
    admin::{
        output::counted,
        session::{AskError, OpenError},
    },
    protocol::{RoomName, checked::Invalid},
};

/// Why an export was not made, or an import not done.
#[derive(Debug, Error)]
pub enum TransferError {
    /// No server accepts this as an operator.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The cluster said no, or nothing.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// The cluster says that there are more rooms, and names none.
    #[error("the answer to export_rooms has no room in it and says that there are more")]
    EmptyPage,
    /// The export cannot be written.
    #[error("the export cannot be written: {0}")]
    Write(#[source] io::Error),
    /// The file of the export cannot be written.
    #[error("{} cannot be written: {source}", path.display())]
    Output {
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Events are forgotten while they are written to an output that cannot take them back.
    #[error("{0} forgets events just now; export into a file (--output), or try again")]
    ForgetsNow(RoomName),
    /// Events are forgotten again and again.
    #[error("{0} forgets its events faster than they can be read")]
    ForgetsFaster(RoomName),
    /// The cluster gives an event that cannot be read.
    #[error("an event of {room}: {source}")]
    Event { room: RoomName, source: serde_json::Error },
    /// The cluster gives an event without its place.
    #[error("an event of {0} without its seq")]
    NoPlace(RoomName),
    /// The cluster leaves events out.
    #[error("{room} goes from event {from} to {to}")]
    Hole {
        room: RoomName,
        /// The event before.
        from: u64,
        /// The event behind.
        to: u64,
    },
    /// The cluster does not have all the events that it announced.
    #[error("{room} has no event {seq}")]
    Missing { room: RoomName, seq: u64 },
    /// Lines of the file that is imported.
    #[error("{lines}: {source}")]
    Lines { lines: Lines, source: Box<LineError> },
    /// The file has no lines.
    #[error("the file is empty")]
    Empty,
    /// The file has no end.
    #[error(
        "the file ends early: it was not written to its end; what it has is taken over but for the settings and \
         members of its last room"
    )]
    EndsEarly,
}

/// Lines of a file, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lines {
    pub first: u64,
    pub last: u64,
}

impl TransferError {
    /// Something is wrong with lines of the file.
    pub fn of(lines: Lines, source: LineError) -> TransferError {
        TransferError::Lines { lines, source: Box::new(source) }
    }
}

impl Lines {
    pub fn one(number: u64) -> Lines {
        Lines { first: number, last: number }
    }
}

impl std::fmt::Display for Lines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.first == self.last {
            write!(f, "line {}", self.first)
        } else {
            write!(f, "lines {} to {}", self.first, self.last)
        }
    }
}

/// An error in JSON. It counts the lines of its text, which is one line of the file.
fn in_line(error: &serde_json::Error) -> String {
    error.to_string().replace(" at line 1 column ", " at column ")
}

/// An error of one event, which is told as one of a list.
fn of_one(error: &serde_json::Error) -> String {
    let text = error.to_string();
    for (of_many, of_one) in
        [("hold one that ", "it "), ("hold one of which ", "its "), ("hold one of ", "it is of ")]
    {
        if let Some(rest) = text.strip_prefix(of_many) {
            return format!("{of_one}{rest}");
        }
    }
    text
}

/// What is wrong with lines of a file.
#[derive(Debug, Error)]
pub enum LineError {
    /// They cannot be read from the disk, or are not text.
    #[error("it cannot be read: {0}")]
    Read(#[source] io::Error),
    #[error("not JSON: {}", in_line(.0))]
    NotJson(#[source] serde_json::Error),
    /// It is JSON, but not an object.
    #[error("not a JSON object")]
    NoObject,
    /// A later version of the program has written it.
    #[error("it has version {version}; this program knows {known}")]
    Version { version: u64, known: u32 },
    /// Its fields are not those of such a line.
    #[error("it cannot be read: {0}")]
    Fields(#[source] serde_json::Error),
    /// An event does not say its place.
    #[error("an event without its seq")]
    NoPlace,
    #[error("an event before any room")]
    NoRoom,
    /// A room cannot have these events.
    #[error("{room} cannot have the events {first} to {last}")]
    Range {
        room: RoomName,
        /// Its first event, as the file says.
        first: u64,
        /// Its last one.
        last: u64,
    },
    /// An event is not where it belongs.
    #[error("event {seq} of {room}, where event {expected} belongs")]
    Order {
        room: RoomName,
        seq: u64,
        /// The one that would be next.
        expected: u64,
    },
    /// More events than the room is said to have.
    #[error("event {seq} of {room}, which ends with event {last}")]
    Beyond {
        room: RoomName,
        seq: u64,
        /// The last one, as the file says.
        last: u64,
    },
    /// A room has fewer events than it is said to have.
    #[error("{room} ends before its event {seq}")]
    EndsBefore {
        room: RoomName,
        /// The first one that is missing.
        seq: u64,
    },
    /// The room is another one than that of the file.
    #[error("there is another room {room} already: its event {seq} is not that of the file")]
    AnotherRoom { room: RoomName, seq: u64 },
    /// An event cannot be read.
    #[error("event {seq} of {room}: {}", of_one(source))]
    Event { room: RoomName, seq: u64, source: serde_json::Error },
    /// A message was changed by an event that the room does not have.
    #[error("event {seq} of {room} was changed by event {by}, but the last one is {last}")]
    NoChange {
        room: RoomName,
        seq: u64,
        /// What it says of itself in `edited` or `deleted`.
        by: u64,
        /// The last one, as the file says.
        last: u64,
    },
    /// An event says that it belongs to another room than the one that began last.
    #[error("event {seq} of {room} says that it belongs to the room {named}")]
    Elsewhere { room: RoomName, seq: u64, named: String },
    /// No room can have an event with this place.
    #[error("a place {0}")]
    Place(Invalid),
    /// The cluster does not take an event.
    #[error("event {seq} of {room}: {source}")]
    Refused { room: RoomName, seq: u64, source: Box<AskError> },
    /// The cluster does not take several events, or the room.
    #[error("{room}: {source}")]
    Room { room: RoomName, source: Box<AskError> },
    /// The end counts something else than the file holds.
    #[error(
        "the end counts {} with {}, and before it stand {seen_rooms} with {seen_events}: something was cut out of the \
         file, or put in",
        counted(*rooms, "room"),
        counted(*events, "event")
    )]
    Counts {
        /// Rooms that it counts.
        rooms: u64,
        /// Events that it counts.
        events: u64,
        /// Rooms that the file holds.
        seen_rooms: u64,
        /// Events that it holds.
        seen_events: u64,
    },
    /// Something follows the end.
    #[error("something stands behind the end")]
    BehindEnd,
}
