//! One client against a server that is honest but unlucky, over a network that cuts, for many seeds. All that
//! is typed must be committed once and in order, and all that is committed must be shown once and in order.

use std::collections::VecDeque;

use serde_json::{Value, json};

use crate::{
    chance::Chance,
    client::{
        directory::Address,
        io::{Command, Input, Output},
        login::Login,
        outbox::{Message, MessageIds, OutboxChange},
        state::{ClientState, StateConfig},
        update::Update,
    },
    protocol::{Limits, RoomName, UserName},
};

/// A connection as the server sees it, with what is on its way in both directions.
#[derive(Default)]
struct Wire {
    to_server: VecDeque<Value>,
    to_client: VecDeque<Value>,
    /// The last event that was sent, once the room is joined.
    follows: Option<usize>,
    /// The last message that was refused for load.
    shed: Option<String>,
    /// The server takes nothing more: it has said `unavailable`.
    closing: bool,
}

struct World {
    chance: Chance,
    now_ms: u64,
    /// The committed messages: (client_msg_id, body). The place is the `seq`, from 1.
    log: Vec<(String, String)>,
    wire: Option<Wire>,
    connecting: bool,
    client: ClientState,
    runs: u64,
    ids: MessageIds,
    disk: Vec<Message>,
    typed: Vec<String>,
    /// The last event shown in this run of the client.
    shown: Option<u64>,
    /// Faults happen.
    unlucky: bool,
}

fn state(seed: u64, disk: &[Message]) -> ClientState {
    let config = StateConfig {
        user: UserName::new("alice").unwrap(),
        login: Login::default(),
        servers: vec![Address::new("localhost", 1), Address::new("localhost", 2)],
        seed,
        history: 5,
        epoch: 0,
        limits: Limits::default(),
    };
    ClientState::new(config, disk.to_vec())
}

fn lobby() -> RoomName {
    RoomName::new("lobby").unwrap()
}

impl World {
    fn new(seed: u64) -> World {
        let mut world = World {
            chance: Chance(seed),
            now_ms: 0,
            log: vec![],
            wire: None,
            connecting: false,
            client: state(seed, &[]),
            runs: 0,
            ids: MessageIds::new("run0"),
            disk: vec![],
            typed: vec![],
            shown: None,
            unlucky: true,
        };
        world.input(Input::Command(Command::Join(lobby())));
        world
    }

    fn input(&mut self, input: Input) {
        self.client.handle(self.now_ms, input);
        while let Some(output) = self.client.poll_output() {
            match output {
                Output::Connect(_) => self.connecting = true,
                Output::Disconnect => (self.connecting, self.wire) = (false, None),
                Output::Discover => unreachable!("servers are configured"),
                Output::KeepToken(_)
                | Output::ForgetToken(_)
                | Output::Read { .. }
                | Output::Save { .. }
                | Output::Persist(
                    OutboxChange::Epoch(_) | OutboxChange::Renamed(_) | OutboxChange::Numbered { .. },
                ) => {}
                Output::Write(line) => {
                    let wire = self.wire.as_mut().expect("it writes only to a connection");
                    wire.to_server.push_back(serde_json::from_slice(&line).unwrap());
                }
                Output::Persist(OutboxChange::Added(message)) => self.disk.push(message),
                Output::Persist(OutboxChange::Removed { client_msg_id, .. }) => {
                    self.disk.retain(|message| message.client_msg_id != client_msg_id);
                }
                Output::Tell(Update::Event { event, .. }) => {
                    assert!(self.shown.is_none_or(|shown| event.seq == shown + 1), "{event:?}");
                    self.shown = Some(event.seq);
                }
                Output::Tell(Update::Refused { message, refusal, .. }) => panic!("{message:?}: {refusal}"),
                Output::Tell(Update::Acked { message, seq, .. }) => {
                    assert_eq!(self.log[seq as usize - 1].0, message.client_msg_id);
                }
                Output::Tell(_) => {}
            }
        }
    }

    /// True one time in `odds`, as long as faults happen.
    fn unlucky(&mut self, odds: u64) -> bool {
        self.unlucky && self.chance.below(odds) == 0
    }

    fn step(&mut self) {
        match self.chance.below(12) {
            0 if self.unlucky => self.type_something(),
            1 if self.unlucky => self.log.push((format!("bob-{}", self.log.len()), "bob".into())),
            2 => self.open(),
            3 if self.unlucky(6) => self.cut(),
            4 if self.unlucky(12) => self.restart(),
            5 => {
                self.now_ms += self.chance.below(30);
                self.input(Input::Timeout);
            }
            6 if self.chance.below(8) == 0 => {
                self.now_ms = self.client.next_timeout_ms().unwrap().max(self.now_ms);
                self.input(Input::Timeout);
            }
            7..=9 => self.serve(),
            _ => self.deliver(),
        }
        self.push_events();
    }

    fn type_something(&mut self) {
        let body = self.typed.len().to_string();
        self.typed.push(body.clone());
        let message = Message {
            client_msg_id: self.ids.next_id(),
            room: lobby(),
            room_id: None,
            body,
            reply_to: None,
            file_id: None,
        };
        self.input(Input::Command(Command::Send(message)));
    }

    fn open(&mut self) {
        if !std::mem::take(&mut self.connecting) {
            return;
        }
        if self.unlucky(3) {
            self.input(Input::ConnectFailed { reason: "refused".into() });
        } else {
            self.wire = Some(Wire::default());
            self.input(Input::Connected);
        }
    }

    /// Everything that is on its way is lost.
    fn cut(&mut self) {
        if self.wire.take().is_some() {
            self.input(Input::Disconnected { reason: "reset".into() });
        }
    }

    fn restart(&mut self) {
        self.runs += 1;
        (self.wire, self.connecting, self.shown) = (None, false, None);
        self.ids = MessageIds::new(format!("run{}", self.runs));
        self.client = state(self.runs, &self.disk);
        self.input(Input::Command(Command::Join(lobby())));
    }

    fn deliver(&mut self) {
        let line = self.wire.as_mut().and_then(|wire| wire.to_client.pop_front());
        if let Some(line) = line {
            self.input(Input::Received(line.to_string().into_bytes()));
        }
    }

    /// The server takes in the next request.
    fn serve(&mut self) {
        let open = self.wire.as_mut().filter(|wire| !wire.closing);
        let Some(request) = open.and_then(|wire| wire.to_server.pop_front()) else { return };
        let text = |field: &str| request["data"][field].as_str().map(str::to_owned);
        match request["msg_type"].as_str().unwrap() {
            "login" => self.answer(&request, "ack", json!({ "username": "alice", "server_id": "server1" })),
            "server_list" => {
                self.answer(&request, "server_list", json!({ "servers": [], "leader_id": null, "term": 1 }));
            }
            "ping" => self.answer(&request, "pong", json!({})),
            "create_join" if self.unlucky(5) => self.nack(&request, "overloaded"),
            "create_join" => self.join(&request),
            "chat" => {
                let id = text("client_msg_id").unwrap();
                let wire = self.wire.as_mut().unwrap();
                let overtakes = wire.shed.is_some() && wire.shed == text("follows");
                if overtakes || self.unlucky(6) {
                    self.wire.as_mut().unwrap().shed = Some(id);
                    return self.nack(&request, if overtakes { "overloaded" } else { "rate_limited" });
                }
                if self.unlucky(20) {
                    // The outcome is unknown, and it may be either.
                    if self.chance.below(2) == 0 {
                        self.commit(&id, text("body").unwrap());
                    }
                    self.nack(&request, "unavailable");
                    self.wire.as_mut().unwrap().closing = true;
                    return;
                }
                let seq = self.commit(&id, text("body").unwrap());
                let wire = self.wire.as_mut().unwrap();
                wire.shed = wire.shed.take().filter(|shed| *shed != id);
                self.answer(&request, "ack", json!({ "client_msg_id": id, "room": "lobby", "seq": seq }));
            }
            other => panic!("the client asks for {other}"),
        }
    }

    fn commit(&mut self, id: &str, body: String) -> usize {
        if let Some(at) = self.log.iter().position(|(known, _)| known == id) {
            return at + 1;
        }
        self.log.push((id.to_owned(), body));
        self.log.len()
    }

    fn join(&mut self, request: &Value) {
        let data = &request["data"];
        let first = match data["after"].as_u64() {
            Some(after) => after as usize,
            None => self.log.len().saturating_sub(data["history"].as_u64().unwrap() as usize),
        };
        // A resume may be answered in part; the rest follows as pushes.
        let most = if data["after"].is_u64() { 3 } else { usize::MAX };
        let end = self.log.len().min(first.saturating_add(most));
        let events: Vec<Value> = (first + 1..=end).map(|seq| self.event(seq)).collect();
        let answer = json!({ "room": "lobby", "last_seq": self.log.len(), "events": events });
        self.answer(request, "ack", answer);
        self.wire.as_mut().unwrap().follows = Some(end);
    }

    /// Pushes what a follower has not got; an unlucky server leaves one out, or sends one twice.
    fn push_events(&mut self) {
        while let Some(follows) = self.wire.as_ref().and_then(|wire| wire.follows)
            && follows < self.log.len()
        {
            let times = if self.unlucky(40) { 0 } else { 1 + u64::from(self.unlucky(40)) };
            let event = self.event(follows + 1);
            let wire = self.wire.as_mut().unwrap();
            wire.follows = Some(follows + 1);
            for _ in 0..times {
                wire.to_client.push_back(json!({ "msg_type": "chat", "sender_id": "x", "data": event }));
            }
        }
    }

    fn event(&self, seq: usize) -> Value {
        let (id, body) = &self.log[seq - 1];
        json!({
            "room": "lobby", "seq": seq, "author": "alice", "lamport_timestamp": seq, "created_at": 1.0,
            "kind": "message", "body": body, "client_msg_id": id,
        })
    }

    fn nack(&mut self, request: &Value, code: &str) {
        self.answer(request, "nack", json!({ "code": code, "reason": "r", "retry_after_ms": 10 }));
    }

    fn answer(&mut self, request: &Value, msg_type: &str, mut data: Value) {
        data["for"] = request["msg_type"].clone();
        let line = json!({ "msg_type": msg_type, "data": data, "request_id": request["request_id"] });
        self.wire.as_mut().unwrap().to_client.push_back(line);
    }
}

#[test]
fn everything_typed_is_committed_once_and_in_order_whatever_goes_wrong() {
    let (mut committed, mut runs) = (0, 0);
    for seed in 0..200 {
        let mut world = World::new(seed);
        for _ in 0..600 {
            world.step();
        }
        world.unlucky = false;
        let mut steps = 0;
        while !world.client.is_idle() || world.shown.unwrap_or(0) < world.log.len() as u64 {
            world.step();
            steps += 1;
            assert!(steps < 100_000, "seed {seed}: it never ends");
        }
        let own = world.log.iter().filter(|(id, _)| id.starts_with("run"));
        let own: Vec<&String> = own.map(|(_, body)| body).collect();
        assert_eq!(own, world.typed.iter().collect::<Vec<_>>(), "seed {seed}");
        assert!(world.disk.is_empty(), "seed {seed}");
        committed += own.len();
        runs += world.runs;
    }
    assert!(committed > 4_000 && runs > 200, "{committed} messages, {runs} restarts");
}
