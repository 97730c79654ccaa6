//! What a write, a page of history and a search cost with more and more messages stored.

use std::{
    num::NonZeroUsize,
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use super::{
    Run,
    body::{Bodies, word},
    connection::{CallError, Connection},
    failure::{During, Failure},
    idle::resident_bytes,
    latency::Latencies,
    local_cluster::LocalCluster,
    report::{Cell, Report},
    writers::{Level, TIMEOUT, measure_level},
};

/// A step that is not finished after so long ends the measurement.
const STEP_TIMEOUT: Duration = Duration::from_secs(1_200);
/// How long the writers run between two looks at how much is stored.
const SLICE: Duration = Duration::from_secs(5);
/// Pause between two reads, so that they are a load beside the writers and not instead of them.
const READ_EVERY: Duration = Duration::from_millis(20);
/// The word that is searched for: not among the commonest.
const SEARCHED: u64 = 500;
const MIB: f64 = 1024.0 * 1024.0;

#[derive(Debug, Clone)]
pub struct Plan {
    pub binary: PathBuf,
    pub writers: NonZeroUsize,
    /// Stored messages at which the figures are taken, rising.
    pub steps: Vec<u64>,
    pub bodies: Bodies,
}

/// Fills a cluster of its own, and reports the figures at each step.
pub fn measure(plan: &Plan) -> Result<Report, Failure> {
    let mut cluster = LocalCluster::start(&plan.binary)?;
    let run = Run::new(cluster.targets.clone(), Duration::ZERO, SLICE, plan.bodies);
    let mut rows = Vec::new();
    let mut stored = 0;
    for &step in &plan.steps {
        match fill(plan, &run, &cluster, &mut stored, step) {
            Ok(row) => rows.push(row),
            Err(reason) => return Err(cluster.failed(reason)),
        }
        eprintln!("{stored} messages are stored");
    }
    Ok(Report {
        title: format!("{} writers of {}-byte messages, by messages stored", plan.writers, plan.bodies.size),
        columns: vec![
            "stored",
            "acked_per_s",
            "p50_ms",
            "p99_ms",
            "max_ms",
            "page_p50_ms",
            "page_p99_ms",
            "page_max_ms",
            "search_p50_ms",
            "search_p99_ms",
            "search_max_ms",
            "leader_mib",
        ],
        rows,
        notes: vec!["pages of 50 events and searches are read while the writers write".into()],
    })
}

/// Writes until `step` messages are stored. The figures are those of the last slice.
fn fill(
    plan: &Plan,
    run: &Run,
    cluster: &LocalCluster,
    stored: &mut u64,
    step: u64,
) -> Result<Vec<Cell>, Failure> {
    let deadline = Instant::now() + STEP_TIMEOUT;
    loop {
        let slice = Slice::measure(run, plan.writers.get())?;
        *stored += slice.level.latencies.count();
        if *stored >= step {
            let leader = cluster.pid(cluster.targets.len() - 1)?;
            let mut row = vec![Cell::Count(*stored), Cell::Count(slice.level.acked_per_s)];
            row.extend(slice.level.latencies.cells());
            row.extend(slice.pages.cells());
            row.extend(slice.searches.cells());
            row.push(Cell::Number(resident_bytes(leader)? as f64 / MIB));
            return Ok(row);
        }
        if Instant::now() > deadline {
            let reason = format!("{step} messages were not stored within {} s", STEP_TIMEOUT.as_secs());
            return Err(Failure::new(reason));
        }
    }
}

/// Some seconds of writing, with a reader beside it.
struct Slice {
    level: Level,
    pages: Latencies,
    searches: Latencies,
}

impl Slice {
    fn measure(run: &Run, writers: usize) -> Result<Slice, Failure> {
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let reader = scope.spawn(|| read(run, writers, &stop));
            let level = measure_level(run, writers);
            stop.store(true, Ordering::Relaxed);
            let read = reader.join().map_err(|_| Failure::new("the reader panicked"))?;
            let (pages, searches) = read.during("a read")?;
            Ok(Slice { level: level?, pages, searches })
        })
    }
}

/// Reads pages of history and searches in turn, until `stop`.
fn read(run: &Run, writers: usize, stop: &AtomicBool) -> Result<(Latencies, Latencies), CallError> {
    // The first writer's room. The first of the two that joins makes it.
    let room = format!("{}.w{writers}.0", run.name);
    let mut connection = Connection::open(run.target(0), &format!("{}.reader", run.name), TIMEOUT)?;
    let middle = connection.join(&room)?.last_seq / 2;
    let page = format!(
        "{{\"msg_type\":\"history\",\"data\":{{\"room\":\"{room}\",\"before\":{},\"limit\":50}}}}\n",
        middle.max(51)
    );
    let search = format!(
        "{{\"msg_type\":\"search\",\"data\":{{\"room\":\"{room}\",\"query\":\"{}\"}}}}\n",
        word(SEARCHED)
    );
    let (mut pages, mut searches) = (Latencies::default(), Latencies::default());
    while !stop.load(Ordering::Relaxed) {
        for (request, answer, latencies) in [
            (&page, &b"{\"msg_type\":\"history\""[..], &mut pages),
            (&search, &b"{\"msg_type\":\"search\""[..], &mut searches),
        ] {
            let asked_at = Instant::now();
            connection.call_for(request, answer)?;
            latencies.add(asked_at.elapsed());
            thread::sleep(READ_EVERY);
        }
    }
    Ok((pages, searches))
}
