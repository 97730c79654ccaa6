//! Everything that one server shows of its rooms.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde_json::{Value, json};
use syncnet::admin::target::Target;

use crate::{harness::name, judge::Judge, wire::Wire};

const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// The last `seq` of each room.
pub type Ends = BTreeMap<String, u64>;

/// Reads every room of one server, page by page; gives the last `seq` of each. Of the rooms `unjudged`, in
/// which clients wrote without telling the judge, only the end is read.
pub fn read_server(targets: &[Target], judge: &Arc<Judge>, server: usize, unjudged: &[&str]) -> Ends {
    let mut wire =
        Wire::open(targets, server, judge).unwrap_or_else(|_| panic!("{} accepts connections", name(server)));
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
        if unjudged.contains(&room) {
            ends.insert(room.to_ascii_lowercase(), last_seq.as_u64().expect("a number"));
            continue;
        }
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
