//! The containers of one compose project.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpStream},
    path::Path,
    process::{Command, Output},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{self, Signal},
    unistd::Pid,
};
use syncnet::{
    admin::{free_ports::free_base_ports, probe, target::Target},
    protocol::{Status, status::Role},
};

/// Longest wait for anything that should happen soon. Containers start and stop more slowly than processes.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// Pause between two checks of something that has not happened yet.
const LOOK_EVERY: Duration = Duration::from_millis(100);
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);
/// How far the state of a server under load may be behind and still count as caught up.
const NEARLY: u64 = 200;

/// A project of three servers. It is taken down with its volumes when this is dropped.
pub struct Cluster {
    /// The published client addresses.
    pub targets: Vec<Target>,
    project: String,
}

impl Cluster {
    /// Builds the image and starts the project.
    pub fn up() -> Cluster {
        let targets: Vec<Target> = (1..)
            .zip(free_base_ports(3).expect("free ports"))
            .map(|(number, port)| Target {
                server_id: Some(format!("server{number}")),
                host: "127.0.0.1".into(),
                port,
                trust: None,
            })
            .collect();
        let cluster = Cluster { targets, project: format!("syncnet-test-{}", std::process::id()) };
        cluster.compose(&["up", "--build", "--detach"]);
        cluster
    }

    /// Runs a command of Compose on this project.
    pub fn compose(&self, args: &[&str]) -> String {
        succeed(self.compose_command().args(args))
    }

    fn compose_command(&self) -> Command {
        let is_plugin = Command::new("docker").args(["compose", "version"]).output();
        let mut command = if is_plugin.is_ok_and(|output| output.status.success()) {
            let mut command = Command::new("docker");
            command.arg("compose");
            command
        } else {
            Command::new("docker-compose")
        };
        command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR"))).args(["--project-name", &self.project]);
        for (number, target) in (1..).zip(&self.targets) {
            command.env(format!("SYNCNET_PORT{number}"), target.port.to_string());
        }
        command
    }

    fn container(&self, server: usize) -> String {
        let ids = self.compose(&["ps", "--quiet", &name(server)]);
        // It may have stopped, and then some versions do not list it.
        if ids.trim().is_empty() {
            let label = format!("label=com.docker.compose.service={}", name(server));
            let project = format!("label=com.docker.compose.project={}", self.project);
            return docker(&["ps", "--all", "--quiet", "--filter", &label, "--filter", &project]);
        }
        ids.trim().to_owned()
    }

    /// What the engine knows of a server's container, in the given template.
    pub fn inspect(&self, server: usize, form: &str) -> String {
        docker(&["inspect", "--format", form, &self.container(server)])
    }

    /// The console output of a server.
    pub fn logs(&self, server: usize) -> String {
        let output = output(Command::new("docker").args(["logs", "--tail", "40", &self.container(server)]));
        said(&output)
    }

    /// Runs a program in a server's container; returns whether it succeeded, and what it said.
    pub fn exec(&self, server: usize, options: &[&str], program: &[&str]) -> (bool, String) {
        let mut command = Command::new("docker");
        let output = output(command.arg("exec").args(options).arg(self.container(server)).args(program));
        (output.status.success(), said(&output))
    }

    /// Asks a server about itself, as the engine does.
    pub fn says_yes(&self, server: usize, question: &str) -> bool {
        self.exec(server, &[], &["syncnet-server", question]).0
    }

    /// Kills the process of a container, as if it had crashed. The engine starts it again.
    pub fn kill(&self, server: usize) {
        let pid: i32 = self.inspect(server, "{{.State.Pid}}").parse().expect("a process id");
        assert!(pid > 1, "{} does not run", name(server));
        signal::kill(Pid::from_raw(pid), Signal::SIGKILL).expect("the engine is on this machine");
        self.wait_until("the engine to start the container again", |cluster| {
            let again = cluster.inspect(server, "{{.State.Pid}}");
            again != "0" && again != pid.to_string()
        });
    }

    fn network(&self) -> String {
        format!("{}_cluster", self.project)
    }

    /// Takes a server's container off its network. Its process goes on.
    pub fn disconnect(&self, server: usize) {
        docker(&["network", "disconnect", &self.network(), &self.container(server)]);
    }

    /// Puts it back, under its name.
    pub fn reconnect(&self, server: usize) {
        docker(&["network", "connect", "--alias", &name(server), &self.network(), &self.container(server)]);
    }

    /// The addresses of the servers on their network.
    pub fn addresses(&self) -> Vec<String> {
        let form = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
        (0..self.targets.len()).map(|server| self.inspect(server, form)).collect()
    }

    /// Waits until one leads and all others follow it as voters that have nearly caught up; gives its number.
    pub fn settle(&mut self) -> usize {
        self.settle_within(NEARLY)
    }

    /// As [`Cluster::settle`], and waits until all have applied everything.
    pub fn settle_fully(&mut self) -> usize {
        self.settle_within(0)
    }

    fn settle_within(&self, behind: u64) -> usize {
        self.wait_for("one leader that all others follow", || {
            let statuses: Vec<Status> = probe::ask_all(&self.targets, PROBE_TIMEOUT)
                .into_iter()
                .map(|seen| seen.outcome.ok())
                .collect::<Option<_>>()?;
            let leader = statuses.iter().position(|status| status.role == Role::Leader)?;
            let committed = statuses.iter().map(|status| status.commit_index).max()?;
            let fits = |(server, status): (usize, &Status)| {
                let role = if server == leader { Role::Leader } else { Role::Follower };
                status.role == role
                    && status.term == statuses[leader].term
                    && status.note.is_empty()
                    && status.peers.iter().all(|peer| peer.alive)
                    && status.applied_index + behind >= committed
            };
            statuses.iter().enumerate().all(fits).then_some(leader)
        })
    }

    /// Waits until something holds. `what` completes the sentence "waited for …".
    pub fn wait_until(&self, what: &str, holds: impl Fn(&Cluster) -> bool) {
        self.wait_for(what, || holds(self).then_some(()));
    }

    fn wait_for<T>(&self, what: &str, find: impl Fn() -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = find() {
                return found;
            }
            assert!(Instant::now() < deadline, "waited for {what}");
            thread::sleep(LOOK_EVERY);
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if thread::panicking() {
            let logs = self.compose_command().args(["logs", "--tail=60"]).output();
            eprintln!("{}", logs.map_or_else(|error| error.to_string(), |output| said(&output)));
        }
        // If something cannot be removed, it stays.
        let _ = self.compose_command().args(["down", "--volumes", "--timeout=5"]).output();
    }
}

/// The configured id of a server, counted from 0.
pub fn name(server: usize) -> String {
    format!("server{}", server + 1)
}

/// A server's answer to a browser on the host.
pub fn http_get(port: u16, path: &str) -> String {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("the port is published");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("the server reads");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("the server answers");
    String::from_utf8_lossy(&answer).into_owned()
}

fn docker(args: &[&str]) -> String {
    succeed(Command::new("docker").args(args))
}

/// Runs a command that must succeed, and gives what it wrote.
#[track_caller]
fn succeed(command: &mut Command) -> String {
    let output = output(command);
    assert!(output.status.success(), "{command:?}: {}", said(&output));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn output(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("{command:?} cannot be run: {error}"))
}

fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat()
}
