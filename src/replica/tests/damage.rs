//! Damaged rows: repaired from another server, or what follows if that cannot be.

use std::{collections::BTreeSet, io::Read};

use crate::{
    disk::{Reader, RoomId, StorageError},
    protocol::{
        peer::{PeerMessage, RowContent, RowKey},
        status::Role,
    },
    replica::io::Input,
    storage::Kept,
};

use super::{
    JOIN, chat,
    cluster::{Cluster, id},
    field,
};

#[test]
fn a_damaged_row_is_fetched_from_a_server_that_has_it_whole() {
    let mut cluster = Cluster::with_messages_at(3, &["a", "b"]);
    // The third is not there, so both of the others are needed.
    cluster.kill(1);
    assert!(cluster.disk(3).decay(Kept::Event, 1, 9));
    let history = r#"{"msg_type":"history","data":{"room":"lobby"}}"#;
    cluster.say(3, 1, &[history]);
    cluster.run_ms(100);
    assert_eq!(field(&cluster.answers(3, 1), "code"), ["overloaded"]);
    cluster.run_ms(100);
    cluster.say(3, 1, &[history]);
    cluster.run_ms(100);
    let heard = cluster.heard(3, 1);
    assert_eq!(heard.last().unwrap()["data"]["last_seq"], 3, "{heard:?}");
    let (room, _) = cluster.replica(3).state().rooms_from(RoomId(0)).next().unwrap();
    let row = RowKey::Event { room: room.0, seq: 2 };
    assert_eq!((&cluster.damaged.len(), &cluster.repaired), (&1, &vec![(3, row, 2)]));
    cluster.run_ms(10_000);
    assert_eq!((cluster.role(3), cluster.status(3).note.as_str()), (Role::Leader, ""));
    assert!(cluster.quarantined.is_empty());
}

fn edit(seq: u64) -> String {
    let data = format!(r#"{{"room":"lobby","seq":{seq},"body":"new"}}"#);
    format!(r#"{{"msg_type":"edit","sender_id":"alice","request_id":"{seq}","data":{data}}}"#)
}

#[test]
fn a_change_of_a_damaged_event_waits_for_its_repair() {
    let mut cluster = Cluster::with_messages_at(3, &["a", "b"]);
    cluster.kill(1);
    // The follower hears of the change after the leader. The event is the last one of the room.
    assert!(cluster.disk(2).decay(Kept::Event, 2, 9));
    assert!(cluster.disk(3).decay(Kept::Event, 1, 9));
    cluster.say(3, 1, &[r#"{"msg_type":"history","data":{"room":"lobby"}}"#, &edit(3), &chat("c")]);
    cluster.run_ms(1_000);
    assert_eq!(field(&cluster.answers(3, 1)[..2], "seq"), [4, 5]);
    assert_eq!(cluster.repaired.len(), 2);
    assert_eq!(cluster.replica(2).state(), cluster.replica(3).state());
    assert_eq!((cluster.role(3), cluster.quarantined.len()), (Role::Leader, 0));
}

/// The others have changed the row already, so it cannot be repaired.
#[test]
fn a_leader_that_cannot_apply_an_entry_gives_the_lead_away_and_goes_on_voting() {
    let mut cluster = Cluster::with_messages_at(3, &["a", "b"]);
    cluster.kill(1);
    assert!(cluster.disk(3).decay_checksum(Kept::Event, 1));
    cluster.say(3, 1, &[&edit(2)]);
    cluster.run_ms(6_000);
    assert_eq!((cluster.role(2), cluster.role(3)), (Role::Leader, Role::Follower));
    // Both of them are needed for this.
    cluster.say(2, 2, &[JOIN, &chat("c")]);
    cluster.run_ms(200);
    assert_eq!(cluster.answers(2, 2).last().unwrap()["msg_type"], "ack");
    assert!(cluster.quarantined.is_empty());
    // Now it is not needed any more.
    cluster.start(1);
    cluster.run_ms(10_000);
    assert_eq!(cluster.quarantined.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [3]);
    assert_eq!(cluster.role(3), Role::Leader);
    assert_eq!(cluster.replica(3).state(), cluster.replica(2).state());
}

#[test]
fn rows_of_every_kind_are_repaired_and_another_version_of_a_row_is_not_taken() {
    let mut cluster = Cluster::with_messages_at(3, &["a", "b"]);
    for (kind, nth) in [(Kept::State, 0), (Kept::State, 3), (Kept::State, 5), (Kept::Event, 0)] {
        assert!(cluster.disk(1).decay(kind, nth, 9));
    }
    let found = cluster.disk(1).reader().scrub(None, usize::MAX).unwrap();
    assert_eq!((found.damaged.len(), found.last), (4, None));
    for row in found.damaged {
        // What others say without being asked, or have in another version, is nothing.
        let wrong = PeerMessage::Row { key: row.key.clone(), content: RowContent::State(b"wrong".to_vec()) };
        cluster.input(1, Input::Peer { from: id(3), message: wrong.clone() });
        cluster.input(1, Input::damage(&StorageError::Damaged(row)).unwrap());
        cluster.input(1, Input::Peer { from: id(3), message: wrong });
    }
    cluster.run_ms(1_000);
    assert_eq!(cluster.repaired.len(), 4);
    assert_eq!(cluster.disk(1).reader().scrub(None, usize::MAX).unwrap().damaged, []);
    cluster.kill(1);
    cluster.start(1);
    cluster.run_ms(400);
    assert_eq!(cluster.replica(1).state(), cluster.replica(3).state());
    assert!(cluster.quarantined.is_empty());
}

#[test]
fn a_reading_in_slices_sees_every_row_once() {
    let mut cluster = Cluster::led_by_the_last(1);
    cluster.say(1, 1, &[JOIN]);
    for number in 0..50 {
        cluster.say(1, 1, &[&chat(&number.to_string())]);
    }
    cluster.run_ms(1_000);
    let reader = cluster.disk(1).reader();
    let all = reader.scrub(None, usize::MAX).unwrap();
    let (mut rows, mut slices, mut above) = (0, 0, None);
    loop {
        let slice = reader.scrub(above.as_ref(), 100).unwrap();
        (rows, slices) = (rows + slice.rows, slices + 1);
        match slice.last {
            Some(last) => assert!(above.replace(last.clone()) < Some(last)),
            None => break,
        }
    }
    assert_eq!((rows, all.damaged), (all.rows, vec![]));
    assert!(slices > 10, "{slices} slices of {rows} rows");
}

#[test]
fn a_leader_whose_data_is_damaged_hands_over_and_is_rebuilt_once_nobody_needs_it() {
    let mut cluster = Cluster::new(3);
    cluster.keep_entries = 20;
    (1..=3).for_each(|number| cluster.start(number));
    cluster.run_ms(400);
    cluster.elect(3);
    cluster.say(3, 1, &[JOIN]);
    for number in 0..200 {
        cluster.say(3, 1, &[&chat(&number.to_string())]);
        cluster.run_ms(20);
    }
    assert!(cluster.disk(3).decay_checksum(Kept::Event, 5));
    cluster.kill(1);
    cluster.disk(1).wipe();
    cluster.start(1);
    let mut led = BTreeSet::new();
    for _ in 0..200 {
        cluster.run_ms(100);
        led.extend((1..=3).filter(|number| cluster.role(*number) == Role::Leader));
        // One server is rebuilt, and both of the others are needed.
        let learners = (1..=3).filter(|number| cluster.status(*number).role == Role::Learner).count();
        assert!(learners <= 1);
    }
    assert_eq!(led, [2, 3].into());
    let damaged: Vec<usize> = cluster.damaged.iter().map(|(number, _)| *number).collect();
    let rebuilt: Vec<usize> = cluster.quarantined.iter().map(|(number, _)| *number).collect();
    assert_eq!((damaged, rebuilt), (vec![3], vec![3]));
    assert_eq!(cluster.role(3), Role::Leader, "it is whole again, and the highest");
    for number in 1..=3 {
        assert_eq!(cluster.replica(number).state(), cluster.replica(2).state());
        let (_, mut content) = cluster.disk(number).reader().snapshot().expect("the disk works");
        content.read_to_end(&mut Vec::new()).expect("it is whole");
    }
}

#[test]
fn damage_where_the_others_are_no_majority_costs_nobody_the_cluster() {
    let mut cluster = Cluster::with_messages_at(3, &["a", "b"]);
    cluster.kill(1);
    assert!(cluster.disk(3).decay_checksum(Kept::Event, 1));
    let history = r#"{"msg_type":"history","data":{"room":"lobby"}}"#;
    for _ in 0..20 {
        cluster.say(3, 1, &[history]);
        cluster.run_ms(100);
    }
    assert_eq!(field(&cluster.answers(3, 1), "code"), vec!["overloaded"; 20]);
    cluster.run_ms(8_000);
    assert_eq!(cluster.damaged.len(), 1);
    assert_eq!(cluster.role(2), Role::Leader, "the whole one leads");
    assert!(cluster.is_closed(3, 1), "its clients are elsewhere");
    cluster.say(2, 2, &[JOIN, &chat("c")]);
    cluster.run_ms(200);
    assert_eq!(cluster.answers(2, 2).last().unwrap()["msg_type"], "ack");
    assert!(cluster.quarantined.is_empty());
    cluster.start(1);
    cluster.run_ms(3_000);
    assert_eq!(cluster.quarantined.len(), 1);
}
