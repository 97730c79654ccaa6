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
//! | lines read | `driver::LINES` | the link thread stops reading, and in the end the server hangs up |
//! | updates | [`UPDATES`], then a backlog | the driver takes no more lines until they are read |
//!
//! Commands still work until the backlog of updates has `driver::BACKLOG_MAX`.

use std::{
    io,
    path::{Path, PathBuf},
    thread::{Builder, JoinHandle},
    time::Duration,
};

use crossbeam_channel::{Receiver, SendTimeoutError, Sender, bounded};
use parking_lot::Mutex;

use crate::{
    protocol::{Limits, RoomName, UserName, credential::Password, file::FileId, limits::HISTORY_DEFAULT},
    tls::client::Trust,
};

use super::{
    ask::TargetedRequest,
    directory::Address,
    driver::{Driver, DriverInput},
    files::{FileError, Hashed, Local},
    io::Command,
    login::{First, Login},
    outbox::{Message, MessageIds},
    outbox_file::OutboxFile,
    own::Target,
    state::{ClientState, StateConfig},
    token_file::TokenFile,
    transfer::Sending,
    update::Update,
};

/// Commands that may wait for the driver.
pub const COMMANDS: usize = 1_024;
/// Updates that may wait for the reader of [`Client::updates`].
pub const UPDATES: usize = 1_024;
/// How often the end of a client is tried again while its driver waits.
const END_EVERY: Duration = Duration::from_millis(20);

/// The settings of a [`Client`]. [`ClientConfig::new`] has the usual values: a guest, and the servers of the
/// local network.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    pub user: UserName,
    /// How to log in. Without a token, the one that `outbox_folder` keeps for this user is used.
    pub login: Login,
    /// Where to look for a server first; the others are learned from it. Empty: by discovery on the
    /// network, then at the usual ports of this machine.
    pub servers: Vec<Address>,
    /// Where unacknowledged messages are kept, and the token of a login. `None`: in memory, and a restart
    /// forgets them.
    pub outbox_folder: Option<PathBuf>,
    /// How many of its last events are shown when a room is first joined.
    pub history: usize,
    /// The servers' limits, if their configuration differs from the defaults.
    pub limits: Limits,
    /// The trusted certificates. `None`: nothing is encrypted.
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

/// A handle for notes of reading and typing that does not keep the client alive.
#[derive(Debug, Clone)]
pub struct Whisper(Sender<DriverInput>);

impl Whisper {
    /// A person has read everything in `room` up to `seq`. The servers are told every few seconds.
    pub fn read(&self, room: &RoomName, seq: u64) {
        // It may be lost: the next one says more.
        let _ = self.0.try_send(DriverInput::Command(Command::Read { room: room.clone(), seq }));
    }

    pub fn typing(&self, room: &RoomName) {
        let _ = self.0.try_send(DriverInput::Command(Command::Typing(room.clone())));
    }

    /// How many messages are kept and not acknowledged, after all that was sent before is kept. `None` if
    /// that takes longer than `within`.
    pub fn pending(&self, within: Duration) -> Option<u64> {
        let (answers, answer) = bounded(1);
        self.0.send_timeout(DriverInput::Pending(answers), within).ok()?;
        answer.recv_timeout(within).ok()
    }
}

/// A client that runs until it is dropped.
///
/// All methods may be called from any thread. They fail only after the outbox file could not be written;
/// [`Update::Stopped`] then says why.
#[derive(Debug)]
pub struct Client {
    /// `None` while it is being dropped.
    inputs: Option<Sender<DriverInput>>,
    /// Held while a message is handed over, so that ids and places in the outbox have the same order.
    ids: Mutex<MessageIds>,
    updates: Receiver<Update>,
    restored: Vec<Message>,
    driver: Option<JoinHandle<()>>,
}

impl Client {
    /// Starts a client. It does not wait for a server: what is sent before there is one is kept.
    ///
    /// Fails if the outbox cannot be used, or the system gives no thread or no random numbers; the error is a
    /// sentence that says which.
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
        let (inputs, inputs_out) = bounded(COMMANDS);
        let (updates_in, updates) = bounded(UPDATES);
        let driver = Driver::new(state, outbox, token_file, trust, inputs_out, updates_in);
        let driver = Builder::new().name("client-driver".into()).spawn(move || driver.run())?;
        Ok(Client {
            inputs: Some(inputs),
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
            room_id: None,
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

    /// Asks something of the servers; the outcome comes as an [`Update::Answered`] with `tag`.
    pub fn ask(&self, tag: u64, ask: impl Into<TargetedRequest>) -> io::Result<()> {
        self.command(Command::Ask { tag, ask: ask.into() })
    }

    /// Says `body` to `user` alone, in the direct conversation of the two.
    pub fn send_to(&self, me: &UserName, user: &UserName, body: &str) -> io::Result<String> {
        self.send(&RoomName::direct(me, user), body)
    }

    /// Joins `room` with its password, or creates it with these settings if it does not exist.
    pub fn enter(&self, room: &RoomName, private: bool, password: Option<Password>) -> io::Result<()> {
        self.command(Command::Enter { room: room.clone(), private, password })
    }

    /// Logs in anew, on a new connection; an [`Update::LoggedIn`] or [`Update::LoginNeeded`] follows.
    pub fn log_in(&self, login: Login) -> io::Result<()> {
        self.command(Command::LogIn(login))
    }

    /// Sends the file at `path` and shows it in `room`. The inner error says why it cannot be read.
    ///
    /// The file is read once before, for its hash, by a thread of its own. [`Update::Uploaded`] and then that
    /// of a message follow, or [`Update::TransferFailed`]. An upload goes on after a failover, but not after
    /// a restart of the program.
    pub fn upload(&self, tag: u64, room: &RoomName, path: &Path) -> io::Result<Result<(), FileError>> {
        let local = match Local::open(path) {
            Ok(local) => local,
            Err(error) => return Ok(Err(error)),
        };
        let Some(inputs) = self.inputs.clone() else { return Err(stopped()) };
        let (room, client_msg_id) = (room.clone(), self.ids.lock().next_id());
        let hash = move || {
            let input = match local.hashed() {
                Ok(Hashed { file, name, size, content_type, sha256 }) => {
                    let body = String::from(name.clone());
                    let sending = Sending { room, name, size, content_type, sha256, body, client_msg_id };
                    DriverInput::Upload(tag, sending, file)
                }
                Err(error) => DriverInput::NoUpload(tag, error),
            };
            // It fails if the client has ended meanwhile; then the file is not needed any more.
            let _ = inputs.send(input);
        };
        Builder::new().name("client-hash".into()).spawn(hash)?;
        Ok(Ok(()))
    }

    /// Fetches a file to `to`, which may be a folder (without it, the current one) and is never overwritten.
    /// [`Update::Downloaded`] or [`Update::TransferFailed`] follows.
    pub fn download(&self, tag: u64, file_id: FileId, to: Option<PathBuf>) -> io::Result<()> {
        self.give(DriverInput::Download(tag, file_id, to))
    }

    /// A handle for threads that report reading and typing.
    pub fn whisper(&self) -> Option<Whisper> {
        self.inputs.clone().map(Whisper)
    }

    /// Moves to the server at `address`, or onward from there if it does not answer.
    pub fn move_to(&self, address: Address) -> io::Result<()> {
        self.command(Command::MoveTo(address))
    }

    /// The updates. They must be read: see the table of queues above.
    pub fn updates(&self) -> &Receiver<Update> {
        &self.updates
    }

    /// The messages of earlier runs that were in the outbox at the start, oldest first.
    pub fn restored(&self) -> &[Message] {
        &self.restored
    }

    /// Ends the client, after it has kept what it was given before. Its remaining updates go to `last`.
    pub fn end(mut self, mut last: impl FnMut(Update)) {
        let updates = self.updates.clone();
        if let Some(inputs) = self.inputs.take() {
            let mut end = Some(DriverInput::End);
            // The driver may wait for its updates to be read before it takes another input.
            while let Some(input) = end.take() {
                match inputs.send_timeout(input, END_EVERY) {
                    Err(SendTimeoutError::Timeout(input)) => end = Some(input),
                    Ok(()) | Err(SendTimeoutError::Disconnected(_)) => {}
                }
                updates.try_iter().for_each(&mut last);
            }
        }
        // Until the driver has ended.
        updates.iter().for_each(last);
    }

    fn command(&self, command: Command) -> io::Result<()> {
        self.give(DriverInput::Command(command))
    }

    fn give(&self, input: DriverInput) -> io::Result<()> {
        let sent = self.inputs.as_ref().is_some_and(|inputs| inputs.send(input).is_ok());
        if sent { Ok(()) } else { Err(stopped()) }
    }
}

impl Drop for Client {
    /// Ends the connection at once; what is not acknowledged stays in the outbox file.
    fn drop(&mut self) {
        // The driver may wait for a reader of its updates.
        self.updates = crossbeam_channel::never();
        if let Some(inputs) = self.inputs.take() {
            // A [`Whisper`] may still hold the channel, so closing it is not enough. This fails if the driver
            // has ended already.
            let _ = inputs.send(DriverInput::End);
        }
        if let Some(driver) = self.driver.take() {
            // A panic of the driver has been reported by its thread; there is nothing to add to it here.
            let _ = driver.join();
        }
    }
}

fn stopped() -> io::Error {
    io::Error::other("the client has stopped")
}
