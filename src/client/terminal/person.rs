//! A person in front: a prompt that what arrives does not garble.
//!
//! The main thread edits the line; the printing thread shows updates above it, through the line editor's
//! own printer. A typed message stays where it was typed, so its event is not shown a second time; only
//! one that is not acknowledged after a moment is shown as pending, and again when it is through.

use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::Builder,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, RecvTimeoutError};
use parking_lot::Mutex;
use rustyline::{Config, Editor, ExternalPrinter, error::ReadlineError, history::MemHistory};

use crate::{
    client::{outbox::Message, update::Update},
    protocol::{EventKind, RoomName, UserName},
};

use super::{
    DONE, NOT_DONE,
    session::{Outcome, Session},
    show::{self, counted, harmless},
    typed::Typed,
};

/// How long a message may wait for its acknowledgement before it is shown as pending, where there is a
/// connection; without one it is shown at once.
const PENDING_AFTER: Duration = Duration::from_secs(1);
/// Own messages whose events are waited for, so as not to show them twice. Full: the oldest is forgotten
/// and its event shown.
const OWN_MAX: usize = 4_096;

/// What the two threads share.
#[derive(Default)]
struct Shared {
    /// The room that is written to.
    room: Mutex<Option<RoomName>>,
    /// The client has stopped for good.
    stopped: AtomicBool,
}

/// Runs until the person quits. Gives the exit status.
pub fn run(mut session: Session) -> io::Result<u8> {
    let config = Config::builder().auto_add_history(true).build();
    let mut editor: Editor<(), MemHistory> =
        Editor::with_history(config, MemHistory::new()).map_err(io::Error::other)?;
    let printer = editor.create_external_printer().map_err(io::Error::other)?;
    let shared = Arc::new(Shared::default());
    *shared.room.lock() = session.current_room().cloned();
    println!("* you are {}; /help lists the commands, /quit ends", session.user);
    if !session.client.restored().is_empty() {
        let count = counted(session.client.restored().len() as u64, "message");
        println!("* {count} from last time will be sent first");
    }
    let printing = Printing::new(printer, session.client.updates().clone(), &session, shared.clone());
    let printing = Builder::new().name("client-print".into()).spawn(move || printing.run())?;
    while !shared.stopped.load(Ordering::Relaxed) {
        let prompt = session.current_room().map_or_else(String::new, RoomName::to_string) + "> ";
        let outcome = match editor.readline(&prompt) {
            Ok(line) => match Typed::read(&line) {
                Ok(typed) => session.carry_out(typed)?,
                Err(reason) => Err(reason),
            },
            Err(ReadlineError::Eof | ReadlineError::Interrupted) => break,
            Err(error) => return Err(io::Error::other(error)),
        };
        match outcome {
            Ok(Outcome::Quit) => break,
            Ok(Outcome::Text(text)) => println!("{text}"),
            Ok(_) => {}
            Err(reason) => println!("! {}", harmless(&reason)),
        }
        *shared.room.lock() = session.current_room().cloned();
    }
    drop(session);
    let pending = printing.join().map_err(|_| io::Error::other("the printing thread has failed"))?;
    if pending > 0 {
        println!("* {} not acknowledged yet; the next run sends what is left", counted(pending, "message"));
    }
    Ok(if shared.stopped.load(Ordering::Relaxed) { NOT_DONE } else { DONE })
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

struct Printing<P: ExternalPrinter> {
    printer: P,
    updates: Receiver<Update>,
    shared: Arc<Shared>,
    user: UserName,
    /// By the order of typing.
    own: BTreeMap<u64, Own>,
    typed: u64,
    /// Unacknowledged messages, those of earlier runs included.
    pending: u64,
}

impl<P: ExternalPrinter> Printing<P> {
    fn new(printer: P, updates: Receiver<Update>, session: &Session, shared: Arc<Shared>) -> Self {
        let pending = session.client.restored().len() as u64;
        let user = session.user.clone();
        Printing { printer, updates, shared, user, own: BTreeMap::new(), typed: 0, pending }
    }

    /// Shows updates until the client ends; gives the number of messages that are not acknowledged.
    fn run(mut self) -> u64 {
        loop {
            let due = self.own.values().filter(|own| !own.acked && !own.shown).map(|own| own.queued_at).min();
            let update = match due {
                Some(queued_at) => self.updates.recv_deadline(queued_at + PENDING_AFTER),
                None => self.updates.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match update {
                Ok(update) => self.update(update),
                Err(RecvTimeoutError::Timeout) => self.show_pending(PENDING_AFTER),
                Err(RecvTimeoutError::Disconnected) => return self.pending,
            }
        }
    }

    fn update(&mut self, update: Update) {
        match &update {
            Update::Queued { message, online } => {
                self.pending += 1;
                self.remember(message.clone());
                if !online {
                    self.show_pending(Duration::ZERO);
                }
            }
            Update::Acked { message, .. } => self.acked(message),
            Update::Refused { message, .. } => {
                self.pending = self.pending.saturating_sub(1);
                self.own.retain(|_, own| own.message.client_msg_id != message.client_msg_id);
            }
            Update::Event { event, .. } => match &event.kind {
                EventKind::Message(message) if self.is_own(&message.client_msg_id) => return,
                // "You are in …" and "you left …" say it already.
                EventKind::Joined | EventKind::Left if event.author.key() == self.user.key() => return,
                _ => {}
            },
            Update::Stopped { .. } => self.shared.stopped.store(true, Ordering::Relaxed),
            _ => {}
        }
        let room = self.shared.room.lock().clone();
        for line in show::lines(&update, room.as_ref()) {
            self.print(&line);
        }
        if matches!(update, Update::Stopped { .. }) {
            self.print("* press Enter to end");
        }
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
        self.pending = self.pending.saturating_sub(1);
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

    /// Shows as pending what has waited for `waited` and was not shown yet.
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
