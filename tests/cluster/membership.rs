//! Stories of clusters whose servers change while people write: one joins, leaves, or takes another's place.

use std::process::Command;

use serde_json::Value;

use crate::{
    harness::{Cluster, name},
    judge::Judge,
    load::Load,
    verdict,
};

/// The exit status of a server that its cluster has no more.
const REMOVED: i32 = 4;

/// What `syncnet-admin server` says to these words, and whether it was done.
fn admin(cluster: &Cluster, words: &[&str]) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_syncnet-admin"))
        .arg("server")
        .args(words)
        .arg("--config")
        .arg(cluster.folder().join("config.json"))
        .arg("--secret-file")
        .arg(cluster.folder().join("data/cluster.secret"))
        .output()
        .expect("the admin tool can be run");
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).expect("it speaks UTF-8"))
}

#[track_caller]
fn done(cluster: &Cluster, words: &[&str]) -> String {
    let (is_done, said) = admin(cluster, words);
    assert!(is_done, "{words:?}: {said}");
    said
}

#[track_caller]
fn refused(cluster: &Cluster, words: &[&str], named: &str) {
    let (is_done, said) = admin(cluster, words);
    assert!(!is_done && said.contains(named), "{words:?}: {said}");
}

/// The words that say where a server is.
fn place(cluster: &Cluster, server: usize) -> [String; 6] {
    let target = &cluster.targets[server];
    let words =
        ["--host", &target.host, "--port", &target.port.to_string(), "--ring-position", &server.to_string()];
    words.map(str::to_owned)
}

/// Lets a server in, and waits for nothing.
#[track_caller]
fn change(cluster: &Cluster, what: &[&str], server: usize) -> String {
    let place = place(cluster, server);
    let words: Vec<&str> = what.iter().copied().chain(place.iter().map(String::as_str)).collect();
    done(cluster, &words)
}

/// Waits until these servers vote, and no change is under way.
#[track_caller]
fn wait_for_voters(cluster: &mut Cluster, servers: &[usize]) {
    let names: Vec<String> = servers.iter().map(|server| name(*server)).collect();
    let folder = cluster.folder().to_owned();
    cluster.wait_for(&format!("{names:?} to be the servers that vote"), |_| {
        let output = Command::new(env!("CARGO_BIN_EXE_syncnet-admin"))
            .args(["server", "list", "--json", "--config"])
            .arg(folder.join("config.json"))
            .arg("--secret-file")
            .arg(folder.join("data/cluster.secret"))
            .output()
            .expect("the admin tool can be run");
        let list: Value = serde_json::from_slice(&output.stdout).ok()?;
        let rows = list["servers"].as_array()?;
        let voting = rows.iter().filter(|row| row["state"] == "votes");
        let voting: Vec<_> = voting.filter_map(|row| row["server_id"].as_str()).collect();
        (rows.len() == names.len() && voting == names).then_some(())
    });
}

/// Waits until a server has said this on its console.
#[track_caller]
fn wait_for_words(cluster: &mut Cluster, server: usize, words: &str) {
    let place = cluster.folder().join("logs").join(format!("console_{}.log", name(server)));
    cluster.wait_for(&format!("{} to say {words:?}", name(server)), |_| {
        std::fs::read_to_string(&place).unwrap_or_default().contains(words).then_some(())
    });
}

#[test]
fn three_become_five_and_three_again_while_people_write() {
    let mut cluster = Cluster::start_with_spare(3, 2);
    let judge = Judge::new(5, cluster.folder());
    let load = Load::start(&cluster, &judge, 4, 1);
    load.expect_more_acks(100);
    // One is started before it is let in, the other one after.
    cluster.start_server(3);
    wait_for_words(&mut cluster, 3, "waits to be added");
    change(&cluster, &["add", "server4"], 3);
    wait_for_voters(&mut cluster, &[0, 1, 2, 3]);
    change(&cluster, &["add", "server5"], 4);
    refused(&cluster, &["remove", "server1"], "server5 is still to join");
    load.expect_more_acks(100);
    cluster.start_server(4);
    wait_for_voters(&mut cluster, &[0, 1, 2, 3, 4]);
    load.expect_more_acks(100);
    // Of five, two may go: the leader and another one, killed at once.
    let leader = cluster.settle();
    cluster.kill(leader);
    cluster.kill((leader + 1) % 5);
    load.expect_acks("two of five were killed");
    cluster.start_server(leader);
    cluster.start_server((leader + 1) % 5);
    cluster.settle();
    // The one that all were told of goes as well, and the leader.
    for (server, left) in [(0, &[1, 2, 3, 4][..]), (4, &[1, 2, 3])] {
        done(&cluster, &["remove", &name(server)]);
        let status = cluster.wait_for_exit(server);
        assert_eq!(status.code(), Some(REMOVED), "{}", cluster.tail(server));
        wait_for_voters(&mut cluster, left);
        load.expect_more_acks(100);
    }
    // What comes back with its old folder is told so, and says it.
    cluster.start_server(0);
    assert_eq!(cluster.wait_for_exit(0).code(), Some(REMOVED), "{}", cluster.tail(0));
    assert!(cluster.console_of(0).contains("was removed from its cluster"), "{}", cluster.tail(0));
    // With configurations that nobody has edited they find each other again.
    cluster.settle();
    cluster.kill_all();
    for server in 1..4 {
        cluster.start_server(server);
    }
    load.expect_acks("all were killed");
    let seen = verdict::read_everything(&mut cluster, &judge, load);
    assert!(seen.acked > 500, "hardly anything was written: {seen:?}");
}

#[test]
fn a_killed_server_is_replaced_by_one_command_and_a_start() {
    let mut cluster = Cluster::start_with_spare(3, 1);
    let judge = Judge::new(4, cluster.folder());
    let load = Load::start(&cluster, &judge, 4, 1);
    load.expect_more_acks(100);
    let leader = cluster.settle_highest();
    cluster.kill(leader);
    load.expect_acks("the leader was killed");
    // Two of three live: neither may go.
    for server in (0..3).filter(|server| *server != leader) {
        refused(&cluster, &["remove", &name(server)], "the living majority would be lost");
    }
    let plan = change(&cluster, &["replace", &name(leader), "server4", "--dry-run"], 3);
    assert!(plan.contains("does not answer; none may fail") && plan.contains("Nothing was done"), "{plan}");
    assert!(
        plan.contains("Then:  3 servers vote, 2 are a majority; all answer; one more may fail"),
        "{plan}"
    );
    change(&cluster, &["replace", &name(leader), "server4"], 3);
    cluster.start_server(3);
    wait_for_voters(&mut cluster, &[0, 1, 3]);
    load.expect_acks("the killed server was replaced");
    // One more may fail now.
    let leader_now = cluster.settle();
    cluster.kill(leader_now);
    load.expect_acks("another one was killed");
    cluster.start_server(leader_now);
    cluster.settle();
    // The replaced one is not let back in.
    cluster.start_server(leader);
    assert_eq!(cluster.wait_for_exit(leader).code(), Some(REMOVED), "{}", cluster.tail(leader));
    verdict::read_everything(&mut cluster, &judge, load);
}
