//! Acknowledged messages a second, and how long each took.

use std::{
    num::NonZeroUsize,
    thread,
    time::{Duration, Instant},
};

use super::{
    Run,
    connection::{CallError, Connection, chat_line},
    election_note,
    failure::{During, Failure},
    latency::Latencies,
    report::{Cell, Report},
    term,
};

/// A request that is not answered for so long ends its writer: the server gives up after 5 s itself.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Writers only send and wait; 256 of them must not cost the machine half a gigabyte of stack.
const STACK_BYTES: usize = 128 * 1024;

/// Measures with each number of writers in turn.
///
/// Each writer has its own connection, user and room, so that the figures are those of writing and not of
/// fan-out; the author's own copy of each message is still delivered.
pub fn measure(run: &Run, levels: &[NonZeroUsize]) -> Result<Report, Failure> {
    let mut rows = Vec::new();
    let term_before = term(&run.targets);
    for writers in levels {
        rows.push(measure_level(run, writers.get())?);
    }
    Ok(Report {
        title: format!("Writers: {}-byte messages, each acknowledged before the next", run.body_bytes),
        columns: vec!["writers", "acked_per_s", "p50_ms", "p99_ms", "max_ms", "refused", "lost"],
        rows,
        notes: vec![election_note(term_before, term(&run.targets))],
    })
}

/// What one writer saw.
#[derive(Default)]
struct Tally {
    latencies: Latencies,
    refused: u64,
    /// Why it ended early.
    lost: Option<String>,
}

fn measure_level(run: &Run, writers: usize) -> Result<Vec<Cell>, Failure> {
    let connections = open_all(run, writers)?;
    let measured_from = Instant::now() + run.warm_up;
    let until = measured_from + run.duration;
    let tallies = thread::scope(|scope| {
        let threads: Result<Vec<_>, _> = connections
            .into_iter()
            .enumerate()
            .map(|(number, connection)| {
                thread::Builder::new()
                    .name(format!("writer-{number}"))
                    .stack_size(STACK_BYTES)
                    .spawn_scoped(scope, move || {
                        write(run, writers, number, connection, measured_from, until)
                    })
            })
            .collect();
        let threads = threads.during("a writer's thread cannot be started")?;
        let tallies =
            threads.into_iter().map(|thread| thread.join().map_err(|_| Failure::new("a writer panicked")));
        tallies.collect::<Result<Vec<Tally>, Failure>>()
    })?;

    let (mut latencies, mut refused, mut lost) = (Latencies::default(), 0, 0);
    for tally in tallies {
        latencies.merge(&tally.latencies);
        refused += tally.refused;
        if let Some(reason) = tally.lost {
            eprintln!("a writer of {writers} ended early: {reason}");
            lost += 1;
        }
    }
    let per_s = (latencies.count() as f64 / run.duration.as_secs_f64()).round() as u64;
    let mut row = vec![Cell::Count(writers as u64), Cell::Count(per_s)];
    row.extend(latencies.cells());
    row.extend([Cell::Count(refused), Cell::Count(lost)]);
    Ok(row)
}

/// The room and the user of a writer.
fn name(run: &Run, writers: usize, number: usize) -> String {
    format!("{}.w{writers}.{number}", run.name)
}

/// Opens a connection for each writer, some at a time.
fn open_all(run: &Run, writers: usize) -> Result<Vec<Connection>, Failure> {
    const AT_ONCE: usize = 16;
    let open = |number: usize| -> Result<Connection, CallError> {
        let name = name(run, writers, number);
        let mut connection = Connection::open(run.target(number), &name, TIMEOUT)?;
        connection.join(&name)?;
        Ok(connection)
    };
    let mut connections = Vec::with_capacity(writers);
    for first in (0..writers).step_by(AT_ONCE) {
        let opened: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = (first..writers.min(first + AT_ONCE))
                .map(|number| scope.spawn(move || open(number)))
                .collect();
            threads.into_iter().map(|thread| thread.join()).collect()
        });
        for outcome in opened {
            let connection = outcome.map_err(|_| Failure::new("a connecting thread panicked"))?;
            connections.push(connection.during("a writer cannot connect")?);
        }
    }
    Ok(connections)
}

/// One writer: sends, waits, sends the next, until `until`. Only what was sent from `measured_from` on
/// counts.
fn write(
    run: &Run,
    writers: usize,
    number: usize,
    mut connection: Connection,
    measured_from: Instant,
    until: Instant,
) -> Tally {
    let name = name(run, writers, number);
    let body = "x".repeat(run.body_bytes);
    let mut tally = Tally::default();
    for message in 0_u64.. {
        let sent_at = Instant::now();
        if sent_at >= until {
            break;
        }
        match connection.call(&chat_line(&name, &message.to_string(), &body)) {
            Ok(()) if sent_at >= measured_from => tally.latencies.add(sent_at.elapsed()),
            Ok(()) => {}
            Err(CallError::Refused(refusal)) => {
                tally.refused += 1;
                thread::sleep(Duration::from_millis(refusal.retry_after_ms.unwrap_or(1)));
            }
            Err(CallError::Lost(reason)) => {
                tally.lost = Some(reason);
                break;
            }
        }
    }
    tally
}
