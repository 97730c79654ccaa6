//! The command line of `syncnet-server`.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use clap::Parser;
use log::LevelFilter;

use crate::protocol::name::ServerId;

use super::{logging::Format, server_address::ServerAddress};

/// The data folder, unless another is named.
pub const DATA_DIR: &str = "data";

/// One server of a SyncNet cluster. Without any configuration: one of three on localhost.
#[derive(Debug, Clone, Parser)]
#[command(name = "syncnet-server", version)]
pub struct Args {
    /// Which of the configured servers this is.
    #[arg(long, value_name = "ID", value_parser = |text: &str| ServerId::try_from(text.to_owned()))]
    pub server_id: ServerId,
    /// The configuration file; without it: server1, server2, server3 on localhost, ports 8000 to 8002.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// All servers of the cluster, in the order of the ring, each with the address at which the others reach
    /// it. Replaces those of the configuration file. Of those that live, the last one leads.
    #[arg(long, value_name = "ID=HOST:PORT,...", value_delimiter = ',')]
    pub servers: Vec<ServerAddress>,
    /// The addresses that clients are told, if they differ, as with the published ports of containers.
    #[arg(long, value_name = "ID=HOST:PORT,...", value_delimiter = ',')]
    pub client_addresses: Vec<ServerAddress>,
    /// Join a cluster that is there: the configuration names this server and at least one of that cluster,
    /// and without data this server begins none. It waits until it is let in by `syncnet-admin server add` or
    /// `server replace`.
    #[arg(long, value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub join: Option<bool>,
    /// The name of the cluster, in place of that of the configuration file. Clusters of different names do
    /// not talk to each other, even with the same secret.
    #[arg(long, value_name = "NAME")]
    pub cluster_name: Option<String>,
    /// The address that the ports are bound to, in place of that of the configuration file.
    #[arg(long, value_name = "IP")]
    pub bind: Option<IpAddr>,
    /// The folder in which each server keeps its data in a folder of its own. One that is named here must
    /// exist; the default one is made if it is missing.
    #[arg(long, value_name = "FOLDER", default_value = DATA_DIR)]
    pub data_dir: PathBuf,
    /// The folder of the log files. It is made if it is missing.
    #[arg(long, value_name = "FOLDER", default_value = "logs")]
    pub log_dir: PathBuf,
    /// The file with the secret that all servers share: 64 hexadecimal digits, readable by its owner
    /// only. Without this option: cluster.secret in the data folder, if there is one.
    #[arg(long, value_name = "FILE")]
    pub secret_file: Option<PathBuf>,
    /// A port of their own for the metrics, in place of that of the configuration file. No token is needed
    /// there.
    #[arg(long, value_name = "IP:PORT")]
    pub metrics_listen: Option<SocketAddr>,
    /// The file with the token that monitoring sends to the port for clients, in place of that of the
    /// configuration file.
    #[arg(long, value_name = "FILE")]
    pub metrics_token_file: Option<PathBuf>,
    /// The file with this server's certificate, in place of that of the configuration file; docs/TLS.md says
    /// more.
    #[arg(long, value_name = "FILE")]
    pub tls_certificate: Option<PathBuf>,
    /// The file with the key of the certificate, in place of that of the configuration file.
    #[arg(long, value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// Whether clients must speak TLS, in place of what the configuration file says.
    #[arg(long, value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub tls_required: Option<bool>,
    /// How much is logged: error, warn, info, debug or trace; in place of what the configuration file says.
    #[arg(long, value_name = "LEVEL", ignore_case = true)]
    pub log_level: Option<LevelFilter>,
    /// How it is logged: as text for people, or as lines of JSON for programs that collect logs.
    #[arg(long, value_name = "FORMAT", value_enum, default_value = "text", ignore_case = true)]
    pub log_format: Format,
    /// Start, check every port, the database and every thread, stop; exit status 0 if all is well.
    #[arg(long)]
    pub test_mode: bool,
    /// Ask the server that runs here under this id and configuration whether it works; exit status 0 if it
    /// does, else 1. Servers that it cannot reach change nothing about that.
    #[arg(long, conflicts_with = "test_mode")]
    pub health: bool,
    /// Ask the server that runs here whether clients can be sent to it, for which it needs a majority; exit
    /// status 0 if they can, else 1.
    #[arg(long, conflicts_with_all = ["test_mode", "health"])]
    pub ready: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_of_the_readme() {
        let args = Args::try_parse_from(["syncnet-server", "--server-id", "server3", "--log-level", "DEBUG"])
            .unwrap();
        assert_eq!(args.server_id.as_str(), "server3");
        assert_eq!(args.log_level, Some(LevelFilter::Debug));
        assert_eq!(args.data_dir, PathBuf::from("data"));
        assert!(!args.test_mode);
    }

    #[test]
    fn tls_is_asked_for_with_and_without_a_word() {
        let parse = |words: &[&str]| Args::try_parse_from([&["x", "--server-id", "a"], words].concat());
        assert_eq!(parse(&[]).unwrap().tls_required, None);
        assert_eq!(parse(&["--tls-required"]).unwrap().tls_required, Some(true));
        assert_eq!(parse(&["--tls-required=false"]).unwrap().tls_required, Some(false));
        let args =
            parse(&["--tls-certificate", "c", "--tls-key", "k", "--tls-required", "--test-mode"]).unwrap();
        assert_eq!(args.tls_key, Some(PathBuf::from("k")));
        assert!(args.test_mode);
        parse(&["--tls-required=perhaps"]).unwrap_err();
    }

    #[test]
    fn a_wrong_command_line_names_what_is_wrong() {
        for (args, named) in [
            (vec!["x"], "--server-id"),
            (vec!["x", "--server-id", "a b"], "server id"),
            (vec!["x", "--server-id", "a", "--log-level", "loud"], "--log-level"),
            (vec!["x", "--server-id", "a", "--datadir", "d"], "--data-dir"),
        ] {
            let error = Args::try_parse_from(args).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            assert!(error.to_string().contains(named), "{error}");
        }
    }
}
