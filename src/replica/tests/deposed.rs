//! A leader that was deposed and does not know it: its final answers must not contradict what was
//! acknowledged elsewhere before it was asked.

use serde_json::Value;

use super::{JOIN, chat, cluster::Cluster, field};
use crate::protocol::{Limits, limits::LAMPORT_AHEAD_MAX};

/// A cluster in which server 3 has led and does not know that server 2 leads now. Server 2 acknowledges what
/// `elsewhere` sends, and then server 3 is asked.
struct Deposed {
    cluster: Cluster,
    asked: Vec<u64>,
    /// What the leader answered before it was deposed.
    first: Vec<Value>,
}

const REGISTER: &str = r#"{"msg_type":"register","data":{"username":"alice","password":"correct horse"}}"#;
const LOGIN: &str = r#"{"msg_type":"login","data":{"username":"alice","password":"correct horse"}}"#;

fn by_token(token: &str) -> String {
    format!(r#"{{"msg_type":"login","data":{{"token":"{token}"}}}}"#)
}

impl Deposed {
    /// Sends these on connection 1 of the leader, which is deposed then.
    fn after(before: &[&str]) -> Deposed {
        let mut cluster = Cluster::new(3);
        cluster.limits = Limits { rooms_per_user: 1, ..Limits::default() };
        (1..=3).for_each(|number| cluster.start(number));
        cluster.run_ms(400);
        cluster.elect(3);
        cluster.say(3, 1, before);
        cluster.run_ms(100);
        cluster.become_operator(3, 2);
        cluster.say(3, 2, &[r#"{"msg_type":"ban","data":{"username":"spy"}}"#]);
        cluster.run_ms(100);
        let first = [cluster.answers(3, 1), cluster.answers(3, 2)].concat();
        assert!(first.iter().all(|answer| answer["msg_type"] == "ack"), "{first:?}");
        cluster.cut(3, 1);
        cluster.cut(3, 2);
        cluster.elect(2);
        Deposed { cluster, asked: Vec::new(), first }
    }

    /// Acknowledged by the new leader.
    fn elsewhere(&mut self, conn: u64, lines: &[&str]) -> Vec<Value> {
        self.cluster.say(2, conn, lines);
        self.cluster.settle();
        let answers = self.cluster.answers(2, conn);
        assert!(answers.len() == lines.len(), "{answers:?}");
        assert!(answers.iter().all(|answer| answer["msg_type"] == "ack"), "{answers:?}");
        answers
    }

    /// The token that the leader gave before it was deposed.
    fn token(&self) -> &str {
        let mut tokens = self.first.iter().filter_map(|answer| answer["data"]["token"].as_str());
        tokens.next_back().expect("somebody has logged in")
    }

    fn ask(&mut self, conn: u64, line: &str) {
        self.cluster.say(3, conn, &[line]);
        self.cluster.settle();
        self.asked.push(conn);
    }

    /// What it answered before it heard of the others, and after.
    fn answers(mut self) -> (Vec<Value>, Vec<Value>) {
        let heard = |cluster: &mut Cluster| -> Vec<Value> {
            self.asked.iter().flat_map(|conn| cluster.heard(3, *conn)).collect()
        };
        let before = heard(&mut self.cluster);
        self.cluster.mend(3, 1);
        self.cluster.mend(3, 2);
        self.cluster.run_ms(600);
        (before, heard(&mut self.cluster))
    }
}

#[test]
fn what_was_made_elsewhere_is_not_denied() {
    let mut deposed = Deposed::after(&[JOIN]);
    let den = JOIN.replace("lobby", "den");
    deposed.elsewhere(1, &[&den.replace("alice", "bob")]);
    deposed.elsewhere(2, &[&den]);
    deposed.ask(1, &chat("a").replace("lobby", "den"));
    let (before, after) = deposed.answers();
    assert!(before.is_empty(), "{before:?}");
    assert_eq!(field(&after[..1], "room"), ["den"], "{after:?}");
}

#[test]
fn a_ban_that_was_lifted_elsewhere_keeps_nobody_out() {
    let mut deposed = Deposed::after(&[JOIN]);
    deposed.cluster.become_operator(2, 2);
    deposed.elsewhere(2, &[r#"{"msg_type":"unban","data":{"username":"spy"}}"#]);
    deposed.ask(3, r#"{"msg_type":"login","data":{"username":"spy"}}"#);
    deposed.ask(4, &chat("a").replace("alice", "spy"));
    deposed.ask(5, r#"{"msg_type":"rooms","sender_id":"spy","data":{}}"#);
    let (before, after) = deposed.answers();
    assert!(before.is_empty(), "{before:?}");
    let [login, chat, rooms] = &after[..] else { panic!("{after:?}") };
    assert_eq!(login["msg_type"], "ack");
    for refused in [chat, rooms] {
        assert_eq!(
            (&refused["data"]["code"], &refused["data"]["retryable"]),
            (&"overloaded".into(), &true.into())
        );
    }
}

#[test]
fn a_password_and_a_token_of_elsewhere_are_good() {
    let mut deposed = Deposed::after(&[REGISTER]);
    let answers = deposed.elsewhere(1, &[LOGIN]);
    let token = answers[0]["data"]["token"].as_str().expect("a token").to_owned();
    let change = r#"{"msg_type":"change_password","data":{"old":"correct horse","new":"other horse"}}"#;
    deposed.elsewhere(1, &[change]);
    let another = deposed.elsewhere(3, &[&LOGIN.replace("correct", "other")]);
    let fresh = another[0]["data"]["token"].as_str().expect("a token");
    deposed.ask(3, &LOGIN.replace("correct", "other"));
    deposed.ask(4, &by_token(fresh));
    deposed.ask(5, LOGIN);
    deposed.ask(6, &by_token(&token));
    let (before, after) = deposed.answers();
    assert!(before.is_empty(), "{before:?}");
    let codes = field(&after, "code");
    let (null, bad) = (&Value::Null, &Value::from("bad_credentials"));
    assert_eq!(codes, [null, null, bad, bad], "{after:?}");
}

#[test]
fn a_right_that_was_given_elsewhere_counts() {
    let mut deposed = Deposed::after(&[REGISTER, LOGIN]);
    deposed.cluster.become_operator(2, 2);
    deposed.elsewhere(2, &[r#"{"msg_type":"set_admin","data":{"username":"alice","admin":true}}"#]);
    deposed.ask(1, r#"{"msg_type":"users","data":{}}"#);
    deposed.ask(1, r#"{"msg_type":"set_password","data":{"username":"alice","password":"other horse"}}"#);
    let (before, after) = deposed.answers();
    assert!(before.is_empty(), "{before:?}");
    let mut types: Vec<_> = after.iter().filter_map(|answer| answer["msg_type"].as_str()).collect();
    types.sort_unstable();
    types.dedup();
    assert_eq!(types, ["ack", "users"], "{after:?}");
}

#[test]
fn a_room_that_was_given_up_elsewhere_makes_room_for_another() {
    let mut deposed = Deposed::after(&[JOIN]);
    deposed.elsewhere(1, &[r#"{"msg_type":"delete_room","sender_id":"alice","data":{"room":"lobby"}}"#]);
    let den = JOIN.replace("lobby", "den");
    deposed.ask(1, &den);
    // A room of two users need not exist: it is made with the message.
    deposed.ask(1, r#"{"msg_type":"chat","data":{"to":"bob","body":"a","client_msg_id":"a"}}"#);
    let (before, after) = deposed.answers();
    assert!(before.is_empty(), "{before:?}");
    let nacks = after.iter().filter(|answer| answer["msg_type"] == "nack");
    let codes: Vec<_> = nacks.map(|nack| &nack["data"]["code"]).collect();
    assert!(codes.iter().all(|code| **code == "overloaded"), "{after:?}");
}

#[test]
fn who_is_over_a_limit_is_told_so_for_good() {
    let mut cluster = Cluster::new(1);
    cluster.limits = Limits { rooms_per_user: 1, ..Limits::default() };
    cluster.start(1);
    cluster.run_ms(400);
    cluster.elect(1);
    cluster.say(1, 1, &[JOIN, &chat("a")]);
    cluster.run_ms(40);
    cluster.heard(1, 1);
    cluster.say(1, 1, &[&JOIN.replace("lobby", "den"), &chat("b")]);
    cluster.run_ms(40);
    let answers = cluster.answers(1, 1);
    assert_eq!(
        field(&answers, "code"),
        [&Value::from("forbidden"), &Value::Null],
        "in their turn: {answers:?}"
    );
}

#[test]
fn no_read_leaves_out_what_was_acknowledged_elsewhere() {
    let mut deposed = Deposed::after(&[JOIN, &chat("a")]);
    let by_bob = |line: &str| line.replace("alice", "bob");
    let pin = r#"{"msg_type":"pin","sender_id":"alice","data":{"room":"lobby","seq":2}}"#;
    deposed.elsewhere(1, &[JOIN, pin]);
    deposed.elsewhere(3, &[&by_bob(JOIN), &by_bob(&chat("b"))]);
    let no_file = "0".repeat(32);
    let read_file = format!(r#"{{"msg_type":"file_read","data":{{"file_id":"{no_file}"}}}}"#);
    let reads = [
        (1, r#"{"msg_type":"rooms","data":{}}"#, "\"last_seq\":5"),
        (1, r#"{"msg_type":"members","data":{"room":"lobby"}}"#, "\"bob\""),
        (1, r#"{"msg_type":"pins","data":{"room":"lobby"}}"#, "\"pins\":[2]"),
        (1, r#"{"msg_type":"history","data":{"room":"lobby"}}"#, "\"body\":\"b\""),
        (1, r#"{"msg_type":"history","data":{"room":"lobby","since":0}}"#, "\"body\":\"b\""),
        (1, r#"{"msg_type":"search","data":{"query":"b"}}"#, "\"body\":\"b\""),
        (2, r#"{"msg_type":"users","data":{}}"#, "\"bob\""),
        (2, r#"{"msg_type":"export","data":{"room":"lobby"}}"#, "\"body\":\"b\""),
        (2, r#"{"msg_type":"export_rooms","data":{}}"#, "lobby"),
        (2, r#"{"msg_type":"audit","data":{}}"#, "\"ban\""),
        (2, r#"{"msg_type":"servers","data":{}}"#, "server3"),
        (2, r#"{"msg_type":"plan_servers","data":{"change":"drain","server_id":"server1"}}"#, "server1"),
        (1, r#"{"msg_type":"hooks","data":{"room":"lobby"}}"#, "\"hooks\":[]"),
        (1, &read_file, "not_found"),
    ];
    for (conn, read, _) in reads {
        deposed.ask(conn, read);
    }
    let (before, after) = deposed.answers();
    assert!(before.is_empty(), "{before:?}");
    for (_, read, part) in reads {
        let asked: Value = serde_json::from_str(read).unwrap();
        let mut answers = after.iter().filter(|answer| answer["data"]["for"] == asked["msg_type"]);
        assert!(answers.any(|answer| answer.to_string().contains(part)), "{read}: {after:?}");
    }
    assert!(after.iter().all(|answer| answer["data"]["stale"].is_null()), "{after:?}");
}

#[test]
fn a_clock_that_others_have_followed_is_not_too_far_ahead() {
    let mut deposed = Deposed::after(&[JOIN]);
    let at = |ahead: u64, line: &str| {
        let clock = format!(r#""lamport_timestamp":{},"data""#, LAMPORT_AHEAD_MAX + ahead);
        line.replacen("\"data\"", &clock, 1)
    };
    deposed.elsewhere(1, &[&at(0, JOIN)]);
    deposed.ask(1, &at(1_000, r#"{"msg_type":"rooms","data":{}}"#));
    deposed.ask(3, &at(1_000, r#"{"msg_type":"login","data":{"username":"bob"}}"#));
    deposed.ask(4, &at(1_000, &REGISTER.replace("alice", "carol")));
    let (before, after) = deposed.answers();
    assert!(before.is_empty(), "{before:?}");
    assert!(after.len() == 3 && after.iter().all(|answer| answer["msg_type"] != "nack"), "{after:?}");
}

#[test]
fn a_session_that_was_ended_elsewhere_lets_nobody_in_and_reads_nothing() {
    for end in [
        r#"{"msg_type":"logout","data":{"everywhere":true}}"#,
        r#"{"msg_type":"change_password","data":{"old":"correct horse","new":"other horse"}}"#,
        r#"{"msg_type":"ban","data":{"username":"alice"}}"#,
    ] {
        let mut deposed = Deposed::after(&[REGISTER, LOGIN]);
        let token = deposed.token().to_owned();
        if end.contains("\"ban\"") {
            deposed.cluster.become_operator(2, 1);
        } else {
            deposed.elsewhere(1, &[LOGIN]);
        }
        deposed.elsewhere(1, &[end]);
        deposed.ask(1, r#"{"msg_type":"rooms","data":{}}"#);
        deposed.ask(3, &by_token(&token));
        let (before, after) = deposed.answers();
        assert!(before.is_empty(), "{end}: {before:?}");
        let types: Vec<_> = after.iter().map(|line| line["msg_type"].as_str().unwrap_or("")).collect();
        assert_eq!(types, ["session_ended", "nack"], "{end}: {after:?}");
        assert_eq!(field(&after[1..], "code"), ["bad_credentials"], "{end}: {after:?}");
    }
}

#[test]
fn a_name_that_was_registered_or_banned_elsewhere_is_no_guests() {
    let guest = |name: &str| format!(r#"{{"msg_type":"login","data":{{"username":"{name}"}}}}"#);
    let mut deposed = Deposed::after(&[&guest("alice"), &guest("alice")]);
    deposed.elsewhere(1, &[REGISTER]);
    deposed.cluster.become_operator(2, 2);
    deposed.elsewhere(3, &[&guest("bob")]);
    deposed.elsewhere(2, &[r#"{"msg_type":"ban","data":{"username":"bob"}}"#]);
    deposed.ask(3, &guest("alice"));
    deposed.ask(4, &guest("bob"));
    let (before, after) = deposed.answers();
    assert!(before.is_empty(), "{before:?}");
    assert_eq!(field(&after, "code"), ["name_taken", "forbidden"], "{after:?}");
}

#[test]
fn a_server_that_knows_to_be_alone_says_that_it_may_be_stale_or_nothing_final() {
    let mut cluster = Cluster::led_by_the_last(3);
    cluster.say(3, 1, &[REGISTER, LOGIN]);
    cluster.run_ms(100);
    let token = cluster.answers(3, 1)[1]["data"]["token"].as_str().expect("a token").to_owned();
    cluster.say(3, 2, &[&JOIN.replace("alice", "bob")]);
    cluster.run_ms(100);
    cluster.heard(3, 2);
    cluster.kill(1);
    cluster.kill(2);
    cluster.run_ms(1_000);
    let guest = r#"{"msg_type":"login","data":{"username":"bob"}}"#;
    let of_lobby = |msg_type: &str| format!(r#"{{"msg_type":"{msg_type}","data":{{"room":"lobby"}}}}"#);
    let of_all = |msg_type: &str| format!(r#"{{"msg_type":"{msg_type}","data":{{"query":"a"}}}}"#);
    let stale = [
        guest,
        &of_lobby("history"),
        &of_lobby("members"),
        &of_lobby("pins"),
        &of_all("rooms"),
        &of_all("search"),
    ];
    cluster.say(3, 3, &stale);
    cluster.settle();
    let heard = cluster.heard(3, 3);
    let marks: Vec<_> = heard.iter().filter(|line| line["data"]["stale"] == true).collect();
    assert_eq!(marks.len(), stale.len(), "{heard:?}");
    let unsure = [
        by_token(&token),
        of_lobby("hooks").replace("\"data\"", "\"sender_id\":\"bob\",\"data\""),
        of_lobby("members").replace("lobby", "attic").replace("\"data\"", "\"sender_id\":\"bob\",\"data\""),
    ];
    for (conn, line) in (4..).zip(&unsure) {
        cluster.say(3, conn, &[line]);
        cluster.run_ms(100);
        assert!(cluster.heard(3, conn).is_empty(), "{line}");
    }
    cluster.run_ms(6_000);
    for (conn, line) in (4..).zip(&unsure) {
        assert_eq!(field(&cluster.answers(3, conn), "code"), ["unavailable"], "{line}");
    }
}
