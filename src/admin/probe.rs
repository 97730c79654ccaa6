//! Asking servers for their status, all at once.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{TcpStream, ToSocketAddrs},
    thread,
    time::{Duration, Instant},
};

use super::target::Target;
use crate::protocol::{ServerMessage, Status, server_message::Content};

/// Most bytes read for one answer; a cluster's status is far below it.
const ANSWER_BYTES: u64 = 1024 * 1024;

/// What came of asking one server.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    /// The server that was asked.
    pub target: Target,
    /// Its status, or one sentence that says why there is none.
    pub outcome: Result<Status, String>,
}

impl Observation {
    /// The server's own id where it answered, else what the target is called.
    pub fn name(&self) -> String {
        match &self.outcome {
            Ok(status) => status.server_id.to_string(),
            Err(_) => self.target.label(),
        }
    }
}

/// Asks every target, each in a thread of its own; takes little longer than `timeout` in all.
///
/// The observations stand in the order of the targets.
pub fn ask_all(targets: &[Target], timeout: Duration) -> Vec<Observation> {
    thread::scope(|scope| {
        let asked: Vec<_> =
            targets.iter().map(|target| (target, scope.spawn(move || ask(target, timeout)))).collect();
        asked
            .into_iter()
            .map(|(target, thread)| Observation {
                target: target.clone(),
                outcome: thread.join().unwrap_or_else(|_| Err("the asking thread failed".into())),
            })
            .collect()
    })
}

/// Asks one server, waiting at most about `timeout`.
pub fn ask(target: &Target, timeout: Duration) -> Result<Status, String> {
    let deadline = Instant::now() + timeout;
    let mut stream = connect(target, timeout).map_err(|error| explain(&error))?;
    stream.write_all(b"{\"msg_type\":\"status_request\"}\n").map_err(|error| explain(&error))?;
    let mut lines = BufReader::new(stream.take(ANSWER_BYTES));
    let mut line = Vec::new();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err("it does not answer in time".into());
        }
        let socket = lines.get_ref().get_ref();
        socket.set_read_timeout(Some(left)).map_err(|error| explain(&error))?;
        line.clear();
        if lines.read_until(b'\n', &mut line).map_err(|error| explain(&error))? == 0 {
            return Err("it closed the connection without an answer".into());
        }
        match ServerMessage::parse(line.trim_ascii_end())?.content {
            Content::Status(status) => return Ok(*status),
            Content::Nack(refusal) => return Err(format!("it refuses: {refusal}")),
            // A push that came first.
            _ => {}
        }
    }
}

/// Connects to the first address of `target` that accepts; all of them together may take `timeout`.
///
/// The stream sends small lines at once and gives up a write after `timeout`.
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

/// An error of the network in an operator's words.
pub(super) fn explain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "nothing listens there".into(),
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => "it does not answer in time".into(),
        io::ErrorKind::ConnectionReset => "it reset the connection".into(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn answering(lines: &'static [u8]) -> Target {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = String::new();
            BufReader::new(stream.try_clone().unwrap()).read_line(&mut asked).unwrap();
            assert!(asked.contains("status_request"));
            stream.write_all(lines).unwrap();
        });
        Target { server_id: None, host: "127.0.0.1".into(), port }
    }

    #[test]
    fn pushes_before_the_answer_are_passed_over() {
        let target = answering(
            b"{\"msg_type\":\"server_list\",\"data\":{\"servers\":[],\"leader_id\":null,\"term\":1}}\n\
              {\"msg_type\":\"nack\",\"data\":{\"for\":\"status_request\",\"code\":\"overloaded\",\"reason\":\"busy\"}}\n",
        );
        assert_eq!(ask(&target, Duration::from_secs(20)), Err("it refuses: overloaded: busy".into()));
    }

    #[test]
    fn what_is_not_an_answer_is_said() {
        let sentence = ask(&answering(b"HTTP/1.1 400\r\n"), Duration::from_secs(20)).unwrap_err();
        assert!(sentence.contains("not JSON"), "{sentence}");
        let sentence = ask(&answering(b""), Duration::from_secs(20)).unwrap_err();
        assert!(sentence.contains("without an answer"), "{sentence}");
    }

    #[test]
    fn all_are_asked_and_keep_their_order() {
        // Bound and never accepted from: the connection opens and stays silent.
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = silent.local_addr().unwrap().port();
        let targets =
            [Target { server_id: Some("a".into()), host: "127.0.0.1".into(), port }, answering(b"")];
        let seen = ask_all(&targets, Duration::from_millis(200));
        assert_eq!(seen[0].name(), "a");
        assert_eq!(seen[0].outcome, Err("it does not answer in time".into()));
        assert_eq!(seen[1].target, targets[1]);
    }
}
