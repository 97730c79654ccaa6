//! `--health` and `--ready`: a look at the server that runs on this machine, for container engines and
//! scripts that have no HTTP client.

use std::{
    fmt,
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    time::{Duration, Instant},
};

use super::args::Args;
use crate::server::config::{self, error::ConfigError};
use crate::tls::client::{ClientStream, Trust};

/// How long the look may take. The server itself takes up to two seconds to prove that it is ready.
const PATIENCE: Duration = Duration::from_secs(4);
/// Most of an answer that is read.
const ANSWER_BYTES: u64 = 64 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// Does the process work? This needs no other server.
    Health,
    /// Can clients be sent to it? This needs a majority.
    Ready,
}

/// Why the answer is no.
#[derive(Debug)]
pub enum Unhealthy {
    /// It could not be asked.
    Silent(SocketAddr, io::Error),
    /// It said no, in these words.
    Says(String),
}

impl fmt::Display for Unhealthy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unhealthy::Silent(address, error) => {
                write!(f, "the server at {address} does not answer: {error}")
            }
            Unhealthy::Says(words) => f.write_str(words),
        }
    }
}

impl std::error::Error for Unhealthy {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Unhealthy::Silent(_, error) => Some(error),
            Unhealthy::Says(_) => None,
        }
    }
}

impl Question {
    /// The question on the command line, if there is one.
    pub fn of(args: &Args) -> Option<Question> {
        if args.health { Some(Question::Health) } else { args.ready.then_some(Question::Ready) }
    }

    fn path(self) -> &'static str {
        match self {
            Question::Health => "/healthz",
            Question::Ready => "/readyz",
        }
    }

    /// Asks the server that `args` names on this machine.
    ///
    /// # Errors
    /// The outer error: the configuration does not say where that server is.
    pub fn ask(self, args: &Args) -> Result<Result<(), Unhealthy>, ConfigError> {
        let (address, certificate) = config::own_client_address(args)?;
        // Whether the process works is told without encryption in any case.
        let certificate = certificate.filter(|_| self == Question::Ready);
        let answer = get(address, certificate.as_deref(), self.path());
        let answer = answer.map_err(|error| Unhealthy::Silent(address, error));
        Ok(answer.and_then(|answer| self.judge(&answer)))
    }

    fn judge(self, answer: &str) -> Result<(), Unhealthy> {
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
        let is_status = |status| head.starts_with("HTTP/1.1 ") && head.split(' ').nth(1) == Some(status);
        // A server that has no room for one more connection says so in a line of JSON. It works all the same.
        let is_full = head.starts_with('{') && head.contains("\"overloaded\"");
        if is_status("200") || (is_full && self == Question::Health) {
            return Ok(());
        }
        let words = if body.is_empty() { head } else { body };
        Err(Unhealthy::Says(words.trim().to_owned()))
    }
}

fn get(address: SocketAddr, certificate: Option<&Path>, path: &str) -> io::Result<String> {
    let deadline = Instant::now() + PATIENCE;
    let socket = TcpStream::connect_timeout(&address, PATIENCE)?;
    let trust = certificate.map(Trust::only).transpose().map_err(io::Error::other)?;
    let mut stream = ClientStream::open(socket, &address.ip().to_string(), trust.as_ref(), deadline)?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    while (answer.len() as u64) < ANSWER_BYTES {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut piece)? {
            0 => break,
            length => answer.extend_from_slice(&piece[..length]),
        }
    }
    if answer.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_judged() {
        let full = "{\"msg_type\":\"nack\",\"data\":{\"code\":\"overloaded\"}}\n";
        for (answer, healthy, ready) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n", true, true),
            ("HTTP/1.1 503 Service Unavailable\r\n\r\n{}", false, false),
            ("HTTP/1.1 2000 OK\r\n\r\n", false, false),
            (full, true, false),
            ("{\"msg_type\":\"nack\"}\n", false, false),
            ("hello 200\r\n\r\n", false, false),
        ] {
            assert_eq!(Question::Health.judge(answer).is_ok(), healthy, "{answer}");
            assert_eq!(Question::Ready.judge(answer).is_ok(), ready, "{answer}");
        }
        let words = Question::Ready.judge("HTTP/1.1 503 No\r\n\r\n{\"ready\":false}\n").unwrap_err();
        assert_eq!(words.to_string(), "{\"ready\":false}");
    }
}
