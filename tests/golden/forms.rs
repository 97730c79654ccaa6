//! Every request in every bad form: each field of a good example missing, `null`, of every wrong type, out of
//! its range, named twice; and the line that refuses it.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use crate::{
    recording::shorten,
    server::{Setup, World},
};

/// A good example of each request, with all that it may say.
const EXAMPLES: &[(&str, &str)] = &[
    ("register", r#"{"username":"b","password":"long enough","admin":true}"#),
    ("login", r#"{"username":"a"}"#),
    ("login", r#"{"username":"a","password":"x"}"#),
    ("login", r#"{"token":"snt_-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_s"}"#),
    ("logout", r#"{"everywhere":true}"#),
    ("change_password", r#"{"old":"x","new":"long enough"}"#),
    ("close_account", r#"{"password":"x"}"#),
    ("operator_challenge", r#"{}"#),
    ("operator_login", r#"{"proof":"0000000000000000000000000000000000000000000000000000000000000000"}"#),
    ("set_admin", r#"{"username":"a","admin":true}"#),
    ("set_password", r#"{"username":"a","password":"long enough"}"#),
    ("ban", r#"{"username":"a","seconds":5}"#),
    ("unban", r#"{"username":"a"}"#),
    ("delete_account", r#"{"username":"a"}"#),
    ("users", r#"{"after":"a","limit":5}"#),
    ("audit", r#"{"before":9,"limit":5}"#),
    ("transfer_leader", r#"{"server_id":"server1","seconds":5}"#),
    ("backup_made", r#"{}"#),
    ("block", r#"{"username":"b"}"#),
    ("unblock", r#"{"username":"alice"}"#),
    ("create_bot", r#"{"username":"robot"}"#),
    ("create_hook", r#"{"room":"a","username":"b"}"#),
    ("delete_hook", r#"{"room":"a","hook_id":"0123456789abcdef"}"#),
    ("hooks", r#"{"room":"a"}"#),
    (
        "hook_post",
        r#"{"token":"snt_-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_s","body":"x","display_name":"y"}"#,
    ),
    ("create_join", r#"{"room":"a","private":true,"password":"x","history":5}"#),
    ("create_join", r#"{"room":"a","after":1}"#),
    ("leave", r#"{"room":"a"}"#),
    (
        "chat",
        r#"{"room":"a","body":"x","client_msg_id":"1","reply_to":1,"follows":"0","file_id":"00000000000000000000000000000000"}"#,
    ),
    ("chat", r#"{"to":"alice","body":"x"}"#),
    ("edit", r#"{"room":"a","seq":2,"body":"x"}"#),
    ("delete", r#"{"room":"a","seq":2}"#),
    ("react", r#"{"room":"a","seq":2,"emoji":"x","remove":true}"#),
    ("pin", r#"{"room":"a","seq":2}"#),
    ("unpin", r#"{"room":"a","seq":2}"#),
    ("pins", r#"{"room":"a"}"#),
    ("mark_read", r#"{"room":"a","seq":1}"#),
    ("topic", r#"{"room":"a","topic":"x"}"#),
    ("invite", r#"{"room":"a","username":"b"}"#),
    ("uninvite", r#"{"room":"a","username":"b"}"#),
    ("kick", r#"{"room":"a","username":"b"}"#),
    ("ban", r#"{"room":"a","username":"b","seconds":5}"#),
    ("unban", r#"{"room":"a","username":"b"}"#),
    ("mute", r#"{"room":"a","username":"b","seconds":5}"#),
    ("unmute", r#"{"room":"a","username":"b"}"#),
    ("set_role", r#"{"room":"a","username":"b","role":"member"}"#),
    (
        "room_settings",
        r#"{"room":"a","private":false,"archived":false,"slow_s":5,"keep_days":5,"keep_events":5}"#,
    ),
    ("room_settings", r#"{"room":"a","private":true}"#),
    ("room_settings", r#"{"room":"a","keep_days":1}"#),
    ("room_password", r#"{"room":"a","password":"long enough"}"#),
    ("history", r#"{"room":"a","before":5,"limit":5}"#),
    ("history", r#"{"room":"a","after":5}"#),
    ("history", r#"{"room":"a","since":5.5}"#),
    ("search", r#"{"query":"x","room":"a","author":"b","since":1,"until":2,"before":9,"limit":5}"#),
    ("rooms", r#"{"after":"a","limit":5,"joined":true}"#),
    ("members", r#"{"room":"a","after":"a","limit":5}"#),
    ("typing", r#"{"room":"a"}"#),
    ("set_presence", r#"{"state":"away"}"#),
    ("file_begin", r#"{"room":"a","name":"x","size":5,"content_type":"text/plain"}"#),
    ("file_chunk", r#"{"file_id":"00000000000000000000000000000000","offset":0,"bytes":"eHh4"}"#),
    (
        "file_end",
        r#"{"file_id":"00000000000000000000000000000000","sha256":"0000000000000000000000000000000000000000000000000000000000000000"}"#,
    ),
    ("file_read", r#"{"file_id":"00000000000000000000000000000000","offset":0}"#),
    ("file_delete", r#"{"file_id":"00000000000000000000000000000000"}"#),
    (
        "import",
        r#"{"room":"a","first_seq":2,"events":[{"author":"b","created_at":1.5,"body":"x","reply_to":1}]}"#,
    ),
    (
        "import_room",
        r#"{"room":"a","info":{"private":true,"topic":"x","archived":false,"slow_s":1,"keep_days":1,"keep_events":1,"members":[{"username":"b","role":"owner"}]}}"#,
    ),
    ("export", r#"{"room":"a","after":5,"limit":5}"#),
    ("export_rooms", r#"{"after":"a","limit":5}"#),
    ("rename_room", r#"{"room":"a","name":"d"}"#),
    ("delete_room", r#"{"room":"d"}"#),
    ("servers", r#"{}"#),
    (
        "plan_servers",
        r#"{"change":"replace","server_id":"d","replaces":"a","host":"h","port":1,"ring_position":1,"client_host":"h","client_port":1}"#,
    ),
    ("change_servers", r#"{"change":"drain","server_id":"a"}"#),
    ("ping", r#"{"barrier":false}"#),
    ("server_list", r#"{}"#),
    ("client_discovery", r#"{}"#),
    ("status_request", r#"{}"#),
];

/// Requests that are refused for a combination of fields, or for the content of a field.
const MORE: &[(&str, &str)] = &[
    ("login", r#"{"token":"x","password":"y"}"#),
    ("login", r#"{"username":"a","password":""}"#),
    ("chat", r#"{"room":"a","to":"b","body":"x"}"#),
    ("chat", r#"{"to":"a b","body":"x"}"#),
    ("history", r#"{"room":"a","before":5,"after":1}"#),
    ("history", r#"{"room":"a","before":5,"since":1}"#),
    ("room_settings", r#"{"room":"a"}"#),
    ("room_settings", r#"{"room":"a","private":null,"slow_s":null}"#),
    ("room_settings", r#"{"room":"a","keep_days":4294967296}"#),
    ("set_role", r#"{"room":"a","username":"b","role":"muted"}"#),
    ("set_role", r#"{"room":"a","username":"b","role":"king"}"#),
    ("set_presence", r#"{"state":"offline"}"#),
    ("file_begin", r#"{"room":"a","name":"x","size":5,"content_type":"text"}"#),
    ("file_begin", r#"{"room":"a","name":"..","size":5}"#),
    ("file_chunk", r#"{"file_id":"00000000000000000000000000000000","offset":0,"bytes":"eHh4eA"}"#),
    ("operator_login", r#"{"proof":"ABCDEF0000000000000000000000000000000000000000000000000000000000"}"#),
    ("import", r#"{"room":"a","first_seq":1,"events":null}"#),
    ("import", r#"{"room":"a","first_seq":1,"events":[{"author":"b","created_at":1}]}"#),
    ("import", r#"{"room":"a","first_seq":1,"events":[{"author":"b","body":"x"}]}"#),
    ("import", r#"{"room":"a","first_seq":1,"events":[{"created_at":1,"body":"x"}]}"#),
    ("import", r#"{"room":"a","first_seq":1,"events":[{"author":"b b","created_at":1,"body":"x"}]}"#),
    ("import", r#"{"room":"a","first_seq":1,"events":[{"author":"b","created_at":-1,"body":"x"}]}"#),
    ("import", r#"{"room":"a","first_seq":1,"events":[{"author":"b","created_at":1,"body":7}]}"#),
    ("import", r#"{"room":"a","first_seq":1,"events":[{"author":"b","created_at":1,"kind":"topic"}]}"#),
    ("import", r#"{"room":"a","first_seq":1,"events":[{"author":"b","created_at":1,"kind":"dance"}]}"#),
    ("import", r#"{"room":"a","first_seq":1,"events":[{"seq":9,"author":"b","created_at":1,"body":"x"}]}"#),
    ("import", r#"{"room":"a","first_seq":1,"events":[{"author":"b","created_at":1,"body":"\u0000"}]}"#),
    ("import_room", r#"{"room":"a","info":{}}"#),
    ("import_room", r#"{"room":"a","info":{"private":7}}"#),
    ("import_room", r#"{"room":"a","info":{"private":true,"topic":"\u001b"}}"#),
    ("import_room", r#"{"room":"a","info":{"private":true,"keep_days":-1}}"#),
    ("import_room", r#"{"room":"a","info":{"private":true,"members":[{"username":"b","role":"king"}]}}"#),
    ("import_room", r#"{"room":"a","info":{"private":true,"members":[{"username":"b b","role":"owner"}]}}"#),
    ("import_room", r#"{"room":"a","info":{"private":true,"members":[{"username":"b"}]}}"#),
    ("ping", r#"{"barrier":null,"for":7}"#),
];

/// Values that most fields do not take.
fn wrong_values(good: &Value) -> Vec<Value> {
    let mut values = vec![json!(null), json!([1]), json!({ "x": 1 })];
    match good {
        Value::String(_) => values.extend([
            json!(7),
            json!(true),
            json!(""),
            json!("\u{0}"),
            json!("a b"),
            json!("\u{e9}\u{1b}"),
            json!("x".repeat(20_000)),
        ]),
        Value::Number(_) => values.extend([
            json!("7"),
            json!(true),
            json!(-1),
            json!(0),
            json!(1.5),
            json!(u64::MAX),
            json!(1e300),
        ]),
        Value::Bool(_) => values.extend([json!("true"), json!(1), json!(0)]),
        _ => values.extend([json!("x"), json!(7), json!([7]), json!([{}]), json!([])]),
    }
    values
}

/// All forms of one example: what is wrong with each, and its data.
fn forms(good: &str) -> Vec<(String, String)> {
    let fields: Map<String, Value> = serde_json::from_str(good).expect("an example");
    let text = |fields: &Map<String, Value>| Value::from(fields.clone()).to_string();
    let mut forms = vec![("good".to_owned(), good.to_owned())];
    let mut surplus = fields.clone();
    surplus.insert("surplus".into(), json!([{ "x": null }]));
    forms.push(("with a field that is not known".into(), text(&surplus)));
    for (field, value) in &fields {
        let mut without = fields.clone();
        without.remove(field);
        forms.push((format!("without {field}"), text(&without)));
        for wrong in wrong_values(value) {
            let mut bad = fields.clone();
            bad.insert(field.clone(), wrong.clone());
            forms.push((format!("{field}={wrong}"), text(&bad)));
        }
        // Of several equal keys the last one counts.
        let rest = &good[1..];
        forms.push((format!("{field}=[1] and then as it should be"), format!("{{\"{field}\":[1],{rest}")));
        let before = &good[..good.len() - 1];
        forms.push((format!("{field} as it should be and then [1]"), format!("{before},\"{field}\":[1]}}")));
    }
    forms
}

/// Sends one form on a connection of its own, in a cluster in which alice has the room `a`.
fn play(world: &mut World, user: Option<&str>, line: &str) -> Vec<String> {
    let conn = world.open(1, false);
    if let Some(user) = user {
        let login = json!({"msg_type": "login", "data": {"username": user}});
        world.feed(conn, login.to_string().as_bytes());
        world.settle();
        world.take(conn);
    }
    world.feed(conn, line.as_bytes());
    world.settle();
    let heard = world.take(conn);
    let text = |line: &Vec<u8>| shorten(std::str::from_utf8(line).expect("a server says UTF-8").trim_end());
    let mut lines: Vec<String> = heard.iter().map(text).collect();
    if world.is_closed(conn) {
        lines.push("closed".into());
    } else {
        world.hang_up(conn);
        world.settle();
    }
    lines
}

/// A cluster of one server in which alice owns the room `a` with a message of hers.
fn world() -> World {
    let mut world = World::new(Setup::default());
    for line in [
        json!({"msg_type": "create_join", "sender_id": "alice", "data": {"room": "a"}}),
        json!({"msg_type": "chat", "sender_id": "alice", "data": {"room": "a", "body": "m", "client_msg_id": "m"}}),
    ] {
        play(&mut world, None, &line.to_string());
    }
    world
}

/// All forms of all requests, and what each is answered.
pub fn record() -> String {
    let mut text =
        String::from("# Each form on a connection of its own, which alice has logged in as a guest.\n");
    let mut record = |title: &str, world: &mut World, user, line: &str| {
        let _ = writeln!(text, "{}", shorten(title));
        for line in play(world, user, line) {
            let _ = writeln!(text, "    < {line}");
        }
    };
    for (msg_type, good) in EXAMPLES {
        let mut world = world();
        let line = |data: &str| format!(r#"{{"msg_type":"{msg_type}","request_id":1,"data":{data}}}"#);
        record(&format!("\n{msg_type} {good} without a login"), &mut world, None, &line(good));
        for (what, data) in forms(good) {
            record(&format!("{msg_type} {what}"), &mut world, Some("alice"), &line(&data));
        }
        let bare = format!(r#"{{"msg_type":"{msg_type}","request_id":1}}"#);
        record(&format!("{msg_type} without data"), &mut world, Some("alice"), &bare);
    }
    let mut world = world();
    for (msg_type, data) in MORE {
        let line = format!(r#"{{"msg_type":"{msg_type}","request_id":1,"data":{data}}}"#);
        record(&format!("{msg_type} {data}"), &mut world, Some("alice"), &line);
    }
    text
}
