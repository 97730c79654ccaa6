//! Servers that join a cluster, are replaced and leave it, by `syncnet-admin server`, while people write.

use std::{
    fs,
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use syncnet::admin::free_ports::free_base_ports;

use crate::{
    one_server::PATIENCE,
    three_servers::{Cluster, say},
};

/// The exit status of a server that its cluster has no more.
const REMOVED: i32 = 4;

/// A server in a process of its own, which knows itself and `s0`. Killed when the test ends.
struct Joiner {
    name: String,
    port: u16,
    process: Child,
}

impl Joiner {
    fn start(cluster: &Cluster, name: &str, port: u16) -> Joiner {
        let folder = cluster.folder.path();
        let server = |name: &str, port: u16, position: u32| json!({"server_id": name, "host": "localhost", "port": port, "ring_position": position});
        let config = json!({"servers": [server("s0", cluster.ports[0], 0), server(name, port, 9)],
            "timing": {"handover_hold_ms": 300}});
        let path = folder.join(format!("{name}.json"));
        fs::write(&path, config.to_string()).unwrap();
        let process = Command::new(env!("CARGO_BIN_EXE_syncnet-server"))
            .args(["--server-id", name, "--join", "--config"])
            .arg(path)
            .arg("--data-dir")
            .arg(folder)
            .arg("--log-dir")
            .arg(folder.join("logs"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Joiner { name: name.into(), port, process }
    }

    fn log(&self, cluster: &Cluster) -> String {
        let path = cluster.folder.path().join(format!("logs/server_{}.log", self.name));
        fs::read_to_string(path).unwrap_or_default()
    }

    #[track_caller]
    fn wait_for_words(&self, cluster: &Cluster, words: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.log(cluster).contains(words) {
            assert!(Instant::now() < deadline, "{} never says {words:?}:\n{}", self.name, self.log(cluster));
            thread::sleep(Duration::from_millis(20));
        }
    }

    #[track_caller]
    fn wait_for_exit(&mut self, cluster: &Cluster) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "{} does not end:\n{}", self.name, self.log(cluster));
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Joiner {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What `syncnet-admin server` says to these words, and whether it was done.
fn admin(cluster: &Cluster, words: &[&str]) -> (bool, String) {
    let servers: Vec<String> = cluster.ports.iter().map(|port| format!("localhost:{port}")).collect();
    let output = Command::new(env!("CARGO_BIN_EXE_syncnet-admin"))
        .arg("server")
        .args(words)
        .args(["--servers", &servers.join(","), "--secret-file"])
        .arg(cluster.folder.path().join("cluster.secret"))
        .output()
        .unwrap();
    (output.status.success(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
}

/// `syncnet-admin status`, begun at these servers: who is shown, and the verdict.
fn shown(cluster: &Cluster, begin: &[usize], and: &str) -> (Vec<String>, Value) {
    let mut servers: Vec<String> =
        begin.iter().map(|place| format!("localhost:{}", cluster.ports[*place])).collect();
    servers.push(and.into());
    let output = Command::new(env!("CARGO_BIN_EXE_syncnet-admin"))
        .args(["status", "--json", "--timeout-ms", "20000", "--servers", &servers.join(",")])
        .output()
        .unwrap();
    let status: Value = serde_json::from_slice(&output.stdout).expect("a line of JSON");
    let names = status["servers"].as_array().unwrap().iter();
    let mut names: Vec<String> = names.map(|server| server["server_id"].as_str().unwrap().into()).collect();
    names.sort();
    (names, status["verdict"].clone())
}

#[track_caller]
fn done(cluster: &Cluster, words: &[&str]) -> String {
    let (is_done, said) = admin(cluster, words);
    assert!(is_done, "{words:?}: {said}");
    said
}

/// The words for a new server.
#[track_caller]
fn let_in(cluster: &Cluster, what: &[&str], port: u16, position: u32) -> String {
    let (port, position) = (port.to_string(), position.to_string());
    let place = ["--host", "localhost", "--port", &port, "--ring-position", &position];
    done(cluster, &[what, &place].concat())
}

/// What all servers have logged, as far as they do.
fn logs(cluster: &Cluster) -> String {
    let files = fs::read_dir(cluster.folder.path().join("logs")).into_iter().flatten().flatten();
    files.map(|file| fs::read_to_string(file.path()).unwrap_or_default()).collect()
}

/// Waits until these servers vote, and no change is under way.
#[track_caller]
fn wait_for_voters(cluster: &Cluster, names: &[&str]) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let list: Value = serde_json::from_str(&done(cluster, &["list", "--json"])).unwrap();
        let rows = list["servers"].as_array().unwrap();
        let voting = rows.iter().filter(|row| row["state"] == "votes").map(|row| row["server_id"].clone());
        if rows.len() == names.len() && voting.collect::<Vec<_>>() == names {
            return;
        }
        assert!(Instant::now() < deadline, "{names:?} should be those that vote: {list}\n{}", logs(cluster));
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn servers_join_are_replaced_and_leave_while_people_write() {
    let cluster = Cluster::start();
    for place in 0..3 {
        cluster.wait_for(place, |status| status["leader_id"] == "s2");
    }
    let mut said = say(&cluster, 0, "alice", 150);
    let ports = free_base_ports(2).expect("free ports");

    // One that is started before it is let in says so, and waits. It stands below the leader, and is sent a
    // snapshot.
    let mut first = Joiner::start(&cluster, "s3", ports[0]);
    first.wait_for_words(&cluster, "waits to be added");
    let plan = let_in(&cluster, &["add", "s3", "--dry-run"], ports[0], 7);
    assert!(
        plan.contains("Then:  4 servers vote, 3 are a majority; all answer; one more may fail"),
        "{plan}"
    );
    let (_, list) = admin(&cluster, &["list"]);
    assert!(!list.contains("s3") && list.contains("3 servers vote"), "{list}");
    let_in(&cluster, &["add", "s3"], ports[0], 7);
    wait_for_voters(&cluster, &["s0", "s1", "s2", "s3"]);
    // It stands highest, so it leads in the end, and clients are told of it.
    let status = cluster.wait_for(0, |status| status["leader_id"] == "s3");
    assert_eq!(status["peers"].as_array().unwrap().len(), 3, "{status}");
    said.extend(say(&cluster, 1, "bob", 50));

    // It dies, and another one takes its place by one command and a start.
    first.process.kill().unwrap();
    first.wait_for_exit(&cluster);
    cluster.wait_for(0, |status| status["leader_id"] == "s2");
    said.extend(say(&cluster, 0, "carol", 50));
    let_in(&cluster, &["replace", "s3", "s4"], ports[1], 5);
    let (is_done, refusal) = admin(&cluster, &["remove", "s1"]);
    assert!(!is_done && refusal.contains("s4 is still to join"), "{refusal}");
    let mut second = Joiner::start(&cluster, "s4", ports[1]);
    wait_for_voters(&cluster, &["s0", "s1", "s2", "s4"]);
    said.extend(say(&cluster, 1, "dave", 50));

    // The old one comes back with its folder: it hears that it was removed, and ends.
    let mut back = Joiner::start(&cluster, "s3", first.port);
    assert_eq!(back.wait_for_exit(&cluster).code(), Some(REMOVED), "{}", back.log(&cluster));
    assert!(back.log(&cluster).contains("s3 was removed from its cluster"), "{}", back.log(&cluster));

    // The one that is gone is shown no more, though it was named; the one that came is, though it was not.
    let gone = format!("s3=localhost:{}", first.port);
    assert_eq!(shown(&cluster, &[1], &gone).0, ["s0", "s1", "s2", "s4"]);

    // The leader is told to go: it hands over, ends, and the others need no edit.
    cluster.wait_for(0, |status| status["leader_id"] == "s4");
    done(&cluster, &["remove", "s4"]);
    assert_eq!(second.wait_for_exit(&cluster).code(), Some(REMOVED), "{}", second.log(&cluster));
    wait_for_voters(&cluster, &["s0", "s1", "s2"]);
    said.extend(say(&cluster, 2, "erin", 50));
    cluster.wait_for(0, |status| status["leader_id"] == "s2");
    let gone = format!("localhost:{}", second.port);
    assert_eq!(
        shown(&cluster, &[0, 1, 2], &gone),
        (vec!["s0".into(), "s1".into(), "s2".into()], "HEALTHY".into())
    );
    assert!(said.is_sorted(), "a place was given twice, or out of order");
    // Pushes say the same as answers.
    let mut reader = cluster.client(0);
    reader.send(r#"{"msg_type":"server_list"}"#);
    let list: Value = serde_json::from_str(&reader.read_text().expect("a line")).unwrap();
    let names = list["data"]["servers"].as_array().unwrap().iter().map(|server| server["server_id"].clone());
    assert_eq!(names.collect::<Vec<_>>(), ["s0", "s1", "s2"]);
    // Nothing is lost or doubled on any of them: 350 messages.
    for place in 0..3 {
        let status = cluster.wait_for(place, |status| status["messages"] == 350);
        assert_eq!(status["note"], Value::Null, "{status}");
    }
}
