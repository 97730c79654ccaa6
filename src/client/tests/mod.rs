//! Stories about one client and the servers it meets, told line by line, and (`world`) a server that is
//! honest but unlucky for many seeds.

mod accounts;
mod cases;
mod long_lines;
mod messages;
mod own;
mod rooms;
mod servers;
mod world;

use serde_json::{Value, json};

use super::{
    ask::TargetedRequest,
    directory::Address,
    io::{Command, Input, Output},
    login::{Login, Secret},
    outbox::{Message, MessageIds, OutboxChange},
    own::Target,
    state::{ClientState, StateConfig},
    update::Update,
};
use crate::protocol::{Limits, RoomName, UserName, checked::Topic, request::SetTopic};

/// A client, and the outputs that the test has not checked yet.
struct Rig {
    state: ClientState,
    now_ms: u64,
    ids: MessageIds,
    /// The lines that were written, as JSON.
    written: Vec<Value>,
    told: Vec<Update>,
    /// The last connection asked for, until it is taken.
    connecting: Option<Address>,
    connects: u32,
    disconnects: u32,
    discovers: u32,
    /// The outbox as the disk holds it.
    disk: Vec<Message>,
    /// The life of the cluster's data, as the disk holds it.
    epoch: u64,
    /// The tokens to be kept.
    kept: Vec<Secret>,
    /// The tokens to be forgotten.
    forgotten: Vec<Secret>,
    /// The parts of files to be read.
    reads: Vec<(u64, u64, usize)>,
    saved: Vec<(Vec<u8>, bool)>,
}

fn room(name: &str) -> RoomName {
    RoomName::new(name).unwrap()
}

/// A request that sets the topic of `lobby`.
fn topic(text: &str) -> SetTopic {
    SetTopic { room: room("lobby"), topic: Topic::new(text).unwrap() }
}

fn address(tcp_port: u16) -> Address {
    Address::new("localhost", tcp_port)
}

fn config(ports: &[u16]) -> StateConfig {
    StateConfig {
        user: UserName::new("alice").unwrap(),
        login: Login::default(),
        servers: ports.iter().map(|&port| address(port)).collect(),
        seed: 42,
        history: 50,
        epoch: 0,
        limits: Limits::default(),
    }
}

impl Rig {
    fn new(ports: &[u16]) -> Rig {
        Rig::with(config(ports), vec![])
    }

    fn with(config: StateConfig, restored: Vec<Message>) -> Rig {
        let mut rig = Rig {
            state: ClientState::new(config, restored.clone()),
            now_ms: 10_000,
            ids: MessageIds::new(format!("run{}", restored.len())),
            written: vec![],
            told: vec![],
            connecting: None,
            connects: 0,
            disconnects: 0,
            discovers: 0,
            disk: restored,
            epoch: 0,
            kept: vec![],
            forgotten: vec![],
            reads: vec![],
            saved: vec![],
        };
        rig.input(Input::Timeout);
        rig
    }

    /// A client that is logged in at the first server and has joined `lobby`, which has `last_seq` events.
    fn in_lobby(ports: &[u16], last_seq: u64) -> Rig {
        let mut rig = Rig::new(ports);
        rig.command(Command::Join(room("lobby")));
        rig.log_in("server1");
        rig.answer_join(json!({ "last_seq": last_seq, "events": [] }));
        rig.written.clear();
        rig.told.clear();
        rig
    }

    fn input(&mut self, input: Input) {
        self.state.handle(self.now_ms, input);
        while let Some(output) = self.state.poll_output() {
            match output {
                Output::Connect(address) => {
                    self.connects += 1;
                    self.connecting = Some(address);
                }
                Output::Disconnect => {
                    self.disconnects += 1;
                    self.connecting = None;
                }
                Output::Discover => self.discovers += 1,
                Output::KeepToken(token) => self.kept.push(token),
                Output::ForgetToken(token) => self.forgotten.push(token),
                Output::Read { tag, offset, length } => self.reads.push((tag, offset, length)),
                Output::Save { bytes, last, .. } => self.saved.push((bytes, last)),
                Output::Write(line) => {
                    assert_eq!(line.iter().filter(|&&byte| byte == b'\n').count(), 1);
                    self.written.push(serde_json::from_slice(&line).unwrap());
                }
                Output::Persist(OutboxChange::Added(message)) => self.disk.push(message),
                Output::Persist(OutboxChange::Removed { client_msg_id, .. }) => {
                    self.disk.retain(|message| message.client_msg_id != client_msg_id);
                }
                Output::Persist(OutboxChange::Epoch(epoch)) => self.epoch = epoch,
                Output::Persist(OutboxChange::Renamed(renamed)) => {
                    self.disk.iter_mut().for_each(|message| message.follow(&renamed));
                }
                Output::Persist(OutboxChange::Numbered { room, room_id }) => {
                    self.disk.iter_mut().for_each(|message| message.number(&room, room_id));
                }
                Output::Tell(update) => self.told.push(update),
            }
        }
    }

    fn command(&mut self, command: Command) {
        self.input(Input::Command(command));
    }

    fn ask(&mut self, tag: u64, ask: impl Into<TargetedRequest>) {
        self.command(Command::Ask { tag, ask: ask.into() });
    }

    fn send(&mut self, to: &str, body: &str) -> String {
        self.reply(to, body, None)
    }

    fn reply(&mut self, to: &str, body: &str, reply_to: Option<u64>) -> String {
        let (client_msg_id, reply_to) = (self.ids.next_id(), reply_to.map(Target::Seq));
        let message = Message {
            client_msg_id,
            room: room(to),
            room_id: None,
            body: body.into(),
            reply_to,
            file_id: None,
        };
        let id = message.client_msg_id.clone();
        self.command(Command::Send(message));
        id
    }

    fn line(&mut self, line: Value) {
        self.input(Input::Received(line.to_string().into_bytes()));
    }

    /// Runs the clock on to the next timeout.
    fn next_timeout(&mut self) {
        self.now_ms = self.state.next_timeout_ms().unwrap().max(self.now_ms);
        self.input(Input::Timeout);
    }

    /// Takes the written requests of one kind.
    fn take(&mut self, msg_type: &str) -> Vec<Value> {
        let (taken, left) = std::mem::take(&mut self.written)
            .into_iter()
            .partition(|request: &Value| request["msg_type"] == msg_type);
        self.written = left;
        taken
    }

    fn answer(&mut self, request: &Value, msg_type: &str, mut data: Value) {
        data["for"] = request["msg_type"].clone();
        self.line(json!({
            "msg_type": msg_type, "sender_id": "server", "data": data,
            "lamport_timestamp": 100, "request_id": request["request_id"],
        }));
    }

    fn nack(&mut self, request: &Value, code: &str, retry_after_ms: Option<u64>) {
        let mut data = json!({ "code": code, "reason": "because", "retryable": false });
        if let Some(ms) = retry_after_ms {
            data["retry_after_ms"] = ms.into();
        }
        self.answer(request, "nack", data);
    }

    /// Takes the connection that is asked for up to the acknowledged login.
    fn log_in(&mut self, server_id: &str) {
        self.log_in_to(server_id, None);
    }

    /// The same, if the server tells that the cluster's data is in the life `epoch`.
    fn log_in_to(&mut self, server_id: &str, epoch: Option<u64>) {
        assert!(self.connecting.take().is_some(), "no connection was asked for");
        self.input(Input::Connected);
        let login = self.take("login").remove(0);
        assert_eq!(login["data"]["username"], "alice");
        let mut ack = json!({ "username": "alice", "server_id": server_id });
        if let Some(epoch) = epoch {
            ack["epoch"] = epoch.into();
        }
        self.answer(&login, "ack", ack);
        let list = self.take("server_list").remove(0);
        let servers: Vec<Value> = (1..=3)
            .map(|number| {
                json!({
                    "server_id": format!("server{number}"), "host": "localhost", "tcp_port": 7999 + number,
                    "ring_position": number - 1, "alive": true, "is_leader": number == 3, "clients": 0,
                })
            })
            .collect();
        self.answer(&list, "server_list", json!({ "servers": servers, "leader_id": "server3", "term": 1 }));
    }

    fn answer_join(&mut self, data: Value) -> Value {
        self.answer_join_of(None, data)
    }

    /// Answers the first join, or that of a room.
    fn answer_join_of(&mut self, room: Option<&str>, data: Value) -> Value {
        let mut joins = self.take("create_join");
        let is_it = |join: &Value| room.is_none_or(|room| join["data"]["room"] == room);
        let join = joins.remove(joins.iter().position(is_it).unwrap());
        self.written.extend(joins);
        let mut full = json!({
            "room": join["data"]["room"], "created": false, "private": false, "topic": "", "role": "member",
            "events": [], "more": false,
        });
        for (field, value) in data.as_object().unwrap() {
            full[field] = value.clone();
        }
        self.answer(&join, "ack", full);
        join
    }

    fn ack_chat(&mut self, request: &Value, seq: u64) {
        let data = json!({
            "client_msg_id": request["data"]["client_msg_id"], "room": request["data"]["room"],
            "seq": seq, "lamport_timestamp": 100 + seq, "duplicate": false,
        });
        self.answer(request, "ack", data);
    }

    fn push(&mut self, to: &str, seq: u64) {
        self.line(json!({
            "msg_type": "chat", "sender_id": "bob", "data": event(to, seq), "lamport_timestamp": 100 + seq,
        }));
    }

    fn lost(&mut self) {
        self.input(Input::Disconnected { reason: "reset".into() });
    }

    fn shown(&mut self) -> Vec<u64> {
        let told = std::mem::take(&mut self.told);
        told.iter()
            .filter_map(|update| match update {
                Update::Event { event, .. } => Some(event.seq),
                Update::Unreadable { seq, .. } => Some(*seq),
                _ => None,
            })
            .collect()
    }

    fn acked(&self) -> Vec<&str> {
        self.told
            .iter()
            .filter_map(|update| match update {
                Update::Acked { message, .. } => Some(message.body.as_str()),
                _ => None,
            })
            .collect()
    }
}

fn event(to: &str, seq: u64) -> Value {
    json!({
        "room": to, "seq": seq, "author": "bob", "lamport_timestamp": 100 + seq, "created_at": 1.0,
        "kind": "message", "body": format!("event {seq}"), "client_msg_id": format!("b-{seq}"),
    })
}

fn bodies(requests: &[Value]) -> Vec<&str> {
    requests.iter().map(|request| request["data"]["body"].as_str().unwrap()).collect()
}

fn ids(requests: &[Value]) -> Vec<&str> {
    requests.iter().map(|request| request["data"]["client_msg_id"].as_str().unwrap()).collect()
}
