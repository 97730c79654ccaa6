//! Stories about messages on their way, line by line.

use serde_json::{Value, json};

use super::{Rig, address, bodies, config, event, ids, room};
use crate::{
    client::{
        io::{Command, Input, Output},
        limits::WINDOW_MAX,
        outbox::{Message, OutboxChange},
        update::Update,
    },
    protocol::Code,
};

#[test]
fn a_message_is_durable_before_it_is_written_and_gone_when_acknowledged() {
    let mut rig = Rig::in_lobby(&[8000], 0);
    let message = Message {
        client_msg_id: "run0-1".into(),
        room: room("lobby"),
        room_id: None,
        body: "hi".into(),
        reply_to: Some(3.into()),
        file_id: None,
    };
    rig.state.handle(rig.now_ms, Input::Command(Command::Send(message.clone())));
    let first = rig.state.poll_output();
    assert!(matches!(first, Some(Output::Persist(OutboxChange::Added(added))) if added == message));
    assert!(matches!(rig.state.poll_output(), Some(Output::Tell(Update::Queued { online: true, .. }))));
    let Some(Output::Write(line)) = rig.state.poll_output() else { panic!("a line") };
    let chat: Value = serde_json::from_slice(&line).unwrap();
    assert_eq!(
        chat["data"],
        json!({ "room": "lobby", "body": "hi", "client_msg_id": "run0-1", "reply_to": 3 })
    );
    assert_eq!(chat["sender_id"], "alice");
    assert!(chat["lamport_timestamp"].as_u64().unwrap() > 100, "ahead of what was heard");
    rig.ack_chat(&chat, 1);
    assert!(rig.disk.is_empty() && rig.state.is_idle());
    assert_eq!(rig.acked(), ["hi"]);
}

#[test]
fn messages_typed_before_there_is_a_server_go_out_in_order_once_their_room_is_joined() {
    let mut rig = Rig::new(&[8000]);
    for body in ["one", "two", "three"] {
        rig.send("lobby", body);
    }
    assert_eq!(rig.disk.len(), 3);
    assert!(rig.told.iter().all(|update| matches!(update, Update::Queued { online: false, .. })));
    rig.log_in("server1");
    assert!(rig.take("chat").is_empty(), "the room is not joined yet");
    rig.answer_join(json!({ "last_seq": 0 }));
    let first = rig.take("chat");
    assert_eq!(bodies(&first), ["one"]);
    rig.ack_chat(&first[0], 1);
    let rest = rig.take("chat");
    assert_eq!(bodies(&rest), ["two", "three"]);
    assert_eq!(rest[1]["data"]["follows"], rest[0]["data"]["client_msg_id"]);
    assert_eq!(rest[0]["data"].get("follows"), None);
}

#[test]
fn a_lost_server_is_replaced_at_once_and_what_was_unanswered_goes_again_under_the_same_ids() {
    let mut rig = Rig::in_lobby(&[8000], 7);
    let sent: Vec<_> = ["one", "two", "three"].map(|body| rig.send("lobby", body)).into();
    let first = rig.take("chat");
    assert_eq!(bodies(&first), ["one"]);
    rig.ack_chat(&first[0], 8);
    assert_eq!(bodies(&rig.take("chat")), ["two", "three"]);
    rig.lost();
    assert!(
        [address(8001), address(8002)].contains(rig.connecting.as_ref().unwrap()),
        "another one, at once"
    );
    rig.now_ms += 80;
    rig.log_in("server2");
    let up = rig.told.iter().find_map(|update| match update {
        Update::Connection(connection) => Some(connection.to_string()),
        _ => None,
    });
    assert_eq!(up.unwrap(), "server1 is gone, now on server2 (0.08 s)");
    let join = rig.answer_join(json!({ "last_seq": 9, "events": [event("lobby", 8), event("lobby", 9)] }));
    assert_eq!(join["data"]["after"], 7);
    let mut again = vec![];
    for seq in [9, 10] {
        let chats = rig.take("chat");
        assert_eq!(chats.len(), 1);
        rig.ack_chat(&chats[0], seq);
        again.extend(chats);
    }
    assert_eq!(ids(&again), sent[1..]);
    assert_eq!(rig.acked(), ["one", "two", "three"]);
    assert!(rig.disk.is_empty());
    assert_eq!(rig.shown(), [8, 9]);
}

#[test]
fn after_a_restart_the_outbox_goes_first_and_keeps_its_ids() {
    let mut old = Rig::new(&[8000]);
    let sent: Vec<_> = ["one", "two"].map(|body| old.send("den", body)).into();
    let mut rig = Rig::with(config(&[8000]), old.disk);
    rig.send("den", "three");
    rig.log_in("server1");
    rig.answer_join(json!({ "last_seq": 0 }));
    let mut all = vec![];
    for seq in 1..=3 {
        let chats = rig.take("chat");
        for chat in &chats {
            rig.ack_chat(chat, seq);
        }
        all.extend(chats);
    }
    assert_eq!(bodies(&all), ["one", "two", "three"]);
    assert_eq!(ids(&all)[..2], sent);
    assert!(rig.disk.is_empty());
}

#[test]
fn unavailable_means_maybe_so_the_message_goes_to_the_next_server() {
    let mut rig = Rig::in_lobby(&[8000], 0);
    let id = rig.send("lobby", "one");
    let chat = rig.take("chat").remove(0);
    rig.nack(&chat, "unavailable", None);
    assert_eq!(rig.disconnects, 1);
    assert_ne!(rig.connecting, Some(address(8000)));
    rig.log_in("server2");
    rig.answer_join(json!({ "last_seq": 0 }));
    assert_eq!(ids(&rig.take("chat")), [id]);
    assert_eq!(rig.disk.len(), 1);
}

#[test]
fn after_a_refusal_for_load_everything_from_the_refused_message_on_waits_and_goes_in_order() {
    for code in ["overloaded", "rate_limited"] {
        let mut rig = Rig::in_lobby(&[8000], 0);
        for body in ["zero", "one", "two"] {
            rig.send("lobby", body);
        }
        let zero = rig.take("chat").remove(0);
        rig.ack_chat(&zero, 1);
        let chats = rig.take("chat");
        assert_eq!(bodies(&chats), ["one", "two"]);
        rig.nack(&chats[0], code, Some(500));
        rig.nack(&chats[1], code, Some(500));
        rig.send("lobby", "three");
        rig.now_ms += 400;
        rig.input(Input::Timeout);
        assert!(rig.take("chat").is_empty(), "the server asked for a pause");
        rig.now_ms += 300;
        rig.input(Input::Timeout);
        let mut again = vec![];
        for seq in 2..=4 {
            let chats = rig.take("chat");
            for chat in &chats {
                rig.ack_chat(chat, seq);
            }
            again.extend(chats);
        }
        assert_eq!(bodies(&again), ["one", "two", "three"], "{code}");
        assert_eq!(rig.disconnects, 0);
    }
}

#[test]
fn a_final_refusal_is_reported_and_does_not_hold_up_what_follows() {
    let mut rig = Rig::in_lobby(&[8000], 0);
    rig.send("lobby", "one");
    rig.send("lobby", "two");
    let one = rig.take("chat").remove(0);
    rig.nack(&one, "forbidden", None);
    let refused = rig.told.iter().any(|update| {
        matches!(update, Update::Refused { message, refusal, uncertain: false }
            if message.body == "one" && refusal.code == Code::Forbidden)
    });
    assert!(refused);
    assert_eq!(bodies(&rig.take("chat")), ["two"]);
    assert_eq!(rig.disk.len(), 1);
}

#[test]
fn an_unknown_code_is_taken_by_what_it_says_of_retrying() {
    let mut rig = Rig::in_lobby(&[8000], 0);
    rig.send("lobby", "one");
    let one = rig.take("chat").remove(0);
    rig.answer(
        &one,
        "nack",
        json!({ "code": "lunch", "reason": "r", "retryable": true, "retry_after_ms": 50 }),
    );
    rig.now_ms += 100;
    rig.input(Input::Timeout);
    let one = rig.take("chat").remove(0);
    rig.answer(&one, "nack", json!({ "code": "never", "reason": "r", "retryable": false }));
    assert!(rig.disk.is_empty());
}

#[test]
fn what_no_server_takes_is_refused_before_it_is_stored() {
    let mut rig = Rig::in_lobby(&[8000], 0);
    rig.send("lobby", "");
    rig.send("lobby", "a\0b");
    rig.send("lobby", &"x".repeat(16 * 1024 + 1));
    rig.send("lobby", &"\u{1}".repeat(12 * 1024));
    let refused = rig.told.iter().filter(|update| matches!(update, Update::Refused { .. })).count();
    assert_eq!((refused, rig.disk.len(), rig.take("chat").len()), (4, 0, 0));
}

#[test]
fn a_line_that_makes_a_server_hang_up_is_found_and_refused() {
    let mut rig = Rig::in_lobby(&[8000], 0);
    rig.send("lobby", "too long for this server");
    rig.send("lobby", "fine");
    rig.line(json!({ "msg_type": "nack", "data": { "for": "", "code": "too_large", "reason": "line" } }));
    assert_eq!(rig.disk.len(), 1);
    rig.written.clear();
    rig.lost();
    rig.log_in("server2");
    rig.answer_join(json!({ "last_seq": 0 }));
    assert_eq!(bodies(&rig.take("chat")), ["fine"]);
}

#[test]
fn the_window_is_bounded() {
    let mut rig = Rig::in_lobby(&[8000], 0);
    for number in 0..500 {
        rig.send("lobby", &number.to_string());
    }
    let (mut seq, mut most) = (0, 0);
    loop {
        let chats = rig.take("chat");
        if chats.is_empty() {
            break;
        }
        most = most.max(chats.len());
        for chat in chats {
            assert_eq!(chat["data"]["body"], seq.to_string());
            seq += 1;
            rig.ack_chat(&chat, seq);
        }
    }
    assert_eq!((seq, most), (500, WINDOW_MAX));
}
