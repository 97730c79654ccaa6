//! What monitoring sees of events between servers.

use std::{fs, thread, time::Instant};

use serde_json::json;

use crate::{
    harness::{Cluster, PATIENCE, name},
    judge::Judge,
    load::Load,
    support_metrics::{Series, parse, text},
    verdict,
};

/// Waits until the metrics of a server fulfil `condition`.
#[track_caller]
fn wait_for(cluster: &Cluster, server: usize, what: &str, condition: impl Fn(&Series) -> bool) -> Series {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let shown = text(cluster.targets[server].port).map(|text| parse(&text));
        if let Ok(series) = &shown
            && condition(series)
        {
            return series.clone();
        }
        assert!(Instant::now() < deadline, "{} does not show {what}: {shown:#?}", name(server));
        thread::yield_now();
    }
}

fn elections(cause: &str) -> String {
    format!("syncnet_elections_total{{cause=\"{cause}\"}}")
}

/// A series about a peer.
fn of_peer(series: &str, peer: usize) -> String {
    format!("{series}{{peer=\"{}\"}}", name(peer))
}

#[test]
fn each_series_moves_when_its_event_happens() {
    let mut cluster = Cluster::start_with(3, json!({"timing": {"handover_hold_ms": 300}}));
    let judge = Judge::new(3, cluster.folder());
    let load = Load::start(&cluster, &judge, 4, 1);
    assert_eq!(cluster.settle_highest(), 2);
    load.expect_more_acks(200);
    let leads = wait_for(&cluster, 2, "that it leads", |shown| shown["syncnet_leader"] == 1.0);
    assert!(leads["syncnet_commit_latency_seconds_count"] > 0.0);
    assert_eq!((leads[&of_peer("syncnet_peer_up", 0)], leads[&of_peer("syncnet_peer_up", 1)]), (1.0, 1.0));
    let won = |shown: &Series| {
        ["start", "handover", "timeout"].iter().map(|cause| shown[&elections(cause)]).sum::<f64>()
    };
    assert!(won(&leads) >= 1.0, "{leads:#?}");

    // A follower that is frozen is behind, is not heard, and is believed dead.
    cluster.freeze(0);
    let lag = of_peer("syncnet_replication_lag_entries", 0);
    wait_for(&cluster, 2, "the lag of a frozen server", |shown| shown[&lag] > 0.0);
    wait_for(&cluster, 2, "that it is not heard", |shown| {
        shown[&of_peer("syncnet_peer_up", 0)] == 0.0
            && shown[&of_peer("syncnet_heartbeats_lost_total", 0)] >= 3.0
    });
    cluster.thaw(0);
    wait_for(&cluster, 2, "that it is heard again", |shown| {
        shown[&of_peer("syncnet_peer_up", 0)] == 1.0 && shown[&lag] == 0.0
    });

    // The leader's process is gone.
    cluster.kill(2);
    load.expect_acks("the leader was killed");
    let heir = cluster.leader();
    wait_for(&cluster, heir, "an election", |shown| shown[&elections("leader_died")] >= 1.0);

    // It comes back, and is handed the lead.
    cluster.start_server(2);
    cluster.settle_highest();
    wait_for(&cluster, heir, "a handover", |shown| shown["syncnet_handovers_total"] >= 1.0);
    wait_for(&cluster, 2, "that it was handed the lead", |shown| shown[&elections("handover")] >= 1.0);

    // The leader is not heard any more, but its process exists.
    cluster.freeze(2);
    load.expect_acks("the leader was frozen");
    wait_for(&cluster, heir, "an election of either", |shown| shown["syncnet_term"] > leads["syncnet_term"]);
    let silent: f64 = [0, 1]
        .map(|server| wait_for(&cluster, server, "metrics", |_| true)[&elections("leader_silent")])
        .iter()
        .sum();
    // On a busy machine, a server may have been silent before.
    assert!(silent >= 1.0);
    cluster.thaw(2);
    cluster.settle_highest();

    // Data that is damaged is set aside.
    cluster.stop(0);
    let database = cluster.data_of(0).join("syncnet.db");
    let file = fs::OpenOptions::new().write(true).open(database).expect("the database is there");
    let bytes = file.metadata().expect("a file has a size").len();
    file.set_len(bytes / 2).expect("the file is ours");
    cluster.spoils(0);
    cluster.start_server(0);
    wait_for(&cluster, 0, "a quarantine", |shown| shown["syncnet_quarantines_total"] == 1.0);
    cluster.settle();
    verdict::read_everything(&mut cluster, &judge, load);
}
