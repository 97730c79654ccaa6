//! Passwords and proofs that are checked, verifiers that are made and tokens that are drawn, while a request
//! waits.
//!
//! Passwords are not checked here. Rights, limits and throttles decide here what may be hashed; the thread of
//! the connection does it ([`Output::Credential`]) and returns the result. It reads nothing from its client
//! meanwhile, nor until the log has decided about a login ([`Awaited`]). So a client may send a login and its
//! first requests together. [`Output::ReadOn`] lets the thread read again.
//!
//! A command in the log names the checked password by the entry that set it. If another one was set
//! meanwhile, the log refuses.

use crate::{
    chat::{
        Authority, Command, Proposal, command,
        entities::account::Account,
        secret::{Made, Secret},
    },
    fanout::ConnId,
    protocol::{
        UserName,
        answer::{self, Challenge},
        checked::Digest,
        credential::{self, Done, Job, Password},
        envelope::{AnswerTo, Claims},
        refusal::{Code, Refusal},
        request::OperatorLogin,
    },
};

use super::{
    super::{io::Output, outputs::Outputs},
    Clients,
    admission::within_limits_of_state,
    connection::Awaited,
    env::Env,
    pending_job::{CommandJob, Continuation, PendingJob, Unfinished},
    pending_write::{FollowUp, Write},
    throttle::Guarded,
};

/// When to come back if an address has its share of the hashing: most of it will be done by then.
const SHARE_RETRY_MS: u64 = 500;

impl Clients {
    /// Lets the connection's thread make or check what a command lacks, if rights and limits allow it.
    pub(super) fn work_on(
        &mut self,
        env: &mut Env<'_>,
        conn: ConnId,
        unfinished: Unfinished,
        secret: Secret,
    ) {
        let allowed = match &secret {
            Secret::Draw => self.may_make_bot(env, conn, &unfinished.command),
            Secret::Room { .. } => self.may_hash(env, conn),
            Secret::Set(_) | Secret::Own { .. } => {
                let sets = !matches!(secret, Secret::Own { new: None, .. });
                self.may_hash(env, conn).and_then(|()| self.may_set(env, conn, &unfinished, sets))
            }
        };
        if let Err(refusal) = allowed {
            return self.refuse(env, conn, unfinished.write.to, refusal);
        }
        let (command_job, job, guarded) = match secret {
            Secret::Draw => (CommandJob::Draw, Job::Draw, None),
            Secret::Set(password) => (CommandJob::Make, Job::Make { password }, None),
            Secret::Room { room, password, verifier, password_rev } => {
                let job = Job::Check { password, verifier: Some(verifier) };
                (CommandJob::CheckRoom { password_rev }, job, Some(Guarded::Room(room)))
            }
            Secret::Own { password, verifier, new } => {
                let user = self.connections.get_mut(conn).and_then(|connection| connection.user.as_ref());
                let guarded = user.map(|user| Guarded::Account(user.key()));
                (CommandJob::CheckOwn { new }, Job::Check { password, verifier }, guarded)
            }
        };
        self.work(env, conn, Continuation::Finish(Box::new(unfinished), command_job), job, guarded);
    }

    /// Whether another password from the address of `conn` may be hashed: each address has a share of the
    /// queue.
    fn may_hash(&mut self, env: &Env<'_>, conn: ConnId) -> Result<(), Refusal> {
        let addr = self.connections.get_mut(conn).and_then(|connection| connection.addr);
        if self.shares.hashing(addr) < env.config.auth.hashes_per_address {
            return Ok(());
        }
        let reason = "too many passwords from your address wait to be checked";
        Err(Refusal::new(Code::Overloaded, reason).retry_after(SHARE_RETRY_MS))
    }

    /// Checks rules and limits of a request before a password is hashed for it, as far as they are known now.
    /// A user without the right is told so before it costs a hash.
    fn may_set(
        &mut self,
        env: &mut Env<'_>,
        conn: ConnId,
        unfinished: &Unfinished,
        sets: bool,
    ) -> Result<(), Refusal> {
        let Unfinished { command, named, claims, .. } = unfinished;
        let proposal = self.proposal(conn, command.clone(), *claims, named.clone());
        let Some(proposal) = proposal else { return Ok(()) };
        // This server was up to date after the request had come, see `Clients::put_off`. But writes of the
        // connection that still wait may change the rules' answer.
        if self.connections.get_mut(conn).is_some_and(|connection| !connection.has_writes()) {
            self.check_early(env, &proposal)?;
        }
        within_limits_of_state(env, &proposal)?;
        self.admit(env, conn, &proposal)?;
        let is_registration = matches!(command, Command::Register(_));
        if sets && !is_registration && !self.is_privileged(env, conn) {
            let addr = self.connections.get_mut(conn).and_then(|connection| connection.addr);
            self.rates.password(env.now.mono_ms, &env.config.limits, addr)?;
        }
        Ok(())
    }

    /// If a command makes a bot, whether it may be made from the address of `conn`. Each try counts, since
    /// the rules have to look at all users for it.
    fn may_make_bot(&mut self, env: &mut Env<'_>, conn: ConnId, command: &Command) -> Result<(), Refusal> {
        let Some(bot) = command.operation().makes_bot() else { return Ok(()) };
        let account = env.state.user(&bot.key()).map(|user| &user.account);
        if account.is_some_and(Account::is_registered) || self.is_privileged(env, conn) {
            return Ok(());
        }
        let addr = self.connections.get_mut(conn).and_then(|connection| connection.addr);
        self.rates.registration(env.now.mono_ms, &env.config.limits, addr)
    }

    fn work(
        &mut self,
        env: &mut Env<'_>,
        conn: ConnId,
        continuation: Continuation,
        job: Job,
        guarded: Option<Guarded>,
    ) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        let addr = connection.addr;
        if let Some(guarded) = &guarded
            && let Err(refusal) = self.throttle.begin(env.now.mono_ms, guarded, addr)
        {
            return self.refuse(env, conn, continuation.answer_to(), refusal);
        }
        let hashes = job.hashes();
        if hashes {
            self.shares.take(addr);
        }
        connection.awaited = Some(Awaited::Job(Box::new(PendingJob { continuation, guarded, hashes })));
        env.outputs.push(Output::Credential { conn, job });
    }

    /// Checks the password of a login, if its address may have another one hashed.
    pub(super) fn check_login(
        &mut self,
        env: &mut Env<'_>,
        conn: ConnId,
        to: AnswerTo,
        (username, password): (UserName, Password),
        claims: Claims,
    ) {
        if let Err(refusal) = self.may_hash(env, conn) {
            return self.refuse(env, conn, to, refusal);
        }
        let (verifier, password_rev) = env.state.password_of(&username);
        let guarded = Some(Guarded::Account(username.key()));
        let continuation = Continuation::LogIn { to, username, password_rev, claims };
        self.work(env, conn, continuation, Job::Check { password, verifier }, guarded);
    }

    pub(super) fn challenge(&mut self, env: &mut Env<'_>, conn: ConnId, to: AnswerTo) {
        self.work(env, conn, Continuation::Challenge(to), Job::Challenge, None);
    }

    pub(super) fn prove(&mut self, env: &mut Env<'_>, conn: ConnId, to: AnswerTo, login: OperatorLogin) {
        let challenge = self.connections.get_mut(conn).and_then(|connection| connection.challenge.take());
        let Some(challenge) = challenge else {
            let refusal =
                Refusal::bad_request("ask for an operator_challenge first; each is good for one try");
            return self.refuse(env, conn, to, refusal);
        };
        let job = Job::Prove { challenge, proof: login.proof.0 };
        self.work(env, conn, Continuation::Proof(to), job, None);
    }

    /// Takes the result of a job from the thread of a connection.
    pub fn on_credential(&mut self, env: &mut Env<'_>, conn: ConnId, done: Result<Done, Refusal>) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        self.shares.give_back(connection);
        let Some(Awaited::Job(pending)) = connection.awaited.take() else { return };
        let PendingJob { continuation, guarded, .. } = *pending;
        match (&guarded, &done) {
            (Some(guarded), Ok(Done::Checked { ok: true, .. })) => {
                self.throttle.succeeded(env.now.mono_ms, guarded, connection.addr);
            }
            (Some(guarded), Err(_)) => self.throttle.undone(env.now.mono_ms, guarded, connection.addr),
            _ => {}
        }
        if !connection.is_over() {
            match done {
                Err(refusal) => self.refuse(env, conn, continuation.answer_to(), refusal),
                Ok(done) => self.go_on(env, conn, continuation, done),
            }
        }
        self.read_on(conn, env.outputs);
    }

    /// Notes that a request waits no longer, and lets its client be read from again.
    pub(super) fn answered(&mut self, conn: ConnId, outputs: &mut Outputs) {
        let connection = self.connections.get_mut(conn);
        if connection.is_some_and(|connection| connection.awaited.take().is_some()) {
            outputs.push(Output::ReadOn { conn });
        }
    }

    /// Lets the client be read from again, unless its request still waits.
    pub(super) fn read_on(&mut self, conn: ConnId, outputs: &mut Outputs) {
        if self.connections.get_mut(conn).is_none_or(|connection| connection.awaited.is_none()) {
            outputs.push(Output::ReadOn { conn });
        }
    }

    /// Goes on with a request after the work for it is done.
    fn go_on(&mut self, env: &mut Env<'_>, conn: ConnId, continuation: Continuation, done: Done) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        match (continuation, done) {
            (Continuation::Challenge(to), Done::Challenge { challenge }) => {
                connection.challenge = Some(challenge);
                self.say(env, conn, to, Challenge { challenge: Digest(challenge) });
            }
            (Continuation::Proof(to), Done::Proved { ok: true }) => {
                connection.is_operator = true;
                self.say(env, conn, to, answer::Done {});
            }
            (Continuation::Proof(to), _) => {
                let refusal = Refusal::new(Code::BadCredentials, "the proof does not answer the challenge");
                self.refuse(env, conn, to, refusal);
            }
            (Continuation::LogIn { to, .. }, Done::Checked { ok: false, .. }) => {
                self.refuse(env, conn, to, credential::wrong_password());
            }
            (
                Continuation::LogIn { to, username, password_rev, claims },
                Done::Checked { rehashed, token, token_hash, .. },
            ) => {
                let expires_ms = env.now.wall_ms.saturating_add(env.config.auth.token_absolute_ms());
                let command = command::Login { password_rev, token: token_hash, expires_ms, rehashed }.into();
                let authority = Authority::Guest;
                let lamport_timestamp = claims.lamport_timestamp;
                let proposal = Proposal { user: username, authority, lamport_timestamp, command, room: None };
                self.propose_login(env, conn, Write { to, follow_up: FollowUp::LogIn(token) }, proposal);
            }
            (Continuation::Finish(unfinished, command_job), done) => {
                self.finish(env, conn, *unfinished, command_job, done)
            }
            // No other job is given for these.
            (Continuation::Challenge(_) | Continuation::LogIn { .. }, _) => {}
        }
    }

    /// Puts into a command what was made or checked for it, and proposes it.
    fn finish(
        &mut self,
        env: &mut Env<'_>,
        conn: ConnId,
        mut unfinished: Unfinished,
        command_job: CommandJob,
        done: Done,
    ) {
        match (command_job, done) {
            (CommandJob::Make, Done::Made { verifier }) => {
                unfinished.command.complete(Made::Verifier(verifier));
                self.propose_counted(env, conn, unfinished);
            }
            (CommandJob::CheckOwn { .. }, Done::Checked { ok: false, .. }) => {
                self.refuse(env, conn, unfinished.write.to, credential::wrong_password());
            }
            (CommandJob::CheckOwn { new: Some(password) }, Done::Checked { token, token_hash, .. }) => {
                let expires_ms = env.now.wall_ms.saturating_add(env.config.auth.token_absolute_ms());
                unfinished.command.complete(Made::Session(token_hash, expires_ms));
                unfinished.write.follow_up = FollowUp::Renew(token);
                let continuation = Continuation::Finish(Box::new(unfinished), CommandJob::Make);
                self.work(env, conn, continuation, Job::Make { password }, None);
            }
            (CommandJob::CheckOwn { new: None }, Done::Checked { .. }) => {
                self.propose_counted(env, conn, unfinished);
            }
            (CommandJob::CheckRoom { password_rev }, Done::Checked { ok, .. }) => {
                // The rules refuse a wrong password, with a reason that does not reveal a private room.
                if ok {
                    unfinished.command.complete(Made::Entry(password_rev));
                }
                self.propose_finished(env, conn, unfinished);
            }
            (CommandJob::Draw, Done::Drawn { token }) => {
                unfinished.command.complete(Made::TokenHash(token.hash()));
                unfinished.write.follow_up = FollowUp::Token(token);
                self.propose_finished(env, conn, unfinished);
            }
            // No other job is given for these.
            (
                CommandJob::Make
                | CommandJob::CheckOwn { .. }
                | CommandJob::CheckRoom { .. }
                | CommandJob::Draw,
                _,
            ) => {}
        }
    }
}
