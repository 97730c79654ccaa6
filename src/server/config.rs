//! One checked configuration, made of the command line, the configuration file and the secret file.
//!
//! Everything that can be wrong is found here, before the first thread or socket exists, and said in one
//! sentence that names what and where.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    config::{Auth, ReplicaConfig, ServerEntry},
    protocol::{
        credential::TokenHash,
        datagram::SERVERS_MAX,
        directory::Directory,
        limits::{HISTORY_BYTES, LINE_BYTES_LEAST, Limits},
        name::ServerId,
        operator::OperatorKey,
        secret::ClusterSecret,
    },
};

use super::{
    args::{Args, DATA_DIR},
    certificates::Certificates,
    clients::Room,
    config_error::{ConfigError, METRICS_TOKEN_CHARS, SecretFileError, SettingError, Unfit},
    config_file::{AuthSection, ConfigFile, Heartbeat, Http, Log, Threads, Tls},
    credentials::{Costs, Hashing},
    http::origin::Origin,
    ports::{PORTS, Port},
    proxies::TrustedProxies,
    reload::{Change, Changes, merge},
    server_address::ServerAddress,
};

/// Everything a server is told, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// The sources of all other fields.
    source: Source,
    pub replica: ReplicaConfig,
    me: ServerEntry,
    pub cluster_name: String,
    pub secret: ClusterSecret,
    /// Whether there is no secret, so that the public one is used on loopback.
    pub secret_is_public: bool,
    /// Where the ports for clients are bound.
    pub client_ip: IpAddr,
    /// Where the ports for servers are bound.
    pub peer_ip: IpAddr,
    /// Whether all servers are on this machine.
    pub on_loopback: bool,
    pub http: Http,
    pub allowed_origins: Vec<Origin>,
    /// Proxies that may say for whom they speak.
    pub trusted_proxies: TrustedProxies,
    /// The certificate and key; `None` if clients cannot speak TLS.
    pub certificates: Option<Arc<Certificates>>,
    /// Whether clients must speak TLS.
    pub tls_required: bool,
    pub metrics: Metrics,
    pub heartbeat: Heartbeat,
    /// The log.
    pub log: Log,
    /// Threads whose number may be chosen.
    pub threads: Threads,
    pub hashing: Hashing,
    /// This server's own data folder. Its parent exists.
    pub data_dir: PathBuf,
    /// This server's log file. Its folder exists.
    pub log_file: PathBuf,
}

/// The sources of a configuration.
#[derive(Debug, Clone)]
struct Source {
    args: Args,
    /// The configuration file, with the settings that the command line and the environment replace.
    file: ConfigFile,
    /// Its name in errors.
    place: String,
}

/// Who may read the metrics, besides clients on this machine and administrators.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    /// Every client that reaches this port.
    pub listen: Option<SocketAddr>,
    /// Every client that sends this token.
    pub token: Option<TokenHash>,
}

impl Config {
    /// Reads the files that `args` names and checks everything.
    pub fn load(args: &Args) -> Result<Config, ConfigError> {
        let (file, place) = read_settings(args)?;
        // A data folder that was named and is not there is not made: it may be a wrong name or a disk that
        // is not mounted, and a server that then began empty would have to be rebuilt from the others.
        // The default one was not named by the operator, and a first try in any folder should work.
        if args.data_dir == Path::new(DATA_DIR) {
            let _ = fs::create_dir(&args.data_dir);
        }
        check_folder(&args.data_dir, "data", "--data-dir")?;
        // A new log folder loses nothing. If this fails, the check that follows says why.
        let _ = fs::create_dir(&args.log_dir);
        check_folder(&args.log_dir, "log", "--log-dir")?;
        let secret = load_secret(args.secret_file.as_deref(), &args.data_dir)?;
        Config::check(Source { args: args.clone(), file, place }, secret)
    }

    /// This configuration with the changes in the files that need no restart, and all changes.
    ///
    /// # Errors
    /// A server could not start with the files as they are now.
    pub fn reload(&self) -> Result<(Config, Changes), ConfigError> {
        let told = Config::load(&self.source.args)?;
        let (file, mut changes) = merge(&self.source.file, &told.source.file);
        let secret = (!self.secret_is_public).then(|| self.secret.clone());
        let config = Config::check(Source { file, ..told.source }, secret)?;
        if told.secret != self.secret {
            changes.needs_restart.push(Change::of_content("--secret-file"));
        }
        let is_named = |setting| changes.changed.iter().any(|change| change.setting == setting);
        let tls = (&self.certificates, &config.certificates);
        let mut other_content = Vec::new();
        if self.metrics.token != config.metrics.token && !is_named("metrics.token_file") {
            other_content.push("metrics.token_file");
        }
        if let (Some(was), Some(is)) = tls
            && !was.is_of_same_files(is)
            && !is_named("tls.certificate")
            && !is_named("tls.key")
        {
            other_content.push("tls.certificate");
        }
        changes.changed.extend(other_content.into_iter().map(Change::of_content));
        Ok((config, changes))
    }

    fn check(source: Source, secret: Option<ClusterSecret>) -> Result<Config, ConfigError> {
        let place = source.place.clone();
        Config::checked(source, secret).map_err(|source| ConfigError::Setting { place, source })
    }

    fn checked(source: Source, secret: Option<ClusterSecret>) -> Result<Config, SettingError> {
        let (args, file) = (&source.args, source.file.clone());
        let ConfigFile { servers, .. } = file;
        check_servers(&servers)?;
        check_cluster_name(&file.cluster_name)?;
        file.timing.check().map_err(SettingError::from)?;
        check_limits(&file.limits)?;
        check_auth(&file.auth)?;
        check_ranges(&file.log, &file.threads, file.keep_entries)?;
        let allowed_origins = check_http(&file.http)?;
        let trusted_proxies =
            TrustedProxies::parse(&file.http.trusted_proxies).map_err(SettingError::Proxy)?;
        let metrics = Metrics {
            listen: file.metrics.listen,
            token: file.metrics.token_file.as_deref().map(load_metrics_token).transpose()?,
        };
        if !file.heartbeat.multicast_group.is_multicast() {
            return Err(SettingError::MulticastGroup(file.heartbeat.multicast_group));
        }
        let me = find_server(&servers, &args.server_id)?.clone();
        if file.join && servers.len() == 1 {
            return Err(SettingError::JoinsNone(me.server_id));
        }
        let (secret, secret_is_public) = match secret {
            Some(secret) => (secret, false),
            None => (public_secret(&servers, &args.data_dir)?, true),
        };
        let client_ip = listening_ip(&file.bind, &me);
        let loopback = loopback_like(client_ip);
        let on_loopback = servers.iter().all(|server| is_loopback(&server.host));
        Ok(Config {
            cluster_name: file.cluster_name,
            secret,
            secret_is_public,
            client_ip,
            peer_ip: if secret_is_public { loopback } else { client_ip },
            on_loopback,
            http: file.http,
            allowed_origins,
            trusted_proxies,
            certificates: certificates(&file.tls)?,
            tls_required: file.tls.required,
            metrics,
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
                server_id: me.server_id.clone(),
                servers: servers.into(),
                joins: file.join,
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
            source,
            me,
        })
    }

    /// The key of this cluster's operators; `None` if there is no secret to prove anything with.
    pub fn operator_key(&self) -> Option<OperatorKey> {
        (!self.secret_is_public).then(|| OperatorKey::new(&self.secret, &self.cluster_name))
    }

    /// How many connections there may be.
    pub fn room(&self) -> Room {
        Room::of(&self.replica.limits)
    }

    pub fn server_id(&self) -> &ServerId {
        &self.replica.server_id
    }

    /// This server's entry in its own configuration.
    pub fn me(&self) -> &ServerEntry {
        &self.me
    }

    /// The servers are those of the log from now on, if it has any. The own ports stay those of the
    /// configuration.
    pub fn follow(&mut self, servers: &Directory) {
        let me = &self.me;
        if let Some(listed) = servers.entry(&me.server_id).filter(|listed| listed.port != me.port) {
            log::warn!(
                "the others look for {} at {}:{}, and it listens at port {}: one of the two is wrong",
                me.server_id,
                listed.host,
                listed.port,
                me.port
            );
        }
        self.replica.servers = servers.clone();
    }

    /// All servers but this one.
    pub fn peers(&self) -> impl Iterator<Item = &ServerEntry> {
        self.replica.servers.iter().filter(|server| server.server_id != self.replica.server_id)
    }
}

/// This machine's address of the client port of the server that `args` names, and its certificate if it
/// requires TLS. Needs no folder and no secret.
pub fn own_client_address(args: &Args) -> Result<(SocketAddr, Option<PathBuf>), ConfigError> {
    let (file, place) = read_settings(args)?;
    let certificate = file.tls.certificate.clone().filter(|_| file.tls.required);
    let find = || {
        check_servers(&file.servers)?;
        let me = find_server(&file.servers, &args.server_id)?;
        let ip = listening_ip(&file.bind, me);
        Ok(SocketAddr::new(if ip.is_unspecified() { loopback_like(ip) } else { ip }, me.port))
    };
    let address = find().map_err(|source| ConfigError::Setting { place, source })?;
    Ok((address, certificate))
}

/// The configuration file with the settings that the command line and the environment replace, and what to
/// call that in an error. The values that came from the file are not checked yet.
fn read_settings(args: &Args) -> Result<(ConfigFile, String), ConfigError> {
    let (mut file, mut source) = match &args.config {
        Some(path) => (ConfigFile::load(path)?, format!("the configuration {}", path.display())),
        None => (ConfigFile::default(), "the built-in configuration (name another with --config)".into()),
    };
    if !args.servers.is_empty() {
        file.servers = (0..)
            .zip(&args.servers)
            .map(|(place, server)| {
                ServerEntry::new(server.server_id.clone(), &*server.host, server.port, place)
            })
            .collect();
        source += " with --servers (SYNCNET_SERVERS)";
    }
    let mut told = BTreeSet::new();
    for ServerAddress { server_id, host, port } in &args.client_addresses {
        let server = file.servers.iter_mut().find(|server| server.server_id == *server_id);
        let server = server.ok_or_else(|| ConfigError::Stranger(server_id.clone()))?;
        if !told.insert(server_id) {
            return Err(ConfigError::Twice(server_id.clone()));
        }
        (server.client_host, server.client_port) = (Some(host.clone()), Some(*port));
    }
    if let Some(name) = &args.cluster_name {
        file.cluster_name.clone_from(name);
    }
    file.join = args.join.unwrap_or(file.join);
    file.bind = args.bind.or(file.bind);
    file.log.level = args.log_level.unwrap_or(file.log.level);
    file.metrics.listen = args.metrics_listen.or(file.metrics.listen);
    if args.tls_certificate.is_some() || args.tls_key.is_some() {
        // The two belong together: one from the file must not be mixed with one from the command line.
        (file.tls.certificate, file.tls.key) = (args.tls_certificate.clone(), args.tls_key.clone());
    }
    file.tls.required = args.tls_required.unwrap_or(file.tls.required);
    file.metrics.token_file = args.metrics_token_file.clone().or(file.metrics.token_file);
    Ok((file, source))
}

/// The address that a server's ports are bound to.
fn listening_ip(bind: &Option<IpAddr>, me: &ServerEntry) -> IpAddr {
    let all = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    bind.unwrap_or(if is_loopback(&me.host) { loopback_like(all) } else { all })
}

/// The loopback address of the same kind as `ip`.
fn loopback_like(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    }
}

/// Whether `host` means this machine and cannot be reached from any other.
fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn check_folder(path: &Path, what: &'static str, option: &'static str) -> Result<(), ConfigError> {
    let path = path.to_owned();
    match fs::metadata(&path) {
        Ok(metadata) if metadata.is_dir() => Ok(()),
        Ok(_) => Err(ConfigError::NoFolder { what, path, option }),
        Err(source) => Err(ConfigError::Folder { what, path, option, source }),
    }
}

fn check_cluster_name(name: &str) -> Result<(), SettingError> {
    let fits = (1..=64).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic());
    if fits { Ok(()) } else { Err(SettingError::ClusterName(name.into())) }
}

fn find_server<'a>(
    servers: &'a [ServerEntry],
    server_id: &ServerId,
) -> Result<&'a ServerEntry, SettingError> {
    servers.iter().find(|server| server.server_id == *server_id).ok_or_else(|| {
        let known: Vec<_> = servers.iter().map(|server| server.server_id.as_str()).collect();
        SettingError::NotAmong { server_id: server_id.clone(), known: known.join(", ") }
    })
}

fn check_servers(servers: &[ServerEntry]) -> Result<(), SettingError> {
    if !(1..=SERVERS_MAX).contains(&servers.len()) {
        return Err(SettingError::Servers(servers.len()));
    }
    let mut used: BTreeMap<(String, u16, bool), &ServerEntry> = BTreeMap::new();
    let mut told: BTreeMap<(String, u16), &ServerEntry> = BTreeMap::new();
    for (place, server) in servers.iter().enumerate() {
        let server_id = server.server_id.clone();
        let (client_host, client_port) = server.client_address();
        for (what, host) in [("host", server.host.as_str()), ("client_host", client_host)] {
            if host.is_empty() || host.len() > 253 || !host.bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err(SettingError::Host { what, server_id, host: host.into() });
            }
        }
        if client_port == 0 {
            return Err(SettingError::Port { what: "client_port", server_id, port: 0, most: u16::MAX });
        }
        for earlier in &servers[..place] {
            if earlier.server_id.as_str().eq_ignore_ascii_case(server_id.as_str()) {
                return Err(SettingError::SameId(server_id));
            }
            if earlier.ring_position == server.ring_position {
                let (one, position) = (earlier.server_id.clone(), server.ring_position);
                return Err(SettingError::SamePosition { one, other: server_id, position });
            }
        }
        for port in PORTS {
            let most = u16::MAX - Port::OFFSET_MAX;
            let wrong =
                || SettingError::Port { what: "port", server_id: server_id.clone(), port: server.port, most };
            let number = port.of(server.port).ok_or_else(wrong)?;
            if let Some(other) = used.insert((host_key(&server.host), number, port.is_tcp()), server)
                && other.server_id != server_id
            {
                let (one, host) = (other.server_id.clone(), server.host.clone());
                return Err(SettingError::SamePort { one, other: server_id, host, port: number });
            }
        }
        if let Some(other) = told.insert((host_key(client_host), client_port), server) {
            return Err(SettingError::SameClientAddress {
                one: other.server_id.clone(),
                other: server_id,
                host: client_host.into(),
                port: client_port,
            });
        }
    }
    Ok(())
}

/// Hosts that are certainly the same machine have the same key.
fn host_key(host: &str) -> String {
    if is_loopback(host) { "localhost".into() } else { host.to_ascii_lowercase() }
}

fn within(name: &'static str, value: u64, least: u64, most: u64) -> Result<(), SettingError> {
    let fits = (least..=most).contains(&value);
    if fits { Ok(()) } else { Err(SettingError::OutOfRange { name, value, least, most }) }
}

fn check_limits(limits: &Limits) -> Result<(), SettingError> {
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
    // With less, no user could send the longest line.
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
    // With less, no user could have the largest file.
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

fn check_auth(auth: &AuthSection) -> Result<(), SettingError> {
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

fn check_ranges(log: &Log, threads: &Threads, keep_entries: u64) -> Result<(), SettingError> {
    within("log.file_bytes", log.file_bytes, 4096, 1 << 40)?;
    within("log.files", log.files.into(), 1, 1_000)?;
    within("threads.fan_out", threads.fan_out as u64, 1, 64)?;
    within("threads.query", threads.query as u64, 1, 64)?;
    within("keep_entries", keep_entries, 100, 100_000_000)
}

/// Checks the section `http`, and reads the origins in it.
fn check_http(http: &Http) -> Result<Vec<Origin>, SettingError> {
    let hour_ms = 3_600_000;
    within("http.head_bytes", http.head_bytes as u64, 1024, 1024 * 1024)?;
    within("http.headers", http.headers as u64, 8, 1_000)?;
    within("http.head_ms", http.head_ms, 100, hour_ms)?;
    within("http.idle_ms", http.idle_ms, 100, hour_ms)?;
    within("http.keep_alive_ms", http.keep_alive_ms, 100, hour_ms)?;
    within("http.ping_ms", http.ping_ms, 100, 30_000)?;
    within("http.leaving_ms", http.leaving_ms, 0, 2_000)?;
    within("http.body_ms", http.body_ms, 100, hour_ms)?;
    within("http.body_bytes_per_s", http.body_bytes_per_s, 1, 1 << 30)?;
    within("http.hook_bytes", http.hook_bytes as u64, 1024, 8 * 1024 * 1024)?;
    within("http.requests_per_connection", http.requests_per_connection, 1, 1_000_000_000)?;
    let origins = http.allowed_origins.iter();
    origins.map(|text| Origin::parse(text).ok_or_else(|| SettingError::Origin(text.clone()))).collect()
}

fn certificates(tls: &Tls) -> Result<Option<Arc<Certificates>>, SettingError> {
    match (&tls.certificate, &tls.key) {
        (Some(certificate), Some(key)) => Ok(Some(Arc::new(Certificates::load(certificate, key)?))),
        (None, None) if tls.required => Err(SettingError::NoCertificate),
        (None, None) => Ok(None),
        (Some(_), None) => Err(SettingError::HalfOfTls { has: "certificate", lacks: "key" }),
        (None, Some(_)) => Err(SettingError::HalfOfTls { has: "key", lacks: "certificate" }),
    }
}

/// The secret from the file that was named, or from the usual place if it is there.
pub fn load_secret(
    secret_file: Option<&Path>,
    data_dir: &Path,
) -> Result<Option<ClusterSecret>, SecretFileError> {
    let usual = data_dir.join("cluster.secret");
    let path = secret_file.unwrap_or(&usual);
    if secret_file.is_none() && matches!(fs::exists(path), Ok(false)) {
        return Ok(None);
    }
    let read = || Ok(ClusterSecret::parse(&read_private(path)?)?);
    let what = "the secret file";
    read().map(Some).map_err(|source| SecretFileError { what, path: path.into(), source })
}

/// The token for the metrics. It is kept as its hash only.
fn load_metrics_token(path: &Path) -> Result<TokenHash, SecretFileError> {
    let read = || {
        let text = read_private(path)?;
        let token = text.trim();
        if token.len() < METRICS_TOKEN_CHARS || token.contains(char::is_whitespace) {
            return Err(Unfit::MetricsToken);
        }
        Ok(TokenHash::of(token))
    };
    let what = "the file of metrics.token_file";
    read().map_err(|source| SecretFileError { what, path: path.into(), source })
}

/// Reads a file that only its owner may read or write. Systems without such permissions do not check that.
fn read_private(path: &Path) -> Result<String, Unfit> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(path)?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(Unfit::Open(mode & 0o777));
        }
    }
    Ok(fs::read_to_string(path)?)
}

/// The public secret, which is good enough on loopback and nowhere else.
fn public_secret(servers: &[ServerEntry], data_dir: &Path) -> Result<ClusterSecret, SettingError> {
    match servers.iter().find(|server| !is_loopback(&server.host)) {
        None => Ok(ClusterSecret::public()),
        Some(remote) => Err(SettingError::NoSecret {
            server_id: remote.server_id.clone(),
            host: remote.host.clone(),
            path: data_dir.join("cluster.secret"),
        }),
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
        assert_eq!(
            (config.cluster_name.as_str(), config.client_ip.to_string()),
            ("file", "127.0.0.1".into())
        );
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
        assert_eq!(
            (config.cluster_name.as_str(), config.client_ip.to_string()),
            ("typed", "127.0.0.3".into())
        );
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
}
