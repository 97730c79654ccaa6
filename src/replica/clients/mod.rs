//! The clients of this server: their connections, their requests, and the answers that they wait for.
//!
//! [`Clients`] owns all their data. What it needs of the rest of the server is passed with each call
//! ([`Env`]): the time, the settings, the chat state to read, the queue towards the log, and [`Server`] for
//! questions about the cluster and the disk. Nothing here writes to the disk or moves consensus.
//!
//! | file | what it does |
//! |---|---|
//! | `env` | what a call needs of the rest of the server |
//! | `connection` | one connection, and the table of all |
//! | `pending_write`, `pending_job` | what waits for the log's decision; what waits for a hash or a token |
//! | `requests` | a request comes in: limits, who it is from, and what kind it is |
//! | `logins` | logins, and the sessions that end |
//! | `credentials`, `shares` | passwords are hashed and tokens drawn; how much of that each address gets |
//! | `writing`, `answers` | a request becomes a proposal; the log's decision becomes its answer |
//! | `reading`, `reads` | requests that change nothing; requests that wait until this server is up to date |
//! | `admission` | what may be proposed at all |
//! | `doubts` | no final answer by a state that may be old |
//! | `rates`, `throttle` | how much may be asked, and how guessing is slowed down |
//! | `balance` | some clients are offered another server |
//! | `presence`, `tokens` | who is online; sessions whose connections stay open |

mod admission;
mod answers;
mod balance;
mod connection;
mod credentials;
mod doubts;
mod env;
mod logins;
mod pending_job;
mod pending_write;
mod presence;
mod rates;
mod reading;
mod reads;
mod requests;
mod shares;
mod throttle;
mod tokens;
mod writing;

use core::net::IpAddr;
use std::{collections::BTreeMap, sync::Arc};

use crate::{
    fanout::{ConnId, Instruction},
    protocol::{
        envelope::AnswerTo,
        limits::RESERVED_MS,
        name::ServerId,
        peer::PeerMessage,
        refusal::{Code, Refusal},
        said::Said,
    },
};

use self::{
    balance::Balance,
    connection::{Awaited, Connection, Connections, WriteAnswer},
    presence::Presence,
    rates::Rates,
    reads::Reads,
    shares::Shares,
    throttle::Throttle,
    tokens::Round,
};
use super::{
    io::{Now, Output, Query},
    outputs::Outputs,
};

pub use self::{
    answers::Decided,
    env::{Env, Server, signature},
    reads::Prospect,
};

/// Why a server that goes on gives its clients away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MoveReason {
    /// It is to have none, or falls behind. Those who wait for answers get them first.
    NotForClients,
    /// It waits to be added to the cluster, and answers no write until it is.
    NotAdded,
}

#[derive(Default)]
pub struct Clients {
    connections: Connections,
    presence: Presence,
    reads: Reads,
    /// Queries that must see entries up to an index that is not yet on the disk.
    queries: Vec<(u64, Query)>,
    shares: Shares,
    throttle: Throttle,
    rates: Rates,
    round: Round,
    balance: Balance,
    /// Connections in reserved places that have not yet proven to be an operator's or an administrator's, and
    /// until when they may.
    reserved: BTreeMap<ConnId, u64>,
}

impl Clients {
    pub fn open(
        &mut self,
        env: &mut Env<'_>,
        conn: ConnId,
        addr: Option<IpAddr>,
        is_reserved: bool,
        is_stopping: bool,
    ) {
        let mut connection = Connection::new(addr);
        connection.opened_ms = env.now.mono_ms;
        self.connections.open(conn, connection);
        if is_reserved {
            self.reserved.insert(conn, env.now.mono_ms.saturating_add(RESERVED_MS));
        }
        env.fan_out(Instruction::Open { conn });
        if is_stopping {
            self.close(conn, env.outputs);
        }
    }

    /// A connection is gone.
    pub fn closed(&mut self, env: &mut Env<'_>, conn: ConnId) {
        self.reserved.remove(&conn);
        let connection = self.connections.close(conn);
        if let Some(connection) = &connection {
            self.shares.give_back(connection);
        }
        if let Some(user) = connection.and_then(|connection| connection.user) {
            self.presence.depart(env.now.mono_ms, &user.key());
        }
        env.proposals.forget_conn(conn);
        self.queries.retain(|(_, query)| query.conn() != conn);
        env.fan_out(Instruction::Forget { conn });
    }

    /// `trusts_clock`: whether sessions may end by their time.
    pub fn tick(&mut self, env: &mut Env<'_>, trusts_clock: bool) {
        self.time_out(env);
        // Those that the last round had no room for.
        self.answer_reads(env);
        self.end_unproven(env);
        self.look_at_tokens(env, trusts_clock);
        for (conn, rooms) in self.connections.due(env.now.mono_ms) {
            self.follow(env, conn, rooms);
        }
        if let Some(change) = self.presence.take_change() {
            env.server.tell_peers(&change, env.outputs);
        }
        self.show_presence(env);
        self.balance.spread(env, &mut self.connections);
        env.fan_out(Instruction::Tick);
    }

    /// How many are logged in.
    pub fn count(&self) -> u64 {
        self.connections.logged_in() as u64
    }

    /// Whether a client waits for the log's decision.
    pub fn have_writes(&self) -> bool {
        self.connections.have_writes()
    }

    /// Whether a query waits for the next transaction.
    pub fn have_queries(&self) -> bool {
        !self.queries.is_empty()
    }

    /// Everything up to `stored` is on the disk: the queries that waited for it go out.
    pub fn release_queries(&mut self, stored: u64, outputs: &mut Outputs) {
        let ready = self.queries.extract_if(.., |(index, _)| *index <= stored).map(|(_, query)| query);
        outputs.extend(ready.map(Output::Query));
    }

    /// The question that the waiting reads have for the leader now, if any.
    pub fn question(&mut self, now: Now, prospect: Prospect) -> Option<u64> {
        self.reads.question(now.mono_ms, prospect)
    }

    /// The leader's answer to a question.
    pub fn question_answered(&mut self, question: u64, index: u64) {
        self.reads.answered(question, index);
    }

    /// All users of this server, for a peer that has just been linked.
    pub fn presence(&self) -> PeerMessage {
        self.presence.whole()
    }

    /// Takes in which users a peer has.
    pub fn on_peer_presence(&mut self, now: Now, from: &ServerId, message: PeerMessage) {
        if let PeerMessage::Presence { whole, online, away, offline } = message {
            self.presence.heard(now.mono_ms, from, whole, online, away, offline);
        }
    }

    /// A peer is gone, and its clients with it.
    pub fn on_peer_down(&mut self, now: Now, peer: &ServerId) {
        self.presence.unlinked(now.mono_ms, peer);
    }

    /// Ends all connections: the rooms that they follow have jumped, or the server ends.
    pub fn close_all(&mut self, outputs: &mut Outputs) {
        for conn in self.connections.conns() {
            self.close(conn, outputs);
        }
    }

    /// The state was replaced by a snapshot: drops the queries that waited.
    pub fn restart(&mut self, outputs: &mut Outputs) {
        self.queries.clear();
        self.close_all(outputs);
    }

    /// The server begins to stop: sends its clients elsewhere, and ends connections that wait for nothing.
    pub fn send_away(&mut self, env: &mut Env<'_>) {
        let push = env.server.redirect("this server is shutting down");
        let push = push.map(|push| Said::push(push, env.signature()));
        for conn in self.connections.conns() {
            if let Some(said) = push.clone() {
                env.fan_out(Instruction::Say { conn, said });
            }
            if self.connections.get_mut(conn).is_some_and(|connection| !connection.has_writes()) {
                self.close(conn, env.outputs);
            }
        }
    }

    /// This server should have no clients, and goes on: those who are logged in are sent elsewhere, if there
    /// is a server for them. Operators are not; they may be here to end it.
    pub fn move_away(&mut self, env: &mut Env<'_>, reason: MoveReason) {
        let Some(push) = env.server.redirect("this server gives its clients away") else { return };
        let said = Said::push(push, env.signature());
        for conn in self.connections.conns() {
            let moves = self.connections.get_mut(conn).is_some_and(|connection| {
                let stays_for_answers = reason == MoveReason::NotForClients && connection.has_writes();
                connection.user.is_some() && !connection.is_operator && !stays_for_answers
            });
            if moves {
                env.fan_out(Instruction::Say { conn, said: Arc::clone(&said) });
                self.close(conn, env.outputs);
            }
        }
    }

    /// Ends a connection after what was said to it.
    fn close(&mut self, conn: ConnId, outputs: &mut Outputs) {
        if let Some(connection) = self.connections.get_mut(conn)
            && !connection.closing
        {
            connection.closing = true;
            let is_awaited = matches!(connection.awaited, Some(Awaited::Leader | Awaited::Commit));
            outputs.fan_out(Instruction::Close { conn });
            if is_awaited {
                self.answered(conn, outputs);
            }
        }
    }

    /// Tells clients that have waited too long that the outcome is unknown, and ends their connections, so
    /// that no later request can overtake.
    fn time_out(&mut self, env: &mut Env<'_>) {
        self.time_out_writes(env);
        for read in self.reads.time_out(env.now.mono_ms) {
            let reason = "no majority of the servers answered in time";
            self.refuse_last(env, read.conn, read.to, Refusal::new(Code::Unavailable, reason));
        }
    }

    /// Refuses a request, in its turn after the writes that wait.
    fn refuse(&mut self, env: &mut Env<'_>, conn: ConnId, to: AnswerTo, refusal: Refusal) {
        let said = Said::nack(to, refusal, env.signature());
        self.answer_in_turn(env, conn, WriteAnswer::Known(said));
    }

    /// Refuses a request in the same way; the connection ends after it.
    fn refuse_last(&mut self, env: &mut Env<'_>, conn: ConnId, to: AnswerTo, refusal: Refusal) {
        let said = Said::nack(to, refusal, env.signature());
        self.answer_in_turn(env, conn, WriteAnswer::Last(said));
    }

    /// Answers a request without the log, in its turn after the writes that wait.
    fn answer_in_turn(&mut self, env: &mut Env<'_>, conn: ConnId, answer: WriteAnswer) {
        if let Some(connection) = self.connections.get_mut(conn) {
            connection.answer_in_turn(answer);
        }
        self.flush_answers(env, conn);
    }
}
