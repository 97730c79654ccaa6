//! The command lines of `syncnet-admin backup` and `restore`.

use std::{
    fs::{self, File},
    io::{self, BufReader, BufWriter, Read},
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
    backup::{
        self, Encrypting, Identities, ReadError, Recipient, RescueError, RestoreError, Restored, decrypted,
    },
    output_file::{Existing, OutputFile},
    protocol::ServerId,
    server::config::load_private,
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
    /// Encrypt it so that only the holder of this age key can read it: the recipient, a word that begins with
    /// age1. Can be given more than once; each of them can read it alone.
    #[arg(long, value_name = "RECIPIENT", conflicts_with = "verify")]
    encrypt_to: Vec<Recipient>,
    /// For an encrypted backup, the file with the identity of one of its recipients, as age-keygen writes it.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["output", "folder"])]
    identity: Option<PathBuf>,
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
    /// For an encrypted backup, the file with the identity of one of its recipients, as age-keygen writes it.
    #[arg(long, value_name = "FILE")]
    identity: Option<PathBuf>,
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
    let BackupArgs {
        output,
        folder,
        keep,
        every,
        verify,
        data_dir,
        server_id,
        encrypt_to,
        identity,
        operator,
    } = args;
    if let (Some(output), Some(data_dir), Some(server_id)) = (&output, data_dir, server_id) {
        return Ok(say(save(output, &data_dir.join(server_id.as_str()), &server_id, &encrypt_to)));
    }
    if let Some(path) = verify {
        let checked =
            with_backup(&path, "checking", identity, |source| backup::verify(source, folder_of(&path)))?;
        return Ok(say(checked.map(|restored| format!("{} is good: {}", path.display(), held(&restored)))));
    }
    let operator = operator.load()?;
    let Some(folder) = folder else {
        let made = output.as_deref().map(|path| make(&operator, path, &encrypt_to));
        return Ok(made.map_or(ExitCode::FAILURE, say));
    };
    fs::create_dir_all(&folder).map_err(|source| UsageError::Unwritable { path: folder.clone(), source })?;
    loop {
        let made = make(&operator, &file_at(&folder, Timestamp::now()), &encrypt_to);
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
    let RestoreArgs { file, data_dir, server_id, identity } = args;
    let data_dir = data_dir.join(server_id.as_str());
    let restored =
        with_backup(&file, "restoring", identity, |source| backup::restore(source, &data_dir, &server_id))?;
    Ok(say(restored.map(|restored| {
        format!(
            "{} holds {}; restore every server of the new cluster from the same file before you start them",
            data_dir.display(),
            held(&restored)
        )
    })))
}

/// Makes a backup of the folder of a server that does not run.
fn save(
    path: &Path,
    dir: &Path,
    server_id: &ServerId,
    recipients: &[Recipient],
) -> Result<String, RescueError> {
    let out = OutputFile::create(path, Existing::Replace, true)?;
    let made_at_ms = Timestamp::now().as_millisecond().unsigned_abs();
    let mut into = Encrypting::new(recipients, BufWriter::new(out))?;
    let saved = backup::rescue(dir, server_id, made_at_ms, folder_of(path), &mut into)?;
    into.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?.finish()?;
    Ok(format!(
        "{} was written: {}; make a new cluster of it with restore, and do not start this folder again",
        path.display(),
        held(&saved)
    ))
}

/// The folder that a file is in.
fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Reads the backup in the file, with the keys of the identity file if there is one.
fn with_backup(
    path: &Path,
    what: &'static str,
    identity: Option<PathBuf>,
    read: impl FnOnce(Box<dyn Read>) -> Result<Restored, RestoreError>,
) -> Result<Result<Restored, NotMade>, UsageError> {
    let identities = identity.map(load_identities).transpose()?;
    let unreadable = |source| UsageError::Unreadable { path: path.to_owned(), source };
    let file = File::open(path).map_err(unreadable)?;
    let total = file.metadata().map_err(unreadable)?.len();
    let source = BufReader::new(Progress::new(file, what, Some(total)));
    let restored = match decrypted(source, identities.as_ref()) {
        Err(ReadError::Locked(source)) => return Err(UsageError::Locked { path: path.to_owned(), source }),
        opened => opened.map_err(RestoreError::from).and_then(read),
    };
    Ok(restored.map_err(|source| NotMade { path: path.to_owned(), source }))
}

fn load_identities(path: PathBuf) -> Result<Identities, UsageError> {
    let file = load_private("the identity file", &path)?;
    Identities::read(&file).map_err(|source| UsageError::Identities { path, source })
}

fn make(operator: &Operator, path: &Path, recipients: &[Recipient]) -> Result<String, BackupError> {
    let mut session = Session::open(&operator.targets, &operator.key, operator.timeout)?;
    let Fetched { checked, bytes, noted } = fetch(operator, &mut session, path, recipients)?;
    let noted = noted.map_or_else(
        |error| format!("; it is good, but the cluster does not know its age: {}", clean(&error.to_string())),
        |()| String::new(),
    );
    Ok(format!(
        "{} was written: {}{} with {} up to entry {}, from {}{noted}",
        path.display(),
        if recipients.is_empty() { "" } else { "encrypted, " },
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

    const RECIPIENT: &str = "age1xwwf0fdudaw603ssqx0yqrqr33neahgnrqm4fv4zl0l8pfswevrquctaf7";

    #[test]
    fn one_thing_is_meant() {
        let parse = |words: &[&str]| Cli::try_parse_from([&["backup"], words].concat());
        for words in [
            &["--output", "x"][..],
            &["--folder", "x", "--every", "6h", "--keep", "28"],
            &["--folder", "x", "--keep", "1", "--secret-file", "y"],
            &["--verify", "x"],
            &["--output", "x", "--data-dir", "y", "--server-id", "z"],
            &["--output", "x", "--encrypt-to", RECIPIENT, "--encrypt-to", RECIPIENT],
            &["--folder", "x", "--every", "6h", "--encrypt-to", RECIPIENT],
            &["--verify", "x", "--identity", "y"],
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
            &["--output", "x", "--encrypt-to", "age1"],
            &["--verify", "x", "--encrypt-to", RECIPIENT],
            &["--output", "x", "--identity", "y"],
        ] {
            parse(words).unwrap_err();
        }
    }
}
