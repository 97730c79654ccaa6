//! How every story ends: the load stops, everything is read from everywhere, and it must fit together.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde_json::{Value, json};

use crate::{
    databases,
    harness::{Cluster, name},
    judge::Judge,
    load::{Load, Seen},
    wire::Wire,
};

const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Where each room ends.
type Ends = BTreeMap<String, u64>;

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
    let served: Vec<Ends> = servers.iter().map(|&server| read_server(cluster, judge, server)).collect();
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

/// Reads every room of one server, page by page; gives where each ends.
fn read_server(cluster: &Cluster, judge: &Arc<Judge>, server: usize) -> Ends {
    let mut wire = Wire::open(&cluster.targets, server, judge)
        .unwrap_or_else(|_| panic!("{} accepts connections", name(server)));
    let mut call = |msg_type: &str, data: Value| {
        let answer = wire.call(msg_type, data, ANSWER_WITHIN);
        judge.expect_kept();
        answer.unwrap_or_else(|_| panic!("{} does not answer a {msg_type}", name(server)))
    };
    call("login", json!({"username": "auditor"}));
    call("ping", json!({"barrier": true}));
    let rooms = call("rooms", json!({}));
    let mut ends = Ends::new();
    for room in rooms["data"]["rooms"].as_array().expect("an answer to rooms lists rooms") {
        let (room, last_seq) = (room["room"].as_str().expect("a room has a name"), &room["last_seq"]);
        let mut events: Vec<Value> = Vec::new();
        loop {
            let page = call("history", json!({"room": room, "after": events.len(), "limit": 500}));
            let page = &page["data"];
            assert!(page.get("stale").is_none(), "{} says that its history may be old: {page}", name(server));
            events.extend(page["events"].as_array().into_iter().flatten().cloned());
            if page["more"] != true {
                assert_eq!(page["last_seq"], *last_seq, "{}: the end of {room}", name(server));
                break;
            }
        }
        judge.final_read(server, room, &events);
        ends.insert(room.to_ascii_lowercase(), events.len() as u64);
    }
    ends
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
