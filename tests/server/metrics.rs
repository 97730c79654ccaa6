//! Metrics: what they show, and to whom.

use std::{
    io::Write,
    process::{Command, Stdio},
    time::Instant,
};

use serde_json::json;

use crate::{
    http_client::Http,
    one_server::{Client, OneServer, PATIENCE, write_secret},
    support_metrics::{Series, parse, text},
};

fn series(port: u16) -> Series {
    parse(&text(port).unwrap())
}

/// Waits until a series of the server fulfils `condition`.
fn wait_for(port: u16, name: &str, condition: impl Fn(f64) -> bool) -> f64 {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let value = series(port)[name];
        if condition(value) {
            return value;
        }
        assert!(Instant::now() < deadline, "{name} stays {value}");
    }
}

/// Waits until all places are free.
fn empty(one: &OneServer) {
    while !one.server().context().clients.is_empty() {
        std::thread::yield_now();
    }
}

fn ask(client: &mut Client, msg_type: &str, data: serde_json::Value, number: u64) -> serde_json::Value {
    client.send(&json!({"msg_type": msg_type, "data": data, "request_id": number}).to_string());
    client.answer(number)
}

#[test]
fn prometheus_takes_what_it_is_shown() {
    let one = OneServer::start(json!({}));
    let mut http = Http::connect(one.port);
    let answer = http.get("/metrics");
    assert_eq!(answer.status, 200);
    assert!(answer.header("Content-Type").starts_with("text/plain; version=0.0.4"), "{answer:?}");
    http.send("POST /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(http.answer().status, 405);
    let promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut promtool = match promtool {
        Ok(promtool) => promtool,
        Err(_) if std::env::var("CI").as_deref() != Ok("true") => {
            eprintln!("!!! PASSED OVER: promtool is not installed: apt-get install prometheus");
            return;
        }
        Err(error) => panic!("promtool: {error}; install Debian's package prometheus"),
    };
    promtool.stdin.take().unwrap().write_all(&answer.body).unwrap();
    let checked = promtool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert!(checked.status.success() && said.is_empty(), "{said}");
}

#[test]
fn every_series_is_there_before_anything_happens() {
    let one = OneServer::start(json!({}));
    // States are updated a few times a second.
    wait_for(one.port, "syncnet_leader", |leads| leads == 1.0);
    let shown = series(one.port);
    for zero in [
        "syncnet_handovers_total",
        "syncnet_quarantines_total",
        "syncnet_damage_found_total",
        "syncnet_repaired_rows_total",
        "syncnet_messages_total",
        "syncnet_connections_refused_total",
        "syncnet_peer_messages_dropped_total",
        "syncnet_elections_total{cause=\"leader_died\"}",
        "syncnet_elections_total{cause=\"leader_silent\"}",
        "syncnet_elections_total{cause=\"handover\"}",
        "syncnet_elections_total{cause=\"timeout\"}",
        "syncnet_commands_total{outcome=\"refused\"}",
        "syncnet_commands_total{outcome=\"repeated\"}",
        "syncnet_refusals_total{code=\"rate_limited\"}",
        "syncnet_refusals_total{code=\"unavailable\"}",
        "syncnet_connections{dialect=\"websocket\"}",
        "syncnet_queue_depth{queue=\"clients\"}",
        "syncnet_queue_depth{queue=\"fan_out\"}",
    ] {
        assert_eq!(shown.get(zero), Some(&0.0), "{zero}");
    }
    let version = format!("syncnet_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
    for (one, value) in [(version.as_str(), 1.0), ("syncnet_leader", 1.0), ("syncnet_has_leader", 1.0)] {
        assert_eq!(shown.get(one), Some(&value), "{one}");
    }
    assert_eq!(
        shown["syncnet_elections_total{cause=\"start\"}"]
            + shown["syncnet_elections_total{cause=\"timeout\"}"],
        1.0
    );
    for more in [
        "syncnet_term",
        "syncnet_applied_index",
        "syncnet_commit_index",
        "syncnet_last_log_index",
        "syncnet_database_bytes",
        "syncnet_log_bytes",
        "syncnet_disk_size_bytes",
        "syncnet_disk_free_bytes",
        "syncnet_log_sync_seconds_count",
        "process_start_time_seconds",
        "process_cpu_seconds_total",
    ] {
        assert!(shown[more] > 0.0, "{more}: {}", shown[more]);
    }
    #[cfg(target_os = "linux")]
    for more in ["process_resident_memory_bytes", "process_open_fds", "process_max_fds"] {
        assert!(shown[more] > 0.0, "{more}: {}", shown[more]);
    }
}

#[test]
fn what_happens_is_counted() {
    let one = OneServer::start(json!({}));
    let before = series(one.port);
    let mut client = one.client();
    client.send(r#"{"msg_type":"create_join","sender_id":"alice","data":{"room":"lobby"},"request_id":0}"#);
    client.answer(0);
    let message = json!({"room": "lobby", "body": "hello", "client_msg_id": "1"});
    for number in 1..=3 {
        assert_eq!(ask(&mut client, "chat", message.clone(), number)["msg_type"], "ack");
    }
    assert_eq!(ask(&mut client, "history", json!({"room": "nowhere"}), 4)["data"]["code"], "not_found");
    assert_eq!(ask(&mut client, "nonsense", json!({}), 5)["data"]["code"], "unknown_type");
    // States are updated a few times a second.
    wait_for(one.port, "syncnet_stored_messages", |count| count == 1.0);
    wait_for(one.port, "syncnet_clients", |count| count == 1.0);
    let after = series(one.port);
    let grown = |name: &str| after[name] - before[name];
    assert_eq!(grown("syncnet_messages_total"), 1.0);
    assert_eq!(grown("syncnet_commands_total{outcome=\"repeated\"}"), 2.0);
    assert_eq!(grown("syncnet_commands_total{outcome=\"done\"}"), 2.0);
    assert_eq!(grown("syncnet_proposals_total"), 4.0);
    assert_eq!(grown("syncnet_commit_latency_seconds_count"), 4.0);
    assert!(grown("syncnet_log_sync_seconds_count") >= 1.0);
    assert_eq!(grown("syncnet_refusals_total{code=\"not_found\"}"), 1.0);
    assert_eq!(grown("syncnet_refusals_total{code=\"unknown_type\"}"), 1.0);
    wait_for(one.port, "syncnet_connections{dialect=\"json_lines\"}", |count| count == 1.0);
    // The connection of the request itself.
    wait_for(one.port, "syncnet_connections{dialect=\"http\"}", |count| count == 1.0);

    let port = one.port;
    drop(client);
    wait_for(port, "syncnet_connections{dialect=\"json_lines\"}", |count| count == 0.0);
    let mut http = Http::connect(port);
    http.send("GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: upgrade\r\n");
    http.send("Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
    assert_eq!(http.head().status, 101);
    wait_for(port, "syncnet_connections{dialect=\"websocket\"}", |count| count == 1.0);
    drop(http);
    wait_for(port, "syncnet_connections{dialect=\"websocket\"}", |count| count == 0.0);
}

#[test]
fn those_who_are_turned_away_are_counted() {
    let one = OneServer::start(json!({"connections": 5, "connections_reserved": 0}));
    empty(&one);
    let mut places: Vec<Client> = (0..5).map(|_| one.client()).collect();
    for client in &mut places {
        client.send(r#"{"msg_type":"ping"}"#);
        assert_eq!(client.read()["msg_type"], "pong");
    }
    assert_eq!(one.client().read()["data"]["code"], "overloaded");
    drop(places);
    empty(&one);
    let counted = series(one.port);
    assert_eq!(counted["syncnet_connections_refused_total"], 1.0);
    assert!(counted["syncnet_refusals_total{code=\"overloaded\"}"] >= 1.0);
}

/// Makes an account, as the operator.
pub fn add_account(one: &OneServer, name: &str, flags: &[&str]) {
    let mut admin = Command::new(env!("CARGO_BIN_EXE_syncnet-admin"))
        .args(["user", "add", name, "--password-stdin", "--servers", &format!("127.0.0.1:{}", one.port)])
        .arg("--secret-file")
        .arg(one.folder.path().join("cluster.secret"))
        .args(flags)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    admin.stdin.take().unwrap().write_all(b"long enough\n").unwrap();
    assert!(admin.wait().unwrap().success());
}

/// The answer to a request for the metrics with these headers.
fn status(port: u16, headers: &str) -> u16 {
    let mut http = Http::connect(port);
    http.send(&format!("GET /metrics HTTP/1.1\r\n{headers}\r\n"));
    http.answer().status
}

#[test]
fn others_than_this_machine_need_a_token() {
    let folder = tempfile::tempdir().unwrap();
    let token_file = folder.path().join("metrics.token");
    write_secret(&token_file);
    let token = "0123456789abcdef".repeat(4);
    let one = OneServer::start_with_secret(json!({"metrics": {"token_file": token_file}}));
    let port = one.port;
    assert_eq!(status(port, "Host: localhost\r\n"), 200);
    assert_eq!(status(port, &format!("Host: 127.0.0.1:{port}\r\n")), 200);
    // A proxy on this machine that is not trusted, and the page of a foreign site whose name resolves to this
    // machine.
    for headers in [
        "Host: localhost\r\nX-Forwarded-For: 127.0.0.1\r\n",
        "Host: localhost\r\nForwarded: for=192.0.2.1\r\n",
        "Host: localhost\r\nX-Real-IP: 192.0.2.1\r\n",
        "Host: localhost\r\nVia: 1.1 proxy\r\n",
        "Host: stranger.example\r\n",
    ] {
        assert_eq!(status(port, headers), 401, "{headers}");
        assert_eq!(status(port, &format!("{headers}Authorization: Bearer nonsense\r\n")), 401, "{headers}");
        assert_eq!(status(port, &format!("{headers}Authorization: Bearer {token}\r\n")), 200, "{headers}");
    }
    add_account(&one, "root", &["--admin"]);
    add_account(&one, "user", &[]);
    for (name, expected) in [("root", 200), ("user", 403)] {
        let mut client = one.client();
        let login = json!({"username": name, "password": "long enough"});
        let answer = ask(&mut client, "login", login, 1);
        let token = answer["data"]["token"].as_str().unwrap_or_else(|| panic!("{answer}"));
        let headers = format!("Host: stranger.example\r\nAuthorization: Bearer {token}\r\n");
        assert_eq!(status(port, &headers), expected, "{name}");
    }
}

#[test]
fn a_trusted_proxy_says_where_people_are() {
    let one = OneServer::start_with(json!({"http": {"trusted_proxies": ["127.0.0.1"]}}));
    assert_eq!(status(one.port, "Host: localhost\r\n"), 200);
    assert_eq!(status(one.port, "Host: localhost\r\nX-Forwarded-For: 192.0.2.1\r\n"), 401);
}

#[test]
fn a_port_of_their_own_has_the_metrics_and_nothing_else() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut one = OneServer::start_with(json!({"metrics": {"listen": format!("127.0.0.1:{port}")}}));
    assert!(one.server().listening().contains(&format!("127.0.0.1:{port} (metrics)")));
    assert_eq!(status(port, "Host: stranger.example\r\nX-Forwarded-For: 192.0.2.1\r\n"), 200);
    assert_eq!(series(port)["syncnet_leader"], 1.0);
    for (request, status) in [
        ("GET /api/status HTTP/1.1\r\nHost: a\r\n\r\n", 404),
        ("POST /metrics HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        ("nonsense\r\n\r\n", 400),
    ] {
        let mut http = Http::connect(port);
        http.send(request);
        assert_eq!(http.answer().status, status, "{request}");
        assert!(http.is_closed());
    }
    // A silent client delays nothing, not even the end.
    let silent: Vec<Http> = (0..20).map(|_| Http::connect(port)).collect();
    assert_eq!(one.stop(), Vec::<String>::new());
    drop(silent);
}
