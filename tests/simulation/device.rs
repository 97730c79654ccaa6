//! A client that keeps the protocol: the real client library without its threads, and a user who writes,
//! reads and changes rooms and servers. The program may crash and come back with its durable outbox.

use std::collections::BTreeSet;

use serde_json::Value;
use syncnet::{
    client::{
        ask::TargetedRequest,
        directory::Address,
        io::{Command, Input, Output},
        login::Login,
        outbox::{Message, MessageIds, OutboxChange},
        own::Target,
        state::{ClientState, StateConfig},
        update::Update,
    },
    protocol::{
        Limits, RoomName, UserName,
        checked::Limit,
        request::{AskStatus, History, HistoryRange, ListServers, Members, Ping, Rooms},
    },
};

use crate::{
    queue::{MS, Micros},
    random::Random,
    scenario::Scenario,
};

/// The host name of every simulated server; the port tells which one it is.
pub const HOST: &str = "sim";
/// The client port of the first server.
pub const FIRST_PORT: u16 = 8_000;

/// A wish of a device.
pub enum Want {
    /// Open a connection to this server.
    Connect(usize),
    /// Write this line.
    Write(Vec<u8>),
    /// Close the connection, or stop opening it.
    Disconnect,
    /// A message is in the durable outbox.
    Composed(String),
    /// A message was refused for good and given back to the user.
    GivenUp(String),
}

/// One device.
pub struct Device {
    pub user: String,
    /// How fast it reads; 0 for at once.
    pub bytes_per_ms: u64,
    state: Option<ClientState>,
    /// The durable outbox.
    outbox: Vec<Message>,
    /// The ports of the servers that it was last told of.
    pub listed: BTreeSet<u16>,
    ids: MessageIds,
    rooms: Vec<RoomName>,
    servers: usize,
    random: Random,
    pace: Micros,
    said: u64,
    tags: u64,
}

impl Device {
    /// The device with this number; some devices share a user.
    pub fn new(number: usize, scenario: &Scenario, mut random: Random) -> Device {
        let owner = if number > 0 && random.chance(0.2) { number - 1 } else { number };
        let rooms = (0..scenario.rooms).filter_map(|room| RoomName::new(&format!("room{room}"))).collect();
        Device {
            user: format!("User{owner}"),
            bytes_per_ms: if random.chance(0.25) { random.between(2, 30) } else { 0 },
            state: None,
            outbox: Vec::new(),
            listed: BTreeSet::new(),
            ids: MessageIds::new(format!("{:x}", random.word())),
            rooms,
            servers: scenario.servers,
            pace: scenario.pace,
            random,
            said: 0,
            tags: 0,
        }
    }

    /// Whether its program runs.
    pub fn is_running(&self) -> bool {
        self.state.is_some()
    }

    /// Whether everything it was asked to do is done.
    pub fn is_idle(&self) -> bool {
        self.outbox.is_empty() && self.state.as_ref().is_some_and(ClientState::is_idle)
    }

    /// How many of its messages wait for their acknowledgement.
    pub fn unacknowledged(&self) -> usize {
        self.outbox.len()
    }

    /// What it still waits for, for the report of a failure.
    pub fn waits_for(&self) -> String {
        let first = self.outbox.first().map(|message| &message.client_msg_id);
        let online = self.state.as_ref().map(ClientState::is_online);
        format!("{} messages from {first:?} on, online {online:?}", self.outbox.len())
    }

    /// The program starts, with what the outbox holds.
    pub fn start(&mut self, now: Micros) -> Vec<Want> {
        let mut ports: Vec<u16> = (0..self.servers as u16).map(|server| FIRST_PORT + server).collect();
        let first = self.random.index(ports.len());
        ports.rotate_left(first);
        // Where the servers change, the user names those that the program showed last, too.
        ports.extend(self.listed.iter().filter(|port| **port >= FIRST_PORT + self.servers as u16));
        let config = StateConfig {
            user: UserName::new(&self.user).expect("made of letters and digits"),
            login: Login::default(),
            servers: ports.into_iter().map(|port| Address::new(HOST, port)).collect(),
            seed: self.random.word(),
            history: self.random.pick(&[0, 5, 50]),
            epoch: 0,
            limits: Limits::default(),
        };
        self.ids = MessageIds::new(format!("{:x}", self.random.word()));
        self.state = Some(ClientState::new(config, self.outbox.clone()));
        let mut wants = self.tell(now, Input::Timeout);
        // A user who was in a room wants to see it again after a restart.
        for room in self.rooms.clone() {
            if self.random.chance(0.8) {
                wants.extend(self.tell(now, Input::Command(Command::Join(room))));
            }
        }
        wants
    }

    /// A line that says which servers there are.
    pub fn note_list(&mut self, line: &[u8]) {
        if line.starts_with(b"{\"msg_type\":\"server_list\"") {
            let line: Value = serde_json::from_slice(line).unwrap_or_default();
            let servers = line["data"]["servers"].as_array().into_iter().flatten();
            let ports = servers.filter_map(|server| server["tcp_port"].as_u64()?.try_into().ok());
            self.listed = ports.collect();
        }
    }

    /// The program dies; the outbox stays.
    pub fn crash(&mut self) {
        self.state = None;
    }

    /// When it wants to be told that time has passed.
    pub fn due(&self) -> Option<Micros> {
        self.state.as_ref()?.next_timeout_ms().map(|due_ms| due_ms * MS)
    }

    /// Gives the time of the user's next action.
    pub fn next_action(&mut self, now: Micros) -> Micros {
        now + self.random.wait(self.pace).max(MS)
    }

    /// Something happened to the program.
    pub fn tell(&mut self, now: Micros, input: Input) -> Vec<Want> {
        let Some(state) = &mut self.state else { return Vec::new() };
        state.handle(now / MS, input);
        let mut wants = Vec::new();
        while let Some(output) = state.poll_output() {
            match output {
                Output::Connect(address) => {
                    let server = usize::from(address.tcp_port.saturating_sub(FIRST_PORT));
                    wants.push(Want::Connect(server));
                }
                Output::Write(line) => wants.push(Want::Write(line)),
                Output::Disconnect => wants.push(Want::Disconnect),
                // All servers are configured, so nothing is looked for.
                Output::Discover
                | Output::KeepToken(_)
                | Output::ForgetToken(_)
                | Output::Read { .. }
                | Output::Save { .. }
                | Output::Persist(OutboxChange::Epoch(_)) => {}
                Output::Persist(OutboxChange::Added(message)) => {
                    wants.push(Want::Composed(message.client_msg_id.clone()));
                    self.outbox.push(message);
                }
                Output::Persist(OutboxChange::Removed { client_msg_id, .. }) => {
                    self.outbox.retain(|message| message.client_msg_id != client_msg_id);
                }
                Output::Persist(OutboxChange::Renamed(renamed)) => {
                    self.outbox.iter_mut().for_each(|message| message.follow(&renamed));
                }
                Output::Persist(OutboxChange::Numbered { room, room_id }) => {
                    self.outbox.iter_mut().for_each(|message| message.number(&room, room_id));
                }
                Output::Tell(Update::Refused { message, .. }) => {
                    wants.push(Want::GivenUp(message.client_msg_id));
                }
                Output::Tell(_) => {}
            }
        }
        wants
    }

    /// The user does something.
    pub fn act(&mut self, now: Micros) -> Vec<Want> {
        let room = self.rooms[self.random.index(self.rooms.len())].clone();
        let command =
            match self.random.below(100) {
                0..=74 => self.message(room),
                75..=80 => {
                    let (range, limit) = (self.range(), Some(Limit::clamped(self.limit() as u64)));
                    self.question(History { room, range, limit })
                }
                81..=84 => {
                    // A barrier, then a read that must have seen everything before it.
                    let mut wants = self.ask(now, Ping::with_barrier());
                    wants.extend(self.ask(
                        now,
                        History { room, range: HistoryRange::Last, limit: Some(Limit::clamped(3)) },
                    ));
                    return wants;
                }
                85..=87 => Command::Join(room),
                88 => Command::Leave(room),
                89..=91 => {
                    let port = FIRST_PORT + self.random.below(self.servers as u64) as u16;
                    Command::MoveTo(Address::new(HOST, port))
                }
                92..=93 => self.question(Rooms { after: None, limit: None, joined: false }),
                94..=95 => self.question(Members { room, after: None, limit: None }),
                96..=97 => self.question(AskStatus {}),
                _ => self.question(ListServers {}),
            };
        self.tell(now, Input::Command(command))
    }

    fn message(&mut self, room: RoomName) -> Command {
        self.said += 1;
        let padding = if self.random.chance(0.02) { self.random.between(100, 12_000) } else { 0 };
        let body = format!("{} says {} {}", self.user, self.said, "x".repeat(padding as usize));
        let reply_to = self.random.chance(0.05).then_some(Target::Seq(1));
        let client_msg_id = self.ids.next_id();
        Command::Send(Message { client_msg_id, room, room_id: None, body, reply_to, file_id: None })
    }

    fn ask(&mut self, now: Micros, ask: impl Into<TargetedRequest>) -> Vec<Want> {
        let command = self.question(ask);
        self.tell(now, Input::Command(command))
    }

    fn question(&mut self, ask: impl Into<TargetedRequest>) -> Command {
        self.tags += 1;
        Command::Ask { tag: self.tags, ask: ask.into() }
    }

    fn range(&mut self) -> HistoryRange {
        match self.random.below(3) {
            0 => HistoryRange::Last,
            1 => HistoryRange::Before(self.random.between(1, 300)),
            _ => HistoryRange::After(self.random.between(0, 300)),
        }
    }

    fn limit(&mut self) -> usize {
        self.random.between(1, 60) as usize
    }
}
