//! A blocking client of JSON lines, with which the tools ask servers.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{TcpStream, ToSocketAddrs},
    time::{Duration, Instant},
};

use thiserror::Error;

use super::target::Target;
use crate::tls::client::{ClientStream, Trust};
use crate::{
    json::{self, Heard},
    network_error::in_words,
    protocol::{
        Answer, Refusal, RequestHead, RequestId,
        answer::Redirect,
        request::{Answered, Request},
    },
};

/// Most bytes of one line that is read.
const LINE_BYTES: u64 = 4 * 1024 * 1024;

/// Why a request has no answer.
#[derive(Debug, Error)]
pub enum CallError {
    /// The server cannot be reached, or was lost: it is unknown whether the request was carried out.
    #[error("{}", in_words(.0))]
    Lost(#[source] io::Error),
    /// The server hung up instead of an answer.
    #[error("it closed the connection without an answer")]
    Closed,
    /// The server did not answer in time.
    #[error("it does not answer in time")]
    Silent,
    /// The server sends the client to another one.
    #[error("it names {0}")]
    Elsewhere(Target),
    /// The server said no.
    #[error("it refuses: {0}")]
    Refused(Refusal),
    /// Its answer cannot be understood; why.
    #[error("its answer: {0}")]
    Unreadable(String),
}

/// A connection to one server, with one request under way at a time.
#[derive(Debug)]
pub struct LineClient {
    lines: BufReader<ClientStream>,
    trust: Option<Trust>,
    timeout: Duration,
    asked: i64,
}

impl LineClient {
    /// Connects. `timeout` bounds the connecting, and later each wait for an answer.
    ///
    /// # Errors
    /// Nothing answers there.
    pub fn open(target: &Target, timeout: Duration) -> Result<LineClient, CallError> {
        let deadline = Instant::now() + timeout;
        let trust = target.trust.clone();
        let opened = connect(target, timeout).and_then(|socket| {
            let stream = ClientStream::open(socket, &target.host, trust.as_ref(), deadline)?;
            stream.set_write_timeout(Some(timeout)).map(|()| stream)
        });
        let stream = opened.map_err(CallError::Lost)?;
        Ok(LineClient { lines: BufReader::new(stream), trust, timeout, asked: 0 })
    }

    /// Asks, and waits for the answer; pushes are skipped.
    ///
    /// # Errors
    /// There is no answer, or it says that the request was not carried out.
    pub fn ask<R: Answered>(&mut self, request: R) -> Result<R::Answer, CallError> {
        let answer = self.exchange(&request.into())?;
        let other = |answer: Answer| CallError::Unreadable(format!("a {} is no answer", answer.msg_type()));
        R::Answer::try_from(answer).map_err(other)
    }

    fn exchange(&mut self, request: &Request) -> Result<Answer, CallError> {
        self.asked += 1;
        let deadline = Instant::now() + self.timeout;
        let ours = Some(RequestId::Number(self.asked));
        let head = RequestHead { request_id: ours.clone(), ..RequestHead::default() };
        let line = json::write_request(&head, request);
        self.lines.get_mut().write_all(&line).map_err(CallError::Lost)?;
        loop {
            let line = self.read_line(deadline)?;
            let heard = json::read_server_line(&line).map_err(|bad| CallError::Unreadable(bad.reason))?.heard;
            let Heard::Answer(to, answer) = heard else { continue };
            // Without a request's id if the server turns the whole connection away.
            let is_ours = to.request_id == ours;
            match answer {
                Answer::Redirect(Redirect { host, tcp_port, .. }) if is_ours => {
                    let trust = self.trust.clone();
                    return Err(CallError::Elsewhere(Target {
                        server_id: None,
                        host,
                        port: tcp_port,
                        trust,
                    }));
                }
                Answer::Nack(refusal) if is_ours || to.request_id.is_none() => {
                    return Err(CallError::Refused(refusal));
                }
                answer if is_ours => return Ok(answer),
                _ => {}
            }
        }
    }

    fn read_line(&mut self, deadline: Instant) -> Result<Vec<u8>, CallError> {
        let mut line = Vec::new();
        while line.last() != Some(&b'\n') {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(CallError::Silent);
            }
            self.lines.get_ref().set_read_timeout(Some(left)).map_err(CallError::Lost)?;
            let room = LINE_BYTES.saturating_sub(line.len() as u64);
            if room == 0 {
                return Err(CallError::Unreadable("it is too long".into()));
            }
            let read = self.lines.by_ref().take(room).read_until(b'\n', &mut line);
            if read.map_err(CallError::Lost)? == 0 {
                return Err(CallError::Closed);
            }
        }
        line.truncate(line.trim_ascii_end().len());
        Ok(line)
    }
}

/// Connects to the first address of `target` that accepts; all of them together may take `timeout`.
///
/// The stream sends small lines at once and gives up a write after `timeout`.
///
/// # Errors
/// No address accepts.
pub fn connect(target: &Target, timeout: Duration) -> io::Result<TcpStream> {
    let deadline = Instant::now() + timeout;
    let mut last = io::Error::new(io::ErrorKind::NotFound, format!("{} has no address", target.host));
    for address in (target.host.as_str(), target.port).to_socket_addrs()? {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        match TcpStream::connect_timeout(&address, left) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                stream.set_write_timeout(Some(timeout))?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}
