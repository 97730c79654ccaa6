//! Stories of tools that post by a webhook and try again because they heard no answer.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream},
};

use serde_json::{Value, json};

use crate::{
    harness::{Cluster, PATIENCE},
    wire::Wire,
};

#[test]
fn a_tool_that_tries_again_after_a_failover_posts_once() {
    let mut cluster = Cluster::start(3);
    let mut leader = cluster.settle_highest();
    let hook = hook(&cluster);
    let long: String = (0..3_000).map(|line| format!("line {line}\n")).collect();
    for (round, key) in ["", "Idempotency-Key: deploy-7\r\n", ""].into_iter().enumerate() {
        let text = if round == 2 { long.clone() } else { format!("alert {round}") };
        let body = json!({ "text": text }).to_string();
        // The outcome of this one is unknown: the tool goes, and the leader with it.
        let follower = (leader + 1) % 3;
        let stream = post(&cluster, follower, &hook, key, &body);
        cluster.kill(leader);
        drop(stream);
        for server in [follower, (leader + 2) % 3, follower] {
            expect_ok(&cluster, server, &hook, key, &body);
        }
        cluster.start_server(leader);
        leader = cluster.settle_highest();
        expect_ok(&cluster, leader, &hook, key, &body);
    }
    let other = json!({ "text": "another text" }).to_string();
    let reused = answer(post(&cluster, 0, &hook, "Idempotency-Key: deploy-7\r\n", &other));
    assert!(reused.starts_with("HTTP/1.1 422 "), "{reused}");
    cluster.settle_fully();
    for server in 0..3 {
        let bodies = bodies(&cluster, server);
        assert_eq!(bodies[..2], ["alert 0", "alert 1"], "on server {server}");
        assert_eq!(bodies[2..].join("\n"), long.trim_end(), "on server {server}");
    }
}

/// The token of a webhook of the room `den`.
fn hook(cluster: &Cluster) -> String {
    let mut wire = Wire::open_unjudged(&cluster.targets[0]);
    let mut ask = |msg_type: &str, data: Value| {
        let answer = wire.call(msg_type, data, PATIENCE).expect("the connection stands");
        assert_eq!(answer["msg_type"], "ack", "{answer}");
        answer["data"].clone()
    };
    let account = json!({"username": "alice", "password": "correct horse"});
    ask("register", account.clone());
    ask("login", account);
    ask("create_join", json!({"room": "den"}));
    let hook = ask("create_hook", json!({"room": "den", "username": "ci"}));
    hook["token"].as_str().expect("a webhook has a token").to_owned()
}

/// Sends a whole request and waits for nothing.
fn post(cluster: &Cluster, server: usize, hook: &str, more: &str, body: &str) -> TcpStream {
    let target = &cluster.targets[server];
    let mut stream = TcpStream::connect((target.host.as_str(), target.port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let length = body.len();
    let head = format!(
        "POST /hooks/{hook} HTTP/1.1\r\nHost: a\r\n{more}Content-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
    stream
}

fn answer(mut stream: TcpStream) -> String {
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let _ = stream.shutdown(Shutdown::Both);
    String::from_utf8(answer).unwrap()
}

/// Tries as tools do: again after a 503.
fn expect_ok(cluster: &Cluster, server: usize, hook: &str, more: &str, body: &str) {
    let tries = (0..20).map(|_| answer(post(cluster, server, hook, more, body)));
    let last = tries.into_iter().find(|answer| !answer.starts_with("HTTP/1.1 503 "));
    let last = last.expect("the cluster comes back");
    assert!(last.starts_with("HTTP/1.1 200 ") && last.ends_with("\r\n\r\nok"), "{last}");
}

/// The texts in the room, as one server tells them.
fn bodies(cluster: &Cluster, server: usize) -> Vec<String> {
    let mut wire = Wire::open_unjudged(&cluster.targets[server]);
    wire.call("login", json!({"username": "reader"}), PATIENCE).expect("the connection stands");
    let data = json!({"room": "den", "after": 0, "limit": 100});
    let history = wire.call("history", data, PATIENCE).expect("the connection stands");
    let events = history["data"]["events"].as_array().expect("a history has events").clone();
    events.iter().filter_map(|event| event["body"].as_str().map(str::to_owned)).collect()
}
