//! The judge: it is told what clients sent and received, and what servers made durable and said to each
//! other, and it knows what the contract allows. It shares no code with the product: it has a reader and a
//! model of its own, so that a mistake of the product is not repeated here.
//!
//! | file | what it judges |
//! |---|---|
//! | `places` | durable, once, one order, sender order, real time: which message stands where, for ever |
//! | `connection` | no gap, no repeat, one answer a request, answers in order, reads that never fall back |
//! | `servers` | synced before said, one leader and one vote a term, one log, no amnesia |
//! | `counting` | who counts, while the servers change |
//! | `histories` | tests of the judge itself: good histories are accepted, each planted violation is named |
//!
//! If a client heard nothing, or `unavailable`, both outcomes are accepted until one of them is seen; from
//! then on it stays.

mod connection;
mod counting;
#[cfg(test)]
mod histories;
mod line;
mod places;
mod servers;

use std::{collections::BTreeMap, fmt};

use serde_json::Value;

pub use counting::Counting;
pub use places::MessageKey;
pub use servers::{Ledger, LogLine, Synced};

use connection::Connection;
use line::{Line, event_of};
use places::{Outcome, Places};
use servers::Servers;

/// The promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Point {
    /// An acknowledged event is in every log, at its place, for ever; it is synced before it is said.
    Durable,
    /// One (user, `client_msg_id`) has one place; one place is shown once on a connection.
    Once,
    /// (room, seq) is the same event everywhere; `seq` is dense; Lamport timestamps increase along the log.
    OneOrder,
    /// Messages of one connection, and of one device, keep their order.
    SenderOrder,
    /// A message that was acknowledged or shown before another was sent comes before it; reads never fall
    /// back.
    RealTime,
    /// The events of a connection go +1.
    NoGap,
    /// At most one server leads in a term, and a leader without a majority says so in time.
    OneLeader,
    /// With a majority that can talk, there is a leader and writes are acknowledged. No program is asked to
    /// apply entries by rules that it does not know; once all know newer ones, these hold.
    Alive,
    /// Data that was lost or rolled back neither votes nor counts.
    Amnesia,
    /// No input from outside stops a server; every request gets exactly one answer.
    Confined,
    /// A nack other than `unavailable` means that nothing happened.
    Refused,
    /// The servers change one at a time, by the log, and those that vote are those that the cluster has.
    Members,
}

/// A broken promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub point: Point,
    /// What was seen, and what it contradicts.
    pub text: String,
}

impl Violation {
    /// A violation of `point`.
    pub fn new(point: Point, text: impl Into<String>) -> Violation {
        Violation { point, text: text.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.point, self.text)
    }
}

/// Whether all is well so far.
pub type Verdict = Result<(), Violation>;

/// Returns from the function with a violation unless `condition` holds.
macro_rules! ensure {
    ($condition:expr, $point:ident, $($text:tt)+) => {
        if !$condition {
            return Err($crate::checker::Violation::new($crate::checker::Point::$point, format!($($text)+)));
        }
    };
}
use ensure;

/// A connection of the simulation: never used twice.
pub type ConnNumber = u64;

/// Everything that is known of one run.
pub struct Checker {
    places: Places,
    servers: Servers,
    connections: BTreeMap<ConnNumber, Connection>,
    chats_acked: u64,
}

impl Checker {
    /// Judges a cluster of this many servers.
    pub fn new(servers: usize) -> Checker {
        Checker {
            places: Places::default(),
            servers: Servers::new(servers),
            connections: BTreeMap::new(),
            chats_acked: 0,
        }
    }

    /// How many acknowledgements of messages clients have received.
    pub fn chats_acked(&self) -> u64 {
        self.chats_acked
    }

    /// A message was composed on a device that promises to send its messages in order, once, and until
    /// they are acknowledged.
    pub fn composed(&mut self, device: usize, user: &str, client_msg_id: &str) {
        self.places.composed(device, (user.to_ascii_lowercase(), client_msg_id.to_owned()));
    }

    /// A message was refused for good and given back to the user: its device promises nothing more.
    pub fn given_up(&mut self, user: &str, client_msg_id: &str) {
        self.places.given_up(&(user.to_ascii_lowercase(), client_msg_id.to_owned()));
    }

    /// A connection to `server` stands; `user` if it is known already who uses it.
    pub fn opened(&mut self, conn: ConnNumber, server: usize, user: Option<&str>) {
        self.connections.insert(conn, Connection::new(server, user.map(str::to_ascii_lowercase)));
    }

    /// A connection is gone, in the eyes of its client: what is unanswered is unknown.
    pub fn closed(&mut self, conn: ConnNumber) {
        if let Some(connection) = self.connections.get_mut(&conn) {
            for (key, attempt) in connection.close() {
                self.places.outcome(&key, attempt, Outcome::Unknown);
            }
        }
    }

    /// A client sent a line.
    pub fn sent(&mut self, conn: ConnNumber, line: &[u8]) {
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        connection.sent(line, &mut self.places);
    }

    /// A client received a line.
    pub fn received(&mut self, conn: ConnNumber, line: &[u8]) -> Verdict {
        let line = Line::read(line)?;
        let Some(connection) = self.connections.get_mut(&conn) else { return Ok(()) };
        let acked = connection.received(&line, &mut self.places)?;
        self.chats_acked += u64::from(acked);
        if line.msg_type == "status" && line.data.get("role").and_then(Value::as_str) == Some("leader") {
            let term = line.data.get("term").and_then(Value::as_u64).unwrap_or(0);
            self.servers.claims(connection.server, term)?;
        }
        Ok(())
    }

    /// A server handed a line to the network: what it acknowledges must be synced on a majority now.
    /// `counting` gives who counts, as the server believes.
    pub fn said(
        &mut self,
        server: usize,
        conn: ConnNumber,
        line: &[u8],
        counting: impl FnOnce() -> Counting,
    ) -> Verdict {
        // Most lines are pushes; they need not be read for this.
        if !line.starts_with(b"{\"msg_type\":\"ack\"") {
            return Ok(());
        }
        let line = Line::read(line)?;
        let Some(user) = self.connections.get(&conn).and_then(|connection| connection.user.clone()) else {
            return Ok(());
        };
        match (line.answers.as_deref(), line.data.get("client_msg_id").and_then(Value::as_str)) {
            (Some("chat"), Some(id)) => {
                self.servers.acknowledges(server, &(user, id.to_owned()), &counting())
            }
            _ => Ok(()),
        }
    }

    /// The process of `server` finds that its data must not be used. `is_harmed`: whether something was done
    /// to it.
    pub fn doubts(&self, server: usize, is_harmed: bool, why: &str) -> Verdict {
        ensure!(is_harmed, Durable, "server {server} doubts data to which nothing was done: {why}");
        Ok(())
    }

    /// The process of `server` started on data of this incarnation.
    pub fn booted(&mut self, server: usize, node: u64) -> Verdict {
        self.servers.booted(server, node)
    }

    /// What the process of `server` found on its disk as it started: the end of the log, how far the state
    /// goes, term and vote. Log and vote must be what was last synced there; the state may be older.
    pub fn starts_with(
        &mut self,
        server: usize,
        last_index: u64,
        applied: u64,
        vote: (u64, Option<u64>),
    ) -> Verdict {
        self.servers.starts_with(server, last_index, applied, vote)
    }

    /// Something became durable on the disk of `server`.
    pub fn synced(&mut self, server: usize, synced: Synced) -> Verdict {
        for (index, event) in &synced.events {
            // An event that was seen before may be a message that a later entry has changed.
            let (event, is_new) = self.places.learn(event)?;
            if is_new {
                self.places.stored(*index, event.lamport)?;
            }
        }
        self.servers.synced(server, synced)
    }

    /// The content of the disk of `server`, to be put back with `restored`.
    pub fn ledger(&self, server: usize) -> Ledger {
        self.servers.ledger(server)
    }

    /// The disk of `server` now holds other data than was last synced: from now on the incarnation that wrote
    /// it is in doubt.
    pub fn lost(&mut self, server: usize, ledger: Ledger) {
        self.servers.lost(server, ledger);
    }

    /// `server`, running as `node`, leads in `term`; it believes that these count.
    pub fn leads(&mut self, server: usize, node: u64, term: u64, counting: &Counting) -> Verdict {
        self.servers.leads(server, node, term, counting)
    }

    /// `server`, running as `node`, ends because it was removed. `is_listed`: whether the cluster has a
    /// server of its name.
    pub fn ends_as_removed(&self, server: usize, node: u64, is_listed: bool) -> Verdict {
        self.servers.ends_as_removed(server, node, is_listed)
    }

    /// `server`, running as `node`, promised its vote.
    pub fn voted(&mut self, server: usize, node: u64, term: u64, candidate: u64) -> Verdict {
        self.servers.voted(server, node, term, candidate)
    }

    /// `server`, running as `node`, told a leader that its log is synced up to `index`.
    pub fn holds(&mut self, server: usize, node: u64, index: u64) -> Verdict {
        self.servers.holds(server, node, index)
    }

    /// The whole of `room` as `server` has it at the end, read over a connection or from its database.
    pub fn final_read(&mut self, server: usize, room: &str, events: &[Value]) -> Verdict {
        let room = room.to_ascii_lowercase();
        for (place, event) in events.iter().enumerate() {
            let event = event_of(event)?;
            ensure!(
                event.seq == place as u64 + 1 && event.room == room,
                OneOrder,
                "server {server} holds ({}, {}) where ({room}, {}) is due",
                event.room,
                event.seq,
                place + 1
            );
        }
        for event in events {
            self.places.learn(event)?;
            self.places.ends_as(server, event)?;
        }
        self.places.ends(server, &room, events.len() as u64)
    }

    /// Everything has been read: what was acknowledged is there, what was refused is not, and what a
    /// device composed is acknowledged.
    pub fn finish(&self) -> Verdict {
        self.places.finish()
    }
}
