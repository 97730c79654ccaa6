//! The command line of `syncnet-admin`: what was typed, turned into what is done.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::{Args, Parser, Subcommand};

use crate::server::config_file::ConfigFile;

use super::{
    status::{self, Form},
    target::Target,
};

/// The exit status of a wrong command line or configuration, as clap uses it too.
const USAGE_ERROR: u8 = 2;

/// Looks at a SyncNet cluster, measures it, and looks after its accounts.
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
    /// Accounts: add, list, ban, delete, set a password. For whoever has the cluster's secret.
    ///
    /// Exit status: 0 done, 1 not done (the reason is said), 2 wrong usage.
    User(super::user::command::UserArgs),
    /// Write rooms with their members and events to a file of JSON lines. For whoever has the cluster's secret.
    ///
    /// Exit status: 0 done, 1 not done (the reason is said), 2 wrong usage.
    Export(super::transfer::command::ExportArgs),
    /// Take rooms over from such a file. Broken off, it is simply called again.
    ///
    /// Exit status: 0 done, 1 not done (the reason is said), 2 wrong usage.
    Import(super::transfer::command::ImportArgs),
    /// Measure a running cluster, or failover in a temporary one.
    #[cfg(unix)]
    Bench(super::bench::command::BenchArgs),
}

/// Which cluster is meant.
#[derive(Debug, Args)]
pub(super) struct ClusterArgs {
    /// The servers' client addresses [default: localhost:8000,localhost:8001,localhost:8002]
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
}

impl ClusterArgs {
    /// The name of the cluster, for who has to prove something to it: that of the configuration file, else the
    /// default one.
    pub(super) fn cluster_name(&self) -> Result<String, String> {
        match &self.config {
            Some(path) => Ok(ConfigFile::load(path)?.cluster_name),
            None => Ok(ConfigFile::default().cluster_name),
        }
    }

    /// The servers that were named, else those of a cluster without configuration.
    pub(super) fn targets(self) -> Result<Vec<Target>, String> {
        match self.config {
            Some(path) => Target::from_config(&path),
            None if self.servers.is_empty() => Ok(Target::defaults()),
            None => Ok(self.servers),
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

/// Reads the command line, does what it says, and returns the exit status.
pub fn run() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Status(args) => run_status(args),
        Command::User(args) => super::user::command::run(args),
        Command::Export(args) => super::transfer::command::export(args),
        Command::Import(args) => super::transfer::command::import(args),
        #[cfg(unix)]
        Command::Bench(args) => super::bench::command::run(args),
    };
    outcome.unwrap_or_else(|reason| {
        eprintln!("syncnet-admin: {reason}");
        ExitCode::from(USAGE_ERROR)
    })
}

fn run_status(args: StatusArgs) -> Result<ExitCode, String> {
    let form = match (args.simple, args.json) {
        (true, _) => Form::Simple,
        (_, true) => Form::Json,
        _ => Form::Table,
    };
    let timeout = Duration::from_millis(args.timeout_ms);
    let targets = args.cluster.targets()?;
    let written = if args.watch {
        status::watch(&targets, timeout, form).map(|()| 0)
    } else {
        status::once(&targets, timeout, form).map(|verdict| verdict.exit_status())
    };
    written.map(ExitCode::from).map_err(|error| format!("standard output: {error}"))
}
