//! The command lines of `syncnet-admin export` and `import`.

use std::{
    fs::File,
    io::{self, BufReader, BufWriter},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;

use crate::{
    admin::{
        error::{BadName, UsageError},
        operator::{Operator, OperatorArgs},
        output::{counted, say},
        session::Session,
    },
    output_file::{Existing, OutputFile},
    protocol::RoomName,
};

use super::{
    error::TransferError,
    export::{Written, all_rooms},
    import::Taken,
};

/// What was typed after `export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// This room; may be given several times.
    #[arg(long = "room", value_name = "ROOM", value_parser = room, required_unless_present = "all")]
    rooms: Vec<RoomName>,
    /// All rooms, private ones and direct conversations included.
    #[arg(long, conflicts_with = "rooms")]
    all: bool,
    /// Write to this file, which appears once it is whole; - and nothing mean standard output
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    operator: OperatorArgs,
}

/// What was typed after `import`.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// Read this file; - and nothing mean standard input
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    #[command(flatten)]
    operator: OperatorArgs,
}

fn room(text: &str) -> Result<RoomName, BadName> {
    RoomName::try_from(text.to_owned()).map_err(BadName::of)
}

/// Writes rooms. The exit status is 1 if that did not work.
///
/// # Errors
/// The command line or the configuration is wrong.
pub fn export(args: ExportArgs) -> Result<ExitCode, UsageError> {
    let ExportArgs { rooms, all, output, operator } = args;
    let operator = operator.load()?;
    // A hyphen stands for standard output.
    let output = output.filter(|path| path.as_os_str() != "-");
    let exported = open(&operator).and_then(|mut session| {
        let rooms = if all { all_rooms(&mut session)? } else { rooms };
        match &output {
            Some(path) => to_file(&mut session, &rooms, path),
            None => super::export::export(&mut session, &rooms, &mut BufWriter::new(io::stdout().lock())),
        }
    });
    Ok(say(exported.map(|Written { rooms, events }| {
        format!("written: {} with {}", counted(rooms, "room"), counted(events, "event"))
    })))
}

/// Takes rooms over. The exit status is 1 if that did not work.
///
/// # Errors
/// The command line or the configuration is wrong, or the file cannot be read.
pub fn import(args: ImportArgs) -> Result<ExitCode, UsageError> {
    let ImportArgs { input, operator } = args;
    let operator = operator.load()?;
    let input = input.filter(|path| path.as_os_str() != "-");
    let open_file =
        |path: PathBuf| File::open(&path).map_err(|source| UsageError::Unreadable { path, source });
    let file = input.map(open_file).transpose()?;
    let imported = open(&operator).and_then(|mut session| match file {
        Some(file) => super::import::import(&mut session, BufReader::new(file)),
        None => super::import::import(&mut session, io::stdin().lock()),
    });
    Ok(say(imported.map(|Taken { rooms, events, present }| {
        let present = match present {
            0 => String::new(),
            present => format!("; there already: {}", counted(present, "event")),
        };
        format!("taken over: {} with {}{present}", counted(rooms, "room"), counted(events, "event"))
    })))
}

fn open(Operator { targets, key, timeout }: &Operator) -> Result<Session, TransferError> {
    Ok(Session::open(targets, key, *timeout)?)
}

/// Writes a file for its owner only: private rooms are in it.
fn to_file(session: &mut Session, rooms: &[RoomName], path: &Path) -> Result<Written, TransferError> {
    let failed = |source| TransferError::Output { path: path.to_owned(), source };
    let mut out = BufWriter::new(OutputFile::create(path, Existing::Replace, true).map_err(failed)?);
    let written = super::export::export(session, rooms, &mut out)?;
    let file = out.into_inner().map_err(|error| failed(error.into_error()))?;
    file.finish().map_err(failed)?;
    Ok(written)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Export {
        #[command(flatten)]
        args: ExportArgs,
    }

    #[test]
    fn either_rooms_are_named_or_all_are_meant() {
        let parse = |words: &[&str]| Export::try_parse_from([&["export"], words].concat());
        parse(&["--room", "lobby", "--room", "@a,b", "--output", "x"]).unwrap();
        parse(&["--all", "--output", "-"]).unwrap();
        parse(&["--all", "--secret-file", "x", "--timeout-ms", "5"]).unwrap();
        for words in [&[][..], &["--all", "--room", "lobby"], &["--room", "a b"], &["lobby"]] {
            parse(words).unwrap_err();
        }
    }
}
