//! The terminal client: a person at a terminal, or a script at a pipe, in front of a [`Client`](super::Client).
//!
//! `options` turns what was typed on the command line into checked settings, `typed` reads a line of
//! input, `session` carries it out, `show` and `json` turn an [`Update`](super::update::Update) into
//! text, `commands` lists the commands, `paths` and `date` read some of their words, and `notes` keeps what was seen. `person` and `pipe` are the two ways
//! to run all that.

mod commands;
mod date;
mod json;
mod notes;
mod options;
mod paths;
mod person;
mod pipe;
mod session;
mod show;
mod typed;

use std::{io::IsTerminal, process::ExitCode};

use clap::Parser;

use self::{options::Options, session::Session};

/// Everything asked for was done.
const DONE: u8 = 0;
/// Something was refused, or is not acknowledged yet.
const NOT_DONE: u8 = 1;
/// The command line asks for something impossible.
const BAD_ARGUMENTS: u8 = 2;

/// The program `syncnet-client`.
pub fn main() -> ExitCode {
    // Prints what is wrong and exits with 2 by itself.
    let options = Options::parse();
    let is_terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let person = is_terminal && !options.json;
    let settings = match options.check(person) {
        Ok(settings) => settings,
        Err(reason) => {
            eprintln!("syncnet-client: {reason}");
            return ExitCode::from(BAD_ARGUMENTS);
        }
    };
    let status = match person {
        true => person::run(&settings),
        false => Session::start(&settings).and_then(|session| pipe::run(session, &settings)),
    };
    ExitCode::from(status.unwrap_or_else(|error| {
        eprintln!("syncnet-client: {error}");
        NOT_DONE
    }))
}
