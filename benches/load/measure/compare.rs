//! SyncNet beside JetStream: the same writers, in turn, on clusters of three servers of this machine.
//!
//! Rounds alternate, because the speed of a machine drifts; of each figure the median of all rounds counts.
//! Only ratios say something about the systems: the absolute figures are those of the machine.

use std::{
    num::NonZeroUsize,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    Run,
    body::Bodies,
    failure::Failure,
    jetstream::{NatsCluster, Sync},
    local_cluster::LocalCluster,
    report::{Cell, Report},
    writers::{Level, closed_loops, measure_level, open_all},
};

#[derive(Debug, Clone)]
pub struct Plan {
    /// The program of SyncNet's server.
    pub binary: PathBuf,
    /// The program `nats-server`. Without it SyncNet is measured alone.
    pub nats_binary: Option<PathBuf>,
    pub rounds: NonZeroUsize,
    pub levels: Vec<NonZeroUsize>,
    pub warm_up: Duration,
    pub duration: Duration,
    pub bodies: Bodies,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum System {
    SyncNet,
    JetStream(Sync),
}

impl System {
    fn name(self) -> &'static str {
        match self {
            System::SyncNet => "SyncNet",
            System::JetStream(Sync::Always) => "JetStream, always synced",
            System::JetStream(Sync::Default) => "JetStream, synced every 2 min",
        }
    }
}

/// Measures each system so many times, and reports medians and ratios.
pub fn measure(plan: &Plan) -> Result<Report, Failure> {
    let mut systems = vec![System::SyncNet];
    if plan.nats_binary.is_some() {
        systems.extend([System::JetStream(Sync::Always), System::JetStream(Sync::Default)]);
    }
    let mut seen: Vec<Vec<Vec<Level>>> = vec![vec![Vec::new(); plan.levels.len()]; systems.len()];
    for round in 1..=plan.rounds.get() {
        for (system, seen) in systems.iter().zip(&mut seen) {
            eprintln!("round {round} of {}: {}", plan.rounds, system.name());
            for (level, seen) in plan.run(*system)?.into_iter().zip(seen) {
                seen.push(level);
            }
        }
    }
    let medians: Vec<Vec<Figures>> =
        seen.iter().map(|levels| levels.iter().map(|rounds| Figures::median(rounds)).collect()).collect();
    let mut rows = Vec::new();
    for (at, writers) in plan.levels.iter().enumerate() {
        for (system, figures) in systems.iter().zip(&medians) {
            rows.push(figures[at].cells(writers.get(), *system, medians[0][at].acked_per_s));
        }
    }
    Ok(Report {
        title: format!(
            "Acknowledged {}-byte messages a second, three servers, medians of {} alternated rounds",
            plan.bodies.size, plan.rounds
        ),
        columns: vec![
            "writers",
            "system",
            "acked_per_s",
            "p50_ms",
            "p99_ms",
            "syncnet_ratio",
            "refused",
            "lost",
        ],
        rows,
        notes: vec!["syncnet_ratio: SyncNet's messages a second, divided by those of the system".into()],
    })
}

impl Plan {
    /// All levels on a fresh cluster of the system.
    fn run(&self, system: System) -> Result<Vec<Level>, Failure> {
        match (system, &self.nats_binary) {
            (System::JetStream(sync), Some(binary)) => self.run_jetstream(binary, sync),
            _ => self.run_syncnet(),
        }
    }

    fn run_syncnet(&self) -> Result<Vec<Level>, Failure> {
        let mut cluster = LocalCluster::start(&self.binary)?;
        let run = Run::new(cluster.targets.clone(), self.warm_up, self.duration, self.bodies);
        let levels = self.levels.iter().map(|writers| measure_level(&run, writers.get()));
        levels.collect::<Result<_, _>>().map_err(|reason| cluster.failed(reason))
    }

    fn run_jetstream(&self, binary: &Path, sync: Sync) -> Result<Vec<Level>, Failure> {
        let cluster = NatsCluster::start(binary, sync)?;
        let level = |writers: &NonZeroUsize| {
            let writers = open_all(writers.get(), |number| cluster.writer(number, self.bodies))?;
            closed_loops(writers, self.warm_up, self.duration)
        };
        self.levels.iter().map(level).collect()
    }
}

/// The figures of one system with one number of writers, each a median of its own.
struct Figures {
    acked_per_s: u64,
    p50_ms: Option<f64>,
    p99_ms: Option<f64>,
    /// Sums, not medians: one is one too many.
    refused: u64,
    lost: u64,
}

impl Figures {
    fn median(rounds: &[Level]) -> Figures {
        let of = |figure: fn(&Level) -> Option<f64>| median(rounds.iter().filter_map(figure).collect());
        Figures {
            acked_per_s: of(|level| Some(level.acked_per_s as f64)).unwrap_or(0.0) as u64,
            p50_ms: of(|level| level.latencies.quantile_ms(0.50)),
            p99_ms: of(|level| level.latencies.quantile_ms(0.99)),
            refused: rounds.iter().map(|level| level.refused).sum(),
            lost: rounds.iter().map(|level| level.lost).sum(),
        }
    }

    fn cells(&self, writers: usize, system: System, syncnet_acked_per_s: u64) -> Vec<Cell> {
        let number = |figure: Option<f64>| figure.map_or(Cell::Nothing, Cell::Number);
        let ratio = (self.acked_per_s > 0).then(|| syncnet_acked_per_s as f64 / self.acked_per_s as f64);
        vec![
            Cell::Count(writers as u64),
            Cell::Text(system.name().into()),
            Cell::Count(self.acked_per_s),
            number(self.p50_ms),
            number(self.p99_ms),
            number(ratio),
            Cell::Count(self.refused),
            Cell::Count(self.lost),
        ]
    }
}

fn median(mut figures: Vec<f64>) -> Option<f64> {
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    match figures.len() {
        0 => None,
        count if count % 2 == 1 => Some(figures[middle]),
        _ => Some((figures[middle - 1] + figures[middle]) / 2.0),
    }
}
