//! What is read: pages, joins and barriers, while rows wait to be written.

use serde_json::Value;

use crate::election::membership::PeerView;

use super::{
    JOIN, chat,
    cluster::{Cluster, applied, applied_in_memory},
    field,
};

/// Alice is in the lobby, and what she has said there is acknowledged and not written yet.
fn with_two_unwritten() -> Cluster {
    let mut cluster = Cluster::with_alice_at(3);
    cluster.say(3, 1, &[&chat("a"), &chat("b")]);
    cluster.settle();
    assert_eq!(field(&cluster.answers(3, 1), "seq"), [2, 3]);
    assert!(applied(&cluster, 3) < applied_in_memory(&cluster, 3));
    cluster
}

#[test]
fn neither_an_answer_nor_a_page_waits_for_its_rows() {
    let mut cluster = with_two_unwritten();
    cluster.say(3, 1, &[r#"{"msg_type":"history","data":{"room":"lobby"}}"#]);
    cluster.settle();
    let page = cluster.heard(3, 1).remove(0);
    assert_eq!(field_of(page["data"]["events"].as_array().expect("a list")), [1, 2, 3]);
    assert!(applied(&cluster, 3) < applied_in_memory(&cluster, 3));
    // A page by time does, and so does a search.
    cluster.say(3, 1, &[r#"{"msg_type":"history","data":{"room":"lobby","since":1}}"#]);
    cluster.settle();
    let page = cluster.heard(3, 1).remove(0);
    assert_eq!(field_of(page["data"]["events"].as_array().expect("a list")), [1, 2, 3]);
    assert_eq!(applied(&cluster, 3), applied_in_memory(&cluster, 3));
    // Without a reader, they are written all the same.
    cluster.say(3, 1, &[&chat("c")]);
    cluster.run_ms(400);
    assert_eq!(applied(&cluster, 3), applied_in_memory(&cluster, 3));
}

#[test]
fn a_page_has_what_is_written_and_what_is_not() {
    let mut cluster = Cluster::with_alice_at(3);
    cluster.disk(3).write_behind(u32::MAX);
    cluster.say(3, 1, &[&chat("a")]);
    cluster.run_ms(400);
    // It is handed on, and the next one waits in memory.
    cluster.say(3, 1, &[&chat("b"), r#"{"msg_type":"edit","data":{"room":"lobby","seq":2,"body":"A"}}"#]);
    cluster.settle();
    assert_eq!(field(&cluster.answers(3, 1), "seq"), [2, 3, 4], "an old event is found where it waits");
    for (asked, seqs) in [
        ("", vec![1, 2, 3, 4]),
        (r#","limit":2"#, vec![3, 4]),
        (r#","before":4,"limit":2"#, vec![2, 3]),
        (r#","after":0,"limit":2"#, vec![1, 2]),
        (r#","after":1,"limit":2"#, vec![2, 3]),
        (r#","after":4"#, vec![]),
    ] {
        cluster.say(3, 1, &[&format!(r#"{{"msg_type":"history","data":{{"room":"lobby"{asked}}}}}"#)]);
        cluster.settle();
        let page = cluster.heard(3, 1).remove(0);
        let events = page["data"]["events"].as_array().expect("a list");
        assert_eq!(field_of(events), seqs, "{asked}");
        let edited = events.iter().find(|event| event["seq"] == 2);
        assert!(edited.is_none_or(|event| event["body"] == "A"), "{page}");
    }
    // Who enters is shown them as well.
    let join = r#"{"msg_type":"create_join","sender_id":"bob","data":{"room":"lobby","history":10}}"#;
    cluster.say(3, 2, &[join]);
    cluster.settle();
    let answers = cluster.heard(3, 2);
    let joined = answers.iter().find(|line| line["data"]["events"].is_array()).expect("a join");
    assert_eq!(field_of(joined["data"]["events"].as_array().expect("a list")), [1, 2, 3, 4, 5]);
    // What waits for rows still does.
    cluster.say(3, 1, &[r#"{"msg_type":"history","data":{"room":"lobby","since":1}}"#]);
    cluster.run_ms(400);
    assert!(!cluster.heard(3, 1).iter().any(|line| line["data"]["events"].is_array()));
    cluster.disk(3).write_behind(0);
    cluster.run_ms(400);
    assert!(cluster.heard(3, 1).iter().any(|line| line["data"]["events"].is_array()));
}

#[test]
fn what_was_not_written_is_applied_again_after_a_restart() {
    let mut cluster = with_two_unwritten();
    let before = cluster.replica(3).state().clone();
    (1..=3).for_each(|number| {
        assert!(applied(&cluster, number) < applied_in_memory(&cluster, number));
        cluster.kill(number);
    });
    (1..=3).for_each(|number| cluster.start(number));
    cluster.elect(3);
    cluster.run_ms(400);
    assert_eq!(*cluster.replica(3).state(), before);
    cluster.say(3, 2, &[JOIN, &chat("b"), &chat("c")]);
    cluster.run_ms(400);
    let answers = cluster.answers(3, 2);
    assert_eq!(field(&answers, "seq")[1..], [3, 4]);
    assert_eq!(field(&answers, "duplicate")[1..], [true, false]);
    (1..=3).for_each(|number| assert_eq!(applied(&cluster, number), applied(&cluster, 3)));
}

#[test]
fn a_join_answer_is_where_the_pushes_begin() {
    let mut cluster = Cluster::led_by_the_last(3);
    cluster.say(3, 1, &[JOIN, &chat("a"), &chat("b")]);
    cluster.run_ms(40);
    let bob = r#"{"msg_type":"create_join","sender_id":"bob","data":{"room":"lobby","after":2}}"#;
    cluster.say(2, 1, &[bob]);
    cluster.run_ms(40);
    cluster.say(3, 1, &[&chat("c")]);
    cluster.run_ms(40);
    let heard = cluster.heard(2, 1);
    let seqs = |events: &Value| {
        events.as_array().expect("a list").iter().map(|event| event["seq"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(seqs(&heard[0]["data"]["events"]), [3, 4]);
    assert_eq!(heard[1]["data"]["seq"], 5);
    assert_eq!(heard.len(), 2);
}

/// What a connection was shown of the rooms: the `seq` of pushes, and the lists of them in join answers.
fn shown(heard: &[Value]) -> Vec<String> {
    let of_rooms =
        heard.iter().filter(|line| line["data"]["for"] != "login" && line["data"]["for"] != "chat");
    let seqs = |line: &Value| match line["data"]["events"].as_array() {
        Some(events) => format!("{:?}", field_of(events)),
        None => line["data"]["seq"].to_string(),
    };
    of_rooms.map(seqs).collect()
}

fn field_of(events: &[Value]) -> Vec<u64> {
    events.iter().filter_map(|event| event["seq"].as_u64()).collect()
}

#[test]
fn nothing_of_a_room_is_pushed_ahead_of_the_join_that_was_asked_for() {
    let mut cluster = Cluster::led_by_the_last(3);
    cluster.say(3, 1, &[JOIN, &chat("a"), &chat("b")]);
    let bob = r#"{"msg_type":"create_join","sender_id":"bob","data":{"room":"lobby"}}"#;
    cluster.say(3, 2, &[bob]);
    cluster.run_ms(40);
    let login = r#"{"msg_type":"login","data":{"username":"alice"}}"#;
    let resume = r#"{"msg_type":"create_join","data":{"room":"lobby","after":2}}"#;
    // Her rooms would be followed from the login on when she speaks.
    let bobs = chat("c").replace("alice", "bob");
    cluster.say(3, 3, &[login]);
    cluster.say(3, 2, &[&bobs]);
    cluster.say(3, 3, &[resume, &chat("d")]);
    cluster.run_ms(40);
    assert_eq!(shown(&cluster.heard(3, 3)), ["[3, 4, 5]", "6"]);
    // A room that she comes to on another connection while she asks for it on this one.
    let other = r#"{"msg_type":"create_join","sender_id":"alice","data":{"room":"attic"}}"#;
    let first = r#"{"msg_type":"create_join","data":{"room":"attic","after":0}}"#;
    cluster.say(3, 1, &[other, &chat("e").replace("lobby", "attic")]);
    cluster.say(3, 3, &[first]);
    cluster.run_ms(40);
    assert_eq!(shown(&cluster.heard(3, 3)), ["[1, 2]"]);
    // The log takes so long to decide that the time after which rooms are followed unasked passes.
    cluster.cut(1, 3);
    cluster.cut(2, 3);
    cluster.say(3, 4, &[login]);
    cluster.say(3, 1, &[&chat("f")]);
    cluster.say(3, 4, &[resume]);
    cluster.run_ms(700);
    cluster.mend(1, 3);
    cluster.mend(2, 3);
    cluster.run_ms(40);
    cluster.elect(3);
    cluster.run_ms(40);
    cluster.say(3, 2, &[&chat("g").replace("alice", "bob")]);
    cluster.run_ms(40);
    assert_eq!(shown(&cluster.heard(3, 4))[..2], ["[3, 4, 5, 6, 7]", "8"]);
}

#[test]
fn a_barrier_waits_for_the_leader() {
    let mut cluster = Cluster::led_by_the_last(3);
    cluster.cut(1, 3);
    cluster.say(1, 1, &[r#"{"msg_type":"ping","request_id":1,"data":{"barrier":true}}"#]);
    cluster.run_ms(400);
    assert!(cluster.heard(1, 1).is_empty(), "cut off from the leader it cannot know");
    cluster.mend(1, 3);
    cluster.run_ms(400);
    assert_eq!(cluster.heard(1, 1)[0]["msg_type"], "pong");
}

#[test]
fn history_may_be_old_only_where_the_leader_is_out_of_reach() {
    let mut cluster = Cluster::with_alice_at(1);
    let linked = PeerView { linked: true, ..PeerView::default() };
    for (view, stale) in [
        (PeerView { alive: true, ..linked.clone() }, false),
        // Both have just started: the link stands, the first heartbeat is still to come.
        (linked.clone(), false),
        (PeerView { last_heartbeat_ms: Some(1), ..linked }, true),
        (PeerView::default(), true),
    ] {
        cluster.believe(1, 3, view.clone());
        cluster.say(1, 1, &[r#"{"msg_type":"history","data":{"room":"lobby"}}"#]);
        cluster.settle();
        let page = cluster.heard(1, 1).remove(0);
        assert_eq!(page["data"]["stale"] == true, stale, "{view:?}: {page}");
    }
}
