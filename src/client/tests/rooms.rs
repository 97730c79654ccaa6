//! Stories about rooms: what is shown of them, and how they are joined and left, line by line.

use serde_json::json;

use super::{Rig, bodies, config, event, room, topic};
use crate::{
    client::{
        ask::{Outcome, TargetedRequest},
        io::Command,
        own::Target,
        update::Update,
    },
    protocol::{
        Code,
        checked::Seq,
        request::{Delete, MarkRead},
    },
};

#[test]
fn a_repeat_is_dropped_and_a_gap_is_asked_for() {
    let mut rig = Rig::in_lobby(&[8000], 3);
    rig.push("lobby", 4);
    rig.push("lobby", 4);
    rig.push("lobby", 2);
    assert_eq!(rig.shown(), [4]);
    rig.push("lobby", 6);
    rig.push("lobby", 7);
    assert_eq!(rig.shown(), [0; 0], "nothing is skipped");
    let join = rig.answer_join(
        json!({ "last_seq": 8, "events": [event("lobby", 5), event("lobby", 6)], "more": true }),
    );
    assert_eq!(join["data"]["after"], 4);
    rig.push("lobby", 7);
    rig.push("lobby", 8);
    rig.push("lobby", 9);
    assert_eq!(rig.shown(), [5, 6, 7, 8, 9]);
    assert!(rig.take("create_join").is_empty());
}

#[test]
fn a_server_that_keeps_leaving_out_events_is_left() {
    let mut rig = Rig::in_lobby(&[8000], 3);
    rig.push("lobby", 9);
    while rig.disconnects == 0 {
        rig.answer_join(json!({ "last_seq": 9, "events": [event("lobby", 9)] }));
    }
    assert_eq!(rig.shown(), [0; 0]);
}

#[test]
fn an_event_of_an_unknown_kind_takes_its_place() {
    let mut rig = Rig::in_lobby(&[8000], 3);
    let mut strange = event("lobby", 4);
    strange["kind"] = "painted".into();
    rig.line(json!({ "msg_type": "room_event", "sender_id": "bob", "data": strange }));
    rig.push("lobby", 5);
    assert_eq!(rig.shown(), [4, 5]);
    assert!(rig.take("create_join").is_empty(), "no gap");
}

#[test]
fn a_first_join_shows_the_past_and_a_resume_only_what_is_new() {
    let mut rig = Rig::new(&[8000]);
    rig.command(Command::Join(room("Lobby")));
    rig.log_in("server1");
    let join = rig.answer_join(
        json!({ "room": "lobby", "last_seq": 6, "events": [event("lobby", 5), event("lobby", 6)] }),
    );
    assert_eq!(join["data"], json!({ "room": "Lobby", "private": false, "history": 50 }));
    assert!(rig.told.iter().any(|update| matches!(update, Update::Event { past: true, .. })));
    rig.told.clear();
    rig.lost();
    rig.log_in("server2");
    let join = rig.answer_join(json!({ "last_seq": 7, "events": [event("lobby", 7)] }));
    assert_eq!(join["data"], json!({ "room": "lobby", "private": false, "after": 6 }));
    assert!(rig.told.iter().any(|update| matches!(update, Update::Joined { resumed: true, .. })));
    assert!(!rig.told.iter().any(|update| matches!(update, Update::Event { past: true, .. })));
    assert_eq!(rig.shown(), [7]);
}

#[test]
fn what_a_room_has_forgotten_is_no_gap() {
    let mut rig = Rig::in_lobby(&[8000], 3);
    rig.lost();
    rig.log_in("server1");
    let events = [event("lobby", 8), event("lobby", 9)];
    let join = rig.answer_join(json!({ "first_seq": 8, "last_seq": 9, "events": events }));
    assert_eq!(join["data"], json!({ "room": "lobby", "private": false, "after": 3 }));
    rig.push("lobby", 10);
    assert_eq!(rig.shown(), [8, 9, 10]);
    assert!(rig.take("create_join").is_empty(), "no gap");
}

#[test]
fn a_cluster_that_was_set_up_anew_is_noticed() {
    let mut rig = Rig::in_lobby(&[8000], 30);
    rig.lost();
    rig.log_in("server2");
    rig.answer_join(json!({ "last_seq": 2 }));
    assert!(rig.told.iter().any(|update| matches!(update, Update::RoomRestarted { .. })));
    let join = rig.answer_join(json!({ "last_seq": 2, "events": [event("lobby", 1), event("lobby", 2)] }));
    assert_eq!(join["data"]["history"], 50);
    assert_eq!(rig.shown(), [1, 2]);
}

#[test]
fn what_was_asked_about_a_place_before_a_restore_is_refused() {
    let mut rig = Rig::in_lobby(&[8000], 30);
    rig.push("lobby", 31);
    rig.line(json!({
        "msg_type": "server_list", "sender_id": "server1",
        "data": { "servers": [], "leader_id": null, "term": 1, "epoch": 1 },
    }));
    rig.lost();
    let (room, seq) = (room("lobby"), Seq::default());
    rig.ask(1, TargetedRequest::about(31, Delete { room: room.clone(), seq }));
    rig.ask(2, TargetedRequest::about(Target::Shown, MarkRead { room, seq }));
    rig.ask(3, topic("tea"));
    rig.log_in_to("server2", Some(2));
    let refused = |tag: u64| {
        rig.told.iter().any(|update| match update {
            Update::Answered { tag: told, reply } => {
                *told == tag && matches!(&reply.outcome, Outcome::Refused(no) if no.code == Code::NotFound)
            }
            _ => false,
        })
    };
    assert!(refused(1) && !refused(3));
    rig.answer_join(json!({ "last_seq": 40, "events": [event("lobby", 40)] }));
    assert_eq!((rig.take("topic").len(), rig.take("delete").len()), (1, 0));
    let read: Vec<_> = rig.take("mark_read").iter().map(|read| read["data"]["seq"].clone()).collect();
    assert_eq!(read, [40], "what is shown now");
}

#[test]
fn a_leave_goes_after_the_messages_typed_before_it() {
    let mut rig = Rig::in_lobby(&[8000], 0);
    rig.send("lobby", "bye");
    rig.command(Command::Leave(room("lobby")));
    assert!(rig.take("leave").is_empty());
    let bye = rig.take("chat").remove(0);
    rig.ack_chat(&bye, 1);
    let leave = rig.take("leave").remove(0);
    assert!(!rig.state.is_idle());
    rig.answer(&leave, "ack", json!({ "room": "lobby" }));
    assert!(rig.told.iter().any(|update| matches!(update, Update::Left { .. })));
    assert!(rig.state.is_idle());
    rig.lost();
    rig.log_in("server2");
    assert!(rig.take("create_join").is_empty());
}

#[test]
fn a_leave_whose_answer_was_lost_is_asked_again() {
    let mut rig = Rig::in_lobby(&[8000], 0);
    rig.command(Command::Leave(room("lobby")));
    assert_eq!(rig.take("leave").len(), 1);
    rig.lost();
    rig.log_in("server2");
    assert_eq!(rig.take("leave").len(), 1);
}

#[test]
fn messages_for_a_room_that_refuses_are_refused_and_say_whether_they_may_have_got_through() {
    let mut old = Rig::new(&[8000]);
    old.send("den", "earlier");
    let mut rig = Rig::with(config(&[8000]), old.disk);
    rig.send("den", "now");
    rig.send("lobby", "elsewhere");
    rig.log_in("server1");
    let joins = rig.take("create_join");
    assert_eq!(joins.len(), 2);
    rig.nack(&joins[0], "forbidden", None);
    let refused: Vec<_> = rig
        .told
        .iter()
        .filter_map(|update| match update {
            Update::Refused { message, uncertain, .. } => Some((message.body.as_str(), *uncertain)),
            _ => None,
        })
        .collect();
    assert_eq!(refused, [("earlier", true), ("now", false)]);
    rig.written = vec![joins[1].clone()];
    rig.answer_join(json!({ "last_seq": 0 }));
    assert_eq!(bodies(&rig.take("chat")), ["elsewhere"]);
    assert_eq!(rig.disk.len(), 1);
}
