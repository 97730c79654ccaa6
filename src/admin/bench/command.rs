//! The command line of `syncnet-admin bench`.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::{Args, Subcommand};

use super::{
    Run,
    failover::{self, Harm, Plan},
    fanout, idle, writers,
};
use crate::admin::{command::ClusterArgs, output::print, report::Report};

/// What was typed after `bench`.
#[derive(Debug, Args)]
pub struct BenchArgs {
    #[command(subcommand)]
    what: What,
    /// One line of JSON instead of a table.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Acknowledged messages a second and how long each took.
    ///
    /// The messages stay in the cluster, in rooms named bench-….
    Writers {
        #[command(flatten)]
        load: LoadArgs,
        /// Numbers of writers, measured one after the other.
        #[arg(long, value_delimiter = ',', value_name = "N,...", default_value = "1,16,64,256")]
        levels: Vec<usize>,
    },
    /// Deliveries a second in one room, and the time to its last reader.
    ///
    /// The messages stay in the cluster, in rooms named bench-….
    Fanout {
        #[command(flatten)]
        load: LoadArgs,
        /// Numbers of readers, measured one after the other.
        #[arg(long, value_delimiter = ',', value_name = "N,...", default_value = "10,100,1000")]
        levels: Vec<usize>,
    },
    /// Memory of the first server for each connection that says nothing.
    Idle {
        #[command(flatten)]
        cluster: ClusterArgs,
        /// The first server's process, whose memory is read (on Linux).
        #[arg(long, value_name = "PID")]
        server_pid: u32,
        /// Numbers of connections, each including those before.
        #[arg(long, value_delimiter = ',', value_name = "N,...", default_value = "1000,10000")]
        levels: Vec<usize>,
    },
    /// Start a cluster of its own, hurt its leader again and again under load, measure the silence.
    Failover {
        /// The server program [default: syncnet-server beside this program]
        #[arg(long, value_name = "FILE")]
        server_binary: Option<PathBuf>,
        /// How often the leader is hurt.
        #[arg(long, value_name = "N", default_value_t = 50)]
        rounds: usize,
        /// Closed-loop writers that keep the cluster busy.
        #[arg(long, value_name = "N", default_value_t = 8)]
        writers: usize,
        /// Freeze the leader (SIGSTOP, later SIGCONT) instead of killing it.
        #[arg(long)]
        freeze: bool,
    },
}

/// The load on a running cluster.
#[derive(Debug, Args)]
struct LoadArgs {
    #[command(flatten)]
    cluster: ClusterArgs,
    /// How long each level is measured.
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    duration: u64,
    /// Load before the measuring begins.
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(0..=3_600))]
    warm_up: u64,
    /// Size of a message's body.
    #[arg(long, value_name = "BYTES", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=16_384))]
    body: u64,
}

impl LoadArgs {
    fn run(self) -> Result<Run, String> {
        let (warm_up, duration) = (Duration::from_secs(self.warm_up), Duration::from_secs(self.duration));
        Ok(Run::new(self.cluster.targets()?, warm_up, duration, self.body as usize))
    }
}

/// Measures and prints. The exit status is 1 where the measurement failed; an error is a usage error.
pub fn run(args: BenchArgs) -> Result<ExitCode, String> {
    let measured = match args.what {
        What::Writers { load, levels } => writers::measure(&load.run()?, &checked(levels)?),
        What::Fanout { load, levels } => fanout::measure(&load.run()?, &checked(levels)?),
        What::Idle { cluster, server_pid, levels } => {
            let run = Run::new(cluster.targets()?, Duration::ZERO, Duration::ZERO, 0);
            idle::measure(&run, &checked(levels)?, server_pid)
        }
        What::Failover { server_binary, rounds, writers, freeze } => {
            let harm = if freeze { Harm::Freeze } else { Harm::Kill };
            let binary = server_binary.map_or_else(server_beside_us, Ok)?;
            failover::measure(&Plan { binary, rounds, writers, harm })
        }
    };
    let show = if args.json { Report::json } else { Report::text };
    match measured.map(|report| print(&show(&report))) {
        Ok(Ok(())) => Ok(ExitCode::SUCCESS),
        Ok(Err(error)) => Err(format!("standard output: {error}")),
        Err(reason) => {
            eprintln!("syncnet-admin: the measurement failed: {reason}");
            Ok(ExitCode::FAILURE)
        }
    }
}

/// A level of nobody would measure nothing.
fn checked(levels: Vec<usize>) -> Result<Vec<usize>, String> {
    if levels.contains(&0) { Err("a level of --levels is 0".into()) } else { Ok(levels) }
}

fn server_beside_us() -> Result<PathBuf, String> {
    let us = std::env::current_exe().map_err(|error| format!("where this program is: {error}"))?;
    let server = us.with_file_name("syncnet-server");
    if server.is_file() {
        Ok(server)
    } else {
        Err(format!("{} does not exist: name the server program with --server-binary", server.display()))
    }
}
