//! What a client's request leads to: a refusal, a login, a read, or a write.

use crate::{
    chat::{Authority, must_log_in, requests::permission_of_request, rights::ClusterRole},
    config::AuthMode,
    disk::RoomId,
    fanout::{ConnId, Instruction},
    protocol::{
        answer::Answer,
        envelope::{AnswerTo, BadRequest, RequestHead},
        name::UserName,
        refusal::{Code, Refusal},
        request::{Chat, Kind, Login, Request},
        said::Said,
    },
};

use super::{Clients, admission::may_be_called, doubts::may_be_lifted, env::Env, reads::Known};

impl Clients {
    /// Takes in a request, or what is wrong with it. If the connection's thread waits for it and it is
    /// answered at once, tells the thread.
    pub fn on_request(
        &mut self,
        env: &mut Env<'_>,
        conn: ConnId,
        sent: (RequestHead, Result<Request, BadRequest>),
        bytes: usize,
    ) {
        let is_awaited = sent.1.as_ref().is_ok_and(Request::is_awaited);
        self.count_request(env, conn, sent, bytes);
        if is_awaited {
            self.read_on(conn, env.outputs);
        }
    }

    fn count_request(
        &mut self,
        env: &mut Env<'_>,
        conn: ConnId,
        (head, request): (RequestHead, Result<Request, BadRequest>),
        bytes: usize,
    ) {
        let Some(connection) = self.connections.get_mut(conn).filter(|connection| !connection.is_over())
        else {
            return;
        };
        let who = (connection.user.as_ref().map(UserName::key), connection.addr);
        let counted =
            self.rates.request(env.now.mono_ms, &env.config.limits, &mut connection.traffic, who, bytes);
        if let Err(refusal) = counted {
            let is_over = connection.traffic.is_refused_too_often(&env.config.limits);
            if let Ok(Request::Chat(Chat { client_msg_id, .. })) = &request {
                connection.shed(client_msg_id.as_ref());
            }
            return if is_over {
                self.refuse_last(env, conn, head.answer_to(), refusal)
            } else {
                self.refuse(env, conn, head.answer_to(), refusal)
            };
        }
        let to = head.answer_to();
        let request = match request {
            Ok(request) => request,
            Err(BadRequest::Envelope(refusal)) => {
                let bad_json = refusal.code == Code::BadJson;
                connection.bad_lines += u32::from(bad_json);
                let last = refusal.code == Code::TooLarge
                    || (bad_json && connection.bad_lines >= env.config.limits.bad_lines_in_a_row);
                return if last {
                    self.refuse_last(env, conn, to, refusal)
                } else {
                    self.refuse(env, conn, to, refusal)
                };
            }
            Err(BadRequest::Fields(refusal)) => {
                connection.bad_lines = 0;
                return self.refuse(env, conn, to, refusal);
            }
        };
        connection.bad_lines = 0;
        let identified = if self.is_unproven(env, conn) {
            for_the_unproven(&request).map_err(NotIdentified::Refused)
        } else {
            self.identify(env, conn, head.sender_id.as_deref(), &request)
        };
        match identified {
            Ok(()) => {}
            Err(NotIdentified::Refused(refusal)) => return self.refuse(env, conn, to, refusal),
            Err(NotIdentified::Banned(guest)) => return self.doubt_ban(env, conn, to, guest),
        }
        // The others are checked once this server knows what the cluster knows.
        let is_operators = matches!(request, Request::OperatorChallenge(_) | Request::OperatorLogin(_));
        if is_operators && let Err(refusal) = env.state.check_lamport(head.lamport_timestamp) {
            return self.refuse(env, conn, to, refusal);
        }
        let known = Known::Here;
        match (request.kind(), request) {
            (_, Request::Login(login)) => self.log_in(env, conn, to, login, head.claims(), known),
            (_, Request::OperatorChallenge(_)) => self.challenge(env, conn, to),
            (_, Request::OperatorLogin(login)) => self.prove(env, conn, to, login),
            (Kind::Read, request) => self.read(env, conn, to, request, head.claims()),
            (Kind::Login | Kind::Write, request) => self.write(env, conn, to, request, head.claims(), known),
        }
    }

    /// Whether the connection has a reserved place and has not proven to be an operator's or an
    /// administrator's.
    fn is_unproven(&mut self, env: &Env<'_>, conn: ConnId) -> bool {
        if !self.reserved.contains_key(&conn) {
            return false;
        }
        let has_proven = self.is_privileged(env, conn);
        if has_proven {
            self.reserved.remove(&conn);
        }
        !has_proven
    }

    /// Ends connections in reserved places whose time to prove themselves is over.
    pub(super) fn end_unproven(&mut self, env: &mut Env<'_>) {
        let due = self.reserved.iter().filter(|(_, until_ms)| **until_ms <= env.now.mono_ms);
        for conn in due.map(|(conn, _)| *conn).collect::<Vec<_>>() {
            if self.is_unproven(env, conn) {
                self.reserved.remove(&conn);
                self.refuse_last(env, conn, AnswerTo::default(), kept_for_operators());
            }
        }
    }

    /// Checks that the request is from the user that it names. Before any login, the first request that names
    /// a sender logs that name in as a guest.
    fn identify(
        &mut self,
        env: &mut Env<'_>,
        conn: ConnId,
        sender_id: Option<&str>,
        request: &Request,
    ) -> Result<(), NotIdentified> {
        let Some(connection) = self.connections.get_mut(conn) else { return Ok(()) };
        if matches!(request, Request::Login(_) | Request::Register(_) | Request::HookPost(_)) {
            return Ok(());
        }
        // Without a login, or with one that is not looked at yet.
        let role = if connection.is_operator { ClusterRole::Operator } else { ClusterRole::NotLoggedIn };
        let needs_login = !role.may(permission_of_request(request));
        let guest = connection.user.as_ref().filter(|_| connection.authority == Authority::Guest);
        if needs_login
            && let Some(user) = guest
            && env.state.user(&user.key()).is_some_and(|user| user.account.is_registered())
        {
            return Err(must_log_in(user).into());
        }
        match (&connection.user, sender_id) {
            (Some(user), Some(sender)) => {
                if UserName::new(sender).is_some_and(|sender| sender.key() == user.key()) {
                    return Ok(());
                }
                let reason =
                    format!("this connection is logged in as {user}; leave sender_id out or log in anew");
                Err(Refusal::new(Code::NotAuthenticated, reason).into())
            }
            (Some(_), None) => Ok(()),
            (None, None) if needs_login => {
                let reason = "log in first, or give a sender_id";
                Err(Refusal::new(Code::NotAuthenticated, reason).into())
            }
            (None, None) => Ok(()),
            (None, Some(sender)) => match UserName::new(sender) {
                Some(user) if self.may_be_guest(env, &user).is_ok() => {
                    self.become_user(env, conn, user, Authority::Guest);
                    Ok(())
                }
                Some(user) if needs_login => {
                    self.may_be_guest(env, &user).map_err(|refusal| match refusal.code {
                        // A registered name needs a login.
                        Code::NameTaken => must_log_in(&user).into(),
                        _ if may_be_lifted(&refusal) => NotIdentified::Banned(user),
                        _ => refusal.into(),
                    })
                }
                None if needs_login => {
                    Err(Refusal::bad_request("sender_id must be 1 to 32 of A-Z a-z 0-9 _ . -").into())
                }
                // A probe may sign with anything.
                Some(_) | None => Ok(()),
            },
        }
    }

    /// Whether a client may be `user` without proving it.
    pub(super) fn may_be_guest(&self, env: &mut Env<'_>, user: &UserName) -> Result<(), Refusal> {
        if env.config.auth.mode == AuthMode::Required {
            let reason = "this cluster has no guests; log in with a password or a token";
            return Err(Refusal::new(Code::NotAuthenticated, reason));
        }
        may_be_called(env, user)?;
        env.state.may_begin_as(user, env.now.wall_ms)
    }

    pub(super) fn become_user(
        &mut self,
        env: &mut Env<'_>,
        conn: ConnId,
        user: UserName,
        authority: Authority,
    ) {
        let key = user.key();
        let rooms: Vec<(RoomId, u64)> = env.state.member_rooms(&key).collect();
        if !self.connections.log_in(conn, user, authority) {
            return;
        }
        self.presence.arrive(env.now.mono_ms, key);
        if let Some(connection) = self.connections.get_mut(conn) {
            connection.follow_later(env.now.mono_ms, rooms);
        }
    }

    pub(super) fn say(&mut self, env: &mut Env<'_>, conn: ConnId, to: AnswerTo, answer: impl Into<Answer>) {
        let said = Said::answer(to, answer, env.signature());
        env.fan_out(Instruction::Say { conn, said });
    }

    /// Lets a connection follow rooms that it has not asked for, from their last events at its login.
    pub(super) fn follow(&mut self, env: &mut Env<'_>, conn: ConnId, rooms: Vec<(RoomId, u64)>) {
        for (room, after) in rooms {
            if let Some(last_seq) = env.state.room_by_id(room).map(|room| room.last_seq) {
                self.follow_unasked(env, conn, room, after, last_seq);
            }
        }
    }

    /// Lets a connection get the events of a room above `after`, unless it waits for the answer to a join of
    /// the room: events sent before that answer would be in it again, or leave a hole before it.
    pub(super) fn follow_unasked(
        &mut self,
        env: &mut Env<'_>,
        conn: ConnId,
        room: RoomId,
        after: u64,
        last_seq: u64,
    ) {
        let Some(name) = env.state.room_by_id(room).map(|room| room.name.clone()) else { return };
        match self.connections.get_mut(conn) {
            Some(connection) if connection.awaits_join(room, &name.key()) => {
                connection.follow_if_refused(room, after)
            }
            _ => env.fan_out(Instruction::Follow { conn, room, name, after, last_seq }),
        }
    }
}

/// Why the sender of a request cannot be believed.
enum NotIdentified {
    Refused(Refusal),
    /// The guest is banned, as far as this server knows.
    Banned(UserName),
}

impl From<Refusal> for NotIdentified {
    fn from(refusal: Refusal) -> NotIdentified {
        NotIdentified::Refused(refusal)
    }
}

/// Refuses all requests except those that a connection in a reserved place may send before it has proven
/// itself.
fn for_the_unproven(request: &Request) -> Result<(), Refusal> {
    match request {
        Request::Login(Login::Password(..) | Login::Token(_))
        | Request::OperatorChallenge(_)
        | Request::OperatorLogin(_)
        | Request::AskStatus(_)
        | Request::Ping(_) => Ok(()),
        _ => Err(kept_for_operators()),
    }
}

fn kept_for_operators() -> Refusal {
    let reason = "this server has no room for another connection but those of operators and administrators";
    Refusal::new(Code::Overloaded, reason)
}
