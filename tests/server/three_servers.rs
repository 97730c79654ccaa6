//! Three servers in this process, with real sockets, disks and a secret.

use std::{collections::BTreeMap, fs, time::Instant};

use clap::Parser;
use serde_json::{Value, json};
use syncnet::{
    admin::free_ports::free_base_ports,
    server::{config::Config, program::args::Args, run::Server},
};
use tempfile::TempDir;

use crate::{
    backup::{admin, done, not_done},
    one_server::{Client, PATIENCE, write_secret},
};

pub struct Cluster {
    pub folder: TempDir,
    pub ports: Vec<u16>,
    servers: BTreeMap<usize, Server>,
}

impl Cluster {
    pub fn start() -> Cluster {
        let mut cluster = Cluster::prepare();
        (0..3).for_each(|place| cluster.start_server(place));
        cluster
    }

    /// All but the servers: `s0`, `s1` and `s2`.
    pub fn prepare() -> Cluster {
        let folder = tempfile::tempdir().unwrap();
        let ports = free_base_ports(3).expect("free ports");
        let servers: Vec<_> = ports
            .iter()
            .enumerate()
            .map(|(place, port)| {
                json!({"server_id": format!("s{place}"), "host": "localhost", "port": port, "ring_position": place})
            })
            .collect();
        let config = json!({"servers": servers, "keep_entries": 100, "timing": {"handover_hold_ms": 300}});
        fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
        write_secret(&folder.path().join("cluster.secret"));
        Cluster { folder, ports, servers: BTreeMap::new() }
    }

    pub fn start_server(&mut self, place: usize) {
        let mut args = Args::parse_from(["syncnet-server", "--server-id", &format!("s{place}")]);
        args.config = Some(self.folder.path().join("config.json"));
        args.data_dir = self.folder.path().into();
        args.log_dir = self.folder.path().join("logs");
        self.servers.insert(place, Server::start(Config::load(&args).unwrap()).unwrap());
    }

    pub fn stop_server(&mut self, place: usize) {
        assert!(self.servers.remove(&place).expect("it runs").stop().is_empty());
    }

    pub fn client(&self, place: usize) -> Client {
        Client::connect(self.ports[place])
    }

    /// Waits until the status of a server fulfils `condition`.
    pub fn wait_for(&self, place: usize, condition: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut client = self.client(place);
            client.send(r#"{"msg_type":"status_request"}"#);
            let status = client.read()["data"].clone();
            if condition(&status) {
                return status;
            }
            assert!(Instant::now() < deadline, "s{place} does not come so far: {status}");
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for server in std::mem::take(&mut self.servers).into_values() {
            server.stop();
        }
    }
}

/// Sends `count` messages on a connection of its own, one after the other; returns their places.
pub fn say(cluster: &Cluster, place: usize, user: &str, count: u64) -> Vec<u64> {
    let mut client = cluster.client(place);
    let join =
        json!({"msg_type": "create_join", "sender_id": user, "data": {"room": "lobby"}, "request_id": 0});
    client.send(&join.to_string());
    assert_eq!(client.answer(0)["msg_type"], "ack");
    (1..=count)
        .map(|number| {
            let data = json!({"room": "lobby", "body": format!("{user} {number}"), "client_msg_id": number.to_string()});
            client.send(&json!({"msg_type": "chat", "data": data, "request_id": number}).to_string());
            let answer = client.answer(number);
            assert_eq!(answer["msg_type"], "ack", "{answer}");
            answer["data"]["seq"].as_u64().unwrap()
        })
        .collect()
}

#[test]
fn the_cluster_goes_on_without_its_leader_and_takes_it_back() {
    let mut cluster = Cluster::start();
    for place in 0..3 {
        cluster.wait_for(place, |status| status["leader_id"] == "s2");
    }
    let first = say(&cluster, 0, "alice", 20);
    assert!(first.is_sorted());

    cluster.stop_server(2);
    cluster.wait_for(0, |status| status["leader_id"] == "s1");
    // Enough that the log of the others no longer reaches back: the third needs a snapshot.
    let second = say(&cluster, 0, "bob", 400);
    assert!(second.is_sorted() && first.last() < second.first());

    cluster.start_server(2);
    let status = cluster.wait_for(2, |status| status["role"] == "leader");
    assert_eq!(status["messages"], 420);
    let third = say(&cluster, 1, "carol", 20);
    assert!(second.last() < third.first());
    let mut reader = cluster.client(2);
    reader.send(r#"{"msg_type":"ping","sender_id":"reader","data":{"barrier":true},"request_id":1}"#);
    reader.answer(1);
    reader.send(r#"{"msg_type":"history","data":{"room":"lobby","after":0,"limit":500},"request_id":2}"#);
    let page = reader.answer(2);
    let seqs: Vec<_> = page["data"]["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["seq"].as_u64().unwrap())
        .collect();
    assert_eq!(seqs, (1..=443).collect::<Vec<_>>());
}

#[test]
fn an_operator_moves_the_lead_and_it_stays_there() {
    let cluster = Cluster::start();
    cluster.wait_for(0, |status| status["leader_id"] == "s2");
    let said = done(&admin(&cluster, &["transfer-leader", "s0", "--dry-run"]));
    assert!(said.contains("nothing was done; s0 leads instead of s2 for 3600 s"), "{said}");
    assert!(not_done(&admin(&cluster, &["transfer-leader", "s9"])).contains("there is no server s9"));
    let said = done(&admin(&cluster, &["transfer-leader", "s0", "--for", "1h"]));
    assert!(said.contains("s0 leads instead of s2"), "{said}");
    for place in 0..3 {
        cluster.wait_for(place, |status| status["leader_id"] == "s0");
    }
    // Long after a higher server would have got the lead back, messages are taken and the lead is where it
    // was.
    say(&cluster, 1, "alice", 200);
    let status = cluster.wait_for(2, |status| status["wanted_leader"]["server_id"] == "s0");
    assert_eq!(status["leader_id"], "s0");
    let shown = String::from_utf8(admin(&cluster, &["audit"]).stdout).unwrap();
    assert!(shown.contains("transfer_leader") && shown.contains("s0 for 3600 s"), "{shown}");
    done(&admin(&cluster, &["transfer-leader", "--back"]));
    for place in 0..3 {
        cluster.wait_for(place, |status| status["leader_id"] == "s2");
    }
}

#[test]
fn servers_tell_each_other_how_many_are_logged_in() {
    let cluster = Cluster::start();
    let mut connected = [cluster.client(0), cluster.client(0), cluster.client(0)];
    for client in &mut connected {
        client.send(r#"{"msg_type":"ping"}"#);
        assert_eq!(client.read()["msg_type"], "pong");
    }
    connected[0].send(r#"{"msg_type":"login","data":{"username":"alice"},"request_id":1}"#);
    assert_eq!(connected[0].answer(1)["msg_type"], "ack");
    let mut asking = cluster.client(1);
    let deadline = Instant::now() + PATIENCE;
    loop {
        // Pushes say the same as answers.
        asking.send(r#"{"msg_type":"server_list"}"#);
        let line: Value = serde_json::from_str(&asking.read_text().expect("a line")).unwrap();
        let list = &line["data"];
        if list["servers"][0]["clients"] == 1 {
            break;
        }
        assert!(Instant::now() < deadline, "three are connected and one is logged in: {list}");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}
