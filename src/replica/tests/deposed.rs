//! A leader that was deposed and does not know it: its final answers must not contradict what was
//! acknowledged elsewhere before it was asked.

use serde_json::Value;

use super::{JOIN, chat, cluster::Cluster, field};
use crate::protocol::Limits;

/// A cluster in which server 3 has led and does not know that server 2 leads now. Server 2 acknowledges what
/// `elsewhere` sends, and then server 3 is asked.
struct Deposed {
    cluster: Cluster,
    asked: Vec<u64>,
}

const REGISTER: &str = r#"{"msg_type":"register","data":{"username":"alice","password":"correct horse"}}"#;
const LOGIN: &str = r#"{"msg_type":"login","data":{"username":"alice","password":"correct horse"}}"#;

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
        let answers = [cluster.answers(3, 1), cluster.answers(3, 2)].concat();
        assert!(answers.iter().all(|answer| answer["msg_type"] == "ack"), "{answers:?}");
        cluster.cut(3, 1);
        cluster.cut(3, 2);
        cluster.elect(2);
        Deposed { cluster, asked: Vec::new() }
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
    let by_token = |token: &str| format!(r#"{{"msg_type":"login","data":{{"token":"{token}"}}}}"#);
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
