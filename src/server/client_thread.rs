//! The thread of one client connection: it cuts what it reads into lines, parses the request in each and
//! hands it to the replica. The fan-out writes the answers, so this thread sleeps unless its client speaks.
//!
//! After a request that logs in or carries a password, it reads nothing until that is answered. Meanwhile it
//! hashes what the replica tells it to (`server/credentials`).

use std::{
    io,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    json,
    protocol::{
        envelope::{BadRequest, RequestHead},
        limits::{COMMIT_TIMEOUT_MS, FIRST_LINE_MS, RESERVED_MS},
        refusal::{Code, Refusal},
        request::Request,
    },
    replica::io::Input,
};

use super::{
    backups::Backups,
    challenges::Challenges,
    clients::{Client, ReaderTask, Speaks},
    context::Context,
    credentials::Credentials,
    dialect::{self, Dialect},
    fan_out::FanOutQueues,
    framing::{Lines, TooLong},
    http,
    mailbox::Sender,
    proxies,
    reload::Reloader,
    stream::{READ_BYTES, Stream},
};

/// The stack of a client thread. The deepest thing on it is the JSON parser at its greatest nesting, which
/// `tests/server` sends it, unoptimised.
pub const STACK_BYTES: usize = 128 * 1024;
/// A client that has closed its half still gets its answers. They are taken as complete when something was
/// written after the last request and then nothing for this time.
const QUIET: Duration = Duration::from_millis(300);

/// How the thread of a connection reaches the rest of the server.
pub struct ServerHandle {
    /// To the replica. If it is full the reader waits, and through TCP the client.
    pub inbox: Sender<Input>,
    /// For control frames of WebSockets, which the replica knows nothing of.
    pub fan_outs: FanOutQueues,
    pub credentials: Arc<Credentials>,
    pub backups: Backups,
    /// How operators prove over HTTP that they are.
    pub challenges: Challenges,
    /// Reads the configuration again.
    pub reloader: Arc<Reloader>,
    pub context: Arc<Context>,
}

impl ServerHandle {
    /// Hands a request, or what is wrong with it, to the replica. If no request may overtake it, does the
    /// hashing that it needs and waits for the answer; at most until `deadline`, if there is one.
    pub fn hand_over(
        &self,
        client: &Client,
        (head, request): (RequestHead, Result<Request, BadRequest>),
        bytes: usize,
        deadline: Option<Instant>,
    ) -> Result<(), ServerStopping> {
        let conn = client.conn;
        let is_awaited = request.as_ref().is_ok_and(Request::is_awaited);
        self.send(Input::Request { conn, head, request, bytes })?;
        while is_awaited && let Some(ReaderTask::Work(job)) = client.next_task(deadline) {
            let done = self.credentials.work(job);
            self.send(Input::Credential { conn, done })?;
        }
        Ok(())
    }

    pub fn send(&self, input: Input) -> Result<(), ServerStopping> {
        self.inbox.send(input).map_err(|_| ServerStopping)
    }
}

/// Serves a connection until it ends. It is forgotten afterwards in any case, even after a panic.
pub fn serve(server: &ServerHandle, client: Arc<Client>, stream: Arc<Stream>) {
    let patience_ms = if client.is_reserved() { RESERVED_MS } else { FIRST_LINE_MS };
    let deadline = Instant::now() + Duration::from_millis(patience_ms);
    let addr = stream.peer().map(|addr| addr.to_canonical());
    let mut conversation = Conversation { server, client, addr, stream, deadline, is_open: false };
    if let Err(error) = conversation.run() {
        log::debug!("connection {} ended: {error}", conversation.client.conn.0);
    }
}

/// One connection, whatever its dialect.
pub struct Conversation<'a> {
    pub server: &'a ServerHandle,
    pub client: Arc<Client>,
    pub stream: Arc<Stream>,
    /// The client's address, from the socket or from a trusted proxy.
    addr: Option<IpAddr>,
    /// When its first request must be there.
    deadline: Instant,
    /// Whether the replica knows of the connection.
    is_open: bool,
}

impl Drop for Conversation<'_> {
    fn drop(&mut self) {
        self.client.cut();
        self.server.context.clients.remove(self.client.conn);
        if self.is_open {
            // Without a replica, no thread needs to know.
            let _ = self.server.send(Input::Closed { conn: self.client.conn });
        }
    }
}

/// The client of a connection, as far as it is known before any request.
#[derive(Debug, Clone, Copy, Default)]
pub struct ConnectionInfo {
    pub addr: Option<IpAddr>,
    /// When an exchange over HTTP must be done, if it has one of the places reserved for operators and
    /// administrators.
    pub reserved_until: Option<Instant>,
    /// Whether what they say is encrypted.
    pub is_encrypted: bool,
}

/// The last line that a client has sent, whole or too long.
#[derive(Debug, Clone, Copy)]
struct LastLine {
    at: Instant,
    /// How often something had been written to the client by then.
    writes: u64,
}

/// The replica is gone, so the process is ending.
pub struct ServerStopping;

impl From<ServerStopping> for io::Error {
    fn from(_: ServerStopping) -> Self {
        io::Error::other("the server is stopping")
    }
}

impl Conversation<'_> {
    fn run(&mut self) -> io::Result<()> {
        let deadline = self.deadline;
        let mut head = Vec::new();
        if !self.hear_proxy(&mut head)? {
            return Ok(());
        }
        let dialect = loop {
            match dialect::recognise(&head) {
                Some(Dialect::Tls) if self.begin_tls(&head)? => head.clear(),
                Some(dialect) => break dialect,
                None => {}
            }
            if head.iter().all(u8::is_ascii_whitespace) {
                // Blank lines are skipped, however many there are.
                head.clear();
            }
            if self.stream.read_until(deadline, &mut head)? == 0 {
                if head.is_empty() {
                    return Ok(());
                }
                // No further byte can make it one of the others.
                break Dialect::Unknown;
            }
        };
        let must_encrypt = self.server.context.config().tls_required && !self.stream.is_encrypted();
        match dialect {
            Dialect::Http => {
                self.client.speak(Speaks::Http);
                http::serve(self, deadline, head)
            }
            _ if must_encrypt => {
                self.refuse_all(Code::Forbidden, "this server speaks TLS only; connect with --tls")
            }
            Dialect::JsonLines => {
                self.client.speak(Speaks::JsonLines);
                self.talk(deadline, &head)
            }
            Dialect::StatusProbe => match self.server.context.shared.status() {
                Some(status) => self.stream.say_and_close(status.line().as_bytes()),
                None => self.stream.say_and_close(b"STARTING\n"),
            },
            Dialect::Tls => self.refuse_all(Code::BadJson, "this port does not speak TLS"),
            Dialect::Unknown => self.refuse_all(Code::BadJson, "this port speaks JSON, one object a line"),
        }
    }

    /// Says why nothing is accepted here, and ends the connection.
    fn refuse_all(&self, code: Code, reason: &str) -> io::Result<()> {
        self.stream.say_and_close(&self.server.context.turn_away(Refusal::new(code, reason)))
    }

    /// Goes on inside TLS, which the client begins with `head`. `false` if it cannot: there is no
    /// certificate, or the connection is encrypted already.
    fn begin_tls(&self, head: &[u8]) -> io::Result<bool> {
        let config = self.server.context.config();
        let Some(certificates) = &config.certificates else { return Ok(false) };
        if self.stream.is_encrypted() {
            return Ok(false);
        }
        let refused = &self.server.context.metrics.certificates_refused;
        let connection = certificates.connection(refused).map_err(io::Error::other)?;
        self.stream.speak_tls(connection, head)?;
        Ok(true)
    }

    /// Lets a trusted proxy say for whom it speaks. Returns whether the connection goes on.
    fn hear_proxy(&mut self, head: &mut Vec<u8>) -> io::Result<bool> {
        let is_trusted = |addr| self.server.context.config().trusted_proxies.contains(addr);
        if !self.addr.is_some_and(is_trusted) {
            return Ok(true);
        }
        loop {
            match proxies::read(head) {
                proxies::ProxyHeader::Nothing => return Ok(true),
                proxies::ProxyHeader::Incomplete => {
                    if self.stream.read_until(self.deadline, head)? == 0 {
                        return Ok(false);
                    }
                }
                proxies::ProxyHeader::Client(addr, length) => {
                    head.drain(..length);
                    let Some(refusal) = addr.and_then(|addr| self.comes_from(addr).err()) else {
                        return Ok(true);
                    };
                    self.stream.say_and_close(&self.server.context.turn_away(refusal))?;
                    return Ok(false);
                }
                proxies::ProxyHeader::Malformed => {
                    let refusal =
                        Refusal::new(Code::BadJson, "the header of the PROXY protocol is malformed");
                    self.stream.say_and_close(&self.server.context.turn_away(refusal))?;
                    return Ok(false);
                }
            }
        }
    }

    /// A trusted proxy gives the client's address. Refused if there are too many connections from there.
    pub fn comes_from(&mut self, addr: IpAddr) -> Result<(), Refusal> {
        if self.addr == Some(addr) {
            return Ok(());
        }
        self.addr = Some(addr);
        if self.server.context.clients.comes_from(self.client.conn, addr) {
            return Ok(());
        }
        Err(Refusal::new(Code::Overloaded, "there are too many connections from this address"))
    }

    /// JSON lines, of which `head` are the first bytes.
    fn talk(&mut self, deadline: Instant, head: &[u8]) -> io::Result<()> {
        let mut lines = Lines::new(self.server.context.config().replica.limits.line_bytes);
        let mut last = None;
        let mut more = head.to_vec();
        while !self.is_open {
            self.take(&mut lines, &more, &mut last)?;
            more.clear();
            if !self.is_open && self.stream.read_until(deadline, &mut more)? == 0 {
                return Ok(());
            }
        }
        drop(more);
        self.stream.read_without_deadline()?;
        let mut buffer = [0; READ_BYTES];
        loop {
            let length = self.stream.read(&mut buffer)?;
            if length == 0 {
                self.let_answers_out(last);
                return Ok(());
            }
            self.take(&mut lines, &buffer[..length], &mut last)?;
        }
    }

    /// Hands the lines that `bytes` complete to the replica. Drops them if the connection is closing.
    fn take(&mut self, lines: &mut Lines, bytes: &[u8], last: &mut Option<LastLine>) -> io::Result<()> {
        if self.client.is_closing() {
            return Ok(());
        }
        let mut result = Ok(());
        let framed = lines.feed(bytes, |line| {
            if result.is_ok() {
                *last = Some(LastLine { at: Instant::now(), writes: self.client.writes() });
                result = self.hand_over(line);
            }
        });
        result?;
        if framed == Err(TooLong) {
            let limit = self.server.context.config().replica.limits.line_bytes;
            *last = Some(LastLine { at: Instant::now(), writes: self.client.writes() });
            self.refuse(Refusal::new(Code::TooLarge, format!("a line is longer than {limit} bytes")))?;
            self.drain()?;
        }
        Ok(())
    }

    /// The client's address, and what else is known before any login.
    pub fn info(&self) -> ConnectionInfo {
        ConnectionInfo {
            addr: self.addr,
            reserved_until: self.client.is_reserved().then_some(self.deadline),
            is_encrypted: self.stream.is_encrypted(),
        }
    }

    /// Tells the replica of this connection, if it does not know of it.
    pub fn open(&mut self) -> Result<(), ServerStopping> {
        if !self.is_open {
            let ConnectionInfo { addr, reserved_until, .. } = self.info();
            let reserved = reserved_until.is_some();
            self.server.send(Input::Opened { conn: self.client.conn, addr, reserved })?;
            self.is_open = true;
        }
        Ok(())
    }

    /// Reads a request in JSON and hands it to the replica. A request that no other may overtake has been
    /// answered when this returns.
    pub fn hand_over(&mut self, line: &[u8]) -> Result<(), ServerStopping> {
        self.open()?;
        let request = json::read_request(line, &self.server.context.config().replica.limits);
        self.server.hand_over(&self.client, request, line.len(), None)
    }

    /// Hands the refusal of what is no request to the replica, which answers it in its turn.
    pub fn refuse(&mut self, refusal: Refusal) -> Result<(), ServerStopping> {
        self.open()?;
        let request = (RequestHead::default(), Err(BadRequest::Envelope(refusal)));
        self.server.hand_over(&self.client, request, 0, None)
    }

    /// Throws away what still comes, until the fan-out has written the last line and ends the connection.
    pub fn drain(&self) -> io::Result<()> {
        let mut buffer = [0; READ_BYTES];
        while self.stream.read(&mut buffer)? > 0 {}
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
            if self.stream.read(&mut byte).is_err() {
                // It has closed the other half, too.
                return;
            }
            let now_writes = self.client.writes();
            if now_writes != writes {
                (writes, quiet_since) = (now_writes, Instant::now());
            }
        }
    }
}
