//! Writers and readers that go on through all faults, and how far they have come.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use syncnet::admin::target::Target;

use crate::{
    harness::{Cluster, PATIENCE},
    judge::Judge,
    reader::Reader,
    writer::Writer,
};

/// The room of all clients, and the rooms of some.
pub const LOBBY: &str = "Lobby";

/// What all clients of a load share.
pub struct Shared {
    pub judge: Arc<Judge>,
    pub targets: Vec<Target>,
    /// Writers compose nothing new; they end when everything is acknowledged. Readers end.
    pub stop: AtomicBool,
    /// The story has failed: clients end at once.
    pub abandoned: AtomicBool,
    pub progress: Progress,
}

/// How far a load has come.
pub struct Progress {
    began: Instant,
    /// Messages acknowledged, each once.
    acked: AtomicU64,
    /// The newest time at which a message was sent that has been acknowledged, in microseconds.
    newest_sent_us: AtomicU64,
    /// Events shown to readers.
    shown: AtomicU64,
    /// Connections that clients lost, or gave up.
    lost: AtomicU64,
    /// Refusals by their code.
    refused: Mutex<BTreeMap<String, u64>>,
    /// Redirects, which a stopping server sends.
    redirects: AtomicU64,
}

impl Progress {
    pub fn acked(&self, sent_at: Instant) {
        self.acked.fetch_add(1, Ordering::Relaxed);
        self.newest_sent_us.fetch_max(self.micros(sent_at), Ordering::Relaxed);
    }

    pub fn shown(&self) {
        self.shown.fetch_add(1, Ordering::Relaxed);
    }

    pub fn lost(&self) {
        self.lost.fetch_add(1, Ordering::Relaxed);
    }

    pub fn refused(&self, code: &str) {
        *self.refused.lock().entry(code.into()).or_default() += 1;
    }

    pub fn redirected(&self) {
        self.redirects.fetch_add(1, Ordering::Relaxed);
    }

    fn micros(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.began).as_micros()).unwrap_or(u64::MAX)
    }
}

/// A running load. Its clients end when it is dropped, but are only waited for by [`Load::finish`].
pub struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    /// Starts this many writers and readers, spread over all servers.
    pub fn start(cluster: &Cluster, judge: &Arc<Judge>, writers: usize, readers: usize) -> Load {
        let shared = Arc::new(Shared {
            judge: judge.clone(),
            targets: cluster.targets.clone(),
            stop: AtomicBool::new(false),
            abandoned: AtomicBool::new(false),
            progress: Progress {
                began: Instant::now(),
                acked: AtomicU64::new(0),
                newest_sent_us: AtomicU64::new(0),
                shown: AtomicU64::new(0),
                lost: AtomicU64::new(0),
                refused: Mutex::new(BTreeMap::new()),
                redirects: AtomicU64::new(0),
            },
        });
        let mut threads = Vec::new();
        for number in 0..writers {
            let writer = Writer::new(number, shared.clone());
            threads.push(spawn(format!("writer-{number}"), move || writer.run()));
        }
        for number in 0..readers {
            let reader = Reader::new(number, shared.clone());
            threads.push(spawn(format!("reader-{number}"), move || reader.run()));
        }
        let load = Load { shared, threads };
        load.expect_acks("the load began");
        load
    }

    /// Waits until a message is acknowledged that was sent after this call.
    #[track_caller]
    pub fn expect_acks(&self, what_happened: &str) {
        let from = self.shared.progress.micros(Instant::now());
        let deadline = Instant::now() + PATIENCE;
        while self.shared.progress.newest_sent_us.load(Ordering::Relaxed) <= from {
            self.shared.judge.expect_kept();
            assert!(
                Instant::now() < deadline,
                "after {what_happened} no message was acknowledged for {} s",
                PATIENCE.as_secs()
            );
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits until this many more messages have been acknowledged.
    #[track_caller]
    pub fn expect_more_acks(&self, more: u64) {
        let due = self.acked() + more;
        let deadline = Instant::now() + PATIENCE;
        while self.acked() < due {
            self.shared.judge.expect_kept();
            assert!(
                Instant::now() < deadline,
                "{} of {due} messages were acknowledged in time",
                self.acked()
            );
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Messages acknowledged so far.
    pub fn acked(&self) -> u64 {
        self.shared.progress.acked.load(Ordering::Relaxed)
    }

    /// Stops the load, waits until everything sent is acknowledged, and gives what it saw.
    #[track_caller]
    pub fn finish(mut self) -> Seen {
        self.shared.stop.store(true, Ordering::Relaxed);
        let deadline = Instant::now() + PATIENCE;
        while !self.threads.iter().all(JoinHandle::is_finished) {
            self.shared.judge.expect_kept();
            if Instant::now() > deadline {
                let waiting = self.threads.iter().filter(|thread| !thread.is_finished());
                panic!("at the end these clients still wait: {:?}", waiting.map(name_of).collect::<Vec<_>>());
            }
            thread::sleep(Duration::from_millis(5));
        }
        for thread in std::mem::take(&mut self.threads) {
            let name = name_of(&thread);
            assert!(thread.join().is_ok(), "{name} panicked");
        }
        self.shared.judge.expect_kept();
        let progress = &self.shared.progress;
        Seen {
            acked: progress.acked.load(Ordering::Relaxed),
            shown: progress.shown.load(Ordering::Relaxed),
            lost: progress.lost.load(Ordering::Relaxed),
            redirects: progress.redirects.load(Ordering::Relaxed),
            refused: progress.refused.lock().clone(),
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.shared.abandoned.store(true, Ordering::Relaxed);
    }
}

impl Shared {
    /// Whether the load must end at once.
    pub fn is_over(&self) -> bool {
        self.abandoned.load(Ordering::Relaxed) || self.judge.is_broken()
    }

    /// Whether nothing new is to be begun.
    pub fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// What the clients of a load have seen.
#[derive(Debug)]
pub struct Seen {
    /// Messages acknowledged, each once.
    pub acked: u64,
    /// Events shown to readers.
    pub shown: u64,
    /// Connections lost or given up.
    pub lost: u64,
    pub redirects: u64,
    /// Refusals by their code.
    pub refused: BTreeMap<String, u64>,
}

fn spawn(name: String, run: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    thread::Builder::new().name(name).spawn(run).expect("the system has room for some threads")
}

fn name_of(thread: &JoinHandle<()>) -> String {
    thread.thread().name().unwrap_or("a client").to_owned()
}
