//! A writer: composes messages at a steady pace, keeps several under way, and resends until each is
//! acknowledged, as the contract asks of a client.

use std::{
    collections::VecDeque,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    load::{LOBBY, Shared},
    wire::{Lost, Wire},
};

/// Messages that one writer has under way at most.
const WINDOW: usize = 12;
/// Time between two messages of one writer, while fewer than the window are under way.
const PACE: Duration = Duration::from_millis(8);
/// A server that answers nothing for this long is left.
const UNANSWERED: Duration = Duration::from_millis(1_500);
/// After this time every other writer leaves its server for the next one, even with messages under way.
const RESTLESS: Duration = Duration::from_millis(700);
/// Pause after a connection that failed.
const BACK_OFF: Duration = Duration::from_millis(10);

/// A message until it is acknowledged.
struct Message {
    client_msg_id: String,
    room: String,
    body: String,
    /// Of its last sending.
    request_id: u64,
    sent_at: Instant,
    /// It was refused for now and is to be sent again at this time.
    again_at: Option<Instant>,
}

pub struct Writer {
    number: usize,
    user: String,
    rooms: [String; 2],
    shared: Arc<Shared>,
    /// Which server is next.
    turn: usize,
    composed: u64,
    next_at: Instant,
    waiting: VecDeque<Message>,
    /// Whether it joins and resends without waiting for answers; else it is restless.
    pipelines: bool,
}

impl Writer {
    pub fn new(number: usize, shared: Arc<Shared>) -> Writer {
        Writer {
            number,
            user: format!("writer{number}"),
            // The lobby is written by all, the other rooms by some.
            rooms: [LOBBY.into(), format!("room{}", number % 3)],
            turn: number,
            composed: 0,
            next_at: Instant::now(),
            waiting: VecDeque::new(),
            pipelines: number.is_multiple_of(2),
            shared,
        }
    }

    /// Writes until the load is stopped and everything is acknowledged.
    pub fn run(mut self) {
        while !self.is_done() {
            if let Some(mut wire) = self.connect() {
                // After any end, the next connection begins with the unanswered messages.
                if self.converse(&mut wire).is_err() {
                    self.shared.progress.lost();
                }
            }
            self.turn += 1;
            thread::sleep(BACK_OFF);
        }
    }

    fn is_done(&self) -> bool {
        self.shared.is_over() || (self.shared.is_stopped() && self.waiting.is_empty())
    }

    fn connect(&mut self) -> Option<Wire> {
        let server = self.turn % self.shared.targets.len();
        let mut wire = Wire::open(&self.shared.targets, server, &self.shared.judge).ok()?;
        let greeted = self.greet(&mut wire);
        greeted.ok().map(|()| wire)
    }

    /// Logs in, joins the rooms, and sends what is unanswered, in order.
    fn greet(&mut self, wire: &mut Wire) -> Result<(), Lost> {
        let mut requests = vec![wire.ask("login", json!({"username": self.user}))?];
        for room in &self.rooms {
            // The answer says that the user is a member; of the room's past a writer needs nothing.
            requests.push(wire.ask("create_join", json!({"room": room, "history": 0}))?);
        }
        if !self.pipelines {
            for request_id in requests {
                let answer = wire.answer(request_id, UNANSWERED)?;
                self.see(&answer)?;
            }
        }
        for message in &mut self.waiting {
            message.again_at = None;
            send(message, wire)?;
        }
        Ok(())
    }

    /// Writes and listens until the connection is lost. `Ok` if nothing is left to do, or to change the
    /// server.
    fn converse(&mut self, wire: &mut Wire) -> Result<(), Lost> {
        let mut heard_at = Instant::now();
        let until = heard_at + RESTLESS;
        while !self.is_done() && (self.pipelines || Instant::now() < until) {
            self.write(wire)?;
            let due = self.next_at.saturating_duration_since(Instant::now());
            let pause = if self.waiting.len() < WINDOW { due } else { PACE };
            if let Some(line) = wire.receive(pause)? {
                heard_at = Instant::now();
                self.see(&line)?;
            } else if !self.waiting.is_empty() && heard_at.elapsed() > UNANSWERED {
                return Err(Lost);
            }
        }
        Ok(())
    }

    /// Sends what is due: a new message, and those that were refused for now.
    fn write(&mut self, wire: &mut Wire) -> Result<(), Lost> {
        let now = Instant::now();
        for message in &mut self.waiting {
            if message.again_at.is_some_and(|at| at <= now) {
                message.again_at = None;
                send(message, wire)?;
            }
        }
        if self.shared.is_stopped() || self.waiting.len() >= WINDOW || now < self.next_at {
            return Ok(());
        }
        self.next_at = now + PACE;
        let mut message = self.compose();
        let sent = send(&mut message, wire);
        self.waiting.push_back(message);
        sent
    }

    fn compose(&mut self) -> Message {
        self.composed += 1;
        let client_msg_id = format!("{}-{}", self.user, self.composed);
        self.shared.judge.composed(self.number, &self.user, &client_msg_id);
        Message {
            body: format!("message {} of {}", self.composed, self.user),
            // The lobby reaches every client, so it gets the smaller part.
            room: self.rooms[usize::from(!self.composed.is_multiple_of(4))].clone(),
            client_msg_id,
            request_id: 0,
            sent_at: Instant::now(),
            again_at: None,
        }
    }

    /// Handles a line. The error means that the server wants the connection to end.
    fn see(&mut self, line: &Value) -> Result<(), Lost> {
        let data = &line["data"];
        match (line["msg_type"].as_str(), data["for"].as_str()) {
            (Some("ack"), Some("chat")) => self.acked(data["client_msg_id"].as_str().unwrap_or("")),
            (Some("nack"), _) => return self.refused(line),
            (Some("redirect"), _) => {
                self.shared.progress.redirected();
                let id = data["server_id"].as_str();
                let place = self.shared.targets.iter().position(|target| target.server_id.as_deref() == id);
                // One is added before the next connection.
                self.turn = place.unwrap_or(self.turn) + self.shared.targets.len() - 1;
                return Err(Lost);
            }
            _ => {}
        }
        Ok(())
    }

    fn acked(&mut self, client_msg_id: &str) {
        if let Some(at) = self.waiting.iter().position(|message| message.client_msg_id == client_msg_id)
            && let Some(message) = self.waiting.remove(at)
        {
            self.shared.progress.acked(message.sent_at);
        }
    }

    fn refused(&mut self, nack: &Value) -> Result<(), Lost> {
        let data = &nack["data"];
        let code = data["code"].as_str().unwrap_or("");
        self.shared.progress.refused(code);
        let place = self.waiting.iter().position(|message| nack["request_id"] == message.request_id);
        match code {
            "rate_limited" | "overloaded" => {
                let wait = Duration::from_millis(data["retry_after_ms"].as_u64().unwrap_or(50));
                // Anything but a message belongs to the greeting, which begins anew.
                let message = &mut self.waiting[place.ok_or(Lost)?];
                message.again_at = Some(Instant::now() + wait);
                Ok(())
            }
            "unavailable" => Err(Lost),
            _ => {
                if let Some(message) = place.and_then(|place| self.waiting.remove(place)) {
                    self.shared.judge.given_up(&self.user, &message.client_msg_id);
                }
                self.shared.judge.object(format!("{} did nothing wrong and was refused: {nack}", self.user));
                Err(Lost)
            }
        }
    }
}

fn send(message: &mut Message, wire: &mut Wire) -> Result<(), Lost> {
    message.sent_at = Instant::now();
    let Message { client_msg_id, room, body, .. } = &*message;
    let data = json!({"room": room, "body": body, "client_msg_id": client_msg_id});
    message.request_id = wire.ask("chat", data)?;
    Ok(())
}
