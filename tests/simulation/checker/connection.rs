//! One connection, as its client sees it.

use std::collections::{BTreeMap, VecDeque};

use serde_json::Value;

use super::{
    Verdict, Violation, ensure,
    line::{EventFields, Line},
    places::{Acked, MessageKey, Outcome, Places},
};

/// A request that waits for its answer.
struct Asked {
    request_id: Option<String>,
    /// Empty if the line could not be read.
    msg_type: String,
    room: Option<String>,
    after: Option<u64>,
    before: Option<u64>,
    /// How many events were asked for.
    limit: u64,
    /// The sending of a message that it is.
    attempt: Option<(MessageKey, usize)>,
    /// What an answer must have seen: by room, the least `last_seq`.
    floor: BTreeMap<String, u64>,
    /// The newest event of its room that any client had been shown when it was sent.
    shown: u64,
    is_barrier: bool,
    /// Whether it names nothing but a public room that a client was told of before.
    names_known_room: bool,
}

impl Asked {
    fn is_write(&self) -> bool {
        matches!(self.msg_type.as_str(), "chat" | "create_join" | "leave")
    }
}

/// One connection.
pub struct Connection {
    pub server: usize,
    pub user: Option<String>,
    asked: VecDeque<Asked>,
    /// By room: the newest event in the row that began with an answer to `create_join`, or a push.
    cursors: BTreeMap<String, u64>,
    /// By room: the newest event that this connection was acked or shown, or that its barrier covers.
    known: BTreeMap<String, u64>,
    last_fresh_lamport: u64,
}

impl Connection {
    pub fn new(server: usize, user: Option<String>) -> Connection {
        Connection {
            server,
            user,
            asked: VecDeque::new(),
            cursors: BTreeMap::new(),
            known: BTreeMap::new(),
            last_fresh_lamport: 0,
        }
    }

    /// Ends it; gives the sendings whose outcome is unknown now.
    pub fn close(&mut self) -> Vec<(MessageKey, usize)> {
        self.asked.drain(..).filter_map(|asked| asked.attempt).collect()
    }

    /// The client sends `line`, whatever it is.
    pub fn sent(&mut self, line: &[u8], places: &mut Places) {
        let Some(line) = Line::of(line) else {
            self.asked.push_back(Asked::unreadable());
            return;
        };
        if self.user.is_none() {
            // The data of a login by a token does not name the user.
            let named = if line.msg_type == "login" { line.text("username") } else { None };
            let name = named.or(line.sender_id.as_deref());
            self.user = name.map(str::to_ascii_lowercase);
        }
        let room = line.room().or_else(|| line.direct(self.user.as_ref()?));
        let (after, before) = (line.number("after"), line.number("before"));
        let mut floor = self.known.clone();
        if let (Some(room), Some(after)) = (&room, after) {
            // A server that is told of an event must know it, unless no client has ever seen that event.
            let told = after.min(places.shown_seq(room));
            let least = floor.entry(room.clone()).or_default();
            *least = (*least).max(told);
        }
        let is_barrier = line.msg_type == "ping" && line.flag("barrier");
        if is_barrier {
            floor = places.all_shown();
        }
        if let Some(room) = room.as_ref().filter(|_| line.may_end_room()) {
            places.may_be_gone(room);
        }
        let names_known_room =
            line.names_room_only() && room.as_ref().is_some_and(|room| places.is_known(room));
        let attempt = match (line.msg_type.as_str(), &self.user, &room, line.text("body")) {
            ("chat", Some(user), Some(room), Some(body)) => match line.text("client_msg_id") {
                Some(id) => {
                    let key = (user.clone(), id.to_owned());
                    let attempt = places.sent(&key, room, body);
                    Some((key, attempt))
                }
                None => {
                    places.sent_nameless(user, room, body);
                    None
                }
            },
            _ => None,
        };
        let shown = room.as_ref().map_or(0, |room| places.shown_seq(room));
        self.asked.push_back(Asked {
            request_id: line.request_id.clone(),
            limit: line.number("limit").or(line.number("history")).unwrap_or(50),
            msg_type: line.msg_type,
            room,
            after,
            before,
            attempt,
            floor,
            shown,
            is_barrier,
            names_known_room,
        });
    }

    /// The client receives `line`. Tells whether it acknowledged a `chat`.
    pub fn received(&mut self, line: &Line, places: &mut Places) -> Result<bool, Violation> {
        match (line.msg_type.as_str(), &line.answers) {
            ("chat" | "room_event", None) => {
                self.pushed(line, places)?;
                return Ok(false);
            }
            (
                "typing" | "presence" | "server_list" | "redirect" | "session_ended" | "invited"
                | "uninvited" | "room_deleted" | "read",
                None,
            ) => return Ok(false),
            _ => {}
        }
        let (asked, earlier_write) = self.take_asked(line)?;
        match line.msg_type.as_str() {
            "ack" => {
                ensure!(
                    earlier_write.is_none() || !asked.is_write(),
                    SenderOrder,
                    "a {} is acknowledged before an earlier {}",
                    asked.msg_type,
                    earlier_write.unwrap_or_default()
                );
                return self.acked(&asked, line, places);
            }
            "nack" => {
                let room = asked.room.as_deref().unwrap_or_default();
                ensure!(
                    // A request that ends the room may have been on its way at the same time.
                    line.text("code") != Some("not_found")
                        || !asked.names_known_room
                        || !places.is_known(room),
                    Refused,
                    "a {} says that there is no {room}, which was made before it was asked for",
                    asked.msg_type
                );
                if let Some((key, attempt)) = &asked.attempt {
                    let unknown = line.text("code") == Some("unavailable");
                    let outcome = if unknown { Outcome::Unknown } else { Outcome::Refused };
                    places.outcome(key, *attempt, outcome);
                }
            }
            "redirect" => {
                if let Some((key, attempt)) = &asked.attempt {
                    places.outcome(key, *attempt, Outcome::Refused);
                }
            }
            "history" => self.history(&asked, line, places)?,
            "pong" if asked.is_barrier => self.know_all(asked.floor),
            _ => {}
        }
        Ok(false)
    }

    /// The request that `line` answers, and the type of the first write that still waits before it.
    fn take_asked(&mut self, line: &Line) -> Result<(Asked, Option<String>), Violation> {
        let answered = line.answers.as_deref().unwrap_or("");
        let position = self.asked.iter().position(|asked| match (&line.request_id, &asked.request_id) {
            (Some(id), Some(asked_id)) => id == asked_id,
            // A request whose envelope could not be read has lost its id, and perhaps its type.
            (None, _) => asked.msg_type.is_empty() || answered.is_empty() || asked.msg_type == answered,
            (Some(_), None) => false,
        });
        let Some(position) = position else {
            ensure!(false, Confined, "a {} answers a {answered:?} that no request waits for", line.msg_type);
            unreachable!("the line above returns");
        };
        let earlier = self.asked.iter().take(position).find(|asked| asked.is_write());
        let earlier_write = earlier.map(|asked| asked.msg_type.clone());
        let asked = self.asked.remove(position).expect("position was found in this queue");
        ensure!(
            asked.msg_type.is_empty() || answered.is_empty() || asked.msg_type == answered,
            Confined,
            "a {} for {answered} answers a {}",
            line.msg_type,
            asked.msg_type
        );
        Ok((asked, earlier_write))
    }

    fn acked(&mut self, asked: &Asked, line: &Line, places: &mut Places) -> Result<bool, Violation> {
        match asked.msg_type.as_str() {
            "chat" => return self.chat_acked(asked, line, places),
            "create_join" => self.joined(asked, line, places)?,
            "leave" => {
                if let Some(room) = &asked.room {
                    self.cursors.remove(room);
                }
            }
            _ => {}
        }
        Ok(false)
    }

    fn chat_acked(&mut self, asked: &Asked, line: &Line, places: &mut Places) -> Result<bool, Violation> {
        let Some((key, attempt)) = &asked.attempt else { return Ok(true) };
        let fields = (line.room(), line.number("seq"), line.number("lamport_timestamp"));
        let (Some(room), Some(seq), Some(lamport)) = fields else {
            ensure!(false, Confined, "the ack of {key:?} lacks room, seq or lamport_timestamp");
            return Ok(true);
        };
        ensure!(
            line.text("client_msg_id") == Some(&key.1),
            Once,
            "{key:?} is acknowledged as {:?}",
            line.text("client_msg_id")
        );
        let duplicate = line.flag("duplicate");
        self.know(&room, seq);
        places.acked(&Acked { key, attempt: *attempt, room, seq, lamport, duplicate })?;
        if !duplicate {
            ensure!(
                lamport > self.last_fresh_lamport,
                SenderOrder,
                "{key:?} got timestamp {lamport}, one sent before it {}",
                self.last_fresh_lamport
            );
            self.last_fresh_lamport = lamport;
        }
        Ok(true)
    }

    fn pushed(&mut self, line: &Line, places: &mut Places) -> Verdict {
        let (event, _) = places.learn(&Value::Object(line.data.clone()))?;
        places.show(&event);
        self.know(&event.room, event.seq);
        if let Some(cursor) = self.cursors.get(&event.room) {
            ensure!(
                event.seq > *cursor,
                Once,
                "({}, {}) is pushed to a connection that has been shown {cursor}",
                event.room,
                event.seq
            );
            // A user who left on another connection and came back was no member in between.
            let comes_back = event.kind == "joined"
                && Some(&event.author) == self.user.as_ref()
                && places.left_between(&event.author, &event.room, *cursor, event.seq);
            ensure!(
                event.seq == cursor + 1 || comes_back,
                NoGap,
                "({}, {}) is pushed to a connection that has been shown {cursor} and nothing since",
                event.room,
                event.seq
            );
        }
        if event.gone.is_some() && event.gone == self.user {
            // What follows depends on when the user comes back, on this connection or another.
            self.cursors.remove(&event.room);
        } else {
            self.cursors.insert(event.room, event.seq);
        }
        Ok(())
    }

    fn joined(&mut self, asked: &Asked, line: &Line, places: &mut Places) -> Verdict {
        let Some(room) = line.room() else { return Ok(()) };
        if !line.flag("private") {
            places.know(&room);
        }
        let events = shown_events(line, &room, places)?;
        let last_seq = self.last_seq(asked, line, &room)?;
        let ends = events.last().map(|event| event.seq);
        let cursor = match asked.after {
            Some(after) => {
                let first = events.first().map(|event| event.seq);
                ensure!(
                    first.is_none_or(|first| first > after),
                    Once,
                    "a resume of {room} after {after} begins at {first:?}"
                );
                ensure!(
                    first.is_none_or(|first| first == after + 1),
                    NoGap,
                    "a resume of {room} after {after} begins at {first:?}"
                );
                // A client that claims to have more events than exist goes on from the last one.
                let reached = ends.unwrap_or(after.min(last_seq));
                ensure!(
                    line.flag("more") || reached >= last_seq,
                    NoGap,
                    "a resume of {room} after {after} ends at {reached} of {last_seq} and promises no more"
                );
                reached
            }
            None => {
                // An answer to a connection whose outbox is full may show nothing, if it says that there is
                // more.
                let is_shortened = ends.is_none() && line.flag("more");
                ensure!(
                    asked.limit == 0 || last_seq == 0 || is_shortened || ends == Some(last_seq),
                    NoGap,
                    "the last {} events of {room} end at {ends:?} of {last_seq}",
                    asked.limit
                );
                last_seq
            }
        };
        self.know(&room, cursor.min(last_seq));
        // Newer events come behind the answer, even if the user left and came back on another connection
        // while it was on its way: the first push is the one behind the answer.
        let pushed = self.cursors.get(&room).copied().unwrap_or(0);
        ensure!(
            pushed <= last_seq,
            NoGap,
            "({room}, {pushed}) was pushed before the answer to a create_join that ends at {last_seq}"
        );
        self.cursors.insert(room, cursor);
        Ok(())
    }

    fn history(&mut self, asked: &Asked, line: &Line, places: &mut Places) -> Verdict {
        let Some(room) = line.room() else { return Ok(()) };
        let events = shown_events(line, &room, places)?;
        let last_seq = self.last_seq(asked, line, &room)?;
        let (first, last) = (events.first().map(|event| event.seq), events.last().map(|event| event.seq));
        let due = match (asked.after, asked.before) {
            (Some(after), _) => first == (after < last_seq).then_some(after + 1),
            (None, Some(before)) => {
                last == Some(before.saturating_sub(1).min(last_seq)).filter(|&seq| seq > 0)
            }
            (None, None) => last == Some(last_seq).filter(|&seq| seq > 0),
        };
        ensure!(
            due && last <= Some(last_seq),
            NoGap,
            "history of {room} after {:?} before {:?} runs from {first:?} to {last:?} of {last_seq}",
            asked.after,
            asked.before
        );
        Ok(())
    }

    /// The `last_seq` of an answer, which must not fall behind what clients had been shown when it was asked
    /// for. If it says that it may be stale, what counts is what this connection knew.
    fn last_seq(&self, asked: &Asked, line: &Line, room: &str) -> Result<u64, Violation> {
        let last_seq = line.number("last_seq").unwrap_or(0);
        let floor = asked.floor.get(room).copied().unwrap_or(0);
        ensure!(
            last_seq >= floor,
            RealTime,
            "{room} ends at {last_seq} for a connection that knew of {floor} when it asked"
        );
        ensure!(
            last_seq >= asked.shown || line.flag("stale"),
            RealTime,
            "{room} ends at {last_seq} for a connection that asked when {} had been shown elsewhere",
            asked.shown
        );
        Ok(last_seq)
    }

    fn know(&mut self, room: &str, seq: u64) {
        match self.known.get_mut(room) {
            Some(known) => *known = seq.max(*known),
            None => {
                self.known.insert(room.to_owned(), seq);
            }
        }
    }

    fn know_all(&mut self, rooms: BTreeMap<String, u64>) {
        for (room, seq) in rooms {
            self.know(&room, seq);
        }
    }
}

/// The events in an answer: all of `room`, without a hole, and nowhere different.
fn shown_events(line: &Line, room: &str, places: &mut Places) -> Result<Vec<EventFields>, Violation> {
    let mut shown: Vec<EventFields> = Vec::new();
    for event in line.data.get("events").and_then(Value::as_array).into_iter().flatten() {
        let (event, _) = places.learn(event)?;
        places.show(&event);
        let before = shown.last().map(|before| before.seq);
        ensure!(
            event.room == room && before.is_none_or(|before| before + 1 == event.seq),
            NoGap,
            "an answer about {room} shows ({}, {}) after {before:?}",
            event.room,
            event.seq
        );
        shown.push(event);
    }
    Ok(shown)
}

impl Asked {
    /// A line that is no request, but still gets one answer.
    fn unreadable() -> Asked {
        Asked {
            request_id: None,
            msg_type: String::new(),
            room: None,
            after: None,
            before: None,
            limit: 0,
            attempt: None,
            floor: BTreeMap::new(),
            shown: 0,
            is_barrier: false,
            names_known_room: false,
        }
    }
}
