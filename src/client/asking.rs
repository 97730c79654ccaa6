//! What the user wants, and what is therefore written to the server.

use serde_json::{Map, Value, json};

use crate::protocol::{
    Code, Refusal, RoomKey,
    limits::{CLIENT_MSG_ID_BYTES, HISTORY_MAX},
    request::HistoryRange,
};

use super::{
    io::{Command, Output, Question},
    limits::QUESTIONS_MAX,
    link::Pending,
    outbox::{Message, OutboxChange},
    rooms,
    state::{Asking, ClientState, Phase},
    update::{Reply, Update},
};

/// What the user wants.
impl ClientState {
    pub(super) fn command(&mut self, command: Command) {
        if let Phase::Stopped(refusal) = &self.phase {
            let refusal = refusal.clone();
            return self.refuse(command, refusal);
        }
        match command {
            Command::Send(message) => self.send(message),
            Command::Join(name) => {
                let history = self.config.history.min(HISTORY_MAX);
                let room = self.rooms.want(&name, history);
                if room.cursor.is_none() {
                    room.history = history;
                }
                if room.phase == rooms::Phase::Live {
                    room.phase = rooms::Phase::Absent;
                }
                self.rooms_changed = true;
            }
            Command::Leave(name) => {
                // Membership outlives connections, so a room that was not joined here can be left too.
                self.rooms.want(&name, 0).wanted = false;
                self.rooms_changed = true;
            }
            Command::Ask { tag, question } if self.questions.len() < QUESTIONS_MAX => {
                self.questions.push_back(Asking { tag, question, asked: false });
            }
            Command::Ask { .. } => {
                let reason = format!("{QUESTIONS_MAX} questions are waiting for their answers already");
                self.refuse(command, Refusal::new(Code::Overloaded, reason));
            }
            Command::MoveTo(address) => self.move_to(address, "you asked for another server"),
        }
    }

    fn send(&mut self, message: Message) {
        if let Err(refusal) = self.check(&message) {
            return self.refuse(Command::Send(message), refusal);
        }
        let room = self.rooms.want(&message.room, 0);
        self.rooms_changed |= room.phase != rooms::Phase::Live;
        self.outputs.push_back(Output::Persist(OutboxChange::Added(message.clone())));
        self.outbox.push(message.clone());
        self.tell(Update::Queued { message, online: self.is_usable() });
    }

    /// Refuses what no server would take, before it is stored: it would stand in the way of what follows.
    fn check(&self, message: &Message) -> Result<(), Refusal> {
        let limits = &self.config.limits;
        let body = &message.body;
        if body.is_empty() {
            return Err(Refusal::bad_request("the message is empty"));
        }
        if body.contains('\0') {
            return Err(Refusal::bad_request("the message contains a NUL character"));
        }
        let bytes = chat_data(message, None).to_string().len() + 256;
        if body.len() > limits.body_bytes || bytes > limits.line_bytes {
            let reason =
                format!("the message has {} bytes; at most {} are sent", body.len(), limits.body_bytes);
            return Err(Refusal::new(Code::TooLarge, reason));
        }
        if !(1..=CLIENT_MSG_ID_BYTES).contains(&message.client_msg_id.len()) {
            return Err(Refusal::bad_request("client_msg_id must have 1 to 64 bytes"));
        }
        if self.outbox.is_full() {
            let reason = format!("{} messages wait to be sent already", self.outbox.len());
            return Err(Refusal::new(Code::Overloaded, reason));
        }
        Ok(())
    }

    fn refuse(&mut self, command: Command, refusal: Refusal) {
        match command {
            Command::Send(message) => self.tell(Update::Refused { message, refusal, uncertain: false }),
            Command::Join(room) | Command::Leave(room) => self.tell(Update::RoomRefused { room, refusal }),
            Command::Ask { tag, .. } => {
                self.tell(Update::Answered { tag, reply: Reply::Refused(refusal) });
            }
            Command::MoveTo(_) => {}
        }
    }
}

/// What is written.
impl ClientState {
    pub(super) fn ask_what_may_be_asked(&mut self) {
        if !self.is_online() || self.now_ms < self.hold_until_ms {
            return;
        }
        if std::mem::take(&mut self.rooms_changed) {
            self.ask_for_rooms();
        }
        self.ask_questions();
        self.send_messages();
    }

    fn ask_for_rooms(&mut self) {
        let keys: Vec<RoomKey> = self.rooms.iter().map(|(key, _)| key.clone()).collect();
        for key in keys {
            let Some(room) = self.rooms.get(&key) else { continue };
            // What was typed before the leave goes out before it.
            let stays = room.wanted || self.outbox.messages().any(|message| message.room.key() == key);
            let (phase, name, cursor, history) =
                (room.phase, room.name.to_string(), room.cursor, room.history);
            let next = match phase {
                rooms::Phase::Absent if stays => {
                    let data = match cursor {
                        Some(after) => json!({ "room": name, "after": after }),
                        None => json!({ "room": name, "history": history }),
                    };
                    self.ask("create_join", data, Pending::Join(key.clone()));
                    rooms::Phase::Joining
                }
                rooms::Phase::Absent | rooms::Phase::Live if !stays => {
                    self.ask("leave", json!({ "room": name }), Pending::Leave(key.clone()));
                    rooms::Phase::Leaving
                }
                phase => phase,
            };
            if let Some(room) = self.rooms.get_mut(&key) {
                room.phase = next;
            }
        }
    }

    fn ask_questions(&mut self) {
        let unasked: Vec<(u64, Question)> = self
            .questions
            .iter_mut()
            .filter(|asking| !asking.asked)
            .map(|asking| {
                asking.asked = true;
                (asking.tag, asking.question.clone())
            })
            .collect();
        for (tag, question) in unasked {
            let (msg_type, data) = question_data(&question);
            self.ask(msg_type, data, Pending::Question(tag));
        }
    }

    fn send_messages(&mut self) {
        while let Some((message, before)) = self.outbox.next_to_send() {
            let room = self.rooms.get(&message.room.key());
            if room.is_none_or(|room| room.phase != rooms::Phase::Live) {
                return;
            }
            let data = chat_data(message, before);
            let request_id = self.next_request_id;
            self.ask("chat", data, Pending::Chat);
            self.outbox.sent(request_id);
        }
    }

    /// Writes a request.
    pub(super) fn ask(&mut self, msg_type: &str, data: Value, pending: Pending) {
        let Phase::Linked(link) = &mut self.phase else { return };
        let request_id = self.next_request_id;
        self.next_request_id += 1;
        self.lamport_timestamp += 1;
        link.asked(request_id, pending, self.now_ms);
        let envelope = json!({
            "msg_type": msg_type,
            "sender_id": self.config.user,
            "data": data,
            "lamport_timestamp": self.lamport_timestamp,
            "request_id": request_id,
        });
        let mut line = envelope.to_string().into_bytes();
        line.push(b'\n');
        self.outputs.push_back(Output::Write(line));
    }
}

fn chat_data(message: &Message, before: Option<&Message>) -> Value {
    let mut data = json!({
        "room": message.room, "body": message.body, "client_msg_id": message.client_msg_id,
    });
    if let Some(reply_to) = message.reply_to {
        data["reply_to"] = reply_to.into();
    }
    if let Some(before) = before {
        data["follows"] = before.client_msg_id.as_str().into();
    }
    data
}

fn question_data(question: &Question) -> (&'static str, Value) {
    match question {
        Question::History { room, range, limit } => {
            let mut data = Map::new();
            data.insert("room".into(), json!(room));
            data.insert("limit".into(), json!(limit));
            match range {
                HistoryRange::Last => {}
                HistoryRange::Before(seq) => drop(data.insert("before".into(), json!(seq))),
                HistoryRange::After(seq) => drop(data.insert("after".into(), json!(seq))),
                HistoryRange::Since(at_ms) => {
                    drop(data.insert("since".into(), json!(*at_ms as f64 / 1000.0)));
                }
            }
            ("history", Value::Object(data))
        }
        Question::Rooms => ("rooms", json!({})),
        Question::Members(room) => ("members", json!({ "room": room })),
        Question::Servers => ("server_list", json!({})),
        Question::Status => ("status_request", json!({})),
        Question::Barrier => ("ping", json!({ "barrier": true })),
    }
}
