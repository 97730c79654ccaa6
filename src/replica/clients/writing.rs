//! A request that changes something: it is proposed, and the log decides.
//!
//! No request is finally refused by this server's state alone. A leader that was deposed while it was paused
//! does not know it, and may lack what was acknowledged elsewhere: see `doubts`.

use std::collections::BTreeSet;

use crate::{
    chat::{
        Authority, Command, Proposal, command,
        draft::{Asked, Draft},
        requests::draft_of,
        rights::{ClusterPermission, ClusterRole},
    },
    config::Followers,
    fanout::ConnId,
    protocol::{
        RoomId, UserName,
        answer::PresenceState,
        checked::ClientMsgId,
        directory::ServerChange,
        envelope::{AnswerTo, Claims},
        refusal::{Code, Refusal},
        request::{Chat, Request},
        said::Said,
        status::Role,
        text::counted,
    },
};

use super::{
    super::evidence::evidence,
    Clients,
    admission::{SHED_RETRY_MS, may_be_called, may_propose, within_limits_of_state},
    connection::{Awaited, WriteAnswer},
    env::Env,
    pending_job::Unfinished,
    pending_write::{FollowUp, Write},
    reads::{Known, Waiting},
};

/// When to come back after a request that was refused because the disk is full.
const FULL_RETRY_MS: u64 = 5_000;

impl Clients {
    pub(super) fn write(
        &mut self,
        env: &mut Env<'_>,
        conn: ConnId,
        to: AnswerTo,
        request: Request,
        claims: Claims,
        known: Known,
    ) {
        if redirects(env) {
            return self.redirect(env, conn, to);
        }
        // A hash is made or checked by the state, and a request that the rules refuse must not cost one.
        if known == Known::Here && request.is_awaited() {
            return self.put_off(env, conn, Waiting::new(env.now.mono_ms, conn, to, request, claims));
        }
        let Some(connection) = self.connections.get_mut(conn) else { return };
        let unasked =
            if matches!(request, Request::Chat(_)) { connection.take_unasked(None) } else { vec![] };
        self.follow(env, conn, unasked);
        if let Err(refusal) = self.keep_order(env, conn, &request) {
            return self.refuse(env, conn, to, refusal);
        }
        let follow_up = match &request {
            Request::CreateJoin(join) => FollowUp::join(join, claims.room),
            _ => FollowUp::Answer,
        };
        let client_msg_id = match &request {
            Request::Chat(chat) => Some(chat.client_msg_id.clone()),
            _ => None,
        };
        let draft = match self.draft(env, conn, request, claims.room) {
            Some(Ok(draft)) => draft,
            Some(Err(refusal)) => return self.refuse(env, conn, to, refusal),
            // Only writes come here.
            None => return,
        };
        let Draft { command, secret, named } = draft;
        let called = named.as_ref().or(command.operation().makes_bot());
        if let Some(Err(refusal)) = called.map(|name| may_be_called(env, name)) {
            return self.refuse(env, conn, to, refusal);
        }
        if let Err(refusal) = may_name(env, &command) {
            return self.refuse(env, conn, to, refusal);
        }
        let unfinished = Unfinished { write: Write { to, follow_up }, command, named, claims };
        if let Some(secret) = secret {
            return self.work_on(env, conn, unfinished, secret);
        }
        if !self.propose_finished(env, conn, unfinished) {
            return;
        }
        if let (Some(connection), Some(id)) = (self.connections.get_mut(conn), client_msg_id) {
            connection.taken(id.as_ref());
        }
    }

    /// The proposal for a request, and what it lacks.
    fn draft(
        &mut self,
        env: &Env<'_>,
        conn: ConnId,
        request: Request,
        room: Option<RoomId>,
    ) -> Option<Result<Draft<Command>, Refusal>> {
        let user = self.connections.get_mut(conn)?.user.clone();
        let origin = env.server.origin(env.proposals.next_seq());
        let is_online = |user: &UserName| self.presence.state(&user.key()) != PresenceState::Offline;
        let would_live = |change: &ServerChange| match env.server.plan_servers(change).refusal {
            Some(reason) => Err(Refusal::new(Code::Forbidden, reason)),
            None => Ok(()),
        };
        let servers = &env.config.servers;
        let (is_online, would_live) = (&is_online, &would_live);
        draft_of(
            request,
            &Asked { state: env.state, user: user.as_ref(), room, origin, is_online, servers, would_live },
        )
    }

    /// Proposes a complete command; returns whether it was proposed.
    pub(super) fn propose_finished(
        &mut self,
        env: &mut Env<'_>,
        conn: ConnId,
        unfinished: Unfinished,
    ) -> bool {
        let Unfinished { write, command, named, claims } = unfinished;
        let proposal = self.proposal(conn, command, claims, named);
        proposal.is_some_and(|proposal| self.propose(env, conn, write, &proposal))
    }

    /// The proposal of a connection. `named` is the user it is about, if they need not be logged in.
    pub(super) fn proposal(
        &mut self,
        conn: ConnId,
        command: Command,
        claims: Claims,
        named: Option<UserName>,
    ) -> Option<Proposal> {
        let connection = self.connections.get_mut(conn)?;
        // For requests that operators may send, the connection acts as an operator; for others as its user.
        let is_for_operators = ClusterRole::Operator.may(command.operation().permission());
        let authority = if connection.is_operator && is_for_operators {
            Authority::Operator
        } else {
            connection.authority
        };
        let user = named.or_else(|| connection.user.clone()).or_else(|| {
            // An operator has no name, and a webhook is known by its token.
            UserName::new(if connection.is_operator { "operator" } else { "webhook" })
        })?;
        let Claims { lamport_timestamp, room } = claims;
        Some(Proposal { user, authority, lamport_timestamp, command, room })
    }

    /// Proposes, unless it is over a limit; returns whether it was proposed.
    pub(super) fn propose(
        &mut self,
        env: &mut Env<'_>,
        conn: ConnId,
        write: Write,
        proposal: &Proposal,
    ) -> bool {
        let allowed = may_propose(env);
        if allowed.is_ok() && within_limits_of_state(env, proposal).is_err() {
            self.doubt_limit(env, conn, write.to, proposal);
            return false;
        }
        if let Err(refusal) = allowed.and_then(|()| self.admit(env, conn, proposal)) {
            self.note_shed(conn, &proposal.command, &refusal);
            self.refuse(env, conn, write.to, refusal);
            return false;
        }
        self.enqueue(env, conn, write, proposal);
        true
    }

    /// Proposes what was counted before.
    pub(super) fn propose_counted(&mut self, env: &mut Env<'_>, conn: ConnId, unfinished: Unfinished) {
        let Unfinished { write, command, named, claims } = unfinished;
        let Some(proposal) = self.proposal(conn, command, claims, named) else { return };
        if let Err(refusal) = may_propose(env) {
            return self.refuse(env, conn, write.to, refusal);
        }
        let renews = matches!(write.follow_up, FollowUp::Renew(_));
        self.enqueue(env, conn, write, &proposal);
        if renews && let Some(connection) = self.connections.get_mut(conn) {
            // Later requests act by the new token, once that is valid.
            connection.awaited = Some(Awaited::Commit);
        }
    }

    pub(super) fn enqueue(&mut self, env: &mut Env<'_>, conn: ConnId, write: Write, proposal: &Proposal) {
        let seq = env.proposals.push(env.now.mono_ms, conn, proposal);
        if let Some(connection) = self.connections.get_mut(conn) {
            connection.wait_for(write, seq);
        }
    }

    pub(super) fn check_early(&mut self, env: &mut Env<'_>, proposal: &Proposal) -> Result<(), Refusal> {
        let read = |room, seq| env.server.event(room, seq);
        match evidence(env.state, proposal, &read) {
            Ok(evidence) => env.state.check(env.now.wall_ms, proposal, &evidence),
            Err(error) => {
                env.server.unreadable(error);
                Ok(())
            }
        }
    }

    /// Remembers a message that is refused for load or for a rate: one that follows it would overtake it.
    pub(super) fn note_shed(&mut self, conn: ConnId, command: &Command, refusal: &Refusal) {
        if let Command::Say(command::Say { client_msg_id, .. }) = command
            && matches!(refusal.code, Code::RateLimited | Code::Overloaded)
            && let Some(connection) = self.connections.get_mut(conn)
        {
            connection.shed(ClientMsgId::new(client_msg_id.as_str()).ok().as_ref());
        }
    }

    /// Refuses a message if there is too much load, or if the message that it follows was so refused:
    /// messages that a client sends ahead must be taken in its order or not at all.
    fn keep_order(&mut self, env: &Env<'_>, conn: ConnId, request: &Request) -> Result<(), Refusal> {
        let Request::Chat(Chat { client_msg_id, follows, .. }) = request else { return Ok(()) };
        let full = env.proposals.is_full(env.config.limits.pending_proposals);
        let Some(connection) = self.connections.get_mut(conn) else { return Ok(()) };
        if !full && !connection.overtakes(follows.as_ref()) {
            return Ok(());
        }
        connection.shed(client_msg_id.as_ref());
        let reason = if full {
            "too much waits for its commit; nothing was proposed"
        } else {
            "the message that it follows was refused for load; send that one first"
        };
        Err(Refusal::new(Code::Overloaded, reason).retry_after(SHED_RETRY_MS))
    }

    /// Checks the rates, which each server counts by itself. A request that passes is counted.
    pub(super) fn admit(
        &mut self,
        env: &mut Env<'_>,
        conn: ConnId,
        proposal: &Proposal,
    ) -> Result<(), Refusal> {
        let Proposal { user, command, .. } = proposal;
        let is_privileged = self.is_privileged(env, conn);
        let Some(connection) = self.connections.get_mut(conn) else { return Ok(()) };
        let (addr, has_writes) = (connection.addr, connection.has_writes());
        let limits = &env.config.limits;
        let now_ms = env.now.mono_ms;
        if !is_privileged {
            // Requests sent before the first write is decided are of the same guest.
            let is_new = |name: &UserName| env.state.user(&name.key()).is_none();
            let own = (proposal.authority == Authority::Guest && !has_writes).then_some(user);
            let names = command.operation().names().into_iter().chain(own.cloned());
            let new = names.filter(is_new).map(|name| name.key()).collect::<BTreeSet<_>>();
            match command {
                Command::Register(_) => self.rates.registration(now_ms, limits, addr)?,
                Command::Login(_) | Command::HookPost(_) => {}
                _ if !new.is_empty() => self.rates.new_names(now_ms, limits, addr, new.len() as u64)?,
                _ => {}
            }
        }
        let creates = command.operation().creates(user);
        if creates.is_some_and(|room| proposal.room.is_none() && env.state.room(&room.key()).is_none()) {
            self.rates.new_room(now_ms, limits, (user.key(), addr))?;
        }
        if let Command::FileBegin(command::FileBegin { file, .. }) = command {
            if file.size > limits.file_bytes {
                let reason = format!("a file may have {}", counted(limits.file_bytes, "byte"));
                return Err(Refusal::new(Code::TooLarge, reason));
            }
            self.rates.upload(now_ms, limits, (user.key(), addr), file.size)?;
        }
        Ok(())
    }

    /// Whether a connection may make any number of accounts and passwords: an operator's or an
    /// administrator's.
    pub(super) fn is_privileged(&mut self, env: &Env<'_>, conn: ConnId) -> bool {
        let Some(connection) = self.connections.get_mut(conn) else { return false };
        let user = connection.user.as_ref().filter(|_| connection.authority != Authority::Guest);
        let role = env.state.cluster_role_of(user.map(UserName::key).as_ref(), connection.is_operator);
        role.may(ClusterPermission::PassLimits)
    }

    fn redirect(&mut self, env: &mut Env<'_>, conn: ConnId, to: AnswerTo) {
        let has_room = env.server.has_room();
        let reason = if has_room { "the leader takes this" } else { "the disk of this server is full" };
        // One that leads without room is the last one: the others have none either.
        let redirect = env.server.redirect(reason).filter(|_| has_room || env.server.role() != Role::Leader);
        let Some(redirect) = redirect else {
            let refusal = if !has_room {
                let reason = "the disk of this server is full; it takes messages again when there is room";
                Refusal::new(Code::Overloaded, reason).retry_after(FULL_RETRY_MS)
            } else if env.server.is_outside() {
                let reason = "this server has to be added to its cluster first; use another server";
                Refusal::new(Code::Unavailable, reason)
            } else {
                Refusal::new(Code::Unavailable, "there is no leader at the moment; try again")
            };
            // Without a leader its client should look for another server; here it can still read.
            return if has_room {
                self.refuse_last(env, conn, to, refusal)
            } else {
                self.refuse(env, conn, to, refusal)
            };
        };
        let said = Said::answer(to, redirect, env.signature());
        self.answer_in_turn(env, conn, WriteAnswer::Last(said));
    }
}

/// Whether a command may add the users that it names: the ids of servers are no users.
fn may_name(env: &Env<'_>, command: &Command) -> Result<(), Refusal> {
    if !matches!(
        command,
        Command::Import(_)
            | Command::ImportRoom(_)
            | Command::Invite(_)
            | Command::Ban(_)
            | Command::ClusterBan(_)
    ) {
        // All others are refused by the log if there is no such user.
        return Ok(());
    }
    let names = command.operation().names();
    let mut new = names.iter().filter(|name| env.state.user(&name.key()).is_none());
    new.try_for_each(|name| may_be_called(env, name))
}

/// Whether this server takes no writes but sends its clients to the leader, if there is one.
fn redirects(env: &Env<'_>) -> bool {
    let leads = env.server.role() == Role::Leader;
    !env.server.has_room()
        || env.server.is_outside()
        || (env.config.followers == Followers::Redirect && !leads)
}
