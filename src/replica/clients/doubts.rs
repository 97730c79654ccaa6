//! No final answer by a state that may be old.
//!
//! This server's state may be old even if it leads: a leader that was paused for a while may have been
//! deposed without knowing it, and may lack writes that were acknowledged elsewhere. An answer that follows
//! from the state is therefore given in one of three ways.
//!
//! - The log gives it. All rules of commands are checked there, and nowhere before.
//! - The request waits until a majority has confirmed how far the log goes: each read that tells of the state
//!   ([`Clients::read`]), and each request that holds up its connection, logins included
//!   ([`Clients::put_off`]).
//! - For limits that each server checks by itself, an empty proposal takes the request's place in the log.
//!   When that is applied the request is judged again ([`FollowUp::Judge`]). Its answer keeps its turn.
//!
//! Some refusals never become wrong: a registered name stays registered. And a server that knows that it has
//! lost the majority lets guests in and lets them read: such an answer says that it may be `stale`, and so is
//! not final.

use crate::{
    chat::{
        Authority, Command, Proposal,
        command::{self, Nothing},
        must_log_in,
    },
    fanout::ConnId,
    protocol::{
        checked::ClientMsgId,
        envelope::AnswerTo,
        name::UserName,
        refusal::{Code, Refusal},
        request::Request,
    },
};

use super::{
    Clients,
    admission::{may_propose, within_limits_of_state},
    connection::Awaited,
    env::Env,
    pending_write::{FollowUp, Write},
    reads::{Known, Waiting},
};

/// Whether a refusal of a login may become wrong: a ban can be lifted.
pub(super) fn may_be_lifted(refusal: &Refusal) -> bool {
    refusal.code == Code::Forbidden
}

impl Clients {
    /// Lets a request wait until this server knows everything that was acknowledged before it came. Nothing
    /// more is read from its client meanwhile.
    pub(super) fn put_off(&mut self, env: &mut Env<'_>, conn: ConnId, waiting: Waiting) {
        let to = waiting.to.clone();
        if let Err(refusal) = self.reads.push(waiting) {
            return self.refuse(env, conn, to, refusal);
        }
        if let Some(connection) = self.connections.get_mut(conn) {
            connection.awaited = Some(Awaited::Leader);
        }
    }

    /// Goes on with a request that was put off: this server is up to date now.
    pub(super) fn go_on_with(&mut self, env: &mut Env<'_>, waiting: Waiting) {
        let Waiting { conn, to, request, claims, .. } = waiting;
        let Some(connection) = self.connections.get_mut(conn) else { return };
        if !matches!(connection.awaited, Some(Awaited::Leader)) {
            return;
        }
        connection.awaited = None;
        let known = Known::Everywhere;
        match request {
            Request::Login(login) => self.log_in(env, conn, to, login, claims, known),
            request => self.write(env, conn, to, request, claims, known),
        }
        self.read_on(conn, env.outputs);
    }

    /// Handles a guest who is banned, as far as this server knows.
    pub(super) fn doubt_ban(&mut self, env: &mut Env<'_>, conn: ConnId, to: AnswerTo, guest: UserName) {
        let proposal = Proposal {
            user: guest,
            authority: Authority::Guest,
            lamport_timestamp: 0,
            command: Nothing.into(),
            room: None,
        };
        match may_propose(env) {
            Ok(()) => self.judge_later(env, conn, to, proposal),
            Err(refusal) => self.refuse(env, conn, to, refusal),
        }
    }

    /// Handles a request over a limit of the state, as far as this server knows.
    pub(super) fn doubt_limit(&mut self, env: &mut Env<'_>, conn: ConnId, to: AnswerTo, proposal: &Proposal) {
        // A message that follows this one must not overtake it if it has to be sent again.
        if let Some(id) = said_under(&proposal.command)
            && let Some(connection) = self.connections.get_mut(conn)
        {
            connection.shed(Some(&id));
        }
        self.judge_later(env, conn, to, proposal.clone());
    }

    fn judge_later(&mut self, env: &mut Env<'_>, conn: ConnId, to: AnswerTo, proposal: Proposal) {
        let nothing = Proposal { command: Nothing.into(), ..proposal.clone() };
        self.enqueue(env, conn, Write { to, follow_up: FollowUp::Judge(Box::new(proposal)) }, &nothing);
    }

    /// Judges a request that was to be refused: now the state is as new as the request.
    pub(super) fn judged(&mut self, env: &Env<'_>, conn: ConnId, proposal: &Proposal) -> Refusal {
        let is_guest = proposal.authority == Authority::Guest;
        let identity = match env.state.may_begin_as(&proposal.user, env.now.wall_ms) {
            Err(refusal) if is_guest && refusal.code == Code::NameTaken => Err(must_log_in(&proposal.user)),
            Err(refusal) if is_guest => Err(refusal),
            _ => Ok(()),
        };
        let refused = identity.and_then(|()| within_limits_of_state(env, proposal)).err();
        if refused.is_some()
            && let Some(connection) = self.connections.get_mut(conn)
        {
            connection.taken(said_under(&proposal.command).as_ref());
        }
        refused.unwrap_or_else(|| {
            let reason = "what stood against it has changed on another server; send it again";
            Refusal::new(Code::Overloaded, reason).retry_after(0)
        })
    }
}

/// The id of the message that a command says.
fn said_under(command: &Command) -> Option<ClientMsgId> {
    let Command::Say(command::Say { client_msg_id, .. }) = command else { return None };
    ClientMsgId::new(client_msg_id.as_str()).ok()
}
