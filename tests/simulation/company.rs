//! People with accounts and a private room: they register, log in by password and by token, invite, kick and
//! ban each other, edit and delete, search, read files, and log out; and they talk to each other alone.
//!
//! What they are shown is checked against the log (`judging`): a user who is shown something of a private
//! room was in it. A text whose deletion was acknowledged is in no answer that knows of the deletion, and in
//! the end nowhere. Requests by a session whose end was acknowledged are refused, reads and logins too.
//!
//! They have a stream of random numbers of their own, and come in two of seven runs. So the other recorded
//! seeds stay the same runs as before.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::{
    checker::{Point, Verdict, Violation},
    cluster::{ClientEvent, Cluster, Event},
    queue::{MS, Micros},
    random::Random,
    rude::Step,
    scenario::{CALM_US, SAFETY_US},
};

/// How often they look at what they have heard.
const STEP_US: Micros = 45 * MS;
/// The private room.
pub const DEN: &str = "den";
const NAMES: [&str; 4] = ["Ann", "Ben", "Cat", "Dan"];
/// The last of them, who is never invited.
const OUTSIDER: usize = 3;

/// Whether a room is private.
pub fn is_private(room: &str) -> bool {
    room == DEN || room.starts_with('@')
}

/// Something private that a user was shown.
pub struct Shown {
    pub user: String,
    pub room: String,
    /// The newest timestamp of the room in it; 0 for a file, which may be of any time.
    pub lamport: u64,
    /// Whether it was a push, and not an answer.
    pub is_push: bool,
    /// The highest applied index of any server at that time.
    pub bound: u64,
}

/// A message that was deleted: its texts, and the event that says so.
struct Gone {
    room: String,
    seq: u64,
    texts: BTreeSet<String>,
}

/// A request that waits for its answer.
struct Asked {
    what: &'static str,
    room: String,
    seq: u64,
    text: String,
    /// Whether it was sent after the end of its session was acknowledged.
    is_late: bool,
}

/// A connection of one of them.
#[derive(Default)]
struct Seat {
    person: usize,
    visitor: Option<u64>,
    is_in: bool,
    token: Option<String>,
    asked: BTreeMap<u64, Asked>,
    next_id: u64,
}

/// A message that one of them has sent.
struct Said {
    person: usize,
    room: String,
    seq: u64,
    texts: BTreeSet<String>,
    is_gone: bool,
}

/// All of them.
pub struct Company {
    random: Random,
    seats: Vec<Seat>,
    /// The newest token of each.
    tokens: Vec<Option<String>>,
    registered: BTreeSet<usize>,
    said: Vec<Said>,
    gone: Vec<Gone>,
    /// Tokens whose end was acknowledged, and the person that each was of.
    pub revoked: BTreeMap<String, usize>,
    pub shown: Vec<Shown>,
    files: Vec<(String, String)>,
    number: u64,
}

impl Company {
    /// The people of the run of `seed`, if it has some.
    pub fn of(seed: u64) -> Option<Company> {
        // Seeds of the older recordings have other remainders.
        if !matches!(seed % 7, 3 | 6) {
            return None;
        }
        // Each has two devices.
        let seats = (0..2 * NAMES.len()).map(|seat| Seat { person: seat / 2, ..Seat::default() });
        Some(Company {
            random: Random::new(seed ^ 0xc0_44a7),
            seats: seats.collect(),
            tokens: vec![None; NAMES.len()],
            registered: BTreeSet::new(),
            said: Vec::new(),
            gone: Vec::new(),
            revoked: BTreeMap::new(),
            shown: Vec::new(),
            files: Vec::new(),
            number: 0,
        })
    }

    /// Every text that was deleted, by an acknowledged request.
    pub fn gone_texts(&self) -> impl Iterator<Item = &str> {
        self.gone.iter().flat_map(|gone| gone.texts.iter().map(String::as_str))
    }

    fn text(&mut self) -> String {
        self.number += 1;
        format!("word{}", self.number)
    }

    /// The first line of a connection: by a token, new or old, by the password, or to register.
    fn login(&mut self, seat: usize) -> Value {
        let person = self.seats[seat].person;
        let name = NAMES[person];
        let password = format!("the password of {name}");
        self.seats[seat].token = None;
        if !self.registered.contains(&person) && self.random.chance(0.7) {
            return json!({"msg_type": "register", "data": {"username": name, "password": password}});
        }
        let mut of_person = self.revoked.iter().filter(|(_, owner)| **owner == person);
        let ended = of_person.next_back().map(|(token, _)| token.clone());
        if let Some(token) = ended.filter(|_| self.random.chance(0.1)) {
            self.seats[seat].token = Some(token.clone());
            return json!({"msg_type": "login", "data": {"token": token}});
        }
        let token = self.tokens[person].clone();
        if let Some(token) = token.filter(|_| self.random.chance(0.7)) {
            self.seats[seat].token = Some(token.clone());
            return json!({"msg_type": "login", "data": {"token": token}});
        }
        json!({"msg_type": "login", "data": {"username": name, "password": password}})
    }

    /// The next request of a user.
    fn request(&mut self, seat: usize) -> (Value, Asked) {
        let person = self.seats[seat].person;
        let room = if self.random.chance(0.8) { DEN } else { "hall" };
        let other = NAMES[self.random.index(OUTSIDER)];
        let mine: Vec<usize> = (0..self.said.len())
            .filter(|said| self.said[*said].person == person && !self.said[*said].is_gone)
            .collect();
        let own = (!mine.is_empty()).then(|| mine[mine.len() - 1 - self.random.index(mine.len().min(5))]);
        let mut asked =
            Asked { what: "other", room: room.into(), seq: 0, text: String::new(), is_late: false };
        let (msg_type, data) = match (self.random.below(40), own) {
            (0..=3, _) => ("create_join", json!({"room": room, "private": room == DEN, "history": 20})),
            (4..=12, _) => {
                asked.what = "chat";
                asked.text = self.text();
                let id = format!("c{}", self.number);
                (
                    "chat",
                    if self.random.chance(0.15) && other != NAMES[person] {
                        asked.room = String::new();
                        json!({"to": other, "body": asked.text, "client_msg_id": id})
                    } else {
                        json!({"room": room, "body": asked.text, "client_msg_id": id})
                    },
                )
            }
            (13..=15, _) => ("invite", json!({"room": DEN, "username": other})),
            (16, _) => ("kick", json!({"room": DEN, "username": other})),
            (17, _) => {
                let mut data = json!({"room": DEN, "username": other});
                if self.random.chance(0.7) {
                    data["seconds"] = json!(self.random.between(1, 4));
                }
                ("ban", data)
            }
            (18..=19, _) => ("unban", json!({"room": DEN, "username": other})),
            (20, _) => ("set_role", json!({"room": DEN, "username": other, "role": "moderator"})),
            (21..=23, Some(own)) => {
                asked.what = "edit";
                asked.text = self.text();
                let said = &mut self.said[own];
                said.texts.insert(asked.text.clone());
                (asked.room, asked.seq) = (said.room.clone(), said.seq);
                ("edit", json!({"room": said.room, "seq": said.seq, "body": asked.text}))
            }
            (24..=26, Some(own)) => {
                asked.what = "delete";
                let said = &self.said[own];
                (asked.room, asked.seq) = (said.room.clone(), said.seq);
                ("delete", json!({"room": said.room, "seq": said.seq}))
            }
            (27..=28, Some(own)) => {
                let said = &self.said[own];
                ("react", json!({"room": said.room, "seq": said.seq, "emoji": "+1"}))
            }
            (29, Some(own)) => ("mark_read", json!({"room": self.said[own].room, "seq": self.said[own].seq})),
            (30..=31, _) => ("search", json!({"query": "word*"})),
            (32, _) => {
                let text = match own {
                    Some(own) => self.said[own].texts.iter().next().cloned().unwrap_or_default(),
                    None => "word1".into(),
                };
                ("search", json!({"query": text}))
            }
            (33..=35, _) => ("history", json!({"room": room})),
            (36, _) => {
                asked.what = "file_begin";
                ("file_begin", json!({"room": DEN, "name": "note.txt", "size": 5}))
            }
            (37, _) if !self.files.is_empty() => {
                asked.what = "file_read";
                let (room, file) = self.files[self.random.index(self.files.len())].clone();
                asked.room = room;
                ("file_read", json!({"file_id": file, "offset": 0}))
            }
            (38, _) if self.random.chance(0.4) => {
                asked.what = "logout";
                ("logout", json!({"everywhere": self.random.chance(0.3)}))
            }
            _ => ("members", json!({"room": room})),
        };
        (json!({"msg_type": msg_type, "data": data}), asked)
    }

    /// The line of a request; from now on its answer is expected.
    fn line(&mut self, seat: usize, mut request: Value, mut asked: Asked) -> Vec<u8> {
        let Seat { token, asked: waiting, next_id, person, .. } = &mut self.seats[seat];
        *next_id += 1;
        let has_ended = token.as_ref().is_some_and(|token| self.revoked.contains_key(token));
        asked.is_late = has_ended;
        request["request_id"] = (*next_id).into();
        request["sender_id"] = NAMES[*person].into();
        waiting.insert(*next_id, asked);
        let mut line = request.to_string().into_bytes();
        line.push(b'\n');
        line
    }

    /// A user has got a line.
    fn hear(&mut self, seat: usize, line: &Value, bound: u64) -> Result<Vec<(Value, Asked)>, Violation> {
        let (msg_type, data) = (line["msg_type"].as_str().unwrap_or(""), &line["data"]);
        let person = self.seats[seat].person;
        let is_push = data["for"].is_null() && matches!(msg_type, "chat" | "room_event");
        self.note_shown(person, data, is_push, bound);
        let Some(asked) = line["request_id"].as_u64().and_then(|id| self.seats[seat].asked.remove(&id))
        else {
            return Ok(Vec::new());
        };
        self.shows_nothing_gone(data)?;
        let (is_ack, code) = (msg_type == "ack", data["code"].as_str().unwrap_or(""));
        if asked.is_late && msg_type != "nack" && data["stale"] != true {
            let text = format!("{} sent a {} by a session that had ended: {line}", NAMES[person], asked.what);
            return Err(Violation::new(Point::Refused, text));
        }
        match (asked.what, is_ack) {
            ("register", true) => drop(self.registered.insert(person)),
            ("register", false) if code == "name_taken" => drop(self.registered.insert(person)),
            ("login", true) => {
                let token = data["token"].as_str().map(str::to_owned);
                self.seats[seat].is_in = true;
                self.seats[seat].token.clone_from(&token);
                self.tokens[person] = token;
            }
            ("login", false) if code == "bad_credentials" => {
                let tried = &self.seats[seat].token;
                self.tokens[person].take_if(|token| tried.as_ref() == Some(token));
            }
            ("chat", true) => {
                let room = data["room"].as_str().unwrap_or("").to_ascii_lowercase();
                let seq = data["seq"].as_u64().unwrap_or(0);
                self.said.push(Said { person, room, seq, texts: [asked.text].into(), is_gone: false });
            }
            ("delete", true) if data["duplicate"] != true => {
                let seq = data["seq"].as_u64().unwrap_or(0);
                let is_it = |said: &&mut Said| said.room == asked.room && said.seq == asked.seq;
                if let Some(said) = self.said.iter_mut().find(is_it) {
                    said.is_gone = true;
                    self.gone.push(Gone { room: said.room.clone(), seq, texts: said.texts.clone() });
                }
            }
            ("logout", true) => {
                let token = self.seats[seat].token.clone();
                self.tokens[person] = None;
                self.revoked.extend(token.map(|token| (token, person)));
            }
            ("file_read", _) if msg_type == "file" => {
                let user = NAMES[person].to_ascii_lowercase();
                self.shown.push(Shown { user, room: asked.room, lamport: 0, is_push: false, bound });
            }
            ("file_begin", true) => {
                let file = data["file_id"].as_str().unwrap_or("");
                let asked = Asked { what: "file_chunk", seq: 0, text: file.into(), ..asked };
                let chunk = json!({"file_id": file, "offset": 0, "bytes": "aGVsbG8="});
                return Ok(vec![(json!({"msg_type": "file_chunk", "data": chunk}), asked)]);
            }
            ("file_chunk", true) => {
                // SHA-256 of "hello".
                let sha256 = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
                let end = json!({"file_id": asked.text, "sha256": sha256});
                let asked = Asked { what: "file_end", ..asked };
                return Ok(vec![(json!({"msg_type": "file_end", "data": end}), asked)]);
            }
            ("file_end", true) => {
                self.files.push((DEN.into(), asked.text.clone()));
                let text = self.text();
                let id = format!("c{}", self.number);
                let chat = json!({"room": DEN, "body": text, "client_msg_id": id, "file_id": asked.text});
                let asked = Asked { what: "chat", text, ..asked };
                return Ok(vec![(json!({"msg_type": "chat", "data": chat}), asked)]);
            }
            _ => {}
        }
        Ok(Vec::new())
    }

    /// Notes what a push, a page of events or a search shows of private rooms.
    fn note_shown(&mut self, person: usize, data: &Value, is_push: bool, bound: u64) {
        let mut newest: BTreeMap<&str, u64> = BTreeMap::new();
        let pages = [&data["events"], &data["hits"]];
        let events = pages.into_iter().filter_map(Value::as_array).flatten();
        for event in events.chain(is_push.then_some(data)) {
            let lamport = event["lamport_timestamp"].as_u64().unwrap_or(0);
            if let Some(room) = event["room"].as_str().filter(|room| is_private(room)) {
                let newest = newest.entry(room).or_default();
                *newest = lamport.max(*newest);
            }
        }
        let user = NAMES[person].to_ascii_lowercase();
        let shown = newest.into_iter().map(|(room, lamport)| Shown {
            user: user.clone(),
            room: room.to_ascii_lowercase(),
            lamport,
            is_push,
            bound,
        });
        self.shown.extend(shown);
    }

    /// An answer that knows of a deletion does not have the text.
    fn shows_nothing_gone(&self, data: &Value) -> Verdict {
        let (Some(room), Some(last_seq)) = (data["room"].as_str(), data["last_seq"].as_u64()) else {
            return Ok(());
        };
        let room = room.to_ascii_lowercase();
        let known: Vec<&Gone> =
            self.gone.iter().filter(|gone| gone.room == room && gone.seq <= last_seq).collect();
        for event in data["events"].as_array().into_iter().flatten() {
            let body = event["body"].as_str().unwrap_or("");
            if known.iter().any(|gone| gone.texts.contains(body)) {
                let text = format!("{event} was deleted, and an answer that ends at {last_seq} shows it");
                return Err(Violation::new(Point::Refused, text));
            }
        }
        Ok(())
    }
}

impl Cluster {
    /// The people connect.
    pub fn begin_company(&mut self) {
        if self.company.is_some() {
            self.queue.schedule(500 * MS, Event::Client(ClientEvent::Company));
        }
    }

    /// The people read what they got, and ask for more.
    pub fn keep_company(&mut self) -> Verdict {
        let Some(mut company) = self.company.take() else { return Ok(()) };
        let verdict = (0..company.seats.len()).try_for_each(|seat| self.sit(&mut company, seat));
        self.company = Some(company);
        if self.now < SAFETY_US + CALM_US + 3_000 * MS {
            self.queue.schedule(self.now + STEP_US, Event::Client(ClientEvent::Company));
        }
        verdict
    }

    fn sit(&mut self, company: &mut Company, seat: usize) -> Verdict {
        let bound = self.hosts.iter().map(|host| host.disk.borrow().known.applied.index).max().unwrap_or(0);
        let visitor = company.seats[seat].visitor.and_then(|visitor| self.visitors.get_mut(&visitor));
        let is_open = visitor.as_ref().is_some_and(|visitor| visitor.conn.is_some());
        let heard = visitor.and_then(|visitor| visitor.heard.as_mut()).map(std::mem::take);
        for line in heard.unwrap_or_default() {
            let line: Value = serde_json::from_slice(&line).unwrap_or_default();
            for (request, asked) in company.hear(seat, &line, bound)? {
                self.ask(company, seat, request, asked);
            }
        }
        let is_lively = self.now < SAFETY_US + CALM_US;
        if !is_open {
            if let Some(visitor) = company.seats[seat].visitor.take() {
                self.visitors.remove(&visitor);
            }
            company.seats[seat].asked.clear();
            company.seats[seat].is_in = false;
            if is_lively && company.random.chance(0.1) {
                self.take_seat(company, seat);
            }
            return Ok(());
        }
        let Seat { is_in, ref asked, visitor, .. } = company.seats[seat];
        let is_busy = asked.len() >= 3;
        let hangs_up = company.random.chance(if is_in { 0.002 } else { 0.02 });
        match visitor {
            Some(visitor) if hangs_up => self.visit_with(visitor, Step::Close),
            _ if is_in && !is_busy && is_lively && company.random.chance(0.15) => {
                let (request, asked) = company.request(seat);
                self.ask(company, seat, request, asked);
            }
            _ => {}
        }
        Ok(())
    }

    fn take_seat(&mut self, company: &mut Company, seat: usize) {
        let server = company.random.index(self.hosts.len());
        let login = company.login(seat);
        let what = if login["msg_type"] == "register" { "register" } else { "login" };
        let asked = Asked { what, room: String::new(), seq: 0, text: String::new(), is_late: false };
        let steps = vec![Step::Line(company.line(seat, login, asked))];
        company.seats[seat].visitor = Some(self.receive_visitor(server, steps, true));
    }

    fn ask(&mut self, company: &mut Company, seat: usize, request: Value, asked: Asked) {
        let line = company.line(seat, request, asked);
        if let Some(visitor) = company.seats[seat].visitor {
            self.visit_with(visitor, Step::Line(line));
        }
    }
}
