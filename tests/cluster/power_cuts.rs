//! Servers whose machines lose their power while people write: what was not synced is gone.

use serde_json::json;

use crate::{
    disks::PowerDisk,
    harness::{Cluster, name, rounds},
    judge::Judge,
    load::Load,
    verdict,
};

/// One server, two, and all of them at once: `1 << server`.
const CUTS: [u8; 7] = [0b100, 0b111, 0b001, 0b110, 0b111, 0b010, 0b101];

#[test]
fn what_was_acknowledged_outlives_power_cuts() {
    let mut cluster = Cluster::prepare(3, json!({}));
    let mut disks = [0, 1, 2].map(|server| {
        PowerDisk::mount(&cluster.data_of(server), &cluster.folder().join(format!("{}.img", name(server))))
    });
    (0..3).for_each(|server| cluster.start_server(server));
    cluster.settle();
    let judge = Judge::new(3, cluster.folder());
    let load = Load::start(&cluster, &judge, 8, 1);
    for cut in CUTS.iter().cycle().take(rounds(14)) {
        load.expect_more_acks(100);
        let dark: Vec<usize> = (0..3).filter(|server| cut & (1 << server) != 0).collect();
        cluster.kill_at_once(&dark);
        dark.iter().for_each(|&server| disks[server].cut());
        dark.iter().for_each(|&server| cluster.start_server(server));
        load.expect_acks("the power came back");
        cluster.settle();
    }
    verdict::read_everything(&mut cluster, &judge, load);
    drop(cluster);
}
