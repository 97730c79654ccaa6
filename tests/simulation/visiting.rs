//! Clients and their connections: devices, rude visitors, and the reader at the end.

use std::{collections::VecDeque, sync::Arc};

use syncnet::{
    client,
    fanout::{ConnId, Instruction},
    protocol::{Code, Refusal, RequestHead, envelope::BadRequest},
    replica::io::{Input, Query},
    server::clients::framing::Lines,
};

use crate::{
    checker::Verdict,
    cluster::{ClientEvent, Cluster, Event, ServerEvent},
    device::Want,
    disk::counting,
    host::ClientThread,
    queue::{MS, Micros},
    rude::{self, Step},
};

/// Whose connection it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client {
    Device(usize),
    Visitor(u64),
}

/// A client's connection to a server.
pub struct Conn {
    pub client: Client,
    pub server: usize,
    /// Which process of the server has it.
    pub life: u64,
    /// The server's number for it, while the server knows it.
    id: Option<ConnId>,
    /// Whether the client still has it.
    pub is_open: bool,
    /// Whether everything that is sent on it is lost, without either side being told.
    pub is_cut: bool,
    reads: bool,
    /// How fast it reads; 0 for at once.
    bytes_per_ms: u64,
    /// Bytes that were sent to a client that does not read.
    unread: usize,
    framing: Lines,
    has_spoken: bool,
    next_upload: Micros,
    next_download: Micros,
}

/// A rude visitor, or the reader at the end.
pub struct Visitor {
    pub conn: Option<u64>,
    pub steps: VecDeque<Step>,
    /// What it was sent, if the simulation wants to read it.
    pub heard: Option<Vec<Vec<u8>>>,
    /// Whether the judge watches: it does not know rooms with retention.
    pub is_judged: bool,
}

/// What the kernels on both sides hold for a client that does not read.
const SOCKET_BYTES: usize = 128 * 1024;

impl Cluster {
    /// A client opens a connection, and hears the result later.
    pub fn open_conn(&mut self, client: Client, server: usize) -> u64 {
        self.next_conn += 1;
        let number = self.next_conn;
        let bytes_per_ms = match client {
            Client::Device(device) => self.devices[device].bytes_per_ms,
            Client::Visitor(_) => 0,
        };
        let conn = Conn {
            client,
            server,
            life: 0,
            id: None,
            is_open: true,
            is_cut: false,
            reads: true,
            bytes_per_ms,
            unread: 0,
            framing: Lines::new(self.config(server).limits.line_bytes),
            has_spoken: false,
            next_upload: 0,
            next_download: 0,
        };
        self.conns.insert(number, conn);
        let at = self.now + self.network.delay();
        self.queue.schedule(at, Event::Connect { conn: number });
        number
    }

    /// The server's kernel accepts the connection, or refuses it if no process listens.
    pub fn connect(&mut self, number: u64) {
        let Some(conn) = self.conns.get_mut(&number).filter(|conn| conn.is_open) else { return };
        let server = conn.server;
        if !self.hosts[server].has_power {
            conn.is_cut = true;
            return;
        }
        let at = self.now + self.network.delay();
        if !self.is_running(server) {
            self.queue.schedule(at, Event::Client(ClientEvent::Refused { conn: number }));
            return;
        }
        self.queue.schedule(at, Event::Client(ClientEvent::Connected { conn: number }));
        if let Some(conn) = self.conns.get_mut(&number) {
            conn.life = self.hosts[server].life;
            conn.next_download = at;
        }
        self.schedule_at(self.now, server, ServerEvent::Accept { conn: number });
    }

    pub fn accept(&mut self, server: usize, number: u64) {
        let process = self.process(server);
        process.next_conn += 1;
        let id = ConnId(process.next_conn);
        process.conns.insert(id, number);
        process.threads.insert(id, ClientThread::default());
        if let Some(conn) = self.conns.get_mut(&number) {
            conn.id = Some(id);
        }
    }

    /// A client sends bytes.
    pub fn send_up(&mut self, number: u64, bytes: Vec<u8>) {
        let delay = self.network.delay();
        let Some(conn) = self.conns.get_mut(&number).filter(|conn| conn.is_open) else { return };
        for line in bytes.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            self.checker.sent(number, line);
        }
        if conn.is_cut {
            return;
        }
        conn.next_upload = conn.next_upload.max(self.now + delay);
        let (at, server) = (conn.next_upload, conn.server);
        self.schedule_at(at, server, ServerEvent::Upload { conn: number, bytes: bytes.into() });
    }

    /// Bytes of a client arrive at its server.
    pub fn upload(&mut self, server: usize, number: u64, bytes: &[u8]) {
        self.trace.step(self.now, "upload", number, bytes);
        let Some(conn) = self.conns.get_mut(&number) else { return };
        let (Some(id), true) = (conn.id, conn.life == self.hosts[server].life) else { return };
        let is_first = !std::mem::replace(&mut conn.has_spoken, true);
        let mut lines: Vec<Vec<u8>> = Vec::new();
        let fed = conn.framing.feed(bytes, |line| lines.push(line.to_vec()));
        if is_first {
            self.input(server, Input::Opened { conn: id, addr: None, reserved: false });
        }
        for line in lines.iter().filter(|line| !line.is_empty()) {
            self.trace.say(self.now, || shown("=>", number, line));
            self.line(server, id, line);
        }
        if fed.is_err() {
            let refusal = Refusal::new(Code::TooLarge, "the line is too long");
            let (head, request) = (RequestHead::default(), Err(BadRequest::Envelope(refusal)));
            let refused = Input::Request { conn: id, head, request, bytes: 0 };
            self.at_thread(server, id, |thread| thread.send(refused));
        }
    }

    /// A server learns that a client's connection is gone.
    pub fn hangup(&mut self, server: usize, number: u64) {
        let Some(id) = self.conns.get_mut(&number).and_then(|conn| conn.id.take()) else { return };
        if self.process(server).conns.remove(&id).is_some() {
            self.at_thread(server, id, |thread| thread.send(Input::Closed { conn: id }));
        }
    }

    /// A client closes its connection, or is reset: both sides will know.
    pub fn close_conn(&mut self, number: u64) {
        let Some(conn) = self.conns.get_mut(&number).filter(|conn| conn.is_open) else { return };
        conn.is_open = false;
        let (server, life, is_cut) = (conn.server, conn.life, conn.is_cut);
        self.checker.closed(number);
        if !is_cut {
            let at = self.now + self.network.delay();
            let event = ServerEvent::Hangup { conn: number };
            self.queue.schedule(at, Event::Server { server, life, event });
        }
    }

    /// Gives an instruction to the fan-out of `server` and carries out what it wants.
    pub fn fan_out(&mut self, server: usize, instruction: Instruction) -> Verdict {
        let fanout = &mut self.process(server).fanout;
        fanout.handle(instruction);
        for id in fanout.dirty() {
            self.drain(server, id)?;
        }
        self.after_fan(server);
        Ok(())
    }

    /// Writes what is queued for a client to its socket, as much as goes in.
    pub fn drain(&mut self, server: usize, id: ConnId) -> Verdict {
        let Some(&number) = self.process(server).conns.get(&id) else { return Ok(()) };
        while self.process(server).fanout.queued_bytes(id) > 0 {
            let Some(conn) = self.conns.get(&number) else { break };
            if !conn.reads && conn.unread > SOCKET_BYTES {
                break;
            }
            if conn.bytes_per_ms > 0 && conn.next_download > self.now + 20 * MS {
                let at = conn.next_download;
                self.schedule_at(at, server, ServerEvent::Drain { conn: id });
                break;
            }
            for said in self.process(server).fanout.take(id, 4_096) {
                self.send_down(server, number, &said.json())?;
            }
        }
        self.after_fan(server);
        Ok(())
    }

    /// Closes connections that the fan-out has ended, and does the reads that it asks for.
    fn after_fan(&mut self, server: usize) {
        for (id, _) in self.process(server).fanout.closed() {
            self.close_by_server(server, id);
        }
        for query in self.process(server).fanout.queries() {
            self.ask_disk(server, Query::Events(query));
        }
    }

    /// A server writes a line to a client.
    fn send_down(&mut self, server: usize, number: u64, line: &Arc<[u8]>) -> Verdict {
        let delay = self.network.delay();
        let process = self.hosts[server].process.as_ref();
        let conf = process.map(|process| process.replica.node().consensus.conf());
        self.checker.said(server, number, line, || conf.map(counting).unwrap_or_default())?;
        self.trace.say(self.now, || shown("--", number, line));
        let Some(conn) = self.conns.get_mut(&number) else { return Ok(()) };
        if !conn.reads {
            conn.unread += line.len();
        } else if !conn.is_cut {
            let transfer = (line.len() as u64 * MS).checked_div(conn.bytes_per_ms).unwrap_or(0);
            conn.next_download = conn.next_download.max(self.now + delay) + transfer;
            let event = ClientEvent::Download { conn: number, line: line.clone() };
            self.queue.schedule(conn.next_download, Event::Client(event));
        }
        Ok(())
    }

    /// A server closes a connection; the client hears of it after all that was written.
    fn close_by_server(&mut self, server: usize, id: ConnId) {
        let Some(number) = self.process(server).conns.remove(&id) else { return };
        self.at_thread(server, id, |thread| thread.cut(Input::Closed { conn: id }));
        self.tell_closed(number);
    }

    fn tell_closed(&mut self, number: u64) {
        let delay = self.network.delay();
        let Some(conn) = self.conns.get_mut(&number) else { return };
        conn.id = None;
        if !conn.is_cut {
            let at = conn.next_download.max(self.now + delay);
            self.queue.schedule(at, Event::Client(ClientEvent::Closed { conn: number }));
        }
    }

    /// The connections that the process of `server` has.
    pub fn process_conns(&self, server: usize) -> Vec<u64> {
        let process = self.hosts[server].process.as_ref();
        process.map_or_else(Vec::new, |process| process.conns.values().copied().collect())
    }

    /// A connection is reset: both sides hear of it.
    pub fn reset_conn(&mut self, number: u64) {
        let Some(conn) = self.conns.get(&number) else { return };
        let (server, life, is_cut) = (conn.server, conn.life, conn.is_cut);
        if !is_cut {
            let delay = self.network.delay();
            let event = ServerEvent::Hangup { conn: number };
            self.queue.schedule(self.now + delay, Event::Server { server, life, event });
            let delay = self.network.delay();
            self.queue.schedule(self.now + delay, Event::Client(ClientEvent::Closed { conn: number }));
        }
    }

    /// All devices read as fast as they can from now on.
    pub fn read_fast(&mut self) {
        for device in &mut self.devices {
            device.bytes_per_ms = 0;
        }
        for conn in self.conns.values_mut() {
            conn.bytes_per_ms = 0;
        }
    }

    /// The process of `server` is gone, and with it all its connections.
    pub fn lose_clients(&mut self, server: usize, is_told: bool) {
        let life = self.hosts[server].life;
        let lost = self.conns.iter().filter(|(_, conn)| conn.server == server && conn.life == life);
        for number in lost.map(|(number, _)| *number).collect::<Vec<_>>() {
            if is_told {
                self.tell_closed(number);
            } else if let Some(conn) = self.conns.get_mut(&number) {
                conn.id = None;
                conn.is_cut = true;
            }
        }
    }

    /// Something happens to a client.
    pub fn at_client(&mut self, event: ClientEvent) -> Verdict {
        match event {
            ClientEvent::Connected { conn } => self.connected(conn),
            ClientEvent::Refused { conn } => self.ended(conn, false),
            ClientEvent::Closed { conn } => self.ended(conn, true),
            ClientEvent::Download { conn, line } => return self.download(conn, &line),
            ClientEvent::DeviceDue { device } => {
                self.device_due[device] = None;
                self.tell_device(device, client::io::Input::Timeout);
            }
            ClientEvent::DeviceAct { device } => self.act(device),
            ClientEvent::DeviceStart { device } => self.start_device(device),
            ClientEvent::Visitor { visitor } => self.visit(visitor),
            ClientEvent::Visits => self.next_visits(),
            ClientEvent::Forgetful => self.visit_forgetful_room(),
            ClientEvent::Company => return self.keep_company(),
            ClientEvent::Operator => return self.operate(),
            ClientEvent::StartsGone { server } => return self.start_gone(server),
        }
        Ok(())
    }

    fn connected(&mut self, number: u64) {
        let Some(conn) = self.conns.get(&number).filter(|conn| conn.is_open) else { return };
        let (client, server) = (conn.client, conn.server);
        match client {
            Client::Device(device) => {
                let user = self.devices[device].user.clone();
                self.checker.opened(number, server, Some(&user));
                self.tell_device(device, client::io::Input::Connected);
            }
            Client::Visitor(visitor) => {
                if self.visitors.get(&visitor).is_some_and(|visitor| visitor.is_judged) {
                    self.checker.opened(number, server, None);
                }
                self.visit(visitor);
            }
        }
    }

    /// The client's connection, or its attempt at one, is over.
    fn ended(&mut self, number: u64, was_connected: bool) {
        let Some(conn) = self.conns.get_mut(&number).filter(|conn| conn.is_open) else { return };
        conn.is_open = false;
        let client = conn.client;
        self.checker.closed(number);
        match client {
            Client::Device(device) if self.device_conns[device] == Some(number) => {
                self.device_conns[device] = None;
                let reason = "the connection was closed".to_owned();
                self.tell_device(
                    device,
                    if was_connected {
                        client::io::Input::Disconnected { reason }
                    } else {
                        client::io::Input::ConnectFailed { reason }
                    },
                );
            }
            Client::Visitor(visitor) => {
                if let Some(visitor) = self.visitors.get_mut(&visitor) {
                    visitor.conn = None;
                }
            }
            Client::Device(_) => {}
        }
    }

    fn download(&mut self, number: u64, line: &[u8]) -> Verdict {
        let Some(conn) = self.conns.get(&number).filter(|conn| conn.is_open) else { return Ok(()) };
        let client = conn.client;
        self.trace.step(self.now, "download", number, line);
        self.trace.say(self.now, || shown("<=", number, line));
        let line = line.strip_suffix(b"\n").unwrap_or(line).to_vec();
        self.checker.received(number, &line)?;
        match client {
            Client::Device(device) => {
                self.devices[device].note_list(&line);
                self.tell_device(device, client::io::Input::Received(line));
            }
            Client::Visitor(visitor) => {
                if let Some(heard) = self.visitors.get_mut(&visitor).and_then(|it| it.heard.as_mut()) {
                    heard.push(line);
                }
            }
        }
        Ok(())
    }

    fn start_device(&mut self, device: usize) {
        if self.devices[device].is_running() {
            return;
        }
        let wants = self.devices[device].start(self.now);
        self.grant(device, wants);
        let at = self.devices[device].next_action(self.now);
        self.queue.schedule(at, Event::Client(ClientEvent::DeviceAct { device }));
    }

    /// The program of a device dies, and comes back later with what its outbox holds.
    pub fn crash_device(&mut self, device: usize) {
        if !self.devices[device].is_running() {
            return;
        }
        self.devices[device].crash();
        if let Some(conn) = self.device_conns[device].take() {
            self.close_conn(conn);
        }
        let at = self.now + self.random.between(10, 3_000) * MS;
        self.queue.schedule(at, Event::Client(ClientEvent::DeviceStart { device }));
    }

    fn act(&mut self, device: usize) {
        if !self.is_lively || !self.devices[device].is_running() {
            return;
        }
        let wants = self.devices[device].act(self.now);
        self.grant(device, wants);
        let at = self.devices[device].next_action(self.now);
        self.queue.schedule(at, Event::Client(ClientEvent::DeviceAct { device }));
    }

    fn tell_device(&mut self, device: usize, input: client::io::Input) {
        let wants = self.devices[device].tell(self.now, input);
        self.grant(device, wants);
    }

    /// Carries out what a device wants.
    fn grant(&mut self, device: usize, wants: Vec<Want>) {
        for want in wants {
            match want {
                Want::Connect(server) => {
                    let conn = self.open_conn(Client::Device(device), server);
                    self.device_conns[device] = Some(conn);
                }
                Want::Write(line) => {
                    if let Some(conn) = self.device_conns[device] {
                        self.send_up(conn, line);
                    }
                }
                Want::Disconnect => {
                    if let Some(conn) = self.device_conns[device].take() {
                        self.close_conn(conn);
                    }
                }
                Want::Composed(id) => {
                    let user = self.devices[device].user.clone();
                    self.checker.composed(device, &user, &id);
                    self.tally.overlaps += u64::from(self.has_just_broken());
                }
                Want::GivenUp(id) => {
                    let user = self.devices[device].user.clone();
                    self.checker.given_up(&user, &id);
                }
            }
        }
        let due = self.devices[device].due();
        if let Some(at) = due
            && self.device_due[device].is_none_or(|scheduled| at < scheduled)
        {
            let at = at.max(self.now);
            self.device_due[device] = Some(at);
            self.queue.schedule(at, Event::Client(ClientEvent::DeviceDue { device }));
        }
    }

    fn next_visits(&mut self) {
        if !self.is_lively {
            return;
        }
        let number = self.next_visitor;
        let (servers, rooms) = (self.scenario.servers, self.scenario.rooms);
        for visit in rude::visits(&mut self.random, number, servers, rooms) {
            self.receive_visitor(visit.server, visit.steps, false);
        }
        let at = self.now + self.random.wait(self.scenario.rude_every).max(MS);
        self.queue.schedule(at, Event::Client(ClientEvent::Visits));
    }

    /// A visitor writes in a room that keeps few events.
    fn visit_forgetful_room(&mut self) {
        if !self.is_lively {
            return;
        }
        let number = self.next_visitor;
        let server = number as usize % self.scenario.servers;
        let visitor = self.receive_visitor(server, rude::forgetful(number), false);
        if let Some(visitor) = self.visitors.get_mut(&visitor) {
            visitor.is_judged = false;
        }
        self.queue.schedule(self.now + 1_700 * MS, Event::Client(ClientEvent::Forgetful));
    }

    /// A visitor comes to `server`; `is_heard` keeps what it is sent.
    pub fn receive_visitor(&mut self, server: usize, steps: Vec<Step>, is_heard: bool) -> u64 {
        self.next_visitor += 1;
        let visitor = self.next_visitor;
        let conn = self.open_conn(Client::Visitor(visitor), server);
        let heard = is_heard.then(Vec::new);
        self.visitors
            .insert(visitor, Visitor { conn: Some(conn), steps: steps.into(), heard, is_judged: true });
        visitor
    }

    /// A visitor gets one more step.
    pub fn visit_with(&mut self, number: u64, step: Step) {
        if let Some(visitor) = self.visitors.get_mut(&number) {
            visitor.steps.push_back(step);
        }
        self.visit(number);
    }

    /// A visitor does its next steps, up to its next pause.
    fn visit(&mut self, number: u64) {
        loop {
            let Some(visitor) = self.visitors.get_mut(&number) else { return };
            let Some(conn) = visitor.conn else {
                if visitor.heard.is_none() {
                    self.visitors.remove(&number);
                }
                return;
            };
            match visitor.steps.pop_front() {
                Some(Step::Line(line)) => self.send_up(conn, line),
                Some(Step::Pause(pause)) => {
                    let event = Event::Client(ClientEvent::Visitor { visitor: number });
                    self.queue.schedule(self.now + pause, event);
                    return;
                }
                Some(Step::StopReading) => {
                    if let Some(conn) = self.conns.get_mut(&conn) {
                        conn.reads = false;
                    }
                }
                None if visitor.heard.is_some() => return,
                Some(Step::Close) => {
                    visitor.conn = None;
                    self.close_conn(conn);
                }
                None => {
                    // Waits for its answers a while, then goes.
                    visitor.steps.push_back(Step::Close);
                    let event = Event::Client(ClientEvent::Visitor { visitor: number });
                    self.queue.schedule(self.now + 7_000 * MS, event);
                    return;
                }
            }
        }
    }
}

fn shown(arrow: &str, conn: u64, line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    format!("client {conn} {arrow} {}", text.trim_end().chars().take(400).collect::<String>())
}
