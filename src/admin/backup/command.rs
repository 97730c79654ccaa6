//! The command lines of `syncnet-admin backup` and `restore`.

use std::{
    fs::{self, File},
    io::{self, BufReader, BufWriter},
    path::{Path, PathBuf},
    process::ExitCode,
    thread,
    time::Duration,
};

use clap::Args;
use jiff::Timestamp;
use thiserror::Error;

use super::{
    fetch::{BackupError, Fetched, fetch},
    progress::Progress,
    schedule::{Every, file_at, prune},
};
use crate::{
    admin::{
        error::{BadName, UsageError},
        operator::{Operator, OperatorArgs},
        output::{clean, counted, grouped, say},
        session::Session,
    },
    backup::{self, ReadError, RescueError, RestoreError, Restored},
    output_file::{Existing, OutputFile},
    protocol::ServerId,
};

/// Longest pause after a backup that could not be made.
const AGAIN_AFTER: Duration = Duration::from_secs(60);

/// What was typed after `backup`.
#[derive(Debug, Args)]
pub struct BackupArgs {
    /// Write a backup to this file, which appears once it is whole and checked.
    #[arg(long, value_name = "FILE", required_unless_present_any = ["folder", "verify"])]
    output: Option<PathBuf>,
    /// Write a backup into this folder, to a file that is called by its time.
    #[arg(long, value_name = "FOLDER", conflicts_with = "output")]
    folder: Option<PathBuf>,
    /// Of the backups in the folder keep the newest so many.
    #[arg(long, value_name = "N", requires = "folder", conflicts_with_all = ["output", "verify"],
        value_parser = clap::value_parser!(u32).range(1..))]
    keep: Option<u32>,
    /// Go on, and make one so often: 30m, 6h, 1d.
    #[arg(long, value_name = "TIME", requires = "folder", conflicts_with_all = ["output", "verify"])]
    every: Option<Every>,
    /// Make no backup, but check this one: restore it beside itself, check everything in it, and remove it
    /// again.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["output", "folder"])]
    verify: Option<PathBuf>,
    /// Ask no server, but save what this folder has, the --data-dir of a server that does not run: for a
    /// cluster that has lost most of its disks for good.
    #[arg(long, value_name = "FOLDER", requires_all = ["output", "server_id"],
        conflicts_with_all = ["folder", "verify"])]
    data_dir: Option<PathBuf>,
    /// The server of that folder.
    #[arg(long, value_name = "ID", requires = "data_dir", value_parser = server_id)]
    server_id: Option<ServerId>,
    #[command(flatten)]
    operator: OperatorArgs,
}

/// What was typed after `restore`.
#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// The backup.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// What the server is told as its --data-dir; it has no data of this server yet.
    #[arg(long, value_name = "FOLDER")]
    data_dir: PathBuf,
    /// The server whose folder it will be.
    #[arg(long, value_name = "ID", value_parser = server_id)]
    server_id: ServerId,
}

fn server_id(text: &str) -> Result<ServerId, BadName> {
    ServerId::new(text).ok_or_else(|| BadName::of("must be 1 to 32 of A-Z a-z 0-9 _ . -"))
}

/// Nothing was made of a backup, and what to do.
#[derive(Debug, Error)]
#[error("{}", self.in_words())]
struct NotMade {
    path: PathBuf,
    source: RestoreError,
}

/// The kinds of read errors that mean a cut off or changed file, not a failing disk.
const DAMAGED: [io::ErrorKind; 2] = [io::ErrorKind::UnexpectedEof, io::ErrorKind::InvalidData];

impl NotMade {
    fn in_words(&self) -> String {
        let NotMade { path, source } = self;
        let advice = match source {
            // It is about the folder, which is named.
            RestoreError::Folder(_) | RestoreError::Storage(_) | RestoreError::Chance(_) => {
                return source.to_string();
            }
            RestoreError::Read(ReadError::Io(error)) if !DAMAGED.contains(&error.kind()) => "",
            RestoreError::Read(ReadError::NoBackup) => "; name a file that syncnet-admin backup has written",
            RestoreError::Read(ReadError::Version(_)) => {
                "; use the version of the program that has written it"
            }
            RestoreError::Read(_) | RestoreError::State(_) | RestoreError::File(_) => {
                "; this backup is damaged: take another one, or copy it again from where it came from"
            }
        };
        format!("{}: {source}{advice}", path.display())
    }
}

/// Makes a backup, or checks one. The exit status is 1 if that did not work.
///
/// # Errors
/// The command line or the configuration is wrong, or a file cannot be read.
pub fn backup(args: BackupArgs) -> Result<ExitCode, UsageError> {
    let BackupArgs { output, folder, keep, every, verify, data_dir, server_id, operator } = args;
    if let (Some(output), Some(data_dir), Some(server_id)) = (&output, data_dir, server_id) {
        return Ok(say(save(output, &data_dir.join(server_id.as_str()), &server_id)));
    }
    if let Some(path) = verify {
        let source = open(&path, "checking")?;
        let beside = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let checked = backup::verify(source, beside.unwrap_or(Path::new(".")));
        let checked = checked.map_err(|source| NotMade { path: path.clone(), source });
        return Ok(say(checked.map(|restored| format!("{} is good: {}", path.display(), held(&restored)))));
    }
    let operator = operator.load()?;
    let Some(folder) = folder else {
        let made = output.as_deref().map(|path| make(&operator, path));
        return Ok(made.map_or(ExitCode::FAILURE, say));
    };
    fs::create_dir_all(&folder).map_err(|source| UsageError::Unwritable { path: folder.clone(), source })?;
    loop {
        let made = make(&operator, &file_at(&folder, Timestamp::now()));
        let is_made = made.is_ok();
        let status = say(made);
        if let Some(keep) = keep.filter(|_| is_made) {
            let removed = prune(&folder, keep as usize);
            removed.map_err(|source| UsageError::Unwritable { path: folder.clone(), source })?;
        }
        let Some(Every(every)) = every else { return Ok(status) };
        thread::sleep(if is_made { every } else { every.min(AGAIN_AFTER) });
    }
}

/// Makes a data folder of a backup. The exit status is 1 if that did not work.
///
/// # Errors
/// The backup cannot be read.
pub fn restore(args: RestoreArgs) -> Result<ExitCode, UsageError> {
    let RestoreArgs { file, data_dir, server_id } = args;
    let source = open(&file, "restoring")?;
    let data_dir = data_dir.join(server_id.as_str());
    let restored = backup::restore(source, &data_dir, &server_id);
    let restored = restored.map_err(|source| NotMade { path: file, source });
    Ok(say(restored.map(|restored| {
        format!(
            "{} holds {}; restore every server of the new cluster from the same file before you start them",
            data_dir.display(),
            held(&restored)
        )
    })))
}

/// Makes a backup of the folder of a server that does not run.
fn save(path: &Path, dir: &Path, server_id: &ServerId) -> Result<String, RescueError> {
    let out = OutputFile::create(path, Existing::Replace, true)?;
    let beside = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let made_at_ms = Timestamp::now().as_millisecond().unsigned_abs();
    let mut into = BufWriter::new(out);
    let saved = backup::rescue(dir, server_id, made_at_ms, beside, &mut into)?;
    into.into_inner().map_err(io::IntoInnerError::into_error)?.finish()?;
    Ok(format!(
        "{} was written: {}; make a new cluster of it with restore, and do not start this folder again",
        path.display(),
        held(&saved)
    ))
}

fn open(path: &Path, what: &'static str) -> Result<Progress<BufReader<File>>, UsageError> {
    let unreadable = |source| UsageError::Unreadable { path: path.to_owned(), source };
    let file = File::open(path).map_err(unreadable)?;
    let total = file.metadata().map_err(unreadable)?.len();
    Ok(Progress::new(BufReader::new(file), what, Some(total)))
}

fn make(operator: &Operator, path: &Path) -> Result<String, BackupError> {
    let mut session = Session::open(&operator.targets, &operator.key, operator.timeout)?;
    let Fetched { checked, bytes, noted } = fetch(operator, &mut session, path)?;
    let noted = noted.map_or_else(
        |error| format!("; it is good, but the cluster does not know its age: {}", clean(&error.to_string())),
        |()| String::new(),
    );
    Ok(format!(
        "{} was written: {} with {} up to entry {}, from {}{noted}",
        path.display(),
        counted(bytes, "byte"),
        counted(checked.contents.events, "event"),
        grouped(checked.head.snapshot.index),
        checked.head.server_id
    ))
}

fn held(restored: &Restored) -> String {
    let Restored { head, rooms, users, messages, files } = restored;
    format!(
        "{}, {}, {} and {} of {}, up to entry {}",
        counted(*rooms as u64, "room"),
        counted(*users as u64, "user"),
        counted(*messages, "message"),
        counted(*files as u64, "file"),
        clean(&head.cluster_name),
        grouped(head.snapshot.index)
    )
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        args: BackupArgs,
    }

    #[test]
    fn one_thing_is_meant() {
        let parse = |words: &[&str]| Cli::try_parse_from([&["backup"], words].concat());
        for words in [
            &["--output", "x"][..],
            &["--folder", "x", "--every", "6h", "--keep", "28"],
            &["--folder", "x", "--keep", "1", "--secret-file", "y"],
            &["--verify", "x"],
            &["--output", "x", "--data-dir", "y", "--server-id", "z"],
        ] {
            parse(words).unwrap();
        }
        for words in [
            &[][..],
            &["--output", "x", "--folder", "y"],
            &["--output", "x", "--keep", "2"],
            &["--output", "x", "--every", "6h"],
            &["--folder", "x", "--every", "6"],
            &["--folder", "x", "--keep", "0"],
            &["--verify", "x", "--output", "y"],
            &["--output", "x", "--data-dir", "y"],
            &["--output", "x", "--server-id", "z"],
            &["--data-dir", "y", "--server-id", "z"],
            &["--folder", "x", "--data-dir", "y", "--server-id", "z"],
        ] {
            parse(words).unwrap_err();
        }
    }
}
