//! A server that is configured by its environment, as in a container, and asked about itself.

use std::{
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use syncnet::admin::free_ports::free_base_ports;
use tempfile::TempDir;

/// A place for one server.
struct Place {
    folder: TempDir,
    port: u16,
}

impl Place {
    fn new() -> Place {
        let port = free_base_ports(1).expect("free ports")[0];
        Place { folder: tempfile::tempdir().expect("a temporary folder"), port }
    }

    /// A program with a clean environment, in which the server is one of `servers`.
    fn program(&self, program: &str, servers: &str) -> Command {
        let mut command = Command::new(program);
        let inherited = std::env::vars_os().map(|(name, _)| name);
        for name in inherited.filter(|name| name.to_string_lossy().starts_with("SYNCNET_")) {
            command.env_remove(name);
        }
        command
            .current_dir(self.folder.path())
            .env("SYNCNET_SERVER_ID", "only")
            .env("SYNCNET_SERVERS", servers)
            .env("SYNCNET_DATA_DIR", self.folder.path())
            .env("SYNCNET_LOG_DIR", self.folder.path().join("logs"))
            .env("SYNCNET_CONFIG", "")
            .stdin(Stdio::null());
        command
    }

    fn server(&self) -> Command {
        self.program(env!("CARGO_BIN_EXE_syncnet-server"), &format!("only=localhost:{}", self.port))
    }
}

/// A process that is killed when the test ends, however it ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// The exit status, and all output.
fn said(output: &Output) -> (Option<i32>, String) {
    let text = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    (output.status.code(), text.concat())
}

fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline, "waited for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_server_needs_no_command_line_and_tells_how_it_is() {
    let place = Place::new();
    let ask = |question: &str| said(&place.server().arg(question).output().expect("it can be run"));
    let (status, text) = ask("--health");
    assert!(status == Some(1) && text.contains("does not answer"), "nothing runs yet: {status:?} {text}");
    let quiet = |mut command: Command| command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let _server = Running(quiet(place.server()).expect("it can be run"));
    wait_for("the server to be healthy", || ask("--health").0 == Some(0));
    wait_for("the server to be ready", || ask("--ready").0 == Some(0));
    // The administrator's tool finds it in the same environment.
    let mut admin =
        place.program(env!("CARGO_BIN_EXE_syncnet-admin"), &format!("only=localhost:{}", place.port));
    let (status, text) = said(&admin.args(["status", "--simple"]).output().expect("it can be run"));
    assert!(status == Some(0) && text.contains("servers=1/1"), "{status:?} {text}");
}

#[test]
fn a_server_without_a_majority_is_healthy_and_not_ready() {
    let place = Place::new();
    let servers = format!("only=localhost:{},away=127.0.0.9:1", place.port);
    let server = || place.program(env!("CARGO_BIN_EXE_syncnet-server"), &servers);
    let ask = |question: &str| said(&server().arg(question).output().expect("it can be run"));
    let spawned = server().stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let _server = Running(spawned.expect("it can be run"));
    wait_for("the server to be healthy", || ask("--health").0 == Some(0));
    let (status, text) = ask("--ready");
    assert!(status == Some(1) && text.contains("started"), "{status:?} {text}");
}

#[test]
fn mistakes_in_the_environment_give_one_sentence_and_exit_status_2() {
    let place = Place::new();
    for (name, value, named) in [
        ("SYNCNET_SERVERS", "localhost:8000", "the variable SYNCNET_SERVERS has \"localhost:8000\" in it"),
        ("SYNCNET_SERVERS", "only=localhost", "host:port"),
        ("SYNCNET_SERVERS", "other=localhost:8000", "--server-id only is not among the servers (other)"),
        ("SYNCNET_SERVERS", "only=h:8000,only=i:8000", "two servers have the id only"),
        ("SYNCNET_SERVERS", "only=192.0.2.1:8000", "no cluster secret"),
        ("SYNCNET_SERVER_ID", "a b", "the variable SYNCNET_SERVER_ID has \"a b\" in it"),
        ("SYNCNET_CLIENT_ADDRESSES", "other=h:1", "SYNCNET_CLIENT_ADDRESSES) names other"),
        ("SYNCNET_BIND", "here", "the variable SYNCNET_BIND has \"here\" in it"),
        ("SYNCNET_CONFIG", "missing.json", "the configuration missing.json cannot be read"),
        ("SYNCNET_SECRET_FILE", "missing.secret", "the secret file missing.secret"),
        ("SYNCNET_DATA_DIR", "missing", "the data folder missing cannot be used"),
        ("SYNCNET_LOG_LEVEL", "loud", "the variable SYNCNET_LOG_LEVEL has \"loud\" in it"),
        ("SYNCNET_METRICS_LISTEN", "9464", "the variable SYNCNET_METRICS_LISTEN has \"9464\" in it"),
        ("SYNCNET_LOG_FORMAT", "xml", "the variable SYNCNET_LOG_FORMAT has \"xml\" in it"),
        (
            "SYNCNET_SERVRES",
            "only=localhost:1",
            "the variable SYNCNET_SERVRES is not known; SYNCNET_SERVERS is",
        ),
    ] {
        let output = place.server().env(name, value).output().expect("it can be run");
        let (status, text) = said(&output);
        assert_eq!(status, Some(2), "{name}={value}: {text}");
        assert!(text.contains(named), "{name}={value}: {text}");
        assert_eq!(text.trim_end().lines().count(), 1, "{name}={value}: {text}");
    }
}
