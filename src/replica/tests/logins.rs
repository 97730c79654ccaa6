//! Requests that are awaited: a login, or one with a password. Nothing is read from the connection until it
//! is answered.

use serde_json::Value;

use super::{JOIN, chat, cluster::Cluster, field};
use crate::config::Followers;

const REGISTER: &str = r#"{"msg_type":"register","data":{"username":"alice","password":"correct horse"}}"#;
const LOGIN: &str = r#"{"msg_type":"login","data":{"username":"alice","password":"correct horse"}}"#;
const WRONG: &str = r#"{"msg_type":"login","data":{"username":"alice","password":"wrong horse"}}"#;
const PING: &str = r#"{"msg_type":"ping"}"#;

/// A cluster of one in which alice has an account.
fn with_alice() -> Cluster {
    let mut cluster = Cluster::led_by_the_last(1);
    cluster.say(1, 1, &[REGISTER]);
    cluster.run_ms(40);
    cluster.heard(1, 1);
    cluster
}

fn unknown_token() -> String {
    format!(r#"{{"msg_type":"login","data":{{"token":"snt_{}"}}}}"#, "A".repeat(43))
}

#[test]
fn what_is_sent_behind_a_login_waits_for_it_and_keeps_its_order() {
    let mut cluster = with_alice();
    cluster.unhashed = Some(Vec::new());
    cluster.say(1, 2, &[LOGIN, JOIN, &chat("a"), PING]);
    cluster.run_ms(1_000);
    assert!(cluster.heard(1, 2).is_empty(), "not even a ping is answered before");
    cluster.hash_all();
    cluster.run_ms(40);
    let answers = cluster.answers(1, 2);
    assert_eq!(field(&answers, "for"), ["login", "create_join", "chat"]);
    assert!(answers.iter().all(|answer| answer["msg_type"] == "ack"), "{answers:?}");
    assert_eq!(cluster.hashed, 2, "alice is who she has logged in as");
}

#[test]
fn an_administrator_is_told_so() {
    let mut cluster = with_alice();
    let told = |cluster: &mut Cluster, conn| {
        cluster.say(1, conn, &[LOGIN]);
        cluster.run_ms(200);
        cluster.heard(1, conn)[0]["data"]["administrator"].clone()
    };
    assert_eq!(told(&mut cluster, 2), Value::Null);
    cluster.become_operator(1, 3);
    cluster.say(1, 3, &[r#"{"msg_type":"set_admin","data":{"username":"alice","admin":true}}"#]);
    cluster.run_ms(40);
    assert_eq!(told(&mut cluster, 4), true);
}

#[test]
fn a_wrong_password_lets_what_was_sent_behind_it_be_answered() {
    let mut cluster = with_alice();
    cluster.say(1, 2, &[WRONG, JOIN, WRONG, PING]);
    cluster.run_ms(40);
    let heard = cluster.heard(1, 2);
    let codes: Vec<_> = field(&heard, "code").into_iter().filter_map(|code| code.as_str()).collect();
    assert_eq!(codes, ["bad_credentials", "not_authenticated", "bad_credentials"]);
    assert_eq!(heard[3]["msg_type"], "pong");
}

#[test]
fn a_password_that_was_not_hashed_counts_for_nothing() {
    let mut cluster = with_alice();
    for _ in 0..10 {
        cluster.unhashed = Some(Vec::new());
        cluster.say(1, 2, &[WRONG, PING]);
        cluster.settle();
        cluster.refuse_to_hash();
        let heard = cluster.heard(1, 2);
        assert_eq!(
            (&heard[0]["data"]["code"], &heard[0]["data"]["retry_after_ms"]),
            (&"overloaded".into(), &70.into())
        );
        assert_eq!(heard[1]["msg_type"], "pong");
    }
    cluster.say(1, 2, &[LOGIN]);
    cluster.run_ms(40);
    assert_eq!(cluster.answers(1, 2)[0]["msg_type"], "ack", "not one of them was a guess");
}

#[test]
fn nothing_comes_of_a_password_whose_connection_the_server_has_ended() {
    let mut cluster = with_alice();
    cluster.say(1, 2, &[LOGIN]);
    cluster.run_ms(40);
    cluster.heard(1, 2);
    cluster.unhashed = Some(Vec::new());
    let change = r#"{"msg_type":"change_password","data":{"old":"correct horse","new":"other horse"}}"#;
    cluster.say(1, 2, &[change, JOIN]);
    cluster.settle();
    let of_the_change = cluster.unhashed.take();
    cluster.say(1, 3, &[LOGIN]);
    cluster.run_ms(40);
    cluster.say(1, 3, &[r#"{"msg_type":"logout","data":{"everywhere":true}}"#]);
    cluster.run_ms(40);
    assert!(cluster.is_closed(1, 2));
    cluster.heard(1, 2);
    cluster.unhashed = of_the_change;
    cluster.hash_all();
    cluster.run_ms(40);
    assert!(cluster.heard(1, 2).is_empty());
    cluster.say(1, 4, &[LOGIN]);
    cluster.run_ms(40);
    assert_eq!(cluster.answers(1, 4)[0]["msg_type"], "ack", "the password is still the same");
}

/// The harness also asserts that no thread is told to read on that does not wait.
#[test]
fn whatever_becomes_of_an_awaited_request_its_client_is_heard_again() {
    let token = unknown_token();
    let mut cluster = with_alice();
    for request in [
        REGISTER,
        LOGIN,
        WRONG,
        &token,
        r#"{"msg_type":"login","data":{"username":"bob"}}"#,
        r#"{"msg_type":"login","data":{"username":"alice"}}"#,
        r#"{"msg_type":"operator_challenge"}"#,
        &format!(r#"{{"msg_type":"operator_login","data":{{"proof":"{}"}}}}"#, "0".repeat(64)),
        r#"{"msg_type":"set_password","data":{"username":"alice","password":"other horse"}}"#,
        r#"{"msg_type":"change_password","data":{"old":"correct horse","new":"other horse"}}"#,
        r#"{"msg_type":"close_account","data":{"password":"correct horse"}}"#,
        r#"{"msg_type":"create_bot","data":{"username":"robot"}}"#,
        r#"{"msg_type":"create_hook","data":{"room":"lobby","username":"robot"}}"#,
        r#"{"msg_type":"create_join","sender_id":"bob","data":{"room":"locked","password":"correct horse"}}"#,
        r#"{"msg_type":"room_password","data":{"room":"lobby","password":"other horse"}}"#,
    ] {
        for before in [None, Some(r#"{"msg_type":"login","data":{"username":"carol"}}"#), Some(LOGIN)] {
            let conn = cluster.new_conn();
            cluster.say(1, conn, &before.into_iter().chain([request, PING]).collect::<Vec<_>>());
            cluster.run_ms(60);
            let heard = cluster.heard(1, conn);
            assert_eq!(
                heard.last().expect("an answer")["msg_type"],
                "pong",
                "{before:?} {request}: {heard:?}"
            );
        }
    }
}

#[test]
fn a_server_that_sends_its_clients_elsewhere_lets_their_threads_go() {
    let mut cluster = Cluster::new(3);
    cluster.followers = Followers::Redirect;
    (1..=3).for_each(|number| cluster.start(number));
    cluster.run_ms(400);
    cluster.elect(3);
    cluster.say(1, 1, &[REGISTER, PING]);
    cluster.run_ms(40);
    assert!(cluster.is_closed(1, 1) && cluster.is_read_from(1, 1));
}

#[test]
fn without_a_majority_a_login_is_not_waited_for_for_ever() {
    let mut cluster = Cluster::led_by_the_last(3);
    cluster.say(3, 1, &[REGISTER]);
    cluster.run_ms(40);
    cluster.kill(1);
    cluster.kill(2);
    cluster.say(3, 2, &[LOGIN]);
    cluster.say(3, 3, &[&unknown_token()]);
    cluster.run_ms(1_000);
    assert!(!cluster.is_read_from(3, 2) && !cluster.is_read_from(3, 3));
    cluster.run_ms(5_000);
    for conn in [2, 3] {
        assert_eq!(field(&cluster.answers(3, conn), "code"), ["unavailable"]);
        assert!(cluster.is_closed(3, conn) && cluster.is_read_from(3, conn));
    }
}

#[test]
fn a_reserved_place_is_for_operators_and_administrators() {
    let mut cluster = Cluster::led_by_the_last(1);
    cluster.open_reserved(1, 1);
    let ping = r#"{"msg_type":"ping","sender_id":"alice","request_id":"p"}"#;
    cluster.say(1, 1, &[ping, JOIN, r#"{"msg_type":"login","data":{"username":"alice"}}"#]);
    cluster.run_ms(40);
    let heard = cluster.heard(1, 1);
    assert_eq!(heard[0]["msg_type"], "pong");
    assert_eq!(field(&heard[1..], "code"), ["overloaded", "overloaded"]);
    cluster.run_ms(4_900);
    assert!(!cluster.is_closed(1, 1));
    cluster.run_ms(100);
    assert_eq!(field(&cluster.heard(1, 1), "code"), ["overloaded"]);
    assert!(cluster.is_closed(1, 1));

    // An operator keeps the place.
    cluster.open_reserved(1, 2);
    cluster.become_operator(1, 2);
    cluster.say(1, 2, &[r#"{"msg_type":"users","request_id":"u"}"#]);
    cluster.run_ms(6_000);
    assert_eq!(cluster.heard(1, 2).last().unwrap()["msg_type"], "users");
    assert!(!cluster.is_closed(1, 2));
}
