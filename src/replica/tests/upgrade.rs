//! A cluster is upgraded, one server at a time.

use super::cluster::{Cluster, id};
use crate::protocol::rules::{KnownRules, RulesVersion};

const NEW: KnownRules = KnownRules { oldest: RulesVersion::FIRST, newest: RulesVersion(2) };

fn upgrade(cluster: &mut Cluster, number: usize) {
    cluster.kill(number);
    cluster.rules.insert(number, NEW);
    cluster.start(number);
    cluster.run_ms(1_000);
    if cluster.replica(number).leader().is_none() {
        cluster.elect(3);
        cluster.run_ms(200);
    }
}

/// By which rules the servers apply entries.
fn rules(cluster: &Cluster) -> Vec<u8> {
    (1..=3).map(|number| cluster.status(number).rules.0).collect()
}

#[test]
fn new_rules_hold_once_every_server_knows_them() {
    let mut cluster = Cluster::led_by_the_last(3);
    upgrade(&mut cluster, 1);
    upgrade(&mut cluster, 3);
    cluster.run_ms(2_000);
    assert_eq!(rules(&cluster), [1, 1, 1], "server2 does not know the others");
    let note = cluster.status(1).note;
    assert!(note.contains("version 1 of the rules") && note.ends_with(": server2"), "{note}");
    assert_eq!(cluster.status(2).note, "server1 runs a newer program: upgrade this server, too");
    upgrade(&mut cluster, 2);
    cluster.run_ms(500);
    assert_eq!(rules(&cluster), [2, 2, 2]);
    assert_eq!(cluster.status(1).note, "");
    for number in 1..=3 {
        cluster.kill(number);
        cluster.start(number);
        assert_eq!(cluster.status(number).rules, RulesVersion(2), "server {number} knows it from its disk");
    }
}

#[test]
fn a_server_that_is_away_is_waited_for() {
    let mut cluster = Cluster::led_by_the_last(3);
    cluster.kill(1);
    for number in 2..=3 {
        upgrade(&mut cluster, number);
    }
    cluster.run_ms(5_000);
    assert_eq!(cluster.status(3).rules, RulesVersion::FIRST);
    assert!(cluster.status(3).note.ends_with(": server1"), "{}", cluster.status(3).note);
}

#[test]
fn an_old_program_refuses_newer_data_in_a_sentence() {
    let mut cluster = Cluster::new(3);
    cluster.rules.extend((1..=3).map(|number| (number, NEW)));
    (1..=3).for_each(|number| cluster.start(number));
    cluster.run_ms(400);
    cluster.elect(3);
    cluster.run_ms(1_000);
    assert_eq!(rules(&cluster), [2, 2, 2]);
    cluster.kill(1);
    cluster.rules.remove(&1);
    let error = cluster.open(1).map(drop).unwrap_err().to_string();
    assert!(error.contains("needs version 2 of the rules") && error.contains("newer program"), "{error}");
    assert_eq!(cluster.replica(2).leader(), Some(id(3)));
}
