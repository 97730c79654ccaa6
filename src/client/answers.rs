//! Applies the lines from servers to a [`ClientState`].

use std::collections::BTreeSet;

use serde::Deserialize;

use crate::{
    json::{self, Heard, ServerLine, Unreadable},
    protocol::{
        Answer, AnswerTo, Code, EventKind, JoinAnswer, Push, Refusal, RoomKey, RoomName, ServerList,
        answer::{
            Either, Invited, PasswordChanged, PresenceChange, ReadElsewhere, RoomDeleted, SentAnswer,
            SessionEnded, TypingShown, Uninvited,
        },
        envelope::RequestId,
        object::Text,
    },
};

use super::{
    ask::Outcome,
    io::Output,
    link::Pending,
    outbox::{Message, OutboxChange},
    own::Target,
    rooms::{Arrival, Fit, Phase, arrivals},
    state::{Asked, ClientState, Phase as StatePhase},
    update::Update,
};

impl ClientState {
    /// Takes in one line, without its line end.
    pub(super) fn received(&mut self, line: &[u8]) {
        let ServerLine { lamport_timestamp, heard, .. } = match json::read_server_line(line) {
            Ok(line) => line,
            Err(unreadable) => return self.unreadable(unreadable),
        };
        match heard {
            Heard::Answer(to, answer) => {
                let request_id = number(&to);
                match (answer, self.heard(lamport_timestamp, request_id), request_id) {
                    (Answer::Redirect(redirect), ..) => self.redirected(redirect),
                    (answer, Some(pending), Some(request_id)) => self.answered(request_id, pending, answer),
                    (Answer::Nack(refusal), ..) => self.refused_line(refusal),
                    // Nothing waits for it.
                    _ => {}
                }
            }
            Heard::Push(push) => {
                self.heard(lamport_timestamp, None);
                self.pushed(push);
            }
            Heard::Event(event) => {
                self.heard(lamport_timestamp, None);
                self.happened(Arrival::Event(event));
            }
            // An answer of a later version still answers its request: else the client would wait for ever.
            Heard::Unknown(to) => {
                let request_id = number(&to);
                if let (Some(pending), Some(request_id)) =
                    (self.heard(lamport_timestamp, request_id), request_id)
                {
                    let refusal = Refusal::bad_request("the answer is one of a later version");
                    self.answered(request_id, pending, refusal.into());
                }
            }
        }
    }

    /// A line that cannot be read may come from a newer server. It still counts as an event with a place, or
    /// as the answer to its request: else the client would wait for ever.
    fn unreadable(&mut self, unreadable: Unreadable) {
        let request_id = number(&unreadable.to);
        let pending = self.heard(unreadable.lamport_timestamp, request_id);
        if let (Some(pending), Some(request_id)) = (pending, request_id) {
            self.answered(request_id, pending, unknown_refusal(&unreadable).into());
        } else if request_id.is_none()
            && matches!(unreadable.msg_type.as_str(), "chat" | "room_event")
            && let Some(data) = &unreadable.data
            && let Ok(arrival) = Arrival::read(data)
        {
            self.arrived(arrival, false);
        }
    }

    /// An event was pushed.
    fn happened(&mut self, arrival: Arrival) {
        let gone = self.is_sent_away(&arrival);
        self.arrived(arrival, false);
        if let Some(key) = gone {
            self.sent_away(&key);
        }
    }

    fn answered(&mut self, request_id: i64, pending: Pending, answer: Answer) {
        match (pending, answer) {
            (pending, Answer::Nack(refusal)) => self.refused(request_id, pending, refusal),
            (Pending::Login(step), answer) => self.login_acked(step, answer),
            (Pending::Directory, Answer::ServerList(list)) => self.listed(list),
            (Pending::Join(key), Answer::Joined(answer)) => match arrivals(&answer) {
                Ok(events) => self.joined(&key, answer, events),
                Err(error) => self.leave_server(&error.to_string(), false),
            },
            (Pending::Leave(key), Answer::Left(_)) => self.left(&key),
            (Pending::Chat, Answer::Sent(sent)) => self.acknowledged(request_id, &sent),
            (Pending::Ask(tag), answer) => self.replied(tag, answer),
            (Pending::Upload(tag), Answer::Receiving(answer)) => self.upload_acked(tag, Either::That(answer)),
            (Pending::Upload(tag), Answer::File(answer)) => self.upload_acked(tag, Either::This(answer)),
            (Pending::Download(tag), Answer::FilePiece(piece)) => self.piece_came(tag, piece),
            // Pongs need nothing. An answer of the wrong kind is ignored: the request counts as answered.
            _ => {}
        }
    }

    fn refused(&mut self, request_id: i64, pending: Pending, refusal: Refusal) {
        if refusal.code == Code::Unavailable {
            return self.unavailable(&refusal);
        }
        let for_load = refusal.code.retryable();
        if refusal.code == Code::NotAuthenticated && !matches!(pending, Pending::Login(_)) {
            // The session has ended, or the guest's name was registered. The request was not carried out.
            if let Pending::Ask(tag) = pending
                && let Some(ask) = self.take_asked(tag)
            {
                self.tell_outcome(tag, ask, Outcome::Refused(refusal.clone()));
            }
            return self.log_out(refusal);
        }
        match pending {
            Pending::Login(step) => self.login_refused(step, refusal),
            Pending::Directory | Pending::Ping | Pending::Aside => {}
            Pending::Ask(tag) if for_load => {
                self.ask_again(tag);
                self.hold(&refusal);
            }
            Pending::Ask(tag) => {
                if let Some(ask) = self.take_asked(tag) {
                    self.tell_outcome(tag, ask, Outcome::Refused(refusal));
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
        }
    }

    /// A refusal that does not say which request it answers, because the server could not read it.
    ///
    /// A line over the server's limit is refused so, and the connection closed. Sent again and again, it
    /// would block everything behind it. If it is not clear which line it was, the next connection sends one
    /// request after the other, so that the long line is on its way alone.
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

    fn acknowledged(&mut self, request_id: i64, sent: &SentAnswer) {
        self.settle();
        let Some(message) = self.outbox.answered(request_id) else { return };
        let SentAnswer { seq, duplicate, .. } = *sent;
        self.outbox.placed(&message.client_msg_id, seq);
        self.own.placed(&message.room, &message.client_msg_id, seq);
        self.done(&message, Some(seq));
        self.tell(Update::Acked { message, seq, duplicate });
    }

    pub(super) fn message_refused(&mut self, request_id: i64, refusal: Refusal) {
        let Some(message) = self.outbox.answered(request_id) else { return };
        self.dropped(message, refusal, false);
    }

    /// A message has left the outbox without a place; the messages that answer it are dropped with it.
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

    /// Refuses messages that answer a message of an earlier run that is gone.
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

    /// Takes in a push that is no event of a room.
    fn pushed(&mut self, push: Push) {
        match push {
            Push::ServerList(list) => self.listed(list),
            Push::Redirect(redirect) => self.redirected(redirect),
            Push::SessionEnded(SessionEnded { reason }) => {
                self.log_out(Refusal::new(Code::NotAuthenticated, reason));
            }
            Push::Typing(TypingShown { room, username, .. }) => self.tell(Update::Typing { room, username }),
            Push::Presence(PresenceChange { state, username }) => {
                self.tell(Update::Presence { username, state });
            }
            Push::Invited(Invited { by, room, .. }) => {
                self.tell(Update::Invitation { room, by, invited: true })
            }
            Push::Uninvited(Uninvited { by, room, .. }) => {
                self.tell(Update::Invitation { room, by, invited: false });
            }
            Push::Read(ReadElsewhere { mentions, room, seq, unread_messages }) => {
                self.read_elsewhere(&room.key(), seq);
                self.tell(Update::ReadElsewhere { room, seq, unread: unread_messages, mentions });
            }
            Push::RoomDeleted(RoomDeleted { by, room, room_id }) => {
                let reason = format!("{by} deleted the room");
                let known = self.rooms.get(&room.key()).and_then(|room| room.id);
                // Another room may have had the name before, or have it now.
                if known.is_none() || room_id.is_none() || known == room_id {
                    self.room_refused(&room.key(), Refusal::new(Code::NotFound, reason));
                }
            }
        }
    }

    fn listed(&mut self, list: ServerList) {
        if let Some((address, took_ms)) = self.link().map(|link| (link.address.clone(), link.took_ms)) {
            self.directory.learn(&list, &address);
            self.directory.answers_in(&address, took_ms);
        }
        self.live_in(list.epoch);
        self.tell(Update::Servers(list));
    }

    /// The cluster's data is in the life `epoch`. If it was in another one before, as after a restore from a
    /// backup, a known place may now be another message's, so none of them is used again.
    pub(super) fn live_in(&mut self, epoch: u64) {
        if epoch == 0 || epoch == self.epoch {
            return;
        }
        let before = std::mem::replace(&mut self.epoch, epoch);
        self.persist(OutboxChange::Epoch(epoch));
        if before == 0 {
            return;
        }
        self.rooms.begin_afresh();
        self.rooms_changed = true;
        self.outbox.forget_places();
        self.own.forget_places();
        self.unsaid_reads.clear();
        for at in (0..self.asked.len()).rev() {
            if !self.asked[at].ask.names_place() || self.asked[at].sent {
                continue;
            }
            if let Some(Asked { tag, ask, .. }) = self.asked.remove(at) {
                let reason = "the servers were restored from a backup; look which message it is now";
                self.tell_outcome(tag, ask, Outcome::Refused(Refusal::new(Code::NotFound, reason)));
            }
        }
        self.tell(Update::Restored);
    }
}

/// Rooms and their events.
impl ClientState {
    fn joined(&mut self, key: &RoomKey, answer: JoinAnswer, events: Vec<Arrival>) {
        if self.rooms.get(key).is_none() {
            return;
        }
        self.rename(key, &answer.room);
        let key = &answer.room.key();
        let Some(room) = self.rooms.get_mut(key) else { return };
        if let Some(room_id) = answer.room_id {
            room.id = Some(room_id);
            let change = self.outbox.number(&answer.room, room_id);
            self.outputs.extend(change.map(Output::Persist));
        }
        let Some(room) = self.rooms.get_mut(key) else { return };
        let JoinAnswer { room: name, created, topic, role, first_seq, last_seq, pins, .. } = answer;
        room.name = name.clone();
        let resumed = room.cursor.is_some();
        if room.cursor.is_some_and(|cursor| last_seq < cursor) {
            room.cursor = None;
            room.phase = Phase::Absent;
            self.rooms_changed = true;
            return self.tell(Update::RoomRestarted { room: name });
        }
        // What the room has forgotten since is gone for good; it is no gap.
        room.cursor = room.cursor.map(|cursor| cursor.max(first_seq.saturating_sub(1)));
        room.phase = Phase::Live;
        room.named_at = last_seq;
        (room.private, room.password) = (false, None);
        if !resumed && events.is_empty() {
            room.cursor = Some(last_seq);
        }
        if !room.wanted {
            self.rooms_changed = true;
        }
        self.tell(Update::Joined { room: name, created, topic, role, last_seq, pins, resumed });
        for arrival in events {
            self.arrived(arrival, !resumed);
        }
        if self.is_idle() {
            // There was nothing but joins to do, so their success ends the search.
            self.back_in_touch();
        }
    }

    /// An event of a room, pushed or in the answer to a join.
    fn arrived(&mut self, arrival: Arrival, past: bool) {
        let (name, seq) = arrival.place();
        let key = name.key();
        self.begin_direct(&name.clone(), seq);
        // Before the answer to the join it is not known what the event follows; the answer will have it.
        let Some(room) = self.rooms.get_mut(&key).filter(|room| room.phase != Phase::Absent) else { return };
        if room.phase == Phase::Joining {
            return;
        }
        match room.place(seq) {
            Fit::Repeat => {}
            Fit::Gap => self.gap(&key),
            Fit::Next => {
                room.gaps = 0;
                let new_name = match &arrival {
                    Arrival::Event(event) => match &event.kind {
                        EventKind::Renamed { name, .. } if seq > room.named_at => Some(name.clone()),
                        _ => None,
                    },
                    Arrival::Unreadable { .. } => None,
                };
                self.tell(match arrival {
                    Arrival::Event(event) => Update::Event { event, past },
                    Arrival::Unreadable { room, seq, reason } => Update::Unreadable { room, seq, reason },
                });
                if let Some(name) = new_name {
                    self.rename(&key, &name);
                }
            }
        }
    }

    /// The room under `key` is called so from now on, if it was not: told by its event, or by the answer to
    /// the join if that came while there was no connection.
    fn rename(&mut self, key: &RoomKey, name: &RoomName) {
        let Some(renamed) = self.rooms.rename(key, name) else { return };
        let change = self.outbox.rename(&renamed);
        self.outputs.extend(change.map(Output::Persist));
        self.own.rename(&renamed);
        renamed.move_in(&mut self.unsaid_reads);
        self.asked.iter_mut().for_each(|asked| asked.ask.rename(&renamed));
        self.uploads.iter_mut().for_each(|upload| upload.sending.follow(&renamed));
        if let StatePhase::Linked(link) = &mut self.phase {
            link.rename(&renamed);
        }
        self.rooms_changed = true;
        self.tell(Update::Renamed(renamed));
    }

    /// A message came in a direct conversation that is not open here: it opens by itself, at that message.
    fn begin_direct(&mut self, name: &RoomName, seq: u64) {
        if name.direct_pair().is_some() && self.rooms.get(&name.key()).is_none() {
            let room = self.rooms.want(name, 0);
            room.cursor = Some(seq.saturating_sub(1));
            self.rooms_changed = true;
        }
    }

    /// The room from which a pushed event removes the user.
    fn is_sent_away(&self, arrival: &Arrival) -> Option<RoomKey> {
        let Arrival::Event(event) = arrival else { return None };
        match &event.kind {
            EventKind::Kicked { username } | EventKind::Banned { username, .. } => {
                (username.key() == self.config.user.key()).then(|| event.room.key())
            }
            _ => None,
        }
    }

    /// The user was removed from a room: the client does not join it again by itself.
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
        self.tell(Update::RoomRefused { room: room.name.clone(), refusal: refusal.clone() });
        self.fail_uploads_to(key, &refusal);
        let is_for = |message: &Message| {
            let is_other = message.room_id.is_some() && room.id.is_some() && message.room_id != room.id;
            message.room.key() == *key && !is_other
        };
        for (message, uncertain) in self.outbox.take(is_for) {
            self.dropped(message, refusal.clone(), uncertain);
        }
    }

    fn replied(&mut self, tag: u64, answer: Answer) {
        let Some(ask) = self.take_asked(tag) else { return };
        // Presence needs no majority.
        if ask.away().is_none() {
            if ask.is_write() { self.settle() } else { self.back_in_touch() }
        }
        if let Answer::ServerList(list) = &answer {
            self.listed(list.clone());
        }
        if let Answer::PasswordChanged(PasswordChanged { token, .. }) = &answer
            && let Some(token) = self.access.succeeded(Some(token.expose()))
        {
            self.keep_token(token);
        }
        let is_last = ask.is_last();
        self.tell_outcome(tag, ask, Outcome::Done(answer));
        if is_last {
            self.end_session(Refusal::new(Code::NotAuthenticated, "you have logged out"), true);
        }
    }
}

/// For a message that cannot be sent because the one that it answers was not.
fn unanswerable() -> Refusal {
    Refusal::new(Code::NotFound, "the message that it answers was not sent")
}

/// The refusal for an answer that cannot be read: an unknown code counts as one that may or may not be
/// retried, as its `retryable` says.
fn unknown_refusal(unreadable: &Unreadable) -> Refusal {
    #[derive(Deserialize, Default)]
    #[serde(default)]
    struct Nack {
        code: Option<String>,
        reason: Option<String>,
        retryable: bool,
        retry_after_ms: Option<u64>,
    }
    let data = unreadable.data.as_ref().map(|data| Nack::deserialize(Text(data)));
    let Nack { code, reason, retryable, retry_after_ms } = data.and_then(Result::ok).unwrap_or_default();
    let known = if retryable { Code::Overloaded } else { Code::BadRequest };
    let code = code.as_deref().unwrap_or("unreadable answer");
    let reason = reason.as_deref().unwrap_or(&unreadable.reason);
    Refusal { retry_after_ms, ..Refusal::new(known, format!("{code}: {reason}")) }
}

fn number(to: &AnswerTo) -> Option<i64> {
    match to.request_id {
        Some(RequestId::Number(number)) => Some(number),
        Some(RequestId::Text(_)) | None => None,
    }
}
