//! The client for programs: [`ClientState`] with a clock, a socket, a disk and two threads.
//!
//! ```no_run
//! use syncnet::client::{Client, ClientConfig, update::Update};
//! use syncnet::protocol::{RoomName, UserName};
//!
//! let user = UserName::new("echo-bot").expect("a well-formed name");
//! let lobby = RoomName::new("lobby").expect("a well-formed name");
//! let mut config = ClientConfig::new(user.clone());
//! config.outbox_folder = Some("/var/lib/echo-bot".into());
//! let client = Client::connect(config)?;
//! client.join(&lobby)?;
//! for update in client.updates() {
//!     match update {
//!         Update::Event { event, past: false } if event.author.key() != user.key() => {
//!             client.send(&event.room, "I heard you")?;
//!         }
//!         Update::Acked { message, seq, .. } => println!("{} is number {seq}", message.client_msg_id),
//!         _ => {}
//!     }
//! }
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # Threads and queues
//! The *driver* owns the state, the outbox file and the writing side of the socket. Each connection has a
//! *link* thread that opens it and then only reads. Nothing is shared but channels:
//!
//! | queue | holds | full |
//! |---|---|---|
//! | commands | [`COMMANDS`] | [`Client::send`] and the others block |
//! | lines read | [`LINES`] | the link thread stops reading; the server notices and, in the end, hangs up |
//! | updates | [`UPDATES`], then a backlog | the driver takes no more lines until they are read; commands still work until the backlog has [`BACKLOG_MAX`] |

use std::{
    collections::{BTreeMap, VecDeque},
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
    thread::{Builder, JoinHandle},
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, Select, SendTimeoutError, Sender, TrySendError, bounded};
use parking_lot::Mutex;

use crate::{
    protocol::{
        Code, FileInfo, Limits, Refusal, RoomName, UserName,
        checked::{ContentType, FileName},
        credential::Password,
        file::FileId,
        limits::HISTORY_DEFAULT,
        request::FileBegin,
    },
    tls::client::Trust,
};

use super::{
    ask::Ask,
    directory::Address,
    files::{FileError, Local, Saving, read_part},
    io::{Command, Input, Output},
    login::{First, Login},
    outbox::{Message, MessageIds, OutboxChange},
    outbox_file::{OutboxError, OutboxFile},
    own::Target,
    state::{ClientState, StateConfig},
    token_file::TokenFile,
    transfer::Sending,
    transport::{FromLink, Transport},
    update::Update,
};

/// Commands that may wait for the driver.
pub const COMMANDS: usize = 1_024;
/// Lines that may wait for the driver.
pub const LINES: usize = 256;
/// Updates that may wait for the reader of [`Client::updates`].
pub const UPDATES: usize = 1_024;
/// Updates beyond that after which commands block too.
pub const BACKLOG_MAX: usize = 20_000;
/// How soon the end of a client is tried again while its driver waits.
const END_EVERY: Duration = Duration::from_millis(20);
/// Inputs that are taken in before their outputs are carried out: one sync and one write for all of them.
const BATCH: usize = 64;

/// What a client is to be.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// The user's name.
    pub user: UserName,
    /// How to log in. Without a token the one that `outbox_folder` keeps of this user is used.
    pub login: Login,
    /// Where to look for a server first; the others are learned from it. Empty: by discovery on the
    /// network, then at the usual ports of this machine.
    pub servers: Vec<Address>,
    /// Where unacknowledged messages are kept, and the token of a login. `None`: in memory, and a restart
    /// forgets them.
    pub outbox_folder: Option<PathBuf>,
    /// How many of its last events are shown when a room is first joined.
    pub history: usize,
    /// What the servers take at most, where they are configured to differ from the defaults.
    pub limits: Limits,
    /// Whose certificates are believed. `None`: nothing is encrypted.
    pub trust: Option<Trust>,
}

impl ClientConfig {
    /// A client for `user` that finds the servers itself and keeps its outbox in memory.
    pub fn new(user: UserName) -> Self {
        ClientConfig {
            user,
            login: Login::default(),
            servers: vec![],
            outbox_folder: None,
            history: HISTORY_DEFAULT,
            limits: Limits::default(),
            trust: None,
        }
    }
}

/// Something for the driver.
enum Order {
    Command(Command),
    /// `Command::Upload`, with the file.
    Upload(u64, Sending, File),
    /// `Command::Download`, with the place.
    Download(u64, FileId, Option<PathBuf>),
    /// The client is being dropped.
    End,
}

/// What may be done from anywhere without keeping the client alive.
#[derive(Debug, Clone)]
pub struct Whisper(Sender<Order>);

impl Whisper {
    /// Everything in `room` up to `seq` has been read by a person. The servers are told now and then.
    pub fn read(&self, room: &RoomName, seq: u64) {
        // It is not missed: the next one says more.
        let _ = self.0.try_send(Order::Command(Command::Read { room: room.clone(), seq }));
    }

    /// The user is typing in `room`.
    pub fn typing(&self, room: &RoomName) {
        let _ = self.0.try_send(Order::Command(Command::Typing(room.clone())));
    }
}

/// A client that runs until it is dropped.
///
/// All methods may be called from any thread. They fail only after the outbox file could not be written;
/// [`Update::Stopped`] then says why.
#[derive(Debug)]
pub struct Client {
    /// `None` while it is being dropped.
    orders: Option<Sender<Order>>,
    /// Held while a message is handed over, so that ids and places in the outbox have the same order.
    ids: Mutex<MessageIds>,
    updates: Receiver<Update>,
    restored: Vec<Message>,
    driver: Option<JoinHandle<()>>,
}

impl Client {
    /// Starts a client. It does not wait for a server: what is sent before there is one is kept.
    ///
    /// Fails where the outbox cannot be used or the system gives no thread or no random numbers; the error
    /// is a sentence that says which.
    pub fn connect(config: ClientConfig) -> io::Result<Client> {
        let mut random = [0; 16];
        getrandom::fill(&mut random)
            .map_err(|error| io::Error::other(format!("the system gives no random numbers: {error}")))?;
        let [instance, seed] = [0, 8].map(|at| {
            u64::from_le_bytes(random[at..at + 8].try_into().expect("a slice of 8 bytes is an array of 8"))
        });
        let outbox = match &config.outbox_folder {
            Some(folder) => Some(OutboxFile::open(folder, &config.user)?),
            None => None,
        };
        let restored: Vec<Message> = outbox.iter().flat_map(OutboxFile::messages).cloned().collect();
        let token_file = config.outbox_folder.as_ref().map(|folder| TokenFile::new(folder, &config.user));
        let mut login = config.login.clone();
        if let (None, Some(file)) = (&login.token, &token_file)
            && login.first != First::Register
        {
            login.token = file.read()?;
        }
        let ClientConfig { user, servers, history, limits, trust, .. } = config;
        let epoch = outbox.as_ref().map_or(0, OutboxFile::epoch);
        let config = StateConfig { user, login, servers, seed, history, epoch, limits };
        let state = ClientState::new(config, restored.clone());
        let (orders, orders_out) = bounded(COMMANDS);
        let (updates_in, updates) = bounded(UPDATES);
        let driver = Driver::new(state, outbox, token_file, trust, orders_out, updates_in);
        let driver = Builder::new().name("client-driver".into()).spawn(move || driver.run())?;
        Ok(Client {
            orders: Some(orders),
            ids: Mutex::new(MessageIds::new(format!("{instance:016x}"))),
            updates,
            restored,
            driver: Some(driver),
        })
    }

    /// Says `body` in `room`, joining it first if need be, and gives the message's `client_msg_id`.
    ///
    /// The message is safe on disk when [`Update::Queued`] names it, and committed for ever when
    /// [`Update::Acked`] does. Messages keep the order in which they were sent.
    pub fn send(&self, room: &RoomName, body: &str) -> io::Result<String> {
        self.hand_over(room, body, None)
    }

    /// Says `body` in `room` as an answer to a message; else like [`Client::send`].
    pub fn reply(&self, room: &RoomName, to: impl Into<Target>, body: &str) -> io::Result<String> {
        self.hand_over(room, body, Some(to.into()))
    }

    fn hand_over(&self, room: &RoomName, body: &str, reply_to: Option<Target>) -> io::Result<String> {
        let mut ids = self.ids.lock();
        let client_msg_id = ids.next_id();
        let message = Message {
            client_msg_id: client_msg_id.clone(),
            room: room.clone(),
            body: body.to_owned(),
            reply_to,
            file_id: None,
        };
        self.command(Command::Send(message))?;
        Ok(client_msg_id)
    }

    /// Joins `room`: its last events and then everything new come as updates.
    pub fn join(&self, room: &RoomName) -> io::Result<()> {
        self.command(Command::Join(room.clone()))
    }

    /// Leaves `room`, after the messages for it that still wait.
    pub fn leave(&self, room: &RoomName) -> io::Result<()> {
        self.command(Command::Leave(room.clone()))
    }

    /// Asks something of the servers; what becomes of it is an [`Update::Answered`] with `tag`.
    pub fn ask(&self, tag: u64, ask: impl Into<Ask>) -> io::Result<()> {
        self.command(Command::Ask { tag, ask: ask.into() })
    }

    /// Says `body` to `user` alone, in the room that the two have for themselves.
    pub fn send_to(&self, me: &UserName, user: &UserName, body: &str) -> io::Result<String> {
        self.send(&RoomName::direct(me, user), body)
    }

    /// Joins `room` with its password, or creates it, where it does not exist, with these.
    pub fn enter(&self, room: &RoomName, private: bool, password: Option<Password>) -> io::Result<()> {
        self.command(Command::Enter { room: room.clone(), private, password })
    }

    /// Logs in anew, on a new connection; an [`Update::LoggedIn`] or [`Update::LoginNeeded`] follows.
    pub fn log_in(&self, login: Login) -> io::Result<()> {
        self.command(Command::LogIn(login))
    }

    /// Sends the file at `path` and shows it in `room`. The inner error says why it cannot be read.
    ///
    /// [`Update::Uploaded`] and then that of a message follow, or [`Update::TransferFailed`]. An upload goes
    /// on after a failover, but not after a restart of the program.
    pub fn upload(&self, tag: u64, room: &RoomName, path: &Path) -> io::Result<Result<(), FileError>> {
        let local = match Local::open(path) {
            Ok(local) => local,
            Err(error) => return Ok(Err(error)),
        };
        let body = local.name.clone();
        let name = match FileName::new(local.name) {
            Ok(name) => name,
            Err(invalid) => return Ok(Err(FileError::Name(invalid.of("the file's name")))),
        };
        let client_msg_id = self.ids.lock().next_id();
        let content_type = ContentType::new(local.content_type).ok();
        let file = FileBegin { room: room.clone(), name, size: local.size, content_type };
        let sending = Sending { file, sha256: local.sha256, body, client_msg_id };
        self.order(Order::Upload(tag, sending, local.file)).map(Ok)
    }

    /// Fetches a file to `to`, which may be a folder (without it, the current one) and is never overwritten.
    /// [`Update::Downloaded`] or [`Update::TransferFailed`] follows.
    pub fn download(&self, tag: u64, file_id: FileId, to: Option<PathBuf>) -> io::Result<()> {
        self.order(Order::Download(tag, file_id, to))
    }

    /// For threads that tell of reading and typing.
    pub fn whisper(&self) -> Option<Whisper> {
        self.orders.clone().map(Whisper)
    }

    /// Moves to the server at `address`, or onward from there if it does not answer.
    pub fn move_to(&self, address: Address) -> io::Result<()> {
        self.command(Command::MoveTo(address))
    }

    /// What happens. It must be read: see the table of queues above.
    pub fn updates(&self) -> &Receiver<Update> {
        &self.updates
    }

    /// The messages of earlier runs that were in the outbox at the start, oldest first.
    pub fn restored(&self) -> &[Message] {
        &self.restored
    }

    /// Ends the client. What it was given before is kept first; what it still tells goes to `last`.
    pub fn end(mut self, mut last: impl FnMut(Update)) {
        let updates = self.updates.clone();
        if let Some(orders) = self.orders.take() {
            let mut order = Some(Order::End);
            // The driver may wait for its updates to be read before it takes another order.
            while let Some(end) = order.take() {
                match orders.send_timeout(end, END_EVERY) {
                    Err(SendTimeoutError::Timeout(end)) => order = Some(end),
                    Ok(()) | Err(SendTimeoutError::Disconnected(_)) => {}
                }
                updates.try_iter().for_each(&mut last);
            }
        }
        // Until the driver has ended.
        updates.iter().for_each(last);
    }

    fn command(&self, command: Command) -> io::Result<()> {
        self.order(Order::Command(command))
    }

    fn order(&self, order: Order) -> io::Result<()> {
        let sent = self.orders.as_ref().is_some_and(|orders| orders.send(order).is_ok());
        if sent { Ok(()) } else { Err(io::Error::other("the client has stopped")) }
    }
}

impl Drop for Client {
    /// Ends the connection at once; what is not acknowledged stays in the outbox file.
    fn drop(&mut self) {
        // The driver may wait for a reader of its updates.
        self.updates = crossbeam_channel::never();
        if let Some(orders) = self.orders.take() {
            // Others may whisper still, so closing the channel is not enough. It fails where the driver has
            // ended already.
            let _ = orders.send(Order::End);
        }
        if let Some(driver) = self.driver.take() {
            // A panic of the driver has been reported by its thread; there is nothing to add to it here.
            let _ = driver.join();
        }
    }
}

struct Driver {
    state: ClientState,
    outbox: Option<OutboxFile>,
    token_file: Option<TokenFile>,
    /// The files that are being sent.
    uploads: BTreeMap<u64, File>,
    /// Where files that are fetched go.
    targets: BTreeMap<u64, Option<PathBuf>>,
    /// The files that are being written.
    saving: BTreeMap<u64, Saving>,
    orders: Receiver<Order>,
    updates: Sender<Update>,
    /// Updates for which the channel had no room.
    backlog: VecDeque<Update>,
    links: Receiver<(u64, FromLink)>,
    links_in: Sender<(u64, FromLink)>,
    /// For new connections.
    trust: Option<Trust>,
    transport: Option<Transport>,
    /// Connections so far, attempts included.
    transports: u64,
    /// What the state wants and has not got yet.
    wanted: Vec<Output>,
    started: Instant,
}

/// Whether to go on.
#[derive(PartialEq)]
enum Next {
    GoOn,
    End,
}

impl Driver {
    fn new(
        state: ClientState,
        outbox: Option<OutboxFile>,
        token_file: Option<TokenFile>,
        trust: Option<Trust>,
        orders: Receiver<Order>,
        updates: Sender<Update>,
    ) -> Driver {
        let (links_in, links) = bounded(LINES);
        Driver {
            state,
            outbox,
            token_file,
            uploads: BTreeMap::new(),
            targets: BTreeMap::new(),
            saving: BTreeMap::new(),
            orders,
            updates,
            backlog: VecDeque::new(),
            links,
            links_in,
            trust,
            transport: None,
            transports: 0,
            wanted: Vec::new(),
            started: Instant::now(),
        }
    }

    fn run(mut self) {
        self.take_in(Input::Timeout);
        while self.carry_out() == Next::GoOn {
            if self.wait() == Next::End {
                // What was taken in before the end is kept.
                self.carry_out();
                break;
            }
        }
        self.disconnect();
        for update in std::mem::take(&mut self.backlog) {
            // It fails when the reader is gone.
            let _ = self.updates.send(update);
        }
    }

    fn take_in(&mut self, input: Input) {
        let now_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.state.handle(now_ms, input);
        self.wanted.extend(std::iter::from_fn(|| self.state.poll_output()));
    }

    /// Waits for the next input and takes it in, with those that are there already.
    ///
    /// While updates are not read, nothing else than commands is taken in, not even the passing of time:
    /// the server must not seem silent because its lines are not read.
    fn wait(&mut self) -> Next {
        let blocked = !self.backlog.is_empty();
        let (orders, links, updates) = (self.orders.clone(), self.links.clone(), self.updates.clone());
        let mut select = Select::new();
        let order_at = if self.backlog.len() < BACKLOG_MAX { select.recv(&orders) } else { usize::MAX };
        let link_at = if blocked { usize::MAX } else { select.recv(&links) };
        if blocked {
            select.send(&updates);
        }
        let selected = match self.timeout() {
            Some(timeout) if !blocked => select.select_timeout(timeout).ok(),
            _ => Some(select.select()),
        };
        match selected {
            None => self.take_in(Input::Timeout),
            Some(ready) if ready.index() == order_at => match ready.recv(&orders) {
                Ok(order) => return self.take_orders(order),
                Err(_) => return Next::End,
            },
            Some(ready) if ready.index() == link_at => {
                let said = ready.recv(&links).expect("the driver itself holds a sender");
                self.take_links(said);
            }
            Some(ready) => {
                let update = self.backlog.pop_front().expect("it is offered only while there is one");
                if ready.send(&updates, update).is_err() {
                    return Next::End;
                }
            }
        }
        Next::GoOn
    }

    fn timeout(&self) -> Option<Duration> {
        let at = self.started + Duration::from_millis(self.state.next_timeout_ms()?);
        Some(at.saturating_duration_since(Instant::now()))
    }

    fn take_orders(&mut self, first: Order) -> Next {
        let orders = self.orders.clone();
        for order in std::iter::once(first).chain(orders.try_iter().take(BATCH)) {
            let command = match order {
                Order::End => return Next::End,
                Order::Command(command) => command,
                Order::Upload(tag, sending, file) => {
                    self.uploads.insert(tag, file);
                    Command::Upload { tag, sending }
                }
                Order::Download(tag, file_id, to) => {
                    self.targets.insert(tag, to);
                    Command::Download { tag, file_id }
                }
            };
            self.take_in(Input::Command(command));
        }
        Next::GoOn
    }

    fn take_links(&mut self, first: (u64, FromLink)) {
        self.take_link(first);
        for said in self.links.clone().try_iter().take(BATCH) {
            self.take_link(said);
        }
    }

    fn take_link(&mut self, (number, said): (u64, FromLink)) {
        // What an ended connection still says is not the state's business, also when the state has just
        // ended it and that is not carried out yet.
        let ended = self.wanted.iter().any(|output| matches!(output, Output::Disconnect));
        let Some(transport) = self.transport.as_mut().filter(|at| at.number == number && !ended) else {
            return;
        };
        match said {
            FromLink::Opened(stream) => {
                transport.stream = Some(stream);
                self.take_in(Input::Connected);
            }
            FromLink::Said(input) => {
                if matches!(input, Input::ConnectFailed { .. } | Input::Disconnected { .. }) {
                    self.disconnect();
                }
                self.take_in(input);
            }
        }
    }

    /// Carries out what the state wants, until it wants nothing more.
    fn carry_out(&mut self) -> Next {
        while !self.wanted.is_empty() {
            let wanted = std::mem::take(&mut self.wanted);
            // All changes of the outbox first, with one sync for all of them; nothing is sent before.
            if let Err(error) = self.persist(&wanted) {
                self.stop(wanted, &error);
                return Next::End;
            }
            let mut lines = Vec::new();
            for output in wanted {
                match output {
                    Output::Persist(_) => {}
                    Output::Write(line) => lines.extend(line),
                    Output::Tell(update) => self.tell(update),
                    Output::Connect(address) => self.start(Some(address)),
                    Output::Discover => self.start(None),
                    Output::KeepToken(token) => self.change_token_file(|file| file.keep(&token)),
                    Output::ForgetToken(token) => self.change_token_file(|file| file.forget(&token)),
                    Output::Read { tag, offset, length } => self.read_file(tag, offset, length),
                    Output::Save { tag, file, bytes, last } => self.save(tag, &file, &bytes, last),
                    Output::Disconnect => {
                        lines.clear();
                        self.disconnect();
                    }
                }
            }
            self.write(&lines);
        }
        Next::GoOn
    }

    /// Without its outbox the client can promise nothing: it ends, and what the disk holds is sent by the next run.
    /// What it does not hold is given back to the user, so that nothing is lost unseen.
    fn stop(&mut self, wanted: Vec<Output>, error: &OutboxError) {
        let reason = error.to_string();
        let mut refused = Vec::new();
        for output in wanted {
            match output {
                Output::Persist(OutboxChange::Added(message)) => refused.push((message, error.may_be_kept)),
                // What was acknowledged before is so, whatever the disk says.
                Output::Tell(update @ (Update::Acked { .. } | Update::Refused { .. })) => self.tell(update),
                _ => {}
            }
        }
        for order in self.orders.try_iter() {
            if let Order::Command(Command::Send(message)) = order {
                refused.push((message, false));
            }
        }
        for (message, uncertain) in refused {
            let refusal = Refusal::new(Code::Overloaded, format!("it is not kept: {reason}"));
            self.tell(Update::Refused { message, refusal, uncertain });
        }
        self.tell(Update::Stopped { reason });
    }

    fn persist(&mut self, wanted: &[Output]) -> Result<(), OutboxError> {
        let Some(outbox) = &mut self.outbox else { return Ok(()) };
        let changes: Vec<OutboxChange> = wanted
            .iter()
            .filter_map(|output| match output {
                Output::Persist(change) => Some(change.clone()),
                _ => None,
            })
            .collect();
        outbox.append(&changes)
    }

    /// A token that cannot be kept is good for this run all the same; the next one asks for the password.
    fn change_token_file(&mut self, change: impl FnOnce(&TokenFile) -> io::Result<()>) {
        if let Some(file) = &self.token_file
            && let Err(error) = change(file)
        {
            log::warn!("{error}");
        }
    }

    fn read_file(&mut self, tag: u64, offset: u64, length: usize) {
        let Some(file) = self.uploads.get_mut(&tag) else { return };
        let read = match read_part(file, offset, length) {
            Ok(bytes) => Input::Bytes { tag, offset, bytes },
            Err(error) => Input::ReadFailed { tag, reason: error.to_string() },
        };
        self.take_in(read);
    }

    fn save(&mut self, tag: u64, file: &FileInfo, bytes: &[u8], last: bool) {
        match self.try_save(tag, file, bytes, last) {
            Ok(None) => {}
            Ok(Some(path)) => self.tell(Update::Downloaded { tag, file: file.clone(), path }),
            Err(error) => {
                self.take_in(Input::Command(Command::GiveUp(tag)));
                self.tell(Update::TransferFailed { tag, reason: error.to_string() });
            }
        }
    }

    fn try_save(
        &mut self,
        tag: u64,
        file: &FileInfo,
        bytes: &[u8],
        last: bool,
    ) -> Result<Option<PathBuf>, FileError> {
        let mut saving = match (self.saving.remove(&tag), self.targets.remove(&tag)) {
            (Some(saving), _) => saving,
            (None, Some(to)) => Saving::begin(to.as_deref(), &file.name)?,
            // It was given up, and this was on its way already.
            (None, None) => return Ok(None),
        };
        saving.write(bytes)?;
        if last {
            return saving.end(file).map(Some);
        }
        self.saving.insert(tag, saving);
        Ok(None)
    }

    fn tell(&mut self, update: Update) {
        match &update {
            Update::Uploaded { tag, .. } => drop(self.uploads.remove(tag)),
            Update::TransferFailed { tag, .. } => {
                self.uploads.remove(tag);
                self.targets.remove(tag);
                self.saving.remove(tag);
            }
            _ => {}
        }
        if !self.backlog.is_empty() {
            return self.backlog.push_back(update);
        }
        // A receiver that is gone is noticed when the commands end.
        if let Err(TrySendError::Full(update)) = self.updates.try_send(update) {
            self.backlog.push_back(update);
        }
    }

    fn write(&mut self, lines: &[u8]) {
        let stream = self.transport.as_mut().and_then(|transport| transport.stream.as_mut());
        let Some(stream) = stream.filter(|_| !lines.is_empty()) else { return };
        if let Err(error) = stream.write_all(lines) {
            self.disconnect();
            self.take_in(Input::Disconnected { reason: error.to_string() });
        }
    }

    /// Opens a connection to `address`, or looks for servers where there is none.
    fn start(&mut self, address: Option<Address>) {
        self.disconnect();
        self.transports += 1;
        self.transport =
            Some(Transport::start(self.transports, address, self.trust.clone(), self.links_in.clone()));
    }

    fn disconnect(&mut self) {
        if let Some(transport) = self.transport.take() {
            transport.end();
        }
    }
}
