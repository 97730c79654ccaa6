//! The command line of `syncnet-admin`: what was typed, turned into what is done.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::{Args, Parser, Subcommand};

use super::{
    status::{self, Form},
    target::Target,
};

/// The exit status of a wrong command line or configuration, as clap uses it too.
const USAGE_ERROR: u8 = 2;

/// Looks at a SyncNet cluster and measures it.
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
    /// Measure a running cluster, or failover in a temporary one.
    #[cfg(unix)]
    Bench(super::bench::command::BenchArgs),
}

/// Which cluster is meant.
#[derive(Debug, Args)]
pub(super) struct ClusterArgs {
    /// The servers' client addresses [default: localhost:8000,localhost:8001,localhost:8002]
    #[arg(long, value_delimiter = ',', value_name = "HOST:PORT,...", conflicts_with = "config")]
    servers: Vec<Target>,
    /// Take the servers from a configuration file of `syncnet-server`.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl ClusterArgs {
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
