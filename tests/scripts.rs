//! The scripts, run as a user runs them, in folders of their own.
#![cfg(unix)]

use std::{
    collections::BTreeSet,
    fs,
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use syncnet::admin::free_ports::free_base_ports;
use tempfile::TempDir;

/// A place for one cluster: its folders are temporary, its ports free ones, its programs those that cargo
/// built for the tests. What still runs in it when it is dropped is stopped.
struct Place {
    folder: TempDir,
    ports: Vec<u16>,
}

impl Place {
    fn new() -> Place {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let ports = free_base_ports(3).expect("free ports");
        let servers: Vec<_> = (0..3)
            .map(|position| {
                serde_json::json!({
                    "server_id": format!("server{}", position + 1), "host": "127.0.0.1",
                    "port": ports[position], "ring_position": position,
                })
            })
            .collect();
        let config = serde_json::json!({ "servers": servers }).to_string();
        fs::write(folder.path().join("config.json"), config).expect("a configuration can be written");
        Place { folder, ports }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A script with this place's settings, called from a folder that is not the project's.
    fn script(&self, name: &str) -> Command {
        let mut command = Command::new("bash");
        command
            .arg(scripts().join(name))
            .current_dir(self.folder.path())
            .env("SYNCNET_BIN_DIR", Path::new(env!("CARGO_BIN_EXE_syncnet-server")).parent().unwrap())
            .env("SYNCNET_CONFIG", self.path("config.json"))
            .env("SYNCNET_DATA_DIR", self.path("data"))
            .env("SYNCNET_LOG_DIR", self.path("logs"))
            .env("SYNCNET_RUN_DIR", self.path("run"))
            .env("SYNCNET_READY_TIMEOUT", "90")
            .stdin(Stdio::null());
        command
    }

    fn run(&self, name: &str, args: &[&str]) -> (i32, String) {
        said(&self.script(name).args(args).output().expect("bash runs"))
    }

    /// Repeats the status until its exit status is `wanted`.
    fn wait_for_status(&self, wanted: i32) -> String {
        let deadline = Instant::now() + Duration::from_secs(90);
        loop {
            let (status, text) = self.run("status_check.sh", &["simple"]);
            if status == wanted {
                return text;
            }
            if Instant::now() > deadline {
                let console = fs::read_to_string(self.path("logs/console.log")).unwrap_or_default();
                panic!("the status stays {status}: {text}\n{console}");
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.run("stop_all_servers.sh", &[]);
    }
}

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts")
}

/// The exit status, and all output.
fn said(output: &Output) -> (i32, String) {
    let text = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    (output.status.code().unwrap_or(-1), text.concat())
}

/// Kills a process, and waits until there is none with its id.
fn kill(pid: &str) {
    let signal =
        |name: &str| Command::new("kill").args([name, pid.trim()]).output().unwrap().status.success();
    assert!(signal("-KILL"), "{pid} does not run");
    let deadline = Instant::now() + Duration::from_secs(30);
    while signal("-0") {
        assert!(Instant::now() < deadline, "{pid} does not end");
    }
}

/// A process that is killed when the test ends, however it ends.
struct Bystander(Child);

impl Drop for Bystander {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Scripts without a Windows version: what they make or test is for Linux, or they need a tool that Windows
/// does not have.
const LINUX_ONLY: [&str; 9] = [
    "bench",
    "build_release",
    "make_base_images",
    "make_deb",
    "make_local_ca",
    "mutants",
    "test_compose",
    "test_package",
    "test_upgrade",
];

#[test]
fn every_script_has_its_twin() {
    let stems = |extension: &str| -> BTreeSet<String> {
        let files = fs::read_dir(scripts()).unwrap().map(|entry| entry.unwrap().path());
        files
            .filter(|path| path.extension().is_some_and(|found| found == extension))
            .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
            .filter(|stem| !LINUX_ONLY.contains(&stem.as_str()))
            .collect()
    };
    assert_eq!(stems("sh"), stems("bat"));
    assert!(stems("sh").len() >= 8);
}

/// A script's text.
fn text(name: &str) -> String {
    fs::read_to_string(scripts().join(name)).unwrap()
}

/// The lines of a script that contain `what`, from there on, without comment marks.
fn lines_with(name: &str, what: &str) -> BTreeSet<String> {
    let text = text(name);
    let lines = text.lines().filter_map(|line| line.find(what).map(|start| line[start..].trim().to_owned()));
    lines.map(|line| line.replace("common.bat", "common.sh")).collect()
}

/// No `.bat` can be run here, so at least the texts of both are compared.
#[test]
fn twins_say_and_take_the_same() {
    let settings = |name: &str| -> BTreeSet<String> {
        let explained = lines_with(name, "SYNCNET_");
        explained.into_iter().filter(|line| line.ends_with(']') && line.contains("  ")).collect()
    };
    assert_eq!(settings("common.sh"), settings("common.bat"), "the settings and their defaults");
    assert_eq!(settings("common.sh").len(), 9);
    for stem in ["start_all_servers", "stop_all_servers", "status_check"] {
        let said = |extension: &str| lines_with(&format!("{stem}.{extension}"), "Exit status:");
        assert_eq!(said("sh"), said("bat"), "{stem}");
        assert_eq!(said("sh").len(), usize::from(stem != "start_all_servers"));
    }
    for number in 1..=3 {
        let script = text(&format!("start_server{number}.bat"));
        for way in ["background", "foreground"] {
            assert!(script.contains(&format!("{way} server{number} %*")), "the server's options go to it");
        }
    }
    assert!(text("start_all_servers.bat").contains("background %%N %* || goto failed"));
    let common = text("common.bat");
    assert_eq!(common.matches(".pid') -Value $server.Id").count(), 1, "both ways write the PID file");
    assert_eq!(common.matches("goto launch").count(), 1);
    // Every check of one is a check of the other, but for those that need a shell.
    let checks = |name: &str| -> BTreeSet<String> {
        let text = text(name);
        let calls = text
            .split("cargo ")
            .skip(1)
            .filter_map(|rest| rest.split([';', '|', '>', '"', '%', '\n']).next());
        let is_check = |call: &&str| {
            // The steps of a shell script for the browser tests, which it leaves out if a tool is missing,
            // have no counterpart.
            let is_of_shell = ["install", "build", "--skip"].iter().any(|word| call.contains(word));
            call.contains("--check") || call.contains("--locked") && !is_of_shell
        };
        calls.filter(is_check).map(|call| call.trim().to_owned()).collect()
    };
    assert_eq!(checks("test.sh"), checks("test.bat"));
    assert_eq!(checks("test.sh").len(), 6, "{:?}", checks("test.sh"));
}

#[test]
fn a_misspelt_key_is_named_and_nobody_is_accused() {
    let place = Place::new();
    fs::write(place.path("config.json"), r#"{"limitz":{}}"#).unwrap();
    let (status, text) = place.run("start_all_servers.sh", &[]);
    assert_eq!(status, 1, "{text}");
    assert!(text.contains("limitz") && !text.contains("somebody answers"), "{text}");
    assert!(!place.path("data").exists(), "{text}");
}

#[test]
fn stopping_touches_nothing_but_the_servers() {
    let place = Place::new();
    fs::create_dir(place.path("run")).unwrap();
    // A process id that was given to another program since, even to one that answers like a server.
    let mut bystander = Bystander(
        Command::new("sh")
            .args(["-c", "read line; :", "x", "--server-id", "server1"])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    fs::write(place.path("run/server1.pid"), format!("{}\n", bystander.0.id())).unwrap();
    fs::write(place.path("run/server2.pid"), "-1\n").unwrap();
    fs::write(place.path("run/server3.pid"), "1; rm -rf x\n").unwrap();
    let (status, text) = place.run("stop_all_servers.sh", &[]);
    assert_eq!(status, 0, "{text}");
    assert!(text.contains("server1 does not run"), "{text}");
    assert_eq!(bystander.0.try_wait().unwrap(), None, "the bystander was stopped: {text}");
    assert!(!place.path("run/server1.pid").exists());
}

#[test]
fn a_missing_program_is_said_and_nothing_is_made() {
    let place = Place::new();
    let output = place.script("start_all_servers.sh").env("SYNCNET_BIN_DIR", place.path("none")).output();
    let (status, text) = said(&output.unwrap());
    assert_eq!(status, 1, "{text}");
    assert!(text.contains("there is no syncnet-server"), "{text}");
    assert!(!place.path("data").exists());
}

#[test]
fn a_wrong_word_is_a_usage_error() {
    for script in ["status_check.sh", "demo_scenarios.sh"] {
        let (status, text) = Place::new().run(script, &["twice"]);
        assert_eq!(status, 2, "{script}: {text}");
        assert!(text.contains("usage"), "{script}: {text}");
    }
}

#[test]
fn a_cluster_is_started_watched_hurt_and_stopped() {
    let place = Place::new();
    let (status, text) = place.run("start_all_servers.sh", &[]);
    assert_eq!(status, 0, "{text}");
    assert!(text.contains("Verdict: HEALTHY"), "{text}");
    assert!(text.contains(&format!("--server-port {}", place.ports[0])), "{text}");
    let console = fs::read_to_string(place.path("logs/console.log")).unwrap();
    assert!((1..=3).all(|number| console.contains(&format!("[server{number}] "))), "{console}");

    let secret = place.path("data/cluster.secret");
    assert_eq!(fs::metadata(&secret).unwrap().permissions().mode() & 0o777, 0o600);
    let secret = fs::read_to_string(secret).unwrap();
    assert!(secret.len() == 64 && secret.bytes().all(|byte| byte.is_ascii_hexdigit()), "{secret}");

    // Called again it starts nothing, and says how to connect.
    let pids = || {
        [1, 2, 3].map(|number| fs::read_to_string(place.path(&format!("run/server{number}.pid"))).unwrap())
    };
    let first = pids();
    let (status, text) = place.run("start_all_servers.sh", &[]);
    assert_eq!(status, 0, "{text}");
    assert!((1..=3).all(|number| text.contains(&format!("server{number} runs already"))), "{text}");
    assert!(text.contains(&format!("--server-port {}", place.ports[0])), "{text}");
    assert_eq!(pids(), first);
    let (status, text) = place.run("start_server2.sh", &[]);
    assert_eq!(status, 1, "{text}");
    assert!(text.contains("server2 runs already"), "{text}");

    // From another folder the same cluster counts as someone else's.
    let output =
        place.script("start_all_servers.sh").env("SYNCNET_RUN_DIR", place.path("elsewhere")).output();
    let (status, text) = said(&output.unwrap());
    assert_eq!(status, 1, "{text}");
    assert!(text.contains("another cluster answers on these ports already"), "{text}");

    kill(&first[0]);
    assert!(place.wait_for_status(1).starts_with("DEGRADED servers=2/3"));
    let (status, text) = place.run("start_server1.sh", &["--background", "--log-level", "debug"]);
    assert_eq!(status, 0, "{text}");
    assert!(place.wait_for_status(0).starts_with("HEALTHY servers=3/3 leader=server3"));

    // Those that do not run are started, and the one that runs goes on.
    let before = pids();
    for pid in [&before[1], &before[2]] {
        kill(pid);
    }
    let (status, text) = place.run("start_all_servers.sh", &["--log-level", "debug"]);
    assert_eq!(status, 0, "{text}");
    assert!(text.contains("server1 runs already") && text.matches("runs already").count() == 1, "{text}");
    assert!(text.contains("Verdict: HEALTHY"), "{text}");
    let after = pids();
    assert!(after[0] == before[0] && after[1] != before[1] && after[2] != before[2], "{before:?} {after:?}");

    let (status, text) = place.run("stop_all_servers.sh", &[]);
    assert_eq!(status, 0, "{text}");
    assert!((1..=3).all(|number| text.contains(&format!("server{number} has stopped"))), "{text}");
    assert!(place.wait_for_status(3).starts_with("DOWN"));
}

#[test]
fn a_server_that_cannot_be_started_does_not_stop_those_that_ran() {
    let place = Place::new();
    let (status, text) = place.run("start_server1.sh", &["--background"]);
    assert_eq!(status, 0, "{text}");
    let pid = fs::read_to_string(place.path("run/server1.pid")).unwrap();
    let taken = TcpListener::bind(("127.0.0.1", place.ports[2])).expect("the port was free a moment ago");
    let (status, text) = place.run("start_all_servers.sh", &[]);
    assert_eq!(status, 1, "{text}");
    assert!(text.contains("server1 runs already") && text.contains("server3 has ended"), "{text}");
    drop(taken);
    let (status, text) = place.run("start_all_servers.sh", &[]);
    assert_eq!(status, 0, "{text}");
    assert!(text.contains(&format!("server1 runs already as process {}.", pid.trim())), "{text}");
    assert_eq!(text.matches("runs already").count(), 1, "{text}");
}

#[test]
fn a_server_that_runs_though_its_pid_file_names_another_process_is_not_started_twice() {
    let place = Place::new();
    let (code, text) = place.run("start_all_servers.sh", &[]);
    assert_eq!(code, 0, "{text}");
    let pid_file = place.path("run/server1.pid");
    let pid = fs::read_to_string(&pid_file).unwrap();
    fs::write(&pid_file, std::process::id().to_string()).unwrap();
    let (code, text) = place.run("start_all_servers.sh", &[]);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("another cluster answers on these ports already"), "{text}");
    fs::write(&pid_file, pid).unwrap();
    let (code, text) = place.run("stop_all_servers.sh", &[]);
    assert_eq!(code, 0, "{text}");
}

#[test]
fn a_taken_port_is_named_and_nothing_is_left_running() {
    let place = Place::new();
    let port = place.ports[1];
    let _taken = TcpListener::bind(("127.0.0.1", port)).expect("the port was free a moment ago");
    let (status, text) = place.run("start_all_servers.sh", &[]);
    assert_eq!(status, 1, "{text}");
    assert!(text.contains("server2 has ended") && text.contains(&port.to_string()), "{text}");
    let (_, text) = place.run("stop_all_servers.sh", &[]);
    assert!(text.contains("No server runs here"), "{text}");
}

/// The demonstration checks what it shows: a client's whole life on a cluster with all kinds of faults.
#[test]
fn the_demonstration_holds() {
    let place = Place::new();
    let ports: Vec<String> = place.ports.iter().map(u16::to_string).collect();
    let output = place
        .script("demo_scenarios.sh")
        .env("SYNCNET_DEMO_PORTS", ports.join(" "))
        .env("SYNCNET_DEMO_PACE", "0")
        .env("TMPDIR", place.folder.path())
        .output();
    let (status, text) = said(&output.unwrap());
    assert_eq!(status, 0, "{text}");
    assert!(text.contains("Everything shown here was checked"), "{text}");
}
