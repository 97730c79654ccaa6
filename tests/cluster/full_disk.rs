//! A server whose disk fills up while people write.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::json;

use crate::{harness::Cluster, judge::Judge, load::Load, verdict};

const MIB: usize = 1024 * 1024;

/// A small disk at the place of a folder, until it is dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Only root may do that, and only on Linux.
    fn mount(folder: &Path) -> SmallDisk {
        fs::create_dir(folder).expect("the folder is not there yet");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=64m", "tmpfs"])
            .arg(folder)
            .status()
            .expect("there is a program mount");
        assert!(mounted.success(), "this test mounts a small disk: run it as root");
        SmallDisk(folder.to_owned())
    }

    /// Fills it, and leaves so many bytes.
    fn fill(&self, left: usize) {
        let free = syncnet::storage::folder::sizes(&self.0).disk_free as usize;
        fs::write(self.ballast(), vec![1; free - left]).expect("there is room for it");
    }

    fn clear(&self) {
        fs::remove_file(self.ballast()).expect("it is there");
    }

    fn ballast(&self) -> PathBuf {
        self.0.join("ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let gone = Command::new("umount").arg("--lazy").arg(&self.0).status();
        if !gone.is_ok_and(|status| status.success()) {
            eprintln!("{} is still mounted", self.0.display());
        }
    }
}

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
