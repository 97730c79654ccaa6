//! What the user wants, and what is therefore written to the server.

use serde_json::{Map, Value, json};

use crate::protocol::{
    Code, Refusal, RoomKey, RoomName,
    limits::{CLIENT_MSG_ID_BYTES, HISTORY_MAX, SEARCH_MAX},
    request::HistoryRange,
};

use super::{
    change::{Change, Outcome},
    io::{Command, Output, Question},
    limits::{CHANGES_MAX, QUESTIONS_MAX, READ_PAUSE_MS},
    link::Pending,
    login::{Access, Secret},
    outbox::{Message, OutboxChange},
    own::{Standing, Target},
    rooms,
    state::{Asking, ClientState, Doing, Phase},
    update::{Reply, Update},
};

/// What a line has around the `data` of its request, at most.
const ENVELOPE_BYTES: usize = 256;

/// What the user wants.
impl ClientState {
    pub(super) fn command(&mut self, command: Command) {
        if let Phase::LoggedOut(refusal) = &self.phase
            && !matches!(command, Command::LogIn(_))
        {
            let refusal = refusal.clone();
            return self.refuse(command, refusal);
        }
        match command {
            Command::Send(message) => self.send(message),
            Command::Join(name) => self.enter(&name, false, None),
            Command::Enter { room, private, password } => {
                let text = password.as_ref().map(Secret::expose);
                match self.fits("create_join", &json!({ "room": room, "password": text })) {
                    Ok(()) => self.enter(&room, private, password),
                    Err(refusal) => self.refuse(Command::Enter { room, private, password }, refusal),
                }
            }
            Command::Leave(name) => {
                // Membership outlives connections, so a room that was not joined here can be left too.
                self.rooms.want(&name, 0).wanted = false;
                self.rooms_changed = true;
            }
            Command::Ask { tag, question } if self.questions.len() < QUESTIONS_MAX => {
                let (msg_type, data) = question_data(&question);
                match self.fits(msg_type, &data) {
                    Ok(()) => self.questions.push_back(Asking { tag, question, asked: false }),
                    Err(refusal) => self.refuse(Command::Ask { tag, question }, refusal),
                }
            }
            Command::Ask { .. } => {
                let reason = format!("{QUESTIONS_MAX} questions are waiting for their answers already");
                self.refuse(command, Refusal::new(Code::Overloaded, reason));
            }
            Command::Change { tag, change } if self.changes.len() < CHANGES_MAX => {
                self.begin_change(tag, change);
            }
            Command::Change { .. } => {
                let reason = format!("{CHANGES_MAX} changes are waiting for their answers already");
                self.refuse(command, Refusal::new(Code::Overloaded, reason));
            }
            Command::LogIn(login) => {
                self.access = Access::new(login);
                self.logins += 1;
                match &self.phase {
                    Phase::Linked(link) => self.move_to(link.address.clone(), "you log in anew"),
                    Phase::LoggedOut(_) => {
                        self.down = Some(self.down_since_now(None, false, "none was tried yet"));
                        self.search();
                    }
                    _ => {}
                }
            }
            Command::Read { room, seq } => self.note_read(&room.key(), seq),
            Command::Typing(room) => self.say_aside("typing", json!({ "room": room })),
            Command::Upload { tag, sending } => self.begin_upload(tag, sending),
            Command::Download { tag, file_id } => self.begin_download(tag, file_id),
            Command::GiveUp(tag) => self.give_up(tag),
            Command::MoveTo(address) => self.move_to(address, "you asked for another server"),
        }
    }

    fn enter(&mut self, name: &RoomName, private: bool, password: Option<Secret>) {
        let history = self.config.history.min(HISTORY_MAX);
        let room = self.rooms.want(name, history);
        if room.cursor.is_none() {
            room.history = history;
        }
        if room.phase == rooms::Phase::Live {
            room.phase = rooms::Phase::Absent;
        }
        (room.private, room.password) = (private, password);
        self.rooms_changed = true;
    }

    fn note_read(&mut self, key: &RoomKey, seq: u64) {
        let Some(room) = self.rooms.get_mut(key).filter(|room| room.read < seq) else { return };
        room.read = seq;
        self.unsaid_reads.insert(key.clone(), seq);
    }

    pub(super) fn send(&mut self, mut message: Message) {
        let checked = self.settle_target(&message).and_then(|reply_to| {
            message.reply_to = reply_to;
            self.check(&message)
        });
        if let Err(refusal) = checked {
            self.own.remove(&message.room, &message.client_msg_id);
            return self.refuse(Command::Send(message), refusal);
        }
        self.own.add(&message.room, &message.client_msg_id);
        let room = self.rooms.want(&message.room, 0);
        self.rooms_changed |= room.phase != rooms::Phase::Live;
        self.outputs.push_back(Output::Persist(OutboxChange::Added(message.clone())));
        self.outbox.push(message.clone());
        self.tell(Update::Queued { message, online: self.is_usable() });
    }

    /// What `message` answers: at a place, or one that goes before it in the outbox.
    fn settle_target(&self, message: &Message) -> Result<Option<Target>, Refusal> {
        let Some(target) = &message.reply_to else { return Ok(None) };
        match self.own.find(&message.room.key(), target) {
            Standing::At(seq) => Ok(Some(Target::Seq(seq))),
            Standing::Waits(id) if self.outbox.messages().any(|waits| waits.client_msg_id == id) => {
                Ok(Some(Target::Own(id)))
            }
            // To wait for a file would hold up all that is said meanwhile.
            Standing::Waits(_) => {
                let reason = "the file that you are sending is not there yet; answer it when it is";
                Err(Refusal::bad_request(reason))
            }
            Standing::Missing => Err(not_said(&message.room)),
        }
    }

    /// Takes on a change of a message: which one is meant is clear from now on.
    fn begin_change(&mut self, tag: u64, mut change: Change) {
        if let Err(refusal) = self.fits(change.msg_type(), &change.data()) {
            return self.tell_outcome(tag, Outcome::Refused(refusal));
        }
        if let (Some(target), Some(room)) = (change.target(), change.room()) {
            match self.own.find(&room.key(), target) {
                Standing::At(seq) => change.aim(Target::Seq(seq)),
                Standing::Waits(id) => change.aim(Target::Own(id)),
                Standing::Missing => return self.tell_outcome(tag, Outcome::Refused(not_said(&room))),
            }
        }
        self.away = change.away().unwrap_or(self.away);
        self.changes.push_back(Doing { tag, change, asked: false });
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
        if body.len() > limits.body_bytes {
            let reason =
                format!("the message has {} bytes; at most {} are sent", body.len(), limits.body_bytes);
            return Err(Refusal::new(Code::TooLarge, reason));
        }
        self.fits("chat", &chat_data(message, None))?;
        if !(1..=CLIENT_MSG_ID_BYTES).contains(&message.client_msg_id.len()) {
            return Err(Refusal::bad_request("client_msg_id must have 1 to 64 bytes"));
        }
        if self.outbox.is_full() {
            let reason = format!("{} messages wait to be sent already", self.outbox.len());
            return Err(Refusal::new(Code::Overloaded, reason));
        }
        Ok(())
    }

    /// Refuses a request whose line no server would take: it could not even say which one it was, and would close
    /// the connection.
    pub(super) fn fits(&self, msg_type: &str, data: &Value) -> Result<(), Refusal> {
        let (bytes, most) = (data.to_string().len() + ENVELOPE_BYTES, self.config.limits.line_bytes);
        if bytes <= most {
            return Ok(());
        }
        let reason = format!("{msg_type} would have {bytes} bytes; at most {most} are sent");
        Err(Refusal::new(Code::TooLarge, reason))
    }

    fn refuse(&mut self, command: Command, refusal: Refusal) {
        match command {
            Command::Send(message) => self.tell(Update::Refused { message, refusal, uncertain: false }),
            Command::Join(room) | Command::Leave(room) => self.tell(Update::RoomRefused { room, refusal }),
            Command::Ask { tag, .. } => {
                self.tell(Update::Answered { tag, reply: Reply::Refused(refusal) });
            }
            Command::Enter { room, .. } => self.tell(Update::RoomRefused { room, refusal }),
            Command::Change { tag, .. } => self.tell_outcome(tag, Outcome::Refused(refusal)),
            Command::Upload { tag, .. } | Command::Download { tag, .. } => {
                self.tell(Update::TransferFailed { tag, reason: refusal.reason });
            }
            Command::MoveTo(_)
            | Command::LogIn(_)
            | Command::Read { .. }
            | Command::Typing(_)
            | Command::GiveUp(_) => {}
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
        self.ask_for_changes();
        self.ask_questions();
        self.send_messages();
        self.move_files();
        self.say_what_was_read();
        self.careful &= !self.is_idle();
    }

    fn ask_for_rooms(&mut self) {
        let keys: Vec<RoomKey> = self.rooms.iter().map(|(key, _)| key.clone()).collect();
        for key in keys {
            if !self.may_ask() {
                self.rooms_changed = true;
                return;
            }
            let Some(room) = self.rooms.get(&key) else { continue };
            // What was typed before the leave goes out before it.
            let stays = room.wanted || self.outbox.messages().any(|message| message.room.key() == key);
            let (phase, name) = (room.phase, room.name.to_string());
            let next = match phase {
                rooms::Phase::Absent if stays => {
                    let data = join_data(room);
                    let takes_long = room.password.is_some();
                    let request_id = self.ask("create_join", data, Pending::Join(key.clone()));
                    if let (true, Phase::Linked(link)) = (takes_long, &mut self.phase) {
                        link.takes_long(request_id);
                    }
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
        while self.may_ask()
            && let Some(asking) = self.questions.iter_mut().find(|asking| !asking.asked)
        {
            asking.asked = true;
            let (tag, (msg_type, data)) = (asking.tag, question_data(&asking.question));
            self.ask(msg_type, data, Pending::Question(tag));
        }
    }

    fn send_messages(&mut self) {
        while let Some((message, before)) = self.outbox.next_to_send() {
            let Some(room) = self.rooms.get(&message.room.key()) else {
                // The room was refused while this message was on its way on a connection that is lost.
                let name = message.room.clone();
                self.rooms.want(&name, 0);
                return self.ask_for_rooms();
            };
            if room.phase != rooms::Phase::Live || !self.may_ask() {
                return;
            }
            let data = chat_data(message, before);
            let request_id = self.next_request_id;
            self.ask("chat", data, Pending::Chat);
            self.outbox.sent(request_id);
        }
    }

    fn ask_for_changes(&mut self) {
        let mut at = 0;
        while let Some(Doing { tag, change, asked }) = self.changes.get(at) {
            if *asked {
                at += 1;
                continue;
            }
            let (tag, mut change): (u64, Change) = (*tag, change.clone());
            let key = change.room().map(|name| name.key());
            let room = key.as_ref().and_then(|key| self.rooms.get(key));
            let is_coming = room.is_some_and(|room| {
                room.wanted && matches!(room.phase, rooms::Phase::Absent | rooms::Phase::Joining)
            });
            if !self.may_ask() || is_coming || (change.is_last() && (at > 0 || !self.outbox.is_empty())) {
                return;
            }
            if let (Some(target), Some(key)) = (change.target(), &key) {
                match self.own.find(key, target) {
                    Standing::At(seq) => change.aim(Target::Seq(seq)),
                    // It waits for its message, and holds up nobody.
                    Standing::Waits(_) => {
                        at += 1;
                        continue;
                    }
                    Standing::Missing => {
                        self.changes.remove(at);
                        let refusal =
                            Refusal::new(Code::NotFound, "the message that it is about was not sent");
                        self.tell_outcome(tag, Outcome::Refused(refusal));
                        continue;
                    }
                }
            }
            change.fill_in(room.and_then(|room| room.cursor));
            self.changes[at].asked = true;
            let request_id = self.ask(change.msg_type(), change.data(), Pending::Change(tag));
            if let (true, Phase::Linked(link)) = (change.takes_long(), &mut self.phase) {
                link.takes_long(request_id);
            }
        }
    }

    fn say_what_was_read(&mut self) {
        if self.unsaid_reads.is_empty() || self.now_ms < self.read_due_ms {
            return;
        }
        self.read_due_ms = self.now_ms + READ_PAUSE_MS;
        for (key, seq) in std::mem::take(&mut self.unsaid_reads) {
            self.ask("mark_read", json!({ "room": key, "seq": seq }), Pending::Aside);
        }
    }

    /// Writes a request that nobody answers, where there is a connection.
    fn say_aside(&mut self, msg_type: &str, data: Value) {
        if self.is_online() {
            let line = json!({ "msg_type": msg_type, "data": data }).to_string() + "\n";
            self.outputs.push_back(Output::Write(line.into_bytes()));
        }
    }

    /// Writes a request, and gives its number.
    pub(super) fn ask(&mut self, msg_type: &str, data: Value, pending: Pending) -> i64 {
        let request_id = self.next_request_id;
        let Phase::Linked(link) = &mut self.phase else { return request_id };
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
        request_id
    }
}

/// For what is to be done with the last message of somebody who has none.
fn not_said(room: &RoomName) -> Refusal {
    Refusal::new(Code::NotFound, format!("you have said nothing in {room} yet"))
}

fn join_data(room: &rooms::Room) -> Value {
    let mut data = match room.cursor {
        Some(after) => json!({ "room": room.name, "after": after }),
        None => json!({ "room": room.name, "history": room.history }),
    };
    if room.private {
        data["private"] = true.into();
    }
    if let Some(password) = &room.password {
        data["password"] = password.expose().into();
    }
    data
}

fn chat_data(message: &Message, before: Option<&Message>) -> Value {
    let mut data = json!({
        "room": message.room, "body": message.body, "client_msg_id": message.client_msg_id,
    });
    if let Some(Target::Seq(reply_to)) = message.reply_to {
        data["reply_to"] = reply_to.into();
    }
    if let Some(file_id) = message.file_id {
        data["file_id"] = json!(file_id);
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
        Question::Rooms { joined, after } => ("rooms", json!({ "joined": joined, "after": after })),
        Question::Search(search) => {
            let seconds = |at_ms: Option<u64>| at_ms.map(|at_ms| at_ms as f64 / 1000.0);
            let data = json!({
                "query": search.words, "room": search.room, "author": search.author,
                "since": seconds(search.since_ms), "until": seconds(search.until_ms), "before": search.before,
                "limit": search.limit.clamp(1, SEARCH_MAX),
            });
            ("search", data)
        }
        Question::Hooks(room) => ("hooks", json!({ "room": room })),
        Question::Users { after } => ("users", json!({ "after": after })),
        Question::Members { room, after } => ("members", json!({ "room": room, "after": after })),
        Question::Servers => ("server_list", json!({})),
        Question::Status => ("status_request", json!({})),
        Question::Barrier => ("ping", json!({ "barrier": true })),
    }
}
