//! What must hold between a leader and the servers that follow it.

use serde_json::Value;

use super::{JOIN, chat, cluster::Cluster, field};
use crate::{
    consensus::APPEND_RESPONSE,
    protocol::peer::{LogMark, PeerMessage, RaftMessage},
};

const BARRIER: &str =
    r#"{"msg_type":"ping","sender_id":"alice","request_id":"ping","data":{"barrier":true}}"#;

fn bodies(lines: &[Value]) -> Vec<&str> {
    let messages = lines.iter().filter(|line| line["msg_type"] == "chat");
    messages.filter_map(|line| line["data"]["body"].as_str()).collect()
}

#[test]
fn all_servers_may_ask_the_leader_at_the_same_moment() {
    let mut cluster = Cluster::led_by_the_last(3);
    for number in 1..=3 {
        cluster.say(number, 1, &[BARRIER]);
    }
    cluster.settle();
    for number in 1..=3 {
        let heard = cluster.heard(number, 1);
        assert_eq!(heard.first().map(|line| &line["msg_type"]), Some(&"pong".into()), "server{number}");
    }
}

#[test]
fn a_late_acknowledgement_says_nothing_about_a_log_that_was_not_sent() {
    let mut cluster = Cluster::with_alice_at(3);
    let old_term = cluster.replica(3).node().consensus.term();
    cluster.cut(1, 3);
    cluster.cut(2, 3);
    cluster.elect(2);
    cluster.say(2, 1, &[JOIN, &chat("a"), &chat("b")]);
    cluster.run_ms(40);
    let LogMark { last_log_index, .. } = cluster.replica(1).node().data_mark().log;
    // Server 3 may have another entry there: server 1 was never told that it is this one.
    let (to, from) =
        (cluster.replica(1).node().data_mark().node_id, cluster.replica(3).node().data_mark().node_id);
    cluster.mend(1, 3);
    cluster.cut(1, 2);
    let late = RaftMessage { kind: APPEND_RESPONSE, ..RaftMessage::empty(from, to, old_term) };
    for index in 0..=last_log_index {
        cluster.tell(1, 3, PeerMessage::Raft(Box::new(RaftMessage { index, ..late.clone() })));
    }
    cluster.kill(3);
    cluster.start(3);
    cluster.run_ms(200);
    assert!(cluster.quarantined.is_empty(), "{:?}", cluster.quarantined);
}

#[test]
fn who_catches_up_from_memory_is_not_shown_what_was_deleted() {
    let mut cluster = Cluster::with_alice_at(1);
    // Another device of hers: it follows from here on, and events that come meanwhile are kept for it.
    cluster.say(1, 2, &[BARRIER]);
    let delete = r#"{"msg_type":"delete","data":{"room":"lobby","seq":2}}"#;
    cluster.say(1, 1, &[&chat("secret"), delete]);
    cluster.run_ms(400);
    assert_eq!(bodies(&cluster.heard(1, 1)), ["secret"]);
    assert_eq!(bodies(&cluster.heard(1, 2)), [""]);
}

#[test]
fn what_the_leader_cannot_read_is_refused_and_holds_nothing_up() {
    let mut cluster = Cluster::with_alice_at(1);
    cluster.garbled = true;
    cluster.say(1, 1, &[&chat("a")]);
    cluster.run_ms(40);
    cluster.garbled = false;
    cluster.say(1, 1, &[&chat("b"), &chat("a")]);
    cluster.run_ms(40);
    let answers = cluster.answers(1, 1);
    assert_eq!(answers[0]["data"]["code"], "overloaded", "{answers:?}");
    assert_eq!(field(&answers, "seq")[1..], [2, 3]);
}

#[test]
fn a_server_that_lags_refuses_nothing_that_others_have_acknowledged() {
    let mut cluster = Cluster::led_by_the_last(3);
    cluster.say(2, 1, &[r#"{"msg_type":"create_join","sender_id":"bob","data":{"room":"lobby"}}"#]);
    cluster.run_ms(40);
    cluster.heard(2, 1);
    cluster.cut(2, 1);
    cluster.cut(2, 3);
    let den = r#"{"msg_type":"create_join","sender_id":"alice","data":{"room":"den","private":true}}"#;
    let invite = r#"{"msg_type":"invite","data":{"room":"den","username":"bob"}}"#;
    cluster.say(3, 1, &[den, invite, JOIN, &chat("a")]);
    cluster.run_ms(40);
    // Bob was told of both elsewhere.
    let enter = r#"{"msg_type":"create_join","data":{"room":"den"}}"#;
    let reply = r#"{"msg_type":"chat","data":{"room":"lobby","body":"b","client_msg_id":"b","reply_to":3}}"#;
    cluster.say(2, 1, &[enter]);
    cluster.say(2, 2, &[&reply.replace(r#""data""#, r#""sender_id":"bob","data""#)]);
    cluster.run_ms(40);
    assert!(cluster.answers(2, 1).is_empty() && cluster.answers(2, 2).is_empty());
    cluster.mend(2, 1);
    cluster.mend(2, 3);
    cluster.run_ms(400);
    for conn in [1, 2] {
        let answers = cluster.answers(2, conn);
        assert_eq!(answers[0]["msg_type"], "ack", "{answers:?}");
    }
    // A room that does not exist is refused in its turn, by the log.
    cluster.say(3, 1, &[&chat("c").replace("lobby", "nowhere")]);
    assert_eq!(field(&cluster.answers(3, 1), "for").len(), 4);
    cluster.settle();
    let answers = cluster.answers(3, 1);
    assert_eq!(field(&answers, "code"), ["not_found"]);
}

#[test]
fn a_leader_that_does_not_know_how_far_its_log_is_committed_refuses_nothing() {
    let mut cluster = Cluster::led_by_the_last(3);
    cluster.say(3, 1, &[&JOIN.replace("lobby", "den")]);
    cluster.round();
    // Server 2 has the entry and does not hear that it is committed.
    cluster.cut(2, 3);
    cluster.settle();
    assert_eq!(field(&cluster.answers(3, 1), "for"), ["create_join"]);
    cluster.kill(3);
    cluster.elect_only(2);
    cluster.say(2, 1, &[&chat("a").replace("lobby", "den")]);
    cluster.settle();
    let answers = cluster.answers(2, 1);
    assert_eq!(answers[0]["msg_type"], "ack", "{answers:?}");
}

#[test]
fn what_follows_a_message_that_was_refused_for_its_rate_does_not_overtake_it() {
    let mut cluster = Cluster::led_by_the_last(3);
    let slow = r#"{"msg_type":"room_settings","data":{"room":"lobby","slow_s":5}}"#;
    cluster.say(3, 9, &[JOIN, slow]);
    cluster.run_ms(40);
    // The leader's clients and a follower's hear it from the log.
    for (server, user) in [(3, "bob"), (1, "carol")] {
        let say = |id: &str, follows: &str| {
            let line = chat(id).replace("alice", user);
            line.replace("\"body\"", &format!("{follows}\"body\""))
        };
        let (first, second) = (say("1", ""), say("2", r#""follows":"1","#));
        let third = say("3", r#""follows":"2","#);
        let join = JOIN.replace("alice", user);
        cluster.say(server, 1, &[&join, &first]);
        cluster.run_ms(40);
        cluster.say(server, 1, &[&second]);
        cluster.run_ms(5_100);
        // The pause is over, but the second has not come again.
        cluster.say(server, 1, &[&third]);
        cluster.run_ms(40);
        cluster.say(server, 1, &[&second]);
        cluster.run_ms(5_100);
        cluster.say(server, 1, &[&third]);
        cluster.run_ms(40);
        let answers = cluster.answers(server, 1);
        let codes = field(&answers[1..], "code");
        let null = &Value::Null;
        assert_eq!(codes, [null, &"rate_limited".into(), &"overloaded".into(), null, null], "{answers:?}");
    }
}

#[test]
fn how_soon_an_export_is_refused_does_not_tell_whether_the_room_exists() {
    let mut cluster = Cluster::led_by_the_last(3);
    let account = r#""data":{"username":"root","password":"a long password"}"#;
    let (register, login) =
        (format!(r#"{{"msg_type":"register",{account}}}"#), format!(r#"{{"msg_type":"login",{account}}}"#));
    cluster.say(1, 1, &[&register]);
    cluster.run_ms(100);
    cluster.become_operator(1, 2);
    cluster.say(1, 2, &[r#"{"msg_type":"set_admin","data":{"username":"root","admin":true}}"#]);
    cluster.say(1, 3, &[&JOIN.replace("lobby", "den").replace(r#""den""#, r#""den","private":true"#)]);
    cluster.run_ms(100);
    cluster.say(1, 4, &[&login]);
    cluster.run_ms(100);
    cluster.heard(1, 4);
    cluster.cut(1, 2);
    cluster.cut(1, 3);
    let export = |room: &str| format!(r#"{{"msg_type":"export","data":{{"room":"{room}"}}}}"#);
    cluster.say(1, 4, &[&export("den"), &export("nowhere")]);
    cluster.run_ms(100);
    assert!(cluster.heard(1, 4).is_empty());
    cluster.mend(1, 2);
    cluster.mend(1, 3);
    cluster.run_ms(400);
    assert_eq!(field(&cluster.answers(1, 4), "code"), ["not_found", "not_found"]);
}
