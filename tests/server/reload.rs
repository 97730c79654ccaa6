//! A configuration that is read again while the server runs.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use serde_json::{Value, json};

use crate::{http_client::Http, one_server::OneServer};

/// `syncnet-admin reload` for this server.
fn reload(one: &OneServer) -> Output {
    let secret = one.folder.path().join("cluster.secret");
    Command::new(env!("CARGO_BIN_EXE_syncnet-admin"))
        .args(["reload", "--servers", &format!("only=localhost:{}", one.port), "--secret-file"])
        .arg(secret)
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat()
}

/// Changes the configuration file.
pub fn change(folder: &Path, edit: impl FnOnce(&mut Value)) {
    let path = folder.join("config.json");
    let mut config: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    edit(&mut config);
    fs::write(&path, config.to_string()).unwrap();
}

/// The code of the answer to a message of `bytes`.
fn chat(one: &OneServer, bytes: usize) -> String {
    let mut client = one.client();
    let join =
        json!({"msg_type": "create_join", "sender_id": "ann", "data": {"room": "den"}, "request_id": 1});
    client.send(&join.to_string());
    client.answer(1);
    let data = json!({"room": "den", "body": "x".repeat(bytes)});
    client.send(&json!({"msg_type": "chat", "data": data, "request_id": 2}).to_string());
    let answer = client.answer(2);
    answer["data"]["code"].as_str().unwrap_or("ack").to_owned()
}

#[test]
fn what_can_change_counts_at_once_and_the_rest_is_named() {
    let one = OneServer::start_with_secret(json!({}));
    assert_eq!(chat(&one, 200), "ack");
    let output = reload(&one);
    assert_eq!((output.status.code(), said(&output).as_str()), (Some(0), "only: nothing has changed\n"));

    change(one.folder.path(), |config| {
        config["limits"] = json!({"body_bytes": 100});
        config["http"] = json!({"allowed_origins": ["https://chat.example"]});
        config["timing"] = json!({"tick_ms": 25});
    });
    let output = reload(&one);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert_eq!(
        said(&output),
        "only: http.allowed_origins was [] and is [\"https://chat.example\"]\n\
         only: limits.body_bytes was 16384 and is 100\n\
         only: timing.tick_ms was 20 and is 25: restart the server to use that\n"
    );
    assert_eq!(chat(&one, 200), "too_large");
    assert_eq!(chat(&one, 100), "ack");
    // What needs a restart is named until there was one.
    assert!(said(&reload(&one)).contains("timing.tick_ms was 20 and is 25: restart"));
}

#[test]
fn a_bad_configuration_changes_nothing() {
    let one = OneServer::start_with_secret(json!({"limits": {"body_bytes": 100}}));
    let whole = fs::read_to_string(one.folder.path().join("config.json")).unwrap();
    for (text, named) in [
        (whole.replace("\"body_bytes\":100", "\"body_bytes\":0"), "limits.body_bytes is 0"),
        (whole.replace("body_bytes", "body_bites"), "limits.body_bites"),
        ("{".into(), "not JSON"),
        (
            whole.replace(
                "\"limits\"",
                "\"tls\":{\"certificate\":\"/nowhere\",\"key\":\"/nowhere\"},\"limits\"",
            ),
            "/nowhere",
        ),
    ] {
        fs::write(one.folder.path().join("config.json"), text).unwrap();
        let output = reload(&one);
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        assert!(said(&output).contains(named), "{}", said(&output));
        assert!(said(&output).contains("only keeps the configuration that it has"), "{}", said(&output));
        assert_eq!((chat(&one, 100), chat(&one, 101)), ("ack".into(), "too_large".into()));
    }
}

#[test]
fn only_an_operator_can_let_a_server_reload() {
    let one = OneServer::start_with_secret(json!({}));
    let mut http = Http::connect(one.port);
    http.send("POST /reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
    let refused = http.answer();
    assert_eq!(refused.status, 401);
    assert!(refused.header("WWW-Authenticate").starts_with("SyncNet-Operator "));
    let other = one.folder.path().join("other.secret");
    crate::one_server::write_secret(&other);
    let text = fs::read_to_string(&other).unwrap().replace('0', "1");
    fs::write(&other, text).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_syncnet-admin"))
        .args(["reload", "--servers", &format!("localhost:{}", one.port), "--secret-file"])
        .arg(&other)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("this is not the cluster's secret"), "{}", said(&output));
}
