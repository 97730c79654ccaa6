//! The dashboard: who may see it, and what it tells.

use std::time::Instant;

use serde_json::{Value, json};

use crate::{
    http_client::{Answer, Http},
    metrics::add_account,
    one_server::{OneServer, PATIENCE},
};

/// A user who is not at the server's machine.
const ELSEWHERE: &str = "Host: chat.example\r\nX-Forwarded-For: 192.0.2.7\r\n";

fn send(port: u16, method: &str, path: &str, headers: &str, body: &str) -> Answer {
    let mut http = Http::connect(port);
    let length = body.len();
    http.send(&format!("{method} {path} HTTP/1.1\r\n{headers}Content-Length: {length}\r\n\r\n{body}"));
    http.answer()
}

fn get(port: u16, path: &str, headers: &str) -> Answer {
    send(port, "GET", path, headers, "")
}

/// Logs a user in from another machine.
fn log_in(port: u16, name: &str, password: &str) -> Answer {
    let form = json!({"username": name, "password": password}).to_string();
    send(port, "POST", "/dashboard/login", ELSEWHERE, &form)
}

/// What the dashboard tells, once it fulfils `condition`.
fn board(port: u16, condition: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = get(port, "/dashboard/data", "Host: localhost\r\n");
        assert_eq!(answer.status, 200, "{answer:?}");
        let board = answer.json();
        if condition(&board) {
            return board;
        }
        assert!(Instant::now() < deadline, "{board}");
    }
}

#[test]
fn it_is_open_at_the_servers_machine_and_tells_how_the_cluster_is() {
    let one = OneServer::start(json!({}));
    let page = get(one.port, "/dashboard", "Host: localhost\r\n");
    assert_eq!(page.status, 200);
    assert!(page.text().contains("content=\"here\""), "{page:?}");
    let policy = page.header("Content-Security-Policy");
    assert!(policy.contains("require-trusted-types-for 'script'") && !policy.contains("unsafe"), "{policy}");
    let script = page.text().split("src=\"").nth(1).unwrap().split('"').next().unwrap();
    assert_eq!(get(one.port, script, "Host: localhost\r\n").status, 200, "{script}");
    assert!(
        !get(one.port, "/", "Host: localhost\r\n").text().contains("/dashboard/"),
        "the chat loads none of it"
    );

    let told =
        board(one.port, |board| board["servers"][0]["role"] == "LEADER" && board["samples"][0].is_object());
    let row = &told["servers"][0];
    assert_eq!(
        (&told["leader_id"], &row["server_id"], &row["lag"]),
        (&json!("only"), &json!("only"), &json!(0))
    );
    for number in ["term", "applied_index", "commit_index", "uptime_ms", "data_bytes", "disk_bytes"] {
        assert!(row[number].as_u64() > Some(0), "{number}: {row}");
    }
    // The disk of the test machine may be full; warnings about that do not count.
    let warnings = told["warnings"].as_array().unwrap();
    let others = warnings.iter().filter(|one| !one["text"].as_str().unwrap().starts_with("The disk of"));
    assert_eq!(others.count(), 0, "{told}");
    assert_eq!(told["elections"][0]["leader_id"], "only");
    assert!(told["elections"][0]["cause"].is_string(), "{told}");
    assert_eq!(told["samples"][0]["servers"]["only"]["clients"], 0);
    let last = told["samples"].as_array().unwrap().last().unwrap()["at_ms"].clone();
    let newer = get(one.port, &format!("/dashboard/data?since={last}"), "Host: localhost\r\n");
    assert_eq!(newer.json()["samples"], json!([]));
}

#[test]
fn from_elsewhere_an_administrator_enters_with_a_cookie() {
    let one = OneServer::start_with_secret(json!({}));
    let port = one.port;
    add_account(&one, "root", &["--admin"]);
    add_account(&one, "user", &[]);
    for headers in [ELSEWHERE, "Host: localhost\r\nVia: 1.1 a\r\n", "Host: stranger.example\r\n"] {
        let page = get(port, "/dashboard", headers);
        assert_eq!(page.status, 403, "{headers}");
        let text = page.text();
        assert!(
            text.contains("only administrators may see the cluster") && text.contains("content=\"closed\"")
        );
        assert_eq!(get(port, "/dashboard/data", headers).status, 403, "{headers}");
        assert!(!page.has("Set-Cookie"));
    }
    assert_eq!(log_in(port, "user", "long enough").status, 403);
    assert_eq!(log_in(port, "root", "wrong and long").status, 401);
    assert_eq!(log_in(port, "guest", "").status, 400);
    let entered = log_in(port, "root", "long enough");
    assert_eq!(entered.status, 200);
    let cookie = entered.header("Set-Cookie").to_owned();
    let (pair, flags) = cookie.split_once("; ").unwrap();
    for flag in ["HttpOnly", "SameSite=Strict", "Path=/dashboard"] {
        assert!(flags.split("; ").any(|given| given == flag), "{cookie}");
    }
    let with_cookie = format!("{ELSEWHERE}Cookie: other=1; {pair}\r\n");
    assert!(get(port, "/dashboard", &with_cookie).text().contains("content=\"entered\""));
    assert_eq!(get(port, "/dashboard/data", &with_cookie).status, 200);
    let forged = format!("{ELSEWHERE}Cookie: {}x\r\n", &pair[..pair.len() - 1]);
    assert_eq!(get(port, "/dashboard/data", &forged).status, 403);
    // A page of another site can not act for them.
    let foreign = format!("{with_cookie}Origin: https://stranger.example\r\n");
    assert_eq!(send(port, "POST", "/dashboard/logout", &foreign, "").status, 403);
    let left = send(port, "POST", "/dashboard/logout", &with_cookie, "");
    assert_eq!(left.status, 200);
    assert!(left.header("Set-Cookie").contains("Max-Age=0"), "{left:?}");
    assert_eq!(get(port, "/dashboard/data", &with_cookie).status, 403, "the session has ended");
}
