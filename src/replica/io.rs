//! Everything that can happen to a replica, and everything it can want. Read these two enums first.

use core::net::IpAddr;
use std::io::Read;

use crate::protocol::{
    answer::Asked,
    credential::{Done, Job},
    envelope::{BadEnvelope, Envelope},
    name::ServerId,
    peer::{PeerMessage, SnapshotHead},
    refusal::Refusal,
    request::HistoryRange,
};

pub use super::lookup::Look;
use super::{
    fanout::Fan,
    membership::View,
    storage::{EventRange, RoomId},
};

/// One client connection of this server, numbered in the order of acceptance from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConnId(pub u64);

/// The time, as the caller's clocks tell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// A clock that only goes forward; its zero means nothing. Everything is timed by it.
    pub mono_ms: u64,
    /// The wall clock, milliseconds since the Unix epoch. Only ever shown; it may jump.
    pub wall_ms: u64,
}

/// Something that happened.
pub enum Input {
    /// Time passed. Due every `Timing::tick_ms`.
    Tick,
    /// A client connected and its dialect is known.
    Opened {
        /// The connection.
        conn: ConnId,
        /// Where the client is, as far as it is known: logins are counted by it.
        addr: Option<IpAddr>,
        /// Whether it has one of the places that are kept for operators and administrators.
        reserved: bool,
    },
    /// A client sent a line, already taken apart.
    Line {
        /// The connection.
        conn: ConnId,
        /// The request, or what is wrong with it.
        line: Result<Envelope, BadEnvelope>,
        /// How long it was; 0 where that does not count.
        bytes: usize,
    },
    /// A client connection is gone.
    Closed {
        /// The connection.
        conn: ConnId,
    },
    /// A link to a peer stands, in both directions.
    PeerUp(ServerId),
    /// The link to a peer is gone; what was not yet delivered is lost.
    PeerDown(ServerId),
    /// A peer said something. Anything of an older link than the last `PeerUp` has been thrown away.
    Peer {
        /// Who.
        from: ServerId,
        /// What.
        message: PeerMessage,
    },
    /// The ring has chosen this server: it should ask for votes.
    Campaign {
        /// The term in which nobody led. It may be over by now: this server has voted for somebody else, who
        /// may lead already and would be deposed.
        term: u64,
        /// The leader is known to be dead (its link was reset and its port refuses), so its lease need
        /// not be waited out.
        leader_is_dead: bool,
    },
    /// Who is believed alive changed, or some time has passed since this was last said.
    View(View),
    /// A snapshot has arrived complete and with the right checksum.
    SnapshotReceived {
        /// From whom.
        from: ServerId,
        /// What it is.
        head: SnapshotHead,
        /// Its bytes.
        content: Box<dyn Read + Send>,
    },
    /// The sending of a snapshot has ended.
    SnapshotSent {
        /// To whom.
        to: ServerId,
        /// Whether it arrived whole.
        ok: bool,
    },
    /// A [`Output::Credential`] was worked on. Comes once for each, also where the connection is gone by then; not
    /// in any order among connections.
    Credential {
        /// The connection that it was for.
        conn: ConnId,
        /// What became of it; `overloaded` where the queue was full, `forbidden` with the reason where this
        /// cluster can have no operators.
        done: Result<Done, Refusal>,
    },
    /// The process is to end: hand over, tell the clients, finish what waits.
    Stop,
}

/// Something to be done by the caller.
#[derive(Debug)]
pub enum Output {
    /// Send this to a peer. May be lost, but what arrives arrives in order.
    Peer {
        /// To whom.
        to: ServerId,
        /// What.
        message: PeerMessage,
    },
    /// For the fan-out, in order.
    Fan(Fan),
    /// Read from the database beside the writer, and give the result to the fan-out ([`Look::carry_out`]).
    /// Everything it has to see is committed already.
    Look(Look),
    /// Hash, check or draw beside the replica, and say [`Input::Credential`]. At most one of a connection is
    /// under way, and of one address at most `Auth::hashes_per_address` that hash: the queue is short, and nobody
    /// may fill it alone.
    Credential {
        /// For which connection.
        conn: ConnId,
        /// What to do.
        job: Job,
    },
    /// Make a snapshot and send it, as long as the link stands; then say `SnapshotSent`.
    SendSnapshot {
        /// To whom.
        to: ServerId,
        /// This leader's term, for the head.
        term: u64,
    },
    /// The snapshot that arrived could not be used. This server goes on with what it has, and lets the leader
    /// send another one after a pause.
    SnapshotUnreadable {
        /// Why, in one sentence.
        reason: String,
    },
    /// This server's data must not be used: set it aside and start anew, empty, under a new incarnation.
    Quarantine {
        /// Why, in one sentence.
        reason: String,
    },
    /// After `Stop`: nothing more is waited for.
    Stopped,
}

/// A read of the database on behalf of a connection.
#[derive(Debug, Clone)]
pub struct Query {
    /// The connection that is to get the result.
    pub conn: ConnId,
    /// The room.
    pub room: RoomId,
    /// Which events.
    pub range: EventRange,
    /// What the result is for.
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
        /// The request.
        asked: Asked,
        /// Which events were asked for: `more` looks in this direction.
        range: HistoryRange,
        /// The answer but for its events and `more`.
        page: crate::protocol::HistoryPage,
    },
}

/// What became of a query.
pub type Found = Result<FoundEvents, Refusal>;

/// The events that a query has found.
#[derive(Debug, Clone)]
pub struct FoundEvents {
    /// The events, oldest first, without a hole.
    pub rows: Vec<super::storage::EventRow>,
    /// The room has forgotten everything before this event, as far as that matters here: 0 where the events
    /// begin where they should.
    pub first_kept: u64,
}
