//! The check of old scripts: connect, send `STATUS_REQUEST`, read, look for the word "leader".

use std::{
    io::{Read, Write},
    time::Duration,
};

use syncnet::admin::{line_client, target::Target};

use crate::harness::Cluster;

const TIMEOUT: Duration = Duration::from_secs(5);

/// The whole answer of one server.
fn ask(target: &Target, request: &[u8]) -> String {
    let mut stream = line_client::connect(target, TIMEOUT).expect("the server accepts connections");
    stream.set_read_timeout(Some(TIMEOUT)).expect("a socket has a timeout");
    stream.write_all(request).expect("the server reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("the server answers and closes");
    answer
}

#[test]
fn exactly_one_server_says_leader() {
    let mut cluster = Cluster::start(3);
    for _ in 0..2 {
        let leader = cluster.settle_highest();
        for server in cluster.running() {
            for request in ["STATUS_REQUEST\n", "STATUS_REQUEST\r\n"] {
                let line = ask(&cluster.targets[server], request.as_bytes());
                assert!(line.len() < 1024 && line.ends_with('\n') && line.lines().count() == 1, "{line:?}");
                assert_eq!(line.to_ascii_lowercase().contains("leader"), server == leader, "{line:?}");
                assert!(line.starts_with(&format!("server{} ", server + 1)), "{line:?}");
                assert!(
                    server == leader || line.contains(&format!("following=server{}", leader + 1)),
                    "{line:?}"
                );
            }
        }
        cluster.kill(leader);
    }
}

#[test]
fn without_a_majority_nobody_says_leader() {
    let mut cluster = Cluster::start(3);
    cluster.settle_highest();
    cluster.kill(0);
    cluster.kill(1);
    // It led a moment ago; it has to notice by itself that it is alone.
    cluster.wait_for("the lone server to step down", |look| {
        let (_, status) = look.statuses().next()?;
        (status.role != syncnet::protocol::status::Role::Leader).then_some(())
    });
    let line = ask(&cluster.targets[2], b"STATUS_REQUEST\n");
    assert!(!line.to_ascii_lowercase().contains("leader"), "{line:?}");
}
