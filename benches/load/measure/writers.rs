//! Acknowledged messages a second, and how long each took.

use std::{
    num::NonZeroUsize,
    thread,
    time::{Duration, Instant},
};

use super::{
    Run,
    body::Bodies,
    connection::{CallError, Connection, chat_line},
    election_note,
    failure::{During, Failure},
    fresh_name,
    latency::Latencies,
    report::{Cell, Report},
    term,
};

/// A request that is not answered for so long ends its writer: the server gives up after 5 s itself.
pub const TIMEOUT: Duration = Duration::from_secs(10);
/// Writers only send and wait; 256 of them must not cost the machine half a gigabyte of stack.
const STACK_BYTES: usize = 128 * 1024;
/// Connections that are opened at the same time.
const OPENED_AT_ONCE: usize = 16;

/// One connection of a system that acknowledges messages.
pub trait Writer: Send {
    /// Sends a message and waits until it is acknowledged. `message` is another number each time.
    fn write(&mut self, message: u64) -> Result<(), CallError>;
}

/// What some number of writers saw together.
#[derive(Debug, Clone, Default)]
pub struct Level {
    pub writers: usize,
    pub acked_per_s: u64,
    pub latencies: Latencies,
    /// Messages that were answered by no.
    pub refused: u64,
    /// Writers whose connection ended early.
    pub lost: u64,
}

impl Level {
    pub const COLUMNS: [&'static str; 7] =
        ["writers", "acked_per_s", "p50_ms", "p99_ms", "max_ms", "refused", "lost"];

    pub fn cells(&self) -> Vec<Cell> {
        let mut row = vec![Cell::Count(self.writers as u64), Cell::Count(self.acked_per_s)];
        row.extend(self.latencies.cells());
        row.extend([Cell::Count(self.refused), Cell::Count(self.lost)]);
        row
    }
}

/// Measures with each number of writers in turn.
///
/// Each writer has its own connection, user and room, so that the figures are those of writing and not of
/// fan-out; the author's own copy of each message is still delivered.
pub fn measure(run: &Run, levels: &[NonZeroUsize]) -> Result<Report, Failure> {
    let mut rows = Vec::new();
    let term_before = term(&run.targets);
    for writers in levels {
        rows.push(measure_level(run, writers.get())?.cells());
    }
    Ok(Report {
        title: format!("Writers: {}-byte messages, each acknowledged before the next", run.bodies.size),
        columns: Level::COLUMNS.to_vec(),
        rows,
        notes: vec![election_note(term_before, term(&run.targets))],
    })
}

/// Measures SyncNet with so many writers.
pub fn measure_level(run: &Run, writers: usize) -> Result<Level, Failure> {
    let writers = open_all(writers, |number| ChatWriter::open(run, writers, number))?;
    closed_loops(writers, run.warm_up, run.duration)
}

/// Opens a writer for each number, some at the same time.
pub fn open_all<W: Writer>(
    writers: usize,
    open: impl Fn(usize) -> Result<W, CallError> + Sync,
) -> Result<Vec<W>, Failure> {
    let mut opened = Vec::with_capacity(writers);
    for first in (0..writers).step_by(OPENED_AT_ONCE) {
        let outcomes: Vec<_> = thread::scope(|scope| {
            let open = &open;
            let threads: Vec<_> = (first..writers.min(first + OPENED_AT_ONCE))
                .map(|number| scope.spawn(move || open(number)))
                .collect();
            threads.into_iter().map(|thread| thread.join()).collect()
        });
        for outcome in outcomes {
            let writer = outcome.map_err(|_| Failure::new("a connecting thread panicked"))?;
            opened.push(writer.during("a writer cannot connect")?);
        }
    }
    Ok(opened)
}

/// Lets all writers send at once, each its next message when the last one was acknowledged.
pub fn closed_loops<W: Writer>(
    writers: Vec<W>,
    warm_up: Duration,
    duration: Duration,
) -> Result<Level, Failure> {
    let count = writers.len();
    let measured_from = Instant::now() + warm_up;
    let until = measured_from + duration;
    let tallies = thread::scope(|scope| {
        let threads: Result<Vec<_>, _> = writers
            .into_iter()
            .enumerate()
            .map(|(number, writer)| {
                thread::Builder::new()
                    .name(format!("writer-{number}"))
                    .stack_size(STACK_BYTES)
                    .spawn_scoped(scope, move || closed_loop(writer, measured_from, until))
            })
            .collect();
        let threads = threads.during("a writer's thread cannot be started")?;
        let tallies =
            threads.into_iter().map(|thread| thread.join().map_err(|_| Failure::new("a writer panicked")));
        tallies.collect::<Result<Vec<Tally>, Failure>>()
    })?;

    let mut level = Level { writers: count, ..Level::default() };
    for tally in tallies {
        level.latencies.merge(&tally.latencies);
        level.refused += tally.refused;
        if let Some(reason) = tally.lost {
            eprintln!("a writer of {count} ended early: {reason}");
            level.lost += 1;
        }
    }
    level.acked_per_s = (level.latencies.count() as f64 / duration.as_secs_f64()).round() as u64;
    Ok(level)
}

/// What one writer saw.
#[derive(Default)]
struct Tally {
    latencies: Latencies,
    refused: u64,
    /// Why it ended early.
    lost: Option<String>,
}

/// Only what was sent from `measured_from` on counts.
fn closed_loop(mut writer: impl Writer, measured_from: Instant, until: Instant) -> Tally {
    let mut tally = Tally::default();
    for message in 0_u64.. {
        let sent_at = Instant::now();
        if sent_at >= until {
            break;
        }
        match writer.write(message) {
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

/// A user alone in a room of SyncNet.
struct ChatWriter {
    connection: Connection,
    room: String,
    /// No other writer sends under such ids, even in the same room.
    id_prefix: String,
    bodies: Bodies,
}

impl ChatWriter {
    fn open(run: &Run, writers: usize, number: usize) -> Result<ChatWriter, CallError> {
        let room = format!("{}.w{writers}.{number}", run.name);
        let mut connection = Connection::open(run.target(number), &room, TIMEOUT)?;
        connection.join(&room)?;
        Ok(ChatWriter { connection, room, id_prefix: fresh_name(), bodies: run.bodies })
    }
}

impl Writer for ChatWriter {
    fn write(&mut self, message: u64) -> Result<(), CallError> {
        let id = format!("{}-{message}", self.id_prefix);
        self.connection.call(&chat_line(&self.room, &id, &self.bodies.body(message)))
    }
}
