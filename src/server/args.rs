//! The command line of `syncnet-server`.

use std::path::PathBuf;

use clap::Parser;
use log::LevelFilter;

use crate::protocol::name::ServerId;

/// The data folder, unless another is named.
pub const DATA_DIR: &str = "data";

/// One server of a SyncNet cluster. Without any configuration: one of three on localhost.
#[derive(Debug, Clone, Parser)]
#[command(name = "syncnet-server", version)]
pub struct Args {
    /// Which of the configured servers this is.
    #[arg(long, value_name = "ID", value_parser = server_id)]
    pub server_id: ServerId,
    /// The configuration file; without it: server1, server2, server3 on localhost, ports 8000 to 8002.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The folder in which each server keeps its data in a folder of its own. One that is named here must
    /// exist; the default one is made where it is missing.
    #[arg(long, value_name = "FOLDER", default_value = DATA_DIR)]
    pub data_dir: PathBuf,
    /// The folder of the log files. It is made where it is missing.
    #[arg(long, value_name = "FOLDER", default_value = "logs")]
    pub log_dir: PathBuf,
    /// The file with the secret that all servers share: 64 hexadecimal digits, readable by its owner
    /// only. Without this option: cluster.secret in the data folder, where there is one.
    #[arg(long, value_name = "FILE")]
    pub secret_file: Option<PathBuf>,
    /// How much is logged: error, warn, info, debug or trace.
    #[arg(long, value_name = "LEVEL", default_value = "info", ignore_case = true)]
    pub log_level: LevelFilter,
    /// Start, check every port, the database and every thread, stop; exit status 0 where all is well.
    #[arg(long)]
    pub test_mode: bool,
}

fn server_id(text: &str) -> Result<ServerId, String> {
    ServerId::try_from(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_of_the_readme() {
        let args = Args::try_parse_from(["syncnet-server", "--server-id", "server3", "--log-level", "DEBUG"])
            .unwrap();
        assert_eq!(args.server_id.as_str(), "server3");
        assert_eq!(args.log_level, LevelFilter::Debug);
        assert_eq!(args.data_dir, PathBuf::from("data"));
        assert!(!args.test_mode);
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
