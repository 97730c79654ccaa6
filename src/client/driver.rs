//! The thread that carries out what the client's state wants: the outbox's file, the socket, other files.

use std::{
    collections::{BTreeMap, VecDeque},
    fs::File,
    io::{self, Write},
    path::PathBuf,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, Select, Sender, TrySendError, bounded};

use crate::{
    protocol::{Code, FileInfo, Refusal, file::FileId},
    tls::client::Trust,
};

use super::{
    directory::Address,
    files::{FileError, Saving, read_part},
    io::{Command, Input, Output},
    outbox::OutboxChange,
    outbox_file::{OutboxError, OutboxFile},
    state::ClientState,
    token_file::TokenFile,
    transfer::Sending,
    transport::{FromLink, Transport},
    update::Update,
};

/// Lines that may wait for the driver.
pub(super) const LINES: usize = 256;
/// Updates that may wait beyond the channel; then commands block, too.
pub(super) const BACKLOG_MAX: usize = 20_000;
/// Inputs that are taken in before their outputs are carried out: one sync and one write for all of them.
const BATCH: usize = 64;

/// Inputs of the driver's thread.
pub(super) enum DriverInput {
    Command(Command),
    /// `Command::Upload`, with the open file.
    Upload(u64, Sending, File),
    /// The file of an upload could not be read.
    NoUpload(u64, FileError),
    /// `Command::Download`, with the place.
    Download(u64, FileId, Option<PathBuf>),
    /// Tells how many messages wait to be acknowledged, behind what was given before.
    Pending(Sender<u64>),
    /// The client is being dropped.
    End,
}

/// Owns the state, the outbox file and the writing side of the socket.
pub(super) struct Driver {
    state: ClientState,
    outbox: Option<OutboxFile>,
    token_file: Option<TokenFile>,
    /// The files that are being sent.
    uploads: BTreeMap<u64, File>,
    /// Where fetched files are saved.
    targets: BTreeMap<u64, Option<PathBuf>>,
    /// The files that are being written.
    saving: BTreeMap<u64, Saving>,
    inputs: Receiver<DriverInput>,
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
    /// Those who asked how many messages wait; told once all before is kept.
    asked: Vec<Sender<u64>>,
    /// Outputs of the state that are not carried out yet.
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
    pub fn new(
        state: ClientState,
        outbox: Option<OutboxFile>,
        token_file: Option<TokenFile>,
        trust: Option<Trust>,
        inputs: Receiver<DriverInput>,
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
            inputs,
            updates,
            backlog: VecDeque::new(),
            links,
            links_in,
            trust,
            transport: None,
            transports: 0,
            asked: Vec::new(),
            wanted: Vec::new(),
            started: Instant::now(),
        }
    }

    pub fn run(mut self) {
        self.take_in(Input::Timeout);
        while self.carry_out() == Next::GoOn {
            if self.wait() == Next::End {
                // Input from before the end is kept.
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
    /// While updates are not read, only commands are taken in, not even the passing of time: the server must
    /// not seem silent because its lines are not read.
    fn wait(&mut self) -> Next {
        let blocked = !self.backlog.is_empty();
        let (inputs, links, updates) = (self.inputs.clone(), self.links.clone(), self.updates.clone());
        let mut select = Select::new();
        let input_at = if self.backlog.len() < BACKLOG_MAX { select.recv(&inputs) } else { usize::MAX };
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
            Some(ready) if ready.index() == input_at => match ready.recv(&inputs) {
                Ok(input) => return self.take_inputs(input),
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

    fn take_inputs(&mut self, first: DriverInput) -> Next {
        let inputs = self.inputs.clone();
        for input in std::iter::once(first).chain(inputs.try_iter().take(BATCH)) {
            let command = match input {
                DriverInput::End => return Next::End,
                DriverInput::Command(command) => command,
                DriverInput::NoUpload(tag, error) => {
                    self.tell(Update::TransferFailed { tag, reason: error.to_string() });
                    continue;
                }
                DriverInput::Pending(answers) => {
                    self.asked.push(answers);
                    continue;
                }
                DriverInput::Upload(tag, sending, file) => {
                    self.uploads.insert(tag, file);
                    Command::Upload { tag, sending }
                }
                DriverInput::Download(tag, file_id, to) => {
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
        // Lines of an ended connection do not go to the state, even if the state has just ended it and that
        // is not carried out yet.
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
        let pending = self.outbox.as_ref().map_or(0, |outbox| outbox.messages().count() as u64);
        for answers in self.asked.drain(..) {
            // It fails if the caller has stopped waiting.
            let _ = answers.send(pending);
        }
        Next::GoOn
    }

    /// Without its outbox the client can promise nothing, so it ends. The next run sends what the disk holds.
    /// What it does not hold is given back to the user, so nothing is lost silently.
    fn stop(&mut self, wanted: Vec<Output>, error: &OutboxError) {
        let reason = error.to_string();
        let mut refused = Vec::new();
        for output in wanted {
            match output {
                Output::Persist(OutboxChange::Added(message)) => refused.push((message, error.may_be_kept)),
                // What was acknowledged before stays acknowledged, even if the disk fails.
                Output::Tell(update @ (Update::Acked { .. } | Update::Refused { .. })) => self.tell(update),
                _ => {}
            }
        }
        for input in self.inputs.try_iter() {
            if let DriverInput::Command(Command::Send(message)) = input {
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

    /// A token that cannot be kept is still good for this run; the next one asks for the password.
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
            // The transfer was given up while this was on its way.
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

    /// Opens a connection to `address`, or looks for servers if there is none.
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
