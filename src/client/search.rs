//! The search for a server: from one that is gone to the next that works, at once but without a tight loop.

use crate::protocol::{
    Answer, Code, Refusal, ServerId,
    answer::{LoggedIn, Redirect},
    credential::Token,
    request::{ListServers, Ping, Presence, SetPresence},
};

use super::{
    ask::Outcome,
    directory::Address,
    io::Output,
    limits::{
        BACK_OFF_MAX_MS, CONNECT_MS, DISCOVER_MS, LOAD_PAUSE_MAX_MS, LOAD_PAUSE_MIN_MS, LOAD_PAUSE_MS,
        LOCAL_PORTS, REDIRECTS_MAX, REPLY_MS, RETRY_TOLD_MS, STABLE_MS,
    },
    link::{Health, Link, Pending},
    login::{Next, Step},
    state::{ClientState, Down, Phase},
    transfer::{Download, Upload},
    update::{Before, Connection, Update},
};

impl ClientState {
    pub(super) fn look_at_the_clock(&mut self) {
        match &self.phase {
            Phase::Waiting { until_ms, .. } if self.now_ms >= *until_ms => self.attempt(),
            Phase::Discovering { until_ms } if self.now_ms >= *until_ms => self.found(vec![]),
            Phase::Connecting { until_ms, .. } if self.now_ms >= *until_ms => {
                self.outputs.push_back(Output::Disconnect);
                self.connect_failed("it does not answer in time".into());
            }
            Phase::Linked(link) => match link.health(self.now_ms, self.reply_ms()) {
                Health::Fine => {}
                Health::AskIt => drop(self.ask(Ping::default(), Pending::Ping)),
                Health::Silent => {
                    let silent_since_ms = link.silent_since_ms();
                    self.silences += 1;
                    self.leave_server("it fell silent", false);
                    if let Some(down) = &mut self.down {
                        down.since_ms = down.since_ms.min(silent_since_ms);
                    }
                }
                Health::Overdue => self.leave_server("it owes an answer for too long", false),
            },
            _ => {}
        }
        // A decision just made may be due at once: the first attempt after a loss does not wait.
        if matches!(&self.phase, Phase::Waiting { until_ms, .. } if self.now_ms >= *until_ms) {
            self.attempt();
        }
        if self.down_notice_ms().is_some_and(|due_ms| self.now_ms >= due_ms)
            && let Some(down) = &mut self.down
        {
            down.told = true;
            let reason = down.reason.clone();
            let no_majority = self.no_majority;
            self.tell(Update::Connection(Connection::Down { reason, no_majority }));
            self.tell_of_retry();
        }
    }

    /// Says when the next attempt comes, if the user waits for it.
    fn tell_of_retry(&mut self) {
        let Phase::Waiting { until_ms, .. } = &self.phase else { return };
        let in_ms = until_ms.saturating_sub(self.now_ms);
        if in_ms >= RETRY_TOLD_MS && self.down.as_ref().is_some_and(|down| down.told) {
            self.tell(Update::Retry { in_ms });
        }
    }

    pub(super) fn attempt(&mut self) {
        let target = match &mut self.phase {
            Phase::Waiting { target, .. } => target.take(),
            _ => None,
        };
        let may_discover = self.config.servers.is_empty() && !self.discovered;
        if target.is_none() && may_discover && self.directory.round_is_over() {
            self.phase = Phase::Discovering { until_ms: self.now_ms + DISCOVER_MS };
            self.outputs.push_back(Output::Discover);
            return;
        }
        self.discovered = false;
        match target.or_else(|| self.directory.choose()) {
            Some(address) => {
                self.outputs.push_back(Output::Connect(address.clone()));
                self.phase = Phase::Connecting { address, until_ms: self.now_ms + CONNECT_MS };
            }
            None => self.phase = Phase::Waiting { until_ms: self.now_ms + BACK_OFF_MAX_MS, target: None },
        }
    }

    pub(super) fn found(&mut self, addresses: Vec<Address>) {
        if !matches!(self.phase, Phase::Discovering { .. }) {
            return;
        }
        self.directory.found(addresses);
        if self.directory.is_empty() {
            self.directory.found(LOCAL_PORTS.map(|tcp_port| Address::new("localhost", tcp_port)));
        }
        self.discovered = true;
        self.phase = Phase::Waiting { until_ms: self.now_ms, target: None };
    }

    /// Plans the next attempt.
    pub(super) fn search(&mut self) {
        let until_ms = self.now_ms + self.directory.pause_ms();
        self.phase = Phase::Waiting { until_ms, target: None };
        self.tell_of_retry();
    }

    pub(super) fn connected(&mut self) {
        let Phase::Connecting { address, .. } = &self.phase else { return };
        self.phase = Phase::Linked(Link::new(address.clone(), self.now_ms));
        self.try_login(self.access.begin());
    }

    fn try_login(&mut self, step: Step) {
        let request = match self.access.request(step, &self.config.user) {
            Ok(request) => request,
            Err(refusal) => return self.login_refused(step, refusal),
        };
        let request_id = self.ask(request, Pending::Login(step));
        if let Phase::Linked(link) = &mut self.phase
            && matches!(step, Step::Password | Step::Register)
        {
            link.takes_long(request_id);
        }
    }

    pub(super) fn connect_failed(&mut self, reason: String) {
        let Phase::Connecting { address, .. } = &self.phase else { return };
        let reason = format!("{address}: {reason}");
        // "No majority" says more than that one of the servers does not answer.
        if let Some(down) = self.down.as_mut().filter(|_| !self.no_majority) {
            down.reason = reason;
        }
        // The failed attempt counts: without this a lone server that refuses would be asked again at once.
        self.search();
    }

    /// The connection is gone.
    pub(super) fn lost(&mut self, reason: &str) {
        self.unlink(reason, false);
    }

    /// Leaves the server for another one.
    pub(super) fn leave_server(&mut self, reason: &str, moved: bool) {
        self.outputs.push_back(Output::Disconnect);
        self.unlink(reason, moved);
    }

    pub(super) fn unlink(&mut self, reason: &str, moved: bool) {
        let Phase::Linked(link) = &self.phase else {
            // The transport failed before it was open.
            return self.connect_failed(reason.to_owned());
        };
        let (address, was_up_ms) = (link.address.clone(), self.now_ms - link.up_ms);
        let reason = format!("{}: {reason}", link.name());
        if was_up_ms >= STABLE_MS && !link.settled {
            self.directory.works(&address);
            self.redirects = 0;
        }
        match &mut self.down {
            Some(down) => down.reason = reason,
            None => self.down = Some(self.down_since_now(link.server_id.clone(), moved, &reason)),
        }
        self.forget_connection();
        self.search();
    }

    /// Nothing is on its way on the connection any more.
    pub(super) fn forget_connection(&mut self) {
        if self.link().is_some_and(|link| link.waits_for(&Pending::Login(Step::Register))) {
            self.access.register_is_uncertain();
        }
        self.outbox.connection_lost();
        self.rooms.connection_lost();
        self.rooms_changed = true;
        self.uploads.iter_mut().for_each(Upload::lost);
        self.downloads.iter_mut().for_each(Download::lost);
        for mut asked in std::mem::take(&mut self.asked) {
            if asked.sent && asked.ask.is_write() {
                self.tell_outcome(asked.tag, asked.ask, Outcome::Unknown);
            } else {
                asked.sent = false;
                self.asked.push_back(asked);
            }
        }
    }

    /// The server, or the user, wants the connection to go to `target`.
    pub(super) fn move_to(&mut self, target: Address, reason: &str) {
        match &self.phase {
            Phase::Linked(_) => self.leave_server(reason, true),
            Phase::Connecting { .. } => self.outputs.push_back(Output::Disconnect),
            Phase::LoggedOut(_) => return,
            Phase::Waiting { .. } | Phase::Discovering { .. } => {}
        }
        self.phase = Phase::Waiting { until_ms: self.now_ms, target: Some(target) };
    }

    /// Follows a `redirect`, but not in circles.
    pub(super) fn redirected(&mut self, redirect: Redirect) {
        let Some(link) = self.link() else { return };
        let Redirect { host, reason, server_id, tcp_port } = redirect;
        let told = Address { host, tcp_port }.seen_through(&link.address);
        let target = self.directory.address_of(server_id.as_str()).cloned().unwrap_or(told);
        let usable = target.tcp_port != 0 && target != link.address;
        self.redirects += 1;
        if usable && self.redirects <= REDIRECTS_MAX {
            self.move_to(target, &reason);
        } else {
            self.leave_server(&reason, true);
        }
    }

    /// A message or a leave was committed over the connection: the search has succeeded, and what went wrong
    /// before is forgiven.
    ///
    /// A join does not count: for a member it commits nothing, so a server without a majority may answer it.
    pub(super) fn settle(&mut self) {
        (self.redirects, self.load_refusals) = (0, 0);
        self.back_in_touch();
        let Phase::Linked(link) = &mut self.phase else { return };
        if !link.settled {
            link.settled = true;
            self.silences = 0;
            self.directory.works(&link.address);
        }
    }

    /// A step of the login has succeeded.
    pub(super) fn login_acked(&mut self, step: Step, answer: Answer) {
        let LoggedIn { account, administrator, epoch, server_id, token, username, .. } = match (step, answer)
        {
            (Step::Register, _) => {
                self.access.registered();
                return self.try_login(Step::Password);
            }
            (_, Answer::LoggedIn(answer)) => answer,
            // It answers something else: no server does.
            (..) => return,
        };
        if username.key() != self.config.user.key() {
            let reason = format!("the token is {username}'s, and not {}'s", self.config.user);
            return self.log_out(Refusal::new(Code::BadCredentials, reason));
        }
        self.config.user = username;
        if let Some(token) = self.access.succeeded(token.as_ref().map(Token::expose)) {
            self.keep_token(token);
        }
        if !std::mem::replace(&mut self.access.told, true) {
            let username = self.config.user.clone();
            self.tell(Update::LoggedIn { username, account, administrator });
        }
        self.live_in(epoch);
        self.logged_in(server_id.to_string());
    }

    pub(super) fn login_refused(&mut self, step: Step, refusal: Refusal) {
        // Too many wrong passwords: trying the other servers would only make the wait longer.
        let is_throttled =
            refusal.code == Code::RateLimited && matches!(step, Step::Password | Step::Register);
        if refusal.code.retryable() && !is_throttled {
            return self.leave_server(&refusal.reason, false);
        }
        if step == Step::Token && refusal.code == Code::BadCredentials {
            self.outputs.extend(self.access.take_token().map(Output::ForgetToken));
        }
        match self.access.refused(step, &refusal) {
            Next::Try(step) => self.try_login(step),
            Next::AskUser => self.log_out(refusal),
        }
    }

    /// Logged in at `server_id`.
    fn logged_in(&mut self, server_id: String) {
        let Phase::Linked(link) = &mut self.phase else { return };
        let (address, known) = (link.address.clone(), ServerId::new(&server_id));
        link.server_id = Some(server_id);
        if let Some(known) = known {
            self.directory.identify(&address, &known);
        }
        if !self.no_majority {
            self.tell_of_connection();
        }
        self.ask(ListServers {}, Pending::Directory);
        // If the user's own request for it still waits, that one says it.
        if self.away && !self.asked.iter().any(|asked| asked.ask.away().is_some()) {
            self.ask(SetPresence { state: Presence::Away }, Pending::Aside);
        }
        self.rooms_changed = true;
    }

    /// The servers have no majority, as the one in use says.
    pub(super) fn unavailable(&mut self, refusal: &Refusal) {
        let is_news = !std::mem::replace(&mut self.no_majority, true);
        self.leave_server(&refusal.reason, false);
        // A user who was told that no server answers hears that one does.
        if let Some(down) = self.down.as_mut().filter(|_| is_news) {
            down.told = false;
        }
    }

    /// Something that needs a majority has succeeded. After a time without one, the user is told only now of
    /// a connection, and not of each server that was tried in vain.
    pub(super) fn back_in_touch(&mut self) {
        if std::mem::take(&mut self.no_majority) && self.is_online() {
            self.tell_of_connection();
        }
    }

    fn tell_of_connection(&mut self) {
        let Phase::Linked(link) = &self.phase else { return };
        let (server_id, address) = (link.name(), link.address.clone());
        let before = self.down.take().and_then(|down| {
            let gap_ms = self.now_ms - down.since_ms;
            down.server_id.map(|server_id| Before { server_id, gap_ms, moved: down.moved })
        });
        self.tell(Update::Connection(Connection::Up { server_id, address, before }));
    }

    /// A server sheds load: nothing is asked for a while.
    pub(super) fn hold(&mut self, refusal: &Refusal) {
        if self.hold_until_ms > self.now_ms {
            return; // Part of the same wave of refusals.
        }
        let doubled_ms = LOAD_PAUSE_MS << self.load_refusals.min(5);
        self.load_refusals += 1;
        let pause_ms =
            refusal.retry_after_ms.unwrap_or(doubled_ms).clamp(LOAD_PAUSE_MIN_MS, LOAD_PAUSE_MAX_MS);
        // Never earlier than the server said, and not all clients at the same moment.
        self.hold_until_ms = self.now_ms + pause_ms + self.jitter.below(pause_ms / 4 + 1);
    }

    pub(super) fn down_since_now(&self, server_id: Option<String>, moved: bool, reason: &str) -> Down {
        let (since_ms, searching_ms) = (self.now_ms, self.now_ms);
        Down { since_ms, searching_ms, server_id, moved, told: false, reason: reason.to_owned() }
    }

    pub(super) fn reply_ms(&self) -> u64 {
        REPLY_MS << self.silences.min(3)
    }
}
