//! A connection of the replica whose answers go to a thread of this server instead of a socket.
//!
//! An HTTP exchange that needs the chat opens one and speaks ordinary requests on it, so limits and rights
//! stay in one place, and the replica and the fan-out treat it like any connection.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    protocol::{
        Answer, Code, Refusal, Request, RequestId, RoomId,
        answer::Redirect,
        envelope::{BadRequest, RequestHead},
        limits::COMMIT_TIMEOUT_MS,
        request::Answered,
        said::Said,
    },
    replica::io::Input,
};

use super::{
    Client,
    answers::{ANSWERS, answers, number},
    connection_info::ConnectionInfo,
};
use crate::server::{
    machine::mailbox::Receiver,
    server_handle::{ServerHandle, ServerStopping},
};

/// How long an answer is waited for. A write is answered by then, committed or not.
pub const ANSWER_WITHIN: Duration = Duration::from_millis(COMMIT_TIMEOUT_MS + 2_000);

/// Why a request was not carried out.
#[derive(Debug, Clone, PartialEq)]
pub enum Failure {
    /// It was refused, or not answered.
    Refused(Refusal),
    /// Another server takes it.
    Moved { host: String, port: u16 },
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Failure::Refused(refusal)
    }
}

impl From<ServerStopping> for Failure {
    fn from(_: ServerStopping) -> Self {
        Refusal::new(Code::Unavailable, "this server is stopping; ask another one").into()
    }
}

/// Sends requests to the chat: to a server, or in tests to a small copy of one.
pub trait ChatSession {
    /// Sends a request, and gives the number that its answer will have. Requests that change something are
    /// carried out in the order in which they are sent.
    fn send(&mut self, request: Request) -> Result<i64, Failure> {
        self.send_in(None, request)
    }

    /// The same, if the request is about the room of this number, whatever that is called.
    fn send_in(&mut self, room: Option<RoomId>, request: Request) -> Result<i64, Failure>;

    /// Waits for the answer to a request, if it is carried out.
    fn answer(&mut self, number: i64) -> Result<Answer, Failure>;

    /// Waits for `pause` and opens a new session, on which nothing was said yet. Requests without an answer
    /// may have been carried out, and get none any more. `false` if no time is left for it.
    fn reopen(&mut self, pause: Duration) -> bool;
}

/// Sends a request and waits for its answer.
pub fn ask<R: Answered>(session: &mut dyn ChatSession, request: R) -> Result<R::Answer, Failure> {
    ask_in(session, None, request)
}

/// The same, if the request is about the room of this number, whatever that is called.
pub fn ask_in<R: Answered>(
    session: &mut dyn ChatSession,
    room: Option<RoomId>,
    request: R,
) -> Result<R::Answer, Failure> {
    let number = session.send_in(room, request.into())?;
    wait(session, number)
}

pub fn wait<A: TryFrom<Answer, Error = Answer>>(
    session: &mut dyn ChatSession,
    number: i64,
) -> Result<A, Failure> {
    let other = |answer: Answer| {
        let reason = format!("a {} is no answer to this", answer.msg_type());
        Failure::from(Refusal::new(Code::Unavailable, reason))
    };
    A::try_from(session.answer(number)?).map_err(other)
}

/// A session on behalf of a visitor. It is closed when it is dropped.
pub struct LocalSession<'a> {
    info: ConnectionInfo,
    patience: Duration,
    /// It may be opened anew until then.
    until: Instant,
    conn: LocalConn<'a>,
}

impl<'a> LocalSession<'a> {
    /// Opens one on this server, on behalf of a visitor. Each answer may take as long as `patience`.
    pub fn open(server: &'a ServerHandle, info: ConnectionInfo, patience: Duration) -> Result<Self, Failure> {
        let conn = LocalConn::open(server, info)?;
        Ok(LocalSession { info, patience, until: Instant::now(), conn })
    }

    /// Lets it be opened anew until then.
    pub fn reopening_until(self, until: Instant) -> Self {
        LocalSession { until, ..self }
    }

    /// When what is asked now must be answered.
    fn deadline(&self) -> Instant {
        let deadline = Instant::now() + self.patience;
        self.info.reserved_until.map_or(deadline, |until| deadline.min(until))
    }
}

/// A connection to the replica that no socket belongs to.
struct LocalConn<'a> {
    server: &'a ServerHandle,
    client: Arc<Client>,
    answers: Receiver<Arc<Said>>,
    /// Answers that came before they were waited for.
    early: BTreeMap<i64, Arc<Said>>,
    asked: i64,
}

impl<'a> LocalConn<'a> {
    fn open(server: &'a ServerHandle, info: ConnectionInfo) -> Result<Self, Failure> {
        let (sink, answers) = answers();
        let client = server.context.clients.add_local(sink);
        let conn = LocalConn { server, client, answers, early: BTreeMap::new(), asked: 0 };
        let reserved = info.reserved_until.is_some();
        server.send(Input::Opened { conn: conn.client.conn, addr: info.addr, reserved })?;
        Ok(conn)
    }

    /// The answer to request `asked`.
    fn answer(&mut self, asked: i64, deadline: Instant) -> Result<Answer, Refusal> {
        let mut answers = Vec::new();
        loop {
            self.answers.take(ANSWERS, &mut answers);
            self.early.extend(answers.drain(..).filter_map(|said| Some((number(&said)?, said))));
            if let Some((_, answer)) = self.early.remove(&asked).and_then(Said::into_answer) {
                return Ok(answer);
            }
            if self.answers.is_finished() {
                let reason = "the connection was ended before an answer; the outcome is unknown";
                return Err(Refusal::new(Code::Unavailable, reason));
            }
            if Instant::now() >= deadline {
                let reason = "no answer came in time; the outcome is unknown";
                return Err(Refusal::new(Code::Unavailable, reason));
            }
            self.answers.wait_until(deadline);
        }
    }
}

impl ChatSession for LocalSession<'_> {
    fn send_in(&mut self, room: Option<RoomId>, request: Request) -> Result<i64, Failure> {
        let deadline = self.deadline();
        let conn = &mut self.conn;
        conn.asked += 1;
        let request_id = Some(RequestId::Number(conn.asked));
        let msg_type = request.msg_type().into();
        let head = RequestHead { msg_type, request_id, room_id: room, ..RequestHead::default() };
        let checked = request.check(&conn.server.context.config().replica.limits);
        let request = checked.map(|()| request).map_err(BadRequest::Fields);
        // The bytes came over HTTP, which has its own limits. Only the requests are counted here.
        conn.server.hand_over(&conn.client, (head, request), 0, Some(deadline))?;
        Ok(conn.asked)
    }

    fn answer(&mut self, number: i64) -> Result<Answer, Failure> {
        let deadline = self.deadline();
        match self.conn.answer(number, deadline)? {
            Answer::Nack(refusal) => Err(Failure::Refused(refusal)),
            Answer::Redirect(Redirect { host, tcp_port, .. }) => Err(Failure::Moved { host, port: tcp_port }),
            answer => Ok(answer),
        }
    }

    fn reopen(&mut self, pause: Duration) -> bool {
        if Instant::now() + pause >= self.until {
            return false;
        }
        std::thread::sleep(pause);
        // If this server is stopping, no thread is left to ask.
        LocalConn::open(self.conn.server, self.info).map(|conn| self.conn = conn).is_ok()
    }
}

impl Drop for LocalConn<'_> {
    fn drop(&mut self) {
        self.client.cut();
        self.server.context.clients.remove(self.client.conn);
        // Without a replica, no thread needs to know.
        let _ = self.server.send(Input::Closed { conn: self.client.conn });
    }
}
