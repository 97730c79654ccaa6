//! A cluster begins, and one server leads.

use crate::protocol::status::Role;

use super::{
    JOIN, chat,
    cluster::{Cluster, id},
};

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
