//! Stories about requests that name an own message which is not acknowledged yet.

use serde_json::json;

use super::{Rig, accounts::sending, config, room, topic};
use crate::{
    client::{
        ask::{Outcome, TargetedRequest},
        io::Command,
        outbox::Message,
        own::Target,
        update::Update,
    },
    protocol::{Code, checked::Seq, request::Delete},
};

fn delete_last(rig: &mut Rig, tag: u64) {
    let delete = Delete { room: room("lobby"), seq: Seq::default() };
    rig.command(Command::Ask { tag, ask: TargetedRequest::about(Target::Last, delete) });
}

fn answer_last(rig: &mut Rig, body: &str) -> Message {
    let message = Message {
        client_msg_id: rig.ids.next_id(),
        room: room("lobby"),
        room_id: None,
        body: body.into(),
        reply_to: Some(Target::Last),
        file_id: None,
    };
    rig.command(Command::Send(message.clone()));
    message
}

/// The messages that were refused, because they or what they answer cannot be sent.
fn refused(rig: &Rig) -> Vec<&str> {
    let refused = rig.told.iter().filter_map(|update| match update {
        Update::Refused { message, refusal, .. } if refusal.code == Code::NotFound => Some(message),
        _ => None,
    });
    refused.map(|message| message.body.as_str()).collect()
}

fn outcome(rig: &Rig, tag: u64) -> Option<&Outcome> {
    rig.told.iter().find_map(|update| match update {
        Update::Answered { tag: told, reply } if *told == tag => Some(&reply.outcome),
        _ => None,
    })
}

/// Says something that is acknowledged as number `seq`.
fn said(rig: &mut Rig, body: &str, seq: u64) {
    rig.send("lobby", body);
    let chat = rig.take("chat").remove(0);
    rig.ack_chat(&chat, seq);
}

#[test]
fn the_last_message_is_meant_also_while_no_server_works_and_never_the_one_before() {
    let mut rig = Rig::in_lobby(&[8000, 8001], 9);
    said(&mut rig, "one", 10);
    rig.lost();
    rig.send("lobby", "two");
    delete_last(&mut rig, 7);
    // A message sent after the command does not change which one was meant.
    rig.send("lobby", "three");
    rig.ask(8, topic("tea"));
    rig.log_in("server2");
    rig.answer_join(json!({ "last_seq": 10 }));
    assert!(rig.take("delete").is_empty(), "two has no place yet");
    assert_eq!(rig.take("topic").len(), 1, "no request waits for it");
    let two = rig.take("chat").remove(0);
    rig.ack_chat(&two, 11);
    let delete = rig.take("delete").remove(0);
    assert_eq!(delete["data"], json!({ "room": "lobby", "seq": 11 }));
    rig.answer(&delete, "ack", json!({ "room": "lobby", "seq": 13 }));
    assert!(matches!(outcome(&rig, 7), Some(Outcome::Done(_))));
}

#[test]
fn what_is_about_a_message_that_is_refused_is_refused_too() {
    let mut rig = Rig::in_lobby(&[8000], 0);
    delete_last(&mut rig, 6);
    assert!(matches!(outcome(&rig, 6), Some(Outcome::Refused(_))), "nothing was said yet");
    said(&mut rig, "before", 1);
    rig.send("lobby", "one");
    delete_last(&mut rig, 7);
    answer_last(&mut rig, "two");
    answer_last(&mut rig, "three");
    let one = rig.take("chat").remove(0);
    rig.nack(&one, "not_found", None);
    assert!(matches!(outcome(&rig, 7), Some(Outcome::Refused(_))));
    assert_eq!(refused(&rig), ["one", "two", "three"]);
    assert!(rig.disk.is_empty() && rig.take("delete").is_empty());
    delete_last(&mut rig, 8);
    assert_eq!(rig.take("delete")[0]["data"]["seq"], 1, "it is the last one again");
}

#[test]
fn an_answer_to_an_own_message_waits_for_its_place_over_a_restart() {
    let mut rig = Rig::new(&[8000]);
    rig.send("lobby", "one");
    answer_last(&mut rig, "two");
    rig.send("lobby", "three");
    let mut rig = Rig::with(config(&[8000]), std::mem::take(&mut rig.disk));
    rig.log_in("server1");
    rig.answer_join(json!({ "last_seq": 0 }));
    let (mut places, mut seq) = (vec![], 4);
    while places.len() < 3 {
        for chat in rig.take("chat") {
            places.push((chat["data"]["body"].clone(), chat["data"]["reply_to"].clone()));
            seq += 1;
            rig.ack_chat(&chat, seq);
        }
    }
    assert_eq!(json!(places), json!([["one", null], ["two", 5], ["three", null]]));
}

#[test]
fn a_file_on_its_way_is_the_last_message_and_said_when_it_is_there() {
    let mut rig = Rig::in_lobby(&[8000], 0);
    said(&mut rig, "before", 1);
    rig.command(Command::Upload { tag: 1, sending: sending(0) });
    delete_last(&mut rig, 7);
    answer_last(&mut rig, "two");
    let refused = |update: &Update| matches!(update, Update::Refused { refusal, .. } if refusal.code == Code::BadRequest);
    assert!(rig.told.iter().any(refused), "nothing said meanwhile may wait for a file");
    let begin = rig.take("file_begin").remove(0);
    rig.answer(&begin, "ack", json!({ "file_id": "07".repeat(16) }));
    let end = rig.take("file_end").remove(0);
    let file = json!({ "file_id": "07".repeat(16), "name": "a.txt", "size": 0, "sha256": "", "content_type": "x/y" });
    rig.answer(&end, "ack", file);
    let chat = rig.take("chat").remove(0);
    rig.ack_chat(&chat, 2);
    assert_eq!(rig.take("delete")[0]["data"]["seq"], 2);
}

#[test]
fn an_answer_to_a_message_that_an_earlier_run_lost_is_given_up() {
    let mut rig = Rig::new(&[8000]);
    rig.send("lobby", "one");
    answer_last(&mut rig, "two");
    rig.disk.remove(0);
    let rig = Rig::with(config(&[8000]), rig.disk);
    assert_eq!(refused(&rig), ["two"]);
    assert!(rig.disk.is_empty());
}
