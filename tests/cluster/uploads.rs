//! Stories of files that are posted over HTTP while servers come and go.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    thread,
};

use data_encoding::HEXLOWER;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{
    harness::{Cluster, PATIENCE},
    wire::Wire,
};

/// The bytes that are sent before the servers die, and the same number after.
const HALF: usize = 500_000;

#[test]
fn who_posts_a_file_does_not_notice_that_the_majority_is_killed() {
    let mut cluster = Cluster::start(3);
    let leader = cluster.settle_highest();
    let token = token(&cluster);
    let content: Vec<u8> = (0..2 * HALF).map(|place| (place * 7 % 251) as u8).collect();

    // Through a follower, because a client of a server that dies always notices.
    let mut stream = TcpStream::connect((cluster.targets[0].host.as_str(), cluster.targets[0].port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    let head = format!(
        "POST /files?room=den&name=a.bin HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        content.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&content[..HALF]).unwrap();
    cluster.kill(leader);
    cluster.kill(1);
    let rest = content[HALF..].to_vec();
    let mut writer = stream.try_clone().unwrap();
    let writing = thread::spawn(move || {
        // Bytes that the socket does not hold wait for the servers.
        writer.write_all(&rest).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    // If this one is given up as unknown, so are the pieces that were on their way before it.
    let mut wire = Wire::open_unjudged(&cluster.targets[0]);
    wire.call("login", json!({"username": "hermit"}), PATIENCE).expect("a login needs no majority");
    let nack = wire.call("create_join", json!({"room": "hut"}), PATIENCE).expect("an answer comes in time");
    assert_eq!(nack["data"]["code"], "unavailable", "{nack}");
    cluster.start_server(1);
    cluster.start_server(leader);
    writing.join().unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let told: Value = serde_json::from_str(body).unwrap();
    let sha256 = HEXLOWER.encode(&Sha256::digest(&content));
    assert_eq!((&told["size"], &told["sha256"]), (&json!(content.len()), &json!(sha256)));
    cluster.settle_fully();
    let got = get(&cluster, leader, &token, told["file_id"].as_str().unwrap());
    assert!(got == content, "{} of {} bytes came back", got.len(), content.len());
}

/// The token of a user with an account, who is in the room `den`.
fn token(cluster: &Cluster) -> String {
    let mut wire = Wire::open_unjudged(&cluster.targets[0]);
    let account = json!({"username": "alice", "password": "correct horse"});
    let mut ask = |msg_type: &str, data: Value| {
        let answer = wire.call(msg_type, data, PATIENCE).expect("the connection stands");
        assert_eq!(answer["msg_type"], "ack", "{answer}");
        answer["data"].clone()
    };
    ask("register", account.clone());
    let token = ask("login", account)["token"].as_str().expect("an account has tokens").to_owned();
    ask("create_join", json!({"room": "den"}));
    token
}

/// The bytes of a file, from one server.
fn get(cluster: &Cluster, server: usize, token: &str, file_id: &str) -> Vec<u8> {
    let target = &cluster.targets[server];
    let mut stream = TcpStream::connect((target.host.as_str(), target.port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let head = format!(
        "GET /files/{file_id} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("a head") + 4;
    assert!(answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer[..end]));
    answer.split_off(end)
}
