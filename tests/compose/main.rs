//! The containers of `docker-compose.yml`, as they are shipped: built, started, killed, cut off, restarted
//! and taken down under the load of clients on the host, and judged like the clusters of processes.
//!
//! It needs a Docker engine and the base images, so it is only run on request, by `scripts/test_compose.sh`.
//! The clients, the judge and the checker are those of `tests/cluster`. No other cluster is disturbed: the
//! project has a name and ports of its own.
#![cfg(unix)]

#[path = "../simulation/checker/mod.rs"]
mod checker;
mod harness;
#[path = "../cluster/judge.rs"]
#[expect(dead_code, reason = "the stories of tests/cluster use all of it")]
mod judge;
#[path = "../cluster/load.rs"]
#[expect(dead_code, reason = "the stories of tests/cluster use all of it")]
mod load;
#[path = "../cluster/reader.rs"]
mod reader;
#[path = "../cluster/reading.rs"]
mod reading;
#[path = "../cluster/wire.rs"]
#[expect(dead_code, reason = "the stories of tests/cluster use all of it")]
mod wire;
#[path = "../cluster/writer.rs"]
mod writer;

use std::{
    io::Write,
    process::{Command, Stdio},
    time::Duration,
};

use serde_json::json;

use harness::{Cluster, name};
use judge::Judge;
use load::Load;
use reading::read_server;
use wire::Wire;

/// The room that is used through the client program.
const GREETINGS: &str = "greetings";

#[test]
#[ignore = "it needs a Docker engine and base images: scripts/test_compose.sh"]
fn three_containers_lose_nothing_whatever_happens_to_them() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut cluster = Cluster::up();
    cluster.settle();
    (0..3).for_each(|server| expect_confined(&cluster, server));
    expect_client_addresses(&cluster);
    expect_page(&cluster);
    chat_by_program(&cluster, "hello from the host");

    let judge = Judge::new(3, folder.path());
    let load = Load::start(&cluster, &judge, 4, 2);

    // A crash: the engine starts the container again by itself.
    let leader = cluster.settle();
    cluster.kill(leader);
    load.expect_acks("the leader's process was killed");
    chat_by_program(&cluster, "hello through a failover");
    cluster.settle();

    // A partition: the process lives, but no one hears it.
    let leader = cluster.settle();
    cluster.disconnect(leader);
    load.expect_acks("the leader was cut off");
    cluster.wait_until("the cut off server not to be ready", |cluster| !cluster.says_yes(leader, "--ready"));
    assert!(cluster.says_yes(leader, "--health"), "a server without a majority is healthy all the same");
    cluster.reconnect(leader);
    cluster.settle();
    cluster.wait_until("the server to be ready again", |cluster| cluster.says_yes(leader, "--ready"));
    load.expect_acks("the cut off server came back");

    // An orderly stop, within the grace period of the file.
    let leader = cluster.settle();
    cluster.compose(&["stop", &name(leader)]);
    assert_eq!(cluster.inspect(leader, "{{.State.ExitCode}}"), "0", "{}", cluster.logs(leader));
    load.expect_acks("the leader was stopped");
    cluster.compose(&["start", &name(leader)]);
    cluster.settle();

    // All are removed, and come back at other addresses with the data of before.
    let before = cluster.addresses();
    cluster.compose(&["down"]);
    for server in [2, 0, 1] {
        cluster.compose(&["up", "--detach", &name(server)]);
    }
    assert_ne!(cluster.addresses(), before, "the servers are where they were, so nothing had to be found");
    load.expect_acks("all servers moved");
    cluster.settle();

    // Two of them swap addresses while the third one runs.
    let before = cluster.addresses();
    cluster.compose(&["rm", "--stop", "--force", "server1", "server2"]);
    for server in [if before[0] < before[1] { 1 } else { 0 }, if before[0] < before[1] { 0 } else { 1 }] {
        cluster.compose(&["up", "--detach", "--no-deps", &name(server)]);
    }
    load.expect_acks("two servers swapped their addresses");
    cluster.settle();

    let seen = load.finish();
    eprintln!("{seen:?}");
    cluster.settle_fully();
    let ends: Vec<_> =
        (0..3).map(|server| read_server(&cluster.targets, &judge, server, &[GREETINGS])).collect();
    assert!(ends.iter().all(|other| *other == ends[0]), "the servers have different rooms: {ends:?}");
    judge.finish();
    judge.expect_kept();
    expect_greetings(&cluster, &["hello from the host", "hello through a failover"]);
    assert!(seen.acked > 500 && seen.lost > 0 && seen.shown > 0, "hardly anything happened: {seen:?}");
    (0..3).for_each(|server| {
        cluster.wait_until("the engine to find it healthy", |cluster| {
            cluster.inspect(server, "{{.State.Health.Status}}") == "healthy"
        });
    });
}

/// The container runs as the fixed user, on a root that it cannot write, with a secret of its owner's.
fn expect_confined(cluster: &Cluster, server: usize) {
    assert_eq!(cluster.inspect(server, "{{.Config.User}}"), "10001:10001");
    assert_eq!(cluster.inspect(server, "{{.HostConfig.ReadonlyRootfs}}"), "true");
    let pid = cluster.inspect(server, "{{.State.Pid}}");
    let status =
        std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the engine is on this machine");
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).expect("every process has it");
        line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(field("Uid:"), "10001 10001 10001 10001");
    assert_eq!((field("CapEff:"), field("CapBnd:")), ("0000000000000000".into(), "0000000000000000".into()));
    assert_eq!(field("NoNewPrivs:"), "1");
    // Not even the superuser can write there.
    let (done, said) = cluster.exec(server, &["--user", "0"], &["syncnet-admin", "secret", "/there"]);
    assert!(!done && said.contains("Read-only"), "{said}");
    // The program refuses a file with another mode than that of its owner alone.
    let secret = ["syncnet-admin", "secret", "/etc/syncnet/cluster.secret"];
    let (done, said) = cluster.exec(server, &[], &secret);
    assert!(done && said.contains("stays as it is"), "{said}");
    let mounts = cluster.inspect(server, "{{range .Mounts}}{{.Destination}} {{.RW}};{{end}}");
    assert!(mounts.contains("/var/lib/syncnet true;") && mounts.contains("/etc/syncnet false;"), "{mounts}");
}

/// Clients are told the published addresses, not those of the container network.
fn expect_client_addresses(cluster: &Cluster) {
    for target in &cluster.targets {
        let mut wire = Wire::open_unjudged(target);
        let list = wire.call("server_list", json!({}), Duration::from_secs(10)).expect("an answer");
        let told: Vec<_> = list["data"]["servers"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|server| (server["host"].as_str().unwrap_or(""), server["tcp_port"].as_u64().unwrap_or(0)))
            .collect();
        let expected: Vec<_> =
            cluster.targets.iter().map(|target| ("localhost", u64::from(target.port))).collect();
        assert_eq!(told, expected);
    }
}

/// A browser on the host gets something at every published port.
fn expect_page(cluster: &Cluster) {
    for target in &cluster.targets {
        let answer = harness::http_get(target.port, "/");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
}

/// The program's messages are on every server.
fn expect_greetings(cluster: &Cluster, expected: &[&str]) {
    for target in &cluster.targets {
        let mut wire = Wire::open_unjudged(target);
        let mut call =
            |msg_type, data| wire.call(msg_type, data, Duration::from_secs(10)).expect("an answer in time");
        call("login", json!({"username": "auditor"}));
        let page = call("history", json!({"room": GREETINGS, "limit": 100}));
        let events = page["data"]["events"].as_array().expect("a page has events");
        let said: Vec<_> = events.iter().filter_map(|event| event["body"].as_str()).collect();
        assert_eq!(said, expected);
    }
}

/// Chats through the first server with the program that people use, which knows nothing of containers.
fn chat_by_program(cluster: &Cluster, body: &str) {
    let state = tempfile::tempdir().expect("a temporary folder");
    let mut client = Command::new(env!("CARGO_BIN_EXE_syncnet-client"))
        .args(["--server-host", "localhost", "--server-port", &cluster.targets[0].port.to_string()])
        .args(["--user", "host", "--room", GREETINGS, "--outbox-dir"])
        .arg(state.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the client can be run");
    let mut input = client.stdin.take().expect("it is piped");
    writeln!(input, "{body}").expect("the client reads");
    drop(input);
    let output = client.wait_with_output().expect("the client ends");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
}
