//! What is stored: rows and entries that are read back, older ones too, and what a restore makes of them.

use crate::{
    chat::{
        Command, Entry, State, StateError,
        audit::AUDIT_MAX,
        command::{Join, Say, Topic},
        rows,
    },
    protocol::{peer::NodeId, request::Destination, rules::KnownRules},
};

use super::{entry, script_commands::room_name, scripts::Run};

#[test]
fn damaged_rows_are_refused_in_a_sentence() {
    let mut run = Run::default();
    run.carry_out("alice join lobby");
    run.carry_out("alice chat lobby m1 hello");
    let good = run.world.rows.clone();
    let load = |rows| State::load(rows).unwrap_err().to_string();
    for key in good.keys() {
        let mut truncated = good.clone();
        truncated.get_mut(key).unwrap().pop();
        assert!(load(truncated).contains("decode"), "{key:?}");
        let mut longer = good.clone();
        longer.get_mut(key).unwrap().push(0);
        assert!(load(longer).contains("too many"), "{key:?}");
        let mut newer = good.clone();
        newer.get_mut(key).unwrap()[0] = 9;
        assert!(load(newer).contains("version 9"), "{key:?}");
    }
    let mut orphan = good.clone();
    orphan.retain(|key, _| key[0] != rows::USER);
    assert!(load(orphan).contains("refers to user 1"));
    let mut strange = good;
    strange.insert(vec![99], vec![1]);
    assert!(load(strange).contains("the row 63"));
}

#[test]
fn a_restore_begins_a_new_epoch() {
    let mut run = Run::default();
    run.carry_out("alice join lobby");
    let mut last = run.world.state.epoch(7);
    assert_eq!(last, 1);
    for cluster_id in [9, 5] {
        for row in run.world.state.begin_epoch() {
            match row.value {
                Some(value) => drop(run.world.rows.insert(row.key, value)),
                None => drop(run.world.rows.remove(&row.key)),
            }
        }
        assert!(run.world.loaded() == run.world.state);
        assert!(!run.world.rows.keys().any(|key| key[0] == rows::ORIGIN));
        let epoch = run.world.state.epoch(cluster_id);
        assert!(last < epoch && epoch < crate::protocol::limits::LAMPORT_END);
        assert_ne!(epoch, run.world.state.epoch(cluster_id + 1), "the same backup, restored once more");
        last = epoch;
    }
}

#[test]
fn a_removed_server_is_forgotten() {
    let mut run = Run::default();
    run.carry_out("alice join lobby");
    let forgotten = run.world.state.forget_origin(NodeId(1));
    assert_eq!(forgotten.len(), 1);
    assert_eq!(forgotten[0].value, None);
    run.world.rows.remove(&forgotten[0].key).expect("it removes the row that was there");
    assert_eq!(run.world.loaded(), run.world.state);
    assert!(run.world.state.forget_origin(NodeId(1)).is_empty());
}

#[test]
fn entries_round_trip() {
    let asked = entry(1, "alice", 3, Join::new(room_name("lobby")));
    let bytes = asked.encode();
    let decode = |bytes: &[u8]| Entry::decode(bytes, KnownRules::OURS);
    assert_eq!(decode(&bytes).unwrap(), asked);
    decode(&bytes[..bytes.len() - 1]).unwrap_err();
    decode(&[]).unwrap_err();
}

#[test]
fn an_upload_without_its_file_is_no_state() {
    let mut run = Run::default();
    run.carry_out("alice join lobby");
    run.carry_out("alice upload lobby 1 a.txt 10");
    run.world.rows.retain(|key, _| key[0] != rows::FILE);
    assert_eq!(State::load(run.world.rows.clone()).unwrap_err(), StateError::NoUpload);
}

#[test]
fn a_full_ring_of_messages_loads() {
    let mut run = Run::default();
    run.carry_out("alice join lobby");
    for n in 0..25_000 {
        run.seq += 1;
        let command = Command::Say(Say {
            to: Destination::Room(room_name("lobby")),
            file_id: None,
            body: "x".into(),
            client_msg_id: format!("m{n}"),
            reply_to: None,
            is_here: false,
        });
        run.world.apply(&entry(run.seq, "alice", 0, command));
    }
    assert!(run.world.loaded() == run.world.state);
}

#[test]
fn the_oldest_deeds_make_room() {
    let mut run = Run::default();
    run.carry_out("alice join lobby");
    for n in 0..AUDIT_MAX + 3 {
        run.seq += 1;
        let topic = Topic { room: room_name("lobby"), topic: format!("{n}") };
        run.world.apply(&entry(run.seq, "alice", 0, topic));
    }
    assert!(run.world.loaded() == run.world.state);
    assert_eq!(run.world.rows.keys().filter(|key| key[0] == rows::AUDIT).count(), AUDIT_MAX);
    let (newest, more) = run.world.state.audit(None, u64::MAX, 2);
    let numbers: Vec<u64> = newest.iter().map(|entry| entry.number).collect();
    assert_eq!((numbers, more), (vec![AUDIT_MAX as u64 + 3, AUDIT_MAX as u64 + 2], true));
    let (oldest, more) = run.world.state.audit(None, 5, 2);
    let numbers: Vec<u64> = oldest.iter().map(|entry| entry.number).collect();
    assert_eq!((numbers, more), (vec![4], false));
}
