//! Files and webhooks over HTTP, on real servers: what goes in comes out, for those who may see it.

use serde_json::{Value, json};
use syncnet::protocol::credential::Token;

use crate::{
    http_client::{Answer, Http},
    one_server::{Client, OneServer},
};

/// Asks a request that is done; gives the answer's data.
fn ask(client: &mut Client, msg_type: &str, data: Value) -> Value {
    client.send(&json!({"msg_type": msg_type, "data": data, "request_id": 1}).to_string());
    let answer = client.answer(1);
    assert_eq!(answer["msg_type"], "ack", "{answer}");
    answer["data"].clone()
}

/// A person with an account, and the token.
fn person(one: &OneServer, name: &str) -> (Client, String) {
    let mut client = one.client();
    let account = json!({"username": name, "password": "a long password"});
    ask(&mut client, "register", account.clone());
    let token = ask(&mut client, "login", account)["token"].as_str().expect("an account has tokens").into();
    (client, token)
}

fn post(one: &OneServer, token: &str, query: &str, more: &str, content: &[u8]) -> Answer {
    let mut http = Http::connect(one.port);
    let length = content.len();
    http.send(&format!(
        "POST /files?{query} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\nContent-Length: {length}\r\n{more}\r\n"
    ));
    // A refusal may come before all is sent.
    let _ = http.send_bytes(content);
    http.answer()
}

fn get(one: &OneServer, token: &str, file_id: &str, more: &str) -> Answer {
    let mut http = Http::connect(one.port);
    http.send(&format!(
        "GET /files/{file_id} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n{more}\r\n"
    ));
    http.answer()
}

#[test]
fn a_file_goes_in_and_comes_out_for_those_who_may_see_it() {
    let one = OneServer::start(json!({}));
    let (mut alice, token) = person(&one, "alice");
    let (_bob, other) = person(&one, "bob");
    ask(&mut alice, "create_join", json!({"room": "den", "private": true}));
    for length in [0, 1, 32 * 1024, 100_000, 1_000_003] {
        let content: Vec<u8> = (0..length).map(|place| (place * 7 % 251) as u8).collect();
        let posted = post(&one, &token, "room=den&name=h%C3%A4.png", "Content-Type: image/png\r\n", &content);
        assert_eq!(posted.status, 201, "{posted:?}");
        let told = posted.json();
        assert_eq!((told["name"].as_str(), told["size"].as_u64()), (Some("hä.png"), Some(length)));
        assert_eq!(told["content_type"], "image/png");
        let file_id = told["file_id"].as_str().unwrap();
        assert_eq!(posted.header("Location"), format!("/files/{file_id}"));
        let got = get(&one, &token, file_id, "");
        assert!(got.status == 200 && got.body == content, "{length}: {}", got.status);
        assert_eq!(got.header("Content-Type"), "image/png");
        let tag = format!("\"{}\"", told["sha256"].as_str().unwrap());
        assert_eq!(got.header("ETag"), tag);
        if length > 70_000 {
            let part = get(&one, &token, file_id, "Range: bytes=40000-70000\r\n");
            assert_eq!((part.status, part.body), (206, content[40_000..70_001].to_vec()));
        }
        assert_eq!(get(&one, &other, file_id, "").status, 404, "who is not in the room sees no file");
        assert_eq!(get(&one, "nonsense", file_id, "").status, 401);
    }
    assert_eq!(post(&one, &other, "room=den&name=x", "", b"x").status, 404);
    assert_eq!(post(&one, &token, "room=nowhere&name=x", "", b"x").status, 404);
    assert_eq!(post(&one, &token, "room=den&name=..%2Fx", "", b"x").status, 400);
    assert_eq!(get(&one, &token, "nothing", "").status, 400);
    assert_eq!(get(&one, &token, &"0".repeat(32), "").status, 404);
    let clients = &one.server().context().clients;
    assert!(clients.all().len() <= clients.len(), "a local session was left behind");
}

#[test]
fn a_tool_posts_to_a_room() {
    let one = OneServer::start_with_secret(json!({}));
    let (mut alice, _) = person(&one, "alice");
    ask(&mut alice, "create_join", json!({"room": "lobby"}));
    let hook = ask(&mut alice, "create_hook", json!({"room": "lobby", "username": "ci"}));
    let hook = hook["token"].as_str().expect("a webhook has a token");
    let mut http = Http::connect(one.port);
    let body = r#"{"text":"<https://ci/7|build 7> works","username":"CI"}"#;
    let length = body.len();
    for (token, status, text) in [
        (hook, 200, "ok"),
        ("nonsense", 403, "invalid_token"),
        (Token::from_bytes(&[1; 32]).expose(), 404, "no_service"),
    ] {
        let head = format!("POST /hooks/{token} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
        http.send(&format!("{head}{body}"));
        let answer = http.answer();
        assert_eq!((answer.status, answer.text()), (status, text));
    }
    let history = json!({"msg_type": "history", "data": {"room": "lobby"}, "request_id": 2});
    alice.send(&history.to_string());
    let history = alice.answer(2);
    let events = history["data"]["events"].as_array().unwrap();
    let said = events.iter().find(|event| event["kind"] == "message").expect("the tool has spoken");
    assert_eq!(said["body"], "build 7 (https://ci/7) works");
    assert_eq!((said["author"].as_str(), said["display_name"].as_str()), (Some("ci"), Some("CI")));
}
