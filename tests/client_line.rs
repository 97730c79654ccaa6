//! The terminal client in scripts: the real program against scripted servers on free ports.
//!
//! The servers share one set of rooms, as a cluster does, so a client can be moved from one to another, and
//! everything that it was told can be checked at the end.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    net::{Shutdown, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Output, Stdio},
    sync::Arc,
    thread,
};

use parking_lot::{Condvar, Mutex};
use serde_json::{Value, json};

/// The servers' shared state, and what they are told to do.
#[derive(Default)]
struct Cluster {
    /// The messages, as (room, client_msg_id, body), in their order.
    messages: Vec<(String, String, String)>,
    /// Requests to answer with this refusal, by msg_type: code and how many times.
    refuse: BTreeMap<String, (String, u32)>,
    /// Close the connection instead of acknowledging the message with this number, once it is stored.
    hang_up_after: Option<usize>,
    /// The fields of each login.
    logins: Vec<String>,
    /// The messages that were edited.
    edits: Vec<Value>,
    /// There are more rooms behind the first.
    has_more_rooms: bool,
    /// The fields of each change of an account.
    administered: Vec<(String, Value)>,
    /// Close the connection instead of answering the next change.
    hang_up_on_change: bool,
    /// From then on every login is refused for load.
    stays_down: bool,
    /// Open connections, to be cut.
    streams: Vec<TcpStream>,
    /// Where each server listens.
    ports: Vec<u16>,
}

struct Servers {
    cluster: Arc<(Mutex<Cluster>, Condvar)>,
}

impl Servers {
    fn start(count: usize) -> Servers {
        let cluster = Arc::new((Mutex::new(Cluster::default()), Condvar::new()));
        for number in 1..=count {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            cluster.0.lock().ports.push(listener.local_addr().unwrap().port());
            let cluster = cluster.clone();
            thread::spawn(move || {
                for stream in listener.incoming() {
                    let (stream, cluster) = (stream.unwrap(), cluster.clone());
                    cluster.0.lock().streams.push(stream.try_clone().unwrap());
                    thread::spawn(move || serve(&stream, number, &cluster));
                }
            });
        }
        Servers { cluster }
    }

    fn port(&self, number: usize) -> String {
        self.cluster.0.lock().ports[number - 1].to_string()
    }

    fn bodies(&self) -> Vec<String> {
        self.cluster.0.lock().messages.iter().map(|(_, _, body)| body.clone()).collect()
    }

    /// Waits until `count` messages are stored.
    fn wait_for(&self, count: usize) {
        let (cluster, changed) = &*self.cluster;
        let mut cluster = cluster.lock();
        while cluster.messages.len() < count {
            changed.wait(&mut cluster);
        }
    }

    fn cut_all(&self) {
        for stream in self.cluster.0.lock().streams.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// One connection: reads requests and answers them, until it is cut.
fn serve(stream: &TcpStream, number: usize, cluster: &(Mutex<Cluster>, Condvar)) {
    let mut writing = stream.try_clone().unwrap();
    let mut say = |msg_type: &str, data: Value, request: Option<&Value>| {
        let mut line = json!({ "msg_type": msg_type, "sender_id": format!("server{number}"), "data": data,
            "lamport_timestamp": 1 });
        if let Some(request) = request {
            line["request_id"] = request["request_id"].clone();
            line["data"]["for"] = request["msg_type"].clone();
        }
        let _ = writing.write_all(format!("{line}\n").as_bytes());
    };
    for line in BufReader::new(stream).lines() {
        let Ok(line) = line else { return };
        let request: Value = serde_json::from_str(&line).unwrap();
        let (data, room) = (&request["data"], request["data"]["room"].clone());
        let msg_type = request["msg_type"].as_str().unwrap();
        let mut shared = cluster.0.lock();
        if let Some((code, times)) = shared.refuse.get_mut(msg_type)
            && *times > 0
        {
            *times -= 1;
            let refusal = json!({ "code": code, "reason": "because \u{1b}[31m", "retry_after_ms": 20 });
            say("nack", refusal, Some(&request));
            continue;
        }
        match msg_type {
            "login" => {
                let told = data.as_object().unwrap().keys().map(String::as_str).collect::<Vec<_>>().join(" ");
                shared.logins.push(told);
                if data["password"] == "wrong" || data["token"].as_str().is_some_and(|token| token != "snt_1")
                {
                    say("nack", json!({ "code": "bad_credentials", "reason": "no" }), Some(&request));
                    continue;
                }
                let is_account = data["username"].is_null() || data["password"].is_string();
                let token = is_account.then_some("snt_1");
                let username = data["username"].as_str().unwrap_or("alice");
                let data = json!({ "username": username, "server_id": format!("server{number}"),
                    "account": is_account, "token": token });
                say("ack", data, Some(&request));
            }
            "server_list" => {
                let server = |(at, port): (usize, &u16)| {
                    json!({ "server_id": format!("server{}", at + 1), "host": "127.0.0.1", "tcp_port": port,
                        "ring_position": at, "alive": true, "is_leader": at == 0, "clients": 1 })
                };
                let servers: Vec<Value> = shared.ports.iter().enumerate().map(server).collect();
                say(
                    "server_list",
                    json!({ "servers": servers, "leader_id": "server1", "term": 1 }),
                    Some(&request),
                );
            }
            "create_join" => {
                let all = events(&shared, room.as_str().unwrap());
                let after = match data["after"].as_u64() {
                    Some(after) => after as usize,
                    None => all.len().saturating_sub(data["history"].as_u64().unwrap() as usize),
                };
                let answer = json!({ "room": room, "created": false, "private": false, "topic": "",
                    "role": "member", "last_seq": all.len(), "events": all[after..], "more": false });
                say("ack", answer, Some(&request));
            }
            "chat" => {
                let text = |field: &str| data[field].as_str().unwrap().to_owned();
                let id = text("client_msg_id");
                let known = shared.messages.iter().any(|(_, known, _)| *known == id);
                if !known {
                    shared.messages.push((text("room"), id.clone(), text("body")));
                    cluster.1.notify_all();
                }
                if shared.hang_up_after == Some(shared.messages.len()) {
                    shared.hang_up_after = None;
                    if shared.stays_down {
                        shared.refuse.insert("login".into(), ("overloaded".into(), u32::MAX));
                    }
                    let _ = stream.shutdown(Shutdown::Both);
                    return;
                }
                let all = events(&shared, room.as_str().unwrap());
                let event = all.iter().find(|event| event["client_msg_id"] == id).unwrap().clone();
                let answer = json!({ "client_msg_id": id, "room": room, "seq": event["seq"],
                    "lamport_timestamp": 1, "duplicate": known });
                say("ack", answer, Some(&request));
                if !known {
                    say("chat", event, None);
                }
            }
            "rooms" => {
                let room = json!({ "room": "lobby", "private": false, "topic": "t\u{1b}", "members": 1,
                    "last_seq": 0, "joined": true, "last_read": 0, "unread": 0 });
                let more = shared.has_more_rooms && data["after"].is_null();
                say("rooms", json!({ "rooms": [room], "more": more }), Some(&request));
            }
            "leave" => say("ack", json!({ "room": room }), Some(&request)),
            "ping" => say("pong", json!({}), Some(&request)),
            "edit" | "kick" | "topic" => {
                if shared.hang_up_on_change {
                    shared.hang_up_on_change = false;
                    let _ = stream.shutdown(Shutdown::Both);
                    return;
                }
                if msg_type == "edit" {
                    shared.edits.push(data["seq"].clone());
                }
                say("ack", json!({ "room": room, "seq": 1 }), Some(&request));
            }
            "ban" | "set_admin" | "set_password" | "file_delete" => {
                shared.administered.push((msg_type.to_owned(), data.clone()));
                let answer = match msg_type {
                    "file_delete" => json!({ "file_id": data["file_id"] }),
                    _ => json!({ "username": data["username"] }),
                };
                say("ack", answer, Some(&request));
            }
            "logout" => say("ack", json!({ "username": "alice" }), Some(&request)),
            other => panic!("the client asks for {other}"),
        }
    }
}

fn events(cluster: &Cluster, room: &str) -> Vec<Value> {
    let in_room = cluster.messages.iter().filter(|(at, _, _)| at == room);
    in_room
        .enumerate()
        .map(|(at, (_, id, body))| {
            json!({ "room": room, "seq": at + 1, "author": "alice", "lamport_timestamp": at + 1,
                "created_at": 1.0, "kind": "message", "body": body, "client_msg_id": id })
        })
        .collect()
}

fn client(folder: &Path, port: &str, more: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_syncnet-client"))
        .args(["--server-host", "127.0.0.1", "--server-port", port, "--user", "alice"])
        .arg("--outbox-dir")
        .arg(folder)
        .args(more)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn run(folder: &Path, port: &str, more: &[&str], input: &str) -> Output {
    let mut child = client(folder, port, more);
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// The objects of `--json` of one type.
fn objects(output: &Output, kind: &str) -> Vec<Value> {
    let lines = text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap());
    lines.filter(|object: &Value| object["type"] == kind).collect()
}

#[test]
fn piped_lines_are_messages_and_the_status_tells_that_all_are_acknowledged() {
    let (servers, folder) = (Servers::start(1), tempfile::tempdir().unwrap());
    let output = run(folder.path(), &servers.port(1), &[], "one\n\n//two\nthree\u{1b}[2J");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(servers.bodies(), ["one", "/two", "three\u{1b}[2J"]);
    assert!(!output.stdout.contains(&0x1b) && !output.stderr.contains(&0x1b));
    assert!(text(&output.stdout).starts_with("[lobby] alice: one\n"), "{}", text(&output.stdout));
    assert!(text(&output.stderr).contains("* connected to server1"));
}

#[test]
fn commands_work_in_a_pipe_and_a_wrong_one_is_a_failure() {
    let (servers, folder) = (Servers::start(1), tempfile::tempdir().unwrap());
    let output = run(folder.path(), &servers.port(1), &[], "/rooms\n/join den\nhi\n/leave\n");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("* lobby (1 member, 0 events): t␛"), "{}", text(&output.stdout));
    assert_eq!(servers.cluster.0.lock().messages[0].0, "den");
    let output = run(folder.path(), &servers.port(1), &[], "/dance\nhi\n");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("no command /dance"));
    assert_eq!(servers.bodies(), ["hi", "hi"]);
}

#[test]
fn a_server_that_dies_before_acknowledging_is_replaced_and_nothing_is_lost_or_doubled() {
    let (servers, folder) = (Servers::start(3), tempfile::tempdir().unwrap());
    servers.cluster.0.lock().hang_up_after = Some(40);
    let lines: Vec<String> = (1..=100).map(|number| format!("line {number}")).collect();
    let output = run(folder.path(), &servers.port(2), &["--json"], &lines.join("\n"));
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(servers.bodies(), lines);
    let acked = objects(&output, "acked");
    assert_eq!(acked.len(), 100);
    assert_eq!(acked[39]["duplicate"], true, "it was stored before the server died");
    let ups = objects(&output, "connection");
    assert_eq!(ups.len(), 2, "{ups:?}");
    assert_eq!(ups[1]["before"], "server2");
    let seqs: Vec<_> = objects(&output, "event").iter().map(|event| event["seq"].as_u64().unwrap()).collect();
    assert!(seqs.iter().copied().eq(1..=seqs.len() as u64), "each once and in order: {seqs:?}");
}

#[test]
fn what_no_server_took_is_kept_and_sent_first_by_the_next_run() {
    let (servers, folder) = (Servers::start(1), tempfile::tempdir().unwrap());
    let unused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let output = run(folder.path(), &unused, &["--wait-s", "0"], "early\nbird\n");
    assert_eq!(output.status.code(), Some(1));
    let reason = text(&output.stderr);
    assert!(reason.contains("2 messages not acknowledged yet, kept in"), "{reason}");
    let output = run(folder.path(), &servers.port(1), &[], "late\n");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(servers.bodies(), ["early", "bird", "late"]);
    run(folder.path(), &servers.port(1), &[], "");
    assert_eq!(servers.bodies().len(), 3);
}

#[test]
fn a_client_killed_in_mid_sentence_leaves_everything_to_the_next_run() {
    let (servers, folder) = (Servers::start(1), tempfile::tempdir().unwrap());
    {
        let mut cluster = servers.cluster.0.lock();
        (cluster.hang_up_after, cluster.stays_down) = (Some(5), true);
    }
    let mut child = client(folder.path(), &servers.port(1), &["--json"]);
    let mut input = child.stdin.take().unwrap();
    let lines: Vec<String> = (1..=50).map(|number| number.to_string()).collect();
    input.write_all((lines.join("\n") + "\n").as_bytes()).unwrap();
    // All are in the outbox when the last is said to be queued.
    let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
    output.find(|line| {
        let object: Value = serde_json::from_str(line.as_ref().unwrap()).unwrap();
        object["type"] == "queued" && object["body"] == "50"
    });
    servers.wait_for(5);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(servers.bodies().len(), 5, "the fifth is stored but not acknowledged");
    servers.cluster.0.lock().refuse.clear();
    let output = run(folder.path(), &servers.port(1), &[], "51\n");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let expected: Vec<String> = (1..=51).map(|number| number.to_string()).collect();
    assert_eq!(servers.bodies(), expected);
}

#[test]
fn a_refusal_is_a_failure_and_one_for_load_is_only_a_pause() {
    let (servers, folder) = (Servers::start(1), tempfile::tempdir().unwrap());
    servers.cluster.0.lock().refuse.insert("chat".into(), ("rate_limited".into(), 3));
    let output = run(folder.path(), &servers.port(1), &[], "one\ntwo\n");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(servers.bodies(), ["one", "two"]);
    servers.cluster.0.lock().refuse.insert("chat".into(), ("forbidden".into(), 1));
    let output = run(folder.path(), &servers.port(1), &[], "three\nfour\n");
    assert_eq!(output.status.code(), Some(1));
    let reason = text(&output.stderr);
    assert!(reason.contains("! not sent to lobby: three (because ␛[31m)"), "{reason}");
    assert_eq!(servers.bodies(), ["one", "two", "four"]);
    servers.cluster.0.lock().refuse.insert("login".into(), ("name_taken".into(), 1));
    let output = run(folder.path(), &servers.port(1), &[], "five\n");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("because"));
}

#[test]
fn a_cut_connection_is_resumed_without_a_word_but_one() {
    let (servers, folder) = (Servers::start(2), tempfile::tempdir().unwrap());
    let mut child = client(folder.path(), &servers.port(1), &[]);
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"before\n").unwrap();
    servers.wait_for(1);
    servers.cut_all();
    input.write_all(b"after\n").unwrap();
    servers.wait_for(2);
    drop(input);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let notices: Vec<&str> = text(&output.stderr).lines().collect();
    assert_eq!(notices.len(), 3, "connected, joined, and one for the failover: {notices:?}");
    assert!(notices[2].starts_with("* server1 is gone, now on server2 ("), "{notices:?}");
}

/// A password in a file of its own.
fn secret(folder: &Path, text: &str) -> String {
    let path = folder.join("secret");
    std::fs::write(&path, format!("{text}\n")).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_password_is_used_once_and_its_token_after_a_cut_and_by_the_next_run() {
    let (servers, folder) = (Servers::start(2), tempfile::tempdir().unwrap());
    let password = secret(folder.path(), "hunter22");
    servers.cluster.0.lock().hang_up_after = Some(1);
    let options = ["--login", "--password-file", &password];
    let output = run(folder.path(), &servers.port(1), &options, "one\ntwo\n");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(servers.bodies(), ["one", "two"]);
    run(folder.path(), &servers.port(1), &[], "three\n/logout\n");
    assert_eq!(servers.cluster.0.lock().logins, ["password username", "token", "token"]);
    // After the logout it is a guest's name again, as far as this client knows.
    run(folder.path(), &servers.port(1), &[], "four\n");
    assert_eq!(servers.cluster.0.lock().logins.last().unwrap(), "username");
}

#[test]
fn a_wrong_password_is_said_and_tried_once() {
    let (servers, folder) = (Servers::start(2), tempfile::tempdir().unwrap());
    let password = secret(folder.path(), "wrong");
    let options = ["--login", "--password-file", &password];
    let output = run(folder.path(), &servers.port(1), &options, "one\n");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("no"), "{}", text(&output.stderr));
    assert_eq!(servers.cluster.0.lock().logins.len(), 1);
}

#[test]
fn a_bad_token_from_elsewhere_leaves_the_one_that_is_kept() {
    let (servers, folder) = (Servers::start(1), tempfile::tempdir().unwrap());
    let password = secret(folder.path(), "hunter22");
    run(folder.path(), &servers.port(1), &["--login", "--password-file", &password], "one\n");
    let token = secret(folder.path(), "snt_2");
    let output = run(folder.path(), &servers.port(1), &["--token-file", &token], "");
    assert_eq!(output.status.code(), Some(1));
    let output = run(folder.path(), &servers.port(1), &[], "two\n");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(servers.cluster.0.lock().logins, ["password username", "token", "token"]);
}

#[test]
fn the_end_of_a_line_that_is_too_long_is_neither_said_nor_done() {
    let (servers, folder) = (Servers::start(1), tempfile::tempdir().unwrap());
    let line = "x".repeat(1024 * 1024) + "/join den";
    let output = run(folder.path(), &servers.port(1), &[], &format!("{line}\nafter\n"));
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(servers.bodies(), ["after"]);
    assert!(text(&output.stderr).contains("1 request refused"), "{}", text(&output.stderr));
}

#[test]
fn a_change_without_an_answer_is_told_and_is_a_failure() {
    let (servers, folder) = (Servers::start(2), tempfile::tempdir().unwrap());
    let output = run(folder.path(), &servers.port(1), &[], "hi\n/edit 1 better\n/topic tea\n");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    servers.cluster.0.lock().hang_up_on_change = true;
    let output = run(folder.path(), &servers.port(1), &["--json"], "/kick bob\n");
    assert_eq!(output.status.code(), Some(1));
    let changed = objects(&output, "changed");
    assert_eq!((changed.len(), &changed[0]["outcome"]), (1, &json!("unknown")));
    assert_eq!(changed[0]["command"], "/kick bob");
}

#[test]
fn the_last_message_of_a_script_is_the_one_in_the_line_above() {
    let (servers, folder) = (Servers::start(1), tempfile::tempdir().unwrap());
    let output = run(folder.path(), &servers.port(1), &[], "one\n/edit ^ two\nthree\n/edit ^ four\n");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(servers.cluster.0.lock().edits, [json!(1), json!(2)]);
}

#[test]
fn more_goes_on_from_the_answer_of_the_line_above() {
    let (servers, folder) = (Servers::start(1), tempfile::tempdir().unwrap());
    servers.cluster.0.lock().has_more_rooms = true;
    let output = run(folder.path(), &servers.port(1), &["--json"], "/rooms\n/more\n");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let more: Vec<Value> = objects(&output, "rooms").iter().map(|page| page["more"].clone()).collect();
    assert_eq!(more, [json!(true), json!(false)]);
    let output = run(folder.path(), &servers.port(1), &[], "/rooms\n/more\n/more\n");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("! that was all"), "{}", text(&output.stderr));
    // Without a server the wait has an end.
    let unused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let output = run(folder.path(), &unused, &["--wait-s", "0"], "/rooms\n/more\n");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn an_administrator_rules_over_accounts_by_lines() {
    let (servers, folder) = (Servers::start(1), tempfile::tempdir().unwrap());
    let lines = "/admin ban bob 60\n/admin grant carol\n/delete-file 00000000000000000000000000000007\n";
    let output = run(folder.path(), &servers.port(1), &[], lines);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let asked = json!(servers.cluster.0.lock().administered);
    assert_eq!(
        asked,
        json!([
            ["ban", { "username": "bob", "seconds": 60 }],
            ["set_admin", { "username": "carol", "admin": true }],
            ["file_delete", { "file_id": "00000000000000000000000000000007" }],
        ])
    );
    assert!(text(&output.stdout).contains("* /admin ban bob 60: done"), "{}", text(&output.stdout));
    // A script gives the password beforehand.
    let output = run(folder.path(), &servers.port(1), &[], "/admin password bob\n");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("SYNCNET_NEW_PASSWORD"), "{}", text(&output.stderr));
}

#[test]
fn who_logs_in_under_another_name_does_not_speak_in_a_conversation_of_two_others() {
    let (servers, folder) = (Servers::start(1), tempfile::tempdir().unwrap());
    let password = secret(folder.path(), "hunter22");
    let lines = "/join @alice,bob\nhi bob\n/login carol\nhi all\n";
    let output = run(folder.path(), &servers.port(1), &["--password-file", &password], lines);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let rooms: Vec<String> = servers.cluster.0.lock().messages.iter().map(|at| at.0.clone()).collect();
    assert_eq!(rooms.last().unwrap(), "lobby");
}

#[test]
fn bad_arguments_end_with_status_2() {
    for arguments in [["--room", "a b"], ["--server-port", "x"], ["--no-such", "thing"]] {
        let output = run(Path::new("/tmp"), "1", &arguments, "");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(!output.stderr.is_empty());
    }
}
