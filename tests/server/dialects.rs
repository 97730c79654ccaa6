//! What a client port does with different input.

use std::net::{Ipv4Addr, UdpSocket};

use serde_json::json;

use crate::one_server::{OneServer, PATIENCE};

#[test]
fn lines_are_read_however_they_are_cut() {
    let one = OneServer::start(json!({}));
    let mut client = one.client();
    for byte in
        b"\n\r\n{\"msg_type\":\"ping\",\"request_id\":1}\r\n\n{\"msg_type\":\"ping\",\"request_id\":2}\n"
    {
        client.send_bytes(&[*byte]).unwrap();
    }
    assert_eq!(client.read()["request_id"], 1);
    assert_eq!(client.read()["request_id"], 2);
}

#[test]
fn the_deepest_json_fits_on_a_client_threads_stack() {
    let one = OneServer::start(json!({}));
    let mut client = one.client();
    let (open, close) = ("{\"a\":".repeat(31), "}".repeat(31));
    client.send(&format!("{{\"msg_type\":\"ping\",\"data\":{open}1{close}}}"));
    assert_eq!(client.read()["msg_type"], "pong");
    let brackets = "[".repeat(60_000);
    client.send(&format!("{{\"msg_type\":\"ping\",\"data\":{brackets}"));
    assert_eq!(client.read_nack(), "bad_json");
}

#[test]
fn the_bare_status_probe_is_answered_and_closed() {
    let one = OneServer::start(json!({}));
    for probe in ["STATUS_REQUEST\n", "STATUS_REQUEST"] {
        let mut client = one.client();
        client.send_bytes(probe.as_bytes()).unwrap();
        let line = client.read_text().unwrap();
        assert!(line.starts_with("only LEADER term=") && line.len() < 1_024, "{line}");
        assert_eq!(client.read_text(), None);
    }
}

#[test]
fn an_unknown_dialect_gets_one_nack() {
    let one = OneServer::start(json!({}));
    for head in [&b"EHLO there\r\n"[..], b"[1]\n", b"\x00\x01", b"\xff\xfe{}"] {
        let mut client = one.client();
        client.send_bytes(head).unwrap();
        assert_eq!(client.read_nack(), "bad_json");
        assert_eq!(client.read_text(), None);
    }
}

#[test]
fn a_line_over_the_limit_is_refused_and_the_connection_closed() {
    let one = OneServer::start(json!({}));
    for end in ["", "\n"] {
        let mut client = one.client();
        // The server may stop listening before all is sent.
        let _ = client.send_bytes(format!("{{\"msg_type\":\"{}{end}", "x".repeat(1 << 20)).as_bytes());
        assert_eq!(client.read_nack(), "too_large");
        assert_eq!(client.read_text(), None);
    }
}

#[test]
fn ten_bad_lines_in_a_row_close_the_connection() {
    let one = OneServer::start(json!({}));
    let mut client = one.client();
    for _ in 0..9 {
        client.send("{");
        assert_eq!(client.read_nack(), "bad_json");
    }
    client.send(r#"{"msg_type":"ping"}"#);
    assert_eq!(client.read()["msg_type"], "pong");
    for _ in 0..10 {
        client.send("{");
        assert_eq!(client.read_nack(), "bad_json");
    }
    assert_eq!(client.read_text(), None);
}

#[test]
fn a_client_that_closes_its_half_gets_its_answers() {
    let one = OneServer::start(json!({}));
    let mut client = one.client();
    client.send(r#"{"msg_type":"create_join","sender_id":"alice","data":{"room":"lobby"},"request_id":1}"#);
    client.send(r#"{"msg_type":"chat","data":{"room":"lobby","body":"bye"},"request_id":2}"#);
    client.close_half();
    assert_eq!(client.answer(1)["msg_type"], "ack");
    assert_eq!(client.answer(2)["msg_type"], "ack");
    while client.read_text().is_some() {}
    // A refusal is an answer, too. The client has closed its half before the server reads any of it.
    for _ in 0..20 {
        let mut client = one.client();
        client.send_bytes(format!("{{\"x\":\"{}\"}}\n", "x".repeat(70_000)).as_bytes()).unwrap();
        client.close_half();
        assert_eq!(client.read_nack(), "too_large");
        assert_eq!(client.read_text(), None);
    }
}

#[test]
fn events_reach_every_connection_in_order() {
    let one = OneServer::start(json!({}));
    let mut writer = one.client();
    writer.send(r#"{"msg_type":"create_join","sender_id":"writer","data":{"room":"lobby"},"request_id":0}"#);
    writer.answer(0);
    let mut readers: Vec<_> = (0..20).map(|_| one.client()).collect();
    for reader in &mut readers {
        reader.send(
            r#"{"msg_type":"create_join","sender_id":"reader","data":{"room":"lobby"},"request_id":0}"#,
        );
        reader.answer(0);
    }
    let count = 300_u64;
    let last = count.to_string();
    for number in 1..=count {
        let body = "x".repeat(1_000);
        let line = json!({"msg_type": "chat", "request_id": number,
            "data": {"room": "lobby", "body": body, "client_msg_id": number.to_string()}});
        writer.send(&line.to_string());
    }
    assert_eq!(writer.answer(count)["msg_type"], "ack");
    for reader in &mut readers {
        let mut next = None;
        loop {
            let line = reader.read();
            if line["msg_type"] != "chat" {
                continue;
            }
            let seq = line["data"]["seq"].as_u64().unwrap();
            assert_eq!(next.replace(seq + 1).unwrap_or(seq), seq);
            if line["data"]["client_msg_id"].as_str() == Some(&last) {
                break;
            }
        }
    }
}

#[test]
fn one_connection_too_many_is_turned_away() {
    let one = OneServer::start(json!({"connections": 2, "connections_reserved": 0}));
    while !one.server().context().clients.is_empty() {
        std::thread::yield_now();
    }
    let mut seated = [one.client(), one.client()];
    for client in &mut seated {
        client.send(r#"{"msg_type":"ping"}"#);
        assert_eq!(client.read()["msg_type"], "pong");
    }
    let mut third = one.client();
    assert_eq!(third.read_nack(), "overloaded");
    assert_eq!(third.read_text(), None);
    seated[0].send(r#"{"msg_type":"ping"}"#);
    assert_eq!(seated[0].read()["msg_type"], "pong");
}

#[test]
fn a_reader_that_never_reads_is_cut_and_others_are_not() {
    let one = OneServer::start(json!({"outbox_bytes": 2 * 1024 * 1024}));
    let mut silent = one.client();
    silent.send(r#"{"msg_type":"create_join","sender_id":"silent","data":{"room":"lobby"},"request_id":0}"#);
    silent.answer(0);
    let mut writer = one.client();
    writer.send(r#"{"msg_type":"create_join","sender_id":"writer","data":{"room":"lobby"},"request_id":0}"#);
    writer.answer(0);
    let body = "x".repeat(15_000);
    // Until its outbox and the system's buffers are full; the size of these is unknown.
    for number in 1.. {
        let line = json!({"msg_type": "chat", "data": {"room": "lobby", "body": body}, "request_id": number});
        writer.send(&line.to_string());
        assert_eq!(writer.answer(number)["msg_type"], "ack");
        if one.server().context().clients.len() == 1 {
            break;
        }
        assert!(number < 10_000, "the reader that never reads is still there");
    }
}

#[test]
fn discovery_answers_with_the_servers() {
    let one = OneServer::start(json!({}));
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let ask = |question: &[u8]| socket.send_to(question, (Ipv4Addr::LOCALHOST, one.port + 10)).unwrap();
    ask(b"nonsense");
    ask(br#"{"msg_type":"ping"}"#);
    ask(br#"{"msg_type":"client_discovery","request_id":"d"}"#);
    let mut answer = [0; 4_096];
    let length = socket.recv(&mut answer).unwrap();
    let answer: serde_json::Value = serde_json::from_slice(&answer[..length]).unwrap();
    assert_eq!(answer["msg_type"], "server_list");
    assert_eq!(answer["request_id"], "d");
    assert_eq!(answer["data"]["servers"][0]["tcp_port"], one.port);
}

#[test]
fn a_stop_ends_every_thread_and_every_connection() {
    let mut one = OneServer::start(json!({}));
    let mut idle: Vec<_> = (0..50).map(|_| one.client()).collect();
    for client in &mut idle {
        client.send(r#"{"msg_type":"ping"}"#);
        client.read();
    }
    let silent = one.client();
    assert!(one.stop().is_empty());
    for mut client in idle.into_iter().chain([silent]) {
        while client.read_text().is_some() {}
    }
}
