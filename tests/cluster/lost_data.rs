//! Stories of servers that lose their data, or get an old copy back. Such a server must notice, start anew
//! under a new id, and end as a voter with all data.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use rusqlite::Connection;
use serde_json::json;
use syncnet::admin::free_ports::free_base_ports;

use crate::{
    databases,
    harness::{Cluster, PATIENCE, name},
    judge::Judge,
    load::{LOBBY, Load},
    verdict,
    wire::Wire,
};

#[test]
fn a_server_whose_folder_is_gone_is_rebuilt_and_counts_again() {
    let mut cluster = Cluster::start(3);
    let judge = Judge::new(3, cluster.folder());
    let load = Load::start(&cluster, &judge, 6, 1);
    // The leader, then a follower.
    for victim in [2, 0] {
        cluster.settle_highest();
        load.expect_more_acks(100);
        let lost = id_of(&cluster, victim);
        cluster.kill(victim);
        fs::remove_dir_all(cluster.data_of(victim)).expect("the folder is ours");
        cluster.start_server(victim);
        cluster.settle();
        assert_ne!(id_of(&cluster, victim), lost, "a server without a memory came back under its old id");
    }
    it_counts(&mut cluster, &load, 0);
    verdict::read_everything(&mut cluster, &judge, load);
}

#[test]
fn a_server_whose_folder_goes_while_it_runs_counts_no_more() {
    let mut cluster = Cluster::start(3);
    let judge = Judge::new(3, cluster.folder());
    let load = Load::start(&cluster, &judge, 4, 1);
    for victim in [2, 0] {
        cluster.settle_highest();
        load.expect_more_acks(100);
        let folder = cluster.data_of(victim);
        let lost = id_of(&cluster, victim);
        let aside = cluster.folder().join(format!("aside{victim}"));
        fs::rename(&folder, &aside).expect("the folder is ours");
        if victim == 0 {
            copy(&aside, &folder);
        }
        let status = cluster.wait_for_exit(victim);
        assert_eq!(status.code(), Some(3), "{}", cluster.tail(victim));
        assert!(cluster.tail(victim).contains("was removed or replaced"), "{}", cluster.tail(victim));
        load.expect_acks("a server had lost its folder");
        drop(fs::remove_dir_all(&folder));
        cluster.start_server(victim);
        cluster.settle();
        assert_ne!(id_of(&cluster, victim), lost, "a server without a memory came back under its old id");
    }
    verdict::read_everything(&mut cluster, &judge, load);
}

#[test]
fn an_old_backup_is_found_out() {
    let mut cluster = Cluster::start(3);
    let judge = Judge::new(3, cluster.folder());
    let load = Load::start(&cluster, &judge, 6, 1);
    load.expect_more_acks(100);
    let victim = 1;
    cluster.settle();
    cluster.stop(victim);
    let backup = cluster.folder().join("backup");
    copy(&cluster.data_of(victim), &backup);
    cluster.start_server(victim);
    cluster.settle();
    load.expect_more_acks(200);
    cluster.kill(victim);
    fs::remove_dir_all(cluster.data_of(victim)).expect("the folder is ours");
    copy(&backup, &cluster.data_of(victim));
    cluster.spoils(victim);
    let lost = id_of(&cluster, victim);
    cluster.start_server(victim);
    cluster.settle();
    assert_ne!(id_of(&cluster, victim), lost, "the old backup was not noticed");
    it_counts(&mut cluster, &load, victim);
    verdict::read_everything(&mut cluster, &judge, load);
}

/// Does something to the database file of a stopped server.
type Damage = fn(&Path);

#[test]
fn damaged_data_is_not_used() {
    let mut cluster = Cluster::start(3);
    let judge = Judge::new(3, cluster.folder());
    let load = Load::start(&cluster, &judge, 6, 1);
    let damages: [(&str, Damage); 3] = [
        ("a log with a flipped bit", |database| {
            let data = database.parent().expect("a database is in a folder");
            let names = fs::read_dir(data)
                .expect("the folder can be read")
                .map(|file| file.expect("it is there").path());
            let is_segment = |path: &PathBuf| {
                path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("log-0"))
            };
            let segment = names.filter(is_segment).max().expect("there is a log");
            let mut bytes = fs::read(&segment).expect("the log can be read");
            let last = bytes.iter().rposition(|byte| *byte != 0).expect("something is written");
            bytes[last] ^= 1;
            fs::write(&segment, bytes).expect("the file is ours");
        }),
        ("a row of state that is gone", |database| {
            let row = "DELETE FROM state WHERE key = (SELECT max(key) FROM state)";
            assert_eq!(changed(database, row), 1);
        }),
        ("half a file", |database| {
            let file = fs::OpenOptions::new().write(true).open(database).expect("the database is there");
            let bytes = file.metadata().expect("a file has a size").len();
            file.set_len(bytes / 2).expect("the file is ours");
        }),
    ];
    for (victim, (what, damage)) in damages.into_iter().enumerate() {
        cluster.settle();
        load.expect_more_acks(100);
        // Stopped cleanly, so that all of its data is in the one file.
        cluster.stop(victim);
        let lost = id_of(&cluster, victim);
        cluster.spoils(victim);
        damage(&cluster.data_of(victim).join("syncnet.db"));
        cluster.start_server(victim);
        cluster.settle();
        assert_ne!(id_of(&cluster, victim), lost, "{} goes on with {what}", name(victim));
    }
    verdict::read_everything(&mut cluster, &judge, load);
}

#[test]
fn a_damaged_row_is_found_by_reading_and_fetched_from_another_server() {
    let mut cluster = Cluster::start_with(3, json!({"scrub_pause_s": 1}));
    let judge = Judge::new(3, cluster.folder());
    let load = Load::start(&cluster, &judge, 6, 1);
    // The leader, then a follower. Nobody asks for these rows.
    for victim in [2, 0] {
        cluster.settle_highest();
        load.expect_more_acks(200);
        let database = cluster.data_of(victim).join("syncnet.db");
        // Rows are written a while after they are acknowledged.
        for row in [
            "UPDATE event SET json = json || ' ' WHERE seq = 5 AND room = (SELECT min(room) FROM event)",
            "UPDATE state SET value = zeroblob(length(value)) WHERE key = (SELECT min(key) FROM state WHERE key > x'14')",
        ] {
            cluster.wait_for("a row to damage", |_| (changed(&database, row) == 1).then_some(()));
        }
        cluster.wait_for("both rows are whole again", |look| {
            let status = look.statuses().find(|(server, _)| *server == victim)?.1;
            (status.scrub.damaged >= 2 && status.scrub.repaired == status.scrub.damaged).then_some(())
        });
        assert!(!is_set_aside(&cluster.data_of(victim)));
        assert_eq!(cluster.leader(), 2, "damage in two rows costs nobody the lead");
    }
    verdict::read_everything(&mut cluster, &judge, load);
}

#[test]
fn damage_that_keeps_the_leader_from_writing_its_state_costs_no_majority() {
    let mut cluster = Cluster::start(3);
    let judge = Judge::new(3, cluster.folder());
    let load = Load::start(&cluster, &judge, 6, 1);
    cluster.settle_highest();
    load.expect_more_acks(200);
    let data = cluster.data_of(2);
    let lost = id_of(&cluster, 2);
    cluster.kill(0);
    cluster.spoils(2);
    let connection = Connection::open(data.join("syncnet.db")).expect("the database is there");
    let nowhere = "PRAGMA writable_schema = ON;
        UPDATE sqlite_schema SET rootpage = rootpage + 1000000 WHERE type = 'table' AND name = 'event';
        PRAGMA schema_version = 1000";
    connection.execute_batch(nowhere).expect("it can be damaged");
    drop(connection);
    cluster.wait_for("the other server leads", |look| (look.leader(2) == Some(1)).then_some(()));
    load.expect_more_acks(200);
    assert!(!is_set_aside(&data), "it had to count, since there were only two");
    cluster.start_server(0);
    cluster.wait_for("the damaged server is rebuilt", |_| is_set_aside(&data).then_some(()));
    cluster.settle_highest();
    assert_ne!(id_of(&cluster, 2), lost);
    it_counts(&mut cluster, &load, 2);
    verdict::read_everything(&mut cluster, &judge, load);
}

#[test]
fn two_of_three_that_lost_everything_do_not_begin_anew() {
    let mut cluster = Cluster::start(3);
    let judge = Judge::new(3, cluster.folder());
    let load = Load::start(&cluster, &judge, 2, 1);
    load.expect_more_acks(50);
    let seen = load.finish();
    cluster.kill_all();
    for victim in [0, 1] {
        fs::remove_dir_all(cluster.data_of(victim)).expect("the folder is ours");
    }
    (0..3).for_each(|server| cluster.start_server(server));
    // They are two of three, and know nothing: together they could acknowledge messages that contradict the
    // third.
    let until = Instant::now() + Duration::from_secs(4);
    while Instant::now() < until {
        let look = cluster.look();
        assert!(
            look.leader(1).is_none(),
            "after {} messages a server leads without them:\n{look}",
            seen.acked
        );
    }
    // The data that is left can still be read.
    let mut wire = Wire::open(&cluster.targets, 2, &judge).expect("the survivor accepts connections");
    wire.call("login", json!({"username": "auditor"}), PATIENCE).expect("a login needs no majority");
    let page =
        wire.call("history", json!({"room": LOBBY, "limit": 500}), PATIENCE).expect("nor does reading");
    assert_eq!(page["data"]["stale"], true, "{page}");
    judge.expect_kept();
}

#[test]
fn a_second_process_on_one_folder_is_refused() {
    let mut cluster = Cluster::start(3);
    let judge = Judge::new(3, cluster.folder());
    let load = Load::start(&cluster, &judge, 2, 1);
    // On ports of its own, so that only the folder stops it.
    let ports = free_base_ports(3).expect("free ports");
    let servers = ports.iter().enumerate().map(|(position, port)| {
        json!({"server_id": name(position), "host": "127.0.0.1", "port": port, "ring_position": position})
    });
    let config = cluster.folder().join("other.json");
    let text = json!({"servers": servers.collect::<Vec<_>>()}).to_string();
    fs::write(&config, text).expect("the folder is ours");
    let output = Command::new(env!("CARGO_BIN_EXE_syncnet-server"))
        .args(["--server-id", "server1", "--config"])
        .arg(&config)
        .arg("--data-dir")
        .arg(cluster.folder().join("data"))
        .arg("--log-dir")
        .arg(cluster.folder().join("logs"))
        .output()
        .expect("the server program can be run");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("in use"), "{said}");
    load.expect_acks("a second process tried the folder");
    verdict::read_everything(&mut cluster, &judge, load);
}

/// Stops all others that a majority does not need: from now on it needs `server`.
fn it_counts(cluster: &mut Cluster, load: &Load, server: usize) {
    cluster.settle();
    let other = (server + 1) % 3;
    cluster.kill(other);
    load.expect_acks("only a majority with the rebuilt server was left");
    cluster.start_server(other);
    cluster.settle();
}

/// The incarnation of a server's data.
fn id_of(cluster: &Cluster, server: usize) -> Vec<u8> {
    databases::identity(&cluster.data_of(server))
}

/// Whether a server has set data aside in its folder.
fn is_set_aside(data: &Path) -> bool {
    let files = fs::read_dir(data).expect("the folder can be read");
    let mut names = files.map(|file| file.expect("it is there").file_name().into_string().expect("ASCII"));
    names.any(|name| name.starts_with("quarantine"))
}

/// How many rows of a database the statement changes.
fn changed(database: &Path, sql: &str) -> usize {
    let connection = Connection::open(database).expect("the database is there");
    connection.execute(sql, []).expect("the table is there")
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("the folder is ours");
    for entry in fs::read_dir(from).expect("the folder is there") {
        let entry = entry.expect("a folder can be listed");
        if entry.file_type().expect("an entry has a type").is_file() {
            fs::copy(entry.path(), to.join(entry.file_name())).expect("a file can be copied");
        }
    }
}
