//! What can be typed.

use std::{fs, num::NonZeroUsize, path::PathBuf, process::ExitCode, time::Duration};

use clap::{Args, Parser, Subcommand};
use syncnet::admin::{cluster::ClusterArgs, output::print};

use super::measure::{
    Run,
    body::Bodies,
    compare,
    failover::{self, Harm, Plan},
    failure::{During, Failure},
    fanout, growth, idle,
    report::Report,
    writers,
};

/// Puts load on a SyncNet cluster and measures it.
#[derive(Debug, Parser)]
#[command(name = "load", bin_name = "cargo bench --bench load --")]
struct Cli {
    #[command(subcommand)]
    what: What,
    /// One line of JSON instead of a table.
    #[arg(long, global = true)]
    json: bool,
    /// The same line of JSON in a file, beside what is shown.
    #[arg(long, global = true, value_name = "FILE")]
    json_file: Option<PathBuf>,
    /// What cargo says to every bench.
    #[arg(long, global = true, hide = true)]
    bench: bool,
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
        levels: Vec<NonZeroUsize>,
    },
    /// Deliveries a second in one room, and the time to its last reader.
    ///
    /// The messages stay in the cluster, in rooms named bench-….
    Fanout {
        #[command(flatten)]
        load: LoadArgs,
        /// Numbers of readers, measured one after the other.
        #[arg(long, value_delimiter = ',', value_name = "N,...", default_value = "10,100,1000")]
        levels: Vec<NonZeroUsize>,
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
        levels: Vec<NonZeroUsize>,
    },
    /// SyncNet beside JetStream: writers on clusters of their own, in alternated rounds, with ratios.
    Compare {
        #[command(flatten)]
        programs: Programs,
        /// Rounds of each system; medians are reported.
        #[arg(long, value_name = "N", default_value = "5")]
        rounds: NonZeroUsize,
        /// Numbers of writers, measured one after the other.
        #[arg(long, value_delimiter = ',', value_name = "N,...", default_value = "1,16,64,256")]
        levels: Vec<NonZeroUsize>,
        #[command(flatten)]
        time: TimeArgs,
        #[command(flatten)]
        bodies: BodyArgs,
    },
    /// Fill a cluster of its own, and take the figures with more and more messages stored.
    Growth {
        /// The server program.
        #[arg(long, value_name = "FILE", default_value = env!("CARGO_BIN_EXE_syncnet-server"))]
        server_binary: PathBuf,
        #[arg(long, value_name = "N", default_value = "64")]
        writers: NonZeroUsize,
        /// Stored messages at which the figures are taken, rising.
        #[arg(
            long,
            value_delimiter = ',',
            value_name = "N,...",
            default_value = "10000,100000,250000,500000,1000000"
        )]
        steps: Vec<u64>,
        #[command(flatten)]
        bodies: BodyArgs,
    },
    /// Start a cluster of its own, hurt its leader again and again under load, measure the silence.
    Failover {
        /// The server program.
        #[arg(long, value_name = "FILE", default_value = env!("CARGO_BIN_EXE_syncnet-server"))]
        server_binary: PathBuf,
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
    #[command(flatten)]
    time: TimeArgs,
    #[command(flatten)]
    bodies: BodyArgs,
}

/// The programs of a comparison.
#[derive(Debug, Args)]
struct Programs {
    /// The server program.
    #[arg(long, value_name = "FILE", default_value = env!("CARGO_BIN_EXE_syncnet-server"))]
    server_binary: PathBuf,
    /// The program nats-server. Without it SyncNet is measured alone.
    #[arg(long, value_name = "FILE")]
    nats_binary: Option<PathBuf>,
}

/// How long to measure.
#[derive(Debug, Args)]
struct TimeArgs {
    /// How long each level is measured.
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    duration: u64,
    /// Load before the measuring begins.
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(0..=3_600))]
    warm_up: u64,
}

impl TimeArgs {
    fn warm_up(&self) -> Duration {
        Duration::from_secs(self.warm_up)
    }

    fn duration(&self) -> Duration {
        Duration::from_secs(self.duration)
    }
}

/// What messages say.
#[derive(Debug, Args)]
struct BodyArgs {
    /// Size of a message's body.
    #[arg(long, value_name = "BYTES", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=16_384))]
    body: u64,
    /// Bodies of words, for the index of searches; else one long word.
    #[arg(long)]
    words: bool,
}

impl BodyArgs {
    fn bodies(&self) -> Bodies {
        Bodies { size: self.body as usize, words: self.words }
    }
}

impl LoadArgs {
    fn run(self) -> Result<Run, Failure> {
        let targets = self.cluster.targets().during("which servers")?;
        Ok(Run::new(targets, self.time.warm_up(), self.time.duration(), self.bodies.bodies()))
    }
}

/// Reads the command line, measures and prints. The exit status is 1 if that failed, and 2 for a wrong
/// command line.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let show = if cli.json { Report::json } else { Report::text };
    let json_file = cli.json_file;
    let done = cli.what.measure().and_then(|report| {
        if let Some(path) = json_file {
            fs::write(&path, report.json()).during(path.display())?;
        }
        print(&show(&report)).during("standard output")
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("load: {reason}");
            ExitCode::FAILURE
        }
    }
}

impl What {
    fn measure(self) -> Result<Report, Failure> {
        match self {
            What::Writers { load, levels } => writers::measure(&load.run()?, &levels),
            What::Fanout { load, levels } => fanout::measure(&load.run()?, &levels),
            What::Idle { cluster, server_pid, levels } => {
                let targets = cluster.targets().during("which servers")?;
                // Nothing is said.
                let run = Run::new(targets, Duration::ZERO, Duration::ZERO, Bodies { size: 0, words: false });
                idle::measure(&run, &levels, server_pid)
            }
            What::Compare { programs, rounds, levels, time, bodies } => compare::measure(&compare::Plan {
                binary: programs.server_binary,
                nats_binary: programs.nats_binary,
                rounds,
                levels,
                warm_up: time.warm_up(),
                duration: time.duration(),
                bodies: bodies.bodies(),
            }),
            What::Growth { server_binary: binary, writers, steps, bodies } => {
                growth::measure(&growth::Plan { binary, writers, steps, bodies: bodies.bodies() })
            }
            What::Failover { server_binary: binary, rounds, writers, freeze } => {
                let harm = if freeze { Harm::Freeze } else { Harm::Kill };
                failover::measure(&Plan { binary, rounds, writers, harm })
            }
        }
    }
}
