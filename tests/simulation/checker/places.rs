//! Which event is at which place, and which message became which event.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{
    Verdict, Violation, ensure,
    line::{EventFields, event_of, is_same_event},
};

/// A user, folded, and the user's own name for a message.
pub type MessageKey = (String, String);
/// A room, folded, and a `seq`.
type Place = (String, u64);

/// The outcome of one sending of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing was heard yet.
    Waiting,
    /// It was acknowledged.
    Acked,
    /// It was refused: nothing happened.
    Refused,
    /// The connection broke, or the answer was `unavailable`: anything may have happened.
    Unknown,
}

#[derive(Debug)]
struct Attempt {
    room: String,
    body: String,
    outcome: Outcome,
}

#[derive(Debug, Default)]
struct Sent {
    attempts: Vec<Attempt>,
    place: Option<Place>,
    lamport: Option<u64>,
    acked: bool,
    /// Whether an answer said that it had no place before.
    first_acked: bool,
    /// The newest timestamp that any client had been shown when it was first sent.
    floor: u64,
}

impl Sent {
    /// Whether one of its sendings was refused: then later messages may have overtaken it.
    fn was_refused(&self) -> bool {
        self.attempts.iter().any(|attempt| attempt.outcome == Outcome::Refused)
    }
}

struct Placed {
    /// The event's JSON with its keys in order.
    text: String,
    lamport: u64,
    /// The user who left the room, if the event says so.
    left: Option<String>,
    /// The user who joined the room, if the event says so.
    joined: Option<String>,
}

/// An acknowledgement of a `chat`.
pub struct Acked<'a> {
    pub key: &'a MessageKey,
    pub attempt: usize,
    pub room: String,
    pub seq: u64,
    pub lamport: u64,
    pub duplicate: bool,
}

/// All events and messages of a run.
#[derive(Default)]
pub struct Places {
    events: BTreeMap<Place, Placed>,
    messages: BTreeMap<MessageKey, Sent>,
    occupants: BTreeMap<Place, MessageKey>,
    lamports: BTreeMap<u64, Place>,
    /// By log index: the first and the last timestamp of the events that the entry made.
    stored: BTreeMap<u64, (u64, u64)>,
    /// What each place holds at the end.
    finals: BTreeMap<Place, String>,
    /// Sent without a `client_msg_id`: (user, room, body).
    nameless: BTreeSet<(String, String, String)>,
    devices: BTreeMap<usize, Vec<MessageKey>>,
    given_up: BTreeSet<MessageKey>,
    shown_lamport: u64,
    shown_seq: BTreeMap<String, u64>,
    /// Public rooms that a client was told of.
    known_rooms: BTreeSet<String>,
    /// Rooms that a request may have deleted, renamed or hidden.
    doubtful_rooms: BTreeSet<String>,
    ends: BTreeMap<(usize, String), u64>,
}

impl Places {
    pub fn composed(&mut self, device: usize, key: MessageKey) {
        self.devices.entry(device).or_default().push(key);
    }

    pub fn given_up(&mut self, key: &MessageKey) {
        self.given_up.insert(key.clone());
    }

    /// A `chat` was sent; the result names this sending.
    pub fn sent(&mut self, key: &MessageKey, room: &str, body: &str) -> usize {
        let floor = self.shown_lamport;
        let sent = self.messages.entry(key.clone()).or_insert_with(|| Sent { floor, ..Sent::default() });
        sent.attempts.push(Attempt { room: room.into(), body: body.into(), outcome: Outcome::Waiting });
        sent.attempts.len() - 1
    }

    /// A `chat` was sent that names no `client_msg_id`.
    pub fn sent_nameless(&mut self, user: &str, room: &str, body: &str) {
        self.nameless.insert((user.into(), room.into(), body.into()));
    }

    pub fn outcome(&mut self, key: &MessageKey, attempt: usize, outcome: Outcome) {
        if let Some(attempt) = self.messages.get_mut(key).and_then(|sent| sent.attempts.get_mut(attempt)) {
            attempt.outcome = outcome;
        }
    }

    /// A client was told of the public room.
    pub fn know(&mut self, room: &str) {
        self.known_rooms.insert(room.to_owned());
    }

    /// A client sent a request that may end or hide the room.
    pub fn may_be_gone(&mut self, room: &str) {
        self.doubtful_rooms.insert(room.to_owned());
    }

    /// Whether there certainly is a public room of that name.
    pub fn is_known(&self, room: &str) -> bool {
        self.known_rooms.contains(room) && !self.doubtful_rooms.contains(room)
    }

    /// The newest event of `room` that any client has been shown.
    pub fn shown_seq(&self, room: &str) -> u64 {
        self.shown_seq.get(room).copied().unwrap_or(0)
    }

    /// The newest event of every room that any client has been shown.
    pub fn all_shown(&self) -> BTreeMap<String, u64> {
        self.shown_seq.clone()
    }

    /// A client has seen `event`.
    pub fn show(&mut self, event: &EventFields) {
        self.shown_lamport = self.shown_lamport.max(event.lamport);
        let shown = self.shown_seq.entry(event.room.clone()).or_default();
        *shown = (*shown).max(event.seq);
    }

    /// Whether `user` left `room` by an event above `after` and below `before`.
    pub fn left_between(&self, user: &str, room: &str, after: u64, before: u64) -> bool {
        let between = self.events.range((room.to_owned(), after + 1)..(room.to_owned(), before));
        between.into_iter().any(|(_, placed)| placed.left.as_deref() == Some(user))
    }

    /// An event was seen somewhere, by a client or on a disk. Tells whether it is new.
    pub fn learn(&mut self, value: &Value) -> Result<(EventFields, bool), Violation> {
        let event = event_of(value)?;
        let place = (event.room.clone(), event.seq);
        let text = value.to_string();
        if let Some(placed) = self.events.get(&place) {
            let is_same = placed.text == text
                || serde_json::from_str(&placed.text).is_ok_and(|placed| is_same_event(&placed, value));
            ensure!(is_same, OneOrder, "({}, {}) was {} and is {text}", event.room, event.seq, placed.text);
            return Ok((event, false));
        }
        ensure!(event.seq > 0, OneOrder, "an event has seq 0: {text}");
        self.take_lamport(event.lamport, &place)?;
        if let Some(message) = &event.message {
            let key = (event.author.clone(), message.client_msg_id.clone());
            self.settle(&key, &place, event.lamport)?;
            if value.get("edited").is_none() && value.get("deleted").is_none() {
                self.was_sent(&key, &event.room, &message.body)?;
            }
        } else if let Some(key) = self.occupants.get(&place) {
            ensure!(false, OneOrder, "{key:?} was acknowledged at {place:?}, where {text} stands");
        }
        let left = event.gone.clone();
        let joined = (event.kind == "joined").then(|| event.author.clone());
        self.events.insert(place, Placed { text, lamport: event.lamport, left, joined });
        Ok((event, true))
    }

    /// A `chat` was acknowledged.
    pub fn acked(&mut self, acked: &Acked<'_>) -> Verdict {
        let Acked { key, attempt, ref room, seq, lamport, duplicate } = *acked;
        let place = (room.clone(), seq);
        if let Some(placed) = self.events.get(&place) {
            ensure!(
                self.occupants.get(&place) == Some(key) && placed.lamport == lamport,
                OneOrder,
                "{key:?} is acknowledged at {place:?}, where {} stands",
                placed.text
            );
        } else {
            self.take_lamport(lamport, &place)?;
        }
        self.settle(key, &place, lamport)?;
        self.shown_lamport = self.shown_lamport.max(lamport);
        let shown = self.shown_seq.entry(room.clone()).or_default();
        *shown = (*shown).max(seq);
        let Some(sent) = self.messages.get_mut(key) else { return Ok(()) };
        ensure!(
            duplicate || !sent.first_acked,
            Once,
            "{key:?} is acknowledged as new at {place:?} for the second time"
        );
        sent.acked = true;
        sent.first_acked |= !duplicate;
        let attempt = &mut sent.attempts[attempt];
        ensure!(
            attempt.room == *room,
            OneOrder,
            "{key:?} was sent to {} and is acknowledged in {room}",
            attempt.room
        );
        attempt.outcome = Outcome::Acked;
        Ok(())
    }

    /// The entry at `index` of the log made the event with this timestamp.
    pub fn stored(&mut self, index: u64, lamport: u64) -> Verdict {
        let before = self.stored.range(..index).next_back().map(|(_, (_, last))| *last);
        let after = self.stored.range(index + 1..).next().map(|(_, (first, _))| *first);
        let same = self.stored.entry(index).or_insert((lamport, lamport));
        *same = (same.0.min(lamport), same.1.max(lamport));
        ensure!(
            before.is_none_or(|before| before < lamport) && after.is_none_or(|after| lamport < after),
            OneOrder,
            "log entry {index} got timestamp {lamport}; its neighbours have {before:?} and {after:?}"
        );
        Ok(())
    }

    /// Every server must hold the same at the end.
    pub fn ends_as(&mut self, server: usize, value: &Value) -> Verdict {
        let event = event_of(value)?;
        let text = value.to_string();
        let first = self.finals.entry((event.room, event.seq)).or_insert_with(|| text.clone());
        ensure!(*first == text, OneOrder, "at the end server {server} holds {text}, and another {first}");
        Ok(())
    }

    /// `server` holds `room` up to `last_seq`, at the end.
    pub fn ends(&mut self, server: usize, room: &str, last_seq: u64) -> Verdict {
        self.ends.insert((server, room.into()), last_seq);
        let known = self.events.range((room.to_owned(), 0)..=(room.to_owned(), u64::MAX)).next_back();
        if let Some(((_, seq), placed)) = known {
            ensure!(
                *seq <= last_seq,
                Durable,
                "server {server} ends {room} at {last_seq}; seen was {}",
                placed.text
            );
        }
        Ok(())
    }

    pub fn finish(&self) -> Verdict {
        for (key, sent) in &self.messages {
            self.message_kept(key, sent)?;
        }
        for (device, keys) in &self.devices {
            self.device_order(*device, keys)?;
        }
        Ok(())
    }

    fn message_kept(&self, key: &MessageKey, sent: &Sent) -> Verdict {
        if let (Some(place), true) = (&sent.place, sent.acked) {
            ensure!(
                self.events.contains_key(place),
                Durable,
                "{key:?} was acknowledged at {place:?} and is nowhere at the end"
            );
            for ((server, _), last_seq) in self.ends.iter().filter(|((_, room), _)| *room == place.0) {
                ensure!(
                    place.1 <= *last_seq,
                    Durable,
                    "{key:?} was acknowledged at {place:?}; server {server} ends at {last_seq}"
                );
            }
        }
        if sent.place.is_some() {
            ensure!(
                sent.attempts.iter().any(|attempt| attempt.outcome != Outcome::Refused),
                Refused,
                "{key:?} was refused each time it was sent, and stands at {:?}",
                sent.place
            );
        }
        Ok(())
    }

    fn device_order(&self, device: usize, keys: &[MessageKey]) -> Verdict {
        let mut last: Option<(u64, &MessageKey)> = None;
        for key in keys.iter().filter(|key| !self.given_up.contains(*key)) {
            let Some(sent) = self.messages.get(key) else {
                ensure!(false, Alive, "device {device} composed {key:?} and never sent it");
                continue;
            };
            ensure!(sent.acked, Alive, "device {device} composed {key:?}; it was never acknowledged");
            let lamport = sent.lamport.unwrap_or(0);
            if let Some((earlier, earlier_key)) = last {
                ensure!(
                    earlier < lamport,
                    SenderOrder,
                    "device {device} composed {earlier_key:?} before {key:?}; their timestamps are {earlier} and {lamport}"
                );
            }
            if !sent.was_refused() && !self.may_have_been_refused(key, sent) {
                last = Some((lamport, key));
            }
        }
        Ok(())
    }

    /// Whether a sending may have been refused without the device hearing of it: its user came back to the
    /// room (after another of the user's devices had left it) between the first sending and the place.
    fn may_have_been_refused(&self, (user, _): &MessageKey, sent: &Sent) -> bool {
        let (Some((room, seq)), true) = (&sent.place, sent.attempts.len() > 1) else { return false };
        let before = self.events.range((room.clone(), 0)..(room.clone(), *seq)).rev();
        before
            .take_while(|(_, placed)| placed.lamport > sent.floor)
            .any(|(_, placed)| placed.joined.as_ref() == Some(user))
    }

    /// A timestamp belongs to one place, and within a room they increase with `seq`.
    fn take_lamport(&mut self, lamport: u64, place: &Place) -> Verdict {
        let (room, seq) = place;
        if let Some(other) = self.lamports.insert(lamport, place.clone()) {
            ensure!(other == *place, OneOrder, "timestamp {lamport} belongs to {other:?} and to {place:?}");
        }
        let below = self.events.range((room.clone(), 0)..place.clone()).next_back();
        let above = self.events.range((room.clone(), seq + 1)..=(room.clone(), u64::MAX)).next();
        ensure!(
            below.is_none_or(|(_, below)| below.lamport < lamport)
                && above.is_none_or(|(_, above)| lamport < above.lamport),
            OneOrder,
            "{place:?} has timestamp {lamport}; its neighbours have {:?} and {:?}",
            below.map(|(place, below)| (place.1, below.lamport)),
            above.map(|(place, above)| (place.1, above.lamport))
        );
        Ok(())
    }

    /// `key` is at `place`, for ever and nowhere else.
    fn settle(&mut self, key: &MessageKey, place: &Place, lamport: u64) -> Verdict {
        if let Some(occupant) = self.occupants.insert(place.clone(), key.clone()) {
            ensure!(occupant == *key, OneOrder, "{place:?} is the place of {occupant:?} and of {key:?}");
        }
        let Some(sent) = self.messages.get_mut(key) else { return Ok(()) };
        if let Some(other) = &sent.place {
            ensure!(other == place, Once, "{key:?} stands at {other:?} and at {place:?}");
        }
        ensure!(
            lamport > sent.floor,
            RealTime,
            "{key:?} got timestamp {lamport}, though {} had been shown before it was first sent",
            sent.floor
        );
        sent.place = Some(place.clone());
        sent.lamport = Some(lamport);
        Ok(())
    }

    /// Checks that the user has sent this message.
    fn was_sent(&self, key: &MessageKey, room: &str, body: &str) -> Verdict {
        if let Some(sent) = self.messages.get(key) {
            let all_refused = sent.attempts.iter().all(|attempt| attempt.outcome == Outcome::Refused);
            ensure!(!all_refused, Refused, "{key:?} was refused each time it was sent, and happened");
        }
        let named = self.messages.get(key).is_some_and(|sent| {
            sent.attempts.iter().any(|attempt| attempt.room == room && attempt.body == body)
        });
        let nameless = || self.nameless.contains(&(key.0.clone(), room.into(), body.into()));
        ensure!(named || nameless(), OneOrder, "no client sent {key:?} with body {body:?} to {room}");
        Ok(())
    }
}
