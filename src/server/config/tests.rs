//! From files and words to a configuration, or to the sentence that says what is wrong.

use clap::Parser;

use super::*;

fn args(folder: &Path) -> Args {
    let mut args = Args::parse_from(["syncnet-server", "--server-id", "server2"]);
    args.data_dir = folder.into();
    args.log_dir = folder.into();
    args
}

fn load(folder: &Path, text: &str) -> Result<Config, ConfigError> {
    let path = folder.join("config.json");
    fs::write(&path, text).unwrap();
    Config::load(&Args { config: Some(path), ..args(folder) })
}

#[cfg(unix)]
fn write_secret(path: &Path, text: &str, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

const SECRET: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n";

#[test]
fn no_configuration_is_three_servers_on_localhost() {
    let folder = tempfile::tempdir().unwrap();
    let config = Config::load(&args(folder.path())).unwrap();
    let servers: Vec<_> = config
        .replica
        .servers
        .iter()
        .map(|server| (server.server_id.as_str(), server.ring_position, server.port))
        .collect();
    assert_eq!(servers, [("server1", 0, 8000), ("server2", 1, 8001), ("server3", 2, 8002)]);
    assert!(config.secret_is_public && config.on_loopback);
    assert!(config.client_ip.is_loopback() && config.peer_ip.is_loopback());
    assert_eq!(config.data_dir, folder.path().join("server2"));
    assert_eq!(config.log_file, folder.path().join("server_server2.log"));
}

#[test]
fn each_mistake_has_its_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let server = |id: &str, host: &str, port: u32, position: u32| {
        format!(r#"{{"server_id":"{id}","host":"{host}","port":{port},"ring_position":{position}}}"#)
    };
    let two = |a: String, b: String| format!(r#"{{"servers":[{a},{b}]}}"#);
    let first = || server("server1", "localhost", 8000, 0);
    for (text, named) in [
        (r#"{"servers":[]}"#.into(), "0 servers"),
        (two(first(), server("server1", "localhost", 8001, 1)), "two servers have the id server1"),
        (two(first(), server("server2", "localhost", 8001, 0)), "same ring_position 0"),
        (two(first(), server("server2", "127.0.0.1", 8000, 1)), "would both use port 8000"),
        (two(first(), server("server2", "localhost", 8010, 1)), "would both use port 8020"),
        (two(first(), server("server3", "localhost", 8001, 1)), "--server-id server2 is not among"),
        (two(first(), server("server2", "localhost", 0, 1)), "port of server2 is 0"),
        (two(first(), server("server2", "localhost", 65_500, 1)), "port of server2 is 65500"),
        (two(first(), server("server2", "", 8001, 1)), "host of server2"),
        (
            r#"{"servers":[{"server_id":"server2","host":"a","port":1,"ring_position":0,"client_host":"a b"}]}"#
                .into(),
            "client_host of server2",
        ),
        (
            r#"{"servers":[{"server_id":"server2","host":"a","port":1,"ring_position":0,"client_port":0}]}"#
                .into(),
            "client_port of server2 is 0",
        ),
        (
            two(
                first(),
                r#"{"server_id":"server2","host":"b","port":9000,"ring_position":1,"client_host":"localhost","client_port":8000}"#
                    .into(),
            ),
            "clients would be told localhost:8000 for both server1 and server2",
        ),
        (two(first(), server("server2", "10.0.0.2", 8001, 1)), "no cluster secret"),
        (r#"{"cluster_name":""}"#.into(), "cluster_name"),
        (r#"{"timing":{"failure_detection_ms":100}}"#.into(), "failure_detection_ms is 100"),
        (r#"{"limits":{"body_bytes":100000}}"#.into(), "limits.body_bytes is 100000"),
        (r#"{"limits":{"line_bytes":32768}}"#.into(), "limits.line_bytes is 32768; it must be 45056 to"),
        (r#"{"limits":{"file_bytes":0}}"#.into(), "limits.file_bytes is 0"),
        (
            r#"{"limits":{"file_bytes":1000,"file_bytes_per_user":999}}"#.into(),
            "limits.file_bytes_per_user is 999; it must be 1000 to",
        ),
        (r#"{"limits":{"outbox_bytes":1000}}"#.into(), "limits.outbox_bytes is 1000"),
        (r#"{"limits":{"rooms_per_hour":6000}}"#.into(), "limits.address_rooms_per_hour is 5000"),
        (
            r#"{"limits":{"address_upload_bytes_per_hour":9}}"#.into(),
            "address_upload_bytes_per_hour is 9",
        ),
        (r#"{"threads":{"query":0}}"#.into(), "threads.query is 0"),
        (r#"{"auth":{"memory_kib":1024}}"#.into(), "auth.memory_kib is 1024; it must be 19456 to"),
        (r#"{"auth":{"iterations":1}}"#.into(), "auth.iterations is 1; it must be 2 to"),
        (r#"{"auth":{"scram_iterations":4095}}"#.into(), "auth.scram_iterations is 4095"),
        (r#"{"auth":{"threads":0}}"#.into(), "auth.threads is 0"),
        (r#"{"auth":{"queue":0}}"#.into(), "auth.queue is 0"),
        (r#"{"auth":{"token_idle_days":0}}"#.into(), "auth.token_idle_days is 0"),
        (r#"{"auth":{"token_absolute_days":29}}"#.into(), "auth.token_absolute_days is 29"),
        (r#"{"auth":{"mode":"shut"}}"#.into(), "shut"),
        (r#"{"log":{"files":0}}"#.into(), "log.files is 0"),
        (r#"{"heartbeat":{"multicast_group":"10.0.0.1"}}"#.into(), "multicast_group is 10.0.0.1"),
        (r#"{"http":{"head_bytes":10}}"#.into(), "http.head_bytes is 10"),
        (r#"{"http":{"allowed_origins":["chat.example.org"]}}"#.into(), "http.allowed_origins"),
        (r#"{"http":{"allowed_origins":["https://a/b"]}}"#.into(), "https://a/b"),
        ("nonsense".into(), "not JSON"),
    ] {
        let error = load(folder.path(), &text).expect_err(&text).to_string();
        assert!(error.contains(named), "{text}: {error}");
        assert!(error.contains("config.json") && !error.contains('\n'), "{error}");
    }
}

#[test]
fn options_take_the_place_of_what_the_file_says() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.json");
    let text = r#"{"cluster_name":"file","servers":[
        {"server_id":"server2","host":"localhost","port":9000,"ring_position":7},
        {"server_id":"server1","host":"localhost","port":9100,"ring_position":5}]}"#;
    fs::write(&path, text).unwrap();
    let typed = |more: &[&str]| {
        let mut typed = Args::parse_from([&["syncnet-server", "--server-id", "server2"], more].concat());
        (typed.data_dir, typed.log_dir) = (folder.path().into(), folder.path().into());
        Args { config: Some(path.clone()), ..typed }
    };
    let told = |config: &Config| -> Vec<String> {
        let told = |server: &ServerEntry| {
            let (host, port) = server.client_address();
            format!("{}@{}:{} {host}:{port}", server.server_id, server.host, server.port)
        };
        config.replica.servers.iter().map(told).collect()
    };
    let config = Config::load(&typed(&[])).unwrap();
    assert_eq!(told(&config)[0], "server1@localhost:9100 localhost:9100");
    assert_eq!((config.cluster_name.as_str(), config.client_ip.to_string()), ("file", "127.0.0.1".into()));
    let config = Config::load(&typed(&[
        "--servers=server2=localhost:8000,server3=localhost:8100",
        "--client-addresses=server3=chat.example.org:80",
        "--cluster-name=typed",
        "--bind=127.0.0.3",
        "--metrics-listen=127.0.0.3:9464",
    ]))
    .unwrap();
    assert_eq!(
        told(&config),
        ["server2@localhost:8000 localhost:8000", "server3@localhost:8100 chat.example.org:80"]
    );
    assert_eq!((config.cluster_name.as_str(), config.client_ip.to_string()), ("typed", "127.0.0.3".into()));
    assert_eq!(config.metrics.listen, Some("127.0.0.3:9464".parse().unwrap()));
    for (more, named) in [
        (&["--client-addresses=server9=a:1"][..], "names server9, which is not among the servers"),
        (&["--client-addresses=server1=a:1,server1=b:1"], "names server1 twice"),
        (&["--servers=server2=h:1,server2=h:100"], "with --servers (SYNCNET_SERVERS): two servers have"),
        (&["--servers=server1=h:1"], "--server-id server2 is not among the servers (server1)"),
        (&["--cluster-name=a b"], "cluster_name"),
    ] {
        let error = Config::load(&typed(more)).expect_err("it is wrong").to_string();
        assert!(error.contains(named) && !error.contains('\n'), "{error}");
    }
}

#[test]
fn a_look_at_the_own_server_needs_no_folder() {
    let address = |more: &[&str]| {
        let args = Args::parse_from([&["syncnet-server", "--server-id=server2"], more].concat());
        own_client_address(&args).map(|(address, _)| address.to_string())
    };
    assert_eq!(address(&[]).unwrap(), "127.0.0.1:8001");
    assert_eq!(address(&["--servers=server2=chat.example.org:9000"]).unwrap(), "127.0.0.1:9000");
    assert_eq!(address(&["--bind=::"]).unwrap(), "[::1]:8001");
    assert_eq!(address(&["--bind=10.0.0.1"]).unwrap(), "10.0.0.1:8001");
    let error = address(&["--servers=server1=h:1"]).unwrap_err().to_string();
    assert!(error.contains("not among the servers"), "{error}");
}

#[test]
fn missing_files_and_folders_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing");
    let good = args(folder.path());
    for (args, named) in [
        (Args { config: Some(missing.clone()), ..good.clone() }, "the configuration"),
        (Args { data_dir: missing.clone(), ..good.clone() }, "--data-dir"),
        (Args { log_dir: missing.join("logs"), ..good.clone() }, "--log-dir"),
        (Args { secret_file: Some(missing.clone()), ..good.clone() }, "the secret file"),
    ] {
        let error = Config::load(&args).unwrap_err().to_string();
        assert!(error.contains(named) && error.contains("missing"), "{error}");
    }
}

#[cfg(unix)]
#[test]
fn a_secret_lets_a_cluster_leave_loopback() {
    let folder = tempfile::tempdir().unwrap();
    let text = r#"{"servers":[{"server_id":"server2","host":"10.0.0.2","port":8000,"ring_position":0}]}"#;
    let path = folder.path().join("cluster.secret");
    write_secret(&path, SECRET, 0o600);
    let config = load(folder.path(), text).unwrap();
    assert!(!config.secret_is_public && !config.on_loopback);
    assert!(config.peer_ip.is_unspecified());
    write_secret(&path, SECRET, 0o640);
    let error = || load(folder.path(), text).unwrap_err().to_string();
    assert!(error().contains("others can read it (mode 640)"));
    write_secret(&path, "1234", 0o600);
    assert!(error().contains("hexadecimal digits"));
}

#[cfg(unix)]
#[test]
fn the_token_for_the_metrics_is_a_secret_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metrics.token");
    let text = serde_json::json!({"metrics": {"token_file": path}}).to_string();
    for (content, mode, named) in [
        (SECRET, 0o644, "others can read it (mode 644)"),
        ("short", 0o600, "one word of at least 16 characters"),
        ("two words of some length", 0o600, "one word of at least 16 characters"),
    ] {
        write_secret(&path, content, mode);
        let error = load(folder.path(), &text).unwrap_err().to_string();
        assert!(error.contains(named) && error.contains("metrics.token"), "{error}");
        assert!(!error.contains(content.trim()), "{error}");
    }
    write_secret(&path, SECRET, 0o600);
    let config = load(folder.path(), &text).unwrap();
    assert_eq!(config.metrics.token, Some(TokenHash::of(SECRET.trim())));
    fs::remove_file(&path).unwrap();
    let error = load(folder.path(), &text).unwrap_err().to_string();
    assert!(error.contains("metrics.token_file"), "{error}");
}
