//! Rooms out of a cluster and into another, by the program that people use for it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::{Value, json};

use crate::one_server::{Client, OneServer};

fn admin(one: &OneServer, words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_syncnet-admin"))
        .args(words)
        .arg("--servers")
        .arg(format!("127.0.0.1:{}", one.port))
        .arg("--secret-file")
        .arg(one.folder.path().join("cluster.secret"))
        .output()
        .unwrap()
}

/// Its output; it must succeed.
fn done(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    said
}

/// Its output; it must fail.
fn not_done(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn export(one: &OneServer, path: &Path) -> String {
    done(&admin(one, &["export", "--all", "--output", path.to_str().unwrap()]))
}

fn import(one: &OneServer, path: &Path) -> Output {
    admin(one, &["import", "--input", path.to_str().unwrap()])
}

/// Asks and gives the answer's data; the answer must be no nack.
fn ask(client: &mut Client, number: &mut u64, msg_type: &str, data: Value) -> Value {
    *number += 1;
    client.send(&json!({"msg_type": msg_type, "data": data, "request_id": *number}).to_string());
    let answer = client.answer(*number);
    assert_ne!(answer["msg_type"], "nack", "{msg_type}: {answer}");
    answer["data"].clone()
}

/// Fills a server with rooms of every kind and events of many.
fn fill(one: &OneServer) {
    let (mut alice, mut bob) = (one.client(), one.client());
    let (mut a, mut b) = (0, 0);
    ask(&mut alice, &mut a, "login", json!({"username": "alice"}));
    ask(&mut bob, &mut b, "login", json!({"username": "Bob"}));
    ask(&mut alice, &mut a, "create_join", json!({"room": "Lobby"}));
    ask(&mut bob, &mut b, "create_join", json!({"room": "lobby"}));
    for number in 0..700 {
        let data = json!({"room": "lobby", "body": format!("message {number} \u{1}\u{fffd} é"), "client_msg_id": format!("m{number}")});
        alice.send(&json!({"msg_type": "chat", "data": data}).to_string());
    }
    ask(&mut alice, &mut a, "edit", json!({"room": "lobby", "seq": 5, "body": "better, @bob"}));
    ask(&mut bob, &mut b, "react", json!({"room": "lobby", "seq": 5, "emoji": "+1"}));
    ask(&mut alice, &mut a, "delete", json!({"room": "lobby", "seq": 6}));
    ask(&mut bob, &mut b, "chat", json!({"room": "lobby", "body": "yes", "reply_to": 5}));
    ask(&mut alice, &mut a, "topic", json!({"room": "lobby", "topic": "all of it"}));
    ask(&mut alice, &mut a, "set_role", json!({"room": "lobby", "username": "bob", "role": "moderator"}));
    ask(&mut alice, &mut a, "create_join", json!({"room": "den", "private": true}));
    ask(&mut alice, &mut a, "chat", json!({"room": "den", "body": "x".repeat(16_000)}));
    ask(&mut alice, &mut a, "room_settings", json!({"room": "den", "slow_s": 3, "archived": true}));
    ask(&mut alice, &mut a, "chat", json!({"to": "Bob", "body": "between us"}));
    // A room that has forgotten its first events.
    ask(&mut bob, &mut b, "create_join", json!({"room": "short"}));
    for number in 0..20 {
        ask(&mut bob, &mut b, "chat", json!({"room": "short", "body": number.to_string()}));
    }
    ask(&mut bob, &mut b, "room_settings", json!({"room": "short", "keep_events": 5}));
    loop {
        let page = ask(&mut bob, &mut b, "history", json!({"room": "short"}));
        if page["first_seq"] == 18 {
            assert_eq!(page["events"].as_array().unwrap().len(), 5);
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

fn paths(folder: &Path) -> [PathBuf; 3] {
    ["one.jsonl", "two.jsonl", "part.jsonl"].map(|name| folder.join(name))
}

#[test]
fn everything_is_the_same_in_another_cluster() {
    let folder = tempfile::tempdir().unwrap();
    let [first, second, part] = paths(folder.path());
    {
        let one = OneServer::start_with_secret(json!({}));
        fill(&one);
        assert!(export(&one, &first).contains("4 rooms"));
    }
    let text = fs::read_to_string(&first).unwrap();
    assert!(text.ends_with("}\n") && !text.contains("lamport"), "one line each");

    // The old data is gone: this is a new cluster.
    let one = OneServer::start_with_secret(json!({}));
    // Interrupted twice: in the middle of a room, and of a line.
    let lines: Vec<&str> = text.lines().collect();
    let cut = lines.iter().position(|line| line.contains("message 600")).unwrap();
    fs::write(&part, lines[..cut].join("\n")).unwrap();
    assert!(not_done(&import(&one, &part)).contains("ends early"));
    fs::write(&part, &text[..text.len() - 30]).unwrap();
    let said = not_done(&import(&one, &part));
    assert!(said.contains("line ") && said.contains("JSON"), "{said}");
    done(&import(&one, &first));
    let said = done(&import(&one, &first));
    assert!(
        said.contains("taken over: ") && said.contains("with 0 events"),
        "again it is nothing new: {said}"
    );
    export(&one, &second);
    let again = fs::read_to_string(&second).unwrap();
    for (before, after) in text.lines().zip(again.lines()) {
        assert_eq!(before, after);
    }
    assert_eq!(text, again);

    // People find what they had, and go on.
    let mut bob = one.client();
    let mut number = 0;
    ask(&mut bob, &mut number, "login", json!({"username": "bob"}));
    let rooms = ask(&mut bob, &mut number, "rooms", json!({}));
    let names: Vec<&str> =
        rooms["rooms"].as_array().unwrap().iter().map(|room| room["room"].as_str().unwrap()).collect();
    assert_eq!(names, ["@alice,Bob", "Lobby", "short"], "the den stays private");
    let lobby = &rooms["rooms"][1];
    assert_eq!(
        (&lobby["role"], &lobby["unread"], &lobby["topic"]),
        (&json!("moderator"), &json!(0), &json!("all of it"))
    );
    let page = ask(&mut bob, &mut number, "history", json!({"room": "lobby", "after": 4, "limit": 1}));
    assert_eq!(page["events"][0]["body"], "better, @bob");
    assert_eq!(page["events"][0]["reactions"], json!({"+1": ["Bob"]}));
    let hits = ask(&mut bob, &mut number, "search", json!({"query": "better"}));
    assert_eq!(hits["hits"][0]["seq"], 5);
    let resumed = ask(&mut bob, &mut number, "create_join", json!({"room": "short", "after": 3}));
    assert_eq!((&resumed["first_seq"], &resumed["events"][0]["seq"]), (&json!(18), &json!(18)));
    ask(&mut bob, &mut number, "chat", json!({"room": "lobby", "body": "I am back"}));

    // Another room of the same name is not mixed with it.
    let other = text.replace("message 699", "massage 699");
    fs::write(&part, other).unwrap();
    done(&import(&one, &part));
    let other = text.replace(r#""author":"Bob""#, r#""author":"Rob""#);
    fs::write(&part, other).unwrap();
    assert!(not_done(&import(&one, &part)).contains("another room"));
}

#[test]
fn only_operators_and_administrators_export_and_only_operators_what_is_private() {
    let one = OneServer::start_with_secret(json!({}));
    let mut alice = one.client();
    let mut a = 0;
    ask(&mut alice, &mut a, "login", json!({"username": "alice"}));
    ask(&mut alice, &mut a, "create_join", json!({"room": "lobby"}));
    ask(&mut alice, &mut a, "create_join", json!({"room": "den", "private": true}));
    for msg_type in ["export", "export_rooms", "import_room", "import"] {
        let event = json!({"author": "a", "created_at": 1, "body": "x"});
        let data = json!({"room": "lobby", "info": {"private": false}, "first_seq": 2, "events": [event]});
        a += 1;
        alice.send(&json!({"msg_type": msg_type, "data": data, "request_id": a}).to_string());
        assert_eq!(alice.answer(a)["data"]["code"], "forbidden", "{msg_type}");
    }
    let output = Command::new(env!("CARGO_BIN_EXE_syncnet-admin"))
        .args(["user", "add", "root", "--admin", "--password-stdin"])
        .arg("--servers")
        .arg(format!("127.0.0.1:{}", one.port))
        .arg("--secret-file")
        .arg(one.folder.path().join("cluster.secret"))
        .stdin({
            let path = one.folder.path().join("password");
            fs::write(&path, "correct horse battery\n").unwrap();
            fs::File::open(path).unwrap()
        })
        .output()
        .unwrap();
    done(&output);
    let mut root = one.client();
    let mut r = 0;
    ask(&mut root, &mut r, "login", json!({"username": "root", "password": "correct horse battery"}));
    let rooms = ask(&mut root, &mut r, "export_rooms", json!({}));
    assert_eq!(rooms["rooms"], json!(["lobby"]));
    let page = ask(&mut root, &mut r, "export", json!({"room": "LOBBY"}));
    assert_eq!(page["info"]["members"], json!([{"username": "alice", "role": "owner"}]));
    assert_eq!(page["events"][0]["kind"], "joined");
    // A private room seems not to exist, and no user gets in by an import.
    let info = json!({"private": false, "members": [{"username": "root", "role": "owner"}]});
    for (msg_type, data) in
        [("export", json!({"room": "den"})), ("import_room", json!({"room": "den", "info": info}))]
    {
        r += 1;
        root.send(&json!({"msg_type": msg_type, "data": data, "request_id": r}).to_string());
        assert_eq!(root.answer(r)["data"]["code"], "not_found", "{msg_type}");
    }
    let out = done_out(&admin(&one, &["export", "--room", "den"]));
    assert!(out.contains(r#""room":"den""#) && out.lines().count() == 3, "{out}");
    assert!(not_done(&admin(&one, &["export", "--room", "attic"])).contains("not_found"));
}

fn done_out(output: &Output) -> String {
    done(output);
    String::from_utf8_lossy(&output.stdout).into_owned()
}
