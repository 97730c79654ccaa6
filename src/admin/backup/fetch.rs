//! A backup over the network, checked as it is written.

use std::{
    io::{self, BufRead, BufReader, BufWriter, Read, Write},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use data_encoding::HEXLOWER;
use thiserror::Error;

use super::progress::Progress;
use crate::{
    admin::{
        line_client::connect,
        operator::Operator,
        session::{AskError, OpenError, Session},
        target::Target,
    },
    backup::{Backup, Checked, ReadError},
    network_error::in_words,
    output_file::{Existing, OutputFile},
    protocol::{
        operator::{BACKUP_SCHEME, OperatorKey, PROOF_BYTES},
        request::{AskStatus, Ping},
    },
    tls::client::ClientStream,
};

/// Longest head of an answer.
const HEAD_BYTES: u64 = 16 * 1024;
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
    #[error("{server}: {}", in_words(.source))]
    Lost { server: String, source: io::Error },
    #[error("{server} answers {status}: {reason}")]
    Refused { server: String, status: u16, reason: String },
    #[error("{server} gives no answer that can be understood")]
    NoAnswer { server: String },
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
}

/// Writes a backup of everything that was committed before this began. The file appears once it is whole and
/// checked.
///
/// # Errors
/// No server gives one, or it cannot be written.
pub fn fetch(operator: &Operator, session: &mut Session, path: &Path) -> Result<Fetched, BackupError> {
    // After this the server has applied everything that was acknowledged before on any server.
    session.ask(Ping::with_barrier())?;
    let wanted = session.ask(AskStatus {})?.applied_index;
    let target = session.target().clone();
    let deadline = Instant::now() + STORED_WITHIN;
    loop {
        match attempt(operator, &target, path, wanted)? {
            Some(fetched) => return Ok(fetched),
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
    wanted: u64,
) -> Result<Option<Fetched>, BackupError> {
    let Operator { key, timeout, .. } = operator;
    let content = |source| BackupError::Content { server: target.label(), source };
    let unwritable = |source| BackupError::Output { path: path.to_owned(), source };
    let body = open(target, key, *timeout)?;
    let out = OutputFile::create(path, Existing::Replace, true).map_err(unwritable)?;
    let mut tee =
        Tee { from: Progress::new(body, "backing up", None), into: BufWriter::new(out), failed: None };
    let checked = Backup::open(&mut tee).and_then(|backup| match backup.head().snapshot.index >= wanted {
        true => backup.check().map(Some),
        false => Ok(None),
    });
    let Tee { from, into, failed } = tee;
    if let Some(source) = failed {
        return Err(unwritable(source));
    }
    let Some(checked) = checked.map_err(content)? else { return Ok(None) };
    let file = into.into_inner().map_err(|error| unwritable(error.into_error()))?;
    file.finish().map_err(unwritable)?;
    Ok(Some(Fetched { checked, bytes: from.moved() }))
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

type Body = BufReader<ClientStream>;

/// Answers the server's challenge, and gives the body of the backup.
fn open(target: &Target, key: &OperatorKey, timeout: Duration) -> Result<Body, BackupError> {
    let server = target.label();
    let no_answer = || BackupError::NoAnswer { server: server.clone() };
    let first = get(target, timeout, None)?;
    let challenge = first.challenge.as_ref().and_then(|text| {
        let challenge = HEXLOWER.decode(text.as_bytes()).ok()?;
        <[u8; PROOF_BYTES]>::try_from(challenge).ok()
    });
    let Some(challenge) = challenge.filter(|_| first.status == 401) else {
        return Err(first.refused(server));
    };
    let (challenge, proof) = (HEXLOWER.encode(&challenge), HEXLOWER.encode(&key.proof(&challenge)));
    let answer = get(target, timeout, Some(&format!("{challenge}:{proof}")))?;
    match answer.status {
        200 => Ok(answer.body),
        0 => Err(no_answer()),
        401 => Err(BackupError::Refused {
            server,
            status: 401,
            reason: "this is not the cluster's secret".into(),
        }),
        _ => Err(answer.refused(server)),
    }
}

/// An answer whose head was read.
struct HttpAnswer {
    status: u16,
    /// The challenge that must be answered first.
    challenge: Option<String>,
    body: Body,
}

impl HttpAnswer {
    fn refused(mut self, server: String) -> BackupError {
        let mut text = String::new();
        // If the reason cannot be read, it is left out.
        let _ = self.body.by_ref().take(HEAD_BYTES).read_to_string(&mut text);
        let json: Option<serde_json::Value> = serde_json::from_str(&text).ok();
        let reason = json.and_then(|json| Some(json["error"]["reason"].as_str()?.to_owned()));
        let reason = reason.unwrap_or_else(|| "it is no server that makes backups".into());
        BackupError::Refused { server, status: self.status, reason }
    }
}

fn get(target: &Target, timeout: Duration, credentials: Option<&str>) -> Result<HttpAnswer, BackupError> {
    let server = target.label();
    let lost = |source| BackupError::Lost { server: server.clone(), source };
    let no_answer = || BackupError::NoAnswer { server: server.clone() };
    let socket = connect(target, timeout).map_err(lost)?;
    let deadline = Instant::now() + timeout;
    let mut stream =
        ClientStream::open(socket, &target.host, target.trust.as_ref(), deadline).map_err(lost)?;
    stream.set_read_timeout(Some(timeout)).map_err(lost)?;
    stream.set_write_timeout(Some(timeout)).map_err(lost)?;
    let authorization =
        credentials.map_or_else(String::new, |text| format!("Authorization: {BACKUP_SCHEME} {text}\r\n"));
    let request =
        format!("GET /backup HTTP/1.1\r\nHost: {target}\r\nConnection: close\r\n{authorization}\r\n");
    stream.write_all(request.as_bytes()).map_err(lost)?;
    let mut body = BufReader::new(stream);
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let room = HEAD_BYTES.saturating_sub(head.len() as u64);
        if body.by_ref().take(room).read_until(b'\n', &mut head).map_err(lost)? == 0 {
            return Err(no_answer());
        }
    }
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    let status = match response.parse(&head) {
        Ok(httparse::Status::Complete(_)) => response.code.unwrap_or(0),
        _ => return Err(no_answer()),
    };
    let asked = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case("www-authenticate"));
    let challenge = asked.and_then(|header| {
        let text = std::str::from_utf8(header.value).ok()?;
        Some(text.strip_prefix(BACKUP_SCHEME)?.trim().to_owned())
    });
    Ok(HttpAnswer { status, challenge, body })
}
