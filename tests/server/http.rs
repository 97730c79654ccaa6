//! HTTP on the client port.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::{
    http_client::Http,
    one_server::{OneServer, PATIENCE},
};

#[test]
fn every_route_answers_on_one_connection() {
    let one = OneServer::start(json!({}));
    let mut http = Http::connect(one.port);
    let health = http.get("/healthz");
    assert_eq!((health.status, health.text()), (200, "ok\n"));
    let ready = http.get("/readyz");
    assert_eq!(ready.status, 200, "{ready:?}");
    assert_eq!(
        ready.json(),
        json!({"ready": true, "layers": {"started": true, "leader": true, "caught_up": true}})
    );
    let status = http.get("/api/status").json();
    assert_eq!((status["role"].as_str(), status["server_id"].as_str()), (Some("leader"), Some("only")));
    assert!(status["applied_index"].as_u64().unwrap() > 0 && status["version"].is_string());
    let home = http.get("/");
    assert!(home.text().contains(&format!("content=\"only localhost {}\"", one.port)), "{home:?}");
    assert!(
        home.header("Content-Security-Policy").contains("require-trusted-types-for 'script'"),
        "{home:?}"
    );
    for path in ["/files", "/healthz/", "/../etc/passwd", "/%2e%2e", "/nowhere?x=y"] {
        let answer = http.get(path);
        assert!(matches!(answer.status, 404 | 405), "{path}: {answer:?}");
    }
    let ws = http.get("/ws");
    assert_eq!((ws.status, ws.header("Upgrade")), (426, "websocket"));
}

#[test]
fn heads_options_and_wrong_methods() {
    let one = OneServer::start(json!({}));
    let mut http = Http::connect(one.port);
    http.send("HEAD /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
    let head = http.head();
    assert_eq!((head.status, head.header("Content-Length")), (200, "3"));
    http.send("OPTIONS /healthz HTTP/1.1\r\nHost: a\r\n\r\nOPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(http.answer().header("Allow"), "GET, HEAD, OPTIONS");
    assert_eq!(http.answer().status, 200);
    for method in ["POST", "PUT", "DELETE", "PATCH", "TRACE"] {
        http.send(&format!("{method} /healthz HTTP/1.1\r\nHost: a\r\n\r\n"));
        let answer = http.answer();
        assert_eq!((answer.status, answer.header("Allow")), (405, "GET, HEAD, OPTIONS"));
    }
    http.send("HEAD /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\n");
    http.send("Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
    assert_eq!(http.head().status, 426);
    assert_eq!(http.get("/healthz").status, 200);
}

#[test]
fn requests_may_come_together_or_byte_by_byte() {
    let one = OneServer::start(json!({}));
    let mut http = Http::connect(one.port);
    http.send(&"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n".repeat(50));
    for _ in 0..50 {
        assert_eq!(http.answer().status, 200);
    }
    for byte in b"\r\nGET /healthz HTTP/1.1\r\nHost: a\r\n\r\n" {
        http.send_bytes(&[*byte]).unwrap();
    }
    assert_eq!(http.answer().status, 200);
    let mut fresh = Http::connect(one.port);
    for byte in b"\r\n\r\nGET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" {
        fresh.send_bytes(&[*byte]).unwrap();
    }
    assert_eq!(fresh.answer().header("Connection"), "close");
    assert!(fresh.is_closed());
}

#[test]
fn connections_end_where_they_should() {
    let one = OneServer::start_with(json!({"http": {"requests_per_connection": 3}}));
    let mut http = Http::connect(one.port);
    http.get("/healthz");
    http.get("/healthz");
    assert_eq!(http.get("/healthz").header("Connection"), "close");
    assert!(http.is_closed());
    let mut old = Http::connect(one.port);
    old.send("GET /healthz HTTP/1.0\r\n\r\n");
    assert_eq!(old.answer().status, 200);
    assert!(old.is_closed());
    // A body that the server does not want must not be taken for the next request.
    let mut smuggler = Http::connect(one.port);
    smuggler.send("POST /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 41\r\n\r\n");
    smuggler.send("GET /api/status HTTP/1.1\r\nHost: a\r\n\r\n....");
    let answer = smuggler.answer();
    assert_eq!((answer.status, answer.header("Connection")), (405, "close"));
    assert!(smuggler.is_closed());
    // A client that closes its sending half still gets the answer.
    let mut half = Http::connect(one.port);
    half.send("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
    half.close_half();
    assert_eq!(half.answer().status, 200);
    assert!(half.is_closed());
}

#[test]
fn what_can_be_smuggled_is_refused_and_ends_the_connection() {
    let one = OneServer::start(json!({}));
    let inner = "GET /api/status HTTP/1.1\r\nHost: a\r\n\r\n";
    for (head, status) in [
        ("GET /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        ("GET /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 38\r\n\r\n", 400),
        ("GET /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 0,38\r\n\r\n", 400),
        ("GET /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: +0\r\n\r\n", 400),
        ("GET /healthz HTTP/1.1\r\nHost: a\r\nContent-Length : 38\r\n\r\n", 400),
        ("GET /healthz HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \u{b}chunked\r\n\r\n", 400),
        ("GET /healthz HTTP/1.1\r\nHost: a\r\nX: y\r\n folded\r\n\r\n", 400),
        ("GET /healthz HTTP/1.1\r\nHost: a\r\nX: y\n\r\n", 400),
        ("GET /healthz HTTP/1.1\nHost: a\n\n", 400),
        ("GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        ("GET /healthz HTTP/1.1\r\n\r\n", 400),
        ("GET / x HTTP/1.1\r\nHost: a\r\n\r\n", 505),
        ("CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET /healthz HTTP/3.0\r\nHost: a\r\n\r\n", 505),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    ] {
        let mut http = Http::connect(one.port);
        // The server may have ended the connection before all is sent.
        let _ = http.send_bytes(format!("{head}{inner}").as_bytes());
        let answer = http.answer();
        assert_eq!((answer.status, answer.header("Connection")), (status, "close"), "{head:?}");
        assert!(http.is_closed(), "{head:?}");
    }
}

#[test]
fn heads_that_are_too_long_or_too_many_are_refused() {
    let one = OneServer::start(json!({}));
    let long = "x".repeat(17 * 1024);
    for (text, status) in [
        (format!("GET /{long}"), 414),
        (format!("GET / HTTP/1.1\r\nHost: a\r\nX: {long}"), 431),
        (format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "x: y\r\n".repeat(64)), 431),
    ] {
        let mut http = Http::connect(one.port);
        let _ = http.send_bytes(text.as_bytes());
        assert_eq!(http.answer().status, status);
        assert!(http.is_closed());
    }
    let mut http = Http::connect(one.port);
    http.send(&format!("GET /healthz HTTP/1.1\r\nHost: a\r\n{}\r\n", "x: y\r\n".repeat(63)));
    assert_eq!(http.answer().status, 200);
}

#[test]
fn the_slow_are_told_and_the_idle_are_closed() {
    let one = OneServer::start_with(json!({"http": {"head_ms": 400, "idle_ms": 400, "keep_alive_ms": 400}}));
    let mut slow = Http::connect(one.port);
    slow.get("/healthz");
    let begun = Instant::now();
    // One byte after the other, for ever: the limit is for the whole head.
    for byte in b"GET /healthz HTTP/1.1\r\nHost: a\r\nX: ".iter().chain(std::iter::repeat(&b'y')) {
        if slow.send_bytes(&[*byte]).is_err() || begun.elapsed() > Duration::from_secs(3) {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(slow.answer().status, 408);
    let mut idle = Http::connect(one.port);
    idle.get("/healthz");
    let begun = Instant::now();
    assert!(idle.is_closed(), "an idle connection is closed without a word");
    assert!(begun.elapsed() < PATIENCE / 2);
}

#[test]
fn the_first_request_has_ten_seconds() {
    let one = OneServer::start(json!({}));
    let mut half = Http::connect(one.port);
    let mut dribble = Http::connect(one.port);
    let begun = Instant::now();
    half.send("GET /healthz HTTP/1.1\r\nHost: a\r\n");
    while begun.elapsed() < Duration::from_secs(9) {
        dribble.send(if begun.elapsed() < Duration::from_secs(1) { "GET /" } else { "x" });
        std::thread::sleep(Duration::from_millis(500));
    }
    assert_eq!(half.answer().status, 408);
    assert_eq!(dribble.answer().status, 408);
    assert!(begun.elapsed() >= Duration::from_secs(9));
    assert!(half.is_closed() && dribble.is_closed());
}

#[test]
fn a_method_with_a_tab_behind_it_is_answered_in_http() {
    let one = OneServer::start(json!({}));
    for line in ["GET\t/ HTTP/1.1", "PROPFIND\t/ HTTP/1.1"] {
        let mut http = Http::connect(one.port);
        http.send(&format!("{line}\r\nHost: a\r\n\r\n"));
        assert_eq!(http.answer().status, 400, "{line}");
        assert!(http.is_closed());
    }
}

#[test]
fn bodies_in_chunks_are_read_strictly() {
    let one = OneServer::start(json!({}));
    let head = "POST /hooks/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut http = Http::connect(one.port);
    // What follows the last chunk is the next request.
    http.send(&format!("{head}1\r\n{{\r\n1;x=y\r\n}}\r\n0\r\nX: y\r\n\r\n"));
    let answer = http.answer();
    assert_eq!((answer.status, answer.text()), (400, "no_text"));
    assert_eq!(http.get("/healthz").status, 200);
    for body in ["2\r\n{}0\r\n\r\n", "2\n{}\r\n0\r\n\r\n", "0x2\r\n{}\r\n0\r\n\r\n"] {
        let mut http = Http::connect(one.port);
        http.send(&format!("{head}{body}"));
        let answer = http.answer();
        assert_eq!(
            (answer.status, answer.json()["error"]["code"].as_str()),
            (400, Some("bad_request")),
            "{body}"
        );
        assert!(http.is_closed(), "{body}");
    }
    // An early end.
    let mut http = Http::connect(one.port);
    http.send(&format!("{head}5\r\n{{\"te"));
    http.close_half();
    assert_eq!(http.answer().status, 400);
    let mut http = Http::connect(one.port);
    http.send("POST /hooks/x HTTP/1.1\r\nHost: a\r\nContent-Length: 50\r\n\r\n{\"te");
    http.close_half();
    let answer = http.answer();
    assert_eq!((answer.status, answer.json()["error"]["code"].as_str()), (400, Some("bad_request")));
    // One that never ends.
    let mut http = Http::connect(one.port);
    http.send(head);
    let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
    while http.send_bytes(chunk.as_bytes()).is_ok() && !http.has_answer() {}
    assert_eq!(http.answer().status, 413);
}

#[test]
fn an_unknown_method_is_http_all_the_same() {
    let one = OneServer::start(json!({}));
    let mut http = Http::connect(one.port);
    http.send("PROPFIND / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(http.answer().status, 501);
}

#[test]
fn a_server_that_stops_says_so_to_a_balancer_first() {
    let one = OneServer::start_with(json!({"http": {"leaving_ms": 2_000}}));
    let mut http = Http::connect(one.port);
    assert_eq!(http.get("/readyz").status, 200);
    let stopping = std::thread::spawn(move || drop(one));
    loop {
        let answer = http.get("/readyz");
        if answer.status == 503 {
            assert!(answer.text().contains("stopping"), "{answer:?}");
            break;
        }
    }
    stopping.join().unwrap();
}

#[test]
fn a_trusted_proxy_says_where_the_client_is() {
    let sections = json!({
        "limits": {"connections_per_address": 2}, "http": {"trusted_proxies": ["127.0.0.0/8"]}
    });
    let one = OneServer::start_with(sections);
    let clients = &one.server().context().clients;
    let mut lines = Vec::new();
    for (header, may) in [
        ("PROXY TCP4 203.0.113.1 127.0.0.1 1 2\r\n", true),
        ("PROXY TCP4 203.0.113.1 127.0.0.1 3 2\r\n", true),
        ("PROXY TCP4 203.0.113.1 127.0.0.1 4 2\r\n", false),
        ("PROXY TCP4 203.0.113.2 127.0.0.1 4 2\r\n", true),
        ("PROXY UNKNOWN\r\n", true),
        ("", true),
    ] {
        let mut client = one.client();
        client.send_bytes(header.as_bytes()).unwrap();
        client.send(
            &json!({"msg_type": "ping", "sender_id": "first", "data": {}, "request_id": 1}).to_string(),
        );
        let answer = client.read();
        assert_eq!(answer["msg_type"] == "pong", may, "{header:?}: {answer}");
        lines.push(client);
    }
    drop(lines);
    while !clients.is_empty() {
        std::thread::yield_now();
    }
    // After it, HTTP works as before, and other dialects, too.
    let mut http = Http::connect(one.port);
    http.send("PROXY TCP4 203.0.113.1 127.0.0.1 1 2\r\nGET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(http.answer().status, 200);
    let mut http = Http::connect(one.port);
    http.send("PROXY nonsense\r\nGET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(http.rest().contains("PROXY protocol"));
}

#[test]
fn who_has_too_many_web_sockets_behind_a_proxy_is_told_so_in_http() {
    let one = OneServer::start_with(json!({
        "limits": {"connections_per_address": 1}, "http": {"trusted_proxies": ["127.0.0.0/8"]}
    }));
    let ask = |addr: &str| {
        let mut http = Http::connect(one.port);
        http.send(&format!(
            "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-Forwarded-For: {addr}\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
        ));
        http
    };
    let mut first = ask("203.0.113.1");
    assert_eq!(first.head().status, 101);
    let mut second = ask("203.0.113.1");
    let answer = second.answer();
    assert_eq!((answer.status, answer.json()["error"]["code"].as_str()), (503, Some("overloaded")));
    assert_eq!((answer.header("Connection"), answer.header("Retry-After")), ("close", "1"));
    assert_eq!(second.rest(), "");
    assert_eq!(ask("203.0.113.2").head().status, 101);
}

#[test]
fn files_and_hooks_are_asked_for_as_requests() {
    let one = OneServer::start_with(json!({"http": {"idle_ms": 500}}));
    let mut http = Http::connect(one.port);
    http.send("POST /files?room=lobby&name=x HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    let answer = http.answer();
    assert_eq!((answer.status, answer.json()["error"]["code"].as_str()), (401, Some("not_authenticated")));
    assert!(answer.header("WWW-Authenticate").starts_with("Bearer"));
    // A refusal of the replica is sent as it is, before the body is asked for.
    http.send("POST /files?room=lobby&name=x HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer nonsense\r\n");
    http.send("Content-Length: 1000000\r\nExpect: 100-continue\r\n\r\n");
    let answer = http.answer();
    assert!(matches!(answer.status, 400 | 401), "{answer:?}");
    assert!(answer.json()["error"]["reason"].is_string());
    assert!(http.is_closed());
    let mut http = Http::connect(one.port);
    http.send("GET /files/00 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(http.answer().status, 401);
    // A client that waits for permission to send its body gets it.
    http.send("POST /hooks/x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(http.head().status, 100);
    http.send("{}");
    let answer = http.answer();
    assert_eq!((answer.status, answer.text()), (400, "no_text"));
    http.send("POST /hooks/x HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\n\r\n{\"text\":\"a\"}");
    let answer = http.answer();
    assert!(answer.status >= 400 && !answer.has("Connection"), "{answer:?}");
    http.send("POST /hooks/x HTTP/1.1\r\nHost: a\r\nContent-Length: 1100000\r\n\r\n");
    assert_eq!(http.answer().status, 413);
    assert!(http.is_closed());
    // Half a body.
    let mut http = Http::connect(one.port);
    http.send("POST /hooks/x HTTP/1.1\r\nHost: a\r\nContent-Length: 20\r\n\r\n{\"text\"");
    assert_eq!(http.answer().status, 408);
    assert!(http.is_closed());
}

#[test]
fn connections_of_http_count() {
    let one = OneServer::start(json!({"connections": 2, "connections_reserved": 0}));
    while !one.server().context().clients.is_empty() {
        std::thread::yield_now();
    }
    let mut seated = [Http::connect(one.port), Http::connect(one.port)];
    for http in &mut seated {
        // A local session, which this request opens, takes no place of its own.
        assert_eq!(http.get("/readyz").status, 200);
    }
    let mut third = one.client();
    assert_eq!(third.read_nack(), "overloaded");
    assert_eq!(one.server().context().clients.len(), 2);
    assert_eq!(one.server().context().clients.all().len(), 2, "a local session is closed when it is done");
}
