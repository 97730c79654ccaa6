//! Stories of what users do on one connection.

use super::{cluster::Cluster, field};
use crate::protocol::RoomId;

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

fn ask(msg_type: &str, data: &str) -> String {
    format!(r#"{{"msg_type":"{msg_type}","sender_id":"alice","request_id":"{msg_type}","data":{data}}}"#)
}

fn say(cluster: &mut Cluster, conn: u64, lines: &[String]) {
    cluster.say(1, conn, &lines.iter().map(String::as_str).collect::<Vec<_>>());
    cluster.run_ms(40);
}

/// Begins an upload; gives its id.
fn begin_upload(cluster: &mut Cluster, conn: u64) -> String {
    let begin = ask("file_begin", r#"{"room":"lobby","name":"a.txt","size":40000}"#);
    say(cluster, conn, &[ask("create_join", r#"{"room":"lobby"}"#), begin]);
    let begun = cluster.answers(1, conn);
    begun[1]["data"]["file_id"].as_str().expect("an upload has begun").to_owned()
}

#[test]
fn an_upload_that_is_taken_back_is_answered_and_holds_nothing_up() {
    let mut cluster = Cluster::led_by_the_last(1);
    let file_id = begin_upload(&mut cluster, 1);
    let delete = ask("file_delete", &format!(r#"{{"file_id":"{file_id}"}}"#));
    say(&mut cluster, 1, &[delete, ask("chat", r#"{"room":"lobby","body":"and on"}"#)]);
    let answers = cluster.answers(1, 1);
    assert_eq!(field(&answers, "for"), ["file_delete", "chat"]);
    assert_eq!(answers[0]["data"]["received"], 0);
}

#[test]
fn an_upload_that_does_not_go_on_is_given_up_after_a_day() {
    let mut cluster = Cluster::led_by_the_last(3);
    let file_id = begin_upload(&mut cluster, 1);
    let delete = ask("file_delete", &format!(r#"{{"file_id":"{file_id}"}}"#));
    for (passes_ms, is_there) in [(DAY_MS - 60_000, true), (120_000, false)] {
        cluster.now.mono_ms += passes_ms;
        cluster.now.wall_ms += passes_ms;
        cluster.run_ms(3_000);
        let alice = crate::protocol::UserName::new("alice").unwrap().key();
        let bytes = cluster.replica(1).state().user(&alice).unwrap().file_bytes;
        assert_eq!(bytes > 0, is_there, "after {passes_ms} ms more");
    }
    say(&mut cluster, 2, &[delete]);
    assert_eq!(field(&cluster.answers(1, 2), "code"), ["not_found"]);
}

#[test]
fn no_request_may_be_far_ahead_of_the_servers_clock_not_even_one_that_only_asks() {
    let mut cluster = Cluster::led_by_the_last(1);
    for msg_type in
        ["ping", "status_request", "server_list", "rooms", "typing", "login", "operator_challenge"]
    {
        let far = 1_u64 << 40;
        let line = format!(
            r#"{{"msg_type":"{msg_type}","sender_id":"zed","request_id":"x","lamport_timestamp":{far},"data":{{"room":"lobby","topic":"","username":"zed"}}}}"#
        );
        say(&mut cluster, 1, &[line]);
        let answers = cluster.answers(1, 1);
        assert_eq!(field(&answers, "code"), ["bad_request"], "{msg_type}");
        assert!(answers[0]["data"]["reason"].as_str().unwrap().contains("lamport_timestamp"), "{msg_type}");
    }
}

#[test]
fn what_opens_a_new_room_is_as_long_as_any_password() {
    let mut cluster = Cluster::led_by_the_last(1);
    let join = |password: &str| ask("create_join", &format!(r#"{{"room":"den","password":"{password}"}}"#));
    say(&mut cluster, 1, &[join("short")]);
    let answers = cluster.answers(1, 1);
    assert_eq!(field(&answers, "code"), ["bad_request"]);
    assert!(answers[0]["data"]["reason"].as_str().unwrap().contains("password"));
    say(&mut cluster, 1, &[join("long enough")]);
    assert_eq!(field(&cluster.answers(1, 1), "created"), [true]);
}

#[test]
fn whoever_is_invited_is_told_at_once_and_finds_the_room_later() {
    let mut cluster = Cluster::led_by_the_last(3);
    let bob = r#"{"msg_type":"rooms","sender_id":"bob","request_id":"rooms"}"#;
    cluster.say(2, 7, &[bob]);
    cluster.run_ms(40);
    let make = ask("create_join", r#"{"room":"den","private":true}"#);
    let invite = ask("invite", r#"{"room":"den","username":"bob"}"#);
    say(&mut cluster, 1, &[make, invite]);
    cluster.run_ms(40);
    let heard = cluster.heard(2, 7);
    assert_eq!(heard[0]["data"]["rooms"], serde_json::json!([]));
    assert_eq!(heard[1]["msg_type"], "invited");
    let den = cluster.replica(1).state().rooms_from(RoomId(0)).next().unwrap().0;
    assert_eq!(heard[1]["data"], serde_json::json!({"room": "den", "room_id": den, "by": "alice"}));
    assert_eq!(heard.len(), 2, "nothing else of the room: {heard:?}");
    cluster.say(2, 7, &[bob]);
    cluster.run_ms(40);
    assert_eq!(cluster.heard(2, 7)[0]["data"]["rooms"][0]["invited"], true);
    say(&mut cluster, 1, &[ask("uninvite", r#"{"room":"den","username":"bob"}"#)]);
    cluster.run_ms(40);
    cluster.say(2, 7, &[bob]);
    cluster.run_ms(40);
    let heard = cluster.heard(2, 7);
    assert_eq!(heard[0]["msg_type"], "uninvited");
    assert_eq!(heard[1]["data"]["rooms"], serde_json::json!([]));
}

#[test]
fn a_member_fills_a_room_with_invitations_only_so_far() {
    let mut cluster = Cluster::led_by_the_last(1);
    say(&mut cluster, 1, &[ask("create_join", r#"{"room":"lobby"}"#)]);
    let bob = |msg_type: &str, data: &str| ask(msg_type, data).replace("alice", "bob");
    let invite = |number: usize| format!(r#"{{"room":"lobby","username":"guest{number}"}}"#);
    say(&mut cluster, 2, &[bob("create_join", r#"{"room":"lobby"}"#)]);
    cluster.answers(1, 2);
    let most = crate::chat::command::INVITED_BY_ONE_MAX;
    say(&mut cluster, 2, &(0..=most).map(|number| bob("invite", &invite(number))).collect::<Vec<_>>());
    let answers = cluster.answers(1, 2);
    assert_eq!(answers[most]["data"]["code"], "forbidden");
    assert!(answers[..most].iter().all(|answer| answer["msg_type"] == "ack"), "{answers:?}");
    // The moderator goes on.
    cluster.answers(1, 1);
    say(&mut cluster, 1, &[ask("invite", &invite(most))]);
    assert_eq!(cluster.answers(1, 1)[0]["msg_type"], "ack");
    // Each one that is taken back frees a place.
    say(&mut cluster, 2, &[bob("uninvite", &invite(0)), bob("invite", &invite(most + 1))]);
    assert!(cluster.answers(1, 2).iter().all(|answer| answer["msg_type"] == "ack"));
}

#[test]
fn a_login_moves_the_clock_past_what_it_claims() {
    let mut cluster = Cluster::led_by_the_last(1);
    let account = r#""username":"alice","password":"long enough""#;
    let register = format!(r#"{{"msg_type":"register","data":{{{account}}}}}"#);
    let login =
        format!(r#"{{"msg_type":"login","request_id":"in","lamport_timestamp":5000,"data":{{{account}}}}}"#);
    say(&mut cluster, 1, &[register]);
    cluster.run_ms(200);
    say(&mut cluster, 1, &[login]);
    cluster.run_ms(200);
    let answers = cluster.answers(1, 1);
    assert_eq!(answers.last().expect("an answer")["data"]["account"], true, "{answers:?}");
    assert!(cluster.replica(1).state().lamport() >= 5_000);
}

#[test]
fn a_guest_whose_login_is_acknowledged_can_be_written_to_from_every_server_at_once() {
    let mut cluster = Cluster::led_by_the_last(3);
    let login = |name: &str| format!(r#"{{"msg_type":"login","data":{{"username":"{name}"}}}}"#);
    for (home, elsewhere, name) in [(1, 2, "bob"), (2, 3, "carol"), (3, 1, "dave")] {
        cluster.say(home, 1, &[&login(name)]);
        // Before any server has told the others who is online.
        cluster.settle();
        assert_eq!(field(&cluster.answers(home, 1), "for"), ["login"]);
        let to = ask("chat", &format!(r#"{{"to":"{name}","body":"psst"}}"#));
        cluster.say(elsewhere, 2, &[&to]);
        // The name stays known when its guest is gone.
        cluster.hang_up(home, 1);
        cluster.run_ms(40);
        cluster.say(elsewhere, 2, &[&to]);
        cluster.run_ms(40);
        let answers = cluster.answers(elsewhere, 2);
        assert_eq!(answers.iter().filter(|answer| answer["msg_type"] == "ack").count(), 2, "{answers:?}");
        cluster.hang_up(elsewhere, 2);
    }
}

#[test]
fn a_guest_waits_for_a_majority_to_know_the_name_but_not_for_ever() {
    let mut cluster = Cluster::led_by_the_last(3);
    let login = |name: &str| ask("login", &format!(r#"{{"username":"{name}"}}"#));
    say(&mut cluster, 1, &[login("bob")]);
    assert_eq!(field(&cluster.answers(1, 1), "for"), ["login"]);
    cluster.cut(1, 2);
    cluster.cut(1, 3);
    cluster.say(1, 2, &[&login("bob")]);
    cluster.say(1, 3, &[&login("carol")]);
    cluster.run_ms(100);
    assert_eq!(field(&cluster.answers(1, 2), "for"), ["login"]);
    assert!(cluster.heard(1, 3).is_empty());
    // Without a majority a guest may read what is there, without waiting.
    cluster.run_ms(6_000);
    assert_eq!(field(&cluster.answers(1, 3), "for"), ["login"]);
    assert!(!cluster.is_closed(1, 3) && cluster.is_read_from(1, 3));
    assert_eq!(cluster.replica(1).leader(), None);
    cluster.say(1, 4, &[&login("dave")]);
    cluster.run_ms(20);
    assert_eq!(field(&cluster.answers(1, 4), "for"), ["login"]);
    // The first thing that they do makes the name known.
    cluster.mend(1, 2);
    cluster.mend(1, 3);
    cluster.run_ms(2_000);
    cluster.say(1, 4, &[r#"{"msg_type":"create_join","data":{"room":"lobby"}}"#]);
    cluster.run_ms(1_000);
    cluster.say(2, 5, &[&login("erin"), r#"{"msg_type":"chat","data":{"to":"dave","body":"psst"}}"#]);
    cluster.run_ms(1_000);
    let answers = cluster.answers(2, 5);
    assert_eq!(answers.last().expect("an answer")["msg_type"], "ack", "{answers:?}");
}
