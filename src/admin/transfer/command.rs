//! The command lines of `syncnet-admin export` and `import`.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufReader, BufWriter, ErrorKind},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;

use crate::{
    admin::{
        operator::{Operator, OperatorArgs},
        output::{clean, grouped},
        session::Session,
    },
    protocol::RoomName,
};

use super::{
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
    /// Write to this file, which appears once it is whole [default: standard output]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    operator: OperatorArgs,
}

/// What was typed after `import`.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// Read this file [default: standard input]
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    #[command(flatten)]
    operator: OperatorArgs,
}

fn room(text: &str) -> Result<RoomName, String> {
    RoomName::try_from(text.to_owned())
}

/// Writes rooms. The exit status is 1 where that did not work; an error is a usage error.
///
/// # Errors
/// One sentence about the command line.
pub fn export(args: ExportArgs) -> Result<ExitCode, String> {
    let ExportArgs { rooms, all, output, operator } = args;
    let operator = operator.load()?;
    let exported = open(&operator).and_then(|mut session| {
        let rooms = if all { all_rooms(&mut session)? } else { rooms };
        match &output {
            Some(path) => to_file(&mut session, &rooms, path),
            None => super::export::export(&mut session, &rooms, &mut BufWriter::new(io::stdout().lock())),
        }
    });
    Ok(say(exported.map(|Written { rooms, events }| {
        format!("{} rooms with {} events were written", grouped(rooms), grouped(events))
    })))
}

/// Takes rooms over. The exit status is 1 where that did not work; an error is a usage error.
///
/// # Errors
/// One sentence about the command line.
pub fn import(args: ImportArgs) -> Result<ExitCode, String> {
    let ImportArgs { input, operator } = args;
    let operator = operator.load()?;
    let file = input
        .as_deref()
        .map(|path| File::open(path).map_err(|error| format!("{} cannot be read: {error}", path.display())))
        .transpose()?;
    let imported = open(&operator).and_then(|mut session| match file {
        Some(file) => super::import::import(&mut session, BufReader::new(file)),
        None => super::import::import(&mut session, io::stdin().lock()),
    });
    Ok(say(imported.map(|Taken { rooms, events, present }| {
        let present = match present {
            0 => String::new(),
            present => format!("; {} were there already", grouped(present)),
        };
        format!("{} rooms with {} events were taken over{present}", grouped(rooms), grouped(events))
    })))
}

fn open(Operator { targets, key, timeout }: &Operator) -> Result<Session, String> {
    Session::open(targets, key, *timeout)
}

/// Says how it ended. Standard output may be the export itself.
fn say(outcome: Result<String, String>) -> ExitCode {
    match outcome {
        Ok(text) => {
            eprintln!("syncnet-admin: {text}");
            ExitCode::SUCCESS
        }
        Err(reason) => {
            eprintln!("syncnet-admin: {}", clean(&reason));
            ExitCode::FAILURE
        }
    }
}

/// Writes a file beside `path` and moves it there once it is whole and on the disk.
fn to_file(session: &mut Session, rooms: &[RoomName], path: &Path) -> Result<Written, String> {
    let mut name = path.file_name().map(ToOwned::to_owned).unwrap_or_default();
    name.push(".part");
    let part = path.with_file_name(name);
    let failed = |error: io::Error| format!("{} cannot be written: {error}", part.display());
    let mut out = BufWriter::new(create(&part).map_err(failed)?);
    let exported = super::export::export(session, rooms, &mut out).and_then(|written| {
        let file = out.into_inner().map_err(|error| failed(error.into_error()))?;
        file.sync_all().and_then(|()| fs::rename(&part, path)).map_err(failed)?;
        Ok(written)
    });
    if exported.is_err() {
        // Nobody is to take it for an export. Where it stays it is at least named for what it is.
        let _ = fs::remove_file(&part);
    }
    exported
}

/// A new file that nobody else can read: private rooms are in it. What is there already may have another mode, or
/// lead elsewhere.
fn create(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
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

    #[cfg(unix)]
    #[test]
    fn what_is_in_the_way_is_neither_followed_nor_as_open_as_it_was() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let folder = tempfile::tempdir().unwrap();
        let (part, other) = (folder.path().join("a.part"), folder.path().join("other"));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        create(&part).unwrap();
        fs::set_permissions(&part, fs::Permissions::from_mode(0o666)).unwrap();
        create(&part).unwrap();
        assert_eq!(mode(&part), 0o600);
        fs::write(&other, "precious").unwrap();
        fs::remove_file(&part).unwrap();
        symlink(&other, &part).unwrap();
        create(&part).unwrap();
        assert_eq!(fs::read_to_string(&other).unwrap(), "precious");
        assert!(fs::symlink_metadata(&part).unwrap().is_file());
    }

    #[test]
    fn either_rooms_are_named_or_all_are_meant() {
        let parse = |words: &[&str]| Export::try_parse_from([&["export"], words].concat());
        parse(&["--room", "lobby", "--room", "@a,b", "--output", "x"]).unwrap();
        parse(&["--all", "--secret-file", "x", "--timeout-ms", "5"]).unwrap();
        for words in [&[][..], &["--all", "--room", "lobby"], &["--room", "a b"], &["lobby"]] {
            parse(words).unwrap_err();
        }
    }
}
