//! The fan-out threads: each owns the [`Subscriptions`] of its share of the connections and writes to their
//! sockets.
//!
//! These threads write by themselves: waking a thread for each connection costs more than the write. They
//! never wait, and write all that is queued for a connection at once. Measured with 1,000 readers on bare
//! sockets: a writing thread for each reader, fed by a channel, made 87,000 deliveries a second; each message
//! written directly 217,000; gathered writes 5.6 million.
//!
//! A socket that is full is tried again after a pause that grows to `PAUSE_MAX`. The system's buffer for a
//! socket holds more than a reader takes in during a pause, so the pause slows no reader down. What waits
//! meanwhile is bounded by `limits.outbox_bytes`, and in time and over all connections by `backlog`.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    fanout::{ConnId, End, EventQuery, Instruction, Subscriptions},
    replica::io::Query,
};

use super::{
    Client,
    backlog::{Budget, Pace},
    outgoing::Outgoing,
    queues::{FanOutTask, QueryQueues, refused},
};
use crate::server::{config::Config, context::Context, machine::mailbox::Receiver};

/// Instructions that are carried out before sockets are written to.
const BATCHES_MAX: usize = 256;
/// Bytes taken from an outbox at once.
const TAKE_BYTES: usize = 256 * 1024;
/// First pause before a full socket is tried again.
const PAUSE_MIN: Duration = Duration::from_millis(2);
const PAUSE_MAX: Duration = Duration::from_millis(32);
/// How long a connection that was ended may take to close its half.
const LINGER: Duration = Duration::from_secs(1);

/// The code of a WebSocket's close if no other was set: the last message says why.
const GOODBYE: (u16, &str) = (1000, "");

/// What one fan-out thread may hold for its connections. One outbox may always be full.
fn budget_bytes(config: &Config) -> usize {
    let limits = &config.replica.limits;
    (limits.outboxes_bytes / config.threads.fan_out.max(1)).max(limits.outbox_bytes)
}

pub struct FanOutThread {
    fanout: Subscriptions,
    context: Arc<Context>,
    /// Whose limits are in use.
    config: Arc<Config>,
    queries: QueryQueues,
    sockets: BTreeMap<ConnId, Socket>,
    /// Connections whose sockets are full.
    blocked: BTreeMap<ConnId, Blocked>,
    /// For all connections of this thread.
    budget: Budget,
    /// Connections that were ended and may still send something, and until when.
    lingering: VecDeque<(Instant, Arc<Client>)>,
}

/// A connection as it is written to.
struct Socket {
    client: Arc<Client>,
    /// Taken from the outbox and not written.
    outgoing: Outgoing,
    /// Nothing comes after `outgoing`.
    is_last: bool,
    /// How fast it is read, if its reader is behind.
    pace: Option<Pace>,
}

#[derive(Debug, Clone, Copy)]
struct Blocked {
    again: Instant,
    pause: Duration,
}

impl FanOutThread {
    pub fn new(context: Arc<Context>, queries: QueryQueues) -> Self {
        let config = context.config();
        FanOutThread {
            fanout: Subscriptions::new(config.replica.limits.outbox_bytes),
            budget: Budget::new(budget_bytes(&config)),
            config,
            context,
            queries,
            sockets: BTreeMap::new(),
            blocked: BTreeMap::new(),
            lingering: VecDeque::new(),
        }
    }

    /// Carries out instructions until all senders are gone. Then it tries once more to write what still
    /// waits.
    pub fn run(mut self, instructions: &Receiver<FanOutTask>) {
        loop {
            instructions.wait_until(self.next_due());
            if instructions.is_finished() {
                self.sockets.values().for_each(|socket| socket.client.cut());
                return;
            }
            self.look_at_config();
            let mut batches = Vec::new();
            let mut awaited = Vec::new();
            instructions.take(BATCHES_MAX, &mut batches);
            for task in batches {
                match task {
                    FanOutTask::Instructions(instructions) => {
                        instructions.into_iter().for_each(|instruction| self.carry_out(instruction))
                    }
                    FanOutTask::Control(conn) => self.control(conn),
                    FanOutTask::Written(waiting) => awaited.push(waiting),
                }
            }
            self.settle();
            drop(awaited);
            self.try_blocked(Instant::now());
            self.keep_budget(Instant::now());
            self.end_lingering(Instant::now());
        }
    }

    /// Uses the limits of a configuration that was reloaded.
    fn look_at_config(&mut self) {
        let config = self.context.config();
        if !Arc::ptr_eq(&config, &self.config) {
            self.fanout.limit(config.replica.limits.outbox_bytes);
            self.budget = Budget::new(budget_bytes(&config));
            self.config = config;
        }
    }

    /// When something is to be done though no instruction comes.
    fn next_due(&self) -> Instant {
        let far = Instant::now() + Duration::from_secs(3600);
        let blocked = self.blocked.values().map(|blocked| blocked.again);
        let lingering = self.lingering.front().map(|(until, _)| *until);
        blocked.chain(lingering).min().unwrap_or(far)
    }

    fn carry_out(&mut self, instruction: Instruction) {
        match &instruction {
            // A connection that is gone already is not opened; later instructions about it do nothing.
            Instruction::Open { conn } => {
                let Some(client) = self.context.clients.get(*conn) else { return };
                let conn = *conn;
                self.sockets.insert(conn, Socket::new(client));
                self.fanout.handle(instruction);
                // Its client may have been quicker than the replica.
                return self.control(conn);
            }
            Instruction::Forget { conn } => self.drop_socket(*conn),
            _ => {}
        }
        self.fanout.handle(instruction);
    }

    /// Writes the control frames that wait, or leaves them to the next try if the socket is full. A
    /// connection that is not open yet gets them when it is.
    fn control(&mut self, conn: ConnId) {
        if self.sockets.contains_key(&conn) && !self.blocked.contains_key(&conn) {
            self.write(conn);
        }
    }

    /// Does what the instructions brought about, until nothing is left to do at once.
    fn settle(&mut self) {
        loop {
            let (dirty, queries) = (self.fanout.dirty(), self.fanout.queries());
            if dirty.is_empty() && queries.is_empty() {
                break;
            }
            for query in queries {
                self.ask(query);
            }
            for conn in dirty {
                if !self.blocked.contains_key(&conn) {
                    self.write(conn);
                }
            }
        }
        self.end_closed();
    }

    /// Asks the query threads, or answers that they have too much to do.
    fn ask(&mut self, query: EventQuery) {
        if let Some(query) = self.queries.ask(Query::Events(query)) {
            self.fanout.handle(refused(query, &self.context.shared));
        }
    }

    /// Ends the connections that the fan-out has given up.
    fn end_closed(&mut self) {
        for (conn, end) in self.fanout.closed() {
            match end {
                End::TooSlow => {
                    log::info!("connection {} is closed: its client reads too slowly", conn.0);
                    self.cut(conn);
                }
                End::Finished => {
                    if let Some(socket) = self.sockets.get_mut(&conn) {
                        socket.end();
                    }
                    if !self.blocked.contains_key(&conn) {
                        self.write(conn);
                    }
                }
            }
        }
    }

    /// Writes to a connection until nothing is left or its socket is full.
    fn write(&mut self, conn: ConnId) {
        let Some(socket) = self.sockets.get_mut(&conn) else { return };
        loop {
            if socket.take_control() {
                self.fanout.handle(Instruction::Forget { conn });
            }
            if socket.outgoing.is_empty() && !socket.is_last {
                let taken = self.fanout.take(conn, TAKE_BYTES);
                for said in taken {
                    self.context.metrics.said(&said);
                    socket.outgoing.push(said);
                }
            }
            let before = socket.outgoing.bytes();
            let is_all = socket.outgoing.is_empty();
            let written = if is_all {
                socket.client.flush_now()
            } else {
                socket.client.write_now(&mut socket.outgoing)
            };
            match written {
                Ok(()) if is_all => {
                    self.blocked.remove(&conn);
                    socket.pace = None;
                    break;
                }
                Ok(()) => {
                    let taken = before - socket.outgoing.bytes();
                    socket.pace.iter_mut().for_each(|pace| pace.took(taken as u64));
                    self.blocked.remove(&conn);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.block(conn);
                    return;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    log::debug!("connection {} cannot be written to: {error}", conn.0);
                    self.cut(conn);
                    return;
                }
            }
        }
        if socket.is_last {
            self.finish(conn);
        }
    }

    fn block(&mut self, conn: ConnId) {
        let now = Instant::now();
        if let Some(socket) = self.sockets.get_mut(&conn) {
            socket.pace.get_or_insert(Pace::new(now));
        }
        let first = Blocked { again: now, pause: PAUSE_MIN / 2 };
        let blocked = self.blocked.entry(conn).or_insert(first);
        blocked.pause = (blocked.pause * 2).min(PAUSE_MAX);
        blocked.again = now + blocked.pause;
    }

    fn try_blocked(&mut self, now: Instant) {
        let due: Vec<_> =
            self.blocked.iter().filter(|(_, blocked)| blocked.again <= now).map(|(conn, _)| *conn).collect();
        if due.is_empty() {
            return;
        }
        for conn in due {
            let pace = self.sockets.get_mut(&conn).and_then(|socket| socket.pace.as_mut());
            if pace.is_some_and(|pace| pace.is_too_slow(now)) {
                log::info!("connection {} is closed: its client hardly reads any more", conn.0);
                self.cut(conn);
            } else {
                self.write(conn);
            }
        }
        // Room in an outbox may have let the fan-out go on.
        self.settle();
    }

    /// If too much waits for all connections together, closes those that hold most.
    fn keep_budget(&mut self, now: Instant) {
        if !self.budget.is_due(now) {
            return;
        }
        let taken: usize = self.sockets.values().map(|socket| socket.outgoing.bytes()).sum();
        let waiting: usize = self.fanout.backlogs().map(|(_, bytes)| bytes).sum();
        if self.budget.has_room(taken + waiting) {
            return;
        }
        let held = self.sockets.iter().map(|(conn, socket)| {
            let share = socket.outgoing.share() + self.fanout.share(*conn);
            (*conn, share)
        });
        for conn in self.budget.too_much(now, held.collect()) {
            log::info!("connection {} is closed: too much waits for all together, and most for it", conn.0);
            self.cut(conn);
        }
    }

    /// Everything has been written: lets the other end read it and go.
    fn finish(&mut self, conn: ConnId) {
        if let Some(socket) = self.sockets.remove(&conn) {
            socket.client.finish();
            self.lingering.push_back((Instant::now() + LINGER, socket.client));
        }
    }

    fn end_lingering(&mut self, now: Instant) {
        while let Some((until, client)) = self.lingering.front()
            && *until <= now
        {
            client.cut();
            self.lingering.pop_front();
        }
    }

    /// Ends a connection at once.
    fn cut(&mut self, conn: ConnId) {
        if let Some(socket) = self.sockets.get(&conn) {
            socket.client.cut();
        }
        self.drop_socket(conn);
        self.fanout.handle(Instruction::Forget { conn });
    }

    fn drop_socket(&mut self, conn: ConnId) {
        self.sockets.remove(&conn);
        self.blocked.remove(&conn);
    }
}

impl Socket {
    fn new(client: Arc<Client>) -> Self {
        let outgoing = Outgoing::new(client.framing());
        Socket { client, outgoing, is_last: false, pace: None }
    }

    /// Takes the control frames that wait. Whether one of them is a close, after which nothing comes.
    fn take_control(&mut self) -> bool {
        let Some(mut control) = self.client.control().map(|control| control.lock()) else { return false };
        if self.is_last {
            return false;
        }
        if let Some(payload) = control.pong.take() {
            self.outgoing.push_pong(&payload);
        }
        if std::mem::take(&mut control.ping) {
            self.outgoing.push_ping();
        }
        if let Some((code, reason)) = control.close.take() {
            self.outgoing.drop_unbegun();
            self.outgoing.push_close(code, reason);
            self.is_last = true;
        }
        self.is_last
    }

    /// The outbox is empty and closed: only a WebSocket's close comes after this.
    fn end(&mut self) {
        if let Some(control) = self.client.control()
            && !self.is_last
        {
            let (code, reason) = control.lock().last_words.unwrap_or(GOODBYE);
            self.outgoing.push_close(code, reason);
        }
        self.is_last = true;
    }
}
