//! A client connection with one request under way at a time.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    time::Duration,
};

use thiserror::Error;

use syncnet::{
    admin::{line_client::connect, target::Target},
    json::{Heard, read_server_line},
    protocol::{Answer, JoinAnswer, Refusal, answer::SentAnswer},
};

/// How an event's line begins, as servers of this version write it: told apart without parsing it.
pub const EVENT_STARTS: [&[u8]; 2] = [b"{\"msg_type\":\"chat\"", b"{\"msg_type\":\"room_event\""];

/// Why a request failed.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum CallError {
    /// The server said no; the connection may go on.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// No answer, and whether the request was carried out is not known. The connection is of no more use.
    #[error("{0}")]
    Lost(String),
}

#[derive(Debug)]
pub struct Connection {
    lines: BufReader<TcpStream>,
    line: Vec<u8>,
}

impl Connection {
    /// Connects and logs in as a guest. `timeout` bounds the connecting and each wait for an answer.
    pub fn open(target: &Target, user: &str, timeout: Duration) -> Result<Connection, CallError> {
        let lost = |error: std::io::Error| CallError::Lost(format!("{target}: {error}"));
        let stream = connect(target, timeout).map_err(lost)?;
        stream.set_read_timeout(Some(timeout)).map_err(lost)?;
        // A small buffer: ten thousand of these are open at once when idle connections are measured.
        let mut connection = Connection { lines: BufReader::with_capacity(2_048, stream), line: Vec::new() };
        connection.call(&format!("{{\"msg_type\":\"login\",\"data\":{{\"username\":\"{user}\"}}}}\n"))?;
        Ok(connection)
    }

    /// Becomes a member of `room` and follows it. The answer's `last_seq` says how long the room is.
    pub fn join(&mut self, room: &str) -> Result<JoinAnswer, CallError> {
        self.call(&format!(
            "{{\"msg_type\":\"create_join\",\"data\":{{\"room\":\"{room}\",\"history\":0}}}}\n"
        ))?;
        match self.parsed()? {
            Some(Answer::Joined(answer)) => Ok(answer),
            other => Err(CallError::Lost(format!("the answer is no ack of a join but {other:?}"))),
        }
    }

    /// Sends one request line and waits for its ack, passing over what is pushed meanwhile.
    pub fn call(&mut self, request: &str) -> Result<(), CallError> {
        self.call_for(request, b"{\"msg_type\":\"ack\"")
    }

    /// As [`Connection::call`], for a request whose answer begins with `answer`.
    ///
    /// It is not read further, because parsing it would cost the bench more than sending the request.
    pub fn call_for(&mut self, request: &str, answer: &[u8]) -> Result<(), CallError> {
        let lost = |error: std::io::Error| CallError::Lost(error.to_string());
        self.lines.get_mut().write_all(request.as_bytes()).map_err(lost)?;
        loop {
            self.line.clear();
            if self.lines.read_until(b'\n', &mut self.line).map_err(lost)? == 0 {
                return Err(CallError::Lost("the server closed the connection".into()));
            }
            if self.line.starts_with(answer) {
                return Ok(());
            }
            if EVENT_STARTS.iter().any(|start| self.line.starts_with(start)) {
                continue;
            }
            match self.parsed()? {
                Some(Answer::Nack(refusal)) => return Err(CallError::Refused(refusal)),
                Some(Answer::Redirect(redirect)) => {
                    let reason = format!("the server sends us on to {}", redirect.server_id);
                    return Err(CallError::Lost(reason));
                }
                _ => {}
            }
        }
    }

    /// The place of the last call's message in its room.
    pub fn sent(&self) -> Result<SentAnswer, CallError> {
        match self.parsed()? {
            Some(Answer::Sent(sent)) => Ok(sent),
            other => Err(CallError::Lost(format!("the answer is no ack of a message but {other:?}"))),
        }
    }

    /// The bare socket. Pushes that were not yet read are lost, so call it only if there are none.
    pub fn into_stream(self) -> TcpStream {
        self.lines.into_inner()
    }

    /// The answer that was read last; `None` of a push.
    fn parsed(&self) -> Result<Option<Answer>, CallError> {
        let line = read_server_line(self.line.trim_ascii_end());
        match line.map(|line| line.heard) {
            Ok(Heard::Answer(_, answer)) => Ok(Some(answer)),
            Ok(_) => Ok(None),
            Err(bad) => Err(CallError::Lost(format!("the server's line cannot be read: {}", bad.reason))),
        }
    }
}

/// A `chat` request. `client_msg_id` and `room` are the bench's own names, which need no escaping.
pub fn chat_line(room: &str, client_msg_id: &str, body: &str) -> String {
    format!(
        "{{\"msg_type\":\"chat\",\"data\":{{\"room\":\"{room}\",\"client_msg_id\":\"{client_msg_id}\",\"body\":\"{body}\"}}}}\n"
    )
}
