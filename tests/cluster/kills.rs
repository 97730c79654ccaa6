//! Stories of servers killed with SIGKILL.

use std::{thread, time::Duration};

use serde_json::json;

use crate::{
    harness::{Cluster, PATIENCE, name, rounds},
    judge::Judge,
    load::{LOBBY, Load},
    verdict,
    wire::Wire,
};

#[test]
fn the_leader_is_killed_twenty_times_under_the_load_of_eight_writers() {
    let rounds = rounds(20);
    let mut cluster = Cluster::start(3);
    let judge = Judge::new(3, cluster.folder());
    let load = Load::start(&cluster, &judge, 8, 2);
    for round in 0..rounds {
        // Half of the time the highest server has taken the lead back; else any server may lead.
        let leader = if round % 2 == 0 { cluster.settle_highest() } else { cluster.settle() };
        load.expect_more_acks(200);
        kill_leader(&mut cluster, leader);
        load.expect_acks("the leader was killed");
        cluster.start_server(leader);
    }
    let seen = verdict::read_everything(&mut cluster, &judge, load);
    assert!(seen.acked >= 200 * rounds as u64, "hardly anything was written: {seen:?}");
    assert!(seen.lost >= rounds as u64, "the kills cost hardly a connection, so they hit no load: {seen:?}");
    assert!(seen.shown > 0, "the readers saw nothing");
}

#[test]
fn two_of_five_are_killed_at_once() {
    let mut cluster = Cluster::start(5);
    let judge = Judge::new(5, cluster.folder());
    let load = Load::start(&cluster, &judge, 4, 1);
    for round in 0..rounds(3) {
        let leader = cluster.settle();
        load.expect_more_acks(200);
        let other = (leader + 1 + round) % 5;
        let other = if other == leader { (leader + 1) % 5 } else { other };
        cluster.kill(other);
        kill_leader(&mut cluster, leader);
        load.expect_acks("two of five were killed");
        cluster.start_server(leader);
        cluster.start_server(other);
    }
    verdict::read_everything(&mut cluster, &judge, load);
}

#[test]
fn all_three_are_killed_at_once() {
    let mut cluster = Cluster::start(3);
    let judge = Judge::new(3, cluster.folder());
    let load = Load::start(&cluster, &judge, 8, 2);
    for round in 0..rounds(3) {
        cluster.settle();
        load.expect_more_acks(100);
        cluster.kill_all();
        // They come back in another order each time.
        for place in 0..3 {
            cluster.start_server((round + place) % 3);
        }
        load.expect_acks("all three were killed");
    }
    let seen = verdict::read_everything(&mut cluster, &judge, load);
    assert!(seen.lost > 0, "no client lost a connection: {seen:?}");
}

#[test]
fn a_server_is_killed_again_and_again_while_it_starts() {
    let mut cluster = Cluster::start(3);
    let judge = Judge::new(3, cluster.folder());
    let load = Load::start(&cluster, &judge, 4, 1);
    load.expect_more_acks(100);
    let victim = cluster.settle();
    cluster.kill(victim);
    // From "hardly loaded" over opening the database and recovery to a server that takes part.
    for life_ms in [1, 3, 6, 10, 15, 20, 30, 40, 60, 80, 120, 200, 400] {
        cluster.start_server(victim);
        thread::sleep(Duration::from_millis(life_ms));
        cluster.kill(victim);
        load.expect_acks("a starting server was killed");
    }
    cluster.start_server(victim);
    verdict::read_everything(&mut cluster, &judge, load);
}

#[test]
fn a_new_cluster_is_killed_while_it_forms() {
    let mut cluster = Cluster::prepare(3, json!({}));
    let judge = Judge::new(3, cluster.folder());
    // The first meeting happens somewhere in here; it must happen once, or not yet.
    for life_ms in [5, 20, 50, 100, 150, 200, 300] {
        for server in 0..3 {
            cluster.start_server(server);
        }
        thread::sleep(Duration::from_millis(life_ms));
        cluster.kill_all();
    }
    for server in 0..3 {
        cluster.start_server(server);
    }
    let load = Load::start(&cluster, &judge, 3, 1);
    load.expect_more_acks(50);
    verdict::read_everything(&mut cluster, &judge, load);
}

#[test]
fn a_lone_server_acknowledges_nothing_and_says_that_it_may_be_stale() {
    let mut cluster = Cluster::start(3);
    let judge = Judge::new(3, cluster.folder());
    let load = Load::start(&cluster, &judge, 4, 1);
    let leader = cluster.settle_highest();
    load.expect_more_acks(50);
    cluster.kill(0);
    cluster.kill(1);
    let mut wire = Wire::open(&cluster.targets, leader, &judge).expect("it accepts connections");
    wire.call("login", json!({"username": "hermit"}), PATIENCE).expect("a login needs no majority");
    let nack = wire.call("create_join", json!({"room": "hut"}), PATIENCE).expect("an answer comes in time");
    assert_eq!((&nack["msg_type"], &nack["data"]["code"]), (&json!("nack"), &json!("unavailable")), "{nack}");
    assert_eq!(nack["data"]["retryable"], true, "{nack}");
    assert!(wire.is_closed_within(PATIENCE), "after an unavailable the connection ends");
    let mut wire = Wire::open(&cluster.targets, leader, &judge).expect("it accepts connections");
    wire.call("login", json!({"username": "hermit"}), PATIENCE).expect("a login needs no majority");
    let page = wire.call("history", json!({"room": LOBBY}), PATIENCE).expect("nor does reading");
    assert_eq!(page["data"]["stale"], true, "{page}");
    cluster.start_server(0);
    cluster.start_server(1);
    load.expect_acks("a majority came back");
    verdict::read_everything(&mut cluster, &judge, load);
}

/// Kills the leader and checks that another server really leads in a newer term.
fn kill_leader(cluster: &mut Cluster, leader: usize) {
    let term = cluster.status(leader).term;
    cluster.kill(leader);
    let next = cluster.wait_for("a new leader", |look| {
        let next = look.leader(look.0.len())?;
        let newer = look.statuses().any(|(server, status)| server == next && status.term > term);
        newer.then_some(next)
    });
    assert_ne!(next, leader, "{} is dead and leads", name(leader));
}
