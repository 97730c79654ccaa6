//! Stories of servers that were away for so long that the log they missed is gone.

use serde_json::json;

use crate::{databases, harness::Cluster, judge::Judge, load::Load, verdict};

#[test]
fn a_server_that_missed_more_than_the_log_keeps_gets_a_snapshot() {
    let mut cluster = Cluster::start_with(3, json!({"keep_entries": 200}));
    let judge = Judge::new(3, cluster.folder());
    let load = Load::start(&cluster, &judge, 8, 1);
    for victim in [0, 1] {
        cluster.settle();
        let had = cluster.status(victim).last_index;
        cluster.kill(victim);
        let leader = cluster.leader();
        load.expect_more_acks(1_500);
        let leader_data = cluster.data_of(leader);
        cluster.wait_for("the log to be cut beyond what the dead server had", |_| {
            databases::first_log_index(&leader_data).filter(|&first| first > had + 1)
        });
        cluster.start_server(victim);
        cluster.settle();
        let first = databases::first_log_index(&cluster.data_of(victim));
        assert!(
            first.is_none_or(|first| first > had + 1),
            "it caught up by a log that no server had: {first:?}"
        );
    }
    verdict::read_everything(&mut cluster, &judge, load);
}

#[test]
fn the_receiver_of_a_snapshot_is_killed_meanwhile() {
    let mut cluster = Cluster::start_with(3, json!({"keep_entries": 200}));
    let judge = Judge::new(3, cluster.folder());
    let load = Load::start(&cluster, &judge, 8, 1);
    cluster.settle();
    let victim = 0;
    cluster.kill(victim);
    load.expect_more_acks(2_000);
    for life_ms in [20, 60, 100, 150, 250, 400] {
        cluster.start_server(victim);
        std::thread::sleep(std::time::Duration::from_millis(life_ms));
        cluster.kill(victim);
    }
    cluster.start_server(victim);
    cluster.settle();
    verdict::read_everything(&mut cluster, &judge, load);
}
