//! The program: its exit status and the one sentence that goes with it.

use std::{
    fs,
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    process::{Child, Command, Output, Stdio},
    time::Instant,
};

use serde_json::json;
use tempfile::TempDir;

use crate::{
    one_server::{PATIENCE, arguments},
    reload::change,
};

/// A command that runs the program on `folder`, and the server's port.
fn program(folder: &TempDir) -> (Command, u16) {
    let (args, port) = arguments(folder, json!({}));
    let mut command = Command::new(env!("CARGO_BIN_EXE_syncnet-server"));
    command
        .args(["--server-id", "only"])
        .arg("--config")
        .arg(args.config.unwrap())
        .arg("--data-dir")
        .arg(&args.data_dir)
        .arg("--log-dir")
        .arg(&args.log_dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    (command, port)
}

/// Asserts that the program ended with status 2 and exactly one line on stderr that contains `named`.
fn assert_cannot_start(output: &Output, named: &str) {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{errors}");
    assert!(errors.contains(named) && errors.lines().count() == 1, "{errors}");
}

#[test]
fn test_mode_checks_everything_and_ends_well() {
    let folder = tempfile::tempdir().unwrap();
    let output = program(&folder).0.arg("--test-mode").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    for what in ["listens on", "database", "threads run", "client is answered", "threads have stopped"] {
        assert!(said.lines().any(|line| line.starts_with("ok: ") && line.contains(what)), "{what}: {said}");
    }
    assert!(fs::read_to_string(folder.path().join("logs/server_only.log")).unwrap().contains("listens on"));
}

#[test]
fn what_cannot_start_says_why_in_one_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let (mut command, port) = program(&folder);
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, port + 30)).unwrap();
    assert_cannot_start(&command.output().unwrap(), &format!("127.0.0.1:{}", port + 30));
    drop(taken);
    fs::write(folder.path().join("config.json"), r#"{"timing":{"hartbeat_ms":1}}"#).unwrap();
    assert_cannot_start(&command.output().unwrap(), "timing.hartbeat_ms");
    fs::remove_file(folder.path().join("config.json")).unwrap();
    assert_cannot_start(&command.output().unwrap(), "config.json");
}

/// A server that runs; killed when the test ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(command: &mut Command, port: u16) -> Running {
    let running = Running(command.spawn().unwrap());
    let deadline = Instant::now() + PATIENCE;
    // The port is open a moment before the data folder is locked.
    while !answers(port) {
        assert!(Instant::now() < deadline, "the server does not come up");
    }
    running
}

fn answers(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else { return false };
    let mut line = String::new();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"STATUS_REQUEST\n").is_ok()
        && stream.read_to_string(&mut line).is_ok()
        && !line.is_empty()
}

/// A connection is a thread of its own, so whatever is kept for each thread is kept for each connection: an
/// allocator's cache can be ten times all the rest.
#[cfg(target_os = "linux")]
#[test]
fn an_idle_connection_costs_little_memory() {
    const CONNECTIONS: u64 = 200;
    let folder = tempfile::tempdir().unwrap();
    let (mut command, port) = program(&folder);
    let running = start(&mut command, port);
    let resident_kib = || {
        let status = fs::read_to_string(format!("/proc/{}/status", running.0.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it runs");
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
    };
    // Each was answered once, so its threads have begun.
    let connect = || {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(b"{\"msg_type\":\"ping\",\"sender_id\":\"idle\"}\n").unwrap();
        stream.read_exact(&mut [0; 16]).unwrap();
        stream
    };
    let mut connections: Vec<TcpStream> = (0..20).map(|_| connect()).collect();
    let before = resident_kib();
    connections.extend((0..CONNECTIONS).map(|_| connect()));
    let each = resident_kib().saturating_sub(before) / CONNECTIONS;
    assert!(each < 100, "an idle connection costs {each} KiB");
}

#[test]
fn a_second_process_on_one_data_folder_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (mut first, port) = program(&folder);
    let _running = start(&mut first, port);
    // The same data under other ports.
    let (mut second, _) = program(&folder);
    assert_cannot_start(&second.output().unwrap(), "in use");
}

#[test]
fn logs_are_lines_of_json_if_that_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let (mut command, _) = program(&folder);
    let output = command.args(["--log-format", "json", "--test-mode"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let console = String::from_utf8(output.stdout).unwrap();
    let file = fs::read_to_string(folder.path().join("logs/server_only.log")).unwrap();
    // The self-test writes lines for people.
    let records = console.lines().filter(|line| !line.starts_with("ok: ")).chain(file.lines());
    let mut said = Vec::new();
    for record in records {
        let record: serde_json::Value = serde_json::from_str(record).expect(record);
        assert_eq!(record["server_id"], "only");
        assert!(record["level"].is_string() && record["thread"].is_string(), "{record}");
        said.push(record["text"].as_str().unwrap().to_owned());
    }
    assert!(said.iter().filter(|text| text.contains("listens on")).count() >= 8, "{said:?}");
}

#[cfg(unix)]
#[test]
fn a_signal_stops_it_in_order() {
    use nix::{
        sys::signal::{Signal, kill},
        unistd::Pid,
    };
    let folder = tempfile::tempdir().unwrap();
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let (mut command, port) = program(&folder);
        let mut running = start(&mut command, port);
        kill(Pid::from_raw(running.0.id().try_into().unwrap()), signal).unwrap();
        let status = running.0.wait().unwrap();
        let mut said = String::new();
        running.0.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        assert_eq!(status.code(), Some(0), "{said}");
        assert!(said.contains("has stopped"), "{said}");
    }
}

/// Sends a signal to a server that runs.
#[cfg(unix)]
fn signal(running: &Running, signal: nix::sys::signal::Signal) {
    let pid = nix::unistd::Pid::from_raw(running.0.id().try_into().unwrap());
    nix::sys::signal::kill(pid, signal).unwrap();
}

#[cfg(unix)]
#[test]
fn a_hangup_reloads_the_configuration_and_ends_nothing() {
    use nix::sys::signal::Signal;

    let folder = tempfile::tempdir().unwrap();
    let (mut command, port) = program(&folder);
    let mut running = start(&mut command, port);
    let log = folder.path().join("logs/server_only.log");
    let wait_for = |words: &str| {
        let deadline = Instant::now() + PATIENCE;
        while !fs::read_to_string(&log).unwrap().contains(words) {
            assert!(Instant::now() < deadline, "{words}: {}", fs::read_to_string(&log).unwrap());
            std::thread::yield_now();
        }
    };
    change(folder.path(), |config| config["log"] = json!({"level": "debug", "files": 7}));
    signal(&running, Signal::SIGHUP);
    wait_for("reloaded: log.level was \"INFO\" and is \"DEBUG\"");
    wait_for("log.files was 5 and is 7; restart the server to use that");
    // The new level counts.
    drop(TcpStream::connect((Ipv4Addr::LOCALHOST, port + 30)).unwrap());
    wait_for("[DEBUG]");
    change(folder.path(), |config| config["log"] = json!({"level": "loud"}));
    signal(&running, Signal::SIGHUP);
    wait_for("the configuration was not reloaded, and the one from before stays in use");
    assert!(answers(port));
    signal(&running, Signal::SIGTERM);
    assert_eq!(running.0.wait().unwrap().code(), Some(0));
}
