//! A cluster goes from one version of the program to the next, one server at a time, while people write.
//!
//! `scripts/test_upgrade.sh` builds the two programs and runs this. The later one may be a version that was
//! made up for the test (`tests/upgrade/next.patch`): by its rules, topics are written in capital letters.

use std::{env, path::PathBuf};

use serde_json::json;
use syncnet::protocol::rules::RulesVersion;

use crate::{
    harness::{Cluster, PATIENCE},
    judge::Judge,
    load::Load,
    verdict,
    wire::Wire,
};

fn program(variable: &str) -> PathBuf {
    env::var_os(variable)
        .unwrap_or_else(|| panic!("{variable} is not set: run scripts/test_upgrade.sh"))
        .into()
}

/// Sets the topic of a room through one server, and gives it as another one shows it then.
fn topic_by(cluster: &Cluster, server: usize, topic: &str) -> String {
    let open = |server: usize| {
        let mut wire = Wire::open_unjudged(&cluster.targets[server]);
        let login = wire.call("login", json!({"username": "scribe"}), PATIENCE).expect("it answers");
        assert_eq!(login["msg_type"], "ack", "{login}");
        wire
    };
    let mut wire = open(server);
    for (msg_type, data) in
        [("create_join", json!({"room": "notes"})), ("topic", json!({"room": "notes", "topic": topic}))]
    {
        let answer = wire.call(msg_type, data, PATIENCE).expect("it answers");
        assert_eq!(answer["msg_type"], "ack", "{answer}");
    }
    let mut other = open((server + 1) % cluster.targets.len());
    let rooms = other.call("rooms", json!({}), PATIENCE).expect("it answers");
    let rooms = rooms["data"]["rooms"].as_array().expect("there are rooms").clone();
    let notes = rooms.into_iter().find(|room| room["room"] == "notes").expect("the room is shown");
    notes["topic"].as_str().expect("it has a topic").to_owned()
}

#[test]
#[ignore = "needs two versions of the program: scripts/test_upgrade.sh"]
fn servers_are_upgraded_one_at_a_time_and_nobody_notices() {
    let (earlier, later) = (program("SYNCNET_EARLIER_SERVER"), program("SYNCNET_LATER_SERVER"));
    let mut cluster = Cluster::prepare(3, json!({}));
    for server in 0..3 {
        cluster.install(server, earlier.clone());
        cluster.start_server(server);
    }
    cluster.settle();
    let judge = Judge::new(3, cluster.folder());
    let load = Load::start(&cluster, &judge, 8, 2);
    for server in 0..3 {
        load.expect_more_acks(100);
        assert_eq!(cluster.status(2).rules, RulesVersion::FIRST);
        assert_eq!(topic_by(&cluster, server, &format!("topic {server}")), format!("topic {server}"));
        cluster.stop(server);
        load.expect_acks("a server was stopped");
        cluster.install(server, later.clone());
        cluster.start_server(server);
        cluster.settle_highest();
        load.expect_more_acks(100);
    }
    let newest = cluster.status(2).newest_rules;
    cluster.wait_for("the rules of the later program to hold on all servers", |look| {
        look.statuses().all(|(_, status)| status.rules == newest).then_some(())
    });
    if newest > RulesVersion::FIRST {
        assert_eq!(topic_by(&cluster, 1, "by the new rules"), "BY THE NEW RULES");
        an_earlier_program_refuses_the_data(&mut cluster, earlier, later);
    }
    // What was written by both is read back by the later one alone.
    let leader = cluster.settle_highest();
    cluster.kill(leader);
    load.expect_acks("the leader was killed");
    cluster.start_server(leader);
    let seen = verdict::read_everything(&mut cluster, &judge, load);
    assert!(seen.refused.is_empty(), "an upgrade must not refuse anything: {seen:?}");
}

fn an_earlier_program_refuses_the_data(cluster: &mut Cluster, earlier: PathBuf, later: PathBuf) {
    cluster.stop(0);
    cluster.install(0, earlier);
    cluster.start_server(0);
    let status = cluster.wait_for_exit(0);
    let said = cluster.tail(0);
    assert!(status.code().is_some_and(|code| code != 0), "{status}: {said}");
    assert!(said.contains("needs version 2 of the rules") && said.contains("newer program"), "{said}");
    cluster.install(0, later);
    cluster.start_server(0);
    cluster.settle_highest();
}
