//! Stories of processes that are stopped and go on later, as if nothing had happened (SIGSTOP).

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{
    harness::{Cluster, PATIENCE, name, rounds},
    judge::Judge,
    load::Load,
    verdict,
    wire::Wire,
};

/// Times with room to spare on a busy machine: a lease of 1 s, death after 1.5 s.
fn unhurried() -> serde_json::Value {
    json!({"timing": {"election_ticks": 50, "fallback_ticks": 120, "failure_detection_ms": 1_500}})
}

#[test]
fn the_leader_freezes_for_a_moment_and_for_long() {
    let mut cluster = Cluster::start(3);
    let judge = Judge::new(3, cluster.folder());
    let load = Load::start(&cluster, &judge, 8, 2);
    for frozen_ms in [400, 800].repeat(rounds(2)) {
        let leader = cluster.settle();
        load.expect_more_acks(50);
        freeze_for(&cluster, leader, frozen_ms);
        load.expect_acks("the leader was frozen");
    }
    verdict::read_everything(&mut cluster, &judge, load);
}

#[test]
fn a_leader_that_was_frozen_for_five_seconds_finds_itself_replaced() {
    let mut cluster = Cluster::start(3);
    let judge = Judge::new(3, cluster.folder());
    let load = Load::start(&cluster, &judge, 8, 2);
    let old = cluster.settle_highest();
    let term = cluster.status(old).term;
    load.expect_more_acks(50);
    let frozen_at = Instant::now();
    cluster.freeze(old);
    let next = cluster.wait_for("another leader", |look| look.leader(2).filter(|&leader| leader != old));
    assert!(cluster.status(next).term > term, "{} leads in an old term", name(next));
    load.expect_acks("the leader was frozen");
    thread::sleep(Duration::from_secs(5).saturating_sub(frozen_at.elapsed()));
    cluster.thaw(old);
    load.expect_acks("the old leader went on");
    cluster.settle_highest();
    verdict::read_everything(&mut cluster, &judge, load);
}

/// The frozen leader's kernel accepts requests meanwhile. They are the first that the leader reads when it
/// goes on, mostly before it hears that it is deposed.
#[test]
fn a_leader_that_was_frozen_does_not_deny_what_was_made_meanwhile() {
    let mut cluster = Cluster::start(3);
    let judge = Judge::new(3, cluster.folder());
    for round in 0..rounds(3) {
        let old = cluster.settle_highest();
        let mut wires: Vec<Wire> = (0..8).map(|number| hello(&cluster, &judge, old, number)).collect();
        cluster.freeze(old);
        let next = cluster.wait_for("another leader", |look| look.leader(2).filter(|&leader| leader != old));
        let room = format!("den{round}");
        for number in 0..wires.len() {
            let mut elsewhere = hello(&cluster, &judge, next, number);
            let made = elsewhere.call("create_join", json!({"room": room}), PATIENCE).expect("an answer");
            assert_eq!(made["msg_type"], "ack", "{made}");
        }
        let asked: Vec<u64> = wires
            .iter_mut()
            .enumerate()
            .map(|(number, wire)| {
                let chat =
                    json!({"room": room, "body": "hello", "client_msg_id": format!("{round}-{number}")});
                let rooms = json!({"limit": 500});
                let asked = if number % 2 == 0 { wire.ask("chat", chat) } else { wire.ask("rooms", rooms) };
                asked.expect("the kernel takes it")
            })
            .collect();
        cluster.thaw(old);
        let mut answered = 0;
        for (wire, request) in wires.iter_mut().zip(asked) {
            // A connection that is closed has told its client nothing.
            let Ok(answer) = wire.answer(request, PATIENCE) else { continue };
            let is_final = answer["msg_type"] == "nack" && answer["data"]["retryable"] == false;
            assert!(!is_final, "{answer}");
            let is_sure = answer["msg_type"] == "rooms" && answer["data"]["stale"] != true;
            assert!(!is_sure || answer.to_string().contains(&format!("\"{room}\"")), "no {room}: {answer}");
            answered += 1;
        }
        assert!(answered > 0, "{} has closed everything without a word\n{}", name(old), cluster.tail(old));
    }
    judge.expect_kept();
}

/// A connection of a user whom the server knows.
fn hello(cluster: &Cluster, judge: &Arc<Judge>, server: usize, number: usize) -> Wire {
    let mut wire = Wire::open(&cluster.targets, server, judge).expect("the server accepts connections");
    let login = json!({"username": format!("user{number}")});
    let answer = wire.call("login", login, PATIENCE).expect("an answer");
    assert_eq!(answer["msg_type"], "ack", "{answer}");
    wire
}

#[test]
fn a_pause_shorter_than_the_failure_detection_elects_nobody() {
    let mut cluster = Cluster::start_with(3, unhurried());
    let judge = Judge::new(3, cluster.folder());
    let load = Load::start(&cluster, &judge, 4, 1);
    let leader = cluster.settle_highest();
    let term = cluster.status(leader).term;
    for _ in 0..rounds(4) {
        load.expect_more_acks(20);
        freeze_for(&cluster, leader, 400);
        load.expect_acks("the leader was frozen for a moment");
        assert_eq!(cluster.settle(), leader);
    }
    assert_eq!(cluster.status(leader).term, term, "there was a needless election");
    verdict::read_everything(&mut cluster, &judge, load);
}

#[test]
fn a_follower_that_was_frozen_disturbs_nobody() {
    let mut cluster = Cluster::start_with(3, unhurried());
    let judge = Judge::new(3, cluster.folder());
    let load = Load::start(&cluster, &judge, 4, 1);
    let leader = cluster.settle_highest();
    let term = cluster.status(leader).term;
    for follower in 0..2 {
        freeze_for(&cluster, follower, 4_000);
        load.expect_acks("a follower was frozen");
        assert_eq!(cluster.settle(), leader);
    }
    assert_eq!(cluster.status(leader).term, term, "a follower came back and won");
    verdict::read_everything(&mut cluster, &judge, load);
}

#[test]
fn all_three_freeze_and_go_on() {
    let mut cluster = Cluster::start(3);
    let judge = Judge::new(3, cluster.folder());
    let load = Load::start(&cluster, &judge, 4, 1);
    for _ in 0..rounds(2) {
        cluster.settle();
        load.expect_more_acks(20);
        (0..3).for_each(|server| cluster.freeze(server));
        thread::sleep(Duration::from_millis(1_000));
        (0..3).for_each(|server| cluster.thaw(server));
        load.expect_acks("all three were frozen");
    }
    verdict::read_everything(&mut cluster, &judge, load);
}

/// The time for which a process is stopped is the fault itself, not a wait for something.
fn freeze_for(cluster: &Cluster, server: usize, frozen_ms: u64) {
    cluster.freeze(server);
    thread::sleep(Duration::from_millis(frozen_ms));
    cluster.thaw(server);
}
