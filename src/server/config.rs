//! One checked configuration, made of the command line, the configuration file and the secret file.
//!
//! Everything that can be wrong is found here, before the first thread or socket exists, and said in one
//! sentence that names what and where.

use std::{
    collections::BTreeMap,
    fs,
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
};

use crate::{
    protocol::{
        datagram::SERVERS_MAX,
        limits::{HISTORY_BYTES, LINE_BYTES_LEAST, Limits},
        name::ServerId,
        operator::OperatorKey,
        secret::ClusterSecret,
    },
    replica::config::{Auth, ReplicaConfig, ServerEntry},
};

use super::{
    args::{Args, DATA_DIR},
    config_file::{AuthSection, ConfigFile, Heartbeat, Http, LogFiles, Threads},
    credentials::{Costs, Hashing},
    http::origin::Origin,
    ports::{PORTS, Port},
};

/// Everything a server is told, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// What its replica is told.
    pub replica: ReplicaConfig,
    /// The name of the cluster.
    pub cluster_name: String,
    /// The secret of the cluster.
    pub secret: ClusterSecret,
    /// Whether there is no secret, so that the one everybody knows is used on loopback.
    pub secret_is_public: bool,
    /// Where the ports for clients are bound.
    pub client_ip: IpAddr,
    /// Where the ports for servers are bound.
    pub peer_ip: IpAddr,
    /// Whether all servers are on this machine.
    pub on_loopback: bool,
    /// What HTTP and WebSocket clients may do.
    pub http: Http,
    /// The origins in it.
    pub allowed_origins: Vec<Origin>,
    /// How heartbeats travel.
    pub heartbeat: Heartbeat,
    /// The log files.
    pub log: LogFiles,
    /// Threads whose number may be chosen.
    pub threads: Threads,
    /// How passwords are hashed.
    pub hashing: Hashing,
    /// This server's own data folder. Its parent exists.
    pub data_dir: PathBuf,
    /// This server's log file. Its folder exists.
    pub log_file: PathBuf,
}

impl Config {
    /// Reads the files that `args` names and checks everything. The error is one sentence.
    pub fn load(args: &Args) -> Result<Config, String> {
        let file = match &args.config {
            Some(path) => ConfigFile::load(path)?,
            None => ConfigFile::default(),
        };
        let source = match &args.config {
            Some(path) => format!("the configuration {}", path.display()),
            None => "the built-in configuration (name another with --config)".into(),
        };
        // A data folder that was named and is not there is not made: it may be a wrong name or a disk that
        // is not mounted, and a server that then began empty would have to be rebuilt from the others.
        // The default one is nobody's word, and a first try from anywhere is to work.
        if args.data_dir == Path::new(DATA_DIR) {
            let _ = fs::create_dir(&args.data_dir);
        }
        check_folder(&args.data_dir, "data", "--data-dir")?;
        // Nothing is lost with a log folder. An error shows in the check that follows.
        let _ = fs::create_dir(&args.log_dir);
        check_folder(&args.log_dir, "log", "--log-dir")?;
        let secret = load_secret(args.secret_file.as_deref(), &args.data_dir)?;
        Config::check(args, file, secret).map_err(|error| format!("{source}: {error}"))
    }

    fn check(args: &Args, file: ConfigFile, secret: Option<ClusterSecret>) -> Result<Config, String> {
        let ConfigFile { mut servers, .. } = file;
        check_servers(&servers)?;
        check_cluster_name(&file.cluster_name)?;
        file.timing.check()?;
        check_limits(&file.limits)?;
        check_auth(&file.auth)?;
        check_ranges(&file.log, &file.threads, file.keep_entries)?;
        let allowed_origins = check_http(&file.http)?;
        if !file.heartbeat.multicast_group.is_multicast() {
            let group = file.heartbeat.multicast_group;
            return Err(format!("heartbeat.multicast_group is {group}; it must be in 224.0.0.0/4"));
        }
        let me = find_server(&servers, &args.server_id)?.clone();
        let (secret, secret_is_public) = match secret {
            Some(secret) => (secret, false),
            None => (public_secret(&servers, &args.data_dir)?, true),
        };
        let loopback = match file.bind {
            Some(IpAddr::V6(_)) => IpAddr::V6(std::net::Ipv6Addr::LOCALHOST),
            _ => IpAddr::V4(Ipv4Addr::LOCALHOST),
        };
        let all = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let client_ip = file.bind.unwrap_or(if is_loopback(&me.host) { loopback } else { all });
        let on_loopback = servers.iter().all(|server| is_loopback(&server.host));
        servers.sort_by_key(|server| server.ring_position);
        Ok(Config {
            cluster_name: file.cluster_name,
            secret,
            secret_is_public,
            client_ip,
            peer_ip: if secret_is_public { loopback } else { client_ip },
            on_loopback,
            http: file.http,
            allowed_origins,
            heartbeat: file.heartbeat,
            log: file.log,
            threads: file.threads,
            hashing: Hashing {
                costs: Costs {
                    memory_kib: file.auth.memory_kib,
                    iterations: file.auth.iterations,
                    scram_iterations: file.auth.scram_iterations,
                },
                threads: file.auth.threads,
                queue: file.auth.queue,
            },
            data_dir: args.data_dir.join(me.server_id.as_str()),
            log_file: args.log_dir.join(format!("server_{}.log", me.server_id)),
            replica: ReplicaConfig {
                server_id: me.server_id,
                servers,
                timing: file.timing,
                limits: file.limits,
                auth: Auth {
                    mode: file.auth.mode,
                    token_idle_days: file.auth.token_idle_days,
                    token_absolute_days: file.auth.token_absolute_days,
                    // A quarter, so that no address fills the queue.
                    hashes_per_address: file.auth.queue.div_ceil(4),
                },
                followers: file.followers,
                keep_entries: file.keep_entries,
            },
        })
    }

    /// The key of this cluster's operators; `None` where there is no secret to prove anything by.
    pub fn operator_key(&self) -> Option<OperatorKey> {
        (!self.secret_is_public).then(|| OperatorKey::new(&self.secret, &self.cluster_name))
    }

    /// This server's id.
    pub fn server_id(&self) -> &ServerId {
        &self.replica.server_id
    }

    /// This server's entry.
    pub fn me(&self) -> &ServerEntry {
        self.replica.server(&self.replica.server_id).expect("the check found it")
    }

    /// All servers but this one.
    pub fn peers(&self) -> impl Iterator<Item = &ServerEntry> {
        self.replica.servers.iter().filter(|server| server.server_id != self.replica.server_id)
    }
}

/// Whether `host` means this machine and cannot be reached from any other.
fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn check_folder(path: &Path, what: &str, option: &str) -> Result<(), String> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => Ok(()),
        Ok(_) => {
            Err(format!("the {what} folder {} is not a folder; name another with {option}", path.display()))
        }
        Err(error) => Err(format!(
            "the {what} folder {} cannot be used ({error}); make it, or name another with {option}",
            path.display()
        )),
    }
}

fn check_cluster_name(name: &str) -> Result<(), String> {
    let fits = (1..=64).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic());
    if fits { Ok(()) } else { Err(format!("cluster_name is {name:?}; it must be 1 to 64 of visible ASCII")) }
}

fn find_server<'a>(servers: &'a [ServerEntry], server_id: &ServerId) -> Result<&'a ServerEntry, String> {
    servers.iter().find(|server| server.server_id == *server_id).ok_or_else(|| {
        let known: Vec<_> = servers.iter().map(|server| server.server_id.as_str()).collect();
        format!("--server-id {server_id} is not among the servers ({})", known.join(", "))
    })
}

fn check_servers(servers: &[ServerEntry]) -> Result<(), String> {
    if !(1..=SERVERS_MAX).contains(&servers.len()) {
        return Err(format!("there are {} servers; there must be 1 to {SERVERS_MAX}", servers.len()));
    }
    let mut used: BTreeMap<(String, u16, bool), &ServerEntry> = BTreeMap::new();
    for (place, server) in servers.iter().enumerate() {
        let id = &server.server_id;
        if server.host.is_empty()
            || server.host.len() > 253
            || !server.host.bytes().all(|b| b.is_ascii_graphic())
        {
            return Err(format!("the host of {id} is {:?}; it must be a name or an IP address", server.host));
        }
        for earlier in &servers[..place] {
            if earlier.server_id.as_str().eq_ignore_ascii_case(id.as_str()) {
                return Err(format!("two servers have the id {id}"));
            }
            if earlier.ring_position == server.ring_position {
                let position = server.ring_position;
                return Err(format!("{} and {id} have the same ring_position {position}", earlier.server_id));
            }
        }
        for port in PORTS {
            let number = port.of(server.port).ok_or_else(|| {
                format!(
                    "the port of {id} is {}; it must be 1 to {}",
                    server.port,
                    u16::MAX - Port::OFFSET_MAX
                )
            })?;
            if let Some(other) = used.insert((host_key(&server.host), number, port.is_tcp()), server)
                && other.server_id != *id
            {
                let other = &other.server_id;
                return Err(format!("{other} and {id} on host {} would both use port {number}", server.host));
            }
        }
    }
    Ok(())
}

/// Hosts that are the same machine for sure have the same key.
fn host_key(host: &str) -> String {
    if is_loopback(host) { "localhost".into() } else { host.to_ascii_lowercase() }
}

fn within(name: &str, value: u64, least: u64, most: u64) -> Result<(), String> {
    if (least..=most).contains(&value) {
        Ok(())
    } else {
        Err(format!("{name} is {value}; it must be {least} to {most}"))
    }
}

fn check_limits(limits: &Limits) -> Result<(), String> {
    let most_outbox = 1024 * 1024 * 1024;
    // Less could not hold a piece of a file.
    within("limits.line_bytes", limits.line_bytes as u64, LINE_BYTES_LEAST as u64, 1024 * 1024)?;
    within("limits.body_bytes", limits.body_bytes as u64, 1, limits.line_bytes as u64)?;
    within("limits.bad_lines_in_a_row", limits.bad_lines_in_a_row.into(), 1, 1_000_000)?;
    // Less could not hold the longest answer.
    within("limits.outbox_bytes", limits.outbox_bytes as u64, 2 * HISTORY_BYTES as u64, most_outbox)?;
    within("limits.outboxes_bytes", limits.outboxes_bytes as u64, limits.outbox_bytes as u64, 1 << 40)?;
    within("limits.requests_per_s", limits.requests_per_s.into(), 1, 10_000_000)?;
    within("limits.requests_burst", limits.requests_burst.into(), 1, 10_000_000)?;
    // Less would let nobody send the longest line.
    within("limits.bytes_per_s", limits.bytes_per_s, limits.line_bytes as u64, 1 << 40)?;
    within("limits.bytes_burst", limits.bytes_burst, limits.line_bytes as u64, 1 << 40)?;
    within("limits.user_times", limits.user_times.into(), 1, 1_000_000)?;
    within("limits.address_times", limits.address_times.into(), 1, 1_000_000)?;
    within("limits.registrations_per_hour", limits.registrations_per_hour.into(), 1, 1_000_000_000)?;
    within("limits.passwords_per_hour", limits.passwords_per_hour.into(), 1, 1_000_000_000)?;
    within("limits.new_names_per_hour", limits.new_names_per_hour.into(), 2, 1_000_000_000)?;
    within("limits.connections", limits.connections as u64, 1, 1_000_000)?;
    within("limits.connections_per_address", limits.connections_per_address as u64, 1, 1_000_000)?;
    within("limits.connections_reserved", limits.connections_reserved as u64, 0, 10_000)?;
    within("limits.rooms_per_user", limits.rooms_per_user as u64, 1, 1_000_000)?;
    within("limits.rooms_per_hour", limits.rooms_per_hour.into(), 1, 1_000_000_000)?;
    within("limits.file_bytes", limits.file_bytes, 1, 1 << 40)?;
    // Less would let nobody have the largest file.
    within("limits.file_bytes_per_user", limits.file_bytes_per_user, limits.file_bytes, 1 << 50)?;
    within("limits.upload_bytes_per_hour", limits.upload_bytes_per_hour, 1, 1 << 50)?;
    // An address may do at least what one of its users may.
    let (rooms, bytes) = (limits.rooms_per_hour, limits.upload_bytes_per_hour);
    within(
        "limits.address_rooms_per_hour",
        limits.address_rooms_per_hour.into(),
        rooms.into(),
        1_000_000_000,
    )?;
    within("limits.address_upload_bytes_per_hour", limits.address_upload_bytes_per_hour, bytes, 1 << 50)?;
    within("limits.pending_proposals", limits.pending_proposals as u64, 16, 1_000_000)
}

fn check_auth(auth: &AuthSection) -> Result<(), String> {
    within("auth.token_idle_days", auth.token_idle_days.into(), 1, 3_650)?;
    within("auth.token_absolute_days", auth.token_absolute_days.into(), auth.token_idle_days.into(), 36_500)?;
    let (least, most) = (Costs::LEAST, Costs::MOST);
    let costs = |least: u32, most: u32| (u64::from(least), u64::from(most));
    for (name, value, (least, most)) in [
        ("auth.memory_kib", auth.memory_kib, costs(least.memory_kib, most.memory_kib)),
        ("auth.iterations", auth.iterations, costs(least.iterations, most.iterations)),
        (
            "auth.scram_iterations",
            auth.scram_iterations,
            costs(least.scram_iterations, most.scram_iterations),
        ),
    ] {
        within(name, value.into(), least, most)?;
    }
    within("auth.threads", auth.threads as u64, 1, 8)?;
    within("auth.queue", auth.queue as u64, 1, 1_024)
}

fn check_ranges(log: &LogFiles, threads: &Threads, keep_entries: u64) -> Result<(), String> {
    within("log.file_bytes", log.file_bytes, 4096, 1 << 40)?;
    within("log.files", log.files.into(), 1, 1_000)?;
    within("threads.fan_out", threads.fan_out as u64, 1, 64)?;
    within("threads.query", threads.query as u64, 1, 64)?;
    within("keep_entries", keep_entries, 100, 100_000_000)
}

/// Checks the section `http`, and reads the origins in it.
fn check_http(http: &Http) -> Result<Vec<Origin>, String> {
    let hour_ms = 3_600_000;
    within("http.head_bytes", http.head_bytes as u64, 1024, 1024 * 1024)?;
    within("http.headers", http.headers as u64, 8, 1_000)?;
    within("http.head_ms", http.head_ms, 100, hour_ms)?;
    within("http.idle_ms", http.idle_ms, 100, hour_ms)?;
    within("http.body_ms", http.body_ms, 100, hour_ms)?;
    within("http.body_bytes_per_s", http.body_bytes_per_s, 1, 1 << 30)?;
    within("http.hook_bytes", http.hook_bytes as u64, 1024, 1024 * 1024)?;
    within("http.requests_per_connection", http.requests_per_connection, 1, 1_000_000_000)?;
    let origins = http.allowed_origins.iter().map(|text| {
        Origin::parse(text).ok_or_else(|| {
            format!(
                "http.allowed_origins has {text:?} in it; an origin is like https://chat.example.org:8443"
            )
        })
    });
    origins.collect()
}

/// The secret from the file that was named, or from the usual place where there is one. The error is one
/// sentence.
pub fn load_secret(secret_file: Option<&Path>, data_dir: &Path) -> Result<Option<ClusterSecret>, String> {
    let usual = data_dir.join("cluster.secret");
    let path = secret_file.unwrap_or(&usual);
    if secret_file.is_none() && matches!(fs::exists(path), Ok(false)) {
        return Ok(None);
    }
    let wrong = |error: &dyn std::fmt::Display| format!("the secret file {}: {error}", path.display());
    check_private(path).map_err(|error| wrong(&error))?;
    let text = fs::read_to_string(path).map_err(|error| wrong(&error))?;
    ClusterSecret::parse(&text).map(Some).map_err(|error| wrong(&error))
}

/// Refuses a file that others than its owner can read or write, where the system knows such a thing.
#[cfg(unix)]
fn check_private(path: &Path) -> Result<(), String> {
    use std::os::unix::fs::PermissionsExt;
    let mode = fs::metadata(path).map_err(|error| error.to_string())?.permissions().mode();
    if mode & 0o077 == 0 {
        Ok(())
    } else {
        Err(format!("others can read it (mode {:o}); run chmod 600 on it", mode & 0o777))
    }
}

/// Refuses a file that others than its owner can read or write, where the system knows such a thing.
#[cfg(not(unix))]
fn check_private(_path: &Path) -> Result<(), String> {
    Ok(())
}

/// The secret that everybody knows is good enough on loopback, and nowhere else.
fn public_secret(servers: &[ServerEntry], data_dir: &Path) -> Result<ClusterSecret, String> {
    match servers.iter().find(|server| !is_loopback(&server.host)) {
        None => Ok(ClusterSecret::public()),
        Some(remote) => Err(format!(
            "{} is on {}, but there is no cluster secret; put the same 64 random hexadecimal digits into {} of every server",
            remote.server_id,
            remote.host,
            data_dir.join("cluster.secret").display()
        )),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn args(folder: &Path) -> Args {
        let mut args = Args::parse_from(["syncnet-server", "--server-id", "server2"]);
        args.data_dir = folder.into();
        args.log_dir = folder.into();
        args
    }

    fn load(folder: &Path, text: &str) -> Result<Config, String> {
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
            let error = load(folder.path(), &text).expect_err(&text);
            assert!(error.contains(named), "{text}: {error}");
            assert!(error.contains("config.json") && !error.contains('\n'), "{error}");
        }
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
            let error = Config::load(&args).unwrap_err();
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
        assert!(load(folder.path(), text).unwrap_err().contains("others can read it (mode 640)"));
        write_secret(&path, "1234", 0o600);
        assert!(load(folder.path(), text).unwrap_err().contains("hexadecimal digits"));
    }
}
