//! Every request in every bad form: each field of a good example missing, or of every wrong type.

use serde_json::{Map, Value, json};

use super::{read_request, write_request};
use crate::protocol::{
    Code, Limits, Refusal,
    envelope::{BadRequest, RequestHead},
    request::Request,
};

/// A good example of each request, with the fields that it must have.
pub(super) const EXAMPLES: &[(&str, &str, &[&str])] = &[
    ("register", r#"{"username":"a","password":"long enough","admin":true}"#, &["username", "password"]),
    ("login", r#"{"username":"a"}"#, &["username"]),
    ("login", r#"{"username":"a","password":"x"}"#, &["username"]),
    ("login", r#"{"token":"snt_-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_s"}"#, &["token"]),
    ("logout", r#"{"everywhere":true}"#, &[]),
    ("change_password", r#"{"old":"x","new":"long enough"}"#, &["old", "new"]),
    ("close_account", r#"{"password":"x"}"#, &["password"]),
    (
        "operator_login",
        r#"{"proof":"0000000000000000000000000000000000000000000000000000000000000000"}"#,
        &["proof"],
    ),
    ("set_admin", r#"{"username":"a","admin":true}"#, &["username", "admin"]),
    ("set_password", r#"{"username":"a","password":"long enough"}"#, &["username", "password"]),
    ("ban", r#"{"username":"a","seconds":5}"#, &["username"]),
    ("unban", r#"{"username":"a"}"#, &["username"]),
    ("delete_account", r#"{"username":"a"}"#, &["username"]),
    ("users", r#"{"after":"a","limit":5}"#, &[]),
    ("audit", r#"{"before":9,"limit":5}"#, &[]),
    ("transfer_leader", r#"{"server_id":"a","seconds":5}"#, &[]),
    ("backup_made", r#"{}"#, &[]),
    ("create_bot", r#"{"username":"a"}"#, &["username"]),
    ("create_hook", r#"{"room":"a","username":"b"}"#, &["room", "username"]),
    ("delete_hook", r#"{"room":"a","hook_id":"0123456789abcdef"}"#, &["room", "hook_id"]),
    ("hooks", r#"{"room":"a"}"#, &["room"]),
    (
        "hook_post",
        r#"{"token":"snt_-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_s","body":"x","display_name":"y"}"#,
        &["token", "body"],
    ),
    ("create_join", r#"{"room":"a","private":true,"password":"x","after":1,"history":5}"#, &["room"]),
    ("rename_room", r#"{"room":"a","name":"b"}"#, &["room", "name"]),
    ("delete_room", r#"{"room":"a"}"#, &["room"]),
    ("leave", r#"{"room":"a"}"#, &["room"]),
    (
        "chat",
        r#"{"room":"a","body":"x","client_msg_id":"1","reply_to":1,"follows":"0","file_id":"00000000000000000000000000000000"}"#,
        &["room", "body"],
    ),
    ("chat", r#"{"to":"a","body":"x"}"#, &["to", "body"]),
    ("edit", r#"{"room":"a","seq":1,"body":"x"}"#, &["room", "seq", "body"]),
    ("delete", r#"{"room":"a","seq":1}"#, &["room", "seq"]),
    ("react", r#"{"room":"a","seq":1,"emoji":"x","remove":true}"#, &["room", "seq", "emoji"]),
    ("block", r#"{"username":"b"}"#, &["username"]),
    ("unblock", r#"{"username":"b"}"#, &["username"]),
    ("pin", r#"{"room":"a","seq":1}"#, &["room", "seq"]),
    ("unpin", r#"{"room":"a","seq":1}"#, &["room", "seq"]),
    ("pins", r#"{"room":"a"}"#, &["room"]),
    ("mark_read", r#"{"room":"a","seq":1}"#, &["room", "seq"]),
    ("topic", r#"{"room":"a","topic":"x"}"#, &["room", "topic"]),
    ("invite", r#"{"room":"a","username":"b"}"#, &["room", "username"]),
    ("uninvite", r#"{"room":"a","username":"b"}"#, &["room", "username"]),
    ("kick", r#"{"room":"a","username":"b"}"#, &["room", "username"]),
    ("ban", r#"{"room":"a","username":"b","seconds":5}"#, &["username"]),
    ("unban", r#"{"room":"a","username":"b"}"#, &["username"]),
    ("mute", r#"{"room":"a","username":"b","seconds":5}"#, &["room", "username"]),
    ("unmute", r#"{"room":"a","username":"b"}"#, &["room", "username"]),
    ("set_role", r#"{"room":"a","username":"b","role":"member"}"#, &["room", "username", "role"]),
    (
        "room_settings",
        r#"{"room":"a","private":true,"archived":false,"slow_s":5,"keep_days":5,"keep_events":5}"#,
        &["room"],
    ),
    ("room_settings", r#"{"room":"a","private":true}"#, &["room", "private"]),
    ("room_settings", r#"{"room":"a","archived":true}"#, &["room", "archived"]),
    ("room_settings", r#"{"room":"a","keep_days":1}"#, &["room", "keep_days"]),
    ("room_settings", r#"{"room":"a","keep_events":1}"#, &["room", "keep_events"]),
    ("room_password", r#"{"room":"a","password":"long enough"}"#, &["room"]),
    ("history", r#"{"room":"a","before":5,"limit":5}"#, &["room"]),
    ("history", r#"{"room":"a","after":5}"#, &["room"]),
    ("history", r#"{"room":"a","since":5.5}"#, &["room"]),
    (
        "search",
        r#"{"query":"x","room":"a","author":"b","since":1,"until":2,"before":9,"limit":5}"#,
        &["query"],
    ),
    ("rooms", r#"{"after":"a","limit":5,"joined":true}"#, &[]),
    ("members", r#"{"room":"a"}"#, &["room"]),
    ("typing", r#"{"room":"a"}"#, &["room"]),
    ("set_presence", r#"{"state":"away"}"#, &["state"]),
    (
        "file_begin",
        r#"{"room":"a","name":"x","size":5,"content_type":"text/plain"}"#,
        &["room", "name", "size"],
    ),
    (
        "file_chunk",
        r#"{"file_id":"00000000000000000000000000000000","offset":0,"bytes":"eHh4"}"#,
        &["file_id", "offset", "bytes"],
    ),
    (
        "file_end",
        r#"{"file_id":"00000000000000000000000000000000","sha256":"0000000000000000000000000000000000000000000000000000000000000000"}"#,
        &["file_id", "sha256"],
    ),
    ("file_read", r#"{"file_id":"00000000000000000000000000000000","offset":0}"#, &["file_id"]),
    ("file_delete", r#"{"file_id":"00000000000000000000000000000000"}"#, &["file_id"]),
    (
        "import",
        r#"{"room":"a","first_seq":2,"events":[{"author":"b","created_at":1.5,"body":"x","reply_to":1}]}"#,
        &["room", "first_seq", "events"],
    ),
    (
        "import_room",
        r#"{"room":"a","info":{"private":true,"members":[{"username":"b","role":"owner"}]}}"#,
        &["room", "info"],
    ),
    ("export", r#"{"room":"a","after":5,"limit":5}"#, &["room"]),
    ("export_rooms", r#"{"after":"a","limit":5}"#, &[]),
    (
        "plan_servers",
        r#"{"change":"replace","server_id":"d","replaces":"a","host":"h","port":1,"ring_position":1,"client_host":"h","client_port":1}"#,
        &["change", "server_id", "replaces", "host", "port", "ring_position"],
    ),
    ("change_servers", r#"{"change":"drain","server_id":"a"}"#, &["change", "server_id"]),
    ("ping", r#"{"barrier":true}"#, &[]),
];

fn parse(msg_type: &str, data: &Map<String, Value>) -> Result<Request, Refusal> {
    let line = json!({ "msg_type": msg_type, "data": data }).to_string();
    let (head, request) = read_request(line.as_bytes(), &Limits::default());
    assert_eq!(head.msg_type, msg_type);
    request.map_err(|bad| match bad {
        BadRequest::Fields(refusal) => refusal,
        BadRequest::Envelope(refusal) => panic!("{line}: {refusal}"),
    })
}

/// Values that no field takes, whatever its type; but for the field's own type they are right in kind.
pub(super) fn wrong_values(good: &Value) -> Vec<Value> {
    let mut values = vec![json!([1]), json!({ "x": 1 })];
    match good {
        Value::String(_) => {
            values.extend([json!(7), json!(true), json!("\u{0}"), json!("x".repeat(70_000))]);
        }
        Value::Number(_) => {
            values.extend([json!("7"), json!(true), json!(-1), json!(u64::MAX), json!(1e300)]);
        }
        Value::Bool(_) => values.extend([json!("true"), json!(1)]),
        Value::Array(_) => values = vec![json!("x"), json!(7), json!([7]), json!([{}]), json!([])],
        _ => {}
    }
    values
}

#[test]
fn every_request_refuses_every_bad_form_and_names_the_field() {
    for (msg_type, good, needed) in EXAMPLES {
        let good: Map<String, Value> = serde_json::from_str(good).expect("an example");
        parse(msg_type, &good).unwrap_or_else(|refusal| panic!("{msg_type} {good:?}: {refusal}"));
        for (field, value) in &good {
            let mut without = good.clone();
            without.remove(field);
            if needed.contains(&field.as_str()) {
                let refusal = parse(msg_type, &without).expect_err(field);
                assert_eq!(refusal.code, Code::BadRequest, "{msg_type} without {field}");
                // If one of two is needed, the other is named.
                let other = if ["token", "to"].contains(&field.as_str()) { "missing" } else { field };
                assert!(refusal.reason.contains(other), "{msg_type} without {field}: {refusal}");
            } else {
                assert!(parse(msg_type, &without).is_ok(), "{msg_type} without {field}");
            }
            // Null counts as absent; only a ping gives back what it was given.
            let mut null = good.clone();
            null.insert(field.clone(), Value::Null);
            let is_same =
                format!("{:?}", parse(msg_type, &null)) == format!("{:?}", parse(msg_type, &without));
            assert!(is_same || *msg_type == "ping", "{msg_type} with {field} null");
            for wrong in wrong_values(value) {
                // A client's name for a message, and the words of a search, may be any text.
                let any_text = ["client_msg_id", "follows", "query"].contains(&field.as_str());
                if any_text && wrong == json!("\u{0}") {
                    continue;
                }
                let mut bad = good.clone();
                let shown: String = wrong.to_string().chars().take(30).collect();
                bad.insert(field.clone(), wrong);
                let refusal = match parse(msg_type, &bad) {
                    Err(refusal) => refusal,
                    Ok(request) => panic!("{msg_type} takes {field}={shown}: {request:?}"),
                };
                // A token of another shape is refused as one that is not valid.
                let named = refusal.reason.contains(field) || refusal.code == Code::BadCredentials;
                let codes = [Code::BadRequest, Code::TooLarge, Code::BadCredentials];
                assert!(codes.contains(&refusal.code) && named, "{msg_type} {field}={shown}: {refusal}");
                assert!(
                    refusal.reason.len() < 400,
                    "a reason repeats what it refuses: {msg_type} {field}={shown}"
                );
            }
        }
    }
}

#[test]
fn every_request_has_an_example() {
    let without_data = ["server_list", "client_discovery", "servers", "status_request", "operator_challenge"];
    for name in Request::MSG_TYPES.iter().filter(|name| !without_data.contains(name)) {
        assert!(EXAMPLES.iter().any(|(msg_type, ..)| msg_type == name), "{name} has no example here");
    }
    for name in without_data {
        parse(name, &Map::new()).unwrap();
    }
}

#[test]
fn a_request_is_read_as_it_was_written() {
    for (msg_type, good, _) in EXAMPLES {
        let request = parse(msg_type, &serde_json::from_str(good).expect("an example")).expect(good);
        let head = RequestHead { msg_type: (*msg_type).into(), ..RequestHead::default() };
        let line = write_request(&head, &request);
        let (read_head, read) = read_request(&line[..line.len() - 1], &Limits::default());
        assert_eq!((read_head, read), (head, Ok(request)));
    }
}
