//! The configuration file: its form, its defaults, and the search for misspelt keys.
//!
//! Whether the values fit together is checked in `config`.

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
};

use log::LevelFilter;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

use crate::{
    config::{Auth, AuthMode, Followers, ServerEntry, Timing},
    disk::TAIL_ENTRIES,
    protocol::{limits::Limits, name::ServerId},
    server::credentials::Costs,
};

/// `config.json`. Every key may be left out; an unknown key is an error.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConfigFile {
    /// Clusters of different names do not talk to each other, even with the same secret.
    pub cluster_name: String,
    /// All servers of the cluster, when it begins. Once its servers were changed its log says which there
    /// are.
    pub servers: Vec<ServerEntry>,
    /// Whether this server is to join a cluster that is there: then `servers` names this one and at least one
    /// of that cluster.
    pub join: bool,
    /// The address that this server's ports are bound to. Without it: loopback if this server's host is
    /// loopback, else all addresses of the machine.
    pub bind: Option<IpAddr>,
    pub timing: Timing,
    /// What one client may ask for.
    pub limits: Limits,
    /// Who is let in, and what their passwords cost.
    pub auth: AuthSection,
    /// What followers do with writes.
    pub followers: Followers,
    /// What HTTP and WebSocket clients may do.
    pub http: Http,
    /// Encryption of the client port.
    pub tls: Tls,
    /// Who may read the metrics, besides clients on this machine and administrators.
    pub metrics: MetricsSection,
    pub heartbeat: Heartbeat,
    /// What is logged, and where.
    pub log: Log,
    /// Threads whose number may be chosen.
    pub threads: Threads,
    /// Entries of the replicated log that are kept for servers that were away; one that was away for
    /// longer gets a snapshot.
    pub keep_entries: u64,
    /// Seconds from the end of one reading of all data for damage to the beginning of the next.
    pub scrub_pause_s: u64,
}

impl Default for ConfigFile {
    fn default() -> Self {
        ConfigFile {
            cluster_name: "syncnet".into(),
            servers: local_servers(),
            join: false,
            bind: None,
            timing: Timing::default(),
            limits: Limits::default(),
            auth: AuthSection::default(),
            followers: Followers::default(),
            http: Http::default(),
            tls: Tls::default(),
            metrics: MetricsSection::default(),
            heartbeat: Heartbeat::default(),
            log: Log::default(),
            threads: Threads::default(),
            keep_entries: TAIL_ENTRIES as u64,
            scrub_pause_s: 3_600,
        }
    }
}

/// Who is let in, and what their passwords cost.
///
/// Each server has its own cost of a password. If they differ, each still checks what any other has stored,
/// and the stronger verifier stays.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuthSection {
    /// Whether guests are let in.
    pub mode: AuthMode,
    /// Days after which a token that is not used ends.
    pub token_idle_days: u32,
    /// Days after which every token ends.
    pub token_absolute_days: u32,
    /// Memory of one argon2id hash, in KiB. Each of the `threads` holds so much.
    pub memory_kib: u32,
    /// Passes of argon2id over its memory.
    pub iterations: u32,
    /// Iterations of PBKDF2 for SCRAM-SHA-256.
    pub scram_iterations: u32,
    /// Passwords that may be hashed at the same time.
    pub threads: usize,
    /// Passwords that may wait to be hashed.
    pub queue: usize,
}

impl Default for AuthSection {
    fn default() -> Self {
        let (auth, costs) = (Auth::default(), Costs::default());
        AuthSection {
            mode: auth.mode,
            token_idle_days: auth.token_idle_days,
            token_absolute_days: auth.token_absolute_days,
            memory_kib: costs.memory_kib,
            iterations: costs.iterations,
            scram_iterations: costs.scram_iterations,
            // One busy thread leaves the cores of the smallest machine to those who are logged in.
            threads: 1,
            // A check was measured to take 29 ms of a core: the last in the queue waits for about two
            // seconds.
            queue: 64,
        }
    }
}

/// Three servers on this machine, the whole configuration of a first try.
fn local_servers() -> Vec<ServerEntry> {
    (0..3)
        .map(|place| {
            let server_id = ServerId::new(&format!("server{}", place + 1)).expect("a well-formed id");
            ServerEntry::new(server_id, "localhost", 8000 + place, place.into())
        })
        .collect()
}

/// What HTTP and WebSocket clients may do. Their requests have the same limits as those of other clients.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Http {
    /// Origins whose pages may open a WebSocket here, such as `https://chat.example.org`, besides the
    /// cluster's own.
    pub allowed_origins: Vec<String>,
    /// Longest head of a request, in bytes.
    pub head_bytes: usize,
    /// Most headers of a request.
    pub headers: usize,
    /// Time for a head after its first byte, in milliseconds. The first request of a connection has the time
    /// of a first line instead.
    pub head_ms: u64,
    /// How long a connection may be silent in the middle of a body, in milliseconds.
    pub idle_ms: u64,
    /// How long a connection may be silent between two requests, in milliseconds. More than a proxy keeps its
    /// own connections (mostly 60 s), or it sends a request into one that is being closed.
    pub keep_alive_ms: u64,
    /// Silence after which a WebSocket is sent a ping, in milliseconds. If it stays silent for as long again
    /// it is closed.
    pub ping_ms: u64,
    /// Proxies that may say for whom they speak, by `X-Forwarded-For`, `Forwarded` or the PROXY protocol: a
    /// list of addresses and networks such as `10.0.0.0/8`.
    pub trusted_proxies: Vec<String>,
    /// How long a stopping server goes on accepting while `/readyz` says 503, in milliseconds, so that
    /// balancers move first. Only if `/readyz` was asked for in the last minute.
    pub leaving_ms: u64,
    /// Time for any body, in milliseconds. A long one gets more, by `body_bytes_per_s`.
    pub body_ms: u64,
    /// The slowest pace of a long body, in bytes a second.
    pub body_bytes_per_s: u64,
    /// Longest body of an incoming webhook, in bytes.
    pub hook_bytes: usize,
    /// Requests after which a connection is closed.
    pub requests_per_connection: u64,
}

impl Default for Http {
    fn default() -> Self {
        Http {
            allowed_origins: Vec::new(),
            head_bytes: 16 * 1024,
            headers: 64,
            head_ms: 10_000,
            idle_ms: 15_000,
            keep_alive_ms: 75_000,
            ping_ms: 25_000,
            trusted_proxies: Vec::new(),
            leaving_ms: 1_500,
            body_ms: 30_000,
            body_bytes_per_s: 16 * 1024,
            hook_bytes: 1024 * 1024,
            requests_per_connection: 1_000,
        }
    }
}

/// Encryption of what clients say, on the same port. Without a certificate nothing is encrypted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    /// A file with this server's certificate and the intermediate ones, as PEM.
    pub certificate: Option<PathBuf>,
    /// A file with the key of the certificate, as PEM, which only its owner and group may read.
    pub key: Option<PathBuf>,
    /// Whether clients must speak TLS. Only `GET /healthz` is answered without.
    pub required: bool,
}

/// Who may read the metrics.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MetricsSection {
    /// An address and port of their own, such as `10.1.0.5:9464`, at which no token is needed: for a network
    /// that only monitoring reaches.
    pub listen: Option<SocketAddr>,
    /// A file, readable by its owner only, with the token that monitoring sends to the port for clients.
    pub token_file: Option<PathBuf>,
}

/// The groups for heartbeats, unless the configuration names one.
const GROUP_V4: Ipv4Addr = Ipv4Addr::new(239, 0, 0, 1);
const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff12, 0, 0, 0, 0, 0, 0, 0x8040);

/// How heartbeats travel, besides to each configured server by its address.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Heartbeat {
    pub transport: Transport,
    /// The address for broadcasts. Without it: none for a cluster on loopback, else that of the network on
    /// which the others reach this server, else 255.255.255.255.
    pub broadcast_address: Option<Ipv4Addr>,
    /// The group for multicasts, of the kind of the servers' addresses. Without it: 239.0.0.1, or ff12::8040.
    pub multicast_group: Option<IpAddr>,
}

impl Heartbeat {
    /// The group for servers that listen for each other at `ip`.
    pub fn group(&self, ip: IpAddr) -> IpAddr {
        self.multicast_group.unwrap_or(match ip {
            IpAddr::V4(_) => GROUP_V4.into(),
            IpAddr::V6(_) => GROUP_V6.into(),
        })
    }
}

impl Default for Heartbeat {
    fn default() -> Self {
        Heartbeat { transport: Transport::Broadcast, broadcast_address: None, multicast_group: None }
    }
}

/// A way for heartbeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// To the broadcast address, at base port + 20 of each configured server.
    Broadcast,
    /// To the multicast group, at base port + 40 of each configured server.
    Multicast,
}

/// The log: what is in it, and a bounded number of bounded files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// How much is logged.
    pub level: LevelFilter,
    /// Size at which a new file is begun, in bytes.
    pub file_bytes: u64,
    /// How many files are kept, the current one included.
    pub files: u32,
}

impl Default for Log {
    fn default() -> Self {
        Log { level: LevelFilter::Info, file_bytes: 10 * 1024 * 1024, files: 5 }
    }
}

/// Threads whose number may be chosen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Threads {
    /// Threads that write to clients; each serves its share of the connections.
    pub fan_out: usize,
    /// Threads that read history beside the writer.
    pub query: usize,
}

impl Default for Threads {
    fn default() -> Self {
        Threads { fan_out: 1, query: 2 }
    }
}

impl ConfigFile {
    /// Reads a configuration file.
    pub fn load(path: &Path) -> Result<ConfigFile, FileError> {
        let text =
            fs::read_to_string(path).map_err(|source| FileError::Unreadable { path: path.into(), source })?;
        ConfigFile::parse(&text).map_err(|source| FileError::Text { path: path.into(), source })
    }

    /// Reads the text of a configuration file.
    pub fn parse(text: &str) -> Result<ConfigFile, TextError> {
        let value: Value = serde_json::from_str(text).map_err(TextError::NotJson)?;
        if !value.is_object() {
            return Err(TextError::NoObject);
        }
        let template = serde_json::to_value(ConfigFile::default()).expect("plain data always encodes");
        check_keys(&value, &template, "")?;
        serde_json::from_str(text).map_err(TextError::Value)
    }
}

/// Why a configuration file cannot be used.
#[derive(Debug, Error)]
pub enum FileError {
    /// It is not there, or cannot be read.
    #[error("the configuration {} cannot be read: {source}", path.display())]
    Unreadable {
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Its content is wrong.
    #[error("the configuration {}: {source}", path.display())]
    Text { path: PathBuf, source: TextError },
}

/// What is wrong with the text of a configuration file.
#[derive(Debug, Error)]
pub enum TextError {
    #[error("not JSON: {0}")]
    NotJson(#[source] serde_json::Error),
    /// It is another kind of JSON.
    #[error("it must be one JSON object")]
    NoObject,
    /// An unknown key, mostly a misspelt one.
    #[error("unknown key {place:?}; the nearest known one is {nearest:?}")]
    UnknownKey {
        /// The path of the key.
        place: String,
        /// The known key that may have been meant.
        nearest: String,
    },
    /// A value of another kind than the key's.
    #[error("{0}")]
    Value(#[source] serde_json::Error),
}

/// Compares the keys of `value` with those of `template`, which has every known key. Serde
/// would refuse unknown keys as well, but does not say where they stand, nor which key was meant.
fn check_keys(value: &Value, template: &Value, path: &str) -> Result<(), TextError> {
    match (value, template) {
        (Value::Object(given), Value::Object(known)) => {
            for (key, value) in given {
                let place = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                let Some(template) = known.get(key) else {
                    let nearest = nearest(key, known.keys()).to_owned();
                    return Err(TextError::UnknownKey { place, nearest });
                };
                check_keys(value, template, &place)?;
            }
            Ok(())
        }
        (Value::Array(given), Value::Array(known)) => {
            let Some(template) = known.first() else { return Ok(()) };
            let mut items = given.iter().enumerate();
            items.try_for_each(|(place, item)| check_keys(item, template, &format!("{path}[{place}]")))
        }
        _ => Ok(()),
    }
}

/// Of `known`, the word that takes the fewest changes to become `word`.
fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a String>) -> &'a str {
    known.min_by_key(|candidate| distance(word, candidate)).map_or("", String::as_str)
}

/// How many letters must be put in, taken out or replaced to make `b` of `a` (Levenshtein).
pub fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, letter) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, other) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != *other);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_file_is_the_default() {
        assert_eq!(ConfigFile::parse("{}").unwrap(), ConfigFile::default());
    }

    #[test]
    fn the_example_file_shows_every_key_with_its_default() {
        let text = include_str!("../../../docs/config.example.json");
        let given: Value = serde_json::from_str(text).unwrap();
        let mut expected = serde_json::to_value(ConfigFile::default()).unwrap();
        // The example is about three machines; all else in it is the default.
        expected["servers"] = given["servers"].clone();
        assert_eq!(given, expected);
        let file = ConfigFile::parse(text).unwrap();
        assert_eq!(file.servers.len(), 3);
    }

    #[test]
    fn a_misspelt_key_is_named_with_its_place_and_the_nearest() {
        for (text, place, meant) in [
            (r#"{"serverz":[]}"#, "\"serverz\"", "\"servers\""),
            (r#"{"timing":{"hartbeat_ms":60}}"#, "\"timing.hartbeat_ms\"", "\"heartbeat_ms\""),
            (r#"{"servers":[{"server_id":"a","prot":1}]}"#, "\"servers[0].prot\"", "\"port\""),
            (r#"{"limits":{"conections":5}}"#, "\"limits.conections\"", "\"connections\""),
        ] {
            let error = ConfigFile::parse(text).unwrap_err().to_string();
            assert!(error.contains(place) && error.contains(meant), "{error}");
            assert!(!error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn what_is_not_a_configuration_is_named() {
        for (text, named) in [
            ("", "not JSON"),
            ("{", "not JSON"),
            ("[]", "one JSON object"),
            (r#"{"timing":{"tick_ms":"fast"}}"#, "fast"),
            (r#"{"timing":{"tick_ms":-1}}"#, "-1"),
            (r#"{"followers":"hide"}"#, "hide"),
            (r#"{"bind":"here"}"#, "IP"),
            (r#"{"servers":[{"server_id":"a b","host":"x","port":1,"ring_position":0}]}"#, "a b"),
            (r#"{"keep_entries":1,"keep_entries":2}"#, "duplicate"),
        ] {
            let error = ConfigFile::parse(text).unwrap_err().to_string();
            assert!(error.contains(named), "{text}: {error}");
        }
    }
}
