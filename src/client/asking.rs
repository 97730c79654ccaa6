//! The user's commands, and the requests that follow from them.

use crate::{
    json,
    protocol::{
        Code, Refusal, RequestHead, RequestId, RoomId, RoomKey, RoomName,
        checked::{Body, ClientMsgId, Seq, Whole},
        credential::Password,
        limits::HISTORY_MAX,
        request::{self, Chat, CreateJoin, Destination, Leave, MarkRead, Request},
    },
};

use super::{
    ask::{Outcome, TargetedRequest},
    io::{Command, Output},
    limits::{ASKED_MAX, READ_PAUSE_MS},
    link::Pending,
    login::Access,
    outbox::{Message, OutboxChange},
    own::{Target, TargetState},
    rooms,
    state::{Asked, ClientState, Phase},
    update::Update,
};

/// The most bytes that the envelope adds to a line.
const ENVELOPE_BYTES: usize = 192;

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
            Command::Enter { room, private, password } => self.enter(&room, private, password),
            Command::Leave(name) => {
                // Membership outlives connections, so a room that was not joined here can be left too.
                self.rooms.want(&name, 0).wanted = false;
                self.rooms_changed = true;
            }
            Command::Ask { tag, ask } => self.begin(tag, ask),
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
            Command::Typing(room) => self.say_aside(&request::Typing { room }.into()),
            Command::Upload { tag, sending } => self.begin_upload(tag, sending),
            Command::Download { tag, file_id } => self.begin_download(tag, file_id),
            Command::GiveUp(tag) => self.give_up(tag),
            Command::MoveTo(address) => self.move_to(address, "you asked for another server"),
        }
    }

    fn enter(&mut self, name: &RoomName, private: bool, password: Option<Password>) {
        self.rooms.means(name);
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

    /// The servers know of it already.
    pub(super) fn read_elsewhere(&mut self, key: &RoomKey, seq: u64) {
        if let Some(room) = self.rooms.get_mut(key).filter(|room| room.read < seq) {
            room.read = seq;
        }
        self.unsaid_reads.retain(|room, unsaid| room != key || *unsaid > seq);
    }

    pub(super) fn send(&mut self, mut message: Message) {
        message.room = self.rooms.present(&message.room);
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
        room.id = room.id.or(message.room_id);
        message.room_id = message.room_id.or(room.id);
        self.rooms_changed |= room.phase != rooms::Phase::Live;
        self.outputs.push_back(Output::Persist(OutboxChange::Added(message.clone())));
        self.outbox.push(message.clone());
        self.tell(Update::Queued { message, online: self.is_usable() });
    }

    /// The target of a reply: a message at a place, or one before it in the outbox.
    fn settle_target(&self, message: &Message) -> Result<Option<Target>, Refusal> {
        let Some(target) = &message.reply_to else { return Ok(None) };
        match self.standing(&message.room, target) {
            TargetState::At(seq) => Ok(Some(Target::Seq(seq))),
            TargetState::Waits(id) if self.outbox.messages().any(|waits| waits.client_msg_id == id) => {
                Ok(Some(Target::Own(id)))
            }
            // Waiting for a file would delay all messages behind it.
            TargetState::Waits(_) => {
                let reason = "the file that you are sending is not there yet; answer it when it is";
                Err(Refusal::bad_request(reason))
            }
            TargetState::Missing => Err(not_said(&message.room, target)),
        }
    }

    /// Takes on a request: from now on it is fixed which message it is about.
    fn begin(&mut self, tag: u64, mut ask: TargetedRequest) {
        if let Some(room) = ask.request_mut().room_mut() {
            *room = self.rooms.present(room);
        }
        if let Err(refusal) = self.check_ask(&ask) {
            return self.tell_outcome(tag, ask, Outcome::Refused(refusal));
        }
        if let (Some(target), Some(room)) = (ask.target(), ask.request().room()) {
            match self.standing(room, target) {
                // What is shown by the time of writing is not known yet.
                _ if *target == Target::Shown => {}
                TargetState::At(seq) => ask.aim(Target::Seq(seq)),
                TargetState::Waits(id) => ask.aim(Target::Own(id)),
                TargetState::Missing => {
                    let refusal = not_said(room, target);
                    return self.tell_outcome(tag, ask, Outcome::Refused(refusal));
                }
            }
        }
        self.away = ask.away().unwrap_or(self.away);
        let room = self.number_of(ask.request());
        self.asked.push_back(Asked { tag, ask, room, sent: false });
    }

    fn check_ask(&self, ask: &TargetedRequest) -> Result<(), Refusal> {
        let alike = self.asked.iter().filter(|asked| asked.ask.is_write() == ask.is_write());
        if alike.count() >= ASKED_MAX {
            let reason = format!("{ASKED_MAX} requests are waiting for their answers already");
            return Err(Refusal::new(Code::Overloaded, reason));
        }
        ask.request().check(&self.config.limits)?;
        self.fits(ask.request())
    }

    /// The place of the message that `target` means.
    fn standing(&self, room: &RoomName, target: &Target) -> TargetState {
        let key = room.key();
        let shown = self.rooms.get(&key).and_then(|room| room.cursor);
        self.own.find(&key, target, shown.unwrap_or(0))
    }

    /// Refuses what no server would take, before it is stored: it would block the messages behind it.
    fn check(&self, message: &Message) -> Result<(), Refusal> {
        let request = chat(message, None)?.into();
        Request::check(&request, &self.config.limits)?;
        self.fits(&request)?;
        if self.outbox.is_full() {
            let reason = format!("{} messages wait to be sent already", self.outbox.len());
            return Err(Refusal::new(Code::Overloaded, reason));
        }
        Ok(())
    }

    /// Refuses a request whose line no server would take. A server could not even say which request it was,
    /// and would close the connection.
    pub(super) fn fits(&self, request: &Request) -> Result<(), Refusal> {
        let line = json::write_request(&RequestHead::default(), request);
        let (bytes, most) = (line.len() + ENVELOPE_BYTES, self.config.limits.line_bytes);
        if bytes <= most {
            return Ok(());
        }
        let reason = format!("{} would have {bytes} bytes; at most {most} are sent", request.msg_type());
        Err(Refusal::new(Code::TooLarge, reason))
    }

    fn refuse(&mut self, command: Command, refusal: Refusal) {
        match command {
            Command::Send(message) => self.tell(Update::Refused { message, refusal, uncertain: false }),
            Command::Join(room) | Command::Leave(room) => self.tell(Update::RoomRefused { room, refusal }),
            Command::Ask { tag, ask } => self.tell_outcome(tag, ask, Outcome::Refused(refusal)),
            Command::Enter { room, .. } => self.tell(Update::RoomRefused { room, refusal }),
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

impl ClientState {
    pub(super) fn ask_what_may_be_asked(&mut self) {
        if !self.is_online() || self.now_ms < self.hold_until_ms {
            return;
        }
        if std::mem::take(&mut self.rooms_changed) {
            self.ask_for_rooms();
        }
        self.ask_requests();
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
            // Messages that were typed before the leave are sent before it.
            let stays = room.wanted || self.outbox.messages().any(|message| message.room.key() == key);
            let (phase, name) = (room.phase, room.name.clone());
            let next = match phase {
                rooms::Phase::Absent if stays => {
                    let request = join(room);
                    let takes_long = request.password.is_some();
                    let request_id = self.ask(request, Pending::Join(key.clone()));
                    if let (true, Phase::Linked(link)) = (takes_long, &mut self.phase) {
                        link.takes_long(request_id);
                    }
                    rooms::Phase::Joining
                }
                rooms::Phase::Absent | rooms::Phase::Live if !stays => {
                    self.ask(Leave { room: name }, Pending::Leave(key.clone()));
                    rooms::Phase::Leaving
                }
                phase => phase,
            };
            if let Some(room) = self.rooms.get_mut(&key) {
                room.phase = next;
            }
        }
    }

    fn send_messages(&mut self) {
        while let Some((message, before)) = self.outbox.next_to_send() {
            let Some(room) = self.rooms.get(&message.room.key()) else {
                // The room was refused while this message was on its way on a connection that is lost.
                let (name, id) = (message.room.clone(), message.room_id);
                self.rooms.want(&name, 0).id = id;
                return self.ask_for_rooms();
            };
            if room.phase != rooms::Phase::Live || !self.may_ask() {
                return;
            }
            let (chat, room) = (chat(message, before), message.room_id);
            let request_id = self.next_request_id;
            self.outbox.sent(request_id);
            match chat {
                Ok(chat) => drop(self.ask_in(room, chat.into(), Pending::Chat)),
                // Kept by an earlier version, which checked less.
                Err(refusal) => {
                    self.next_request_id += 1;
                    self.message_refused(request_id, refusal);
                }
            }
        }
    }

    /// Writes what the user has asked, in order. A read waits for nothing. A write waits for its room to be
    /// joined, and the writes behind it wait, too.
    fn ask_requests(&mut self) {
        let (mut at, mut writes_wait) = (0, false);
        while self.may_ask()
            && let Some(Asked { tag, ask, room: number, sent }) = self.asked.get(at)
        {
            let (tag, number, is_write) = (*tag, *number, ask.is_write());
            if ask.is_last() && (at > 0 || !self.outbox.is_empty()) {
                return;
            }
            if *sent || (is_write && writes_wait) {
                at += 1;
                continue;
            }
            let room = ask.request().room();
            if is_write && room.is_some_and(|room| self.is_coming(room)) {
                (at, writes_wait) = (at + 1, true);
                continue;
            }
            if let (Some(target), Some(room)) = (ask.target(), room) {
                match self.standing(room, target) {
                    TargetState::At(seq) => self.asked[at].ask.aim(Target::Seq(seq)),
                    // It waits for its message, and delays nothing else.
                    TargetState::Waits(_) => {
                        at += 1;
                        continue;
                    }
                    TargetState::Missing => {
                        if let Some(Asked { ask, .. }) = self.asked.remove(at) {
                            let reason = "the message that it is about was not sent";
                            let refusal = Refusal::new(Code::NotFound, reason);
                            self.tell_outcome(tag, ask, Outcome::Refused(refusal));
                        }
                        continue;
                    }
                }
            }
            let asked = &mut self.asked[at];
            asked.sent = true;
            let (request, takes_long) = (asked.ask.request().clone(), asked.ask.takes_long());
            let number = number.or_else(|| self.number_of(&request));
            let request_id = self.ask_in(number, request, Pending::Ask(tag));
            if let (true, Phase::Linked(link)) = (takes_long, &mut self.phase) {
                link.takes_long(request_id);
            }
            at += 1;
        }
    }

    /// Whether the room is being joined, or will be.
    fn is_coming(&self, room: &RoomName) -> bool {
        self.rooms.get(&room.key()).is_some_and(|room| {
            room.wanted && matches!(room.phase, rooms::Phase::Absent | rooms::Phase::Joining)
        })
    }

    fn say_what_was_read(&mut self) {
        if self.unsaid_reads.is_empty() || self.now_ms < self.read_due_ms {
            return;
        }
        self.read_due_ms = self.now_ms + READ_PAUSE_MS;
        for (key, seq) in std::mem::take(&mut self.unsaid_reads) {
            let Some(room) = self.rooms.get(&key).map(|room| room.name.clone()) else { continue };
            if let Ok(seq) = Seq::try_from(seq) {
                self.ask(MarkRead { room, seq }, Pending::Aside);
            }
        }
    }

    /// Writes a request that has no answer, if there is a connection.
    fn say_aside(&mut self, request: &Request) {
        if self.is_online() {
            let head = RequestHead { room_id: self.number_of(request), ..RequestHead::default() };
            self.outputs.push_back(Output::Write(json::write_request(&head, request)));
        }
    }

    /// The number of the room that the request names, if it is known.
    pub(super) fn number_of(&self, request: &Request) -> Option<RoomId> {
        self.rooms.get(&request.named_room()?.key())?.id
    }

    /// Writes a request, and gives its number.
    pub(super) fn ask(&mut self, request: impl Into<Request>, pending: Pending) -> i64 {
        let request = request.into();
        self.ask_in(self.number_of(&request), request, pending)
    }

    /// Writes a request about the room of this number.
    pub(super) fn ask_in(&mut self, room_id: Option<RoomId>, request: Request, pending: Pending) -> i64 {
        let request_id = self.next_request_id;
        let Phase::Linked(link) = &mut self.phase else { return request_id };
        self.next_request_id += 1;
        self.lamport_timestamp += 1;
        link.asked(request_id, pending, self.now_ms);
        let head = RequestHead {
            msg_type: request.msg_type().into(),
            sender_id: Some(self.config.user.to_string()),
            lamport_timestamp: self.lamport_timestamp,
            request_id: Some(RequestId::Number(request_id)),
            room_id,
        };
        self.outputs.push_back(Output::Write(json::write_request(&head, &request)));
        request_id
    }
}

/// The refusal of a request about an own message that does not exist.
fn not_said(room: &RoomName, target: &Target) -> Refusal {
    let reason = match target {
        Target::Own(id) => format!("{id:?} is none of your last messages in {room}"),
        Target::Seq(_) | Target::Last | Target::Shown => format!("you have said nothing in {room} yet"),
    };
    Refusal::new(Code::NotFound, reason)
}

fn join(room: &rooms::Room) -> CreateJoin {
    let password = room.password.clone();
    CreateJoin {
        room: room.name.clone(),
        private: room.private,
        password,
        after: room.cursor.and_then(|cursor| Seq::try_from(cursor).ok()),
        history: room.cursor.is_none().then(|| Whole::clamped(room.history as u64)),
    }
}

fn chat(message: &Message, before: Option<&Message>) -> Result<Chat, Refusal> {
    let id = |message: &Message| ClientMsgId::new(message.client_msg_id.as_str());
    let reply_to = match message.reply_to {
        Some(Target::Seq(seq)) => Some(Seq::try_from(seq).map_err(|invalid| invalid.of("reply_to"))?),
        _ => None,
    };
    Ok(Chat {
        to: Destination::Room(message.room.clone()),
        body: Body::new(message.body.as_str()).map_err(|invalid| invalid.of("body"))?,
        client_msg_id: Some(id(message).map_err(|invalid| invalid.of("client_msg_id"))?),
        reply_to,
        file_id: message.file_id,
        follows: before.and_then(|before| id(before).ok()),
    })
}
