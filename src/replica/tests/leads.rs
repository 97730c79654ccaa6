//! Who leads by an operator's word.

use serde_json::json;

use super::{
    JOIN, chat,
    cluster::{Cluster, id},
    field,
};
use crate::{protocol::status::Role, replica::io::Input};

const FOR_A_MINUTE: &str = r#"{"msg_type":"transfer_leader","data":{"server_id":"server1","seconds":60}}"#;
const BACK: &str = r#"{"msg_type":"transfer_leader","data":{}}"#;

/// Three servers of which the first leads by an operator's word, for a minute.
fn led_by_the_first() -> Cluster {
    let mut cluster = Cluster::led_by_the_last(3);
    cluster.become_operator(3, 9);
    cluster.say(3, 9, &[FOR_A_MINUTE]);
    cluster.run_ms(4_000);
    assert_eq!(cluster.heard(3, 9)[0]["msg_type"], "ack");
    assert_eq!(cluster.role(1), Role::Leader);
    cluster
}

#[test]
fn the_word_holds_for_its_time_and_then_the_ring_decides() {
    let mut cluster = led_by_the_first();
    cluster.run_ms(40_000);
    assert_eq!(cluster.role(1), Role::Leader, "the highest in the ring is alive, and waits");
    for number in 1..=3 {
        assert_eq!(cluster.status(number).wanted_leader.map(|wanted| wanted.server_id), Some(id(1)));
    }
    cluster.run_ms(25_000);
    assert_eq!(cluster.role(3), Role::Leader);
    assert_eq!(cluster.status(3).wanted_leader, None);
    cluster.become_operator(3, 10);
    cluster.say(3, 10, &[r#"{"msg_type":"audit","request_id":1,"data":{}}"#]);
    cluster.run_ms(40);
    let entry = &cluster.heard(3, 10)[0]["data"]["entries"][0];
    assert_eq!((&entry["action"], &entry["detail"]), (&json!("transfer_leader"), &json!("server1 for 60 s")));
}

#[test]
fn the_word_can_be_taken_back() {
    let mut cluster = led_by_the_first();
    cluster.become_operator(1, 8);
    cluster.say(1, 8, &[BACK]);
    cluster.run_ms(4_000);
    assert_eq!(cluster.role(3), Role::Leader);
}

#[test]
fn without_the_wanted_server_the_ring_decides_until_it_is_back() {
    let mut cluster = led_by_the_first();
    cluster.kill(1);
    cluster.run_ms(400);
    cluster.elect(3);
    cluster.run_ms(5_000);
    assert_eq!(cluster.role(3), Role::Leader);
    cluster.start(1);
    cluster.run_ms(6_000);
    assert_eq!(cluster.role(1), Role::Leader);
}

#[test]
fn nobody_but_an_operator_moves_the_lead() {
    let mut cluster = Cluster::led_by_the_last(3);
    let as_alice = FOR_A_MINUTE.replace(r#","data""#, r#","sender_id":"alice","data""#);
    cluster.say(3, 1, &[&as_alice]);
    cluster.run_ms(4_000);
    assert_eq!(cluster.heard(3, 1)[0]["data"]["code"], "forbidden");
    assert_eq!(cluster.role(3), Role::Leader);
}

#[test]
fn what_is_said_during_a_handover_that_fails_is_committed_by_the_leader_that_stays() {
    let mut cluster = Cluster::led_by_the_last(3);
    cluster.say(3, 1, &[JOIN]);
    cluster.become_operator(3, 9);
    cluster.say(3, 9, &[FOR_A_MINUTE]);
    cluster.run_ms(40);
    cluster.heard(3, 1);
    let hands_over = |cluster: &Cluster| cluster.replica(3).node().consensus.is_transferring();
    while !hands_over(&cluster) {
        cluster.settle();
        cluster.now.mono_ms += 20;
        (1..=3).for_each(|number| cluster.input(number, Input::Tick));
    }
    // The successor does not hear of it.
    cluster.cut(1, 3);
    cluster.settle();
    cluster.say(3, 1, &[&chat("a"), &chat("b")]);
    cluster.settle();
    assert!(hands_over(&cluster) && cluster.answers(3, 1).is_empty(), "nothing is proposed meanwhile");
    cluster.run_ms(1_000);
    assert_eq!(cluster.role(3), Role::Leader);
    assert_eq!(field(&cluster.answers(3, 1), "seq"), [2, 3]);
}
