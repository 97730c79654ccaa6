//! The end of every story: the load stops, everything is read from all servers and databases, and it must fit
//! together.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    databases,
    harness::{Cluster, name},
    judge::Judge,
    load::{Load, Seen},
    reading::{Ends, read_server},
};

/// Ends the load, reads all rooms from all servers and all databases, and judges. The servers are stopped
/// afterwards.
#[track_caller]
pub fn read_everything(cluster: &mut Cluster, judge: &Arc<Judge>, load: Load) -> Seen {
    let seen = load.finish();
    eprintln!("{seen:?}");
    audit(cluster, judge);
    seen
}

/// The reading and judging alone.
#[track_caller]
pub fn audit(cluster: &mut Cluster, judge: &Arc<Judge>) {
    cluster.settle_fully();
    let servers = cluster.running();
    let served: Vec<Ends> =
        servers.iter().map(|&server| read_server(&cluster.targets, judge, server, &[])).collect();
    for (&server, rooms) in servers.iter().zip(&served) {
        assert_eq!(served[0], *rooms, "{} has other rooms than {}", name(server), name(servers[0]));
    }
    cluster.stop_all();
    let mut states: Option<(usize, databases::Database)> = None;
    for &server in &servers {
        let database = databases::read(&cluster.data_of(server));
        let held: Ends =
            database.rooms.iter().map(|(room, events)| (room.clone(), events.len() as u64)).collect();
        assert_eq!(served[0], held, "the database of {} has other rooms than it served", name(server));
        for (room, events) in &database.rooms {
            judge.final_read(server, room, events);
        }
        match &states {
            None => states = Some((server, database)),
            Some((first, other)) => same_state(&database.state, &other.state, server, *first),
        }
    }
    cluster.expect_doubts_only_of_the_spoilt();
    judge.finish();
    judge.expect_kept();
    assert!(judge.chats_acked() > 0, "nothing was acknowledged: this run proves nothing");
}

/// All servers have applied the same log, so their states are the same to the byte.
#[track_caller]
fn same_state(
    one: &BTreeMap<Vec<u8>, Vec<u8>>,
    other: &BTreeMap<Vec<u8>, Vec<u8>>,
    server: usize,
    first: usize,
) {
    let differs = |(key, value): &(&Vec<u8>, &Vec<u8>)| other.get(*key) != Some(value);
    let row = one.iter().find(differs).map(|(key, _)| key);
    let missing = other.keys().find(|key| !one.contains_key(*key));
    if let Some(key) = row.or(missing) {
        let held = |state: &BTreeMap<Vec<u8>, Vec<u8>>| state.get(key).map(Vec::len);
        panic!(
            "the states of {} and {} differ at the row {key:02x?}, where they have {:?} and {:?} bytes",
            name(server),
            name(first),
            held(one),
            held(other)
        );
    }
}
