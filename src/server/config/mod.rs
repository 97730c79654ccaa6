//! One checked configuration, made of the command line, the configuration file and the secret file.
//!
//! Everything that can be wrong is found here, before the first thread or socket exists, and said in one
//! sentence that names what and where.
//!
//! | file | what it is |
//! |---|---|
//! | `mod.rs` | the configuration: loaded, and loaded again |
//! | `file.rs` | the form of the configuration file |
//! | `changes.rs` | what has changed when it is loaded again, and what needs a restart |
//! | `settings.rs` | what the command line, the environment and the file say together |
//! | `checks.rs` | what the values must be |
//! | `secrets.rs` | secrets and certificates, read from files of their own |
//! | `addresses.rs` | where a server listens, and what is this machine |
//! | `error.rs` | what can be wrong |

mod addresses;
pub mod changes;
mod checks;
pub mod error;
pub mod file;
mod secrets;
mod settings;

pub use self::{
    secrets::{load_private, load_secret},
    settings::own_client_address,
};

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use crate::{
    config::{Auth, ReplicaConfig, ServerEntry},
    protocol::{
        credential::TokenHash, directory::Directory, name::ServerId, operator::OperatorKey,
        rules::KnownRules, secret::ClusterSecret,
    },
};

use self::{
    addresses::{is_loopback, listening_ip, loopback_like},
    changes::{Change, Changes, merge},
    checks::{
        check_auth, check_cluster_name, check_group, check_http, check_limits, check_ranges, check_servers,
        find_server,
    },
    error::{ConfigError, SettingError},
    file::{ConfigFile, Heartbeat, Http, Log, Threads},
    secrets::{certificates, load_metrics_token, public_secret},
    settings::read_settings,
};
use super::{
    clients::{proxies::TrustedProxies, seats::Room},
    credentials::{Costs, Hashing},
    http::origin::Origin,
    machine::certificates::Certificates,
    program::args::{Args, DATA_DIR},
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
    /// From the end of one reading of all data for damage to the beginning of the next.
    pub scrub_pause: Duration,
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
        let servers = file.servers.clone();
        check_servers(&servers)?;
        check_cluster_name(&file.cluster_name)?;
        file.timing.check().map_err(SettingError::from)?;
        check_limits(&file.limits)?;
        check_auth(&file.auth)?;
        check_ranges(&file)?;
        let allowed_origins = check_http(&file.http)?;
        let trusted_proxies =
            TrustedProxies::parse(&file.http.trusted_proxies).map_err(SettingError::Proxy)?;
        let metrics = Metrics {
            listen: file.metrics.listen,
            token: file.metrics.token_file.as_deref().map(load_metrics_token).transpose()?,
        };
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
        check_group(&file.heartbeat, client_ip)?;
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
            scrub_pause: Duration::from_secs(file.scrub_pause_s),
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
                rules: KnownRules::OURS,
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

fn check_folder(path: &Path, what: &'static str, option: &'static str) -> Result<(), ConfigError> {
    let path = path.to_owned();
    match fs::metadata(&path) {
        Ok(metadata) if metadata.is_dir() => Ok(()),
        Ok(_) => Err(ConfigError::NoFolder { what, path, option }),
        Err(source) => Err(ConfigError::Folder { what, path, option, source }),
    }
}

#[cfg(test)]
mod tests;
