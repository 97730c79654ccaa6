//! Questions with long answers: each is bounded, all together are, and by what was asked before.

use std::{collections::BTreeSet, sync::OnceLock};

use serde_json::Value;

use super::cluster::Cluster;
use crate::{
    protocol::limits::{LIST_BYTES, Limits},
    storage::MemoryImage,
};

const ROOMS: usize = 10_000;
/// The envelope around a list.
const AROUND: usize = 1_024;
/// What a round may send, and its last answer.
const ROUND: usize = 4 * 1024 * 1024 + LIST_BYTES + AROUND;
const LIST: &str = r#"{"msg_type":"rooms","sender_id":"bob"}"#;

/// One server with many rooms. They are made once for all tests.
fn crowded() -> Cluster {
    crowded_within(Limits::default().bytes_burst)
}

/// The same if a connection may use so many bytes at once.
fn crowded_within(bytes_burst: u64) -> Cluster {
    static ROOMS_MADE: OnceLock<MemoryImage> = OnceLock::new();
    let image = ROOMS_MADE.get_or_init(|| {
        let mut cluster = alone(None, bytes_burst);
        let join =
            |number| format!(r#"{{"msg_type":"create_join","data":{{"room":"room{number}","history":1}}}}"#);
        cluster.say(1, 1, &[r#"{"msg_type":"create_join","sender_id":"alice","data":{"room":"room0"}}"#]);
        for number in (1..ROOMS).step_by(100) {
            let lines: Vec<String> = (number..ROOMS.min(number + 100)).map(join).collect();
            cluster.say(1, 1, &lines.iter().map(String::as_str).collect::<Vec<_>>());
            cluster.settle();
            cluster.heard(1, 1);
        }
        cluster.run_ms(100);
        cluster.disk(1).image()
    });
    let mut cluster = alone(Some(image), bytes_burst);
    assert_eq!(cluster.replica(1).state().room_count(), ROOMS);
    (cluster.said, cluster.most_said) = (0, 0);
    cluster
}

fn alone(image: Option<&MemoryImage>, bytes_burst: u64) -> Cluster {
    let mut cluster = Cluster::new(1);
    cluster.limits = Limits {
        requests_burst: 1_000_000,
        bytes_burst,
        rooms_per_user: ROOMS,
        rooms_per_hour: 1_000_000,
        address_rooms_per_hour: 1_000_000,
        ..Limits::default()
    };
    if let Some(image) = image {
        cluster.disk(1).restore(image);
    }
    cluster.start(1);
    cluster.run_ms(400);
    cluster.elect(1);
    cluster
}

fn names<'a>(answer: &'a Value, list: &str, name: &str) -> Vec<&'a str> {
    let items = answer["data"][list].as_array().expect("a list");
    items.iter().map(|item| item[name].as_str().expect("a name")).collect()
}

#[test]
fn a_list_of_many_rooms_comes_in_pages_that_fit() {
    let mut cluster = crowded();
    let (mut seen, mut pages, mut after) = (BTreeSet::new(), 0, String::new());
    loop {
        cluster.say(1, 2, &[&LIST.replace('}', &format!(r#","data":{{{after}}}}}"#))]);
        cluster.settle();
        let answer = cluster.heard(1, 2).remove(0);
        assert!(answer.to_string().len() <= LIST_BYTES + AROUND);
        let names = names(&answer, "rooms", "room");
        pages += 1;
        assert!(names.iter().all(|name| seen.insert((*name).to_owned())), "no room comes twice");
        if answer["data"]["more"] == false {
            break;
        }
        after = format!(r#""after":"{}""#, names.last().expect("at least one"));
    }
    assert_eq!((seen.len(), pages > 1), (ROOMS, true));
}

#[test]
fn who_asks_for_long_lists_without_end_is_refused() {
    let mut cluster = crowded();
    cluster.say(1, 2, &[LIST; 1_040]);
    cluster.settle();
    assert!(cluster.most_said <= ROUND, "{} bytes", cluster.most_said);
    assert!(cluster.said <= Limits::default().bytes_burst as usize + ROUND, "{} bytes", cluster.said);
}

#[test]
fn reads_that_have_waited_together_are_answered_in_rounds() {
    let mut cluster = crowded_within(u64::MAX / 1_024);
    cluster.become_operator(1, 2);
    (cluster.said, cluster.most_said) = (0, 0);
    cluster.say(1, 2, &[r#"{"msg_type":"export_rooms","data":{"limit":10000}}"#; 300]);
    cluster.run_ms(400);
    assert!(cluster.said > ROUND && cluster.most_said <= ROUND, "{} bytes", cluster.most_said);
}

#[test]
fn members_come_by_name_and_in_pages() {
    let mut cluster = Cluster::led_by_the_last(1);
    for (conn, user) in ["dora", "Bob", "alice", "carol"].iter().enumerate() {
        let join = format!(r#"{{"msg_type":"create_join","sender_id":"{user}","data":{{"room":"lobby"}}}}"#);
        cluster.say(1, conn as u64, &[&join]);
    }
    cluster.run_ms(40);
    for (fields, expected, more) in [
        ("", &["alice", "Bob", "carol", "dora"][..], false),
        (r#","limit":2"#, &["alice", "Bob"], true),
        (r#","limit":2,"after":"BOB""#, &["carol", "dora"], false),
        (r#","after":"dora""#, &[], false),
    ] {
        cluster.heard(1, 0);
        cluster.say(1, 0, &[&format!(r#"{{"msg_type":"members","data":{{"room":"lobby"{fields}}}}}"#)]);
        cluster.settle();
        let answer = cluster.heard(1, 0).remove(0);
        assert_eq!(names(&answer, "members", "username"), expected);
        assert_eq!(answer["data"]["more"], more);
    }
}
