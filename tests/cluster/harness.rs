//! A cluster of real server processes in a temporary folder.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs,
    os::unix::{fs::PermissionsExt, process::ExitStatusExt},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use data_encoding::HEXLOWER;
use nix::{
    sys::signal::{self, Signal},
    unistd::Pid,
};
use parking_lot::{Mutex, MutexGuard};
use serde_json::{Value, json};
use syncnet::{
    admin::{free_ports::free_base_ports, probe, target::Target},
    protocol::{Status, status::Role},
};
use tempfile::TempDir;

/// One story at a time.
static TURN: Mutex<()> = parking_lot::const_mutex(());

/// A story's turn: no other one plays until this is dropped.
pub struct Turn(#[expect(dead_code, reason = "it is held")] MutexGuard<'static, ()>);

impl Turn {
    pub fn take() -> Turn {
        Turn(TURN.lock())
    }
}

/// Longest wait for anything that should happen soon. A test that hangs this long has failed.
pub const PATIENCE: Duration = Duration::from_secs(40);
/// Pause between two checks of something that has not happened yet.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// A server that says nothing for this long is skipped in a look; it may be frozen.
const PROBE_TIMEOUT: Duration = Duration::from_millis(400);
/// How far the state of a server under load may be behind and still count as caught up.
const NEARLY: u64 = 200;

/// The servers `server1`, `server2`, … with ascending ring positions. All are killed when this is dropped;
/// then the folder is removed, unless the test has failed.
pub struct Cluster {
    /// The client addresses, by ring position.
    pub targets: Vec<Target>,
    folder: Option<TempDir>,
    servers: Vec<Option<Child>>,
    /// The servers whose data the story has damaged.
    spoilt: BTreeSet<usize>,
    /// The programs of servers that run another one than the tree's.
    programs: BTreeMap<usize, PathBuf>,
    _turn: Turn,
}

impl Cluster {
    /// Starts this many servers with the default configuration and waits until they have settled.
    pub fn start(servers: usize) -> Cluster {
        Cluster::start_with(servers, json!({}))
    }

    /// Starts this many servers with these keys in their configuration and waits until they have settled.
    pub fn start_with(servers: usize, config: Value) -> Cluster {
        let mut cluster = Cluster::prepare(servers, config);
        for server in 0..servers {
            cluster.start_server(server);
        }
        cluster.settle();
        cluster
    }

    /// Starts so many servers and waits until they have settled. So many more machines are ready for servers
    /// that join; each of those knows itself and the first server.
    pub fn start_with_spare(servers: usize, spare: usize) -> Cluster {
        let mut cluster = Cluster::prepare_with_spare(servers, spare, json!({}));
        for server in 0..servers {
            cluster.start_server(server);
        }
        cluster.settle();
        cluster
    }

    /// Writes everything that so many servers need, and starts none.
    pub fn prepare(servers: usize, config: Value) -> Cluster {
        Cluster::prepare_with_spare(servers, 0, config)
    }

    fn prepare_with_spare(servers: usize, spare: usize, mut config: Value) -> Cluster {
        let turn = Turn::take();
        let folder =
            tempfile::Builder::new().prefix("syncnet-cluster-").tempdir().expect("a temporary folder");
        let targets: Vec<Target> = (1..)
            .zip(free_base_ports(servers + spare).expect("free ports"))
            .map(|(number, port)| Target {
                server_id: Some(format!("server{number}")),
                host: "127.0.0.1".into(),
                port,
                trust: None,
            })
            .collect();
        let entries = targets.iter().enumerate().map(|(position, target)| {
            json!({"server_id": target.server_id, "host": target.host, "port": target.port, "ring_position": position})
        });
        let entries: Vec<Value> = entries.collect();
        config["servers"] = entries[..servers].into();
        fs::write(folder.path().join("config.json"), config.to_string()).expect("the folder is ours");
        for server in servers..servers + spare {
            config["servers"] = json!([entries[0], entries[server]]);
            config["join"] = true.into();
            let path = folder.path().join(format!("{}.json", name(server)));
            fs::write(path, config.to_string()).expect("the folder is ours");
        }
        for name in ["data", "logs"] {
            fs::create_dir(folder.path().join(name)).expect("the folder is new");
        }
        write_secret(&folder.path().join("data/cluster.secret"));
        Cluster {
            servers: targets.iter().map(|_| None).collect(),
            targets,
            folder: Some(folder),
            spoilt: BTreeSet::new(),
            programs: BTreeMap::new(),
            _turn: turn,
        }
    }

    // --- Places ---------------------------------------------------------------------------------

    /// The cluster's own folder.
    pub fn folder(&self) -> &Path {
        self.folder.as_ref().expect("it is only taken when dropped").path()
    }

    /// The data folder of one server.
    pub fn data_of(&self, server: usize) -> PathBuf {
        self.folder().join("data").join(name(server))
    }

    fn config_of(&self, server: usize) -> PathBuf {
        let own = self.folder().join(format!("{}.json", name(server)));
        if own.exists() { own } else { self.folder().join("config.json") }
    }

    /// What one server wrote to its console, all its lives after each other.
    pub fn console_of(&self, server: usize) -> String {
        fs::read_to_string(self.console_path(server)).unwrap_or_default()
    }

    fn console_path(&self, server: usize) -> PathBuf {
        self.folder().join("logs").join(format!("console_{}.log", name(server)))
    }

    // --- Processes ------------------------------------------------------------------------------

    /// The command that runs one server, with its output on its console log.
    pub fn command(&self, server: usize) -> Command {
        let console = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.console_path(server))
            .expect("the log folder is ours");
        let errors = console.try_clone().expect("a file can be shared");
        let tree = Path::new(env!("CARGO_BIN_EXE_syncnet-server"));
        let mut command = Command::new(self.programs.get(&server).map_or(tree, PathBuf::as_path));
        command
            .args(["--server-id", &name(server)])
            .arg("--config")
            .arg(self.config_of(server))
            .arg("--data-dir")
            .arg(self.folder().join("data"))
            .arg("--log-dir")
            .arg(self.folder().join("logs"))
            .args(["--log-level", &std::env::var("SYNCNET_CLUSTER_LOG").unwrap_or_else(|_| "info".into())])
            .stdin(Stdio::null())
            .stdout(console)
            .stderr(errors);
        command
    }

    /// One server runs this program from its next start on.
    pub fn install(&mut self, server: usize, program: PathBuf) {
        self.programs.insert(server, program);
    }

    /// Starts one server that does not run.
    pub fn start_server(&mut self, server: usize) {
        assert!(self.servers[server].is_none(), "{} runs already", name(server));
        let child = self.command(server).spawn().expect("the server program can be run");
        self.servers[server] = Some(child);
    }

    /// Kills one server with SIGKILL and waits until its process is gone.
    pub fn kill(&mut self, server: usize) {
        self.signal(server, Signal::SIGKILL);
        let status = self.bury(server);
        assert_eq!(status.signal(), Some(Signal::SIGKILL as i32), "{} had ended before", name(server));
    }

    /// Kills all servers with SIGKILL at once, as a power cut would.
    pub fn kill_all(&mut self) {
        self.kill_at_once(&self.running());
    }

    /// Kills some servers with SIGKILL at once.
    pub fn kill_at_once(&mut self, servers: &[usize]) {
        for &server in servers {
            self.signal(server, Signal::SIGKILL);
        }
        for &server in servers {
            self.bury(server);
        }
    }

    /// Asks one server to stop (SIGTERM) and waits until it has: it must do so by itself and without errors.
    pub fn stop(&mut self, server: usize) {
        self.signal(server, Signal::SIGTERM);
        self.see_stopped(server);
    }

    /// Asks all servers to stop and waits until they have.
    pub fn stop_all(&mut self) {
        for server in self.running() {
            self.signal(server, Signal::SIGTERM);
        }
        for server in self.running() {
            self.see_stopped(server);
        }
    }

    fn see_stopped(&mut self, server: usize) {
        let status = self.wait_for_exit(server);
        assert_eq!(
            status.code(),
            Some(0),
            "{} did not stop cleanly: {status}\n{}",
            name(server),
            self.tail(server)
        );
    }

    /// Waits until one server ends by itself, and gives its exit status.
    pub fn wait_for_exit(&mut self, server: usize) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let child = self.servers[server].as_mut().expect("it was started");
            if let Some(status) = child.try_wait().expect("a child can be waited for") {
                self.servers[server] = None;
                return status;
            }
            assert!(Instant::now() < deadline, "{} did not end\n{}", name(server), self.tail(server));
            thread::sleep(LOOK_EVERY);
        }
    }

    /// Stops one server's process in its tracks (SIGSTOP).
    pub fn freeze(&self, server: usize) {
        self.signal(server, Signal::SIGSTOP);
    }

    /// Lets a frozen process go on (SIGCONT).
    pub fn thaw(&self, server: usize) {
        self.signal(server, Signal::SIGCONT);
    }

    fn signal(&self, server: usize, signal: Signal) {
        let child = self.servers[server].as_ref().unwrap_or_else(|| panic!("{} does not run", name(server)));
        let pid = i32::try_from(child.id()).expect("process ids are positive");
        signal::kill(Pid::from_raw(pid), signal).expect("it is our own child");
    }

    fn bury(&mut self, server: usize) -> ExitStatus {
        let mut child = self.servers[server].take().expect("it was started");
        child.wait().expect("a child can be waited for")
    }

    /// The servers that were started and not ended by the story.
    pub fn running(&self) -> Vec<usize> {
        (0..self.servers.len()).filter(|&server| self.servers[server].is_some()).collect()
    }

    /// A server that ended by itself is a finding, not a state to wait out.
    fn check_alive(&mut self) {
        for server in self.running() {
            let child = self.servers[server].as_mut().expect("it is running");
            let ended = child.try_wait().expect("a child can be waited for");
            if let Some(status) = ended {
                self.servers[server] = None;
                panic!("{} ended by itself: {status}\n{}", name(server), self.tail(server));
            }
        }
    }

    /// The story has damaged the data of `server`, so the server should set it aside.
    pub fn spoils(&mut self, server: usize) {
        self.spoilt.insert(server);
    }

    /// Checks that exactly the servers whose data the story has damaged have set it aside.
    #[track_caller]
    pub fn expect_doubts_only_of_the_spoilt(&self) {
        for server in 0..self.servers.len() {
            let entries = fs::read_dir(self.data_of(server)).into_iter().flatten().flatten();
            let mut names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
            let aside = names.any(|name| name.starts_with("quarantine-"));
            let due = self.spoilt.contains(&server);
            assert_eq!(aside, due, "whether {} has set its data aside\n{}", name(server), self.tail(server));
        }
    }

    // --- What they say --------------------------------------------------------------------------

    /// The status of one running server, as soon as it answers.
    pub fn status(&mut self, server: usize) -> Status {
        self.wait_for("a server to tell its status", |look| {
            look.statuses().find(|(other, _)| *other == server).map(|(_, status)| status.clone())
        })
    }

    /// The status of every running server, asked all at once.
    pub fn look(&self) -> Look {
        let running = self.running();
        let targets: Vec<Target> = running.iter().map(|&server| self.targets[server].clone()).collect();
        let seen = probe::ask_all(&targets, PROBE_TIMEOUT).into_iter().map(|seen| seen.outcome);
        Look(running.into_iter().zip(seen.map(|seen| seen.map_err(|error| error.to_string()))).collect())
    }

    /// Waits until `ready` finds what it looks for. `what` completes the sentence "waited for …".
    pub fn wait_for<T>(&mut self, what: &str, mut ready: impl FnMut(&Look) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let look = self.look();
            if let Some(found) = ready(&look) {
                return found;
            }
            self.check_alive();
            assert!(Instant::now() < deadline, "waited for {what}; the servers say:\n{look}");
            thread::sleep(LOOK_EVERY);
        }
    }

    /// Waits until one of the running servers leads and a majority of all agrees; gives its number.
    pub fn leader(&mut self) -> usize {
        let majority = self.servers.len() / 2 + 1;
        self.wait_for("a leader that a majority agrees on", |look| look.leader(majority))
    }

    /// Waits until one leads, all other running servers follow it as voters, and all have nearly caught up.
    /// Gives the number of the leader.
    pub fn settle(&mut self) -> usize {
        self.wait_for("one leader that all others follow", |look| look.settled(NEARLY))
    }

    /// As [`Cluster::settle`], with the highest ring position of those that run as the leader.
    pub fn settle_highest(&mut self) -> usize {
        let highest = self.running().into_iter().max();
        self.wait_for("the highest server to lead", |look| {
            look.settled(NEARLY).filter(|&leader| Some(leader) == highest)
        })
    }

    /// As [`Cluster::settle`], and waits until all have applied the same and everything.
    pub fn settle_fully(&mut self) -> usize {
        self.wait_for("all servers to have applied everything", |look| look.settled(0))
    }

    /// The end of what one server said on its console.
    pub fn tail(&self, server: usize) -> String {
        let console = self.console_of(server);
        let lines: Vec<&str> = console.lines().collect();
        let from = lines.len().saturating_sub(40);
        format!("--- the last lines of {}:\n{}\n", name(server), lines[from..].join("\n"))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for child in self.servers.iter_mut().flatten() {
            // A process that cannot be killed is left; the others must still be killed.
            drop(child.kill());
            drop(child.wait());
        }
        if thread::panicking() {
            (0..self.servers.len()).for_each(|server| eprintln!("{}", self.tail(server)));
        }
        if (thread::panicking() || std::env::var_os("SYNCNET_CLUSTER_KEEP").is_some())
            && let Some(folder) = self.folder.take()
        {
            eprintln!("everything is kept in {}", folder.keep().display());
        }
    }
}

/// What running servers answered, by server number.
pub struct Look(pub Vec<(usize, Result<Status, String>)>);

impl Look {
    /// Those that answered.
    pub fn statuses(&self) -> impl Iterator<Item = (usize, &Status)> {
        self.0.iter().filter_map(|(server, status)| Some((*server, status.as_ref().ok()?)))
    }

    /// The server that leads the newest term, if at least `agreeing` servers (itself included) say so.
    pub fn leader(&self, agreeing: usize) -> Option<usize> {
        let (leader, status) = self
            .statuses()
            .filter(|(_, status)| status.role == Role::Leader)
            .max_by_key(|(_, status)| status.term)?;
        let agree = self.statuses().filter(|(_, other)| {
            other.term == status.term && other.leader_id.as_ref() == Some(&status.server_id)
        });
        (agree.count() >= agreeing).then_some(leader)
    }

    /// The leader, if all see each other, follow it as voters, wait for nothing, and have applied all but
    /// `behind` of the committed entries.
    fn settled(&self, behind: u64) -> Option<usize> {
        let leader = self.leader(self.0.len())?;
        let committed = self.statuses().map(|(_, status)| status.commit_index).max()?;
        let fits = |(server, status): (usize, &Status)| {
            let role = if server == leader { Role::Leader } else { Role::Follower };
            let sees_all = status.peers.iter().filter(|peer| peer.alive).count() + 1 >= self.0.len();
            let has_all = status.applied_index + behind >= committed;
            // In the middle of an upgrade, servers say who still runs the other program.
            let waits = !status.note.is_empty() && !status.note.contains("program");
            status.role == role && !waits && sees_all && has_all
        };
        self.statuses().all(fits).then_some(leader)
    }
}

impl fmt::Display for Look {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (server, answer) in &self.0 {
            match answer {
                Ok(status) if status.note.is_empty() => write!(f, "{}", status.line())?,
                Ok(status) => writeln!(f, "{} ({})", status.line().trim_end(), status.note)?,
                Err(error) => writeln!(f, "{}: {error}", name(*server))?,
            }
        }
        Ok(())
    }
}

/// The configured id of a server, counted from 0.
pub fn name(server: usize) -> String {
    format!("server{}", server + 1)
}

pub fn write_secret(path: &Path) {
    let mut secret = [0_u8; 32];
    getrandom::fill(&mut secret).expect("the system has randomness");
    fs::write(path, HEXLOWER.encode(&secret)).expect("the folder is ours");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("the file is ours");
}

/// How often a story repeats what it does, unless the environment says otherwise.
pub fn rounds(by_default: usize) -> usize {
    let rounds = std::env::var("SYNCNET_CLUSTER_ROUNDS");
    rounds.map_or(by_default, |rounds| rounds.parse().expect("SYNCNET_CLUSTER_ROUNDS is a number"))
}
