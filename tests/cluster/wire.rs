//! A connection that speaks JSON lines, and reports each one to the judge.

use std::{
    io::{self, BufRead, BufReader, Write},
    net::TcpStream,
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use syncnet::admin::{line_client, target::Target};

use crate::judge::{Judge, Tape};

/// How long connecting may take, and a write that the server does not read.
const TIMEOUT: Duration = Duration::from_secs(1);

/// The connection cannot be used any more: closed, reset, or the server no longer reads.
#[derive(Debug)]
pub struct Lost;

/// A connection to one server.
pub struct Wire {
    lines: BufReader<TcpStream>,
    /// The beginning of a line that has not arrived completely.
    partial: Vec<u8>,
    tape: Option<Tape>,
    requests: u64,
}

impl Wire {
    /// Connects to a server, counted from 0, and tells `judge` everything.
    pub fn open(targets: &[Target], server: usize, judge: &Arc<Judge>) -> Result<Wire, Lost> {
        let stream = line_client::connect(&targets[server], TIMEOUT).map_err(|_| Lost)?;
        Ok(Wire::over(stream, Some(judge.opened(server))))
    }

    /// Connects without a judge, so no messages may be sent.
    pub fn open_unjudged(target: &Target) -> Wire {
        Wire::over(line_client::connect(target, TIMEOUT).expect("the server accepts connections"), None)
    }

    /// Uses a connection that is open already.
    pub fn over(stream: TcpStream, tape: Option<Tape>) -> Wire {
        Wire { lines: BufReader::new(stream), partial: Vec::new(), tape, requests: 0 }
    }

    /// Sends a request under a new `request_id` and gives that.
    pub fn ask(&mut self, msg_type: &str, data: Value) -> Result<u64, Lost> {
        self.ask_as(None, msg_type, data)
    }

    /// Sends a request in a user's name under a new `request_id` and gives that.
    pub fn ask_as(&mut self, sender: Option<&str>, msg_type: &str, data: Value) -> Result<u64, Lost> {
        self.requests += 1;
        let mut request = json!({"msg_type": msg_type, "data": data, "request_id": self.requests});
        if let Some(sender) = sender {
            request["sender_id"] = sender.into();
        }
        self.send(request.to_string().as_bytes())?;
        Ok(self.requests)
    }

    /// Sends a line as it is, and its line end.
    pub fn send(&mut self, line: &[u8]) -> Result<(), Lost> {
        if let Some(tape) = &self.tape {
            tape.sent(line);
        }
        let line = [line, b"\n"].concat();
        self.lines.get_mut().write_all(&line).map_err(|_| Lost)
    }

    /// Sends bytes without telling the judge.
    pub fn send_raw(&mut self, bytes: &[u8]) -> Result<(), Lost> {
        self.lines.get_mut().write_all(bytes).map_err(|_| Lost)
    }

    /// The next line, or `None` if none comes within `timeout`.
    pub fn receive(&mut self, timeout: Duration) -> Result<Option<Value>, Lost> {
        let deadline = Instant::now() + timeout;
        loop {
            let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            self.lines.get_ref().set_read_timeout(Some(left)).map_err(|_| Lost)?;
            match self.lines.read_until(b'\n', &mut self.partial) {
                Ok(_) if self.partial.ends_with(b"\n") => {
                    let line = std::mem::take(&mut self.partial);
                    if let Some(tape) = &self.tape {
                        tape.received(&line);
                        if tape.is_broken() {
                            return Err(Lost);
                        }
                    }
                    return serde_json::from_slice(&line).map(Some).map_err(|_| Lost);
                }
                // The end of the stream; half a line may have come before it.
                Ok(_) => return Err(Lost),
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    if Instant::now() >= deadline {
                        return Ok(None);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Err(Lost),
            }
        }
    }

    /// The answer to the request of this id, if it comes within `timeout`; everything else is skipped.
    pub fn answer(&mut self, request_id: u64, timeout: Duration) -> Result<Value, Lost> {
        let deadline = Instant::now() + timeout;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.receive(left)? {
                Some(line) if line["request_id"] == request_id => return Ok(line),
                Some(_) => {}
                None => return Err(Lost),
            }
        }
    }

    /// Asks and waits for the answer.
    pub fn call(&mut self, msg_type: &str, data: Value, timeout: Duration) -> Result<Value, Lost> {
        let request_id = self.ask(msg_type, data)?;
        self.answer(request_id, timeout)
    }

    /// Whether the server closes the connection within `timeout`. Lines that come before are skipped.
    pub fn is_closed_within(&mut self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.receive(left) {
                Err(Lost) => return true,
                Ok(None) => return false,
                Ok(Some(_)) => {}
            }
        }
    }
}
