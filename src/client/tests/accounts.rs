//! Stories about accounts, changes, files, reading and typing, line by line.

use serde_json::{Value, json};

use super::{Rig, config, event, room, topic};
use crate::{
    client::{
        ask::Outcome,
        io::{Command, Input, Output},
        limits::READ_PAUSE_MS,
        login::{Login, Secret},
        transfer::Sending,
        update::Update,
    },
    protocol::{
        Answer, Code, FileId, UserName,
        answer::PresenceState,
        checked::{Body, ContentType, Digest, Emoji, FileName, Seq},
        credential::Password,
        file::FILE_CHUNK_BYTES,
        request::{Delete, Edit, Logout, Presence, React, SetPresence},
    },
};

fn with_login(login: Login) -> Rig {
    let mut config = config(&[8000, 8001]);
    config.login = login;
    Rig::with(config, vec![])
}

/// Opens the connection that is asked for; the first request on it.
fn open(rig: &mut Rig) -> Value {
    if rig.connecting.is_none() {
        rig.next_timeout();
    }
    assert!(rig.connecting.take().is_some(), "no connection was asked for");
    rig.written.clear();
    rig.input(Input::Connected);
    rig.written.remove(0)
}

fn let_in(rig: &mut Rig, request: &Value) {
    let data = json!({ "username": "Alice", "token": "snt_1", "account": true, "server_id": "server1" });
    rig.answer(request, "ack", data);
}

fn outcomes(rig: &mut Rig) -> Vec<(u64, Outcome)> {
    let told = std::mem::take(&mut rig.told);
    told.into_iter()
        .filter_map(|update| match update {
            Update::Answered { tag, reply } => Some((tag, reply.outcome)),
            _ => None,
        })
        .collect()
}

fn login_needed(rig: &Rig) -> Option<Code> {
    rig.told.iter().find_map(|update| match update {
        Update::LoginNeeded { refusal, .. } => Some(refusal.code),
        _ => None,
    })
}

#[test]
fn a_password_is_sent_once_and_after_a_failover_its_token() {
    let mut rig = with_login(Login::by_password(Secret::new("hunter22")));
    let login = open(&mut rig);
    assert_eq!(login["data"], json!({ "username": "alice", "password": "hunter22" }));
    let_in(&mut rig, &login);
    assert_eq!(rig.kept, [Secret::new("snt_1")]);
    let told = |update: &Update| matches!(update, Update::LoggedIn { username, account: true, .. } if username.as_str() == "Alice");
    assert!(rig.told.iter().any(told), "{:?}", rig.told);
    rig.lost();
    rig.told.clear();
    rig.written.clear();
    let login = open(&mut rig);
    assert_eq!(login["data"], json!({ "token": "snt_1" }));
    let_in(&mut rig, &login);
    assert_eq!(rig.kept.len(), 1, "it is kept already");
    assert!(!rig.told.iter().any(told), "a failover is no login");
}

#[test]
fn a_slow_hash_is_not_taken_for_a_dead_server() {
    let mut rig = with_login(Login::by_password(Secret::new("hunter22")));
    open(&mut rig);
    for _ in 0..3 {
        rig.now_ms += 1_000;
        rig.input(Input::Timeout);
    }
    assert_eq!((rig.connects, rig.disconnects, rig.written.len()), (1, 0, 0));
}

#[test]
fn a_refused_login_asks_the_user_and_no_server() {
    for code in ["bad_credentials", "not_authenticated", "forbidden", "name_taken", "rate_limited"] {
        let mut rig = with_login(Login::by_password(Secret::new("wrong")));
        let login = open(&mut rig);
        rig.nack(&login, code, Some(60_000));
        assert!(login_needed(&rig).is_some(), "{code}");
        assert_eq!(rig.state.next_timeout_ms(), None, "{code}: nothing is tried any more");
        rig.command(Command::LogIn(Login::by_password(Secret::new("right"))));
        let login = open(&mut rig);
        assert_eq!(login["data"]["password"], "right");
    }
}

#[test]
fn a_server_that_hashes_too_much_is_left_for_another() {
    let mut rig = with_login(Login::by_password(Secret::new("hunter22")));
    let login = open(&mut rig);
    rig.nack(&login, "overloaded", None);
    assert_eq!(login_needed(&rig), None);
    assert_eq!(open(&mut rig)["data"]["password"], "hunter22");
}

#[test]
fn an_ended_session_forgets_its_token_and_keeps_the_messages() {
    let mut rig = with_login(Login::by_token(Secret::new("snt_1")));
    let login = open(&mut rig);
    let_in(&mut rig, &login);
    rig.send("lobby", "hi");
    rig.line(json!({ "msg_type": "session_ended", "data": { "reason": "you were banned" } }));
    assert_eq!(login_needed(&rig), Some(Code::NotAuthenticated));
    assert_eq!(rig.forgotten, [Secret::new("snt_1")]);
    assert!(rig.told.iter().any(|update| matches!(update, Update::LoginNeeded { wanted: false, .. })));
    assert_eq!(rig.disk.len(), 1, "the message waits");
    rig.lost();
    assert_eq!(rig.state.next_timeout_ms(), None);
    rig.told.clear();
    rig.send("lobby", "more");
    assert!(matches!(rig.told[0], Update::Refused { .. }), "nothing more is taken before a login");
    rig.command(Command::LogIn(Login::by_password(Secret::new("hunter22"))));
    let login = open(&mut rig);
    let_in(&mut rig, &login);
    rig.answer_join(json!({ "last_seq": 0 }));
    assert_eq!(rig.take("chat").len(), 1);
}

#[test]
fn a_message_that_meets_an_ended_session_is_not_lost() {
    let mut rig = Rig::in_lobby(&[8000], 0);
    rig.send("lobby", "hi");
    let chat = rig.take("chat").remove(0);
    rig.nack(&chat, "not_authenticated", None);
    assert_eq!(login_needed(&rig), Some(Code::NotAuthenticated));
    assert_eq!(rig.disk.len(), 1);
}

#[test]
fn registering_over_a_lost_connection_ends_in_a_login() {
    let mut rig = with_login(Login::by_registering(Secret::new("hunter22")));
    let register = open(&mut rig);
    assert_eq!(register["msg_type"], "register");
    rig.lost();
    let register = open(&mut rig);
    rig.nack(&register, "name_taken", None);
    let login = rig.take("login").remove(0);
    assert_eq!(login["data"]["password"], "hunter22");
    let_in(&mut rig, &login);
    assert_eq!(login_needed(&rig), None);
    // A name that another user has is told at once.
    let mut rig = with_login(Login::by_registering(Secret::new("hunter22")));
    let register = open(&mut rig);
    rig.nack(&register, "name_taken", None);
    assert_eq!(login_needed(&rig), Some(Code::NameTaken));
}

#[test]
fn a_change_is_asked_once_and_lost_with_its_connection() {
    let mut rig = Rig::in_lobby(&[8000], 0);
    let place = |seq: u64| Seq::try_from(seq).unwrap();
    let lobby = room("lobby");
    rig.ask(1, Edit { room: lobby.clone(), seq: place(1), body: Body::new("x").unwrap() });
    rig.ask(2, Delete { room: lobby.clone(), seq: place(2) });
    rig.ask(3, topic("tea"));
    let edit = rig.take("edit").remove(0);
    assert_eq!(edit["data"], json!({ "room": "lobby", "seq": 1, "body": "x" }));
    rig.answer(&edit, "ack", json!({ "room": "lobby", "seq": 5 }));
    let delete = rig.take("delete").remove(0);
    rig.nack(&delete, "forbidden", None);
    rig.lost();
    let told = outcomes(&mut rig);
    assert!(matches!(&told[0], (1, Outcome::Done(Answer::Placed(placed))) if placed.seq == 5));
    assert!(matches!(&told[1], (2, Outcome::Refused(refusal)) if refusal.code == Code::Forbidden));
    assert!(matches!(told[2], (3, Outcome::Unknown)));
    // Requests that were typed without a connection are sent on the next one.
    rig.ask(4, React { room: lobby, seq: place(1), emoji: Emoji::new("+1").unwrap(), remove: false });
    rig.written.clear();
    rig.log_in("server2");
    assert!(rig.take("react").is_empty(), "the room comes first");
    rig.answer_join(json!({ "last_seq": 0 }));
    assert_eq!(rig.take("react").len(), 1);
    assert!(rig.take("topic").is_empty(), "the outcome is unknown, so it is not asked again");
    assert!(!rig.state.is_idle());
}

#[test]
fn no_majority_leaves_a_change_unknown_and_load_only_delays_it() {
    let mut rig = Rig::in_lobby(&[8000, 8001], 0);
    rig.ask(1, topic("tea"));
    let topic = rig.take("topic").remove(0);
    rig.nack(&topic, "rate_limited", Some(100));
    assert!(outcomes(&mut rig).is_empty());
    rig.now_ms += 200;
    rig.input(Input::Timeout);
    let topic = rig.take("topic").remove(0);
    rig.nack(&topic, "unavailable", None);
    assert!(matches!(outcomes(&mut rig)[..], [(1, Outcome::Unknown)]));
}

#[test]
fn a_logout_waits_for_the_messages_and_ends_the_connection() {
    let mut rig = Rig::in_lobby(&[8000], 0);
    rig.send("lobby", "hi");
    rig.ask(1, Logout { everywhere: false });
    assert!(rig.take("logout").is_empty());
    let chat = rig.take("chat").remove(0);
    rig.ack_chat(&chat, 1);
    let logout = rig.take("logout").remove(0);
    rig.answer(&logout, "ack", json!({ "username": "alice" }));
    assert!(rig.told.iter().any(|update| matches!(update, Update::LoginNeeded { wanted: true, .. })));
    assert!(matches!(outcomes(&mut rig)[..], [(1, Outcome::Done(_))]));
    assert_eq!(rig.state.next_timeout_ms(), None);
}

#[test]
fn a_room_is_entered_with_its_password_and_resumed_without() {
    let mut rig = Rig::new(&[8000]);
    let password = Some(Password::new("sesame").unwrap());
    rig.command(Command::Enter { room: room("den"), private: true, password });
    rig.log_in("server1");
    let join = rig.answer_join(json!({ "last_seq": 1, "created": true }));
    assert_eq!((&join["data"]["private"], &join["data"]["password"]), (&json!(true), &json!("sesame")));
    rig.lost();
    rig.written.clear();
    rig.log_in("server2");
    let join = rig.answer_join(json!({ "last_seq": 1 }));
    assert_eq!(join["data"], json!({ "room": "den", "private": false, "after": 1 }));
}

#[test]
fn who_is_kicked_does_not_come_back_by_itself() {
    let mut rig = Rig::in_lobby(&[8000], 0);
    rig.send("lobby", "in flight");
    rig.send("lobby", "waiting");
    let mut kicked = event("lobby", 1);
    kicked["kind"] = "kicked".into();
    kicked["username"] = "ALICE".into();
    rig.line(json!({ "msg_type": "room_event", "sender_id": "bob", "data": kicked }));
    assert!(rig.told.iter().any(|update| matches!(update, Update::Event { .. })), "it is shown");
    assert!(rig.told.iter().any(|update| matches!(update, Update::RoomRefused { .. })));
    assert_eq!(rig.disk.len(), 1, "what waited is refused");
    let chat = rig.take("chat").remove(0);
    rig.nack(&chat, "forbidden", None);
    assert!(rig.disk.is_empty());
    rig.lost();
    rig.log_in("server2");
    assert!(rig.take("create_join").is_empty());
}

#[test]
fn a_conversation_of_two_opens_by_itself_where_it_was_begun() {
    let mut rig = Rig::in_lobby(&[8000], 0);
    rig.push("@alice,bob", 7);
    let join = rig.answer_join(json!({ "last_seq": 7, "events": [event("@alice,bob", 7)] }));
    assert_eq!(join["data"], json!({ "room": "@alice,bob", "private": false, "after": 6 }));
    assert_eq!(rig.shown(), [7]);
    rig.push("elsewhere", 3);
    assert!(rig.shown().is_empty() && rig.take("create_join").is_empty(), "other rooms do not");
}

#[test]
fn what_was_read_is_told_now_and_then() {
    let mut rig = Rig::in_lobby(&[8000], 0);
    for seq in 1..=5 {
        rig.command(Command::Read { room: room("lobby"), seq });
    }
    let told: Vec<u64> =
        rig.take("mark_read").iter().map(|read| read["data"]["seq"].as_u64().unwrap()).collect();
    assert_eq!(told, [1], "the first at once");
    rig.now_ms += READ_PAUSE_MS;
    rig.input(Input::Timeout);
    let reads = rig.take("mark_read");
    assert_eq!((reads.len(), &reads[0]["data"]["seq"]), (1, &json!(5)));
    rig.nack(&reads[0], "not_found", None);
    rig.command(Command::Read { room: room("lobby"), seq: 4 });
    assert!(rig.take("mark_read").is_empty() && rig.state.is_idle());
}

#[test]
fn what_was_read_elsewhere_is_told_and_not_said_again() {
    let mut rig = Rig::in_lobby(&[8000], 0);
    let data = json!({ "room": "lobby", "seq": 5, "unread_messages": 2, "mentions": 1 });
    rig.line(json!({ "msg_type": "read", "data": data }));
    let told = rig
        .told
        .iter()
        .any(|update| matches!(update, Update::ReadElsewhere { seq: 5, unread: 2, mentions: 1, .. }));
    assert!(told, "{:?}", rig.told);
    rig.command(Command::Read { room: room("lobby"), seq: 5 });
    assert!(rig.take("mark_read").is_empty());
    rig.command(Command::Read { room: room("lobby"), seq: 6 });
    assert_eq!(rig.take("mark_read")[0]["data"]["seq"], 6);
}

#[test]
fn typing_and_presence_are_told_and_away_is_said_again() {
    let mut rig = Rig::in_lobby(&[8000], 0);
    rig.command(Command::Typing(room("lobby")));
    let typing = rig.take("typing").remove(0);
    assert!(typing["request_id"].is_null(), "it has no answer");
    rig.line(
        json!({ "msg_type": "typing", "data": { "room": "lobby", "username": "bob", "state": "typing" } }),
    );
    rig.line(json!({ "msg_type": "presence", "data": { "username": "bob", "state": "away" } }));
    rig.line(json!({ "msg_type": "invited", "data": { "room": "den", "by": "bob" } }));
    rig.line(json!({ "msg_type": "dancing", "data": { "username": "bob" } }));
    let bob = UserName::new("bob").unwrap();
    let expected = [
        Update::Typing { room: room("lobby"), username: bob.clone() },
        Update::Presence { username: bob.clone(), state: PresenceState::Away },
        Update::Invitation { room: room("den"), by: bob, invited: true },
    ];
    assert_eq!(format!("{:?}", rig.told), format!("{expected:?}"));
    rig.ask(1, SetPresence { state: Presence::Away });
    assert_eq!(rig.take("set_presence")[0]["data"], json!({ "state": "away" }));
    rig.lost();
    rig.log_in("server2");
    assert_eq!(rig.take("set_presence").len(), 1);
}

pub(super) fn sending(size: u64) -> Sending {
    Sending {
        room: room("lobby"),
        name: FileName::new("a.txt").unwrap(),
        size,
        content_type: ContentType::new("text/plain").ok(),
        sha256: Digest([0; 32]),
        body: "a.txt".into(),
        client_msg_id: "file-1".into(),
    }
}

/// Reads what is asked for, until nothing more is.
fn read_parts(rig: &mut Rig) {
    while let Some((tag, offset, length)) = rig.reads.pop() {
        rig.input(Input::Bytes { tag, offset, bytes: vec![7; length] });
    }
}

fn offsets(requests: &[Value]) -> Vec<u64> {
    requests.iter().map(|request| request["data"]["offset"].as_u64().unwrap()).collect()
}

#[test]
fn an_upload_goes_on_after_a_failover_and_ends_in_a_message() {
    let chunk = FILE_CHUNK_BYTES as u64;
    let id = FileId([7; 16]).to_string();
    let mut rig = Rig::in_lobby(&[8000, 8001], 0);
    rig.command(Command::Upload { tag: 9, sending: sending(2 * chunk + 5) });
    let begin = rig.take("file_begin").remove(0);
    assert_eq!(begin["data"]["size"], 2 * chunk + 5);
    rig.answer(&begin, "ack", json!({ "file_id": id, "received": 0, "chunk_bytes": chunk }));
    read_parts(&mut rig);
    let chunks = rig.take("file_chunk");
    assert_eq!(offsets(&chunks), [0], "one at first");
    rig.answer(&chunks[0], "ack", json!({ "file_id": id, "received": chunk }));
    read_parts(&mut rig);
    assert_eq!(offsets(&rig.take("file_chunk")), [chunk, 2 * chunk]);
    // Both were taken, but the answers are lost with the server.
    rig.lost();
    rig.written.clear();
    rig.log_in("server2");
    assert!(rig.take("file_chunk").is_empty());
    rig.answer_join(json!({ "last_seq": 0 }));
    read_parts(&mut rig);
    let chunks = rig.take("file_chunk");
    assert_eq!(offsets(&chunks), [chunk]);
    for request in &chunks {
        rig.answer(request, "ack", json!({ "file_id": id, "received": 2 * chunk + 5 }));
    }
    let end = rig.take("file_end").remove(0);
    let info = json!({ "file_id": id, "name": "a.txt", "size": 2 * chunk + 5, "sha256": "00", "content_type": "text/plain" });
    rig.answer(&end, "ack", info);
    let chat = rig.take("chat").remove(0);
    assert_eq!((&chat["data"]["file_id"], &chat["data"]["body"]), (&json!(id), &json!("a.txt")));
    assert!(rig.told.iter().any(|update| matches!(update, Update::Uploaded { tag: 9, .. })));
    assert_eq!(rig.disk.len(), 1, "from here on it is a message like others");
}

#[test]
fn a_file_that_cannot_be_read_or_is_refused_fails_and_nothing_else() {
    let mut rig = Rig::in_lobby(&[8000], 0);
    rig.command(Command::Upload { tag: 1, sending: sending(5) });
    let begin = rig.take("file_begin").remove(0);
    rig.nack(&begin, "too_large", None);
    assert!(matches!(rig.told.last(), Some(Update::TransferFailed { tag: 1, .. })));
    rig.command(Command::Upload { tag: 2, sending: sending(5) });
    let begin = rig.take("file_begin").remove(0);
    rig.answer(&begin, "ack", json!({ "file_id": FileId([1; 16]) }));
    rig.input(Input::ReadFailed { tag: 2, reason: "gone".into() });
    assert!(matches!(rig.told.last(), Some(Update::TransferFailed { tag: 2, .. })));
    assert!(rig.state.is_idle());
}

#[test]
fn uploads_wait_for_their_turn_and_for_servers_that_take_no_more() {
    let mut rig = Rig::in_lobby(&[8000], 0);
    for tag in 0..20 {
        rig.command(Command::Upload { tag, sending: sending(0) });
    }
    let id = FileId([7; 16]).to_string();
    let finish = |rig: &mut Rig, begin: &Value| {
        rig.answer(begin, "ack", json!({ "file_id": id }));
        let end = rig.take("file_end").remove(0);
        let info =
            json!({ "file_id": id, "name": "a", "size": 0, "sha256": "", "content_type": "text/plain" });
        rig.answer(&end, "ack", info);
    };
    let begins = rig.take("file_begin");
    assert_eq!(begins.len(), 2, "not all at once");
    // Another device of the user has uploads, too; messages go on meanwhile.
    rig.nack(&begins[0], "rate_limited", Some(200));
    rig.send("lobby", "hello");
    assert_eq!(rig.take("chat").len(), 1);
    finish(&mut rig, &begins[1]);
    let mut done = 1;
    for pause_ms in [0, 250] {
        rig.now_ms += pause_ms;
        rig.input(Input::Timeout);
        loop {
            let begins = rig.take("file_begin");
            begins.iter().for_each(|begin| finish(&mut rig, begin));
            done += begins.len();
            if begins.is_empty() {
                break;
            }
        }
    }
    assert_eq!(done, 20);
    let failed = rig.told.iter().filter(|told| matches!(told, Update::TransferFailed { .. })).count();
    assert_eq!(failed, 0);
}

#[test]
fn a_download_is_saved_in_order_over_two_servers() {
    let mut rig = Rig::in_lobby(&[8000, 8001], 0);
    let file_id = FileId([7; 16]);
    rig.command(Command::Download { tag: 3, file_id });
    let chunk = FILE_CHUNK_BYTES as u64;
    let piece = |offset: u64, length: usize| {
        use data_encoding::BASE64;
        json!({ "file_id": file_id, "name": "a", "size": chunk + 2, "sha256": "", "content_type": "x/y",
            "offset": offset, "bytes": BASE64.encode(&vec![1; length]) })
    };
    let read = rig.take("file_read").remove(0);
    rig.answer(&read, "file", piece(0, FILE_CHUNK_BYTES));
    assert_eq!(offsets(&rig.take("file_read")), [chunk]);
    rig.lost();
    rig.written.clear();
    rig.log_in("server2");
    let read = rig.take("file_read").remove(0);
    assert_eq!(read["data"]["offset"], chunk);
    rig.answer(&read, "file", piece(chunk, 2));
    let saved: Vec<_> = rig.saved.iter().map(|(bytes, last)| (bytes.len(), *last)).collect();
    assert_eq!(saved, [(FILE_CHUNK_BYTES, false), (2, true)]);
    rig.command(Command::Download { tag: 4, file_id });
    let read = rig.take("file_read").remove(0);
    rig.nack(&read, "not_found", None);
    assert!(matches!(rig.told.last(), Some(Update::TransferFailed { tag: 4, .. })));
}

#[test]
fn outputs_show_no_secrets() {
    let output = Output::KeepToken(Secret::new("snt_1"));
    let input = Input::Command(Command::LogIn(Login::by_password(Secret::new("hunter22"))));
    let shown = format!("{output:?} {input:?}");
    assert!(!shown.contains("snt_1") && !shown.contains("hunter22"), "{shown}");
}
