//! A connection of the replica whose answers go to a thread of this server instead of a socket.
//!
//! An HTTP exchange that needs the chat opens one and speaks ordinary requests on it, so limits and rights
//! stay in one place, and neither the replica nor the fan-out knows that nobody sits behind it. What is
//! pushed to it (events, lists of servers) is thrown away on arrival; only answers are kept, and of these no
//! more than were asked for.

use std::{
    collections::BTreeMap,
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{
    protocol::{
        Code, Envelope, Refusal, RequestId, ServerMessage, limits::COMMIT_TIMEOUT_MS, server_message::Content,
    },
    replica::io::Input,
};

use super::{
    client_thread::{Desk, Visitor},
    clients::Client,
    mailbox::{Bell, Receiver, Sender, Unsent, mailbox},
    outgoing::Outgoing,
};

/// Answers that may wait to be looked at. Full means that the fan-out keeps the rest in the session's outbox,
/// as for a socket whose reader is slow.
const ANSWERS: usize = 64;
/// How long an answer is waited for: what waits for its commit is answered by then, one way or the other.
pub const ANSWER_WITHIN: Duration = Duration::from_millis(COMMIT_TIMEOUT_MS + 2_000);

/// The receiving end of a local session, as its fan-out thread writes to it.
#[derive(Debug)]
pub struct Answers(Sender<Arc<[u8]>>);

impl Answers {
    /// Takes what lines there are; `WouldBlock` where there is no room for even one.
    pub fn put(&self, outgoing: &mut Outgoing) -> io::Result<()> {
        let mut result = Err(io::ErrorKind::WouldBlock.into());
        while let Some(line) = outgoing.next_line() {
            if request_id(line).is_some() {
                match self.0.try_send(line.clone()) {
                    Ok(()) => {}
                    Err(Unsent::Full(_)) => return result,
                    Err(Unsent::Closed(_)) => return Err(io::ErrorKind::BrokenPipe.into()),
                }
            }
            outgoing.line_taken();
            result = Ok(());
        }
        Ok(())
    }

    /// Nothing more will come.
    pub fn close(&self) {
        self.0.close();
    }
}

/// The number of the request that a line answers; `None` of a push.
fn request_id(line: &[u8]) -> Option<i64> {
    #[derive(Deserialize)]
    struct Tag {
        request_id: Option<RequestId>,
    }
    match serde_json::from_slice::<Tag>(line).ok()?.request_id? {
        RequestId::Number(number) => Some(number),
        RequestId::Text(_) => None,
    }
}

/// Why a request on behalf of somebody was not carried out.
#[derive(Debug, Clone, PartialEq)]
pub enum Failure {
    /// It was refused, or not answered.
    Refused(Refusal),
    /// Another server takes it.
    Moved {
        /// The host.
        host: String,
        /// The client port.
        port: u16,
    },
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Failure::Refused(refusal)
    }
}

/// Asks requests of the chat. What stands behind it is a server, or in tests a small copy of one.
pub trait Ask {
    /// Sends a request, and gives the number that its answer will have. Requests that change something are
    /// carried out in the order in which they are sent.
    fn send(&mut self, msg_type: &str, data: Map<String, Value>) -> Result<i64, Failure>;

    /// Waits for the answer to a request: the `data` of the `ack`, or of the message that stands for one.
    fn answer(&mut self, number: i64) -> Result<Map<String, Value>, Failure>;

    /// After a pause begins anew, as somebody who has not said anything yet. What was sent and not answered may
    /// have been carried out, and is not answered any more. `false` where there is no time left for it.
    fn reopen(&mut self, pause: Duration) -> bool;

    /// Sends a request and waits for its answer.
    fn ask(&mut self, msg_type: &str, data: Map<String, Value>) -> Result<Map<String, Value>, Failure> {
        let number = self.send(msg_type, data)?;
        self.answer(number)
    }
}

/// A session on behalf of somebody. It is closed when it is dropped.
pub struct LocalSession<'a> {
    visitor: Visitor,
    patience: Duration,
    /// It may be begun anew until then.
    until: Instant,
    conn: LocalConn<'a>,
}

impl<'a> LocalSession<'a> {
    /// Opens one on this server, on behalf of a visitor. Each answer may take as long as `patience`.
    pub fn open(desk: &'a Desk, visitor: Visitor, patience: Duration) -> Result<Self, Failure> {
        let conn = LocalConn::open(desk, visitor)?;
        Ok(LocalSession { visitor, patience, until: Instant::now(), conn })
    }

    /// With leave to begin anew until then.
    pub fn reopening_until(self, until: Instant) -> Self {
        LocalSession { until, ..self }
    }
}

/// A connection to the replica that no socket belongs to.
struct LocalConn<'a> {
    desk: &'a Desk,
    client: Arc<Client>,
    lines: Receiver<Arc<[u8]>>,
    /// Answers that came before they were waited for.
    early: BTreeMap<i64, Arc<[u8]>>,
    asked: i64,
}

impl<'a> LocalConn<'a> {
    fn open(desk: &'a Desk, visitor: Visitor) -> Result<Self, Failure> {
        let (answers, lines) = mailbox(ANSWERS, &Bell::default());
        let client = desk.context.clients.add_local(Answers(answers));
        let conn = LocalConn { desk, client, lines, early: BTreeMap::new(), asked: 0 };
        let reserved = visitor.reserved_until.is_some();
        conn.input(Input::Opened { conn: conn.client.conn, addr: visitor.addr, reserved })?;
        Ok(conn)
    }

    fn input(&self, input: Input) -> Result<(), Failure> {
        let ending = |_| Refusal::new(Code::Unavailable, "this server is stopping; ask another one");
        Ok(self.desk.inbox.send(input).map_err(ending)?)
    }

    /// The line that answers request `number`.
    fn line(&mut self, number: i64, deadline: Instant) -> Result<Arc<[u8]>, Refusal> {
        let mut lines = Vec::new();
        loop {
            self.lines.take(ANSWERS, &mut lines);
            self.early.extend(lines.drain(..).filter_map(|line| Some((request_id(&line)?, line))));
            if let Some(line) = self.early.remove(&number) {
                return Ok(line);
            }
            if self.lines.is_finished() {
                let reason = "the connection was ended before an answer; the outcome is unknown";
                return Err(Refusal::new(Code::Unavailable, reason));
            }
            if Instant::now() >= deadline {
                let reason = "no answer came in time; the outcome is unknown";
                return Err(Refusal::new(Code::Unavailable, reason));
            }
            self.lines.wait_until(deadline);
        }
    }
}

impl Ask for LocalSession<'_> {
    fn send(&mut self, msg_type: &str, data: Map<String, Value>) -> Result<i64, Failure> {
        let conn = &mut self.conn;
        conn.asked += 1;
        let envelope = Envelope {
            msg_type: msg_type.into(),
            sender_id: None,
            data,
            lamport_timestamp: 0,
            request_id: Some(RequestId::Number(conn.asked)),
        };
        // The bytes came over HTTP, which has limits of its own; here the requests count.
        conn.input(Input::Line { conn: conn.client.conn, line: Ok(envelope), bytes: 0 })?;
        Ok(conn.asked)
    }

    fn answer(&mut self, number: i64) -> Result<Map<String, Value>, Failure> {
        let deadline = Instant::now() + self.patience;
        let deadline = self.visitor.reserved_until.map_or(deadline, |until| deadline.min(until));
        read_answer(&self.conn.line(number, deadline)?)
    }

    fn reopen(&mut self, pause: Duration) -> bool {
        if Instant::now() + pause >= self.until {
            return false;
        }
        std::thread::sleep(pause);
        // Where this server is stopping there is nobody left to ask.
        LocalConn::open(self.conn.desk, self.visitor).map(|conn| self.conn = conn).is_ok()
    }
}

impl Drop for LocalConn<'_> {
    fn drop(&mut self) {
        self.client.cut();
        self.desk.context.clients.remove(self.client.conn);
        // Without a replica nobody needs to know.
        let _ = self.desk.inbox.send(Input::Closed { conn: self.client.conn });
    }
}

/// What an answer says: its `data`, or why there is none.
fn read_answer(line: &[u8]) -> Result<Map<String, Value>, Failure> {
    let unreadable =
        |error: String| Refusal::new(Code::Unavailable, format!("an answer that is none: {error}"));
    // Of most answers the fields are wanted as they are; only refusals have a meaning here.
    let envelope = Envelope::parse(line.trim_ascii_end()).map_err(|bad| unreadable(bad.refusal.reason))?;
    if !matches!(envelope.msg_type.as_str(), "nack" | "redirect") {
        return Ok(envelope.data);
    }
    match ServerMessage::parse(line.trim_ascii_end()).map_err(unreadable)?.content {
        Content::Nack(refusal) => Err(Failure::Refused(refusal)),
        Content::Redirect { host, tcp_port, .. } => Err(Failure::Moved { host, port: tcp_port }),
        _ => Err(unreadable("a redirect that names no server".into()).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::outgoing::Framing;

    fn line(text: &str) -> Arc<[u8]> {
        format!("{text}\n").into_bytes().into()
    }

    #[test]
    fn only_answers_are_kept() {
        let (sender, receiver) = mailbox(ANSWERS, &Bell::default());
        let answers = Answers(sender);
        let mut outgoing = Outgoing::new(Framing::Lines);
        outgoing.push_line(line(r#"{"msg_type":"chat","data":{"body":"\"request_id\":7"},"created_at":1}"#));
        outgoing.push_line(line(r#"{"msg_type":"ack","data":{},"created_at":1,"request_id":3}"#));
        outgoing.push_line(line(r#"{"msg_type":"server_list","data":{}}"#));
        answers.put(&mut outgoing).unwrap();
        assert!(outgoing.is_empty());
        answers.close();
        assert_eq!(receiver.receive().and_then(|line| request_id(&line)), Some(3));
        assert!(receiver.is_finished());
    }

    #[test]
    fn a_full_session_holds_the_fan_out_back_and_a_closed_one_ends_it() {
        let (sender, receiver) = mailbox(1, &Bell::default());
        let answers = Answers(sender);
        let mut outgoing = Outgoing::new(Framing::Lines);
        outgoing.push_line(line(r#"{"request_id":1}"#));
        outgoing.push_line(line(r#"{"request_id":2}"#));
        answers.put(&mut outgoing).unwrap();
        assert!(!outgoing.is_empty());
        assert_eq!(answers.put(&mut outgoing).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert!(receiver.receive().is_some());
        answers.put(&mut outgoing).unwrap();
        outgoing.push_line(line(r#"{"request_id":3}"#));
        drop(receiver);
        assert_eq!(answers.put(&mut outgoing).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn answers_are_read_for_what_they_are() {
        let ack = r#"{"msg_type":"ack","sender_id":"s","data":{"for":"x","file_id":"ab"},"request_id":1}"#;
        assert_eq!(read_answer(ack.as_bytes()).unwrap()["file_id"], "ab");
        let nack =
            r#"{"msg_type":"nack","data":{"for":"x","code":"forbidden","reason":"no","retryable":false}}"#;
        let refusal = Refusal::new(Code::Forbidden, "no");
        assert_eq!(read_answer(nack.as_bytes()), Err(Failure::Refused(refusal)));
        let redirect =
            r#"{"msg_type":"redirect","data":{"server_id":"b","host":"h","tcp_port":9,"reason":"r"}}"#;
        assert_eq!(read_answer(redirect.as_bytes()), Err(Failure::Moved { host: "h".into(), port: 9 }));
        assert!(matches!(read_answer(b"nonsense"), Err(Failure::Refused(_))));
    }
}
