//! A script in front: lines in, one event a line out, and an exit status that tells whether all is done.

use std::{
    collections::BTreeSet,
    io::{self, BufRead, Read, Write},
    thread::Builder,
    time::Instant,
};

use crossbeam_channel::{Receiver, bounded, never, select};

use crate::{
    client::update::{Reply, Update},
    protocol::RoomKey,
};

use super::{
    DONE, NOT_DONE, json,
    options::Settings,
    session::{Outcome, Session},
    show::{self, counted},
    typed::Typed,
};

/// The longest line of input; a longer one is taken apart, and its parts are refused as too long.
const LINE_BYTES_MAX: u64 = 1024 * 1024;
/// Lines of input that are read ahead; more are left in the pipe.
const LINES: usize = 64;
/// Unacknowledged messages at which no further input is read: far below what the outbox holds.
const PENDING_MAX: usize = 1_000;

/// What was asked for and is not answered yet.
#[derive(Default)]
struct Unanswered {
    messages: BTreeSet<String>,
    rooms: BTreeSet<RoomKey>,
    questions: BTreeSet<u64>,
    /// Things that were refused.
    refused: u64,
    /// Why nothing more will be answered.
    stopped: Option<String>,
}

/// Runs until the input has ended and everything is answered, or the wait is over. Gives the exit status.
pub fn run(mut session: Session, settings: &Settings) -> io::Result<u8> {
    let mut unanswered = Unanswered::default();
    let restored = session.client.restored().iter().map(|message| message.client_msg_id.clone());
    unanswered.messages.extend(restored);
    unanswered.rooms.extend(settings.rooms.iter().map(|room| room.key()));
    let mut input = read_lines()?;
    let updates = session.client.updates().clone();
    let mut ended_at: Option<Instant> = None;
    while ended_at.is_none() || !unanswered.is_empty() {
        let busy = unanswered.messages.len() >= PENDING_MAX;
        let lines = if busy { never() } else { input.clone() };
        let deadline = ended_at.map_or_else(never, |at| crossbeam_channel::at(at + settings.wait));
        select! {
            recv(lines) -> line => {
                let quit = match line {
                    Ok(line) => !say(&mut session, &mut unanswered, &line?, settings)?,
                    Err(_) => true,
                };
                if quit {
                    ended_at = Some(Instant::now());
                    input = never();
                }
            }
            recv(updates) -> update => {
                let Ok(update) = update else { break };
                unanswered.note(&update, &mut session);
                print(&update, settings)?;
            }
            recv(deadline) -> _ => break,
        }
        if unanswered.stopped.is_some() {
            break;
        }
    }
    Ok(unanswered.status(settings))
}

/// Reads standard input in a thread of its own, which ends with the input or with the process: a blocking
/// read cannot be interrupted.
fn read_lines() -> io::Result<Receiver<io::Result<String>>> {
    let (lines, input) = bounded(LINES);
    Builder::new().name("client-input".into()).spawn(move || {
        let mut stdin = io::stdin().lock();
        loop {
            let mut line = Vec::new();
            let read = stdin
                .by_ref()
                .take(LINE_BYTES_MAX)
                .read_until(b'\n', &mut line)
                .map(|_| String::from_utf8_lossy(&line).into_owned());
            if matches!(&read, Ok(line) if line.is_empty()) || lines.send(read).is_err() {
                return;
            }
        }
    })?;
    Ok(input)
}

/// Carries out a line of input; `false` ends the input.
fn say(
    session: &mut Session,
    unanswered: &mut Unanswered,
    line: &str,
    settings: &Settings,
) -> io::Result<bool> {
    let line = line.strip_suffix('\n').unwrap_or(line);
    let line = line.strip_suffix('\r').unwrap_or(line);
    let outcome = match Typed::read(line) {
        Ok(typed) => session.carry_out(typed)?,
        Err(reason) => Err(reason),
    };
    match outcome {
        Ok(Outcome::Nothing) => {}
        Ok(Outcome::Sent(client_msg_id)) => drop(unanswered.messages.insert(client_msg_id)),
        Ok(Outcome::Moving(room)) => drop(unanswered.rooms.insert(room.key())),
        Ok(Outcome::Asked(tag)) => drop(unanswered.questions.insert(tag)),
        Ok(Outcome::Text(text)) => eprintln!("{text}"),
        Ok(Outcome::Quit) => return Ok(false),
        Err(reason) => {
            unanswered.refused += 1;
            if settings.json {
                write_line(&json::error_line(&reason))?;
            } else {
                eprintln!("! {}", show::harmless(&reason));
            }
        }
    }
    Ok(true)
}

/// Events go to standard output; what the client says of itself goes to standard error, unless it is JSON.
fn print(update: &Update, settings: &Settings) -> io::Result<()> {
    if settings.json {
        return write_line(&json::line(update));
    }
    // A script reads every line alike: all name their room.
    for line in show::lines(update, None) {
        match update {
            Update::Event { .. } | Update::Answered { .. } => write_line(&line)?,
            _ => eprintln!("{line}"),
        }
    }
    Ok(())
}

fn write_line(line: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{line}")?;
    stdout.flush()
}

impl Unanswered {
    fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.rooms.is_empty() && self.questions.is_empty()
    }

    fn note(&mut self, update: &Update, session: &mut Session) {
        match update {
            Update::Joined { room, .. } | Update::Left { room } => drop(self.rooms.remove(&room.key())),
            Update::RoomRefused { room, .. } => {
                self.rooms.remove(&room.key());
                self.refused += 1;
                session.forget(room);
            }
            Update::Acked { message, .. } => drop(self.messages.remove(&message.client_msg_id)),
            Update::Refused { message, .. } => {
                self.messages.remove(&message.client_msg_id);
                self.refused += 1;
            }
            Update::Answered { tag, reply } => {
                self.questions.remove(tag);
                self.refused += u64::from(matches!(reply, Reply::Refused(_)));
            }
            Update::Stopped { reason } => self.stopped = Some(reason.clone()),
            _ => {}
        }
    }

    /// Says in one sentence what is not done, if anything is not.
    fn status(&self, settings: &Settings) -> u8 {
        if self.is_empty() && self.refused == 0 && self.stopped.is_none() {
            return DONE;
        }
        let mut reasons = vec![];
        if let Some(stopped) = &self.stopped {
            reasons.push(stopped.clone());
        }
        if self.refused > 0 {
            reasons.push(format!("{} refused", counted(self.refused, "request")));
        }
        match self.messages.len() as u64 {
            0 => {}
            pending => reasons.push(format!(
                "{} not acknowledged yet, kept in {} for the next run",
                counted(pending, "message"),
                settings.outbox_folder.display()
            )),
        }
        if !self.rooms.is_empty() || !self.questions.is_empty() {
            reasons
                .push(counted((self.rooms.len() + self.questions.len()) as u64, "request") + " unanswered");
        }
        eprintln!("syncnet-client: {}", show::harmless(&reasons.join("; ")));
        NOT_DONE
    }
}
