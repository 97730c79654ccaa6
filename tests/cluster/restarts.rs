//! Stories of servers that are asked to stop, as in an upgrade.

use serde_json::json;

use crate::{
    harness::{Cluster, rounds},
    judge::Judge,
    load::Load,
    verdict,
};

#[test]
fn a_rolling_restart_refuses_no_message() {
    let mut cluster = Cluster::start(3);
    let judge = Judge::new(3, cluster.folder());
    let load = Load::start(&cluster, &judge, 8, 2);
    for round in 0..rounds(2) {
        for server in 0..3 {
            // Upwards, then downwards: once the leader is the last to stop, once the first.
            let server = if round % 2 == 0 { server } else { 2 - server };
            cluster.settle_highest();
            load.expect_more_acks(50);
            cluster.stop(server);
            load.expect_acks("a server was stopped");
            cluster.start_server(server);
        }
    }
    let seen = verdict::read_everything(&mut cluster, &judge, load);
    assert!(seen.refused.is_empty(), "a restart must not refuse anything: {seen:?}");
}

#[test]
fn leadership_goes_back_to_the_highest_server_without_a_refusal() {
    let mut cluster = Cluster::start(3);
    let judge = Judge::new(3, cluster.folder());
    let load = Load::start(&cluster, &judge, 8, 1);
    for _ in 0..rounds(3) {
        let highest = cluster.settle_highest();
        load.expect_more_acks(50);
        cluster.stop(highest);
        assert_ne!(cluster.leader(), highest);
        cluster.start_server(highest);
    }
    cluster.settle_highest();
    let seen = verdict::read_everything(&mut cluster, &judge, load);
    assert!(seen.refused.is_empty(), "a handover must not refuse anything: {seen:?}");
}

#[test]
fn everything_is_stopped_and_started_again() {
    let mut cluster = Cluster::start(3);
    let judge = Judge::new(3, cluster.folder());
    let load = Load::start(&cluster, &judge, 4, 1);
    for _ in 0..rounds(2) {
        load.expect_more_acks(100);
        cluster.stop_all();
        for server in 0..3 {
            cluster.start_server(server);
        }
        load.expect_acks("all servers were stopped and started");
        cluster.settle();
    }
    verdict::read_everything(&mut cluster, &judge, load);
}

#[test]
fn followers_that_redirect_lose_nothing() {
    let mut cluster = Cluster::start_with(3, json!({"followers": "redirect"}));
    let judge = Judge::new(3, cluster.folder());
    let load = Load::start(&cluster, &judge, 6, 2);
    for _ in 0..rounds(2) {
        let leader = cluster.settle_highest();
        load.expect_more_acks(50);
        cluster.kill(leader);
        load.expect_acks("the leader was killed");
        cluster.start_server(leader);
    }
    let seen = verdict::read_everything(&mut cluster, &judge, load);
    assert!(seen.redirects > 0, "no client was redirected: {seen:?}");
}
