//! How long there is no answer when the leader dies, freezes or hands over.
//!
//! A cluster of our own runs under the load of closed-loop writers on all its servers. Then, so many times:
//! the leader is hurt, the time until the next acknowledgement is taken, the leader is mended, and the
//! cluster settles again, with leadership back at the highest ring position.
//!
//! What counts as the next acknowledgement: one for a message that was *sent* after the leader was hurt, by
//! any writer. An acknowledgement that was already on its way would make the figure look better than it is.
//! One writer, on a server that is not hurt, waits for that very moment, so that there always is such a
//! message at once.
//!
//! The writers behave as the client library does: after a lost connection or an `unavailable` they connect
//! to the next server and send the same message under the same `client_msg_id`. Every writer is alone in its
//! room, so its n-th message must be acknowledged as the room's event n + 1 (the first is its joining): a
//! message lost, doubled or moved by a failover is noticed at once and ends the measurement.

use std::{
    collections::VecDeque,
    path::PathBuf,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use parking_lot::Mutex;

use super::{
    connection::{CallError, Connection, chat_line},
    failure::Failure,
    latency::Latencies,
    local_cluster::LocalCluster,
    report::{Cell, Report},
};
use syncnet::{
    admin::{probe, target::Target},
    protocol::Code,
};

/// A request that is not answered for so long is sent again elsewhere, as a client would.
const REQUEST_TIMEOUT: Duration = Duration::from_millis(1_500);
/// Without an acknowledgement for so long a round has failed.
const ROUND_TIMEOUT: Duration = Duration::from_secs(30);
/// The time around a handover in which the longest silence is taken to be the handover's.
const HANDOVER_WINDOW: Duration = Duration::from_millis(250);

/// What is done to the leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Harm {
    /// SIGKILL, then a restart.
    Kill,
    /// SIGSTOP, then SIGCONT.
    Freeze,
}

#[derive(Debug, Clone)]
pub struct Plan {
    pub binary: PathBuf,
    /// How often the leader is hurt.
    pub rounds: usize,
    /// Writers that keep the cluster busy meanwhile.
    pub writers: usize,
    /// What is done to the leader.
    pub harm: Harm,
}

/// Starts a cluster, hurts its leader again and again, and reports the times.
pub fn measure(plan: &Plan) -> Result<Report, Failure> {
    let mut cluster = LocalCluster::start(&plan.binary)?;
    let log = Log::default();
    let targets = cluster.targets.clone();
    let measured = thread::scope(|scope| {
        let writers: Vec<_> = (0..plan.writers)
            .map(|number| {
                let (log, targets) = (&log, &targets);
                scope.spawn(move || Writer::new(number, targets, log).write_until_stopped())
            })
            .collect();
        let measured = rounds(plan, &mut cluster, &log);
        log.stop.store(true, Ordering::Relaxed);
        // A server that is still frozen would delay its writers until their timeouts.
        for writer in writers {
            writer.join().map_err(|_| Failure::new("a writer panicked"))?;
        }
        measured
    });
    measured.map(|figures| figures.report(plan)).map_err(|failure| cluster.failed(failure))
}

#[derive(Debug, Clone, Copy)]
struct Ack {
    sent_at: Instant,
    acked_at: Instant,
}

/// The results of the writers. Emptied at the start of each round, so it holds some seconds of
/// acknowledgements.
#[derive(Default)]
struct Log {
    acks: Mutex<Vec<Ack>>,
    /// Messages that were refused.
    refused: AtomicU64,
    /// Connections that were lost.
    lost: AtomicU64,
    /// The first violation of what must never happen.
    violation: Mutex<Option<String>>,
    stop: AtomicBool,
}

impl Log {
    fn check(&self) -> Result<(), Failure> {
        self.violation.lock().clone().map_or(Ok(()), |violation| Err(Failure::new(violation)))
    }

    fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

/// The results of all rounds.
#[derive(Default)]
struct Figures {
    next_ack: Latencies,
    handover: Latencies,
    acked: u64,
    refused_in_handover: u64,
    lost_in_handover: u64,
    /// Terms that began meanwhile: two a round if every election was needed and succeeded at once.
    terms: u64,
}

impl Figures {
    fn report(self, plan: &Plan) -> Report {
        let harm = match plan.harm {
            Harm::Kill => "leader killed (SIGKILL) to next ack",
            Harm::Freeze => "leader frozen (SIGSTOP) to next ack",
        };
        let row = |what: &str, latencies: Latencies| {
            let mut row = vec![Cell::Text(what.into()), Cell::Count(latencies.count())];
            row.extend(latencies.cells());
            row
        };
        Report {
            title: format!("Failover under load: three servers, {} writers", plan.writers),
            columns: vec!["what", "rounds", "p50_ms", "p99_ms", "max_ms"],
            rows: vec![
                row(harm, self.next_ack),
                row("longest silence around the handover back", self.handover),
            ],
            notes: vec![
                format!("{} messages acknowledged, each once and in order", self.acked),
                format!(
                    "around the handovers: {} messages refused, {} connections lost",
                    self.refused_in_handover, self.lost_in_handover
                ),
                format!("{} terms began for {} changes of leader", self.terms, 2 * plan.rounds),
            ],
        }
    }
}

fn rounds(plan: &Plan, cluster: &mut LocalCluster, log: &Log) -> Result<Figures, Failure> {
    let targets = cluster.targets.clone();
    let mut figures = Figures::default();
    // The highest ring position leads a settled cluster, and the settling checks that it does.
    let leader = targets.len() - 1;
    let term_before = super::term(&targets);
    let mut prober = Writer::new(plan.writers, &targets[..leader], log);
    for round in 0..plan.rounds {
        cluster.settle()?;
        // Once a round, so that the connection is ready and no login is measured.
        prober.write_one();
        // Different phases of heartbeats and ticks, the same in every run.
        thread::sleep(Duration::from_millis(300 + (round as u64 * 37) % 200));
        figures.acked += take_acks(log);

        let hurt_at = Instant::now();
        match plan.harm {
            Harm::Kill => cluster.kill(leader)?,
            Harm::Freeze => cluster.signal(leader, Signal::SIGSTOP)?,
        }
        prober.write_one();
        let next = next_ack(log, hurt_at)?;
        figures.next_ack.add(next);
        eprintln!("round {} of {}: next acknowledgement after {:.1} ms", round + 1, plan.rounds, ms(next));

        // The survivors settle among themselves before the old leader comes back.
        thread::sleep(Duration::from_millis(500));
        match plan.harm {
            Harm::Kill => {
                cluster.bury(leader)?;
                cluster.start_server(leader)?;
            }
            Harm::Freeze => cluster.signal(leader, Signal::SIGCONT)?,
        }
        handover(cluster, log, &targets, &mut figures)?;
        figures.acked += take_acks(log);
        log.check()?;
    }
    figures.terms = super::term(&targets) - term_before;
    Ok(figures)
}

/// Empties the list of acknowledgements; says how many there were.
fn take_acks(log: &Log) -> u64 {
    std::mem::take(&mut *log.acks.lock()).len() as u64
}

/// The time from `hurt_at` to the first acknowledgement of a message that was sent after it.
fn next_ack(log: &Log, hurt_at: Instant) -> Result<Duration, Failure> {
    let deadline = hurt_at + ROUND_TIMEOUT;
    loop {
        log.check()?;
        let first = {
            let acks = log.acks.lock();
            acks.iter().filter(|ack| ack.sent_at >= hurt_at).map(|ack| ack.acked_at).min()
        };
        if let Some(acked_at) = first {
            return Ok(acked_at - hurt_at);
        }
        if Instant::now() > deadline {
            return Err(Failure::new(format!(
                "no message was acknowledged for {} s",
                ROUND_TIMEOUT.as_secs()
            )));
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until the returned server, the last of `targets`, leads again, and takes the longest silence around
/// that moment.
fn handover(
    cluster: &mut LocalCluster,
    log: &Log,
    targets: &[Target],
    figures: &mut Figures,
) -> Result<(), Failure> {
    let (returning, survivors) = targets.split_last().ok_or_else(|| Failure::new("a cluster has servers"))?;
    // A thawed server believes for a moment that it still leads: only a newer term is the handover.
    let term = super::term(survivors);
    let deadline = Instant::now() + ROUND_TIMEOUT;
    // The counts a window ago: what was refused while the server came back is not the handover's.
    let mut counts = VecDeque::from([(Instant::now(), log.refused(), log.lost())]);
    loop {
        let now = Instant::now();
        counts.push_back((now, log.refused(), log.lost()));
        while counts.get(1).is_some_and(|(at, ..)| *at + HANDOVER_WINDOW <= now) {
            counts.pop_front();
        }
        match probe::ask(returning, Duration::from_millis(500)) {
            Ok(status) if status.term > term && status.leader_id.as_ref() == Some(&status.server_id) => {
                thread::sleep(HANDOVER_WINDOW);
                figures.handover.add(longest_silence(log, now - HANDOVER_WINDOW, now + HANDOVER_WINDOW));
                let (_, refused, lost) = counts[0];
                figures.refused_in_handover += log.refused() - refused;
                figures.lost_in_handover += log.lost() - lost;
                return cluster.settle();
            }
            // It follows, is not ready yet, or does not listen yet.
            Ok(_) | Err(_) => {}
        }
        if now > deadline {
            return Err(Failure::new(format!(
                "{returning} did not lead again within {} s",
                ROUND_TIMEOUT.as_secs()
            )));
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// The longest time between two acknowledgements that overlaps the given window.
fn longest_silence(log: &Log, from: Instant, until: Instant) -> Duration {
    let acks = log.acks.lock();
    let mut times: Vec<Instant> =
        acks.iter().map(|ack| ack.acked_at).filter(|at| (from..=until).contains(at)).collect();
    times.sort_unstable();
    times.insert(0, from);
    times.push(until);
    times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
}

/// A closed-loop writer that survives everything, as the client library does.
struct Writer<'a> {
    name: String,
    targets: &'a [Target],
    /// Which target is next.
    turn: usize,
    connection: Option<Connection>,
    /// Messages acknowledged; the next one's `client_msg_id`.
    messages: u64,
    log: &'a Log,
}

impl<'a> Writer<'a> {
    fn new(number: usize, targets: &'a [Target], log: &'a Log) -> Self {
        let name = format!("{}.w{number}", super::fresh_name());
        Writer { name, targets, turn: number, connection: None, messages: 0, log }
    }

    fn write_until_stopped(mut self) {
        while !self.stopped() {
            self.write_one();
        }
    }

    fn stopped(&self) -> bool {
        self.log.stop.load(Ordering::Relaxed) || self.log.violation.lock().is_some()
    }

    /// Sends one message until it is acknowledged.
    fn write_one(&mut self) {
        let sent_at = Instant::now();
        let deadline = sent_at + ROUND_TIMEOUT;
        while !self.stopped() && Instant::now() < deadline {
            match self.try_once() {
                Ok(seq) => {
                    self.messages += 1;
                    self.log.acks.lock().push(Ack { sent_at, acked_at: Instant::now() });
                    if seq != self.messages + 1 {
                        let violation = format!(
                            "message {} of {} was acknowledged as event {seq}, not {}",
                            self.messages,
                            self.name,
                            self.messages + 1
                        );
                        *self.log.violation.lock() = Some(violation);
                    }
                    return;
                }
                Err(CallError::Refused(refusal)) => {
                    self.log.refused.fetch_add(1, Ordering::Relaxed);
                    thread::sleep(Duration::from_millis(refusal.retry_after_ms.unwrap_or(1)));
                    if refusal.code == Code::Unavailable {
                        self.move_on();
                    }
                }
                Err(CallError::Lost(_)) => {
                    self.log.lost.fetch_add(1, Ordering::Relaxed);
                    self.move_on();
                    // A dead server refuses at once; trying it in a tight loop would starve the living.
                    thread::sleep(Duration::from_millis(2));
                }
            }
        }
    }

    fn move_on(&mut self) {
        self.connection = None;
        self.turn += 1;
    }

    fn try_once(&mut self) -> Result<u64, CallError> {
        if self.connection.is_none() {
            let target = &self.targets[self.turn % self.targets.len()];
            let mut connection = Connection::open(target, &self.name, REQUEST_TIMEOUT)?;
            connection.join(&self.name)?;
            self.connection = Some(connection);
        }
        let connection = self.connection.as_mut().ok_or_else(|| CallError::Lost("not connected".into()))?;
        connection.call(&chat_line(&self.name, &format!("m{}", self.messages), "x"))?;
        Ok(connection.sent()?.seq)
    }
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}
