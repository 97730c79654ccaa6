//! Three NATS servers with JetStream as a peer: a stream of three replicas, and writers that wait for its
//! acknowledgements.
//!
//! The client's side of NATS (<https://docs.nats.io/reference/reference-protocols/nats-protocol>) as far as
//! it is needed: a publish with a reply subject, and the reply.

use std::{
    fs,
    io::{self, BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use syncnet::admin::free_ports::free_base_ports;

use super::{
    body::Bodies,
    connection::CallError,
    failure::{During, Failure},
    writers::{TIMEOUT, Writer},
};

/// How long the servers may take until the stream has a leader and all its replicas.
const READY_TIMEOUT: Duration = Duration::from_secs(40);
/// Pause between two tries while they get ready.
const READY_EVERY: Duration = Duration::from_millis(100);
const SERVERS: usize = 3;
const STREAM: &str = "chat";

/// When JetStream syncs what it has acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sync {
    /// Before it acknowledges (`sync_interval: always`), as SyncNet does.
    Always,
    /// Every two minutes, its default: a power cut loses what was acknowledged since.
    Default,
}

/// The servers of a cluster, killed when this is dropped, and their folder removed.
#[derive(Debug)]
pub struct NatsCluster {
    servers: Vec<Child>,
    /// Client ports on loopback.
    ports: Vec<u16>,
    folder: TempDir,
}

impl NatsCluster {
    /// Starts three servers of the program `binary`, and makes the stream.
    pub fn start(binary: &Path, sync: Sync) -> Result<NatsCluster, Failure> {
        let folder = TempDir::new().during("a temporary folder")?;
        let bases = free_base_ports(2 * SERVERS).during("free ports")?;
        let (ports, route_ports) = bases.split_at(SERVERS);
        let mut cluster = NatsCluster { servers: Vec::new(), ports: ports.to_vec(), folder };
        for number in 0..SERVERS {
            let config = server_config(cluster.folder.path(), sync, number, ports, route_ports);
            cluster.start_server(binary, number, &config).during(binary.display())?;
        }
        let deadline = Instant::now() + READY_TIMEOUT;
        loop {
            match cluster.make_stream() {
                Ok(true) => return Ok(cluster),
                Ok(false) | Err(_) if Instant::now() < deadline => thread::sleep(READY_EVERY),
                Ok(false) => {
                    return Err(Failure::new(format!(
                        "JetStream was not ready within {} s",
                        READY_TIMEOUT.as_secs()
                    )));
                }
                Err(error) => return Err(error.during("JetStream was not ready")),
            }
        }
    }

    fn start_server(&mut self, binary: &Path, number: usize, config: &str) -> io::Result<()> {
        let path = self.folder.path().join(format!("server{number}.conf"));
        fs::write(&path, config)?;
        let log = fs::File::create(self.folder.path().join(format!("server{number}.log")))?;
        let child = Command::new(binary)
            .arg("-c")
            .arg(path)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        self.servers.push(child);
        Ok(())
    }

    /// Whether the stream is there, led, and whole on all servers.
    fn make_stream(&self) -> Result<bool, Failure> {
        let config = json!({
            "name": STREAM, "subjects": [format!("{STREAM}.>")], "storage": "file", "num_replicas": SERVERS,
        });
        self.ask(&format!("$JS.API.STREAM.CREATE.{STREAM}"), &config.to_string())?;
        let info = self.ask(&format!("$JS.API.STREAM.INFO.{STREAM}"), "")?;
        let cluster = &info["cluster"];
        let replicas = cluster["replicas"].as_array().map_or(&[][..], Vec::as_slice);
        let current = replicas.iter().filter(|replica| replica["current"] == true).count();
        Ok(cluster["leader"].is_string() && current == SERVERS - 1)
    }

    fn ask(&self, subject: &str, data: &str) -> Result<Value, Failure> {
        let mut connection = NatsConnection::open(self.ports[0], "admin").during("NATS")?;
        let reply = connection.call(subject, "1", data.as_bytes()).during(subject)?;
        serde_json::from_slice(&reply).during("the reply is no JSON")
    }

    /// A writer with a subject of its own; they are spread over the servers in turn.
    pub fn writer(&self, number: usize, bodies: Bodies) -> Result<JetStreamWriter, CallError> {
        let lost = |error: io::Error| CallError::Lost(error.to_string());
        let connection =
            NatsConnection::open(self.ports[number % SERVERS], &number.to_string()).map_err(lost)?;
        Ok(JetStreamWriter { connection, subject: format!("{STREAM}.room{number}"), bodies })
    }
}

impl Drop for NatsCluster {
    fn drop(&mut self) {
        for server in &mut self.servers {
            // Nothing can be done about a process that cannot be killed; the others still must be.
            drop(server.kill());
            drop(server.wait());
        }
    }
}

fn server_config(folder: &Path, sync: Sync, number: usize, ports: &[u16], route_ports: &[u16]) -> String {
    let routes: Vec<_> = route_ports.iter().map(|port| format!("nats://127.0.0.1:{port}")).collect();
    let sync_interval = if sync == Sync::Always { "sync_interval: always" } else { "" };
    format!(
        "server_name: n{number}\nlisten: 127.0.0.1:{}\njetstream {{\n store_dir: \"{}/store{number}\"\n \
         max_file: 8G\n {sync_interval}\n}}\ncluster {{\n name: bench\n listen: 127.0.0.1:{}\n routes: [{}]\n}}\n",
        ports[number],
        folder.display(),
        route_ports[number],
        routes.join(", ")
    )
}

/// Publishes to the stream, and waits for the acknowledgement that says its place there.
#[derive(Debug)]
pub struct JetStreamWriter {
    connection: NatsConnection,
    subject: String,
    bodies: Bodies,
}

impl Writer for JetStreamWriter {
    fn write(&mut self, message: u64) -> Result<(), CallError> {
        let lost = |error: io::Error| CallError::Lost(error.to_string());
        let body = self.bodies.body(message);
        let reply =
            self.connection.call(&self.subject, &message.to_string(), body.as_bytes()).map_err(lost)?;
        // An error instead has no place in the stream.
        let has = |part: &[u8]| reply.windows(part.len()).any(|window| window == part);
        if has(b"\"seq\":") && !has(b"\"error\"") {
            Ok(())
        } else {
            Err(CallError::Lost(String::from_utf8_lossy(&reply).into_owned()))
        }
    }
}

/// A connection with one request under way at a time.
#[derive(Debug)]
struct NatsConnection {
    lines: BufReader<TcpStream>,
    /// The subject below which replies come.
    inbox: String,
}

impl NatsConnection {
    fn open(port: u16, name: &str) -> io::Result<NatsConnection> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        let inbox = format!("_INBOX.{name}");
        let hello = format!(
            "CONNECT {{\"verbose\":false,\"pedantic\":false,\"headers\":true,\"no_responders\":true}}\r\n\
             SUB {inbox}.* 1\r\n"
        );
        stream.write_all(hello.as_bytes())?;
        Ok(NatsConnection { lines: BufReader::new(stream), inbox })
    }

    /// The reply to what is published, without its headers.
    fn call(&mut self, subject: &str, token: &str, body: &[u8]) -> io::Result<Vec<u8>> {
        let reply_to = format!("{}.{token}", self.inbox);
        let mut request = format!("PUB {subject} {reply_to} {}\r\n", body.len()).into_bytes();
        request.extend_from_slice(body);
        request.extend_from_slice(b"\r\n");
        self.lines.get_mut().write_all(&request)?;
        loop {
            let mut line = String::new();
            if self.lines.read_line(&mut line)? == 0 {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the connection"));
            }
            let words: Vec<&str> = line.split_ascii_whitespace().collect();
            match words.as_slice() {
                ["PING"] => self.lines.get_mut().write_all(b"PONG\r\n")?,
                ["-ERR", ..] => return Err(io::Error::other(line)),
                // MSG subject sid size; HMSG subject sid header-size size.
                ["MSG" | "HMSG", to, .., size] => {
                    let size: usize = size.parse().map_err(|_| io::Error::other("a size is no number"))?;
                    let mut payload = vec![0; size + 2];
                    self.lines.read_exact(&mut payload)?;
                    payload.truncate(size);
                    if *to == reply_to {
                        return Ok(payload);
                    }
                }
                _ => {}
            }
        }
    }
}
