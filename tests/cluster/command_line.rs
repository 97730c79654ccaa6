//! Stories of operators: the self-test, and mistakes that are reported in one sentence before anything
//! starts.

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    process::{Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{harness::Cluster, judge::Judge, load::Load, verdict};

/// Runs the server program to its end, which must come by itself.
#[track_caller]
fn run(command: &mut Command) -> Output {
    let mut child =
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the server program can be run");
    let deadline = Instant::now() + Duration::from_secs(20);
    while child.try_wait().expect("a child can be waited for").is_none() {
        if Instant::now() > deadline {
            drop(child.kill());
            let output = child.wait_with_output().expect("it is dead");
            panic!("it did not end by itself: {}", String::from_utf8_lossy(&output.stderr));
        }
        thread::sleep(Duration::from_millis(5));
    }
    child.wait_with_output().expect("it has ended")
}

#[test]
fn the_self_test_passes_within_ten_seconds() {
    let cluster = Cluster::prepare(3, json!({}));
    for server in 0..3 {
        let began = Instant::now();
        let output = run(cluster.command(server).arg("--test-mode"));
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{said}");
        assert!(began.elapsed() < Duration::from_secs(10), "it took {:?}", began.elapsed());
    }
}

#[test]
fn the_self_test_names_a_port_that_is_taken() {
    let cluster = Cluster::prepare(3, json!({}));
    let port = cluster.targets[0].port;
    for port in [port, port + 30] {
        let _taken = TcpListener::bind(("127.0.0.1", port)).expect("it was free");
        for arguments in [vec!["--test-mode"], vec![]] {
            let output = run(cluster.command(0).args(arguments));
            expect_refusal(&output, &port.to_string());
        }
    }
}

/// A mistake of an operator: exit status 2 and one sentence that names it.
#[track_caller]
fn expect_refusal(output: &Output, named: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains(named), "{named:?} is not named: {said}");
    assert_eq!(said.trim_end().lines().count(), 1, "more than one sentence: {said}");
}

/// Makes one mistake in a good configuration.
type Mistake = fn(&mut Value);

#[test]
fn mistakes_in_the_configuration_are_told_in_one_sentence() {
    let cluster = Cluster::prepare(3, json!({}));
    let path = cluster.folder().join("config.json");
    let good: Value = serde_json::from_slice(&fs::read(&path).expect("it is there")).expect("it is JSON");
    let mistakes: [(&str, Mistake, &str); 8] = [
        ("a misspelt key", |config| config["timing"] = json!({"hartbeat_ms": 60}), "timing.hartbeat_ms"),
        ("two ids", |config| config["servers"][1]["server_id"] = "server1".into(), "server1"),
        ("two positions", |config| config["servers"][1]["ring_position"] = 0.into(), "ring_position"),
        ("one port", |config| config["servers"][1]["port"] = config["servers"][0]["port"].clone(), "port"),
        ("an impossible value", |config| config["limits"] = json!({"line_bytes": 1}), "limits.line_bytes"),
        (
            "times that cannot work",
            |config| config["timing"] = json!({"failure_detection_ms": 100}),
            "failure",
        ),
        ("no servers", |config| config["servers"] = json!([]), "servers"),
        ("not me", |config| config["servers"][0]["server_id"] = "another".into(), "server1"),
    ];
    for (what, mistake, named) in mistakes {
        let mut config = good.clone();
        mistake(&mut config);
        fs::write(&path, config.to_string()).expect("the folder is ours");
        eprintln!("{what}");
        expect_refusal(&run(&mut cluster.command(0)), named);
    }
    fs::write(&path, "servers: [server1]").expect("the folder is ours");
    expect_refusal(&run(&mut cluster.command(0)), "config.json");
    assert!(!cluster.data_of(0).exists(), "something was begun in spite of the mistakes");
}

#[test]
fn missing_folders_and_open_secrets_are_told_in_one_sentence() {
    let cluster = Cluster::prepare(3, json!({}));
    let secret = cluster.folder().join("data/cluster.secret");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o644)).expect("the file is ours");
    expect_refusal(&run(&mut cluster.command(0)), "cluster.secret");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).expect("the file is ours");
    fs::write(&secret, "not a secret").expect("the file is ours");
    expect_refusal(&run(&mut cluster.command(0)), "cluster.secret");
    fs::remove_file(cluster.folder().join("config.json")).expect("the file is ours");
    expect_refusal(&run(&mut cluster.command(0)), "config.json");
    fs::remove_dir_all(cluster.folder().join("data")).expect("the folder is ours");
    let output = run(Command::new(env!("CARGO_BIN_EXE_syncnet-server"))
        .args(["--server-id", "server1", "--data-dir"])
        .arg(cluster.folder().join("data"))
        .arg("--log-dir")
        .arg(cluster.folder().join("logs")));
    expect_refusal(&output, "--data-dir");
}

#[test]
fn a_server_with_another_secret_stays_outside() {
    let mut cluster = Cluster::start(3);
    let judge = Judge::new(3, cluster.folder());
    let load = Load::start(&cluster, &judge, 3, 1);
    let secret = cluster.folder().join("data/cluster.secret");
    let good = fs::read(&secret).expect("it is there");
    let term = {
        cluster.stop(2);
        let leader = cluster.leader();
        cluster.status(leader).term
    };
    fs::write(&secret, "00112233445566778899aabbccddeeff".repeat(2)).expect("the file is ours");
    cluster.start_server(2);
    load.expect_more_acks(300);
    let stranger = cluster.status(2);
    assert_eq!(stranger.leader_id, None, "it believes to know the others");
    let leader = cluster.leader();
    assert_eq!(cluster.status(leader).term, term, "a stranger disturbed the others");
    cluster.kill(2);
    fs::write(&secret, good).expect("the file is ours");
    cluster.start_server(2);
    cluster.settle();
    verdict::read_everything(&mut cluster, &judge, load);
}
