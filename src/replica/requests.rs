//! What a client's line leads to: a refusal, a login, a read, or a write; and how a connection ends.

use std::collections::BTreeSet;

use crate::{
    chat::{
        Standing, banned_from_cluster,
        rights::{self, Office},
    },
    planted::{Bug, planted},
    protocol::{
        Request,
        answer::{Answer, Asked, Push},
        envelope::{BadEnvelope, Envelope},
        name::UserName,
        refusal::{Code, Refusal},
        request::Login,
    },
};

use super::{
    config::AuthMode,
    fanout::Fan,
    io::{ConnId, Now},
    replica::Replica,
    session::{HELD_BYTES_OF_ALL, Session, WriteAnswer},
    storage::{RoomId, Storage},
};

impl<S: Storage> Replica<S> {
    pub(super) fn on_line(
        &mut self,
        now: Now,
        conn: ConnId,
        line: Result<Envelope, BadEnvelope>,
        bytes: usize,
    ) {
        let Some(session) = self.sessions.get_mut(conn).filter(|session| !session.is_over()) else { return };
        let who = (session.user.as_ref().map(UserName::key), session.addr);
        let counted = self.rates.request(now.mono_ms, &self.config.limits, &mut session.traffic, who, bytes);
        if let Err((refusal, last)) = counted {
            if let Ok(envelope) = &line
                && envelope.msg_type == "chat"
            {
                session.shed(envelope.data.get("client_msg_id").and_then(|id| id.as_str()));
            }
            return self.refuse(now, conn, asked(&line), refusal, last);
        }
        if !session.must_hold() {
            return self.take_line(now, conn, line);
        }
        let weight = match &line {
            Ok(envelope) => envelope.weight(),
            Err(bad) => size_of_val(bad),
        };
        if self.held_bytes + weight <= HELD_BYTES_OF_ALL && session.hold(line, weight) {
            self.held_bytes += weight;
        } else {
            let asked = Asked { msg_type: String::new(), request_id: None };
            let refusal = Refusal::new(Code::Overloaded, "too much was sent before the login was answered");
            self.refuse(now, conn, asked, refusal, true);
        }
    }

    /// Takes the lines that have waited for the connection, in order, but no more than one round may take: the
    /// rest waits for the next tick.
    pub(super) fn take_held(&mut self, now: Now, conn: ConnId) {
        while !self.has_said_enough() {
            let Some((line, weight)) = self.sessions.get_mut(conn).and_then(Session::next_held) else {
                return;
            };
            self.held_bytes -= weight;
            self.take_line(now, conn, line);
        }
        self.held_up.insert(conn);
    }

    fn take_line(&mut self, now: Now, conn: ConnId, line: Result<Envelope, BadEnvelope>) {
        let Some(session) = self.sessions.get_mut(conn) else { return };
        let limits = &self.config.limits;
        let asked = asked(&line);
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
        let identified = match self.is_unproven(conn) {
            true => for_the_unproven(&request),
            false => self.identify(now, conn, &envelope, &request),
        };
        if let Err(refusal) = identified {
            return self.refuse(now, conn, asked, refusal, false);
        }
        match request {
            Request::Login(login) => self.log_in(now, conn, asked, login, envelope.lamport_timestamp),
            Request::OperatorChallenge => self.challenge(now, conn, asked),
            Request::OperatorLogin { proof } => self.prove(now, conn, asked, proof),
            request if request.is_write() => {
                self.write(now, conn, asked, request, envelope.lamport_timestamp);
            }
            request => self.read(now, conn, asked, request),
        }
    }

    /// Whether the connection has a place that is kept for operators and administrators and has not proven to
    /// be one's.
    fn is_unproven(&mut self, conn: ConnId) -> bool {
        if !self.reserved.contains_key(&conn) {
            return false;
        }
        let has_proven = self.is_privileged(conn);
        if has_proven {
            self.reserved.remove(&conn);
        }
        !has_proven
    }

    /// Ends the connections that hold a place that is not for them.
    pub(super) fn end_unproven(&mut self, now: Now) {
        let due = self.reserved.iter().filter(|(_, until_ms)| **until_ms <= now.mono_ms);
        for conn in due.map(|(conn, _)| *conn).collect::<Vec<_>>() {
            if self.is_unproven(conn) {
                self.reserved.remove(&conn);
                let asked = Asked { msg_type: String::new(), request_id: None };
                self.refuse(now, conn, asked, kept_for_operators(), true);
            }
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
        if matches!(request, Request::Login(_) | Request::Register { .. } | Request::HookPost { .. }) {
            return Ok(());
        }
        // Whoever has not said who they are yet.
        let office = if session.is_operator { Office::Operator } else { Office::Nobody };
        let needs_login = !rights::allows_in_cluster(rights::deed_of_request(request), office);
        let guest = session.user.as_ref().filter(|_| session.standing == Standing::Guest);
        if needs_login
            && let Some(user) = guest
            && self.state.user(&user.key()).is_some_and(|user| user.account.is_registered())
        {
            return Err(must_log_in(user));
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
            (None, None) if needs_login => {
                let reason = "log in first, or give a sender_id";
                Err(Refusal::new(Code::NotAuthenticated, reason))
            }
            (None, None) => Ok(()),
            (None, Some(sender)) => match UserName::new(sender) {
                Some(user) if self.may_be_guest(now, &user).is_ok() => {
                    self.become_user(now, conn, user, Standing::Guest);
                    Ok(())
                }
                Some(user) if needs_login => {
                    self.may_be_guest(now, &user).map_err(|refusal| match refusal.code {
                        // Who names a registered name without a login is asked for one.
                        Code::NameTaken => must_log_in(&user),
                        _ => refusal,
                    })
                }
                None if needs_login => {
                    Err(Refusal::bad_request("sender_id must be 1 to 32 of A-Z a-z 0-9 _ . -"))
                }
                // A probe may sign with anything.
                Some(_) | None => Ok(()),
            },
        }
    }

    /// Whether somebody may be `user` without proving it.
    pub(super) fn may_be_guest(&self, now: Now, user: &UserName) -> Result<(), Refusal> {
        if self.config.auth.mode == AuthMode::Required {
            let reason = "this cluster has no guests; log in with a password or a token";
            return Err(Refusal::new(Code::NotAuthenticated, reason));
        }
        let Some(known) = self.state.user(&user.key()) else { return Ok(()) };
        if known.account.is_registered() {
            return Err(Refusal::new(Code::NameTaken, format!("the name {} is registered", known.name)));
        }
        match known.account.is_banned(now.wall_ms) {
            true => Err(banned_from_cluster(&known.name)),
            false => Ok(()),
        }
    }

    pub(super) fn become_user(&mut self, now: Now, conn: ConnId, user: UserName, standing: Standing) {
        let key = user.key();
        let rooms: Vec<(RoomId, u64)> = self.state.member_rooms(&key).collect();
        if !self.sessions.log_in(conn, user, standing) {
            return;
        }
        self.presence.arrive(now.mono_ms, key);
        if let Some(session) = self.sessions.get_mut(conn) {
            session.follow_later(now.mono_ms, rooms);
        }
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

    /// Refuses a request, in its turn behind the writes that wait.
    pub(super) fn refuse(&mut self, now: Now, conn: ConnId, asked: Asked, refusal: Refusal, last: bool) {
        let line = Answer::Nack(refusal).line(&asked, &self.signature(now)).into();
        if let Some(session) = self.sessions.get_mut(conn) {
            session.answer_in_turn(if last { WriteAnswer::Last(line) } else { WriteAnswer::Line(line) });
        }
        self.flush_answers(conn);
    }

    pub(super) fn say(&mut self, now: Now, conn: ConnId, asked: &Asked, answer: &Answer) {
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
            let Some(session) = self.sessions.get_mut(conn).filter(|session| !session.closing) else {
                continue;
            };
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

    pub(super) fn on_closed(&mut self, now: Now, conn: ConnId) {
        self.reserved.remove(&conn);
        self.held_up.remove(&conn);
        let session = self.sessions.close(conn);
        self.held_bytes -= session.as_ref().map_or(0, Session::held_bytes);
        if let Some(user) = session.and_then(|session: Session| session.user) {
            self.presence.depart(now.mono_ms, &user.key());
        }
        self.proposals.forget_conn(conn);
        self.looks.retain(|(_, look)| look.conn() != conn);
        self.fan(Fan::Forget { conn });
    }
}

/// What an answer to the line says that it answers.
fn asked(line: &Result<Envelope, BadEnvelope>) -> Asked {
    let (msg_type, request_id) = match line {
        Ok(envelope) => (&envelope.msg_type, &envelope.request_id),
        Err(bad) => (&bad.msg_type, &bad.request_id),
    };
    Asked { msg_type: msg_type.clone(), request_id: request_id.clone() }
}

/// What may be asked on a connection in a reserved place before it has proven whose it is.
fn for_the_unproven(request: &Request) -> Result<(), Refusal> {
    match request {
        Request::Login(Login::Password(..) | Login::Token(_))
        | Request::OperatorChallenge
        | Request::OperatorLogin { .. }
        | Request::Status
        | Request::Ping { .. } => Ok(()),
        _ => Err(kept_for_operators()),
    }
}

fn must_log_in(user: &UserName) -> Refusal {
    let reason = format!("{user} is a registered name; log in with its password");
    Refusal::new(Code::NotAuthenticated, reason)
}

fn kept_for_operators() -> Refusal {
    let reason = "this server has no room for another connection but those of operators and administrators";
    Refusal::new(Code::Overloaded, reason)
}
