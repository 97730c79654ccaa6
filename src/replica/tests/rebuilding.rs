//! Data that is lost, old or damaged: it is found out, and made anew from the others.

use std::collections::BTreeSet;

use crate::{protocol::peer::NodeId, storage::MemoryImage};

use super::{
    JOIN, chat,
    cluster::{Cluster, applied},
    field,
};

#[test]
fn a_deleted_server_comes_back_under_a_new_incarnation_and_votes_again() {
    let mut cluster = Cluster::with_messages_at(3, &["a"]);
    let before = cluster.replica(1).node().data_mark().node_id;
    cluster.kill(1);
    cluster.disk(1).wipe();
    cluster.start(1);
    // While the change of the voters is under way a second loss would be one too many, and the status says
    // so.
    let mut notes = BTreeSet::new();
    for _ in 0..100 {
        cluster.run_ms(20);
        notes.insert(cluster.replica(3).status(cluster.now).note);
    }
    assert!(notes.iter().any(|note| note.contains("being taken in")), "{notes:?}");
    assert_eq!(cluster.replica(3).status(cluster.now).note, "");
    assert_ne!(cluster.replica(1).node().data_mark().node_id, before);
    assert!(cluster.replica(1).node().may_vote());
    assert_eq!(cluster.replica(1).state(), cluster.replica(3).state());
    // It counts: with it and one other there is a majority.
    cluster.kill(3);
    cluster.elect(1);
    cluster.say(1, 1, &[JOIN, &chat("b")]);
    cluster.run_ms(40);
    assert_eq!(field(&cluster.answers(1, 1), "for"), ["create_join", "chat"]);
}

#[test]
fn an_old_backup_is_found_out_and_rebuilt() {
    let mut cluster = Cluster::with_alice_at(3);
    let backup = cluster.disk(1).image();
    cluster.say(3, 1, &[&chat("a"), &chat("b")]);
    cluster.run_ms(200);
    cluster.kill(1);
    cluster.disk(1).restore(&backup);
    cluster.start(1);
    cluster.run_ms(2_000);
    assert_eq!(cluster.quarantined.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [1]);
    assert!(cluster.replica(1).node().may_vote());
    assert_eq!(cluster.replica(1).state(), cluster.replica(3).state());
}

#[test]
fn what_is_remembered_of_the_others_outlives_a_restart_of_all() {
    let mut cluster = Cluster::with_alice_at(3);
    let backup = cluster.disk(1).image();
    cluster.say(3, 1, &[&chat("a"), &chat("b")]);
    cluster.run_ms(2_000);
    (1..=3).for_each(|number| cluster.kill(number));
    cluster.disk(1).restore(&backup);
    (1..=3).for_each(|number| cluster.start(number));
    cluster.elect(3);
    cluster.run_ms(2_000);
    assert_eq!(cluster.quarantined.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [1]);
    assert_eq!(cluster.replica(1).state(), cluster.replica(3).state());
}

#[test]
fn what_others_have_promised_is_stored_with_what_comes_of_it() {
    let restart_with = |cluster: &mut Cluster, copy: &MemoryImage, count: usize| {
        (1..=count).for_each(|number| cluster.kill(number));
        cluster.disk(1).restore(copy);
        (1..=count).for_each(|number| cluster.start(number));
        let quarantined: Vec<_> = cluster.quarantined.iter().map(|(number, _)| *number).collect();
        assert_eq!(quarantined, [1], "no time has passed, but for what had to be synced");
    };
    // A vote, with the first entry of its term.
    let mut cluster = Cluster::led_by_the_last(3);
    cluster.run_ms(100);
    cluster.kill(3);
    let copy = cluster.disk(1).image();
    cluster.elect(2);
    restart_with(&mut cluster, &copy, 2);
    // An acknowledgement, with the next entry.
    let mut cluster = Cluster::with_alice_at(3);
    // What is due by the clock is stored now. No time passes from here on, so nothing more becomes due.
    cluster.say(3, 1, &[&chat("before")]);
    cluster.settle();
    let copy = cluster.disk(1).image();
    for text in ["a", "b"] {
        cluster.say(3, 1, &[&chat(text)]);
        cluster.settle();
    }
    restart_with(&mut cluster, &copy, 3);
}

/// Server 1 is down, and the entries that it lacks are in no log any more. Returned with it: how far it had
/// come, and its incarnation.
fn one_is_far_behind() -> (Cluster, (u64, NodeId)) {
    let mut cluster = Cluster::new(3);
    cluster.keep_entries = 10;
    (1..=3).for_each(|number| cluster.start(number));
    cluster.run_ms(400);
    cluster.elect(3);
    cluster.say(3, 1, &[JOIN]);
    cluster.run_ms(400);
    let before = (applied(&cluster, 1), cluster.replica(1).node().data_mark().node_id);
    cluster.kill(1);
    for number in 0..60 {
        cluster.say(3, 1, &[&chat(&format!("m{number}"))]);
        cluster.run_ms(40);
    }
    (cluster, before)
}

#[test]
fn a_server_that_was_away_too_long_gets_a_snapshot() {
    let (mut cluster, _) = one_is_far_behind();
    cluster.start(1);
    cluster.run_ms(1_000);
    assert_eq!(applied(&cluster, 1), applied(&cluster, 3));
    assert_eq!(cluster.replica(1).state(), cluster.replica(3).state());
    assert!(cluster.quarantined.is_empty());
    // The snapshot must carry which messages were sent already, besides the rooms.
    cluster.say(1, 7, &[JOIN, &chat("m5")]);
    cluster.run_ms(40);
    assert_eq!(cluster.answers(1, 7)[1]["data"]["duplicate"], true);
}

#[test]
fn a_snapshot_that_cannot_be_read_costs_the_receiver_nothing() {
    let (mut cluster, before) = one_is_far_behind();
    cluster.damaged_snapshots = 2;
    cluster.start(1);
    // It keeps what it has, and is not sent another at once.
    cluster.run_ms(3_000);
    assert_eq!(cluster.unreadable.len(), 1, "{:?}", cluster.unreadable);
    assert!(cluster.unreadable[0].1.contains("cannot be read to its end"), "{:?}", cluster.unreadable);
    assert_eq!((applied(&cluster, 1), cluster.replica(1).node().data_mark().node_id), before);
    // The others go on.
    cluster.say(3, 1, &[&chat("meanwhile")]);
    cluster.run_ms(3_000);
    assert_eq!(cluster.unreadable.len(), 2, "{:?}", cluster.unreadable);
    assert!(cluster.replica(1).node().may_vote());
    cluster.run_ms(6_000);
    assert_eq!(cluster.unreadable.len(), 2, "{:?}", cluster.unreadable);
    assert_eq!(applied(&cluster, 1), applied(&cluster, 3));
    assert_eq!(cluster.replica(1).state(), cluster.replica(3).state());
    assert_eq!(cluster.replica(1).node().data_mark().node_id, before.1);
    assert!(cluster.quarantined.is_empty(), "{:?}", cluster.quarantined);
}
