//! Limits of clients, over real sockets.

use std::{
    fs,
    process::Command,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{http_client::Http, one_server::OneServer};

/// Waits until no client is connected any more, including those that waited for the server to start.
fn empty(one: &OneServer) {
    while !one.server().context().clients.is_empty() {
        std::thread::yield_now();
    }
}

#[test]
fn an_administrator_gets_in_where_everybody_else_is_turned_away() {
    let limits = json!({"connections": 2, "connections_reserved": 2});
    let one = OneServer::start_with_secret(json!({ "limits": limits }));
    empty(&one);
    let mut seated = [one.client(), one.client()];
    for client in &mut seated {
        client.send(r#"{"msg_type":"ping"}"#);
        assert_eq!(client.read()["msg_type"], "pong");
    }
    // Let in, but for nothing that is not an administrator's.
    let begun = Instant::now();
    let mut third = one.client();
    third.send(r#"{"msg_type":"ping","request_id":1}"#);
    assert_eq!(third.answer(1)["msg_type"], "pong");
    third.send(r#"{"msg_type":"status_request","request_id":2}"#);
    assert_eq!(third.answer(2)["msg_type"], "status");
    third.send(r#"{"msg_type":"create_join","sender_id":"mallory","data":{"room":"lobby"}}"#);
    assert_eq!(third.read_nack(), "overloaded");
    third.send(r#"{"msg_type":"rooms"}"#);
    assert_eq!(third.read_nack(), "overloaded");
    // The other reserved place is an operator's.
    let output = Command::new(env!("CARGO_BIN_EXE_syncnet-admin"))
        .args(["user", "list", "--servers", &format!("127.0.0.1:{}", one.port), "--secret-file"])
        .arg(one.folder.path().join("cluster.secret"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    while one.server().context().clients.len() > 3 {
        std::thread::yield_now();
    }
    // A client that says nothing does not keep its place for long, in any dialect.
    let mut silent = one.client();
    let mut full = one.client();
    assert_eq!(full.read_nack(), "overloaded");
    assert_eq!(full.read_text(), None);
    assert_eq!(third.read_nack(), "overloaded");
    assert_eq!(third.read_text(), None);
    assert!(begun.elapsed() >= Duration::from_millis(4_900));
    assert_eq!(silent.read_text(), None);
    assert!(begun.elapsed() < Duration::from_secs(30));
    seated[0].send(r#"{"msg_type":"ping"}"#);
    assert_eq!(seated[0].read()["msg_type"], "pong");
}

#[test]
fn one_address_does_not_take_all_places() {
    let limits = json!({"connections": 100, "connections_per_address": 3, "connections_reserved": 1});
    let one = OneServer::start(limits);
    empty(&one);
    let mut seated = [one.client(), one.client(), one.client()];
    for client in &mut seated {
        client.send(r#"{"msg_type":"ping"}"#);
        assert_eq!(client.read()["msg_type"], "pong");
    }
    // Not even one of the places for administrators.
    assert_eq!(one.client().read_nack(), "overloaded");
    drop(seated);
}

#[test]
fn over_http_a_reserved_place_is_for_one_answer_and_never_for_a_webhook() {
    let one = OneServer::start(json!({"connections": 1, "connections_reserved": 1}));
    empty(&one);
    let mut seated = one.client();
    seated.send(r#"{"msg_type":"ping"}"#);
    assert_eq!(seated.read()["msg_type"], "pong");
    let left = || {
        while one.server().context().clients.len() > 1 {
            std::thread::yield_now();
        }
    };
    let mut http = Http::connect(one.port);
    assert_eq!(http.get("/healthz").status, 200);
    assert!(http.is_closed());
    left();
    // A webhook is no administrator: it is refused before its body is sent.
    let mut http = Http::connect(one.port);
    http.send("POST /hooks/x HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n");
    let answer = http.answer();
    assert_eq!((answer.status, answer.text()), (503, "service_unavailable"));
    assert!(http.is_closed());
}

/// A slow request ends with the time of a reserved place, even an administrator's.
#[test]
fn over_http_a_reserved_place_is_not_kept_for_long() {
    let one = OneServer::start_with_secret(json!({
        "limits": {"connections": 1, "connections_reserved": 1},
        "http": {"body_ms": 3_600_000, "idle_ms": 3_600_000},
    }));
    empty(&one);
    let password = one.folder.path().join("password");
    fs::write(&password, "correct horse battery\n").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_syncnet-admin"))
        .args(["user", "add", "root", "--admin", "--password-stdin", "--servers"])
        .arg(format!("127.0.0.1:{}", one.port))
        .arg("--secret-file")
        .arg(one.folder.path().join("cluster.secret"))
        .stdin(fs::File::open(password).unwrap())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    empty(&one);
    let mut seated = one.client();
    let account = json!({"username": "root", "password": "correct horse battery"});
    seated.send(&json!({"msg_type": "login", "data": account, "request_id": 1}).to_string());
    let token = seated.answer(1)["data"]["token"].as_str().expect("an account has tokens").to_owned();
    seated.send(r#"{"msg_type":"create_join","data":{"room":"den"},"request_id":2}"#);
    assert_eq!(seated.answer(2)["msg_type"], "ack");
    let begun = Instant::now();
    let mut http = Http::connect(one.port);
    http.send(&format!(
        "POST /files?room=den&name=a HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\nContent-Length: 9\r\n\r\nhalf"
    ));
    while !http.is_closed() {
        http.bytes(1);
    }
    assert!(begun.elapsed() >= Duration::from_millis(4_500), "it was let in: {:?}", begun.elapsed());
}

#[test]
fn what_is_too_fast_is_told_when_to_come_back() {
    let one = OneServer::start(json!({
        "requests_per_s": 1_000, "requests_burst": 1_000, "user_times": 1, "address_times": 1_000,
        "bytes_per_s": 65_536, "bytes_burst": 100_000, "rooms_per_hour": 2, "registrations_per_hour": 1,
    }));
    let mut alice = one.client();
    for number in 0..2 {
        alice.send(
            &json!({"msg_type": "create_join", "sender_id": "alice", "data": {"room": format!("r{number}")}, "request_id": number})
                .to_string(),
        );
        assert_eq!(alice.answer(number)["msg_type"], "ack");
    }
    alice.send(r#"{"msg_type":"create_join","data":{"room":"r2"},"request_id":2}"#);
    let nack = alice.answer(2)["data"].clone();
    assert_eq!(nack["code"], "rate_limited", "{nack}");
    let pause_ms = nack["retry_after_ms"].as_u64().unwrap();
    assert!((1_700_000..=1_800_000).contains(&pause_ms), "{pause_ms}");
    // A room that exists costs nothing.
    alice.send(r#"{"msg_type":"create_join","data":{"room":"r1"},"request_id":3}"#);
    assert_eq!(alice.answer(3)["msg_type"], "ack");

    let register = |name: &str| {
        json!({"msg_type": "register", "data": {"username": name, "password": "correct horse"}, "request_id": 4})
            .to_string()
    };
    let mut somebody = one.client();
    somebody.send(&register("carol"));
    assert_eq!(somebody.answer(4)["msg_type"], "ack");
    let mut somebody = one.client();
    somebody.send(&register("dave"));
    let nack = somebody.answer(4)["data"].clone();
    assert_eq!(nack["code"], "rate_limited", "{nack}");

    // All connections of a user share what a user may send.
    let line = |id: u64| {
        json!({"msg_type": "ping", "sender_id": "erin", "data": {"x": "x".repeat(40_000)}, "request_id": id})
            .to_string()
    };
    let (mut one_of_hers, mut other) = (one.client(), one.client());
    for id in 0..2 {
        one_of_hers.send(&line(id));
        assert_eq!(one_of_hers.answer(id)["msg_type"], "pong");
    }
    // The first request of a connection logs in, and counts for no user yet.
    other.send(r#"{"msg_type":"ping","sender_id":"erin","request_id":1}"#);
    assert_eq!(other.answer(1)["msg_type"], "pong");
    let mut refused = None;
    for id in 2..20 {
        other.send(&line(id));
        let answer = other.answer(id);
        if answer["msg_type"] == "nack" {
            refused = Some(answer["data"].clone());
            break;
        }
    }
    let nack = refused.expect("a client must be told to go slower");
    assert_eq!(nack["code"], "rate_limited", "{nack}");
    std::thread::sleep(Duration::from_millis(nack["retry_after_ms"].as_u64().unwrap()));
    other.send(&line(30));
    assert_eq!(other.answer(30)["msg_type"], "pong", "the time that was told was true");
}

/// Only some passwords of one address are hashed at the same time; the others are refused for now. Requests
/// behind a password are answered after it, whatever its outcome.
#[test]
fn passwords_that_come_all_at_once_are_taken_in_turn_and_what_follows_them_waits() {
    let mut one = OneServer::start_with(json!({"auth": {"queue": 8, "threads": 2}}));
    let mut clients: Vec<_> = (0..20).map(|_| one.client()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        let login = json!({
            "msg_type": "login", "data": {"username": format!("user{number}"), "password": "wrong horse"},
        });
        client.send_bytes(format!("{login}\n{}\n", r#"{"msg_type":"ping"}"#).as_bytes()).unwrap();
    }
    let mut hashed = 0;
    for client in &mut clients {
        let nack = client.read()["data"].clone();
        match nack["code"].as_str().expect("a refusal") {
            "bad_credentials" => hashed += 1,
            "overloaded" => assert!(nack["retry_after_ms"].as_u64().is_some_and(|ms| ms > 0), "{nack}"),
            _ => panic!("{nack}"),
        }
        assert_eq!(client.read()["msg_type"], "pong");
    }
    assert!(hashed > 0);
    // Threads that wait or hash do not delay the end.
    for client in &mut clients {
        client.send(r#"{"msg_type":"login","data":{"username":"bob","password":"wrong horse"}}"#);
    }
    assert_eq!(one.stop(), Vec::<String>::new());
}
