//! The replica thread. It owns the replica and its disk, takes inputs in and passes outputs on. Everything
//! else in `server` only carries things to it or away from it.
//!
//! **Batches, not wake-ups.** Each round takes all that has come in, up to a bound, and does one turn: one
//! transaction and one sync for everything in it. It passes the outputs on in batches; those that need not
//! wait for the sync go before it. What comes in during the sync is the next round.
//!
//! **Three inboxes**, so that a flood of one kind never delays another: control (few and short), peers,
//! clients. They are emptied in this order.
//!
//! | file | what it is |
//! |---|---|
//! | `mod.rs` | the thread's loop: inputs in, a turn, outputs out |
//! | `outlets.rs` | the other threads, as this one reaches them |
//! | `peers.rs` | the links that stand |
//! | `snapshots.rs` | snapshots that go and come |
//! | `directory.rs` | which servers there are, for the threads that reach them |
//! | `description.rs` | what is said of the replica |
//! | `disk_watch.rs` | whether the data folder is there and has room |
//! | `quarantine.rs` | data that must not be used any more |
//! | `passages.rs` | the way of a request, for the log |

mod description;
mod directory;
mod disk_watch;
mod outlets;
mod passages;
mod peers;
mod quarantine;
mod snapshots;

pub use self::outlets::Outlets;

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use log::Level;

use crate::{
    disk::StorageError,
    fanout::ConnId,
    protocol::{name::ServerId, rules::RulesVersion, text::counted},
    replica::{
        Replica, TurnState,
        io::{Input, Now, Output, Query},
    },
    storage::SqliteStorage,
};

use self::{
    description::{Description, log_dropped},
    directory::Told,
    disk_watch::DiskWatch,
    passages::log_passage,
    peers::Peers,
    quarantine::{begin_anew, doubt},
    snapshots::Sending,
};
use super::{
    clients::{ReaderTask, queues::refused},
    context::Context,
    data,
    inboxes::{CONTROL_QUEUE, Control, Inboxes},
    peer::link::PeerEvent,
};

/// Most peer events of one round.
const PEERS_A_ROUND: usize = 1_024;
/// Most client inputs of one round. More would save few syncs and make peers wait long.
const CLIENTS_A_ROUND: usize = 1_024;
/// How long a round may spend on requests of clients, so that ticks and peers are not late.
const TAKE_IN_MS: u64 = 20;
/// How long a server that was removed waits until its last answers are written.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// A round that takes longer is logged: after more of them heartbeats would stop.
const SLOW_ROUND_MS: u64 = 100;

pub struct Core {
    context: Arc<Context>,
    replica: Replica<SqliteStorage>,
    inboxes: Inboxes,
    outlets: Outlets,
    peers: Peers,
    /// Inputs that the last rounds had no time for, and those of this thread itself.
    inputs: VecDeque<Input>,
    next_tick_ms: u64,
    disk: DiskWatch,
    description: Description,
    told: Told,
    is_stopped: bool,
    /// Why the data must not be used any more.
    doubt: Option<String>,
}

impl Core {
    pub fn new(
        context: Arc<Context>,
        replica: Replica<SqliteStorage>,
        inboxes: Inboxes,
        outlets: Outlets,
    ) -> Self {
        let now_ms = context.clock.mono_ms();
        Core {
            peers: Peers::new(Arc::clone(&context)),
            context,
            replica,
            inboxes,
            outlets,
            inputs: VecDeque::new(),
            next_tick_ms: now_ms,
            disk: DiskWatch::new(now_ms),
            description: Description::default(),
            told: Told::default(),
            is_stopped: false,
            doubt: None,
        }
    }

    /// Runs until the replica, after a stop, has nothing more to wait for. If the disk fails the process ends
    /// here and sends nothing more.
    pub fn run(mut self) {
        while let Some(reason) = self.live() {
            let Core { context, replica, inboxes, outlets, .. } = self;
            let replica = begin_anew(&context, replica, &outlets, &reason);
            self = Core::new(context, replica, inboxes, outlets);
        }
        // The writer closes the database last, so that nothing is left beside it.
        self.outlets.readers.set(Vec::new());
    }

    /// Runs on one set of data. Returns `None` after a stop, or why the data is in doubt.
    fn live(&mut self) -> Option<String> {
        let bell = self.inboxes.bell.clone();
        if let Err(error) = self.replica.storage_mut().write_behind(Arc::new(move || bell.ring())) {
            data::end_process(&error);
        }
        while !self.is_stopped && self.doubt.is_none() {
            self.wait();
            let begun_ms = self.context.clock.mono_ms();
            let count = self.take_in();
            let now = self.context.clock.now();
            match self.turn(now) {
                Ok(()) => self.describe(now),
                Err(error) => self.doubt = Some(doubt(error)),
            }
            self.judge_pace(begun_ms, now.mono_ms, count);
        }
        self.doubt.take()
    }

    /// One turn. Each output is passed on as soon as it may be.
    fn turn(&mut self, now: Now) -> Result<(), StorageError> {
        self.replica.follow_requests(log::log_enabled!(Level::Debug));
        while self.doubt.is_none() {
            let state = self.replica.turn(now)?;
            self.pass_on();
            if state == TurnState::Done {
                break;
            }
        }
        Ok(())
    }

    /// Waits for an input or the next tick.
    fn wait(&self) {
        let Inboxes { bell, control, peers, clients } = &self.inboxes;
        if control.has_items() || peers.has_items() || clients.has_items() || !self.inputs.is_empty() {
            return;
        }
        let pause = self.next_tick_ms.saturating_sub(self.context.clock.mono_ms());
        bell.wait_until(Instant::now() + Duration::from_millis(pause));
    }

    /// Takes inputs in; returns how many.
    fn take_in(&mut self) -> usize {
        let (mut controls, mut events, mut inputs) = (Vec::new(), Vec::new(), Vec::new());
        self.inboxes.control.take(CONTROL_QUEUE, &mut controls);
        self.inboxes.peers.take(PEERS_A_ROUND, &mut events);
        self.inboxes.clients.take(CLIENTS_A_ROUND.saturating_sub(self.inputs.len()), &mut inputs);
        self.inputs.extend(inputs);
        let mut count = events.len();
        controls.into_iter().for_each(|control| self.on_control(control));
        events.into_iter().for_each(|event| self.on_peer(event));
        // Costly requests are spread over rounds, so that ticks and peers are not late.
        let begun_ms = self.context.clock.mono_ms();
        while !self.replica.has_said_enough()
            && self.context.clock.mono_ms() < begun_ms + TAKE_IN_MS
            && let Some(input) = self.inputs.pop_front()
        {
            self.replica.handle(self.context.clock.now(), input);
            count += 1;
        }
        self.tick();
        count
    }

    /// Logs a round that took so long that the others may take this server for dead.
    fn judge_pace(&self, begun_ms: u64, turn_ms: u64, count: usize) {
        let now_ms = self.context.clock.mono_ms();
        if now_ms - begun_ms >= SLOW_ROUND_MS {
            let (taking_in, rest) = (turn_ms - begun_ms, now_ms - turn_ms);
            log::warn!(
                "this server is slow: a round took {taking_in} ms to take in {} and {rest} ms \
                 to sync and apply them",
                counted(count as u64, "message")
            );
        }
    }

    /// One tick, if it is due. After a pause of this process one tick stands for all that were missed.
    /// Several at once would let an election timeout pass in which the leader could not be heard.
    fn tick(&mut self) {
        let now = self.context.clock.now();
        if now.mono_ms < self.next_tick_ms {
            return;
        }
        let tick_ms = self.context.config().replica.timing.tick_ms;
        self.next_tick_ms = (self.next_tick_ms + tick_ms).max(now.mono_ms);
        match self.disk.look(now.mono_ms, &self.context, self.replica.storage()) {
            Ok(None) => {}
            Ok(Some(has_room)) => self.replica.handle(now, Input::Room { is_there: has_room }),
            Err(error) => {
                self.doubt = Some(doubt(error));
                return;
            }
        }
        self.replica.handle(now, Input::Tick);
    }

    fn on_control(&mut self, control: Control) {
        let input = match control {
            Control::View(view) => Input::View(view),
            Control::Campaign { term, leader_is_dead } => Input::Campaign { term, leader_is_dead },
            Control::SnapshotSent { to, ok } => Input::SnapshotSent { to, ok },
            Control::Broken(error) => match Input::damage(&error) {
                Some(damage) => damage,
                None => {
                    self.doubt = Some(doubt(error));
                    return;
                }
            },
            Control::Scrubbed(progress) => Input::Scrubbed(progress),
            Control::Report(report) => return self.peers.report(&report),
            Control::Reconfigured(config) => Input::Reconfigured(config),
            Control::Stop => Input::Stop,
        };
        self.replica.handle(self.context.clock.now(), input);
    }

    fn on_peer(&mut self, event: PeerEvent) {
        if let Some(input) = self.peers.take_in(event) {
            self.replica.handle(self.context.clock.now(), input);
        }
    }

    /// Passes the replica's outputs on.
    fn pass_on(&mut self) {
        let mut instructions = Vec::new();
        let mut looks = Vec::new();
        let mut removed = None;
        for output in self.replica.drain_outputs() {
            match output {
                Output::Peer { to, message } => self.peers.send(&to, message),
                Output::FanOut(instruction) => {
                    self.context.metrics.passed_on(&instruction);
                    instructions.push(instruction);
                }
                Output::Query(look) => looks.push(look),
                Output::SendSnapshot { to, term, rules } => self.send_snapshot(to, term, rules),
                Output::SnapshotUnreadable { reason } => {
                    log::error!("this server goes on with its data and waits for another snapshot: {reason}");
                }
                Output::Damaged { reason } => {
                    self.context.metrics.damage_found.inc();
                    log::error!(
                        "data of this server is damaged: {reason}; the other servers are asked for it"
                    );
                }
                Output::Repaired { row, from } => {
                    self.context.metrics.repaired_rows.inc();
                    log::warn!("{row} was damaged; it was fetched from {from} and is whole again");
                }
                Output::Complaint { reason } => log::error!("{reason}"),
                Output::Quarantine { reason } => self.doubt = Some(reason),
                Output::Credential { conn, job } => self.give(conn, ReaderTask::Work(job)),
                Output::ReadOn { conn } => self.give(conn, ReaderTask::ReadOn),
                Output::Servers(servers) => {
                    directory::follow(*servers, &self.context, &self.outlets, &self.peers);
                    self.told.tell(&self.replica, &self.outlets);
                }
                Output::Removed { reason } => removed = Some(reason),
                Output::Stopped => self.is_stopped = true,
            }
        }
        // The others' syncs begin with it.
        self.peers.write_now();
        self.context.metrics.happened(&self.replica.take_counts());
        self.replica.take_passages().iter().for_each(log_passage);
        // The result of a query must not reach the fan-out before the instruction that needs it.
        self.outlets.fan_outs.hand_over(instructions);
        self.ask(looks);
        if let Some(reason) = removed {
            // The operator who asked for it here is told that it is done.
            self.outlets.fan_outs.wait_until_written(LAST_WORDS);
            data::end_removed(&reason);
        }
    }

    /// Gives a task to the thread of a connection. If that has ended the task is dropped.
    fn give(&self, conn: ConnId, task: ReaderTask) {
        if let Some(client) = self.context.clients.get(conn) {
            client.give(task);
        }
    }

    fn ask(&self, looks: Vec<Query>) {
        let mut instructions = Vec::new();
        for look in looks {
            if let Some(look) = self.outlets.queries.ask(look) {
                instructions.push(refused(look, &self.context.shared));
            }
        }
        self.outlets.fan_outs.hand_over(instructions);
    }

    fn describe(&mut self, now: Now) {
        let due = self.description.turned(now, &self.context, &self.replica);
        if due.is_described {
            self.told.tell(&self.replica, &self.outlets);
            log_dropped(self.peers.take_dropped());
        }
        if due.is_news {
            self.outlets.datagrams.standing_changed();
        }
    }

    fn send_snapshot(&mut self, to: ServerId, term: u64, rules: RulesVersion) {
        let sending = Sending {
            term,
            rules,
            reader: self.replica.storage().reader(),
            outgoing: self.peers.outgoing(&to),
            readers: self.outlets.readers.clone(),
            control: self.outlets.control.clone(),
            to: to.clone(),
        };
        if !snapshots::send(sending) {
            // For the next round: a turn is under way.
            self.inputs.push_back(Input::SnapshotSent { to, ok: false });
        }
    }
}
