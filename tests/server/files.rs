//! Files and webhooks over HTTP, on real servers: uploads can be read by users who may see them.

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
        let head = get(&one, &token, file_id, &format!("If-Match: \"x\", {tag}\r\n"));
        assert_eq!(head.status, 200);
        assert_eq!(get(&one, &token, file_id, "If-Match: \"x\"\r\n").status, 412);
        if length == 0 {
            assert_eq!(get(&one, &token, file_id, "Range: bytes=0-\r\n").status, 200);
        }
        // The same in chunks.
        let mut http = Http::connect(one.port);
        http.send(&format!(
            "POST /files?room=den&name=x HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\
             Transfer-Encoding: chunked\r\n\r\n"
        ));
        for piece in content.chunks(77_777) {
            http.send(&format!("{:x}\r\n", piece.len()));
            http.send_bytes(piece).unwrap();
            http.send("\r\n");
        }
        http.send("0\r\n\r\n");
        let chunked = http.answer();
        assert_eq!((chunked.status, &chunked.json()["sha256"]), (201, &told["sha256"]));
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
    let form = "Content-Type: multipart/form-data; boundary=\"b\"\r\n";
    let empty = post(&one, &token, "room=den&name=x", form, b"--b--");
    assert!(empty.status == 400 && empty.text().contains("curl -F"), "{empty:?}");
    let part =
        "--b\r\nContent-Disposition: form-data; name=f; filename=\"a/b.txt\"\r\nContent-Type: text/plain\r\n";
    let content = "x".repeat(100_000);
    let whole = post(&one, &token, "room=den", form, format!("{part}\r\n{content}\r\n--b--\r\n").as_bytes());
    let told = whole.json();
    assert_eq!((whole.status, &told["name"], &told["size"]), (201, &json!("b.txt"), &json!(content.len())));
    assert_eq!(get(&one, &token, told["file_id"].as_str().unwrap(), "").text(), content);
    let lines = format!("{part}\r\n{content}\r\n--b--\r\n").replace("\r\n", "\n");
    assert_eq!(post(&one, &token, "room=den", form, lines.as_bytes()).json()["sha256"], told["sha256"]);
    let packed = post(&one, &token, "room=den&name=x", "Content-Encoding: gzip\r\n", b"\x1f\x8b");
    assert_eq!(packed.status, 415, "{packed:?}");
    let cut = post(&one, &token, "room=den", form, format!("{part}\r\n{content}\r\n--b").as_bytes());
    assert_eq!(cut.status, 400, "{cut:?}");
    assert_eq!(post(&one, &token, "room=den", "", b"x").status, 400, "without a name");
    assert_eq!(get(&one, &token, "nothing", "").status, 400);
    assert_eq!(get(&one, &token, &"0".repeat(32), "").status, 404);
    let clients = &one.server().context().clients;
    // The last answer may come a moment before the session that gave it is forgotten.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
    while clients.all().len() > clients.len() {
        assert!(std::time::Instant::now() < deadline, "a local session was left behind");
        std::thread::yield_now();
    }
}

#[test]
fn a_post_may_bring_the_message_that_shows_it() {
    let one = OneServer::start(json!({}));
    let (mut alice, token) = person(&one, "alice");
    let (mut bob, other) = person(&one, "bob");
    ask(&mut alice, "create_join", json!({"room": "den"}));
    let told = post(&one, &token, "room=den&name=cat.png&post=1", "", b"miau").json();
    let named = post(&one, &token, "room=DEN&name=x&post=true&text=look+here", "", b"").json();
    assert_eq!((&told["seq"], &named["seq"]), (&json!(2), &json!(3)), "{told} {named}");
    assert_eq!(named["room"], "den");
    let form = "Content-Type: multipart/form-data; boundary=b\r\n";
    let field = "Content-Disposition: form-data; name=";
    let body = format!("--b\r\n{field}f; filename=y\r\n\r\n\r\n--b\r\n{field}text\r\n\r\nof a form\r\n--b--");
    for (query, seq) in [("room=den&post=1", 4), ("room=den&post=1&text=of+the+query", 5)] {
        let told = post(&one, &token, query, form, body.as_bytes()).json();
        assert_eq!((&told["seq"], &told["name"]), (&json!(seq), &json!("y")), "{told}");
    }
    let silent = post(&one, &token, "room=den&name=x&post=0", "", b"").json();
    assert!(silent.get("seq").is_none() && silent.get("room").is_none(), "{silent}");
    // No user has written to bob yet.
    let direct = post(&one, &token, "room=%40alice%2Cbob&name=x&post=1&text=hi", "", b"for bob").json();
    assert_eq!(direct["room"], "@alice,bob", "{direct}");
    assert_eq!(get(&one, &other, direct["file_id"].as_str().unwrap(), "").text(), "for bob");
    // The user may be named, too, in any case; and the conversation goes on.
    for (to, place) in [("BOB", 4), ("carol", 3)] {
        if to == "carol" {
            person(&one, to);
        }
        let direct = post(&one, &token, &format!("to={to}&name=x&post=1"), "", b"to a user").json();
        assert_eq!(direct["seq"], place, "{direct}");
        assert_eq!(get(&one, &token, direct["file_id"].as_str().unwrap(), "").text(), "to a user");
    }
    for query in ["to=nemo&name=x", "to=nemo&name=x&post=1", "room=%40alice%2Cnemo&name=x&post=1"] {
        let refused = post(&one, &token, query, "", b"x");
        assert_eq!(
            (refused.status, &refused.json()["error"]["reason"]),
            (404, &json!("there is no user nemo"))
        );
    }
    // So may it on lines.
    let begun = ask(&mut alice, "file_begin", json!({"to": "bob", "name": "y", "size": 0}));
    assert_eq!(begun["received"], 0, "{begun}");
    let history = ask_history(&mut alice, "den");
    let shown: Vec<_> = history.iter().filter(|event| event["kind"] == "message").collect();
    let texts: Vec<_> = shown.iter().map(|event| event["body"].as_str().unwrap()).collect();
    assert_eq!(texts, ["cat.png", "look here", "of a form", "of the query"]);
    assert_eq!(shown[0]["file"]["file_id"], told["file_id"]);
    assert_eq!(shown[0]["client_msg_id"], format!("file-{}", told["file_id"].as_str().unwrap()));
    // An upload that cannot be posted leaves no file behind.
    ask(&mut bob, "create_join", json!({"room": "den"}));
    ask(&mut alice, "mute", json!({"room": "den", "username": "bob"}));
    assert_eq!(post(&one, &other, "room=den&name=x&post=1", "", b"x").status, 403);
    assert_eq!(post(&one, &token, "room=den&name=x&post=yes", "", b"x").status, 400);
}

#[test]
fn of_many_uploads_at_a_time_all_succeed_or_are_told_to_come_again() {
    const MOST: usize = 16;
    let one = OneServer::start(json!({}));
    let (mut alice, token) = person(&one, "alice");
    ask(&mut alice, "create_join", json!({"room": "den"}));
    let head = format!(
        "POST /files?room=den&name=x HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\
         Content-Length: 5\r\nExpect: 100-continue\r\n\r\n"
    );
    let mut running: Vec<Http> = (0..MOST)
        .map(|_| {
            let mut http = Http::connect(one.port);
            http.send(&head);
            // The upload has begun.
            assert_eq!(http.head().status, 100);
            http
        })
        .collect();
    let mut one_too_many = Http::connect(one.port);
    one_too_many.send(&head);
    let told = one_too_many.answer();
    assert_eq!((told.status, &told.json()["error"]["code"]), (429, &json!("rate_limited")));
    assert_eq!(told.header("Retry-After"), "1");
    for http in &mut running {
        http.send("hello");
        assert_eq!(http.answer().status, 201);
    }
    assert_eq!(post(&one, &token, "room=den&name=x", "", b"later").status, 201);
}

/// The events of a room.
fn ask_history(client: &mut Client, room: &str) -> Vec<Value> {
    let history = json!({"msg_type": "history", "data": {"room": room}, "request_id": 2});
    client.send(&history.to_string());
    client.answer(2)["data"]["events"].as_array().expect("a history has events").clone()
}

#[test]
fn a_tool_that_sends_the_same_again_posts_once() {
    let one = OneServer::start_with_secret(json!({}));
    let (mut alice, _) = person(&one, "alice");
    ask(&mut alice, "create_join", json!({"room": "lobby"}));
    let hook = ask(&mut alice, "create_hook", json!({"room": "lobby", "username": "ci"}));
    let hook = hook["token"].as_str().expect("a webhook has a token");
    let mut http = Http::connect(one.port);
    for (more, text, status) in [
        ("", "a", 200),
        ("", "a", 200),
        ("Idempotency-Key: 1\r\n", "a", 200),
        ("Idempotency-Key: \"1\"\r\n", "a", 200),
        ("Idempotency-Key: 2\r\n", "a", 200),
        ("Idempotency-Key: 2\r\n", "b", 422),
        ("", "b", 200),
    ] {
        let body = json!({ "text": text }).to_string();
        let length = body.len();
        http.send(&format!(
            "POST /hooks/{hook} HTTP/1.1\r\nHost: a\r\n{more}Content-Length: {length}\r\n\r\n{body}"
        ));
        assert_eq!(http.answer().status, status, "{more}{text}");
    }
    // The same in another wrapping.
    let form = "payload=%7B%22text%22%3A+%22b%22%7D";
    let length = form.len();
    http.send(&format!("POST /hooks/{hook} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{form}"));
    assert_eq!(http.answer().status, 200);
    let history = ask_history(&mut alice, "lobby");
    let bodies: Vec<_> = history.iter().filter_map(|event| event["body"].as_str()).collect();
    assert_eq!(bodies, ["a", "a", "a", "b"]);
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
    // The formats of all kinds of senders; also an address with a slash at its end.
    let long: String = (0..3_000).map(|line| format!("line {line}\n")).collect();
    for (more, body) in [
        (
            "Content-Type: application/x-www-form-urlencoded",
            "payload=%7B%22text%22%3A%22a+form%22%7D".to_owned(),
        ),
        (
            "X: caf\u{e9}",
            r#"{"blocks":[{"type":"header","text":{"type":"plain_text","text":"a block"}}]}"#.into(),
        ),
        ("X: y", json!({"text": long}).to_string()),
    ] {
        let chunk = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
        http.send(&format!(
            "POST /hooks/{hook}/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n{more}\r\n\r\n{chunk}"
        ));
        let answer = http.answer();
        assert_eq!((answer.status, answer.text()), (200, "ok"), "{body:.100}");
    }
    let events = ask_history(&mut alice, "lobby");
    let said = events.iter().find(|event| event["kind"] == "message").expect("the tool has spoken");
    assert_eq!(said["body"], "build 7 (https://ci/7) works");
    let bodies: Vec<&str> = events.iter().filter_map(|event| event["body"].as_str()).collect();
    assert!(bodies.contains(&"a form") && bodies.contains(&"a block"));
    assert_eq!(bodies[bodies.len() - 2..].join("\n"), long.trim_end(), "in two messages");
    assert_eq!((said["author"].as_str(), said["display_name"].as_str()), (Some("ci"), Some("CI")));
}
