//! The replica thread. It owns the replica and its disk, takes inputs in and passes outputs on. Everything
//! else in this folder only carries things to it or away from it.
//!
//! **Batches, not wake-ups.** Each round takes all that has come in, up to a bound, and does one turn: one
//! transaction and one sync for everything in it. It passes the outputs on in batches; those that need not
//! wait for the sync go before it. What comes in during the sync is the next round.
//!
//! **Three inboxes**, so that a flood of one kind never delays another: control (few and short), peers,
//! clients. They are emptied in this order.

use std::{
    collections::{BTreeMap, VecDeque},
    io::{self, Read},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use log::Level;

use crate::{
    config::ReplicaConfig,
    disk::{Reader, StorageError},
    fanout::{ConnId, Instruction},
    protocol::{
        datagram::Run,
        directory::Directory,
        name::ServerId,
        peer::PeerMessage,
        report::Report,
        status::{Cause, Role},
        text::counted,
    },
    replica::{
        Replica, TurnState,
        io::{Input, Now, Output, Query},
        passages::{Passage, Step},
    },
    storage::{SqliteReader, SqliteStorage, folder},
};

use super::{
    clients::ReaderTask,
    context::Context,
    data,
    datagrams::Datagrams,
    inboxes::{CONTROL_QUEUE, Control, Inboxes},
    mailbox::Sender,
    peer::{
        link::{Outgoing, PeerEvent},
        links::Links,
        snapshot::{self, SendError},
    },
    queues::{FanOutQueues, QueryQueues, refused},
    readers::Readers,
};

/// Most peer events of one round.
const PEERS_A_ROUND: usize = 1_024;
/// Most client inputs of one round. More would save few syncs and make peers wait long.
const CLIENTS_A_ROUND: usize = 1_024;
/// How long a round may spend on requests of clients, so that ticks and peers are not late.
const TAKE_IN_MS: u64 = 20;
/// A round that takes longer is logged: after more of them heartbeats would stop.
const SLOW_ROUND_MS: u64 = 100;
/// How often the replica describes itself to the others, unless something important changes.
const DESCRIBE_MS: u64 = 50;
/// How often the data folder is checked to be still there.
const FOLDER_MS: u64 = 250;

/// Where the replica's outputs go.
pub struct Outlets {
    pub fan_outs: FanOutQueues,
    pub queries: QueryQueues,
    pub readers: Arc<Readers>,
    pub datagrams: Arc<Datagrams>,
    pub links: Arc<Links>,
    /// This thread's own control inbox, for the threads that send snapshots.
    pub control: Sender<Control>,
    /// Closed when everything is finished after a stop.
    pub stopped: crossbeam_channel::Sender<()>,
}

pub struct Core {
    context: Arc<Context>,
    replica: Replica<SqliteStorage>,
    inboxes: Inboxes,
    outlets: Outlets,
    /// The sending ends of the links that stand.
    outgoing: BTreeMap<ServerId, Outgoing>,
    /// Inputs that the last rounds had no time for, and those of this thread itself.
    inputs: VecDeque<Input>,
    /// Messages to peers that found their queue full.
    dropped: u64,
    next_tick_ms: u64,
    described_ms: u64,
    next_folder_check_ms: u64,
    /// Whether there is room on the disk.
    has_room: bool,
    /// The last term in which this server led, and whether it has ever known who leads.
    led_term: Option<u64>,
    has_seen_leader: bool,
    is_stopped: bool,
    /// What a server is told that links and should not: of which cluster, and which entry made its servers
    /// so.
    told: Option<(Option<u64>, u64)>,
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
        let next_tick_ms = context.clock.mono_ms();
        Core {
            context,
            replica,
            inboxes,
            outlets,
            outgoing: BTreeMap::new(),
            inputs: VecDeque::new(),
            dropped: 0,
            next_tick_ms,
            described_ms: 0,
            next_folder_check_ms: next_tick_ms,
            has_room: true,
            led_term: None,
            has_seen_leader: false,
            is_stopped: false,
            told: None,
            doubt: None,
        }
    }

    /// Runs until the replica, after a stop, has nothing more to wait for. If the disk fails the process ends
    /// here and sends nothing more.
    pub fn run(mut self) {
        while let Some(reason) = self.live() {
            self = self.begin_anew(&reason);
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
                Err(error) => self.storage_failed(error),
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
            self.on_client(input);
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
        if now.mono_ms >= self.next_folder_check_ms {
            self.next_folder_check_ms = now.mono_ms + FOLDER_MS;
            if let Err(error) = self.replica.storage().check_in_place() {
                return self.storage_failed(error);
            }
            self.look_for_room(now);
        }
        self.replica.handle(now, Input::Tick);
    }

    fn look_for_room(&mut self, now: Now) {
        let data_dir = &self.context.config().data_dir;
        let has_room = folder::has_room(data_dir, self.has_room);
        if std::mem::replace(&mut self.has_room, has_room) == has_room {
            return;
        }
        let shown = data_dir.display();
        if has_room {
            log::warn!("there is room again on the disk of {shown}: this server goes on");
        } else {
            log::error!("the disk of {shown} is full: this server takes no messages until there is room");
        }
        self.replica.handle(now, Input::Room { is_there: has_room });
    }

    fn on_client(&mut self, input: Input) {
        self.replica.handle(self.context.clock.now(), input);
    }

    fn on_control(&mut self, control: Control) {
        let input = match control {
            Control::View(view) => Input::View(view),
            Control::Campaign { term, leader_is_dead } => Input::Campaign { term, leader_is_dead },
            Control::SnapshotSent { to, ok } => Input::SnapshotSent { to, ok },
            Control::Broken(error) => match Input::damage(&error) {
                Some(damage) => damage,
                None => return self.storage_failed(error),
            },
            Control::Scrubbed(progress) => Input::Scrubbed(progress),
            Control::Report(report) => return self.tell_peers(&report),
            Control::Reconfigured(config) => Input::Reconfigured(config),
            Control::Stop => Input::Stop,
        };
        self.replica.handle(self.context.clock.now(), input);
    }

    fn on_peer(&mut self, event: PeerEvent) {
        let input = match event {
            PeerEvent::Up { peer, outgoing } => {
                self.outgoing.insert(peer.clone(), outgoing);
                Input::PeerUp(peer)
            }
            PeerEvent::Down { peer, link } if self.is_current(&peer, link) => {
                self.outgoing.remove(&peer);
                Input::PeerDown(peer)
            }
            PeerEvent::Message { peer, message: PeerMessage::Report(report), .. } => {
                return self.context.board.hear(self.context.clock.mono_ms(), peer, *report);
            }
            // It may be the answer to a question, which has no link.
            PeerEvent::Message { peer, message: message @ PeerMessage::Servers { .. }, .. } => {
                Input::Peer { from: peer, message }
            }
            PeerEvent::Message { peer, link, message } if self.is_current(&peer, link) => {
                Input::Peer { from: peer, message }
            }
            PeerEvent::Snapshot { peer, link, head, content } if self.is_current(&peer, link) => {
                log::info!("a snapshot of {peer} up to entry {} has arrived", head.index);
                let content = Box::new(Steps { of: content, context: self.context.clone() });
                Input::SnapshotReceived { from: peer, head, content }
            }
            // They are of a link that was replaced.
            PeerEvent::Down { .. } | PeerEvent::Message { .. } | PeerEvent::Snapshot { .. } => return,
        };
        self.replica.handle(self.context.clock.now(), input);
    }

    /// Sends this server's report to the peers. If a queue is full it is dropped: the next one comes soon.
    fn tell_peers(&self, report: &Report) {
        for outgoing in self.outgoing.values() {
            outgoing.send(PeerMessage::Report(Box::new(report.clone())));
        }
    }

    fn is_current(&self, peer: &ServerId, link: u64) -> bool {
        self.outgoing.get(peer).is_some_and(|outgoing| outgoing.link() == link)
    }

    /// Passes the replica's outputs on.
    fn pass_on(&mut self) {
        let mut instructions = Vec::new();
        let mut looks = Vec::new();
        for output in self.replica.drain_outputs() {
            match output {
                Output::Peer { to, message } => {
                    if let Some(outgoing) = self.outgoing.get(&to)
                        && !outgoing.send(message)
                    {
                        self.dropped += 1;
                        self.context.metrics.peer_messages_dropped.inc();
                    }
                }
                Output::FanOut(instruction) => {
                    self.context.metrics.passed_on(&instruction);
                    instructions.push(instruction);
                }
                Output::Query(look) => looks.push(look),
                Output::SendSnapshot { to, term } => self.send_snapshot(to, term),
                Output::SnapshotUnreadable { reason } => {
                    log::error!("this server goes on with its data and waits for another snapshot: {reason}");
                }
                Output::Damaged { reason } => {
                    self.context.metrics.damaged_rows.inc();
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
                Output::Servers(servers) => self.follow(*servers),
                Output::Removed { reason } => data::end_removed(&reason),
                Output::Stopped => self.is_stopped = true,
            }
        }
        self.context.metrics.happened(&self.replica.take_counts());
        self.replica.take_passages().iter().for_each(log_passage);
        // The result of a query must not reach the fan-out before the instruction that needs it.
        self.outlets.fan_outs.hand_over(instructions);
        self.ask(looks);
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
        let standing = self.replica.standing();
        let is_news =
            self.context.shared.turned(standing, self.replica.state().lamport(), self.replica.clients());
        if is_news || now.mono_ms >= self.described_ms + DESCRIBE_MS {
            self.described_ms = now.mono_ms;
            self.context.shared.described(self.replica.status(now), self.replica.server_list());
            self.tell_servers();
            if self.dropped > 0 {
                log::warn!("dropped, as the queues to peers were full: {}", counted(self.dropped, "message"));
                self.dropped = 0;
            }
        }
        if is_news {
            self.note_election();
            self.log_standing();
            self.outlets.datagrams.standing_changed();
        }
    }

    /// The servers of the cluster are these from now on.
    fn follow(&mut self, servers: Directory) {
        let names: Vec<_> = servers.iter().map(|server| server.server_id.as_str()).collect();
        log::info!("the servers of the cluster are {} now (entry {})", names.join(", "), servers.version);
        let Context { shared, metrics, .. } = &*self.context;
        let config = ReplicaConfig { servers, ..self.context.config().replica.clone() };
        shared.set_servers(config.servers.clone());
        metrics.follow(&config.servers, &config.server_id);
        self.outlets.datagrams.follow(&config);
        if let Err(error) = self.outlets.links.follow(&config.servers) {
            data::end_process(&format!("there is no thread for a new server: {error}"));
        }
        // They were told why; the links end behind that.
        let gone = self.outgoing.iter().filter(|(peer, _)| config.servers.entry(peer).is_none());
        gone.for_each(|(_, outgoing)| outgoing.close());
        self.tell_servers();
    }

    fn tell_servers(&mut self) {
        let cluster_id = self.replica.node().identity.cluster.as_ref().map(|cluster| cluster.cluster_id);
        let servers = self.replica.servers();
        let told = Some((cluster_id, servers.version));
        if self.told != told {
            self.told = told;
            self.outlets.links.tell(cluster_id, servers);
        }
    }

    /// Notes the terms in which this server leads, and why.
    fn note_election(&mut self) {
        let consensus = &self.replica.node().consensus;
        let term = consensus.term();
        if self.replica.role() == Role::Leader && self.led_term < Some(term) {
            let cause = if self.has_seen_leader { consensus.cause() } else { Cause::Start };
            self.context.metrics.won_election(term, cause);
            self.led_term = Some(term);
        }
        self.has_seen_leader |= self.replica.leader().is_some();
    }

    fn log_standing(&self) {
        let (role, term) = (self.replica.role().word(), self.replica.node().consensus.term());
        match self.replica.leader() {
            Some(leader) => log::info!("this server is {role} in term {term}; {leader} leads"),
            None => log::info!("this server is {role} in term {term}; no server leads yet"),
        }
    }

    /// Starts a thread that sends a snapshot and reports its end to the replica.
    fn send_snapshot(&mut self, to: ServerId, term: u64) {
        let reader = self.replica.storage().reader();
        let (readers, control) = (self.outlets.readers.clone(), self.outlets.control.clone());
        let outgoing = self.outgoing.get(&to).cloned();
        let name = format!("snapshot-{to}");
        let receiver = to.clone();
        let body = move || {
            let sent = readers.hold(|| match (reader, outgoing) {
                (Ok(reader), Some(outgoing)) => send_snapshot(&reader, term, &outgoing),
                (Err(error), _) => Err(SendError::Disk(error)),
                (_, None) => Err(SendError::NoLink),
            });
            match &sent {
                Ok(bytes) => log::info!("a snapshot of {bytes} bytes was sent to {receiver}"),
                Err(reason) => log::warn!("a snapshot for {receiver} was not sent: {reason}"),
            }
            // If the replica thread is gone the process is ending.
            if let Some(error) = sent.as_ref().err().and_then(SendError::of_disk) {
                let _ = control.send(Control::Broken(error));
            }
            let _ = control.send(Control::SnapshotSent { to: receiver, ok: sent.is_ok() });
        };
        if let Err(error) = thread::Builder::new().name(name).spawn(body) {
            log::warn!("there is no thread to send a snapshot: {error}");
            // For the next round: a turn is under way.
            self.inputs.push_back(Input::SnapshotSent { to, ok: false });
        }
    }

    /// Ends the process if the disk failed; else notes why the data is in doubt.
    fn storage_failed(&mut self, error: StorageError) {
        match error.doubt() {
            None => data::end_process(&error),
            reason => self.doubt = reason,
        }
    }

    /// Sets the data aside and begins without any, under a new incarnation. Clients and peers are cut off.
    /// What they were told is in the log of a majority, of which this server is no longer a part.
    fn begin_anew(self, reason: &str) -> Core {
        let Core { context, replica, inboxes, outlets, .. } = self;
        context.metrics.quarantines.inc();
        log::error!("this server goes into quarantine and is rebuilt from the others: {reason}");
        let clients = context.clients.all();
        clients.iter().for_each(|client| client.cut());
        outlets
            .fan_outs
            .hand_over(clients.iter().map(|client| Instruction::Forget { conn: client.conn }).collect());
        outlets.links.hang_up();
        outlets.readers.set(Vec::new());
        let servers = replica.servers().clone();
        drop(replica);
        // The new replica ignores what the old connections still send: it knows none of them, and no number
        // is used twice.
        let opened = data::set_aside(&context.config())
            .and_then(|()| data::open(&context.config(), &servers, context.clock, &context.metrics));
        let readers = opened.and_then(|replica| {
            let readers = data::readers(&replica, context.config().threads.query)?;
            Ok((replica, readers))
        });
        let (replica, readers) = readers.unwrap_or_else(|error| data::end_process(&error));
        let run = Run::from(&replica.node().data_mark());
        outlets.datagrams.restart(run);
        outlets.links.restart(run);
        outlets.readers.set(readers);
        Core::new(context, replica, inboxes, outlets)
    }
}

/// A snapshot while it is installed. That takes long for one turn, so each step of it proves that the thread
/// works, and heartbeats go on.
struct Steps<R> {
    of: R,
    context: Arc<Context>,
}

impl<R: Read> Read for Steps<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.context.shared.worked();
        self.of.read(into)
    }
}

/// The id is a field of its own in logs of JSON (`logging`).
fn log_passage(passage: &Passage) {
    let Passage { request, step } = passage;
    match step {
        Step::Taken { conn, operation } => {
            log::debug!(request:% = request; "request {request} is {operation}, of connection {}", conn.0);
        }
        Step::Proposed => log::debug!(request:% = request; "request {request} is on its way into the log"),
        Step::Applied { index, outcome } => {
            let outcome = outcome.word();
            log::debug!(request:% = request; "request {request} is entry {index} of the log: {outcome}");
        }
    }
}

fn send_snapshot(reader: &SqliteReader, term: u64, outgoing: &Outgoing) -> Result<u64, SendError> {
    let (mut head, content) = reader.snapshot()?;
    head.term = term;
    snapshot::send(head, content, outgoing.bulk())
}
