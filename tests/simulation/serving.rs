//! Runs the servers' processes: does what the threads of the real server do, one event at a time.

use std::io::Read;

use syncnet::{
    config::ReplicaConfig,
    disk::{HardState, Reader, StorageError},
    election::{
        self,
        membership::{LinkEvent, PULSE_MS},
    },
    fanout::ConnId,
    json,
    protocol::{
        Code, Limits, Refusal,
        answer::Signature,
        credential::Job,
        datagram::{Announce, Datagram},
        directory::Directory,
        rules::RulesVersion,
    },
    replica::{
        TurnState,
        io::{Input, Output, Query},
    },
};

use crate::{
    checker::{Ledger, Synced, Verdict},
    cluster::{Cluster, Event, ServerEvent},
    disk::{CrashPoint, counting},
    host::{ClientThread, DEFERRED_MAX, Process},
    links::Cargo,
    queue::{MS, Micros, SECOND},
    rude::is_forgetful,
    scenario::SAFETY_US,
};

/// How long the replica's thread needs to notice that there is something to do.
const WAKE_US: Micros = 30;
/// Without progress of its replica for this long, a server sends no heartbeats.
const PROGRESS_US: Micros = 200 * MS;
/// About one of this many reads finds the queue of the query threads full.
const LOOKS_FOR_A_REFUSAL: Micros = 40;
/// Inputs that one turn takes at most.
const INPUTS_PER_TURN: usize = 4_096;

impl Cluster {
    /// A process starts on what the disk holds; on damaged data as a new incarnation.
    pub fn start(&mut self, server: usize) -> Verdict {
        if self.is_running(server) || !self.hosts[server].is_wanted {
            return Ok(());
        }
        self.tally.starts += 1;
        self.upgrade(server);
        let (now, config) = (self.now, self.configuration(server));
        let host = &mut self.hosts[server];
        let started = host.start(now, config);
        let known = host.disk.borrow().known.clone();
        let node = known.node_id.map_or(0, |node| node.0);
        self.trace.step(now, "start", server as u64, &node.to_le_bytes());
        self.trace.say(now, || format!("{} starts as {node:016x}: {started:?}", server + 1));
        match started {
            Ok(()) => {
                self.checker.booted(server, node)?;
                // A commit in which an earlier process died may still have reached the disk.
                let synced = std::mem::take(&mut self.hosts[server].disk.borrow_mut().synced);
                for synced in synced {
                    self.tell_synced(server, synced)?;
                }
                let HardState { term, vote, .. } = known.hard_state;
                let vote = (term, vote.map(|vote| vote.0));
                self.checker.starts_with(server, known.last.last_log_index, known.applied.index, vote)?;
                let pulse = PULSE_MS * MS;
                let tick = self.hosts[server].random.between(1, 20) * MS;
                self.schedule_at(now + tick, server, ServerEvent::Tick);
                self.schedule_at(now + pulse, server, ServerEvent::Pulse);
                self.schedule_at(now + MS, server, ServerEvent::Beat);
                let known = self.process(server).replica.servers().clone();
                self.note_directory(&known)
            }
            Err(why @ (StorageError::Doubtful(_) | StorageError::Damaged(_))) => {
                self.checker.doubts(
                    server,
                    self.hosts[server].disk.borrow().is_doubtful(),
                    &why.to_string(),
                )?;
                self.set_aside(server);
                self.queue.schedule(now + 100 * MS, Event::Start { server });
                Ok(())
            }
            Err(StorageError::Failed(reason)) => {
                self.judge_stop(server, &reason)?;
                self.queue.schedule(now + SECOND, Event::Start { server });
                Ok(())
            }
        }
    }

    /// Tells the judge what is synced, except events of rooms with retention: it would miss those at the end.
    fn tell_synced(&mut self, server: usize, mut synced: Synced) -> Verdict {
        synced.events.retain(|(_, event)| !is_forgetful(event["room"].as_str().unwrap_or_default()));
        self.checker.synced(server, synced)
    }

    /// The data of `server` is set aside: it begins anew, empty, as a new incarnation.
    pub fn set_aside(&mut self, server: usize) {
        self.tally.quarantines += 1;
        self.checker.lost(server, Ledger::default());
        self.hosts[server].disk.borrow_mut().wipe();
        self.trace.say(self.now, || format!("{} begins anew", server + 1));
    }

    /// The process of `server` is killed. `is_told`: whether its machine lives on and tells the connected
    /// clients and peers.
    pub fn kill(&mut self, server: usize, is_told: bool) {
        if self.is_running(server) {
            self.hosts[server].disk.borrow_mut().die(is_told);
            self.bury(server, is_told);
        }
    }

    /// The process of `server` has ended in order; it comes back soon.
    fn end(&mut self, server: usize) {
        self.hosts[server].disk.borrow_mut().close();
        self.bury(server, true);
        let pause = self.random.between(50, 2_000) * MS;
        self.queue.schedule(self.now + pause, Event::Start { server });
    }

    fn bury(&mut self, server: usize, is_told: bool) {
        let host = &mut self.hosts[server];
        host.process = None;
        host.frozen = false;
        host.deferred.clear();
        host.has_power = is_told;
        self.tally.power_losses += u64::from(!is_told);
        self.trace.step(self.now, "kill", server as u64, &[u8::from(is_told)]);
        self.trace.say(self.now, || format!("{} is dead, told {is_told}", server + 1));
        self.lose_links(server, is_told);
        self.lose_clients(server, is_told);
    }

    /// An event for a process, unless another one runs by now; a stopped process gets it later.
    pub fn at_server(&mut self, server: usize, life: u64, event: ServerEvent) -> Verdict {
        let host = &mut self.hosts[server];
        if host.life != life || host.process.is_none() {
            return Ok(());
        }
        if host.frozen {
            let may_drop = matches!(event, ServerEvent::Datagram(_) | ServerEvent::Link { .. });
            if !may_drop || host.deferred.len() < DEFERRED_MAX {
                host.deferred.push_back(event);
            }
            return Ok(());
        }
        match event {
            ServerEvent::Wake => return self.wake(server),
            ServerEvent::Sync => return self.turn(server),
            ServerEvent::Speak => return self.speak(server),
            ServerEvent::Tick => self.tick(server),
            ServerEvent::Pulse => self.pulse(server),
            ServerEvent::Beat => self.beat(server),
            ServerEvent::ElectionDue => self.elect(server, election::Input::Tick),
            ServerEvent::Datagram(bytes) => self.datagram(server, &bytes),
            ServerEvent::LinkUp { peer, generation, run } => self.link_up(server, peer, generation, run),
            ServerEvent::LinkDown { peer, generation } => self.link_down(server, peer, generation),
            ServerEvent::LinkRefused { peer } => self.link_event(server, peer, LinkEvent::Refused),
            ServerEvent::Told { peer, message } => {
                let from = self.hosts[peer].id.clone();
                self.input(server, Input::Peer { from, message: *message });
            }
            ServerEvent::Link { peer, generation, cargo } => self.over_link(server, peer, generation, cargo),
            ServerEvent::SnapshotSent { peer, generation } => {
                let ok = self.links.generation(server, peer) == Some(generation);
                let to = self.hosts[peer].id.clone();
                self.input(server, Input::SnapshotSent { to, ok });
            }
            ServerEvent::Query(look) => return self.answer_query(server, *look),
            ServerEvent::Hashed { conn, done } => {
                self.input(server, Input::Credential { conn, done: *done });
                self.at_thread(server, conn, ClientThread::worked);
            }
            ServerEvent::Accept { conn } => self.accept(server, conn),
            ServerEvent::Upload { conn, bytes } => self.upload(server, conn, &bytes),
            ServerEvent::Drain { conn } => return self.drain(server, conn),
            ServerEvent::Hangup { conn } => self.hangup(server, conn),
        }
        Ok(())
    }

    /// The running process of `server`.
    pub fn process(&mut self, server: usize) -> &mut Process {
        self.hosts[server].process.as_mut().expect("events of processes that ended are thrown away before")
    }

    /// Gives the replica something to do.
    pub fn input(&mut self, server: usize, input: Input) {
        let now = self.now;
        let Some(process) = self.hosts[server].process.as_mut() else { return };
        process.inbox.push_back(input);
        if !process.is_woken {
            process.is_woken = true;
            let mut at = process.busy_until.max(now) + WAKE_US;
            if self.scenario.busy_cores && now < SAFETY_US && self.random.chance(0.05) {
                at += self.random.between(1, 60) * MS;
            }
            self.schedule_at(at, server, ServerEvent::Wake);
        }
    }

    fn tick(&mut self, server: usize) {
        self.schedule_at(self.now + 20 * MS, server, ServerEvent::Tick);
        // A thread that is late gets its missed ticks as one.
        if !self.process(server).inbox.iter().any(|input| matches!(input, Input::Tick)) {
            self.input(server, Input::Tick);
        }
    }

    /// A round of the replica's loop: takes in what came, then a turn.
    fn wake(&mut self, server: usize) -> Verdict {
        let now = self.now;
        let clock = self.hosts[server].now(now);
        let process = self.process(server);
        process.is_woken = false;
        if process.busy_until > now || process.turn != TurnState::Done {
            // The thread is in a turn; it looks again after it.
            return Ok(());
        }
        let inputs = process.inbox.len().min(INPUTS_PER_TURN);
        for input in process.inbox.drain(..inputs) {
            process.replica.handle(clock, input);
        }
        self.trace.step(now, "turn", server as u64, &(inputs as u64).to_le_bytes());
        self.turn(server)
    }

    /// A turn goes on until it has outputs before its next sync, or is done. Outputs are sent when the syncs
    /// before them are over.
    fn turn(&mut self, server: usize) -> Verdict {
        let now = self.now;
        let clock = self.hosts[server].now(now);
        let process = self.process(server);
        let turned = process.replica.turn(clock);
        process.turn = *turned.as_ref().unwrap_or(&TurnState::Done);
        process.progress_at = now;
        let outputs = process.replica.drain_outputs();
        process.unsaid.extend(outputs);
        let (busy, synced, crashed) = {
            let mut disk = self.hosts[server].disk.borrow_mut();
            (std::mem::take(&mut disk.busy), std::mem::take(&mut disk.synced), disk.crashed.take())
        };
        for synced in synced {
            self.tell_synced(server, synced)?;
        }
        match (crashed, turned) {
            (Some(point), _) => self.die_at(server, point),
            (None, Ok(_)) => {
                self.process(server).busy_until = now + busy;
                self.schedule_at(now + busy, server, ServerEvent::Speak);
                Ok(())
            }
            (None, Err(StorageError::Failed(reason))) => {
                self.trace.say(now, || format!("{} ends: {reason}", server + 1));
                self.judge_stop(server, &reason)?;
                self.kill(server, true);
                let pause = self.random.between(200, 2_000) * MS;
                self.queue.schedule(now + pause, Event::Start { server });
                Ok(())
            }
            (None, Err(error @ (StorageError::Doubtful(_) | StorageError::Damaged(_)))) => {
                self.rebuild(server, &error.to_string());
                Ok(())
            }
        }
    }

    /// The process dies in its disk work, perhaps while it sends its outputs.
    fn die_at(&mut self, server: usize, point: CrashPoint) -> Verdict {
        if point == CrashPoint::WhileSpeaking {
            let process = self.process(server);
            process.turn = TurnState::Done;
            let said = process.unsaid.len() / 2;
            process.unsaid.truncate(said);
            self.speak(server)?;
        }
        self.trace.say(self.now, || format!("{} dies {point:?}", server + 1));
        let loses_power = std::mem::take(&mut self.hosts[server].disk.borrow_mut().loses_power);
        self.kill(server, !loses_power);
        let pause = self.random.between(50, 2_000) * MS;
        self.queue.schedule(self.now + pause, Event::Start { server });
        Ok(())
    }

    /// The server goes into quarantine and comes back as a new incarnation.
    fn rebuild(&mut self, server: usize, reason: &str) {
        self.trace.say(self.now, || format!("{} is set aside: {reason}", server + 1));
        let known = self.process(server).replica.servers().clone();
        self.hosts[server].kept = (known.version > 0).then_some(known);
        self.kill(server, true);
        self.set_aside(server);
        self.queue.schedule(self.now + 200 * MS, Event::Start { server });
    }

    /// Sends the outputs that waited for the disk, or need not wait for it; then goes on with the turn, or
    /// with new input.
    fn speak(&mut self, server: usize) -> Verdict {
        while let Some(output) = self.process(server).unsaid.pop_front() {
            match output {
                Output::Peer { to, message } => self.say_to_peer(server, &to, message)?,
                Output::FanOut(instruction) => self.fan_out(server, instruction)?,
                Output::Query(look) => self.ask_disk(server, look),
                Output::SendSnapshot { to, term, rules } => self.send_snapshot(server, &to, (term, rules)),
                Output::SnapshotUnreadable { reason } => {
                    self.trace.say(self.now, || format!("{} goes on with its data: {reason}", server + 1));
                }
                Output::Damaged { reason } => {
                    self.trace.say(self.now, || format!("{} has damaged data: {reason}", server + 1));
                }
                Output::Repaired { row, from } => {
                    self.tally.repairs += 1;
                    self.trace.say(self.now, || format!("{} has {row} from {from} again", server + 1));
                }
                Output::Complaint { reason } => {
                    self.trace.say(self.now, || format!("{} complains: {reason}", server + 1));
                }
                Output::Servers(servers) => self.follow(server, *servers)?,
                Output::Removed { reason } => {
                    self.trace.say(self.now, || format!("{} ends: {reason}", server + 1));
                    self.kill(server, true);
                    return self.was_removed(server);
                }
                Output::Quarantine { reason } => {
                    self.rebuild(server, &reason);
                    return Ok(());
                }
                Output::Credential { conn, job } => self.hash(server, conn, job),
                Output::ReadOn { conn } => self.at_thread(server, conn, ClientThread::read_on),
                Output::Stopped => {
                    self.end(server);
                    return Ok(());
                }
            }
        }
        if self.process(server).turn == TurnState::WillSync {
            let at = self.now + self.hosts[server].disk.borrow_mut().approach();
            self.process(server).busy_until = at;
            self.schedule_at(at, server, ServerEvent::Sync);
            return Ok(());
        }
        self.note_standing(server)?;
        if !self.process(server).inbox.is_empty() && !self.process(server).is_woken {
            self.process(server).is_woken = true;
            self.schedule_at(self.now, server, ServerEvent::Wake);
        }
        Ok(())
    }

    /// The servers of the cluster are these from now on.
    fn follow(&mut self, server: usize, servers: Directory) -> Verdict {
        self.note_directory(&servers)?;
        let config = ReplicaConfig { servers, ..self.config(server) };
        let process = self.process(server);
        process.sealer.follow(config.servers.iter().map(|entry| entry.server_id.clone()));
        process.membership.follow(&config);
        process.election.follow(&config);
        self.leave_others(server, &config.servers);
        self.tell_view(server, false);
        Ok(())
    }

    /// Tells the election, the peers and the judge of the replica's new state.
    fn note_standing(&mut self, server: usize) -> Verdict {
        let process = self.process(server);
        let standing = process.replica.standing();
        if process.standing == standing {
            return Ok(());
        }
        let was = std::mem::replace(&mut process.standing, standing.clone());
        if standing.leads {
            let (node, term) = (standing.data.node_id.0, standing.data.term);
            if !was.leads || was.data.term != term {
                self.trace.say(self.now, || format!("{} leads term {term}", server + 1));
                self.audit.led(server, &mut self.tally);
            }
            let conf = self.process(server).replica.node().consensus.conf();
            let counting = counting(conf);
            self.checker.leads(server, node, term, &counting)?;
        }
        if was.leads != standing.leads || was.votes != standing.votes {
            self.send_heartbeat(server);
        }
        self.elect(server, election::Input::Standing(standing));
        Ok(())
    }

    fn pulse(&mut self, server: usize) {
        self.schedule_at(self.now + PULSE_MS * MS, server, ServerEvent::Pulse);
        let now_ms = self.hosts[server].mono_ms(self.now);
        self.process(server).membership.tick(now_ms);
        let is_due = now_ms % 100 < PULSE_MS;
        self.tell_view(server, is_due);
    }

    /// Passes on what the failure detector believes, when it changed or `is_due`.
    pub fn tell_view(&mut self, server: usize, is_due: bool) {
        let process = self.process(server);
        let changed = process.membership.take_changed();
        if changed || is_due {
            let view = process.membership.view();
            self.input(server, Input::View(view.clone()));
            if changed {
                self.elect(server, election::Input::View(view));
            }
        }
    }

    fn beat(&mut self, server: usize) {
        let period = self.config(server).timing.heartbeat_ms * MS;
        self.schedule_at(self.now + period, server, ServerEvent::Beat);
        let process = self.process(server);
        let progress_at = process.progress_at;
        if self.now < progress_at + PROGRESS_US {
            self.send_heartbeat(server);
        }
    }

    fn send_heartbeat(&mut self, server: usize) {
        let now = self.hosts[server].now(self.now);
        let position = self.scenario.positions[server];
        let heartbeat = self.process(server).heartbeat(server, position, now);
        self.broadcast(server, &heartbeat);
    }

    /// Gives the election an input and carries out its outputs.
    pub fn elect(&mut self, server: usize, input: election::Input) {
        let now_ms = self.hosts[server].mono_ms(self.now);
        self.process(server).election.handle(now_ms, input);
        while let Some(output) = self.process(server).election.output() {
            match output {
                election::Output::Send { to, datagram } => self.send_datagram(server, &to, &datagram),
                election::Output::Campaign { term, leader_is_dead } => {
                    self.trace.say(self.now, || format!("{} campaigns, dead {leader_is_dead}", server + 1));
                    self.input(server, Input::Campaign { term, leader_is_dead });
                }
                election::Output::Announce { term } => {
                    self.broadcast(server, &Datagram::Announce(Announce { term }));
                    self.send_heartbeat(server);
                }
            }
        }
        let host = &mut self.hosts[server];
        let Some(process) = host.process.as_mut() else { return };
        let due = process.election.due_ms();
        if due != process.election_due {
            process.election_due = due;
            if let Some(due_ms) = due {
                let at = host.micros_of(due_ms).max(self.now);
                self.schedule_at(at, server, ServerEvent::ElectionDue);
            }
        }
    }

    pub fn ask_disk(&mut self, server: usize, look: Query) {
        let at = self.now + self.random.between(20, 400);
        self.schedule_at(at, server, ServerEvent::Query(Box::new(look)));
    }

    /// The result of a job comes later, and not in order. Sometimes too many hash at once.
    fn hash(&mut self, server: usize, conn: ConnId, job: Job) {
        self.at_thread(server, conn, ClientThread::work);
        let is_full = self.random.chance(0.02);
        let done = if is_full {
            Err(Refusal::new(Code::Overloaded, "too many passwords wait to be checked").retry_after(100))
        } else {
            self.hasher.work(job)
        };
        let at = self.now + if is_full { 1 } else { self.random.between(MS, 200 * MS) };
        self.schedule_at(at, server, ServerEvent::Hashed { conn, done: Box::new(done) });
    }

    fn answer_query(&mut self, server: usize, look: Query) -> Verdict {
        let host = &self.hosts[server];
        let now_ms = host.now(self.now).wall_ms;
        let by = Signature { server_id: host.id.clone(), lamport_timestamp: 0, now_ms };
        let disk = host.disk.borrow();
        let looked = disk.reader().and_then(|reader| look.carry_out(reader, by.clone()));
        drop(disk);
        if let Err(error) = &looked {
            self.found_damage(server, error);
        }
        // Sometimes the queue is full. The microsecond decides, which is random enough.
        let is_full = self.now.is_multiple_of(LOOKS_FOR_A_REFUSAL);
        let instruction = looked
            .ok()
            .filter(|_| !is_full)
            .unwrap_or_else(|| look.refused(Refusal::new(Code::Overloaded, "the events cannot be read"), by));
        self.fan_out(server, instruction)
    }

    fn send_snapshot(
        &mut self,
        server: usize,
        to: &syncnet::protocol::ServerId,
        (term, rules): (u64, RulesVersion),
    ) {
        let peer = self.number_of(to);
        let mut bytes = Vec::new();
        let snapshot = self.hosts[server].disk.borrow().reader().and_then(Reader::snapshot);
        let made = snapshot.and_then(|(head, mut content)| {
            let of_disk = |error: std::io::Error| match error.get_ref().and_then(|it| it.downcast_ref()) {
                Some(error) => StorageError::clone(error),
                None => StorageError::Failed(error.to_string()),
            };
            content.read_to_end(&mut bytes).map_err(of_disk)?;
            Ok(head)
        });
        match made {
            Ok(mut head) => {
                (head.term, head.rules) = (term, rules);
                self.ship(server, peer, Cargo::Snapshot(head, bytes.into()));
            }
            Err(error) => {
                self.found_damage(server, &error);
                self.input(server, Input::SnapshotSent { to: to.clone(), ok: false });
            }
        }
    }

    /// A line of a client, read as the real server does.
    pub fn line(&mut self, server: usize, conn: ConnId, line: &[u8]) {
        let (head, request) = json::read_request(line, &Limits::default());
        let bytes = line.len();
        self.at_thread(server, conn, |thread| thread.send(Input::Request { conn, head, request, bytes }));
    }

    /// An event at the thread of a connection, which then passes on what it can. A thread that has reported
    /// the end of its connection has ended.
    pub fn at_thread(&mut self, server: usize, conn: ConnId, happens: impl FnOnce(&mut ClientThread)) {
        if let Some(thread) = self.process(server).threads.get_mut(&conn) {
            happens(thread);
        }
        while let Some(input) = self.process(server).threads.get_mut(&conn).and_then(ClientThread::next) {
            if matches!(input, Input::Closed { .. }) {
                self.process(server).threads.remove(&conn);
            }
            self.input(server, input);
        }
    }
}
