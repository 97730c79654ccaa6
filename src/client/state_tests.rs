//! Stories about one client and the servers it meets, told line by line.

use serde_json::{Value, json};

use super::{
    directory::Address,
    io::{Command, Input, Output, Question},
    limits::{BACK_OFF_MAX_MS, REDIRECTS_MAX, WINDOW_MAX},
    login::{Login, Secret},
    outbox::{Message, MessageIds, OutboxChange},
    state::{ClientState, StateConfig},
    update::{Connection, Reply, Update},
};
use crate::protocol::{Code, Limits, RoomName, UserName};

/// A client, and whatever it wanted and was not yet looked at.
pub(super) struct Rig {
    pub(super) state: ClientState,
    pub(super) now_ms: u64,
    pub(super) ids: MessageIds,
    /// What was written, as JSON.
    pub(super) written: Vec<Value>,
    pub(super) told: Vec<Update>,
    /// The last connection asked for, until it is taken.
    pub(super) connecting: Option<Address>,
    pub(super) connects: u32,
    pub(super) disconnects: u32,
    pub(super) discovers: u32,
    /// The outbox as the disk holds it.
    pub(super) disk: Vec<Message>,
    /// The tokens to be kept.
    pub(super) kept: Vec<Option<Secret>>,
    /// The parts of files to be read.
    pub(super) reads: Vec<(u64, u64, usize)>,
    pub(super) saved: Vec<(Vec<u8>, bool)>,
}

pub(super) fn room(name: &str) -> RoomName {
    RoomName::new(name).unwrap()
}

pub(super) fn address(tcp_port: u16) -> Address {
    Address::new("localhost", tcp_port)
}

pub(super) fn config(ports: &[u16]) -> StateConfig {
    StateConfig {
        user: UserName::new("alice").unwrap(),
        login: Login::default(),
        servers: ports.iter().map(|&port| address(port)).collect(),
        seed: 42,
        history: 50,
        limits: Limits::default(),
    }
}

impl Rig {
    pub(super) fn new(ports: &[u16]) -> Rig {
        Rig::with(config(ports), vec![])
    }

    pub(super) fn with(config: StateConfig, restored: Vec<Message>) -> Rig {
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
            kept: vec![],
            reads: vec![],
            saved: vec![],
        };
        rig.input(Input::Timeout);
        rig
    }

    /// A client that is logged in at the first server and has joined `lobby`, which has `last_seq` events.
    pub(super) fn in_lobby(ports: &[u16], last_seq: u64) -> Rig {
        let mut rig = Rig::new(ports);
        rig.command(Command::Join(room("lobby")));
        rig.log_in("server1");
        rig.answer_join(json!({ "last_seq": last_seq, "events": [] }));
        rig.written.clear();
        rig.told.clear();
        rig
    }

    pub(super) fn input(&mut self, input: Input) {
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
                Output::Tell(update) => self.told.push(update),
            }
        }
    }

    pub(super) fn command(&mut self, command: Command) {
        self.input(Input::Command(command));
    }

    pub(super) fn send(&mut self, to: &str, body: &str) -> String {
        let client_msg_id = self.ids.next_id();
        let message =
            Message { client_msg_id, room: room(to), body: body.into(), reply_to: None, file_id: None };
        let id = message.client_msg_id.clone();
        self.command(Command::Send(message));
        id
    }

    pub(super) fn line(&mut self, line: Value) {
        self.input(Input::Received(line.to_string().into_bytes()));
    }

    /// Runs the clock on to the next timeout.
    pub(super) fn next_timeout(&mut self) {
        self.now_ms = self.state.next_timeout_ms().unwrap().max(self.now_ms);
        self.input(Input::Timeout);
    }

    /// Takes the written requests of one kind.
    pub(super) fn take(&mut self, msg_type: &str) -> Vec<Value> {
        let (taken, left) = std::mem::take(&mut self.written)
            .into_iter()
            .partition(|request: &Value| request["msg_type"] == msg_type);
        self.written = left;
        taken
    }

    pub(super) fn answer(&mut self, request: &Value, msg_type: &str, mut data: Value) {
        data["for"] = request["msg_type"].clone();
        self.line(json!({
            "msg_type": msg_type, "sender_id": "server", "data": data,
            "lamport_timestamp": 100, "request_id": request["request_id"],
        }));
    }

    pub(super) fn nack(&mut self, request: &Value, code: &str, retry_after_ms: Option<u64>) {
        let mut data = json!({ "code": code, "reason": "because", "retryable": false });
        if let Some(ms) = retry_after_ms {
            data["retry_after_ms"] = ms.into();
        }
        self.answer(request, "nack", data);
    }

    /// Takes the connection that is asked for up to the acknowledged login.
    pub(super) fn log_in(&mut self, server_id: &str) {
        assert!(self.connecting.take().is_some(), "no connection was asked for");
        self.input(Input::Connected);
        let login = self.take("login").remove(0);
        assert_eq!(login["data"]["username"], "alice");
        self.answer(&login, "ack", json!({ "username": "alice", "server_id": server_id }));
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

    pub(super) fn answer_join(&mut self, data: Value) -> Value {
        let join = self.take("create_join").remove(0);
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

    pub(super) fn ack_chat(&mut self, request: &Value, seq: u64) {
        let data = json!({
            "client_msg_id": request["data"]["client_msg_id"], "room": request["data"]["room"],
            "seq": seq, "lamport_timestamp": 100 + seq, "duplicate": false,
        });
        self.answer(request, "ack", data);
    }

    pub(super) fn push(&mut self, to: &str, seq: u64) {
        self.line(json!({
            "msg_type": "chat", "sender_id": "bob", "data": event(to, seq), "lamport_timestamp": 100 + seq,
        }));
    }

    pub(super) fn lost(&mut self) {
        self.input(Input::Disconnected { reason: "reset".into() });
    }

    pub(super) fn shown(&mut self) -> Vec<u64> {
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
        let acked =
            |update: &'static str, told: &Update| update == "acked" && matches!(told, Update::Acked { .. });
        let _ = acked;
        self.told
            .iter()
            .filter_map(|update| match update {
                Update::Acked { message, .. } => Some(message.body.as_str()),
                _ => None,
            })
            .collect()
    }
}

pub(super) fn event(to: &str, seq: u64) -> Value {
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

#[test]
fn a_message_is_durable_before_it_is_written_and_gone_when_acknowledged() {
    let mut rig = Rig::in_lobby(&[8000], 0);
    let message = Message {
        client_msg_id: "run0-1".into(),
        room: room("lobby"),
        body: "hi".into(),
        reply_to: Some(3.into()),
        file_id: None,
    };
    rig.state.handle(rig.now_ms, Input::Command(Command::Send(message.clone())));
    assert_eq!(rig.state.poll_output(), Some(Output::Persist(OutboxChange::Added(message))));
    assert!(matches!(rig.state.poll_output(), Some(Output::Tell(Update::Queued { online: true, .. }))));
    let Some(Output::Write(line)) = rig.state.poll_output() else { panic!("a line") };
    let chat: Value = serde_json::from_slice(&line).unwrap();
    assert_eq!(
        chat["data"],
        json!({ "room": "lobby", "body": "hi", "client_msg_id": "run0-1", "reply_to": 3 })
    );
    assert_eq!(chat["sender_id"], "alice");
    assert!(chat["lamport_timestamp"].as_u64().unwrap() > 100, "ahead of what was heard");
    rig.ack_chat(&chat, 1);
    assert!(rig.disk.is_empty() && rig.state.is_idle());
    assert_eq!(rig.acked(), ["hi"]);
}

#[test]
fn messages_typed_before_there_is_a_server_go_out_in_order_once_their_room_is_joined() {
    let mut rig = Rig::new(&[8000]);
    for body in ["one", "two", "three"] {
        rig.send("lobby", body);
    }
    assert_eq!(rig.disk.len(), 3);
    assert!(rig.told.iter().all(|update| matches!(update, Update::Queued { online: false, .. })));
    rig.log_in("server1");
    assert!(rig.take("chat").is_empty(), "the room is not joined yet");
    rig.answer_join(json!({ "last_seq": 0 }));
    let first = rig.take("chat");
    assert_eq!(bodies(&first), ["one"]);
    rig.ack_chat(&first[0], 1);
    let rest = rig.take("chat");
    assert_eq!(bodies(&rest), ["two", "three"]);
    assert_eq!(rest[1]["data"]["follows"], rest[0]["data"]["client_msg_id"]);
    assert_eq!(rest[0]["data"].get("follows"), None);
}

#[test]
fn a_lost_server_is_replaced_at_once_and_what_was_unanswered_goes_again_under_the_same_ids() {
    let mut rig = Rig::in_lobby(&[8000], 7);
    let sent: Vec<_> = ["one", "two", "three"].map(|body| rig.send("lobby", body)).into();
    let first = rig.take("chat");
    assert_eq!(bodies(&first), ["one"]);
    rig.ack_chat(&first[0], 8);
    assert_eq!(bodies(&rig.take("chat")), ["two", "three"]);
    rig.lost();
    assert!(
        [address(8001), address(8002)].contains(rig.connecting.as_ref().unwrap()),
        "another one, at once"
    );
    rig.now_ms += 80;
    rig.log_in("server2");
    let up = rig.told.iter().find_map(|update| match update {
        Update::Connection(connection) => Some(connection.to_string()),
        _ => None,
    });
    assert_eq!(up.unwrap(), "server1 is gone, now on server2 (0.08 s)");
    let join = rig.answer_join(json!({ "last_seq": 9, "events": [event("lobby", 8), event("lobby", 9)] }));
    assert_eq!(join["data"]["after"], 7);
    let mut again = vec![];
    for seq in [9, 10] {
        let chats = rig.take("chat");
        assert_eq!(chats.len(), 1);
        rig.ack_chat(&chats[0], seq);
        again.extend(chats);
    }
    assert_eq!(ids(&again), sent[1..]);
    assert_eq!(rig.acked(), ["one", "two", "three"]);
    assert!(rig.disk.is_empty());
    assert_eq!(rig.shown(), [8, 9]);
}

#[test]
fn after_a_restart_the_outbox_goes_first_and_keeps_its_ids() {
    let mut old = Rig::new(&[8000]);
    let sent: Vec<_> = ["one", "two"].map(|body| old.send("den", body)).into();
    let mut rig = Rig::with(config(&[8000]), old.disk);
    rig.send("den", "three");
    rig.log_in("server1");
    rig.answer_join(json!({ "last_seq": 0 }));
    let mut all = vec![];
    for seq in 1..=3 {
        let chats = rig.take("chat");
        for chat in &chats {
            rig.ack_chat(chat, seq);
        }
        all.extend(chats);
    }
    assert_eq!(bodies(&all), ["one", "two", "three"]);
    assert_eq!(ids(&all)[..2], sent);
    assert!(rig.disk.is_empty());
}

#[test]
fn unavailable_means_maybe_so_the_message_goes_to_the_next_server() {
    let mut rig = Rig::in_lobby(&[8000], 0);
    let id = rig.send("lobby", "one");
    let chat = rig.take("chat").remove(0);
    rig.nack(&chat, "unavailable", None);
    assert_eq!(rig.disconnects, 1);
    assert_ne!(rig.connecting, Some(address(8000)));
    rig.log_in("server2");
    rig.answer_join(json!({ "last_seq": 0 }));
    assert_eq!(ids(&rig.take("chat")), [id]);
    assert_eq!(rig.disk.len(), 1);
}

#[test]
fn servers_without_a_majority_are_not_asked_in_a_tight_loop() {
    let mut rig = Rig::in_lobby(&[8000], 0);
    rig.send("lobby", "one");
    let before_ms = rig.now_ms;
    for _ in 0..40 {
        let chat = rig.take("chat").remove(0);
        rig.nack(&chat, "unavailable", None);
        while rig.connecting.is_none() {
            rig.next_timeout();
        }
        rig.log_in("server2");
        rig.answer_join(json!({ "last_seq": 0 }));
    }
    assert!(rig.now_ms - before_ms > 20 * BACK_OFF_MAX_MS / 2, "{} ms", rig.now_ms - before_ms);
}

#[test]
fn without_a_majority_the_user_is_told_once_and_again_when_there_is_one() {
    let mut rig = Rig::in_lobby(&[8000], 0);
    rig.send("lobby", "one");
    for _ in 0..5 {
        rig.now_ms += 5_000;
        let chat = rig.take("chat").remove(0);
        rig.nack(&chat, "unavailable", None);
        while rig.connecting.is_none() {
            rig.next_timeout();
        }
        rig.log_in("server2");
        rig.answer_join(json!({ "last_seq": 0 }));
    }
    rig.send("lobby", "two");
    let chat = rig.take("chat").remove(0);
    rig.ack_chat(&chat, 1);
    let told: Vec<_> = rig
        .told
        .iter()
        .filter_map(|update| match update {
            Update::Connection(connection) => Some(connection.to_string()),
            Update::Queued { online, .. } => Some(format!("queued, online: {online}")),
            _ => None,
        })
        .collect();
    assert_eq!(told.len(), 4, "{told:?}");
    assert_eq!(told[0], "queued, online: true");
    assert!(told[1].contains("it has no majority"), "{told:?}");
    assert_eq!(told[2], "queued, online: false");
    assert!(told[3].starts_with("server1 is gone, now on server2 (20."), "{told:?}");
}

#[test]
fn after_a_refusal_for_load_everything_from_the_refused_message_on_waits_and_goes_in_order() {
    for code in ["overloaded", "rate_limited"] {
        let mut rig = Rig::in_lobby(&[8000], 0);
        for body in ["zero", "one", "two"] {
            rig.send("lobby", body);
        }
        let zero = rig.take("chat").remove(0);
        rig.ack_chat(&zero, 1);
        let chats = rig.take("chat");
        assert_eq!(bodies(&chats), ["one", "two"]);
        rig.nack(&chats[0], code, Some(500));
        rig.nack(&chats[1], code, Some(500));
        rig.send("lobby", "three");
        rig.now_ms += 400;
        rig.input(Input::Timeout);
        assert!(rig.take("chat").is_empty(), "the server asked for a pause");
        rig.now_ms += 300;
        rig.input(Input::Timeout);
        let mut again = vec![];
        for seq in 2..=4 {
            let chats = rig.take("chat");
            for chat in &chats {
                rig.ack_chat(chat, seq);
            }
            again.extend(chats);
        }
        assert_eq!(bodies(&again), ["one", "two", "three"], "{code}");
        assert_eq!(rig.disconnects, 0);
    }
}

#[test]
fn a_final_refusal_is_reported_and_does_not_hold_up_what_follows() {
    let mut rig = Rig::in_lobby(&[8000], 0);
    rig.send("lobby", "one");
    rig.send("lobby", "two");
    let one = rig.take("chat").remove(0);
    rig.nack(&one, "forbidden", None);
    let refused = rig.told.iter().any(|update| {
        matches!(update, Update::Refused { message, refusal, uncertain: false }
            if message.body == "one" && refusal.code == Code::Forbidden)
    });
    assert!(refused);
    assert_eq!(bodies(&rig.take("chat")), ["two"]);
    assert_eq!(rig.disk.len(), 1);
}

#[test]
fn an_unknown_code_is_taken_by_what_it_says_of_retrying() {
    let mut rig = Rig::in_lobby(&[8000], 0);
    rig.send("lobby", "one");
    let one = rig.take("chat").remove(0);
    rig.answer(
        &one,
        "nack",
        json!({ "code": "lunch", "reason": "r", "retryable": true, "retry_after_ms": 50 }),
    );
    rig.now_ms += 100;
    rig.input(Input::Timeout);
    let one = rig.take("chat").remove(0);
    rig.answer(&one, "nack", json!({ "code": "never", "reason": "r", "retryable": false }));
    assert!(rig.disk.is_empty());
}

#[test]
fn what_no_server_takes_is_refused_before_it_is_stored() {
    let mut rig = Rig::in_lobby(&[8000], 0);
    rig.send("lobby", "");
    rig.send("lobby", "a\0b");
    rig.send("lobby", &"x".repeat(16 * 1024 + 1));
    rig.send("lobby", &"\u{1}".repeat(12 * 1024));
    let refused = rig.told.iter().filter(|update| matches!(update, Update::Refused { .. })).count();
    assert_eq!((refused, rig.disk.len(), rig.take("chat").len()), (4, 0, 0));
}

#[test]
fn a_line_that_makes_a_server_hang_up_is_found_and_refused() {
    let mut rig = Rig::in_lobby(&[8000], 0);
    rig.send("lobby", "too long for this server");
    rig.send("lobby", "fine");
    rig.line(json!({ "msg_type": "nack", "data": { "for": "", "code": "too_large", "reason": "line" } }));
    assert_eq!(rig.disk.len(), 1);
    rig.written.clear();
    rig.lost();
    rig.log_in("server2");
    rig.answer_join(json!({ "last_seq": 0 }));
    assert_eq!(bodies(&rig.take("chat")), ["fine"]);
}

#[test]
fn a_repeat_is_dropped_and_a_gap_is_asked_for() {
    let mut rig = Rig::in_lobby(&[8000], 3);
    rig.push("lobby", 4);
    rig.push("lobby", 4);
    rig.push("lobby", 2);
    assert_eq!(rig.shown(), [4]);
    rig.push("lobby", 6);
    rig.push("lobby", 7);
    assert_eq!(rig.shown(), [0; 0], "nothing is skipped");
    let join = rig.answer_join(
        json!({ "last_seq": 8, "events": [event("lobby", 5), event("lobby", 6)], "more": true }),
    );
    assert_eq!(join["data"]["after"], 4);
    rig.push("lobby", 7);
    rig.push("lobby", 8);
    rig.push("lobby", 9);
    assert_eq!(rig.shown(), [5, 6, 7, 8, 9]);
    assert!(rig.take("create_join").is_empty());
}

#[test]
fn a_server_that_keeps_leaving_out_events_is_left() {
    let mut rig = Rig::in_lobby(&[8000], 3);
    rig.push("lobby", 9);
    while rig.disconnects == 0 {
        rig.answer_join(json!({ "last_seq": 9, "events": [event("lobby", 9)] }));
    }
    assert_eq!(rig.shown(), [0; 0]);
}

#[test]
fn an_event_of_an_unknown_kind_takes_its_place() {
    let mut rig = Rig::in_lobby(&[8000], 3);
    let mut strange = event("lobby", 4);
    strange["kind"] = "painted".into();
    rig.line(json!({ "msg_type": "room_event", "sender_id": "bob", "data": strange }));
    rig.push("lobby", 5);
    assert_eq!(rig.shown(), [4, 5]);
    assert!(rig.take("create_join").is_empty(), "no gap");
}

#[test]
fn a_first_join_shows_the_past_and_a_resume_only_what_is_new() {
    let mut rig = Rig::new(&[8000]);
    rig.command(Command::Join(room("Lobby")));
    rig.log_in("server1");
    let join = rig.answer_join(
        json!({ "room": "lobby", "last_seq": 6, "events": [event("lobby", 5), event("lobby", 6)] }),
    );
    assert_eq!(join["data"], json!({ "room": "Lobby", "history": 50 }));
    assert!(rig.told.iter().any(|update| matches!(update, Update::Event { past: true, .. })));
    rig.told.clear();
    rig.lost();
    rig.log_in("server2");
    let join = rig.answer_join(json!({ "last_seq": 7, "events": [event("lobby", 7)] }));
    assert_eq!(join["data"], json!({ "room": "lobby", "after": 6 }));
    assert!(rig.told.iter().any(|update| matches!(update, Update::Joined { resumed: true, .. })));
    assert!(!rig.told.iter().any(|update| matches!(update, Update::Event { past: true, .. })));
    assert_eq!(rig.shown(), [7]);
}

#[test]
fn what_a_room_has_forgotten_is_no_gap() {
    let mut rig = Rig::in_lobby(&[8000], 3);
    rig.lost();
    rig.log_in("server1");
    let events = [event("lobby", 8), event("lobby", 9)];
    let join = rig.answer_join(json!({ "first_seq": 8, "last_seq": 9, "events": events }));
    assert_eq!(join["data"], json!({ "room": "lobby", "after": 3 }));
    rig.push("lobby", 10);
    assert_eq!(rig.shown(), [8, 9, 10]);
    assert!(rig.take("create_join").is_empty(), "no gap");
}

#[test]
fn a_cluster_that_was_set_up_anew_is_noticed() {
    let mut rig = Rig::in_lobby(&[8000], 30);
    rig.lost();
    rig.log_in("server2");
    rig.answer_join(json!({ "last_seq": 2 }));
    assert!(rig.told.iter().any(|update| matches!(update, Update::RoomRestarted { .. })));
    let join = rig.answer_join(json!({ "last_seq": 2, "events": [event("lobby", 1), event("lobby", 2)] }));
    assert_eq!(join["data"]["history"], 50);
    assert_eq!(rig.shown(), [1, 2]);
}

#[test]
fn redirects_are_followed_but_not_in_circles() {
    let mut rig = Rig::in_lobby(&[8000], 0);
    rig.send("lobby", "one");
    let chat = rig.take("chat").remove(0);
    let to = |port: u16| json!({ "server_id": format!("server{}", port - 7999), "host": "localhost", "tcp_port": port, "reason": "go" });
    rig.answer(&chat, "redirect", to(8002));
    assert_eq!(rig.connecting, Some(address(8002)));
    rig.log_in("server3");
    rig.answer_join(json!({ "last_seq": 0 }));
    assert_eq!(bodies(&rig.take("chat")), ["one"]);
    let mut port = 8001;
    for _ in 1..REDIRECTS_MAX {
        rig.line(json!({ "msg_type": "redirect", "data": to(port) }));
        assert_eq!(rig.connecting, Some(address(port)));
        rig.log_in(&format!("server{}", port - 7999));
        rig.answer_join(json!({ "last_seq": 0 }));
        port = if port == 8001 { 8002 } else { 8001 };
    }
    let before_ms = rig.now_ms;
    for _ in 0..4 {
        rig.line(json!({ "msg_type": "redirect", "data": to(port) }));
        while rig.connecting.is_none() {
            rig.next_timeout();
        }
        rig.log_in("server1");
    }
    assert!(rig.now_ms > before_ms, "later ones wait");
}

#[test]
fn a_silent_server_is_left_within_a_second_and_an_idle_one_is_pinged() {
    let mut rig = Rig::in_lobby(&[8000], 0);
    rig.next_timeout();
    let ping = rig.take("ping").remove(0);
    rig.answer(&ping, "pong", json!({}));
    assert_eq!(rig.disconnects, 0);
    rig.send("lobby", "one");
    let sent_ms = rig.now_ms;
    while rig.disconnects == 0 {
        rig.next_timeout();
    }
    assert!(rig.now_ms - sent_ms < 1_000);
    assert!(rig.connecting.is_some(), "the next one at once");
    rig.log_in("server2");
    let gap = rig.told.iter().find_map(|update| match update {
        Update::Connection(Connection::Up { before: Some(before), .. }) => Some(before.gap_ms),
        _ => None,
    });
    assert_eq!(gap, Some(rig.now_ms - sent_ms), "since it was last heard");
}

#[test]
fn when_nobody_answers_the_user_is_told_once_and_the_pauses_grow() {
    let mut rig = Rig::in_lobby(&[8000], 0);
    rig.lost();
    let since_ms = rig.now_ms;
    let mut attempts = 0;
    while rig.now_ms < since_ms + 60_000 {
        if rig.connecting.take().is_some() {
            attempts += 1;
            rig.input(Input::ConnectFailed { reason: "refused".into() });
        } else {
            rig.next_timeout();
        }
    }
    assert!((30..80).contains(&attempts), "{attempts}");
    let told = std::mem::take(&mut rig.told);
    let down = told.iter().filter(|update| matches!(update, Update::Connection(Connection::Down { .. })));
    assert_eq!(down.count(), 1, "{told:?}");
    rig.send("lobby", "kept");
    while rig.connecting.is_none() {
        rig.next_timeout();
    }
    rig.log_in("server1");
    rig.answer_join(json!({ "last_seq": 0 }));
    assert_eq!(bodies(&rig.take("chat")), ["kept"]);
}

#[test]
fn an_attempt_that_hangs_is_given_up() {
    let mut rig = Rig::new(&[8000, 8001]);
    assert_eq!(rig.connecting, Some(address(8000)), "the user's order at first");
    while rig.disconnects == 0 {
        rig.next_timeout();
    }
    while rig.connecting.is_none() {
        rig.next_timeout();
    }
    assert_eq!(rig.connecting, Some(address(8001)));
}

#[test]
fn without_a_server_discovery_comes_first_then_the_local_ports() {
    let mut rig = Rig::new(&[]);
    assert_eq!((rig.discovers, rig.connects), (1, 0));
    rig.input(Input::Discovered(vec![]));
    let mut ports = vec![];
    while ports.len() < 3 {
        match rig.connecting.take() {
            Some(address) => {
                ports.push(address.tcp_port);
                rig.input(Input::ConnectFailed { reason: "refused".into() });
            }
            None => rig.next_timeout(),
        }
    }
    assert_eq!(ports, [8000, 8001, 8002]);
    while rig.discovers == 1 {
        rig.next_timeout();
    }
    rig.input(Input::Discovered(vec![Address::new("10.0.0.9", 8000)]));
    assert_eq!(rig.connecting, Some(Address::new("10.0.0.9", 8000)), "what is new comes first");
}

#[test]
fn a_leave_goes_after_the_messages_typed_before_it() {
    let mut rig = Rig::in_lobby(&[8000], 0);
    rig.send("lobby", "bye");
    rig.command(Command::Leave(room("lobby")));
    assert!(rig.take("leave").is_empty());
    let bye = rig.take("chat").remove(0);
    rig.ack_chat(&bye, 1);
    let leave = rig.take("leave").remove(0);
    assert!(!rig.state.is_idle());
    rig.answer(&leave, "ack", json!({ "room": "lobby" }));
    assert!(rig.told.iter().any(|update| matches!(update, Update::Left { .. })));
    assert!(rig.state.is_idle());
    rig.lost();
    rig.log_in("server2");
    assert!(rig.take("create_join").is_empty());
}

#[test]
fn a_leave_whose_answer_was_lost_is_asked_again() {
    let mut rig = Rig::in_lobby(&[8000], 0);
    rig.command(Command::Leave(room("lobby")));
    assert_eq!(rig.take("leave").len(), 1);
    rig.lost();
    rig.log_in("server2");
    assert_eq!(rig.take("leave").len(), 1);
}

#[test]
fn messages_for_a_room_that_refuses_are_refused_and_say_whether_they_may_have_got_through() {
    let mut old = Rig::new(&[8000]);
    old.send("den", "earlier");
    let mut rig = Rig::with(config(&[8000]), old.disk);
    rig.send("den", "now");
    rig.send("lobby", "elsewhere");
    rig.log_in("server1");
    let joins = rig.take("create_join");
    assert_eq!(joins.len(), 2);
    rig.nack(&joins[0], "forbidden", None);
    let refused: Vec<_> = rig
        .told
        .iter()
        .filter_map(|update| match update {
            Update::Refused { message, uncertain, .. } => Some((message.body.as_str(), *uncertain)),
            _ => None,
        })
        .collect();
    assert_eq!(refused, [("earlier", true), ("now", false)]);
    rig.written = vec![joins[1].clone()];
    rig.answer_join(json!({ "last_seq": 0 }));
    assert_eq!(bodies(&rig.take("chat")), ["elsewhere"]);
    assert_eq!(rig.disk.len(), 1);
}

#[test]
fn questions_are_answered_also_by_the_next_server() {
    let mut rig = Rig::in_lobby(&[8000], 0);
    rig.command(Command::Ask { tag: 5, question: Question::Rooms { joined: false } });
    assert_eq!(rig.take("rooms").len(), 1);
    rig.lost();
    rig.log_in("server2");
    let rooms = rig.take("rooms").remove(0);
    let summary = json!({
        "room": "lobby", "private": false, "topic": "", "members": 1, "last_seq": 0, "joined": true,
        "last_read": 0, "unread": 0,
    });
    rig.answer(&rooms, "rooms", json!({ "rooms": [summary] }));
    let answered = rig.told.iter().any(|update| {
        matches!(update, Update::Answered { tag: 5, reply: Reply::Rooms { rooms, .. } } if rooms.len() == 1)
    });
    assert!(answered, "{:?}", rig.told);
}

#[test]
fn a_refused_login_is_the_end() {
    let mut rig = Rig::new(&[8000]);
    rig.connecting.take();
    rig.input(Input::Connected);
    let login = rig.take("login").remove(0);
    rig.nack(&login, "name_taken", None);
    assert!(matches!(rig.told.last(), Some(Update::LoginNeeded { .. })));
    assert_eq!(rig.state.next_timeout_ms(), None);
    rig.send("lobby", "one");
    assert!(matches!(rig.told.last(), Some(Update::Refused { .. })));
    assert!(rig.disk.is_empty());
}

#[test]
fn the_window_is_bounded() {
    let mut rig = Rig::in_lobby(&[8000], 0);
    for number in 0..500 {
        rig.send("lobby", &number.to_string());
    }
    let (mut seq, mut most) = (0, 0);
    loop {
        let chats = rig.take("chat");
        if chats.is_empty() {
            break;
        }
        most = most.max(chats.len());
        for chat in chats {
            assert_eq!(chat["data"]["body"], seq.to_string());
            seq += 1;
            rig.ack_chat(&chat, seq);
        }
    }
    assert_eq!((seq, most), (500, WINDOW_MAX));
}

#[test]
fn bytes_that_are_no_message_change_nothing() {
    let mut rig = Rig::in_lobby(&[8000], 0);
    for line in [
        b"".as_slice(),
        b"\xff",
        b"{",
        b"[]",
        b"{\"msg_type\":\"nack\"}",
        b"{\"msg_type\":\"chat\",\"data\":{}}",
    ] {
        rig.input(Input::Received(line.to_vec()));
    }
    assert_eq!((rig.told.len(), rig.disconnects, rig.written.len()), (0, 0, 0));
}

#[test]
fn the_same_inputs_give_the_same_outputs() {
    let run = || {
        let mut rig = Rig::in_lobby(&[8000, 8001], 0);
        let mut trace = vec![];
        for step in 0..50 {
            rig.send("lobby", &step.to_string());
            if step % 7 == 3 {
                rig.lost();
            }
            rig.next_timeout();
            trace.push(format!("{:?} {} {:?}", rig.connecting, rig.now_ms, rig.written));
        }
        trace
    };
    assert_eq!(run(), run());
}
