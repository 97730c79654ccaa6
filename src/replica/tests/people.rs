//! Stories of what people do on one connection.

use super::{cluster::Cluster, field};

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
