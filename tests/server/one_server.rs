//! A cluster of one server, in this process, on free ports.

use std::{
    fs,
    io::{self, BufRead, BufReader, Write},
    net::{Ipv4Addr, Shutdown, TcpStream},
    path::Path,
    time::Duration,
};

use clap::Parser;
use serde_json::{Value, json};
use syncnet::{
    admin::free_ports::free_base_ports,
    server::{config::Config, program::args::Args, run::Server},
};
use tempfile::TempDir;

/// How long anything may take before a test gives up. No result depends on it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A server that is its whole cluster; it stops when the test ends.
pub struct OneServer {
    server: Option<Server>,
    pub port: u16,
    pub folder: TempDir,
}

impl OneServer {
    /// Starts one with these `limits`, and waits until it leads.
    pub fn start(limits: Value) -> OneServer {
        OneServer::start_with(json!({ "limits": limits }))
    }

    /// Starts one with these sections in its configuration, and waits until it leads.
    pub fn start_with(sections: Value) -> OneServer {
        OneServer::start_in(tempfile::tempdir().unwrap(), sections)
    }

    /// The same with a secret, so that there are operators.
    pub fn start_with_secret(sections: Value) -> OneServer {
        let folder = tempfile::tempdir().unwrap();
        write_secret(&folder.path().join("cluster.secret"));
        OneServer::start_in(folder, sections)
    }

    fn start_in(folder: TempDir, sections: Value) -> OneServer {
        let (args, port) = arguments_with(&folder, sections);
        let config = Config::load(&args).unwrap();
        let one = OneServer { server: Some(Server::start(config).unwrap()), port, folder };
        let mut client = one.client();
        client
            .send(&json!({"msg_type": "ping", "sender_id": "first", "data": {"barrier": true}}).to_string());
        assert_eq!(client.read()["msg_type"], "pong");
        one
    }

    pub fn server(&self) -> &Server {
        self.server.as_ref().expect("it runs until it is stopped")
    }

    pub fn client(&self) -> Client {
        Client::connect(self.port)
    }

    /// Stops it; returns the threads that were late.
    pub fn stop(&mut self) -> Vec<String> {
        self.server.take().expect("it runs until it is stopped").stop()
    }
}

impl Drop for OneServer {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            server.stop();
        }
    }
}

/// The secret of a cluster, as only its owner may read it.
pub fn write_secret(path: &Path) {
    fs::write(path, "0123456789abcdef".repeat(4)).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    }
}

/// The command line and the port of a server that is its whole cluster, with its configuration in `folder`.
pub fn arguments(folder: &TempDir, limits: Value) -> (Args, u16) {
    arguments_with(folder, json!({ "limits": limits }))
}

/// The same, with these sections in the configuration.
fn arguments_with(folder: &TempDir, sections: Value) -> (Args, u16) {
    let port = free_base_ports(1).expect("a free port")[0];
    let mut config = json!({
        "servers": [{"server_id": "only", "host": "127.0.0.1", "port": port, "ring_position": 0}],
        // More than one, so that the way to the right one is tested as well.
        "threads": {"fan_out": 2, "query": 2},
    });
    for (section, value) in sections.as_object().expect("sections by their names") {
        config[section] = value.clone();
    }
    let path = folder.path().join("config.json");
    fs::write(&path, config.to_string()).unwrap();
    let mut args = Args::parse_from(["syncnet-server", "--server-id", "only"]);
    args.config = Some(path);
    args.data_dir = folder.path().into();
    args.log_dir = folder.path().join("logs");
    (args, port)
}

/// A client that speaks lines.
pub struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    /// Connects to a server of this machine.
    pub fn connect(port: u16) -> Self {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Client { stream: BufReader::new(stream) }
    }

    pub fn send(&mut self, line: &str) {
        self.send_bytes(format!("{line}\n").as_bytes()).unwrap();
    }

    pub fn send_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    pub fn close_half(&mut self) {
        self.stream.get_mut().shutdown(Shutdown::Write).unwrap();
    }

    /// The next line as text; `None` at the end of the connection.
    pub fn read_text(&mut self) -> Option<String> {
        let mut line = String::new();
        match self.stream.read_line(&mut line) {
            Ok(0) => None,
            Ok(_) => Some(line),
            // Whether unread data is lost depends on the system.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => None,
            Err(error) => panic!("{error}"),
        }
    }

    /// The next line as JSON; pushes to all clients about servers are skipped.
    pub fn read(&mut self) -> Value {
        loop {
            let line: Value = serde_json::from_str(&self.read_text().expect("a line")).unwrap();
            if line["msg_type"] != "server_list" {
                return line;
            }
        }
    }

    /// The `code` of the next line, which must be a nack.
    pub fn read_nack(&mut self) -> String {
        let line = self.read();
        assert_eq!(line["msg_type"], "nack", "{line}");
        line["data"]["code"].as_str().unwrap().to_owned()
    }

    /// Reads on to the answer to request `request_id`.
    pub fn answer(&mut self, request_id: u64) -> Value {
        loop {
            let line = self.read();
            if line["request_id"] == request_id {
                return line;
            }
        }
    }
}
