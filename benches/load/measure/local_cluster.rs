//! A cluster of our own to hurt: three server processes on free ports, in a temporary folder.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use data_encoding::HEXLOWER;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::json;

use super::failure::{During, Failure};
use syncnet::admin::{
    free_ports::free_base_ports,
    probe,
    target::Target,
    verdict::{Verdict, diagnose},
};

/// How long servers may take to settle before a measurement is given up.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(60);
/// Pause between two looks at a cluster that is not settled.
const SETTLE_EVERY: Duration = Duration::from_millis(20);
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// Three servers, `server1` to `server3`, all killed and their folder removed when this is dropped.
#[derive(Debug)]
pub struct LocalCluster {
    binary: PathBuf,
    folder: PathBuf,
    /// The client addresses, by ring position.
    pub targets: Vec<Target>,
    servers: Vec<Option<Child>>,
    /// Whether the folder outlives the cluster, for a look at the logs.
    keep_folder: bool,
}

impl LocalCluster {
    /// Starts the servers from `binary` and waits until they have settled.
    pub fn start(binary: &Path) -> Result<LocalCluster, Failure> {
        let folder = std::env::temp_dir().join(format!("syncnet-{}", super::fresh_name()));
        let ports = free_base_ports(3).during("no free ports")?;
        let targets: Vec<Target> = (1..)
            .zip(&ports)
            .map(|(number, &port)| Target {
                server_id: Some(format!("server{number}")),
                host: "127.0.0.1".into(),
                port,
                trust: None,
            })
            .collect();
        write_setup(&folder, &targets).during(folder.display())?;
        let mut cluster = LocalCluster {
            binary: binary.into(),
            folder,
            targets,
            servers: (0..3).map(|_| None).collect(),
            keep_folder: false,
        };
        let started = (0..3).try_for_each(|number| cluster.start_server(number));
        match started.and_then(|()| cluster.settle()) {
            Ok(()) => Ok(cluster),
            Err(failure) => Err(cluster.failed(failure)),
        }
    }

    /// Keeps the folder, because its logs tell what went wrong, and says where it is.
    pub fn failed(&mut self, failure: Failure) -> Failure {
        self.keep_folder = true;
        failure.during(format!("the logs are kept in {}", self.folder.display()))
    }

    /// Starts one server that is not running; `number` counts from 0.
    pub fn start_server(&mut self, number: usize) -> Result<(), Failure> {
        let console = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.folder.join(format!("console{}.log", number + 1)))
            .during(self.folder.display())?;
        let errors = console.try_clone().during("the console log")?;
        let child = Command::new(&self.binary)
            .args(["--server-id", &format!("server{}", number + 1)])
            .arg("--config")
            .arg(self.folder.join("config.json"))
            .arg("--data-dir")
            .arg(self.folder.join("data"))
            .arg("--log-dir")
            .arg(self.folder.join("logs"))
            .stdin(Stdio::null())
            .stdout(console)
            .stderr(errors)
            .spawn()
            .during(self.binary.display())?;
        self.servers[number] = Some(child);
        Ok(())
    }

    /// Kills one server with SIGKILL. When this returns the kernel has the signal; the process may take a
    /// moment more to be gone, so [`LocalCluster::bury`] it before it is started again.
    pub fn kill(&mut self, number: usize) -> Result<(), Failure> {
        self.signal(number, Signal::SIGKILL)
    }

    /// Waits until a killed server's process is gone.
    pub fn bury(&mut self, number: usize) -> Result<(), Failure> {
        let mut server =
            self.servers[number].take().ok_or_else(|| Failure::new("the server is not running"))?;
        server.wait().map(drop).during("waiting for a killed server")
    }

    /// Sends `signal` to one server.
    pub fn signal(&self, number: usize, signal: Signal) -> Result<(), Failure> {
        let server =
            self.servers[number].as_ref().ok_or_else(|| Failure::new("the server is not running"))?;
        let pid = i32::try_from(server.id()).map_err(|_| Failure::new("a process id is out of range"))?;
        kill(Pid::from_raw(pid), signal).during(format!("{signal} to server{}", number + 1))
    }

    /// The process of a running server; `number` counts from 0.
    pub fn pid(&self, number: usize) -> Result<u32, Failure> {
        let server = self.servers[number].as_ref();
        server.map(Child::id).ok_or_else(|| Failure::new("the server is not running"))
    }

    /// Waits until the cluster is healthy, led by its highest ring position, and every server has applied
    /// all that the leader had committed when it was asked.
    pub fn settle(&mut self) -> Result<(), Failure> {
        let deadline = Instant::now() + SETTLE_TIMEOUT;
        loop {
            let seen = probe::ask_all(&self.targets, PROBE_TIMEOUT);
            let diagnosis = diagnose(&seen, None);
            let statuses: Vec<_> = seen.iter().filter_map(|seen| seen.outcome.as_ref().ok()).collect();
            let highest = statuses.iter().max_by_key(|status| status.ring_position);
            let leads = highest.is_some_and(|highest| {
                diagnosis
                    .leader
                    .as_ref()
                    .is_some_and(|(leader_id, _)| leader_id == highest.server_id.as_str())
            });
            // Under load the followers are always a little behind: within the bound of a handover is enough.
            let committed = statuses.iter().map(|status| status.commit_index).max().unwrap_or(0);
            let caught_up = statuses.iter().all(|status| status.applied_index + 64 >= committed);
            if diagnosis.verdict == Verdict::Healthy && leads && caught_up {
                return Ok(());
            }
            self.check_alive()?;
            if Instant::now() > deadline {
                return Err(Failure::new(format!(
                    "the cluster did not settle within {} s: {} {:?}",
                    SETTLE_TIMEOUT.as_secs(),
                    diagnosis.verdict,
                    diagnosis.notes
                )));
            }
            thread::sleep(SETTLE_EVERY);
        }
    }

    /// A server that ended by itself is a finding, not a state to wait out.
    fn check_alive(&mut self) -> Result<(), Failure> {
        for (number, server) in self.servers.iter_mut().enumerate() {
            let Some(server) = server else { continue };
            match server.try_wait().during(format!("server{}", number + 1))? {
                None => {}
                Some(status) => {
                    return Err(Failure::new(format!("server{} ended by itself: {status}", number + 1)));
                }
            }
        }
        Ok(())
    }
}

impl Drop for LocalCluster {
    fn drop(&mut self) {
        for server in self.servers.iter_mut().flatten() {
            // Nothing can be done about a process that cannot be killed; the others still must be.
            drop(server.kill());
            drop(server.wait());
        }
        if !self.keep_folder {
            drop(fs::remove_dir_all(&self.folder));
        }
    }
}

/// Writes the configuration and the cluster secret.
fn write_setup(folder: &Path, targets: &[Target]) -> io::Result<()> {
    let data = folder.join("data");
    fs::create_dir_all(&data)?;
    fs::create_dir_all(folder.join("logs"))?;
    let servers: Vec<_> = targets
        .iter()
        .enumerate()
        .map(|(position, target)| {
            json!({
                "server_id": target.server_id, "host": target.host, "port": target.port,
                "ring_position": position,
            })
        })
        .collect();
    // Raised so that no limit is what is measured. All else is the default.
    let limits = json!({
        "requests_per_s": 10_000_000, "requests_burst": 10_000_000,
        "bytes_per_s": 1_u64 << 36, "bytes_burst": 1_u64 << 37, "user_times": 1_000, "address_times": 1_000,
        "new_names_per_hour": 10_000_000, "rooms_per_hour": 1_000_000, "rooms_per_user": 1_000_000,
        "address_rooms_per_hour": 10_000_000, "connections": 15_000, "connections_per_address": 14_900,
    });
    fs::write(folder.join("config.json"), json!({ "servers": servers, "limits": limits }).to_string())?;
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(|error| io::Error::other(error.to_string()))?;
    let path = data.join("cluster.secret");
    fs::write(&path, HEXLOWER.encode(&secret))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600))
}
