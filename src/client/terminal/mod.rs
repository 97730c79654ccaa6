//! The terminal client: a person at a terminal, or a script at a pipe, in front of a
//! [`Client`](super::Client).
//!
//! `options` turns the command line into checked settings. `commands` is the table of commands: with it
//! `input` reads a line, word by word with `line`, `paths` and `date`, and finds what was `typed` or the
//! `mistake` in it; `complete` serves the Tab key. `session` carries it out. `answer`, `show`, `events` and
//! `json` turn an [`Update`](super::update::Update) into text, `notes` keeps what was seen, and `signals`
//! ends the program in order. `person` and `pipe` are two ways to run all that; the third one, a whole
//! screen, is [`super::screen`].

pub(super) mod answer;
mod browser;
pub(super) mod commands;
pub(super) mod complete;
mod date;
pub(super) mod events;
mod exit_status;
pub(super) mod input;
mod json;
mod line;
pub(super) mod mistake;
mod notes;
pub(super) mod options;
pub(super) mod paths;
mod person;
mod pipe;
pub(super) mod secrets;
pub(super) mod session;
pub(super) mod show;
pub(super) mod signals;
pub(super) mod typed;
mod usage;

use std::{
    env,
    error::Error,
    io::{self, IsTerminal, Write},
    process::ExitCode,
};

use clap::{CommandFactory, Parser};

use self::{
    exit_status::{BAD_ARGUMENTS, NOT_DONE},
    options::Options,
    session::Session,
    signals::Signals,
};
use super::screen;

/// The command line's options.
pub fn command_line() -> clap::Command {
    Options::command()
}

/// The program `syncnet-client`.
pub fn main() -> ExitCode {
    // Prints what is wrong and exits with 2 by itself.
    let options = Options::parse();
    let is_terminal = io::stdin().is_terminal() && io::stdout().is_terminal();
    let person = is_terminal && !options.json;
    let whole_screen = person && !options.plain && has_screen();
    if options.gui {
        return match browser::open(&options.servers(), options.is_encrypted()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => ended(&error, NOT_DONE),
        };
    }
    let settings = match options.check(person) {
        Ok(settings) => settings,
        Err(error) => return ended(&error, BAD_ARGUMENTS),
    };
    let signals = Signals::watch();
    let status = if whole_screen {
        person::with_password(&settings).and_then(|settings| screen::run(&settings, &signals))
    } else if person {
        person::run(&settings, &signals)
    } else {
        Session::start(&settings).and_then(|session| pipe::run(session, &settings, &signals))
    };
    status.map_or_else(|error| ended(&error, NOT_DONE), ExitCode::from)
}

/// Says why the program ends. Standard error may have no reader any more.
fn ended(error: &dyn Error, status: u8) -> ExitCode {
    // In one write: a signal may end the process in between.
    let _ = io::stderr().write_all(format!("syncnet-client: {error}\n").as_bytes());
    ExitCode::from(status)
}

/// Whether the terminal can do more than print one line after the other.
fn has_screen() -> bool {
    cfg!(windows) || env::var_os("TERM").is_some_and(|term| !term.is_empty() && term != "dumb")
}
