//! An operator who changes the servers of the cluster while it is used and while things break.
//!
//! There are three servers at first, and machines besides that have no data. At random times the operator
//! asks any server for a change: one more server, one less, one in the place of another, one drained or no
//! more. Some changes are taken back while they are under way, some are asked for while another one is: these
//! must be refused. A new machine is started before or after the command, or not at all. A machine may also
//! break for good; then it is replaced or removed. Some machines whose servers were removed are started once
//! more with what they hold: they must hear that they are to end.
//!
//! When all is healed, a server that is to join comes, or is taken back if its machine is not there, and none
//! stays drained.

use std::collections::{BTreeMap, VecDeque};

use data_encoding::HEXLOWER;
use serde_json::{Value, json};
use syncnet::protocol::directory::{Directory, UnderWay};

use crate::{
    checker::Verdict,
    cluster::{ClientEvent, Cluster, Event},
    host::{entry, operator_key, server_id},
    machines::Use,
    queue::{MS, Micros, SECOND},
    random::Random,
    rude::Step,
    scenario::{SAFETY_US, Scenario},
};

/// How often the operator looks.
const LOOK_US: Micros = 50 * MS;
/// How long an answer may take before the operator goes away.
const PATIENCE_US: Micros = 8 * SECOND;
/// For how long after the healing removed servers are started.
pub const LATE_US: Micros = 4 * SECOND;
/// The most servers and the fewest.
const SERVERS_MAX: usize = 5;
pub const SERVERS_MIN: usize = 2;

/// A connection of the operator.
struct Session {
    visitor: u64,
    /// What is asked for once it has proved to be an operator's, in order.
    changes: VecDeque<Value>,
    asked: VecDeque<Value>,
    ends_at: Micros,
}

/// A change that was acknowledged: the log has it.
#[derive(Debug, Clone)]
pub struct Acked {
    pub version: u64,
    pub change: Value,
}

/// The operator, and what is known of the servers.
pub struct Operator {
    pub random: Random,
    every: Micros,
    pub next_at: Micros,
    /// The newest that any server follows, and so committed.
    pub directory: Directory,
    /// All that were ever followed, by version.
    pub seen: BTreeMap<u64, Directory>,
    pub uses: Vec<Use>,
    sessions: Vec<Session>,
    pub acked: Vec<Acked>,
    /// Since when a server finds no other.
    pub stranded_since: BTreeMap<usize, Micros>,
    requests: u64,
    is_healed: bool,
}

impl Operator {
    /// The operator of a scenario, if it has one.
    pub fn of(scenario: &Scenario, random: impl FnOnce() -> Random) -> Option<Operator> {
        (scenario.spares > 0).then(|| {
            let machines = 0..scenario.servers + scenario.spares;
            let is_founder = |machine| machine < scenario.servers;
            Operator {
                random: random(),
                every: scenario.operator_every,
                next_at: 2 * SECOND,
                directory: (0..scenario.servers).map(|number| entry(scenario, number)).collect(),
                seen: BTreeMap::new(),
                uses: machines
                    .map(|machine| if is_founder(machine) { Use::Serves } else { Use::Spare })
                    .collect(),
                sessions: Vec::new(),
                acked: Vec::new(),
                stranded_since: BTreeMap::new(),
                requests: 0,
                is_healed: false,
            }
        })
    }

    pub fn has(&self, machine: usize) -> bool {
        self.directory.entry(&server_id(machine)).is_some()
    }

    /// The machines whose servers the cluster has.
    pub fn members(&self) -> Vec<usize> {
        (0..self.uses.len()).filter(|machine| self.has(*machine)).collect()
    }

    pub fn voting(&self) -> usize {
        self.directory.voting().count()
    }

    /// One of these machines.
    fn one_of(&mut self, machines: Vec<usize>) -> Option<usize> {
        (!machines.is_empty()).then(|| self.random.pick(&machines))
    }

    /// What the operator wants next, by what the servers are now.
    fn decide(&mut self) -> Option<Wish> {
        match &self.directory.under_way {
            Some(UnderWay::Joins(new) | UnderWay::Replaces { new, .. }) if self.random.chance(0.2) => {
                let new = new.clone();
                Some(Wish::Remove((0..self.uses.len()).find(|machine| server_id(*machine) == new)?))
            }
            Some(UnderWay::Joins(_) | UnderWay::Replaces { .. }) if self.random.chance(0.3) => {
                Some(Wish::Start)
            }
            // Too early, most likely.
            Some(_) if self.random.chance(0.4) => self.wish(),
            Some(_) => None,
            None => self.wish(),
        }
    }

    /// A change that is possible if none is under way.
    fn wish(&mut self) -> Option<Wish> {
        let members = self.members();
        let broken = members.iter().copied().find(|machine| self.uses[*machine] == Use::Broken);
        let is_free =
            |machine: &usize| !self.has(*machine) && matches!(self.uses[*machine], Use::Spare | Use::Gone);
        let free = (0..self.uses.len()).filter(is_free).collect::<Vec<_>>();
        let new = self.one_of(free);
        if let Some(broken) = broken {
            return match new {
                Some(new) if self.random.chance(0.7) => Some(Wish::Replace(broken, new)),
                _ => Some(Wish::Remove(broken)),
            };
        }
        let any = self.one_of(members)?;
        let least = if self.random.chance(0.15) { SERVERS_MIN } else { SERVERS_MIN + 1 };
        match self.random.below(10) {
            0..=2 => new.filter(|_| self.voting() < SERVERS_MAX).map(Wish::Add),
            3..=4 => (self.voting() > least).then_some(Wish::Remove(any)),
            5..=7 => new.map(|new| Wish::Replace(any, new)),
            8 => Some(Wish::Drain(any, true)),
            _ => {
                let drained = self.members().into_iter();
                let drained = drained.filter(|it| self.directory.is_drained(&server_id(*it))).collect();
                Some(Wish::Drain(self.one_of(drained).unwrap_or(any), false))
            }
        }
    }
}

/// A change that the operator wants.
#[derive(Debug, Clone, Copy)]
pub enum Wish {
    Add(usize),
    Remove(usize),
    Replace(usize, usize),
    Drain(usize, bool),
    /// What is to join is started, if it does not run.
    Start,
}

impl Wish {
    /// The machine that is to come.
    pub fn comes(self) -> Option<usize> {
        match self {
            Wish::Add(new) | Wish::Replace(_, new) => Some(new),
            Wish::Remove(_) | Wish::Drain(..) | Wish::Start => None,
        }
    }

    /// As a server is asked for it.
    fn said(self, scenario: &Scenario) -> Value {
        let new = |change: &str, machine: usize| {
            let mut fields = serde_json::to_value(entry(scenario, machine)).unwrap_or_default();
            fields["change"] = change.into();
            fields
        };
        match self {
            Wish::Add(machine) => new("add", machine),
            Wish::Replace(old, machine) => {
                let mut fields = new("replace", machine);
                fields["replaces"] = server_id(old).as_str().into();
                fields
            }
            Wish::Remove(machine) => json!({"change": "remove", "server_id": server_id(machine)}),
            Wish::Start => Value::Null,
            Wish::Drain(machine, drained) => {
                let change = if drained { "drain" } else { "undrain" };
                json!({"change": change, "server_id": server_id(machine)})
            }
        }
    }
}

impl Cluster {
    pub fn begin_operator(&mut self) {
        if self.operator.is_some() {
            self.queue.schedule(SECOND, Event::Client(ClientEvent::Operator));
        }
    }

    /// The machines whose servers the cluster has: all, if nobody changes them.
    pub fn members(&self) -> Vec<usize> {
        match &self.operator {
            Some(operator) => operator.members(),
            None => (0..self.hosts.len()).collect(),
        }
    }

    /// The operator looks, and does what is due.
    pub fn operate(&mut self) -> Verdict {
        self.queue.schedule(self.now + LOOK_US, Event::Client(ClientEvent::Operator));
        let Some(mut operator) = self.operator.take() else { return Ok(()) };
        self.listen(&mut operator);
        if self.now < SAFETY_US && self.now >= operator.next_at {
            operator.next_at = self.now + operator.random.wait(operator.every).max(LOOK_US);
            match operator.decide() {
                Some(Wish::Start) => {
                    if let Some(machine) = self.joining(&operator) {
                        self.prepare(&mut operator, Wish::Add(machine));
                    }
                }
                Some(wish) => self.wish_for(&mut operator, wish),
                None => {}
            }
        }
        if self.now >= SAFETY_US {
            self.bring_to_an_end(&mut operator);
        }
        let stranded = self.stranded(&mut operator);
        self.operator = Some(operator);
        stranded.into_iter().try_for_each(|server| self.help(server))
    }

    /// Reads what the operator's connections got, and goes on with them.
    fn listen(&mut self, operator: &mut Operator) {
        let mut sessions = std::mem::take(&mut operator.sessions);
        sessions.retain_mut(|session| {
            let Some(visitor) = self.visitors.get_mut(&session.visitor) else { return false };
            let is_open = visitor.conn.is_some();
            for line in visitor.heard.as_mut().map(std::mem::take).unwrap_or_default() {
                let line: Value = serde_json::from_slice(&line).unwrap_or_default();
                self.hear_answer(operator, session, &line);
            }
            let is_over = self.now >= session.ends_at;
            if is_open && is_over {
                self.visit_with(session.visitor, Step::Close);
            }
            if !is_open || is_over {
                self.visitors.remove(&session.visitor);
            }
            is_open && !is_over
        });
        operator.sessions.append(&mut sessions);
    }

    fn hear_answer(&mut self, operator: &mut Operator, session: &mut Session, line: &Value) {
        let data = &line["data"];
        let is_done = line["msg_type"] == "ack";
        match data["for"].as_str().unwrap_or_default() {
            "operator_challenge" if is_done => {
                let mut challenge = [0; 32];
                let shown = data["challenge"].as_str().unwrap_or_default().as_bytes();
                if HEXLOWER.decode_len(shown.len()) == Ok(challenge.len())
                    && HEXLOWER.decode_mut(shown, &mut challenge).is_ok()
                {
                    let proof = HEXLOWER.encode(&operator_key().proof(&challenge));
                    self.say(operator, session, "operator_login", json!({"proof": proof}));
                }
            }
            "operator_login" if is_done => {
                for change in std::mem::take(&mut session.changes) {
                    self.tally.asked += 1;
                    self.say(operator, session, "change_servers", change.clone());
                    session.asked.push_back(change);
                }
            }
            "change_servers" => {
                let change = session.asked.pop_front().unwrap_or_default();
                self.trace.say(self.now, || format!("+++ {change}: {data}"));
                match data["version"].as_u64() {
                    Some(version) if is_done => operator.acked.push(Acked { version, change }),
                    _ => self.tally.refused += 1,
                }
            }
            _ => {}
        }
        if session.changes.is_empty() && session.asked.is_empty() {
            session.ends_at = self.now;
        }
    }

    fn say(&mut self, operator: &mut Operator, session: &Session, msg_type: &str, data: Value) {
        operator.requests += 1;
        let line = json!({"msg_type": msg_type, "data": data, "request_id": operator.requests});
        self.visit_with(session.visitor, Step::Line(format!("{line}\n").into_bytes()));
    }

    /// Asks a server for a change, and now and then another one for a second change at the same time.
    fn wish_for(&mut self, operator: &mut Operator, wish: Wish) {
        self.prepare(operator, wish);
        let mut changes = vec![wish.said(&self.scenario)];
        if operator.random.chance(0.2)
            && let Some(second) = operator.wish()
        {
            self.prepare(operator, second);
            let said = second.said(&self.scenario);
            if operator.random.chance(0.5) {
                changes.push(said);
            } else {
                self.ask_server(operator, vec![said]);
            }
        }
        self.ask_server(operator, changes);
    }

    fn ask_server(&mut self, operator: &mut Operator, changes: Vec<Value>) {
        let running = (0..self.hosts.len()).filter(|machine| self.is_running(*machine)).collect();
        let Some(server) = operator.one_of(running) else { return };
        self.trace.say(self.now, || format!("+++ {} is asked for {changes:?}", server + 1));
        operator.requests += 1;
        let line = json!({"msg_type": "operator_challenge", "request_id": operator.requests});
        let steps = vec![Step::Line(format!("{line}\n").into_bytes())];
        let visitor = self.receive_visitor(server, steps, true);
        let ends_at = self.now + PATIENCE_US;
        operator.sessions.push(Session { visitor, changes: changes.into(), asked: VecDeque::new(), ends_at });
    }

    /// The machine whose server is to join.
    fn joining(&self, operator: &Operator) -> Option<usize> {
        let joining = operator.directory.joining()?;
        (0..self.hosts.len()).find(|machine| server_id(*machine) == *joining)
    }

    /// All is healed: what is under way comes to its end.
    fn bring_to_an_end(&mut self, operator: &mut Operator) {
        let joining = self.joining(operator);
        if !std::mem::replace(&mut operator.is_healed, true)
            && let Some(machine) = joining
            && operator.random.chance(0.7)
        {
            self.hosts[machine].is_wanted = true;
            self.queue.schedule(self.now, Event::Start { server: machine });
        }
        let asks = operator.sessions.is_empty() && self.now >= operator.next_at;
        // A drained server sends the reader of the end away.
        let mut members = operator.members().into_iter();
        let drained = members.find(|it| operator.directory.is_drained(&server_id(*it)));
        if let Some(machine) = drained
            && asks
        {
            operator.next_at = self.now + SECOND / 2;
            return self.ask_server(operator, vec![Wish::Drain(machine, false).said(&self.scenario)]);
        }
        if let Some(machine) = joining
            && asks
            && !self.hosts[machine].is_wanted
        {
            operator.next_at = self.now + SECOND;
            self.ask_server(operator, vec![Wish::Remove(machine).said(&self.scenario)]);
        }
    }
}
