//! Random instructions, with a database that lags behind the publications, pages and events that are found in
//! any order, and readers that take any amount. Checks what a client sees, line by line.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde_json::Value;

use super::{History, by, left};
use crate::{
    chance::Chance,
    disk::RoomId,
    fanout::{ConnId, End, EventQuery, Instruction, Purpose, Subscriptions},
    protocol::{Code, Refusal},
};

/// What a client has seen and still expects.
#[derive(Default)]
struct Client {
    /// By room: the next event, if the room is followed.
    next: BTreeMap<String, u64>,
    /// The rooms that must come to their newest event in the end.
    follows: BTreeSet<RoomId>,
    /// The writes that wait for their answer, in order.
    writes: VecDeque<Write>,
    is_closing: bool,
}

struct Write {
    id: i64,
    join: Option<Joining>,
}

#[derive(Clone, Copy)]
struct Joining {
    room: RoomId,
    /// The room's newest event then.
    last_seq: u64,
    after: Option<u64>,
    /// The user left the room before the answer, and has not come back.
    ended: bool,
}

impl Client {
    fn see(&mut self, line: &[u8]) {
        let line: Value = serde_json::from_slice(line).expect("a line is JSON");
        let data = &line["data"];
        match line["msg_type"].as_str().expect("a msg_type") {
            "chat" => {
                let room = data["room"].as_str().expect("a room");
                let next =
                    self.next.get_mut(room).unwrap_or_else(|| panic!("{room} is not followed: {line}"));
                assert_eq!(data["seq"], *next, "a hole or a repeat in {room}");
                *next += 1;
            }
            "ack" | "nack" => {
                let write = self.writes.pop_front().expect("an answer to something");
                assert_eq!(line["request_id"], write.id, "answers out of order");
                if let Some(join) = write.join {
                    self.see_join(join, data);
                }
            }
            other => panic!("what is {other}?"),
        }
    }

    fn see_join(&mut self, join: Joining, data: &Value) {
        let Joining { last_seq, after, ended, .. } = join;
        let room = format!("room{}", join.room.0);
        if !ended {
            self.next.remove(&room);
        }
        let events = data["events"].as_array().expect("a join that was applied is never refused");
        let seqs: Vec<u64> = events.iter().map(|event| event["seq"].as_u64().expect("a seq")).collect();
        assert!(seqs.windows(2).all(|pair| pair[1] == pair[0] + 1), "holes in {seqs:?}");
        let next = match (after, seqs.last()) {
            (Some(after), None) => after + 1,
            (Some(after), Some(last)) => {
                assert_eq!(seqs[0], after + 1, "a resume begins behind what the client has");
                last + 1
            }
            (None, last) => {
                assert!(last.is_none_or(|last| *last == last_seq), "history ends with the newest event");
                last_seq + 1
            }
        };
        if after.is_some() {
            assert_eq!(data["more"], next <= last_seq);
        } else {
            assert_eq!(data["more"], seqs.first().map_or(last_seq, |first| first - 1) > 0);
        }
        if !ended {
            self.next.insert(room, next);
        }
    }

    /// The last join of `room` that is not answered yet.
    fn joining(&mut self, room: RoomId) -> Option<&mut Joining> {
        let joins = self.writes.iter_mut().rev().filter_map(|write| write.join.as_mut());
        joins.into_iter().find(|join| join.room == room)
    }
}

struct World {
    chance: Chance,
    fanout: Subscriptions,
    outbox_bytes: usize,
    rooms: Vec<History>,
    /// By room: how many of its events the database has.
    visible: Vec<u64>,
    /// Asked and not found yet.
    queries: Vec<EventQuery>,
    clients: BTreeMap<ConnId, Client>,
    opened: u64,
    id: i64,
    cuts: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut chance = Chance(seed);
        let outbox_bytes = [4 << 10, 16 << 10, 64 << 10][chance.below(3) as usize];
        let mut rooms: Vec<History> = (0..3).map(History::new).collect();
        for room in &mut rooms {
            for _ in 0..chance.below(400) {
                room.say("before");
            }
        }
        World {
            chance,
            fanout: Subscriptions::new(outbox_bytes),
            outbox_bytes,
            visible: rooms.iter().map(History::last_seq).collect(),
            rooms,
            queries: Vec::new(),
            clients: BTreeMap::new(),
            opened: 0,
            id: 0,
            cuts: 0,
        }
    }

    fn step(&mut self) {
        let room = self.chance.below(self.rooms.len() as u64) as usize;
        let conn = match self.clients.len() as u64 {
            0 => return self.open(),
            count => *self.clients.keys().nth(self.chance.below(count) as usize).expect("one of them"),
        };
        match self.chance.below(40) {
            0 if self.clients.len() < 5 => self.open(),
            0..=13 => {
                let body = "x".repeat(self.chance.below(200) as usize);
                let publish = self.rooms[room].say(&body);
                self.handle(publish);
            }
            14..=17 => {
                let behind = self.rooms[room].last_seq() - self.visible[room];
                self.visible[room] += self.chance.below(behind + 1);
            }
            18..=19 => self.join(conn, room),
            20 => self.follow(conn, room),
            21 => self.unfollow(conn, room),
            22..=23 => self.write(conn),
            24..=29 => self.find(),
            30..=37 => {
                let max_bytes = 1 << self.chance.below(14);
                self.read(conn, max_bytes);
            }
            38 => self.handle(Instruction::Tick),
            _ => self.end(conn),
        }
    }

    fn handle(&mut self, instruction: Instruction) {
        // What waits for each reader, estimated upwards.
        let waiting = |(conn, client): (&ConnId, &Client)| {
            (*conn, self.fanout.queued_bytes(*conn) + 1_500 * client.writes.len())
        };
        let waiting: BTreeMap<ConnId, usize> = self.clients.iter().map(waiting).collect();
        self.fanout.handle(instruction);
        self.queries.extend(self.fanout.queries());
        for (conn, end) in self.fanout.closed() {
            let client = self.clients.remove(&conn).expect("it was open");
            if end == End::TooSlow {
                let is_full = waiting[&conn] > self.outbox_bytes / 2;
                assert!(is_full, "{conn:?} was cut although its reader was not slow");
                self.cuts += 1;
            } else {
                assert!(client.is_closing, "only what is to be closed is");
            }
        }
        for conn in self.clients.keys() {
            assert!(self.fanout.queued_bytes(*conn) <= self.outbox_bytes, "the outbox is bounded");
        }
    }

    fn open(&mut self) {
        self.opened += 1;
        let conn = ConnId(self.opened);
        self.clients.insert(conn, Client::default());
        self.handle(Instruction::Open { conn });
    }

    fn join(&mut self, conn: ConnId, room: usize) {
        self.id += 1;
        let history = &self.rooms[room];
        let after = (self.chance.below(2) == 0).then(|| self.chance.below(history.last_seq() + 1));
        let (join, range) = history.join(conn, self.id, after, self.chance.below(60) as usize);
        let (room, last_seq, index) = (history.room, history.last_seq(), self.id as u64);
        let Some(client) = self.clients.get_mut(&conn).filter(|client| !client.is_closing) else { return };
        let joining = Joining { room, last_seq, after, ended: false };
        client.writes.push_back(Write { id: self.id, join: Some(joining) });
        client.follows.insert(room);
        self.handle(join);
        self.queries.push(EventQuery {
            conn,
            room,
            range,
            unwritten: Vec::new(),
            purpose: Purpose::Join { index },
        });
    }

    fn follow(&mut self, conn: ConnId, room: usize) {
        self.drain(conn);
        let (history, behind) = (&self.rooms[room], self.chance.below(30));
        let (room, last_seq, name) = (history.room, history.last_seq(), history.name());
        let after = last_seq.saturating_sub(behind);
        let Some(client) = self.clients.get_mut(&conn).filter(|client| !client.is_closing) else { return };
        // Else it is ignored.
        if client.follows.insert(room) {
            match client.joining(room) {
                // Its answer is where the pushes begin.
                Some(join) => join.ended = false,
                None => drop(client.next.insert(name.to_string(), after + 1)),
            }
        }
        self.handle(Instruction::Follow { conn, room, name, after, last_seq });
    }

    fn unfollow(&mut self, conn: ConnId, room: usize) {
        self.drain(conn);
        let (room, name) = (self.rooms[room].room, self.rooms[room].name().to_string());
        let Some(client) = self.clients.get_mut(&conn) else { return };
        client.next.remove(&name);
        client.follows.remove(&room);
        for join in client.writes.iter_mut().filter_map(|write| write.join.as_mut()) {
            join.ended |= join.room == room;
        }
        self.handle(Instruction::Unfollow { conn, room });
    }

    fn write(&mut self, conn: ConnId) {
        self.id += 1;
        let Some(client) = self.clients.get_mut(&conn).filter(|client| !client.is_closing) else { return };
        client.writes.push_back(Write { id: self.id, join: None });
        self.handle(left(conn, self.id));
    }

    /// The database answers one of the queries; seldom, it cannot.
    fn find(&mut self) {
        if self.queries.is_empty() {
            return;
        }
        let at = self.chance.below(self.queries.len() as u64) as usize;
        let EventQuery { conn, room, range, purpose, .. } = self.queries.swap_remove(at);
        let number = room.0 as usize;
        if matches!(purpose, Purpose::Join { .. }) {
            // The replica asks only once that is there.
            self.visible[number] = self.visible[number].max(range.before - 1);
        }
        let mut found = Ok(self.rooms[number].look(&range, self.visible[number]));
        if self.chance.below(60) == 0 {
            found = Err(Refusal::new(Code::Overloaded, "busy"));
        }
        self.handle(Instruction::QueryResult { conn, room, purpose, result: found, by: by() });
    }

    fn read(&mut self, conn: ConnId, max_bytes: usize) {
        for said in self.fanout.take(conn, max_bytes) {
            if let Some(client) = self.clients.get_mut(&conn) {
                client.see(&said.json());
            }
        }
        self.queries.extend(self.fanout.queries());
        for (conn, end) in self.fanout.closed() {
            assert_eq!(end, End::Finished, "reading cuts no connection");
            let client = self.clients.remove(&conn).expect("it was open");
            assert!(client.is_closing, "only what is to be closed is");
        }
    }

    /// Reads all there is: taking makes room for more.
    fn drain(&mut self, conn: ConnId) {
        while self.fanout.queued_bytes(conn) > 0 {
            self.read(conn, usize::MAX);
        }
    }

    fn end(&mut self, conn: ConnId) {
        if self.chance.below(2) == 0 {
            self.clients.remove(&conn);
            self.handle(Instruction::Forget { conn });
        } else if let Some(client) = self.clients.get_mut(&conn) {
            client.is_closing = true;
            self.handle(Instruction::Close { conn });
        }
    }

    /// The readers read and the database answers: every connection gets every event.
    fn settle(&mut self) {
        self.visible = self.rooms.iter().map(History::last_seq).collect();
        for _ in 0..2_000 {
            while !self.queries.is_empty() {
                self.find();
            }
            for conn in self.clients.keys().copied().collect::<Vec<_>>() {
                self.read(conn, 1 << 12);
            }
            self.handle(Instruction::Tick);
        }
        for (conn, client) in &self.clients {
            assert!(!client.is_closing, "{conn:?} was to be closed");
            assert!(client.writes.is_empty(), "{conn:?} waits for answers");
            for room in &client.follows {
                let history = &self.rooms[room.0 as usize];
                let next = client.next.get(&history.name().to_string()).copied();
                assert_eq!(next, Some(history.last_seq() + 1), "{conn:?} is behind in {room:?}");
            }
        }
    }
}

/// Plays `seed`; gives how many slow readers were cut.
fn play(seed: u64) -> u64 {
    let mut world = World::new(seed);
    for _ in 0..1_500 {
        world.step();
    }
    world.settle();
    world.cuts
}

#[test]
fn every_client_sees_every_event_once_and_in_order() {
    let cuts: u64 = (0..60).map(play).sum();
    assert!(cuts > 0, "no reader was too slow: the runs show less than they should");
}
