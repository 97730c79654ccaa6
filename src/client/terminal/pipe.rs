//! The line mode for a script: lines in, one event a line out, and an exit status that tells whether all is
//! done.
//!
//! However it ends (the end of the input, a signal, an output without a reader, a disk that is full), what
//! was taken of the input is acknowledged, kept on the disk, or named as neither.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, BufRead, Read, Write},
    thread::Builder,
    time::Instant,
};

use crossbeam_channel::{Receiver, bounded, never, select};

use crate::{
    client::{
        ask::{self, Reply},
        login::Secret,
        update::Update,
    },
    protocol::{RoomKey, text::counted},
};

use super::{
    answer, commands,
    exit_status::{DONE, NOT_DONE},
    json,
    notes::Notes,
    options::Settings,
    secrets::{NoSecret, PasswordKind, Secrets},
    session::{Outcome, Session},
    show,
    signals::{ENDED, Signals},
};

/// The longest line of input, with its line end; a longer one is skipped, and counts as a failure.
const LINE_BYTES_MAX: u64 = 1024 * 1024;
/// Lines of input that are read ahead; more are left in the pipe.
const LINES: usize = 64;
/// Unacknowledged messages at which no further input is read: far below what the outbox holds.
const PENDING_MAX: usize = 1_000;

/// An input of the script.
#[derive(Debug, PartialEq)]
enum Input {
    /// A line, without its end.
    Line(String),
    /// A line that was too long; nothing of it is carried out.
    TooLong,
}

/// The requests that are not answered yet.
#[derive(Default)]
struct Unanswered {
    /// Messages, each with whether it is on the disk.
    messages: BTreeMap<String, bool>,
    rooms: BTreeSet<RoomKey>,
    asked: BTreeSet<u64>,
    /// A login is on its way.
    login: bool,
    /// Things that were refused.
    refused: u64,
    /// Why nothing more will be answered.
    stopped: Option<String>,
}

struct Script<'a> {
    session: Session,
    settings: &'a Settings,
    unanswered: Unanswered,
    /// Lines of the input that were carried out, or complained about.
    lines_taken: u64,
    /// A line that waits for answers, and keeps those behind it waiting.
    held: Option<(String, Instant)>,
    /// The whole input was taken.
    is_over: bool,
}

/// Runs until the input has ended and everything is answered, the wait is over, or a signal ends it. Gives
/// the exit status.
pub fn run(session: Session, settings: &Settings, signals: &Signals) -> io::Result<u8> {
    let end = signals.told();
    let mut unanswered = Unanswered::default();
    let restored = session.client.restored().iter();
    unanswered.messages.extend(restored.map(|message| (message.client_msg_id.clone(), true)));
    unanswered.rooms.extend(settings.rooms.iter().map(|room| room.key()));
    let mut script = Script { session, settings, unanswered, lines_taken: 0, held: None, is_over: false };
    if let Err(error) = script.go_on(read_lines()?, &end) {
        script.unanswered.stopped.get_or_insert_with(|| error.to_string());
    }
    Ok(script.end())
}

impl Script<'_> {
    fn go_on(&mut self, mut input: Receiver<io::Result<Input>>, end: &Receiver<()>) -> io::Result<()> {
        let mut ended_at: Option<Instant> = None;
        while ended_at.is_none() || !self.unanswered.is_empty() {
            if let Some((line, _)) = self.held.take_if(|(line, _)| !self.unanswered.keeps_waiting(line)) {
                self.say(&line)?;
            }
            let busy = self.held.is_some() || self.unanswered.messages.len() >= PENDING_MAX;
            let lines = if busy { never() } else { input.clone() };
            // After a login under another name it is another client's.
            let updates = self.session.client.updates().clone();
            let waits_since = ended_at.or(self.held.as_ref().map(|(_, at)| *at));
            let deadline =
                waits_since.map_or_else(never, |at| crossbeam_channel::at(at + self.settings.wait));
            select! {
                recv(lines) -> line => {
                    let goes_on = match line {
                        Ok(line) => self.take(line?)?,
                        Err(_) => {
                            self.is_over = true;
                            false
                        }
                    };
                    if !goes_on {
                        ended_at = Some(Instant::now());
                        input = never();
                    }
                }
                recv(updates) -> update => {
                    let Ok(update) = update else { return Ok(()) };
                    self.session.notes.note(&update);
                    for room in self.session.notes.take_gone() {
                        self.session.forget(&room);
                    }
                    self.session.rename();
                    self.unanswered.note(&update, self.session.logins);
                    print(&update, self.settings, &self.session.notes)?;
                }
                recv(deadline) -> _ => return Ok(()),
                recv(end) -> _ => self.unanswered.stopped = Some(ENDED.into()),
            }
            if self.unanswered.stopped.is_some() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Takes a line of input; `false` ends the input.
    fn take(&mut self, line: Input) -> io::Result<bool> {
        match line {
            Input::Line(line) if self.unanswered.keeps_waiting(&line) => {
                self.held = Some((line, Instant::now()));
                Ok(true)
            }
            Input::Line(line) => self.say(&line),
            Input::TooLong => {
                self.lines_taken += 1;
                self.complain(&format!("a line has more than {LINE_BYTES_MAX} bytes; it is not sent"))?;
                Ok(true)
            }
        }
    }

    /// Carries out a line of input; `false` ends the input.
    fn say(&mut self, line: &str) -> io::Result<bool> {
        let outcome = self.session.take(line, &mut Given(self.settings))?;
        self.lines_taken += 1;
        let unanswered = &mut self.unanswered;
        match outcome {
            Ok(Outcome::Nothing) => {}
            Ok(Outcome::Sent(client_msg_id)) => drop(unanswered.messages.insert(client_msg_id, false)),
            Ok(Outcome::Moving(room)) => drop(unanswered.rooms.insert(room.key())),
            Ok(Outcome::Asked(tag)) => drop(unanswered.asked.insert(tag)),
            Ok(Outcome::LoggingIn | Outcome::Restarted) => unanswered.login = true,
            Ok(Outcome::Text(text)) => remark(&text),
            Ok(Outcome::Quit) => {
                self.is_over = true;
                return Ok(false);
            }
            Err(mistake) => self.complain(&mistake.to_string())?,
        }
        Ok(true)
    }

    /// A line of input was wrong.
    fn complain(&mut self, reason: &str) -> io::Result<()> {
        self.unanswered.refused += 1;
        if self.settings.json {
            return write_line(&json::error_line(reason));
        }
        remark(&format!("! {}", show::harmless(reason)));
        Ok(())
    }

    /// Ends the client, which keeps what it was given before, and says in one sentence what is not done.
    fn end(mut self) -> u8 {
        let Session { client, notes, logins, .. } = self.session;
        let mut can_print = true;
        client.end(|update| {
            self.unanswered.note(&update, logins);
            can_print = can_print && print(&update, self.settings, &notes).is_ok();
        });
        let mut reasons = self.unanswered.reasons(self.settings);
        if !self.is_over {
            let line = self.lines_taken;
            reasons.push(format!("the input was carried out only up to its line {line}"));
        }
        if reasons.is_empty() {
            return DONE;
        }
        remark(&format!("syncnet-client: {}", show::harmless(&reasons.join("; "))));
        NOT_DONE
    }
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

/// Events go to standard output; what the client says of itself goes to standard error, unless it is JSON.
fn print(update: &Update, settings: &Settings, notes: &Notes) -> io::Result<()> {
    let command = match update {
        Update::Answered { tag, .. }
        | Update::Uploaded { tag, .. }
        | Update::Downloaded { tag, .. }
        | Update::TransferFailed { tag, .. } => notes.answered(*tag),
        _ => String::new(),
    };
    if settings.json {
        return write_line(&json::line(update, &command));
    }
    // Presence is no news for a script.
    if matches!(update, Update::Presence { .. }) {
        return Ok(());
    }
    // A script reads every line alike: all name their room.
    for line in show::lines(update, None, &command) {
        match update {
            Update::Event { .. } | Update::Uploaded { .. } | Update::Downloaded { .. } => write_line(&line)?,
            Update::Answered { reply, .. } if is_done(reply) => write_line(&line)?,
            _ => remark(&line),
        }
    }
    if let Some(hint) = answer::hint(update) {
        remark(hint);
    }
    Ok(())
}

fn is_done(reply: &Reply) -> bool {
    matches!(reply.outcome, ask::Outcome::Done(_))
}

/// Prints on standard error, which may have no reader any more.
fn remark(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

fn write_line(line: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{line}")?;
    stdout.flush()
}

/// The passwords that a script has given beforehand.
struct Given<'a>(&'a Settings);

impl Secrets for Given<'_> {
    fn secret(&mut self, wanted: PasswordKind) -> Result<Secret, NoSecret> {
        let (given, place) = match wanted {
            PasswordKind::Own | PasswordKind::Login | PasswordKind::Chosen => {
                (&self.0.password, "with --password-file or in $SYNCNET_PASSWORD")
            }
            PasswordKind::Next => (&self.0.next_password, "in $SYNCNET_NEW_PASSWORD"),
            PasswordKind::Room | PasswordKind::RoomChosen => {
                (&self.0.room_password, "in $SYNCNET_ROOM_PASSWORD")
            }
        };
        given.clone().ok_or(NoSecret::NotGiven(place))
    }
}

impl Unanswered {
    fn is_empty(&self) -> bool {
        !self.login && self.messages.is_empty() && self.rooms.is_empty() && self.asked.is_empty()
    }

    /// Whether `line` must wait for an answer that has not come yet.
    fn keeps_waiting(&self, line: &str) -> bool {
        match commands::split(line) {
            // It goes on from an answer.
            Some(("more", _)) => !self.asked.is_empty(),
            // Another user's client takes the place of this one, which then does nothing any more.
            Some(("login" | "register", name)) if !name.is_empty() => !self.is_empty(),
            _ => false,
        }
    }

    fn note(&mut self, update: &Update, logins_of_session: u64) {
        match update {
            Update::Joined { room, .. } | Update::Left { room } => drop(self.rooms.remove(&room.key())),
            Update::Renamed(renamed) if self.rooms.remove(&renamed.from.key()) => {
                self.rooms.insert(renamed.to.key());
            }
            Update::RoomRefused { room, .. } => {
                self.rooms.remove(&room.key());
                self.refused += 1;
            }
            // The message of a file that was sent is no line of input.
            Update::Queued { message, .. } => {
                self.messages.insert(message.client_msg_id.clone(), true);
            }
            Update::LoggedIn { .. } => self.login = false,
            Update::LoginNeeded { wanted: true, .. } => {}
            // About a login that another one has followed.
            Update::LoginNeeded { logins, .. } if *logins < logins_of_session => {}
            Update::LoginNeeded { refusal, .. } => self.stopped = Some(refusal.reason.clone()),
            Update::Uploaded { tag, .. } | Update::Downloaded { tag, .. } => {
                self.asked.remove(tag);
            }
            Update::TransferFailed { tag, .. } => {
                self.asked.remove(tag);
                self.refused += 1;
            }
            Update::Acked { message, .. } => drop(self.messages.remove(&message.client_msg_id)),
            Update::Refused { message, .. } => {
                self.messages.remove(&message.client_msg_id);
                self.refused += 1;
            }
            Update::Answered { tag, reply } => {
                self.asked.remove(tag);
                self.refused += u64::from(!is_done(reply));
            }
            Update::Stopped { reason } => self.stopped = Some(reason.clone()),
            _ => {}
        }
    }

    /// The reasons why not all is done.
    fn reasons(&self, settings: &Settings) -> Vec<String> {
        let mut reasons: Vec<String> = self.stopped.iter().cloned().collect();
        if self.refused > 0 {
            reasons.push(format!("{} refused", counted(self.refused, "request")));
        }
        let kept = self.messages.values().filter(|is_kept| **is_kept).count() as u64;
        if kept > 0 {
            let folder = settings.outbox_folder.display();
            let messages = counted(kept, "message");
            reasons.push(format!("{messages} not acknowledged yet, kept in {folder} for the next run"));
        }
        let lost = self.messages.len() as u64 - kept;
        if lost > 0 {
            reasons.push(format!("{} neither sent nor kept", counted(lost, "message")));
        }
        let unanswered = (self.rooms.len() + self.asked.len()) as u64;
        if unanswered > 0 {
            reasons.push(counted(unanswered, "request") + " unanswered");
        }
        if self.login {
            reasons.push("the login is not answered".into());
        }
        reasons
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
