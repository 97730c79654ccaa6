//! The thread of one client connection: it reads, cuts into lines, takes each apart and hands it to the
//! replica. Answers are written by the fan-out, so this thread sleeps unless its client speaks.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, Shutdown, TcpStream},
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    protocol::{
        envelope::{BadEnvelope, Envelope},
        limits::{COMMIT_TIMEOUT_MS, FIRST_LINE_MS, RESERVED_MS},
        refusal::{Code, Refusal},
    },
    replica::io::Input,
};

use super::{
    clients::Client,
    context::Context,
    dialect::{self, Dialect},
    fan_out::FanOuts,
    framing::{Lines, TooLong},
    http,
    mailbox::Sender,
};

/// The stack of a client thread. The deepest thing on it is the JSON parser at its greatest nesting, which
/// `tests/server` sends it, unoptimised.
pub const STACK_BYTES: usize = 128 * 1024;
/// What is read at once. It lies on the stack of every connection.
pub const READ_BYTES: usize = 4 * 1024;
/// How long a connection that was refused here may take to read why.
const LINGER: Duration = Duration::from_secs(1);
/// A client that has closed its half gets the answers that are due. They are all there when the last request
/// was followed by something and then by nothing for so long.
const QUIET: Duration = Duration::from_millis(300);

/// What all client threads share.
pub struct Desk {
    /// To the replica. Full holds the reader back, and by TCP the client.
    pub inbox: Sender<Input>,
    /// To those who write: for control frames of WebSockets, which the replica knows nothing of.
    pub fan_outs: FanOuts,
    /// What all threads share.
    pub context: Arc<Context>,
}

/// Serves a connection until it ends. Whatever happens, a panic included, it is forgotten afterwards.
pub fn serve(desk: &Desk, client: Arc<Client>, stream: Arc<TcpStream>) {
    let patience_ms = if client.is_reserved() { RESERVED_MS } else { FIRST_LINE_MS };
    let deadline = Instant::now() + Duration::from_millis(patience_ms);
    let mut conversation = Conversation { desk, client, stream, deadline, is_open: false };
    if let Err(error) = conversation.run() {
        log::debug!("connection {} ended: {error}", conversation.client.conn.0);
    }
}

/// What one connection says, whatever its dialect.
pub struct Conversation<'a> {
    /// What all client threads share.
    pub desk: &'a Desk,
    /// The connection.
    pub client: Arc<Client>,
    /// Its socket.
    pub stream: Arc<TcpStream>,
    /// When its first request must be there.
    deadline: Instant,
    /// Whether the replica knows of it.
    is_open: bool,
}

impl Drop for Conversation<'_> {
    fn drop(&mut self) {
        self.client.cut();
        self.desk.context.clients.remove(self.client.conn);
        if self.is_open {
            // Without a replica nobody needs to know.
            let _ = self.desk.inbox.send(Input::Closed { conn: self.client.conn });
        }
    }
}

/// Who a connection comes from, before anything was said on it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Visitor {
    /// Where they are.
    pub addr: Option<IpAddr>,
    /// Until when an exchange over HTTP may take, where they have one of the places that are kept for operators
    /// and administrators.
    pub reserved_until: Option<Instant>,
}

/// The last line that a client has sent.
#[derive(Debug, Clone, Copy)]
struct LastLine {
    at: Instant,
    /// How often something had been written to the client by then.
    writes: u64,
}

/// The replica is gone, so the process is ending.
pub struct Ending;

impl From<Ending> for io::Error {
    fn from(_: Ending) -> Self {
        io::Error::other("the server is stopping")
    }
}

impl Conversation<'_> {
    fn run(&mut self) -> io::Result<()> {
        let deadline = self.deadline;
        let mut head = Vec::new();
        let dialect = loop {
            if let Some(dialect) = dialect::recognise(&head) {
                break dialect;
            }
            if head.iter().all(u8::is_ascii_whitespace) {
                // Blank lines count for nothing, however many there are.
                head.clear();
            }
            if read_until(&self.stream, deadline, &mut head)? == 0 {
                return Ok(());
            }
        };
        match dialect {
            Dialect::JsonLines => self.talk(deadline, &head),
            Dialect::Http => http::serve(self, deadline, head),
            Dialect::StatusProbe => match self.desk.context.shared.status() {
                Some(status) => self.say_and_close(status.line().as_bytes()),
                None => self.say_and_close(b"STARTING\n"),
            },
            Dialect::Unknown => {
                let refusal = Refusal::new(Code::BadJson, "this port speaks JSON, one object a line");
                self.say_and_close(&self.desk.context.shared.nack_line(refusal))
            }
        }
    }

    /// JSON lines, of which `head` are the first bytes.
    fn talk(&mut self, deadline: Instant, head: &[u8]) -> io::Result<()> {
        let mut lines = Lines::new(self.desk.context.config.replica.limits.line_bytes);
        let mut last = None;
        let mut more = head.to_vec();
        while !self.is_open {
            self.take(&mut lines, &more, &mut last)?;
            more.clear();
            if !self.is_open && read_until(&self.stream, deadline, &mut more)? == 0 {
                return Ok(());
            }
        }
        drop(more);
        self.stream.set_read_timeout(None)?;
        let mut buffer = [0; READ_BYTES];
        loop {
            let length = read(&self.stream, &mut buffer)?;
            if length == 0 {
                self.let_answers_out(last);
                return Ok(());
            }
            self.take(&mut lines, &buffer[..length], &mut last)?;
        }
    }

    /// Hands the lines that `bytes` complete to the replica. After the end has begun, throws them away.
    fn take(&mut self, lines: &mut Lines, bytes: &[u8], last: &mut Option<LastLine>) -> io::Result<()> {
        if self.client.is_closing() {
            return Ok(());
        }
        let mut result = Ok(());
        let framed = lines.feed(bytes, |line| {
            if result.is_ok() {
                *last = Some(LastLine { at: Instant::now(), writes: self.client.writes() });
                result = self.hand_over(Envelope::parse(line), line.len());
            }
        });
        result?;
        if framed == Err(TooLong) {
            let limit = self.desk.context.config.replica.limits.line_bytes;
            self.refuse(Refusal::new(Code::TooLarge, format!("a line is longer than {limit} bytes")))?;
            self.drain()?;
        }
        Ok(())
    }

    /// Who is at the other end, as far as that can be told from outside.
    pub fn visitor(&self) -> Visitor {
        let addr = self.stream.peer_addr().ok().map(|addr| addr.ip());
        Visitor { addr, reserved_until: self.client.is_reserved().then_some(self.deadline) }
    }

    /// Tells the replica of this connection, where it does not know of it.
    pub fn open(&mut self) -> Result<(), Ending> {
        if !self.is_open {
            let Visitor { addr, reserved_until } = self.visitor();
            let reserved = reserved_until.is_some();
            self.send(Input::Opened { conn: self.client.conn, addr, reserved })?;
            self.is_open = true;
        }
        Ok(())
    }

    /// Hands a request of so many bytes to the replica.
    pub fn hand_over(&mut self, line: Result<Envelope, BadEnvelope>, bytes: usize) -> Result<(), Ending> {
        self.open()?;
        self.send(Input::Line { conn: self.client.conn, line, bytes })
    }

    /// Hands to the replica what is no request at all. It answers in its turn.
    pub fn refuse(&mut self, refusal: Refusal) -> Result<(), Ending> {
        self.hand_over(Err(BadEnvelope { msg_type: String::new(), request_id: None, refusal }), 0)
    }

    fn send(&self, input: Input) -> Result<(), Ending> {
        self.desk.inbox.send(input).map_err(|_| Ending)
    }

    /// Throws away what still comes, until the fan-out has written the last line and ends the connection.
    pub fn drain(&self) -> io::Result<()> {
        let mut buffer = [0; READ_BYTES];
        while read(&self.stream, &mut buffer)? > 0 {}
        Ok(())
    }

    /// The client has closed its half. Waits, within bounds, until what it asked for is answered.
    fn let_answers_out(&self, last: Option<LastLine>) {
        let Some(last) = last else { return };
        let (mut writes, mut quiet_since) = (self.client.writes(), Instant::now());
        while last.at.elapsed() < Duration::from_millis(COMMIT_TIMEOUT_MS) && !self.client.is_closing() {
            if writes != last.writes && quiet_since.elapsed() >= QUIET {
                return;
            }
            std::thread::sleep(QUIET / 6);
            let mut byte = [0];
            if read(&self.stream, &mut byte).is_err() {
                // It has closed the other half, too.
                return;
            }
            let now_writes = self.client.writes();
            if now_writes != writes {
                (writes, quiet_since) = (now_writes, Instant::now());
            }
        }
    }

    fn say_and_close(&self, line: &[u8]) -> io::Result<()> {
        say_and_close(&self.stream, line)
    }
}

/// Reads what there is and appends it to `bytes`; an error when the deadline passes before.
pub fn read_until(stream: &TcpStream, deadline: Instant, bytes: &mut Vec<u8>) -> io::Result<usize> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(io::ErrorKind::TimedOut.into());
    }
    stream.set_read_timeout(Some(left))?;
    let mut buffer = [0; READ_BYTES];
    let length = read(stream, &mut buffer)?;
    bytes.extend_from_slice(&buffer[..length]);
    Ok(length)
}

/// Says a last line on a connection that nobody else writes to, and gives the other end time to read it.
fn say_and_close(mut stream: &TcpStream, line: &[u8]) -> io::Result<()> {
    stream.set_write_timeout(Some(LINGER))?;
    stream.write_all(line)?;
    linger(stream)
}

/// Ends a connection that nobody else writes to, and gives the other end time to read what was said: were it
/// closed with unread bytes in it, the last words might be lost.
pub fn linger(stream: &TcpStream) -> io::Result<()> {
    let deadline = Instant::now() + LINGER;
    stream.shutdown(Shutdown::Write)?;
    let mut buffer = [0; READ_BYTES];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        stream.set_read_timeout(Some(left))?;
        if read(stream, &mut buffer)? == 0 {
            return Ok(());
        }
    }
}

/// Reads once; a signal is no reason to fail.
pub fn read(mut stream: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match stream.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
