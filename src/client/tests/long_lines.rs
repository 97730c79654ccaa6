//! Stories about lines that are longer than servers take, line by line.

use serde_json::json;

use super::{Rig, accounts::sending, bodies, config, event, room, topic};
use crate::{
    client::{
        ask::Outcome,
        io::{Command, Input},
        update::Update,
    },
    protocol::{
        Code,
        checked::{Body, Seq, Words},
        file::FILE_CHUNK_BYTES,
        request::{Edit, History, HistoryRange, Search},
    },
};

/// The server could not read a line to its end, so it does not say which, and closes the connection.
fn too_long(rig: &mut Rig) {
    rig.line(json!({ "msg_type": "nack", "data": { "for": "", "code": "too_large", "reason": "line" } }));
}

fn search(words: &str) -> Command {
    let query = Words::new(words).unwrap();
    let (room, author, since, until, before, limit) = (None, None, None, None, None, None);
    let ask = Search { query, room, author, since, until, before, limit }.into();
    Command::Ask { tag: 1, ask }
}

fn is_refused(update: &Update, code: Code) -> bool {
    let Update::Answered { reply, .. } = update else { return false };
    matches!(&reply.outcome, Outcome::Refused(refusal) if refusal.code == code)
}

/// The connection is lost, and `lobby` joined at the next server.
fn move_on(rig: &mut Rig) {
    rig.written.clear();
    rig.lost();
    while rig.connecting.is_none() {
        rig.next_timeout();
    }
    rig.log_in("server2");
    rig.answer_join(json!({ "last_seq": 0 }));
}

#[test]
fn what_is_too_long_for_a_line_is_refused_before_it_is_asked() {
    let mut rig = Rig::in_lobby(&[8000], 0);
    let long = "x".repeat(70_000);
    let edit = |body: &str| Edit { room: room("lobby"), seq: Seq::default(), body: Body::new(body).unwrap() };
    rig.ask(1, edit(&long));
    // Short enough for a body, and too long for a line.
    rig.state.config.limits.body_bytes = long.len();
    rig.ask(2, edit(&"a\u{1}".repeat(15_000)));
    rig.send("lobby", "hello");
    assert_eq!(rig.told.iter().filter(|update| is_refused(update, Code::TooLarge)).count(), 2);
    assert_eq!(rig.written.len(), 1, "{:?}", rig.written);
    assert_eq!(bodies(&rig.take("chat")), ["hello"]);
}

#[test]
fn a_line_that_is_too_long_for_this_server_is_not_blamed_on_another() {
    let mut rig = Rig::in_lobby(&[8000, 8001], 0);
    rig.command(search("too long for this server"));
    rig.send("lobby", "hello");
    too_long(&mut rig);
    assert_eq!(rig.disk.len(), 1, "it may have been either");
    move_on(&mut rig);
    assert!(rig.take("chat").is_empty(), "one after the other");
    assert_eq!(rig.take("search").len(), 1);
    too_long(&mut rig);
    assert!(rig.told.iter().any(|update| is_refused(update, Code::TooLarge)));
    move_on(&mut rig);
    assert_eq!(bodies(&rig.take("chat")), ["hello"]);
    assert!(rig.take("search").is_empty());
}

#[test]
fn one_thing_after_the_other_is_asked_only_until_nothing_is_left() {
    let mut rig = Rig::in_lobby(&[8000, 8001], 0);
    rig.ask(1, topic("too long"));
    rig.send("lobby", "hello");
    too_long(&mut rig);
    // The change is lost with its connection, and is not asked again.
    move_on(&mut rig);
    let chat = rig.take("chat").remove(0);
    rig.ack_chat(&chat, 1);
    rig.line(json!({ "msg_type": "chat", "sender_id": "bob", "data": event("lobby", 1) }));
    for tag in 2..4 {
        rig.ask(tag, History { room: room("lobby"), range: HistoryRange::Last, limit: None });
    }
    assert_eq!(rig.take("history").len(), 2);
}

#[test]
fn a_file_whose_pieces_are_too_long_fails_for_good() {
    let mut config = config(&[8000]);
    config.limits.line_bytes = 2 * FILE_CHUNK_BYTES;
    let mut rig = Rig::with(config, vec![]);
    rig.command(Command::Join(room("lobby")));
    rig.log_in("server1");
    rig.answer_join(json!({ "last_seq": 0 }));
    let fails = |rig: &mut Rig| {
        rig.command(Command::Upload { tag: 1, sending: sending(FILE_CHUNK_BYTES as u64) });
        let begin = rig.take("file_begin").remove(0);
        rig.answer(&begin, "ack", json!({ "file_id": "07".repeat(16) }));
        let (tag, offset, length) = rig.reads.remove(0);
        rig.input(Input::Bytes { tag, offset, bytes: vec![7; length] });
        rig.take("file_chunk").len()
    };
    assert_eq!(fails(&mut rig), 1);
    too_long(&mut rig);
    let failed =
        |rig: &Rig| rig.told.iter().filter(|told| matches!(told, Update::TransferFailed { .. })).count();
    assert_eq!(failed(&rig), 1);
    rig.state.config.limits.line_bytes = FILE_CHUNK_BYTES;
    assert_eq!(fails(&mut rig), 0, "it is known beforehand");
    assert_eq!(failed(&rig), 2);
}
