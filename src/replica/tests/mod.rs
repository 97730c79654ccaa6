//! Stories of whole clusters: what must hold when servers and links come and go.

mod balance;
mod cluster;
mod damage;
mod deposed;
mod followers;
mod leads;
mod lists;
mod logins;
mod passages;
mod people;
mod room;
mod servers;
mod sessions;

use std::collections::BTreeSet;

use serde_json::Value;

use crate::{
    config::Followers,
    disk::{EventRange, Reader, RoomId, Storage},
    election::membership::PeerView,
    protocol::{peer::NodeId, status::Role},
    replica::clocks::DISTRUST_MS,
    storage::{Kept, MemoryImage},
};

use self::cluster::{Cluster, applied, id};

const JOIN: &str =
    r#"{"msg_type":"create_join","sender_id":"alice","request_id":"join","data":{"room":"lobby"}}"#;

fn chat(body: &str) -> String {
    format!(
        r#"{{"msg_type":"chat","sender_id":"alice","request_id":"{body}","data":{{"room":"lobby","body":"{body}","client_msg_id":"{body}"}}}}"#
    )
}

fn field<'a>(lines: &'a [Value], field: &str) -> Vec<&'a Value> {
    lines.iter().map(|line| &line["data"][field]).collect()
}

#[test]
fn a_cluster_begins_when_all_have_met_and_not_before() {
    let mut cluster = Cluster::new(3);
    cluster.start(1);
    cluster.start(2);
    cluster.run_ms(1_000);
    assert_eq!([cluster.role(1), cluster.role(2)], [Role::Forming, Role::Forming]);
    assert!(cluster.replica(1).status(cluster.now).note.contains("server3"));
    cluster.start(3);
    cluster.run_ms(400);
    assert_eq!([cluster.role(1), cluster.role(2), cluster.role(3)], [Role::Follower; 3]);
}

#[test]
fn a_follower_serves_writes_in_order_and_repeats_get_their_old_place() {
    let mut cluster = Cluster::led_by_the_last(3);
    cluster.say(1, 1, &[JOIN, &chat("a"), &chat("b"), &chat("a")]);
    cluster.run_ms(40);
    let answers = cluster.answers(1, 1);
    assert_eq!(field(&answers, "for"), ["create_join", "chat", "chat", "chat"]);
    assert_eq!(field(&answers, "seq")[1..], [2, 3, 2]);
    assert_eq!(field(&answers, "duplicate")[1..], [false, false, true]);
}

#[test]
fn what_waited_for_a_dead_leader_is_committed_once_by_the_next() {
    let mut cluster = Cluster::led_by_the_last(3);
    cluster.say(1, 1, &[JOIN]);
    cluster.run_ms(40);
    cluster.heard(1, 1);
    // The leader is gone before these reach it.
    cluster.kill(3);
    cluster.say(1, 1, &[&chat("a"), &chat("b")]);
    cluster.run_ms(100);
    assert!(cluster.answers(1, 1).is_empty());
    cluster.elect(2);
    cluster.run_ms(40);
    assert_eq!(field(&cluster.answers(1, 1), "seq"), [2, 3]);
    cluster.start(3);
    cluster.run_ms(200);
    assert_eq!(cluster.replica(3).state(), cluster.replica(1).state());
}

#[test]
fn a_server_that_was_chosen_before_it_voted_does_not_depose_the_winner() {
    let mut cluster = Cluster::led_by_the_last(3);
    cluster.kill(3);
    let term = cluster.replica(2).node().consensus.term();
    cluster.elect(1);
    cluster.campaign(2, term);
    cluster.settle();
    assert_eq!([cluster.role(1), cluster.role(2)], [Role::Leader, Role::Follower]);
    assert_eq!(cluster.replica(1).node().consensus.term(), term + 1);
}

#[test]
fn without_a_majority_the_outcome_is_unknown_and_the_connection_ends() {
    let mut cluster = Cluster::led_by_the_last(3);
    cluster.say(3, 1, &[JOIN]);
    cluster.run_ms(40);
    cluster.heard(3, 1);
    cluster.kill(1);
    cluster.kill(2);
    cluster.say(3, 1, &[&chat("a")]);
    cluster.run_ms(5_100);
    let answers = cluster.answers(3, 1);
    assert_eq!(field(&answers, "code"), ["unavailable"]);
    assert!(cluster.is_closed(3, 1));
    assert_ne!(cluster.role(3), Role::Leader, "a leader without a majority steps down");
    // It was in the log already, so it may happen; sent again, it happens once.
    cluster.start(1);
    cluster.run_ms(300);
    cluster.elect(3);
    cluster.say(3, 2, &[JOIN, &chat("a")]);
    cluster.run_ms(40);
    let answers = cluster.answers(3, 2);
    assert_eq!(answers[1]["data"]["seq"], 2);
}

#[test]
fn nothing_overtakes_a_message_that_was_sent_elsewhere_in_its_turn() {
    let mut cluster = Cluster::new(3);
    cluster.followers = Followers::Redirect;
    (1..=3).for_each(|number| cluster.start(number));
    cluster.run_ms(400);
    cluster.elect(3);
    cluster.say(3, 1, &[JOIN]);
    cluster.run_ms(40);
    cluster.heard(3, 1);
    cluster.cut(1, 3);
    cluster.cut(2, 3);
    cluster.say(3, 1, &[&chat("a")]);
    cluster.run_ms(700);
    assert_ne!(cluster.role(3), Role::Leader, "it has lost its majority");
    // There is no server to send the client to, and that is said in its turn: after the answer to a.
    cluster.say(3, 1, &[&chat("b")]);
    cluster.mend(1, 3);
    cluster.mend(2, 3);
    cluster.run_ms(40);
    cluster.elect_only(3);
    // Now it could be taken, while a is still undecided. But b will come again, on another connection.
    assert!(!cluster.is_closed(3, 1));
    cluster.say(3, 1, &[&chat("c")]);
    cluster.run_ms(40);
    let answers = cluster.answers(3, 1);
    assert_eq!(field(&answers, "code"), [&Value::Null, &"unavailable".into()], "{answers:?}");
    assert!(cluster.is_closed(3, 1));
    cluster.say(3, 2, &[JOIN, &chat("b"), &chat("c")]);
    cluster.run_ms(40);
    assert_eq!(field(&cluster.answers(3, 2), "seq")[1..], [3, 4]);
}

#[test]
fn a_deleted_server_comes_back_under_a_new_incarnation_and_votes_again() {
    let mut cluster = Cluster::led_by_the_last(3);
    cluster.say(3, 1, &[JOIN, &chat("a")]);
    cluster.run_ms(40);
    let before = cluster.replica(1).node().data_mark().node_id;
    cluster.kill(1);
    cluster.disk(1).wipe();
    cluster.start(1);
    // While the change of the voters is under way a second loss would be one too many, and the status says
    // so.
    let mut notes = BTreeSet::new();
    for _ in 0..100 {
        cluster.run_ms(20);
        notes.insert(cluster.replica(3).status(cluster.now).note);
    }
    assert!(notes.iter().any(|note| note.contains("being taken in")), "{notes:?}");
    assert_eq!(cluster.replica(3).status(cluster.now).note, "");
    assert_ne!(cluster.replica(1).node().data_mark().node_id, before);
    assert!(cluster.replica(1).node().may_vote());
    assert_eq!(cluster.replica(1).state(), cluster.replica(3).state());
    // It counts: with it and one other there is a majority.
    cluster.kill(3);
    cluster.elect(1);
    cluster.say(1, 1, &[JOIN, &chat("b")]);
    cluster.run_ms(40);
    assert_eq!(field(&cluster.answers(1, 1), "for"), ["create_join", "chat"]);
}

#[test]
fn an_old_backup_is_found_out_and_rebuilt() {
    let mut cluster = Cluster::led_by_the_last(3);
    cluster.say(3, 1, &[JOIN]);
    cluster.run_ms(40);
    let backup = cluster.disk(1).image();
    cluster.say(3, 1, &[&chat("a"), &chat("b")]);
    cluster.run_ms(200);
    cluster.kill(1);
    cluster.disk(1).restore(&backup);
    cluster.start(1);
    cluster.run_ms(2_000);
    assert_eq!(cluster.quarantined.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [1]);
    assert!(cluster.replica(1).node().may_vote());
    assert_eq!(cluster.replica(1).state(), cluster.replica(3).state());
}

#[test]
fn what_is_remembered_of_the_others_outlives_a_restart_of_all() {
    let mut cluster = Cluster::led_by_the_last(3);
    cluster.say(3, 1, &[JOIN]);
    cluster.run_ms(40);
    let backup = cluster.disk(1).image();
    cluster.say(3, 1, &[&chat("a"), &chat("b")]);
    cluster.run_ms(2_000);
    (1..=3).for_each(|number| cluster.kill(number));
    cluster.disk(1).restore(&backup);
    (1..=3).for_each(|number| cluster.start(number));
    cluster.elect(3);
    cluster.run_ms(2_000);
    assert_eq!(cluster.quarantined.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [1]);
    assert_eq!(cluster.replica(1).state(), cluster.replica(3).state());
}

#[test]
fn what_others_have_promised_is_stored_with_what_comes_of_it() {
    let restart_with = |cluster: &mut Cluster, copy: &MemoryImage, count: usize| {
        (1..=count).for_each(|number| cluster.kill(number));
        cluster.disk(1).restore(copy);
        (1..=count).for_each(|number| cluster.start(number));
        let quarantined: Vec<_> = cluster.quarantined.iter().map(|(number, _)| *number).collect();
        assert_eq!(quarantined, [1], "no time has passed, but for what had to be synced");
    };
    // A vote, with the first entry of its term.
    let mut cluster = Cluster::led_by_the_last(3);
    cluster.run_ms(100);
    cluster.kill(3);
    let copy = cluster.disk(1).image();
    cluster.elect(2);
    restart_with(&mut cluster, &copy, 2);
    // An acknowledgement, with the next entry.
    let mut cluster = Cluster::led_by_the_last(3);
    cluster.say(3, 1, &[JOIN]);
    cluster.run_ms(100);
    let copy = cluster.disk(1).image();
    for text in ["a", "b"] {
        cluster.say(3, 1, &[&chat(text)]);
        cluster.settle();
    }
    restart_with(&mut cluster, &copy, 3);
}

fn applied_in_memory(cluster: &Cluster, number: usize) -> u64 {
    cluster.replica(number).status(cluster.now).applied_index
}

#[test]
fn neither_an_answer_nor_a_page_waits_for_its_rows() {
    let mut cluster = Cluster::led_by_the_last(3);
    cluster.say(3, 1, &[JOIN]);
    cluster.run_ms(400);
    cluster.heard(3, 1);
    cluster.say(3, 1, &[&chat("a"), &chat("b")]);
    cluster.settle();
    assert_eq!(field(&cluster.answers(3, 1), "seq"), [2, 3]);
    assert!(applied(&cluster, 3) < applied_in_memory(&cluster, 3));
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
    let mut cluster = Cluster::led_by_the_last(3);
    cluster.say(3, 1, &[JOIN]);
    cluster.run_ms(400);
    cluster.heard(3, 1);
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
    let mut cluster = Cluster::led_by_the_last(3);
    cluster.say(3, 1, &[JOIN]);
    cluster.run_ms(400);
    cluster.heard(3, 1);
    cluster.say(3, 1, &[&chat("a"), &chat("b")]);
    cluster.settle();
    assert_eq!(field(&cluster.answers(3, 1), "seq"), [2, 3]);
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

/// Server 1 is down, and the entries that it lacks are in no log any more. Returned with it: how far it had
/// come, and its incarnation.
fn one_is_far_behind() -> (Cluster, (u64, NodeId)) {
    let mut cluster = Cluster::new(3);
    cluster.keep_entries = 10;
    (1..=3).for_each(|number| cluster.start(number));
    cluster.run_ms(400);
    cluster.elect(3);
    cluster.say(3, 1, &[JOIN]);
    cluster.run_ms(400);
    let before = (applied(&cluster, 1), cluster.replica(1).node().data_mark().node_id);
    cluster.kill(1);
    for number in 0..60 {
        cluster.say(3, 1, &[&chat(&format!("m{number}"))]);
        cluster.run_ms(40);
    }
    (cluster, before)
}

#[test]
fn a_server_that_was_away_too_long_gets_a_snapshot() {
    let (mut cluster, _) = one_is_far_behind();
    cluster.start(1);
    cluster.run_ms(1_000);
    assert_eq!(applied(&cluster, 1), applied(&cluster, 3));
    assert_eq!(cluster.replica(1).state(), cluster.replica(3).state());
    assert!(cluster.quarantined.is_empty());
    // The snapshot must carry which messages were sent already, besides the rooms.
    cluster.say(1, 7, &[JOIN, &chat("m5")]);
    cluster.run_ms(40);
    assert_eq!(cluster.answers(1, 7)[1]["data"]["duplicate"], true);
}

#[test]
fn a_snapshot_that_cannot_be_read_costs_the_receiver_nothing() {
    let (mut cluster, before) = one_is_far_behind();
    cluster.damaged_snapshots = 2;
    cluster.start(1);
    // It keeps what it has, and is not sent another at once.
    cluster.run_ms(3_000);
    assert_eq!(cluster.unreadable.len(), 1, "{:?}", cluster.unreadable);
    assert!(cluster.unreadable[0].1.contains("cannot be read to its end"), "{:?}", cluster.unreadable);
    assert_eq!((applied(&cluster, 1), cluster.replica(1).node().data_mark().node_id), before);
    // The others go on.
    cluster.say(3, 1, &[&chat("meanwhile")]);
    cluster.run_ms(3_000);
    assert_eq!(cluster.unreadable.len(), 2, "{:?}", cluster.unreadable);
    assert!(cluster.replica(1).node().may_vote());
    cluster.run_ms(6_000);
    assert_eq!(cluster.unreadable.len(), 2, "{:?}", cluster.unreadable);
    assert_eq!(applied(&cluster, 1), applied(&cluster, 3));
    assert_eq!(cluster.replica(1).state(), cluster.replica(3).state());
    assert_eq!(cluster.replica(1).node().data_mark().node_id, before.1);
    assert!(cluster.quarantined.is_empty(), "{:?}", cluster.quarantined);
}

#[test]
fn leadership_goes_to_the_highest_living_server_without_a_refusal() {
    let mut cluster = Cluster::led_by_the_last(3);
    cluster.say(1, 1, &[JOIN]);
    cluster.run_ms(40);
    cluster.kill(3);
    cluster.elect(2);
    cluster.start(3);
    for number in 0..150 {
        cluster.say(1, 1, &[&chat(&format!("m{number}"))]);
        cluster.run_ms(20);
    }
    cluster.run_ms(100);
    assert_eq!(cluster.role(3), Role::Leader);
    let answers = cluster.answers(1, 1);
    assert!(answers.iter().all(|answer| answer["msg_type"] == "ack"), "{answers:?}");
    assert_eq!(answers.len(), 151);
    assert_eq!(cluster.replica(1).leader(), Some(id(3)));
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
    let mut cluster = Cluster::led_by_the_last(3);
    cluster.say(1, 1, &[JOIN]);
    cluster.run_ms(40);
    cluster.heard(1, 1);
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

fn settings(keep: &str) -> String {
    format!(
        r#"{{"msg_type":"room_settings","sender_id":"alice","request_id":"set","data":{{"room":"lobby",{keep}}}}}"#
    )
}

fn first_seq(cluster: &Cluster, number: usize) -> u64 {
    let lobby = crate::protocol::RoomName::new("lobby").unwrap().key();
    cluster.replica(number).state().room(&lobby).map_or(0, |room| room.first_seq())
}

#[test]
fn a_room_keeps_as_many_events_as_it_is_told_and_all_servers_the_same() {
    let mut cluster = Cluster::led_by_the_last(3);
    cluster.say(1, 1, &[JOIN]);
    let lines: Vec<String> = (0..50).map(|number| chat(&format!("m{number}"))).collect();
    cluster.say(1, 1, &lines.iter().map(String::as_str).collect::<Vec<_>>());
    cluster.run_ms(2_000);
    assert_eq!(first_seq(&cluster, 1), 1, "no setting asked for it");
    cluster.say(1, 1, &[&settings(r#""keep_events":10"#)]);
    cluster.run_ms(2_000);
    // 52 events with that of the join and that of the settings.
    for number in 1..=3 {
        assert_eq!(first_seq(&cluster, number), 43);
        let reader = cluster.disk(number).reader();
        let range =
            EventRange { after: 0, before: u64::MAX, oldest_first: true, limit: 100, max_bytes: 1 << 20 };
        let room = cluster.replica(number).state().rooms_from(RoomId(0)).next().unwrap().0;
        let kept: Vec<u64> = reader.events(room, &range).unwrap().iter().map(|row| row.seq).collect();
        assert_eq!(kept, (43..=52).collect::<Vec<_>>());
    }
    assert!(!cluster.is_closed(1, 1));
    // A new leader goes on with it, and its proposals are its own.
    cluster.kill(3);
    cluster.elect(2);
    cluster.say(1, 1, &[&chat("one"), &chat("more")]);
    cluster.run_ms(2_000);
    assert_eq!([first_seq(&cluster, 1), first_seq(&cluster, 2)], [45; 2]);
    assert_eq!(cluster.replica(1).state(), cluster.replica(2).state());
    // And stops when it is told to.
    cluster.say(1, 1, &[&settings(r#""keep_events":0"#)]);
    cluster.say(1, 1, &[&chat("and"), &chat("more of it")]);
    cluster.run_ms(2_000);
    assert_eq!(first_seq(&cluster, 2), 45);
}

#[test]
fn what_is_old_goes_with_the_days_and_not_with_a_clock_that_jumps() {
    const DAY_MS: u64 = 24 * 60 * 60 * 1_000;
    let mut cluster = Cluster::led_by_the_last(3);
    cluster.say(1, 1, &[JOIN, &chat("a"), &chat("b"), &settings(r#""keep_days":2"#)]);
    cluster.run_ms(1_000);
    // Two days pass, as for servers that slept.
    cluster.now.mono_ms += DAY_MS;
    cluster.now.wall_ms += DAY_MS;
    cluster.run_ms(1_000);
    cluster.say(1, 2, &[JOIN, &chat("c")]);
    cluster.run_ms(1_000);
    assert_eq!(first_seq(&cluster, 3), 1);
    // A clock that jumps by a year makes nothing old.
    cluster.now.wall_ms += 365 * DAY_MS;
    cluster.run_ms(5_000);
    assert_eq!(first_seq(&cluster, 3), 1);
    cluster.now.wall_ms -= 365 * DAY_MS;
    cluster.run_ms(1_000);
    cluster.now.mono_ms += DAY_MS;
    cluster.now.wall_ms += DAY_MS;
    cluster.run_ms(2_000);
    for number in 1..=3 {
        assert_eq!(first_seq(&cluster, number), 5, "what was said a day ago stays");
    }
}

#[test]
fn what_was_said_before_a_clock_went_back_is_not_forgotten_with_what_seems_older() {
    const DAY_MS: u64 = 24 * 60 * 60 * 1_000;
    let mut cluster = Cluster::led_by_the_last(3);
    cluster.say(1, 1, &[JOIN, &settings(r#""keep_days":2"#)]);
    cluster.run_ms(1_000);
    cluster.now.wall_ms += 3 * DAY_MS;
    cluster.say(1, 1, &[&chat("a")]);
    cluster.run_ms(1_000);
    cluster.now.wall_ms -= 3 * DAY_MS;
    let lines = ["b", "c", "d", "e", "f", "g", "h"].map(chat);
    cluster.say(1, 1, &lines.iter().map(String::as_str).collect::<Vec<_>>());
    cluster.run_ms(1_000);
    // By the times alone the events around it are old.
    cluster.now.mono_ms += 5 * DAY_MS / 2;
    cluster.now.wall_ms += 5 * DAY_MS / 2;
    cluster.run_ms(5_000);
    assert_eq!(first_seq(&cluster, 3), 3);
    cluster.now.mono_ms += 3 * DAY_MS;
    cluster.now.wall_ms += 3 * DAY_MS;
    cluster.run_ms(5_000);
    assert_eq!([first_seq(&cluster, 1), first_seq(&cluster, 3)], [10; 2], "the newest stays");
}

#[test]
fn a_server_that_starts_with_a_wrong_clock_and_leads_destroys_nothing() {
    const DAY_MS: u64 = 24 * 60 * 60 * 1_000;
    let mut cluster = Cluster::led_by_the_last(3);
    cluster.say(1, 1, &[JOIN, &chat("a"), &chat("b"), &settings(r#""keep_days":2"#)]);
    cluster.run_ms(1_000);
    cluster.kill(3);
    cluster.ahead_ms.insert(3, 365 * DAY_MS as i64);
    cluster.start(3);
    cluster.run_ms(400);
    cluster.elect(3);
    cluster.run_ms(5_000);
    // However long it shows another time than the others.
    cluster.now.mono_ms += DAY_MS;
    cluster.now.wall_ms += DAY_MS;
    cluster.run_ms(5_000);
    assert_eq!(first_seq(&cluster, 1), 1);
    for number in 1..=3 {
        let note = cluster.status(number).note;
        assert!(note.contains("the clock of server3 is 31536000 s ahead"), "{note}");
    }
    // All of them agree on it, and have done so for a while.
    cluster.ahead_ms = [(1, 365 * DAY_MS as i64), (2, 365 * DAY_MS as i64), (3, 365 * DAY_MS as i64)].into();
    cluster.run_ms(5_000);
    assert_eq!(first_seq(&cluster, 1), 1, "two clocks have just jumped");
    cluster.now.mono_ms += DISTRUST_MS;
    cluster.now.wall_ms += DISTRUST_MS;
    cluster.run_ms(5_000);
    assert_eq!(first_seq(&cluster, 1), 4);
}

#[test]
fn a_room_is_not_read_again_before_its_first_event_is_old_enough() {
    let mut cluster = Cluster::led_by_the_last(3);
    cluster.say(3, 1, &[JOIN, &chat("a"), &chat("b"), &settings(r#""keep_days":2"#)]);
    cluster.run_ms(2_000);
    // Every read of one of these finds it damaged.
    (0..4).for_each(|event| assert!(cluster.disk(3).corrupt(Kept::Event, event, 9)));
    cluster.run_ms(20_000);
    assert!(cluster.quarantined.is_empty());
}

#[test]
fn a_room_of_many_old_events_forgets_them_in_pieces() {
    let mut cluster = Cluster::led_by_the_last(1);
    cluster.say(1, 1, &[JOIN]);
    cluster.run_ms(40);
    for round in 0..11 {
        let lines: Vec<String> = (0..1_000).map(|number| chat(&format!("{round}.{number}"))).collect();
        cluster.say(1, 1, &lines.iter().map(String::as_str).collect::<Vec<_>>());
        cluster.run_ms(1_000);
    }
    cluster.say(1, 1, &[&settings(r#""keep_events":1"#)]);
    cluster.run_ms(260);
    assert_eq!(first_seq(&cluster, 1), 1 + crate::chat::command::EXPIRE_MAX);
    cluster.run_ms(500);
    // Now the disk has so much to wipe that it is waited for.
    assert_eq!(first_seq(&cluster, 1), 1 + 2 * crate::chat::command::EXPIRE_MAX);
    cluster.run_ms(2_000);
    assert_eq!(first_seq(&cluster, 1), 1 + 2 * crate::chat::command::EXPIRE_MAX);
    // It gets there although no client writes anything.
    cluster.run_ms(40_000);
    assert_eq!(first_seq(&cluster, 1), 11_002);
    assert_eq!(cluster.replica(1).storage().unwiped(), 0);
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
