//! What a client's line leads to: a refusal, an answer from memory, a query, or a proposal.

use std::collections::BTreeSet;

use crate::{
    chat::{Action, Proposal},
    planted::{Bug, planted},
    protocol::{
        Request,
        answer::{Answer, Asked, HistoryPage, Push, SentAnswer},
        envelope::{BadEnvelope, Envelope},
        limits::HISTORY_BYTES,
        name::{RoomName, UserName},
        refusal::{Code, Refusal},
        request::HistoryRange,
        status::Role,
    },
};

use super::{
    config::Followers,
    fanout::Fan,
    io::{ConnId, Now, Purpose, Query},
    replica::Replica,
    session::{Session, Write, WriteAnswer},
    storage::{EventRange, RoomId, Storage},
};

/// When to come back after a request that was refused because too much waits.
const SHED_RETRY_MS: u64 = 100;

impl<S: Storage> Replica<S> {
    pub(super) fn on_line(&mut self, now: Now, conn: ConnId, line: Result<Envelope, BadEnvelope>) {
        let Some(session) = self.sessions.get_mut(conn).filter(|session| !session.is_over()) else { return };
        let limits = &self.config.limits;
        let asked = match &line {
            Ok(envelope) => {
                Asked { msg_type: envelope.msg_type.clone(), request_id: envelope.request_id.clone() }
            }
            Err(bad) => Asked { msg_type: bad.msg_type.clone(), request_id: bad.request_id.clone() },
        };
        if let Err((wait_ms, last)) = session.spend(now.mono_ms, limits) {
            let reason = format!("more than {} requests a second", limits.requests_per_s);
            let refusal = Refusal::new(Code::RateLimited, reason).retry_after(wait_ms);
            if let Ok(envelope) = &line
                && envelope.msg_type == "chat"
            {
                session.shed(envelope.data.get("client_msg_id").and_then(|id| id.as_str()));
            }
            return self.refuse(now, conn, asked, refusal, last);
        }
        let envelope = match line {
            Ok(envelope) => envelope,
            Err(bad) => {
                let bad_json = bad.refusal.code == Code::BadJson;
                session.bad_lines += u32::from(bad_json);
                let last = bad.refusal.code == Code::TooLarge
                    || (bad_json && session.bad_lines >= limits.bad_lines_in_a_row);
                return self.refuse(now, conn, asked, bad.refusal, last);
            }
        };
        session.bad_lines = 0;
        let request = match Request::parse(&envelope, limits) {
            Ok(request) => request,
            Err(refusal) => return self.refuse(now, conn, asked, refusal, false),
        };
        if let Err(refusal) = self.identify(now, conn, &envelope, &request) {
            return self.refuse(now, conn, asked, refusal, false);
        }
        match request {
            Request::Login { username } => self.log_in(now, conn, asked, username),
            request if request.is_write() => {
                self.write(now, conn, Write { asked, request }, envelope.lamport_timestamp);
            }
            request => self.read(now, conn, asked, request),
        }
    }

    /// Makes sure that the request comes from whom it says. Before any login the first request that
    /// names a sender logs that name in as a guest.
    fn identify(
        &mut self,
        now: Now,
        conn: ConnId,
        envelope: &Envelope,
        request: &Request,
    ) -> Result<(), Refusal> {
        let Some(session) = self.sessions.get_mut(conn) else { return Ok(()) };
        if matches!(request, Request::Login { .. }) {
            return Ok(());
        }
        match (&session.user, &envelope.sender_id) {
            (Some(user), Some(sender)) => {
                if UserName::new(sender).is_some_and(|sender| sender.key() == user.key()) {
                    return Ok(());
                }
                let reason =
                    format!("this connection is logged in as {user}; leave sender_id out or log in anew");
                Err(Refusal::new(Code::NotAuthenticated, reason))
            }
            (Some(_), None) => Ok(()),
            (None, None) if request.needs_login() => {
                let reason = "log in first, or give a sender_id";
                Err(Refusal::new(Code::NotAuthenticated, reason))
            }
            (None, None) => Ok(()),
            (None, Some(sender)) => match UserName::new(sender) {
                Some(user) => {
                    self.become_user(now, conn, user);
                    Ok(())
                }
                None if request.needs_login() => {
                    Err(Refusal::bad_request("sender_id must be 1 to 32 of A-Z a-z 0-9 _ . -"))
                }
                // A probe may sign with anything.
                None => Ok(()),
            },
        }
    }

    fn become_user(&mut self, now: Now, conn: ConnId, user: UserName) {
        let key = user.key();
        let rooms: Vec<(RoomId, u64)> = self.state.member_rooms(&key).collect();
        self.sessions.log_in(conn, user);
        self.presence.arrive(key);
        if let Some(session) = self.sessions.get_mut(conn) {
            session.follow_later(now.mono_ms, rooms);
        }
    }

    fn log_in(&mut self, now: Now, conn: ConnId, asked: Asked, username: UserName) {
        let current = self.sessions.get_mut(conn).and_then(|session| session.user.clone());
        match current {
            Some(user) if user.key() != username.key() => {
                let reason = format!("this connection is logged in as {user}; open another one");
                let refusal = Refusal::new(Code::NotAuthenticated, reason);
                return self.refuse(now, conn, asked, refusal, false);
            }
            Some(_) => {}
            None => self.become_user(now, conn, username.clone()),
        }
        let leader_id = self.leader();
        let answer = Answer::LoggedIn { username, server_id: self.config.server_id.clone(), leader_id };
        self.say(now, conn, &asked, &answer);
    }

    /// A request that changes something: refused early where that is certain, else proposed.
    fn write(&mut self, now: Now, conn: ConnId, write: Write, lamport_timestamp: u64) {
        if self.redirects() {
            return self.redirect(now, conn, write.asked);
        }
        let Some(session) = self.sessions.get_mut(conn) else { return };
        let Some(user) = session.user.clone() else { return };
        // What of this connection still waits may change the rules' answer.
        let early = !session.has_writes();
        let unasked =
            if matches!(write.request, Request::Chat { .. }) { session.take_unasked(None) } else { vec![] };
        self.follow(conn, unasked);
        if let Err(refusal) = self.keep_order(conn, &write.request) {
            return self.refuse(now, conn, write.asked, refusal, false);
        }
        let action = self.action(&write.request);
        let checked = if early { self.state.check(&user, &action, lamport_timestamp) } else { Ok(()) };
        if let Err(refusal) = checked.and_then(|()| self.admit(&user, &action)) {
            return self.refuse(now, conn, write.asked, refusal, false);
        }
        if let (Some(session), Request::Chat { client_msg_id, .. }) =
            (self.sessions.get_mut(conn), &write.request)
        {
            session.taken(client_msg_id.as_deref());
        }
        let hasty = planted(Bug::AckOnPropose).then(|| self.hasty_ack(now, &write)).flatten();
        let seq = self.proposals.push(now.mono_ms, conn, &Proposal { user, lamport_timestamp, action });
        if let Some(session) = self.sessions.get_mut(conn) {
            session.wait_for(write, seq);
            if let Some(line) = hasty {
                session.answer(seq, WriteAnswer::Line(line.into()));
                self.flush_answers(conn);
            }
        }
    }

    /// What `Bug::AckOnPropose` says: the place that the message will have if nothing comes between.
    fn hasty_ack(&self, now: Now, Write { asked, request }: &Write) -> Option<Vec<u8>> {
        let Request::Chat { room, client_msg_id: Some(client_msg_id), .. } = request else { return None };
        let sent = SentAnswer {
            client_msg_id: client_msg_id.clone(),
            room: room.clone(),
            seq: self.state.room(&room.key())?.last_seq + 1,
            lamport_timestamp: self.state.lamport() + 1,
            duplicate: false,
        };
        Some(Answer::Sent(sent).line(asked, &self.signature(now)))
    }

    /// Refuses a message for load, where there is too much of it or where the message that it follows was
    /// so refused: a client with several messages on their way must find them in its order, or not at all.
    fn keep_order(&mut self, conn: ConnId, request: &Request) -> Result<(), Refusal> {
        let Request::Chat { client_msg_id, follows, .. } = request else { return Ok(()) };
        let full = self.proposals.len() >= self.config.limits.pending_proposals;
        let Some(session) = self.sessions.get_mut(conn) else { return Ok(()) };
        if !full && !session.overtakes(follows.as_deref()) {
            return Ok(());
        }
        session.shed(client_msg_id.as_deref());
        let reason = match full {
            true => "too much waits for its commit; nothing was proposed",
            false => "the message that it follows was refused for load; send that one first",
        };
        Err(Refusal::new(Code::Overloaded, reason).retry_after(SHED_RETRY_MS))
    }

    /// The limits that each server watches over by itself.
    fn admit(&self, user: &UserName, action: &Action) -> Result<(), Refusal> {
        if self.proposals.len() >= self.config.limits.pending_proposals {
            let reason = "too much waits for its commit; nothing was proposed";
            return Err(Refusal::new(Code::Overloaded, reason).retry_after(SHED_RETRY_MS));
        }
        if let Action::Join { room } = action
            && self.state.room(&room.key()).is_none()
            && self.state.rooms_created(&user.key()) >= self.config.limits.rooms_per_user as u64
        {
            let reason =
                format!("you have created {} rooms; no more are allowed", self.config.limits.rooms_per_user);
            return Err(Refusal::new(Code::Forbidden, reason));
        }
        Ok(())
    }

    fn action(&self, request: &Request) -> Action {
        match request {
            Request::CreateJoin { room, .. } => Action::Join { room: room.clone() },
            Request::Leave { room } => Action::Leave { room: room.clone() },
            Request::Chat { room, body, client_msg_id, reply_to, .. } => Action::Chat {
                room: room.clone(),
                body: body.clone(),
                client_msg_id: client_msg_id.clone().unwrap_or_else(|| {
                    let (node_id, boot) = (self.identity.node_id, self.identity.boot);
                    format!("{node_id}-{boot}-{}", self.proposals.next_seq())
                }),
                reply_to: *reply_to,
            },
            _ => Action::Nothing,
        }
    }

    fn redirects(&self) -> bool {
        self.config.followers == Followers::Redirect && self.role() != Role::Leader
    }

    fn redirect(&mut self, now: Now, conn: ConnId, asked: Asked) {
        let Some(push) = self.redirect_push("the leader takes this") else {
            let refusal = Refusal::new(Code::Unavailable, "there is no leader at the moment; try again");
            return self.refuse(now, conn, asked, refusal, true);
        };
        let line = push.line(Some(&asked), &self.signature(now)).into();
        if let Some(session) = self.sessions.get_mut(conn) {
            session.answer_in_turn(WriteAnswer::Last(line));
        }
        self.flush_answers(conn);
    }

    /// Where a client should go: to the leader, or else to any other living server.
    pub(super) fn redirect_push(&self, reason: &str) -> Option<Push> {
        let leader = self.leader().filter(|leader| *leader != self.config.server_id);
        let alive: BTreeSet<_> = self
            .view
            .peers
            .iter()
            .filter(|(_, peer)| peer.alive)
            .map(|(server_id, _)| server_id.clone())
            .collect();
        let to = leader.or_else(|| alive.into_iter().next_back())?;
        let server = self.config.server(&to)?;
        let (host, tcp_port) = (server.host.clone(), server.port);
        Some(Push::Redirect { server_id: to, host, tcp_port, reason: reason.into() })
    }

    fn read(&mut self, now: Now, conn: ConnId, asked: Asked, request: Request) {
        let barrier = match &request {
            Request::Ping { barrier, .. } => *barrier && !planted(Bug::BarrierSkipped),
            // The client has seen more than this server has applied, or speaks of a room that may be
            // newer: what it has seen must not be missing from the answer.
            Request::History { room, range, .. } => {
                let last_seq = self.state.room(&room.key()).map(|room| room.last_seq);
                let seen = match range {
                    HistoryRange::Last => 0,
                    HistoryRange::Before(seq) => seq.saturating_sub(1),
                    HistoryRange::After(seq) => *seq,
                };
                last_seq.is_none_or(|last_seq| seen > last_seq)
            }
            Request::Members { room } => self.state.room(&room.key()).is_none(),
            _ => false,
        };
        if barrier {
            if let Err(refusal) = self.reads.push(now.mono_ms, conn, asked.clone(), request) {
                self.refuse(now, conn, asked, refusal, false);
            }
        } else {
            self.answer_read(now, conn, asked, request);
        }
    }

    /// Answers the reads that waited for the state to be up to date.
    pub(super) fn answer_reads(&mut self, now: Now) {
        for read in self.reads.ready(self.applied_index()) {
            self.answer_read(now, read.conn, read.asked, read.request);
        }
    }

    fn answer_read(&mut self, now: Now, conn: ConnId, asked: Asked, request: Request) {
        let Some(session) = self.sessions.get_mut(conn) else { return };
        let user = session.user.clone();
        let answer = match request {
            Request::Ping { data, .. } => Answer::Pong(data),
            Request::ServerList => Answer::ServerList(self.server_list()),
            Request::Status => Answer::Status(Box::new(self.status(now))),
            Request::Rooms => match user {
                Some(user) => Answer::Rooms(self.state.room_summaries(&user.key())),
                None => return,
            },
            Request::Members { room } => match self.state.room_id(&room.key()) {
                Some(id) => Answer::Members {
                    room: self.state.room_by_id(id).map_or(room, |room| room.name.clone()),
                    members: self.state.members(id, |user| self.presence.is_online(user)),
                },
                None => Answer::Nack(no_room(&room)),
            },
            Request::History { room, range, limit } => {
                match self.history_query(conn, &asked, &room, range, limit) {
                    Ok(query) => return self.queries.push((self.applied_index(), query)),
                    Err(refusal) => Answer::Nack(refusal),
                }
            }
            Request::Login { .. }
            | Request::CreateJoin { .. }
            | Request::Leave { .. }
            | Request::Chat { .. } => {
                return;
            }
        };
        self.say(now, conn, &asked, &answer);
    }

    fn history_query(
        &self,
        conn: ConnId,
        asked: &Asked,
        name: &RoomName,
        range: HistoryRange,
        limit: usize,
    ) -> Result<Query, Refusal> {
        let found = self.state.room_id(&name.key()).and_then(|id| Some((id, self.state.room_by_id(id)?)));
        let (id, room) = found.ok_or_else(|| no_room(name))?;
        let end = room.last_seq + 1;
        let (after, before, oldest_first) = match range {
            HistoryRange::Last => (0, end, false),
            HistoryRange::Before(seq) => (0, seq.min(end), false),
            HistoryRange::After(seq) => (seq, end, true),
        };
        let page = HistoryPage {
            room: room.name.clone(),
            events: Vec::new(),
            last_seq: room.last_seq,
            more: false,
            stale: self.is_stale(),
        };
        Ok(Query {
            conn,
            room: id,
            range: EventRange { after, before, oldest_first, limit, max_bytes: HISTORY_BYTES },
            purpose: Purpose::History { asked: asked.clone(), range, page },
        })
    }

    /// Whether newer events may exist that this server cannot know of.
    fn is_stale(&self) -> bool {
        match self.leader() {
            None => true,
            Some(leader) if leader == self.config.server_id => false,
            // Over a link that is younger than the leader's next heartbeat it has been heard all the same.
            Some(leader) => self.view.peers.get(&leader).is_none_or(|peer| {
                let is_new = peer.linked && peer.last_heartbeat_ms.is_none();
                !(peer.alive || is_new)
            }),
        }
    }

    /// Refuses a request, in its turn behind the writes that wait.
    pub(super) fn refuse(&mut self, now: Now, conn: ConnId, asked: Asked, refusal: Refusal, last: bool) {
        let line = Answer::Nack(refusal).line(&asked, &self.signature(now)).into();
        if let Some(session) = self.sessions.get_mut(conn) {
            session.answer_in_turn(if last { WriteAnswer::Last(line) } else { WriteAnswer::Line(line) });
        }
        self.flush_answers(conn);
    }

    fn say(&mut self, now: Now, conn: ConnId, asked: &Asked, answer: &Answer) {
        let line = answer.line(asked, &self.signature(now)).into();
        self.fan(Fan::Say { conn, line });
    }

    /// Lets a connection get the events of rooms that it has not asked for, from where they stood at
    /// its login.
    pub(super) fn follow(&mut self, conn: ConnId, rooms: Vec<(RoomId, u64)>) {
        for (room, after) in rooms {
            if let Some(last_seq) = self.state.room_by_id(room).map(|room| room.last_seq) {
                self.follow_unasked(conn, room, after, last_seq);
            }
        }
    }

    /// Lets a connection get the events of a room above `after`, unless it has asked to join the room and
    /// waits for the answer: events that came before the answer would be in it again, or behind a hole.
    pub(super) fn follow_unasked(&mut self, conn: ConnId, room: RoomId, after: u64, last_seq: u64) {
        let Some(key) = self.state.room_by_id(room).map(|room| room.name.key()) else { return };
        match self.sessions.get_mut(conn) {
            Some(session) if session.awaits_join(&key) => session.follow_if_refused(room, after),
            _ => self.fan(Fan::Follow { conn, room, after, last_seq }),
        }
    }

    /// Tells whoever has waited too long that the outcome is unknown, and ends the connection, so that
    /// nothing sent later on it can overtake.
    pub(super) fn time_out(&mut self, now: Now) {
        let by = self.signature(now);
        for (seq, conn) in self.proposals.time_out(now.mono_ms) {
            let Some(session) = self.sessions.get_mut(conn) else { continue };
            let Some(asked) = session.waiting(seq).map(|write| write.asked.clone()) else { continue };
            let code = if planted(Bug::TimeoutSaysRefused) { Code::Overloaded } else { Code::Unavailable };
            let reason =
                "no majority of the servers answered in time; the outcome is unknown, so send it again";
            let line = Answer::Nack(Refusal::new(code, reason)).line(&asked, &by);
            session.answer(seq, WriteAnswer::Last(line.into()));
            self.flush_answers(conn);
        }
        for read in self.reads.time_out(now.mono_ms) {
            let reason = "no majority of the servers answered in time";
            self.refuse(now, read.conn, read.asked, Refusal::new(Code::Unavailable, reason), true);
        }
    }

    pub(super) fn on_closed(&mut self, conn: ConnId) {
        if let Some(user) = self.sessions.close(conn).and_then(|session: Session| session.user) {
            self.presence.depart(&user.key());
        }
        self.proposals.forget_conn(conn);
        self.queries.retain(|(_, query)| query.conn != conn);
        self.fan(Fan::Forget { conn });
    }
}

fn no_room(room: &RoomName) -> Refusal {
    Refusal::new(Code::NotFound, format!("there is no room {room}"))
}
