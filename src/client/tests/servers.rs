//! Stories about servers that are lost, silent, refuse or cannot work, line by line.

use serde_json::json;

use super::{Rig, address, bodies};
use crate::{
    client::{
        ask::Outcome,
        directory::Address,
        io::Input,
        limits::{BACK_OFF_MAX_MS, REDIRECTS_MAX},
        update::{Connection, Update},
    },
    protocol::{Answer, request::Rooms},
};

#[test]
fn servers_without_a_majority_are_not_asked_in_a_tight_loop() {
    let mut rig = Rig::in_lobby(&[8000], 0);
    rig.send("lobby", "one");
    let before_ms = rig.now_ms;
    for _ in 0..40 {
        let chat = rig.take("chat").remove(0);
        rig.nack(&chat, "unavailable", None);
        while rig.connecting.is_none() {
            rig.next_timeout();
        }
        rig.log_in("server2");
        rig.answer_join(json!({ "last_seq": 0 }));
    }
    assert!(rig.now_ms - before_ms > 20 * BACK_OFF_MAX_MS / 2, "{} ms", rig.now_ms - before_ms);
}

#[test]
fn without_a_majority_the_user_is_told_once_and_again_when_there_is_one() {
    let mut rig = Rig::in_lobby(&[8000], 0);
    rig.send("lobby", "one");
    for _ in 0..5 {
        rig.now_ms += 5_000;
        let chat = rig.take("chat").remove(0);
        rig.nack(&chat, "unavailable", None);
        while rig.connecting.is_none() {
            rig.next_timeout();
        }
        rig.log_in("server2");
        rig.answer_join(json!({ "last_seq": 0 }));
    }
    rig.send("lobby", "two");
    let chat = rig.take("chat").remove(0);
    rig.ack_chat(&chat, 1);
    let told: Vec<_> = rig
        .told
        .iter()
        .filter_map(|update| match update {
            Update::Connection(connection) => Some(connection.to_string()),
            Update::Queued { online, .. } => Some(format!("queued, online: {online}")),
            _ => None,
        })
        .collect();
    assert_eq!(told.len(), 4, "{told:?}");
    assert_eq!(told[0], "queued, online: true");
    assert!(told[1].contains(": because"), "{told:?}");
    assert_eq!(told[2], "queued, online: false");
    assert!(told[3].starts_with("server1 is gone, now on server2 (20."), "{told:?}");
}

#[test]
fn redirects_are_followed_but_not_in_circles() {
    let mut rig = Rig::in_lobby(&[8000], 0);
    rig.send("lobby", "one");
    let chat = rig.take("chat").remove(0);
    let to = |port: u16| json!({ "server_id": format!("server{}", port - 7999), "host": "localhost", "tcp_port": port, "reason": "go" });
    rig.answer(&chat, "redirect", to(8002));
    assert_eq!(rig.connecting, Some(address(8002)));
    rig.log_in("server3");
    rig.answer_join(json!({ "last_seq": 0 }));
    assert_eq!(bodies(&rig.take("chat")), ["one"]);
    let mut port = 8001;
    for _ in 1..REDIRECTS_MAX {
        rig.line(json!({ "msg_type": "redirect", "data": to(port) }));
        assert_eq!(rig.connecting, Some(address(port)));
        rig.log_in(&format!("server{}", port - 7999));
        rig.answer_join(json!({ "last_seq": 0 }));
        port = if port == 8001 { 8002 } else { 8001 };
    }
    let before_ms = rig.now_ms;
    for _ in 0..4 {
        rig.line(json!({ "msg_type": "redirect", "data": to(port) }));
        while rig.connecting.is_none() {
            rig.next_timeout();
        }
        rig.log_in("server1");
    }
    assert!(rig.now_ms > before_ms, "later ones wait");
}

#[test]
fn a_silent_server_is_left_within_a_second_and_an_idle_one_is_pinged() {
    let mut rig = Rig::in_lobby(&[8000], 0);
    rig.next_timeout();
    let ping = rig.take("ping").remove(0);
    rig.answer(&ping, "pong", json!({}));
    assert_eq!(rig.disconnects, 0);
    rig.send("lobby", "one");
    let sent_ms = rig.now_ms;
    while rig.disconnects == 0 {
        rig.next_timeout();
    }
    assert!(rig.now_ms - sent_ms < 1_000);
    assert!(rig.connecting.is_some(), "the next one at once");
    rig.log_in("server2");
    let gap = rig.told.iter().find_map(|update| match update {
        Update::Connection(Connection::Up { before: Some(before), .. }) => Some(before.gap_ms),
        _ => None,
    });
    assert_eq!(gap, Some(rig.now_ms - sent_ms), "since it was last heard");
}

#[test]
fn when_nobody_answers_the_user_is_told_once_and_the_pauses_grow() {
    let mut rig = Rig::in_lobby(&[8000], 0);
    rig.lost();
    let since_ms = rig.now_ms;
    let mut attempts = 0;
    while rig.now_ms < since_ms + 60_000 {
        if rig.connecting.take().is_some() {
            attempts += 1;
            rig.input(Input::ConnectFailed { reason: "refused".into() });
        } else {
            rig.next_timeout();
        }
    }
    assert!((30..80).contains(&attempts), "{attempts}");
    let told = std::mem::take(&mut rig.told);
    let down = told.iter().filter(|update| matches!(update, Update::Connection(Connection::Down { .. })));
    assert_eq!(down.count(), 1, "{told:?}");
    // Each pause that is long enough to be read, and none before the search has taken too long.
    let pauses: Vec<u64> = told
        .iter()
        .filter_map(|update| match update {
            Update::Retry { in_ms } => Some(*in_ms),
            _ => None,
        })
        .collect();
    assert!(pauses.len() > 20 && pauses.iter().all(|ms| (500..=2_500).contains(ms)), "{pauses:?}");
    rig.send("lobby", "kept");
    while rig.connecting.is_none() {
        rig.next_timeout();
    }
    rig.log_in("server1");
    rig.answer_join(json!({ "last_seq": 0 }));
    assert_eq!(bodies(&rig.take("chat")), ["kept"]);
}

#[test]
fn an_attempt_that_hangs_is_given_up() {
    let mut rig = Rig::new(&[8000, 8001]);
    assert_eq!(rig.connecting, Some(address(8000)), "the user's order at first");
    while rig.disconnects == 0 {
        rig.next_timeout();
    }
    while rig.connecting.is_none() {
        rig.next_timeout();
    }
    assert_eq!(rig.connecting, Some(address(8001)));
}

#[test]
fn without_a_server_discovery_comes_first_then_the_local_ports() {
    let mut rig = Rig::new(&[]);
    assert_eq!((rig.discovers, rig.connects), (1, 0));
    rig.input(Input::Discovered(vec![]));
    let mut ports = vec![];
    while ports.len() < 3 {
        match rig.connecting.take() {
            Some(address) => {
                ports.push(address.tcp_port);
                rig.input(Input::ConnectFailed { reason: "refused".into() });
            }
            None => rig.next_timeout(),
        }
    }
    assert_eq!(ports, [8000, 8001, 8002]);
    while rig.discovers == 1 {
        rig.next_timeout();
    }
    rig.input(Input::Discovered(vec![Address::new("10.0.0.9", 8000)]));
    assert_eq!(rig.connecting, Some(Address::new("10.0.0.9", 8000)), "what is new comes first");
}

#[test]
fn questions_are_answered_also_by_the_next_server() {
    let mut rig = Rig::in_lobby(&[8000], 0);
    rig.ask(5, Rooms { after: None, limit: None, joined: false });
    assert_eq!(rig.take("rooms").len(), 1);
    rig.lost();
    rig.log_in("server2");
    let rooms = rig.take("rooms").remove(0);
    let summary = json!({
        "room": "lobby", "private": false, "topic": "", "members": 1, "last_seq": 0, "joined": true,
        "last_read": 0, "unread": 0,
    });
    rig.answer(&rooms, "rooms", json!({ "rooms": [summary] }));
    let answered = rig.told.iter().any(|update| {
        let Update::Answered { tag: 5, reply } = update else { return false };
        matches!(&reply.outcome, Outcome::Done(Answer::Rooms(list)) if list.rooms.len() == 1)
    });
    assert!(answered, "{:?}", rig.told);
}

#[test]
fn a_refused_login_is_the_end() {
    let mut rig = Rig::new(&[8000]);
    rig.connecting.take();
    rig.input(Input::Connected);
    let login = rig.take("login").remove(0);
    rig.nack(&login, "name_taken", None);
    assert!(matches!(rig.told.last(), Some(Update::LoginNeeded { .. })));
    assert_eq!(rig.state.next_timeout_ms(), None);
    rig.send("lobby", "one");
    assert!(matches!(rig.told.last(), Some(Update::Refused { .. })));
    assert!(rig.disk.is_empty());
}

#[test]
fn bytes_that_are_no_message_change_nothing() {
    let mut rig = Rig::in_lobby(&[8000], 0);
    for line in [
        b"".as_slice(),
        b"\xff",
        b"{",
        b"[]",
        b"{\"msg_type\":\"nack\"}",
        b"{\"msg_type\":\"chat\",\"data\":{}}",
    ] {
        rig.input(Input::Received(line.to_vec()));
    }
    assert_eq!((rig.told.len(), rig.disconnects, rig.written.len()), (0, 0, 0));
}

#[test]
fn the_same_inputs_give_the_same_outputs() {
    let run = || {
        let mut rig = Rig::in_lobby(&[8000, 8001], 0);
        let mut trace = vec![];
        for step in 0..50 {
            rig.send("lobby", &step.to_string());
            if step % 7 == 3 {
                rig.lost();
            }
            rig.next_timeout();
            trace.push(format!("{:?} {} {:?}", rig.connecting, rig.now_ms, rig.written));
        }
        trace
    };
    assert_eq!(run(), run());
}
