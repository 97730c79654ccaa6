//! What a line from a server changes in a [`ClientState`].

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::protocol::{
    Code, EventKind, Refusal, RoomKey, RoomName, ServerList, ServerMessage, UserName,
    envelope::{Envelope, RequestId},
    server_message::Content,
};

use super::{
    change::Outcome,
    link::Pending,
    outbox::{Message, OutboxChange},
    own::Target,
    replies::reply,
    rooms::{Arrival, Fit, Joined, Phase, pushed},
    state::ClientState,
    update::{Reply, Update},
};

impl ClientState {
    /// Takes in one line, without its line end.
    pub(super) fn received(&mut self, line: &[u8]) {
        let mut message = match ServerMessage::parse(line) {
            Ok(message) => message,
            Err(reason) => return self.unreadable(line, &reason),
        };
        let pending = self.heard(message.lamport_timestamp, number(message.request_id.as_ref()));
        if let Some(arrival) = pushed(&mut message) {
            let gone = self.is_sent_away(&arrival);
            self.arrived(arrival, false);
            if let Some(key) = gone {
                self.sent_away(&key);
            }
            return;
        }
        let request_id = number(message.request_id.as_ref());
        match (message.content, pending, request_id) {
            (Content::Redirect { server_id, host, tcp_port, reason }, _, _) => {
                self.redirected(&server_id, host, tcp_port, &reason);
            }
            (content, Some(pending), Some(request_id)) => self.answered(request_id, pending, content),
            (Content::ServerList(list), None, None) => self.listed(list),
            (Content::Nack(refusal), _, _) => self.refused_line(refusal),
            (Content::Other { msg_type, data }, None, None) => self.told_by_the_way(&msg_type, &data),
            // Pushes of later versions, and answers that nobody waits for.
            _ => {}
        }
    }

    /// A line that [`ServerMessage`] does not know may come from a newer server. It still counts as an
    /// event with a place, or as the answer to its request: else the client would wait for ever.
    fn unreadable(&mut self, line: &[u8], reason: &str) {
        let Ok(envelope) = Envelope::parse(line) else {
            self.heard(0, None);
            return;
        };
        let request_id = number(envelope.request_id.as_ref());
        let pending = self.heard(envelope.lamport_timestamp, request_id);
        if let (Some(pending), Some(request_id)) = (pending, request_id) {
            let refusal = unknown_refusal(&envelope, reason);
            self.answered(request_id, pending, Content::Nack(refusal));
        } else if let Some(arrival) = Arrival::salvage(line, reason) {
            self.arrived(arrival, false);
        }
    }

    fn answered(&mut self, request_id: i64, pending: Pending, content: Content) {
        if let Content::Nack(refusal) = content {
            return self.refused(request_id, pending, refusal);
        }
        match (pending, content) {
            (Pending::Login(step), Content::Ack(data)) => self.login_acked(step, &data),
            (Pending::Directory, Content::ServerList(list)) => self.listed(list),
            (Pending::Join(key), Content::Ack(data)) => match Joined::read(data) {
                Ok(joined) => self.joined(&key, joined),
                Err(reason) => self.leave_server(&reason, false),
            },
            (Pending::Leave(key), Content::Ack(_)) => self.left(&key),
            (Pending::Chat, Content::Ack(data)) => self.acknowledged(request_id, &data),
            (Pending::Question(tag), content) => self.replied(tag, content),
            (Pending::Change(tag), Content::Ack(data)) => self.changed(tag, data),
            (Pending::Upload(tag), Content::Ack(data)) => self.upload_acked(tag, &data),
            (Pending::Download(tag), Content::Other { data, .. }) => self.piece_came(tag, data),
            // Pongs; and an answer of the wrong kind is nothing to act on: the request counts as answered
            // by a server that does not know better.
            _ => {}
        }
    }

    fn refused(&mut self, request_id: i64, pending: Pending, refusal: Refusal) {
        if refusal.code == Code::Unavailable {
            return self.unavailable();
        }
        let for_load = refusal.code.retryable();
        if refusal.code == Code::NotAuthenticated && !matches!(pending, Pending::Login(_)) {
            // The session has ended, or the guest's name was registered. What was asked has not happened.
            if let Pending::Change(tag) = pending
                && self.take_change(tag).is_some()
            {
                self.tell_outcome(tag, Outcome::Refused(refusal.clone()));
            }
            return self.log_out(refusal);
        }
        match pending {
            Pending::Login(step) => self.login_refused(step, refusal),
            Pending::Directory | Pending::Ping | Pending::Aside => {}
            Pending::Change(tag) if for_load => {
                for doing in self.changes.iter_mut().filter(|doing| doing.tag == tag) {
                    doing.asked = false;
                }
                self.hold(&refusal);
            }
            Pending::Change(tag) => {
                if self.take_change(tag).is_some() {
                    self.tell_outcome(tag, Outcome::Refused(refusal));
                }
            }
            Pending::Upload(tag) => self.upload_refused(tag, &refusal),
            Pending::Download(tag) => self.download_refused(tag, &refusal),
            Pending::Join(key) | Pending::Leave(key) if for_load => {
                if let Some(room) = self.rooms.get_mut(&key) {
                    room.phase = Phase::Absent;
                }
                self.rooms_changed = true;
                self.hold(&refusal);
            }
            Pending::Join(key) | Pending::Leave(key) => self.room_refused(&key, refusal),
            Pending::Chat if for_load => {
                self.outbox.refused_for_load(request_id);
                self.hold(&refusal);
            }
            Pending::Chat => self.message_refused(request_id, refusal),
            Pending::Question(tag) if for_load => {
                self.ask_again(tag);
                self.hold(&refusal);
            }
            Pending::Question(tag) => {
                if self.take_question(tag).is_some() {
                    self.tell(Update::Answered { tag, reply: Reply::Refused(refusal) });
                }
            }
        }
    }

    /// A refusal of something that the server could not read far enough to say what it was.
    ///
    /// A line over the server's limit is refused so and the connection closed. Sent again and again it would
    /// hold up everything behind it. Where it is not clear which one it was, the next connection asks for one
    /// thing after the other, so that it is on its way alone.
    fn refused_line(&mut self, refusal: Refusal) {
        if refusal.code != Code::TooLarge {
            return;
        }
        match self.take_suspect() {
            None => self.careful = true,
            Some((_, Pending::Upload(tag))) => {
                self.fail_transfer(tag, "its pieces are longer than what the servers take".into());
            }
            Some((request_id, pending)) => self.refused(request_id, pending, refusal),
        }
    }

    fn acknowledged(&mut self, request_id: i64, data: &Map<String, Value>) {
        self.settle();
        let Some(message) = self.outbox.answered(request_id) else { return };
        let seq = data.get("seq").and_then(Value::as_u64).unwrap_or(0);
        self.outbox.placed(&message.client_msg_id, seq);
        self.own.placed(&message.room, &message.client_msg_id, seq);
        self.done(&message, Some(seq));
        let duplicate = data.get("duplicate").and_then(Value::as_bool).unwrap_or(false);
        self.tell(Update::Acked { message, seq, duplicate });
    }

    fn message_refused(&mut self, request_id: i64, refusal: Refusal) {
        let Some(message) = self.outbox.answered(request_id) else { return };
        self.dropped(message, refusal, false);
    }

    /// A message has left the outbox without a place, and with it go those that answer it.
    fn dropped(&mut self, message: Message, refusal: Refusal, uncertain: bool) {
        let mut gone = vec![(message, refusal, uncertain)];
        while let Some((message, refusal, uncertain)) = gone.pop() {
            let answers = self.outbox.take(|other| other.answers(&message.client_msg_id));
            gone.extend(answers.into_iter().map(|(message, uncertain)| (message, unanswerable(), uncertain)));
            self.own.remove(&message.room, &message.client_msg_id);
            self.done(&message, None);
            self.tell(Update::Refused { message, refusal, uncertain });
        }
    }

    /// Gives up what answers a message of an earlier run that is not there any more.
    pub(super) fn refuse_orphans(&mut self) {
        let known: BTreeSet<String> =
            self.outbox.messages().map(|message| message.client_msg_id.clone()).collect();
        let is_orphan = |message: &Message| match &message.reply_to {
            Some(Target::Own(id)) => !known.contains(id),
            _ => false,
        };
        for (message, uncertain) in self.outbox.take(is_orphan) {
            self.dropped(message, unanswerable(), uncertain);
        }
    }

    /// A message has left the outbox.
    fn done(&mut self, message: &Message, seq: Option<u64>) {
        self.persist(OutboxChange::Removed { client_msg_id: message.client_msg_id.clone(), seq });
        // A leave may have waited for it.
        let room = self.rooms.get(&message.room.key());
        self.rooms_changed |= room.is_some_and(|room| !room.wanted);
    }

    fn changed(&mut self, tag: u64, data: Map<String, Value>) {
        let Some(change) = self.take_change(tag) else { return };
        if change.away().is_none() {
            self.settle();
        }
        self.tell_outcome(tag, Outcome::Done(data));
        if change.is_last() {
            self.end_session(Refusal::new(Code::NotAuthenticated, "you have logged out"), true);
        }
    }

    /// Something was pushed that is no event of a room.
    fn told_by_the_way(&mut self, msg_type: &str, data: &Map<String, Value>) {
        let text = |field: &str| data.get(field).and_then(Value::as_str).unwrap_or_default();
        let user = UserName::new(text("username"));
        match (msg_type, user, RoomName::new(text("room"))) {
            ("session_ended", ..) => {
                self.log_out(Refusal::new(Code::NotAuthenticated, text("reason")));
            }
            ("typing", Some(username), Some(room)) => self.tell(Update::Typing { room, username }),
            ("presence", Some(username), _) => {
                self.tell(Update::Presence { username, state: text("state").to_owned() });
            }
            ("invited" | "uninvited", _, Some(room)) => {
                if let Some(by) = UserName::new(text("by")) {
                    self.tell(Update::Invitation { room, by, invited: msg_type == "invited" });
                }
            }
            // Pushes of later versions.
            _ => {}
        }
    }

    fn listed(&mut self, list: ServerList) {
        if let Some(address) = self.link().map(|link| link.address.clone()) {
            self.directory.learn(&list, &address);
        }
        self.tell(Update::Servers(list));
    }
}

/// Rooms and their events.
impl ClientState {
    fn joined(&mut self, key: &RoomKey, joined: Joined) {
        let Some(room) = self.rooms.get_mut(key) else { return };
        let Joined { room: name, created, topic, role, first_seq, last_seq, events } = joined;
        room.name = name.clone();
        let resumed = room.cursor.is_some();
        if room.cursor.is_some_and(|cursor| last_seq < cursor) {
            room.cursor = None;
            room.phase = Phase::Absent;
            self.rooms_changed = true;
            return self.tell(Update::RoomRestarted { room: name });
        }
        // What the room has forgotten since is gone for good, and no gap.
        room.cursor = room.cursor.map(|cursor| cursor.max(first_seq.saturating_sub(1)));
        room.phase = Phase::Live;
        (room.private, room.password) = (false, None);
        if !resumed && events.is_empty() {
            room.cursor = Some(last_seq);
        }
        if !room.wanted {
            self.rooms_changed = true;
        }
        self.tell(Update::Joined { room: name, created, topic, role, last_seq, resumed });
        for arrival in events {
            self.arrived(arrival, !resumed);
        }
        if self.is_idle() {
            // There was nothing but joins to do, so their success is what was waited for.
            self.back_in_touch();
        }
    }

    /// An event of a room, pushed or in the answer to a join.
    fn arrived(&mut self, arrival: Arrival, past: bool) {
        let (name, seq) = arrival.place();
        let key = name.key();
        self.begin_direct(&name.clone(), seq);
        // Without an answer to the join it is not known what the event follows; the answer covers it.
        let Some(room) = self.rooms.get_mut(&key).filter(|room| room.phase != Phase::Absent) else { return };
        if room.phase == Phase::Joining {
            return;
        }
        match room.place(seq) {
            Fit::Repeat => {}
            Fit::Gap => self.gap(&key),
            Fit::Next => {
                room.gaps = 0;
                self.tell(match arrival {
                    Arrival::Event(event) => Update::Event { event, past },
                    Arrival::Unreadable { room, seq, reason } => Update::Unreadable { room, seq, reason },
                });
            }
        }
    }

    /// Somebody speaks in a conversation of two that was not opened here: it opens by itself, there.
    fn begin_direct(&mut self, name: &RoomName, seq: u64) {
        if name.direct_pair().is_some() && self.rooms.get(&name.key()).is_none() {
            let room = self.rooms.want(name, 0);
            room.cursor = Some(seq.saturating_sub(1));
            self.rooms_changed = true;
        }
    }

    /// The room that a pushed event sends the user out of.
    fn is_sent_away(&self, arrival: &Arrival) -> Option<RoomKey> {
        let Arrival::Event(event) = arrival else { return None };
        match &event.kind {
            EventKind::Kicked { username } | EventKind::Banned { username, .. } => {
                (username.key() == self.config.user.key()).then(|| event.room.key())
            }
            _ => None,
        }
    }

    /// The user was sent out of a room: it is not joined again by itself.
    fn sent_away(&mut self, key: &RoomKey) {
        self.room_refused(key, Refusal::new(Code::Forbidden, "you were sent out of the room"));
    }

    fn left(&mut self, key: &RoomKey) {
        self.settle();
        let Some(room) = self.rooms.get_mut(key) else { return };
        let name = room.name.clone();
        if room.wanted {
            // Wanted again meanwhile.
            (room.phase, room.cursor) = (Phase::Absent, None);
            self.rooms_changed = true;
        } else {
            self.rooms.remove(key);
        }
        self.tell(Update::Left { room: name });
    }

    fn room_refused(&mut self, key: &RoomKey, refusal: Refusal) {
        let Some(room) = self.rooms.remove(key) else { return };
        self.tell(Update::RoomRefused { room: room.name, refusal: refusal.clone() });
        self.fail_uploads_to(key, &refusal);
        for (message, uncertain) in self.outbox.take(|message| message.room.key() == *key) {
            self.dropped(message, refusal.clone(), uncertain);
        }
    }

    fn replied(&mut self, tag: u64, content: Content) {
        let Some(question) = self.take_question(tag) else { return };
        self.back_in_touch();
        if let Content::ServerList(list) = &content {
            self.listed(list.clone());
        }
        let reply = reply(&question, content).unwrap_or_else(|reason| {
            Reply::Refused(Refusal::bad_request(format!("the answer cannot be read: {reason}")))
        });
        self.tell(Update::Answered { tag, reply });
    }
}

/// For a message that cannot be sent because the one that it answers was not.
fn unanswerable() -> Refusal {
    Refusal::new(Code::NotFound, "the message that it answers was not sent")
}

/// What to make of an answer that cannot be read: a code that is not known yet is taken for the kind of
/// refusal that its `retryable` says.
fn unknown_refusal(envelope: &Envelope, unreadable: &str) -> Refusal {
    let text = |field: &str| envelope.data.get(field).and_then(Value::as_str);
    let retryable = envelope.data.get("retryable").and_then(Value::as_bool).unwrap_or(false);
    let code = if retryable { Code::Overloaded } else { Code::BadRequest };
    let reason = text("reason").unwrap_or(unreadable);
    let mut refusal =
        Refusal::new(code, format!("{}: {reason}", text("code").unwrap_or("unreadable answer")));
    refusal.retry_after_ms = envelope.data.get("retry_after_ms").and_then(Value::as_u64);
    refusal
}

fn number(request_id: Option<&RequestId>) -> Option<i64> {
    match request_id {
        Some(RequestId::Number(number)) => Some(*number),
        _ => None,
    }
}
