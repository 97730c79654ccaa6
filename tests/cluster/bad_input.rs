//! Stories of clients, and of strangers, that send what no client should. Each mistake gets its nack; no
//! server ends, and other clients are not disturbed.

use std::{
    net::{TcpStream, UdpSocket},
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};
use syncnet::admin::target::Target;

use crate::{harness::Cluster, judge::Judge, load::Load, verdict, wire::Wire};

const ANSWER_WITHIN: Duration = Duration::from_secs(15);

/// A connection to one server; the judge hears all of it.
fn open(cluster: &Cluster, judge: &Arc<Judge>, server: usize) -> Wire {
    Wire::open(&cluster.targets, server, judge).expect("the server accepts connections")
}

/// The code of the nack that comes next.
#[track_caller]
fn next_code(wire: &mut Wire) -> String {
    loop {
        let line =
            wire.receive(ANSWER_WITHIN).expect("the connection stands").expect("an answer comes in time");
        if line["msg_type"] == "nack" {
            assert!(line["data"]["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{line}");
            return line["data"]["code"].as_str().expect("a nack has a code").to_owned();
        }
        assert_eq!(line["msg_type"], "server_list", "only this may come unasked here");
    }
}

#[track_caller]
fn expect_pong(wire: &mut Wire) {
    let pong = wire.call("ping", json!({}), ANSWER_WITHIN).expect("the server goes on");
    assert_eq!(pong["msg_type"], "pong");
}

#[test]
fn every_mistake_gets_its_nack_and_the_connection_stays() {
    let mut cluster = Cluster::start(3);
    let judge = Judge::new(3, cluster.folder());
    let load = Load::start(&cluster, &judge, 2, 1);
    let deep = |levels: usize| {
        let inner = levels - 1;
        format!(r#"{{"msg_type":"ping","data":{}1{}}}"#, r#"{"a":"#.repeat(inner), "}".repeat(inner))
            .into_bytes()
    };
    let chat = |data: &str| format!(r#"{{"msg_type":"chat","data":{data}}}"#).into_bytes();
    let mistakes: Vec<(Vec<u8>, &str)> = vec![
        (b"{".to_vec(), "bad_json"),
        (b"[]".to_vec(), "bad_json"),
        (b"{}".to_vec(), "bad_json"),
        (b"{\"msg_type\":7}".to_vec(), "bad_json"),
        (b"{\"msg_type\":\"\xff\xfe\"}".to_vec(), "bad_json"),
        (br#"{"msg_type":"\ud800"}"#.to_vec(), "bad_json"),
        (br#"{"msg_type":"ping","created_at":1e400}"#.to_vec(), "bad_json"),
        (deep(33), "bad_json"),
        (br#"{"msg_type":"ping","lamport_timestamp":18446744073709551616}"#.to_vec(), "bad_request"),
        (br#"{"msg_type":"ping","lamport_timestamp":9007199254740992}"#.to_vec(), "bad_request"),
        (br#"{"msg_type":"ping","lamport_timestamp":-1}"#.to_vec(), "bad_request"),
        (br#"{"msg_type":"ping","data":[]}"#.to_vec(), "bad_request"),
        (br#"{"msg_type":"ping","sender_id":[]}"#.to_vec(), "bad_request"),
        (br#"{"msg_type":"dance"}"#.to_vec(), "unknown_type"),
        (br#"{"msg_type":"__proto__"}"#.to_vec(), "unknown_type"),
        (br#"{"msg_type":"create_join","data":{"room":"../etc"}}"#.to_vec(), "bad_request"),
        (
            br#"{"msg_type":"create_join","data":{"room":"lobby","after":18446744073709551616}}"#.to_vec(),
            "bad_request",
        ),
        (br#"{"msg_type":"history","data":{"room":"lobby","limit":501}}"#.to_vec(), "bad_request"),
        (br#"{"msg_type":"history","data":{"room":"nowhere"}}"#.to_vec(), "not_found"),
        (br#"{"msg_type":"members","data":{"room":"nowhere"}}"#.to_vec(), "not_found"),
        (br#"{"msg_type":"rooms","sender_id":"somebody-else"}"#.to_vec(), "not_authenticated"),
        (chat(r#"{"room":"lobby","body":""}"#), "bad_request"),
        (chat(r#"{"room":"lobby","body":"a\u0000b"}"#), "bad_request"),
        (chat(r#"{"room":"lobby","body":7}"#), "bad_request"),
        (chat(r#"{"room":"lobby"}"#), "bad_request"),
        (chat(&json!({"room": "lobby", "body": "x".repeat(16 * 1024 + 1)}).to_string()), "too_large"),
        (
            chat(&json!({"room": "lobby", "body": "x", "client_msg_id": "x".repeat(65)}).to_string()),
            "bad_request",
        ),
        (chat(r#"{"room":"lobby","body":"I am no member"}"#), "forbidden"),
        (
            br#"{"msg_type":"create_join","data":{"room":"lobby"},"lamport_timestamp":9007199254740991}"#
                .to_vec(),
            "bad_request",
        ),
    ];
    for server in 0..3 {
        let mut wire = open(&cluster, &judge, server);
        wire.call("login", json!({"username": "clumsy"}), ANSWER_WITHIN).expect("logging in is no mistake");
        for (line, code) in &mistakes {
            wire.send(line).expect("the connection stands");
            assert_eq!(
                next_code(&mut wire),
                *code,
                "{}",
                String::from_utf8_lossy(&line[..line.len().min(120)])
            );
            expect_pong(&mut wire);
        }
        // Values at the limits are valid.
        wire.send(&deep(32)).expect("the connection stands");
        let body = "ä".repeat(8 * 1024);
        wire.call("create_join", json!({"room": "limits"}), ANSWER_WITHIN).expect("a good request");
        let message = json!({"room": "limits", "body": body, "client_msg_id": format!("long-{server}")});
        let ack = wire.call("chat", message, ANSWER_WITHIN);
        assert_eq!(ack.expect("a good request")["msg_type"], "ack");
        let mut nobody = open(&cluster, &judge, server);
        nobody.send(br#"{"msg_type":"create_join","data":{"room":"lobby"}}"#).expect("the connection stands");
        assert_eq!(next_code(&mut nobody), "not_authenticated");
    }
    load.expect_acks("clumsy clients were there");
    verdict::read_everything(&mut cluster, &judge, load);
}

#[test]
fn who_goes_on_sending_rubbish_is_closed() {
    let mut cluster = Cluster::start(3);
    let target = cluster.targets[0].clone();
    let mut wire = Wire::open_unjudged(&target);
    for _ in 0..9 {
        wire.send(b"{rubbish").expect("the connection stands");
        assert_eq!(next_code(&mut wire), "bad_json");
    }
    // A good line begins the count anew.
    expect_pong(&mut wire);
    for _ in 0..10 {
        wire.send(b"{rubbish").expect("the connection stands");
        assert_eq!(next_code(&mut wire), "bad_json");
    }
    assert!(wire.is_closed_within(ANSWER_WITHIN), "ten bad lines in a row close a connection");

    let mut stranger = Wire::open_unjudged(&target);
    stranger.send(b"EHLO mail.example.org").expect("the connection stands");
    assert_eq!(next_code(&mut stranger), "bad_json");
    assert!(stranger.is_closed_within(ANSWER_WITHIN), "what speaks no dialect is closed");
    cluster.settle();
}

#[test]
fn a_line_of_a_mebibyte_is_refused() {
    let mut cluster = Cluster::start(3);
    let judge = Judge::new(3, cluster.folder());
    let load = Load::start(&cluster, &judge, 2, 1);
    for target in &cluster.targets {
        let mut wire = Wire::open_unjudged(target);
        expect_pong(&mut wire);
        let line = json!({"msg_type": "ping", "data": {"x": "y".repeat(1 << 20)}}).to_string();
        // The server need not read it to its end.
        drop(wire.send(line.as_bytes()));
        assert!(
            wire.is_closed_within(ANSWER_WITHIN),
            "a connection is not closed after a line that is sixteen times too long"
        );
        let mut wire = Wire::open_unjudged(target);
        expect_pong(&mut wire);
        // A little too long: read in one piece, so the nack can be seen.
        let line = json!({"msg_type": "ping", "data": {"x": "y".repeat(64 * 1024)}}).to_string();
        wire.send(line.as_bytes()).expect("it is taken off the network");
        assert_eq!(next_code(&mut wire), "too_large");
        assert!(wire.is_closed_within(ANSWER_WITHIN));
    }
    verdict::read_everything(&mut cluster, &judge, load);
}

#[test]
fn the_slow_are_served_and_the_silent_are_closed() {
    let mut cluster = Cluster::start(3);
    let judge = Judge::new(3, cluster.folder());
    let load = Load::start(&cluster, &judge, 2, 1);
    let target = cluster.targets[2].clone();
    let mut silent: Vec<Wire> = (0..300).map(|_| Wire::open_unjudged(&target)).collect();
    let mut halves: Vec<Wire> = ["{\"msg_type\":", "STATUS_", "GE", "\n\n"]
        .into_iter()
        .map(|half| {
            let mut wire = Wire::open_unjudged(&target);
            wire.send_raw(half.as_bytes()).expect("the connection stands");
            wire
        })
        .collect();
    let mut slow = Wire::open_unjudged(&target);
    for byte in b"{\"msg_type\":\"ping\",\"data\":{\"slow\":true}}\r\n" {
        slow.send_raw(&[*byte]).expect("the connection stands");
    }
    let pong = slow.receive(ANSWER_WITHIN).expect("the connection stands").expect("the slow are served");
    assert_eq!(pong["data"]["slow"], true, "{pong}");
    load.expect_acks("many connect and say nothing");
    for wire in halves.iter_mut().chain(&mut silent) {
        // 10 s from the beginning, and some time for a busy machine.
        assert!(wire.is_closed_within(Duration::from_secs(25)), "who says nothing is closed after 10 s");
    }
    // A client that has sent a line may be silent for as long as it likes.
    expect_pong(&mut slow);
    verdict::read_everything(&mut cluster, &judge, load);
}

#[test]
fn who_never_reads_is_cut_and_not_skipped_while_others_go_on() {
    let mut cluster = Cluster::start_with(3, json!({"limits": {"outbox_bytes": 2 * 1024 * 1024}}));
    let judge = Judge::new(3, cluster.folder());
    let load = Load::start(&cluster, &judge, 2, 1);
    let mut sleeper = Wire::over(small_window(&cluster.targets[1]), Some(judge.opened(1)));
    let joined = join_loud(&mut sleeper, "sleeper");
    let mut listener = open(&cluster, &judge, 1);
    join_loud(&mut listener, "listener");
    let mut talker = open(&cluster, &judge, 0);
    join_loud(&mut talker, "talker");
    // More than the limit and all buffers of the system on the way.
    let body = "z".repeat(15 * 1024);
    let mut heard = 0;
    for number in 0..700 {
        let message = json!({"room": "loud", "body": body, "client_msg_id": number.to_string()});
        let ack = talker.call("chat", message, ANSWER_WITHIN);
        assert_eq!(ack.expect("the talker is not held up")["msg_type"], "ack");
        while let Ok(Some(line)) = listener.receive(Duration::from_millis(1)) {
            heard += u64::from(line["msg_type"] == "chat");
        }
    }
    while heard < 700 {
        let line = listener.receive(ANSWER_WITHIN).expect("it goes on").expect("who reads gets everything");
        heard += u64::from(line["msg_type"] == "chat");
    }
    let mut expected = joined + 1;
    let cut = loop {
        match sleeper.receive(ANSWER_WITHIN) {
            Ok(Some(line)) if matches!(line["msg_type"].as_str(), Some("chat" | "room_event")) => {
                assert_eq!(line["data"]["seq"], expected, "a slow reader is cut, never skipped");
                expected += 1;
            }
            Ok(Some(_)) => {}
            Ok(None) => break false,
            Err(_) => break true,
        }
    };
    assert!(cut, "who does not read is cut once more than the limit waits");
    assert!(expected <= joined + 700, "it got everything, so it was not slow enough to prove anything");
    verdict::read_everything(&mut cluster, &judge, load);
}

/// Joins the room `loud`; gives its last `seq`.
fn join_loud(wire: &mut Wire, user: &str) -> u64 {
    wire.call("login", json!({"username": user}), ANSWER_WITHIN).expect("a good request");
    let joined = wire.call("create_join", json!({"room": "loud", "history": 0}), ANSWER_WITHIN);
    joined.expect("a good request")["data"]["last_seq"].as_u64().expect("a join says where the room ends")
}

/// A connection whose receiving side holds as little as the system allows.
fn small_window(target: &Target) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("the system has sockets");
    socket.set_recv_buffer_size(4_096).expect("a socket's buffer can be set");
    let address: std::net::SocketAddr =
        format!("{}:{}", target.host, target.port).parse().expect("an address");
    socket.connect(&address.into()).expect("the server accepts connections");
    socket.into()
}

#[test]
fn a_flood_of_connections_is_bounded_and_passes() {
    let mut cluster =
        Cluster::start_with(3, json!({"limits": {"connections": 60, "connections_reserved": 0}}));
    let judge = Judge::new(3, cluster.folder());
    // Writers stay on their servers, one on each; a reader would change servers and be refused.
    let load = Load::start(&cluster, &judge, 3, 0);
    let target = cluster.targets[1].clone();
    let mut flood: Vec<Wire> = (0..300).map(|_| Wire::open_unjudged(&target)).collect();
    let mut served = 0;
    for wire in &mut flood {
        let answer = wire.call("ping", json!({}), Duration::from_secs(5));
        served += usize::from(answer.is_ok_and(|answer| answer["msg_type"] == "pong"));
    }
    assert!((1..=60).contains(&served), "{served} of 300 were served where 60 are allowed");
    // The links between servers do not count, and the other servers have room.
    load.expect_acks("one server was flooded");
    drop(flood);
    let deadline = Instant::now() + ANSWER_WITHIN;
    loop {
        let mut wire = Wire::open_unjudged(&target);
        let answer = wire.call("ping", json!({}), Duration::from_secs(5));
        if answer.is_ok_and(|answer| answer["msg_type"] == "pong") {
            break;
        }
        assert!(Instant::now() < deadline, "the server does not recover from a flood that is over");
    }
    verdict::read_everything(&mut cluster, &judge, load);
}

#[test]
fn strangers_on_the_ports_between_servers_change_nothing() {
    let mut cluster = Cluster::start(3);
    let judge = Judge::new(3, cluster.folder());
    let load = Load::start(&cluster, &judge, 3, 1);
    let leader = cluster.settle_highest();
    let term = cluster.status(leader).term;
    let socket = UdpSocket::bind("127.0.0.1:0").expect("the system has sockets");
    let mut links = Vec::new();
    for target in &cluster.targets {
        for round in 0_u32..3_000 {
            // Of all lengths, with every byte in every place at some time.
            let bytes: Vec<u8> =
                (0..round % 700).map(|at| (at.wrapping_mul(31) ^ round.wrapping_mul(17)) as u8).collect();
            for offset in [10, 20, 40] {
                drop(socket.send_to(&bytes, ("127.0.0.1", target.port + offset)));
            }
        }
        for greeting in [&b""[..], b"\0", &[0xff; 4], &[0; 1024], b"GET / HTTP/1.1\r\n\r\n"] {
            let peer_port = Target { port: target.port + 30, ..target.clone() };
            let mut wire = Wire::open_unjudged(&peer_port);
            drop(wire.send_raw(greeting));
            links.push(wire);
        }
    }
    load.expect_more_acks(100);
    assert_eq!(cluster.settle(), leader);
    assert_eq!(cluster.status(leader).term, term, "strangers caused an election");
    drop(links);
    verdict::read_everything(&mut cluster, &judge, load);
}

#[test]
fn discovery_answers_a_datagram_with_the_servers() {
    let cluster = Cluster::start(3);
    let socket = UdpSocket::bind("127.0.0.1:0").expect("the system has sockets");
    socket.set_read_timeout(Some(Duration::from_millis(500))).expect("a socket has a timeout");
    let mut answer = [0; 65_536];
    for target in &cluster.targets {
        // A datagram may be lost, even here.
        let answered = (0..20).any(|_| {
            let request = br#"{"msg_type":"client_discovery","sender_id":"","data":{}}"#;
            socket.send_to(request, ("127.0.0.1", target.port + 10)).expect("it can be sent");
            let Ok((length, _)) = socket.recv_from(&mut answer) else { return false };
            let list: Value = serde_json::from_slice(&answer[..length]).expect("the answer is JSON");
            assert_eq!(list["msg_type"], "server_list");
            assert_eq!(list["data"]["servers"].as_array().map(Vec::len), Some(3), "{list}");
            true
        });
        assert!(answered, "{target} does not answer a discovery");
    }
}
