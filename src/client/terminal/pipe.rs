//! A script in front: lines in, one event a line out, and an exit status that tells whether all is done.

use std::{
    collections::BTreeSet,
    io::{self, BufRead, Read, Write},
    thread::Builder,
    time::Instant,
};

use crossbeam_channel::{Receiver, bounded, never, select};

use crate::{
    client::{
        change,
        login::Secret,
        update::{Reply, Update},
    },
    protocol::RoomKey,
};

use super::{
    DONE, NOT_DONE, json,
    notes::Notes,
    options::Settings,
    session::{Outcome, Secrets, Session, Wanted},
    show::{self, counted},
    typed::{Query, Typed},
};

/// The longest line of input, with its line end; a longer one is passed over, and is a failure.
const LINE_BYTES_MAX: u64 = 1024 * 1024;
/// Lines of input that are read ahead; more are left in the pipe.
const LINES: usize = 64;
/// Unacknowledged messages at which no further input is read: far below what the outbox holds.
const PENDING_MAX: usize = 1_000;

/// What is read from the input.
#[derive(Debug, PartialEq)]
enum Input {
    /// A line, without its end.
    Line(String),
    /// A line that was too long; nothing of it is carried out.
    TooLong,
}

/// What was asked for and is not answered yet.
#[derive(Default)]
struct Unanswered {
    messages: BTreeSet<String>,
    rooms: BTreeSet<RoomKey>,
    questions: BTreeSet<u64>,
    /// A login is on its way.
    login: bool,
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
    let mut updates = session.client.updates().clone();
    let mut ended_at: Option<Instant> = None;
    // A line that goes on from an answer that is not there yet, and keeps those behind it waiting.
    let mut held: Option<(String, Instant)> = None;
    while ended_at.is_none() || !unanswered.is_empty() {
        if unanswered.questions.is_empty()
            && let Some((line, _)) = held.take()
        {
            say(&mut session, &mut unanswered, &line, settings)?;
        }
        let busy = held.is_some() || unanswered.messages.len() >= PENDING_MAX;
        let lines = if busy { never() } else { input.clone() };
        let waits_since = ended_at.or(held.as_ref().map(|(_, at)| *at));
        let deadline = waits_since.map_or_else(never, |at| crossbeam_channel::at(at + settings.wait));
        select! {
            recv(lines) -> line => {
                let quit = match line {
                    Ok(Ok(Input::Line(line)))
                        if Typed::read(&line) == Ok(Typed::Ask(Query::More))
                            && !unanswered.questions.is_empty() =>
                    {
                        held = Some((line, Instant::now()));
                        false
                    }
                    Ok(Ok(Input::Line(line))) => !say(&mut session, &mut unanswered, &line, settings)?,
                    Ok(Ok(Input::TooLong)) => {
                        let reason = format!("a line has more than {LINE_BYTES_MAX} bytes; it is not sent");
                        complain(&mut unanswered, &reason, settings)?;
                        false
                    }
                    Ok(Err(error)) => return Err(error),
                    Err(_) => true,
                };
                // After a login under another name it is another client's.
                updates = session.client.updates().clone();
                if quit {
                    ended_at = Some(Instant::now());
                    input = never();
                }
            }
            recv(updates) -> update => {
                let Ok(update) = update else { break };
                session.notes.note(&update);
                unanswered.note(&update, &mut session);
                print(&update, settings, &session.notes)?;
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
fn read_lines() -> io::Result<Receiver<io::Result<Input>>> {
    let (lines, input) = bounded(LINES);
    Builder::new().name("client-input".into()).spawn(move || {
        let mut stdin = io::stdin().lock();
        while let Some(read) = read_line(&mut stdin).transpose() {
            if lines.send(read).is_err() {
                return;
            }
        }
    })?;
    Ok(input)
}

/// The next line; `None` at the end.
fn read_line(from: &mut impl BufRead) -> io::Result<Option<Input>> {
    let mut line = Vec::new();
    from.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
    if line.len() as u64 == LINE_BYTES_MAX && !line.ends_with(b"\n") {
        from.skip_until(b'\n')?;
        return Ok(Some(Input::TooLong));
    }
    if line.is_empty() {
        return Ok(None);
    }
    let line = line.strip_suffix(b"\n").unwrap_or(&line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    Ok(Some(Input::Line(String::from_utf8_lossy(line).into_owned())))
}

/// Carries out a line of input; `false` ends the input.
fn say(
    session: &mut Session,
    unanswered: &mut Unanswered,
    line: &str,
    settings: &Settings,
) -> io::Result<bool> {
    let outcome = match Typed::read(line) {
        Ok(typed) => session.carry_out(typed, line, &mut Given(settings))?,
        Err(reason) => Err(reason),
    };
    match outcome {
        Ok(Outcome::Nothing) => {}
        Ok(Outcome::Sent(client_msg_id)) => drop(unanswered.messages.insert(client_msg_id)),
        Ok(Outcome::Moving(room)) => drop(unanswered.rooms.insert(room.key())),
        Ok(Outcome::Asked(tag)) => drop(unanswered.questions.insert(tag)),
        Ok(Outcome::LoggingIn) => unanswered.login = true,
        Ok(Outcome::Restarted) => {
            // What was asked before is not answered any more.
            unanswered.questions.clear();
            unanswered.login = true;
        }
        Ok(Outcome::Text(text)) => eprintln!("{text}"),
        Ok(Outcome::Quit) => return Ok(false),
        Err(reason) => complain(unanswered, &reason, settings)?,
    }
    Ok(true)
}

/// A line of input was wrong.
fn complain(unanswered: &mut Unanswered, reason: &str, settings: &Settings) -> io::Result<()> {
    unanswered.refused += 1;
    if settings.json {
        return write_line(&json::error_line(reason));
    }
    eprintln!("! {}", show::harmless(reason));
    Ok(())
}

/// Events go to standard output; what the client says of itself goes to standard error, unless it is JSON.
fn print(update: &Update, settings: &Settings, notes: &Notes) -> io::Result<()> {
    let command = match update {
        Update::Changed { tag, .. }
        | Update::Answered { tag, .. }
        | Update::Uploaded { tag, .. }
        | Update::Downloaded { tag, .. }
        | Update::TransferFailed { tag, .. } => notes.answered(*tag),
        _ => String::new(),
    };
    if settings.json {
        return write_line(&json::line(update, &command));
    }
    // Who comes and goes is no news for a script.
    if matches!(update, Update::Presence { .. }) {
        return Ok(());
    }
    // A script reads every line alike: all name their room.
    for line in show::lines(update, None, &command) {
        match update {
            Update::Event { .. }
            | Update::Answered { .. }
            | Update::Changed { outcome: change::Outcome::Done(_), .. }
            | Update::Uploaded { .. }
            | Update::Downloaded { .. } => write_line(&line)?,
            _ => eprintln!("{line}"),
        }
    }
    if let Some(hint) = show::hint(update) {
        eprintln!("{hint}");
    }
    Ok(())
}

fn write_line(line: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{line}")?;
    stdout.flush()
}

/// The passwords that a script has given beforehand.
struct Given<'a>(&'a Settings);

impl Secrets for Given<'_> {
    fn secret(&mut self, wanted: Wanted) -> Result<Secret, String> {
        let (given, place) = match wanted {
            Wanted::Own | Wanted::Login | Wanted::Chosen => {
                (&self.0.password, "with --password-file or in $SYNCNET_PASSWORD")
            }
            Wanted::Next => (&self.0.next_password, "in $SYNCNET_NEW_PASSWORD"),
            Wanted::Room | Wanted::RoomChosen => (&self.0.room_password, "in $SYNCNET_ROOM_PASSWORD"),
        };
        given.clone().ok_or_else(|| format!("give the password {place}"))
    }
}

impl Unanswered {
    fn is_empty(&self) -> bool {
        !self.login && self.messages.is_empty() && self.rooms.is_empty() && self.questions.is_empty()
    }

    fn note(&mut self, update: &Update, session: &mut Session) {
        match update {
            Update::Joined { room, .. } | Update::Left { room } => drop(self.rooms.remove(&room.key())),
            Update::RoomRefused { room, .. } => {
                self.rooms.remove(&room.key());
                self.refused += 1;
                session.forget(room);
            }
            // That of a file that was sent is nobody's line of input.
            Update::Queued { message, .. } => drop(self.messages.insert(message.client_msg_id.clone())),
            Update::LoggedIn { .. } => self.login = false,
            Update::LoginNeeded { wanted: true, .. } => {}
            // About a login that another one has followed.
            Update::LoginNeeded { logins, .. } if *logins < session.logins => {}
            Update::LoginNeeded { refusal, .. } => self.stopped = Some(refusal.reason.clone()),
            Update::Changed { tag, outcome } => {
                self.questions.remove(tag);
                self.refused += u64::from(!matches!(outcome, change::Outcome::Done(_)));
            }
            Update::Uploaded { tag, .. } | Update::Downloaded { tag, .. } => {
                self.questions.remove(tag);
            }
            Update::TransferFailed { tag, .. } => {
                self.questions.remove(tag);
                self.refused += 1;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_too_long_is_passed_over_whole() {
        let most = LINE_BYTES_MAX as usize - 1;
        let text = format!("{}\r\n{}/quit\nlast", "a".repeat(most - 1), "b".repeat(most + 1));
        let mut from = io::Cursor::new(text);
        let read: Vec<Input> = std::iter::from_fn(|| read_line(&mut from).unwrap()).collect();
        assert_eq!(read, [Input::Line("a".repeat(most - 1)), Input::TooLong, Input::Line("last".into())]);
        assert_eq!(read_line(&mut io::Cursor::new("x".repeat(most + 1))).unwrap(), Some(Input::TooLong));
    }
}
