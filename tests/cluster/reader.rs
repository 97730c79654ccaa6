//! A reader: follows all rooms, and resumes when its connection ends. It also changes its server by itself.

use std::{
    collections::BTreeMap,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    load::{LOBBY, Shared},
    wire::{Lost, Wire},
};

const ROOMS: [&str; 4] = [LOBBY, "room0", "room1", "room2"];
/// How long an answer may take before another server is tried.
const UNANSWERED: Duration = Duration::from_millis(1_500);
/// After this time the reader moves to the next server by itself.
const RESTLESS: Duration = Duration::from_millis(2_300);
const BACK_OFF: Duration = Duration::from_millis(10);

pub struct Reader {
    user: String,
    shared: Arc<Shared>,
    turn: usize,
    /// The newest event it has of each room.
    cursors: BTreeMap<String, u64>,
}

impl Reader {
    pub fn new(number: usize, shared: Arc<Shared>) -> Reader {
        Reader { user: format!("reader{number}"), shared, turn: number, cursors: BTreeMap::new() }
    }

    /// Reads until the load is stopped.
    pub fn run(mut self) {
        while !self.is_done() {
            if let Ok(mut wire) = self.connect()
                && self.follow(&mut wire).is_err()
            {
                self.shared.progress.lost();
            }
            self.turn += 1;
            thread::sleep(BACK_OFF);
        }
    }

    fn is_done(&self) -> bool {
        self.shared.is_over() || self.shared.is_stopped()
    }

    fn connect(&mut self) -> Result<Wire, Lost> {
        let server = self.turn % self.shared.targets.len();
        Wire::open(&self.shared.targets, server, &self.shared.judge)
    }

    /// Resumes all rooms and reads until the connection ends or it is time to move on.
    fn follow(&mut self, wire: &mut Wire) -> Result<(), Lost> {
        for room in ROOMS {
            let data = match self.cursors.get(&room.to_ascii_lowercase()) {
                Some(after) => json!({"room": room, "after": after}),
                None => json!({"room": room, "history": 20}),
            };
            // The first request names the user; the others need not.
            wire.ask_as((room == ROOMS[0]).then_some(self.user.as_str()), "create_join", data)?;
        }
        let mut asked = ROOMS.len();
        let until = Instant::now() + RESTLESS;
        let mut heard_at = Instant::now();
        let mut pinged = false;
        while !self.is_done() && Instant::now() < until {
            if let Some(line) = wire.receive(Duration::from_millis(50))? {
                heard_at = Instant::now();
                asked -= usize::from(line.get("request_id").is_some());
                self.see(&line)?;
            } else if asked > 0 && heard_at.elapsed() > UNANSWERED {
                return Err(Lost);
            }
            if asked == 0 && !pinged {
                // Once all rooms are resumed: from here on this server shows the newest state.
                pinged = true;
                asked += 2;
                wire.ask("ping", json!({"barrier": true}))?;
                wire.ask("history", json!({"room": LOBBY, "limit": 5}))?;
            }
        }
        Ok(())
    }

    fn see(&mut self, line: &Value) -> Result<(), Lost> {
        let data = &line["data"];
        match line["msg_type"].as_str() {
            Some("chat" | "room_event") => self.has(data),
            Some("ack") if data["for"] == "create_join" => {
                for event in data["events"].as_array().into_iter().flatten() {
                    self.has(event);
                }
                let room = data["room"].as_str().unwrap_or("").to_ascii_lowercase();
                // A join without `after` begins at the end, however few events it showed.
                self.cursors.entry(room).or_insert(data["last_seq"].as_u64().unwrap_or(0));
            }
            Some("nack") => {
                let code = data["code"].as_str().unwrap_or("");
                self.shared.progress.refused(code);
                if !data["retryable"].as_bool().unwrap_or(false) {
                    let objection = format!("{} did nothing wrong and was refused: {line}", self.user);
                    self.shared.judge.object(objection);
                }
                return Err(Lost);
            }
            Some("redirect") => {
                self.shared.progress.redirected();
                return Err(Lost);
            }
            _ => {}
        }
        Ok(())
    }

    fn has(&mut self, event: &Value) {
        if let (Some(room), Some(seq)) = (event["room"].as_str(), event["seq"].as_u64()) {
            let cursor = self.cursors.entry(room.to_ascii_lowercase()).or_insert(seq);
            *cursor = seq.max(*cursor);
            self.shared.progress.shown();
        }
    }
}
