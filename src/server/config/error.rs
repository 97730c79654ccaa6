//! What can be wrong with the configuration. Each error is one sentence for the operator at the console.

use std::{io, net::IpAddr, path::PathBuf};

use thiserror::Error;

use crate::{
    config::TimingError,
    protocol::{directory::SERVERS_MAX, name::ServerId, secret::InvalidSecret},
    server::{clients::proxies::NoAddress, machine::certificates::UnfitCertificate},
};

use super::file::FileError;

/// Shortest token for the metrics: a shorter one can be guessed.
pub(super) const METRICS_TOKEN_CHARS: usize = 16;

/// Why there is no configuration to start with.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The configuration file cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// There is something else in place of a folder.
    #[error("the {what} folder {} is not a folder; name another with {option}", path.display())]
    NoFolder {
        what: &'static str,
        /// Where it should be.
        path: PathBuf,
        option: &'static str,
    },
    /// A folder is not there, or cannot be looked into.
    #[error("the {what} folder {} cannot be used ({source}); make it, or name another with {option}", path.display())]
    Folder {
        what: &'static str,
        /// Where it should be.
        path: PathBuf,
        option: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// A file with a secret in it cannot be used.
    #[error(transparent)]
    Secret(#[from] SecretFileError),
    /// An option names a server that is not there.
    #[error("--client-addresses (SYNCNET_CLIENT_ADDRESSES) names {0}, which is not among the servers")]
    Stranger(ServerId),
    /// An option names a server twice.
    #[error("--client-addresses (SYNCNET_CLIENT_ADDRESSES) names {0} twice")]
    Twice(ServerId),
    #[error("{place}: {source}")]
    Setting {
        /// Where the settings come from.
        place: String,
        source: SettingError,
    },
}

#[derive(Debug, Error)]
#[error("{what} {}: {source}", path.display())]
pub struct SecretFileError {
    pub what: &'static str,
    pub path: PathBuf,
    pub source: Unfit,
}

/// What is wrong with a file that holds a secret. Nothing of its content is repeated.
#[derive(Debug, Error)]
pub enum Unfit {
    /// It cannot be read.
    #[error(transparent)]
    Unreadable(#[from] io::Error),
    /// Others than its owner can read or write it.
    #[error("others can read it (mode {0:o}); run chmod 600 on it")]
    Open(u32),
    #[error(transparent)]
    ClusterSecret(#[from] InvalidSecret),
    #[error("it must hold one word of at least {METRICS_TOKEN_CHARS} characters")]
    MetricsToken,
}

#[derive(Debug, Error)]
pub enum SettingError {
    /// A number is too small or too large.
    #[error("{name} is {value}; it must be {least} to {most}")]
    OutOfRange { name: &'static str, value: u64, least: u64, most: u64 },
    /// Times that do not fit together.
    #[error(transparent)]
    Timing(#[from] TimingError),
    #[error("cluster_name is {0:?}; it must be 1 to 64 of visible ASCII")]
    ClusterName(String),
    /// There are no servers, or too many.
    #[error("there are {0} servers; there must be 1 to {SERVERS_MAX}")]
    Servers(usize),
    /// There is no cluster that it could join.
    #[error("{0} is to join a cluster and its configuration names no server of one; name at least one")]
    JoinsNone(ServerId),
    #[error("--server-id {server_id} is not among the servers ({known})")]
    NotAmong {
        server_id: ServerId,
        /// The others, in one list.
        known: String,
    },
    /// Two have one id.
    #[error("two servers have the id {0}")]
    SameId(ServerId),
    /// Two have one place in the ring.
    #[error("{one} and {other} have the same ring_position {position}")]
    SamePosition { one: ServerId, other: ServerId, position: u32 },
    /// A text that cannot be a host.
    #[error("the {what} of {server_id} is {host:?}; it must be a name or an IP address")]
    Host { what: &'static str, server_id: ServerId, host: String },
    /// A number that cannot be a port.
    #[error("the {what} of {server_id} is {port}; it must be 1 to {most}")]
    Port {
        what: &'static str,
        server_id: ServerId,
        port: u16,
        /// The highest that it may be.
        most: u16,
    },
    /// Two servers would listen on the same port.
    #[error("{one} and {other} on host {host} would both use port {port}")]
    SamePort { one: ServerId, other: ServerId, host: String, port: u16 },
    /// Clients would be told the same address for two servers.
    #[error(
        "clients would be told {host}:{port} for both {one} and {other}; give each a client_port or client_host of \
         its own"
    )]
    SameClientAddress {
        one: ServerId,
        other: ServerId,
        /// The host that would be told.
        host: String,
        port: u16,
    },
    /// Servers are on other machines, and there is no secret to know them by.
    #[error(
        "{server_id} is on {host}, but there is no cluster secret; put the same 64 random hexadecimal digits into {} \
         of every server", path.display()
    )]
    NoSecret {
        server_id: ServerId,
        host: String,
        /// Where the secret is looked for.
        path: PathBuf,
    },
    /// TLS is required, and there is no certificate.
    #[error("tls.required needs a certificate: name the files in tls.certificate and tls.key")]
    NoCertificate,
    /// Only one of the two files is named.
    #[error("tls.{has} is set, and tls.{lacks} is not; TLS needs both files")]
    HalfOfTls {
        /// The one that is there.
        has: &'static str,
        lacks: &'static str,
    },
    #[error(transparent)]
    Certificate(#[from] UnfitCertificate),
    /// An allowed origin is none.
    #[error("http.allowed_origins has {0:?} in it; an origin is like https://chat.example.org:8443")]
    Origin(String),
    #[error("http.trusted_proxies has {:?} in it; name an address, or a network such as 10.0.0.0/8", .0.0)]
    Proxy(NoAddress),
    /// The group is none, or not of the kind of the server's addresses.
    #[error("heartbeat.multicast_group is {group}; it must be in {wanted}")]
    MulticastGroup { group: IpAddr, wanted: &'static str },
    #[error(transparent)]
    MetricsToken(#[from] SecretFileError),
}
