//! The line mode for a person: a prompt that incoming messages do not garble.
//!
//! The main thread edits the line; the printing thread shows updates above it, through the line editor's own
//! printer. A typed message stays in its line, so its event is not shown a second time. Only a message that
//! is not acknowledged after a moment is shown as pending, and again when it is acknowledged.
//!
//! Passwords are asked for between two lines, when the editor does not own the terminal, and are neither
//! shown nor remembered.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{Builder, JoinHandle},
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, RecvTimeoutError};
use parking_lot::Mutex;
use rustyline::{
    CompletionType, Config, Context, Editor, ExternalPrinter, Helper,
    completion::{Completer, Pair},
    error::ReadlineError,
    highlight::Highlighter,
    hint::Hinter,
    history::MemHistory,
    validate::Validator,
};

use crate::{
    client::{
        connection::Whisper,
        login::{First, Login, Secret},
        outbox::Message,
        update::Update,
    },
    protocol::{EventKind, RoomName, UserName, text::counted},
};

use super::{
    answer,
    complete::{Known, complete, path_at},
    exit_status::{DONE, NOT_DONE},
    notes::Notes,
    options::Settings,
    paths,
    secrets::{NoSecret, PasswordKind, Secrets},
    session::{Outcome, Session},
    show::{self, harmless},
    signals::Signals,
    typed::Typed,
};

/// How long a message may wait for its acknowledgement before it is shown as pending, if there is a
/// connection; without one it is shown at once.
const PENDING_AFTER: Duration = Duration::from_secs(1);
/// How long a request may wait for its answer before it is shown to be on its way.
const WAITS_AFTER: Duration = Duration::from_secs(3);
/// How often waiting messages and requests are checked.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Own messages whose events are waited for, so as not to show them twice. Full: the oldest is forgotten
/// and its event shown.
const OWN_MAX: usize = 4_096;
/// The least time between two signs that the user is typing.
const TYPING_EVERY: Duration = Duration::from_secs(4);
/// How long the disk may take, after a signal, to keep what was typed last.
const KEPT_WITHIN: Duration = Duration::from_secs(2);
/// The least time between two lines that show the same user typing.
const TYPING_SHOWN_EVERY: Duration = Duration::from_secs(30);

/// What the two threads share.
struct Shared {
    user: Mutex<UserName>,
    /// The current room.
    room: Mutex<Option<RoomName>>,
    /// What tells the servers of reading and typing.
    whisper: Mutex<Option<Whisper>>,
    /// The client has stopped for good.
    stopped: AtomicBool,
    /// The unfinished line, so that Ctrl-C does not lose it.
    line: Mutex<String>,
}

impl Shared {
    /// Says what a signal leaves undone. Standard error may have no reader any more.
    fn say_last(&self) {
        let mut out = io::stdout();
        let line = std::mem::take(&mut *self.line.lock());
        let not_sent = if line.is_empty() || Typed::is_secret(&line) {
            String::new()
        } else {
            format!("; not sent: {}", harmless(&line))
        };
        let _ = writeln!(out, "\n* ended by a signal{not_sent}");
        let pending = self.whisper.lock().as_ref().and_then(|whisper| whisper.pending(KEPT_WITHIN));
        match pending {
            Some(0) => {}
            Some(pending) => {
                let messages = counted(pending, "message");
                let _ = writeln!(out, "* {messages} not acknowledged yet; the next run sends what is left");
            }
            None => {
                let _ = writeln!(out, "! it is not known whether the last messages are kept");
            }
        }
    }
}

/// Completes with the Tab key, and tells the room that the user is typing.
struct TypingHelper {
    notes: Arc<Notes>,
    shared: Arc<Shared>,
    told_at: Mutex<Option<Instant>>,
}

impl Completer for TypingHelper {
    type Candidate = Pair;

    fn complete(&self, line: &str, at: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<Pair>)> {
        let line = line.get(..at).unwrap_or(line);
        if let Some(start) = path_at(line) {
            let pair = |(replacement, display)| Pair { display, replacement };
            return Ok((start, paths::complete(&line[start..]).into_iter().map(pair).collect()));
        }
        let (rooms, users) = (self.notes.rooms(), self.notes.users());
        let user = self.shared.user.lock();
        let (start, candidates) = complete(line, &Known { user: &user, rooms: &rooms, users: &users });
        let pair = |text: String| Pair { display: text.trim_end().to_owned(), replacement: text };
        Ok((start, candidates.into_iter().map(pair).collect()))
    }
}

impl Hinter for TypingHelper {
    type Hint = String;

    /// Gives no hint; the editor asks after each key, and so it is known that the user is typing.
    fn hint(&self, line: &str, _: usize, _: &Context<'_>) -> Option<String> {
        line.clone_into(&mut self.shared.line.lock());
        let mut told_at = self.told_at.lock();
        if !line.is_empty()
            && !line.starts_with('/')
            && told_at.is_none_or(|at| at.elapsed() >= TYPING_EVERY)
            && let (Some(room), Some(whisper)) = (&*self.shared.room.lock(), &*self.shared.whisper.lock())
        {
            *told_at = Some(Instant::now());
            whisper.typing(room);
        }
        None
    }
}

impl Highlighter for TypingHelper {}
impl Validator for TypingHelper {}
impl Helper for TypingHelper {}

/// Asks for passwords at the terminal.
struct PasswordPrompt;

impl Secrets for PasswordPrompt {
    fn secret(&mut self, wanted: PasswordKind) -> Result<Secret, NoSecret> {
        let (prompt, twice) = match wanted {
            PasswordKind::Own => ("Password: ", false),
            PasswordKind::Login => ("Password (none for a guest): ", false),
            PasswordKind::Chosen | PasswordKind::Next => ("New password: ", true),
            PasswordKind::Room => ("Password of the room: ", false),
            PasswordKind::RoomChosen => ("New password of the room: ", true),
        };
        let ask = |prompt: &str| rpassword::prompt_password(prompt).map_err(NoSecret::Terminal);
        loop {
            let password = ask(prompt)?;
            if password.is_empty() && wanted != PasswordKind::Login {
                return Err(NoSecret::NotTyped);
            }
            if !twice || ask("Once more: ")? == password {
                return Ok(Secret::new(password));
            }
            println!("! the two are not the same; an empty line ends this");
        }
    }
}

type Printer = Box<dyn ExternalPrinter + Send>;

/// The settings with the password that they need; it is asked for if it was not given.
pub fn with_password(settings: &Settings) -> io::Result<Settings> {
    let mut settings = settings.clone();
    if settings.login.first != First::Guest && settings.login.password.is_none() {
        let wanted =
            if settings.login.first == First::Register { PasswordKind::Chosen } else { PasswordKind::Own };
        let password = PasswordPrompt.secret(wanted).map_err(io::Error::other)?;
        settings.login = Login { password: Some(password), ..settings.login };
    }
    Ok(settings)
}

/// Prints on a terminal that can do no more: the line that is being typed is not drawn again.
struct Plain;

impl ExternalPrinter for Plain {
    fn print(&mut self, text: String) -> rustyline::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        Ok(out.flush()?)
    }
}

/// Runs until the person quits. Gives the exit status.
pub fn run(settings: &Settings, signals: &Signals) -> io::Result<u8> {
    let mut session = Session::start(&with_password(settings)?)?;
    let config = Config::builder().completion_type(CompletionType::List).build();
    let mut editor: Editor<TypingHelper, MemHistory> =
        Editor::with_history(config, MemHistory::new()).map_err(io::Error::other)?;
    // The editor has no printer for a terminal that it cannot draw on.
    let printer: Printer = match editor.create_external_printer() {
        Ok(printer) => Box::new(printer),
        Err(_) => Box::new(Plain),
    };
    let shared = Arc::new(Shared {
        user: Mutex::new(session.user.clone()),
        room: Mutex::default(),
        whisper: Mutex::default(),
        stopped: AtomicBool::new(false),
        line: Mutex::default(),
    });
    editor.set_helper(Some(TypingHelper {
        notes: session.notes.clone(),
        shared: shared.clone(),
        told_at: Mutex::new(None),
    }));
    let last = shared.clone();
    signals.end_with(move || last.say_last());
    println!("* you are {}; /help lists the commands, /quit ends", session.user);
    let mut printing = begin(&session, &shared, printer)?;
    let mut sent = BTreeSet::new();
    while !shared.stopped.load(Ordering::Relaxed) {
        let room = session.current_room().cloned();
        let prompt = room.as_ref().map_or_else(String::new, RoomName::to_string) + "> ";
        *shared.room.lock() = room;
        let line = match editor.readline(&prompt) {
            Ok(line) => line,
            Err(ReadlineError::Interrupted) if !shared.line.lock().is_empty() => {
                let line = std::mem::take(&mut *shared.line.lock());
                if !Typed::is_secret(&line) {
                    editor.add_history_entry(line).map_err(io::Error::other)?;
                }
                println!("* your line is put aside, ↑ brings it back; Ctrl-C in an empty line ends");
                continue;
            }
            Err(ReadlineError::Eof | ReadlineError::Interrupted) => break,
            Err(error) => return Err(io::Error::other(error)),
        };
        if !Typed::is_secret(&line) && !line.is_empty() {
            editor.add_history_entry(line.as_str()).map_err(io::Error::other)?;
        }
        shared.line.lock().clear();
        match session.take(&line, &mut PasswordPrompt)? {
            Ok(Outcome::Sent(client_msg_id)) => drop(sent.insert(client_msg_id)),
            Ok(Outcome::Quit) => break,
            Ok(Outcome::Text(text)) => println!("{text}"),
            Ok(Outcome::Moving(room)) => {
                session.notes.is_coming(&room);
                mark_read(&session, &shared);
            }
            Ok(Outcome::Restarted) => {
                // The client before has ended, and its printing with it.
                let ended = end(printing)?;
                sent.retain(|id| !ended.settled.contains(id));
                println!("* you are {} now", session.user);
                *shared.user.lock() = session.user.clone();
                printing = begin(&session, &shared, ended.printer)?;
            }
            Ok(_) => {}
            Err(mistake) => println!("! {}", harmless(&mistake.to_string())),
        }
        session.rename();
        // Only now: a line typed for a room that is gone must not go to the room before it.
        for room in session.notes.take_gone() {
            session.forget(&room);
        }
    }
    *shared.whisper.lock() = None;
    drop(session);
    let ended = end(printing)?;
    if ended.pending > 0 {
        let messages = counted(ended.pending, "message");
        println!("* {messages} not acknowledged yet; the next run sends what is left");
    }
    sent.retain(|id| !ended.settled.contains(id));
    if !sent.is_empty() {
        println!("! {} neither sent nor kept", counted(sent.len() as u64, "message"));
    }
    Ok(if shared.stopped.load(Ordering::Relaxed) { NOT_DONE } else { DONE })
}

/// Marks what was shown of the current room as read.
fn mark_read(session: &Session, shared: &Shared) {
    if let Some(room) = session.current_room()
        && let (Some(seq), Some(whisper)) = (session.notes.last(room), &*shared.whisper.lock())
    {
        whisper.read(room, seq);
    }
}

fn begin(session: &Session, shared: &Arc<Shared>, printer: Printer) -> io::Result<JoinHandle<Ended>> {
    *shared.whisper.lock() = session.client.whisper();
    if !session.client.restored().is_empty() {
        let count = counted(session.client.restored().len() as u64, "message");
        println!("* {count} from last time will be sent first");
    }
    let printing = Printing::new(printer, session, shared.clone());
    Builder::new().name("client-print".into()).spawn(move || printing.run())
}

/// The results of the printing thread.
struct Ended {
    /// Messages that are kept and not acknowledged.
    pending: u64,
    /// The messages of this run that are known to be kept, or refused.
    settled: BTreeSet<String>,
    printer: Printer,
}

fn end(printing: JoinHandle<Ended>) -> io::Result<Ended> {
    printing.join().map_err(|_| io::Error::other("the printing thread has failed"))
}

/// A message typed here.
struct Own {
    message: Message,
    queued_at: Instant,
    acked: bool,
    /// Its event has come.
    happened: bool,
    /// It was shown as pending.
    shown: bool,
}

struct Printing {
    printer: Printer,
    updates: Receiver<Update>,
    shared: Arc<Shared>,
    notes: Arc<Notes>,
    user: UserName,
    /// By the order of typing.
    own: BTreeMap<u64, Own>,
    typed: u64,
    /// The ids of unacknowledged messages, those of earlier runs included.
    pending: BTreeSet<String>,
    /// The ids of messages of this run that are kept, or were refused.
    settled: BTreeSet<String>,
    /// Who was last shown to be typing, and when.
    typing: Option<(UserName, Instant)>,
}

impl Printing {
    fn new(printer: Printer, session: &Session, shared: Arc<Shared>) -> Self {
        Printing {
            printer,
            updates: session.client.updates().clone(),
            shared,
            notes: session.notes.clone(),
            user: session.user.clone(),
            own: BTreeMap::new(),
            typed: 0,
            pending: session.client.restored().iter().map(|message| message.client_msg_id.clone()).collect(),
            settled: BTreeSet::new(),
            typing: None,
        }
    }

    /// Shows updates until the client ends.
    fn run(mut self) -> Ended {
        loop {
            match self.updates.recv_timeout(LOOK_EVERY) {
                Ok(update) => self.update(&update),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    let Printing { pending, settled, printer, .. } = self;
                    return Ended { pending: pending.len() as u64, settled, printer };
                }
            }
            self.show_pending(PENDING_AFTER);
            for command in self.notes.take_waiting(WAITS_AFTER) {
                self.print(&format!("  … on its way: {}", harmless(&command)));
            }
        }
    }

    fn update(&mut self, update: &Update) {
        self.notes.note(update);
        let room = self.shared.room.lock().clone();
        let mut command = String::new();
        match update {
            Update::Queued { message, online } => {
                self.pending.insert(message.client_msg_id.clone());
                self.settled.insert(message.client_msg_id.clone());
                self.remember(message.clone());
                if !online {
                    self.show_pending(Duration::ZERO);
                }
            }
            Update::Acked { message, .. } => self.acked(message),
            Update::Refused { message, .. } => {
                self.pending.remove(&message.client_msg_id);
                self.settled.insert(message.client_msg_id.clone());
                self.own.retain(|_, own| own.message.client_msg_id != message.client_msg_id);
            }
            Update::Event { event, .. } => {
                if room.as_ref().is_some_and(|room| room.key() == event.room.key())
                    && let Some(whisper) = &*self.shared.whisper.lock()
                {
                    whisper.read(&event.room, event.seq);
                }
                match &event.kind {
                    EventKind::Message(message) if self.is_own(&message.client_msg_id) => return,
                    // "You are in …" and "you left …" say it already.
                    EventKind::Joined | EventKind::Left if event.author.key() == self.user.key() => return,
                    _ => {}
                }
            }
            Update::Typing { username, .. } if !self.is_typing_news(username) => return,
            Update::Answered { tag, .. }
            | Update::Uploaded { tag, .. }
            | Update::Downloaded { tag, .. }
            | Update::TransferFailed { tag, .. } => command = self.notes.answered(*tag),
            Update::Stopped { .. } => self.shared.stopped.store(true, Ordering::Relaxed),
            _ => {}
        }
        for line in show::lines(update, room.as_ref(), &command) {
            self.print(&line);
        }
        if let Some(hint) = answer::hint(update) {
            self.print(hint);
        }
        match update {
            Update::LoginNeeded { .. } => self.print("* /login goes on, /register makes an account"),
            Update::Stopped { .. } => self.print("* press Enter to end"),
            _ => {}
        }
    }

    /// Whether `user` was not just shown to be typing.
    fn is_typing_news(&mut self, user: &UserName) -> bool {
        let is_old = self
            .typing
            .as_ref()
            .is_some_and(|(last, at)| last.key() == user.key() && at.elapsed() < TYPING_SHOWN_EVERY);
        if !is_old {
            self.typing = Some((user.clone(), Instant::now()));
        }
        !is_old
    }

    fn remember(&mut self, message: Message) {
        self.typed += 1;
        let own = Own { message, queued_at: Instant::now(), acked: false, happened: false, shown: false };
        self.own.insert(self.typed, own);
        if self.own.len() > OWN_MAX {
            self.own.pop_first();
        }
    }

    fn acked(&mut self, message: &Message) {
        self.pending.remove(&message.client_msg_id);
        let Some(own) = self.own_mut(&message.client_msg_id) else { return };
        own.acked = true;
        let shown = own.shown;
        self.forget_finished();
        if shown {
            self.print(&format!("  ✓ sent: {}", harmless(&message.body)));
        }
    }

    /// Whether the event that has come is that of a message typed here.
    fn is_own(&mut self, client_msg_id: &str) -> bool {
        let Some(own) = self.own_mut(client_msg_id) else { return false };
        own.happened = true;
        self.forget_finished();
        true
    }

    fn own_mut(&mut self, client_msg_id: &str) -> Option<&mut Own> {
        self.own.values_mut().find(|own| own.message.client_msg_id == client_msg_id)
    }

    /// The acknowledgement and the event come in either order; after both there is nothing to wait for.
    fn forget_finished(&mut self) {
        self.own.retain(|_, own| !(own.acked && own.happened));
    }

    /// Shows as pending the messages that have waited for `waited` and were not shown yet.
    fn show_pending(&mut self, waited: Duration) {
        let due = |own: &&mut Own| !own.acked && !own.shown && own.queued_at.elapsed() >= waited;
        let mut lines = vec![];
        for own in self.own.values_mut().filter(|own| due(own)) {
            own.shown = true;
            lines.push(format!("  … pending: {}", harmless(&own.message.body)));
        }
        for line in lines {
            self.print(&line);
        }
    }

    fn print(&mut self, line: &str) {
        // The terminal is gone: the main thread notices and ends.
        let _ = self.printer.print(format!("{line}\n"));
    }
}
