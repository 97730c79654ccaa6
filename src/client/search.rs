//! The search for a server: from one that is gone to the next that works, at once but without hammering.

use std::collections::VecDeque;

use serde_json::{Map, Value, json};

use crate::protocol::{Code, Refusal, ServerId, UserName};

use super::{
    change::Outcome,
    directory::Address,
    io::Output,
    limits::{
        BACK_OFF_MAX_MS, CONNECT_MS, DISCOVER_MS, LOAD_PAUSE_MAX_MS, LOAD_PAUSE_MIN_MS, LOAD_PAUSE_MS,
        LOCAL_PORTS, REDIRECTS_MAX, REPLY_MS, STABLE_MS,
    },
    link::{Health, Link, Pending},
    login::{Next, Step},
    state::{ClientState, Doing, Down, Phase},
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
                self.connect_failed("it does not answer".into());
            }
            Phase::Linked(link) => match link.health(self.now_ms, self.reply_ms()) {
                Health::Fine => {}
                Health::AskIt => drop(self.ask("ping", json!({}), Pending::Ping)),
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
        // A decision just made may be due at once: the first attempt after a loss waits for nothing.
        if matches!(&self.phase, Phase::Waiting { until_ms, .. } if self.now_ms >= *until_ms) {
            self.attempt();
        }
        if self.down_notice_ms().is_some_and(|due_ms| self.now_ms >= due_ms)
            && let Some(down) = &mut self.down
        {
            down.told = true;
            let reason = down.reason.clone();
            self.tell(Update::Connection(Connection::Down { reason }));
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
    }

    pub(super) fn connected(&mut self) {
        let Phase::Connecting { address, .. } = &self.phase else { return };
        self.phase = Phase::Linked(Link::new(address.clone(), self.now_ms));
        self.try_login(self.access.begin());
    }

    fn try_login(&mut self, step: Step) {
        let (msg_type, data) = self.access.request(step, &self.config.user);
        let request_id = self.ask(msg_type, data, Pending::Login(step));
        if let Phase::Linked(link) = &mut self.phase
            && matches!(step, Step::Password | Step::Register)
        {
            link.takes_long(request_id);
        }
    }

    pub(super) fn connect_failed(&mut self, reason: String) {
        let Phase::Connecting { address, .. } = &self.phase else { return };
        let reason = format!("{address}: {reason}");
        // That there is no majority says more than that one of the servers does not answer.
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
            // The transport broke off before it was said to stand.
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

    /// Whatever was on its way on the connection is not any more.
    pub(super) fn forget_connection(&mut self) {
        if self.link().is_some_and(|link| link.waits_for(&Pending::Login(Step::Register))) {
            self.access.register_is_uncertain();
        }
        self.outbox.connection_lost();
        self.rooms.connection_lost();
        self.rooms_changed = true;
        for asking in &mut self.questions {
            asking.asked = false;
        }
        self.uploads.iter_mut().for_each(Upload::lost);
        self.downloads.iter_mut().for_each(Download::lost);
        let changes = std::mem::take(&mut self.changes);
        let (lost, kept): (VecDeque<Doing>, _) = changes.into_iter().partition(|doing| doing.asked);
        self.changes = kept;
        for doing in lost {
            self.tell_outcome(doing.tag, Outcome::Unknown);
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
    pub(super) fn redirected(&mut self, server_id: &str, host: String, tcp_port: u16, reason: &str) {
        let Some(link) = self.link() else { return };
        let told = Address { host, tcp_port }.seen_through(&link.address);
        let target = self.directory.address_of(server_id).cloned().unwrap_or(told);
        let usable = target.tcp_port != 0 && target != link.address;
        self.redirects += 1;
        if usable && self.redirects <= REDIRECTS_MAX {
            self.move_to(target, reason);
        } else {
            self.leave_server(reason, true);
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
    pub(super) fn login_acked(&mut self, step: Step, data: &Map<String, Value>) {
        if step == Step::Register {
            self.access.registered();
            return self.try_login(Step::Password);
        }
        let text = |field: &str| data.get(field).and_then(Value::as_str);
        if let Some(username) = text("username").and_then(UserName::new) {
            if username.key() != self.config.user.key() {
                let reason = format!("the token is {username}'s, and not {}'s", self.config.user);
                return self.log_out(Refusal::new(Code::BadCredentials, reason));
            }
            self.config.user = username;
        }
        if let Some(token) = self.access.succeeded(text("token")) {
            self.keep_token(token);
        }
        if !std::mem::replace(&mut self.access.told, true) {
            let account = data.get("account").and_then(Value::as_bool).unwrap_or(false);
            self.tell(Update::LoggedIn { username: self.config.user.clone(), account });
        }
        let server_id = text("server_id").map(str::to_owned).or(self.link().map(Link::name));
        self.logged_in(server_id.unwrap_or_default());
    }

    /// A step of the login was refused.
    pub(super) fn login_refused(&mut self, step: Step, refusal: Refusal) {
        // Too many wrong passwords: to knock at one server after the other would only make it longer.
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
        self.ask("server_list", json!({}), Pending::Directory);
        if self.away {
            self.ask("set_presence", json!({ "state": "away" }), Pending::Aside);
        }
        self.rooms_changed = true;
    }

    /// The servers have no majority, as the one in use says.
    pub(super) fn unavailable(&mut self) {
        self.no_majority = true;
        self.leave_server("it has no majority", false);
    }

    /// Something that needs a majority has succeeded. After a time without one, the user hears only now of a
    /// connection that is of use, and not of each server that was tried in vain.
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
