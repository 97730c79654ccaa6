//! Servers with full disks.

use serde_json::Value;

use crate::protocol::status::Role;

use super::{
    JOIN, chat,
    cluster::{Cluster, applied_in_memory},
    field,
};

const HISTORY: &str = r#"{"msg_type":"history","data":{"room":"lobby"}}"#;

fn types(lines: &[Value]) -> Vec<&str> {
    lines.iter().filter_map(|line| line["msg_type"].as_str()).collect()
}

#[test]
fn a_full_leader_gives_the_lead_and_its_clients_away_and_comes_back_by_itself() {
    let mut cluster = Cluster::with_alice_at(3);
    cluster.set_room(3, false);
    cluster.run_ms(10_000);
    assert_eq!((cluster.role(3), cluster.role(2)), (Role::Follower, Role::Leader));
    assert!(types(&cluster.heard(3, 1)).contains(&"redirect"));
    assert!(cluster.status(3).note.contains("full"), "{}", cluster.status(3).note);
    // The others go on, and it takes nothing.
    let before = cluster.replica(3).node().consensus.last_index();
    cluster.say(2, 2, &[JOIN, &chat("a"), &chat("b")]);
    cluster.run_ms(400);
    assert_eq!(field(&cluster.answers(2, 2), "seq").len(), 3);
    assert_eq!(cluster.replica(3).node().consensus.last_index(), before);
    // One that comes all the same and writes is sent to the leader.
    cluster.say(3, 3, &[JOIN]);
    cluster.settle();
    assert!(types(&cluster.heard(3, 3)).contains(&"redirect"));
    cluster.set_room(3, true);
    cluster.run_ms(20_000);
    assert_eq!(cluster.role(3), Role::Leader);
    assert_eq!(applied_in_memory(&cluster, 3), applied_in_memory(&cluster, 2));
    assert_eq!(cluster.status(3).note, "");
}

#[test]
fn a_cluster_without_room_refuses_writes_and_can_be_read() {
    let mut cluster = Cluster::with_messages_at(3, &["a"]);
    (1..=3).for_each(|number| cluster.set_room(number, false));
    cluster.run_ms(10_000);
    assert_eq!(cluster.role(3), Role::Leader, "nobody else has room");
    cluster.say(3, 1, &[&chat("b"), HISTORY]);
    cluster.run_ms(400);
    let heard = cluster.heard(3, 1);
    let refused = heard.iter().find(|line| line["msg_type"] == "nack").expect("it is refused");
    assert_eq!(refused["data"]["code"], "overloaded");
    assert!(refused["data"]["retry_after_ms"].as_u64().is_some_and(|ms| ms > 0), "{refused}");
    let page = heard.iter().find(|line| line["data"]["events"].is_array()).expect("it is read");
    assert_eq!(page["data"]["events"].as_array().expect("a list").len(), 2);
    (1..=3).for_each(|number| cluster.set_room(number, true));
    cluster.run_ms(400);
    cluster.say(3, 1, &[&chat("b")]);
    cluster.run_ms(400);
    assert_eq!(field(&cluster.answers(3, 1), "seq"), [3]);
}
