//! Runs the screen: gathers events, lets the model decide, carries out its wishes, and paints the picture.
//!
//! # Threads
//! The main thread owns model, terminal and client. The *keys* thread reads the terminal; it pauses while an
//! editor has the terminal. The client library has threads of its own. Signals come by a channel.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::Builder,
    time::{Duration, SystemTime},
};

use crossbeam_channel::{Receiver, Sender, at, bounded, never, select};
use jiff::tz::TimeZone;
use ratatui::{
    crossterm::event::{self, Event},
    layout::Size,
};
use thiserror::Error;

use crate::{
    client::{
        terminal::{options::Settings, show, signals::Signals},
        update::Update,
    },
    protocol::text::counted,
};

use super::{
    acts::Input,
    model::{Model, Start, preferences::Preferences},
    news::Wish,
    preferences_file::PreferencesFile,
    session::ScreenSession,
    terminal::Screen,
};

/// Keys that are read ahead.
const KEYS: usize = 256;
/// Updates that are taken in before a picture is painted: many updates must not delay typing.
const BATCH: usize = 500;
/// How soon the keys thread notices that it is to pause.
const PAUSE: Duration = Duration::from_millis(40);
/// The least time between two pictures while nothing is typed.
const FRAME: Duration = Duration::from_millis(16);

/// Everything asked for was done.
const DONE: u8 = 0;
/// The client has stopped by itself.
const NOT_DONE: u8 = 1;

/// Runs until the person quits. Gives the exit status.
pub fn run(settings: &Settings, signals: &Signals) -> io::Result<u8> {
    let session = ScreenSession::start(settings)?;
    let preferences_file = PreferencesFile::new(&settings.outbox_folder, session.user());
    let preferences = preferences_file.read()?;
    let end = signals.told();
    let screen = Screen::take(preferences.mouse)?;
    let size = screen.size()?;
    let model = Model::new(now_ms(), start(settings, &session, size, preferences.clone()));
    let (keys, pause) = read_keys()?;
    let updates = session.updates();
    let mut shell =
        Shell { session, model, screen, preferences_file, keys, pause, end, updates, status: None };
    for news in shell.session.restored() {
        shell.model.handle(now_ms(), Input::News(news));
    }
    let status = shell.run();
    let Shell { screen, session, model, preferences_file, .. } = shell;
    drop(screen);
    let unanswered = session.unanswered();
    drop(session);
    let at_end = model.preferences_at_end();
    let kept = if at_end == preferences { Ok(()) } else { preferences_file.keep(&at_end) };
    let waiting = model.rooms.values().map(|room| room.waiting()).sum();
    // The terminal may be gone.
    let _ = say_last(&mut io::stdout(), waiting, at_end.drafts.len(), &unanswered, &kept);
    let is_done = unanswered.is_empty() && kept.is_ok();
    status.map(|status| if is_done { status } else { NOT_DONE })
}

/// Says what is not done when the program ends.
fn say_last(
    out: &mut dyn io::Write,
    waiting: usize,
    drafts: usize,
    unanswered: &[String],
    kept: &io::Result<()>,
) -> io::Result<()> {
    if waiting > 0 {
        let messages = counted(waiting as u64, "message");
        writeln!(out, "* {messages} not acknowledged yet; the next run sends what is left")?;
    }
    match kept {
        Ok(()) if drafts > 0 => writeln!(out, "* {} kept for the next run", counted(drafts as u64, "draft"))?,
        Ok(()) => {}
        Err(error) => writeln!(out, "! {error}: what you had not sent is lost")?,
    }
    for what in unanswered {
        writeln!(out, "! not answered, and not tried again: {}", show::harmless(what))?;
    }
    Ok(())
}

fn start(settings: &Settings, session: &ScreenSession, size: Size, preferences: Preferences) -> Start {
    Start {
        user: session.user().clone(),
        rooms: settings.rooms.clone(),
        size,
        zone: TimeZone::system(),
        colours: env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        preferences,
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Begins to read the terminal. Gives `None` once it is gone.
fn read_keys() -> io::Result<(Receiver<Option<Event>>, Pause)> {
    let (into, keys) = bounded(KEYS);
    let pause = Pause::default();
    let flags = pause.clone();
    Builder::new().name("screen-keys".into()).spawn(move || {
        while forward(&into, &flags) {}
        let _ = into.send(None);
    })?;
    Ok((keys, pause))
}

/// Reads what there is; `false` once there will be no more.
fn forward(into: &Sender<Option<Event>>, pause: &Pause) -> bool {
    if pause.wanted.load(Ordering::SeqCst) {
        pause.holds.store(true, Ordering::SeqCst);
        std::thread::sleep(PAUSE / 4);
        return true;
    }
    pause.holds.store(false, Ordering::SeqCst);
    match event::poll(PAUSE) {
        Ok(false) => true,
        Ok(true) => event::read().is_ok_and(|event| into.send(Some(event)).is_ok()),
        Err(_) => false,
    }
}

/// Keeps the keys thread from the terminal for a while.
#[derive(Debug, Clone, Default)]
struct Pause {
    wanted: Arc<AtomicBool>,
    holds: Arc<AtomicBool>,
}

impl Pause {
    fn begin(&self) {
        self.wanted.store(true, Ordering::SeqCst);
        while !self.holds.load(Ordering::SeqCst) {
            std::thread::sleep(PAUSE / 8);
        }
    }

    fn end(&self) {
        self.wanted.store(false, Ordering::SeqCst);
    }
}

struct Shell {
    session: ScreenSession,
    model: Model,
    screen: Screen,
    preferences_file: PreferencesFile,
    keys: Receiver<Option<Event>>,
    pause: Pause,
    end: Receiver<()>,
    updates: Receiver<Update>,
    /// The exit status, once the program is to end.
    status: Option<u8>,
}

impl Shell {
    fn run(&mut self) -> io::Result<u8> {
        loop {
            self.carry_out()?;
            if let Some(status) = self.status {
                return Ok(status);
            }
            self.screen.paint(&self.model)?;
            self.wait()?;
        }
    }

    /// Waits for the first event, and takes in all that is there then.
    fn wait(&mut self) -> io::Result<()> {
        let painted = std::time::Instant::now();
        let due = self.model.next_timeout_ms().map(|due_ms| due_ms.saturating_sub(now_ms()));
        let tick = due.map_or_else(never, |wait_ms| at(painted + Duration::from_millis(wait_ms)));
        let (keys, updates, end) = (self.keys.clone(), self.updates.clone(), self.end.clone());
        select! {
            recv(keys) -> event => self.take_event(event.ok().flatten()),
            recv(updates) -> update => match update {
                Ok(update) => {
                    self.take_update(update)?;
                    // Many updates are painted at the pace of a screen, unless a key comes.
                    let pace = at(painted + FRAME);
                    for _ in 0..BATCH {
                        select! {
                            recv(keys) -> event => {
                                self.take_event(event.ok().flatten());
                                break;
                            }
                            recv(updates) -> update => match update {
                                Ok(update) => self.take_update(update)?,
                                Err(_) => break,
                            },
                            recv(pace) -> _ => break,
                        }
                    }
                }
                // The client has ended; it has said why.
                Err(_) => self.updates = never(),
            },
            recv(end) -> _ => self.status = Some(DONE),
            recv(tick) -> _ => self.model.handle(now_ms(), Input::Tick),
        }
        // Keys that are there already are one picture.
        for event in keys.try_iter().take(KEYS).collect::<Vec<_>>() {
            self.take_event(event);
            self.carry_out()?;
        }
        Ok(())
    }

    fn take_update(&mut self, update: Update) -> io::Result<()> {
        for news in self.session.news(update)? {
            self.model.handle(now_ms(), Input::News(news));
        }
        Ok(())
    }

    fn take_event(&mut self, event: Option<Event>) {
        let input = match event {
            Some(Event::Key(key)) => Input::Key(key),
            Some(Event::Paste(text)) => Input::Paste(text),
            Some(Event::Mouse(mouse)) => Input::Mouse(mouse),
            Some(Event::Resize(width, height)) => Input::Resize(Size::new(width, height)),
            Some(Event::FocusGained) => Input::Focus(true),
            Some(Event::FocusLost) => Input::Focus(false),
            // The terminal is gone.
            None => {
                self.status = Some(DONE);
                return;
            }
        };
        self.model.handle(now_ms(), input);
    }

    fn carry_out(&mut self) -> io::Result<()> {
        while let Some(wish) = self.model.poll_wish() {
            match self.session.carry_out(wish)? {
                Ok(news) => {
                    for news in news {
                        self.model.handle(now_ms(), Input::News(news));
                    }
                    // A login as another user is another client.
                    self.updates = self.session.updates();
                }
                Err(wish) => self.do_here(wish)?,
            }
        }
        Ok(())
    }

    /// Carries out what concerns the terminal.
    fn do_here(&mut self, wish: Wish) -> io::Result<()> {
        match wish {
            Wish::Keep(preferences) => {
                self.screen.set_mouse(preferences.mouse)?;
                if let Err(error) = self.preferences_file.keep(&preferences) {
                    self.model.handle(now_ms(), Input::Failed(error.to_string()));
                }
            }
            Wish::Editor(text) => {
                self.pause.begin();
                let written = self.screen.lend(|| edit(&text))?;
                self.pause.end();
                self.resized()?;
                self.model.handle(
                    now_ms(),
                    match written {
                        Ok(text) => Input::Written(text),
                        Err(error) => Input::Failed(error.to_string()),
                    },
                );
            }
            Wish::Suspend => {
                self.pause.begin();
                self.screen.lend(stop)?;
                self.pause.end();
                self.resized()?;
            }
            Wish::Repaint => self.screen.forget()?,
            Wish::Bell => self.screen.ring()?,
            Wish::Notify { title, text } => self.screen.notify(&title, &text)?,
            Wish::Quit => {
                let stopped = self.model.link == super::model::Link::Stopped;
                self.status = Some(if stopped { NOT_DONE } else { DONE });
            }
            // The session carries them out.
            _ => {}
        }
        Ok(())
    }

    /// The terminal may have another size than before.
    fn resized(&mut self) -> io::Result<()> {
        let size = self.screen.size()?;
        self.model.handle(now_ms(), Input::Resize(size));
        Ok(())
    }
}

/// Stops the program as a job of the shell, until it is continued.
fn stop() {
    #[cfg(unix)]
    {
        // If the shell has no job control, nothing happens.
        let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGTSTP);
    }
}

/// Why the user's editor gave no text.
#[derive(Debug, Error)]
enum EditError {
    #[error("cannot make a folder for the editor: {0}")]
    Folder(#[source] io::Error),
    #[error("cannot use {}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("{program} ended with {status}; nothing was changed")]
    Ended { program: String, status: ExitStatus },
    #[error("cannot start {0}; set $EDITOR to another one")]
    NoProgram(String),
    #[error("cannot start {program}: {source}; set $EDITOR to another one")]
    Start { program: String, source: io::Error },
}

/// Lets the user write in an editor.
fn edit(text: &str) -> Result<String, EditError> {
    let folder = private_folder().map_err(EditError::Folder)?;
    let written = edit_at(&folder.join("message.txt"), text);
    // What was written is private.
    let _ = fs::remove_dir_all(&folder);
    written
}

fn edit_at(path: &Path, text: &str) -> Result<String, EditError> {
    let unusable = |source: io::Error| EditError::File { path: path.to_owned(), source };
    // A text file ends with a line end; editors and what appends to the file count on it.
    fs::write(path, format!("{text}\n")).map_err(unusable)?;
    let command =
        ["VISUAL", "EDITOR"].iter().find_map(|name| env::var(name).ok().filter(|value| !value.is_empty()));
    let command = command.unwrap_or_else(|| if cfg!(windows) { "notepad" } else { "vi" }.into());
    match editor(&command, path).status() {
        Ok(status) if status.success() => fs::read_to_string(path).map_err(unusable),
        // So a shell says that it cannot start a program.
        Ok(status) if matches!(status.code(), Some(126 | 127)) => Err(EditError::NoProgram(command)),
        Ok(status) => Err(EditError::Ended { program: command, status }),
        Err(source) => Err(EditError::Start { program: command, source }),
    }
}

/// The user's editor with a file, started as git does: the variable holds a piece of a shell command.
fn editor(command: &str, path: &Path) -> Command {
    let mut editor;
    if cfg!(windows) {
        let mut words = command.split_whitespace();
        editor = Command::new(words.next().unwrap_or("notepad"));
        editor.args(words);
    } else {
        editor = Command::new("sh");
        editor.args(["-c", &format!("{command} \"$@\""), command]);
    }
    editor.arg(path);
    editor
}

/// A folder that only the user can read.
fn private_folder() -> io::Result<PathBuf> {
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(|error| io::Error::other(error.to_string()))?;
    let folder = env::temp_dir().join(format!("syncnet-{:016x}", u64::from_le_bytes(random)));
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(&folder)?;
    Ok(folder)
}
