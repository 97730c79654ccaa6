//! The client's logic without input or output: outbox, failover and resume, decided from data alone.
//!
//! # Input, output, timeout
//! Three words are the whole contract of [`ClientState`]:
//!
//! 1. **Input.** Tell it what happened, with the time: [`ClientState::handle`]. The first input may be
//!    `Input::Timeout`; it starts the search for a server.
//! 2. **Output.** After every input carry out what it wants, in order, until [`ClientState::poll_output`]
//!    gives `None`. `Persist` must be durable before anything behind it is carried out (carrying it out
//!    earlier is fine).
//! 3. **Timeout.** If nothing happens until [`ClientState::next_timeout_ms`], give it `Input::Timeout`.
//!
//! There is no socket, clock, thread, file or random number in here: the time and the seed of the jitter are
//! passed in. So the same code runs under the threads of [`super::connection`] and in a simulation that plays
//! a whole cluster from one seed.
//!
//! The caller must keep three rules. The time never goes back. The inputs of one connection come in order
//! (`Connected`, any `Received`, then `Disconnected`, or only `ConnectFailed`), and none comes after the
//! `Output::Disconnect` that ended it. If `Persist` fails, nothing behind it is carried out: the state is
//! dropped, and a new one started from what the disk holds.
//!
//! # What it promises
//! - Every message that it took (`Update::Queued`) is sent, in the order taken, until a server acknowledges
//!   or finally refuses it, on any server and in any run of the program, always under the same id.
//!   [`super::outbox`] says how the order is kept.
//! - Of each room, events are shown in the order of `seq`, each once, without a gap from the first shown.
//!   A repeat is dropped; a gap leads to a new `create_join` with `after`, never to a skip.
//! - A server that is gone, silent or without a majority is left for the next one at once, and further
//!   attempts come after a growing pause with jitter. It never asks in a tight loop.
//!
//! # What happens on a connection
//! `login`; when that is acknowledged `server_list` and a `create_join` for every room, with `after` if
//! something of it was shown; messages follow as soon as their room is joined. A message whose room is not
//! joined delays all messages behind it: the order is kept over all rooms.
//!
//! # What is no message
//! Everything else is a request ([`super::ask`]). The user is told its outcome, which is "unknown" for a
//! write if the connection is lost before the answer. Files are cut into pieces that may be asked for twice
//! ([`super::transfer`]), so they survive a failover. A login that is refused for good, and a session that
//! the servers end, lead to `Update::LoginNeeded` and to no further attempt ([`super::login`]); the outbox
//! waits.

use std::collections::{BTreeMap, VecDeque};

use crate::protocol::{Limits, Refusal, RoomId, RoomKey, UserName};

use super::{
    ask::{Outcome, Reply, TargetedRequest},
    directory::{Address, Directory, Jitter},
    io::{Input, Output},
    limits::{DOWN_NOTICE_MS, GAPS_MAX},
    link::{Link, Pending},
    login::{Access, Login, Secret},
    outbox::{Message, Outbox, OutboxChange},
    own::OwnMessages,
    rooms::{self, Rooms},
    transfer::{Download, Upload},
    update::Update,
};

/// The settings of a client.
#[derive(Debug, Clone)]
pub struct StateConfig {
    pub user: UserName,
    /// How to log in.
    pub login: Login,
    /// Where to look for a server first. Empty: by discovery, then at the local ports.
    pub servers: Vec<Address>,
    /// The start of the jitter; different for each client.
    pub seed: u64,
    /// How many of its last events are shown when a room is first joined, up to
    /// [`HISTORY_MAX`](crate::protocol::limits::HISTORY_MAX).
    pub history: usize,
    /// The life of the cluster's data that an earlier run has seen last; 0 if there was none.
    pub epoch: u64,
    /// The servers' limits. What exceeds them is refused here, because a server would cut the connection.
    pub limits: Limits,
}

/// The state of the search for a server.
#[derive(Debug)]
pub(super) enum Phase {
    /// The next attempt is at this time: at `target`, or at the directory's next server.
    Waiting {
        until_ms: u64,
        target: Option<Address>,
    },
    Discovering {
        until_ms: u64,
    },
    /// A connection is being opened.
    Connecting {
        address: Address,
        until_ms: u64,
    },
    Linked(Link),
    /// The user has to log in; nothing is tried before that.
    LoggedOut(Refusal),
}

/// The time without a server.
#[derive(Debug)]
pub(super) struct Down {
    /// When the last server was lost, for the user: a silent one was gone before it was given up.
    pub since_ms: u64,
    /// Since when another one is looked for.
    pub searching_ms: u64,
    /// The server before it.
    pub server_id: Option<String>,
    pub moved: bool,
    pub told: bool,
    pub reason: String,
}

/// A request of the user that is not answered.
#[derive(Debug)]
pub(super) struct Asked {
    pub tag: u64,
    pub ask: TargetedRequest,
    /// The number of the room that it is about, if that was known when it was asked.
    pub room: Option<RoomId>,
    /// On its way on this connection.
    pub sent: bool,
}

/// One user's client; see the module's documentation.
#[derive(Debug)]
pub struct ClientState {
    pub(super) config: StateConfig,
    pub(super) now_ms: u64,
    pub(super) phase: Phase,
    pub(super) directory: Directory,
    /// The life of the cluster's data that places belong to; 0 before a server has told.
    pub(super) epoch: u64,
    pub(super) rooms: Rooms,
    /// Whether a room may need a `create_join` or a `leave`.
    pub(super) rooms_changed: bool,
    pub(super) outbox: Outbox,
    pub(super) own: OwnMessages,
    pub(super) asked: VecDeque<Asked>,
    pub(super) uploads: Vec<Upload>,
    pub(super) downloads: Vec<Download>,
    pub(super) access: Access,
    /// How often the user has logged in anew.
    pub(super) logins: u64,
    /// The user is not at the keyboard.
    pub(super) away: bool,
    /// Reading places that are not reported yet, by room.
    pub(super) unsaid_reads: BTreeMap<RoomKey, u64>,
    /// Nothing is told of it before this time.
    pub(super) read_due_ms: u64,
    pub(super) lamport_timestamp: u64,
    pub(super) next_request_id: i64,
    pub(super) jitter: Jitter,
    /// Nothing is asked before this time: a server shed load.
    pub(super) hold_until_ms: u64,
    /// Refusals for load in a row.
    pub(super) load_refusals: u32,
    /// Servers lost to silence in a row.
    pub(super) silences: u32,
    /// A server has said that there is none, and nothing that needs one has succeeded since.
    pub(super) no_majority: bool,
    /// Redirects in a row.
    pub(super) redirects: u32,
    /// A line was too long for a server, and it is not known which: requests are sent one after the other.
    pub(super) careful: bool,
    /// Discovery has just run: its result is tried before it runs again.
    pub(super) discovered: bool,
    pub(super) down: Option<Down>,
    pub(super) outputs: VecDeque<Output>,
}

impl ClientState {
    /// A client with the messages of an earlier run, oldest first.
    pub fn new(config: StateConfig, restored: Vec<Message>) -> Self {
        let mut rooms = Rooms::default();
        let mut own = OwnMessages::default();
        let access = Access::new(config.login.clone());
        for message in &restored {
            let room = rooms.want(&message.room, 0);
            room.id = room.id.or(message.room_id);
            own.add(&message.room, &message.client_msg_id);
        }
        let mut state = ClientState {
            directory: Directory::new(&config.servers, config.seed),
            // Another stream of numbers than the directory's.
            jitter: Jitter::new(!config.seed),
            epoch: config.epoch,
            config,
            now_ms: 0,
            phase: Phase::Waiting { until_ms: 0, target: None },
            rooms,
            rooms_changed: false,
            outbox: Outbox::new(restored),
            own,
            asked: VecDeque::new(),
            uploads: Vec::new(),
            downloads: Vec::new(),
            access,
            logins: 0,
            away: false,
            unsaid_reads: BTreeMap::new(),
            read_due_ms: 0,
            lamport_timestamp: 0,
            next_request_id: 1,
            hold_until_ms: 0,
            load_refusals: 0,
            silences: 0,
            no_majority: false,
            redirects: 0,
            careful: false,
            discovered: false,
            down: None,
            outputs: VecDeque::new(),
        };
        state.refuse_orphans();
        state
    }

    /// Takes in what happened at `now_ms`, by a clock that never goes back and may start anywhere.
    pub fn handle(&mut self, now_ms: u64, input: Input) {
        self.now_ms = self.now_ms.max(now_ms);
        if self.down.is_none() && self.link().is_none_or(|link| link.server_id.is_none()) {
            self.down = Some(self.down_since_now(None, false, "none was tried yet"));
        }
        match input {
            Input::Connected => self.connected(),
            Input::ConnectFailed { reason } => self.connect_failed(reason),
            Input::Received(line) => self.received(&line),
            Input::Disconnected { reason } => self.lost(&reason),
            Input::Discovered(addresses) => self.found(addresses),
            Input::Command(command) => self.command(command),
            Input::Bytes { tag, offset, bytes } => self.bytes_read(tag, offset, bytes),
            Input::ReadFailed { tag, reason } => self.fail_transfer(tag, reason),
            Input::Timeout => {}
        }
        self.look_at_the_clock();
        self.ask_what_may_be_asked();
    }

    /// The next thing to be done.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When `Input::Timeout` is due if nothing else happens before; `None`: never.
    pub fn next_timeout_ms(&self) -> Option<u64> {
        let phase_ms = match &self.phase {
            Phase::Waiting { until_ms, .. }
            | Phase::Discovering { until_ms }
            | Phase::Connecting { until_ms, .. } => *until_ms,
            Phase::Linked(link) => link.next_timeout_ms(self.reply_ms()),
            Phase::LoggedOut(_) => return None,
        };
        let held = self.link().is_some() && self.hold_until_ms > self.now_ms;
        let hold_ms = if held { self.hold_until_ms } else { u64::MAX };
        let tell_ms = self.down_notice_ms().unwrap_or(u64::MAX);
        let says_read = self.is_online() && !self.unsaid_reads.is_empty();
        let read_ms = if says_read { self.read_due_ms.max(self.hold_until_ms) } else { u64::MAX };
        let waits = self.uploads.iter().filter(|upload| self.is_online() && !upload.is_begun());
        let again_ms = waits.map(|upload| upload.not_before_ms).filter(|&at_ms| at_ms > self.now_ms).min();
        Some(phase_ms.min(hold_ms).min(tell_ms).min(read_ms).min(again_ms.unwrap_or(u64::MAX)))
    }

    /// Messages that are not yet acknowledged.
    pub fn pending(&self) -> usize {
        self.outbox.len()
    }

    /// Whether a message sent now may be acknowledged at once, as far as is known.
    pub fn is_usable(&self) -> bool {
        self.is_online() && !self.no_majority
    }

    /// Whether it is logged in at a server.
    pub fn is_online(&self) -> bool {
        self.link().is_some_and(|link| link.server_id.is_some())
    }

    /// Whether everything that the user asked for is answered: messages, rooms, requests and files.
    pub fn is_idle(&self) -> bool {
        let settled = |phase, wanted| wanted && phase == rooms::Phase::Live;
        self.outbox.is_empty()
            && self.asked.is_empty()
            && self.uploads.is_empty()
            && self.downloads.is_empty()
            && self.rooms.iter().all(|(_, room)| settled(room.phase, room.wanted))
    }
}

/// Helpers of `answers.rs`.
impl ClientState {
    /// When the user is to be told that no server works; not while one is busy with the password.
    pub(super) fn down_notice_ms(&self) -> Option<u64> {
        let is_busy = self.link().is_some_and(Link::is_busy) || matches!(self.phase, Phase::LoggedOut(_));
        let untold = self.down.as_ref().filter(|down| !down.told && !is_busy)?;
        Some(untold.searching_ms + DOWN_NOTICE_MS)
    }

    pub(super) fn tell(&mut self, update: Update) {
        self.outputs.push_back(Output::Tell(update));
    }

    pub(super) fn persist(&mut self, change: OutboxChange) {
        self.outputs.push_back(Output::Persist(change));
    }

    pub(super) fn link(&self) -> Option<&Link> {
        match &self.phase {
            Phase::Linked(link) => Some(link),
            _ => None,
        }
    }

    /// Notes that the server said something at `lamport_timestamp`. Gives the request, if it is the answer to
    /// one.
    pub(super) fn heard(&mut self, lamport_timestamp: u64, request_id: Option<i64>) -> Option<Pending> {
        self.lamport_timestamp = self.lamport_timestamp.max(lamport_timestamp);
        let Phase::Linked(link) = &mut self.phase else { return None };
        link.heard(self.now_ms);
        request_id.and_then(|request_id| link.answered(request_id))
    }

    /// Whether something may be asked beside what is on its way.
    pub(super) fn may_ask(&self) -> bool {
        !self.careful || self.link().is_none_or(|link| link.suspects().next().is_none())
    }

    /// Takes the request off the connection that must have been too long; `None` if several may have been.
    pub(super) fn take_suspect(&mut self) -> Option<(i64, Pending)> {
        let Phase::Linked(link) = &mut self.phase else { return None };
        let mut suspects = link.suspects().map(|(request_id, _)| request_id);
        let (only, None) = (suspects.next()?, suspects.next()) else { return None };
        drop(suspects);
        link.answered(only).map(|pending| (only, pending))
    }

    /// Takes the request `tag` off the list, if it is on its way.
    pub(super) fn take_asked(&mut self, tag: u64) -> Option<TargetedRequest> {
        let at = self.asked.iter().position(|asked| asked.tag == tag && asked.sent)?;
        self.asked.remove(at).map(|asked| asked.ask)
    }

    pub(super) fn tell_outcome(&mut self, tag: u64, ask: TargetedRequest, outcome: Outcome) {
        let reply = Reply { request: ask.into_request(), outcome };
        self.tell(Update::Answered { tag, reply: Box::new(reply) });
    }

    /// The session is over, or never began: the user has to log in before anything else happens.
    pub(super) fn log_out(&mut self, refusal: Refusal) {
        let wanted = self.asked.iter().any(|asked| asked.sent && asked.ask.is_last());
        self.end_session(refusal, wanted);
    }

    /// The same, if it is known whether the user `wanted` it.
    pub(super) fn end_session(&mut self, refusal: Refusal, wanted: bool) {
        self.outputs.extend(self.access.ended().map(Output::ForgetToken));
        self.outputs.push_back(Output::Disconnect);
        self.forget_connection();
        for Asked { tag, ask, .. } in std::mem::take(&mut self.asked) {
            self.tell_outcome(tag, ask, Outcome::Refused(refusal.clone()));
        }
        self.fail_transfers(&refusal.reason);
        self.tell(Update::LoginNeeded { refusal: refusal.clone(), wanted, logins: self.logins });
        self.phase = Phase::LoggedOut(refusal);
    }

    pub(super) fn keep_token(&mut self, token: Secret) {
        self.outputs.push_back(Output::KeepToken(token));
    }

    /// The request `tag` was refused for load: it is sent again.
    pub(super) fn ask_again(&mut self, tag: u64) {
        for asked in self.asked.iter_mut().filter(|asked| asked.tag == tag) {
            asked.sent = false;
        }
    }

    /// A gap in the room under `key`: what is missing is asked for.
    pub(super) fn gap(&mut self, key: &RoomKey) {
        let Some(room) = self.rooms.get_mut(key) else { return };
        room.gaps += 1;
        room.phase = rooms::Phase::Absent;
        self.rooms_changed = true;
        if room.gaps > GAPS_MAX {
            room.gaps = 0;
            self.leave_server("it leaves out events", false);
        }
    }
}
