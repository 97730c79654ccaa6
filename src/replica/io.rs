//! The inputs and outputs of a replica. Read these two enums first.

use core::net::IpAddr;
use std::{io::Read, sync::Arc};

use crate::{
    config::ReplicaConfig,
    disk::{DamagedRow, StorageError},
    election::membership::View,
    fanout::{ConnId, Instruction},
    protocol::{
        credential::{Done, Job},
        directory::Directory,
        envelope::{BadRequest, RequestHead},
        name::ServerId,
        peer::{PeerMessage, RowKey, SnapshotHead},
        refusal::Refusal,
        request::Request,
        rules::RulesVersion,
        status::ScrubProgress,
    },
};

pub use super::query::Query;

/// The time, as the caller's clocks tell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// A clock that only goes forward, in milliseconds from any zero. All times are measured with it.
    pub mono_ms: u64,
    /// The wall clock, milliseconds since the Unix epoch. Only ever shown; it may jump.
    pub wall_ms: u64,
}

pub enum Input {
    /// Time passed. Due every `Timing::tick_ms`.
    Tick,
    /// A client connected and its dialect is known.
    Opened {
        conn: ConnId,
        /// The client's address, if it is known: logins are counted by it.
        addr: Option<IpAddr>,
        /// Whether it has a place that is reserved for operators and administrators.
        reserved: bool,
    },
    /// A client sent a request. After one that [is awaited](Request::is_awaited) the next one of the
    /// connection comes only after [`Output::ReadOn`].
    Request {
        conn: ConnId,
        /// The request's envelope, as far as it could be read.
        head: RequestHead,
        /// The request, or what is wrong with it.
        request: Result<Request, BadRequest>,
        /// Its length on the wire; 0 if that does not count.
        bytes: usize,
    },
    /// A client connection is gone.
    Closed { conn: ConnId },
    /// A link to a peer stands, in both directions.
    PeerUp(ServerId),
    /// The link to a peer is gone; what was not yet delivered is lost.
    PeerDown(ServerId),
    /// A peer sent a message. Those of links before the last `PeerUp` have been thrown away.
    Peer { from: ServerId, message: PeerMessage },
    /// The ring has chosen this server: it should ask for votes.
    Campaign {
        /// The term in which no server led. It may be over by now: if this server has voted for another, that
        /// one may lead already and would be deposed.
        term: u64,
        /// The leader is known to be dead (its link was reset and its port refuses), so its lease need
        /// not be waited out.
        leader_is_dead: bool,
    },
    /// The failure detector's beliefs changed, or some time has passed since the last view.
    View(View),
    /// A snapshot has arrived complete and with the right checksum.
    SnapshotReceived { from: ServerId, head: SnapshotHead, content: Box<dyn Read + Send> },
    /// The sending of a snapshot has ended.
    SnapshotSent {
        to: ServerId,
        /// Whether it arrived whole.
        ok: bool,
    },
    /// There is room on the disk for more than what is in it, or there is none.
    Room { is_there: bool },
    /// Something that another thread read of the state fails its checksum.
    Damage {
        /// What, in one sentence.
        reason: String,
        /// The row, if it is no more than that.
        row: Option<DamagedRow>,
    },
    /// The reading of all data for damage has come so far.
    Scrubbed(ScrubProgress),
    /// The job of an [`Output::Credential`] is done. Comes once for each, unless the connection is gone
    /// first; in no fixed order among connections.
    Credential {
        /// The connection that it was for.
        conn: ConnId,
        /// The result; `overloaded` if too many wait to hash, `forbidden` with the reason if this cluster can
        /// have no operators.
        done: Result<Done, Refusal>,
    },
    /// This server's operator has changed what may change while it runs ([`ReplicaConfig::adjusted`]).
    Reconfigured(Arc<ReplicaConfig>),
    /// The process is to end: hand over, tell the clients, finish what waits.
    Stop,
}

impl Input {
    /// What a thread has to say that read the state and got this error; `None` if the disk failed.
    pub fn damage(error: &StorageError) -> Option<Input> {
        let row = if let StorageError::Damaged(row) = error { Some(row.clone()) } else { None };
        Some(Input::Damage { reason: error.doubt()?, row })
    }
}

/// Something to be done by the caller.
#[derive(Debug)]
pub enum Output {
    /// Send this to a peer. May be lost, but what arrives arrives in order.
    Peer {
        to: ServerId,
        message: PeerMessage,
    },
    FanOut(Instruction),
    /// Read from the database beside the writer, and give the result to the fan-out ([`Query::carry_out`]).
    /// All that it must find has been written already.
    Query(Query),
    /// Let the thread of the connection do this job, and then send [`Input::Credential`]. Rights, limits and
    /// throttles allow it. A connection has at most one job under way, and an address at most
    /// `Auth::hashes_per_address` that hash, so that no address takes all places.
    Credential {
        conn: ConnId,
        job: Job,
    },
    /// The request that the thread of a connection waits for is answered, or waits only for the log: read on.
    /// Comes once for each request that [is awaited](Request::is_awaited), unless the connection is gone
    /// first.
    ReadOn {
        conn: ConnId,
    },
    /// Make a snapshot and send it, as long as the link stands; then give `SnapshotSent`.
    SendSnapshot {
        to: ServerId,
        /// This leader's term, for the head.
        term: u64,
        /// The rules by which it applies entries, for the head.
        rules: RulesVersion,
    },
    /// The snapshot that arrived could not be used. This server goes on with its data, and lets the leader
    /// send another one after a pause.
    SnapshotUnreadable {
        /// Why, in one sentence.
        reason: String,
    },
    /// Some of this server's data is damaged. Given once for each row.
    Damaged {
        /// What, in one sentence.
        reason: String,
    },
    /// A damaged row is whole again.
    Repaired {
        row: RowKey,
        /// The server that had it whole.
        from: ServerId,
    },
    /// A peer and this server do not belong together; only an operator can change that.
    Complaint {
        /// Why, in one sentence.
        reason: String,
    },
    /// This server's data must not be used: set it aside and start anew, empty, under a new incarnation.
    Quarantine {
        /// Why, in one sentence.
        reason: String,
    },
    /// The servers of the cluster are these from now on: links, heartbeats and the election follow.
    Servers(Box<Directory>),
    /// This server belongs to its cluster no more, and ends.
    Removed {
        /// How that is known and what can be done, in one sentence.
        reason: String,
    },
    /// After `Stop`: nothing more is waited for.
    Stopped,
}
