//! Servers and a client on a network of their own: heartbeats by broadcast and by multicast, and a client
//! that is told of no server. Each machine is a network namespace; a bridge joins them. Only root may do
//! that, and only on Linux.

use std::{
    fs,
    io::Write,
    net::IpAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{PATIENCE, Turn, name, write_secret};

/// The base port of each server, on a machine of its own.
const PORT: u16 = 8_000;
/// The machine of the client, behind those of the three servers.
const CLIENT: usize = 3;
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Machines with a network between them, until it is dropped.
struct Lan {
    prefix: String,
    hosts: [IpAddr; 4],
}

impl Lan {
    /// With addresses of one kind only.
    fn new(hosts: [IpAddr; 4]) -> Lan {
        let lan = Lan { prefix: format!("syncnet{}", std::process::id()), hosts };
        let hub = lan.hub();
        run("ip", &format!("netns add {hub}"));
        run("ip", &format!("-n {hub} link add bridge type bridge mcast_snooping 0"));
        run("ip", &format!("-n {hub} link set bridge up"));
        for (machine, host) in hosts.iter().enumerate() {
            let space = lan.space(machine);
            run("ip", &format!("netns add {space}"));
            run("ip", &format!("-n {hub} link add port{machine} type veth peer name eth0 netns {space}"));
            run("ip", &format!("-n {hub} link set port{machine} master bridge up"));
            let (bits, also) = if host.is_ipv4() { (24, "") } else { (64, "nodad") };
            run("ip", &format!("-n {space} address add {host}/{bits} dev eth0 {also}"));
            run("ip", &format!("-n {space} link set lo up"));
            run("ip", &format!("-n {space} link set eth0 up"));
        }
        lan
    }

    fn hub(&self) -> String {
        format!("{}-hub", self.prefix)
    }

    fn space(&self, machine: usize) -> String {
        format!("{}-{machine}", self.prefix)
    }

    /// A program on one of the machines.
    fn command(&self, machine: usize, program: &Path) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.space(machine)]).arg(program);
        command
    }

    /// From now on a machine does not hear UDP datagrams to `port` of `address`.
    fn is_deaf(&self, machine: usize, address: IpAddr, port: u16) {
        let family = if address.is_ipv4() { "ip" } else { "ip6" };
        let rules = format!(
            "table {family} deaf {{ chain heard {{ type filter hook input priority 0; {family} daddr {address} udp dport {port} drop\n}}\n}}\n"
        );
        let mut nft = self.command(machine, Path::new("nft"));
        let done = nft.args(["-f", "-"]).stdin(Stdio::piped()).spawn().and_then(|mut nft| {
            nft.stdin.take().expect("it is a pipe").write_all(rules.as_bytes())?;
            nft.wait()
        });
        assert!(done.is_ok_and(|done| done.success()), "nft {rules}: apt-get install nftables");
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        let spaces = (0..self.hosts.len()).map(|machine| self.space(machine)).chain([self.hub()]);
        for space in spaces {
            let _ = Command::new("ip").args(["netns", "delete", &space]).status();
        }
    }
}

fn run(program: &str, words: &str) {
    let done = Command::new(program).args(words.split_whitespace()).output();
    let done = done.unwrap_or_else(|error| panic!("{program} cannot be run: {error}"));
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{program} {words}: {said}; this story makes networks: run it as root");
}

/// Three servers on the network. They are killed when this is dropped.
struct Servers {
    folder: TempDir,
    running: Vec<Child>,
    lan: Lan,
    _turn: Turn,
}

impl Servers {
    fn start(lan: Lan, turn: Turn, bind: &str, heartbeat: &Value) -> Servers {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let entries: Vec<Value> = (0..CLIENT)
            .map(|server| json!({"server_id": name(server), "host": lan.hosts[server], "port": PORT, "ring_position": server}))
            .collect();
        let config = json!({"servers": entries, "bind": bind, "heartbeat": heartbeat});
        fs::write(folder.path().join("config.json"), config.to_string()).expect("the folder is ours");
        fs::create_dir(folder.path().join("data")).expect("the folder is new");
        write_secret(&folder.path().join("data/cluster.secret"));
        let running = (0..CLIENT)
            .map(|server| {
                let mut command = lan.command(server, Path::new(env!("CARGO_BIN_EXE_syncnet-server")));
                command
                    .args(["--server-id", &name(server), "--config"])
                    .arg(folder.path().join("config.json"));
                command.arg("--data-dir").arg(folder.path().join("data"));
                command.arg("--log-dir").arg(folder.path().join("logs"));
                command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
                command.spawn().expect("the server program can be run")
            })
            .collect();
        Servers { folder, running, lan, _turn: turn }
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("config.json")
    }

    /// What the servers say of themselves.
    fn statuses(&self) -> Vec<Value> {
        let mut admin = self.lan.command(CLIENT, Path::new(env!("CARGO_BIN_EXE_syncnet-admin")));
        let said = admin.args(["status", "--json", "--config"]).arg(self.config()).output();
        let said = String::from_utf8(said.expect("it can be run").stdout).expect("it is text");
        let said: Value = serde_json::from_str(&said).unwrap_or_default();
        said["servers"].as_array().cloned().unwrap_or_default()
    }

    /// Waits until each server hears the heartbeats of both others.
    #[track_caller]
    fn expect_heartbeats(&self) {
        let deadline = Instant::now() + PATIENCE;
        let hears_all = |status: &Value| {
            let peers = status["peers"].as_array().map(Vec::as_slice).unwrap_or_default();
            peers.len() == 2 && peers.iter().all(|peer| peer["alive"] == true)
        };
        loop {
            let statuses = self.statuses();
            if statuses.len() == CLIENT && statuses.iter().all(|server| hears_all(&server["status"])) {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "not all heartbeats are heard: {statuses:#?}\n{}",
                self.logs()
            );
            thread::sleep(LOOK_EVERY);
        }
    }

    /// A person on the network starts the client without a word about servers, and says something.
    fn chat(&self) -> Output {
        let mut client = self.lan.command(CLIENT, Path::new(env!("CARGO_BIN_EXE_syncnet-client")));
        client.args(["--user", "ann", "--outbox-dir"]).arg(self.folder.path().join("outbox"));
        client.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut client = client.spawn().expect("the client program can be run");
        client.stdin.take().expect("it is a pipe").write_all(b"hello, network\n").expect("it reads");
        client.wait_with_output().expect("a child can be waited for")
    }

    fn logs(&self) -> String {
        let of = |server| {
            let path = self.folder.path().join(format!("logs/server_{}.log", name(server)));
            fs::read_to_string(path).unwrap_or_default()
        };
        (0..CLIENT).map(of).collect()
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        for server in &mut self.running {
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}

/// How a story's servers hear each other, and how its client finds one.
struct Ways {
    hosts: fn(u8) -> IpAddr,
    bind: &'static str,
    heartbeat: Value,
    /// Where a question of the client would also be heard: it is not.
    other_ways: &'static [&'static str],
}

fn v4(host: u8) -> IpAddr {
    [10, 80, 0, host].into()
}

fn v6(host: u8) -> IpAddr {
    [0xfd00, 0x80, 0, 0, 0, 0, 0, u16::from(host)].into()
}

/// Heartbeats reach the servers by the group address alone, and the client has one way to ask.
fn play(ways: &Ways) {
    let turn = Turn::take();
    let lan = Lan::new([1, 2, 3, 4].map(ways.hosts));
    for server in 0..CLIENT {
        lan.is_deaf(server, lan.hosts[server], PORT + 20);
        ways.other_ways
            .iter()
            .for_each(|way| lan.is_deaf(server, way.parse().expect("an address"), PORT + 10));
    }
    let servers = Servers::start(lan, turn, ways.bind, &ways.heartbeat);
    servers.expect_heartbeats();
    let said = servers.chat();
    let (shown, errors) = (String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
    assert!(said.status.success(), "{}\n{shown}\n{errors}\n{}", said.status, servers.logs());
    assert!(shown.contains("hello, network"), "{shown}\n{errors}");
}

#[test]
fn heartbeats_and_questions_go_by_broadcast() {
    play(&Ways {
        hosts: v4,
        bind: "0.0.0.0",
        heartbeat: json!({"transport": "broadcast"}),
        other_ways: &["239.255.80.10"],
    });
}

#[test]
fn heartbeats_and_questions_go_by_multicast() {
    play(&Ways {
        hosts: v4,
        bind: "0.0.0.0",
        heartbeat: json!({"transport": "multicast"}),
        other_ways: &["255.255.255.255"],
    });
}

#[test]
fn heartbeats_and_questions_go_by_multicast_of_ipv6() {
    play(&Ways { hosts: v6, bind: "::", heartbeat: json!({"transport": "multicast"}), other_ways: &[] });
}
