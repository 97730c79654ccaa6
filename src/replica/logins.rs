//! Who somebody is: logins, passwords, tokens, and the sessions that end.
//!
//! A password is never checked here: the hashing threads do that ([`Output::Credential`]), one job of a
//! connection at a time. Until the answer has come, and until the log has decided about a login, what the
//! connection sends waits ([`Busy`]); so a client may send a login and the first requests in one go.
//!
//! What goes into the log names the password that was checked by the entry that set it. Where another one
//! was set meanwhile, the log refuses.

use crate::{
    chat::{
        Action, Proposal, Standing,
        account::Account,
        apply::{Ended, Which},
        banned_from_cluster,
        command::Administer,
    },
    protocol::{
        Request, RoomKey, RoomName, UserName,
        answer::{Answer, Asked, Push},
        credential::{self, Done, Job, Token, Verifier},
        hex,
        refusal::{Code, Refusal},
        request::{Administration, Login},
    },
};

use super::{
    fanout::Fan,
    io::{ConnId, Now, Output},
    jobs::UnderWay,
    replica::Replica,
    session::{Busy, Then, Write},
    storage::Storage,
    throttle::Guarded,
};

/// A request that waits for a hashing thread.
#[derive(Debug)]
pub struct Working {
    asked: Asked,
    request: Request,
    lamport_timestamp: u64,
    /// What is being done.
    step: Step,
}

impl Working {
    /// Whether the request is a `create_join` of that room.
    pub fn joins(&self, key: &RoomKey) -> bool {
        matches!(&self.request, Request::CreateJoin { room, .. } if room.key() == *key)
    }
}

/// What a hashing thread does for a request, and so what comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Makes the verifier that the request sets, in the place of the password that this log entry set: 0 where
    /// no old one was asked for.
    Make { password_rev: u64 },
    /// Checks a password that this log entry set.
    Check { password_rev: u64 },
    /// Draws random bytes.
    Draw,
    /// Checks an operator's proof.
    Prove,
}

/// When to come back where an address has its share of the queue: by then the most of it has been worked on.
const SHARE_RETRY_MS: u64 = 500;

/// What a request needs of a hashing thread before it can be proposed.
enum Needed {
    Nothing,
    Make(credential::Password),
    CheckRoom(credential::Password, Box<Verifier>, u64, RoomName),
    CheckOwn(credential::Password),
    Draw,
}

impl<S: Storage> Replica<S> {
    /// Hands the request to the hashing threads where it needs them; gives it back where it does not.
    pub(super) fn hash_first(
        &mut self,
        now: Now,
        conn: ConnId,
        asked: Asked,
        request: Request,
        lamport_timestamp: u64,
    ) -> Option<(Asked, Request)> {
        let needed = self.needed(conn, &request);
        let allowed = match needed {
            Needed::Nothing => return Some((asked, request)),
            Needed::Draw => self.may_make_bot(now, conn, &request),
            Needed::CheckRoom(..) => self.may_hash(conn),
            Needed::Make(_) | Needed::CheckOwn(_) => self
                .check_room_password(&request)
                .and_then(|()| self.may_hash(conn))
                .and_then(|()| self.may_set(now, conn, &request, lamport_timestamp)),
        };
        if let Err(refusal) = allowed {
            self.refuse(now, conn, asked, refusal, false);
            return None;
        }
        let (step, job, guarded) = match needed {
            Needed::Nothing => return Some((asked, request)),
            Needed::Make(password) => (Step::Make { password_rev: 0 }, Job::Make { password }, None),
            Needed::Draw => (Step::Draw, Job::Draw, None),
            Needed::CheckRoom(password, verifier, password_rev, room) => {
                let job = Job::Check { password, verifier: Some(verifier) };
                (Step::Check { password_rev }, job, Some(Guarded::Room(room.key())))
            }
            Needed::CheckOwn(password) => {
                let user = self.sessions.get_mut(conn).and_then(|session| session.user.clone());
                let Some(user) = user else { return Some((asked, request)) };
                let (password_rev, verifier) = self.password_of(&user);
                let job = Job::Check { password, verifier };
                (Step::Check { password_rev }, job, Some(Guarded::Account(user.key())))
            }
        };
        let working = Working { asked, request, lamport_timestamp, step };
        self.work(now, conn, working, job, guarded);
        None
    }

    /// Whether another password from the address of `conn` may be hashed: of the queue, which is short, an
    /// address has a share.
    fn may_hash(&mut self, conn: ConnId) -> Result<(), Refusal> {
        let addr = self.sessions.get_mut(conn).and_then(|session| session.addr);
        if self.jobs.hashing(addr) < self.config.auth.hashes_per_address {
            return Ok(());
        }
        let reason = "too many passwords from your address wait to be checked";
        Err(Refusal::new(Code::Overloaded, reason).retry_after(SHARE_RETRY_MS))
    }

    /// Whether rules and limits allow what a password is to be hashed for, as far as that is known now. It costs
    /// a hash, so whoever has no right to it is told so before.
    fn may_set(
        &mut self,
        now: Now,
        conn: ConnId,
        request: &Request,
        lamport_timestamp: u64,
    ) -> Result<(), Refusal> {
        let user = self.sessions.get_mut(conn).and_then(|session| session.user.clone());
        let password_rev = user.map_or(0, |user| self.password_of(&user).0);
        let decided = decided(request.clone(), Verifier::unmade(), password_rev);
        let Some((action, _, named)) = decided else { return Ok(()) };
        let Some(proposal) = self.proposal(conn, action, lamport_timestamp, named) else { return Ok(()) };
        // Asked of every server's state, also of one that may be a moment behind: a hash costs more than that
        // somebody has to ask once more.
        if self.sessions.get_mut(conn).is_some_and(|session| !session.has_writes()) {
            self.check_early(now, &proposal)?;
        }
        self.admit(now, conn, &proposal)?;
        let makes = !matches!(request, Request::Register { .. } | Request::CloseAccount { .. });
        if makes && !self.is_privileged(conn) {
            let addr = self.sessions.get_mut(conn).and_then(|session| session.addr);
            self.rates.password(now.mono_ms, &self.config.limits, addr)?;
        }
        Ok(())
    }

    /// Whether a bot may be made from the address of `conn`, where that is asked for. Each try counts, since the
    /// rules have to look at all users for it.
    fn may_make_bot(&mut self, now: Now, conn: ConnId, request: &Request) -> Result<(), Refusal> {
        let (Request::CreateBot { username } | Request::CreateHook { username, .. }) = request else {
            return Ok(());
        };
        let account = self.state.user(&username.key()).map(|user| &user.account);
        if account.is_some_and(Account::is_registered) || self.is_privileged(conn) {
            return Ok(());
        }
        let addr = self.sessions.get_mut(conn).and_then(|session| session.addr);
        self.rates.registration(now.mono_ms, &self.config.limits, addr)
    }

    /// What is to open a new room has the length of any other password that is chosen.
    fn check_room_password(&self, request: &Request) -> Result<(), Refusal> {
        match request {
            Request::CreateJoin { room, password: Some(password), .. }
                if self.state.room_id(&room.key()).is_none() =>
            {
                password.check_chosen()
            }
            _ => Ok(()),
        }
    }

    fn needed(&mut self, conn: ConnId, request: &Request) -> Needed {
        match request {
            Request::Register { password, .. }
            | Request::Administer(Administration::SetPassword { password, .. })
            | Request::RoomPassword { password: Some(password), .. } => Needed::Make(password.clone()),
            Request::ChangePassword { old: password, .. } | Request::CloseAccount { password } => {
                Needed::CheckOwn(password.clone())
            }
            Request::CreateBot { .. } | Request::CreateHook { .. } => Needed::Draw,
            Request::CreateJoin { room, password: Some(password), .. } => {
                let user = self.sessions.get_mut(conn).and_then(|session| session.user.as_ref());
                let user = user.map(UserName::key);
                let Some(id) = self.state.room_id(&room.key()) else {
                    return Needed::Make(password.clone());
                };
                // Members need no password.
                let is_member = user.is_some_and(|user| self.state.is_member(&user, id));
                let settings = self.state.room_by_id(id).map(|room| &room.settings);
                match settings.and_then(|settings| Some((settings.password.clone()?, settings.password_rev)))
                {
                    Some((verifier, rev)) if !is_member => {
                        Needed::CheckRoom(password.clone(), verifier, rev, room.clone())
                    }
                    _ => Needed::Nothing,
                }
            }
            _ => Needed::Nothing,
        }
    }

    /// What checks a user's password, and which entry set it.
    fn password_of(&self, user: &UserName) -> (u64, Option<Box<Verifier>>) {
        let account = self.state.user(&user.key()).map(|user| &user.account);
        let verifier = account.and_then(|account| account.verifier()).cloned().map(Box::new);
        (account.map_or(0, |account| account.password_rev), verifier)
    }

    fn work(&mut self, now: Now, conn: ConnId, working: Working, job: Job, guarded: Option<Guarded>) {
        let Some(session) = self.sessions.get_mut(conn) else { return };
        let addr = session.addr;
        if let Some(guarded) = &guarded
            && let Err(refusal) = self.throttle.begin(now.mono_ms, guarded, addr)
        {
            return self.refuse(now, conn, working.asked, refusal, false);
        }
        session.busy = Some(Busy::Working(Box::new(working)));
        self.jobs.begin(conn, UnderWay { addr, guarded, hashes: job.hashes() });
        self.outputs.push(Output::Credential { conn, job });
    }

    pub(super) fn log_in(
        &mut self,
        now: Now,
        conn: ConnId,
        asked: Asked,
        login: Login,
        lamport_timestamp: u64,
    ) {
        let Some(session) = self.sessions.get_mut(conn) else { return };
        let current = session.user.clone();
        let by_token = matches!(session.standing, Standing::Session(_));
        match login {
            Login::Guest(username) => match current {
                Some(user) if user.key() != username.key() => {
                    let refusal = already(&user);
                    self.refuse(now, conn, asked, refusal, false);
                }
                Some(_) if by_token => self.logged_in(now, conn, &asked, None),
                _ => match self.may_be_guest(now, &username) {
                    Err(refusal) => self.refuse(now, conn, asked, refusal, false),
                    Ok(()) => {
                        self.become_user(now, conn, username, Standing::Guest);
                        self.logged_in(now, conn, &asked, None);
                    }
                },
            },
            Login::Password(username, password) => match current {
                // A guest may become a user of the same name, but nobody becomes somebody else.
                Some(user) if by_token || user.key() != username.key() => {
                    let refusal = already(&user);
                    self.refuse(now, conn, asked, refusal, false);
                }
                _ => {
                    if let Err(refusal) = self.may_hash(conn) {
                        return self.refuse(now, conn, asked, refusal, false);
                    }
                    let (password_rev, verifier) = self.password_of(&username);
                    let guarded = Some(Guarded::Account(username.key()));
                    let request = Request::Login(Login::Password(username, password.clone()));
                    let step = Step::Check { password_rev };
                    let working = Working { asked, request, lamport_timestamp, step };
                    self.work(now, conn, working, Job::Check { password, verifier }, guarded);
                }
            },
            Login::Token(token) => {
                if let Some(user) = current {
                    let refusal = already(&user);
                    return self.refuse(now, conn, asked, refusal, false);
                }
                if self.state.user_of_token(&token.hash()).is_some() {
                    return self.log_in_by_token(now, conn, &asked, &token);
                }
                // It may have been given out by another server just now.
                let request = Request::Login(Login::Token(token));
                if let Err(refusal) = self.reads.push(now.mono_ms, conn, asked.clone(), request) {
                    return self.refuse(now, conn, asked, refusal, false);
                }
                if let Some(session) = self.sessions.get_mut(conn) {
                    session.busy = Some(Busy::AskingLeader);
                }
            }
        }
    }

    /// The state is certainly new enough to know the token, if anybody does.
    pub(super) fn token_is_known_now(&mut self, now: Now, conn: ConnId, asked: &Asked, token: &Token) {
        if let Some(session) = self.sessions.get_mut(conn) {
            session.busy = None;
        }
        self.log_in_by_token(now, conn, asked, token);
        self.take_held(now, conn);
    }

    fn log_in_by_token(&mut self, now: Now, conn: ConnId, asked: &Asked, token: &Token) {
        let hash = token.hash();
        let idle_ms = self.config.auth.token_idle_ms();
        let user = self.state.user_of_token(&hash);
        let session = user.and_then(|user| user.sessions.get(&hash));
        let valid = session.filter(|session| session.lasts(now.wall_ms, idle_ms)).copied();
        let (Some(user), Some(valid)) = (user, valid) else {
            return self.refuse(now, conn, asked.clone(), Token::refused(), false);
        };
        if user.account.is_banned(now.wall_ms) {
            let refusal = banned_from_cluster(&user.name);
            return self.refuse(now, conn, asked.clone(), refusal, false);
        }
        let (name, standing) = (user.name.clone(), Standing::Session(hash));
        self.become_user(now, conn, name.clone(), standing);
        self.logged_in(now, conn, asked, Some(token.clone()));
        if valid.is_stale(now.wall_ms) {
            self.touch(now, name, hash);
        }
    }

    /// Answers a login that has succeeded.
    fn logged_in(&mut self, now: Now, conn: ConnId, asked: &Asked, token: Option<Token>) {
        let Some(session) = self.sessions.get_mut(conn) else { return };
        let Some(username) = session.user.clone() else { return };
        let account = session.standing != Standing::Guest;
        let server_id = self.config.server_id.clone();
        let leader_id = self.leader();
        let answer = Answer::LoggedIn { username, token, account, server_id, leader_id };
        self.say(now, conn, asked, &answer);
    }

    pub(super) fn challenge(&mut self, now: Now, conn: ConnId, asked: Asked) {
        let request = Request::OperatorChallenge;
        let working = Working { asked, request, lamport_timestamp: 0, step: Step::Draw };
        self.work(now, conn, working, Job::Challenge, None);
    }

    pub(super) fn prove(&mut self, now: Now, conn: ConnId, asked: Asked, proof: [u8; 32]) {
        let challenge = self.sessions.get_mut(conn).and_then(|session| session.challenge.take());
        let Some(challenge) = challenge else {
            let refusal =
                Refusal::bad_request("ask for an operator_challenge first; each is good for one try");
            return self.refuse(now, conn, asked, refusal, false);
        };
        let request = Request::OperatorLogin { proof };
        let working = Working { asked, request, lamport_timestamp: 0, step: Step::Prove };
        self.work(now, conn, working, Job::Prove { challenge, proof }, None);
    }

    /// A hashing thread is done with what a connection waits for, or waited for before it was closed.
    pub(super) fn on_credential(&mut self, now: Now, conn: ConnId, done: Result<Done, Refusal>) {
        let Some(UnderWay { addr, guarded, .. }) = self.jobs.end(conn) else { return };
        match (&guarded, &done) {
            (Some(guarded), Ok(Done::Checked { ok: true, .. })) => {
                self.throttle.succeeded(now.mono_ms, guarded, addr);
            }
            (Some(guarded), Err(_)) => self.throttle.undone(now.mono_ms, guarded, addr),
            _ => {}
        }
        let Some(session) = self.sessions.get_mut(conn) else { return };
        let Some(Busy::Working(working)) = session.busy.take() else { return };
        match done {
            Err(refusal) => self.refuse(now, conn, working.asked, refusal, false),
            Ok(done) => self.go_on(now, conn, *working, done),
        }
        self.take_held(now, conn);
    }

    /// What comes of a request now that its hashing is done.
    fn go_on(&mut self, now: Now, conn: ConnId, working: Working, done: Done) {
        let Working { asked, request, lamport_timestamp, step, .. } = working;
        let session = self.sessions.get_mut(conn);
        let (action, then) = match (step, request, done) {
            (Step::Draw, Request::OperatorChallenge, Done::Challenge { challenge }) => {
                if let Some(session) = session {
                    session.challenge = Some(challenge);
                }
                let fields =
                    serde_json::Map::from_iter([("challenge".into(), hex::encode(&challenge).into())]);
                return self.say(now, conn, &asked, &Answer::Done(fields));
            }
            (Step::Prove, _, Done::Proved { ok: true }) => {
                if let Some(session) = session {
                    session.is_operator = true;
                }
                return self.say(now, conn, &asked, &Answer::Done(serde_json::Map::new()));
            }
            (Step::Prove, ..) => {
                let refusal = Refusal::new(Code::BadCredentials, "the proof does not answer the challenge");
                return self.refuse(now, conn, asked, refusal, false);
            }
            (Step::Make { password_rev }, request, Done::Made { verifier }) => {
                let Some((action, then, named)) = decided(request, verifier, password_rev) else { return };
                // Its limits were asked for, and it was counted, before the password was made.
                if let Some(proposal) = self.proposal(conn, action, lamport_timestamp, named) {
                    self.propose_counted(now, conn, Write { asked, then }, &proposal);
                }
                return;
            }
            (
                Step::Check { password_rev },
                Request::CreateJoin { room, after, history, .. },
                Done::Checked { ok, .. },
            ) => {
                // A wrong password is refused by the rules, in the words that hide a private room.
                let then = Then::Join { room: room.key(), after, history };
                let action = match ok {
                    true => Action::Unlock { room, password_rev },
                    false => Action::Join { room },
                };
                (action, then)
            }
            (Step::Check { .. }, _, Done::Checked { ok: false, .. }) => {
                return self.refuse(now, conn, asked, credential::wrong_password(), false);
            }
            (
                Step::Check { password_rev },
                Request::Login(Login::Password(username, _)),
                Done::Checked { rehashed, token, token_hash, .. },
            ) => {
                let expires_ms = now.wall_ms.saturating_add(self.config.auth.token_absolute_ms());
                let action = Action::Login { password_rev, token: token_hash, expires_ms, rehashed };
                let standing = Standing::Guest;
                let proposal = Proposal { user: username, standing, lamport_timestamp, action };
                return self.propose_login(now, conn, asked, proposal, token);
            }
            (Step::Check { password_rev }, Request::CloseAccount { .. }, _) => {
                (Action::CloseAccount { password_rev }, Then::Answer)
            }
            (Step::Check { password_rev }, request @ Request::ChangePassword { .. }, _) => {
                let Request::ChangePassword { new, .. } = &request else { return };
                let job = Job::Make { password: new.clone() };
                let step = Step::Make { password_rev };
                let working = Working { asked, request, lamport_timestamp, step };
                return self.work(now, conn, working, job, None);
            }
            (Step::Draw, Request::CreateBot { username }, Done::Drawn { token }) => {
                (Action::CreateBot { username, token: token.hash() }, Then::Token(token))
            }
            (Step::Draw, Request::CreateHook { room, username }, Done::Drawn { token }) => {
                (Action::CreateHook { room, username, token: token.hash() }, Then::Token(token))
            }
            // Nothing else is handed out.
            _ => return,
        };
        if let Some(proposal) = self.proposal(conn, action, lamport_timestamp, None) {
            self.propose(now, conn, Write { asked, then }, &proposal);
        }
    }

    /// A login waits for the log like any write; what the connection sends meanwhile waits for it.
    fn propose_login(&mut self, now: Now, conn: ConnId, asked: Asked, proposal: Proposal, token: Token) {
        if self.propose(now, conn, Write { asked, then: Then::LogIn(token) }, &proposal)
            && let Some(session) = self.sessions.get_mut(conn)
        {
            session.busy = Some(Busy::Committing);
        }
    }

    /// The log has decided about a login.
    pub(super) fn login_decided(
        &mut self,
        now: Now,
        conn: ConnId,
        token: Token,
        outcome: Result<UserName, Refusal>,
    ) -> Answer {
        if let Some(session) = self.sessions.get_mut(conn) {
            session.busy = None;
        }
        match outcome {
            Err(refusal) => Answer::Nack(refusal),
            Ok(username) => {
                let standing = Standing::Session(token.hash());
                self.become_user(now, conn, username.clone(), standing);
                Answer::LoggedIn {
                    username,
                    token: Some(token),
                    account: true,
                    server_id: self.config.server_id.clone(),
                    leader_id: self.leader(),
                }
            }
        }
    }

    /// Ends the connections whose sessions the log has ended. The one that asked for it has its answer
    /// already, or gets it before it is closed. A guest who registered the own name stays, and has to log in
    /// before anything is done for them: they stay among the user's connections, so that whatever ends a
    /// membership reaches them, and what they follow goes on without a hole.
    pub(super) fn end_sessions(&mut self, now: Now, ended: &Ended, asker: Option<ConnId>) {
        for conn in self.sessions.of_user(&ended.user) {
            let Some(session) = self.sessions.get_mut(conn) else { continue };
            if !session.is_among(ended.which) {
                continue;
            }
            if Some(conn) == asker && ended.which == Which::Guests {
                continue;
            }
            if Some(conn) == asker {
                self.close(conn);
            } else {
                self.end_session(now, conn, ended.reason);
            }
        }
    }

    /// Ends a connection whose session has ended.
    pub(super) fn end_session(&mut self, now: Now, conn: ConnId, reason: &str) {
        let push = Push::SessionEnded { reason: reason.into() };
        let line = push.line(None, &self.signature(now)).into();
        self.fan(Fan::Say { conn, line });
        self.close(conn);
    }
}

/// What is proposed for a request once its password is made, or checked where it only ends something; and who it
/// is about, where nobody has to be logged in. `None` where a request sets no password.
fn decided(
    request: Request,
    password: Box<Verifier>,
    password_rev: u64,
) -> Option<(Action, Then, Option<UserName>)> {
    let (action, then) = match request {
        Request::Register { username, admin, .. } => {
            return Some((Action::Register { password, admin }, Then::Answer, Some(username)));
        }
        Request::Administer(Administration::SetPassword { username, .. }) => {
            (Action::Administer { username, what: Administer::SetPassword(password) }, Then::Answer)
        }
        Request::RoomPassword { room, .. } => {
            (Action::RoomPassword { room, password: Some(password) }, Then::Answer)
        }
        Request::CreateJoin { room, private, after, history, .. } => {
            let then = Then::Join { room: room.key(), after, history };
            (Action::Create { room, private, password: Some(password) }, then)
        }
        Request::ChangePassword { .. } => (Action::ChangePassword { password_rev, password }, Then::Answer),
        Request::CloseAccount { .. } => (Action::CloseAccount { password_rev }, Then::Answer),
        _ => return None,
    };
    Some((action, then, None))
}

fn already(user: &UserName) -> Refusal {
    let reason = format!("this connection is logged in as {user}; open another one");
    Refusal::new(Code::NotAuthenticated, reason)
}
