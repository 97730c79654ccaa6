//! The metrics: every series, declared in one table.
//!
//! A series is counted by one line where the thing happens, such as `context.metrics.quarantines.inc()`. The
//! pure folders know nothing of this: what happens in them comes out as values ([`Counts`], outputs, the
//! status), and the shell counts it. States, as opposed to events, are read at each request, see [`scrape`].
//!
//! docs/METRICS.md says what each of them means to an operator.

pub mod listener;
pub mod process;
pub mod scrape;
pub mod table;

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use parking_lot::Mutex;
use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge, histogram::Histogram, info::Info},
    registry::Registry,
};

use self::{
    process::Process,
    table::{Labelled, OfServers, Table},
};
use super::{
    clients::Speaks,
    machine::{clock::Clock, mailbox::Depth},
};
use crate::{
    config::ReplicaConfig,
    fanout::Instruction,
    protocol::{
        Answer, Code, ServerId,
        directory::Directory,
        said::{Content, Said},
        status::Cause,
    },
    replica::counts::{Counts, Outcome},
};

/// Bounds of the classes of a command's time, in seconds.
const COMMIT_S: [f64; 12] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];
/// Bounds of the classes of a sync's time, in seconds.
const SYNC_S: [f64; 12] = [0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0];

/// The words for what a connection speaks.
const SPEAKS: [(Speaks, &str); 4] = [
    (Speaks::Nothing, "none"),
    (Speaks::JsonLines, "json_lines"),
    (Speaks::Http, "http"),
    (Speaks::WebSocket, "websocket"),
];

/// The queues between threads. Those of threads of one kind are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Queue {
    /// From the server itself to its replica.
    Control,
    /// From peers to the replica.
    Peers,
    /// From clients to the replica.
    Clients,
    /// From the replica to the fan-out threads.
    FanOut,
    /// Reads for the query threads.
    QueryQueues,
    /// Tokens on their way to the election.
    Election,
}

impl Queue {
    const ALL: [(Queue, &str); 6] = [
        (Queue::Control, "control"),
        (Queue::Peers, "peers"),
        (Queue::Clients, "clients"),
        (Queue::FanOut, "fan_out"),
        (Queue::QueryQueues, "queries"),
        (Queue::Election, "election"),
    ];
}

pub struct Metrics {
    registry: Registry,
    clock: Clock,
    queues: Mutex<Vec<(Queue, Depth)>>,
    process: Process,
    /// The last term in which this server led, and why.
    elected: Mutex<Option<(u64, Cause)>>,
    /// The count and the sum of `commit_latency`, which cannot be read from it.
    commits: AtomicU64,
    commits_us: AtomicU64,

    leader: Gauge,
    has_leader: Gauge,
    term: Gauge,
    last_log_index: Gauge,
    commit_index: Gauge,
    applied_index: Gauge,
    replication_lag_entries: OfServers<Gauge>,
    peer_up: OfServers<Gauge>,
    clients: Gauge,
    stored_messages: Gauge,
    connections: Labelled<Speaks, Gauge>,
    queue_depth: Labelled<Queue, Gauge>,
    log_bytes: Gauge,
    database_bytes: Gauge,
    disk_free_bytes: Gauge,
    disk_size_bytes: Gauge,

    proposals: Counter,
    commands: Labelled<Outcome, Counter>,
    commit_latency: Histogram,
    handovers: Counter,
    refusals: Labelled<Code, Counter>,
    /// Transactions of the log, each synced.
    pub log_sync: Histogram,
    messages: Counter,
    elections: Labelled<Cause, Counter>,
    heartbeats_lost: OfServers<Counter>,
    /// Connections that were turned away at the door.
    pub turned_away: Counter,
    /// Messages to peers that found their queue full.
    pub peer_messages_dropped: Counter,
    /// Times that this server's data was in doubt.
    pub quarantines: Counter,
    /// Damaged rows, each once, and once damage that is no matter of single rows.
    pub damage_found: Counter,
    pub repaired_rows: Counter,
    last_backup: Gauge,
    certificate_expires: Gauge,
    /// How often a new certificate could not be used and the old one stayed in use.
    pub certificates_refused: Counter,
}

impl Metrics {
    pub fn new(config: &ReplicaConfig, clock: Clock) -> Metrics {
        let mut table = Table::default();
        let t = &mut table;
        let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        t.0.register("syncnet_build", "The version of the program, always 1", version);
        let metrics = Metrics {
            leader: t.gauge("syncnet_leader", "1 if this server leads"),
            has_leader: t.gauge("syncnet_has_leader", "1 if this server leads or hears the server that does"),
            term: t.gauge("syncnet_term", "The newest term of consensus"),
            last_log_index: t.gauge("syncnet_last_log_index", "The last entry of the log"),
            commit_index: t.gauge("syncnet_commit_index", "The last entry known to be committed"),
            applied_index: t.gauge("syncnet_applied_index", "The last entry that this server has applied"),
            replication_lag_entries: t.of_servers(
                "syncnet_replication_lag_entries",
                "How many entries a peer is behind the log of this server, if this server leads; else 0",
                "peer",
            ),
            peer_up: t.of_servers("syncnet_peer_up", "1 if the peer is believed alive", "peer"),
            clients: t.gauge("syncnet_clients", "Connections that are logged in"),
            stored_messages: t.gauge("syncnet_stored_messages", "Messages in the replicated state"),
            queue_depth: t.labelled(
                "syncnet_queue_depth",
                "Items that wait in a queue between threads",
                "queue",
                Queue::ALL.map(|(queue, word)| (queue, word.to_owned())),
            ),
            log_bytes: t.gauge("syncnet_log_bytes", "Size of the write-ahead log on the disk"),
            database_bytes: t.gauge("syncnet_database_bytes", "Size of the database on the disk"),
            disk_free_bytes: t
                .gauge("syncnet_disk_free_bytes", "What is free on the disk of the data folder"),
            disk_size_bytes: t.gauge("syncnet_disk_size_bytes", "Size of the disk of the data folder"),
            proposals: t
                .counter("syncnet_proposals", "Commands that this server put on their way to the log"),
            commands: t.labelled(
                "syncnet_commands",
                "Commands of the log that this server has applied, by what became of them",
                "outcome",
                Outcome::ALL.map(|outcome| (outcome, outcome.word().to_owned())),
            ),
            commit_latency: t.seconds(
                "syncnet_commit_latency_seconds",
                "From a command of this server's client to the answer that it is committed",
                &COMMIT_S,
            ),
            handovers: t.counter("syncnet_handovers", "Times that this server asked another one to lead"),
            refusals: t.labelled(
                "syncnet_refusals",
                "Requests that were refused, by the code that the client was told",
                "code",
                Code::ALL.map(|code| (code, code.to_string())),
            ),
            log_sync: t.seconds(
                "syncnet_log_sync_seconds",
                "How long an append to the log took until it was synced to the disk",
                &SYNC_S,
            ),
            messages: t.counter("syncnet_messages", "Messages that this server has applied"),
            elections: t.labelled(
                "syncnet_elections",
                "Elections that this server has won, by why there was one",
                "cause",
                Cause::ALL.map(|cause| (cause, cause.word().to_owned())),
            ),
            heartbeats_lost: t.of_servers(
                "syncnet_heartbeats_lost",
                "Heartbeats of a peer that did not come in time",
                "peer",
            ),
            connections: t.labelled(
                "syncnet_connections",
                "Connections of clients, by what they speak",
                "dialect",
                SPEAKS.map(|(speaks, word)| (speaks, word.to_owned())),
            ),
            turned_away: t.counter(
                "syncnet_connections_refused",
                "Connections that were turned away because there was no room for them",
            ),
            peer_messages_dropped: t.counter(
                "syncnet_peer_messages_dropped",
                "Messages to peers that were dropped because their queue was full",
            ),
            last_backup: t.gauge(
                "syncnet_last_backup_timestamp_seconds",
                "When the last backup of the cluster was made and found whole, since the Unix epoch; 0 for never",
            ),
            certificate_expires: t.gauge(
                "syncnet_certificate_expiry_timestamp_seconds",
                "When the certificate for TLS in use expires, since the Unix epoch; 0 without one",
            ),
            certificates_refused: t.counter(
                "syncnet_certificates_refused",
                "Times that a new certificate for TLS was not good and the one from before stayed in use",
            ),
            quarantines: t.counter(
                "syncnet_quarantines",
                "Times that this server's data was in doubt and was set aside",
            ),
            damage_found: t.counter(
                "syncnet_damage_found",
                "Damage found in the data: each row of the state once, and once what is more than single rows",
            ),
            repaired_rows: t.counter(
                "syncnet_repaired_rows",
                "Damaged rows of the state that were fetched from another server",
            ),
            process: Process::declare(t),
            registry: table.0,
            clock,
            queues: Mutex::new(Vec::new()),
            elected: Mutex::new(None),
            commits: AtomicU64::new(0),
            commits_us: AtomicU64::new(0),
        };
        metrics.follow(&config.servers, &config.server_id);
        metrics
    }

    /// The servers are these from now on; `me` is this one.
    pub fn follow(&self, servers: &Directory, me: &ServerId) {
        let others = || servers.iter().map(|server| &server.server_id).filter(|id| *id != me);
        self.replication_lag_entries.follow(others());
        self.peer_up.follow(others());
        self.heartbeats_lost.follow(others());
    }

    /// So many heartbeats of a peer did not come in time.
    pub fn heartbeats_lost(&self, peer: &ServerId, count: u64) {
        self.heartbeats_lost.of(peer).inc_by(count);
    }

    /// Shows from now on how many items wait in a queue.
    pub fn watch(&self, queue: Queue, depth: Depth) {
        self.queues.lock().push((queue, depth));
    }

    /// Something was said to a client.
    pub fn said(&self, said: &Said) {
        if let Content::Answer { answer: Answer::Nack(refusal), .. } = said.content() {
            self.refused(refusal.code);
        }
    }

    /// Something is passed on to those who write to clients.
    pub fn passed_on(&self, instruction: &Instruction) {
        if let Instruction::Publish { said, .. } = instruction
            && let Content::Event(event) = said.content()
            && event.is_message
        {
            self.messages.inc();
        }
    }

    pub fn won_election(&self, term: u64, cause: Cause) {
        self.elections.of(&cause).inc();
        *self.elected.lock() = Some((term, cause));
    }

    /// A client was refused something.
    pub fn refused(&self, code: Code) {
        self.refusals.of(&code).inc();
    }

    /// Takes in the replica's counts of a turn, before its answers are passed on.
    pub fn happened(&self, counts: &Counts) {
        let now_ms = self.clock.mono_ms();
        self.proposals.inc_by(counts.proposals);
        self.handovers.inc_by(counts.handovers);
        for (outcome, count) in &counts.applied {
            self.commands.of(outcome).inc_by(*count);
        }
        for since_ms in &counts.decided_since_ms {
            let waited = Duration::from_millis(now_ms.saturating_sub(*since_ms));
            self.commit_latency.observe(waited.as_secs_f64());
            self.commits.fetch_add(1, Ordering::Relaxed);
            self.commits_us.fetch_add(waited.as_micros() as u64, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::config::file::ConfigFile;

    fn metrics() -> Metrics {
        let file = ConfigFile::default();
        let config = ReplicaConfig {
            server_id: file.servers[0].server_id.clone(),
            servers: file.servers.into(),
            joins: false,
            timing: file.timing,
            limits: file.limits,
            auth: Default::default(),
            followers: file.followers,
            keep_entries: file.keep_entries,
            rules: Default::default(),
        };
        Metrics::new(&config, Clock::start())
    }

    #[test]
    fn labels_are_bounded() {
        let metrics = metrics();
        let series = |metrics: &Metrics| metrics.text().lines().count();
        let before = series(&metrics);
        let id = |name: &str| ServerId::new(name).unwrap();
        metrics.heartbeats_lost(&id("stranger"), 1);
        metrics.heartbeats_lost(&id("server2"), 1);
        assert_eq!(series(&metrics), before);
        let text = metrics.text();
        assert!(text.contains("syncnet_heartbeats_lost_total{peer=\"server2\"} 1\n"), "{text}");
        assert!(!text.contains("stranger") && !text.contains("peer=\"server1\""), "{text}");
        // The series follow the servers; one that stays goes on.
        let servers = ["server1", "server2", "server9"];
        let entries = servers.map(|name| crate::config::ServerEntry::new(id(name), "x", 8000, 0));
        metrics.follow(&entries.into_iter().collect(), &id("server1"));
        let text = metrics.text();
        assert!(text.contains("syncnet_heartbeats_lost_total{peer=\"server2\"} 1\n"), "{text}");
        assert!(
            text.contains("syncnet_peer_up{peer=\"server9\"} 0\n") && !text.contains("server3"),
            "{text}"
        );
    }

    #[test]
    fn queues_of_one_kind_are_counted_together() {
        let metrics = metrics();
        metrics.watch(Queue::FanOut, Box::new(|| 3));
        metrics.watch(Queue::FanOut, Box::new(|| 4));
        metrics.show_queues();
        assert_eq!(metrics.queue_depth.of(&Queue::FanOut).get(), 7);
        assert_eq!(metrics.queue_depth.of(&Queue::Peers).get(), 0);
    }
}
