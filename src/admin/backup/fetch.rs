//! A backup over the network, checked as it is written.

use std::{
    io::{self, BufWriter, Read, Write},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use thiserror::Error;

use super::progress::Progress;
use crate::{
    admin::{
        operator::Operator,
        operator_request::{self, RequestError},
        session::{AskError, OpenError, Session},
        target::Target,
    },
    backup::{Backup, Checked, Encrypting, ReadError, Recipient},
    output_file::{Existing, OutputFile},
    protocol::{
        answer::Done,
        request::{AskStatus, BackupMade, Ping},
    },
};

/// How long a server may take to write what it has applied to its disk.
const STORED_WITHIN: Duration = Duration::from_secs(10);
const STORED_PAUSE: Duration = Duration::from_millis(50);

/// Why there is no backup.
#[derive(Debug, Error)]
pub enum BackupError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Ask(#[from] AskError),
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error("the backup of {server}: {source}")]
    Content { server: String, source: ReadError },
    #[error("{server} does not bring its disk up to date")]
    Behind { server: String },
    #[error("{} cannot be written: {source}", path.display())]
    Output { path: PathBuf, source: io::Error },
}

/// A backup that was written.
#[derive(Debug)]
pub struct Fetched {
    pub checked: Checked,
    pub bytes: u64,
    /// Whether the cluster was told of it. The backup is as good without.
    pub noted: Result<(), AskError>,
}

/// Writes a backup of everything that was committed before this began, encrypted if there are `recipients`.
/// The file appears once it is whole and checked. What is checked is what goes into the encryption: without a
/// key nobody can look at what has come out.
///
/// # Errors
/// No server gives one, or it cannot be written.
pub fn fetch(
    operator: &Operator,
    session: &mut Session,
    path: &Path,
    recipients: &[Recipient],
) -> Result<Fetched, BackupError> {
    // After this the server has applied everything that was acknowledged before on any server.
    session.ask(Ping::with_barrier())?;
    let wanted = session.ask(AskStatus {})?.applied_index;
    let target = session.target().clone();
    let deadline = Instant::now() + STORED_WITHIN;
    loop {
        match attempt(operator, &target, path, recipients, wanted)? {
            Some((checked, bytes)) => {
                let noted = session.ask(BackupMade {}).map(|Done {}| ());
                return Ok(Fetched { checked, bytes, noted });
            }
            None if Instant::now() < deadline => thread::sleep(STORED_PAUSE),
            None => return Err(BackupError::Behind { server: target.label() }),
        }
    }
}

/// `None` if the server's disk does not have entry `wanted` yet.
fn attempt(
    operator: &Operator,
    target: &Target,
    path: &Path,
    recipients: &[Recipient],
    wanted: u64,
) -> Result<Option<(Checked, u64)>, BackupError> {
    let Operator { key, timeout, .. } = operator;
    let content = |source| BackupError::Content { server: target.label(), source };
    let unwritable = |source| BackupError::Output { path: path.to_owned(), source };
    let body = operator_request::ask(target, key, *timeout, "GET /backup")?;
    let out = OutputFile::create(path, Existing::Replace, true).map_err(unwritable)?;
    let into = Encrypting::new(recipients, BufWriter::new(out)).map_err(unwritable)?;
    let mut tee = Tee { from: Progress::new(body, "backing up", None), into, failed: None };
    let checked = Backup::open(&mut tee).and_then(|backup| match backup.head().snapshot.index >= wanted {
        true => backup.check().map(Some),
        false => Ok(None),
    });
    let Tee { from, into, failed } = tee;
    if let Some(source) = failed {
        return Err(unwritable(source));
    }
    let Some(checked) = checked.map_err(content)? else { return Ok(None) };
    let into = into.finish().map_err(unwritable)?;
    let file = into.into_inner().map_err(|error| unwritable(error.into_error()))?;
    file.finish().map_err(unwritable)?;
    Ok(Some((checked, from.moved())))
}

/// Writes what is read to a second place.
struct Tee<R, W> {
    from: R,
    into: W,
    failed: Option<io::Error>,
}

impl<R: Read, W: Write> Read for Tee<R, W> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(bytes)?;
        if let Err(error) = self.into.write_all(&bytes[..count]) {
            self.failed = Some(error);
            return Err(io::ErrorKind::Other.into());
        }
        Ok(count)
    }
}
