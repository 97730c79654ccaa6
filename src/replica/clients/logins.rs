//! Logins as a guest, by password and by token, and the sessions that end.
//!
//! `credentials` has what is hashed for one.

use crate::{
    chat::{
        Authority, Ended, Proposal, banned_from_cluster, command::GuestLogin, effects::SessionFilter,
        rights::ClusterRole,
    },
    fanout::{ConnId, Instruction},
    protocol::{
        UserName,
        answer::{Answer, LoggedIn, SessionEnded},
        credential::Token,
        envelope::{AnswerTo, Claims},
        refusal::{Code, Refusal},
        request::{Login, Request},
        said::Said,
    },
};

use super::{
    Clients,
    connection::Awaited,
    doubts::may_be_lifted,
    env::Env,
    pending_write::{FollowUp, Write},
    reads::{Known, Waiting},
    tokens::{TokenTask, touch},
};

impl Clients {
    pub(super) fn log_in(
        &mut self,
        env: &mut Env<'_>,
        conn: ConnId,
        to: AnswerTo,
        login: Login,
        claims: Claims,
        known: Known,
    ) {
        let put_off = |clients: &mut Clients, env: &mut Env<'_>, to, login| {
            let request = Request::Login(login);
            clients.put_off(env, conn, Waiting::new(env.now.mono_ms, conn, to, request, claims));
        };
        let Some(connection) = self.connections.get_mut(conn) else { return };
        let current = connection.user.clone();
        let has_session = matches!(connection.authority, Authority::Session(_));
        if let Err(refusal) = env.state.check_lamport(claims.lamport_timestamp) {
            return match known {
                Known::Here => put_off(self, env, to, login),
                Known::Everywhere => self.refuse(env, conn, to, refusal),
            };
        }
        match login {
            Login::Guest(username) => {
                if let Some(user) = current.as_ref().filter(|user| user.key() != username.key()) {
                    let refusal = already(user);
                    return self.refuse(env, conn, to, refusal);
                }
                let allowed = if has_session { Ok(()) } else { self.may_be_guest(env, &username) };
                // After this answer others can write to the name, so the log has to know it. If no server
                // leads, no user can write, but the guest may still read.
                let is_for_log = !has_session && env.state.is_new_guest(&username);
                if allowed.is_ok() && is_for_log && env.server.leader().is_some() {
                    let follow_up = FollowUp::Guest(username.clone());
                    let (authority, command) = (Authority::Guest, GuestLogin.into());
                    let lamport_timestamp = claims.lamport_timestamp;
                    let proposal =
                        Proposal { user: username, authority, lamport_timestamp, command, room: None };
                    return self.propose_login(env, conn, Write { to, follow_up }, proposal);
                }
                // The name may have been registered or banned, or a ban lifted, on another server just now.
                let is_doubtful = !env.server.is_stale() || allowed.as_ref().is_err_and(may_be_lifted);
                if known == Known::Here && is_doubtful {
                    return put_off(self, env, to, Login::Guest(username));
                }
                if let Err(refusal) = allowed {
                    return self.refuse(env, conn, to, refusal);
                }
                if !has_session {
                    self.become_user(env, conn, username, Authority::Guest);
                }
                self.logged_in(env, conn, to, None, known);
            }
            Login::Password(username, password) => match current {
                // A guest may become a user of the same name. Nothing else changes a connection's user.
                Some(user) if has_session || user.key() != username.key() => {
                    let refusal = already(&user);
                    self.refuse(env, conn, to, refusal);
                }
                // It may have been set on another server just now.
                _ if known == Known::Here => put_off(self, env, to, Login::Password(username, password)),
                _ => self.check_login(env, conn, to, (username, password), claims),
            },
            Login::Token(token) => {
                if let Some(user) = current {
                    let refusal = already(&user);
                    return self.refuse(env, conn, to, refusal);
                }
                // It may have ended or been given out on another server just now.
                if known == Known::Here {
                    return put_off(self, env, to, Login::Token(token));
                }
                match by_token(env, &token) {
                    Ok((name, is_stale)) => {
                        let hash = token.hash();
                        self.become_user(env, conn, name.clone(), Authority::Session(hash));
                        self.logged_in(env, conn, to, Some(token), known);
                        if is_stale {
                            touch(env, name, hash);
                        }
                    }
                    Err(refusal) => self.refuse(env, conn, to, refusal),
                }
            }
        }
    }

    /// Answers a login that has succeeded.
    fn logged_in(
        &mut self,
        env: &mut Env<'_>,
        conn: ConnId,
        to: AnswerTo,
        token: Option<Token>,
        known: Known,
    ) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        let Some(username) = connection.user.clone() else { return };
        let account = connection.authority != Authority::Guest;
        let answer = LoggedIn { account, ..let_in(env, username, token, known) };
        self.say(env, conn, to, answer);
    }

    /// Proposes a login. It waits for the log like any write, and nothing is read from its client until then.
    pub(super) fn propose_login(
        &mut self,
        env: &mut Env<'_>,
        conn: ConnId,
        write: Write,
        proposal: Proposal,
    ) {
        if self.propose(env, conn, write, &proposal)
            && let Some(connection) = self.connections.get_mut(conn)
        {
            connection.awaited = Some(Awaited::Commit);
        }
    }

    /// The answer to a login that the log has decided, or that is allowed without the log.
    pub(super) fn login_decided(
        &mut self,
        env: &mut Env<'_>,
        conn: ConnId,
        token: Option<Token>,
        outcome: Result<UserName, Refusal>,
        known: Known,
    ) -> Answer {
        match outcome {
            Err(refusal) => Answer::Nack(refusal),
            Ok(username) => {
                let session = token.as_ref().map(|token| Authority::Session(token.hash()));
                self.become_user(env, conn, username.clone(), session.unwrap_or(Authority::Guest));
                Answer::LoggedIn(let_in(env, username, token, known))
            }
        }
    }

    /// Ends the connections whose sessions the log has ended. The one that asked for it has its answer
    /// already, or gets it before it is closed. A guest whose name was registered keeps the connection, but
    /// has to log in before the next request. It stays among the user's connections, so that the end of a
    /// membership reaches it, and the rooms that it follows go on without a hole.
    pub(super) fn end_sessions(&mut self, env: &mut Env<'_>, ended: &Ended, asker: Option<ConnId>) {
        for conn in self.connections.of_user(&ended.user) {
            let Some(connection) = self.connections.get_mut(conn) else { continue };
            if !connection.is_among(ended.which) {
                continue;
            }
            if Some(conn) == asker && ended.which == SessionFilter::Guests {
                continue;
            }
            if Some(conn) == asker {
                self.close(conn, env.outputs);
            } else {
                self.end_session(env, conn, ended.reason);
            }
        }
    }

    /// Looks at the sessions of some connections: ends those whose time is over, and has the use of others
    /// noted.
    pub(super) fn look_at_tokens(&mut self, env: &mut Env<'_>, trusts_clock: bool) {
        for task in self.round.look(env, &self.connections, trusts_clock) {
            match task {
                TokenTask::End(conn) => self.end_session(env, conn, "the session has expired; log in again"),
                TokenTask::Touch(user, token) => touch(env, user, token),
            }
        }
    }

    /// Ends a connection whose session has ended.
    pub(super) fn end_session(&mut self, env: &mut Env<'_>, conn: ConnId, reason: &str) {
        let said = Said::push(SessionEnded { reason: reason.into() }, env.signature());
        env.fan_out(Instruction::Say { conn, said });
        self.close(conn, env.outputs);
    }
}

/// The answer to a login of a user with or without an account.
fn let_in(env: &Env<'_>, username: UserName, token: Option<Token>, known: Known) -> LoggedIn {
    let role = env.state.cluster_role_of(Some(&username.key()), false);
    LoggedIn {
        account: token.is_some(),
        administrator: role == ClusterRole::Administrator,
        epoch: env.server.epoch(),
        leader_id: env.server.leader().cloned(),
        server_id: env.config.server_id.clone(),
        token,
        username,
        stale: known == Known::Here,
    }
}

/// The user whose session a token opens, and whether its use is to be noted.
fn by_token(env: &Env<'_>, token: &Token) -> Result<(UserName, bool), Refusal> {
    let hash = token.hash();
    let user = env.state.user_of_token(&hash);
    let session = user.and_then(|user| user.sessions.get(&hash));
    let valid = session.filter(|session| session.lasts(env.now.wall_ms, env.config.auth.token_idle_ms()));
    let (Some(user), Some(valid)) = (user, valid) else { return Err(Token::refused()) };
    if user.account.is_banned(env.now.wall_ms) {
        return Err(banned_from_cluster(&user.name));
    }
    Ok((user.name.clone(), valid.is_stale(env.now.wall_ms)))
}

fn already(user: &UserName) -> Refusal {
    let reason = format!("this connection is logged in as {user}; open another one");
    Refusal::new(Code::NotAuthenticated, reason)
}
