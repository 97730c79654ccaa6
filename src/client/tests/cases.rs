//! The cases that the web client's tests read too (`src/web/tests`): both clients keep the same rules.

use std::{collections::BTreeMap, fs, path::PathBuf};

use serde_json::{Value, json};

use super::{Rig, config, event, room};
use crate::client::{
    io::{Command, Input},
    outbox::{Message, Outbox},
    renamed::Renamed,
    state::StateConfig,
    update::Update,
};
use crate::protocol::RoomId;

/// The scripts of a folder, which has some.
fn scripts(folder: &str) -> Vec<Value> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/cases").join(folder);
    let mut paths: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{}", folder.display());
    paths.iter().map(|path| serde_json::from_slice(&fs::read(path).unwrap()).unwrap()).collect()
}

fn texts(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}

fn numbers(list: &Value) -> Vec<u64> {
    list.as_array().unwrap().iter().map(|number| number.as_u64().unwrap()).collect()
}

fn message(id: &str) -> Message {
    Message {
        client_msg_id: id.into(),
        room: room("lobby"),
        room_id: None,
        body: "x".into(),
        reply_to: None,
        file_id: None,
    }
}

/// Sends as long as the window is open; the ids of what was sent, and of what each one follows.
fn send_all(outbox: &mut Outbox, next_request_id: &mut i64) -> (Vec<String>, Vec<Option<String>>) {
    let mut sent = (vec![], vec![]);
    while let Some((next, before)) = outbox.next_to_send() {
        sent.0.push(next.client_msg_id.clone());
        sent.1.push(before.map(|before| before.client_msg_id.clone()));
        outbox.sent(*next_request_id);
        *next_request_id += 1;
    }
    sent
}

#[test]
fn the_outbox_keeps_its_order() {
    for script in scripts("outbox") {
        let mut outbox = Outbox::new(texts(&script["restored"]).into_iter().map(message).collect());
        let mut next_request_id = 1;
        for step in script["steps"].as_array().unwrap() {
            let place = format!("{}: {step}", script["name"]);
            let id = |gone: Option<Message>| json!(gone.map(|message| message.client_msg_id));
            if let Some(new) = step["push"].as_str() {
                outbox.push(message(new));
            } else if step["sends"].is_array() {
                let (sent, follows) = send_all(&mut outbox, &mut next_request_id);
                assert_eq!(json!(sent), step["sends"], "{place}");
                if step["follows"].is_array() {
                    assert_eq!(json!(follows), step["follows"], "{place}");
                }
            } else if let Some(request_id) = step["answered"].as_i64() {
                assert_eq!(id(outbox.answered(request_id)), step["gives"], "{place}");
            } else if let Some(request_id) = step["refused_for_load"].as_i64() {
                outbox.refused_for_load(request_id);
            } else if step["connection_lost"] == true {
                outbox.connection_lost();
            } else if step["take"].is_array() {
                let taken = outbox.take(|other| texts(&step["take"]).contains(&other.client_msg_id.as_str()));
                let taken: Vec<_> = taken.iter().map(|(message, _)| &message.client_msg_id).collect();
                assert_eq!(json!(taken), step["gives"], "{place}");
            } else if step["rename"].is_object() {
                let name = |field: &str| room(step["rename"][field].as_str().unwrap());
                let swaps = step["rename"]["swaps"] == true;
                outbox.rename(&Renamed { from: name("from"), to: name("to"), swaps });
                let rooms: Vec<_> = outbox.messages().map(|message| message.room.clone()).collect();
                assert_eq!(json!(rooms), step["rooms"], "{place}");
            } else if step["number"].is_object() {
                let (name, number) = (&step["number"]["room"], step["number"]["room_id"].as_u64());
                outbox.number(&room(name.as_str().unwrap()), RoomId(number.unwrap()));
                let numbers: Vec<_> = outbox.messages().map(|message| message.room_id).collect();
                assert_eq!(json!(numbers), step["numbers"], "{place}");
            } else {
                panic!("unknown {place}");
            }
        }
        let left: Vec<_> = outbox.messages().map(|message| message.client_msg_id.clone()).collect();
        assert_eq!(json!(left), script["left"], "{}", script["name"]);
    }
}

#[test]
fn the_client_keeps_its_promises() {
    for script in scripts("client") {
        let mut rig = match script["last_seq"].as_u64() {
            Some(last_seq) => Rig::in_lobby(&[8000], last_seq),
            None => {
                let epoch = script["epoch"].as_u64().unwrap_or(0);
                let mut rig = Rig::with(StateConfig { epoch, ..config(&[8000]) }, vec![]);
                rig.command(Command::Join(room("lobby")));
                rig
            }
        };
        let mut ids: BTreeMap<String, String> = BTreeMap::new();
        let mut requests: BTreeMap<String, Value> = BTreeMap::new();
        for step in script["steps"].as_array().unwrap() {
            play(&mut rig, step, &mut ids, &mut requests, &format!("{}: {step}", script["name"]));
        }
    }
}

/// Does what a step says, or compares what it expects. `ids` and `requests` are of the messages, by their
/// text.
fn play(
    rig: &mut Rig,
    step: &Value,
    ids: &mut BTreeMap<String, String>,
    requests: &mut BTreeMap<String, Value>,
    place: &str,
) {
    if let Some(body) = step["send"].as_str() {
        let room = step["room"].as_str().unwrap_or("lobby");
        ids.insert(body.into(), rig.reply(room, body, step["reply_to"].as_u64()));
    } else if step["chats"].is_array() {
        let chats = rig.take("chat");
        let bodies: Vec<_> = chats.iter().map(|chat| chat["data"]["body"].as_str().unwrap()).collect();
        assert_eq!(bodies, texts(&step["chats"]), "{place}");
        for chat in &chats {
            let body = chat["data"]["body"].as_str().unwrap();
            assert_eq!(chat["data"]["client_msg_id"], json!(ids[body]), "{place}");
            assert_eq!(chat["data"]["reply_to"], step["reply_to"], "{place}");
            assert_eq!(chat["data"]["room"], step["room"].as_str().unwrap_or("lobby"), "{place}");
            assert_eq!(chat["data"]["room_id"], step["room_id"], "{place}");
            requests.insert(body.into(), chat.clone());
        }
    } else if let Some(body) = step["ack"].as_str() {
        rig.ack_chat(&requests[body], step["seq"].as_u64().unwrap());
    } else if let Some(body) = step["nack"].as_str() {
        rig.nack(&requests[body], step["code"].as_str().unwrap(), step["retry_after_ms"].as_u64());
    } else if let Some(ms) = step["later_ms"].as_u64() {
        rig.now_ms += ms;
        rig.input(Input::Timeout);
    } else if step["lost"] == true {
        rig.lost();
    } else if step["connecting"].is_array() {
        let address =
            rig.connecting.as_ref().unwrap_or_else(|| panic!("{place}: no connection is asked for"));
        assert!(numbers(&step["connecting"]).contains(&address.tcp_port.into()), "{place}: {address}");
    } else if let Some(server_id) = step["log_in"].as_str() {
        rig.log_in_to(server_id, step["epoch"].as_u64());
    } else if step["answer_join"].is_array() {
        let room = step["room"].as_str().unwrap_or("lobby");
        let events: Vec<_> = numbers(&step["answer_join"]).into_iter().map(|seq| event(room, seq)).collect();
        let mut answer = json!({ "last_seq": step["last_seq"], "events": events });
        for field in ["room", "room_id"].into_iter().filter(|field| !step[field].is_null()) {
            answer[field] = step[field].clone();
        }
        let join = rig.answer_join_of(step["of"].as_str(), answer);
        assert_eq!(join["data"]["after"], step["after"], "{place}");
        assert_eq!(join["data"]["room_id"], step["asks_for"], "{place}");
    } else if let Some(code) = step["refuse_join"].as_str() {
        let join = rig.take("create_join").remove(0);
        assert_eq!(join["data"]["room_id"], step["asks_for"], "{place}");
        rig.nack(&join, code, None);
    } else if let Some(name) = step["want"].as_str() {
        rig.command(Command::Join(room(name)));
    } else if step["renamed"].is_array() {
        let renamed = rig.told.iter().filter_map(|update| match update {
            Update::Renamed(renamed) => Some(json!([renamed.from, renamed.to])),
            _ => None,
        });
        assert_eq!(json!(renamed.collect::<Vec<_>>()), step["renamed"], "{place}");
    } else if let Some(seq) = step["push"].as_u64() {
        rig.push(step["room"].as_str().unwrap_or("lobby"), seq);
    } else if step["shown"].is_array() {
        let stays = |update: &&Update| matches!(update, Update::Acked { .. } | Update::Restored);
        let others: Vec<Update> = rig.told.iter().filter(stays).cloned().collect();
        assert_eq!(rig.shown(), numbers(&step["shown"]), "{place}");
        rig.told = others;
    } else if step["acked"].is_array() {
        assert_eq!(rig.acked(), texts(&step["acked"]), "{place}");
    } else if step["refused"].is_array() {
        let refused = rig.told.iter().filter_map(|update| match update {
            Update::Refused { message, .. } => Some(message.body.as_str()),
            _ => None,
        });
        assert_eq!(refused.collect::<Vec<_>>(), texts(&step["refused"]), "{place}");
    } else if let Some(count) = step["restored"].as_u64() {
        let restored = rig.told.iter().filter(|update| matches!(update, Update::Restored)).count();
        assert_eq!(restored as u64, count, "{place}");
    } else if let Some(epoch) = step["kept_epoch"].as_u64() {
        assert_eq!(rig.epoch, epoch, "{place}");
    } else if let Some(count) = step["waiting"].as_u64() {
        assert_eq!(rig.state.pending() as u64, count, "{place}");
    } else if let Some(count) = step["disconnects"].as_u64() {
        assert_eq!(u64::from(rig.disconnects), count, "{place}");
    } else {
        panic!("unknown {place}");
    }
}
