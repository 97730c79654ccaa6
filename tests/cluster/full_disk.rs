//! A server whose disk fills up while people write.

use serde_json::json;

use crate::{
    disks::{MIB, SmallDisk},
    harness::Cluster,
    judge::Judge,
    load::Load,
    verdict,
};

#[test]
fn a_full_disk_costs_the_lead_and_comes_back_by_itself() {
    let mut cluster = Cluster::prepare(3, json!({}));
    let disks = [0, 2].map(|server| (server, SmallDisk::mount(&cluster.data_of(server))));
    (0..3).for_each(|server| cluster.start_server(server));
    cluster.settle_highest();
    let judge = Judge::new(3, cluster.folder());
    let load = Load::start(&cluster, &judge, 6, 1);
    load.expect_more_acks(100);
    // A follower, then the leader.
    for (server, disk) in &disks {
        disk.fill(4 * MIB);
        cluster.wait_for("a server to say that its disk is full", |look| {
            let mut statuses = look.statuses();
            statuses.find(|(at, status)| at == server && status.note.contains("full")).map(drop)
        });
        let highest = [2, 1][usize::from(*server == 2)];
        cluster.wait_for("a server with room to lead", |look| {
            look.leader(2).filter(|&leader| leader == highest)
        });
        load.expect_more_acks(200);
        disk.clear();
        cluster.settle_highest();
    }
    load.expect_more_acks(100);
    verdict::read_everything(&mut cluster, &judge, load);
    drop(cluster);
}
