//! The command line of `syncnet-admin`.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::{
    server::{config::file::ConfigFile, environment},
    tls::client::Trust,
};

use super::{
    error::UsageError,
    manual, secret,
    status::{self, Form},
    target::Target,
};

/// The exit status of a wrong command line or configuration, as clap uses it too.
const USAGE_ERROR: u8 = 2;

/// Looks at a SyncNet cluster, and looks after its accounts.
#[derive(Debug, Parser)]
#[command(name = "syncnet-admin", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show every server, who leads, and a verdict.
    ///
    /// Exit status: 0 healthy, 1 degraded (messages are taken, something is missing), 2 wrong usage,
    /// 3 no message can be taken (no leader, still forming, split, or down).
    Status(StatusArgs),
    /// Accounts: add, list, ban, delete, set a password. For those who have the cluster's secret.
    ///
    /// Exit status: 0 done, 1 not done (the reason is said), 2 wrong usage.
    User(super::user::command::UserArgs),
    /// The servers of the cluster: list, add, remove, replace, drain. For those who have the cluster's
    /// secret.
    ///
    /// Exit status: 0 done, 1 not done (the reason is said), 2 wrong usage.
    Server(super::server::ServerArgs),
    /// List what administrators, moderators and operators did. For those who have the cluster's secret.
    ///
    /// Exit status: 0 done, 1 not done (the reason is said), 2 wrong usage.
    Audit(super::audit::AuditArgs),
    /// Write all that the cluster holds to a file, accounts and files included; or check such a file. For
    /// those who have the cluster's secret.
    ///
    /// Exit status: 0 done, 1 not done (the reason is said), 2 wrong usage.
    Backup(super::backup::command::BackupArgs),
    /// Make the data folder of a server of a new cluster from such a file.
    ///
    /// Exit status: 0 done, 1 not done (the reason is said), 2 wrong usage.
    Restore(super::backup::command::RestoreArgs),
    /// Let the servers read their configuration again, each its own file, and say what has changed. For those
    /// who have the cluster's secret.
    ///
    /// Exit status: 0 done, 1 a server did not do it (the reason is said), 2 wrong usage, or a new
    /// configuration cannot be used and the server keeps the old one.
    Reload(super::reload::ReloadArgs),
    /// Let one server lead, whatever its place in the ring, for a while or until the next time: for
    /// maintenance. For those who have the cluster's secret.
    ///
    /// Exit status: 0 done, 1 not done (the reason is said), 2 wrong usage.
    TransferLeader(super::transfer_leader::TransferLeaderArgs),
    /// Write rooms with their members and events to a file of JSON lines. For those who have the cluster's
    /// secret.
    ///
    /// Exit status: 0 done, 1 not done (the reason is said), 2 wrong usage.
    Export(super::transfer::command::ExportArgs),
    /// Take rooms over from such a file. Broken off, it is simply called again.
    ///
    /// Exit status: 0 done, 1 not done (the reason is said), 2 wrong usage.
    Import(super::transfer::command::ImportArgs),
    /// Make the secret that all servers of a cluster share, in a file for its owner only. A file that has one
    /// stays as it is.
    ///
    /// Exit status: 0 the file has a secret, 2 it cannot have one.
    Secret {
        /// The file, usually cluster.secret in the data folder.
        file: PathBuf,
    },
    /// Print what a shell needs to complete the command lines of all three programs.
    ///
    /// For bash: syncnet-admin completions bash > ~/.local/share/bash-completion/completions/syncnet-admin
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
        /// Only for this program.
        #[arg(long, value_name = "NAME", value_parser = manual::PROGRAMS)]
        program: Option<String>,
    },
    /// Write the manual pages of all three programs into a folder.
    Man {
        /// The folder. It is made if it is missing.
        folder: PathBuf,
    },
}

/// Which cluster is meant.
#[derive(Debug, Args)]
pub struct ClusterArgs {
    /// The servers' client addresses [default: $SYNCNET_SERVERS, else those of the configuration file
    /// $SYNCNET_CONFIG, else localhost:8000,localhost:8001,localhost:8002]
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "HOST:PORT,...",
        conflicts_with = "config",
        global = true
    )]
    servers: Vec<Target>,
    /// Take the servers from a configuration file of `syncnet-server`.
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// Encrypt, and believe the authorities that this machine knows.
    #[arg(long, global = true)]
    tls: bool,
    /// Encrypt, and believe the authorities in this file [default: $SYNCNET_CA]
    #[arg(long, value_name = "FILE", global = true)]
    ca: Option<PathBuf>,
}

impl ClusterArgs {
    /// The name of the cluster, which is part of what proves that this is an operator: that of the
    /// configuration file, else that of the environment, else the default one.
    pub(super) fn cluster_name(&self) -> Result<String, UsageError> {
        if let Some(path) = &self.config {
            return Ok(ConfigFile::load(path).map_err(UsageError::settings)?.cluster_name);
        }
        if let Some(name) = environment::value("SYNCNET_CLUSTER_NAME") {
            return Ok(name);
        }
        match environment::value("SYNCNET_CONFIG") {
            Some(path) => Ok(ConfigFile::load(path.as_ref()).map_err(UsageError::settings)?.cluster_name),
            None => Ok(ConfigFile::default().cluster_name),
        }
    }

    /// The servers that were named, else those that the environment names, else those of a cluster without
    /// configuration.
    ///
    /// # Errors
    /// One sentence that says what of it cannot be read.
    pub fn targets(self) -> Result<Vec<Target>, UsageError> {
        let trust = Trust::wanted(self.tls, self.ca.as_deref())?;
        let targets = self.named()?;
        Ok(targets.into_iter().map(|target| Target { trust: trust.clone(), ..target }).collect())
    }

    fn named(self) -> Result<Vec<Target>, UsageError> {
        if let Some(path) = self.config {
            return Target::from_config(&path);
        }
        if !self.servers.is_empty() {
            return Ok(self.servers);
        }
        if let Some(servers) = environment::value("SYNCNET_SERVERS") {
            let wrong = |source| UsageError::Variable { variable: "SYNCNET_SERVERS", source };
            return servers.split(',').map(|server| server.parse().map_err(wrong)).collect();
        }
        match environment::value("SYNCNET_CONFIG") {
            Some(path) => Target::from_config(path.as_ref()),
            None => Ok(Target::defaults()),
        }
    }
}

#[derive(Debug, Args)]
struct StatusArgs {
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Show it again every second until Ctrl-C.
    #[arg(long)]
    watch: bool,
    /// One line instead of the table.
    #[arg(long)]
    simple: bool,
    /// One line of JSON instead of the table.
    #[arg(long, conflicts_with = "simple")]
    json: bool,
    /// How long to wait for a server's answer.
    #[arg(long, value_name = "MS", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    timeout_ms: u64,
}

pub fn command_line() -> clap::Command {
    Cli::command()
}

/// Reads the command line, does what it says, and returns the exit status.
pub fn run() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Status(args) => run_status(args),
        Command::User(args) => super::user::command::run(args),
        Command::Server(args) => super::server::run(args),
        Command::Audit(args) => super::audit::run(args),
        Command::Backup(args) => super::backup::command::backup(args),
        Command::Restore(args) => super::backup::command::restore(args),
        Command::Reload(args) => super::reload::run(args),
        Command::TransferLeader(args) => super::transfer_leader::run(args),
        Command::Export(args) => super::transfer::command::export(args),
        Command::Import(args) => super::transfer::command::import(args),
        Command::Secret { file } => secret::run(&file),
        Command::Completions { shell, program } => manual::print_completions(shell, program.as_deref()),
        Command::Man { folder } => manual::write_pages(&folder),
    };
    outcome.unwrap_or_else(|error: UsageError| {
        eprintln!("syncnet-admin: {error}");
        ExitCode::from(USAGE_ERROR)
    })
}

fn run_status(args: StatusArgs) -> Result<ExitCode, UsageError> {
    let form = if args.simple {
        Form::Simple
    } else if args.json {
        Form::Json
    } else {
        Form::Table
    };
    let timeout = Duration::from_millis(args.timeout_ms);
    let targets = args.cluster.targets()?;
    let written = if args.watch {
        status::watch(&targets, timeout, form).map(|()| 0)
    } else {
        status::once(&targets, timeout, form).map(|verdict| verdict.exit_status())
    };
    written.map(ExitCode::from).map_err(UsageError::Output)
}
